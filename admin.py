#!/usr/bin/env python3
"""What an administrator does: to other people's accounts, and the database.

No verb asks for a password: whoever may run commands on the server's machine
could open the database as well. Each says in the record who it was. None
sets a password of somebody else's: a reset is started, and its token goes to
the mailbox (ASVS 6.4.6).
"""
from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime, timezone
from typing import (
    Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional,
    Sequence)

from audit import Caller, Fact, Trail
from credentials import passwords
from db import DB
from drill import Drill
from errors import (
    EmailTaken, InvalidInput, Unavailable, UnknownEmail, UnknownSession)
from mail.outbox import Outbox
from models import (
    CHANGE, RESET, Account, Device, Entry, MailToken, Outgoing, Session,
    is_live)
from moving import move
from settings import Settings
from throttle import Lanes, Throttle
from user import User, canonical_email, validate_email, validate_mailable

# How many users are read or written at once. A transaction of so many is over
# before anybody who signs in meanwhile notices.
BATCH = 500
# A registration that comes between costs one more try.
TRIES = 10
# The columns as what they are in a query.
EMAIL: Any = User.email
USER_ID: Any = User.id
SESSION_ID: Any = User.session_id
FACT: Any = Entry.fact
VERIFIED_AT: Any = Account.verified_at
DISABLED_AT: Any = Account.disabled_at
# The last second of the year 9999, beyond which no calendar of ours goes.
LATEST = 253402300799


