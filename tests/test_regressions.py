#!/usr/bin/env python3
"""Holes that others had: 33 vulnerabilities of our peers, one test each.

They are numbered as in the survey that they are from; where another file
proves a thing in depth, here is the shortest attack that would succeed on the
vulnerable service. All of them apply to us. Of number 33 only the kind does:
gunicorn is no part of this project, so the test attacks the server that is.
"""
from __future__ import annotations

import io
import json
import re
import socket
import threading
import time
from collections import Counter
from contextlib import closing
from functools import partial
from typing import (
    Any, Callable, Counter as Count, Dict, Iterator, List, Tuple)

import bcrypt
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse, create_environ

from app import create_app, listen
from auth import Auth
from credentials import passwords
from db import DB
from errors import BadCredentials, CrossSite, InvalidInput
from models import Account, MailToken, Outgoing, Session
from settings import DAY, HOUR, Rate, Settings
from tests.databases import KIND, run, stored_bytes
from tests.helpers import (
    EMAIL, NO_TOKENS, ORIGIN, PRODUCTION, STRANGE_TOKEN, STRONG, STRONGER,
    Clock, Mailbox, Visitor, all_at_once, assert_error, cookies_of)
from tests.test_audit import sizes
from throttle import Backoff
from user import User, canonical_email

# What of the survey is not tested here, and why; nothing at the moment.
NOT_APPLICABLE: Dict[int, str] = {}
# Beside EMAIL: an account that is not verified, none at all, and a new one;
# as long as each other, so that answers about them have one length.
JOE, EVE, NEW = "joe@me.com", "eve@me.com", "new@me.com"
WRONG, HASH = "tartiflette au gruyere", passwords.hash_password(STRONG, 4)
SESSION, DEVICE = "__Host-session_id", "__Host-device"
TOO_MANY = "too many attempts, try again later"
NewGuest = Callable[..., Visitor]
Exchange = Callable[[bytes], bytes]

# Every route, with what its form needs.
ROUTES: List[Tuple[str, str, Dict[str, str]]] = [
    ("GET", "/", {}), ("GET", "/profile", {}), ("GET", "/sessions", {}),
    ("GET", "/profile/export", {}), ("DELETE", "/sessions", {}),
    ("DELETE", "/sessions/1", {}), ("DELETE", "/sessions/others", {}),
    ("POST", "/users", {"email": NEW, "password": STRONG}),
    ("POST", "/sessions", {"email": EMAIL, "password": STRONG}),
    ("POST", "/reset_password", {"email": EMAIL}),
    ("PUT", "/reset_password", {"email": EMAIL, "new_password": STRONGER,
                                "reset_token": STRANGE_TOKEN}),
    ("POST", "/verify_email", {"email": JOE}),
    ("PUT", "/verify_email", {"token": STRANGE_TOKEN}),
    ("PUT", "/email", {"password": STRONG, "email": NEW}),
    ("PUT", "/password", {"current_password": STRONG,
                          "new_password": STRONGER}),
    ("DELETE", "/profile", {"password": STRONG})]


# -- The ground

@pytest.fixture
def tool(safe: Auth) -> FlaskClient:
    """A client of the production mode that keeps no cookies."""
    return create_app(safe).test_client(use_cookies=False)


@pytest.fixture
def everybody(db: DB) -> None:
    """One verified account and one that is not; EVE and NEW have none."""
    with db.transaction():
        for email in (EMAIL, JOE):
            db.add_user(email, HASH, 1)
        db.change(Account, {"user_id": 1}, verified_at=1)


@pytest.fixture
def bob(everybody: None, guest: Visitor) -> Visitor:
    """The verified one, signed in."""
    guest.logs_in(EMAIL, STRONG)
    return guest


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> List[int]:
    """The cost of every bcrypt hash computed from now on."""
    computed: List[int] = []

    def noted(work: Callable[[bytes, bytes], Any], password: bytes,
              salt: bytes) -> Any:
        """Note the cost of one hash before it is computed."""
        computed.append(int(salt[4:6]))
        return work(password, salt)
    for name in ("checkpw", "hashpw"):
        monkeypatch.setattr(
            bcrypt, name, partial(noted, getattr(bcrypt, name)))
    return computed


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    """Send raw bytes to our own server; return all that comes back."""
    server = listen(Settings(port=0))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def send(request: bytes) -> bytes:
        """Say that no more will come, and wait until the server hangs up."""
        with socket.create_connection(
                ("127.0.0.1", server.port), timeout=10) as raw:
            raw.sendall(request)
            raw.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: raw.recv(4096), b""))
    yield send
    server.shutdown()
    thread.join()
    server.server_close()


def told(answer: TestResponse, email: str) -> Tuple[Any, ...]:
    """Return all that an answer says, but for the address asked about."""
    return (answer.status_code,
            [each for each in answer.headers if each[0] != "X-Request-ID"],
            answer.get_data(as_text=True).replace(email, "<email>"))


