"""Datasets are searched by what they are, in whatever number; who has no grant is told so, and where to get one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.central.conftest import new_database
from tests.support.central_api import Federation
from tests.support.issuer import EXCHANGE, TestIssuer
from tests.support.providers import Adapter

from fedproc.central.api.pages import datasets as page_of_datasets
from fedproc.central.api.pages import wizard
from fedproc.contract.wire.datasets import DatasetColumns, ImagingCounts, ImagingSummary, OfferedDataset
from fedproc.demo.polling import free_ports

pytestmark = pytest.mark.server


@contextmanager
def reader(federation: Federation) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=federation.url, follow_redirects=True, timeout=30, trust_env=False) as client:
        client.get("/dashboard/sign-in")
        yield client


def tell(federation: Federation, host: str, *offered: OfferedDataset, images: str = "", persons: int = 40) -> None:
    page = None
    if images:
        counts = ImagingCounts(persons={images: persons})
        told = ImagingSummary(
            floor=10, persons=persons, modality=counts, body_part=ImagingCounts(persons={"BREAST": 20})
        )
        page = DatasetColumns(dataset=offered[0].id, version="1", page=0, pages=1, columns=(), imaging=told)
    beat = federation.books.hosts.heartbeat(host, (), columns=page).model_copy(update={"datasets": offered})
    federation.books.take((host, federation.books.hosts.seal(host, beat)))


def ids(page: httpx.Response) -> list[str]:
    assert page.status_code == 200, page.text
    return re.findall(r'<a href="/dashboard/datasets/[^"]+">([^<]+)</a>', page.text)


@pytest.fixture
def offering(dashboard: Federation) -> Iterator[httpx.Client]:
    """Five datasets of two hosts; two have images."""
    tell(dashboard, "FORTH")
    scans, odd = OfferedDataset(id="scans", version="1", size=9), '"><script>alert(1)</script> & co'
    tell(dashboard, "UB", scans, OfferedDataset(id="odd", version="1", description=odd), images="CT")
    found = [OfferedDataset(id=f"d{number}", version="1", catalogue="eucaim:b-1") for number in range(3)]
    tell(dashboard, "BSC", *found, images="MR", persons=90)
    with reader(dashboard) as client:
        yield client
    dashboard.hear_everyone()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["BSC:d0", "BSC:d1", "BSC:d2", "UB:odd", "UB:scans"]),
        ("modality=CT", ["UB:scans"]),
        ("body_part=BREAST&sort=-persons", ["BSC:d0", "UB:scans"]),
        ("persons=050", ["BSC:d0"]),
        ("kind=tables", []),
        ("catalogue=eucaim:b-1&text=D2", ["BSC:d2"]),
        ("host=UB&sort=-size", ["UB:scans", "UB:odd"]),
        ("page=2", []),
    ],
)
def test_datasets_are_found_by_what_they_are(offering: httpx.Client, query: str, found: list[str]) -> None:
    assert ids(offering.get(f"/dashboard/datasets?{query}")) == found


def test_what_a_host_says_is_text(offering: httpx.Client) -> None:
    assert "<script>alert" not in offering.get("/dashboard/datasets").text


def test_odd_searches_are_a_page_that_says_so(offering: httpx.Client) -> None:
    for query in ("sort=label", "page=0", "persons=-1", "persons=1e9", "kind=films"):
        assert offering.get(f"/dashboard/datasets?{query}").status_code == 422


def test_images_of_a_dataset_are_told_as_its_host_rounds_them(offering: httpx.Client) -> None:
    page = offering.get("/dashboard/datasets/UB:scans").text
    assert "Of about 40 persons" in page
    assert "CT (40)" in page
    assert 'id="standing"' not in page  # it is open to everybody here


def test_parts_of_a_long_list_follow_one_another(offering: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_of_datasets, "_PART", 2)
    seen, path = [], "/dashboard/datasets?sort=-host"
    while path:
        page = offering.get(path)
        seen += ids(page)
        after = re.findall(r'<a href="([^"]+)" rel="next">', page.text)
        path = after[0].replace("&amp;", "&") if after else ""
    assert seen == ["UB:scans", "UB:odd", "BSC:d2", "BSC:d1", "BSC:d0"]


def test_of_many_datasets_the_form_shows_the_chosen_ones_and_leads_to_the_others(
    offering: httpx.Client, dashboard: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wizard, "_MOST_DATASETS", 4)
    empty = offering.get("/dashboard/new?tool=learn").text
    assert "There are 5 datasets: choose yours from their list" in empty
    filled = offering.get("/dashboard/new?tool=learn&dataset=BSC:d1&dataset=../x").text
    assert re.findall(r'name="dataset" value="([^"]+)"( checked)?', filled.partition("step-tool")[2])
    assert "4 more datasets are not shown here" in filled
    assert "BSC:d0" not in filled
    (link,) = re.findall(r'<a href="(/dashboard/datasets\?[^"]+)">Search all', filled)
    search = offering.get(link.replace("&amp;", "&")).text
    assert 'name="dataset" value="BSC:d1" checked' in search
    assert '<input type="hidden" name="tool" value="learn">' in search


@pytest.fixture
def adapter() -> Iterator[Adapter]:
    with Adapter() as running:
        yield running


@pytest.fixture
def guarded(request: pytest.FixtureRequest, tmp_path: Path, adapter: Adapter) -> Iterator[Federation]:
    """A centre that asks the adapter about UB's datasets."""
    asked: dict[str, Any] = {
        "providers": {"eucaim": {"kind": "negotiator", "url": adapter.url, "ask_at": "https://ask.test/access"}},
        "hosts": {"UB": "eucaim"},
    }
    port = free_ports(1)[0]
    own = {"grants": asked, "port": port, "public_url": f"http://127.0.0.1:{port}"}
    with TestIssuer() as issuer:
        issuer.grant_types.append(EXCHANGE)
        with Federation(new_database(request, "sqlite", tmp_path), tmp_path, issuer, **own) as running:
            running.enrol_everyone()
            running.books.beat("UB", tools=({"id": "count", "digest": None},))
            yield running


