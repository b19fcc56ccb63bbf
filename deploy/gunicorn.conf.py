#!/usr/bin/env python3
"""The production server: gunicorn, sized to the machine that it finds.

    gunicorn -c deploy/gunicorn.conf.py app:app

from the folder of app.py, or `make serve`. It listens on HOST and PORT, as
Flask's own server does. Each name in small letters below is a setting of
gunicorn's; GUNICORN_CMD_ARGS overrides them, as in "--workers=3", or
"--access-logfile=/dev/null" where a proxy has a line for each request.

Every worker loads the app for itself (no preload_app), so that no connection,
lock or thread is shared by a fork. Each has a sender of mails: any number of
them can work on one outbox. A new version of the code needs a restart.
"""
from __future__ import annotations

import os
import signal
import threading
from datetime import timedelta
from typing import Any, Optional

from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from gunicorn.http.errors import (  # type: ignore[import-untyped]
    LimitRequestHeaders, LimitRequestLine, ParseException)
from gunicorn.workers.gthread import (  # type: ignore[import-untyped]
    ThreadWorker)

from cli import refusal, start_sender
from cores import count_cores
from credentials.tokens import masked
from deploy.master import prepare
from ending import SIGNALS, Ending
from logs import CONTROLS, configure
from mail.sender import Sender
from metrics import forget_worker
from routes.guards import headers_of
from settings import BadSettings, Settings

try:
    SETTINGS = Settings.from_env()
except BadSettings as error:
    raise SystemExit(refusal(error)) from error

REASONS = {400: "Bad Request", 414: "URI Too Long",
           431: "Request Header Fields Too Large",
           500: "Internal Server Error"}
SHARED_MEMORY = "/dev/shm"  # nosec B108 # of the system, and no name of ours


class Log(Logger):
    """The log of gunicorn, as lines of ours."""

    def setup(self, cfg: Any) -> None:
        """Hand everything to the root, which logs.py configures."""
        super().setup(cfg)
        for each in (self.error_log, self.access_log):
            for handler in list(each.handlers):
                each.removeHandler(handler)
                handler.close()
            each.propagate = True
        configure(SETTINGS.production)

    def access(self, resp: Any, req: Any, environ: Any,
               request_time: timedelta) -> None:
        """Log one line for a request, without query and tokens.

        What stands in a query has no place in a log (ASVS 14.2.1).
        """
        if self.cfg.accesslog != "-":
            return
        status = str(resp.status).partition(" ")[0]
        line = masked("{} {}".format(req.method, req.path)).translate(
            CONTROLS)
        self.access_log.info("%s %s", line, status, extra={"fields": {
            "milliseconds": round(request_time.total_seconds() * 1000),
            "request_id": dict(resp.headers).get("X-Request-ID", "")}})


