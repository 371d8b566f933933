"""``radiomics-statistics``: IBSI's phantom by its reference values, and federated sums against all lesions pooled."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydicom.dataset import Dataset, FileDataset
from tests.site.data.dicom_files import image, put, segmentation, uid
from tests.support.pooling_runs import assert_same_json
from tests.support.tool_programs import ToolProgram

from fedproc.catalog.folder import load_tool
from fedproc.demo.imaging import PERSONS
from fedproc.site.policy.engine.engine import inspect
from fedproc.site.policy.engine.known import Known
from fedproc.site.policy.engine.strict_json import scalars

pytestmark = [pytest.mark.process, pytest.mark.slow]

Write = Callable[[str, Any], Path]

PHANTOM = [
    [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
    [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
    [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
    [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
]
"""IBSI's digital phantom (reference manual, 5.1), voxels of 2 mm; 0 lies outside of the region"""
REFERENCE = {
    "mean": 2.15, "skewness": 1.08, "kurtosis": -0.355, "median": 1, "minimum": 1, "percentile_10": 1,
    "percentile_90": 4, "maximum": 6, "interquartile_range": 3, "range": 5, "mean_absolute_deviation": 1.55,
    "robust_mean_absolute_deviation": 1.11, "median_absolute_deviation": 1.15, "coefficient_of_variation": 0.812,
    "quartile_dispersion": 0.6, "energy": 567, "root_mean_square": 2.77, "volume": 556, "volume_of_voxels": 592,
    "surface_area": 388, "surface_to_volume": 0.698, "compactness_2": 0.599, "sphericity": 0.843, "diameter": 13.1,
    "major_axis": 11.4, "minor_axis": 9.31, "least_axis": 8.54, "elongation": 0.816, "flatness": 0.749,
}  # fmt: skip
"""its reference values, to three digits"""


# -- images with lesions --------------------------------------------------------------------------------


def item(**values: Any) -> Dataset:
    made = Dataset()
    for word, value in values.items():
        setattr(made, word, value)
    return made


def slices(person: str, values: np.ndarray[Any, Any], distance: float = 2.0, **more: Any) -> list[FileDataset]:
    """A series of CT of one person, stored 1000 above HU; ``values`` are slices x rows x columns."""
    made = []
    for number, pixels in enumerate(values):
        usual = {
            "PatientID": person, "PatientName": person, "StudyInstanceUID": uid(person), "Rows": pixels.shape[0],
            "SeriesInstanceUID": uid(f"{person} series"), "SOPInstanceUID": uid(f"{person} {number}"),
            "Columns": pixels.shape[1], "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelSpacing": [2, 2],
            "ImagePositionPatient": [0, 0, distance * number], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "RescaleSlope": 1, "RescaleIntercept": -1000, "PixelData": (pixels + 1000).astype("<u2").tobytes(),
            "SliceThickness": 2,
        }  # fmt: skip
        made.append(image(**{**usual, **more}))
    return made


def marked(
    person: str, masks: Sequence[np.ndarray[Any, Any]], images: Sequence[FileDataset], **more: Any
) -> FileDataset:
    """A DICOM-SEG with one segment for each mask (slices x rows x columns)."""
    frames, groups = [], []
    for segment, mask in enumerate(masks, 1):
        for number, flat in enumerate(mask):
            if flat.any():
                frames.append(flat)
                source = item(ReferencedSOPInstanceUID=images[number].SOPInstanceUID)
                place = item(ImagePositionPatient=images[number].ImagePositionPatient)
                groups.append(
                    item(
                        SegmentIdentificationSequence=[item(ReferencedSegmentNumber=segment)],
                        DerivationImageSequence=[item(SourceImageSequence=[source])],
                        PlanePositionSequence=[place],
                    )
                )
    bits = np.packbits(np.asarray(frames).reshape(-1), bitorder="little").tobytes()
    usual = {
        "PatientID": person, "PatientName": person, "StudyInstanceUID": uid(person),
        "SOPInstanceUID": uid(f"{person}s"), "SeriesInstanceUID": uid(f"{person} seg"),
        "Rows": masks[0].shape[1], "Columns": masks[0].shape[2],
        "NumberOfFrames": len(frames), "BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "SegmentationType": "BINARY",
        "SegmentSequence": [item(SegmentNumber=n, SegmentLabel=f"lesion {n}") for n in range(1, len(masks) + 1)],
        "PerFrameFunctionalGroupsSequence": groups, "PixelData": bits + bytes(len(bits) % 2),
    }  # fmt: skip
    return segmentation(uid(f"{person} series"), **{**usual, **more})


