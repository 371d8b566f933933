"""Long lists are filtered, sorted, counted and cut by the server."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import delete, insert, select
from tests.support.central_api import Federation

from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.schema import experiments
from fedproc.contract.ids import new_id

pytestmark = pytest.mark.server

MANY = 5000


@pytest.fixture
def lena(dashboard: Federation) -> Iterator[httpx.Client]:
    """A researcher with many experiments."""
    dashboard.issuer.signs_in = ("lena", "researcher")
    usual = {"owner": "lena", "owner_name": "Lena", "version": "1.0.0", "digest": "sha256:" + "0" * 64, "request": {}}
    now = time.time()
    rows = [
        {
            **usual, "id": new_id("e"), "label": f"run {number:05d}", "tool": "count" if number % 2 else "learn",
            "state": "failed" if number % 10 == 0 else "succeeded", "created": now + number, "ended": now + number,
            "cancel_requested": False,
        }
        for number in range(MANY)
    ]  # fmt: skip
    with write_transaction(dashboard.engine) as connection:
        connection.execute(insert(experiments), rows)
    with httpx.Client(base_url=dashboard.url, follow_redirects=True, timeout=60, trust_env=False) as client:
        client.get("/dashboard/sign-in")
        yield client
    with write_transaction(dashboard.engine) as connection:
        connection.execute(delete(experiments).where(experiments.c.owner == "lena"))


def labels(page: httpx.Response) -> list[str]:
    return re.findall(r"run \d{5}", page.text)


def test_a_part_is_shown_and_all_are_counted(lena: httpx.Client) -> None:
    first = lena.get("/dashboard/experiments?sort=label")
    assert f"{MANY} experiments" in first.text
    assert labels(first) == [f"run {number:05d}" for number in range(50)]
    second = lena.get(re.findall(r'<a href="([^"]+)" rel="next">', first.text)[0].replace("&amp;", "&"))
    assert labels(second) == [f"run {number:05d}" for number in range(50, 100)]
    assert "51 to 100 of 5000" in second.text


def test_the_order_is_of_all_and_not_of_the_part_that_is_shown(lena: httpx.Client) -> None:
    assert labels(lena.get("/dashboard/experiments?sort=-label"))[0] == f"run {MANY - 1:05d}"
    assert all(
        label.endswith("0") for label in labels(lena.get("/dashboard/experiments?sort=state"))
    )  # those that failed
    assert 'aria-sort="descending"' in lena.get("/dashboard/experiments").text


def test_filters_count_what_fits(lena: httpx.Client) -> None:
    assert "500 experiments that fit" in lena.get("/dashboard/experiments?state=failed").text
    assert "1 experiment that fit" in lena.get("/dashboard/experiments?text=run+04321").text
    assert "0 experiments" in lena.get("/dashboard/experiments?text=%25").text  # no pattern
    assert "5000 experiments" in lena.get("/dashboard/experiments?state=ended").text


def test_a_search_that_finds_nothing_leads_on(lena: httpx.Client) -> None:
    page = lena.get("/dashboard/experiments?text=nothing+is+called+so").text
    assert re.search(r'0 experiments that fit the filter. <a href="/dashboard/experiments">Show all</a>', page)
    assert "1 experiment that fits the filter." in lena.get("/dashboard/experiments?text=run+04321").text


def test_a_part_behind_the_end_is_empty(lena: httpx.Client) -> None:
    page = lena.get("/dashboard/experiments?page=9999")
    assert page.status_code == 200
    assert labels(page) == []


def test_odd_filters_are_a_page_that_says_so(lena: httpx.Client) -> None:
    for query in ("sort=owner", "page=0", "state=../x", "page=x"):
        assert lena.get(f"/dashboard/experiments?{query}").status_code == 422


def test_the_list_is_ones_own(dashboard: Federation, lena: httpx.Client) -> None:
    with dashboard.user() as rosa:
        dashboard.start(rosa, label="of rosa alone")
    assert "of rosa alone" not in lena.get("/dashboard/experiments?text=of+rosa&whose=all").text
    with read_transaction(dashboard.engine) as connection:
        assert connection.execute(select(experiments.c.id).where(experiments.c.label == "of rosa alone")).all()
