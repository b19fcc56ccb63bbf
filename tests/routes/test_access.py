#!/usr/bin/env python3
"""Who may call what: the README says it, and the service does it."""
from __future__ import annotations

import re
from typing import List, Tuple

import pytest

from db import DB
from tests.helpers import EMAIL, STRONG, Visitor
from tests.test_promises import page
from user import User

REFUSALS = ("not signed in", "sign in first")


def routes() -> List[Tuple[str, str, bool]]:
    """Return each route of the README, and whether it takes a session."""
    table = page("README.md").partition("\n| Route |")[2].partition("\n\n")[0]
    return [(method, re.sub("<[a-z]+>", "1", path), "a session" in sent)
            for method, path, sent in re.findall(
                r"^\| `([A-Z]+) ([^` ]+)` \|([^|]*)\|", table, re.M)]


class TestSession:
    """Everything about a user takes their session (ASVS 8.2.1)."""

    @pytest.mark.parametrize("method, path, needed", routes())
    def test_is_asked_for_where_the_readme_says(
            self, guest: Visitor, method: str, path: str,
            needed: bool) -> None:
        """Before anything else is looked at, and nowhere else."""
        answer = guest.asks(method, path)
        said = (answer.get_json(silent=True) or {}).get("message")
        assert (said in REFUSALS) is needed
        assert answer.status_code in (401, 403) or not needed

    def test_table_is_read(self) -> None:
        """Of both kinds there are many."""
        asked = [needed for _, _, needed in routes()]
        assert asked.count(True) > 8 and asked.count(False) > 15


class TestPaths:
    """An answer about a user has one path (ASVS 14.2.5)."""

    @pytest.mark.parametrize("path", [
        "/profile/logo.css", "/profile;a.css", "/profile.css",
        "/profile%2fa.css", "/profile/export/a.js", "/sessions/a.css"])
    def test_nothing_can_be_put_after_it(self, member: Visitor,
                                         path: str) -> None:
        """Or a cache would keep it as a file (web cache deception)."""
        member.logs_in(EMAIL, STRONG)
        answer = member.asks("GET", path)
        assert answer.status_code in (404, 405)
        assert answer.headers["Cache-Control"] == "no-store"
        assert EMAIL not in answer.get_data(as_text=True)


def test_fresh_service_knows_nobody(guest: Visitor, db: DB) -> None:
    """There is no account to begin with, nor one that is asked for."""
    for email in ("admin@example.com", "root@example.com", "admin", "root"):
        assert guest.logs_in(email, email).status_code == 401
    assert db.find_all(User) == []
