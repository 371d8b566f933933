"""The names of metrics that alert rules and dashboard ask for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.support.yaml_files import read_yaml

FILES = Path(__file__).parents[2] / "roles/monitoring/files"
_NOT_NAMES = {"by", "without", "on", "ignoring", "and", "or", "unless", "group_left", "group_right", "bool", "offset"}
_MADE_HERE = {"ALERTS"}
"""by Prometheus itself, of the rules"""


def rules() -> list[dict[str, Any]]:
    """Every alert rule."""
    return [rule for group in read_yaml(FILES / "rules.yml")["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """Every panel of the dashboard that shows something."""
    return [panel for panel in json.loads((FILES / "dashboard.json").read_text())["panels"] if panel["type"] != "row"]


def expressions() -> dict[str, str]:
    """What is asked, by where it stands."""
    asked = {f"alert {rule['alert']}": rule["expr"] for rule in rules()}
    for panel in panels():
        for target in panel["targets"]:
            asked[f"panel {panel['title']} {target['refId']}"] = target["expr"]
    return asked


def names(expression: str) -> set[str]:
    """The metrics in an expression: no function, no label, no word of the language."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", "", bare)
    words = re.findall(r"\b[a-zA-Z_][a-zA-Z0-9_]*\b(?!\s*\()", bare)
    return set(words) - _NOT_NAMES - _MADE_HERE


def wanted() -> dict[str, set[str]]:
    """Each metric with the places that ask for it."""
    found: dict[str, set[str]] = {}
    for place, expression in expressions().items():
        for name in names(expression):
            found.setdefault(name, set()).add(place)
    return found
