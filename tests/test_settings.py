#!/usr/bin/env python3
"""Settings: read from the environment, refused all at once."""
from __future__ import annotations

import dataclasses
from typing import Any, Dict

import pytest

from settings import DAY, HOUR, BadSettings, Settings


def problems_of(**environ: str) -> str:
    """Return the complaints about an environment, "" if there are none."""
    try:
        Settings.from_env(environ)
    except BadSettings as error:
        assert str(error) == "\n".join(error.problems)
        return str(error)
    return ""


class TestFromEnv:
    """What an environment becomes."""

    def test_nothing_set_is_the_default(self) -> None:
        """The development mode needs no setting."""
        assert Settings.from_env({}) == Settings()

    def test_empty_counts_as_unset(self) -> None:
        """As in a copied .env.example."""
        assert Settings.from_env({"PORT": "", "AUTH_ENV": ""}) == Settings()

    def test_default_database_is_beside_app(self) -> None:
        """Wherever the service is started from."""
        assert Settings().database_url.startswith("sqlite:////")
        assert Settings().database_url.endswith("/bienvenue.db")

    @pytest.mark.parametrize("name, text, field, value", [
        ("AUTH_ENV", "development", "env", "development"),
        ("DATABASE_URL", "sqlite:////tmp/a.db", "database_url",
         "sqlite:////tmp/a.db"),
        ("DATABASE_URL", "sqlite:///a.db", "database_url", "sqlite:///a.db"),
        ("HOST", "::1", "host", "::1"),
        ("PORT", "8080", "port", 8080),
        ("BCRYPT_COST", "4", "bcrypt_cost", 4),
        ("BCRYPT_COST", "16", "bcrypt_cost", 16),
        ("SESSION_IDLE", "90s", "session_idle", 90),
        ("SESSION_IDLE", "15m", "session_idle", 900),
        ("SESSION_ABSOLUTE", "60d", "session_absolute", 60 * DAY),
        ("RESET_TOKEN_LIFE", "2h", "reset_token_life", 2 * HOUR)])
    def test_reads(self, name: str, text: str, field: str,
                   value: Any) -> None:
        """Each variable sets its own field."""
        assert Settings.from_env({name: text}) \
            == dataclasses.replace(Settings(), **{field: value})

    @pytest.mark.parametrize("environ", [
        {"AUTH_ENV": "prod"}, {"AUTH_ENV": "Development"},
        {"DATABASE_URL": "sqlite://"}, {"DATABASE_URL": "sqlite:///"},
        {"DATABASE_URL": "sqlite:///:memory:"},
        {"DATABASE_URL": "sqlite:///file:x?mode=memory"},
        {"DATABASE_URL": "sqlite:///a.db?mode=memory&uri=true"},
        {"DATABASE_URL": "postgresql://u:secret@db/x"},
        {"PORT": "0"}, {"PORT": "65536"}, {"PORT": "x"}, {"PORT": "5000\n"},
        {"PORT": "\u0665\u0660\u0660\u0660"}, {"PORT": "-1"},
        {"BCRYPT_COST": "3"}, {"BCRYPT_COST": "17"},
        {"SESSION_IDLE": "0d"}, {"SESSION_IDLE": "7"},
        {"SESSION_ABSOLUTE": "1w"}, {"RESET_TOKEN_LIFE": "1.5h"},
        {"RESET_TOKEN_LIFE": "-1h"}], ids=str)
    def test_refuses(self, environ: Dict[str, str]) -> None:
        """With one complaint that names the variable."""
        name, = environ
        assert problems_of(**environ).startswith(name)
        assert "\n" not in problems_of(**environ)

    def test_production_is_refused_in_one_sentence(self) -> None:
        """It fails closed until it is built."""
        complaint = problems_of(AUTH_ENV="production")
        assert complaint.startswith("AUTH_ENV=production is not built")
        assert "\n" not in complaint

    def test_every_complaint_at_once(self) -> None:
        """One start tells all."""
        complaint = problems_of(AUTH_ENV="x", PORT="x", SESSION_IDLE="x")
        assert [line.split()[0] for line in complaint.splitlines()] \
            == ["AUTH_ENV", "PORT", "SESSION_IDLE"]

    def test_idle_is_not_longer_than_absolute(self) -> None:
        """It could never happen otherwise."""
        assert problems_of(SESSION_IDLE="31d").startswith("SESSION_IDLE")
        assert not problems_of(SESSION_IDLE="30d")

    def test_a_password_in_a_url_is_not_repeated(self) -> None:
        """Complaints end up in logs."""
        assert "secret" not in problems_of(
            DATABASE_URL="postgresql://u:secret@db/x")


class TestSettings:
    """The object itself."""

    def test_is_frozen(self) -> None:
        """Nobody changes policy while it is served."""
        settings: Any = Settings()
        with pytest.raises(dataclasses.FrozenInstanceError):
            settings.bcrypt_cost = 4
