#!/usr/bin/env python3
"""Eight clients, and workers that are killed.

Everybody registers, signs in and out, resets, changes and leaves, on the same
few accounts at once, while one worker after the other gets SIGKILL. All that
was asked and answered is written down, and has to have an explanation: an
order in which each call took effect at once (tests/proofs/history.py).
"""
from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest

from auth import Auth
from models import Visit
from tests.helpers import Server, all_at_once, needs_granian
from tests.machine import wait_until
from tests.proofs.history import NO, UNKNOWN, YES, Call, complaints
from tests.proofs.servers import Flaw, Workers, workers_of
from tests.proofs.size import size

CLIENTS, CALLS = 8, size(320, 5000)
# How often a worker is killed, in seconds.
KILL_EVERY = size(1, 2)
# So many accounts are in use at once, and each for so many calls of a client.
CROWD, TURNS = 4, 20
# What is asked, and how often among a hundred.
VERBS = {"register": 12, "sign in": 24, "look": 24, "sign out": 10, "ask": 8,
         "reset": 8, "change": 8, "delete": 6}
ROUTES: Dict[str, Tuple[str, str]] = {
    "register": ("POST", "/users"), "sign in": ("POST", "/sessions"),
    "look": ("GET", "/profile"), "sign out": ("DELETE", "/sessions"),
    "ask": ("POST", "/reset_password"), "reset": ("PUT", "/reset_password"),
    "change": ("PUT", "/password"), "delete": ("DELETE", "/profile")}