def session_of(answer: TestResponse) -> str:
    """Return the session id that an answer of production sets."""
    return cookies_of(answer)[SESSION].partition(";")[0]


def mailed_reset(safe: Auth, mailbox: Mailbox, email: str = EMAIL) -> str:
    """Ask for a reset and return the token that is mailed."""
    safe.request_reset(email)
    safe.deliver_mail()
    return mailbox.token(email)


def words_of(mailbox: Mailbox) -> str:
    """Return every word of every mail: headers, text and HTML."""
    return repr([(to, mail.items(), [
        part.get_content() for part in mail.walk()
        if not part.is_multipart()]) for to, mail in mailbox.mails])


# -- The survey

def test_01_reset_link_from_host(bob: Visitor, safe: Auth,
                                 mailbox: Mailbox) -> None:
    """A mailed link leads where the settings say (Indico CVE-2021-30185).

    Supabase Auth GHSA-3529-5m8x-rpv3 and CVE-2025-43930 built it from what
    the request said of itself.
    """
    for headers, status in (
            ({"Host": "evil.example"}, 400), ({"Host": "evil.test:443"}, 400),
            ({"Host": "auth.example.com@evil.example"}, 400),
            ({"Host": "auth.example.com.evil.example"}, 400),
            ({"X-Forwarded-Host": "evil.example"}, 200),
            ({"Forwarded": "host=evil.example"}, 200),
            ({"Referer": "https://evil.example/"}, 200)):
        mailbox.mails.clear()
        answer = bob.asks("POST", "/reset_password", headers, email=EMAIL)
        assert answer.status_code == status
        safe.deliver_mail()
        assert len(mailbox.mails) == (status == 200)
        assert "evil" not in words_of(mailbox)
        assert not mailbox.mails or PRODUCTION["landing_url"] + "#reset=" \
            in mailbox.text(EMAIL)


def test_02_open_redirect(bob: Visitor) -> None:
    """The one redirect goes home (Flask-Security CVE-2021-32618).

    Flask-User CVE-2021-23401 checked the target, and was talked around.
    """
    for name, target in (
            ("next", "//evil.example"), ("next", "/////evil.example"),
            ("next", r"\\\evil.example"), ("next", "https:evil.example"),
            ("url", "https://evil.example"),
            ("redirect_uri", "https://evil.example")):
        answer = bob.asks(
            "DELETE", "/sessions?{}={}".format(name, target), {
                "Referer": "https://evil.example/",
                "X-Forwarded-Host": target,
                "X-Forwarded-Prefix": "//evil.example"}, **{name: target})
        assert answer.status_code == 302
        assert answer.headers["Location"] == "/"
        bob.logs_in(EMAIL, STRONG)


@pytest.mark.parametrize("email, password, stored", [
    (EMAIL, WRONG, None), (JOE, WRONG, None), (JOE, STRONG, None),
    (EVE, WRONG, None), ("no address", WRONG, None), (EMAIL, WRONG, ""),
    (EMAIL, WRONG, "pbkdf2:sha256:1000$x$y"), (EMAIL, "x" * 100, None),
    (EVE, "x" * 100, None)])
def test_03_enumeration_by_login_time(
        everybody: None, guest: Visitor, db: DB, hashes: List[int],
        email: str, password: str, stored: Any) -> None:
    """One hash whoever is named (Flask-AppBuilder CVE-2021-29621).

    Django counts hashes as well, since CVE-2016-2513 and up to
    CVE-2025-13473; a damaged hash and an unverified account cost no less.
    """
    if stored is not None:
        db.update_user(1, hashed_password=stored)
    assert guest.logs_in(email, password).status_code == 401
    assert hashes == [4]


def test_04_enumeration_by_reset(everybody: None, visit: NewGuest,
                                 mailbox: Mailbox) -> None:
    """Asking for a mail tells nothing (Django CVE-2024-45231).

    Not that the mail server is down, which fastapi-users #1534 waited for,
    and not by 429 for known addresses alone (Supabase #2398).
    """
    mailbox.broken = OSError("mail server down")
    seen = [
        [told(visitor.asks("POST", path, email=email), email)
         for path in ("/reset_password", "/verify_email") * 4]
        for email, visitor in ((each, visit(
            "192.0.2.{}".format(place), mail_network_limit=Rate(7, HOUR),
            mail_address_limit=Rate(1, HOUR)))
            for place, each in enumerate((EMAIL, JOE, EVE)))]
    assert [each[0] for each in seen[0]] == [200] * 7 + [429]
    assert seen[0] == seen[1] == seen[2]


def test_05_locked_state_told_apart(
        everybody: None, new_guest: NewGuest) -> None:
    """Locked, unverified and unknown look alike (Django CVE-2018-6188).

    Also to whoever has found the right password in the meantime.
    """
    seen = []
    for place, email in enumerate((EMAIL, JOE, EVE)):
        stranger = new_guest("192.0.2.{}".format(place))
        seen.append([told(stranger.logs_in(email, each), email)
                     for each in [WRONG] * 6 + [STRONG]])
    assert [each[0] for each in seen[0]] == [401] * 5 + [429] * 2
    assert seen[0] == seen[1] == seen[2]


