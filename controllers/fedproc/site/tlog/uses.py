"""What a log of a host says of each job: who used which dataset with which tool, and what left by whose decision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from fedproc.common.tlog.entries import Entry
from fedproc.site.tlog.entries import JobAccepted, JobEnded, JobStarted, OutputUploaded, ReleaseDecided


@dataclass
class JobUse:
    """One job, as far as the entries tell. ``datasets``: version by id; ``left``: sha256 of what the centre has."""

    job: str
    experiment: str
    accepted: str | None = None
    started: str | None = None
    ended: str | None = None
    state: str | None = None
    tool: dict[str, Any] = field(default_factory=dict)
    datasets: dict[str, str | None] = field(default_factory=dict)
    user: str | None = None
    project: str | None = None
    purpose: str | None = None
    told_by: dict[str, str] = field(default_factory=dict)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def uses(entries: Iterable[Entry]) -> list[JobUse]:
    """One for each job, in the order in which they came."""
    found: dict[str, JobUse] = {}
    for entry in entries:
        if isinstance(job := entry.data.get("job"), str):
            use = found.setdefault(job, JobUse(job, str(entry.data.get("experiment"))))
            _add(use, entry)
    return list(found.values())


def _add(use: JobUse, entry: Entry) -> None:
    data = entry.data
    match entry.kind:
        case JobAccepted.kind:
            use.accepted = use.accepted or entry.at
            use.tool, use.user = dict(data.get("tool", {})), data.get("user")
            use.project, use.purpose = data.get("project"), data.get("purpose")
            use.told_by = dict(data.get("told_by", {}))
            _add_datasets(use, data)
        case JobStarted.kind:
            use.started = entry.at
            _add_datasets(use, data)
        case JobEnded.kind:
            use.ended, use.state = entry.at, data.get("state")
        case ReleaseDecided.kind:
            use.decisions.append({"at": entry.at, **{k: v for k, v in data.items() if k not in ("job", "experiment")}})
        case OutputUploaded.kind:
            use.left.append(str(data.get("sha256")))


def _add_datasets(use: JobUse, data: Any) -> None:
    use.datasets |= {str(one.get("id")): one.get("version") for one in data.get("datasets", [])}