class Crowd:
    """Clients of a server, and all that they were answered."""

    def __init__(self, server: Server) -> None:
        """Ask this server."""
        self._server = server
        self.history: List[Call] = []
        # What is known of an account to everybody, the newest last.
        self._passwords: Dict[str, List[str]] = {}
        self._sessions: Dict[str, List[str]] = {}
        self._tokens: Dict[str, List[str]] = {}

    def live(self, client: int, calls: int) -> None:
        """Make so many calls, each of a kind and to an account by chance."""
        chance = random.Random(client)
        for number in range(calls):
            account = "bob{}.{}@me.com".format(
                number // TURNS, chance.randrange(CROWD))
            verb, = chance.choices(
                list(VERBS), list(VERBS.values()))  # by weight
            self.call(account, verb, chance, "{}.{}".format(client, number))

    def look_back(self) -> None:
        """Try everything once more that was ever given out."""
        for account, tried in list(self._passwords.items()):
            for session in self._sessions.get(account, []):
                self.ask(Call(account, "look", session=session))
            for password in tried:
                self.ask(Call(account, "sign in", password=password))

    def call(self, account: str, verb: str, chance: random.Random,
             new: str) -> None:
        """Make one call, with what is known of the account, mostly new."""
        def one_of(known: Dict[str, List[str]], otherwise: str) -> str:
            """Return something that is known."""
            return chance.choice(known.get(account, [otherwise])[-3:])
        passwords = self._passwords.setdefault(account, ["first"])
        call = Call(account, verb, password=one_of(self._passwords, "none"),
                    session=one_of(self._sessions, "none"),
                    token=one_of(self._tokens, "none"))
        if verb in ("reset", "change"):
            call = replace(call, new=new)
            passwords.append(new)
        self.ask(call)

    def ask(self, call: Call) -> None:
        """Ask, and write down what was said."""
        method, path = ROUTES[call.verb]
        began = time.monotonic()
        try:
            answer = self._server.ask(
                method, path, {"Cookie": "session_id=" + call.session},
                **form_of(call))
        except (OSError, HTTPException):
            self.history.append(replace(call, began=began))
            return
        ended, body = time.monotonic(), json.loads(
            answer.body.decode() or "{}")
        cookie = (answer.headers["Set-Cookie"] or "").partition(";")[0]
        session = cookie.partition("=")[2]
        token = body.get("reset_token", "")
        # 503 says nothing of what became of it.
        said = UNKNOWN if answer.status >= 500 else \
            YES if answer.status < 400 else NO
        call = replace(call, began=began, said=said, given=session or token,
                       shown=body.get("email", ""))
        self.history.append(
            call if said == UNKNOWN else replace(call, ended=ended))
        for known, secret in ((self._sessions, session),
                              (self._tokens, token)):
            if secret:
                known.setdefault(call.account, []).append(secret)


def form_of(call: Call) -> Dict[str, str]:
    """Return the fields of a call."""
    return {"look": {}, "sign out": {}, "ask": dict(email=call.account),
            "reset": dict(email=call.account, reset_token=call.token,
                          new_password=call.new),
            "change": dict(current_password=call.password,
                           new_password=call.new),
            "delete": dict(password=call.password)}.get(call.verb, dict(
                email=call.account, password=call.password))


@contextmanager
def killing(server: Server, crowd: Crowd, killed: List[int]
            ) -> Iterator[None]:
    """Kill one of the workers again and again, and note which.

    For the first time as soon as everybody is at it, however short it is.
    """
    over = threading.Event()

    def kill() -> None:
        """Kill until it is over."""
        wait_until(lambda: len(crowd.history) > CLIENTS)
        while True:
            for worker in workers_of(server)[:1]:
                os.kill(worker, signal.SIGKILL)
                killed.append(worker)
            if over.wait(KILL_EVERY):
                return
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        over.set()
        killer.join()


def recorded(folder: Path, calls: int, flaw: Optional[Flaw] = None,
             killed: Optional[List[int]] = None) -> List[Call]:
    """Return the history of a server, whose workers are killed if asked."""
    server = Workers(folder, flaw=flaw, SESSIONS_PER_USER="1000",
                     MAIL_IN_SERVER="0")
    crowd = Crowd(server)
    lives: List[Callable[[], Any]] = [
        partial(crowd.live, client, calls // CLIENTS)
        for client in range(CLIENTS)]
    try:
        if killed is None:
            all_at_once(lives)
        else:
            with killing(server, crowd, killed):
                all_at_once(lives)
        crowd.look_back()
    finally:
        server.stop()
    return crowd.history


# -- What is broken on purpose

def acknowledges_only() -> None:
    """Say that a session has ended, and leave it."""
    setattr(Auth, "_end_sessions", lambda *_: 1)


def stores_later() -> None:
    """Say that an account is there, and store it a moment after."""
    register = Auth.register_user

    def registered(*given: Any) -> None:
        """Answer first, and store it then."""
        threading.Timer(0.3, register, given).start()
    setattr(Auth, "register_user", registered)


def remembers_sessions() -> None:
    """Have each worker remember what it looked up."""
    identify = Auth.identify
    known: Dict[object, Visit] = {}

    def identified(self: Auth, session_id: object) -> Visit:
        """Return what was found before."""
        if session_id not in known:
            known[session_id] = identify(self, session_id)
        return known[session_id]
    setattr(Auth, "identify", identified)


@pytest.mark.once
@needs_granian
@pytest.mark.promise(
    "While workers are killed, every acknowledged write is there, every "
    "acknowledged ending holds, and no value appears from nowhere.")
class TestHistory:
    """What clients were answered has an explanation."""

    def test_everything_has_an_explanation(
            self, tmp_path: Path, figure: Callable[[str], None]) -> None:
        """With a worker killed again and again."""
        killed: List[int] = []
        history = recorded(tmp_path, CALLS, killed=killed)
        assert complaints(history) == []
        answered = [each for each in history if each.said != UNKNOWN]
        assert killed and len(history) >= CALLS
        figure("{:,} calls, {} workers killed, {:,} calls answered, 0 answers "
               "unexplained".format(len(history), len(killed), len(answered)))

    @pytest.mark.parametrize("flaw", [
        pytest.param(acknowledges_only, marks=pytest.mark.broken(
            "a sign-out is acknowledged and not stored")),
        pytest.param(stores_later, marks=pytest.mark.broken(
            "a registration is acknowledged before it is stored")),
        pytest.param(remembers_sessions, marks=pytest.mark.broken(
            "a worker remembers sessions that another one ended"))])
    def test_finds_what_is_broken(self, flaw: Flaw, tmp_path: Path) -> None:
        """Without a kill."""
        assert complaints(recorded(tmp_path, 320, flaw=flaw))


@pytest.mark.once
class TestComplaints:
    """What the checker says of histories that were made up."""

    BOB = "bob@me.com"

    def history(self, *calls: Call) -> List[Call]:
        """Return calls one after the other, the first of them registers."""
        first = Call(self.BOB, "register", said=YES, password="one")
        return [
            replace(each, began=number,
                    ended=each.ended if each.said == UNKNOWN else number + 0.5)
            for number, each in enumerate((first,) + calls)]

    def asked(self, verb: str, said: str = YES, **more: Any) -> Call:
        """Return a call."""
        return Call(self.BOB, verb, said=said, **more)

    def test_explains_what_is_right(self) -> None:
        """A whole life, step by step."""
        ask = self.asked
        assert complaints(self.history(
            ask("register", NO), ask("sign in", password="one", given="s"),
            ask("look", session="s", shown=self.BOB),
            ask("change", session="s", password="one", new="two", given="t"),
            ask("look", NO, session="s"), ask("sign in", NO, password="one"),
            ask("ask", given="u"), ask("reset", token="u", new="three"),
            ask("look", NO, session="t"), ask("reset", NO, token="u"),
            ask("sign in", password="three", given="w"),
            ask("sign in", password="three", session="w", given="v"),
            ask("look", NO, session="w"),
            ask("delete", session="v", password="three"),
            ask("sign in", NO, password="three"))) == []

    @pytest.mark.parametrize("calls", [
        [("sign in", NO, {"password": "one"})],
        [("register", YES, {})],
        [("sign in", YES, {"password": "two"})],
        [("look", YES, {"session": "from nowhere"})],
        [("sign in", YES, {"password": "one", "given": "s"}),
         ("sign out", YES, {"session": "s"}),
         ("look", YES, {"session": "s"})],
        [("sign in", YES, {"password": "one", "given": "s"}),
         ("look", NO, {"session": "s"})],
        [("ask", YES, {"given": "u"}),
         ("reset", YES, {"token": "u", "new": "two"}),
         ("reset", YES, {"token": "u", "new": "three"})],
        [("ask", YES, {"given": "u"}), ("ask", YES, {"given": "v"}),
         ("reset", YES, {"token": "u", "new": "two"})],
        [("ask", YES, {"given": "u"}),
         ("reset", YES, {"token": "u", "new": "two"}),
         ("sign in", YES, {"password": "one"})],
        [("sign in", YES, {"password": "one", "given": "s"}),
         ("change", YES, {"session": "s", "password": "one", "new": "two"}),
         ("look", YES, {"session": "s"})],
        [("sign in", YES, {"password": "one", "given": "s"}),
         ("delete", YES, {"session": "s", "password": "one"}),
         ("sign in", YES, {"password": "one"})],
        [("sign in", YES, {"password": "one", "given": "s"}),
         ("sign in", YES, {"password": "one", "session": "s", "given": "t"}),
         ("look", YES, {"session": "s"})],
        [("change", YES, {"session": "none", "password": "one"})]],
        ids=["account-lost", "registered-twice", "wrong-password",
             "session-from-nowhere", "session-outlives-sign-out",
             "session-lost", "token-works-twice", "token-outlives-the-next",
             "old-password-opens", "session-outlives-change",
             "account-outlives-deletion", "session-outlives-the-next",
             "change-without-session"])
    def test_complains_of_what_is_wrong(
            self, calls: List[Tuple[str, str, Dict[str, str]]]) -> None:
        """Of the last call, and of nothing before it."""
        *_, (verb, said, _) = calls
        history = self.history(*(self.asked(each, how, **more)
                                 for each, how, more in calls))
        assert complaints(history[:-1]) == []
        wrong = complaints(history)
        assert wrong[0].startswith(self.BOB)
        assert wrong[0].endswith("was answered with " + said)
        assert verb in wrong[0] or "look" in wrong[0]

    def test_complains_of_somebody_else(self) -> None:
        """Whoever is named has to be whose session it is."""
        assert complaints(self.history(
            self.asked("sign in", password="one", given="s"),
            self.asked("look", session="s", shown="eve@me.com"))) == [
            "bob@me.com: look showed somebody else"]

    def test_complains_of_a_session_that_is_given_twice(self) -> None:
        """No two devices have one."""
        assert complaints(self.history(
            self.asked("sign in", password="one", given="s"),
            self.asked("sign in", password="one", given="s"))) == [
            "bob@me.com: what sign in gave was given before"]

    @pytest.mark.parametrize("password, said", [
        ("one", YES), ("one", NO), ("two", YES), ("two", NO)])
    def test_what_was_not_answered_may_have_been(self, password: str,
                                                 said: str) -> None:
        """Or not; but not both."""
        ask = self.asked
        begun = [ask("ask", given="u"),
                 ask("reset", UNKNOWN, token="u", new="two"),
                 ask("sign in", said, password=password)]
        assert complaints(self.history(*begun)) == []
        other = {"one": "two", "two": "one"}[password]
        assert complaints(self.history(*(begun + [
            ask("sign in", said, password=other),
            ask("sign in", said, password=password),
            ask("sign in", said, password=other)])))

    def test_calls_at_once_come_in_any_order(self) -> None:
        """Whichever it was that was first."""
        out = Call(self.BOB, "sign out", 2, 9, YES, session="s")
        look = Call(self.BOB, "look", 3, 4, YES, session="s")
        begun = self.history(self.asked(
            "sign in", password="one", given="s"))
        assert complaints(begun + [out, look]) == []
        assert complaints(begun + [replace(out, ended=2.5), look])
