#!/usr/bin/env python3
"""Whatever text there is.

The rooms that need neither a database nor a network are asked a hundred
thousand things that nobody would think of (Hypothesis): tokens, passwords and
hashes, addresses, settings, cookies, networks, bodies.
"""
from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import random
import re
import unicodedata
import uuid
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_network
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple
from urllib.parse import urlencode

import bcrypt
import pytest
from flask import request
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException
from werkzeug.test import create_environ

from app import create_app
from auth import Auth
from credentials import blocklist, foreign, passwords, tokens
from errors import InvalidInput, WeakPassword
from routes.common import MAX_LENGTH, SAFE_COOKIE, fields, the_cookie
from routes.guards import client_address, network_of
from settings import BadSettings, Settings
from tests.helpers import ROOT
from tests.proofs.size import size
from user import canonical_email, validate_email, validate_mailable

# Nothing here depends on the database, nor much on the Python.
pytestmark = pytest.mark.once

CASES = size(25, 7000)
# What a broken room is tried with: enough to be found out by.
ENOUGH = 400
Check = Callable[..., None]
Tell = Callable[[str], None]
# Half a pair, as JSON can spell it, and a byte of an environment that is not
# UTF-8, as Python spells it.
HALF = "\ud800\udc80"
ANY_TEXT = st.text(st.one_of(st.characters(), st.sampled_from(HALF)),
                   max_size=40)
KEY, OTHER_KEY = "k" * 32, "o" * 32


