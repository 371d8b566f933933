"""Hosts enrol over HTTPS: codes that were given out, and the certificate requests that came with them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "enrolments",
        sa.Column("host", sa.String(31), nullable=False),
        sa.Column("code_sha256", sa.String(64), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.Column("wrong", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("request", sa.Text()),
        sa.Column("public_key", sa.Text()),
        sa.Column("fingerprint", sa.String(79)),
        sa.Column("requested", sa.Float()),
        sa.Column("certificate", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("decided", sa.Float()),
        sa.PrimaryKeyConstraint("host", name="pk_enrolments"),
    )


def downgrade() -> None:
    op.drop_table("enrolments")
