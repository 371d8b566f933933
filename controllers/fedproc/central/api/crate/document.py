"""The description of an experiment as RO-Crate metadata: one list of entities that name each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as installed
from typing import Any
from urllib.parse import quote

from fedproc.central.api.crate import actions
from fedproc.central.api.crate.entities import CENTRE, PROJECT, ROOT, TOOL, Entity, known, local, moment, ref, refs
from fedproc.contract.api.experiments import ExperimentView
from fedproc.contract.api.files import FileView
from fedproc.contract.tool.tool import Tool

RO_CRATE = "https://w3id.org/ro/crate/1.2"
PROFILE = "https://w3id.org/5s-crate/0.4"
METADATA = "ro-crate-metadata.json"
_WORKFLOW_PROFILE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
_LONGEST = 10_000
"""characters of a parameter that stands there itself; of a longer one its sha256"""


@dataclass(frozen=True)
class Facts:
    """What the centre knows of an experiment. ``datasets``: by job, as (HOST:id, version) each."""

    experiment: ExperimentView
    results: Sequence[FileView]
    datasets: Mapping[str, Sequence[tuple[str, str]]]
    sites: Mapping[str, str]
    software: Mapping[str, str]
    """what each host runs, as it said last"""
    manifest: bytes | None
    """the signed manifest of the tool, if the catalogue still has it"""
    centre: str
    """its address"""
    now: datetime
    operator: str
    """the organisation that runs it"""


def crate(facts: Facts) -> dict[str, Any]:
    """The crate of the experiment."""
    listed = list(_entities(facts))
    once = {entity["@id"]: entity for entity in listed}
    return _metadata(list(once.values()))


def tool_crate(facts: Facts) -> dict[str, Any]:
    """The workflow crate of its tool: the signed manifest, which names each file of the tool with its hash."""
    one = facts.experiment
    described = {
        "@id": ROOT,
        "@type": "Dataset",
        "conformsTo": ref(_WORKFLOW_PROFILE),
        "name": f"{one.tool} {one.version}",
        "description": f"The signed manifest of a tool of the federation; its digest is {one.digest}.",
        "datePublished": moment(facts.now),
        "license": "The licence of the tool stands in its manifest.",
        "identifier": one.digest,
    }
    if facts.manifest is None:
        return _metadata([_descriptor(), described, _profile(_WORKFLOW_PROFILE, "Workflow RO-Crate profile", "1.0")])
    manifest = {
        "@id": MANIFEST,
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": f"Signed manifest of {one.tool} {one.version}",
        "encodingFormat": "application/jose",
        "sha256": hashlib.sha256(facts.manifest).hexdigest(),
        "contentSize": str(len(facts.manifest)),
        "version": one.version,
        "programmingLanguage": ref("#manifest"),
    }
    language = {
        "@id": "#manifest",
        "@type": "ComputerLanguage",
        "name": "fedproc tool manifest",
        "version": str(Tool.model_fields["schema_version"].default),
        "url": f"{facts.centre}/tools/{one.tool}",
    }
    whole = {**described, "mainEntity": ref(MANIFEST), "hasPart": refs([MANIFEST])}
    profile = _profile(_WORKFLOW_PROFILE, "Workflow RO-Crate profile", "1.0")
    return _metadata([_descriptor(), whole, profile, manifest, language])


def _profile(iri: str, name: str, number: str) -> Entity:
    return {"@id": iri, "@type": ["CreativeWork", "Profile"], "name": name, "version": number}


MANIFEST = "manifest.jws"


def _metadata(entities: list[Entity]) -> dict[str, Any]:
    return {"@context": f"{RO_CRATE}/context", "@graph": entities}


def _descriptor() -> Entity:
    return {"@id": METADATA, "@type": "CreativeWork", "about": ref(ROOT), "conformsTo": ref(RO_CRATE)}


def _entities(facts: Facts) -> Iterator[Entity]:
    one = facts.experiment
    user = local("user", one.owner)
    by_job: dict[str, list[str]] = {job.id: [] for job in one.jobs}
    for file in facts.results:
        by_job.setdefault(file.job or "", []).append(_place(file))
    data = {job.id: [_dataset_id(facts, *used) for used in facts.datasets.get(job.id, ())] for job in one.jobs}
    inputs = [dataset for each in data.values() for dataset in each]
    parameters = list(_parameters(one))
    results = [_place(file) for file in facts.results]
    done = [
        actions.run(one, user, [*inputs, *(each["@id"] for each in parameters)], results),
        *(actions.job(job, data[job.id], by_job[job.id]) for job in one.jobs),
        *(action for job in one.jobs for action in actions.assessments(job, by_job[job.id])),
        actions.manifests_made(moment(facts.now) or ""),
    ]
    yield _descriptor()
    yield _root(facts, done, [TOOL, *inputs, *results])
    yield from done
    yield from _tool(facts)
    yield from _who(facts, user)
    yield from _sites(facts)
    yield from _data(facts)
    yield from parameters
    yield from (_result(file) for file in facts.results)


def _root(facts: Facts, done: Iterable[Entity], parts: Sequence[str]) -> Entity:
    one = facts.experiment
    label = f" ({one.label})" if one.label else ""
    return {
        "@id": ROOT,
        "@type": "Dataset",
        "conformsTo": ref(PROFILE),
        "name": f"Experiment {one.id}{label}",
        "description": f"A federated analysis with {one.tool} {one.version}: who asked for it and why, which datasets "
        "it used where, what each site decided, and what the sites released.",
        "identifier": one.id,
        "datePublished": moment(facts.now),
        "dateCreated": moment(one.created),
        "license": ref("#conditions"),
        "publisher": ref(CENTRE),
        "sourceOrganization": ref(PROJECT),
        "mainEntity": ref(TOOL),
        "hasPart": refs(parts),
        "mentions": refs(action["@id"] for action in done),
    }  # fmt: skip


def _tool(facts: Facts) -> Iterator[Entity]:
    one = facts.experiment
    yield {
        "@id": TOOL,
        "@type": "Dataset",
        "conformsTo": ref(_WORKFLOW_PROFILE),
        "name": f"{one.tool} {one.version}",
        "version": one.version,
        "identifier": one.digest,
    }
    yield _profile(PROFILE, "Five Safes RO-Crate profile", "0.4")


def _who(facts: Facts, user: str) -> Iterator[Entity]:
    one, whose = facts.experiment, _whose(facts.experiment, "purpose")
    yield {
        "@id": user,
        "@type": "Person",
        "name": one.owner_name or one.owner,
        "identifier": one.owner,
        "memberOf": ref(PROJECT),
    }
    yield {
        "@id": PROJECT,
        "@type": ["Organization", "Project"],
        "name": one.project or "No project was named",
        **known(identifier=ref("#permit") if one.permit else None, description=_whose(one, "project")),
    }
    if one.permit:
        permit = {"@id": "#permit", "@type": "PropertyValue", "name": "permit", "value": one.permit}
        yield {**permit, **known(description=_whose(one, "permit"))}
    yield {"@id": CENTRE, "@type": "Organization", "name": facts.operator, "url": facts.centre}
    yield {
        "@id": "#api",
        "@type": "SoftwareApplication",
        "name": "fedproc, the API of the centre",
        "version": installed("fedproc"),
        "url": facts.centre,
        "provider": ref(CENTRE),
    }
    yield {
        "@id": "#conditions",
        "@type": "CreativeWork",
        "name": "Conditions of access",
        "description": "Results are for the purpose and under the permit that are named here, and under the conditions "
        "of whoever gave access to the datasets." + (f" The purpose: {whose}." if whose else ""),
    }
    yield {"@id": actions.SHA512, "@type": "DefinedTerm", "name": "sha-512 algorithm"}


def _whose(one: ExperimentView, term: str) -> str | None:
    """Whose word it is; nothing where there is none."""
    if not getattr(one, term):
        return None
    if one.told_by is None:
        return "the release that made this experiment did not note whose word it is"
    provider = one.told_by.get(term)
    return f"as the provider {provider} granted it" if provider else "as the user stated it; no grant says it"


def _sites(facts: Facts) -> Iterator[Entity]:
    for host in dict.fromkeys(job.host for job in facts.experiment.jobs):
        site = facts.sites.get(host) or ""
        yield {
            "@id": local("site", host),
            "@type": "Organization",
            "name": f"{host}, {site}" if site else host,
            "identifier": host,
        }
        yield {
            "@id": local("policy", host),
            "@type": "SoftwareApplication",
            "name": f"fedproc, the orchestrator of {host}",
            "version": facts.software.get(host, "not told"),
            "url": f"{facts.centre}/hosts/{host}",
            "provider": ref(local("site", host)),
        }
        yield {
            "@id": local("rules", host),
            "@type": "CreativeWork",
            "name": f"The policy of {host}, with its rules of disclosure control",
            "author": ref(local("site", host)),
        }


def _dataset_id(facts: Facts, dataset: str, version: str) -> str:
    return f"{facts.centre}/datasets/{quote(dataset, safe=':')}#{quote(version, safe='')}"


def _data(facts: Facts) -> Iterator[Entity]:
    """Datasets that its jobs used: they are at their sites, and no part of the crate."""
    for used in facts.datasets.values():
        for dataset, version in used:
            yield {
                "@id": _dataset_id(facts, dataset, version),
                "@type": "Dataset",
                "name": f"Dataset {dataset}",
                "identifier": dataset,
                **known(version=version),
            }


def _parameters(one: ExperimentView) -> Iterator[Entity]:
    hosts = [(f"{host}.{name}", value) for host, own in one.host_parameters.items() for name, value in own.items()]
    for name, value in [*one.parameters.items(), *hosts]:
        text = json.dumps(value, ensure_ascii=False)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        short = text if len(text) <= _LONGEST else f"sha256:{digest}"
        yield {"@id": local("parameter", name), "@type": "PropertyValue", "name": name, "value": short}


def _place(file: FileView) -> str:
    return file.content or file.uri


def _result(file: FileView) -> Entity:
    """A released file: its bytes stay behind the API, for its user alone."""
    return {
        "@id": _place(file),
        "@type": "File",
        "name": f"{file.host}/{file.path}",
        "description": f"output {file.output} of task {file.task} at {file.host}",
        "encodingFormat": file.media_type,
        "contentSize": str(file.size),
        "dateCreated": moment(file.created),
        "creator": ref(local("site", file.host or "")),
        **known(alternateName=file.plain_sha256 and f"encrypted by Crypt4GH; sha256 before: {file.plain_sha256}"),
        **known(sha256=file.sha256, keywords=file.disclosure.value if file.disclosure else None),
    }
