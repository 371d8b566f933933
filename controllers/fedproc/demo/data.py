"""The demo's data: two real cohorts that Python packages ship, dealt out to the hosts, and what they say pooled.

``breast-cohort`` are the 686 patients of the German Breast Cancer Study Group's trial 2 as lifelines has them
(M. Schumacher et al., J Clin Oncol 12 (1994) 2086-2093); ``wisconsin`` the 569 tumours of the diagnostic
breast-cancer data as scikit-learn has them (doi:10.24432/C5DW2B). Both come with the packages: no network is used.

The pooled reference goes another way than the catalogue's tools: lifelines' estimator on the whole cohort and
numpy's moments, never a sum over hosts.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SHARES: Mapping[str, float] = {"UB": 0.42, "BSC": 0.33, "FORTH": 0.25}
"""How much of each cohort a host has."""

TEST_SHARE = 0.25
"""How much of its Wisconsin rows each host holds out."""

YEAR = 365.25

COHORT_PARAMETERS: Mapping[str, Any] = {
    "time_grid": {"step": YEAR, "end": 6 * YEAR},
    "variables": [
        {"name": "age", "edges": [40, 50, 60, 70]},
        {"name": "tumour_size", "edges": [20, 30, 40]},
        {"name": "positive_nodes", "edges": [2, 4, 10]},
        {"name": "menopause"},
        {"name": "hormone_therapy"},
        {"name": "grade"},
    ],
    "min_cell": 5,
}
"""What the demo asks ``cohort-statistics`` for; ``min_cell`` is the floor of its sites."""

CURVES = ("survival", "variance", "lower", "upper", "exact_lowest", "exact_highest")
"""The quantities that a result has at every time point."""

_SHUFFLE = 6
"""The first shuffle after which no host's yearly event table holds a small count: the demo's grid stays whole."""

_COHORT_COLUMNS: tuple[dict[str, Any], ...] = (
    {"name": "age", "type": "integer", "unit": "a", "description": "age"},
    {"name": "menopause", "type": "category", "values": ["Pre", "Post"], "description": "menopausal status"},
    {"name": "hormone_therapy", "type": "category", "values": ["no", "yes"], "description": "tamoxifen"},
    {"name": "tumour_size", "type": "integer", "unit": "mm", "description": "tumour size"},
    {"name": "grade", "type": "category", "values": ["I", "II", "III"], "description": "tumour grade"},
    {"name": "positive_nodes", "type": "integer", "unit": "1", "description": "positive lymph nodes"},
    {"name": "progesterone_receptor", "type": "integer", "unit": "fmol/mg", "description": "progesterone receptor"},
    {"name": "oestrogen_receptor", "type": "integer", "unit": "fmol/mg", "description": "oestrogen receptor"},
    {"name": "time", "type": "number", "unit": "d", "description": "recurrence-free time since surgery"},
    {"name": "event", "type": "boolean", "description": "recurrence or death (1), or still free of it (0)"},
)
_SOURCE_NAMES = {
    "menopause": "menostat",
    "hormone_therapy": "horTh",
    "tumour_size": "tsize",
    "grade": "tgrade",
    "positive_nodes": "pnodes",
    "progesterone_receptor": "progrec",
    "oestrogen_receptor": "estrec",
    "event": "cens",
}

Row = list[Any]


@dataclass(frozen=True)
class Pooled:
    """What the whole breast cohort says, computed with all its rows in one place.

    ``survival``, ``variance`` (Greenwood), ``lower`` and ``upper`` (95 %, log(-log)) are the life-table estimate at
    the times ``grid``; ``exact_lowest`` and ``exact_highest`` are lifelines' Kaplan-Meier estimates with all
    censorings of a bin before its events, and after them; ``exact`` is its estimate of the exact times, ``median`` the
    median of that. ``means`` and ``deviations`` (n - 1) are by variable, ``counts`` by variable and category.
    """

    grid: tuple[float, ...]
    survival: tuple[float, ...]
    variance: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    exact_lowest: tuple[float, ...]
    exact_highest: tuple[float, ...]
    exact: tuple[float, ...]
    median: float
    means: Mapping[str, float]
    deviations: Mapping[str, float]
    counts: Mapping[str, Mapping[str, int]]


def write_datasets(root: Path) -> None:
    """Make ``root/HOST/breast-cohort`` and ``root/HOST/wisconsin`` for every host, each row at one host only.

    The same call writes the same bytes. Raises ImportError if the extra ``demo`` is not installed.
    """
    cohort, tumours = _breast_cohort(), _wisconsin()
    for host, rows in _dealt(cohort, "breast-cohort").items():
        _write(root / host / "breast-cohort", _cohort_description(host), {"cohort": rows})
    for host, rows in _dealt(tumours, "wisconsin").items():
        held_out = round(len(rows) * TEST_SHARE)
        _write(
            root / host / "wisconsin", _wisconsin_description(host), {"train": rows[held_out:], "test": rows[:held_out]}
        )


def pooled_reference(grid: Sequence[float]) -> Pooled:
    """The pooled breast cohort on the time points ``grid`` (rising, days).

    Take the ``grid`` of the federated result: sites may have had to join bins with few persons.
    """
    import numpy as np

    names = [column["name"] for column in _COHORT_COLUMNS]
    columns = dict(zip(names, zip(*_breast_cohort(), strict=True), strict=True))
    times, events = np.array(columns["time"], dtype=float), np.array(columns["event"], dtype=bool)
    numeric = {c["name"]: np.array(columns[c["name"]], dtype=float) for c in _COHORT_COLUMNS if c["type"] == "integer"}
    categories = [column["name"] for column in _COHORT_COLUMNS if column["type"] == "category"]
    return Pooled(
        grid=tuple(grid),
        **_pooled_curve(np.asarray(grid, dtype=float), times, events),
        means={name: float(values.mean()) for name, values in numeric.items()},
        deviations={name: float(values.std(ddof=1)) for name, values in numeric.items()},
        counts={name: {value: columns[name].count(value) for value in set(columns[name])} for name in categories},
    )


def differences(result: Mapping[str, Any]) -> dict[str, float]:
    """How far a ``result.json`` of ``cohort-statistics`` over all hosts is from the pooled cohort.

    The largest absolute difference by quantity: each of :data:`CURVES`, how far the exact estimate and its median lie
    outside of the bounds that the result states (``exact``, ``exact median``), and
    ``VARIABLE mean``, ``VARIABLE sd`` or ``VARIABLE counts`` for each variable that it has.
    """
    pooled = pooled_reference(result["grid"])
    found = {name: _curve_difference(result["curve"], name, getattr(pooled, name)) for name in CURVES}
    found |= {"exact": _outside(result["curve"], pooled.exact), "exact median": _median_outside(result, pooled.median)}
    for variable in result["variables"]:
        found |= _variable_differences(variable, pooled)
    return found


def _curve_difference(points: Sequence[Mapping[str, Any]], name: str, curve: Sequence[float]) -> float:
    """Intervals are None where the estimate is 0 or 1; there is nothing to compare then."""
    pairs = zip(points, curve, strict=True)
    return max((abs(point[name] - value) for point, value in pairs if point[name] is not None), default=0.0)


def _variable_differences(variable: Mapping[str, Any], pooled: Pooled) -> dict[str, float]:
    name = variable["name"]
    if variable["kind"] == "number":
        mean, deviation = abs(variable["mean"] - pooled.means[name]), abs(variable["sd"] - pooled.deviations[name])
        return {f"{name} mean": mean, f"{name} sd": deviation}
    expected = pooled.counts[name]
    gaps = [abs(group["count"] - sum(expected[value] for value in group["values"])) for group in variable["counts"]]
    return {f"{name} counts": float(max(gaps))}


def exact_distance(result: Mapping[str, Any]) -> float:
    """How far the result's curve is from the Kaplan-Meier estimate of all persons' exact times, at most."""
    exact = pooled_reference(result["grid"]).exact
    return _curve_difference(result["curve"], "survival", exact)


def _outside(points: Sequence[Mapping[str, Any]], exact: Sequence[float]) -> float:
    pairs = zip(points, exact, strict=True)
    return max(float(max(point["exact_lowest"] - value, value - point["exact_highest"], 0.0)) for point, value in pairs)


def _median_outside(result: Mapping[str, Any], median: float) -> float:
    bounds = result["median_survival"]
    highest = bounds["exact_at_most"]
    return float(max(bounds["exact_above"] - median, 0.0 if highest is None else median - highest, 0.0))


def _pooled_curve(grid: np.ndarray, times: np.ndarray, events: np.ndarray) -> dict[str, Any]:
    import numpy as np

    bins = np.searchsorted(grid, times, side="left")
    died = np.bincount(bins[events], minlength=len(grid) + 1)[:-1]
    gone = np.bincount(bins, minlength=len(grid) + 1)[:-1]
    at_risk = len(times) - np.cumsum(gone) + gone - (gone - died) / 2
    curve = np.cumprod(1 - died / at_risk)
    hazard = np.cumsum(died / (at_risk * (at_risk - died)))
    spread = 1.959963984540054 * np.sqrt(hazard) / -np.log(curve)
    exact, median = _exact(grid, times, events)
    curves = {
        "survival": curve,
        "variance": curve**2 * hazard,
        "lower": curve ** np.exp(spread),
        "upper": curve ** np.exp(-spread),
        "exact_lowest": _exact(grid, np.where(events, bins + 0.5, bins), events, np.arange(len(grid)) + 0.5)[0],
        "exact_highest": _exact(grid, np.where(events, bins, bins + 0.5), events, np.arange(len(grid)) + 0.5)[0],
        "exact": exact,
    }
    return {name: tuple(map(float, values)) for name, values in curves.items()} | {"median": median}


def _exact(
    grid: np.ndarray, times: np.ndarray, events: np.ndarray, at: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """lifelines' Kaplan-Meier estimate at the grid's times (or ``at``), and its median."""
    from lifelines import KaplanMeierFitter

    fitted = KaplanMeierFitter().fit(times, events)
    return fitted.predict(grid if at is None else at).to_numpy(), float(fitted.median_survival_time_)


def _breast_cohort() -> list[Row]:
    from lifelines.datasets import load_gbsg2

    patients = load_gbsg2().astype({"time": float})
    columns = [patients[_SOURCE_NAMES.get(column["name"], column["name"])].tolist() for column in _COHORT_COLUMNS]
    return [list(row) for row in zip(*columns, strict=True)]


def _wisconsin() -> list[Row]:
    from sklearn.datasets import load_breast_cancer

    features, benign = load_breast_cancer(return_X_y=True)
    return [[*row, 1 - int(label)] for row, label in zip(features.tolist(), benign, strict=True)]


def _dealt(rows: Sequence[Row], name: str) -> dict[str, list[Row]]:
    """The rows by host, in an order that depends on ``name`` alone, not on a random generator's version."""
    shuffled = sorted(
        range(len(rows)), key=lambda index: hashlib.sha256(f"{name} {_SHUFFLE} {index}".encode()).digest()
    )
    ends = [round(len(rows) * share) for share in accumulate(SHARES.values(), initial=0.0)]
    return {host: [rows[i] for i in shuffled[a:b]] for host, (a, b) in zip(SHARES, pairwise(ends), strict=True)}


