#!/usr/bin/env python3
"""Several servers on one PostgreSQL, on hosts of their own.

The hosts are network namespaces with a link for visitors and one to the
database each, so that one can be cut off from it and go on being asked. Where
this machine makes none, they are two ports of it, and nobody is cut off.
"""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from functools import partial
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple, Type

import pytest

from tests.databases import Postgres, postgres_only
from tests.helpers import EMAIL, STRONG, Answer, Server, all_at_once
from tests.machine import wait_until
from tests.migrations.test_history import NEXT, migrate

pytestmark = postgres_only
WRONG = "tartiflette au gruyere"
# As deployed, but for mail, which is another file's subject; and after ten
# wrong passwords only a reset helps, however long these tests take.
FREE = 10
DEPLOYED = dict(
    LOGIN_FREE_FAILURES=str(FREE), LOGIN_MOST_FAILURES=str(FREE),
    AUTH_ENV="production", PUBLIC_URL="https://auth.example.com",
    LANDING_URL="/account", MAIL_FROM="auth@example.com", BCRYPT_COST="10",
    MAIL_URL="smtp://127.0.0.1:9", MAIL_IN_SERVER="0", REQUIRE_VERIFIED="0",
    HOST="0.0.0.0")


def ip(*words: str) -> None:
    """Run `ip`, which sets up networks."""
    subprocess.run(["ip"] + list(words), check=True)


def makes_hosts() -> bool:
    """Tell whether this machine makes network namespaces for us."""
    return os.getuid() == 0 and shutil.which("ip") is not None and \
        subprocess.run(["ip", "netns", "list"], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL).returncode == 0


class Host:
    """A network namespace, linked to this one twice."""

    def __init__(self, number: int) -> None:
        """Make the first or second host of this run."""
        self.name = "b{}h{}".format(os.getpid() % 100000, number)
        self.address = "10.98.{}.2".format(number)
        self.database = "10.99.{}.1".format(number)
        self._link = "{}d".format(self.name)
        ip("netns", "add", self.name)
        self._connect(self.name + "v", "10.98.{}".format(number))
        self._connect(self._link, "10.99.{}".format(number))
        ip("-n", self.name, "link", "set", "lo", "up")

    def _connect(self, link: str, net: str) -> None:
        """Lay a link to the host, with .1 at our end and .2 at its."""
        ip("link", "add", link, "type", "veth", "peer", "name", link + "x",
           "netns", self.name)
        ip("addr", "add", net + ".1/24", "dev", link)
        ip("link", "set", link, "up")
        ip("-n", self.name, "addr", "add", net + ".2/24", "dev", link + "x")
        ip("-n", self.name, "link", "set", link + "x", "up")

    def cut_off(self) -> None:
        """Let nothing pass between the host and the database."""
        ip("link", "set", self._link, "down")

    def connect(self) -> None:
        """Mend the link."""
        ip("link", "set", self._link, "up")

    def remove(self) -> None:
        """Take it down; its links go with it."""
        ip("netns", "del", self.name)


class Replica(Server):
    """A server in production, on one host of a fleet."""

    def ask(self, method: str, path: str, headers: Optional[
            Dict[str, str]] = None, **data: str) -> Answer:
        """Send a form to our host name and return the answer."""
        return super().ask(method, path, dict(
            {"Host": "auth.example.com"}, **(headers or {})), **data)

    def logs_in(self, password: str = STRONG, email: str = EMAIL) -> Answer:
        """Ask for a session with this password."""
        return self.ask("POST", "/sessions", email=email, password=password)


class Fleet(NamedTuple):
    """Two replicas and the database that they share, with its URL here."""

    one: Replica
    other: Replica
    database: Postgres
    url: str


@pytest.fixture(scope="module")
def hosts() -> Iterator[List[Host]]:
    """Two hosts, or none where this machine makes none."""
    made = [Host(1), Host(2)] if makes_hosts() else []
    yield made
    for each in made:
        each.remove()


