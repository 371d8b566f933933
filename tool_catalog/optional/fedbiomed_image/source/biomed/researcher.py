"""The aggregator's side: Fed-BioMed's researcher, whose experiment has every host in every round, or fails.

Fed-BioMed itself would wait for a node that hangs, and names nodes by numbers of its own: both is seen to here.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from regression.faults import Broken, Fault

from .guard import check_arrays

Arrays = dict[str, np.ndarray]
_POLL = 1.0


@dataclass(frozen=True)
class Found:
    """A node with its dataset: the host that it is, its number, what it told of its dataset."""

    host: str
    node: str
    entry: Mapping[str, Any]


@dataclass(frozen=True)
class Training:
    """What an experiment is made of."""

    tags: tuple[str, ...]
    plan: type
    model_args: Mapping[str, Any]
    training_args: Mapping[str, Any]
    rounds: int
    samples: Mapping[str, int]
    """how many samples each host has to say that it saw in a round"""


def serve(folder: Path, name: str, port: int) -> Any:
    """Make a researcher in ``folder``, which must be new, with a key of this run, and listen on 127.0.0.1:``port``.

    ``name`` is what hosts dial, and stands in the certificate. Returns Fed-BioMed's Requests.
    """
    os.environ.update(
        FBM_RESEARCHER_COMPONENT_ROOT=str(folder), FBM_SERVER_HOST=name, FBM_SERVER_PORT=str(port),
        GRPC_SERVER_SETUP_TIMEOUT="0",
    )  # fmt: skip
    from fedbiomed.common.logger import logger
    from fedbiomed.researcher.config import config

    logger.setLevel("ERROR")
    os.environ["FBM_SERVER_HOST"] = "127.0.0.1"
    from fedbiomed.researcher.requests import Requests

    return Requests(config=config)


def gather(requests: Any, hosts: Sequence[str], tags: tuple[str, ...], seconds: float) -> list[Found]:
    """Wait for every host's node with its dataset. Raises Broken naming those that did not come."""
    until, nodes = time.monotonic() + seconds, set()
    while True:
        found = [
            entry for node, data in requests.search(list(tags)).items() for entry in _entries(requests, node, data)
        ]
        nodes = {entry.host for entry in found}
        if nodes == set(hosts) and len(found) == len(hosts):
            return sorted(found, key=lambda entry: entry.host)
        if nodes - set(hosts) or len(found) > len(nodes):
            raise Broken("a node says that it is a host that is not expected, or is here already")
        if time.monotonic() > until:
            missing = ", ".join(sorted(set(hosts) - nodes))
            raise Broken(f"no node of {missing} within {seconds:.0f} s. See the client's log there")
        time.sleep(_POLL)


def _entries(requests: Any, node: str, data: Sequence[Mapping[str, Any]]) -> list[Found]:
    return [Found(str(entry.get("description")).partition("\n")[0], node, entry) for entry in data]


class Driver:
    """Runs the experiment's rounds in a thread, and watches them: ``report`` gets each round's model and replies."""

    def __init__(self, requests: Any, found: Sequence[Found], training: Training) -> None:
        self._requests, self._training = requests, training
        self._hosts = {entry.node: entry.host for entry in found}
        self._done: queue.Queue[Fault | int] = queue.Queue()
        self._replied: set[str] = set()
        self.model: Arrays = {}
        try:
            self._experiment = self._make()
        except Exception as fault:
            raise Broken(f"Fed-BioMed makes no experiment of it: {_said(fault)}") from fault

    def run(self, seconds: float, report: Callable[[int, Arrays, Arrays], None]) -> Arrays:
        """All rounds, each within ``seconds``. Raises Broken naming the hosts that did not reply well."""
        self.model = self._copied()
        threading.Thread(target=self._rounds, daemon=True).start()
        for number in range(1, self._training.rounds + 1):
            before = self.model
            ended = self._next(number, seconds)
            if isinstance(ended, Fault):
                raise ended
            self.model = self._models[number]
            report(number, before, self.model)
        self._requests.ping_nodes()  # by which the nodes know that it has all
        return self.model

    def _next(self, number: int, seconds: float) -> Fault | int:
        try:
            return self._done.get(timeout=seconds)
        except queue.Empty:
            silent = sorted(host for node, host in self._hosts.items() if node not in self._replied_now())
            return Broken(
                f"round {number}: no reply from {', '.join(silent)} within {seconds:.0f} s. See the client's log"
            )

    def _rounds(self) -> None:
        try:
            for number in range(1, self._training.rounds + 1):
                self._experiment.run_once()
                self._models[number] = self._copied()
                self._done.put(number)
        except Fault as fault:
            self._done.put(fault)
        except BaseException as fault:  # noqa: BLE001  # Fed-BioMed ends the program (SystemExit) for whatever goes wrong
            self._done.put(Broken(f"Fed-BioMed ended the experiment: {_said(fault)}"))

    def _copied(self) -> Arrays:
        params = self._experiment.training_plan().get_model_params(exclude_buffers=False)
        return {name: np.array(value, dtype=np.float64) for name, value in params.items()}

    def _replied_now(self) -> set[str]:
        last = self._last
        return {request.node.id for request in getattr(last, "_requests", ()) if request.reply or request.error}

    def _make(self) -> Any:
        from fedbiomed.researcher.aggregators import FedAverage
        from fedbiomed.researcher.federated_workflows import Experiment
        from fedbiomed.researcher.strategies import DefaultStrategy

        self._models: dict[int, Arrays] = {}
        self._last: Any = None
        send = self._requests.send

        def sending(*arguments: Any, **more: Any) -> Any:
            self._last = send(*arguments, **more)
            return self._last

        self._requests.send = sending
        check = self._check

        class EveryHost(DefaultStrategy):
            """Every host, or the round fails: Fed-BioMed's own rule, which names hosts here and looks at replies."""

            def refine(self, training_replies: dict[str, Any], round_i: int) -> Any:
                check(training_replies, round_i)
                return super().refine(training_replies, round_i)

        training = self._training
        os.environ["FBM_DEBUG"] = "1"  # else an error is a SystemExit without its reason
        return Experiment(
            tags=list(training.tags),
            nodes=list(self._hosts),
            training_plan_class=training.plan,
            model_args=dict(training.model_args),
            training_args=dict(training.training_args),
            round_limit=training.rounds,
            aggregator=FedAverage(),
            node_selection_strategy=EveryHost(),
            secagg=False,
            tensorboard=False,
            retain_full_history=False,
        )

    def _check(self, replies: Mapping[str, Any], number: int) -> None:
        good = {
            self._hosts[node] for node, reply in replies.items() if reply["success"] is True and node in self._hosts
        }
        if lost := sorted(set(self._hosts.values()) - good):
            raise Broken(f"round {number + 1}: no good reply from {', '.join(lost)}. See the client's log there")
        shapes = {name: array.shape for name, array in self.model.items()}
        for node, reply in replies.items():
            host = self._hosts[node]
            check_arrays(reply["params"], shapes, f"round {number + 1}: {host}")
            if reply["sample_size"] != self._training.samples[host]:
                raise Broken(f"round {number + 1}: {host} says that it saw another number of rows than was agreed")


def _said(fault: BaseException) -> str:
    return f"{type(fault).__name__}: {' '.join(str(fault).split())[:300]}"
