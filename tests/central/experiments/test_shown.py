"""Names of data elsewhere in the order of a task without datasets, and what the rules of its host then know."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.books import Books

from fedproc.catalog.folder import load_tool
from fedproc.central.experiments import shown
from fedproc.contract.wire.datasets import DatasetColumns, OfferedDataset
from fedproc.contract.wire.messages import JobOrder
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.release.known_values import known_of
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.workspace import Workspace
from fedproc.site.policy.engine.engine import inspect

CATALOGUE = Path(__file__).parents[3] / "tool_catalog"
COLUMNS = [
    {"name": "stage", "type": "category", "values": ["II", "III"]},
    {"name": "age", "type": "number", "unit": "a"},
    {"name": "event", "type": "boolean"},
    {"name": "ward", "type": "category", "values": ["South 3"]},
]
FORMULA = "event ~ age + stage"

pytestmark = pytest.mark.slow


@pytest.fixture
def asked(books: Books):
    """The orders of the regression over the cohorts of two hosts, of which ``showing`` tell their columns."""
    logistic = load_tool(CATALOGUE / "logistic_regression").tool
    books.add_tool(logistic)

    def ask(*showing: str) -> dict[str, JobOrder]:
        for host in ("UB", "BSC"):
            offered = (OfferedDataset(id="cohort", version="7f", label=f"{host} 2024"),)
            page = {"dataset": "cohort", "version": "7f", "page": 0, "pages": 1, "columns": COLUMNS}
            columns = DatasetColumns.model_validate(page) if host in showing else None
            beat = books.hosts.heartbeat(host, datasets=offered and (), columns=columns)
            books.take((host, books.hosts.seal(host, beat.model_copy(update={"datasets": offered}))))
        books.submit(tool="logistic-regression", datasets=["UB:cohort", "BSC:cohort"], parameters={"formula": FORMULA})
        return {host: cast(JobOrder, message) for host, message in books.dispatch()}

    return ask


def _found(order: JobOrder, tmp_path: Path, **edit: Any) -> list[tuple[str, str]]:
    """What the rules at the order's host say of an honest result, or of an edited one."""
    task = load_tool(CATALOGUE / "logistic_regression").tool.task("server")
    document = json.loads((CATALOGUE / "logistic_regression/test/example_output/server/result.json").read_text())
    of_host = {"host": "UB", "dataset": "cohort", "version": "UB 2024"}
    document |= {"formula": FORMULA, "hosts": [document["hosts"][0] | of_host], "rows": [document["rows"][0] | of_host]}
    one = next(iter(document["coefficients"].values()))
    document["coefficients"] = dict.fromkeys(("Intercept", "age", "stage[T.III]"), one) | edit
    folder = tmp_path / "sealed"
    folder.mkdir(exist_ok=True)
    (folder / "result.json").write_text(json.dumps(document))
    workspace = Workspace(tmp_path, "job")
    services = SimpleNamespace(settings=SimpleNamespace(host="EUCAIM", datasets={}), workspace=lambda _: workspace)
    known = known_of(cast(Services, services), JobRecord(order=order), task)
    return [(each.rule.id, str(each.result)) for each in inspect(task.outputs[0], folder, 10, known)]


def test_result_of_data_that_hosts_show_passes_the_rules_of_an_aggregator_without_data(asked, tmp_path) -> None:
    order = asked("UB", "BSC")["EUCAIM"]
    assert set(order.shown) == {"cohort", "7f", "UB 2024", "BSC 2024", "event", "age", "a", "stage", "II", "III"}
    assert _found(order, tmp_path) == []


def test_name_that_no_host_has_told_still_waits_for_a_person(asked, tmp_path) -> None:
    order = asked("UB", "BSC")["EUCAIM"]
    for category in ("Maria Ortiz", "South 3"):  # the second is one of a column that nobody asked for
        assert _found(order, tmp_path, **{f"stage[T.{category}]": _estimate()}) == [("read.elsewhere", "review")]


def _estimate() -> dict[str, float]:
    return dict.fromkeys(("estimate", "std_error", "z_value", "p_value", "odds_ratio", "lower", "upper"), 1.5)


def test_columns_that_sites_do_not_show_are_in_no_order_and_wait(asked, tmp_path) -> None:
    order = asked()["EUCAIM"]
    assert set(order.shown) == {"cohort", "7f", "UB 2024", "BSC 2024"}
    assert _found(order, tmp_path) == [("read.elsewhere", "review")]


def test_names_go_to_no_host_that_has_data(asked) -> None:
    orders = asked("UB", "BSC")
    assert {host: bool(order.shown) for host, order in orders.items()} == {"EUCAIM": True, "UB": False, "BSC": False}


def test_order_stays_small_whatever_hosts_show(asked, monkeypatch) -> None:
    monkeypatch.setattr(shown, "MOST_BYTES", 30)
    assert asked("UB", "BSC")["EUCAIM"].shown == ("cohort", "7f", "UB 2024")
