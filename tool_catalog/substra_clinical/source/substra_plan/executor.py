"""The executor of Substra's SDK, replaced: a task with data is done by its host, one without in this process."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import substratools
from regression.answers import Answer
from regression.faults import Broken
from rounds.serving import Rounds
from substra.sdk.archive import uncompress
from substra.sdk.backends.local.compute.spawner import DEBUG_SPAWNER_CHOICES, BaseSpawner
from substra.sdk.schemas import BackendType
from substrafl.constants import SUBSTRAFL_FOLDER
from substrafl.remote.remote_struct import RemoteStruct
from substrafl.remote.serializers.pickle_serializer import PickleSerializer
from substrafl.strategies.schemas import FedAvgAveragedState, FedAvgSharedState

from .words import TEST, TRAIN

AT_THE_HOST = b"the local state is at the host"
Files = dict[str, Path]


@dataclass(frozen=True)
class States:
    """A tool's states as JSON. ``trained`` and ``measured`` raise Fault naming host and field of a wrong answer."""

    told: Callable[[FedAvgAveragedState], dict[str, Any]]
    trained: Callable[[Answer], FedAvgSharedState]
    measured: Callable[[Answer], Mapping[str, float]] = lambda _: {}


class Hosts:
    """The experiment's hosts. What SubstraFL asks each of them for in turn, all are asked for at once.

    ``averaged`` are the averages that were made so far, ``measured`` the measures by host, after each of them.
    """

    def __init__(self, rounds: Rounds, states: States, seconds: float) -> None:
        self.names, self.states = rounds.hosts, states
        self.averaged: list[FedAvgAveragedState] = []
        self.measured: list[dict[str, Mapping[str, float]]] = []
        self._rounds, self._seconds, self._number = rounds, seconds, 0
        self._task, self._answers = "", dict[str, Answer]()

    def train(self, host: str, shared: FedAvgAveragedState | None) -> FedAvgSharedState:
        """Raises Broken naming a host that is lost."""
        return self.states.trained(self._answer(host, TRAIN, shared))

    def test(self, host: str) -> Mapping[str, float]:
        """The measures of the model that the host's last training began with. Raises Broken as :meth:`train`."""
        found = self.states.measured(self._answer(host, TEST, None))
        if not self.measured or len(self.measured[-1]) == len(self.names):
            self.measured.append({})
        self.measured[-1][host] = found
        return found

    def _answer(self, host: str, task: str, shared: FedAvgAveragedState | None) -> Answer:
        if host not in self.names:
            raise Broken(f"the plan has a task for {host}, which is no host of this experiment")
        if task != self._task or host not in self._answers:
            self._ask(task, shared)
        return self._answers.pop(host)

    def _ask(self, task: str, shared: FedAvgAveragedState | None) -> None:
        self._number, self._task = self._number + 1, task
        asked = {"round": self._number, "task": task, "shared": self.states.told(shared) if shared else None}
        self._rounds.reply(json.dumps(asked, allow_nan=False).encode())
        self._answers = {answer.host: answer for answer in self._rounds.gather(self._seconds)}


def replace_executor(hosts: Hosts, after: Callable[[str], None]) -> None:
    """From now on each client of Substra's SDK in this process gives tasks with data to ``hosts``.

    ``after`` is called after each average, and with each host's measures.
    """

    class Executor(BaseSpawner):
        def spawn(self, name, archive_path, command_args_tpl, data_sample_paths, local_volumes, envs) -> None:  # type: ignore[no-untyped-def]
            inputs, outputs = _arguments([part.substitute(**local_volumes) for part in command_args_tpl])
            if data_sample_paths:
                [sample] = data_sample_paths.values()
                _at_host(hosts, sample.name, inputs, outputs)
                if "shared" not in outputs:
                    after(TEST)
                return
            _here(Path(archive_path), inputs, outputs)
            if "shared" in outputs:  # else it is the first local state, which a host makes itself, too
                hosts.averaged.append(PickleSerializer.load(outputs["shared"]))
                after(TRAIN)

    DEBUG_SPAWNER_CHOICES[BackendType.LOCAL_SUBPROCESS] = Executor


def _at_host(hosts: Hosts, host: str, inputs: dict[str, Any], outputs: Files) -> None:
    if "shared" in outputs:
        shared = PickleSerializer.load(inputs["shared"]) if "shared" in inputs else None
        PickleSerializer.save(hosts.train(host, shared), outputs["shared"])
        outputs["local"].write_bytes(AT_THE_HOST)
        return
    found = hosts.test(host)
    for name, path in outputs.items():
        substratools.save_performance(found[name], path)


def _here(archive: Path, inputs: dict[str, Any], outputs: Files) -> None:
    """The function of an archive that this process has made, as SubstraFL's own script calls it."""
    with tempfile.TemporaryDirectory() as folder:
        uncompress(archive, Path(folder))
        remote = RemoteStruct.load(src=Path(folder) / SUBSTRAFL_FOLDER).get_remote_instance()
        remote.generic_function(inputs=inputs, outputs=outputs, task_properties={})


def _arguments(parts: list[str]) -> tuple[dict[str, Any], Files]:
    """Inputs and outputs of the task's command line: their files by name, of several inputs of one name a list."""
    pairs = dict(zip(parts[::2], parts[1::2], strict=True))
    inputs: dict[str, Any] = {}
    for entry in json.loads(pairs["--inputs"]):
        path = Path(entry["value"])
        if entry["multiple"]:
            inputs.setdefault(entry["id"], []).append(path)
        else:
            inputs[entry["id"]] = path
    return inputs, {entry["id"]: Path(entry["value"]) for entry in json.loads(pairs["--outputs"])}
