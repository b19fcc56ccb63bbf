#!/usr/bin/env python3
"""Does time tell who has an account? Measured, not argued.

Requests about addresses that have an account and about others, in a random
order, against a server in production; then against one that makes the
mistakes everybody makes, which has to fail, or the measurement proves nothing
(docs/security.md#timing). The machine should have nothing else to do. Where
it has, known addresses differ from known ones as well: then nothing can be
said.
"""
from __future__ import annotations

import itertools
import math
import random
import statistics
import time
from bisect import bisect_left, bisect_right
from contextlib import suppress
from http.client import HTTPConnection
from typing import (
    Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence)
from urllib.parse import urlencode

import auth
from auth import WRONG_OR_NOT_VERIFIED, Auth
from db import DB
from errors import BadCredentials, EmailTaken, UnknownEmail
from settings import Settings
from tests.helpers import STRONG, STRONGER
from tests.test_going_live import HOST
from user import User

# As deployed, but for limits, which would refuse most of the requests.
UNLIMITED = dict(
    LOGIN_FREE_FAILURES="50", LOGIN_NETWORK_LIMIT="100000/1h",
    MAIL_NETWORK_LIMIT="100000/1h", REGISTER_NETWORK_LIMIT="100000/1h",
    TRUSTED_HOSTS="127.0.0.1")
ACCOUNTS = 30
# Of each kind: warm up, then count.
WARM_UP, COUNTED = 5, 300
# How often ours may try to be silent; the naive one gets no second chance.
ATTEMPTS = 3
# What is to be said of a trial.
FINE, FAILED, NOISY = "as it should be", "FAILED", "too noisy to tell"


# -- What the figures mean

class Comparison(NamedTuple):
    """How requests of two kinds differ in the seconds that they took."""

    known: float
    unknown: float
    t: float
    auc: float

    @property
    def difference(self) -> float:
        """The difference of the medians, in per cent of the smaller."""
        low, high = sorted([self.known, self.unknown])
        return 100 * (high - low) / low

    @property
    def tells_nothing(self) -> bool:
        """Whether nobody learns the kind of a request from its time.

        Medians within 3 %, no significant difference of the means, and a
        guess about a single pair that is right in 40 to 60 of 100 cases.
        """
        return (self.difference < 3 and abs(self.t) < 4.5
                and 0.40 <= self.auc <= 0.60)


def compare(known: Sequence[float], unknown: Sequence[float]) -> Comparison:
    """Compare what requests of two kinds took."""
    return Comparison(statistics.median(known), statistics.median(unknown),
                      welch_t(known, unknown), auc(known, unknown))


