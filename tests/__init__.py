#!/usr/bin/env python3
"""The proofs: a mirror of the sources, the pinned card, and the promises.

Importing this package, which happens before any test module is read, gives
the service at the root of app.py a database and settings of its own, so that
a run neither touches the developer's accounts nor obeys their environment.
"""
import atexit
import os
import shutil
import tempfile

_FOLDER = tempfile.mkdtemp(prefix="bienvenue-tests-")
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)

for _name in ("AUTH_ENV", "HOST", "PORT", "SESSION_IDLE", "SESSION_ABSOLUTE",
              "RESET_TOKEN_LIFE", "BASE_URL"):
    os.environ.pop(_name, None)
os.environ["DATABASE_URL"] = "sqlite:///{}/card.db".format(_FOLDER)
os.environ["BCRYPT_COST"] = "4"
