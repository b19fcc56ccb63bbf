#!/usr/bin/env python3
"""Break the heart of the service in every small way, and see who notices.

    python3 -m tests.mutation           all of it
    python3 -m tests.mutation 'auth.*'  some anew; the rest is as it was
    python3 -m tests.mutation living    those that lived and should not have

The breaking is done by mutmut, in a copy of the project; how the mutants meet
the tests stands in quick.py. Writes docs/mutants.md, and ends with 1 if too
few are killed, or if one lives and living.txt does not say why.
"""
from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import date
from fnmatch import fnmatch
from itertools import chain
from typing import Dict, List, Tuple

from tests.helpers import ROOT
from tests.mutation.breaking import FOLDER, Change, Mutant, prepare
from tests.mutation.quick import ANSWERED, ASKED, NEAR

LAST = ROOT / ".venvs" / "mutants.json"
PAGE = ROOT / "docs" / "mutants.md"
REASONS = ROOT / "tests" / "mutation" / "living.txt"
# What has to be killed of all, and of each file.
ENOUGH = 90
HEAD = """# Mutants

Would a test notice? The heart of the service is broken on purpose, in every
small way that a tool can think of: a `<` becomes `<=`, an argument is left
out, a condition is turned round, a text is garbled. Each such mutant is met by
the tests that reach it; it is killed if one of them fails, and lives if all
pass. This page is written by that run, and not by hand.

| | |
|---|---|
| Verdict | **{verdict}** |
| Repeat | `make mutants`; some anew: `make mutants ONLY='throttle.*'` |
| Date | {date} |
| Versions | {versions} |

| File | Mutants | Killed | Living | Killed, % |
|---|---|---|---|---|
{rows}
Only tests in one process, on SQLite, that take less than a second had a say.
What stands outside of functions is not mutated: constants, patterns, fields.

## Who lives, and why that is no loss
"""
Reasons = Dict[Tuple[str, Change], str]


# -- The run

def try_out(mutants: List[str]) -> Dict[str, bool]:
    """Have mutants meet the tests; return for each whether it was killed."""
    (FOLDER / ASKED).write_text(json.dumps(mutants))
    # A database on a disk would wait for it a hundred thousand times.
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "not once",
             "-p", "tests.mutation.quick", "-p", "no:cacheprovider",
             "-o", "tmp_path_retention_policy=none"]
            + sorted(set(chain(*NEAR.values()))),
            cwd=str(FOLDER), env=dict(os.environ, TMPDIR=folder), check=True)
    answered: Dict[str, bool] = json.loads((FOLDER / ANSWERED).read_text())
    return answered


# -- What is said of it

def read_reasons(text: str) -> Reasons:
    """Return why mutants may live, out of the text of living.txt.

    A paragraph has a function, any number of changes to it, and after a `=`
    the reason. The first one is for whoever reads the file.
    """
    said: Reasons = {}
    for paragraph in text.split("\n\n")[1:]:
        changes, _, reason = paragraph.partition("\n= ")
        function, *lines = changes.splitlines()
        change: List[str] = []
        for line in lines:
            if line[0] == "-" and change and change[-1][0] == "+":
                said[function, tuple(change)] = " ".join(reason.split())
                change = []
            change.append(line)
        said[function, tuple(change)] = " ".join(reason.split())
    return said


def percent(mutants: List[Mutant]) -> float:
    """Return how many of them are killed, of a hundred."""
    return 100 * sum(each.killed for each in mutants) / len(mutants)


def by_file(mutants: List[Mutant]) -> Dict[str, List[Mutant]]:
    """Return the mutants of each file, and then all of them."""
    parted = {name: [each for each in mutants if each.file == name]
              for name in sorted({each.file for each in mutants})}
    return dict(parted, **{"All": mutants})


def complaints(mutants: List[Mutant], reasons: Reasons) -> List[str]:
    """Return what is wrong with a result, nothing if it will do."""
    return ["{}: only {:.1f} % are killed".format(name, percent(each))
            for name, each in by_file(mutants).items()
            if percent(each) < ENOUGH] + [
        "{}\n{}\nlives, and nobody says why".format(
            each.function, "\n".join(each.change))
        for each in mutants
        if not each.killed and (each.function, each.change) not in reasons]


def row(name: str, mutants: List[Mutant]) -> str:
    """Return the line of the table that tells of a file."""
    living = sum(not each.killed for each in mutants)
    return "| {} | {} | {} | {} | {:.1f} |\n".format(
        name, len(mutants), len(mutants) - living, living, percent(mutants))


def page(mutants: List[Mutant], reasons: Reasons, versions: str) -> str:
    """Return docs/mutants.md as a run has it, of these versions."""
    wrong = complaints(mutants, reasons)
    parts = [HEAD.format(
        verdict="{} complaints".format(len(wrong)) if wrong else
        "{:.1f} % are killed, and for each of the rest stands below why it "
        "may live".format(percent(mutants)),
        date=date.today().isoformat(), versions=versions,
        rows="".join(row(*each) for each in by_file(mutants).items()))]
    living = {(each.function, each.change)
              for each in mutants if not each.killed}
    last = ""
    for key, reason in reasons.items():
        if key in living:
            if reason != last:
                parts.append("\n{}\n\n".format(reason))
            last = reason
            parts.append("```diff\n{}\n{}\n```\n".format(
                key[0], "\n".join(key[1])))
    return "".join(parts)


def main(words: List[str]) -> int:
    """Try all mutants, or the named; write the page, return the exit code."""
    from importlib.metadata import version  # not there on Python 3.7

    last = json.loads(LAST.read_text()) if words and LAST.exists() else {}
    mutants, reasons = prepare(), read_reasons(REASONS.read_text())
    asked = [each.name for each in mutants if not words or any(
        fnmatch(each.name, word) for word in words)
        or words == ["living"] and not last.get(str(each))
        and (each.function, each.change) not in reasons]
    killed = try_out(asked)
    mutants = [Mutant(each.name, each.change, killed.get(
        each.name, last.get(str(each), False))) for each in mutants]
    LAST.write_text(json.dumps({str(each): each.killed for each in mutants}))
    PAGE.write_text(page(mutants, reasons, "mutmut {}, Python {}".format(
        version("mutmut"), platform.python_version())))
    wrong = complaints(mutants, reasons)
    print("\n\n".join(wrong + ["{}: {} mutants, {} complaints".format(
        PAGE.relative_to(ROOT), len(mutants), len(wrong))]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