def ball(radius: float, size: int = 14) -> np.ndarray[Any, Any]:
    grid = np.indices((size, size, size)) - (size - 1) / 2
    return np.asarray((grid**2).sum(axis=0) <= radius**2)


def lay(folder: Path, person: str, number: int, **more: Any) -> None:
    """One person with a ball in noise, of a size and brightness of its own."""
    chance = np.random.default_rng(number)
    mask = ball(1.5 + 2.5 * chance.random(), size=10)
    values = np.round(chance.normal(40, 12, mask.shape) + mask * (40 + 60 * chance.random()))
    made = slices(person, values, **more)
    for number_, one in enumerate(made):
        put(folder / person / f"{number_}", one)
    put(folder / person / "seg", marked(person, [mask], made))


# -- running it -----------------------------------------------------------------------------------------


def local(radiomics: ToolProgram, datasets: Path, output: Path, parameters: Path, host: str = "UB") -> Any:
    output.mkdir(parents=True, exist_ok=True)
    given = ("--datasets", datasets, "--host", host, "--parameters", parameters, "--output", output)
    return radiomics.run("local", *given)


def answer(radiomics: ToolProgram, tmp_path: Path, write_json: Write, **parameters: Any) -> dict[str, Any]:
    ended = local(radiomics, tmp_path / "data", tmp_path / "out", write_json("parameters.json", parameters))
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads((tmp_path / "out" / "features.json").read_text()))


def combined(radiomics: ToolProgram, sites: Path, output: Path, parameters: Path) -> dict[str, Any]:
    output.mkdir(exist_ok=True)
    ended = radiomics.run("combine", "--sites", sites, "--parameters", parameters, "--output", output)
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads((output / "result.json").read_text()))


