#!/usr/bin/env python3
"""An app behind nginx and Caddy, as the files in deploy/ set them up.

Nothing is a stand-in: the proxies of Debian, `python3 app.py` in production,
a mail server. The app itself lets everybody in.
"""
from __future__ import annotations

import json
import re
import socket
import ssl
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, Iterator, List, Type

import pytest

from app import create_app
from auth import Auth
from errors import Unavailable
from tests.helpers import (
    EMAIL, ROOT, STRANGE_TOKEN, STRONG, Answer, link_token)
from tests.machine import free_port, wait_until
from tests.proxies import (
    HOST, Caddy, Heard, Nginx, Proxy, SampleApp, connections_to, message)
from tests.smtp_server import SmtpServer
from tests.test_going_live import DEVICE, SESSION, Live
from tests.test_going_live import HOST as OTHER_HOST

pytestmark = pytest.mark.one_database
URL = "https://" + HOST
SQUATTED = "ceo@me.com"
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
# What one waits for at most that takes milliseconds, on a busy machine.
GENEROUS = 5
# Many an app makes the same variable of all of these.
ALIASES = ["Remote-User", "REMOTE-USER", "Remote_User", "remote_user",
           "Remote.User", "Remote~User", "Remote!User"]
FILES = ["deploy/nginx/bienvenue.conf", "deploy/caddy/Caddyfile",
         "deploy/traefik/bienvenue.yml"]
# Routes that the world is not led to; `/` is the app's.
INSIDE = {"", "forward_auth", "healthz", "readyz", "metrics"}


class Site:
    """A host on which a proxy, Bienvenue and an app work together."""

    def __init__(self, service: Live, app: SampleApp, proxy: Proxy) -> None:
        """Put the proxy before the other two."""
        self.service, self.app, self.proxy = service, app, proxy

    def logs_in(self, email: str = EMAIL, **options: Any) -> Dict[str, str]:
        """Sign in through the proxy; return the headers of a browser then."""
        answer = self.proxy.ask("POST", "/sessions", email=email,
                                password=STRONG, **options)
        assert answer.status == 200, answer.body
        return {"Cookie": "; ".join(
            line.partition(";")[0]
            for line in answer.headers.get_all("Set-Cookie", []))}

    def reaches(self, headers: Dict[str, str], method: str = "GET",
                **options: Any) -> Heard:
        """Ask for the app, and return the request that it heard."""
        before = len(self.app.heard)
        answer = self.proxy.ask(method, "/app", headers, **options)
        assert (answer.status, answer.body) == (200, b"the app\n")
        heard, = self.app.heard[before:]
        return heard

    def refuses(self, headers: Dict[str, str], method: str = "GET",
                path: str = "/app", **options: Any) -> Answer:
        """Ask for the app, which must hear nothing, and return the answer."""
        before = len(self.app.heard)
        answer = self.proxy.ask(method, path, headers, **options)
        assert self.app.heard[before:] == []
        return answer


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Bienvenue with two users, of whom one has proven the mailbox."""
    with SmtpServer() as mail, ExitStack() as ending:
        made = Live(
            tmp_path_factory.mktemp("service"), MAIL_URL=mail.url,
            PUBLIC_URL=URL, TRUSTED_PROXIES="1", TRUSTED_HOSTS=OTHER_HOST,
            SIGN_IN_PATH="/account", REQUIRE_VERIFIED="0")
        ending.callback(made.stop)
        assert [made.registers(EMAIL), made.registers(SQUATTED)] == [200, 200]
        mail.wait_for(EMAIL)
        assert made.ask("PUT", "/verify_email", token=link_token(
            mail.text(EMAIL))).status == 200
        yield made
        assert "Traceback" not in made.log()


@pytest.fixture(scope="module")
def app() -> Iterator[SampleApp]:
    """An app that lets everybody in."""
    made = SampleApp()
    yield made
    made.stop()


@pytest.fixture(scope="module", params=[Nginx, Caddy],
                ids=lambda kind: str(kind.program))
def site(request: pytest.FixtureRequest, service: Live, app: SampleApp,
         tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One host with each of the proxies."""
    proxy = request.param(
        tmp_path_factory.mktemp("site"), service.port, app.port)
    yield Site(service, app, proxy)
    proxy.stop()


@pytest.fixture(scope="module")
def browser(site: Site) -> Dict[str, str]:
    """The headers of a browser that is signed in."""
    return site.logs_in()


@pytest.fixture(scope="module")
def squatter(site: Site) -> Dict[str, str]:
    """The same of somebody whose address may be another's."""
    return site.logs_in(SQUATTED)


