#!/usr/bin/env python3
"""Passwords: what may be one, its hash in each form, and one hash a check.

bcrypt's own behaviour differs by version where these tests look; ours may
not.
"""
from __future__ import annotations

import re
import unicodedata
from typing import Any, List, Tuple

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credentials import passwords
from errors import InvalidInput, WeakPassword

COST = 4
HASH = passwords.hash_password("pw", COST)
LONG_HASH = passwords.hash_password("pw" * 100, COST)
BARE = LONG_HASH[LONG_HASH.index("$"):]
# Made by another hand, by the definition at the top of passwords.py.
KEPT = {
    "pw": "$2b$04$abcdefghijklmnopqrstuuyvPXIbu7xe6/CED2DzX8z6Si09MlzlW",
    "x" * 73: "hmac-sha384"
              "$2b$04$abcdefghijklmnopqrstuu0acEkUIPwIUINnFLq2Bje0Ibmq.iI3e"}
PEPPER = "a first pepper of thirty-two chars"
OTHER = "another pepper, thirty-two or more"
# Made by openssl: the eight digits by which hashes name the two.
IDS = {PEPPER: "6a3df36f", OTHER: "c187b0f1"}
# What KEPT is under PEPPER, by another hand too.
KEPT_PEPPERED = {
    "pw": "hmac-sha384$6a3df36f"
          "$2b$04$abcdefghijklmnopqrstuugl5smnAOpaZ1HgflxiJReXtS1lrWTHK",
    "x" * 73: "hmac-sha384$6a3df36f"
              "$2b$04$abcdefghijklmnopqrstuumKftK3ch0rXeknANbfQcnuyWQ6BGqSO"}
PEPPERED = KEPT_PEPPERED["pw"]
# What differs, and what bcrypt alone would take for the same.
PAIRS = [
    ("x" * 72, "x" * 73), ("x" * 73, "x" * 72), ("x" * 73, "x" * 74),
    ("x" * 72 + "a", "x" * 72 + "b"), ("pw", "pw\0pw"), ("pw", "pw\0"),
    ("pw\0pw", "pw"), ("pw\0a", "pw\0b"), ("\0", "\0\0"), ("pw", "pw "),
    ("pw", "Pw"), ("\u00e9", "e\u0301")]