def prove(check: Check, *cases: st.SearchStrategy[Any],
          count: int = CASES) -> int:
    """Try a check on so many cases and return how many it were.

    Raises what the check raises, at the first case for which it does.
    """
    tried: List[int] = []

    @settings(max_examples=count, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(st.tuples(*cases))
    def try_one(case: Tuple[Any, ...]) -> None:
        """Try one case."""
        check(*case)
        tried.append(1)
    try_one()
    return len(tried)


def found_out(check: Check, *cases: st.SearchStrategy[Any]) -> bool:
    """Tell whether a check, of something broken, fails soon."""
    try:
        prove(check, *cases, count=ENOUGH)
    except AssertionError:
        return True
    return False


@pytest.fixture
def holds(figure: Tell) -> Callable[..., None]:
    """A check holds for all cases, which are told to docs/proof.md."""
    def try_all(what: str, check: Check, *cases: st.SearchStrategy[Any],
                count: int = CASES) -> None:
        """Try it, and say how often."""
        tried = prove(check, *cases, count=count)
        assert tried > 0.9 * count
        figure("{:,} {}".format(tried, what))
    return try_all


def nearly(texts: st.SearchStrategy[str], put: str) -> st.SearchStrategy[str]:
    """Return these texts, most of them with a bit gone or put in."""
    def damage(text: str, place: int, cut: int, more: str) -> str:
        """Damage one of them."""
        place %= len(text) + 1
        return text[:place] + more + text[place + cut:]
    return st.builds(damage, texts, st.integers(0, 300), st.integers(0, 2),
                     st.text(put, max_size=2))


# -- Tokens

TOKENS = st.uuids().map(str)
NEARLY_TOKENS = st.one_of(
    TOKENS, nearly(TOKENS, "0aAfg-\n \0\u0661"), TOKENS.map(str.upper),
    ANY_TEXT, st.none(), st.integers(), st.binary(max_size=36),
    st.lists(TOKENS, max_size=1))


@pytest.mark.promise("Nothing is looked up but a token as we make them, and "
                     "no log keeps one.")
class TestTokens:
    """What a client presents, and what is written down of it."""

    @staticmethod
    def looks_up(digest: Callable[[Any], Optional[str]]) -> Check:
        """Return a check of what a presented value is looked up by."""
        def check(value: Any) -> None:
            """Compare with what Python says of UUIDs."""
            try:
                good = isinstance(value, str) and str(
                    uuid.UUID(value)) == value
            except ValueError:
                good = False
            assert digest(value) == (hashlib.sha256(
                value.encode()).hexdigest() if good else None)
        return check

    @staticmethod
    def masks(masked: Callable[[str], str]) -> Check:
        """Return a check of what a log keeps of a text with a token."""
        def check(before: str, token: str, after: str) -> None:
            """Look for the token."""
            assert token.lower() not in masked(before + token + after).lower()
        return check

    def test_looked_up(self, holds: Callable[..., None]) -> None:
        """No other text, and nothing that is no text."""
        holds("values presented", self.looks_up(tokens.presented_digest),
              NEARLY_TOKENS)

    @pytest.mark.broken("a token may be written in another way")
    def test_generous_one(self) -> None:
        """As a careless route would."""
        assert found_out(self.looks_up(lambda value: tokens.presented_digest(
            value.strip().lower() if isinstance(value, str) else value)),
            NEARLY_TOKENS)

    @pytest.mark.broken("whatever is not empty is looked up")
    def test_gullible_one(self) -> None:
        """Of any type."""
        assert found_out(self.looks_up(lambda value: value and hashlib.sha256(
            repr(value).encode()).hexdigest()), NEARLY_TOKENS)

    WRITTEN = (ANY_TEXT, st.one_of(TOKENS, TOKENS.map(str.upper)), ANY_TEXT)

    def test_masked(self, holds: Callable[..., None]) -> None:
        """Wherever it stands."""
        holds("texts masked", self.masks(tokens.masked), *self.WRITTEN)

    @pytest.mark.broken("tokens in capitals are written down")
    def test_half_masked(self) -> None:
        """As by a pattern that forgot them."""
        assert found_out(self.masks(lambda text: re.sub(
            r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "", text)),
            *self.WRITTEN)


# -- Passwords and hashes

COST = 4
PASSWORDS = st.one_of(
    st.text("ab\0", min_size=1, max_size=4),
    st.text("ab\u00e9\U0001f600", min_size=60, max_size=80),
    st.text(min_size=1, max_size=20))
# What is no other password to bcrypt, and more that is no better.
CHANGES: List[Callable[[str], str]] = [
    lambda each: each, lambda each: each + "\0",
    lambda each: each + "\0" + each, lambda each: each + each,
    lambda each: each + "x", lambda each: each[:72], lambda each: each[:-1],
    lambda each: each + " ", str.swapcase,
    lambda each: unicodedata.normalize("NFD", each)]


class Hasher(NamedTuple):
    """How passwords are hashed and verified."""

    hashes: Callable[..., str]
    verifies: Callable[..., bool]


@pytest.mark.promise("A password is opened by itself and by nothing else, "
                     "whatever its letters and its length.")
class TestPasswords:
    """Hashes that are made here."""

    SAME_OR_NOT = (PASSWORDS, st.sampled_from(CHANGES),
                   st.sampled_from([("",), (KEY,), (KEY, OTHER_KEY)]))

    @staticmethod
    def is_exact(hasher: Hasher) -> Check:
        """Return a check of a way to hash."""
        def check(password: str, change: Callable[[str], str],
                  peppers: Tuple[str, ...]) -> None:
            """Present a password that is nearly the right one, or is."""
            other = change(password)
            hashed = hasher.hashes(password, COST, peppers)
            assert hasher.verifies(other, hashed, COST, peppers) \
                == (other == password)
        return check

    def test_same_or_not(self, holds: Callable[..., None]) -> None:
        """Also where bcrypt sees no difference."""
        holds("pairs", self.is_exact(Hasher(
            passwords.hash_password, passwords.verify_password)),
            *self.SAME_OR_NOT, count=size(25, 3000))

    @pytest.mark.broken("bcrypt is given the first 72 bytes")
    def test_bcrypt_alone(self) -> None:
        """As bcrypt before version 5 did by itself."""
        assert found_out(self.is_exact(Hasher(
            lambda password, *_: bcrypt.hashpw(password.encode()[
                :72], bcrypt.gensalt(COST)).decode(),
            lambda password, hashed, *_: bcrypt.checkpw(
                password.encode()[:72], hashed.encode()))),
            *self.SAME_OR_NOT)


class Work:
    """Stands in for what computes hashes; nothing may ask for too much."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Be asked instead of the real functions from now on."""
        self.asked = 0
        patch.setattr(hashlib, "pbkdf2_hmac", self._pbkdf2)
        patch.setattr(hashlib, "scrypt", self._scrypt)
        patch.setattr(foreign, "argon2", lambda: SimpleNamespace(
            hash_secret_raw=self._argon2, Type=SimpleNamespace(ID=2)))

    def _pbkdf2(self, name: str, password: bytes, salt: bytes,
                rounds: int) -> bytes:
        """Take seconds at most."""
        self.asked += 1
        assert 1000 <= rounds <= 5000000
        return b""

    def _scrypt(self, password: bytes, *, salt: bytes, n: int, r: int, p: int,
                dklen: int, maxmem: int) -> bytes:
        """Take 128 MiB at most, and seconds."""
        self.asked += 1
        assert n & n - 1 == 0 and 128 * n * r <= 128 * 2 ** 20
        assert n * r * p <= 2 ** 21 and dklen >= 32
        return b""

    def _argon2(self, password: bytes, salt: bytes, t: int, m: int, p: int,
                size: int, kind: int) -> bytes:
        """Take 128 MiB at most, written a few times."""
        self.asked += 1
        assert m <= 128 * 1024 and m * t <= 2 ** 20 and p <= 16 and size >= 16
        return b""


B64 = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
SIZES = st.one_of(st.integers(0, 9), st.sampled_from(
    [10, 14, 16, 17, 999, 1000, 16384, 600000, 131072, 5000001, 10 ** 9]))
DIGESTS = st.sampled_from([20, 32, 64]).map(lambda count: "A" * -(
    -count * 4 // 3))
HEX = st.sampled_from(["ab" * 20, "ab" * 32, "ab" * 64])
FOREIGN = st.one_of(
    st.builds("pbkdf2_sha{}${}$salt${}".format,
              st.sampled_from([1, 256, 512]), SIZES, DIGESTS),
    st.builds("pbkdf2:sha{}:{}$salt${}".format,
              st.sampled_from([1, 256, 512]), SIZES, HEX),
    st.builds("$pbkdf2-sha256${}$c2FsdA${}".format, SIZES, DIGESTS),
    st.builds("scrypt${}$salt${}${}${}".format, SIZES, SIZES, SIZES, DIGESTS),
    st.builds("scrypt:{}:{}:{}$salt${}".format, SIZES, SIZES, SIZES, HEX),
    st.builds("$scrypt$ln={},r={},p={}$c2FsdA${}".format,
              SIZES, SIZES, SIZES, DIGESTS),
    st.builds("$argon2id$v=19$m={},t={},p={}$c2FsdHNhbHQ${}".format,
              SIZES, SIZES, SIZES, DIGESTS))


@lru_cache(maxsize=None)
def our_hashes() -> List[str]:
    """Return a hash of each form that is made here, all of one password."""
    return [passwords.hash_password("pw" * length, COST, (pepper,))
            for length in (1, 50) for pepper in ("", KEY)]


HASHES = st.one_of(
    nearly(st.deferred(lambda: st.sampled_from(our_hashes())), B64 + "$=\n"),
    st.builds("$2{}$04${}".format, st.sampled_from("aby"),
              st.text(B64, min_size=53, max_size=53)),
    FOREIGN, nearly(FOREIGN, "$=,:0aA\u0661"), ANY_TEXT)


@pytest.mark.promise("No stored hash, damaged or planted, breaks a sign-in, "
                     "opens to anybody, or costs more than its bounds.")
class TestHashes:
    """Whatever stands where a hash should."""

    @staticmethod
    def is_harmless(verifies: Callable[..., bool]) -> Check:
        """Return a check of a way to verify hashes."""
        def check(hashed: str) -> None:
            """Present a password that none of them is of."""
            # Takes as long as it says, up to seconds.
            assume(not re.search(r"\$2[aby]\$(0[5-9]|1)", hashed))
            try:
                passwords.validate_hash(hashed, (KEY,))
            except InvalidInput:
                pass
            try:
                opens = verifies("nobody's", hashed, COST, (KEY,))
            except ValueError as error:
                raise AssertionError(hashed) from error
            assert not opens
        return check

    def test_harmless(self, holds: Callable[..., None],
                      monkeypatch: pytest.MonkeyPatch) -> None:
        """By an import or behind our back."""
        work = Work(monkeypatch)
        holds("hashes", self.is_harmless(passwords.verify_password), HASHES,
              count=size(100, CASES))
        assert work.asked

    @pytest.mark.broken("bcrypt is asked about any hash")
    def test_trusting_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It raises for a salt that is none."""
        Work(monkeypatch)
        assert found_out(self.is_harmless(
            lambda password, hashed, *_: bcrypt.checkpw(
                password.encode(), hashed.encode("utf-8", "replace"))),
            HASHES)

    @pytest.mark.broken("a planted hash may ask for any number of rounds")
    def test_no_bounds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One of them would take minutes."""
        Work(monkeypatch)
        monkeypatch.setattr(foreign, "ROUNDS", (1, 10 ** 10))
        assert found_out(self.is_harmless(passwords.verify_password), HASHES)


SPELLINGS: List[Callable[[str], str]] = [
    str, str.upper, str.title, str.swapcase,
    lambda each: unicodedata.normalize("NFD", each),
    lambda each: unicodedata.normalize("NFD", each.upper())]
COMMON = st.deferred(lambda: st.sampled_from(sorted(
    blocklist.common_passwords())))


@pytest.mark.promise("No common password is taken, in whatever case or "
                     "encoding, nor one that is short or holds one's name.")
class TestBlocklist:
    """What attackers try first."""

    SPELLED = (COMMON, st.sampled_from(SPELLINGS), st.integers(1, 3))
    WORDS = ("bienvenue", "guillaume", "bob")
    CHOSEN = (st.lists(st.sampled_from(
        ["GUILLAUME", "Bien", "venue", "bob", "e\u0301", "tartiflette", " "]
    ), max_size=6).map("".join), st.integers(8, 20))

    @staticmethod
    def knows(is_common: Callable[[str], bool]) -> Check:
        """Return a check of a list of common passwords."""
        def check(word: str, spell: Callable[[str], str],
                  times: int) -> None:
            """Spell one of them in another way, and repeat it."""
            assume(word.upper().lower() == word)
            assert is_common(spell(word) * times)
        return check

    @staticmethod
    def refuses(refuse: Callable[..., None]) -> Check:
        """Return a check of what refuses weak passwords."""
        def check(password: str, minimum: int) -> None:
            """Look at what is taken."""
            try:
                refuse(password, minimum, TestBlocklist.WORDS)
            except WeakPassword:
                return
            assert len(unicodedata.normalize("NFC", password)) >= minimum
            assert "bienvenue" not in password.lower()
            assert "guillaume" not in password.lower()
        return check

    def test_common(self, holds: Callable[..., None]) -> None:
        """All of them are known."""
        holds("spellings of common ones", self.knows(blocklist.is_common),
              *self.SPELLED)

    @pytest.mark.broken("a common password passes in capitals")
    def test_one_spelling(self) -> None:
        """As by a list that is looked up as it stands."""
        assert found_out(self.knows(
            lambda each: each in blocklist.common_passwords()),
            *self.SPELLED)

    def test_weak(self, holds: Callable[..., None]) -> None:
        """What is taken is long enough and names nobody."""
        holds("choices", self.refuses(passwords.refuse_weak), *self.CHOSEN)

    @pytest.mark.broken("bytes are counted for letters")
    def test_counted_otherwise(self) -> None:
        """An accent is no letter."""
        def refuse(password: str, minimum: int, words: Any) -> None:
            """Refuse by bytes."""
            if len(password.encode()) < minimum:
                raise WeakPassword("too short")
        assert found_out(self.refuses(refuse), *self.CHOSEN)


# -- Addresses

# Each line is one name, or one domain, in spellings that mean the same.
NAMES = [["kim", "KIM", "\u212aim"], ["k\u0131m"], ["jos\u00e9", "JOSE\u0301"],
         ["jose"], ["fin", "Fin"], ["\ufb01n"], ["mass", "MASS"],
         ["ma\u00df"], ["ma\u017fs"], ["k\u0456m"], ["\uff4bim"], [" kim"],
         ["kim+x", "Kim+X"], ["ki.m"]]
DOMAINS = [["me.com", "ME.Com", "\uff4de.com"],
           ["m\u0435.com", "xn--m-jtb.com"],
           ["b\u00fccher.de", "BU\u0308CHER.de", "xn--bcher-kva.de",
            "XN--BCHER-KVA.DE"], ["bucher.de"],
           ["fa\u00df.de", "xn--fa-hia.de"], ["fass.de", "FASS.de"],
           ["\u4f8b.jp", "\u4f8b\u3002jp", "xn--fsq.jp"]]


def spelled(classes: List[List[str]]) -> st.SearchStrategy[Tuple[int, str]]:
    """Return one spelling of something, and of what it is one."""
    return st.sampled_from([(number, each) for number, spellings in enumerate(
        classes) for each in spellings])


PEOPLE = st.tuples(spelled(NAMES), spelled(NAMES), spelled(DOMAINS))
LETTERS = "aB.@\"<>,;:()[]\\ \t\r\n\0%+-_='\u00e9\u00df\u4f8b\u202e\u2028x1"
NEARLY_MAILABLE = st.one_of(
    nearly(st.builds("{}@{}".format, st.sampled_from(
        ["bob", "o'hara", "a+b", '"bob"', "=?utf-8?q?x?=", "a.b", "x" * 64]),
        st.sampled_from(["me.com", "b\u00fccher.de", "xn--bcher-kva.de",
                         "[127.0.0.1]", "localhost", "a-b.c", "1.2"])),
           LETTERS + HALF),
    st.text(LETTERS, max_size=12), ANY_TEXT)


@pytest.mark.promise("One mailbox is one account in every spelling, look-"
                     "alikes are others, and what is taken can be mailed.")
class TestAddresses:
    """When two addresses are one, and what an address is."""

    @staticmethod
    def tells_apart(canonical: Callable[[str], str]) -> Check:
        """Return a check of a way to spell addresses."""
        def check(pair: Tuple[Any, Any]) -> None:
            """Compare the addresses of two people, or of one."""
            one, other = pair
            same = [each[0] for each in one] == [each[0] for each in other]
            first, second = ("{}.{}@{}".format(*(
                each[1] for each in person)) for person in (one, other))
            assert (canonical(first) == canonical(second)) == same
        return check

    @staticmethod
    def settles(canonical: Callable[[str], str]) -> Check:
        """Return a check of whether a spelling stays as it is."""
        def check(text: str) -> None:
            """Spell it twice."""
            once = canonical(text)
            assert canonical(once) == once
            assert canonical(unicodedata.normalize("NFD", text)) == once
        return check

    @staticmethod
    def can_be_mailed(validate: Callable[[str], None]) -> Check:
        """Return a check of what production takes for an address."""
        def check(email: str) -> None:
            """Write a mail to whom is taken, and read who it is for."""
            try:
                validate_email(email)
                validate(email)
            except InvalidInput:
                return
            assert recipients(canonical_email(email)) == [
                canonical_email(email)]
        return check

    PAIRS = st.tuples(PEOPLE, PEOPLE, st.randoms(use_true_random=False)).map(
        lambda drawn: (drawn[0], resembling(*drawn)))

    def test_equal_or_not(self, holds: Callable[..., None]) -> None:
        """By what mail servers do, and not by what looks alike."""
        holds("pairs", self.tells_apart(canonical_email), self.PAIRS)

    @pytest.mark.broken("a look-alike is taken for another's address")
    def test_compatible_one(self) -> None:
        """As by normalising to NFKC, or folding."""
        assert found_out(self.tells_apart(
            lambda email: unicodedata.normalize(
                "NFKC", canonical_email(email)).casefold()), self.PAIRS)

    @pytest.mark.broken("a capital makes a second account")
    def test_exact_one(self) -> None:
        """As by comparing what was typed."""
        assert found_out(self.tells_apart(str), self.PAIRS)

    def test_settled(self, holds: Callable[..., None]) -> None:
        """What was stored finds itself again, however it is composed."""
        holds("texts", self.settles(canonical_email), ANY_TEXT)

    @pytest.mark.broken("letters are made small and not composed again")
    def test_unsettled(self) -> None:
        """Small ones of a few compose otherwise."""
        assert found_out(self.settles(str.swapcase), ANY_TEXT)

    def test_mailable(self, holds: Callable[..., None]) -> None:
        """It is written into a header, and is one recipient there."""
        holds("addresses, or nearly", self.can_be_mailed(validate_mailable),
              NEARLY_MAILABLE)

    @pytest.mark.broken("any text with an @ can be mailed")
    def test_gullible_one(self) -> None:
        """Two recipients, say."""
        def validate(email: str) -> None:
            """Refuse what has none."""
            if "@" not in email:
                raise InvalidInput("no @")
        assert found_out(self.can_be_mailed(validate), NEARLY_MAILABLE)


def resembling(one: Any, other: Any, chance: random.Random) -> Any:
    """Return the one, spelled anew, with perhaps a part of the other."""
    return tuple(
        theirs if chance.random() < 0.2
        else (number, chance.choice(classes[number]))
        for (number, _), theirs, classes in zip(
            one, other, (NAMES, NAMES, DOMAINS)))


def recipients(email: str) -> List[str]:
    """Return who would get a mail to this address, none if it has none."""
    message = EmailMessage()
    try:
        message["To"] = Address(addr_spec=email)
        read: Any = message_from_bytes(
            message.as_bytes(), policy=policy.SMTP)
        return [each.addr_spec for each in read["To"].addresses]
    except Exception:  # the parser fails in many ways
        return []


# -- Settings

CANARY = "ca-na-ry"
SECRETS = [each.metadata["name"] for each in dataclasses.fields(Settings)
           if each.metadata["secret"]]
PLAIN = [each.metadata["name"] for each in dataclasses.fields(Settings)
         if not each.metadata["secret"]] + [
             each + "_FILE" for each in SECRETS] + ["FLASK_DEBUG"]
# All that stands between a URL's ends and the secret in it.
AROUND = st.text("aB:@/?#&= \n%\udc80", max_size=6)
HIDDEN = st.one_of(
    st.builds("{}://u:{}{}{}@h{}".format, st.sampled_from(
        ["postgresql", "postgres", "mysql", "smtp", "smtps"]), AROUND,
        st.just(CANARY), AROUND, st.sampled_from(["/d", "", ":1", "/d?a=b@c"])
    ).filter(lambda each: not re.search(
        # An end before the secret makes it part of a path or a host.
        r"://u:[^@]*@.*" + CANARY, each, re.S)),
    st.builds("postgresql://u@h/d?{}password={}{}".format, st.sampled_from(
        ["", "a=b&", "a=b@c&"]), st.just(CANARY), st.text("a@:", max_size=3)),
    st.builds("{}{}{}".format, st.sampled_from(["", "k" * 40, "k" * 40 + ","]),
              st.just(CANARY), st.one_of(AROUND, st.just("k" * 40))))
VALUES = st.one_of(
    st.sampled_from([
        "", "0", "1", "4", "10", "16", "90s", "1h", "30d", "3/1h", "30/5m",
        "production", "development", "Prod", "https://auth.example.com",
        "/account", "https://www.example.com/account", "auth@example.com",
        "a.example,b.example", "sqlite:////tmp/a.db", "sqlite:///:memory:",
        "#1d4ed8", "/", str(ROOT), __file__, "/nowhere/a.svg", "..",
        "http://[", "https://a:b@c/", "9" * 12, "x" * 300 + ".svg"]),
    nearly(st.sampled_from(["https://a.example:443/", "90s", "3/1h", "16"]),
           "0/:x \n\u0663"),
    st.text(st.one_of(st.characters(min_codepoint=1),
                      st.just("\udc80")), max_size=8))
ENVIRONMENTS = st.tuples(
    st.dictionaries(st.sampled_from(PLAIN), VALUES, max_size=6),
    st.dictionaries(st.sampled_from(SECRETS), HIDDEN, max_size=2))


@pytest.mark.promise("Any environment is settings, or sentences that name "
                     "what to set; a secret is never among what is said.")
class TestSettings:
    """What a deployer may have set, by mistake or not."""

    @staticmethod
    def speaks_well(read: Callable[[Dict[str, str]], Settings]) -> Check:
        """Return a check of what reads an environment."""
        def check(environ: Tuple[Dict[str, str], Dict[str, str]]) -> None:
            """Read it, and look at all that is said."""
            try:
                found = read(dict(environ[0], **environ[1]))
                problems: List[str] = []
            except BadSettings as error:
                found, problems = error.settings, error.problems
                assert problems
            except Exception as error:
                raise AssertionError(environ) from error
            for each in problems:
                assert any(name in each for name in PLAIN + SECRETS), each
            assert CANARY not in repr((problems, found, found.shown()))
        return check

    def test_said(self, holds: Callable[..., None]) -> None:
        """No other exception ends the start."""
        holds("environments", self.speaks_well(Settings.from_env),
              ENVIRONMENTS)

    @pytest.mark.broken("a complaint repeats the secret")
    def test_talkative_one(self) -> None:
        """As most programs do."""
        def read(environ: Dict[str, str]) -> Settings:
            """Read, and tell too much."""
            try:
                return Settings.from_env(environ)
            except BadSettings as error:
                raise BadSettings([
                    "{}: {}".format(each, environ.get(each.split()[0]))
                    for each in error.problems], error.settings) from error
        assert found_out(self.speaks_well(read), ENVIRONMENTS)

    @pytest.mark.broken("a bad number is an error of Python's")
    def test_speechless_one(self) -> None:
        """With a traceback."""
        def read(environ: Dict[str, str]) -> Settings:
            """Read a number first."""
            int(environ.get("PORT") or 5000)
            return Settings.from_env(environ)
        assert found_out(self.speaks_well(read), ENVIRONMENTS)


# -- What a request says

@lru_cache(maxsize=None)
def application() -> Any:
    """Return the app, which no database is behind."""
    return create_app(Auth(settings=Settings()))


@lru_cache(maxsize=None)
def blank() -> Dict[str, Any]:
    """Return a request that says nothing."""
    return create_environ(method="POST")


def in_request(work: Callable[[], Any], **environ: Any) -> Any:
    """Do something inside of a request."""
    with application().request_context(dict(blank(), **environ)):
        return work()


COOKIE_NAMES = st.one_of(
    st.sampled_from([SAFE_COOKIE, SAFE_COOKIE + " ", "\t" + SAFE_COOKIE]),
    nearly(st.just(SAFE_COOKIE), " \t\xa0\x85\x1fa\"\\$"),
    st.text("a_-\"\xff", max_size=4))
COOKIES = st.lists(st.tuples(COOKIE_NAMES, st.text(
    "ab=\" \t,\\\xff", max_size=6)), max_size=4)


@pytest.mark.promise("A session counts that is sent once, under its exact "
                     "name; no planted cookie shadows it or passes for it.")
class TestCookies:
    """Whatever is in the jar."""

    @staticmethod
    def finds(cookie: Callable[[str], str]) -> Check:
        """Return a check of what finds our cookie."""
        def check(jar: List[Tuple[str, str]]) -> None:
            """Send a jar as browsers do."""
            ours = [value.strip(" \t") for name, value in jar
                    if name.strip(" \t") == SAFE_COOKIE]
            assert in_request(
                lambda: cookie(SAFE_COOKIE),
                HTTP_COOKIE="; ".join(map("=".join, jar))
            ) == (ours[0] if len(ours) == 1 else "")
        return check

    def test_found(self, holds: Callable[..., None]) -> None:
        """Ours, and none of a neighbour's."""
        holds("jars", self.finds(the_cookie), COOKIES)

    @pytest.mark.broken("cookies are read as Werkzeug reads them")
    def test_of_werkzeug(self) -> None:
        """The first of two counts."""
        assert found_out(self.finds(
            lambda name: request.cookies.get(name, "")), COOKIES)

    @pytest.mark.broken("any blank is taken off a name")
    def test_stripped(self) -> None:
        """As str.strip() does."""
        def cookie(name: str) -> str:
            """Find it, by a name that is stripped too well."""
            found = [each.partition("=")[2].strip(" \t") for each in
                     request.environ["HTTP_COOKIE"].split(";")
                     if each.partition("=")[0].strip() == name]
            return found[0] if len(found) == 1 else ""
        assert found_out(self.finds(cookie), COOKIES)


V4 = st.integers(0, 2 ** 32 - 1).map(IPv4Address)
V6 = st.integers(0, 2 ** 128 - 1).map(IPv6Address)
NEARLY_ADDRESSES = st.one_of(
    V4.map(str), V6.map(str), V6.map(lambda each: each.exploded.upper()),
    V4.map("::ffff:{}".format), nearly(V4.map(str), "0.: %[]"),
    nearly(V6.map(str), "0:.%eth"), ANY_TEXT)


@pytest.mark.promise("A household is one party, whichever of its addresses "
                     "it takes, and nobody makes up where they are.")
class TestCallers:
    """Who is asking, for the throttle and the record."""

    @staticmethod
    def counts(network: Callable[[str], str]) -> Check:
        """Return a check of what counts as one party."""
        def check(address: str, low: int) -> None:
            """Take any address, and another of the same household."""
            found = network(address)
            if not found:
                return
            party = ip_network(found)
            assert network(str(party[0])) == found
            assert party.version == 4 or party.prefixlen == 64
            neighbour = party[low % party.num_addresses]
            assert network(neighbour.exploded.upper()) == found
            if party.version == 4:
                assert network("::ffff:" + found) == found
        return check

    @staticmethod
    def believes(client: Callable[[str, str, int], str]) -> Check:
        """Return a check of what is believed of X-Forwarded-For."""
        def check(made_up: str, proxies: List[str], hops: int) -> None:
            """Put something before what our proxies wrote."""
            assume(len(proxies) >= hops)
            wrote = ", ".join(proxies)
            assert client("192.0.2.1", made_up + "," + wrote, hops) == (
                proxies[-hops] if hops else "192.0.2.1")
        return check

    ADDRESSES = (NEARLY_ADDRESSES, st.integers(0, 2 ** 64))
    CHAINS = (ANY_TEXT, st.lists(V4.map(str), min_size=1, max_size=4),
              st.integers(0, 4))

    def test_network(self, holds: Callable[..., None]) -> None:
        """A /64 of IPv6, one address of IPv4."""
        holds("addresses", self.counts(network_of), *self.ADDRESSES)

    @pytest.mark.broken("each address of IPv6 is a party")
    def test_single_one(self) -> None:
        """Everybody has 2**64 of them."""
        assert found_out(self.counts(str.lower), *self.ADDRESSES)

    def test_believed(self, holds: Callable[..., None]) -> None:
        """Only what our own proxies say."""
        holds("chains of proxies", self.believes(client_address),
              *self.CHAINS)

    @pytest.mark.broken("the first entry is believed")
    def test_gullible_one(self) -> None:
        """Which the client wrote."""
        assert found_out(self.believes(
            lambda peer, said, hops: said.split(",")[0].strip() if hops
            else peer), *self.CHAINS)


FORM, JSON = "application/x-www-form-urlencoded", "application/json"
NAMED = ("email", "password")
SENT = st.dictionaries(st.sampled_from(NAMED + ("x", "\u00e9")), st.text(
    st.one_of(st.characters(max_codepoint=0xd7ff),
              st.sampled_from("&=%+\0\"\\\U0001f600")), max_size=12))
JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(),
              ANY_TEXT.map(lambda each: each.replace("\udc80", ""))),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(NAMED + ("x",)), inner, max_size=3), max_leaves=6)
