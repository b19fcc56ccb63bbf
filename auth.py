#!/usr/bin/env python3
"""The whole service, one verb a use case.

A verb has at most five beats: allow, find, decide, change, tell. Knowledge of
passwords and tokens lives in credentials/, storage in db.py; here is the
order in which things happen, and why.

The card's verbs answer None, False or ValueError, as its contract says. The
service's own verbs raise the errors of errors.py and return what was asked
for.
"""
from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Type

from sqlalchemy.orm.exc import NoResultFound  # type: ignore[attr-defined]

from credentials import passwords, tokens
from db import DB
from errors import (
    AuthError, BadCredentials, InvalidInput, NotSignedIn, ResetRefused,
    Unavailable, UnknownEmail, UnknownSession, WrongPassword)
from models import RESET, Account, MailToken, Session
from settings import Settings
from user import User, canonical_email, validate_email

# How stale "last seen" may be; one write a minute at most, not one a request.
SEEN_EVERY = 60


def _hash_password(password: str,
                   cost: int = passwords.DEFAULT_COST) -> bytes:
    """Return a salted bcrypt hash of the password, as the card asks.

    Up to 72 bytes without NUL it is plain bcrypt and checks with
    bcrypt.checkpw; beyond, see credentials/passwords.py.
    """
    return passwords.hash_password(password, cost).encode("ascii")


def _generate_uuid() -> str:
    """Return a fresh version-4 UUID of 36 characters."""
    return tokens.mint()


