"""The report that lies beside fetched results: what one needs to publish them, and to do the same again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

from fedproc.client.api import Client
from fedproc.client.row_counts import rows_in, warnings_in
from fedproc.contract.api.citing import CitedDataset, citation, not_known, title_of
from fedproc.contract.api.experiments import Report, whose_word
from fedproc.contract.api.files import FileView
from fedproc.contract.api.hosts import DatasetView, HostView
from fedproc.contract.states import ExperimentState

REPORT = "report.json"
_TO_COMPLETE = "its results are not all here; fedproc results {} --to this folder fetches them"
_OF_EXPERIMENT = {
    "label", "owner_name", "created", "ended", "purpose", "project", "permit", "told_by", "parameters",
    "host_parameters", "succeeded_without", "partly_released",
}  # fmt: skip
_OF_DATASET = ("title", "creators", "description", "files", "size", "rows")
"""what is told of a dataset if its host still offers the version that was used, and if the host says it"""
_OF_FILE = {"host", "task", "output", "size", "media_type", "sha256", "plain_sha256"}
_OF_JOB = {"job", "host", "task", "state", "exit_code", "executor", "runtime", "seconds", "times"}


def report_of(client: Client, experiment: str, files: Sequence[tuple[FileView, Path]], folder: Path) -> dict[str, Any]:
    """The report of an experiment as far as it has come; ``files`` are its results, and where in ``folder`` each is.

    ``complete`` is false until all of them are there.
    """
    view, report = client.experiment(experiment), client.report(experiment)
    reasons = {job.id: job.reason for job in view.jobs if job.reason}
    written = [folder / place for entry, place in files if _is_json(entry, place)]
    found = {
        "experiment": experiment,
        "complete": False,
        "centre": client.url,
        "tool": {"id": view.tool, "version": view.version, "digest": view.digest},
        "state": view.state.value,
        **view.model_dump(mode="json", include=_OF_EXPERIMENT),
        "datasets": list(_datasets(report, {entry.id: entry for entry in client.datasets()}, client.hosts())),
        "jobs": [
            {**job.model_dump(mode="json", include=_OF_JOB), "reason": reasons.get(job.job)} for job in report.jobs
        ],
        "rows": rows_in(written),
        "warnings": warnings_in(written),
        "files": [{"path": str(place), **entry.model_dump(mode="json", include=_OF_FILE)} for entry, place in files],
    }
    return {**found, "citation": citation_of(found), "citation_lacks": not_known(_cited(found))}


def _is_json(entry: FileView, place: Path) -> bool:
    return entry.media_type == "application/json" or place.suffix == ".json"


def citation_of(report: dict[str, Any]) -> str:
    """One sentence by which others find exactly this (:func:`~fedproc.contract.api.citing.citation`)."""
    tool, data = report["tool"], _cited(report)
    ending = f"{report['state']} {_second(report['ended'] or report['created'])}"
    return citation((tool["id"], tool["version"], tool["digest"]), data, report["experiment"], report["centre"], ending)


def _cited(report: dict[str, Any]) -> list[CitedDataset]:
    return [
        CitedDataset(
            each["id"],
            each["version"],
            title_of(each["title"] or "", each["description"] or ""),
            each["creators"] or (),
            each["publisher"],
        )
        for each in report["datasets"]
    ]


def _datasets(report: Report, offered: dict[str, DatasetView], hosts: Iterable[HostView]) -> Iterator[dict[str, Any]]:
    """Each dataset once, in the version that its job read; its publisher is who runs its host."""
    sites = {host.id: host.site for host in hosts}
    used = {f"{job.host}:{use['id']}": use.get("version") for job in report.jobs for use in job.datasets}
    for name, version in used.items():
        now = offered.get(name)
        known = now.model_dump(mode="json") if now is not None and now.version == version else {}
        publisher = sites.get(name.partition(":")[0], "")
        yield {"id": name, "version": version, "publisher": publisher, **{key: known.get(key) for key in _OF_DATASET}}


def text_of(report: dict[str, Any]) -> str:
    """The same for a person, short."""
    return "\n".join(
        [
            *_head(report),
            *_parameters(report),
            *_jobs(report),
            *_data(report),
            *_rows(report),
            *_block("Before its numbers are used, the tool says", ((_one_line(text),) for text in report["warnings"])),
            *_files(report),
            *_cite(report),
        ]
    )


def head_of(experiment: str) -> str:
    """The first line of an experiment's report for a person."""
    return _row("Experiment", experiment) + "\n"


