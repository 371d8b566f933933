"""Profiles: what a host must have, as data. Built-in ones lie in ``builtin/``; a site may write its own.

The format is TOML and is described in ``docs/host-check.md``. What is wrong with a file is said with file, line and
what to do, as :class:`fedproc.onboarding.model.targets.BadInputError`.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

from fedproc.onboarding.model.report import ProfileStamp
from fedproc.onboarding.model.targets import BadInputError, Service, service
from fedproc.onboarding.profile.thresholds import in_order, parse
from fedproc.onboarding.profile.toml_lines import Lines
from fedproc.onboarding.rules import CHECKS, Requirement

FORMAT = 1
TOP_KEYS = ("format", "id", "title", "extends", "drop", "tolerance_percent", "requirement", "service")
REQUIREMENT_KEYS = ("check", "source", "minimum", "recommended")
SERVICE_KEYS = ("name", "url", "ca_file", "ca_sha256")
LARGEST_FILE = 1 << 20
DEEPEST = 8


@dataclass(frozen=True)
class Profile:
    id: str
    title: str
    requirements: tuple[Requirement, ...]
    services: tuple[Service, ...] = ()
    tolerance: int = 0

    def stamp(self) -> ProfileStamp:
        """Identifies the requirements as they are in force, inherited ones included."""
        text = json.dumps([asdict(r) for r in self.requirements], sort_keys=True)
        return ProfileStamp(self.id, self.title, hashlib.sha256(text.encode()).hexdigest())


def built_in() -> tuple[str, ...]:
    """Ids of the profiles that come with the program."""
    names = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def text_of(profile_id: str) -> str:
    """The file of a built-in profile, to read or to start one's own from. Raises :class:`BadInputError`."""
    if profile_id not in built_in():
        raise BadInputError(
            f"there is no profile '{profile_id}'; use one of {', '.join(built_in())}, or --profile-file FILE"
        )
    text: str = (_folder() / f"{profile_id}.toml").read_text()
    return text


def load(profile_id: str) -> Profile:
    """A built-in profile. Raises :class:`BadInputError`."""
    return _Reader(f"{profile_id}.toml", text_of(profile_id), Path()).profile()


