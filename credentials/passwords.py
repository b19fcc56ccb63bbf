#!/usr/bin/env python3
"""Passwords: what may be one, how it is hashed and how it is checked.

A stored hash has one of two forms:

    $2b$12$...                  bcrypt of the password
    hmac-sha384$2b$12$...       bcrypt of base64(HMAC-SHA-384(password))

The second is for what bcrypt alone gets wrong: beyond 72 bytes bcrypt 4
forgets the tail and bcrypt 5 raises; and it repeats its key cyclically after
a NUL, so that "pw" and "pw<NUL>pw" are one password to it. Base64 keeps NUL
out of the digest (OWASP Password Storage Cheat Sheet, pre-hashing).

The bytes hashed are the UTF-8 of the password exactly as received (ASVS
6.2.8); they are not normalised, because the card's tools check a stored hash
with plain bcrypt.checkpw (docs/security.md#passwords).
"""
from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Optional

import bcrypt

from errors import InvalidInput

PASSWORD_MAX = 1024
DEFAULT_COST = 12
# A hash from elsewhere may not choose a cost that takes minutes to check.
_COST_MIN, _COST_MAX = 4, 16
_BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}\Z")
_BCRYPT_BYTES = 72
_PREHASHED = "hmac-sha384"


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


def hash_password(password: str, cost: int = DEFAULT_COST) -> str:
    """Return a freshly salted hash of a valid password, in either form.

    Costs 2**cost rounds: never call it inside a transaction.
    """
    plain = _fits_bcrypt(password)
    secret = password.encode() if plain else _prehash(password)
    hashed = bcrypt.hashpw(secret, bcrypt.gensalt(cost)).decode("ascii")
    return hashed if plain else _PREHASHED + hashed


def verify_password(password: str, hashed: str,
                    cost: int = DEFAULT_COST) -> bool:
    """Tell whether a valid password has this stored hash.

    Always computes exactly one bcrypt hash, so that the time does not tell a
    damaged, empty or foreign hash from a good one: those are answered False,
    after a hash of the given cost.
    """
    # str(): SQLite gives back bytes where another program stored bytes.
    scheme, _, rest = str(hashed).partition("$")
    stored = "$" + rest
    plain = scheme == "" and _fits_bcrypt(password)
    secret = password.encode() if plain else _prehash(password)
    if not (plain or scheme == _PREHASHED) or _cost_of(stored) is None:
        stored = unmatchable_hash(cost)
    return bcrypt.checkpw(secret, stored.encode("ascii"))


def needs_rehash(hashed: str, cost: int) -> bool:
    """Tell whether a hash that was just verified is cheaper than it should be.

    One of a higher cost is left alone: lowering the setting must not weaken
    what is stored.
    """
    found = _cost_of(hashed[hashed.find("$"):])
    return found is not None and found < cost


def unmatchable_hash(cost: int) -> str:
    """Return a hash that no password has, and that takes as long to check.

    It stands in for the hash of a user who does not exist (Django #20760).
    Its salt and digest are all zero bits, so making it costs nothing, not
    even the first time.
    """
    return "$2b${:02d}${}".format(cost, "." * 53)


def _fits_bcrypt(password: str) -> bool:
    """Tell whether bcrypt alone tells this password from all others."""
    return len(password.encode()) <= _BCRYPT_BYTES and "\0" not in password


def _prehash(password: str) -> bytes:
    """Return 64 characters that stand for the whole password.

    The key is empty until a pepper is configured; what is stored says which.
    """
    return base64.b64encode(
        hmac.new(b"", password.encode(), hashlib.sha384).digest())


def _cost_of(hashed: str) -> Optional[int]:
    """Return the cost of a bcrypt hash that is safe to check, or None."""
    match = _BCRYPT.match(hashed)
    cost = int(match.group(1)) if match else 0
    return cost if _COST_MIN <= cost <= _COST_MAX else None
