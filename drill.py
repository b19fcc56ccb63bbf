#!/usr/bin/env python3
"""The leak drill: is anything that is stored good for signing in?

Nothing in the database is meant to be a credential, so that a copy of it
signs nobody in (docs/security.md#tokens). This takes every value of every
column, as it is and in every plain disguise, and tries it where credentials
are taken. It changes nothing.
"""
from __future__ import annotations

import base64
import re
import uuid
from contextlib import suppress
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Set

from credentials import passwords, tokens
from db import DB
from models import Device, MailToken, Session
from settings import Settings
from user import Base, User

# Hashing takes time, so values are tried as passwords of so many users only,
# those who came last.
PASSWORD_USERS = 5
HEX = re.compile(r"[0-9a-fA-F]{32,}")


class Leak(NamedTuple):
    """A value that is a credential: where it stands and what it opens."""

    table: str
    column: str
    row: str
    opens: str

    def __str__(self) -> str:
        """Say so without the value, which is one."""
        return "{}.{} of row {} opens {}.".format(*self)


class Drill:
    """Tries everything that one database holds."""

    def __init__(self, db: DB, settings: Settings) -> None:
        """Try what is in this store, by these settings."""
        self._db = db
        self._settings = settings

    def run(self, progress: Callable[[str], None]) -> List[Leak]:
        """Return every leak there is; none is what should come of it.

        `progress` is told the name of each table once it is done.
        """
        found: List[Leak] = []
        for table in tables():
            for stretch in self._db.stretches(table):
                for row in self._db.find_all(table, stretch):
                    found += self._leaks(row)
            progress(table.__tablename__)
        for user in self._db.find_last(User, PASSWORD_USERS):
            found += self._passwords(user)
            progress("passwords of user {}".format(user.id))
        return found

    def _leaks(self, row: Any) -> Iterator[Leak]:
        """Yield the values of a row that are tokens of any kind."""
        for column, value in values_of(row).items():
            for opened in sorted({
                    opened for guess in disguises(value)
                    for opened in self._opened_by(guess)}):
                yield _leak(row, column, opened)

    def _opened_by(self, guess: str) -> Iterator[str]:
        """Yield what a value opens where tokens are taken."""
        digest = tokens.presented_digest(guess)
        if digest is None:
            return
        for table, kind in ((Session, "a session"), (Device, "a device")):
            if self._db.find(table, digest=digest):
                yield kind
        mailed = self._db.find(MailToken, digest=digest)
        if mailed:
            yield "a mailed link ({})".format(mailed.purpose)

    def _passwords(self, user: User) -> Iterator[Leak]:
        """Yield the values stored of a user that are their password."""
        tried: Set[str] = set()
        for row in self._rows_of(user):
            for column, value in values_of(row).items():
                guesses = set(disguises(value)) - tried
                tried |= guesses
                if any(self._is_password(user, each) for each in guesses):
                    yield _leak(row, column, "an account, as its password")

    def _rows_of(self, user: User) -> Iterator[Any]:
        """Yield every row that hangs off a user, and the user."""
        yield user
        for table in tables():
            if "user_id" in table.__table__.columns:
                yield from self._db.find_all(table, user_id=user.id)

    def _is_password(self, user: User, guess: str) -> bool:
        """Tell whether a value is the password of a user."""
        return passwords.is_valid_password(guess) and \
            passwords.verify_password(
                guess, user.hashed_password, self._settings.bcrypt_cost,
                self._settings.peppers)


def tables() -> List[Any]:
    """Return the class of every table."""
    return sorted(Base.__subclasses__(),
                  key=lambda each: str(each.__tablename__))


def values_of(row: Any) -> Dict[str, str]:
    """Return the values of a row as text, by column, but for blanks."""
    return {column.key: str(getattr(row, column.key))
            for column in row.__table__.columns
            if getattr(row, column.key) not in (None, "")}


def disguises(value: str) -> Iterator[str]:
    """Yield what a value may be, written differently.

    Cut, turned round, in another case, encoded or decoded; and every UUID
    that its hexadecimal digits can be read as.
    """
    for each in {value, value.strip(), value.lower(), value.upper(),
                 value[::-1], value[:36], value[-36:]}:
        yield each
    for digits in HEX.findall(value.replace("-", "")):
        for cut in {digits[:32], digits[-32:]}:
            yield str(uuid.UUID(hex=cut))
    for decode in (bytes.fromhex, base64.b64decode, base64.b85decode):
        with suppress(ValueError):  # of which binascii's is one
            yield decode(value).decode()


def _leak(row: Any, column: str, opens: str) -> Leak:
    """Return where a value stands that opens something.

    A key may be the very value, so it is cut short.
    """
    key, = row.__table__.primary_key
    return Leak(row.__tablename__, column, str(getattr(row, key.key))[:8],
                opens)
