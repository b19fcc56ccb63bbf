#!/usr/bin/env python3
"""The image and the compose files: locked down, and without a secret.

There is no engine to run them where this is tested; what the image does is
shown by tests/deploy/test_image.py, in namespaces of Linux.
"""
from __future__ import annotations

import http.server
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from settings import Settings
from tests.deploy.files import (
    COMPOSE, DEPLOY, PYTHON, SECRETS, SETTINGS, graceful_seconds,
    image_command, image_environ, image_says, is_copied)
from tests.helpers import ROOT, Granian

# The image has one Python, the newest.
pytestmark = pytest.mark.once
SERVICES: List[Tuple[str, str]] = [
    (name, service) for name in COMPOSE for service in COMPOSE[name][
        "services"]]
OURS = [(name, service) for name, service in SERVICES
        if COMPOSE[name]["services"][service]["image"] == "bienvenue"]
every_service = pytest.mark.parametrize("name, service", SERVICES)
every_one_of_ours = pytest.mark.parametrize("name, service", OURS)


def of(name: str, service: str) -> Dict[str, Any]:
    """Return what a compose file says of a service."""
    found: Dict[str, Any] = COMPOSE[name]["services"][service]
    return found


class TestImage:
    """The Containerfile, and what gets in by it."""

    def test_runs_as_a_user_by_number(self) -> None:
        """A cluster can see that it is not root."""
        assert re.match(r"[1-9][0-9]+:[1-9][0-9]+\Z", image_says("USER")[-1])

    def test_installs_what_was_locked(self) -> None:
        """By hash, and nothing is built or run meanwhile."""
        install, = [each for each in image_says("RUN") if "install " in each
                    and "pip" in each]
        assert "--require-hashes" in install
        assert "--only-binary :all:" in install
        assert "requirements.lock" in install

    def test_commands_need_no_shell(self) -> None:
        """So that SIGTERM reaches the server."""
        assert image_command() == ["python"] + list(Granian.command[1:])
        health = image_says("HEALTHCHECK")[-1].partition("CMD ")[2]
        assert (ROOT / json.loads(health)[1]).exists()

    def test_sets_settings_only_and_no_secret(self) -> None:
        """An image is copied about; whoever has it reads its environment."""
        given = set(image_environ())
        assert given <= SETTINGS | PYTHON
        assert given & SECRETS == {"DATABASE_URL"}
        assert "@" not in image_environ()["DATABASE_URL"]

    def test_base_is_one_version(self) -> None:
        """Of a name without a host: where from is the deployer's choice."""
        bases = [each.split()[0] for each in image_says("FROM")]
        assert len(set(bases)) == 1
        assert re.match(r"python:3\.\d+-slim-[a-z]+\Z", bases[0])

    @pytest.mark.parametrize("name", [
        "app.py", "ending.py", "mail/outbox.py", "mail/templates/verify.txt",
        "mail/templates/layout.html", "routes/guards.py",
        "credentials/common_passwords.txt", "pages/account/account.html",
        "pages/account/account.css", "pages/account/account.js",
        "deploy/serve.py",
        "deploy/__init__.py", "deploy/master.py", "deploy/gunicorn.conf.py",
        "deploy/container/healthcheck.py", "requirements.lock",
        "pages/docs/index.html", "pages/docs/swagger-ui-bundle.js"])
    def test_what_is_needed_is_copied(self, name: str) -> None:
        """Code of new rooms by itself, and what it reads."""
        assert is_copied(name)

    @pytest.mark.parametrize("name", [
        ".env", ".git/config", ".venv/lib/a.py", "bienvenue.db", "pepper",
        "bienvenue.db-wal", "secrets/pepper", "mail_url", "id_rsa",
        "deploy/compose/secrets/pepper", "deploy/compose/settings.env",
        "tests/helpers.py", "mail/notes.txt", "routes/.env",
        "credentials/__pycache__/tokens.pyc", "docs/security.md"])
    def test_nothing_else_is_copied(self, name: str) -> None:
        """What lies about in the folder may be a secret."""
        assert not is_copied(name)


class TestHealthCheck:
    """The command by which an engine asks how the service is."""

    @pytest.fixture
    def port(self, request: Any) -> Iterator[int]:
        """The port of a service that gives one answer."""
        class Handler(http.server.BaseHTTPRequestHandler):
            """Gives the status that the test asks for, to /healthz."""

            def do_GET(self) -> None:
                """Answer with this status."""
                self.send_response(
                    request.param if self.path == "/healthz" else 500)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Leave the log of the tests alone."""
        with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(.01,))
            thread.start()
            yield int(server.server_address[1])
            server.shutdown()
            thread.join()

    def check(self, port: int) -> Tuple[int, str]:
        """Run it, and return its exit code and what it printed."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-S", "-E",
             str(DEPLOY / "container" / "healthcheck.py")],
            env={"PORT": str(port)}, stderr=subprocess.PIPE, timeout=30,
            universal_newlines=True)
        return done.returncode, done.stderr

    @pytest.mark.parametrize("port", [200], indirect=True)
    def test_service_that_lives(self, port: int) -> None:
        """Says so with nothing but an exit code."""
        assert self.check(port) == (0, "")

    @pytest.mark.parametrize("port", [503], indirect=True)
    def test_service_that_does_not(self, port: int) -> None:
        """The engine keeps the sentence."""
        assert self.check(port) == (1, "/healthz says 503\n")

    def test_nobody_there(self) -> None:
        """It is no traceback."""
        code, said = self.check(1)
        assert code == 1
        assert re.match(r"nobody answers: .*\n\Z", said)


