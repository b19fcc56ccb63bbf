#!/usr/bin/env python3
"""Whoever does anything at all with the service, and a model beside it.

Hypothesis chooses what is done; each answer is compared with the model's. Two
services can be asked: one in this process, whose clock and mail are ours, and
a real server.
"""
from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import (
    Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple)
from urllib.parse import urlencode

import hypothesis
from hypothesis import strategies as some
from hypothesis.stateful import (
    RuleBasedStateMachine, initialize, invariant, rule,
    run_state_machine_as_test)

from app import create_app
from auth import Auth
from credentials.pool import HashingPool
from db import DB
from models import Attempt, Entry, Outgoing
from routes.common import COOKIE, DEVICE_COOKIE, SAFE_COOKIE
from settings import DAY, HOUR, MINUTE, Rate, Settings
from tests.databases import fresh_url, put_tables_in, run, url_in
from tests.helpers import (
    ORIGIN, PRODUCTION, STRONG, STRONGER, Clock, Mailbox, Server, link_token)
from tests.proofs import model
from tests.proofs.model import Hand, Person, Refused, World
from user import User

# Limits that a short life meets.
POLICY: Dict[str, Any] = dict(
    bcrypt_cost=4, session_idle=DAY, session_absolute=3 * DAY,
    sessions_per_user=3, verify_token_life=6 * HOUR, new_device_mail=True,
    mail_address_limit=Rate(2, HOUR), login_free_failures=2,
    login_longest_wait=4, login_most_failures=6,
    login_network_limit=Rate(9, 5 * MINUTE),
    mail_network_limit=Rate(9, HOUR), register_network_limit=Rate(9, HOUR))
EMAILS = ("bob@me.com", "eve@me.com", "joe@me.com")
# To these one can only move.
FREE = ("ann@me.com", "ida@me.com")
PASSWORDS = (STRONG, STRONGER, "raclette et pommes de terre")
NETWORKS = ("203.0.113.7", "203.0.113.7", "198.51.100.9")
# How clocks go: on, far ahead, and back by a little or by far too much.
STEPS = (1, 5, MINUTE, 5 * MINUTE, HOUR, 7 * HOUR, DAY, 2 * DAY, 400 * DAY,
         -1, -5 * MINUTE, -2 * DAY, -400 * DAY)
SUBJECTS = {
    model.RESET: "Set a new password for Bienvenue",
    model.VERIFY: "Confirm your address for Bienvenue",
    model.CHANGE: "Confirm your new address for Bienvenue",
    model.ALREADY: "You already have an account at Bienvenue",
    model.NEW_DEVICE: "A new device signed in to Bienvenue",
    model.CHANGE_ASKED: "Your address at Bienvenue is about to change",
    model.EMAIL_CHANGED: "Your address at Bienvenue was changed",
    model.PASSWORD_CHANGED: "Your password at Bienvenue was changed"}
# Most things happen to the same few; some are typed in another case.
browsers, passwords = some.integers(0, 2), some.sampled_from(PASSWORDS)
emails = some.sampled_from(EMAILS + ("Bob@Me.com",))
# Mostly one that is signed in.
members = some.integers(0, 3)
# What somebody takes for a password; mostly they know it.
RIGHT = "the right one"
beliefs = some.sampled_from((RIGHT,) * 8 + PASSWORDS)
# Which of all that there ever was, counted from the newest.
any_of = some.integers(0, 5)


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: List[Tuple[str, str]]
    body: Dict[str, Any]

    @property
    def answer(self) -> Tuple[int, int]:
        """The status, and for how long to wait."""
        wait = [int(value) for name, value in self.headers
                if name.lower() == "retry-after"]
        return self.status, sum(wait)

    def cookie(self, name: str) -> Optional[str]:
        """Return what a cookie was set to, None if it was not."""
        for header, value in self.headers:
            if header.lower() == "set-cookie" and value.startswith(name + "="):
                return value.partition("=")[2].partition(";")[0]
        return None


class AtOnce(HashingPool):
    """Hashes without a thread or a line: nobody else is there."""

    def run(self, task: Callable[[], Any], *_: Any) -> Any:
        """Do it now."""
        return task()


