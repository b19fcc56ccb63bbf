#!/usr/bin/env python3
"""OWASP ASVS 5.0.

Every requirement of the standard is met, missed, up to whoever runs the
service, or not about us, and docs/asvs.md says which, and what shows it.
"""
from __future__ import annotations

import ast
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Set, Tuple

import pytest

from tests.helpers import ROOT
from tests.test_house_rules import tree_of
from tests.test_promises import anchors, page

pytestmark = pytest.mark.once
# The ids of the standard and their levels, in its order.
LEVELS = {name: int(level) for name, level in (
    line.split() for line in (Path(__file__).parent / "asvs.txt").read_text(
        encoding="utf-8").splitlines())}
LISTS = ("Not about us", "Met", "Up to whoever runs it", "Missed")
ROW = re.compile(r"^\| ([0-9.]+) \| ([0-9]) \| (.*) \|$", re.M)
IDS = re.compile(r"^\| ([0-9]+(?:[.][0-9]+)*(?:, [0-9.]+)*) \| \D", re.M)
COUNTS = re.compile(r"^\| ([123])((?: \| [0-9]+){6}) \|$", re.M)
TEST = re.compile(r"`(tests/[a-z_/]+\.py)((?:::\w+)*)`")
LINK = re.compile(r"\]\(([^)#:]+)#([^)]+)\)")
Row = Tuple[str, int, str]


# -- What a page says

def listed(text: str, title: str) -> str:
    """Return the list of a title."""
    return text.partition("\n## {}\n".format(title))[2].partition("\n## ")[0]


def rows(text: str, title: str) -> List[Row]:
    """Return the id, the level and the rest of each row of a list."""
    return [(name, int(level), rest)
            for name, level, rest in ROW.findall(listed(text, title))]


def below(name: str) -> List[str]:
    """Return the requirements of a chapter or section, or the one itself."""
    return [each for each in LEVELS if (each + ".").startswith(name + ".")]


def ids(text: str, title: str) -> List[str]:
    """Return the id of each requirement in a list."""
    if title == "Not about us":
        return [each for names in IDS.findall(listed(text, title))
                for name in names.split(", ") for each in below(name) or name]
    return [name for name, _, _ in rows(text, title)]


# -- What may be wrong with it

def misplaced(text: str) -> Iterator[str]:
    """Complain of what is in no list, in two, or not in the standard."""
    found = Counter(each for title in LISTS for each in ids(text, title))
    for name in set(LEVELS) | set(found):
        if name not in LEVELS:
            yield "{} is not in the standard".format(name)
        elif found[name] != 1:
            yield "{} is there {} times".format(name, found[name])


def mislabelled(text: str) -> Iterator[str]:
    """Complain of another level than the standard's."""
    for title in LISTS[1:]:
        for name, level, _ in rows(text, title):
            if level != LEVELS.get(name):
                yield "{} is not of level {}".format(name, level)


def unproven(text: str) -> Iterator[str]:
    """Complain of what nothing shows, or nothing that is there."""
    for title in LISTS[1:]:
        for name, _, rest in rows(text, title):
            tests = TEST.findall(rest) if title == "Met" else []
            links = LINK.findall(rest)
            if title != "Missed" and not tests and not links:
                yield "{} is shown by nothing".format(name)
            for file, inside in tests:
                if inside.lstrip(":") not in names_in(file):
                    yield "{}: there is no {}{}".format(name, file, inside)
            for file, anchor in links:
                if anchor not in anchors_of(file):
                    yield "{}: there is no {}#{}".format(name, file, anchor)


def miscounted(text: str) -> Iterator[str]:
    """Complain of a number at the top of the page."""
    said = {int(level): [int(each) for each in numbers.split(" | ")[1:]]
            for level, numbers in COUNTS.findall(text)}
    for level in (1, 2, 3):
        if said.get(level) != counts(text, level):
            yield "level {} has {}, not {}".format(
                level, counts(text, level), said.get(level))


def counts(text: str, level: int) -> List[int]:
    """Return what the columns of the summary are for a level.

    All, those not about us, those that are, and these by their list.
    """
    whole = list(LEVELS.values()).count(level)
    outside, *about = [
        [LEVELS.get(each) for each in ids(text, title)].count(level)
        for title in LISTS]
    return [whole, outside, whole - outside] + about


CHECKERS: Tuple[Callable[[str], Iterator[str]], ...] = (
    misplaced, mislabelled, unproven, miscounted)


def complaints(text: str) -> List[str]:
    """Return all that is wrong with a page."""
    return [each for checker in CHECKERS for each in checker(text)]


# -- What there is to be referred to

