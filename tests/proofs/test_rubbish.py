#!/usr/bin/env python3
"""Rubbish on the socket.

Bytes that no library would send, and clients that stop in the middle, against
the production server: headers that contradict each other, requests hidden in
others, broken encodings, other protocols. The single requests are those of
tests/test_hostile.py.
"""
from __future__ import annotations

import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Tuple

import pytest
from flask import Flask

from routes import common, guards
from tests.databases import everything, url_in
from tests.helpers import EMAIL, PASSWORD, Server, needs_granian
from tests.proofs.servers import Flaw, Workers
from tests.proofs.size import PROVING
from tests.test_hostile import (
    CASES, FORM, HARMLESS, SMUGGLED, Case, assert_json, request, send, sends)

pytestmark = needs_granian
# What granian says itself of what is hardly HTTP, without a body; and of
# forms in chunks, whose end it does not tell from a broken connection.
OWN = (400, 405, 431)
STRICTER = OWN + (411, 413)
# It answers the second request of a connection too, as HTTP has it; hears a
# line that ends in LF.
OTHERWISE = ("pipelined", "pipelined-twice", "header-newlines-only")
# Some open an account, as nothing is wrong with them.
HOSTILE = [case for case in CASES if case.name not in OTHERWISE
           and not case.name.endswith(tuple(
               each.partition("@")[0] for each in HARMLESS))]
# What may differ afterwards: that it was tried.
RECORDS = ("attempts", "audit")
# How long granian waits for a head, and how much longer it may take a busy
# machine to hang up.
PATIENCE = 10 + 5
ANSWER = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
CLOSE = b"Connection: close"


class Talk(NamedTuple):
    """What a client sends in pieces, and the answers it may hear."""

    name: str
    pieces: List[bytes]
    heard: Tuple[Tuple[int, ...], ...]
    # Whether it hangs up; otherwise it waits until the server does.
    ends: bool = False


# -- Clients that take their time, or more than one turn

WHOLE: Dict[str, Tuple[bytes, int]] = {
    "read": (request("GET", "/", CLOSE), 200),
    "unknown": (request("GET", "/nothing", CLOSE), 404),
    "no-session": (request("GET", "/profile", CLOSE), 403),
    "sign-in": (sends("POST", "/sessions", b"email=a&password=b", FORM,
                      CLOSE), 401),
    "reset": (sends("PUT", "/reset_password", b"reset_token=a&new_password=b",
                    FORM, CLOSE), 403),
    "broken-json": (sends("POST", "/users", b'{"email": ',
                          b"application/json", CLOSE), 400)}


