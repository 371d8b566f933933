"""Fed-BioMed over exactly the hosts of an experiment: its researcher at the aggregator, a node of it in each hospital.

Each tool carries a copy in its source, since that is signed: scripts/copy-library puts it there.
"""
