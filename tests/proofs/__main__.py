#!/usr/bin/env python3
"""Run every proof to its full size, and write docs/proof.md.

    python3 -m tests.proofs                 all of them
    python3 -m tests.proofs kill timing     some anew; the rest is as it was

A promise is a class of tests marked `promise` (pyproject.toml). Its tests
tell what they found by the fixture `figure`; those that are marked `broken`
show that the others can fail. Ends with 1 if anything failed.
"""
from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Dict, List, Sequence
from xml.etree import ElementTree

from tests.databases import postgres_only, programs, sqlite_only
from tests.helpers import ROOT

PAGE = ROOT / "docs" / "proof.md"
# What each file of tests reported last, by database.
REPORTS = ROOT / ".venvs" / "proofs"
PACKAGES = ("SQLAlchemy", "bcrypt", "Flask", "granian", "hypothesis",
            "schemathesis", "psycopg")
# What says `once` would say the same on the other database.
RUNS = {"sqlite": "promise", "postgresql": "promise and not once"}
ELSEWHERE = [each.kwargs["reason"] for each in (sqlite_only, postgres_only)]
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
HEAD = """# Proof

What we promise, and what a run of `make proof` found. Each line was tried
against the real thing: the production server with several workers, a database
on disk, a mail server that speaks SMTP. And each check was tried on a service
that is broken on purpose, where it had to fail: the last column says how.
This page is written by that run, and not by hand.

| | |
|---|---|
| Verdict | **{verdict}** |
| Repeat | `make proof`; a chapter anew: `make proof ONLY=timing` |
| Time | {minutes:.0f} minutes |
| Machine | {machine} |
| Versions | {versions} |
"""
TABLE = """
## {title}

{about}
{when}

| Promise | Found | Red when |
|---|---|---|
"""


class Promise:
    """What a class of tests promises, and what they found by database."""

    def __init__(self, module: str, name: str) -> None:
        """Start with the name of a class of tests."""
        self.module, self.name = module, name
        self.text = ""
        self.figures: Dict[str, List[str]] = {}
        self.broken: List[str] = []
        self.failed: List[str] = []
        self.cases = 0

    def note(self, database: str, case: ElementTree.Element) -> None:
        """Take in what one test said, and how it ended."""
        said = [(each.get("name", ""), each.get("value", ""))
                for each in case.iter("property")]
        for name, value in said:
            if name == "promise":
                self.text = value
            elif name == "broken" and value not in self.broken:
                self.broken.append(value)
            elif name == "figure":
                self.figures.setdefault(database, []).append(value)
        # A check that was left out is no check that passed, unless it is
        # about the other kind of database.
        skipped = case.find("skipped")
        if skipped is not None and skipped.get("message") in ELSEWHERE:
            return
        self.cases += 1
        # And one that says nothing broke off.
        if not said or any(case.find(each) is not None for each in (
                "failure", "error", "skipped")):
            self.failed.append("{} on {}".format(
                case.get("name"), NAMES[database]))

    def row(self) -> str:
        """Return the line of the page."""
        found = ["{}: {}".format(NAMES[database], "; ".join(each))
                 if len(self.figures) > 1 else "; ".join(each)
                 for database, each in self.figures.items()]
        if self.failed:
            found.insert(0, "**FAILED**: " + ", ".join(self.failed))
        return "| {} ([`{}`](../{})) | {} | {} |\n".format(*(
            each.replace("|", "\\|") for each in (
                self.text, self.name, self.module.replace(".", "/") + ".py",
                "<br>".join(found) or "{} cases, all as promised".format(
                    self.cases),
                "; ".join(self.broken))))


def files() -> List[Path]:
    """Return the files of tests that promise something."""
    return [each for each in sorted((ROOT / "tests").rglob("test_*.py"))
            if "mark.promise(" in each.read_text()]


def report_of(file: Path, database: str) -> Path:
    """Return where a file of tests leaves its report."""
    return REPORTS / database / (file.stem + ".xml")


def run(file: Path, database: str) -> None:
    """Run the proofs of a file on one kind of database, to a report."""
    report = report_of(file, database)
    report.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(file), "-m",
         RUNS[database], "-o", "junit_family=xunit1", "--junitxml",
         str(report)], cwd=str(ROOT), stdout=subprocess.PIPE,
        universal_newlines=True,
        env=dict(os.environ, PROVING="1", TEST_DATABASE=database))
    print("{} on {}: {}".format(
        file.stem, NAMES[database], done.stdout.strip().splitlines()[-1]),
        flush=True)
    if done.returncode not in (0, 5):  # nothing to run is all well
        print(done.stdout, flush=True)


class Chapter:
    """What a file of tests promises, and what came of it by database."""

    def __init__(self, file: Path) -> None:
        """Read what the file reported last."""
        self.promises: Dict[str, Promise] = {}
        self.seconds: Dict[str, float] = {}
        self.begun = ""
        self._module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for database in RUNS:
            report = ElementTree.parse(str(report_of(file, database)))
            for suite in report.iter("testsuite"):
                self.begun = suite.get("timestamp", "")[:10]
                if suite.get("tests") != suite.get("skipped"):
                    self.seconds[database] = float(suite.get("time", 0))
            for case in report.iter("testcase"):
                self._note(database, case)

    def __str__(self) -> str:
        """Return the chapter of the page: what it is about, and a table."""
        title, _, about = (import_module(self._module).__doc__ or ""
                           ).partition("\n")
        when = "Tried on {}, in {}.".format(self.begun, " and ".join(
            "{:.0f} s on {}".format(seconds, NAMES[database])
            for database, seconds in self.seconds.items()))
        return TABLE.format(
            title=title.rstrip("."), about=about.strip(), when=when
        ) + "".join(each.row() for each in self.promises.values())

    def _note(self, database: str, case: ElementTree.Element) -> None:
        """Take in what one test reported."""
        where = case.get("classname", "")
        self.promises.setdefault(where, Promise(
            self._module, where.rpartition(".")[2])).note(database, case)


def machine() -> str:
    """Return what it ran on, in a few words."""
    names = [line.partition(":")[2].strip() for line in Path(
        "/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")]
    return "{} cores, {}, {}".format(
        len(names), names[0], platform.system())


def versions() -> str:
    """Return what was tried, with its versions."""
    # Not there on Python 3.7, where tests import this file.
    from importlib.metadata import version

    postgres = subprocess.run(
        [str(programs() / "postgres"), "--version"], stdout=subprocess.PIPE,
        universal_newlines=True).stdout.split()[2]
    return ", ".join(
        ["Python " + platform.python_version(), "PostgreSQL " + postgres]
        + ["{} {}".format(each, version(each)) for each in PACKAGES])


def main(only: Sequence[str]) -> int:
    """Prove everything, or these; write the page, return the exit code."""
    for database in RUNS:
        for file in files():
            if not only or file.stem[len("test_"):] in only \
                    or not report_of(file, database).exists():
                run(file, database)
    chapters = [Chapter(each) for each in files()]
    promises = [each for chapter in chapters
                for each in chapter.promises.values()]
    failed = [each.name for each in promises if each.failed]
    verdict = "NOT proved: " + ", ".join(failed) if failed else \
        "all {} promises hold".format(len(promises))
    seconds = sum(sum(each.seconds.values()) for each in chapters)
    PAGE.write_text(HEAD.format(
        verdict=verdict, minutes=seconds / 60, machine=machine(),
        versions=versions()) + "".join(map(str, chapters)))
    print("{}: {}".format(PAGE.relative_to(ROOT), verdict))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
