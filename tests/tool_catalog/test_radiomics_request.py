"""Which histograms ``radiomics-statistics`` gives together: none whose difference tells of a person."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

pytestmark = pytest.mark.slow

TOOL = Path(__file__).parents[2] / "tool_catalog/radiomics_statistics"


@pytest.fixture
def request_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOL / "source"))
    for name in ("request", "imaging", "imaging.faults", "imaging.program"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import request  # type: ignore[import-not-found]

    for name in ("request", "imaging", "imaging.faults", "imaging.program"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return request  # type: ignore[no-any-return]


def _asked(module: ModuleType, folder: Path, features: object) -> object:
    (folder / "parameters.json").write_text(json.dumps({"features": features}))
    return module.read_request(folder / "parameters.json")


PAIRS = [("compactness_2", "sphericity"), ("volume", "volume_of_voxels"), ("energy", "root_mean_square")]


@pytest.mark.parametrize("pair", PAIRS)
def test_two_features_that_are_one_measure_have_no_classes_together(
    request_module: ModuleType, tmp_path: Path, pair: tuple[str, str]
) -> None:
    """Sphericity up to 0.8, and compactness up to its cube and a little more, differ by those between."""
    first, second = pair
    with pytest.raises(request_module.Fault, match=f"{first} and {second} are one measure"):
        _asked(request_module, tmp_path, {first: [0.512001], second: [0.8]})
    for alone in (first, second):
        features = {first: [], second: [], alone: [0.8], "mean": [1.0]}
        assert _asked(request_module, tmp_path, features).features == features  # type: ignore[attr-defined]


def test_defaults_ask_for_no_two_of_one_measure(request_module: ModuleType, tmp_path: Path) -> None:
    default = yaml.safe_load((TOOL / "tool.yaml").read_text())["parameters"]["properties"]["features"]["default"]
    assert _asked(request_module, tmp_path, default).features == default  # type: ignore[attr-defined]
