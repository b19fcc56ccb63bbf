#!/usr/bin/env python3
"""Common passwords: what is in the list, and what is as bad as being in it."""
from __future__ import annotations

import gzip
import importlib
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any, Callable, List

import pytest

from credentials.blocklist import (
    LIST, SHORTEST, canonical, common_passwords, is_common, is_run,
    repeated_units)

# By name, because to mypy a folder without __init__.py is no package.
rebuild = importlib.import_module("scripts.common_passwords")

LISTED = [
    "12345qwertasdfg", "123456789qwerty", "americanpatriots", "baseball1",
    "correcthorsebatterystaple", "cristianoronaldo", "finalfantasy7",
    "fullmetalalchemist", "iloveyouforever", "leagueoflegends",
    "letmein123", "manchesterunited", "password", "password1", "qwerty123",
    "redhotchilipeppers", "rumplestiltskin", "sonicthehedgehog", "sunshine",
    "thisismypassword", "trustno1", "worldofwarcraft", "yfdbufnjh10305070",
]
UNCOMMON = [
    "three blind newts paddle", "correct horse battery stapler",
    "Ein Igel frisst um 4 Uhr", "purple-otter-lamp-seven", "Zr8#kLq2vWx9!pTn",
    "lange wandeling door het veen", "gravel tuba mitten oath",
    "зелёный чайник на крыше", "雨の日は図書館で本を読みます",
    "f7c3bc1d808e04732adf679965ccc34c", "password of my aunt in Bari",
]


def listed() -> List[str]:
    """Return the lines of the shipped list in their order."""
    text = gzip.decompress(LIST.read_bytes()).decode("utf-8")
    assert text.endswith("\n")
    return text[:-1].split("\n")


class TestList:
    """The file that is shipped."""

    def test_long_entries_are_ten_thousand_or_more(self) -> None:
        """Shorter ones are of no use where 15 characters are asked for."""
        assert sum(len(each) >= 15 for each in listed()) >= 10000

    def test_short_entries_are_twenty_thousand_or_more(self) -> None:
        """They count where a second factor allows 8 characters."""
        assert sum(8 <= len(each) < 15 for each in listed()) >= 20000

    def test_no_entry_is_too_short_to_be_allowed(self) -> None:
        """SHORTEST is a promise, and the rule of repetition rests on it."""
        assert min(map(len, listed())) == SHORTEST == 8

    def test_is_sorted_and_without_doubles(self) -> None:
        """So that a new version of it can be read as a difference."""
        assert listed() == sorted(set(listed()))

    def test_entries_are_canonical(self) -> None:
        """One that is not would never be found."""
        assert [each for each in listed() if canonical(each) != each] == []

    def test_entries_are_printable(self) -> None:
        """No control character, and no line that only looks like one."""
        assert [each for each in listed() if not each.isprintable()] == []

    @pytest.mark.parametrize("dirt", [
        r"\S@\w+\.\w", r"://", r"www\.", r"</?[a-z]", r"&#?\w+;",
        r"^[0-9a-f]{32}$", r"^[0-9a-f]{40}$", "\ufffd", r"^\s|\s$"])
    def test_entries_are_passwords(self, dirt: str) -> None:
        """Addresses, markup and hashes are what leaks are full of."""
        assert [each for each in listed() if re.search(dirt, each)] == []

    def test_header_tells_no_name_and_no_time(self) -> None:
        """Rebuilding it on another day must give the same bytes."""
        magic, flags, time = b"\x1f\x8b\x08", b"\0", b"\0\0\0\0"
        assert LIST.read_bytes()[:8] == magic + flags + time

    def test_file_is_small(self) -> None:
        """It is in every clone and in every image."""
        assert LIST.stat().st_size < 600 * 1000

    def test_description_has_the_true_figures(self) -> None:
        """A figure that nobody checks is wrong after the next rebuild."""
        text = LIST.with_name("common_passwords.md").read_text("utf-8")
        sizes = [len(each) for each in listed()]
        figures = (len(sizes), sum(size < 15 for size in sizes),
                   sum(size >= 15 for size in sizes), LIST.stat().st_size)
        assert [each for each in figures
                if "{:,}".format(each).replace(",", " ") not in text] == []

    def test_whole_file_is_loaded(self) -> None:
        """Neither the first line nor the last is lost on the way."""
        assert common_passwords() == set(listed())

    def test_is_read_once(self) -> None:
        """Later calls hand out the very same set."""
        assert common_passwords() is common_passwords()