class Inside:
    """The service in this process, with a clock and a mailbox of ours.

    What a crash leaves is shown elsewhere; so its file may be in memory.
    """

    def __init__(self, **changes: Any) -> None:
        """Start it by these settings."""
        shm = "/dev/shm"
        self._folder = tempfile.TemporaryDirectory(
            dir=shm if os.path.isdir(shm) else None)
        self.policy = Settings(**dict(
            POLICY, database_url=fresh_url(Path(self._folder.name)),
            **changes))
        put_tables_in(self.policy.database_url)
        self.clock, self.mailbox = Clock(), Mailbox()
        self._db = DB(self.policy.database_url, threads=4)
        self.service = Auth(self._db, self.policy, self.clock, self.mailbox,
                            pool=AtOnce(1, 1))
        self._application = create_app(self.service)
        self.lives = 0

    def begin(self) -> None:
        """Forget everybody who was there."""
        self.lives += 1
        self.clock.now = Clock().now
        self.mailbox.mails.clear()
        with self._db.transaction():
            for table in (User, Outgoing, Attempt, Entry):
                self._db.delete(table)

    def close(self) -> None:
        """Give back what it holds."""
        self.service.close()
        self._folder.cleanup()

    def ask(self, method: str, path: str, cookies: Dict[str, str],
            network: str, form: Dict[str, str]) -> Reply:
        """Send a form, past all that is not ours."""
        body, heads = urlencode(form).encode(), []

        def start(status: str, headers: List[Tuple[str, str]],
                  *_: Any) -> Any:
            """Take the head of the answer."""
            heads.append((int(status[:3]), headers))
        said = b"".join(self._application.wsgi_app({
            "REQUEST_METHOD": method, "PATH_INFO": path, "SCRIPT_NAME": "",
            "QUERY_STRING": "", "SERVER_NAME": "localhost",
            "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr, "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
            "HTTP_HOST": ORIGIN.partition("//")[2]
            if self.policy.production else "localhost",
            "REMOTE_ADDR": network if self.policy.production else "127.0.0.1",
            "HTTP_COOKIE": "; ".join(
                "{}={}".format(*each) for each in cookies.items())}, start))
        (status, headers), = heads
        return Reply(status, headers, json.loads(said) if said else {})


class Outside:
    """A real server in the development mode, on its database."""

    policy = Settings(session_idle=DAY, sessions_per_user=3)
    clock = Clock()

    def __init__(self, server: Server, folder: Path) -> None:
        """Ask this server, whose database is in the folder."""
        self._server, self._url = server, url_in(folder)
        self.lives = 0

    def begin(self) -> None:
        """Forget everybody who was there."""
        self.lives += 1
        run(self._url, "DELETE FROM users", "DELETE FROM outbox")

    def ask(self, method: str, path: str, cookies: Dict[str, str],
            network: str, form: Dict[str, str]) -> Reply:
        """Send a form over a connection of its own."""
        answer = self._server.ask(method, path, {"Cookie": "; ".join(
            "{}={}".format(*each) for each in cookies.items())}, **form)
        return Reply(answer.status, answer.headers.items(), json.loads(
            answer.body.decode()) if answer.body else {})


