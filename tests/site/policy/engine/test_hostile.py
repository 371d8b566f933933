"""What a hostile tool writes under a sound declaration, or an unsound one: none of it leaves by itself."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import pickle
import random
import struct
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.declaring import COUNT, NUMBER, PATIENTS, against, closed, csv_output, entries, json_output, output

from fedproc.common.errors import ToolFaultError
from fedproc.contract.tool.declared import problems_of
from fedproc.contract.tool.task import OutputDecl, Task
from fedproc.site.jobs.workspace import Workspace
from fedproc.site.policy.disclosure import findings
from fedproc.site.policy.engine.findings import Result, verdict
from fedproc.site.policy.engine.kinds import kind_of
from fedproc.site.policy.engine.known import Known
from fedproc.site.policy.policy_file import Policy

DIGEST = "sha256:" + "a" * 64
CELLS = {"statistic": "frequencies", "at": "cells[]", "persons": "n", "dimensions": ["stage"]}
SOUND = json_output(closed(cells=entries(stage={"enum": ["I", "II", None]}, n=COUNT)), CELLS)
HONEST = {"cells": [{"stage": "I", "n": 30}, {"stage": "II", "n": 40}]}


def leaves(declared: OutputDecl, folder: Path, files: dict[str, bytes], **policy: Any) -> Result:
    """What becomes of these files at a site that lets all of this tool's digest leave by itself."""
    for name, raw in files.items():
        path = folder / declared.name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    values = {"name": "t", "placement": "client", "runtime": {"requirements": "r"}, "command": ["x"]}
    inputs = [{"name": "data", "kind": "dataset"}]
    task = Task.model_validate(values | {"inputs": inputs, "outputs": [declared.model_dump(mode="json")]})
    release = dict.fromkeys(("public", "report", "aggregate", "model", "individual"), "automatic")
    rules = Policy.model_validate({"release": release, "tools": [{"id": "t", "digest": DIGEST}]} | policy)
    return verdict(findings(rules.terms(rules.tools[0], task), task, folder, Known()))


def as_bytes(document: Any) -> bytes:
    return json.dumps(document).encode()


def test_honest_output_leaves_by_itself(tmp_path):
    assert leaves(SOUND, tmp_path, {"t.json": as_bytes(HONEST)}) is Result.passed


def dicom() -> bytes:
    return b"\0" * 128 + b"DICM" + b"\x02\0\0\0UL\x04\0\x10\0\0\0"


def nifti() -> bytes:
    return struct.pack("<i", 348) + b"\0" * 340 + b"n+1\0"


def packed(kind: str) -> bytes:
    into = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(into, "w") as archive:
            archive.writestr("patients.json", as_bytes(PATIENTS))
    else:
        with tarfile.open(fileobj=into, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("patients.json"))
    return into.getvalue()


KINDS = {
    "dicom": dicom(),
    "dicom without a preamble": b"\x08\0\x05\0CS\x0a\0ISO_IR 100",
    "nifti": nifti(),
    "nifti, packed": gzip.compress(nifti()),
    "zip": packed("zip"),
    "tar": packed("tar"),
    "pickle": pickle.dumps(PATIENTS),
    "pickle, first protocol": pickle.dumps(PATIENTS, protocol=0),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "html": b"<!DOCTYPE html><script>1</script>",
    "png": b"\x89PNG\r\n\x1a\n" + b"\0" * 30,
    "hdf5": b"\x89HDF\r\n\x1a\n",
    "numpy": b"\x93NUMPY\x01\0",
    "database": b"SQLite format 3\0",
    "utf-16": "x".encode("utf-16"),
    "program": b"#!/bin/sh\n",
    "nothing": b"",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "declared", [SOUND, output(None), output({"type": "text"})], ids=["json", "undeclared", "text"]
)
@pytest.mark.parametrize("disclosure", ["aggregate", "report", "public"])
def test_files_of_other_kinds_than_declared_do_not_leave(tmp_path, kind, declared, disclosure):
    declared = OutputDecl.model_validate(declared.model_dump() | {"disclosure": disclosure})
    assert leaves(declared, tmp_path, {"t.json": KINDS[kind]}) is not Result.passed


@pytest.mark.parametrize("kind", ["dicom", "dicom without a preamble", "nifti"])
def test_images_of_patients_are_refused_whatever_is_waived(tmp_path, kind):
    waived = {"tools": [{"id": "t", "digest": DIGEST, "without_review": ["aggregate", "report", "public", "model"]}]}
    for declared in (SOUND, output(None), output({"type": "text"}), output({"type": "image"})):
        assert leaves(declared, tmp_path, {"t.json": KINDS[kind]}, **waived) is Result.refuse