@pytest.fixture(scope="module")
def database(hosts: List[Host]) -> Iterator[Postgres]:
    """A server of our own, which may be stopped; every host reaches it."""
    server = Postgres(["127.0.0.1"] + [each.database for each in hosts])
    yield server
    server.remove()


@pytest.fixture
def fleet(database: Postgres, hosts: List[Host],
          tmp_path: Path) -> Iterator[Fleet]:
    """Two replicas on a fresh database."""
    name = "fleet{}".format(time.monotonic_ns())
    url = database.create(name, template="ready")
    replicas = []
    for place in range(2):
        kind: Type[Replica] = Replica
        environ = dict(DEPLOYED, DATABASE_URL=url)
        if hosts:
            host = hosts[place]
            kind = type("Here", (Replica,), {
                "__doc__": "On that host.", "address": host.address,
                "within": ("ip", "netns", "exec", host.name)})
            environ["DATABASE_URL"] = url.replace("127.0.0.1", host.database)
        replicas.append(kind(tmp_path, **environ))
    yield Fleet(replicas[0], replicas[1], database, url)
    for each in replicas:
        each.stop()
        assert "Traceback" not in each.log()
    database.drop(name)


def signed_in(fleet: Fleet) -> Dict[str, str]:
    """Open an account and a session at one; return what presents it."""
    assert fleet.one.ask("POST", "/users", email=EMAIL,
                         password=STRONG).status == 200
    answer = fleet.one.logs_in()
    assert answer.status == 200
    cookies = [line.partition(";")[0]
               for line in answer.headers.get_all("Set-Cookie", [])]
    return {"Cookie": "; ".join(cookies)}


def assert_busy(answer: Answer) -> None:
    """Assert the answer of a service whose store cannot serve."""
    assert answer.status == 503, answer.body
    assert answer.headers["Retry-After"] == "1"
    assert json.loads(answer.body.decode()) == {
        "message": "the service is busy, try again in a moment"}


class TestReplicas:
    """What one knows, the other knows at once."""

    def test_session_of_one_is_good_at_the_other(self, fleet: Fleet) -> None:
        """No visitor has to come back to the same replica."""
        session = signed_in(fleet)
        assert fleet.other.ask("GET", "/profile", session).status == 200

    def test_sign_out_at_one_is_sign_out_at_the_other(
            self, fleet: Fleet) -> None:
        """On the very next request."""
        session = signed_in(fleet)
        for _ in range(3):
            assert fleet.other.ask("GET", "/profile", session).status == 200
        assert fleet.one.ask("DELETE", "/sessions", session).status == 302
        assert fleet.other.ask("GET", "/profile", session).status == 403

    def test_failures_at_both_count_together(self, fleet: Fleet) -> None:
        """Ten are free in all, not at each."""
        signed_in(fleet)
        statuses = [(fleet.one, fleet.other)[turn % 2].logs_in(WRONG).status
                    for turn in range(FREE + 1)]
        assert statuses == [401] * FREE + [429]

    def test_failures_at_once_count_together(self, fleet: Fleet) -> None:
        """Of forty at once, ten are tried, whoever hears them."""
        signed_in(fleet)
        answers = all_at_once([
            partial((fleet.one, fleet.other)[turn % 2].logs_in, WRONG)
            for turn in range(40)])
        statuses = [each.status for each in answers]
        assert 1 <= statuses.count(401) <= FREE
        assert set(statuses) <= {401, 429, 503}

    def test_known_device_of_one_is_known_to_the_other(
            self, fleet: Fleet) -> None:
        """The owner gets in on their own device, wherever it is sent to."""
        cookies = signed_in(fleet)
        for _ in range(FREE):
            fleet.one.logs_in(WRONG)
        assert fleet.other.logs_in().status == 429
        assert fleet.other.ask("POST", "/sessions", cookies, email=EMAIL,
                               password=STRONG).status == 200


