#!/usr/bin/env python3
"""docs/inventory.md, compared with what there is to be listed."""
from __future__ import annotations

import re
from dataclasses import fields
from typing import Dict, List, Set

import pytest

from audit import Fact
from models import Session
from settings import Settings
from tests.helpers import ROOT
from tests.test_house_rules import SOURCES, imports, room_of, tree_of

pytestmark = pytest.mark.once
PAGE = (ROOT / "docs/inventory.md").read_text(encoding="utf-8")
# What only a person runs, and never where the service is.
OUTSIDE = {"benchmarks", "examples", "main", "scripts"}
CRYPTOGRAPHY = {"argon2", "bcrypt", "cryptography", "hashlib", "hmac",
                "random", "secrets", "ssl", "uuid"}
NETWORK = {"asyncio", "http", "requests", "smtplib", "socket", "socketserver",
           "urllib.request"}


def section(title: str) -> str:
    """Return what stands under a heading."""
    return PAGE.partition("\n## {}\n".format(title))[2].partition("\n## ")[0]


def first_cells(title: str) -> List[str]:
    """Return what the rows of a section's table are about."""
    return re.findall(r"^\| `([^`]+)` \|", section(title), re.M)


def files_in(title: str) -> Set[str]:
    """Return the files that a section names."""
    return set(re.findall(r"`([a-z_/]+\.py)`", section(title)))


def importers(packages: Set[str]) -> Set[str]:
    """Return the files of the service that import any of these."""
    return {name for name in SOURCES if room_of(name) not in OUTSIDE
            for _, module, _ in imports(tree_of(name))
            if {module, module.partition(".")[0]} & packages}


def columns_listed() -> Dict[str, List[str]]:
    """Return the columns of each table, whatever class they are of."""
    return {table: re.findall(r"`([a-z_]+)`", row)
            for table, row in re.findall(
                r"^\| `([a-z_]+)` \|(.*)\|[^|]*\|$", section("Data"), re.M)}


def test_every_column_has_one_class() -> None:
    """What nobody classified is protected by luck."""
    there = {name: sorted(table.columns.keys())
             for name, table in Session.metadata.tables.items()}
    listed = {name: sorted(columns)
              for name, columns in columns_listed().items()}
    assert listed == there


def test_every_secret_setting_has_a_rotation() -> None:
    """Those that are masked wherever settings are shown."""
    assert set(first_cells("Secrets")) == {
        each.metadata["name"] for each in fields(Settings)
        if each.metadata["secret"]}


def test_cryptography_is_all_there_is() -> None:
    """No file hashes, draws or compares that is not listed (ASVS 11.1.3)."""
    assert files_in("Cryptography") == importers(CRYPTOGRAPHY)


def test_connections_are_all_there_are() -> None:
    """No file reaches out that is not listed (ASVS 13.2.4)."""
    assert files_in("Connections") == importers(NETWORK)


def test_every_fact_is_listed() -> None:
    """Whoever watches the log has to know what to expect (ASVS 16.1.1)."""
    said = section("Logs").partition("The facts:")[2].partition(". What")[0]
    assert re.findall(r"`([a-z_.]+)`", said) == [each.value for each in Fact]


def test_files_that_are_named_exist() -> None:
    """The dangerous ones, too."""
    named = re.findall(r"`([a-z_/]+\.py)`", PAGE)
    assert named and [each for each in named
                      if not (ROOT / each).exists()] == []
