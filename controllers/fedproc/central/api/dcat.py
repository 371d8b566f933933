"""What hosts offer as EUCAIM's DCAT-AP v2.0 describes datasets (on HealthDCAT-AP and DCAT-AP 3), as JSON-LD.

Numbers are those that the hosts have rounded by their floors; what fewer persons have is not there, and nowhere is a
path. What no host can know of its data (condition, collection method, who is the health data access body) comes from
the centre's settings (``data_catalogue``), and is absent where they do not say it: no placeholder stands in its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from fedproc.central.settings import AgentSettings, CentralSettings, DataCatalogueSettings, DescribedSettings
from fedproc.contract.api.hosts import DatasetDetail
from fedproc.contract.wire.datasets import ImagingSummary

MEDIA_TYPE = "application/ld+json"
EUCAIM = "https://hyperontology.eucaim.cancerimage.eu/#"
CONTEXT = {
    "cv": "http://data.europa.eu/m8g/",
    "dcat": "http://www.w3.org/ns/dcat#",
    "dcatap": "http://data.europa.eu/r5r/",
    "dct": "http://purl.org/dc/terms/",
    "eucaim": EUCAIM,
    "foaf": "http://xmlns.com/foaf/0.1/",
    "healthdcatap": "http://healthdataportal.eu/ns/health#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "spdx": "http://spdx.org/rdf/terms#",
    "vcard": "http://www.w3.org/2006/vcard/ns#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
_THEME = "http://publications.europa.eu/resource/authority/data-theme/HEAL"
_ACCESS = "http://publications.europa.eu/resource/authority/access-right/"
_CONDITIONS = "https://eucaim.github.io/eucaim_dcat_ap/releases/controlled-vocabularies/access-conditions/#"
_VALUES = (
    ("modality", "eucaim:hasImageModality"),
    ("body_part", "eucaim:hasImageBodyPart"),
    ("manufacturer", "eucaim:hasEquipmentManufacturer"),
    ("sex", "eucaim:hasBirthSex"),
)


def answer(document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """As JSON-LD."""
    text = json.dumps(document, ensure_ascii=False, indent=1)
    return Response(text, 200, {"Vary": "Accept", **(headers or {})}, MEDIA_TYPE)


def dataset_document(dataset: DatasetDetail, settings: CentralSettings) -> dict[str, Any]:
    """One dataset."""
    return {"@context": CONTEXT, **_dataset(dataset, settings)}


def catalogue_document(datasets: Iterable[DatasetDetail], settings: CentralSettings) -> dict[str, Any]:
    """A catalogue with these datasets."""
    own = settings.data_catalogue
    return {
        "@context": CONTEXT,
        "@id": f"{settings.public_url}/data/catalogue",
        "@type": "dcat:Catalog",
        "dct:title": _english(own.title),
        "dct:description": _english(own.description),
        "dct:publisher": _agent(own.publisher),
        "dcatap:applicableLegislation": _legislation(own),
        "dcat:dataset": [_dataset(each, settings) for each in datasets],
    }


def _dataset(dataset: DatasetDetail, settings: CentralSettings) -> dict[str, Any]:
    own, here = settings.data_catalogue, f"{settings.public_url}/datasets/{quote(dataset.id, safe=':')}"
    described = own.of(dataset.id)
    found = {
        "@id": dataset.catalogue or here,
        "@type": "dcat:Dataset",
        "dct:identifier": dataset.catalogue or here,
        "dct:title": _english(dataset.title or dataset.label or dataset.id),
        "dct:creator": [{"@type": "foaf:Agent", "foaf:name": _english(name)} for name in dataset.creators],
        "dct:description": _english(dataset.description or f"Dataset {dataset.id}, which its site does not describe."),
        "dcat:version": dataset.version,
        "dcat:theme": {"@id": _THEME, "@type": "skos:Concept", "skos:prefLabel": _english("Health")},
        "dct:accessRights": {"@id": _ACCESS + "NON_PUBLIC", "@type": "dct:RightsStatement"},
        "dcatap:applicableLegislation": _legislation(own),
        "dct:publisher": _agent(own.publisher),
        "dcat:contactPoint": _contact(own.publisher),
        "healthdcatap:hasStructuredData": bool(dataset.columns),
        "dcat:keyword": [_english(word) for word in _keywords(dataset, described)],
        "dcat:distribution": _distribution(dataset, described, own, here),
        **_described(described),
        **(_images(dataset.imaging, own) if dataset.imaging else {}),
    }
    if own.hdab is not None:
        found["healthdcatap:hdab"] = _agent(own.hdab)
    return {name: value for name, value in found.items() if value not in (None, [], ())}


def _described(described: DescribedSettings) -> dict[str, Any]:
    return {
        "eucaim:interoperabilityLevel": _optional(described.interoperability_level),
        "healthdcatap:healthCategory": [_concept(each) for each in described.health_categories],
        "dct:type": [_named(each) for each in described.types],
        "eucaim:hasCondition": _optional(described.condition),
        "eucaim:collectionMethod": [_concept(each) for each in described.collection_methods],
        "dct:provenance": [
            {"@type": "dct:ProvenanceStatement", "dct:description": _english(text)} for text in described.provenance
        ],
    }


def _images(imaging: ImagingSummary, own: DataCatalogueSettings) -> dict[str, Any]:
    """Counts are absent where fewer persons than the floor are there."""
    values = {name: [_value(kind, value, own) for value in getattr(imaging, kind).persons] for kind, name in _VALUES}
    return {
        "healthdcatap:numberOfUniqueIndividuals": _count(imaging.persons),
        "healthdcatap:numberOfRecords": _count(imaging.studies),
        **values,
        **_ages(imaging),
    }


def _ages(imaging: ImagingSummary) -> dict[str, Any]:
    """The ends of the classes that are told, such as 40-49."""
    ends = [part for name in imaging.age.persons for part in name.split("-") if part.isdecimal() and len(part) < 4]
    ages = sorted(map(int, ends))
    if not ages or imaging.age.more:
        return {}
    return {"healthdcatap:minTypicalAge": _count(ages[0]), "healthdcatap:maxTypicalAge": _count(ages[-1])}


def _distribution(
    dataset: DatasetDetail, described: DescribedSettings, own: DataCatalogueSettings, here: str
) -> dict[str, Any]:
    """How it is used: a tool goes to it, after who may has been decided at ``access_url``."""
    algorithm, _, value = dataset.version.partition(":")
    checksum = {
        "@type": "spdx:Checksum",
        "spdx:algorithm": {"@id": "spdx:checksumAlgorithm_sha256", "@type": "spdx:ChecksumAlgorithm"},
        "spdx:checksumValue": {"@type": "xsd:hexBinary", "@value": value},
    }
    found = {
        "@id": f"{here}#distribution",
        "@type": "dcat:Distribution",
        "dcat:accessURL": {"@id": own.access_url or here},
        "dcatap:applicableLegislation": _legislation(own),
        "dct:rights": {"@id": _CONDITIONS + described.rights, "@type": "dct:RightsStatement"},
    }
    return found | ({"spdx:checksum": checksum} if algorithm == "sha256" and value else {})


def _keywords(dataset: DatasetDetail, described: DescribedSettings) -> Sequence[str]:
    """The settings' own; else what the dataset itself tells."""
    if described.keywords:
        return described.keywords
    return list(dict.fromkeys(_words_of(dataset))) or ["cancer"]


