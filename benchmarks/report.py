#!/usr/bin/env python3
"""What was measured, as a reader wants it: verdicts, tables, a page.

Everything here is computed from the JSON that a run leaves, so that no figure
of the page was typed by hand. It has two parts: `bench`, the service and its
limits, and `peers`, the same phases with the peers beside it. In each a phase
has its rounds by name.
"""
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import (
    Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence)

from benchmarks.figures import Round, median, ratio, value, worst

Data = Dict[str, Any]
EMPTY, SELECT = "limit: empty route", "limit: raw SELECT"
BCRYPT = "limit: raw bcrypt"
# Where a list of bare numbers begins and ends in indented JSON.
NUMBERS = re.compile(r"\[\s+([-0-9.,\s]+?)\s+\]")
MARKED = "<!-- measured: {} -->\n{}\n<!-- /measured -->"
NOT_MEASURED = "not measured"


def rounds(data: Data, path: str, name: str) -> Sequence[Round]:
    """Return the rounds of a name in a phase, as in "bench.get"."""
    part, _, phase = path.partition(".")
    found: Sequence[Round] = data.get(part, {}).get(phase, {}).get(
        "rounds", {}).get(name, ())
    return found


def names(data: Data, path: str) -> List[str]:
    """Return what was measured in a phase, in order."""
    part, _, phase = path.partition(".")
    return list(data.get(part, {}).get(phase, {}).get("rounds", {}))


# -- What has to be reached

class Figure(NamedTuple):
    """A figure, what it has to reach, and how it follows from a run."""

    name: str
    bound: float
    unit: str
    reached: Callable[[Data], Optional[float]]
    at_most: bool = True

    def verdict(self, data: Data) -> str:
        """Return what is to be said of it."""
        found = self.reached(data)
        if found is None:
            return NOT_MEASURED
        good = found <= self.bound if self.at_most else found >= self.bound
        return "reached" if good else "**missed**"


def against(path: str, name: str, other: str,
            figure: str) -> Callable[[Data], Optional[float]]:
    """Return how the ratio of two names of one phase follows from a run."""
    return lambda data: ratio(rounds(data, path, name),
                              rounds(data, path, other), figure)


def of(path: str, name: str, figure: str,
       share: float = 1) -> Callable[[Data], Optional[float]]:
    """Return how a figure of a single name follows from a run."""
    def reached(data: Data) -> Optional[float]:
        """Return its median."""
        found = median(rounds(data, path, name), figure)
        return None if found is None else found * share
    return reached


def cheapest_peer(data: Data) -> Optional[float]:
    """Return our CPU a request against that of the cheapest peer.

    None unless there is a peer: limits, and we in other ways, are none.
    """
    mine = rounds(data, "peers.get", "ours")
    peers = [each for each in names(data, "peers.get")
             if not each.startswith(("limit: ", "ours"))]
    found = [each for each in (
        ratio(mine, rounds(data, "peers.get", name), "cpu_us")
        for name in peers) if each is not None]
    return max(found) if found else None


def grown(store: str, figure: str) -> Callable[[Data], Optional[float]]:
    """Return how a figure of the fullest database follows, as a ratio.

    Against that of the smallest one.
    """
    def reached(data: Data) -> Optional[float]:
        """Find the two and compare them."""
        sizes = sizes_of(data)
        if len(sizes) < 2:
            return None
        least, most = (rounds(data, "bench.growth", "{}, {}".format(
            store, size)) for size in (sizes[0], sizes[-1]))
        return ratio(most, least, figure)
    return reached


def sizes_of(data: Data) -> List[int]:
    """Return how many users there were, the smallest number first."""
    return sorted({int(each.rpartition(", ")[2])
                   for each in names(data, "bench.growth")})


