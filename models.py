#!/usr/bin/env python3
"""The tables that hang off a user.

Times are whole seconds since 1970 UTC. A token is stored only as its SHA-256
digest, so a copy of the database signs nobody in. Rows point at their user by
id and disappear with it; there are no ORM relationships, so nothing is loaded
behind the reader's back.
"""
from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional, Union

from sqlalchemy import BigInteger, ForeignKey, Integer, String

from user import EMAIL_MAX, Base, Column

# What a mailed token is good for.
RESET, VERIFY, CHANGE = "reset", "verify", "change"

# So far behind its own past a clock is believed.
SET_BACK = 86400
# 64 bits, because 32 end in 2038.
Seconds = BigInteger
# The type of an id that grows with use; SQLite counts INTEGER only.
BigId = BigInteger().with_variant(Integer(), "sqlite")


def _owner(nullable: bool = False, **options: Any) -> Any:
    """Declare the column that names the user a row belongs to."""
    return Column(Integer, ForeignKey("users.id", ondelete="CASCADE"),
                  nullable=nullable, **options)


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

    @classmethod
    def live(cls, now: int, idle: int) -> Any:
        """Return the condition of is_live() as one for many rows at once."""
        return ((cls.opened_at <= now + SET_BACK) & (cls.expires_at > now)
                & (cls.seen_at > now - idle))


class Visit(NamedTuple):
    """A session and whose it is, as values: what every request looks up.

    The columns of a session, but for its digest, and what an app may know of
    its user.
    """

    id: int
    user_id: int
    opened_at: int
    seen_at: int
    expires_at: int
    user_agent: str
    network: str
    email: str
    verified_at: Optional[int]


def is_live(session: Union[Session, Visit], seen_at: int, now: int,
            idle: int) -> bool:
    """Tell whether a session that was last seen then still counts now.

    It ends `idle` seconds after it was seen and, used or not, at
    `expires_at`. Asked at every look-up, because a sweeper that sleeps must
    not keep a session alive (SuperTokens GHSA-w9fp-wv6g-pqv8). One from the
    future was opened by a clock that ran ahead, and would last for as much
    longer; up to a day may be a clock that was set back.
    """
    return (session.opened_at - SET_BACK <= now < session.expires_at
            and now < seen_at + idle)


class MailToken(Base):
    """A single-use token that proves its bearer reads a mailbox."""

    __tablename__ = "mail_tokens"

    digest: str = Column(String(64), primary_key=True)
    user_id: int = _owner(index=True)
    purpose: str = Column(String(16), nullable=False)
    email: str = Column(String(EMAIL_MAX), nullable=False)
    expires_at: int = Column(Seconds, nullable=False)

    def shown(self) -> Dict[str, Any]:
        """Return what its user may see of it: everything but the digest."""
        return {"purpose": self.purpose, "email": self.email,
                "expires_at": self.expires_at}


class Device(Base):
    """A browser in which a user has signed in, or proved their mailbox.

    It tries passwords on a count of its own, so that nobody else's guesses
    keep its owner out (OWASP device cookies).
    """

    __tablename__ = "devices"

    digest: str = Column(String(64), primary_key=True)
    user_id: int = _owner(index=True)
    seen_at: int = Column(Seconds, nullable=False)

    def shown(self) -> Dict[str, Any]:
        """Return what its user may see of it: everything but the digest."""
        return {"seen_at": self.seen_at}


class Outgoing(Base):
    """A mail that waits to be sent, written together with its cause.

    It holds no token: the sender mints one at the moment of sending. `due_at`
    is None once the sender has given up.
    """

    __tablename__ = "outbox"
    __table_args__ = {"sqlite_autoincrement": True}

    id: int = Column(BigId, primary_key=True)
    purpose: str = Column(String(32), nullable=False)
    user_id: Optional[int] = _owner(nullable=True, index=True)
    email: str = Column(String(EMAIL_MAX), nullable=False, index=True)
    detail: str = Column(String(EMAIL_MAX), nullable=False)
    queued_at: int = Column(Seconds, nullable=False)
    due_at: Optional[int] = Column(Seconds, index=True)
    tries: int = Column(Integer, nullable=False)

    def shown(self) -> Dict[str, Any]:
        """Return what may be seen of it by whoever it is sent to.

        Not its detail: a mail to this address may tell of another user's.
        """
        return {"purpose": self.purpose, "email": self.email,
                "queued_at": self.queued_at, "due_at": self.due_at,
                "tries": self.tries}


class Attempt(Base):
    """How often something was tried in one lane; see throttle.py."""

    __tablename__ = "attempts"

    key: str = Column(String(64), primary_key=True)
    failures: int = Column(Integer, nullable=False)
    first_at: int = Column(Seconds, nullable=False)
    blocked_until: int = Column(Seconds, nullable=False)
    expires_at: int = Column(Seconds, nullable=False, index=True)


class Entry(Base):
    """One fact that happened; rows are added and, once old, deleted.

    Those of a user are deleted with the user; the log keeps its own line. No
    foreign key: what happened to a user who is gone by now happened, too.
    """

    __tablename__ = "audit"
    __table_args__ = {"sqlite_autoincrement": True}

    id: int = Column(BigId, primary_key=True)
    at: int = Column(Seconds, nullable=False, index=True)
    fact: str = Column(String(32), nullable=False)
    user_id: Optional[int] = Column(Integer, index=True)
    network: str = Column(String(64), nullable=False)
    request_id: str = Column(String(64), nullable=False)
    detail: str = Column(String(EMAIL_MAX), nullable=False)

    def shown(self) -> Dict[str, Any]:
        """Return what the user that it is about may see: all of it."""
        return {"at": self.at, "fact": self.fact, "network": self.network,
                "request_id": self.request_id, "detail": self.detail}
