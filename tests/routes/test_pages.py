#!/usr/bin/env python3
"""The pages for people, as files: what is sent, and what goes with it.

What they do in a browser is in tests/test_account_page.py.
"""
from __future__ import annotations

import re
from pathlib import Path
from typing import Callable, List

import pytest
from werkzeug.test import TestResponse

from auth import Auth
from db import DB
from routes.guards import HEADERS
from tests.helpers import (
    EMAIL, STRANGE_TOKEN, STRONG, Visitor, assert_error)

ASSETS = ["account.css", "account.js", "brand.css", "logo"]
HEAVIEST = 40 * 1024
every_asset = pytest.mark.parametrize("name", ASSETS)


def policy_of(answer: TestResponse) -> List[str]:
    """Return the directives of an answer's Content-Security-Policy."""
    said, = answer.headers.getlist("Content-Security-Policy")
    return [each.strip() for each in said.split(";")]


class TestPage:
    """What `GET /account` answers."""

    def test_is_html_that_nobody_keeps(self, guest: Visitor) -> None:
        """It knows whether a session came along."""
        answer = guest.asks("GET", "/account")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store"

    def test_policy_lets_in_our_own_files_only(self, guest: Visitor) -> None:
        """No inline code, no frame, no form, no string that becomes code."""
        assert policy_of(guest.asks("GET", "/account")) == [
            "default-src 'none'", "script-src 'self'", "style-src 'self'",
            "img-src 'self'", "connect-src 'self'", "form-action 'none'",
            "frame-ancestors 'none'", "base-uri 'none'",
            "require-trusted-types-for 'script'", "trusted-types 'none'"]

    def test_policy_names_where_the_logo_is(
            self, visit: Callable[..., Visitor]) -> None:
        """And the page shows it from there."""
        answer = visit(logo="https://img.example.com/a.svg").asks(
            "GET", "/account")
        assert "img-src 'self' https://img.example.com" in policy_of(answer)
        assert 'src="https://img.example.com/a.svg"' in answer.get_data(True)

    def test_other_headers_are_those_of_every_answer(
            self, guest: Visitor) -> None:
        """The page adds to them, and takes none away."""
        answer = guest.asks("GET", "/account")
        for name in set(HEADERS) - {"Content-Security-Policy"}:
            assert answer.headers[name] == HEADERS[name]
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"

    def test_nothing_is_inline(self, guest: Visitor) -> None:
        """The policy would stop it, and half a page is worse than none."""
        html = guest.asks("GET", "/account").get_data(as_text=True)
        assert re.findall(r"<script(?![^>]* src=)|<style| style=| on\w+=",
                          html) == []

    def test_asks_for_our_files_by_their_names(self, guest: Visitor) -> None:
        """All that it loads is there."""
        html = guest.asks("GET", "/account").get_data(as_text=True)
        loaded = re.findall(r'(?:src|href)="(/[^"]*)"', html)
        assert set(loaded) == {"/account/" + each for each in ASSETS}

    def test_name_is_text(self, visit: Callable[..., Visitor]) -> None:
        """A deployer may write what they like."""
        html = visit(service_name='<i>"&').asks(
            "GET", "/account").get_data(as_text=True)
        assert "<i>" not in html
        assert "<title>&lt;i&gt;&#34;&amp;</title>" in html

    @pytest.mark.parametrize("length", [8, 20])
    def test_rule_of_passwords_is_the_services(
            self, visit: Callable[..., Visitor], length: int) -> None:
        """It is said, and counted up to, wherever one is chosen."""
        html = visit(password_min=length).asks(
            "GET", "/account").get_data(as_text=True)
        assert html.count("At least {} characters".format(length)) == 3
        assert html.count('<progress max="{}"'.format(length)) == 3

    def test_development_has_no_rule_to_say(self, visitor: Visitor) -> None:
        """Any password will do there."""
        html = visitor.asks("GET", "/account").get_data(as_text=True)
        assert "At least" not in html and "<progress" not in html

    def test_reset_without_mail_is_for_development(
            self, visitor: Visitor, guest: Visitor) -> None:
        """Production does not so much as have the words for it."""
        pages = [each.asks("GET", "/account").get_data(as_text=True)
                 for each in (visitor, guest)]
        assert ["development mode" in each for each in pages] == [True, False]

    def test_knows_whether_a_session_came_along(
            self, member: Visitor) -> None:
        """So that it asks whose only where there is something to ask."""
        pages = [member.asks("GET", "/account")]
        member.logs_in(EMAIL, STRONG)
        pages.append(member.asks("GET", "/account"))
        assert [re.findall('data-session="(.)"', each.get_data(as_text=True))
                for each in pages] == [["0"], ["1"]]

    def test_passwords_are_masked_and_can_be_pasted(
            self, guest: Visitor) -> None:
        """Whoever has a password manager can use it (ASVS 6.2.6, 6.2.7)."""
        html, script = (guest.asks("GET", path).get_data(as_text=True)
                        for path in ("/account", "/account/account.js"))
        inputs = [each for each in re.findall("<input [^>]*>", html)
                  if "-password\"" in each]
        assert len(inputs) > 5
        assert [each for each in inputs if 'type="password"' not in each] == []
        assert "paste" not in script and "autocomplete=\"off" not in html

    def test_script_keeps_nothing_and_reads_no_cookie(
            self, guest: Visitor) -> None:
        """What the browser stores is the session alone (ASVS 14.3.3)."""
        script = guest.asks("GET", "/account/account.js").get_data(True)
        assert len(script) > 5000 and not re.search(
            "localStorage|sessionStorage|indexedDB|document.cookie|caches|"
            "postMessage|WebSocket|eval|innerHTML", script)

    def test_weighs_little(self, guest: Visitor) -> None:
        """All that has to come before it is of use, uncompressed."""
        sizes = [len(guest.asks("GET", path).get_data()) for path in (
            ["/account"] + ["/account/" + each for each in ASSETS])]
        assert 10000 < sum(sizes) <= HEAVIEST