class Administration:
    """The accounts of all and the database, for whoever runs the service.

    `who` is an address or the number of a user; UnknownEmail is raised for
    one that nobody has.
    """

    def __init__(self, db: DB, settings: Settings, trail: Trail,
                 outbox: Outbox, throttle: Throttle,
                 now: Callable[[], float], caller: Caller) -> None:
        """Act in this store, on behalf of the caller."""
        self._db = db
        self._settings = settings
        self._trail = trail
        self._outbox = outbox
        self._throttle = throttle
        self._now = now
        self._caller = caller

    # -- Looking

    def find(self, who: str) -> User:
        """Return a user by address or number; an address goes before."""
        validate_email(who)
        user = self._db.find(User, email=canonical_email(who))
        if user is None and re.match(r"[0-9]{1,9}\Z", who):
            user = self._db.find(User, id=int(who))
        if user is None:
            raise UnknownEmail("nobody is registered as {}".format(ascii(who)))
        return user

    def list_users(self, search: str = "", disabled: bool = False,
                   unverified: bool = False, after: int = 0,
                   limit: int = BATCH) -> List[Dict[str, Any]]:
        """Return the first users after a number, in the order of numbers.

        Those with `search` in their address; the disabled or the unverified
        alone, if asked for.
        """
        conditions: List[Any] = [USER_ID > after]
        if search:
            validate_email(search)
            conditions.append(EMAIL.contains(
                canonical_email(search), autoescape=True))
        if disabled:
            conditions.append(DISABLED_AT.isnot(None))
        if unverified:
            conditions.append(VERIFIED_AT.is_(None))
        return [_shown(*each) for each in self._db.find_accounts(
            *conditions, limit=limit)]

    def show_user(self, who: str) -> Dict[str, Any]:
        """Return what is known of a user: times, and the live sessions."""
        user = self.find(who)
        found, = self._db.find_accounts(USER_ID == user.id)
        return dict(_shown(*found), sessions=len(self.list_sessions(
            str(user.email), self._settings.sessions_per_user)))

    def list_sessions(self, who: str = "",
                      limit: int = BATCH) -> List[Dict[str, Any]]:
        """Return the newest live sessions, of one user or of all."""
        now, idle = self._time(), self._settings.session_idle
        match = {"user_id": self.find(who).id} if who else {}
        found = self._db.find_last(
            Session, limit, (Session.expires_at > now)
            & (Session.seen_at > now - idle), **match)
        return self._named([
            dict(each.shown(), user_id=each.user_id)
            for each in found if is_live(each, each.seen_at, now, idle)])

    def list_facts(self, who: str = "", facts: Sequence[str] = (),
                   seconds: int = 0, limit: int = BATCH
                   ) -> List[Dict[str, Any]]:
        """Return the newest facts of the record, the oldest of them first.

        About one user, of some kinds, or of the last so many seconds, if
        asked for.
        """
        conditions = [Entry.at >= self._time() - seconds] if seconds else []
        if facts:
            conditions.append(FACT.in_(facts))
        match = {"user_id": self.find(who).id} if who else {}
        return self._named([
            {"id": each.id, "at": each.at, "fact": each.fact,
             "user_id": each.user_id, "network": each.network,
             "request_id": each.request_id, "detail": each.detail}
            for each in self._db.find_last(
                Entry, limit, *conditions, **match)])

    # -- Changing one account

    def disable(self, who: str) -> bool:
        """Sign a user out everywhere and refuse all that they present.

        Until enable(), whatever they do: a reset is neither mailed nor taken.
        False, and nothing done, if they are disabled already
        (docs/security.md#disabled).
        """
        user, now = self.find(who), self._time()
        with self._trail.recorded(now, self._caller) as record:
            self._hold(user)
            self._db.add_missing(Account(
                user_id=user.id, created_at=now, password_changed_at=now))
            if not self._db.change(Account, {
                    "user_id": user.id, "disabled_at": None},
                    disabled_at=now):
                return False
            self._end(user)
            self._db.change(User, {"id": user.id}, reset_token=None)
            self._db.delete(MailToken, user_id=user.id)
            self._db.delete(Outgoing, user_id=user.id, purpose=CHANGE)
            record(Fact.ACCOUNT_DISABLED, user.id)
        return True

    def enable(self, who: str) -> bool:
        """Let a user sign in again, with the password of before.

        False, and nothing done, if they could anyway. A sign-in that was on
        its way when they were disabled opened a session that was dead; it
        does not come alive now.
        """
        user = self.find(who)
        with self._trail.recorded(self._time(), self._caller) as record:
            self._hold(user)
            if not self._db.change(Account, {"user_id": user.id},
                                   DISABLED_AT.isnot(None), disabled_at=None):
                return False
            self._end(user)
            record(Fact.ACCOUNT_ENABLED, user.id)
        return True

    def vouch(self, who: str) -> None:
        """Take an address as verified, on the word of the administrator."""
        user, now = self.find(who), self._time()
        with self._trail.recorded(now, self._caller) as record:
            if self._db.change(Account, {
                    "user_id": user.id, "verified_at": None},
                    verified_at=now):
                record(Fact.EMAIL_VERIFIED, user.id)

    def request_reset(self, who: str) -> None:
        """Mail a user the link by which they set a new password.

        Nobody else sees it. Raises InvalidInput for a disabled user, who
        would get none.
        """
        user = self.find(who)
        account = self._db.find(Account, user_id=user.id)
        if account and account.disabled_at is not None:
            raise InvalidInput("the account of {} is disabled: enable it first"
                               .format(user.email))
        with self._trail.recorded(self._time(), self._caller) as record:
            self._outbox.put(RESET, user.email, user.id)
            record(Fact.RESET_REQUESTED, user.id)

    def end_sessions(self, who: str, handle: Optional[int] = None) -> int:
        """End a user's sessions, or one of them; return how many.

        Raises UnknownSession for a handle that is none of theirs.
        """
        user = self.find(who)
        with self._trail.recorded(self._time(), self._caller) as record:
            self._hold(user)
            ended = self._end(user, handle)
            if handle is not None and not ended:
                raise UnknownSession()
            if ended:
                record(Fact.SESSION_ENDED, user.id)
        return ended

    def end_all_sessions(self) -> int:
        """End every session of every user; return how many there were.

        In steps, so that nobody waits; one that is opened meanwhile may stay.
        """
        ended = sum(self._db.delete(Session, stretch)
                    for stretch in self._db.stretches(Session))
        for stretch in self._db.stretches(User):
            self._db.change(User, {}, stretch, SESSION_ID.isnot(None),
                            session_id=None)
        with self._trail.recorded(self._time(), self._caller) as record:
            record(Fact.SESSION_ENDED, None, "of everybody")
        return ended

    def delete(self, who: str) -> None:
        """Delete an account with all that hangs off it."""
        if not self.erase(self.find(who)):
            raise UnknownEmail()  # somebody else was faster

    def erase(self, user: User, **match: Any) -> bool:
        """Delete a user, as long as these columns still match.

        False, and nothing done, if they do not.
        """
        lanes = self._lanes_of(user)
        with self._db.transaction():
            if not self._db.delete(User, **dict(match, id=user.id)):
                return False
            self._db.delete(Entry, user_id=user.id)
            self._outbox.forget(user.email)
            self._throttle.forget(lanes)
        # The log keeps what the table may not: that it happened.
        self._trail.tell(Fact.ACCOUNT_DELETED, self._time(), self._caller,
                         user.id)
        return True

    # -- Many accounts at once

    def person(self, values: Mapping[str, Any]) -> Dict[str, Any]:
        """Return a user as import_people() takes them, from what was sent.

        `email`; `hashed_password`, or the user has none and needs a reset;
        `created_at`, `verified_at`, `disabled_at` and `password_changed_at`,
        in seconds or ISO 8601. Raises InvalidInput, which says what is wrong
        and repeats no value.
        """
        email, hashed = values.get("email"), values.get("hashed_password")
        validate_email(email)
        if self._settings.production:
            validate_mailable(str(email))
        if values.get("password"):
            raise InvalidInput("password is not taken in clear: send "
                               "hashed_password")
        if hashed:
            passwords.validate_hash(hashed, self._settings.peppers)
        created_at = _moment(values, "created_at")
        created_at = self._time() if created_at is None else created_at
        changed_at = _moment(values, "password_changed_at")
        return {
            "email": canonical_email(str(email)),
            "hashed_password": hashed or passwords.unmatchable_hash(
                self._settings.bcrypt_cost),
            "created_at": created_at,
            "verified_at": _moment(values, "verified_at"),
            "disabled_at": _moment(values, "disabled_at"),
            "password_changed_at": (
                created_at if changed_at is None else changed_at)}

    def import_people(self, people: Iterable[Mapping[str, Any]]) -> int:
        """Save users, each as person() made them; return how many were new.

        An address that has an account already is left as it is. All in one
        transaction, with its fact: give them BATCH by BATCH.
        """
        sent = [dict(each) for each in people]
        for _ in range(TRIES):
            with suppress(EmailTaken), self._trail.recorded(
                    self._time(), self._caller) as record:
                added = self._db.add_users(sent)
                if added:
                    record(Fact.ACCOUNTS_IMPORTED,
                           detail="{} users".format(added))
                return added
        raise Unavailable()

    def export_people(self, with_hashes: bool = False
                      ) -> Iterator[Dict[str, Any]]:
        """Yield every user, in the order of numbers; recorded before.

        With their hashes, which is all that a thief needs to guess at
        passwords, person() makes the same users of them.
        """
        with self._trail.recorded(self._time(), self._caller) as record:
            record(Fact.ACCOUNTS_EXPORTED,
                   detail="with hashes" if with_hashes else "without hashes")
        page = self._db.find_accounts(limit=BATCH)
        while page:
            for user, account in page:
                yield dict(_shown(user, account), **(
                    {"hashed_password": user.hashed_password}
                    if with_hashes else {}))
            page = self._db.find_accounts(
                USER_ID > page[-1][0].id, limit=BATCH)

    def last_number(self) -> int:
        """Return the highest number of a user, 0 if there is none."""
        return sum(each.id for each in self._db.find_last(User, 1))

    # -- The database

    def upgrade_database(self) -> str:
        """Bring the database to the version of this code; return which."""
        self._db.upgrade()
        return self.database_version()

    def database_version(self) -> str:
        """Return the version of the database, "" if it has no tables yet."""
        return self._db.version() or ""

    def back_up_database(self, path: str) -> None:
        """Copy a SQLite file as it is at this moment, while it is in use.

        Whole or not at all; what was at that path before is replaced. Raises
        InvalidInput for PostgreSQL, which has its own tools, and for a path
        that is the database itself.
        """
        self._db.back_up(path)

    def move_database(self, url: str, progress: Callable[[str, int], None]
                      ) -> Dict[str, int]:
        """Copy everything to the empty database of a URL, and compare.

        Returns how many rows each table has there. `progress` is told a
        table and how many rows more went. Raises InvalidInput, and leaves
        nothing there, if the database is not empty or a row arrived
        differently. Servers have to be stopped: what they write afterwards
        stays behind.
        """
        target = DB(url)
        try:
            return {each.name: each.rows
                    for each in move(self._db, target, progress)}
        finally:
            target.close()

    def leak_drill(self, progress: Callable[[str], None]) -> List[str]:
        """Try everything that is stored as a credential; return what works.

        Each a sentence that says where it stands; there should be none. A
        progress is told of each table. Changes nothing.
        """
        return [str(each) for each in Drill(
            self._db, self._settings).run(progress)]

    # -- Inside

    def _time(self) -> int:
        """Return the current second."""
        return int(self._now())

    def _end(self, user: User, handle: Optional[int] = None) -> int:
        """Delete a user's sessions, or one; return how many there were."""
        match = {} if handle is None else {"id": handle}
        ended = self._db.delete(Session, user_id=user.id, **match)
        left = self._db.find_last(Session, 1, user_id=user.id)
        self._db.change(User, {"id": user.id},
                        session_id=left[0].digest if left else None)
        return ended

    def _lanes_of(self, user: User) -> Lanes:
        """Return every lane in which something of a user is counted.

        By number, by device, by address, and by those they asked to have. Not
        what is counted of somebody else's: whoever guesses could have it
        forgotten, by asking for that address and leaving.
        """
        lanes = self._throttle.moves(user.id, "") + [
            self._throttle.confirm(user.id)] + [
            self._throttle.rarely(each, user.id)
            for each in ("export", "password")] + [
            self._throttle.device(each.digest)
            for each in self._db.find_all(Device, user_id=user.id)]
        asked: List[Any] = self._db.find_all(
            Outgoing, user_id=user.id, purpose=CHANGE)
        asked += self._db.find_all(
            MailToken, user_id=user.id, purpose=CHANGE)
        for email in {user.email} | {
                each.email for each in asked
                if not self._db.find(User, email=each.email)}:
            lanes += [self._throttle.account(email)] \
                + self._outbox.lanes(email)
        return lanes

    def _hold(self, user: User) -> None:
        """Let nobody else change a user until the transaction ends.

        Before anything of theirs is changed, so that two who do it at once
        take turns. Raises UnknownEmail if they are gone.
        """
        if not self._db.hold(user.id):
            raise UnknownEmail()

    def _named(self, rows: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
        """Return the rows with the address of each one's user beside.

        None where there is no user, or none any more.
        """
        ids = {each["user_id"] for each in rows} - {None}
        emails = {user.id: user.email for user, _ in self._db.find_accounts(
            USER_ID.in_(list(ids)))} if ids else {}
        return [dict(each, email=emails.get(each["user_id"]))
                for each in rows]


def _shown(user: User, account: Account) -> Dict[str, Any]:
    """Return what may be seen of a user; times in seconds since 1970 UTC."""
    return {"id": user.id, "email": user.email,
            "created_at": account.created_at,
            "verified_at": account.verified_at,
            "disabled_at": account.disabled_at,
            "password_changed_at": account.password_changed_at}


def _moment(values: Mapping[str, Any], name: str) -> Optional[int]:
    """Return the second that a value names, or None if there is no value."""
    value = values.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        value = _seconds(value)
    if not isinstance(value, (int, float)) or isinstance(value, bool) \
            or not 0 <= value <= LATEST:
        raise InvalidInput("{} is no time, as in 1795000000 or "
                           "2026-11-18T11:06:40Z".format(name))
    return int(value)


def _seconds(text: str) -> Optional[float]:
    """Return the seconds that a text tells, None if it tells no time.

    One without a zone is in UTC.
    """
    if re.match(r"[0-9]{1,12}\Z", text):
        return int(text)
    try:
        moment = datetime.fromisoformat(re.sub(r"[Zz]\Z", "+00:00", text))
        return (moment if moment.tzinfo else moment.replace(
            tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return None
