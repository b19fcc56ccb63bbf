#!/usr/bin/env python3
"""When sessions were last seen: noted at once, and written a moment later.

A look-up writes nothing itself, so that it never waits for a lock that
somebody else holds. Whatever is noted while others are written is written
together.
"""
from __future__ import annotations

import threading
from contextlib import suppress
from typing import Dict, Optional

from db import DB
from errors import Unavailable
from models import Session, Visit

# How stale "last seen" may be; one write a minute at most, not one a request.
SEEN_EVERY = 60


class Sightings:
    """What this process knows of sessions and the database does not yet.

    One that is lost, with the process or because the database is busy, ends
    no session: the next look-up notes it again.
    """

    def __init__(self, db: DB, defers: bool) -> None:
        """Write them down in this store; at once, unless it `defers` that."""
        self._db = db
        self._defers = defers
        self._noted: Dict[int, int] = {}
        self._lock = threading.Lock()
        self._thread: Optional[threading.Thread] = None

    def last(self, visit: Visit) -> int:
        """Return when a session was last seen, as far as is known here."""
        return max(visit.seen_at, self._noted.get(visit.id, 0))

    def note(self, session_id: int, now: int) -> None:
        """Note that a session is in use at this second."""
        if not self._defers:
            self._write({session_id: now})
            return
        with self._lock:
            self._noted[session_id] = now
            if self._thread is None:
                thread = threading.Thread(
                    target=self._write_all, name="sightings", daemon=True)
                with suppress(RuntimeError):  # no memory for one: later
                    thread.start()
                    self._thread = thread

    def finish(self) -> None:
        """Return once everything that was noted is written or lost."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _write_all(self) -> None:
        """Write until there is nothing left; a thread of its own.

        What is being written is known here until it is.
        """
        noted: Dict[int, int] = {}
        while True:
            with self._lock:
                self._noted = {each: at for each, at in self._noted.items()
                               if at != noted.get(each)}
                noted = dict(self._noted)
                if not noted:
                    self._thread = None
                    return
            self._write(noted)

    def _write(self, noted: Dict[int, int]) -> None:
        """Write down those, in one order for all who do so at once."""
        with suppress(Unavailable), self._db.transaction():
            for each, at in sorted(noted.items()):
                self._db.change(Session, {"id": each}, Session.seen_at < at,
                                seen_at=at)