ROWS = {
    "rows beside": {**HONEST, "rows": PATIENTS},
    "rows as cells": {"cells": PATIENTS},
    "rows in a cell": {"cells": [{"stage": "I", "n": 30, "ages": [41, 42]}]},
    "a list instead": PATIENTS,
    "text in a category": {"cells": [{"stage": json.dumps(PATIENTS[0]), "n": 30}]},
    "text in a count": {"cells": [{"stage": "I", "n": "30 41 42"}]},
    "rows as counts": {"cells": [{"stage": f"{n}", "n": each["age"]} for n, each in enumerate(PATIENTS)]},
    "the same cell again": {"cells": [{"stage": "I", "n": patient["age"]} for patient in PATIENTS]},
    "deep": json.loads("[" * 200 + "]" * 200),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_rows_in_an_aggregate_are_refused(tmp_path, name):
    assert leaves(SOUND, tmp_path, {"t.json": as_bytes(ROWS[name])}) is Result.refuse


def test_nesting_without_end_is_refused(tmp_path):
    for raw in (b"[" * 1_000_000, b'{"cells":' * 200_000, b'{"a":' * 200_000 + b"1" + b"}" * 200_000):
        assert leaves(SOUND, tmp_path, {"t.json": raw}) is Result.refuse


@pytest.mark.parametrize(
    "text",
    [
        'stage,patient_id,n\nI,ANON-0001,30\n', "PatientID;age\nA1;50\n", '{"StudyInstanceUID": "x"}',
        '{"series": "1.2.840.113619.2.55.3.604688119.971.1"}', '[{"mrn": 7}]', "Accession Number\t1\n",
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("declared", [output(None), output({"type": "text"})], ids=["undeclared", "text"])
def test_names_of_patients_are_refused_whatever_is_waived(tmp_path, text, declared):
    waived = {"tools": [{"id": "t", "digest": DIGEST, "without_review": ["aggregate"]}]}
    assert leaves(declared, tmp_path, {"t.json": text.encode()}, **waived) is Result.refuse


FREE = {"type": "object", "properties": {"notes": {"type": "string"}}}
NUMBERS = {"type": "array", "items": {"type": "number"}, "maxItems": 5000}
LYING = {
    "anything": {"type": "json", "json_schema": {}},
    "free text": {"type": "json", "json_schema": FREE},
    "numbers of nothing": {"type": "json", "json_schema": NUMBERS},
    "a text of a pattern": {"type": "text"},
}  # fmt: skip


@pytest.mark.parametrize("name", LYING)
@pytest.mark.parametrize("disclosure", ["aggregate", "report", "public", "model"])
def test_declaration_with_room_for_rows_has_a_person_look(tmp_path, name, disclosure):
    declared = output(LYING[name], disclosure=disclosure)
    written = {"notes": json.dumps(PATIENTS)} if name != "numbers of nothing" else [1.5, 2.5]
    assert leaves(declared, tmp_path, {"t.json": as_bytes(written)}) is not Result.passed


def test_schema_that_claims_what_it_does_not_keep_has_a_person_look(tmp_path):
    """The statistic's path names a key with a dot, which the statistic at run time would not look at."""
    lying = output(
        {"type": "json", "json_schema": closed(**{"a.n": {"type": "integer"}})},
        {"statistic": "frequencies", "at": "a", "persons": "n"},
    )
    assert problems_of(lying)
    assert leaves(lying, tmp_path, {"t.json": b'{"a.n": 3}'}) is not Result.passed


def test_statistics_with_made_up_persons_have_a_person_look(tmp_path):
    """Values of single patients as means of a hundred: without their spread none is believed."""
    lying = json_output(
        closed(groups=entries(n=COUNT, mean=NUMBER)),
        {"statistic": "linear_aggregation", "at": "groups[]", "persons": "n", "mean": "mean"},
    )
    groups = [{"n": 100, "mean": patient["time"]} for patient in PATIENTS]
    assert leaves(lying, tmp_path, {"t.json": as_bytes({"groups": groups})}) is Result.review


FOLDER = output({"type": "json", "json_schema": closed(n=COUNT), "files": ["fold-#.json"]},
                {"statistic": "frequencies", "persons": "n"}, path="folds", folder=True)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "leaves_it"),
    [
        ("folds/fold-1.json", True),
        ("folds/fold-0815.json", True),
        ("folds/fold-08150.json", False),
        ("folds/fold-Dr-X-born-1951.json", False),
        ("folds/fold-1.json.json", False),
        ("folds/a/fold-1.json", False),
        ("folds/fold-١.json", False),
        ("folds/.fold-1.json", False),
        ("fold-1.json", False),
    ],
)
def test_names_of_files_are_as_declared(tmp_path, name, leaves_it):
    found = leaves(FOLDER, tmp_path, {name: b'{"n": 30}'})
    assert found is (Result.passed if leaves_it else Result.refuse)


@pytest.mark.slow
def test_many_files_and_large_ones_have_a_person_look(tmp_path):
    many = {f"folds/fold-{n}.json": b'{"n": 30}' for n in range(51)}
    assert leaves(FOLDER, tmp_path / "a", many) is Result.review
    assert leaves(SOUND, tmp_path / "b", {"t.json": as_bytes(HONEST) + b" " * (16 << 20)}) is Result.review


MODEL = output({"type": "model"}, disclosure="model", path="m.bin")


def npz(**arrays: Any) -> bytes:
    into = io.BytesIO()
    np.savez(into, **arrays)
    return into.getvalue()


def safetensors(head: Any) -> bytes:
    raw = as_bytes(head)
    return struct.pack("<Q", len(raw)) + raw + b"\0" * 8


TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("raw", "result"),
    [
        (npz(coef=np.ones(3)), Result.review),
        (npz(coef=np.ones(3), names=np.array(["a", "b"])), Result.refuse),
        (npz(rows=np.array([{"patient": 1}], dtype=object)), Result.refuse),
        (safetensors({"w": TENSOR}), Result.review),
        (safetensors({"w": TENSOR, "__metadata__": {"patients": json.dumps(PATIENTS)}}), Result.refuse),
        (pickle.dumps(PATIENTS), Result.refuse),
        (packed("zip"), Result.refuse),
        (b"", Result.refuse),
        (as_bytes(PATIENTS), Result.refuse),
        (b"\xff" * 64, Result.refuse),
    ],
)
def test_model_is_numbers_alone_and_a_person_looks(tmp_path, raw, result):
    assert leaves(MODEL, tmp_path, {"m.bin": raw}) is result


