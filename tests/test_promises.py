#!/usr/bin/env python3
"""What the project says of itself, compared with what it is.

Pages, settings, errors and commands are written down twice by nature; here
the two cannot drift apart.
"""
from __future__ import annotations

import os
import re
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any, Dict, List, Tuple, Type

import click
import pytest

import errors
from app import STATUS, create_app
from auth import Auth
from cli import COMMANDS
from errors import AuthError
from settings import Settings
from tests.helpers import ROOT

ERRORS: List[Type[AuthError]] = [
    each for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, AuthError)]
RAISED = [each for each in ERRORS if each is not AuthError]
NAMES = [each.metadata["name"] for each in fields(Settings)]
every_error = pytest.mark.parametrize("error", RAISED)
every_setting = pytest.mark.parametrize("name", NAMES)


def page(name: str) -> str:
    """Return the text of a file at the root of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


# -- README.md

def routes_in_readme() -> List[Tuple[str, str]]:
    """Return every (method, path) in the first column of the route table."""
    table = page("README.md").partition("\n| Route |")[2].partition("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines()[1:]]
    return [pair for cell in cells
            for pair in re.findall(r"`([A-Z]+) (/[^`\s]*)`", cell)]


def routes_of(auth: Auth) -> List[Tuple[str, str]]:
    """Return every (method, path) that is answered, as a reader writes it.

    HEAD comes with GET. A converter's type (`<int:id>`) is of no interest to
    a client.
    """
    return [(method, re.sub(r"<\w+(\([^)]*\))?:", "<", rule.rule))
            for rule in create_app(auth).url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}]


def test_readme_lists_every_route_once_and_no_other(auth: Auth) -> None:
    """The endpoint table is what a client has instead of the source."""
    assert sorted(routes_in_readme()) == sorted(routes_of(auth))


@pytest.mark.parametrize("command", ["make run", "make test"])
def test_readme_says_the_command(command: str) -> None:
    """The two commands that a newcomer needs."""
    assert re.search(r"\b{}\b".format(command), page("README.md"))


def test_readme_settings_for_production_are_enough(tmp_path: Path) -> None:
    """Whoever follows that page has a service that starts, and is safe."""
    pepper = tmp_path / "pepper"
    pepper.write_text("p" * 32)
    block = page("README.md").partition("```sh\n")[2].partition("```")[0]
    environ = dict(line.split("=", 1) for line in block.splitlines())
    environ["PEPPER_FILE"] = str(pepper)
    folder = environ["DATABASE_URL"][len("sqlite:///"):].rpartition("/")[0]
    assert re.search("install -d .*{}\n".format(folder), page("README.md"))
    environ["DATABASE_URL"] = "sqlite:///{}/b.db".format(tmp_path)
    assert Settings.from_env(environ).production


def test_readme_names_files_that_exist() -> None:
    """A promise whose proof is missing is none."""
    named = re.findall(r"`([a-z_/]+\.py)`|\]\(([^)#:]+)\)", page("README.md"))
    missing = {name or link for name, link in named
               if not (ROOT / (name or link)).exists()}
    assert missing == set()


# -- Pages

def pages() -> List[str]:
    """Return the path of every page in Markdown.

    Found by walking, so that one nobody has committed yet counts too.
    """
    found: List[str] = []
    for folder, below, names in os.walk(str(ROOT)):
        below[:] = [each for each in below if not each.startswith(".")]
        found += [(Path(folder) / name).relative_to(ROOT).as_posix()
                  for name in names if name.endswith(".md")]
    return sorted(found)


def prose(name: str) -> str:
    """Return a page without its blocks, in which nothing is a link."""
    return re.sub(r"^```.*?^```", "", page(name), flags=re.M | re.S)


def anchor_of(heading: str) -> str:
    """Return what stands after # in a link to a heading, as by GitHub."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def anchors(name: str) -> List[str]:
    """Return every anchor of a page."""
    return [anchor_of(each)
            for each in re.findall(r"^#+ (.+)$", prose(name), re.M)]


