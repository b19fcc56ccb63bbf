#!/usr/bin/env python3
"""The service from a terminal: what it says, and how it exits."""
from __future__ import annotations

import dataclasses
import importlib
import os
import signal
import smtplib
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest
from click.testing import Result

import mail.outbox
import mail.sender
from app import create_app
from audit import Caller, Fact, Trail
from auth import MANY_REQUESTS, Auth
from cli import refusal, start_sender
from db import DB
from mail.outbox import LATE
from mail.sender import Sender
from mail.transports import Send
from models import RESET, MailToken, Outgoing
from settings import DAY, BadSettings, Settings
from tests.helpers import EMAIL, PRODUCTION, ROOT, Clock, Mailbox
from tests.smtp_server import SmtpServer

# By `import cli.mail` one would get the group of that name.
MAIL = importlib.import_module("cli.mail")
SECRETS = dict(
    mail_url="smtps://postmaster:hunter2@mail.example.com",
    pepper="canary-pepper-" * 3, pepper_old=("canary-older-" * 3,))
WELL = "All is well."
NAMES = sorted(each.metadata["name"]
               for each in dataclasses.fields(Settings))
CROWD = ["user{}@me.com".format(number) for number in range(5)]


def run(auth: Auth, *words: str) -> Result:
    """Run a command of `flask` on a service."""
    return create_app(auth).test_cli_runner().invoke(args=words)


def names_in(text: str) -> List[str]:
    """Return the settings that a text shows, in order."""
    return [line.partition("=")[0] for line in text.splitlines()
            if line.partition("=")[0] in NAMES and "=" in line]


@pytest.fixture
def crowd(db: DB, safe: Auth) -> List[str]:
    """People who all wait for a mail."""
    with db.transaction():
        for each in CROWD:
            db.add_user(each, "x")
            safe.request_reset(each)
    return CROWD


@pytest.fixture
def given_up(db: DB, clock: Clock) -> None:
    """A mail that nobody tries to send any more."""
    db.add_user(EMAIL, "x")
    db.add(Outgoing(purpose=RESET, email=EMAIL, detail="",
                    queued_at=clock.now, due_at=None, tries=9))


