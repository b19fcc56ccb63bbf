#!/usr/bin/env python3
"""More sign-ins than can be hashed: who has to come back, and who need not."""
from __future__ import annotations

import dataclasses
import threading
from contextlib import contextmanager
from functools import partial
from typing import Any, Callable, Iterator, List

import pytest

from app import create_app
from auth import Auth
from credentials import passwords
from credentials.pool import HashingPool
from db import DB
from errors import Overloaded
from models import Attempt, Session
from settings import Settings
from tests.helpers import EMAIL, ORIGIN, STRONG, Clock, Mailbox, Visitor
from tests.machine import wait_until

# Two may be in the pool, one of them being hashed.
PLACES = 2


class Storm:
    """A service of four threads whose only hash does not end by itself."""

    def __init__(self, service: Auth, patch: pytest.MonkeyPatch) -> None:
        """Hold up every hash from now on."""
        self.application = create_app(service)
        self.hashed: List[str] = []
        self.leave = threading.Event()
        self._threads: List[threading.Thread] = []
        self._real = passwords.verify_password
        patch.setattr(passwords, "verify_password", self._verify)

    def _verify(self, password: str, *args: Any) -> bool:
        """Verify a password, once the storm is over."""
        self.hashed.append(password)
        self.leave.wait(20)
        return self._real(password, *args)

    def visitor(self, address: str) -> Visitor:
        """Return somebody who comes from an address."""
        return Visitor(self.application.test_client(), ORIGIN, address)

    def asks(self, answers: List[Any], ask: Callable[[], Any]) -> None:
        """Have somebody ask for something, and not wait for the answer."""
        self._threads.append(threading.Thread(
            target=lambda: answers.append(ask()), daemon=True))
        self._threads[-1].start()

    def sends(self, visitor: Visitor, email: str,
              answers: List[Any]) -> None:
        """Have somebody sign in, and not wait for the answer."""
        self.asks(answers, partial(visitor.logs_in, email, STRONG))

    def is_over(self) -> None:
        """Let every hash end, and everybody have their answer."""
        self.leave.set()
        for each in self._threads:
            each.join(20)


@pytest.fixture
def service(db: DB, safe_settings: Settings, clock: Clock,
            mailbox: Mailbox) -> Iterator[Auth]:
    """A service with little room, and with Bob."""
    settings = dataclasses.replace(
        safe_settings, require_verified=False, threads=2 * PLACES)
    pool = HashingPool(1, settings.hashing_places)
    service = Auth(db, settings, clock, mailbox, pool=pool)
    service.register_user(EMAIL, STRONG)
    yield service
    service.close()


@pytest.fixture
def token(service: Auth) -> str:
    """Bob's session from before the storm."""
    return service.log_in(EMAIL, STRONG)


@pytest.fixture
def storm(service: Auth, token: str,
          monkeypatch: pytest.MonkeyPatch) -> Iterator[Storm]:
    """Mallory fills the pool: one is being hashed, and one waits."""
    storm = Storm(service, monkeypatch)
    yield storm
    storm.is_over()


@contextmanager
def full(storm: Storm, db: DB, email: str = "eve@me.com"
         ) -> Iterator[List[Any]]:
    """Mallory's sign-ins have all places; yields what she is answered."""
    answers: List[Any] = []
    for number in range(PLACES):
        storm.sends(storm.visitor("198.51.100.6"), email, answers)
        wait_until(lambda: sum(
            each.failures for each in db.find_all(Attempt)) == 2 * (
                number + 1))
    wait_until(lambda: len(storm.hashed) == 1)
    yield answers


class TestSentAway:
    """One who comes when the line is full of those with better claims."""

    @pytest.mark.parametrize("email", [EMAIL, "nobody@me.com"])
    def test_is_told_when_to_come_back(
            self, storm: Storm, db: DB, email: str) -> None:
        """The same for a known address and an unknown one."""
        with full(storm, db):
            answer = storm.visitor("198.51.100.6").logs_in(email, "x" * 15)
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.json == {
                "message": "too many are signing in at this moment, try "
                           "again shortly"}

    def test_counts_nowhere_and_costs_no_hash(
            self, storm: Storm, db: DB) -> None:
        """It was no guess."""
        with full(storm, db):
            before = [(each.key, each.failures)
                      for each in db.find_all(Attempt)]
            storm.visitor("198.51.100.6").logs_in(EMAIL, "x" * 15)
            assert [(each.key, each.failures)
                    for each in db.find_all(Attempt)] == before
        storm.is_over()
        assert "x" * 15 not in storm.hashed

    def test_while_waiting_is_not_held_against_anybody(
            self, storm: Storm, db: DB) -> None:
        """The second of Mallory's makes room for a neighbour's first."""
        with full(storm, db) as answers:
            theirs: List[Any] = []
            storm.sends(storm.visitor("203.0.113.9"), EMAIL, theirs)
            wait_until(lambda: bool(answers))
            assert answers[0].status_code == 503
            # One of hers in two lanes, and the neighbour's.
            assert sum(each.failures
                       for each in db.find_all(Attempt)) == 4
        storm.is_over()
        assert theirs[0].status_code == 200


