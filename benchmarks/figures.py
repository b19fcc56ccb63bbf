#!/usr/bin/env python3
"""The arithmetic of a benchmark: from samples to what may be said of them."""
from __future__ import annotations

import math
import statistics
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

Round = Mapping[str, Any]


class Sample(NamedTuple):
    """A request that had its time.

    `due` is when it was to be sent, in seconds since the load began, and
    `seconds` how long after that its answer was complete: a server that
    stalls is charged for every request that it kept from being sent.
    `status` is 0 if no answer came.
    """

    due: float
    seconds: float
    status: int


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that so large a share is not above.

    It is one of the values, so p99 of fewer than 100 is the largest.
    """
    ordered = sorted(values)
    place = math.ceil(share * len(ordered) - 1e-9)
    return ordered[max(0, min(len(ordered), place) - 1)]


def spread(seconds: Sequence[float]) -> Dict[str, float]:
    """Return what is said of waiting times, in milliseconds."""
    if not seconds:
        return {"count": 0}
    return {"count": len(seconds),
            "p50_ms": 1000 * percentile(seconds, 0.50),
            "p99_ms": 1000 * percentile(seconds, 0.99),
            "max_ms": 1000 * max(seconds)}


def between(samples: Sequence[Sample], start: float,
            end: float) -> Dict[str, float]:
    """Return the spread of the requests that were due in a stretch of time.

    One without a good answer waited as long as it did, and is counted.
    """
    chosen = [each for each in samples if start <= each.due < end]
    found = spread([each.seconds for each in chosen])
    found["bad"] = sum(each.status != 200 for each in chosen)
    return found


def per_second(moments: Sequence[float], until: float = math.inf) -> float:
    """Return how often something happened that ends now and then.

    From the first end to the last one before `until`: so neither what was
    half done at the start nor what was at the end is counted by halves.
    """
    ends = sorted(each for each in moments if each <= until)
    if len(ends) < 2 or ends[-1] <= ends[0]:
        return 0.0
    return (len(ends) - 1) / (ends[-1] - ends[0])


def value(of: Optional[Mapping[str, Any]], path: str) -> Optional[float]:
    """Return what stands under a.b.c in nested results, if it is there."""
    found: Any = of
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, (int, float)) else None


def median(rounds: Sequence[Round], path: str) -> Optional[float]:
    """Return the median of a figure over the rounds that have it."""
    found = [each for each in (value(one, path) for one in rounds)
             if each is not None]
    return statistics.median(found) if found else None


def worst(rounds: Sequence[Round], path: str) -> Optional[float]:
    """Return the largest of a figure over the rounds that have it."""
    found = [each for each in (value(one, path) for one in rounds)
             if each is not None]
    return max(found) if found else None


def ratio(rounds: Sequence[Round], others: Sequence[Round],
          path: str, other: str = "") -> Optional[float]:
    """Return the median, over the rounds, of one figure against another.

    Figures of one round stand side by side: whatever else the machine did
    then, it did to both.
    """
    pairs = [(value(one, path), value(two, other or path))
             for one, two in zip(rounds, others)]
    found: List[float] = [one / two for one, two in pairs
                          if one is not None and two]
    return statistics.median(found) if found else None
