"""What somebody says of sealed files, and whether it is that person's to say. Nothing here writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedproc.common.errors import ForbiddenError, InvalidInputError, SystemFaultError
from fedproc.site.jobs.reviewing import Review
from fedproc.site.policy.review import ReviewRule


@dataclass(frozen=True)
class Reviewer:
    """Who decides: a local account, as the kernel names it, and whether it is one of the site's own reviewers."""

    account: str
    is_listed: bool


@dataclass(frozen=True)
class Word:
    """What somebody says: about these files (sealed path: sha256 that was looked at), or about all that are open."""

    by: Reviewer
    release: bool
    reason: str
    files: Mapping[str, str] | None = None


def files_of(word: Word, job: str, review: Review, rule: ReviewRule, sealed: Mapping[str, str]) -> dict[str, str]:
    """The files that a word is about, each with the hash that it names.

    Raises :class:`FedprocError` if it may not be said.
    """
    by = word.by
    if rule.is_one_of(by.account, review.strangers):
        raise ForbiddenError(f"{by.account} made this tool or asked for this job; somebody else decides about it")
    if word.files is None:
        stated = review.words_of(by.account, rule)
        wanted = {
            path: sealed[path] for path, out in review.outcome(rule).items() if out is None and path not in stated
        }
        if not wanted:
            raise SystemFaultError(f"nothing of job {job} waits for a word of {by.account}")
    else:
        wanted = dict(word.files)
    for path, digest in wanted.items():
        _check_file(review, sealed, path, digest, by)
    if not word.reason.strip() and word.release and review.flagged(wanted):
        raise InvalidInputError("a rule has something against it: give a reason for its release")
    return wanted


def _check_file(review: Review, sealed: Mapping[str, str], path: str, digest: str, by: Reviewer) -> None:
    if path.partition("/")[0] in review.kept():
        raise ForbiddenError(f"{path}: a rule refuses this output, and no person lets it leave")
    if path not in review.asked:
        raise InvalidInputError(f"{path}: no such file waits")
    if sealed[path] != digest:
        raise SystemFaultError(f"{path}: what was looked at is not what was sealed; look again")
    if review.asked[path] > 1 and not by.is_listed:
        raise ForbiddenError(
            f"{path}: {review.asked[path]} persons decide about it, each by an account of the group that"
            " reviewers_group in host.toml names"
        )


def was_said(word: Word, path: str, review: Review, rule: ReviewRule) -> bool:
    """Whether the person said this before. Raises :class:`SystemFaultError` if it was otherwise, or is over."""
    before = review.words_of(word.by.account, rule).get(path)
    if before is not None and before is not word.release:
        raise SystemFaultError(f"{path}: {word.by.account} said otherwise before; that stays")
    if before is None and review.outcome(rule).get(path) is not None:
        raise SystemFaultError(f"{path}: it was decided before; that stays")
    return before is not None