class TestAssets:
    """What `GET /account/<name>` answers."""

    @pytest.mark.parametrize("name, kind", [
        ("account.css", "text/css; charset=utf-8"),
        ("account.js", "text/javascript; charset=utf-8"),
        ("brand.css", "text/css; charset=utf-8"), ("logo", "image/svg+xml")])
    def test_has_its_type(self, guest: Visitor, name: str,
                          kind: str) -> None:
        """Or a browser would refuse it (nosniff)."""
        answer = guest.asks("GET", "/account/" + name)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == kind

    @every_asset
    def test_is_not_sent_twice(self, guest: Visitor, name: str) -> None:
        """A browser asks each time whether what it has is the newest."""
        first = guest.asks("GET", "/account/" + name)
        assert first.headers["Cache-Control"] == "no-cache"
        assert first.headers["Vary"] == "Accept-Encoding"
        again = guest.asks("GET", "/account/" + name, {
            "If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.get_data()) == (304, b"")
        other = guest.asks("GET", "/account/" + name, {
            "If-None-Match": '"of yesterday"'})
        assert other.get_data() == first.get_data() != b""

    def test_new_looks_have_a_new_tag(
            self, visit: Callable[..., Visitor]) -> None:
        """What a deployer changes is there at the next visit."""
        tags = {visit(accent_color=each).asks(
            "GET", "/account/brand.css").headers["ETag"]
            for each in ("#111111", "#222222")}
        assert len(tags) == 2

    def test_logo_of_a_deployer_is_sent(
            self, visit: Callable[..., Visitor], tmp_path: Path) -> None:
        """As it is; a script in it runs nowhere."""
        (tmp_path / "logo.svg").write_text("<svg><script/></svg>")
        answer = visit(logo=str(tmp_path / "logo.svg")).asks(
            "GET", "/account/logo")
        assert answer.get_data() == b"<svg><script/></svg>"
        assert policy_of(answer) == [
            "default-src 'none'", "style-src 'unsafe-inline'", "sandbox"]

    @pytest.mark.parametrize("name", [
        "account.html", "nothing.js", "../account.css", "..%2fapp.py", "",
        "account.js/", "brand.css.bak", "%00"])
    def test_nothing_else_is_sent(self, guest: Visitor, name: str) -> None:
        """Names are looked up, and never become paths."""
        answer = guest.asks("GET", "/account/" + name)
        assert answer.status_code == 404
        assert answer.mimetype == "application/json"

    @pytest.mark.parametrize("path", [
        "/account", "/account/account.js", "/.well-known/change-password"])
    def test_can_only_be_read(self, guest: Visitor, path: str) -> None:
        """A form that lost its script changes nothing here."""
        for method in ("POST", "PUT", "DELETE"):
            assert_error(guest.asks(method, path), 405, "The method is not "
                         "allowed for the requested URL.")

    @pytest.mark.parametrize("path", [
        "/account", "/account/account.js", "/.well-known/change-password"])
    def test_database_is_left_alone(self, guest: Visitor, db: DB,
                                    safe: Auth, path: str,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
        """The page is there while the database is not."""
        def refuse(*_: object) -> None:
            """Fail whoever asks."""
            raise AssertionError("the database was asked")
        for name in ("find", "find_visit", "find_all", "transaction"):
            monkeypatch.setattr(DB, name, refuse)
        answer = guest.asks("GET", path, {
            "Authorization": "Bearer " + STRANGE_TOKEN})
        assert answer.status_code in (200, 302)


def test_password_managers_find_their_way(guest: Visitor) -> None:
    """By the address that they all try (W3C, change-password URL)."""
    answer = guest.asks("GET", "/.well-known/change-password")
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/account#password"
