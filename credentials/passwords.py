#!/usr/bin/env python3
"""Passwords: what may be one, how it is hashed and how it is checked.

A hash that is made here has one of three forms:

    $2b$12$...                     bcrypt of the password
    hmac-sha384$2b$12$...          bcrypt of base64(HMAC-SHA-384(password))
    hmac-sha384$3f9a01bc$2b$12$... the same, keyed with the pepper of this id

The second is for what bcrypt alone gets wrong: beyond 72 bytes bcrypt 4
forgets the tail and bcrypt 5 raises; and it repeats its key cyclically after
a NUL, so that "pw" and "pw<NUL>pw" are one password to it. Base64 keeps NUL
out of the digest (OWASP Password Storage Cheat Sheet, pre-hashing). The third
makes a copied table useless to whoever has no copy of the key. A hash that
was imported may have others: see credentials/foreign.py.

The bytes hashed are the UTF-8 of the password exactly as received (ASVS
6.2.8); they are not normalised, because the card's tools check a stored hash
with plain bcrypt.checkpw (docs/security.md#passwords).
"""
from __future__ import annotations

import base64
import hashlib
import hmac
import re
import unicodedata
from typing import Iterable, Optional, Sequence, Tuple

import bcrypt

from credentials import foreign
from credentials.blocklist import is_common
from errors import InvalidInput, WeakPassword

PASSWORD_MAX = 1024
HASH_MAX = 250  # as the card's column has it
DEFAULT_COST = 12
# A hash from elsewhere may not choose a cost that takes minutes to check.
_COST_MIN, _COST_MAX = 4, 16
# Of the last letter of a salt two bits count; bcrypt raises for other ones.
_STORED = re.compile(r"(hmac-sha384(?:\$(?P<pepper>[0-9a-f]{8}))?)?"
                     r"(?P<bcrypt>\$2[aby]\$(?P<cost>[0-9]{2})"
                     r"\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31})\Z")
_BCRYPT_BYTES = 72
_PREHASHED = "hmac-sha384"
# A shorter piece of a name is in half of all sentences.
_WORD_MIN = 4
# The keys that a hash may need, today's first; "" is no key.
Peppers = Sequence[str]
NO_PEPPER: Peppers = ("",)


def validate_password(password: object, field: str = "password") -> None:
    """Raise InvalidInput, naming the field, unless this may be a password.

    1 to 1024 characters of any kind that UTF-8 can carry. The upper bound
    keeps a flood of long ones cheap to refuse (CVE-2013-1443).
    """
    if not isinstance(password, str) or not password:
        raise InvalidInput("{} is missing".format(field))
    if len(password) > PASSWORD_MAX:
        raise InvalidInput("{} is longer than {} characters".format(
            field, PASSWORD_MAX))
    if any("\ud800" <= char <= "\udfff" for char in password):
        raise InvalidInput("{} is not valid Unicode".format(field))


def is_valid_password(password: object) -> bool:
    """Tell whether this may be a password at all, by the same rule."""
    try:
        validate_password(password)
        return True
    except InvalidInput:
        return False


def refuse_weak(password: str, minimum: int, words: Iterable[str] = (),
                field: str = "password") -> None:
    """Raise WeakPassword, naming field and rule, for one easily guessed.

    1. shorter than `minimum` characters, counted as a reader does: code
       points of the composed form (NFC);
    2. among the common ones, or made up of nothing (credentials/blocklist);
    3. with one of these words in it, of four letters and more: the name of
       the service, parts of the address (ASVS 6.2.11).
    Nothing else: no rule of composition, no age (NIST SP 800-63B-4, 3.1.1.2).
    """
    spelled = unicodedata.normalize("NFC", password)
    if len(spelled) < minimum:
        raise WeakPassword(
            "{} is shorter than {} characters: length is what makes guessing "
            "slow, so take a sentence".format(field, minimum))
    if is_common(password):
        raise WeakPassword("{} is one of the common ones, which attackers "
                           "try first: choose another".format(field))
    if any(len(word) >= _WORD_MIN and word.lower() in spelled.lower()
           for word in words):
        raise WeakPassword(
            "{} contains a part of your address or of this service's name, "
            "which attackers try first: choose another".format(field))


def hash_password(password: str, cost: int = DEFAULT_COST,
                  peppers: Peppers = NO_PEPPER) -> str:
    """Return a freshly salted hash of a valid password, in any form.

    Costs 2**cost rounds: never call it inside a transaction.
    """
    pepper = peppers[0]
    prefix, secret = "", password.encode()
    if pepper or not _fits_bcrypt(password):
        prefix, secret = _PREHASHED, _prehash(password, pepper)
    if pepper:
        prefix += "$" + pepper_id(pepper)
    return prefix + bcrypt.hashpw(secret, bcrypt.gensalt(cost)).decode("ascii")


