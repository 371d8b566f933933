"""The release before this one, taken from git, with an environment of its own from its own lock file."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import tomli_w

COMMIT = "5f92ce97d20a4886a2d9c31fe56af5d0ade323cc"
"""The release before. Whoever makes a release writes the commit of the last one here; nothing else needs a change."""
_ROOT = Path(__file__).parents[2]
_EXTRAS = ("central", "docker", "build")
_PATHS = ("controllers", "requirements/dev.lock", "pyproject.toml", "README.md")


def python_of_release_before(cache: Path) -> Path:
    """The Python in which ``-m fedproc.cli`` runs the programs of the release before; ``cache`` keeps it.

    Skips the test where git does not have that commit.
    """
    place = cache / "releases" / f"{COMMIT[:12]}-py{sys.version_info.major}.{sys.version_info.minor}"
    place.mkdir(parents=True, exist_ok=True)
    with _only_one(place):
        if not (place / "complete").exists():
            _make(place)
    return place / "venv" / "bin" / "python"


def make_policy_readable(policy: Path) -> None:
    """Take out of a policy, if it is there, what the release before does not know and would refuse."""
    if not policy.is_file():
        return
    content = tomllib.loads(policy.read_text())
    if "floor" in content:
        content["minimum_count"] = content.pop("floor")
    content.pop("review", None)
    content.pop("grants", None)
    content.pop("ledger", None)
    for line in content["tools"]:
        line.pop("without_review", None)
        line.pop("any_version", None)
    policy.write_text(tomli_w.dumps(content))


def make_settings_readable(settings: Path) -> None:
    """Take out of the centre's settings, if they are there, what the release before does not know and would refuse."""
    if not settings.is_file():
        return
    content = tomllib.loads(settings.read_text())
    if content.pop("grants", None) is not None:
        settings.write_text(tomli_w.dumps(content))


@contextmanager
def _only_one(place: Path) -> Iterator[None]:
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(place: Path) -> None:
    venv = place / "venv"
    shutil.rmtree(venv, ignore_errors=True)
    with TemporaryDirectory() as tree:
        _unpack(Path(tree))
        needed = Path(tree, "needed.lock")
        needed.write_text(_needed(Path(tree)))
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        pip = [venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--require-hashes", "-r", needed], check=True)
        subprocess.run([*pip, "--no-build-isolation", tree], check=True)
    (place / "complete").touch()


def _unpack(tree: Path) -> None:
    packed = subprocess.run(["git", "-C", _ROOT, "archive", COMMIT, *_PATHS], capture_output=True, check=False)
    if packed.returncode != 0:
        said = packed.stderr.decode(errors="replace").strip()
        pytest.skip(f"git does not have the release before ({COMMIT[:12]}; a shallow clone?): {said}")
    subprocess.run(["tar", "-x", "-C", tree], input=packed.stdout, check=True)


def _needed(tree: Path) -> str:
    """What the programs need of the lock file: the lock holds the tests' packages and the demo's, too."""
    project = tomllib.loads((tree / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in _EXTRAS for each in project["optional-dependencies"][extra]),
    ]
    entries = _entries((tree / "requirements" / "dev.lock").read_text())
    needed, ahead = set(), {_name(requirement) for requirement in wanted}
    while ahead:
        needed |= ahead
        ahead = {name for name, entry in entries.items() if name not in needed and _demanders(entry) & needed}
    return "".join(entries[name] for name in sorted(needed))


def _entries(lock: str) -> dict[str, str]:
    """The entries of a lock file by their package, with their hashes and the comment that says who needs them."""
    return {_name(entry): entry for entry in re.split(r"(?m)^(?=[A-Za-z0-9])", lock) if "==" in entry}


def _demanders(entry: str) -> set[str]:
    return set(re.findall(r"(?m)^    #(?: via)? +([a-z0-9._-]+)$", entry))


def _name(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower()
