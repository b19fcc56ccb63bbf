#!/usr/bin/env python3
"""Passwords: what may be one, its hash in either form, and one hash a check.

bcrypt's own behaviour differs by version where these tests look; ours may
not.
"""
from __future__ import annotations

from typing import Any, List

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credentials import passwords
from errors import InvalidInput

COST = 4
HASH = passwords.hash_password("pw", COST)
LONG_HASH = passwords.hash_password("pw" * 100, COST)
BARE = LONG_HASH[LONG_HASH.index("$"):]
# Made by another hand, by the definition at the top of passwords.py.
KEPT = {
    "pw": "$2b$04$abcdefghijklmnopqrstuuyvPXIbu7xe6/CED2DzX8z6Si09MlzlW",
    "x" * 73: "hmac-sha384"
              "$2b$04$abcdefghijklmnopqrstuu0acEkUIPwIUINnFLq2Bje0Ibmq.iI3e"}
DAMAGED = [
    "", "x", "pw", "$", "$2b$", HASH[:-1], HASH + "x", HASH + "\n",
    HASH + "\0", "$2b$03" + HASH[6:], "$2b$99" + HASH[6:],
    "$2b$31" + HASH[6:], "$2x$04" + HASH[6:], "$1$abc$def",
    "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", "hmac-sha384",
    "hmac-sha384$2b$04$", "other" + HASH, "\u00e9" + HASH,
    BARE, "other" + BARE,
    HASH.replace("$04$", "$\u0660\u0664$")]


class Hasher:
    """Counts what bcrypt is asked to compute, and lets it."""

    def __init__(self) -> None:
        """Have been asked nothing yet."""
        self.costs: List[int] = []
        self.checkpw = bcrypt.checkpw

    def __call__(self, password: bytes, hashed: bytes) -> bool:
        """Note the cost of one check."""
        self.costs.append(int(hashed[4:6]))
        return self.checkpw(password, hashed)


@pytest.fixture
def hasher(monkeypatch: pytest.MonkeyPatch) -> Hasher:
    """The counted bcrypt."""
    counted = Hasher()
    monkeypatch.setattr(bcrypt, "checkpw", counted)
    return counted


class TestValidatePassword:
    """What may be a password."""

    @pytest.mark.parametrize("password", [
        "p", " ", "\0", "x" * 1024, "\U0001f600" * 1024, "p\u00e9"],
        ids=lambda p: ascii(p)[:12])
    def test_takes_any_characters(self, password: str) -> None:
        """1 to 1024 of them, whatever they are."""
        passwords.validate_password(password)

    @pytest.mark.parametrize("password", [
        None, "", b"pw", 7, ["pw"], {"pw": 1}], ids=repr)
    def test_no_text_is_missing(self, password: Any) -> None:
        """The message names the field it was asked for."""
        with pytest.raises(InvalidInput, match="new_password is missing"):
            passwords.validate_password(password, "new_password")

    def test_too_long(self) -> None:
        """One more than the limit, and the limit is told."""
        with pytest.raises(InvalidInput, match="longer than 1024"):
            passwords.validate_password("x" * 1025)

    def test_half_a_surrogate_pair(self) -> None:
        """No encoding can write it."""
        with pytest.raises(InvalidInput, match="not valid Unicode"):
            passwords.validate_password("x\ud800")


class TestHashPassword:
    """The stored forms."""

    @pytest.mark.parametrize("password", ["pw", "x" * 72, "\u00e9" * 36],
                             ids=ascii)
    def test_short_ones_are_plain_bcrypt(self, password: str) -> None:
        """The card's tools check them without us."""
        hashed = passwords.hash_password(password, COST)
        assert hashed.startswith("$2b$04$")
        assert bcrypt.checkpw(password.encode(), hashed.encode())

    @pytest.mark.parametrize("password", ["x" * 73, "\u00e9" * 37, "p\0w"],
                             ids=ascii)
    def test_others_are_hashed_whole_first(self, password: str) -> None:
        """Told apart by a prefix, and within the card's 250 characters."""
        hashed = passwords.hash_password(password, COST)
        assert hashed.startswith("hmac-sha384$2b$04$")
        assert len(hashed) <= 250

    def test_cost_is_12_by_default(self) -> None:
        """The card's own prefix."""
        assert passwords.hash_password("pw").startswith("$2b$12$")


