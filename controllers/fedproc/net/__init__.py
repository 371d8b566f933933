"""The way through a network, by the standard library alone: it is packed into the host check's zipapp, too."""
