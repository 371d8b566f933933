"""A transparency log in one folder: append-only, hash-chained, with RFC 6962 roots and C2SP checkpoints.

Whoever may write the folder may write it anew. That shows as soon as somebody else has kept a checkpoint of it: what
witnesses of each other do (:mod:`fedproc.common.tlog.witness`), and what is proved from it without either of them
(:mod:`fedproc.common.tlog.verification`).
"""
