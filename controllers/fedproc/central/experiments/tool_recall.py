"""Recalling a version of a tool: it is offered no more, and what runs of it anywhere is told to end.

Whoever starts the version from then on is refused with the reason; its experiments end as ``cancelled`` by
``tool.recalled``, which their users and the hosts are told. Hosts of the release before end them like any other
cancelled job. What they released stays at the centre.
"""

from __future__ import annotations

from sqlalchemy import Connection, select

from fedproc.central.db.repositories import experiments as repository
from fedproc.central.db.repositories import tools
from fedproc.central.db.schema import experiments
from fedproc.central.experiments.advance import advance


def recall(connection: Connection, tool: str, version: str, reason: str, now: float) -> int:
    """Recall one version, in the caller's transaction, which starts no experiment of it meanwhile (it is serialized).

    How many experiments are told to end. Again it changes nothing but ends what is left. Raises
    :class:`NotFoundError`.
    """
    row = tools.recall(connection, tool, version, reason, now)
    because = f"version {version} of tool {tool} was recalled by the federation's operator: {row.recall_reason}"
    query = select(experiments.c.id).where(experiments.c.digest == row.digest, experiments.c.ended.is_(None))
    found = connection.execute(query.order_by(experiments.c.id)).scalars().all()
    for experiment in found:
        repository.request_cancel(connection, experiment, because)
        advance(connection, experiment, now)
    return len(found)
