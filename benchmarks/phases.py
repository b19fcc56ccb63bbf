#!/usr/bin/env python3
"""What is measured, one phase after the other, each complete in itself.

In a phase everything that is compared runs on one machine at one time, in
turns: a round of each, then the next round. What fails is left out from then
on, and says why.
"""
from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import (
    Any, Callable, Dict, List, Mapping, Sequence, Tuple)

from benchmarks import load
from benchmarks.client import Job
from benchmarks.figures import Sample, between, per_second, spread, value
from benchmarks.seeding import PASSWORD, Crowd
from benchmarks.targets import (
    CORES, PEERS, ROOT, WITHOUT_LIMITS, Limit, Ours, Running, Target)

Round = Dict[str, Any]
# Whatever goes wrong with one target must not cost the run of the others.
TROUBLE = (Exception,)
# What each client needs to be there before a moment that they agreed on.
SETTLE = 1.0
# How long a server is read from before anything counts, in seconds.
WARM_UP = 1.0
FORWARD_AUTH = "/forward_auth"
# The crowds of a storm; peers have to stand the first one.
STORMS = (8, 64, 800)


@dataclass(frozen=True)
class Plan:
    """How long and how often; the defaults are those of `make bench`.

    `seconds` is the length of one look at one target. Other lengths follow
    from it.
    """

    server: str = "granian"
    peers: bool = False
    rounds: int = 5
    seconds: float = 3.0
    cost: int = 12
    storms: Sequence[int] = STORMS
    flood: float = 30.0
    sizes: Sequence[int] = (1000, 10000, 100000, 1000000)
    postgresql: bool = True

    def few(self, rounds: int) -> int:
        """Return how often something longer is repeated."""
        return min(rounds, self.rounds)


class Servers:
    """The servers of a phase, each started when it is first wanted."""

    def __init__(self, folder: Path) -> None:
        """Keep their data below this folder."""
        self._folder = folder
        self._running: Dict[int, Running] = {}
        self._made = 0

    def of(self, target: Target) -> Running:
        """Return a target that runs and is warm; raise if it cannot."""
        if id(target) not in self._running:
            self._made += 1
            self._running[id(target)] = server = Running(
                target, self._folder / str(self._made))
            reads(server, WARM_UP)
        return self._running[id(target)]

    def stop(self) -> None:
        """Stop all of them."""
        for each in self._running.values():
            with suppress(*TROUBLE):
                each.stop()
        self._running = {}


class Results:
    """The rounds of everything that was measured in a phase, by name."""

    def __init__(self) -> None:
        """Start with none."""
        self.rounds: Dict[str, List[Round]] = {}
        self.failed: Dict[str, str] = {}

    def take_turns(self, looks: Mapping[str, Callable[[], Round]],
                   rounds: int, show: Sequence[str] = ()) -> None:
        """Take each look once a round, and print the figures to show.

        One that fails is not tried again, and spoils nothing for the others.
        """
        for number in range(1, rounds + 1):
            for name, look in looks.items():
                if name not in self.failed:
                    self._take(name, look, number, show)

    def _take(self, name: str, look: Callable[[], Round], number: int,
              show: Sequence[str]) -> None:
        """Take one look, and keep what was seen or what went wrong."""
        try:
            seen = look()
        except TROUBLE as error:
            self.failed[name] = "{}: {}".format(type(error).__name__, error)
            print("  {}: FAILED, {}".format(name, self.failed[name]),
                  flush=True)
            return
        self.rounds.setdefault(name, []).append(seen)
        print("  {} {}: {}".format(number, name, ", ".join(
            "{} {}".format(each, shown(seen, each)) for each in show)),
            flush=True)

    def as_json(self) -> Dict[str, Any]:
        """Return all of it."""
        return {"when": time.strftime("%Y-%m-%d %H:%M"),
                "rounds": self.rounds, "failed": self.failed}


def shown(seen: Round, path: str) -> str:
    """Return a figure of a round for whoever watches."""
    found = value(seen, path)
    return "none" if found is None else "{:.4g}".format(found)


Phase = Callable[[Plan, Servers], Results]


def ours(plan: Plan, users: int = 1000, **options: Any) -> Ours:
    """Return the service with limits that the load of one address keeps."""
    return Ours(plan.server, Crowd(users, cost=plan.cost),
                **dict(WITHOUT_LIMITS, **options))


