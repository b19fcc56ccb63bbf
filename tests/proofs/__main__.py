#!/usr/bin/env python3
"""Run every proof to its full size, and write docs/proof.md.

    python3 -m tests.proofs

A promise is a class of tests marked `promise` (pyproject.toml). Its tests
tell what they found by the fixture `figure`; those that are marked `broken`
show that the others can fail. Ends with 1 if anything failed.
"""
from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Dict, Iterator, List
from xml.etree import ElementTree

from tests.databases import postgres_only, programs, sqlite_only
from tests.helpers import ROOT

PAGE = ROOT / "docs" / "proof.md"
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
| Repeat | `make proof` ({minutes:.0f} minutes here) |
| Date | {date} |
| Machine | {machine} |
| Versions | {versions} |
"""
TABLE = """
## {title}

{about}

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
        if any(case.find(each) is not None
               for each in ("failure", "error", "skipped")):
            self.failed.append("{} on {}".format(
                case.get("name"), NAMES[database]))

    def row(self) -> str:
        """Return the line of the page."""
        found = ["{}: {}".format(NAMES[database], "; ".join(each))
                 if len(self.figures) > 1 else "; ".join(each)
                 for database, each in self.figures.items()]
        if self.failed:
            found.insert(0, "**FAILED**: " + ", ".join(self.failed))
        return "| {} ([`{}`](../{})) | {} | {} |\n".format(
            self.text, self.name, self.module.replace(".", "/") + ".py",
            "<br>".join(found) or "as promised", "; ".join(self.broken))


def run(database: str, folder: Path) -> Path:
    """Run the proofs on one kind of database; return what they reported."""
    report = folder / (database + ".xml")
    subprocess.run(
        [sys.executable, "-m", "pytest", "-m", RUNS[database],
         "-o", "junit_family=xunit1", "--junitxml", str(report)],
        cwd=str(ROOT),
        env=dict(os.environ, PROVING="1", TEST_DATABASE=database))
    return report


def read(reports: Dict[str, Path]) -> List[Promise]:
    """Return every promise that the reports speak of, in their order."""
    found: Dict[str, Promise] = {}
    for database, report in reports.items():
        for case in ElementTree.parse(str(report)).iter("testcase"):
            where = case.get("classname", "")
            module, _, name = where.rpartition(".")
            found.setdefault(where, Promise(module, name)).note(
                database, case)
    return list(found.values())


def chapters(promises: List[Promise]) -> Iterator[str]:
    """Yield a table for every file of tests, under what it is about."""
    shown = ""
    for each in sorted(promises, key=lambda each: each.module):
        if each.module != shown:
            shown = each.module
            title, _, about = (import_module(shown).__doc__ or "").partition(
                "\n")
            yield TABLE.format(title=title.rstrip("."), about=about.strip())
        yield each.row()


def machine() -> str:
    """Return what it ran on, in a few words."""
    names = [line.partition(":")[2].strip() for line in Path(
        "/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")]
    return "{} cores, {}, {}".format(
        len(names), names[0], platform.system() + " " + platform.release())


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


def main() -> int:
    """Prove everything, write the page, and return the exit code."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        promises = read({each: run(each, Path(name)) for each in RUNS})
    failed = [each.name for each in promises if each.failed]
    verdict = "NOT proved: " + ", ".join(failed) if failed else \
        "all {} promises hold".format(len(promises))
    PAGE.write_text(HEAD.format(
        verdict=verdict, minutes=(time.monotonic() - started) / 60,
        date=date.today().isoformat(), machine=machine(),
        versions=versions()) + "".join(chapters(promises)))
    print("{}: {}".format(PAGE.relative_to(ROOT), verdict))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
