"""Models whose files hold a byte that is of no array are no plain models, whoever is not to look at them."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from tests.support.declaring import output
from tests.support.examples import examples

from fedproc.common.tasks import StopFlag
from fedproc.contract.tool.task import Task
from fedproc.site.policy.disclosure import findings
from fedproc.site.policy.engine import disclosure_rules as rules
from fedproc.site.policy.engine.apart import inspect_apart
from fedproc.site.policy.engine.findings import Result, verdict
from fedproc.site.policy.engine.known import CATEGORIES, COLUMNS, Known
from fedproc.site.policy.engine.model_files.accounting import arrays_of as accounted
from fedproc.site.policy.engine.models import of_model
from fedproc.site.policy.policy_file import Policy

pytestmark = pytest.mark.slow


SECRET = b"Maria Ortiz, 1951, stage III"
DIGEST = "sha256:" + "a" * 64
KNOWN = Known(
    {
        "dataset": lambda: ["age", "stage", "II"], "parameters": lambda: ["age + stage"],
        COLUMNS: lambda: ["age", "stage"], CATEGORIES: lambda: ["II"],
    }
)  # fmt: skip
ARRAYS = {"coef": np.arange(6.0).reshape(2, 3), "terms": np.array(["age", "stage[T.II]"]), "n": np.array(120)}


def npy(array: Any) -> bytes:
    into = io.BytesIO()
    np.save(into, array, allow_pickle=False)
    return into.getvalue()


def npz(save: Callable[..., None] = np.savez, **arrays: Any) -> bytes:
    into = io.BytesIO()
    save(into, **(arrays or ARRAYS))
    return into.getvalue()


def with_sizes_twice(raw: bytes) -> bytes:
    """An npz as Python up to 3.11.3 (Debian 12's) writes it: the sizes where later ones only refer to them, too."""
    written = bytearray(raw)
    for entry in zipfile.ZipFile(io.BytesIO(raw)).infolist():
        struct.pack_into("<2L", written, entry.header_offset + 18, entry.compress_size, entry.file_size)
    return bytes(written)


def zipped(content: bytes = npy(ARRAYS["coef"]), comment: bytes = b"", **of_entry: Any) -> bytes:
    """An npz made by hand, whose one entry has these attributes."""
    into, entry = io.BytesIO(), zipfile.ZipInfo("coef.npy")
    for name, value in of_entry.items():
        setattr(entry, name.removeprefix("entry_"), value)
    with zipfile.ZipFile(into, "w") as archive:
        archive.comment = comment
        archive.writestr(entry, content)
    return into.getvalue()


def safetensors(head: Any, data: bytes = bytes(range(24)), blanks: int = 0) -> bytes:
    raw = (head if isinstance(head, bytes) else json.dumps(head, separators=(",", ":")).encode()) + b" " * blanks
    return struct.pack("<Q", len(raw)) + raw + data


TENSOR = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
NOTHING = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
BARE = json.dumps({"w": TENSOR}, separators=(",", ":")).encode()
HEAD = {"__metadata__": {"format": "pt"}, "layer.0/weight": TENSOR}
PLAIN = {
    "npy": npy(ARRAYS["coef"]), "texts": npy(ARRAYS["terms"]), "one number": npy(ARRAYS["n"]),
    "empty": npy(np.zeros(0)),
    "npz": npz(), "compressed": npz(np.savez_compressed), "by hand": zipped(), "large": npz(a=np.zeros(400_000)),
    "large, compressed": npz(np.savez_compressed, a=np.arange(400_000)),
    "larger than what is read at once": npz(np.savez_compressed, a=np.random.default_rng(1).integers(0, 9, 300_001)),
    "by an older Python": with_sizes_twice(npz()),
    "fortran": npy(np.asfortranarray(np.ones((2, 3)))),
    "safetensors": safetensors(HEAD), "aligned": safetensors({"w": TENSOR}, blanks=-len(BARE) % 8),
    "two": safetensors({"b": {**TENSOR, "data_offsets": [24, 48]}, "a": TENSOR}, bytes(48)),
}  # fmt: skip


@pytest.mark.parametrize("raw", PLAIN.values(), ids=PLAIN)
def test_file_as_a_library_writes_it_is_plain(tmp_path: Path, raw: bytes) -> None:
    assert notes_of(raw, tmp_path) == []


def notes_of(raw: bytes, folder: Path) -> list[str] | None:
    """None: not a model at all. The engine says the same of the file."""
    found = accounted(io.BytesIO(raw), len(raw))
    path = folder / "m.bin"
    path.write_bytes(raw)
    of_format = [each for each in of_model(path, KNOWN) if each.rule is rules.MODEL_FORMAT]
    assert bool(of_format) is (found is None or bool(found.notes))
    return None if found is None else found.notes


def later(raw: bytes, at: int, more: bytes = SECRET) -> bytes:
    return raw[:at] + more + raw[at:]


def longer_description(raw: bytes, more: bytes) -> bytes:
    """An npy whose description has more at its end."""
    length = int.from_bytes(raw[8:10], "little")
    text = raw[10 : 10 + length].rstrip() + more
    text = text.ljust((len(text) + 74) // 64 * 64 - 11) + b"\n"
    return raw[:8] + struct.pack("<H", len(text)) + text + raw[10 + length :]


def second_name(raw: bytes) -> bytes:
    """An npz whose directory names its first entry otherwise."""
    at = raw.rindex(b"coef.npy")
    return raw[:at] + b"Ort1.npy" + raw[at + 8 :]


def deflated_beside(more: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflated(packer.compress(npy(ARRAYS["coef"])) + packer.flush() + more)


def hidden_in_blocks(content: bytes, secret: bytes) -> bytes:
    """Deflated: five bits of the secret in each empty stored block, whose unused bits nobody reads."""
    bits = int.from_bytes(secret, "big")
    blocks = [bytes([(bits >> at & 31) << 3]) + b"\0\0\xff\xff" for at in range(0, 8 * len(secret), 5)]
    return b"".join(blocks) + b"\x01" + struct.pack("<HH", len(content), 0xFFFF ^ len(content)) + content


def deflated(packed: bytes) -> bytes:
    """An npz by hand around these bytes, which are an array that is deflated."""
    content = npy(ARRAYS["coef"])
    into = io.BytesIO()
    head = struct.pack(
        "<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0x21, zlib.crc32(content), len(packed), len(content), 8, 0
    )
    into.write(head + b"coef.npy" + packed)
    start = into.tell()
    fields = 20, 3, 20, 0, 0, 8, 0, 0x21, zlib.crc32(content), len(packed), len(content), 8, 0, 0, 0, 0, 0o600 << 16, 0
    into.write(struct.pack("<4s4B4H3L5H2L", b"PK\x01\x02", *fields) + b"coef.npy")
    into.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, into.tell() - start, start, 0))
    return into.getvalue()


PLAIN_NPZ = PLAIN["npz"]
HOSTILE = {
    "npy: after": PLAIN["npy"] + SECRET,
    "npy: fewer": PLAIN["npy"][:-1],
    "npy: description": longer_description(PLAIN["npy"], SECRET),
    "npy: blanks": longer_description(PLAIN["npy"], b" " * 4000),
    "npy: shape of nothing": npy(np.zeros((0, 19_510_101))),
    "npy: fields": npy(np.zeros(3, dtype=[("Maria Ortiz", "<f4")])),
    "npy: dates": npy(np.zeros(3, dtype="datetime64[s]")),
    "npy: version": PLAIN["npy"][:6] + b"\x03" + PLAIN["npy"][7:],
    "npz: after": PLAIN_NPZ + SECRET,
    "npz: before": SECRET + PLAIN_NPZ,
    "npz: between": later(PLAIN_NPZ, PLAIN_NPZ.index(b"PK\x03\x04", 4)),
    "npz: before the directory": later(PLAIN_NPZ, PLAIN_NPZ.index(b"PK\x01\x02")),
    "npz: comment": zipped(comment=SECRET),
    "npz: mark of an entry": zipped(internal_attr=7),
    "npz: comment of an entry": zipped(entry_comment=SECRET),
    "npz: extra field": zipped(extra=struct.pack("<2H", 0x7075, len(SECRET)) + SECRET),
    "npz: time": zipped(date_time=(1987, 7, 13, 5, 2, 8)),
    "npz: mode": zipped(external_attr=0o40777 << 16),
    "npz: system": zipped(create_system=71),
    "npz: after the numbers": zipped(npy(ARRAYS["coef"]) + SECRET),
    "npz: other names": second_name(PLAIN_NPZ),
    "npz: name": npz(**{"Maria Ortiz, 1951": np.ones(3)}),
    "npz: long name": npz(**{"x" * 300: np.ones(3)}),
    "npz: objects": npz(a=np.array([{"patient": 1}], dtype=object)),
    "npz: another file": zipped(SECRET),
    "npz: empty": b"PK\x05\x06" + bytes(18),
    "deflate: after": deflated_beside(SECRET),
    "deflate: blocks without content": deflated(hidden_in_blocks(npy(ARRAYS["coef"]), SECRET)),
    "deflate: another level": deflated(zlib.compress(npy(ARRAYS["coef"]), 1, -15)),
    "deflate: a second stream": deflated_beside(deflated_beside(b"")[38:80]),
    "safetensors: after": PLAIN["safetensors"] + SECRET,
    "safetensors: fewer": PLAIN["safetensors"][:-1],
    "safetensors: metadata": safetensors({"__metadata__": {"format": "pt", "note": SECRET.decode()}, "w": TENSOR}),
    "safetensors: format": safetensors({"__metadata__": {"format": SECRET.decode()}, "w": TENSOR}),
    "safetensors: field": safetensors({"w": {**TENSOR, "note": SECRET.decode()}}),
    "safetensors: type": safetensors({"w": {**TENSOR, "dtype": "Maria"}}),
    "safetensors: name": safetensors({SECRET.decode(): TENSOR}),
    "safetensors: blanks": safetensors(HEAD, blanks=4096),
    "safetensors: tabs": safetensors(json.dumps({"w": TENSOR}).replace(" ", "\t ").encode()),
    "safetensors: escapes": safetensors(json.dumps({"w": TENSOR}).replace('"w"', '"\\u0077"').encode()),
    "safetensors: twice": safetensors(BARE[:-1] + b"," + BARE[1:]),
    "safetensors: gap": safetensors({"w": {**TENSOR, "data_offsets": [28, 52]}}, bytes(52)),
    "safetensors: overlap": safetensors({"v": TENSOR, "w": TENSOR}),
    "safetensors: shape of nothing": safetensors({"v": {**NOTHING, "shape": [0, 19510101]}, "w": TENSOR}),
    "safetensors: negative": safetensors({"v": {"dtype": "U8", "shape": [-1, -24], "data_offsets": [0, 24]}}),
    "safetensors: fractions": safetensors(b'{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24.0]}}'),
    "a page": b"<html>" + SECRET,
    "a picture": b"\x89PNG\r\n\x1a\n" + SECRET,
    "a text": SECRET,
}  # fmt: skip


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_bytes_of_no_array_never_leave_whatever_the_site_waives(tmp_path: Path, raw: bytes) -> None:
    assert notes_of(raw, tmp_path) != []
    assert released(raw, tmp_path) is Result.refuse


def released(raw: bytes, folder: Path, known: Known = KNOWN) -> Result:
    """What becomes of a model at a site that looks at none of this tool's."""
    declared = output({"type": "model"}, disclosure="model", path="m.bin")
    (folder / declared.name).mkdir(exist_ok=True)
    (folder / declared.name / "m.bin").write_bytes(raw)
    values = {"name": "t", "placement": "client", "runtime": {"requirements": "r"}, "command": ["x"]}
    more = {"inputs": [{"name": "data", "kind": "dataset"}], "outputs": [declared.model_dump(mode="json")]}
    line = {"id": "t", "digest": DIGEST, "without_review": ["model"]}
    policy = Policy.model_validate({"release": {"model": "automatic"}, "tools": [line]})
    task = Task.model_validate(values | more)
    return verdict(findings(policy.terms(policy.tools[0], task), task, folder, known))


@pytest.mark.parametrize("raw", PLAIN.values(), ids=PLAIN)
def test_plain_model_leaves_where_a_site_waives_a_persons_look(tmp_path: Path, raw: bytes) -> None:
    assert released(raw, tmp_path) is Result.passed


def test_any_bit_changed_outside_of_the_numbers_is_found(tmp_path: Path) -> None:
    """Of an npz every bit but those of the numbers, whose sum would have to fit."""
    for at in range(len(PLAIN_NPZ)):
        changed = bytearray(PLAIN_NPZ)
        changed[at] ^= 1 << (at % 8)
        found = accounted(io.BytesIO(changed), len(changed))
        assert found is None or found.notes, f"byte {at}"


@examples(400)
@given(
    name=st.sampled_from(sorted(PLAIN)),
    cuts=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=12), st.integers(0, 6)), min_size=1, max_size=3),
)
def test_whatever_is_plain_is_what_a_library_makes_of_its_arrays(name: str, cuts: list[tuple[int, bytes, int]]) -> None:
    """Whatever is put in, taken out or put in its place: nothing but numbers can have changed."""
    raw = PLAIN[name]
    for at, more, less in cuts:
        here = at % (len(raw) + 1)
        raw = raw[:here] + more + raw[here + less :]
    found = accounted(io.BytesIO(raw), len(raw))
    if found is not None and not found.notes:
        assert raw == made_again(raw)


