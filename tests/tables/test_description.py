"""``dataset.json``: what is taken, what is refused with all that is wrong, and that the schema says the same."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.support.anything import plant

from fedproc.tables import description as module
from fedproc.tables.description import TableError, described, read_description
from fedproc.tables.reading import read_table

SCHEMA = Draft202012Validator(json.loads((Path(module.__file__).parent / "dataset.schema.json").read_text()))
GOOD: dict[str, Any] = {
    "version": "1",
    "tables": {"cohort": "cohort.csv"},
    "format": {"separator": ";", "decimal": ",", "encoding": "windows-1252", "missing": ["", "NA", -9]},
    "columns": [
        {"name": "age", "type": "integer", "unit": "a", "header": "Alter (Jahre)"},
        {"name": "size", "type": "number", "decimal": "."},
        {"name": "event", "type": "boolean", "true": ["ja", 1], "false": ["nein", 0]},
        {"name": "grade", "type": "category", "values": ["I", "II"], "spellings": {"II": ["2", "ii"]}},
        {"name": "seen", "type": "date", "format": "%d.%m.%Y"},
        {"name": "remark", "type": "text", "missing": ["-"]},
    ],
}


def changed(*path: Any, **change: Any) -> dict[str, Any]:
    given = copy.deepcopy(GOOD)
    place: Any = given
    for part in path:
        place = place[part]
    for key, value in change.items():
        if value is None:
            del place[key]
        else:
            place[key] = value
    return given


def test_description_is_read_with_its_defaults() -> None:
    found = described(GOOD)
    assert found.format.missing == {"", "NA", "-9"}
    assert found.columns["age"].header == "Alter (Jahre)"
    assert found.columns["age"].decimal == ","
    assert found.columns["size"].decimal == "."
    assert found.columns["event"].true == {"ja", "1"}
    assert found.columns["grade"].spellings == {"2": "II", "ii": "II"}
    assert found.columns["remark"].missing == {"", "-"}
    least = described({"tables": {"t": "t.csv"}, "columns": [{"name": "a", "type": "boolean"}]})
    assert (least.format.separator, least.format.encoding) == (",", "utf-8")
    assert "1.0" in least.columns["a"].true


BAD = [
    (changed(columns=[]), "columns: a list of"),
    (changed(tables={}), "tables: the names of the tables' files"),
    (changed(tables={"cohort": "../secret.csv"}), "the name of a file in this folder"),
    (changed("format", separator=":"), "format.separator to be one of"),
    (changed("format", encoding="ebcdic"), "format.encoding to be one of"),
    (changed("format", seperator=";"), "no key 'seperator' (is it 'separator'?)"),
    (changed("columns", 0, type="blob"), "column 'age'.type to be one of integer, number"),
    (changed("columns", 0, name=""), "columns[0]: an object with a name"),
    (changed("columns", 0, tpye="integer"), "no key 'tpye' (is it 'type'?)"),
    (changed("columns", 0, values=["1"]), "belongs to the type category, and this is integer"),
    (changed("columns", 3, values=[]), "a list of the categories"),
    (changed("columns", 4, format=7), "column 'seen'.format to be a text"),
]
ONLY_BY_READER = [
    (changed("columns", 1, name="age"), "each name once"),
    (changed("columns", 1, header="Alter (Jahre)"), "each header once"),
    (changed("columns", 3, values=["I", "II", "I "]), "each category once"),
    (changed("columns", 3, spellings={"III": ["3"]}), "spelt otherwise"),
    (changed("columns", 3, values=["I", "II", "NA"]), "not among the spellings of a missing one"),
    (changed("columns", 2, true=["ja", "NEIN"]), "without a common spelling"),
    (changed("columns", 2, true=["na"]), "not among those of a missing value"),
    (changed("columns", 4, format="%d.%m.%y"), "%Y, %m, %d"),
]


@pytest.mark.parametrize(("given", "message"), BAD + ONLY_BY_READER)
def test_description_that_cannot_be_used_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(TableError) as caught:
        described(given)
    assert message in str(caught.value)


def test_schema_takes_what_the_reader_takes() -> None:
    Draft202012Validator.check_schema(SCHEMA.schema)
    SCHEMA.validate(GOOD)
    SCHEMA.validate({"version": "3", "description": "Images"})
    SCHEMA.validate({})


@pytest.mark.parametrize("given", [given for given, _ in BAD if given["tables"] != {"cohort": "../secret.csv"}])
def test_schema_refuses_what_the_reader_refuses(given: dict[str, Any]) -> None:
    assert not SCHEMA.is_valid(given)


def test_all_that_is_wrong_is_told_at_once_and_bounded() -> None:
    given = changed(columns=[{"name": f"c{n}", "type": "blob"} for n in range(50)])
    with pytest.raises(TableError) as caught:
        described(given)
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and 30 more"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "a JSON object"),
        (b"{\n\n}}", "dataset.json, line 3: expected JSON"),
        (b"[" * 100_000, "JSON"),
        (b"\xff", "in UTF-8"),
        (b'{"version": "1", "version": "2"}', "JSON in which no key of an object stands twice"),
        (
            None,
            "a file that can be read (No such file or directory); fedproc data describe FOLDER --write proposes one",
        ),
    ],
)
def test_file_that_holds_no_description_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "dataset.json").write_bytes(content)
    with pytest.raises(TableError) as caught:
        read_description(tmp_path)
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "loop"])
@pytest.mark.parametrize("file", ["dataset.json", "cohort.csv"])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str, file: str) -> None:
    if file != "dataset.json":
        (tmp_path / "dataset.json").write_text(json.dumps(GOOD))
    plant(tmp_path, [(file.encode(), kind, b"", 0)])
    with pytest.raises(TableError, match=f"^{file}: expected a file that can be read"):
        read_table(tmp_path, read_description(tmp_path), "cohort")


@pytest.mark.parametrize(("given", "_"), [*BAD[5:], *ONLY_BY_READER])
def test_site_that_shows_no_columns_names_none_in_what_leaves_it(given: dict[str, Any], _: str) -> None:
    with pytest.raises(TableError) as caught:
        described(given | {"show_columns": False})
    said = "expected a description that can be used; at the site, fedproc data check says what is wrong with it"
    assert set(str(caught.value).splitlines()) == {f"dataset.json: {said}"}
    with pytest.raises(TableError) as shown:
        described(given)
    assert list(caught.value.lines(private=True)) == list(shown.value.lines(private=True))


def test_column_that_is_not_there_is_not_told_from_others_where_the_site_shows_none() -> None:
    with pytest.raises(TableError) as caught:
        described(GOOD | {"show_columns": False}).column("ages")
    assert str(caught.value) == "dataset.json: expected a column 'ages', as it is asked for"
    assert "(is it 'age'?)" in next(caught.value.lines(private=True))


def test_blanks_around_spellings_of_a_boolean_are_no_part_of_them() -> None:
    found = described(changed("columns", 2, true=[" Ja "], false=["nein\t"])).columns["event"]
    assert (found.true, found.false) == ({"ja"}, {"nein"})


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_byte_order_mark_of_a_description_is_no_part_of_it(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "dataset.json").write_bytes(json.dumps(GOOD).encode(encoding))
    assert read_description(tmp_path).version == "1"


def test_schema_names_all_that_the_host_reads_of_a_description() -> None:
    """What is not named there may be misspelt, or mistaken for what it is not."""
    assert {"version", "identifying_accepted"} <= SCHEMA.schema["properties"].keys()
    assert not SCHEMA.is_valid({"version": "1", "identifying_accepted": "private_tags"})
