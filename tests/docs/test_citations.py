"""Every file, test and link that documents, docstrings and roles cite is there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ROOT / "controllers/fedproc"
PLACES = (ROOT, ROOT / "docs", CODE, ROOT / "tests", ROOT / "roles", ROOT / "controllers", ROOT / "ansible")
KINDS = "md|py|yml|yaml|j2|toml"
OTHERS = re.compile(r"examples?/|^\d+/|my_|results/|NAME|CHANGE|DOMAIN|ROLE|\.\.\.|…|\*|<|^/|^~|https?:")
"""names that stand for a file of somebody's own"""


@cache
def tracked() -> tuple[Path, ...]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    return tuple(path for name in listed.stdout.decode().splitlines() if (path := ROOT / name).is_file())


@cache
def text_of(path: Path) -> str:
    return path.read_text(errors="replace")


PAGES = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md"), *ROOT.glob("roles/*/README.md")])


def is_there(name: str, page: Path) -> bool:
    if any((place / name).exists() for place in (page.parent, *PLACES)):
        return True
    return any(str(path).endswith(f"/{name}") for path in tracked())


def headings(page: Path) -> set[str]:
    return {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in text_of(page).splitlines()
        if line.startswith("#")
    }


@pytest.mark.process
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"https?:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), target
        assert not anchor or path.suffix != ".md" or anchor in headings(path), target


@pytest.mark.process
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(rf"`((?:\.\./)*[\w.-]+(?:/[\w.{{}},-]+)+\.(?:{KINDS}))(?:::[\w.]+)?`", text_of(page))
    missing = [name for name in named if "{" not in name and not OTHERS.search(name) and not is_there(name, page)]
    assert missing == []


def cited_tests(text: str) -> Iterator[tuple[str, str]]:
    yield from re.findall(r"`((?:\.\./)*[\w/.-]+\.py)::(\w+)`", text)


@pytest.mark.process
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tests_that_a_page_names_are_there(page: Path) -> None:
    for file, name in cited_tests(text_of(page)):
        found = [path for path in tracked() if str(path).endswith(f"/{file}")]
        assert any(re.search(rf"(def|class) {name}\b", text_of(path)) for path in found), f"{file}::{name}"


CITED = re.compile(r'\b((?:[\w-]+/)*[\w-]+\.md)\b(?:`{0,2},\s+(?:#\s+)?"([^"]+)")?')
WRITTEN = {"table.md", "soak.md", "figures.md", "federation.md"}
"""what programs write"""


def sources() -> Iterator[Path]:
    """Code that cites documents; a test names pages of its own, too."""
    for path in tracked():
        code = path.suffix in {".py", ".yml", ".j2", ".toml", ".sh"} or path.parent.name == "scripts"
        if code and not path.is_relative_to(ROOT / "tests"):
            yield path


@pytest.mark.process
def test_documents_that_the_code_cites_are_there() -> None:
    """And in them the heading that stands in quotation marks behind the name."""
    missing = []
    for path in sources():
        for name, heading in CITED.findall(text_of(path)):
            words = " ".join(heading.replace("# ", "").split())
            if (
                not OTHERS.search(name)
                and name not in WRITTEN
                and not (is_there(name, path) and (not words or has_heading(name, path, words)))
            ):
                missing.append(f'{path.relative_to(ROOT)}: {name} "{words}"')
    assert missing == []


def has_heading(name: str, source: Path, heading: str) -> bool:
    pages = [place / name for place in (source.parent, *PLACES) if (place / name).is_file()]
    pages += [path for path in tracked() if str(path).endswith(f"/{name}")]
    for page in pages:
        told = re.findall(r"^#+ (.+)$|\*\*(.+?)\*\*", text_of(page), re.M)
        if any(heading.rstrip(".") in " ".join(parts) for parts in told):
            return True
    return False
