"""The filter ``unknown_variables``: names that begin as those of a role's variables do, and are none of them."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

import yaml


def unknown_variables(names: Iterable[str], roles: str) -> list[str]:
    """A sentence for each such name, by the argument_specs of the roles in the folder ``roles``."""
    known = {role.parents[1].name: _variables(role) for role in Path(roles).glob("*/meta/argument_specs.yml")}
    of_roles = [(name, role) for name in sorted(names) if (role := _role(name, known))]
    return [_told(name, role, known) for name, role in of_roles if name not in known[role]]


def _variables(specs: Path) -> set[str]:
    entries = yaml.safe_load(specs.read_text())["argument_specs"].values()
    return {variable for entry in entries for variable in entry.get("options", {})}


def _role(name: str, known: Iterable[str]) -> str:
    return max((role for role in known if name.startswith(f"{role}_")), key=len, default="")


def _told(name: str, role: str, known: dict[str, set[str]]) -> str:
    near = get_close_matches(name, set().union(*known.values()), 1)
    cure = f"did you mean {near[0]}?" if near else f"roles/{role}/README.md has those that there are"
    return f"{name} is no variable of the role {role}: {cure}"


class FilterModule:
    """Makes it known to Ansible."""

    def filters(self) -> dict[str, object]:
        return {"unknown_variables": unknown_variables}