class TestVerifyPassword:
    """Right, wrong, and impossible to tell from the time."""

    @pytest.mark.parametrize("password", [
        "pw", " ", "\0", "x" * 71, "x" * 72, "x" * 73, "x" * 300, "x" * 1024,
        "p\0w", "\U0001f600" * 64], ids=lambda p: ascii(p)[:12])
    def test_right(self, password: str) -> None:
        """Each password opens its own hash."""
        hashed = passwords.hash_password(password, COST)
        assert passwords.verify_password(password, hashed, COST) is True

    @pytest.mark.parametrize("stored, presented", [
        ("x" * 72, "x" * 73), ("x" * 73, "x" * 72), ("x" * 73, "x" * 74),
        ("x" * 72 + "a", "x" * 72 + "b"), ("pw", "pw\0pw"), ("pw", "pw\0"),
        ("pw\0pw", "pw"), ("pw\0a", "pw\0b"), ("\0", "\0\0"), ("pw", "pw "),
        ("pw", "Pw"), ("\u00e9", "e\u0301")], ids=lambda p: ascii(p)[-12:])
    def test_what_differs_is_wrong(self, stored: str, presented: str) -> None:
        """Beyond 72 bytes, after a NUL, in case, space and composition."""
        hashed = passwords.hash_password(stored, COST)
        assert passwords.verify_password(presented, hashed, COST) is False

    @pytest.mark.parametrize("password", KEPT, ids=len)
    def test_kept_hash_goes_on_working(self, password: str) -> None:
        """A release that reads the forms differently locks people out."""
        assert passwords.verify_password(password, KEPT[password], COST)

    @pytest.mark.parametrize("scheme", ["$2a$", "$2b$", "$2y$"])
    def test_other_names_of_bcrypt(self, scheme: str) -> None:
        """PHP and old libraries name the same algorithm differently."""
        assert passwords.verify_password("pw", scheme + HASH[4:], COST)

    @pytest.mark.parametrize("hashed", DAMAGED, ids=ascii)
    @pytest.mark.parametrize("password", ["pw", "pw" * 100])
    def test_damaged_hash_is_wrong_password(
            self, hasher: Hasher, hashed: str, password: str) -> None:
        """Not an error, and it takes the one hash that a good one takes."""
        assert passwords.verify_password(password, hashed, COST) is False
        assert hasher.costs == [COST]

    @pytest.mark.parametrize("hashed", [None, 7, HASH.encode()], ids=repr)
    def test_hash_of_another_type_is_wrong_password(
            self, hasher: Hasher, hashed: Any) -> None:
        """SQLite keeps whatever another program stored."""
        assert passwords.verify_password("pw", hashed, COST) is False
        assert hasher.costs == [COST]

    @pytest.mark.parametrize("stored", ["pw", "pw" * 100, "p\0w"], ids=ascii)
    @pytest.mark.parametrize("presented", ["pw", "pw" * 100, "p\0w", "no"],
                             ids=ascii)
    def test_one_hash_whatever_is_compared(
            self, hasher: Hasher, stored: str, presented: str) -> None:
        """Neither form, nor a mismatch of forms, shows in the time."""
        hashed = passwords.hash_password(stored, COST)
        assert passwords.verify_password(presented, hashed, COST) \
            is (stored == presented)
        assert hasher.costs == [COST]

    @settings(max_examples=50)
    @given(st.text(st.characters(blacklist_categories=["Cs"]), min_size=1),
           st.text(st.characters(blacklist_categories=["Cs"]), min_size=1))
    def test_only_the_same_text_matches(self, one: str, other: str) -> None:
        """Any two texts."""
        hashed = passwords.hash_password(one, COST)
        assert passwords.verify_password(one, hashed, COST)
        assert passwords.verify_password(other, hashed, COST) \
            is (one == other)


class TestUnmatchableHash:
    """The hash of a user who does not exist."""

    @pytest.mark.parametrize("password", ["pw", "", "\0", "x" * 72])
    def test_matches_nothing(self, password: str) -> None:
        """At the cost it was asked for."""
        stored = passwords.unmatchable_hash(COST)
        assert stored.startswith("$2b$04$")
        assert not passwords.verify_password(password, stored, COST)

    def test_is_computed_like_any_other(self, hasher: Hasher) -> None:
        """It is not mistaken for a damaged one of another cost."""
        passwords.verify_password("pw", passwords.unmatchable_hash(5), COST)
        assert hasher.costs == [5]


class TestNeedsRehash:
    """Whether a verified hash is to be replaced."""

    @pytest.mark.parametrize("password", ["pw", "x" * 73],
                             ids=["plain", "prehashed"])
    @pytest.mark.parametrize("cost, needed", [
        (COST - 1, False), (COST, False), (COST + 1, True)])
    def test_only_of_a_lower_cost(
            self, password: str, cost: int, needed: bool) -> None:
        """Lowering the setting never weakens what is stored."""
        hashed = passwords.hash_password(password, COST)
        assert passwords.needs_rehash(hashed, cost) is needed
