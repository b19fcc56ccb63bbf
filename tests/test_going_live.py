#!/usr/bin/env python3
"""The production mode as it is deployed: processes, a mail server, a file.

Nothing is a stand-in here but the network: `python3 app.py` with the settings
of a deployer, its own sender, and a mail server that speaks SMTP.
"""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import (
    Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple,
    Type)

import pytest

from app import GREETING
from auth import Auth
from credentials import tokens
from credentials.passwords import pepper_id
from settings import Rate
from tests.databases import rows, stored_bytes, tables_of, url_in
from tests.helpers import (
    EMAIL, ROOT, STRONG, STRONGER, Answer, Server, all_at_once, link_token)
from tests.machine import wait_until
from tests.proofs.size import PROVING
from tests.smtp_server import SmtpServer
from throttle import Lane, Window

HOST = "auth.example.com"
DEPLOYED = dict(
    AUTH_ENV="production", PUBLIC_URL="https://" + HOST, BCRYPT_COST="10",
    LANDING_URL="https://www.example.com/account",
    MAIL_FROM="auth@example.com")
SESSION, DEVICE = "__Host-session_id", "__Host-device"
OTHER_EMAIL = "eve@me.com"
# What a request takes that waits for nobody, on a machine with other work.
AT_ONCE = 1.5
# How long a mail server sleeps: longer than it may take to say hello.
ASLEEP = 12
# How often each request is made while the mail server is in trouble.
ROUNDS = 3
# From a first try that fails, through the wait, to the round after it.
SECOND_TRY = 30


class Live(Server):
    """A server in production, asked by its own name."""

    def __init__(self, folder: Path, **environ: str) -> None:
        """Start it as a deployer would, on the database of this folder."""
        super().__init__(folder, **dict(DEPLOYED, **environ))

    def ask(self, method: str, path: str, headers: Optional[
            Dict[str, str]] = None, **data: str) -> Answer:
        """Send a form to our host and return the answer."""
        return super().ask(
            method, path, dict({"Host": HOST}, **(headers or {})), **data)

    def registers(self, email: str) -> int:
        """Open an account and return the status."""
        return self.ask(
            "POST", "/users", email=email, password=STRONG).status

    def told(self) -> List[Dict[str, Any]]:
        """Return every line of the log as what it holds.

        What is greeted from is printed and no part of the log.
        """
        greeting = GREETING.format(url=self.url, more="")
        printed, _, log = self.log().partition(greeting + "\n")
        return [json.loads(line) for line in (printed + log).splitlines()]

    def facts(self) -> List[str]:
        """Return the facts that the log tells, in order."""
        return [each["fact"] for each in self.told() if "fact" in each]


