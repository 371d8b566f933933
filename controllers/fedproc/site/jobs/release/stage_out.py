"""From a job's last process to its results at the centre: sealed copy, the site's decision, upload."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path

from fedproc.common.errors import RefusedError, SystemFaultError, ToolFaultError
from fedproc.common.files import sha256_of
from fedproc.common.log import get_logger
from fedproc.contract.api.files import NewUpload
from fedproc.contract.tool.leaving import OF_PERSONS
from fedproc.contract.tool.task import OutputDecl, Task
from fedproc.contract.wire import limits
from fedproc.contract.wire.messages import Output
from fedproc.contract.wire.release import REFUSED, TEXTS
from fedproc.site.centre.api import OnWait
from fedproc.site.jobs import artefacts
from fedproc.site.jobs.grants import ask_for_release
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.release import earlier_releases, masking
from fedproc.site.jobs.release.for_researcher import ForResearcher
from fedproc.site.jobs.release.known_values import known_of
from fedproc.site.jobs.release.room import with_room, written_with_room
from fedproc.site.jobs.reviewing import Decision
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.stage_in import confirm_datasets
from fedproc.site.jobs.workspace import Workspace
from fedproc.site.policy.disclosure import findings_apart
from fedproc.site.policy.engine import disclosure_rules as rules
from fedproc.site.policy.engine.disclosure_rules import Rule
from fedproc.site.policy.engine.findings import Finding, Result
from fedproc.site.policy.policy_file import Policy, Terms
from fedproc.site.policy.review import is_shown
from fedproc.site.tlog.entries import RuleUsed

log = get_logger(__name__)

EVERY_RULE = "rules"
"""in the transparency log: the edition of all of them, under whose hash they are kept beside it"""
WITHHELD = TEXTS[REFUSED]
"""what a researcher reads when outputs stay: whatever was found, and whoever decided"""
_OUTPUT_BYTES = 240
"""of one output in a snapshot, without its names: keys, file id, sha256, size"""
_SAID_LATER = 64 << 10
"""bytes for what a snapshot comes to say after its outputs are known"""


class _DecisionNeededError(RefusedError):
    """The site's policy wants a person's word by now, and there is none."""

    code = "release.artefact"


def terms_of(services: Services, record: JobRecord, task: Task) -> Terms:
    """How the job's outputs leave: as the policy said when the job was admitted, and as it says now if stricter.

    Raises :class:`RefusedError` if the policy admits the job no more, or demands more protection of persons by now.
    """
    rule = services.policy.rule(record.order)
    masking.check_demands(record, task, rule)
    present = services.policy.terms(rule, task)
    return record.terms.stricter(present) if record.terms is not None else present


async def release(
    services: Services,
    record: JobRecord,
    task: Task,
    sealed: Path,
    decided: Callable[[Policy, list[Finding]], Awaitable[None]],
    on_wait: OnWait,
    needed: frozenset[str] = frozenset(),
    taken: frozenset[str] = frozenset(),
) -> tuple[Output, ...]:
    """Upload the sealed outputs as the site's policy lets them leave, whatever it says while they wait or go.

    ``decided`` returns when persons have decided about what keeps them, or when the policy is another one meanwhile.
    What a person said already keeps them, too. Of outputs that are ``needed`` by other tasks none is kept alone, and
    those that other tasks may have ``taken`` are not encrypted to the user.
    Raises as :func:`check`, :func:`apply_decision`, :func:`ask_for_release` and :func:`upload` do.
    """
    while True:
        policy = services.policy
        found = await check(services, record, task, sealed, on_wait=on_wait)
        if not found and record.decision is None:
            found = await shown_all_the_same(services, record, task)
        begun = record.review is not None and bool(record.review.opinions)
        if (found or begun) and record.sealed and record.decision is None:
            await decided(policy, found)
            continue
        leaving = apply_decision(record.decision, record.sealed or {})
        record.leaving = _without_kept(leaving, found, needed)
        if task.outputs:
            await ask_for_release(services, record, on_wait)
        try:
            return await upload(services, record, task, sealed, on_wait, record.leaving, taken)
        except _DecisionNeededError:
            continue


async def check(
    services: Services, record: JobRecord, task: Task, sealed: Path,
    hashes: Mapping[str, str] | None = None, on_wait: OnWait = lambda _: None,
) -> list[Finding]:  # fmt: skip
    """What keeps the sealed outputs from leaving by themselves; of what no person may let out, there is more left.

    Each finding goes to the host's log. Raises :class:`RefusedError` if nothing may leave; its text is the same
    whatever was found.
    """
    if not task.outputs:
        return []
    terms, known = terms_of(services, record, task), known_of(services, record, task)
    found = await with_room(on_wait, findings_apart, terms, task, sealed, known)
    found += await earlier_releases.findings(services, record, task, record.sealed if hashes is None else hashes)
    record.rules = _rules_used(services, found)
    for each in found:
        log.info("release.finding", job=record.job, output=each.output, **each.as_fields())
    present = {path.partition("/")[0] for path in record.sealed or {}} or {output.name for output in task.outputs}
    kept = refused_outputs(found)
    if kept and (kept >= present or services.policy.review.rest == "refuse"):
        raise RefusedError(WITHHELD, code="release.withheld")
    return found


def _rules_used(services: Services, found: Iterable[Finding]) -> tuple[RuleUsed, ...]:
    """The edition of all rules with the site's own limits, and each rule that found something, once."""
    policy = services.policy
    site = {"floor": policy.least_count, "budget": policy.ledger.budget, "window_days": policy.ledger.window_days}
    every = RuleUsed(id=EVERY_RULE, version=rules.EDITION, limits=site)
    single = {each.rule.id: each.rule for each in found}
    return every, *(_rule_used(rule, policy.least_count) for _, rule in sorted(single.items()))


