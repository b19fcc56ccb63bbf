#!/usr/bin/env python3
"""Servers in production, with a mail server that takes everything."""
from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator, List, Type

import pytest

from tests.deploy.live import Production
from tests.smtp_server import SmtpServer


@pytest.fixture
def mail() -> Iterator[SmtpServer]:
    """A mail server that takes everything."""
    with SmtpServer() as listening:
        yield listening


@pytest.fixture
def go_live(tmp_path: Path, mail: SmtpServer, kind: Type[Production]
            ) -> Iterator[Callable[..., Production]]:
    """Start servers of the kind that the file of tests is about."""
    started: List[Production] = []

    def start(**environ: str) -> Production:
        """Start one and return it once it answers."""
        started.append(kind(tmp_path, MAIL_URL=mail.url, **environ))
        return started[-1]
    yield start
    for each in started:
        each.stop()
        assert "Traceback" not in each.log()