def test_06_unicode_collision(safe: Auth, guest: Visitor,
                              mailbox: Mailbox) -> None:
    """No look-alike gets another's mail (Django CVE-2019-19844).

    Whoever is found, the mail goes to the address that is stored, and never
    to the one that was typed.
    """
    safe.register_user("mike@example.com", STRONG)
    safe.deliver_mail()
    for typed, same in (
            ("m\u0131ke@example.com", False), ("MIKE@Example.COM", True),
            ("m\u0130ke@example.com", False), ("m\u0456ke@example.com", False),
            ("\uff4dike@example.com", False), ("mi\ufb01e@example.com", False),
            ("mike@ex\u0430mple.com", False), ("mike@\uff45xample.com", True),
            ("mike\u200b@example.com", False)):
        mailbox.mails.clear()
        assert (canonical_email(typed) == "mike@example.com") is same
        answer = guest.asks("POST", "/reset_password", email=typed)
        assert answer.status_code in ((200,) if same else (200, 400))
        safe.deliver_mail()
        assert [to for to, _ in mailbox.mails] == ["mike@example.com"] * same


def test_07_case_varies_the_account(everybody: None, new_guest: NewGuest,
                                    db: DB) -> None:
    """One mailbox is one account and one count (allauth 0.51.0).

    There, each spelling had five guesses of its own.
    """
    spellings = ["bob@me.com", "BOB@me.com", "bob@ME.com", "Bob@Me.Com",
                 "bOB@mE.cOM"]
    for place, each in enumerate(spellings):
        stranger = new_guest("192.0.2.{}".format(place))
        assert stranger.logs_in(each, WRONG).status_code == 401
    assert_error(new_guest("192.0.2.9").logs_in("BoB@me.com", WRONG), 429,
                 TOO_MANY)
    assert new_guest("192.0.2.9").registers(
        "BOB@ME.COM", STRONGER).status_code == 200
    assert len(db.find_all(User)) == 2


@pytest.mark.parametrize("hops, peers, forwarded, status", [
    (0, "203.0.113.7", "198.51.100.{}", 429),
    (1, "10.0.0.1", "198.51.100.{}, 198.51.100.9", 429),
    (1, "10.0.0.1", "198.51.100.{}", 401), (1, "10.0.0.1", "", 429),
    (2, "10.0.0.1", "198.51.100.9, 10.0.0.2", 429),
    (0, "2001:db8::{0}:{0}:{0}", "", 429), (0, "2001:db8:0:{}::1", "", 401),
    (0, "{1}", "", 429), (0, "1.2.3.{}", "", 401)])
def test_08_limiter_trusts_a_header(
        visit: NewGuest, hops: int, peers: str, forwarded: str,
        status: int) -> None:
    """A made-up X-Forwarded-For is no other network (allauth 65.14.2).

    Nor is another address of one IPv6 /64 (better-auth CVE-2026-45364), or
    IPv4 spelled as IPv6. What our own proxies wrote is believed.
    """
    seen, browser = [], visit(
        trusted_proxies=hops, login_network_limit=Rate(3, HOUR)).browser
    for number in range(4):
        visitor = Visitor(browser, ORIGIN, peers.format(
            number, "::ffff:1.2.3.4" if number else "1.2.3.4"))
        seen.append(visitor.asks(
            "POST", "/sessions", {"X-Forwarded-For": forwarded.format(number)},
            email="u{}@me.com".format(number), password=WRONG).status_code)
    assert seen == [401] * 3 + [status]


def test_09_limiter_race(everybody: None, new_guest: NewGuest,
                         hashes: List[int]) -> None:
    """Two hundred guesses at once are five guesses (Cacti #6996).

    Keycloak #31726 counted after the check; in its #30939 a long wait
    overflowed into none.
    """
    strangers = [new_guest("10.0.0.{}".format(each)) for each in range(200)]
    answers = all_at_once([
        partial(each.logs_in, EMAIL, WRONG) for each in strangers])
    statuses = [each.status_code for each in answers]
    # PostgreSQL tells who would wait too long for the count to come back.
    refused = statuses.count(429) + statuses.count(503)
    assert (statuses.count(401), refused) == (5, 195)
    assert KIND == "postgresql" or 503 not in statuses
    assert hashes == [4] * 5
    waits = [Backoff(5, 900, 10 ** 6).wait(each) for each in range(9999)]
    assert waits == sorted(waits) and waits[-1] == 900


