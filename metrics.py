#!/usr/bin/env python3
"""What is measured, for Prometheus; docs/metrics.md lists all of it.

Labels hold words of the code only: a route as it is declared, a fact, the
name of a lane. Never what a visitor sent, which has no end and may be a
secret (docs/security.md#metrics).
"""
from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

from errors import Unavailable
from settings import Settings

# The library's own variable: where the processes of one server add up.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
# From a look-up to a sign-in that waits for its turn, in seconds.
BUCKETS = (.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
# What each fact says of a sign-in, with its detail.
OUTCOMES: Dict[Tuple[str, str], str] = {
    ("session.opened", ""): "opened",
    ("login.refused", ""): "refused",
    ("login.refused", "not verified"): "unverified"}
# What is read at the moment of asking, by Auth.
GAUGES: Dict[str, str] = {
    "auth_sessions": "Live sessions.",
    "auth_outbox_mails": "Mails that wait to be sent.",
    "auth_outbox_oldest_seconds": "How long the oldest of them has waited.",
    "auth_outbox_given_up": "Mails that nobody took for a day, kept for "
                            "`flask mail retry`."}


class Metrics:
    """Counts and times of this process, and of its siblings if it has any.

    Where PROMETHEUS_MULTIPROC_DIR names a folder, each process keeps its
    numbers in files there, and whichever is asked adds up all of them.
    Building one touches no file. A number that cannot be kept is lost, and
    nothing else: who is served does not depend on it.
    """

    def __init__(self, settings: Settings) -> None:
        """Start at nothing, or where the files of this process stand."""
        library = _library()
        self._library, self._folder = library, settings.metrics_folder
        self._registry = library.CollectorRegistry()
        self.content_type: str = library.CONTENT_TYPE_LATEST
        own = {"registry": self._registry}
        self._requests = library.Histogram(
            "auth_http_request_duration_seconds",
            "How long requests took until the answer was ready.",
            ("route", "method", "status"), buckets=BUCKETS, **own)
        self._logins = library.Counter(
            "auth_logins", "Sign-ins, by what became of them.",
            ("outcome",), **own)
        self._facts = library.Counter(
            "auth_facts", "Facts of the audit trail, by name.",
            ("fact",), **own)
        self._throttled = library.Counter(
            "auth_throttled", "Tries that were refused as too many, by lane.",
            ("lane",), **own)
        self._hashes = library.Gauge(
            "auth_hashes", "Password hashes, by how far they are.",
            ("state",), multiprocess_mode="livesum", **own)
        self._shed = library.Counter(
            "auth_hashes_shed", "Tries that were sent away before they were "
            "hashed, as too many waited.", ("claim",), **own)

    def answered(self, route: str, method: str, status: int,
                 seconds: float) -> None:
        """Note a request: its route as declared, and how long it took."""
        with suppress(OSError):
            self._requests.labels(route, method, str(status)).observe(seconds)

    def happened(self, fact: str, detail: str) -> None:
        """Note a fact of the audit trail."""
        with suppress(OSError):
            self._facts.labels(fact).inc()
            if (fact, detail) in OUTCOMES:
                self._logins.labels(OUTCOMES[fact, detail]).inc()

    def throttled(self, lane: str) -> None:
        """Note that a lane of this name refused a try."""
        with suppress(OSError):
            self._throttled.labels(lane).inc()
            if lane.startswith("login:"):
                self._logins.labels("throttled").inc()

    def hashes_are(self, waiting: int, in_use: int) -> None:
        """Note how many passwords wait to be hashed, and how many are."""
        with suppress(OSError):
            self._hashes.labels("waiting").set(waiting)
            self._hashes.labels("in_use").set(in_use)

    def shed(self, known: bool) -> None:
        """Note that somebody was sent away, as the line was full."""
        with suppress(OSError):
            self._shed.labels("known" if known else "stranger").inc()

    def text(self, gauges: Mapping[str, float]) -> bytes:
        """Return everything in the text format, and these gauges with it.

        Those that could not be read are left out. Raises Unavailable if the
        files cannot be read; one may be half made at this very moment.
        """
        source: Any = self._registry
        try:
            if self._folder:
                source = self._library.CollectorRegistry()
                self._library.multiprocess.MultiProcessCollector(
                    source, self._folder)
            families = [self._library.core.GaugeMetricFamily(
                name, GAUGES[name], value) for name, value in gauges.items()]
            return bytes(self._library.generate_latest(source)
                         + self._library.generate_latest(_Read(families)))
        except Exception as error:
            raise Unavailable() from error


class NoMetrics(Metrics):
    """Nobody asks, so nothing is counted and the library is not loaded."""

    content_type = "text/plain"

    def __init__(self) -> None:
        """Have nothing to count with."""

    def answered(self, route: str, method: str, status: int,
                 seconds: float) -> None:
        """Forget the request."""

    def happened(self, fact: str, detail: str) -> None:
        """Forget the fact."""

    def throttled(self, lane: str) -> None:
        """Forget the refusal."""

    def hashes_are(self, waiting: int, in_use: int) -> None:
        """Forget the line."""

    def shed(self, known: bool) -> None:
        """Forget who was sent away."""

    def text(self, gauges: Mapping[str, float]) -> bytes:
        """Return nothing, as nothing was counted."""
        return b""


NO_METRICS = NoMetrics()


class _Read:
    """Gauges that were just read, in the shape that the library collects.

    Its own Gauge would keep them in a file, once for each process.
    """

    def __init__(self, families: List[Any]) -> None:
        """Hold these, each a family of one."""
        self._families = families

    def collect(self) -> List[Any]:
        """Return them to the library."""
        return self._families


def metrics_for(settings: Settings) -> Metrics:
    """Return what counts, if somebody is allowed to ask."""
    return Metrics(settings) if settings.metrics_token else NO_METRICS


def start_over() -> None:
    """Empty the folder of a server whose first worker is still to start.

    For the first process of a server (docs/metrics.md).
    """
    folder = os.environ.get(FOLDER)
    for path in Path(folder).glob("*.db") if folder else ():
        path.unlink()


def forget_worker(pid: int) -> None:
    """Take what a dead process was doing out of the sums.

    For the first process of a server (docs/metrics.md). What it counted
    stays counted.
    """
    if os.environ.get(FOLDER):
        _library().multiprocess.mark_process_dead(pid)


def _library() -> Any:
    """Return prometheus_client, loaded only now, as most never need it.

    It looks at its variable while it is loaded, and would take an empty one
    for the working folder; here, as everywhere, that is an unset one.
    """
    if not os.environ.get(FOLDER):
        os.environ.pop(FOLDER, None)
    import prometheus_client.core
    import prometheus_client.multiprocess
    return prometheus_client
