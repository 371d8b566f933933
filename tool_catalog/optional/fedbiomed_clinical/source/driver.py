"""The task ``server``: Fed-BioMed's researcher, one experiment of federated averaging over the experiment's hosts."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from biomed.researcher import Arrays, Driver, Found, Training, gather, serve
from plan import SitePlan
from regression.answers import Answer, same
from regression.faults import Broken, Fault
from regression.jsonfile import strict_object, write_object
from regression.persons import check_pooled
from request import Request

TAGS = ("fedbiomed-clinical",)
MOST_NAMES = 1000
PLATFORM = "Fed-BioMed 6.4.1"


def run(name: str, port: int, hosts: Sequence[str], request: Request, output: Path, metrics: Path) -> None:
    """Train over all ``hosts`` and write ``model.npz`` and ``result.json`` into ``output``.

    Raises Broken if a host is lost; ``result.json`` then says so, and there is no model.
    """
    told: list[dict[str, Any]] = []
    try:
        names, rows, learned = _train(name, port, hosts, request, metrics, told)
    except Fault as fault:
        write_object(output / "result.json", {"schema_version": 1, "status": "failed", "error": str(fault)})
        raise
    if len(told) != request.rounds:
        raise Broken(f"Fed-BioMed ended after {len(told)} rounds, and should have run {request.rounds}")
    terms, values = _coefficients(names, learned, request)
    np.savez(output / "model.npz", terms=np.array(terms), coefficients=np.array(values), outcome=np.array(names[-1]))
    n = sum(rows.values())
    result = {
        "schema_version": 1,
        "status": "ok",
        "error": None,
        "platform": PLATFORM,
        "formula": request.formula.given,
        "hosts": [{"host": host, "n": rows[host]} for host in sorted(rows)],
        "n": n,
        "rounds": [{"n": n, **done} for done in told],
        "model": {"file": "model.npz", "n": n, "coefficients": dict(zip(terms, values, strict=True))},
    }
    write_object(output / "result.json", result)


def _train(
    name: str, port: int, hosts: Sequence[str], request: Request, metrics: Path, told: list[dict[str, Any]]
) -> tuple[tuple[str, ...], dict[str, int], Arrays]:
    """Columns, rows by host, and the model's arrays. What each round told is appended to ``told``."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, metrics.open("a", encoding="utf-8") as stream:
        requests = serve(Path(folder) / "researcher", name, port)
        print(f"waiting on port {port} for {', '.join(hosts)}", flush=True)
        found = gather(requests, hosts, TAGS, request.join_seconds)
        names, rows = _introduced(found, request)
        check_pooled(len(names), sum(rows.values()))
        request.standards_of(names[:-1])
        begun = time.monotonic()

        def report(number: int, before: Arrays, after: Arrays) -> None:
            change = float(np.sqrt(sum(((after[part] - before[part]) ** 2).sum() for part in after)))
            told.append({"round": number, "change": change, "hosts": len(hosts), "seconds": _since(begun)})
            stream.write(json.dumps(told[-1]) + "\n")
            stream.flush()
            print(f"round {number}: the average moved the model by {change:.4f}", flush=True)

        terms = len(names) - 1
        training = Training(
            TAGS, SitePlan, request.model_args(terms), request.training_args(), request.rounds, samples=rows
        )
        return names, rows, Driver(requests, found, training).run(request.round_seconds, report)


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 3)


def _introduced(found: Sequence[Found], request: Request) -> tuple[tuple[str, ...], dict[str, int]]:
    known: list[tuple[str, tuple[str, ...], int]] = []
    for entry in found:
        text = str(entry.entry.get("description")).partition("\n")[2]
        answer = Answer(entry.host, strict_object(text.encode(), f"{entry.host}: what it tells of its dataset"))
        answer.check(("names", "n"), formula=request.formula.given)
        known.append((entry.host, answer.texts("names", MOST_NAMES), answer.persons("n", request.min_cell)))
    names = same([(host, names) for host, names, _ in known], "the columns")
    return names, {host: rows for host, _, rows in known}


def _coefficients(names: tuple[str, ...], learned: Arrays, request: Request) -> tuple[list[str], list[float]]:
    """Of the columns as they are, the intercept first."""
    mean, deviation = (np.array(part) for part in request.standards_of(names[:-1]))
    slopes = learned["coef_"] / deviation
    intercept = float(learned["intercept_"][0] - (slopes * mean).sum())
    return ["Intercept", *names[:-1]], [intercept, *slopes.tolist()]
