#!/usr/bin/env python3
"""Questions that hang or are costly, and checks in their order."""
from __future__ import annotations

import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Callable, Iterator, List, NamedTuple

import pytest

from db import DB
from errors import NotReady, Unavailable
from health import LEAST_FREE, Health, Inquiry, checks_of
from settings import Settings
from tests.databases import run, sqlite_only
from tests.helpers import all_at_once

# Longer than any machine takes for what is done at once, and far shorter than
# what hangs: until the end of the test.
SOON = 30


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """What a question that hangs waits for; it comes with the test's end."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Iterator[List[float]]:
    """The clock of inquiries: a list whose only item is the moment."""
    now = [1000.0]
    monkeypatch.setattr("health.time.monotonic", lambda: now[0])
    yield now


class Counter:
    """A question whose answer is how often it was asked."""

    def __init__(self) -> None:
        """Start at nothing, with all in order."""
        self.asked = 0
        self.meanwhile: Callable[[], object] = int

    def __call__(self) -> int:
        """Count, and do what is done meanwhile."""
        self.asked += 1
        self.meanwhile()
        return self.asked


class TestInquiry:
    """Asking without waiting for long."""

    def test_gives_the_answer(self) -> None:
        """As if it had been asked directly."""
        assert Inquiry(lambda: 7).answer(SOON) == 7

    def test_raises_what_the_question_raises(self) -> None:
        """And asks again the next time."""
        counter = Counter()
        counter.meanwhile = lambda: [][0]
        inquiry = Inquiry(counter, keep=15)
        for _ in range(2):
            with pytest.raises(IndexError):
                inquiry.answer(SOON)
        assert counter.asked == 2

    def test_waits_no_longer_than_its_patience(
            self, stuck: threading.Event) -> None:
        """The cause says why there is no answer."""
        with pytest.raises(Unavailable) as caught:
            Inquiry(lambda: stuck.wait(SOON)).answer(0.01)
        assert str(caught.value.__cause__) == "no answer within 0.01 s"

    def test_many_who_ask_wait_for_one_answer(
            self, stuck: threading.Event) -> None:
        """A question that hangs costs one thread, whoever knocks."""
        counter = Counter()
        counter.meanwhile = lambda: stuck.wait(SOON)
        inquiry = Inquiry(counter)

        def ask() -> None:
            """Ask, and have no patience."""
            with pytest.raises(Unavailable):
                inquiry.answer(0.01)
        all_at_once([ask] * 20)
        assert counter.asked == 1

    def test_asks_anew_once_it_hangs_no_longer(
            self, stuck: threading.Event) -> None:
        """Nobody has to restart anything."""
        counter = Counter()
        counter.meanwhile = lambda: stuck.wait(SOON)
        inquiry = Inquiry(counter)
        with pytest.raises(Unavailable):
            inquiry.answer(0.01)
        stuck.set()
        inquiry.answer(SOON)
        assert inquiry.answer(SOON) == counter.asked > 1

    def test_keeps_nothing_unless_told(self, ticks: List[float]) -> None:
        """Each time it is asked anew, in the same moment, too."""
        inquiry = Inquiry(Counter())
        assert [inquiry.answer(SOON) for _ in range(3)] == [1, 2, 3]

    def test_keeps_a_good_answer_for_so_long(
            self, ticks: List[float]) -> None:
        """To the second, and then asks anew."""
        inquiry, found = Inquiry(Counter(), keep=15), []
        for seconds in (0, 14, 1, 14, 1):
            ticks[0] += seconds
            found.append(inquiry.answer(SOON))
        assert found == [1, 1, 2, 2, 3]

    def test_keeps_a_costly_answer_for_longer(
            self, ticks: List[float]) -> None:
        """A question of two seconds is asked every 200."""
        counter = Counter()
        inquiry, found = Inquiry(counter, keep=15), []

        def take_two_seconds() -> None:
            """Let the clock go on."""
            ticks[0] += 2
        counter.meanwhile = take_two_seconds
        for seconds in (0, 199, 1):
            ticks[0] += seconds
            found.append(inquiry.answer(SOON))
        assert found == [1, 1, 2]

    def test_last_answer_stands_in_for_one_that_is_late(
            self, ticks: List[float], stuck: threading.Event) -> None:
        """For as long again as it was kept, and no longer."""
        counter = Counter()
        inquiry = Inquiry(counter, keep=15)
        inquiry.answer(SOON)
        counter.meanwhile = lambda: stuck.wait(SOON)
        for seconds in (15, 14):
            ticks[0] += seconds
            assert inquiry.answer(0.01) == 1
        ticks[0] += 1
        with pytest.raises(Unavailable):
            inquiry.answer(0.01)


class Free(NamedTuple):
    """What a disk says of itself, as far as anybody asks."""

    free: int


class TestHealth:
    """Checks that are made one after the other."""

    def test_all_in_order(self) -> None:
        """Nothing is raised, whatever is returned."""
        Health({"a": int, "b": int}).demand(SOON)

    def test_first_that_fails_is_named_and_ends_it(self) -> None:
        """The cause is kept for the log, and is not in the sentence."""
        def fail() -> None:
            """Know a secret."""
            raise OSError("hush")
        sick = Health({"a": int, "b": fail, "c": fail})
        with pytest.raises(NotReady) as caught:
            sick.demand(SOON)
        assert caught.value.public == "not ready: b"
        assert str(caught.value.__cause__) == "hush"

    def test_one_that_hangs_is_named(self, stuck: threading.Event) -> None:
        """It has failed as soon as nobody waits any more."""
        def hang() -> None:
            """Wait for the end of the test."""
            stuck.wait(SOON)
        with pytest.raises(NotReady, match="not ready: b$"):
            Health({"a": int, "b": hang}).demand(0.2)

    def test_is_well_again_by_itself(self) -> None:
        """The next who asks finds it so."""
        counter = Counter()

        def fail_once() -> None:
            """Fail the first time only."""
            if counter() == 1:
                raise OSError()
        patient = Health({"a": fail_once})
        with pytest.raises(NotReady):
            patient.demand(SOON)
        patient.demand(SOON)

    def test_default_patience_is_a_second(
            self, stuck: threading.Event) -> None:
        """Those who check health themselves give up after a few."""
        began = time.monotonic()
        with pytest.raises(NotReady):
            Health({"a": lambda: stuck.wait(SOON)}).demand()
        assert 0.9 < time.monotonic() - began < 10


class TestChecksOf:
    """What has to be in order for a service on a store."""

    def test_names(self, db: DB, settings: Settings) -> None:
        """The disk first, as the other two need it."""
        assert list(checks_of(db, settings)) == ["disk", "database", "schema"]

    @sqlite_only
    def test_disk_is_that_of_the_file(
            self, db: DB, settings: Settings, tmp_path: Path) -> None:
        """As much as is free there is enough, and more is not."""
        free = shutil.disk_usage(str(tmp_path)).free
        checks_of(db, settings, free // 2)["disk"]()
        with pytest.raises(OSError, match="disk of the database is full"):
            checks_of(db, settings, free * 2)["disk"]()

    @sqlite_only
    @pytest.mark.parametrize("free, full", [
        (LEAST_FREE, False), (LEAST_FREE - 1, True), (0, True)])
    def test_full_is_a_few_mebibytes(
            self, db: DB, settings: Settings, free: int, full: bool,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """No sooner: it would take a service away that still serves."""
        assert 2 ** 20 < LEAST_FREE < 2 ** 26
        monkeypatch.setattr("health.shutil.disk_usage", lambda _: Free(free))
        with suppress(OSError):
            checks_of(db, settings)["disk"]()
            assert not full
            return
        assert full

    def test_no_file_needs_no_disk(self, db: DB) -> None:
        """A database elsewhere looks after its own."""
        far = Settings(database_url="postgresql://db.example.com/auth")
        checks_of(db, far, 2 ** 62)["disk"]()

    def test_missing_tables_are_told(
            self, db: DB, settings: Settings) -> None:
        """Somebody restored half of a backup, say."""
        db.check()
        schema = checks_of(db, settings)["schema"]
        schema()
        run(settings.database_url, "DROP TABLE outbox")
        with pytest.raises(Unavailable, match="tables are missing"):
            schema()