MEASURE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from images import read_folder
from lesions import measure
found = measure(read_folder(Path(sys.argv[2])), sys.argv[3], "")
print(json.dumps({"lesions": [[one.person, one.features] for one in found.found], "unused": found.unused}))
"""


def lesions(radiomics: ToolProgram, datasets: Path, modality: str = "") -> dict[str, Any]:
    """Every lesion's features, which the tool itself never writes."""
    command = [*radiomics.python, "-c", MEASURE, str(radiomics.folder / "source"), str(datasets), modality]
    ran = subprocess.run(command, env=radiomics.variables(), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return dict(json.loads(ran.stdout))


def parameters_of(radiomics: ToolProgram) -> dict[str, Any]:
    asked = yaml.safe_load((radiomics.folder / "tool.yaml").read_text())["parameters"]["properties"]
    return {name: schema["default"] for name, schema in asked.items()}


def against(
    radiomics: ToolProgram, task: str, told: Any, folder: Path, floor: int = 10, **asked: Any
) -> dict[str, str]:
    """What the rules of a host have against a document in the place of the task's output."""
    (found,) = [one for one in load_tool(radiomics.folder).tool.tasks if one.name == task]
    folder = folder / task
    folder.mkdir(parents=True, exist_ok=True)
    (folder / found.outputs[0].path).write_text(json.dumps(told))
    known = {
        "order": lambda: ["UB", "BSC", "FORTH", "EUCAIM"],
        "inputs": lambda: scalars(told),
        "parameters": lambda: scalars({**parameters_of(radiomics), **asked}),
    }
    return {each.rule.id: str(each.result) for each in inspect(found.outputs[0], folder, floor, Known(known))}


def feature(found: dict[str, Any], name: str) -> dict[str, Any]:
    (one,) = [entry for entry in found["features"] if entry["feature"] == name]
    return dict(one)


# -- features -------------------------------------------------------------------------------------------


def test_ibsi_phantom_has_its_reference_values(radiomics: ToolProgram, tmp_path: Path) -> None:
    phantom = np.array(PHANTOM)
    made = slices("PHANTOM", phantom)
    for number, one in enumerate(made):
        put(tmp_path / "d" / f"{number}", one)
    put(tmp_path / "d" / "seg", marked("PHANTOM", [phantom > 0], made))
    ((person, found),) = lesions(radiomics, tmp_path / "d")["lesions"]
    assert person == "PHANTOM"
    assert {name: float(f"{found[name]:.3g}") for name in REFERENCE} == REFERENCE
    assert float(f"{found['standard_deviation'] ** 2:.3g}") == 3.05


def test_ball_has_the_volume_and_the_size_of_a_ball(radiomics: ToolProgram, tmp_path: Path) -> None:
    mask = ball(6)
    made = slices("BALL", mask * 100)
    for number, one in enumerate(made):
        put(tmp_path / "d" / f"{number}", one)
    put(tmp_path / "d" / "seg", marked("BALL", [mask], made))
    ((_, found),) = lesions(radiomics, tmp_path / "d")["lesions"]
    assert found["volume_of_voxels"] == mask.sum() * 8
    assert found["volume"] == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.05)
    assert found["diameter"] == pytest.approx(24, rel=0.07)
    assert found["sphericity"] > 0.9
    assert found["elongation"] == pytest.approx(1)
    assert (found["mean"], found["standard_deviation"]) == (100, 0)
    assert not {"skewness", "kurtosis"} & found.keys()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda made, seg: made.pop(3),
        lambda made, seg: setattr(made[3], "ImagePositionPatient", [0, 0, 6.7]),
        lambda made, seg: setattr(made[3], "PixelData", b"\0\0"),
        lambda made, seg: setattr(made[3], "PixelSpacing", [2, 3]),
        lambda made, seg: setattr(seg, "Rows", 8),
        lambda made, seg: setattr(seg, "NumberOfFrames", 2**31 - 1),
        lambda made, seg: setattr(seg, "PixelData", bytes(2)),
    ],
)
def test_lesion_that_cannot_be_measured_is_counted_and_ends_nothing(
    radiomics: ToolProgram, tmp_path: Path, spoil: Callable[[Any, Any], Any]
) -> None:
    phantom = np.array(PHANTOM)
    made = slices("PHANTOM", phantom)
    seg = marked("PHANTOM", [phantom > 0], made)
    spoil(made, seg)
    for number, one in enumerate(made):
        put(tmp_path / "d" / f"{number}", one)
    put(tmp_path / "d" / "seg", seg)
    assert lesions(radiomics, tmp_path / "d") == {"lesions": [], "unused": 1}


def test_each_segment_is_a_lesion_and_those_asked_for_are_measured(
    radiomics: ToolProgram, tmp_path: Path, write_json: Write
) -> None:
    phantom = np.array(PHANTOM)
    made = slices("PHANTOM", phantom)
    for number, one in enumerate(made):
        put(tmp_path / "d" / f"{number}", one)
    put(tmp_path / "d" / "seg", marked("PHANTOM", [phantom == 4, phantom == 6], made))
    found = lesions(radiomics, tmp_path / "d")["lesions"]
    assert [one["mean"] for _, one in found] == [4, 6]


# -- what leaves ----------------------------------------------------------------------------------------


@pytest.fixture
def sites(tmp_path: Path) -> dict[str, Path]:
    """Persons with balls at three hosts, and all of them in one place."""
    number = 0
    for host, persons in {"UB": 14, "BSC": 22, "FORTH": 17}.items():
        for _ in range(persons):
            number += 1
            lay(tmp_path / host / "d", f"P{number}", number)
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / host).symlink_to(tmp_path / host / "d")
    return {host: tmp_path / host for host in ("UB", "BSC", "FORTH")}