def _rule_used(rule: Rule, floor: int) -> RuleUsed:
    """``limits``: the rule's threshold, or the site's floor in its place."""
    threshold = limit_of(rule, floor)
    return RuleUsed(id=rule.id, version=str(rule.version), limits={} if threshold is None else {"threshold": threshold})


def limit_of(rule: Rule, floor: int) -> float | None:
    """The rule's threshold, or the site's floor in its place."""
    return floor if rule.threshold == rules.FLOOR and rule in rules.OF_FLOOR else rule.threshold


def refused_outputs(found: Iterable[Finding]) -> set[str]:
    """The outputs that no person may let leave."""
    return {each.output for each in found if each.result is Result.refuse}


def _without_kept(leaving: Mapping[str, str], found: Iterable[Finding], needed: frozenset[str]) -> dict[str, str]:
    """A rule that came, or became stricter, after a person's decision keeps what it refuses, and all else with an
    output that other tasks need. Raises RefusedError."""
    kept = refused_outputs(found)
    if kept & needed:
        raise RefusedError(WITHHELD, code="release.withheld")
    left = {path: digest for path, digest in leaving.items() if path.partition("/")[0] not in kept}
    if leaving and not left:
        raise RefusedError(WITHHELD, code="release.withheld")
    return left


async def shown_all_the_same(services: Services, record: JobRecord, task: Task) -> list[Finding]:
    """Of jobs whose outputs say something of persons, and would leave by themselves, some are shown to a person.

    Which ones follows from the job's id under a key of this host, so that no tool can tell. Raises
    :class:`HostLogError` where that key is not to be had.
    """
    one_in, terms = services.policy.review.sample, terms_of(services, record, task)
    shown = [each for each in task.outputs if each.disclosure in OF_PERSONS and terms.of(each.name) == "automatic"]
    if not one_in or not shown:
        return []
    names = await services.tlog.pseudonyms()
    if not is_shown(names.of("sample", record.job).partition(":")[2], one_in):
        return []
    text = f"one in {one_in} of what leaves by itself is shown to a person"
    return [Finding(each.name, rules.SAMPLE, Result.review, text) for each in shown]


def apply_decision(decision: Decision | None, sealed: dict[str, str]) -> dict[str, str]:
    """What of ``sealed`` leaves: all if nobody was asked, else what persons released, if it was about these very bytes.

    Raises :class:`RefusedError`, or :class:`SystemFaultError` if they are others.
    """
    if decision is None:
        return sealed
    if not decision.release:
        raise RefusedError(TEXTS[REFUSED], code="release.refused")
    if decision.hashes | decision.withheld != sealed:
        raise SystemFaultError("the site's decision was about other bytes than these", code="release.changed")
    return decision.hashes


async def publish_artefacts(
    services: Services, record: JobRecord, task: Task, workspace: Workspace, on_wait: OnWait
) -> None:
    """What the peers of a service need of it leaves now, when it is ready. Safe to repeat: the same bytes go again."""
    if not any(output.artefact_for for output in task.outputs):
        return
    await confirm_datasets(services, record)
    hashes, folder = await with_room(on_wait, artefacts.seal_once, task, workspace), artefacts.folder_of(workspace)
    if await check(services, record, task, folder, hashes, on_wait):
        raise RefusedError("an artefact may not leave this site by itself", code="release.artefact")
    record.artefacts = await upload(services, record, task, folder, on_wait, hashes)
    record.sealed = None


async def finish_artefacts(
    services: Services, record: JobRecord, task: Task, workspace: Workspace, on_wait: OnWait
) -> None:
    """A service ended while its artefacts were sent: what was begun is completed, since some may have been taken."""
    if not record.artefacts and await asyncio.to_thread(artefacts.begun, workspace):
        await publish_artefacts(services, record, task, workspace, on_wait)


