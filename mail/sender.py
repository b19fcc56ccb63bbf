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
# How long a mail that is on its way may keep a process from ending.
FINISH_SECONDS = 5


class Sender(threading.Thread):
    """Sends mail until stopped, and now and then clears away what is old.

    A daemon: it never keeps a process alive. Whatever goes wrong in a round
    is logged, and the next round comes.
    """

    def __init__(self, deliver: Callable[[], int], sweep: Callable[[], object],
                 release: Callable[[float], int]) -> None:
        """Deliver each round, and sweep at the start and once an hour.

        `release` gives back what was begun, after so many seconds.
        """
        super().__init__(name="mail-sender", daemon=True)
        self._deliver = deliver
        self._sweep = sweep
        self._release = release
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

    def finish(self, seconds: float = FINISH_SECONDS) -> None:
        """End soon, and leave no mail to a sender that is gone.

        A mail whose server does not take it within so many seconds is due
        again, for whoever sends next.
        """
        self.stop()
        self._attempt(lambda: self._leave(seconds))

    def _leave(self, seconds: float) -> None:
        """Give back what is ours, or wait for the rest of the round.

        A thread that was left with a mail hangs on a server: nobody waits
        for that.
        """
        left = self._release(seconds)
        if left:
            log.warning("the mail sender ends; mails due again: %s", left)
        elif self.is_alive():
            self.join(seconds)

    @staticmethod
    def _attempt(work: Callable[[], object]) -> None:
        """Do one piece of work and survive it."""
        try:
            work()
        except Unavailable as fault:
            log.warning("the mail sender waits: %s", fault.__cause__ or fault)
        except Exception:
            log.exception("the mail sender made a mistake")