class Browser:
    """A browser on one device: it sends back every cookie that it got."""

    def __init__(self, server: Live, name: str) -> None:
        """Start without a cookie."""
        self.cookies: Dict[str, str] = {}
        self.given: Set[str] = set()
        self._server, self._name = server, name

    def asks(self, method: str, path: str, **data: str) -> Answer:
        """Send a form and keep the cookies of the answer."""
        answer = self._server.ask(method, path, {
            "User-Agent": self._name, "Cookie": "; ".join(
                "{}={}".format(*each) for each in self.cookies.items())},
            **data)
        for line in answer.headers.get_all("Set-Cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
            self.given |= {value} - {""}
        return answer

    def logs_in(self, password: str) -> Answer:
        """Sign the journey's user in."""
        return self.asks("POST", "/sessions", email=EMAIL, password=password)


def query(folder: Path, sql: str) -> List[Tuple[Any, ...]]:
    """Ask a folder's database something, past the service."""
    return rows(url_in(folder), sql)


def is_sent(folder: Path) -> bool:
    """Tell whether no mail waits any more."""
    return query(folder, "SELECT count(*) FROM outbox") == [(0,)]


@pytest.fixture
def mail() -> Iterator[SmtpServer]:
    """A mail server that takes everything."""
    with SmtpServer() as server:
        yield server


@pytest.fixture
def go_live(tmp_path: Path, mail: SmtpServer) -> Iterator[Callable[..., Live]]:
    """Start servers on one database and that mail server."""
    servers = []

    def start(**environ: str) -> Live:
        """Start one more and return it once it answers."""
        given = {} if "MAIL_URL_FILE" in environ else {"MAIL_URL": mail.url}
        servers.append(Live(tmp_path, **dict(given, **environ)))
        return servers[-1]
    yield start
    for server in servers:
        server.stop()
    for server in servers:
        assert "Traceback" not in server.log()
        assert "Warning:" not in server.log()


# -- From the first visit to the last

# What each step of the journey has to be answered.
STEPS = [
    ("registers", 200),
    ("signs in before the address is verified", 401),
    ("verifies", 200),
    ("signs in on the phone", 200),
    ("signs in on the laptop", 200),
    ("lists the sessions", 200),
    ("ends the phone's from the laptop", 204),
    ("looks at the phone", 403),
    ("looks at the laptop", 200),
    ("says the session in a query", 403),
    ("forgets the password", 200),
    ("sets a new one", 200),
    ("looks at the laptop again", 403),
    ("signs in with the old password", 401),
    ("signs in with the new password", 200),
    ("mistypes it on the laptop", 401),
    ("is guessed at by a stranger", 401),
    ("exports", 200),
    ("deletes the account with a wrong password", 403),
    ("deletes the account", 204),
    ("looks after the deletion", 403),
    ("signs in after the deletion", 401),
]


class Journey:
    """A user who does everything once, and what is left of it."""

    def __init__(self, folder: Path, mail: SmtpServer) -> None:
        """Start a server and two browsers."""
        self.folder, self.mail = folder, mail
        self.server = Live(folder, MAIL_URL=mail.url)
        self.phone = Browser(self.server, "phone")
        self.laptop = Browser(self.server, "laptop")
        self.answers: Dict[str, Answer] = {}
        self.secrets = {STRONG, STRONGER}
        self.stored = b""
        self.counted: Set[str] = set()

    def walk(self) -> None:
        """Go the whole way."""
        self.open_account()
        self.use_two_devices()
        self.forget_password()
        self.stored += stored_bytes(url_in(self.folder))
        self.leave()
        self.stored += stored_bytes(url_in(self.folder))
        self.secrets |= self.phone.given | self.laptop.given

    def open_account(self) -> None:
        """Register, and prove that the mailbox is ours."""
        phone = self.phone
        self.note(phone.asks(
            "POST", "/users", email=EMAIL, password=STRONG))
        self.note(phone.logs_in(STRONG))
        self.note(phone.asks("PUT", "/verify_email", token=self.mailed(1)))

    def use_two_devices(self) -> None:
        """Sign in twice, and sign the first device out from the second."""
        phone, laptop = self.phone, self.laptop
        self.note(phone.logs_in(STRONG))
        self.note(laptop.logs_in(STRONG))
        listed = self.note(laptop.asks("GET", "/sessions"))
        self.note(laptop.asks("DELETE", "/sessions/{}".format(
            json.loads(listed.body.decode())["sessions"][0]["id"])))
        self.note(phone.asks("GET", "/profile"))
        self.note(laptop.asks("GET", "/profile"))
        self.note(self.server.ask("GET", "/profile?session_id={}".format(
            laptop.cookies[SESSION])))

    def forget_password(self) -> None:
        """Set a new password by a mail."""
        phone, laptop = self.phone, self.laptop
        self.note(phone.asks("POST", "/reset_password", email=EMAIL))
        self.note(phone.asks("PUT", "/reset_password", email=EMAIL,
                             reset_token=self.mailed(2),
                             new_password=STRONGER))
        self.note(laptop.asks("GET", "/profile"))
        self.note(laptop.logs_in(STRONG))
        self.note(laptop.logs_in(STRONGER))
        self.mail.wait_for(EMAIL, 3)

    def leave(self) -> None:
        """Take everything along and delete the account.

        Not before there are failures, which count for the device and for the
        address.
        """
        laptop = self.laptop
        self.note(laptop.logs_in(STRONG))
        self.note(self.server.ask("POST", "/sessions", email=EMAIL,
                                  password=STRONG))
        self.note(laptop.asks("GET", "/profile/export"))
        self.note(laptop.asks("DELETE", "/profile", password=STRONG))
        self.note(laptop.asks("DELETE", "/profile", password=STRONGER))
        self.counted = {key for key, in query(
            self.folder, "SELECT key FROM attempts")}
        self.note(laptop.asks("GET", "/profile"))
        self.note(laptop.logs_in(STRONGER))

    def note(self, answer: Answer) -> Answer:
        """Keep the answer to the next step."""
        self.answers[STEPS[len(self.answers)][0]] = answer
        return answer

    def mailed(self, count: int) -> str:
        """Return the token of the newest mail once there are so many."""
        self.mail.wait_for(EMAIL, count)
        token = link_token(self.mail.text(EMAIL))
        self.secrets.add(token)
        return token


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    """A journey that was walked to its end, its server still running."""
    with SmtpServer() as mail:
        walked = Journey(tmp_path_factory.mktemp("journey"), mail)
        try:
            walked.walk()
            yield walked
        finally:
            walked.server.stop()


class TestJourney:
    """Everything a user can do, against the real thing."""

    def test_every_step_has_its_answer(self, journey: Journey) -> None:
        """None is a 5xx, and what has ended stays ended."""
        assert [(step, answer.status) for step, answer
                in journey.answers.items()] == STEPS

    def test_both_devices_were_listed(self, journey: Journey) -> None:
        """By the names and the address that they came with."""
        listed = json.loads(journey.answers["lists the sessions"].body)
        assert [(each["user_agent"], each["network"], each["current"])
                for each in listed["sessions"]] == [
            ("phone", "127.0.0.1", False), ("laptop", "127.0.0.1", True)]

    def test_each_mail_came_once(self, journey: Journey) -> None:
        """Two with a link, and the word that the password is another."""
        assert [message["Subject"] for message in journey.mail.to(EMAIL)] == [
            "Confirm your address for Bienvenue",
            "Set a new password for Bienvenue",
            "Your password at Bienvenue was changed"]

    @pytest.mark.parametrize("table", [
        "users", "accounts", "sessions", "mail_tokens", "devices", "outbox"])
    def test_deletion_leaves_no_row(self, journey: Journey,
                                    table: str) -> None:
        """The right to be forgotten (GDPR, article 17)."""
        assert query(journey.folder, "SELECT * FROM " + table) == []

    def test_deletion_leaves_no_fact_of_the_user(
            self, journey: Journey) -> None:
        """What stays in the record names nobody."""
        kept = query(journey.folder, "SELECT fact, user_id FROM audit")
        assert kept == [("reset.requested", None), ("login.refused", None)]

    def test_deletion_leaves_counts_of_networks_only(
            self, journey: Journey) -> None:
        """None of the address, the device or the user."""
        rule = Window(*Rate(1, 1))
        assert journey.counted == {Lane(name, "127.0.0.1", rule).key
                                   for name in (
            "register:network", "mail:network", "login:network")}

    def test_no_other_table_is_left_out(self, journey: Journey) -> None:
        """A new one has to say here what a deletion leaves in it."""
        assert set(tables_of(url_in(journey.folder))) == {
            "users", "accounts", "sessions", "mail_tokens", "devices",
            "outbox", "attempts", "audit", "alembic_version"}

    def test_journey_saw_every_kind_of_secret(
            self, journey: Journey) -> None:
        """Searching for nothing would find nothing.

        Two passwords, two mailed tokens, three sessions, and a device token
        for each of these, the verification and the reset.
        """
        assert len(journey.secrets) == 2 + 2 + 3 + 5

    def test_database_holds_no_secret(self, journey: Journey) -> None:
        """Not in a deleted page or the write-ahead log either."""
        assert [each for each in journey.secrets
                if each.encode() in journey.stored] == []

    def test_database_holds_what_stands_for_a_session(
            self, journey: Journey) -> None:
        """So the search above looked at the right bytes."""
        digest = tokens.digest(journey.laptop.cookies[DEVICE])
        assert digest.encode() in journey.stored
        assert EMAIL.encode() in journey.stored


class TestLog:
    """What the journey left in the log of its server."""

    def test_holds_no_secret(self, journey: Journey) -> None:
        """Although one was said in a query (ASVS 14.2.1, 16.2.5)."""
        log = journey.server.log()
        assert [each for each in journey.secrets if each in log] == []

    def test_every_line_is_an_object(self, journey: Journey) -> None:
        """With a time in UTC, a level, a logger and a message."""
        told = journey.server.told()
        assert len(told) > len(STEPS)
        for line in told:
            assert re.match(r"20\d\d-\d\d-\d\dT[\d:.]{12}\+00:00\Z",
                            line["at"])
            assert line["level"] in ("info", "warning")
            assert line["logger"] and line["message"]

    def test_tells_the_facts_in_order(self, journey: Journey) -> None:
        """Whoever reads it can follow the user, to the very end."""
        facts = [fact for fact in journey.server.facts()
                 if not fact.startswith("mail.")]
        assert facts == [
            "account.created", "login.refused", "email.verified",
            "session.opened", "session.opened", "session.ended",
            "reset.requested", "password.reset", "login.refused",
            "session.opened", "login.refused", "login.refused",
            "account.exported", "password.refused", "account.deleted",
            "login.refused"]

    def test_tells_of_every_mail(self, journey: Journey) -> None:
        """Three that were sent, and none that was late."""
        facts = [fact for fact in journey.server.facts()
                 if fact.startswith("mail.")]
        assert facts == ["mail.sent"] * 3

    def test_has_a_line_for_each_request(self, journey: Journey) -> None:
        """Its path, without the query, and its status."""
        asked = [each["message"].partition("] ")[2]
                 for each in journey.server.told()
                 if each["logger"] == "werkzeug"]
        assert asked.count("DELETE /profile 204") == 1
        assert asked.count("GET /profile 403") == 4


# -- Settings

class TestSecretsByFile:
    """Secrets that stand in files, as container platforms hand them out."""

    PEPPER = "a-pepper-of-which-nobody-knows-the-half"

    @pytest.fixture
    def server(self, go_live: Callable[..., Live], mail: SmtpServer,
               tmp_path: Path) -> Live:
        """One that has no secret in its environment, and one new user."""
        for name, secret in (("url", mail.url), ("pepper", self.PEPPER)):
            (tmp_path / name).write_text(secret + "\n")
        server = go_live(MAIL_URL_FILE=str(tmp_path / "url"),
                         PEPPER_FILE=str(tmp_path / "pepper"))
        assert server.registers(EMAIL) == 200
        return server

    def test_mail_url_is_used(self, server: Live, mail: SmtpServer) -> None:
        """The line break at the end of the file is no part of it."""
        assert len(mail.wait_for(EMAIL)) == 1

    def test_pepper_is_used(self, server: Live, tmp_path: Path) -> None:
        """By the very bytes: another program has the same key."""
        (hashed,), = query(tmp_path, "SELECT hashed_password FROM users")
        assert hashed.startswith("hmac-sha384${}$2b$10$".format(
            pepper_id(self.PEPPER)))


# -- A mail server in trouble

class Outcome(NamedTuple):
    """What happened while the mail server was in trouble, and after."""

    statuses: List[int]
    rounds: List[float]
    meanwhile: int
    mails: Dict[str, int]
    facts: List[str]


def fall_asleep(mail: SmtpServer) -> None:
    """Let it take a mail, and say nothing for very long."""
    mail.asleep_seconds, mail.asleep_at = ASLEEP, "DATA"


def hang_up(mail: SmtpServer) -> None:
    """Let nobody connect."""
    mail.stop()


def refuse(mail: SmtpServer) -> None:
    """Let it say of each mail that it does not take it."""
    mail.answer = "550 no such user here"


TROUBLES: Dict[str, Callable[[SmtpServer], None]] = {
    "asleep": fall_asleep, "gone": hang_up, "refusing": refuse}
every_trouble = pytest.mark.parametrize("trouble", TROUBLES)


def recover(mail: SmtpServer) -> None:
    """Let it work as it should."""
    mail.asleep_seconds, mail.answer = 0.0, ""
    mail.start()


def ask_around(browser: Browser) -> Tuple[List[int], float]:
    """Make a request of each kind: the statuses, and the slowest's seconds.

    All but the last write, and none may wait for whoever sends.
    """
    statuses, slowest = [], 0.0
    for method, path, form in (
            ("POST", "/reset_password", {"email": EMAIL}),
            ("POST", "/verify_email", {"email": OTHER_EMAIL}),
            ("POST", "/reset_password", {"email": "nobody@me.com"}),
            ("POST", "/sessions", {"email": EMAIL, "password": STRONG}),
            ("GET", "/profile", {})):
        started = time.monotonic()
        statuses.append(browser.asks(method, path, **form).status)
        slowest = max(slowest, time.monotonic() - started)
    return statuses, slowest


def live_through(folder: Path, trouble: str, kind: Type[Live]) -> Outcome:
    """Use a server whose mail server is in trouble at the first try."""
    with SmtpServer() as mail:
        TROUBLES[trouble](mail)
        server = kind(folder, MAIL_URL=mail.url, REQUIRE_VERIFIED="0")
        browser = Browser(server, "phone")
        try:
            statuses = [server.registers(EMAIL)]
            wait_until(lambda: query(
                folder, "SELECT 1 FROM outbox WHERE tries > 0"))
            rounds = [ask_around(browser) for _ in range(ROUNDS)]
            if trouble != "asleep":
                wait_until(lambda: "mail.delayed" in server.facts())
            meanwhile = len(mail.mails)
            recover(mail)
            wait_until(partial(is_sent, folder), SECOND_TRY)
        finally:
            server.stop()
        addresses = [email for email, _ in mail.mails]
        return Outcome(
            sum((asked for asked, _ in rounds), statuses),
            [slowest for _, slowest in rounds], meanwhile,
            {each: addresses.count(each) for each in addresses},
            server.facts())


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Outcome]:
    """Live through every trouble, all at once since each takes its time.

    In a proof, with several workers.
    """
    from tests.proofs.servers import LiveWorkers

    kind = LiveWorkers if PROVING else Live
    calls: List[Callable[[], Outcome]] = [
        partial(live_through, tmp_path_factory.mktemp(trouble), trouble, kind)
        for trouble in TROUBLES]
    return dict(zip(TROUBLES, all_at_once(calls)))


