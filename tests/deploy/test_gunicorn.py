#!/usr/bin/env python3
"""The other production server, for Pythons without granian: real workers.

How it ends is in tests/test_ending.py.
"""
from __future__ import annotations

import os
import re
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Callable, Iterator, List, Tuple, Type

import pytest

from cores import count_cores
from tests.deploy.live import (
    Production, Storm, exchange, part_of_a_reset, run_to_its_end)
from tests.helpers import (
    EMAIL, PASSWORD, STRANGE_TOKEN, Answer, Gunicorn, all_at_once)
from tests.machine import wait_until
from tests.smtp_server import SmtpServer
from tests.test_going_live import HOST, is_sent, query
from tests.test_hostile import CASES, Case, assert_json, send

# gunicorn refuses itself what is hardly HTTP: no path or header is so long.
STRICTER = (400, 414, 431)
# It answers the second request of a connection too, as HTTP has it; and old
# ones wait for the end of headers that have none.
OTHERWISE = ("pipelined", "pipelined-twice", "header-newlines-only")
HOSTILE = [case for case in CASES if case.name not in OTHERWISE]


class LiveGunicorn(Production, Gunicorn):
    """This server in the production mode."""


def workers(server: Gunicorn) -> List[int]:
    """Return the process ids of the workers that were ever started."""
    return [int(each) for each in re.findall(
        r"Booting worker with pid: (\d+)", server.log())]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    """The production server in the development mode, with one account."""
    folder = tmp_path_factory.mktemp("gunicorn")
    started = Gunicorn(folder, HOME=str(folder))
    started.ask("POST", "/users", email=EMAIL, password=PASSWORD)
    yield started
    started.stop()
    assert "Traceback" not in started.log()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGunicorn]:
    """One in production, for all who only look at it."""
    with SmtpServer() as mail:
        started = LiveGunicorn(tmp_path_factory.mktemp("live"),
                               MAIL_URL=mail.url, TRUSTED_PROXIES="1")
        yield started
        started.stop()
    assert "Traceback" not in started.log()


@pytest.fixture
def kind() -> Type[LiveGunicorn]:
    """What goes live here."""
    return LiveGunicorn


class TestSize:
    """How much of the machine it takes, without being told."""

    def test_worker_for_each_core(self, server: Gunicorn) -> None:
        """Hashes keep all of them busy, and no more."""
        wait_until(lambda: len(workers(server)) == count_cores())

    def test_command_line_has_the_last_word(self, tmp_path: Path) -> None:
        """A deployer who knows better sets GUNICORN_CMD_ARGS."""
        started = Gunicorn(tmp_path, GUNICORN_CMD_ARGS="--workers=3")
        try:
            wait_until(lambda: len(workers(started)) == 3)
        finally:
            started.stop()

    def test_signs_in_while_others_do(self, server: Gunicorn) -> None:
        """All workers serve one database; a session of one is all's."""
        sessions = all_at_once([partial(
            server.ask, "POST", "/sessions", email=EMAIL, password=PASSWORD)
            for _ in range(8)])
        assert {each.status for each in sessions} == {200}
        for each in sessions:
            cookie = each.headers["Set-Cookie"].partition(";")[0]
            assert server.ask(
                "GET", "/profile", {"Cookie": cookie}).status == 200


