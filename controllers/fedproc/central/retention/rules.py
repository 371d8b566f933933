"""What is kept at the centre, kind by kind: the one table of it.

Whatever a rule says, nothing goes that an open experiment needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Table, false, select

from fedproc.central.db.schema import (
    audit,
    dead_letters,
    enrolments,
    events,
    experiments,
    files,
    hosts,
    jobs,
    outbox,
    records,
    submissions,
    traces,
)
from fedproc.central.retention import ageing
from fedproc.central.retention.ageing import Remover, rows_older
from fedproc.central.settings import RetentionSettings
from fedproc.contract.states import TERMINAL


@dataclass(frozen=True)
class Rule:
    """``kind`` is also the name of its setting, in days; ``table``: where its rows are counted."""

    kind: str
    table: Table
    remove: Remover

    def days(self, settings: RetentionSettings) -> float:
        """After how many days it goes; 0: never."""
        return float(getattr(settings, self.kind))


_EXPERIMENT_IS_OPEN = (
    select(experiments.c.id).where(experiments.c.id == events.c.experiment, experiments.c.ended.is_(None)).exists()
)
_JOB_IS_OPEN = select(jobs.c.id).where(jobs.c.id == outbox.c.job, jobs.c.state.not_in(TERMINAL)).exists()
_HOST_IS_ACTIVE = select(hosts.c.id).where(hosts.c.id == outbox.c.host, hosts.c.active).exists()
_IS_NEEDED = _JOB_IS_OPEN | (outbox.c.sent.is_(None) & _HOST_IS_ACTIVE)
"""of a message: a job that is lost on its way is sent again, and what waits is for a host that may come back"""

RULES = (
    Rule("experiments", experiments, ageing.ended_experiments),
    Rule("files", files, ageing.own_files),
    Rule("uploads", files, ageing.unfinished_uploads),
    Rule("events", events, rows_older(events, events.c.time, stays=_EXPERIMENT_IS_OPEN)),
    Rule("records", records, ageing.ingested_records),
    Rule("outbox", outbox, rows_older(outbox, outbox.c.created, stays=_IS_NEEDED)),
    Rule("dead_letters", dead_letters, rows_older(dead_letters, dead_letters.c.time, stays=false())),
    Rule("enrolments", enrolments, ageing.decided_enrolments),
    Rule("submissions", submissions, ageing.decided_submissions),
    Rule("traces", traces, rows_older(traces, traces.c.created, stays=false())),
    Rule("audit", audit, rows_older(audit, audit.c.time, stays=audit.c.logged.is_(False))),
)
