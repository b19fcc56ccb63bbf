#!/usr/bin/env python3
"""Every policy decision of the service, in one frozen object.

A field is here because somebody may have a reason to change it, and that
reason stands above it. Whatever nobody should change (the length of a token,
the body limit) is a constant next to the code that needs it.
"""
from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Callable, List, Mapping, Optional

MINUTE, HOUR, DAY = 60, 3600, 86400
DEFAULT_DATABASE = "sqlite:///{}".format(
    Path(__file__).resolve().parent / "bienvenue.db")
NOT_YET = (
    "AUTH_ENV=production is not built in this release, and serving the "
    "development mode to other people is unsafe: leave AUTH_ENV unset and "
    "stay on this machine, or wait for the next release.")


class BadSettings(ValueError):
    """Raised at start when the environment cannot be served from.

    `problems` lists every complaint, each a sentence that says what to set,
    so that one start is enough to learn them all.
    """

    def __init__(self, problems: List[str]) -> None:
        """Keep the complaints and join them into one printable message."""
        super().__init__("\n".join(problems))
        self.problems = problems


def _environment(text: str) -> str:
    """Return the mode; anything but the two known words fails closed."""
    if text == "production":
        raise ValueError(NOT_YET)
    if text != "development":
        raise ValueError("AUTH_ENV is development or production, not {!r}."
                         .format(text))
    return text


def _database(text: str) -> str:
    """Return the URL of a SQLite file, the one store of this release.

    An in-memory database is refused: each connection would get its own.
    """
    if not re.match(r"sqlite:///(?!:memory:|file:)[^?]+\Z", text):
        # The URL itself is not repeated: it may hold a password.
        raise ValueError("DATABASE_URL names a SQLite file, "
                         "as in sqlite:////var/lib/bienvenue/bienvenue.db.")
    return text


def _whole(name: str, low: int, high: int) -> Callable[[str], int]:
    """Build a reader of whole numbers from low to high, both included."""
    def read(text: str) -> int:
        """Return the number, or complain in a sentence that names it."""
        if not re.match(r"[0-9]{1,9}\Z", text) \
                or not low <= int(text) <= high:
            raise ValueError("{} is a whole number from {} to {}, not {!r}."
                             .format(name, low, high, text))
        return int(text)
    return read


def _duration(name: str) -> Callable[[str], int]:
    """Build a reader of durations such as 90s, 15m, 1h or 30d."""
    units = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY}

    def read(text: str) -> int:
        """Return whole seconds, at least one."""
        match = re.match(r"([1-9][0-9]{0,8})([smhd])\Z", text)
        if match is None:
            raise ValueError("{} is a duration such as 90s, 15m, 1h or 30d, "
                             "not {!r}.".format(name, text))
        return int(match.group(1)) * units[match.group(2)]
    return read


def _from(name: str, default: Any, read: Callable[[str], Any] = str) -> Any:
    """Declare a field: its environment variable, default and reader."""
    return field(default=default, metadata={"name": name, "read": read})


@dataclass(frozen=True)
class Settings:
    """What a deployer decides; the defaults are the development mode.

    Durations are whole seconds here, and readable (1h, 30d) in the
    environment.
    """

    # The switch between the exercise's contract and a safe service.
    env: str = _from("AUTH_ENV", "development", _environment)
    # Where accounts live; a file beside app.py so that a restart loses none.
    database_url: str = _from("DATABASE_URL", DEFAULT_DATABASE, _database)
    # Loopback, because the development mode hands out reset tokens.
    host: str = _from("HOST", "127.0.0.1")
    # 5000 is where the exercise's tools look; macOS may hold it for AirPlay.
    port: int = _from("PORT", 5000, _whole("PORT", 1, 65535))
    # Each step doubles the cost of guessing and of signing in; 12 is about
    # 0.3 s on a 2026 core. OWASP's floor is 10; less is for tests only.
    bcrypt_cost: int = _from("BCRYPT_COST", 12, _whole("BCRYPT_COST", 4, 16))
    # A forgotten device signs itself out (ASVS 7.3.1).
    session_idle: int = _from(
        "SESSION_IDLE", 7 * DAY, _duration("SESSION_IDLE"))
    # Even a busy session ends, so a stolen one does (ASVS 7.3.2, NIST AAL1).
    session_absolute: int = _from(
        "SESSION_ABSOLUTE", 30 * DAY, _duration("SESSION_ABSOLUTE"))
    # Enough for every device of a person; more would be a thief's or a bug's.
    sessions_per_user: int = _from(
        "SESSIONS_PER_USER", 10, _whole("SESSIONS_PER_USER", 1, 1000))
    # Long enough to find the mail, short enough for a lost mailbox.
    reset_token_life: int = _from(
        "RESET_TOKEN_LIFE", HOUR, _duration("RESET_TOKEN_LIFE"))

    @classmethod
    def from_env(cls, environ: Optional[Mapping[str, str]] = None) -> Settings:
        """Read the environment; an empty variable counts as unset.

        Raises BadSettings with every complaint at once.
        """
        environ = os.environ if environ is None else environ
        values, problems = {}, []
        for each in fields(cls):
            text = environ.get(each.metadata["name"], "")
            try:
                if text:
                    values[each.name] = each.metadata["read"](text)
            except ValueError as problem:
                problems.append(str(problem))
        settings = cls(**values)
        if settings.session_idle > settings.session_absolute:
            problems.append("SESSION_IDLE is not longer than "
                            "SESSION_ABSOLUTE: lower the first.")
        if problems:
            raise BadSettings(problems)
        return settings