class Auth:
    """User authentication: accounts, sessions and password resets.

    Safe to share between threads. Every verb raises Unavailable when the
    database cannot serve; whatever was returned before is on disk.
    """

    def __init__(self, db: Optional[DB] = None,
                 settings: Optional[Settings] = None,
                 now: Callable[[], float] = time.time) -> None:
        """Work on `db` by `settings`, by default those of the environment.

        `now` tells the time in seconds since 1970 UTC.
        """
        self.settings = settings or Settings.from_env()
        self._db = db or DB(self.settings.database_url)
        self._now = now

    # -- Accounts

    def register_user(self, email: str, password: str) -> User:
        """Open an account and return its user.

        Raises EmailTaken ("User <email> already exists", a ValueError) when
        the address has one already, and InvalidInput, naming the field, for
        a missing or impossible address or password.
        """
        _require(InvalidInput, email=email, password=password)
        validate_email(email)
        passwords.validate_password(password)
        hashed = self._hash(password)
        return self._db.add_user(email, hashed, self._time())

    def valid_login(self, email: str, password: str) -> bool:
        """Tell whether the password is the one of that address.

        False in every other case. Costs one hash whether or not the address
        has an account, so that time does not tell (ASVS 6.3.8).
        """
        return self._verified_user(email, password) is not None

    def delete_account(self, session_id: str, password: str) -> None:
        """Delete the account of a session with all that hangs off it.

        Raises NotSignedIn, and WrongPassword unless the password is the
        user's. There is no way back.
        """
        _, user = self._live_session(session_id)
        self._check_again(user, password)
        # With the hash that was verified, or a password that was reset
        # meanwhile would still delete the account.
        if not self._db.delete(
                User, id=user.id, hashed_password=user.hashed_password):
            raise WrongPassword()

    def export_account(self, session_id: str) -> Dict[str, Any]:
        """Return everything that is stored about the user of a session.

        Times are seconds since 1970 UTC. No digest and no hash is among it.
        Raises NotSignedIn.
        """
        current, user = self._live_session(session_id)
        account = self._db.find(Account, user_id=user.id)
        return {
            "id": user.id, "email": user.email,
            "created_at": account and account.created_at,
            "verified_at": account and account.verified_at,
            "password_changed_at": account and account.password_changed_at,
            "sessions": self._shown_sessions(current),
            "pending_mails": [
                {"purpose": each.purpose, "email": each.email,
                 "expires_at": each.expires_at}
                for each in self._db.find_all(MailToken, user_id=user.id)]}

    # -- Sessions

    def create_session(self, email: str) -> Optional[str]:
        """Open a session without a password and return its token.

        None for an unknown address. The caller vouches for the user; a
        sign-in is log_in().
        """
        user, token = self._find_user(email), _generate_uuid()
        opened = user and self._open_session(token, {"id": user.id})
        return token if opened else None

    def log_in(self, email: str, password: str, user_agent: str = "",
               network: str = "") -> str:
        """Open a session for whoever knows the password; return its token.

        The token is shown this once: only its digest is kept. Sessions on
        other devices go on. A hash cheaper than today's cost is replaced.
        Raises BadCredentials, naming a field only if it is missing.
        """
        _require(BadCredentials, email=email, password=password)
        user = self._verified_user(email, password)
        if user is None:
            raise BadCredentials()
        verified = upgraded = user.hashed_password
        if passwords.needs_rehash(verified, self.settings.bcrypt_cost):
            upgraded = self._hash(password)
        token = _generate_uuid()
        if self._open_session(
                token, {"id": user.id, "hashed_password": verified},
                user_agent, network, hashed_password=upgraded):
            return token
        # The stored hash changed since we verified it. A reset that just
        # ended all sessions must not be followed by one of its old password,
        # so start again with what is stored now.
        return self.log_in(email, password, user_agent, network)

    def get_user_from_session_id(
            self, session_id: Optional[str]) -> Optional[User]:
        """Return the user signed in with this token, or None.

        None as well for a session that was idle or open for too long.
        """
        try:
            session, user = self._live_session(session_id)
        except NotSignedIn:
            return None
        self._mark_seen(session)
        return user

    def log_out(self, session_id: Optional[str]) -> None:
        """End one session; those on other devices go on.

        Raises NotSignedIn unless it was live: of several callers with one
        token, one succeeds.
        """
        session, user = self._live_session(session_id)
        if not self._end_sessions(user, [session.id]):
            raise NotSignedIn()

    def list_sessions(self, session_id: str) -> List[Dict[str, Any]]:
        """Return the live sessions of the user who asks, the oldest first.

        Each with `id` (the handle to end it by), `opened_at`, `seen_at` and
        `expires_at` in seconds since 1970 UTC, `user_agent`, `network`, and
        `current`, true of the one that asks. Raises NotSignedIn.
        """
        current, _ = self._live_session(session_id)
        return self._shown_sessions(current)

    def end_session(self, session_id: str, handle: int) -> None:
        """End a session of the user who asks, by its handle.

        Raises NotSignedIn, and UnknownSession for a handle that is not the
        user's, whoever else's it may be.
        """
        _, user = self._live_session(session_id)
        if not self._end_sessions(user, [handle]):
            raise UnknownSession()

    def end_other_sessions(self, session_id: str) -> None:
        """End every session of the user but the one that asks.

        Raises NotSignedIn.
        """
        current, user = self._live_session(session_id)
        self._end_sessions(user, [
            each.id for each in self._db.find_all(Session, user_id=user.id)
            if each.id != current.id])

    def destroy_session(self, user_id: int) -> None:
        """Sign the user out on every device; silent for an unknown id."""
        if type(user_id) is not int:  # True would be user 1
            return
        with self._db.transaction():
            self._db.change(User, {"id": user_id}, session_id=None)
            self._db.delete(Session, user_id=user_id)

    # -- Passwords

    def change_password(self, session_id: str, current_password: str,
                        new_password: str) -> str:
        """Set a new password for the user of a session; return a new token.

        Every session ends, and the one that asks goes on under the token
        that is returned (ASVS 7.2.4, 7.4.3); mailed tokens die too. Raises
        NotSignedIn, WrongPassword unless `current_password` is the user's,
        and InvalidInput for a new one that cannot be.
        """
        session, user = self._live_session(session_id)
        passwords.validate_password(new_password, "new_password")
        self._check_again(user, current_password, "current_password")
        hashed, token = self._hash(new_password), _generate_uuid()
        with self._db.transaction():
            if not self._replace_password(
                    {"id": user.id, "hashed_password": user.hashed_password},
                    hashed):
                raise WrongPassword()  # it was changed meanwhile
            self._open_session(token, {"id": user.id}, session.user_agent,
                               session.network)
        return token

    def get_reset_password_token(self, email: str) -> str:
        """Return a token that sets a new password once, before it ends.

        It lives for RESET_TOKEN_LIFE, and each call replaces the one before.
        Raises UnknownEmail, a ValueError.
        """
        _require(UnknownEmail, email=email)
        user = self._find_user(email)
        if user is None:
            raise UnknownEmail()
        token = _generate_uuid()
        digest = tokens.digest(token)
        with self._db.transaction():
            if not self._db.change(User, {"id": user.id}, reset_token=digest):
                raise UnknownEmail()
            self._db.delete(MailToken, user_id=user.id, purpose=RESET)
            self._db.add(MailToken(
                digest=digest, user_id=user.id, purpose=RESET,
                email=user.email,
                expires_at=self._time() + self.settings.reset_token_life))
        return token

    def update_password(self, reset_token: str, password: str) -> None:
        """Set the password of whoever holds this reset token.

        Raises ValueError for a bad token or password; see reset_password().
        """
        self.reset_password(reset_token, password)

    def reset_password(self, reset_token: str, password: str,
                       email: str = "") -> User:
        """Set a new password with a reset token and return its user.

        Every session of the user ends and nobody is signed in by it. A token
        is refused, and nothing changed, when it is
        1. missing, malformed or unknown;
        2. used, or replaced by a newer one;
        3. older than RESET_TOKEN_LIFE;
        4. somebody else's than `email`, if one is given.
        Raises ResetRefused for these and for a missing password, and
        InvalidInput for an impossible one. Of any number of callers with one
        token, one succeeds.
        """
        _require(ResetRefused, reset_token=reset_token, new_password=password)
        passwords.validate_password(password, "new_password")
        digest, user = self._reset_owner(reset_token)
        if email and canonical_email(email) != user.email:
            raise ResetRefused("reset_token is not for this email")
        hashed = self._hash(password)
        if not self._replace_password(
                {"id": user.id, "reset_token": digest}, hashed):
            raise ResetRefused()
        return user

    def close(self) -> None:
        """Give back the database connections; the next verb opens new."""
        self._db.close()

    # -- Inside

    def _time(self) -> int:
        """Return the current second."""
        return int(self._now())

    def _hash(self, password: str) -> str:
        """Hash at the configured cost, as the text that is stored."""
        return _hash_password(password, self.settings.bcrypt_cost).decode()

    def _find_user(self, email: object) -> Optional[User]:
        """Return the user of an address, or None for whatever is not one."""
        try:
            validate_email(email)
            return self._db.find_user_by(email=email)
        except (InvalidInput, NoResultFound):
            return None

    def _verified_user(self, email: object,
                       password: str) -> Optional[User]:
        """Return the user whose address and password these are, or None.

        One hash for every password that could be one, known address or not.
        What cannot be a password is refused before either is looked at
        (docs/security.md#timing).
        """
        if not passwords.is_valid_password(password):
            return None
        cost = self.settings.bcrypt_cost
        user = self._find_user(email)
        hashed = (user.hashed_password if user
                  else passwords.unmatchable_hash(cost))
        return user if passwords.verify_password(
            password, hashed, cost) else None

    def _check_again(self, user: User, password: str,
                     field: str = "password") -> None:
        """Make sure that it is the user who asks for something dangerous.

        Verifies the very hash that was read, so that what follows can be
        conditional on it. Raises WrongPassword, naming the field if it is
        missing.
        """
        _require(WrongPassword, **{field: password})
        if not (passwords.is_valid_password(password)
                and passwords.verify_password(
                    password, user.hashed_password,
                    self.settings.bcrypt_cost)):
            raise WrongPassword()

    def _replace_password(self, match: Dict[str, Any], hashed: str) -> bool:
        """Set the password hash of the user that matches, and start afresh.

        Every session ends, and every mailed token dies. The first statement
        is the condition: of several callers with one token or one old hash,
        one gets True, and for the others nothing changes
        (docs/security.md#races).
        """
        user_id = match["id"]
        with self._db.transaction():
            won = self._db.change(
                User, match, hashed_password=hashed, reset_token=None,
                session_id=None) == 1
            if won:
                self._db.change(Account, {"user_id": user_id},
                                password_changed_at=self._time())
                self._db.delete(MailToken, user_id=user_id)
                self._db.delete(Session, user_id=user_id)
        return won

    def _open_session(self, token: str, match: Dict[str, Any],
                      user_agent: str = "", network: str = "",
                      **values: Any) -> bool:
        """Store a session under a token, and set values of its user.

        False, and nothing done, when no user matches any more: the user is
        gone, or has another password hash than the one that was read.
        """
        now, digest = self._time(), tokens.digest(token)
        with self._db.transaction():
            if not self._db.change(User, match, session_id=digest, **values):
                return False
            self._db.add(Session(
                user_id=match["id"], digest=digest, opened_at=now,
                seen_at=now, expires_at=now + self.settings.session_absolute,
                user_agent=user_agent[:250], network=network[:64]))
            self._drop_surplus(match["id"])
        return True

    def _drop_surplus(self, user_id: int) -> None:
        """Delete a user's sessions that are over, and the oldest of too many.

        So a user's rows stay few, whatever their devices forget to end.
        """
        stored = self._db.find_all(Session, user_id=user_id)
        kept = self._live(stored)[-self.settings.sessions_per_user:]
        for each in stored:
            if each not in kept:
                self._db.delete(Session, id=each.id)

    def _end_sessions(self, user: User, handles: Iterable[int]) -> int:
        """End those of a user's sessions, and return how many there were."""
        with self._db.transaction():
            ended = sum(self._db.delete(Session, id=handle, user_id=user.id)
                        for handle in handles)
            left = self._db.find_all(Session, user_id=user.id)
            self._db.change(User, {"id": user.id},
                            session_id=left[-1].digest if left else None)
        return ended

    def _live(self, sessions: List[Session]) -> List[Session]:
        """Return those of the sessions that are not over."""
        return [each for each in sessions
                if each.is_live(self._time(), self.settings.session_idle)]

    def _shown_sessions(self, current: Session) -> List[Dict[str, Any]]:
        """Return what the owner of a session may see of all of theirs."""
        stored = self._db.find_all(Session, user_id=current.user_id)
        return [dict(each.shown(), current=each.id == current.id)
                for each in self._live(stored)]

    def _live_session(self, session_id: object) -> Tuple[Session, User]:
        """Return the session of a token and its user; raise NotSignedIn.

        Its end is checked here, at every look-up (docs/security.md#sessions).
        """
        digest = tokens.presented_digest(session_id)
        found = self._db.find_session(digest) if digest else None
        if found is None or not self._live([found[0]]):
            raise NotSignedIn()
        return found

    def _mark_seen(self, session: Session) -> None:
        """Note that a session is in use, if the last note is old.

        A busy database must not turn a read away: the next one notes it.
        """
        now = self._time()
        if now >= session.seen_at + SEEN_EVERY:
            with suppress(Unavailable):
                self._db.change(Session, {"id": session.id}, seen_at=now)

    def _reset_owner(self, reset_token: object) -> Tuple[str, User]:
        """Return a live reset token's digest and its user.

        Looked up before the hash, so that a bad token costs nothing.
        """
        digest = tokens.presented_digest(reset_token)
        found = self._db.find(
            MailToken, digest=digest, purpose=RESET) if digest else None
        user = found and self._db.find(User, id=found.user_id)
        if not (found and user) or self._time() >= found.expires_at:
            raise ResetRefused()
        return found.digest, user


def _require(error: Type[AuthError], **values: object) -> None:
    """Raise `error`, naming them, if any of the values is missing."""
    missing = [name for name, value in values.items()
               if value is None or value == ""]
    if missing:
        raise error("{} {} missing".format(
            " and ".join(missing), "is" if len(missing) == 1 else "are"))