class TestDoctor:
    """`flask doctor`: what is in effect, and what is wrong with it."""

    @pytest.mark.parametrize("mode", ["auth", "safe"])
    def test_all_is_well(self, request: Any, mode: str) -> None:
        """Every setting, and a word of comfort to scripts and people."""
        result = run(request.getfixturevalue(mode), "doctor")
        assert result.exit_code == 0
        assert names_in(result.output) == NAMES
        assert result.output.endswith("\n" + WELL + "\n")

    def test_settings_are_those_in_effect(
            self, db: DB, safe_settings: Settings) -> None:
        """Spelled as in the environment."""
        changed = dataclasses.replace(
            safe_settings, port=8099, require_verified=False,
            trusted_hosts=frozenset(("b.example", "a.example")))
        lines = run(Auth(db, changed), "doctor").output.splitlines()
        for line in ("AUTH_ENV=production", "PORT=8099",
                     "REQUIRE_VERIFIED=0", "MAIL_ADDRESS_LIMIT=3/1h",
                     "TRUSTED_HOSTS=a.example,b.example",
                     "PUBLIC_URL=https://auth.example.com"):
            assert line in lines

    def test_secrets_are_masked(
            self, db: DB, safe_settings: Settings) -> None:
        """People paste this into tickets (ASVS 16.2.5)."""
        changes: Any = SECRETS
        output = run(Auth(db, dataclasses.replace(
            safe_settings, **changes)), "doctor").output
        assert "canary" not in output and "hunter2" not in output
        lines = output.splitlines()
        assert "PEPPER=***" in lines and "PEPPER_OLD=***" in lines
        assert "MAIL_URL=smtps://postmaster:***@mail.example.com" in lines

    @pytest.mark.usefixtures("given_up")
    def test_mails_were_given_up(self, safe: Auth) -> None:
        """Named with the way out, and a failure to scripts."""
        result = run(safe, "doctor")
        assert result.exit_code == 1
        assert names_in(result.output) == NAMES
        assert result.output.endswith(
            "\nMails that were given up: 1. Mend MAIL_URL, then run "
            "`flask mail retry`.\n")

    @pytest.mark.parametrize("tries, warned", [(1, False), (2, True)])
    def test_mails_are_not_taken(self, db: DB, safe: Auth, clock: Clock,
                                 tries: int, warned: bool) -> None:
        """Long before they are given up; a server may hiccup once."""
        db.add(Outgoing(purpose=RESET, email=EMAIL, detail="", tries=tries,
                        queued_at=clock.now, due_at=clock.now + 9))
        result = run(safe, "doctor")
        assert ("\nMails that were tried and not taken: 1. The log says why, "
                "as mail.delayed.\n" in result.output) == warned
        assert result.exit_code == int(warned)

    @pytest.mark.parametrize("seconds, warned", [
        (LATE, False), (LATE + 1, True)])
    def test_nobody_sends(
            self, safe: Auth, crowd: List[str], clock: Clock, seconds: int,
            warned: bool) -> None:
        """With MAIL_IN_SERVER=0 it is easy to forget the sender."""
        clock.advance(seconds)
        result = run(safe, "doctor")
        assert ("\nMails that are due and nobody sends: 5. `make serve` and "
                "`make run` do, if MAIL_IN_SERVER is 1, and `flask mail send "
                "--watch`.\n" in result.output) == warned
        assert result.exit_code == int(warned)

    def test_a_mail_that_is_tried_is_not_late(
            self, db: DB, safe: Auth, clock: Clock) -> None:
        """Somebody sends, though slowly; the server dawdles."""
        db.add(Outgoing(purpose=RESET, email=EMAIL, detail="", tries=1,
                        queued_at=clock.now, due_at=clock.now))
        clock.advance(DAY)
        assert run(safe, "doctor").exit_code == 0

    def test_database_cannot_be_reached(
            self, safe_settings: Settings, tmp_path: Path) -> None:
        """The settings are shown all the same: the reason is in them."""
        url = "sqlite:///{}".format(tmp_path / "nowhere" / "test.db")
        store = DB(url)
        result = run(Auth(store, dataclasses.replace(
            safe_settings, database_url=url)), "doctor")
        assert result.exit_code == 1
        assert names_in(result.output) == NAMES
        assert "DATABASE_URL=" + url in result.output.splitlines()
        assert result.output.endswith("\nThe database cannot be used: {}: No "
                                      "such file or directory.\n".format(
                                          url[len("sqlite:///"):]))
        assert WELL not in result.output
        assert "Traceback" not in result.output


class TestDoctorOnProxies:
    """A proxy that nobody declared makes all visitors one."""

    SAID = "Everything that is recorded of the last day came from " \
           "203.0.113.7: "

    @pytest.fixture
    def visit(self, db: DB, clock: Clock) -> Callable[..., None]:
        """Have so many requests come from a network."""
        def record(count: int, network: str = "203.0.113.7") -> None:
            """Write down that somebody was refused."""
            with Trail(db).recorded(
                    int(clock.now), Caller(network=network)) as told:
                for _ in range(count):
                    told(Fact.LOGIN_REFUSED)
        return record

    def test_all_from_one(
            self, safe: Auth, visit: Callable[..., None]) -> None:
        """Named, with the setting that mends it."""
        visit(MANY_REQUESTS + 1)
        assert safe.warnings() == [
            self.SAID + "if a proxy stands in front, set "
            "TRUSTED_PROXIES, or all visitors share one count of attempts."]
        assert run(safe, "doctor").exit_code == 1

    def test_too_few_to_tell(
            self, safe: Auth, visit: Callable[..., None]) -> None:
        """One person who tries it out is no proxy."""
        visit(MANY_REQUESTS - 1)
        assert run(safe, "doctor").exit_code == 0

    def test_proxy_is_declared(
            self, db: DB, safe_settings: Settings, clock: Clock,
            visit: Callable[..., None]) -> None:
        """Then it is one visitor indeed."""
        visit(MANY_REQUESTS)
        declared = dataclasses.replace(safe_settings, trusted_proxies=1)
        result = run(Auth(db, declared, clock), "doctor")
        assert (result.exit_code, self.SAID in result.output) == (0, False)

    def test_a_desk_is_one_visitor(
            self, auth: Auth, visit: Callable[..., None]) -> None:
        """The development mode answers this machine alone."""
        visit(MANY_REQUESTS)
        assert run(auth, "doctor").exit_code == 0

    def test_from_two(self, safe: Auth, visit: Callable[..., None]) -> None:
        """A second network shows that networks are told apart."""
        visit(MANY_REQUESTS)
        visit(1, "198.51.100.1")
        assert run(safe, "doctor").exit_code == 0

    def test_newest_of_many_is_from_a_second(
            self, safe: Auth, visit: Callable[..., None]) -> None:
        """However many came from the first; "every" means every one."""
        visit(1000)
        visit(1, "198.51.100.1")
        assert run(safe, "doctor").exit_code == 0

    def test_what_has_no_network_counts_neither_way(
            self, safe: Auth, visit: Callable[..., None]) -> None:
        """Facts of the sender or a terminal come from nowhere."""
        visit(MANY_REQUESTS - 1)
        visit(1, "")
        assert run(safe, "doctor").exit_code == 0
        visit(1)
        assert run(safe, "doctor").exit_code == 1

    def test_yesterday_is_forgotten(
            self, safe: Auth, clock: Clock,
            visit: Callable[..., None]) -> None:
        """Once it is mended, the warning ends within a day."""
        visit(MANY_REQUESTS)
        clock.advance(DAY)
        assert run(safe, "doctor").exit_code == 0


