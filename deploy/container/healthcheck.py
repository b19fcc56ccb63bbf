#!/usr/bin/env python3
"""Ask the service in this container whether it is alive.

Exits with 0 if it says so within two seconds, and else with 1 and why. Needs
Python only, as there is no curl in the image.
"""
from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException


def check(port: int) -> str:
    """Return what is wrong, "" if nothing is."""
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
        return "" if status == 200 else "/healthz says {}".format(status)
    except (OSError, HTTPException) as error:
        return "nobody answers: {}".format(error or type(error).__name__)
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(check(int(os.environ.get("PORT", "5000"))) or 0)
