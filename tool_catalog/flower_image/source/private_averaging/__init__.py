"""Federated averaging with differential privacy and SecAgg+, as parameters of a tool: what trainings share of both.

Each tool carries a copy in its source, since that is signed: scripts/copy-library puts it there. A tool brings its
model: the gradient and the loss of each person.
"""