def made_again(raw: bytes) -> bytes:
    if raw.startswith(b"\x93"):
        return npy(np.load(io.BytesIO(raw)))
    if raw.startswith(b"PK"):
        return raw if raw in PLAIN.values() else b""
    length = struct.unpack("<Q", raw[:8])[0]
    tensors = [each for name, each in json.loads(raw[8 : 8 + length]).items() if name != "__metadata__"]
    return (
        raw if len(raw) == 8 + length + sum(end - start for start, end in (t["data_offsets"] for t in tensors)) else b""
    )


@examples(200)
@given(
    array=arrays_of.arrays(
        dtype=st.one_of(
            arrays_of.floating_dtypes(), arrays_of.integer_dtypes(), arrays_of.boolean_dtypes(),
            arrays_of.complex_number_dtypes(), arrays_of.unicode_string_dtypes(max_len=8),
        ),
        shape=arrays_of.array_shapes(min_dims=0, max_dims=5, max_side=4),
    ),
    compressed=st.booleans(),
)  # fmt: skip
def test_any_array_that_numpy_saves_is_plain(tmp_path_factory: Any, array: Any, compressed: bool) -> None:
    folder = tmp_path_factory.mktemp("m")
    assert notes_of(npy(array), folder) == []
    assert notes_of(npz(np.savez_compressed if compressed else np.savez, a=array, b=np.ones(2)), folder) == []


