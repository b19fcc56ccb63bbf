#!/usr/bin/env python3
"""A version to come that takes away what code of today needs."""
from __future__ import annotations

from alembic import op

revision, down_revision = "2.0", "1.999"


def upgrade() -> None:
    """Rename a column, the table being rebuilt on SQLite."""
    with op.batch_alter_table("users") as table:
        table.alter_column("session_id", new_column_name="newest_session")
