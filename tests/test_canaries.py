#!/usr/bin/env python3
"""Secrets that sing wherever they do not belong.

Thousands of requests carry passwords and tokens in every place where one can
be put, through success, refusal, mistakes of ours and a store that fails.
Afterwards the log, the files of the database, the answers and the tracebacks
are searched for them. Mails are exempt: they are how tokens travel.
"""
from __future__ import annotations

import io
import json
import logging
import random
import re
import uuid
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Counter as Count, Dict, Iterator, List, Set
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import app
from app import JsonRequestHandler, create_app
from auth import Auth
from credentials import tokens
from db import DB
from logs import JsonLines
from models import Entry
from settings import Rate, Settings
from tests.databases import KIND, run, sqlite_only, stored_bytes, url_in
from tests.helpers import (
    ORIGIN, PRODUCTION, Clock, Mailbox, cookies_of, link_token)
from tests.proofs.size import size
from user import User

REQUESTS = size(3000, 10000)
PEOPLE = 40
SESSION, DEVICE = "__Host-session_id", "__Host-device"
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
# The routes that read a secret from the body, and the verb behind each.
DOORS = [
    ("POST", "/users", "sign_up"), ("POST", "/sessions", "log_in"),
    ("PUT", "/reset_password", "reset_password"),
    ("PUT", "/verify_email", "verify_email"),
    ("PUT", "/password", "change_password"),
    ("PUT", "/email", "change_email"),
    ("DELETE", "/profile", "delete_account")]
SECRET_FIELDS = ["password", "current_password", "new_password",
                 "reset_token", "token"]


# -- Secrets, and how they are found

class Canaries:
    """Makes secrets, and finds them again in whatever is searched."""

    PASSWORD = re.compile(rb"canary[0-9a-f]{8}")
    # Looking ahead, since in a page of SQLite nothing stands between values.
    TOKEN = re.compile(rb"(?=([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}))")
    DIGEST = re.compile(rb"(?=([0-9a-f]{64}))")
    HASH = re.compile(rb"\$2b\$[0-9]{2}\$")
    # Behind the part that is searched for, what a password may have, too.
    ENDINGS = ("behind it", " ünder ihm", "\"'<>&%00", "x" * 90, "\0null")

    def __init__(self, chance: random.Random) -> None:
        """Leave to this chance what they look like."""
        self._chance = chance
        self._tokens: Set[bytes] = set()
        self._digests: Set[bytes] = set()

    def short(self) -> str:
        """Return the part of a password that is found wherever it is."""
        return "canary{:08x}".format(self._chance.getrandbits(32))

    def password(self) -> str:
        """Return a password that the production mode takes."""
        return self.short() + self._chance.choice(self.ENDINGS)

    def token(self) -> str:
        """Return a made-up token, in the shape of a good one."""
        return self.keep(str(uuid.UUID(
            int=self._chance.getrandbits(128), version=4)))

    def keep(self, token: str) -> str:
        """Search for this token, too, and for what stands for it."""
        self._tokens.add(token.encode())
        self._digests.add(tokens.digest(token).encode())
        return token

    def secrets_in(self, searched: bytes) -> Set[bytes]:
        """Return every secret that stands in a text."""
        found = searched.lower()
        return set(self.PASSWORD.findall(found)) | (
            set(self.TOKEN.findall(found)) & self._tokens)

    def stand_ins_in(self, searched: bytes) -> Set[bytes]:
        """Return what stands for a secret: digests, and hashes cut short."""
        return set(self.HASH.findall(searched)) | (
            set(self.DIGEST.findall(searched)) & self._digests)


# -- Those who have secrets

class Person:
    """Somebody with an account, a browser, and an address to come from."""

    def __init__(self, number: int, password: str,
                 browser: FlaskClient) -> None:
        """Be the person of this number."""
        self.email = "user{}@me.com".format(number)
        self.address = "198.51.100.{}".format(number % 250)
        self.password = password
        self.browser = browser
        self.cookies: Dict[str, str] = {}


