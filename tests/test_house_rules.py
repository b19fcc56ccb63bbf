#!/usr/bin/env python3
"""The rules that hold for every Python file, whoever wrote it.

Most rules are checkers: functions that read a syntax tree and return
complaints, each with its file and line. Every checker is also fed a file
that breaks its rule, because one that cannot complain proves nothing.
"""
from __future__ import annotations

import ast
import os
import re
import stat
import subprocess
import sys
import sysconfig
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Callable, Iterator, List, Set, Tuple

import pycodestyle  # type: ignore[import-untyped]
import pytest

from tests.helpers import ROOT

Checker = Callable[[ast.Module, str], List[str]]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LONGEST_FUNCTION = 40
# Words that tell nothing a name did not tell.
SMALL = set("a an the of to and or in on at for by with from as is are be was "
            "it its this that these do does".split())
# What each room may import of ours, beside itself (design, section 4). A row
# names only rooms further down, so imports go one way.
ROWS = {
    # Tests may go anywhere; benchmarks borrow their PostgreSQL.
    "benchmarks": {"cores", "db", "tests"},
    "examples": set(),
    "main": set(),
    "scripts": {"app", "credentials", "routes"},
    "deploy": {"app", "auth", "cli", "cores", "credentials", "ending",
               "errors", "logs", "mail", "metrics", "routes", "settings"},
    "app": {"auth", "cli", "credentials", "ending", "errors", "logs", "routes",
            "settings"},
    "routes": {"audit", "auth", "credentials", "devices", "errors",
               "settings", "user"},
    "cli": {"audit", "auth", "ending", "errors", "logs", "mail", "settings"},
    "auth": {"admin", "audit", "cores", "credentials", "db", "devices",
             "errors", "health", "mail", "metrics", "models", "settings",
             "sightings", "throttle", "user"},
    "admin": {"audit", "credentials", "db", "drill", "errors", "mail",
              "models", "moving", "settings", "throttle", "user"},
    "moving": {"db", "errors", "user"},
    "drill": {"credentials", "db", "models", "settings", "user"},
    "mail": {"audit", "credentials", "db", "errors", "models", "settings",
             "throttle", "user"},
    "health": {"db", "errors", "settings"},
    "devices": {"audit", "credentials", "db", "models", "settings", "user"},
    "sightings": {"db", "errors", "models"},
    "throttle": {"db", "errors", "metrics", "models", "settings"},
    "audit": {"db", "metrics", "models"},
    "metrics": {"errors", "settings"},
    "credentials": {"errors"},
    "db": {"engines", "errors", "models", "settings", "statements", "user"},
    "engines": {"errors", "migrations"},
    "migrations": {"errors"},
    "models": {"user"},
    "statements": set(),
    "user": {"errors"},
    "cores": set(),
    "ending": set(),
    "logs": set(),
    "settings": set(),
    "errors": set(),
    "tests": set(),
}
# Which rooms may import a package that the rest must not know of.
HOMES = {
    "sqlalchemy": {"benchmarks", "db", "engines", "migrations", "models",
                   "statements", "user"},
    "alembic": {"migrations"},
    "flask": {"app", "benchmarks", "cli", "examples", "routes"},
    "werkzeug": {"app", "routes"},
    "click": {"cli"},
    "jinja2": {"mail", "routes"},
    "smtplib": {"mail"},
    "prometheus_client": {"metrics"},
    "argon2": {"credentials"},
    "granian": {"deploy"},
    "gunicorn": {"deploy"},
}
# The card says that find_user_by raises it, so auth has to catch it.
CARD_IMPORT = ("auth", "sqlalchemy.orm.exc", "NoResultFound")
# The card fixes these names, and its tests must be able to say them.
CARD_NAMES = {"_hash_password", "_generate_uuid"}


def python_files() -> Iterator[str]:
    """Yield the path of every Python file, relative to the project.

    Found by walking, so that a file nobody has committed yet counts too.
    """
    for folder, below, names in os.walk(str(ROOT)):
        below[:] = [each for each in below
                    if not each.startswith(".") and each != "__pycache__"]
        for name in names:
            if name.endswith(".py"):
                yield (Path(folder) / name).relative_to(ROOT).as_posix()


