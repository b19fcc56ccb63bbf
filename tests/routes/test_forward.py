#!/usr/bin/env python3
"""What GET /forward_auth tells the proxies that ask it."""
from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

import pytest
from werkzeug.test import TestResponse

from auth import Auth
from tests.helpers import (
    EMAIL, ORIGIN, STRANGE_TOKEN, STRONG, STRONGER, Clock, Mailbox, Visitor,
    assert_error, session_cookie)

NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
PAGE = ORIGIN + "/account"
# The settings of a service that sends browsers to sign in, behind a proxy.
SENT: Dict[str, Any] = {"sign_in_path": "/account", "trusted_proxies": 1}


def asks(visitor: Visitor, **headers: str) -> TestResponse:
    """Let a proxy ask on behalf of a visitor, with these headers."""
    return visitor.asks("GET", "/forward_auth", {
        name.replace("_", "-"): value for name, value in headers.items()})


def identity(answer: TestResponse) -> List[Tuple[str, str]]:
    """Return what an answer tells the app, header by header."""
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return [(name, value) for name, value in answer.headers
            if name.startswith("Remote")]


@pytest.fixture
def sent(visit: Callable[..., Visitor]) -> Visitor:
    """Somebody whom the service may send to its page."""
    return visit(**SENT)


@pytest.fixture
def signed_in(member: Visitor) -> Visitor:
    """A member of the production mode who signed in."""
    member.logs_in(EMAIL, STRONG)
    return member


class TestSignedIn:
    """A request of somebody who is."""

    def test_names_the_user(self, signed_in: Visitor) -> None:
        """By an id that never changes, and the proven address."""
        answer = asks(signed_in)
        assert identity(answer) == [
            ("Remote-User", "1"), ("Remote-Email", EMAIL)]
        assert answer.get_json() == {"message": "signed in"}

    def test_takes_a_bearer(self, signed_in: Visitor,
                            new_guest: Callable[..., Visitor]) -> None:
        """A program has no cookies (lklynet/aurral #433)."""
        token = session_cookie(signed_in.logs_in(EMAIL, STRONG))
        assert identity(asks(new_guest(), Authorization="Bearer " + token))

    def test_head_is_get_without_a_body(self, signed_in: Visitor) -> None:
        """As everywhere in HTTP."""
        answer = signed_in.asks("HEAD", "/forward_auth")
        assert identity(answer) and answer.get_data() == b""

    def test_is_no_page_of_its_own(self, signed_in: Visitor) -> None:
        """Other methods do not exist."""
        assert signed_in.asks("POST", "/forward_auth").status_code == 405

    def test_keeps_the_session_awake(
            self, signed_in: Visitor, clock: Clock) -> None:
        """Who works in the app only is not idle."""
        for _ in range(3):
            clock.advance(6 * 86400)
            assert identity(asks(signed_in))

    def test_repeats_nothing_that_the_client_says(
            self, signed_in: Visitor) -> None:
        """The names are answered, not believed."""
        assert identity(asks(signed_in, Remote_User="7", Remote_Email="a@b")
                        ) == [("Remote-User", "1"), ("Remote-Email", EMAIL)]

    def test_follows_a_change_of_address(
            self, signed_in: Visitor, safe: Auth, mailbox: Mailbox) -> None:
        """The id stays."""
        signed_in.asks("PUT", "/email", password=STRONG, email="new@me.com")
        assert identity(asks(signed_in))[1][1] == EMAIL
        safe.deliver_mail()
        signed_in.asks("PUT", "/verify_email",
                       token=mailbox.token("new@me.com"))
        assert identity(asks(signed_in)) == [
            ("Remote-User", "1"), ("Remote-Email", "new@me.com")]

    def test_unproven_address_is_not_passed_on(
            self, visit: Callable[..., Visitor]) -> None:
        """An app must not take a squatter for the owner of a mailbox."""
        squatter = visit(require_verified=False)
        squatter.registers("ceo@me.com", STRONG)
        squatter.logs_in("ceo@me.com", STRONG)
        assert identity(asks(squatter)) == [
            ("Remote-User", "1"), ("Remote-Email", "")]

    @pytest.mark.parametrize("email, told", [
        ("hi", "hi"), ("b%6fb@me.com", "b%256fb@me.com"),
        ("zo\xeb@me.com", "zo%C3%AB@me.com"),
        ("a b@me.com", "a%20b@me.com"),
        ("a\u0661@me.com", "a%D9%A1@me.com")])
    def test_header_is_plain_ascii(
            self, visitor: Visitor, email: str, told: str) -> None:
        """Development takes any text for an address; proxies do not.

        To an app that decodes it, no address becomes another one.
        """
        visitor.registers(email)
        visitor.logs_in(email)
        assert identity(asks(visitor))[1] == ("Remote-Email", told)


