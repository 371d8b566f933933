"""How much a user has stored is asked at every upload: the index holds all that is asked for."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_index("ix_files_owner_state_size", "files", ["owner", "state", "size"])


def downgrade() -> None:
    op.drop_index("ix_files_owner_state_size", "files")
