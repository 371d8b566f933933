"""What a host remembers of released cohorts and has against a new one: DataSHIELD's known cases among it."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from fedproc.contract.wire.releasing import scope_of, scopes_of
from fedproc.site.policy.ledger.claims import Claim, Cohort, Doubt, Terms
from fedproc.site.policy.ledger.comparing import Sets
from fedproc.site.policy.ledger.file import FILE, KEY, LedgerError
from fedproc.site.policy.ledger.ledger import Ledger

FLOOR = 10
DAY = 86_400.0
TERMS = Terms(floor=FLOOR, budget=50, window=30 * DAY)
ALL = frozenset(f"P{number:03}" for number in range(100))
PROJECT = scopes_of("rosa", ["granted-project"], None)


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def claim(
    job: str,
    *cohorts: Iterable[str],
    scopes: tuple[str, ...] = PROJECT,
    question: str | None = None,
    answer: str | None = None,
    way: str = "images",
    files: int = 1,
    dataset: str = "ct",
) -> Claim:
    """A result of these persons of ``ct``, and, if more are given, of ``ct1``, ``ct2``."""
    given = tuple(
        Cohort(
            dataset if not place else f"{dataset}{place}",
            hashed("\n".join(sorted(persons))),
            {way: frozenset(persons)} if way else {},
        )
        for place, persons in enumerate(map(frozenset, cohorts))
    )
    asked = question or job
    answers = {f"table/{number}.json": hashed(answer or f"{asked} {number}") for number in range(files)}
    return Claim(job, scopes, given, hashed(asked), answers)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


def doubts(ledger: Ledger, *claims: Claim, terms: Terms = TERMS) -> set[str]:
    """What is against the last of them, the others being released by themselves or by a person."""
    *before, last = claims
    for each in before:
        ledger.note(each)
    return set(map(str, ledger.reserve(last, terms).doubts))


# -- cohorts that differ by a few


@pytest.mark.parametrize("few", [1, 2, FLOOR - 1])
@pytest.mark.parametrize("more", [True, False], ids=["some more", "some fewer"])
def test_cohort_that_differs_by_a_few_goes_to_a_person(ledger: Ledger, few: int, more: bool) -> None:
    others = {f"N{number}" for number in range(few)}
    new = ALL | others if more else ALL - set(sorted(ALL)[:few])
    assert doubts(ledger, claim("a", ALL), claim("b", new)) == {"difference"}


def test_difference_is_seen_both_ways_at_once(ledger: Ledger) -> None:
    """Twenty left, one came: the sets differ by twenty-one, and one of them is told of all the same."""
    new = (ALL - set(sorted(ALL)[:20])) | {"one"}
    assert doubts(ledger, claim("a", ALL), claim("b", new)) == {"difference"}


@pytest.mark.parametrize("size", [FLOOR, 50])
def test_cohort_that_differs_by_the_floor_or_by_nobody_leaves_by_itself(ledger: Ledger, size: int) -> None:
    assert doubts(ledger, claim("a", ALL), claim("b", ALL)) == set()
    assert doubts(ledger, claim("c", ALL - set(sorted(ALL)[:size]))) == set()


def test_floor_of_the_site_counts(ledger: Ledger) -> None:
    new = ALL - set(sorted(ALL)[:12])
    ledger.note(claim("a", ALL))
    assert ledger.check(claim("b", new), Terms(20, 50, DAY)).doubts == {Doubt.difference}
    assert ledger.check(claim("b", new), Terms(12, 50, DAY)).doubts == frozenset()


def test_mean_with_and_without_one_row_is_datashields_first_case(ledger: Ledger) -> None:
    """ds.mean(x), ds.mean(x[-1]): n times one mean less n - 1 times the other is the value of one patient."""
    rows = {f"row {number}" for number in range(200)}
    found = doubts(ledger, claim("a", rows, way="rows"), claim("b", rows - {"row 7"}, way="rows"))
    assert found == {"difference"}


def test_subset_and_its_complement_is_datashields_second_case(ledger: Ledger) -> None:
    """The mean of all, of those below a limit, and of those below one that takes a single patient more."""
    below = set(sorted(ALL)[:40])
    assert doubts(ledger, claim("a", ALL), claim("b", below)) == set()
    assert doubts(ledger, claim("c", below | {sorted(ALL)[40]})) == {"difference"}
    assert doubts(ledger, claim("d", ALL - below)) == set()
    assert doubts(ledger, claim("e", ALL - below - {sorted(ALL)[40]})) == {"difference"}


def test_each_earlier_release_counts_not_the_last_alone(ledger: Ledger) -> None:
    apart = [set(sorted(ALL)[start : start + 30]) for start in (0, 30, 60)]
    for number, each in enumerate(apart):
        assert doubts(ledger, claim(f"j{number}", each)) == set()
    assert doubts(ledger, claim("k", apart[0] - {min(apart[0])})) == {"difference"}


def test_new_version_without_one_who_opted_out_goes_to_a_person(ledger: Ledger) -> None:
    assert doubts(ledger, claim("a", ALL, way="column"), claim("b", ALL - {"P007"}, way="column")) == {"difference"}


def test_small_dataset_that_is_added_to_another_tells_of_its_few(ledger: Ledger) -> None:
    few = {"A", "B", "C"}
    assert doubts(ledger, claim("a", ALL), claim("b", ALL, few)) == {"difference"}
    other = Ledger(ledger.folder.with_name("other"))
    assert doubts(other, claim("a", ALL, few), claim("b", ALL)) == {"difference"}
    third = Ledger(ledger.folder.with_name("third"))
    assert doubts(third, claim("a", ALL), claim("b", ALL, {f"Q{number}" for number in range(30)})) == set()


def test_same_ids_in_two_datasets_are_others(ledger: Ledger) -> None:
    assert doubts(ledger, claim("a", ALL), claim("b", ALL - {"P001"}, dataset="mr")) == set()


# -- who is in it cannot be told


def test_what_cannot_be_told_goes_to_a_person_unless_it_is_the_same_version(ledger: Ledger) -> None:
    assert doubts(ledger, claim("a", ALL, way=""), claim("b", ALL, way="")) == set()
    assert doubts(ledger, claim("c", ALL - {"P001"}, way="")) == {"unknown"}


def test_persons_told_apart_otherwise_than_before_cannot_be_compared(ledger: Ledger) -> None:
    assert doubts(ledger, claim("a", ALL, way="rows"), claim("b", ALL - {"P001"}, way="column")) == {"unknown"}
    ledger.note(claim("c", ALL - {"P001", "P002"}, way=""))
    assert doubts(ledger, claim("d", ALL - {"P001"}, way="column")) == {"unknown"}


def test_rows_that_were_all_rewritten_hide_no_one_who_left(ledger: Ledger) -> None:
    """A column was added, so that every row is another, and one patient has gone with it."""
    rows, anew = {f"{number},1" for number in range(100)}, {f"{number},1,x" for number in range(99)}
    assert doubts(ledger, claim("a", rows, way="rows"), claim("b", anew, way="rows")) == {"difference"}
    same = {f"{number},1,x" for number in range(100)}
    other = Ledger(ledger.folder.with_name("other"))
    assert doubts(other, claim("a", rows, way="rows"), claim("b", same, way="rows")) == {"unknown"}


# -- whose releases are compared


def test_two_users_of_one_project_do_not_split_it(ledger: Ledger) -> None:
    rosa, vera = (scopes_of(user, ["granted"], None) for user in ("rosa", "vera"))
    assert doubts(ledger, claim("a", ALL, scopes=rosa), claim("b", ALL - {"P001"}, scopes=vera)) == {"difference"}


def test_one_user_does_not_split_it_by_naming_another_project(ledger: Ledger) -> None:
    one, other = (scopes_of("rosa", (), project) for project in ("mine", "mine too"))
    assert doubts(ledger, claim("a", ALL, scopes=one), claim("b", ALL - {"P001"}, scopes=other)) == {"difference"}
    none = scopes_of("rosa", (), None)
    assert doubts(ledger, claim("c", ALL - {"P002"}, scopes=none)) == {"difference"}
    assert none == (scope_of(user="rosa"),)


def test_whoever_writes_a_granted_project_down_spends_nothing_of_it(ledger: Ledger) -> None:
    stranger, granted = scopes_of("vera", (), "P"), scopes_of("rosa", ["P"], "P")
    assert not set(stranger) & set(granted)
    assert doubts(ledger, claim("a", ALL, scopes=stranger), claim("b", ALL - {"P001"}, scopes=granted)) == set()


def test_projects_of_one_user_are_held_together_and_each_of_an_orders_grants_counts(ledger: Ledger) -> None:
    one, other = scopes_of("rosa", ["P1"], None), scopes_of("rosa", ["P2"], None)
    assert doubts(ledger, claim("a", ALL, scopes=one), claim("b", ALL - {"P001"}, scopes=other)) == {"difference"}
    both, second = scopes_of("vera", ["P3", "P4"], None), scopes_of("carla", ["P4"], None)
    assert doubts(ledger, claim("c", ALL, scopes=both), claim("d", ALL - {"P001"}, scopes=second)) == {"difference"}


def test_other_projects_of_others_are_not_compared(ledger: Ledger) -> None:
    rosa, vera = scopes_of("rosa", (), "one"), scopes_of("vera", (), "two")
    assert doubts(ledger, claim("a", ALL, scopes=rosa), claim("b", ALL - {"P001"}, scopes=vera)) == set()


def test_site_may_compare_nothing(ledger: Ledger) -> None:
    assert doubts(ledger, claim("a", ALL), claim("b", ALL - {"P1"}), terms=Terms(10, 50, DAY, compares=False)) == set()


# -- repeats and budget


def test_same_question_has_the_same_bytes_and_costs_nothing(ledger: Ledger) -> None:
    terms = Terms(FLOOR, 2, DAY)
    for number in range(5):
        assert doubts(ledger, claim(f"a{number}", ALL, question="mean", answer="3.2"), terms=terms) == set()
    assert {files for _, _, files in ledger.spent(DAY)} == {1}
    found = ledger.reserve(claim("b", ALL, question="mean", answer="3.3"), terms)
    assert (found.doubts, found.outputs) == ({Doubt.repeat}, {"table"})
    other = claim("c", ALL, question="mean", answer="3.3", scopes=scopes_of("vera", ["other"], None))
    assert ledger.reserve(other, terms).doubts == {Doubt.repeat}, "whoever asks, the answer is not drawn anew"


def test_budget_is_of_a_project_and_dataset_within_a_window(tmp_path: Path) -> None:
    now = [1_000_000.0]
    ledger, terms = Ledger(tmp_path, clock=lambda: now[0]), Terms(FLOOR, 5, 30 * DAY)
    for number in range(5):
        assert doubts(ledger, claim(f"a{number}", ALL), terms=terms) == set()
    assert doubts(ledger, claim("b", ALL), terms=terms) == {"budget"}
    assert doubts(ledger, claim("c", ALL, dataset="mr"), terms=terms) == set()
    assert doubts(ledger, claim("d", ALL, scopes=scopes_of("vera", ["other"], None)), terms=terms) == set()
    assert {(scope, "ct", 5) for scope in PROJECT} <= set(ledger.spent(30 * DAY))
    now[0] += 30 * DAY + 1
    assert ledger.spent(30 * DAY) == []
    assert doubts(ledger, claim("e", ALL), terms=terms) == set()


def test_files_of_one_job_are_counted_together_and_a_persons_word_costs_too(ledger: Ledger) -> None:
    terms = Terms(FLOOR, 5, DAY)
    assert doubts(ledger, claim("a", ALL, files=6), terms=terms) == {"budget"}
    ledger.note(claim("a", ALL, files=6))
    assert {files for _, _, files in ledger.spent(DAY)} == {6}


# -- what is kept


def test_what_was_checked_is_not_noted_and_what_is_against_it_neither(ledger: Ledger) -> None:
    ledger.check(claim("a", ALL), TERMS)
    assert doubts(ledger, claim("b", ALL - {"P001"})) == set()
    assert doubts(ledger, claim("c", ALL)) == {"difference"}
    assert doubts(ledger, claim("d", ALL - {"P001"})) == set()
    assert ledger.kept()[0] == 2


def test_same_job_once_more_changes_nothing(ledger: Ledger) -> None:
    for _ in range(3):
        assert doubts(ledger, claim("a", ALL)) == set()
    assert ledger.kept()[0] == 1
    assert {files for _, _, files in ledger.spent(DAY)} == {1}


def test_no_id_of_a_person_is_in_its_files(ledger: Ledger) -> None:
    ledger.note(claim("a", {"Anna-Karenina-1877", *ALL}))
    ledger.close()
    content = b"".join(path.read_bytes() for path in ledger.folder.iterdir())
    assert b"Anna" not in content
    assert hashlib.sha256(b"Anna-Karenina-1877").digest()[:16] not in content
    assert {oct(path.stat().st_mode & 0o777) for path in ledger.folder.iterdir() if path.name in (FILE, KEY)} == {
        "0o600"
    }


def test_another_process_finds_it_again_and_another_key_does_not(tmp_path: Path, ledger: Ledger) -> None:
    ledger.note(claim("a", ALL))
    ledger.close()
    again = Ledger(ledger.folder)
    assert doubts(again, claim("b", ALL - {"P001"})) == {"difference"}
    again.close()
    (ledger.folder / KEY).write_bytes(os.urandom(32))
    with pytest.raises(LedgerError, match="put the key back"):
        Ledger(ledger.folder).note(claim("c", ALL))
    (ledger.folder / KEY).unlink()
    with pytest.raises(LedgerError):
        Ledger(ledger.folder).note(claim("c", ALL))


def test_damaged_file_is_an_error_and_never_an_empty_ledger(ledger: Ledger) -> None:
    ledger.note(claim("a", ALL))
    ledger.close()
    for beside in ("-wal", "-shm"):
        (ledger.folder / (FILE + beside)).unlink(missing_ok=True)
    (ledger.folder / FILE).write_bytes(b"x" * 8192)
    with pytest.raises(LedgerError):
        Ledger(ledger.folder).reserve(claim("b", ALL), TERMS)


def test_ledger_that_is_gone_holds_until_it_is_back_or_its_key_is_moved_away(ledger: Ledger) -> None:
    ledger.note(claim("a", ALL))
    kept = ledger.folder.with_name("kept")
    ledger.close()
    shutil.copytree(ledger.folder, kept)
    ledger.note(claim("a2", ALL))
    for path in ledger.folder.glob(f"{FILE}*"):
        path.unlink()
    for asked in (ledger, Ledger(ledger.folder)):
        with pytest.raises(LedgerError, match=r"put it back from a backup, or move .*ledger.key away"):
            asked.check(claim("b", ALL), TERMS)
        with pytest.raises(LedgerError):
            asked.spent(DAY)
    shutil.copy(kept / FILE, ledger.folder / FILE)
    assert doubts(ledger, claim("b", ALL - {"P001"})) == {"difference"}
    ledger.close()
    for path in ledger.folder.glob("ledger.*"):
        path.unlink()
    assert doubts(ledger, claim("c", ALL - {"P001"})) == set()


_BEGINNING = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.site.policy.ledger.test_ledger import ALL, claim
from fedproc.site.policy.ledger import file
from fedproc.site.policy.ledger.ledger import Ledger
steps = 0
def killed(frame, event, argument):
    global steps
    if frame.f_code.co_filename == file.__file__ and event == "line":
        steps += 1
        if steps == int(sys.argv[3]):
            os.kill(os.getpid(), 9)
    return killed
sys.settrace(killed)
Ledger(Path(sys.argv[1])).note(claim("a", ALL))
"""


