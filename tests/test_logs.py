#!/usr/bin/env python3
"""The log: a line is a line, whatever a stranger puts into it."""
from __future__ import annotations

import io
import json
import logging
import socket
import sys
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest
from werkzeug.serving import BaseWSGIServer

from app import listen
from logs import JsonLines, PlainText, configure
from settings import Settings
from tests.helpers import EMAIL, ORIGIN, STRANGE_TOKEN, STRONG, Server

pytestmark = pytest.mark.one_database
# What ends a line, or moves the cursor, somewhere.
OBEYED = ["a\nb", "a\r\nb", "\r", "\0", "\x1b[2J\x1b[31m", "\x7f", "\x85",
          "\x9b31m", '"}\n{"']
NASTY = OBEYED + ["\u2028", "\u2029", "\ud800", "\udfff\ud800", "\ufeff",
                  "\u202e", "\\", "%s", "caf\u00e9", "\U0001f600"]
# What JSON has no word for.
FOREIGN = [b"\x00\xff\n", {1, 2}, OSError("a\nb"), Path("/\x1b"), object()]
MOMENT = 1795000000.1239


def record_of(message: str, *args: object, **more: Any) -> logging.LogRecord:
    """Return what a logger hands to a formatter."""
    record = logging.LogRecord(
        "bienvenue", logging.WARNING, __file__, 1, message, args, None)
    record.created = MOMENT
    vars(record).update(more)
    return record


def read(line: str) -> Dict[str, Any]:
    """Return what is in a line, which has to be one, and fit for anybody."""
    assert all(" " <= char <= "~" for char in line), ascii(line)
    found = json.loads(line, parse_constant=pytest.fail)
    assert isinstance(found, dict)
    return found


def failure(text: str) -> Any:
    """Return the facts of an exception with this text, which was raised."""
    try:
        raise KeyError("first") from OSError(text)
    except KeyError:
        return sys.exc_info()


@contextmanager
def bare_log() -> Iterator[None]:
    """Have a log that nobody has configured, and put back what was.

    Not a fixture: pytest brings its own handlers for the test alone.
    """
    kept, level = logging.root.handlers, logging.root.level
    logging.root.handlers = []
    logging.root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logging.root.handlers = kept
        logging.root.setLevel(level)


