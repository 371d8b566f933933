"""Likelihoods that several hosts maximise together, by Newton's method: what logistic and Cox regression share.

In each round the server tells coefficients, and each host answers with its rows' log likelihood, its gradient and its
information at them, which add up to those of all rows. Messages are JSON over HTTP on one declared connection: a host
posts its answer, and the reply is the next round. A host's first answer introduces it.
"""
