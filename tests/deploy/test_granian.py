#!/usr/bin/env python3
"""The production server: who is let in, how it starts, and what it reads.

How it ends is in tests/test_ending.py.
"""
from __future__ import annotations

import dataclasses
import os
import re
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from select import select
from typing import Any, Callable, Iterator, List, Type

import pytest

from cores import count_cores
from settings import Settings
from tests.deploy.live import (
    Production, exchange, part_of_a_reset, run_to_its_end)
from tests.helpers import (
    EMAIL, PASSWORD, STRANGE_TOKEN, Granian, all_at_once, needs_granian)
from tests.machine import wait_until
from tests.smtp_server import SmtpServer
from tests.test_going_live import HOST, is_sent
from tests.test_hostile import sends

pytestmark = needs_granian
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
CLOSE = b"Host: localhost\r\nConnection: close\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
# More than there are threads in a worker.
MANY = 200
# As in deploy/serve.py, which not every Python can import.
WAITING = 64
# A worker that hangs is killed after 30 s.
PATIENCE = 20


class LiveGranian(Production, Granian):
    """The production server in the production mode."""


def workers(server: Granian) -> List[int]:
    """Return the process ids of the workers that were ever started."""
    return [int(each) for each in re.findall(
        r"Spawning worker-\d+ with PID: (\d+)", server.log())]


def serving(server: Granian) -> int:
    """Return how many workers have begun to serve."""
    return server.log().count("Started worker-")


def connections(pid: int) -> int:
    """Return how many connections of clients a process has."""
    inodes = {line.split()[9] for line in Path(
        "/proc/{}/net/tcp".format(pid)).read_text().splitlines()[1:]
        if line.split()[3] == "01"}
    held = {os.readlink(str(each)) for each in Path(
        "/proc/{}/fd".format(pid)).iterdir()}
    return sum("socket:[{}]".format(each) in held for each in inodes)


def is_gone(pid: int) -> bool:
    """Tell whether a process is no more, or nothing but its exit code."""
    try:
        state = Path("/proc/{}/stat".format(pid)).read_text()
    except OSError:
        return True
    return state.rpartition(") ")[2][0] == "Z"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Granian]:
    """The production server in the development mode, with one account.

    Were a variable of the process a header of a request, then the service
    would hear of a proxy, and answer nothing at all.
    """
    started = Granian(tmp_path_factory.mktemp("granian"),
                      HTTP_X_FORWARDED_FOR="203.0.113.7", HTTP_VIA="a proxy")
    started.ask("POST", "/users", email=EMAIL, password=PASSWORD)
    yield started
    began = time.monotonic()
    started.stop()
    assert time.monotonic() - began < PATIENCE
    assert "Traceback" not in started.log()


@pytest.fixture
def kind() -> Type[LiveGranian]:
    """What goes live here."""
    return LiveGranian


class Inside:
    """An application in which everybody stays until they may leave."""

    def __init__(self, settings: Settings) -> None:
        """Be empty, behind an entrance."""
        from deploy.serve import Entrance

        self._entrance = Entrance(self._stay, settings)
        self._threads: List[threading.Thread] = []
        self.methods: List[str] = []
        self.answers: List[str] = []
        self.may_leave = threading.Event()

    def _stay(self, environ: Any, start_response: Any) -> List[bytes]:
        """Note who came, and keep them."""
        self.methods.append(environ["REQUEST_METHOD"])
        self.may_leave.wait(20)
        start_response("200 OK", [])
        return [b""]

    def sends(self, method: str, count: int, **environ: Any) -> None:
        """Have so many come at once."""
        def come() -> None:
            """Come, and note what was said."""
            self._entrance(dict(environ, REQUEST_METHOD=method),
                           lambda status, _: self.answers.append(status))
        for _ in range(count):
            self._threads.append(threading.Thread(target=come))
            self._threads[-1].start()

    def empties(self) -> None:
        """Let everybody go, and see them off."""
        self.may_leave.set()
        for each in self._threads:
            each.join(20)


@pytest.fixture
def inside(safe_settings: Settings) -> Iterator[Inside]:
    """A worker of eight threads, four of which may wait for a hash."""
    found = Inside(dataclasses.replace(safe_settings, threads=8))
    yield found
    found.empties()


