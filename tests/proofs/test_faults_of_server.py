#!/usr/bin/env python3
"""Faults of the server's own machine.

A worker that is killed because memory is short, a server that is ended while
it is at work, a clock that jumps: others go on, what was begun is answered,
and time is no way in.
"""
from __future__ import annotations

import json
import multiprocessing.process
import os
import signal
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import pytest

import auth
from auth import Auth
from settings import DAY, HOUR
from tests.databases import rows, url_in
from tests.helpers import PASSWORD, Answer, Server, needs_granian
from tests.machine import wait_until
from tests.proofs.servers import Flaw, Workers
from tests.proofs.size import size
from tests.proofs.troubles import (
    Heard, Visitors, faults_of, unserved, workers_of)

Figure = Callable[[str], None]
# How many write and how many read without pause.
CROWD = size(3, 6)


# -- Short of memory

def dies_with_a_worker() -> None:
    """End the whole server when a worker died."""
    from granian.server import MPServer

    begin = MPServer.__init__

    def begin_mortal(self: Any, *words: Any, **named: Any) -> None:
        """Be ready to serve, by workers who are not replaced."""
        begin(self, *words, **dict(named, respawn_failed_workers=False))
    setattr(MPServer, "__init__", begin_mortal)


class Killing(NamedTuple):
    """What visitors heard while workers were killed, and what was wrong."""

    heard: List[Heard]
    cut_off: int
    complaints: List[str]


def kill_workers(folder: Path, times: int,
                 flaw: Optional[Flaw] = None) -> Killing:
    """Kill one worker after the other as the kernel does, under load.

    Whoever that worker was answering is cut off; nobody else may be.
    """
    server = Workers(folder, flaw)
    visitors, complaints = Visitors(server), []
    try:
        visitors.settle()
        wait_until(lambda: len(workers_of(server)) == 2)
        with visitors.without_pause(CROWD) as heard:
            for turn in range(times):
                so_far, before = len(heard), workers_of(server)
                wait_until(lambda: len(heard) > so_far + 4 * CROWD)
                os.kill(before[turn % 2], signal.SIGKILL)
                try:
                    wait_until(lambda: len(set(
                        workers_of(server)) - set(before)) == 1, 5)
                except AssertionError:
                    complaints.append("no new worker came")
                    break
        cut_off = [each for each in heard if each.answer is None]
        if len(cut_off) > times * 2 * CROWD:
            complaints.append("{} were cut off".format(len(cut_off)))
        complaints += faults_of(
            [each for each in heard if each.answer is not None])
        if not complaints:
            complaints += unserved(visitors.come(CROWD))
            complaints += ["lost: " + each for each in visitors.missing()]
        return Killing(heard, len(cut_off), complaints)
    finally:
        server.kill() if complaints else server.stop()


@needs_granian
@pytest.mark.promise("A worker that the system kills for want of memory is "
                     "replaced; only those are cut off whom it was answering, "
                     "and nothing that was acknowledged is lost.")
class TestWorkerKilled:
    """Linux ends the largest process, in the middle of whatever it does."""

    def test_others_serve_on(self, tmp_path: Path, figure: Figure) -> None:
        """However often it happens."""
        times = size(2, 10)
        killing = kill_workers(tmp_path, times)
        assert killing.complaints == []
        figure("{} workers killed under load: {} of {} requests cut off, 0 "
               "acknowledged accounts lost".format(
                   times, killing.cut_off, len(killing.heard)))

    @pytest.mark.broken("the server ends with one of its workers")
    def test_finds_a_server_that_dies(self, tmp_path: Path) -> None:
        """Nobody would be left."""
        assert kill_workers(
            tmp_path, 1, dies_with_a_worker).complaints


# -- Ended

def stores_slowly() -> None:
    """Take a while to answer once an account is stored; no flaw."""
    sign_up = Auth.sign_up

    def sign_up_slowly(self: Auth, email: str, password: str) -> None:
        """Open an account, and think about it."""
        sign_up(self, email, password)
        time.sleep(0.3)
    setattr(Auth, "sign_up", sign_up_slowly)


def drops_all() -> None:
    """End at once when told to, whoever is waiting for an answer."""
    stores_slowly()
    process: Any = multiprocessing.process.BaseProcess
    setattr(process, "terminate", process.kill)


def end_under_load(folder: Path, flaw: Flaw) -> Tuple[int, List[str]]:
    """End a server; return how many it served, and what was left undone.

    Whoever is not let in any more has not begun: no account was stored.
    """
    server = Workers(folder, flaw)
    visitors = Visitors(server)
    with visitors.without_pause(CROWD) as heard:
        wait_until(lambda: len(heard) > 4 * CROWD)
        server.tell(signal.SIGTERM)
        code = server.ends()
    complaints = faults_of([each for each in heard if each.answer])
    if code:
        complaints.append("it ended with {}".format(code))
    promised = {each.email for each in heard if each.acknowledged}
    stored = {email for email, in rows(
        url_in(folder), "SELECT email FROM users")}
    complaints += ["lost: " + each for each in promised - stored]
    complaints += ["unanswered: " + each for each in stored - promised]
    return len(promised), complaints


@needs_granian
@pytest.mark.promise("A server that is told to end under load answers all "
                     "that it began: what is stored was acknowledged, and "
                     "what was acknowledged is stored.")
