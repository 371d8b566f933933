"""What makes masked answers of no use."""


class NoSumError(Exception):
    """They cannot be added up; its text says of which hosts, and why."""
