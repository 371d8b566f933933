"""``fedproc relay``: between the central database and the broker, in both directions."""

from __future__ import annotations

from pathlib import Path


def serve(path: Path) -> None:
    """Run the relay that the settings file describes, until SIGTERM."""
    from fedproc.central.relay.program import run

    run(path)