class Body:
    """The body of a request; one that breaks off is an OSError.

    gunicorn has an exception of its own for a chunk that is none, which the
    service would take for a mistake of ours, and hands out a body that is
    shorter than it was declared: half a new password, say, as a whole one.
    """

    def __init__(self, body: Any, length: str) -> None:
        """Read from what gunicorn reads from; "" is no declared length."""
        self._body = body
        self._missing = int(length or 0)

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most so many; none at the end."""
        try:
            sent = bytes(self._body.read(size))
        except ParseException as error:
            raise OSError("the body is not valid HTTP") from error
        self._missing -= len(sent)
        if size and not sent and self._missing > 0:
            raise OSError("the body is shorter than it was declared")
        return sent


class Worker(ThreadWorker):
    """A process of threads that says in JSON what is not even HTTP."""

    # The word that it is to end, once there is a sender to hear it.
    ending: Optional[Ending] = None

    def handle_exit(self, sig: int, frame: Any) -> None:
        """End (SIGTERM): no new requests, and no new mails."""
        if self.ending:
            self.ending.tell()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """End just so on Ctrl+C, where gunicorn's own drops what it is at."""
        self.handle_exit(sig, frame)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Let nobody in any more once this worker ends, not even to wait.

        Newer gunicorns leave the door open until all are gone, and drop who
        is in the queue by then.
        """
        super().set_accept_enabled(enabled)
        if not self.alive:
            for each in self.sockets:
                each.close()

    def handle_error(self, req: Any, client: Any, addr: Any,
                     exc: Exception) -> None:
        """Refuse a request that could not be read, and hang up.

        Neither the answer nor the log repeats anything of it: gunicorn's own
        would quote a header with a session in it
        (docs/security.md#deployment).
        """
        theirs = isinstance(exc, (ParseException, OSError))
        status = {LimitRequestLine: 414, LimitRequestHeaders: 431}.get(
            type(exc), 400 if theirs else 500)
        if theirs:
            self.log.info("refused what is no HTTP: %s", type(exc).__name__)
        else:
            self.log.exception("a request failed outside of the service")
        try:
            client.sendall(answer(status))
        except OSError:
            self.log.debug("nobody waited for the refusal")


def answer(status: int) -> bytes:
    """Return the whole answer to what is no request, in the service's form."""
    body = '{{"message":"{}"}}\n'.format(
        "the request is not valid HTTP" if status < 500
        else "the service made a mistake; it is logged")
    headers = dict({
        "Connection": "close", "Content-Type": "application/json",
        "Content-Length": str(len(body))}, **headers_of(SETTINGS.production))
    lines = ["HTTP/1.1 {} {}".format(status, REASONS[status])] + [
        "{}: {}".format(*each) for each in headers.items()]
    return "\r\n".join(lines + ["", body]).encode("ascii")


def hold_signals() -> None:
    """Let the signals that end a process wait."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def hear_signals() -> None:
    """Let them come, also those that waited."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


# A worker that is told to end before it has handlers of its own would put the
# word where nobody reads it, and be waited for in vain, and killed.
os.register_at_fork(before=hold_signals, after_in_parent=hear_signals)


def on_starting(_server: Any) -> None:
    """Do once what need not be done by each worker."""
    prepare(SETTINGS)


def child_exit(_server: Any, worker: Worker) -> None:
    """Count what a worker was doing no more, once it is gone."""
    forget_worker(worker.pid)


def post_worker_init(worker: Worker) -> None:
    """Hear signals, serve by bodies of ours, and send mail until the end."""
    hear_signals()
    serve = worker.wsgi

    def wsgi(environ: Any, start_response: Any) -> Any:
        """Answer a request, whose body breaks off as anywhere else."""
        environ["wsgi.input"] = Body(
            environ["wsgi.input"], environ.get("CONTENT_LENGTH", ""))
        return serve(environ, start_response)
    worker.wsgi = wsgi
    sender = start_sender(serve.extensions["auth"])
    if sender:
        worker.ending = Ending()
        worker.goodbye = threading.Thread(
            target=say_goodbye, args=(worker.ending, sender), daemon=True)
        worker.goodbye.start()


def say_goodbye(ending: Ending, sender: Sender) -> None:
    """Finish at the word, and not after the last request."""
    ending.wait()
    sender.finish()


def worker_exit(_server: Any, worker: Worker) -> None:
    """Leave no mail claimed, however this worker came to its end."""
    if worker.ending:
        worker.ending.tell()
        worker.goodbye.join()


bind = "{}:{}".format("[{}]".format(SETTINGS.host) if ":" in SETTINGS.host
                      else SETTINGS.host, SETTINGS.port)
# A hash keeps one core busy and leaves the interpreter alone meanwhile; what
# else a request needs, it waits for. So a process for each core, and threads
# enough that a profile is looked up while every core computes hashes.
workers = SETTINGS.workers or count_cores()
threads = SETTINGS.threads
worker_class = Worker
# A worker whose main loop says nothing for so long hangs; requests do not
# count, as they are in other threads.
timeout = 30
# What was begun may take so long once SIGTERM came. Whoever stops the service
# has to be more patient: TimeoutStopSec=, stop_grace_period.
graceful_timeout = 30
# For clients that ask again at once; a proxy opens a new connection in time.
keepalive = 5
# Larger than any request of ours, cookies of neighbours included.
limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190
# gunicorn takes nobody's word for who asks and how: X-Forwarded-For is for
# TRUSTED_PROXIES, and nothing else is believed (docs/security.md#addresses).
forwarded_allow_ips = ""
# A door of gunicorn's for administration that nobody here needs.
control_socket_disable = True
# Signs of life go to memory: a full or slow disk is no reason to be killed.
worker_tmp_dir = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
logger_class = Log
accesslog = "-"
