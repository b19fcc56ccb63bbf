#!/usr/bin/env python3
"""Each answer that is described is given, in both modes.

That it is as described is asked in tests/conftest.py, of all answers. Here
are the ways to get each of them: what a route is sent when all is well, and
for each code what makes it refuse that.
"""
from __future__ import annotations

import dataclasses
from typing import Any, Callable, Dict, Iterable, NoReturn, Tuple

import pytest
from werkzeug.test import TestResponse

from app import create_app
from auth import Auth
from credentials.pool import HashingPool
from db import DB
from errors import NotReady, Overloaded, Throttled, Unavailable
from health import Health
from routes.problems import PLAIN, PROBLEM
from settings import Rate, Settings
from tests.described import KEY, MODES, OPEN, operations
from tests.helpers import (
    EMAIL, ORIGIN, STRANGE_TOKEN, STRONG, STRONGER, Clock, Mailbox)
from throttle import Throttle

# In conftest.py the answers of all tests are compared, on every Python.
pytestmark = pytest.mark.once
# Somebody who has registered and read no mail yet.
NEWCOMER = "alice@me.com"
STRANGER = "203.0.113.7"
Step = Callable[["Scene"], None]


class Scene:
    """Somebody who asks one route in many ways, signed in on two devices."""

    patch: pytest.MonkeyPatch

    def __init__(self, service: Auth, mailbox: Mailbox, method: str,
                 path: str) -> None:
        """Open two accounts, and prove the mailbox of the first."""
        self.service, self._mailbox = service, mailbox
        self.host = ORIGIN if service.settings.production else (
            "http://localhost")
        self._route = method, path
        self._application = create_app(service)
        self._own = self.browser = self._application.test_client()
        self.sends("POST", "/users", email=EMAIL, password=STRONG)
        self.sends("PUT", "/verify_email", token=self.mailed(EMAIL))
        self.sends("POST", "/users", email=NEWCOMER, password=STRONG)
        service.create_session(EMAIL)  # on another device
        self.sends("POST", "/sessions", email=EMAIL, password=STRONG)

    def sends(self, method: str, path: str, **data: str) -> Any:
        """Send a form to any route, which takes it."""
        answer = self._own.open(
            path, method=method, data=data, base_url=self.host)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return answer.get_json()

    def mailed(self, email: str) -> str:
        """Return the token in the newest mail to an address."""
        self.service.deliver_mail()
        return self._mailbox.token(email)

    def signs_out(self) -> None:
        """Come with another browser."""
        self.browser = self._application.test_client()

    def asks(self, *steps: Step, accept: str = PLAIN) -> TestResponse:
        """Ask the route, prepared by these steps."""
        self.browser, (self.method, self.path) = self._own, self._route
        self.form: Dict[str, str] = {}
        self.headers = {"Accept": accept}
        self.options: Dict[str, Any] = {}
        with pytest.MonkeyPatch.context() as self.patch:
            for step in steps:
                step(self)
            options: Dict[str, Any] = dict({
                "data": self.form, "base_url": self.host}, **self.options)
            return self.browser.open(
                self.path, method=self.method, headers=self.headers,
                **options)


def fills_in(**form: str) -> Step:
    """Return the step that puts these values into the form."""
    return lambda scene: scene.form.update(form)


def says(name: str, value: str) -> Step:
    """Return the step that puts a header into the request."""
    return lambda scene: scene.headers.update({name: value})


def comes(**options: Any) -> Step:
    """Return the step that sends the request in some way."""
    return lambda scene: scene.options.update(options)


def goes_to(path: str) -> Step:
    """Return the step that asks for this path."""
    return lambda scene: setattr(scene, "path", path)


def suffers(error: Exception, *where: Tuple[Any, str]) -> Step:
    """Return the step that has these methods raise an error."""
    def refuse(*_: Any, **__: Any) -> NoReturn:
        """Raise that error."""
        raise error

    def step(scene: Scene) -> None:
        """Put that in the place of each."""
        for owner, name in where:
            scene.patch.setattr(owner, name, refuse)
    return step


# -- What each route is sent when all is well, if it is anything

def picks_session(scene: Scene) -> None:
    """Name the session that does not ask."""
    scene.path = "/sessions/{}".format([
        each["id"] for each in scene.sends("GET", "/sessions")["sessions"]
        if not each["current"]][0])


def opens_link(scene: Scene) -> None:
    """Take the token that proves the newcomer's mailbox."""
    scene.form["token"] = scene.mailed(NEWCOMER)


def gets_token(scene: Scene) -> None:
    """Take a token that sets a new password."""
    answer = scene.sends("POST", "/reset_password", email=EMAIL)
    scene.form.update(new_password=STRONGER, reset_token=answer.get(
        "reset_token") or scene.mailed(EMAIL))


WELL: Dict[str, Step] = {
    "register": fills_in(email="carol@me.com", password=STRONG),
    "sign_in": fills_in(email=EMAIL, password=STRONG),
    "delete_profile": fills_in(password=STRONG),
    "change_email": fills_in(email="bob@you.com", password=STRONG),
    "change_password": fills_in(
        current_password=STRONG, new_password=STRONGER),
    "request_verification": fills_in(email=NEWCOMER),
    "verify_email": opens_link,
    "request_reset": fills_in(email=EMAIL),
    "reset_password": gets_token,
    "end_session": picks_session,
    "show_metrics": says("Authorization", "Bearer " + KEY),
    "send_asset": goes_to("/account/account.js"),
    "show_file": goes_to("/docs/start.js"),
}


# -- What makes a route refuse that, by code

