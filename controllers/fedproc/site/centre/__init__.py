"""The host's ways to the centre, all outgoing: broker, API, issuer, registry."""
