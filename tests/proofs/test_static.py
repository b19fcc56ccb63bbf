#!/usr/bin/env python3
"""What tools find that read the code.

Without running it: mistakes that are holes, wrong types, secrets, and packages
with a known vulnerability.
"""
from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest
from packaging.requirements import Requirement

from tests import static
from tests.helpers import ROOT
from tests.proofs.size import PROVING

pytestmark = pytest.mark.once
needs_tools = pytest.mark.skipif(
    not all(map(find_spec, ("bandit", "detect_secrets"))),
    reason="bandit has no packages for this Python")
# Types are checked by `make test` itself, beside the tests.
proving = pytest.mark.skipif(
    not PROVING, reason="takes minutes, or the network: make proof does it")
LOCK = ROOT / "requirements.lock"
LOCKED = [Requirement(each) for each in re.findall(
    r"^([a-z][^\\\n]*==[^\\\n]*)", LOCK.read_text(encoding="utf-8"), re.M)]
# Those that this system has a use for.
NAMES = [each.name for each in LOCKED
         if each.marker is None or each.marker.evaluate()]
# In pieces, so that this file is no place where they are found.
AWS_KEY = "AKIA" + "Z4QF6RJ7TNXW2LPV"
PRIVATE_KEY = "-----BEGIN RSA " + "PRIVATE KEY-----"
PEPPER = "x9Qv2LrT7mWc" + "Z4hJ8sKdP1nB" + "6fYgA3uEoR5t"
# Lines that no file of the service may have, and what bandit calls them.
HOLES = (
    ("import subprocess; subprocess.run('ls', shell=True)", "B602"),
    ("import os; os.system(name)", "B605"), ("eval(name)", "B307"),
    ("exec(name)", "B102"), ("import pickle; pickle.loads(name)", "B301"),
    ("run('SELECT * FROM users WHERE id = ' + name)", "B608"),
    ("import hashlib; hashlib.md5(name)", "B324"),
    ("import random; token = random.random()", "B311"),
    ("import ssl; ssl._create_unverified_context()", "B323"))


@needs_tools
@pytest.mark.promise("bandit finds nothing in the code of the service.")
class TestBandit:
    """Mistakes that are holes: SQL, shells, eval, weak hashes, no TLS."""

    def test_finds_nothing(self, figure: Callable[[str], None]) -> None:
        """What is no mistake says why, where it stands."""
        assert static.mistakes() == []
        files = [each for each in static.published() if each.endswith(
            ".py") and each.partition("/")[0] not in static.UNCHECKED]
        silenced = sum((ROOT / each).read_text(encoding="utf-8").count(
            "# nosec ") for each in files)
        figure("0 findings in {} files; {} lines say why they are none"
               .format(len(files), silenced))

    @pytest.mark.broken("a line starts a shell, evaluates text, puts SQL "
                        "together, hashes by MD5, or trusts any certificate")
    def test_mistakes_are_found(self, tmp_path: Path) -> None:
        """Each of those that ASVS asks about, in its line."""
        (tmp_path / "planted.py").write_text(
            "".join(line + "\n" for line, _ in HOLES))
        said = " ".join(static.mistakes(tmp_path))
        missed = [line for place, (line, number) in enumerate(HOLES, 1)
                  if ":{}: {} ".format(place, number) not in said]
        assert missed == []


@needs_tools
@pytest.mark.promise("No file holds a secret of anybody's.")
class TestSecrets:
    """Keys, tokens and passwords that should stand nowhere."""

    def test_there_are_none(self, figure: Callable[[str], None]) -> None:
        """In code, tests, pages, settings or data."""
        assert static.secrets() == []
        figure("0 secrets in {} files".format(len(list(static.published()))))

    @pytest.mark.broken("a file holds a cloud's key, a private key, a random "
                        "key, or a URL with a password")
    @pytest.mark.parametrize("text, kind", [
        ("key = '{}'".format(AWS_KEY), "AWS Access Key"),
        (PRIVATE_KEY, "Private Key"),
        ("PEPPER = '{}'".format(PEPPER), "Base64 High Entropy String"),
        ("postgresql://bob:{}@db.example.com/x".format("7tart1flette"),
         "Basic Auth Credentials")])
    @pytest.mark.parametrize("name", ["app.py", ".env.example",
                                      "tests/test_app.py", "docs/a.md"])
    def test_secret_is_found(self, tmp_path: Path, name: str, text: str,
                             kind: str) -> None:
        """Wherever it is published, in tests as well."""
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
        assert static.secrets(tmp_path) == ["{}:1: {}".format(name, kind)]