def bearer(browser: Dict[str, str]) -> Dict[str, str]:
    """Return the headers of a program that uses a browser's session."""
    token, = re.findall(SESSION + "=([^;]+)", browser["Cookie"])
    return {"Authorization": "Bearer " + token}


class TestApp:
    """Whom a proxy lets through."""

    def test_user_reaches_it(
            self, site: Site, browser: Dict[str, str]) -> None:
        """And it hears who it is."""
        heard = site.reaches(browser)
        assert heard.header("Remote-User") == ["1"]
        assert heard.header("Remote-Email") == [EMAIL]

    def test_bearer_reaches_it(
            self, site: Site, browser: Dict[str, str]) -> None:
        """A program is somebody too."""
        heard = site.reaches(bearer(browser))
        assert heard.header("Remote-User") == ["1"]

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
    def test_request_arrives_whole(
            self, site: Site, browser: Dict[str, str], method: str) -> None:
        """With its method and its body, up to what the app is allowed."""
        body = b"b" * 100000
        heard = site.reaches(browser, method, body=body)
        assert (heard.method, heard.path, heard.body) == (
            method, "/app", body)

    @pytest.mark.parametrize("headers", [
        {}, {"Cookie": SESSION + "=" + STRANGE_TOKEN},
        {"Authorization": "Bearer " + STRANGE_TOKEN}, {"Remote-User": "1"},
        {"X-Forwarded-Uri": "/users", "X-Original-Url": "/users"}])
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_nobody_is_refused(self, site: Site, headers: Dict[str, str],
                               method: str) -> None:
        """In JSON, and as RFC 9110 asks."""
        answer = site.refuses(headers, method)
        assert (answer.status, message(answer)) == (401, "sign in first")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    def test_nobody_is_told_nothing_by_head(self, site: Site) -> None:
        """A status is all there is."""
        answer = site.refuses({}, "HEAD")
        assert (answer.status, answer.body) == (401, b"")

    @pytest.mark.parametrize("path", [
        "/", "/app/..", "/users/../app", "/users/..%2fapp", "//users",
        "/Users", "/usersx", "/forward_authx", "/healthz", "/metrics"])
    def test_no_path_leads_around(self, site: Site, path: str) -> None:
        """Whatever is not Bienvenue's needs a session."""
        assert site.refuses({}, path=path).status in (401, 404, 405)

    def test_sign_out_is_heard_at_once(self, site: Site) -> None:
        """The next request is refused."""
        leaving = site.logs_in()
        site.reaches(leaving)
        assert site.proxy.ask("DELETE", "/sessions", leaving).status == 302
        assert site.refuses(leaving).status == 401

    def test_browser_is_sent_to_sign_in(self, site: Site) -> None:
        """With the way back, which is a path."""
        answer = site.refuses(NAVIGATION, path="/app?x=1")
        assert answer.status == 302
        assert answer.headers["Location"] == (
            URL + "/account#next=%2Fapp%3Fx%3D1")

    @pytest.mark.parametrize("method, headers", [
        ("GET", {"Sec-Fetch-Mode": "cors", "Accept": "text/html"}),
        ("GET", {"Accept": "*/*"}), ("POST", NAVIGATION)])
    def test_script_and_form_are_not_sent(
            self, site: Site, method: str, headers: Dict[str, str]) -> None:
        """They would take the page for their answer."""
        answer = site.refuses(headers, method)
        assert (answer.status, message(answer)) == (401, "sign in first")

    def test_nobody_chooses_where_to_go_on(self, site: Site) -> None:
        """What the client says of its request is written over."""
        answer = site.refuses(dict(NAVIGATION, **{
            "X-Forwarded-Uri": "/evil", "X-Forwarded-Host": "evil.com",
            "X-Forwarded-Method": "GET", "X-Original-Url": "/evil"}))
        assert answer.headers["Location"] == URL + "/account#next=%2Fapp"

    def test_nobody_passes_while_bienvenue_is_away(
            self, site: Site, tmp_path: Path) -> None:
        """A question without an answer is no yes."""
        proxy = type(site.proxy)(tmp_path, free_port(), site.app.port)
        before = len(site.app.heard)
        try:
            answers = [proxy.ask("GET", path, {"Remote-User": "1"})
                       for path in ("/app", "/profile")]
        finally:
            proxy.stop()
        assert [(each.status, each.headers["Retry-After"], message(each))
                for each in answers] == [(503, "1", Unavailable.default)] * 2
        assert site.app.heard[before:] == []


