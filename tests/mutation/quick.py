#!/usr/bin/env python3
"""The choice of tests that meet a mutant: a plug-in of pytest, for mutmut.

Most mutants die by one of a few tests, and those that live cost all of them;
so what is slow or far away is left out.
"""
from __future__ import annotations

import faulthandler
import json
import os
from pathlib import Path
from typing import List

import pytest

from tests.databases import file_with_tables

# The tests that look closely at a room; others would take long, and only pass.
NEAR = {
    "throttle": ["test_throttle", "test_lockout", "test_clock", "test_audit",
                 "test_metrics", "test_outbox"],
    "db": ["test_db", "test_statements", "test_auth", "test_card",
           "test_admin", "test_moving", "test_devices", "test_throttle",
           "test_health", "test_backup", "test_purge", "test_engines"],
    "auth": ["tests/test_", "tests/mail", "tests/routes"],
    "credentials": ["tests/credentials", "test_auth", "test_transfer"]}
# A test that took longer is left out, in seconds; and one that takes so long
# with a mutant never ends, and has noticed it.
LONGEST, PATIENCE = 0.25, 15
CHOSEN: List[str] = []


def pytest_configure(config: pytest.Config) -> None:
    """Note which tests are asked for, and ask for their functions.

    For pytest does not find every test again by the id that it gave it.
    """
    CHOSEN[:] = [each for each in config.args if "::" in each]
    if CHOSEN:
        config.args[:] = dict.fromkeys(
            each.partition("[")[0] for each in CHOSEN)


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    """Keep the quick tests that are near the mutant, the quickest first.

    No answer is compared with the description of the service.
    """
    file_with_tables()  # made by whole code, and inherited
    mutant = os.environ["MUTANT_UNDER_TEST"]
    items[:] = [each for each in items if not {"server", "start_server"}
                & set(getattr(each, "fixturenames", ()))]
    for each in items:
        each.add_marker("made_up")
    if CHOSEN and "__mutmut_" in mutant:
        took = json.loads(Path("mutmut-stats.json").read_text())
        kept = [name for name in CHOSEN
                if took["duration_by_test"][name] < LONGEST
                and any(part in name
                        for part in NEAR[mutant.partition(".")[0]])]
        order = {name: place for place, name in enumerate(kept or CHOSEN)}
        items[:] = sorted((each for each in items if each.nodeid in order),
                          key=lambda each: order[each.nodeid])


def pytest_runtest_setup() -> None:
    """Have a test that never ends fail."""
    if "__mutmut_" in os.environ["MUTANT_UNDER_TEST"]:
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
