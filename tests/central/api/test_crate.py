"""The record of an experiment as a Five Safes RO-Crate: what is in it, what is not, and that it fits the profile."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.central_api import Federation

from fedproc.central.api.crate.bag import zipped
from fedproc.central.api.crate.document import Facts
from fedproc.contract.api.experiments import ExperimentView
from fedproc.contract.api.files import FileView
from fedproc.contract.times import now
from fedproc.contract.wire.release import PARTLY_CODE, PARTLY_RELEASED, REFUSED, UNDER_REVIEW, WITHHELD, ReleaseStage

pytestmark = pytest.mark.server

SHAPES = Path(__file__).parent / "five_safes_shapes.ttl"
CONTEXT = {
    "@base": "http://crate.test/",
    "@vocab": "http://schema.org/",
    "File": "http://schema.org/MediaObject",
    "conformsTo": {"@id": "http://purl.org/dc/terms/conformsTo", "@type": "@id"},
}
"""in the place of RO-Crate's own, which is fetched from w3id.org: the same for what the shapes look at"""
KEPT = "a" * 64
S = "http://schema.org/"


def bag(client: httpx.Client, experiment: str) -> dict[str, bytes]:
    """Paths within the bag, with their bytes; the whole is looked at as a reader would."""
    answer = client.get(f"/experiments/{experiment}/crate")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    assert {name.partition("/")[0] for name in archive.namelist()} == {experiment}
    files = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    for listing in ("manifest-sha512.txt", "tagmanifest-sha512.txt"):
        for line in files[listing].decode().splitlines():
            digest, name = line.split("  ")
            assert hashlib.sha512(files[name]).hexdigest() == digest
    listed = {line.split("  ")[1] for line in files["manifest-sha512.txt"].decode().splitlines()}
    assert listed == {name for name in files if name.startswith("data/")}
    return files


def graph(client: httpx.Client, experiment: str) -> dict[str, dict[str, Any]]:
    document = json.loads(bag(client, experiment)["data/ro-crate-metadata.json"])
    assert violations(document) == []
    assert len({entity["@id"] for entity in document["@graph"]}) == len(document["@graph"])
    return {entity["@id"]: entity for entity in document["@graph"]}


def violations(document: dict[str, Any]) -> list[str]:
    import pyshacl  # takes a second to load
    import rdflib

    data = rdflib.Graph().parse(data=json.dumps({**document, "@context": CONTEXT}), format="json-ld")
    assert len(data) > 20
    wanted = rdflib.Graph().parse(str(SHAPES), format="turtle")
    fits, _, text = pyshacl.validate(data, shacl_graph=wanted, inference="none")
    return [] if fits else [text]


def checks(found: dict[str, dict[str, Any]], kind: str = "DisclosureCheck") -> dict[str, tuple[str, list[str]]]:
    """By host: the status of that action, and which files it names."""
    told = {}
    for entity in found.values():
        if entity.get("additionalType") == {"@id": f"https://w3id.org/shp#{kind}"}:
            host = (
                entity["name"].partition(" at ")[2].partition(":")[0] or entity["name"].split(" of ")[-1].split(":")[0]
            )
            status = entity["actionStatus"].removeprefix(S).removesuffix("ActionStatus")
            told[host] = (status, [each["@id"] for each in entity["object"] if each["@id"].startswith("http")])
    return told


