#!/usr/bin/env python3
"""Version 1.0: users, accounts, sessions and mailed tokens.

The first release made these tables without noting a version. So each is made
only where it is missing, and a database of that release is taken over as it
is.
"""
from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, Integer, String, inspect

revision, down_revision = "1.0", None

# SQLite counts INTEGER only.
BIG_ID = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    """Make those of the four tables that are missing."""
    make_missing(
        "users",
        Column("id", Integer, primary_key=True),
        Column("email", String(250), nullable=False, unique=True),
        Column("hashed_password", String(250), nullable=False),
        Column("session_id", String(250)),
        Column("reset_token", String(250)),
        sqlite_autoincrement=True)
    make_missing(
        "accounts",
        Column("user_id", Integer, ForeignKey("users.id", ondelete="CASCADE"),
               primary_key=True, autoincrement=False),
        Column("created_at", BigInteger, nullable=False),
        Column("verified_at", BigInteger),
        Column("disabled_at", BigInteger),
        Column("password_changed_at", BigInteger, nullable=False))
    make_missing(
        "sessions",
        Column("id", BIG_ID, primary_key=True),
        Column("user_id", Integer, ForeignKey("users.id", ondelete="CASCADE"),
               nullable=False, index=True),
        Column("digest", String(64), nullable=False, unique=True),
        Column("opened_at", BigInteger, nullable=False),
        Column("seen_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger, nullable=False),
        Column("user_agent", String(250), nullable=False),
        Column("network", String(64), nullable=False),
        sqlite_autoincrement=True)
    make_missing(
        "mail_tokens",
        Column("digest", String(64), primary_key=True),
        Column("user_id", Integer, ForeignKey("users.id", ondelete="CASCADE"),
               nullable=False, index=True),
        Column("purpose", String(16), nullable=False),
        Column("email", String(250), nullable=False),
        Column("expires_at", BigInteger, nullable=False))


def make_missing(name: str, *columns: Any, **options: Any) -> None:
    """Make a table unless there is one of this name."""
    if name not in inspect(op.get_bind()).get_table_names():
        op.create_table(name, *columns, **options)
