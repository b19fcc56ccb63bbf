#!/usr/bin/env python3
"""The web face beyond the card: cookies, the guard, errors, headers."""
from __future__ import annotations

import io
import logging
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import BaseWSGIServer

from app import REMARKABLE, STATUS, Chunks, create_app, index, listen
from audit import Caller
from auth import Auth
from db import DB
from errors import (
    AuthError, CrossSite, EmailTaken, NotMigrated, Unavailable)
from settings import Settings
from tests.helpers import (
    EMAIL, PASSWORD, ROOT, STRANGE_TOKEN, Clock, Server, Visitor,
    assert_error, session_cookie)

ROUTES = [
    ("GET", "/"), ("POST", "/users"), ("POST", "/sessions"),
    ("DELETE", "/sessions"), ("GET", "/profile"), ("DELETE", "/profile"),
    ("GET", "/sessions"), ("DELETE", "/sessions/1"),
    ("DELETE", "/sessions/others"), ("GET", "/profile/export"),
    ("PUT", "/password"), ("PUT", "/email"), ("POST", "/verify_email"),
    ("PUT", "/verify_email"),
    ("POST", "/reset_password"), ("PUT", "/reset_password")]
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO"]
ONLY_HERE = ("this is the development mode, which answers only its own "
             "machine: set AUTH_ENV=production to serve others")
# Each answers a request and prints its id.
TWO_WORKERS = """
import os
from routes.guards import Named
named = Named(lambda environ, start: start("200 OK", []), {})
for _ in range(2):
    if not os.fork():
        named({}, lambda _, headers: print(dict(headers)["X-Request-ID"]))
        os.sys.stdout.flush()
        os._exit(0)
    os.wait()
"""


@pytest.fixture
def application(auth: Auth) -> Flask:
    """The web application on the fixture's service."""
    return create_app(auth)


@pytest.fixture
def tool(application: Flask) -> FlaskClient:
    """A client that keeps no cookies, as curl does."""
    return application.test_client(use_cookies=False)


@pytest.fixture
def registered(visitor: Visitor) -> Visitor:
    """Somebody with an account, not signed in."""
    visitor.registers()
    return visitor


@pytest.fixture
def signed_in(registered: Visitor) -> Visitor:
    """Somebody with an account and a session."""
    registered.logs_in()
    return registered


class TestCreateApp:
    """Building the application."""

    def test_warns_once_of_what_development_relaxes(
            self, auth: Auth, caplog: pytest.LogCaptureFixture) -> None:
        """In one line that names the way out."""
        create_app(auth)
        record, = caplog.records
        assert record.levelno == logging.WARNING
        assert record.getMessage().startswith("development mode: ")
        assert "AUTH_ENV=production" in record.getMessage()


class TestUsers:
    """Opening an account over HTTP."""

    def test_unknown_fields_set_nothing(
            self, visitor: Visitor, auth: Auth) -> None:
        """A column is not a form field (CVE-2018-20301)."""
        visitor.asks("POST", "/users", email=EMAIL, password=PASSWORD, id="7",
                     hashed_password="x", session_id="x", reset_token="x")
        session = auth.create_session(EMAIL)
        user = auth.get_user_from_session_id(session)
        assert user is not None
        assert (user.id, user.reset_token) == (1, None)
        assert auth.valid_login(EMAIL, PASSWORD)

    def test_answers_the_address_as_it_was_typed(
            self, visitor: Visitor) -> None:
        """While the profile shows it as it is stored."""
        answer = visitor.registers("Bob@ME.com")
        assert answer.get_json()["email"] == "Bob@ME.com"
        visitor.logs_in("BOB@me.com")
        assert visitor.sees_profile().get_json() == {"email": EMAIL}


