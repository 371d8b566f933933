"""Connections through a network, by the standard library alone: the host check's zipapp has this package, too."""
