#!/usr/bin/env python3
"""What either production server does once, before it has workers."""
from __future__ import annotations

import gc

from auth import Auth
from cli import make_ready
from cores import count_cores
from credentials.pool import share_slots
from metrics import start_over
from settings import Settings


def prepare(settings: Settings) -> None:
    """Do what need not be done by each worker.

    The numbers of the run before are nobody's, and a database that has to be
    upgraded is a reason not to start. What is in memory by then is shared with
    the workers, as long as nobody writes to it; the garbage collector would,
    to each object, at its first walk through all of them.
    """
    start_over()
    service = Auth(settings=settings)
    make_ready(service)
    service.close()
    share_slots(count_cores())
    gc.freeze()
