#!/usr/bin/env python3
"""What happened: who, what, when, from where, and never a secret.

`CASES` has a journey for each fact there is, through HTTP where a person
causes it; the last request of a journey is the one with the request id.
"""
from __future__ import annotations

import dataclasses
import logging
import re
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import pytest
from werkzeug.test import TestResponse

from app import create_app
from audit import LEVELS, TERMINAL, Caller, Fact, Trail
from auth import Auth
from credentials import passwords
from db import DB
from errors import Unavailable
from models import Account, Entry
from settings import DAY, HOUR, Rate, Settings
from tests.helpers import (
    EMAIL, ORIGIN, STRANGE_TOKEN, STRONG, STRONGER, Clock, Mailbox, Visitor,
    cookies_of)
from user import Base

# Beside BOB, whose id is 1: one who looks on, one who never verified, one who
# is new, and an address without an account.
EVE, JOE, NEW, NOBODY = "eve@me.com", "joe@me.com", "new@me.com", "no@me.com"
BOB_ID, EVE_ID, JOE_ID, NEW_ID = 1, 2, 3, 4
HOME, TRACE = "203.0.113.7", "trace-1"
WRONG, HASH = "tartiflette au gruyere", passwords.hash_password(STRONG, 4)
CALLER = Caller("192.0.2.1", "Lynx", TRACE, "device-secret", "next-secret")
NewGuest = Callable[..., Visitor]


class Scene:
    """The production mode with three people; Bob is signed in."""

    def __init__(self, safe: Auth, db: DB, mailbox: Mailbox,
                 at: int) -> None:
        """Furnish a store with people who have done something before."""
        self.safe, self.mailbox = safe, mailbox
        with Trail(db).recorded(at, CALLER) as record:
            for email in (EMAIL, EVE, JOE):
                user = db.add_user(email, HASH, at)
                record(Fact.ACCOUNT_CREATED, user.id)
            for user_id in (BOB_ID, EVE_ID):
                db.change(Account, {"user_id": user_id}, verified_at=at)
            record(Fact.RESET_REQUESTED)
        self.admin = safe.acting_for(TERMINAL).admin
        self.bob = self.browser()
        self.bob.logs_in(EMAIL, STRONG)

    def browser(self) -> Visitor:
        """Return a browser at Bob's, one more each time."""
        return Visitor(create_app(self.safe).test_client(), ORIGIN, HOME)

    def asks(self, method: str, path: str, **data: str) -> TestResponse:
        """Let Bob's browser send the request that a case is about."""
        return self.bob.asks(method, path, {"X-Request-ID": TRACE}, **data)

    def resets(self) -> None:
        """Set a new password by mail."""
        self.sends(EMAIL)
        self.asks("PUT", "/reset_password", new_password=STRONGER,
                  reset_token=self.mailbox.token(EMAIL))

    def proves(self) -> None:
        """Verify the address of Joe."""
        self.bob.asks("POST", "/verify_email", email=JOE)
        self.verifies(JOE)

    def enables(self) -> None:
        """Let Bob in again, who was kept out by another hand."""
        self.safe.acting_for(CALLER).admin.disable(EMAIL)
        self.admin.enable(EMAIL)

    def moves(self) -> None:
        """Take another address, and confirm it."""
        self.bob.asks("PUT", "/email", password=STRONG, email=NEW)
        self.verifies(NEW)

    def verifies(self, email: str) -> None:
        """Open the link of a mail that waits for an address."""
        self.safe.deliver_mail()
        self.asks("PUT", "/verify_email", token=self.mailbox.token(email))

    def ends_others(self) -> None:
        """Sign in on another device, and out everywhere but here."""
        self.browser().logs_in(EMAIL, STRONG)
        self.asks("DELETE", "/sessions/others")

    def sends(self, email: str, broken: Optional[Exception] = None,
              refuses: Optional[Exception] = None) -> None:
        """Ask for a reset, and have the mail server do this with the mail."""
        self.bob.asks("POST", "/reset_password", email=email)
        self.mailbox.broken, self.mailbox.refuses = broken, refuses
        self.safe.deliver_mail()


