#!/usr/bin/env python3
"""Mails that wait: written with their cause, sent once, and never lost."""
from __future__ import annotations

import dataclasses
import logging
import smtplib
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import Any, Callable, Iterator, List, Optional, Tuple, Type

import pytest

import mail.outbox
import mail.transports
from audit import Fact
from auth import Auth
from db import DB
from errors import ResetRefused, Unavailable
from mail.letters import PASSWORD_CHANGED
from mail.outbox import FIRST_WAIT, LEASE, LONGEST_WAIT
from mail.transports import Send
from models import CHANGE, RESET, VERIFY, Entry, MailToken, Outgoing
from settings import DAY, HOUR, MINUTE, Rate, Settings
from tests.helpers import (
    EMAIL, STRONG, STRONGER, Clock, Mailbox, all_at_once)
from tests.smtp_server import SmtpServer
from user import User

OTHER = "eve@me.com"
CROWD = ["user{}@me.com".format(number) for number in range(30)]
SET_PASSWORD = "Set a new password for Bienvenue"
CONFIRM = "Confirm your address for Bienvenue"
HAVE_ONE = "You already have an account at Bienvenue"
REFUSED = smtplib.SMTPRecipientsRefused({EMAIL: (550, b"canary")})
# What fails before the server has been offered a mail.
SERVER_TROUBLE: List[Exception] = [
    ConnectionRefusedError(), socket.timeout(), socket.gaierror(),
    ssl.SSLCertVerificationError("it is for another host"),
    smtplib.SMTPServerDisconnected("it said nothing"),
    smtplib.SMTPConnectError(421, "busy"),
    smtplib.SMTPNotSupportedError("no STARTTLS"),
    smtplib.SMTPAuthenticationError(535, b"wrong password"),
    UnicodeError("no host can have this name")]


Told = Callable[[], List[Tuple[str, str, str]]]
Request = Callable[[List[str]], None]


def nothing() -> None:
    """Let everything go on as it does."""


class Moody(Mailbox):
    """A mailbox that something happens to while it is used."""

    def __init__(self) -> None:
        """Start with nothing happening."""
        super().__init__()
        self.reached = 0
        self.when_reached: Callable[[], object] = nothing
        self.when_offered: Callable[[], object] = nothing
        self.when_left: Callable[[], object] = nothing
        self.refused: List[str] = []

    @contextmanager
    def connection(self) -> Iterator[Send]:
        """Take mails, unless something happens."""
        self.reached += 1
        self.when_reached()
        with super().connection() as take:
            def send(message: Any, email: str) -> None:
                """Take one mail, unless it is refused."""
                self.when_offered()
                if email in self.refused:
                    raise REFUSED
                take(message, email)
            yield send
        self.when_left()

    def recipients(self) -> List[str]:
        """Return who got a mail, in order."""
        return [email for email, _ in self.mails]


class Killed(BaseException):
    """What ends a process: nobody handles it."""


@pytest.fixture
def mailbox() -> Moody:
    """Where all mails arrive, in whatever mood."""
    return Moody()


@pytest.fixture
def new_safe(safe_settings: Settings, clock: Clock,
             mailbox: Moody) -> Iterator[Callable[..., Auth]]:
    """More services on the same file, as in other processes."""
    opened: List[DB] = []

    def start(mailer: Optional[Mailbox] = None, **changes: Any) -> Auth:
        """Start one, with any settings changed."""
        settings = dataclasses.replace(safe_settings, **changes)
        opened.append(DB(settings.database_url))
        return Auth(opened[-1], settings, clock, mailer or mailbox)
    yield start
    for each in opened:
        each.close()


@pytest.fixture
def user(db: DB) -> User:
    """Somebody whose address has an account."""
    return db.add_user(EMAIL, "x")


@pytest.fixture
def crowd(db: DB) -> List[str]:
    """The addresses of many people with an account."""
    with db.transaction():
        for each in CROWD:
            db.add_user(each, "x")
    return CROWD


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    """What the log was told of mails: fact, level and detail."""
    caplog.set_level(logging.INFO)

    def read() -> List[Tuple[str, str, str]]:
        """Return what it was told so far."""
        lines = [(getattr(each, "fields", {}), each.levelname)
                 for each in caplog.records if each.name == "bienvenue.audit"]
        return [(fields["fact"], level, fields.get("detail", ""))
                for fields, level in lines
                if fields["fact"].startswith("mail.")]
    return read


@pytest.fixture
def request_all(safe: Auth, db: DB) -> Request:
    """Have everybody forget their password, in one go."""
    def request(emails: List[str]) -> None:
        """Ask for a mail to each address."""
        with db.transaction():
            for each in emails:
                safe.request_reset(each)
    return request


def outbox(db: DB) -> List[Outgoing]:
    """Return the mails that are kept, the oldest first."""
    return db.find_all(Outgoing)


def die(safe: Auth, mailbox: Moody) -> None:
    """Have a sender die between claiming its first mail and sending it."""
    def kill() -> None:
        """End the process that reached the server."""
        raise Killed()
    mailbox.when_reached = kill
    with pytest.raises(Killed):
        safe.deliver_mail()
    mailbox.when_reached = nothing


