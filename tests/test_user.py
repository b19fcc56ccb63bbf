#!/usr/bin/env python3
"""The users table and the spelling under which an address is stored."""
from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import InvalidInput
from user import (
    User, canonical_email, validate_email, validate_mailable)


class TestUser:
    """What a User shows of itself."""

    def test_repr_holds_no_secret(self) -> None:
        """A repr ends up in logs and tracebacks."""
        user = User(id=7, email="bob@me.com", hashed_password="$2b$04$x")
        assert repr(user) == "<User 7>"


class TestCanonicalEmail:
    """When two addresses are one user."""

    @pytest.mark.parametrize("spelling, canonical", [
        ("bob@me.com", "bob@me.com"),
        ("Bob@ME.com", "bob@me.com"),
        ("hi", "hi"),
        ("unknown@email", "unknown@email"),
        ("jose\u0301@me.com", "jos\u00e9@me.com"),
        ("bob@b\u00fccher.de", "bob@xn--bcher-kva.de"),
        ("bob@B\u00dcCHER.de", "bob@xn--bcher-kva.de"),
        ("bob@xn--bcher-kva.de", "bob@xn--bcher-kva.de"),
        ("\u212aim@me.com", "kim@me.com"),
        ("", ""),
    ], ids=ascii)
    def test_equal_spellings_meet(
            self, spelling: str, canonical: str) -> None:
        """Case, composition and the domain's form make no second account."""
        assert canonical_email(spelling) == canonical

    @pytest.mark.parametrize("one, other", [
        ("mike@me.com", "m\u0131ke@me.com"),
        ("fine@me.com", "\ufb01ne@me.com"),
        ("bob@me.com", "b\u043eb@me.com"),
        ("a@fass.de", "a@fa\u00df.de"),
        ("bob@me.com", " bob@me.com"),
        ("bob@me.com", "bob+x@me.com"),
    ], ids=ascii)
    def test_look_alikes_stay_apart(self, one: str, other: str) -> None:
        """A confusable character finds nobody else (CVE-2019-19844)."""
        assert canonical_email(one) != canonical_email(other)

    def test_domain_that_idna_refuses_is_kept(self) -> None:
        """The development mode takes any text for an address."""
        assert canonical_email("Bob@\u2603..x") == "bob@\u2603..x"

    @given(st.text(max_size=60))
    def test_is_canonical_itself(self, email: str) -> None:
        """What was stored finds itself again."""
        once = canonical_email(email)
        assert canonical_email(once) == once

    @given(st.text(st.characters(max_codepoint=0x24f), max_size=30))
    def test_composition_does_not_matter(self, email: str) -> None:
        """A decomposing keyboard signs in to the same account."""
        assert canonical_email(unicodedata.normalize("NFD", email)) \
            == canonical_email(unicodedata.normalize("NFC", email))


class TestValidateEmail:
    """What can be stored as an address."""

    @pytest.mark.parametrize("email", [
        "bob@me.com", "hi", "x" * 250, "a b", "\u00e9@me.com", "\U0001f600"],
        ids=ascii)
    def test_takes_any_text_that_fits(self, email: str) -> None:
        """No syntax rule stands in the development mode's way."""
        validate_email(email)

    @pytest.mark.parametrize("email", [
        None, "", 7, True, b"bob@me.com", ["bob@me.com"], {"a": 1}], ids=repr)
    def test_no_text_is_missing(self, email: Any) -> None:
        """Only text that is there can be an address."""
        with pytest.raises(InvalidInput, match="email is missing"):
            validate_email(email)

    @pytest.mark.parametrize("email", [
        "x" * 251, "x" * 10 ** 6,
        "x" * 150 + "@" + "\u00fc." * 20 + "de"],
        ids=["one more", "a million", "longer as punycode"])
    def test_too_long(self, email: str) -> None:
        """Also when only its stored form is."""
        with pytest.raises(InvalidInput, match="longer than 250"):
            validate_email(email)

    @pytest.mark.parametrize("email", [
        "bob@me.com\n", "a\0b@me.com", "a\r\nBcc: x@y.z", "\x1b[31m@me.com",
        "a\x7f@me.com", "a\u0085b", "a\u2028b", "\ud800@me.com"], ids=ascii)
    def test_control_characters(self, email: str) -> None:
        """They split headers and log lines; NUL breaks PostgreSQL."""
        with pytest.raises(InvalidInput, match="no address may have"):
            validate_email(email)

    @pytest.mark.parametrize("email", [
        "bob@me.com", "bob+tag@me.co.uk", "o'hara@me.com",
        "bob@m\u00fcnchen.de"], ids=ascii)
    def test_mailable(self, email: str) -> None:
        """What a mail server takes, production takes."""
        validate_mailable(email)

    @pytest.mark.parametrize("email", [
        "hi", "bob@", "@me.com", "bob@localhost", "a@b.c, d@e.f",
        "<bob@me.com>", "bob@me.com\n", "bob @me.com", "bob@me..com",
        "b\u00f6b@me.com", "bob@[127.0.0.1]", '"bob"@me.com',
        # What no header can hold would wait in the outbox for ever.
        "=?utf-8?q?x?=@c.com", "=?us-ascii?b?eA==?=@me.com",
        "=?ut8?q?x?=@me.com"], ids=ascii)
    def test_not_mailable(self, email: str) -> None:
        """One address, one recipient, and no header of its own (ASVS
        1.3.11).
        """
        with pytest.raises(InvalidInput, match="mail can reach"):
            validate_mailable(email)

    def test_hostile_length_is_refused_before_any_work(self) -> None:
        """Nothing looks at a single character of an over-long address."""
        class Counted(str):
            """Text that refuses to be iterated."""

            def __iter__(self) -> Any:
                """Fail the test that reads it."""
                raise AssertionError("read before its length was checked")
        with pytest.raises(InvalidInput):
            validate_email(Counted("x" * 10 ** 6))
