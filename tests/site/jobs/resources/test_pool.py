"""The pool: no more is given than there is, small jobs pass large ones and delay none, nothing is lost on the way."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedproc.common.errors import RefusedError
from fedproc.contract.tool.task import Gpu, Resources
from fedproc.contract.wire.messages import Capacity, GpuInfo
from fedproc.site.jobs.resources.backfill import Holder, Request, _reservation, next_to_start
from fedproc.site.jobs.resources.pool import ALARM_SECONDS, Pool
from fedproc.site.jobs.resources.shares import MB, Share, free_of

GPU = GpuInfo(uuid="GPU-1", name="x", vram=16_000_000_000, compute_capability=8.0)


def pool(cpus=2.0, gpus=(), clock=time.monotonic) -> Pool:
    memory = disk = 1000 * MB
    total = Capacity(cpus=cpus, cpus_free=cpus, memory=memory, memory_free=memory, disk=disk, disk_free=disk, gpus=gpus)
    return Pool(total, clock)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def want(cpus=1.0, **more) -> Resources:
    return Resources.model_validate({"cpus": cpus, "memory_mb": 100, "disk_mb": 100, **more})


async def test_jobs_wait_until_there_is_room_in_their_order():
    ours = pool()
    await ours.acquire("a", want(2))
    big = asyncio.create_task(ours.acquire("b", want(2)))
    small = asyncio.create_task(ours.acquire("c", want(1)))
    await asyncio.sleep(0)
    ours.release("a")
    await big
    assert not small.done(), "a small job must not overtake one that waits for room"
    ours.release("b")
    assert (await small).cpus == 1
    assert ours.capacity().cpus_free == 1


async def test_what_can_never_fit_is_refused_with_what_is_missing():
    with pytest.raises(RefusedError, match=r"3\.0 CPUs \(there are 2\.0\)"):
        await pool().acquire("a", want(3))
    with pytest.raises(RefusedError, match="GPU"):
        await pool().acquire("a", want(gpu=Gpu()))


async def test_gpus_by_memory_and_capability_and_one_holder_each():
    ours = pool(gpus=(GPU,))
    with pytest.raises(RefusedError):
        await ours.acquire("a", want(gpu=Gpu(vram_gb=24)))
    with pytest.raises(RefusedError):
        await ours.acquire("a", want(gpu=Gpu(compute_capability=9.0)))
    assert (await ours.acquire("b", want(gpu=Gpu(vram_gb=12)))).gpus == ("GPU-1",)
    second = asyncio.create_task(ours.acquire("c", want(gpu=Gpu())))
    await asyncio.sleep(0)
    assert not second.done()
    assert [gpu.free for gpu in ours.capacity().gpus] == [False]
    ours.release("b")
    await second


async def test_a_waiter_that_gives_up_takes_nothing_with_it():
    ours = pool()
    await ours.acquire("a", want(2))
    waiting = asyncio.create_task(ours.acquire("b", want(2)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    ours.release("a")
    assert (await ours.acquire("c", want(2))).cpus == 2


async def test_cancelled_in_the_very_moment_of_the_grant():
    ours = pool()
    await ours.acquire("a", want(2))
    waiting = asyncio.create_task(ours.acquire("b", want(2)))
    await asyncio.sleep(0)
    ours.release("a")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ours.capacity().cpus_free == 2


async def test_adopted_jobs_count_even_beyond_what_there_is():
    ours = pool()
    ours.adopt("old", Share(2.0, 100, 100))
    waiting = asyncio.create_task(ours.acquire("new", want(1)))
    await asyncio.sleep(0)
    assert not waiting.done()
    ours.release("old")
    await waiting


async def test_a_gpu_that_is_lost_for_long_is_no_longer_given_and_whoever_needs_it_is_refused():
    clock = Clock()
    ours = pool(gpus=(GPU,), clock=clock)
    await ours.acquire("a", want(gpu=Gpu()))
    waiting = asyncio.create_task(ours.acquire("b", want(gpu=Gpu())))
    behind = asyncio.create_task(ours.acquire("c", want(1)))
    await asyncio.sleep(0)
    ours.fit((), alarm="NVIDIA A10 fell off")
    clock.now = ALARM_SECONDS
    ours.fit((), alarm="NVIDIA A10 fell off")
    with pytest.raises(RefusedError, match="there are 0 GPUs; NVIDIA A10 fell off"):
        await waiting
    await behind
    with pytest.raises(RefusedError, match="fell off"):
        await ours.acquire("d", want(gpu=Gpu()))
    assert ours.capacity().gpus == ()


@pytest.mark.parametrize("seen", [True, False])
async def test_a_driver_that_is_silent_for_a_sample_costs_nobody_his_job(seen: bool):
    ours = pool(gpus=(GPU,) if seen else ())
    said = []
    if seen:
        await ours.acquire("a", want(gpu=Gpu()))
        waiting = asyncio.create_task(ours.acquire("b", want(gpu=Gpu())))
        await asyncio.sleep(0)
    ours.fit((), alarm="the driver does not answer")
    newcomer = asyncio.create_task(ours.acquire("c", want(gpu=Gpu()), said.append))
    await asyncio.sleep(0)
    assert said == ["a GPU that this host cannot use just now: the driver does not answer"]
    ours.fit((GPU,))
    if seen:
        ours.release("a")
        assert (await waiting).gpus == ("GPU-1",)
        ours.release("b")
    assert (await newcomer).gpus == ("GPU-1",)


async def test_a_gpu_that_is_back_is_given_again():
    ours = pool(gpus=(GPU,))
    ours.fit(())
    ours.fit((GPU,))
    assert (await ours.acquire("a", want(gpu=Gpu()))).gpus == ("GPU-1",)


async def test_one_gpu_of_two_serves_on():
    other = GPU.model_copy(update={"uuid": "GPU-2"})
    clock = Clock()
    ours = pool(gpus=(GPU, other), clock=clock)
    ours.fit((other,), alarm="x")
    clock.now = ALARM_SECONDS
    assert (await ours.acquire("a", want(gpu=Gpu()))).gpus == ("GPU-2",)
    with pytest.raises(RefusedError, match="2 GPU"):
        await ours.acquire("b", want(gpu=Gpu(count=2)))


async def test_while_the_disk_is_full_nothing_is_given_and_nobody_is_refused():
    ours = pool()
    ours.fit((), withheld="no space left on /srv")
    waiting = asyncio.create_task(ours.acquire("a", want()))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert ours.withheld == "no space left on /srv"
    ours.fit(())
    assert (await waiting).cpus == 1


async def test_a_job_that_was_cancelled_in_the_moment_of_its_refusal_stays_cancelled():
    clock = Clock()
    ours = pool(gpus=(GPU,), clock=clock)
    await ours.acquire("a", want(gpu=Gpu()))
    waiting = asyncio.create_task(ours.acquire("b", want(gpu=Gpu())))
    await asyncio.sleep(0)
    waiting.cancel()
    clock.now = ALARM_SECONDS
    ours.fit((), alarm="x")
    with pytest.raises(asyncio.CancelledError):
        await waiting


# -- backfill --------------------------------------------------------------------------------------


def waiting(ours, job, resources):
    return asyncio.create_task(ours.acquire(job, resources))


async def settled():
    for _ in range(3):
        await asyncio.sleep(0)


async def test_small_jobs_pass_one_that_waits_for_a_gpu():
    ours = pool(cpus=4.0, gpus=(GPU,))
    await ours.acquire("has it", want(1, gpu=Gpu(), run_seconds=100))
    for_gpu = waiting(ours, "waits for it", want(1, gpu=Gpu(), run_seconds=100))
    small = [waiting(ours, f"small {n}", want(1, run_seconds=3600)) for n in range(3)]
    await settled()
    assert not for_gpu.done()
    assert all(one.done() for one in small)
    ours.release("has it")
    assert (await for_gpu).gpus == ("GPU-1",)


async def test_who_is_over_before_the_first_can_start_passes_it():
    ours = Pool(pool(cpus=2.0)._total, Clock())
    await ours.acquire("a", want(1, run_seconds=100))
    large = waiting(ours, "large", want(2, run_seconds=100))
    longer, shorter = (waiting(ours, str(s), want(1, run_seconds=s)) for s in (101, 100))
    await settled()
    assert (large.done(), longer.done(), shorter.done()) == (False, False, True)


async def test_a_stream_of_small_jobs_never_starves_a_large_one():
    clock = Clock()
    ours = Pool(pool(cpus=2.0)._total, clock)
    await ours.acquire("a", want(1, run_seconds=100))
    large = waiting(ours, "large", want(2, run_seconds=100))
    small = []
    for second in range(100):
        clock.now = float(second)
        small.append(waiting(ours, f"small {second}", want(1, run_seconds=10)))
        await settled()
        for job, until in list(ours._until.items()):
            if job.startswith("small") and until <= second:
                ours.release(job)
    assert 8 <= sum(one.done() for one in small) <= 10
    clock.now = 100.0
    for job in [job for job in ours._held if job != "large"]:
        ours.release(job)
    await settled()
    assert large.done()


async def test_who_is_over_his_time_may_end_at_any_moment():
    clock = Clock()
    ours = Pool(pool(cpus=2.0)._total, clock)
    await ours.acquire("a", want(1, run_seconds=100))
    clock.now = 200.0
    waiting(ours, "large", want(2))
    small = waiting(ours, "small", want(1, run_seconds=1))
    await settled()
    assert not small.done()


async def test_the_smallest_gpu_that_is_enough_is_given():
    large = GPU.model_copy(update={"uuid": "GPU-80", "vram": 80_000_000_000})
    ours = pool(gpus=(large, GPU))
    assert (await ours.acquire("a", want(gpu=Gpu(vram_gb=8)))).gpus == ("GPU-1",)
    assert (await ours.acquire("b", want(gpu=Gpu(vram_gb=8)))).gpus == ("GPU-80",)


async def test_what_has_run_holds_its_disk_alone():
    ours = pool(gpus=(GPU,))
    await ours.acquire("a", want(2, gpu=Gpu()))
    next_one = waiting(ours, "b", want(2, gpu=Gpu()))
    await settled()
    ours.keep_disk_alone("a", 1000)
    assert (await next_one).gpus == ("GPU-1",)
    assert ours.capacity().disk_free == 800 * MB


JOBS = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 10), st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=30
)


@pytest.mark.slow
@given(JOBS)
def test_no_more_is_given_than_there_is_and_the_first_starts_by_its_reservation(jobs):
    """Each job runs as long as it may; the first in the queue is never put off beyond the first promise it had."""
    total, clock = pool(cpus=4.0, gpus=(GPU,))._total, 0.0
    queue = [Request(want(cpus, run_seconds=s, **({"gpu": Gpu()} if gpu else {})), s) for cpus, s, gpu, _ in jobs]
    holders, promised = [], {}
    while queue:
        while queue and (found := next_to_start(total, holders, queue, clock)):
            place, share = found
            if place == 0:
                assert clock <= promised.get(id(queue[0]), clock)
            holders.append(Holder(share, clock + queue[place].seconds))
            del queue[place]
            free = free_of(total, (holder.share for holder in holders))
            assert free.cpus_free >= 0
            assert sum(len(holder.share.gpus) for holder in holders) <= 1
        if queue:
            promised.setdefault(id(queue[0]), _reservation(total, holders, queue[0], clock)[0])
            clock = min(holder.until for holder in holders)
            holders = [holder for holder in holders if holder.until > clock]


async def test_a_thousand_jobs_that_wait_are_looked_at_once_each():
    ours = pool(cpus=1.0)
    await ours.acquire("a", want(1))
    looked = []
    ours._next = lambda candidates: looked.append(len(candidates))
    for number in range(1000):
        waiting(ours, str(number), want(1))
    await settled()
    assert sum(looked) <= 2 * 1000
