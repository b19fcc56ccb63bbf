#!/usr/bin/env python3
"""The crowd: a process of its own that loads a server and says what it saw.

    python3 -m benchmarks.client

reads one job as JSON and prints its result as JSON. Times are those of the
clock that all processes of a machine share (time.monotonic), so that several
jobs can begin at one moment.
"""
from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Awaitable, Callable, Dict, List, Optional

from benchmarks import wire
from benchmarks.wire import Answer, Api, Headers

# Who is not answered for so long gives up.
PATIENCE = 60.0
GONE = (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError,
        asyncio.LimitOverrunError)
REFUSED = (429, 503)
# How many requests a second `sparse` sends unless it is told.
RATE = 40.0
# A client that nothing slows down must not become the load itself.
BREATH = 0.001


@dataclass(frozen=True)
class Job:
    """What to do, to whom, and when."""

    do: str
    port: int
    api: Api
    # When it begins, and for how long it sends.
    begin: float = 0.0
    seconds: float = 0.0
    # What each reader sends to be known.
    readers: List[Headers] = field(default_factory=list)
    # Of `sparse`: how many a second.
    rate: float = RATE
    # Of those that sign in: who they are, and how many at once.
    emails: List[str] = field(default_factory=list)
    password: str = ""
    clients: int = 1
    # One client after the other comes from these addresses.
    networks: List[str] = field(default_factory=list)
    # Whether who is refused waits as long as Retry-After says.
    polite: bool = True


