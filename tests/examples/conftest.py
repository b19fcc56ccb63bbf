#!/usr/bin/env python3
"""Bienvenue in production with the settings of the examples' page."""
from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator

import pytest

from tests.examples.running import desk
from tests.helpers import link_token
from tests.proxies import HOST
from tests.smtp_server import SmtpServer
from tests.test_going_live import HOST as OTHER_HOST
from tests.test_going_live import Live


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything of one file of tests is kept."""
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def mail() -> Iterator[SmtpServer]:
    """A mail server that takes everything."""
    with SmtpServer() as listening:
        yield listening


@pytest.fixture(scope="module")
def go_live(folder: Path, mail: SmtpServer
            ) -> Iterator[Callable[[str, str], Live]]:
    """Start the service at a public URL, by desk.env for the rest."""
    started = []

    def start(public_url: str, email: str) -> Live:
        """Return it once it answers, with a user who proved the mailbox."""
        ours = dict(desk(), PUBLIC_URL=public_url, MAIL_URL=mail.url,
                    TRUSTED_HOSTS="{},{}".format(HOST, OTHER_HOST))
        del ours["DATABASE_URL"]
        made = Live(folder, **ours)
        started.append(made)
        assert made.registers(email) == 200
        mail.wait_for(email)
        assert made.ask("PUT", "/verify_email", token=link_token(
            mail.text(email))).status == 200
        return made
    yield start
    for each in started:
        each.stop()
        assert "Traceback" not in each.log()
