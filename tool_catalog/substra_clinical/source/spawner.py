"""The executor of Substra's SDK, replaced: a task with data is done by its host, one without in this process."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import states
from regression.answers import Answer
from regression.faults import Broken
from rounds.serving import Rounds
from substra.sdk.archive import uncompress
from substra.sdk.backends.local.compute.spawner import DEBUG_SPAWNER_CHOICES, BaseSpawner
from substra.sdk.schemas import BackendType
from substrafl.constants import SUBSTRAFL_FOLDER
from substrafl.remote.remote_struct import RemoteStruct
from substrafl.remote.serializers.pickle_serializer import PickleSerializer
from substrafl.strategies.schemas import FedAvgAveragedState

AT_THE_HOST = b"the local state is at the host"
Files = dict[str, Path]


class Hosts:
    """The experiment's hosts, each with its number of ``rows``; ``averaged`` are the averages that were made so far."""

    def __init__(self, rounds: Rounds, rows: dict[str, int], terms: int, seconds: float) -> None:
        self.rows, self.terms = rows, terms
        self.averaged: list[FedAvgAveragedState] = []
        self._rounds, self._seconds, self._number = rounds, seconds, 0

    def do(self, host: str, shared: FedAvgAveragedState | None) -> Answer:
        """A training at one host; the others wait. Raises Broken naming a host that is lost."""
        self._number += 1
        average = states.told(shared.avg_parameters_update) if shared else None
        asked = {"round": self._number, "host": host, "shared": average}
        self._rounds.reply(json.dumps(asked, allow_nan=False).encode())
        answers = {answer.host: answer for answer in self._rounds.gather(self._seconds)}
        for other in self.rows.keys() - {host}:
            answers[other].check(())
        return answers[host]


def replace_executor(hosts: Hosts, report: Callable[[Hosts], None]) -> None:
    """From now on each client of Substra's SDK in this process gives tasks with data to ``hosts``.

    ``report`` is called after each average.
    """

    class Executor(BaseSpawner):
        def spawn(self, name, archive_path, command_args_tpl, data_sample_paths, local_volumes, envs) -> None:  # type: ignore[no-untyped-def]
            inputs, outputs = _arguments([part.substitute(**local_volumes) for part in command_args_tpl])
            if data_sample_paths:
                [sample] = data_sample_paths.values()
                _at_host(hosts, sample.name, inputs, outputs)
                return
            _here(Path(archive_path), inputs, outputs)
            if "shared" in outputs:  # else it is the first local state, which a host makes itself, too
                hosts.averaged.append(PickleSerializer.load(outputs["shared"]))
                report(hosts)

    DEBUG_SPAWNER_CHOICES[BackendType.LOCAL_SUBPROCESS] = Executor


def _at_host(hosts: Hosts, host: str, inputs: dict[str, Any], outputs: Files) -> None:
    if host not in hosts.rows:
        raise Broken(f"the plan has a task for {host}, which is no host of this experiment")
    shared = PickleSerializer.load(inputs["shared"]) if "shared" in inputs else None
    told = states.shared(hosts.do(host, shared), hosts.terms, hosts.rows[host])
    PickleSerializer.save(told, outputs["shared"])
    outputs["local"].write_bytes(AT_THE_HOST)


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
