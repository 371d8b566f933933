"""One whole check: the probes measure side by side, the rules give the report's lines.

It ends within 20 s: a probe that does not is given up.
"""

from __future__ import annotations

import importlib.metadata
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from typing import Any

from fedproc.onboarding.model.facts import (
    CpuFacts,
    CredentialFacts,
    DataApiFacts,
    DiskFacts,
    EngineFacts,
    ExecutorFacts,
    Facts,
    GpuFacts,
    MemoryFacts,
    ServiceFacts,
    SystemFacts,
    Unknown,
)
from fedproc.onboarding.model.report import Report
from fedproc.onboarding.model.targets import Targets, with_trust
from fedproc.onboarding.probes import cpu, credentials, disk, engine, executors, gpu, memory, service, system
from fedproc.onboarding.probes.parallel import Task, run_all
from fedproc.onboarding.profile.profile import Profile
from fedproc.onboarding.rules import TOPICS, evaluate

OnDone = Callable[[str], None]

LOCAL_SECONDS = 12.0
COUNTING_SECONDS = 6.0
NETWORK_SECONDS = 17.0


def run(
    profile: Profile, targets: Targets, topics: tuple[str, ...] = (), on_done: OnDone = lambda name: None
) -> Report:
    """The report. ``topics`` limits it (none: all); ``on_done`` hears the name of each probe as it ends."""
    started, clock = datetime.now(UTC), time.monotonic()
    targets = with_services(targets, profile)
    facts = measure(targets, topics or default_topics(targets), on_done)
    return Report(
        program=f"fedproc-check {version()}",
        host=socket.gethostname(),
        time=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 1),
        profile=profile.stamp(),
        only=topics,
        lines=evaluate(profile.requirements, facts, topics or TOPICS),
        facts=facts,
    )


def with_services(targets: Targets, profile: Profile) -> Targets:
    """The profile's services where none are named otherwise, each with the CA that applies to it."""
    return with_trust(targets if targets.services else replace(targets, services=profile.services))


def default_topics(targets: Targets) -> tuple[str, ...]:
    """All; credentials only once the host has some."""
    has_some = targets.key is not None or targets.certificate is not None
    left_out = {"credentials"} if not has_some else set()
    return tuple(t for t in TOPICS if t not in left_out | ({"executor"} if not targets.executors else set()))


def measure(targets: Targets, topics: tuple[str, ...], on_done: OnDone) -> Facts:
    """All facts on these topics. What cannot be had in time is an :class:`Unknown` or an ``unfinished`` service."""
    results = run_all(tasks(targets, topics), on_done)
    asked = targets.services if "network" in topics else ()
    services = tuple(_service(s.name, s.url, results[f"network.{s.name}"]) for s in asked)
    places = targets.data_apis if "data-api" in topics else ()
    data_apis = tuple(_data_api(place, results[f"data-api.{n}"]) for n, place in enumerate(places, 1))
    own = {name: result for name, result in results.items() if "." not in name}
    return Facts(**own, services=services, data_apis=data_apis)


def tasks(targets: Targets, topics: tuple[str, ...]) -> list[Task]:
    """One probe for each thing to measure, named as its field of :class:`Facts`, ``network.NAME`` or ``data-api.N``."""
    local = _local_tasks(targets)
    found = [local[topic] for topic in topics if topic in local]
    if "network" in topics:
        for asked in targets.services:
            ask = partial(service.probe, asked, targets.proxy)
            found.append(_network_task(f"network.{asked.name}", ask, ServiceFacts))
    if "data-api" in topics:
        for number, place in enumerate(targets.data_apis, 1):
            ask_data_api = partial(service.probe_data_api, place, targets.ca_file)
            found.append(_network_task(f"data-api.{number}", ask_data_api, DataApiFacts))
    return found


def _local_tasks(targets: Targets) -> dict[str, Task]:
    disks = partial(disk.probe, targets.work, targets.data, targets.dataset_bytes, seconds=COUNTING_SECONDS)
    keys = partial(credentials.probe, targets.key, targets.certificate, targets.ca_file)
    return {
        "gpu": Task("gpu", gpu.probe, GpuFacts, LOCAL_SECONDS),
        "cpu": Task("cpu", cpu.probe, CpuFacts, LOCAL_SECONDS),
        "memory": Task("memory", memory.probe, MemoryFacts, LOCAL_SECONDS),
        "disk": Task("disk", disks, DiskFacts, LOCAL_SECONDS),
        "os": Task("os", system.probe, SystemFacts, LOCAL_SECONDS),
        "container": Task("container", engine.probe, EngineFacts, LOCAL_SECONDS),
        "executor": Task("executor", partial(executors.probe, targets.executors), ExecutorFacts, LOCAL_SECONDS),
        "credentials": Task("credentials", keys, CredentialFacts, LOCAL_SECONDS),
    }


def _network_task(name: str, ask: Callable[[], Any], result: type) -> Task:
    return Task(name, ask, result, NETWORK_SECONDS)


def _service(name: str, url: str, result: ServiceFacts | Unknown) -> ServiceFacts:
    if isinstance(result, Unknown):
        return ServiceFacts(name, url, fault="unfinished", detail=result.unknown)
    return result


def _data_api(place: str, result: DataApiFacts | Unknown) -> DataApiFacts:
    return DataApiFacts(place, fault="unfinished", detail=result.unknown) if isinstance(result, Unknown) else result


def version() -> str:
    """Of what the zipapp was built from, else of the distribution."""
    # In this order: beside a zipapp another release of the package may be installed.
    stamped = resources.files("fedproc.onboarding") / "VERSION"
    if stamped.is_file():
        return stamped.read_text().strip()
    try:
        return importlib.metadata.version("fedproc")
    except importlib.metadata.PackageNotFoundError:
        return "unreleased"
