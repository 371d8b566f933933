"""The client of the central API, on which the command line is built."""
