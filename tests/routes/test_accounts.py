#!/usr/bin/env python3
"""The life of an account: export, a new password, and the way out."""
from __future__ import annotations

from typing import Any, Callable, Dict

import pytest

from tests.helpers import (
    EMAIL, PASSWORD, Clock, Visitor, assert_error, session_cookie)


@pytest.fixture
def signed_in(visitor: Visitor) -> Visitor:
    """Somebody with an account and a session."""
    visitor.registers()
    visitor.logs_in()
    return visitor


class TestDeleteProfile:
    """Deleting one's own account."""

    def test_the_account_is_gone(self, signed_in: Visitor) -> None:
        """The address is free, and the browser has no session."""
        answer = signed_in.asks("DELETE", "/profile", password=PASSWORD)
        assert (answer.status_code, answer.get_data()) == (204, b"")
        assert session_cookie(answer) == ""
        assert signed_in.logs_in().status_code == 401
        assert signed_in.registers().status_code == 200

    @pytest.mark.parametrize("form, message", [
        ({}, "password is missing"), ({"password": ""}, "password is missing"),
        ({"password": "wrong"}, "wrong password")], ids=str)
    def test_needs_the_password(self, signed_in: Visitor,
                                form: Dict[str, Any], message: str) -> None:
        """Else nothing happens."""
        assert_error(signed_in.asks("DELETE", "/profile", **form), 403,
                     message)
        assert signed_in.sees_profile().get_json() == {"email": EMAIL}

    def test_needs_a_session(self, visitor: Visitor) -> None:
        """The password alone deletes nothing."""
        visitor.registers()
        assert_error(visitor.asks("DELETE", "/profile", password=PASSWORD),
                     403, "not signed in")
        assert visitor.logs_in().status_code == 200


class TestExportProfile:
    """Taking out what is stored about oneself."""

    def test_is_everything_and_no_secret(
            self, signed_in: Visitor, clock: Clock) -> None:
        """Times in seconds; neither a hash nor a digest among it."""
        reset = ("POST", "/reset_password", {"X-Request-ID": "reset"})
        signed_in.asks(*reset, email=EMAIL)
        now = int(clock())
        exported = signed_in.asks("GET", "/profile/export").get_json()
        for each in exported["history"][:2]:
            assert len(each.pop("request_id")) == 32
        assert exported == {
            "id": 1, "email": EMAIL, "created_at": now, "verified_at": None,
            "password_changed_at": now,
            "sessions": signed_in.asks("GET", "/sessions").get_json()[
                "sessions"],
            "devices": [],
            "mails_waiting": [{"purpose": "verify", "email": EMAIL,
                               "queued_at": now, "due_at": now, "tries": 0}],
            "links_mailed": [{"purpose": "reset", "email": EMAIL,
                              "expires_at": now + 3600}],
            "history": [
                {"at": now, "fact": fact, "network": "127.0.0.1",
                 "detail": ""}
                for fact in ("account.created", "session.opened")] + [
                {"at": now, "fact": "reset.requested", "detail": "",
                 "network": "127.0.0.1", "request_id": "reset"}]}

    def test_needs_a_session(self, visitor: Visitor) -> None:
        """It is nobody else's to see."""
        assert_error(visitor.asks("GET", "/profile/export"), 403,
                     "not signed in")


class TestChangePassword:
    """Setting a new password with the old one."""

    def test_goes_on_under_a_new_session(self, signed_in: Visitor) -> None:
        """The browser stays signed in, by another id than before."""
        before = session_cookie(signed_in.logs_in())
        answer = signed_in.asks("PUT", "/password", new_password="new",
                                current_password=PASSWORD)
        assert answer.status_code == 200
        assert answer.get_json() == {"message": "Password updated"}
        assert session_cookie(answer) not in ("", before)
        assert signed_in.sees_profile().get_json() == {"email": EMAIL}

    def test_other_devices_are_signed_out(
            self, signed_in: Visitor,
            new_visitor: Callable[[], Visitor]) -> None:
        """Whoever knew the old password is out."""
        other = new_visitor()
        other.logs_in()
        signed_in.asks("PUT", "/password", current_password=PASSWORD,
                       new_password="new")
        assert_error(other.sees_profile(), 403, "not signed in")
        assert other.logs_in().status_code == 401
        assert other.logs_in(password="new").status_code == 200

    @pytest.mark.parametrize("current, new, status, message", [
        ("wrong", "new", 403, "wrong password"),
        ("", "new", 403, "current_password is missing"),
        (PASSWORD, "", 400, "new_password is missing")])
    def test_refusals_change_nothing(
            self, signed_in: Visitor, current: str, new: str, status: int,
            message: str) -> None:
        """Each says which field it is about."""
        answer = signed_in.asks("PUT", "/password", current_password=current,
                                new_password=new)
        assert_error(answer, status, message)
        assert "Set-Cookie" not in answer.headers
        assert signed_in.logs_in().status_code == 200

    def test_needs_a_session(self, visitor: Visitor) -> None:
        """The password alone changes nothing here."""
        visitor.registers()
        answer = visitor.asks("PUT", "/password", new_password="new",
                              current_password=PASSWORD)
        assert_error(answer, 403, "not signed in")
