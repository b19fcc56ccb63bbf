#!/usr/bin/env python3
"""A mail server for the desk, which prints what it gets and sends nothing."""
from __future__ import annotations

import email
import email.policy
import os
import threading
from typing import Any

from aiosmtpd.controller import Controller


class Printer:
    """Takes every mail, whoever it is to."""

    async def handle_DATA(self, server: Any, session: Any,
                          envelope: Any) -> str:
        """Print the text of a mail, so that its link can be opened."""
        message = email.message_from_bytes(
            envelope.content, policy=email.policy.default)
        body = message.get_body(("plain",))
        print("To {}: {}\n\n{}".format(
            message["To"], message["Subject"],
            body.get_content() if body else ""), flush=True)
        return "250 OK"


if __name__ == "__main__":
    Controller(Printer(), "127.0.0.1",
               int(os.environ.get("PORT", "1025"))).start()
    threading.Event().wait()
