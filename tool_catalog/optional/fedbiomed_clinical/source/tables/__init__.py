"""Tables as hospitals have them: one description of columns, one reader, for every tool and for the site itself.

A dataset is a folder; its ``dataset.json`` says how its tables are written and what their columns mean
(docs/datasets.md, ``dataset.schema.json``). This package imports nothing of fedproc, and the standard library alone
but for :mod:`.frame`: ``scripts/copy-tables`` puts the same files into the source of each tool that reads tables.
"""