class Connection:
    """One kept-alive connection, opened again when it was closed."""

    def __init__(self, port: int) -> None:
        """Remember where to connect to."""
        self._port = port
        self._reader: Optional[asyncio.StreamReader] = None
        self._writer: Optional[asyncio.StreamWriter] = None

    async def ask(self, request: bytes) -> Answer:
        """Send a request and return the answer.

        A server may hang up on a connection that rests, so what fails on an
        old one is tried once more on a new one. Raises one of GONE.
        """
        if self._writer is not None:
            try:
                return await self._ask(request)
            except (OSError, asyncio.IncompleteReadError):
                await self.close()
        return await self._ask(request)

    async def close(self) -> None:
        """Hang up; the next request connects anew."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _ask(self, request: bytes) -> Answer:
        """Send a request on this connection, or a new one, and read."""
        try:
            if self._reader is None or self._writer is None:
                self._reader, self._writer = await asyncio.open_connection(
                    "127.0.0.1", self._port)
            self._writer.write(request)
            answer = await asyncio.wait_for(
                wire.read_answer(self._reader), PATIENCE)
        except GONE:
            await self.close()
            raise
        if answer.headers.get("connection", "").lower() == "close":
            await self.close()
        return answer


async def until(moment: float) -> None:
    """Sleep until then; not at all if that is over."""
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


# -- The jobs

async def sparse(job: Job) -> Dict[str, Any]:
    """Read at fixed times, however long the answers before take.

    A sample is when the request was due, how long after that its answer was
    there, and its status: 0 for none at all.
    """
    idle: List[Connection] = []
    samples: List[List[float]] = []

    async def read(number: int) -> None:
        """Send one request on a connection that nobody waits on."""
        due = number / job.rate
        connection = idle.pop() if idle else Connection(job.port)
        reader = job.readers[number % len(job.readers)]
        try:
            status = (await connection.ask(wire.get(
                job.api, job.api.profile, reader))).status
        except GONE:
            status = 0
        samples.append([due, time.monotonic() - job.begin - due, status])
        idle.append(connection)

    tasks = []
    for number in range(int(job.seconds * job.rate)):
        await until(job.begin + number / job.rate)
        tasks.append(asyncio.ensure_future(read(number)))
    await asyncio.gather(*tasks)
    for each in idle:
        await each.close()
    return {"samples": sorted(samples)}


class Crowd:
    """Many that sign in at once, one after the other each, without a pause."""

    def __init__(self, job: Job) -> None:
        """Begin to count what they are told."""
        self._job = job
        self.statuses: Dict[str, int] = {}
        self.ends: List[float] = []
        self.waits: List[float] = []
        # Refusals that do not say when to come back.
        self.bare = 0

    async def run(self) -> Dict[str, Any]:
        """Let all of them at it, and return what they were told."""
        await until(self._job.begin)
        await asyncio.gather(*map(self._client, range(self._job.clients)))
        return {"statuses": self.statuses, "ends": self.ends,
                "waits": self.waits, "bare": self.bare}

    async def _client(self, number: int) -> None:
        """Sign in as one's own accounts in turn until the time is over.

        At least once, however late this process came to run.
        """
        connection = Connection(self._job.port)
        mine = self._job.emails[number::self._job.clients]
        mine = mine or [self._job.emails[number % len(self._job.emails)]]
        over, turn = self._job.begin + self._job.seconds, 0
        while not turn or time.monotonic() < over:
            pause = await self._sign_in(
                connection, mine[turn % len(mine)], number)
            turn += 1
            await asyncio.sleep(min(pause, max(0.0, over - time.monotonic())))
        await connection.close()

    async def _sign_in(self, connection: Connection, email: str,
                       number: int) -> float:
        """Try once; return how long to wait before the next try."""
        job, started = self._job, time.monotonic()
        try:
            answer = await connection.ask(wire.sign_in(
                job.api, email, job.password, from_network(
                    job.networks, number)))
        except GONE as error:
            self._count(type(error).__name__)
            return BREATH
        self._count(str(answer.status))
        if answer.status in job.api.good:
            self.ends.append(time.monotonic() - job.begin)
            self.waits.append(time.monotonic() - started)
            return 0.0
        self.bare += answer.status in REFUSED and not answer.retry_after
        return float(answer.retry_after or BREATH) if job.polite else 0.0

    def _count(self, told: str) -> None:
        """Count an answer, or what came instead of one."""
        self.statuses[told] = self.statuses.get(told, 0) + 1


async def sign_ins(job: Job) -> Dict[str, Any]:
    """Sign in as fast as the server lets so many clients."""
    return await Crowd(job).run()


async def owner(job: Job) -> Dict[str, Any]:
    """Sign in again and again from a device that is known by its cookies.

    The first time is before `begin`, when nobody disturbs. `waits` are the
    seconds to success; one who is refused comes back when told to.
    """
    connection = Connection(job.port)
    cookies: Headers = {}
    waits: List[float] = []

    async def succeed() -> None:
        """Try until it works, and keep the cookies."""
        while True:
            answer = await connection.ask(wire.sign_in(
                job.api, job.emails[0], job.password, dict(
                    wire.cookie_header(cookies),
                    **from_network(job.networks, 0))))
            if answer.status in job.api.good:
                cookies.update(answer.cookies)
                return
            await asyncio.sleep(float(answer.retry_after or BREATH))

    await succeed()
    await until(job.begin)
    while not waits or time.monotonic() < job.begin + job.seconds:
        started = time.monotonic()
        await succeed()
        waits.append(time.monotonic() - started)
        await asyncio.sleep(1)
    await connection.close()
    return {"waits": waits}


async def arrive(job: Job) -> Dict[str, Any]:
    """Open accounts, sign in as the first of them, and show their cookies.

    Raises RuntimeError when a server takes no account or gives no cookie.
    """
    connection = Connection(job.port)
    try:
        for email in job.emails:
            answer = await connection.ask(wire.register(
                job.api, email, job.password))
            demand(answer, answer.status < 400, "no account")
        return {"readers": [await new_reader(job, connection, email)
                            for email in job.emails[:job.clients]]}
    finally:
        await connection.close()


async def new_reader(job: Job, connection: Connection,
                     email: str) -> Headers:
    """Sign in, and return what shows that, once it was shown to work."""
    answer = await connection.ask(wire.sign_in(
        job.api, email, job.password, {}))
    demand(answer, answer.status in job.api.good and bool(
        answer.cookies), "no session")
    reader = wire.cookie_header(answer.cookies)
    answer = await connection.ask(wire.get(
        job.api, job.api.profile, reader))
    demand(answer, email.encode() in answer.body, "not known again")
    return reader


def demand(answer: Answer, good: bool, otherwise: str) -> None:
    """Raise RuntimeError with what was answered, unless that is good."""
    if not good:
        said = answer.body.decode("utf-8", "replace").split()
        raise RuntimeError("{}: {} {}".format(
            otherwise, answer.status, " ".join(said)[:200]))


def from_network(networks: List[str], number: int) -> Headers:
    """Return what a proxy adds for the client of this number."""
    return {"X-Forwarded-For": networks[number % len(networks)]
            } if networks else {}


JOBS: Dict[str, Callable[[Job], Awaitable[Dict[str, Any]]]] = {
    "sparse": sparse, "sign_ins": sign_ins, "owner": owner, "arrive": arrive}


async def work(job: Job) -> Dict[str, Any]:
    """Do a job, and say what CPU it cost this process."""
    return dict(await JOBS[job.do](job), client_cpu=time.process_time())


def read_job(text: str) -> Job:
    """Understand a job as as_json() wrote it."""
    given = json.loads(text)
    return Job(**dict(given, api=Api(**given["api"])))


def as_json(job: Job) -> str:
    """Write a job down for the process that does it."""
    return json.dumps(asdict(job))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(work(read_job(sys.stdin.read())))))
