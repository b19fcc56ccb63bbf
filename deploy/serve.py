#!/usr/bin/env python3
"""The production server: granian, sized to the machine that it finds.

    python3 -m deploy.serve

from the folder of app.py, or `make serve`. It listens on HOST and PORT, as
Flask's own server does. Where granian has no packages (below Python 3.10)
there is gunicorn.conf.py.

Every worker loads the app for itself, so that no connection, lock or thread
is shared by a fork. Each has a sender of mails: any number of them can work
on one outbox. A new version of the code needs a restart.
"""
from __future__ import annotations

import io
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import warnings
from contextlib import ExitStack
from functools import partial
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Optional

import granian.net
import granian.wsgi
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server import MPServer

from cli import no_door, refusal, start_sender
from cores import count_cores
from deploy.master import prepare
from ending import SIGNALS, Ending
from errors import Unavailable
from logs import configure
from mail.sender import Sender
from metrics import forget_worker
from routes.common import MAX_BODY
from routes.guards import SAFE_METHODS, Named, headers_of
from settings import BadSettings, Settings

# What was begun may take so long once SIGTERM came. Whoever stops the service
# has to be more patient: TimeoutStopSec=, stop_grace_period.
GRACEFUL_SECONDS = 30
# How many requests may wait in a worker for the rest of their body, or for
# others that change something; each keeps a thread.
WAITING = 64
# Clients that nobody has time for yet wait here, and are not turned away.
BACKLOG = 4096
# Connections of a worker: fewer than the 1024 files that it may have open.
CONNECTIONS = 900
# For a head, and for the next request of a connection.
HEADER_MILLISECONDS = 10000
# All headers together: larger than any of ours, cookies of neighbours
# included. More than 100 are refused anyway.
HEADER_BYTES = 32 * 1024
# Says nothing, but wakes a thread.
NUDGE = signal.SIGURG
# Whatever granian says is a line of the log as any other.
LOG = {"version": 1, "disable_existing_loggers": False, "formatters": {},
       "handlers": {}, "loggers": {"_granian": {"propagate": True}}}
Environ = Dict[str, Any]
Application = Callable[[Environ, Any], Any]


def refusing(status: str, message: str, *headers: Any) -> Application:
    """Return what answers every request with this, in the service's form."""
    body = '{{"message":"{}"}}\n'.format(message).encode("ascii")
    sent = [("Content-Type", "application/json"),
            ("Content-Length", str(len(body)))] + list(headers)

    def application(_environ: Environ, start_response: Any) -> List[bytes]:
        """Refuse one request."""
        start_response(status, sent)
        return [body]
    return application


class BrokenOff(io.RawIOBase):
    """A body that ended before its end."""

    def read(self, size: int = -1) -> bytes:
        """Say so to whoever wants to read it."""
        raise OSError("the body is shorter than it was declared")


class Entrance:
    """Where requests come in: whole, not too many at once, and readers first.

    What changes something, signing in above all, comes in so many that those
    who wait for a hash and one more are inside; otherwise a flood of it would
    have readers wait for their turn in the interpreter. The rest waits here,
    each on a thread of granian's, and so does a body that comes slowly. There
    are more threads than may wait: whoever only reads always finds one. And
    granian takes a body that breaks off for one that ends there: half a new
    password, say, for a whole one.
    """

    def __init__(self, application: Application, settings: Settings) -> None:
        """Lead to an application, which answers so many requests at once."""
        headers = headers_of(settings.production)
        self._application = application
        self._places = tokens(settings.threads)
        self._changes = tokens(settings.hashing_places + 1)
        self._waiting = threading.Semaphore(WAITING)
        self._busy = Named(refusing(
            "503 Service Unavailable", Unavailable.default,
            ("Retry-After", "1")), headers)
        self._unclear = Named(refusing(
            "400 Bad Request", "the request is not valid HTTP"), headers)
        self._unmeasured = Named(refusing(
            "411 Length Required", "send Content-Length, or JSON"), headers)

    def __call__(self, environ: Environ, start_response: Any) -> List[bytes]:
        """Answer a request, unless too many wait already.

        granian empties a header that is not ASCII: of what proxies say, the
        client could so erase their part.
        """
        application = self._application
        if environ.get("HTTP_X_FORWARDED_FOR") == "":
            application = self._unclear
        elif changes(environ):
            if not self._waiting.acquire(blocking=False):
                return in_one_piece(self._busy, environ, start_response)
            try:
                application = self._with_body(environ) or application
                self._changes.get()
            finally:
                self._waiting.release()
            try:
                return self._answer(application, environ, start_response)
            finally:
                self._changes.put(None)
        return self._answer(application, environ, start_response)

    def _answer(self, application: Application, environ: Environ,
                start_response: Any) -> List[bytes]:
        """Answer a request in its place."""
        self._places.get()
        try:
            return in_one_piece(application, environ, start_response)
        finally:
            self._places.put(None)

    def _with_body(self, environ: Environ) -> Optional[Application]:
        """Wait for the body, if any; return what refuses it, if that is due.

        What is declared as too long is left to the service, unread.
        """
        chunked = "HTTP_TRANSFER_ENCODING" in environ
        length = int(environ.get("CONTENT_LENGTH", 0))
        if chunked and not is_json(environ):
            return self._unmeasured
        if chunked or 0 < length <= MAX_BODY:
            body = environ["wsgi.input"].read(length or MAX_BODY + 1)
            environ["wsgi.input"] = (
                BrokenOff() if len(body) < length else io.BytesIO(body))
        return None