class TestNobody:
    """A request of somebody who is not signed in."""

    @pytest.mark.parametrize("headers", [
        {}, {"Authorization": "Bearer " + STRANGE_TOKEN},
        {"Authorization": "Bearer "}, {"Authorization": "Basic YTpi"},
        {"Cookie": "__Host-session_id="}, {"Remote-User": "1"},
        {"Cookie": "session_id=" + STRANGE_TOKEN}])
    def test_is_refused(self, guest: Visitor,
                        headers: Dict[str, str]) -> None:
        """401, which proxies take for "sign in"."""
        answer = guest.asks("GET", "/forward_auth", headers)
        assert_error(answer, 401, "sign in first")
        assert answer.headers["WWW-Authenticate"] == (
            'Bearer realm="Bienvenue"')
        assert "Remote-User" not in answer.headers
        assert "Location" not in answer.headers

    def test_sign_out_is_heard_at_once(self, signed_in: Visitor) -> None:
        """Nothing is remembered between two requests."""
        assert identity(asks(signed_in))
        signed_in.logs_out()
        assert_error(asks(signed_in), 401, "sign in first")

    def test_new_password_ends_the_others(
            self, signed_in: Visitor, new_guest: Callable[..., Visitor]
    ) -> None:
        """Also in the app."""
        other = new_guest()
        other.logs_in(EMAIL, STRONG)
        signed_in.asks("PUT", "/password", current_password=STRONG,
                       new_password=STRONGER)
        assert_error(asks(other), 401, "sign in first")
        assert identity(asks(signed_in))

    def test_idle_session_is_over(
            self, signed_in: Visitor, clock: Clock) -> None:
        """As for every other route."""
        clock.advance(7 * 86400)
        assert_error(asks(signed_in), 401, "sign in first")

    def test_foreign_host_is_refused(self, signed_in: Visitor) -> None:
        """The question is asked under our own name."""
        assert asks(signed_in, Host="app.example.com").status_code == 400


