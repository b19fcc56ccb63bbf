#!/usr/bin/env python3
"""The tables that hang off a user.

Times are whole seconds since 1970 UTC. A token is stored only as its SHA-256
digest, so a copy of the database signs nobody in. Rows point at their user by
id and disappear with it; there are no ORM relationships, so nothing is loaded
behind the reader's back.
"""
from __future__ import annotations

from typing import Any, Dict, Optional

from sqlalchemy import BigInteger, ForeignKey, Integer, String

from user import EMAIL_MAX, Base, Column

RESET = "reset"

# 64 bits, because 32 end in 2038.
Seconds = BigInteger
# The type of an id that grows with use; SQLite counts INTEGER only.
BigId = BigInteger().with_variant(Integer(), "sqlite")


def _owner(**options: Any) -> Any:
    """Declare the column that names the user a row belongs to."""
    return Column(Integer, ForeignKey("users.id", ondelete="CASCADE"),
                  nullable=False, **options)


class Account(Base):
    """What is known of a user beside the card's columns, one row a user."""

    __tablename__ = "accounts"

    user_id: int = _owner(primary_key=True, autoincrement=False)
    created_at: int = Column(Seconds, nullable=False)
    verified_at: Optional[int] = Column(Seconds)
    disabled_at: Optional[int] = Column(Seconds)
    password_changed_at: int = Column(Seconds, nullable=False)


class Session(Base):
    """One signed-in device.

    `id` is the public handle by which its owner may end it; the token itself
    is known to the device alone.
    """

    __tablename__ = "sessions"
    # A handle on an old page must never name a newer session.
    __table_args__ = {"sqlite_autoincrement": True}

    id: int = Column(BigId, primary_key=True)
    user_id: int = _owner(index=True)
    digest: str = Column(String(64), nullable=False, unique=True)
    opened_at: int = Column(Seconds, nullable=False)
    seen_at: int = Column(Seconds, nullable=False)
    expires_at: int = Column(Seconds, nullable=False)
    user_agent: str = Column(String(250), nullable=False)
    network: str = Column(String(64), nullable=False)

    def shown(self) -> Dict[str, Any]:
        """Return what its owner may see of it: everything but the digest."""
        return {"id": self.id, "opened_at": self.opened_at,
                "seen_at": self.seen_at, "expires_at": self.expires_at,
                "user_agent": self.user_agent, "network": self.network}

    def is_live(self, now: int, idle: int) -> bool:
        """Tell whether the session still counts at this moment.

        It ends `idle` seconds after it was last seen and, used or not, at
        `expires_at`. Asked at every look-up, because a sweeper that sleeps
        must not keep a session alive (SuperTokens GHSA-w9fp-wv6g-pqv8).
        """
        return now < self.expires_at and now < self.seen_at + idle


class MailToken(Base):
    """A single-use token that proves its bearer reads a mailbox."""

    __tablename__ = "mail_tokens"

    digest: str = Column(String(64), primary_key=True)
    user_id: int = _owner(index=True)
    purpose: str = Column(String(16), nullable=False)
    email: str = Column(String(EMAIL_MAX), nullable=False)
    expires_at: int = Column(Seconds, nullable=False)