def tokens(count: int) -> SimpleQueue[None]:
    """Return so many tokens, in a queue: that is quicker than a semaphore."""
    queue: SimpleQueue[None] = SimpleQueue()
    for _ in range(count):
        queue.put(None)
    return queue


def in_one_piece(application: Application, environ: Environ,
                 start_response: Any) -> List[bytes]:
    """Return the answer of an application as granian sends it at less cost."""
    answer = application(environ, start_response)
    try:
        return [b"".join(answer)]
    finally:
        getattr(answer, "close", bool)()


def changes(environ: Environ) -> bool:
    """Tell whether a request may change something, or brings a body."""
    return (environ["REQUEST_METHOD"] not in SAFE_METHODS
            or environ.get("CONTENT_LENGTH", "0") != "0"
            or "HTTP_TRANSFER_ENCODING" in environ)


def is_json(environ: Environ) -> bool:
    """Tell whether the body shows itself where it ends."""
    kind: str = environ.get("CONTENT_TYPE", "")
    return kind.partition(";")[0].strip().lower() == "application/json"


class Master(MPServer):
    """The process that starts workers, and others for those that die."""

    def __init__(self, settings: Settings) -> None:
        """Be ready to serve by these settings."""
        super().__init__(
            "app:app", settings.host, settings.port,
            interface=Interfaces.WSGI, http=HTTPModes.http1, websockets=False,
            workers=settings.workers or count_cores(), blocking_threads=1,
            backlog=BACKLOG, backpressure=CONNECTIONS,
            http1_settings=HTTP1Settings(
                header_read_timeout=HEADER_MILLISECONDS,
                max_buffer_size=HEADER_BYTES),
            respawn_failed_workers=True,
            workers_kill_timeout=GRACEFUL_SECONDS, log_dictconfig=LOG)
        self._settings = settings

    def startup(self, spawn_target: Any, target_loader: Any) -> None:
        """Start the workers, with threads that granian would warn of."""
        self.blocking_threads = self._settings.threads + WAITING
        start: Any = super().startup
        start(spawn_target, target_loader)

    def load(self) -> Entrance:
        """Return what a worker serves; called in it, before it serves.

        A group of its own, so that Ctrl+C reaches this process only by way
        of the master: granian hangs at the third signal.
        """
        os.setpgrp()
        # Nobody is let in at the doors of others, once those are closed.
        for each in self._listening:
            if each is not self._sso:
                each.close()
        from app import AUTH, app
        goodbye = Goodbye(start_sender(AUTH))
        if self.interrupt_signal:
            goodbye.note()
        goodbye.start()
        threading.Thread(target=leave_with_the_master, daemon=True).start()
        return Entrance(app, AUTH.settings)

    def _init_shared_socket(self) -> None:
        """Listen before there are workers, with a socket for each.

        The system deals out who comes; from one socket whoever is awake takes
        all that it can get, and the other cores look on. They are kept here:
        where granian has each worker listen for itself, whoever waits for one
        that dies is lost, and a second service shares the port unseen.
        """
        self._listening = listen(
            self.bind_addr, self.bind_port,
            self.workers if sys.platform == "linux" else 1)
        self._sso = self._listening[0]

    def _spawn_worker(self, idx: int, *args: Any, **options: Any) -> Any:
        """Give a worker its socket, also one that stands in for another."""
        self._sso = self._listening[idx % len(self._listening)]
        holder = getattr(granian.net, "SocketHolder")
        self._shd = holder(self._sso.fileno(), False, *(
            [BACKLOG] if sys.platform == "linux" else []))
        spawn: Any = super()._spawn_worker
        return spawn(idx, *args, **options)

    def _drop_shared_socket(self) -> None:
        """Let nobody in any more, not even to wait."""
        for each in self._listening:
            each.close()

    def _respawn_workers(self, workers: List[int], *args: Any,
                         **options: Any) -> None:
        """Replace workers, and count what they were doing no more.

        However often: granian would end all of them at the second death
        within 5.5 s, and two that run out of memory are no reason for that.
        """
        gone = [self.wrks[each].inner.pid for each in workers]
        respawn: Any = super()._respawn_workers
        respawn(workers, *args, **options)
        self.respawned_wrks.clear()
        for pid in gone:
            forget_worker(pid)


