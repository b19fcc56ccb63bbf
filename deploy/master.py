#!/usr/bin/env python3
"""What either production server does once, before it has workers."""
from __future__ import annotations

from auth import Auth
from cli import make_ready
from cores import count_cores
from credentials.pool import share_slots
from metrics import start_over
from settings import Settings


def prepare(settings: Settings) -> None:
    """Do what need not be done by each worker.

    The numbers of the run before are nobody's, and a database that has to be
    upgraded is a reason not to start.
    """
    start_over()
    service = Auth(settings=settings)
    make_ready(service)
    service.close()
    share_slots(count_cores())
