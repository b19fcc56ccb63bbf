#!/usr/bin/env python3
"""The files of deploy/, as what they say: instructions, services, units."""
from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, Dict, List, Tuple

import yaml  # type: ignore[import-untyped]

from settings import Settings
from tests.helpers import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = {name: yaml.safe_load((
    DEPLOY / "compose" / "compose.{}.yaml".format(name)).read_text(
        encoding="utf-8")) for name in ("sqlite", "postgresql")}
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SETTINGS = {each.metadata["name"] for each in fields(Settings)}
SECRETS = {each.metadata["name"] for each in fields(Settings)
           if each.metadata["secret"]}
# What Python itself is told.
PYTHON = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PATH"}


def graceful_seconds() -> int:
    """Return how long the production server, either one, may take to end."""
    return max(int(re.findall(said, (DEPLOY / name).read_text(
        encoding="utf-8"), re.M)[0]) for name, said in (
            ("serve.py", r"^GRACEFUL_SECONDS = (\d+)$"),
            ("gunicorn.conf.py", r"^graceful_timeout = (\d+)$")))


def instructions() -> List[Tuple[str, str]]:
    """Return the instructions of the Containerfile, each with the rest."""
    text = (DEPLOY / "container" / "Containerfile").read_text(
        encoding="utf-8")
    lines = re.sub(r"\\\n *", "", re.sub(r"^ *#.*\n", "", text, flags=re.M))
    return [(word, rest) for word, _, rest in (
        line.partition(" ") for line in lines.splitlines() if line)]


def image_says(word: str) -> List[str]:
    """Return all that the Containerfile says with one instruction."""
    return [rest for each, rest in instructions() if each == word]


def image_environ() -> Dict[str, str]:
    """Return the variables that the image sets."""
    return dict(pair.split("=", 1) for rest in image_says("ENV")
                for pair in rest.split())


def image_command() -> List[str]:
    """Return the command of the image, which no shell reads."""
    command: List[str] = json.loads(image_says("CMD")[-1])
    return command


def is_copied(name: str) -> bool:
    """Tell whether a file gets into the image, by .dockerignore.

    The last pattern that matches it, or a folder above it, decides.
    """
    copied = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = as_regex(line.lstrip("!"))
            if any(pattern.match(each) for each in with_parents(name)):
                copied = line.startswith("!")
    return copied


def with_parents(name: str) -> List[str]:
    """Return a path and every folder above it."""
    return [name] + [each.as_posix() for each in Path(name).parents
                     if each != Path(".")]


def as_regex(pattern: str) -> Any:
    """Return what a pattern of .dockerignore matches: paths from the root."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
    return re.compile("".join(
        parts.get(each, re.escape(each))
        for each in re.split(r"(\*\*/|\*\*|\*)", pattern)) + r"\Z")


def unit_says(unit: Path, key: str) -> List[str]:
    """Return the values of a key of a unit, in order."""
    return re.findall(r"^{}=(.*)$".format(key),
                      unit.read_text(encoding="utf-8"), re.M)
