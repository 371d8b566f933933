"""What the descriptions of datasets say of columns."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "dataset_columns",
        sa.Column("host", sa.String(31), nullable=False),
        sa.Column("dataset", sa.String(64), nullable=False),
        sa.Column("page", sa.Integer(), nullable=False),
        sa.Column("pages", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("columns", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("host", "dataset", "page", name="pk_dataset_columns"),
    )


def downgrade() -> None:
    op.drop_table("dataset_columns")
