"""What follows from what is journalled of a review."""

from __future__ import annotations

from datetime import UTC, datetime

from fedproc.site.jobs.reviewing import Review, first_of_each
from fedproc.site.policy.engine import disclosure_rules as rules
from fedproc.site.policy.engine.findings import Finding, Result


def test_findings_of_each_output_are_shown_and_none_is_dropped_in_silence() -> None:
    found = [Finding("big", rules.POLICY, Result.review, "wait")]
    found += [Finding("big", rules.DECLARED, Result.review, f"line {number}") for number in range(300)]
    found += [Finding("big", rules.DECLARED, Result.refuse, "the last")]
    found += [Finding("small", rules.DECLARED, Result.review, "of a later output")]
    shown = list(first_of_each(found))
    assert [each.text for each in shown if each.output == "small"] == ["of a later output"]
    big = [each for each in shown if each.output == "big"]
    assert (big[0].text, len(big)) == ("the last", 51)
    assert "252 more" in big[-1].text or "251 more" in big[-1].text
    kept = [{"output": each.output, **each.as_fields()} for each in shown]
    review = Review(since=datetime.now(UTC), found=kept)
    assert review.flagged(["small/f"])
    assert review.kept() == ["big"]
