#!/usr/bin/env python3
"""What all commands have in common: how they speak, ask, and make one wait."""
from __future__ import annotations

import errno
import importlib
import io
import re
import socket
import sys
import time
from pathlib import Path
from typing import Any, Callable, List

import click
import pytest
from click.testing import CliRunner
from flask.cli import FlaskGroup

import cli.common
from app import create_app
from auth import Auth
from cli import COMMANDS, demand_port, is_command, no_door
from cli.common import cause_of, out_of_order, painted, sentence, waiting
from errors import NotMigrated, Unavailable
from tests.cli.conftest import Terminal
from tests.helpers import EMAIL

GREEN = "\x1b[32mfine\x1b[0m"


class Screen(io.StringIO):
    """A terminal, as far as a program can tell."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True


class TestHelp:
    """What `--help` prints, in words of people."""

    @pytest.mark.parametrize("words", [
        [str(command.name)] + below for command in COMMANDS
        for below in [[]] + [[name] for name in getattr(
            command, "commands", {})]], ids=" ".join)
    def test_is_whole_and_plain(
            self, desk: Terminal, words: List[str]) -> None:
        """No sentence is cut off, and no bound is a formula."""
        text = desk.types(*words, "--help").stdout
        assert text.startswith("Usage: ")
        assert "..." not in text.partition("\n")[2]
        assert not re.search("INTEGER|RANGE|<=x", text)

    def test_of_flask_shows_whole_sentences(self, auth: Auth) -> None:
        """Each of our groups and commands in a line."""
        text = create_app(auth).test_cli_runner().invoke(args=["--help"])
        for command in COMMANDS:
            line, = re.findall("^  {} .*$".format(command.name), text.output,
                               re.M)
            assert line.endswith(".") and not line.endswith("...")


class TestNumbers:
    """Options that take a number."""

    @pytest.mark.parametrize("text", ["0", "10001", "-1", "x", "1.5", "",
                                      "\u0661", "9" * 30])
    def test_out_of_bounds(self, desk: Terminal, text: str) -> None:
        """The bounds are told, in a sentence."""
        result = desk.types("users", "list", "--limit", text)
        assert result.exit_code == 2
        assert result.stderr.endswith(
            "{!r} is no whole number from 1 to 10000.\n".format(text))

    @pytest.mark.parametrize("text", ["1", "10000", "007"])
    def test_within_bounds(self, desk: Terminal, text: str) -> None:
        """Both bounds are included."""
        assert desk.types("users", "list", "--limit", text).exit_code == 0


class TestIsCommand:
    """Whether the app is loaded to serve, which has to be warned of."""

    @pytest.mark.parametrize("command, words, expected", [
        (FlaskGroup(), ["flask", "users", "list"], True),
        (FlaskGroup(), ["flask", "run"], False),
        (click.Group(), ["granian", "app:app"], False)])
    def test_is_told_by_the_command(
            self, command: Any, words: List[str], expected: bool,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Servers have commands of their own, and flask has one."""
        monkeypatch.setattr(sys, "argv", words)
        with click.Context(command):
            assert is_command() is expected

    def test_without_a_command(self) -> None:
        """As app.py is started, or imported."""
        assert is_command() is False


class TestSentences:
    """What the service refuses, for people."""

    @pytest.mark.parametrize("fault, said", [
        (Unavailable(), "The database cannot be used: the service is busy, "
                        "try again in a moment."),
        (NotMigrated("run `this`"), "Run `this`.")])
    def test_out_of_order(self, fault: Unavailable, said: str) -> None:
        """What to run goes before that something is wrong."""
        assert out_of_order(fault) == said

    @pytest.mark.parametrize("cause, said", [
        (OSError(errno.ENOENT, "No such file", "/a/b"), "/a/b: No such file"),
        (OSError("the file was moved"), "the file was moved"),
        (ValueError("gone\n\tIs it running?\n"), "gone; Is it running?")])
    def test_cause_is_one_line(self, cause: Exception, said: str) -> None:
        """A file goes before what is wrong with it."""
        fault = Unavailable()
        fault.__cause__ = cause
        assert cause_of(fault) == said

    @pytest.mark.parametrize("text, said", [
        ("no such session", "No such session."), ("Done.", "Done."),
        ("is it running?", "Is it running?")])
    def test_sentence(self, text: str, said: str) -> None:
        """From the capital to the full stop, and one of each."""
        assert sentence(text) == said