def links(name: str) -> List[Tuple[Path, str]]:
    """Return the file and the anchor of every link to a place of ours."""
    found = re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", prose(name))
    return [((ROOT / name).parent / file if file else ROOT / name, anchor)
            for file, anchor in found]


@pytest.mark.once
@pytest.mark.parametrize("name", pages())
def test_links_lead_somewhere(name: str) -> None:
    """To a file that exists, and to a heading that it has."""
    lost = [(str(file), anchor) for file, anchor in links(name)
            if not file.exists() or anchor and anchor not in anchors(
                file.resolve().relative_to(ROOT).as_posix())]
    assert lost == []


@pytest.mark.once
def test_index_of_docs_lists_every_page() -> None:
    """What is not found is not read."""
    listed = {file.resolve() for file, _ in links("docs/README.md")}
    there = {(ROOT / name).resolve() for name in pages()
             if name.startswith("docs/") and name != "docs/README.md"}
    assert len(there) > 5 and there <= listed


@pytest.mark.once
@pytest.mark.parametrize("heading, anchor", [
    ("A container", "a-container"), ("Reading: `get`", "reading-get"),
    ("Known, or not?", "known-or-not"), ("forward-auth", "forward-auth")])
def test_anchor_is_spelled_as_by_github(heading: str, anchor: str) -> None:
    """Or a link would be right here and lead nowhere there."""
    assert anchor_of(heading) == anchor


# -- docs/security.md

def decisions() -> List[str]:
    """Return the anchors of docs/security.md, one for each decision."""
    return re.findall(r"^## ([a-z-]+)$", page("docs/security.md"), re.M)


def test_code_cites_every_security_decision_and_no_other() -> None:
    """A reader of the line that matters finds its reason."""
    sources = [path.read_text(encoding="utf-8") for path in ROOT.glob("*.py")]
    sources += [path.read_text(encoding="utf-8")
                for room in ("cli", "credentials", "deploy", "mail", "routes")
                for path in (ROOT / room).glob("*.py")]
    cited = re.findall(r"docs/security\.md#([a-z-]+)", "".join(sources))
    assert set(cited) == set(decisions())


def test_security_decisions_name_tests_that_exist() -> None:
    """What shows a decision can be run."""
    shown = re.findall(r"`(tests/[a-z_/]+\.py)(?:::(\w+))?(?:::(\w+))?`",
                       page("docs/security.md"))
    missing = [(name, word) for name, *words in shown for word in words
               if word not in page(name)]
    assert shown and missing == []


# -- docs/commands.md

def commands_of(auth: Auth) -> List[str]:
    """Return every command of ours, as it is typed."""
    ours = [each.name for each in COMMANDS]
    found = [(name, command) for name, command in
             create_app(auth).cli.commands.items() if name in ours]
    return ["flask " + " ".join([name] + below) for name, command in found
            for below in ([[each] for each in command.commands]
                          if isinstance(command, click.Group) else [[]])]


def test_page_of_commands_lists_every_one_and_no_other(auth: Auth) -> None:
    """What can be done is not only found by who knows that it can."""
    rows = re.findall(r"^\| `(flask [a-z ]+[a-z])[^`]*` \|",
                      page("docs/commands.md"), re.M)
    assert sorted(rows) == sorted(commands_of(auth))


def test_page_of_commands_lists_every_field_of_an_import(
        auth: Auth) -> None:
    """Those that are kept, in their order."""
    table = page("docs/commands.md").partition("| Field |")[2]
    fields_shown = re.findall(r"^\| `([a-z_]+)` \|", table, re.M)
    assert sorted(fields_shown) == sorted(auth.admin.person({"email": "a"}))


# -- .env.example

def settings_shown() -> Dict[str, Tuple[str, str]]:
    """Return the value and the comment above each setting that is shown.

    A setting is `NAME=`, or `# NAME=value` where value is the default.
    """
    shown: Dict[str, Tuple[str, str]] = {}
    comment: List[str] = []
    for line in page(".env.example").splitlines():
        setting = re.match(r"(?:# )?([A-Z][A-Z0-9_]*)=(\S*)\Z", line)
        if setting:
            assert setting.group(1) not in shown, "shown twice: " + line
            shown[setting.group(1)] = (setting.group(2), " ".join(comment))
        comment = comment + [line[2:]] if (
            line.startswith("# ") and not setting) else []
    return shown