class World:
    """A service in production, people who use it, and all that is seen."""

    def __init__(self, folder: Path, seed: int = 20) -> None:
        """Start with nobody on an empty database."""
        self.chance = random.Random(seed)
        self.canaries = Canaries(self.chance)
        self.folder, self.clock, self.mailbox = folder, Clock(), Mailbox()
        self.settings = settings_of(folder, self.canaries)
        self.db = DB(self.settings.database_url)
        self.auth = Auth(self.db, self.settings, self.clock, self.mailbox)
        self.application = create_app(self.auth)
        self.tool = self.application.test_client(use_cookies=False)
        self.people: List[Person] = []
        self.statuses: Count[int] = Counter()
        self.answers, self.log = bytearray(), io.StringIO()

    def ask(self, person: Person, method: str, path: str,
            browser: Any = None, **request: Any) -> TestResponse:
        """Send a request, and keep all of the answer but its cookies."""
        answer: TestResponse = (browser or person.browser).open(
            path, method=method, base_url=ORIGIN,
            environ_base={"REMOTE_ADDR": person.address}, **request)
        self.statuses[answer.status_code] += 1
        for name, value in answer.headers:
            if name != "Set-Cookie":
                self.answers += "{}: {}\n".format(name, value).encode()
        self.answers += answer.get_data() + b"\n"
        log_access(person, method, path, answer.status_code)
        for name, value in cookies_of(answer).items():
            person.cookies[name] = value.partition(";")[0]
            if person.cookies[name]:
                self.canaries.keep(person.cookies[name])
        self.clock.advance(0.1)  # so that "last seen" is rarely written
        return answer

    def form(self, person: Person, method: str, path: str,
             **data: str) -> TestResponse:
        """Send a form from the person's browser."""
        return self.ask(person, method, path, data=data)

    def mailed_token(self, kind: str = "verify") -> str:
        """Deliver what waits and return the newest token of a kind."""
        found = ""
        self.mailbox.mails.clear()
        while self.auth.deliver_mail():
            pass
        for _, message in self.mailbox.mails:
            body: Any = message.get_body(("plain",))
            text = body.get_content()
            if "#" in text:
                token = self.canaries.keep(link_token(text))
                found = token if "#{}=".format(kind) in text else found
        return found

    def someone(self) -> Person:
        """Return whose turn it is."""
        return self.chance.choice(self.people)

    def places(self) -> Dict[str, bytes]:
        """Return all that is searched, by its name."""
        log = self.log.getvalue()
        return {
            "log": log.encode(), "answers": bytes(self.answers),
            "tracebacks": "\n".join(
                json.loads(line)["exception"] for line in log.splitlines()
                if '"exception": ' in line).encode(),
            "reprs": "".join(
                "{0!r} {0}\n".format(each)
                for each in self.db.find_all(User) + [self.settings]).encode(),
            "database": stored_bytes(self.settings.database_url)}


def log_access(person: Person, method: str, path: str, status: int) -> None:
    """Write the line that the server writes of each request.

    By its own handler, which is between a socket and the application; here
    is no socket.
    """
    handler = JsonRequestHandler.__new__(JsonRequestHandler)
    handler.client_address = (person.address, 1)
    handler.command, handler.path = method, quote(path, "/?=&")
    handler.log_request(status)


def settings_of(folder: Path, canaries: Canaries) -> Settings:
    """Return production settings with secrets of their own."""
    changes: Any = dict(
        PRODUCTION, pepper=canaries.short() + "x" * 32,
        mail_url="smtps://user:{}@mail.example.com".format(canaries.short()))
    return Settings(
        database_url=url_in(folder, "canaries"),
        bcrypt_cost=4, register_network_limit=Rate(1000, 1),
        mail_network_limit=Rate(1000, 1), mail_address_limit=Rate(1000, 1),
        **changes)


@contextmanager
def world_in(folder: Path) -> Iterator[World]:
    """Lend a world, with everything logged as a deployer sees it.

    Even what no deployer asks for: the level is DEBUG.
    """
    world, root = World(folder), logging.getLogger()
    handler, level = logging.StreamHandler(world.log), root.level
    handler.setFormatter(JsonLines())
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield world
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        world.auth.close()


# -- What they do: each takes the world and sends a request or a few

