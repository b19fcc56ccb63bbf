#!/usr/bin/env python3
"""The image without an engine: what the Containerfile does, in namespaces.

Packages are installed from requirements.lock by their hashes, the tree is
what .dockerignore lets in, and the command runs as the user of the image,
without capabilities, where nothing but the data and /tmp can be written.
"""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from http.client import HTTPException
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import pytest

from app import app
from tests.deploy.files import (
    image_command, image_environ, image_says, is_copied)
from tests.helpers import EMAIL, ROOT, STRONG, Server
from tests.machine import free_port
from tests.smtp_server import SmtpServer
from tests.test_going_live import DEPLOYED, HOST

# What an engine does, for a process of this machine. Everything is mounted in
# a namespace of its own, which ends with it.
BUILD = """set -eu
mount -t tmpfs -o mode=755 none /opt
"$PYTHON" -m venv /opt/venv
/opt/venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check \\
    --require-hashes --only-binary :all: -r "$TREE/requirements.lock"
mount -t tmpfs -o mode=755 none /srv
cp -r "$TREE" /srv/bienvenue
mount -t tmpfs -o mode=755 none /var/lib
mkdir /var/lib/bienvenue
mount --bind "$DATA" /var/lib/bienvenue
# The interpreter of this machine may lie where only its owner looks.
mkdir /opt/python
mount --bind "$BASE" /opt/python
top="/$(echo "$BASE" | cut -d/ -f2)"
if [ "$top" != /usr ]; then
    mount -t tmpfs -o mode=755 none "$top"
    mkdir -p "$BASE"
    mount --bind /opt/python "$BASE"
    mount -o remount,ro "$top"
fi
for each in / /opt /srv /var/lib; do mount -o remount,ro,bind "$each"; done
mount -t tmpfs -o mode=1777,noexec,nosuid,nodev none /tmp
cd /srv/bienvenue
exec setpriv --reuid="${USER%:*}" --regid="${USER#*:}" --clear-groups \\
    --bounding-set=-all --inh-caps=-all --no-new-privs -- "$@"
"""
# What the process in there tries, and must not be able to do.
PROBE = """
import os, socket
def can(work, *words):
    try:
        work(*words)
        return True
    except OSError:
        return False
print(can(open, "/srv/bienvenue/app.py", "a"),
      can(open, "/srv/bienvenue/new", "w"), can(open, "/opt/venv/new", "w"),
      can(open, "/etc/new", "w"), can(os.setuid, 0), can(os.chroot, "/srv"),
      can(open, "/var/lib/bienvenue/new", "w"), can(open, "/tmp/new", "w"))
"""


def namespaces_missing() -> str:
    """Return why this machine cannot play an engine, "" if it can."""
    if sys.version_info < (3, 13):
        return "requirements.lock is for the newest Python"
    tried = not shutil.which("setpriv") or subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/opt"],
        stderr=subprocess.DEVNULL).returncode
    return "mounting in a namespace is not allowed here" if tried else ""


MISSING = namespaces_missing()
# The image has one Python, and a volume for SQLite.
pytestmark = [pytest.mark.once, pytest.mark.skipif(
    bool(MISSING) and (os.environ.get("CI") != "true"
                       or sys.version_info < (3, 13)), reason=MISSING or "-")]


class Image(Server):
    """A container of the image, made and started."""

    def __init__(self, folder: Path, *words: str, **environ: str) -> None:
        """Put the tree together, and run the image's command or this one.

        What is in the data folder stays.
        """
        self.folder = folder
        self.port = free_port()
        self._log = folder / "container-{}.log".format(self.port)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                 BUILD, "sh", "env", "-i", *self.environ(environ),
                 *(words or image_command())],
                stdout=log, stderr=log, env=dict(
                    os.environ, PYTHON=sys.executable, BASE=sys.base_prefix,
                    TREE=str(self.tree()), DATA=str(self.data()),
                    USER=image_says("USER")[-1]))

    def tree(self) -> Path:
        """Return a copy of the project, of what .dockerignore lets in."""
        tree = self.folder / "tree"
        for folder, below, names in os.walk(str(ROOT)):
            below[:] = [each for each in below if not each.startswith(".")]
            for path in (Path(folder) / each for each in names):
                if is_copied(path.relative_to(ROOT).as_posix()):
                    copy = tree / path.relative_to(ROOT)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(str(path), str(copy))
        return tree

    def data(self) -> Path:
        """Return the folder of the volume, which the image's user owns."""
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        user, _, group = image_says("USER")[-1].partition(":")
        os.chown(str(data), int(user), int(group))
        data.chmod(0o700)
        return data

    def environ(self, given: Dict[str, str]) -> List[str]:
        """Return the variables of the image and those of its deployer."""
        said = dict(image_environ(), PORT=str(self.port), **given)
        said["PATH"] = said["PATH"].replace("$PATH", os.environ["PATH"])
        return ["{}={}".format(*each) for each in said.items()]

    def starts(self) -> None:
        """Wait until it answers; a build takes a while."""
        deadline = time.monotonic() + 120
        while True:
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            try:
                self.ask("GET", "/", {"Host": HOST})
                return
            except (OSError, HTTPException):
                time.sleep(0.05)


