#!/usr/bin/env python3
"""The README's console blocks, run word for word against a real server.

Whoever copies a command sees what the page shows, so the page cannot lie.
"""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, List

import pytest

from tests.helpers import ROOT, Server

pytestmark = pytest.mark.one_database
PLACE = "localhost:5000"
UUID = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
# The only parts of an answer that may differ from the page.
DATE = re.compile(r"(Date: |Expires=)[^;\n]+")
# What a reader types that is not a request: these start a server or walk the
# whole journey, which other tests do.
OTHER_COMMANDS = re.compile(r"(make [a-z0-9-]+|python3 (app|main)\.py)\Z")
FEWEST_REQUESTS = 8


class Command:
    """Something a reader types, and what the page says comes back."""

    def __init__(self, line: int, text: str) -> None:
        """Start at this line of the page; the output is to follow."""
        self.line = line
        self.text = text
        self.output: List[str] = []


def console_commands(page: str) -> List[Command]:
    """Return the commands of every block tagged `console`, in order.

    A command starts with `$ ` and goes on after a backslash; the lines up to
    the next one, or to the end of the block, are its output.
    """
    commands: List[Command] = []
    inside = False
    for number, line in enumerate(page.splitlines(), 1):
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and commands and commands[-1].text.endswith("\\"):
            commands[-1].text += "\n" + line
        elif inside and line.startswith("$ "):
            commands.append(Command(number, line[2:]))
        elif inside:
            commands[-1].output.append(line)
    return commands


class Reader:
    """Somebody who types what the README says, one command after another.

    Remembers which token the server gave where the page shows one, and uses
    it wherever the page does.
    """

    def __init__(self, place: str, folder: Path) -> None:
        """Work in a folder of their own, with the server at `place`."""
        self.place = place
        self.folder = folder
        self.tokens: Dict[str, str] = {}

    def types(self, command: Command) -> List[str]:
        """Run a command and return the lines it prints."""
        # A developer's own curl settings and proxies are not the page's.
        environ = dict(os.environ, HOME=str(self.folder),
                       CURL_HOME=str(self.folder), no_proxy="*")
        done = subprocess.run(
            ["bash", "-c", self.translated(command.text)], timeout=60,
            cwd=str(self.folder), env=environ, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, universal_newlines=True)
        assert done.returncode == 0, "README.md:{}: {}".format(
            command.line, done.stderr)
        return done.stdout.splitlines()

    def expects(self, command: Command, seen: List[str]) -> List[str]:
        """Return the page's output in terms of what this server gave."""
        shown = "\n".join(command.output)
        for token, given in zip(
                UUID.findall(shown), UUID.findall("\n".join(seen))):
            self.tokens.setdefault(token, given)
        return self.translated(shown).splitlines()

    def translated(self, text: str) -> str:
        """Replace the page's address and tokens by the real ones."""
        return UUID.sub(
            lambda match: self.tokens.get(match.group(), match.group()),
            text.replace(PLACE, self.place))


def undated(lines: List[str]) -> List[str]:
    """Leave out dates, in the two places where an answer has them."""
    return [DATE.sub(r"\1...", line) for line in lines]


@pytest.fixture
def commands() -> List[Command]:
    """What the README makes its reader type."""
    return console_commands((ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.fixture
def requests(commands: List[Command]) -> List[Command]:
    """Those commands that ask the server something."""
    return [each for each in commands if each.text.startswith("curl ")]


@pytest.fixture
def reader(start_server: Callable[[], Server], tmp_path: Path) -> Reader:
    """Somebody with a fresh server and an empty folder."""
    folder = tmp_path / "reader"
    folder.mkdir()
    return Reader(start_server().url[len("http://"):], folder)


def test_page_shows_enough_requests(requests: List[Command]) -> None:
    """An empty README would keep every other promise here."""
    assert len(requests) >= FEWEST_REQUESTS


def test_requests_name_the_local_server(requests: List[Command]) -> None:
    """None of them leaves this machine."""
    assert [each.text for each in requests if PLACE not in each.text] == []


def test_other_commands_are_known(commands: List[Command]) -> None:
    """Nothing is left out of the run without a rule."""
    others = [each.text for each in commands
              if not each.text.startswith("curl ")]
    assert [each for each in others if not OTHER_COMMANDS.match(each)] == []


def test_requests_print_what_the_page_shows(
        requests: List[Command], reader: Reader) -> None:
    """All in order, on one server, as a reader would; the first lie stops."""
    for command in requests:
        seen = reader.types(command)
        expected = reader.expects(command, seen)
        assert undated(seen) == undated(expected), (
            "README.md:{}: {}".format(command.line, command.text))
    real = list(reader.tokens.values())
    assert len(set(real)) == len(real), "the page tells two tokens apart"


def test_python_example_prints_the_address(tmp_path: Path) -> None:
    """The block tagged `python` is a program that runs as it stands."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    program, = re.findall(r"```python\n(.*?)```", page, re.S)
    url = "sqlite:///{}".format(tmp_path / "example.db")
    printed = subprocess.check_output(
        [sys.executable, "-W", "error", "-c", program], cwd=str(ROOT),
        env=dict(os.environ, DATABASE_URL=url), universal_newlines=True)
    assert printed == "bob@me.com\n"


# -- The reading itself

PAGE = """
```
$ curl untagged
```
```console
$ curl -d a=1 \\
    localhost:5000/a
{"a":1}

$ make run
```
$ curl outside
```console
$ curl b
```
"""


def test_commands_are_found_with_their_lines() -> None:
    """Only in tagged blocks, and a backslash joins."""
    assert [(each.line, each.text) for each in console_commands(PAGE)] == [
        (6, "curl -d a=1 \\\n    localhost:5000/a"), (10, "make run"),
        (14, "curl b")]


def test_output_ends_at_the_next_command_or_block() -> None:
    """Blank lines count, because the comparison is exact."""
    outputs = [each.output for each in console_commands(PAGE)]
    assert outputs == [['{"a":1}', ""], [], []]


def test_token_of_the_page_becomes_the_servers(tmp_path: Path) -> None:
    """Bound where it is first seen, and used from then on."""
    shown, given = (digit * 8 + "-1111-4111-8111-111111111111"
                    for digit in "ab")
    reader, command = Reader("here:1", tmp_path), Command(1, "curl")
    command.output = ["token " + shown]
    assert reader.expects(command, ["token " + given]) == ["token " + given]
    assert reader.translated(PLACE + "/" + shown) == "here:1/" + given


def test_dates_are_left_out_in_two_places_only() -> None:
    """A date anywhere else is part of the answer."""
    assert undated(["Date: Sun, 1 Nov", "a; Expires=Mon; b", "at 2026"]) == [
        "Date: ...", "a; Expires=...; b", "at 2026"]
