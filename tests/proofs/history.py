#!/usr/bin/env python3
"""What clients were answered, and whether anything could have led to it.

Each call takes effect at one moment between its beginning and its end; one
that was never answered may have done so at any time since, or never. The
checker looks for an order of all calls to one account that explains every
answer (linearizability). It is a pure function: from what was written down to
complaints.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Dict, FrozenSet, Iterable, List, Optional, Set

YES, NO, UNKNOWN = "yes", "no", "not at all"
NEVER = math.inf


@dataclass(frozen=True)
class Call:
    """What was asked of an account, when, and what was said.

    `password`, `session` and `token` were presented; `given` is the session
    or token that came back, `shown` the address that was named.
    """

    account: str
    verb: str
    began: float = 0
    ended: float = NEVER
    said: str = UNKNOWN
    password: str = ""
    new: str = ""
    session: str = ""
    token: str = ""
    given: str = ""
    shown: str = ""


@dataclass(frozen=True)
class State:
    """An account: its password, "" for none, and what works for it."""

    password: str = ""
    sessions: FrozenSet[str] = frozenset()
    token: str = ""


def complaints(history: Iterable[Call]) -> List[str]:
    """Return what nothing explains, by account."""
    calls: Dict[str, List[Call]] = {}
    given: Set[str] = set()
    found = []
    for call in history:
        calls.setdefault(call.account, []).append(call)
        if call.given and call.given in given:
            found.append("{}: what {} gave was given before".format(
                call.account, call.verb))
        given.add(call.given)
        if call.shown not in ("", call.account):
            found.append("{}: {} showed somebody else".format(
                call.account, call.verb))
    for account, each in calls.items():
        found += ["{}: no order explains that {} was answered with {}".format(
            account, call.verb, call.said) for call in unexplained(each)]
    return found


def unexplained(calls: List[Call]) -> List[Call]:
    """Return the first calls to one account that no order explains.

    None of them if there is an order of all.
    """
    steps = [step for call in calls for step in steps_of(call)]
    best, stuck = -1, steps
    seen: Set[object] = set()
    ways = [(0, State())]
    while ways:
        way = done, state = ways.pop()
        if way in seen:
            continue
        seen.add(way)
        left = [(1 << place, step) for place, step in enumerate(steps)
                if not done >> place & 1]
        due = min((step.ended for _, step in left), default=NEVER)
        if due == NEVER:
            return []
        if bin(done).count("1") > best:
            best = bin(done).count("1")
            stuck = [step for _, step in left if step.ended == due]
        for bit, step in left:
            after = effect(step, state) if step.began <= due else None
            if after is not None:
                ways.append((done | bit, after))
    return stuck


def steps_of(call: Call) -> List[Call]:
    """Return what a call does one after the other.

    A session is looked up first, and what is done for it may be done when it
    has just ended. Whoever signs in leaves the session of before, if any.
    """
    if call.verb == "sign in" and call.said != NO:
        return [call, replace(call, verb="leave")]
    if call.verb in ("change", "delete") and call.said == YES:
        return [replace(call, verb="look"), call]
    return [call]


def effect(call: Call, state: State) -> Optional[State]:
    """Return what a call made of an account, None if it cannot have been."""
    if call.said == NO:
        refusable = not may(call, state) or (
            call.verb in ("change", "delete")
            and call.session not in state.sessions)
        return state if refusable else None
    if not may(call, state):
        return None
    opened = frozenset([call.given] if call.given else [])
    if call.verb == "register":
        return State(call.password)
    if call.verb == "sign in":
        return replace(state, sessions=state.sessions | opened)
    if call.verb in ("sign out", "leave"):
        return replace(state, sessions=state.sessions - {call.session})
    if call.verb == "ask":
        return replace(state, token=call.given or UNKNOWN)
    if call.verb in ("reset", "change"):
        return State(call.new, opened)
    return State() if call.verb == "delete" else state


def may(call: Call, state: State) -> bool:
    """Tell whether an account in this state grants a call."""
    if call.verb == "register":
        return not state.password
    if call.verb in ("look", "sign out"):
        return call.session in state.sessions
    if call.verb == "reset":
        return call.token == state.token
    if call.verb == "ask":
        return bool(state.password)
    return call.verb == "leave" or call.password == state.password