class Picky(Mailbox):
    """A mailbox that refuses the mails to some."""

    refused: Tuple[str, ...] = ()

    @contextmanager
    def connection(self) -> Iterator[Send]:
        """Take mails, but not these."""
        with super().connection() as take:
            def send(message: Any, email: str) -> None:
                """Take one mail, unless it is refused."""
                if email in self.refused:
                    raise smtplib.SMTPRecipientsRefused({})
                take(message, email)
            yield send


class TestMailSend:
    """`flask mail send`, for a scheduler or for ever."""

    @pytest.fixture(autouse=True)
    def small_rounds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have five mails be more than one round, and rounds be quick."""
        monkeypatch.setattr(mail.outbox, "BATCH", 2)
        monkeypatch.setattr(mail.sender, "ROUND_SECONDS", 0)

    @pytest.fixture
    def mailbox(self) -> Picky:
        """Where all mails arrive that are not refused."""
        return Picky()

    def test_sends_all_that_is_due(self, safe: Auth, mailbox: Mailbox,
                                   crowd: List[str]) -> None:
        """Not one batch only, and nothing the second time."""
        result = run(safe, "mail", "send")
        assert (result.exit_code, result.output) \
            == (0, "Mails dealt with: 5.\n")
        assert [email for email, _ in mailbox.mails] == crowd
        assert run(safe, "mail", "send").output == "Mails dealt with: 0.\n"

    def test_clears_away_what_is_old(
            self, safe: Auth, db: DB, crowd: List[str],
            clock: Clock) -> None:
        """No server does where MAIL_IN_SERVER is 0 and cron sends."""
        run(safe, "mail", "send")
        assert len(db.find_all(MailToken)) == len(crowd)
        clock.advance(DAY)
        run(safe, "mail", "send")
        assert db.find_all(MailToken) == []

    def test_goes_on_after_a_round_of_refusals(
            self, safe: Auth, mailbox: Picky, crowd: List[str]) -> None:
        """All of what is due, as it says; the refused are not due again."""
        mailbox.refused = tuple(crowd[:2])
        result = run(safe, "mail", "send")
        assert [email for email, _ in mailbox.mails] == crowd[2:]
        assert result.output.endswith("Mails dealt with: 3.\n")

    def test_ends_when_nobody_takes_mail(
            self, safe: Auth, mailbox: Mailbox, crowd: List[str]) -> None:
        """The scheduler comes again."""
        mailbox.broken = ConnectionRefusedError()
        result = run(safe, "mail", "send")
        assert result.exit_code == 0
        assert result.output.endswith("Mails dealt with: 0.\n")

    def test_log_is_set_up_as_in_the_server(
            self, safe: Auth, auth: Auth,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Lines of JSON in production; what failed is to be read there."""
        asked: List[bool] = []
        monkeypatch.setattr(MAIL, "configure", asked.append)
        run(safe, "mail", "send")
        run(auth, "mail", "send")
        assert asked == [True, False]

    def test_watch_goes_on_until_stopped(
            self, safe: Auth, mailbox: Mailbox, crowd: List[str],
            monkeypatch: pytest.MonkeyPatch) -> None:
        """What is asked for meanwhile goes too, and old rows are swept."""
        swept: List[str] = []

        class Watch(Sender):
            """A sender that ends its process after some rounds."""

            def __init__(self, deliver: Callable[[], int],
                         sweep: Callable[[], object],
                         release: Callable[[float], int]) -> None:
                """Count the rounds of this one."""
                self.rounds = 0

                def some_rounds() -> int:
                    """Deliver; ask for a mail in the fourth round."""
                    self.rounds += 1
                    if self.rounds == 4:
                        assert len(mailbox.mails) == 5
                        safe.request_reset(crowd[0])
                    if self.rounds == 6:
                        os.kill(os.getpid(), signal.SIGTERM)
                    return deliver()
                super().__init__(
                    some_rounds, lambda: swept.append("once"), release)
                assert (sweep, release) == (safe.sweep, safe.release_mail)
        monkeypatch.setattr(MAIL, "Sender", Watch)
        result = run(safe, "mail", "send", "--watch")
        assert result.exit_code == 0, result.output
        assert [email for email, _ in mailbox.mails] == crowd + crowd[:1]
        assert swept == ["once"]