@pytest.mark.once
class TestEntrance:
    """Who is let in while many want to change something."""

    def test_changes_leave_room_for_readers(self, inside: Inside) -> None:
        """As many as wait for a hash and one more, and still a reader."""
        inside.sends("POST", 20)
        wait_until(lambda: len(inside.methods) == 5)
        inside.sends("GET", 3)
        wait_until(lambda: inside.methods.count("GET") == 3)
        assert inside.methods.count("POST") == 5

    def test_those_who_wait_come_in_later(self, inside: Inside) -> None:
        """Nobody is turned away as long as there is room to wait."""
        inside.sends("PUT", 20)
        wait_until(lambda: len(inside.methods) == 5)
        inside.empties()
        assert inside.answers == ["200 OK"] * 20

    def test_more_than_may_wait_are_told_to_come_back(
            self, inside: Inside) -> None:
        """So that threads are left for whoever only reads."""
        inside.sends("DELETE", 5 + WAITING + 3)
        wait_until(lambda: len(inside.methods) == 5)
        wait_until(lambda: len(inside.answers) >= 3)
        assert set(inside.answers) == {"503 Service Unavailable"}
        inside.sends("GET", 1)
        wait_until(lambda: "GET" in inside.methods)

    def test_reading_with_a_body_is_no_way_around(
            self, inside: Inside) -> None:
        """It holds a thread as long as the body takes."""
        inside.sends("GET", 20, CONTENT_LENGTH="99999")
        wait_until(lambda: len(inside.methods) == 5)
        inside.sends("GET", 1)
        wait_until(lambda: len(inside.methods) == 6)


@pytest.mark.once
class TestSize:
    """How much of the machine it takes, without being told."""

    def test_worker_for_each_core(self, server: Granian) -> None:
        """Hashes keep all of them busy, and no more."""
        wait_until(lambda: serving(server) == count_cores())
        assert len(workers(server)) == count_cores()

    def test_setting_has_the_last_word(self, tmp_path: Path) -> None:
        """A deployer who knows better sets WORKERS."""
        started = Granian(tmp_path, WORKERS="3")
        try:
            wait_until(lambda: serving(started) == 3)
        finally:
            started.stop()

    def test_workers_take_turns_at_hashing(self, server: Granian) -> None:
        """By files without a name that all of them have, one for a slot."""
        shared = [{os.readlink(str(each)) for each in Path(
            "/proc/{}/fd".format(pid)).iterdir()
            if "(deleted)" in os.readlink(str(each))}
            for pid in [server.process.pid] + workers(server)]
        assert len(shared[0]) == count_cores()
        assert all(shared[0] <= each for each in shared)

    def test_nobody_is_turned_away(self, server: Granian) -> None:
        """Of hundreds who come at once; a session of one worker is all's."""
        sessions = all_at_once([partial(
            server.ask, "POST", "/sessions", email=EMAIL, password=PASSWORD)
            for _ in range(MANY)])
        assert {each.status for each in sessions} == {200}
        for each in sessions[:8]:
            cookie = each.headers["Set-Cookie"].partition(";")[0]
            assert server.ask(
                "GET", "/profile", {"Cookie": cookie}).status in (200, 403)

    def test_ctrl_c_comes_to_workers_by_their_master(
            self, server: Granian) -> None:
        """Who has one word to say; granian hangs at the third."""
        assert [os.getpgid(each) for each in workers(server)] \
            == workers(server)

    def test_slow_bodies_stop_nobody_else(self, tmp_path: Path) -> None:
        """Whoever sends no body finds a thread; too many bodies get 503."""
        one = Granian(tmp_path, WORKERS="1")
        with ExitStack() as stack:
            stack.callback(one.kill)
            slow = [stack.enter_context(socket.create_connection(
                ("127.0.0.1", one.port))) for _ in range(WAITING + 8)]
            for each in slow:
                each.sendall(sends("POST", "/sessions", b"email=a")[:-1])
            wait_until(lambda: len(select(slow, [], [], 0)[0]) == 8)
            assert one.ask("GET", "/profile").status == 403
            busy = one.ask("POST", "/sessions", email=EMAIL, password="a")
            assert (busy.status, busy.headers["Retry-After"]) == (503, "1")
            assert busy.headers["X-Request-ID"]
            for each in slow:
                each.close()
            wait_until(lambda: one.ask(
                "POST", "/sessions", email=EMAIL, password="a").status == 401)


