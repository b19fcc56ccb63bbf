#!/usr/bin/env python3
"""Measure, and write down what was measured.

    python3 -m benchmarks                    all phases: `make bench`
    python3 -m benchmarks --peers            with peers: `make bench-peers`
    python3 -m benchmarks --only storm,flood
    python3 -m benchmarks --only ""          only draw the page again

Results of one phase replace those of the same phase before, so a page can be
renewed in parts; ratios are always of one phase. See docs/performance.md.
"""
from __future__ import annotations

import argparse
import platform
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from benchmarks import plots, report
from benchmarks.load import NO_WRK
from benchmarks.phases import PEER_PHASES, PHASES, TROUBLE, Plan, measure
from benchmarks.targets import CORES, OURS, ROOT, versions

PACKAGES = ("flask", "werkzeug", "sqlalchemy", "psycopg", "bcrypt", "granian",
            "gunicorn")


def arguments(words: Optional[List[str]]) -> argparse.Namespace:
    """Understand the command line."""
    parser = argparse.ArgumentParser(
        prog="python3 -m benchmarks", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = Plan()
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--only", help="phases, by commas: "
                        + ", ".join(PHASES))
    parser.add_argument("--server", choices=sorted(OURS),
                        default=usual.server)
    parser.add_argument("--rounds", type=int, default=usual.rounds)
    parser.add_argument("--seconds", type=float, default=usual.seconds,
                        help="how long one look takes")
    parser.add_argument("--flood", type=float, default=usual.flood,
                        help="how many seconds the flood takes")
    parser.add_argument("--users", default=",".join(map(str, usual.sizes)),
                        help="how many, by commas, from few to many")
    parser.add_argument("--out", type=Path, help=(
        "a folder for results and pictures, in place of the project's own"))
    return parser.parse_args(words)


def plan_of(given: argparse.Namespace) -> Plan:
    """Return what is to be done."""
    plan = Plan(given.server, given.peers, given.rounds, given.seconds,
                flood=given.flood,
                sizes=[int(each) for each in given.users.split(",")])
    # The limit of the long ones is how long a peer keeps everybody waiting.
    return replace(plan, storms=plan.storms[:1]) if given.peers else plan


def phases_of(given: argparse.Namespace) -> List[str]:
    """Return the names of the phases to do; SystemExit for an unknown one."""
    possible = PEER_PHASES if given.peers else tuple(PHASES)
    if given.only is None:
        return list(possible)
    wanted = [each for each in given.only.split(",") if each]
    unknown = [each for each in wanted if each not in possible]
    if unknown:
        raise SystemExit("No phase is called {}; there are {}.".format(
            ", ".join(unknown), ", ".join(possible)))
    return wanted


def machine() -> Dict[str, str]:
    """Return what it is measured on and with."""
    found = versions(*PACKAGES)
    return {"machine": "{}, {} cores, {} {}".format(
                model(), CORES, platform.system(), platform.release()),
            "Python": platform.python_version(),
            "packages": ", ".join("{} {}".format(*each)
                                  for each in found.items())}


def places(out: Optional[Path]) -> Tuple[Path, Path]:
    """Return where figures are written, and in which folder pages are."""
    folder = out or ROOT / "benchmarks" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "latest.json", out or ROOT / "docs"


def model() -> str:
    """Return what the processor calls itself."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines
                 if line.startswith("model name")), platform.machine())


def write(data: report.Data, results: Path, docs: Path) -> None:
    """Write down what was measured, and renew the page and its pictures."""
    results.write_text(report.as_text(data), encoding="utf-8")
    plots.draw(data, docs)
    page = docs / "performance.md"
    if page.exists():
        page.write_text(report.renewed(page.read_text(
            encoding="utf-8"), data), encoding="utf-8")


def main(words: Optional[List[str]] = None) -> int:
    """Do what is asked, phase by phase; 1 if anything failed."""
    # Whoever ends us ends the servers, too, and those are other sessions.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    given, began = arguments(words), time.monotonic()
    plan, phases = plan_of(given), phases_of(given)
    if phases and not shutil.which("wrk"):
        raise SystemExit(NO_WRK)
    results, docs = places(given.out)
    data = report.read_data(results)
    part = data.setdefault("peers" if plan.peers else "bench", {})
    data["machine"] = machine()
    failed = []
    with tempfile.TemporaryDirectory(prefix="bienvenue-bench-") as folder:
        for name in phases:
            try:
                part[name] = measure(name, plan, Path(folder))
                failed += list(part[name]["failed"])
            except TROUBLE as error:
                failed.append("{} ({})".format(name, error))
                print("{}: FAILED, {}".format(name, error), flush=True)
            write(data, results, docs)
    if not phases:
        write(data, results, docs)
    print("\n" + "\n\n".join(report.sections(data).values()))
    print("\n{:.0f} s; in {}".format(time.monotonic() - began, results))
    if failed:
        print("FAILED: " + ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
