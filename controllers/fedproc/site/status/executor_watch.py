"""Whether this host's executor can run jobs, and within which limits: asked before a job comes, and again and again.

While it cannot, or enforces too little for the site's policy (``unenforced_limits``), the host holds: jobs wait.
"""

from __future__ import annotations

import asyncio

from fedproc.common.log import get_logger
from fedproc.site.executors.base import Offer
from fedproc.site.executors.several import offers_of
from fedproc.site.jobs.services import Services
from fedproc.site.policy.policy_file import Policy

log = get_logger(__name__)

_HOLD = "executor"
_FIRST_SECONDS = 5.0
_AGAIN_SECONDS = 2.0
"""while it cannot run jobs"""


class ExecutorWatch:
    """:meth:`begin` before jobs are taken, then :meth:`run`. The host holds while none of its executors takes jobs."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._asked = False

    async def begin(self) -> None:
        """Ask for the first time; one that does not answer soon is asked again by :meth:`run`."""
        try:
            async with asyncio.timeout(_FIRST_SECONDS):
                await self._look()
        except TimeoutError:
            self._services.holds.hold(_HOLD, f"executor {self._services.executor.name} does not answer yet")

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            unsettled = not self._asked or self._services.runtimes.unfit
            await asyncio.sleep(_AGAIN_SECONDS if unsettled else self._services.settings.check.seconds)
            await self._look()

    async def _look(self) -> None:
        services = self._services
        offers = await offers_of(services.executor)
        found = {name: reason for name, offer in offers.items() if (reason := unfit(offer, services.policy))}
        for name in found.keys() - services.runtimes.unfit.keys():
            log.warning("executor.unfit", executor=name, reason=found[name])
        self._asked, services.runtimes.unfit = True, found
        none = "; ".join(f"executor {name}: {reason}" for name, reason in found.items())
        services.holds.hold(_HOLD, none if len(found) == len(offers) else None)


def unfit(offer: Offer, policy: Policy) -> str:
    """Why jobs may not be started by an executor with this offer; empty if they may."""
    if offer.obstacle:
        return offer.obstacle
    missing = {limit: cure for limit, cure in offer.lacks.items() if limit not in policy.unenforced_limits}
    if not missing:
        return ""
    cures = "; ".join(dict.fromkeys(missing.values()))
    return (
        f"{offer.detail} does not enforce the limits of {', '.join(missing)} ({cures}); or the site's policy says that "
        "they need not be (unenforced_limits)"
    )
