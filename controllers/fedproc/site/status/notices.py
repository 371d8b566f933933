"""Telling a site's own people that something waits for them: by mail, or by a webhook, and reminding them.

What goes is the host's id and of each job its id, how many files wait, since when and until when: nothing of the data,
of the tool or of who asked. What was sent is noted in the job's record; what was not goes again, as long as it waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fedproc.common.log import get_logger
from fedproc.common.retry import Backoff
from fedproc.common.tasks import run_together
from fedproc.contract.states import JobState
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.jobs.orchestrator import Orchestrator
from fedproc.site.jobs.reviewing import REMINDER, WAITING
from fedproc.site.jobs.run import JobRun
from fedproc.site.settings import SiteSettings
from fedproc.site.status.notice import Channel, Notice

log = get_logger(__name__)

_LONGEST = 3600.0


class NoticeSender:
    """Sends what is due, by each channel for itself: one that does not work keeps no other."""

    def __init__(self, host: str, orchestrator: Orchestrator, channels: Sequence[Channel], pause: float) -> None:
        self._host = host
        self._orchestrator = orchestrator
        self._channels = channels
        self._pause = pause

    async def run(self) -> None:
        """Until cancelled."""
        if not self._channels:
            await asyncio.Event().wait()
        await run_together(*(self._serve(channel) for channel in self._channels))

    async def _serve(self, channel: Channel) -> None:
        try:
            await asyncio.to_thread(channel.check)
        except Exception as error:  # noqa: BLE001 (whatever a file holds, what else this host does goes on)
            log.error("notice.unusable", channel=channel.name, reason=str(error))
        backoff = Backoff(self._pause, max(self._pause, _LONGEST))
        while True:
            pause = self._pause
            if due := self._due(channel.name):
                try:
                    await channel.send(self._host, [notice for _, notice in due])
                except Exception as error:  # noqa: BLE001 (whatever it is, jobs and the other channels go on)
                    pause = backoff.pause()
                    log.error("notice.not_sent", channel=channel.name, jobs=len(due), reason=str(error), again=pause)
                else:
                    backoff.reset()
                    log.info("notice.sent", channel=channel.name, jobs=[notice.job for _, notice in due])
                    for run, notice in due:
                        run.note_notified(channel.name, REMINDER if notice.is_reminder else WAITING)
            await asyncio.sleep(pause)

    def _due(self, channel: str) -> list[tuple[JobRun, Notice]]:
        found = []
        for run in self._orchestrator.runs.values():
            record, review = run.record, run.record.review
            waits = record.state is JobState.awaiting_release and record.decision is None and record.verdict is None
            if not waits or review is None or review.expired:
                continue
            occasion = REMINDER if review.reminded else WAITING
            if occasion not in review.notified.get(channel, []):
                until = run.decided_by
                found.append((run, Notice(record.job, len(review.asked), review.since, until, occasion == REMINDER)))
        return found


def channels_of(settings: SiteSettings, egress: ProxyConnector) -> list[Channel]:
    """Those that the settings name."""
    found: list[Channel] = []
    if settings.notify.mail is not None:
        from fedproc.site.status.mail import MailChannel

        found.append(MailChannel(settings.notify.mail, egress))
    if settings.notify.webhook is not None:
        from fedproc.site.status.webhook import WebhookChannel

        found.append(WebhookChannel(settings.notify.webhook, egress))
    return found
