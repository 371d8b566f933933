"""``dicom-summary`` on the demo's images: the federated counts against those of all images in one place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.site.data.dicom_files import image, put, uid
from tests.support.tool_programs import ToolProgram

from fedproc.catalog.folder import load_tool
from fedproc.demo.imaging import PERSONS, pooled_images
from fedproc.site.policy.engine.engine import inspect
from fedproc.site.policy.engine.known import Known

pytestmark = pytest.mark.process

Write = Callable[[str, Any], Path]
ATTRIBUTES = ("modality", "body_part", "manufacturer", "sex", "age")


def local(images: ToolProgram, datasets: Path, output: Path, parameters: Path, host: str = "UB") -> Any:
    output.mkdir(parents=True, exist_ok=True)
    given = ("--datasets", datasets, "--host", host, "--parameters", parameters, "--output", output)
    return images.run("local", *given)


def summary(images: ToolProgram, tmp_path: Path, write_json: Write, **parameters: Any) -> dict[str, Any]:
    ended = local(images, tmp_path / "data", tmp_path / "out", write_json("parameters.json", parameters))
    assert ended.returncode == 0, ended.stderr
    return json.loads((tmp_path / "out" / "summary.json").read_text())


def persons(tmp_path: Path, **by_modality: int) -> None:
    """So many persons with an image of each modality, in one dataset."""
    for modality, count in by_modality.items():
        for number in range(count):
            name = f"{modality}{number}"
            ids = {
                "PatientID": name,
                "PatientName": name,
                "SeriesInstanceUID": uid(name),
                "SOPInstanceUID": uid("i" + name),
            }
            put(tmp_path / "data" / "d" / name, image(Modality=modality, **ids))


def shown(found: dict[str, Any], name: str) -> dict[str, int]:
    return {count["value"]: count["persons"] for count in found[name]}


def test_federated_counts_are_those_of_all_images_in_one_place(
    images: ToolProgram, data: Path, tmp_path: Path, write_json: Write
) -> None:
    parameters = write_json("parameters.json", {})
    for host, count in PERSONS.items():
        ended = local(images, data / host / "synthetic-lesions", tmp_path / "sites" / host, parameters, host)
        assert ended.returncode == 0, ended.stderr
        answer = json.loads((tmp_path / "sites" / host / "summary.json").read_text())
        assert (answer["host"], answer["persons"], answer["series"]) == (host, count, count)
    (tmp_path / "out").mkdir()
    ended = images.run(
        "combine", "--sites", tmp_path / "sites", "--parameters", parameters, "--output", tmp_path / "out"
    )
    assert ended.returncode == 0, ended.stderr
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert {name: shown(result["together"], name) for name in (*ATTRIBUTES, "segmentations")} == pooled_images()
    assert result["together"]["persons"] == sum(PERSONS.values())
    assert set(result["sites"]) == set(PERSONS)


def test_values_of_few_persons_are_taken_together_so_that_none_follows_from_the_whole(
    images: ToolProgram, tmp_path: Path, write_json: Write
) -> None:
    persons(tmp_path, CT=30, MR=12, US=3)
    found = summary(images, tmp_path, write_json)
    assert shown(found, "modality") == {"CT": 30, "(others)": 15}
    assert shown(found, "sex") == {"F": 45}


def test_segmentations_are_no_images_and_few_are_not_told(
    images: ToolProgram, tmp_path: Path, write_json: Write
) -> None:
    persons(tmp_path, CT=30, SEG=12, RTSTRUCT=9)
    found = summary(images, tmp_path, write_json)
    assert (found["persons"], found["series"], shown(found, "modality")) == (30, 30, {"CT": 30})
    assert found["segmentations"] == [{"value": "SEG", "persons": 12, "series": 12}]


def test_odd_values_are_written_as_the_tool_declares_them(
    images: ToolProgram, tmp_path: Path, write_json: Write
) -> None:
    for number in range(60):
        name = f"P{number:02}"
        ids = {
            "PatientID": name,
            "PatientName": name,
            "SeriesInstanceUID": uid(name),
            "SOPInstanceUID": uid("i" + name),
        }
        odd = f"Ünï {'x' * 40} {number:02}" if number % 2 else f"M{number:02}"
        values = {"Manufacturer": odd, "BodyPartExamined": f"B{number:02}", "PatientSex": "FMOX"[number % 4]}
        put(tmp_path / "data" / "d" / name, image(Modality="CT/X", **ids, **values))
    found = summary(images, tmp_path, write_json)
    assert shown(found, "modality") == {"CT/X": 60}
    assert shown(found, "sex") == {"F": 15, "M": 15, "O": 15, "?": 15}
    assert shown(found, "body_part") == {"(others)": 60}
    assert shown(found, "manufacturer") == {"(others)": 30, "n xxxxxxxxxxxxxxx...": 30}
    tool = load_tool(images.folder).tool
    (task,) = [task for task in tool.tasks if task.name == "local"]
    (output,) = task.outputs
    (tmp_path / "sealed").mkdir()
    (tmp_path / "sealed" / "summary.json").write_bytes((tmp_path / "out" / "summary.json").read_bytes())
    assert inspect(output, tmp_path / "sealed", 10, Known({"order": lambda: ["UB"]})) == []


def test_more_values_than_are_named_are_taken_together(images: ToolProgram, tmp_path: Path, write_json: Write) -> None:
    persons(tmp_path, **{f"M{number:02}": 5 + number % 3 for number in range(20)})
    found = summary(images, tmp_path, write_json, min_cell=5)
    assert len(found["modality"]) == 16
    assert sum(shown(found, "modality").values()) == found["persons"]


def test_site_of_few_persons_says_nothing(images: ToolProgram, tmp_path: Path, write_json: Write) -> None:
    persons(tmp_path, CT=9)
    ended = local(images, tmp_path / "data", tmp_path / "out", write_json("parameters.json", {}))
    assert ended.returncode == 2
    assert "fewer than 10 persons" in ended.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_person_with_several_series_is_one_person(images: ToolProgram, tmp_path: Path, write_json: Write) -> None:
    persons(tmp_path, CT=10)
    more = {"SeriesInstanceUID": uid("more"), "SOPInstanceUID": uid("more")}
    put(tmp_path / "data" / "d" / "more", image(PatientID="CT0", PatientName="CT0", **more))
    found = summary(images, tmp_path, write_json)
    assert found["modality"] == [{"value": "CT", "persons": 10, "series": 11}]


@pytest.mark.parametrize(
    "content", [b"", b"x" * 200, b"\x08\x00" * 300, bytes(128) + b"DICM", bytes(128) + b"DICM\xff\xff"]
)
def test_what_is_no_image_is_passed_over(
    images: ToolProgram, tmp_path: Path, write_json: Write, content: bytes
) -> None:
    persons(tmp_path, CT=10)
    (tmp_path / "data" / "d" / "odd.dcm").write_bytes(content)
    (tmp_path / "data" / "d" / "link").symlink_to("nowhere")
    assert summary(images, tmp_path, write_json)["persons"] == 10


def test_classes_of_age_are_those_that_are_asked_for(images: ToolProgram, tmp_path: Path, write_json: Write) -> None:
    persons(tmp_path, CT=10)
    assert shown(summary(images, tmp_path, write_json, age_edges=[30, 45]), "age") == {"45 or more": 10}
    assert shown(summary(images, tmp_path, write_json, age_edges=[46, 90]), "age") == {"below 46": 10}


def test_example_is_what_the_tool_gives(images: ToolProgram, tmp_path: Path) -> None:
    example = images.folder / "test"
    given = example / "example_input" / "combine"
    (tmp_path / "out").mkdir()
    ended = images.run(
        "combine", "--sites", given / "input" / "sites", "--parameters", given / "parameters.json",
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    expected = (example / "example_output" / "combine" / "result.json").read_text()
    assert (tmp_path / "out" / "result.json").read_text() == expected
