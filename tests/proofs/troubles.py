#!/usr/bin/env python3
"""A service in trouble: what its visitors are told, and what is left after.

Each fault is a context: inside of it something is locked, full, gone or
slow. Visitors come before, meanwhile and after, and what they heard is
looked at by one checker, whatever the fault.
"""
from __future__ import annotations

import itertools
import json
import threading
import time
from contextlib import contextmanager
from functools import partial
from http.client import HTTPException
from typing import (
    Any, Callable, ContextManager, Dict, Iterator, List, NamedTuple, Optional,
    Sequence)

from tests.helpers import (
    PASSWORD, STRANGE_TOKEN, Answer, Server, all_at_once)
from tests.machine import children, wait_until

# How long it takes to be told that it cannot be done: more than any answer
# takes on a machine with other work, and less than anybody waits.
PATIENCE = 4
Trouble = Callable[[], ContextManager[Any]]


class Heard(NamedTuple):
    """What one visitor asked, and heard."""

    asked: str
    # Whose account was asked for; "" for who only reads.
    email: str
    began: float
    seconds: float
    # None if the server hung up.
    answer: Optional[Answer]
    well: bool

    @property
    def acknowledged(self) -> bool:
        """Whether an account was promised."""
        return bool(self.email) and self.well

    def __str__(self) -> str:
        """Return it as a complaint begins."""
        return "{}: {}".format(
            self.asked, self.answer.status if self.answer else "hung up")


class Visitors:
    """Some who open accounts, and as many who only look, at one server."""

    _names = itertools.count()

    def __init__(self, server: Server) -> None:
        """Be strangers yet, whose session is none."""
        self._server = server
        self._cookie = "session_id=" + STRANGE_TOKEN
        self._expected = 403
        self.heard: List[Heard] = []

    def settle(self) -> None:
        """Have a session to look at from now on."""
        email = self._name()
        assert self.register(email).well
        answer = self._server.ask("POST", "/sessions", email=email,
                                  password=PASSWORD)
        self._cookie = answer.headers["Set-Cookie"].partition(";")[0]
        self._expected = 200

    def come(self, count: int, again: Sequence[Heard] = ()) -> List[Heard]:
        """Come all at once: so many who write, and so many who read.

        Whoever was refused an account before comes `again` as well.
        """
        emails = [each.email for each in again if each.email and not each.well]
        emails += [self._name() for _ in range(count)]
        calls: List[Callable[[], Heard]] = [
            partial(self.register, email) for email in emails]
        heard = all_at_once(calls + [self.look] * count)
        self.heard += heard
        return heard

    @contextmanager
    def without_pause(self, count: int) -> Iterator[List[Heard]]:
        """Have so many write and so many read all the time.

        Lends the list of what they heard, which grows.
        """
        ended, heard = threading.Event(), self.heard

        def go_on(ask: Callable[[], Heard]) -> None:
            """Ask until told to go home."""
            while not ended.is_set():
                heard.append(ask())
                time.sleep(0.02)
        threads = [threading.Thread(target=go_on, args=(ask,))
                   for ask in [self.register, self.look] * count]
        for each in threads:
            each.start()
        try:
            yield heard
        finally:
            ended.set()
            for each in threads:
                each.join()

    def register(self, email: str = "") -> Heard:
        """Ask for an account."""
        email = email or self._name()
        return self._ask("POST", "/users", 200, email, {},
                         email=email, password=PASSWORD)

    def look(self) -> Heard:
        """Ask who is signed in."""
        return self._ask("GET", "/profile", self._expected, "",
                         {"Cookie": self._cookie})

    def missing(self) -> List[str]:
        """Return whose account was promised, and is not there."""
        return [each.email for each in self.heard if each.acknowledged
                and not self._signs_in(each.email)]

    def _signs_in(self, email: str) -> bool:
        """Tell whether an account is there."""
        return self._server.ask("POST", "/sessions", email=email,
                                password=PASSWORD).status == 200

    def _name(self) -> str:
        """Return an address that nobody has."""
        return "visitor{}@me.com".format(next(self._names))

    def _ask(self, method: str, path: str, expected: int, whose: str,
             headers: Dict[str, str], **form: str) -> Heard:
        """Ask, and note what came of it and how long it took."""
        began = time.monotonic()
        answer: Optional[Answer] = None
        try:
            answer = self._server.ask(method, path, headers, **form)
        except (OSError, HTTPException):
            pass  # which the checkers judge
        return Heard("{} {}".format(method, path), whose, began,
                     time.monotonic() - began, answer,
                     answer is not None and answer.status == expected)