class TestLogin:
    """Signing in over HTTP."""

    def test_cookie_is_out_of_reach(self, registered: Visitor) -> None:
        """Of scripts and of other sites, for as long as a session lasts."""
        _, *attributes = registered.logs_in().headers["Set-Cookie"].split("; ")
        assert sorted(attributes)[1:] == [
            "HttpOnly", "Max-Age=2592000", "Path=/", "SameSite=Lax"]

    def test_token_is_in_the_cookie_only(self, registered: Visitor) -> None:
        """Not in the body, where scripts can read it (ASVS 3.3.4)."""
        answer = registered.logs_in()
        assert session_cookie(answer) not in answer.get_data(as_text=True)

    def test_always_opens_a_new_session(
            self, registered: Visitor, tool: FlaskClient) -> None:
        """A planted cookie is never adopted (session fixation)."""
        answer = tool.post(
            "/sessions", data={"email": EMAIL, "password": PASSWORD},
            headers={"Cookie": "session_id=" + STRANGE_TOKEN})
        assert session_cookie(answer) != STRANGE_TOKEN

    def test_ends_the_session_of_before(
            self, registered: Visitor, tool: FlaskClient) -> None:
        """It would live on where nobody but a thief uses it (ASVS 7.2.4)."""
        old = session_cookie(registered.logs_in())
        assert registered.logs_in(password="wrong").status_code == 401
        assert registered.sees_profile().status_code == 200
        registered.logs_in()
        answer = tool.get("/profile", headers={"Cookie": "session_id=" + old})
        assert_error(answer, 403, "not signed in")
        assert registered.sees_profile().status_code == 200

    def test_notes_the_browser(self, registered: Visitor, auth: Auth,
                               monkeypatch: pytest.MonkeyPatch) -> None:
        """Its name and address, for the owner to recognise it by."""
        noted: List[Caller] = []

        def acting_for(caller: Caller) -> Auth:
            """Keep what the route knows of the device."""
            noted.append(caller)
            return auth
        monkeypatch.setattr(auth, "acting_for", acting_for)
        registered.browser.post("/sessions", headers={"User-Agent": "Lynx"})
        assert noted[0][:2] == ("127.0.0.1", "Lynx")

    def test_a_new_address_answers_as_a_wrong_password(
            self, registered: Visitor) -> None:
        """The same bytes and the same headers (ASVS 6.3.8)."""
        wrong, unknown = (
            registered.browser.post(
                "/sessions", headers={"X-Request-ID": "one"},
                data={"email": email, "password": "wrong"})
            for email in (EMAIL, "eve@me.com"))
        assert wrong.status_code == unknown.status_code == 401
        assert wrong.get_data() == unknown.get_data()
        assert list(wrong.headers) == list(unknown.headers)


class TestLogout:
    """Signing out over HTTP."""

    def test_clears_the_cookie(self, signed_in: Visitor) -> None:
        """The browser forgets it at once."""
        answer = signed_in.logs_out()
        assert session_cookie(answer) == ""
        assert "Max-Age=0" in answer.headers["Set-Cookie"]

    def test_goes_nowhere_else(self, signed_in: Visitor) -> None:
        """Whatever the query asks for (no open redirect)."""
        answer = signed_in.asks("DELETE", "/sessions?next=//evil.example")
        assert answer.status_code == 302
        assert answer.headers["Location"] == "/"

    def test_other_devices_go_on(
            self, new_visitor: Callable[[], Visitor]) -> None:
        """Signing out here signs out here."""
        phone, laptop = new_visitor(), new_visitor()
        phone.registers()
        phone.logs_in()
        laptop.logs_in()
        phone.logs_out()
        assert_error(phone.sees_profile(), 403, "not signed in")
        assert laptop.sees_profile().status_code == 200


class TestProfile:
    """Telling who is asking, by cookie or by header."""

    def test_by_bearer(self, registered: Visitor, tool: FlaskClient,
                       auth: Auth) -> None:
        """Programs carry the session in a header."""
        for scheme in ("Bearer ", "bearer "):
            answer = tool.get("/profile", headers={
                "Authorization": scheme + str(auth.create_session(EMAIL))})
            assert answer.get_json() == {"email": EMAIL}

    @pytest.mark.parametrize("header", [
        "Bearer", "Bearer ", "Basic {}", "{}", "Bearer x{}", "Token {}"])
    def test_other_authorization_is_nobody(
            self, registered: Visitor, tool: FlaskClient, auth: Auth,
            header: str) -> None:
        """Only a bearer of a live session is somebody."""
        answer = tool.get("/profile", headers={
            "Authorization": header.format(auth.create_session(EMAIL))})
        assert_error(answer, 403, "not signed in")

    def test_bearer_goes_before_the_cookie(
            self, registered: Visitor, tool: FlaskClient,
            auth: Auth) -> None:
        """A bad one is not helped by a good cookie."""
        answer = tool.get("/profile", headers={
            "Authorization": "Bearer " + STRANGE_TOKEN,
            "Cookie": "session_id={}".format(auth.create_session(EMAIL))})
        assert_error(answer, 403, "not signed in")

    def test_two_session_cookies_are_nobody(
            self, registered: Visitor, tool: FlaskClient,
            auth: Auth) -> None:
        """Which of them a planted one shadows must not matter."""
        token = auth.create_session(EMAIL)
        for pair in ("session_id={0}; session_id=x",
                     "session_id=x; session_id={0}"):
            answer = tool.get("/profile",
                              headers={"Cookie": pair.format(token)})
            assert_error(answer, 403, "not signed in")

    def test_nameless_cookie_is_nobody(
            self, registered: Visitor, tool: FlaskClient,
            auth: Auth) -> None:
        """It could be planted from a sibling domain (CVE-2023-23934)."""
        answer = tool.get("/profile", headers={
            "Cookie": "=session_id={}".format(auth.create_session(EMAIL))})
        assert_error(answer, 403, "not signed in")

    def test_an_idle_session_ends(
            self, signed_in: Visitor, clock: Clock) -> None:
        """The browser's cookie lives longer, and does not matter."""
        clock.advance(7 * 86400)
        assert_error(signed_in.sees_profile(), 403, "not signed in")

    def test_a_token_in_the_query_is_nobody(
            self, registered: Visitor, tool: FlaskClient,
            auth: Auth) -> None:
        """Queries end up in logs (ASVS 14.2.1)."""
        answer = tool.get("/profile?session_id={}".format(
            auth.create_session(EMAIL)))
        assert_error(answer, 403, "not signed in")


