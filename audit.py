#!/usr/bin/env python3
"""What happened: a closed vocabulary of facts, told to a table and the log.

A fact is a row, written in the transaction of what it tells of, and a line
of the log, written once that is done. Both say who, what, when, from where
and in which request, and never a secret (ASVS 16.2, 16.3;
docs/security.md#audit). What became of a mail is a line only, but for one
that was given up; so is the end of an account, whose rows end with it.
"""
from __future__ import annotations

import logging
from contextlib import contextmanager
from enum import Enum
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional

from db import DB
from metrics import NO_METRICS, Metrics
from models import Entry

log = logging.getLogger("bienvenue.audit")


class Fact(str, Enum):
    """Everything that is worth a line: the thing, a dot, what became of it.

    The words are stable, for programs that watch the log.
    """

    ACCOUNT_CREATED = "account.created"
    ACCOUNT_REPEATED = "account.repeated"
    ACCOUNT_EXPORTED = "account.exported"
    ACCOUNT_DELETED = "account.deleted"
    ACCOUNT_DISABLED = "account.disabled"
    ACCOUNT_ENABLED = "account.enabled"
    ACCOUNTS_IMPORTED = "accounts.imported"
    ACCOUNTS_EXPORTED = "accounts.exported"
    LOGIN_REFUSED = "login.refused"
    PASSWORD_REFUSED = "password.refused"
    SESSION_OPENED = "session.opened"
    SESSION_ENDED = "session.ended"
    RESET_REQUESTED = "reset.requested"
    PASSWORD_RESET = "password.reset"
    PASSWORD_CHANGED = "password.changed"
    VERIFY_REQUESTED = "verify.requested"
    EMAIL_VERIFIED = "email.verified"
    EMAIL_REQUESTED = "email.requested"
    EMAIL_CHANGED = "email.changed"
    MAIL_SENT = "mail.sent"
    MAIL_DELAYED = "mail.delayed"
    MAIL_WITHHELD = "mail.withheld"
    MAIL_GIVEN_UP = "mail.given_up"


# What somebody should look at; everything else is business as usual.
LEVELS: Dict[str, int] = {
    Fact.LOGIN_REFUSED.value: logging.WARNING,
    Fact.PASSWORD_REFUSED.value: logging.WARNING,
    Fact.MAIL_DELAYED.value: logging.WARNING,
    Fact.MAIL_GIVEN_UP.value: logging.ERROR}


class Caller(NamedTuple):
    """Who asks, as far as a web face or a terminal can tell.

    `network` is an address or an IPv6 /64. `device` is the token by which the
    browser says that it was here before, and `next_device` the one that it
    will say from now on if this turns out well; both are secrets. `note` is
    added to the detail of all that is recorded of the caller.
    """

    network: str = ""
    user_agent: str = ""
    request_id: str = ""
    device: str = ""
    next_device: str = ""
    note: str = ""

    def __repr__(self) -> str:
        """Show no secret: a repr ends up in logs (CVE-2020-15105)."""
        return "<Caller {}>".format(self.network)


NOBODY = Caller()
# Whoever can run `flask` on the server's machine.
TERMINAL = Caller(note="by terminal")


# Takes a fact, the id of the user it is about, and a detail.
Record = Callable[..., None]


class Trail:
    """The record of what happened, in the table `audit` and in the log.

    The metrics count what the log is told.
    """

    def __init__(self, db: DB, metrics: Metrics = NO_METRICS) -> None:
        """Keep it in this store, and count it here."""
        self._db = db
        self._metrics = metrics

    @contextmanager
    def recorded(self, at: int, caller: Caller = NOBODY) -> Iterator[Record]:
        """Do everything inside together, and record what it was.

        One transaction, with the rows of its facts as part of it; the log is
        told once it is done, and nothing if it is not.
        """
        facts: List[Entry] = []

        def record(fact: Fact, user_id: Optional[int] = None,
                   detail: str = "") -> None:
            """Write a fact down."""
            facts.append(self._db.add(_entry(
                fact, at, caller, user_id, detail)))
        with self._db.transaction():
            yield record
        for each in facts:
            self._tell(each)

    def tell(self, fact: Fact, at: int, caller: Caller = NOBODY,
             user_id: Optional[int] = None, detail: str = "") -> None:
        """Write a fact to the log alone."""
        self._tell(_entry(fact, at, caller, user_id, detail))

    def _tell(self, happened: Entry) -> None:
        """Write the log's line of a fact, and count it."""
        _log(happened)
        self._metrics.happened(happened.fact, happened.detail)


def _entry(fact: Fact, at: int, caller: Caller, user_id: Optional[int],
           detail: str) -> Entry:
    """Return the row of a fact that happened `at` this second."""
    detail = ", ".join(each for each in (detail, caller.note) if each)
    return Entry(at=at, fact=fact.value, user_id=user_id,
                 network=caller.network[:64],
                 request_id=caller.request_id[:64], detail=detail[:250])


def _log(happened: Entry) -> None:
    """Write the log's line of a fact."""
    level = LEVELS.get(happened.fact, logging.INFO)
    log.log(level, happened.fact, extra={"fields": {
        name: value for name, value in (
            ("fact", happened.fact), ("user_id", happened.user_id),
            ("network", happened.network),
            ("request_id", happened.request_id),
            ("detail", happened.detail)) if value not in (None, "")}})
