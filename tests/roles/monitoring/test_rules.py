"""Alert rules and dashboard: that they are right, and ask for nothing that our programs do not show."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from tests.support.promql import FILES, names, panels, rules, wanted

from fedproc.central.api.metrics import Metrics
from fedproc.central.db.engine import connect, read_transaction
from fedproc.central.db.migrate import migrate
from fedproc.central.relay.metrics import MetricsCollector

_BESIDE_OUR_PROGRAMS = {
    "fedproc_certificate_not_after_timestamp_seconds": FILES / "certificate-ends",
    "fedproc_backup_last_success_timestamp_seconds": FILES.parents[1] / "backup/files/fedproc-backup",
    "fedproc_backup_last_run_success": FILES.parents[1] / "backup/files/fedproc-backup",
    "fedproc_backup_last_size_bytes": FILES.parents[1] / "backup/files/fedproc-backup",
}
"""metrics that the node exporter shows for us, by the file that writes them"""


def promtool(*arguments: object) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.process
def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", "--lint-fatal", FILES / "rules.yml")


@pytest.mark.process
def test_each_alert_fires_on_what_it_should() -> None:
    promtool("test", "rules", Path(__file__).with_name("rules_test.yml"))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_and_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "cure"}


def test_names_are_found_in_expressions() -> None:
    asked = 'time() - max by (host) (a_seconds{x="b"}) > 1 and on (host) rate(c_total[5m]) unless absent(d)'
    assert names(asked) == {"a_seconds", "c_total", "d"}


@pytest.mark.slow
def test_what_is_asked_of_our_programs_is_what_they_show(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/central.db")
    migrate(engine)
    api = Metrics()
    api.answered("GET", "/tools", 200, 0.01)
    with read_transaction(engine) as connection:
        pages = api.page(connection, 0).decode()
    relay = CollectorRegistry()
    relay.register(MetricsCollector(engine, lambda: "ok"))
    pages += generate_latest(relay).decode()
    shown = set(re.findall(r"^# TYPE (\w+)", pages, re.M)) | set(re.findall(r"^(\w+)[{ ]", pages, re.M))
    missing = {name: places for name, places in wanted().items() if name.startswith("fedproc_") and name not in shown}
    for name, file in _BESIDE_OUR_PROGRAMS.items():
        assert name in file.read_text(), f"{file} does not write {name}"
        missing.pop(name, None)
    assert missing == {}


def test_the_dashboard_can_be_imported() -> None:
    board = json.loads((FILES / "dashboard.json").read_text())
    assert board["uid"], board["title"]
    assert board["schemaVersion"] >= 36
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


def test_no_panel_covers_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels():
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