class Case(NamedTuple):
    """A fact, a journey on which it happens, and what is known of it.

    What is `kept` is a row as well as a line; `by_us` is what no request
    causes; `also` is what happens with it.
    """

    fact: Fact
    journey: Callable[[Scene], object]
    user_id: Optional[int] = None
    detail: str = ""
    kept: bool = True
    by_us: bool = False
    also: Tuple[Fact, ...] = ()

    def leaves(self, row: Dict[str, Any]) -> bool:
        """Tell whether the journey leaves a row of before where it is."""
        return (self.fact is not Fact.ACCOUNT_DELETED
                or row["user_id"] != self.user_id)


CASES = [
    Case(Fact.ACCOUNT_CREATED, lambda scene: scene.asks(
        "POST", "/users", email=NEW, password=STRONG), NEW_ID),
    Case(Fact.ACCOUNT_REPEATED, lambda scene: scene.asks(
        "POST", "/users", email=EVE, password=STRONG)),
    Case(Fact.ACCOUNT_EXPORTED, lambda scene: scene.asks(
        "GET", "/profile/export"), BOB_ID),
    # Nothing is left of a user but a line.
    Case(Fact.ACCOUNT_DELETED, lambda scene: scene.asks(
        "DELETE", "/profile", password=STRONG), BOB_ID, kept=False),
    # What is done by terminal says so, and comes from no network.
    Case(Fact.ACCOUNT_DISABLED, lambda scene: scene.admin.disable(EMAIL),
         BOB_ID, detail="by terminal", by_us=True),
    Case(Fact.ACCOUNT_ENABLED, Scene.enables, BOB_ID, detail="by terminal",
         by_us=True),
    Case(Fact.ACCOUNTS_IMPORTED, lambda scene: scene.admin.import_people(
        [scene.admin.person({"email": NEW})]), detail="1 users, by terminal",
        by_us=True),
    Case(Fact.ACCOUNTS_EXPORTED, lambda scene: list(
        scene.admin.export_people()), detail="without hashes, by terminal",
        by_us=True),
    Case(Fact.ACCOUNT_DELETED, lambda scene: scene.admin.delete(EMAIL),
         BOB_ID, detail="by terminal", kept=False, by_us=True),
    Case(Fact.RESET_REQUESTED, lambda scene: scene.admin.request_reset(
        EMAIL), BOB_ID, detail="by terminal", by_us=True),
    Case(Fact.SESSION_ENDED, lambda scene: scene.admin.end_sessions(EMAIL),
         BOB_ID, detail="by terminal", by_us=True),
    Case(Fact.EMAIL_VERIFIED, lambda scene: scene.admin.vouch(JOE), JOE_ID,
         detail="by terminal", by_us=True),
    Case(Fact.LOGIN_REFUSED, lambda scene: scene.asks(
        "POST", "/sessions", email=EMAIL, password=WRONG), BOB_ID),
    Case(Fact.LOGIN_REFUSED, lambda scene: scene.asks(
        "POST", "/sessions", email=NOBODY, password=WRONG)),
    Case(Fact.LOGIN_REFUSED, lambda scene: scene.asks(
        "POST", "/sessions", email=JOE, password=STRONG), JOE_ID,
        "not verified"),
    Case(Fact.PASSWORD_REFUSED, lambda scene: scene.asks(
        "DELETE", "/profile", password=WRONG), BOB_ID),
    Case(Fact.PASSWORD_REFUSED, lambda scene: scene.asks(
        "PUT", "/email", password=WRONG, email=NEW), BOB_ID),
    Case(Fact.PASSWORD_REFUSED, lambda scene: scene.asks(
        "PUT", "/password", current_password=WRONG, new_password=STRONGER),
        BOB_ID),
    Case(Fact.SESSION_OPENED, lambda scene: scene.asks(
        "POST", "/sessions", email=EMAIL, password=STRONG), BOB_ID,
        also=(Fact.SESSION_ENDED,)),
    Case(Fact.SESSION_ENDED, lambda scene: scene.asks(
        "DELETE", "/sessions"), BOB_ID),
    Case(Fact.SESSION_ENDED, lambda scene: scene.asks(
        "DELETE", "/sessions/1"), BOB_ID),
    Case(Fact.SESSION_ENDED, Scene.ends_others, BOB_ID),
    Case(Fact.SESSION_ENDED, lambda scene: scene.safe.destroy_session(BOB_ID),
         BOB_ID, by_us=True),
    Case(Fact.RESET_REQUESTED, lambda scene: scene.asks(
        "POST", "/reset_password", email=EMAIL)),
    Case(Fact.PASSWORD_RESET, Scene.resets, BOB_ID),
    Case(Fact.PASSWORD_CHANGED, lambda scene: scene.asks(
        "PUT", "/password", current_password=STRONG, new_password=STRONGER),
        BOB_ID),
    Case(Fact.VERIFY_REQUESTED, lambda scene: scene.asks(
        "POST", "/verify_email", email=JOE)),
    Case(Fact.EMAIL_VERIFIED, Scene.proves, JOE_ID),
    Case(Fact.EMAIL_REQUESTED, lambda scene: scene.asks(
        "PUT", "/email", password=STRONG, email=NEW), BOB_ID),
    Case(Fact.EMAIL_CHANGED, Scene.moves, BOB_ID,
         also=(Fact.EMAIL_VERIFIED,)),
    # Of mails, only a lost one is worth a row.
    Case(Fact.MAIL_SENT, lambda scene: scene.sends(EMAIL),
         detail="reset", kept=False, by_us=True),
    Case(Fact.MAIL_WITHHELD, lambda scene: scene.sends(NOBODY),
         detail="reset", kept=False, by_us=True),
    Case(Fact.MAIL_DELAYED, lambda scene: scene.sends(
        EMAIL, broken=OSError("hush")),
        detail="reset, try 1: OSError", kept=False, by_us=True),
    Case(Fact.MAIL_GIVEN_UP, lambda scene: scene.sends(
        EMAIL, refuses=ValueError("hush")),
        detail="reset, try 1: ValueError", by_us=True)]
