#!/usr/bin/env python3
"""Write the table of docs/errors.md, from errors.py and routes/problems.py.

    python3 -m scripts.errors_page

A test compares them, so run it whenever an error changes.
"""
from __future__ import annotations

from pathlib import Path
from typing import Iterable

from app import KINDS
from routes.problems import Kind

PAGE = Path(__file__).resolve().parent.parent / "docs" / "errors.md"
HEAD = """| Code | Status | Title | Raised | What to do |
|---|---|---|---|---|
"""


def with_table(text: str, kinds: Iterable[Kind]) -> str:
    """Return the page with the table at its end anew, a row for each kind."""
    return text.partition(HEAD)[0] + HEAD + "".join(
        "| `{}` | {} | {} | {} | {} |\n".format(*each) for each in kinds)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"),
                               KINDS.values()), encoding="utf-8")