def refused(heard: Sequence[Heard]) -> List[Heard]:
    """Return those who were told to come back."""
    return [each for each in heard
            if each.answer is not None and each.answer.status == 503]


def faults_of(heard: Sequence[Heard], patience: float = PATIENCE,
              reading: Optional[float] = None) -> List[str]:
    """Return what no visitor of a service in trouble may be told.

    Whoever is not served is told in JSON to come back, and when, within the
    patience of who writes or, if another is given, of who is `reading`.
    """
    found = []
    for each in heard:
        patient = patience if each.email or reading is None else reading
        if each.seconds > patient:
            found.append("{} after {:.1f} s".format(each, each.seconds))
        if each.answer is None:
            found.append(str(each))
        elif not (each.well or is_busy(each.answer)):
            found.append("{} {!r}".format(each, each.answer.body[:100]))
    return found


def is_busy(answer: Answer) -> bool:
    """Tell whether this is the one answer of a store that cannot serve."""
    return answer.status == 503 and answer.headers["Retry-After"] == "1" \
        and answer.headers["Content-Type"] == "application/json" \
        and json.loads(answer.body.decode()) == {
            "message": "the service is busy, try again in a moment"}


def unserved(heard: Sequence[Heard]) -> List[str]:
    """Return what was not done, though all is in order."""
    return ["afterwards {}".format(each) for each in heard if not each.well]


def workers_of(server: Server) -> List[int]:
    """Return the process ids of the workers of a server."""
    return children(server.process.pid)


class Trial:
    """What a service in trouble told, and whether it was itself after it."""

    def __init__(self) -> None:
        """Start with nothing to complain of."""
        self.meanwhile: List[Heard] = []
        self.complaints: List[str] = []
        # How many were refused in each trouble.
        self.noticed: List[int] = []
        self.acknowledged = 0

    @property
    def refused(self) -> int:
        """How many were told to come back."""
        return len(refused(self.meanwhile))

    @property
    def slowest(self) -> float:
        """The seconds of the slowest answer in the trouble."""
        return max(each.seconds for each in self.meanwhile)

    def __str__(self) -> str:
        """Return it as docs/proof.md tells it."""
        return ("{} of {} answers in trouble were 503, the slowest after "
                "{:.1f} s; 0 others, {} accounts acknowledged, 0 lost".format(
                    self.refused, len(self.meanwhile), self.slowest,
                    self.acknowledged))


def go_through(server: Server, troubles: Sequence[Trouble], count: int,
               times: int = 1, settled: bool = True,
               **patience: Any) -> Trial:
    """Have a server go through one trouble after the other; then it ends.

    So many visitors come before, `times` in the trouble, and at the very
    moment when it is over. Its two workers have to be the same all along. One
    that starts in trouble is not `settled`.
    """
    trial, visitors = Trial(), Visitors(server)
    try:
        if settled:
            visitors.settle()
            trial.complaints += unserved(visitors.come(count))
        wait_until(lambda: len(workers_of(server)) == 2)
        before = workers_of(server)
        for trouble in troubles:
            with trouble():
                meanwhile = sum((visitors.come(count)
                                 for _ in range(times)), [])
            trial.meanwhile += meanwhile
            trial.noticed.append(len(refused(meanwhile)))
            trial.complaints += faults_of(meanwhile, **patience)
            trial.complaints += unserved(visitors.come(count, meanwhile))
        if workers_of(server) != before:
            trial.complaints.append("a worker died")
        trial.complaints += ["lost: " + each for each in visitors.missing()]
    finally:
        server.stop()
    if "Traceback" in server.log():
        trial.complaints.append("a traceback in the log")
    trial.acknowledged = sum(each.acknowledged for each in visitors.heard)
    return trial