class TestIdentity:
    """What the app hears is Bienvenue's word and nobody else's."""

    @pytest.mark.parametrize("alias", ALIASES)
    def test_forged_user_is_dropped(
            self, site: Site, browser: Dict[str, str], alias: str) -> None:
        """Under every name that an app could take for it."""
        heard = site.reaches(dict(browser, **{alias: "7"}))
        assert heard.header("Remote-User") == ["1"]

    @pytest.mark.parametrize("alias", ALIASES)
    def test_forged_address_is_dropped(
            self, site: Site, squatter: Dict[str, str], alias: str) -> None:
        """Also where there is no address to replace it with."""
        heard = site.reaches(dict(squatter, **{
            alias.lower().replace("user", "email"): EMAIL}))
        assert heard.header("Remote-User") == ["2"]
        assert heard.header("Remote-Email") in ([], [""])

    def test_app_gets_nothing_to_sign_in_with(
            self, site: Site, browser: Dict[str, str]) -> None:
        """Neither the session nor the device, and all other cookies."""
        assert DEVICE in browser["Cookie"]
        heard = site.reaches({"Cookie": "a=1; {}; b=2".format(
            browser["Cookie"])})
        assert [each.replace(" ", "") for each in heard.header("Cookie")] == [
            "a=1;b=2"]
        assert not site.reaches(bearer(browser)).header("Authorization")

    def test_question_is_the_proxys_alone(
            self, site: Site, browser: Dict[str, str]) -> None:
        """From outside there is no such path."""
        answer = site.refuses(browser, path="/forward_auth")
        assert answer.status == 404
        assert "Remote-User" not in answer.headers


class TestClients:
    """Bienvenue sees who is in front of the proxy."""

    @pytest.mark.parametrize("forged", [
        {}, {"X-Forwarded-For": "203.0.113.1"},
        {"X-Forwarded-For": "203.0.113.1, 203.0.113.2"},
        {"X_Forwarded_For": "203.0.113.1"},
        {"Forwarded": "for=203.0.113.1", "X-Real-Ip": "203.0.113.1"}])
    def test_session_shows_the_real_address(
            self, site: Site, forged: Dict[str, str]) -> None:
        """Whatever the client says of it; so do the counts of attempts."""
        visitor = site.logs_in(address="127.0.0.77", headers=forged)
        listed = json.loads(site.proxy.ask(
            "GET", "/sessions", visitor).body.decode())["sessions"]
        current, = [each for each in listed if each["current"]]
        assert current["network"] == "127.0.0.77"

    def test_foreign_name_is_not_served(self, site: Site) -> None:
        """Not even to whoever got in by ours."""
        before = len(site.app.heard)
        try:
            answer = site.proxy.ask("GET", "/profile", {"Host": "evil.com"})
            assert answer.body == b""
        except OSError:
            pass
        assert site.app.heard[before:] == []
        assert "evil.com" not in site.service.log()

    def test_foreign_name_gets_no_tls(self, site: Site) -> None:
        """There is no certificate for it, and it is not shown another."""
        with pytest.raises(ssl.SSLError) as refused:
            site.proxy.connect(name="evil.com")
        assert not isinstance(refused.value, ssl.SSLCertVerificationError)

    @pytest.mark.parametrize("ciphers, good", [
        ("ECDHE+AESGCM", True), ("ECDHE+CHACHA20", True), ("kRSA", False),
        ("ECDHE+AES:-AESGCM:-AESCCM", False)])
    def test_only_strong_ciphers(self, site: Site, ciphers: str,
                                 good: bool) -> None:
        """Those that keep secrets for ever, and whole (ASVS 12.1.2)."""
        with ExitStack() as ending:
            if not good:
                ending.enter_context(pytest.raises(ssl.SSLError))
            site.proxy.connect(ciphers=ciphers).close()

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
    def test_old_tls_is_refused(self, site: Site) -> None:
        """Whatever else the client would accept of it (ASVS 12.1.1)."""
        with pytest.raises(ssl.SSLError):
            site.proxy.connect(ciphers="ALL:@SECLEVEL=0",
                               newest=ssl.TLSVersion.TLSv1_1)

    def test_plain_http_is_sent_to_tls(self, site: Site) -> None:
        """Before anything else is said."""
        with socket.create_connection(
                ("127.0.0.1", site.proxy.plain_port), 60) as plain:
            plain.sendall("GET /app HTTP/1.0\r\nHost: {}\r\n\r\n".format(
                HOST).encode())
            answer = plain.recv(65536).decode()
        assert re.match(r"HTTP/1\.\d 30[18] ", answer)
        assert "Location: https://{}".format(HOST) in answer


