#!/usr/bin/env python3
"""Anything at all, beside a model.

Hypothesis does whatever can be done, in any order: accounts, devices,
sessions, mailed links, throttles, and a clock that goes ahead and back. A
model of lists and dictionaries (tests/proofs/model.py), written from the
documents and not from the code, says what each answer has to be.
"""
from __future__ import annotations

import logging
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from auth import Auth
from devices import Devices
from models import RESET, MailToken, Session, Visit, is_live
from tests.databases import KIND
from tests.helpers import needs_granian
from tests.proofs.machine import (
    Inside, Life, Outside, TimedLife, explore, first_difference, inside)
from tests.proofs.servers import Workers
from tests.proofs.size import PROVING, size
from throttle import Throttle
from user import User

# The Hypothesis of Python 3.7 mistrusts a random generator of its own.
pytestmark = pytest.mark.filterwarnings(
    "ignore:It looks like `register_random`")
# All of them once, and fewer wherever else it runs: a server takes longer than
# a file in memory.
LIVES = [pytest.param(size(200, 2000), marks=pytest.mark.once),
         size(10, 200 if KIND == "postgresql" else 10)]
STEPS = size(50, 100)
# What the server is told of the model's limits.
POLICY: Dict[str, Any] = dict(
    SESSION_IDLE="1d", SESSIONS_PER_USER="3", MAIL_IN_SERVER="0")
# So many lives are one job, of which each core has one.
JOB = 50
# Within so many lives each mistake is found.
SOON = 40


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep no log of millions of lines."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def live(job: Tuple[bool, int, int]) -> int:
    """Live the lives of a job; return how many there were.

    In a process of its own, perhaps.
    """
    production, seed, lives = job
    logging.disable(logging.CRITICAL)
    with closing(inside(production)) as bench:
        explore(TimedLife, bench, lives, STEPS, seed)
        return bench.lives


# -- What is broken on purpose; each takes the place of something of ours

def forgets_to_end(patch: pytest.MonkeyPatch) -> None:
    """Sign out without ending the session."""
    patch.setattr(Auth, "_end_sessions", lambda *_: 1)


def keeps_sessions(patch: pytest.MonkeyPatch) -> None:
    """Let sessions live on when the password is reset."""
    replace = getattr(Auth, "_replace_password")

    def replaced(self: Any, user: User, *given: Any) -> bool:
        """Set the password, and put the sessions back."""
        kept = self._db.find_all(Session, user_id=user.id)
        won: bool = replace(self, user, *given)
        for each in kept if won else []:
            self._db.add(each)
        return won
    patch.setattr(Auth, "_replace_password", replaced)


def keeps_reset_tokens(patch: pytest.MonkeyPatch) -> None:
    """Let a reset token work twice."""
    replace = getattr(Auth, "_replace_password")

    def replaced(self: Any, user: User, *given: Any) -> bool:
        """Set the password, and put the token back."""
        kept = self._db.find_all(MailToken, user_id=user.id, purpose=RESET)
        won: bool = replace(self, user, *given)
        for each in kept if won else []:
            self._db.add(each)
            self._db.update_user(user.id, reset_token=each.digest)
        return won
    patch.setattr(Auth, "_replace_password", replaced)


def keeps_links_of_before(patch: pytest.MonkeyPatch) -> None:
    """Let links to the old address work for the new one."""
    move = getattr(Auth, "_move")

    def moved(self: Any, user: User, email: str) -> None:
        """Move, and put the links back."""
        kept = self._db.find_all(MailToken, user_id=user.id)
        move(self, user, email)
        for each in kept:
            self._db.add(each)
            if each.purpose == RESET:
                self._db.update_user(user.id, reset_token=each.digest)
    patch.setattr(Auth, "_move", moved)


def forgets_to_count(patch: pytest.MonkeyPatch) -> None:
    """Let anybody try again without having counted the last time."""
    patch.setattr(Throttle, "_count", lambda *_: {})


def knows_no_device(patch: pytest.MonkeyPatch) -> None:
    """Count the owner's own browser with all strangers."""
    patch.setattr(Devices, "knows", lambda *_: False)


