"""What the parts of an orchestrator tell those that talk to the centre."""

from __future__ import annotations

import asyncio

import pytest

from fedproc.site.centre.signals import OutboxSignal, Switch


async def test_a_switch_is_waited_for_in_both_directions() -> None:
    switch = Switch(on=True)
    await asyncio.wait_for(switch.until(True), 1)
    waiter = asyncio.create_task(switch.until(False))
    await asyncio.sleep(0)
    assert (switch.on, waiter.done()) == (True, False)
    switch.set(False)
    await asyncio.wait_for(waiter, 1)
    assert not switch.on


async def test_a_switch_that_is_turned_back_at_once_wakes_who_waited() -> None:
    switch = Switch(on=True)
    waiter = asyncio.create_task(switch.until(False))
    await asyncio.sleep(0)
    switch.set(False)
    switch.set(True)
    await asyncio.wait_for(waiter, 1)


@pytest.mark.slow
async def test_all_of_the_outbox_is_due_soon_and_a_job_that_is_awaited_at_once() -> None:
    signal = OutboxSignal()
    signal.publish("j-1")
    assert await asyncio.wait_for(signal.due(), 0.1) == {"j-1"}
    assert await asyncio.wait_for(signal.due(), 1) is None


@pytest.mark.slow
async def test_after_a_failed_attempt_all_of_it_is_due_at_once() -> None:
    signal = OutboxSignal()
    assert await asyncio.wait_for(signal.due(), 1) is None
    signal.publish_now()
    assert await asyncio.wait_for(signal.due(), 0.1) is None
