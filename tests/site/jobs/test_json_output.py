"""A JSON output is JSON to every reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedproc.common.errors import ToolFaultError
from fedproc.contract.tool.task import Disclosure, OutputDecl
from fedproc.site.jobs.workspace import Workspace


def _sealed(folder: Path, content: bytes, media_type: str = "application/json") -> dict[str, str]:
    work = Workspace(folder, "j-1")
    work.make({}, {})
    (work.work / "output" / "result.json").write_bytes(content)
    output = OutputDecl(name="result", path="result.json", disclosure=Disclosure.aggregate, media_type=media_type)
    return work.seal([output], folder / "sealed")


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("media_type", ["application/json", "application/fhir+json"])
def test_a_number_that_json_has_not_fails_the_job(tmp_path: Path, word: str, media_type: str) -> None:
    with pytest.raises(ToolFaultError) as error:
        _sealed(tmp_path, f'{{"mean": [1, {word}]}}'.encode(), media_type)
    assert error.value.code == "tool_fault.output_json"
    assert f"output result: holds {word}" in error.value.message


@pytest.mark.parametrize("content", [b'{"name": "NaN"}', b"{", b"\xff", b"[" * 100_000, b""])
def test_what_is_otherwise_no_json_is_not_judged_here(tmp_path: Path, content: bytes) -> None:
    assert list(_sealed(tmp_path, content)) == ["result/result.json"]


@pytest.mark.parametrize("content", [b'{"a": 1}', b"[NaN" + b" " * (9 << 20) + b"]"], ids=["no such word", "large"])
@pytest.mark.slow
def test_file_that_is_large_or_has_no_such_word_is_not_parsed(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loads(*_: object, **__: object) -> None:
        raise AssertionError("it was parsed")

    monkeypatch.setattr("fedproc.site.jobs.json_output.json.loads", loads)
    assert list(_sealed(tmp_path, content)) == ["result/result.json"]


def test_other_kinds_of_files_may_say_nan(tmp_path: Path) -> None:
    assert _sealed(tmp_path, b"mean\nNaN\n", "text/csv")
