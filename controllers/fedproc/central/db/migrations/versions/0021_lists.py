"""What lists are filtered, sorted and counted by; it comes with the hosts' next heartbeats."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("datasets", sa.Column("persons", sa.BigInteger()))
    op.add_column("datasets", sa.Column("modality", sa.JSON()))
    op.add_column("datasets", sa.Column("body_part", sa.JSON()))
    op.add_column("hosts", sa.Column("condition", sa.String(16)))
    op.add_column("hosts", sa.Column("condition_text", sa.Text()))
    op.add_column("hosts", sa.Column("certificate_expires", sa.Float()))
    _copy_expiries()
    op.execute("UPDATE hosts SET offered = NULL")  # so that the next heartbeat describes what is known already


def _copy_expiries() -> None:
    connection = op.get_bind()
    table = sa.table("hosts", sa.column("id"), sa.column("report", sa.JSON()), sa.column("certificate_expires"))
    for host, report in connection.execute(sa.select(table.c.id, table.c.report)).all():
        if (expires := _expires(report)) is not None:
            connection.execute(sa.update(table).where(table.c.id == host).values(certificate_expires=expires))


def _expires(report: Any) -> float | None:
    """A time without a zone, or at the end of all time, is no moment that a list could show."""
    for key in ("report", "facts", "credentials", "certificate", "not_after"):
        report = report.get(key) if isinstance(report, dict) else None
    try:
        found = datetime.fromisoformat(report) if isinstance(report, str) else None
        if found is None or found.tzinfo is None:
            return None
        return datetime.fromtimestamp(found.timestamp(), UTC).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def downgrade() -> None:
    op.drop_column("hosts", "certificate_expires")
    op.drop_column("hosts", "condition_text")
    op.drop_column("hosts", "condition")
    op.drop_column("datasets", "body_part")
    op.drop_column("datasets", "modality")
    op.drop_column("datasets", "persons")
