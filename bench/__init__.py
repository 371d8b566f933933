"""What fedproc costs, as ratios to the plain thing beside it: ``python -m bench`` (docs/bench.md)."""
