"""The runner: one small process per host that starts the sandbox's jobs, waits for them and keeps their records.

It outlives the orchestrator and imports the standard library only, because it is always there.
"""
