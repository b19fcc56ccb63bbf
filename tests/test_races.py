#!/usr/bin/env python3
"""Many at once.

Whatever many ask for in one moment is granted once, whichever of the
production server's processes is asked: a lock inside one would pass none of
these.
"""
from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest

from auth import Auth
from errors import EmailTaken
from tests.databases import rows, url_in
from tests.helpers import EMAIL, PASSWORD, Answer, Server, all_at_once
from tests.proofs.servers import Flaw, Workers
from tests.proofs.size import size

CROWD, ROUNDS = 50, size(3, 20)
# What a server shares with no test before: people.
NUMBERS = count(1)


@contextmanager
def serving(folder: Path, flaw: Optional[Flaw] = None) -> Iterator[Workers]:
    """Serve a database by two processes behind one port."""
    server = Workers(folder, flaw=flaw, MAIL_IN_SERVER="0",
                     SESSIONS_PER_USER="1000")
    try:
        yield server
    finally:
        server.stop()
    assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """The production server, for all tests of this file."""
    with serving(tmp_path_factory.mktemp("races")) as server:
        yield server


@pytest.fixture
def email(workers: Workers) -> str:
    """The address of a new account."""
    return registered(workers)


def registered(workers: Server) -> str:
    """Open an account and return its address."""
    email = spellings(next(NUMBERS))[1]
    assert workers.ask("POST", "/users", email=email,
                       password=PASSWORD).status == 200
    return email


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


# -- What is broken on purpose

def looks_first() -> None:
    """Open an account unless there was one a moment ago."""
    register = Auth.register_user

    def looked(self: Any, email: str, password: str) -> None:
        """Believe that nobody comes between."""
        user, _ = self._find_user(email)
        if user:
            raise EmailTaken(email)
        time.sleep(0.1)
        with suppress(EmailTaken):
            register(self, email, password)
    setattr(Auth, "register_user", looked)


def looks_no_more() -> None:
    """Set a password by a token that was good when the hash began."""
    replace = getattr(Auth, "_replace_password")
    setattr(Auth, "_replace_password", lambda self, user, _, hashed: (
        replace(self, user, {"id": user.id}, hashed)))


def thanks_everybody() -> None:
    """Tell whoever signs out that it was they who did."""
    end = getattr(Auth, "_end_sessions")
    setattr(Auth, "_end_sessions", lambda *given: end(*given) or 1)


@pytest.mark.promise(
    "Of 50 registrations of one address at once, however it is spelled, "
    "exactly one succeeds.")
class TestRegistrations:
    """Many people, or one impatient one, want the same address."""

    @staticmethod
    def race(workers: Server, number: int) -> List[Answer]:
        """Register one address CROWD times at once, each with a password.

        The spelling differs from call to call.
        """
        typed = spellings(number)
        return all_at_once([
            partial(workers.ask, "POST", "/users",
                    email=typed[place % len(typed)],
                    password="password {}".format(place))
            for place in range(CROWD)])

    def test_one_of_many_gets_the_address(
            self, workers: Workers, figure: Callable[[str], None]) -> None:
        """Round after round; the others are told that it is taken."""
        for _ in range(ROUNDS):
            answers = self.race(workers, next(NUMBERS))
            assert tally(answers) == {200: 1, 400: CROWD - 1}
            assert [json.loads(each.body.decode()) for each in answers
                    if each.status == 400] == [
                {"message": "email already registered"}] * (CROWD - 1)
        figure("{} rounds of {}, 1 account each".format(ROUNDS, CROWD))

    @pytest.mark.once
    @pytest.mark.broken("registering looks first and stores then")
    def test_finds_what_is_broken(self, tmp_path: Path) -> None:
        """More than one is told that the address is theirs."""
        with serving(tmp_path, looks_first) as workers:
            tallies = [tally(self.race(workers, number))
                       for number in range(3)]
        assert max(each[200] for each in tallies) > 1

    def test_one_account_is_stored(self, tmp_path: Path) -> None:
        """One user and its account, and nothing of those who lost."""
        with serving(tmp_path) as workers:
            self.race(workers, 1)
        assert [rows(url_in(tmp_path), "SELECT count(*) FROM " + each)
                for each in ("users", "accounts")] == [[(1,)], [(1,)]]

    def test_only_the_winners_password_opens_the_account(
            self, workers: Workers) -> None:
        """In every spelling; the hash of a loser was never stored."""
        number = next(NUMBERS)
        answers = self.race(workers, number)
        password = "password {}".format(winner(answers))
        for email in spellings(number):
            session = signed_in(workers, email, password)
            answer = workers.ask("GET", "/profile", session)
            assert json.loads(answer.body.decode()) == {
                "email": spellings(number)[1]}
        loser = "password {}".format(winner(answers, status=400))
        assert workers.ask("POST", "/sessions", email=spellings(number)[0],
                           password=loser).status == 401


@pytest.mark.promise(
    "A reset token works exactly once, of 50 tries at once, and no session "
    "of the old password outlives it.")