def compared(plan: Plan) -> List[Target]:
    """Return the service, and beside it the peers if they are wanted."""
    return [ours(plan)] + list(PEERS if plan.peers else [])


# -- (a) What a read costs

def get(plan: Plan, servers: Servers) -> Results:
    """Compare reads of the service with the limits on the same server."""
    service, select = ours(plan), Limit(plan.server, "select")
    looks: List[Tuple[str, Target, str]] = [
        ("limit: empty route", select, "/empty"),
        ("limit: raw SELECT", select, "/select"),
        ("ours", service, "/profile"),
        ("ours, /forward_auth", service, FORWARD_AUTH)]
    if plan.peers:
        looks += [(each.name, each, each.api.profile) for each in PEERS]
    found = Results()
    found.take_turns({name: reader(servers, target, path, plan.seconds)
                      for name, target, path in looks}, plan.rounds,
                     ("per_second", "cpu_us", "p99_ms", "bad"))
    return found


def postgresql(plan: Plan, servers: Servers) -> Results:
    """Compare reads on the two databases; the server's CPU is not ours."""
    found = Results()
    found.take_turns(
        {name: reader(servers, ours(plan, postgresql=other), "/profile",
                      plan.seconds) for name, other in stores(plan)},
        plan.rounds, ("per_second", "cpu_us", "p99_ms", "bad"))
    return found


def reader(servers: Servers, target: Target, path: str,
           seconds: float, connections: int = 16) -> Callable[[], Round]:
    """Return a look at reads of one path, without a pause."""
    def look() -> Round:
        """Read for so many seconds."""
        server = servers.of(target)
        return load.hammer(server, server.port, path, server.readers,
                           seconds, connections)
    return look


# -- (b) What a sign-in costs

def sign_in(plan: Plan, servers: Servers) -> Results:
    """Compare sign-ins of eight clients with bcrypt on all cores."""
    seconds = 4 * plan.seconds
    looks: Dict[str, Callable[[], Round]] = {
        "limit: raw bcrypt": lambda: raw_bcrypt(plan, seconds)}
    for target in compared(plan):
        looks[target.name] = signer(servers, target, seconds)
    found = Results()
    found.take_turns(looks, plan.few(3), ("per_second", "cpu_ms", "bad"))
    return found