@needs_tools
@pytest.mark.promise("mypy finds no wrong type in any file, strictly.")
class TestTypes:
    """Types, in tests and examples as well."""

    @proving
    def test_none_is_wrong(self, figure: Callable[[str], None]) -> None:
        """As `make types` says."""
        assert static.wrong_types() == []
        figure("0 errors in {} files".format(len([
            each for each in static.published() if each.endswith(".py")])))

    @pytest.mark.broken("a function returns another type, or says none")
    def test_wrong_type_is_found(self, tmp_path: Path) -> None:
        """One that lies, and one that is silent."""
        (tmp_path / "planted.py").write_text(
            "def count() -> int:\n    return 'one'\n\n\n"
            "def name(of):\n    return of\n")
        lies, silent = static.wrong_types(tmp_path)
        assert "[return-value]" in lies and "[no-untyped-def]" in silent


class Advisories:
    """A source of advisories on this machine, which knows of one hole."""

    HOLE = {"id": "PYSEC-2019-217", "affected": [{
        "package": {"name": "jinja2", "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": [
            {"introduced": "0"}, {"fixed": "2.10.1"}]}]}]}

    def __init__(self) -> None:
        """Listen; nobody was asked about yet."""
        self.asked: List[str] = []
        advisories = self

        class Handler(BaseHTTPRequestHandler):
            """Answers as api.osv.dev does."""

            def do_POST(self) -> None:
                """Tell what is known of a package."""
                size = int(self.headers["Content-Length"])
                asked = json.loads(self.rfile.read(size).decode())
                said = advisories.known(asked["package"]["name"],
                                        asked["version"])
                body = json.dumps(said).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing on the screen."""
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:{}/".format(self._server.server_port)
        threading.Thread(target=self._server.serve_forever).start()

    def known(self, name: str, version: str) -> Dict[str, Any]:
        """Return what is known of a version of a package."""
        self.asked.append(name)
        hole = (name, version) == ("jinja2", "2.10")
        return {"vulns": [self.HOLE]} if hole else {}

    def stop(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()


def audit(lock: Path = LOCK, **environ: str) -> Tuple[int, str]:
    """Run `make audit` on a lock; return its exit code and what it said."""
    kept = {name: value for name, value in os.environ.items()
            if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(
        ["make", "audit", "LOCK={}".format(lock)], cwd=str(ROOT),
        env=dict(kept, **environ), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, universal_newlines=True)
    return done.returncode, done.stdout


@proving
@pytest.mark.promise("`make audit` names each deployed package that has a "
                     "known vulnerability, and calls no lock clean of which "
                     "nobody could be asked.")
class TestAudit:
    """The lock, by the advisories of the day, or by some of our own."""

    @pytest.fixture
    def advisories(self) -> Iterator[Advisories]:
        """A source that answers."""
        found = Advisories()
        yield found
        found.stop()

    def test_none_is_known_today(self, figure: Callable[[str], None]) -> None:
        """As far as anybody could be asked from where this runs."""
        code, said = audit()
        assert "known vulnerabilit" not in said or code == 0, said
        figure("{} packages: {}".format(
            len(NAMES), "none known today" if code == 0 else
            "the advisories of today could not be asked from here"))

    def test_each_package_is_asked_about(
            self, advisories: Advisories) -> None:
        """And the lock is clean if nothing is known of any."""
        code, said = audit(ADVISORIES="osv", PIP_AUDIT_OSV_URL=advisories.url)
        assert code == 0, said
        assert sorted(advisories.asked) == sorted(NAMES)

    @pytest.mark.broken("an old package with a hole is locked")
    def test_hole_is_named(self, tmp_path: Path,
                           advisories: Advisories) -> None:
        """With the version that mends it."""
        lock = tmp_path / "requirements.lock"
        lock.write_text("jinja2==2.10 --hash=sha256:{}\n".format("0" * 64))
        code, said = audit(lock, ADVISORIES="osv",
                           PIP_AUDIT_OSV_URL=advisories.url)
        assert code != 0
        assert re.search(r"^jinja2 +2\.10 +PYSEC-2019-217 +2\.10\.1", said,
                         re.M)

    @pytest.mark.broken("the source of advisories is away")
    def test_silence_is_no_clean_lock(self, advisories: Advisories) -> None:
        """Nothing is known then."""
        advisories.stop()
        code, said = audit(ADVISORIES="osv", PIP_AUDIT_OSV_URL=advisories.url)
        assert code != 0 and "nothing is known" in said