class TestEnded:
    """SIGTERM, while accounts are opened without pause."""

    def test_all_that_was_begun_is_answered(
            self, tmp_path_factory: pytest.TempPathFactory,
            figure: Figure) -> None:
        """Each time in another place."""
        served, times = 0, size(1, 6)
        for _ in range(times):
            count, complaints = end_under_load(
                tmp_path_factory.mktemp("ended"), stores_slowly)
            assert complaints == []
            served += count
        figure("ended {} times: {} accounts acknowledged, 0 lost, 0 stored "
               "without an answer".format(times, served))

    @pytest.mark.broken("workers are killed at SIGTERM")
    def test_finds_who_was_not_answered(self, tmp_path: Path) -> None:
        """They would try again, and be told that the address is taken."""
        _, complaints = end_under_load(tmp_path, drops_all)
        assert any(each.startswith("unanswered") for each in complaints)


# -- The clock

def goes_by_our_clock() -> None:
    """Tell the time by a clock that a test sets; no flaw."""
    ahead, begin = Path(os.environ["CLOCK"]), Auth.__init__

    def now() -> float:
        """Return the moment, so many seconds ahead."""
        return time.time() + float(ahead.read_text())

    def begin_by_it(self: Auth, *words: Any, **named: Any) -> None:
        """Be a service by that clock."""
        begin(self, *words, **dict(named, now=now))
    setattr(Auth, "__init__", begin_by_it)


def believes_the_future() -> None:
    """Take a session for good until it ends, whenever it was opened."""
    goes_by_our_clock()

    def live(session: Any, _seen_at: int, now: int, *_: Any) -> bool:
        """Tell whether it ends later."""
        return bool(now < session.expires_at)
    setattr(auth, "is_live", live)


class Person:
    """Somebody with an account, on a server whose clock is set."""

    def __init__(self, server: Server, clock: Path, email: str) -> None:
        """Open the account."""
        self._server, self._clock, self._email = server, clock, email
        self.set(0)
        assert self._post("/users").status == 200

    def set(self, ahead: float) -> None:
        """Set the clock of the server to so many seconds ahead."""
        self._clock.write_text(str(ahead))

    def signs_in(self) -> Dict[str, str]:
        """Return what presents a new session; none if refused."""
        answer = self._post("/sessions")
        return {"Cookie": answer.headers.get("Set-Cookie", "").partition(
            ";")[0]}

    def is_in(self, session: Dict[str, str]) -> bool:
        """Tell whether a session is live."""
        return self._server.ask("GET", "/profile", session).status == 200

    def asks_for_token(self) -> str:
        """Return a reset token."""
        return str(json.loads(self._post("/reset_password").body)[
            "reset_token"])

    def resets_with(self, token: str) -> bool:
        """Tell whether a reset token works."""
        return self._server.ask(
            "PUT", "/reset_password", email=self._email, reset_token=token,
            new_password=PASSWORD).status == 200

    def _post(self, path: str) -> Answer:
        """Send the address and the password."""
        return self._server.ask("POST", path, email=self._email,
                                password=PASSWORD)


# The jump, and whether what was there before is good after it.
TEN_YEARS = 3652 * DAY
JUMPS = (("an hour ahead", HOUR, True, False),
         ("an hour back", -HOUR, True, True),
         ("ten years ahead", TEN_YEARS, False, False))


def jump_about(folder: Path, times: int, flaw: Flaw) -> List[str]:
    """Set the clock of a server; return what that changed wrongly."""
    clock = folder / "clock"
    clock.write_text("0")
    server, complaints = Workers(folder, flaw, CLOCK=str(clock)), []

    def expect(said: str, found: bool, expected: bool) -> None:
        """Complain unless it is so."""
        if found != expected:
            complaints.append(said)
    try:
        for name, jump, stays_in, works in JUMPS * times:
            person = Person(server, clock, "{}-{}@me.com".format(
                name.replace(" ", "-"), time.monotonic_ns()))
            before, token = person.signs_in(), person.asks_for_token()
            person.set(jump)
            expect("a session after " + name, person.is_in(before), stays_in)
            expect("a token after " + name, person.resets_with(token), works)
            then = person.signs_in()
            expect("a sign-in " + name, person.is_in(then), True)
            token = person.asks_for_token()
            person.set(0)
            # Within a day, nobody knows which of the clocks was wrong.
            expect("a session of " + name, person.is_in(then),
                   jump <= HOUR)
            if jump > HOUR:
                expect("a token of " + name, person.resets_with(token), False)
            expect("a sign-in after it", person.is_in(person.signs_in()),
                   True)
    finally:
        server.stop()
    return complaints


@pytest.mark.promise("A clock that jumps by an hour or ten years, ahead or "
                     "back, locks nobody out, and makes no session and no "
                     "link live longer.")
class TestClock:
    """Somebody set it, or its battery was empty."""

    def test_jumps(self, tmp_path: Path, figure: Figure) -> None:
        """And back again each time."""
        times = size(1, 4)
        assert jump_about(tmp_path, times, goes_by_our_clock) == []
        figure("{} jumps: 0 sessions or links too long, 0 people locked out"
               .format(2 * times * len(JUMPS)))

    @pytest.mark.broken("a session that was opened in the future is believed")
    def test_finds_sessions_that_outlive_the_clock(
            self, tmp_path: Path) -> None:
        """It would last for ten years."""
        assert "a session of ten years ahead" in jump_about(
            tmp_path, 1, believes_the_future)
