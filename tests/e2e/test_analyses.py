"""Analyses without learning over three hosts in the sandbox: equal to those of all rows in one place."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from fedproc.client.results import fetch_results
from fedproc.common.errors import FedprocError

pytestmark = pytest.mark.needs_federation

DATASETS = [f"{host}:breast-cohort" for host in ("UB", "BSC", "FORTH")]


@pytest.fixture
def analysed(running, tmp_path):
    """Runs a tool on the three breast cohorts, and returns its result."""

    def run(tool, **parameters):
        experiment = running.start(tool, datasets=DATASETS, **parameters)
        events = running.end(experiment)
        assert events[-1].state == "succeeded", [event.reason for event in events if event.reason]
        fetch_results(running.researcher, experiment.id, tmp_path)
        return json.loads((tmp_path / "EUCAIM" / "result.json").read_bytes())

    return run


@pytest.fixture
def pooled(running):
    """All rows of the three breast cohorts in one place."""
    hosts = [name.partition(":")[0] for name in DATASETS]
    files = {host: running.folder / "data" / host / "breast-cohort" / "cohort.csv" for host in hosts}
    return pd.concat([pd.read_csv(file).assign(host=host) for host, file in files.items()], ignore_index=True)


def test_linear_regression_equals_the_pooled_one(analysed, pooled):
    from statsmodels.formula.api import ols

    fit = ols("tumour_size ~ age + grade", pooled).fit()
    told = analysed("linear-regression", formula="tumour_size ~ age + grade")["coefficients"]
    assert [entry["estimate"] for entry in (told["age"], told["grade[T.III]"])] == pytest.approx(
        [fit.params["age"], fit.params["grade[T.III]"]], rel=1e-9
    )


def test_linear_regression_of_masked_sums_equals_the_pooled_one_and_no_hosts_number_arrives(analysed, pooled, tmp_path):
    from statsmodels.formula.api import ols

    fit = ols("tumour_size ~ age + grade", pooled).fit()
    result = analysed("linear-regression", formula="tumour_size ~ age + grade", secure_sums=True)
    assert result["n"] == len(pooled)
    assert result["coefficients"]["age"]["estimate"] == pytest.approx(fit.params["age"], rel=1e-9)
    for host in ("UB", "BSC", "FORTH"):
        received = json.loads((tmp_path / host / "sums.json").read_bytes())
        assert received["hosts"] == ["BSC", "FORTH", "UB"]
        assert {str(term["mean"])[:7] for term in received["document"]["terms"]} == {"masked:"}


def test_logistic_regression_equals_the_pooled_one(analysed, pooled):
    from statsmodels.formula.api import logit

    fit = logit("event ~ age + tumour_size", pooled).fit(disp=0, tol=1e-12)
    told = analysed("logistic-regression", formula="event ~ age + tumour_size")["coefficients"]
    assert [entry["estimate"] for entry in told.values()] == pytest.approx(fit.params.tolist(), rel=1e-8)
    assert [entry["std_error"] for entry in told.values()] == pytest.approx(fit.bse.tolist(), rel=1e-8)


def test_cox_regression_equals_the_pooled_one_with_the_host_as_stratum(analysed, pooled):
    from lifelines import CoxPHFitter

    columns = ["age", "tumour_size", "time", "event", "host"]
    fit = CoxPHFitter().fit(pooled[columns], "time", "event", strata=["host"], fit_options={"precision": 1e-14})
    told = analysed("cox-regression", formula="age + tumour_size")["coefficients"]
    assert [entry["estimate"] for entry in told.values()] == pytest.approx(fit.params_.tolist(), rel=1e-7)


def test_survival_curves_by_group_are_as_near_to_the_exact_ones_as_they_say(analysed, pooled):
    from lifelines import KaplanMeierFitter

    result = analysed("kaplan-meier", time_grid={"points": [800, 1600]}, group="menopause", min_cell=5)
    assert [curve["group"] for curve in result["curves"]] == ["Pre", "Post"]
    assert result["log_rank"]["hosts"] == ["BSC", "FORTH", "UB"]
    for curve in result["curves"]:
        members = pooled[pooled["menopause"] == curve["group"]]
        exact = KaplanMeierFitter().fit(members["time"], members["event"])
        for point in curve["curve"]:
            assert point["exact_lowest"] <= exact.predict(point["time"]) <= point["exact_highest"]


def test_a_formula_that_picks_out_persons_is_refused_before_it_reaches_a_site(running):
    with pytest.raises(FedprocError, match="formula"):
        running.start("linear-regression", datasets=DATASETS, formula="tumour_size ~ I(age > 93)")


def test_a_model_of_a_few_persons_ends_at_the_site(running):
    experiment = running.start("linear-regression", datasets=DATASETS, formula="time ~ age", min_cell=250)
    assert running.end(experiment)[-1].state == "failed"
    assert running.jobs(experiment)["combine@EUCAIM"].state != "succeeded"
