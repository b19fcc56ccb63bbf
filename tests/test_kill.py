#!/usr/bin/env python3
"""Kills in mid-work.

What was acknowledged stays, although the server is killed at any moment. What
its database may suffer is in tests/proofs/test_faults_of_disk.py.
"""
from __future__ import annotations

import json
import os
import signal
import statistics
import time
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import (
    Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple)

import pytest

from tests.databases import KIND, rows, url_in
from tests.helpers import (
    EMAIL, PASSWORD, Answer, Server, all_at_once)
from tests.proofs.servers import Flaw, Workers, workers_of
from tests.proofs.size import PROVING, size
from tests.proofs.test_history import stores_later

NEW_PASSWORD = "t4rt1fl3tt3"
# How PostgreSQL keeps what it has acknowledged is not for us to prove.
ROUNDS, CLIENTS = size(5, 100 if KIND == "sqlite" else 25), 4
# What nobody notices: from the command to the first answer. The production
# server starts several processes; an ordinary run shares the machine.
RESTART_SECONDS = size(20, 5)


def sign_in(server: Server, email: str = EMAIL,
            password: str = PASSWORD) -> Answer:
    """Ask for a session."""
    return server.ask("POST", "/sessions", email=email, password=password)


def register(server: Server, email: str = EMAIL) -> Answer:
    """Ask for an account."""
    return server.ask("POST", "/users", email=email, password=PASSWORD)


def signed_in(server: Server, email: str) -> Dict[str, str]:
    """Open an account and a session; return the header that presents it."""
    assert register(server, email).status == 200
    cookie = sign_in(server, email).headers["Set-Cookie"].partition(";")[0]
    return {"Cookie": cookie}


def reset_token(server: Server, email: str) -> str:
    """Ask for a reset token and return it."""
    answer = server.ask("POST", "/reset_password", email=email)
    return str(json.loads(answer.body.decode())["reset_token"])