@pytest.mark.once
class TestStart:
    """What keeps it from starting, in sentences."""

    def test_bad_settings(self) -> None:
        """All of them at once, before any worker is started."""
        printed = run_to_its_end(
            Granian, AUTH_ENV="production", PORT="x", code=1)
        assert printed.startswith("Bienvenue does not start.\n")
        assert "\nPORT " in printed
        assert "\nSet PUBLIC_URL to " in printed

    def test_port_that_is_taken(
            self, server: Granian, tmp_path: Path) -> None:
        """granian's own way shares it with whoever has it."""
        printed = run_to_its_end(
            Granian, PORT=str(server.port), code=1,
            DATABASE_URL="sqlite:///{}".format(tmp_path / "a.db"))
        assert printed.endswith(
            "Bienvenue does not start.\nPort {} of 127.0.0.1 is taken: stop "
            "the program that listens there, or set PORT to another.\n".format(
                server.port))

    def test_address_of_version_6_and_a_name(self) -> None:
        """HOST is written there as everywhere else."""
        from deploy.serve import listen
        for host in ("::1", "localhost"):
            listening, = listen(host, 0, 1)
            with listening:
                assert listening.getsockname()[0] in ("::1", "127.0.0.1")

    @pytest.mark.skipif(sys.platform != "linux", reason="one socket for all")
    def test_clients_are_dealt_out(self, tmp_path: Path) -> None:
        """Sixteen of them at once do not sit on one worker."""
        started = Granian(tmp_path, WORKERS="2")
        try:
            wait_until(lambda: serving(started) == 2)
            with ExitStack() as stack:
                for _ in range(16):
                    stack.enter_context(socket.create_connection(
                        ("127.0.0.1", started.port), timeout=20)).sendall(
                            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                wait_until(lambda: all(
                    connections(each) for each in workers(started)))
        finally:
            started.stop()


# -- What comes in

@pytest.mark.once
class TestReading:
    """What is hardly HTTP; tests/proofs/test_rubbish.py has more of it."""

    @pytest.mark.parametrize("status, head", [
        (b"411", b"POST /users HTTP/1.1\r\n" + CLOSE + FORM
         + b"Content-Length: 5\r\n" + CHUNKED + b"0\r\n\r\n"),
        (b"400", b"POST /users HTTP/1.1\r\n" + CLOSE + FORM
         + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        (b"403", b"GET / HTTP/1.1\r\nHost: evil.test\r\n" + CLOSE + b"\r\n"),
        (b"431", b"GET / HTTP/1.1\r\n" + CLOSE + b"".join(
            b"X-%d: a\r\n" % each for each in range(101)) + b"\r\n"),
        (b"431", b"GET / HTTP/1.1\r\n" + CLOSE + b"X: " + b"a" * 100000
         + b"\r\n\r\n"),
        (b"400", b"GET / HTTP/1.1\r\n" + CLOSE + b"X: a\rY: b\r\n\r\n"),
        (b"400", b"GET / HTTP/1.1\r\n" + CLOSE + b"X: a\0\r\n\r\n"),
        (b"400", b"GET / HTTP/1.1\r\n" + CLOSE + b"X : a\r\n\r\n"),
        (b"200", b"GET / HTTP/1.1\nHost: localhost\nConnection: close\n\n"),
        (b"404", b"GET http://evil.test/x HTTP/1.1\r\n" + CLOSE + b"\r\n"),
        (b"404", b"GET /x/profile HTTP/1.1\r\n" + CLOSE
         + b"SCRIPT_NAME: /x\r\nPATH_INFO: /profile\r\n\r\n"),
        (b"400", b"GET / HTTP/1.1\r\n" + CLOSE
         + b"X-Forwarded-For: \xff, 203.0.113.7\r\n\r\n")])
    def test_each_is_read_in_one_way(
            self, server: Granian, status: bytes, head: bytes) -> None:
        """One answer, and the connection is over."""
        heard = exchange(server, head, hang_up=False)
        assert heard.startswith(b"HTTP/1.1 " + status)
        assert heard.count(b"HTTP/1.1") == 1

    @pytest.mark.parametrize("kind, status", [
        (b"application/x-www-form-urlencoded", b"411"),
        (b"application/json", b"400")])
    def test_broken_chunks_are_no_shorter_body(
            self, server: Granian, kind: bytes, status: bytes) -> None:
        """granian hands out what came; JSON shows that it has no end."""
        heard = exchange(
            server, b"POST /users HTTP/1.1\r\n" + CLOSE + b"Content-Type: "
            + kind + b"\r\n" + CHUNKED + b"9\r\n{\"email\"\r\nzz\r\n",
            hang_up=False)
        assert heard.startswith(b"HTTP/1.1 " + status)

    def test_json_in_chunks_is_read(self, server: Granian) -> None:
        """As many a library sends it."""
        heard = exchange(
            server, b"POST /sessions HTTP/1.1\r\n" + CLOSE
            + b"Content-Type: Application/JSON; charset=utf-8\r\n" + CHUNKED
            + b"1\r\n{\r\n2d\r\n\"email\":\"bob@me.com\",\"password\":"
            b"\"mySuperPwd\"}\r\n0\r\n\r\n", hang_up=False)
        assert heard.startswith(b"HTTP/1.1 200 ")

    def test_body_that_ends_early_is_no_shorter_body(
            self, server: Granian) -> None:
        """A connection that breaks must not set half a password."""
        heard = exchange(server, part_of_a_reset(server))
        assert heard.startswith(b"HTTP/1.1 400 ")
        assert heard.endswith(b'{"message":"the body ended early"}\n')
        assert server.ask("POST", "/sessions", email=EMAIL,
                          password=PASSWORD).status == 200

    def test_server_tells_no_version(self, server: Granian) -> None:
        """Nobody is helped to choose an attack (ASVS 13.4.6)."""
        answer = server.ask("GET", "/")
        assert answer.headers["Server"] == "granian"


# -- In production

class TestLive:
    """The production mode, with its log and its mail."""

    def test_lines_of_proxies_are_one_in_their_order(
            self, go_live: Callable[..., LiveGranian]) -> None:
        """The nearest proxy wrote the last of them."""
        started = go_live(TRUSTED_PROXIES="2", MAIL_IN_SERVER="0")
        body = b"email=eve@me.com&password=wrong+and+long+enough"
        exchange(started, b"POST /sessions HTTP/1.1\r\nHost: " + HOST.encode()
                 + b"\r\nConnection: close\r\n" + FORM + b"X-Forwarded-For: "
                 b"192.0.2.1, 203.0.113.7\r\nX-Forwarded-For: 198.51.100.9\r\n"
                 b"Content-Length: %d\r\n\r\n%s" % (len(body), body),
                 hang_up=False)
        told = [line for line in started.told() if line.get("fact")]
        assert told[-1]["network"] == "203.0.113.7"
        assert started.ask("GET", "/", {"Host": "evil.test"}).status == 400

    def test_log_is_json_and_repeats_nothing(
            self, go_live: Callable[..., LiveGranian]) -> None:
        """granian's own lines too; no request has one of its own."""
        started = go_live(MAIL_IN_SERVER="0")
        started.ask("GET", "/profile?session_id=" + STRANGE_TOKEN)
        for line in (b"GET/?a=canary\r\n\r\n",
                     b"GET / HTTP/1.1\r\nCookie canary: a\r\n\r\n",
                     b"GET / HTTP/1.1\r\nCookie: canary\0\r\n\r\n"):
            assert exchange(started, line).startswith(b"HTTP/1.1 4")
        assert {"info"} == {
            each["level"] for each in started.lines("_granian")}
        assert "canary" not in started.log()
        assert STRANGE_TOKEN not in started.log()

    def test_killed_workers_are_replaced(
            self, go_live: Callable[..., LiveGranian], mail: SmtpServer,
            tmp_path: Path) -> None:
        """And so are their senders; what they were at is counted no more."""
        sums = tmp_path / "sums"
        sums.mkdir()
        (sums / "counter_1.db").write_bytes(b"left over")
        started = go_live(METRICS_TOKEN="k" * 40,
                          PROMETHEUS_MULTIPROC_DIR=str(sums))
        assert not (sums / "counter_1.db").exists()
        wait_until(lambda: serving(started) == count_cores())
        killed = workers(started)
        for each in killed:
            (sums / "gauge_livesum_{}.db".format(each)).touch()
            os.kill(each, signal.SIGKILL)
        wait_until(lambda: serving(started) == 2 * len(killed))
        assert started.registers(EMAIL) == 200
        wait_until(partial(is_sent, tmp_path))
        assert len(mail.to(EMAIL)) == 1
        assert not {sums / "gauge_livesum_{}.db".format(each)
                    for each in killed} & set(sums.iterdir())


def test_worker_that_dies_again_is_replaced_again(tmp_path: Path) -> None:
    """Two deaths within seconds are no end of the service."""
    started = Granian(tmp_path, WORKERS="1")
    try:
        for count in (1, 2, 3):
            wait_until(lambda: serving(started) == count)
            os.kill(workers(started)[-1], signal.SIGKILL)
        wait_until(lambda: serving(started) == 4)
        assert started.ask("GET", "/").status == 200
    finally:
        started.stop()


def test_workers_end_with_their_master(tmp_path: Path) -> None:
    """However it came to its end; nobody else would end them."""
    started = Granian(tmp_path)
    pids = workers(started)
    started.kill()
    wait_until(lambda: all(is_gone(each) for each in pids))


class Slow:
    """A WSGI application that counts who is in it, and closes its answers."""

    def __init__(self) -> None:
        """Start with nobody."""
        self.closed = 0

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Answer in two pieces."""
        start_response("200 OK", [])
        return self

    def __iter__(self) -> Iterator[bytes]:
        """Return the pieces."""
        return iter([b"a", b"b"])

    def close(self) -> None:
        """Note that the server is done with the answer."""
        self.closed += 1


def test_answer_is_one_piece_that_was_closed() -> None:
    """Which granian sends without asking for more."""
    from deploy.serve import Entrance
    from settings import Settings
    slow = Slow()
    answer = Entrance(slow, Settings())(
        {"REQUEST_METHOD": "GET"}, lambda *_: None)
    assert (answer, slow.closed) == ([b"ab"], 1)
