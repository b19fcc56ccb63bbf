#!/usr/bin/env python3
"""How mutants meet the tests that reach them: a plug-in of pytest.

Tests are read once. Then each mutant gets a process of its own, forked from
there, in which they run until one of them fails. `mutmut run` would start
pytest anew for each, and read all tests that are asked for; that takes several
times as long. Runs in a copy of the project with the mutants in place, and
answers what it finds in ASKED.
"""
from __future__ import annotations

import faulthandler
import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Set

import pytest
from _pytest.runner import runtestprotocol

from tests.databases import file_with_tables

# What to try, a list of names; what became of them; what a test sees.
ASKED, ANSWERED, SEEN = map(Path, ("asked.json", "answered.json", "seen.json"))
# Which test noticed a mutant, in a file for each.
KILLERS = Path("killers").resolve()
# The tests that look closely at a room, by the start of their names.
NEAR = {
    "throttle": ["tests/test_throttle.py", "tests/test_lockout.py",
                 "tests/test_clock.py", "tests/test_audit.py",
                 "tests/test_metrics.py", "tests/mail/test_outbox.py"],
    "db": ["tests/test_db.py", "tests/test_statements.py",
           "tests/test_auth.py", "tests/test_card.py", "tests/test_admin.py",
           "tests/test_moving.py", "tests/test_devices.py",
           "tests/test_throttle.py", "tests/test_health.py",
           "tests/test_backup.py", "tests/test_purge.py",
           "tests/test_engines.py"],
    "auth": ["tests/test_auth.py", "tests/test_card.py", "tests/test_cli.py",
             "tests/test_admin.py", "tests/test_devices.py",
             "tests/test_sightings.py", "tests/test_clock.py",
             "tests/test_audit.py", "tests/test_lockout.py",
             "tests/test_production.py", "tests/test_metrics.py",
             "tests/test_regressions.py", "tests/test_user.py",
             "tests/test_purge.py", "tests/test_storm.py",
             "tests/test_throttle.py", "tests/mail/test_outbox.py",
             "tests/routes/"],
    "credentials": ["tests/credentials/", "tests/test_auth.py",
                    "tests/cli/test_transfer.py"]}
# A test that takes longer is left out, in seconds; and one that takes so many
# times as long with a mutant, and some seconds, has noticed it.
LONGEST, TIMES, PATIENCE = 1, 10, 15
# The mutant of this process, if it has one.
MET: List[str] = []
# Ends a process at once, without what pytest would do last.
leave = getattr(os, "_exit")
# In a process of their own, which has no mutants.
FAR_AWAY = {"server", "start_server"}


class Seen(NamedTuple):
    """How long a test takes, and which functions it reaches."""

    seconds: float
    reached: List[str]


def forked(work: Callable[[], int]) -> int:
    """Do something in a child that ends with its result; return its id."""
    child = os.fork()
    if not child:
        code = 1
        try:
            code = work()
        finally:
            leave(code)
    return child


def pytest_exception_interact(node: pytest.Item) -> None:
    """Tell which test noticed, and end; what a mutant left behind may hang."""
    for mutant in MET:
        (KILLERS / mutant).write_text(node.nodeid)
        leave(1)


def passes(item: pytest.Item) -> bool:
    """Run one test, and tell whether it passed."""
    return not any(each.failed for each in runtestprotocol(
        item, log=False, nextitem=None))


def look(items: List[pytest.Item]) -> int:
    """Run every test without a mutant, and write down what was seen.

    One that fails all the same has no say.
    """
    from mutmut.mutation import trampoline

    reached: Set[str] = set()
    trampoline.record_trampoline_hit = lambda name, **_: reached.add(name)
    trampoline.set_mutant_under_test("stats")
    seen = {}
    for item in items:
        reached.clear()
        began = time.monotonic()
        if passes(item):
            seen[item.nodeid] = time.monotonic() - began, sorted(reached)
        else:
            print("fails without a mutant:", item.nodeid, file=sys.stderr)
    SEEN.write_text(json.dumps(seen))
    return 0


def meet(mutant: str, items: List[pytest.Item],
         seen: Dict[str, Seen]) -> int:
    """Run tests with a mutant; return 1 if one of them noticed it."""
    from mutmut.mutation import trampoline

    trampoline.set_mutant_under_test(mutant)
    MET.append(mutant)
    with open(os.devnull, "w") as nowhere:
        for item in items:
            faulthandler.dump_traceback_later(
                PATIENCE + TIMES * seen[item.nodeid].seconds, exit=True,
                file=nowhere)
            if not passes(item):
                return 1
    return 0


def near(mutant: str, items: List[pytest.Item],
         seen: Dict[str, Seen]) -> List[pytest.Item]:
    """Return the tests that may notice a mutant.

    First those that noticed another one of its function, then by their time.
    """
    function = mutant.partition("__mutmut_")[0]
    killers = {each.read_text()
               for each in KILLERS.glob(function + "__mutmut_*")}
    rooms = tuple(NEAR[mutant.partition(".")[0]])
    found = sorted(
        (each for each in items if each.nodeid in seen
         and function in seen[each.nodeid].reached),
        key=lambda each: (each.nodeid not in killers,
                          seen[each.nodeid].seconds))
    return [each for each in found if seen[each.nodeid].seconds < LONGEST
            and each.nodeid.startswith(rooms)] or found


def meet_all(mutants: List[str], items: List[pytest.Item],
             seen: Dict[str, Seen]) -> None:
    """Try as many mutants at once as there are cores; write who is killed."""
    answered: Dict[str, bool] = {}
    running: Dict[int, str] = {}
    left = list(mutants)
    while left or running:
        while left and len(running) < (os.cpu_count() or 1):
            mutant = left.pop()
            running[forked(partial(
                meet, mutant, near(mutant, items, seen), seen))] = mutant
        child, code = os.wait()
        answered[running.pop(child)] = code != 0
        if len(answered) % 50 == 0 or not running:
            print("{} of {}: {} live".format(
                len(answered), len(mutants),
                list(answered.values()).count(False)), file=sys.stderr)
            ANSWERED.write_text(json.dumps(answered))


def pytest_runtestloop(session: pytest.Session) -> bool:
    """Have every mutant meet its tests, instead of running them once."""
    items = [each for each in session.items if not FAR_AWAY
             & set(getattr(each, "fixturenames", ()))]
    for each in items:
        each.add_marker("made_up")  # answers are compared with nothing
    KILLERS.mkdir()
    file_with_tables()  # made by whole code, and inherited
    os.waitpid(forked(partial(look, items)), 0)
    meet_all(json.loads(ASKED.read_text()), items, {
        name: Seen(*each)
        for name, each in json.loads(SEEN.read_text()).items()})
    return True
