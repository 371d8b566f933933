"""``fedproc data describe`` and ``check``: what is proposed for the exports of hospitals, and that it can be read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedproc.cli.main import application
from fedproc.common.errors import InvalidInputError
from fedproc.site.data.describing.checking import check_dataset
from fedproc.site.data.describing.proposal import Proposal, propose
from fedproc.tables.description import described
from fedproc.tables.problems import TableError, quoted
from fedproc.tables.reading import read_table


def proposal(folder: Path, content: str | bytes, encoding: str = "utf-8") -> Proposal:
    (folder / "export.csv").write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    found = propose(folder)
    (folder / "dataset.json").write_text(json.dumps(found.description))
    return found


def columns(found: Proposal) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in found.description["columns"]}


EXPORT = (
    " Alter (Jahre) ;Größe;Raucher;Grad;Aufnahme;Marker;Nr;\r\n"
    "61;12,5;ja;I;31.01.2020;1.0;007;\r\n"
    "58;7,25;nein;II;28.02.2020;0.0;008;\r\n"
    "n/a;1,0;JA;ii;01.03.2020;-;009;\r\n"
    "44;NA;Nein;I;15.03.2020;1;010;\r\n"
    ";;;;;;;\r\n;;;;;;;\r\n"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "windows-1252", "utf-16"])
def test_export_of_a_hospital_is_described_and_can_be_read(tmp_path: Path, encoding: str) -> None:
    found = proposal(tmp_path, EXPORT, encoding)
    assert found.description["format"] == {
        "encoding": encoding.removesuffix("-sig"),
        "separator": ";",
        "decimal": ",",
        "missing": ["", "NA", "n/a"],
    }
    of = columns(found)
    assert of["Alter (Jahre)"] == {"name": "Alter (Jahre)", "unit": "Jahre", "type": "integer"}
    assert of["Größe"]["type"] == "number"
    assert of["Raucher"] == {"name": "Raucher", "type": "boolean", "true": ["ja"], "false": ["nein"]}
    assert of["Grad"] == {"name": "Grad", "type": "category", "values": ["I", "II"], "spellings": {"II": ["ii"]}}
    assert of["Aufnahme"]["format"] == "%d.%m.%Y"
    assert of["Marker"]["missing"] == ["", "-", "NA", "n/a"]
    assert of["Nr"]["type"] == "text"
    read = read_table(tmp_path, described(found.description), "cohort")
    assert read.columns["Größe"] == [12.5, 7.25, 1.0, None]
    assert read.columns["Raucher"] == [True, False, True, False]
    assert read.columns["Grad"] == ["I", "II", "II", "I"]
    assert read.columns["Marker"] == [True, False, None, True]
    assert read.columns["Nr"] == ["007", "008", "009", "010"]
    assert any("'ii' is taken for 'II'" in note for note in found.notes)
    assert any("rows without any value are left out: 2" in note for note in found.notes)


@pytest.mark.parametrize(
    ("cells", "kind", "note"),
    [
        (["f"] * 10, "category", None),
        (["m", "f"] * 5, "category", None),
        (["t", "n"] * 5, "category", None),
        (["y", "n"] * 5, "boolean", None),
        (["no"] * 10, "boolean", None),
        (["si", "no"] * 5, "boolean", None),
        (["ja", "JA", "j", "Nein", "n", "yes"], "boolean", "'j', 'ja', 'yes' for true and 'n', 'nein' for false: is"),
        (["ja", "nein", "vielleicht"] * 5, "category", "is it yes or no, but for 'vielleicht'?"),
        (["no", "f"] * 5, "category", None),
        (["TRUE", "FALSE"] * 5, "boolean", None),
        (["0"] * 10, "boolean", "is it a boolean, or a count?"),
        (["1", "2", "3", "4", "5", "7_3"], "integer", "1 of its texts are no numbers"),
        (["7_3", "8_4"] * 5, "category", None),
        (["1.234", "2.500"] * 5, "number", "does it mark thousands?"),
        (["01/02/2020", "03/04/2021"], "date", "nothing in them says which"),
        (["31/02/2020", "03/04/2021"] * 5, "text", "may tell of persons"),
        ([*(f"{day:02}.03.2020" for day in range(13, 29)), "soon"], "date", "1 of its texts are no dates as %d.%m.%Y"),
        (["20200131", "20210228"], "integer", "are these dates?"),
        (["Anna Meier", "Anna Meier", "Bert Huber", "Bert Huber"], "text", "may tell of persons"),
        (["Meier, Anna", "Huber, Bert"] * 5, "text", "may tell of persons"),
        (["P001", "P002"] * 5, "text", "may tell of persons"),
        (["UB-12345", "UB-12346"] * 5, "text", "may tell of persons"),
        (["a@b.org", "none given"] * 5, "text", "may tell of persons"),
        (["mild pain in the left arm since Monday", "-"] * 5, "text", "may tell of persons"),
        (["one", "same", "same", "same"], "category", "fewer than 5 rows"),
        (["one", "other", "same", "same", "same", "same"], "text", "may tell of persons"),
        (["Breast Cancer", "Lung Cancer"] * 5, "category", None),
        (["C50.1", "C50.2"] * 5, "category", None),
        (["2020-01-02 00:00:00"] * 3, "date", None),
        (["01067", "80331"] * 5, "category", None),
        ([f"id{n}" for n in range(30)], "text", None),
        (["rare", *["often"] * 9], "category", "fewer than 5 rows have 'rare'"),
        (["NA"] * 3, "text", "no row has a value"),
        (["1", ".", "?", "2"] * 3, "integer", "'.', '?' is taken for a missing value"),
    ],
)
def test_column_of_such_cells_is_proposed_as(tmp_path: Path, cells: list[str], kind: str, note: str | None) -> None:
    found = proposal(tmp_path, "c;other\n" + "".join(f"{cell};x{n}\n" for n, cell in enumerate(cells)))
    assert columns(found)["c"]["type"] == kind
    notes = [text for text in found.notes if text.startswith("column 'c'")]
    assert not note or any(note in text for text in notes)
    described(found.description)


def test_persons_with_several_rows_are_noted_unless_their_column_is_named(tmp_path: Path) -> None:
    visits = "Pat-ID,visit\n" + "".join(f"P{person:03},{visit}\n" for person in range(8) for visit in (1, 2))
    (note,) = [text for text in proposal(tmp_path, visits).notes if "each row is a person" in text]
    assert note.startswith("column 'Pat-ID': 16 rows have 8 different texts")
    (tmp_path / "dataset.json").write_text(json.dumps({"person": "Pat-ID"}))
    assert not any("each row is a person" in text for text in proposal(tmp_path, visits).notes)
    once = "Pat-ID,code\n" + "".join(f"P{person:03},C{person % 6}\n" for person in range(16))
    assert not any("each row is a person" in text for text in proposal(tmp_path, once).notes)


def test_names_and_units_of_an_earlier_description_stay(tmp_path: Path) -> None:
    earlier = {"id": "b", "version": "7", "description": "Tumours", "columns": [{"name": "x", "unit": "mm"}]}
    (tmp_path / "dataset.json").write_text(json.dumps(earlier))
    found = proposal(tmp_path, "x,y\n1,2\n").description
    assert (found["id"], found["version"], found["description"]) == ("b", "7", "Tumours")
    assert columns(Proposal(found))["x"]["unit"] == "mm"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "a table: a file that ends in"),
        ({"README.txt": b"Hello, world,\nthis is, all,\n"}, "README.txt in it: none"),
        ({"a.csv": b"x,y\n1,2\n", "A.tsv": b"x,y\n1,2\n"}, "a name that differs from A.tsv before its ending"),
        ({"caf\udce9.csv": b"x,y\n1,2\n"}, "caf\\udce9.csv: expected a name of letters that can be shown, in UTF-8"),
        ({"a.csv": b"x,y\n1,2\n", "b.csv": b"x,z\n1,2\n"}, "not in both: y, z"),
        ({"a.csv": b"x,y\n1,2\n", "b.csv": b"x;y\n1;2\n"}, "the separator of a.csv"),
        ({"a.csv": b"x,x\n1,2\n"}, "'x' stands twice"),
        ({"a.csv": b"x,y\n1,2,3\n"}, "line 2: expected 2 cells"),
        ({"a.csv": b"x\0"}, "a text without NUL"),
        ({"a.csv": "x\0".encode("utf-16")}, "a text without NUL"),
        ({"a.csv": "\ufeffx,y\n1,2\n".encode() + b"1,\xe9\n"}, "line 3: expected text in utf-8, as its byte"),
        ({"a.csv": b"PK\x03\x04\0"}, "this is a workbook: export it as CSV"),
        ({"a.csv": b"1,1\n1,2\n"}, "or is the first line a row of data?"),
        ({"a.csv": b"x,y\n1,2\n", "dataset.json": b"[]"}, "dataset.json: expected a JSON object"),
    ],
)
def test_folder_that_cannot_be_described_says_why(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError) as caught:
        propose(tmp_path)
    assert message in str(caught.value)


def test_files_that_are_no_tables_are_named_and_passed_over(tmp_path: Path) -> None:
    for name in ("README.txt", "README.md", "scan.pdf", "words.txt", "bad\udcff.md"):
        (tmp_path / name).write_bytes(b"Gr\xfc\xdfe, an alle\n\nEnde\n")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "images").mkdir()
    found = proposal(tmp_path, "x,y\n1,2\n3,4\n")
    assert found.description["tables"] == {"cohort": "export.csv"}
    [note] = [note for note in found.notes if "passed over" in note]
    assert note == "no tables, and passed over: README.md, README.txt, bad\\udcff.md, pipe.csv, scan.pdf and 1 more"


def test_link_that_leads_out_of_the_folder_is_refused_and_one_within_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    folder.mkdir()
    (tmp_path / "outside").write_text("x,y\n1,2\n3,4\n")
    (folder / "real.dat").write_text("x,y\n1,2\n3,4\n")
    (folder / "a.csv").symlink_to("real.dat")
    (folder / "dataset.json").write_text(json.dumps(propose(folder).description))
    check_dataset(folder)
    (folder / "a.csv").unlink()
    (folder / "a.csv").symlink_to("../outside")
    for act in (propose, check_dataset):
        with pytest.raises(TableError, match="a link to elsewhere, where no job sees it"):
            act(folder)


def test_table_may_end_in_txt(tmp_path: Path) -> None:
    (tmp_path / "export.txt").write_text("x\ty\n1\t2\n3\t4\n")
    assert propose(tmp_path).description["tables"] == {"cohort": "export.txt"}


def test_header_that_is_no_name_stands_beside_a_clean_one(tmp_path: Path) -> None:
    long = "l" * 250
    found = proposal(tmp_path, f'"age\n(years)","age (years)",{long},{long}x,\u202eodd\n1,2,3,4,5\n6,7,8,9,1\n')
    assert [(entry["name"][:30], entry.get("header", "")[:30]) for entry in found.description["columns"]] == [
        ("age (years)", "age\n(years)"),
        ("age (years) 2", "age (years)"),
        ("l" * 30, "l" * 30),
        ("l" * 30, "l" * 30),
        ("odd", "\u202eodd"),
    ]
    read = read_table(tmp_path, described(found.description), "cohort").columns
    assert [values[0] for values in read.values()] == [1, 2, 3, 4, 5]


def test_names_that_a_person_gave_are_kept_by_their_headers(tmp_path: Path) -> None:
    earlier = [
        {"name": "age", "header": "Alter", "unit": "a"},
        {"name": "other", "header": "Grad"},
        "odd",
        {"name": 7},
    ]
    (tmp_path / "dataset.json").write_text(json.dumps({"columns": earlier}))
    found = columns(proposal(tmp_path, "Alter,other,Grad\n61,1,3\n62,2,4\n"))
    assert (found["age"]["header"], found["age"]["unit"]) == ("Alter", "a")
    assert set(found) == {"age", "other", "Grad"}


def test_what_a_person_wrote_beside_the_columns_is_kept(tmp_path: Path) -> None:
    wrote = {"title": "T", "creators": ["A. Roe"], "person": "id", "identifying_accepted": ["private_tags"]}
    (tmp_path / "dataset.json").write_text(json.dumps({**wrote, "columns": []}))
    found = proposal(tmp_path, "id,age\n7,61\n7,62\n").description
    assert {name: found.get(name) for name in wrote} == wrote


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        ("61,12.5,I\n58,7.1,II\n", True),
        ("f,I,Bonn\nm,I,Bonn\nf,II,Bonn\n", True),
        ("2020-01-02,61\n2020-01-03,62\n", True),
        ("age,grade\n61,I\n62,II\n", False),
        ("id,age,1,2\n7,61,3,4\n", True),
        ("id,age,sex,2\n7,61,3,4\n", False),
    ],
)
def test_first_line_that_looks_like_a_row_is_noted(tmp_path: Path, content: str, looks: bool) -> None:
    found = proposal(tmp_path, content)
    assert any("its first line looks like a row of data" in note for note in found.notes) is looks
    assert (found.description.get("show_columns") is False) is looks


@pytest.mark.slow
def test_what_a_person_says_of_the_files_counts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("x;y\n1,5;Gr\u00f6\u00dfe\n2,5;Gr\u00f6\u00dfe\n".encode("iso-8859-15"))
    run = CliRunner().invoke
    options = ["--separator", ";", "--decimal", ",", "--encoding", "iso-8859-15", "--write"]
    assert run(application([]), ["data", "describe", str(tmp_path), *options]).exit_code == 0
    written = json.loads((tmp_path / "dataset.json").read_text())
    assert written["format"] == {"separator": ";", "decimal": ",", "encoding": "iso-8859-15", "missing": ["", "NA"]}
    again = propose(tmp_path)
    assert again.description["format"] == written["format"]
    wrong = propose(tmp_path, {"decimal": "."})
    assert any("the numbers have ',' as their decimal mark" in note for note in wrong.notes)
    for option, value in (("separator", ":"), ("decimal", "x"), ("encoding", "ebcdic")):
        refused = run(application([]), ["data", "describe", str(tmp_path), f"--{option}", value]).exception
        assert f"--{option}: found {quoted(value)}, expected one of" in str(refused)


def test_format_of_before_that_does_not_fit_any_more_is_noted_and_not_kept(tmp_path: Path) -> None:
    before = {"separator": ";", "decimal": ",", "encoding": "windows-1252", "missing": ["", "-9"]}
    (tmp_path / "dataset.json").write_text(json.dumps({"format": before}))
    found = proposal(tmp_path, "x,y\n1.5,\u00e9\n2.5,\u00e8\n")
    assert found.description["format"] == {
        "encoding": "utf-8", "separator": ",", "decimal": ".", "missing": ["", "-9", "NA"]
    }  # fmt: skip
    for said in ("the separator is ';'", "the decimal is ','", "the encoding is 'windows-1252'"):
        assert any(said in note for note in found.notes)


def test_check_tells_all_tables_at_once(tmp_path: Path) -> None:
    proposal(tmp_path, "x,y\n1,2\n3,4\n,\n")
    [checked] = check_dataset(tmp_path)
    assert checked.line() == "export.csv (cohort): 2 rows, 1 without any value left out"
    given = json.loads((tmp_path / "dataset.json").read_text())
    given["tables"]["more"] = "more.csv"
    (tmp_path / "dataset.json").write_text(json.dumps(given))
    (tmp_path / "export.csv").write_text("x,y,z\nsoon,2,3\n")
    (tmp_path / "more.csv").write_text("y\n1\n")
    with pytest.raises(TableError) as caught:
        check_dataset(tmp_path)
    assert [problem.where for problem in caught.value.problems] == [
        "export.csv, line 2, column x",
        "more.csv, line 1, column x",
    ]


@pytest.mark.slow
def test_check_names_the_site_of_an_installed_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedproc.cli.datasets.INSTALLED", tmp_path / "host.toml")
    proposal(tmp_path, "x,y\n1,2\n")
    (tmp_path / "export.csv").write_text("x,y\nsoon,2\n")
    command = ["data", "check", str(tmp_path)]
    assert "\n  export.csv, line 2" in str(CliRunner().invoke(application([]), command).exception)
    (tmp_path / "host.toml").write_text('host = "UB"\n')
    assert "\n  UB: export.csv, line 2" in str(CliRunner().invoke(application([]), command).exception)


@pytest.mark.slow
def test_command_line_describes_writes_and_checks(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text("x,y\n1,2\n[red]soon,4\n5,6\n7,8\n9,9\n2,2\n")
    run = CliRunner().invoke
    shown = run(application([]), ["data", "describe", str(tmp_path)])
    assert json.loads(shown.stdout)["tables"] == {"cohort": "export.csv"}
    assert "no numbers" in shown.stderr
    assert not (tmp_path / "dataset.json").exists()
    assert run(application([]), ["data", "describe", str(tmp_path), "--write"]).exit_code == 0
    again = run(application([]), ["data", "describe", str(tmp_path), "--write"])
    assert "--replace writes the proposal in its place" in str(again.exception)
    assert run(application([]), ["data", "describe", str(tmp_path), "--replace"]).exit_code == 0
    checked = run(application([]), ["data", "check", str(tmp_path), "--site", "UB"])
    assert isinstance(checked.exception, InvalidInputError)
    assert "UB: export.csv, line 3, column x: found '[red]soon', expected a whole number" in str(checked.exception)
    missing = run(application([]), ["data", "check", str(tmp_path / "none")])
    assert "is no folder" in str(missing.exception)
