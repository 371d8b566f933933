"""Tables in the dialects of hospitals: read as what was meant, or refused with line, column and expectation."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from fedproc.tables.description import TableError, described
from fedproc.tables.reading import Table, read_table
from fedproc.tables.values import date_of

COLUMNS = [
    {"name": "age", "type": "integer"},
    {"name": "size", "type": "number"},
    {"name": "event", "type": "boolean"},
    {"name": "grade", "type": "category", "values": ["I", "II"]},
    {"name": "place", "type": "text"},
]
PLAIN = "age,size,event,grade,place\n61,12.5,1,I,Bonn\n70,NA,0,,Köln\n"
VALUES = {
    "age": [61, 70],
    "size": [12.5, None],
    "event": [True, False],
    "grade": ["I", None],
    "place": ["Bonn", "Köln"],
}


def read(folder: Path, content: str | bytes, form: dict[str, Any] | None = None, **more: Any) -> Table:
    raw = content.encode((form or {}).get("encoding", "utf-8")) if isinstance(content, str) else content
    (folder / "t.csv").write_bytes(raw)
    given = {"tables": {"t": "t.csv"}, "columns": COLUMNS, "format": form or {}} | more
    return read_table(folder, described(given), "t")


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (PLAIN, {}),
        ("\ufeff" + PLAIN, {}),
        (PLAIN.replace("\n", "\r\n"), {}),
        (PLAIN.replace("\n", "\r"), {}),
        (PLAIN.replace(",", ";").replace(".", ","), {"separator": ";", "decimal": ","}),
        (PLAIN.replace(",", "\t"), {"separator": "\t"}),
        (PLAIN, {"encoding": "iso-8859-1"}),
        (PLAIN, {"encoding": "windows-1252"}),
        (PLAIN, {"encoding": "utf-16"}),
        ("sep=;\n" + PLAIN.replace(",", ";"), {"separator": ";"}),
        (" age , size,event,grade ,place\n 61 ,12.5,TRUE,I,Bonn\n70, NA,false,,Köln\n", {}),
        ("place,grade,event,size,age,more\nBonn,I,1.0,12.5,61,x\nKöln,NA,0.0,,70,y\n", {}),
        ("age,size,event,grade,place,,\n61,12.5,1,I,Bonn,,\n70,NA,0,,Köln,\n,,,,,,\n\n,,\n", {}),
        ('age,size,event,grade,place\n61,"12.5","yes",I,"Bonn"\n70.0,"",No,NA,Köln', {}),
        (",age,size,event,grade,place\n1,61,1.25e1,1,I,Bonn\n2,70,NA,0,NA,Köln\n", {}),
    ],
)
def test_table_in_this_dialect_has_the_values_that_were_meant(
    tmp_path: Path, content: str, form: dict[str, Any]
) -> None:
    assert read(tmp_path, content, form).columns == VALUES


def cell(column: str, text: str) -> str:
    row = {"age": "61", "size": "12.5", "event": "1", "grade": "I", "place": "Bonn"} | {column: text}
    return "age,size,event,grade,place\n61,1,1,I,x\n" + ",".join(row.values()) + "\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (cell("size", "7_3"), "t.csv, line 3, column size: expected a number such as 12.5"),
        (
            cell("size", '"12,5"'),
            "line 3, column size: expected a number such as 12.5, or no value (an empty cell, NA)",
        ),
        (cell("size", "nan"), "line 3, column size"),
        (cell("size", "1e999"), "line 3, column size"),
        (cell("size", "١٢"), "line 3, column size"),
        (cell("age", "61.5"), "line 3, column age: expected a whole number"),
        (cell("age", "9" * 30), "line 3, column age: expected a whole number"),
        (cell("event", "2"), "line 3, column event: expected 1, 1.0, true, y, yes or 0, 0.0, false, n, no"),
        (cell("grade", "i"), "line 3, column grade: expected one of I, II"),
        (cell("place", "a,b"), "line 3: expected 5 cells, as many columns as the first line names"),
        (cell("place", "").replace(",\n", "\n"), "line 3: expected 5 cells"),
        (PLAIN.replace("age", "alter"), "line 1, column age: expected a column 'age' in the first line"),
        ("age,size,event,grade,place,,\n1,61,12.5,1,I,Bonn,\n", "must name that column, too"),
        ("age,size,event,grade,place,\n61,12.5,1,I,Bonn,x\n", "line 2: expected 5 cells"),
        (PLAIN.replace("size", "age"), "expected a column 'age' once"),
        (PLAIN.replace(",", ";"), "seem to be separated by ';' (format.separator in dataset.json)"),
        ("", "the names of the columns in the first line"),
        ("age,size,event,grade,place\n", "rows below the names of the columns"),
        ('age,size\n1,"2\n', "line 2: expected cells that end"),
        ("age\n1\0\n", "line 2: expected a text without NUL"),
        (f"age,place\n1,{'x' * 140_000}\n", "line 2: expected cells of at most 131072 characters"),
        (f'age,place\n1,x\n1,"x{"y,z" * 50_000}\n', "line 3: expected cells of at most 131072 characters"),
        ("sep=;\n" + PLAIN, "line 1: expected ',' between cells, as dataset.json says"),
        (b"age\n\n\xfc\n", "line 3: expected text in utf-8; name the file's encoding"),
        (b"\xff\xfea\0", "its byte order mark says utf-16"),
    ],
)
def test_table_that_is_not_as_described_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(TableError) as caught:
        read(tmp_path, content)
    assert message in str(caught.value)


def test_first_line_of_data_is_not_quoted_in_what_leaves_the_site(tmp_path: Path) -> None:
    """A file without names has a person's values in its first line."""
    for form in ({}, {"separator": ";"}):
        with pytest.raises(TableError) as caught:
            read(tmp_path, "Age,Erika Muster,1,I,Bonn\n62,Max Muster,1,I,Bonn\n", form)
        assert not [word for word in ("Age", "Muster", "Bonn", "62") if word in str(caught.value)]
    with pytest.raises(TableError) as caught:
        read(tmp_path, "Age,Erika Muster,1,I,Bonn\n62,Max Muster,1,I,Bonn\n")
    assert "expected a column 'age' in the first line (is it 'Age'?)" in next(caught.value.lines(private=True))


