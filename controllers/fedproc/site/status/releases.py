"""What whoever looks at releases may ask of a running orchestrator: what waits, its bytes, and to decide about it.

``GET /releases``, ``GET /releases/{job}``, ``POST /releases/{job}/read`` with ``{"path", "offset", "length"}``, and
``POST /releases/{job}`` with ``{"decision": "release"|"refuse", "reason", "files": {path: sha256}}``; without ``files``
it is about all that is open. Each answers about the caller: nobody reads what another one said before he has said it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedproc.common.errors import FedprocError, InvalidInputError, SystemFaultError
from fedproc.contract.ids import is_safe_path
from fedproc.contract.states import JobState
from fedproc.site.jobs.orchestrator import Orchestrator
from fedproc.site.jobs.overview import jobs_of
from fedproc.site.jobs.release.opinions import Reviewer, Word
from fedproc.site.jobs.reviewing import Review
from fedproc.site.jobs.run import JobRun
from fedproc.site.jobs.services import Services
from fedproc.site.status.control import Caller, Route

_PIECE = 1 << 20
_MOST_SEEN = 10_000


def release_routes(services: Services, orchestrator: Orchestrator) -> list[Route]:
    """The routes of :class:`fedproc.site.status.control.ControlSocket` that reviewers need."""
    routes = _Releases(services, orchestrator)
    return [
        ("GET", re.compile("/releases"), routes.all),
        ("GET", re.compile("/releases/([a-z0-9-]+)"), routes.one),
        ("POST", re.compile("/releases/([a-z0-9-]+)/read"), routes.read),
        ("POST", re.compile("/releases/([a-z0-9-]+)"), routes.decide),
    ]


class _Releases:
    def __init__(self, services: Services, orchestrator: Orchestrator) -> None:
        self._services = services
        self._orchestrator = orchestrator
        self._files = _Files()

    async def all(self, _match: re.Match[str], _body: dict[str, Any], caller: Caller) -> Any:
        account = await asyncio.to_thread(lambda: caller.account)
        return [self._shown(run, account) for run in self._waiting()]

    async def one(self, match: re.Match[str], _body: dict[str, Any], caller: Caller) -> Any:
        account = await asyncio.to_thread(lambda: caller.account)
        run = self._waits(match[1])
        review = run.record.review
        assert review is not None
        return {**self._shown(run, account), "findings": review.found, "host": self._services.settings.host}

    async def read(self, match: re.Match[str], body: dict[str, Any], _caller: Caller) -> Any:
        record = self._waits(match[1]).record
        path, offset, length = body.get("path"), body.get("offset", 0), body.get("length", _PIECE)
        digest = (record.sealed or {}).get(path) if isinstance(path, str) and is_safe_path(path) else None
        if digest is None:
            raise InvalidInputError(f"{path}: no such file waits")
        if not (isinstance(offset, int) and isinstance(length, int) and offset >= 0 and 0 < length <= _PIECE):
            raise InvalidInputError(f"give offset, and length up to {_PIECE} bytes")
        file = self._services.workspace(record.job).sealed / str(path)
        return {
            "path": path,
            "sha256": digest,
            **await asyncio.to_thread(self._files.piece, file, digest, offset, length),
        }

    async def decide(self, match: re.Match[str], body: dict[str, Any], caller: Caller) -> Any:
        decision, reason, files = body.get("decision"), body.get("reason"), body.get("files")
        if decision not in ("release", "refuse") or not isinstance(reason, str):
            raise InvalidInputError("give decision ('release' or 'refuse') and reason (text)")
        if files is not None and not _are_files(files):
            raise InvalidInputError("files: an object of paths, each with the sha256 that was looked at")
        word = Word(await asyncio.to_thread(self._reviewer, caller), decision == "release", reason, files)
        return {"decision": decision, **await self._orchestrator.decide(match[1], word)}

    def _reviewer(self, caller: Caller) -> Reviewer:
        return Reviewer(caller.account, caller.is_of(self._services.settings.reviewers_group))

    def _waiting(self) -> list[JobRun]:
        return [run for run in self._orchestrator.runs.values() if _waits(run)]

    def _waits(self, job: str) -> JobRun:
        run = self._orchestrator.runs.get(job)
        if run is None or not _waits(run):
            why = "it is decided, has ended, or was never here; `fedproc site releases` lists what waits"
            raise FedprocError(f"job {job} awaits no release here: {why}")
        return run

    def _shown(self, run: JobRun, account: str) -> dict[str, Any]:
        record, review = run.record, run.record.review
        assert review is not None
        stage, rule = record.release, self._services.policy.review
        kept, stated = review.kept(), review.words_of(account, rule)
        shown = {
            **jobs_of([run])[0],
            "version": record.order.tool.version,
            "project": record.order.project,
            "purpose": record.order.purpose,
            "told_by": record.order.told_by,
            "since": review.since.isoformat(),
            "until": stage.until.isoformat() if stage is not None and stage.until is not None else None,
            "release_by": record.order.deadlines.release_by.isoformat(),
            "classes": sorted({review.classes.get(path.partition("/")[0], "") for path in record.sealed or {}}),
            "findings_count": len(review.found),
            "persons_needed": max(review.asked.values(), default=1),
            "persons_decided": review.persons(rule),
            "may_decide": not rule.is_one_of(account, review.strangers),
            "reminded": review.reminded,
        }
        folder = self._services.workspace(record.job).sealed
        return shown | {
            "files": [
                {
                    **_file(review, path, digest, folder),
                    "kept": path.partition("/")[0] in kept,
                    "said": stated.get(path),
                }
                for path, digest in (record.sealed or {}).items()
            ]
        }


def _waits(run: JobRun) -> bool:
    record = run.record
    waits = record.state is JobState.awaiting_release and record.decision is None and record.verdict is None
    return waits and record.review is not None and not record.review.expired


def _file(review: Review, path: str, digest: str, folder: Path) -> dict[str, Any]:
    output = path.partition("/")[0]
    return {
        "path": path,
        "output": output,
        "sha256": digest,
        "file": str(folder / path),
        "class": review.classes.get(output, ""),
        "findings": sum(each["output"] == output for each in review.found),
    }


def _are_files(files: Any) -> bool:
    return isinstance(files, Mapping) and all(isinstance(each, str) for each in (*files, *files.values()))


class _Files:
    """Sealed files, of which a piece is given if all of the file is as it was sealed; one that is not touched since is
    not read again as a whole. Methods block."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[int, ...]] = {}

    def piece(self, file: Path, digest: str, offset: int, length: int) -> dict[str, Any]:
        """Raises :class:`SystemFaultError` if it is otherwise."""
        with file.open("rb") as source:
            stat = os.fstat(source.fileno())
            mark = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
            if self._seen.get(file) != mark and hashlib.file_digest(source, "sha256").hexdigest() != digest:
                text = f"{file.name} is not as it was sealed: somebody changed it here"
                raise SystemFaultError(text, code="release.changed")
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen[file] = mark
            content = os.pread(source.fileno(), length, offset)
        return {"size": stat.st_size, "content": base64.b64encode(content).decode()}
