#!/usr/bin/env python3
"""The web face in production: what strangers see, and what they never do.

Everything here goes through HTTP, as a browser or a program would; the store
is looked at only to see what was kept, or that nothing was.
"""
from __future__ import annotations

import re
import unicodedata
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Set, Tuple

import bcrypt
import pytest
from flask.testing import FlaskClient
from sqlalchemy import event
from sqlalchemy.engine import Engine
from werkzeug.test import TestResponse

from app import create_app
from auth import Auth
from credentials import passwords, tokens
from db import DB
from errors import Throttled, Unavailable
from models import Account, Attempt, Device, Entry, Outgoing, Session
from settings import HOUR, Rate, Settings
from tests.helpers import (
    EMAIL, ORIGIN, PASSWORD, PRODUCTION, STRANGE_TOKEN, STRONG, STRONGER,
    Clock, Mailbox, Visitor, assert_error, cookies_of, link_token)
from tests.proofs.timing import NaiveAuth
from throttle import Throttle
from user import Base

SESSION, DEVICE = "__Host-session_id", "__Host-device"
# As long as EMAIL, so that answers about them have the same length.
UNVERIFIED, UNKNOWN = "joe@me.com", "eve@me.com"
HOME = "203.0.113.7"
NOT_HERE = ("this host is not served here; PUBLIC_URL and TRUSTED_HOSTS name "
            "those that are")
OTHER_SITE = ("this request was made by a page of another site; only pages of "
              "this service's own origin may make it")
LINK = PRODUCTION["landing_url"] + "#"
EVERY_HEADER = {
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; "
                               "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store", "Vary": "Cookie, Authorization"}

Request = Tuple[str, str, Dict[str, str]]


@pytest.fixture
def tool(safe: Auth) -> FlaskClient:
    """A client of the production mode that keeps no cookies."""
    return create_app(safe).test_client(use_cookies=False)


@pytest.fixture
def signed_in(guest: Visitor, safe: Auth, db: DB) -> Visitor:
    """Somebody with a verified account and a session, made in haste."""
    open_accounts(safe, db, EMAIL)
    assert guest.logs_in(EMAIL, STRONG).status_code == 200
    return guest


@pytest.fixture
def everybody(safe: Auth, db: DB) -> None:
    """One verified account, one that is not, and the third has none."""
    open_accounts(safe, db, EMAIL, UNVERIFIED)


def open_accounts(safe: Auth, db: DB, *emails: str) -> None:
    """Open accounts, the first of them verified, with no mail on its way."""
    for email in emails:
        safe.register_user(email, STRONG)
    db.change(Account, {"user_id": 1}, verified_at=1)
    db.delete(Outgoing)


def everything(db: DB) -> Dict[str, List[Dict[str, Any]]]:
    """Return every row of every table."""
    tables = {each.__tablename__: each for each in Base.__subclasses__()}
    assert set(tables) == set(Base.metadata.tables)
    return {name: [{column.key: getattr(row, column.key)
                    for column in table.__table__.columns}
                   for row in db.find_all(table)]
            for name, table in tables.items()}


@contextmanager
def statements() -> Iterator[List[str]]:
    """Note the text of every SQL statement, in order."""
    noted: List[str] = []

    def note(_connection: Any, _cursor: Any, statement: str,
             *_rest: Any) -> None:
        """Keep the text of one."""
        noted.append(statement)
    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield noted
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def noting(monkeypatch: pytest.MonkeyPatch, module: Any,
           *names: str) -> List[str]:
    """Note the name of each of these functions whenever it is called."""
    noted: List[str] = []

    def watched(name: str) -> Callable[..., Any]:
        """Return the function with an eye on it."""
        work = getattr(module, name)

        def call(*how: Any) -> Any:
            """Note the call and make it."""
            noted.append(name)
            return work(*how)
        return call
    for each in names:
        monkeypatch.setattr(module, each, watched(each))
    return noted


def links_to(mailbox: Mailbox, email: str) -> List[str]:
    """Return the tokens in all links that were mailed to an address."""
    parts = [message.get_body(("plain",))
             for to, message in mailbox.mails if to == email]
    texts = [str(each.get_content()) for each in parts if each]
    return [link_token(each) for each in texts if "#" in each]


def told(answer: TestResponse, email: str) -> Tuple[Any, ...]:
    """Return all that an answer says, but for the address asked about."""
    return (answer.status_code, list(answer.headers),
            answer.get_data(as_text=True).replace(email, "<email>"))


class TestSessionCookie:
    """What signs a browser in."""

    def test_is_out_of_everybodys_reach(self, member: Visitor) -> None:
        """Secure, for this host alone, and no script's (ASVS 3.3.1-4)."""
        cookie = cookies_of(member.logs_in(EMAIL, STRONG))[SESSION]
        token, *attributes = cookie.split("; ")
        assert len(token) == 36
        assert set(attributes) - {expiry(cookie)} == {
            "HttpOnly", "Max-Age=2592000", "Path=/", "SameSite=Lax", "Secure"}

    @pytest.mark.parametrize("method, path", [
        ("DELETE", "/sessions"), ("DELETE", "/profile")])
    def test_is_cleared_in_a_way_that_browsers_take(
            self, signed_in: Visitor, method: str, path: str) -> None:
        """They ignore a __Host- cookie without Secure and Path=/."""
        answer = signed_in.asks(method, path, password=STRONG)
        cookie = cookies_of(answer)[SESSION]
        token, *attributes = cookie.split("; ")
        assert token == ""
        assert {"Max-Age=0", "Path=/", "Secure"} <= set(attributes)
        assert "Domain" not in cookie

    def test_by_its_plain_name_is_nobody(
            self, signed_in: Visitor, tool: FlaskClient) -> None:
        """A neighbouring host can plant that one (ASVS 3.3.3)."""
        token = session_of(signed_in)
        for cookie, status in (("session_id=", 403), (SESSION + "=", 200)):
            answer = tool.get("/profile", base_url=ORIGIN,
                              headers={"Cookie": cookie + token})
            assert answer.status_code == status

    @pytest.mark.parametrize("blank, status", [
        (" ", 200), ("\t", 200), ("\xa0", 403), ("\x85", 403),
        ("\xe2\x80\x80", 403)])
    def test_other_blanks_are_part_of_a_name(
            self, signed_in: Visitor, tool: FlaskClient, blank: str,
            status: int) -> None:
        """With one a neighbour can set what is __Host- for Django (2025)."""
        planted = "a=b;{}{}={}".format(blank, SESSION, session_of(signed_in))
        answer = tool.get("/profile", base_url=ORIGIN, environ_overrides={
            "HTTP_COOKIE": planted})
        assert answer.status_code == status

    def test_twice_or_nameless_is_nobody(
            self, signed_in: Visitor, tool: FlaskClient) -> None:
        """Whatever a planted one shadows (Werkzeug CVE-2023-23934)."""
        token = session_of(signed_in)
        for pair in ("{0}={1}; {0}=x", "{0}=x; {0}={1}",
                     "{0}={1}; {0}={1}", "={0}={1}"):
            answer = tool.get("/profile", base_url=ORIGIN, headers={
                "Cookie": pair.format(SESSION, token)})
            assert_error(answer, 403, "not signed in")


def session_of(visitor: Visitor) -> str:
    """Sign in once more and return the token of the session."""
    answer = visitor.logs_in(EMAIL, STRONG)
    return cookies_of(answer)[SESSION].partition(";")[0]


def expiry(cookie: str) -> str:
    """Return the attribute that repeats Max-Age by the machine's clock."""
    found, = [each for each in cookie.split("; ")
              if each.startswith("Expires=")]
    return found


