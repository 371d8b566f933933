"""What happens in an experiment, as it happens: one stream of server-sent events for its page.

Messages without a name are HTML that htmx puts in place; ``metrics`` holds points of curves as JSON, ``news`` is what a
screen reader says, ``alive`` comes even when nothing happens, ``ended`` says that nothing more comes. Each carries the
id of the last event that it stands for, so that a page which lost its stream catches up by ``Last-Event-ID``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterator, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Header, Request
from fastapi.sse import EventSourceResponse, format_sse_event
from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fedproc.central.api.deps import AppState, app_state
from fedproc.central.api.pages.access import Api, SignedIn, as_user, pages
from fedproc.central.api.pages.backend import ApiError
from fedproc.central.api.pages.experiments import facts
from fedproc.central.api.pages.formatting import counted, state_word
from fedproc.central.api.pages.rendering import fragment, segment
from fedproc.central.api.streams import POLL_SECONDS
from fedproc.central.auth.sessions import Session
from fedproc.central.db.engine import read_transaction
from fedproc.central.db.repositories import experiments
from fedproc.common.errors import NotAuthenticatedError, TooManyRequestsError, UnavailableError
from fedproc.contract.api.experiments import ExperimentView

routes = pages()

T = TypeVar("T")

_BATCH = 2000
_CALM_SECONDS = 1.0
"""between two looks, however much happens"""
_AGAIN_SECONDS = 3.0
"""after which parts of the page that could not be had are asked for again"""
_LOOK_SECONDS = 30.0
"""after which is looked at what no event tells: a host that is not heard of any more"""
_MOST_STREAMS = 50
"""of one user in one process"""
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
    if follower.is_one_too_many:
        text = f"you follow {_MOST_STREAMS} experiments already: close a page that shows one"
        raise TooManyRequestsError(text, code="rate.streams")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return EventSourceResponse(follower.messages(), headers=headers)


class _Follower:
    def __init__(self, request: Request, session: Session, experiment: str, after: int) -> None:
        self._request = request
        self._app: AppState = app_state(request)
        self._session = session
        self._experiment = experiment
        self._after = after
        self._shown = after
        """the last event that the page has, with all before it"""
        self._is_dirty = False
        self._is_new = after == 0
        self._looked = time.monotonic()
        self._seen: tuple[object, ...] = ()
        """of each job what its row says, as the page has it"""

    @property
    def is_one_too_many(self) -> bool:
        return self._app.streams.followed[self._session.subject] >= _MOST_STREAMS

    async def messages(self) -> AsyncIterator[bytes]:
        """Until the experiment or the sign-in has ended."""
        followed = self._app.streams.followed
        followed[self._session.subject] += 1
        try:
            with self._app.streams.opened(self._experiment) as changed:
                async for message in self._rounds(changed):
                    yield message
        finally:
            followed[self._session.subject] -= 1
            if not followed[self._session.subject]:
                del followed[self._session.subject]

    async def _rounds(self, changed: asyncio.Event) -> AsyncIterator[bytes]:
        while not self._app.streams.ending:
            changed.clear()
            ended, rows = await self._shared(("page", self._after), self._read)
            more = len(rows) == _BATCH
            self._is_dirty |= any(row.kind in {"state", "progress"} for row in rows)
            try:
                session = await self._shared(("session", self._session.cookie), self._found_session)
                is_due = time.monotonic() - self._looked >= _LOOK_SECONDS
                html = await self._changes(session) if (self._is_dirty or is_due) and not more else ""
            except (ApiError, UnavailableError) as error:
                self._is_dirty = True
                yield self._message(error.message, "unavailable")
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            except NotAuthenticatedError as error:
                yield self._message(error.message, "unavailable")
                return
            for message in self._told(rows, html, more):
                yield message
            if more:
                continue
            if ended:
                yield self._message("ended", "ended")
                return
            yield self._message("", "alive")
            await _wait(changed)

    def _told(self, rows: Sequence[Row[Any]], html: str, more: bool) -> Iterator[bytes]:
        """What was read, under an id that the page may come back with: changed parts are not lost with a stream."""
        self._after = rows[-1].id if rows else self._after
        self._is_dirty = self._is_dirty and more
        if not self._is_dirty:
            self._shown = self._after
        if (points := _points(rows)) != "[]":
            yield self._message(points, "metrics")
        if html:
            yield self._message(html)
            if not self._is_new and (text := _news(rows)):
                yield self._message(text, "news")
            self._is_new = False

    async def _shared(self, what: Hashable, find: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Once for all who follow the experiment: a change costs as many queries with fifty pages as with one."""
        return await self._app.streams.shared(self._experiment, what, find)

    async def _found_session(self) -> Session:
        return await self._app.sessions.find(self._session.cookie)

    async def _read(self) -> tuple[bool, Sequence[Row[Any]]]:
        return await run_in_threadpool(self._read_events, self._after)

    def _read_events(self, after: int) -> tuple[bool, Sequence[Row[Any]]]:
        with read_transaction(self._app.engine) as connection:
            ended = experiments.has_ended(connection, self._experiment)
            return ended, experiments.events_after(connection, self._experiment, after, _BATCH)

    async def _changes(self, session: Session) -> str:
        """The changed parts of the page, as its reader may see them now; nothing if no event and no row has changed."""
        api = as_user(self._request, session)

        async def found() -> tuple[ExperimentView, dict[str, object]]:
            view = await api.one(ExperimentView, f"/experiments/{self._experiment}")
            return view, await facts(api, view, session.subject, self._app)

        view, shown = await self._shared(("facts", session.operates or session.subject), found)
        self._looked, before, self._seen = time.monotonic(), self._seen, _rows(view)
        if before == self._seen and not self._is_dirty:
            return ""
        own = {"own": view.owner == session.subject}
        return fragment(self._request, "experiment_live.html", {**shown, **own})

    def _message(self, data: str, event: str | None = None) -> bytes:
        return format_sse_event(data_str=data, event=event, id=str(self._shown))


def _rows(view: ExperimentView) -> tuple[object, ...]:
    return tuple((job.id, job.state, job.reason, job.waiting_for, job.unreachable) for job in view.jobs)


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
    news = [_in_words(row) for row in rows if row.kind == "state"]
    left_out = f"{counted(len(news) - _MOST_NEWS, 'more change')}; " if len(news) > _MOST_NEWS else ""
    return left_out + "; ".join(news[-_MOST_NEWS:]) if news else ""


def _in_words(row: Row[Any]) -> str:
    state = state_word(row.data["state"])
    return f"{row.host} {row.task}: {state}" if row.job else f"the experiment: {state}"
