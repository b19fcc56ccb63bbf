#!/usr/bin/env python3
"""The line for hashing: short, fair, and in nobody else's way."""
from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from functools import partial
from typing import Any, Callable, Iterator, List, Tuple

import pytest

from credentials import pool
from credentials.pool import HashingPool, Party
from errors import Overloaded
from tests.helpers import ROOT
from tests.machine import wait_until

MALLORY, BOB, EVE = ("network", "m"), ("network", "b"), ("network", "e")
# A server of two processes with one slot, each of which hashes once in it.
TWO_PROCESSES = """
import os, time
from credentials.pool import HashingPool, share_slots
share_slots(1)
reader, writer = os.pipe()
for name in "ab":
    if not os.fork():
        def task():
            os.write(writer, name.encode() + b"+")
            time.sleep(0.2)
            os.write(writer, name.encode() + b"-")
        HashingPool(1, 9).run(task)
        os._exit(0)
os.wait(), os.wait()
print(os.read(reader, 99).decode())
"""
# The first process dies with the slot in its hands.
KILLED = """
import os, signal, time
from credentials.pool import HashingPool, share_slots
share_slots(1)
if not os.fork():
    HashingPool(1, 9).run(lambda: os.kill(os.getpid(), signal.SIGKILL))
os.wait()
print(HashingPool(1, 9).run(lambda: "hashed"))
"""


class Line:
    """A pool of one slot, which is being used until somebody says so."""

    def __init__(self, places: int, clock: Callable[[], float]) -> None:
        """Begin with one job in the slot, of nobody in particular."""
        self.told: Tuple[int, int] = (0, 0)
        self.done: List[str] = []
        self.refused: List[Tuple[str, int]] = []
        self.pool = HashingPool(1, places, self.hear, clock)
        self.leave = threading.Event()
        self._threads: List[threading.Thread] = []
        self.holds("first")

    def hear(self, waiting: int, running: int) -> None:
        """Remember what the pool says of itself."""
        self.told = waiting, running

    def start(self, name: str, task: Callable[[], Any], *parties: Party,
              known: bool = False) -> None:
        """Have somebody ask for a hash, and wait or be sent away."""
        def hash_it() -> None:
            """Do the task, and remember when its turn came."""
            task()
            self.done.append(name)

        def ask() -> None:
            """Ask, and remember a refusal."""
            try:
                self.pool.run(hash_it, parties, known)
            except Overloaded as error:
                self.refused.append((name, error.retry_after))
        self._threads.append(threading.Thread(target=ask, daemon=True))
        self._threads[-1].start()

    def holds(self, name: str, *parties: Party) -> None:
        """Have somebody be in the slot until the line goes on."""
        self.leave.clear()
        self.start(name, partial(self.leave.wait, 20), *parties)
        wait_until(lambda: self.told == (0, 1))

    def joins(self, name: str, *parties: Party, known: bool = False) -> None:
        """Have somebody join the line, and be in it or sent away."""
        asked = self.told[0] + len(self.refused)
        self.start(name, bool, *parties, known=known)
        wait_until(lambda: self.told[0] + len(self.refused) == asked + 1)

    def goes_on(self) -> List[str]:
        """Free the slot; return who was served after the first, in order."""
        self.leave.set()
        for each in self._threads:
            each.join(20)
        return [each for each in self.done if each != "first"]


@pytest.fixture
def line() -> Iterator[Line]:
    """A line in which five may be, the one being hashed included."""
    line = Line(5, time.monotonic)
    yield line
    line.goes_on()
    line.pool.close()


