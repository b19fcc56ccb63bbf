#!/usr/bin/env python3
"""Fixtures that speak the domain: a clock, a service, visitors, a server."""
from __future__ import annotations

import dataclasses
import gc
import io
import logging
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, List

import hypothesis
import pytest
from flask.testing import FlaskClient
from hypothesis import strategies as st
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from app import create_app
from auth import Auth
from db import DB
from logs import JsonLines
from settings import Settings
from tests.databases import fresh_url, put_tables_in
from tests.described import complaints
from tests.helpers import (
    EMAIL, ORIGIN, PRODUCTION, STRONG, Clock, Mailbox, Server, Visitor)

# Every test, also those that are not asked for.
COLLECTED = pytest.StashKey[List[pytest.Item]]()
# The same examples in every run: a failure is the change's, not the day's.
hypothesis.settings.register_profile(
    "steady", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("steady")
# A thousand applications are made here, and none is asked for the URL of a
# route: to compile how they are written is nearly all that each would cost.
setattr(Rule, "_compile_builder", lambda *_: lambda *_: None)
# What is imported and collected stays until the end; nobody has to search for
# garbage in it, now or later.
gc.disable()


def pytest_collection_finish() -> None:
    """Search for garbage in what comes from now on."""
    # Old versions of Hypothesis look for who holds on to their source of
    # chance, at the first test, and would find nobody after this.
    hypothesis.given(st.none())(lambda _: None)()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(
        config: pytest.Config, items: List[pytest.Item]) -> None:
    """Have reports tell what a test promises, or breaks (make proof)."""
    config.stash[COLLECTED] = list(items)
    for item in items:
        for name in ("promise", "broken"):
            for mark in item.iter_markers(name):
                item.user_properties.append((name, mark.args[0]))


@pytest.fixture
def figure(record_property: Callable[[str, object], None]
           ) -> Callable[[str], None]:
    """Tell docs/proof.md what was found."""
    return partial(record_property, "figure")


@pytest.fixture(autouse=True)
def described(request: pytest.FixtureRequest,
              monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer of every test is one that GET /openapi.json describes.

    But where a test has a verb raise what it never would (`made_up`).
    """
    ask = FlaskClient.open

    def ask_and_compare(client: FlaskClient, *args: Any,
                        **options: Any) -> TestResponse:
        """Ask as a test does, and fail it if the answer is no such one."""
        answer = ask(client, *args, **options)
        assert not complaints(client.application, answer)
        return answer
    if request.node.get_closest_marker("made_up") is None:
        monkeypatch.setattr(FlaskClient, "open", ask_and_compare)


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until it is moved."""
    return Clock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The development mode on a fresh database, with cheap hashes."""
    return Settings(database_url=fresh_url(tmp_path), bcrypt_cost=4)


@pytest.fixture
def db(settings: Settings) -> Iterator[DB]:
    """A store on a fresh database."""
    put_tables_in(settings.database_url)
    # As many threads as a test may ask for, each with a connection.
    store = DB(settings.database_url, threads=200)
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


# -- The production mode

@pytest.fixture
def safe_settings(settings: Settings) -> Settings:
    """The production mode on the same file, with cheap hashes."""
    changes: Any = PRODUCTION
    return dataclasses.replace(settings, **changes)


@pytest.fixture
def mailbox() -> Mailbox:
    """Where all mails of the production mode arrive."""
    return Mailbox()


@pytest.fixture
def safe(db: DB, safe_settings: Settings, clock: Clock,
         mailbox: Mailbox) -> Auth:
    """The service in production, by the same clock."""
    return Auth(db, safe_settings, clock, mailbox)


@pytest.fixture
def new_guest(safe: Auth) -> Callable[..., Visitor]:
    """Somebody who visits the production mode, from an address if given."""
    application = create_app(safe)
    return lambda address="203.0.113.7": Visitor(
        application.test_client(), ORIGIN, address)


@pytest.fixture
def guest(new_guest: Callable[..., Visitor]) -> Visitor:
    """Somebody who visits the production mode."""
    return new_guest()


@pytest.fixture
def visit(db: DB, safe_settings: Settings, clock: Clock,
          mailbox: Mailbox) -> Callable[..., Visitor]:
    """Somebody who visits the production mode under other settings."""
    def arrive(address: str = "203.0.113.7", **changes: Any) -> Visitor:
        """Return a visitor of the same store, with these changes."""
        service = Auth(db, dataclasses.replace(safe_settings, **changes),
                       clock, mailbox)
        return Visitor(create_app(service).test_client(), ORIGIN, address)
    return arrive


@pytest.fixture
def json_log() -> Iterator[io.StringIO]:
    """The log as production writes it."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    logging.root.addHandler(handler)
    yield written
    logging.root.removeHandler(handler)


@pytest.fixture
def member(guest: Visitor, safe: Auth, mailbox: Mailbox) -> Visitor:
    """A guest with a verified account, not signed in, on a known device."""
    guest.registers(EMAIL, STRONG)
    safe.deliver_mail()
    guest.asks("PUT", "/verify_email", token=mailbox.token(EMAIL))
    return guest


# -- Real servers

@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start real servers, all on one database; they end with the test.

    Their logs must hold neither a traceback nor a warning of Python.
    """
    servers = []

    def start(**environ: str) -> Server:
        """Start one more and return it once it answers."""
        server = Server(tmp_path, **environ)
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
