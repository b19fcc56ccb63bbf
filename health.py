#!/usr/bin/env python3
"""Whether this process can serve, found out without ever waiting for long.

What a check asks may hang: a disk that is gone, a server that swallows what
it is sent. No call of that kind can be taken back, so it is made in a thread
of its own, and whoever asks waits for it only so long.
"""
from __future__ import annotations

import shutil
import threading
import time
from typing import Callable, Generic, Mapping, Optional, Tuple, TypeVar

from db import DB
from errors import NotMigrated, NotReady, Unavailable
from settings import Settings

Answer = TypeVar("Answer")
# Raises if it fails; by the name that is said of it.
Checks = Mapping[str, Callable[[], object]]
# Health checks of all kinds are done with us after a few seconds.
PATIENCE = 1.0
# Below it, SQLite's log may not find the room that the next writes need.
LEAST_FREE = 16 * 1024 * 1024
# An answer that was costly is kept for so many times what it took.
SPARING = 100


class Inquiry(Generic[Answer]):
    """A question that may hang or be costly, asked once at a time.

    Whoever comes while it is asked waits for the same answer; so one that
    hangs costs one thread, however many ask.
    """

    def __init__(self, ask: Callable[[], Answer], keep: float = 0) -> None:
        """Put this question, and keep a good answer for so many seconds.

        One that is kept at all is kept for longer if it was costly, so that
        asking takes no more than a hundredth of the time.
        """
        self._ask = ask
        self._keep = keep
        self._lock = threading.Lock()
        self._asked = self._before = _Asking(ask)

    def answer(self, patience: float = PATIENCE) -> Answer:
        """Return the answer; raise Unavailable if there is none in time.

        One that was kept stands in for the next one that is late, and no
        longer. What the question raises is raised here.
        """
        with self._lock:
            if not (self._asked.is_alive() or self._asked.holds(self._keep)):
                self._before, self._asked = self._asked, _Asking(self._ask)
                self._asked.start()
            before, asked = self._before, self._asked
        asked.join(patience)
        if not asked.is_alive():
            return asked.result()
        if before.holds(self._keep, 2):
            return before.result()
        raise Unavailable() from TimeoutError(
            "no answer within {:g} s".format(patience))


class _Asking(threading.Thread, Generic[Answer]):
    """One time that a question is asked; a daemon, as it may never end."""

    def __init__(self, ask: Callable[[], Answer]) -> None:
        """Get ready to ask."""
        super().__init__(name="inquiry", daemon=True)
        self._ask = ask
        self._found: Optional[Tuple[Answer]] = None
        self._error: Exception = Unavailable()
        self._took = self._ended = 0.0

    def run(self) -> None:
        """Ask, and remember what came of it and how long it took."""
        began = time.monotonic()
        try:
            self._found = (self._ask(),)
        except Exception as error:
            self._error = error
        self._ended = time.monotonic()
        self._took = self._ended - began

    def holds(self, keep: float, rounds: int = 1) -> bool:
        """Tell whether there is an answer, and how long it is kept not over.

        So many times over, if rounds are given.
        """
        life = rounds * max(keep, SPARING * self._took) if keep else 0
        return self._found is not None \
            and time.monotonic() < self._ended + life

    def result(self) -> Answer:
        """Return or raise what came of it, once it has ended."""
        if self._found is None:
            raise self._error
        return self._found[0]


class Health:
    """What has to be in order for requests to be served."""

    def __init__(self, checks: Checks) -> None:
        """Go through these checks, in their order."""
        self._checks = checks
        self._current = ""
        self._inquiry = Inquiry(self._go_through)

    def demand(self, patience: float = PATIENCE) -> None:
        """Raise NotReady, naming the first check that fails, if one does.

        One that is not done in time has failed. The cause is for the log.
        """
        try:
            self._inquiry.answer(patience)
        except NotMigrated as error:
            raise NotReady("not ready: schema") from error
        except Exception as error:
            raise NotReady("not ready: {}".format(
                self._current)) from error.__cause__ or error

    def _go_through(self) -> None:
        """Make every check up to the first that fails, and stay there."""
        for self._current, check in self._checks.items():
            check()


def checks_of(db: DB, settings: Settings,
              least_free: int = LEAST_FREE) -> Checks:
    """Return what has to be in order for a service on this store.

    `least_free` bytes have to be free where a SQLite file is.
    """
    def disk() -> None:
        """Make sure that the file and what is beside it can grow."""
        folder = settings.database_folder
        if folder and shutil.disk_usage(folder).free < least_free:
            raise OSError("the disk of the database is full")

    def schema() -> None:
        """Make sure that the tables are those of this code."""
        if not db.knows_schema():
            raise Unavailable("tables are missing from the database")
    return {"disk": disk, "database": lambda: db.check(), "schema": schema}
