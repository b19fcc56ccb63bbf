#!/usr/bin/env python3
"""Throttling without lockout: how often something may be tried.

A lane counts one thing of one party: the sign-ins of an address, or those
from a network. An attempt is counted before anything is computed and given
back when it succeeds, so of any number at once no more get through than the
rule allows (docs/security.md#throttling). Lanes are named by what was asked,
never by what was found: known and unknown addresses count alike.
"""
from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Dict, List, NamedTuple, Tuple, Union

from db import DB
from errors import Throttled, Unavailable
from metrics import NO_METRICS, Metrics
from models import Attempt
from settings import DAY, HOUR, MINUTE, Settings

# After so long without an attempt a lane starts from nothing.
FORGOTTEN_AFTER = 30 * DAY
# So far apart are the clocks of replicas, and the second in which a try began
# from the one in which another was counted; more is a clock that was set back.
SKEW = MINUTE
# A count that others keep changing under our hands is a store in trouble.
TRIES = 100


class Backoff(NamedTuple):
    """Some failures are free; then each one doubles the wait before the next.

    After `most` in a row nothing but a proof of another kind helps, for as
    long as the lane is remembered (NIST SP 800-63B-4, 3.2.2).
    """

    free: int
    longest: int
    most: int

    def wait(self, failures: int) -> int:
        """Return the seconds to wait after so many failures in a row."""
        if failures < self.free:
            return 0
        if failures >= self.most:
            return FORGOTTEN_AFTER
        return min(1 << failures - self.free, self.longest)

    def refusal(self, counted: Attempt, now: int) -> int:
        """Return the seconds for which the next try is refused, or 0.

        A wait much longer than the rule's own means that the clock was set
        back; it would last for hours, so it counts as over.
        """
        left, wait = counted.blocked_until - now, self.wait(counted.failures)
        return left if wait and 0 < left <= wait + SKEW else 0

    def after(self, counted: Attempt, now: int) -> Dict[str, int]:
        """Return what the lane holds once one more try is counted."""
        over = now >= counted.expires_at
        failures = 1 if over else counted.failures + 1
        return {"failures": failures,
                "first_at": now if over else counted.first_at,
                "blocked_until": now + self.wait(failures),
                "expires_at": now + FORGOTTEN_AFTER}


class Window(NamedTuple):
    """So many tries in so many seconds, counted from the first of them."""

    limit: int
    seconds: int

    def refusal(self, counted: Attempt, now: int) -> int:
        """Return the seconds until the window is over if it is full, or 0."""
        full = counted.failures >= self.limit
        return self._left(counted, now) if full else 0

    def after(self, counted: Attempt, now: int) -> Dict[str, int]:
        """Return what the lane holds once one more try is counted."""
        going = self._left(counted, now) > 0
        first_at = counted.first_at if going else now
        return {"failures": counted.failures + 1 if going else 1,
                "first_at": first_at, "blocked_until": 0,
                "expires_at": first_at + self.seconds}

    def _left(self, counted: Attempt, now: int) -> int:
        """Return the seconds that are left, 0 too after a clock's jump."""
        left = counted.first_at + self.seconds - now
        return left if 0 < left <= self.seconds + SKEW else 0


# What leaves a row or a mail each time, for whoever is signed in.
RARELY = Window(10, HOUR)


class Lane(NamedTuple):
    """What is counted, of whom, and by which rule."""

    name: str
    who: str
    rule: Union[Backoff, Window]

    @property
    def party(self) -> Tuple[str, str]:
        """Whose share of the line for hashing it takes."""
        return self.name, self.who

    @property
    def known(self) -> bool:
        """Whether it is of somebody whom we have seen before."""
        return self.name in ("login:device", "confirm")

    @property
    def key(self) -> str:
        """The key of its row.

        It hides address and network from a glance, not from whoever tries
        them all.
        """
        named = "{}\0{}".format(self.name, self.who)
        return hashlib.sha256(
            named.encode("utf-8", "surrogatepass")).hexdigest()


Lanes = List[Lane]
# What a try made of each of its lanes.
Receipt = List[Tuple[Lane, Dict[str, int]]]


class _Overtaken(Exception):
    """Raised when a count changed between reading and writing it."""


