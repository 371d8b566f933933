"""What a line of a site's policy demands of an experiment's parameters: values, secure sums, differential privacy."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import Field

from fedproc.common.errors import RefusedError
from fedproc.common.toml_settings import Section
from fedproc.contract.tool.privacy import Spent, unmet, unmet_by
from fedproc.contract.tool.task import Task
from fedproc.contract.tool.tool import Tool
from fedproc.contract.wire.messages import JobOrder

CODE = "policy.privacy"


class PrivacyRule(Section):
    """The most that one experiment may spend of differential privacy."""

    epsilon: float = Field(gt=0, allow_inf_nan=False)
    delta: float = Field(gt=0, lt=1)

    @property
    def most(self) -> Spent:
        return Spent(self.epsilon, self.delta)


def check_parameters(tool: str, demanded: Mapping[str, tuple[Any, ...]], order: JobOrder) -> None:
    """Raises :class:`RefusedError` that names the values which a line takes."""
    for name, taken in demanded.items():
        if name not in order.parameters or not any(_same(order.parameters[name], value) for value in taken):
            shown = " or ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for value in taken)
            raise RefusedError(f"this site takes only {shown} of tool {tool!r}: ask for that", code="policy.parameters")


def check_privacy(task: Task, order: JobOrder, tool: Tool, *, secure_sums: bool, most: PrivacyRule | None) -> None:
    """Raises :class:`RefusedError` with code ``policy.privacy`` if the experiment asks for less protection."""
    text = unmet(
        tool.parameters, order.parameters, task, secure_sums=secure_sums, most=None if most is None else most.most
    )
    if text is not None:
        raise RefusedError(text, code=CODE)


def check_again(
    task: Task, masked: Collection[str], spent: Spent | None, *, secure_sums: bool, most: PrivacyRule | None
) -> None:
    """The same of a job that was admitted, by what its parameters were found to ask for then."""
    text = unmet_by(task, masked, spent, secure_sums=secure_sums, most=None if most is None else most.most)
    if text is not None:
        raise RefusedError(f"{text}, as its policy says since the job was admitted", code=CODE)


def _same(asked: Any, taken: Any) -> bool:
    """Whether two JSON values are one: 365 and 365.0 are, 1 and true are not."""
    if isinstance(asked, dict) and isinstance(taken, dict):
        return asked.keys() == taken.keys() and all(_same(asked[key], taken[key]) for key in asked)
    if isinstance(asked, list | tuple) and isinstance(taken, list | tuple):
        return len(asked) == len(taken) and all(map(_same, asked, taken))
    return isinstance(asked, bool) == isinstance(taken, bool) and bool(asked == taken)
