#!/usr/bin/env python3
"""The verdict on a run of mutants, on results that are made up."""
from __future__ import annotations

import sys
from typing import List

import pytest

from tests.mutation.__main__ import (
    REASONS, complaints, page, read_reasons)
from tests.mutation.breaking import (
    SUBJECTS, Mutant, mutated, undecorated)

pytestmark = pytest.mark.once
breaks = pytest.mark.skipif(sys.version_info < (3, 10),
                            reason="mutmut has no packages for this Python")

CHANGE = ("- return now + 1", "+ return now - 1")
SAID = """What is said to whoever reads the file.

throttle.Window.after
- return now + 1
+ return now - 1
- return now
+ return None
= Nobody can
tell.

auth._require
- x
+ y
= Another.
"""


def mutants(killed: int, living: int, *, change: str = "1",
            file: str = "throttle") -> List[Mutant]:
    """Return the mutants of a file of which so many live."""
    name = file + ".x\u01c1Window\u01c1after__mutmut_1"
    return [Mutant(name, CHANGE, True)] * killed + [
        Mutant(name, (CHANGE[0], CHANGE[1].replace("1", change)))] * living


class TestComplaints:
    """What makes the run end with 1."""

    def test_all_is_well(self) -> None:
        """Nine of ten are enough, if the tenth has a reason to live."""
        assert complaints(mutants(9, 1), read_reasons(SAID)) == []

    def test_too_many_live(self) -> None:
        """Reasons do not make up for tests."""
        assert complaints(mutants(89, 11), read_reasons(SAID)) == [
            "throttle.py: only 89.0 % are killed",
            "All: only 89.0 % are killed"]

    def test_too_many_live_in_one_file(self) -> None:
        """However well the others do."""
        assert complaints(mutants(8, 2) + mutants(90, 0, file="db"),
                          read_reasons(SAID)) == [
            "throttle.py: only 80.0 % are killed"]

    def test_nobody_says_why_one_lives(self) -> None:
        """It is shown, so that it can be killed or explained."""
        assert complaints(mutants(9, 1, change="2"), read_reasons(SAID)) == [
            "throttle.Window.after\n- return now + 1\n+ return now - 2\n"
            "lives, and nobody says why"]


class TestMutated:
    """How a file is broken."""

    @breaks
    def test_one_change_a_mutant(self) -> None:
        """Told as a function and what goes and comes in it."""
        pytest.importorskip("mutmut", reason="make mutants installs it")
        code, made = mutated("throttle.py", "class A:\n    @property\n"
                             "    def b(self):\n        return 1\n")
        assert [(each.function, each.file, each.change) for each in made] == [
            ("throttle.A.b", "throttle.py", ("- return 1", "+ return 2"))]
        assert "    b = property(b)\n" in code


class TestPage:
    """What docs/mutants.md says."""

    def test_tells_figures_and_reasons(self) -> None:
        """By file and in all, and only the reasons that were needed."""
        written = page(mutants(9, 1), read_reasons(SAID), "mutmut 3")
        assert "| throttle.py | 10 | 9 | 1 | 90.0 |\n" in written
        assert written.endswith(
            "\nNobody can tell.\n\n```diff\nthrottle.Window.after\n{}\n{}\n"
            "```\n".format(*CHANGE))


class TestReasons:
    """The file that says why a mutant may live."""

    def test_each_change_has_the_reason_of_its_paragraph(self) -> None:
        """So that one sentence is enough for several."""
        assert list(read_reasons(SAID).items()) == [
            (("throttle.Window.after", CHANGE), "Nobody can tell."),
            (("throttle.Window.after", ("- return now", "+ return None")),
             "Nobody can tell."),
            (("auth._require", ("- x", "+ y")), "Another.")]

    def test_ours_is_in_order(self) -> None:
        """Every reason is one, and of a file that is mutated."""
        for (function, change), reason in read_reasons(
                REASONS.read_text()).items():
            assert function.partition(".")[0] in " ".join(SUBJECTS), function
            assert len(change) > 1 and reason.endswith("."), function


class TestUndecorated:
    """How decorated functions are mutated, too."""

    @breaks
    def test_means_the_same(self) -> None:
        """The decorators are applied, in their order, once it is made."""
        source = ("class A:\n"
                  "    @staticmethod\n"
                  "    @wrapped(\n"
                  "        1)\n"
                  "    def f():\n"
                  "        return 1\n"
                  "\n"
                  "    def g(self): pass\n")
        assert undecorated(source) == (
            "class A:\n"
            "    def f():\n"
            "        return 1\n"
            "    f = staticmethod(wrapped(\n"
            "        1)(f))\n"
            "\n"
            "    def g(self): pass\n")
