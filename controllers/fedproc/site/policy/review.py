"""What a site asks of those who look at what may leave: how many, by when, and how much they are shown besides."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from typing import Literal

from pydantic import Field

from fedproc.common.toml_settings import Section
from fedproc.contract.tool.task import Disclosure

_SATURDAY = 5
_ORCID = re.compile(r"(?:(?:https?://)?(?:www\.)?orcid\.org/|orcid:\s?)([^/?#]+)/?(?:[?#].*)?")


class ReviewRule(Section):
    """See docs/operations/reviewing.md. Days are working days, Monday to Friday in UTC without ``holidays``."""

    reviewers: dict[Disclosure, Literal[1, 2]] = Field(
        {}, description="by class, how many persons decide, blind to each other; 1 unless given"
    )
    disagreement: Literal["refuse", "third"] = Field(
        "refuse", description="two persons decide differently: the file stays here, or a third one decides"
    )
    rest: Literal["person", "refuse"] = Field(
        "person", description="a rule refuses some outputs: a person decides about the others, or none leaves"
    )
    sample: int = Field(
        20, ge=0, description="of the jobs whose outputs would leave by themselves one in so many is shown; 0: none"
    )
    remind_days: float = Field(3, gt=0, le=366, description="working days, then who looks is reminded")
    expire_days: float = Field(7, gt=0, le=366, description="working days, then what is not decided stays here")
    holidays: tuple[date, ...] = Field((), max_length=400, description="days that are no working days either")
    persons: dict[str, tuple[str, ...]] = Field(
        {}, description="by local account: other names of its person (subject, name, ORCID), to tell authors by"
    )

    def persons_for(self, disclosure: Disclosure) -> int:
        """How many decide about an output of this class."""
        return self.reviewers.get(disclosure, 1)

    def after(self, since: datetime, days: float) -> datetime:
        """So many working days after ``since`` (aware, UTC)."""
        left, here = timedelta(days=days), since
        while True:
            midnight = datetime.combine(here.date() + timedelta(days=1), time(), here.tzinfo)
            if here.weekday() < _SATURDAY and here.date() not in self.holidays:
                if here + left <= midnight:
                    return here + left
                left -= midnight - here
            here = midnight

    def is_one_of(self, account: str, names: Iterable[str]) -> bool:
        """Whether the person of a local account has one of these names, however it is spelled."""
        return not self.names_of(account).isdisjoint(_plain(name) for name in names if name)

    def is_same(self, account: str, other: str) -> bool:
        """Whether two local accounts are of one person: they have a name in common, or each has one with a third."""
        return account == other or not self.names_of(account).isdisjoint(self.names_of(other))

    def names_of(self, account: str) -> set[str]:
        """All that the person of a local account is called, by this account and by others that share a name with it."""
        listed = [{_plain(name) for name in (each, *names) if name} for each, names in self.persons.items()]
        found, before = {_plain(account)}, 0
        while len(found) > before:
            before = len(found)
            found = found.union(*(names for names in listed if not names.isdisjoint(found)))
        return found


def _plain(name: str) -> str:
    """One spelling of a name: compatible characters made one, capitals or not; an ORCID without its address."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    plain = " ".join(folded.split())
    found = _ORCID.fullmatch(plain)
    return plain if found is None else found[1]


def is_shown(number: str, one_in: int) -> bool:
    """Whether a job is in the sample, by the hexadecimal ``number`` that a secret key makes of its id."""
    return one_in > 0 and int(number, 16) % one_in == 0


def concluded(votes: Sequence[bool], needed: int, disagreement: str) -> bool | None:
    """What persons decided about one file, in the order in which they did; None while a word is missing."""
    if len(votes) < needed:
        return None
    first = votes[:needed]
    if len(set(first)) == 1:
        return first[0]
    if disagreement == "refuse":
        return False
    return votes[needed] if len(votes) > needed else None
