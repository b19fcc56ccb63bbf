#!/usr/bin/env python3
"""Health and metrics over HTTP: what is said, to whom, and how soon."""
from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app import create_app
from auth import Auth
from db import DB
from errors import UnknownHost
from health import Health, checks_of
from settings import Settings
from tests.databases import run, sqlite_only
from tests.helpers import Clock, Server, Visitor, all_at_once, assert_error

KEY = "k" * 32
BEARER = {"Authorization": "Bearer " + KEY}
STRANGER, NEIGHBOUR = "198.51.100.7", "10.1.2.3"
NO_ROUTE = ("The requested URL was not found on the server. If you entered "
            "the URL manually please check your spelling and try again.")
# A request that was passed on says so in one of these.
PASSED_ON = ["Forwarded", "Via", "X-Real-IP", "X-Forwarded-For",
             "X-Forwarded-Proto", "X-Forwarded-Host"]


@pytest.fixture
def lock(db: DB, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody who writes to the file and does not come to an end."""
    db.check()
    with closing(sqlite3.connect(str(tmp_path / "test.db"))) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        yield other
    # Whoever waited for the lock has it now, and gives its connection back.
    for thread in threading.enumerate():
        if thread.name == "inquiry":
            thread.join(60)


@pytest.fixture
def sick(db: DB, settings: Settings, clock: Clock) -> Callable[..., Visitor]:
    """Somebody who visits a service with other checks of its health."""
    def arrive(**checks: Any) -> Visitor:
        """Return a visitor of the same store, checked like this."""
        service = Auth(db, settings, clock, health=Health(checks))
        return Visitor(create_app(service).test_client())
    return arrive


@pytest.fixture
def visit(visit: Callable[..., Visitor]) -> Callable[..., Visitor]:
    """Somebody who visits production, and whose app stays until the end.

    Old Flask cannot read an answer in JSON once its app is gone.
    """
    kept = []

    def arrive(*address: str, **changes: Any) -> Visitor:
        """Return a visitor under other settings."""
        kept.append(visit(*address, **changes))
        return kept[-1]
    return arrive


def assert_no_route(answer: Any) -> None:
    """Assert the answer of what is no route at all."""
    assert_error(answer, 404, NO_ROUTE)


class TestHealthz:
    """Whether the process is alive."""

    def test_says_so(self, visitor: Visitor) -> None:
        """With the headers that no answer goes without."""
        answer = visitor.asks("GET", "/healthz")
        assert (answer.status_code, answer.get_json()) == (
            200, {"message": "alive"})
        assert answer.headers["Cache-Control"] == "no-store"

    def test_touches_no_database(self, clock: Clock, tmp_path: Path) -> None:
        """One in a folder that is not there is none of its business."""
        url = "sqlite:///{}".format(tmp_path / "no" / "x.db")
        with closing(DB(url)) as db:
            visitor = Visitor(create_app(Auth(
                db, Settings(database_url=url), clock)).test_client())
            assert visitor.asks("GET", "/healthz").status_code == 200
            assert visitor.asks("GET", "/readyz").status_code == 503
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("host", [
        "localhost", "localhost:5000", "127.0.0.1:5000", "10.1.2.3:5000",
        "[fd00::1]:5000", "LOCALHOST", "auth.example.com"])
    def test_host_of_a_health_check(
            self, visit: Callable[..., Visitor], host: str) -> None:
        """A container is asked by number, in production as well."""
        for path in ("/healthz", "/readyz"):
            answer = visit(NEIGHBOUR).asks("GET", path, {"Host": host})
            assert answer.status_code == 200, path

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
    @pytest.mark.parametrize("host", [
        "evil.example", "localhost.evil.example", "10.1.2.3.evil.example",
        "10.1.2", "1234567890", "x10.1.2.3"])
    def test_host_of_somebody_else(
            self, visit: Callable[..., Visitor], host: str,
            path: str) -> None:
        """A name is a name, whoever points it at us (DNS rebinding)."""
        answer = visit(NEIGHBOUR, metrics_token=KEY).asks(
            "GET", path, dict(BEARER, Host=host))
        assert_error(answer, 400, UnknownHost.default)

    @pytest.mark.parametrize("path", ["/", "/profile", "/nowhere"])
    def test_other_routes_are_not_called_by_number(
            self, visit: Callable[..., Visitor], path: str) -> None:
        """Only health checks have a reason to."""
        answer = visit(NEIGHBOUR).asks("GET", path, {"Host": "10.1.2.3"})
        assert_error(answer, 400, UnknownHost.default)

    def test_development_answers_this_machine_only(
            self, new_visitor: Callable[[], Visitor]) -> None:
        """The guard of that mode knows no exception."""
        answer = new_visitor().asks("GET", "/healthz", {"Host": "10.1.2.3"})
        assert answer.status_code == 403


class TestReadyz:
    """Whether requests can be served."""

    def test_ready(self, visitor: Visitor) -> None:
        """From the first moment, on a file that is still to be made."""
        answer = visitor.asks("GET", "/readyz")
        assert (answer.status_code, answer.get_json()) == (
            200, {"message": "ready"})

    @sqlite_only
    def test_locked_database(
            self, visitor: Visitor, lock: sqlite3.Connection) -> None:
        """Long before a writer would give up, and alive all the while."""
        began = time.monotonic()
        answer = visitor.asks("GET", "/readyz")
        assert time.monotonic() - began < 2
        assert_error(answer, 503, "not ready: database")
        assert answer.headers["Retry-After"] == "1"
        assert visitor.asks("GET", "/healthz").status_code == 200

    def test_ready_again_once_it_is_not_locked(
            self, visitor: Visitor, lock: sqlite3.Connection) -> None:
        """On the first request after."""
        visitor.asks("GET", "/readyz")
        lock.execute("ROLLBACK")
        assert visitor.asks("GET", "/readyz").status_code == 200

    @sqlite_only
    def test_missing_database(self, visitor: Visitor, tmp_path: Path) -> None:
        """What is written then would be lost."""
        visitor.registers()
        os.rename(str(tmp_path / "test.db"), str(tmp_path / "away.db"))
        assert_error(visitor.asks("GET", "/readyz"), 503,
                     "not ready: database")
        os.rename(str(tmp_path / "away.db"), str(tmp_path / "test.db"))
        assert visitor.asks("GET", "/readyz").status_code == 200

    def test_unknown_schema(
            self, visitor: Visitor, settings: Settings) -> None:
        """The database is there, and it is not ours."""
        visitor.registers()
        run(settings.database_url, "DROP TABLE attempts")
        assert_error(visitor.asks("GET", "/readyz"), 503, "not ready: schema")

    @sqlite_only
    def test_full_disk(self, sick: Callable[..., Visitor], db: DB,
                       settings: Settings) -> None:
        """Here because more has to be free than any disk has."""
        visitor = sick(**checks_of(db, settings, least_free=2 ** 62))
        assert_error(visitor.asks("GET", "/readyz"), 503, "not ready: disk")

    def test_database_that_hangs(self, sick: Callable[..., Visitor]) -> None:
        """It neither answers nor fails; many ask, and all hear in time."""
        end, hanging = threading.Event(), []

        def hang() -> None:
            """Wait for the end of the test."""
            hanging.append(threading.current_thread())
            end.wait(60)
        visitor = sick(disk=int, database=hang)

        def ask() -> Any:
            """Ask once, and return what is said."""
            answer = visitor.asks("GET", "/readyz")
            return answer.status_code, answer.get_json()["message"]
        try:
            began = time.monotonic()
            assert set(all_at_once([ask] * 20)) == {
                (503, "not ready: database")}
            assert time.monotonic() - began < 5
            assert len(hanging) == 1
            assert visitor.asks("GET", "/healthz").status_code == 200
        finally:
            end.set()

    @sqlite_only
    def test_cause_is_for_the_log(
            self, visitor: Visitor, lock: sqlite3.Connection,
            caplog: pytest.LogCaptureFixture) -> None:
        """Whoever runs the service finds it there."""
        visitor.asks("GET", "/readyz", {"X-Request-ID": "probe-1"})
        assert "not_ready in request probe-1: no answer within 1 s" \
            in caplog.text

    @pytest.mark.parametrize("address", [
        "127.0.0.1", "127.8.9.10", "10.1.2.3", "172.16.0.1",
        "172.31.255.254", "192.168.1.1", "169.254.1.1", "::1", "fd00::1",
        "fe80::1", "::ffff:10.1.2.3"])
    def test_neighbours_are_told(
            self, visit: Callable[..., Visitor], address: str) -> None:
        """Loopback and private addresses, also IPv4 inside IPv6."""
        assert visit(address).asks("GET", "/readyz").status_code == 200

    @pytest.mark.parametrize("address", [
        "8.8.8.8", "172.15.0.1", "172.32.0.1", "192.169.0.1", "11.0.0.1",
        "203.0.113.7", "2001:db8::1", "::ffff:8.8.8.8", "::", "0.0.0.0",
        "", "unix:", "10.1.2.3.4"])
    def test_strangers_find_no_route(
            self, visit: Callable[..., Visitor], address: str) -> None:
        """Neither does whoever has no address, as on a socket file."""
        stranger = visit(address)
        assert_no_route(stranger.asks("GET", "/readyz"))
        assert_no_route(stranger.asks("GET", "/nowhere"))

    @pytest.mark.parametrize("header", PASSED_ON)
    def test_visitors_of_a_proxy_are_strangers(
            self, visit: Callable[..., Visitor], header: str) -> None:
        """Behind one on this machine all of them look like it."""
        for hops in (0, 1):
            answer = visit("127.0.0.1", trusted_proxies=hops).asks(
                "GET", "/readyz", {header: "127.0.0.1"})
            assert_no_route(answer)

    def test_key_is_as_good_from_anywhere(
            self, visit: Callable[..., Visitor]) -> None:
        """For health checks that are no neighbours, or pass a proxy."""
        answer = visit(STRANGER, metrics_token=KEY).asks(
            "GET", "/readyz", dict(BEARER, Via="1.1 proxy"))
        assert answer.status_code == 200

    def test_strangers_cost_no_check(
            self, visit: Callable[..., Visitor],
            monkeypatch: pytest.MonkeyPatch) -> None:
        """They are sent away before anything is asked."""
        monkeypatch.setattr(Auth, "check_ready", lambda self: 1 / 0)
        assert_no_route(visit(STRANGER).asks("GET", "/readyz"))


class TestMetrics:
    """Who may read the numbers."""

    @pytest.mark.parametrize("headers", [
        {}, {"Authorization": "Bearer"}, {"Authorization": "Bearer "},
        BEARER])
    def test_off_by_default(
            self, visit: Callable[..., Visitor], headers: Any) -> None:
        """Where there is no key, none fits, not even an empty one."""
        assert_no_route(visit(NEIGHBOUR).asks("GET", "/metrics", headers))

    @pytest.mark.parametrize("authorization", [
        None, "", "Bearer", "Bearer ", "Bearer " + KEY[:-1],
        "Bearer " + KEY + "k", "Bearer " + KEY.upper(), "Basic " + KEY, KEY,
        "Bearer k\u00e9" + KEY])
    def test_no_route_without_the_key(
            self, visit: Callable[..., Visitor],
            authorization: Optional[str]) -> None:
        """Not for neighbours, and not in any other spelling."""
        headers = {"Authorization": authorization} if authorization else {}
        for address in (NEIGHBOUR, STRANGER):
            assert_no_route(visit(address, metrics_token=KEY).asks(
                "GET", "/metrics", headers))

    def test_key_is_no_cookie(self, visit: Callable[..., Visitor]) -> None:
        """Browsers send cookies by themselves."""
        answer = visit(NEIGHBOUR, metrics_token=KEY).asks(
            "GET", "/metrics", {"Cookie": "__Host-session_id=" + KEY})
        assert_no_route(answer)

    def test_text_for_whoever_bears_the_key(
            self, visit: Callable[..., Visitor]) -> None:
        """Prometheus can read it, through a proxy as well."""
        answer = visit(STRANGER, metrics_token=KEY).asks(
            "GET", "/metrics", dict(BEARER, Via="1.1 proxy"))
        assert answer.status_code == 200
        assert answer.mimetype == "text/plain"
        assert "version=" in answer.headers["Content-Type"]
        assert list(text_string_to_metric_families(
            answer.get_data(as_text=True)))

    def test_key_opens_no_session(
            self, visit: Callable[..., Visitor]) -> None:
        """And is never looked up as one."""
        guest = visit(STRANGER, metrics_token=KEY)
        answer = guest.asks("GET", "/profile", BEARER)
        assert_error(answer, 403, "not signed in")


@sqlite_only
def test_real_server_is_alive_and_not_ready(tmp_path: Path) -> None:
    """The database of a running server goes, and comes back."""
    server = Server(tmp_path)
    try:
        assert server.ask("GET", "/readyz").status == 200
        os.rename(str(tmp_path / "server.db"), str(tmp_path / "away.db"))
        assert [server.ask("GET", path).status
                for path in ("/healthz", "/readyz")] == [200, 503]
        os.rename(str(tmp_path / "away.db"), str(tmp_path / "server.db"))
        assert server.ask("GET", "/readyz").status == 200
    finally:
        server.stop()
