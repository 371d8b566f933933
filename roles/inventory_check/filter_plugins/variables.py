"""The filters ``unknown_variables``: names that begin as those of a role's variables do, and are none of them; and
``argument_options``: what the roles say of those that are."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml


def unknown_variables(names: Iterable[str], roles: str) -> list[str]:
    """A sentence for each such name, by the argument_specs of the roles in the folder ``roles``."""
    known = {role.parents[1].name: _variables(role) for role in Path(roles).glob("*/meta/argument_specs.yml")}
    of_roles = [(name, role) for name in sorted(names) if (role := _role(name, known))]
    return [_told(name, role, known) for name, role in of_roles if name not in known[role]]


def argument_options(names: Iterable[str], roles: str) -> dict[str, dict[str, Any]]:
    """Those of the names that are variables of a role in the folder ``roles``: each with its argument spec."""
    specs = [_options(path) for path in sorted(Path(roles).glob("*/meta/argument_specs.yml"))]
    known = {variable: option for options in specs for variable, option in options.items()}
    return {name: known[name] for name in sorted(names) if name in known}


def _options(specs: Path) -> dict[str, dict[str, Any]]:
    entries = yaml.safe_load(specs.read_text())["argument_specs"].values()
    return {variable: option for entry in entries for variable, option in entry.get("options", {}).items()}


def _variables(specs: Path) -> set[str]:
    return set(_options(specs))


def _role(name: str, known: Iterable[str]) -> str:
    return max((role for role in known if name.startswith(f"{role}_")), key=len, default="")


def _told(name: str, role: str, known: dict[str, set[str]]) -> str:
    near = get_close_matches(name, set().union(*known.values()), 1)
    cure = f"did you mean {near[0]}?" if near else f"roles/{role}/README.md has those that there are"
    return f"{name} is no variable of the role {role}: {cure}"


class FilterModule:
    """Makes it known to Ansible."""

    def filters(self) -> dict[str, object]:
        return {"unknown_variables": unknown_variables, "argument_options": argument_options}