class TestJsonLines:
    """One object a line."""

    def test_says_when_how_bad_who_and_what(self) -> None:
        """In these words, in this order, and in UTC."""
        line = JsonLines().format(record_of("%s in request %s", "a", "b"))
        assert line == (
            '{"at": "2026-11-18T11:06:40.123+00:00", "level": "warning", '
            '"logger": "bienvenue", "message": "a in request b"}')

    @pytest.mark.skipif(not hasattr(time, "tzset"), reason="needs tzset")
    def test_time_is_utc_everywhere(
            self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lines of several machines can be put in order (ASVS 16.2.2)."""
        with monkeypatch.context() as patched:
            patched.setenv("TZ", "America/New_York")
            time.tzset()
            at = read(JsonLines().format(record_of("x")))["at"]
        time.tzset()
        assert at.endswith("+00:00")
        assert datetime.strptime(
            at.replace("+00:00", "+0000"), "%Y-%m-%dT%H:%M:%S.%f%z") \
            == datetime.fromtimestamp(1795000000.123, timezone.utc)

    @pytest.mark.parametrize("text", NASTY, ids=ascii)
    def test_message_stays_in_its_line(self, text: str) -> None:
        """And is all there (ASVS 16.4.1, Django's CVE-2025-48432)."""
        for record in (record_of(text), record_of("%s", text)):
            assert read(JsonLines().format(record))["message"] == text

    @pytest.mark.parametrize("text", NASTY, ids=ascii)
    def test_field_stays_in_its_line(self, text: str) -> None:
        """Its name as well, if ever a stranger could choose one."""
        fields = {"detail": text, "nested": {text + "!": [text]}}
        found = read(JsonLines().format(record_of("x", fields=fields)))
        assert found["detail"] == text
        assert found["nested"] == {text + "!": [text]}

    @pytest.mark.parametrize("value", FOREIGN, ids=type)
    def test_what_json_cannot_say_is_described(self, value: object) -> None:
        """A log that fails hides what happened."""
        for field in (value, [value]):
            line = JsonLines().format(record_of("x", fields={"odd": field}))
            said = read(line)["odd"]
            assert said == (str(value) if field is value else [str(value)])

    @pytest.mark.parametrize("value", [7, 1.5, True, None, [1], {"a": 1}],
                             ids=repr)
    def test_what_json_can_say_is_kept(self, value: object) -> None:
        """A number is a number to who searches the log."""
        line = JsonLines().format(record_of("x", fields={"value": value}))
        assert read(line)["value"] == value

    def test_fields_stand_beside_the_rest(self) -> None:
        """At the top, where a search finds them."""
        found = read(JsonLines().format(record_of(
            "x", fields={"fact": "login.refused", "user_id": 7})))
        assert (found["fact"], found["user_id"]) == ("login.refused", 7)
        assert set(found) == {"at", "level", "logger", "message", "fact",
                              "user_id"}

    @pytest.mark.parametrize("text", NASTY, ids=ascii)
    def test_exception_stays_in_its_line(self, text: str) -> None:
        """With its traceback and its cause."""
        found = read(JsonLines().format(record_of(
            "x", exc_info=failure(text))))
        assert found["message"] == "x"
        assert "Traceback (most recent call last):\n" in found["exception"]
        assert "OSError: " + text in found["exception"]
        assert "KeyError: 'first'" in found["exception"]

    def test_no_exception_is_not_mentioned(self) -> None:
        """A search for the word finds the mistakes only."""
        assert "exception" not in JsonLines().format(record_of("x"))


class TestPlainText:
    """A desk's log, read by a person."""

    def test_is_the_message_and_the_fields(self) -> None:
        """Of which it does not repeat those that the message names."""
        text = PlainText().format(record_of("x in %s", "abc-1", fields={
            "request_id": "abc-1", "network": "127.0.0.1", "user_id": 7}))
        assert text == "x in abc-1 network=127.0.0.1 user_id=7"

    def test_a_message_may_have_lines(self) -> None:
        """Such as a mail that is shown."""
        assert PlainText().format(record_of("one\n\n%s", "two\n")) \
            == "one\n\ntwo\n"

    @pytest.mark.parametrize("text", OBEYED, ids=ascii)
    def test_field_stays_in_its_line(self, text: str) -> None:
        """A terminal obeys nothing that a stranger wrote."""
        said = PlainText().format(record_of("x", fields={"detail": text}))
        assert said.startswith("x detail=") and said.isprintable()

    def test_field_spells_what_it_leaves_out(self) -> None:
        """So that a reader sees the attempt."""
        said = PlainText().format(record_of(
            "x", fields={"detail": "a\r\n\x1b[2J\x7f\x9b"}))
        assert said == r"x detail=a\x0d\x0a\x1b[2J\x7f\x9b"

    def test_has_the_traceback_below(self) -> None:
        """Where an editor finds the lines it names."""
        text = PlainText().format(record_of("x", exc_info=failure("y")))
        assert text.startswith("x\nOSError: y\n") and "Traceback" in text
        assert text.endswith("KeyError: 'first'")


class TestConfigure:
    """Who starts a process decides how its log looks."""

    @pytest.mark.parametrize("production, kind", [
        (True, JsonLines), (False, PlainText)])
    def test_sets_up_what_nobody_did(
            self, production: bool, kind: Any,
            capsys: pytest.CaptureFixture[str]) -> None:
        """On standard error, from information upwards."""
        with bare_log():
            configure(production)
            handler, = logging.root.handlers
            logging.getLogger("bienvenue.test").info("hello")
            logging.getLogger("bienvenue.test").debug("details")
        assert type(handler.formatter) is kind
        out, err = capsys.readouterr()
        assert out == "" and "hello" in err and "details" not in err

    @pytest.mark.parametrize("production", [True, False])
    def test_leaves_what_somebody_set_up(self, production: bool) -> None:
        """A server that hosts us has a log of its own."""
        theirs = logging.NullHandler()
        with bare_log():
            logging.root.addHandler(theirs)
            configure(production)
            assert logging.root.handlers == [theirs]
            assert logging.root.level == logging.WARNING
        assert theirs.formatter is None


class TestAccessLog:
    """A line for each request that Flask's own server answers."""

    @pytest.fixture
    def ask(self, json_log: io.StringIO) -> Iterator[Callable[..., str]]:
        """Send the head of a request; return the line that it leaves."""
        server: BaseWSGIServer = listen(Settings(port=0))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()

        def exchange(first: bytes, *headers: bytes) -> str:
            """Send it, wait for the end of the answer, and read the log."""
            head = (first, b"Host: localhost") + headers + (b"", b"")
            with socket.create_connection(
                    ("127.0.0.1", server.port), timeout=10) as raw:
                raw.sendall(b"\r\n".join(head))
                while raw.recv(4096):
                    pass
            line, = json_log.getvalue().splitlines()
            assert "werkzeug" in line
            return str(read(line)["message"])
        yield exchange
        server.shutdown()
        thread.join()
        server.server_close()

    def test_says_who_asked_for_what(self, ask: Callable[..., str]) -> None:
        """And how it was answered."""
        said = ask(b"DELETE /nowhere HTTP/1.1")
        assert said.startswith("127.0.0.1 - - [")
        assert said.endswith("] DELETE /nowhere 404")

    @pytest.mark.parametrize("path, logged", [
        (b"/profile?session_id=hush", "/profile"), (b"/?hush", "/"),
        (b"/??hush", "/"), (b"/nowhere?a=1&reset_token=hush#x", "/nowhere"),
        (b"/%3Fhush", "/%3Fhush")])
    def test_says_nothing_of_a_query(
            self, ask: Callable[..., str], path: bytes, logged: str) -> None:
        """Links with tokens in them get there by mistake (ASVS 14.2.1)."""
        assert " GET {} ".format(logged) in ask(b"GET " + path + b" HTTP/1.1")

    @pytest.mark.parametrize("path, logged", [
        ("/{}", "/<token>"), ("/sessions/{}", "/sessions/<token>"),
        ("/x/{}/y", "/x/<token>/y"), ("/a{}b{}", "/a<token>b<token>")])
    @pytest.mark.parametrize("token", [
        STRANGE_TOKEN, STRANGE_TOKEN.upper()], ids=["as-made", "shouted"])
    def test_says_nothing_of_a_token_in_a_path(
            self, ask: Callable[..., str], path: str, logged: str,
            token: str) -> None:
        """Nobody is meant to put one there, and some do (ASVS 16.2.5)."""
        sent = path.replace("{}", token).encode()
        said = ask(b"GET " + sent + b" HTTP/1.1")
        assert " GET {} ".format(logged) in said

    @pytest.mark.parametrize("status, first", [
        (200, b"GET / HTTP/1.1"), (403, b"GET /profile HTTP/1.1"),
        (404, b"GET /nowhere HTTP/1.1"), (400, b"GET nowhere HTTP/1.1")])
    def test_has_no_colours(self, ask: Callable[..., str], status: int,
                            first: bytes) -> None:
        """Werkzeug would paint each status in one of its own."""
        said = ask(first)
        assert said.endswith(" {}".format(status)) and said.isprintable()

    @pytest.mark.parametrize("path, logged", [
        (b"/\x1b[2J", r"/\x1b[2J"), (b"/a\x00b", r"/a\x00b"),
        (b"/\x9b31m", r"/\x9b31m"), (b"/\x7f", r"/\x7f"),
        (b"/%0D%0AFAKE", "/%0D%0AFAKE"), (b"/%1b%s%n", "/%1b%s%n")])
    def test_obeys_nobody(self, ask: Callable[..., str], path: bytes,
                          logged: str) -> None:
        """Control characters are spelled, and escapes stay escapes.

        Plain text would show them as they are, and so would a tool that
        takes the message out of its line.
        """
        said = ask(b"GET " + path + b" HTTP/1.1")
        assert said.isprintable() and " GET {} ".format(logged) in said

    def test_says_nothing_of_headers(self, ask: Callable[..., str]) -> None:
        """Neither who is signed in nor where they come from."""
        said = ask(b"GET / HTTP/1.1", b"Cookie: session_id=hush",
                   b"Authorization: Bearer hush", b"User-Agent: hush",
                   b"Referer: https://hush.example/")
        assert "hush" not in said


def test_production_server_writes_json_only(tmp_path: Path) -> None:
    """From its first line to its last, whatever is asked of it."""
    server = Server(
        tmp_path, AUTH_ENV="production", PUBLIC_URL=ORIGIN, BCRYPT_COST="10",
        TRUSTED_HOSTS="127.0.0.1", MAIL_URL="smtp://127.0.0.1:1",
        MAIL_FROM="auth@example.com", LANDING_URL=ORIGIN, MAIL_IN_SERVER="0")
    try:
        server.ask("POST", "/users", email=EMAIL, password=STRONG)
        server.ask("POST", "/sessions", email=EMAIL, password="hush")
        server.ask("GET", "/profile?token=hush", {"Host": "evil.example"})
    finally:
        server.stop()
    greeting, *written = server.log().splitlines()
    assert greeting.startswith("Bienvenue listens on ")
    said: List[Dict[str, Any]] = [read(each) for each in written
                                  if each != "Ctrl+C stops it."]
    assert {each["logger"] for each in said} == {
        "werkzeug", "bienvenue", "bienvenue.audit"}
    assert {"account.created", "login.refused"} <= {
        each["message"] for each in said}
    assert "hush" not in repr(said)
