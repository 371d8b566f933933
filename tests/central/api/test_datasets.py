"""``GET /datasets``, filtered and paged, and the catalogue as DCAT-AP."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.central.conftest import new_database
from tests.support.central_api import Federation
from tests.support.issuer import TestIssuer

from fedproc.contract.wire.datasets import DatasetColumn, DatasetColumns, ImagingCounts, ImagingSummary, OfferedDataset

SCHEMAS = "FEDPROC_SCHEMAS"
"""names a folder with dcat-ap-3.0.1-shacl.ttl (SEMICeu, CC BY 4.0), which is not in the repository"""
SHAPES = Path(__file__).parent / "eucaim_shapes.ttl"
LD = {"Accept": "application/ld+json"}
CONCEPT = "https://hyperontology.eucaim.cancerimage.eu/#"
DESCRIBED = {
    "interoperability_level": CONCEPT + "LEVEL",
    "health_categories": ["https://example.org/category/images"],
    "types": [CONCEPT + "TYPE"],
    "condition": CONCEPT + "CONDITION",
    "collection_methods": [CONCEPT + "METHOD"],
    "provenance": ["Collected in routine care."],
}
CATALOGUE = {
    "hdab": {"name": "The body", "email": "body@example.org"},
    "access_url": "https://negotiator.example.org/",
    "concepts": {"modality=CT": CONCEPT + "CT"},
    "every": DESCRIBED,
    "datasets": {"BSC:cohort": {"keywords": ["breast"]}},
}


def _imaging(*modalities: str, persons: int | None = 40) -> ImagingSummary:
    def counts(*values: str) -> ImagingCounts:
        return ImagingCounts(persons=dict.fromkeys(values, 20))

    if persons is None:
        return ImagingSummary(floor=10, persons=None)
    return ImagingSummary(
        floor=10, persons=persons, studies=50, series=90, modality=counts(*modalities), body_part=counts("BREAST"),
        manufacturer=counts("ACME"), sex=counts("F"), age=counts("40-49", "50-59"),
    )  # fmt: skip


def _tell(federation: Federation, host: str, offered: tuple[OfferedDataset, ...], page: DatasetColumns | None) -> None:
    beat = federation.books.hosts.heartbeat(host, (), columns=page).model_copy(update={"datasets": offered})
    federation.books.take((host, federation.books.hosts.seal(host, beat)))


@pytest.fixture
def federation(request: pytest.FixtureRequest, tmp_path: Path, issuer: TestIssuer) -> Iterator[Federation]:
    """One API of the test's own; its parameter are settings."""
    settings = getattr(request, "param", {})
    with Federation(new_database(request, "sqlite", tmp_path), tmp_path, issuer, **settings) as running:
        running.enrol_everyone()
        yield running


@pytest.fixture
def offering(federation: Federation) -> Federation:
    """UB has images and a table, BSC a table and an entry in a catalogue."""
    age = (DatasetColumn(name="age", type="number", unit="a"),)
    images = OfferedDataset(
        id="images", version="sha256:" + "a" * 64, description="Of the /secret/path? No.", size=7,
        title="Breast CT", creators=("A. Roe", "B. Poe"), kinds=("images", "tables"),
    )  # fmt: skip
    cohort = OfferedDataset(id="cohort", version="1", label="Cohort", catalogue="eucaim:b-1")
    page = DatasetColumns(
        dataset="images", version=images.version, page=0, pages=1, columns=age, imaging=_imaging("CT")
    )
    _tell(federation, "FORTH", (), None)
    _tell(federation, "UB", (images, cohort.model_copy(update={"catalogue": None})), page)
    _tell(federation, "BSC", (cohort,), DatasetColumns(dataset="cohort", version="1", page=0, pages=1, columns=age))
    return federation