def _cohort_description(host: str) -> dict[str, Any]:
    return {
        "id": "breast-cohort",
        "version": "1.0.0",
        "description": f"Breast cancer patients at {host}: recurrence-free survival and seven covariates at surgery",
        "title": f"Breast cancer patients of the GBSG2 trial, the part of {host}",
        "creators": ["German Breast Cancer Study Group"],
        "source": "GBSG2 trial as shipped by lifelines",
        "tables": {"cohort": "cohort.csv"},
        "columns": list(_COHORT_COLUMNS),
    }


def _wisconsin_description(host: str) -> dict[str, Any]:
    from sklearn.datasets import load_breast_cancer

    features = [str(name).replace(" ", "_") for name in load_breast_cancer().feature_names]
    return {
        "id": "wisconsin",
        "version": "1.0.0",
        "description": f"Breast tumours at {host}: 30 measures of cell nuclei, and whether malignant",
        "title": f"Wisconsin diagnostic breast cancer, the part of {host}",
        "creators": ["W. H. Wolberg", "W. N. Street", "O. L. Mangasarian"],
        "source": "Diagnostic Wisconsin breast cancer database as shipped by scikit-learn",
        "tables": {"train": "train.csv", "test": "test.csv"},
        "columns": [
            *({"name": name, "type": "number"} for name in features),
            {"name": "malignant", "type": "boolean", "description": "malignant (1) or benign (0)"},
        ],
    }


def _write(folder: Path, description: Mapping[str, Any], tables: Mapping[str, Iterable[Row]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(description, indent=1, ensure_ascii=False) + "\n"
    (folder / "dataset.json").write_text(text, encoding="utf-8")
    names = [column["name"] for column in description["columns"]]
    for table, rows in tables.items():
        with (folder / description["tables"][table]).open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows([names, *rows])