def test_10_lockout_as_denial_of_service(
        everybody: None, visit: NewGuest, safe: Auth, mailbox: Mailbox,
        clock: Clock) -> None:
    """No number of guesses keeps the owner out (GHSA-cq42-vhv7-xr7p).

    Keycloak locked the account for everybody. Here the owner's browser still
    gets in, and after a reset by mail every other one.
    """
    bob, attacker, elsewhere, library = (
        visit("192.0.2.{}".format(each), login_most_failures=10)
        for each in range(4))
    assert bob.logs_in(EMAIL, STRONG).status_code == 200
    for _ in range(10):
        assert attacker.logs_in(EMAIL, WRONG).status_code == 401
        clock.advance(900)
    assert_error(elsewhere.logs_in(EMAIL, STRONG), 429, TOO_MANY)
    assert bob.logs_in(EMAIL, STRONG).status_code == 200
    elsewhere.resets_password(mailed_reset(safe, mailbox), STRONGER)
    for browser in (elsewhere, library):
        assert browser.logs_in(EMAIL, STRONGER).status_code == 200


def test_11_reset_token_race(bob: Visitor, new_guest: NewGuest, safe: Auth,
                             mailbox: Mailbox) -> None:
    """Of fifty browsers with one link, one succeeds (Keycloak #37231).

    Those who find the line for hashing full are told to come back.
    """
    token = mailed_reset(safe, mailbox)
    fresh = ["tartiflette numero {}".format(each) for each in range(50)]
    answers = all_at_once([
        partial(new_guest().resets_password, token, each) for each in fresh])
    statuses = [each.status_code for each in answers]
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 403, 503}
    right = [each for each in fresh if safe.valid_login(EMAIL, each)]
    assert [fresh[place] for place, each in enumerate(answers)
            if each.status_code == 200] == right


@pytest.mark.parametrize("requests", [
    [("POST", "/reset_password", {"email": EMAIL})],
    [("PUT", "/password", {"current_password": STRONG,
                           "new_password": STRONGER})],
    [("POST", "/reset_password", {"email": EMAIL}),
     ("PUT", "/reset_password", {"reset_token": EMAIL,
                                 "new_password": STRONGER})],
    [("PUT", "/email", {"password": STRONG, "email": NEW}),
     ("PUT", "/verify_email", {"token": NEW})],
    [("POST", "/users", {"email": EMAIL, "password": STRONG})]],
    ids=["asked-again", "changed", "reset", "moved", "registered-again"])
def test_12_old_reset_link_survives(
        bob: Visitor, safe: Auth, mailbox: Mailbox,
        requests: List[Tuple[str, str, Dict[str, str]]]) -> None:
    """A mailed link dies with what it was for (Keycloak #26815).

    In Contao #7510 it outlived the new password. A token here is the newest
    one that was mailed to the address that stands for it.
    """
    old = mailed_reset(safe, mailbox)
    for method, path, data in requests:
        sent = {name: mailbox.token(value) if "token" in name else value
                for name, value in data.items()}
        assert bob.asks(method, path, None, **sent).status_code == 200
        safe.deliver_mail()
    answer = bob.asks("PUT", "/reset_password", reset_token=old,
                      new_password="raclette et compagnie")
    assert_error(answer, 403, "reset_token is not valid")


def test_13_reset_skips_its_proof(bob: Visitor, safe: Auth,
                                  mailbox: Mailbox) -> None:
    """No token, no new password (Keycloak CVE-2026-18963).

    Nobody here has asked for a reset, so that `reset_token IS NULL` would
    match; and the proof of an address is no proof for a password.
    """
    safe.request_verification(JOE)
    safe.deliver_mail()
    assert_error(bob.resets_password(mailbox.token(JOE), STRONGER, JOE), 403,
                 "reset_token is not valid")
    for token in NO_TOKENS:
        if not isinstance(token, bytes):
            answer = bob.browser.put("/reset_password", base_url=ORIGIN, json={
                "email": EMAIL, "reset_token": token,
                "new_password": STRONGER})
            assert answer.status_code in (400, 403)
    for form in ({}, {"email": EMAIL}, {"reset_token": ""}):
        answer = bob.asks("PUT", "/reset_password", None,
                          new_password=STRONGER, **form)
        assert_error(answer, 403, "reset_token is missing")
    assert safe.valid_login(EMAIL, STRONG) and safe.valid_login(JOE, STRONG)


@pytest.mark.parametrize("way", ["change", "reset"])
def test_14_sessions_survive_a_new_password(
        bob: Visitor, safe_settings: Settings, safe: Auth, clock: Clock,
        mailbox: Mailbox, way: str) -> None:
    """Whoever knew the old one is out (Flask-Security #338).

    And Flask-User #165, Keycloak #20957. Also where another process, with a
    store of its own, answers.
    """
    with closing(DB(safe_settings.database_url)) as other:
        thief = Visitor(create_app(Auth(
            other, safe_settings, clock, mailbox)).test_client(), ORIGIN)
        thief.logs_in(EMAIL, STRONG)
        assert thief.sees_profile().status_code == 200
        if way == "reset":
            bob.resets_password(mailed_reset(safe, mailbox), STRONGER)
        else:
            bob.asks("PUT", "/password", current_password=STRONG,
                     new_password=STRONGER)
        assert_error(thief.sees_profile(), 403, "not signed in")
        assert thief.logs_in(EMAIL, STRONG).status_code == 401


