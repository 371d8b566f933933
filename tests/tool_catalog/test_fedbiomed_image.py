"""``fedbiomed-image``: the demonstrator's network in PyTorch by Fed-BioMed, where its environment is at hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from math import prod
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from tests.support.fedbiomed_runs import OPTIONAL, Start, starting

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TOOL = OPTIONAL / "fedbiomed_image"
EXAMPLE = TOOL / "test"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.chdir(tmp_path)  # where a task makes its components
    with starting("fedbiomed_image", tmp_path) as make:
        yield make


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The tool's module, which is numpy alone."""
    own = ("measuring", "network", "patches", "patches.faults", "patches.images", "patches.measures")
    monkeypatch.syspath_prepend(str(TOOL / "source"))
    for name in own:
        monkeypatch.delitem(sys.modules, name, raising=False)
    import measuring  # type: ignore[import-not-found]

    yield measuring
    for name in own:
        sys.modules.pop(name, None)


def test_at_224_pixels_it_is_the_demonstrators_network(measuring: ModuleType) -> None:
    shapes = measuring.shapes(224)
    assert sum(prod(shapes[name]) for name in measuring.TORCH[:12]) == 811_214
    assert shapes["4.weight"] == (20, 12, 3, 3)
    assert shapes["1.num_batches_tracked"] == ()


def test_the_models_file_has_the_arrays_of_the_network_in_numpy(measuring: ModuleType) -> None:
    known = measuring.network.start(8, 3)
    params = {
        name: array.reshape(measuring.shapes(8)[name]) for name, array in zip(measuring.TORCH, known, strict=True)
    }
    named = measuring.named({**params, "1.num_batches_tracked": 4, "7.num_batches_tracked": 4})
    assert list(named) == list(measuring.network.NAMES)
    assert all(np.array_equal(one, other) for one, other in zip(named.values(), known, strict=True))


def test_the_example_is_learned_and_measured_at_its_host(start: Start) -> None:
    run = start({"UB": EXAMPLE / "example_input/client/input/images"})
    result = run.run(**json.loads((EXAMPLE / "example_input/server/parameters.json").read_text()))
    expected = json.loads((EXAMPLE / "example_output/server/result.json").read_text())
    assert result["hosts"] == expected["hosts"]
    assert [entry["round"] for entry in result["rounds"]] == [1, 2, 3]
    assert [entry["change"] for entry in result["rounds"]] == pytest.approx(
        [entry["change"] for entry in expected["rounds"]], rel=0.5
    )
    told = [json.loads(line) for line in run.measures("UB").read_text().splitlines()]
    assert told[-1]["loss"] < told[0]["loss"]
    assert told[-1]["accuracy"] >= 0.7
    with np.load(run.output / "model.npz", allow_pickle=False) as arrays:
        assert arrays["linear.weight"].shape == (2, 32 * 4 * 4)
        assert all(np.isfinite(array).all() for array in arrays.values())
