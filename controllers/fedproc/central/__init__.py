"""The centre: its HTTP API, its relay, and what both stand on."""
