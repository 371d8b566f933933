"""Secure sums of ``linear-regression`` and ``cohort-statistics``: what the aggregator gets of each host is uniform, and
what it makes of it equals the result without masks."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.support.masking import WORD, MaskingHosts, declared, numbers, read, words
from tests.support.pooling_runs import PoolingRun, write_dataset
from tests.support.tool_programs import ToolProgram

from fedproc.demo.data import SHARES
from fedproc.site.policy.engine.engine import inspect
from fedproc.site.policy.engine.findings import Result
from fedproc.site.policy.engine.known import Known
from fedproc.site.policy.engine.strict_json import scalars

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CATALOGUE = Path(__file__).parents[2] / "tool_catalog"
FORMULA = "tumour_size ~ age + grade + menopause:age + log(time) + event"
GRID = {"points": [1000, 2000]}
VARIABLES = [{"name": "age", "edges": [45, 60]}, {"name": "menopause"}]
COHORT = {"time_grid": GRID, "variables": VARIABLES, "min_cell": 5}
PUBLIC = {2.0, 5.0, 10.0, 1000.0, 2000.0, 45.0, 60.0}
"""numbers of the parameters and of the format, which every host's answer has"""


class Asked:
    """A tool run over the three hosts, plain and masked."""

    def __init__(self, run: PoolingRun, tool: str, file: str, parameters: Mapping[str, Any]) -> None:
        self.run, self.file, self.parameters = run, file, parameters
        self.folder = CATALOGUE / tool
        self.hosts = MaskingHosts(SHARES)

    def plain(self) -> dict[str, Any]:
        return self.run.run(**self.parameters)

    def answers(self) -> dict[str, Any]:
        """What each host's release looks at."""
        self.run.answers(**self.parameters, secure_sums=True)
        return {host: read(self.run.sites / host / self.file) for host in SHARES}

    def leave(self) -> dict[str, Any]:
        """What the aggregator gets."""
        self.hosts.leave(self.run.sites, self.folder, self.file)
        return {host: read(self.run.sites / host / self.file) for host in SHARES}

    def masked(self) -> dict[str, Any]:
        self.answers()
        self.leave()
        ended = self.run.combine()
        assert ended.returncode == 0, ended.stderr
        return self.run.result()

    def refusal(self) -> str:
        ended = self.run.combine()
        assert ended.returncode == 2, ended.stdout
        return ended.stderr


@pytest.fixture
def linear_asked(linear: ToolProgram, by_host: dict[str, Path], tmp_path: Path) -> Asked:
    run = PoolingRun(linear, by_host, tmp_path, "sums.json")
    return Asked(run, "linear_regression", "sums.json", {"formula": FORMULA})


@pytest.fixture
def cohort_asked(statistics: ToolProgram, by_host: dict[str, Path], tmp_path: Path) -> Asked:
    run = PoolingRun(statistics, by_host, tmp_path, "statistics.json")
    return Asked(run, "cohort_statistics", "statistics.json", COHORT)


@pytest.fixture(params=["linear_asked", "cohort_asked"])
def asked(request: pytest.FixtureRequest) -> Asked:
    found: Asked = request.getfixturevalue(request.param)
    return found


def test_regression_of_masked_sums_equals_the_plain_one(linear_asked: Asked) -> None:
    plain, masked = linear_asked.plain(), linear_asked.masked()
    assert masked["n"] == plain["n"] == 686
    assert list(masked["coefficients"]) == list(plain["coefficients"])
    for term, figures in plain["coefficients"].items():
        assert masked["coefficients"][term] == pytest.approx(figures, rel=1e-9), term
    for figure in ("r_squared", "adjusted_r_squared", "residual_std_error", "residual_df"):
        assert masked[figure] == pytest.approx(plain[figure], rel=1e-10)
    assert masked["hosts"] == [{key: value for key, value in e.items() if key != "n"} for e in plain["hosts"]]
    assert masked["rows"] == []
    assert masked["method"].endswith("only sums over all hosts were read")


def test_far_means_cost_the_masked_sums_no_digits(linear: ToolProgram, tmp_path: Path) -> None:
    """Plain sums of products about 0 would leave 4 of 16 digits here: two columns at 1e6, one unit apart."""
    chance, datasets = np.random.default_rng(17), {}
    for host in SHARES:
        x = 1e6 + chance.normal(size=80)
        rows = pd.DataFrame({"x": x, "z": x + chance.normal(size=80), "y": 3 * x + chance.normal(size=80)})
        columns = [{"name": name, "type": "number"} for name in rows]
        datasets[host] = write_dataset(tmp_path / host, columns, rows.to_numpy().tolist())
    run = PoolingRun(linear, datasets, tmp_path / "run", "sums.json")
    asked = Asked(run, "linear_regression", "sums.json", {"formula": "y ~ x + z"})
    plain, masked = asked.plain(), asked.masked()
    for term in ("x", "z"):
        assert masked["coefficients"][term] == pytest.approx(plain["coefficients"][term], rel=1e-9)


def test_cohort_of_masked_counts_equals_the_plain_one(cohort_asked: Asked) -> None:
    plain, masked = cohort_asked.plain(), cohort_asked.masked()
    assert plain["grid"] == GRID["points"], "the plain one joined cells, and is another"
    for key in ("persons", "curve", "median_survival", "warnings", "largest_distance_to_exact", "merged_points"):
        assert masked[key] == plain[key], key
    for found, expected in zip(masked["variables"], plain["variables"], strict=True):
        assert _close(found, expected) if "mean" in expected else found == expected
    assert masked["hosts"] == [{k: v for k, v in e.items() if k != "persons"} for e in plain["hosts"]]


