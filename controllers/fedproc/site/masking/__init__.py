"""Outputs that leave this host masked: only their sum over all hosts of the experiment can be read
(docs/decisions/0019-masks-by-the-host.md)."""
