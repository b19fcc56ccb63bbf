#!/usr/bin/env python3
"""Time: what ends, when it does, and what a clock that jumps may change.

The clock is moved by hand and no sweeper runs unless a test says so: nothing
may depend on one (SuperTokens GHSA-w9fp-wv6g-pqv8).
"""
from __future__ import annotations

import dataclasses
import functools
from typing import Any, Callable, Dict, List, Set

import pytest

import models
from auth import Auth
from db import DB
from models import (
    RESET, Account, Attempt, Device, Entry, MailToken, Outgoing, Session)
from settings import DAY, HOUR, MINUTE, Rate, Settings
from tests.helpers import (
    EMAIL, STRONG, STRONGER, Clock, Mailbox, Visitor, assert_error)
from throttle import Throttle
from user import User

HOME, ELSEWHERE = "203.0.113.7", "198.51.100.9"
NEW, OTHER = "bob@work.me", "eve@me.com"
IDLE, ABSOLUTE = 7 * DAY, 30 * DAY
TEN_YEARS = 3652 * DAY
WAIT = "too many attempts, try again later"


@pytest.fixture
def visit(visit: Callable[..., Visitor]) -> Callable[..., Visitor]:
    """Somebody elsewhere who visits the production mode, as it is set."""
    return functools.partial(visit, ELSEWHERE)


@pytest.fixture
def owner(guest: Visitor, safe: Auth, db: DB) -> Visitor:
    """Somebody with a verified account, not signed in."""
    guest.registers(EMAIL, STRONG)
    db.change(Account, {"user_id": 1}, verified_at=1)
    db.delete(Outgoing)
    return guest


@pytest.fixture
def signed_in(owner: Visitor) -> Visitor:
    """Somebody with a verified account and a session."""
    assert owner.logs_in(EMAIL, STRONG).status_code == 200
    return owner


def is_in(visitor: Visitor) -> bool:
    """Tell whether a visitor is signed in, and nothing in between."""
    status = visitor.sees_profile().status_code
    assert status in (200, 403)
    return status == 200


def reset_token(visitor: Visitor, safe: Auth, mailbox: Mailbox) -> str:
    """Return what a visitor is mailed who forgot the password."""
    answer = visitor.asks("POST", "/reset_password", email=EMAIL)
    assert answer.status_code == 200
    safe.deliver_mail()
    return mailbox.token(EMAIL)


def verify_token(visitor: Visitor, safe: Auth, mailbox: Mailbox) -> str:
    """Return what a visitor is mailed who wants another address."""
    answer = visitor.asks("PUT", "/email", password=STRONG, email=NEW)
    assert answer.status_code == 200
    safe.deliver_mail()
    return mailbox.token(NEW)


