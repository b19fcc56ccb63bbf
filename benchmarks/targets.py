#!/usr/bin/env python3
"""What is measured: the service, the limits below it, and its peers.

A target knows how to get its database ready, how it is started and how it is
spoken to. Running is a target that was started.
"""
from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import lru_cache
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Dict, List, Tuple

from benchmarks import load
from benchmarks.client import Job
from benchmarks.processes import START_SECONDS, Process
from benchmarks.seeding import PASSWORD, Crowd, fill_floor, seed
from benchmarks.wire import JSON, Api, Headers
from cores import count_cores
from tests.databases import Postgres, postgres
from tests.machine import free_port

ROOT = Path(__file__).resolve().parent.parent
# Environments of the peers, and one that failed can be looked at.
VENVS = ROOT / ".venvs" / "peers"
HOST = "auth.example.com"
CORES = count_cores()
# Of each worker process; there is a worker a core.
THREADS = 16
GRANIAN = ("{python} -m granian --interface wsgi --host 127.0.0.1 --port "
           "{port} --workers {cores} --blocking-threads {threads} --no-ws "
           "--log-level warning {app}")
GUNICORN = ("{python} -m gunicorn --worker-class gthread --workers {cores} "
            "--threads {threads} --bind 127.0.0.1:{port} --worker-tmp-dir "
            "/dev/shm --log-level warning {app}")
# How the service is started in production, and the limits as like as can be.
OURS = {"granian": "{python} -m deploy.serve",
        "gunicorn": "{python} -m gunicorn -c deploy/gunicorn.conf.py {app}"}
LIMITS = {"granian": GRANIAN, "gunicorn": GUNICORN}
# As deployed, and with the limits of production.
PRODUCTION = dict(
    AUTH_ENV="production", PUBLIC_URL="https://" + HOST,
    LANDING_URL="/account", MAIL_FROM="auth@example.com",
    # Nobody is there: no mail is sent meanwhile.
    MAIL_URL="smtp://127.0.0.1:9", MAIL_IN_SERVER="0", TRUSTED_PROXIES="1")
# The whole load comes from one address, which a limit would be measured of.
WITHOUT_LIMITS = dict(LOGIN_NETWORK_LIMIT="100000/1m")
OUR_API = Api(alive="/healthz", headers={"Host": HOST})
# Who is registered with a server that is asked by HTTP, and who reads.
MEMBERS, READERS = 24, 16


def words(command: str, port: int, app: str,
          python: str = sys.executable, threads: int = THREADS) -> List[str]:
    """Return a command with all that it leaves open filled in."""
    return command.format(python=python, port=port, app=app, cores=CORES,
                          threads=threads).split()


