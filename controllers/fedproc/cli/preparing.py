"""An experiment that its hosts prepare: what is asked for, and how far it is until it may be started."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fedproc.cli.follow import follow
from fedproc.cli.show import as_json, bold, clock, console, say
from fedproc.client.api import Client
from fedproc.common.errors import InvalidInputError
from fedproc.contract.api.experiments import EventView
from fedproc.contract.states import FOR_START, TERMINAL

_DAY = 86_400


def asked(hold: float | None, *, prepare: bool) -> dict[str, Any]:
    """What a request has of it; ``hold`` is in days. Raises :class:`InvalidInputError` for a hold without prepare."""
    if hold is not None and not prepare:
        raise InvalidInputError("--hold says for how long what --prepare lays out is held: give both")
    return {**({"prepare": True} if prepare else {}), **({"start_within": int(hold * _DAY)} if hold else {})}


def show(client: Client, experiment: str, *, wait: bool, json: bool) -> None:
    """Follow it until all is laid out, or it has ended; ``wait``: or say only what comes next."""
    if wait and not json:
        follow(_until_prepared(client, experiment, client.events(experiment)), console)
    elif wait:
        for _ in _until_prepared(client, experiment, client.events(experiment)):
            pass
    found = client.experiment(experiment)
    if json:
        return as_json(found)
    if not found.held:
        return say(f"it has ended as {found.state}; ", bold(f"fedproc experiments show {experiment}"), " says why")
    state = "all is laid out" if found.prepared else "its hosts lay it out"
    say(f"{state}; ", bold(f"fedproc start {experiment}"), f" starts it; else it expires {clock(found.held_until)}")


def _until_prepared(client: Client, experiment: str, events: Iterable[EventView]) -> Iterator[EventView]:
    """Its events, until one of them says that something is laid out or over, and then all is."""
    for event in events:
        yield event
        if _may_be_last(event) and _is_over(client, experiment):
            return


def _may_be_last(event: EventView) -> bool:
    waits = str((event.progress or {}).get("waiting_for", ""))
    return event.job is None or waits.startswith(FOR_START) or event.state in {*TERMINAL}


def _is_over(client: Client, experiment: str) -> bool:
    found = client.experiment(experiment)
    return found.prepared or not found.held
