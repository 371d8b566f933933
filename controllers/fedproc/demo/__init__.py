"""A whole federation on one machine: broker, issuer, centre and four hosts, supervised, in one folder.

Same code, messages and policy as a federation of many machines; only the settings differ (docs/architecture.md).
"""
