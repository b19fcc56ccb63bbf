#!/usr/bin/env python3
"""Errors for programs: problem details, and the pages that explain them."""
from __future__ import annotations

import json
import re
from typing import Any, Dict, List

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import KINDS, create_app
from auth import Auth
from errors import AuthError, NotMigrated, Throttled, Unavailable
from scripts.errors_page import PAGE, with_table
from tests.helpers import ORIGIN, Visitor, assert_error

PROBLEM = "application/problem+json"
UUID = "0fa93ad6-0f29-4d4a-a6a6-3f1c2dc80b45"


@pytest.fixture
def tool(auth: Auth) -> FlaskClient:
    """A client that keeps no cookies, as curl does."""
    return create_app(auth).test_client(use_cookies=False)


def ask(tool: FlaskClient, accept: str, path: str = "/profile",
        method: str = "GET", **more: Any) -> TestResponse:
    """Ask for what is refused, in words of this kind."""
    headers = dict({"Accept": accept}, **more.pop("headers", {}))
    return tool.open(path, method=method, headers=headers, **more)


def problem(answer: TestResponse) -> Dict[str, Any]:
    """Return the members of an answer that is a problem."""
    assert answer.headers["Content-Type"] == PROBLEM
    return dict(json.loads(answer.get_data()))


class TestForm:
    """Who gets which of the two forms."""

    @pytest.mark.parametrize("accept", [
        PROBLEM, "Application/Problem+JSON", PROBLEM + ";q=0.1",
        PROBLEM + ", application/json", "application/json, " + PROBLEM,
        "application/json;q=0.5, " + PROBLEM,
        PROBLEM + ", */*", "text/html, */*;q=0.1, " + PROBLEM + ";q=0.2"])
    def test_who_likes_problems_as_much_as_json_gets_one(
            self, tool: FlaskClient, accept: str) -> None:
        """A client that names both can read both."""
        assert problem(ask(tool, accept))["code"] == "not_signed_in"

    @pytest.mark.parametrize("accept", [
        "", "*/*", "application/json", "application/*", "text/html",
        "application/json, */*;q=0.1", PROBLEM + ";q=0",
        "application/json, " + PROBLEM + ";q=0.9",
        "*/*, " + PROBLEM + ";q=0.9", "*/*;q=0.9, " + PROBLEM + ";q=0.1",
        "application/*, " + PROBLEM + ";q=0.5",
        "application/problem+xml", "text/problem+json", "x" * 4000, ";,;q="])
    def test_everybody_else_gets_the_contract_to_the_byte(
            self, tool: FlaskClient, accept: str) -> None:
        """Wildcards, too: the card's tools send them."""
        answer = ask(tool, accept)
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.get_data() == b'{"message":"not signed in"}\n'

    def test_no_accept_at_all_gets_the_contract(
            self, tool: FlaskClient) -> None:
        """As RFC 9110 leaves it to us."""
        assert_error(tool.get("/profile"), 403, "not signed in")

    @pytest.mark.parametrize("accept", [PROBLEM, "*/*"])
    def test_an_error_varies_by_accept(
            self, tool: FlaskClient, accept: str) -> None:
        """In either form, beside what every answer varies by."""
        assert ask(tool, accept).headers["Vary"] \
            == "Accept, Cookie, Authorization"

    def test_what_is_no_error_is_the_same_for_all(
            self, tool: FlaskClient) -> None:
        """A success has one form."""
        answer = ask(tool, PROBLEM, "/")
        assert answer.get_data() == b'{"message":"Bienvenue"}\n'
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Vary"] == "Cookie, Authorization"


