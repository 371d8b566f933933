"""``make demonstrator`` in a federation: each platform trains, and is as far from the pooled fit as said."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from tests.support.running import Running

from fedproc.demo import demonstrator, demonstrator_images
from fedproc.demo.clinical import FOLDER, ROWS

pytestmark = [pytest.mark.needs_federation, pytest.mark.timeout(1500)]
"""The environments of the tools are built at every host's first job, which can take minutes."""


def _fits(running: Running) -> tuple[np.ndarray, np.ndarray]:
    """Of all rows in one place, and the average of the sites' fits by their rows."""
    tables = [pd.read_csv(running.folder / "data" / host / FOLDER / "cohort.csv").dropna() for host in ROWS]
    fits = np.average([_fit(table) for table in tables], axis=0, weights=[len(table) for table in tables])
    return _fit(pd.concat(tables)), fits


def _fit(table: pd.DataFrame) -> np.ndarray:
    columns = [np.ones(len(table)), table["PM25"], table["age"], table["sex"] == "male", table["cbmi"]]
    return np.linalg.lstsq(np.column_stack(columns).astype(float), table["blood_pre"], rcond=None)[0]


def test_each_platform_trains_and_its_distance_to_the_pooled_fit_is_shown(running: Running, tmp_path: Path) -> None:
    shown = io.StringIO()
    outcomes = demonstrator.run(running.researcher, tmp_path, Console(file=shown, width=200))
    found = {outcome.trial.platform: outcome for outcome in outcomes}
    assert list(found) == [trial.platform for trial in demonstrator.TRIALS]
    pooled, averaged = _fits(running)
    values = {name: [entry.coefficients[term] for term in demonstrator.TERMS] for name, entry in found.items()}
    assert values["exact sums"] == pytest.approx(pooled, rel=1e-8)
    assert values["Substra's SDK"] == pytest.approx(averaged, rel=1e-8)
    assert values["Substra's SDK"] != pytest.approx(pooled, rel=1e-3)
    assert values["Flower, 1 step"] == pytest.approx(pooled, rel=1e-2, abs=0.05)
    for outcome in outcomes:
        assert all(outcome.sent[host] > 100 for host in ROWS), outcome.sent
        assert outcome.seconds > 0
    text = shown.getvalue()
    assert "SYNTHETIC" in text
    assert "published" not in text
    assert "mean squared error" in text


def test_each_platforms_network_learns_and_is_near_the_one_of_all_images(running: Running, tmp_path: Path) -> None:
    """It raises where a loss does not fall, or an accuracy is too far away."""
    shown = io.StringIO()
    console = Console(file=shown, width=200)
    outcomes = demonstrator_images.run(running.researcher, tmp_path, running.folder / "data", console)
    assert [outcome.trial for outcome in outcomes] == list(demonstrator_images.TRIALS)
    for outcome in outcomes:
        last = outcome.rounds[-1]
        assert last["accuracy"] > 0.6
        assert last["hosts"] == len(ROWS)
        assert all(outcome.sent[host] > 1000 for host in ROWS), outcome.sent
    assert "all images in one place" in shown.getvalue()
