#!/usr/bin/env python3
"""requirements.lock: every version that is deployed, and its bytes.

That it can be installed is shown by tests/deploy/test_image.py.
"""
from __future__ import annotations

import re
from typing import Dict, List

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.helpers import ROOT

# What `make lock` locks for.
NEWEST = {"python_version": "3.13", "python_full_version": "3.13.0"}
# A text, and for that Python only.
pytestmark = pytest.mark.once
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def required() -> List[Requirement]:
    """Return what the service needs on the newest end, extras included."""
    found = []
    for path in sorted(ROOT.glob("requirements*.txt")):
        if path.name not in ("requirements-dev.txt", "requirements-bench.txt",
                             "requirements-mutants.txt"):
            found += [Requirement(line.partition("#")[0]) for line in
                      path.read_text(encoding="utf-8").splitlines()
                      if re.match(r"[A-Za-z]", line)]
    return [each for each in found
            if each.marker is None or each.marker.evaluate(dict(NEWEST))]


def locked() -> Dict[str, str]:
    """Return what stands after the name of each package that is locked."""
    lines = re.sub(r"\\\n *", "", LOCK).splitlines()
    return {canonicalize_name(line.partition("==")[0].partition("[")[0]):
            line.partition("==")[2] for line in lines if line[0] != "#"}


@pytest.mark.parametrize("needed", required(), ids=str)
def test_every_requirement_is_locked_and_met(needed: Requirement) -> None:
    """Whoever raises a bound has to run `make lock`."""
    version = locked()[canonicalize_name(needed.name)].split()[0]
    assert needed.specifier.contains(version, prereleases=True)


@pytest.mark.parametrize("name", locked())
def test_every_package_has_one_version_and_its_hashes(name: str) -> None:
    """An index that was taken over cannot send other bytes."""
    assert re.match(r"[0-9][0-9a-z.+]*( ;[^;]*)?( --hash=sha256:[0-9a-f]{64})+"
                    r"\Z", locked()[name])


def test_lock_names_no_index() -> None:
    """Where packages come from is the deployer's to say."""
    assert "://" not in LOCK
    assert not re.search(r"^(-|--(?!hash))", LOCK, re.M)


def test_lock_says_how_it_was_made() -> None:
    """By one command, which anybody can run again."""
    assert "make lock\n" in LOCK.partition("==")[0]
