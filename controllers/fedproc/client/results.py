"""Fetching what an experiment gave."""

from __future__ import annotations

from pathlib import Path

from fedproc.client.api import Client
from fedproc.common.errors import FedprocError
from fedproc.contract.api.files import FileView
from fedproc.contract.ids import is_safe_path


def fetch_results(client: Client, experiment: str, folder: Path) -> list[Path]:
    """Fetch all results to ``folder/HOST/PATH``; a file that is there already with the same content stays.

    Raises :class:`FedprocError` if a file of another content is in its place.
    """
    entries = [entry for entry in client.results(experiment) if entry.state == "complete"]
    return [client.fetch(entry, folder / place) for entry, place in zip(entries, places(entries), strict=True)]


def places(entries: list[FileView]) -> list[Path]:
    """Where each goes: ``HOST/PATH``, and ``HOST/TASK/PATH`` where two tasks of a host gave a file of that name."""
    short = [f"{entry.host}/{entry.path}" for entry in entries]
    long = [f"{entry.host}/{entry.task}/{entry.path}" for entry in entries]
    chosen = [b if short.count(a) > 1 else a for a, b in zip(short, long, strict=True)]
    for place in chosen:
        if not is_safe_path(place):
            raise FedprocError(f"the centre names a result {place!r}, which is no safe path: tell its operator")
    return [Path(place) for place in chosen]
