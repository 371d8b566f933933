"""Experiments and their jobs: accepted, advanced by the coordinator, ended."""
