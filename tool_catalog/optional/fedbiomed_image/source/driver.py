"""The task ``server``: Fed-BioMed's researcher, one experiment of federated averaging over the experiment's hosts."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import measuring
import numpy as np
from biomed.researcher import Arrays, Driver, Found, Training, gather, serve
from plan import ImagePlan
from regression.answers import Answer
from regression.faults import Broken, Fault
from regression.jsonfile import strict_object, write_object
from request import Request

TAGS = ("fedbiomed-image",)
PLATFORM = "Fed-BioMed 6.4.1"


def run(name: str, port: int, hosts: Sequence[str], request: Request, output: Path, metrics: Path) -> None:
    """Train over all ``hosts`` and write ``model.npz`` and ``result.json`` into ``output``.

    Raises Broken if a host is lost; ``result.json`` then says so, and there is no model.
    """
    told: list[dict[str, Any]] = []
    try:
        rows, learned = _train(name, port, hosts, request, metrics, told)
        if len(told) != request.rounds:
            raise Broken(f"Fed-BioMed ended after {len(told)} rounds, and should have run {request.rounds}")
    except Fault as fault:
        write_object(output / "result.json", {"schema_version": 1, "status": "failed", "error": str(fault)})
        raise
    np.savez(output / "model.npz", **measuring.named(learned))
    n = sum(rows.values())
    result = {
        "schema_version": 1,
        "status": "ok",
        "error": None,
        "platform": PLATFORM,
        "hosts": [{"host": host, "n": rows[host]} for host in sorted(rows)],
        "rounds": [{"n": n, **done} for done in told],
        "model": {"file": "model.npz"},
    }
    write_object(output / "result.json", result)


def _train(
    name: str, port: int, hosts: Sequence[str], request: Request, metrics: Path, told: list[dict[str, Any]]
) -> tuple[dict[str, int], Arrays]:
    """Patches by host, and the model's arrays. What each round told is appended to ``told``."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, metrics.open("a", encoding="utf-8") as stream:
        requests = serve(Path(folder) / "researcher", name, port)
        print(f"waiting on port {port} for {', '.join(hosts)}", flush=True)
        found = gather(requests, hosts, TAGS, request.join_seconds)
        rows = {entry.host: _rows(entry, request) for entry in found}
        begun = time.monotonic()

        def report(number: int, before: Arrays, after: Arrays) -> None:
            parts = measuring.TORCH
            change = float(np.sqrt(sum(((after[part] - before[part]) ** 2).sum() for part in parts)))
            seconds = round(time.monotonic() - begun, 3)
            told.append({"round": number, "change": change, "hosts": len(hosts), "seconds": seconds})
            stream.write(json.dumps(told[-1]) + "\n")
            stream.flush()
            print(f"round {number}: the average moved the model by {change:.4f}", flush=True)

        training = Training(
            TAGS, ImagePlan, request.model_args(), request.training_args(), request.rounds, samples=rows
        )
        return rows, Driver(requests, found, training).run(request.round_seconds, report)


def _rows(entry: Found, request: Request) -> int:
    text = str(entry.entry.get("description")).partition("\n")[2]
    answer = Answer(entry.host, strict_object(text.encode(), f"{entry.host}: what it tells of its dataset"))
    answer.check(("n",), size=request.size)
    return answer.persons("n", request.min_persons)
