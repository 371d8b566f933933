"""What a job's connections have carried counts on after a restart."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.sample_tools import task, tool

from fedproc.common.log import get_logger
from fedproc.common.tlog.folder import ENTRIES
from fedproc.common.tlog.verification import read_entries
from fedproc.contract.ids import new_id
from fedproc.contract.tool.task import Task
from fedproc.contract.wire.messages import ConnectionUse, JobOrder, Start
from fedproc.site.connections.carrying import Meter
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.wiring import Wiring
from fedproc.site.jobs.workspace import Workspace
from fedproc.site.jobs.writer import RecordWriter
from fedproc.site.policy.policy_file import Policy
from fedproc.site.tlog.log import HostLog

PORTS = [{"name": "data", "port": 7000}, {"name": "talk", "port": 7001}]
TASK = Task.model_validate(
    {
        "name": "client",
        "placement": "client",
        "runtime": {"requirements": "r.lock"},
        "command": ["true"],
        "connections": [
            {"name": "data", "task": "server", "port": "data"},
            {"name": "talk", "task": "server", "port": "talk"},
        ],
    }
)
TOOL = tool("t", TASK.model_dump(mode="json", by_alias=True), task("server", placement="server", ports=PORTS))
POLICY = Policy.model_validate(
    {"tools": [{"id": "t", "digest": "*", "connections": [{"task": "server", "max_mb": 1.0}]}]}
)


class Hub:
    def __init__(self, saving: Any) -> None:
        self.meters: list[Meter] = []
        self._saving = saving

    async def forward(self, job: str, at: Path, route: Any, meter: Meter, changed: Any) -> None:
        self.meters.append(meter)
        self._saving()


def record_of_before(*uses: ConnectionUse) -> JobRecord:
    job = new_id("j")
    order = JobOrder.model_validate(
        {
            "job": job,
            "experiment": new_id("e"),
            "task": "client",
            "tool": {"id": "t", "version": "1.0.0", "digest": "sha256:" + "0" * 64},
            "user": {"sub": "rosa"},
            "deadlines": dict.fromkeys(("start_by", "end_by", "release_by"), "2030-01-01T00:00:00Z"),
        }
    )
    names = {port: f"{number}-{job}.x" for port, number in (("data", 7000), ("talk", 7001))}
    peer = {"task": "server", "job": job, "host": "EUCAIM", "address": "127.0.0.1:7443", "server_names": names}
    start = Start.model_validate({"job": job, "peers": [peer]})
    return JobRecord.model_validate({"order": order, "start": start, "connections": uses})


@pytest.mark.parametrize("saved_before", [True, False])
async def test_a_budget_does_not_begin_again_at_a_restart(tmp_path: Path, saved_before: bool) -> None:
    data = ConnectionUse(task="server", host="EUCAIM", sent=900_000, received=5, rounds=3, cut=None)
    talk = ConnectionUse(
        task="server", host="EUCAIM", sent=7, received=2_000_000, rounds=0, cut="more than the 1000000 bytes"
    )
    record, meters = record_of_before(data, talk), list[Meter]()
    settings = SimpleNamespace(host="UB")
    services = cast(
        Services, SimpleNamespace(settings=settings, journal=SimpleNamespace(epoch="e" * 32), connections=None)
    )
    writer = RecordWriter(services, record, meters, get_logger("test"))
    services.tlog = HostLog(tmp_path / "tlog", "centre.example/hosts/UB")  # type: ignore[misc]
    hub = services.connections = cast(Any, Hub(writer._snapshot))  # type: ignore[misc]
    wiring = Wiring(services, record, Workspace(tmp_path, record.job), meters, writer)
    if saved_before:
        writer._snapshot()  # the daemon says something of the job before its connections are open again
    await wiring.open(TASK, POLICY.tools[0], TOOL)
    assert [(m.sent, m.received, m.rounds, m.cut) for m in hub.meters] == [
        (u.sent, u.received, u.rounds, u.cut) for u in (data, talk)
    ]
    assert all(meter.budget == 1_000_000 for meter in hub.meters)
    assert record.connections == (data, talk), "whatever was saved meanwhile"
    noted = [entry.data for entry in read_entries(tmp_path / "tlog" / ENTRIES)]
    assert [(entry["task"], entry["host"], entry["budget"]) for entry in noted] == [("server", "EUCAIM", 1_000_000)] * 2


async def test_what_is_carried_is_saved_on_the_way() -> None:
    meter = Meter("server", "EUCAIM", 3200)
    assert meter.parts == 0
    meter.sent = 99
    assert meter.parts == 0
    meter.sent = 100
    assert meter.parts == 1


TRAFFIC = {"sends_mb": 0.5, "receives_mb": 0.25, "rounds": {"most": 50, "parameter": "rounds", "beside": 1}}


@pytest.mark.parametrize(
    ("traffic", "of_policy", "dialled", "admitted"),
    [
        ([TRAFFIC, TRAFFIC], None, [(500_000, 250_000, 8)] * 2, (500_000, 1_000_000, 16)),
        ([TRAFFIC, TRAFFIC], 4, [(500_000, 250_000, 4)] * 2, (500_000, 1_000_000, 4)),
        ([TRAFFIC, None], None, [(500_000, 250_000, 8), (None, None, None)], (None, None, None)),
        ([None, None], 9, [(None, None, 9)] * 2, (None, None, 9)),
    ],
)
async def test_both_ends_hold_a_connection_to_what_tool_and_policy_say(
    tmp_path: Path, traffic: list[Any], of_policy: int | None, dialled: Any, admitted: Any
) -> None:
    written = TASK.model_dump(mode="json", by_alias=True)
    for connection, declared in zip(written["connections"], traffic, strict=True):
        connection["traffic"] = declared
    schema = {"type": "object", "properties": {"rounds": {"type": "integer"}}}
    made = tool("t", written, task("server", placement="server", ports=PORTS), parameters=schema)
    line = {"task": "server", "max_mb": 1.0} | ({"max_rounds": of_policy} if of_policy else {})
    rule = Policy.model_validate({"tools": [{"id": "t", "digest": "*", "connections": [line]}]}).tools[0]
    record = record_of_before()
    record.order = record.order.model_copy(update={"parameters": {"rounds": 7}})
    settings = SimpleNamespace(host="UB")
    services = cast(Services, SimpleNamespace(settings=settings, journal=SimpleNamespace(epoch="e" * 32)))
    meters: list[Meter] = []
    writer = RecordWriter(services, record, meters, get_logger("test"))
    services.tlog = HostLog(tmp_path / "tlog", "centre.example/hosts/UB")  # type: ignore[misc]
    hub = services.connections = cast(Any, Hub(lambda: None))  # type: ignore[misc]
    hub.admit = lambda job, sockets, admitted, changed: hub.meters.extend(admitted)
    await Wiring(services, record, Workspace(tmp_path, record.job), meters, writer).open(
        made.task("client"), rule, made
    )
    assert [(m.limits.sent, m.limits.received, m.limits.rounds) for m in hub.meters] == dialled
    hub.meters.clear()
    peer = {"task": "client", "job": record.job, "host": "BSC"}
    record.start = Start.model_validate({"job": record.job, "peers": [peer]})
    await Wiring(services, record, Workspace(tmp_path, record.job), [], writer).open(made.task("server"), rule, made)
    (one,) = hub.meters
    assert ((one.limits.sent, one.limits.received, one.limits.rounds), one.admitted) == (admitted, True)
    noted = [entry.data for entry in read_entries(tmp_path / "tlog" / ENTRIES)]
    assert [(e.get("sends"), e.get("receives"), e.get("rounds")) for e in noted] == [*dialled, admitted]


async def test_two_tasks_of_one_host_may_together_what_each_may(tmp_path: Path) -> None:
    of_client = {"sends_mb": 0.001, "receives_mb": 0.002, "rounds": {"most": 5}}
    of_probe = {"sends_mb": 0.5, "receives_mb": 0.25, "rounds": {"most": 50}}
    dials = [
        task(name, placement="client", connections=[{"name": "d", "task": "server", "port": "data", "traffic": each}])
        for name, each in (("client", of_client), ("probe", of_probe))
    ]
    made = tool("t", *dials, task("server", placement="server", ports=PORTS))
    used = ConnectionUse(task="server", host="BSC", sent=3, received=4, rounds=1, cut=None)
    record, meters = record_of_before(used, used), list[Meter]()
    peers = [{"task": each, "job": record.job, "host": "BSC"} for each in ("client", "probe")]
    record.start = Start.model_validate({"job": record.job, "peers": peers})
    services = cast(Services, SimpleNamespace(settings=SimpleNamespace(host="UB")))
    services.tlog = HostLog(tmp_path / "tlog", "centre.example/hosts/UB")  # type: ignore[misc]
    hub = services.connections = cast(Any, Hub(lambda: None))  # type: ignore[misc]
    hub.admit = lambda job, sockets, admitted, changed: hub.meters.extend(admitted)
    writer = RecordWriter(services, record, meters, get_logger("test"))
    wiring = Wiring(services, record, Workspace(tmp_path, record.job), meters, writer)
    await wiring.open(made.task("server"), POLICY.tools[0], made)
    (one,) = hub.meters
    assert meters == [one]
    assert (one.limits.sent, one.limits.received, one.limits.rounds, one.budget) == (252_000, 501_000, 55, 2_000_000)
    assert (one.sent, one.received, one.rounds) == (6, 8, 2)
