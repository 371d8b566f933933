"""The playbooks once more: nothing changes, and nothing secret is shown."""

from __future__ import annotations

import re

import pytest
from tests.federation.machines import played

from fedproc.demo.containers import FOLDER

pytestmark = pytest.mark.process
_RECAP = re.compile(r"^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)


def recap(said: str) -> dict[str, tuple[str, ...]]:
    """By machine: how much changed, was unreachable, failed."""
    return {line[1]: line.groups()[1:] for line in _RECAP.finditer(said)}


def changes(said: str) -> list[str]:
    """The tasks that changed something, each with what it says of the first machine."""
    told = re.split(r"^(?=TASK \[)", said, flags=re.MULTILINE)
    found = ((task, re.search(r"^changed: (?s:.*)", task, re.MULTILINE)) for task in told)
    return [f"{task.splitlines()[0]}: {change[0][:1500]}" for task, change in found if change]


def secrets() -> dict[str, str]:
    """What stands in the federation's folder of secrets, by file name."""
    return {path.name: path.read_text().strip() for path in sorted((FOLDER / "secrets").iterdir()) if path.is_file()}


@pytest.mark.parametrize("book", ["central.yml", "onboard_host.yml"])
def test_a_second_run_changes_nothing_and_shows_no_secret(book: str) -> None:
    said = played(book, "-vv")
    found = recap(said)
    assert len(found) >= 2, said[-2000:]
    assert {machine: told for machine, told in found.items() if told != ("0", "0", "0")} == {}, changes(said)
    kept = secrets()
    assert {"operator", "researcher", "keycloak-admin", "keycloak-database"} <= set(kept)
    assert [name for name, value in kept.items() if value and value in said] == []
    assert "PRIVATE KEY" not in said


def test_tags_and_limit_choose_a_part() -> None:
    assert set(recap(played("onboard_host.yml", "--limit", "UB", "--tags", "enrol"))) == {"UB"}
    said = played("central.yml", "--tags", "gateway")
    assert "TASK [gateway : " in said
    assert "TASK [keycloak : " not in said
