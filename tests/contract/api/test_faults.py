"""A mistake in a request is told as a sentence, with the nearest known name, and without the value."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.api.faults import Fault, faults_of
from fedproc.contract.api.retention import UserErasure

SECRET = "Patient 12"


def faults(model: type[BaseModel], **values: object) -> list[Fault]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(values)
    return faults_of(caught.value, model)


@pytest.mark.parametrize(
    ("values", "loc", "what"),
    [
        ({"hosts": [SECRET]}, ("hosts", 0), "is no host id: one has capital letters, digits and _, for example UB"),
        ({"datasets": [SECRET]}, ("datasets", 0), "is no dataset: one is HOST:ID, for example UB:breast-cohort"),
        ({"host": ["UB"]}, ("host",), "is not known here; did you mean hosts? known are "),
    ],
)
def test_fault_is_a_sentence_without_the_value(values: dict[str, object], loc: tuple[object, ...], what: str) -> None:
    (fault,) = faults(ExperimentRequest, tool="count", **values)
    assert fault.loc == loc
    assert fault.what.startswith(what)
    assert SECRET not in fault.what


def test_fault_of_what_is_missing_says_so() -> None:
    (fault,) = faults(UserErasure)
    assert (fault.loc, fault.what, fault.code) == (("subject",), "is missing", "missing")
