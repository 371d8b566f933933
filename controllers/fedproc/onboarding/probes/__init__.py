"""The probes: each measures one thing and returns a record of :mod:`fedproc.onboarding.model.facts`. None decides."""