@pytest.mark.parametrize("seconds, uses", [(7 * DAY, 1), (DAY, 30)],
                         ids=["idle", "busy"])
def test_15_end_is_not_enforced(bob: Visitor, safe: Auth, db: DB,
                                clock: Clock, seconds: int,
                                uses: int) -> None:
    """A session ends though nobody sweeps (SuperTokens GHSA-w9fp-wv6g-pqv8).

    Its row is still there; so is that of a mailed token, which ends too.
    """
    token = safe.get_reset_password_token(EMAIL)
    for _ in range(uses - 1):
        clock.advance(seconds)
        assert bob.sees_profile().status_code == 200
    clock.advance(seconds)
    assert_error(bob.sees_profile(), 403, "not signed in")
    assert_error(bob.resets_password(token, STRONGER), 403,
                 "reset_token is not valid")
    assert len(db.find_all(Session)) == len(db.find_all(MailToken)) == 1


def test_16_fixation(everybody: None, tool: FlaskClient) -> None:
    """A session is made here and nowhere else (Django CVE-2015-3982).

    An empty key is nobody, though nobody is who has no session yet; and what
    was planted before a sign-in is worth nothing after.
    """
    for value in ("", '""', "None", "null", "0", " ", STRANGE_TOKEN):
        planted = {"Cookie": "{}={}".format(SESSION, value)}
        for headers in (planted, {}):
            answer = tool.get("/profile", base_url=ORIGIN, headers=headers)
            assert_error(answer, 403, "not signed in")
        answer = tool.post("/sessions", base_url=ORIGIN, headers=planted,
                           data={"email": EMAIL, "password": STRONG})
        assert session_of(answer) not in ("", value)
        answer = tool.get("/profile", base_url=ORIGIN, headers=planted)
        assert_error(answer, 403, "not signed in")


def test_17_anonymous_requests_fill_the_store(
        bob: Visitor, tool: FlaskClient, db: DB) -> None:
    """Who has no session writes none (Django CVE-2015-5143, -5963, -5964).

    Not by a made-up cookie either, nor by signing out, two thousand times.
    """
    before = sizes(db)
    seen: Count[str] = Counter()

    def start(status: str, headers: List[Tuple[str, str]],
              _: Any = None) -> Callable[[bytes], object]:
        """Note the answer, and that it sets no cookie."""
        assert "Set-Cookie" not in dict(headers)
        seen[status[:3]] += 1
        return len
    asked = [create_environ(path, ORIGIN, method=method)
             for method, path, _ in ROUTES[:7]]
    for number in range(2000):
        cookie = "{}={:08d}{}".format(SESSION, number, STRANGE_TOKEN[8:])
        environ = dict(asked[number % 7], HTTP_COOKIE=cookie)
        for _ in tool.application.wsgi_app(environ, start):
            pass
    assert seen == {"200": 286, "403": 1714}
    assert sizes(db) == before


def test_18_token_in_an_answer(bob: Visitor, safe: Auth,
                               mailbox: Mailbox) -> None:
    """No body shows a token (Flask-Security-Too CVE-2021-21241).

    A session is in its cookie and a reset token in its mail only; and no GET
    takes one, or a mail scanner would use it up.
    """
    answers = [bob.logs_in(EMAIL, STRONG),
               bob.asks("POST", "/reset_password", email=EMAIL)]
    secrets = [value.partition(";")[0]
               for value in cookies_of(answers[0]).values()]
    safe.deliver_mail()
    secrets.append(mailbox.token(EMAIL))
    assert len(set(secrets)) == 3
    for path in ("/verify_email", "/reset_password"):
        answers.append(bob.asks("GET", "{0}?token={1}&reset_token={1}".format(
            path, secrets[-1])))
        assert answers[-1].status_code == 405
    answers += [bob.asks("GET", rule.rule)
                for rule in create_app(safe).url_map.iter_rules()
                if "GET" in (rule.methods or ())
                and rule.rule != "/openapi.json"]  # which names every field
    said = "".join(each.get_data(as_text=True) for each in answers)
    assert "reset_token" not in said
    assert [each for each in secrets if each in said] == []


@pytest.mark.parametrize("require", [True, False])
def test_19_pre_hijacking(visit: NewGuest, safe: Auth, mailbox: Mailbox,
                          require: bool) -> None:
    """A squatter loses everything to the owner (PocketBase CVE-2024-38351).

    Password, session and a change of address under way, once the mailbox's
    owner signs up too and follows the mail (also CVE-2026-44166).
    """
    squatter, owner = (visit(each, require_verified=require)
                       for each in ("192.0.2.1", "192.0.2.2"))
    squatter.registers(EMAIL, WRONG)
    assert squatter.logs_in(EMAIL, WRONG).status_code \
        == (401 if require else 200)
    squatter.asks("PUT", "/email", password=WRONG, email=EVE)
    safe.deliver_mail()
    assert owner.registers(EMAIL, STRONG).status_code == 200
    safe.deliver_mail()
    owner.resets_password(mailbox.token(EMAIL), STRONG)
    assert squatter.sees_profile().status_code == 403
    assert squatter.logs_in(EMAIL, WRONG).status_code == 401
    if not require:
        stolen = squatter.asks(
            "PUT", "/verify_email", token=mailbox.token(EVE))
        assert_error(stolen, 403, "token is not valid")
    assert owner.logs_in(EMAIL, STRONG).status_code == 200
    assert owner.sees_profile().get_json() == {"email": EMAIL}