def _ids(federation: Federation, query: str = "") -> list[str]:
    with federation.user() as client:
        answer = client.get(f"/datasets{query}")
    assert answer.status_code == 200, answer.text
    return [entry["id"] for entry in answer.json()]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["BSC:cohort", "UB:cohort", "UB:images"]),
        ("?host=UB", ["UB:cohort", "UB:images"]),
        ("?modality=ct&body_part=breast", ["UB:images"]),
        ("?modality=MR", []),
        ("?kind=images", ["UB:images"]),
        ("?kind=tables&column=AGE", ["BSC:cohort", "UB:images"]),
        ("?text=secret", ["UB:images"]),
        ("?catalogue=eucaim:b-1", ["BSC:cohort"]),
        ("?persons=40", ["UB:images"]),
        ("?persons=41", []),
        ("?id=UB:images&id=BSC:none", ["UB:images"]),
        ("?available=true&sort=-host", ["UB:images", "UB:cohort", "BSC:cohort"]),
        ("?host=nobody", []),
        ("?column=age&" + "&".join("column=AGE" for _ in range(9)), ["BSC:cohort", "UB:images"]),
        ("?text=cohort" + "+COHORT" * 20 + "+a+b+c+d+e+f+g", []),
        ("?sort=-size&limit=1", ["UB:images"]),
        ("?sort=-size&limit=1&offset=5", []),
    ],
)
def test_datasets_are_filtered(offering: Federation, query: str, found: list[str]) -> None:
    assert _ids(offering, query) == found


def test_pages_are_linked_with_their_filters_and_the_whole_list_is_as_before(offering: Federation) -> None:
    with offering.user() as client:
        first = client.get("/datasets?limit=1&column=age")
        assert [entry["id"] for entry in first.json()] == ["BSC:cohort"]
        assert "modality" in first.headers["dataset-filters"]
        second = client.get(first.links["next"]["url"].partition("://")[2].partition("/")[2].join(["/", ""]))
        assert [entry["id"] for entry in second.json()] == ["UB:images"]
        assert "next" not in second.links
        whole = client.get("/datasets")
        assert "link" not in whole.headers
        assert whole.json()[0] | {"available": True} == {
            "id": "BSC:cohort", "host": "BSC", "version": "1", "label": "Cohort", "description": "", "files": None,
            "size": None, "available": True, "catalogue": "eucaim:b-1",
            "persons": None, "modality": [], "body_part": [], "kinds": None, "title": "", "creators": [],
        }  # fmt: skip
        many = "?" + "&".join(f"modality=m{number}" for number in range(1_100))
        for wrong in ("?limit=0", "?limit=1001", "?cursor=x", "?kind=films", many):
            assert client.get(f"/datasets{wrong}").status_code == 422


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("&".join(f"{name}=v{n}" for n in range(4) for name in ("modality", "body_part", "column")), "12 values"),
        ("kind=images&" + "&".join(f"column=v{n}" for n in range(10)), "11 values"),
        ("text=" + "+".join("abcdefghi"), "9 words"),
        ("sort=-size&text=" + "+".join("abcdefghi"), "9 words"),
    ],
)
def test_more_filters_than_a_database_looks_for_at_once_are_refused(
    offering: Federation, query: str, what: str
) -> None:
    with offering.user() as client:
        answer = client.get(f"/datasets?{query}")
        assert answer.status_code == 422
        assert answer.json()["code"] == "filters.many"
        assert what in answer.json()["detail"]


def test_all_that_fit_are_counted_and_what_can_be_chosen_by_is_told(offering: Federation) -> None:
    with offering.user() as client:
        assert client.get("/datasets?limit=1&count=true").headers["Total-Count"] == "3"
        assert client.get("/datasets?limit=1&count=true&sort=size&offset=9").headers["Total-Count"] == "3"
        (images,) = client.get("/datasets?modality=ct").json()
        assert (images["persons"], images["modality"], images["body_part"]) == (40, ["CT"], ["BREAST"])
        found = client.get("/datasets/filters").json()
    assert found["modality"] == [{"value": "CT", "datasets": 1}]
    assert found["host"] == [{"value": "BSC", "datasets": 1}, {"value": "UB", "datasets": 2}]


def test_revoked_hosts_offer_nothing(offering: Federation) -> None:
    with offering.user("olga", "operator") as client:
        client.post("/hosts/UB/revocation", json={"reason": "gone"})
    assert _ids(offering) == ["BSC:cohort"]
    with offering.user() as client:
        assert client.get("/datasets/UB:images").status_code == 404


# -- DCAT-AP


def _document(federation: Federation, path: str) -> dict[str, Any]:
    with federation.user() as client:
        answer = client.get(path, headers=LD)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/ld+json"
    found: dict[str, Any] = json.loads(answer.text)
    return found


