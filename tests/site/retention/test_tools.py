"""Tools and environments that nobody needs go; what a job or the policy needs, or has just used, stays."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from joserfc.jwk import ECKey
from tests.site.retention.conftest import Time
from tests.support.orchestrator import Host
from tests.support.tool_store import ToolStore

from fedproc.common.keys import Signer
from fedproc.site.policy.policy_file import Policy
from fedproc.site.retention.keeper import Retention
from fedproc.site.retention.kept import Kind
from fedproc.site.retention.tools import Tools
from fedproc.site.tools.cache import ToolCache
from fedproc.site.tools.choosing import TaskRuntimes
from fedproc.site.tools.venvs import VenvRuntimes

pytestmark = pytest.mark.slow  # environments are made


@pytest.fixture
def site(tmp_path: Path, clock: Time) -> ToolStore:
    return ToolStore(tmp_path)


async def cleaned(clock: Time, *kinds: Kind) -> int:
    removed = 0
    for kind in kinds:
        while batch := await kind.remove(clock()):
            removed += batch
    return removed


@pytest.mark.slow
async def test_only_what_no_line_of_the_policy_and_no_job_needs_goes_and_that_after_its_days(
    site: ToolStore, clock: Time
) -> None:
    old, newest = await site.has("km", "1.9.0"), await site.has("km", "1.10.0")
    pinned, gone, running = (
        await site.has("mean", "1.0.0"),
        await site.has("mode", "1.0.0"),
        await site.has("sum", "1.0.0"),
    )
    site.admit(("km", "*"), ("mean", pinned))
    site.used = {running}
    clock.go_on(89)
    assert await cleaned(clock, site.environments, site.tools) == 0
    clock.go_on(2)
    found = [await kind.survey(clock()) for kind in (site.tools, site.environments)]
    assert [(one.count, one.due) for one in found] == [(5, 2), (5, 2)]
    assert all(one.size > 0 for one in found[:1])
    assert await cleaned(clock, site.environments, site.tools) == 4
    assert site.here == {newest, pinned, running}
    assert len(site.venvs.stored()) == 3
    assert {old, gone} & site.here == set()


@pytest.mark.slow
async def test_tool_or_environment_that_cannot_be_removed_keeps_no_later_one(
    site: ToolStore, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tool in ("km", "mean", "mode"):
        await site.has(tool, "1.0.0")
    stuck = {site.tools._cache.stored()[0].digest, site.venvs.stored()[0].name}
    for kept in (ToolCache, VenvRuntimes):
        monkeypatch.setattr(kept, "discard", _refusing(kept.discard, stuck))
    (site.tools._cache._folder / "sha256-1.lost").write_text("no folder")
    (site.tools._cache._folder / "sha256-2.lost").mkdir()
    clock.go_on(91)
    assert await cleaned(clock, site.environments, site.tools) == 5
    assert {tool.digest for tool in site.tools._cache.stored()} | {one.name for one in site.venvs.stored()} == stuck


def _refusing(real: Any, stuck: set[str]) -> Any:
    async def discard(self: Any, name: str, before: float) -> bool:
        if name in stuck:
            raise OSError(16, "Device or resource busy")
        return bool(await real(self, name, before))

    return discard


@pytest.mark.slow
async def test_what_was_used_in_between_stays(site: ToolStore, clock: Time) -> None:
    digest = await site.has("km", "1.0.0")
    clock.go_on(80)
    await site.use("km", "1.0.0", digest)
    clock.go_on(80)
    assert await cleaned(clock, site.environments, site.tools) == 0
    assert site.here == {digest}


async def test_tool_and_environment_that_went_are_made_again_for_the_next_job(site: ToolStore, clock: Time) -> None:
    digest = await site.has("km", "1.0.0")
    installed = await site.use("km", "1.0.0", digest)
    clock.go_on(91)
    await cleaned(clock, site.environments)
    assert site.cache.ready() == () or site.cache.ready()[0].tasks == ()
    runtime = await site.venvs.ready(installed, installed.manifest.tool.task("local"))
    assert await asyncio.to_thread((Path(runtime.reference) / "complete").exists)


async def test_environment_that_a_job_takes_at_that_moment_stays(site: ToolStore, clock: Time) -> None:
    digest = await site.has("km", "1.0.0")
    [stored] = site.venvs.stored()
    clock.go_on(91)
    await site.use("km", "1.0.0", digest)
    assert not await site.venvs.discard(stored.name, clock() - 90 * 86400)
    assert not await site.cache.discard(digest, clock() - 90 * 86400)
    assert site.here == {digest}


async def test_environment_of_a_shared_folder_outlives_the_longest_job_of_another_host(
    tmp_path: Path, clock: Time
) -> None:
    site = ToolStore(tmp_path, shared=True)
    await site.has("km", "1.0.0")
    [stored] = site.venvs.stored()
    clock.go_on(30)
    assert not await site.venvs.discard(stored.name, clock())
    clock.go_on(2)
    assert await site.venvs.discard(stored.name, clock())
    assert await asyncio.to_thread(lambda: [path.name for path in (tmp_path / "environments").iterdir()]) == []


async def test_version_that_nobody_trusts_any_more_goes(site: ToolStore, clock: Time, tmp_path: Path) -> None:
    digest = await site.has("km", "1.0.0")
    site.admit(("km", "*"))
    other = ToolCache(tmp_path / "tools", Signer(ECKey.generate_key("P-256")).trusted, cast(Any, None))
    clock.go_on(91)
    kind = Tools(other, 90, lambda: site.policy, set, lambda: 0.0)
    assert await cleaned(clock, kind) == 1
    assert digest not in site.here


@pytest.mark.slow
async def test_what_was_left_half_unpacked_goes_after_a_day(site: ToolStore, clock: Time, tmp_path: Path) -> None:
    digest = await site.has("km", "1.0.0")
    site.admit(("km", "*"))
    half = tmp_path / "tools" / f"sha256-{'a' * 64}.123-456"
    (half / "source").mkdir(parents=True)
    assert await cleaned(clock, site.tools) == 0
    clock.go_on(2)
    assert await cleaned(clock, site.tools) == 1
    assert not half.exists()
    assert site.here == {digest}


@pytest.mark.slow
async def test_what_was_there_before_uses_were_noted_counts_from_then(
    site: ToolStore, host: Host, clock: Time, tmp_path: Path
) -> None:
    """After an update: that a tool was fetched long ago does not say that nobody uses it."""
    digest = await site.has("km", "1.0.0")
    for noted in (tmp_path / "tools").glob("*/manifest.jws"), (tmp_path / "environments").glob("*/complete"):
        for path in noted:
            os.utime(path, (clock() - 300 * 86400,) * 2)
    services = replace(
        host.services, tool_cache=site.cache, runtimes=TaskRuntimes({"sandbox": (site.venvs,)}), policy=Policy()
    )
    retention = Retention(services, host.orchestrator)
    await retention.clean()
    assert site.here == {digest}
    clock.go_on(89)
    await Retention(services, host.orchestrator).clean()
    assert (site.here, len(site.venvs.stored())) == ({digest}, 1)
    clock.go_on(2)
    await retention.clean()
    assert (site.here, site.venvs.stored()) == (set(), [])
