#!/usr/bin/env python3
"""A public fuzzer that knows of us only what GET /openapi.json says.

Schemathesis sends what the description allows and what it does not, follows
its links from answer to answer, and compares each answer with it. No answer
of 500 or more conforms, but a 503 that is described.
"""
from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from app import create_app
from auth import Auth
from tests.databases import put_tables_in, sqlite_only
from tests.described import MODES, every_mode, operations
from tests.helpers import ORIGIN, Mailbox

schemathesis: Any = pytest.importorskip("schemathesis")
# One Python is enough for a program that is not ours.
pytestmark = [pytest.mark.once, sqlite_only]
# The same requests each time; none is made smaller, as nobody waits for that.
STEADY = settings(phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))
# No schema can say that an address is taken.
TAKEN = "positive_data_acceptance"
# A session that a link hands on is for the fuzzer one that it made up.
HANDED_ON = "ignored_auth"


class Service:
    """The service as the fuzzer reaches it, with what it answered."""

    def __init__(self, folder: Path, mode: str) -> None:
        """Start it, and have the fuzzer read the description."""
        self._folder, self._mode = folder, mode
        self._starts = 0
        self.answers: List[Tuple[str, int]] = []
        self.starts_anew()
        self.schema = schemathesis.openapi.from_wsgi("/openapi.json", self)

    def starts_anew(self) -> None:
        """Forget everybody who registered."""
        self._starts += 1
        url = "sqlite:///{}/{}.db".format(self._folder, self._starts)
        put_tables_in(url)
        self._app = create_app(Auth(settings=dataclasses.replace(
            MODES[self._mode], database_url=url, bcrypt_cost=4),
            mailer=Mailbox()))

    def __call__(self, environ: Dict[str, Any], start: Any) -> Any:
        """Answer somebody on this machine."""
        environ["REMOTE_ADDR"] = "127.0.0.1"
        if self._mode == "production":
            environ["HTTP_HOST"] = ORIGIN.partition("://")[2]
        return self._app(environ, start)

    def compares(self, case: Any, answer: Any, *without: str) -> None:
        """Fail unless an answer is as described."""
        self.answers.append((case.operation.label, answer.status_code))
        case.validate_response(
            answer, excluded_checks=schemathesis.checks.CHECKS.get_by_names(
                without))


@every_mode
def test_each_route_by_itself(tmp_path: Path, mode: str) -> None:
    """With what it takes, and with what it does not."""
    service = Service(tmp_path, mode)
    good = schemathesis.GenerationMode.POSITIVE
    bad = schemathesis.GenerationMode.NEGATIVE
    for found in service.schema.get_all_operations():
        operation = found.ok()
        # What reads no body has nothing to refuse.
        for kind in (good, bad) if operation.body else (good,):
            @settings(STEADY, max_examples=4)
            @given(operation.as_strategy(generation_mode=kind))
            def ask(case: Any) -> None:
                """Send one request."""
                service.compares(case, case.call(), TAKEN)
            ask()
    # The description itself it has read already.
    assert {label for label, _ in service.answers} == {
        "{} {}".format(method, path) for method, path, _ in operations(mode)
    } - {"GET /openapi.json"}


def test_from_answer_to_answer(tmp_path: Path) -> None:
    """By the links: whoever registers gets in, and on from there."""
    service = Service(tmp_path, "development")

    class Walk(service.schema.as_state_machine()):  # type: ignore[misc]
        """Some steps of somebody whom nobody knows yet."""

        def setup(self) -> None:
            """Come to a service without users."""
            service.starts_anew()

        def validate_response(self, response: Any, case: Any,
                              **_: Any) -> None:
            """Compare an answer with the description."""
            service.compares(case, response, TAKEN, HANDED_ON)
    Walk.run(settings=settings(
        STEADY, max_examples=20, stateful_step_count=8))
    behind = {"{} {}".format(method, path)
              for method, path, each in operations("development")
              if {"bearer": []} in each["security"]}
    assert len({label for label, status in service.answers
                if label in behind and status < 400}) > 1