@examples(300)
@given(
    raw=st.binary(max_size=300),
    start=st.sampled_from([b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", bytes([40]) + bytes(7)]),
)
def test_any_bytes_are_told_apart_without_a_fault(raw: bytes, start: bytes) -> None:
    found = accounted(io.BytesIO(start + raw), len(start + raw))
    assert found is None or isinstance(found.notes, list)


def test_bomb_is_unpacked_no_further_than_it_says(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    raw = bytearray(deflated_beside(b""))
    at = raw.index(b"coef.npy") + 8
    end = raw.index(b"PK\x01\x02")
    raw[at:end] = packed
    assert notes_of(bytes(raw), tmp_path) != []


# -- texts in arrays ------------------------------------------------------------------------------------

UNKNOWN = {
    "a name": npy(np.array(["age", SECRET.decode()])),
    "bytes": npy(np.array([SECRET])),
    "bytes that are no text": npy(np.array([b"\xff\xfe\xfd"])),
    "one of many": npz(a=np.array(["age"] * 5_000 + ["Maria"])),
    "packed": npz(np.savez_compressed, a=np.array(["Maria"])),
    "behind zeros": npy(np.array(["age\0Maria Ortiz"])),
    "fortran": npy(np.asfortranarray(np.array([["age", "Maria"], ["age", "age"]]))),
    "big endian": npy(np.array(["Maria"]).astype(">U5")),
    "no characters": npy(np.array([chr(0xE000)])),
    "a control character": npy(np.array(["age\x07"])),
    "more than anybody looks at": npy(np.array(["age"] * 100_000)),
}


@pytest.mark.parametrize("raw", UNKNOWN.values(), ids=UNKNOWN)
def test_texts_that_nobody_knew_before_never_leave_whatever_the_site_waives(tmp_path: Path, raw: bytes) -> None:
    assert released(raw, tmp_path) is Result.refuse


def test_names_of_data_at_other_hosts_wait_for_a_person(tmp_path: Path) -> None:
    raw, there = npy(np.array(["age", "stage[T.III]"])), Known(KNOWN.sources, elsewhere=True)
    (tmp_path / "m.npy").write_bytes(raw)
    assert [each.rule.id for each in of_model(tmp_path / "m.npy", there)] == ["read.elsewhere"]
    assert [each.rule.id for each in of_model(tmp_path / "m.npy", KNOWN)] == ["model.texts"]


def test_rules_in_a_process_apart_know_the_names_too(tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "m.bin").write_bytes(npy(np.array(["age", "stage"])))
    declared = output({"type": "model"}, disclosure="model", path="m.bin", name="o")
    found = inspect_apart([declared], tmp_path, 10, KNOWN, StopFlag())
    assert [each.rule.id for each in found] == ["look.person"]
