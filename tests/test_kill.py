#!/usr/bin/env python3
"""What was acknowledged stays, although the server is killed in mid-work.

What its database may suffer is in tests/proofs/test_faults_of_disk.py.
"""
from __future__ import annotations

import json
import statistics
import time
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

import pytest

from tests.databases import rows, sqlite_only, url_in
from tests.helpers import (
    EMAIL, PASSWORD, Answer, Server, all_at_once)

NEW_PASSWORD = "t4rt1fl3tt3"
ROUNDS, CLIENTS = 20, 4
# What nobody notices: from `python3 app.py` to the first answer.
RESTART_SECONDS = 2


def sign_in(server: Server, email: str = EMAIL,
            password: str = PASSWORD) -> Answer:
    """Ask for a session."""
    return server.ask("POST", "/sessions", email=email, password=password)


def register(server: Server, email: str = EMAIL) -> Answer:
    """Ask for an account."""
    return server.ask("POST", "/users", email=email, password=PASSWORD)


def signed_in(server: Server) -> Dict[str, str]:
    """Open an account and a session; return the header that presents it."""
    assert register(server).status == 200
    cookie = sign_in(server).headers["Set-Cookie"].partition(";")[0]
    return {"Cookie": cookie}


def reset_token(server: Server) -> str:
    """Ask for a reset token and return it."""
    answer = server.ask("POST", "/reset_password", email=EMAIL)
    return str(json.loads(answer.body.decode())["reset_token"])


def reset(server: Server, token: str) -> Answer:
    """Ask for the new password with a reset token."""
    return server.ask("PUT", "/reset_password", email=EMAIL,
                      reset_token=token, new_password=NEW_PASSWORD)


def query(folder: Path, sql: str) -> List[Tuple[Any, ...]]:
    """Ask a folder's database something, past the service."""
    return rows(url_in(folder), sql)


class Client:
    """Somebody who opens one account after another, without pause."""

    def __init__(self, name: str) -> None:
        """Be ready to start; no other client has this name."""
        self.name = name
        self.acknowledged: List[str] = []

    def register_until_the_end(self, server: Server) -> None:
        """Go on until the server is gone, and note what it acknowledged.

        An answer counts when it has arrived to its last byte.
        """
        for number in range(10 ** 6):
            email = "{}-{}@me.com".format(self.name, number)
            try:
                answer = register(server, email)
            except (OSError, HTTPException):
                return
            assert answer.status == 200, answer.body
            self.acknowledged.append(email)


class Round(NamedTuple):
    """What one kill and the restart after it showed."""

    acknowledged: List[str]
    lost: List[str]
    restart_seconds: float


class Aftermath(NamedTuple):
    """What all the rounds left, with no server running any more."""

    folder: Path
    rounds: List[Round]


def kill_amid(server: Server, clients: List[Client], delay: float) -> None:
    """Kill a server some time after it gave its first answer."""
    deadline = time.monotonic() + 30
    while not any(client.acknowledged for client in clients) \
            and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(delay)
    server.kill()


def kill_during_registrations(server: Server, name: str,
                              delay: float) -> List[str]:
    """Return the addresses that a server acknowledged until its death."""
    clients = [Client("{}-{}".format(name, number))
               for number in range(CLIENTS)]
    calls: List[Callable[[], Any]] = [
        partial(client.register_until_the_end, server) for client in clients]
    all_at_once(calls + [partial(kill_amid, server, clients, delay)])
    return [email for client in clients for email in client.acknowledged]


def look_back(server: Server, acknowledged: List[str]) -> Round:
    """Look through a new server for what the last one promised."""
    asked = time.monotonic()
    sign_in(server)
    seconds = server.start_seconds + time.monotonic() - asked
    lost = [email for email in acknowledged
            if sign_in(server, email).status != 200]
    return Round(acknowledged, lost, seconds)


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    """Kill a server ROUNDS times, always on the same database.

    The delay steps through one transaction and many, so that the kills fall
    into every part of the work.
    """
    folder, rounds = tmp_path_factory.mktemp("kill"), []
    server = Server(folder)
    try:
        for number in range(ROUNDS):
            acknowledged = kill_during_registrations(
                server, "round{}".format(number), delay=0.0107 * number)
            server = Server(folder)
            rounds.append(look_back(server, acknowledged))
    finally:
        server.stop()
    return Aftermath(folder, rounds)


