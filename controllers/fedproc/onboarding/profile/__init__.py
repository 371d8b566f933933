"""Profiles: what a host must have, as data. Those built in lie in ``builtin/``."""
