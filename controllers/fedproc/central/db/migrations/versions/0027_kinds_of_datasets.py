"""What datasets hold, so that a tool that reads something else is refused before it starts."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    op.add_column("datasets", sa.Column("kinds", sa.JSON(none_as_null=True)))


def downgrade() -> None:
    op.drop_column("datasets", "kinds")
