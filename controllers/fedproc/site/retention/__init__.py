"""What is over on a host goes after a time; what is kept is counted."""