def register(world: World) -> None:
    """Open an account, and another, and prove the mailbox."""
    person = Person(len(world.people), world.canaries.password(),
                    world.application.test_client())
    world.people.append(person)
    for password in (person.password, world.canaries.password()):
        assert world.form(person, "POST", "/users", email=person.email,
                          password=password).status_code == 200
    token = world.mailed_token()
    for _ in range(2):
        world.form(person, "PUT", "/verify_email", token=token)
    sign_in_as(world, person)


def sign_in_as(world: World, person: Person) -> None:
    """Open a session with the right password."""
    world.form(person, "POST", "/sessions", email=person.email,
               password=person.password)


def sign_in(world: World) -> None:
    """Open a session, and often end one first."""
    person = world.someone()
    if world.chance.random() < 0.5:
        world.form(person, "DELETE", "/sessions")
    sign_in_as(world, person)


def guess(world: World) -> None:
    """Try a password at the first account, which is under siege."""
    stranger = Person(world.chance.randrange(100, 200), "", world.tool)
    world.form(stranger, "POST", "/sessions", email=world.people[0].email,
               password=world.canaries.password())


def mistype(world: World) -> None:
    """Put the password where the address belongs."""
    person = world.someone()
    for email in (person.password, world.canaries.password()):
        world.form(person, "POST", "/sessions", email=email,
                   password=person.password)
        world.form(person, "POST", "/users", email=email, password=email)


def look_around(world: World) -> None:
    """Read what a session shows, by cookie."""
    path = world.chance.choice(["/profile"] * 6 + [
        "/sessions", "/profile/export"])
    world.ask(world.someone(), "GET", path)


def carry_session(world: World) -> None:
    """Read with a header, as programs do."""
    person = world.someone()
    token = person.cookies.get(SESSION, "")
    world.ask(person, "GET", "/profile", world.tool,
              headers={"Authorization": "Bearer " + token})


def misplace_token(world: World) -> None:
    """Put a token, a good or a made-up one, where it does no good."""
    person = world.someone()
    token = world.chance.choice([
        world.canaries.token(), person.cookies.get(SESSION, ""),
        person.cookies.get(DEVICE, ""), person.password])
    path, headers = world.chance.choice([
        ("/profile?session_id={}", {}), ("/sessions/{}", {}), ("/{}", {}),
        ("/verify_email?token={}", {}), ("//{}", {}),
        ("/profile", {"Authorization": "Basic {}"}),
        ("/profile", {"Authorization": "{}"}),
        ("/profile", {"Authorization": "Bearer {}x"}),
        ("/profile", {"Cookie": "session_id={}"}),
        ("/profile", {"Cookie": SESSION + "=a{}"}),
        ("/profile", {"Cookie": "{0}={1}; {0}={1}".format(SESSION, "{}")}),
        ("/profile", {"X-Api-Key": "{}", "Referer": ORIGIN + "/#{}"})])
    if token == person.password and "{}" in path.partition("?")[0]:
        token = world.canaries.token()  # a path is a path, but for a token
    safe = token.encode("ascii", "ignore").decode().replace("\0", "")
    world.ask(person, world.chance.choice(["GET", "PUT", "DELETE"]),
              path.format(safe), world.tool, headers={
                  name: value.replace("{}", safe)
                  for name, value in headers.items()})


def present_token(world: World) -> None:
    """Present a made-up token, or one that is used, as if it were good."""
    person = world.someone()
    token = world.chance.choice([
        world.canaries.token(), world.canaries.token().upper(),
        world.canaries.short(), person.cookies.get(SESSION, "")])
    where = world.chance.randrange(4)
    if where == 0:
        world.form(person, "PUT", "/reset_password", email=person.email,
                   reset_token=token, new_password=world.canaries.password())
    elif where == 1:
        world.form(person, "PUT", "/verify_email", token=token)
    elif where == 2:
        world.ask(person, "GET", "/profile", world.tool,
                  headers={"Authorization": "Bearer " + token})
    else:
        world.ask(person, "POST", "/sessions", world.tool,
                  headers={"Cookie": "{}={}".format(DEVICE, token)},
                  data={"email": person.email})


