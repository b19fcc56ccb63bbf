#!/usr/bin/env python3
"""What tests share: a clock, a visitor, a real server, and a crowd."""
from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from email.message import EmailMessage
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from mail.transports import Mailer, Send
from tests.databases import put_tables_in, url_in
from tests.machine import free_port

ROOT = Path(__file__).resolve().parent.parent
EMAIL, PASSWORD = "bob@me.com", "mySuperPwd"
# What the production mode takes, and where it is reached.
STRONG, STRONGER = "tartiflette au reblochon", "reblochon sans tartiflette"
ORIGIN = "https://auth.example.com"
PRODUCTION: Dict[str, str] = dict(
    env="production", public_url=ORIGIN, mail_from="auth@example.com",
    landing_url="https://www.example.com/account",
    mail_url="smtps://mail.example.com")
# Made up, and shaped like a token: no store has seen it.
STRANGE_TOKEN = "123e4567-e89b-42d3-a456-426614174000"
# What may never be looked up, because no token is like it.
NO_TOKENS: Tuple[Any, ...] = (
    None, "", " ", 0, True, b"", [], {}, [STRANGE_TOKEN], "x" * 10000,
    STRANGE_TOKEN.upper(), STRANGE_TOKEN + "\n", STRANGE_TOKEN + "\0",
    STRANGE_TOKEN.replace("1", "\u0661"), STRANGE_TOKEN[:-1], "null", "None",
    "\ud800", "' OR '1'='1")


class Clock:
    """Tells the time it was set to, in seconds since 1970 UTC."""

    def __init__(self) -> None:
        """Start on an autumn day of 2026."""
        self.now = 1795000000.0

    def __call__(self) -> float:
        """Return the moment."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on, or back if the seconds are negative."""
        self.now += seconds


class Mailbox(Mailer):
    """Takes every mail, and shows it to whoever may read it.

    `broken`, if set, is what the server fails with; `refuses`, if set, what
    it says of a mail.
    """

    def __init__(self) -> None:
        """Start empty, with all in order."""
        self.mails: List[Tuple[str, EmailMessage]] = []
        self.broken: Optional[Exception] = None
        self.refuses: Optional[Exception] = None

    @contextmanager
    def connection(self) -> Iterator[Send]:
        """Take mails, unless broken."""
        if self.broken:
            raise self.broken

        def send(message: EmailMessage, email: str) -> None:
            """Take one mail, unless it is refused."""
            if self.refuses:
                raise self.refuses
            self.mails.append((email, message))
        yield send

    def subjects(self, email: str) -> List[str]:
        """Return the subjects of all mails to an address, in order."""
        return [str(message["Subject"]) for to, message in self.mails
                if to == email]

    def text(self, email: str) -> str:
        """Return the text of the newest mail to an address."""
        newest = [each for to, each in self.mails if to == email][-1]
        body = newest.get_body(("plain",))
        return str(body.get_content()) if body else ""

    def token(self, email: str) -> str:
        """Return the token in the link of the newest mail to an address."""
        return link_token(self.text(email))


class Visitor:
    """Somebody who uses the service through a browser that keeps cookies."""

    def __init__(self, browser: FlaskClient, base_url: str =
                 "http://localhost", address: str = "127.0.0.1") -> None:
        """Use this browser, which nobody else does, from an address."""
        self.browser = browser
        self._base_url = base_url
        self._address = address

    def asks(self, method: str, path: str, headers: Optional[
            Dict[str, str]] = None, **data: str) -> TestResponse:
        """Send a form and return the answer."""
        return self.browser.open(
            path, method=method, data=data, base_url=self._base_url,
            headers=headers, environ_base={"REMOTE_ADDR": self._address})

    def registers(self, email: str = EMAIL,
                  password: str = PASSWORD) -> TestResponse:
        """Open an account."""
        return self.asks("POST", "/users", email=email, password=password)

    def logs_in(self, email: str = EMAIL,
                password: str = PASSWORD) -> TestResponse:
        """Sign in; the browser keeps the session."""
        return self.asks("POST", "/sessions", email=email, password=password)

    def logs_out(self) -> TestResponse:
        """Sign out of this browser."""
        return self.asks("DELETE", "/sessions")

    def sees_profile(self) -> TestResponse:
        """Ask who is signed in here."""
        return self.asks("GET", "/profile")

    def forgets_password(self, email: str = EMAIL) -> str:
        """Ask for a reset token and return it."""
        answer = self.asks("POST", "/reset_password", email=email)
        return str(answer.get_json()["reset_token"])

    def resets_password(self, reset_token: str, new_password: str,
                        email: str = EMAIL) -> TestResponse:
        """Set a new password with a token."""
        return self.asks("PUT", "/reset_password", email=email,
                         reset_token=reset_token, new_password=new_password)


