#!/usr/bin/env python3
"""The units, as systemd itself judges them."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

from tests.deploy.files import (
    SECRETS, SETTINGS, UNITS, graceful_seconds, unit_says)
from tests.helpers import ROOT

# systemd is the judge.
pytestmark = pytest.mark.once
# Of ten; "OK" for systemd is anything below 4.5.
MOST_EXPOSED = 1.5
every_unit = pytest.mark.parametrize(
    "unit", UNITS, ids=lambda unit: str(unit.name))


def analyze(*words: str) -> str:
    """Run systemd-analyze, and return what it printed."""
    if not shutil.which("systemd-analyze"):
        assert os.environ.get("CI") != "true"
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(
        ("systemd-analyze",) + words, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, universal_newlines=True, timeout=60)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_there_is_one_for_the_service_and_one_for_its_mail() -> None:
    """Nothing to look at would let every other test here succeed."""
    assert [each.name for each in UNITS] == [
        "bienvenue-mail.service", "bienvenue.service"]


@every_unit
def test_systemd_understands_it(unit: Path, tmp_path: Path) -> None:
    """Every word: one that is misspelled would be passed over."""
    text = unit.read_text(encoding="utf-8")
    for folder, here in (("/opt/bienvenue/venv/bin", Path(
            sys.executable).parent), ("=/opt/bienvenue", "=" + str(ROOT))):
        text = text.replace(folder, str(here))
    copy = tmp_path / unit.name
    copy.write_text(text)
    assert analyze("verify", "--man=no", str(copy)) == ""


@every_unit
def test_little_is_exposed(unit: Path) -> None:
    """By systemd's own figure."""
    said = analyze("security", "--offline=true", "--no-pager", str(unit))
    figure, = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert float(figure) <= MOST_EXPOSED


@every_unit
def test_environment_is_settings_and_secrets_are_files(unit: Path) -> None:
    """`systemctl show` tells everybody what is in an environment."""
    given = dict(pair.split("=", 1) for line in unit_says(unit, "Environment")
                 for pair in line.split())
    assert set(given) <= SETTINGS | {each + "_FILE" for each in SECRETS} | {
        "PYTHONDONTWRITEBYTECODE"}
    assert set(given) & SECRETS == {"DATABASE_URL"}
    loaded: List[str] = [each.partition(":")[0]
                         for each in unit_says(unit, "LoadCredential")]
    assert sorted(each for name, each in given.items() if name.endswith(
        "_FILE")) == ["%d/" + each for each in sorted(loaded)]


@every_unit
def test_it_has_the_time_to_end(unit: Path) -> None:
    """Or systemd kills it amid a request, or a mail."""
    patience, = unit_says(unit, "TimeoutStopSec")
    needed = graceful_seconds() if unit.name == "bienvenue.service" else 10
    assert int(patience) > needed


def test_both_are_locked_down_alike() -> None:
    """What protects one was not forgotten in the other."""
    mail, service = [unit.read_text(encoding="utf-8").partition(
        "\n# A user that")[2].partition("\n# What it may")[0]
        for unit in UNITS]
    assert mail == service != ""
