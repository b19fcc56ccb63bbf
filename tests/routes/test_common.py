#!/usr/bin/env python3
"""What was sent: read in one way only, or refused."""
from __future__ import annotations

import io
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app
from auth import Auth
from tests.helpers import EMAIL, PASSWORD, assert_error

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
# What a server tells of a body that ends by itself, of unknown length.
CHUNKED = {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}


@pytest.fixture
def tool(auth: Auth) -> FlaskClient:
    """A client of an application without accounts."""
    return create_app(auth).test_client()


def register(tool: FlaskClient, body: bytes,
             content_type: str) -> TestResponse:
    """Send a body of any kind to POST /users."""
    return tool.post("/users", data=body, content_type=content_type)


class TestForm:
    """Bodies as an HTML form sends them."""

    @pytest.mark.parametrize("body, email", [
        (b"email=bob%40me.com&password=x", EMAIL),
        (b"password=x&email=bob@me.com&other=1", EMAIL),
        ("email=jos\u00e9@me.com&password=x".encode(), "jos\u00e9@me.com"),
        (b"email=jos%C3%A9%40me.com&password=x", "jos\u00e9@me.com"),
        (b"email=a+b&password=x", "a b"),
        (b"email=a%2Bb&password=x", "a+b"),
        (b"email=a;b&password=x", "a;b")], ids=ascii)
    def test_is_read(self, tool: FlaskClient, body: bytes,
                     email: str) -> None:
        """Escaped or as raw UTF-8."""
        answer = register(tool, body, FORM + "; charset=utf-8")
        assert answer.get_json()["email"] == email

    @pytest.mark.parametrize("body", [
        b"email=a\xff&password=x", b"email=a%FF&password=x",
        b"email=a%C3&password=x", b"x=%ED%A0%80&email=a&password=x"],
        ids=ascii)
    def test_undecodable(self, tool: FlaskClient, body: bytes) -> None:
        """Guessing would store a password nobody typed."""
        assert_error(register(tool, body, FORM), 400, "the body is not UTF-8")

    @pytest.mark.parametrize("body", [
        b"email=a&email=b&password=x", b"email=a&password=x&password=x",
        b"x=1&email=a&password=x&x=2", b"email&email=a&password=x"],
        ids=ascii)
    def test_field_given_twice(self, tool: FlaskClient, body: bytes) -> None:
        """Parsers disagree on which of them counts."""
        assert_error(register(tool, body, FORM), 400,
                     "a field is given twice")

    def test_query_is_not_read(self, tool: FlaskClient) -> None:
        """Passwords in addresses end up in logs."""
        answer = tool.post("/users?email=bob@me.com&password=x")
        assert_error(answer, 400, "email and password are missing")


class TestJSON:
    """Bodies as programs send them."""

    def test_is_read(self, tool: FlaskClient) -> None:
        """As a form is, unknown fields ignored."""
        answer = tool.post("/users", json={
            "email": EMAIL, "password": PASSWORD, "n": [None, {"a": 1.5}]})
        assert answer.get_json() == {"email": EMAIL, "message": "user created"}

    @pytest.mark.parametrize("body", [
        b"{", b"[", b"x", b"{'email': 'a'}", b'{"email": "a",}',
        b"\xef\xbb\xbf{}", b'{"email": "a"} x', b"[" * 10000, b'{"a":' * 2500,
        b'{"n": ' + b"9" * 5000 + b"x}", b'{"email": "\x00"}', b"nul"],
        ids=lambda body: ascii(body)[:20])
    def test_malformed(self, tool: FlaskClient, body: bytes) -> None:
        """However deep it is nested."""
        assert_error(register(tool, body, JSON), 400,
                     "the body is not valid JSON")

    @pytest.mark.parametrize("body", [
        b"[]", b'"email"', b"1", b"null", b"true", b"NaN",
        b'[{"email": "a"}]'], ids=ascii)
    def test_not_an_object(self, tool: FlaskClient, body: bytes) -> None:
        """Fields have names."""
        assert_error(register(tool, body, JSON), 400,
                     "the body is not a JSON object")

    @pytest.mark.parametrize("body", [
        b'{"email": "a\xff"}', json.dumps({"email": "a"}).encode("utf-16")],
        ids=["stray byte", "utf-16"])
    def test_undecodable(self, tool: FlaskClient, body: bytes) -> None:
        """Only UTF-8 is read, though JSON allows more."""
        assert_error(register(tool, body, JSON), 400, "the body is not UTF-8")

    @pytest.mark.parametrize("body", [
        b'{"email": "a", "email": "b", "password": "x"}',
        b'{"email": "a", "password": "x", "n": {"m": 1, "m": 2}}'], ids=ascii)
    def test_field_given_twice(self, tool: FlaskClient, body: bytes) -> None:
        """At any depth."""
        assert_error(register(tool, body, JSON), 400,
                     "a field is given twice")

    @pytest.mark.parametrize("value", [
        None, 1, 1.5, True, [], ["a"], {}, {"a": "b"}, float("nan")],
        ids=ascii)
    @pytest.mark.parametrize("field", ["email", "password"])
    def test_wrong_type(
            self, tool: FlaskClient, field: str, value: Any) -> None:
        """Text only; nothing is converted."""
        body = dict({"email": EMAIL, "password": PASSWORD}, **{field: value})
        assert_error(tool.post("/users", json=body), 400,
                     "{} is not a string".format(field))

    @pytest.mark.parametrize("field", ["email", "password"])
    def test_half_a_surrogate_pair(
            self, tool: FlaskClient, field: str) -> None:
        """JSON can spell it, UTF-8 cannot."""
        body = dict({"email": EMAIL, "password": PASSWORD},
                    **{field: "x\ud800"})
        assert_error(tool.post("/users", json=body), 400,
                     "{} is not valid Unicode".format(field))

    def test_whole_surrogate_pair(self, tool: FlaskClient) -> None:
        """Is an ordinary character."""
        body = b'{"email": "bob@me.com", "password": "\\ud83d\\ude00"}'
        assert register(tool, body, JSON).status_code == 200