class Throttle:
    """The counts of every lane, shared by all replicas through the database.

    Every verb raises Unavailable when the counts cannot be reached: nobody
    is let through uncounted.
    """

    def __init__(self, db: DB, settings: Settings,
                 metrics: Metrics = NO_METRICS) -> None:
        """Count in this store, by these limits; say here what is refused."""
        self._db = db
        self._settings = settings
        self._metrics = metrics

    # -- The lanes that there are

    def account(self, email: str) -> Lane:
        """All strangers' passwords for one address, in its canonical form."""
        return self._passwords("login:account", email)

    def device(self, digest: str) -> Lane:
        """The passwords from one device that its owner used before."""
        return self._passwords("login:device", digest)

    def confirm(self, user_id: int) -> Lane:
        """The passwords that somebody signed in gives once more."""
        return self._passwords("confirm", user_id)

    def network(self, name: str, network: str) -> Lanes:
        """What one network does: login, register, or mail that is asked for.

        No lane for a caller without a network, which is not a client.
        """
        rate = {"login": self._settings.login_network_limit,
                "register": self._settings.register_network_limit,
                "mail": self._settings.mail_network_limit}[name]
        return [Lane(name + ":network", network, Window(*rate))
                ] if network else []

    def moves(self, user_id: int, network: str) -> Lanes:
        """The changes of address that one user asks for, from a network.

        Each mails a stranger, and the user; so they are refused rather than
        withheld, or the user might miss the one that counts.
        """
        return self.network("mail", network) + [
            Lane("moves", str(user_id),
                 Window(*self._settings.mail_address_limit))]

    def rarely(self, name: str, user_id: int) -> Lane:
        """What a person does now and then, and a script without end."""
        return Lane(name, str(user_id), RARELY)

    def mail(self, purpose: str, email: str) -> Lane:
        """The mails of one kind that strangers cause at one address."""
        return Lane("mail:" + purpose, email,
                    Window(*self._settings.mail_address_limit))

    # -- Counting

    def admit(self, lanes: Lanes, now: int) -> Receipt:
        """Count a try in every lane; raise Throttled if one of them is full.

        Then none has counted it. Returns what was counted, for take_back().
        A lane is read first, so that a refusal, of which a flood brings many,
        writes nothing; then one conditional UPDATE counts and decides: whoever
        read an older count reads again.
        """
        for _ in range(TRIES):
            counts = [self._count_of(lane, now) for lane in lanes]
            with suppress(_Overtaken), self._db.transaction():
                return [(lane, self._count(lane, counted, now))
                        for lane, counted in zip(lanes, counts)]
        raise Unavailable()

    def admits(self, lane: Lane, now: int) -> bool:
        """Count a try in a lane and tell whether it may go on."""
        try:
            self.admit([lane], now)
            return True
        except Throttled:
            return False

    def forgive(self, lanes: Lanes) -> None:
        """Take back a try that turned out well.

        Failures in a row are over; a window has one try more.
        """
        for lane in lanes:
            if isinstance(lane.rule, Backoff):
                self._db.delete(Attempt, key=lane.key)
            else:
                self._count_less(lane)

    def take_back(self, receipt: Receipt) -> None:
        """Undo a count of a try that came to nothing by no fault of its own.

        As if it had not been, unless others were counted since: what they
        have to wait stays.
        """
        with self._db.transaction():
            for lane, counted in receipt:
                if not self._db.change(
                        Attempt, dict(counted, key=lane.key), blocked_until=0,
                        failures=Attempt.failures - 1):
                    self._count_less(lane)

    def forget(self, lanes: Lanes) -> None:
        """Delete the counts of lanes whose party is no more."""
        for lane in lanes:
            self._db.delete(Attempt, key=lane.key)

    def forget_old(self, now: int) -> int:
        """Delete the counts that no rule looks at any more."""
        return self._db.purge(Attempt, Attempt.expires_at <= now)

    def _passwords(self, name: str, who: object) -> Lane:
        """The lane in which one party's wrong passwords are counted."""
        return Lane(name, str(who), Backoff(
            self._settings.login_free_failures,
            self._settings.login_longest_wait,
            self._settings.login_most_failures))

    def _count_of(self, lane: Lane, now: int) -> Attempt:
        """Return what a lane has counted so far; raise Throttled if full."""
        counted = self._db.find(Attempt, key=lane.key) or Attempt(
            failures=0, first_at=now, blocked_until=0, expires_at=now)
        refused_for = lane.rule.refusal(counted, now)
        if refused_for:
            self._metrics.throttled(lane.name)
            raise Throttled(retry_after=refused_for)
        return counted

    def _count_less(self, lane: Lane) -> None:
        """Count one try less, if there is one."""
        self._db.change(Attempt, {"key": lane.key}, Attempt.failures > 0,
                        failures=Attempt.failures - 1)

    def _count(self, lane: Lane, counted: Attempt,
               now: int) -> Dict[str, int]:
        """Count one try more than `counted`, and return what the lane holds.

        Raises _Overtaken if that is old.
        """
        after = lane.rule.after(counted, now)
        if not counted.failures and self._db.add_missing(
                Attempt(key=lane.key, **after)):
            return after
        if not self._db.change(
                Attempt, {"key": lane.key, "failures": counted.failures,
                          "first_at": counted.first_at}, **after):
            raise _Overtaken()
        return after


class NoThrottle(Throttle):
    """The development mode counts nothing, as the card's contract has it."""

    def admit(self, lanes: Lanes, now: int) -> Receipt:
        """Let everybody through."""
        return []

    def forgive(self, lanes: Lanes) -> None:
        """Take nothing back, as nothing was counted."""

    def forget(self, lanes: Lanes) -> None:
        """Delete nothing, as nothing was counted."""
