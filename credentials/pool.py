#!/usr/bin/env python3
"""Where passwords are hashed: few at once, and nobody in line for long.

A hash keeps a core busy for a third of a second. So as many are computed at
once as there are cores, over all processes of one server; a short line waits;
and whoever finds it full is told when to come back. Then a storm of sign-ins
costs everybody else nothing but a thread or two (docs/security.md#storms).

The line is fair: next is whoever has fewest of their own before them, and
when it is full, whoever has most is sent away. So one client may have all
of it while nobody else comes, and none of it is lost to others then.
"""
from __future__ import annotations

import math
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import (
    IO, Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple)

from errors import Overloaded

# Hashes give way to whoever looks something up; Linux counts it by thread.
# One step is enough to be felt; five had hashes starve in a flood of refusals.
NICENESS = 1
# A thread with nothing to do ends after so many seconds.
IDLE = 5.0
# In which a process that waits for its turn gets it, between two hashes.
BREATH = 0.0005
# What a hash takes, before one has been computed, in seconds.
GUESS = 0.3
# One thing that is counted: what it is, and whose.
Party = Tuple[str, str]
# The files by which the processes of one server take turns, if they do.
_shared: List[IO[bytes]] = []


def share_slots(count: int) -> None:
    """Have all processes that are forked from here on share so many slots.

    For whoever starts the workers of a server. What a worker holds is given
    back by the kernel, however the worker ends. Where the system has no
    /proc each process counts for itself.
    """
    while _shared:
        _shared.pop().close()
    if sys.platform == "linux":
        _shared[:] = [tempfile.TemporaryFile() for _ in range(count)]


class Job(NamedTuple):
    """What is to be computed, on whose account, and who waits for it.

    The least claim goes first: the turn that a job has, which is later by one
    for each other of the same party, and then whether it is a stranger's.
    """

    task: Callable[[], Any]
    parties: Tuple[Party, ...]
    claim: Tuple[int, bool]
    outcome: Future[Any]


