#!/usr/bin/env python3
"""A version to come that only adds: a column, an index and a table."""
from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, String

revision, down_revision = "1.999", "1.1"


def upgrade() -> None:
    """Add what code of today never asks for."""
    op.add_column("accounts", Column("nickname", String(60)))
    op.create_index("ix_accounts_created_at", "accounts", ["created_at"])
    op.create_table("badges", Column("id", Integer, primary_key=True))