every_case = pytest.mark.parametrize("case", CASES, ids=[
    "{}-{}".format(place, each.fact.value)
    for place, each in enumerate(CASES)])


@pytest.fixture
def scene(safe: Auth, db: DB, mailbox: Mailbox, clock: Clock,
          caplog: pytest.LogCaptureFixture) -> Scene:
    """Three people; whatever happened so far is a while ago."""
    caplog.set_level(logging.INFO)
    built = Scene(safe, db, mailbox, int(clock()))
    clock.advance(100)
    caplog.clear()
    return built


def lines(caplog: pytest.LogCaptureFixture) -> List[Dict[str, Any]]:
    """Return the fields of each line of the audit log, and its level."""
    return [dict(vars(each)["fields"], level=each.levelno)
            for each in caplog.records if each.name == "bienvenue.audit"]


def rows(db: DB, **match: Any) -> List[Dict[str, Any]]:
    """Return the rows of the record, in order."""
    return [{column.key: getattr(row, column.key)
             for column in Base.metadata.tables["audit"].columns}
            for row in db.find_all(Entry, **match)]


def sizes(db: DB) -> Dict[str, int]:
    """Return how many rows each table has."""
    tables = {each.__tablename__: each for each in Base.__subclasses__()}
    assert set(tables) == set(Base.metadata.tables)
    return {name: len(db.find_all(table)) for name, table in tables.items()}


