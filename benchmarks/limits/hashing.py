#!/usr/bin/env python3
"""Sign-ins without a service: bcrypt on all cores, and nothing else.

    python3 -m benchmarks.limits.hashing CORES SECONDS COST

prints as JSON when each check ended, and what CPU all of them took.
"""
from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any, Dict, List

import bcrypt

PASSWORD = b"Tartiflette au 1er reblochon"


def check_on_all_cores(cores: int, seconds: float,
                       cost: int) -> Dict[str, Any]:
    """Check a password again and again in so many threads."""
    hashed = bcrypt.hashpw(PASSWORD, bcrypt.gensalt(cost))
    ends: List[float] = []
    began, spent = time.monotonic(), time.process_time()

    def check() -> None:
        """Check until the time is over."""
        while time.monotonic() < began + seconds:
            assert bcrypt.checkpw(PASSWORD, hashed)
            ends.append(time.monotonic() - began)
    threads = [threading.Thread(target=check) for _ in range(cores)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return {"ends": ends, "cpu_seconds": time.process_time() - spent}


if __name__ == "__main__":
    print(json.dumps(check_on_all_cores(
        int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))))
