#!/usr/bin/env python3
"""How the log looks: lines of JSON in production, plain text on a desk.

JSON because a field may hold whatever a stranger sent: a line break or an
escape sequence in it is spelled out, and makes no second line (ASVS 16.4.1,
CVE-2025-48432).
"""
from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from typing import Any, Dict

# Line ends, escape sequences and whatever else a terminal would obey.
CONTROLS = {code: "\\x{:02x}".format(code)
            for code in list(range(32)) + list(range(127, 160))}


class JsonLines(logging.Formatter):
    """One object a line: at (UTC), level, logger, message, and the fields.

    Fields are what a caller of the logger gave as `extra={"fields": …}`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, in ASCII, without its end."""
        line: Dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, timezone.utc)
            .isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(), "logger": record.name,
            "message": record.getMessage()}
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class PlainText(logging.Formatter):
    """The message and the fields that it does not name, for human eyes.

    A message may have several lines, such as a mail that is shown; a field
    may not.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the text, with the control characters of fields spelled."""
        text = " ".join([record.getMessage()] + [
            "{}={}".format(name, str(value).translate(CONTROLS))
            for name, value in getattr(record, "fields", {}).items()
            if str(value) not in record.getMessage()])
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def configure(production: bool) -> None:
    """Send the log to standard error, unless somebody configured it before.

    Called by whoever starts a process, never on import.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if production else PlainText())
    logging.basicConfig(handlers=[handler], level=logging.INFO)
