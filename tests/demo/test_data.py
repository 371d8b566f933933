"""The demo's data: whole, split without overlap, the same every time, and a pooled reference that can fail."""

from __future__ import annotations

import copy
import csv
import filecmp
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from fedproc.demo.data import CURVES, SHARES, YEAR, differences, pooled_reference, write_datasets
from fedproc.demo.datasets import copy_datasets

pytestmark = pytest.mark.slow  # scikit-learn and lifelines take seconds to load: where they are used


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as stream:
        return list(csv.reader(stream))


def test_every_patient_is_at_exactly_one_host(data: Path) -> None:
    parts = {host: _rows(data / host / "breast-cohort/breast-cohort/cohort.csv")[1:] for host in SHARES}
    from lifelines.datasets import load_gbsg2

    patients = load_gbsg2()
    expected = sorted(
        (int(age), float(time), int(event))
        for age, time, event in zip(patients["age"], patients["time"], patients["cens"], strict=True)
    )
    found = sorted((int(row[0]), float(row[8]), int(row[9])) for rows in parts.values() for row in rows)
    assert found == expected
    assert len({len(rows) for rows in parts.values()}) == len(SHARES)


def test_every_tumour_is_at_one_host_to_train_on_or_held_out(data: Path) -> None:
    from sklearn.datasets import load_breast_cancer

    tables = [_rows(data / host / f"wisconsin/wisconsin/{part}.csv") for host in SHARES for part in ("train", "test")]
    found = sorted(tuple(map(float, row)) for table in tables for row in table[1:])
    features, benign = load_breast_cancer(return_X_y=True)
    assert found == sorted((*row, 1.0 - label) for row, label in zip(features.tolist(), benign.tolist(), strict=True))


def test_the_description_fits_the_tables(data: Path) -> None:
    for host in SHARES:
        for folder in (data / host / "breast-cohort/breast-cohort", data / host / "wisconsin/wisconsin"):
            described = json.loads((folder / "dataset.json").read_text())
            assert described["version"] == "1.0.0"
            assert host in described["description"]
            for table in described["tables"].values():
                assert _rows(folder / table)[0] == [column["name"] for column in described["columns"]]


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_datasets(tmp_path / name)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) == len(SHARES) * 5
    _, different, missing = filecmp.cmpfiles(tmp_path / "one", tmp_path / "two", files, shallow=False)
    assert not different
    assert not missing


def test_the_pooled_curve_is_close_to_the_one_without_a_grid() -> None:
    from lifelines import KaplanMeierFitter
    from lifelines.datasets import load_gbsg2

    years = [YEAR * year for year in range(1, 7)]
    pooled = pooled_reference(years)
    patients = load_gbsg2()
    exact = KaplanMeierFitter().fit(patients["time"], patients["cens"]).predict(years).to_list()
    assert pooled.survival == pytest.approx(exact, abs=0.01)
    assert pooled.exact == pytest.approx(exact)
    assert pooled.median == 1807
    for lowest, value, highest in zip(pooled.exact_lowest, exact, pooled.exact_highest, strict=True):
        assert lowest <= value <= highest
    assert pooled.means["age"] == pytest.approx(53.05, abs=0.01)
    assert pooled.counts["menopause"] == {"Post": 396, "Pre": 290}


def test_a_result_that_is_off_is_seen() -> None:
    pooled = pooled_reference([YEAR, 2 * YEAR])
    points = [
        dict(zip(CURVES, point, strict=True)) for point in zip(*(getattr(pooled, name) for name in CURVES), strict=True)
    ]
    age = {"name": "age", "kind": "number", "mean": pooled.means["age"], "sd": pooled.deviations["age"]}
    grade = {"name": "grade", "kind": "category", "counts": [{"values": ["I"], "count": pooled.counts["grade"]["I"]}]}
    median = {"estimate": None, "exact_above": 1461.0, "exact_at_most": None}
    result = {"grid": list(pooled.grid), "curve": points, "median_survival": median, "variables": [age, grade]}
    assert set(differences(result).values()) == {0.0}
    wrong = copy.deepcopy(result)
    wrong["curve"][1]["survival"] += 1e-6
    wrong["variables"][1]["counts"][0]["count"] += 1
    assert differences(wrong)["survival"] == pytest.approx(1e-6)
    assert differences(wrong)["grade counts"] == 1


def test_federations_that_start_at_once_each_have_it_whole(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    with ProcessPoolExecutor(len(folders)) as at_once:
        for made in [at_once.submit(copy_datasets, tmp_path / "cache", folder) for folder in folders]:
            made.result()
    found = [{path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")} for folder in folders]
    assert found[0] == found[1]
    assert {path.parts[0] for path in found[0]} >= set(SHARES)
