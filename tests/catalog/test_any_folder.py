"""A tool's folder may hold anything: it is a tool, or what is wrong is said by an error of ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.tool.test_any_manifest import WHOLE
from tests.support.anything import BYTES, JSON, TREES, bent, plant
from tests.support.examples import examples

from fedproc.catalog.bundle import pack, unpack
from fedproc.catalog.folder import load_catalogue, load_tool
from fedproc.common.errors import FedprocError, InvalidInputError
from fedproc.contract.tool.tool import Manifest, SourceFile, Tool

TEXTS = st.one_of(
    BYTES,
    bent(WHOLE).map(lambda value: yaml.safe_dump(value, allow_unicode=True).encode(errors="surrogatepass")),
    st.sampled_from(
        [
            b"&a [*a]",
            b"a: &a\n  b: *a\n",
            b"[1, 2]: 3",
            b"{[1]: 2}",
            b"? {a: b}\n: c",
            b"!!python/object:os.system x",
            b"!!binary x",
            b"!!timestamp 2026-13-45",
            b"2026-13-45: x",
            b"!!int ''",
            b"!!float x",
            b"<<: [1]",
            b"a: 1\na: 2",
            b"\xff\xfe",
            b"%YAML 9.9\n---\n",
            b"- " * 4000,
            b"a: b: c",
            b"\t",
            b"!!set {a, b}",
            b"!!omap [a: 1]",
            b"0x" + b"f" * 5000,
            b"{" * 5000,
            b"1" * 5000,
        ]
    ),
)


def test_whole_example_is_a_tool(tmp_path: Path) -> None:
    (tmp_path / "tool.yaml").write_text(yaml.safe_dump(WHOLE))
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "run.py").touch()
    assert load_tool(tmp_path).tool == Tool.model_validate(WHOLE)


@pytest.mark.slow
@examples(200)
@given(text=TEXTS)
def test_description_of_any_bytes_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    folder = tmp_path_factory.mktemp("tool", numbered=True)
    (folder / "tool.yaml").write_bytes(text)
    (folder / "requirements.txt").touch()
    (folder / "run.py").touch()
    try:
        load_tool(folder)
    except InvalidInputError as error:
        assert str(folder / "tool.yaml") in error.message


@pytest.mark.slow
@examples(100)
@given(tree=TREES)
def test_any_files_beside_it_are_packed_or_refused(tmp_path_factory: pytest.TempPathFactory, tree: Any) -> None:
    folder = tmp_path_factory.mktemp("tool", numbered=True)
    (folder / "tool.yaml").write_text(yaml.safe_dump(WHOLE))
    (folder / "requirements.txt").touch()
    (folder / "run.py").touch()
    plant(folder, tree)
    try:
        manifest = load_tool(folder)
        unpack(pack(folder, manifest), manifest, folder / ".unpacked")
    except FedprocError as error:
        assert str(folder) in error.message


@pytest.mark.parametrize("kind", ["gone", "fifo", "folder", "changed"])
def test_file_that_changes_before_it_is_packed_is_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "tool.yaml").write_text(yaml.safe_dump(WHOLE))
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "run.py").write_text("x")
    manifest = load_tool(tmp_path)
    (tmp_path / "run.py").unlink()
    if kind == "fifo":
        os.mkfifo(tmp_path / "run.py")
    elif kind == "folder":
        (tmp_path / "run.py").mkdir()
    elif kind == "changed":
        (tmp_path / "run.py").write_text("y")
    with pytest.raises(InvalidInputError, match=r"run\.py"):
        pack(tmp_path, manifest)


@pytest.mark.parametrize("kind", ["fifo", "folder", "link"])
def test_description_that_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "one" / "tool.yaml"
    place.parent.mkdir()
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to("tool.yaml")
    with pytest.raises(InvalidInputError, match=r"tool\.yaml"):
        load_tool(place.parent)


@pytest.mark.slow
@examples(60)
@given(st.lists(st.tuples(st.text(max_size=20), JSON), max_size=3), BYTES)
def test_bundle_of_any_bytes_is_unpacked_or_refused(
    tmp_path_factory: pytest.TempPathFactory, files: Any, archive: bytes
) -> None:
    manifest = Manifest(tool=Tool.model_validate(WHOLE), files=(SourceFile(path="run.py", sha256="0" * 64, size=1),))
    with pytest.raises(FedprocError):
        unpack(archive, manifest, tmp_path_factory.mktemp("tool", numbered=True) / "to")


def test_catalogue_with_an_unreadable_tool_names_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "tool.yaml").write_bytes(b"\xff")
    with pytest.raises(InvalidInputError, match=r"a/tool\.yaml"):
        load_catalogue(tmp_path)
