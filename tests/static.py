#!/usr/bin/env python3
"""Look for mistakes, wrong types and secrets in our files, running none.

    python3 -m tests.static

Ends with 1 if anything is found. What is no mistake says so where it stands
(`nosec`, with its reason) or in pyproject.toml.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Iterator, List, Set, Tuple

from tests.helpers import ROOT

# Tests and measurements run on a developer's machine, on what they made.
UNCHECKED = ("benchmarks", "tests")
# A name, a word of ours (password, token) and an address are no secrets.
NO_SECRETS = ("KeywordDetector", "IPPublicDetector")
# Where long strings at random are nobody's key: examples, sums of files, rows
# of a keyboard, and hashes of passwords that a test made up.
RANDOM = (
    "benchmarks/results/", "credentials/blocklist.py", "pages/docs/",
    "routes/described.py", "routes/openapi.py", "scripts/common_passwords.py",
    "tests/cli/test_transfer.py", "tests/credentials/",
    "tests/migrations/seeds/")
# What stands for a password in the URLs of examples and tests.
EXAMPLES = {"password", "PASSWORD", "\u2026", "{}", "{}{}{}", "b", "p",
            "p%2Fw", "canary", "hunter2", "hush", "hush-hush", "hu\\nsh",
            "secret"}


def published(root: Path = ROOT) -> Iterator[str]:
    """Yield the path of every file that others get to see."""
    for folder, below, names in os.walk(str(root)):
        below[:] = [each for each in below if each == ".ci" or not (
            each.startswith(".") or each in ("__pycache__", "dist"))]
        for name in names:
            if name != ".env" and ".db" not in name:
                yield (Path(folder) / name).relative_to(root).as_posix()


def mistakes(root: Path = ROOT) -> List[str]:
    """Return what bandit finds in the code of the service."""
    checked = [each for each in published(root) if each.endswith(".py")
               and each.partition("/")[0] not in UNCHECKED]
    done = subprocess.run(
        [sys.executable, "-m", "bandit", "--quiet", "--format", "json",
         "--configfile", str(ROOT / "pyproject.toml")] + checked,
        cwd=str(root), stdout=subprocess.PIPE, universal_newlines=True)
    report = json.loads(done.stdout)
    assert len(report["metrics"]) == len(checked) + 1, report["errors"]
    return ["{filename}:{line_number}: {test_id} {issue_text}".format(**each)
            for each in report["results"]]


def wrong_types(root: Path = ROOT) -> List[str]:
    """Return what mypy finds, strictly, in every file."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "--config-file",
         str(ROOT / "pyproject.toml")], cwd=str(root),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        universal_newlines=True)
    assert done.returncode in (0, 1), done.stdout
    return done.stdout.splitlines() if done.returncode else []


def secrets(root: Path = ROOT) -> List[str]:
    """Return what looks like somebody's secret, in any file."""
    found = []
    for name in published(root):
        text = (root / name).read_text(encoding="utf-8", errors="replace")
        found += ["{}:{}: {}".format(name, number, kind)
                  for number, line in enumerate(text.splitlines(), 1)
                  for kind, value in secrets_in(line)
                  if not is_made_up(name, kind, value)]
    return found


@lru_cache(maxsize=None)
def secrets_in(line: str) -> Set[Tuple[str, str]]:
    """Return the kind and the value of each secret of a line.

    Each line that there is once: most of the time goes into asking.
    """
    from detect_secrets.filters.heuristic import is_potential_uuid

    return {(each.type, each.secret_value) for plugin in plugins()
            for each in plugin.analyze_line(
                filename="", line=line, line_number=1)
            if not is_potential_uuid(each.secret_value)}


@lru_cache(maxsize=None)
def plugins() -> List[Any]:
    """Return what knows a kind of secret, one for each."""
    from detect_secrets.core.plugins.util import (
        get_mapping_from_secret_type_to_class)

    known: Any = get_mapping_from_secret_type_to_class().values()
    return [each() for each in known if each.__name__ not in NO_SECRETS]


def is_made_up(name: str, kind: str, value: str) -> bool:
    """Tell whether what looks like a secret is known to be none."""
    if "Entropy" in kind:
        return name.startswith(RANDOM)
    return "Basic Auth" in kind and value in EXAMPLES


def main() -> int:
    """Print all that is found, and return the exit code."""
    found = mistakes() + wrong_types() + secrets()
    print("\n".join(found) or "static: nothing found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