class TestKilledDuringRegistrations:
    """kill -9, twenty times, while accounts are opened."""

    def test_every_round_had_something_to_lose(
            self, aftermath: Aftermath) -> None:
        """Otherwise the other proofs here would prove nothing."""
        assert all(each.acknowledged for each in aftermath.rounds)
        assert len(aftermath.rounds) == ROUNDS

    def test_no_acknowledged_account_is_lost(
            self, aftermath: Aftermath) -> None:
        """Each signs in with its password after the restart."""
        assert [each.lost for each in aftermath.rounds] == [[]] * ROUNDS

    def test_accounts_of_all_rounds_are_there_at_the_end(
            self, aftermath: Aftermath) -> None:
        """Later kills take nothing that an earlier one left."""
        acknowledged = {email for each in aftermath.rounds
                        for email in each.acknowledged}
        stored = {email for email, in query(
            aftermath.folder, "SELECT email FROM users")}
        assert acknowledged <= stored

    def test_restarts_are_short(self, aftermath: Aftermath) -> None:
        """Up to and including the first answer, which recovers the file.

        As a rule: a machine with other work may be slow for once.
        """
        assert statistics.median(each.restart_seconds for each in
                                 aftermath.rounds) < RESTART_SECONDS

    def test_no_registration_is_half_done(
            self, aftermath: Aftermath) -> None:
        """A user without an account, or the reverse, is never stored."""
        assert query(aftermath.folder, """
            SELECT id FROM users EXCEPT SELECT user_id FROM accounts""") == []
        assert query(aftermath.folder, """
            SELECT user_id FROM accounts EXCEPT SELECT id FROM users""") == []

    @sqlite_only
    def test_database_is_whole(self, aftermath: Aftermath) -> None:
        """SQLite finds nothing to complain of in it."""
        assert query(aftermath.folder, "PRAGMA integrity_check") == [("ok",)]
        assert query(aftermath.folder, "PRAGMA foreign_key_check") == []


class TestKilledAfterAnAnswer:
    """The answer was the last thing the server did."""

    def test_session_stays_open(
            self, start_server: Callable[[], Server]) -> None:
        """A restart signs nobody out."""
        server = start_server()
        session = signed_in(server)
        server.kill()
        assert start_server().ask("GET", "/profile", session).status == 200

    def test_ended_session_stays_ended(
            self, start_server: Callable[[], Server]) -> None:
        """A sign-out that was acknowledged is not undone."""
        server = start_server()
        session = signed_in(server)
        assert server.ask("DELETE", "/sessions", session).status == 302
        server.kill()
        assert start_server().ask("GET", "/profile", session).status == 403

    def test_reset_password_stays_reset(
            self, start_server: Callable[[], Server]) -> None:
        """With all it did: password, sessions and token."""
        server = start_server()
        session, token = signed_in(server), reset_token(server)
        assert reset(server, token).status == 200
        server.kill()
        again = start_server()
        assert sign_in(again, password=NEW_PASSWORD).status == 200
        assert sign_in(again).status == 401
        assert again.ask("GET", "/profile", session).status == 403
        assert reset(again, token).status == 403

    def test_issued_reset_token_works(
            self, start_server: Callable[[], Server]) -> None:
        """The mail with the token was sent before the server died."""
        server = start_server()
        register(server)
        token = reset_token(server)
        server.kill()
        assert reset(start_server(), token).status == 200

    def test_deleted_account_stays_deleted(
            self, start_server: Callable[[], Server]) -> None:
        """What its owner ended does not come back."""
        server = start_server()
        session = signed_in(server)
        assert server.ask("DELETE", "/profile", session,
                          password=PASSWORD).status == 204
        server.kill()
        assert sign_in(start_server()).status == 401