def mails_at_once() -> None:
    """Send a mail in the request that causes it."""
    ask = Auth.request_reset

    def ask_and_send(self: Auth, email: str) -> None:
        """Ask for a reset, and wait for the mail server."""
        ask(self, email)
        self.deliver_mail()
    setattr(Auth, "request_reset", ask_and_send)


@pytest.mark.promise("While the mail server is gone, silent or refusing, "
                     "every request is answered as ever and as soon; each "
                     "mail comes once, when that is over.")
class TestMailServerInTrouble:
    """Nobody but the sender waits for the mail server, and nothing is lost."""

    @every_trouble
    def test_requests_are_answered(
            self, outcomes: Dict[str, Outcome], trouble: str) -> None:
        """As ever: those that a mail follows, signing in, the profile."""
        assert outcomes[trouble].statuses == [200] * (1 + 5 * ROUNDS)

    @every_trouble
    def test_requests_do_not_wait(
            self, outcomes: Dict[str, Outcome], trouble: str,
            figure: Callable[[str], None]) -> None:
        """No lock is held while a mail is on its way.

        In the best of three rounds, as the machine has other work; and in
        none for as long as the mail does.
        """
        assert min(outcomes[trouble].rounds) < AT_ONCE
        assert max(outcomes[trouble].rounds) < ASLEEP / 2
        figure("{}: the slowest answer after {:.2f} s, {} mails once each"
               .format(trouble, max(outcomes[trouble].rounds), 1 + ROUNDS))

    @pytest.mark.broken("a mail is sent in the request that causes it")
    def test_finds_requests_that_wait(self, tmp_path: Path,
                                      mail: SmtpServer) -> None:
        """And so would who has an account be told from who has none."""
        from tests.proofs.servers import LiveWorkers

        mail.asleep_seconds = 1.2 * AT_ONCE
        server = LiveWorkers(tmp_path, mails_at_once, MAIL_URL=mail.url,
                             REQUIRE_VERIFIED="0", MAIL_IN_SERVER="0")
        try:
            server.registers(EMAIL)
            _, slowest = ask_around(Browser(server, "phone"))
            assert slowest > AT_ONCE
        finally:
            server.stop()

    @every_trouble
    def test_no_mail_came_meanwhile(
            self, outcomes: Dict[str, Outcome], trouble: str) -> None:
        """So there was trouble indeed."""
        assert outcomes[trouble].meanwhile == 0

    @every_trouble
    def test_every_mail_comes_once(
            self, outcomes: Dict[str, Outcome], trouble: str) -> None:
        """As soon as it is over, and nobody else gets one.

        One for the registration, and one for each reset that was asked for.
        """
        assert outcomes[trouble].mails == {EMAIL: 1 + ROUNDS}

    def test_who_takes_long_to_take_a_mail_is_not_asked_again(
            self, outcomes: Dict[str, Outcome]) -> None:
        """It has it already, and would have it twice (RFC 5321)."""
        facts = outcomes["asleep"].facts
        assert facts.count("mail.sent") == 1 + ROUNDS
        assert "mail.delayed" not in facts

    @pytest.mark.parametrize("trouble", ["gone", "refusing"])
    def test_a_late_mail_is_told_of(
            self, outcomes: Dict[str, Outcome], trouble: str) -> None:
        """A deployer sees it in the log before the users complain."""
        facts = outcomes[trouble].facts
        assert 1 <= facts.count("mail.delayed") <= 2 * (1 + ROUNDS)
        assert "mail.given_up" not in facts