def load_file(path: Path) -> Profile:
    """A site's own profile. Raises :class:`BadInputError` that names file, line, fault and cure."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadInputError(f"{path}: larger than {LARGEST_FILE} bytes, so no profile; give another file")
        text = path.read_text("utf-8-sig")  # editors put a byte order mark before it
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: cannot be read: {error}; give a readable UTF-8 file by --profile-file") from error
    return _Reader(str(path), text, path.parent).profile()


def _folder() -> Any:
    return resources.files("fedproc.onboarding.profile") / "builtin"


class _Reader:
    """Reads one file; every fault is raised with the line it stands on."""

    def __init__(self, name: str, text: str, folder: Path, depth: int = 0) -> None:
        self._name = name
        self._folder = folder
        self._depth = depth
        self._lines = Lines(text)
        try:
            self._data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise BadInputError(f"{name}: not TOML: {error}; mend that line") from error

    def profile(self) -> Profile:
        data = self._data
        self._known(data, TOP_KEYS)
        if data.get("format") != FORMAT:
            self._fail("format", error=f"this program reads format {FORMAT}", cure=f"begin with 'format = {FORMAT}'")
        base = self._base()
        tolerance = self._tolerance(base)
        merged = self._merge(base, self._requirements())
        requirements = tuple(replace(requirement, tolerance=tolerance) for requirement in merged)
        services = self._services() or (base.services if base else ())
        return Profile(self._text("id"), self._text("title"), requirements, services, tolerance)

    def _base(self) -> Profile | None:
        if "extends" not in self._data:
            return None
        name = self._text("extends")
        if name not in built_in() or self._depth >= DEEPEST:
            choices = ", ".join(built_in())
            self._fail("extends", error=f"there is no built-in profile '{name}'", cure=f"use one of: {choices}")
        return _Reader(f"{name}.toml", text_of(name), Path(), self._depth + 1).profile()

    def _merge(self, base: Profile | None, own: tuple[Requirement, ...]) -> tuple[Requirement, ...]:
        """Own requirements take the place of inherited ones for the same check; new ones follow."""
        inherited = {r.check: r for r in base.requirements} if base else {}
        dropped = self._dropped(inherited)
        merged = {check: r for check, r in inherited.items() if check not in dropped}
        merged.update({r.check: r for r in own})
        return tuple(merged[check] for check in CHECKS if check in merged)

    def _dropped(self, inherited: dict[str, Requirement]) -> list[str]:
        dropped = self._data.get("drop", [])
        if not isinstance(dropped, list) or any(not isinstance(d, str) for d in dropped):
            self._fail("drop", error="'drop' must be a list of checks", cure='write for example drop = ["gpu.vram"]')
        for name in dropped:
            if name not in inherited:
                self._fail("drop", error=f"'{name}' is not inherited", cure=f"name some of: {', '.join(inherited)}")
        return dropped

    def _tolerance(self, base: Profile | None) -> int:
        tolerance = self._data.get("tolerance_percent", base.tolerance if base else 0)
        if isinstance(tolerance, bool) or not isinstance(tolerance, int) or not 0 <= tolerance <= 20:
            self._fail("tolerance_percent", error="must be a whole number from 0 to 20", cure="write for example 8")
        return tolerance

    def _requirements(self) -> tuple[Requirement, ...]:
        found: dict[str, Requirement] = {}
        for index, table in enumerate(self._tables("requirement")):
            requirement = self._requirement(table, index)
            if requirement.check in found:
                self._fail("requirement", index, "check", error=f"'{requirement.check}' comes twice", cure="keep one")
            found[requirement.check] = requirement
        return tuple(found.values())

    def _requirement(self, table: dict[str, Any], index: int) -> Requirement:
        where = ("requirement", index)
        self._known(table, REQUIREMENT_KEYS, *where)
        name = table.get("check")
        if name not in CHECKS:
            self._fail(*where, "check", error=f"there is no check '{name}'", cure=f"use one of: {', '.join(CHECKS)}")
        source = table.get("source")
        if not isinstance(source, str) or not source.strip():
            self._fail(*where, "source", error="'source' is missing", cure="say who requires this")
        kind = CHECKS[name].kind
        given = [key for key in ("minimum", "recommended") if key in table]
        limits = {key: self._threshold(kind, table[key], *where, key) for key in given}
        if not limits:
            self._fail(*where, error=f"'{name}' has no threshold", cure="give 'minimum', 'recommended' or both")
        if len(limits) == 2 and not in_order(kind, limits["minimum"], limits["recommended"]):
            self._fail(*where, "recommended", error="'recommended' asks less than 'minimum'", cure="exchange them")
        return Requirement(name, source, **limits)

    def _threshold(self, kind: str, value: Any, *where: str | int) -> Any:
        try:
            return parse(kind, value)
        except ValueError as error:
            self._fail(*where, error=f"'{where[-1]}': {value!r} does not do", cure=str(error))

    def _services(self) -> tuple[Service, ...]:
        found: dict[str, Service] = {}
        for index, table in enumerate(self._tables("service")):
            made = self._service(table, index)
            if made.name in found:
                self._fail("service", index, "name", error=f"'{made.name}' comes twice", cure="give each its own name")
            found[made.name] = made
        return tuple(found.values())

    def _service(self, table: dict[str, Any], index: int) -> Service:
        where = ("service", index)
        self._known(table, SERVICE_KEYS, *where)
        for key in SERVICE_KEYS:
            if not isinstance(table.get(key, ""), str) or (key in ("name", "url") and key not in table):
                self._fail(
                    *where, key, error=f"'{key}' is missing or not a text", cure='write name = "api", url = "https://…"'
                )
        try:
            made = service(table["name"], table["url"])
        except BadInputError as error:
            raise BadInputError(f"{self._name}:{self._lines.find(*where, 'url')}: {error}") from error
        ca_file = self._folder / table["ca_file"] if "ca_file" in table else None
        return replace(made, ca_file=ca_file, ca_sha256=table.get("ca_sha256"))

    def _tables(self, name: str) -> list[dict[str, Any]]:
        tables = self._data.get(name, [])
        if not isinstance(tables, list) or any(not isinstance(t, dict) for t in tables):
            self._fail(name, error=f"'{name}' must be tables", cure=f"begin each with a line [[{name}]]")
        return tables

    def _text(self, key: str) -> str:
        value = self._data.get(key)
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            self._fail(key, error=f"'{key}' is missing or not a text", cure=f'write {key} = "…"')
        return value

    def _known(self, table: dict[str, Any], keys: tuple[str, ...], *where: str | int) -> None:
        for key in table:
            if key not in keys:
                self._fail(*where, key, error=f"unknown key '{key}'", cure=f"use: {', '.join(keys)}")

    def _fail(self, *where: str | int, error: str, cure: str) -> NoReturn:
        raise BadInputError(f"{self._name}:{self._lines.find(*where)}: {error}; {cure}")
