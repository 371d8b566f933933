"""What a tool gets: columns with the types of their description, and the lines of the file as the index."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedproc.tables.problems import TableError

pytestmark = pytest.mark.slow  # pandas takes a while to load
pytest.importorskip("pandas")
from fedproc.tables.frame import Dataset  # noqa: E402 (pandas first)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    columns = [
        {"name": "n", "type": "integer"},
        {"name": "x", "type": "number"},
        {"name": "b", "type": "boolean"},
        {"name": "c", "type": "category", "values": ["low", "high"]},
        {"name": "d", "type": "date"},
        {"name": "t", "type": "text"},
    ]
    dataset = tmp_path / "one"
    dataset.mkdir()
    (dataset / "dataset.json").write_text(json.dumps({"tables": {"cohort": "a.csv"}, "columns": columns}))
    (dataset / "a.csv").write_text("t,n,x,b,c,d\nq,9007199254740993,1.5,1,high,2020-02-29\n,,,,,\nz,1,,0,low,\n")
    return tmp_path


def test_frame_has_the_types_of_the_description(folder: Path) -> None:
    frame = Dataset.only(folder).frame("cohort", ["n", "x", "b", "c", "d", "t"])
    assert list(map(str, frame.dtypes)) == ["Int64", "float64", "boolean", "category", "datetime64[s]", "object"]
    assert list(frame.index) == [2, 4]
    assert frame["n"].tolist() == [9007199254740993, 1]
    assert list(frame["c"].cat.categories) == ["low", "high"]
    assert frame["x"].isna().tolist() == [False, True]


def test_rows_that_a_tool_cannot_use_are_refused_by_their_lines(folder: Path) -> None:
    dataset = Dataset.only(folder)
    numbers = dataset.frame("cohort", ["n"])["n"]
    with pytest.raises(TableError, match=r"a\.csv, line 4, column n: expected a number above 1"):
        dataset.refuse("cohort", numbers <= 1, "a number above 1")
    dataset.refuse("cohort", numbers < 0, "a positive number")


@pytest.mark.parametrize("names", [(), ("one", "two")])
def test_one_dataset_is_wanted(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    with pytest.raises(TableError, match=f"one dataset a host; this one was given {', '.join(names) or 'none'}"):
        Dataset.only(tmp_path)