@lru_cache(maxsize=None)
def names_in(file: str) -> Set[str]:
    """Return each test and class of tests of a file, as pytest names them.

    Not the file itself: it shows too much to show anything.
    """
    found: Set[str] = set()
    if (ROOT / file).exists():
        for node in tree_of(file).body:
            name = getattr(node, "name", "")
            if name.startswith(("test_", "Test")):
                found.add(name)
            if isinstance(node, ast.ClassDef):
                found |= {"{}::{}".format(name, each.name)
                          for each in node.body
                          if isinstance(each, ast.FunctionDef)
                          and each.name.startswith("test_")}
    return found


@lru_cache(maxsize=None)
def anchors_of(file: str) -> List[str]:
    """Return the anchors of a page that docs/asvs.md links to."""
    path = (ROOT / "docs" / file).resolve()
    return anchors(path.relative_to(ROOT).as_posix()) if path.exists() else []


# -- The page

@pytest.mark.promise("Every requirement of OWASP ASVS 5.0 is met, shown by a "
                     "test or a paragraph that is there, or listed as missed, "
                     "as yours or as not about us.")
class TestPage:
    """docs/asvs.md, compared with the standard and with our tests."""

    TEXT = page("docs/asvs.md")

    def test_is_complete_and_true(
            self, figure: Callable[[str], None]) -> None:
        """Each requirement once, with its level and what shows it."""
        assert complaints(self.TEXT) == []
        for level in (1, 2, 3):
            _, _, about, met, yours, missed = counts(self.TEXT, level)
            figure("level {}: of {} rows about us {} are met, {} up to "
                   "whoever runs it, {} missed".format(
                       level, about, met, yours, missed))

    def broken(self, old: str, new: str) -> List[str]:
        """Return what is wrong with the page once one thing is changed."""
        assert old in self.TEXT
        before = complaints(self.TEXT)
        return [each for each in complaints(self.TEXT.replace(old, new, 1))
                if each not in before]

    @pytest.mark.broken("a requirement is in no list")
    def test_requirement_that_is_left_out_is_missed(self) -> None:
        """And the summary is wrong by it."""
        row = next(line for line in self.TEXT.splitlines(True)
                   if line.startswith("| 6.2.1 |"))
        found = self.broken(row, "")
        assert found[0] == "6.2.1 is there 0 times"
        assert found[1].startswith("level 1 has [70, ")

    @pytest.mark.broken("a requirement is in two lists")
    @pytest.mark.parametrize("also", ["6.2.1", "6.2"])
    def test_requirement_in_two_lists_is_noticed(self, also: str) -> None:
        """By itself or with its section."""
        found = self.broken("| 17 | No WebRTC", "| 17, {} | No WebRTC".format(
            also))
        assert "6.2.1 is there 2 times" in found

    @pytest.mark.broken("an id is made up")
    def test_unknown_requirement_is_noticed(self) -> None:
        """The standard is the measure, not what we remember of it."""
        found = self.broken("| 6.2.1 |", "| 6.2.99 |")
        assert "6.2.99 is not in the standard" in found

    @pytest.mark.broken("a requirement has another level")
    def test_wrong_level_is_noticed(self) -> None:
        """As a miss would weigh less then."""
        assert self.broken("| 7.2.3 | 1 |", "| 7.2.3 | 3 |") == [
            "7.2.3 is not of level 3"]

    @pytest.mark.broken("a test that is named is gone")
    @pytest.mark.parametrize("old, new", [
        ("::test_is_sha256`", "::test_is_sha1`"),
        ("test_tokens.py::TestDigest::test_is_sha256`", "test_tokens.py`"),
        ("tests/credentials/test_tokens.py::TestDigest", "tests/t.py::Test")])
    def test_missing_test_is_noticed(self, old: str, new: str) -> None:
        """Whoever renames one has to look what it showed."""
        found, = self.broken(old, new)
        assert found.startswith("11.4.3: there is no tests/")

    @pytest.mark.broken("a paragraph that is named is gone")
    @pytest.mark.parametrize("new", [
        "](security.md#stories)", "](safety.md#storms)"])
    def test_missing_paragraph_is_noticed(self, new: str) -> None:
        """A decision that was renamed shows nothing any more."""
        found, = self.broken("](security.md#storms)", new)
        assert found == "15.1.3: there is no " + new[2:-1]

    @pytest.mark.broken("nothing is named at all")
    def test_bare_claim_is_noticed(self) -> None:
        """A requirement is not met by saying so."""
        assert self.broken("[storms](security.md#storms)", "Of course") == [
            "15.1.3 is shown by nothing"]

    @pytest.mark.broken("a number in the summary is another")
    def test_wrong_sum_is_noticed(self) -> None:
        """It is what most people read."""
        found, = self.broken("| 1 | 70 |", "| 1 | 71 |")
        assert found.startswith("level 1 has [70, ")
