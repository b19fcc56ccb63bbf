#!/usr/bin/env python3
"""A real browser: Debian's Chromium, driven by playwright.

Where there is none, or no playwright for this Python, its tests are skipped
and say so.
"""
from __future__ import annotations

import shutil
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Iterator

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
needs_browser = pytest.mark.skipif(
    not CHROMIUM or find_spec("playwright") is None,
    reason="needs Chromium and playwright")
# What a browser does of its own accord would leave this machine.
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update",
         "--disable-sync")


@contextmanager
def chromium(*flags: str) -> Iterator[Any]:
    """Yield a browser without a window, and end it afterwards.

    With these flags beside its usual ones. Each `new_context()` of it is a
    person of their own: no cookie of another.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=list(FLAGS + flags))
        try:
            yield browser
        finally:
            browser.close()
