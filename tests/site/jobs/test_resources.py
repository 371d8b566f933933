"""The pool: no more is given than there is, first come first served, nothing is lost on the way."""

from __future__ import annotations

import asyncio

import pytest

from fedproc.common.errors import RefusedError
from fedproc.contract.tool.task import Gpu, Resources
from fedproc.contract.wire.messages import Capacity, GpuInfo
from fedproc.site.jobs.resources import MB, Pool, Share

GPU = GpuInfo(uuid="GPU-1", name="x", vram=16_000_000_000, compute_capability=8.0)


def pool(cpus=2.0, gpus=()) -> Pool:
    memory = disk = 1000 * MB
    return Pool(
        Capacity(cpus=cpus, cpus_free=cpus, memory=memory, memory_free=memory, disk=disk, disk_free=disk, gpus=gpus)
    )


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


async def test_a_gpu_that_is_lost_is_no_longer_given_and_whoever_needs_it_is_refused():
    ours = pool(gpus=(GPU,))
    await ours.acquire("a", want(gpu=Gpu()))
    waiting = asyncio.create_task(ours.acquire("b", want(gpu=Gpu())))
    behind = asyncio.create_task(ours.acquire("c", want(1)))
    await asyncio.sleep(0)
    ours.fit((), alarm="NVIDIA A10 fell off")
    with pytest.raises(RefusedError, match="there are 0 GPUs; NVIDIA A10 fell off"):
        await waiting
    await behind
    with pytest.raises(RefusedError, match="fell off"):
        await ours.acquire("d", want(gpu=Gpu()))
    assert ours.capacity().gpus == ()


async def test_a_gpu_that_is_back_is_given_again():
    ours = pool(gpus=(GPU,))
    ours.fit(())
    ours.fit((GPU,))
    assert (await ours.acquire("a", want(gpu=Gpu()))).gpus == ("GPU-1",)


async def test_one_gpu_of_two_serves_on():
    other = GPU.model_copy(update={"uuid": "GPU-2"})
    ours = pool(gpus=(GPU, other))
    ours.fit((other,), alarm="x")
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
    ours = pool(gpus=(GPU,))
    await ours.acquire("a", want(gpu=Gpu()))
    waiting = asyncio.create_task(ours.acquire("b", want(gpu=Gpu())))
    await asyncio.sleep(0)
    waiting.cancel()
    ours.fit((), alarm="x")
    with pytest.raises(asyncio.CancelledError):
        await waiting
