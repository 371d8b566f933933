"""Title and creators of datasets, by which they are cited."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.add_column("datasets", sa.Column("title", sa.Text()))
    op.add_column("datasets", sa.Column("creators", sa.JSON(none_as_null=True)))


def downgrade() -> None:
    op.drop_column("datasets", "creators")
    op.drop_column("datasets", "title")