# -- Guesses by the hundred

class Siege(NamedTuple):
    """What became of many guesses at once, and of the owner meanwhile."""

    guesses: List[int]
    owner: List[int]
    hashed: int
    seconds: float


# How many guesses, those that are free, and at how many servers.
GUESSES, FREE, SERVERS = 200, 5, 2


def besiege(servers: List[Live], mail: SmtpServer) -> Siege:
    """Guess at every server at the same moment; one more each is the owner."""
    phones = [Browser(server, "phone") for server in servers]
    assert servers[0].registers(EMAIL) == 200
    mail.wait_for(EMAIL)
    phones[0].asks("PUT", "/verify_email", token=link_token(mail.text(EMAIL)))
    for phone in phones:
        assert phone.logs_in(STRONG).status == 200
    guesses: List[Callable[[], Answer]] = [
        partial(servers[place % SERVERS].ask, "POST", "/sessions", None,
                email=EMAIL, password=STRONGER) for place in range(GUESSES)]
    started = time.monotonic()
    answers = all_at_once(guesses + [
        partial(phone.logs_in, STRONG) for phone in phones])
    seconds = time.monotonic() - started
    statuses = [each.status for each in answers]
    return Siege(
        statuses[:GUESSES], statuses[GUESSES:],
        sum(each.facts().count("login.refused") for each in servers), seconds)


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    """Two hundred wrong passwords at once, and the owner in between."""
    folder = tmp_path_factory.mktemp("siege")
    with SmtpServer() as mail:
        servers = [Live(folder, MAIL_URL=mail.url) for _ in range(SERVERS)]
        try:
            yield besiege(servers, mail)
        finally:
            for server in servers:
                server.stop()