DAMAGED = [
    "", "x", "pw", "$", "$2b$", HASH[:-1], HASH + "x", HASH + "\n",
    HASH + "\0", "$2b$03" + HASH[6:], "$2b$99" + HASH[6:],
    "$2b$31" + HASH[6:], "$2x$04" + HASH[6:], "$1$abc$def",
    "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", "hmac-sha384",
    "hmac-sha384$2b$04$", "other" + HASH, "\u00e9" + HASH,
    BARE, "other" + BARE,
    # Bits of the salt that no salt has: bcrypt raises.
    HASH[:28] + "/" + HASH[29:],
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
        with pytest.raises(InvalidInput, match="^new_password is missing$"):
            passwords.validate_password(password, "new_password")

    def test_too_long(self) -> None:
        """One more than the limit, and the limit is told."""
        with pytest.raises(InvalidInput, match="^password is longer than "
                                               "1024 characters$"):
            passwords.validate_password("x" * 1025)

    @pytest.mark.parametrize("half", ["\ud800", "\udfff"], ids=ascii)
    def test_half_a_surrogate_pair(self, half: str) -> None:
        """No encoding can write it."""
        with pytest.raises(InvalidInput,
                           match="^password is not valid Unicode$"):
            passwords.validate_password("x" + half)


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

    @pytest.mark.parametrize("stored, presented", PAIRS,
                             ids=lambda p: ascii(p)[-12:])
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

    @pytest.mark.parametrize("cost, needed", [(12, False), (13, True)])
    def test_cost_of_two_digits(self, cost: int, needed: bool) -> None:
        """As it is in production."""
        hashed = "$2b$12$" + "." * 53
        assert passwords.needs_rehash(hashed, cost) is needed

    @pytest.mark.parametrize("password", ["pw", "x" * 73],
                             ids=["plain", "prehashed"])
    @pytest.mark.parametrize("cost, needed", [
        (COST - 1, False), (COST, False), (COST + 1, True)])
    def test_only_of_a_lower_cost(
            self, password: str, cost: int, needed: bool) -> None:
        """Lowering the setting never weakens what is stored."""
        hashed = passwords.hash_password(password, COST)
        assert passwords.needs_rehash(hashed, cost) is needed


class TestPeppers:
    """Hashes that are worth nothing without a key kept elsewhere."""

    @pytest.mark.parametrize("password", ["pw", "x" * 72, "x" * 73, "p\0w"],
                             ids=lambda p: ascii(p)[:12])
    def test_stored_form_names_the_pepper(self, password: str) -> None:
        """Today's, in digits that are not it, within 250 characters."""
        hashed = passwords.hash_password(password, COST, (PEPPER, OTHER))
        assert re.match(r"hmac-sha384\$6a3df36f\$2b\$04\$[./A-Za-z0-9]{53}\Z",
                        hashed)
        assert len(hashed) <= 250

    @pytest.mark.parametrize("password", KEPT_PEPPERED, ids=len)
    def test_kept_hash_goes_on_working(self, password: str) -> None:
        """A release that reads the form differently locks people out."""
        assert passwords.verify_password(
            password, KEPT_PEPPERED[password], COST, (PEPPER,))

    @pytest.mark.parametrize("pepper", IDS)
    def test_id_is_stable_and_its_own(self, pepper: str) -> None:
        """Or no stored hash would be found to be of its pepper again."""
        assert passwords.pepper_id(pepper) == IDS[pepper]

    @pytest.mark.parametrize("peppers, right", [
        ((PEPPER,), True), ((PEPPER, OTHER), True), ((OTHER, PEPPER), True),
        (("", PEPPER), True), (("", OTHER, PEPPER), True),
        ((OTHER,), False), (("",), False), (("", OTHER), False)])
    @pytest.mark.parametrize("password", ["pw", "x" * 73, "p\0w"],
                             ids=lambda p: ascii(p)[:12])
    def test_opens_while_its_pepper_is_at_hand(
            self, hasher: Hasher, password: str, peppers: Tuple[str, ...],
            right: bool) -> None:
        """As today's or an old one; without it, a wrong password.

        One hash in each case, so that the time tells none of them.
        """
        hashed = passwords.hash_password(password, COST, (PEPPER,))
        assert passwords.verify_password(password, hashed, COST, peppers) \
            is right
        assert hasher.costs == [COST]

    @pytest.mark.parametrize("password", ["pw", "x" * 73, "p\0w"],
                             ids=lambda p: ascii(p)[:12])
    def test_hash_of_no_pepper_opens_under_one(
            self, hasher: Hasher, password: str) -> None:
        """Setting PEPPER locks nobody out, whichever form they have."""
        hashed = passwords.hash_password(password, COST)
        for presented in (password, password + "!"):
            assert passwords.verify_password(
                presented, hashed, COST, (PEPPER, OTHER)) \
                is (presented == password)
        assert hasher.costs == [COST, COST]

    def test_same_pepper_is_needed_not_the_same_id(self) -> None:
        """Two keys of one id, which chance allows, are not one key."""
        stolen = passwords.hash_password("pw", COST, (OTHER,)).replace(
            IDS[OTHER], IDS[PEPPER])
        assert not passwords.verify_password("pw", stolen, COST, (PEPPER,))

    @pytest.mark.parametrize("stored, presented", PAIRS,
                             ids=lambda p: ascii(p)[-12:])
    def test_what_differs_is_wrong(
            self, hasher: Hasher, stored: str, presented: str) -> None:
        """Under a pepper too: 72 bytes and a NUL are no borders."""
        hashed = passwords.hash_password(stored, COST, (PEPPER,))
        assert passwords.verify_password(stored, hashed, COST, (PEPPER,))
        assert not passwords.verify_password(
            presented, hashed, COST, (PEPPER,))
        assert hasher.costs == [COST, COST]

    @pytest.mark.parametrize("hashed", [
        PEPPERED.replace("6a3df36f", ""), PEPPERED.replace("$6a3df36f", ""),
        PEPPERED.replace("6a3df36f", "6A3DF36F"),
        PEPPERED.replace("6a3df36f", "6a3df36"),
        PEPPERED.replace("6a3df36f", "6a3df36f0"),
        PEPPERED.replace("6a3df36f", "00000000"),
        PEPPERED.replace("6a3df36f", PEPPER),
        PEPPERED.replace("6a3df36f", "6a3df36f$c187b0f1"),
        PEPPERED.replace("6a3df36f", "6a3df36f\n"),
        PEPPERED.replace("sha384", "sha256"), PEPPERED.replace("hmac", "HMAC"),
        PEPPERED.replace("hmac-sha384", ""), PEPPERED[11:], PEPPERED[20:],
        " " + PEPPERED, PEPPERED + "\n", PEPPERED.replace("$04$", "$31$")],
        ids=lambda hashed: ascii(hashed)[:40])
    def test_damaged_id_or_prefix_is_a_wrong_password(
            self, hasher: Hasher, hashed: str) -> None:
        """Not an error, and neither more nor less than one hash."""
        assert hashed != PEPPERED
        assert not passwords.verify_password(
            "pw", hashed, COST, (PEPPER, OTHER))
        assert hasher.costs == [COST]

    @pytest.mark.parametrize("peppers", [("",), (PEPPER,)], ids=ascii)
    def test_hash_that_names_a_pepper_needs_it(
            self, peppers: Tuple[str, ...]) -> None:
        """One made without a key passes for nobody's by naming another."""
        named = LONG_HASH.replace("sha384", "sha384$" + IDS[OTHER])
        assert not passwords.verify_password("pw" * 100, named, COST, peppers)

    @pytest.mark.parametrize("made, today, needed", [
        ("", ("",), False), ("", (PEPPER,), True), (PEPPER, (PEPPER,), False),
        (PEPPER, (PEPPER, OTHER), False), (PEPPER, (OTHER, PEPPER), True),
        (PEPPER, ("", PEPPER), True), ("", ("", PEPPER), False),
        ("", (OTHER, PEPPER), True)])
    @pytest.mark.parametrize("password", ["pw", "x" * 73], ids=len)
    def test_hash_of_another_than_todays_is_replaced(
            self, password: str, made: str, today: Tuple[str, ...],
            needed: bool) -> None:
        """Setting one, changing it and removing it all come through."""
        hashed = passwords.hash_password(password, COST, (made,))
        assert passwords.needs_rehash(hashed, COST, today) is needed
        replaced = passwords.hash_password(password, COST, today)
        assert not passwords.needs_rehash(replaced, COST, today)
        assert passwords.verify_password(password, replaced, COST, today[:1])

    @pytest.mark.parametrize("cost, needed", [
        (COST - 1, False), (COST, False), (COST + 1, True)])
    def test_cost_counts_under_a_pepper(
            self, cost: int, needed: bool) -> None:
        """Raising it reaches these hashes too, and lowering it does not."""
        assert passwords.needs_rehash(PEPPERED, cost, (PEPPER,)) is needed

    def test_removing_it_goes_back_to_the_cards_form(self) -> None:
        """The card's tools can check the hash again."""
        hashed = passwords.hash_password("pw", COST, ("", PEPPER))
        assert bcrypt.checkpw(b"pw", hashed.encode())


def weakness(password: str, minimum: int = 15, words: Any = (),
             field: str = "password") -> str:
    """Return the complaint about a password, "" if there is none."""
    try:
        passwords.refuse_weak(password, minimum, words, field)
    except WeakPassword as error:
        return str(error)
    return ""


class TestRefuseWeak:
    """What nobody may choose, because it is guessed first."""

    @pytest.mark.parametrize("password", [
        "tartiflette au reblochon", "correcthorsebat", "7305182964410385",
        "\u00fcberall kein zoo", "\u6f22\u5b57\u3067\u66f8\u304f"
        "\u5408\u8a00\u8449\u306f\u9577\u3044\u65b9\u304c\u826f\u3044",
        " \t\n spaces  count \0"], ids=ascii)
    def test_any_characters_will_do(self, password: str) -> None:
        """No rule of composition (NIST SP 800-63B-4, 3.1.1.2)."""
        assert weakness(password) == ""

    @pytest.mark.parametrize("minimum", [8, 15, 64])
    def test_length(self, minimum: int) -> None:
        """Exactly the minimum is enough; the rule and its reason are told."""
        password = ("tartiflette au reblochon, " * 3)[1:minimum + 1]
        assert weakness(password, minimum) == ""
        assert weakness(password[:-1], minimum, field="new_password") == (
            "new_password is shorter than {} characters: length is what "
            "makes guessing slow, so take a sentence".format(minimum))

    def test_length_counts_what_a_reader_sees(self) -> None:
        """An accent is no character, however it is encoded (NFC)."""
        seen = "\u00e9t\u00e9 \u00e0 No\u00ebl, \u00e7a va"
        apart = unicodedata.normalize("NFD", seen)
        assert len(seen) == 17 and len(apart) == 22
        for password in (seen, apart):
            assert weakness(password, 17) == ""
            assert weakness(password, 18).startswith("password is shorter ")

    @pytest.mark.parametrize("password", [
        "1234567890123456", "PasswordPassword", "aaaaaaaaaaaaaaaa",
        "qwertyuiopasdfgh"])
    def test_common_ones(self, password: str) -> None:
        """What the list and its rules know, in any case."""
        assert weakness(password, field="new_password") == (
            "new_password is one of the common ones, which attackers try "
            "first: choose another")

    @pytest.mark.parametrize("word, password, weak", [
        ("bienvenue", "soyez la bienvenue ici", True),
        ("bienvenue", "soyez la BienVenue ici", True),
        ("BIENVENUE", "soyez la bienvenue ici", True),
        ("bienvenue", "soyez les bienvenus ici", False),
        ("alix", "tartiflette.alixr", True),
        ("bob", "bob wants his tartiflette", False),
        ("me", "some tartiflette for me", False),
        ("", "tartiflette au reblochon", False),
        ("\u00e9lodie", "e\u0301lodie et la tartiflette", True),
        ("\u00c9LODIE", "\u00e9lodie et la tartiflette", True)],
        ids=lambda each: ascii(each))
    def test_names(self, word: str, password: str, weak: bool) -> None:
        """A word of four letters and more, in any case and encoding.

        A shorter one is in half of all sentences.
        """
        said = ("password contains a part of your address or of this "
                "service's name, which attackers try first: choose another")
        assert weakness(password, words=["mallory", word]) \
            == (said if weak else "")

    def test_field_is_the_password_unless_told(self) -> None:
        """As in every other complaint about one."""
        with pytest.raises(WeakPassword, match="^password is shorter "):
            passwords.refuse_weak("pw", 8)

    def test_says_one_thing_at_a_time(self) -> None:
        """What is to be done first: make it longer."""
        assert "shorter" in weakness("password", words=["password"])
        assert "common" in weakness("password", 8, words=["password"])