def link_token(text: str) -> str:
    """Return the token in the link of a mail."""
    return text.partition("#")[2].partition("=")[2].split()[0]


def cookies_of(answer: TestResponse) -> Dict[str, str]:
    """Return what an answer sets, by name: the value and its attributes."""
    return {line.partition("=")[0]: line.partition("=")[2]
            for line in answer.headers.getlist("Set-Cookie")}


def session_cookie(answer: TestResponse) -> str:
    """Return the session id that an answer sets, as the browser gets it."""
    cookie = answer.headers["Set-Cookie"]
    return cookie.partition(";")[0].partition("=")[2]


def assert_error(answer: TestResponse, status: int, message: str) -> None:
    """Assert the one error shape, with this status and sentence."""
    assert answer.status_code == status, answer.get_data(as_text=True)
    assert answer.mimetype == "application/json"
    assert answer.get_json() == {"message": message}


class Answer:
    """What a real server sent back."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        """Read the response to its end."""
        self.status = response.status
        self.headers = response.msg
        self.body = response.read()


class Server:
    """A real `python3 app.py` in a process of its own, on a free port."""

    # Where it is reached, what is started, in front of what, and where; by
    # default in the folder of the database.
    address = "127.0.0.1"
    within: Tuple[str, ...] = ()
    command: Tuple[str, ...] = (sys.executable, str(ROOT / "app.py"))
    home: Optional[Path] = None

    def __init__(self, folder: Path, **environ: str) -> None:
        """Start it on the database of this folder; return once it answers.

        Servers of one folder share the database. Warnings are errors.
        """
        self.port = free_port()
        self.url = "http://{}:{}".format(self.address, self.port)
        self._log = folder / "server-{}.log".format(self.port)
        url = url_in(folder)
        put_tables_in(url)
        settings = dict(
            PORT=str(self.port), BCRYPT_COST="4", PYTHONWARNINGS="error",
            DATABASE_URL=url)
        settings.update(environ)
        started = time.monotonic()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                self.within + self.command, stdout=log, stderr=log,
                env=dict(os.environ, **settings),
                cwd=str(self.home or folder))
        while not self._answers():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < started + 30, self.log()
            time.sleep(0.01)
        self.start_seconds = time.monotonic() - started

    def ask(self, method: str, path: str, headers: Optional[
            Dict[str, str]] = None, **data: str) -> Answer:
        """Send a form over a connection of its own and return the answer.

        Raises OSError or http.client.HTTPException if the server is gone.
        """
        sent = {"Content-Type": "application/x-www-form-urlencoded"}
        sent.update(headers or {})
        connection = http.client.HTTPConnection(
            self.address, self.port, timeout=60)
        try:
            connection.request(method, path, urlencode(data), sent)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def log(self) -> str:
        """Return what it printed so far."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does (kill -9)."""
        self.process.kill()
        self.process.wait()

    def tell(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def ends(self) -> int:
        """Wait until it has ended, and return its exit code."""
        return self.process.wait(60)

    def stop(self) -> None:
        """Ask it to end, and wait until it did."""
        self.process.terminate()
        self.ends()

    def _answers(self) -> bool:
        """Tell whether it serves; an open port alone does not say so."""
        try:
            return self.ask("GET", "/").status == 200
        except (OSError, http.client.HTTPException):
            return False


needs_granian = pytest.mark.skipif(
    find_spec("granian") is None,
    reason="granian has no packages for this Python")


class Granian(Server):
    """The production server, as `make serve` starts it."""

    command: Tuple[str, ...] = (sys.executable, "-m", "deploy.serve")
    home = ROOT


class Gunicorn(Server):
    """The other one, as `make serve SERVER=gunicorn` starts it."""

    command = (sys.executable, "-m", "gunicorn", "-c",
               "deploy/gunicorn.conf.py", "app:app")
    home = ROOT


def all_at_once(calls: List[Callable[[], Any]]) -> List[Any]:
    """Make every call in a thread of its own, all starting together.

    Returns their results in order. An exception in one is raised here.
    """
    results: List[Any] = [None] * len(calls)
    errors: List[BaseException] = []
    barrier = threading.Barrier(len(calls))

    def run(place: int) -> None:
        """Wait for the others, then call."""
        try:
            barrier.wait(60)
            results[place] = calls[place]()
        except BaseException as error:
            errors.append(error)
    threads = [threading.Thread(target=run, args=(place,))
               for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
