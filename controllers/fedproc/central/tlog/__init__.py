"""The centre's transparency log: what was submitted, dispatched, received, deleted, and a hash of each audited act.

The database holds what the log does not have yet, in the transaction that did it; a relay puts it into the log, many
with one flush of the disk, and sends no order before that.
"""
