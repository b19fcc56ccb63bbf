#!/usr/bin/env python3
"""The outbox: mails that wait, and the rules by which they are sent.

A request only writes a row, the same for a known and an unknown address.
Whether there is anything to say is found out here, later, by whoever sends
(docs/security.md#mail).
"""
from __future__ import annotations

import smtplib
import threading
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

from audit import Fact, Trail
from db import DB
from errors import Unavailable, UnknownEmail
from mail.letters import ALREADY_REGISTERED, NEW_DEVICE, Letters
from mail.transports import Mailer, Send
from models import CHANGE, RESET, VERIFY, Account, Outgoing
from settings import DAY, MINUTE, Settings
from throttle import Lanes, Throttle
from user import User

# The column as what it is in a query, where None never compares.
DUE_AT: Any = Outgoing.due_at
# How many mails are read at once.
BATCH = 20
# Whoever claimed a mail and did not report has died: others may try. Longer
# than all the timeouts of one delivery together.
LEASE = 15 * MINUTE
# Waits between tries double from the first to the longest.
FIRST_WAIT, LONGEST_WAIT = 10, 15 * MINUTE
GIVE_UP_AFTER = DAY
# What the token in a mail is good for.
TOKENS: Dict[str, str] = {
    RESET: RESET, ALREADY_REGISTERED: RESET, VERIFY: VERIFY, CHANGE: CHANGE}
# What a stranger, or a script, may cause at an address.
COUNTED = tuple(TOKENS) + (NEW_DEVICE,)
# Who sends in rounds of seconds has not seen a mail that waits for so long.
LATE = MINUTE
# A mail that went is not sent again because the store is busy for a while.
CLOSE_TRIES = 3
# Mints a token: for a user, a purpose, and the address that it goes to.
Issue = Callable[[User, str, str], str]


class Unreachable(OSError):
    """Raised when the server cannot be reached; its cause says why."""


