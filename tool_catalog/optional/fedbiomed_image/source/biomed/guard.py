"""What a host lets a researcher ask of it, and what it lets Fed-BioMed tell: the training that was agreed, no more.

Messages are dictionaries as they come off the wire; nothing here needs Fed-BioMed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from regression.faults import Broken

TOLD = ("PingReply", "SearchReply", "TrainReply")
"""what a host sends; never log lines, losses of single batches, or the text of an error"""


@dataclass(frozen=True)
class Agreed:
    """One training as its parameters say: the plan's source and class, its settings, rounds, and the model's arrays."""

    tags: tuple[str, ...]
    plan: str
    plan_class: str
    model_args: Mapping[str, Any]
    training_args: Mapping[str, Any]
    rounds: int
    shapes: Mapping[str, tuple[int, ...]]


class Guard:
    """Counts what a researcher asks. ``trained`` are the trainings so far."""

    def __init__(self, agreed: Agreed) -> None:
        self._agreed = agreed
        self.trained = 0

    def admit(self, message: Mapping[str, Any]) -> str:
        """The kind of a message that is in order: ``search``, ``train``, or ``end``. Raises Broken for all else."""
        kind = _kind(message)
        if kind == "SearchRequest" and list(message.get("tags") or ()) == list(self._agreed.tags):
            return "search"
        if kind == "TrainRequest":
            self._check(message)
            self.trained += 1
            return "train"
        if kind == "PingRequest" and self.trained == self._agreed.rounds:
            return "end"
        raise Broken(f"the researcher asks for more than was agreed: {kind}")

    def _check(self, message: Mapping[str, Any]) -> None:
        agreed = self._agreed
        if self.trained == agreed.rounds:
            raise Broken(f"the researcher asks for more than was agreed: another training after {agreed.rounds}")
        if message.get("training_plan") != agreed.plan or message.get("training_plan_class") != agreed.plan_class:
            raise Broken("the researcher sends another training plan than the tool's: none of it is run")
        for name, expected in (("training_args", agreed.training_args), ("model_args", agreed.model_args)):
            if message.get(name) != expected:
                raise Broken(
                    f"the researcher sends other {name} than was agreed: {_differing(message, name, expected)}"
                )
        if message.get("training") is not True or message.get("round") != self.trained:
            raise Broken("the researcher asks for a round that is none of the agreed ones")
        if message.get("secagg_arguments") or message.get("optim_aux_var"):
            raise Broken("the researcher sends more than a model")
        check_arrays(message.get("params"), agreed.shapes, "the researcher")


def check_arrays(params: Any, shapes: Mapping[str, tuple[int, ...]], who: str) -> None:
    """Raise Broken unless ``params`` are finite arrays of these names and shapes, and nothing else."""
    if not isinstance(params, dict) or params.keys() != shapes.keys():
        raise Broken(f"{who} sends a model of other arrays than was agreed")
    for name, shape in shapes.items():
        array = np.asarray(params[name])
        if array.dtype.kind not in "fiu" or array.shape != shape:
            raise Broken(f"{who} sends a model of another shape or type: {name}")
        if not np.isfinite(array).all():
            raise Broken(f"{who} sends numbers that are not finite: {name}")


def _kind(message: Mapping[str, Any]) -> str:
    told = message.get("__type_message__")
    name = told.get("class") if isinstance(told, dict) else None
    return name if isinstance(name, str) and name.isidentifier() else "a message of no kind"


def _differing(message: Mapping[str, Any], name: str, expected: Mapping[str, Any]) -> str:
    found = message.get(name)
    if not isinstance(found, dict):
        return "they are none"
    both: Sequence[str] = sorted({str(key) for key in found.keys() | expected.keys()})
    return ", ".join(key for key in both if found.get(key) != expected.get(key))[:200]