def listen(host: str, port: int, count: int) -> List[socket.socket]:
    """Return sockets that listen there; a sentence if that cannot be.

    The first attempt, by one that shares with nobody, finds out whether
    somebody else is there.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        open_one = partial(
            socket.create_server, address[:2], family=family, backlog=BACKLOG,
            dualstack_ipv6=family == socket.AF_INET6)
        if count > 1:
            open_one().close()
        listening = [open_one(reuse_port=count > 1) for _ in range(count)]
    except OSError as error:
        raise SystemExit(no_door(host, port, error)) from error
    for each in listening:
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        each.set_inheritable(True)
    return listening


class Goodbye(threading.Thread):
    """Ends what a worker does beside its requests, at SIGTERM.

    The process is not over before this thread is.
    """

    def __init__(self, sender: Optional[Sender]) -> None:
        """Hear signals from now on; only the main thread may.

        granian has no ear for them yet: what comes before it does is noted.
        """
        super().__init__(name="goodbye")
        self._sender = sender
        self._early = False
        self._ending = ExitStack().enter_context(Ending())
        for each in SIGNALS:
            signal.signal(each, self.note)
        signal.signal(NUDGE, lambda *_: None)

    def note(self, *_: Any) -> None:
        """Remember that granian has not heard the word."""
        self._early = True
        self._ending.tell()

    def run(self) -> None:
        """Wait for the word, and leave no mail; see that granian hears it.

        Its main thread waits for a lock, and a signal that came just before
        would not wake it: another one does.
        """
        self._ending.wait()
        while signal.getsignal(signal.SIGTERM) == self.note:
            time.sleep(0.01)
        if self._early:
            os.kill(os.getpid(), signal.SIGTERM)
        if self._sender:
            threading.Thread(target=self._sender.finish).start()
        main = threading.main_thread()
        while main.is_alive():
            signal.pthread_kill(main.ident or 0, NUDGE)
            main.join(0.1)


def leave_with_the_master() -> None:
    """End this worker once nobody is there to end it."""
    master = multiprocessing.parent_process()
    if master:
        master.join()
        os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve until told to end."""
    try:
        settings = Settings.from_env()
    except BadSettings as error:
        raise SystemExit(refusal(error)) from error
    configure(settings.production)
    prepare(settings)
    # What is made before a fork is there after it. The threads of the master
    # wait for workers, and hold nothing.
    multiprocessing.set_start_method("fork")
    warnings.filterwarnings("ignore", ".*multi-threaded, use of fork")
    # granian puts all variables of the process into every request: secrets,
    # and HTTP_PROXY as a header. Copying them takes its time, too.
    setattr(granian.wsgi, "os", SimpleNamespace(environ={}))
    master = Master(settings)
    master.serve(target_loader=master.load, wrap_loader=False)


if __name__ == "__main__":
    main()
