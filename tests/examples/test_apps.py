#!/usr/bin/env python3
"""The apps behind forward auth, with the nginx of Debian in front."""
from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Callable, Dict, Iterator, List

import pytest

from tests.examples.running import FLASK, NODE, Running, running
from tests.helpers import EMAIL, STRONG
from tests.proxies import HOST, Nginx, message, require
from tests.test_going_live import Live

pytestmark = pytest.mark.once
URL = "https://" + HOST
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
FORGED = {"Remote-User": "7", "Remote-Email": "ceo@me.com"}


class Site:
    """One host with Bienvenue, an app and the proxy before both."""

    def __init__(self, service: Live, app: Running, proxy: Nginx) -> None:
        """Put them together."""
        self.service, self.app, self.proxy = service, app, proxy

    def logs_in(self) -> Dict[str, str]:
        """Sign in through the proxy; return the headers of a browser then."""
        answer = self.proxy.ask("POST", "/sessions", email=EMAIL,
                                password=STRONG)
        assert answer.status == 200, answer.body
        return {"Cookie": "; ".join(
            line.partition(";")[0]
            for line in answer.headers.get_all("Set-Cookie", []))}


@pytest.fixture(scope="module")
def service(go_live: Callable[[str, str], Live]) -> Live:
    """Bienvenue with one user."""
    return go_live(URL, EMAIL)


@pytest.fixture(scope="module", params=[FLASK, NODE], ids=["flask", "node"])
def site(request: pytest.FixtureRequest, service: Live,
         tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The host with each of the apps."""
    command: List[str] = request.param
    require(command[0])
    folder = tmp_path_factory.mktemp("site")
    with ExitStack() as ending:
        app = ending.enter_context(running(command, folder))
        proxy = Nginx(folder, service.port, app.port)
        ending.callback(proxy.stop)
        yield Site(service, app, proxy)


class TestApp:
    """What the app's visitors see."""

    def test_member_is_greeted(self, site: Site) -> None:
        """By the address whose mailbox they proved."""
        answer = site.proxy.ask("GET", "/", site.logs_in())
        assert (answer.status, answer.body) == (
            200, b"Hello bob@me.com, user 1.\n")
        assert answer.headers.get_content_type() == "text/plain"

    def test_forged_headers_change_nothing(self, site: Site) -> None:
        """The proxy writes over them, whatever a member sends."""
        answer = site.proxy.ask("GET", "/", dict(site.logs_in(), **FORGED))
        assert answer.body == b"Hello bob@me.com, user 1.\n"

    def test_forged_headers_alone_are_refused(self, site: Site) -> None:
        """They are no session."""
        answer = site.proxy.ask("GET", "/", FORGED)
        assert (answer.status, message(answer)) == (401, "sign in first")

    def test_browser_is_sent_to_the_page(self, site: Site) -> None:
        """And will come back to where it wanted to go."""
        answer = site.proxy.ask("GET", "/?a=1", NAVIGATION)
        assert (answer.status, answer.headers["Location"]) == (
            302, URL + "/welcome/#next=%2F%3Fa%3D1")

    def test_who_left_is_refused(self, site: Site) -> None:
        """From the next request on."""
        leaving = site.logs_in()
        assert site.proxy.ask("DELETE", "/sessions", leaving).status == 302
        assert site.proxy.ask("GET", "/", leaving).status == 401

    def test_unproven_mailbox_is_not_named(self, site: Site) -> None:
        """The proxy has an empty header then, and the app a sentence."""
        answer = site.app.ask("/", {"Remote-User": "7", "Remote-Email": ""})
        assert answer.body == b"Hello whoever you are, user 7.\n"

    def test_missing_proxy_is_noticed(self, site: Site) -> None:
        """By whoever set it up wrong, before somebody else does."""
        assert site.app.ask("/").status == 500


def test_other_paths_are_not_found_by_node(tmp_path: Path) -> None:
    """Flask sees to that by itself."""
    require("node")
    with running(NODE, tmp_path) as app:
        assert app.ask("/x", {"Remote-User": "1"}).status == 404
