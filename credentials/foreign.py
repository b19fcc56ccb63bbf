#!/usr/bin/env python3
"""Hashes from elsewhere: kept as they came until their owner signs in.

    pbkdf2_sha256$600000$salt$digest             Django; sha1 and sha512 too
    pbkdf2:sha256:600000$salt$digest             Werkzeug
    $pbkdf2-sha256$29000$salt$digest             passlib
    scrypt$16384$salt$8$5$digest                 Django
    scrypt:32768:8:1$salt$digest                 Werkzeug
    $scrypt$ln=16,r=8,p=1$salt$digest            passlib
    $argon2id$v=19$m=65536,t=3,p=4$salt$digest   argon2-cffi and passlib;
                                                 Django puts "argon2" before

Such a hash says itself how much work and memory a check of it takes, so one
that was planted could take minutes and all there is. Bounds are put on all of
it, generous enough for every default of the three since 2013. Nor may a digest
be shorter than its function makes it: one of a byte is met by every 256th
password (docs/security.md#foreign-hashes).
"""
from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import re
from typing import Any, Callable, Dict, List, Optional, Pattern, Tuple

# PBKDF2: Django of 2026 takes 1.5 million rounds, Werkzeug of 2013 took 1000.
ROUNDS = (1000, 5000000)
# scrypt and argon2: what a check may hold in memory; OWASP's most.
MEMORY = 128 * 2 ** 20
# scrypt: N, r, and the blocks mixed in all, N * r * p. OWASP's most is half of
# that; with r = 1 not every N is possible.
COST, BLOCK_SIZE, BLOCKS = (2 ** 10, 2 ** 19), (2, 32), (2 ** 11, 2 ** 21)
# argon2: passes, and kibibytes written in all, m * t. Django writes a fifth.
PASSES, WRITTEN = 16, 2 ** 20
# Lanes of either; as many threads, for argon2.
LANES = 16
ARGON2_DIGEST = (16, 64)
SCRYPT_DIGESTS = {"hex": 64, "base64": 64, "ab64": 32}


class BadHash(ValueError):
    """Raised for a hash that is not checked; says why, and not what it is."""


class ForeignHash:
    """A hash that was made elsewhere, within the bounds."""

    def __init__(self, digest: bytes,
                 compute: Callable[[bytes], bytes]) -> None:
        """Keep what the function must give for the right password."""
        self._digest = digest
        self._compute = compute

    def matches(self, password: str) -> bool:
        """Tell whether this is the password; takes what the hash asks for.

        None that ends in NUL is: to HMAC, and so to PBKDF2 and scrypt, it is
        the same password as the one without.
        """
        return hmac.compare_digest(
            self._compute(password.encode()), self._digest) \
            and not password.endswith("\0")


def read(hashed: str) -> ForeignHash:
    """Return the hash that is written so; raise BadHash if none can be."""
    for pattern, build in FORMATS:
        match = pattern.match(hashed)
        if match:
            return build(match.groupdict())
    raise BadHash("is of no kind that is known here")


def find(hashed: str) -> Optional[ForeignHash]:
    """Return the hash that is written so, or None if none can be."""
    try:
        return read(hashed)
    except BadHash:
        return None


# -- How each function is asked

Parts = Dict[str, str]


def _pbkdf2(parts: Parts) -> ForeignHash:
    """Return a hash of PBKDF2 (RFC 8018)."""
    name, rounds = parts["name"] or "sha1", int(parts["rounds"])
    salt, digest = _decoded(parts)
    _demand("rounds", rounds, *ROUNDS)
    size = hashlib.new(name).digest_size
    _demand("bytes of digest", len(digest), size, size)
    return ForeignHash(digest, lambda password: hashlib.pbkdf2_hmac(
        name, password, salt, rounds))


def _scrypt(parts: Parts) -> ForeignHash:
    """Return a hash of scrypt (RFC 7914)."""
    n = (int(parts["n"]) if "n" in parts
         else 1 << min(int(parts["ln"]), 99))
    r, p = int(parts["r"]), int(parts["p"])
    salt, digest = _decoded(parts)
    if n & n - 1:
        raise BadHash("has an N that is no power of two")
    _demand("as N", n, *COST)
    _demand("as block size", r, *BLOCK_SIZE)
    _demand("lanes", p, 1, LANES)
    _demand("bytes of memory", 128 * n * r, 0, MEMORY)
    _demand("blocks", n * r * p, *BLOCKS)
    size = SCRYPT_DIGESTS[_encoding(parts)]
    _demand("bytes of digest", len(digest), size, size)
    return ForeignHash(digest, lambda password: hashlib.scrypt(
        password, salt=salt, n=n, r=r, p=p, dklen=size,
        # What it takes, and no more: OpenSSL refuses beyond.
        maxmem=128 * r * (n + p + 4)))


