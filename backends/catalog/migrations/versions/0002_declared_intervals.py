"""This module lets devices declare how often they report."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("device", sa.Column("interval_seconds", sa.Float(), nullable=True))
