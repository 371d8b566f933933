"""Which of a host's executors takes a task, and why; what no executor runs is refused with the reasons of all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs
from tests.site.status.test_host_check import settings_in

from fedproc.common.errors import InvalidInputError, SystemFaultError
from fedproc.contract.tool.task import Task
from fedproc.site.settings import load
from fedproc.site.tools import choosing as module
from fedproc.site.tools.cache import Runtime, Runtimes
from fedproc.site.tools.choosing import TaskRuntimes, make_runtimes

IMAGE = "store.example.org/a@sha256:" + "0" * 64


def task(**more: Any) -> Task:
    runtime = more.pop("runtime", {"requirements": "requirements.lock"})
    return Task.model_validate(
        {"name": "fit", "placement": "worker", "command": ["x"], "runtime": runtime, "description": "x", **more}
    )


def kind(needs: str) -> Runtimes:
    async def ready(_installed: Any, _task: Task) -> Runtime:
        return Runtime(f"of {needs}", "python", needs)

    def lacks(asked: Task) -> str:
        return "" if getattr(asked.runtime, needs) else f"has no '{needs}'"

    return cast(Runtimes, SimpleNamespace(kind=needs, lacks=lacks, ready=ready))


OWN, ENGINE = (kind("requirements"),), (kind("image"),)
CLUSTER = (
    'executor = "kubernetes"\n[kubernetes.registries]\n"store.example.org" = "mirror.local/eucaim"\n[kubernetes]\n'
)
GPU = {"resources": {"gpu": {"count": 1}}}
PORT = {"ports": [{"name": "api", "port": 7000}]}


@pytest.mark.parametrize(
    ("executors", "asked", "unfit", "chosen", "reason"),
    [
        (("sandbox", "slurm"), {}, {}, "sandbox", "the first of the site's executors"),
        (("slurm", "sandbox"), {}, {}, "slurm", "the first"),
        (("slurm", "sandbox"), GPU, {}, "sandbox", "slurm gives jobs no GPU"),
        (("slurm", "sandbox"), PORT, {}, "sandbox", "slurm connects the task on one machine alone"),
        (("slurm",), PORT, {}, "slurm", "the first"),
        (("slurm", "sandbox"), PORT, {"sandbox": "no runner"}, "slurm", "the first"),
        (("sandbox", "slurm"), {}, {"sandbox": "no runner"}, "slurm", "sandbox no runner"),
        (("sandbox", "slurm"), {}, {"sandbox": "x", "slurm": "y"}, "sandbox", "the first"),
        (("sandbox", "podman"), {"runtime": {"image": IMAGE}}, {}, "podman", "sandbox cannot: the task has no 'requ"),
        (("podman", "sandbox"), {"runtime": {"image": IMAGE, "requirements": "r"}}, {}, "podman", "the first"),
    ],
)
def test_first_that_can_takes_jobs_and_suits_is_chosen(
    executors: tuple[str, ...], asked: dict[str, Any], unfit: dict[str, str], chosen: str, reason: str
) -> None:
    runtimes = TaskRuntimes({name: ENGINE if name == "podman" else OWN for name in executors})
    runtimes.unfit = unfit
    choice = runtimes.choose(task(**asked))
    assert choice.executor == chosen
    assert reason in choice.reason


@pytest.mark.parametrize("executor", ["sandbox", "slurm"])
def test_site_says_what_a_task_that_has_both_runs_in(tmp_path: Path, executor: str) -> None:
    for more, first in (("", "environments"), ("prefer_images = true\n", "unpacked_images")):
        made = make_runtimes(load(settings_in(tmp_path, f'executor = "{executor}"\n[sandbox]\n{more}')))
        assert made.kinds[0].kind == first


@pytest.mark.parametrize(("asked", "says"), [(GPU, "gives jobs no GPU"), (PORT, "kubernetes.node")])
def test_cluster_takes_what_the_settings_say_that_it_can(tmp_path: Path, asked: dict[str, Any], says: str) -> None:
    image = task(runtime={"image": IMAGE}, **asked)
    for more, lacks in (("", says), ('gpu_resource = "nvidia.com/gpu"\nnode = "n1"\n', "")):
        path = settings_in(tmp_path, f"{CLUSTER}{more}")
        found = make_runtimes(load(path)).lacks("kubernetes", image)
        assert (lacks in found) if lacks else found == ""


async def test_nodes_pull_images_from_where_the_settings_say(tmp_path: Path) -> None:
    settings = load(settings_in(tmp_path, CLUSTER))
    runtime = await make_runtimes(settings).ready(cast(Any, None), task(runtime={"image": IMAGE}))
    assert runtime.reference == IMAGE.replace("store.example.org", "mirror.local/eucaim")
    other = task(runtime={"image": IMAGE.replace("store", "other")})
    with pytest.raises(SystemFaultError, match=r"kubernetes\.registries"):
        await make_runtimes(settings).ready(cast(Any, None), other)
    with pytest.raises(SystemFaultError, match="has no 'image'"):
        await make_runtimes(settings).ready(cast(Any, None), task())


async def test_task_that_no_executor_runs_is_refused_with_all_reasons() -> None:
    runtimes = TaskRuntimes({"slurm": OWN, "podman": ENGINE})
    with pytest.raises(SystemFaultError) as refused:
        await runtimes.ready(cast(Any, None), task(runtime={"dockerfile": "Dockerfile"}))
    assert refused.value.code == "system_fault.runtime"
    assert (
        "slurm cannot: the task has no 'requirements'; podman cannot: the task has no 'image'" in refused.value.message
    )


async def test_job_waits_while_the_one_that_can_run_it_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AGAIN_SECONDS", 0.0)
    runtimes = TaskRuntimes({"sandbox": OWN, "podman": ENGINE})
    runtimes.unfit = {"podman": "its engine is away"}
    with capture_logs() as logs:
        waiting = asyncio.create_task(runtimes.ready(cast(Any, None), task(runtime={"image": IMAGE})))
        while not logs:
            await asyncio.sleep(0)
        assert not waiting.done()
        runtimes.unfit = {}
        assert (await waiting).executor == "podman"
    assert logs[0]["reason"] == "its engine is away"
    assert (logs[-1]["event"], logs[-1]["executor"]) == ("executor.chosen", "podman")


async def test_job_says_what_it_waits_for_and_the_log_once_for_each_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    runtimes = TaskRuntimes({"sandbox": OWN, "podman": ENGINE})
    reasons = ["its engine is away", "its engine is away", "no disk", "no disk", "its engine is away", None]

    async def later(_seconds: float) -> None:
        now = reasons.pop(0)
        runtimes.unfit = {} if now is None else {"podman": now}

    monkeypatch.setattr(module.asyncio, "sleep", later)
    await later(0)
    said: list[str | None] = []
    with capture_logs() as logs:
        assert await runtimes.executor_for(task(runtime={"image": IMAGE}), said.append) == "podman"
    away, full = ("executor podman of this host: " + each for each in ("its engine is away", "no disk"))
    assert said == [away, full, away, None]
    assert [each["event"] for each in logs] == ["executor.awaited"] * 3 + ["executor.chosen"]


async def test_job_that_was_given_to_an_executor_waits_for_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    runtimes = TaskRuntimes({"sandbox": OWN, "slurm": OWN})
    runtimes.unfit = {"slurm": "its controller is away"}

    async def later(_seconds: float) -> None:
        runtimes.unfit = {}

    monkeypatch.setattr(module.asyncio, "sleep", later)
    assert await runtimes.executor_for(task(), stays_at="slurm") == "slurm"


async def test_job_that_has_its_executor_stays_there() -> None:
    runtimes = TaskRuntimes({"sandbox": OWN, "slurm": OWN})
    runtimes.unfit = {"slurm": "its controller is away"}
    assert (await runtimes.ready(cast(Any, None), task(), "slurm")).executor == "slurm"


async def test_job_of_an_executor_that_settings_name_no_more_is_not_begun_at_another_one() -> None:
    """It may still run there."""
    runtimes = TaskRuntimes({"sandbox": OWN})
    for begun in (runtimes.ready(cast(Any, None), task(), "docker"), runtimes.executor_for(task(), stays_at="docker")):
        with pytest.raises(SystemFaultError, match="executor 'docker', which this host's settings do not name") as gone:
            await begun
        assert gone.value.code == "system_fault.executor_gone"


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("", ("sandbox",)),
        ('executor = "slurm"', ("slurm",)),
        ('executor = ["sandbox", "slurm", "sandbox"]', ("sandbox", "slurm")),
    ],
)
def test_settings_name_one_or_several(tmp_path: Path, line: str, names: tuple[str, ...]) -> None:
    assert load(settings_in(tmp_path, line)).executors == names


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("executor = []", "name one executor"),
        ('executor = "dokcer"', "'sandbox', 'docker', 'podman', 'apptainer', 'slurm' or 'kubernetes'$"),
        ('executor = ["docker", "podman"]', "name one of the two engines"),
    ],
)
def test_settings_that_name_none_are_refused(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        load(settings_in(tmp_path, line))


def test_what_two_executors_share_is_kept_once(tmp_path: Path) -> None:
    made = make_runtimes(load(settings_in(tmp_path, 'executor = ["sandbox", "slurm"]')))
    assert [one.kind for one in made.kinds] == ["environments", "unpacked_images"]
