"""A federation whose hosts run jobs in a Slurm cluster, and in an image without any engine.

From the researcher's order through API, broker, orchestrator and executor to released results.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import tomli_w
import yaml
from tests.support.executors import KEPT_IMAGE
from tests.support.needs import needs
from tests.support.oci_images import file, image_of, layer, link
from tests.support.running import ROOT, Running, federation
from tests.support.slurm import USER as SLURM_USER
from tests.support.slurm import SlurmCluster, needs_slurm

from fedproc.catalog.base_image import make_base_tar
from fedproc.catalog.oci import Blobs, Image
from fedproc.client.results import fetch_results
from fedproc.common.toml_settings import load_toml
from fedproc.demo.polling import wait_until
from fedproc.site.settings import SiteSettings

pytestmark = [pytest.mark.needs_federation, needs_slurm, pytest.mark.timeout(900)]

STORE = "store.example.org"
EXECUTORS = {"BSC": ["slurm", "sandbox"], "FORTH": ["sandbox"]}


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder whose parents anybody may pass, as the engine's user and the cluster's have to."""
    folder = Path(tempfile.mkdtemp(prefix="fedproc-executors-"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(["/bin/rm", "-rf", str(folder)], check=True)


@pytest.fixture(scope="module")
@needs("needs_federation")
def running(place: Path) -> Iterator[Running]:
    """BSC has a cluster, and the sandbox; FORTH nothing but the sandbox and the store."""
    image, blobs = _image(place)
    with ExitStack() as stack:
        cluster = SlurmCluster(place)
        cluster.start()
        stack.callback(cluster.stop)
        os.environ["SLURM_CONF"] = str(cluster.configuration)
        stack.callback(os.environ.pop, "SLURM_CONF")
        made = stack.enter_context(federation(place / "federation", _catalogue(place, image)))
        slurm = {"user": SLURM_USER, "partition": "main", "python": str(cluster.program())}
        _change(made, "BSC", executor=["slurm", "sandbox"], slurm=slurm)
        _change(made, "FORTH", store={"name": STORE, "url": "http://127.0.0.1:9"})
        _fetched(made, image, blobs)
        for host, names in EXECUTORS.items():
            wait_until(partial(_takes_jobs_by, made, host, names), 180, f"{host} takes no jobs by {names}")
        yield made


def _takes_jobs_by(running: Running, host: str, names: list[str]) -> bool:
    return running.accepting(host) and running.researcher.host(host).executors == names


def _image(place: Path) -> tuple[Image, Blobs]:
    """The base image, and on it an environment as tools' Dockerfiles make one."""
    blobs = Blobs(place / "blobs")
    python = link("fedproc/environment/bin/python", "/usr/bin/python3")
    layers = [make_base_tar(KEPT_IMAGE, print).read_bytes(), layer(python, file("etc/of-the-image", b"here\n"))]
    return image_of(blobs, layers, config={"Env": ["LANG=C.UTF-8"]}), blobs


def _catalogue(place: Path, image: Image) -> Path:
    """The acceptance tool once more, as one that is an image and nothing else."""
    tool = place / "catalogue" / "acceptance_in_image"
    shutil.copytree(ROOT / "tool_catalog" / "host_acceptance", tool, ignore=shutil.ignore_patterns("test*"))
    described = yaml.safe_load((tool / "tool.yaml").read_text())
    described["id"] = "acceptance-in-image"
    for task in described["tasks"]:
        task["runtime"] = {"image": f"{STORE}/tools/base@{image.digest}"}
    (tool / "tool.yaml").write_text(yaml.safe_dump(described))
    return place / "catalogue"


def _change(running: Running, host: str, **changes: Any) -> None:
    """Give a host other settings, as its operator does, and a policy that takes what its executor cannot enforce."""
    settings, policy = running.folder / f"host-{host}.toml", running.folder / f"policy-{host}.toml"
    with running.without(f"orchestrator-{host}"):
        kept = load_toml(settings, SiteSettings).model_dump(mode="json", exclude_unset=True, exclude_none=True)
        settings.write_text(tomli_w.dumps({**kept, **changes}))
        policy.write_text('unenforced_limits = ["cpus", "memory", "pids"]\n' + policy.read_text())


def _fetched(running: Running, image: Image, blobs: Blobs) -> None:
    """FORTH has fetched the image from the store, which is not here."""
    images = running.folder / "hosts" / "FORTH" / "images"
    for blob in image.blobs:
        shutil.copyfile(blobs.path(blob.digest), Path(_made(images / "blobs"), blobs.path(blob.digest).name))
    Blobs(images / "manifests").add(image.content)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _ended(running: Running, experiment: Any) -> None:
    events = running.end(experiment)
    reasons = [f"{event.task}@{event.host} {event.state} {event.reason}" for event in events if event.reason]
    assert events[-1].state == "succeeded", (reasons, _words(running))


def _words(running: Running) -> list[str]:
    return [(running.folder / "log" / f"orchestrator-{host}.log").read_text()[-1500:] for host in EXECUTORS]


@pytest.mark.parametrize(("host", "tool"), [("BSC", "host-acceptance"),
                                            ("FORTH", "acceptance-in-image")])  # fmt: skip
def test_job_finds_from_inside_that_all_is_refused(running: Running, tmp_path: Path, host: str, tool: str) -> None:
    places = [running.researcher.url.removeprefix("http://"), "1.1.1.1:53", "127.0.0.1:22"]
    experiment = running.start(tool, hosts=[host], probe_addresses=places)
    _ended(running, experiment)
    (job,) = running.researcher.report(experiment.id).jobs
    assert job.executor == EXECUTORS[host][0]
    fetch_results(running.researcher, experiment.id, tmp_path)
    report = json.loads((tmp_path / host / "report.json").read_bytes())
    assert [finding for finding in report["findings"] if not finding["ok"]] == []
    assert len(report["findings"]) > 30
    wait_until(lambda: running.leftovers(host) == [], 60, f"{host} keeps {running.leftovers(host)}")


def test_host_shows_each_executor_and_counts_the_unpacked_image(running: Running) -> None:
    shown = _asked(running, "BSC", "/executors")
    assert [(one["name"], one["takes_jobs"]) for one in shown] == [("slurm", True), ("sandbox", True)]
    (images,) = [kind for kind in _asked(running, "FORTH", "/storage") if kind["kind"] == "unpacked_images"]
    assert images["count"] == 1
    assert images["size"] > 100_000_000


def _asked(running: Running, host: str, path: str) -> list[dict[str, Any]]:
    transport = httpx.HTTPTransport(uds=str(running.folder / "hosts" / host / "site.sock"))
    with httpx.Client(transport=transport, base_url="http://site", timeout=60) as http:
        return list(http.get(path).json()["result"])


def test_user_of_the_cluster_is_an_ordinary_one() -> None:
    assert SLURM_USER > 0
