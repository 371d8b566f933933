"""The task ``server``: SubstraFL's compute plan of federated averaging, executed over the experiment's hosts."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import algo
import numpy as np
import states
from regression.answers import Answer, same
from regression.faults import Broken, Fault
from regression.jsonfile import write_object
from regression.persons import check_pooled
from request import Request
from rounds.messages import finished
from rounds.serving import Rounds, serving
from substra_plan.executor import Hosts, States, replace_executor
from substra_plan.plan import execute
from substra_plan.words import PLATFORM
from substrafl.strategies import FedAvg

MOST_NAMES = 1000


def run(port: int, hosts: Sequence[str], request: Request, output: Path, metrics: Path) -> None:
    """Execute the plan over all ``hosts`` and write ``model.npz`` and ``result.json`` into ``output``.

    Raises Broken if a host is lost; ``result.json`` then says so, and there is no model.
    """
    try:
        names, rows, parameters, told = _train(port, hosts, request, metrics)
    except Fault as fault:
        write_object(output / "result.json", {"schema_version": 2, "status": "failed", "error": str(fault)})
        raise
    terms, values = ["Intercept", *names[:-1]], [float(parameters[1][0]), *parameters[0].tolist()]
    np.savez(output / "model.npz", terms=np.array(terms), coefficients=np.array(values), outcome=np.array(names[-1]))
    n = sum(rows.values())
    result = {
        "schema_version": 2,
        "status": "ok",
        "error": None,
        "platform": PLATFORM,
        "formula": request.formula.given,
        "hosts": [{"host": host, "n": rows[host]} for host in sorted(rows)],
        "n": n,
        "rounds": [{"round": done["round"], "n": n, **done} for done in told],
        "model": {"file": "model.npz", "n": n, "coefficients": dict(zip(terms, values, strict=True))},
    }
    write_object(output / "result.json", result)


def _train(port: int, hosts: Sequence[str], request: Request, metrics: Path) -> Any:
    """Columns, rows by host, the model's parameters, and what each round told."""
    told: list[dict[str, Any]] = []
    with serving(port, hosts) as rounds, metrics.open("a", encoding="utf-8") as stream:
        names, rows = _introduced(rounds, request)
        begun = time.monotonic()

        def report(_: str) -> None:
            change = float(np.sqrt(sum((part**2).sum() for part in at.averaged[-1].avg_parameters_update)))
            seconds = round(time.monotonic() - begun, 3)
            told.append({"round": len(at.averaged), "change": change, "hosts": len(rows), "seconds": seconds})
            stream.write(json.dumps(told[-1]) + "\n")
            stream.flush()
            print(f"round {len(at.averaged)}: the average moved the model by {change:.4f}", flush=True)

        at = Hosts(rounds, _states(len(names) - 1, rows), request.task_seconds)
        replace_executor(at, report)
        strategy = FedAvg(algo=algo.SiteRegression(terms=len(names) - 1))
        execute(strategy, rows, request.rounds, Path(__file__).with_name("opener.py"), [algo])
        rounds.reply(finished())
    updates = [average.avg_parameters_update for average in at.averaged]
    if len(updates) != request.rounds:
        raise Broken(f"the plan made {len(updates)} averages, and should have made {request.rounds}")
    parameters = [sum(parts) for parts in zip(algo.start(len(names) - 1), *updates, strict=True)]
    return names, rows, parameters, told


def _introduced(rounds: Rounds, request: Request) -> tuple[tuple[str, ...], dict[str, int]]:
    known: list[tuple[Answer, tuple[str, ...], int]] = []
    for answer in rounds.gather(request.join_seconds):
        answer.check(("names", "n"), schema_version=1, request=request.as_json())
        known.append((answer, answer.texts("names", MOST_NAMES), answer.persons("n", request.min_cell)))
    names = same([(answer.host, names) for answer, names, _ in known], "the columns")
    check_pooled(len(names), sum(rows for _, _, rows in known))
    return names, {answer.host: rows for answer, _, rows in known}


def _states(terms: int, rows: dict[str, int]) -> States:
    return States(
        told=lambda average: states.told(average.avg_parameters_update),
        trained=lambda answer: states.shared(answer, terms, rows[answer.host]),
    )
