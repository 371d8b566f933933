"""The task ``client``: one site's rows as sums at the coefficients that the server tells, never a row.

What leaves in each round: the rows' log likelihood, its gradient (the terms' sums weighted with the residuals) and its
information (sums of products of two terms, weighted with the fitted variances). Coefficients could be chosen so that
the weights of all persons but a few vanish: then nothing leaves.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from regression.design import design, only_table, outcome, read_frame
from regression.faults import Fault
from regression.persons import effective
from rounds.asking import FewPersons, Site, take_part
from rounds.evaluation import Evaluation
from rounds.introducing import introduction
from rounds.messages import Ask
from rounds.request import Request
from scipy.special import expit
from tables.frame import Dataset

Array = npt.NDArray[np.float64]


def run(address: str, datasets: Path, host: str, request: Request) -> None:
    """Read the one dataset in ``datasets``, and answer the server at ``address`` until all is over.

    Raises Fault, or TableError for a table that is not as its description says.
    """
    site = read_site(Dataset.only(datasets), host, request)
    take_part(address, site, request.max_rounds, request.patience)
    print(f"{host}: the server has ended the rounds", flush=True)


def read_site(dataset: Dataset, host: str, request: Request) -> Site:
    """This host's side of the rounds."""
    formula, table = request.formula, only_table(dataset, request.table)
    if dataset.column(formula.outcome.strip("`")).type != "boolean":
        raise Fault(f"parameters: formula: the outcome {formula.outcome} must be a boolean column")
    frame, left_out = read_frame(dataset, table, formula.columns, request.missing)
    made, events = design(dataset, table, formula, frame), outcome(dataset, table, formula, frame)
    told = introduction(dataset, request, formula.columns, made, events, intercept=formula.intercept, left_out=left_out)

    def evaluate(asked: Ask) -> Evaluation:
        terms = asked.standard.apply(made.rows)
        rows = np.column_stack([np.ones(len(terms)), terms]) if formula.intercept else terms
        return log_likelihood(rows, events, asked.coefficients, request.min_cell)

    return Site(host, told, len(made.names), len(made.names) + formula.intercept, evaluate)


def log_likelihood(rows: Array, events: Array, coefficients: Array, least: int) -> Evaluation:
    """Of Bernoulli outcomes with a logit link; natural logarithm. Raises FewPersons."""
    margin = rows @ coefficients
    chance = expit(margin)
    weights, residuals = chance * (1 - chance), events - chance
    if min(effective(weights), effective(np.abs(residuals))) < least:
        raise FewPersons
    value = float((events * margin - np.logaddexp(0.0, margin)).sum())
    return Evaluation(value, rows.T @ residuals, rows.T @ (rows * weights[:, None]))