class TestPut:
    """Writing a mail down."""

    def test_cause_that_is_undone_leaves_none(
            self, safe: Auth, db: DB) -> None:
        """Nobody gets a link to an account that is not there."""
        with pytest.raises(RuntimeError):
            with db.transaction():
                safe.sign_up(EMAIL, STRONG)
                assert len(outbox(db)) == 1
                raise RuntimeError()
        assert outbox(db) == []

    @pytest.mark.parametrize("table", [Outgoing, Entry])
    def test_failure_undoes_mail_and_cause(
            self, safe: Auth, db: DB, monkeypatch: pytest.MonkeyPatch,
            table: Type[Any]) -> None:
        """An account whose link was never written could not be used."""
        add = db.add

        def add_or_fail(row: Any) -> Any:
            """Fail for rows of one table."""
            if isinstance(row, table):
                raise Unavailable()
            return add(row)
        monkeypatch.setattr(db, "add", add_or_fail)
        with pytest.raises(Unavailable):
            safe.sign_up(EMAIL, STRONG)
        assert db.find_all(User) == outbox(db) == []

    def test_request_waits_for_no_server(
            self, safe: Auth, db: DB, mailbox: Moody, user: User) -> None:
        """Or its time would tell who has an account (fastapi-users #1534)."""
        safe.request_reset(EMAIL)
        safe.request_verification(EMAIL)
        assert mailbox.reached == 0
        assert db.find_all(MailToken) == []


