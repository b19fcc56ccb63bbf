#!/usr/bin/env python3
"""A public fuzzer that knows of us only what GET /openapi.json says.

Schemathesis sends what the description allows and what it does not, follows
its links from answer to answer, and compares each answer with it. No answer
of 500 or more conforms, but a 503 that is described. In a proof it talks to
the production server, otherwise to the app itself.
"""
from __future__ import annotations

import dataclasses
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings

from app import create_app
from auth import Auth
from tests.databases import emptying, put_tables_in, run, sqlite_only, url_in
from tests.described import MODES, every_mode, operations
from tests.helpers import ORIGIN, Mailbox
from tests.proofs.servers import LiveWorkers, Workers
from tests.proofs.size import PROVING, size

schemathesis: Any = pytest.importorskip("schemathesis")
# One Python is enough for a program that is not ours.
pytestmark = [pytest.mark.once, sqlite_only]
# The same requests each time; none is made smaller, as nobody waits for that.
STEADY = settings(phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))
# How often each route is asked, once well and once badly; how many walks
# there are, of so many steps at most; and what that comes to, at least.
EXAMPLES, WALKS, STEPS = size(4, 50), size(20, 80), size(8, 12)
CASES = size(200, 2500)
# No schema can say that an address is taken.
TAKEN = "positive_data_acceptance"
# A session that a link hands on is for the fuzzer one that it made up.
HANDED_ON = "ignored_auth"
HOST = ORIGIN.partition("://")[2]
# A production mode that answers as much as it ever does, and limits nothing.
GENEROUS = dict(
    {each + "_LIMIT": "999999/1s" for each in (
        "LOGIN_NETWORK", "MAIL_NETWORK", "REGISTER_NETWORK")},
    MAIL_URL="smtp://127.0.0.1:9", MAIL_IN_SERVER="0", BCRYPT_COST="10",
    REQUIRE_VERIFIED="0", REVEAL_REGISTERED="1", SIGN_IN_PATH="/account",
    TRUSTED_PROXIES="1")


def taste() -> Any:
    """Return what the fuzzer takes for a refusal: 413, too, for one."""
    return schemathesis.config.SchemathesisConfig.from_dict({
        "checks": {"negative_data_rejection": {"expected-statuses": ["4xx"]}}})


class Subject:
    """The service as the fuzzer reaches it, with what it made of it."""

    def __init__(self, mode: str) -> None:
        """Start with no answer."""
        self.mode = mode
        self.answers: List[Tuple[str, int]] = []
        self.complaints: List[str] = []
        self.how: Dict[str, Any] = {}
        # What a server refuses in front of the service (docs/errors.md).
        self.in_front: Tuple[int, ...] = ()
        self.schema: Any = None

    def starts_anew(self) -> None:
        """Forget everybody who registered."""
        raise NotImplementedError

    def compares(self, case: Any, answer: Any, *without: str) -> None:
        """Complain of an answer that is not as described."""
        self.answers.append((case.operation.label, answer.status_code))
        if answer.status_code in self.in_front:
            return
        try:
            case.validate_response(
                answer, transport_kwargs=self.how,
                excluded_checks=schemathesis.checks.CHECKS.get_by_names(
                    without))
        except schemathesis.errors.FailureGroup as found:
            self.complaints.extend("{} {}: {}".format(
                *self.answers[-1], each) for each in found.exceptions)

    def asks_each_route(self, examples: int, only: str = "") -> None:
        """Ask each route, or one, with what it takes and what it does not."""
        good = schemathesis.GenerationMode.POSITIVE
        bad = schemathesis.GenerationMode.NEGATIVE
        for found in self.schema.get_all_operations():
            operation = found.ok()
            # What reads no body has nothing to refuse.
            for kind in (good, bad) if operation.body else (good,):
                if only in ("", operation.label):
                    self._asks(operation.as_strategy(
                        generation_mode=kind), examples)

    def _asks(self, cases: Any, examples: int) -> None:
        """Send so many requests of one kind."""
        @settings(STEADY, max_examples=examples)
        @given(cases)
        def ask(case: Any) -> None:
            """Send one request."""
            self.compares(case, case.call(**self.how), TAKEN)
        ask()

    def walks(self, times: int, steps: int) -> None:
        """Go from answer to answer, as the links of the description lead."""
        subject = self

        class Walk(self.schema.as_state_machine()):  # type: ignore[misc]
            """Some steps of somebody whom nobody knows yet."""

            def setup(self) -> None:
                """Come to a service without users."""
                subject.starts_anew()

            def before_call(self, case: Any) -> None:
                """Have mailable addresses register, or nobody gets in."""
                body = case.body
                if case.operation.label == "POST /users" \
                        and isinstance(body, dict) and "email" in body:
                    case.body = dict(body, email=mailable(body["email"]))

            def get_call_kwargs(self, case: Any) -> Dict[str, Any]:
                """Return how the service is reached."""
                return subject.how

            def validate_response(self, response: Any, case: Any,
                                  **_: Any) -> None:
                """Compare an answer with the description."""
                subject.compares(case, response, TAKEN, HANDED_ON)
        Walk.run(settings=settings(
            STEADY, max_examples=times, stateful_step_count=steps))


