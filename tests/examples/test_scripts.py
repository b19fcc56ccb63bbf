#!/usr/bin/env python3
"""The script with requests and the service that checks Bearer sessions."""
from __future__ import annotations

import json
import os
import smtplib
import socket
import subprocess
import sys
import time
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple
from urllib.parse import urlsplit

import pytest
import requests

from examples import account, checking_api
from tests.examples.running import (
    CHECKING, FOLDER, LETTERBOX, Running, running)
from tests.helpers import (
    EMAIL, PASSWORD, STRANGE_TOKEN, Answer, Server, assert_error)
from tests.machine import free_port
from tests.proxies import SampleApp

pytestmark = pytest.mark.once
LINK = "https://localhost:8443/welcome/#verify=" + STRANGE_TOKEN
BUSY, DONE = (503, "2"), (200, "")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Bienvenue as `make run` starts it."""
    made = Server(tmp_path_factory.mktemp("service"))
    yield made
    made.stop()
    assert "Traceback" not in made.log()


@pytest.fixture(scope="module")
def api(service: Server, folder: Path) -> Iterator[Running]:
    """The other service, which asks this one."""
    with running(CHECKING, folder, AUTH_URL=service.url) as made:
        yield made


class TestAccount:
    """The script, walked from end to end."""

    def test_walk_prints_every_answer(self, service: Server) -> None:
        """And ends well, with the account deleted."""
        printed = subprocess.run(
            [sys.executable, "-W", "error", str(FOLDER / "account.py")],
            env=dict(os.environ, BASE_URL=service.url, no_proxy="*"),
            check=True, stdout=subprocess.PIPE, timeout=60,
            universal_newlines=True).stdout.splitlines()
        assert [each.partition("'message': ")[2] for each in printed] == [
            "'user created'}", "'logged in'}", "",
            "'Password updated'}", "'logged out'}", "'logged in'}"]
        assert "'current': True" in printed[2]


class Tired(requests.Session):
    """A connection to a service that refuses for a while, by a list."""

    def __init__(self, *answers: Tuple[int, str]) -> None:
        """Give these statuses and `Retry-After` headers, one by one."""
        super().__init__()
        self.answers = list(answers)

    def request(self, *_: Any, **__: Any) -> requests.Response:
        """Return the next answer, whatever is asked."""
        answer = requests.Response()
        answer.status_code, wait = self.answers.pop(0)
        answer.headers.update({"Retry-After": wait} if wait else {})
        answer.raw = None
        setattr(answer, "_content", b'{"message": "said"}')
        return answer


class TestWaiting:
    """What the script does when it is told to wait."""

    @pytest.fixture
    def slept(self, monkeypatch: pytest.MonkeyPatch) -> List[float]:
        """The seconds for which it slept, which are none here."""
        waits: List[float] = []
        monkeypatch.setattr(time, "sleep", waits.append)
        return waits

    @pytest.mark.parametrize("status", [429, 503])
    def test_waits_as_told_and_asks_again(
            self, slept: List[float], status: int) -> None:
        """Neither sooner nor later."""
        session = Tired((status, "2"), (status, "7"), DONE)
        assert account.ask(session, "GET", "/") == {"message": "said"}
        assert slept == [2, 7]

    def test_gives_up_after_some_tries(self, slept: List[float]) -> None:
        """A service that is busy for good is broken."""
        with pytest.raises(requests.HTTPError, match="said"):
            account.ask(Tired(*[BUSY] * 9), "GET", "/")
        assert len(slept) == account.TRIES - 1

    def test_long_wait_is_none(self, slept: List[float]) -> None:
        """Nobody sits in front of a script for a quarter of an hour."""
        with pytest.raises(requests.HTTPError, match="said"):
            account.ask(Tired((429, "900"), DONE), "GET", "/")
        assert slept == []

    def test_refusal_is_final(self, slept: List[float]) -> None:
        """What was wrong once is wrong the next time."""
        with pytest.raises(requests.HTTPError, match="said"):
            account.ask(Tired((401, ""), DONE), "GET", "/")
        assert slept == []


class TestLetterbox:
    """The mail server of the desk."""

    def test_link_is_printed_as_it_is_opened(self, tmp_path: Path) -> None:
        """Mail writes `=` as `=3D`, which nobody should undo by hand."""
        letter = EmailMessage()
        letter["From"], letter["To"] = "auth@example.com", EMAIL
        letter.set_content("Open {}".format(LINK), cte="quoted-printable")
        with running(LETTERBOX, tmp_path) as box:
            with smtplib.SMTP("127.0.0.1", box.port) as sender:
                sender.send_message(letter)
            assert LINK in box.printed()


class TestCheckingApi:
    """Whom the second service serves."""

    def bearer(self, service: Server) -> Dict[str, str]:
        """Return the headers of a program that just signed in."""
        service.ask("POST", "/users", email=EMAIL, password=PASSWORD)
        answer = service.ask(
            "POST", "/sessions", email=EMAIL, password=PASSWORD)
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        return {"Authorization": "Bearer " + cookie.partition("=")[2]}

    def assert_refused(self, answer: Answer, status: int,
                       header: str) -> None:
        """Assert a refusal in JSON that says what to do about it."""
        assert (answer.status, list(json.loads(answer.body.decode()))) == (
            status, ["message"])
        assert answer.headers[header]

    def test_user_is_known(self, service: Server, api: Running) -> None:
        """By the id, which never changes."""
        bearer = self.bearer(service)
        known = service.ask("GET", "/forward_auth", bearer).headers
        assert json.loads(api.ask("/notes", bearer).body.decode()) == {
            "user": known["Remote-User"], "notes": []}

    def test_who_left_is_refused(
            self, service: Server, api: Running) -> None:
        """At once, as nothing is remembered."""
        leaving = self.bearer(service)
        assert api.ask("/notes", leaving).status == 200
        assert service.ask("DELETE", "/sessions", leaving).status == 302
        self.assert_refused(
            api.ask("/notes", leaving), 401, "WWW-Authenticate")

    @pytest.mark.parametrize("headers", [
        {}, {"Authorization": "Bearer " + STRANGE_TOKEN},
        {"Authorization": "Bearer"}, {"Remote-User": "1"},
        {"Authorization": "Bearer {}\r\n Cookie: a=1".format(STRANGE_TOKEN)},
        {"Cookie": "session_id=" + STRANGE_TOKEN}])
    def test_nobody_is_refused(
            self, api: Running, headers: Dict[str, str]) -> None:
        """Whatever they say they are."""
        self.assert_refused(
            api.ask("/notes", headers), 401, "WWW-Authenticate")

    def test_stranger_that_says_yes_is_not_believed(
            self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A 200 that names nobody comes from something else."""
        other = SampleApp()
        try:
            self.assert_away(monkeypatch, other.port)
        finally:
            other.stop()

    def test_nobody_passes_while_the_service_is_gone(
            self, monkeypatch: pytest.MonkeyPatch) -> None:
        """In doubt nobody is let in."""
        self.assert_away(monkeypatch, free_port())

    def test_nobody_waits_for_a_service_that_hangs(
            self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A caller is told to come back instead, within seconds."""
        assert 0 < checking_api.TIMEOUT <= 5
        monkeypatch.setattr(checking_api, "TIMEOUT", 0.2)
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen(8)
            self.assert_away(monkeypatch, silent.getsockname()[1])

    def assert_away(self, monkeypatch: pytest.MonkeyPatch,
                    port: int) -> None:
        """Assert what callers hear when nothing useful is at the port."""
        monkeypatch.setattr(checking_api, "AUTH", urlsplit(
            "http://127.0.0.1:{}".format(port)))
        answer = checking_api.app.test_client().get("/notes", headers={
            "Authorization": "Bearer " + STRANGE_TOKEN})
        assert_error(answer, 503, "try again in a moment")
        assert answer.headers["Retry-After"] == "1"
