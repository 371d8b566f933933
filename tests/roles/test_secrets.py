"""No secret on a command line: the shell by which Ansible sets a task's environment shows it to every user."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.yaml_files import read_yaml

ROOT = Path(__file__).parents[2]
TASKS = sorted(
    path for place in ("roles/*/tasks", "roles/*/handlers", "ansible/playbooks") for path in ROOT.glob(f"{place}/*.yml")
)
SECRET = re.compile(r"password|passwd|secret|token|proxy|cookie|credential|_code\b", re.IGNORECASE)


def tasks_of(content: Any) -> Iterator[dict[str, Any]]:
    """All tasks, those in blocks and plays, too."""
    for entry in content if isinstance(content, list) else []:
        yield entry
        for inside in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            yield from tasks_of(entry.get(inside))


def environment_of(task: dict[str, Any], path: Path) -> dict[str, Any]:
    given = task.get("environment", {})
    if isinstance(given, dict):
        return given
    named = re.fullmatch(r"\{\{\s*(\w+)\s*\}\}", given)
    assert named, f"{path}: {task['name']}: give the environment as variables, or by the name of a variable of the role"
    variables = read_yaml(path.parents[1] / "vars/main.yml")
    found: dict[str, Any] = variables[named[1]]
    return found


@pytest.mark.parametrize("path", TASKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_secret_in_the_environment_of_a_task(path: Path) -> None:
    for task in tasks_of(read_yaml(path)):
        for name, value in environment_of(task, path).items():
            shown = not name.endswith("_FILE") and SECRET.search(f"{name} {value}".replace("password_encryption", ""))
            assert not shown, f"{path}: {task['name']}: {name}"


@pytest.mark.parametrize("path", TASKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_writes_a_secret_does_not_log_it(path: Path) -> None:
    for task in tasks_of(read_yaml(path)):
        copied = task.get("ansible.builtin.copy") or {}
        content = str(copied.get("content", ""))
        if re.search(r"\{\{[^}]*(password|proxy|secret|\.code\b|_code_file|cookie)[^}]*\}\}", content):
            assert task.get("no_log"), f"{path}: {task['name']}"
