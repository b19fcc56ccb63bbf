#!/usr/bin/env python3
"""The service and its end-to-end script as people start them: processes.

What they print and how they exit is part of what they promise.
"""
from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any, Callable, Dict, Iterator

import pytest

from main import EMAIL, NEW_PASSWD, PASSWD
from tests.helpers import PASSWORD, ROOT, Server


class Run:
    """A script that was run to its end."""

    def __init__(self, script: str, **environ: str) -> None:
        """Run it with these variables on top; its warnings are errors."""
        done = subprocess.run(
            [sys.executable, "-W", "error", str(ROOT / script)], timeout=120,
            env=dict(os.environ, no_proxy="*", **environ),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            universal_newlines=True)
        self.exit_code = done.returncode
        self.printed = done.stdout + done.stderr

    def assert_refused(self) -> None:
        """Assert that it failed in words made for people."""
        assert self.exit_code not in (0, None)
        assert self.printed.strip()
        assert "Traceback" not in self.printed


def sign_in(server: Server, password: str) -> Any:
    """Return the answer to the journey's user with this password."""
    return server.ask("POST", "/sessions", email=EMAIL, password=password)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all who leave no account behind."""
    server = Server(tmp_path_factory.mktemp("running"))
    yield server
    server.stop()
    assert "Traceback" not in server.log()
    assert "Warning:" not in server.log()


# -- main.py

class TestJourney:
    """`python3 main.py`, which says nothing when all is well."""

    def test_two_runs_in_a_row_are_silent(self, running: Server) -> None:
        """The second finds nothing that the first left."""
        for _ in range(2):
            run = Run("main.py", BASE_URL=running.url)
            assert (run.exit_code, run.printed) == (0, "")

    def test_final_slash_of_the_address_is_harmless(
            self, running: Server) -> None:
        """People copy addresses from browsers, which add one."""
        run = Run("main.py", BASE_URL=running.url + "/")
        assert (run.exit_code, run.printed) == (0, "")

    @pytest.mark.parametrize("password", [PASSWD, NEW_PASSWD])
    def test_interrupted_run_is_cleaned_up(
            self, running: Server, password: str) -> None:
        """Before the reset and after it, the account has either password."""
        running.ask("POST", "/users", email=EMAIL, password=password)
        run = Run("main.py", BASE_URL=running.url)
        assert (run.exit_code, run.printed) == (0, "")

    @pytest.mark.parametrize("password", [PASSWD, NEW_PASSWD])
    def test_no_account_is_left_behind(
            self, running: Server, password: str) -> None:
        """A public password must not open an account afterwards."""
        Run("main.py", BASE_URL=running.url)
        assert sign_in(running, password).status == 401

    def test_wrong_answer_is_an_error(self, server: Server) -> None:
        """An account it cannot open makes it fail, with both statuses."""
        server.ask("POST", "/users", email=EMAIL, password=PASSWORD)
        run = Run("main.py", BASE_URL=server.url)
        assert run.exit_code != 0
        assert "/users: 400 instead of 200" in run.printed

    def test_without_a_server_it_says_where_it_looked(
            self, silent_port: int) -> None:
        """And what to do about it, in place of a traceback."""
        url = "http://127.0.0.1:{}".format(silent_port)
        run = Run("main.py", BASE_URL=url)
        run.assert_refused()
        assert "No server answers at {}.".format(url) in run.printed

    @pytest.mark.parametrize("url", [
        "localhost", "localhost:5000", "http://", "ftp://localhost"])
    def test_with_no_address_it_says_how_to_name_one(self, url: str) -> None:
        """The scheme is easily forgotten."""
        run = Run("main.py", BASE_URL=url)
        run.assert_refused()
        assert "BASE_URL=http://host:port" in run.printed


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that is taken, so nobody else gets it, and never answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


# -- app.py, refusing to start

@pytest.mark.one_database
class TestRefusal:
    """`python3 app.py` where it must not serve."""

    def test_production_says_all_that_it_lacks_at_once(self) -> None:
        """Each line names what to set, and to what."""
        run = Run("app.py", AUTH_ENV="production", BCRYPT_COST="4",
                  DATABASE_URL="", FLASK_DEBUG="1")
        run.assert_refused()
        first, *rest = run.printed.splitlines()
        assert first == "Bienvenue does not start."
        assert [each.split()[1] for each in rest] == [
            "DATABASE_URL", "PUBLIC_URL", "LANDING_URL", "MAIL_URL",
            "MAIL_FROM", "BCRYPT_COST", "FLASK_DEBUG:"]

    @pytest.mark.parametrize("complaint", [
        "AUTH_ENV must be development or production, not 'prod'.",
        "BCRYPT_COST must be a whole number from 4 to 16, not '99'.",
        "PORT must be a whole number from 1 to 65535, not 'x'."])
    def test_every_bad_setting_is_named_at_once(
            self, complaint: str, bad_settings: Run) -> None:
        """Three mistakes cost one start, not three."""
        bad_settings.assert_refused()
        assert complaint in bad_settings.printed.splitlines()

    def test_taken_port_is_named(self, running: Server) -> None:
        """Two services behind one port would share its visitors."""
        run = Run("app.py", PORT=str(running.port))
        run.assert_refused()
        assert run.printed.endswith(
            "Bienvenue does not start.\nPort {} of 127.0.0.1 is taken: stop "
            "the program that listens there, or set PORT to another.\n".format(
                running.port))

    def test_taken_port_is_not_greeted_from(self, running: Server) -> None:
        """Only a service that listens says that it does."""
        run = Run("app.py", PORT=str(running.port))
        assert "listens on" not in run.printed


@pytest.fixture(scope="module")
def bad_settings() -> Run:
    """A start with three settings that are wrong."""
    return Run("app.py", AUTH_ENV="prod", BCRYPT_COST="99", PORT="x")


# -- app.py, serving

class TestService:
    """`python3 app.py` as it runs."""

    def test_first_line_warns_of_the_development_mode(
            self, running: Server) -> None:
        """Nobody can start it without being told what is relaxed."""
        assert running.log().splitlines()[0].startswith("development mode:")

    def test_greeting_names_the_address(self, running: Server) -> None:
        """Its commands can be copied as they are."""
        assert "listens on {}.".format(running.url) in running.log()

    def test_other_address_of_the_machine_is_refused(
            self, running: Server) -> None:
        """It listens on 127.0.0.1 and on no other address of its machine."""
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", running.port), timeout=5)

    def test_restart_keeps_accounts(
            self, start_server: Callable[[], Server]) -> None:
        """The database outlives the process."""
        first = start_server()
        first.ask("POST", "/users", email=EMAIL, password=PASSWD)
        first.stop()
        assert sign_in(start_server(), PASSWD).status == 200

    def test_restart_keeps_sessions(
            self, start_server: Callable[[], Server]) -> None:
        """Nobody has to sign in again because of an update."""
        first = start_server()
        first.ask("POST", "/users", email=EMAIL, password=PASSWD)
        cookie = cookie_of(sign_in(first, PASSWD))
        first.stop()
        answer = start_server().ask("GET", "/profile", cookie)
        assert answer.status == 200


def cookie_of(answer: Any) -> Dict[str, str]:
    """Return the header that presents the session of an answer."""
    return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
