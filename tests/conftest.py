#!/usr/bin/env python3
"""Fixtures that speak the domain: a clock, a service, visitors, a server."""
from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator

import hypothesis
import pytest

from app import create_app
from auth import Auth
from db import DB
from settings import Settings
from tests.helpers import Clock, Server, Visitor

# The same examples in every run: a failure is the change's, not the day's.
hypothesis.settings.register_profile(
    "steady", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("steady")


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until it is moved."""
    return Clock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The development mode on a fresh file, with cheap hashes."""
    return Settings(database_url="sqlite:///{}".format(tmp_path / "test.db"),
                    bcrypt_cost=4)


@pytest.fixture
def db(settings: Settings) -> Iterator[DB]:
    """A store on a fresh file."""
    store = DB(settings.database_url)
    yield store
    store.close()


@pytest.fixture
def auth(db: DB, settings: Settings, clock: Clock) -> Auth:
    """The service on that store, by that clock."""
    return Auth(db, settings, clock)


@pytest.fixture
def new_visitor(auth: Auth) -> Callable[[], Visitor]:
    """Somebody with a browser of their own, any number of them."""
    application = create_app(auth)
    return lambda: Visitor(application.test_client())


@pytest.fixture
def visitor(new_visitor: Callable[[], Visitor]) -> Visitor:
    """Somebody with a browser."""
    return new_visitor()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[[], Server]]:
    """Start real servers, all on one database; they end with the test.

    Their logs must hold neither a traceback nor a warning of Python.
    """
    servers = []

    def start() -> Server:
        """Start one more and return it once it answers."""
        server = Server(tmp_path)
        servers.append(server)
        return server
    yield start
    for server in servers:
        server.stop()
    for server in servers:
        assert "Traceback" not in server.log()
        assert "Warning:" not in server.log()


@pytest.fixture
def server(start_server: Callable[[], Server]) -> Server:
    """One real server on a fresh database."""
    return start_server()
