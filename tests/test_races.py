#!/usr/bin/env python3
"""Whatever many ask for at once is granted once, across processes too.

Real servers, real sockets, one SQLite file: a lock inside one process would
pass none of these.
"""
from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import pytest

from tests.databases import rows, url_in
from tests.helpers import EMAIL, PASSWORD, Answer, Server, all_at_once

CROWD, ROUNDS = 50, 20
Servers = Tuple[Server, Server]


@pytest.fixture
def servers(start_server: Callable[[], Server]) -> Servers:
    """Two processes that serve one database, new and without tables."""
    return start_server(), start_server()


def spellings(number: int) -> List[str]:
    """Return ways to type one address that no other number shares."""
    email = "Bob{}@Example.com".format(number)
    return [email, email.lower(), email.upper(), email.swapcase(),
            "bob{}@example.COM".format(number)]


def signed_in(server: Server, email: str = EMAIL,
              password: str = PASSWORD) -> Dict[str, str]:
    """Sign in and return the header that a browser would send from then."""
    answer = server.ask("POST", "/sessions", email=email, password=password)
    assert answer.status == 200, answer.body
    return session_of(answer)


def session_of(answer: Answer) -> Dict[str, str]:
    """Return the header that presents the session an answer opened."""
    return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}


def reset_token(server: Server, email: str = EMAIL) -> str:
    """Ask for a reset token and return it."""
    answer = server.ask("POST", "/reset_password", email=email)
    return str(json.loads(answer.body.decode())["reset_token"])


def tally(answers: List[Answer]) -> Dict[int, int]:
    """Count the answers by status."""
    return dict(Counter(answer.status for answer in answers))


def winner(answers: List[Answer], status: int = 200) -> int:
    """Return the place of the first answer with this status."""
    return [answer.status for answer in answers].index(status)


def count(folder: Path, table: str) -> int:
    """Count a table's rows in the database that the servers share."""
    (found,), = rows(url_in(folder), "SELECT count(*) FROM " + table)
    return int(found)


class TestRegistrations:
    """Many people, or one impatient one, want the same address."""

    @staticmethod
    def race(servers: Servers, number: int) -> List[Answer]:
        """Register one address CROWD times at once, each with a password.

        The spelling differs from call to call, and so does the server.
        """
        typed = spellings(number)
        return all_at_once([
            partial(servers[place % 2].ask, "POST", "/users",
                    email=typed[place % len(typed)],
                    password="password {}".format(place))
            for place in range(CROWD)])

    def test_one_of_many_gets_the_address(self, servers: Servers) -> None:
        """Round after round, and the first one on a file without tables."""
        for number in range(ROUNDS):
            answers = self.race(servers, number)
            assert tally(answers) == {200: 1, 400: CROWD - 1}

    def test_others_are_told_it_is_taken(self, servers: Servers) -> None:
        """The card's sentence, and no other key."""
        refused = [json.loads(answer.body.decode())
                   for answer in self.race(servers, 1) if answer.status == 400]
        assert refused == [
            {"message": "email already registered"}] * (CROWD - 1)

    def test_one_account_is_stored(self, servers: Servers,
                                   tmp_path: Path) -> None:
        """One user and its account, and nothing of those who lost."""
        self.race(servers, 1)
        assert [count(tmp_path, each) for each in ("users", "accounts")] \
            == [1, 1]

    def test_every_spelling_opens_the_one_account(
            self, servers: Servers) -> None:
        """The winner's password does, through either server."""
        password = "password {}".format(winner(self.race(servers, 1)))
        for server in servers:
            for email in spellings(1):
                session = signed_in(server, email, password)
                answer = server.ask("GET", "/profile", session)
                assert json.loads(answer.body.decode()) == {
                    "email": "bob1@example.com"}

    def test_password_of_a_loser_opens_nothing(
            self, servers: Servers) -> None:
        """Its hash was never stored."""
        loser = winner(self.race(servers, 1), status=400)
        answer = servers[0].ask("POST", "/sessions", email=spellings(1)[0],
                                password="password {}".format(loser))
        assert answer.status == 401