class TestFact:
    """The vocabulary, and when each of its words is said."""

    def test_every_fact_has_a_case(self) -> None:
        """A word that nothing says is a promise that is not kept."""
        assert {each.fact for each in CASES} == set(Fact)

    @every_case
    def test_is_recorded(self, scene: Scene, case: Case, db: DB, clock: Clock,
                         caplog: pytest.LogCaptureFixture) -> None:
        """Who, what, when, from where and in which request (ASVS 16.2.1).

        Beside whatever was recorded before: of a user who goes, the rows go,
        and no journey of Bob's changes another one or says a word of Eve.
        """
        before = rows(db)
        case.journey(scene)
        known = {"fact": case.fact.value, "user_id": case.user_id,
                 "network": "" if case.by_us else HOME,
                 "request_id": "" if case.by_us else TRACE,
                 "detail": case.detail}
        facts = [each.value for each in (case.fact, *case.also)]
        said = [each for each in lines(caplog)
                if each.get("request_id", "") == known["request_id"]]
        assert [each["fact"] for each in said] == facts
        assert said[0] == dict(
            {name: value for name, value in known.items() if value},
            level=LEVELS.get(case.fact.value, logging.INFO))
        left = [each for each in before if case.leaves(each)]
        after = rows(db)
        assert after[:len(left)] == left
        added = [each for each in after[len(left):]
                 if each["request_id"] == known["request_id"]]
        assert [each["fact"] for each in added] == facts * case.kept
        assert not added or added[0] == dict(
            known, id=added[0]["id"], at=int(clock()))
        assert EVE_ID not in [each["user_id"] for each in after[len(left):]]

    @pytest.mark.parametrize("fact", Fact)
    def test_word_fits_its_column(self, fact: Fact) -> None:
        """A thing, a dot, and what became of it, in 32 characters."""
        assert re.match(r"[a-z]+\.[a-z_]+\Z", fact.value)
        assert len(fact.value) <= 32

    @pytest.mark.parametrize("fact, level", [
        (Fact.LOGIN_REFUSED, "WARNING"), (Fact.PASSWORD_REFUSED, "WARNING"),
        (Fact.MAIL_DELAYED, "WARNING"), (Fact.MAIL_GIVEN_UP, "ERROR"),
        (Fact.SESSION_OPENED, "INFO"), (Fact.MAIL_SENT, "INFO")])
    def test_level(self, fact: Fact, level: str, db: DB,
                   caplog: pytest.LogCaptureFixture) -> None:
        """What somebody should look at stands out."""
        caplog.set_level(logging.INFO)
        Trail(db).tell(fact, 7)
        assert [each.levelname for each in caplog.records] == [level]


class TestCaller:
    """Who asks, as it may be shown."""

    def test_shows_no_token_of_a_device(self) -> None:
        """In a traceback with its locals, say."""
        caller = Caller("203.0.113.7", "Lynx", "r", "hush-hush", "hush-next")
        assert repr(caller) == str(caller) == "<Caller 203.0.113.7>"