class Outbox:
    """Mails on their way, in the table `outbox`.

    Any number of senders may deliver at once, here and in other processes: a
    mail belongs to whoever changed its row first. One is sent twice only if
    its sender dies between handing it over and saying so.
    """

    def __init__(self, db: DB, settings: Settings, mailer: Mailer,
                 throttle: Throttle, issue: Issue,
                 now: Callable[[], float], trail: Trail) -> None:
        """Send from this store through `mailer`, with tokens of `issue`."""
        self._db = db
        self._now = now
        self._mailer = mailer
        self._throttle = throttle
        self._issue = issue
        self._kept = settings.audit_life
        self._trail = trail
        self._letters = Letters(settings)
        self._claims = threading.Condition()
        self._ours: Dict[int, Outgoing] = {}
        self._ending = False

    def put(self, purpose: str, email: str, user_id: Optional[int] = None,
            detail: str = "") -> None:
        """Write a mail down, in the transaction of whatever causes it."""
        now = self._time()
        self._db.add(Outgoing(
            purpose=purpose, user_id=user_id, email=email,
            detail=detail[:250], queued_at=now, due_at=now, tries=0))

    def deliver(self) -> int:
        """Send all that is due; return how many mails were dealt with.

        Mails that fail are due again later. Once the server itself is in
        trouble, the others wait for the next round.
        """
        done = 0
        for mail in self._due():
            try:
                self._send(mail)
                done += 1
            except Unavailable:
                raise
            except Exception as error:
                done += not self._postpone(mail, error)
                if isinstance(error, OSError) and not isinstance(
                        error, smtplib.SMTPException):
                    break
            finally:
                self._let_go(mail)
        return done

    def release(self, seconds: float) -> int:
        """Claim nothing more, and give back what is claimed and not sent.

        What is on its way has so many seconds to arrive. After that it is due
        at once, for another sender, and not only when its lease ends; return
        how many are. The server may have one of them after all, which then
        comes twice, as from a sender that died (docs/security.md#mail).
        """
        with self._claims:
            self._ending = True
            self._claims.wait_for(lambda: not self._ours, seconds)
            ours, self._ours = self._ours, {}
            self._claims.notify_all()
        return sum(self._db.change(
            Outgoing, {"id": each.id, "due_at": each.due_at},
            due_at=self._time()) for each in ours.values())

    def forget(self, email: str) -> None:
        """Delete every mail to an address."""
        self._db.delete(Outgoing, email=email)

    def lanes(self, email: str) -> Lanes:
        """Return the lanes in which mails to an address are counted."""
        return [self._throttle.mail(each, email) for each in COUNTED]

    def counts(self) -> Tuple[int, int, int]:
        """Return how many mails are late, are stuck, and were given up.

        The late are due and nobody tried, the stuck were tried more than once.
        """
        mails = self._db.find_all(Outgoing)
        waiting = [each for each in mails if each.due_at is not None]
        before = self._time() - LATE
        return (sum(not each.tries and (each.due_at or 0) < before
                    for each in waiting),
                sum(each.tries > 1 for each in waiting),
                len(mails) - len(waiting))

    def forget_old(self) -> int:
        """Delete the mails that were given up and not revived for long."""
        return self._db.purge(
            Outgoing, DUE_AT.is_(None),
            Outgoing.queued_at <= self._time() - self._kept)

    def depth(self) -> Tuple[int, int, int]:
        """Return how many mails wait, for how long, and how many never went.

        For how long the oldest of the waiting does; the last are those that
        were given up. Reads no mail, however many there are.
        """
        oldest = self._db.least(Outgoing.queued_at, DUE_AT.isnot(None))
        return (self._db.count(Outgoing, DUE_AT.isnot(None)),
                0 if oldest is None else max(0, self._time() - oldest),
                self._db.count(Outgoing, DUE_AT.is_(None)))

    def revive(self) -> int:
        """Make the mails that were given up due; return how many."""
        now = self._time()
        return self._db.change(Outgoing, {"due_at": None}, due_at=now,
                               queued_at=now, tries=0)

    def _time(self) -> int:
        """Return the current second."""
        return int(self._now())

    def _due(self) -> Iterator[Outgoing]:
        """Yield the mails that are due and now ours, until there are none."""
        while True:
            now = self._time()
            due = (DUE_AT <= now) | (DUE_AT > now + DAY)  # a clock's jump
            mails = self._db.find_all(Outgoing, due, limit=BATCH)
            if not mails or self._ending:
                return
            yield from (each for each in mails if self._claim(each))

    def _claim(self, mail: Outgoing) -> bool:
        """Take a mail for ourselves; False if another sender was faster."""
        found = {"id": mail.id, "due_at": mail.due_at, "tries": mail.tries}
        mail.due_at, mail.tries = self._time() + LEASE, mail.tries + 1
        with self._claims:
            ours = not self._ending and self._db.change(
                Outgoing, found, due_at=mail.due_at, tries=mail.tries) == 1
            if ours:
                self._ours[mail.id] = mail
        return ours

    def _let_go(self, mail: Outgoing) -> None:
        """Note that a mail of ours is dealt with, one way or another."""
        with self._claims:
            self._ours.pop(mail.id, None)
            self._claims.notify_all()

    def _send(self, mail: Outgoing) -> None:
        """Send one mail, if there is anything to say.

        The server is reached before a token is made, since a new token is
        the end of the one before, which may have arrived.
        """
        purpose, user = self._occasion(mail)
        if user is None or not self._may_go(mail):
            self._close(mail, Fact.MAIL_WITHHELD)
            return
        with self._server() as send:
            try:
                token = self._token(mail, purpose, user)
            except UnknownEmail:  # called off, or the user has moved
                self._close(mail, Fact.MAIL_WITHHELD, due_at=mail.due_at)
                return
            send(self._letters.write(purpose, mail.email, self._time(), token,
                                     mail.detail), mail.email)
            # Before the server is left, which may fail as well.
            self._close_surely(mail)

    @contextmanager
    def _server(self) -> Iterator[Send]:
        """Reach the mail server; raise Unreachable, whatever the reason."""
        with ExitStack() as stack:
            try:
                send = stack.enter_context(self._mailer.connection())
            except Exception as error:
                raise Unreachable() from error
            yield send

    def _token(self, mail: Outgoing, purpose: str, user: User) -> str:
        """Return the token that a mail carries, "" if it carries none.

        Raises UnknownEmail for a mail that was called off meanwhile: a
        reset, say, ends a change of address whose link is on its way.
        """
        with self._db.transaction():
            self._db.hold(user.id)
            if not self._db.change(
                    Outgoing, {"id": mail.id, "due_at": mail.due_at},
                    tries=mail.tries):
                raise UnknownEmail()
            return self._issue(user, TOKENS[purpose], mail.email) \
                if purpose in TOKENS else ""

    def _occasion(self, mail: Outgoing) -> Tuple[str, Optional[User]]:
        """Return what there is to say, and about whom; None for nothing."""
        holder = self._db.find(User, email=mail.email)
        if mail.purpose == CHANGE and holder:
            return ALREADY_REGISTERED, holder
        if mail.purpose == VERIFY and holder and self._verified(holder):
            return VERIFY, None
        if mail.purpose in (RESET, VERIFY, ALREADY_REGISTERED):
            return mail.purpose, holder
        return mail.purpose, self._db.find(User, id=mail.user_id)

    def _verified(self, user: User) -> bool:
        """Tell whether a user has proved that they read their mailbox."""
        account = self._db.find(Account, user_id=user.id)
        return bool(account and account.verified_at is not None)

    def _may_go(self, mail: Outgoing) -> bool:
        """Tell whether a mail that a stranger may cause is not one too many.

        Decided here, so that the request takes the same time either way.
        """
        if mail.purpose not in COUNTED or mail.tries > 1:
            return True
        return self._throttle.admits(
            self._throttle.mail(mail.purpose, mail.email), self._time())

    def _close_surely(self, mail: Outgoing) -> None:
        """Forget a mail that went, however busy the store is for a while.

        Otherwise it goes once more, and the link in the first is dead.
        """
        for left in reversed(range(CLOSE_TRIES)):
            try:
                return self._close(mail, Fact.MAIL_SENT)
            except Unavailable:
                if not left:
                    raise

    def _close(self, mail: Outgoing, fact: Fact, **still: Any) -> None:
        """Forget a mail that is dealt with, if it is still like this."""
        if self._db.delete(Outgoing, id=mail.id, **still):
            self._trail.tell(fact, self._time(), user_id=mail.user_id,
                             detail=mail.purpose)

    def _postpone(self, mail: Outgoing, error: Exception) -> bool:
        """Try again later, or give up where everybody can see it.

        False if there is nothing left to try. An address that no mail can
        have will not get better. What the server said is not repeated: it
        may quote the mail.
        """
        now = self._time()
        hopeless = isinstance(error, ValueError) \
            and not isinstance(error, OSError)
        lost = hopeless or now >= mail.queued_at + GIVE_UP_AFTER
        wait = min(FIRST_WAIT * 2 ** (mail.tries - 1), LONGEST_WAIT)
        said = "{}, try {}: {}".format(
            mail.purpose, mail.tries, type(error.__cause__ or error).__name__)
        with self._trail.recorded(now) as record:
            waiting = self._db.change(
                Outgoing, {"id": mail.id, "due_at": mail.due_at},
                due_at=None if lost else now + wait) == 1
            if waiting and lost:
                record(Fact.MAIL_GIVEN_UP, mail.user_id, said)
        if waiting and not lost:
            self._trail.tell(Fact.MAIL_DELAYED, now, user_id=mail.user_id,
                             detail=said)
        return waiting
