#!/usr/bin/env python3
"""Whoever keeps at it: a thread that sends what waits, round after round."""
from __future__ import annotations

import logging
import threading
import time
from typing import Callable

from errors import Unavailable

log = logging.getLogger("bienvenue.mail")
# A round on the clock and not on demand: were it woken by a request, how busy
# the server is right after would tell whether there was anything to send.
ROUND_SECONDS = 2
SWEEP_SECONDS = 3600


class Sender(threading.Thread):
    """Sends mail until stopped, and now and then clears away what is old.

    A daemon: it never keeps a process alive. Whatever goes wrong in a round
    is logged, and the next round comes.
    """

    def __init__(self, deliver: Callable[[], int],
                 sweep: Callable[[], None]) -> None:
        """Deliver each round, and sweep at the start and once an hour."""
        super().__init__(name="mail-sender", daemon=True)
        self._deliver = deliver
        self._sweep = sweep
        self._stopped = threading.Event()

    def run(self) -> None:
        """Go on, round after round."""
        sweep_at = 0.0
        while not self._stopped.is_set():
            self._attempt(self._deliver)
            if time.monotonic() >= sweep_at:
                sweep_at = time.monotonic() + SWEEP_SECONDS
                self._attempt(self._sweep)
            self._stopped.wait(ROUND_SECONDS)

    def stop(self) -> None:
        """End after the round that is going on."""
        self._stopped.set()

    @staticmethod
    def _attempt(work: Callable[[], object]) -> None:
        """Do one piece of work and survive it."""
        try:
            work()
        except Unavailable as fault:
            log.warning("the mail sender waits: %s", fault.__cause__ or fault)
        except Exception:
            log.exception("the mail sender made a mistake")
