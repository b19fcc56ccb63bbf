#!/usr/bin/env python3
"""How a process ends: when it is told to, and not before its work is done.

Whoever stops a service sends SIGTERM; at a desk it is Ctrl+C. Both mean the
same here, and whoever obeyed leaves with 0.
"""
from __future__ import annotations

import os
import signal
import threading
from typing import Any, Dict

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """The word that a process is to end, and a place to wait for it.

    A pipe carries it. A handler in Python may run between any two steps of
    the main thread, also where that holds a lock, and not at all while it
    waits for one and another thread got the signal; but whichever thread did
    writes its number into the pipe at once (signal.set_wakeup_fd).
    """

    def __init__(self) -> None:
        """Start without a word."""
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._handlers: Dict[int, Any] = {}
        self._wakeup = -1

    def __enter__(self) -> Ending:
        """Hear signals from now on; only the main thread may."""
        self._wakeup = signal.set_wakeup_fd(self._writer)
        for each in SIGNALS:
            self._handlers[each] = signal.signal(each, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave signals to whoever heard them before."""
        for each, handler in self._handlers.items():
            signal.signal(each, handler)
        signal.set_wakeup_fd(self._wakeup)
        self.close()

    def tell(self) -> None:
        """Say that it is time; safe in a handler, and in any thread."""
        os.write(self._writer, bytes([signal.SIGTERM]))

    def wait(self) -> None:
        """Return once it is time; each word ends one wait."""
        while os.read(self._reader, 1)[0] not in SIGNALS:
            pass

    def close(self) -> None:
        """Forget it, with nobody waiting any more."""
        os.close(self._reader)
        os.close(self._writer)


class InFlight:
    """What is being answered, for whoever wants to wait for the end of it."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._count = 0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        """Begin to answer one request more."""
        self._move(1)

    def __exit__(self, *_: object) -> None:
        """End to answer one of them."""
        self._move(-1)

    def finish(self, seconds: float) -> bool:
        """Wait until nothing is; False if that takes longer than this."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._count, seconds)

    def _move(self, by: int) -> None:
        """Count, and wake whoever waits."""
        with self._changed:
            self._count += by
            self._changed.notify_all()
