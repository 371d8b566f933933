"""The ledger: whose results were released here, so that two releases do not tell of the few by whom they differ.

Sets of persons are kept as keyed hashes, which never leave the host (docs/decisions/0015-a-ledger-at-the-host.md).
"""
