#!/usr/bin/env python3
"""How the description is handed out: as a document, and as a page."""
from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from typing import Callable

import pytest

from routes.description import FOLDER, TYPES
from tests.described import MODES, description_of
from tests.helpers import ROOT, Visitor

# Those who made the viewer, and whose words stand beside it.
VENDORED = ("swagger-ui-bundle.js", "swagger-ui.css")
LICENCES = ("LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt")


class TestDocument:
    """What GET /openapi.json answers."""

    def test_is_of_this_mode(self, visitor: Visitor, guest: Visitor) -> None:
        """Each tells its own, to whoever asks."""
        here, there = (each.asks("GET", "/openapi.json").get_json()
                       for each in (visitor, guest))
        assert here == description_of(MODES["development"])
        assert here["components"]["securitySchemes"]["cookie"]["name"] \
            == "session_id"
        assert there["components"]["securitySchemes"]["cookie"]["name"] \
            == "__Host-session_id"
        assert there["openapi"] == here["openapi"] == "3.1.0"

    def test_is_kept_and_asked_for_again(self, visitor: Visitor) -> None:
        """So a browser has the one of today, and mostly by 304."""
        first = visitor.asks("GET", "/openapi.json")
        assert first.headers["Cache-Control"] == "no-cache"
        tag = first.headers["ETag"]
        again = visitor.asks("GET", "/openapi.json", {"If-None-Match": tag})
        assert (again.status_code, again.data) == (304, b"")
        other = visitor.asks("GET", "/openapi.json", {"If-None-Match": '"a"'})
        assert (other.status_code, other.data) == (200, first.data)

    def test_is_put_together_for_the_first_who_asks(self) -> None:
        """Neither a start nor any other request waits for it."""
        subprocess.run(
            [sys.executable, "-c", "import sys, app; assert not {"
             "'routes.openapi', 'routes.described'} & set(sys.modules)"],
            cwd=str(ROOT), check=True)


class TestPage:
    """What GET /docs answers, and the files that it loads."""

    @pytest.mark.parametrize("name", sorted(
        set(TYPES) - {"index.html"}))
    def test_files_are_sent(self, visitor: Visitor, name: str) -> None:
        """As they are, by a type that a browser trusts, and kept."""
        answer = visitor.asks("GET", "/docs/" + name)
        assert answer.data == (FOLDER / name).read_bytes()
        assert answer.content_type == TYPES[name]
        assert answer.headers["Cache-Control"] == "no-cache"
        tag = {"If-None-Match": answer.headers["ETag"]}
        assert visitor.asks("GET", "/docs/" + name, tag).status_code == 304

    @pytest.mark.parametrize("name", [
        "index.html", "README.md", "LICENSE", "..", "%2e%2e%2fapp.py",
        "../../app.py", "start.js/", "start.js%00", ""])
    def test_nothing_else_is(self, visitor: Visitor, name: str) -> None:
        """A name is looked up in a list, and is no path."""
        assert visitor.asks("GET", "/docs/" + name).status_code == 404

    def test_loads_what_is_sent(self, visitor: Visitor) -> None:
        """Each file that it names, and from nowhere else."""
        page = visitor.asks("GET", "/docs").get_data(as_text=True)
        named = re.findall(r"(?:src|href)=\"([^\"]+)\"", page)
        ours = {"/docs/" + each for each in set(TYPES) - {"index.html"}}
        assert set(named) == ours | {"data:,", "/openapi.json"}

    def test_may_run_its_own_files_only(self, visitor: Visitor) -> None:
        """Nothing inline, no eval, no other origin, no frame around it."""
        headers = visitor.asks("GET", "/docs").headers
        policy = dict(each.split(" ", 1) for each in headers[
            "Content-Security-Policy"].split("; "))
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert policy == {
            "default-src": "'none'", "script-src": "'self'",
            "style-src": "'self'", "connect-src": "'self'",
            "img-src": "data:", "base-uri": "'none'",
            "form-action": "'none'", "frame-ancestors": "'none'"}

    def test_file_runs_nothing_by_itself(self, visitor: Visitor) -> None:
        """The policy of the page is the page's."""
        answer = visitor.asks("GET", "/docs/start.js")
        assert answer.headers["Content-Security-Policy"].startswith(
            "default-src 'none'; base-uri")

    @pytest.mark.parametrize("path", ["/docs", "/docs/start.js"])
    def test_production_has_none(self, guest: Visitor, path: str) -> None:
        """It is like any path that is no route."""
        answer, nowhere = (guest.asks("GET", each)
                           for each in (path, "/nowhere"))
        assert answer.status_code == 404
        assert answer.data == nowhere.data
        assert {name for name, _ in answer.headers} \
            == {name for name, _ in nowhere.headers}

    @pytest.mark.parametrize("path", ["/docs", "/docs/start.js"])
    def test_production_has_one_if_asked_for(
            self, visit: Callable[..., Visitor], path: str) -> None:
        """Who wants it sets API_DOCS=1."""
        assert visit(api_docs=True).asks("GET", path).status_code == 200


@pytest.mark.once
class TestViewer:
    """The files of others, as pages/docs/README.md says they are."""

    @pytest.mark.parametrize("name", VENDORED)
    def test_is_unchanged(self, name: str) -> None:
        """Byte for byte, by the sum that is written down."""
        said = dict(re.findall(r"\| `([^`]+)` \| `([0-9a-f]{64})` \|",
                               self.read("README.md")))
        assert said[name] == hashlib.sha256(
            (FOLDER / name).read_bytes()).hexdigest()
        assert set(said) == set(VENDORED)

    def test_every_file_is_ours_or_theirs(self) -> None:
        """And the licence of theirs is with it."""
        assert {each.name for each in FOLDER.iterdir()} \
            == set(TYPES) | set(LICENCES) | {"README.md"}
        assert "Apache License" in self.read("LICENSE")

    def test_asks_nobody_else(self) -> None:
        """The validator of its makers would be sent the description."""
        assert "validatorUrl: null" in self.read("start.js")

    def read(self, name: str) -> str:
        """Return the text of a file of the folder."""
        return (FOLDER / name).read_text(encoding="utf-8")
