"""What the operators' pages name is there: messages, playbooks and their tags, commands, variables, links."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.support.yaml_files import read_yaml
from typer.main import get_command

from fedproc.cli.main import application

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/operations").glob("*.md"))
NOT_OURS = ("No space left on device", "host not found in upstream", "no identity matched")
"""words of age, nginx and the system"""

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@cache
def sources() -> str:
    found = [*ROOT.glob("controllers/**/*.py"), *ROOT.glob("roles/**/*.yml"), *ROOT.glob("roles/**/files/*")]
    text = " ".join(path.read_text() for path in found if path.is_file())
    joined = re.sub(r'"\s+f?"', "", re.sub(r"\{[^{}\n]*\}+", "…", text))
    return re.sub(r"\s+", " ", joined)


def symptoms(page: Path) -> list[str]:
    """The first column of the tables that begin with "it says", without what stands for something else."""
    rows = page.read_text().partition("| it says |")[2].splitlines()[2:]
    said = [part for row in rows if row.startswith("|") for part in re.findall(r"`([^`]+)`", row.split("|")[1])]
    bare = [re.sub(r"^(holding|error|fedproc-backup): ", "", message) for message in said]
    return [piece.strip(" :;,?()") for message in bare for piece in message.split("…")]


@pytest.mark.slow
@by_page
def test_messages_are_those_of_the_code(page: Path) -> None:
    pieces = [piece for piece in symptoms(page) if len(piece) > 12]
    assert len(pieces) > 10 or "| it says |" not in page.read_text()
    known = sources()
    missing = [p for p in pieces if re.sub(r"\s+", " ", p) not in known and not any(w in p for w in NOT_OURS)]
    assert missing == []


def tags_of(playbook: Path) -> set[str]:
    return set(re.findall(r"[a-z_]+", " ".join(re.findall(r"tags: \[([^]]*)\]", playbook.read_text()))))


@by_page
def test_playbooks_and_their_tags_are_there(page: Path) -> None:
    text = page.read_text()
    for name in set(re.findall(r"\b([a-z_]+)\.yml\b", text)) - {"hosts", "federation", "vault", "central"}:
        places = [*ROOT.glob(f"ansible/playbooks/{name}.yml"), *ROOT.glob(f"inventories/example/**/{name}.yml")]
        assert places or name in {"prometheus", "rules"}, f"{name}.yml is nowhere"
    for name, tags in re.findall(r"\b([a-z_]+)\.yml`? --tags\s+([a-z,]+)", text):
        assert set(tags.split(",")) <= tags_of(ROOT / f"ansible/playbooks/{name}.yml"), f"{name}.yml --tags {tags}"


def commands(group: Any, before: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found = {before}
    for name, command in getattr(group, "commands", {}).items():
        found |= commands(command, (*before, name))
    return found


@pytest.mark.slow
@by_page
def test_commands_are_there(page: Path) -> None:
    known = commands(get_command(application([])))
    heads = {command[:1] for command in known}
    for words in re.findall(r"(?:^|`|\s)fedproc ((?:[a-z-]+ ?){1,2})", page.read_text()):
        command = tuple(words.split())
        assert command in known or command[:1] in known or command[:1] in heads, f"fedproc {words}"
        if (command[:1] in known) and any(len(k) > 1 and k[0] == command[0] for k in known) and len(command) > 1:
            assert command in known, f"fedproc {words}"


@by_page
def test_variables_are_there(page: Path) -> None:
    roles = [path.parent.parent for path in ROOT.glob("roles/*/meta/argument_specs.yml")]
    known = set()
    for role in roles:
        for entry in read_yaml(role / "meta/argument_specs.yml")["argument_specs"].values():
            known |= set(entry.get("options", {}))
    known |= set(
        re.findall(
            r"\b(?:federation|vault)_[a-z_0-9]+",
            "".join(p.read_text() for p in ROOT.glob("inventories/example/**/*.yml")),
        )
    )
    prefixes = (*(f"{role.name}_" for role in roles), "federation_", "vault_")
    named = {
        name for name in re.findall(r"\b[a-z]+_[a-z_0-9]*[a-z0-9]\b", page.read_text()) if name.startswith(prefixes)
    }
    assert {name for name in named if name not in known and name not in {role.name for role in roles}} == set()


@by_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), target
        if anchor:
            heads = [
                re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
                for line in path.read_text().splitlines()
                if line.startswith("#")
            ]
            assert anchor in heads, target