def test_sums_of_sites_are_those_of_all_lesions_in_one_place(
    radiomics: ToolProgram, sites: dict[str, Path], tmp_path: Path, write_json: Write
) -> None:
    asked = {name: edges for name, edges in parameters_of(radiomics)["features"].items() if name != "skewness"}
    parameters = write_json("parameters.json", {"features": asked})
    for host, folder in sites.items():
        ended = local(radiomics, folder, tmp_path / "sites" / host, parameters, host)
        assert ended.returncode == 0, ended.stderr
        told = json.loads((tmp_path / "sites" / host / "features.json").read_text())
        assert set(against(radiomics, "local", told, tmp_path / "sealed", features=asked).values()) <= {"review"}
    result = combined(radiomics, tmp_path / "sites", tmp_path / "result", parameters)
    together = result["together"]
    by_host = {host: lesions(radiomics, folder)["lesions"] for host, folder in sites.items()}
    pooled = [one for found in by_host.values() for one in found]
    assert (together["persons"], together["lesions"]) == (len(pooled), 53)
    compared = 0
    for name, edges in asked.items():
        told = feature(together, name)
        if "moments" in told:
            compared += 1
            values = np.array([found[name] for host in told["moments_of"] for _, found in by_host[host]])
            assert told["moments"]["mean"] == pytest.approx(values.mean(), rel=1e-12)
            assert told["moments"]["standard_deviation"] == pytest.approx(values.std(ddof=1), rel=1e-9)
        if told["classes"]:
            compared += 1
            values = np.array([found[name] for host in told["classes_of"] for _, found in by_host[host]])
            ends = [-np.inf, *(edges[cell["last"]] for cell in told["classes"][:-1]), np.inf]
            assert [cell["lesions"] for cell in told["classes"]] == np.histogram(values, ends)[0].tolist()
            (quantile,) = told["quantiles"]
            low, high = ([-np.inf, *edges][quantile["first"]], [*edges, np.inf][quantile["last"]])
            assert low <= np.quantile(values, 0.5, method="inverted_cdf") < high
    assert compared >= 8
    assert feature(together, "diameter")["moments_of"] == sorted(sites)
    assert feature(together, "volume")["classes_of"]
    assert against(radiomics, "combine", result, tmp_path / "sealed", features=asked) == {}


def test_quantile_is_told_where_enough_lie_beyond_it(
    radiomics: ToolProgram, sites: dict[str, Path], tmp_path: Path, write_json: Write
) -> None:
    found = answer(radiomics, tmp_path, write_json, quantiles=[0.1, 0.5])
    pooled = [features["diameter"] for _, features in lesions(radiomics, tmp_path / "data")["lesions"]]
    (told,) = feature(found, "diameter")["quantiles"]
    assert told == {"quantile": 0.5, "persons": 53, "value": pytest.approx(np.quantile(pooled, 0.5))}
    few = write_json("few.json", {})
    assert local(radiomics, sites["UB"], tmp_path / "few", few).returncode == 0
    of_few = json.loads((tmp_path / "few" / "features.json").read_text())
    assert all(entry["quantiles"] == [] for entry in of_few["features"])


def test_feature_that_two_persons_dominate_is_withheld(
    radiomics: ToolProgram, tmp_path: Path, write_json: Write
) -> None:
    for number in range(14):
        lay(tmp_path / "data" / "d", f"P{number}", number)
    mask = np.ones((40, 40, 40), dtype=bool)
    made = slices("GIANT", mask * 100)
    for number, one in enumerate(made):
        put(tmp_path / "data" / "d" / "giant" / f"{number}", one)
    put(tmp_path / "data" / "d" / "giant" / "seg", marked("GIANT", [mask], made))
    found = answer(radiomics, tmp_path, write_json)
    assert feature(found, "volume")["withheld"] == "dominated"
    assert "moments" not in feature(found, "volume")
    assert feature(found, "sphericity")["moments"]["persons"] == 15
    assert feature(found, "skewness") == {
        "feature": "skewness", "withheld": "undefined for some", "classes": [], "quantiles": [],
    }  # fmt: skip
    assert against(radiomics, "local", found, tmp_path / "sealed") == {}


