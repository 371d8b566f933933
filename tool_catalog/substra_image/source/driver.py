"""The task ``server``: SubstraFL's compute plan of federated averaging, executed over the experiment's hosts."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import algo
import network
import numpy as np
import opener
import states
from network import Array
from regression.faults import Broken, Fault
from regression.jsonfile import write_object
from request import Request
from rounds.messages import finished
from rounds.serving import Rounds, serving
from substra_plan.executor import Hosts, States, replace_executor
from substra_plan.plan import execute
from substra_plan.words import PLATFORM, TEST
from worker import strategy


@dataclass(frozen=True)
class Rows:
    """Patches of one host."""

    train_rows: int
    test_rows: int


def run(port: int, hosts: Sequence[str], request: Request, output: Path, metrics: Path) -> None:
    """Execute the plan over all ``hosts`` and write ``model.npz`` and ``result.json`` into ``output``.

    Raises Broken if a host is lost; ``result.json`` then says so, and there is no model.
    """
    try:
        arrays, told = _train(port, hosts, request, metrics)
    except Fault as fault:
        write_object(output / "result.json", {"schema_version": 2, "status": "failed", "error": str(fault)})
        raise
    np.savez(output / "model.npz", **dict(zip(network.NAMES, arrays, strict=True)))
    result = {
        "schema_version": 2,
        "status": "ok",
        "error": None,
        "platform": PLATFORM,
        "rounds": told,
        "model": {"file": "model.npz"},
    }
    write_object(output / "result.json", result)


def _train(
    port: int, hosts: Sequence[str], request: Request, metrics: Path
) -> tuple[list[Array], list[dict[str, Any]]]:
    """The network, and what each round told."""
    with serving(port, hosts) as rounds, metrics.open("a", encoding="utf-8") as stream:
        rows = _introduced(rounds, request)
        shapes = states.Shapes(request.size)
        kinds = States(
            told=lambda average: states.told(average.avg_parameters_update),
            trained=lambda answer: shapes.shared(answer, rows[answer.host].train_rows),
            measured=states.measured,
        )
        at = Hosts(rounds, kinds, request.task_seconds)
        report = Report(at, rows, stream)
        replace_executor(at, report.after)
        execute(strategy(request), rows, request.rounds, Path(opener.__file__), [algo])
        rounds.reply(finished())
    if not len(at.averaged) == len(report.rounds) == request.rounds:
        raise Broken(f"the plan made {len(at.averaged)} averages, and should have made {request.rounds}")
    arrays = network.start(request.size, request.seed)
    for average in at.averaged:
        arrays = [before + update for before, update in zip(arrays, average.avg_parameters_update, strict=True)]
    return arrays, report.rounds


def _introduced(rounds: Rounds, request: Request) -> dict[str, Rows]:
    found = {}
    for answer in rounds.gather(request.join_seconds):
        answer.check(("train_rows", "test_rows"), schema_version=1, request=request.as_json())
        found[answer.host] = Rows(*(answer.persons(name, request.min_persons) for name in ("train_rows", "test_rows")))
    return found


class Report:
    """What is told of each round once all hosts have measured: means over all patches, and each host's own."""

    def __init__(self, hosts: Hosts, rows: Mapping[str, Rows], stream: TextIO) -> None:
        self.rounds: list[dict[str, Any]] = []
        self._hosts, self._rows, self._stream = hosts, rows, stream
        self._begun = time.monotonic()

    def after(self, task: str) -> None:
        if task != TEST or len(self._hosts.measured[-1]) < len(self._rows):
            return
        told = self._told(self._hosts.measured[-1])
        self.rounds.append(told)
        shown = ("round", "loss", "test_loss", "accuracy", "hosts", "seconds")
        self._stream.write(json.dumps({name: told[name] for name in shown}) + "\n")
        self._stream.flush()
        print(f"round {told['round']}: loss {told['loss']:.4f}, held-out accuracy {told['accuracy']:.4f}", flush=True)

    def _told(self, by_host: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        hosts = sorted(by_host)
        weights = {"loss": [self._rows[host].train_rows for host in hosts]}
        tested = [self._rows[host].test_rows for host in hosts]
        means = {
            name: float(np.average([by_host[host][name] for host in hosts], weights=weights.get(name, tested)))
            for name in algo.METRICS
        }
        return {
            "round": len(self.rounds) + 1,  # SubstraFL may make the next average before it has this one measured
            "train_rows": sum(weights["loss"]),
            "test_rows": sum(tested),
            **means,
            "hosts": len(hosts),
            "seconds": round(time.monotonic() - self._begun, 3),
            "sites": [{"host": host, **vars(self._rows[host]), **by_host[host]} for host in hosts],
        }
