#!/usr/bin/env python3
"""A terminal on the machine of the service, and people to administer."""
from __future__ import annotations

import inspect
import json
from typing import Any, Callable, Dict, List

import pytest
from click.testing import CliRunner, Result

from app import create_app
from auth import Auth
from credentials import passwords
from db import DB
from models import Account, Entry
from tests.helpers import EMAIL, STRONG, Clock

EVE = "eve@me.com"
# Before click 8.2 a runner mixes what is said with what was asked for.
APART: Dict[str, Any] = (
    {"mix_stderr": False} if "mix_stderr" in inspect.signature(
        CliRunner.__init__).parameters else {})


class Terminal:
    """Somebody who types `flask ...` where the service runs."""

    def __init__(self, service: Auth, db: DB) -> None:
        """Sit down in front of this service."""
        self._runner = create_app(service).test_cli_runner(**APART)
        self._db = db

    def types(self, *words: str, typed: Any = None) -> Result:
        """Run a command, answer its questions, and return what it did.

        A refusal is a sentence: an exception that leaves is a mistake.
        """
        result = self._runner.invoke(args=words, input=typed)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def reads(self, *words: str) -> Any:
        """Run a command with --json, and return what it says."""
        result = self.types(*words, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def facts(self) -> List[Any]:
        """Return what is recorded of this terminal, but for the times."""
        return [(each.fact, each.user_id, each.detail)
                for each in self._db.find_all(Entry, network="")
                if each.detail.endswith("by terminal")]


@pytest.fixture
def terminal(safe: Auth, db: DB) -> Terminal:
    """The terminal of a service in production."""
    return Terminal(safe, db)


@pytest.fixture
def desk(auth: Auth, db: DB) -> Terminal:
    """The terminal of a service in development."""
    return Terminal(auth, db)


@pytest.fixture
def join(db: DB, clock: Clock) -> Callable[..., int]:
    """Let somebody have an account, by default a verified one."""
    def add(email: str = EMAIL, **account: Any) -> int:
        """Return the number of the new user."""
        user = db.add_user(email, passwords.hash_password(STRONG, 4),
                           int(clock.now))
        db.change(Account, {"user_id": user.id},
                  **dict({"verified_at": int(clock.now)}, **account))
        return user.id
    return add


@pytest.fixture
def bob(join: Callable[..., int]) -> int:
    """The number of a user."""
    return join(EMAIL)


@pytest.fixture
def eve(join: Callable[..., int]) -> int:
    """The number of a user who looks on."""
    return join(EVE)
