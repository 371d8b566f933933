"""A tool with a task at each site and one at the aggregator, run on files as the hosts would run it."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.support.tool_programs import ToolProgram

Ended = subprocess.CompletedProcess[str]


class PoolingRun:
    """The sites and the aggregator of one run. ``datasets`` are the sites' folders of datasets by host."""

    def __init__(self, tool: ToolProgram, datasets: Mapping[str, Path], root: Path, answer: str) -> None:
        self.tool, self.datasets, self._answer = tool, datasets, answer
        self.sites, self.output = root / "sites", root / "output"
        self.output.mkdir(parents=True)
        self.hosts, self.parameters = root / "hosts.json", root / "parameters.json"
        self.hosts.write_text(json.dumps({"local": list(datasets), "combine": ["EUCAIM"]}))

    def ask(self, **parameters: Any) -> None:
        """What is asked for from now on."""
        self.parameters.write_text(json.dumps(parameters))

    def run(self, **parameters: Any) -> dict[str, Any]:
        """The result, with every task successful."""
        self.answers(**parameters)
        ended = self.combine()
        assert ended.returncode == 0, ended.stderr
        return self.result()

    def answers(self, **parameters: Any) -> None:
        """Every site answers."""
        self.ask(**parameters)
        for host in self.datasets:
            ended = self.local(host)
            assert ended.returncode == 0, ended.stderr

    def local(self, host: str) -> Ended:
        (self.sites / host).mkdir(parents=True, exist_ok=True)
        inputs = ("--datasets", self.datasets[host], "--host", host, "--parameters", self.parameters)
        return self.tool.run("local", *inputs, "--output", self.sites / host)

    def combine(self) -> Ended:
        inputs = ("--sites", self.sites, "--hosts", self.hosts, "--parameters", self.parameters)
        return self.tool.run("combine", *inputs, "--output", self.output)

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.output / "result.json").read_text())
        return found

    def answer(self, host: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.sites / host / self._answer).read_text())
        return found

    def change(self, host: str, edit: Callable[[dict[str, Any]], None]) -> None:
        changed = self.answer(host)
        edit(changed)
        (self.sites / host / self._answer).write_text(json.dumps(changed))


def write_dataset(folder: Path, columns: Iterable[Mapping[str, Any]], rows: Iterable[Iterable[Any]]) -> Path:
    """A dataset with one table in ``folder/made``; returns ``folder``, as a task gets it."""
    described = list(columns)
    made = folder / "made"
    made.mkdir(parents=True, exist_ok=True)
    description = {"id": "made", "version": "1.0.0", "tables": {"cohort": "cohort.csv"}, "columns": described}
    (made / "dataset.json").write_text(json.dumps(description))
    lines = [[column["name"] for column in described], *rows]
    (made / "cohort.csv").write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    return folder


def assert_same_json(found: Path, expected: Path, close: float = 1e-9) -> None:
    """Both folders have the same JSON files, numbers equal but for what another processor rounds."""
    names = sorted(path.name for path in expected.glob("*.json"))
    assert sorted(path.name for path in found.glob("*.json")) == names
    for name in names:
        _assert_close(json.loads((found / name).read_text()), json.loads((expected / name).read_text()), close)


def _assert_close(found: Any, expected: Any, close: float) -> None:
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            _assert_close(found[key], value, close)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for pair in zip(found, expected, strict=True):
            _assert_close(*pair, close)
    elif isinstance(expected, float):
        assert math.isclose(found, expected, rel_tol=close, abs_tol=1e-12), (found, expected)
    else:
        assert found == expected
