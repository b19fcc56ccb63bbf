#!/usr/bin/env python3
"""How much is tried: some of it in every run, all of it by `make proof`."""
from __future__ import annotations

import os

PROVING = os.environ.get("PROVING") == "1"


def size(short: int, whole: int) -> int:
    """Return how often to try something: the second number in a proof."""
    return whole if PROVING else short