class Life(RuleBasedStateMachine):
    """What three browsers do, and a model that does the same."""

    def __init__(self, bench: Any) -> None:
        """Start with nobody, and no cookie anywhere."""
        super().__init__()
        bench.begin()
        self.bench = bench
        self.world = World(bench.policy, int(bench.clock()))
        self.cookies: List[Dict[str, str]] = [{} for _ in NETWORKS]
        self.name = SAFE_COOKIE if bench.policy.production else COOKIE
        # All that was ever given out, and a handle that nothing has.
        self.sessions: List[str] = []
        self.links: List[str] = []
        self.handles = [2 ** 40]
        self.turn = 0

    def asks(self, browser: int, method: str, path: str,
             **form: str) -> Tuple[Reply, Hand]:
        """Ask as a browser does, and keep its cookies."""
        jar = self.cookies[browser]
        before = jar.get(self.name, ""), jar.get(DEVICE_COOKIE, "")
        reply = self.bench.ask(method, path, jar, NETWORKS[browser], form)
        for name in (self.name, DEVICE_COOKIE):
            value = reply.cookie(name)
            if value is not None:
                jar[name] = value
        token = jar.get(self.name, "")
        if token and token != before[0]:
            self.sessions.append(token)
        return reply, Hand(NETWORKS[browser], before[0], before[1],
                           jar.get(DEVICE_COOKIE, ""), token)

    def compare(self, reply: Reply, due: Callable[..., Any], *given: Any,
                well: int = 200) -> Any:
        """Have the model do the same, and demand its answer."""
        try:
            told = due(*given)
        except Refused as refused:
            assert reply.answer == refused.answer, reply
            return None
        assert reply.answer == (well, 0), reply
        return told

    def presents(self, token: str, path: str = "/profile") -> Reply:
        """Ask who is signed in by a token, from nowhere in particular."""
        reply: Reply = self.bench.ask(
            "GET", path, {self.name: token}, NETWORKS[0], {})
        return reply

    def member(self, number: int) -> int:
        """Return a browser that is signed in; if there is none, sign one in.

        Any browser for 3, as it is.
        """
        live = {each.token for each in self.world.live_sessions()}
        signed_in = [browser for browser, jar in enumerate(self.cookies)
                     if jar.get(self.name) in live]
        if number == 3:
            return len(signed_in) % 3
        if not signed_in:
            if not self.world.find(EMAILS[number]):
                self.registers(number, EMAILS[number], STRONG)
                self.proves_mailbox(number)
            self.signs_in(number, EMAILS[number], RIGHT)
            return number
        return signed_in[number % len(signed_in)]

    def owner(self, browser: int) -> Optional[Person]:
        """Return who is signed in by a browser, or was a moment ago."""
        token = self.cookies[browser].get(self.name)
        return next((each.person for each in self.world.sessions
                     if each.token == token), None)

    def known(self, password: str, owner: Optional[Person]) -> str:
        """Return a password as somebody types it."""
        right = owner.password if owner else STRONG
        return right if password == RIGHT else password

    # -- What may be done

    @initialize(ready=some.integers(0, 3))
    def arrives(self, ready: int) -> None:
        """Let some of them be there already, most of the time."""
        for browser in range(ready and 2):
            self.registers(browser, EMAILS[browser], STRONG)
            self.proves_mailbox(browser)
            self.signs_in(browser, EMAILS[browser], STRONG)
        if ready == 3:
            self.moves_house()

    def moves_house(self) -> None:
        """Change an address, where that can be confirmed."""

    def proves_mailbox(self, browser: int) -> None:
        """Verify an address, where that is asked for."""

    def mails_arrive(self) -> None:
        """Have all mails sent, where there are any."""

    @rule(browser=browsers, email=emails, password=passwords)
    def registers(self, browser: int, email: str, password: str) -> None:
        """Open an account."""
        reply, hand = self.asks(browser, "POST", "/users", email=email,
                                password=password)
        self.compare(reply, self.world.register, hand, email.lower(),
                     password)

    @rule(browser=browsers, email=emails, password=beliefs)
    def signs_in(self, browser: int, email: str, password: str) -> None:
        """Open a session."""
        password = self.known(password, self.world.find(email.lower()))
        reply, hand = self.asks(browser, "POST", "/sessions", email=email,
                                password=password)
        self.compare(reply, self.world.sign_in, hand, email.lower(), password)
        assert reply.status != 200 or reply.body["email"] == email

    @rule(browser=members)
    def signs_out(self, browser: int) -> None:
        """End the session of a browser."""
        browser = self.member(browser)
        reply, hand = self.asks(browser, "DELETE", "/sessions")
        self.compare(reply, self.world.sign_out, hand, well=302)

    @rule(which=any_of)
    def looks(self, which: int) -> None:
        """Present any session that there ever was."""
        for token in self.sessions[::-1][which:which + 1]:
            reply = self.presents(token)
            session = self.compare(reply, self.world.look, token)
            assert session is None or reply.body == {
                "email": session.person.email}

    @rule(browser=members)
    def lists_sessions(self, browser: int) -> None:
        """Look at one's sessions."""
        self.sees_sessions(self.member(browser))

    def sees_sessions(self, browser: int) -> None:
        """See all sessions of one user, and no other."""
        reply, hand = self.asks(browser, "GET", "/sessions")
        found = self.compare(reply, self.world.list_sessions, hand)
        if found is not None:
            assert [each["current"] for each in reply.body["sessions"]] == [
                each.token == hand.session for each in found]
            for each, shown in zip(found, reply.body["sessions"]):
                if shown["id"] not in self.handles:
                    each.handle = shown["id"]
                    self.handles.append(each.handle)
                assert each.handle == shown["id"]

    @rule(browser=members, which=any_of)
    def ends_session(self, browser: int, which: int) -> None:
        """End one that was listed now or once, one's own or not."""
        browser = self.member(browser)
        self.sees_sessions(browser)
        handle = (self.handles[::-1] * 6)[which]
        reply, hand = self.asks(
            browser, "DELETE", "/sessions/{}".format(handle))
        self.compare(reply, self.world.end_session, hand, handle, well=204)

    @rule(browser=members)
    def ends_others(self, browser: int) -> None:
        """End all sessions of a user but one."""
        browser = self.member(browser)
        reply, hand = self.asks(browser, "DELETE", "/sessions/others")
        self.compare(reply, self.world.end_others, hand, well=204)

    @rule(browser=members, password=beliefs, new=passwords)
    def changes_password(self, browser: int, password: str,
                         new: str) -> None:
        """Set a new password, knowing the old one or not."""
        browser = self.member(browser)
        password = self.known(password, self.owner(browser))
        reply, hand = self.asks(browser, "PUT", "/password",
                                current_password=password, new_password=new)
        self.compare(reply, self.world.change_password, hand, password, new)

    @rule(browser=browsers, email=emails)
    def forgets_password(self, browser: int, email: str) -> None:
        """Ask for a reset; in development the answer has its token."""
        reply, hand = self.asks(browser, "POST", "/reset_password",
                                email=email)
        person = self.compare(reply, self.world.ask_reset, hand,
                              email.lower())
        assert ("reset_token" in reply.body) is (person is not None)
        if person:
            self.is_given(model.RESET, person, person.email,
                          reply.body["reset_token"])

    @rule(browser=browsers, which=any_of, new=passwords,
          email=some.sampled_from(("",) * 4 + EMAILS),
          asks=some.booleans(), twice=some.booleans())
    def resets_password(self, browser: int, which: int, new: str,
                        email: str, asks: bool, twice: bool) -> None:
        """Set a password with a new token or any old one, twice even."""
        if asks:
            self.forgets_password(browser, email or EMAILS[which % 3])
            self.mails_arrive()
            which = 0
        for token in self.links[::-1][which:which + 1] * (1 + twice):
            reply, hand = self.asks(
                browser, "PUT", "/reset_password", email=email,
                reset_token=token, new_password=new)
            self.compare(reply, self.world.reset_password, hand, token, new,
                         email)

    @rule(browser=members, password=beliefs)
    def deletes_account(self, browser: int, password: str) -> None:
        """Leave for good, knowing the password or not."""
        browser = self.member(browser)
        password = self.known(password, self.owner(browser))
        reply, hand = self.asks(browser, "DELETE", "/profile",
                                password=password)
        self.compare(reply, self.world.delete, hand, password, well=204)

    @rule(browser=browsers)
    def loses_cookies(self, browser: int) -> None:
        """Have another browser from now on; what it had goes on living."""
        self.cookies[browser] = {}

    def is_given(self, purpose: str, person: Person, email: str,
                 token: str) -> None:
        """Note a token that was given out."""
        self.links.append(token)
        self.world.give(purpose, person, email, token)

    # -- What always holds

    @invariant()
    def what_has_ended_stays_ended(self) -> None:
        """No session and no link works that does not in the model.

        To ask for what is over changes nothing. All have their turn.
        """
        self.turn += 1
        for token in self.turn_of(self.sessions, {
                each.token for each in self.world.live_sessions()}):
            assert self.presents(token).status == 403
        for token in self.turn_of(self.links, {
                each.token for each in self.world.live_links()}):
            for path, field in (("/reset_password", "reset_token"),
                                ("/verify_email", "token")):
                reply = self.bench.ask("PUT", path, {}, NETWORKS[0], {
                    field: token, "new_password": STRONGER})
                assert reply.answer == (403, 0), reply

    def turn_of(self, tokens: List[str], live: Set[str]) -> List[str]:
        """Return one of the tokens that are over, if there are any."""
        over = [each for each in tokens if each not in live]
        return [over[self.turn % len(over)]] if over else []


