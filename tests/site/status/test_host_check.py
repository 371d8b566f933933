"""What a running orchestrator makes of the host check: what it offers, when it holds, what it tells the centre."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from fedproc.common import tasks
from fedproc.common.errors import SystemFaultError
from fedproc.contract.tool.task import Gpu, Resources
from fedproc.contract.wire.messages import Capacity, HostReport
from fedproc.onboarding import watch as watch_module
from fedproc.onboarding.model.report import from_json
from fedproc.onboarding.watch import take_sample
from fedproc.site.centre.signals import Signals
from fedproc.site.jobs.holds import Holds
from fedproc.site.jobs.orchestrator import Orchestrator
from fedproc.site.jobs.resources.pool import Pool
from fedproc.site.jobs.services import Services
from fedproc.site.journal import Journal
from fedproc.site.settings import SiteSettings, load
from fedproc.site.status import host_check
from fedproc.site.status.host_check import HostCheck, offered, watch_settings, whole_check

A10 = {"uuid": "GPU-a", "name": "NVIDIA A10", "memory_bytes": 22 << 30, "compute_capability": "8.6", "mig": None}
MIG = [{"uuid": "MIG-1", "name": "A100 MIG 1g.5gb", "memory_bytes": 5 << 30}]
A100 = {"uuid": "GPU-b", "name": "NVIDIA A100", "memory_bytes": 40 << 30, "compute_capability": "8.0", "mig": MIG}
WELL: dict[str, Any] = {
    "time": "2025-01-01T00:00:00+00:00",
    "seconds": 0.1,
    "gpus": [A10],
    "disks": [],
    "alarms": [],
    "unfit": [],
}
LOST = WELL | {
    "gpus": [],
    "alarms": [{"code": "gpu-lost", "uuid": "GPU-a", "what": "A10 is gone", "cure": "restart"}],
    "unfit": ["gpu"],
}
FULL = WELL | {
    "alarms": [{"code": "disk-full", "what": "1.0 GB free on /", "cure": "free space on /"}],
    "unfit": ["disk"],
}
GPU_JOB = Resources(cpus=1, memory_mb=100, disk_mb=100, gpu=Gpu())


def settings_in(folder: Path, more: str = "") -> Path:
    path = folder / "site.toml"
    path.write_text(
        f'host = "UB"\nstate = "{folder}"\nkey = "{folder}/key.pem"\npolicy = "{folder}/policy.toml"\n{more}\n'
        '[centre]\napi_url = "https://api.invalid"\nissuer_url = "https://id.invalid"\nbroker_host = "broker.invalid"\n'
        f'dispatch_keys = ["{folder}/d.pem"]\ncatalogue_keys = ["{folder}/c.pem"]\n'
        '[check]\nprofile = "fedproc"\ndisk_reserve_mb = 0\n'
    )
    return path


class Site:
    """Of a host, what the host check needs."""

    def __init__(self, folder: Path) -> None:
        self.file = settings_in(folder)
        self.settings: SiteSettings = load(self.file)
        self.journal = Journal(folder / "journal.sqlite")
        self.pool = Pool(Capacity(cpus=2, cpus_free=2, memory=10**9, memory_free=10**9, disk=10**9, disk_free=10**9))
        self.signals = Signals()
        self.holds = Holds(self.settings, self.journal, self.signals)
        self.orchestrator = Orchestrator(cast(Services, self))
        self.check = HostCheck(cast(Services, self), self.file)

    @property
    def accepts(self) -> bool:
        return self.signals.accept_jobs.on

    def apply(self, sample: dict[str, Any]) -> bool:
        """Whether a heartbeat is due since then."""
        self.signals.heartbeat.clear()
        self.check._apply(sample)
        return self.signals.heartbeat.is_set()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_a_gpu_that_falls_off_is_told_at_once_and_not_offered_while_other_jobs_go_on(site: Site) -> None:
    assert not site.apply(WELL)
    assert ([g.uuid for g in site.pool.capacity().gpus], site.check.alarm) == (["GPU-a"], "")
    assert site.apply(LOST)
    assert (site.pool.capacity().gpus, site.check.alarm) == ((), "A10 is gone (restart)")
    assert (site.holds.held, site.accepts) == (None, True)
    assert not site.apply(LOST), "the same alarm again is no news"
    assert site.apply(WELL)
    assert [g.uuid for g in site.pool.capacity().gpus] == ["GPU-a"]


@pytest.mark.slow
async def test_while_the_disk_is_full_the_host_holds(site: Site) -> None:
    site.apply(FULL)
    assert (site.holds.held, site.accepts) == ("1.0 GB free on / (free space on /)", False)
    assert site.pool.withheld == site.holds.held
    assert [g.uuid for g in site.pool.capacity().gpus] == ["GPU-a"]
    site.apply(WELL)
    assert (site.holds.held, site.pool.withheld, site.accepts) == (None, None, True)


async def test_samples_go_on_after_one_that_nothing_foresaw(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_FIRST_PAUSE", 0.001)
    left: list[Any] = [KeyError("disks"), WELL, UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"), LOST]

    async def sample(*_: Any) -> dict[str, Any]:
        found = left.pop(0) if len(left) > 1 else LOST
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(watch_module, "take_sample", sample)
    at_once = replace(watch_settings(site.settings), interval=0)
    monkeypatch.setattr(host_check, "watch_settings", lambda _: at_once)
    site.check._samples = watch_module.watch(at_once)
    sampling = asyncio.create_task(tasks.kept_up("samples", site.check._keep_sampling))
    async with asyncio.timeout(10):
        while not site.check.alarm:
            await asyncio.sleep(0.001)
    sampling.cancel()
    assert site.check.alarm == "A10 is gone (restart)"


async def test_a_sample_that_cannot_be_taken_costs_no_waiting_job_its_turn(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.apply(WELL)
    holder = await site.pool.acquire("a", GPU_JOB)
    waiting = asyncio.create_task(site.pool.acquire("b", GPU_JOB))

    async def no_process(*_: Any, **__: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", no_process)
    site.apply(await take_sample(watch_settings(site.settings)))
    assert "could not be started" in (site.pool.withheld or "")
    with pytest.raises(SystemFaultError, match="could not be started"):
        await whole_check(site.file, site.settings)
    site.apply(WELL)
    site.pool.release("a")
    assert await waiting == holder


async def test_a_journal_that_works_does_not_lift_the_hold_of_a_full_disk(site: Site) -> None:
    site.apply(FULL)
    site.holds.journal_works()
    assert not site.accepts
    site.holds.journal_fails()
    site.apply(WELL)
    assert "journal" in (site.holds.held or "")
    assert not site.accepts
    site.holds.journal_works()
    assert (site.holds.held, site.accepts) == (None, True)


async def test_a_host_that_its_site_stopped_takes_no_jobs_when_the_disk_is_free_again(site: Site) -> None:
    site.apply(FULL)
    site.orchestrator.stop()
    site.apply(WELL)
    assert not site.accepts


def test_of_a_gpu_in_mig_mode_its_instances_are_offered() -> None:
    look = WELL | {"gpus": [A10, A100]}
    assert [(g.uuid, g.vram, g.compute_capability) for g in offered(look, None, mig=True)] == [
        ("GPU-a", 22 << 30, 8.6),
        ("MIG-1", 5 << 30, 8.0),
    ]
    assert [g.uuid for g in offered(look, ("MIG-1",), mig=True)] == ["MIG-1"]
    assert offered(look, (), mig=True) == ()
    assert [g.uuid for g in offered(look, None, mig=False)] == ["GPU-a"], "the sandbox cannot show an instance"


async def test_the_settings_say_what_is_watched(tmp_path: Path) -> None:
    path = settings_in(tmp_path, f'journal = "{tmp_path}/elsewhere"')
    path.write_text(path.read_text() + 'seconds = 5\n[capacity]\ngpus = ["GPU-a"]\n')
    found = watch_settings(load(path))
    assert found.disks == (tmp_path, tmp_path / "elsewhere")
    assert (found.expected_gpus, found.interval, found.reserve_bytes) == (("GPU-a",), 5, 0)


@pytest.mark.process
async def test_a_real_look_and_a_real_check_reach_heartbeat_and_outbox(site: Site) -> None:
    await site.journal.open()
    assert site.check.shown() is None
    await site.check.begin()
    running = asyncio.create_task(site.check.run())
    told = asyncio.Event()
    site.signals.outbox.publish = lambda awaited=None: told.set()  # type: ignore[method-assign]
    async with asyncio.timeout(60):
        await told.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    shown = site.check.shown()
    assert shown and json.loads(json.dumps(shown)) == shown
    assert shown["disks"][0]["path"] == str(site.settings.state)
    assert shown["report"]["profile"] == "fedproc"
    (entry,) = await site.journal.outgoing(0)
    report = from_json(HostReport.model_validate_json(entry.body).report)
    assert (entry.kind, report.profile.id, report.verdict) == ("report", "fedproc", shown["report"]["verdict"])
    assert {"network.api", "network.broker", "disk.work"} <= {line.id for line in report.lines}
    await site.journal.close()


@pytest.mark.process
async def test_a_check_that_cannot_run_says_why(site: Site) -> None:
    chosen = site.settings.check.model_copy(update={"profile": "d7"})
    with pytest.raises(SystemFaultError, match=r"exit code 64.*there is no profile 'd7'"):
        await whole_check(site.file, site.settings.model_copy(update={"check": chosen}))


@pytest.mark.process
async def test_a_check_that_does_not_end_is_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_check, "_LONGEST", 0.0)
    with pytest.raises(SystemFaultError, match="did not end within"):
        await whole_check(site.file, site.settings)
