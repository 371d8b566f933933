"""What the ledger remembers goes by its age, in batches, and never with 0 days."""

from __future__ import annotations

from pathlib import Path

from fedproc.site.policy.ledger.claims import Claim, Cohort
from fedproc.site.policy.ledger.ledger import Ledger
from fedproc.site.retention import releases as module
from fedproc.site.retention.kept import DAY
from fedproc.site.retention.releases import Releases

NOW = 1000 * DAY


def filled(folder: Path) -> Ledger:
    now = [NOW]
    ledger = Ledger(folder, clock=lambda: now[0])
    for number in range(5):
        now[0] = NOW - number * 10 * DAY
        cohort = Cohort("ct", str(number), {"images": frozenset({f"P{number}", "P"})})
        ledger.note(Claim(f"j{number}", ("s",), (cohort,), "00", {}))
    return ledger


async def test_releases_go_after_their_days(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    kind = Releases(ledger, 25)
    before = await kind.survey(NOW)
    assert (before.count, before.oldest, before.days, before.due) == (5, NOW - 40 * DAY, 25, 1)
    assert [await kind.remove(NOW), await kind.remove(NOW)] == [2, 0]
    after = await kind.survey(NOW)
    assert (after.count, after.due, after.following) == (3, 0, NOW + 5 * DAY)
    assert module.BATCH > 1


async def test_with_no_days_they_stay_and_no_ledger_is_made_for_a_look(tmp_path: Path) -> None:
    assert await Releases(filled(tmp_path / "a"), 0).remove(NOW) == 0
    other = Releases(Ledger(tmp_path / "b"), 10)
    assert (await other.survey(NOW)).count == 0
    assert await other.remove(NOW) == 0
    assert not (tmp_path / "b").exists()
