"""How an experiment is cited, so that others find exactly the same."""

from __future__ import annotations

from collections.abc import Iterable


def citation(
    tool: tuple[str, str, str], datasets: Iterable[tuple[str, str | None]], experiment: str, centre: str, ending: str
) -> str:
    """One sentence: ``tool`` as (id, version, digest), each dataset with the version that was read, experiment, ending.

    After the parts that DataCite's schema and the software citation principles (Smith et al. 2016) ask for.
    """
    name, version, digest = tool
    data = ", ".join(f"{each} version {read or 'unknown'}" for each, read in datasets)
    what = f"{name} {version} ({digest}){f' on {data}' if data else ''}"
    return f"{what}; federated experiment {experiment} at {centre}, {ending}"
