"""Whether what a host says that it released is here."""

from __future__ import annotations

from sqlalchemy import Connection, select

from fedproc.central.db.schema import files
from fedproc.contract.wire.messages import Snapshot


def missing_output(connection: Connection, snapshot: Snapshot) -> str | None:
    """A file that the snapshot names and the centre does not have, whole and with the hash that its host signed."""
    named = {output.file: output.sha256 for output in (*snapshot.outputs, *snapshot.artefacts)}
    if not named:
        return None
    query = select(files.c.id, files.c.sha256).where(files.c.job == snapshot.job, files.c.state == "complete")
    here = {row.id: row.sha256 for row in connection.execute(query)}
    return next((file for file, sha256 in named.items() if here.get(file) != sha256), None)
