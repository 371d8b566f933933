"""The task ``server``: SubstraFL's compute plan of federated averaging, executed over the experiment's hosts."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import algo
import cloudpickle
import numpy as np
from regression.answers import Answer, same
from regression.faults import Broken, Fault
from regression.jsonfile import write_object
from regression.persons import check_pooled
from request import Request
from rounds.messages import finished
from rounds.serving import Rounds, serving
from spawner import Hosts, replace_executor
from substra import BackendType, Client
from substra.sdk.schemas import DataSampleSpec, DatasetSpec, Permissions
from substrafl.dependency import Dependency
from substrafl.experiment import execute_experiment
from substrafl.nodes import AggregationNode, TrainDataNode
from substrafl.remote.register import register
from substrafl.strategies import FedAvg

MOST_NAMES = 1000
PLATFORM = "Substra's SDK 1.0.0 (substra, substrafl, substratools) on this infrastructure, not a Substra network"
register.MAXIMAL_PYTHON_VERSION = 13
"""substrafl 1.0.0 stops at 3.12 because of the image that its Dockerfile would make; none is made here"""


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

        def report(done: Hosts) -> None:
            change = float(np.sqrt(sum((part**2).sum() for part in done.averaged[-1].avg_parameters_update)))
            seconds = round(time.monotonic() - begun, 3)
            told.append({"round": len(done.averaged), "change": change, "hosts": len(rows), "seconds": seconds})
            stream.write(json.dumps(told[-1]) + "\n")
            stream.flush()
            print(f"round {len(done.averaged)}: the average moved the model by {change:.4f}", flush=True)

        at = Hosts(rounds, rows, len(names) - 1, request.task_seconds)
        replace_executor(at, report)
        _execute(at, request.rounds)
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


def _execute(hosts: Hosts, number: int) -> None:
    """The compute plan, as a user of SubstraFL writes it. It works in the present folder, so it gets its own."""
    logging.getLogger("substrafl").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="`transient=True` is ignored")
    cloudpickle.register_pickle_by_value(algo)
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            client, *others = [Client(backend_type=BackendType.LOCAL_SUBPROCESS) for _ in (None, *hosts.rows)]
            aggregator = client.organization_info().organization_id
            named = zip(others, sorted(hosts.rows), strict=True)
            execute_experiment(
                client=client,
                strategy=FedAvg(algo=algo.SiteRegression(terms=hosts.terms)),
                train_data_nodes=[_node(one, Path(folder) / host, host, aggregator) for one, host in named],
                aggregation_node=AggregationNode(aggregator),
                num_rounds=number,
                experiment_folder=Path(folder) / "summaries",
                dependencies=Dependency(),
            )
        finally:
            os.chdir(before)


def _node(client: Client, here: Path, host: str, aggregator: str) -> TrainDataNode:
    """A host as an organization of its own, with its data, of which there is nothing here but a name."""
    allowed = Permissions(public=False, authorized_ids=[aggregator])
    here.mkdir(parents=True)
    (here / "description.txt").write_text("The data stays at its host.\n")
    dataset = client.add_dataset(
        DatasetSpec(
            name=host,
            data_opener=Path(__file__).with_name("opener.py"),
            description=here / "description.txt",
            permissions=allowed,
            logs_permission=allowed,
        )
    )
    sample = client.add_data_sample(DataSampleSpec(data_manager_keys=[dataset], path=here))
    return TrainDataNode(client.organization_info().organization_id, dataset, [sample])