def room_of(name: str) -> str:
    """Return the folder at the root that holds a file, or its own stem."""
    return name.partition("/")[0].replace(".py", "")


FILES = sorted(python_files())
SOURCES = [name for name in FILES if room_of(name) != "tests"]
# A file's text is the same on every Python; the standard names are not.
every_file, every_source = (pytest.mark.parametrize("name", [
    pytest.param(each, marks=pytest.mark.once) for each in names])
    for names in (FILES, SOURCES))


# -- The checkers

def docstrings(tree: ast.Module, name: str) -> List[str]:
    """Complain of a docstring that is absent, no sentence, or an echo."""
    complaints = []
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS + (ast.ClassDef, ast.Module)):
            called = getattr(node, "name", module_name(name))
            text = ast.get_docstring(node) or ""
            if not is_sentence(text):
                complaints.append(at(name, node, "{} has no docstring that is "
                                     "a sentence".format(called)))
            elif words(text) <= words(called):
                complaints.append(at(name, node, "the docstring of {} only "
                                     "repeats its name".format(called)))
    return complaints


def type_hints(tree: ast.Module, name: str) -> List[str]:
    """Complain of a parameter or a result without a type."""
    complaints = []
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            bare = [each.arg for each in parameters(node)
                    if each.annotation is None]
            if node.returns is None:
                bare.append("the result")
            complaints += [at(name, node, "{} of {} has no type".format(
                each, node.name)) for each in bare]
    return complaints


def private_access(tree: ast.Module, name: str) -> List[str]:
    """Complain of a private name that is taken from somebody else.

    A class of the same file is no somebody else; the card's own two names
    may be imported.
    """
    friends = {"self", "cls"} | {
        node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    complaints = []
    for node in ast.walk(tree):
        taken: Set[str] = set()
        if isinstance(node, ast.Attribute) and not is_friend(
                node.value, friends):
            taken = {node.attr}
        elif isinstance(node, ast.ImportFrom):
            taken = {each.name for each in node.names} - CARD_NAMES
        complaints += [at(name, node, "{} is private".format(each))
                       for each in taken if is_private(each)]
    return complaints


def function_lengths(tree: ast.Module, name: str) -> List[str]:
    """Complain of a function that does not fit on one screen."""
    complaints = []
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS) and length(node) > LONGEST_FUNCTION:
            complaints.append(at(name, node, "{} has {} lines".format(
                node.name, length(node))))
    return complaints


def import_direction(tree: ast.Module, name: str) -> List[str]:
    """Complain of an import that goes up, or sideways, in the house."""
    room, complaints = room_of(name), []
    allowed = ROWS.get(room, set()) | {room}
    for node, module, _ in imports(tree):
        top = module.partition(".")[0]
        if top in set(ROWS) | {"tests", ""} and top not in allowed:
            complaints.append(at(name, node, "{} may not import {}".format(
                room, module)))
    return complaints


def package_homes(tree: ast.Module, name: str) -> List[str]:
    """Complain of a package that is imported outside its rooms."""
    room, complaints = room_of(name), []
    for node, module, what in imports(tree):
        homes = HOMES.get(module.partition(".")[0], {room})
        if room not in homes and (room, module, what) != CARD_IMPORT:
            complaints.append(at(name, node, "{} may not import {}".format(
                room, module)))
    return complaints


def store_in_the_web_face(tree: ast.Module, name: str) -> List[str]:
    """Complain of app or routes so much as naming the store."""
    if room_of(name) not in ("app", "cli", "routes"):
        return []
    complaints = [at(name, node, "the web face imports the store")
                  for node, module, what in imports(tree)
                  if module == "db" or what == "DB"]
    for node in ast.walk(tree):
        said = getattr(node, "id", getattr(node, "attr", ""))
        if said in ("DB", "_db"):
            complaints.append(at(name, node, "the web face says " + said))
    return complaints


# -- What the checkers ask of a tree

def at(name: str, node: ast.AST, complaint: str) -> str:
    """Put the file and the line before a complaint."""
    return "{}:{}: {}".format(name, getattr(node, "lineno", 1), complaint)


