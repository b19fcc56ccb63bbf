#!/usr/bin/env python3
"""A copy of the project with every mutant in it, as mutmut makes them."""
from __future__ import annotations

import ast
import shutil
from difflib import unified_diff
from typing import List, NamedTuple, Tuple

from tests.helpers import ROOT

FOLDER = ROOT / ".venvs" / "mutants"
SUBJECTS = ("auth.py", "db.py", "throttle.py", "credentials/*.py")
# Lines that go, with a minus before them, and lines that come, with a plus.
Change = Tuple[str, ...]


class Mutant(NamedTuple):
    """A small change of one function, and whether the tests noticed it."""

    name: str
    change: Change
    killed: bool = False

    def __str__(self) -> str:
        """Return what is the same in another run, if its function is."""
        return "\n".join((self.function,) + self.change)

    @property
    def function(self) -> str:
        """The function, as Python would name it."""
        module, _, name = self.name.partition("__mutmut_")[0].rpartition(".")
        return module + "." + name.replace("\u01c1", ".")[2:]

    @property
    def file(self) -> str:
        """Where it is in the project."""
        return self.name.rpartition(".")[0].replace(".", "/") + ".py"


def undecorated(source: str) -> str:
    """Return the same code with functions decorated after they are made.

    What is decorated, mutmut would leave alone.
    """
    lines = source.splitlines(True)
    found = [each for each in ast.walk(ast.parse(source))
             if isinstance(each, ast.FunctionDef) and each.decorator_list]
    for each in sorted(found, key=lambda each: -each.lineno):
        made = each.name
        for decorator in reversed(each.decorator_list):
            made = "{}({})".format(
                ast.get_source_segment(source, decorator), made)
        lines.insert(each.end_lineno or 0, "{}{} = {}\n".format(
            " " * each.col_offset, each.name, made))
        del lines[each.decorator_list[0].lineno - 1:each.lineno - 1]
    return "".join(lines)


def mutated(name: str, code: str) -> Tuple[str, List[Mutant]]:
    """Return the code of a file with all its mutants in it, and those.

    Which of them is called instead of the whole function, if any, mutmut
    decides as the program runs.
    """
    from mutmut.mutation.file_mutation import mutate_file_contents

    made = mutate_file_contents(name, undecorated(code))
    lines, spans = made.code.splitlines(), made.line_span_by_function_name
    module = name[:-len(".py")].replace("/", ".")

    def body(function: str) -> List[str]:
        """Return the lines of one of the functions."""
        span = spans[function]
        return [each.replace(function, "").strip()
                for each in lines[span.start - 1:span.end]]
    return made.code, [Mutant(module + "." + each, tuple(
        line[0] + " " + line[1:] for line in list(unified_diff(
            body(each.partition("__mutmut_")[0] + "__mutmut_orig"),
            body(each), lineterm="", n=0))[2:] if line[0] != "@"))
        for each in made.mutant_names]


def prepare() -> List[Mutant]:
    """Copy the project with its mutants in it, and return those."""
    shutil.rmtree(str(FOLDER), ignore_errors=True)
    shutil.copytree(str(ROOT), str(FOLDER), ignore=shutil.ignore_patterns(
        ".*", "__pycache__", "*.db"))
    mutants: List[Mutant] = []
    for pattern in SUBJECTS:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            code, made = mutated(name, path.read_text())
            (FOLDER / name).write_text(code)
            mutants += made
    return mutants