@pytest.mark.slow
def test_daemon_that_is_killed_at_any_line_while_a_ledger_begins_leaves_one_that_works(tmp_path: Path) -> None:
    root = Path(__file__).parents[4]
    command = [sys.executable, "-c", _BEGINNING, str(tmp_path / "ledger"), str(root)]
    for step in range(1, 200, 7):
        shutil.rmtree(tmp_path / "ledger", ignore_errors=True)
        ended = subprocess.run([*command, str(step)], capture_output=True, check=False)
        assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
        Ledger(tmp_path / "ledger").note(claim("b", ALL))
        if ended.returncode == 0:
            return
    raise AssertionError("it never came to its end")


def test_ledger_that_was_begun_by_half_by_the_release_before_works(ledger: Ledger) -> None:
    ledger.note(claim("a", ALL))
    with ledger._transaction() as db:
        db.execute("DELETE FROM releases")
        db.execute("DELETE FROM meta")
    ledger.close()
    Ledger(ledger.folder).note(claim("b", ALL))


def test_old_releases_are_forgotten_with_the_persons_that_nothing_else_has(tmp_path: Path) -> None:
    now = [1_000.0]
    ledger = Ledger(tmp_path, clock=lambda: now[0])
    ledger.note(claim("a", ALL))
    now[0] += 100
    ledger.note(claim("b", {f"M{number}" for number in range(20)}, dataset="mr"))
    assert ledger.forget(1_050, 10) == 1
    assert ledger.forget(1_050, 10) == 0
    assert ledger.kept()[:2] == (1, 1_100.0)
    with ledger._transaction() as db:
        assert db.execute("SELECT DISTINCT dataset FROM persons").fetchall() == [("mr",)]
        assert db.execute("SELECT COUNT(*) FROM sets").fetchone() == (1,)
    assert doubts(ledger, claim("c", ALL - {"P001"})) == set()