class TestCompose:
    """The compose files, read by the rules that hold for each."""

    @every_service
    def test_service_is_locked_down(self, name: str, service: str) -> None:
        """Whatever gets in finds nothing to write and nothing to become."""
        said = of(name, service)
        assert said["read_only"] is True
        assert said["cap_drop"] == ["ALL"]
        assert said["security_opt"] == ["no-new-privileges:true"]
        assert said["pids_limit"] <= 512
        assert not {"privileged", "network_mode", "pid", "devices"} & set(said)

    @every_one_of_ours
    def test_service_of_ours_is_a_user_without_capabilities(
            self, name: str, service: str) -> None:
        """The same as in the image."""
        said = of(name, service)
        assert said["user"] == image_says("USER")[-1]
        assert "cap_add" not in said
        assert all(each.startswith("/tmp:") and "noexec" in each
                   for each in said["tmpfs"])

    @every_one_of_ours
    def test_service_of_ours_is_given_settings(
            self, name: str, service: str) -> None:
        """A name with a typing error would be no setting at all."""
        given = of(name, service)["environment"]
        assert set(given) <= SETTINGS | {each + "_FILE" for each in SECRETS}

    @every_service
    def test_secrets_are_files(self, name: str, service: str) -> None:
        """Which no `docker inspect` shows, and each is handed out."""
        said = of(name, service)
        given = said.get("environment", {})
        assert not any(given.get(each) for each in SECRETS)
        assert not any(re.search("PASSWORD|TOKEN|KEY|SECRET", each)
                       for each in given if not each.endswith("_FILE"))
        files = {each[len("/run/secrets/"):] for word, each in given.items()
                 if word.endswith("_FILE")}
        assert files == set(said.get("secrets", []))
        assert files <= set(COMPOSE[name]["secrets"])

    @every_one_of_ours
    def test_service_of_ours_has_the_time_to_end(
            self, name: str, service: str) -> None:
        """The usual ten seconds would cut off who is being answered."""
        seconds = int(of(name, service)["stop_grace_period"].rstrip("s"))
        assert seconds > graceful_seconds()

    @every_service
    def test_folders_of_the_host_are_not_written(
            self, name: str, service: str) -> None:
        """Data goes into volumes."""
        for each in of(name, service).get("volumes", []):
            source = each.split(":")[0]
            assert each.endswith(":ro") or source in COMPOSE[name]["volumes"]

    def test_only_the_proxy_is_reached_from_outside(self) -> None:
        """On SQLite alone, that is a proxy on this very host."""
        ports = {(name, service): of(name, service).get("ports", [])
                 for name, service in SERVICES}
        assert {each for each in ports if ports[each]} == {
            ("sqlite", "auth"), ("postgresql", "proxy")}
        assert ports["sqlite", "auth"] == ["127.0.0.1:5000:5000"]

    def test_replicas_wait_for_the_schema(self) -> None:
        """Which one service makes, once, and with another role if need be."""
        migrate = of("postgresql", "migrate")
        assert migrate["command"] == ["flask", "db", "upgrade"]
        assert migrate["restart"] == "no"
        for replica in ("auth-1", "auth-2"):
            waits = of("postgresql", replica)["depends_on"]
            assert waits["migrate"] == {
                "condition": "service_completed_successfully"}
            assert waits["database"] == {"condition": "service_healthy"}
        assert all("healthcheck" in of("postgresql", each)
                   for each in ("database", "proxy"))

    def test_database_is_in_no_network_with_a_way_out(self) -> None:
        """Nor in one with the proxy."""
        assert of("postgresql", "database")["networks"] == ["back"]
        assert COMPOSE["postgresql"]["networks"]["back"] == {"internal": True}
        assert of("postgresql", "proxy")["networks"] == ["front"]

    def test_settings_for_sqlite_are_enough(self, tmp_path: Path) -> None:
        """With what the head of the file asks for, the service starts."""
        environ = dict(image_environ(), PUBLIC_URL="https://auth.example.com",
                       LANDING_URL="https://www.example.com/account",
                       MAIL_FROM="auth@example.com",
                       **of("sqlite", "auth")["environment"])
        for name, text in (("mail_url", "smtps://mail.example.com"),
                           ("pepper", "p" * 32)):
            (tmp_path / name).write_text(text)
        environ = {word: each.replace("/run/secrets", str(tmp_path)).replace(
            "/var/lib/bienvenue", str(tmp_path))
            for word, each in environ.items()}
        assert Settings.from_env(environ).production
