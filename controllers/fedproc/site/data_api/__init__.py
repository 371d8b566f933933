"""The reference Data API: for sites that have folders, and no Data API of their own (docs/datasets.md)."""