def raw_bcrypt(plan: Plan, seconds: float) -> Round:
    """Check passwords on all cores, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.limits.hashing", str(CORES),
         str(seconds), str(plan.cost)], cwd=str(ROOT), check=True,
        stdout=subprocess.PIPE, universal_newlines=True)
    found = json.loads(done.stdout)
    return signed_in(found["ends"], found["cpu_seconds"], seconds, {})


def signer(servers: Servers, target: Target, seconds: float,
           clients: int = 8) -> Callable[[], Round]:
    """Return a look at sign-ins, as many as so many clients get."""
    def look() -> Round:
        """Sign in for so many seconds."""
        server = servers.of(target)
        before = server.cpu_seconds()
        seen = load.run(crowd_of(server, seconds, clients))
        spent = server.cpu_seconds() - before
        return dict(signed_in(seen["ends"], spent, seconds, seen["statuses"],
                              target.api.good), **spread(seen["waits"]))
    return look


def signed_in(ends: List[float], spent: float, seconds: float,
              statuses: Dict[str, int],
              good: Sequence[int] = (200,)) -> Round:
    """Return what is said of sign-ins; all of them cost, even late ones."""
    return {"per_second": per_second(ends, seconds),
            "cpu_ms": 1000 * spent / max(1, len(ends)), "count": len(ends),
            "statuses": statuses, "bad": sum(
                count for status, count in statuses.items()
                if status not in map(str, good))}


def crowd_of(server: Running, seconds: float, clients: int,
             wait: float = 0.0, **changes: Any) -> Job:
    """Return the job of clients who sign in, from `wait` seconds on."""
    job = Job("sign_ins", server.port, server.target.api,
              begin=time.monotonic() + SETTLE + wait, seconds=seconds,
              emails=server.emails, password=PASSWORD, clients=clients)
    return replace(job, **changes)


# -- (c) A storm of sign-ins

def storm(plan: Plan, servers: Servers) -> Results:
    """See how reads fare while everybody signs in at once."""
    found = Results()
    for clients in plan.storms:
        looks = {}
        for target in compared(plan):
            name = "{}, {} clients".format(target.name, clients)
            looks[name] = weather(servers, target, clients, plan)
        found.take_turns(
            looks, plan.few(3 if clients == plan.storms[0] else 1),
            ("during.p50_ms", "during.p99_ms", "during.max_ms", "kept"))
    for rounds in found.rounds.values():
        keep_typical(rounds)
    return found


def keep_typical(rounds: List[Round]) -> None:
    """Keep every single wait of the middle round only, for a picture."""
    order = sorted(rounds, key=lambda each: float(each["during"]["p99_ms"]))
    for each in rounds:
        if each is not order[len(order) // 2]:
            del each["waits_ms"]


def weather(servers: Servers, target: Target, clients: int,
            plan: Plan) -> Callable[[], Round]:
    """Return a look at a storm: few readers meanwhile, and then many."""
    calm, rough = plan.seconds, 4 * plan.seconds

    def look() -> Round:
        """Take both looks at one storm each."""
        server = servers.of(target)
        seen = few_readers(server, calm, rough, clients)
        usual = reads(server, plan.seconds)
        crowd = load.Client(crowd_of(server, plan.seconds + SETTLE, clients))
        time.sleep(2 * SETTLE)
        kept = reads(server, plan.seconds)
        crowd.result()
        return dict(seen, usual=usual, stormy=kept, kept=(
            kept["per_second"] / max(1e-9, usual["per_second"])))
    return look


def reads(server: Running, seconds: float) -> Round:
    """Read as fast as 16 connections can."""
    return load.hammer(server, server.port, server.target.api.profile,
                       server.readers, seconds)


def few_readers(server: Running, calm: float, rough: float,
                clients: int) -> Round:
    """Read 40 times a second before, during and after a storm."""
    crowd_job = crowd_of(server, rough, clients, wait=calm)
    sparse = load.Client(Job(
        "sparse", server.port, server.target.api,
        begin=crowd_job.begin - calm, seconds=calm + rough + calm,
        readers=server.readers))
    crowd = load.Client(crowd_job)
    samples = [Sample(*each) for each in sparse.result()["samples"]]
    told = crowd.result()
    end = calm + rough
    return {"before": between(samples, 0, calm),
            # Those of the first moment wait for nobody yet.
            "during": between(samples, calm + 0.1 * rough, end),
            "after": between(samples, end, end + calm),
            "calm": calm, "rough": rough,
            # In the order in which they were due.
            "waits_ms": [round(1000 * each.seconds, 1) for each in samples],
            "statuses": told["statuses"], "bare": told["bare"],
            "sign_ins_per_second": per_second(told["ends"], rough)}


# -- (d) A flood of guesses

def flood(plan: Plan, servers: Servers) -> Results:
    """See who is served while 64 clients guess, with limits as deployed."""
    target = Ours(plan.server, Crowd(1000, cost=plan.cost))
    floor = Limit(plan.server, "select")
    found = Results()
    found.take_turns(
        {"ours": lambda: guessed_at(servers.of(target), plan.flood)}, 1,
        ("reads.p99_ms", "bare", "grown_mb", "owner_slowest_s"))
    found.take_turns(
        {"limit: raw SELECT, all refused unheard": lambda: read_beside(
            servers.of(floor), plan.flood, guesses_at(
                servers.of(floor), plan.flood))}, 1, ("reads.p99_ms",))
    return found


def guessed_at(server: Running, seconds: float) -> Round:
    """Guess at the accounts of a server, one of which has an owner.

    The owner comes back on a device that has signed in before.
    """
    # What is only allocated once is not growth.
    load.run(crowd_of(server, SETTLE, 8))
    before = total_mb(server)
    job = guesses_at(server, seconds)
    owner = load.Client(Job(
        "owner", server.port, server.target.api, emails=job.emails,
        password=PASSWORD, networks=["203.0.113.7"],
        begin=job.begin + 0.1 * seconds, seconds=0.8 * seconds))
    seen = read_beside(server, seconds, job)
    waits = owner.result()["waits"]
    return dict(seen, grown_mb=total_mb(server) - before,
                owner_slowest_s=max(waits), owner_times=len(waits))


def guesses_at(server: Running, seconds: float) -> Job:
    """Return the job of 64 clients who guess, each from its own network."""
    return crowd_of(
        server, seconds, 64, wait=2 * SETTLE, emails=server.emails[:100],
        polite=False, password="no password of anybody's", networks=[
            "198.51.100.{}".format(each) for each in range(64)])


def read_beside(server: Running, seconds: float, job: Job) -> Round:
    """Read now and then while others have their job."""
    others = load.Client(job)
    sparse = load.run(Job(
        "sparse", server.port, server.target.api, readers=server.readers,
        begin=job.begin, seconds=seconds))
    told = others.result()
    return {"reads": between([Sample(*each) for each in sparse["samples"]],
                             0, seconds),
            "statuses": told["statuses"], "bare": told["bare"]}


def total_mb(server: Running) -> float:
    """Return the memory that all processes have taken from the system."""
    return sum(each.own for each in server.memory())


# -- (e) Growth

def growth(plan: Plan, servers: Servers) -> Results:
    """Compare full databases with nearly empty ones, side by side."""
    found = Results()
    looks: Dict[str, Callable[[], Round]] = {}
    for users in plan.sizes:
        crowd = Crowd(users, 3, plan.cost)
        for name, postgresql in stores(plan):
            target = Ours(plan.server, crowd, postgresql=postgresql,
                          **WITHOUT_LIMITS)
            looks["{}, {}".format(name, users)] = grown(
                servers, target, plan.seconds)
        looks["no index, {}".format(users)] = grown(
            servers, Limit(plan.server, "scan", users), plan.seconds)
    found.take_turns(looks, plan.few(3), ("read.p50_ms", "sign_in.p50_ms"))
    return found


def stores(plan: Plan) -> List[Tuple[str, bool]]:
    """Return the databases that there are, and which is PostgreSQL."""
    return [("SQLite", False)] + (
        [("PostgreSQL", True)] if plan.postgresql else [])


def grown(servers: Servers, target: Target,
          seconds: float) -> Callable[[], Round]:
    """Return a look at one reader, and one who signs in, all over a table."""
    look_at_read = reader(servers, target, target.api.profile, seconds / 2, 1)
    look_at_sign_in = signer(servers, target, seconds, 1)

    def look() -> Round:
        """Read, and then sign in where that can be done."""
        seen: Round = {"read": look_at_read()}
        if servers.of(target).emails:
            seen["sign_in"] = look_at_sign_in()
        return seen
    return look


# -- (f) Memory and start

def start(plan: Plan, servers: Servers) -> Results:
    """See how long a start takes, and how much memory a server has then."""
    found = Results()
    found.take_turns(
        {"ours": started(servers, ours(plan)),
         "limit: raw SELECT": started(servers, Limit(plan.server, "select"))},
        plan.rounds, ("cold_s", "worker_rss_mb", "all_pss_mb"))
    return found


def started(servers: Servers, target: Target) -> Callable[[], Round]:
    """Return a look at a server that is stopped and started again.

    The time is that from the start of its program to the first good answer
    of a process that lives, and of one that is ready. Memory is that after
    some thousand requests; a worker is the largest process.
    """
    def look() -> Round:
        """Start it again, and use it."""
        server = servers.of(target)
        server.stop()
        server.start()
        seen: Round = {"cold_s": server.cold, "ready_s": server.ready}
        reads(server, SETTLE)
        if server.emails:
            load.run(crowd_of(server, SETTLE, 8))
        used = server.memory()
        return dict(seen, worker_rss_mb=used[0].rss, worker_pss_mb=used[0].pss,
                    all_rss_mb=sum(each.rss for each in used),
                    all_pss_mb=sum(each.pss for each in used),
                    processes=len(used))
    return look


PHASES: Dict[str, Phase] = {
    "get": get, "signin": sign_in, "storm": storm, "flood": flood,
    "growth": growth, "start": start,
    "postgresql": postgresql}
# Those in which a peer can be compared.
PEER_PHASES = ("get", "signin", "storm")


def measure(name: str, plan: Plan, folder: Path) -> Dict[str, Any]:
    """Do one phase, with its data below a folder, and return its results."""
    began, servers = time.monotonic(), Servers(folder / name)
    print("{} ...".format(name), flush=True)
    try:
        found = PHASES[name](plan, servers).as_json()
    finally:
        servers.stop()
    print("{} took {:.0f} s".format(name, time.monotonic() - began),
          flush=True)
    return dict(found, server=plan.server, seconds=plan.seconds)
