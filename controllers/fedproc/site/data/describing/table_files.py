"""The files of a dataset's folder that are tables, and how they are written: as a person says, or as it seems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fedproc.site.data.describing.dialect import decimal_of, encoding_of, is_split_by, may_be_table, separator_of
from fedproc.tables.description import DECIMALS, ENCODINGS, FILE, SEPARATORS
from fedproc.tables.files import read_bytes
from fedproc.tables.problems import TableError, one, shown
from fedproc.tables.records import LARGEST, MARKS, decoded

ENDINGS = frozenset({".csv", ".tsv", ".txt"})
CHOICES: Mapping[str, tuple[str, ...]] = {"separator": SEPARATORS, "decimal": DECIMALS, "encoding": ENCODINGS}
_FOR_PEOPLE = frozenset({"readme", "license", "licence", "changelog", "liesmich", "lisezmoi", "leeme", "leggimi"})
_MOST_NAMED = 5
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


def read_tables(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """The tables' bytes by file, and a note on files that are none. Raises :class:`TableError` if there is no table."""
    try:
        files = sorted(path for path in folder.iterdir() if path.name != FILE and not path.is_dir())
    except OSError as error:
        raise one(str(folder), f"a folder that can be read ({error.strerror})") from error
    found = {path.name: _raw(path) for path in files if path.suffix.lower() in ENDINGS and path.is_file()}
    tables = {name: raw for name, raw in found.items() if not name.lower().endswith(".txt") or _is_table(name, raw)}
    others = [path.name for path in files if path.name not in tables]
    if not tables:
        there = f"; {_listed(others)} in it: none" if others else ""
        raise one(str(folder), f"a table: a file that ends in {', '.join(sorted(ENDINGS))}{there}")
    return tables, [f"no tables, and passed over: {_listed(others)}"] if others else []


def refuse_link_outside(path: Path) -> None:
    """Raises :class:`TableError` if a dataset's file is a link that leads out of its folder, which jobs see alone."""
    if path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve()):
        raise one(path.name, "a file in this folder; it is a link to elsewhere, where no job sees it: copy it here")


class Dialects:
    """How the files are written: what is ``given`` counts, then what ``earlier`` said and fits, then what it seems.

    ``notes`` say where these differ. Raises :class:`TableError` for what is given and is none of the choices.
    """

    def __init__(self, given: Mapping[str, str], earlier: Any) -> None:
        for key, value in given.items():
            if value not in CHOICES[key]:
                raise one(f"--{key}", f"one of {', '.join(map(repr, CHOICES[key]))}", found=value)
        self._given = given
        self._earlier = dict(earlier) if isinstance(earlier, Mapping) else {}
        self.notes: list[str] = []
        self.encoding = "utf-8"

    @property
    def missing(self) -> set[str]:
        """The spellings of a missing value that ``earlier`` had."""
        texts = self._earlier.get("missing")
        return {text.strip() for text in texts if isinstance(text, str)} if isinstance(texts, list) else set()

    def decoded(self, contents: Mapping[str, bytes]) -> dict[str, str]:
        """The files' texts, in the encoding that all of them have."""

        def fits(encoding: str) -> bool:
            try:
                return bool([decoded(raw, encoding, name) for name, raw in contents.items()])
            except TableError:
                return False

        known = self._known("encoding", fits)
        self.encoding = known or _common_encoding(contents)
        self._note("encoding", self.encoding)
        return {name: decoded(raw, self.encoding, name) for name, raw in contents.items()}

    def separator(self, texts: Mapping[str, str]) -> str:
        """What stands between cells in all files."""
        known = self._known("separator", lambda mark: all(is_split_by(text, mark) for text in texts.values()))
        found = known or _common({name: separator_of(text) for name, text in texts.items()}, "separator")
        self._note("separator", found)
        return found

    def decimal(self, cells: Mapping[str, Iterable[str]], usual: str) -> str:
        """The decimal mark of most numbers."""
        seems = decimal_of((text.strip() for column in cells.values() for text in column), usual)
        surely = decimal_of((text.strip() for column in cells.values() for text in column), "")
        found = self._known("decimal", lambda mark: surely in {"", mark}) or seems
        self._note("decimal", found)
        if surely and surely != found:
            self.notes.append(f"the numbers have {surely!r} as their decimal mark, and not {found!r}: is that right?")
        return found

    def _known(self, key: str, fits: Any) -> str | None:
        if key in self._given:
            return self._given[key]
        value = self._earlier.get(key)
        return value if value in CHOICES[key] and fits(value) else None

    def _note(self, key: str, found: str) -> None:
        before = self._earlier.get(key)
        if before is not None and before != found and key not in self._given:
            self.notes.append(f"{FILE} says that the {key} is {before!r}; the files seem to have {found!r}")


def _raw(path: Path) -> bytes:
    if not path.name.isprintable():
        raise one(path.name, "a name of letters that can be shown, in UTF-8: rename the file")
    refuse_link_outside(path)
    try:
        raw = read_bytes(path, LARGEST)
    except FileNotFoundError as error:
        raise one(path.name, "a file that stays while it is read") from error
    if raw.startswith(_WORKBOOKS):
        raise one(path.name, "a table as text, and this is a workbook: export it as CSV")
    if b"\0" in raw and encoding_of(raw) != "utf-16":
        raise one(path.name, "a text without NUL")
    _refuse_two_encodings(path.name, raw)
    return raw


def _refuse_two_encodings(name: str, raw: bytes) -> None:
    """A byte order mark and bytes of another encoding: no setting of a description reads both."""
    encoding = next((each for mark, each in MARKS if raw.startswith(mark)), None)
    try:
        raw.decode(encoding or "iso-8859-1")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        expected = f"text in {encoding}, as its byte order mark says (here is another): export it again as UTF-8"
        raise one(name, expected, line=line) from error


def _is_table(name: str, raw: bytes) -> bool:
    """Of a ``.txt``, which may as well be for people."""
    return Path(name).stem.casefold() not in _FOR_PEOPLE and may_be_table(raw.decode(encoding_of(raw), "replace"))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(shown, names[:_MOST_NAMED])) + more


def _common_encoding(contents: Mapping[str, bytes]) -> str:
    """That of all the files; one of ASCII alone fits any."""
    found = {name: encoding_of(raw) for name, raw in contents.items() if not raw.isascii()}
    return _common(found or {"": "utf-8"}, "encoding")


def _common(found: Mapping[str, str], what: str) -> str:
    """What all files have. Raises :class:`TableError` if they do not, as one description is of all of them."""
    (first, value), *others = found.items()
    for name, other in others:
        if other != value:
            raise one(name, f"the {what} of {shown(first)}, {value!r}; this one seems to have {other!r}")
    return value