class TestSiege:
    """Wrong passwords by the hundred, at two servers of one service."""

    def test_owner_gets_in_at_the_first_try(self, siege: Siege) -> None:
        """On either server, in the middle of it."""
        assert siege.owner == [200] * SERVERS

    def test_few_are_hashed(self, siege: Siege) -> None:
        """The limit, one more for each worker and each wait that was over.

        Every hash of a wrong password is a fact, and every fact a 401.
        """
        waits = int(siege.seconds + 1).bit_length()
        assert FREE <= siege.hashed <= FREE + SERVERS + waits
        assert siege.guesses.count(401) == siege.hashed

    def test_others_are_told_to_wait(self, siege: Siege) -> None:
        """Or to come back, where the store was too busy to count them."""
        assert set(siege.guesses) <= {401, 429, 503}
        assert siege.guesses.count(429) > GUESSES / 2


# -- More than one process

def send_mail(folder: Path, mail: SmtpServer) -> str:
    """Run `flask mail send` as cron would, and return what it printed."""
    environ = dict(
        os.environ, MAIL_URL=mail.url, PYTHONWARNINGS="error",
        FLASK_SKIP_DOTENV="1", DATABASE_URL=url_in(folder), **DEPLOYED)
    return subprocess.run(
        [sys.executable, "-m", "flask", "mail", "send"], cwd=str(ROOT),
        env=environ, stdout=subprocess.PIPE, universal_newlines=True,
        timeout=60, check=True).stdout