class TestUpdatePassword:
    """Setting a new password over HTTP."""

    def test_signs_nobody_in(self, registered: Visitor) -> None:
        """And whoever was, no more."""
        registered.logs_in()
        token = registered.forgets_password()
        answer = registered.resets_password(token, "new")
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
        assert_error(registered.sees_profile(), 403, "not signed in")

    def test_a_used_token_is_refused(self, registered: Visitor) -> None:
        """In the same words as a made-up one."""
        token = registered.forgets_password()
        registered.resets_password(token, "new")
        for bad in (token, STRANGE_TOKEN, "nope"):
            assert_error(registered.resets_password(bad, "newer"), 403,
                         "reset_token is not valid")

    def test_answers_the_address_as_it_was_typed(
            self, registered: Visitor) -> None:
        """Any spelling of the owner's will do."""
        answer = registered.resets_password(
            registered.forgets_password(), "new", "BOB@me.com")
        assert answer.get_json() == {
            "email": "BOB@me.com", "message": "Password updated"}


class TestDevelopmentGuard:
    """This machine only."""

    @pytest.mark.parametrize("host", [
        "localhost", "localhost:5000", "LOCALHOST:1", "127.0.0.1",
        "127.0.0.1:5000", "[::1]", "[::1]:5000", "0.0.0.0:5000"])
    def test_loopback_names(self, tool: FlaskClient, host: str) -> None:
        """All that tools use, on any port."""
        assert tool.get("/", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize("host", [
        "evil.example", "localhost.evil.example", "evil.example:5000",
        "localhost@evil.example", "127.0.0.1.evil.example", "10.0.0.1",
        "127.0.0.2", "localhost:", "127.1", "[::2]",
        "localhost,evil.example"])
    @pytest.mark.parametrize("method, path", [
        ("GET", "/"), ("POST", "/reset_password"), ("GET", "/nowhere")])
    def test_other_names(self, tool: FlaskClient, host: str, method: str,
                         path: str) -> None:
        """A web page with a name of its own gets nothing."""
        answer = tool.open(path, method=method, headers={"Host": host})
        assert_error(answer, 403, ONLY_HERE)

    @pytest.mark.parametrize("peer", [
        "127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
    def test_loopback_peers(self, tool: FlaskClient, peer: str) -> None:
        """IPv4, IPv6, and the one inside the other."""
        answer = tool.get("/", environ_overrides={"REMOTE_ADDR": peer})
        assert answer.status_code == 200

    @pytest.mark.parametrize("peer", [
        "10.0.0.1", "192.168.1.1", "8.8.8.8", "::2", "::ffff:10.0.0.1", "",
        "localhost", "fe80::1"])
    def test_other_peers(self, tool: FlaskClient, peer: str) -> None:
        """A server that listens everywhere still answers itself only."""
        answer = tool.get("/", environ_overrides={"REMOTE_ADDR": peer})
        assert_error(answer, 403, ONLY_HERE)

    @pytest.mark.parametrize("name", [
        "Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host",
        "X-Forwarded-Proto", "x-forwarded-anything", "X-Real-IP"])
    def test_proxies(self, tool: FlaskClient, name: str) -> None:
        """Behind one, every stranger would look like this machine."""
        assert_error(tool.get("/", headers={name: "127.0.0.1"}), 403,
                     ONLY_HERE)


class TestOtherSites:
    """A page of another site changes nothing here."""

    @pytest.mark.parametrize("method, path", [
        (method, path) for method, path in ROUTES if method != "GET"])
    @pytest.mark.parametrize("headers", [
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": ""}, {"Sec-Fetch-Site": "same-origin, none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Origin": "https://evil.example"}, {"Origin": "null"},
        {"Origin": ""}, {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://localhost:3000"}], ids=str)
    def test_is_refused(self, tool: FlaskClient, method: str, path: str,
                        headers: Dict[str, str]) -> None:
        """On every route that changes something, signing in included."""
        answer = tool.open(path, method=method, headers=headers)
        assert_error(answer, 403, CrossSite.default)

    @pytest.mark.parametrize("headers", [
        {}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"},
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"}], ids=str)
    def test_our_own_pages_and_programs_are_served(
            self, tool: FlaskClient, headers: Dict[str, str]) -> None:
        """What is no browser sends neither header."""
        form = {"email": EMAIL, "password": PASSWORD}
        answer = tool.post("/users", data=form, headers=headers)
        assert answer.status_code == 200

    def test_with_a_port(self, tool: FlaskClient) -> None:
        """The origin is ours, port and all."""
        form = {"email": EMAIL, "password": PASSWORD}
        answer = tool.post("/users", data=form, headers={
            "Host": "127.0.0.1:5000", "Origin": "http://127.0.0.1:5000"})
        assert answer.status_code == 200

    def test_nothing_happened(self, signed_in: Visitor) -> None:
        """The victim's browser sent the cookie, and nothing came of it."""
        answer = signed_in.browser.delete(
            "/sessions", headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403
        assert signed_in.sees_profile().status_code == 200

    def test_following_a_link_is_no_change(self, signed_in: Visitor) -> None:
        """Reading is allowed from anywhere; other pages cannot see it."""
        answer = signed_in.browser.get(
            "/profile", headers={"Sec-Fetch-Site": "cross-site",
                                 "Origin": "https://evil.example"})
        assert answer.status_code == 200
        assert "Access-Control-Allow-Origin" not in answer.headers


class TestErrors:
    """One shape, whatever went wrong."""

    def test_unknown_path(self, tool: FlaskClient) -> None:
        """What is no route is 404, in JSON."""
        for path in ("/nowhere", "/users/", "/users//", "/.git/config"):
            answer = tool.get(path)
            assert answer.status_code == 404
            assert list(answer.get_json()) == ["message"]

    def test_doubled_slash(self, application: Flask) -> None:
        """A path is what is written: no redirect in HTML."""
        application.add_url_rule("/one/two", view_func=index, endpoint="two")
        tool = application.test_client()
        assert tool.get("/one/two").status_code == 200
        assert tool.get("/one//two").status_code == 404

    def test_empty_path(self, tool: FlaskClient) -> None:
        """What some servers make of an address without a slash."""
        answer = tool.get("/", environ_overrides={"PATH_INFO": ""})
        assert answer.status_code == 404
        assert list(answer.get_json()) == ["message"]

    @pytest.mark.parametrize("method, path", [
        (method, path) for path in sorted({path for _, path in ROUTES})
        for method in METHODS if (method, path) not in ROUTES])
    def test_other_methods(
            self, tool: FlaskClient, method: str, path: str) -> None:
        """405 with what is allowed, and nothing else exists."""
        allowed = {each for each, where in ROUTES if where == path}
        answer = tool.open(path, method=method)
        assert answer.status_code == 405
        assert list(answer.get_json()) == ["message"]
        assert set(answer.headers["Allow"].split(", ")) - {"HEAD"} == allowed

    @pytest.mark.parametrize("error, status", [
        (error, status) for error, status in STATUS.items()
        if error not in (EmailTaken, NotMigrated)])
    @pytest.mark.made_up
    def test_each_refusal_has_its_status(
            self, tool: FlaskClient, auth: Auth, error: Any, status: int,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """From the one table."""
        def refuse(*_: Any) -> None:
            """Refuse in this way."""
            raise error("told to a person")
        monkeypatch.setattr(auth, "log_out", refuse)
        assert_error(tool.delete("/sessions"), status, "told to a person")

    def test_unavailable_says_when_to_come_back(
            self, tool: FlaskClient, auth: Auth,
            monkeypatch: pytest.MonkeyPatch,
            caplog: pytest.LogCaptureFixture) -> None:
        """And logs why."""
        def locked(*_: Any) -> None:
            """Fail as a locked database does."""
            raise Unavailable() from OSError("database is locked")
        monkeypatch.setattr(auth, "log_out", locked)
        answer = tool.delete("/sessions")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
        assert "database is locked" in caplog.text

    @pytest.mark.parametrize("error", REMARKABLE)
    @pytest.mark.made_up
    def test_a_remarkable_refusal_is_logged_by_its_code(
            self, tool: FlaskClient, auth: Auth, error: Any,
            monkeypatch: pytest.MonkeyPatch,
            caplog: pytest.LogCaptureFixture) -> None:
        """For programs that watch the log; with who it was (ASVS 16.3)."""
        def refuse(*_: Any) -> None:
            """Refuse in this way."""
            raise error()
        monkeypatch.setattr(auth, "log_out", refuse)
        caplog.clear()
        tool.delete("/sessions", headers={"X-Request-ID": "one"})
        line, = caplog.records
        assert vars(line)["fields"] == {
            "code": error.code, "network": "127.0.0.1", "request_id": "one"}

    def test_a_mistake_of_ours_is_logged_and_not_told(
            self, tool: FlaskClient, auth: Auth,
            monkeypatch: pytest.MonkeyPatch,
            caplog: pytest.LogCaptureFixture) -> None:
        """Neither the cause nor a traceback leaves the service."""
        def fail(*_: Any) -> None:
            """Fail as a programming error does."""
            raise KeyError("SELECT secrets")
        monkeypatch.setattr(auth, "log_out", fail)
        assert_error(tool.delete("/sessions"), 500,
                     "the service made a mistake; it is logged")
        assert "Traceback" in caplog.text and "SELECT secrets" in caplog.text

    def test_an_error_without_a_status_is_a_mistake_of_ours(
            self, tool: FlaskClient, auth: Auth,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """A new error must be put in the table."""
        def refuse(*_: Any) -> None:
            """Refuse in a way nobody planned."""
            raise AuthError("unplanned")
        monkeypatch.setattr(auth, "log_out", refuse)
        assert tool.delete("/sessions").status_code == 500


class TestHeaders:
    """What no answer goes without."""

    @pytest.mark.parametrize("method, path", ROUTES + [
        ("GET", "/nowhere"), ("PATCH", "/users"), ("HEAD", "/")])
    def test_on_every_answer(
            self, tool: FlaskClient, method: str, path: str) -> None:
        """JSON that is neither kept nor guessed at."""
        headers = tool.open(path, method=method).headers
        assert headers["Content-Type"] == "application/json"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Content-Security-Policy"].startswith(
            "default-src 'none'; ")

    def test_on_an_answer_to_a_stranger(self, tool: FlaskClient) -> None:
        """The guard's too."""
        headers = tool.get("/", headers={"Via": "x"}).headers
        assert headers["Cache-Control"] == "no-store"


class TestRequestId:
    """What connects an answer with the line in the log."""

    def test_is_made_for_each(self, tool: FlaskClient) -> None:
        """32 characters, never twice."""
        first, second = (tool.get("/").headers["X-Request-ID"]
                         for _ in range(2))
        assert len(first) == 32 and first != second

    def test_is_another_in_each_worker(self) -> None:
        """Which are forked from one process, with all that it knows."""
        first, second = subprocess.check_output(
            [sys.executable, "-c", TWO_WORKERS], cwd=str(ROOT)).split()
        assert len(first) == len(second) == 32 and first != second

    def test_of_the_caller_is_kept(self, tool: FlaskClient) -> None:
        """So that it goes through a chain of services."""
        answer = tool.get("/nowhere", headers={"X-Request-ID": "a.B-1_"})
        assert answer.headers["X-Request-ID"] == "a.B-1_"

    @pytest.mark.parametrize("given", [
        "", "a b", "a\x1b[31m", "x" * 65, "\u00e9", "a;b", "<b>"], ids=ascii)
    def test_unfit_for_a_log_is_replaced(
            self, tool: FlaskClient, given: str) -> None:
        """Nobody writes into our log (ASVS 16.4.1)."""
        answer = tool.get("/", headers={"X-Request-ID": given})
        assert re.match("[0-9a-f]{32}\\Z", answer.headers["X-Request-ID"])

    def test_is_in_the_log_of_a_mistake(
            self, tool: FlaskClient, auth: Auth,
            monkeypatch: pytest.MonkeyPatch,
            caplog: pytest.LogCaptureFixture) -> None:
        """The client can name the line that explains its 500."""
        monkeypatch.setattr(auth, "log_out", None)
        answer = tool.delete("/sessions", headers={"X-Request-ID": "abc-1"})
        assert answer.status_code == 500
        assert "in request abc-1" in caplog.text


class TestAnonymousRequests:
    """Nobody fills the database by asking."""

    def test_create_no_row(self, tool: FlaskClient, db: DB,
                           registered: Visitor,
                           monkeypatch: pytest.MonkeyPatch) -> None:
        """A request without a session writes nothing (CVE-2015-5143)."""
        def write(*_: Any, **__: Any) -> None:
            """Fail the request that writes."""
            raise AssertionError("a row was written")
        for verb in ("add", "change", "delete"):
            monkeypatch.setattr(db, verb, write)
        for cookie in ("", "session_id=", "session_id=" + STRANGE_TOKEN):
            for method, path in ROUTES:
                if (method, path) != ("POST", "/users"):
                    answer = tool.open(
                        path, method=method, headers={"Cookie": cookie})
                    assert answer.status_code < 500


class TestListen:
    """Flask's own server, on a port of this process."""

    @pytest.fixture
    def server(self) -> Iterator[BaseWSGIServer]:
        """The server of the service at the root of app.py."""
        listening = listen(Settings(port=0))
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()
        listening.server_close()

    def exchange(self, server: BaseWSGIServer, request: bytes) -> bytes:
        """Send raw bytes and return all that comes back."""
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(request)
            return b"".join(iter(lambda: raw.recv(4096), b""))

    def test_serves(self, server: BaseWSGIServer) -> None:
        """The application of the module."""
        answer = self.exchange(
            server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b'{"message":"Bienvenue"}\n')

    @pytest.mark.parametrize("request_line", [
        b"", b"  ", b"GARBAGE", b"GET / HTTP/9.9", b"GET * HTTP/1.1",
        b"GET http://[ HTTP/1.1"], ids=ascii)
    def test_what_is_no_request_is_answered_in_json(
            self, server: BaseWSGIServer, request_line: bytes) -> None:
        """With a status and headers, and blaming the client."""
        answer = self.exchange(
            server, request_line + b"\r\nHost: localhost\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.split()[1] == b"400"
        assert b"Content-Type: application/json" in head
        assert b"Cache-Control: no-store" in head
        assert body == b'{"message":"the request is not valid HTTP"}\n'


class TestChunks:
    """A chunked body at Flask's own server."""

    @pytest.mark.parametrize("sent, read", [
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"0\r\n\r\n", b"")])
    def test_is_what_was_sent(self, sent: bytes, read: bytes) -> None:
        """However many chunks it came in."""
        assert Chunks(io.BytesIO(sent)).read(100) == read

    def test_fills_no_more_than_is_asked_for(self) -> None:
        """The rest comes with the next look."""
        body = Chunks(io.BytesIO(b"6\r\nabcdef\r\n0\r\n\r\n"))
        assert [body.read(4), body.read(4), body.read(4)] == [
            b"abcd", b"ef", b""]

    @pytest.mark.parametrize("sent", [
        b"ffffffff\r\nabc", b"5\r\nabc", b"3\r\nabc\r\nffff\r\nde",
        b"64\r\n" + b"x" * 99])
    def test_that_breaks_off_is_no_body(self, sent: bytes) -> None:
        """Least of all with somebody else's memory at its end."""
        with pytest.raises(OSError):
            Chunks(io.BytesIO(sent)).read(16385)

    def test_is_read_by_the_server(self, tmp_path: Path) -> None:
        """A hundred bodies that break off change nothing, and crash it not."""
        server = Server(tmp_path)
        try:
            for _ in range(100):
                with socket.create_connection(
                        ("127.0.0.1", server.port), timeout=10) as raw:
                    raw.sendall(
                        b"POST /users HTTP/1.1\r\nHost: localhost\r\n"
                        b"Content-Type: application/x-www-form-urlencoded\r\n"
                        b"Transfer-Encoding: chunked\r\n\r\n"
                        b"ffffffff\r\npassword=pw&email=bob@me.com")
                    raw.shutdown(socket.SHUT_WR)
                    answer = b"".join(iter(lambda: raw.recv(4096), b""))
                assert answer.startswith(b"HTTP/1.1 400 "), answer
                assert b"the body ended early" in answer
        finally:
            server.stop()