class TimedLife(Life):
    """The same with a clock, and with mails."""

    def proves_mailbox(self, browser: int) -> None:
        """Open the link that was mailed at registering."""
        self.mails_arrive()
        self.opens_link(browser, 0)

    def moves_house(self) -> None:
        """Change an address, which by chance is rare."""
        self.moves(0, RIGHT, FREE[0], asks=True, reads=True)

    @rule()
    def mails_arrive(self) -> None:
        """Have all mails sent that are due, and demand the right ones."""
        mails = self.bench.mailbox.mails
        mails.clear()
        self.bench.service.deliver_mail()
        due = self.world.deliver()
        assert [(email, str(mail["Subject"])) for email, mail in mails] == [
            (email, SUBJECTS[kind]) for kind, email, _ in due]
        for (kind, email, person), (_, mail) in zip(due, mails):
            text = mail.get_body(("plain",)).get_content()
            assert ("#" in text) is (person is not None)
            if person:
                self.is_given(model.LINKS[kind], person, email,
                              link_token(text))

    @rule(browser=browsers, email=emails)
    def asks_for_link(self, browser: int, email: str) -> None:
        """Have the address verified once more."""
        reply, hand = self.asks(browser, "POST", "/verify_email", email=email)
        self.compare(reply, self.world.ask_verification, hand, email.lower())

    @rule(browser=browsers, which=any_of)
    def opens_link(self, browser: int, which: int) -> None:
        """Present any token that was ever mailed as a proof of a mailbox."""
        for token in self.links[::-1][which:which + 1]:
            reply, hand = self.asks(browser, "PUT", "/verify_email",
                                    token=token)
            self.compare(reply, self.world.verify, hand, token)

    @rule(browser=members, password=beliefs,
          email=some.sampled_from(EMAILS + FREE * 2),
          asks=some.booleans(), reads=some.booleans())
    def moves(self, browser: int, password: str, email: str, asks: bool,
              reads: bool) -> None:
        """Want another address, that of somebody else perhaps.

        And a reset, mailed to the one of before, at the same time.
        """
        browser = self.member(browser)
        owner = self.owner(browser)
        if asks and owner:
            self.forgets_password(browser, owner.email)
        password = self.known(password, self.owner(browser))
        reply, hand = self.asks(browser, "PUT", "/email", password=password,
                                email=email)
        self.compare(reply, self.world.change_email, hand, password, email)
        if reads:
            self.mails_arrive()
            self.opens_link(browser, 0)

    @rule(seconds=some.sampled_from(STEPS))
    def time_goes(self, seconds: int) -> None:
        """Move the clock, ahead or back."""
        self.bench.clock.advance(seconds)
        self.world.now += seconds

    @rule()
    def sweeps(self) -> None:
        """Delete what is over; nobody notices."""
        self.bench.service.sweep()
        self.world.sweep()


