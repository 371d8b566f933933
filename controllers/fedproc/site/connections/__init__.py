"""Declared connections between tasks of an experiment (docs/architecture.md, "Connections")."""
