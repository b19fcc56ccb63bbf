#!/usr/bin/env python3
"""Mailed tokens: whoever presents one has read a mailbox.

One is live for each user and purpose. It is stored as its digest, in
`mail_tokens`; the digest of a reset token also stands in the card's column.
"""
from __future__ import annotations

from typing import Callable, Dict, Sequence, Tuple, Type

from credentials import tokens
from db import DB
from errors import AuthError, UnknownEmail
from models import RESET, Account, MailToken
from settings import Settings
from user import User


class Proofs:
    """Makes mailed tokens and tells which are good."""

    def __init__(self, db: DB, settings: Settings,
                 now: Callable[[], float]) -> None:
        """Keep them in this store, for as long as the settings say."""
        self._db = db
        self._settings = settings
        self._now = now

    def issue(self, user: User, purpose: str, email: str) -> str:
        """Return a new token for a purpose, to be mailed to this address.

        It replaces the one before. Raises UnknownEmail if the user is gone,
        is disabled, or has moved to another address.
        """
        token = tokens.mint()
        digest = tokens.digest(token)
        values: Dict[str, str] = {"email": user.email}  # as it is: a lock
        if purpose == RESET:
            values["reset_token"] = digest
        with self._db.transaction():
            if not self._db.change(
                    User, {"id": user.id, "email": user.email}, **values):
                raise UnknownEmail()
            # After the lock, so that nobody is disabled in between.
            account = self._db.find(Account, user_id=user.id)
            if account and account.disabled_at is not None:
                raise UnknownEmail()
            self._db.delete(MailToken, user_id=user.id, purpose=purpose)
            self._db.add(MailToken(
                digest=digest, user_id=user.id, purpose=purpose, email=email,
                expires_at=int(self._now()) + self._life(purpose)))
        return token

    def find(self, token: object, purposes: Sequence[str],
             error: Type[AuthError]) -> Tuple[MailToken, User]:
        """Return a live token of one of these purposes, and its user.

        Raises `error` for whatever is none. One with more than twice its life
        to go was made by a clock that ran ahead; with less, perhaps by one
        that was set back by an hour since.
        """
        digest = tokens.presented_digest(token)
        found = self._db.find(MailToken, digest=digest) if digest else None
        user = found and self._db.find(User, id=found.user_id)
        if not (found and user) or found.purpose not in purposes:
            raise error()
        left = found.expires_at - int(self._now())
        if not 0 < left <= 2 * self._life(found.purpose):
            raise error()
        return found, user

    def _life(self, purpose: str) -> int:
        """Return the seconds for which a token of a purpose works."""
        return (self._settings.reset_token_life if purpose == RESET
                else self._settings.verify_token_life)