class TestIsCommon:
    """Passwords that are listed, and passwords that are not."""

    @pytest.mark.parametrize("change", [str, str.upper, str.title])
    @pytest.mark.parametrize("password", LISTED)
    def test_finds_what_is_listed(self, password: str,
                                  change: Callable[[str], str]) -> None:
        """In any case, and by the list alone: no rule would find these."""
        key = canonical(password)
        assert not is_run(key) and not repeated_units(key)
        assert is_common(change(password))

    @pytest.mark.parametrize("form", ["NFC", "NFD"])
    def test_finds_an_accent_however_it_is_encoded(self, form: Any) -> None:
        """Keyboards differ in what they send for an accent."""
        assert is_common(unicodedata.normalize(form, "CONTRASEÑA"))

    @pytest.mark.parametrize("password", UNCOMMON)
    def test_accepts_what_is_not_common(self, password: str) -> None:
        """A passphrase of one's own is what we want people to choose."""
        assert not is_common(password)

    @pytest.mark.parametrize("password", [
        "sunshine on the sea wall", "my manchesterunited scarf",
        "rumplestiltskin ", " rumplestiltskin"])
    def test_compares_whole_passwords(self, password: str) -> None:
        """NIST asks for the whole; a blank more makes another password."""
        assert not is_common(password)


class TestCanonical:
    """The form in which two passwords are compared."""

    @pytest.mark.parametrize("one, other", [
        ("Straße", "STRASSE"), ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("A\u030angstro\u0308m", "ÅNGSTRÖM"), ("\u1fc3", "\u0397\u0399"),
        ("\u0391\u0302\u0345", "\u03b1\u0302\u03b9")])
    def test_is_one_for_what_looks_alike(self, one: str, other: str) -> None:
        """Case and the order of accents are no secret worth having."""
        assert canonical(one) == canonical(other)

    @pytest.mark.parametrize("one, other", [
        ("passwort", "password"), ("ano", "año"), ("pass word", "password"),
        ("ﬁve²", "five2")])
    def test_keeps_apart_what_differs(self, one: str, other: str) -> None:
        """Folding takes away no letter, accent or blank."""
        assert canonical(one) != canonical(other)


class TestRepetition:
    """A string written again and again."""

    @pytest.mark.parametrize("password", [
        "aaaaaaaaaaaaaaa", "ZzZzZzZzZzZzZzZz", "abcabcabcabcabc",
        "123412341234123", "p9!p9!p9!p9!p9!", "lamp7lamp7lamp7",
        "Zr8#kLqZr8#kLqZ", "ёжёжёжёжёжёжёжё", "    " * 4])
    def test_of_little_is_common(self, password: str) -> None:
        """What repeats could be nobody's password, so neither can this."""
        assert canonical(password) not in common_passwords()
        assert is_common(password)

    @pytest.mark.parametrize("password", [
        "DragonflyDragonfly", "trustno1trustno1trust",
        "worldofwarcraftworldofwarcraftworld", "abcdefghabcdefgh",
        # Listed as it stands, and a repetition of what is not.
        "richardbrichardb" * 2])
    def test_of_something_common_is_common(self, password: str) -> None:
        """Twice or more, in full or cut off."""
        assert canonical(password) not in common_passwords()
        assert is_common(password)

    @pytest.mark.parametrize("password", [
        "Zr8#kLq2" * 2, "Zr8#kLq2" * 128, "Zr8#kLq2Zr8#kLq2Z"])
    def test_of_something_uncommon_is_not(self, password: str) -> None:
        """Eight characters can be a password; at any length, soon told."""
        assert not is_common(password)

    @pytest.mark.parametrize("password", [
        "Zr8#kLqZr8#kL", "aaaaaaaaaaaaaaab", "Zr8#Zr8#Zr8#Zr9#"])
    def test_has_to_be_all_of_it(self, password: str) -> None:
        """A second time in full, and nothing that differs."""
        assert repeated_units(password) == []
        assert not is_common(password)

    @pytest.mark.parametrize("key, units", [
        ("", []), ("a", []), ("ab", []), ("aa", ["a"]), ("abab", ["ab"]),
        ("ababa", ["ab"]), ("abcab", []), ("aaaa", ["a", "aa"]),
        ("abcabcd", [])])
    def test_is_told_by_its_units(self, key: str, units: List[str]) -> None:
        """At least twice in full; the last one may be cut off."""
        assert repeated_units(key) == units