def module_name(name: str) -> str:
    """Return the word by which a file is imported."""
    path = Path(name)
    return path.parent.name if path.stem == "__init__" else path.stem


def is_sentence(text: str) -> bool:
    """Tell whether a docstring begins and ends as prose does.

    Its first paragraph is the sentence; after it, indented code may end.
    """
    paragraphs = text.split("\n\n")
    first, last = [each.rstrip("\"')")[-1:]
                   for each in (paragraphs[0], paragraphs[-1])]
    closed = last in (".", "?", "!", "`") or paragraphs[-1].startswith("    ")
    return (len(paragraphs[0].split()) >= 3
            and first in (".", "?", "!", "`") and closed)


def words(text: str) -> Set[str]:
    """Return the words that matter, without the s of a verb or plural."""
    found = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+", text)
    matter = {each.lower() for each in found} - SMALL
    return {each[:-1] if each.endswith("s") else each for each in matter}


def parameters(node: Any) -> List[ast.arg]:
    """Return every parameter of a function that has to say its type."""
    given = node.args
    # Python 3.7 has no positional-only parameters.
    plain: List[ast.arg] = getattr(given, "posonlyargs", []) + given.args
    if plain and plain[0].arg in ("self", "cls"):
        plain = plain[1:]
    rest = [each for each in (given.vararg, given.kwarg) if each]
    return plain + rest + list(given.kwonlyargs)


def is_friend(base: ast.AST, friends: Set[str]) -> bool:
    """Tell whether private names of this expression are one's own."""
    if isinstance(base, ast.Call):
        return isinstance(base.func, ast.Name) and base.func.id == "super"
    return isinstance(base, ast.Name) and base.id in friends


def is_private(name: str) -> bool:
    """Tell whether a leading underscore asks others to keep out."""
    return name.startswith("_") and not (
        name.startswith("__") and name.endswith("__"))


def length(node: Any) -> int:
    """Count the lines between the docstring and the end of a function.

    Python 3.7 knows where a node starts but not where it ends, so a closing
    bracket on a line of its own does not count.
    """
    body = node.body[1:] if ast.get_docstring(node) else node.body
    last = max([getattr(each, "lineno", 0) for each in ast.walk(node)])
    return int(last) - int(body[0].lineno) + 1 if body else 0


def imports(tree: ast.Module) -> Iterator[Tuple[ast.AST, str, str]]:
    """Yield each import: its node, its module, and the name taken from it.

    The module of a relative import starts with a dot; that of `import x` is
    x, and nothing is taken from it.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                yield node, each.name, ""
        elif isinstance(node, ast.ImportFrom):
            module = "." * (node.level or 0) + (node.module or "")
            for each in node.names:
                yield node, module, each.name


def is_standard(name: str) -> bool:
    """Tell whether a module of the standard library has this name.

    Python has a list of them since 3.10; before, the folder of the standard
    library is one.
    """
    known = getattr(sys, "stdlib_module_names", sys.builtin_module_names)
    folder = sysconfig.get_path("stdlib")
    return name in known or PathFinder.find_spec(
        name, [folder, os.path.join(folder, "lib-dynload")]) is not None


# -- Every file keeps them

def test_walk_finds_sources_rooms_and_tests() -> None:
    """Looking at nothing would let every other test here succeed."""
    assert {"app.py", "routes/common.py", "credentials/__init__.py",
            "tests/test_house_rules.py"} <= set(FILES)


@every_file
def test_first_line_is_the_shebang(name: str) -> None:
    """The card asks for exactly this interpreter line, with no blank."""
    assert (ROOT / name).read_bytes().startswith(b"#!/usr/bin/env python3\n")


@every_file
def test_owner_can_execute(name: str) -> None:
    """Of the mode, only the owner's bit: umask decides on the others."""
    assert (ROOT / name).stat().st_mode & stat.S_IXUSR


@every_file
def test_last_line_ends_and_none_is_blank(name: str) -> None:
    """One newline at the end, not zero and not two."""
    assert re.search(rb"[^\n]\n\Z", (ROOT / name).read_bytes())


