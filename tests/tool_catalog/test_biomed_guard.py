"""What a hospital's node of Fed-BioMed lets a researcher ask of it: one training as agreed, and nothing beside it."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

LIBRARY = Path(__file__).parents[2] / "tool_catalog/library"
PLAN = "class SitePlan: ..."
ARGUMENTS = {"num_updates": 500, "test_ratio": 0.0}
MODEL = {"coef_": np.zeros(2), "intercept_": np.zeros(1)}


@pytest.fixture(scope="module")
def biomed() -> Iterator[ModuleType]:
    """The library's modules, as a tool imports them."""
    sys.path.insert(0, str(LIBRARY))
    try:
        import biomed  # type: ignore[import-not-found]
        import biomed.environment
        import biomed.guard

        yield biomed
    finally:
        sys.path.remove(str(LIBRARY))


@pytest.fixture
def guard(biomed: ModuleType) -> Any:
    agreed = biomed.guard.Agreed(
        ("tag",), PLAN, "SitePlan", {"n_features": 2}, ARGUMENTS, 2, {"coef_": (2,), "intercept_": (1,)}
    )
    return biomed.guard.Guard(agreed)


def _message(kind: str, **more: Any) -> dict[str, Any]:
    return {"__type_message__": {"module": "fedbiomed.common.message", "class": kind}, **more}


def _training(number: int, **more: Any) -> dict[str, Any]:
    known = {
        "training": True, "round": number, "training_plan": PLAN, "training_plan_class": "SitePlan", "params": MODEL,
        "model_args": {"n_features": 2}, "training_args": ARGUMENTS, "secagg_arguments": {}, "optim_aux_var": None,
    }  # fmt: skip
    return _message("TrainRequest", **{**known, **more})


def test_the_agreed_training_is_done_and_a_ping_after_it_is_the_end(guard: Any) -> None:
    asked = [_message("SearchRequest", tags=["tag"]), _training(0), _training(1), _message("PingRequest")]
    assert [guard.admit(message) for message in asked] == ["search", "train", "train", "end"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"training_plan": PLAN + "\nimport os"}, "another training plan than the tool's: none of it is run"),
        ({"training_plan_class": "Other"}, "another training plan"),
        ({"training_args": {**ARGUMENTS, "num_updates": 1}}, "other training_args than was agreed: num_updates"),
        ({"training_args": {**ARGUMENTS, "dry_run": True}}, "other training_args than was agreed: dry_run"),
        ({"training_args": None}, "they are none"),
        ({"model_args": {"n_features": 2, "loss": "huber"}}, "other model_args than was agreed: loss"),
        ({"training": False}, "a round that is none of the agreed ones"),
        ({"round": 1}, "a round that is none of the agreed ones"),
        ({"secagg_arguments": {"secagg_id": "x"}}, "more than a model"),
        ({"optim_aux_var": {"x": 1}}, "more than a model"),
        ({"params": {**MODEL, "rows": np.zeros((60, 4))}}, "a model of other arrays"),
        ({"params": {**MODEL, "coef_": np.zeros((60, 2))}}, "another shape or type: coef_"),
        ({"params": {**MODEL, "coef_": np.array([None, 1])}}, "another shape or type: coef_"),
        ({"params": {**MODEL, "coef_": np.array([math.nan, 1.0])}}, "not finite: coef_"),
        ({"params": None}, "a model of other arrays"),
    ],
)
def test_another_training_than_the_agreed_one_is_refused(
    biomed: ModuleType, guard: Any, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(biomed.guard.Broken, match=message):
        guard.admit(_training(0, **more))
    assert guard.trained == 0


@pytest.mark.parametrize(
    "message",
    [
        *(_message(kind) for kind in ("ListRequest", "ApprovalRequest", "FARequest", "PreprocRequest", "SecaggRequest",
                                      "OverlayMessage", "TrainingPlanStatusRequest", "PingRequest", "os.system", "")),
        _message("SearchRequest", tags=["other"]), _message("SearchRequest"), {}, {"__type_message__": "TrainRequest"},
    ],
    ids=str,
)  # fmt: skip
def test_what_else_fed_biomed_knows_is_refused(biomed: ModuleType, guard: Any, message: dict[str, Any]) -> None:
    with pytest.raises(biomed.guard.Broken, match="asks for more than was agreed"):
        guard.admit(message)


def test_a_training_more_than_agreed_is_refused(biomed: ModuleType, guard: Any) -> None:
    for number in (0, 1):
        guard.admit(_training(number))
    with pytest.raises(biomed.guard.Broken, match="another training after 2"):
        guard.admit(_training(2))


@pytest.mark.parametrize("version", [(3, 9), (3, 12), (3, 13)])
def test_a_python_that_fed_biomed_does_not_take_is_told_with_what_it_needs(
    biomed: ModuleType, version: tuple[int, int]
) -> None:
    with pytest.raises(biomed.guard.Broken.__base__, match=r"needs Python 3.10 or 3.11 .* this is Python 3\.\d+: run"):
        biomed.environment.check(version)


def test_an_interpreter_without_it_is_told_with_what_it_needs(biomed: ModuleType) -> None:
    with pytest.raises(
        biomed.guard.Broken.__base__, match="there is no fedbiomed and no torch: run the tool in its image"
    ):
        biomed.environment.check((3, 11))