class TestTrail:
    """A row in the transaction, and a line after it."""

    @pytest.fixture
    def trail(self, db: DB, caplog: pytest.LogCaptureFixture) -> Trail:
        """A record in the fixture's store, with its log in sight."""
        caplog.set_level(logging.INFO)
        return Trail(db)

    def test_keeps_rows_in_order(self, trail: Trail, db: DB,
                                 caplog: pytest.LogCaptureFixture) -> None:
        """Of several facts in one transaction, and of who asked."""
        with trail.recorded(7, CALLER) as record:
            record(Fact.EMAIL_CHANGED, 3, "to the moon")
            record(Fact.EMAIL_VERIFIED)
        shared = {"at": 7, "network": "192.0.2.1", "request_id": TRACE}
        assert rows(db) == [
            dict(shared, id=1, fact="email.changed", user_id=3,
                 detail="to the moon"),
            dict(shared, id=2, fact="email.verified", user_id=None,
                 detail="")]
        assert [each["fact"] for each in lines(caplog)] \
            == ["email.changed", "email.verified"]

    def test_is_undone_with_what_it_tells_of(
            self, trail: Trail, db: DB,
            caplog: pytest.LogCaptureFixture) -> None:
        """What did not happen is in neither place."""
        with pytest.raises(KeyError):
            with trail.recorded(7) as record:
                db.add_user(EMAIL, "x")
                record(Fact.ACCOUNT_CREATED, 1)
                raise KeyError("a mistake of ours")
        assert rows(db) == [] and sizes(db)["users"] == 0
        assert lines(caplog) == []

    def test_undoes_what_cannot_be_recorded(
            self, trail: Trail, db: DB,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing happens unrecorded (ASVS 16.5.3)."""
        def full(*_: Any) -> None:
            """Fail as a full disk does."""
            raise OSError("no space left on device")
        with pytest.raises(Unavailable):
            with trail.recorded(7) as record:
                db.add_user(EMAIL, "x")
                monkeypatch.setattr(db, "add", full)
                record(Fact.ACCOUNT_CREATED, 1)
        assert sizes(db)["users"] == 0

    def test_tells_the_log_once_it_is_done(
            self, trail: Trail, settings: Settings) -> None:
        """Whoever reads the line finds the row, from anywhere."""
        elsewhere, found = DB(settings.database_url), []

        class Reader(logging.Handler):
            """Looks for the row as soon as there is a line."""

            def emit(self, record: logging.LogRecord) -> None:
                """Count what another connection sees."""
                found.append(len(elsewhere.find_all(Entry)))
        reader = Reader()
        logging.getLogger("bienvenue.audit").addHandler(reader)
        try:
            with trail.recorded(7) as record:
                record(Fact.SESSION_OPENED, 1)
                assert found == []
        finally:
            logging.getLogger("bienvenue.audit").removeHandler(reader)
            elsewhere.close()
        assert found == [1]

    def test_is_cut_to_its_columns(self, trail: Trail, db: DB) -> None:
        """A long name stops nothing from happening."""
        caller = Caller(network="n" * 65, request_id="r" * 65)
        with trail.recorded(7, caller) as record:
            record(Fact.SESSION_OPENED, 1, "d" * 251)
        row, = rows(db)
        for name, size in (("network", 64), ("request_id", 64),
                           ("detail", 250)):
            assert row[name] == name[0] * size
            column = Base.metadata.tables["audit"].columns[name]
            assert column.type.length == size

    def test_of_nobody_says_what_is_known(
            self, trail: Trail, caplog: pytest.LogCaptureFixture) -> None:
        """A field without a value is none."""
        with trail.recorded(7) as record:
            record(Fact.MAIL_GIVEN_UP)
        assert lines(caplog) == [
            {"fact": "mail.given_up", "level": logging.ERROR}]

    def test_tells_the_log_alone(self, trail: Trail, db: DB,
                                 caplog: pytest.LogCaptureFixture) -> None:
        """For what the table may not keep."""
        trail.tell(Fact.ACCOUNT_DELETED, 7, CALLER, 3, "at last")
        assert rows(db) == []
        assert lines(caplog) == [{
            "fact": "account.deleted", "user_id": 3, "detail": "at last",
            "network": "192.0.2.1", "request_id": TRACE,
            "level": logging.INFO}]

    def test_holds_neither_token_of_a_device(
            self, trail: Trail, db: DB,
            caplog: pytest.LogCaptureFixture) -> None:
        """A caller has secrets, and they are nobody's history."""
        with trail.recorded(7, CALLER) as record:
            record(Fact.SESSION_OPENED, 1)
        said = repr([vars(each) for each in caplog.records]) + repr(rows(db))
        assert "secret" not in said


class TestRecord:
    """What a whole service leaves behind."""

    def test_holds_no_secret(self, scene: Scene, db: DB,
                             caplog: pytest.LogCaptureFixture) -> None:
        """Of a life with every kind of them (ASVS 16.2.5)."""
        answers = [scene.asks("POST", "/sessions", email=EMAIL, password=each)
                   for each in (WRONG, STRONG)]
        answers.append(scene.asks(
            "PUT", "/password", current_password=STRONG,
            new_password=STRONGER))
        scene.asks("PUT", "/email", password=STRONGER, email=NEW)
        scene.resets()
        scene.asks("PUT", "/reset_password", new_password=STRONG,
                   reset_token=STRANGE_TOKEN)
        secrets = {WRONG, STRONG, STRONGER, STRANGE_TOKEN, "$2b$",
                   scene.mailbox.token(EMAIL), scene.mailbox.token(NEW)}
        secrets.update(value.partition(";")[0] for answer in answers
                       for value in cookies_of(answer).values())
        said = repr([vars(each) for each in caplog.records]) + repr(rows(db))
        assert len(secrets) == 11 and len(lines(caplog)) >= 8
        assert [each for each in secrets if each in said] == []

    def test_does_not_say_which_address_was_tried(
            self, scene: Scene, db: DB,
            caplog: pytest.LogCaptureFixture) -> None:
        """It may be a password, typed into the wrong field."""
        scene.asks("POST", "/sessions", email=NOBODY, password=WRONG)
        said = repr([vars(each) for each in caplog.records]) + repr(rows(db))
        assert "login.refused" in said and NOBODY not in said

    def test_of_a_household_names_its_network(
            self, new_guest: NewGuest, db: DB) -> None:
        """An IPv6 /64; the rest of the address is a person's."""
        new_guest("2001:db8::1:2:3:4").logs_in(NOBODY, WRONG)
        assert [each["network"] for each in rows(db)] == ["2001:db8::/64"]

    def test_is_forgotten_after_its_life(
            self, scene: Scene, db: DB, clock: Clock) -> None:
        """It names people, so it ends; to the second, and not before."""
        before = rows(db)
        clock.advance(90 * DAY - 101)
        scene.asks("POST", "/sessions", email=NOBODY, password=WRONG)
        scene.safe.sweep()
        assert rows(db)[:-1] == before
        clock.advance(1)
        scene.safe.sweep()
        assert [each["fact"] for each in rows(db)] == ["login.refused"]

    @pytest.mark.parametrize("given, kept", [
        (TRACE, True), ("a.B_9-" * 10, True), ("x" * 64, True),
        ("", False), ("x" * 65, False), ("two words", False),
        ("\x1b[31m", False), ("caf\u00e9", False)], ids=ascii)
    def test_has_the_id_that_the_answer_has(
            self, guest: Visitor, db: DB, given: str, kept: bool,
            caplog: pytest.LogCaptureFixture) -> None:
        """The caller's if it is fit for a log, and otherwise a new one."""
        answer = guest.asks("POST", "/sessions", {"X-Request-ID": given},
                            email=NOBODY, password=WRONG)
        named = answer.headers["X-Request-ID"]
        assert named == given if kept else re.match(
            r"[0-9a-f]{32}\Z", named)
        assert [each["request_id"] for each in rows(db)] == [named]
        assert [each["request_id"] for each in lines(caplog)] == [named]


class TestRefusals:
    """What is refused unseen leaves nothing, however often it comes."""

    @pytest.fixture
    def impatient(self, db: DB, safe_settings: Settings, clock: Clock,
                  mailbox: Mailbox) -> Scene:
        """The production mode where everything goes once."""
        service = Auth(db, dataclasses.replace(
            safe_settings, login_free_failures=1,
            mail_network_limit=Rate(1, HOUR),
            register_network_limit=Rate(1, HOUR)), clock, mailbox)
        return Scene(service, db, mailbox, int(clock()))

    @pytest.mark.parametrize("method, path, data, free", [
        ("POST", "/sessions", {"email": EMAIL, "password": WRONG}, 1),
        ("POST", "/sessions", {"email": NOBODY, "password": WRONG}, 1),
        ("DELETE", "/profile", {"password": WRONG}, 1),
        ("PUT", "/email", {"email": NEW, "password": WRONG}, 1),
        ("PUT", "/password", {"current_password": WRONG,
                              "new_password": STRONGER}, 1),
        ("POST", "/users", {"email": EVE, "password": STRONG}, 1),
        ("POST", "/reset_password", {"email": EMAIL}, 1),
        ("POST", "/verify_email", {"email": EMAIL}, 1)])
    def test_throttled_request_writes_no_row(
            self, impatient: Scene, db: DB, method: str, path: str,
            data: Dict[str, str], free: int) -> None:
        """A flood of them would fill the disk."""
        for _ in range(free):
            assert impatient.asks(method, path, **data).status_code != 429
        before = sizes(db)
        assert before["audit"] > 0
        for _ in range(3):
            assert impatient.asks(method, path, **data).status_code == 429
        assert sizes(db) == before

    def test_anonymous_requests_write_no_row(
            self, scene: Scene, new_guest: NewGuest, db: DB) -> None:
        """A thousand of them, in any table (Django CVE-2015-5143)."""
        guest, before = new_guest("192.0.2.1"), sizes(db)
        statuses = {
            guest.asks("GET", path, {"Cookie": cookie}).status_code
            for path in ("/", "/profile", "/profile/export", "/sessions",
                         "/nowhere")
            for cookie in ("", "__Host-session_id=",
                           "__Host-session_id=" + STRANGE_TOKEN,
                           "__Host-device=" + STRANGE_TOKEN)
            for _ in range(50)}
        assert statuses == {200, 403, 404}
        assert sizes(db) == before
