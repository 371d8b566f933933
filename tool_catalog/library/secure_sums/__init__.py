"""Sums over hosts whose single parts nobody can read: each host masks its numbers, and the masks of all cancel
(docs/decisions/0019-masks-by-the-host.md)."""