class TestDeliver:
    """A round of what is due."""

    def test_sends_once(self, safe: Auth, db: DB, mailbox: Moody,
                        user: User, told: Told) -> None:
        """And forgets the mail, but says that it was sent."""
        safe.request_reset(EMAIL)
        assert (safe.deliver_mail(), safe.deliver_mail()) == (1, 0)
        assert mailbox.subjects(EMAIL) == [SET_PASSWORD]
        assert outbox(db) == []
        assert told() == [("mail.sent", "INFO", RESET)]

    def test_takes_a_batch_and_then_the_rest(
            self, safe: Auth, db: DB, mailbox: Moody, crowd: List[str],
            monkeypatch: pytest.MonkeyPatch, request_all: Request) -> None:
        """The oldest first, so that nobody waits for ever."""
        monkeypatch.setattr(mail.outbox, "BATCH", 3)
        request_all(crowd[:5])
        assert (safe.deliver_mail(), safe.deliver_mail()) == (5, 0)
        assert mailbox.recipients() == crowd[:5]

    def test_two_at_once_send_each_mail_once(
            self, safe: Auth, new_safe: Callable[..., Auth], db: DB,
            mailbox: Moody, crowd: List[str], request_all: Request) -> None:
        """However many servers send from one database."""
        request_all(crowd)

        def send_all(service: Auth) -> None:
            """Go on until nothing waits."""
            while outbox(db):
                service.deliver_mail()
        senders = [safe, new_safe()]
        all_at_once([lambda each=each: send_all(each)  # type: ignore[misc]
                     for each in senders])
        assert sorted(mailbox.recipients()) == sorted(crowd)

    def test_one_that_looks_meanwhile_sends_only_the_others(
            self, safe: Auth, new_safe: Callable[..., Auth],
            mailbox: Moody, crowd: List[str], request_all: Request) -> None:
        """A mail belongs to whoever claimed it, and the rest is open."""
        request_all(crowd[:3])
        theirs = Mailbox()
        other = new_safe(theirs)
        mailbox.when_offered = other.deliver_mail
        assert safe.deliver_mail() == 1
        assert mailbox.recipients() == crowd[:1]
        assert [email for email, _ in theirs.mails] == crowd[1:3]

    def test_mail_of_a_sender_that_died_is_sent_after_the_lease(
            self, safe: Auth, clock: Clock, mailbox: Moody,
            user: User) -> None:
        """Not before: it may be alive, and merely slow."""
        safe.request_reset(EMAIL)
        die(safe, mailbox)
        clock.advance(LEASE - 1)
        assert safe.deliver_mail() == 0
        clock.advance(1)
        assert safe.deliver_mail() == 1
        assert mailbox.recipients() == [EMAIL]

    def test_lease_of_a_mail_starts_when_it_is_claimed(
            self, safe: Auth, new_safe: Callable[..., Auth], clock: Clock,
            mailbox: Moody, crowd: List[str], request_all: Request) -> None:
        """A round that is slow must not send what others do by then."""
        request_all(crowd[:2])
        theirs = Mailbox()
        other = new_safe(theirs)

        def dawdle() -> None:
            """Take most of a lease for each mail, while another looks."""
            clock.advance(LEASE * 0.6)
            if mailbox.mails:
                other.deliver_mail()
        mailbox.when_offered = dawdle
        safe.deliver_mail()
        sent = mailbox.recipients() + [email for email, _ in theirs.mails]
        assert sorted(sent) == crowd[:2]

    @pytest.mark.parametrize("trouble", [None, ConnectionRefusedError()])
    def test_sender_that_was_overtaken_takes_no_mail_away(
            self, safe: Auth, new_safe: Callable[..., Auth], clock: Clock,
            mailbox: Moody, user: User,
            trouble: Optional[Exception]) -> None:
        """A machine slept for longer than a lease, and another took over.

        Whether or not that one could send it, the mail comes, and once.
        """
        theirs = Mailbox()
        theirs.broken = trouble
        other = new_safe(theirs)

        def sleep() -> None:
            """Wake up after somebody else tried."""
            mailbox.when_reached = nothing
            clock.advance(LEASE)
            other.deliver_mail()
        mailbox.when_reached = sleep
        safe.request_reset(EMAIL)
        safe.deliver_mail()
        clock.advance(LONGEST_WAIT)
        safe.deliver_mail()
        assert mailbox.recipients() + [
            email for email, _ in theirs.mails] == [EMAIL]

    def test_token_is_made_once_the_server_is_reached(
            self, safe: Auth, mailbox: Moody, clock: Clock) -> None:
        """A new one ends the one before, which may be in a mailbox."""
        safe.sign_up(EMAIL, STRONG)
        safe.request_reset(EMAIL)
        safe.deliver_mail()
        token = mailbox.token(EMAIL)
        mailbox.broken = ConnectionRefusedError()
        safe.request_reset(EMAIL)
        safe.deliver_mail()
        safe.reset_password(token, STRONGER)
        assert safe.valid_login(EMAIL, STRONGER)

    def test_newest_mail_has_the_one_token_that_works(
            self, safe: Auth, mailbox: Moody) -> None:
        """As people open the newest (Keycloak #26815)."""
        safe.sign_up(EMAIL, STRONG)
        tokens = []
        for _ in range(2):
            safe.request_reset(EMAIL)
            safe.deliver_mail()
            tokens.append(mailbox.token(EMAIL))
        with pytest.raises(ResetRefused):
            safe.reset_password(tokens[0], STRONGER)
        safe.reset_password(tokens[1], STRONGER)

    @pytest.mark.parametrize("error", [
        smtplib.SMTPResponseException(421, "no"), ConnectionResetError()])
    def test_failure_to_say_goodbye_sends_nothing_twice(
            self, safe: Auth, db: DB, clock: Clock, mailbox: Moody,
            user: User, error: Exception, told: Told) -> None:
        """The mail was taken; how the server ends is its own affair."""
        safe.request_reset(EMAIL)
        mailbox.when_left = failing(error)
        safe.deliver_mail()
        assert outbox(db) == []
        assert told() == [("mail.sent", "INFO", RESET)]
        clock.advance(DAY)
        safe.deliver_mail()
        assert mailbox.recipients() == [EMAIL]

    def test_failure_to_say_goodbye_does_not_hide_that_mails_went(
            self, safe: Auth, mailbox: Moody, crowd: List[str],
            request_all: Request) -> None:
        """`flask mail send` goes on for as long as something is done."""
        request_all(crowd[:2])
        mailbox.when_left = failing(smtplib.SMTPResponseException(421, "no"))
        assert safe.deliver_mail() + safe.deliver_mail() == 2

    @pytest.mark.parametrize("age", [0, DAY])
    def test_mail_that_is_forgotten_while_it_fails_is_no_news(
            self, safe: Auth, db: DB, clock: Clock, mailbox: Moody,
            user: User, told: Told, age: int) -> None:
        """An account was deleted meanwhile; there is nothing to look at."""
        safe.request_reset(EMAIL)
        clock.advance(age)
        mailbox.refused = [EMAIL]
        mailbox.when_offered = lambda: db.delete(Outgoing, email=EMAIL)
        safe.deliver_mail()
        assert told() == []
        assert db.find_all(Entry, fact=Fact.MAIL_GIVEN_UP.value) == []

    def test_lease_outlasts_every_timeout_of_a_delivery(self) -> None:
        """Some thirteen exchanges, of which four are about the mail."""
        assert LEASE > 9 * mail.transports.TIMEOUT_SECONDS \
            + 4 * mail.transports.TAKING_SECONDS
        assert LEASE <= HOUR

    @pytest.mark.parametrize("times, raised", [(1, 0), (2, 0), (3, 1)])
    def test_database_that_is_busy_once_a_mail_went(
            self, safe: Auth, db: DB, clock: Clock, mailbox: Moody,
            user: User, times: int, raised: int,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """It is asked again, or the mail would go twice.

        Each time it was waited for already; a store that is in trouble for
        longer is worse than a second mail.
        """
        safe.request_reset(EMAIL)
        delete, refusals = db.delete, [Unavailable()] * times

        def delete_at_last(*which: Any, **match: Any) -> int:
            """Be busy so many times."""
            if refusals and match:
                raise refusals.pop()
            return delete(*which, **match)

        def be_busy() -> None:
            """Be so from the moment on in which the mail is offered."""
            monkeypatch.setattr(db, "delete", delete_at_last)
        mailbox.when_offered = be_busy
        with pytest.raises(Unavailable) if raised else suppress():
            assert safe.deliver_mail() == 1
        assert len(mailbox.mails) == 1 and len(outbox(db)) == raised
        clock.advance(LEASE)
        mailbox.when_offered = nothing
        safe.deliver_mail()
        assert len(mailbox.mails) == 1 + raised

    def test_database_in_trouble_is_not_the_mails_fault(
            self, safe: Auth, db: DB, clock: Clock, mailbox: Moody,
            user: User, told: Told) -> None:
        """The sender hears of it, and the mail goes once it is over."""
        safe.request_reset(EMAIL)
        mailbox.when_offered = failing(Unavailable())
        with pytest.raises(Unavailable):
            safe.deliver_mail()
        assert told() == []
        mailbox.when_offered = nothing
        clock.advance(LEASE)
        assert safe.deliver_mail() == 1


def failing(error: Exception) -> Callable[[], None]:
    """Return something that fails so."""
    def fail() -> None:
        """Fail as told before."""
        raise error
    return fail


class TestRelease:
    """The end of a sender that may be in the middle of a mail."""

    def test_mail_that_was_begun_is_due_for_others_at_once(
            self, safe: Auth, new_safe: Callable[..., Auth],
            mailbox: Moody, user: User) -> None:
        """Not after the lease, and its first sender makes no token for it."""
        safe.request_reset(EMAIL)
        theirs = Mailbox()
        other = new_safe(theirs)
        given_back: List[int] = []
        mailbox.when_reached = lambda: given_back.append(safe.release_mail(0))
        assert safe.deliver_mail() == 1
        assert other.deliver_mail() == 1
        assert given_back == [1]
        assert (mailbox.mails, theirs.subjects(EMAIL)) == ([], [SET_PASSWORD])

    def test_mail_that_arrives_after_all_is_sent(
            self, safe: Auth, new_safe: Callable[..., Auth], db: DB,
            mailbox: Moody, user: User) -> None:
        """Nobody sends it again, once its sender has said so."""
        safe.request_reset(EMAIL)
        mailbox.when_offered = lambda: safe.release_mail(0)
        safe.deliver_mail()
        assert mailbox.recipients() == [EMAIL]
        assert outbox(db) == []
        assert new_safe().deliver_mail() == 0

    def test_mails_that_were_not_begun_stay_due(
            self, safe: Auth, new_safe: Callable[..., Auth],
            mailbox: Moody, crowd: List[str], request_all: Request) -> None:
        """The round ends after the mail that is on its way."""
        request_all(crowd[:5])
        mailbox.when_left = lambda: safe.release_mail(0)
        assert safe.deliver_mail() == 1
        assert safe.deliver_mail() == 0
        assert new_safe().deliver_mail() == 4
        assert sorted(mailbox.recipients()) == crowd[:5]

    def test_waits_for_the_mail_that_is_on_its_way(
            self, safe: Auth, mailbox: Moody, user: User) -> None:
        """Then there is nothing to give back."""
        safe.request_reset(EMAIL)
        given_back: List[int] = []
        enders = [threading.Thread(
            target=lambda: given_back.append(safe.release_mail(20)))]

        def be_told_to_end() -> None:
            """Be told in the middle of a mail, and take a moment for it."""
            enders[0].start()
            enders[0].join(0.1)
        mailbox.when_offered = be_told_to_end
        assert safe.deliver_mail() == 1
        enders[0].join(20)
        assert (given_back, mailbox.recipients()) == ([0], [EMAIL])

    def test_mail_that_failed_waits_as_it_would(
            self, safe: Auth, new_safe: Callable[..., Auth],
            mailbox: Moody, user: User) -> None:
        """An end is no reason to try a mail server sooner."""
        safe.request_reset(EMAIL)
        mailbox.broken = ConnectionRefusedError()
        safe.deliver_mail()
        assert safe.release_mail(0) == 0
        mailbox.broken = None
        assert new_safe().deliver_mail() == 0

    def test_mail_of_others_stays_theirs(
            self, safe: Auth, new_safe: Callable[..., Auth],
            mailbox: Moody, user: User) -> None:
        """One sender ends; the one that took over is not disturbed."""
        safe.request_reset(EMAIL)
        ended = new_safe()
        mailbox.when_offered = lambda: ended.release_mail(0)
        assert safe.deliver_mail() == 1
        assert mailbox.recipients() == [EMAIL]

    def test_mail_that_another_took_over_stays_theirs(
            self, safe: Auth, new_safe: Callable[..., Auth], clock: Clock,
            mailbox: Moody, user: User) -> None:
        """Its first sender slept for longer than a lease; it waits on."""
        safe.request_reset(EMAIL)
        theirs = Mailbox()
        theirs.broken = ConnectionRefusedError()
        other = new_safe(theirs)
        given_back: List[int] = []

        def oversleep() -> None:
            """Let the other one try, and be told to end."""
            clock.advance(LEASE + 1)
            other.deliver_mail()
            given_back.append(safe.release_mail(0))
        mailbox.when_reached = oversleep
        safe.deliver_mail()
        theirs.broken = None
        assert (given_back, other.deliver_mail()) == ([0], 0)

    def test_count_of_a_stranger_is_not_raised_twice(
            self, safe: Auth, new_safe: Callable[..., Auth],
            mailbox: Moody, user: User) -> None:
        """A mail that is begun again is one mail."""
        service = new_safe(mail_address_limit=Rate(1, HOUR))
        other = new_safe(mail_address_limit=Rate(1, HOUR))
        safe.request_reset(EMAIL)
        mailbox.when_reached = lambda: service.release_mail(0)
        service.deliver_mail()
        mailbox.when_reached = nothing
        assert other.deliver_mail() == 1
        assert mailbox.recipients() == [EMAIL]


class TestRetries:
    """A mail that could not be sent."""

    def test_waits_double_up_to_a_quarter_of_an_hour(
            self, safe: Auth, db: DB, clock: Clock, mailbox: Moody,
            user: User) -> None:
        """To the second: 10, 20, 40 and so on."""
        safe.request_reset(EMAIL)
        mailbox.broken = ConnectionRefusedError()
        safe.deliver_mail()
        for wait in (10, 20, 40, 80, 160, 320, 640, 900, 900):
            tries = mailbox.reached
            clock.advance(wait - 1)
            safe.deliver_mail()
            assert mailbox.reached == tries
            clock.advance(1)
            safe.deliver_mail()
            assert mailbox.reached == tries + 1
        mailbox.broken = None
        clock.advance(LONGEST_WAIT)
        assert safe.deliver_mail() == 1
        assert mailbox.recipients() == [EMAIL]

    @pytest.mark.parametrize("trouble", SERVER_TROUBLE,
                             ids=lambda each: type(each).__name__)
    def test_server_in_trouble_ends_the_round_and_loses_no_mail(
            self, safe: Auth, clock: Clock, mailbox: Moody,
            crowd: List[str], request_all: Request,
            trouble: Exception) -> None:
        """Nineteen more timeouts, or wrong logins, would help nobody.

        A wrong certificate, whose error is a ValueError too, or password is
        mended, and then all goes.
        """
        request_all(crowd[:3])
        mailbox.broken = trouble
        assert safe.deliver_mail() == 0
        tried, mailbox.broken = mailbox.reached, None
        clock.advance(FIRST_WAIT)
        assert safe.deliver_mail() == 3
        assert tried == 1

    def test_refused_mail_holds_up_no_other(
            self, safe: Auth, clock: Clock, mailbox: Moody,
            crowd: List[str], request_all: Request) -> None:
        """One full mailbox is no reason for silence."""
        request_all(crowd[:4])
        mailbox.refused = crowd[1:3]
        assert safe.deliver_mail() == 2
        assert mailbox.recipients() == [crowd[0], crowd[3]]
        mailbox.refused = []
        clock.advance(FIRST_WAIT)
        assert safe.deliver_mail() == 2

    def test_is_told_without_what_the_server_said(
            self, safe: Auth, db: DB, mailbox: Moody, user: User,
            told: Told, caplog: pytest.LogCaptureFixture) -> None:
        """It may quote the mail, and the mail holds a token."""
        safe.request_reset(EMAIL)
        mailbox.refused = [EMAIL]
        safe.deliver_mail()
        assert told() == [("mail.delayed", "WARNING",
                           "reset, try 1: SMTPRecipientsRefused")]
        assert "canary" not in caplog.text
        assert "canary" not in str([
            each.detail for each in db.find_all(Entry)])

    def test_broken_template_keeps_the_mail(
            self, safe: Auth, new_safe: Callable[..., Auth], clock: Clock,
            mailbox: Moody, user: User, tmp_path: Any) -> None:
        """Until the deployer has mended it."""
        (tmp_path / "reset.txt").write_text("S\n\n{{ lnik }}\n")
        safe.request_reset(EMAIL)
        new_safe(mail_templates=str(tmp_path)).deliver_mail()
        assert mailbox.mails == []
        clock.advance(FIRST_WAIT)
        assert safe.deliver_mail() == 1


class TestGivingUp:
    """A mail that cannot be sent at all."""

    @pytest.fixture
    def given_up(self, safe: Auth, clock: Clock, mailbox: Moody,
                 user: User) -> None:
        """A mail that failed for a day."""
        safe.request_reset(EMAIL)
        mailbox.broken = ConnectionRefusedError()
        clock.advance(DAY)
        safe.deliver_mail()
        mailbox.broken = None

    def test_comes_after_a_day(self, safe: Auth, db: DB, clock: Clock,
                               mailbox: Moody, user: User) -> None:
        """Not a second before."""
        safe.request_reset(EMAIL)
        mailbox.broken = ConnectionRefusedError()
        clock.advance(DAY - 1)
        safe.deliver_mail()
        kept, = outbox(db)
        assert kept.due_at == clock.now + FIRST_WAIT
        clock.advance(FIRST_WAIT)
        safe.deliver_mail()
        kept, = outbox(db)
        assert kept.due_at is None

    @pytest.mark.usefixtures("given_up")
    def test_is_final(self, safe: Auth, clock: Clock,
                      mailbox: Moody) -> None:
        """Until somebody says otherwise."""
        clock.advance(30 * DAY)
        assert safe.deliver_mail() == 0
        assert mailbox.reached == 1

    @pytest.mark.usefixtures("given_up")
    def test_can_be_seen(self, safe: Auth, db: DB, clock: Clock,
                         told: Told) -> None:
        """In the record and by `flask doctor`; the log has its own test."""
        entry, = db.find_all(Entry, fact=Fact.MAIL_GIVEN_UP.value)
        assert entry.at == clock.now
        assert entry.detail == "reset, try 1: ConnectionRefusedError"
        assert safe.warnings() == [
            "Mails that were given up: 1. Mend MAIL_URL, then run "
            "`flask mail retry`."]

    @pytest.mark.usefixtures("given_up")
    def test_is_revived(self, safe: Auth, db: DB, clock: Clock,
                        mailbox: Moody) -> None:
        """All of them, at once, and with another day to go."""
        assert safe.revive_mail() == 1
        assert safe.warnings() == []
        mailbox.broken = ConnectionRefusedError()
        safe.deliver_mail()
        mailbox.broken = None
        clock.advance(FIRST_WAIT)
        assert safe.deliver_mail() == 1
        assert mailbox.subjects(EMAIL) == [SET_PASSWORD]

    @pytest.mark.usefixtures("given_up")
    def test_revival_leaves_those_that_wait(
            self, safe: Auth, db: DB, mailbox: Moody, clock: Clock) -> None:
        """They have their own time."""
        safe.request_verification(EMAIL)
        mailbox.broken = ConnectionRefusedError()
        safe.deliver_mail()
        assert safe.revive_mail() == 1
        _, waiting = outbox(db)
        assert (waiting.due_at, waiting.tries) \
            == (clock.now + FIRST_WAIT, 1)

    def test_comes_at_once_for_an_impossible_address(
            self, safe: Auth, db: DB, mailbox: Moody, told: Told,
            crowd: List[str], request_all: Request, clock: Clock) -> None:
        """One of the development mode, say; it gets no better.

        An error of the log, and the others are sent.
        """
        db.add_user("bob@me.com, eve@me.com", "x")
        db.add(Outgoing(purpose=VERIFY, email="bob@me.com, eve@me.com",
                        detail="", queued_at=clock.now, due_at=clock.now,
                        tries=0))
        request_all(crowd[:1])
        safe.deliver_mail()
        assert [each.due_at for each in outbox(db)] == [None]
        assert told() == [
            ("mail.given_up", "ERROR", "verify, try 1: ValueError"),
            ("mail.sent", "INFO", RESET)]
        assert mailbox.recipients() == crowd[:1]


class TestWithheld:
    """What is asked for and not sent, so that the answer can be the same."""

    def test_address_is_unknown(self, safe: Auth, db: DB, mailbox: Moody,
                                told: Told) -> None:
        """Nobody's mailbox is used to tell them that they have no account."""
        safe.request_reset(EMAIL)
        safe.request_verification(EMAIL)
        assert safe.deliver_mail() == 2
        assert (mailbox.mails, outbox(db)) == ([], [])
        assert told() == [("mail.withheld", "INFO", RESET),
                          ("mail.withheld", "INFO", VERIFY)]

    def test_address_is_verified_already(
            self, safe: Auth, mailbox: Moody) -> None:
        """There is nothing to confirm."""
        safe.sign_up(EMAIL, STRONG)
        safe.deliver_mail()
        safe.verify_email(mailbox.token(EMAIL))
        safe.request_verification(EMAIL)
        safe.deliver_mail()
        assert mailbox.subjects(EMAIL) == [CONFIRM]

    def test_address_was_verified_while_the_mail_waited(
            self, safe: Auth, mailbox: Moody) -> None:
        """Found out when it is sent, not when it is asked for."""
        safe.sign_up(EMAIL, STRONG)
        safe.request_verification(EMAIL)
        mailbox.when_left = lambda: safe.verify_email(mailbox.token(EMAIL))
        assert safe.deliver_mail() == 2
        assert mailbox.subjects(EMAIL) == [CONFIRM]

    def test_address_is_no_longer_its_users(
            self, new_safe: Callable[..., Auth], clock: Clock,
            mailbox: Moody) -> None:
        """Whoever reads the old mailbox has no business with the account.

        The first mail fails until the user has moved (Keycloak #26815).
        """
        safe = new_safe(require_verified=False)
        safe.sign_up(EMAIL, STRONG)
        mailbox.refused = [EMAIL]
        safe.deliver_mail()
        session = safe.log_in(EMAIL, STRONG)
        safe.change_email(session, STRONG, OTHER)
        safe.deliver_mail()
        safe.verify_email(mailbox.token(OTHER))
        mailbox.refused = []
        clock.advance(HOUR)
        safe.deliver_mail()
        assert CONFIRM not in mailbox.subjects(EMAIL)

    def test_user_moves_while_the_server_is_reached(
            self, safe: Auth, db: DB, mailbox: Moody, user: User) -> None:
        """Nothing is left to say, and nothing to be mended."""
        safe.request_reset(EMAIL)
        mailbox.when_reached = lambda: db.update_user(user.id, email=OTHER)
        safe.deliver_mail()
        assert (mailbox.mails, safe.warnings()) == ([], [])

    def test_more_than_the_limit(
            self, safe: Auth, clock: Clock, mailbox: Moody,
            user: User, request_all: Request) -> None:
        """A stranger floods nobody's mailbox; an hour later it goes on."""
        request_all([EMAIL] * 5)
        assert safe.deliver_mail() == 5
        assert mailbox.subjects(EMAIL) == [SET_PASSWORD] * 3
        clock.advance(HOUR - 1)
        request_all([EMAIL])
        safe.deliver_mail()
        assert len(mailbox.mails) == 3
        clock.advance(1)
        request_all([EMAIL])
        safe.deliver_mail()
        assert len(mailbox.mails) == 4

    def test_limit_is_per_address_and_kind(
            self, new_safe: Callable[..., Auth], mailbox: Moody,
            crowd: List[str]) -> None:
        """Nobody's mails use up those of somebody else."""
        safe = new_safe(mail_address_limit=Rate(1, HOUR))
        safe.request_reset(crowd[0])
        safe.request_reset(crowd[1])
        safe.request_verification(crowd[0])
        safe.deliver_mail()
        assert [(email, str(message["Subject"]))
                for email, message in mailbox.mails] == [
            (crowd[0], SET_PASSWORD), (crowd[1], SET_PASSWORD),
            (crowd[0], CONFIRM)]

    def test_retries_are_no_new_mails(
            self, safe: Auth, clock: Clock, mailbox: Moody,
            user: User, request_all: Request) -> None:
        """A server that is down for a while uses up nothing."""
        request_all([EMAIL] * 3)
        mailbox.refused = [EMAIL]
        for _ in range(5):
            safe.deliver_mail()
            clock.advance(2 * MINUTE)
        mailbox.refused = []
        clock.advance(2 * MINUTE)
        request_all([EMAIL])
        safe.deliver_mail()
        assert mailbox.subjects(EMAIL) == [SET_PASSWORD] * 3

    def test_notices_never_are(self, safe: Auth, db: DB, mailbox: Moody,
                               user: User, clock: Clock) -> None:
        """Each tells of something that happened, perhaps by a thief."""
        for _ in range(5):
            db.add(Outgoing(purpose=PASSWORD_CHANGED, email=EMAIL,
                            user_id=user.id, detail="", queued_at=clock.now,
                            due_at=clock.now, tries=0))
        safe.deliver_mail()
        assert len(mailbox.mails) == 5


class TestAccounts:
    """Mails and the accounts that they are about."""

    @pytest.fixture
    def session(self, safe: Auth, mailbox: Moody) -> str:
        """Somebody with a verified account, signed in."""
        safe.sign_up(EMAIL, STRONG)
        safe.deliver_mail()
        safe.verify_email(mailbox.token(EMAIL))
        return safe.log_in(EMAIL, STRONG)

    def test_move_to_a_taken_address_is_told_to_its_owner(
            self, safe: Auth, db: DB, mailbox: Moody, session: str) -> None:
        """And to nobody else; the link is for the account that is there."""
        owner = safe.register_user(OTHER, STRONG)
        safe.deliver_mail()
        safe.change_email(session, STRONG, OTHER)
        safe.deliver_mail()
        assert mailbox.subjects(OTHER) == [CONFIRM, HAVE_ONE]
        assert safe.reset_password(
            mailbox.token(OTHER), STRONGER).id == owner.id
        assert {each.email for each in db.find_all(User)} == {EMAIL, OTHER}
        assert HAVE_ONE not in mailbox.subjects(EMAIL)
        assert db.find_all(MailToken, purpose=CHANGE) == []

    def test_deletion_takes_the_mails_along(
            self, safe: Auth, db: DB, mailbox: Moody, session: str,
            crowd: List[str], request_all: Request) -> None:
        """Those to a new address too, and nobody else's."""
        safe.request_reset(EMAIL)
        safe.change_email(session, STRONG, OTHER)
        request_all(crowd[:1])
        assert len(outbox(db)) == 4
        safe.delete_account(session, STRONG)
        assert [each.email for each in outbox(db)] == crowd[:1]

    def test_deletion_takes_the_count_along(
            self, safe: Auth, mailbox: Moody, session: str,
            request_all: Request) -> None:
        """Whoever comes back starts from nothing."""
        request_all([EMAIL] * 3)
        safe.deliver_mail()
        safe.delete_account(session, STRONG)
        safe.sign_up(EMAIL, STRONG)
        safe.request_reset(EMAIL)
        safe.deliver_mail()
        assert mailbox.subjects(EMAIL)[-2:] == [CONFIRM, SET_PASSWORD]


def leave_fresh(safe: Auth, mailbox: Moody) -> None:
    """Leave a mail as it was written."""


def leave_delayed(safe: Auth, mailbox: Moody) -> None:
    """Leave a mail that was tried once."""
    mailbox.refused = [EMAIL]
    safe.deliver_mail()
    mailbox.refused = []


class TestClock:
    """A clock that was wrong for a while."""

    @pytest.mark.parametrize("leave", [leave_fresh, leave_delayed, die])
    @pytest.mark.parametrize("error", [HOUR, 3650 * DAY])
    def test_ran_ahead(
            self, safe: Auth, clock: Clock, mailbox: Moody, user: User,
            leave: Callable[[Auth, Moody], None], error: int) -> None:
        """A mail waits for as long again at most, and never for years."""
        clock.advance(error)
        safe.request_reset(EMAIL)
        leave(safe, mailbox)
        clock.advance(-error)
        clock.advance(HOUR + LEASE)
        assert safe.deliver_mail() == 1
        assert mailbox.recipients() == [EMAIL]

    @pytest.mark.parametrize("leave", [leave_fresh, leave_delayed, die])
    def test_was_slow(
            self, safe: Auth, clock: Clock, mailbox: Moody, user: User,
            leave: Callable[[Auth, Moody], None]) -> None:
        """Once it is right, everything is due."""
        safe.request_reset(EMAIL)
        leave(safe, mailbox)
        clock.advance(3650 * DAY)
        assert safe.deliver_mail() == 1
        assert mailbox.recipients() == [EMAIL]


class TestRealServer:
    """From the outbox to a mailbox by SMTP, as it is in production."""

    @pytest.fixture
    def server(self) -> Iterator[SmtpServer]:
        """A mail server on this machine."""
        with SmtpServer() as running:
            yield running

    @pytest.fixture
    def real(self, db: DB, safe_settings: Settings, clock: Clock,
             server: SmtpServer) -> Auth:
        """The service with that server, and somebody to write to."""
        service = Auth(db, dataclasses.replace(
            safe_settings, mail_url=server.url), clock)
        db.add_user(EMAIL, "x")
        service.request_reset(EMAIL)
        return service

    def test_gets_the_mail(self, real: Auth, server: SmtpServer) -> None:
        """And its link works."""
        assert real.deliver_mail() == 1
        (recipient, message), = server.mails
        assert (recipient, message["To"]) == (EMAIL, EMAIL)
        assert message["Subject"] == SET_PASSWORD
        token = server.text(EMAIL).partition("#reset=")[2].split()[0]
        assert real.reset_password(token, STRONG).email == EMAIL

    @pytest.mark.parametrize("answer_to", ["MAIL", "RCPT", "DATA"])
    def test_refuses_for_a_while(
            self, real: Auth, server: SmtpServer, clock: Clock,
            answer_to: str) -> None:
        """The mail goes when it no longer does."""
        server.answer, server.answer_to = "450 not now", answer_to
        assert real.deliver_mail() == 0
        server.answer = ""
        clock.advance(FIRST_WAIT)
        assert real.deliver_mail() == 1
        assert len(server.mails) == 1

    @pytest.mark.parametrize("at, copies", [("greeting", 1), ("DATA", 2)])
    def test_is_silent_for_longer_than_we_wait(
            self, real: Auth, server: SmtpServer, clock: Clock, at: str,
            copies: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """The mail goes when it speaks again.

        If it had it already and took minutes to say so, it has it twice.
        """
        for name in ("TIMEOUT_SECONDS", "TAKING_SECONDS"):
            monkeypatch.setattr(mail.transports, name, 0.2)
        server.asleep_seconds, server.asleep_at = 30, at
        assert real.deliver_mail() == 0
        monkeypatch.undo()
        server.asleep_seconds = 0
        clock.advance(FIRST_WAIT)
        assert real.deliver_mail() == 1
        assert len(server.wait_for(EMAIL, copies)) == copies

    def test_is_slow_to_take_a_mail(
            self, real: Auth, server: SmtpServer, clock: Clock,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Slower than it may be to say hello; the mail goes once."""
        monkeypatch.setattr(mail.transports, "TIMEOUT_SECONDS", 0.2)
        server.asleep_seconds, server.asleep_at = 0.6, "DATA"
        assert real.deliver_mail() == 1
        clock.advance(DAY)
        assert real.deliver_mail() == 0
        assert len(server.mails) == 1

    def test_is_down_for_a_while(self, real: Auth, server: SmtpServer,
                                 clock: Clock) -> None:
        """The mail goes when it is back."""
        server.stop()
        assert real.deliver_mail() == 0
        server.start()
        clock.advance(FIRST_WAIT)
        assert real.deliver_mail() == 1
        assert len(server.mails) == 1

    def test_is_rude_in_the_end(self, real: Auth, server: SmtpServer,
                                clock: Clock) -> None:
        """What it took is not sent once more."""
        server.answer, server.answer_to = "421 go away", "QUIT"
        real.deliver_mail()
        server.answer = ""
        clock.advance(DAY)
        real.deliver_mail()
        assert len(server.mails) == 1
