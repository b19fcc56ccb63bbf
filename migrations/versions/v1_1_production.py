#!/usr/bin/env python3
"""Version 1.1: what the production mode keeps.

Known devices, mails that wait, counts of attempts, and what happened.
"""
from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, Integer, String

revision, down_revision = "1.1", "1.0"

# SQLite counts INTEGER only.
BIG_ID = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    """Make four more tables."""
    op.create_table(
        "devices",
        Column("digest", String(64), primary_key=True),
        Column("user_id", Integer, ForeignKey("users.id", ondelete="CASCADE"),
               nullable=False, index=True),
        Column("seen_at", BigInteger, nullable=False))
    op.create_table(
        "outbox",
        Column("id", BIG_ID, primary_key=True),
        Column("purpose", String(32), nullable=False),
        Column("user_id", Integer, ForeignKey("users.id", ondelete="CASCADE"),
               index=True),
        Column("email", String(250), nullable=False, index=True),
        Column("detail", String(250), nullable=False),
        Column("queued_at", BigInteger, nullable=False),
        Column("due_at", BigInteger, index=True),
        Column("tries", Integer, nullable=False),
        sqlite_autoincrement=True)
    op.create_table(
        "attempts",
        Column("key", String(64), primary_key=True),
        Column("failures", Integer, nullable=False),
        Column("first_at", BigInteger, nullable=False),
        Column("blocked_until", BigInteger, nullable=False),
        Column("expires_at", BigInteger, nullable=False, index=True))
    op.create_table(
        "audit",
        Column("id", BIG_ID, primary_key=True),
        Column("at", BigInteger, nullable=False, index=True),
        Column("fact", String(32), nullable=False),
        Column("user_id", Integer, index=True),
        Column("network", String(64), nullable=False),
        Column("request_id", String(64), nullable=False),
        Column("detail", String(250), nullable=False),
        sqlite_autoincrement=True)