def inside(container: Image, python: str, *words: str) -> Tuple[int, str]:
    """Run the image's Python in there, as its user, as engines do.

    Returns the exit code and all that was printed.
    """
    user, _, group = image_says("USER")[-1].partition(":")
    done = subprocess.run(
        ["nsenter", "--mount", "--target", str(container.process.pid),
         "sh", "-c", "cd /srv/bienvenue && exec \"$@\"", "sh", "setpriv",
         "--reuid=" + user, "--regid=" + group, "--clear-groups",
         "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs",
         "/opt/venv/bin/" + python, *words], timeout=60,
        env=dict(os.environ, PORT=str(container.port)),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        universal_newlines=True)
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The container in production, serving, with a mail server beside it."""
    with SmtpServer() as mail:
        started = Image(
            tmp_path_factory.mktemp("image"), MAIL_URL=mail.url,
            **{word: each for word, each in DEPLOYED.items()
               if word != "AUTH_ENV"})
        try:
            started.starts()
            yield started
        finally:
            started.kill()


class TestContainer:
    """The image as it runs; the last test here ends it."""

    def test_opens_accounts(self, container: Image) -> None:
        """In the volume, which is all that it can write."""
        answer = container.ask("POST", "/users", {"Host": HOST},
                               email=EMAIL, password=STRONG)
        assert answer.status == 200, container.log()
        database = container.folder / "data" / "bienvenue.db"
        assert database.stat().st_uid == int(
            image_says("USER")[-1].partition(":")[0])

    def test_process_is_nobody(self, container: Image) -> None:
        """The user of the image, without a capability, for good."""
        status = dict(line.split(":\t", 1) for line in Path(
            "/proc/{}/status".format(container.process.pid)).read_text()
            .splitlines() if ":\t" in line)
        user, _, group = image_says("USER")[-1].partition(":")
        assert status["Uid"].split() == [user] * 4
        assert status["Gid"].split() == [group] * 4
        assert status["NoNewPrivs"] == "1"
        assert {int(status["Cap" + each], 16) for each in (
            "Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}

    def test_only_data_and_tmp_can_be_written(
            self, container: Image) -> None:
        """Whoever gets in leaves nothing behind."""
        code, said = inside(container, "python", "-c", PROBE)
        assert code == 0
        assert said.split() == ["False"] * 6 + ["True"] * 2

    def test_health_check_asks_the_service(self, container: Image) -> None:
        """By the very command of the image, which engines run in there."""
        _, _, command = image_says("HEALTHCHECK")[-1].partition("CMD ")
        code, said = inside(container, *json.loads(command))
        known = "/healthz" in {
            each.rule for each in app.url_map.iter_rules()}
        assert (code, "nobody answers" in said) == (int(not known), False)

    def test_packages_are_those_of_the_lock(self, container: Image) -> None:
        """Installed by their hashes; nothing else came along."""
        _, listed = inside(container, "python", "-m", "pip", "list",
                           "--format=freeze", "--disable-pip-version-check")
        names = {line.partition("==")[0].lower().replace("_", "-")
                 for line in listed.splitlines() if "==" in line}
        locked = {line.partition("==")[0] for line in (
            ROOT / "requirements.lock").read_text().splitlines()
            if "==" in line}
        assert names - {"pip"} <= locked

    def test_ends_well(self, container: Image) -> None:
        """On SIGTERM, which reaches the server itself."""
        container.tell(signal.SIGTERM)
        assert container.ends() == 0
        assert "Traceback" not in container.log()
