"""The task ``client``: does the compute plan's tasks that need this site's data, with substratools, and tells averages.

Their function is the one of this tool's signed source: the server sends no code, and could name no other.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import states
import substratools
from algo import SiteRegression
from clinical.site import Site
from opener import ROWS
from regression.answers import Answer
from regression.faults import Broken, Fault
from regression.jsonfile import strict_object
from request import Request
from rounds.asking import post
from substrafl.remote.serializers.pickle_serializer import PickleSerializer

METHOD = "train"


def run(address: str, host: str, site: Site, request: Request) -> None:
    """Do tasks until the server at ``address`` says that the plan is done, each for its round at most once.

    Raises Broken if it cannot be reached, is silent, or asks for more than the plan has.
    """
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(Path(folder), host, site, request.rounds + 1)
        answer, number = introduction(site, request), 0
        while (asked := read(post(address, _message(host, number, answer), request.patience), number + 1)) is not None:
            number += 1
            answer = worker.do(asked) if asked.holds("host", host) else {}
    print(f"{host}: the server has ended the plan", flush=True)


def introduction(site: Site, request: Request) -> dict[str, Any]:
    return {"schema_version": 1, "request": request.as_json(), "names": list(site.names), "n": len(site.rows)}


def read(body: bytes, number: int) -> Answer | None:
    """The task of exchange ``number``, or None if the plan is done. Raises Broken for whatever else it says."""
    try:
        told = strict_object(body, "the server's message")
        if told.keys() != {"finished"} and told.keys() != {"failed"}:
            asked = Answer("the server", told)
            asked.check(("host", "shared"), round=number)
            return asked
    except Fault as fault:
        raise Broken(f"the server asks for something else than the plan has: {fault}") from fault
    if told == {"finished": True}:
        return None
    raise Broken("the server has ended the plan; its log and its result say why")


class Worker:
    """One site's tasks, in their order: each begins with the local state that the one before has left here."""

    def __init__(self, folder: Path, host: str, site: Site, most: int) -> None:
        self._folder, self._host, self._most = folder, host, most
        self._rows, self._terms, self._done = len(site.rows), len(site.names) - 1, 0
        (folder / "sample").mkdir()
        np.save(folder / "sample" / ROWS, site.rows)
        algo = SiteRegression(terms=self._terms)
        algo.train([], None).remote_struct.get_remote_instance().register_substratools_function()

    def do(self, asked: Answer) -> dict[str, Any]:
        """Train once, and tell how far this site's fit is from the model. Raises Broken for one task too many."""
        if self._done == self._most:
            raise Broken(f"the server asks for more than the plan's {self._most} trainings: nothing is told")
        inputs = [("opener", Path(__file__).with_name("opener.py")), ("datasamples", self._folder / "sample")]
        if self._done:
            inputs += [("local", self._local(self._done)), ("shared", self._shared(asked))]
        elif not asked.holds("shared", None):
            raise Broken("the server tells an average before the first training")
        self._done += 1
        told = self._folder / f"shared-{self._done}"
        _execute(self._done, inputs, [("local", self._local(self._done)), ("shared", told)])
        state = PickleSerializer.load(told)
        print(f"{self._host}: training {self._done} on {self._rows} rows", flush=True)
        return {"n": self._rows, "update": states.told(state.parameters_update)}

    def _local(self, number: int) -> Path:
        return self._folder / f"local-{number}"

    def _shared(self, asked: Answer) -> Path:
        path = self._folder / f"average-{self._done}"
        try:
            PickleSerializer.save(states.averaged(asked.part("shared"), self._terms), path)
        except Fault as fault:
            raise Broken(f"the server tells no average of such a model: {fault}") from fault
        return path


def _execute(rank: int, inputs: list[tuple[str, Path]], outputs: list[tuple[str, Path]]) -> None:
    """One task by substratools, whose command line this is."""
    given = {"--inputs": _resources(inputs), "--outputs": _resources(outputs)}
    properties = json.dumps({"rank": rank})
    arguments = ["--function-name", METHOD, "--task-properties", properties, "--log-level", "warning"]
    substratools.execute([*arguments, *(part for pair in given.items() for part in pair)])


def _resources(files: list[tuple[str, Path]]) -> str:
    return json.dumps([{"id": name, "value": str(path), "multiple": name == "datasamples"} for name, path in files])


def _message(host: str, number: int, answer: dict[str, Any]) -> dict[str, Any]:
    return {"host": host, "round": number, "answer": answer}