def test_a_page_says_whether_its_reader_may_use_the_dataset_and_where_to_ask(
    guarded: Federation, adapter: Adapter
) -> None:
    with reader(guarded) as client:
        page = client.get("/dashboard/datasets/UB:cohort").text
        assert "You have no grant to use it." in page
        assert '<a href="https://ask.test/access" rel="noreferrer">https://ask.test/access</a>' in page
        assert "Use it in an experiment" not in page
        row = client.get("/dashboard/datasets").text.partition('value="UB:cohort"')[2].partition("</th>")[0]
        assert ("disabled" in row, "guarded: you have no grant" in row) == (True, True)
        form = client.get("/dashboard/new?tool=count&dataset=UB:cohort").text
        assert '<a href="https://ask.test/access"' in form
        adapter.make_available("UB:cohort")
        page = client.get("/dashboard/datasets/UB:cohort").text
        assert "you have a grant to use it" in page
        row = client.get("/dashboard/datasets").text.partition('value="UB:cohort"')[2].partition("</th>")[0]
        assert ("disabled" in row, "guarded" in row) == (False, False)
        assert "Use it in an experiment" in page


def test_a_page_says_that_it_could_not_be_asked_and_that_it_will_be(guarded: Federation, adapter: Adapter) -> None:
    adapter.status = 503
    with reader(guarded) as client:
        for path in ("/dashboard/datasets/UB:cohort", "/dashboard/new?tool=count&dataset=UB:cohort"):
            page = client.get(path).text
            assert "could not be asked" in page, path
            assert "you may use it could not be asked" in page
            assert '<a href="https://ask.test/access"' in page
