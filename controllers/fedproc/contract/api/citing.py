"""How an experiment is cited, so that others find exactly the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_LONGEST_TITLE = 120
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class CitedDataset:
    """A dataset in the version that was read, with what is known of it: its own title and creators, or the first
    sentence of its description, and the organisation of its host, which publishes it."""

    id: str
    version: str | None
    title: str = ""
    creators: Sequence[str] = ()
    publisher: str = ""

    def text(self) -> str:
        """``A. Roe, B. Poe: “Breast cohort”, University of X, UB:cohort version 3``, as far as it is known."""
        title = f"“{self.title}”" if self.title else ""
        place = f"{self.id} version {self.version or 'unknown'}"
        what = ", ".join(part for part in (title, self.publisher, place) if part)
        return f"{', '.join(self.creators)}: {what}" if self.creators else what


def title_of(title: str, description: str) -> str:
    """A dataset's title; else the first sentence of its description, cut where it is long."""
    text = " ".join((title or _SENTENCE.split(description.strip(), maxsplit=1)[0]).split()).removesuffix(".")
    return text if len(text) <= _LONGEST_TITLE else text[: _LONGEST_TITLE - 1].rstrip() + "…"


def citation(
    tool: tuple[str, str, str], datasets: Iterable[CitedDataset], experiment: str, centre: str, ending: str
) -> str:
    """One sentence: ``tool`` as (id, version, digest), each dataset with the version that was read, experiment, ending.

    Datasets stand in the order of their ids, so that the sentence is the same wherever it is shown.

    After the parts that DataCite's schema and the software citation principles (Smith et al. 2016) ask for.
    """
    name, version, digest = tool
    data = "; ".join(each.text() for each in sorted(datasets, key=lambda each: each.id))
    what = f"{name} {version} ({digest}){f' on {data}' if data else ''}"
    return f"{what}; federated experiment {experiment} at {centre}, {ending}"


def not_known(datasets: Iterable[CitedDataset]) -> str:
    """What a citation of data has and these do not, and who can say it; empty where nothing is missing."""
    known = list(datasets)
    missing = {
        "the title": [each.id for each in known if not each.title],
        "the creators": [each.id for each in known if not each.creators],
        "the publisher": [each.id for each in known if not each.publisher],
    }
    parts = [f"{what} of {', '.join(ids)}" for what, ids in missing.items() if ids]
    return f"{'; '.join(parts)}: the hosts do not say; ask their sites, or leave it out" if parts else ""