class TestDeviceCookie:
    """By which a browser says that its user was here before."""

    @pytest.fixture
    def proofs(self, guest: Visitor, safe: Auth,
               mailbox: Mailbox) -> List[TestResponse]:
        """What is answered to each proof of who one is."""
        guest.registers(EMAIL, STRONG)
        safe.deliver_mail()
        verified = guest.asks("PUT", "/verify_email",
                              token=mailbox.token(EMAIL))
        guest.asks("POST", "/reset_password", email=EMAIL)
        safe.deliver_mail()
        reset = guest.resets_password(mailbox.token(EMAIL), STRONGER)
        signed_in = guest.logs_in(EMAIL, STRONGER)
        again = guest.logs_in(EMAIL, STRONGER)
        changed = guest.asks("PUT", "/password", new_password=STRONG,
                             current_password=STRONGER)
        return [verified, reset, signed_in, again, changed]

    def test_is_new_after_every_proof(
            self, proofs: List[TestResponse], db: DB) -> None:
        """A copy of one from before is worth nothing (OWASP)."""
        given = [cookies_of(each)[DEVICE].partition(";")[0]
                 for each in proofs]
        assert len(set(given)) == len(proofs) == 5
        device, = db.find_all(Device)
        assert device.digest == tokens.digest(given[-1])

    def test_is_out_of_everybodys_reach(
            self, proofs: List[TestResponse]) -> None:
        """As the session's, for a year."""
        for answer in proofs:
            cookie = cookies_of(answer)[DEVICE]
            assert set(cookie.split("; ")[1:]) - {expiry(cookie)} == {
                "HttpOnly", "Max-Age=31536000", "Path=/", "SameSite=Lax",
                "Secure"}

    def test_is_not_given_without_a_proof(self, member: Visitor) -> None:
        """Nor any other cookie."""
        for method, path, form in (
                ("GET", "/", {}), ("GET", "/profile", {}),
                ("POST", "/users", {"email": UNKNOWN, "password": STRONG}),
                ("POST", "/sessions", {"email": EMAIL, "password": "wrong"}),
                ("POST", "/reset_password", {"email": EMAIL}),
                ("PUT", "/reset_password", {"reset_token": STRANGE_TOKEN,
                                            "new_password": STRONG}),
                ("POST", "/verify_email", {"email": EMAIL}),
                ("PUT", "/verify_email", {"token": STRANGE_TOKEN})):
            assert cookies_of(member.asks(method, path, {}, **form)) == {}

    def test_is_not_given_in_development(
            self, visitor: Visitor, safe: Auth, mailbox: Mailbox) -> None:
        """Where nobody counts, and a proof is handed to anybody."""
        visitor.registers()
        safe.deliver_mail()
        verified = visitor.asks("PUT", "/verify_email",
                                token=mailbox.token(EMAIL))
        reset = visitor.resets_password(visitor.forgets_password(), "new")
        signed_in = visitor.logs_in(EMAIL, "new")
        assert verified.status_code == reset.status_code == 200
        assert cookies_of(verified) == cookies_of(reset) == {}
        assert list(cookies_of(signed_in)) == ["session_id"]


