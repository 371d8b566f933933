"""What is searched gets a column or an index: jobs of gangs, and the audit by who and by what.

A job's parameters stand in its order; the column that held them a second time goes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("gang", sa.Boolean(), nullable=False, server_default=sa.false()))
    jobs = sa.table("jobs", sa.column("order", sa.JSON()), sa.column("gang", sa.Boolean()))
    op.execute(sa.update(jobs).where(jobs.c.order["gang"].as_boolean()).values(gang=sa.true()))
    op.drop_column("jobs", "parameters")
    op.create_index("ix_jobs_gang_state", "jobs", ["gang", "state"])
    op.create_index("ix_audit_actor_id", "audit", ["actor", "id"])
    op.create_index("ix_audit_target", "audit", ["target"])


def downgrade() -> None:
    op.drop_index("ix_audit_target", "audit")
    op.drop_index("ix_audit_actor_id", "audit")
    op.drop_index("ix_jobs_gang_state", "jobs")
    op.add_column("jobs", sa.Column("parameters", sa.JSON(), nullable=False, server_default="{}"))
    op.drop_column("jobs", "gang")
