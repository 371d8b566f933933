"""What is to be released, as the ledger sees it, and what it has against that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Cohort:
    """What a job was given of a dataset: its persons, by each way in which they are told apart."""

    dataset: str
    version: str
    persons: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Claim:
    """Results of a job that are to leave, for whom (``scopes``), of whom, and in answer to which question.

    ``files`` are the hashes of what says something of persons, by output and path; empty for what leaves otherwise.
    """

    job: str
    scopes: tuple[str, ...]
    cohorts: tuple[Cohort, ...]
    question: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Terms:
    """The site's: ``floor`` persons, and ``budget`` files of a project and dataset within ``window`` seconds."""

    floor: int
    budget: int
    window: float
    compares: bool = True


class Doubt(StrEnum):
    """Why a person of the site is to look."""

    difference = "difference"
    """its persons are those of an earlier release without a few, or with a few more"""
    unknown = "unknown"
    """an earlier release was of another version or part, and who is in which cannot be told"""
    repeat = "repeat"
    """the same question was answered otherwise"""
    budget = "budget"
    full = "full"
    """the ledger has no room for more"""


@dataclass(frozen=True)
class Answered:
    """What the ledger says of a claim; ``outputs`` are those whose answer is another than before."""

    doubts: frozenset[Doubt] = frozenset()
    outputs: frozenset[str] = frozenset()
