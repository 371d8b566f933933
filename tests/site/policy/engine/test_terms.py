"""Names of a model's terms: of columns that were asked for and categories that are known, and of nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.declaring import against, closed, json_output

from fedproc.contract.tool.declared import problems_of
from fedproc.site.policy.engine.known import CATEGORIES, COLUMNS, Known, columns_of, needed_for

FORMULA = "time ~ age * stage + log(`tumour size`) + I(age ** 2) + grade:bmi"
CATEGORIES_THERE = ["I", "II", "T.x", "a]:b", "G1"]


def known(*, elsewhere: bool = False, **more: Any) -> Known:
    sources = {COLUMNS: lambda: columns_of({"formula": FORMULA}), CATEGORIES: lambda: CATEGORIES_THERE}
    return Known({name: more.get(name, source) for name, source in sources.items()}, elsewhere=elsewhere)


@pytest.mark.parametrize(
    "term",
    [
        "Intercept", "age", "tumour size", "log(`tumour size`)", "log(age)", "I(age ** 2)", "stage[T.II]", "stage[II]",
        "stage[T.T.x]", "age:stage[T.II]", "stage[a]:b]:grade[G1]", "grade[T.G1]:bmi:age", "sqrt(bmi):stage[I]",
    ],
)  # fmt: skip
def test_term_of_a_formula_is_known(term):
    assert known().holds(["terms"], term)


@pytest.mark.parametrize(
    "term",
    [
        "Maria Ortiz", "age 71", "intercept", "stage[T.III]", "stage[]", "stage[T.]", "stage[II] 1951", "weight",
        "log(weight)", "I(age ** 71)", "I(age + 71)", "exp(log(age))", "age:age:age:age", "age:", ":age", "stage[II",
        "Intercept:age", "stage[age]", "agestage", 7, None, True, ["age"], "age" + ":age" * 300,
    ],
)  # fmt: skip
def test_what_no_formula_makes_is_no_term(term):
    assert not known().holds(["terms"], term)


def test_formula_names_its_columns_and_no_function():
    found = set(columns_of({"formula": FORMULA, "table": "cohort", "rounds": 3}))
    assert found == {
        FORMULA,
        "cohort",
        "formula",
        "table",
        "rounds",
        "time",
        "age",
        "stage",
        "tumour size",
        "grade",
        "bmi",
    }


COEFFICIENTS = {
    "type": "object", "maxProperties": 1000, "propertyNames": {"type": "string", "x-from": ["terms"]},
    "additionalProperties": closed(estimate={"type": "number"}, error={"type": "number"}),
}  # fmt: skip
MODEL = json_output(
    closed(n={"type": "integer"}, coefficients=COEFFICIENTS, dataset={"type": "string", "x-from": ["dataset"]}),
    {"statistic": "regression", "persons": "n", "values": ["coefficients"]},
)


def fit(*terms: str, n: int = 120, dataset: str = "") -> dict[str, Any]:
    return {"n": n, "coefficients": {t: {"estimate": 1.5, "error": 0.25} for t in terms}, "dataset": dataset}


def test_declaration_may_take_names_from_terms():
    assert problems_of(MODEL) == ()


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (fit("Intercept", "age", "stage[T.II]"), []),
        (fit("Intercept", "Maria Ortiz"), [("read.schema", "refuse")]),
        (fit("Intercept", "stage[T.Maria Ortiz]"), [("read.schema", "refuse")]),
        (fit("age", n=9), [(rule, "refuse") for rule in ("persons.floor", "model.freedom", "model.parameters")]),
        (fit("age", "stage[I]", "stage[II]", n=29), [("model.parameters", "refuse")]),
        (fit("age", "stage[I]", "stage[II]", n=30), []),
    ],
    ids=["as asked", "a name", "a name as category", "few persons", "many parameters", "just enough"],
)  # fmt: skip
def test_coefficients_are_of_terms_and_few_for_their_persons(tmp_path, document, found):
    assert against(MODEL, tmp_path, document, known=known()) == found


def test_names_of_data_at_other_hosts_wait_for_a_person_and_no_column_nobody_asked_for(tmp_path):
    there = known(elsewhere=True)
    assert against(MODEL, tmp_path, fit("stage[T.III]", dataset="cohort"), known=there) == [
        ("read.elsewhere", "review")
    ]
    assert against(MODEL, tmp_path, fit("weight[T.III]"), known=there) == [("read.schema", "refuse")]
    assert against(MODEL, tmp_path, fit("age", dataset="x" * 81), known=there) == [("read.schema", "refuse")]


def test_rows_in_the_place_of_estimates_are_as_many_parameters_as_they_have_numbers(tmp_path):
    rows = {"type": "object", "maxProperties": 1000, "propertyNames": {"type": "string", "x-from": ["terms"]},
            "additionalProperties": {"type": "array", "maxItems": 100, "items": {"type": "number"}}}  # fmt: skip
    declared = json_output(
        closed(n={"type": "integer"}, coefficients=rows),
        {"statistic": "regression", "persons": "n", "values": ["coefficients"]},
    )
    document = {"n": 120, "coefficients": {"age": [71.5] * 13}}
    assert against(declared, tmp_path, document, known=known()) == [("model.parameters", "refuse")]


@pytest.mark.slow
def test_many_terms_to_choose_from_are_counted(tmp_path):
    many = known(**{CATEGORIES: lambda: [f"c{number}" for number in range(100_000)]})
    terms = [f"stage[c{number}]:grade[c{number + 1}]:age" for number in range(100)]
    assert ("room.choices", "review") in against(MODEL, tmp_path, fit(*terms, n=10_000), known=many)


def test_terms_need_columns_and_categories():
    assert needed_for('{"x-from": ["terms", "order"]}') == {COLUMNS, CATEGORIES, "order"}