class TestMailRetry:
    """`flask mail retry`, once MAIL_URL is mended."""

    @pytest.mark.usefixtures("given_up")
    def test_revives_what_was_given_up(
            self, safe: Auth, mailbox: Mailbox) -> None:
        """And says how many; then they are sent like all others."""
        result = run(safe, "mail", "retry")
        assert (result.exit_code, result.output) \
            == (0, "Mails due again: 1.\n")
        assert run(safe, "mail", "retry").output \
            == "Mails due again: 0.\n"
        run(safe, "mail", "send")
        assert [email for email, _ in mailbox.mails] == [EMAIL]


class TestStartSender:
    """The sender inside a server."""

    @pytest.mark.parametrize("inside", [True, False])
    def test_is_a_setting(
            self, db: DB, safe_settings: Settings, inside: bool,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """MAIL_IN_SERVER=0 leaves it to `flask mail send --watch`."""
        started: List[Tuple[Any, ...]] = []

        class Noted(Sender):
            """A sender that only says that it was started."""

            def __init__(self, *work: Any) -> None:
                """Keep what it is to do."""
                super().__init__(*work)
                self.work = work

            def start(self) -> None:
                """Note that it was."""
                started.append(self.work)
        monkeypatch.setattr(MAIL, "Sender", Noted)
        safe = Auth(db, dataclasses.replace(
            safe_settings, mail_in_server=inside))
        start_sender(safe)
        assert started == (
            [(safe.deliver_mail, safe.sweep, safe.release_mail)]
            if inside else [])


class TestRefusal:
    """Why the service does not start."""

    ERROR = BadSettings(["Set A.", "Set B."], Settings())

    @pytest.mark.parametrize("words", [
        ["app.py"], ["flask", "run"], ["gunicorn", "app:app"],
        ["/opt/doctor", "run"]])
    def test_is_every_reason_and_nothing_else(
            self, monkeypatch: pytest.MonkeyPatch,
            words: List[str]) -> None:
        """A log is no place for the settings."""
        monkeypatch.setattr(sys, "argv", words)
        assert refusal(self.ERROR) \
            == "Bienvenue does not start.\nSet A.\nSet B."

    def test_shows_the_settings_to_the_doctor(
            self, monkeypatch: pytest.MonkeyPatch) -> None:
        """He cannot be called without the app, which does not load."""
        monkeypatch.setattr(sys, "argv", ["flask", "doctor"])
        said = refusal(self.ERROR)
        assert names_in(said) == NAMES
        assert said.endswith("\nSet A.\nSet B.")


class Process:
    """`python -m flask` in the project's folder; warnings are errors.

    It gets these variables, and none of this process that set the service;
    nor those of a developer's own .env.
    """

    def __init__(self, folder: Path, *words: str, **environ: str) -> None:
        """Start it; what it prints goes to a file in this folder."""
        self._printed = folder / "printed.txt"
        inherited = {name: value for name, value in os.environ.items()
                     if name not in NAMES}
        with self._printed.open("wb") as printed:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "flask"] + list(words),
                cwd=str(ROOT), env=dict(
                    inherited, FLASK_SKIP_DOTENV="1", **environ),
                stdout=printed, stderr=subprocess.STDOUT)

    def __enter__(self) -> Process:
        """Lend the process."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, if it has not ended itself."""
        self._process.kill()
        self._process.wait()

    def printed(self) -> str:
        """Return what it printed so far."""
        return self._printed.read_text()

    def prints(self, text: str) -> None:
        """Wait until it has printed this."""
        deadline = time.monotonic() + 60
        while text not in self.printed():
            assert self._process.poll() is None, self.printed()
            assert time.monotonic() < deadline, self.printed()
            time.sleep(0.01)

    def tell(self, number: int) -> None:
        """Send a signal: press Ctrl+C, or be a supervisor."""
        self._process.send_signal(number)

    def ends(self) -> int:
        """Wait until it has ended, without a traceback; return its code."""
        code = self._process.wait(60)
        assert "Traceback" not in self.printed()
        return code