def forget_password(world: World) -> None:
    """Set a new password by a mail, twice with the same token."""
    person = world.someone()
    password = world.canaries.password()
    world.form(person, "POST", "/reset_password", email=person.email)
    token = world.mailed_token("reset")
    for new_password in (password, world.canaries.password()):
        world.form(person, "PUT", "/reset_password", email=person.email,
                   reset_token=token, new_password=new_password)
    person.password = password
    sign_in_as(world, person)


def change_password(world: World) -> None:
    """Set a new password with the old one, and sometimes without."""
    person = world.someone()
    new_password = world.canaries.password()
    answer = world.form(
        person, "PUT", "/password", new_password=new_password,
        current_password=world.chance.choice(
            [person.password] * 3 + [world.canaries.password()]))
    if answer.status_code == 200:
        person.password = new_password


def change_email(world: World) -> None:
    """Move to another address, and confirm it."""
    person = world.someone()
    email = "moved{}@me.com".format(world.chance.getrandbits(32))
    world.form(person, "PUT", "/email", email=email,
               password=world.canaries.password())
    if world.form(person, "PUT", "/email", email=email,
                  password=person.password).status_code == 200:
        world.form(person, "PUT", "/verify_email",
                   token=world.mailed_token())
        person.email = email


def leave(world: World) -> None:
    """Delete an account, the first time with a wrong password."""
    person = world.someone()
    for password in (world.canaries.password(), person.password):
        answer = world.form(person, "DELETE", "/profile", password=password)
    if answer.status_code == 204:
        person.password = world.canaries.password()
        world.form(person, "POST", "/users", email=person.email,
                   password=person.password)
        world.form(person, "PUT", "/verify_email",
                   token=world.mailed_token())


def send_bad_body(world: World) -> None:
    """Send what cannot be read, or what no field may hold."""
    method, path, _ = world.chance.choice(DOORS)
    secret, name = world.canaries.short(), world.chance.choice(SECRET_FIELDS)
    quoted = json.dumps({name: secret})
    pair = "{}={}".format(name, secret)
    kind, body = world.chance.choice([
        (JSON, quoted[:-3]), (JSON, "[{}]".format(quoted)), (JSON, secret),
        (JSON, '{{"{0}":["{1}"]}}'.format(name, secret)),
        (JSON, '{{"{0}":{{"{1}":"{1}"}}}}'.format(name, secret)),
        (JSON, '{{"{0}":"{1}","{0}":"{1}"}}'.format(name, secret)),
        (JSON, '{{"{0}":"\\ud800{1}"}}'.format(name, secret)),
        (JSON, '{{"{}":"{}"}}'.format(secret, name)),
        (JSON, "[" * 5000 + quoted), (FORM, secret), (FORM, pair),
        (FORM, "{0}&{0}".format(pair)), (FORM, pair + "%FF"),
        (FORM, "email=new@me.com&{}".format(pair)),
        (FORM, "email=canary@me.com&{}".format(pair)),
        (FORM, pair + "x" * 1100), (FORM, pair * 1000),
        ("text/plain", pair), (secret, pair), ("multipart/form-data", pair)])
    world.ask(world.someone(), method, path, data=body.encode(),
              content_type=kind)


# -- What goes wrong on our side

def fill_all(world: World, person: Person) -> Dict[str, str]:
    """Return a form with a secret in every field that may have one."""
    form = {name: world.canaries.token() if "token" in name
            else world.canaries.password() for name in SECRET_FIELDS}
    return dict(form, email=person.email)


def make_mistake(world: World) -> None:
    """Let a verb fail while it holds what it was given."""
    method, path, verb = world.chance.choice(DOORS)

    def fail(_self: Auth, *given: str, **named: str) -> None:
        """Forget what to do, at some depth."""
        held = "".join(given) + "".join(named.values())
        raise RuntimeError("{} letters".format(len(held))) from KeyError(1)
    person = world.someone()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Auth, verb, fail)
        assert world.form(person, method, path, **fill_all(
            world, person)).status_code == 500


def query(world: World, *statements: str) -> None:
    """Change the database behind the back of the service."""
    run(world.settings.database_url, *statements)


