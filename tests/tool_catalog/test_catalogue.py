"""Every tool's folder: its description validates, its command line is the program's, its examples hold."""

from __future__ import annotations

import json
import re
import runpy
from functools import cache
from pathlib import Path

import pytest

from fedproc.catalog.folder import load_catalogue
from fedproc.catalog.signing import tool_digest
from fedproc.contract.tool.tool import Manifest

pytestmark = pytest.mark.slow  # the whole catalogue is read

CATALOGUE = Path(__file__).parents[2] / "tool_catalog"
TOOLS = {
    "cohort-statistics", "cox-regression", "dicom-quality", "dicom-summary", "fedbiomed-clinical", "fedbiomed-image",
    "federation-selftest", "flower-clinical", "flower-image", "flower-logistic", "host-acceptance", "kaplan-meier",
    "linear-regression", "logistic-regression", "model-inference", "nvflare-image", "radiomics-statistics",
    "substra-clinical", "substra-image",
}  # fmt: skip
OPTIONAL = CATALOGUE / "optional"
"""tools that are offered where somebody asks for them: what they run in is large"""


@cache
def manifests() -> dict[str, Manifest]:
    found = load_catalogue(CATALOGUE) | load_catalogue(OPTIONAL)
    return {name: versions[-1] for name, versions in found.items()}


def _folder(tool: str) -> Path:
    name = tool.replace("-", "_")
    return next(folder for folder in (CATALOGUE / name, OPTIONAL / name) if folder.is_dir())


def test_the_catalogue_has_the_demos_tools() -> None:
    assert manifests().keys() >= TOOLS


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_what_runs_is_part_of_the_manifest_and_no_test_data_is(tool: str) -> None:
    manifest = manifests()[tool]
    files = {file.path for file in manifest.files}
    for task in manifest.tool.tasks:
        script = next(part for part in task.command if part.startswith("{source}/"))
        assert script.removeprefix("{source}/") in files
    assert not [path for path in files if path.startswith("test/")]


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_locked_requirements_are_hashed_and_name_no_index(tool: str) -> None:
    locks = manifests()[tool].requirements or {path.name for path in _folder(tool).glob("*.lock")}
    for lock in ((_folder(tool) / name).read_text() for name in locks):
        without_comments = re.sub(r"^ *#.*\n", "", lock, flags=re.MULTILINE)
        for requirement in re.split(r"^(?=[a-z])", without_comments, flags=re.MULTILINE)[1:]:
            assert re.match(r"[\w.-]+==[\w.]+ \\\n    --hash=sha256:[0-9a-f]{64}", requirement), requirement
        assert "://" not in lock
        assert "--index" not in lock


def test_a_hospitals_task_of_cohort_statistics_carries_nothing_that_draws() -> None:
    manifest = manifests()["cohort-statistics"]
    local, combine = manifest.tool.task("local").runtime, manifest.tool.task("combine").runtime
    names = {"local": _packages(local.requirements), "combine": _packages(combine.requirements)}
    assert names["local"] == {"numpy", "pandas", "python-dateutil", "tzdata"}
    assert names["local"] < names["combine"]
    assert "matplotlib" in names["combine"]


def _packages(lock: str | None) -> set[str]:
    text = (_folder("cohort-statistics") / str(lock)).read_text()
    return set(re.findall(r"^([\w-]+)==", text, flags=re.MULTILINE))


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_there_is_an_example_of_every_tasks_parameters(tool: str) -> None:
    from jsonschema import Draft202012Validator

    manifest = manifests()[tool].tool
    for task in manifest.tasks:
        parameters = _folder(tool) / "test" / "example_input" / task.name / "parameters.json"
        if parameters.exists():
            Draft202012Validator(manifest.parameters).validate(json.loads(parameters.read_text()))
    assert any((_folder(tool) / "test" / "example_output").iterdir())


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_its_container_runs_as_an_ordinary_user(tool: str) -> None:
    for task in manifests()[tool].tool.tasks:
        lines = (_folder(tool) / str(task.runtime.dockerfile)).read_text().splitlines()
        assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]
        assert "FROM ${BASE_IMAGE}" in lines
        lock = task.runtime.requirements or "requirements.lock"
        assert f"COPY {lock} /tmp/{lock}" in lines or tool == "host-acceptance"  # which needs no package


COPIES = runpy.run_path(str(CATALOGUE.parent / "scripts/copy-library"))


PAIRS = [(tool, package) for tool, packages in COPIES["SHARED"].items() for package in packages]


@pytest.mark.parametrize(("tool", "package"), PAIRS)
def test_its_copy_of_a_shared_package_is_the_original(tool: str, package: str) -> None:
    """scripts/copy-library makes it so."""
    copy = CATALOGUE / tool / "source" / package
    read = {path.name: path.read_bytes() for path in COPIES["original"](package).glob("*.py")}
    assert {path.name: path.read_bytes() for path in copy.glob("*.py")} == read


def test_each_copy_of_a_shared_package_is_among_those_that_are_renewed() -> None:
    shared = {"tables", *(path.name for path in (CATALOGUE / "library").iterdir())}
    copies = [path for source in ("*/source/*", "optional/*/source/*") for path in CATALOGUE.glob(source)]
    found = {(str(path.parents[1].relative_to(CATALOGUE)), path.name) for path in copies if path.name in shared}
    assert found == set(PAIRS)


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_a_tool_that_changed_has_a_version_of_its_own(tool: str) -> None:
    """A centre that has published a version takes no other content of it."""
    manifest = manifests()[tool]
    known = json.loads((CATALOGUE / "versions.json").read_bytes())[tool]
    version, digest = manifest.tool.version, tool_digest(manifest)
    assert known.get(version) == digest, (
        f"if {version} of {tool} stands in tool_catalog/versions.json, raise it in tool.yaml; else write there "
        f'"{version}": "{digest}"'
    )