def changes(place: str, value: str) -> Step:
    """Return the step that changes each field whose name ends so."""
    def step(scene: Scene) -> None:
        """Put the value in."""
        scene.form.update({name: value for name in scene.form
                           if name.endswith(place)})
    return step


def hides_page(scene: Scene) -> None:
    """Ask for a page that is not shown."""
    scene.patch.setattr(scene.service, "settings", dataclasses.replace(
        scene.service.settings, api_docs=False))


STRANGE = comes(environ_base={"REMOTE_ADDR": STRANGER})
NOT_FOUND: Dict[str, Step] = {
    "end_session": goes_to("/sessions/x"), "tell_ready": STRANGE,
    "show_metrics": says("Authorization", "Bearer " + STRANGE_TOKEN),
    "show_page": hides_page, "show_file": goes_to("/docs/other.js"),
    "send_asset": goes_to("/account/other.js"),
}
STORE = [(DB, name) for name in vars(DB) if not name.startswith("_")]
REFUSED: Dict[str, Step] = {
    "bad_request": comes(data=b"{", content_type=PLAIN),
    "unsupported_media_type": comes(data=b"x", content_type="text/plain"),
    "too_large": comes(environ_overrides={"CONTENT_LENGTH": "16385"}),
    "development_only": STRANGE,
    "unknown_host": comes(base_url="https://evil.example.com"),
    "cross_site": says("Sec-Fetch-Site", "cross-site"),
    "not_signed_in": Scene.signs_out,
    "sign_in_required": Scene.signs_out,
    "invalid_input": changes("", "x" * 1025),
    "weak_password": changes("password", "short"),
    "email_taken": fills_in(email=EMAIL),
    "unknown_email": fills_in(email="nobody@me.com"),
    "bad_credentials": fills_in(password=STRONGER),
    "wrong_password": changes("password", STRONGER + "!"),
    "not_verified": fills_in(email=NEWCOMER),
    "reset_refused": fills_in(reset_token=STRANGE_TOKEN),
    "verification_refused": fills_in(token=STRANGE_TOKEN),
    "unknown_session": goes_to("/sessions/999999"),
    "throttled": suffers(Throttled(retry_after=7), (Throttle, "admit")),
    "overloaded": suffers(Overloaded(retry_after=2),
                          (HashingPool, "demand_room"), (HashingPool, "run")),
    "unavailable": suffers(Unavailable(), *STORE),
    "not_ready": suffers(NotReady("not ready: disk"), (Health, "demand")),
}
# What makes it answer otherwise although all is well, by status.
OTHERWISE: Dict[str, Tuple[Step, ...]] = {
    "302": (Scene.signs_out, says("Sec-Fetch-Mode", "navigate")),
    "304": (says("If-None-Match", "*"),),
}


@pytest.fixture
def stage(db: DB, settings: Settings, clock: Clock,
          mailbox: Mailbox) -> Callable[..., Scene]:
    """A scene of either mode, where much may be asked for at once."""
    def play(mode: str, method: str, path: str) -> Scene:
        """Return somebody who asks this route."""
        often = Rate(99, 3600)
        changes: Dict[str, Any] = dict(
            OPEN if mode == "production" else {}, metrics_token=KEY,
            api_docs=True, mail_address_limit=often, mail_network_limit=often)
        return Scene(Auth(db, dataclasses.replace(settings, **changes),
                          clock, mailbox), mailbox, method, path)
    return play


EVERY = [(mode,) + each for mode in MODES for each in operations(mode)]
# What can happen to any route that lets it: it asks the store, it hashes, it
# counts how often it is asked.
FAULTS = {"unavailable": "503", "overloaded": "503", "throttled": "429"}


def codes_of(operation: Dict[str, Any], status: str) -> Iterable[str]:
    """Return the errors of a status that are described of a route."""
    codes: Iterable[str] = operation["responses"].get(status, {}).get(
        "content", {}).get(PROBLEM, {}).get("examples", ())
    return codes


@pytest.mark.parametrize("mode, method, path, operation", [
    pytest.param(*each, id=" ".join(each[:3])) for each in EVERY])
def test_every_answer_that_is_described_is_given(
        stage: Callable[..., Scene], mode: str, method: str, path: str,
        operation: Dict[str, Any]) -> None:
    """Each error by its code, in both of its forms; then what is well."""
    scene, name = stage(mode, method, path), operation["operationId"]
    well = WELL.get(name, lambda _: None)
    answers = dict(operation["responses"])
    for status in [each for each in answers if each >= "400"]:
        del answers[status]
        for code in codes_of(operation, status):
            step = NOT_FOUND[name] if code == "not_found" else REFUSED[code]
            problem = scene.asks(well, step, accept=PROBLEM)
            assert problem.get_json()["code"] == code
            assert problem.status_code == int(status)
            assert scene.asks(well, step).status_code == int(status)
    usual = min(answers)
    for status in sorted(answers, reverse=True):
        more = OTHERWISE[status] if status != usual else ()
        assert scene.asks(well, *more).status_code == int(status)


@pytest.mark.parametrize("mode, method, path, operation, code", [
    pytest.param(*each, code, id=" ".join(each[:3] + (code,)))
    for each in EVERY for code, status in FAULTS.items()
    if code not in codes_of(each[3], status)
    and (each[0], code) != ("development", "throttled")])
def test_fault_that_is_not_described_does_not_happen(
        stage: Callable[..., Scene], mode: str, method: str, path: str,
        operation: Dict[str, Any], code: str) -> None:
    """Because the route has nothing to do with it, and all is well."""
    well = WELL.get(operation["operationId"], lambda _: None)
    answer = stage(mode, method, path).asks(
        well, REFUSED[code], accept=PROBLEM)
    assert answer.mimetype != PROBLEM or answer.get_json()["code"] != code