def clean_environ(**added: str) -> Dict[str, str]:
    """Return an environment in which no setting of anybody's is left."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR")
    return dict({name: os.environ[name] for name in kept
                 if name in os.environ}, **added)


class Durable(Postgres):
    """A PostgreSQL server as it is deployed: no safety is traded for speed."""

    settings = ("max_connections=300", "shared_buffers=512MB",
                "max_wal_size=4GB")


class Target:
    """Something that answers, and how it is made to."""

    home = ROOT

    def __init__(self, name: str, api: Api) -> None:
        """Give it a name in tables, and its way to be spoken to."""
        self.name, self.api = name, api

    def prepare(self, folder: Path) -> None:
        """Make all that it needs before it starts, in an empty folder."""

    def command(self, port: int) -> List[str]:
        """Return what starts it."""
        raise NotImplementedError

    def environ(self, folder: Path, port: int) -> Dict[str, str]:
        """Return the environment that it is started in."""
        raise NotImplementedError

    def people(self, port: int) -> Tuple[List[Headers], List[str]]:
        """Return what readers present, and who can sign in."""
        raise NotImplementedError


class Ours(Target):
    """The service in production, on a database that was filled before."""

    def __init__(self, server: str, crowd: Crowd, name: str = "ours",
                 postgresql: bool = False, **environ: str) -> None:
        """Choose the server, who has an account, and other settings."""
        super().__init__(name, OUR_API)
        self.crowd = crowd
        self._command, self._environ = OURS[server], environ
        self._postgresql, self._url = postgresql, ""

    def prepare(self, folder: Path) -> None:
        """Fill the database."""
        self._url = "sqlite:///{}".format(folder / "ours.db")
        if self._postgresql:
            self._url = postgres(Durable).create("bench_{}".format(
                time.monotonic_ns()), template="ready")
        seed(self._url, self.crowd)

    def command(self, port: int) -> List[str]:
        """Return what starts it."""
        return words(self._command, port, "app:app")

    def environ(self, folder: Path, port: int) -> Dict[str, str]:
        """Return the production mode's."""
        # Otherwise limits and peers would be without a log, and we not.
        return clean_environ(**dict(
            PRODUCTION, PORT=str(port), DATABASE_URL=self._url,
            BCRYPT_COST=str(self.crowd.cost), THREADS=str(THREADS),
            GUNICORN_CMD_ARGS="--access-logfile=/dev/null",
            **self._environ))

    def people(self, port: int) -> Tuple[List[Headers], List[str]]:
        """Return readers from all over the tables; others sign in."""
        readers = [{"Host": HOST, "Cookie": "__Host-session_id=" + each}
                   for each in self.crowd.spread(100)]
        return readers, self.crowd.emails(800)


class Limit(Target):
    """A bare Flask route on the same server, with as many threads."""

    def __init__(self, server: str, route: str, users: int = 1000) -> None:
        """Choose the server, and what the route does."""
        super().__init__("limit: " + route, Api(
            ready="/empty", profile="/" + route, sign_in="/refuse"))
        self._command, self._users = LIMITS[server], users
        self._students = route == "scan"

    def prepare(self, folder: Path) -> None:
        """Fill the file."""
        fill_floor(str(folder / "floor.db"), self._users, self._students)

    def command(self, port: int) -> List[str]:
        """Return what starts it."""
        return words(self._command, port,
                     "benchmarks.limits.floor:application")

    def environ(self, folder: Path, port: int) -> Dict[str, str]:
        """Return where its file is."""
        return clean_environ(FLOOR=str(folder / "floor.db"))

    def people(self, port: int) -> Tuple[List[Headers], List[str]]:
        """Return readers from all over the table."""
        crowd = Crowd(self._users)
        return [{"Cookie": "session_id=" + each}
                for each in crowd.spread(100)], crowd.emails(800)


class Peer(Target):
    """A library in a small app of its own, on the server that is usual."""

    home = ROOT / "benchmarks" / "peers"

    def __init__(self, name: str, module: str, packages: Tuple[str, ...],
                 api: Api, command: str = GUNICORN) -> None:
        """Say which file of peers/ it is, and what that needs."""
        super().__init__(name, api)
        self._module, self._packages = module, packages
        self._command = command
        self._python = VENVS / module / "bin" / "python"

    def install(self) -> None:
        """Make its environment, on the first run."""
        if not (VENVS / self._module / "installed").exists():
            print("Installing {}.".format(self.name), flush=True)
            call(sys.executable, "-m", "venv", str(VENVS / self._module))
            call(str(self._python), "-m", "pip", "install", "--quiet",
                 "--disable-pip-version-check", *self._packages)
            (VENVS / self._module / "installed").touch()

    def prepare(self, folder: Path) -> None:
        """Make its tables."""
        self.install()
        subprocess.run(
            [str(self._python), "-c", "import {} as peer; peer.prepare()"
             .format(self._module)], check=True, cwd=str(self.home),
            env=self.environ(folder, 0))

    def command(self, port: int) -> List[str]:
        """Return what starts it; four threads are what is usual."""
        return words(self._command, port, self._module + ":application",
                     str(self._python), threads=4)

    def environ(self, folder: Path, port: int) -> Dict[str, str]:
        """Return where its file is."""
        return clean_environ(PEER_DATABASE=str(folder / "peer.db"))

    def people(self, port: int) -> Tuple[List[Headers], List[str]]:
        """Open accounts as everybody would."""
        emails = ["user{}@example.com".format(each)
                  for each in range(MEMBERS)]
        found = load.run(Job("arrive", port, self.api, emails=emails,
                             password=PASSWORD, clients=READERS))
        # Sign-ins must not touch the sessions of those who read.
        return found["readers"], emails[READERS:]


