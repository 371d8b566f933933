"""Federated averaging in which the aggregator reads sums over hosts and no host's own numbers: Flower's SecAgg+.

Bell et al., "Secure single-server aggregation with (poly)logarithmic overhead" (CCS 2020), as Flower's mod and workflow
do it. What it protects against, and what not, is in docs/security.md. Each tool carries a copy in its source, since
that is signed: scripts/copy-library puts it there.
"""
