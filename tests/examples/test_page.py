#!/usr/bin/env python3
"""The page with fetch, in a real browser, with the examples' own Caddyfile."""
from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

from tests.browser import chromium, needs_browser
from tests.examples.running import FLASK, Desk, desk, running
from tests.helpers import EMAIL, STRONG, STRONGER
from tests.smtp_server import SmtpServer
from tests.test_going_live import Live

pytestmark = [pytest.mark.once, needs_browser]
URL = desk()["PUBLIC_URL"]
MEMBER = "ann@me.com"
# How long a browser may take, in milliseconds, on a busy machine.
PATIENCE = 10000


class Visit:
    """Somebody in front of the page."""

    def __init__(self, tab: Any) -> None:
        """Keep what the browser complains of, such as its own policy."""
        self.tab = tab
        self.complaints: List[str] = []
        tab.set_default_timeout(PATIENCE)
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("console", lambda line: self.complaints.append(line.text)
               if "Content Security Policy" in line.text else None)

    def opens(self, path: str) -> None:
        """Go to a page of the host, and wait until it has asked who it is."""
        self.tab.goto(URL + path)
        self.tab.wait_for_function(
            "() => document.querySelector('#stranger').hidden !== "
            "document.querySelector('#member').hidden")

    def sends(self, button: str, email: str,
              password: str = STRONG) -> None:
        """Fill the form in and press one of its buttons."""
        self.tab.fill("input[name=email]", email)
        self.tab.fill("input[name=password]", password)
        self.tab.click("text=" + button)

    def reads(self, text: str, place: str = "#said") -> None:
        """Wait until the page says so."""
        self.tab.wait_for_selector("{} >> text={}".format(place, text))


@pytest.fixture(scope="module")
def browser(go_live: Callable[[str, str], Live],
            folder: Path) -> Iterator[Any]:
    """A browser on the desk: service, page, app and proxy."""
    service = go_live(URL, MEMBER)
    with ExitStack() as ending:
        app = ending.enter_context(running(FLASK, folder))
        proxy = Desk(folder, service.port, app.port)
        ending.callback(proxy.stop)
        yield ending.enter_context(chromium(
            "--host-resolver-rules=MAP {} 127.0.0.1:{}".format(
                URL.partition("//")[2], proxy.port)))


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    """A fresh visitor, whose browser complains of nothing."""
    context = browser.new_context(ignore_https_errors=True)
    made = Visit(context.new_page())
    yield made
    assert made.complaints == []
    context.close()


def test_from_the_first_visit_to_the_last(
        visit: Visit, mail: SmtpServer) -> None:
    """Sent here by the app, signed up, verified, signed in, back, out."""
    visit.opens("/")
    assert visit.tab.url == URL + "/welcome/"
    visit.sends("Sign up", EMAIL)
    visit.reads("Now open the link in your mail.")
    mail.wait_for(EMAIL)
    link, = re.findall(r"https://\S+", mail.text(EMAIL))

    visit.opens(link[len(URL):])
    visit.reads("email verified")
    assert "#" not in visit.tab.url
    visit.sends("Sign in", EMAIL)
    visit.reads(EMAIL, "#email")
    visit.tab.click("text=Go on to the app")
    visit.reads("Hello bob@me.com", "body")

    visit.opens("/welcome/")
    visit.tab.click("text=Sign out")
    visit.tab.wait_for_selector("#stranger")
    visit.opens("/")
    assert visit.tab.url == URL + "/welcome/"


def test_refusal_is_said(visit: Visit) -> None:
    """In the service's own words, and the form stays."""
    visit.opens("/welcome/")
    visit.sends("Sign in", MEMBER, STRONGER)
    visit.reads("wrong email or password")
    assert visit.tab.is_visible("#stranger")


def test_wait_is_said(visit: Visit) -> None:
    """Whoever is told to come back hears when."""
    visit.opens("/welcome/")
    visit.tab.route("**/sessions", lambda route: route.fulfill(
        status=503, json={"message": "busy"}, headers={"Retry-After": "3"}))
    visit.sends("Sign in", MEMBER)
    visit.reads("busy (3 s)")


def test_silence_is_said(visit: Visit) -> None:
    """A network that is gone has no words of its own."""
    visit.opens("/welcome/")
    visit.tab.route("**/sessions", lambda route: route.abort())
    visit.sends("Sign in", MEMBER)
    visit.reads("Nobody answers.")


def test_sign_in_leads_back(visit: Visit) -> None:
    """To the path of the app that sent the visitor here."""
    visit.opens("/?from=here")
    visit.sends("Sign in", MEMBER)
    visit.reads("Hello ann@me.com", "body")
    assert visit.tab.url == URL + "/?from=here"


@pytest.mark.parametrize("place", [
    "%2F%5Cevil.com", "javascript%3Aalert(1)"])
def test_sign_in_leads_nowhere_else(visit: Visit, place: str) -> None:
    """Anybody can write such a link."""
    visit.opens("/welcome/#next=" + place)
    visit.sends("Sign in", MEMBER)
    visit.reads(MEMBER, "#email")
    assert visit.tab.url == URL + "/welcome/"