PEERS = (
    Peer("Flask-Security-Too", "with_flask_security",
         ("flask-security-too[fsqla,common]", "gunicorn", "bcrypt"),
         Api(ready="/health", register="/register", register_type=JSON,
             sign_in="/login", sign_in_type=JSON,
             headers={"Accept": "application/json"})),
    Peer("Flask-User", "with_flask_user",
         # All of its releases were withdrawn; the last one is what is in use.
         ("Flask-User==1.0.2.2", "bcrypt<4.1", "email-validator", "gunicorn"),
         Api(ready="/health", register="/user/register",
             sign_in="/user/sign-in", good=(302,))),
    Peer("Django", "with_django", ("django", "gunicorn", "bcrypt"),
         Api(ready="/health", register_type=JSON, sign_in_type=JSON)),
    Peer("fastapi-users", "with_fastapi_users",
         ("fastapi-users[sqlalchemy]", "uvicorn[standard]", "aiosqlite",
          "pwdlib[bcrypt,argon2]"),
         Api(ready="/health", register="/auth/register", register_type=JSON,
             sign_in="/auth/cookie/login", name="username", good=(204,)),
         "{python} -m uvicorn {app} --host 127.0.0.1 --port {port} "
         "--workers {cores} --log-level warning --no-access-log"))


class Running(Process):
    """A target that was started and answers."""

    def __init__(self, target: Target, folder: Path) -> None:
        """Prepare and start it in a new folder; return once it serves.

        Raises RuntimeError with its last words if it does not.
        """
        folder.mkdir(parents=True)
        self.target, self._folder = target, folder
        target.prepare(folder)
        self.start()
        try:
            self.readers, self.emails = target.people(self.port)
        except (OSError, RuntimeError):
            self.stop()
            raise

    def start(self) -> None:
        """Start it, again if need be; `cold` and `ready` say how long."""
        self.port = free_port()
        super().__init__(
            self.target.command(self.port),
            self.target.environ(self._folder, self.port), self.target.home,
            self._folder / "log")
        api = self.target.api
        self.cold = self._first_answer(api.alive or api.ready)
        self.ready = self._first_answer(api.ready)

    def _first_answer(self, path: str) -> float:
        """Wait for 200 there, and return how long that took from the start.

        Raises RuntimeError with its last words if it does not come.
        """
        while not answers(self.port, path):
            late = time.monotonic() > self.started + START_SECONDS
            try:
                self.demand_alive()
                if late:
                    raise RuntimeError("never answered: " + self.last_words())
            except RuntimeError:
                self.stop()
                raise
            time.sleep(0.005)
        return time.monotonic() - self.started


def answers(port: int, path: str) -> bool:
    """Tell whether 200 is answered there."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def call(*command: str) -> None:
    """Run a command to its end; RuntimeError with its words if it fails."""
    done = subprocess.run(list(command), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)
    if done.returncode:
        raise RuntimeError(" ".join(done.stdout.split())[-400:])


@lru_cache(maxsize=None)
def versions(*packages: str) -> Dict[str, str]:
    """Return what is measured: versions of Python and of our packages."""
    printed = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--format=freeze",
         "--disable-pip-version-check"],
        stdout=subprocess.PIPE, universal_newlines=True).stdout
    found = dict(line.lower().split("==", 1) for line in printed.splitlines()
                 if "==" in line)
    return {name: found[name] for name in packages if name in found}
