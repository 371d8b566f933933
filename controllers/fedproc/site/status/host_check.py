"""How this host is (docs/host-check.md): a sample of GPUs and disks every minute, a whole check every day.

A sample decides what jobs may have. A GPU that cannot be used is not offered, and jobs that need more than is left are
refused once that has lasted for a while; while a disk is full, or cannot be written, the host holds. The heartbeat
carries the last sample with a summary of the last whole check, whose report goes to the centre each time that it is
made: at start, daily, and when an alarm comes or goes. Both are measured by child processes, so that a driver that
hangs or crashes takes nothing with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from fedproc.common.errors import FedprocError, SystemFaultError
from fedproc.common.log import get_logger
from fedproc.common.tasks import kept_up, run_together
from fedproc.contract.times import now
from fedproc.contract.wire.messages import GpuInfo, HostReport
from fedproc.onboarding.model.report import Report, from_json
from fedproc.onboarding.watch import WatchSettings, watch
from fedproc.site.jobs.services import Services
from fedproc.site.settings import SiteSettings

log = get_logger(__name__)

_DAY = 24 * 3600.0
_LONGEST = 60.0
_HOLD = "disk"
_NOT_TAKEN = "check-failed"
"""of a sample, which tells nothing of GPUs, either"""


class HostCheck:
    """:meth:`begin` before jobs are recovered, then :meth:`run`. An alarm that comes or goes makes a heartbeat due."""

    def __init__(self, services: Services, settings_file: Path) -> None:
        self._services = services
        self._settings_file = settings_file
        self._samples = watch(watch_settings(services.settings))
        self._sample: dict[str, Any] | None = None
        self._report: dict[str, Any] | None = None
        self._news = asyncio.Event()

    async def begin(self) -> None:
        """Take the first sample: no job is granted anything before it."""
        self._apply(await anext(self._samples))

    async def run(self) -> None:
        """Sample and check until cancelled."""
        await run_together(kept_up("samples", self._keep_sampling), kept_up("host check", self._keep_checking))

    def shown(self) -> dict[str, Any] | None:
        """What the heartbeat carries: the last sample, and under ``report`` the last whole check in short."""
        return None if self._sample is None else {**self._sample, "report": self._report}

    @property
    def alarm(self) -> str:
        """What is wrong with this host now, as text; empty if nothing is."""
        return _formatted(self._sample["alarms"]) if self._sample else ""

    # -- sampling --------------------------------------------------------------------------------

    async def _keep_sampling(self) -> None:
        while True:
            async for sample in self._samples:
                self._apply(sample)
            self._samples = watch(watch_settings(self._services.settings))  # an error, which was told, has ended them

    def _apply(self, sample: dict[str, Any]) -> None:
        before, self._sample = self._sample, sample
        disk = [alarm for alarm in sample["alarms"] if not _is_of_gpu(alarm)]
        withheld = _formatted(disk) if "disk" in sample["unfit"] else None
        settings = self._services.settings
        self._services.holds.hold(_HOLD, withheld)
        self._services.pool.fit(
            offered(sample, settings.capacity.gpus, mig="sandbox" not in settings.executors),
            alarm=_formatted([alarm for alarm in sample["alarms"] if alarm not in disk or alarm["code"] == _NOT_TAKEN]),
            withheld=withheld,
        )
        if _signs(sample) != _signs(before):
            for alarm in sample["alarms"]:
                log.error("host_check.failed", code=alarm["code"], reason=alarm["what"], cure=alarm["cure"])
            self._news.set()
            self._services.signals.heartbeat.set()

    # -- the whole check -------------------------------------------------------------------------

    async def _keep_checking(self) -> None:
        while True:
            self._news.clear()
            try:
                await self._check()
            except FedprocError as error:
                log.error("host_check.failed", reason=error.message)
                self._report = {"fault": error.message}
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _DAY)

    async def _check(self) -> None:
        made, found = await whole_check(self._settings_file, self._services.settings)
        self._report = {
            "time": found.time,
            "profile": found.profile.id,
            "verdict": found.verdict.value,
        }
        message = HostReport(
            host=self._services.settings.host, epoch=self._services.journal.epoch, time=now(), report=made
        )
        await self._services.journal.emit([("report", message.model_dump_json(exclude_defaults=True))])
        self._services.signals.outbox.publish()


async def whole_check(settings_file: Path, settings: SiteSettings) -> tuple[dict[str, Any], Report]:
    """The report of ``fedproc site check``, run in a process of its own: its JSON, and what that says.

    Raises :class:`SystemFaultError`.
    """
    child = await _begun(settings_file, settings)
    try:
        async with asyncio.timeout(_LONGEST):
            output, errors = await child.communicate()
    except TimeoutError as error:
        raise SystemFaultError(f"the host check did not end within {_LONGEST:g} s") from error
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    try:
        report = json.loads(output)
        return report, from_json(report)
    except ValueError as error:
        reason = errors.decode(errors="replace").strip() or str(error)
        raise SystemFaultError(
            f"the host check gave no report (exit code {child.returncode}): {reason[-500:]}"
        ) from error


async def _begun(settings_file: Path, settings: SiteSettings) -> asyncio.subprocess.Process:
    chosen = settings.check
    profile = ("--profile-file", str(chosen.profile_file)) if chosen.profile_file else ("--profile", chosen.profile)
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "fedproc.onboarding", "check", "--json", "--settings", str(settings_file), *profile),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except (OSError, RuntimeError) as error:  # no process, no thread, no descriptor is to be had now
        raise SystemFaultError(f"the host check could not be started: {error}") from error


def watch_settings(settings: SiteSettings) -> WatchSettings:
    """What is looked at: the folders that jobs and the journal fill, and the GPUs that the settings name."""
    return WatchSettings(
        disks=tuple(dict.fromkeys((settings.state, settings.journal_folder))),
        reserve_bytes=settings.check.disk_reserve_mb * 1_000_000,
        expected_gpus=settings.capacity.gpus or (),
        interval=settings.check.seconds,
    )


def offered(sample: dict[str, Any], allowed: tuple[str, ...] | None, *, mig: bool) -> tuple[GpuInfo, ...]:
    """The GPUs of a sample that jobs may use; of one in MIG mode its instances, since a program can use but one.

    Without ``mig`` no instance: the sandbox shows a job whole devices alone, and an instance needs nodes of its own.
    """
    found = (info for gpu in sample["gpus"] if mig or gpu["mig"] is None for info in _infos(gpu))
    return tuple(info for info in found if allowed is None or info.uuid in allowed)


def _infos(gpu: dict[str, Any]) -> list[GpuInfo]:
    parts = [gpu] if gpu["mig"] is None else gpu["mig"]
    capability = gpu["compute_capability"]
    return [
        GpuInfo(
            uuid=part["uuid"],
            name=part["name"],
            vram=part["memory_bytes"],
            compute_capability=float(capability) if capability else None,
        )
        for part in parts
    ]


def _is_of_gpu(alarm: dict[str, str]) -> bool:
    return alarm["code"].startswith("gpu-")


def _formatted(alarms: list[dict[str, str]]) -> str:
    return "; ".join(f"{alarm['what']} ({alarm['cure']})" for alarm in alarms)


def _signs(sample: dict[str, Any] | None) -> list[tuple[str, str | None]]:
    """Which alarms there are; the sizes in their texts change with every sample."""
    return [(alarm["code"], alarm.get("uuid")) for alarm in sample["alarms"]] if sample else []
