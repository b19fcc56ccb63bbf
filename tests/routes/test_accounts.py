#!/usr/bin/env python3
"""DELETE /profile: the owner's way out."""
from __future__ import annotations

import pytest

from tests.helpers import (
    EMAIL, PASSWORD, Visitor, assert_error, session_cookie)


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

    @pytest.mark.parametrize("form", [{}, {"password": ""},
                                      {"password": "wrong"}], ids=str)
    def test_needs_the_password(self, signed_in: Visitor,
                                form: "dict[str, str]") -> None:
        """Else nothing happens."""
        assert_error(signed_in.asks("DELETE", "/profile", **form), 403,
                     "wrong password")
        assert signed_in.sees_profile().get_json() == {"email": EMAIL}

    def test_needs_a_session(self, visitor: Visitor) -> None:
        """The password alone deletes nothing."""
        visitor.registers()
        assert_error(visitor.asks("DELETE", "/profile", password=PASSWORD),
                     403, "not signed in")
        assert visitor.logs_in().status_code == 200