class TestRun:
    """What becomes of a job."""

    @pytest.fixture
    def quiet(self) -> Iterator[HashingPool]:
        """A pool that nobody else uses."""
        quiet = HashingPool(2, 9)
        yield quiet
        quiet.close()

    def test_returns_what_is_computed(self, quiet: HashingPool) -> None:
        """In a thread of the pool."""
        assert quiet.run(lambda: threading.current_thread().name) == "hashing"

    def test_raises_what_is_raised_and_goes_on(
            self, quiet: HashingPool) -> None:
        """A mistake in one hash is no end of all."""
        with pytest.raises(ZeroDivisionError):
            quiet.run(lambda: 1 / 0)
        assert quiet.run(lambda: 7) == 7

    def test_as_many_at_once_as_slots(self, quiet: HashingPool) -> None:
        """Two of them meet, and the third waits until one is done."""
        both, at_once, most = threading.Barrier(2), [], []

        def task() -> None:
            """Count who is inside; the first two wait for each other."""
            at_once.append(1)
            most.append(len(at_once))
            if len(most) < 3:
                both.wait(20)
            at_once.pop()
        threads = [threading.Thread(target=quiet.run, args=(task,))
                   for _ in range(6)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert max(most) == 2 and len(most) == 6

    def test_threads_end_when_there_is_nothing_to_do(
            self, quiet: HashingPool, monkeypatch: pytest.MonkeyPatch
            ) -> None:
        """And come again for the next job."""
        monkeypatch.setattr(pool, "IDLE", 0.01)
        thread = quiet.run(threading.current_thread)
        thread.join(20)
        assert not thread.is_alive()
        assert quiet.run(threading.current_thread) is not thread

    def test_thread_waits_for_the_next_job(self) -> None:
        """Or each would cost one more."""
        alone = HashingPool(1, 9)
        assert alone.run(threading.current_thread) \
            is alone.run(threading.current_thread)
        alone.close()

    def test_nobody_waits_for_its_threads(self, quiet: HashingPool) -> None:
        """A command that has hashed ends at once."""
        assert quiet.run(lambda: threading.current_thread().daemon)

    @pytest.mark.skipif(sys.platform != "linux", reason="no thread has one")
    def test_gives_way_to_other_threads(self, quiet: HashingPool) -> None:
        """Its threads alone have a lower priority."""
        assert quiet.run(lambda: os.nice(0)) == os.nice(0) + pool.NICENESS

    def test_sandbox_forbids_to_give_way(
            self, quiet: HashingPool, monkeypatch: pytest.MonkeyPatch
            ) -> None:
        """It hashes all the same."""
        monkeypatch.setattr(os, "nice", forbidden)
        assert quiet.run(lambda: 7) == 7


class TestNoThread:
    """A machine that is out of memory gives none."""

    def test_refuses_and_asks_again(
            self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Or whoever comes would wait for ever for one that never ran."""
        def out_of_memory(_thread: threading.Thread) -> None:
            """Say what Python says then."""
            raise RuntimeError("can't start new thread")
        pool = HashingPool(1, 1)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", out_of_memory)
            with pytest.raises(Overloaded) as refused:
                pool.run(lambda: "hashed")
        assert refused.value.retry_after == 1
        assert pool.run(lambda: "hashed") == "hashed"
        pool.close()


class TestLine:
    """Who is served next, and who is sent away."""

    def test_of_equals_the_first_is_first(self, line: Line) -> None:
        """Nobody is overtaken without a reason."""
        for name, party in (("m", MALLORY), ("b", BOB), ("e", EVE)):
            line.joins(name, party)
        assert line.goes_on() == ["m", "b", "e"]

    def test_second_of_one_party_is_after_the_first_of_another(
            self, line: Line) -> None:
        """However long it has been there."""
        for name, party in (("m1", MALLORY), ("m2", MALLORY), ("b", BOB)):
            line.joins(name, party)
        assert line.goes_on() == ["m1", "b", "m2"]

    def test_claim_is_that_of_the_more_crowded_party(
            self, line: Line) -> None:
        """Many networks that try one account are one crowd."""
        account = ("account", "bob@me.com")
        line.joins("1", MALLORY, account)
        line.joins("2", EVE, account)
        line.joins("3", BOB, ("account", "eve@me.com"))
        assert line.goes_on() == ["1", "3", "2"]

    def test_who_is_being_hashed_stands_before(self) -> None:
        """Whoever has the slot now is not next as well."""
        line = Line(5, time.monotonic)
        line.goes_on()
        line.holds("m", MALLORY)
        line.joins("m2", MALLORY)
        line.joins("b", BOB)
        assert line.goes_on() == ["m", "b", "m2"]
        line.pool.close()

    def test_known_is_first_among_equals(self, line: Line) -> None:
        """An owner on a device of theirs waits for no stranger."""
        line.joins("m", MALLORY)
        line.joins("b", BOB, known=True)
        assert line.goes_on() == ["b", "m"]

    def test_known_has_no_more_than_a_share(self, line: Line) -> None:
        """A stranger goes before the second of somebody known."""
        line.joins("b1", BOB, known=True)
        line.joins("b2", BOB, known=True)
        line.joins("m", MALLORY)
        assert line.goes_on() == ["b1", "m", "b2"]

    def test_nobody_waits_for_ever(self, line: Line) -> None:
        """Turns go on, so that late strangers do not go before all."""
        line.joins("m1", MALLORY)
        line.joins("m2", MALLORY)
        steps = [threading.Event() for _ in range(2)]
        line.start("b", steps[0].wait, BOB)
        wait_until(lambda: line.told == (3, 1))
        line.start("b2", steps[1].wait, BOB)
        wait_until(lambda: line.told == (4, 1))
        line.leave.set()
        wait_until(lambda: line.done == ["first", "m1"])
        steps[0].set()
        wait_until(lambda: line.done == ["first", "m1", "b", "m2"])
        line.joins("e", EVE)
        steps[1].set()
        assert line.goes_on() == ["m1", "b", "m2", "b2", "e"]

    def test_late_one_takes_the_turn_that_it_is(self, line: Line) -> None:
        """The second of theirs goes after the fourth of a crowd."""
        third = threading.Event()
        line.joins("m1", MALLORY)
        line.joins("m2", MALLORY)
        line.start("m3", partial(third.wait, 20), MALLORY)
        wait_until(lambda: line.told == (3, 1))
        line.joins("m4", MALLORY)
        line.leave.set()
        wait_until(lambda: line.told == (1, 1))
        line.joins("b1", BOB)
        line.joins("b2", BOB)
        third.set()
        assert line.goes_on() == ["m1", "m2", "m3", "b1", "m4", "b2"]

    def test_nobody_is_known_unless_told(self, line: Line) -> None:
        """Nor behind in the line for being of no party."""
        line.joins("m1", MALLORY)
        line.joins("m2", MALLORY)
        ask = threading.Thread(target=line.pool.run,
                               args=(lambda: line.done.append("n"),))
        ask.start()
        wait_until(lambda: line.told == (3, 1))
        assert line.goes_on() == ["m1", "n", "m2"]
        ask.join()

    def test_no_places_but_the_slots(self) -> None:
        """Whoever is not hashed at once is sent away."""
        line = Line(1, time.monotonic)
        line.joins("b", BOB)
        assert line.refused == [("b", 1)]
        line.goes_on()
        line.pool.close()

    def test_one_party_may_have_all_of_it(self, line: Line) -> None:
        """While nobody else comes, none is sent away."""
        for name in "1234":
            line.joins(name, MALLORY)
        assert not line.refused and line.goes_on() == ["1", "2", "3", "4"]

    def test_full_sends_away_who_comes_with_the_least_claim(
            self, line: Line) -> None:
        """The fifth of one party."""
        for name in "12345":
            line.joins(name, MALLORY)
        assert [name for name, _ in line.refused] == ["5"]

    def test_full_makes_room_for_a_better_claim(self, line: Line) -> None:
        """The last of the crowd goes, though it waits already."""
        for name in "1234":
            line.joins(name, MALLORY)
        line.joins("b", BOB)
        wait_until(lambda: bool(line.refused))
        assert [name for name, _ in line.refused] == ["4"]
        assert line.goes_on() == ["1", "b", "2", "3"]

    def test_nothing_is_computed_for_who_is_sent_away(
            self, line: Line) -> None:
        """That is what it is for."""
        for name in "1234":
            line.joins(name, MALLORY)
        computed = threading.Event()
        line.start("5", computed.set, MALLORY)
        wait_until(lambda: bool(line.refused))
        line.goes_on()
        assert not computed.is_set()

    def test_refusal_says_how_long_the_line_takes(self, line: Line) -> None:
        """At first by a guess: five of 0.3 s, one after the other."""
        for name in "12345":
            line.joins(name, MALLORY)
        assert line.refused == [("5", 2)]

    def test_refusal_knows_what_hashes_take(self) -> None:
        """Each takes 4 s on this clock, and two are there."""
        line = Line(2, itertools.count(0, 4).__next__)
        line.goes_on()
        for _ in range(40):
            line.pool.run(bool)
        line.holds("m", MALLORY)
        line.joins("m2", MALLORY)
        line.joins("m3", MALLORY)
        line.goes_on()
        assert line.refused == [("m3", 8)]
        line.pool.close()

    def test_refusal_counts_on_every_slot(self) -> None:
        """Two slots work off twice as much: six of 0.3 s in one second."""
        told: List[Tuple[int, int]] = []
        quick, leave = HashingPool(
            2, 6, lambda *now: told.append(now)), threading.Event()
        threads = [threading.Thread(target=quick.run, args=(leave.wait,))
                   for _ in range(6)]
        for each in threads:
            each.start()
        wait_until(lambda: told[-1:] == [(4, 2)])
        with pytest.raises(Overloaded) as refused:
            quick.demand_room()
        assert refused.value.retry_after == 1
        leave.set()
        for each in threads:
            each.join()
        quick.close()


class TestDemandRoom:
    """Whether there is any use in coming in."""

    def test_is_silent_while_there_is_room(self, line: Line) -> None:
        """And takes none of it."""
        for _ in range(9):
            line.pool.demand_room((MALLORY,))
        assert line.told == (0, 1)

    def test_known_one_is_let_in_where_a_stranger_is_not(
            self, line: Line) -> None:
        """One of the strangers makes room."""
        for name in "1234":
            line.joins(name, (name, ""))
        with pytest.raises(Overloaded):
            line.pool.demand_room((BOB,))
        line.pool.demand_room((BOB,), known=True)

    def test_refuses_who_would_be_sent_away(self, line: Line) -> None:
        """And nobody with a better claim."""
        for name in "1234":
            line.joins(name, MALLORY)
        with pytest.raises(Overloaded):
            line.pool.demand_room((MALLORY,))
        line.pool.demand_room((BOB,))
        assert line.told == (4, 1) and not line.refused


class TestClose:
    """The end of a process, or of a test."""

    def test_sends_away_who_waits_and_finishes_what_is_begun(
            self, line: Line) -> None:
        """Nobody is left without an answer."""
        line.joins("b", BOB)
        closing = threading.Thread(target=line.pool.close)
        closing.start()
        wait_until(lambda: bool(line.refused))
        assert line.done == [] and closing.is_alive()
        line.goes_on()
        closing.join(20)
        assert line.done == ["first"] and not closing.is_alive()
        assert line.told == (0, 0)

    def test_next_job_starts_anew(self, line: Line) -> None:
        """As with every verb of the service."""
        line.goes_on()
        line.pool.close()
        assert line.pool.run(lambda: 7) == 7


def waits_for_a_slot() -> bool:
    """Tell whether a thread of this process waits for a locked file."""
    with open("/proc/locks") as locks:
        return any("->" in line and str(os.getpid()) in line.split()
                   for line in locks)


def forbidden(*_: Any) -> int:
    """Have no right to do that."""
    raise PermissionError()


def missing(*_: Any) -> int:
    """Have no such file."""
    raise FileNotFoundError()


@pytest.mark.skipif(sys.platform != "linux", reason="each counts for itself")
class TestSlots:
    """What the processes of one server share."""

    @staticmethod
    def runs(program: str) -> str:
        """Return what a program prints that may fork as it likes."""
        return subprocess.check_output(
            [sys.executable, "-c", program], cwd=str(ROOT), timeout=60,
            universal_newlines=True).strip()

    def test_one_at_a_time_in_two_processes(self) -> None:
        """Each begins when the other has ended."""
        assert self.runs(TWO_PROCESSES) in ("a+a-b+b-", "b+b-a+a-")

    def test_killed_process_holds_none(self) -> None:
        """The kernel gives it back."""
        assert self.runs(KILLED) == "hashed"

    @pytest.mark.parametrize("known, order", [
        (True, ["mine", "next", "theirs"]),
        (False, ["mine", "theirs", "next"])])
    def test_known_one_waits_for_no_other_process(
            self, known: bool, order: List[str]) -> None:
        """Strangers of another one have their turn before ours only."""
        pool.share_slots(1)
        told: List[Tuple[int, int]] = []
        ours = HashingPool(1, 9, lambda *each: told.append(each))
        theirs = HashingPool(1, 9)
        pool.share_slots(0)
        done: List[str] = []
        leave = threading.Event()

        began = threading.Event()

        def start(where: HashingPool, name: str, known: bool = False) -> None:
            """Have somebody join a line."""
            def task() -> None:
                """Take some time, and note that it was one's turn."""
                began.set()
                leave.wait(20)
                done.append(name)
            threads.append(threading.Thread(
                target=where.run, args=(task, (), known)))
            threads[-1].start()
        threads: List[threading.Thread] = []
        start(ours, "mine")
        began.wait(20)
        start(theirs, "theirs")
        wait_until(waits_for_a_slot)
        start(ours, "next", known)
        wait_until(lambda: told[-1] == (1, 1))
        leave.set()
        for each in threads:
            each.join(20)
        ours.close()
        theirs.close()
        assert done == order

    def test_without_proc_each_counts_for_itself(
            self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Rather than not to hash at all."""
        pool.share_slots(1)
        monkeypatch.setattr(os, "open", missing)
        quiet = HashingPool(1, 9)
        monkeypatch.undo()
        pool.share_slots(0)
        assert quiet.run(lambda: 7) == 7
        quiet.close()

    def test_nothing_is_shared_unless_asked_for(self) -> None:
        """A server of one process has nobody to share with."""
        both = threading.Barrier(2)
        pools = [HashingPool(1, 9) for _ in range(2)]
        threads = [threading.Thread(target=each.run, args=(
            lambda: both.wait(20),)) for each in pools]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for each in pools:
            each.close()
        assert not both.broken