def believes_the_future(patch: pytest.MonkeyPatch) -> None:
    """Let a session go on that a clock which ran ahead has opened."""
    patch.setattr("auth.is_live", lambda session, seen_at, now, idle: (
        now < session.expires_at and now < seen_at + idle))


def never_idle(patch: pytest.MonkeyPatch) -> None:
    """Let a session live to its last day, though nobody uses it."""
    patch.setattr("auth.is_live", lambda session, _seen_at, now, idle: (
        is_live(session, now, now, idle)))


def lets_all_end(patch: pytest.MonkeyPatch) -> None:
    """Let anybody end a session of somebody else's."""
    patch.setattr(Auth, "end_session", lambda self, session_id, handle: (
        self._end_sessions(self.identify(session_id).user_id,
                           Session.id == handle)))


FLAWS: Dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "a sign-out ends no session": forgets_to_end,
    "sessions outlive a reset": keeps_sessions,
    "a reset token works twice": keeps_reset_tokens,
    "links of before a change of address go on working":
        keeps_links_of_before,
    "the throttle forgets to count": forgets_to_count,
    "strangers shut a known device out": knows_no_device,
    "a clock that is set back leaves a session of the future": (
        believes_the_future),
    "a session is never idle": never_idle,
    "an unknown handle is answered as if it had ended": lets_all_end}


@pytest.mark.promise(
    "Whatever is done in whatever order, by whatever clock: each answer is "
    "the model's, and what has ended stays ended.")
class TestEveryLife:
    """The service in this process, in both of its modes."""

    @pytest.mark.parametrize("lives", LIVES)
    def test_answers_as_the_model_does(
            self, lives: int, figure: Callable[[str], None]) -> None:
        """Three of four lives are lived in production."""
        jobs = [(number % 4 != 0, number, min(JOB, lives))
                for number in range(max(1, lives // JOB))]
        if PROVING:
            with ProcessPoolExecutor(
                    2, mp_context=get_context("spawn")) as cores:
                lived = sum(cores.map(live, jobs))
        else:
            lived = sum(map(live, jobs))
        assert lived >= lives
        figure("{:,} lives of {} steps, 0 answers differ".format(
            lived, STEPS))

    @pytest.mark.once
    @pytest.mark.parametrize("flaw", [
        pytest.param(flaw, marks=pytest.mark.broken(by), id=flaw.__name__)
        for by, flaw in FLAWS.items()])
    def test_finds_what_is_broken(
            self, flaw: Callable[[pytest.MonkeyPatch], None],
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Soon, and in production."""
        flaw(monkeypatch)
        with closing(inside(production=True)) as bench:
            assert first_difference(TimedLife, bench, SOON, 50) is not None


@pytest.mark.once
@needs_granian
@pytest.mark.promise(
    "The same over a socket, with one worker answering after the other.")
class TestEveryLifeOverASocket:
    """The production server with two workers, where no clock is ours."""

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[Outside]:
        """A server, and the database that it shares with nobody."""
        server = Workers(tmp_path, **POLICY)
        yield Outside(server, tmp_path)
        server.stop()

    def test_answers_as_the_model_does(
            self, bench: Outside, figure: Callable[[str], None]) -> None:
        """In the development mode, without time and mails."""
        lives = size(10, 200)
        explore(Life, bench, lives, STEPS)
        figure("{:,} lives of {} steps, 0 answers differ".format(
            lives, STEPS))

    @pytest.mark.broken("a worker goes on taking a session that has ended")
    def test_finds_what_is_broken(self, tmp_path: Path) -> None:
        """Soon, whichever worker answers."""
        server = Workers(tmp_path, flaw=remembers_sessions, **POLICY)
        try:
            assert first_difference(
                Life, Outside(server, tmp_path), SOON, 50) is not None
        finally:
            server.stop()


def remembers_sessions() -> None:
    """Have each worker remember what it looked up."""
    identify, known = Auth.identify, {}  # type: Any, Dict[object, Visit]

    def identified(self: Auth, session_id: object) -> Visit:
        """Return what was found before."""
        if session_id not in known:
            known[session_id] = identify(self, session_id)
        return known[session_id]
    setattr(Auth, "identify", identified)
