"""Dead letters are found by their host, of whom only the latest are kept."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_index("ix_dead_letters_host_id", "dead_letters", ["host", "id"])


def downgrade() -> None:
    op.drop_index("ix_dead_letters_host_id", "dead_letters")
