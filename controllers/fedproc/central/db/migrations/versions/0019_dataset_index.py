"""Datasets and the terms by which they are found; terms come with the hosts' next heartbeats."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("host", sa.String(31), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("files", sa.BigInteger()),
        sa.Column("size", sa.BigInteger()),
        sa.Column("catalogue", sa.Text()),
        sa.ForeignKeyConstraint(["host"], ["hosts.id"], name="fk_datasets_host"),
        sa.PrimaryKeyConstraint("host", "id", name="pk_datasets"),
    )
    op.create_index("ix_datasets_catalogue", "datasets", ["catalogue"])
    op.create_table(
        "dataset_terms",
        sa.Column("term", sa.Text(), nullable=False),
        sa.Column("host", sa.String(31), nullable=False),
        sa.Column("dataset", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("term", "host", "dataset", name="pk_dataset_terms"),
    )
    op.create_index("ix_dataset_terms_host_dataset", "dataset_terms", ["host", "dataset"])
    op.add_column("hosts", sa.Column("offered", sa.String(64)))
    _copy_offers()


def downgrade() -> None:
    op.drop_column("hosts", "offered")
    op.drop_table("dataset_terms")
    op.drop_table("datasets")


def _copy_offers() -> None:
    """What the last heartbeats said, so that datasets of a host that is away are listed, too."""
    connection = op.get_bind()
    names = ("host", "id", "version", "label", "description", "files", "size")
    table = sa.table("datasets", *(sa.column(name) for name in names))
    hosts = sa.table("hosts", sa.column("id"), sa.column("heartbeat", sa.JSON()))
    for host, heartbeat in connection.execute(sa.select(hosts.c.id, hosts.c.heartbeat)).all():
        offered = {entry["id"]: entry for entry in (heartbeat or {}).get("datasets", [])}
        rows = [_row(host, entry) for entry in offered.values()]
        if rows:
            connection.execute(sa.insert(table), rows)


def _row(host: str, entry: dict[str, Any]) -> dict[str, Any]:
    texts = {name: (entry.get(name) or "").replace("\x00", "\ufffd") for name in ("version", "label", "description")}
    numbers = {name: None if entry.get(name) is None else min(entry[name], 2**63 - 1) for name in ("files", "size")}
    return {"host": host, "id": entry["id"], **texts, **numbers}