def _close(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    moments = {key: pytest.approx(expected[key], rel=1e-12) for key in ("mean", "sd")}
    return found == {**expected, **moments}


def test_aggregator_receives_uniform_words_and_no_number_of_a_host(asked: Asked) -> None:
    """By what lies in its folder of inputs when it starts: nothing of a host's answer but what all have in common."""
    plain = asked.answers()
    received = asked.leave()
    for host in SHARES:
        own = set(map(float, numbers(plain[host]))) - PUBLIC
        assert len(own) > 10
        places = {float(place) for place in range(40)}  # of terms in their list
        assert not own & set(map(float, numbers(received[host]))) - places
        assert _are_uniform([_value(word) for word in words(received[host])])
    sizes = {host: len(words(each)) for host, each in received.items()}
    assert len(set(sizes.values())) == 1


def test_what_the_hosts_rules_look_at_is_plain_and_passes_them_for_this_floor(asked: Asked, tmp_path: Path) -> None:
    described = read(asked.run.datasets["UB"] / "breast-cohort" / "dataset.json")
    given = [asked.parameters, asked.folder.name, 10, "time", "event"]
    known = {
        "parameters": lambda: scalars(given),
        "steps": lambda: scalars(given),
        "dataset": lambda: scalars([described, "breast-cohort"]),
        "order": lambda: ["UB"],
    }
    asked.answers()
    folder = tmp_path / "looked-at"
    folder.mkdir()
    shutil.copy(asked.run.sites / "UB" / asked.file, folder)
    looked_at = declared(asked.folder)
    assert [each.text for each in inspect(looked_at, folder, 5, Known(known)) if each.result is not Result.review] == []
    few = inspect(looked_at, folder, 300, Known(known))
    assert Result.refuse in {each.result for each in few}


def _are_uniform(values: list[int]) -> bool:
    """Of all their bits half are set, within five standard deviations; what they hide has hundreds of zeros a word."""
    bits = 384 * len(values)
    return abs(sum(value.bit_count() for value in values) - bits / 2) < 5 * bits**0.5 / 2


def _value(word: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(word[7:]))


def test_two_hosts_words_together_say_nothing_without_the_third(asked: Asked) -> None:
    asked.answers()
    received = [[_value(word) for word in words(each)] for each in asked.leave().values()]
    for left_out in range(3):
        rest = [column for place, column in enumerate(received) if place != left_out]
        assert _are_uniform([sum(pair) % WORD for pair in zip(*rest, strict=True)])


Change = Callable[[Path], None]


def _edited(change: Callable[[dict[str, Any]], Any]) -> Change:
    def edit(path: Path) -> None:
        answer = read(path)
        change(answer)
        path.write_text(json.dumps(answer))

    return edit


def _first_word(answer: dict[str, Any], text: str) -> None:
    found = next(_objects(answer["document"]))
    key = next(key for key, value in found.items() if isinstance(value, str) and value.startswith("masked:"))
    found[key] = text


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if any(isinstance(value, str) and value.startswith("masked:") for value in node.values()):
            yield node
        node = list(node.values())
    for part in node if isinstance(node, list) else []:
        yield from _objects(part)


LIES: dict[str, tuple[Change, str]] = {
    "plain after all": (_edited(lambda a: a.pop("format")), "it was not masked by its host"),
    "masked with others": (_edited(lambda a: a.update(hosts=["BSC", "UB"])), "masked with other hosts than"),
    "another shape": (_edited(lambda a: a["document"].update(more=1)), "differ at"),
    "another request": (_edited(lambda a: a["document"]["request"].update(min_cell=99)), "differ at request.min_cell"),
    "a word of nothing": (_edited(lambda a: _first_word(a, "masked:====")), "a masked number is none"),
    "another word": (_edited(lambda a: _first_word(a, "masked:" + "A" * 64)), "the masks do not cancel"),
    "a number for a word": (_edited(lambda a: _first_word(a, "12")), "differ at"),
}


@pytest.mark.parametrize("lie", LIES)
def test_answer_that_a_host_or_its_way_changed_ends_the_run_and_names_what_is_wrong(asked: Asked, lie: str) -> None:
    asked.answers()
    asked.leave()
    change, text = LIES[lie]
    change(asked.run.sites / "BSC" / asked.file)
    assert text in asked.refusal()


def test_host_that_is_lost_leaves_nothing_to_be_read_of_the_others(asked: Asked) -> None:
    asked.answers()
    asked.leave()
    lost = asked.run.sites / "FORTH"
    (lost / asked.file).unlink()
    lost.rmdir()
    assert "missing ['FORTH']" in asked.refusal()


def test_plain_answers_are_not_taken_for_masked_ones_nor_the_other_way_round(asked: Asked) -> None:
    asked.run.answers(**asked.parameters)
    asked.leave()
    assert asked.refusal()
    asked.run.answers(**asked.parameters)
    asked.run.ask(**asked.parameters, secure_sums=True)
    assert "it was not masked by its host" in asked.refusal()


def test_site_with_a_small_cell_refuses_instead_of_joining_it(cohort_asked: Asked) -> None:
    cohort_asked.run.ask(**{**COHORT, "time_grid": {"step": 100, "end": 2000}}, secure_sums=True)
    ended = cohort_asked.run.local("UB")
    assert ended.returncode == 2
    assert "time_grid: with secure_sums no cells are joined" in ended.stderr
    assert not (cohort_asked.run.sites / "UB" / "statistics.json").exists()


def test_sums_over_a_few_persons_are_refused_before_they_are_masked(linear_asked: Asked) -> None:
    linear_asked.run.ask(formula="tumour_size ~ age + grade", min_cell=200, secure_sums=True)
    ended = linear_asked.run.local("UB")
    assert ended.returncode == 2
    assert "(min_cell)" in ended.stderr
    assert not (linear_asked.run.sites / "UB" / "sums.json").exists()
