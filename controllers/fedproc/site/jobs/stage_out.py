"""From a job's last process to its results at the centre: sealed copy, the site's decision, upload."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from fedproc.common.errors import RefusedError, SystemFaultError, ToolFaultError
from fedproc.common.files import sha256_of
from fedproc.contract.api.files import NewUpload
from fedproc.contract.tool.task import OutputDecl, Task
from fedproc.contract.wire import limits
from fedproc.contract.wire.jws import encrypt_to
from fedproc.contract.wire.messages import Output
from fedproc.site.centre.api import OnWait
from fedproc.site.jobs.record import Decision, JobRecord
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.workspace import Workspace
from fedproc.site.policy.disclosure import Finding, findings
from fedproc.site.policy.rules import ToolRule

_OUTPUT_BYTES = 240
"""of one output in a snapshot, without its names: keys, file id, sha256, size"""
_SAID_LATER = 64 << 10
"""bytes for what a snapshot comes to say after its outputs are known"""


async def check(services: Services, rule: ToolRule, task: Task, sealed: Path) -> list[Finding]:
    """What keeps the sealed outputs from leaving by themselves. Raises :class:`RefusedError` if they never may."""
    if not task.outputs:
        return []
    found = await asyncio.to_thread(findings, services.policy, rule, task, sealed)
    if refusals := [finding for finding in found if finding.refusal]:
        what = "; ".join(f"{finding.output}: {finding.text}" for finding in refusals)
        raise RefusedError(f"the site releases no such output: {what}", code=refusals[0].refusal)
    return found


def apply_decision(decision: Decision, sealed: dict[str, str]) -> None:
    """Let the outputs leave if the site released these very bytes.

    Raises :class:`RefusedError`, or :class:`SystemFaultError` if they are others.
    """
    if not decision.release:
        raise RefusedError(f"the site does not release the outputs: {decision.reason}", code="release.refused")
    if decision.hashes != sealed:
        raise SystemFaultError("the site's decision was about other bytes than these", code="release.changed")


async def upload(
    services: Services, record: JobRecord, task: Task, folder: Path, on_wait: OnWait
) -> tuple[Output, ...]:
    """Upload every sealed file below ``folder`` whose hash is the one that was sealed; returns what was sent.

    Nothing is sent, and :class:`ToolFaultError` is raised, if the centre could not read the list of it all.
    """
    going: list[tuple[OutputDecl, tuple[Path, str, str], str | None]] = []
    for path, digest in (record.sealed or {}).items():
        name, _, relative = path.partition("/")
        declared = task.output(name)
        if declared is None:
            raise SystemFaultError("a sealed file belongs to no declared output", at_host=path)
        file = (folder / name / relative, relative, digest)
        going += [(declared, file, recipient) for recipient in _recipients(record, declared)]
    _check_list(record, [(declared, file[1], recipient) for declared, file, recipient in going])
    return tuple([await _upload_one(services, record, *one, on_wait) for one in going])


def _check_list(record: JobRecord, going: Sequence[tuple[OutputDecl, str, str | None]]) -> None:
    """Whether a snapshot can name all that goes: each name at its size, each hash and id at its length."""
    size = len(record.snapshot("H" * 31, "e" * 64).model_dump_json(exclude_defaults=True)) + _SAID_LATER
    for declared, relative, recipient in going:
        names = [declared.name, relative, declared.media_type, recipient or ""]
        size += _OUTPUT_BYTES + len(json.dumps(names, ensure_ascii=False).encode(errors="replace"))
    if limits.sealed_size(size) > limits.MESSAGE_BYTES:
        raise ToolFaultError(
            f"the list of its {len(going)} output files has {limits.text(limits.sealed_size(size))}; the centre reads"
            f" {limits.text(limits.MESSAGE_BYTES)}: pack them into fewer files, or give them shorter names",
            code="tool_fault.output_size",
        )


def _recipients(record: JobRecord, declared: OutputDecl) -> list[str | None]:
    if not declared.artefact_for:
        return [None]
    hosts = {host for task in declared.artefact_for for host in record.order.hosts.get(task, ())}
    return [*sorted(hosts)]


async def _upload_one(
    services: Services,
    record: JobRecord,
    declared: OutputDecl,
    file: tuple[Path, str, str],
    recipient: str | None,
    on_wait: OnWait,
) -> Output:
    source, relative, digest = file
    if recipient is not None:
        source = await asyncio.to_thread(_encrypt, source, digest, record.order.recipients.get(recipient), recipient)
        digest = await asyncio.to_thread(sha256_of, source)
    elif await asyncio.to_thread(sha256_of, source) != digest:
        raise _changed(relative)
    new = NewUpload(
        job=record.job,
        output=declared.name,
        path=relative,
        size=source.stat().st_size,
        sha256=digest,
        media_type=declared.media_type,
        recipient=recipient,
    )
    file_id = await services.transfer.upload(new, source, on_wait)
    return Output(
        output=declared.name,
        path=relative,
        file=file_id,
        sha256=digest,
        size=new.size,
        media_type=new.media_type,
        recipient=recipient,
    )


def _encrypt(source: Path, digest: str, key: dict[str, object] | None, recipient: str) -> Path:
    if key is None:
        raise SystemFaultError(f"the order gives no key of host {recipient}, which is to get an artefact")
    content = source.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise _changed(source.name)
    target = source.with_name(f"{source.name}.{recipient}.jwe")
    target.write_bytes(encrypt_to(content, key))
    return target


def _changed(name: str) -> SystemFaultError:
    return SystemFaultError("a sealed file was changed after it was sealed; nothing was sent", at_host=name)


async def seal_artefacts(record: JobRecord, task: Task, workspace: Workspace) -> Path:
    """Seal only what peers need now, when a service is ready; returns the folder."""
    target = workspace.root / "artefacts"
    wanted = [output for output in task.outputs if output.artefact_for]
    record.sealed = await asyncio.to_thread(workspace.seal, wanted, target)
    return target