class TestLimits:
    """Who sends too much, or too slowly."""

    def test_large_body_is_refused(self, site: Site) -> None:
        """By the proxy, before Bienvenue hears of it."""
        logged = site.service.log().count("POST /users")
        answer = site.proxy.ask("POST", "/users", body=b"a" * 20000)
        assert answer.status == 413 and message(answer)
        assert site.service.log().count("POST /users") == logged

    @pytest.mark.parametrize("body", [
        b"a" * 16385, [b"a" * 16385], [b"a" * 9000] * 2, [b"a" * 9000] * 5],
        ids=["declared", "chunked", "two chunks", "five chunks"])
    def test_body_ends_at_16_kib(self, site: Site, body: Any) -> None:
        """What does not say its length is counted as it comes.

        Cut off, it would be another body.
        """
        answer = site.proxy.ask("POST", "/users", body=(
            body if isinstance(body, bytes) else iter(body)))
        assert answer.status == 413 and message(answer)

    def test_large_headers_are_refused(self, site: Site) -> None:
        """No cookie jar is that large."""
        answer = site.proxy.ask("GET", "/profile", {"Cookie": "a" * 60000})
        assert answer.status in (400, 431)

    def test_200_slow_bodies_keep_nobody_waiting(
            self, site: Site, browser: Dict[str, str]) -> None:
        """They wait at the proxy, each from an address of its own."""
        with ExitStack() as ending:
            slow = [self.half_open(site.proxy, "127.0.1.{}".format(each + 1),
                                   ending) for each in range(200)]
            started = time.monotonic()
            answer = site.proxy.ask("GET", "/profile", browser)
            waited = time.monotonic() - started
            assert answer.status == 200
            assert waited < GENEROUS
            # That of the answer may end a moment after it.
            wait_until(lambda: not connections_to(site.service.port), 2)
            slow[-1].sendall(b"a" * 94)
            assert slow[-1].recv(12) == b"HTTP/1.1 401"

    def half_open(self, proxy: Proxy, address: str,
                  ending: ExitStack) -> socket.socket:
        """Begin to sign in and stop in the middle of the body."""
        connection = ending.enter_context(proxy.connect(address))
        connection.sendall(
            "POST /sessions HTTP/1.1\r\nHost: {}\r\nContent-Type: application"
            "/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nemail="
            .format(HOST).encode())
        return connection

    def test_one_address_gets_its_share_of_nginx(self, site: Site) -> None:
        """The rest of its connections wait for nobody; others go on.

        Caddy has no such limit.
        """
        if not isinstance(site.proxy, Nginx):
            return
        with ExitStack() as ending:
            for _ in range(100):
                self.half_open(site.proxy, "127.0.2.1", ending)
            one_more = site.proxy.ask("GET", "/profile", address="127.0.2.1")
            another = site.proxy.ask("GET", "/profile", address="127.0.2.2")
        assert (one_more.status, another.status) == (429, 403)
        assert one_more.headers["Retry-After"] == "1" and message(one_more)


class TestFiles:
    """What the files in deploy/ say of us."""

    @pytest.mark.parametrize("name", FILES)
    def test_names_every_route_for_the_world(
            self, name: str, auth: Auth) -> None:
        """A new route is put into all of them, or among INSIDE here."""
        text = (ROOT / name).read_text(encoding="utf-8")
        named, = re.findall(r"\^/\(([^)]+)\)\(/\|\$\)", text)
        first = {rule.rule.split("/")[1]
                 for rule in create_app(auth).url_map.iter_rules()}
        led = {each.partition("/")[0]
               for each in named.replace("\\", "").split("|")}
        assert first - INSIDE - led == set()
        assert not INSIDE & led

    @pytest.mark.parametrize("name", FILES)
    def test_asks_the_route_for_both_headers(self, name: str) -> None:
        """And for nothing that is no header of ours."""
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "/forward_auth" in text
        assert {"Remote-User", "Remote-Email"} <= set(
            re.findall(r"Remote-[A-Z]\w+", text))

    @pytest.mark.parametrize("kind", [Nginx, Caddy])
    def test_tests_change_what_the_file_asks_for(
            self, kind: Type[Proxy]) -> None:
        """The head of the file says what to put in, and no more is."""
        head = (ROOT / kind.file).read_text(encoding="utf-8").partition(
            "\n\n")[0]
        said = re.findall(r"[^\s,;]*(?:127\.0\.0\.1:\d+|/etc/ssl/)[^\s,;*]*",
                          head)
        changed: List[str] = [old for old, _ in kind.changes]
        places = [each for each in said
                  if any(each in old or old.endswith(each)
                         for old in changed)]
        assert places == said and said