def _argon2id(parts: Parts) -> ForeignHash:
    """Return a hash of argon2id (RFC 9106)."""
    m, t, p = int(parts["m"]), int(parts["t"]), int(parts["p"])
    salt, digest = _decoded(parts)
    _demand("lanes", p, 1, LANES)
    _demand("passes", t, 1, PASSES)
    _demand("KiB of memory", m, 8 * p, MEMORY // 1024)
    _demand("KiB written", m * t, 0, WRITTEN)
    _demand("bytes of salt", len(salt), 8, 64)
    _demand("bytes of digest", len(digest), *ARGON2_DIGEST)
    package = argon2()
    if package is None:
        raise BadHash("is of argon2id, which needs argon2-cffi: pip install "
                      "argon2-cffi, here and for every server")
    return ForeignHash(digest, lambda password: package.hash_secret_raw(
        password, salt, t, m, p, len(digest), package.Type.ID))


@functools.lru_cache(maxsize=None)
def argon2() -> Any:
    """Return the optional package, or None where it is not installed."""
    try:
        import argon2.low_level as package
    except ImportError:
        return None
    return package


def _demand(what: str, asked: int, low: int, high: int) -> None:
    """Raise BadHash unless that is within its bounds, both included."""
    if not low <= asked <= high:
        raise BadHash("has {} {}, where {} are taken".format(
            asked, what, low if low == high else "{} to {}".format(
                low, high)))


# -- How each of them is written

def _encoding(parts: Parts) -> str:
    """Return the name of the group that holds the digest."""
    return next(each for each in DECODE if parts.get(each))


def _decoded(parts: Parts) -> Tuple[bytes, bytes]:
    """Return the bytes of salt and digest; BadHash for what are none.

    Django and Werkzeug salt with the characters as they stand.
    """
    encoding = _encoding(parts)
    try:
        salt = (parts["text"].encode("ascii") if parts.get("text")
                else DECODE[encoding](parts["salt"]))
        return salt, DECODE[encoding](parts[encoding])
    except ValueError:
        raise BadHash("is damaged") from None


def _base64(text: str) -> bytes:
    """Decode base64 with or without its padding, and passlib's dialect."""
    return base64.b64decode(text.replace(".", "+") + "==")  # two are enough


DECODE: Dict[str, Callable[[str], bytes]] = {
    "hex": bytes.fromhex, "base64": _base64, "ab64": _base64}
# What may stand in a pattern, by its name. [0-9] because \d takes the digits
# of every script, and few enough of them to be read at once.
PIECES: Dict[str, str] = {
    each: "(?P<{}>[0-9]{{1,9}})".format(each)
    for each in ("rounds", "n", "ln", "r", "p", "m", "t")}
PIECES.update(
    sha="(?P<name>sha1|sha256|sha512)",
    text=r"(?P<text>[!-#%-~]{1,128})",
    salt="(?P<salt>[A-Za-z0-9+/.]{1,128})",
    hex="(?P<hex>[0-9a-f]{1,128})",
    base64="(?P<base64>[A-Za-z0-9+/]{1,88}={0,2})",
    ab64="(?P<ab64>[A-Za-z0-9+/.]{1,88})")
FORMATS: List[Tuple[Pattern[str], Callable[[Parts], ForeignHash]]] = [
    (re.compile(pattern.format(**PIECES) + r"\Z"), build)
    for pattern, build in (
        (r"pbkdf2_{sha}\${rounds}\${text}\${base64}", _pbkdf2),
        (r"pbkdf2:{sha}:{rounds}\${text}\${hex}", _pbkdf2),
        (r"\$pbkdf2(?:-{sha})?\${rounds}\${salt}\${ab64}", _pbkdf2),
        (r"scrypt\${n}\${text}\${r}\${p}\${base64}", _scrypt),
        (r"scrypt:{n}:{r}:{p}\${text}\${hex}", _scrypt),
        (r"\$scrypt\$ln={ln},r={r},p={p}\${salt}\${ab64}", _scrypt),
        (r"(?:argon2)?\$argon2id\$v=19\$m={m},t={t},p={p}\${salt}\${ab64}",
         _argon2id))]
