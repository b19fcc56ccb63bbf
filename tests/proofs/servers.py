#!/usr/bin/env python3
"""The production server with several workers, whole or broken on purpose.

A check that a broken service passes proves nothing. So each is tried on one,
too, and has to fail there: what breaks it is put into the process of a test
server, from here. The service itself has no such switch.
"""
from __future__ import annotations

import runpy
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Callable, List, Optional

from tests.helpers import Granian, Gunicorn, Server
from tests.test_going_live import Live

# Takes a part of the service away, before it serves.
Flaw = Callable[[], None]
# Tests obey no settings of the environment, but this process does.
START = """
import os, sys
settings = dict(os.environ)
from tests.proofs.servers import serve
os.environ.update(settings)
serve(*sys.argv[1:])
"""


class Workers(Granian):
    """The production server with several workers, in the development mode.

    That of this Python, as `make serve` chooses it.
    """

    command = Granian.command if find_spec("granian") else Gunicorn.command

    def __init__(self, folder: Path, flaw: Optional[Flaw] = None,
                 **environ: str) -> None:
        """Start it on the database of this folder; return once it answers.

        A flaw is a function of a module that the server can import, too.
        """
        if flaw:
            self.command = (sys.executable, "-c", START,
                            flaw.__module__, flaw.__name__)
        super().__init__(folder, **dict({"WORKERS": "2"}, **environ))


class LiveWorkers(Workers, Live):
    """The production server with several workers, in the production mode."""


def workers_of(server: Server) -> List[int]:
    """Return the processes that a server has started."""
    children = Path("/proc/{0}/task/{0}/children".format(server.process.pid))
    return [int(each) for each in children.read_text().split()]


def serve(module: str, flaw: str) -> None:
    """Be the production server, with a flaw.

    Each worker loads the app for itself, as it does without one.
    """
    getattr(import_module(module), flaw)()
    sys.modules.pop("app", None)
    _, _, program, *sys.argv[1:] = Workers.command
    runpy.run_module(program, run_name="__main__", alter_sys=True)
