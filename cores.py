#!/usr/bin/env python3
"""How much of a machine is ours: what a container was given counts."""
from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Iterator

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def count_cores(groups: Path = GROUPS, own: Path = OWN_GROUPS) -> int:
    """Return how many cores this process may keep busy, at least one.

    Those that it may run on (taskset, cpuset), or fewer where a container or
    a unit was given a share (`--cpus`, CPUQuota=). A part of one counts as
    one.
    """
    usable = (len(os.sched_getaffinity(0)) if hasattr(
        os, "sched_getaffinity") else os.cpu_count() or 1)
    return max(1, math.ceil(min([usable] + list(quotas(groups, own)))))


def quotas(groups: Path, own: Path) -> Iterator[float]:
    """Yield each limit on this process in cores: its group's and those above.

    Control groups of version 2 have one file with "quota period", where max
    is no limit; those of version 1 have two, where -1 is none.
    """
    for folder in folders(groups, own):
        limit = (said(folder / "cpu.max") or said(
            folder / "cpu.cfs_quota_us") + said(
            folder / "cpu.cfs_period_us")).split()
        if len(limit) == 2 and all(each.isdigit() for each in limit):
            yield int(limit[0]) / int(limit[1])


def folders(groups: Path, own: Path) -> Iterator[Path]:
    """Yield the folder of each control group that this process is in.

    A container may be shown the path of its group outside, which is not
    there; its own group is then the root.
    """
    for line in said(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            root = groups / controllers
            folder = root / path.lstrip("/")
            yield folder
            while folder != root:
                folder = folder.parent
                yield folder


def said(path: Path) -> str:
    """Return what a file of the system says; nothing if it is not there."""
    try:
        return path.read_text()
    except OSError:
        return ""
