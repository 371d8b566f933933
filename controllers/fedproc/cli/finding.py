"""What a person means: an experiment by its label, and the nearest name to one that there is not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from fedproc.cli.show import clock
from fedproc.client.api import Client
from fedproc.client.transport import ApiError
from fedproc.common.errors import FedprocError, NotFoundError
from fedproc.common.text import did_you_mean
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.api.faults import faults_of
from fedproc.contract.ids import EXPERIMENT_PATTERN

Experiment = Annotated[str, typer.Argument(help="its id, or its label if no other of yours has it")]

_LATEST = 200
_OPTIONS = {"hosts": "--host", "datasets": "--data", "host_parameters": "--host-parameter",
            "selection": "--select", "dataset_selections": "--select"}  # fmt: skip
_NAMES: Mapping[str, Callable[[Client], Iterable[str]]] = {
    "tool": lambda client: (tool.id for tool in client.tools()),
    "hosts": lambda client: (host.id for host in client.hosts()),
    "datasets": lambda client: (dataset.id for dataset in client.datasets()),
}


def experiment_id(client: Client, given: str) -> str:
    """The id of the experiment that is meant: by itself, or by the label of one of the user's own.

    Raises :class:`NotFoundError` that says which were nearest, or which of several it may be.
    """
    if re.fullmatch(EXPERIMENT_PATTERN, given):
        return given
    found = client.experiments(label=given, mine=True, limit=10).items
    if len(found) == 1:
        return found[0].id
    if found:
        several = "".join(f"\n  {each.id}  {each.tool}  {each.state}  {clock(each.created)}" for each in found)
        raise NotFoundError(f"more than one of your experiments has the label {given!r}; give the id of one:{several}")
    latest = client.experiments(mine=True, limit=_LATEST).items
    near = did_you_mean(given, [each.id for each in latest] + [each.label for each in latest if each.label])
    what = f"no experiment of yours has the id or the label {given!r}"
    raise NotFoundError(f"{what}{near or ';'} fedproc experiments lists them")


@contextmanager
def nearest(client: Client, field: str, value: str) -> Iterator[None]:
    """Adds the nearest name to what the API says of one that there is not, where it has not said it itself."""
    try:
        yield
    except ApiError as error:
        near = _nearest(client, field, value) if error.status == 404 else ""
        raise NotFoundError(error.message + near) if near and "did you mean" not in error.message else error from None


def explain(client: Client, error: ValidationError, values: Mapping[str, Any]) -> str:
    """What is wrong with a request that the command line made, by its options, with the nearest names."""
    found = faults_of(error, ExperimentRequest)
    return "\n".join(_explain(client, each.loc, each.what, values) for each in found)


def _explain(client: Client, loc: tuple[int | str, ...], what: str, values: Mapping[str, Any]) -> str:
    field = str(loc[0]) if loc else ""
    option = _OPTIONS.get(field, field if field == "tool" else f"--{field.replace('_', '-')}")
    given = values.get(field)
    value = given[loc[1]] if isinstance(given, list) and len(loc) > 1 and isinstance(loc[1], int) else given
    shown = f" {value!r}" if isinstance(value, str) else ""
    return f"{option}{shown} {what}{_nearest(client, field, value) if isinstance(value, str) else ''}"


def _nearest(client: Client, field: str, value: str) -> str:
    """Nothing where the centre cannot be asked: the fault itself has been told."""
    with suppress(FedprocError):
        return did_you_mean(value, _NAMES[field](client) if field in _NAMES else ())
    return ""
