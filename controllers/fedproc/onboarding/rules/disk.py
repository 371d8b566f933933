"""Disks. Sizes are as on the label of a drive: GB of 10^9 bytes."""

from __future__ import annotations

from fedproc.onboarding.model import formatting
from fedproc.onboarding.model.facts import DataFacts, Disk, DiskFacts, Facts, Unknown
from fedproc.onboarding.model.report import Line
from fedproc.onboarding.rules.common import Check, Finding, Requirement, asks, line, nominal, unknown

AGAIN = "see why the filesystem does not answer ('df -h'), then run the check again"


def system(requirement: Requirement, facts: Facts) -> list[Line]:
    """The drive that holds the operating system."""
    tolerance = requirement.tolerance
    text = f"operating system drive: {nominal(requirement)}"
    found = _disks(facts)
    if isinstance(found, Unknown):
        return [unknown("disk.system", requirement, text, found.unknown, AGAIN)]
    disk = found.system
    size = disk.drive_bytes or disk.total_bytes
    drive = f"a drive of {formatting.gb(size)}, " if disk.drive_bytes else ""
    measured = f"{drive}{describe(disk)}"
    finding = Finding(measured, lambda n: formatting.reaches(size, n, formatting.GB, tolerance), "use a larger drive")
    return [line("disk.system", requirement, text, finding)]


def describe(disk: Disk) -> str:
    """A filesystem as ``df`` shows it."""
    only = ", read-only" if disk.read_only else ""
    sizes = f"{formatting.gb(disk.total_bytes)}, {formatting.gb(disk.free_bytes)} free"
    return f"{disk.mount} on {disk.device}: {sizes}{only}"


def ssd(requirement: Requirement, facts: Facts) -> list[Line]:
    """Whether the operating system's drive is solid state."""
    text = "operating system drive: solid state (SSD)"
    found = _disks(facts)
    cure = (
        "move the system to an SSD; for a virtual machine ask who runs the hypervisor, then drop this line by a profile"
    )
    if isinstance(found, Unknown):
        return [unknown("disk.ssd", requirement, text, found.unknown, AGAIN)]
    if found.system.ssd is None:
        return [unknown("disk.ssd", requirement, text, found.system.drive_reason, cure)]
    solid = found.system.ssd
    measured = f"{'solid state' if solid else 'a turning disk'} ({found.system.device})"
    return [line("disk.ssd", requirement, text, Finding(measured, lambda asked: solid, cure))]


def work(requirement: Requirement, facts: Facts) -> list[Line]:
    """Free space where fedproc keeps jobs and what tools need."""
    text = "free space for jobs: " + asks(requirement, lambda n: f"at least {formatting.number(n)} GB")
    found = _disks(facts)
    if isinstance(found, Unknown):
        return [unknown("disk.work", requirement, text, found.unknown, AGAIN)]
    disk = found.work
    state = ", read-only" if disk.read_only else f" of {formatting.gb(disk.total_bytes)}"
    measured = f"{formatting.gb(disk.free_bytes)} free for {disk.path} ({disk.mount} on {disk.device}{state})"
    cure = f"free or add space on {disk.mount}, or choose another folder by --work"
    if disk.read_only:
        cure = f"{disk.mount} is read-only: see 'dmesg' for the reason, repair it and mount it writable"
    free = 0 if disk.read_only else disk.free_bytes
    finding = Finding(measured, lambda n: formatting.reaches(free, n, formatting.GB, 0), cure)
    return [line("disk.work", requirement, text, finding)]


def data(requirement: Requirement, facts: Facts) -> list[Line]:
    """Room for the datasets, as a multiple of their size."""
    text = "storage for datasets: " + asks(requirement, lambda n: f"at least {formatting.number(n)} x their size")
    found = _disks(facts)
    if isinstance(found, Unknown):
        return [unknown("disk.data", requirement, text, found.unknown, AGAIN)]
    if found.data is None:
        reason = found.data_reason or "the folder of the datasets is not given"
        cure = "give the folder by --data and their size by --dataset-gb"
        return [unknown("disk.data", requirement, text, reason, cure)]
    if found.dataset_bytes is None:
        reason = f"the size of the datasets is not given ({describe(found.data.disk)})"
        return [
            unknown("disk.data", requirement, text, reason, "give the size of all this host's datasets by --dataset-gb")
        ]
    return [line("disk.data", requirement, text, _room(found.data, found.dataset_bytes))]


def _room(data: DataFacts, dataset_bytes: int) -> Finding:
    """What lies there already is taken as datasets; where it could not all be counted, it is a lower bound."""
    room = data.disk.free_bytes + data.used_bytes
    least = "" if data.counted_all else "at least "
    measured = (
        f"{formatting.gb(dataset_bytes)} of datasets; at {data.disk.path} room for {least}{formatting.gb(room)} "
        f"({formatting.gb(data.disk.free_bytes)} free, {least}{formatting.gb(data.used_bytes)} in it already)"
    )

    def meets(multiple: float) -> bool | None:
        return True if room >= multiple * dataset_bytes else (False if data.counted_all else None)

    return Finding(measured, meets, "add storage for the datasets, or offer fewer of them")


def _disks(facts: Facts) -> DiskFacts | Unknown:
    return Unknown("disks were not measured") if facts.disk is None else facts.disk


CHECKS = (
    Check("disk.system", "number", system),
    Check("disk.ssd", "flag", ssd),
    Check("disk.work", "number", work),
    Check("disk.data", "number", data),
)