def reset(server: Server, token: str, email: str) -> Answer:
    """Ask for the new password with a reset token."""
    return server.ask("PUT", "/reset_password", email=email,
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


def start(folder: Path, flaw: Optional[Flaw] = None) -> Server:
    """Start a server: the production server in a proof, or with a flaw."""
    return Workers(folder, flaw=flaw) if PROVING or flaw else Server(folder)


def kill(server: Server) -> None:
    """Kill a server with all its processes."""
    workers = workers_of(server)
    server.kill()
    for each in workers:
        os.kill(each, signal.SIGKILL)


def kill_amid(server: Server, clients: List[Client], delay: float) -> None:
    """Kill a server some time after it gave its first answer."""
    deadline = time.monotonic() + 30
    while not any(client.acknowledged for client in clients) \
            and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(delay)
    kill(server)


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


def killed(folder: Path, count: int, flaw: Optional[Flaw] = None
           ) -> Aftermath:
    """Kill a server so many times, always on the same database.

    The delay steps through one transaction and many, so that the kills fall
    into every part of the work.
    """
    rounds = []
    server = start(folder, flaw)
    try:
        for number in range(count):
            acknowledged = kill_during_registrations(
                server, "round{}".format(number),
                delay=0.0107 * (number * 20 // count))
            server = start(folder, flaw)
            rounds.append(look_back(server, acknowledged))
    finally:
        server.stop()
    return Aftermath(folder, rounds)


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    """What ROUNDS kills left."""
    return killed(tmp_path_factory.mktemp("kill"), ROUNDS)


@pytest.mark.promise("Nothing that was acknowledged is lost when the server "
                     "is killed with SIGKILL, and nothing is half done.")
class TestKilledDuringRegistrations:
    """kill -9, again and again, while accounts are opened."""

    def test_every_round_had_something_to_lose(
            self, aftermath: Aftermath) -> None:
        """Otherwise the other proofs here would prove nothing."""
        assert all(each.acknowledged for each in aftermath.rounds)
        assert len(aftermath.rounds) == ROUNDS

    def test_no_acknowledged_account_is_lost(
            self, aftermath: Aftermath,
            figure: Callable[[str], None]) -> None:
        """Each signs in with its password after the restart."""
        assert [each.lost for each in aftermath.rounds] == [[]] * ROUNDS
        figure("{} kills, 0 of {:,} acknowledged accounts lost, up again in "
               "{:.1f} s".format(
                   ROUNDS, sum(len(each.acknowledged)
                               for each in aftermath.rounds),
                   statistics.median(each.restart_seconds
                                     for each in aftermath.rounds)))

    @pytest.mark.once
    @pytest.mark.broken("an account is acknowledged before it is stored")
    def test_finds_what_is_broken(self, tmp_path: Path) -> None:
        """Some are lost at the first kill."""
        assert killed(tmp_path, 1, stores_later).rounds[0].lost

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

        The shortest of them: a machine with other work is slow for the rest.
        """
        assert min(each.restart_seconds
                   for each in aftermath.rounds) < RESTART_SECONDS

    def test_no_registration_is_half_done(
            self, aftermath: Aftermath) -> None:
        """A user without an account, or the reverse, is never stored."""
        assert query(aftermath.folder, """
            SELECT id FROM users EXCEPT SELECT user_id FROM accounts""") == []
        assert query(aftermath.folder, """
            SELECT user_id FROM accounts EXCEPT SELECT id FROM users""") == []

    def test_database_is_whole(self, aftermath: Aftermath) -> None:
        """If it is a file: SQLite finds nothing to complain of in it."""
        if KIND == "sqlite":
            assert query(aftermath.folder,
                         "PRAGMA integrity_check") == [("ok",)]
            assert query(aftermath.folder, "PRAGMA foreign_key_check") == []


class Last(NamedTuple):
    """The last answers of a server, and the one that came after it."""

    session: Dict[str, str]
    ended: Dict[str, str]
    before_reset: Dict[str, str]
    used: str
    unused: str
    after: Server


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Last]:
    """A server that was killed after all of these answers, and the next."""
    folder = tmp_path_factory.mktemp("last")
    server = start(folder)
    session, ended, before_reset, gone = (
        signed_in(server, each) for each in ("in", "out", "reset", "gone"))
    register(server, "asked")
    used, unused = reset_token(server, "reset"), reset_token(server, "asked")
    assert reset(server, used, "reset").status == 200
    assert server.ask("DELETE", "/sessions", ended).status == 302
    assert server.ask("DELETE", "/profile", gone,
                      password=PASSWORD).status == 204
    kill(server)
    server = start(folder)
    yield Last(session, ended, before_reset, used, unused, server)
    server.stop()


class TestKilledAfterAnAnswer:
    """The answer was the last thing the server did."""

    def test_session_stays_open(self, last: Last) -> None:
        """A restart signs nobody out."""
        assert last.after.ask("GET", "/profile", last.session).status == 200

    def test_ended_session_stays_ended(self, last: Last) -> None:
        """A sign-out that was acknowledged is not undone."""
        assert last.after.ask("GET", "/profile", last.ended).status == 403

    def test_reset_password_stays_reset(self, last: Last) -> None:
        """With all it did: password, sessions and token."""
        assert sign_in(last.after, "reset", NEW_PASSWORD).status == 200
        assert sign_in(last.after, "reset").status == 401
        assert last.after.ask(
            "GET", "/profile", last.before_reset).status == 403
        assert reset(last.after, last.used, "reset").status == 403

    def test_issued_reset_token_works(self, last: Last) -> None:
        """The mail with the token was sent before the server died."""
        assert reset(last.after, last.unused, "asked").status == 200

    def test_deleted_account_stays_deleted(self, last: Last) -> None:
        """What its owner ended does not come back."""
        assert sign_in(last.after, "gone").status == 401