@every_file
def test_pycodestyle_finds_nothing(
        name: str, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    """Its defaults count, not what a developer's home folder says."""
    monkeypatch.setattr(pycodestyle, "USER_CONFIG", None)
    guide = pycodestyle.StyleGuide()
    found = guide.check_files([str(ROOT / name)]).total_errors
    assert not found, capsys.readouterr().out


@pytest.mark.parametrize("check", [
    docstrings, type_hints, private_access, function_lengths])
@every_file
def test_file_keeps_the_rule(name: str, check: Checker) -> None:
    """What the checkers say of a file is its list of things to mend."""
    complaints = check(tree_of(name), name)
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("check", [
    import_direction, package_homes, store_in_the_web_face])
@every_source
def test_source_keeps_its_place(name: str, check: Checker) -> None:
    """The design's map of the house; tests may go anywhere in it."""
    complaints = check(tree_of(name), name)
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("room", sorted(set(map(room_of, SOURCES))))
def test_room_has_a_row(room: str) -> None:
    """A new room has to say what it may import before it is let in."""
    assert room in ROWS


@pytest.mark.parametrize("room", ROWS)
def test_row_names_rooms_further_down_only(room: str) -> None:
    """The table itself cannot be edited into a circle."""
    order = list(ROWS)
    assert ROWS[room] <= set(order[order.index(room) + 1:])


@pytest.mark.parametrize("name", SOURCES)
def test_no_module_takes_a_standard_name(name: str) -> None:
    """Beside app.py it would be imported instead of Python's own."""
    assert not is_standard(room_of(name))
    assert not is_standard(module_name(name))


@pytest.mark.parametrize("name, standard", [
    ("email", True), ("sys", True), ("token", True),
    ("user", False), ("tokens", False)])
def test_standard_names_are_known(name: str, standard: bool) -> None:
    """On every Python, whether it keeps a list of them or not."""
    assert is_standard(name) is standard


def test_importing_app_touches_no_file(tmp_path: Path) -> None:
    """Tools import it to look around; that must not open a database."""
    url = "sqlite:///{}".format(tmp_path / "untouched.db")
    subprocess.run(
        [sys.executable, "-W", "error", "-c", "import app"], check=True,
        cwd=str(ROOT), env=dict(os.environ, DATABASE_URL=url))
    assert list(tmp_path.iterdir()) == []


def test_this_python_can_read_every_file() -> None:
    """Also those that no test imports."""
    for name in FILES:
        assert tree_of(name).body


@lru_cache(maxsize=None)
def tree_of(name: str) -> ast.Module:
    """Parse a file of the project."""
    return ast.parse((ROOT / name).read_text(encoding="utf-8"))


# -- Every checker can complain

def complaints_of(check: Checker, name: str, source: str) -> List[str]:
    """Let a checker judge a made-up file of this name."""
    return check(ast.parse(source), name)


WITH_MODULE = '"""A file of two small parts."""\n'
TOO_LONG = "def f() -> None:\n" + "    pass\n" * (LONGEST_FUNCTION + 1)
DOCUMENTED = ('def f() -> None:\n    """Say\n{}    it."""\n'.format(
    "    all\n" * 9) + "    pass\n" * LONGEST_FUNCTION)


@pytest.mark.parametrize("check, name, source, line", [
    (docstrings, "app.py", "x = 1\n", 1),
    (docstrings, "app.py", '"""A file without an end"""\n', 1),
    (docstrings, "app.py", '"""Too short."""\n', 1),
    (docstrings, "app.py", '"""A list in prose.\n\nIt does not end:"""\n', 1),
    (docstrings, "find_user.py", '"""This finds the users."""\n', 1),
    (docstrings, "find_user/__init__.py", '"""It is find user."""\n', 1),
    (docstrings, "app.py", WITH_MODULE + "class A:\n    pass\n", 2),
    (docstrings, "app.py", WITH_MODULE
     + 'class EmailTaken:\n    """The email is taken."""\n', 2),
    (docstrings, "app.py", WITH_MODULE + "def f() -> None:\n    pass\n", 2),
    (docstrings, "app.py", WITH_MODULE
     + "async def f() -> None:\n    pass\n", 2),
    (type_hints, "app.py", "def f(a) -> None:\n    pass\n", 1),
    (type_hints, "app.py", "def f(*a) -> None:\n    pass\n", 1),
    (type_hints, "app.py", "def f(**a) -> None:\n    pass\n", 1),
    (type_hints, "app.py", "def f(*, a) -> None:\n    pass\n", 1),
    (type_hints, "app.py", "def f():\n    pass\n", 1),
    (type_hints, "app.py", "def f() -> None:\n    def g():\n"
                           "        pass\n", 2),
    (type_hints, "app.py", "class A:\n    def f(self, a) -> None:\n"
                           "        pass\n", 2),
    (private_access, "app.py", "x\ny._z\n", 2),
    (private_access, "app.py", "self.y._z\n", 1),
    (private_access, "app.py", "y()._z\n", 1),
    (private_access, "app.py", "y.__z\n", 1),
    (private_access, "app.py", "from db import _work\n", 1),
    (function_lengths, "app.py", TOO_LONG, 1),
    (import_direction, "errors.py", "import settings\n", 1),
    (import_direction, "user.py", "def f():\n    from db import DB\n", 2),
    (import_direction, "main.py", "import tests.helpers\n", 1),
    (import_direction, "credentials/tokens.py", "import user\n", 1),
    (import_direction, "routes/common.py", "from . import accounts\n", 1),
    (import_direction, "newroom/desk.py", "from errors import AuthError\n",
     1),
    (package_homes, "auth.py", "import sqlalchemy\n", 1),
    (package_homes, "auth.py",
     "from sqlalchemy.orm.exc import NoResultFound, StaleDataError\n", 1),
    (package_homes, "main.py",
     "from sqlalchemy.orm.exc import NoResultFound\n", 1),
    (package_homes, "db.py", "from flask import request\n", 1),
    (package_homes, "auth.py", "import werkzeug.exceptions\n", 1),
    (store_in_the_web_face, "app.py", "import db\n", 1),
    (store_in_the_web_face, "app.py", "from auth import DB as D\n", 1),
    (store_in_the_web_face, "routes/a.py", "x\nauth.DB()\n", 2),
    (store_in_the_web_face, "routes/a.py", "AUTH._db\n", 1),
])
def test_broken_rule_is_noticed(check: Checker, name: str, source: str,
                                line: int) -> None:
    """One complaint, and it says where."""
    complaint, = complaints_of(check, name, source)
    assert complaint.startswith("{}:{}: ".format(name, line))


@pytest.mark.parametrize("check, name, source", [
    (docstrings, "app.py", '"""Serve this machine.\n\nRun it so:\n\n'
                           '    python3 app.py\n"""\n'),
    (docstrings, "app.py", '"""It is started with `make run`"""\n'),
    (docstrings, "find_user.py", '"""Find the user or fail."""\n'),
    (type_hints, "app.py", "class A:\n    def f(self, *b: int) -> None:\n"
                           "        pass\n"),
    (type_hints, "app.py", "x = lambda a: a\n"),
    (private_access, "app.py", "self._x + cls._x + super()._x\n"),
    (private_access, "app.py", "class A:\n    x = 1\nA._x\n"),
    (private_access, "app.py", "x.__dict__\n"),
    (private_access, "app.py", "from auth import _hash_password\n"),
    (function_lengths, "app.py", DOCUMENTED),
    (import_direction, "routes/common.py", "from routes import accounts\n"),
    (import_direction, "app.py", "from auth import Auth\nimport json\n"),
    (package_homes, "auth.py",
     "from sqlalchemy.orm.exc import NoResultFound\n"),
    (package_homes, "models.py", "from sqlalchemy import Integer\n"),
    (store_in_the_web_face, "auth.py", "from db import DB\nself._db\n"),
])
def test_kept_rule_is_left_alone(check: Checker, name: str,
                                 source: str) -> None:
    """What each checker allows on purpose stays allowed."""
    assert complaints_of(check, name, source) == []
