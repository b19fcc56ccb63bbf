#!/usr/bin/env python3
"""What the examples' page says of them, and what they are made of."""
from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import List

import pytest

from settings import Settings
from tests.examples.running import FOLDER, desk
from tests.helpers import ROOT

pytestmark = pytest.mark.once
FILES = sorted(path for path in FOLDER.rglob("*")
               if path.is_file() and "__pycache__" not in path.parts)
LISTED = [path for path in FILES
          if path.name not in ("README.md", "__init__.py")]
PROGRAMS = [path for path in LISTED
            if path.name not in ("Caddyfile", "desk.env")]
# All in which the desk's proxy differs from the one that is deployed.
OURS = re.compile(
    r"\thttps?_port \d+|\tskip_install_trust|(localhost|www\.example\.com) {"
    r"|\t(# )?tls .*|\tbind 127\.0\.0\.1")


def lines(path: Path) -> List[str]:
    """Return the lines of a file."""
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: str(path.name))
def test_program_is_read_in_a_minute(path: Path) -> None:
    """Whoever copies one has to understand it first."""
    assert len(lines(path)) < 60


@pytest.mark.parametrize("path", LISTED, ids=lambda path: str(path.name))
def test_page_lists_the_file(path: Path) -> None:
    """By a link to it or to its folder."""
    named = set(re.findall(r"\]\(([^)]+)\)", "\n".join(lines(
        FOLDER / "README.md"))))
    place = path.relative_to(FOLDER)
    assert named & {str(place), str(place.parent) + "/", str(place.parent)}


def test_page_has_no_script_or_style_inside() -> None:
    """A policy that allows none would break it."""
    text = "\n".join(lines(FOLDER / "page" / "index.html"))
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)",
                         text)


def test_proxy_of_the_desk_is_the_one_that_is_deployed() -> None:
    """But for its host, its certificate and the page: what it deletes from
    requests, and why, is in one file, and no copy of it gets old.
    """
    def rules(name: str) -> List[str]:
        """Return a file's lines after its first paragraph."""
        return (ROOT / name).read_text(encoding="utf-8").partition(
            "\n{\n")[2].splitlines()
    changed = [line for line in difflib.ndiff(
        rules("deploy/caddy/Caddyfile"), rules("examples/Caddyfile"))
        if line[0] in "+-" and not OURS.match(line[2:])]
    page = [line[2:] for line in changed if line[0] == "+"]
    assert [line for line in changed if line[0] == "-"] == []
    assert len([line for line in page if "handle" in line]) == 1
    assert "handle_path /welcome/*" in "\n".join(page)
    assert not [line for line in page if "proxy" in line or "Remote" in line]


def test_settings_of_the_desk_are_a_production(tmp_path: Path) -> None:
    """They start as they stand, and lead to the page."""
    settings = Settings.from_env(dict(desk(), DATABASE_URL=(
        "sqlite:///{}/desk.db".format(tmp_path))))
    assert settings.production
    assert settings.sign_in_path == settings.landing_url == "/welcome/"
