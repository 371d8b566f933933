"""The host's transparency log: what is done here with data, written down before it is done."""
