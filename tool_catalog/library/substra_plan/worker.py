"""A host's end: it does the compute plan's tasks that need its data, with substratools, and tells numbers.

Their functions are those of the tool's signed source: the server sends no code, and could name no other.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import substratools
from regression.answers import Answer
from regression.faults import Broken, Fault
from regression.jsonfile import strict_object
from rounds.asking import post
from substrafl.remote.serializers.pickle_serializer import PickleSerializer
from substrafl.strategies import FedAvg
from substrafl.strategies.schemas import FedAvgAveragedState, FedAvgSharedState

from .words import TEST, TRAIN


@dataclass(frozen=True)
class Part:
    """One host's part in a plan of so many ``rounds``; ``rows`` are those that it trains on.

    ``sample`` writes what ``opener`` reads. ``average`` reads what the server tells of all hosts, raising Fault;
    ``update`` is what this host tells of a training; ``metrics`` are those of the strategy, none for no evaluation.
    """

    strategy: FedAvg
    rounds: int
    rows: int
    opener: Path
    sample: Callable[[Path], None]
    average: Callable[[Answer], FedAvgAveragedState]
    update: Callable[[FedAvgSharedState], Any]
    metrics: Sequence[str] = field(default=())


def run(address: str, host: str, introduction: dict[str, Any], part: Part, patience: float) -> None:
    """Do tasks until the server at ``address`` says that the plan is done, each for its round at most once.

    Raises Broken if it cannot be reached, is silent for ``patience`` seconds, or asks for more than the plan has.
    """
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(Path(folder), host, part)
        answer, number = introduction, 0
        while (asked := read(post(address, _message(host, number, answer), patience), number + 1)) is not None:
            number += 1
            answer = worker.do(asked)
    print(f"{host}: the server has ended the plan", flush=True)


def read(body: bytes, number: int) -> Answer | None:
    """The task of exchange ``number``, or None if the plan is done. Raises Broken for whatever else it says."""
    try:
        told = strict_object(body, "the server's message")
        if told.keys() != {"finished"} and told.keys() != {"failed"}:
            asked = Answer("the server", told)
            asked.check(("task", "shared"), round=number)
            return asked
    except Fault as fault:
        raise Broken(f"the server asks for something else than the plan has: {fault}") from fault
    if told == {"finished": True}:
        return None
    raise Broken("the server has ended the plan; its log and its result say why")


class Worker:
    """One site's tasks, in their order: each begins with the local state that the training before has left here."""

    def __init__(self, folder: Path, host: str, part: Part) -> None:
        self._folder, self._host, self._part = folder, host, part
        self._most = {TRAIN: part.rounds + 1, TEST: part.rounds if part.metrics else 0}
        self._done = dict.fromkeys(self._most, 0)
        (folder / "sample").mkdir()
        part.sample(folder / "sample")
        part.strategy.algo.train([], None).remote_struct.get_remote_instance().register_substratools_function()
        if part.metrics:
            part.strategy.evaluate([]).remote_struct.get_remote_instance().register_substratools_function()

    def do(self, asked: Answer) -> dict[str, Any]:
        """Train once and tell how far that moved the model, or measure it. Raises Broken for one task too many."""
        if asked.holds("task", TRAIN):
            return self._train(asked)
        if asked.holds("task", TEST) and self._part.metrics:
            return self._test(asked)
        raise Broken("the server asks for a task that the plan does not have: nothing is told")

    def _train(self, asked: Answer) -> dict[str, Any]:
        number = self._done[TRAIN]
        inputs: list[tuple[str, Path]] = []
        if number:
            inputs = [("local", self._local(number)), ("shared", self._shared(asked))]
        elif not asked.holds("shared", None):
            raise Broken("the server tells an average before the first training")
        number = self._count(TRAIN, "trainings")
        told = self._folder / "told"
        self._execute(TRAIN, number, inputs, [("local", self._local(number)), ("shared", told)])
        self._local(number - 1).unlink(missing_ok=True)
        print(f"{self._host}: training {number} on {self._part.rows} rows", flush=True)
        return {"n": self._part.rows, "update": self._part.update(PickleSerializer.load(told))}

    def _test(self, asked: Answer) -> dict[str, Any]:
        if not asked.holds("shared", None) or not self._done[TRAIN]:
            raise Broken("the server asks for measures before the first training, or of a model of its own")
        number = self._count(TEST, "evaluations")
        outputs = [(name, self._folder / f"measured-{name}") for name in self._part.metrics]
        self._execute(TEST, number, [("local", self._local(self._done[TRAIN]))], outputs)
        return {"measured": {name: float(json.loads(path.read_bytes())["all"]) for name, path in outputs}}

    def _count(self, task: str, what: str) -> int:
        """How often it was done, with this time."""
        if self._done[task] == self._most[task]:
            raise Broken(f"the server asks for more than the plan's {self._most[task]} {what}: nothing is told")
        self._done[task] += 1
        return self._done[task]

    def _local(self, number: int) -> Path:
        return self._folder / f"local-{number}"

    def _shared(self, asked: Answer) -> Path:
        path = self._folder / "average"
        try:
            PickleSerializer.save(self._part.average(asked.part("shared")), path)
        except Fault as fault:
            raise Broken(f"the server tells no average of such a model: {fault}") from fault
        return path

    def _execute(self, task: str, rank: int, inputs: list[tuple[str, Path]], outputs: list[tuple[str, Path]]) -> None:
        """One task by substratools, whose command line this is."""
        data = [("opener", self._part.opener), ("datasamples", self._folder / "sample")]
        given = {"--inputs": _resources([*data, *inputs]), "--outputs": _resources(outputs)}
        properties = json.dumps({"rank": rank})
        arguments = ["--function-name", task, "--task-properties", properties, "--log-level", "warning"]
        substratools.execute([*arguments, *(part for pair in given.items() for part in pair)])


def _resources(files: list[tuple[str, Path]]) -> str:
    return json.dumps([{"id": name, "value": str(path), "multiple": name == "datasamples"} for name, path in files])


def _message(host: str, number: int, answer: dict[str, Any]) -> dict[str, Any]:
    return {"host": host, "round": number, "answer": answer}