FIGURES = (
    Figure("`GET /profile`, CPU a request, against Flask and one raw indexed "
           "SELECT on the same server", 1.30, "×",
           against("bench.get", "ours", SELECT, "cpu_us")),
    Figure("the same against the cheapest peer on its usual server",
           0.25, "×", cheapest_peer),
    Figure("`GET /profile` a second, 16 connections, against an empty Flask "
           "route", 0.70, "×",
           against("bench.get", "ours", EMPTY, "per_second"), False),
    Figure("sign-ins a second, against raw bcrypt on all cores", 0.97, "×",
           against("bench.signin", "ours", BCRYPT, "per_second"), False),
    Figure("CPU a sign-in, against raw bcrypt", 1.03, "×",
           against("bench.signin", "ours", BCRYPT, "cpu_ms")),
    Figure("storm of 8 sign-in clients: p99 of `GET /profile`", 20, "ms",
           of("bench.storm", "ours, 8 clients", "during.p99_ms")),
    Figure("the same: rate that 16 connections keep", 60, "%",
           of("bench.storm", "ours, 8 clients", "kept", 100), False),
    Figure("flood of 64 clients with wrong passwords: p99 of `GET /profile`",
           40, "ms", of("bench.flood", "ours", "reads.p99_ms")),
    Figure("the same: refusals without `Retry-After`", 0, "",
           of("bench.flood", "ours", "bare")),
    Figure("the same: growth of memory", 20, "MB",
           of("bench.flood", "ours", "grown_mb")),
    Figure("the same: the slowest right sign-in from a known device", 2, "s",
           of("bench.flood", "ours", "owner_slowest_s"))) + tuple(
    Figure("from the fewest rows to the most, {}: {}, p50".format(
        store, what), bound, "×", grown(store, figure + ".p50_ms"))
    for store in ("SQLite", "PostgreSQL") for what, bound, figure in (
        ("`GET /profile`", 1.15, "read"), ("sign-in", 1.05, "sign_in"))) + (
    Figure("memory of one serving process", 70, "MB",
           of("bench.start", "ours", "worker_rss_mb")),
    Figure("cold start to the first healthy answer", 1.0, "s",
           of("bench.start", "ours", "cold_s")),
    Figure("PostgreSQL instead of SQLite: `GET /profile`, our CPU a request",
           1.6, "×",
           against("bench.postgresql", "PostgreSQL", "SQLite", "cpu_us")))


def must_show(data: Data) -> str:
    """Return the table of what had to be reached."""
    return table(("figure", "to reach", "reached", "verdict"), [
        (each.name, "{} {}".format("≤" if each.at_most else "≥", amount(
            each.bound, each.unit)),
         amount(each.reached(data), each.unit), each.verdict(data))
        for each in FIGURES])


# -- The tables