class TestBodies:
    """What is written into an answer."""

    def test_no_body_holds_a_token(
            self, guest: Visitor, safe: Auth, mailbox: Mailbox,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither one that is live nor its digest (ASVS 3.3.4)."""
        minted: List[str] = []
        mint = tokens.mint

        def note() -> str:
            """Mint one and keep it."""
            minted.append(mint())
            return minted[-1]
        monkeypatch.setattr(tokens, "mint", note)
        said = "".join(each.get_data(as_text=True)
                       for each in a_whole_life(guest, safe, mailbox))
        secrets = set(minted) | set(map(tokens.digest, minted))
        assert len(minted) > 15
        assert not [each for each in secrets if each in said]

    def test_a_reset_answers_with_these_two_alone(
            self, member: Visitor) -> None:
        """No reset_token among them (Flask-Security CVE-2021-21241)."""
        answer = member.asks("POST", "/reset_password", email=EMAIL)
        assert answer.status_code == 200
        assert answer.get_json() == {
            "email": EMAIL, "message": "if the address has an account, a "
                                       "mail is on its way"}


def a_whole_life(guest: Visitor, safe: Auth,
                 mailbox: Mailbox) -> Iterator[TestResponse]:
    """Yield every answer of an account's life, none of them a refusal."""
    yield guest.registers(EMAIL, STRONG)
    yield guest.asks("POST", "/verify_email", email=EMAIL)
    safe.deliver_mail()
    yield guest.asks("PUT", "/verify_email", token=mailbox.token(EMAIL))
    yield guest.asks("POST", "/reset_password", email=EMAIL)
    safe.deliver_mail()
    yield guest.resets_password(mailbox.token(EMAIL), STRONGER)
    yield guest.logs_in(EMAIL, STRONGER)
    yield guest.asks("GET", "/sessions")
    yield guest.asks("PUT", "/password", current_password=STRONGER,
                     new_password=STRONG)
    yield guest.asks("PUT", "/email", password=STRONG, email=UNKNOWN)
    safe.deliver_mail()
    yield guest.asks("GET", "/profile/export")
    yield guest.asks("PUT", "/verify_email", token=mailbox.token(UNKNOWN))
    yield guest.sees_profile()
    yield guest.logs_out()
    yield guest.logs_in(UNKNOWN, STRONG)
    yield guest.asks("DELETE", "/profile", password=STRONG)


class TestHeaders:
    """What no answer goes without."""

    ANSWERS: Tuple[Tuple[str, str, Dict[str, str], int], ...] = (
        ("GET", "/", {}, 200), ("HEAD", "/", {}, 200),
        ("POST", "/users", {"email": UNKNOWN, "password": STRONG}, 200),
        ("POST", "/users", {}, 400), ("GET", "/nowhere", {}, 404),
        ("POST", "/sessions", {"email": EMAIL, "password": "wrong"}, 401),
        ("PUT", "/email", {"email": UNKNOWN, "password": "wrong"}, 403),
        ("DELETE", "/sessions/99", {}, 404), ("PATCH", "/users", {}, 405),
        ("POST", "/users", {"password": "x" * 20000}, 413),
        ("DELETE", "/sessions/others", {}, 204),
        ("DELETE", "/sessions", {}, 302), ("GET", "/profile", {}, 403))

    def test_on_every_answer(self, signed_in: Visitor) -> None:
        """Each once, refused or not (ASVS 3.4, 14.3.2)."""
        for method, path, form, status in self.ANSWERS:
            answer = signed_in.asks(method, path, {}, **form)
            assert (method, path, answer.status_code) \
                == (method, path, status)
            assert_headers(answer)

    @pytest.mark.parametrize("headers, status", [
        ({"Host": "evil.example"}, 400), ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain", "Content-Length": "1"}, 415)])
    def test_on_a_request_that_is_none_of_ours(
            self, tool: FlaskClient, headers: Dict[str, str],
            status: int) -> None:
        """Before it reaches a route, and where its body is read."""
        answer = tool.post("/users", base_url=ORIGIN, headers=headers,
                           data="x")
        assert answer.status_code == status
        assert_headers(answer)

    @pytest.mark.parametrize("error, status", [
        (Throttled, 429), (Unavailable, 503), (KeyError, 500)])
    def test_on_a_refusal_of_the_service(
            self, guest: Visitor, safe: Auth, error: Any, status: int,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """A mistake of ours included."""
        def refuse(*_: Any) -> None:
            """Refuse in this way."""
            raise error()
        monkeypatch.setattr(safe, "sign_up", refuse)
        answer = guest.registers(EMAIL, STRONG)
        assert answer.status_code == status
        assert_headers(answer)

    def test_development_promises_no_tls(self, visitor: Visitor) -> None:
        """Or localhost would be out of the browser's reach for a year."""
        for path in ("/", "/nowhere"):
            answer = visitor.asks("GET", path)
            assert "Strict-Transport-Security" not in answer.headers

    @pytest.mark.parametrize("path", ["/sessions", "/profile"])
    def test_what_the_browser_kept_goes_with_the_session(
            self, signed_in: Visitor, path: str) -> None:
        """But not the cookies of every neighbour (ASVS 14.3.1)."""
        answer = signed_in.asks("DELETE", path, password=STRONG)
        assert answer.headers.getlist("Clear-Site-Data") \
            == ['"cache", "storage"']

    def test_a_refusal_clears_nothing(self, guest: Visitor) -> None:
        """Whoever is not signed in did not sign out."""
        for path in ("/sessions", "/profile"):
            answer = guest.asks("DELETE", path, password=STRONG)
            assert answer.status_code == 403
            assert "Clear-Site-Data" not in answer.headers

    def test_development_clears_nothing_but_the_cookie(
            self, visitor: Visitor) -> None:
        """Other programs live on localhost, too."""
        visitor.registers()
        for path, status in (("/sessions", 302), ("/profile", 204)):
            visitor.logs_in()
            answer = visitor.asks("DELETE", path, password=PASSWORD)
            assert answer.status_code == status
            assert "Clear-Site-Data" not in answer.headers


def assert_headers(answer: TestResponse) -> None:
    """Assert that each header is there once, and none lets others read.

    An error has two forms, so it depends on Accept as well.
    """
    expected = dict(EVERY_HEADER)
    if answer.status_code >= 400:
        expected["Vary"] = "Accept, " + expected["Vary"]
    assert {name: answer.headers.getlist(name) for name in EVERY_HEADER} \
        == {name: [value] for name, value in expected.items()}
    assert "Access-Control-Allow-Origin" not in answer.headers


class TestHosts:
    """Under which names the service answers."""

    @pytest.fixture
    def guest(self, visit: Callable[..., Visitor]) -> Visitor:
        """Somebody who may come by an internal name, too."""
        return visit(trusted_hosts=frozenset(["auth.internal"]),
                     trusted_proxies=1)

    @pytest.mark.parametrize("host", [
        "auth.example.com", "auth.example.com:443", "auth.example.com:8443",
        "AUTH.Example.COM", "auth.internal", "Auth.Internal:80"])
    def test_our_own(self, guest: Visitor, host: str) -> None:
        """In any case, on any port."""
        assert guest.asks("GET", "/", {"Host": host}).status_code == 200

    @pytest.mark.parametrize("host", [
        "evil.example", "evil.example:443", "auth.example.com.evil.com",
        "evil-auth.example.com", "auth.example.com@evil.example",
        "evil.example@auth.example.com", "auth.example.com:443@evil.example",
        "auth.example.com.", "auth.example.com:", "auth.example.com:x",
        "auth.example.com:1:2", "auth.example.com, evil.example",
        "auth.example.com/evil", "auth.example.com?", "auth.example.com#",
        "auth.example.com\\.evil", "example.com", "auth", "", ".", "[::1]",
        "localhost", "127.0.0.1", "203.0.113.7", "auth.ex\u00e4mple.com",
        # The bytes of full-width dots, as a header carries them.
        "auth\xef\xbc\x8eexample\xef\xbc\x8ecom", "auth_example.com"],
        ids=ascii)
    def test_any_other(self, guest: Visitor, host: str) -> None:
        """Refused on every path, and not repeated (CVE-2021-30185)."""
        for method, path in (("GET", "/"), ("POST", "/reset_password"),
                             ("GET", "/nowhere"), ("PATCH", "/users")):
            answer = guest.asks(method, path, {"Host": host}, email=EMAIL)
            assert_error(answer, 400, NOT_HERE)

    @pytest.mark.parametrize("name", [
        "X-Forwarded-Host", "X-Forwarded-Server", "X-Host", "Forwarded",
        "X-Original-Host"])
    def test_a_forwarded_name_counts_neither_way(
            self, guest: Visitor, name: str) -> None:
        """It makes a good host no worse and a bad one no better."""
        for host, other, status in (
                ("auth.example.com", "evil.example", 200),
                ("evil.example", "auth.example.com", 400)):
            value = "host=" + other if name == "Forwarded" else other
            answer = guest.asks("GET", "/", {"Host": host, name: value})
            assert answer.status_code == status

    @pytest.mark.parametrize("headers", [
        {"Host": "auth.internal"},
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http",
         "X-Forwarded-Port": "81", "X-Forwarded-Prefix": "/evil",
         "Forwarded": "host=evil.example;proto=http",
         "Referer": "https://evil.example/", "X-Original-URL": "/evil"}],
        ids=lambda headers: "-".join(headers))
    def test_a_link_holds_settings_alone(
            self, guest: Visitor, safe: Auth, mailbox: Mailbox,
            headers: Dict[str, str]) -> None:
        """Whatever a request says (CVE-2021-30185, Supabase GHSA-3529)."""
        for path, kind in (("/users", "verify"), ("/users", "reset"),
                           ("/verify_email", "verify"),
                           ("/reset_password", "reset")):
            answer = guest.asks("POST", path, headers, email=EMAIL,
                                password=STRONG)
            assert answer.status_code == 200
            safe.deliver_mail()
            link = LINK + kind + "=" + mailbox.token(EMAIL)
            assert link in mailbox.text(EMAIL).split()
        assert len(mailbox.mails) == 4
        for _, message in mailbox.mails:
            assert not re.search(r"evil|internal|http:", str(message))


class TestOtherSites:
    """A page of another site changes nothing here."""

    # What is refused, and what is not (OWASP CSRF Prevention Cheat Sheet).
    FOREIGN: Tuple[Dict[str, str], ...] = (
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": ""}, {"Sec-Fetch-Site": "Same-Origin"},
        {"Sec-Fetch-Site": "none, same-origin"},
        {"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN},
        {"Sec-Fetch-Site": "same-site", "Origin": ORIGIN},
        {"Origin": "https://evil.example"}, {"Origin": "null"},
        {"Origin": ""}, {"Origin": "http://auth.example.com"},
        {"Origin": ORIGIN + ":8443"}, {"Origin": ORIGIN + ".evil.example"},
        {"Origin": ORIGIN + "/"}, {"Origin": "https://example.com"},
        {"Origin": "https://www.example.com"},
        {"Origin": ORIGIN + ", https://evil.example"},
        {"Origin": "https://evil.example", "Referer": ORIGIN + "/"})
    OURS: Tuple[Dict[str, str], ...] = (
        {}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"},
        {"Origin": ORIGIN},
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"})
    # Every request that changes something, in an order in which each can.
    CHANGES = (
        ("POST", "/users", 200), ("POST", "/verify_email", 200),
        ("PUT", "/verify_email", 200), ("POST", "/reset_password", 200),
        ("PUT", "/reset_password", 200), ("POST", "/sessions", 200),
        ("PUT", "/email", 200), ("DELETE", "/sessions/others", 204),
        ("DELETE", "/sessions/3", 204), ("DELETE", "/sessions", 302),
        ("PUT", "/password", 200), ("DELETE", "/profile", 204))

    @pytest.fixture
    def form(self, signed_in: Visitor, new_guest: Callable[..., Visitor],
             safe: Auth, mailbox: Mailbox) -> Dict[str, str]:
        """All that any request needs to get what it asks for."""
        signed_in.asks("POST", "/reset_password", email=EMAIL)
        new_guest().registers(UNVERIFIED, STRONG)
        safe.deliver_mail()
        return dict(password=STRONG, current_password=STRONG,
                    new_password=STRONG, reset_token=mailbox.token(EMAIL),
                    token=mailbox.token(UNVERIFIED))

    @staticmethod
    def filled(form: Dict[str, str], path: str) -> Dict[str, str]:
        """Return the form, with a new address where one is needed."""
        new = path in ("/users", "/email")
        return dict(form, email=UNKNOWN if new else EMAIL)

    def test_every_route_is_here(self, safe: Auth) -> None:
        """A new one has to be tried before it is let in."""
        unsafe = {(method, re.sub("<.*>", "3", rule.rule))
                  for rule in create_app(safe).url_map.iter_rules()
                  for method in rule.methods or set()
                  if method not in ("GET", "HEAD", "OPTIONS")}
        assert unsafe == {each[:2] for each in self.CHANGES}

    def test_changes_nothing(self, signed_in: Visitor, db: DB,
                             form: Dict[str, str]) -> None:
        """Not a row, on any route, signing in included (ASVS 3.5.1)."""
        before = everything(db)
        for method, path, _ in self.CHANGES:
            for headers in self.FOREIGN:
                answer = signed_in.asks(method, path, headers,
                                        **self.filled(form, path))
                assert_error(answer, 403, OTHER_SITE)
                assert cookies_of(answer) == {}
            assert everything(db) == before

    @pytest.mark.parametrize("headers", OURS, ids=str)
    def test_our_own_pages_and_programs_are_served(
            self, signed_in: Visitor, form: Dict[str, str],
            headers: Dict[str, str]) -> None:
        """What is no browser sends neither header."""
        for method, path, status in self.CHANGES:
            if signed_in.sees_profile().status_code == 403:
                signed_in.logs_in(EMAIL, STRONG)
            answer = signed_in.asks(method, path, headers,
                                    **self.filled(form, path))
            assert (method, path, answer.status_code) \
                == (method, path, status)

    def test_only_public_url_is_our_origin(
            self, visit: Callable[..., Visitor]) -> None:
        """An internal name is answered, and no page of it trusted."""
        guest = visit(trusted_hosts=frozenset(["auth.internal"]))
        answer = guest.asks(
            "POST", "/users", {"Host": "auth.internal",
                               "Origin": "https://auth.internal"},
            email=EMAIL, password=STRONG)
        assert_error(answer, 403, OTHER_SITE)

    def test_following_a_link_is_no_change(self, signed_in: Visitor) -> None:
        """Reading is allowed from anywhere; other pages cannot see it."""
        answer = signed_in.asks("GET", "/profile", {
            "Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"})
        assert answer.get_json() == {"email": EMAIL}
        assert_headers(answer)


class TestDevelopmentGuard:
    """It is not in the way of production."""

    @pytest.mark.parametrize("peer", [
        "203.0.113.7", "10.0.0.1", "127.0.0.1", "::1", "2001:db8::1", ""])
    def test_every_peer_is_answered(
            self, new_guest: Callable[..., Visitor], peer: str) -> None:
        """From wherever it comes."""
        assert new_guest(peer).asks("GET", "/").status_code == 200

    def test_proxies_are_answered(self, guest: Visitor) -> None:
        """Production stands behind one."""
        for name in ("Forwarded", "Via", "X-Forwarded-For",
                     "X-Forwarded-Proto", "X-Real-IP"):
            answer = guest.asks("GET", "/", {name: "198.51.100.1"})
            assert answer.status_code == 200


@pytest.mark.promise("Known and unknown addresses get the same answer, for "
                     "the same hashes and the same SQL statements.")
class TestEnumeration:
    """Nobody learns who has an account (ASVS 6.3.8)."""

    WRONG = "raclette sans fromage"
    ASKS: Dict[str, Request] = {
        "register": ("POST", "/users", {"password": STRONG}),
        "sign in": ("POST", "/sessions", {"password": WRONG}),
        "reset": ("POST", "/reset_password", {}),
        "verify": ("POST", "/verify_email", {})}
    every_ask = pytest.mark.parametrize("what", ASKS)
    every_mail = pytest.mark.parametrize("what", ["reset", "verify"])
    pytestmark = pytest.mark.usefixtures("everybody")

    @pytest.fixture
    def asks(self, new_guest: Callable[..., Visitor]
             ) -> Callable[..., Tuple[Any, ...]]:
        """A stranger who asks about an address, and hears this."""
        stranger = new_guest("198.51.100.9")

        def ask(what: str, email: str,
                visitor: Visitor = stranger) -> Tuple[Any, ...]:
            """Return all that the answer says."""
            method, path, form = self.ASKS[what]
            return told(visitor.asks(
                method, path, {"X-Request-ID": "one"}, email=email, **form),
                email)
        return ask

    @every_ask
    def test_every_address_gets_the_same_answer(
            self, asks: Callable[..., Tuple[Any, ...]], what: str) -> None:
        """Status, headers in order, cookies and body."""
        heard = [asks(what, email)
                 for email in (EMAIL, UNVERIFIED, UNKNOWN)]
        assert heard[0] == heard[1] == heard[2]
        assert heard[0][0] == (401 if what == "sign in" else 200)

    @every_ask
    def test_also_while_the_mail_server_is_down(
            self, asks: Callable[..., Tuple[Any, ...]], safe: Auth,
            mailbox: Mailbox, what: str) -> None:
        """Its errors reach nobody's answer (Django CVE-2024-45231)."""
        well = asks(what, UNKNOWN.replace("eve", "ann"))
        mailbox.broken = ConnectionRefusedError()
        for email in (EMAIL, UNVERIFIED, UNKNOWN):
            assert asks(what, email) == well
            safe.deliver_mail()
            assert asks(what, email) == well

    @every_ask
    def test_also_once_a_network_asked_too_often(
            self, asks: Callable[..., Tuple[Any, ...]],
            visit: Callable[..., Visitor], what: str) -> None:
        """The limit counts what was asked, not what was found."""
        few = Rate(2, HOUR)
        busy = visit("198.51.100.1", register_network_limit=few,
                     login_network_limit=few, mail_network_limit=few)
        heard = [asks(what, email, busy)
                 for email in (EMAIL, UNKNOWN, UNVERIFIED, UNKNOWN, EMAIL)]
        assert heard[0] == heard[1]
        assert heard[2] == heard[3] == heard[4]
        assert heard[2][0] == 429
        assert ("Retry-After", str(HOUR)) in heard[2][1]

    def test_also_while_an_account_has_to_wait(
            self, asks: Callable[..., Tuple[Any, ...]]) -> None:
        """One that does not exist has to wait as well."""
        heard = [[asks("sign in", email) for _ in range(7)]
                 for email in (EMAIL, UNVERIFIED, UNKNOWN)]
        assert heard[0] == heard[1] == heard[2]
        assert [each[0] for each in heard[0]] == [401] * 5 + [429] * 2

    @every_mail
    def test_also_once_a_mailbox_has_had_enough(
            self, asks: Callable[..., Tuple[Any, ...]], safe: Auth,
            mailbox: Mailbox, what: str) -> None:
        """Only known addresses meet that limit (Supabase #2398)."""
        before = len(mailbox.mails)
        for _ in range(5):
            heard = [asks(what, email)
                     for email in (EMAIL, UNVERIFIED, UNKNOWN)]
            safe.deliver_mail()
            assert heard[0] == heard[1] == heard[2]
            assert heard[0][0] == 200
        reached = {to for to, _ in mailbox.mails[before:]}
        assert reached == ({EMAIL, UNVERIFIED} if what == "reset"
                           else {UNVERIFIED})
        assert len(mailbox.mails) - before <= 3 * len(reached)

    @every_ask
    def test_every_address_costs_the_same_hashes(
            self, asks: Callable[..., Tuple[Any, ...]], what: str,
            monkeypatch: pytest.MonkeyPatch,
            figure: Callable[[str], None]) -> None:
        """As Django counts them (CVE-2024-39329, CVE-2016-2513)."""
        hashed = noting(monkeypatch, passwords, "hash_password",
                        "verify_password")
        costs = []
        for email in (EMAIL, UNVERIFIED, UNKNOWN):
            hashed.clear()
            asks(what, email)
            costs.append(list(hashed))
        assert costs[0] == costs[1] == costs[2]
        assert len(costs[0]) == (1 if what in ("register", "sign in") else 0)
        figure("{}: {} hashes".format(what, len(costs[0])))

    @pytest.mark.broken("sign-in hashes only for addresses that have an "
                        "account")
    def test_a_naive_service_costs_more_for_the_known(
            self, asks: Callable[..., Tuple[Any, ...]], db: DB,
            safe_settings: Settings, clock: Clock,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """That is how its time would tell (tests/proofs/timing.py)."""
        application = create_app(NaiveAuth(db, safe_settings, clock))
        stranger = Visitor(application.test_client(), ORIGIN)
        hashed = noting(monkeypatch, passwords, "verify_password")
        asks("sign in", UNKNOWN, stranger)
        assert not hashed
        asks("sign in", EMAIL, stranger)
        assert hashed

    @pytest.mark.parametrize("what", ["reset", "verify", "sign in"])
    def test_every_address_costs_the_same_statements(
            self, asks: Callable[..., Tuple[Any, ...]], what: str,
            figure: Callable[[str], None]) -> None:
        """The same text, the same number, in the same order."""
        costs = []
        for email in (UNKNOWN, EMAIL, UNVERIFIED):
            asks(what, email)  # from now on there is a row that counts
            with statements() as noted:
                asks(what, email)
            costs.append(noted)
        assert costs[0] == costs[1] == costs[2]
        assert len(costs[0]) > 3
        figure("{}: {} statements".format(what, len(costs[0])))

    @every_mail
    @pytest.mark.parametrize("trouble", [
        "none", "mail server", "mailbox limit", "network limit"])
    def test_asking_for_mail_costs_the_same_statements_in_trouble(
            self, asks: Callable[..., Tuple[Any, ...]], what: str,
            trouble: str, visit: Callable[..., Visitor], safe: Auth,
            mailbox: Mailbox) -> None:
        """Whatever the sender found out about an address before."""
        if trouble == "mail server":
            mailbox.broken = ConnectionRefusedError()
        before = 4 if trouble == "mailbox limit" else 1
        costs = []
        for place, email in enumerate((UNKNOWN, EMAIL, UNVERIFIED)):
            visitor = visit("192.0.2.{}".format(place),
                            mail_network_limit=Rate(before + (
                                trouble != "network limit"), HOUR))
            for _ in range(before):
                assert asks(what, email, visitor)[0] == 200
                safe.deliver_mail()
            with statements() as noted:
                heard = asks(what, email, visitor)
            costs.append((noted, heard))
        assert costs[0] == costs[1] == costs[2]
        assert costs[0][1][0] == (429 if trouble == "network limit" else 200)
        assert len(costs[0][0]) >= 1

    @every_mail
    def test_asking_for_mail_looks_nobody_up(
            self, asks: Callable[..., Tuple[Any, ...]], what: str) -> None:
        """What is not read cannot be told."""
        with statements() as noted:
            asks(what, EMAIL)
        assert noted
        for table in ("users", "accounts", "mail_tokens", "sessions"):
            assert not [each for each in noted
                        if re.search(r"\b{}\b".format(table), each)]

    @pytest.mark.parametrize("tries", [1, 7])
    def test_registering_and_then_signing_in_tells_nothing(
            self, visit: Callable[..., Visitor], tries: int,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever opens an account knows its password, if it is theirs.

        Answers, hashes and statements are the same for a fresh address and
        for one that somebody has; waits as well.
        """
        seen = []
        for place, email in enumerate((UNKNOWN, EMAIL, UNVERIFIED)):
            stranger = visit("198.51.100.{}".format(place))
            heard = [told(stranger.asks(
                "POST", "/users", {"X-Request-ID": "one"}, email=email,
                password=STRONGER), email)]
            with monkeypatch.context() as patch, statements() as noted:
                hashes = noting(patch, bcrypt, "hashpw", "checkpw")
                heard += [told(stranger.asks(
                    "POST", "/sessions", {"X-Request-ID": "two"},
                    email=email, password=STRONGER), email)
                    for _ in range(tries)]
            seen.append((heard, hashes, noted))
        assert seen[0] == seen[1] == seen[2]
        assert [each[0] for each in seen[0][0]] == (
            [200] + [401] * 5 + [429] * 2)[:tries + 1]
        assert len(seen[0][1]) == min(tries, 5)
        assert len(seen[0][2]) > 5

    def test_a_taken_address_is_told_where_that_is_wanted(
            self, visit: Callable[..., Visitor], safe: Auth,
            mailbox: Mailbox) -> None:
        """REVEAL_REGISTERED=1 gives the friendly answer, and no mail."""
        frank, before = visit(reveal_registered=True), len(mailbox.mails)
        for email in (EMAIL, UNVERIFIED):
            assert_error(frank.registers(email, STRONG), 400,
                         "email already registered")
        safe.deliver_mail()
        assert len(mailbox.mails) == before

    def test_only_the_mailbox_learns_that_it_is_taken(
            self, guest: Visitor, safe: Auth, mailbox: Mailbox) -> None:
        """And its owner's password is what it was."""
        assert guest.registers(EMAIL, STRONGER).get_json() == {
            "email": EMAIL, "message": "user created"}
        safe.deliver_mail()
        assert mailbox.subjects(EMAIL) == [
            "You already have an account at Bienvenue"]
        assert guest.logs_in(EMAIL, STRONGER).status_code == 401
        assert guest.logs_in(EMAIL, STRONG).status_code == 200


class TestReset:
    """How a reset is asked for, and how it is not."""

    def test_is_not_asked_for_in_a_query(
            self, member: Visitor, db: DB) -> None:
        """What stands in a URL ends up in logs (CVE-2021-21241)."""
        before = everything(db)
        for method, status in (("GET", 405), ("HEAD", 405), ("POST", 400),
                               ("PUT", 403)):
            answer = member.asks(method, "/reset_password?email=" + EMAIL)
            assert answer.status_code == status
            assert set(answer.get_json(silent=True) or {"message": ""}) \
                == {"message"}
        assert everything(db) == before

    def test_is_not_made_with_a_token_in_a_query(
            self, member: Visitor, safe: Auth, mailbox: Mailbox) -> None:
        """The token is still good for a request that keeps it to itself."""
        member.asks("POST", "/reset_password", email=EMAIL)
        safe.deliver_mail()
        token = mailbox.token(EMAIL)
        answer = member.asks(
            "PUT", "/reset_password?reset_token=" + token, email=EMAIL,
            new_password=STRONGER)
        assert_error(answer, 403, "reset_token is missing")
        assert member.resets_password(token, STRONGER).status_code == 200


class TestUnverified:
    """Signing in before the address is proved."""

    NOT_VERIFIED = ("verify your email first: open the link that was mailed "
                    "to you, or ask for a new one (POST /verify_email)")
    EITHER = ("wrong email or password, or an email that is not verified "
              "yet: open the link that was mailed to it, or ask for a new "
              "one (POST /verify_email)")

    @pytest.fixture
    def newcomer(self, guest: Visitor) -> Visitor:
        """Somebody who has not opened the link yet."""
        guest.registers(EMAIL, STRONG)
        return guest

    def test_is_refused(self, newcomer: Visitor) -> None:
        """With what to do about it, and no cookie."""
        answer = newcomer.logs_in(EMAIL, STRONG)
        assert_error(answer, 401, self.EITHER)
        assert cookies_of(answer) == {}

    def test_nobody_learns_whether_it_was_that(
            self, newcomer: Visitor) -> None:
        """Nor the owner, who would learn it of others' (CVE-2018-6188)."""
        for email, password in ((EMAIL, STRONGER), (UNKNOWN, STRONG)):
            assert_error(newcomer.logs_in(email, password), 401, self.EITHER)

    def test_is_told_apart_where_registering_hides_nothing(
            self, newcomer: Visitor, visit: Callable[..., Visitor]) -> None:
        """REVEAL_REGISTERED=1; to whoever knows the password."""
        frank = visit(reveal_registered=True)
        answer = frank.logs_in(EMAIL, STRONG)
        assert_error(answer, 403, self.NOT_VERIFIED)
        assert cookies_of(answer) == {}
        for email, password in ((EMAIL, STRONGER), (UNKNOWN, STRONG)):
            assert_error(frank.logs_in(email, password), 401,
                         "wrong email or password")

    def test_where_nobody_has_to_be_verified_it_is_not_spoken_of(
            self, newcomer: Visitor, visit: Callable[..., Visitor]) -> None:
        """Such a hint would send people to a mail that does not help."""
        relaxed = visit(require_verified=False)
        assert_error(relaxed.logs_in(EMAIL, STRONGER), 401,
                     "wrong email or password")

    def test_is_allowed_where_that_is_wanted(
            self, newcomer: Visitor, visit: Callable[..., Visitor]) -> None:
        """REQUIRE_VERIFIED=0 asks for no proof."""
        relaxed = visit(require_verified=False)
        assert relaxed.logs_in(EMAIL, STRONG).status_code == 200
        assert relaxed.sees_profile().get_json() == {"email": EMAIL}

    @pytest.mark.parametrize("reveal, status", [(False, 401), (True, 403)])
    def test_counts_as_a_failure(
            self, newcomer: Visitor, visit: Callable[..., Visitor],
            reveal: bool, status: int,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Two hundred from one network are five hashes, and not 200.

        Anybody can open an account that stays so, and knows its password.
        """
        guest = visit(reveal_registered=reveal)
        hashes = noting(monkeypatch, bcrypt, "hashpw", "checkpw")
        answers = [guest.logs_in(EMAIL, STRONG).status_code
                   for _ in range(200)]
        assert answers == [status] * 5 + [429] * 195
        assert hashes == ["checkpw"] * 5

    def test_counts_for_its_network_too(
            self, newcomer: Visitor, visit: Callable[..., Visitor]) -> None:
        """Many such accounts are no way around the count of one."""
        guest = visit(login_network_limit=Rate(3, HOUR))
        for each in "abcde":
            guest.registers(each + "@me.com", STRONG)
        assert [guest.logs_in(each + "@me.com", STRONG).status_code
                for each in "abcde"] == [401] * 3 + [429] * 2

    def test_waiting_for_the_mail_shuts_nobody_out(
            self, newcomer: Visitor, safe: Auth, mailbox: Mailbox) -> None:
        """Whoever was impatient gets in once the link is opened."""
        for _ in range(6):
            newcomer.logs_in(EMAIL, STRONG)
        safe.deliver_mail()
        newcomer.asks("PUT", "/verify_email", token=mailbox.token(EMAIL))
        assert newcomer.logs_in(EMAIL, STRONG).status_code == 200

    def test_is_allowed_once_proved(self, newcomer: Visitor, safe: Auth,
                                    mailbox: Mailbox) -> None:
        """By the link, or by a reset, which takes the same mailbox."""
        safe.deliver_mail()
        newcomer.asks("PUT", "/verify_email", token=mailbox.token(EMAIL))
        assert newcomer.logs_in(EMAIL, STRONG).status_code == 200

    def test_is_allowed_after_a_reset(self, newcomer: Visitor, safe: Auth,
                                      mailbox: Mailbox) -> None:
        """It takes the same mailbox as the link does."""
        newcomer.asks("POST", "/reset_password", email=EMAIL)
        safe.deliver_mail()
        newcomer.resets_password(mailbox.token(EMAIL), STRONGER)
        assert newcomer.logs_in(EMAIL, STRONGER).status_code == 200


class TestSquatter:
    """Who opens an account with another's address (CVE-2024-38351)."""

    WAITING = "thief@evil.example"

    @pytest.fixture
    def squatter(self, visit: Callable[..., Visitor]) -> Visitor:
        """Somebody who did, where that signs them in."""
        squatter = visit("198.51.100.66", require_verified=False)
        squatter.registers(EMAIL, STRONG)
        assert squatter.logs_in(EMAIL, STRONG).status_code == 200
        return squatter

    @pytest.fixture
    def owner(self, squatter: Visitor, guest: Visitor) -> Visitor:
        """The owner of the mailbox, who registers in good faith."""
        answer = guest.registers(EMAIL, STRONGER)
        assert answer.get_json() == {"email": EMAIL,
                                     "message": "user created"}
        return guest

    @pytest.fixture
    def token(self, owner: Visitor, safe: Auth, mailbox: Mailbox) -> str:
        """What the owner is mailed in answer to that."""
        safe.deliver_mail()
        assert mailbox.subjects(EMAIL)[-1] \
            == "You already have an account at Bienvenue"
        assert LINK + "reset=" in mailbox.text(EMAIL)
        return mailbox.token(EMAIL)

    def test_is_out_once_the_owner_resets(
            self, squatter: Visitor, owner: Visitor, token: str,
            db: DB) -> None:
        """Neither the password nor a session is any good."""
        assert squatter.sees_profile().status_code == 200
        assert owner.resets_password(token, STRONGER).status_code == 200
        assert squatter.sees_profile().status_code == 403
        assert squatter.logs_in(EMAIL, STRONG).status_code == 401
        assert db.find_all(Session) == []
        assert owner.logs_in(EMAIL, STRONGER).status_code == 200

    def test_is_no_known_device_any_more(
            self, squatter: Visitor, owner: Visitor, token: str,
            db: DB) -> None:
        """Its guesses count as those of any stranger."""
        before, = db.find_all(Device)
        owner.resets_password(token, STRONGER)
        after, = db.find_all(Device)
        assert after.digest != before.digest

    @pytest.mark.parametrize("mailed", [True, False])
    def test_cannot_move_the_account_afterwards(
            self, squatter: Visitor, owner: Visitor, token: str, safe: Auth,
            mailbox: Mailbox, mailed: bool) -> None:
        """A change of address dies with the reset, mailed or not."""
        squatter.asks("PUT", "/email", password=STRONG, email=self.WAITING)
        if mailed:
            safe.deliver_mail()
        owner.resets_password(token, STRONGER)
        safe.deliver_mail()
        links = links_to(mailbox, self.WAITING)
        assert len(links) == mailed
        for each in links:
            answer = squatter.asks("PUT", "/verify_email", token=each)
            assert_error(answer, 403, "token is not valid")
        owner.logs_in(EMAIL, STRONGER)
        assert owner.sees_profile().get_json() == {"email": EMAIL}

    def test_cannot_keep_a_link_of_before(
            self, squatter: Visitor, owner: Visitor, token: str, safe: Auth,
            mailbox: Mailbox) -> None:
        """Neither the link of the registration works, nor another reset."""
        registration, reset = links_to(mailbox, EMAIL)
        owner.resets_password(token, STRONGER)
        answer = squatter.asks("PUT", "/verify_email", token=registration)
        assert_error(answer, 403, "token is not valid")
        assert_error(squatter.resets_password(reset, STRONG), 403,
                     "reset_token is not valid")


class TestPasswordRules:
    """What may be a password, wherever one is set (NIST 3.1.1.2)."""

    # Parts of it are names, whatever stands between them.
    ADDRESS = "marie_curie.sklodowska+lab@labo-radium.me"
    SHORT = "is shorter than 15 characters: length is what makes guessing " \
            "slow, so take a sentence"
    COMMON = "is one of the common ones, which attackers try first: " \
             "choose another"
    NAMED = "contains a part of your address or of this service's name, " \
            "which attackers try first: choose another"
    DOORS = {"register": "password", "change": "new_password",
             "reset": "new_password"}

    # 15 characters of any kind, in any case or class.
    GOOD = (
        "zanzibarpotatoe", "940382716550482", "ZANZIBAR POTATO",
        "zanzibar " * 100 + "potato",
        # 15 as they are read, 30 code points as they are sent;
        unicodedata.normalize("NFD", "".join(map(chr, (
            231, 224, 233, 232, 249, 226, 234, 238, 244, 251, 235, 239, 252,
            255, 241)))),
        # 16 of them, and 28 UTF-16 code units.
        "\U0001f40d\U0001f9c0\U0001f956\U0001f377 zanzibar po")
    BAD = {
        "zanzibarpotato": SHORT, "Z4nz!b4rP0t@t0": SHORT,
        # 15 code points as sent, 14 as they are read; and 28, 14.
        "zanzibarpotate\u0301": SHORT, "e\u0301a\u0300" * 7: SHORT,
        "iloveyouforever": COMMON, "ILoveYouForever": COMMON,
        "passwordpassword": COMMON, "123456789012345": COMMON,
        "qwertyuiopasdfghjkl": COMMON, " " * 15: COMMON,
        "BIENVENUE les amis": NAMED, "it is an example of it": NAMED,
        "sklodowska for ever": NAMED, "It is RADIUM again!": NAMED}

    @pytest.fixture(params=DOORS)
    def door(self, request: Any) -> str:
        """Where the password is set."""
        return str(request.param)

    @pytest.fixture
    def sets(self, guest: Visitor, safe: Auth, mailbox: Mailbox, door: str
             ) -> Callable[[str], TestResponse]:
        """Somebody who sets a password there."""
        if door == "register":
            return lambda new: guest.registers(self.ADDRESS, new)
        guest.registers(self.ADDRESS, STRONG)
        guest.asks("POST", "/reset_password", email=self.ADDRESS)
        safe.deliver_mail()
        token = mailbox.token(self.ADDRESS)
        if door == "reset":
            return lambda new: guest.resets_password(token, new, self.ADDRESS)
        guest.resets_password(token, STRONG, self.ADDRESS)
        guest.logs_in(self.ADDRESS, STRONG)
        return lambda new: guest.asks(
            "PUT", "/password", current_password=STRONG, new_password=new)

    @pytest.mark.parametrize("password", GOOD, ids=range(len(GOOD)))
    def test_allows(self, guest: Visitor, password: str) -> None:
        """There is no rule of composition (ASVS 6.2.5, 6.2.9)."""
        assert guest.registers(self.ADDRESS, password).status_code == 200

    def test_refuses(self, sets: Callable[[str], TestResponse],
                     door: str) -> None:
        """And says which field breaks which rule, and why."""
        for password, rule in self.BAD.items():
            answer = sets(password)
            assert_error(answer, 400, self.DOORS[door] + " " + rule)
            assert cookies_of(answer) == {}

    def test_an_underscore_parts_names_as_well(self, guest: Visitor) -> None:
        """It stands in many an address, as a dot does (ASVS 6.2.11)."""
        answer = guest.registers(self.ADDRESS, "the curie brothers")
        assert_error(answer, 400, "password " + self.NAMED)

    def test_a_word_of_most_addresses_is_no_name(
            self, visit: Callable[..., Visitor]) -> None:
        """SERVICE_NAME=Acme Login bans the one word and not the other."""
        guest = visit(service_name="Acme Login")
        assert guest.registers(
            UNKNOWN, "raclette at every LOGIN").status_code == 200
        assert_error(guest.registers(UNVERIFIED, "raclette at every ACME"),
                     400, "password " + self.NAMED)

    def test_a_refusal_uses_nothing_up(
            self, sets: Callable[[str], TestResponse], guest: Visitor,
            db: DB) -> None:
        """No token, no address, no session: a better one goes through."""
        before = everything(db)
        assert sets("iloveyouforever").status_code == 400
        assert everything(db) == before
        assert sets(STRONGER).status_code == 200

    def test_a_shorter_one_is_enough_where_that_is_wanted(
            self, visit: Callable[..., Visitor]) -> None:
        """PASSWORD_MIN, where a second factor stands in front."""
        guest = visit(password_min=8)
        assert guest.registers(EMAIL, "potatoz").status_code == 400
        assert guest.registers(EMAIL, "potatoez").status_code == 200

    @pytest.mark.parametrize("password", ["x", "password", "bob@me.com"])
    def test_development_takes_any(
            self, visitor: Visitor, password: str) -> None:
        """As the contract has it, at every door."""
        assert visitor.registers(EMAIL, password).status_code == 200
        token = visitor.forgets_password()
        assert visitor.resets_password(token, password).status_code == 200
        visitor.logs_in(EMAIL, password)
        answer = visitor.asks("PUT", "/password", new_password=password,
                              current_password=password)
        assert answer.status_code == 200


class TestPepper:
    """A key that stands beside the database (OWASP, peppering)."""

    OLD, NEW = "o" * 16 + "l" * 16, "n" * 16 + "e" * 16

    def stored(self, db: DB) -> str:
        """Return the hash of the one user."""
        return db.find_user_by(email=EMAIL).hashed_password

    def keyed(self, pepper: str) -> str:
        """Return how a hash with this pepper starts."""
        return "hmac-sha384${}$2b$04$".format(passwords.pepper_id(pepper))

    def test_every_new_hash_is_keyed(
            self, visit: Callable[..., Visitor], member: Visitor,
            safe: Auth, mailbox: Mailbox, db: DB) -> None:
        """Registered, changed and reset."""
        guest = visit(pepper=self.OLD)
        guest.registers(UNKNOWN, STRONG)
        registered = db.find_user_by(email=UNKNOWN).hashed_password
        guest.asks("POST", "/reset_password", email=EMAIL)
        safe.deliver_mail()
        guest.resets_password(mailbox.token(EMAIL), STRONG)
        reset = self.stored(db)
        guest.logs_in(EMAIL, STRONG)
        guest.asks("PUT", "/password", new_password=STRONGER,
                   current_password=STRONG)
        for hashed in (registered, reset, self.stored(db)):
            assert hashed.startswith(self.keyed(self.OLD))

    def test_signing_in_moves_a_hash_to_the_pepper_of_today(
            self, visit: Callable[..., Visitor], member: Visitor,
            db: DB) -> None:
        """From none to the first, and from that to the next."""
        assert self.stored(db).startswith("$2b$04$")
        for today, before in ((self.OLD, ()), (self.NEW, (self.OLD,)),
                              (self.NEW, ())):
            guest = visit(pepper=today, pepper_old=before)
            assert guest.logs_in(EMAIL, STRONGER).status_code == 401
            assert guest.logs_in(EMAIL, STRONG).status_code == 200
            assert self.stored(db).startswith(self.keyed(today))

    def test_a_wrong_password_moves_nothing(
            self, visit: Callable[..., Visitor], member: Visitor,
            db: DB) -> None:
        """It would become the right one."""
        before = self.stored(db)
        visit(pepper=self.OLD).logs_in(EMAIL, STRONGER)
        assert self.stored(db) == before

    @pytest.mark.parametrize("changes", [
        {}, {"pepper": NEW}, {"pepper": NEW, "pepper_old": ("x" * 32,)}],
        ids=["none", "another", "others"])
    def test_without_its_pepper_a_hash_is_a_wrong_password(
            self, visit: Callable[..., Visitor], member: Visitor, db: DB,
            changes: Dict[str, Any],
            monkeypatch: pytest.MonkeyPatch) -> None:
        """After exactly one hash, and it is not lost by that."""
        visit(pepper=self.OLD).logs_in(EMAIL, STRONG)
        stored, guest = self.stored(db), visit("198.51.100.4", **changes)
        with monkeypatch.context() as patched:
            hashes = noting(patched, bcrypt, "hashpw", "checkpw")
            assert guest.logs_in(EMAIL, STRONG).status_code == 401
        assert hashes == ["checkpw"]
        assert self.stored(db) == stored
        assert visit(pepper=self.OLD).logs_in(EMAIL, STRONG).status_code \
            == 200


class TestDeleteProfile:
    """The way out, with everything."""

    def test_leaves_nothing_of_the_user(
            self, signed_in: Visitor, new_guest: Callable[..., Visitor],
            safe: Auth, safe_settings: Settings, db: DB) -> None:
        """But how often a network tried, and that somebody asked for mail.

        The latter names no user: it is the same for an unknown address.
        """
        phone, stranger = new_guest(), new_guest("198.51.100.9")
        signed_in.asks("PUT", "/password", current_password=STRONG,
                       new_password=STRONG)
        signed_in.asks("GET", "/profile/export")
        phone.logs_in(EMAIL, STRONG)
        phone.logs_in(EMAIL, "wrong")
        stranger.logs_in(EMAIL, "wrong")
        signed_in.asks("DELETE", "/profile", password="wrong")
        for path in ("/reset_password", "/verify_email"):
            signed_in.asks("POST", path, email=EMAIL)
        safe.deliver_mail()
        signed_in.asks("POST", "/reset_password", email=EMAIL)
        signed_in.asks("PUT", "/email", password=STRONG, email=UNKNOWN)
        full = everything(db)
        assert all(full.values()), full
        answer = signed_in.asks("DELETE", "/profile", password=STRONG)
        assert answer.status_code == 204
        networks = networks_lanes(db, safe_settings, HOME, "198.51.100.9")
        assert {each.key for each in db.find_all(Attempt)} <= networks
        assert {(each.fact, each.user_id) for each in db.find_all(Entry)} \
            == {("reset.requested", None), ("verify.requested", None)}
        left = everything(db)
        del left["attempts"], left["audit"]
        assert not any(left.values()), left

    def test_leaves_no_count_of_an_address_of_before(
            self, signed_in: Visitor, new_guest: Callable[..., Visitor],
            safe: Auth, safe_settings: Settings, mailbox: Mailbox,
            db: DB) -> None:
        """Nor of one that the user only asked for, mailed or not."""
        new_guest("198.51.100.9").logs_in(EMAIL, "wrong")
        for path in ("/reset_password", "/verify_email"):
            signed_in.asks("POST", path, email=EMAIL)
        signed_in.asks("PUT", "/email", password=STRONG, email=UNVERIFIED)
        safe.deliver_mail()
        assert signed_in.asks(
            "PUT", "/verify_email",
            token=mailbox.token(UNVERIFIED)).status_code == 200
        signed_in.asks("PUT", "/email", password=STRONG, email=UNKNOWN)
        safe.deliver_mail()
        assert len(links_to(mailbox, UNKNOWN)) == 1
        assert signed_in.asks("DELETE", "/profile",
                              password=STRONG).status_code == 204
        networks = networks_lanes(db, safe_settings, HOME, "198.51.100.9")
        assert {each.key for each in db.find_all(Attempt)} <= networks

    def test_leaves_no_fact_that_names_who_is_gone(
            self, signed_in: Visitor, new_guest: Callable[..., Visitor],
            db: DB, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also if they went while a password was checked."""
        verify = passwords.verify_password

        def verify_then_go(password: str, *how: Any) -> bool:
            """Let the owner leave while somebody guesses."""
            monkeypatch.setattr(passwords, "verify_password", verify)
            answer = signed_in.asks("DELETE", "/profile", password=STRONG)
            assert answer.status_code == 204
            return verify(password, *how)
        monkeypatch.setattr(passwords, "verify_password", verify_then_go)
        assert new_guest("198.51.100.9").logs_in(
            EMAIL, "wrong").status_code == 401
        assert [(each.fact, each.user_id) for each in db.find_all(Entry)] \
            == [("login.refused", None)]

    def test_leaves_others_alone(
            self, signed_in: Visitor, new_guest: Callable[..., Visitor],
            safe: Auth, mailbox: Mailbox, db: DB) -> None:
        """Their sessions, links and mails are not the user's."""
        other = new_guest()
        other.registers(UNVERIFIED, STRONG)
        safe.deliver_mail()
        other.asks("PUT", "/verify_email", token=mailbox.token(UNVERIFIED))
        other.logs_in(UNVERIFIED, STRONG)
        other.asks("POST", "/reset_password", email=UNVERIFIED)
        signed_in.asks("DELETE", "/profile", password=STRONG)
        safe.deliver_mail()
        assert other.sees_profile().get_json() == {"email": UNVERIFIED}
        assert other.resets_password(mailbox.token(UNVERIFIED), STRONGER,
                                     UNVERIFIED).status_code == 200

    def test_development_leaves_nothing_at_all(
            self, visitor: Visitor, db: DB) -> None:
        """It counts nobody."""
        visitor.registers()
        visitor.forgets_password()
        visitor.logs_in()
        visitor.asks("DELETE", "/profile", password=PASSWORD)
        left = everything(db)
        assert not any(left.values()), left


def networks_lanes(db: DB, settings: Settings, *networks: str) -> Set[str]:
    """Return the key of every count that is kept of these networks."""
    throttle = Throttle(db, settings)
    return {lane.key for name in ("login", "register", "mail")
            for network in networks
            for lane in throttle.network(name, network)}


class TestRetryAfter:
    """When to come back."""

    @pytest.mark.parametrize("fraction", [0.0, 0.25, 0.999])
    def test_of_a_throttled_sign_in(
            self, guest: Visitor, clock: Clock, fraction: float) -> None:
        """Whole seconds, at least one, whatever the clock's fraction."""
        clock.advance(fraction)
        for _ in range(5):
            guest.logs_in(EMAIL, "wrong")
        answer = guest.logs_in(EMAIL, "wrong")
        assert_error(answer, 429, "too many attempts, try again later")
        assert answer.headers.getlist("Retry-After") == ["1"]

    def test_of_a_store_that_is_busy(
            self, guest: Visitor, db: DB,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """As soon as one second later; nobody is let through uncounted."""
        def busy(*_: Any, **__: Any) -> Any:
            """Fail as a locked database does."""
            raise Unavailable()
        monkeypatch.setattr(db, "find", busy)
        answer = guest.logs_in(EMAIL, STRONG)
        assert_error(answer, 503, "the service is busy, try again in a moment")
        assert answer.headers.getlist("Retry-After") == ["1"]

    @pytest.mark.parametrize("path", ["/", "/profile", "/nowhere"])
    def test_of_anything_else(self, guest: Visitor, path: str) -> None:
        """Coming back changes nothing."""
        answer = guest.asks("GET", path)
        assert "Retry-After" not in answer.headers
