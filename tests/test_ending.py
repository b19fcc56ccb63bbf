#!/usr/bin/env python3
"""How a service ends: with an answer for who is in, and no mail left behind.

Real processes are told to, by the signals that supervisors and people send:
Flask's own server, granian, gunicorn, and `flask mail send --watch`.
"""
from __future__ import annotations

import multiprocessing.process
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Type
from urllib.parse import urlencode

import pytest

from ending import SIGNALS, Ending, InFlight
from tests.databases import url_in
from tests.helpers import (
    EMAIL, PASSWORD, ROOT, Granian, Gunicorn, Server, all_at_once,
    needs_granian)
from tests.machine import wait_until
from tests.smtp_server import SmtpServer
from tests.test_going_live import DEPLOYED, Live, is_sent, query

Process = Any  # subprocess.Popen, which Python 3.7 cannot subscript
SERVERS = [Server, pytest.param(Granian, marks=needs_granian), Gunicorn]
every_server = pytest.mark.parametrize("server", SERVERS, indirect=True)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# The last connection of gunicorn 23 is closed by the system.
WARNINGS = "error,ignore:unclosed:ResourceWarning"
# What any of them may need to end on a busy machine, with a mail server that
# hangs; the patience of whoever stops it is 40 s.
PATIENCE = 20


@pytest.mark.one_database
class TestEnding:
    """The word that a process is to end."""

    @pytest.mark.parametrize("number", SIGNALS)
    def test_signal_ends_the_wait(self, number: int) -> None:
        """Which a handler of Python's own would end with an exception."""
        with Ending() as ending:
            os.kill(os.getpid(), number)
            ending.wait()

    def test_signal_during_the_wait(self) -> None:
        """As it is nearly always."""
        with Ending() as ending:
            threading.Timer(0.05, os.kill, [
                os.getpid(), signal.SIGTERM]).start()
            ending.wait()

    def test_thread_can_tell_as_well(self) -> None:
        """Nobody needs a signal for it."""
        ending = Ending()
        threading.Timer(0.01, ending.tell).start()
        ending.wait()
        ending.close()

    def test_another_thread_may_get_the_signal(self) -> None:
        """The system chooses; the main thread would wait on."""
        with Ending() as ending:
            teller = threading.Timer(0.05, lambda: signal.pthread_kill(
                threading.get_ident(), signal.SIGTERM))
            teller.start()
            ending.wait()
            teller.join()

    def test_other_signals_are_no_word(self) -> None:
        """Somebody else's handler is somebody else's business."""
        before = signal.signal(signal.SIGUSR1, lambda *_: None)
        said: List[str] = []
        with Ending() as ending:
            def tell() -> None:
                """Say it, and that it was said."""
                said.append("it is time")
                ending.tell()
            os.kill(os.getpid(), signal.SIGUSR1)
            teller = threading.Timer(0.05, tell)
            teller.start()
            ending.wait()
            assert said == ["it is time"]
            teller.join()
        signal.signal(signal.SIGUSR1, before)

    def test_signals_are_left_as_they_were(self) -> None:
        """To whoever cares for them afterwards."""
        before = [signal.getsignal(each) for each in SIGNALS]
        with Ending():
            assert [signal.getsignal(each) for each in SIGNALS] != before
        assert [signal.getsignal(each) for each in SIGNALS] == before


@pytest.mark.one_database
class TestInFlight:
    """What is being answered."""

    def test_nothing_is_finished_at_once(self) -> None:
        """Neither before the first request nor between two."""
        work = InFlight()
        assert work.finish(0)
        with work:
            pass
        assert work.finish(0)

    def test_something_is_not(self) -> None:
        """However long it takes; whoever waits is told so."""
        work = InFlight()
        with work, work:
            assert not work.finish(0)
        assert work.finish(0)

    def test_wait_ends_with_the_last_one(self) -> None:
        """Not after all the seconds."""
        work, began = InFlight(), time.monotonic()
        work.__enter__()
        threading.Timer(0.05, work.__exit__).start()
        assert work.finish(60)
        assert time.monotonic() - began < 30

    def test_request_that_fails_is_over_too(self) -> None:
        """Nobody waits for it."""
        work = InFlight()
        with pytest.raises(KeyError), work:
            raise KeyError()
        assert work.finish(0)


# -- A request in flight