def test_full_ledger_asks_a_person_for_new_cohorts_alone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, most_sets=2)
    apart = [set(sorted(ALL)[start : start + 30]) for start in (0, 30, 60)]
    assert [doubts(ledger, claim(f"j{number}", each)) for number, each in enumerate(apart)] == [set(), set(), {"full"}]
    assert doubts(ledger, claim("k", apart[0])) == set()


def test_of_two_jobs_at_once_one_is_held_against_the_other(ledger: Ledger) -> None:
    found: list[set[str]] = []
    begin = threading.Barrier(8)

    def release(number: int) -> None:
        begin.wait(10)
        found.append(set(map(str, ledger.reserve(claim(f"j{number}", ALL - {f"P{number:03}"}), TERMS).doubts)))

    threads = [threading.Thread(target=release, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found, key=len) == [set(), *([{"difference"}] * 7)]


_KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.site.policy.ledger.test_ledger import ALL, TERMS, claim
from fedproc.site.policy.ledger.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
for number in range(100_000):
    ledger.reserve(claim(f"j{number}", ALL), TERMS.__class__(10, 10**9, 1e9))
    sys.stdout.write(f"{number}\\n"); sys.stdout.flush()
"""


@pytest.mark.slow
def test_what_was_noted_survives_that_its_program_is_killed(tmp_path: Path) -> None:
    root = Path(__file__).parents[4]
    command = [sys.executable, "-c", textwrap.dedent(_KILLED), str(tmp_path), str(root)]
    for _ in range(3):
        shutil.rmtree(tmp_path, ignore_errors=True)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(random.randint(1, 25)):
                last = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            last = max([last, *(int(line) for line in process.stdout.read().split("\n")[:-1])])
        ledger = Ledger(tmp_path)
        assert ledger.kept()[0] >= last + 1
        assert doubts(ledger, claim("after", ALL - {"P001"})) == {"difference"}
        ledger.close()


@pytest.mark.slow
def test_ten_thousand_persons_are_held_against_a_thousand_releases_in_a_moment(tmp_path: Path) -> None:
    """As a ratio to one such cohort against an empty ledger, which hashes the same persons."""
    people = [f"P{number}" for number in range(10_000)]
    chosen = random.Random(5)

    def seconds(ledger: Ledger, job: str) -> float:
        began = time.process_time()
        ledger.check(claim(job, chosen.sample(people, 9_000)), TERMS)
        return time.process_time() - began

    empty, full = Ledger(tmp_path / "empty"), Ledger(tmp_path / "full")
    empty.note(claim("first", people, scopes=("x",)))
    full.note(claim("first", people))
    with full._transaction() as db:  # hashing as many persons a thousand times is not what is measured
        for number in range(1_000):
            some = Sets(str(number), {"images": chosen.getrandbits(10_000)})
            full._note(db, claim(f"j{number}", ()), {"ct": some})
    alone = min(seconds(empty, f"a{number}") for number in range(3))
    among = min(seconds(full, f"b{number}") for number in range(3))
    assert among < 10 * alone, (alone, among)
    assert full.kept()[2] < 16 << 20
