"""What a site answers of what NVFLARE's server asks: no more than one run of this tool's own job needs.

NVFLARE looks at a site's rights only where the request itself says that a right is needed. A server that leaves this
out has a site's files printed by NVFLARE's shell commands, whatever the site's rights are. Here the handlers of all
else are not there, and the job is the site's own: of the server's, the id alone is taken.
"""

from __future__ import annotations

import io
import json
import re
import threading
import zipfile
from collections.abc import Callable
from typing import Any

from nvflare.apis.client import Client
from nvflare.apis.fl_constant import ReservedTopic
from nvflare.apis.job_def import JobMetaKey
from nvflare.app_common.job_launcher.client_process_launcher import ClientProcessJobLauncher
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.cellnet.core_cell import CoreCell, make_reply
from nvflare.fuel.f3.cellnet.defs import CellChannel, MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.streaming.stream_const import STREAM_CHANNEL
from nvflare.private.admin_defs import Message, error_reply, ok_reply
from nvflare.private.defs import RequestHeader, TrainingTopic
from nvflare.private.fed.client.admin import RequestProcessor
from nvflare.private.fed.client.admin_commands import AbortCommand, AdminCommands, CheckStatusCommand
from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors
from nvflare.private.fed.client.scheduler_cmds import CancelResourceProcessor, CheckResourceProcessor, StartJobProcessor
from nvflare.private.fed.client.training_cmds import (
    AbortAppProcessor,
    NotifyJobStatusProcessor,
    ShutdownClientProcessor,
)

from . import job

JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""as NVFLARE's server makes them: an id becomes a folder's name, and an argument"""
NO_JOB = "00000000-0000-0000-0000-000000000000"
APP = "app"
_WORKER = "nvflare.private.fed.app.client.worker_process"
CHANNELS: dict[str, tuple[str, ...]] = {
    "credential_manager": ("*",),
    "download_service__": ("*",),
    CellChannel.CELLNET: ("*",),
    CellChannel.CLIENT_COMMAND: ("*",),  # the commands are in AdminCommands
    CellChannel.CLIENT_MAIN: ("*",),  # the commands are in ClientRequestProcessors
    STREAM_CHANNEL: ("*",),
    CellChannel.AUX_COMMUNICATION: (ReservedTopic.END_RUN,),
}
"""what is answered, by channel and topic; tasks are not among it, as a site fetches them"""


def install() -> None:
    """In a process of NVFLARE, before it begins."""
    theirs = {topic for one in ClientRequestProcessors.request_processors for topic in one.get_topics()}
    ours = [_Checked(one) for one in _processors()]
    others = theirs.difference(*(one.get_topics() for one in ours))
    ClientRequestProcessors.request_processors[:] = [*ours, _Refused(sorted(others))]
    AdminCommands.commands[:] = [CheckStatusCommand(), AbortCommand()]
    for kind, name in ((CoreCell, "register_request_cb"), (Cell, "_register_request_cb")):
        setattr(kind, name, _answering(getattr(kind, name)))


class Launcher(ClientProcessJobLauncher):
    """Starts the job's process with the same guard."""

    def get_command(self, job_meta: Any, fl_ctx: Any) -> str:
        command: str = super().get_command(job_meta, fl_ctx)
        if _WORKER not in command:
            raise RuntimeError("NVFLARE starts its jobs in another way than this guard knows")
        return command.replace(_WORKER, "flare_parts.worker_process")


def _processors() -> list[Any]:
    return [CheckResourceProcessor(), CancelResourceProcessor(), AbortAppProcessor(), ShutdownClientProcessor(),
            NotifyJobStatusProcessor(), _Deploy(), _Start()]  # fmt: skip


class _Checked(RequestProcessor):
    """A processor that gets requests of jobs with an id alone."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def get_topics(self) -> list[str]:
        topics: list[str] = self._inner.get_topics()
        return topics

    def process(self, req: Message, app_ctx: Any) -> Message:
        if not JOB_ID.fullmatch(str(req.get_header(RequestHeader.JOB_ID, NO_JOB))):
            return _refused(f"{req.topic} of a job without an id")
        return self._inner.process(req, app_ctx)


class _Refused(RequestProcessor):
    """Of the commands that NVFLARE has beside, none is known here."""

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def get_topics(self) -> list[str]:
        return self._topics

    def process(self, req: Message, app_ctx: Any) -> Message:
        return _refused(req.topic)


class _Deploy(RequestProcessor):
    """Puts this tool's own job where NVFLARE looks for one; what the server sends is not opened."""

    def get_topics(self) -> list[str]:
        return [TrainingTopic.DEPLOY]

    def process(self, req: Message, app_ctx: Any) -> Message:
        job_id, client = req.get_header(RequestHeader.JOB_ID, NO_JOB), app_ctx.get_client_name()
        fault = app_ctx.deploy_app(
            app_name=APP, job_id=job_id, job_meta=_meta(job_id, client), client_name=client, app_data=_own_job()
        )
        return error_reply(fault) if fault else ok_reply(body=f"deployed {APP} to {client}")


class _Start(StartJobProcessor):
    """Starts this tool's own job, once: a second one would count its rounds anew."""

    def __init__(self) -> None:
        super().__init__()
        self._first = threading.Lock()

    def process(self, req: Message, app_ctx: Any) -> Message:
        job_id = req.get_header(RequestHeader.JOB_ID, NO_JOB)
        if not self._first.acquire(blocking=False):  # for good
            return _refused("a second job")
        req.set_header(RequestHeader.JOB_META, _meta(job_id, app_ctx.get_client_name()))
        req.body = {}
        return super().process(req, app_ctx)


def _meta(job_id: str, client: str) -> dict[str, Any]:
    here = Client(client, "").to_dict()
    return {JobMetaKey.JOB_ID.value: job_id, JobMetaKey.JOB_NAME.value: job.NAME,
            JobMetaKey.RESOURCE_SPEC.value: {}, JobMetaKey.JOB_CLIENTS.value: [here]}  # fmt: skip


def _own_job() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, config in job.CONFIGS.items():
            archive.writestr(name, json.dumps(config))
    return packed.getvalue()


def _answering(register: Callable[..., None]) -> Callable[..., None]:
    """``register`` of a cell, which puts in a refusal for what is not answered."""

    def registering(cell: Any, channel: str, topic: str, cb: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        def answer(request: Any, *more: Any, **named: Any) -> Any:
            asked = request.get_header(MessageHeaderKey.TOPIC)
            if {"*", asked}.isdisjoint(CHANNELS.get(channel, ())):
                _note(f"{channel} {asked}")
                return make_reply(ReturnCode.INVALID_REQUEST)
            return cb(request, *more, **named)

        register(cell, channel, topic, answer, *args, **kwargs)

    return registering


def _refused(what: str) -> Message:
    _note(what)
    return error_reply("this site runs the job of its own tool alone")


def _note(what: str) -> None:
    shown = re.sub(r"[^\w. -]", "?", what, flags=re.ASCII)[:60]
    job.refuse(f"the server asks for what this tool does not do: {shown}")
