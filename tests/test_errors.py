#!/usr/bin/env python3
"""The errors keep the card's promises by what they inherit."""
from __future__ import annotations

from typing import Type

import pytest

from errors import (
    AuthError, BadCredentials, EmailTaken, InvalidInput, ResetRefused,
    UnknownEmail)


class TestAuthError:
    """The root of all refusals."""

    def test_says_what_it_was_told(self) -> None:
        """To a person and on the wire."""
        error = BadCredentials("email is missing")
        assert str(error) == error.public == "email is missing"

    def test_says_its_default_otherwise(self) -> None:
        """A bare raise is a full sentence."""
        assert str(BadCredentials()) == "wrong email or password"

    @pytest.mark.parametrize("error", [
        EmailTaken, InvalidInput, UnknownEmail, ResetRefused])
    def test_card_errors_are_value_errors(
            self, error: Type[AuthError]) -> None:
        """`except ValueError` of the card goes on working."""
        assert issubclass(error, AuthError) and issubclass(error, ValueError)


class TestEmailTaken:
    """Two contracts, two sentences."""

    def test_sentences(self) -> None:
        """Python names the address, HTTP does not."""
        error = EmailTaken("me@me.com")
        assert str(error) == "User me@me.com already exists"
        assert error.public == "email already registered"
