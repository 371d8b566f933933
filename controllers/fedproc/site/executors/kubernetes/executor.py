"""The Kubernetes executor: a pod per job, named after it, which the cluster neither restarts nor makes a second time.

What a pod is shown lies in the shared folder: its order and first program, its output, its record. A pod that ends, or
that somebody deletes, stays until its end is on record here; while the API server is away, jobs go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path
from weakref import WeakValueDictionary

from fedproc.common.retry import Backoff
from fedproc.site.executors.base import ExecutorError, Handle, Observation, Offer, Phase, Spec
from fedproc.site.executors.confinement import disk
from fedproc.site.executors.confinement.etc import HOSTS, write_accounts
from fedproc.site.executors.confinement.record import Record, forget, read_record
from fedproc.site.executors.confinement.seccomp import SeccompError, make_filter
from fedproc.site.executors.kubernetes.cluster import CODE, CONFLICT, Cluster, ClusterAwayError, ClusterRefusedError
from fedproc.site.executors.kubernetes.follower import Follower
from fedproc.site.executors.kubernetes.pod import FINALIZER, HOST_LABEL, JobFiles, has_own_hosts, order_of, pod_of
from fedproc.site.executors.kubernetes.pod_states import (
    Pod,
    created,
    is_left_by_its_node,
    labels_of,
    name_of,
    uid_of,
)
from fedproc.site.executors.kubernetes.pod_watch import PodWatch
from fedproc.site.executors.kubernetes.promises import Promises
from fedproc.site.executors.layout import CONNECT_SOURCE, SandboxLayout, layout_for
from fedproc.site.executors.records import kept_output, observation_of, records_in
from fedproc.site.settings import KubernetesSettings

PYTHON = "python3"
"""of the image, wherever its PATH has it"""
_INSIDE = ("launch.py", "measures.py")
_FIRST_LOOK, _LONGEST_LOOK = 0.1, 1.0
"""whether a pod is gone"""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_PATIENCE_SECONDS = 60.0
"""for which a server that is away, as one that is renewed, is asked again to take a job"""
_LATE_SECONDS = 2.0
"""after which a call that nobody waits for any more has made its pod, or makes none"""
_NODE_SECONDS = 120.0
"""for which a node is waited for that is to end a pod; whoever discards asks again"""
_LET_GO = '{"metadata":{"finalizers":null}}'


class _ForeignPodError(ExecutorError):
    """Its name is somebody else's pod's."""


class KubernetesExecutor:
    """Implements :class:`fedproc.site.executors.base.Executor`; records and output are kept below ``folder``.

    ``host`` is its label of this host's pods.
    """

    name = "kubernetes"

    def __init__(self, folder: Path, settings: KubernetesSettings, host: str) -> None:
        self._folder = folder
        self._settings = settings
        self._host = host
        self._cluster = Cluster(settings)
        self._selector = f"{HOST_LABEL}={host}"
        self._watch = PodWatch(self._cluster, self._selector)
        self._promises = Promises(self._cluster, settings, folder, host)
        self._followers: dict[str, Follower] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def submit(self, spec: Spec) -> Handle:
        handle = self._handle(spec)
        async with self._turn(spec.job):
            if spec.job in self._followers or read_record(Path(handle["folder"])) is not None:
                return handle
            folder = Path(handle["folder"])
            try:
                await self._hand_over(spec, handle)
            except BaseException as error:
                if not JobFiles(folder).handing.exists():  # else the cluster may have it: it is found by its name
                    await asyncio.to_thread(forget, folder)
                if isinstance(error, OSError):
                    raise ExecutorError(f"{error.filename or folder}: {error.strerror}") from error
                raise
        return handle

    async def poll(self, handle: Handle, *, until_exit: bool = False) -> Observation:
        async with self._turn(handle["job"]):
            follower = await self._find(handle)
        if follower is None:
            record = read_record(Path(handle["folder"]))
            return observation_of(asdict(record)) if record else Observation(Phase.absent)
        if until_exit:
            await follower.exited.wait()
        if follower.exited.is_set():
            return observation_of(asdict(follower.record))
        return replace(observation_of(asdict(follower.record)), seconds=follower.seconds())

    def logs(self, handle: Handle, stream: str = "stdout", *, offset: int = 0) -> AsyncIterator[bytes]:
        return kept_output(Path(handle["folder"]), stream, offset)

    async def cancel(self, handle: Handle) -> None:
        async with self._turn(handle["job"]):
            follower = await self._find(handle)
        if follower is not None:
            await follower.cancel()

    async def discard(self, handle: Handle) -> None:
        files = JobFiles(self._folder / handle["job"])
        async with self._turn(handle["job"]):
            if files.control.exists():
                with contextlib.suppress(OSError):  # a full disk: the API says it as well
                    files.stop.write_text("now")
            await self._remove(handle["job"])
            if files.handing.exists() and read_record(files.folder) is None:  # its making may still be on its way
                await asyncio.sleep(_LATE_SECONDS)
                await self._remove(handle["job"])
            if follower := self._followers.pop(handle["job"], None):
                follower.abandon()
            await asyncio.to_thread(forget, files.folder)

    async def offer(self) -> Offer:
        return await self._promises.offer()

    async def records(self) -> dict[str, tuple[float, int]]:
        """See the protocol: also pods of this host of which no file is here any more."""
        pods, _ = await self._cluster.pods(self._selector)
        found = {name_of(pod): (created(pod), 0) for pod in pods}
        return found | await asyncio.to_thread(records_in, self._folder)

    async def close(self) -> None:
        """Disconnect; pods go on."""
        for follower in self._followers.values():
            follower.detach()
        await self._watch.close()
        await self._cluster.close()

    # -- handing over ----------------------------------------------------------------------------

    async def _hand_over(self, spec: Spec, handle: Handle) -> None:
        """Nothing twice: a pod of this name is made once, and one that is there already is taken up."""
        files = JobFiles(Path(handle["folder"]))
        pod = await self._taken(spec.job) if files.handing.exists() else None
        if pod is None:
            pod = await self._made(spec, files)
        follower = self._followers[spec.job] = self._following(handle, Record(spec.job), uid_of(pod))
        follower.note()

    async def _made(self, spec: Spec, files: JobFiles) -> Pod:
        layout, repeated = layout_for(spec, PYTHON), files.handing.exists()
        for source, _ in (*layout.mounts, *layout.writable):
            await asyncio.to_thread(Path(source).stat)
        if not repeated:  # else an attempt before this one may yet come through, and reads it
            await asyncio.to_thread(self._lay_out, spec, layout, files)
        key = secrets.token_hex(16)
        wanted = pod_of(spec, layout, files, self._settings, self._host, self._settings.user, key)
        for source, _ in layout.writable:
            await disk.own(source, self._settings.user)
        files.handing.touch()
        try:
            pod = await self._create(wanted)
        except (ClusterRefusedError, _ForeignPodError):
            if not repeated:
                files.handing.unlink()
            raise
        self._watch.note(pod)
        return pod

    async def _create(self, wanted: Pod) -> Pod:
        """Asked for a while of a server that is away, or where two changes met: after each time it may be there."""
        backoff, until = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE), time.monotonic() + _PATIENCE_SECONDS
        asked = met = False
        while True:
            try:
                if asked and (pod := await self._taken(name_of(wanted))) is not None:
                    return pod
                asked = True
                return await self._cluster.create_pod(wanted)
            except ClusterAwayError:
                if time.monotonic() >= until:
                    raise
            except ClusterRefusedError as error:
                if error.status != CONFLICT or (met and time.monotonic() >= until):
                    raise
                met = True  # looked at in any case, however long the answer took
            await asyncio.sleep(backoff.pause())

    async def _taken(self, job: str) -> Pod | None:
        """The pod that an attempt before has made: a quota that it fills would refuse it now."""
        try:
            pod = await self._cluster.pod(job)
        except ClusterRefusedError as error:
            raise ClusterAwayError(
                f"whether the pod {job} is there cannot be seen: {error.message}", code=CODE
            ) from error
        if pod is not None and not self._is_ours(pod):
            raise _ForeignPodError(
                f"the namespace {self._settings.namespace} has a pod {job} that is not this host's: give each host a"
                " namespace of its own",
                code=CODE,
            )
        return pod

    def _lay_out(self, spec: Spec, layout: SandboxLayout, files: JobFiles) -> None:
        """What its pod is shown. Blocks."""
        try:
            program = make_filter(namespaces=False)
        except SeccompError as error:
            raise ExecutorError(str(error), code=CODE) from error
        files.control.mkdir(parents=True, exist_ok=True)
        for name in _INSIDE:
            shutil.copyfile(Path(__file__).with_name(name), files.control / name)
        shutil.copyfile(CONNECT_SOURCE, files.control / "connect.py")
        (files.control / "order.json").write_text(json.dumps(order_of(spec, layout.command, program)))
        for path in (files.control, *files.control.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        write_accounts(files.folder)
        if has_own_hosts(layout):
            (files.folder / "hosts").write_text(HOSTS + "".join(f"{place} {name}\n" for place, name in layout.hosts))
            (files.folder / "hosts").chmod(0o644)
        for stream in ("stdout", "stderr"):
            files.output(stream).touch(0o600)
            os.chown(files.output(stream), self._settings.user, disk.group_of(self._settings.user))

    def _is_ours(self, pod: Pod) -> bool:
        return labels_of(pod).get(HOST_LABEL) == self._host

    # -- finding and removing --------------------------------------------------------------------

    async def _find(self, handle: Handle) -> Follower | None:
        """Who follows the job's pod, if its end is not on record yet."""
        name, files = handle["job"], JobFiles(Path(handle["folder"]))
        if name in self._followers:
            return self._followers[name]
        record = read_record(files.folder)
        if record is None and files.handing.exists() and await self._taken(name) is not None:
            record = Record(name)  # a full disk did not take it
        if record is None or record.phase == Phase.exited:
            return None
        self._followers[name] = self._following(handle, record)
        return self._followers[name]

    def _following(self, handle: Handle, record: Record, uid: str = "") -> Follower:
        return Follower(self._cluster, self._watch, handle, record, uid)

    async def _remove(self, job: str) -> None:
        """Until its pod is gone, and with it each of its processes."""
        asked, until, backoff = -1, time.monotonic() + _NODE_SECONDS, Backoff(_FIRST_LOOK, _LONGEST_LOOK)
        while (pod := await self._cluster.pod(job)) is not None and self._is_ours(pod):
            grace = 0 if is_left_by_its_node(pod) else 1
            if grace == 0:
                await self._cluster.let_go(job, FINALIZER)
            if grace != asked:
                await self._cluster.delete_pod(job, grace)
                asked = grace
            if time.monotonic() > until:
                raise ExecutorError(
                    f"the node of the pod {job} does not say that its processes are gone: see to the node, and let the "
                    f"pod go once it is sure that nothing runs there (kubectl -n {self._settings.namespace} patch pod "
                    f"{job} --type merge -p '{_LET_GO}', and delete it by force)",
                    code=CODE,
                )
            await asyncio.sleep(backoff.pause())

    def _handle(self, spec: Spec) -> Handle:
        limits = spec.limits
        return {
            "job": spec.job,
            "folder": str(self._folder / spec.job),
            "writable": [source for source, _ in layout_for(spec).writable],
            "memory": limits.memory,
            "disk": limits.disk,
            "pids": limits.pids,
            "log": limits.log,
            "grace": spec.stop.grace,
        }

    def _turn(self, job: str) -> asyncio.Lock:
        """Held by who starts, finds or discards the pod of this job."""
        return self._turns.setdefault(job, asyncio.Lock())