def verify_password(password: str, hashed: str, cost: int = DEFAULT_COST,
                    peppers: Peppers = NO_PEPPER) -> bool:
    """Tell whether a valid password has this stored hash.

    Always computes exactly one hash, so that the time does not tell a
    damaged, empty or unknown one from a good one: those are answered False,
    after bcrypt of the given cost. So is one whose pepper is not at hand, or
    whose own cost is out of bounds. One that was imported takes its own time
    until its owner signs in (docs/security.md#foreign-hashes).
    """
    imported = foreign.find(str(hashed))
    if imported:
        return imported.matches(password)
    # str(): SQLite gives back bytes where another program stored bytes.
    stored, pepper = _parts(str(hashed), peppers)
    plain = not str(hashed).startswith(_PREHASHED)
    if stored is None or pepper is None \
            or (plain and not _fits_bcrypt(password)):
        stored, plain = unmatchable_hash(cost), False
    secret = password.encode() if plain else _prehash(password, pepper or "")
    return bcrypt.checkpw(secret, stored.encode("ascii"))


def needs_rehash(hashed: str, cost: int,
                 peppers: Peppers = NO_PEPPER) -> bool:
    """Tell whether a hash that was just verified should be replaced.

    Because it is cheaper than it should be, or of another pepper than
    today's, or comes from elsewhere. One of a higher cost is left alone:
    lowering the setting must not weaken what is stored.
    """
    stored, pepper = _parts(hashed, peppers)
    if stored is None:
        return foreign.find(hashed) is not None
    return int(stored[4:6]) < cost or pepper != peppers[0]


def validate_hash(hashed: object, peppers: Peppers = NO_PEPPER) -> None:
    """Raise InvalidInput unless this is a hash that can be verified here.

    For hashes that are imported; says why, and repeats nothing of the hash
    but its cost.
    """
    if not isinstance(hashed, str) or len(hashed) > HASH_MAX:
        raise InvalidInput("hashed_password is not text of up to {} "
                           "characters".format(HASH_MAX))
    bcrypted = _STORED.match(hashed)
    if bcrypted and _parts(hashed, peppers)[0] is None:
        raise InvalidInput(
            "hashed_password has a cost of {}, where {} to {} are taken"
            .format(bcrypted.group("cost"), _COST_MIN, _COST_MAX))
    if bcrypted and _parts(hashed, peppers)[1] is None:
        raise InvalidInput("hashed_password needs a pepper that neither "
                           "PEPPER nor PEPPER_OLD holds")
    if not bcrypted:
        _validate_foreign(hashed)


def unmatchable_hash(cost: int) -> str:
    """Return a hash that no password has, and that takes as long to check.

    It stands in for the hash of a user who does not exist (Django #20760).
    Its salt and digest are all zero bits, so making it costs nothing, not
    even the first time.
    """
    return "$2b${:02d}${}".format(cost, "." * 53)


def pepper_id(pepper: str) -> str:
    """Return the eight digits by which a stored hash names its pepper.

    They tell nothing of a pepper of 32 random characters, and let another be
    configured without a word about which is which.
    """
    return hmac.new(pepper.encode(), b"id", hashlib.sha256).hexdigest()[:8]


def _validate_foreign(hashed: str) -> None:
    """Raise InvalidInput unless a hash of another scheme is within bounds."""
    try:
        foreign.read(hashed)
    except foreign.BadHash as problem:
        raise InvalidInput("hashed_password {}".format(problem)) from None


def _fits_bcrypt(password: str) -> bool:
    """Tell whether bcrypt alone tells this password from all others."""
    return len(password.encode()) <= _BCRYPT_BYTES and "\0" not in password


def _prehash(password: str, pepper: str) -> bytes:
    """Return 64 characters that stand for the whole password."""
    return base64.b64encode(hmac.new(
        pepper.encode(), password.encode(), hashlib.sha384).digest())


def _parts(hashed: str, peppers: Peppers) -> Tuple[
        Optional[str], Optional[str]]:
    """Return the bcrypt hash and the pepper of a stored hash.

    None for a hash that is not safe to check, or a pepper nobody has.
    """
    match = _STORED.match(hashed)
    if not match or not _COST_MIN <= int(match.group("cost")) <= _COST_MAX:
        return None, None
    named = match.group("pepper")
    keys = [each for each in peppers if each and pepper_id(each) == named]
    return match.group("bcrypt"), keys[0] if keys else (
        None if named else "")
