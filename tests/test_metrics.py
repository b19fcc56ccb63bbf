#!/usr/bin/env python3
"""What is measured: the right numbers, of all workers, and nobody's data."""
from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import (
    Any, Callable, Dict, FrozenSet, Iterator, List, NamedTuple, Set, Tuple)

import pytest
from prometheus_client.parser import text_string_to_metric_families

from audit import Fact
from auth import Auth
from credentials import passwords
from credentials.pool import HashingPool
from db import DB
from errors import Overloaded, Unavailable
from health import LEAST_FREE, checks_of
from metrics import GAUGES, NO_METRICS, OUTCOMES, Metrics, metrics_for
from models import Outgoing, Session
from settings import DAY, Settings
from tests.databases import sqlite_only
from tests.helpers import (
    EMAIL, PASSWORD, ROOT, STRONG, Clock, Gunicorn, Mailbox, Visitor,
    all_at_once)

KEY = "k" * 32
BEARER = {"Authorization": "Bearer " + KEY}
SECONDS = "auth_http_request_duration_seconds"
Numbers = Dict[Tuple[str, FrozenSet[Tuple[str, str]]], float]


def numbers_of(text: str) -> Numbers:
    """Read the text format: each number by its name and labels."""
    return {(sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples}


class Watcher:
    """Prometheus, as far as a test needs it."""

    def __init__(self, service: Auth) -> None:
        """Watch this service."""
        self._service = service

    def text(self) -> str:
        """Return what is shown."""
        return self._service.metrics()[1].decode()

    def sees(self, metric: str, **labels: Any) -> float:
        """Return a number, 0 as long as nothing was counted."""
        return numbers_of(self.text()).get(
            (metric, frozenset(labels.items())), 0)


@pytest.fixture
def safe_settings(safe_settings: Settings) -> Settings:
    """Production, and somebody may read the numbers."""
    return dataclasses.replace(safe_settings, metrics_token=KEY)


@pytest.fixture
def watcher(safe: Auth) -> Watcher:
    """Somebody who reads them."""
    return Watcher(safe)


class TestRequests:
    """How long requests take."""

    def test_by_route_method_and_status(
            self, guest: Visitor, watcher: Watcher) -> None:
        """Each answer counts once."""
        guest.registers(EMAIL, STRONG)
        for _ in range(3):
            guest.logs_in(EMAIL, "wrong " + STRONG)
        for route, method, status, count in (
                ("/users", "POST", "200", 1), ("/sessions", "POST", "401", 3),
                ("/sessions", "POST", "200", 0)):
            assert watcher.sees(SECONDS + "_count", route=route,
                                method=method, status=status) == count

    def test_path_of_a_parameter_is_one_route(
            self, guest: Visitor, watcher: Watcher) -> None:
        """As the README writes it."""
        for handle in range(5):
            guest.asks("DELETE", "/sessions/{}".format(handle))
        assert watcher.sees(SECONDS + "_count", route="/sessions/<handle>",
                            method="DELETE", status="403") == 5

    def test_whatever_is_no_route_is_one(
            self, guest: Visitor, watcher: Watcher) -> None:
        """Made-up paths and methods make no series of their own."""
        guest.asks("GET", "/nowhere")
        guest.asks("GET", "/" + EMAIL)
        guest.asks("BREW", "/nowhere")
        guest.asks("BREW", "/users")
        assert watcher.sees(SECONDS + "_count", route="none", method="GET",
                            status="404") == 2
        assert watcher.sees(SECONDS + "_count", route="none", method="other",
                            status="404") == 1
        assert "BREW" not in watcher.text()

    def test_refusals_before_a_route_count_as_its(
            self, guest: Visitor, watcher: Watcher) -> None:
        """A flood of them shows."""
        guest.asks("GET", "/profile", {"Host": "evil.example"})
        assert watcher.sees(SECONDS + "_count", route="/profile",
                            method="GET", status="400") == 1

    def test_mistakes_of_ours_count(
            self, safe: Auth, guest: Visitor, watcher: Watcher,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Above all of them."""
        monkeypatch.setattr(Auth, "log_in", lambda *_: 1 / 0)
        guest.logs_in(EMAIL, STRONG)
        assert watcher.sees(SECONDS + "_count", route="/sessions",
                            method="POST", status="500") == 1

    def test_time_is_that_until_the_answer(
            self, guest: Visitor, watcher: Watcher,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """In seconds, and sorted into buckets."""
        moments = iter((100.0, 100.3))
        monkeypatch.setattr("routes.guards.time.perf_counter",
                            lambda: next(moments))
        guest.asks("GET", "/")
        seen = {"route": "/", "method": "GET", "status": "200"}
        assert round(watcher.sees(SECONDS + "_sum", **seen), 6) == 0.3
        assert [watcher.sees(SECONDS + "_bucket", le=le, **seen)
                for le in ("0.25", "0.5", "+Inf")] == [0, 1, 1]


class TestLogins:
    """Sign-ins, by what became of them."""

    def outcomes(self, watcher: Watcher) -> List[float]:
        """Return how many were opened, refused, unverified, throttled."""
        return [watcher.sees("auth_logins_total", outcome=outcome)
                for outcome in ("opened", "refused", "unverified",
                                "throttled")]

    def test_opened(self, member: Visitor, watcher: Watcher) -> None:
        """A session was."""
        member.logs_in(EMAIL, STRONG)
        assert self.outcomes(watcher) == [1, 0, 0, 0]

    def test_refused(self, member: Visitor, watcher: Watcher) -> None:
        """Wrong passwords and unknown addresses are one."""
        member.logs_in(EMAIL, "wrong " + STRONG)
        member.logs_in("eve@me.com", STRONG)
        assert self.outcomes(watcher) == [0, 2, 0, 0]

    def test_unverified(self, guest: Visitor, watcher: Watcher) -> None:
        """The password was right, and the address is not proved."""
        guest.registers(EMAIL, STRONG)
        guest.logs_in(EMAIL, STRONG)
        assert self.outcomes(watcher) == [0, 0, 1, 0]

    def test_throttled(self, guest: Visitor, watcher: Watcher) -> None:
        """After five that were free, and before anything is looked at."""
        for _ in range(8):
            guest.logs_in(EMAIL, STRONG)
        assert self.outcomes(watcher) == [0, 5, 0, 3]

    def test_a_change_of_password_is_no_sign_in(
            self, member: Visitor, watcher: Watcher) -> None:
        """Though it opens a session."""
        member.logs_in(EMAIL, STRONG)
        member.asks("PUT", "/password", current_password=STRONG,
                    new_password="another " + STRONG)
        assert self.outcomes(watcher) == [1, 0, 0, 0]

    def test_outcomes_are_told_by_facts_that_there_are(self) -> None:
        """A fact that is renamed must not fall silent here."""
        assert {fact for fact, _ in OUTCOMES} <= {
            fact.value for fact in Fact}


class TestFacts:
    """Everything else that happened."""

    def test_each_counts_once_it_is_true(
            self, member: Visitor, watcher: Watcher) -> None:
        """Rows and lines of the log alike."""
        assert [watcher.sees("auth_facts_total", fact=fact) for fact in (
            "account.created", "mail.sent", "email.verified",
            "session.opened")] == [1, 1, 1, 0]

    def test_what_was_undone_does_not_count(
            self, safe: Auth, guest: Visitor, watcher: Watcher,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """The account was not opened after all."""
        def fail(*_: Any) -> None:
            """Be out of order in mid-transaction."""
            raise Unavailable()
        monkeypatch.setattr(DB, "add", fail)
        guest.registers(EMAIL, STRONG)
        assert watcher.sees("auth_facts_total", fact="account.created") == 0

    def test_mails_that_are_given_up(
            self, member: Visitor, safe: Auth, mailbox: Mailbox,
            watcher: Watcher, clock: Clock) -> None:
        """Told by the outbox, through the same trail."""
        member.asks("POST", "/reset_password", email=EMAIL)
        mailbox.broken = OSError()
        safe.deliver_mail()
        clock.advance(DAY + 1)
        safe.deliver_mail()
        assert [watcher.sees("auth_facts_total", fact=fact) for fact in (
            "mail.delayed", "mail.given_up")] == [1, 1]


class TestThrottled:
    """Tries that were refused as too many."""

    def test_by_kind_of_lane(
            self, new_guest: Callable[..., Visitor],
            watcher: Watcher) -> None:
        """The lane that refused, and nobody's name."""
        for _ in range(7):
            new_guest("203.0.113.1").logs_in(EMAIL, STRONG)
        for _ in range(21):
            new_guest("203.0.113.2").asks(
                "POST", "/reset_password", email=EMAIL)
        assert [watcher.sees("auth_throttled_total", lane=lane) for lane in (
            "login:account", "mail:network", "login:network")] == [2, 1, 0]
        assert watcher.sees("auth_logins_total", outcome="throttled") == 2

    def test_withheld_mails_are_refused_by_a_lane_too(
            self, member: Visitor, safe: Auth, watcher: Watcher) -> None:
        """Nobody is told of those but here and in the log."""
        for _ in range(5):
            member.asks("POST", "/reset_password", email=EMAIL)
        safe.deliver_mail()
        assert watcher.sees("auth_throttled_total", lane="mail:reset") == 2
        assert watcher.sees("auth_facts_total", fact="mail.withheld") == 2


class TestHashes:
    """Passwords that are being hashed at this moment."""

    @pytest.fixture
    def seen(self, watcher: Watcher,
             monkeypatch: pytest.MonkeyPatch) -> List[float]:
        """What is shown in the middle of each hash."""
        seen: List[float] = []

        def spy(name: str) -> None:
            """Look at the number whenever that function is called."""
            real = getattr(passwords, name)

            def look(*args: Any) -> Any:
                """Look, then hash."""
                seen.append(watcher.sees("auth_hashes", state="in_use"))
                return real(*args)
            monkeypatch.setattr(passwords, name, look)
        spy("hash_password")
        spy("verify_password")
        return seen

    def test_in_use(self, member: Visitor, watcher: Watcher,
                    seen: List[float]) -> None:
        """One to sign in, two to change a password, one to leave."""
        member.logs_in(EMAIL, STRONG)
        member.asks("PUT", "/password", current_password=STRONG,
                    new_password="another " + STRONG)
        member.asks("DELETE", "/profile", password="another " + STRONG)
        assert seen == [1, 1, 1, 1]
        assert watcher.sees("auth_hashes", state="in_use") == 0

    def test_one_that_fails_is_over(
            self, safe: Auth, watcher: Watcher,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """It must not count for ever."""
        monkeypatch.setattr(passwords, "verify_password", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            safe.log_in(EMAIL, STRONG)
        assert watcher.sees("auth_hashes", state="in_use") == 0


class TestGauges:
    """What is read from the database at the moment of asking."""

    def test_sessions_are_the_live_ones(
            self, safe: Auth, member: Visitor, watcher: Watcher,
            clock: Clock, db: DB) -> None:
        """One that is idle for too long counts no longer, swept or not."""
        safe.create_session(EMAIL)
        clock.advance(4 * DAY)
        member.logs_in(EMAIL, STRONG)
        clock.advance(4 * DAY)
        assert len(db.find_all(Session)) == 2
        assert watcher.sees("auth_sessions") == 1

    def test_sessions_are_counted_now_and_then(
            self, safe: Auth, member: Visitor, watcher: Watcher) -> None:
        """It costs a look at each of them."""
        assert watcher.sees("auth_sessions") == 0
        safe.create_session(EMAIL)
        assert watcher.sees("auth_sessions") == 0

    def test_outbox(self, guest: Visitor, safe: Auth, mailbox: Mailbox,
                    watcher: Watcher, clock: Clock) -> None:
        """How many wait, how long the oldest has, how many were given up."""
        def outbox() -> List[float]:
            """Return the three numbers."""
            return [watcher.sees("auth_outbox_" + each) for each in (
                "mails", "oldest_seconds", "given_up")]
        assert outbox() == [0, 0, 0]
        mailbox.broken = OSError()
        guest.registers(EMAIL, STRONG)
        clock.advance(DAY - 7)
        guest.registers("joe@me.com", STRONG)
        assert outbox() == [2, DAY - 7, 0]
        clock.advance(7)
        safe.deliver_mail()
        assert outbox() == [1, 7, 1]

    def test_oldest_is_no_row_that_was_revived(
            self, safe: Auth, db: DB, watcher: Watcher,
            clock: Clock) -> None:
        """A mail that is sent anew starts to wait anew."""
        for queued_at, due_at in ((7, None), (int(clock()) - 9, 0)):
            db.add(Outgoing(purpose="reset", email=EMAIL, detail="", tries=1,
                            queued_at=queued_at, due_at=due_at))
        safe.revive_mail()
        assert watcher.sees("auth_outbox_oldest_seconds") == 9

    def test_age_is_never_negative(
            self, guest: Visitor, watcher: Watcher, clock: Clock) -> None:
        """A clock that was set back sees a mail of the future."""
        guest.registers(EMAIL, STRONG)
        clock.advance(-60)
        assert watcher.sees("auth_outbox_oldest_seconds") == 0

    @sqlite_only
    def test_database_that_cannot_serve(
            self, guest: Visitor, watcher: Watcher, tmp_path: Path) -> None:
        """What it does not tell is left out; 0 would be a lie."""
        guest.registers(EMAIL, STRONG)
        os.rename(str(tmp_path / "test.db"), str(tmp_path / "away.db"))
        text = watcher.text()
        assert [name for name in GAUGES if name in text] == []
        assert 'auth_facts_total{fact="account.created"} 1.0' in text

    def test_database_that_hangs(
            self, safe: Auth, watcher: Watcher,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Prometheus hears the rest before it gives up."""
        end = threading.Event()
        monkeypatch.setattr(DB, "count", lambda *_: end.wait(60) and 0)
        monkeypatch.setattr(DB, "least", lambda *_: end.wait(60) and 0)
        try:
            began = time.monotonic()
            assert "auth_outbox" not in watcher.text()
            assert time.monotonic() - began < 5
        finally:
            end.set()


def test_nobodys_data_is_shown(
        member: Visitor, safe: Auth, watcher: Watcher) -> None:
    """Whatever a visitor sends, and where from, is in no label."""
    member.asks("GET", "/canary-path?canary-query=1",
                {"User-Agent": "canary-agent", "X-Request-ID": "canary-id"})
    for _ in range(8):
        member.logs_in("canary@mail.example", "canary password of mine")
    member.logs_in(EMAIL, STRONG)
    member.asks("DELETE", "/sessions/987654321")
    session = safe.create_session(EMAIL) or ""
    text = watcher.text().lower()
    assert "auth_logins_total" in text
    for secret in ("canary", EMAIL, STRONG, "203.0.113.7", session, KEY,
                   "987654321"):
        assert secret not in text


# -- docs/metrics.md

def page() -> str:
    """Return what a deployer reads."""
    return (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


def families(text: str) -> Set[Tuple[str, str, str, str]]:
    """Return the name, type, labels and sentence of each family.

    Without those that the library adds of its own accord.
    """
    found = set()
    for family in text_string_to_metric_families(text):
        labels = {name for sample in family.samples
                  for name in sample.labels} - {"le"}
        name = family.name + ("_total" if family.type == "counter" else "")
        if not family.name.endswith("_created"):
            found.add((name, family.type, ", ".join(sorted(labels)),
                       family.documentation))
    return found


def refuse(*_: Any) -> None:
    """Say that the line for hashing is full."""
    raise Overloaded(retry_after=1)


def test_page_lists_everything_and_nothing_else(
        member: Visitor, watcher: Watcher,
        monkeypatch: pytest.MonkeyPatch) -> None:
    """With its type, its labels and its sentence, once all has happened."""
    monkeypatch.setattr(HashingPool, "demand_room", refuse)
    assert member.logs_in(EMAIL, STRONG).status_code == 503
    monkeypatch.undo()
    assert watcher.sees("auth_hashes_shed_total", claim="known") == 1
    for _ in range(7):
        member.logs_in("eve@me.com", STRONG)
    table = page().partition("| Name |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]]
            for row in table.splitlines()[2:]]
    assert {(name.strip("`"), kind, ", ".join(sorted(
        re.findall(r"`(\w+)`", labels))), sentence)
        for name, kind, labels, sentence in rows} == families(watcher.text())


def test_page_names_every_check_and_what_is_a_full_disk(
        db: DB, settings: Settings) -> None:
    """As whoever is woken by one will look there."""
    row = page().partition("| `GET /readyz` |")[2].partition("\n")[0]
    assert set(checks_of(db, settings)) <= set(
        re.findall(r"`(\w+)` \(", row))
    assert "less than {} MiB free".format(LEAST_FREE >> 20) in row


# -- Off

class TestNoMetrics:
    """Nobody may ask, so nothing is measured."""

    def test_is_what_there_is_by_default(self, settings: Settings) -> None:
        """A key turns it on."""
        assert metrics_for(settings) is NO_METRICS
        assert metrics_for(dataclasses.replace(
            settings, metrics_token=KEY)) is not NO_METRICS

    def test_takes_everything_and_shows_nothing(self) -> None:
        """Whoever measures need not ask whether somebody listens."""
        NO_METRICS.answered("/", "GET", 200, 1)
        NO_METRICS.happened("session.opened", "")
        NO_METRICS.throttled("login:account")
        NO_METRICS.hashes_are(1, 2)
        NO_METRICS.shed(True)
        assert NO_METRICS.text({"auth_sessions": 1}) == b""

    @pytest.mark.parametrize("key, loaded", [("", "False"), (KEY, "True")])
    def test_library_is_loaded_for_whoever_has_a_key(
            self, tmp_path: Path, key: str, loaded: str) -> None:
        """And no file is made before something is measured."""
        folder = tmp_path / "sums"
        folder.mkdir()
        printed = subprocess.check_output(
            [sys.executable, "-W", "error", "-c", "import app, sys; "
             "print('prometheus_client' in sys.modules)"],
            cwd=str(ROOT), universal_newlines=True, env=dict(
                os.environ, METRICS_TOKEN=key,
                PROMETHEUS_MULTIPROC_DIR=str(folder),
                DATABASE_URL="sqlite:///{}".format(tmp_path / "x.db")))
        assert printed == loaded + "\n"
        assert list(folder.iterdir()) == []


# -- Several worker processes

class Done(NamedTuple):
    """A process that has ended."""

    pid: int
    printed: str


COUNTS = "counts = Metrics(Settings.from_env())\n"


def in_process(folder: Path, sums: str, program: str) -> Done:
    """Run a program in a process of its own, in a folder, with a key."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c",
         "import os, shutil\nfrom metrics import *\n"
         "from settings import Settings\n" + program],
        cwd=str(folder), universal_newlines=True, stdout=subprocess.PIPE,
        env=dict(os.environ, PYTHONPATH=str(ROOT), METRICS_TOKEN=KEY,
                 PROMETHEUS_MULTIPROC_DIR=sums))
    printed, _ = process.communicate(timeout=60)
    assert process.returncode in (0, -9)
    return Done(process.pid, printed)


class Workers(Gunicorn):
    """The production server with two workers, which are hard to tell apart."""

    def __init__(self, folder: Path) -> None:
        """Start it on a fresh database; return once it answers."""
        self.sums = folder / "sums"
        self.sums.mkdir()
        (self.sums / "counter_1.db").write_bytes(b"left over")
        super().__init__(
            folder, METRICS_TOKEN=KEY, PROMETHEUS_MULTIPROC_DIR=str(self.sums),
            GUNICORN_CMD_ARGS="--workers=2", MAIL_IN_SERVER="0",
            HOME=str(folder))

    def logs_in(self) -> None:
        """Sign Bob in, by whichever worker is free."""
        assert self.ask("POST", "/sessions", email=EMAIL,
                        password=PASSWORD).status == 200

    def numbers(self) -> Numbers:
        """Return what whichever worker is asked shows."""
        answer = self.ask("GET", "/metrics", BEARER)
        assert answer.status == 200, self.log()
        return numbers_of(answer.body.decode())

    def files(self, kind: str) -> Dict[int, Path]:
        """Return the files of one kind of number, by their process."""
        return {int(re.findall(r"[0-9]+", path.name)[0]): path
                for path in self.sums.glob(kind + "_*.db")}

    def have_shown(self) -> int:
        """Return how many of the workers were asked for their numbers."""
        return sum(b'"/metrics"' in path.read_bytes()
                   for path in self.files("histogram").values())

    def wait_for(self, happened: Callable[[], bool]) -> None:
        """Wait until something has happened; fail after 30 seconds."""
        began = time.monotonic()
        while not happened():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < began + 30, self.log()
            time.sleep(0.02)


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    """Two workers behind one port."""
    server = Workers(tmp_path)
    yield server
    server.stop()


@pytest.mark.one_database
class TestWorkers:
    """The sums of several processes."""

    def test_are_right_whoever_is_asked(self, workers: Workers) -> None:
        """All of what both have counted, each time, and after a death."""
        workers.ask("POST", "/users", email=EMAIL, password=PASSWORD)
        asked, expected = 0, {}
        while len(workers.files("gauge_livesum")) < 2 and asked < 4000:
            all_at_once([workers.logs_in] * 8)
            asked += 8
        seen = {"route": "/sessions", "method": "POST", "status": "200"}
        for name, labels, value in (
                (SECONDS + "_count", seen, asked),
                (SECONDS + "_bucket", dict(seen, le="+Inf"), asked),
                ("auth_logins_total", {"outcome": "opened"}, asked),
                ("auth_hashes", {"state": "in_use"}, 0),
                ("auth_outbox_mails", {}, 1)):
            expected[name, frozenset(labels.items())] = value

        def are_right(numbers: Numbers) -> bool:
            """Compare those that are still."""
            return {name: numbers[name] for name in expected} == expected
        for _ in range(200):
            assert all(map(are_right, all_at_once([workers.numbers] * 4)))
            if workers.have_shown() == 2:
                break
        assert workers.have_shown() == 2, "only one of them was asked"

        victim, file = sorted(workers.files("gauge_livesum").items())[0]
        os.kill(victim, signal.SIGKILL)
        workers.wait_for(lambda: not file.exists())
        assert are_right(workers.numbers())
        assert "Traceback" not in workers.log()

    def test_serve_though_nothing_can_be_kept(
            self, workers: Workers) -> None:
        """Somebody cleared the folder away: numbers go, visitors do not."""
        workers.ask("GET", "/")
        shutil.rmtree(str(workers.sums))
        for _ in range(4):
            assert workers.ask("GET", "/profile").status == 403
        assert workers.ask("POST", "/users", email=EMAIL,
                           password=PASSWORD).status == 200
        answer = workers.ask("GET", "/metrics", BEARER)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert "Traceback" not in workers.log()


def test_number_that_cannot_be_kept_is_lost_and_nothing_else(
        tmp_path: Path) -> None:
    """The folder went before any of them made its file."""
    (tmp_path / "sums").mkdir()
    done = in_process(tmp_path, str(tmp_path / "sums"), COUNTS + """
shutil.rmtree("sums")
counts.answered("/", "GET", 200, 1)
counts.happened("session.opened", "")
counts.throttled("login:account")
counts.hashes_are(1, 2)
counts.shed(False)
print("served")
""")
    assert done.printed == "served\n"


class TestForgetWorker:
    """What a dead process was doing."""

    def test_leaves_the_sums_while_what_it_counted_stays(
            self, tmp_path: Path) -> None:
        """One was killed in the middle of a hash."""
        died = in_process(tmp_path, str(tmp_path), COUNTS + """
counts.hashes_are(0, 1)
counts.throttled("login:account")
os.kill(os.getpid(), 9)
""")
        after = in_process(tmp_path, str(tmp_path), COUNTS + """
print(counts.text({{}}).decode(), "====")
forget_worker({})
print(counts.text({{}}).decode())
""".format(died.pid))
        hash_line, lane_line = (
            'auth_hashes{state="in_use"} 1.0',
            'auth_throttled_total{lane="login:account"} 1.0')
        before, _, since = after.printed.partition("====")
        assert (hash_line in before, lane_line in before) == (True, True)
        assert (hash_line in since, lane_line in since) == (False, True)

    @pytest.mark.parametrize("call", ["forget_worker(7)", "start_over()"])
    def test_hooks_may_stay_when_the_folder_goes(
            self, tmp_path: Path, call: str) -> None:
        """They do nothing where there is one process, nor in its folder."""
        (tmp_path / "counter_7.db").touch()
        (tmp_path / "gauge_livesum_7.db").touch()
        in_process(tmp_path, "", call)
        assert len(list(tmp_path.iterdir())) == 2


def test_empty_variable_is_none(tmp_path: Path) -> None:
    """The library would write into the working folder."""
    done = in_process(tmp_path, "", COUNTS + """
counts.throttled("login:account")
print(counts.text({}).decode())
""")
    assert 'auth_throttled_total{lane="login:account"} 1.0' in done.printed
    assert list(tmp_path.iterdir()) == []


def test_services_of_one_process_count_apart(
        safe_settings: Settings) -> None:
    """Nothing is shared but what is handed on."""
    one, other = Metrics(safe_settings), Metrics(safe_settings)
    one.happened("session.opened", "")
    assert b"session.opened" in one.text({})
    assert b"session.opened" not in other.text({})