OBJECTS = JSON_VALUES.map(json.dumps)
BODIES = st.one_of(
    st.binary(max_size=60),
    OBJECTS.map(str.encode),
    nearly(OBJECTS, "{}[]\",:\\\u00e9e9\0").map(str.encode),
    nearly(SENT.map(urlencode), "&=%;+\u00e9").map(str.encode),
    st.lists(st.sampled_from(
        ["email=a", "email=b", "em%61il=c", "password=%ff", "%00", "&", "x"]),
        max_size=4).map("&".join).map(str.encode),
    st.lists(st.sampled_from(['"email":"a"', '"email":"b"', '"x":1']),
             max_size=3).map(",".join).map("{{{}}}".format).map(str.encode),
    OBJECTS.map(lambda each: each.encode("utf-16")))
KINDS = st.one_of(st.sampled_from([FORM, JSON, JSON + "; charset=utf-16"]),
                  nearly(st.sampled_from([FORM, JSON]), ";/=\" a"))


@pytest.mark.promise("A body is read in one way only: each field as it was "
                     "sent, or a refusal that says so.")
class TestBodies:
    """Forms and JSON."""

    @staticmethod
    def reads(read: Callable[..., Tuple[str, ...]]) -> Check:
        """Return a check of what reads fields."""
        def check(sent: Dict[str, str]) -> None:
            """Send some in every way there is."""
            for kind, body in (
                    (FORM, urlencode(sent)), (JSON, json.dumps(sent)),
                    (JSON, json.dumps(sent, ensure_ascii=False))):
                assert posted(read, kind, body.encode()) == tuple(
                    sent.get(name, "") for name in NAMED)
        return check

    @staticmethod
    def survives(read: Callable[..., Tuple[str, ...]]) -> Check:
        """Return a check of what reads rubbish."""
        def check(kind: str, body: bytes) -> None:
            """Read it, or refuse it as the client's fault."""
            try:
                found = posted(read, kind, body)
            except InvalidInput:
                return
            except HTTPException as error:
                assert 400 <= (error.code or 0) < 500
                return
            except Exception as error:
                raise AssertionError((kind, body)) from error
            for name, value in zip(NAMED, found):
                assert isinstance(value, str)
                assert len(value) <= MAX_LENGTH[name]
                assert not re.search("[\ud800-\udfff]", value)
                assert names_in(kind, body).count(name) < 2
        return check

    def test_as_sent(self, holds: Callable[..., None]) -> None:
        """By form and by JSON."""
        holds("objects, each sent in 3 ways", self.reads(fields), SENT)

    @pytest.mark.broken("fields are stripped")
    def test_stripped(self) -> None:
        """A password may begin with a blank."""
        assert found_out(self.reads(lambda *names: tuple(
            each.strip() for each in fields(*names))), SENT)

    def test_rubbish(self, holds: Callable[..., None]) -> None:
        """It is the client's fault, and never ours."""
        holds("bodies of rubbish", self.survives(fields), KINDS, BODIES)

    @pytest.mark.broken("bodies are read as Flask reads them")
    def test_of_flask(self) -> None:
        """Of any type, and the last of two."""
        def read(*names: str) -> Tuple[Any, ...]:
            """Read JSON, or a form."""
            sent = request.get_json(silent=True) or request.form
            return tuple(sent.get(name, "") for name in names)
        assert found_out(self.survives(read), KINDS, BODIES)


def names_in(kind: str, body: bytes) -> List[str]:
    """Return the names of the fields in a body, each as often as it is.

    Raises AssertionError if none can be read.
    """
    if kind == FORM:
        return [each.partition("=")[0]
                for each in body.decode("latin-1").split("&")]
    if kind != JSON or not body:
        return []
    try:
        return [each[0] for each in json.loads(
            body.decode(), object_pairs_hook=list)]
    except ValueError as error:
        raise AssertionError(body) from error


def posted(read: Callable[..., Tuple[str, ...]], kind: str,
           body: bytes) -> Any:
    """Return what is read of a body of this type."""
    return in_request(
        lambda: read(*NAMED), CONTENT_TYPE=kind,
        CONTENT_LENGTH=str(len(body)), **{"wsgi.input": io.BytesIO(body)})
