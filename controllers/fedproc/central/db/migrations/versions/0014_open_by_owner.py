"""The open experiments of a user are counted at each submission, however many have ended."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_index("ix_experiments_owner_state", "experiments", ["owner", "state"])


def downgrade() -> None:
    op.drop_index("ix_experiments_owner_state", "experiments")