@pytest.mark.one_database
class TestListen:
    """Where it is reached."""

    def test_address_of_version_6(self, tmp_path: Path) -> None:
        """HOST is written there as everywhere else."""
        listening = run_to_its_end(
            Gunicorn, "--check-config", "--print-config", HOST="::1",
            PORT="5123")
        assert re.search(r"^bind += \['\[::1\]:5123'\]$", listening, re.M)

    def test_opens_no_other_door(self, server: Gunicorn,
                                 tmp_path: Path) -> None:
        """Newer gunicorns make a socket to be administered by."""
        folder = next(iter(Path(
            "/proc/{}/environ".format(workers(server)[0])).read_bytes()
            .partition(b"\0HOME=")[2].split(b"\0"))).decode()
        assert {each.name for each in Path(folder).iterdir()} - {
            "server.db", "server.db-shm", "server.db-wal"} == {
            "server-{}.log".format(server.port)}

    def test_bad_settings_are_refused_in_sentences(self) -> None:
        """All of them at once, before any worker is started."""
        printed = run_to_its_end(
            Gunicorn, AUTH_ENV="production", PORT="x", code=1)
        assert printed.startswith("Bienvenue does not start.\n")
        assert "\nPORT " in printed
        assert "\nSet PUBLIC_URL to " in printed


# -- What comes in

@pytest.fixture(scope="module")
def answers(server: Gunicorn) -> List[Tuple[Case, Answer]]:
    """What it says to each request that is hostile."""
    return [(case, send(server, case)) for case in HOSTILE]


