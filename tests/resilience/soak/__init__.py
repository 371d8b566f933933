"""A long campaign of faults: ``python -m tests.resilience.soak --jobs N`` (docs/bench.md)."""