class TestRun:
    """A finger that only ever goes to the neighbouring key."""

    @pytest.mark.parametrize("password", [
        "abcdefghijklmnopqr", "ZYXWVUTSRQPONML", "tuvwxyzabcdefgh",
        "345678901234567", "654321098765432109", "wertyuiopasdfghjk",
        "mnbvcxzlkjhgfds", "poiuytrewqlkjhgf", "qwertzuiopasdfg",
        "azertyuiopqsdfg", "йцукенгшщзхъфыва", "абвгдежзийклмно",
        "αβγδεζηθικλμνξο", "οξνμλκιθηζεδγβα", "2wsx3edc4rfv5tgb6",
        "#$%^&*()_+!@#$%", "7890qwertyuiopasdf", "bnmqwertyuiopasd",
        "iop[]asdfghjkl;'", "wsxedcrfvtgbyhnuj", "2w3e4r5t6y7u8i9o",
        "w2e3r4t5y6u7i8o9"])
    def test_is_common(self, password: str) -> None:
        """Wherever it starts, and whichever way it goes."""
        key = canonical(password)
        assert key not in common_passwords() and not repeated_units(key)
        assert is_common(password)

    @pytest.mark.parametrize("password", [
        "abcdefghijklmnp", "abcdefghijklnmo", "hgfedcbabcdefgh",
        "acegikmoqsuwybd", "qwertyuiopasdfgx"])
    def test_may_not_be_broken(self, password: str) -> None:
        """One step that is none of these, and it is no run."""
        assert not is_run(password)
        assert not is_common(password)


class TestRebuild:
    """The script that the list is made with."""

    RANKED = ["password", "monkey", "dragon", "tree"]

    def test_keeps_what_is_ranked(self) -> None:
        """Sorted, and only what is long enough."""
        assert rebuild.select(["zebrafish", "tree", "password"], Counter()) \
            == ["password", "zebrafish"]

    @pytest.mark.parametrize("entry, count, kept", [
        ("blackberry", 2, False), ("blackberry", 3, True),
        ("dragonmonkeytree", 1, True), ("dragonmonkeytree7!", 1, True),
        ("dragon7!xp2#kq9z", 1, False), ("q7!xp2#aa,.0-ws", 2, False),
        ("q7!xp2#aa,.0-ws", 3, True), ("dragonmonkey", 1, False)])
    def test_weighs_the_others(self, entry: str, count: int,
                               kept: bool) -> None:
        """By their spellings, or by how little it takes to think of them."""
        found = rebuild.select(self.RANKED, Counter({entry: count}))
        assert (entry in found) is kept

    def test_leaves_out_passwords_with_user_names(self) -> None:
        """Where one word starts hundreds and ends none, it is a leak's."""
        names = ["monkey" + "monkeytree{}".format(i) for i in range(376)]
        twice = Counter(names + names[:1])
        assert rebuild.select(self.RANKED, twice) == [names[0], "password"]
        assert len(rebuild.select(self.RANKED, Counter(names[1:]))) == 376

    @pytest.mark.parametrize("head, tail", [
        ("monkey", "dragon{}monkey"), ("treemonkey", "dragon{}"),
        ("111111", "monkey{}tree")])
    def test_leaves_in_words_that_are_merely_popular(
            self, head: str, tail: str) -> None:
        """They also end entries, or are no password, or only digits."""
        popular = [head + tail.format(i) for i in range(376)]
        found = rebuild.select(self.RANKED + ["111111"], Counter(popular))
        assert len(set(popular) & set(found)) == 376

    @pytest.mark.parametrize("entry", [
        "someone@example.org", "https://a.example", "www.example",
        "&lt;password", "<b>password", "d667713041150ef02841b4f2abdc20f8",
        "pass\tword", "password ", "passw\ufffdrd", "08101949rkqwerty",
        "monkey7"])
    def test_leaves_out_dirt(self, entry: str) -> None:
        """Even if the source ranks it first."""
        assert rebuild.select([entry], Counter({entry: 9})) == []

    def test_writes_what_can_be_read_again(
            self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The shipped entries give a file like the shipped one."""
        monkeypatch.setattr(rebuild, "LIST", tmp_path / "list.gz")
        rebuild.write(listed())
        written = (tmp_path / "list.gz").read_bytes()
        assert gzip.decompress(written) == gzip.decompress(LIST.read_bytes())
        assert written[:10] == LIST.read_bytes()[:10]

    def test_refuses_any_other_version(self, tmp_path: Path) -> None:
        """Other archives would quietly give another list."""
        other = tmp_path / "other.tgz"
        other.write_bytes(b"")
        with pytest.raises(SystemExit, match="other.tgz is not the version"):
            rebuild.main(str(other), str(other))