def welch_t(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how many standard errors lie between two means (Welch).

    Positive when the first is larger. Without any spread, no error: 0 for
    means that are equal, else infinite.
    """
    gap = statistics.mean(one) - statistics.mean(other)
    error = math.sqrt(statistics.variance(one) / len(one)
                      + statistics.variance(other) / len(other))
    if error:
        return gap / error
    return math.copysign(math.inf, gap) if gap else 0.0


def auc(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how often a value of the first is above one of the second.

    A tie counts as a half, so that 0.5 is a coin and 1.0 is certainty.
    """
    ordered = sorted(other)
    above = sum(bisect_left(ordered, each) + bisect_right(ordered, each)
                for each in one)
    return above / (2 * len(one) * len(other))


# -- What is asked

class Trial(NamedTuple):
    """A request that could tell: by its time, whether an address is known."""

    name: str
    path: str
    status: int
    password: str = ""
    always_new: bool = False
    times: int = 1
    control: bool = False

    def as_control(self) -> Trial:
        """Return the same trial, about known addresses and known ones."""
        return Trial(self.name, self.path, self.status, self.password,
                     self.always_new, self.times, control=True)

    def forms(self, known: bool) -> Iterator[Dict[str, str]]:
        """Yield a form for each request about an address of this kind.

        Both kinds take turns over as many addresses, or what is counted of
        an address would tell them apart; but who registers is new once. For
        a control both are of the known kind.
        """
        known = known or self.control
        run = "run{}".format(time.time())
        for number in itertools.count():
            if self.always_new and not known:
                email = "{}-{}@me.com".format(run, number)
            else:
                email = address(number % ACCOUNTS, known)
            yield dict({"email": email}, **(
                {"password": self.password} if self.password else {}))


# A request without a hash is short, so it takes more of them for a median that
# is as steady. It goes first, before there is a queue of mails.
TRIALS = (
    Trial("reset", "/reset_password", 200, times=4),
    Trial("sign-in", "/sessions", 401, STRONGER),
    Trial("register", "/users", 200, STRONGER, always_new=True))


def address(number: int, known: bool = True) -> str:
    """Return an address that has an account, or one as long that has none."""
    return "{}{:02d}@me.com".format("known" if known else "other", number)


def ask(port: int, path: str, form: Dict[str, str], status: int) -> float:
    """Send a form and return the seconds to the last byte of the answer."""
    body = urlencode(form)
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    started = time.perf_counter()
    connection.request("POST", path, body, {
        "Host": HOST, "Content-Type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse()
    answer.read()
    seconds = time.perf_counter() - started
    connection.close()
    assert answer.status == status, (path, answer.status)
    return seconds


def measure(port: int, trial: Trial, counted: int,
            chance: random.Random) -> Comparison:
    """Ask about both kinds of addresses, in an order that nobody chose."""
    counted *= trial.times
    forms = {known: trial.forms(known) for known in (True, False)}
    seconds: Dict[bool, List[float]] = {True: [], False: []}
    order = [True, False] * WARM_UP
    order += chance.sample([True, False] * counted, 2 * counted)
    for known in order:
        seconds[known].append(ask(
            port, trial.path, next(forms[known]), trial.status))
    return compare(*(seconds[known][WARM_UP:] for known in (True, False)))


Note = Callable[[Trial, Comparison], None]


def is_silent(port: int, trial: Trial, note: Note, attempts: int) -> bool:
    """Tell whether a trial tells nothing, in the best of some attempts.

    Whatever else the machine does at the time is no property of the service.
    """
    for attempt in range(attempts):
        found = measure(port, trial, COUNTED, random.Random(attempt))
        note(trial, found)
        if found.tells_nothing:
            return True
    return False


def judge(port: int, trial: Trial, silent: bool, note: Note) -> str:
    """Tell whether a trial is silent, or is not, as it should be.

    Where it is not so, a control has to be silent before anybody is blamed.
    """
    if is_silent(port, trial, note, ATTEMPTS if silent else 1) is silent:
        return FINE
    return FAILED if is_silent(
        port, trial.as_control(), note, ATTEMPTS) else NOISY


# -- The mistakes everybody makes

class NaiveAuth(Auth):
    """The same service as it is often written."""

    def __init__(self, db: Optional[DB] = None,
                 settings: Optional[Settings] = None, *given: Any,
                 **options: Any) -> None:
        """Keep the store at hand, to look into it first."""
        settings = settings or Settings.from_env()
        self.store = db or DB(settings.database_url, settings.threads)
        super().__init__(self.store, settings, *given, **options)

    def log_in(self, email: str, password: str) -> str:
        """Hash only if there is something to compare with."""
        if not self.store.find_all(User, email=email):
            raise BadCredentials(WRONG_OR_NOT_VERIFIED)
        return super().log_in(email, password)

    def register_user(self, email: str, password: str) -> User:
        """Hash only for an address that is new."""
        if self.store.find_all(User, email=email):
            raise EmailTaken(email)
        return super().register_user(email, password)

    def request_reset(self, email: str) -> None:
        """Make the token at once, if anybody is to have it."""
        super().request_reset(email)
        with suppress(UnknownEmail):
            self.get_reset_password_token(email)


def naive() -> None:
    """Have a server serve the naive service (tests/proofs/servers.py)."""
    setattr(auth, "Auth", NaiveAuth)


def open_accounts(port: int) -> None:
    """Register whom the trials know, at a server."""
    for number in range(ACCOUNTS):
        ask(port, "/users", {"email": address(number), "password": STRONG},
            200)
