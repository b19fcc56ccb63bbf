#!/usr/bin/env python3
"""The page GET /docs in a real browser: all is there, and can be tried."""
from __future__ import annotations

from typing import Any, Iterator, List, Tuple

import pytest

from tests.browser import chromium, needs_browser
from tests.described import operations
from tests.helpers import Server

# The page is the same on every Python; one of them is enough.
pytestmark = [pytest.mark.once, needs_browser]
COMPLAIN = """window.refused = [];
document.addEventListener("securitypolicyviolation",
    each => window.refused.push([each.violatedDirective, each.blockedURI]));
"""


class Reader:
    """Somebody who reads the page, and whose browser has its complaints."""

    def __init__(self, tab: Any, server: Server) -> None:
        """Open the page, and wait until the routes are there."""
        self.tab, self._url = tab, server.url
        self.complaints: List[Tuple[str, str]] = []
        tab.on("console", lambda each: self._hears("console", each.text))
        tab.on("pageerror", lambda each: self._hears("error", str(each)))
        tab.on("request", lambda each: self._notes(each.url))
        tab.add_init_script(COMPLAIN)
        tab.goto(server.url + "/docs")
        tab.wait_for_selector(".opblock")

    def _hears(self, kind: str, text: str) -> None:
        """Write down what the browser says."""
        self.complaints.append((kind, text))

    def _notes(self, url: str) -> None:
        """Write down a request that goes to somebody else."""
        if not url.startswith((self._url + "/", "data:")):
            self.complaints.append(("asked", url))

    def tries(self, name: str) -> Tuple[int, str]:
        """Send what the page suggests for an operation; return the answer."""
        block = self.tab.locator("[id^=operations-][id$=-{}]".format(name))
        block.locator(".opblock-summary-control").click()
        block.locator("button.execute").click()
        answer = block.locator("table.live-responses-table tbody tr").first
        status = answer.locator(".response-col_status").inner_text()
        return int(status.split()[0]), answer.locator(
            ".response-col_description").inner_text()


@pytest.fixture
def reader(server: Server) -> Iterator[Reader]:
    """Somebody at a desk."""
    with chromium() as browser:
        yield Reader(browser.new_page(
            viewport={"width": 1280, "height": 900}), server)


def test_shows_every_operation_and_tries_some(reader: Reader) -> None:
    """As a newcomer does: register, sign in, and be known from then on.

    Nothing is blocked, nothing fails, nobody else is asked, and all of it
    fits a telephone as well.
    """
    names = {each.get_attribute("id").rpartition("-")[2]
             for each in reader.tab.locator(".opblock").all()}
    assert names == {each["operationId"]
                     for _, _, each in operations("development")}
    for name, status, said in (
            ("welcome", 200, '"Bienvenue"'),
            ("register", 200, '"user created"'),
            ("sign_in", 200, '"logged in"'),
            ("show_profile", 200, '"bob@me.com"')):
        found, text = reader.tries(name)
        assert (name, found) == (name, status)
        assert said in text
    for width in (1280, 390):
        reader.tab.set_viewport_size({"width": width, "height": 900})
        assert reader.tab.evaluate(
            "document.documentElement.scrollWidth") <= width
    assert reader.complaints == []
    assert reader.tab.evaluate("window.refused") == []