class HashingPool:
    """Threads that hash, as many as there are slots, and the line for them.

    Safe to share between threads; makes none before there is work.
    """

    def __init__(self, slots: int, places: int,
                 tell: Callable[[int, int], None] = lambda *_: None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """Hash so many at once, and let so many in, those being hashed too.

        `tell` hears how many wait and how many are being hashed, whenever
        that changes. `clock` tells seconds.
        """
        self._slots = [_Slot(number) for number in range(slots)]
        self._places = places
        self._tell = tell
        self._clock = clock
        self._line: List[Job] = []
        self._running: List[Job] = []
        self._threads: Dict[int, threading.Thread] = {}
        self._changed = threading.Condition()
        self._turn = 0
        self._took = GUESS

    def run(self, task: Callable[[], Any], parties: Tuple[Party, ...] = (),
            known: bool = False) -> Any:
        """Compute a task in its turn; return or raise what comes of it.

        `parties` are those whose share of the line it takes; of two that
        have equal claims, one that is `known` goes first. Raises Overloaded,
        and computes nothing, if the line is full of those with better claims,
        or gets so while this one waits; or if there can be no thread to
        compute it.
        """
        with self._changed:
            self._start_threads()
            job = Job(task, parties, self._claim(parties, known), Future())
            self._line.append(job)
            self._send_away(self._by_claim()[self._room():])
            self._report()
            self._changed.notify_all()
        return job.outcome.result()

    def demand_room(self, parties: Tuple[Party, ...] = (),
                    known: bool = False) -> None:
        """Raise Overloaded if run() would do so at once.

        So that whoever is sent away costs nothing but this.
        """
        with self._changed:
            claim, room = self._claim(parties, known), self._room()
            if sum(job.claim <= claim for job in self._line) >= room:
                raise self._refusal()

    def close(self) -> None:
        """Send away who waits, finish what is being hashed, end all threads.

        The next job starts new ones.
        """
        with self._changed:
            if self._line:
                self._send_away(self._line[:])
                self._report()
            threads = list(self._threads.values())
            self._threads.clear()
            self._changed.notify_all()
        for each in threads:
            each.join()

    # -- The line; the lock is held

    def _room(self) -> int:
        """Return how many may wait."""
        return max(self._places - len(self._running), 0)

    def _claim(self, parties: Tuple[Party, ...],
               known: bool) -> Tuple[int, bool]:
        """Return what a job that comes now can claim.

        Its turn is the current one, or later by as many as there are of one
        of its parties, whichever has most: of its network, of its account.
        """
        there = Counter(party for job in self._line + self._running
                        for party in job.parties)
        return (self._turn + max((there[each] for each in parties),
                                 default=0), not known)

    def _by_claim(self) -> List[Job]:
        """Return those who wait in the order in which they are served."""
        return sorted(self._line, key=lambda job: job.claim)

    def _send_away(self, jobs: List[Job]) -> None:
        """Refuse those who wait for these."""
        for job in jobs:
            self._line.remove(job)
            job.outcome.set_exception(self._refusal())

    def _refusal(self) -> Overloaded:
        """Return the error that says when the line will be worked off."""
        count = len(self._line) + len(self._running) or 1
        return Overloaded(retry_after=math.ceil(
            count * self._took / len(self._slots)))

    def _report(self) -> None:
        """Tell how many wait and how many are being hashed."""
        self._tell(len(self._line), len(self._running))

    # -- The threads

    def _start_threads(self) -> None:
        """Have a thread for each slot, and tell who comes if there is none.

        A machine that is out of memory gives no thread; the next job asks
        again. One that counted before it ran would be waited for for ever.
        """
        for number, slot in enumerate(self._slots):
            if number not in self._threads:
                thread = threading.Thread(
                    target=self._serve, args=(number, slot),
                    name="hashing", daemon=True)
                with suppress(RuntimeError):
                    thread.start()
                    self._threads[number] = thread
        if not self._threads:
            raise self._refusal()

    def _serve(self, number: int, slot: _Slot) -> None:
        """Hash as long as there is work.

        The slot comes first and the job second: whoever gets a slot takes
        the best claim of that moment, and none is bound to a slot that
        another process holds. Somebody who is known and next does not wait
        for a turn of other processes.
        """
        _give_way()
        while self._is_needed(number):
            with slot.held():
                self._compute()
                if self._is_known_next():
                    self._compute()

    def _compute(self) -> None:
        """Take the job with the best claim and see to it, if there is one."""
        job = self._begin()
        if job:
            self._finish(job)

    def _is_known_next(self) -> bool:
        """Tell whether the best claim is of somebody we have seen before."""
        with self._changed:
            return bool(self._line) and not self._by_claim()[0].claim[1]

    def _is_needed(self, number: int) -> bool:
        """Wait for work; False, and forgotten, if none comes."""
        me = threading.current_thread()
        with self._changed:
            self._changed.wait_for(lambda: self._line or self._threads.get(
                number) is not me, IDLE)
            if self._threads.get(number) is not me:
                return False
            if not self._line:
                del self._threads[number]
            return bool(self._line)

    def _begin(self) -> Optional[Job]:
        """Take the job with the best claim, if there still is one."""
        with self._changed:
            if not self._line:
                return None
            job = self._by_claim()[0]
            self._line.remove(job)
            self._turn = job.claim[0]
            self._running.append(job)
            self._report()
        return job

    def _finish(self, job: Job) -> None:
        """Compute a job, and hand out what came of it."""
        began, result, error = self._clock(), None, None
        try:
            result = job.task()
        except BaseException as problem:
            error = problem
        with self._changed:
            self._running.remove(job)
            self._took += (self._clock() - began - self._took) / 8
            self._report()
        if error is None:
            job.outcome.set_result(result)
        else:
            job.outcome.set_exception(error)


class _Slot:
    """The right to keep a core busy, which one process has at a time."""

    def __init__(self, number: int) -> None:
        """Take part in what share_slots() made, if it was made.

        A lock belongs to whoever opened the file, so each process opens it
        for itself; a lock that a fork inherits would be no lock.
        """
        self._lock: Optional[int] = None
        if number < len(_shared):
            with suppress(OSError):  # no /proc: each counts for itself
                self._lock = os.open("/proc/self/fd/{}".format(
                    _shared[number].fileno()), os.O_RDWR)

    def __del__(self) -> None:
        """Close the file."""
        if self._lock is not None:
            os.close(self._lock)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the slot inside, once it is free."""
        if self._lock is None:
            yield
            return
        import fcntl  # not on every system

        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            time.sleep(BREATH)


def _give_way() -> None:
    """Lower the priority of this thread, where it is that of a thread."""
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it
            os.nice(NICENESS)