class TestMembers:
    """What a problem says."""

    def test_all_of_a_refusal(self, tool: FlaskClient) -> None:
        """Exactly these; the example of docs/errors.md."""
        answer = ask(tool, PROBLEM, headers={
            "X-Request-ID": UUID.replace("-", "")})
        assert problem(answer) == {
            "type": "/docs/errors#not_signed_in", "title": "Not signed in",
            "status": 403, "detail": "not signed in", "code": "not_signed_in",
            "instance": "urn:uuid:" + UUID}
        assert answer.get_data(as_text=True) in PAGE.read_text("utf-8")

    @pytest.mark.parametrize("given, uri", [
        (UUID, "urn:uuid:" + UUID), (UUID.upper(), "urn:uuid:" + UUID),
        ("order-66.b_1", "#order-66.b_1"), ("..", "#..")])
    def test_instance_is_the_id_of_the_request(
            self, tool: FlaskClient, given: str, uri: str) -> None:
        """A caller's own, whatever it looks like."""
        answer = ask(tool, PROBLEM, headers={"X-Request-ID": given})
        assert problem(answer)["instance"] == uri
        assert answer.headers["X-Request-ID"] == given

    @pytest.mark.made_up
    def test_when_to_come_back(
            self, tool: FlaskClient, auth: Auth,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """As a number, beside the header."""
        refuse_with(monkeypatch, auth, Throttled(retry_after=17))
        answer = ask(tool, PROBLEM, "/sessions", "DELETE")
        assert problem(answer)["retry_after"] == 17
        assert answer.headers["Retry-After"] == "17"

    def test_a_database_to_upgrade_looks_like_one_that_is_away(
            self, tool: FlaskClient, auth: Auth,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """What has to be done is nothing for clients."""
        refuse_with(monkeypatch, auth, NotMigrated("run this"))
        found = problem(ask(tool, PROBLEM, "/sessions", "DELETE"))
        assert (found["code"], found["detail"], found["type"]) == (
            "unavailable", Unavailable.default, "/docs/errors#unavailable")

    @pytest.mark.parametrize("code", sorted(KINDS))
    def test_type_leads_to_the_code_on_the_page(
            self, tool: FlaskClient, code: str) -> None:
        """One place for each, and a sentence that says what to do."""
        answer = tool.get("/docs/errors")
        assert answer.status_code == 200
        text = answer.get_data(as_text=True)
        assert text.count('id="{}"'.format(code)) == 1
        below = text.partition('id="{}"'.format(code))[2].partition("<h2")[0]
        assert "<p>{}</p>".format(KINDS[code].remedy) in below.replace(
            "&#x27;", "'")


class TestHttp:
    """What goes wrong before a verb of the service is called."""

    @pytest.mark.parametrize("method, path, body, kind, code", [
        ("GET", "/nowhere", b"", "", "not_found"),
        ("GET", "/metrics", b"", "", "not_found"),
        ("PUT", "/users", b"", "", "method_not_allowed"),
        ("POST", "/users", b"x" * 20000, "text/plain", "too_large"),
        ("POST", "/users", b"x", "text/plain", "unsupported_media_type"),
        ("POST", "/users", b"\xff", "application/json", "bad_request"),
        ("POST", "/users", b"[]", "application/json", "bad_request")])
    def test_has_a_code_too(
            self, tool: FlaskClient, method: str, path: str, body: bytes,
            kind: str, code: str) -> None:
        """With the status that it has anyway."""
        answer, plain = (ask(
            tool, accept, path, method, data=body, content_type=kind)
            for accept in (PROBLEM, "*/*"))
        found = problem(answer)
        assert found["code"] == code
        assert found["status"] == answer.status_code == plain.status_code
        assert found["detail"] == plain.get_json()["message"]

    def test_keeps_its_headers(self, tool: FlaskClient) -> None:
        """Which methods there are is said in both forms."""
        answer = ask(tool, PROBLEM, "/verify_email", "DELETE")
        assert set(answer.headers["Allow"].split(", ")) == {"POST", "PUT"}

    def test_every_401_asks_to_sign_in(self, tool: FlaskClient) -> None:
        """A proxy's question gets a problem as any other."""
        answer = ask(tool, PROBLEM, "/forward_auth")
        assert problem(answer)["code"] == "sign_in_required"
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")

    def test_a_mistake_of_ours_has_a_code(
            self, tool: FlaskClient, auth: Auth,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """And says nothing of its cause."""
        refuse_with(monkeypatch, auth, KeyError("SELECT secrets"))
        answer = ask(tool, PROBLEM, "/sessions", "DELETE")
        assert answer.status_code == 500
        assert problem(answer)["code"] == "internal_error"
        assert "secrets" not in answer.get_data(as_text=True)

    def test_strangers_get_a_problem_of_the_development_mode(
            self, tool: FlaskClient) -> None:
        """Who is refused at the door is told as anybody else."""
        found = problem(ask(tool, PROBLEM, headers={"Via": "x"}))
        assert found["code"] == "development_only"


class TestPages:
    """What people read: one page in the repository, one that is served."""

    def test_page_is_what_make_docs_writes(self) -> None:
        """An error is documented, or this fails."""
        text = PAGE.read_text("utf-8")
        assert with_table(text, KINDS.values()) == text

    def test_page_has_a_row_for_every_code(self) -> None:
        """In order of statuses, none twice, none without what to do."""
        rows = re.findall(r"^\| `([a-z_]+)` \| ([0-9]{3}) \|(.*)\|$",
                          PAGE.read_text("utf-8"), re.M)
        assert sorted(code for code, _, _ in rows) == sorted(KINDS)
        statuses: List[str] = [status for _, status, _ in rows]
        assert statuses == sorted(statuses)
        for _, _, row in rows:
            assert all(each.strip() for each in row.split("|"))
            assert len(row.split("|")) == 3

    def test_served_page_runs_nothing(self, tool: FlaskClient) -> None:
        """Plain HTML under the headers of every answer."""
        answer = tool.get("/docs/errors")
        text = answer.get_data(as_text=True)
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Content-Security-Policy"].startswith(
            "default-src 'none'; ")
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert not re.search(
            "<(script|style|link|img)|<[^>]* (on[a-z]+|style)=", text)

    def test_is_where_production_says(self, guest: Visitor) -> None:
        """Whoever is sent the address of an error can open it."""
        found = problem(guest.asks("GET", "/profile", {"Accept": PROBLEM}))
        assert found["type"] == ORIGIN + "/docs/errors#not_signed_in"
        answer = guest.asks("GET", found["type"][len(ORIGIN):])
        assert answer.status_code == 200


def refuse_with(monkeypatch: pytest.MonkeyPatch, auth: Auth,
                error: Exception) -> None:
    """Have the service raise this when somebody signs out."""
    def refuse(*_: Any) -> None:
        """Refuse in this way."""
        raise error
    monkeypatch.setattr(auth, "log_out", refuse)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.code)
def test_every_kind_is_explained_in_sentences(kind: Any) -> None:
    """When it happens and what to do, each of one or two; and a name."""
    assert re.match(r"[A-Z][a-zA-Z -]+[a-z]\Z", kind.title)
    assert re.match(r"When [^|`<]+\.\Z", kind.raised)
    assert re.match(r"[A-Z]\S* [^|`<]+\.\Z", kind.remedy)


def test_no_two_errors_share_a_code_or_a_title() -> None:
    """A status is lost where a later kind takes the place of another."""
    titles = [each.title for each in KINDS.values()]
    assert len(set(titles)) == len(titles)
    assert len(KINDS) == 6 + len([
        each for each in everything(AuthError) if each is not AuthError])


def everything(error: Any) -> List[Any]:
    """Return a class and all below it."""
    return [error] + [found for each in error.__subclasses__()
                      for found in everything(each)]
