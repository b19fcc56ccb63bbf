#!/usr/bin/env python3
"""Tokens: minted, stored as digests, refused when they cannot be one."""
from __future__ import annotations

import hashlib
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credentials import tokens
from tests.helpers import NO_TOKENS, STRANGE_TOKEN


class TestMint:
    """A fresh token."""

    def test_is_a_version_4_uuid(self) -> None:
        """36 characters, as the card says."""
        token = tokens.mint()
        assert len(token) == 36 and uuid.UUID(token).version == 4

    def test_never_repeats(self) -> None:
        """Ten thousand are ten thousand."""
        assert len({tokens.mint() for _ in range(10000)}) == 10000

    def test_is_presentable(self) -> None:
        """What is minted is never refused."""
        for _ in range(1000):
            token = tokens.mint()
            assert tokens.presented_digest(token) == tokens.digest(token)


class TestDigest:
    """The stored form."""

    def test_is_sha256(self) -> None:
        """So that any tool can check a backup."""
        token = tokens.mint()
        assert tokens.digest(token) \
            == hashlib.sha256(token.encode()).hexdigest()


class TestMasked:
    """What a log may keep."""

    def test_hides_whatever_is_minted(self) -> None:
        """However it is spelled, and wherever it stands."""
        token = tokens.mint()
        assert tokens.masked("/a/{}?{}".format(token, token.upper())) \
            == "/a/<token>?<token>"

    @pytest.mark.parametrize("text", [
        "", "/", "/sessions/others", "/sessions/7", STRANGE_TOKEN[:-1],
        STRANGE_TOKEN.replace("-", "")])
    def test_leaves_the_rest(self, text: str) -> None:
        """Or a log would tell nothing."""
        assert tokens.masked(text) == text


class TestPresentedDigest:
    """What a client presents."""

    @pytest.mark.parametrize("value", NO_TOKENS, ids=lambda v: ascii(v)[:20])
    def test_refuses_what_is_no_token(self, value: Any) -> None:
        """None of these may become a query."""
        assert tokens.presented_digest(value) is None

    @given(st.text())
    def test_refuses_any_text_but_a_uuid(self, value: str) -> None:
        """Random text is not a token."""
        assert tokens.presented_digest(value) is None
