"""The ground floor: what every room of the house needs, and nothing of what it is about. Imports nothing of ours."""
