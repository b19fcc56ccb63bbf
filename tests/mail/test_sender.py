#!/usr/bin/env python3
"""The thread that keeps at it, whatever happens in a round."""
from __future__ import annotations

import logging
import threading
import time
from typing import Callable, Iterator, List

import pytest

import mail.sender
from errors import Unavailable
from mail.sender import Sender
from settings import HOUR


def nothing_begun(_seconds: float) -> int:
    """Give back no mail, since none was begun."""
    return 0


def nothing() -> int:
    """Deliver no mail, since there is none."""
    return 0


class Rounds:
    """Some rounds of work, after which the sender is stopped.

    Each is a function; the list `done` names what was called, in order.
    """

    def __init__(self, *rounds: Callable[[], object],
                 sweep: Callable[[], object] = nothing) -> None:
        """Prepare to do these, one after the other."""
        self.done: List[str] = []
        self._rounds = list(rounds)
        self._sweep = sweep
        self.sender = Sender(self.deliver, self.sweep, nothing_begun)

    def deliver(self) -> int:
        """Do the next round, and end after the last."""
        self.done.append("deliver")
        work = self._rounds.pop(0)
        if not self._rounds:
            self.sender.stop()
        work()
        return 0

    def sweep(self) -> None:
        """Note that it is cleared away, and do what is asked for."""
        self.done.append("sweep")
        self._sweep()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have rounds follow each other at once."""
    monkeypatch.setattr(mail.sender, "ROUND_SECONDS", 0)


def fail_unavailable() -> None:
    """Be a database that is locked."""
    raise Unavailable() from OSError("database is locked")


def fail() -> None:
    """Be a mistake of ours."""
    raise KeyError("a mistake")


@pytest.mark.usefixtures("quick")
class TestRun:
    """Round after round."""

    def test_goes_on_until_stopped(self) -> None:
        """And ends after the round in which it is stopped."""
        work = Rounds(nothing, nothing, nothing)
        work.sender.run()
        assert work.done.count("deliver") == 3

    def test_database_that_cannot_serve(
            self, caplog: pytest.LogCaptureFixture) -> None:
        """Said in one line, with the cause; the next round comes."""
        work = Rounds(fail_unavailable, nothing)
        work.sender.run()
        assert work.done.count("deliver") == 2
        record, = caplog.records
        assert (record.levelno, record.exc_info) == (logging.WARNING, None)
        assert record.getMessage() \
            == "the mail sender waits: database is locked"

    @pytest.mark.parametrize("error", [fail, lambda: 1 // 0])
    def test_mistake_is_logged_and_survived(
            self, caplog: pytest.LogCaptureFixture,
            error: Callable[[], object]) -> None:
        """With its traceback: one odd mail must not stop all the others."""
        work = Rounds(error, error, nothing)
        work.sender.run()
        assert work.done.count("deliver") == 3
        assert [each.levelno for each in caplog.records] \
            == [logging.ERROR] * 2
        assert all(each.exc_info for each in caplog.records)

    @pytest.mark.parametrize("sweep", [nothing, fail, fail_unavailable])
    def test_sweeps_at_the_start(self, sweep: Callable[[], object]) -> None:
        """Once, also if it fails, and on a machine that has just booted."""
        work = Rounds(nothing, nothing, nothing, sweep=sweep)
        work.sender.run()
        assert work.done == ["deliver", "sweep", "deliver", "deliver"]

    def test_sweeps_once_an_hour(
            self, monkeypatch: pytest.MonkeyPatch) -> None:
        """By a clock that nobody sets."""
        moments = iter(range(7, 10 ** 9, HOUR // 4))
        monkeypatch.setattr(time, "monotonic", lambda: next(moments))
        work = Rounds(*[nothing] * 20)
        work.sender.run()
        assert 4 <= work.done.count("sweep") <= 7
        assert "sweep" not in work.done[2:4]

    def test_sweeps_although_mail_cannot_be_sent(self) -> None:
        """A mail server that is down is no reason for a growing database."""
        work = Rounds(fail, nothing)
        work.sender.run()
        assert "sweep" in work.done


class TestThread:
    """A sender beside a server."""

    @pytest.fixture
    def delivered(self) -> threading.Event:
        """Whether there was a round."""
        return threading.Event()

    @pytest.fixture
    def sender(self, delivered: threading.Event,
               monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
        """A sender that is running, with long pauses."""
        monkeypatch.setattr(mail.sender, "ROUND_SECONDS", 3600)

        def deliver() -> int:
            """Note that there was a round."""
            delivered.set()
            return 0
        started = Sender(deliver, lambda: None, nothing_begun)
        started.start()
        yield started
        started.stop()
        started.join(20)

    def test_delivers_at_once_and_stops_at_once(
            self, sender: Sender, delivered: threading.Event) -> None:
        """Whoever stops it waits for no whole pause."""
        assert delivered.wait(20)
        sender.stop()
        sender.join(20)
        assert not sender.is_alive()

    def test_keeps_no_process_alive(self, sender: Sender) -> None:
        """Ctrl+C ends the server, with mails waiting or not."""
        assert sender.daemon

    def test_pauses_between_rounds(
            self, monkeypatch: pytest.MonkeyPatch) -> None:
        """For a while that no request shortens, and not for long."""
        monkeypatch.setattr(mail.sender, "ROUND_SECONDS", 0.05)
        work = Rounds(nothing, nothing, nothing)
        began = time.monotonic()
        work.sender.run()
        assert time.monotonic() - began >= 0.1

    def test_mail_goes_within_seconds(self) -> None:
        """Somebody is waiting for the link."""
        assert 0 < mail.sender.ROUND_SECONDS <= 5


class TestFinish:
    """The end of a sender, with a mail on its way or without."""

    @pytest.fixture
    def hung_up(self) -> Iterator[threading.Event]:
        """Whether the mail server has let go of whoever hangs on it."""
        event = threading.Event()
        yield event
        event.set()

    def finish(self, deliver: Callable[[], int],
               release: Callable[[float], int], seconds: float = 20) -> Sender:
        """Start one, and finish it in its first round."""
        begun = threading.Event()

        def begin() -> int:
            """Let the test know that there is a round."""
            begun.set()
            return deliver()
        sender = Sender(begin, lambda: None, release)
        sender.start()
        assert begun.wait(20)
        sender.finish(seconds)
        return sender

    def test_waits_for_the_round_that_is_going_on(self) -> None:
        """What is nearly sent is sent."""
        def dawdle() -> int:
            """Take a moment."""
            time.sleep(0.2)
            return 0
        sender = self.finish(dawdle, nothing_begun)
        assert not sender.is_alive()

    def test_gives_back_after_so_many_seconds(
            self, hung_up: threading.Event) -> None:
        """The outbox is told how long a mail may be on its way."""
        asked: List[float] = []

        def give_back(seconds: float) -> int:
            """Note how long it may take."""
            asked.append(seconds)
            return 1
        self.finish(lambda: int(hung_up.wait()), give_back, 7)
        assert asked == [7]

    def test_waits_for_nobody_who_hangs_on_a_mail(
            self, hung_up: threading.Event,
            caplog: pytest.LogCaptureFixture) -> None:
        """It is given back, and the log says so."""
        began = time.monotonic()
        sender = self.finish(lambda: int(hung_up.wait()), lambda _: 2, 60)
        assert sender.is_alive()
        assert time.monotonic() - began < 30
        assert [each.getMessage() for each in caplog.records] == [
            "the mail sender ends; mails due again: 2"]

    def test_database_that_cannot_serve(
            self, hung_up: threading.Event,
            caplog: pytest.LogCaptureFixture) -> None:
        """The process ends all the same; the claim ends by itself."""
        def fail_to_release(_seconds: float) -> int:
            """Be a database that is locked."""
            raise Unavailable() from OSError("database is locked")
        self.finish(lambda: int(hung_up.wait()), fail_to_release)
        assert [each.getMessage() for each in caplog.records] == [
            "the mail sender waits: database is locked"]

    def test_end_comes_before_whoever_stops_us_loses_patience(self) -> None:
        """`docker stop` waits ten seconds where nobody told it to wait."""
        assert 0 < mail.sender.FINISH_SECONDS < 10
