"""This module makes the alerts of an incident findable."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("alert", sa.Column("incident", sa.String(length=36), server_default="", nullable=False))
    if op.get_bind().dialect.name == "sqlite":
        op.execute("UPDATE alert SET incident = coalesce(json_extract(body, '$.raised.incident'), '')")
    else:
        op.execute("UPDATE alert SET incident = coalesce(body::json #>> '{raised,incident}', '')")
    op.create_index(op.f("ix_alert_incident_active_opened_at"), "alert", ["incident", "active", "opened_at"])
