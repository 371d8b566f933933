"""The live event stream of an experiment (server-sent events, WHATWG HTML section 9.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Annotated, Any

from fastapi import Header, Query, Request
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fedproc.central.api.deps import AppState, Researcher, app_state
from fedproc.central.api.routes.common import ExperimentPath, owner_filter, router
from fedproc.central.api.streams import POLL_SECONDS
from fedproc.central.api.views import event_view
from fedproc.central.db.engine import read_transaction
from fedproc.central.db.repositories import experiments
from fedproc.contract.api.experiments import EventView

routes = router("experiments")

_BATCH = 500
_EventId = Annotated[str, Header(pattern=r"^\d{1,18}$|^$", description="events after this one; all unless given")]
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "each event's data is an EventView; its id is for Last-Event-ID",
        "content": {"text/event-stream": {"schema": {"$ref": "#/components/schemas/EventView"}}},
        "model": EventView,
    },
    204: {"description": "the experiment has ended and everything was sent: do not come back"},
}


@routes.get("/experiments/{experiment_id}/events", response_class=Response, responses=_STREAM)
async def stream_events(
    request: Request,
    experiment_id: ExperimentPath,
    caller: Researcher,
    last_event_id: _EventId = "",
    after: Annotated[int, Query(ge=0, le=2**62, description="as Last-Event-ID, for clients that cannot set it")] = 0,
) -> Response:
    """What happens in an experiment, from its beginning or from after ``Last-Event-ID``, until it has ended."""
    app = app_state(request)
    begin = int(last_event_id or after)
    await run_in_threadpool(_permitted, app, experiment_id, owner_filter(caller))
    if begin:
        ended, rows = await run_in_threadpool(_read_events, app, experiment_id, begin)
        if ended and not rows:
            return Response(status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return EventSourceResponse(_events(app, experiment_id, begin), headers=headers)


def _permitted(app: AppState, experiment: str, owner: str | None) -> None:
    with read_transaction(app.engine) as connection:
        experiments.find(connection, experiment, owner)


def _read_events(app: AppState, experiment: str, after: int) -> tuple[bool, Sequence[Row[Any]]]:
    """Whether it has ended, asked first, so that what follows holds all of an ended experiment."""
    with read_transaction(app.engine) as connection:
        ended = experiments.has_ended(connection, experiment)
        return ended, experiments.events_after(connection, experiment, after, _BATCH)


async def _events(app: AppState, experiment: str, after: int) -> AsyncIterator[bytes]:
    with app.streams.opened(experiment) as changed:
        while not app.streams.ending:
            changed.clear()
            ended, rows = await app.streams.shared(experiment, ("api", after), _reading(app, experiment, after))
            if rows:
                after = rows[-1].id
                yield b"".join(map(_event, rows))
            elif ended:
                return
            else:
                yield KEEPALIVE_COMMENT
            if len(rows) < _BATCH and not (ended and rows):
                await _wait(changed)


def _reading(
    app: AppState, experiment: str, after: int
) -> Callable[[], Coroutine[Any, Any, tuple[bool, Sequence[Row[Any]]]]]:
    return lambda: run_in_threadpool(_read_events, app, experiment, after)


async def _wait(changed: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(changed.wait(), POLL_SECONDS)
    except TimeoutError:
        return


def _event(row: Row[Any]) -> bytes:
    return format_sse_event(data_str=event_view(row).model_dump_json(exclude_none=True), id=str(row.id))