def explore(life: Callable[[Any], Life], bench: Any, runs: int, steps: int,
            seed: int = 0, shrinks: bool = True) -> None:
    """Live so many lives of so many steps; raise at the first difference.

    The same lives for the same seed. Of one that went wrong the shortest form
    is shown, if it shrinks, which takes minutes.
    """
    def begin() -> Life:
        """Start a life."""
        return life(bench)
    start: Any = hypothesis.seed(seed)(begin)
    phases = [hypothesis.Phase.generate]
    run_state_machine_as_test(
        start, settings=hypothesis.settings(
            max_examples=runs, stateful_step_count=steps, deadline=None,
            database=None, report_multiple_bugs=False,
            phases=phases + [hypothesis.Phase.shrink] * shrinks,
            suppress_health_check=list(hypothesis.HealthCheck)))


def first_difference(life: Callable[[Any], Life], bench: Any,
                     runs: int, steps: int) -> Optional[int]:
    """Return in which life the service went wrong, None if in none.

    What goes wrong now and then goes wrong: with another worker, say.
    """
    try:
        explore(life, bench, runs, steps, shrinks=False)
    except (AssertionError, hypothesis.errors.Flaky):
        return int(bench.lives)
    return None


def inside(production: bool) -> Inside:
    """Return the service in this process, in one of its modes."""
    return Inside(**(PRODUCTION if production else {}))