def run(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (one,) = [entity for entity in found.values() if entity["@type"] == "CreateAction"]
    return one


def files_in(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {entity["name"]: entity for entity in found.values() if entity["@type"] == "File"}


def test_record_of_an_ended_experiment_has_all_and_fits_the_profile(federation: Federation, rosa: httpx.Client) -> None:
    books = federation.books
    view = federation.start(rosa, project="breast-2026", permit="permit 7", purpose="which age", label='a "label" — ü')
    books.dispatch()
    for host in ("UB", "BSC"):
        job = books.job_on(view["id"], host)
        for state in ("accepted", "materialising", "prepared", "running", "collecting"):
            books.report(job.id, state, times={"materialising": now(), "running": now(), state: now()})
        federation.upload_output(job, "counts", "counts.json", host.encode())
    ub, bsc = books.job_on(view["id"], "UB"), books.job_on(view["id"], "BSC")
    times = {"materialising": now(), "running": now(), "succeeded": now()}
    stage = ReleaseStage(stage=PARTLY_RELEASED, since=now(), decided=now())
    books.report(ub.id, "succeeded", code=PARTLY_CODE, release=stage, times=times)
    books.report(bsc.id, "succeeded", times=times)
    books.dispatch()
    total = books.job_on(view["id"], "EUCAIM")
    federation.upload_output(total, "total", "total.json", b"2")
    books.report(total.id, "succeeded", times=times)

    found = graph(rosa, view["id"])
    results = files_in(found)
    assert set(results) == {"UB/counts.json", "BSC/counts.json", "EUCAIM/total.json"}
    assert results["UB/counts.json"]["sha256"] == hashlib.sha256(b"UB").hexdigest()
    assert results["UB/counts.json"]["contentSize"] == "2"
    told = checks(found)
    assert told["UB"] == ("Completed", [results["UB/counts.json"]["@id"]])
    assert told["BSC"] == ("Completed", [results["BSC/counts.json"]["@id"]])
    assert found[found[_check_of(found, ub.id)]["agent"]["@id"]]["@type"] == "Organization"
    assert found[found[_check_of(found, bsc.id)]["agent"]["@id"]]["@type"] == "SoftwareApplication"
    assert "keeps the rest" in found[_check_of(found, ub.id)]["description"]
    assert {status for status, _ in checks(found, "SignOff").values()} == {"Completed"}
    one = run(found)
    assert one["actionStatus"] == f"{S}CompletedActionStatus"
    assert len(one["result"]) == 3
    assert (found["#project"]["name"], found["#permit"]["value"]) == ("breast-2026", "permit 7")
    assert {found[name]["description"] for name in ("#project", "#permit")} == {
        "as the user stated it; no grant says it"
    }
    assert one["description"] == "which age"
    assert found[one["agent"]["@id"]]["identifier"] == "rosa"
    assert found["tool/"]["identifier"] == view["digest"]
    data = [
        entity for entity in found.values() if entity["@type"] == "Dataset" and entity["name"].startswith("Dataset")
    ]
    assert {(entity["identifier"], entity["version"]) for entity in data} == {("UB:cohort", "1"), ("BSC:cohort", "1")}
    assert found["#parameter-column"]["value"] == '"age"'
    assert found["#policy-UB"]["version"] == "0.1.0"


def _check_of(found: dict[str, dict[str, Any]], job: str) -> str:
    return next(key for key in found if key.startswith("#disclosurecheck-") and key.endswith(job))


def test_tools_own_crate_holds_the_signed_manifest(federation: Federation, rosa: httpx.Client) -> None:
    files = bag(rosa, federation.start(rosa)["id"])
    entities = {e["@id"]: e for e in json.loads(files["data/tool/ro-crate-metadata.json"])["@graph"]}
    manifest = entities[entities["./"]["mainEntity"]["@id"]]
    assert manifest["sha256"] == hashlib.sha256(files["data/tool/manifest.jws"]).hexdigest()
    assert "ComputationalWorkflow" in manifest["@type"]
    assert files["bag-info.txt"].decode().startswith("External-Identifier: urn:uuid:")
    assert rosa.get(f"/experiments/{entities['./']['identifier']}/crate").status_code == 404


def test_identifier_is_the_same_for_each_export(federation: Federation, rosa: httpx.Client) -> None:
    one = federation.start(rosa)["id"]
    first, again = (bag(rosa, one)["bag-info.txt"].splitlines()[0] for _ in range(2))
    assert first == again
    assert bag(rosa, federation.start(rosa)["id"])["bag-info.txt"].splitlines()[0] != first


def test_phases_that_were_not_reached_are_not_claimed(federation: Federation, rosa: httpx.Client) -> None:
    books = federation.books
    view = federation.start(rosa)
    found = graph(rosa, view["id"])
    assert run(found)["actionStatus"] == f"{S}PotentialActionStatus"
    assert "startTime" not in run(found)
    assert checks(found, "SignOff") == {}
    assert {status for status, _ in checks(found).values()} == {"Potential"}
    assert files_in(found) == {}

    books.dispatch()
    ub = books.job_on(view["id"], "UB")
    begun = {"materialising": now(), "running": now()}
    for state in ("accepted", "materialising", "prepared", "running", "collecting"):
        books.report(ub.id, state, times={**begun, state: now()})
    until = now() + timedelta(days=7)
    books.report(
        ub.id, "awaiting_release", release=ReleaseStage(stage=UNDER_REVIEW, since=now(), until=until), times=begun
    )
    found = graph(rosa, view["id"])
    assert run(found)["actionStatus"] == f"{S}ActiveActionStatus"
    waits = found[_check_of(found, ub.id)]
    assert waits["actionStatus"] == f"{S}PotentialActionStatus"
    assert waits["startTime"] == until.isoformat(timespec="seconds")
    assert "endTime" not in waits


@pytest.mark.parametrize("stage", [REFUSED, WITHHELD])
def test_what_a_site_keeps_is_nowhere(federation: Federation, rosa: httpx.Client, stage: str) -> None:
    books = federation.books
    view = federation.start(rosa)
    books.dispatch()
    ub, bsc = books.job_on(view["id"], "UB"), books.job_on(view["id"], "BSC")
    begun = {"materialising": now(), "running": now()}
    for state in ("accepted", "materialising", "prepared", "running", "collecting"):
        books.report(ub.id, state, times=begun)
    with federation.host("UB") as host:  # announced, and never sent
        values = {"job": ub.id, "output": "counts", "path": "counts.json", "size": 5, "sha256": KEPT}
        assert host.post("/uploads", json=values).status_code == 201
    release = ReleaseStage(stage=stage, since=now(), decided=now())
    books.report(ub.id, "refused", code="release.refused", release=release, times={**begun, "refused": now()})
    books.report(bsc.id, "refused", code="policy.tool_unknown", times={"refused": now()})
    found = graph(rosa, view["id"])
    assert KEPT not in json.dumps(found)
    assert files_in(found) == {}
    assert checks(found)["UB"] == ("Failed", [])
    assert "BSC" not in checks(found)
    assert checks(found, "SignOff") == {"UB": ("Completed", []), "BSC": ("Failed", [])}
    assert run(found)["actionStatus"] == f"{S}FailedActionStatus"
    assert "result" not in run(found)


class Counted(list[FileView]):
    """Files, and how often all of them were looked through."""

    passes = 0

    def __iter__(self) -> Iterator[FileView]:
        self.passes += 1
        return super().__iter__()


def test_results_are_looked_through_a_few_times_however_many_jobs_there_are(
    federation: Federation, rosa: httpx.Client
) -> None:
    """Once for each job made it a minute for a thousand jobs of a hundred outputs."""
    books = federation.books
    view = federation.start(rosa)
    books.dispatch()
    job = books.job_on(view["id"], "UB")
    books.report(job.id, "running", times={"running": now()})
    federation.upload_output(job, "counts", "counts.json", b"1")
    experiment = ExperimentView.model_validate(rosa.get(f"/experiments/{view['id']}").json())
    (file,) = map(FileView.model_validate, rosa.get(f"/experiments/{view['id']}/results").json())
    one = experiment.jobs[0]
    jobs = [one.model_copy(update={"id": f"j-{number}"}) for number in range(300)]
    results = Counted(
        file.model_copy(update={"job": each.id, "uri": f"{file.uri}-{each.id}-{place}", "content": None})
        for each in jobs
        for place in range(3)
    )
    facts = Facts(
        experiment=experiment.model_copy(update={"jobs": jobs}), results=results, datasets={}, sites={}, software={},
        manifest=b"signed", centre="https://centre", now=now(), operator="EUCAIM",
    )  # fmt: skip
    with zipped(facts) as made:
        first = made.read()
    archive = zipfile.ZipFile(io.BytesIO(first))
    entities = json.loads(archive.read(f"{experiment.id}/data/ro-crate-metadata.json"))["@graph"]
    assert len([entity for entity in entities if entity["@type"] == "File"]) == 900
    named = {entity["@id"]: entity for entity in entities}
    assert [len(named[f"#job-{each.id}"]["result"]) for each in jobs] == [3] * 300
    assert results.passes < 10
    with zipped(facts) as again:
        assert again.read() == first


def test_odd_words_and_long_parameters_stay_within_it(federation: Federation, rosa: httpx.Client) -> None:
    column = 'é\u2028"</script>' + "x" * 20_000
    view = federation.start(rosa, parameters={"column": column}, project="../../etc #x", purpose="]}\\")
    files = bag(rosa, view["id"])
    found = graph(rosa, view["id"])
    assert found["#parameter-column"]["value"].startswith("sha256:")
    assert found["#project"]["name"] == "../../etc #x"
    assert len(files["data/ro-crate-metadata.json"]) < 40_000
    assert not [name for name in files if ".." in name]
