"""Writes every role's README.md from its meta/argument_specs.yml, defaults/main.yml and meta/main.yml.

usage: python scripts/role_readme.py [--check] [ROLE...]     --check writes nothing; exit code 1 if one is stale
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parent.parent / "roles"
LONGEST_DEFAULT = 90
HEAD = "| variable | type | default | meaning |\n|---|---|---|---|"


def main(arguments: list[str]) -> int:
    """Write, or with --check compare, the READMEs of the named roles or of all."""
    check = "--check" in arguments
    named = [a for a in arguments if a != "--check"]
    roles = sorted(p.parent.parent for p in ROLES.glob("*/meta/argument_specs.yml"))
    stale = [r for r in roles if (not named or r.name in named) and _is_stale(r)]
    for role in stale:
        if check:
            print(f"roles/{role.name}/README.md is not what make docs would write: run make docs")
        else:
            (role / "README.md").write_text(readme(role))
            print(f"roles/{role.name}/README.md")
    return int(check and bool(stale))


def _is_stale(role: Path) -> bool:
    path = role / "README.md"
    return not path.exists() or path.read_text() != readme(role)


def readme(role: Path) -> str:
    """The README of the role in this folder."""
    specs = _read(role / "meta/argument_specs.yml")["argument_specs"]
    defaults = _read(role / "defaults/main.yml")
    about = _read(role / "meta/main.yml").get("galaxy_info", {}).get("description", "")
    parts = [f"# {role.name}", about, *_entry("main", specs.get("main", {}), defaults, {})]
    known = specs.get("main", {}).get("options", {})
    for name, spec in specs.items():
        if name != "main":
            parts += _entry(name, spec, defaults, known)
    if (role / "molecule/default/molecule.yml").exists():
        parts.append(f"Tested by `make molecule ROLES={role.name}`.")
    parts.append("This page is written by `make docs` from `meta/argument_specs.yml` and `defaults/main.yml`.")
    return "\n\n".join(p for p in parts if p) + "\n"


def _entry(name: str, spec: dict[str, Any], defaults: dict[str, Any], known: dict[str, Any]) -> list[str]:
    """Heading, description and table of one entry point, without the options that "main" has described."""
    description = spec.get("description", [])
    text = [description] if isinstance(description, str) else description
    options = {k: v for k, v in spec.get("options", {}).items() if known.get(k) != v}
    rows = [row for option in options.items() for row in _rows(*option, defaults)]
    heading = "" if name == "main" else f"## `tasks_from: {name}`"
    return [heading, spec.get("short_description", ""), " ".join(text), "\n".join([HEAD, *rows]) if rows else ""]


def _rows(name: str, option: dict[str, Any], defaults: dict[str, Any]) -> Iterator[str]:
    kind = option.get("type", "str")
    if kind == "list" and "elements" in option:
        kind = f"list of {option['elements']}"
    text = " ".join(str(option.get("description", "")).split())
    if choices := option.get("choices"):
        text += f" One of {', '.join(f'`{c}`' for c in choices)}."
    yield f"| `{name}` | {kind} | {_default(name, option, defaults)} | {_cell(text)} |"
    for inner, described in option.get("options", {}).items():
        yield from _rows(f"{name}{'[]' if option.get('type') == 'list' else ''}.{inner}", described, {})


def _default(name: str, option: dict[str, Any], defaults: dict[str, Any]) -> str:
    if name not in defaults:
        return "**required**" if option.get("required") else ""
    value = defaults[name]
    if value == "":
        return ""
    text = value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()
    text = " ".join(text.removesuffix("\n...").split())
    return f"`{_cell(text)}`" if len(text) <= LONGEST_DEFAULT else "see `defaults/main.yml`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _read(path: Path) -> dict[str, Any]:
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