class TestResets:
    """A reset token is good for one password."""

    @staticmethod
    def race(workers: Server, email: str) -> List[Answer]:
        """Present a fresh token CROWD times at once, each with a password."""
        token = reset_token(workers, email)
        return all_at_once([
            partial(workers.ask, "PUT", "/reset_password", email=email,
                    reset_token=token, new_password="new {}".format(place))
            for place in range(CROWD)])

    def test_one_of_many_sets_the_password(
            self, workers: Workers, email: str,
            figure: Callable[[str], None]) -> None:
        """Round after round; the others are refused, not broken."""
        for _ in range(ROUNDS):
            assert tally(self.race(workers, email)) == {
                200: 1, 403: CROWD - 1}
        figure("{} rounds of {}, 1 new password each".format(ROUNDS, CROWD))

    @pytest.mark.once
    @pytest.mark.broken("a token is looked at before the hash alone")
    def test_finds_what_is_broken(self, tmp_path: Path) -> None:
        """More than one sets a password."""
        with serving(tmp_path, looks_no_more) as workers:
            email = registered(workers)
            tallies = [tally(self.race(workers, email)) for _ in range(3)]
        assert max(each[200] for each in tallies) > 1

    def test_only_the_winners_password_opens_the_account(
            self, workers: Workers, email: str) -> None:
        """Neither the old one does, nor any of the losers'."""
        place = winner(self.race(workers, email))
        passwords = ["new {}".format(each) for each in range(CROWD)]
        opened = [
            password for password in passwords + [PASSWORD]
            if workers.ask("POST", "/sessions", email=email,
                           password=password).status == 200]
        assert opened == [passwords[place]]

    def test_no_session_of_the_old_password_survives(
            self, workers: Workers) -> None:
        """However the sign-ins and the reset fall: before, amid or after."""
        for _ in range(ROUNDS):
            sessions = self.sign_in_during_reset(workers)
            assert sessions, "nobody signed in before the reset"
            assert tally(all_at_once([
                partial(workers.ask, "GET", "/profile", session)
                for session in sessions])) == {403: len(sessions)}

    @staticmethod
    def sign_in_during_reset(workers: Server) -> List[Dict[str, str]]:
        """Reset a password while others go on signing in with the old one.

        Returns the sessions that these opened. The first of them are opened
        ahead of the reset, so there are always some.
        """
        email = registered(workers)
        token = reset_token(workers, email)
        sessions = [signed_in(workers, email) for _ in range(2)]

        def reset() -> None:
            """Set another password."""
            assert workers.ask(
                "PUT", "/reset_password", email=email, reset_token=token,
                new_password="new").status == 200

        def sign_in() -> None:
            """Sign in until refused, at most a few times."""
            for _ in range(10):
                answer = workers.ask("POST", "/sessions", email=email,
                                     password=PASSWORD)
                if answer.status != 200:
                    assert answer.status == 401
                    return
                sessions.append(session_of(answer))
        all_at_once([sign_in] * 6 + [reset])
        return sessions


@pytest.mark.promise("Of 50 sign-outs of one session at once, exactly one "
                     "is told that it ended it.")
class TestSignOuts:
    """A session ends once."""

    @staticmethod
    def race(workers: Server, email: str) -> List[Answer]:
        """Sign out of one session CROWD times at once."""
        session = signed_in(workers, email)
        return all_at_once([partial(
            workers.ask, "DELETE", "/sessions", session)] * CROWD)

    def test_one_of_many_ends_the_session(
            self, workers: Workers, email: str,
            figure: Callable[[str], None]) -> None:
        """The others were not signed in any more when their turn came."""
        for _ in range(ROUNDS):
            assert tally(self.race(workers, email)) == {
                302: 1, 403: CROWD - 1}
        figure("{} rounds of {}, 1 end each".format(ROUNDS, CROWD))

    @pytest.mark.once
    @pytest.mark.broken("whoever was in when it ended is told the same")
    def test_finds_what_is_broken(self, tmp_path: Path) -> None:
        """More than one ends it."""
        with serving(tmp_path, thanks_everybody) as workers:
            email = registered(workers)
            tallies = [tally(self.race(workers, email)) for _ in range(3)]
        assert max(each[302] for each in tallies) > 1


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
        """Eight visitors with some accounts each, and no refusal."""
        times = size(10, 50)
        lives = all_at_once([
            partial(self.live, server, "visitor{}".format(number), times)
            for number in range(8)])
        assert tally(sum(lives, [])) == {200: 8 * times * 3}

    def test_servers_that_start_together_on_no_database_all_serve(
            self, start_server: Callable[..., Server],
            tmp_path: Path) -> None:
        """The first requests race to make the tables; none of them fails."""
        url = url_in(tmp_path, "nobody")
        together = all_at_once(
            [partial(start_server, DATABASE_URL=url)] * size(3, 8))
        assert tally(all_at_once([
            partial(server.ask, "POST", "/users",
                    email="bob{}@me.com".format(number), password=PASSWORD)
            for number, server in enumerate(together)
        ])) == {200: len(together)}