# How a table is made to refuse a row, and to take it again.
RULES = {
    "sqlite": ("CREATE TRIGGER rule BEFORE {event} ON {table} BEGIN "
               "SELECT RAISE(ABORT, 'made up'); END", "DROP TRIGGER rule"),
    "postgresql": (
        "ALTER TABLE {table} ADD CONSTRAINT rule CHECK (false) NOT VALID",
        "ALTER TABLE {table} DROP CONSTRAINT rule")}


def break_rule(world: World) -> None:
    """Let the store refuse a row, so that the statement is in a traceback."""
    person = world.someone()
    event, table = world.chance.choice([
        ("INSERT", "sessions"), ("UPDATE", "users")])
    forbid, allow = RULES[KIND]
    query(world, forbid.format(event=event, table=table))
    sign_in_as(world, person)
    query(world, allow.format(table=table))


def lose_table(world: World) -> None:
    """Let the store fail, so that the statement is a reason in the log."""
    table = world.chance.choice(["sessions", "mail_tokens", "devices"])
    query(world, "ALTER TABLE {0} RENAME TO lost_{0}".format(table))
    person = world.someone()
    look_around(world)
    carry_session(world)
    method, path, _ = world.chance.choice(DOORS[1:])
    world.form(person, method, path, **fill_all(world, person))
    query(world, "ALTER TABLE lost_{0} RENAME TO {0}".format(table))


# What there is to do, and how often.
DEEDS: Dict[Callable[[World], None], int] = {
    look_around: 80, carry_session: 40, misplace_token: 350,
    present_token: 180, send_bad_body: 480, guess: 70, mistype: 4,
    sign_in: 10, forget_password: 6, change_password: 6, change_email: 2,
    leave: 3, make_mistake: 12, break_rule: 6, lose_table: 12}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world after so many requests, its database still open."""
    with world_in(tmp_path_factory.mktemp("canaries")) as made:
        for _ in range(PEOPLE):
            register(made)
        deeds = made.chance.choices(
            list(DEEDS), list(DEEDS.values()), k=REQUESTS)
        for deed in deeds:
            if sum(made.statuses.values()) >= REQUESTS:
                break
            deed(made)
        yield made


@pytest.fixture(scope="module")
def places(world: World) -> Dict[str, bytes]:
    """What that world left, by the place where it is."""
    return world.places()


# -- Where one would be found

def into_log(world: World, secret: str) -> None:
    """Write it into a field of a line."""
    logging.getLogger("bienvenue.audit").info(
        "login.refused", extra={"fields": {"detail": secret}})


def into_path(world: World, secret: str) -> None:
    """Ask for it, as if it were a page; were it not for the mask."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "masked", str)
        world.ask(world.people[0], "GET", "/" + secret)


def into_message(world: World, secret: str) -> None:
    """Write it where only the most curious read."""
    logging.getLogger("bienvenue").debug("trying %s", secret)