class Visit:
    """A sign-in that the server is at, but whose body it lacks yet.

    The server says "100 Continue" once it begins to answer: from then on the
    request is in flight, on a machine however slow.
    """

    def __init__(self, server: Server) -> None:
        """Send the head, and wait until the server is at it."""
        self._body = urlencode(
            {"email": EMAIL, "password": PASSWORD}).encode()
        self._socket = socket.create_connection(
            ("127.0.0.1", server.port), timeout=60)
        self._socket.sendall(
            b"POST /sessions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
            % len(self._body))
        assert self._socket.recv(4096).startswith(CONTINUE)

    def goes_on(self) -> bytes:
        """Send the body, and return the answer, to its end."""
        with self._socket:
            self._socket.sendall(self._body)
            heard = b"".join(iter(partial(self._socket.recv, 4096), b""))
        # On an old Python it is said twice.
        return heard.replace(CONTINUE, b"")


def lets_nobody_in(server: Server) -> bool:
    """Tell whether a new connection is refused."""
    try:
        socket.create_connection(("127.0.0.1", server.port), 5).close()
    except ConnectionError:
        return True
    return False


@pytest.fixture
def server(request: Any, tmp_path: Path) -> Iterator[Server]:
    """A server with hashes as costly as in production."""
    started = request.param(
        tmp_path, BCRYPT_COST="12", PYTHONWARNINGS=WARNINGS)
    yield started
    started.kill()
    assert "Traceback" not in started.log()
    assert "Warning:" not in started.log()


def leaves_at_once() -> None:
    """Kill the workers when told to end, whatever they are at."""
    process: Any = multiprocessing.process.BaseProcess
    setattr(process, "terminate", process.kill)


@pytest.mark.promise("Who is being answered when the server is told to end "
                     "gets the answer, and nobody else is let in.")
class TestRequestInFlight:
    """SIGTERM in the middle of a sign-in."""

    @every_server
    def test_is_answered_when_nobody_is_let_in_any_more(
            self, server: Server, figure: Callable[[str], None]) -> None:
        """The password is hashed after the word came, and it is 200."""
        server.ask("POST", "/users", email=EMAIL, password=PASSWORD)
        visit = Visit(server)
        server.tell(signal.SIGTERM)
        wait_until(partial(lets_nobody_in, server))
        answer = visit.goes_on()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b'"message":"logged in"}\n')
        assert server.ends() == 0
        figure("{}: 200 and exit code 0".format(" ".join(
            Path(each).name for each in server.command[1:3])))

    @needs_granian
    @pytest.mark.broken("a server that ends at once")
    def test_finds_who_is_cut_off(self, tmp_path: Path) -> None:
        """The client would not know whether it was signed in."""
        from tests.proofs.servers import Workers

        hasty = Workers(tmp_path, leaves_at_once)
        hasty.ask("POST", "/users", email=EMAIL, password=PASSWORD)
        visit = Visit(hasty)
        hasty.tell(signal.SIGTERM)
        hasty.ends()
        heard = b""
        with suppress(ConnectionError):
            heard = visit.goes_on()
        assert heard == b""

    @pytest.mark.one_database
    @every_server
    @pytest.mark.parametrize("number", SIGNALS)
    def test_idle_server_ends_at_once(
            self, server: Server, number: int) -> None:
        """With 0, by Ctrl+C as well."""
        began = time.monotonic()
        server.tell(number)
        assert server.ends() == 0
        assert time.monotonic() - began < PATIENCE


def end_while_starting(kind: Type[Server], folder: Path) -> float:
    """End a server whose last workers just come up; return the seconds.

    One that misses the word is killed after 20 s and more.
    """
    started = kind(folder, WORKERS="6", PYTHONWARNINGS=WARNINGS,
                   GUNICORN_CMD_ARGS="--graceful-timeout=20")
    began = time.monotonic()
    started.tell(signal.SIGTERM)
    assert started.ends() == 0
    return time.monotonic() - began


@pytest.mark.one_database
@pytest.mark.parametrize("kind", SERVERS[1:])
def test_worker_that_just_starts_hears_the_word(
        tmp_path_factory: pytest.TempPathFactory,
        kind: Type[Server]) -> None:
    """Both lose a signal between a fork and their handlers."""
    assert max(all_at_once([partial(
        end_while_starting, kind, tmp_path_factory.mktemp("starting"))
        for _ in range(4)])) < PATIENCE