HIDDEN = [
    (cell("grade", "IV"), "t.csv, line 3: expected one of the categories that dataset.json names, or no value"),
    (cell("event", "2"), "t.csv, line 3: expected a boolean, or no value"),
    (cell("size", "x"), "t.csv, line 3: expected a number, or no value"),
    (cell("age", "x"), "t.csv, line 3: expected a whole number, or no value"),
    ("years,size\n1,2\n", "t.csv, line 1: expected each column that dataset.json names once in the first line"),
]


@pytest.mark.parametrize(("content", "message"), HIDDEN)
def test_site_that_shows_no_columns_names_no_column_and_no_category_outside(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(TableError) as caught:
        read(tmp_path, content, show_columns=False)
    assert str(caught.value).splitlines()[0] == message
    with pytest.raises(TableError) as shown:
        read(tmp_path, content)
    assert list(caught.value.lines(private=True)) == list(shown.value.lines(private=True))


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("%Y%m%d", ["20260131"], ["2026131", "202611", "2026 131", "20261301", "٢٠٢٦٠١٣١"]),
        ("%d.%m.%Y", ["31.01.2026", "1.1.2026", "01.1.2026"], ["31.01.26", "31.01.2026 ", "٣١.٠١.٢٠٢٦"]),
        ("%Y-%m-%dT%H%M", ["2026-01-31T0905"], ["2026-01-31T905", "2026-01-31T9:05"]),
    ],
)
def test_date_has_all_the_digits_of_its_form(form: str, good: list[str], bad: list[str]) -> None:
    for text in good:
        assert date_of(text, form).year == 2026
    for text in bad:
        with pytest.raises(ValueError):
            date_of(text, form)


def test_cells_of_another_column_are_never_taken_for_those_of_one(tmp_path: Path) -> None:
    """As R writes tables with the rows' names, which the first line does not name."""
    with pytest.raises(TableError, match="a program that writes the rows' numbers must name that column"):
        read(tmp_path, "age,size,event,grade,place\n1,61,12.5,1,I,Bonn\n")


def test_utf_8_is_not_read_as_something_else(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="the file is in utf-8"):
        read(tmp_path, PLAIN.encode(), {"encoding": "windows-1252"})


def test_all_is_told_at_once_bounded_and_no_value_in_public(tmp_path: Path) -> None:
    rows = "".join(f"{n},secret{n},1,I,x\n" for n in range(30))
    with pytest.raises(TableError) as caught:
        read(tmp_path, "age,size,event,grade,place\n" + rows)
    assert len(str(caught.value).splitlines()) == 21
    assert "secret" not in str(caught.value)
    private = list(caught.value.lines(private=True))
    assert private[0].startswith("t.csv, line 2, column size: found 'secret0', expected a number")
    assert private[-1] == "and 10 more"


def test_columns_that_are_not_asked_for_may_be_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(cell("grade", "IV"))
    given = described({"tables": {"t": "t.csv"}, "columns": COLUMNS})
    assert read_table(tmp_path, given, "t", ["age"]).columns == {"age": [61, 61]}
    with pytest.raises(TableError, match=r"a column 'ages' \(is it 'age'\?\)"):
        read_table(tmp_path, given, "t", ["ages"])
    with pytest.raises(TableError, match=r"there are t$"):
        read_table(tmp_path, given, "test", ["age"])


def test_dates_spellings_and_headers_are_those_of_the_description(tmp_path: Path) -> None:
    columns = [
        {"name": "born", "type": "date", "format": "%d.%m.%Y", "header": "Geb. am"},
        {"name": "smokes", "type": "boolean", "true": ["ja"], "false": ["nein"]},
        {"name": "sex", "type": "category", "values": ["female", "male"], "spellings": {"male": ["m", "männlich"]}},
        {"name": "country", "type": "category", "values": ["NA", "DE"], "missing": ["?"]},
    ]
    content = "Geb. am;smokes;sex;country\n31.1.1950;JA;m;NA\n01.02.1951;nein;female;?\n"
    found = read(tmp_path, content, {"separator": ";"}, columns=columns)
    assert found.columns == {
        "born": [datetime(1950, 1, 31), datetime(1951, 2, 1)],
        "smokes": [True, False],
        "sex": ["male", "female"],
        "country": ["NA", None],
    }


def test_line_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    content = 'age,size,event,grade,place\n\n61,1,1,I,"a\nb"\n,,,,\n70,1,1,I,x\n'
    found = read(tmp_path, content)
    assert found.lines == (3, 6)
    assert found.empty == 1