class TestProcesses:
    """Mail that one process causes and another one sends."""

    @pytest.fixture
    def orphaned(self, go_live: Callable[..., Live],
                 mail: SmtpServer) -> SmtpServer:
        """The mail server of a server killed after it promised a mail."""
        server = go_live(MAIL_IN_SERVER="0")
        assert server.registers(EMAIL) == 200
        server.kill()
        assert mail.mails == []
        return mail

    def test_restart_sends_what_a_killed_server_promised(
            self, orphaned: SmtpServer, go_live: Callable[..., Live],
            tmp_path: Path) -> None:
        """The mail was on disk before the answer was given."""
        go_live()
        orphaned.wait_for(EMAIL)
        wait_until(lambda: is_sent(tmp_path))
        assert len(orphaned.mails) == 1

    def test_command_sends_what_a_killed_server_promised(
            self, orphaned: SmtpServer, tmp_path: Path) -> None:
        """Once: a second run finds nothing to do."""
        assert [send_mail(tmp_path, orphaned) for _ in range(2)] == [
            "Mails dealt with: 1.\n", "Mails dealt with: 0.\n"]
        assert len(orphaned.to(EMAIL)) == 1
        assert is_sent(tmp_path)

    def test_two_senders_send_each_mail_once(
            self, go_live: Callable[..., Live], mail: SmtpServer,
            tmp_path: Path) -> None:
        """A mail belongs to whoever changed its row first.

        Slow, so that both are at it at the same time.
        """
        mail.asleep_seconds = 0.1
        # Room for all of them to be hashed at once, or to wait for it.
        servers = [go_live(REGISTER_NETWORK_LIMIT="100/1h", THREADS="40")
                   for _ in range(2)]
        emails = ["user{}@me.com".format(each) for each in range(20)]
        statuses = all_at_once([
            partial(servers[place % 2].registers, email)
            for place, email in enumerate(emails)])
        assert statuses == [200] * 20
        wait_until(lambda: is_sent(tmp_path), 60)
        for server in servers:
            server.stop()
        assert sorted(email for email, _ in mail.mails) == sorted(emails)
        sent = [server.facts().count("mail.sent") for server in servers]
        assert sum(sent) == 20 and min(sent) > 0
