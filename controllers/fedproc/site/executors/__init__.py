"""Executors: how a host runs jobs (docs/executors.md)."""