def _words_of(dataset: DatasetDetail) -> Iterator[str]:
    if dataset.imaging is not None:
        yield from dataset.imaging.modality.persons
        yield from dataset.imaging.body_part.persons
    if dataset.columns:
        yield "tables"


def _value(kind: str, value: str, own: DataCatalogueSettings) -> dict[str, Any]:
    """A value of DICOM as the ontology's concept, where the settings name it; else as the text that it is."""
    if concept := own.concepts.get(f"{kind}={value}"):
        return _concept(concept)
    return {"@type": "skos:Concept", "skos:prefLabel": _english(value)}


def _agent(agent: AgentSettings) -> dict[str, Any]:
    contact = {"@type": "cv:ContactPoint", **_email_or_page(agent, "cv:email", "cv:contactPage")}
    return {"@type": "foaf:Agent", "foaf:name": _english(agent.name), "cv:contactPoint": contact}


def _email_or_page(agent: AgentSettings, email: str, page: str) -> dict[str, Any]:
    given = {email: agent.email, page: {"@id": agent.page, "@type": "foaf:Document"} if agent.page else None}
    return {name: value for name, value in given.items() if value}


def _contact(agent: AgentSettings) -> dict[str, Any]:
    given = {"vcard:hasEmail": agent.email and f"mailto:{agent.email}", "vcard:hasURL": agent.page}
    return {
        "@type": "vcard:Kind",
        "vcard:fn": agent.name,
        **{name: {"@id": value} for name, value in given.items() if value},
    }


def _legislation(own: DataCatalogueSettings) -> list[dict[str, Any]]:
    return [{"@id": each, "@type": "http://data.europa.eu/eli/ontology#LegalResource"} for each in own.legislation]


def _concept(iri: str) -> dict[str, Any]:
    """By its IRI alone: what it is called, its vocabulary says."""
    return {"@id": iri}


def _named(iri: str) -> dict[str, Any]:
    """With the end of its IRI as its name, where DCAT-AP wants to have one here."""
    end = re.split(r"[#/:]", iri.rstrip("#/:"))[-1]
    return {"@id": iri, "@type": "skos:Concept", "skos:prefLabel": _english(end)}


def _optional(iri: str | None) -> dict[str, Any] | None:
    return None if iri is None else _concept(iri)


def _count(number: int | None) -> dict[str, Any] | None:
    return None if number is None else {"@type": "xsd:nonNegativeInteger", "@value": str(number)}


def _english(text: str) -> dict[str, str]:
    return {"@language": "en", "@value": text}