async def upload(
    services: Services,
    record: JobRecord,
    task: Task,
    folder: Path,
    on_wait: OnWait,
    hashes: Mapping[str, str] | None = None,
    taken: frozenset[str] = frozenset(),
) -> tuple[Output, ...]:
    """Upload every file below ``folder`` that has the hash with which it was sealed (``hashes``, unless it is those
    of the record's sealed copy), encrypted to its user's key, if any, but for what is ``taken``; returns what was sent.

    Nothing is sent, and :class:`ToolFaultError` is raised, if the centre could not read the list of it all.
    """
    going: list[tuple[OutputDecl, tuple[Path, str, str], str | None]] = []
    for path, digest in (hashes if hashes is not None else record.sealed or {}).items():
        name, _, relative = path.partition("/")
        declared = task.output(name)
        if declared is None:
            raise SystemFaultError("a sealed file belongs to no declared output", at_host=path)
        file = (folder / name / relative, relative, digest)
        going += [(declared, file, recipient) for recipient in _recipients(record, declared)]
    _check_list(record, [(declared, file[1], recipient) for declared, file, recipient in going])
    files = {f"{declared.name}/{file[1]}": file[2] for declared, file, _ in going}
    if not await earlier_releases.note(services, record, task, files, on_wait):
        raise _DecisionNeededError("another result of its project was released meanwhile; it may not leave by itself")
    sent = []
    for declared, file, recipient in going:
        _may_leave(services, record, task, declared)
        if recipient is None and record.order.encrypt_to and declared.name not in taken | record.masked:
            sent.append(await _upload_encrypted(services, record, declared, file, on_wait))
        elif recipient is None:
            sent.append(await _upload_one(services, record, declared, file, on_wait))
        else:
            sent.append(await _upload_artefact(services, record, declared, file, recipient, on_wait))
    return tuple(sent)


def _may_leave(services: Services, record: JobRecord, task: Task, declared: OutputDecl) -> None:
    """Whether it still may: what goes waits for the centre, for days if need be."""
    how = terms_of(services, record, task).of(declared.name)
    if how == "never":
        raise RefusedError(WITHHELD, code="release.withheld")
    if how == "manual" and record.decision is None:
        raise _DecisionNeededError(f"{declared.name}: the site's policy was changed; it may not leave by itself")


def _check_list(record: JobRecord, going: Sequence[tuple[OutputDecl, str, str | None]]) -> None:
    """Whether a snapshot can name all that goes: each name at its size, each hash and id at its length."""
    size = len(record.snapshot("H" * 31, "e" * 64).model_dump_json(exclude_defaults=True)) + _SAID_LATER
    own = "p" * 100 if record.order.encrypt_to else ""
    for declared, relative, recipient in going:
        names = [declared.name, relative, declared.media_type, recipient or "", own]
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
    services: Services, record: JobRecord, declared: OutputDecl, file: tuple[Path, str, str], on_wait: OnWait
) -> Output:
    source, relative, digest = file
    if await asyncio.to_thread(sha256_of, source) != digest:
        raise artefacts.changed(relative)
    if declared.name in record.masked:
        source = await written_with_room(on_wait, masking.write_masked, services, record, declared, source)
        digest = await asyncio.to_thread(sha256_of, source)
    return await _send(services, _announced(record, declared, relative, source, digest), source, on_wait)


async def _upload_encrypted(
    services: Services, record: JobRecord, declared: OutputDecl, file: tuple[Path, str, str], on_wait: OnWait
) -> Output:
    source, relative, digest = file
    parcel = ForResearcher(services.workspace(record.job).root, f"{declared.name}/{relative}", record.order)
    if (sent := await asyncio.to_thread(parcel.sent)) is not None:
        return sent
    await with_room(on_wait, parcel.encrypt_once, source, digest)
    new = _announced(record, declared, relative, parcel.encrypted, await asyncio.to_thread(parcel.sha256))
    output = await _send(services, parcel.described(new, digest), parcel.encrypted, on_wait)
    await written_with_room(on_wait, parcel.keep, output)
    return output


async def _upload_artefact(
    services: Services,
    record: JobRecord,
    declared: OutputDecl,
    file: tuple[Path, str, str],
    recipient: str,
    on_wait: OnWait,
) -> Output:
    source, relative, digest = file
    parcel = artefacts.Parcel(services.workspace(record.job).root, f"{declared.name}/{relative}", recipient)
    if (sent := await asyncio.to_thread(parcel.sent)) is not None:
        return sent
    await with_room(on_wait, parcel.encrypt, source, digest, record.order.recipients.get(recipient))
    digest = await asyncio.to_thread(sha256_of, parcel.encrypted)
    new = _announced(record, declared, relative, parcel.encrypted, digest, recipient)
    output = await _send(services, new, parcel.encrypted, on_wait)
    await written_with_room(on_wait, parcel.keep, output)
    return output


def _announced(
    record: JobRecord, declared: OutputDecl, relative: str, source: Path, digest: str, recipient: str | None = None
) -> NewUpload:
    return NewUpload(
        job=record.job,
        output=declared.name,
        path=relative,
        size=source.stat().st_size,
        sha256=digest,
        media_type=declared.media_type,
        recipient=recipient,
    )


async def _send(services: Services, new: NewUpload, source: Path, on_wait: OnWait) -> Output:
    file_id = await services.transfer.upload(new, source, on_wait)
    return Output(file=file_id, **new.model_dump(exclude={"job"}))