def _violations(document: dict[str, Any], *shapes: Path) -> set[str]:
    """Paths of the properties that are not as the shapes want them."""
    pyshacl, rdflib = pytest.importorskip("pyshacl"), pytest.importorskip("rdflib")
    data, wanted = rdflib.Graph().parse(data=json.dumps(document), format="json-ld"), rdflib.Graph()
    for each in shapes:
        wanted.parse(each, format="turtle")
    _, results, text = pyshacl.validate(data, shacl_graph=wanted, inference="none")
    sh = rdflib.Namespace("http://www.w3.org/ns/shacl#")
    bad = list(results.subjects(sh.resultSeverity, sh.Violation))
    return {str(results.value(each, sh.resultPath)).rpartition("/")[2].rpartition("#")[2] or text for each in bad}


@pytest.mark.parametrize("federation", [{"data_catalogue": CATALOGUE}], indirect=True)
def test_dataset_with_all_that_eucaim_wants_fits_its_shapes_and_dcat_ap(offering: Federation) -> None:
    documents = [_document(offering, "/datasets/UB:images"), _document(offering, "/data/catalogue")]
    assert _violations(documents[0], SHAPES) == set()
    if not (folder := os.environ.get(SCHEMAS)):
        pytest.skip(f"{SCHEMAS} names no folder with dcat-ap-3.0.1-shacl.ttl: DCAT-AP itself is not checked")
    for document in documents:
        assert _violations(document, Path(folder) / "dcat-ap-3.0.1-shacl.ttl") == set()


@pytest.mark.parametrize("federation", [{"data_catalogue": CATALOGUE}], indirect=True)
def test_numbers_are_rounded_and_there_is_no_path(offering: Federation) -> None:
    found = _document(offering, "/datasets/UB:images")
    assert found["healthdcatap:numberOfUniqueIndividuals"]["@value"] == "40"
    assert found["healthdcatap:numberOfRecords"]["@value"] == "50"
    assert (found["healthdcatap:minTypicalAge"]["@value"], found["healthdcatap:maxTypicalAge"]["@value"]) == (
        "40",
        "59",
    )
    assert found["dct:title"]["@value"] == "Breast CT"
    assert [each["foaf:name"]["@value"] for each in found["dct:creator"]] == ["A. Roe", "B. Poe"]
    assert found["eucaim:hasImageModality"] == [{"@id": CONCEPT + "CT"}]
    (part,) = found["eucaim:hasImageBodyPart"]
    assert part == {"@type": "skos:Concept", "skos:prefLabel": {"@language": "en", "@value": "BREAST"}}
    assert found["dcat:distribution"]["dct:rights"]["@id"].endswith("#REMOTE_PROCESSING")
    assert found["dcat:distribution"]["dcat:accessURL"]["@id"] == "https://negotiator.example.org/"
    assert found["dcat:distribution"]["spdx:checksum"]["spdx:checksumValue"]["@value"] == "a" * 64
    assert str(offering.folder) not in json.dumps(found)


def test_what_nobody_has_said_is_absent_and_told_by_the_shapes(offering: Federation) -> None:
    page = DatasetColumns(dataset="few", version="1", page=0, pages=1, columns=(), imaging=_imaging(persons=None))
    _tell(offering, "UB", (OfferedDataset(id="few", version="1"),), page)
    found = _document(offering, "/datasets/UB:few")
    assert not {name for name in found if "numberOf" in name or "hdab" in name or "hasCondition" in name}
    missing = _violations(found, SHAPES)
    assert {"hasCondition", "numberOfUniqueIndividuals", "interoperabilityLevel", "provenance"} <= missing
    assert missing.isdisjoint({"title", "description", "version", "distribution", "publisher", "keyword", "identifier"})


def test_catalogue_has_all_datasets_a_page_at_a_time(offering: Federation) -> None:
    found = _document(offering, "/data/catalogue?limit=2")
    assert [entry["@id"] for entry in found["dcat:dataset"]] == ["eucaim:b-1", "http://centre.test/datasets/UB:cohort"]
    with offering.user() as client:
        assert "cursor=UB%3Acohort" in client.get("/data/catalogue?limit=2").headers["link"]
        assert client.get("/datasets/UB:images").headers["content-type"] == "application/json"
