#!/usr/bin/env python3
"""The leak drill: it finds what is planted, and nothing of ours."""
from __future__ import annotations

import base64
from typing import Any, Callable, Dict, List

import pytest

from audit import Caller
from auth import Auth
from credentials import tokens
from db import DB
from models import Entry, Outgoing
from tests.helpers import EMAIL, STRONG, Mailbox, Visitor, cookies_of
from tests.test_audit import sizes
from user import User

OTHER = "eve@me.com"


class Secrets:
    """A secret of each kind, as its owner has it."""

    def __init__(self, member: Visitor, safe: Auth,
                 mailbox: Mailbox) -> None:
        """Sign in, and ask for whatever is mailed."""
        given = cookies_of(member.logs_in(EMAIL, STRONG))
        self.session = given["__Host-session_id"].partition(";")[0]
        self.device = given["__Host-device"].partition(";")[0]
        safe.register_user(OTHER, STRONG)
        safe.deliver_mail()
        self.verify = mailbox.token(OTHER)
        safe.request_reset(EMAIL)
        safe.deliver_mail()
        self.reset = mailbox.token(EMAIL)
        safe.request_reset(OTHER)  # which waits to be sent


@pytest.fixture
def held(member: Visitor, safe: Auth, mailbox: Mailbox) -> Secrets:
    """Every secret there is."""
    return Secrets(member, safe, mailbox)


@pytest.fixture
def drill(safe: Auth) -> Callable[[], List[str]]:
    """Do the drill, and return what it found."""
    return lambda: safe.admin.leak_drill(lambda _: None)


OPENS = {"session": "a session", "device": "a device",
         "verify": "a mailed link (verify)", "reset": "a mailed link (reset)"}
# How a careless programmer might have stored it.
DISGUISES: Dict[str, Callable[[str], str]] = {
    "as it is": str,
    "without dashes": lambda value: value.replace("-", ""),
    "in upper case": str.upper,
    "in a sentence": lambda value: "#" + value.replace("-", ""),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "hexadecimal": lambda value: value.encode().hex(),
    "turned round": lambda value: value[::-1],
    "with blanks": lambda value: "  {} ".format(value)}


class TestDrill:
    """Everything that is stored, tried as a credential."""

    def test_finds_nothing_of_ours(
            self, held: Secrets, drill: Callable[[], List[str]],
            db: DB) -> None:
        """With rows in every table."""
        assert all(sizes(db).values()), sizes(db)
        assert drill() == []

    @pytest.mark.parametrize("kind", OPENS)
    def test_finds_a_token_that_is_planted(
            self, held: Secrets, drill: Callable[[], List[str]], db: DB,
            kind: str) -> None:
        """Whatever it opens, and however it is written."""
        planted = [db.add(Entry(
            at=1, fact="x", network="", request_id="",
            detail=disguise(getattr(held, kind))))
            for disguise in DISGUISES.values()]
        assert drill() == ["audit.detail of row {} opens {}.".format(
            each.id, OPENS[kind]) for each in planted]

    @pytest.mark.parametrize("plant", [
        lambda db: db.change(User, {"id": 1}, reset_token=STRONG),
        lambda db: db.add(Outgoing(
            purpose="reset", user_id=1, email=EMAIL, queued_at=1, tries=0,
            detail=base64.b64encode(STRONG.encode()).decode()))],
        ids=["in a column", "in base64 elsewhere"])
    def test_finds_a_password_that_is_planted(
            self, held: Secrets, drill: Callable[[], List[str]], db: DB,
            plant: Callable[[DB], Any]) -> None:
        """Among what is stored of its user."""
        plant(db)
        found, = drill()
        assert found.endswith("opens an account, as its password.")

    def test_finds_a_table_of_tokens(
            self, held: Secrets, drill: Callable[[], List[str]], db: DB,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """The mistake of most: tokens looked up as they are stored."""
        monkeypatch.setattr(tokens, "digest", str)
        monkeypatch.setattr(tokens, "presented_digest", str)
        found = drill()
        assert len(found) > 5
        assert any("sessions.digest" in each for each in found)

    def test_says_no_secret(
            self, held: Secrets, drill: Callable[[], List[str]],
            db: DB) -> None:
        """The report is read by more people than the database."""
        db.add(Entry(at=1, fact="x", network="", request_id="",
                     detail=held.session))
        assert held.session not in repr(drill())

    def test_changes_nothing(
            self, held: Secrets, drill: Callable[[], List[str]], safe: Auth,
            db: DB) -> None:
        """A good token that it tries stays good."""
        db.add(Entry(at=1, fact="x", network="", request_id="",
                     detail=held.reset))
        before = sizes(db)
        drill()
        assert sizes(db) == before
        assert safe.acting_for(Caller()).reset_password(
            held.reset, "reblochon sans tartiflette").id == 1

    def test_tells_how_far_it_is(self, safe: Auth, held: Secrets) -> None:
        """Table by table, then user by user."""
        told: List[str] = []
        safe.admin.leak_drill(told.append)
        assert told == [
            "accounts", "attempts", "audit", "devices", "mail_tokens",
            "outbox", "sessions", "users", "passwords of user 1",
            "passwords of user 2"]