class TestSession:
    """When a session ends."""

    @pytest.mark.parametrize("seconds, live", [
        (IDLE - 1, True), (IDLE, False)])
    def test_idle_end(self, signed_in: Visitor, clock: Clock, seconds: int,
                      live: bool) -> None:
        """Seven days after it was seen last, to the second (ASVS 7.3.1)."""
        clock.advance(DAY)
        assert is_in(signed_in)
        clock.advance(seconds)
        assert is_in(signed_in) is live

    def test_absolute_end(self, signed_in: Visitor, clock: Clock) -> None:
        """Thirty days after it was opened, however busy (ASVS 7.3.2)."""
        for _ in range(4):
            clock.advance(6 * DAY)
            assert is_in(signed_in)
        clock.advance(6 * DAY - 1)
        assert is_in(signed_in)
        clock.advance(1)
        assert not is_in(signed_in)

    def test_no_route_knows_it_any_more(
            self, signed_in: Visitor, clock: Clock, db: DB) -> None:
        """Each looks up its end by itself, and none revives it."""
        clock.advance(IDLE)
        before = db.find_all(Session)[0].shown()
        for method, path in (
                ("GET", "/profile"), ("GET", "/sessions"),
                ("GET", "/profile/export"), ("PUT", "/password"),
                ("PUT", "/email"), ("DELETE", "/sessions/1"),
                ("DELETE", "/sessions/others"), ("DELETE", "/sessions"),
                ("DELETE", "/profile"), ("GET", "/profile")):
            answer = signed_in.asks(
                method, path, email=NEW, password=STRONG,
                current_password=STRONG, new_password=STRONGER)
            assert_error(answer, 403, "not signed in")
        assert db.find_all(Session)[0].shown() == before

    def test_is_seen_once_a_minute(
            self, signed_in: Visitor, db: DB, clock: Clock,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Reading is hardly ever writing."""
        opened = int(clock())
        noted = notes_of_sessions(db, monkeypatch)
        for _ in range(130):
            clock.advance(1)
            assert is_in(signed_in)
        assert noted == [{"seen_at": opened + 60}, {"seen_at": opened + 120}]

    def test_is_not_seen_in_the_past(
            self, signed_in: Visitor, db: DB, clock: Clock,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """While a clock that was set back catches up, nothing is noted."""
        noted = notes_of_sessions(db, monkeypatch)
        clock.advance(-HOUR)
        for _ in range(60):
            assert is_in(signed_in)
            clock.advance(MINUTE)
        assert noted == []


def notes_of_sessions(db: DB, monkeypatch: pytest.MonkeyPatch
                      ) -> List[Dict[str, Any]]:
    """Note what is written into any row of a session from now on."""
    noted: List[Dict[str, Any]] = []
    change = db.change

    def note(table: Any, *which: Any, **values: Any) -> int:
        """Make the change and note it."""
        if table is Session:
            noted.append(values)
        return change(table, *which, **values)
    monkeypatch.setattr(db, "change", note)
    return noted


class TestResetToken:
    """When a link to set a new password ends."""

    @pytest.mark.parametrize("seconds, status", [
        (HOUR - 1, 200), (HOUR, 403)])
    def test_end(self, owner: Visitor, safe: Auth, mailbox: Mailbox,
                 clock: Clock, seconds: int, status: int) -> None:
        """An hour after it was mailed, to the second."""
        owner.asks("POST", "/reset_password", email=EMAIL)
        clock.advance(HOUR)  # the mail waited, and its link did not age
        safe.deliver_mail()
        clock.advance(seconds)
        answer = owner.resets_password(mailbox.token(EMAIL), STRONGER)
        assert answer.status_code == status
        expected = STRONGER if status == 200 else STRONG
        assert owner.logs_in(EMAIL, expected).status_code == 200


class TestThrottle:
    """How long one has to wait."""

    def test_of_an_account_to_the_second(
            self, visit: Callable[..., Visitor], clock: Clock) -> None:
        """Five failures are free; then 1, 2, 4 up to 900 seconds."""
        stranger = visit()
        for _ in range(5):
            assert stranger.logs_in(EMAIL, "wrong").status_code == 401
        for wait in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900):
            assert_waits(stranger.logs_in(EMAIL, "wrong"), wait)
            clock.advance(wait - 1)
            assert_waits(stranger.logs_in(EMAIL, "wrong"), 1)
            clock.advance(1)
            assert stranger.logs_in(EMAIL, "wrong").status_code == 401

    def test_of_an_account_is_over_with_the_right_password(
            self, owner: Visitor, visit: Callable[..., Visitor],
            clock: Clock) -> None:
        """Not a second earlier; and then five failures are free again."""
        stranger = visit()
        for _ in range(2):
            for _ in range(5):
                assert stranger.logs_in(EMAIL, "wrong").status_code == 401
            clock.advance(0.9)
            assert_waits(stranger.logs_in(EMAIL, STRONG), 1)
            clock.advance(0.1)
            assert stranger.logs_in(EMAIL, STRONG).status_code == 200
            stranger = visit()

    @pytest.mark.parametrize("path, form, limit, status", [
        ("/sessions", {"password": "wrong"}, "login_network_limit", 401),
        ("/users", {"password": STRONG}, "register_network_limit", 200),
        ("/reset_password", {}, "mail_network_limit", 200),
        ("/verify_email", {}, "mail_network_limit", 200)])
    def test_of_a_network_to_the_second(
            self, visit: Callable[..., Visitor], clock: Clock, path: str,
            form: Dict[str, str], limit: str, status: int) -> None:
        """So many, and then the rest of the window, whomever it asks for."""
        stranger = visit(**{limit: Rate(2, 5 * MINUTE)})

        def asks(email: str) -> Any:
            """Ask about somebody."""
            return stranger.asks("POST", path, {}, email=email, **form)
        assert asks("a@me.com").status_code == status
        clock.advance(MINUTE)
        assert asks("b@me.com").status_code == status
        assert_waits(asks("c@me.com"), 4 * MINUTE)
        clock.advance(4 * MINUTE - 1)
        assert_waits(asks("c@me.com"), 1)
        clock.advance(1)
        assert asks("c@me.com").status_code == status

    def test_of_a_mailbox_to_the_second(
            self, owner: Visitor, safe: Auth, mailbox: Mailbox,
            clock: Clock) -> None:
        """Three an hour; the answer never says that a mail was withheld."""
        sent = []
        for step in (0, 1, 1, HOUR - 3, 1):
            clock.advance(step)
            owner.asks("POST", "/reset_password", email=EMAIL)
            safe.deliver_mail()
            sent.append(len(mailbox.mails))
        assert sent == [1, 2, 3, 3, 4]


def assert_waits(answer: Any, seconds: int) -> None:
    """Assert that the same request is to be made so much later."""
    assert_error(answer, 429, WAIT)
    assert answer.headers["Retry-After"] == str(seconds)


class TestSweep:
    """Clearing away what is over."""

    # What a full life leaves, and after how long each part of it is over.
    LIVES = (
        (5 * MINUTE, {"login network"}),
        (HOUR, {"register network", "mail network", "mails reset",
                "mails verify", "mails change", "moves", "reset"}),
        (DAY, {"verify", "change"}),
        (7 * DAY, {"session"}),
        (30 * DAY, {"account", "device", "confirm"}),
        (90 * DAY, {"fact"}), (365 * DAY, {"browser"}))

    @pytest.fixture
    def full(self, guest: Visitor, visit: Callable[..., Visitor], safe: Auth,
             db: DB) -> None:
        """A store with all that can be over, made in one second."""
        guest.registers(EMAIL, STRONG)
        safe.deliver_mail()
        db.change(Account, {"user_id": 1}, verified_at=1)
        guest.logs_in(EMAIL, STRONG)
        for stranger in (guest, visit()):
            stranger.logs_in(EMAIL, "wrong")
        guest.asks("POST", "/reset_password", email=EMAIL)
        guest.asks("PUT", "/email", password=STRONG, email=NEW)
        safe.deliver_mail()
        guest.asks("PUT", "/email", password="wrong", email=NEW)

    @pytest.fixture
    def kinds(self, db: DB, safe_settings: Settings, full: None
              ) -> Callable[[], Set[str]]:
        """What there still is."""
        lanes, browser = Throttle(db, safe_settings), db.find_all(Device)[0]
        names = {
            lanes.account(EMAIL).key: "account",
            lanes.device(browser.digest).key: "device",
            lanes.confirm(1).key: "confirm",
            lanes.moves(1, "")[0].key: "moves"}
        for name in ("login", "register", "mail"):
            for network in (HOME, ELSEWHERE):
                lane, = lanes.network(name, network)
                names[lane.key] = name + " network"
        for purpose, email in (("reset", EMAIL), ("verify", EMAIL),
                               ("change", NEW)):
            names[lanes.mail(purpose, email).key] = "mails " + purpose

        def look() -> Set[str]:
            """Return the kind of every row that may go."""
            rows = {Session: "session", Device: "browser", Entry: "fact"}
            found = {kind for table, kind in rows.items()
                     if db.find_all(table)}
            found |= {each.purpose for each in db.find_all(MailToken)}
            return found | {names[each.key] for each in db.find_all(Attempt)}
        return look

    def test_takes_what_is_over_and_nothing_that_lives(
            self, kinds: Callable[[], Set[str]], safe: Auth,
            clock: Clock) -> None:
        """Everything to the second (ASVS 14.2.7)."""
        started = clock.now
        left = set().union(*[gone for _, gone in self.LIVES])
        assert kinds() == left
        for seconds, gone in self.LIVES:
            clock.now = started + seconds - 1
            safe.sweep()
            assert kinds() == left
            clock.advance(1)
            safe.sweep()
            left -= gone
            assert kinds() == left
        assert left == set()

    def test_takes_no_account_and_no_mail(
            self, full: None, guest: Visitor, safe: Auth, mailbox: Mailbox,
            clock: Clock, db: DB) -> None:
        """However long they wait; one that was given up is kept a while."""
        mailbox.broken = ConnectionRefusedError()
        for path in ("/reset_password", "/verify_email"):
            guest.asks("POST", path, email=EMAIL)
        clock.advance(2 * DAY)
        safe.deliver_mail()
        due = {each.due_at for each in db.find_all(Outgoing)}
        assert len(due) == 2 and None in due
        clock.advance(88 * DAY - 1)
        safe.sweep()
        assert len(db.find_all(Outgoing)) == 2
        clock.advance(1)
        safe.sweep()
        assert {each.due_at for each in db.find_all(Outgoing)} \
            == due - {None}
        clock.advance(TEN_YEARS)
        safe.sweep()
        assert [len(db.find_all(each)) for each in (
            User, Account, Outgoing, Session, MailToken, Attempt, Device,
            Entry)] == [1, 1, 1, 0, 0, 0, 0, 0]

    def test_keeps_the_record_as_long_as_is_wanted(
            self, full: None, db: DB, safe_settings: Settings,
            clock: Clock) -> None:
        """AUDIT_LIFE decides, and nothing younger goes."""
        brief = Auth(db, dataclasses.replace(
            safe_settings, audit_life=HOUR), clock)
        old = len(db.find_all(Entry))
        clock.advance(HOUR - 1)
        brief.request_reset(OTHER)
        brief.sweep()
        assert len(db.find_all(Entry)) == old + 1
        clock.advance(1)
        brief.sweep()
        assert [each.fact for each in db.find_all(Entry)] \
            == ["reset.requested"]

    def test_takes_a_session_that_was_idle_for_too_long(
            self, signed_in: Visitor, safe: Auth, db: DB,
            clock: Clock) -> None:
        """It is over, and its row says where its user was."""
        clock.advance(IDLE - 1)
        safe.sweep()
        assert len(db.find_all(Session)) == 1
        clock.advance(1)
        safe.sweep()
        assert db.find_all(Session) == []

    def test_takes_a_session_that_was_open_for_too_long(
            self, signed_in: Visitor, safe: Auth, db: DB,
            clock: Clock) -> None:
        """However lately it was in use."""
        for days in (6, 6, 6, 6, 5):
            clock.advance(days * DAY)
            assert is_in(signed_in)
        clock.advance(DAY - 1)
        safe.sweep()
        assert len(db.find_all(Session)) == 1
        clock.advance(1)
        safe.sweep()
        assert db.find_all(Session) == []

    def test_of_a_store_that_was_never_used(
            self, safe: Auth, db: DB) -> None:
        """There is nothing to do."""
        safe.sweep()
        assert db.find_all(User) == []


@pytest.mark.promise("When a clock is set back by an hour, sessions, links, "
                     "waits and mails end when they would have, and nobody "
                     "waits for the hour.")
class TestSetBackByAnHour:
    """A clock that was wrong, or a zone that should not matter."""

    @pytest.mark.broken("a session of the hour that was lost is refused")
    def test_finds_that_the_future_is_refused(
            self, signed_in: Visitor, clock: Clock,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Everybody who signed in within it would be out."""
        monkeypatch.setattr(models, "SET_BACK", 0)
        with pytest.raises(AssertionError):
            self.test_sessions_go_on(signed_in, clock)

    def test_sessions_go_on(self, signed_in: Visitor,
                            clock: Clock) -> None:
        """And end when they would have."""
        end = clock.now + ABSOLUTE
        clock.advance(-HOUR)
        assert is_in(signed_in)
        while clock.now < end - 6 * DAY:
            clock.advance(6 * DAY)
            assert is_in(signed_in)
        clock.now = end - 1
        assert is_in(signed_in)
        clock.now = end
        assert not is_in(signed_in)

    def test_an_idle_session_ends_when_it_would_have(
            self, signed_in: Visitor, clock: Clock) -> None:
        """Being seen in the past is no life in the future."""
        end = clock.now + IDLE
        clock.advance(-HOUR)
        assert is_in(signed_in)
        clock.now = end
        assert not is_in(signed_in)

    @pytest.mark.parametrize("seconds, status", [
        (-HOUR, 200), (HOUR - 1, 200), (HOUR, 403)])
    def test_links_end_when_they_would_have(
            self, owner: Visitor, safe: Auth, mailbox: Mailbox, clock: Clock,
            seconds: int, status: int) -> None:
        """Those in the mailbox are neither dead nor older than new ones."""
        mailed = clock.now
        token = reset_token(owner, safe, mailbox)
        clock.advance(-HOUR)
        clock.now = mailed + seconds
        assert owner.resets_password(token, STRONGER).status_code == status

    def test_links_to_verify_work(
            self, signed_in: Visitor, safe: Auth, mailbox: Mailbox,
            clock: Clock) -> None:
        """As those to reset do."""
        token = verify_token(signed_in, safe, mailbox)
        clock.advance(-HOUR)
        answer = signed_in.asks("PUT", "/verify_email", token=token)
        assert answer.status_code == 200

    def test_nobody_waits_for_the_hour(
            self, owner: Visitor, visit: Callable[..., Visitor],
            clock: Clock) -> None:
        """At most as long as one would have had to, and it still counts."""
        stranger = visit()
        for _ in range(8):
            clock.advance(HOUR)
            stranger.logs_in(EMAIL, "wrong")
        clock.advance(-HOUR + 8)  # the wait after eight failures
        assert stranger.logs_in(EMAIL, "wrong").status_code == 401
        assert_waits(stranger.logs_in(EMAIL, STRONG), 16)
        clock.advance(16)
        assert stranger.logs_in(EMAIL, STRONG).status_code == 200

    def test_no_network_waits_for_the_hour(
            self, owner: Visitor, visit: Callable[..., Visitor],
            clock: Clock) -> None:
        """At most for a window, and that one counts as any other."""
        stranger = visit(login_network_limit=Rate(2, 5 * MINUTE))
        for email in (OTHER, OTHER):
            stranger.logs_in(email, "wrong")
        clock.advance(-HOUR + 5 * MINUTE)
        statuses = [stranger.logs_in(OTHER, "wrong").status_code
                    for _ in range(3)]
        assert statuses == [401, 401, 429]

    def test_a_known_browser_is_known(
            self, signed_in: Visitor, visit: Callable[..., Visitor],
            clock: Clock) -> None:
        """Nobody else's guesses shut its user out."""
        stranger = visit()
        for _ in range(6):
            stranger.logs_in(EMAIL, "wrong")
        clock.advance(-HOUR)
        assert signed_in.logs_in(EMAIL, STRONG).status_code == 200

    def test_mail_does_not_wait_for_more_than_the_hour(
            self, owner: Visitor, safe: Auth, mailbox: Mailbox,
            clock: Clock) -> None:
        """Nor is it sent twice."""
        owner.asks("POST", "/reset_password", email=EMAIL)
        clock.advance(-HOUR)
        safe.deliver_mail()
        clock.advance(HOUR)
        safe.deliver_mail()
        safe.deliver_mail()
        assert len(mailbox.mails) == 1


@pytest.mark.promise("What a clock that was ten years ahead left behind "
                     "opens nothing and locks nobody out, once it is set.")
class TestTenYearsAheadAndBack:
    """A clock that lost its battery, until it was set."""

    @pytest.mark.broken("a session that was opened in the future is believed")
    def test_finds_a_session_of_then(
            self, owner: Visitor, clock: Clock,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """It would last for ten years."""
        monkeypatch.setattr(models, "SET_BACK", 2 * TEN_YEARS)
        with pytest.raises(AssertionError):
            self.test_a_session_of_then_is_none(owner, clock, TEN_YEARS)

    @pytest.fixture
    def ahead(self, owner: Visitor, clock: Clock) -> Visitor:
        """Somebody with an account, on a wrong day."""
        clock.advance(TEN_YEARS)
        return owner

    @pytest.mark.parametrize("jump", [2 * DAY, TEN_YEARS])
    def test_a_session_of_then_is_none(
            self, owner: Visitor, clock: Clock, jump: int) -> None:
        """It would last for longer than any; a new one is like any."""
        clock.advance(jump)
        owner.logs_in(EMAIL, STRONG)
        assert is_in(owner)
        clock.advance(-jump)
        assert not is_in(owner)
        assert owner.logs_in(EMAIL, STRONG).status_code == 200
        assert is_in(owner)
        clock.advance(IDLE)
        assert not is_in(owner)

    def test_a_session_of_then_does_not_come_to_life(
            self, ahead: Visitor, clock: Clock) -> None:
        """Not before its own day, ten years on."""
        ahead.logs_in(EMAIL, STRONG)
        clock.advance(-TEN_YEARS)
        for days in (1, 6, 30, 365, 3000):
            clock.advance(days * DAY)
            assert not is_in(ahead)

    def test_a_session_of_before_lives_no_longer_for_it(
            self, signed_in: Visitor, clock: Clock) -> None:
        """It was over on that day, and being asked for then is no life."""
        end = clock.now + IDLE
        clock.advance(TEN_YEARS)
        assert not is_in(signed_in)
        clock.now = end - 1
        assert is_in(signed_in)
        clock.now = end - 1 + IDLE
        assert not is_in(signed_in)

    def test_links_of_then_are_refused(
            self, ahead: Visitor, safe: Auth, mailbox: Mailbox,
            clock: Clock) -> None:
        """They would work for ten years; the next ones are like any."""
        ahead.logs_in(EMAIL, STRONG)
        verify = verify_token(ahead, safe, mailbox)
        reset = reset_token(ahead, safe, mailbox)
        clock.advance(-TEN_YEARS)
        assert_error(ahead.resets_password(reset, STRONGER), 403,
                     "reset_token is not valid")
        assert_error(ahead.asks("PUT", "/verify_email", token=verify), 403,
                     "token is not valid")
        reset = reset_token(ahead, safe, mailbox)
        assert ahead.resets_password(reset, STRONGER).status_code == 200
        assert ahead.logs_in(EMAIL, STRONGER).status_code == 200

    def test_nobody_is_locked_out(
            self, ahead: Visitor, visit: Callable[..., Visitor],
            clock: Clock) -> None:
        """Waits of then are over: of an account and of a network."""
        for _ in range(6):
            visit().logs_in(EMAIL, "wrong")
        full = visit(login_network_limit=Rate(1, HOUR))
        assert full.logs_in(EMAIL, STRONG).status_code == 429
        clock.advance(-TEN_YEARS)
        assert full.logs_in(EMAIL, STRONG).status_code == 200

    def test_mail_of_then_is_sent(
            self, ahead: Visitor, safe: Auth, mailbox: Mailbox,
            clock: Clock) -> None:
        """Once, with a link of today."""
        ahead.asks("POST", "/reset_password", email=EMAIL)
        clock.advance(-TEN_YEARS)
        for _ in range(2):
            safe.deliver_mail()
        assert len(mailbox.mails) == 1
        answer = ahead.resets_password(mailbox.token(EMAIL), STRONGER)
        assert answer.status_code == 200

    def test_a_sweep_of_then_costs_no_account(
            self, signed_in: Visitor, safe: Auth, mailbox: Mailbox, db: DB,
            clock: Clock) -> None:
        """Everybody is signed out and forgotten by it, and nobody is gone."""
        reset_token(signed_in, safe, mailbox)
        clock.advance(TEN_YEARS)
        safe.sweep()
        clock.advance(-TEN_YEARS)
        assert db.find_all(MailToken, purpose=RESET) == []
        assert not is_in(signed_in)
        assert signed_in.logs_in(EMAIL, STRONG).status_code == 200
        token = reset_token(signed_in, safe, mailbox)
        assert signed_in.resets_password(token, STRONGER).status_code == 200