class TestContentType:
    """What a body may be."""

    @pytest.mark.parametrize("content_type", [
        "text/plain", "multipart/form-data; boundary=x", "application/xml",
        "application/jsonp", "", "nonsense", "application/json-seq"])
    def test_others(self, tool: FlaskClient, content_type: str) -> None:
        """415, with what to send instead."""
        assert_error(
            register(tool, b"email=a&password=x", content_type), 415,
            "send application/x-www-form-urlencoded or application/json")

    def test_nothing_sent_is_nothing_given(self, tool: FlaskClient) -> None:
        """The fields are missing, not the type."""
        assert_error(register(tool, b"", "text/plain"), 400,
                     "email and password are missing")


class TestLength:
    """How much may be sent."""

    @pytest.mark.parametrize("field, limit", [
        ("email", 250), ("password", 1024)])
    @pytest.mark.parametrize("more, status", [(0, 200), (1, 400)])
    def test_of_a_field(self, tool: FlaskClient, field: str, limit: int,
                        more: int, status: int) -> None:
        """Up to its limit, which is told."""
        body = dict({"email": EMAIL, "password": PASSWORD},
                    **{field: "x" * (limit + more)})
        answer = tool.post("/users", json=body)
        assert answer.status_code == status
        assert more == 0 or str(limit) in answer.get_json()["message"]

    @pytest.mark.parametrize("content_type", [FORM, JSON])
    @pytest.mark.parametrize("more, status", [(0, 400), (1, 413)])
    def test_of_a_body(self, tool: FlaskClient, content_type: str, more: int,
                       status: int) -> None:
        """16 KiB, whatever it claims to be."""
        body = b"x" * (16 * 1024 + more)
        assert register(tool, body, content_type).status_code == status

    @pytest.mark.parametrize("method, path", [
        ("GET", "/"), ("GET", "/profile"), ("GET", "/nowhere"),
        ("DELETE", "/sessions"), ("POST", "/users")])
    def test_too_much_is_not_read(
            self, tool: FlaskClient, method: str, path: str) -> None:
        """On any path, by what it declares."""
        answer = tool.open(
            path, method=method, input_stream=io.BytesIO(),
            environ_overrides={"CONTENT_LENGTH": "20000000"})
        assert_error(answer, 413, "the body is larger than 16 KiB")

    @pytest.mark.parametrize("size, status", [
        (16 * 1024, 400), (16 * 1024 + 1, 413), (10 ** 6, 413)])
    def test_of_a_body_that_does_not_declare_it(
            self, tool: FlaskClient, size: int, status: int) -> None:
        """Chunked bodies are counted as they come."""
        body = io.BytesIO(b"x" * size)
        answer = tool.post(
            "/users", input_stream=body, content_type=FORM,
            environ_overrides=CHUNKED)
        assert answer.status_code == status
        assert body.tell() <= 16 * 1024 + 1

    def test_connection_lost_on_the_way(self, tool: FlaskClient) -> None:
        """A client that hangs up is answered, not logged as our mistake."""
        class Broken(io.BytesIO):
            """A stream whose other end is gone."""

            def read(self, *_: Any) -> bytes:
                """Fail as a socket does."""
                raise OSError("connection reset")
            readinto = readline = read  # type: ignore[assignment]
        answer = tool.post(
            "/users", input_stream=Broken(), content_type=FORM,
            environ_overrides=CHUNKED)
        assert_error(answer, 400, "the body ended early")
