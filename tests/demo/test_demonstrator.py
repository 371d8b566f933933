"""``make demonstrator``: its data, its table, and when it says that something is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedproc.common.errors import FedprocError, InvalidInputError, UnavailableError
from fedproc.demo import __main__ as program
from fedproc.demo import demonstrator_images as images
from fedproc.demo.clinical import FOLDER, ROWS, check_given, write_given, write_synthetic
from fedproc.demo.demonstrator import TERMS, TRIALS, Trained, _check, _offered, curve, table
from fedproc.site.data.describing.checking import check_dataset

EXACT, SUBSTRA, *_ = TRIALS


def _trained(number: int, values: tuple[float, ...]) -> Trained:
    sent = dict.fromkeys(ROWS, 2040)
    return Trained(TRIALS[number], dict(zip(TERMS, values, strict=True)), 3, 61.4, sent)


PUBLISHED = [_trained(0, (74.497754, 37.751199, 0.157514, 0.282699, -0.012467)),
             _trained(1, (75.01861, 41.89233, -1.27907, 0.23276, 0.02830))]  # fmt: skip


def test_the_table_has_a_line_for_each_way_its_published_values_and_its_distance() -> None:
    shown = table(PUBLISHED, given=True).splitlines()
    assert shown[1].split() == ["exact", "sums", "3", "74.49775", "37.75120", "0.15751", "0.28270", "-0.01247", "61",
                                "2.0", "2.0", "2.0"]  # fmt: skip
    assert shown[2].split() == ["published", "74.49775", "37.75120", "0.15751", "0.28270", "-0.01247"]
    assert shown[-1].split() == ["beside", "exact", "sums", "+0.5209", "+4.1411", "-1.4366", "-0.0499", "+0.0408"]


def test_published_values_are_shown_of_eucaims_tables_alone() -> None:
    assert "published" not in table(PUBLISHED, given=False)


def test_another_value_than_the_published_one_is_a_failure() -> None:
    _check(PUBLISHED, given=True)
    wrong = replace(PUBLISHED[1], coefficients={**PUBLISHED[1].coefficients, "PM25": 41.8922})
    with pytest.raises(FedprocError, match=r"Substra's SDK: .* is not what is published"):
        _check([PUBLISHED[0], wrong], given=True)
    _check([PUBLISHED[0], wrong], given=False)


class _Offering:
    """A federation's API that says which tools it has."""

    def __init__(self, *tools: str) -> None:
        self._tools = tools

    def tools(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(id=name) for name in self._tools]


def test_fed_biomed_has_a_row_in_a_federation_that_offers_it() -> None:
    offered = _offered(_Offering("flower-clinical", "fedbiomed-clinical"))  # type: ignore[arg-type]
    assert [trial.platform for trial in offered] == ["Fed-BioMed"]
    assert _offered(_Offering("flower-clinical")) == []  # type: ignore[arg-type]


@pytest.mark.slow
def test_fed_biomeds_tools_are_offered_with_an_engine_and_where_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert program._OPTIONAL not in program._federation()._catalogues
    monkeypatch.setenv("FEDBIOMED", "1")
    made = program._federation()
    assert program._OPTIONAL in made._catalogues
    assert made._executors == ["sandbox", "docker"]
    assert {tool.tool.id for _, tool in made._tools()} >= images.TOOLS | {"fedbiomed-clinical"}


@pytest.mark.parametrize(
    ("values", "bars"), [([4.0, 2.0, 1.0, 1.0], "█▃▁▁"), ([3.0], "▁"), ([2.0, 2.0], "▁▁"), (range(400), None)]
)
def test_a_curve_fits_into_a_line(values: list[float], bars: str | None) -> None:
    assert len(curve(values)) <= 40
    assert bars in {None, curve(values)}


@pytest.mark.slow
def test_synthetic_tables_are_the_same_each_time_and_as_their_descriptions_say(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_synthetic(tmp_path / name)
    for host, rows in ROWS.items():
        one, two = (tmp_path / name / host / FOLDER for name in ("one", "two"))
        assert [checked.rows for checked in check_dataset(one)] == [rows]
        assert (one / "cohort.csv").read_bytes() == (two / "cohort.csv").read_bytes()
        assert '"SYNTHETIC' in (one / "dataset.json").read_text()


@pytest.mark.slow
def test_given_tables_take_the_place_of_the_synthetic_ones(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "data")
    given = tmp_path / "given"
    given.mkdir()
    for number in (1, 2, 3):
        (given / f"z3_{number}.csv").write_text("idnum,sex,age\n" + f"id{number},male,4.5\nid9,female,NA\n" * 6)
    write_given(given, tmp_path / "data")
    folder = tmp_path / "data" / "BSC" / FOLDER
    assert {path.name for path in folder.iterdir()} == {"z3_2.csv", "dataset.json"}
    assert [checked.rows for checked in check_dataset(folder)] == [12]
    assert "SYNTHETIC" not in (folder / "dataset.json").read_text()


def test_a_folder_without_the_three_files_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "z3_1.csv").touch()
    with pytest.raises(InvalidInputError, match=r"there is no z3_2\.csv"):
        check_given(tmp_path)


def test_data_is_not_for_a_federation_that_runs_and_one_that_does_not_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnavailableError, match="no federation runs in"):
        program._client_of(tmp_path)
    monkeypatch.setenv("DATA", str(tmp_path))
    with pytest.raises(InvalidInputError, match="leave it out"):
        program._client_of(tmp_path)


def _network(number: int, *losses: float, accuracy: float = 0.85) -> images.TrainedNetwork:
    rounds = [{"loss": loss, "accuracy": accuracy, "test_rows": 60, "hosts": 3} for loss in losses]
    return images.TrainedNetwork(images.TRIALS[number], rounds, 75.6, dict.fromkeys(ROWS, 510_400))


ALL_IMAGES = {"loss": 0.008, "accuracy": 0.833}


def test_the_networks_table_has_a_line_for_each_platform_and_one_of_all_images() -> None:
    shown = images.table([_network(0, 0.7, 0.01), _network(1, 0.5, 0.02, accuracy=0.8)], ALL_IMAGES).splitlines()
    assert shown[1].split() == ["Flower", "2", "0.010", "0.850", "60", "0.017", "76", "510", "510", "510"]
    assert shown[2].split() == ["Substra's", "SDK", "2", "0.020", "0.800", "60", "0.033", "76", "510", "510", "510"]
    assert shown[3].split() == ["all", "images", "in", "one", "place", "0.008", "0.833"]
    assert "all images" not in images.table([_network(0, 0.7, 0.01)], None)


def test_a_network_that_does_not_learn_or_is_far_from_the_one_of_all_images_is_a_failure() -> None:
    images.check([_network(0, 0.7, 0.01)], ALL_IMAGES)
    images.check([_network(0, 0.7, 0.01, accuracy=0.5)], None)
    with pytest.raises(FedprocError, match=r"Substra's SDK: the loss does not fall: 0\.5000, then 0\.6000"):
        images.check([_network(0, 0.7, 0.01), _network(1, 0.5, 0.6)], None)
    with pytest.raises(FedprocError, match=r"Flower: the accuracy is 0\.183 from all images', more than 0\.15"):
        images.check([_network(0, 0.7, 0.01, accuracy=0.65)], ALL_IMAGES)