class TestRedirect:
    """Where a browser is sent that has to sign in first."""

    def test_not_unless_configured(self, guest: Visitor) -> None:
        """Nobody knows where the page is."""
        assert_error(guest.asks("GET", "/forward_auth", NAVIGATION), 401,
                     "sign in first")

    @pytest.mark.parametrize("headers", [
        NAVIGATION, {"Sec-Fetch-Mode": "navigate"},
        {"Accept": "text/html,application/xhtml+xml;q=0.9"},
        dict(NAVIGATION, **{"X-Forwarded-Method": "GET"})])
    def test_page_is_sent_to_sign_in(
            self, sent: Visitor, headers: Dict[str, str]) -> None:
        """A person is looking."""
        answer = sent.asks("GET", "/forward_auth", headers)
        assert_error(answer, 302, "sign in first")
        assert answer.headers["Location"] == PAGE

    @pytest.mark.parametrize("headers", [
        {}, {"Accept": "*/*"}, {"Accept": "application/json"},
        {"Sec-Fetch-Mode": "cors", "Accept": "text/html"},
        {"Sec-Fetch-Mode": "no-cors", "Accept": "text/html"},
        {"Sec-Fetch-Mode": "websocket"}, {"Sec-Fetch-Mode": ""},
        {"Accept": "text/html", "X-Requested-With": "XMLHttpRequest"},
        dict(NAVIGATION, **{"X-Forwarded-Method": "POST"}),
        dict(NAVIGATION, **{"X-Forwarded-Method": "GET,POST"})])
    def test_program_is_refused(self, sent: Visitor,
                                headers: Dict[str, str]) -> None:
        """A script would read the page as its data (authelia #2922)."""
        answer = sent.asks("GET", "/forward_auth", headers)
        assert_error(answer, 401, "sign in first")

    @pytest.mark.parametrize("wanted, next_", [
        ("/", "%2F"), ("/app/page?x=1&y=2", "%2Fapp%2Fpage%3Fx%3D1%26y%3D2"),
        ("/%0d%0aSet-Cookie:a", "%2F%250d%250aSet-Cookie%3Aa"),
        ("/" + "a" * 1999, "%2F" + "a" * 1999)])
    def test_page_hears_where_to_go_on(
            self, sent: Visitor, wanted: str, next_: str) -> None:
        """In the fragment, which no log sees."""
        answer = sent.asks("GET", "/forward_auth", dict(
            NAVIGATION, **{"X-Forwarded-Uri": wanted}))
        assert answer.headers["Location"] == PAGE + "#next=" + next_

    @pytest.mark.parametrize("wanted", [
        "//evil.com", "/\\evil.com", "\\\\evil.com", "https://evil.com/",
        "evil.com", "/////evil.com", "/a\tb", "/ b", "/\xe9",
        "javascript:alert(1)", "", "/" + "a" * 2000])
    def test_what_is_no_path_of_ours_is_forgotten(
            self, sent: Visitor, wanted: str) -> None:
        """An open redirect begins with one (CVE-2021-32618)."""
        answer = sent.asks("GET", "/forward_auth", dict(
            NAVIGATION, **{"X-Forwarded-Uri": wanted}))
        assert answer.headers["Location"] == PAGE

    def test_host_of_the_request_is_not_believed(
            self, sent: Visitor) -> None:
        """Not even that of a proxy; the page is where PUBLIC_URL is."""
        answer = sent.asks("GET", "/forward_auth", dict(
            NAVIGATION, **{"X-Forwarded-Host": "evil.com",
                           "X-Forwarded-Proto": "http",
                           "X-Original-URL": "https://evil.com/",
                           "Referer": "https://evil.com/"}))
        assert answer.headers["Location"] == PAGE

    @pytest.mark.parametrize("name, value", [
        ("X-Forwarded-Uri", "/app"), ("X-Forwarded-Method", "POST")])
    def test_nobody_speaks_for_proxies_that_are_not_counted(
            self, visit: Callable[..., Visitor], name: str,
            value: str) -> None:
        """Anybody can write their headers."""
        answer = visit(sign_in_path="/account").asks(
            "GET", "/forward_auth", dict(NAVIGATION, **{name: value}))
        assert answer.headers["Location"] == PAGE

    def test_query_names_no_place(self, sent: Visitor) -> None:
        """There is no `rd` to be forged."""
        answer = sent.asks(
            "GET", "/forward_auth?rd=https://evil.com&next=//evil.com",
            NAVIGATION)
        assert answer.headers["Location"] == PAGE

    def test_who_is_signed_in_is_not_sent(
            self, signed_in: Visitor, sent: Visitor) -> None:
        """They may pass."""
        token = session_cookie(signed_in.logs_in(EMAIL, STRONG))
        answer = sent.asks("GET", "/forward_auth", dict(
            NAVIGATION, Authorization="Bearer " + token))
        assert identity(answer)
