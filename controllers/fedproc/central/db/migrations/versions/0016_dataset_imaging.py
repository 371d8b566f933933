"""What the images of datasets are, in numbers that their hosts rounded."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("dataset_columns", sa.Column("imaging", sa.JSON()))


def downgrade() -> None:
    op.drop_column("dataset_columns", "imaging")
