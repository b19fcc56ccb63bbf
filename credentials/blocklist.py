#!/usr/bin/env python3
"""Common passwords: what an attacker tries first, and nobody may choose.

The list lies beside this file and is read once, off line; where it is from,
its figures and its licences stand in common_passwords.md. NIST SP 800-63B-4
3.1.1.2 and ASVS 6.2.4 ask for the comparison. Whole passwords are compared,
not parts of them, and neither case nor the way in which an accent is encoded
makes a difference.
"""
from __future__ import annotations

import functools
import gzip
import unicodedata
from pathlib import Path
from typing import FrozenSet, List

LIST = Path(__file__).with_name("common_passwords.txt.gz")
# Shorter ones are on no list of ours: they are too short to be allowed.
SHORTEST = 8
# What a finger finds beside the key before. Each is read in a circle.
ROWS = (
    "abcdefghijklmnopqrstuvwxyz",
    "1234567890",
    "!@#$%^&*()_+",
    "1234567890qwertyuiopasdfghjklzxcvbnm",
    "qwertyuiopasdfghjklzxcvbnm",
    "poiuytrewqlkjhgfdsamnbvcxz",
    "qwertyuiop[]asdfghjkl;'zxcvbnm,./",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "йцукенгшщзхъфывапролджэячсмитьбю",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "qazwsxedcrfvtgbyhnujmikolp",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
)


def is_common(password: str) -> bool:
    """Tell whether this whole password is one that attackers try early.

    It is when it stands in the list; when it is a run along the alphabet or
    the keyboard; and when it repeats, at least once in full, a shorter
    string that is common itself or that nobody could have as a password.
    """
    key = canonical(password)
    units = repeated_units(key)
    return (is_run(key)
            or any(each in common_passwords() for each in [key] + units)
            or any(len(each) < SHORTEST or is_common(each)
                   for each in units[:1]))


def canonical(password: str) -> str:
    """Return the form in which passwords are listed and compared.

    Casefolded NFC; NFD comes first, as Unicode asks of a caseless match
    (definition D145), because folding looks at one code point at a time.
    """
    decomposed = unicodedata.normalize("NFD", password)
    return unicodedata.normalize("NFC", decomposed.casefold())


@functools.lru_cache(maxsize=None)
def common_passwords() -> FrozenSet[str]:
    """Return the list, in canonical form, read on the first call only.

    Two threads that both come first read it twice, and harm nothing.
    """
    return frozenset(gzip.decompress(LIST.read_bytes()).decode().splitlines())


def repeated_units(key: str) -> List[str]:
    """Return the strings that, repeated, make this one, the shortest first.

    Each has to occur at least twice in full; the last time it may be cut off.
    """
    return [key[:length] for length in range(1, len(key) // 2 + 1)
            if key[length:] == key[:-length]]


def is_run(key: str) -> bool:
    """Tell whether each character is the neighbour of the one before.

    That is next in Unicode or next in a row, always in one direction.
    """
    steps = {ord(after) - ord(before) for before, after in zip(key, key[1:])}
    return steps in ({1}, {-1}) or any(
        way in row * (len(key) // len(row) + 2)
        for row in ROWS for way in (key, key[::-1]))