@pytest.mark.one_database
class TestProcess:
    """The commands as people start them."""

    def test_settings_are_read_from_the_folder(self, tmp_path: Path) -> None:
        """As `make run` reads them; what is set outside goes before."""
        (tmp_path / ".env").write_text(
            "# A comment\nPORT=8123\nSERVICE_NAME='Acme Login'\n"
            "SESSION_IDLE=3d\n")
        inherited = {name: value for name, value in os.environ.items()
                     if name not in NAMES}
        environ = dict(
            inherited, SESSION_IDLE="2d", FLASK_APP=str(ROOT / "app.py"),
            DATABASE_URL="sqlite:///{}".format(tmp_path / "b.db"))
        printed = subprocess.run(
            [sys.executable, "-W", "error", "-m", "flask", "doctor"],
            cwd=str(tmp_path), env=environ, stdout=subprocess.PIPE,
            universal_newlines=True, timeout=60, check=True).stdout
        for line in ("PORT=8123", "SERVICE_NAME=Acme Login",
                     "SESSION_IDLE=2d"):
            assert line in printed.splitlines()

    def test_doctor_lists_all_that_is_missing(self, tmp_path: Path) -> None:
        """One look is enough, and it is no crash."""
        with Process(tmp_path, "doctor", AUTH_ENV="production") as process:
            assert process.ends() not in (0, None)
        assert names_in(process.printed()) == NAMES
        for name in ("DATABASE_URL", "PUBLIC_URL", "LANDING_URL", "MAIL_URL",
                     "MAIL_FROM"):
            assert "\nSet {} to ".format(name) in process.printed()

    def test_doctor_names_a_secret_that_cannot_be_read(
            self, tmp_path: Path) -> None:
        """And goes on with the other settings; those of secrets are safe."""
        with Process(tmp_path, "doctor", PORT="nonsense",
                     PEPPER_FILE=str(tmp_path / "no-such-secret"),
                     MAIL_URL="smtp://u:canary@mail.example.com") as process:
            assert process.ends() not in (0, None)
        printed = process.printed()
        assert names_in(printed) == NAMES
        assert "canary" not in printed
        assert "PEPPER_FILE names a file that cannot be read" in printed
        assert "\nPORT must be a whole number" in printed

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_watch_sends_until_it_is_told_to_end(
            self, tmp_path: Path, number: int) -> None:
        """And leaves without a traceback."""
        url = "sqlite:///{}".format(tmp_path / "watch.db")
        store = DB(url)
        store.add_user(EMAIL, "x")
        Auth(store, Settings()).request_reset(EMAIL)
        store.close()
        environ = dict(to_environ(), DATABASE_URL=url)
        with SmtpServer() as server:
            with Process(tmp_path, "mail", "send", "--watch",
                         MAIL_URL=server.url, **environ) as process:
                process.prints('"fact": "mail.sent"')
                process.tell(number)
                assert process.ends() == 0
            assert len(server.to(EMAIL)) == 1


def to_environ() -> Dict[str, str]:
    """Return the variables of the production mode, but for MAIL_URL."""
    return {each.metadata["name"]: PRODUCTION[each.name]
            for each in dataclasses.fields(Settings)
            if each.name in PRODUCTION and each.name != "mail_url"}