class TestNobodyElse:
    """Those who do not sign in."""

    def test_profile_is_answered_at_once(
            self, storm: Storm, db: DB, token: str) -> None:
        """It needs no hash."""
        bob = storm.visitor("203.0.113.7")
        with full(storm, db):
            answer = bob.asks("GET", "/profile", {
                "Authorization": "Bearer " + token})
            assert answer.json == {"email": EMAIL}

    @pytest.mark.parametrize("method, path, data", [
        ("POST", "/users", {"email": "new@me.com", "password": STRONG}),
        ("PUT", "/password", {"current_password": STRONG,
                              "new_password": STRONG + "!"}),
        ("DELETE", "/profile", {"password": STRONG})])
    def test_all_that_hashes_waits_in_the_same_line(
            self, storm: Storm, db: DB, token: str, method: str, path: str,
            data: Any) -> None:
        """And is sent away, where the claim is no better."""
        with full(storm, db):
            others: List[Any] = []
            for _ in range(2):
                storm.asks(others, partial(
                    storm.visitor("203.0.113.7").asks, method, path,
                    {"Authorization": "Bearer " + token}, **data))
            wait_until(lambda: bool(others))
            assert others[0].status_code == 503
            assert db.count(Session) == 1


class TestKnownDevice:
    """An owner on a browser of theirs."""

    def test_is_next_and_makes_room(
            self, service: Auth, storm: Storm, db: DB) -> None:
        """Though another network waits with as good a claim."""
        bob = storm.visitor("203.0.113.7")
        storm.leave.set()
        assert bob.logs_in(EMAIL, STRONG).status_code == 200
        storm.leave.clear()
        storm.hashed.clear()
        first: List[Any] = []
        second: List[Any] = []
        mine: List[Any] = []
        storm.sends(storm.visitor("198.51.100.6"), "eve@me.com", first)
        wait_until(lambda: len(storm.hashed) == 1)
        storm.sends(storm.visitor("198.51.100.7"), "amy@me.com", second)
        wait_until(lambda: sum(
            each.failures for each in db.find_all(Attempt)) == 4)
        storm.sends(bob, EMAIL, mine)
        wait_until(lambda: bool(second))
        assert second[0].status_code == 503
        storm.is_over()
        assert mine[0].status_code == 200


@pytest.mark.parametrize("threads, places", [(1, 1), (2, 1), (16, 8),
                                             (17, 8)])
def test_half_of_the_threads_may_wait(
        safe_settings: Settings, threads: int, places: int) -> None:
    """And one at least, or nobody could sign in."""
    assert dataclasses.replace(
        safe_settings, threads=threads).hashing_places == places


def test_upgrade_of_a_hash_waits_for_a_better_moment(
        db: DB, safe_settings: Settings, clock: Clock, mailbox: Mailbox,
        monkeypatch: pytest.MonkeyPatch) -> None:
    """The sign-in succeeds, as the password was right."""
    cheap = dataclasses.replace(safe_settings, require_verified=False)
    Auth(db, cheap, clock, mailbox).register_user(EMAIL, STRONG)
    dear = dataclasses.replace(cheap, bcrypt_cost=cheap.bcrypt_cost + 1)
    pool = HashingPool(1, 1)
    service = Auth(db, dear, clock, mailbox, pool=pool)
    run: Callable[..., Any] = pool.run
    turns: List[int] = []

    def run_once(task: Any, *claim: Any) -> Any:
        """Hash the first time, and find the line full the second."""
        turns.append(1)
        if len(turns) > 1:
            raise Overloaded()
        return run(task, *claim)
    monkeypatch.setattr(pool, "run", run_once)
    assert service.log_in(EMAIL, STRONG)
    assert len(turns) == 2
    service.close()