def test_hard_and_symbolic_links_are_not_followed_into_what_is_sealed(tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_bytes(as_bytes(PATIENTS))
    for number, link in enumerate((os.symlink, os.link)):
        work = Workspace(tmp_path / f"jobs{number}", "j-1")
        work.make({}, {})
        link(secret, work.work / "output" / "t.json")
        try:
            sealed = work.seal([SOUND], work.sealed)
        except ToolFaultError:
            continue
        assert sealed
        assert against(SOUND, tmp_path, (work.sealed / "table" / "t.json").read_bytes()) == [("read.schema", "refuse")]
        assert (work.sealed / "table" / "t.json").stat().st_nlink == 1


def test_encoded_rows_have_no_place(tmp_path):
    hidden = base64.b64encode(as_bytes(PATIENTS)).decode()
    for document in (
        {"cells": [{"stage": hidden, "n": 30}]},
        {"cells": [{"stage": "I", "n": int.from_bytes(hidden.encode(), "big")}]},
    ):
        assert leaves(SOUND, tmp_path, {"t.json": as_bytes(document)}) is Result.refuse


TABLE = csv_output([{"name": "stage", "type": "category", "values": ["I", "II"]}, {"name": "n", "type": "integer"}],
                   {"statistic": "frequencies", "persons": "n", "dimensions": ["stage"]})  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["stage,n\nI,30\nII,40\n# Dr X\n", "stage,n\nI,30,Dr X\n", "stage,n\r\nI,3\x00\n", "\ufeffstage,n\nI,30\n",
     "stage,n\nI,=1+1\n", 'stage,n\n"I\n",30\n', "stage,n\nI,1e99\n"],
    ids=repr,
)  # fmt: skip
def test_table_with_more_than_its_columns_is_refused(tmp_path, text):
    assert leaves(TABLE, tmp_path, {"t.csv": text.encode()}) is Result.refuse


def test_bytes_of_any_kind_are_told_without_a_fault(tmp_path):
    chance = random.Random(7)
    for _ in range(300):
        kind_of(chance.randbytes(chance.randrange(400)))


def test_job_without_outputs_costs_less_than_five_milliseconds(tmp_path):
    values = {"name": "t", "placement": "client", "runtime": {"requirements": "r"}, "command": ["x"]}
    task = Task.model_validate(values)
    rules = Policy.model_validate({"tools": [{"id": "t", "digest": DIGEST}]})
    terms = rules.terms(rules.tools[0], task)
    begun = time.process_time()
    for _ in range(100):
        assert findings(terms, task, tmp_path) == []
    assert (time.process_time() - begun) / 100 < 0.005


@pytest.mark.slow
def test_fifty_files_are_decided_within_seconds(tmp_path):
    rows = "\n".join(f"I,{30 + n}" for n in range(1))
    files = {f"folds/fold-{n}.json": b'{"n": 30}' for n in range(50)}
    begun = time.process_time()
    assert leaves(FOLDER, tmp_path / "a", files) is Result.passed
    assert leaves(TABLE, tmp_path / "b", {"t.csv": f"stage,n\n{rows}\n".encode()}) is not None
    assert time.process_time() - begun < 5