@pytest.mark.parametrize("email", [
    EMAIL, "{}@{}.example.com".format("a" * 64, ".".join(["b" * 50] * 3))],
    ids=len)
@pytest.mark.parametrize("pepper", ["", "p" * 32], ids=["plain", "pepper"])
def test_20_bcrypt_truncation(visit: NewGuest, email: str,
                              pepper: str) -> None:
    """All of the password counts, and nothing else (Okta, 2024-10-30).

    Okta hashed id, name and password together, of which bcrypt read 72
    bytes: with a long name any password would do.
    """
    visitor = visit(require_verified=False, pepper=pepper)
    prefix = "Tartiflette, reblochon, raclette, fondue, gratin: " + "12" * 11
    assert len(prefix) == 72
    visitor.registers(email, prefix + "a")
    for other in (prefix, prefix + "b", prefix + "ab", "a"):
        assert visitor.logs_in(email, other).status_code == 401
    assert visitor.logs_in(email, prefix + "a").status_code == 200


def test_21_bcrypt_5_raises(visitor: Visitor) -> None:
    """A long password is no error (pyca/bcrypt #1079, Synapse PR #19078).

    Whatever version of bcrypt is installed: 4 cuts it, 5 raises.
    """
    for length in (71, 72, 73, 100, 255, 300):
        for password in ("x" * length, "\u00e9" * (length // 2)):
            email = "u{}.{}@me.com".format(length, len(password))
            answers = [visitor.registers(email, password)] + [
                visitor.logs_in(email, each)
                for each in (password, password + "x", password[:-1])]
            assert [each.status_code for each in answers] \
                == [200, 200, 401, 401]


@pytest.mark.parametrize("size, status", [(1025, 400), (2 ** 20, 413)])
def test_22_long_password(bob: Visitor, safe: Auth, hashes: List[int],
                          size: int, status: int) -> None:
    """A megabyte is refused before it is hashed (Django CVE-2013-1443).

    Nor is it compared with the user's address, as in CVE-2021-45115. The
    same for whoever calls from Python.
    """
    for method, path, form in ROUTES:
        for field in form:
            if "password" in field:
                sent = dict(form, **{field: "x" * size})
                answer = bob.asks(method, path, None, **sent)
                assert answer.status_code == status
    for verb in (safe.log_in, safe.register_user):
        with pytest.raises((BadCredentials, InvalidInput)):
            verb(EMAIL, "x" * size)
    assert not safe.valid_login(EMAIL, "x" * size)
    assert hashes == []


@pytest.mark.parametrize("email", [
    "@" * 65536, "a" * 65536, "a@" + "a." * 32768, "a@" + "-" * 65536,
    '"' * 65536, "a@[" + "0:" * 32768, "a@" + "a" * 32768 + "!" * 32768,
    "a@" + "\u00e0." * 32768, "a@" + "\u0660" * 65536, "\u0301" * 65536,
    "=?utf-8?q?" + "=00" * 21845 + "?=@me.com"],
    ids=lambda each: ascii(each)[:12])
def test_23_slow_pattern(safe: Auth, guest: Visitor, email: str) -> None:
    """No address takes long to refuse (Django CVE-2023-36053, CVE-2009-3695).

    64 KiB by Python, and as much by HTTP as a field may have. Counted in
    seconds of computing, with the time that a busy machine gives
    to others left out.
    """
    started = time.process_time()
    guest.logs_in(email[:250], WRONG)
    for path in ("/users", "/reset_password"):
        answer = guest.asks("POST", path, email=email[:250], password=STRONG)
        assert answer.status_code == 400
    with pytest.raises(InvalidInput):
        safe.register_user(email, STRONG)
    with pytest.raises(BadCredentials):
        safe.log_in(email, WRONG)
    assert time.process_time() - started < 1


def test_24_newline_in_an_address(bob: Visitor, visitor: Visitor,
                                  db: DB) -> None:
    """`$` matches before a final newline (Django CVE-2015-5144).

    What follows one would be a header of the mail. No mode takes it.
    """
    for email in (NEW + "\n", "\n" + NEW, "new\n@me.com", NEW + "\r",
                  NEW + "\r\nBcc: eve@me.com", NEW + "\0", NEW + "\u2028"):
        for method, path in (("POST", "/users"), ("POST", "/reset_password"),
                             ("POST", "/verify_email"), ("PUT", "/email")):
            answer = bob.asks(method, path, email=email, password=STRONG)
            assert answer.status_code == 400
        assert visitor.registers(email).status_code == 400
    assert db.find_all(Outgoing) == [] and len(db.find_all(User)) == 2


def test_25_database_error_shows_its_row(
        bob: Visitor, safe_settings: Settings,
        caplog: pytest.LogCaptureFixture) -> None:
    """A store that fails is not quoted (Flask-AppBuilder CVE-2023-34110).

    Its error named the statement and its values, the hash among them. What
    the store could not keep does not get that far.
    """
    for odd in ("\0", "x" * 300, "\ud800"):
        for field in ("email", "password"):
            form = {"email": NEW, "password": STRONG, field: odd}
            answer = bob.browser.post("/users", base_url=ORIGIN, json=form)
            assert answer.status_code == 400
            assert "SQL" not in answer.get_data(as_text=True).upper()
    run(safe_settings.database_url, "ALTER TABLE users RENAME TO gone")
    for answer in (bob.registers(NEW, STRONG), bob.logs_in(EMAIL, STRONG)):
        assert_error(answer, 503,
                     "the service is busy, try again in a moment")
    assert "INSERT INTO users" in caplog.text
    for secret in ("$2b$", NEW, EMAIL, STRONG):
        assert secret not in caplog.text


def test_26_hash_is_readable(bob: Visitor, json_log: io.StringIO,
                             hashes: List[int]) -> None:
    """No answer holds or depends on a hash (Flask-AppBuilder CVE-2022-31177).

    Django's CVE-2018-16984 showed it, Superset's CVE-2020-1932 logged it.
    """
    paths = ("/", "/profile", "/sessions")
    plain = [bob.asks("GET", path).get_data() for path in paths]
    for query in ("hashed_password=$2b$", "fields=hashed_password", "id=2",
                  "user_id=2", "email=joe@me.com", "order_by=hashed_password",
                  "q=(filters:!((col:hashed_password,opr:sw,value:a)))"):
        assert plain == [bob.asks("GET", path + "?" + query).get_data()
                         for path in paths]
    said = [told(bob.asks(method, path, None, **form), EMAIL)
            for method, path, form in ROUTES]
    assert hashes  # there were some to be shown
    assert "$2b$" not in repr([plain, said]) + json_log.getvalue()


def test_27_secret_in_the_log(
        bob: Visitor, safe: Auth, safe_settings: Settings, mailbox: Mailbox,
        db: DB,
        monkeypatch: pytest.MonkeyPatch, json_log: io.StringIO) -> None:
    """Neither log nor database knows one (two-factor-auth CVE-2020-15105).

    Nor does a traceback, or the name that a user has in it (Devise #5281).
    """
    opened = [bob.logs_in(EMAIL, each) for each in (WRONG, STRONG)]
    bob.asks("PUT", "/email", password=STRONG, email=NEW)
    token = mailed_reset(safe, mailbox)
    bob.resets_password(STRANGE_TOKEN, STRONGER)
    bob.resets_password(token, STRONGER)
    monkeypatch.setattr(passwords, "needs_rehash", None)
    assert bob.logs_in(EMAIL, STRONGER).status_code == 500
    user = db.find(User, id=1)
    assert user is not None and user.hashed_password not in repr(user)
    kept = stored_bytes(safe_settings.database_url)
    assert b"bob@me.com" in kept and "Traceback" in json_log.getvalue()
    for secret in (WRONG, STRONG, STRONGER, STRANGE_TOKEN, token,
                   session_of(opened[1]), mailbox.token(NEW)):
        assert secret.encode() not in kept
        assert secret not in json_log.getvalue() + repr(user)


def test_28_log_injection(exchange: Exchange, guest: Visitor,
                          json_log: io.StringIO) -> None:
    """A line that a stranger writes is one line (Django CVE-2025-48432).

    Django wrote the path as it came. Tried in path, address, browser, host
    and request id.
    """
    evil = "\r\nFAKE\x1bc"
    exchange(b"GET /a%0d%0aFAKE%1b[2J\x1b[2J\x9b HTTP/1.1\r\n"
             b"Host: localhost\r\nUser-Agent: \x1b[2J\r\n\r\n")
    environ = {"HTTP_USER_AGENT": evil, "HTTP_X_REQUEST_ID": evil,
               "HTTP_X_FORWARDED_FOR": evil, "REMOTE_ADDR": evil}
    for form, host in ((EMAIL + evil, "auth.example.com"), (EVE, evil)):
        guest.browser.post(
            "/sessions", base_url=ORIGIN, data={"email": form,
                                                "password": STRONG},
            environ_overrides=dict(environ, HTTP_HOST=host))
    lines = json_log.getvalue().split("\n")
    assert lines.pop() == ""
    assert [json.loads(each)["logger"] for each in lines] \
        == ["werkzeug", "bienvenue.audit", "bienvenue"]
    assert all(" " <= char <= "~" for each in lines for char in each)
    assert not any("\\u001b" in each for each in lines)


def test_29_answer_is_cached(bob: Visitor) -> None:
    """Nobody is shown another's answer (Flask CVE-2023-30861).

    A proxy kept it, cookie and all, and gave it to the next visitor; in
    Django CVE-2014-1418 for want of a Vary.
    """
    for method, path, form in ROUTES + [("GET", "/nowhere", {})]:
        headers = bob.asks(method, path, None, **form).headers
        assert headers["Cache-Control"] == "no-store"
        assert "Cookie" in headers["Vary"].split(", ")


def test_30_nameless_cookie(bob: Visitor, tool: FlaskClient) -> None:
    """`=__Host-session_id=x` is no session (Werkzeug CVE-2023-23934).

    A neighbour under our domain can plant it, though not the real one. Eve
    plants her own session, to have Bob type his secrets into her account.
    """
    real = session_of(bob.logs_in(EMAIL, STRONG))
    for cookie, status in (
            ("{0}={1}", 200), ("={0}={1}", 403), ("=={0}={1}", 403),
            ("={0}={2}; {0}={1}", 200), ("{0}={1}; ={0}={2}", 200),
            ("{0}={2}; {0}={1}", 403), ("{0}={1}; {0}={2}", 403),
            (" ={0}={1}", 403), ("session_id={1}", 403)):
        answer = tool.get("/profile", base_url=ORIGIN, headers={
            "Cookie": cookie.format(SESSION, real, STRANGE_TOKEN)})
        assert answer.status_code == status, cookie


def test_31_mass_assignment(guest: Visitor, db: DB, clock: Clock) -> None:
    """A form field sets no column (Coherence CVE-2018-20301).

    In the FIA's portal (2025) it set a role; here it would verify an address
    that nobody reads, or open a session.
    """
    fields = dict.fromkeys(
        ["id", "user_id", "verified_at", "created_at", "session_id", "digest",
         "reset_token", "hashed_password", "is_admin", "network"], "7")
    answer = guest.asks("POST", "/users", None, email=NEW, password=STRONG,
                        **fields)
    assert answer.status_code == 200
    user, account = db.find_user_by(email=NEW), db.find(Account, user_id=1)
    assert (user.id, user.session_id, user.reset_token) == (1, None, None)
    assert account is not None and account.verified_at is None
    assert account.created_at == int(clock())
    assert guest.logs_in(NEW, STRONG).status_code == 401
    assert db.find_all(Session) == []


def test_32_cross_site_request(bob: Visitor, db: DB) -> None:
    """A page of another site changes nothing (Flask-AppBuilder #2466).

    Flask-MonitoringDashboard #557: signing in counts, and every other form.
    """
    before = sizes(db)
    for headers in (
            {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN},
            {"Origin": "https://evil.example"}, {"Origin": "null"},
            {"Origin": "http://auth.example.com"},
            {"Origin": ORIGIN + ".evil.example"}):
        for method, path, form in ROUTES:
            if method != "GET":
                assert_error(bob.asks(method, path, headers, **form), 403,
                             CrossSite.default)
    assert sizes(db) == before and bob.sees_profile().status_code == 200


def test_33_smuggling(exchange: Exchange) -> None:
    """One request has one answer, and its headers (CVE-2018-1000164).

    There gunicorn let a line break into a header. Here a second request hides
    in the body of the first, or a header in another one, that comes back.
    """
    for headers in (
            b"Content-Length: 0\r\nContent-Length: 37",
            b"Content-Length: 37\r\nContent-Length: 0",
            b"Content-Length: 0\r\nTransfer-Encoding: chunked",
            b"Content-Length: 0, 37", b"Content-Length: +0",
            b"Content-Length: 0x0", b"Content-Length: 0",
            b"X-Request-ID: a\r\n Set-Cookie: session_id=x",
            b"X-Request-ID: a\rSet-Cookie: session_id=x"):
        answer = exchange(
            b"POST /sessions HTTP/1.1\r\nHost: localhost\r\n" + headers
            + b"\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n"
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert len(re.findall(rb"HTTP/1\.[01] [0-9]", answer)) == 1
        assert answer.split()[1].startswith(b"4")
        head = answer.partition(b"\r\n\r\n")[0].lower()
        assert b"set-cookie" not in head
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\n ", head)


# -- The list itself

TESTS = {name: test for name, test in list(globals().items())
         if re.match(r"test_\d\d_", name)}


def test_every_number_is_here_once() -> None:
    """A survey that is worked off in part says so."""
    covered = [int(name[5:7]) for name in TESTS]
    assert covered + sorted(NOT_APPLICABLE) == list(range(1, 34))


@pytest.mark.parametrize("name", TESTS)
def test_names_whose_hole_it_was(name: str) -> None:
    """A reader can look up what happened there."""
    assert re.search(
        r"(CVE-\d{4}-\d+|GHSA(-\w{4}){3}|#\d+|allauth \d|Okta, \d{4})",
        TESTS[name].__doc__ or "")