def _row(name: str, value: Any) -> str:
    return f"{name + ':':<12} {_one_line(value)}"


def _head(report: dict[str, Any]) -> Iterator[str]:
    tool, without, partly = report["tool"], report["succeeded_without"], report["partly_released"]
    rows = {
        "Experiment": report["experiment"],
        "Complete": "" if report["complete"] else f"no: {_TO_COMPLETE.format(report['experiment'])}",
        "Label": report["label"],
        "Tool": f"{tool['id']} {tool['version']}",
        "Digest": tool["digest"],
        "State": report["state"] + (f" without {', '.join(without)}" if without else ""),
        "Released": f"a part alone, by {', '.join(partly)}" if partly else "",
        "User": report["owner_name"],
        "Started": _second(report["created"]),
        "Ended": _second(report["ended"]),
        **{term.capitalize(): _whose(report, term) for term in ("project", "permit", "purpose")},
        "Centre": report["centre"],
    }
    yield from (_row(name, value) for name, value in rows.items() if value)


def _whose(report: dict[str, Any], term: str) -> str:
    return f"{report[term]} ({whose_word(report['told_by'], term)})" if report[term] else ""


def _second(moment: str | None) -> str | None:
    """ISO 8601 to the second, with its offset; whatever else it is, as it is."""
    try:
        return datetime.fromisoformat(moment).isoformat(timespec="seconds") if moment else None
    except ValueError:
        return moment


def _block(title: str, rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Aligned rows under their heading; nothing where there are none."""
    found = list(rows)
    if not found:
        return
    widths = [max(map(len, column)) for column in zip_longest(*found, fillvalue="")]
    yield f"\n{title}:"
    for row in found:
        yield ("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))).rstrip()


def _parameters(report: dict[str, Any]) -> Iterator[str]:
    rows = list(report["parameters"].items())
    rows += [(f"{host}.{name}", each) for host, own in report["host_parameters"].items() for name, each in own.items()]
    return _block("Parameters", ((name, f"= {_json(value)}") for name, value in rows))


def _jobs(report: dict[str, Any]) -> Iterator[str]:
    return _block("Jobs", map(_job, report["jobs"]))


def _job(job: dict[str, Any]) -> tuple[str, str, str, str]:
    time = "" if job["seconds"] is None else f"{job['seconds']:.1f} s"
    return f"{job['task']}@{job['host']}", job["state"], time, _one_line(job["reason"] or "")


def _data(report: dict[str, Any]) -> Iterator[str]:
    return _block("Datasets", map(_dataset, report["datasets"]))


def _dataset(data: dict[str, Any]) -> tuple[str, str]:
    known = [f"version {data['version'] or 'unknown'}"]
    known += [f"{data[key]} {unit}" for key, unit in (("rows", "rows"), ("size", "bytes")) if data[key] is not None]
    return data["id"], ", ".join(known)


def _rows(report: dict[str, Any]) -> Iterator[str]:
    return _block("Rows, as the tool says", map(_row_counts, report["rows"]))


def _row_counts(entry: dict[str, Any]) -> tuple[str, str]:
    named = (("read", "read"), ("used", "used"), ("left_out", "left out"))
    known = [f"{entry[key]} {word}" for key, word in named if entry[key] is not None]
    return _one_line(entry["id"]), ", ".join(known) + (f" ({_one_line(entry['why'])})" if entry["why"] else "")


def _files(report: dict[str, Any]) -> Iterator[str]:
    return _block("Files (sha256)", ((entry["sha256"], _one_line(entry["path"])) for entry in report["files"]))


def _cite(report: dict[str, Any]) -> Iterator[str]:
    if report["ended"] is None:
        yield "\nNot to be cited yet: it has not ended; fetch the results again when it has.\n"
    elif report["state"] != ExperimentState.succeeded.value:
        yield f"\nNot to be cited: it ended {report['state']}, so it has no result.\n"
    elif not report["complete"]:
        yield "\nNot to be cited yet: its results were not all fetched.\n"
    else:
        files = f"the sha256 of each file stands above, and in {REPORT}" if report["files"] else "it has no results"
        yield f"\nTo cite: {report['citation']}; {files}\n"
        if lacks := report["citation_lacks"]:
            yield f"What the citation lacks: {_one_line(lacks)}\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _one_line(value: Any) -> str:
    return " ".join(str(value).split())