def amount(number: Optional[float], unit: str = "") -> str:
    """Return a number as a reader wants it, with its unit.

    Three digits are enough: no measurement here is better than that.
    """
    if number is None:
        return "-"
    digits = 0 if abs(number) >= 100 or number == int(number) else (
        1 if abs(number) >= 10 else 2)
    return "{:,.{}f} {}".format(number, digits, unit).replace(
        ",", " ").rstrip()


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown; all but its first column are figures."""
    lines = [head, ["---"] + ["--:"] * (len(head) - 1)]
    return "\n".join("| {} |".format(" | ".join(each))
                     for each in lines + list(rows))


def medians(mine: Sequence[Round], *figures: str) -> List[str]:
    """Return the median of each figure over rounds, as text."""
    return [amount(median(mine, figure)) for figure in figures]


def read_table(data: Data, path: str) -> str:
    """Return what reads cost, beside the limits of the same run."""
    rows = []
    for name in names(data, path):
        mine = rounds(data, path, name)
        rows.append([name] + medians(
            mine, "per_second", "p50_ms", "p99_ms", "cpu_us") + [
            amount(ratio(mine, rounds(data, path, SELECT), "cpu_us")),
            amount(ratio(mine, rounds(data, path, EMPTY), "per_second"))])
    return table(("`GET /profile`", "a second", "p50 ms", "p99 ms",
                  "CPU µs each", "CPU × raw SELECT", "rate × empty route"),
                 rows + failures(data, path))


def sign_in_table(data: Data, path: str) -> str:
    """Return what sign-ins cost, beside bcrypt alone."""
    rows = []
    for name in names(data, path):
        mine, bare = (rounds(data, path, each) for each in (name, BCRYPT))
        rows.append([name] + medians(
            mine, "per_second", "p50_ms", "p99_ms", "cpu_ms") + [
            amount(ratio(mine, bare, "per_second")),
            amount(ratio(mine, bare, "cpu_ms"))])
    return table(("sign-in, 8 clients", "a second", "p50 ms", "p99 ms",
                  "CPU ms each", "rate × bcrypt", "CPU × bcrypt"),
                 rows + failures(data, path))


def storm_table(data: Data, path: str) -> str:
    """Return how reads fared in storms."""
    rows = []
    for name in names(data, path):
        mine = rounds(data, path, name)
        kept = median(mine, "kept")
        rows.append([name] + medians(
            mine, "before.p99_ms", "during.p50_ms", "during.p99_ms") + [
            amount(worst(mine, "during.max_ms")),
            amount(median(mine, "after.p99_ms")),
            amount(None if kept is None else 100 * kept, "%"),
            amount(median(mine, "sign_ins_per_second")),
            amount(worst(mine, "statuses.503"))])
    return table(("storm", "p99 before, ms", "p50 in it", "p99 in it",
                  "longest", "p99 after", "rate kept", "sign-ins a second",
                  "refused"), rows + failures(data, path))


def flood_table(data: Data, path: str) -> str:
    """Return what a flood of guesses was told."""
    rows = []
    for name in names(data, path):
        seen = rounds(data, path, name)[-1]
        told = ", ".join("{} {}".format(amount(count), status)
                         for status, count in sorted(
                             seen["statuses"].items()))
        rows.append([name, told] + [amount(value(seen, each)) for each in (
            "bare", "reads.p50_ms", "reads.p99_ms", "grown_mb",
            "owner_times", "owner_slowest_s")])
    return table(("flood", "told", "refusals without `Retry-After`",
                  "p50 of reads, ms", "p99", "memory grown, MB",
                  "right sign-ins", "slowest, s"),
                 rows + failures(data, path))


def growth_table(data: Data, path: str) -> str:
    """Return the cost against rows."""
    rows = []
    for name in names(data, path):
        mine = rounds(data, path, name)
        store, _, users = name.rpartition(", ")
        rows.append([store, amount(float(users))] + medians(
            mine, "read.p50_ms", "read.cpu_us", "sign_in.p50_ms"))
    return table(("database", "users", "`GET /profile` p50, ms",
                  "CPU µs each", "sign-in p50, ms"),
                 sorted(rows, key=lambda row: row[0], reverse=True)
                 + failures(data, path))


def start_table(data: Data, path: str) -> str:
    """Return what a server takes before it has done anything."""
    rows = [[name] + [amount(median(rounds(data, path, name), figure))
                      for figure in ("cold_s", "ready_s", "worker_rss_mb",
                                     "worker_pss_mb", "all_rss_mb",
                                     "all_pss_mb", "processes")]
            for name in names(data, path)]
    return table(("start", "to /healthz, s", "to /readyz, s",
                  "one worker RSS, MB", "PSS",
                  "all processes RSS", "PSS", "processes"),
                 rows + failures(data, path))


def postgresql_table(data: Data, path: str) -> str:
    """Return what reads cost us on one database and the other."""
    rows = []
    for name in names(data, path):
        mine = rounds(data, path, name)
        rows.append([name] + medians(
            mine, "per_second", "p50_ms", "p99_ms", "cpu_us") + [
            amount(ratio(mine, rounds(data, path, "SQLite"), "cpu_us"))])
    return table(("`GET /profile`", "a second", "p50 ms", "p99 ms",
                  "CPU µs each, ours", "CPU × SQLite"),
                 rows + failures(data, path))


def failures(data: Data, path: str) -> List[List[str]]:
    """Return a row for each name that failed, with the reason."""
    part, _, phase = path.partition(".")
    failed = data.get(part, {}).get(phase, {}).get("failed", {})
    return [[name, "failed: " + reason.replace("|", "/")[:160]]
            for name, reason in failed.items()]


TABLES: Dict[str, Callable[[Data, str], str]] = {
    "get": read_table, "signin": sign_in_table, "storm": storm_table,
    "flood": flood_table, "growth": growth_table, "start": start_table,
    "postgresql": postgresql_table}


# -- The page

def sections(data: Data) -> Dict[str, str]:
    """Return what is to stand between the markers of the page, by name."""
    found = {"must-show": must_show(data), "setting": setting(data)}
    for part in ("bench", "peers"):
        for phase, tabulate in TABLES.items():
            if phase in data.get(part, {}):
                path = "{}.{}".format(part, phase)
                found[path] = tabulate(data, path)
    return found


def setting(data: Data) -> str:
    """Return when, where and with what it was measured."""
    lines = ["- {}: {}".format(*each)
             for each in data.get("machine", {}).items()]
    for part, title in (("bench", "`make bench`"),
                        ("peers", "`make bench-peers`")):
        for phase, found in data.get(part, {}).items():
            lines.append("- {}, {}: {}, on {}".format(
                title, phase, found["when"], found["server"]))
    return "\n".join(lines)


def renewed(page: str, data: Data) -> str:
    """Return a page with what stands between its markers written anew.

    What was not measured stays as it is.
    """
    for name, text in sections(data).items():
        page = re.sub(re.escape(MARKED.format(name, "\0")).replace(
            re.escape("\0"), ".*?"), lambda _: MARKED.format(name, text),
            page, flags=re.S)
    return page


def as_text(data: Data) -> str:
    """Return the JSON of a run, indented, each list of numbers on a line."""
    indented = json.dumps(data, indent=1, ensure_ascii=False)
    return NUMBERS.sub(lambda found: "[{}]".format(
        " ".join(found.group(1).split())), indented) + "\n"


def read_data(path: Path) -> Data:
    """Return what earlier runs left; nothing if there were none."""
    if not path.exists():
        return {}
    found: Data = json.loads(path.read_text(encoding="utf-8"))
    return found