def into_body(world: World, secret: str) -> None:
    """Have the service answer with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Auth, "list_sessions", lambda *_: [secret])
        world.ask(world.people[0], "GET", "/sessions")


def into_header(world: World, secret: str) -> None:
    """Say it where the service repeats what it is told."""
    world.ask(world.people[0], "GET", "/", headers={"X-Request-ID": secret})


def into_exception(world: World, secret: str) -> None:
    """Fail with it as the reason."""
    def fail(*_: object) -> None:
        """Say too much."""
        raise ValueError(secret)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Auth, "log_out", fail)
        world.ask(world.people[0], "DELETE", "/sessions")


def into_address(world: World, secret: str) -> None:
    """Have it shown by whatever names a user, if that is the address."""
    world.db.update_user(1, email=secret)
    world.canaries.keep(world.db.find_user_by(id=1).email)


def into_row(world: World, secret: str) -> None:
    """Write it down, and delete it again."""
    row = world.db.add(Entry(
        at=1, fact="login.refused", network="", request_id="", detail=secret))
    world.db.delete(Entry, id=row.id)


@pytest.fixture
def small_world(tmp_path: Path) -> Iterator[World]:
    """A world with one person in it."""
    with world_in(tmp_path) as made:
        register(made)
        yield made


@pytest.mark.promise("No password, token or key is found where it does not "
                     "belong: not in the log, the answers, a traceback or "
                     "the database.")
class TestCanaries:
    """None of the secrets is where it does not belong."""

    def test_requests_were_many_and_mixed(
            self, world: World, figure: Callable[[str], None]) -> None:
        """Every status that the service has, and mostly cheap ones."""
        assert sum(world.statuses.values()) >= REQUESTS
        figure("no secret of {:,} requests".format(REQUESTS))
        assert set(world.statuses) == {
            200, 204, 302, 400, 401, 403, 404, 405, 413, 415, 429, 500, 503}
        assert min(world.statuses.values()) >= REQUESTS / 2000

    @pytest.mark.parametrize("place", [
        "log", "answers", "tracebacks", "reprs", "database"])
    def test_no_secret(self, world: World, places: Dict[str, bytes],
                       place: str) -> None:
        """Neither of people nor of the deployer (ASVS 14.2.1, 16.2.5)."""
        assert len(places[place]) > 1000
        assert world.canaries.secrets_in(places[place]) == set()

    @pytest.mark.parametrize("place", [
        "log", "answers", "tracebacks", "reprs"])
    def test_no_stand_in(self, world: World, places: Dict[str, bytes],
                         place: str) -> None:
        """A hash in a log is a hash that somebody can work on.

        Statements stand in tracebacks and reasons, without their values.
        """
        assert world.canaries.stand_ins_in(places[place]) == set()

    def test_stand_ins_are_in_the_database(
            self, world: World, places: Dict[str, bytes]) -> None:
        """It is searched in a form in which something would be found."""
        assert len(world.canaries.stand_ins_in(places["database"])) > PEOPLE

    @sqlite_only
    def test_write_ahead_log_was_searched(self, world: World) -> None:
        """Where the newest rows are, and deleted ones as well."""
        sizes = {each.name: each.stat().st_size
                 for each in world.folder.iterdir()}
        assert sizes["canaries.db-wal"] > 0

    def test_access_was_logged(self, places: Dict[str, bytes]) -> None:
        """A line for each request, with a stand-in for each token."""
        lines = [json.loads(each) for each in places["log"].splitlines()]
        paths = [each["message"].split()[-2] for each in lines
                 if each["logger"] == "werkzeug"]
        assert len(paths) >= REQUESTS
        for path in ("/<token>", "/sessions/<token>", "/profile"):
            assert paths.count(path) > 10

    def test_statements_are_in_the_tracebacks(
            self, places: Dict[str, bytes]) -> None:
        """The store did fail while it held what stands for a secret."""
        for statement in (b"INSERT INTO sessions", b"UPDATE users"):
            assert statement in places["tracebacks"]
        assert {"sqlite": b"no such table: sessions",
                "postgresql": b'relation \\"sessions\\" does not exist'}[
                    KIND] in places["log"]

    @pytest.mark.parametrize("secret", [
        "canary0123abcd", "0b9e2f6c-5d1a-4c3e-8f70-123456789abc"])
    @pytest.mark.parametrize("place, plant", [
        ("log", into_log), ("log", into_message), ("log", into_path),
        ("answers", into_body), ("answers", into_header),
        ("tracebacks", into_exception),
        ("log", into_exception), ("database", into_row)])
    @pytest.mark.made_up
    @pytest.mark.broken("one is in a line of the log, a path, an answer, a "
                        "header, an exception or a deleted row")
    def test_finds_what_was_planted(
            self, small_world: World, place: str,
            plant: Callable[[World, str], None], secret: str) -> None:
        """A password and a token, which were not there before."""
        small_world.canaries.keep(secret)
        for planted in (False, True):
            if planted:
                plant(small_world, secret)
            assert (secret.encode() in small_world.canaries.secrets_in(
                small_world.places()[place])) is planted

    @pytest.mark.broken("a user is shown by what is stored of them")
    def test_finds_what_a_user_shows(
            self, small_world: World,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Were a user shown by what is stored of them (CVE-2020-15105)."""
        monkeypatch.setattr(User, "__repr__", lambda user: "{} {}".format(
            user.hashed_password, user.session_id))
        shown = small_world.places()["reprs"]
        assert len(small_world.canaries.stand_ins_in(shown)) == 2