@pytest.mark.one_database
class TestStorm(Storm):
    """The hostile requests that tests/test_hostile.py makes."""

    stricter = STRICTER

    def test_each_is_answered_in_json(
            self, answers: List[Tuple[Case, Answer]]) -> None:
        """Also what gunicorn refuses before the service hears of it."""
        for case, answer in answers:
            assert_json(case, answer)

    def test_answer_to_no_http_has_the_headers_of_all_answers(
            self, server: Gunicorn) -> None:
        """And the very body of Flask's own server, once."""
        head, _, body = exchange(
            server, b"GARBAGE\r\n\r\n").partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"\r\nCache-Control: no-store" in head
        assert body == b'{"message":"the request is not valid HTTP"}\n'

    @pytest.mark.parametrize("body", [b"zz\r\n", b"5\r\nab", b"3\r\nabcd"])
    def test_broken_chunks_are_answered_once(
            self, server: Gunicorn, body: bytes) -> None:
        """By the service; what follows is no request."""
        heard = exchange(
            server, b"POST /users HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + body)
        assert heard.startswith(b"HTTP/1.1 400 ")
        assert heard.count(b"HTTP/1.1") == 1

    def test_body_that_ends_early_is_no_shorter_body(
            self, server: Gunicorn) -> None:
        """A connection that breaks must not set half a password."""
        assert exchange(server, part_of_a_reset(server)).startswith(
            b"HTTP/1.1 400 ")
        assert server.ask("POST", "/sessions", email=EMAIL,
                          password=PASSWORD).status == 200


@pytest.mark.one_database
class TestTrust:
    """What a proxy, or whoever looks like one, may tell gunicorn."""

    @pytest.mark.parametrize("header", [
        b"SCRIPT_NAME: /x", b"Script-Name: /x", b"PATH_INFO: /profile"])
    def test_path_is_that_of_the_request(
            self, server: Gunicorn, header: bytes) -> None:
        """From this machine too, where gunicorn would believe a proxy."""
        heard = exchange(server, b"GET /x/profile HTTP/1.1\r\n"
                         b"Host: localhost\r\n" + header + b"\r\n\r\n")
        assert heard.startswith(b"HTTP/1.1 404 ")

    def test_proxy_counts_where_it_is_a_setting(
            self, live: LiveGunicorn) -> None:
        """The client's address is the service's to find, not gunicorn's."""
        live.ask("POST", "/sessions", {"X-Forwarded-For": "203.0.113.7"},
                 email=EMAIL, password="wrong and long enough")
        told = [line for line in live.told() if line.get("fact")]
        assert told[-1]["network"] == "203.0.113.7"

    def test_server_tells_no_version(self, server: Gunicorn) -> None:
        """Nobody is helped to choose an attack (ASVS 13.4.6)."""
        answer = server.ask("GET", "/")
        assert answer.headers["Server"] == "gunicorn"


# -- What goes out

@pytest.mark.one_database
class TestLog:
    """Lines of JSON in production, gunicorn's own included."""

    def test_request_has_a_line(self, live: LiveGunicorn) -> None:
        """By which it is found, without its query (ASVS 14.2.1)."""
        live.ask("GET", "/profile?session_id=" + STRANGE_TOKEN,
                 {"X-Request-ID": "abc-1"})
        wait_until(lambda: '"GET /profile 403"' in live.log())
        line, = [each for each in live.lines("gunicorn.access")
                 if each["request_id"] == "abc-1"]
        assert (line["message"], line["level"]) == ("GET /profile 403", "info")
        assert isinstance(line["milliseconds"], int)
        assert STRANGE_TOKEN not in live.log()

    def test_what_is_refused_is_not_repeated(
            self, live: LiveGunicorn) -> None:
        """A header that is none may hold a session all the same."""
        for line in (b"GET/?a=canary\r\n\r\n",
                     b"GET / HTTP/1.1\r\nCookie canary: a\r\n\r\n",
                     b"GET / HTTP/1.1\r\nCookie: canary\0\r\n\r\n",
                     b"GET /?canary" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n"):
            assert exchange(live, line).startswith(b"HTTP/1.1 4")
        wait_until(lambda: live.log().count("refused what is no") == 4)
        assert "canary" not in live.log()

    def test_can_be_left_to_the_proxy(
            self, go_live: Callable[..., LiveGunicorn]) -> None:
        """Which has a line for each request as well."""
        started = go_live(GUNICORN_CMD_ARGS="--access-logfile=/dev/null")
        assert started.lines("gunicorn.access") == []
        assert started.lines("gunicorn.error")


class TestSenders:
    """A sender of mails in each worker."""

    def test_each_mail_is_sent_once(
            self, go_live: Callable[..., LiveGunicorn], mail: SmtpServer,
            tmp_path: Path) -> None:
        """However many senders work on one outbox."""
        started = go_live(GUNICORN_CMD_ARGS="--workers=3", THREADS="40",
                          REGISTER_NETWORK_LIMIT="100/1h")
        emails = ["user{}@me.com".format(each) for each in range(10)]
        statuses = all_at_once([partial(started.registers, each)
                                for each in emails])
        assert statuses == [200] * 10
        wait_until(partial(is_sent, tmp_path), 40)
        assert sorted(email for email, _ in mail.mails) == emails

    def test_server_that_sends_nothing(
            self, go_live: Callable[..., LiveGunicorn], mail: SmtpServer,
            tmp_path: Path) -> None:
        """MAIL_IN_SERVER=0 is for all workers."""
        started = go_live(MAIL_IN_SERVER="0")
        started.registers(EMAIL)
        assert query(tmp_path, "SELECT tries FROM outbox") == [(0,)]
        assert mail.mails == []

    def test_killed_workers_are_replaced(
            self, go_live: Callable[..., LiveGunicorn], mail: SmtpServer,
            tmp_path: Path) -> None:
        """And so are their senders."""
        started = go_live()
        wait_until(lambda: len(workers(started)) == count_cores())
        killed = workers(started)
        for each in killed:
            os.kill(each, signal.SIGKILL)
        wait_until(lambda: len(workers(started)) == 2 * len(killed))
        assert started.registers(EMAIL) == 200
        wait_until(partial(is_sent, tmp_path))
        assert len(mail.to(EMAIL)) == 1


@pytest.mark.one_database
def test_host_is_the_one_that_is_served(live: LiveGunicorn) -> None:
    """So the tests above looked at the production mode."""
    assert live.ask("GET", "/", {"Host": HOST}).status == 200
    assert live.ask("GET", "/", {"Host": "evil.test"}).status == 400


def test_python_of_the_server_is_the_one_of_the_tests() -> None:
    """Not another one that happens to be on the PATH."""
    assert Gunicorn.command[0] == sys.executable