class TestResets:
    """A reset token is good for one password."""

    @staticmethod
    def race(servers: Servers, number: int = 0) -> List[Answer]:
        """Present a fresh token CROWD times at once, each with a password."""
        token = reset_token(servers[0])
        return all_at_once([
            partial(servers[place % 2].ask, "PUT", "/reset_password",
                    email=EMAIL, reset_token=token,
                    new_password="new {} {}".format(number, place))
            for place in range(CROWD)])

    def test_one_of_many_sets_the_password(self, servers: Servers) -> None:
        """Round after round; the others are refused, not broken."""
        servers[0].ask("POST", "/users", email=EMAIL, password=PASSWORD)
        for number in range(ROUNDS):
            assert tally(self.race(servers, number)) == {
                200: 1, 403: CROWD - 1}

    def test_only_the_winners_password_opens_the_account(
            self, servers: Servers) -> None:
        """Neither the old one does, nor any of the losers'."""
        servers[0].ask("POST", "/users", email=EMAIL, password=PASSWORD)
        place = winner(self.race(servers))
        passwords = ["new 0 {}".format(each) for each in range(CROWD)]
        opened = [
            password for password in passwords + [PASSWORD]
            if servers[0].ask("POST", "/sessions", email=EMAIL,
                              password=password).status == 200]
        assert opened == [passwords[place]]

    def test_no_session_of_the_old_password_survives(
            self, servers: Servers) -> None:
        """However the sign-ins and the reset fall: before, amid or after."""
        for number in range(ROUNDS):
            email = spellings(number)[0]
            servers[0].ask("POST", "/users", email=email, password=PASSWORD)
            sessions = self.sign_in_during_reset(servers, email)
            assert sessions, "nobody signed in before the reset"
            assert tally(all_at_once([
                partial(servers[place % 2].ask, "GET", "/profile", session)
                for place, session in enumerate(sessions)
            ])) == {403: len(sessions)}

    @staticmethod
    def sign_in_during_reset(servers: Servers,
                             email: str) -> List[Dict[str, str]]:
        """Reset a password while others go on signing in with the old one.

        Returns the sessions that these opened. The first of each is opened
        ahead of the reset, so there are always some.
        """
        token = reset_token(servers[0], email)
        sessions = [signed_in(server, email) for server in servers]

        def reset() -> None:
            """Set another password."""
            assert servers[1].ask(
                "PUT", "/reset_password", email=email, reset_token=token,
                new_password="new").status == 200

        def sign_in(server: Server) -> None:
            """Sign in until refused, at most a few times."""
            for _ in range(10):
                answer = server.ask("POST", "/sessions", email=email,
                                    password=PASSWORD)
                if answer.status != 200:
                    assert answer.status == 401
                    return
                sessions.append(session_of(answer))
        all_at_once([partial(sign_in, server) for server in servers * 3]
                    + [reset])
        return sessions


class TestSignOuts:
    """A session ends once."""

    def test_one_of_many_ends_the_session(self, servers: Servers) -> None:
        """The others were not signed in any more when their turn came."""
        servers[0].ask("POST", "/users", email=EMAIL, password=PASSWORD)
        for _ in range(5):
            session = signed_in(servers[0])
            assert tally(all_at_once([
                partial(servers[place % 2].ask, "DELETE", "/sessions", session)
                for place in range(CROWD)])) == {302: 1, 403: CROWD - 1}


class TestCrowds:
    """Those who do not want the same thing do not hinder each other."""

    @staticmethod
    def live(server: Server, name: str, times: int) -> List[Answer]:
        """Register, sign in and look who is signed in, again and again."""
        answers = []
        for number in range(times):
            email = "{}-{}@me.com".format(name, number)
            answers.append(server.ask(
                "POST", "/users", email=email, password=PASSWORD))
            answers.append(server.ask(
                "POST", "/sessions", email=email, password=PASSWORD))
            answers.append(server.ask(
                "GET", "/profile", session_of(answers[-1])))
        return answers

    def test_threads_of_one_server_serve_everybody(
            self, server: Server) -> None:
        """Eight visitors with fifty accounts each, and no refusal."""
        lives = all_at_once([
            partial(self.live, server, "visitor{}".format(number), 50)
            for number in range(8)])
        assert tally(sum(lives, [])) == {200: 8 * 50 * 3}

    def test_servers_that_start_together_on_no_database_all_serve(
            self, start_server: Callable[..., Server],
            tmp_path: Path) -> None:
        """The first requests race to make the tables; none of them fails."""
        url = url_in(tmp_path, "nobody")
        together = all_at_once([partial(start_server, DATABASE_URL=url)] * 8)
        assert tally(all_at_once([
            partial(server.ask, "POST", "/users",
                    email="bob{}@me.com".format(number), password=PASSWORD)
            for number, server in enumerate(together)])) == {200: 8}
