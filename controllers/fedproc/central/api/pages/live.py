"""What happens in an experiment, as it happens: one stream of server-sent events for its page.

Messages without a name are HTML that htmx puts in place; ``metrics`` holds points of curves as JSON, ``news`` is what a
screen reader says, ``ended`` says that nothing more comes. Each carries the id of the last event that it stands for, so
that a page which lost its stream catches up by ``Last-Event-ID``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import Header, Request
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fedproc.central.api.deps import AppState, app_state
from fedproc.central.api.pages.access import Api, SignedIn, pages
from fedproc.central.api.pages.backend import ApiError, Backend
from fedproc.central.api.pages.experiments import facts
from fedproc.central.api.pages.formatting import STATE_WORDS
from fedproc.central.api.pages.rendering import fragment, segment
from fedproc.central.api.streams import POLL_SECONDS
from fedproc.central.auth.sessions import Session
from fedproc.central.db.engine import read_transaction
from fedproc.central.db.repositories import experiments
from fedproc.common.errors import NotAuthenticatedError, UnavailableError
from fedproc.contract.api.experiments import ExperimentView

routes = pages()

_BATCH = 2000
_CALM_SECONDS = 0.3
"""between two looks, however much happens"""
_MOST_NEWS = 3


@routes.get("/dashboard/experiments/{experiment}/live")
async def stream_experiment(
    request: Request,
    experiment: str,
    api: Api,
    session: SignedIn,
    last_event_id: Annotated[str, Header(pattern=r"^\d{1,18}$|^$")] = "",
) -> Response:
    """What has changed since ``Last-Event-ID``, and what changes from now on, until it has ended."""
    found = await api.one(ExperimentView, f"/experiments/{segment(experiment)}")
    follower = _Follower(request, session, found.id, int(last_event_id or 0))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return EventSourceResponse(follower.messages(), headers=headers)


class _Follower:
    def __init__(self, request: Request, session: Session, experiment: str, after: int) -> None:
        self._request = request
        self._app: AppState = app_state(request)
        self._session = session
        self._experiment = experiment
        self._after = after
        self._is_new = after == 0

    async def messages(self) -> AsyncIterator[bytes]:
        with self._app.streams.opened(self._experiment) as changed:
            while not self._app.streams.ending:
                changed.clear()
                ended, rows = await run_in_threadpool(self._read)
                more = len(rows) == _BATCH
                if rows:
                    self._after = rows[-1].id
                if (points := _points(rows)) != "[]":
                    yield self._message(points, "metrics")
                if not more:
                    if any(row.kind in {"state", "progress"} for row in rows):
                        async for message in self._changes(rows):
                            yield message
                    if ended:
                        yield self._message("ended", "ended")
                        return
                    yield KEEPALIVE_COMMENT
                    await _wait(changed)

    def _read(self) -> tuple[bool, Sequence[Row[Any]]]:
        with read_transaction(self._app.engine) as connection:
            ended = experiments.has_ended(connection, self._experiment)
            return ended, experiments.events_after(connection, self._experiment, self._after, _BATCH)

    async def _changes(self, rows: Sequence[Row[Any]]) -> AsyncIterator[bytes]:
        """The changed parts of the page, as its reader may see them now; nothing once he is signed out."""
        try:
            session = await self._app.sessions.find(self._session.cookie)
            api = Backend(self._request.app, session.tokens.access)
            found = await api.one(ExperimentView, f"/experiments/{self._experiment}")
            html = fragment(self._request, "experiment_live.html", await facts(api, found, session.subject))
        except (ApiError, NotAuthenticatedError, UnavailableError) as error:
            yield self._message(error.message, "unavailable")
            return
        yield self._message(html)
        if not self._is_new and (text := _news(rows)):
            yield self._message(text, "news")
        self._is_new = False

    def _message(self, data: str, event: str | None = None) -> bytes:
        return format_sse_event(data_str=data, event=event, id=str(self._after))


async def _wait(changed: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(changed.wait(), POLL_SECONDS)
        await asyncio.sleep(_CALM_SECONDS)


def _points(rows: Sequence[Row[Any]]) -> str:
    """Points of curves: job, task, host, seconds since 1970, and the numbers by name."""
    found = [[row.job, row.task, row.host, row.time, row.data] for row in rows if row.kind == "metrics"]
    return json.dumps(found, separators=(",", ":"))


def _news(rows: Sequence[Row[Any]]) -> str:
    """New states in words, the last ones if there are many."""
    news = [_told(row) for row in rows if row.kind == "state"]
    left_out = f"{len(news) - _MOST_NEWS} more changes; " if len(news) > _MOST_NEWS else ""
    return left_out + "; ".join(news[-_MOST_NEWS:]) if news else ""


def _told(row: Row[Any]) -> str:
    state = STATE_WORDS.get(row.data["state"], row.data["state"])
    return f"{row.host} {row.task}: {state}" if row.job else f"the experiment: {state}"
