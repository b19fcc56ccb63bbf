#!/usr/bin/env python3
"""A look-up waits for nobody, though it leaves a note."""
from __future__ import annotations

import threading
from typing import Any, Iterator, List

import pytest

from auth import Auth
from credentials import tokens
from db import DB
from errors import Unavailable
from models import Session
from settings import DAY, Settings
from sightings import Sightings
from tests.helpers import EMAIL, PASSWORD, Clock


@pytest.fixture
def service(db: DB, settings: Settings, clock: Clock) -> Iterator[Auth]:
    """The service as a server has it."""
    service = Auth(db, settings, clock, defers=True)
    service.register_user(EMAIL, PASSWORD)
    yield service
    service.close()


@pytest.fixture
def token(service: Auth, clock: Clock) -> str:
    """Bob's session, a minute old."""
    token = service.log_in(EMAIL, PASSWORD)
    clock.advance(60)
    return token


class Lock:
    """A store in which writing takes until somebody lets go."""

    def __init__(self, db: DB, patch: pytest.MonkeyPatch) -> None:
        """Hold up whatever changes a session."""
        self.changes: List[Any] = []
        self.free = threading.Event()
        self._change = db.change
        patch.setattr(db, "change", self.change)

    def change(self, *args: Any, **values: Any) -> int:
        """Wait, then change."""
        self.free.wait(20)
        self.changes.append(values)
        return self._change(*args, **values)


@pytest.fixture
def lock(db: DB, token: str, monkeypatch: pytest.MonkeyPatch
         ) -> Iterator[Lock]:
    """Somebody else writes for long."""
    lock = Lock(db, monkeypatch)
    yield lock
    lock.free.set()


def seen_at(db: DB, token: str) -> int:
    """Return when a session was last seen, as it is stored."""
    session = db.find(Session, digest=tokens.digest(token))
    assert session is not None
    return session.seen_at


def test_look_up_waits_for_no_writer(
        service: Auth, token: str, clock: Clock, db: DB, lock: Lock) -> None:
    """The note is written once the writer is done."""
    service.identify(token)
    assert not lock.changes
    lock.free.set()
    service.close()
    assert seen_at(db, token) == int(clock())


def test_note_counts_before_it_is_written(
        service: Auth, token: str, clock: Clock, lock: Lock) -> None:
    """Or a session would end that was used."""
    clock.advance(7 * DAY - 61)
    service.identify(token)
    clock.advance(2)
    assert service.identify(token).email == EMAIL


def test_one_note_a_minute(
        service: Auth, token: str, clock: Clock, lock: Lock) -> None:
    """However long the first has to wait."""
    for _ in range(3):
        service.identify(token)
    lock.free.set()
    service.close()
    assert lock.changes == [{"seen_at": int(clock())}]


def test_notes_that_come_meanwhile_are_written_as_well(
        service: Auth, token: str, clock: Clock, db: DB,
        lock: Lock) -> None:
    """The thread goes on until there are none."""
    service.identify(token)
    clock.advance(60)
    service.identify(token)
    lock.free.set()
    service.close()
    assert seen_at(db, token) == int(clock())


def test_own_sessions_are_shown_as_they_are(
        service: Auth, token: str, clock: Clock) -> None:
    """Whoever looks sees this very look."""
    shown, = service.list_sessions(token)
    assert shown["seen_at"] == int(clock())


def test_note_that_is_lost_is_made_again(
        service: Auth, token: str, clock: Clock, db: DB) -> None:
    """The table is not there for a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db, "transaction", unavailable)
        service.identify(token)
        service.close()
    service.identify(token)
    service.close()
    assert seen_at(db, token) == int(clock())


def unavailable() -> Any:
    """Be a store that cannot serve."""
    raise Unavailable()


def test_older_note_changes_nothing(
        service: Auth, token: str, clock: Clock, db: DB) -> None:
    """Another worker noted the same session later, and was faster."""
    now = int(clock())
    sightings = Sightings(db, defers=False)
    handle = service.identify(token).id
    for seconds in (30, 20):
        sightings.note(handle, now + seconds)
    service.close()
    assert seen_at(db, token) == now + 30


def test_look_up_waits_for_no_thread(
        service: Auth, db: DB, token: str, clock: Clock,
        monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine out of memory gives none; the next note is written again."""
    def out_of_memory(_thread: threading.Thread) -> None:
        """Say what Python says then."""
        raise RuntimeError("can't start new thread")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", out_of_memory)
        assert service.identify(token).email == EMAIL
    clock.advance(60)
    service.identify(token)
    service.close()
    assert seen_at(db, token) == int(clock())