# -- A mail on its way

class Left(NamedTuple):
    """What a sender left that was ended while its mail server hung."""

    code: int
    seconds: float
    log: str
    claimed: bool
    due: bool
    sent: int


class LiveGranian(Live, Granian):
    """The production server in production."""


class LiveGunicorn(Live, Gunicorn):
    """The other one in production."""


def begin_server(kind: Type[Live], folder: Path, url: str) -> Process:
    """Start a server that sends its mail itself."""
    started = kind(folder, MAIL_URL=url)
    started.registers(EMAIL)
    return started.process


def begin_watch(folder: Path, url: str) -> Process:
    """Start `flask mail send --watch` on what a server left to it."""
    server = Live(folder, MAIL_URL=url, MAIL_IN_SERVER="0")
    server.registers(EMAIL)
    server.stop()
    with (folder / "watch.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "flask", "mail", "send",
             "--watch"], cwd=str(ROOT), stdout=log, stderr=log,
            env=environ(folder, url))


def environ(folder: Path, url: str) -> Dict[str, str]:
    """Return the variables of a command on a folder's database."""
    return dict(os.environ, MAIL_URL=url, DATABASE_URL=url_in(folder),
                FLASK_SKIP_DOTENV="1", **DEPLOYED)


def is_claimed(folder: Path) -> bool:
    """Tell whether somebody is at the mail, and due in minutes otherwise."""
    return query(folder, "SELECT 1 FROM outbox WHERE due_at > {}".format(
        int(time.time()) + 60)) == [(1,)]


def is_due(folder: Path) -> bool:
    """Tell whether the mail is there for whoever sends next."""
    return query(folder, "SELECT 1 FROM outbox WHERE due_at <= {}".format(
        int(time.time()))) == [(1,)]


def end_amid_a_mail(begin: Callable[[Path, str], Process],
                    folder: Path) -> Left:
    """End a sender whose mail server hangs, and let another one try."""
    with SmtpServer() as mail:
        mail.asleep_seconds = 600
        process = begin(folder, mail.url)
        try:
            wait_until(partial(is_claimed, folder))
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
            seconds = time.monotonic() - began
        finally:
            process.kill()
            process.wait()
        claimed, due = is_claimed(folder), is_due(folder)
        mail.asleep_seconds = 0
        subprocess.run([sys.executable, "-m", "flask", "mail", "send"],
                       cwd=str(ROOT), env=environ(folder, mail.url),
                       timeout=60, check=True)
        assert is_sent(folder)
        log = "".join(each.read_text() for each in folder.glob("*.log"))
        return Left(code, seconds, log, claimed, due, len(mail.to(EMAIL)))


SENDERS: Dict[str, Callable[[Path, str], Process]] = {
    "app.py": partial(begin_server, Live),
    "gunicorn": partial(begin_server, LiveGunicorn), "watch": begin_watch}
if find_spec("granian"):
    SENDERS["granian"] = partial(begin_server, LiveGranian)
every_sender = pytest.mark.parametrize("sender", SENDERS)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Left]:
    """End every kind of sender, all at once since each takes its time."""
    calls: List[Callable[[], Left]] = [
        partial(end_amid_a_mail, begin, tmp_path_factory.mktemp("ended"))
        for begin in SENDERS.values()]
    return dict(zip(SENDERS, all_at_once(calls)))


class TestMailOnItsWay:
    """SIGTERM while the mail server says nothing."""

    @every_sender
    def test_sender_ends_well_and_in_time(
            self, left: Dict[str, Left], sender: str) -> None:
        """Whatever the mail server does."""
        assert left[sender].code == 0
        assert left[sender].seconds < PATIENCE
        assert "Traceback" not in left[sender].log

    @every_sender
    def test_mail_is_due_at_once(
            self, left: Dict[str, Left], sender: str) -> None:
        """Not only when the claim of a dead sender ends."""
        assert not left[sender].claimed
        assert left[sender].due

    @every_sender
    def test_next_sender_sends_it_once(
            self, left: Dict[str, Left], sender: str) -> None:
        """Somebody is waiting for the link."""
        assert left[sender].sent == 1

    @every_sender
    def test_log_tells_of_it(
            self, left: Dict[str, Left], sender: str) -> None:
        """Whoever wonders why the link came late finds it there."""
        assert "the mail sender ends; mails due again: 1" in left[sender].log
