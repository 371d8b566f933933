"""The task ``client``: one site's rows as sums at the coefficients that the server tells, never a row or a time.

What leaves in each round: the log partial likelihood of this host's rows, its gradient and its information, summed over
all events. Coefficients could be chosen so that a few persons carry them: then nothing leaves.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from partial import Cohort, partial_likelihood
from regression.design import design, only_table, read_frame
from regression.faults import Fault
from regression.persons import effective
from request import Survival
from rounds.asking import FewPersons, Site, take_part
from rounds.evaluation import Evaluation
from rounds.introducing import introduction
from rounds.messages import Ask
from tables.frame import Dataset

Array = npt.NDArray[np.float64]


def run(address: str, datasets: Path, host: str, request: Survival) -> None:
    """Read the one dataset in ``datasets``, and answer the server at ``address`` until all is over.

    Raises Fault, or TableError for a table that is not as its description says.
    """
    site = read_site(Dataset.only(datasets), host, request)
    take_part(address, site, request.max_rounds, request.patience)
    print(f"{host}: the server has ended the rounds", flush=True)


def read_site(dataset: Dataset, host: str, request: Survival) -> Site:
    """This host's side of the rounds."""
    table = only_table(dataset, request.table)
    _check_types(dataset, request)
    columns = (request.time_column, request.event_column, *request.formula.columns)
    frame, left_out = read_frame(dataset, table, tuple(dict.fromkeys(columns)), request.missing)
    times, events = _outcome(dataset, table, frame, request)
    made = design(dataset, table, request.formula, frame)
    told = introduction(dataset, request, tuple(frame.columns), made, events, intercept=False, left_out=left_out)
    cohort = Cohort.of(made.rows, times, events)

    def evaluate(asked: Ask) -> Evaluation:
        rows = asked.standard.apply(cohort.rows)
        margin = rows @ asked.coefficients
        if effective(np.exp(margin - margin.max())) < request.min_cell:
            raise FewPersons
        return partial_likelihood(cohort, rows, asked.coefficients)

    return Site(host, told, len(made.names), len(made.names), evaluate)


def _check_types(dataset: Dataset, request: Survival) -> None:
    wanted = (
        ("time_column", request.time_column, ("number", "integer")),
        ("event_column", request.event_column, ("boolean",)),
    )
    for parameter, name, types in wanted:
        kind = dataset.column(name).type
        if kind not in types:
            raise Fault(f"parameters: {parameter}: {name} is of type {kind} here; expected {' or '.join(types)}")


def _outcome(dataset: Dataset, table: str, frame: pd.DataFrame, request: Survival) -> tuple[Array, Array]:
    times, events = frame[request.time_column], frame[request.event_column]
    dataset.refuse(table, times < 0, "a time since the start of observation, 0 or more")
    return times.to_numpy(dtype=np.float64), events.to_numpy(dtype=np.float64)