class TestCutOff:
    """A host that does not reach the database any more."""

    @pytest.fixture(autouse=True)
    def needs_hosts(self, hosts: List[Host]) -> None:
        """There is nothing to cut between two ports."""
        if not hosts:
            pytest.skip("this machine makes no network namespaces")

    def test_says_so_and_serves_again_when_it_is_back(
            self, fleet: Fleet, hosts: List[Host]) -> None:
        """While the other serves on; and no session is lost by it."""
        session = signed_in(fleet)
        hosts[0].cut_off()
        try:
            for _ in range(3):
                assert_busy(fleet.one.ask("GET", "/profile", session))
                assert fleet.other.ask(
                    "GET", "/profile", session).status == 200
        finally:
            hosts[0].connect()
        wait_until(lambda: fleet.one.ask(
            "GET", "/profile", session).status == 200)

    def test_what_ended_meanwhile_has_ended_there_too(
            self, fleet: Fleet, hosts: List[Host]) -> None:
        """It kept nothing of its own to go by."""
        session = signed_in(fleet)
        assert fleet.one.ask("GET", "/profile", session).status == 200
        hosts[0].cut_off()
        try:
            assert fleet.other.ask(
                "DELETE", "/sessions", session).status == 302
        finally:
            hosts[0].connect()
        wait_until(lambda: fleet.one.ask(
            "GET", "/profile", session).status != 503)
        assert fleet.one.ask("GET", "/profile", session).status == 403


class Load(NamedTuple):
    """What visitors without pause were answered, with the seconds it took."""

    answers: List[Tuple[float, float, Answer]]


class Visitors:
    """Some who ask for their profile again and again, from threads."""

    def __init__(self, replicas: Tuple[Replica, ...],
                 session: Dict[str, str]) -> None:
        """Start four for each replica."""
        self._ended = threading.Event()
        self._session = session
        self._answers: List[Tuple[float, float, Answer]] = []
        self._threads = [threading.Thread(target=self._visit, args=(each,))
                         for each in replicas * 4]
        for each in self._threads:
            each.start()

    def _visit(self, replica: Replica) -> None:
        """Ask until told to go home; note when, and what came of it."""
        while not self._ended.is_set():
            began = time.monotonic()
            answer = replica.ask("GET", "/profile", self._session)
            self._answers.append((began, time.monotonic() - began, answer))
            time.sleep(0.02)

    def go_home(self) -> Load:
        """End, and return what happened."""
        self._ended.set()
        for each in self._threads:
            each.join()
        return Load(self._answers)


class TestRollingUpgrade:
    """The database first, then one replica after the other."""

    def test_replicas_of_before_serve_an_expanded_database(
            self, fleet: Fleet, tmp_path: Path) -> None:
        """Under load, and one that restarts meanwhile serves as well."""
        session = signed_in(fleet)
        visitors = Visitors((fleet.one, fleet.other), session)
        migrate(fleet.url, "1.999", NEXT)
        late = Replica(tmp_path, **dict(DEPLOYED, DATABASE_URL=fleet.url))
        try:
            assert late.ask("GET", "/profile", session).status == 200
            assert late.ask("POST", "/users", email="new@me.com",
                            password=STRONG).status == 200
        finally:
            late.stop()
        load = visitors.go_home()
        assert {each.status for _, _, each in load.answers} == {200}

    def test_none_of_before_starts_on_a_contracted_one(
            self, fleet: Fleet, tmp_path: Path) -> None:
        """It says which release is needed, and ends."""
        migrate(fleet.url, "2.0", NEXT)
        with pytest.raises(AssertionError, match="does not start") as caught:
            Replica(tmp_path, **dict(DEPLOYED, DATABASE_URL=fleet.url))
        assert "version 2.0" in str(caught.value)
        assert "newer" in str(caught.value)
