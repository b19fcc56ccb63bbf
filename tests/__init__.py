#!/usr/bin/env python3
"""The proofs: a mirror of the sources, the pinned card, and the promises.

Importing this package, which happens before any test module is read, gives
the service at the root of app.py a database and settings of its own, so that
a run neither touches the developer's accounts nor obeys their environment.
"""
import atexit
import dataclasses
import os
import shutil
import tempfile

from settings import Settings

_FOLDER = tempfile.mkdtemp(prefix="bienvenue-tests-")
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)

for _field in dataclasses.fields(Settings):
    os.environ.pop(_field.metadata["name"], None)
    os.environ.pop(_field.metadata["name"] + "_FILE", None)
os.environ.pop("BASE_URL", None)
os.environ["DATABASE_URL"] = "sqlite:///{}/card.db".format(_FOLDER)
os.environ["BCRYPT_COST"] = "4"