def mailable(email: Any) -> str:
    """Return an address of a domain for anything that a schema allows."""
    return "{:x}@me.com".format(zlib.crc32(repr(email).encode()))


class InProcess(Subject):
    """The app itself, whole or with a flaw."""

    def __init__(self, folder: Path, mode: str,
                 flaw: Optional[Callable[[Flask], None]] = None) -> None:
        """Start it, and have the fuzzer read the description."""
        super().__init__(mode)
        self._folder, self._flaw = folder, flaw
        self._starts = 0
        self.close: Callable[[], None] = lambda: None
        self.starts_anew()
        self.schema = schemathesis.openapi.from_wsgi(
            "/openapi.json", self, config=taste())

    def starts_anew(self) -> None:
        """Forget everybody who registered."""
        self.close()
        self._starts += 1
        url = "sqlite:///{}/{}.db".format(self._folder, self._starts)
        put_tables_in(url)
        service = Auth(settings=dataclasses.replace(
            MODES[self.mode], database_url=url, bcrypt_cost=4,
            require_verified=False), mailer=Mailbox())
        self.close = service.close
        self._app = create_app(service)
        if self._flaw:
            self._flaw(self._app)

    def __call__(self, environ: Dict[str, Any], start: Any) -> Any:
        """Answer somebody on this machine."""
        environ["REMOTE_ADDR"] = "127.0.0.1"
        if self.mode == "production":
            environ["HTTP_HOST"] = HOST
        return self._app(environ, start)


class Deployed(Subject):
    """The production server with several workers."""

    def __init__(self, folder: Path, mode: str) -> None:
        """Start it, and have the fuzzer read the description."""
        super().__init__(mode)
        self._database = url_in(folder)
        # A form without fields is a chunk to the client's library.
        self.in_front = (411,)
        live = mode == "production"
        self.server = (LiveWorkers(folder, None, **GENEROUS) if live
                       else Workers(folder))
        self.how = {"base_url": self.server.url,
                    "headers": {"Host": HOST} if live else {}}
        self.schema = schemathesis.openapi.from_url(
            self.server.url + "/openapi.json", headers=self.how["headers"],
            config=taste())

    def starts_anew(self) -> None:
        """Forget everybody who registered."""
        run(self._database, *[each for each in emptying().split(";")
                              if each.startswith("DELETE")])


@pytest.fixture
def subject(tmp_path: Path, mode: str) -> Iterator[Subject]:
    """The service in a mode: the real server in a proof."""
    if not PROVING:
        with closing(InProcess(tmp_path, mode)) as inside:
            yield inside
        return
    deployed = Deployed(tmp_path, mode)
    yield deployed
    deployed.server.stop()
    assert "Traceback" not in deployed.server.log()


def answers_in_html(app: Flask) -> None:
    """Have a route answer what is no JSON."""
    app.view_functions["profile"] = lambda: "<h1>bob@me.com</h1>"


def makes_a_mistake(app: Flask) -> None:
    """Have a route fail, as one that nobody tried with this."""
    app.view_functions["profile"] = lambda: dict(message="no")["email"]


def answers_a_teapot(app: Flask) -> None:
    """Have a route answer with a status that nobody has heard of."""
    app.view_functions["profile"] = lambda: ({"message": "no"}, 418)


@pytest.mark.promise("A public fuzzer finds no answer that GET /openapi.json "
                     "does not describe, and no mistake of ours.")
class TestFuzzer:
    """What it makes of us."""

    @every_mode
    def test_description_is_kept(
            self, subject: Subject, mode: str,
            figure: Callable[[str], None]) -> None:
        """By each route, and on the way from one to the next.

        Whoever registers gets in by the links, and on from there.
        """
        subject.asks_each_route(EXAMPLES)
        # The description itself it has read already.
        assert {label for label, _ in subject.answers} == {
            "{} {}".format(method, path)
            for method, path, _ in operations(mode)} - {"GET /openapi.json"}
        alone = len(subject.answers)
        subject.walks(WALKS, STEPS)
        assert subject.complaints == []
        assert len(subject.answers) >= CASES
        behind = {"{} {}".format(method, path)
                  for method, path, each in operations(mode)
                  if {"bearer": []} in each["security"]}
        opened = {label for label, status in subject.answers[alone:]
                  if label in behind and status < 400}
        assert len(opened) >= size(1, 5)
        figure("{}: {:,} requests, {:,} of them by links that opened {} doors"
               ", 0 complaints".format(
                   mode, len(subject.answers), len(subject.answers) - alone,
                   len(opened)))

    @pytest.mark.parametrize("flaw, said", [
        pytest.param(answers_in_html, "200: Undocumented Content-Type",
                     marks=pytest.mark.broken("a route answers in HTML")),
        pytest.param(makes_a_mistake, "500: Server error",
                     marks=pytest.mark.broken("a route makes a mistake")),
        pytest.param(answers_a_teapot, "418: Undocumented status code",
                     marks=pytest.mark.broken(
                         "a route answers with another status"))])
    def test_finds(self, tmp_path: Path, flaw: Callable[[Flask], None],
                   said: str) -> None:
        """What is wrong with a single route."""
        with closing(InProcess(tmp_path, "development", flaw)) as subject:
            subject.asks_each_route(4, "GET /profile")
        assert any(each.startswith("GET /profile " + said)
                   for each in subject.complaints)