def test_env_example_shows_every_setting_and_no_other() -> None:
    """A setting that is not shown there is not found by who needs it."""
    assert set(settings_shown()) == set(NAMES)


def test_env_example_holds_settings_and_comments_only() -> None:
    """A line with a blank in its value would be no setting to a shell."""
    odd = [line for line in page(".env.example").splitlines()
           if line and not re.match(r"# |[A-Z][A-Z0-9_]*=\S*\Z", line)]
    assert odd == []


@every_setting
def test_env_example_explains_the_setting(name: str) -> None:
    """Each stands under a sentence of its own."""
    assert re.match(r"\S+ \S+ .*[.?!]\Z", settings_shown()[name][1])


@every_setting
def test_env_example_shows_the_default(name: str) -> None:
    """Uncommenting a line changes nothing.

    Left empty are those whose default is nothing, and the database, whose
    default depends on the place of app.py.
    """
    value = settings_shown()[name][0]
    default = Settings().shown()[name]
    assert value or not default or name == "DATABASE_URL"
    assert Settings.from_env({name: value}) == Settings()


# -- Errors

def test_every_error_has_a_status_and_nothing_else_has() -> None:
    """An error without one would be answered with a mistake of ours."""
    assert set(STATUS) == set(RAISED)


def test_codes_are_unique() -> None:
    """A program that reads one must know which error it was."""
    codes = [each.code for each in ERRORS]
    assert sorted(set(codes)) == sorted(codes)


@every_error
def test_code_is_its_own_and_snake_case(error: Type[AuthError]) -> None:
    """An inherited code would say the parent's name."""
    assert re.match(r"[a-z]+(_[a-z]+)*\Z", vars(error)["code"])


@every_error
def test_name_and_remedy_are_its_own(error: Type[AuthError]) -> None:
    """What helps against the parent does not help against the child."""
    assert {"title", "remedy"} <= set(vars(error))


@every_error
def test_docstring_says_when_it_is_raised(error: Type[AuthError]) -> None:
    """Who catches it has to know what happened; docs/errors.md says it."""
    assert re.match(r"Raised when ", error.__doc__ or "")


# -- Makefile and .ci/run

def goals() -> List[Tuple[str, str]]:
    """Return each target that a person may name, and the rest of its line.

    Files that make builds for itself ($(VENV)/…) and .PHONY are no goals.
    """
    return re.findall(r"^([\w-]+):(?!=)(.*)$", page("Makefile"), re.M)


def make_help() -> str:
    """Return what `make help` prints, even when make runs this test."""
    environ = {name: value for name, value in os.environ.items()
               if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        ["make", "help"], cwd=str(ROOT), env=environ, check=True,
        stdout=subprocess.PIPE, universal_newlines=True).stdout


def test_makefile_has_run_and_test() -> None:
    """The README's commands exist."""
    assert {"run", "test", "help"} <= {name for name, _ in goals()}


@pytest.mark.parametrize("goal", goals(), ids=lambda goal: str(goal[0]))
def test_goal_has_a_sentence(goal: Tuple[str, str]) -> None:
    """A comment after two hashes, which `make help` prints."""
    assert re.search(r"  ## [A-Z]\S* \S+ .*\.\Z", goal[1])


def test_make_help_prints_every_goal_with_its_sentence() -> None:
    """It is the table of contents of the commands."""
    printed: List[Any] = re.findall(r"^  make (\S+) +(.+)$", make_help(), re.M)
    assert printed == [(name, rest.partition("## ")[2])
                       for name, rest in goals()]


def test_ci_ends_with_exactly_make_test() -> None:
    """What the machine checks is what a developer can run."""
    lines = [line for line in page(".ci/run").splitlines()
             if line and not line.startswith("#")]
    assert lines[-1] == "make test"
    assert "make test" not in lines[:-1]
