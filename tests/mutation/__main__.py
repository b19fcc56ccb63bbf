#!/usr/bin/env python3
"""Break the heart of the service in every small way, and see who notices.

    python3 -m tests.mutation               all of it
    python3 -m tests.mutation 'throttle.*'  these mutants anew
    python3 -m tests.mutation page          the page, by the last run

The breaking is done by mutmut (pyproject.toml), in a copy of the project;
quick.py beside this file chooses the tests. Writes docs/mutants.md, and ends
with 1 if too few mutants are killed, or if one lives and living.txt does not
say why.
"""
from __future__ import annotations

import ast
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple

from tests.helpers import ROOT

FOLDER = ROOT / ".venvs" / "mutants"
PAGE = ROOT / "docs" / "mutants.md"
REASONS = ROOT / "tests" / "mutation" / "living.txt"
SUBJECTS = ("auth.py", "db.py", "throttle.py", "credentials/*.py")
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
Only tests that run in one process, on SQLite, in a quarter of a second, had a
say. What stands outside of functions is not mutated: constants, patterns,
classes of values.

## Who lives, and why that is no loss
"""


class Mutant(NamedTuple):
    """A small change of one function, and how the tests met it."""

    name: str
    status: str
    change: Tuple[str, ...] = ()

    @property
    def function(self) -> str:
        """The function, as Python would name it."""
        module, _, name = self.name.partition("__mutmut_")[0].rpartition(".")
        return module + "." + name.replace("\u01c1", ".")[2:]

    @property
    def file(self) -> str:
        """Where it is in the project."""
        return self.name.rpartition(".")[0].replace(".", "/") + ".py"

    @property
    def lives(self) -> bool:
        """Whether no test noticed it."""
        return self.status not in ("killed", "timeout")


Reasons = Dict[Tuple[str, Tuple[str, ...]], str]


# -- The run

def undecorated(source: str) -> str:
    """Return the same code with functions decorated after they are made.

    What is decorated, mutmut would leave alone.
    """
    lines = source.splitlines(True)
    found = [each for each in ast.walk(ast.parse(source))
             if isinstance(each, ast.FunctionDef) and each.decorator_list]
    for each in sorted(found, key=lambda each: -each.lineno):
        made = each.name
        for decorator in reversed(each.decorator_list):
            made = "{}({})".format(
                ast.get_source_segment(source, decorator), made)
        lines.insert(each.end_lineno or 0, "{}{} = {}\n".format(
            " " * each.col_offset, each.name, made))
        del lines[each.decorator_list[0].lineno - 1:each.lineno - 1]
    return "".join(lines)


def copy() -> None:
    """Bring the copy up to date: the whole tree, and above it the subjects."""
    shutil.copytree(str(ROOT), str(FOLDER / "mutants"), dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns(".*", "__pycache__", "*.db"))
    shutil.copy(str(ROOT / "pyproject.toml"), str(FOLDER))
    for pattern in SUBJECTS:
        for path in sorted(ROOT.glob(pattern)):
            target = FOLDER / path.relative_to(ROOT)
            target.parent.mkdir(exist_ok=True)
            target.write_text(undecorated(path.read_text()))


def mutmut(*words: str, **environ: str) -> List[str]:
    """Run mutmut in the copy; return its lines, or show them as they come."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("mutmut")), *words],
        cwd=str(FOLDER), env=dict(os.environ, **environ), check=True,
        stdout=None if words[0] == "run" else subprocess.PIPE,
        universal_newlines=True)
    return (done.stdout or "").splitlines()


def found() -> Iterator[Mutant]:
    """Yield every mutant of the last run, the living with their change."""
    for line in mutmut("results", "--all", "true"):
        name, _, status = line.strip().partition(": ")
        yield Mutant(name, status, () if status == "killed" else tuple(
            each[0] + " " + each[1:].strip() for each in mutmut("show", name)
            if each[:1] in ("-", "+") and each[:3] not in ("---", "+++")))


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
    return 100 * sum(not each.lives for each in mutants) / len(mutants)


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
        if each.lives and (each.function, each.change) not in reasons]


def row(name: str, mutants: List[Mutant]) -> str:
    """Return the line of the table that tells of a file."""
    living = sum(each.lives for each in mutants)
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
    living = {(each.function, each.change) for each in mutants if each.lives}
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
    """Run what is asked for, write the page, and return the exit code."""
    if words != ["page"]:
        if not words:
            shutil.rmtree(str(FOLDER), ignore_errors=True)
        copy()
        # A database on a disk would wait for it a hundred thousand times.
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            mutmut("run", *words, TMPDIR=folder,
                   PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    mutants, reasons = list(found()), read_reasons(REASONS.read_text())
    PAGE.write_text(page(mutants, reasons, "mutmut {}, Python {}".format(
        mutmut("--version")[0].split()[-1], platform.python_version())))
    wrong = complaints(mutants, reasons)
    print("\n\n".join(wrong + ["{}: {} mutants, {} complaints".format(
        PAGE.relative_to(ROOT), len(mutants), len(wrong))]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
