#!/usr/bin/env python3
"""Run the whole suite on several Pythons, each with what fits it.

    python3 tests/interpreters.py            every Python found, 3.7 and up
    python3 tests/interpreters.py --ends     the oldest and the newest of them

Each gets an environment of its own under .venvs/, made once. requirements.txt
gives Python 3.7 SQLAlchemy 1.3 and every other SQLAlchemy 2. The newest also
measures branch coverage, fails below what the project promises, and runs the
suite once more on PostgreSQL. What says `once` (pyproject.toml) would say the
same everywhere: the newest runs it, beside these suites and not measured.

    python3 tests/interpreters.py --ends lint types

makes these goals of the Makefile at the same time; one that fails is a
failure of the run.
"""
from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST_KNOWN = (3, 7), (3, 13)
# Every file of ours but tests and what only a person runs.
COVERED = "*.py,migrations/*,routes/*,credentials/*,mail/*,cli/*"
# What runs in processes of its own, where tests watch it from outside.
NOT_COVERED = "deploy/*"
COVERAGE_FLOOR = "95"
REQUIREMENTS = ("requirements.txt", "requirements-postgresql.txt",
                "requirements-dev.txt")
VERSIONS = ("import platform, sqlalchemy, bcrypt;"
            "print('Python', platform.python_version(), '/ SQLAlchemy',"
            " sqlalchemy.__version__, '/ bcrypt', bcrypt.__version__)")
Version = Tuple[int, int]


def candidates() -> Iterator[Path]:
    """Yield every file that looks like a Python 3: on PATH and in pyenv."""
    folders = [Path(each) for each in os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv")))
    folders += sorted((pyenv / "versions").glob("*/bin"))
    for folder in folders:
        if folder.is_dir():
            for path in sorted(folder.glob("python3*")):
                if re.match(r"python3(\.[0-9]+)?\Z", path.name):
                    yield path


def usable_version(python: Path) -> Version:
    """Return an interpreter's version, (0, 0) if it cannot make a venv."""
    asked = subprocess.run(
        [str(python), "-c", "import sys, ensurepip; "
                            "print(*sys.version_info[:2])"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    words = asked.stdout.split()
    if asked.returncode or len(words) != 2:
        return (0, 0)
    return (int(words[0]), int(words[1]))


def interpreters() -> Dict[Version, Path]:
    """Return one interpreter for each version that the service promises."""
    found: Dict[Version, Path] = {}
    for path in candidates():
        version = usable_version(path)
        if version >= OLDEST and version not in found:
            found[version] = path
    return dict(sorted(found.items()))


def environment(version: Version, python: Path) -> Path:
    """Return the interpreter of an environment that is up to date."""
    folder = ROOT / ".venvs" / "{}.{}".format(*version)
    wanted = hashlib.sha256(b"".join(
        (ROOT / name).read_bytes()
        for name in REQUIREMENTS)).hexdigest()
    stamp, inside = folder / "installed", folder / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != wanted:
        print("Making an environment for Python {}.{}.".format(*version),
              flush=True)
        subprocess.run([str(python), "-m", "venv", str(folder)], check=True)
        subprocess.run(
            [str(inside), "-m", "pip", "install", "--quiet",
             "--disable-pip-version-check", "-r",
             str(ROOT / "requirements-dev.txt")], check=True)
        stamp.write_text(wanted)
    return inside


class Part(NamedTuple):
    """A part of the run: commands that are run one after the other."""

    name: str
    commands: List[List[str]]
    database: str = "sqlite"

    def run(self) -> bool:
        """Run all of it and tell whether all is well.

        What it prints comes at its end, since others run at the same time.
        """
        started, printed, passed = time.time(), "\n== ", True
        for each in self.commands:
            done = subprocess.run(
                each, cwd=str(ROOT), env=self.environ(),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                universal_newlines=True)
            printed += done.stdout
            passed = passed and done.returncode == 0
        print("{}{}: {} in {:.0f} s".format(
            printed, self.name, "all well" if passed else "FAILED",
            time.time() - started), flush=True)
        return passed

    def environ(self) -> Dict[str, str]:
        """Return the variables of its commands.

        Bytecode is kept, or hundreds of servers compile the service again.
        """
        kept = dict(os.environ, TEST_DATABASE=self.database)
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        return kept


def suite(version: Version, python: Path, which: str = "not once",
          database: str = "sqlite", measured: bool = False) -> Part:
    """Return the tests of these marks, on one Python and kind of database."""
    commands = [["-c", VERSIONS], ["-m", "pytest", "-q", "-m", which]]
    if measured:
        commands[1][:0] = ["-m", "coverage", "run"]
        commands += [["-m", "coverage", "report", "--include", COVERED,
                      "--omit", NOT_COVERED, "--fail-under", COVERAGE_FLOOR]]
    return Part("Python {}.{} on {}, {}".format(*version, database, which),
                [[str(python)] + each for each in commands], database)


def report_missing(versions: List[Version], end: Version,
                   name: str) -> None:
    """Say so, if no interpreter stands for one end of what is promised."""
    if not versions[0] <= end <= versions[-1]:
        print("Python {}.{} is not installed, or cannot make an environment: "
              "{} is NOT tested by this run.".format(end[0], end[1], name),
              flush=True)


def postgresql_is_there() -> bool:
    """Tell whether this machine can run a PostgreSQL server."""
    return bool(shutil.which("initdb") or list(
        Path("/usr/lib/postgresql").glob("*/bin/initdb")))


def suites_of(pythons: Dict[Version, Path]) -> List[Part]:
    """Return the suite on every Python, and what the newest runs besides.

    The longest first, so that none is left to end alone.
    """
    newest = max(pythons)
    suites = [suite(newest, pythons[newest], measured=True),
              suite(newest, pythons[newest], "once")]
    suites += [suite(version, python) for version, python in pythons.items()
               if version != newest]
    if postgresql_is_there() or os.environ.get("CI"):
        suites.insert(0, suite(
            newest, pythons[newest], "not once and not one_database",
            "postgresql"))
    else:
        print("PostgreSQL is not installed: it is NOT tested by this run.",
              flush=True)
    return suites


def main(ends_only: bool, goals: List[str]) -> int:
    """Run the suite everywhere; return 0 if it passed everywhere."""
    found = interpreters()
    versions = list(found)
    if ends_only:
        versions = sorted({versions[0], versions[-1]})
    report_missing(versions, OLDEST, "the card's end")
    report_missing(versions, NEWEST_KNOWN, "the newest end")
    print("Running every test on {}; this takes minutes.".format(" and ".join(
        "Python {}.{}".format(*each) for each in versions)), flush=True)
    # Much of a run is waiting, so three go side by side.
    with ThreadPoolExecutor(1) as aside, ThreadPoolExecutor(3) as pool:
        parts = [Part("make " + each, [["make", each]]) for each in goals]
        checked = aside.map(Part.run, parts)
        made = pool.map(environment, versions, map(found.get, versions))
        suites = suites_of(dict(zip(versions, made)))
        results = list(pool.map(Part.run, suites)) + list(checked)
    failed = [part.name for part, passed in zip(suites + parts, results)
              if not passed]
    print("\nFAILED: " + ", ".join(failed) if failed else "\nAll is well.",
          flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main("--ends" in sys.argv[1:], [
        each for each in sys.argv[1:] if not each.startswith("--")]))
