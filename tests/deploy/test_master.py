#!/usr/bin/env python3
"""What is done once, before there are workers."""
from __future__ import annotations

import gc

import pytest

from credentials.pool import share_slots
from deploy.master import prepare
from settings import Settings


@pytest.mark.once
def test_collector_leaves_alone_what_workers_share(
        settings: Settings) -> None:
    """Or each of them gets a copy of its own, 14 MB."""
    try:
        prepare(settings)
        assert gc.get_freeze_count() > 10000
    finally:
        gc.unfreeze()
        share_slots(0)
