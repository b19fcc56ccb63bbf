#!/usr/bin/env python3
"""How many cores are ours, as the system's files tell it."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Callable, Dict

import pytest

from cores import count_cores

Count = Callable[..., int]


@pytest.fixture
def count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Count:
    """Count on a machine of eight cores, in this group, with these files."""
    monkeypatch.setattr(
        os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    def count_there(own: str, files: Dict[str, str]) -> int:
        """Write the files of the system and count."""
        for name, text in files.items():
            path = tmp_path / "groups" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "own").write_text(own)
        return count_cores(tmp_path / "groups", tmp_path / "own")
    return count_there


@pytest.mark.parametrize("limit, cores", [
    ("200000 100000\n", 2), ("150000 100000\n", 2), ("50000 100000\n", 1),
    ("1000 100000\n", 1), ("max 100000\n", 8), ("1600000 100000\n", 8),
    ("", 8), ("nonsense", 8)])
def test_share_of_a_container(count: Count, limit: str, cores: int) -> None:
    """A part of a core counts as one, and nobody has more than there are."""
    assert count("0::/\n", {"cpu.max": limit}) == cores


def test_share_of_a_group_above(count: Count) -> None:
    """A unit in a slice has no more than the slice."""
    assert count("0::/our.slice/our own.service\n", {
        "our.slice/our own.service/cpu.max": "max 100000",
        "our.slice/cpu.max": "300000 100000"}) == 3


def test_path_outside_of_the_container(count: Count) -> None:
    """Where it is not there, the container's own group is the root."""
    assert count("0::/outside/scope\n", {"cpu.max": "100000 100000"}) == 1


def test_groups_of_version_1(count: Count) -> None:
    """Which has a folder for each controller, and two files for a share."""
    assert count("3:memory:/a\n2:cpu,cpuacct:/a\n1:name=systemd:/a\n", {
        "memory/a/cpu.max": "100000 100000",
        "cpu,cpuacct/a/cpu.cfs_quota_us": "400000\n",
        "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}) == 4


def test_groups_of_version_1_without_a_limit(count: Count) -> None:
    """Where -1 is none."""
    assert count("2:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n",
                               "cpu/cpu.cfs_period_us": "100000\n"}) == 8


def test_cores_that_it_may_run_on(count: Count, monkeypatch:
                                  pytest.MonkeyPatch) -> None:
    """As with taskset or a cpuset, however large its share."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5})
    assert count("0::/\n", {"cpu.max": "400000 100000"}) == 2


def test_system_without_groups_and_affinity(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as macOS, where all cores are ours."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert count_cores(tmp_path / "none", tmp_path / "none") == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert count_cores(tmp_path / "none", tmp_path / "none") == 1


def test_this_machine() -> None:
    """Whatever it is, it has one that we use."""
    assert 1 <= count_cores() <= (os.cpu_count() or 1)