def slowly() -> Iterator[Talk]:
    """Send good requests in pieces: they are answered as ever."""
    ways: Dict[str, Callable[[bytes], List[bytes]]] = {
        "bytes": lambda sent: [sent[each:each + 1]
                               for each in range(len(sent))],
        "lines": lambda sent: sent.splitlines(True),
        "halves": lambda sent: [sent[:len(sent) // 2], sent[len(sent) // 2:]],
        "last-byte": lambda sent: [sent[:-1], sent[-1:]]}
    for what, (sent, status) in WHOLE.items():
        for how, cut in ways.items():
            yield Talk("{}-in-{}".format(what, how), cut(sent), ((status,),))


def unfinished() -> Iterator[Talk]:
    """Stop in the middle, and hang up: a 400, or nothing at all."""
    for what, (sent, _) in WHOLE.items():
        for tenth in range(10):
            yield Talk("{}-until-{}0%".format(what, tenth),
                       [sent[:len(sent) * tenth // 10]], (OWN, ()), True)


def silent() -> Iterator[Talk]:
    """Stop in the middle of a head, and stay: the server hangs up."""
    head = request("GET", "/profile", b"X: " + b"a" * 40)
    for end in range(0, len(head) - 1, 4):
        yield Talk("silent-after-{}".format(end), [head[:end]],
                   (OWN + (408,), ()))


def pipelined() -> Iterator[Talk]:
    """Send more than one request: each gets an answer of its own, in turn.

    After one that cannot be read there is no telling where the next begins.
    """
    read = request("GET", "/")
    refused = sends("POST", "/sessions", b"email=a&password=b")
    last, bad = WHOLE["unknown"][0], b"GET / HTTP/1.1\r\nX : a\r\n\r\n"
    for times in (1, 2, 10, 50):
        yield Talk("read-{}-times".format(times), [read * times + last],
                   ((200,),) * times + ((404,),))
        yield Talk("sign-in-{}-times".format(times),
                   [refused * times + last], ((401,),) * times + ((404,),))
    for what, (sent, status) in WHOLE.items():
        yield Talk("{}-is-the-last".format(what), [sent + SMUGGLED],
                   ((status,),))
        yield Talk("rubbish-before-{}".format(what),
                   [bad + sent + SMUGGLED], (OWN,))
        yield Talk("rubbish-after-{}".format(what), [
            sent.replace(CLOSE, b"X: a") + bad + SMUGGLED], ((status,), OWN))


TALKS = [talk for group in (slowly, unfinished, pipelined)
         for talk in group()]


# -- What is looked at

class Siege:
    """A server, what it keeps, and what is thrown at it."""

    def __init__(self, server: Server, folder: Path) -> None:
        """Begin with one account."""
        self._server, self._url = server, url_in(folder)
        assert server.ask("POST", "/users", email=EMAIL,
                          password=PASSWORD).status == 200

    def complaints(self, cases: List[Case], talks: List[Talk]) -> List[str]:
        """Return what goes wrong, and what is not as it was afterwards."""
        before = self._kept()
        found = [each for case in cases for each in self._of_case(case)]
        with ThreadPoolExecutor(max(1, len(talks))) as pool:
            for each in pool.map(self._of_talk, talks):
                found += each
        after = self._kept()
        return found + [
            "{} is not what it was".format(name)
            for name in before if before[name] != after[name]
        ] + self._of_service()

    def _kept(self) -> Dict[str, object]:
        """Return every row of what nobody may change."""
        return {name: rows for name, rows in everything(self._url).items()
                if name not in RECORDS}

    def _of_case(self, case: Case) -> Iterator[str]:
        """Yield what is wrong with the answer to one request.

        Whoever says that no more will come may be hung up on; what granian
        refuses before the service hears of it has no body.
        """
        try:
            answer = send(self._server, case)
        except (HTTPException, ConnectionError):
            if not case.ends:
                yield case.name + " is not answered"
            return
        if answer.status not in case.statuses + STRICTER:
            yield "{} is answered {}".format(case.name, answer.status)
        if "Set-Cookie" in answer.headers:
            yield case.name + " is given a cookie"
        if answer.body or answer.status not in OWN:
            try:
                assert_json(case, answer)
            except (AssertionError, ValueError):
                yield case.name + " is not answered in JSON"

    def _of_talk(self, talk: Talk) -> List[str]:
        """Return what is wrong with all that is heard in a connection."""
        try:
            heard = self._hears(talk)
        except socket.timeout:
            return [talk.name + " is never hung up on"]
        except ConnectionError:
            heard = b""
        statuses = [int(each) for each in ANSWER.findall(heard)]
        wanted = [each for each in talk.heard if each]
        # One that is not sure to be answered ends in ().
        few = len(wanted) - (() in talk.heard)
        if not few <= len(statuses) <= len(wanted) or any(
                status not in allowed
                for status, allowed in zip(statuses, wanted)):
            return ["{} is answered {}".format(talk.name, statuses)]
        return ["{} is not answered in JSON".format(talk.name)
                for each in bodies(heard) if not is_object(each)]

    def _hears(self, talk: Talk) -> bytes:
        """Say something in its pieces, and return all that is heard.

        Raises socket.timeout if nobody hangs up.
        """
        with socket.create_connection(
                ("127.0.0.1", self._server.port), timeout=PATIENCE) as raw:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for each in talk.pieces:
                raw.sendall(each)
                if len(talk.pieces) > 1:
                    time.sleep(0.002)
            if talk.ends:
                raw.shutdown(socket.SHUT_WR)
            return b"".join(iter(partial(raw.recv, 65536), b""))

    def _of_service(self) -> List[str]:
        """Return what is wrong with the service for somebody honest."""
        statuses = [self._server.ask(*asked).status
                    for asked in (("GET", "/"), ("GET", "/readyz"))]
        statuses += [self._server.ask(
            "POST", "/sessions", email=EMAIL, password=each).status
            for each in (PASSWORD, "wrong")]
        return [] if statuses == [200, 200, 200, 401] else [
            "afterwards the service answers {}".format(statuses)]


def bodies(heard: bytes) -> List[bytes]:
    """Return the bodies of all answers that have one."""
    return [each.partition(b"\r\n\r\n")[2]
            for each in re.split(rb"(?=HTTP/1\.1 [0-9]{3} )", heard)
            if each.partition(b"\r\n\r\n")[2]]


def is_object(body: bytes) -> bool:
    """Tell whether a body is a JSON object."""
    try:
        return isinstance(json.loads(body.decode()), dict)
    except ValueError:
        return False


# -- Servers with a flaw

def answers_in_html() -> None:
    """Have Werkzeug answer what goes wrong."""
    setattr(Flask, "register_error_handler", lambda *_: None)


def makes_mistakes() -> None:
    """Have a body that cannot be read be a mistake of ours."""
    setattr(common, "BadRequest", RuntimeError)


def reads_fields_twice() -> None:
    """Have the last of two fields count."""
    setattr(common, "_once", dict)


def lets_strangers_in() -> None:
    """Have everybody's pages and proxies ask for tokens of reset."""
    setattr(guards, "refuse_strangers", lambda asked: None)


def waits_a_minute() -> None:
    """Have granian be patient with who sends no head."""
    import granian.http

    settings = granian.http.HTTP1Settings
    setattr(granian.http, "HTTP1Settings", lambda **said: settings(
        **dict(said, header_read_timeout=60000)))


@pytest.mark.promise("Whatever bytes come, the answer is JSON below 500 or "
                     "none; nothing is changed, and the next is served.")
class TestRubbish:
    """More than a thousand requests that are none."""

    @pytest.fixture
    def besiege(self, tmp_path: Path) -> Iterator[Callable[..., Siege]]:
        """Start the server, whole or with a flaw."""
        servers: List[Server] = []

        def start(*flaw: Flaw) -> Siege:
            """Start it and open an account; no mail is sent by itself."""
            servers.append(Workers(tmp_path, *flaw, MAIL_IN_SERVER="0"))
            return Siege(servers[-1], tmp_path)
        yield start
        for each in servers:
            each.stop()

    def test_is_refused(self, besiege: Callable[..., Siege],
                        figure: Callable[[str], None]) -> None:
        """All of it, by one server."""
        talks = TALKS + (list(silent()) if PROVING else [])
        assert len(HOSTILE) >= 500
        assert besiege().complaints(HOSTILE, talks) == []
        figure("{:,} requests and {:,} halting or repeating clients, 0 "
               "complaints".format(len(HOSTILE), len(talks)))

    @pytest.mark.once
    @pytest.mark.parametrize("flaw, said", [
        pytest.param(answers_in_html,
                     "unknown-in-halves is not answered in JSON",
                     marks=pytest.mark.broken("errors are HTML")),
        pytest.param(makes_mistakes, "is answered 500",
                     marks=pytest.mark.broken("a broken body is a mistake")),
        pytest.param(reads_fields_twice, "is answered 40",
                     marks=pytest.mark.broken("the last of two fields counts")
                     ),
        pytest.param(lets_strangers_in, "mail_tokens is not what it was",
                     marks=pytest.mark.broken(
                         "a stranger's page asks for a reset"))])
    def test_finds(self, besiege: Callable[..., Siege], flaw: Flaw,
                   said: str) -> None:
        """What a flaw lets through."""
        found = besiege(flaw).complaints(HOSTILE[::9], TALKS[::2])
        assert any(said in each for each in found), found

    @pytest.mark.once
    @pytest.mark.skipif(not PROVING, reason="takes its 15 seconds")
    @pytest.mark.broken("a head may take a minute")
    def test_finds_patience(self, besiege: Callable[..., Siege]) -> None:
        """With those who say nothing more."""
        talks = list(silent())[::5]
        assert [each for each in besiege(waits_a_minute).complaints([], talks)
                if "never hung up on" in each]
