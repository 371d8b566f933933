"""``dataset.json``: how the tables of a dataset are written, and what their columns mean."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .files import read_bytes
from .problems import Problem, Problems, TableError, one, quoted

FILE = "dataset.json"
TYPES = ("integer", "number", "boolean", "category", "date", "text")
SEPARATORS = (",", ";", "\t", "|")
DECIMALS = (".", ",")
ENCODINGS = (
    "utf-8", "utf-16", "iso-8859-1", "iso-8859-2", "iso-8859-7", "iso-8859-15",
    "windows-1250", "windows-1252", "windows-1253",
)  # fmt: skip
MISSING = ("", "NA")
"""spellings of a missing value unless others are named; an empty cell always is one"""
TRUE = ("1", "1.0", "true", "yes", "y")
FALSE = ("0", "0.0", "false", "no", "n")
"""spellings of a boolean unless others are named; upper and lower case are the same"""
DATE_FORMAT = "%Y-%m-%d"
LARGEST = 4 << 20
"""bytes of a description"""
PROPOSED = "fedproc data describe FOLDER --write proposes one"
_OUTSIDE = "a description that can be used; at the site, fedproc data check says what is wrong with it"

_FORMAT_KEYS = frozenset({"separator", "decimal", "encoding", "missing"})
_COLUMN_KEYS = frozenset({
    "name", "type", "unit", "description", "header", "values", "spellings", "missing", "true", "false", "decimal",
    "format",
})  # fmt: skip
_OF_TYPE = {
    "values": ("category",),
    "spellings": ("category",),
    "true": ("boolean",),
    "false": ("boolean",),
    "decimal": ("number", "integer"),
    "format": ("date",),
}
_DATE_PARTS = frozenset("YmdHMS")


@dataclass(frozen=True)
class Format:
    """How the tables are written. ``missing`` are the spellings of a missing value."""

    separator: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    missing: frozenset[str] = frozenset(MISSING)


@dataclass(frozen=True)
class Column:
    """What a column means. ``header`` is its name in the file; ``values`` are the categories in their order.

    ``spellings`` are other spellings of a category, by spelling; ``true`` and ``false`` are in lower case.
    """

    name: str
    type: str
    header: str
    unit: str = ""
    description: str = ""
    values: tuple[str, ...] = ()
    spellings: Mapping[str, str] = field(default_factory=dict)
    missing: frozenset[str] = frozenset(MISSING)
    true: frozenset[str] = frozenset(TRUE)
    false: frozenset[str] = frozenset(FALSE)
    decimal: str = "."
    format: str = DATE_FORMAT
    public: bool = True
    """whether the site shows its columns to researchers"""

    @property
    def numeric(self) -> bool:
        return self.type in {"integer", "number"}


@dataclass(frozen=True)
class Description:
    """A whole ``dataset.json``. ``tables`` are the names of files by what they are for."""

    id: str
    version: str
    description: str
    tables: Mapping[str, str]
    format: Format
    columns: Mapping[str, Column]
    public: bool = True
    """whether the site shows the columns to researchers (``show_columns``)"""

    def column(self, name: str) -> Column:
        """Raises :class:`TableError` naming the columns that there are."""
        if name in self.columns:
            return self.columns[name]
        asked, there = f"a column {quoted(name)}", hint(name, self.columns)
        if self.public:
            raise one(FILE, f"{asked}{there}, as it is asked for")
        raise one(FILE, f"{asked}, as it is asked for", detail=there)

    def table(self, name: str) -> str:
        """The file of a table. Raises :class:`TableError` naming the tables that there are."""
        if name in self.tables:
            return self.tables[name]
        there = ", ".join(sorted(self.tables)) or "none"
        raise one(FILE, f'"tables": {{"{name}": "FILE.csv"}}; there are {there}')


def read_description(folder: Path) -> Description:
    """The description in a dataset's folder. Raises :class:`TableError` with all that is wrong, and OSError never."""
    return described(read_json(folder / FILE))


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; a byte order mark is no fault. Raises :class:`TableError`."""
    try:
        raw = read_bytes(path, LARGEST)
    except FileNotFoundError as error:
        raise one(path.name, f"a file that can be read ({error.strerror}); {PROPOSED}") from error
    try:
        value = json.loads(raw.decode(json.detect_encoding(raw)), object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise one(path.name, f"JSON ({error.msg})", line=error.lineno) from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, _RepeatedError):
            raise one(path.name, "JSON in which no key of an object stands twice", detail=f" ({error} does)") from error
        raise one(path.name, "JSON (in UTF-8)") from error
    if not isinstance(value, dict):
        raise one(path.name, "a JSON object")
    return value


def described(given: Mapping[str, Any]) -> Description:
    """The description that a JSON object gives. Raises :class:`TableError` with all that is wrong."""
    reader = _Reader(public=given.get("show_columns", True) is True)
    found = reader.description(given)
    reader.problems.raise_any()
    return found


def hint(name: str, there: Iterable[str]) -> str:
    """``(did you mean …?)``, or what there is, as far as it is short."""
    names = list(there)
    near = get_close_matches(name.casefold(), [other.casefold() for other in names], n=1, cutoff=0.75)
    if near:
        return f" (is it {quoted(next(other for other in names if other.casefold() == near[0]))}?)"
    listed = ", ".join(map(quoted, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return f" (there are {listed or 'none'})"


class _RepeatedError(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise _RepeatedError(quoted(twice))
    return dict(pairs)


class _Reader:
    """Reads one description and collects what is wrong with it; what is wrong is read as if it were not there."""

    def __init__(self, *, public: bool) -> None:
        self.problems = Problems()
        self._public = public

    def description(self, given: Mapping[str, Any]) -> Description:
        form = self._format(given.get("format", {}))
        columns = [self.column(entry, form, f"columns[{n}]") for n, entry in enumerate(self._columns(given))]
        self._check_names(columns)
        return Description(
            id=str(given.get("id", "")),
            version=str(given.get("version", "")),
            description=str(given.get("description", "")),
            tables=dict(self._tables(given.get("tables"))),
            format=form,
            columns={column.name: column for column in columns},
            public=self._public,
        )

    def column(self, given: Any, form: Format, where: str) -> Column:
        if not isinstance(given, Mapping) or not _is_name(given.get("name")):
            self._wrong(where, 'an object with a name of 1 to 200 characters and a type, {"name": …, "type": …}')
            return Column("", "text", "")
        name, kind = given["name"], given.get("type")
        where = f"column {quoted(name)}"
        if kind not in TYPES:
            self._wrong(f"{where}.type", f"one of {', '.join(TYPES)}", kind)
            kind = "text"
        self._known(given, _COLUMN_KEYS, where)
        for key, kinds in _OF_TYPE.items():
            if key in given and kind not in kinds:
                self._wrong(f"{where}.{key}", f"no such key: it belongs to the type {kinds[0]}, and this is {kind}")
        column = Column(
            name=name,
            type=kind,
            header=self._text(given, "header", where) or name.strip(),
            unit=self._text(given, "unit", where),
            description=self._text(given, "description", where),
            values=self._values(given, kind, where),
            spellings=dict(self._spellings(given.get("spellings", {}), where)),
            missing=self._missing(given, where) if "missing" in given else form.missing,
            true=self._truths(given, "true", where, TRUE),
            false=self._truths(given, "false", where, FALSE),
            decimal=self._choice(given, "decimal", DECIMALS, form.decimal, where),
            format=self._date_format(given, where),
            public=self._public,
        )
        self._check_spellings(column, where)
        return column

    def _format(self, given: Any) -> Format:
        if not isinstance(given, Mapping):
            self._wrong("format", "an object {separator, decimal, encoding, missing}")
            return Format()
        self._known(given, _FORMAT_KEYS, "format")
        separator = self._choice(given, "separator", SEPARATORS, ",", "format")
        decimal = self._choice(given, "decimal", DECIMALS, ".", "format")
        missing = self._missing(given, "format") if "missing" in given else frozenset(MISSING)
        return Format(separator, decimal, self._choice(given, "encoding", ENCODINGS, "utf-8", "format"), missing)

    def _columns(self, given: Mapping[str, Any]) -> list[Any]:
        columns = given.get("columns")
        if isinstance(columns, list) and columns:
            return columns
        self._wrong("columns", f"a list of {{name, type, …}}: {PROPOSED}")
        return []

    def _check_names(self, columns: Iterable[Column]) -> None:
        for attribute, what in (("name", "name"), ("header", "header")):
            named = [getattr(column, attribute) for column in columns]
            for text in sorted({text for text in named if text and named.count(text) > 1}):
                self._wrong("columns", f"each {what} once", text)

    def _tables(self, given: Any) -> Iterator[tuple[str, str]]:
        if not isinstance(given, Mapping) or not given:
            self._wrong("tables", 'the names of the tables\' files: "tables": {"cohort": "FILE.csv"}')
            return
        for name, file in given.items():
            if isinstance(file, str) and Path(file).name == file and file not in {"", FILE} and "\0" not in file:
                yield name, file
            else:
                self._wrong(f"tables.{name}", "the name of a file in this folder", file)

    def _values(self, given: Mapping[str, Any], kind: str, where: str) -> tuple[str, ...]:
        values = tuple(text.strip() for text in self._texts(given, "values", where, ()))
        if kind == "category" and not values:
            self._wrong(f"{where}.values", "a list of the categories")
        for value in sorted({value for value in values if values.count(value) > 1}):
            self._wrong(f"{where}.values", "each category once", value)
        return values

    def _spellings(self, given: Any, where: str) -> Iterator[tuple[str, str]]:
        if not isinstance(given, Mapping):
            self._wrong(f"{where}.spellings", "an object of lists of other spellings by category")
            return
        for value in given:
            for text in self._texts(given, value, f"{where}.spellings", ()):
                yield text.strip(), value

    def _check_spellings(self, column: Column, where: str) -> None:
        """No text means two things."""
        if both := sorted(column.true & column.false):
            self._wrong(where, "true and false without a common spelling", both[0])
        cells = {*column.values, *column.spellings} if column.type == "category" else set()
        if both := sorted(cells & column.missing):
            self._wrong(where, "a value that is not among the spellings of a missing one (missing)", both[0])
        truths = {text.casefold() for text in column.missing} & (column.true | column.false)
        if column.type == "boolean" and truths:
            self._wrong(where, "spellings of true and false that are not among those of a missing value", min(truths))
        for text, value in column.spellings.items():
            if value not in column.values or text in column.values:
                self._wrong(f"{where}.spellings", f"a category of {', '.join(column.values)}, spelt otherwise", text)

    def _truths(self, given: Mapping[str, Any], key: str, where: str, usual: tuple[str, ...]) -> frozenset[str]:
        return frozenset(text.strip().casefold() for text in self._texts(given, key, where, usual))

    def _missing(self, given: Mapping[str, Any], where: str) -> frozenset[str]:
        return frozenset(text.strip() for text in self._texts(given, "missing", where, ())) | {""}

    def _date_format(self, given: Mapping[str, Any], where: str) -> str:
        text = self._text(given, "format", where) or DATE_FORMAT
        parts = text.split("%")[1:]
        codes = [part[:1] for part in parts]
        if not set(codes) <= _DATE_PARTS or not {"Y", "m", "d"} <= set(codes) or len(set(codes)) < len(codes):
            self._wrong(f"{where}.format", "%Y, %m, %d, and %H, %M, %S if there is a time, such as %d.%m.%Y", text)
            return DATE_FORMAT
        return text

    def _choice(self, given: Mapping[str, Any], key: str, known: tuple[str, ...], usual: str, where: str) -> str:
        value = given.get(key, usual)
        if value in known:
            return str(value)
        self._wrong(f"{where}.{key}", f"one of {', '.join(map(repr, known))}", value)
        return usual

    def _texts(self, given: Mapping[str, Any], key: str, where: str, usual: tuple[str, ...]) -> tuple[str, ...]:
        """A list of texts; numbers and truth values stand for the text that JSON has for them."""
        value = given.get(key, list(usual))
        if isinstance(value, list) and all(isinstance(entry, str | int | float) for entry in value):
            return tuple(entry if isinstance(entry, str) else json.dumps(entry) for entry in value)
        self._wrong(f"{where}.{key}", "a list of texts")
        return usual

    def _text(self, given: Mapping[str, Any], key: str, where: str) -> str:
        value = given.get(key, "")
        if isinstance(value, str):
            return value.strip()
        self._wrong(f"{where}.{key}", "a text", value)
        return ""

    def _known(self, given: Mapping[str, Any], known: frozenset[str], where: str) -> None:
        for key in sorted(given.keys() - known):
            self._wrong(where, f"no key {quoted(key)}{hint(key, sorted(known))}")

    def _wrong(self, where: str, expected: str, found: Any = None) -> None:
        text = None if found is None else (found if isinstance(found, str) else json.dumps(found, default=str))
        whole = f"{where}: {expected}" if found is None else f"{where} to be {expected}"
        self.problems.add(Problem(FILE, whole, found=text, outside=None if self._public else _OUTSIDE))


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and 1 <= len(name.strip()) <= 200 and name.isprintable()


__all__ = ["Column", "Description", "Format", "TableError", "described", "read_description"]
