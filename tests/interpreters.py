#!/usr/bin/env python3
"""Run the whole suite on several Pythons, each with what fits it.

    python3 tests/interpreters.py            every Python found, 3.7 and up
    python3 tests/interpreters.py --ends     the oldest and the newest of them

Each gets an environment of its own under .venvs/, made once. requirements.txt
gives Python 3.7 SQLAlchemy 1.3 and every other SQLAlchemy 2. The newest also
measures branch coverage and fails below what the project promises.
"""
from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST_KNOWN = (3, 7), (3, 13)
COVERED = ("user.py,models.py,db.py,auth.py,app.py,throttle.py,devices.py,"
           "audit.py,settings.py,logs.py,cli.py,routes/*,credentials/*,mail/*")
COVERAGE_FLOOR = "95"
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
        for name in ("requirements.txt", "requirements-dev.txt"))).hexdigest()
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


def run_suite(python: Path, newest: bool) -> bool:
    """Run every test on this interpreter and tell whether all passed.

    What it prints comes at its end, since others run at the same time.
    """
    started, printed, passed = time.time(), "\n== ", True
    commands: List[List[str]] = [["-c", VERSIONS], ["-m", "pytest", "-q"]]
    if newest:
        commands[1:] = [["-m", "coverage", "run", "-m", "pytest", "-q"],
                        ["-m", "coverage", "report", "--include", COVERED,
                         "--fail-under", COVERAGE_FLOOR]]
    for each in commands:
        done = subprocess.run(
            [str(python)] + each, cwd=str(ROOT), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, universal_newlines=True)
        printed += done.stdout
        passed = passed and done.returncode == 0
    print("{}{} in {:.0f} s".format(
        printed, "all well" if passed else "FAILED", time.time() - started),
        flush=True)
    return passed


def report_missing(versions: List[Version], end: Version,
                   name: str) -> None:
    """Say so, if no interpreter stands for one end of what is promised."""
    if not versions[0] <= end <= versions[-1]:
        print("Python {}.{} is not installed, or cannot make an environment: "
              "{} is NOT tested by this run.".format(end[0], end[1], name),
              flush=True)


def main(ends_only: bool) -> int:
    """Run the suite everywhere; return 0 if it passed everywhere."""
    found = interpreters()
    versions = list(found)
    if ends_only:
        versions = sorted({versions[0], versions[-1]})
    report_missing(versions, OLDEST, "the card's end")
    report_missing(versions, NEWEST_KNOWN, "the newest end")
    pythons = [environment(each, found[each]) for each in versions]
    print("Running every test on {}; this takes minutes.".format(" and ".join(
        "Python {}.{}".format(*each) for each in versions)), flush=True)
    # Much of a run is waiting, so two go side by side.
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(
            run_suite, pythons, [each == versions[-1] for each in versions]))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main("--ends" in sys.argv[1:]))