def test_site_of_few_persons_says_nothing(radiomics: ToolProgram, tmp_path: Path, write_json: Write) -> None:
    for number in range(9):
        lay(tmp_path / "data" / "d", f"P{number}", number)
    ended = local(radiomics, tmp_path / "data", tmp_path / "out", write_json("parameters.json", {}))
    assert ended.returncode == 2
    assert "fewer than 10 persons" in ended.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_several_modalities_are_not_mixed(
    radiomics: ToolProgram, data: Path, tmp_path: Path, write_json: Write
) -> None:
    ended = local(radiomics, data / "UB" / "synthetic-lesions", tmp_path / "out", write_json("p.json", {}))
    assert ended.returncode == 2
    assert "several modalities" in ended.stderr


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_demos_lesions_pass_at_each_host_and_together(
    radiomics: ToolProgram, data: Path, tmp_path: Path, write_json: Write, modality: str
) -> None:
    parameters = write_json("parameters.json", {"modality": modality})
    for host, count in PERSONS.items():
        folder = data / host / "synthetic-lesions"
        ended = local(radiomics, folder, tmp_path / "sites" / host, parameters, host)
        assert ended.returncode == 0, ended.stderr
        told = json.loads((tmp_path / "sites" / host / "features.json").read_text())
        assert (told["persons"], told["lesions"], told["unused_lesions"]) == (count // 2, count // 2, "none")
        assert against(radiomics, "local", told, tmp_path / "sealed") == {}
    result = combined(radiomics, tmp_path / "sites", tmp_path / "result", parameters)
    assert result["together"]["persons"] == sum(PERSONS.values()) // 2
    assert feature(result["together"], "diameter")["moments_of"] == sorted(PERSONS)
    assert against(radiomics, "combine", result, tmp_path / "sealed") == {}


def test_tool_yaml_has_the_defaults_of_the_program(radiomics: ToolProgram) -> None:
    code = "import json,sys; sys.path.insert(0, sys.argv[1]); import request; print(json.dumps(request.DEFAULTS))"
    command = [*radiomics.python, "-c", code, str(radiomics.folder / "source")]
    ran = subprocess.run(command, env=radiomics.variables(), capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == parameters_of(radiomics)["features"]


def example(radiomics: ToolProgram) -> dict[str, Any]:
    return dict(json.loads((radiomics.folder / "test/example_output/local/features.json").read_text()))


@pytest.mark.parametrize(
    "edit",
    [
        lambda a: a["features"][0].update(values=[1.5, 2.5, 3.5]),
        lambda a: a["features"][0].update(moments={"persons": 24, "lesions": 24, "mean": [1.5] * 24,
                                                   "sum_of_squares": 1.0}),
        lambda a: a["features"][0].update(moments={"persons": 1, "lesions": 1, "mean": 1.5, "sum_of_squares": 1.0}),
        lambda a: a["features"][0]["classes"].append({"first": 3, "last": 3, "persons": 1, "lesions": 1}),
        lambda a: a["features"][0]["classes"].append({"first": 3, "last": 12345.5, "persons": 12, "lesions": 12}),
        lambda a: a["features"][0]["quantiles"].append({"quantile": 0.999, "persons": 24, "value": 80.1}),
        lambda a: a.update(modality="Maria Ortiz, 1951"),
        lambda a: a.update(persons=a["persons"] + 3),
    ],
)  # fmt: skip
def test_what_a_hostile_variant_writes_in_the_place_of_sums_is_refused(
    radiomics: ToolProgram, tmp_path: Path, edit: Callable[[dict[str, Any]], Any]
) -> None:
    told = example(radiomics)
    assert against(radiomics, "local", told, tmp_path / "sealed") == {}
    edit(told)
    assert "refuse" in against(radiomics, "local", told, tmp_path / "sealed").values()


def test_site_with_a_higher_floor_refuses_the_tools_smaller_cells(radiomics: ToolProgram, tmp_path: Path) -> None:
    found = against(radiomics, "local", example(radiomics), tmp_path / "sealed", floor=30)
    assert found["persons.floor"] == "refuse"


def test_example_is_what_the_tool_gives(radiomics: ToolProgram, tmp_path: Path) -> None:
    given, expected = radiomics.folder / "test/example_input", radiomics.folder / "test/example_output"
    ended = local(radiomics, given / "local/input/images", tmp_path / "out", given / "local/parameters.json")
    assert ended.returncode == 0, ended.stderr
    assert_same_json(tmp_path / "out", expected / "local")
    combined(radiomics, given / "combine/input/sites", tmp_path / "all", given / "combine/parameters.json")
    assert_same_json(tmp_path / "all", expected / "combine")