class TestAsking:
    """Questions, where there may be nobody to answer."""

    @pytest.mark.parametrize("words, option", [
        (["users", "disable", EMAIL], "--yes"),
        (["users", "add", "eve@me.com"], "--password-stdin")])
    @pytest.mark.usefixtures("bob")
    def test_nobody_answers(
            self, terminal: Terminal, words: List[str], option: str,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """The way to go on without is named: in cron, in a container."""
        def give_up(*_: Any, **__: Any) -> None:
            """Find that there is nothing to read, as click does."""
            raise click.Abort()
        monkeypatch.setattr(click, "confirm", give_up)
        monkeypatch.setattr(click, "prompt", give_up)
        result = terminal.types(*words)
        assert result.exit_code == 1
        assert result.stderr.endswith(
            "say {}.\n".format(option)), result.stderr
        assert terminal.facts() == []

    @pytest.mark.usefixtures("bob")
    def test_no_is_an_answer(self, terminal: Terminal) -> None:
        """Nothing is done, and nothing explained."""
        result = terminal.types("users", "disable", EMAIL, typed="n\n")
        assert (result.exit_code, "--yes" in result.stderr) == (1, False)
        assert result.stderr.endswith("Aborted!\n")


class TestWaiting:
    """What takes its time says so, to whoever looks on."""

    @pytest.fixture
    def look(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Screen]:
        """Look on, at a screen on which a second passes quickly."""
        def begin(tick: float = 0.001) -> Screen:
            """Return the screen."""
            screen = Screen()
            monkeypatch.setattr(sys, "stderr", screen)
            monkeypatch.setattr(cli.common, "TICK", tick)
            return screen
        return begin

    def shows(self, screen: Screen, text: str) -> bool:
        """Tell whether this is on the screen before long."""
        deadline = time.monotonic() + 20
        while text not in screen.getvalue() and time.monotonic() < deadline:
            time.sleep(0.001)
        return text in screen.getvalue()

    def test_counts_seconds_in_one_line(
            self, look: Callable[..., Screen]) -> None:
        """Written over, and left standing at the end."""
        screen = look()
        with waiting("Copying"):
            assert self.shows(screen, "\rCopying: 0 s")
        assert screen.getvalue().count("\n") == 1
        assert screen.getvalue().endswith("s\n")

    def test_says_what_is_going_on_now(
            self, look: Callable[..., Screen]) -> None:
        """Nothing is left of a longer name before."""
        screen = look()
        with waiting("Moving everything") as now:
            assert self.shows(screen, "\rMoving everything: ")
            now("Users")
            assert self.shows(screen, "s            ")
        assert "\rUsers: " in screen.getvalue()

    def test_what_is_quick_says_nothing(
            self, look: Callable[..., Screen]) -> None:
        """Nothing flickers by."""
        screen = look(60)
        with waiting("Copying"):
            pass
        assert screen.getvalue() == ""

    def test_nobody_looks_on(
            self, look: Callable[..., Screen],
            monkeypatch: pytest.MonkeyPatch) -> None:
        """A log is no place for it."""
        screen = look()
        monkeypatch.setattr(cli.common, "is_watched", lambda: False)
        with waiting("Copying"):
            time.sleep(0.05)
        assert screen.getvalue() == ""

    def test_ends_with_what_it_is_about(
            self, look: Callable[..., Screen]) -> None:
        """However that ends."""
        screen = look()
        with pytest.raises(KeyboardInterrupt), waiting("Copying"):
            assert self.shows(screen, "Copying")
            raise KeyboardInterrupt
        said = screen.getvalue()
        time.sleep(0.05)
        assert screen.getvalue() == said

    @pytest.mark.parametrize("words", [
        ["db", "upgrade"], ["db", "backup", "{}/copy.db"], ["purge"],
        ["db", "move", "--to", "sqlite:///{}/new.db"],
        ["sessions", "end", "--all", "--yes"], ["doctor", "--leak-drill"]],
        ids=lambda words: "-".join(words[:2]))
    def test_long_commands_say_so(
            self, terminal: Terminal, words: List[str], tmp_path: Path,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """All that a million users would make long."""
        names: List[str] = []

        def note(label: str) -> Any:
            """Keep what is said to be going on."""
            names.append(label)
            return waiting(label)
        for module in ("database", "doctor", "sessions"):
            monkeypatch.setattr(importlib.import_module("cli." + module),
                                "waiting", note)
        terminal.types(*[each.format(tmp_path) for each in words])
        assert len(names) == 1


class TestColours:
    """Only on a terminal, and only for who wants them."""

    @pytest.fixture(autouse=True)
    def anywhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever the terminal of these tests is like."""
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")

    def test_on_a_terminal(self) -> None:
        """It helps to find the one line that matters."""
        assert painted("fine", "green", Screen()) == GREEN

    def test_in_a_file(self) -> None:
        """Nobody wants escapes there."""
        assert painted("fine", "green", io.StringIO()) == "fine"

    @pytest.mark.parametrize("name, value, colour", [
        ("NO_COLOR", "1", False), ("NO_COLOR", "", True),
        ("TERM", "dumb", False)])
    def test_for_who_wants_none(
            self, name: str, value: str, colour: bool,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """As no-color.org has it; an empty value is none."""
        monkeypatch.setenv(name, value)
        assert ("\x1b" in painted("fine", "green", Screen())) is colour

    @pytest.mark.parametrize("leak, code", [(False, 32), (True, 31)])
    def test_of_the_doctor(
            self, auth: Auth, leak: bool, code: int,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Green if all is well, red if not."""
        monkeypatch.setattr(auth, "warnings", lambda: ["Look."] * leak)
        doctor = importlib.import_module("cli.doctor")
        monkeypatch.setattr(doctor, "painted", lambda text, colour, _: painted(
            text, colour, Screen()))
        result = create_app(auth).test_cli_runner().invoke(
            args=["doctor"], color=True)
        assert result.output.splitlines()[-1] == "\x1b[{}m{}\x1b[0m".format(
            code, "Look." if leak else "All is well.")


class TestPort:
    """Where nobody can listen."""

    def test_taken(self) -> None:
        """By a program that does."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(SystemExit, match="Port {} of 127.0.0.1 is "
                               "taken: ".format(port)):
                demand_port("127.0.0.1", port)

    def test_free(self) -> None:
        """And still free afterwards."""
        for _ in range(2):
            demand_port("127.0.0.1", 0)

    def test_of_another_machine(self) -> None:
        """An address that is for examples only."""
        with pytest.raises(SystemExit, match="192.0.2.1 is no address of "
                           "this machine .*: set HOST to one"):
            demand_port("192.0.2.1", 0)

    @pytest.mark.parametrize("error, said", [
        (PermissionError(errno.EACCES, "Permission denied"),
         "This user may not listen on port 80: set PORT to 1024 or more."),
        (socket.gaierror(-2, "Name or service not known"),
         "nowhere is no address of this machine (Name or service not known): "
         "set HOST to one, as 127.0.0.1.")])
    def test_other_reasons(self, error: OSError, said: str) -> None:
        """Each with what to do."""
        assert no_door("nowhere", 80, error) \
            == "Bienvenue does not start.\n" + said


def test_runner_is_no_terminal() -> None:
    """What the tests of commands rest on."""
    @click.command()
    def tell() -> None:
        """Say whether anybody looks on."""
        click.echo(cli.common.is_watched())
    assert CliRunner().invoke(tell).output == "False\n"
