"""The recipe of docs/certificates.md: its commands are run as they stand, and what they make is used.

A real mosquitto with the configuration and access lists of the documentation, a real daemon, the
reference consumer and mosquitto_pub. Only addresses and folders are exchanged, and nobody is root.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import ssl
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from benchmarks.authority import Authority
from benchmarks.rig import Mosquitto, free_port, wait_until
from edge_app.clock import WallQuality
from edge_app.delivery.options import TlsOptions
from edge_app.delivery.tls import context_for
from surface.store import SurfaceError, open_store
from tests.daemon.rig import ROOT
from tests.test_access_lists import DOCS, box, rights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.daemon.rig import BoxRig

__all__ = ["box"]

PAGE = (DOCS / "certificates.md").read_text("utf-8")
#: It lasts as long as the shell in which the page is followed.
(UMASK,) = re.findall(r"^umask \d+$", PAGE, re.MULTILINE)
#: What root and systemd would do, for somebody who is neither.
STAND_IN = {"sudo": 'exec "$@"', "systemd-tmpfiles": "", "systemctl": 'kill -HUP "$BROKER"'}


class Mine:
    """A folder in which the recipe is followed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.desk, self.secrets, self.at_broker = (
            folder / name for name in ("mine-ca", "secrets", "mosquitto")
        )
        self.secrets.mkdir(mode=0o700)
        self.at_broker.mkdir()
        self.programs = folder / "bin"
        self.programs.mkdir()
        for name, does in STAND_IN.items():
            (self.programs / name).write_text(f"#!/bin/sh\n{does}\n", encoding="ascii")
            (self.programs / name).chmod(0o755)

    def here(self, text: str) -> str:
        """Return what the page says, for this machine."""
        for theirs, ours in {
            "10.0.0.5": "127.0.0.1",
            "8883": str(self.port),
            "/etc/mosquitto": str(self.at_broker),
            "/etc/dsr-edge/secrets": str(self.secrets),
            " -o mosquitto -g mosquitto": "",
        }.items():
            text = text.replace(theirs, ours)
        return text

    def follow(self, heading: str, *, broker: int = 0) -> None:
        """Run the commands below a heading of the page."""
        section = re.split(r"^#+ ", PAGE, flags=re.MULTILINE)[1:]
        (found,) = (text for text in section if text.startswith(f"{heading}\n"))
        script = "\n".join(re.findall(r"^```sh\n(.*?)^```", found, re.MULTILINE | re.DOTALL))
        assert script, heading
        where = self.desk if self.desk.exists() else self.folder
        path = f"{self.programs}:{os.environ['PATH']}"
        done = subprocess.run(
            ["/bin/sh", "-eu", "-c", f"{UMASK}\n{self.here(script)}"],
            cwd=where,
            env={**os.environ, "PATH": path, "BROKER": str(broker)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, done.stderr

    def words(self, start: str) -> list[str]:
        """Return the command of the page that begins so."""
        (line,) = re.findall(rf"^ {{4}}({re.escape(start)} .*)$", PAGE, re.MULTILINE)
        return shlex.split(self.here(line).split(" > ")[0])

    def broker(self, access: str | None = None) -> Mosquitto:
        """Start a mosquitto as docs/deployment.md has it, with all access lists or another line of it."""
        text = (DOCS / "deployment.md").read_text("utf-8")
        (lines,) = re.findall(r"^ {4}listener 8883\n((?: {4}\S.*\n)+)", text, re.MULTILINE)
        acl = self.at_broker / "acl"
        pages = ("deployment.md", "surface.md", "commands.md")
        acl.write_text("\n\n".join(map(rights, pages)) + "\n", encoding="utf-8")
        settings = [line.strip() for line in self.here(lines).splitlines()]
        self.log = self.folder / f"mosquitto-{self.port}.log"
        self.log.unlink(missing_ok=True)
        return Mosquitto(
            self.folder, port=self.port, settings=[*settings, access or f"acl_file {acl}", "log_type all"]
        ).start()

    def stored(self, kind: str) -> list[dict[str, Any]]:
        """Return what the surface has of a kind."""
        try:
            with closing(open_store(str(self.desk / "surface.db"), make=False)) as store:
                rows = store.rows("SELECT kind, body FROM event")
        except SurfaceError:
            return []
        return [json.loads(body) for name, body in rows if name == kind]

    def python(self, *words: str) -> list[str]:
        """Return a command of ours as this interpreter runs it."""
        module = {"dsr-edge": ["-m", "edge_app.cli.main"], "python3": []}[words[0]]
        return [sys.executable, *module, *words[1:]]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Mine:
    """Return a mine in which the recipe has been followed up to the renewal."""
    made = Mine(tmp_path_factory.mktemp("mine"))
    for heading in (
        "Certificates and keys for a mine",
        "The authority",
        "The broker",
        "Boxes, the surface, the control room",
        "The keys for receipts and commands",
        "Put them in their places",
    ):
        made.follow(heading)
    return made


@pytest.mark.slow
@pytest.mark.mosquitto
def test_box_surface_and_control_room_work_together_with_what_the_recipe_makes(
    mine: Mine, box: Callable[[int], BoxRig], tmp_path: Path
) -> None:
    """Events are stored and receipted, a command is obeyed, the doctor is content, nothing is denied."""
    broker = mine.broker()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = mine.python(*mine.words("python3 -m surface run"))
    surface = subprocess.Popen(words, cwd=mine.desk, env=environment, stdout=subprocess.DEVNULL)
    rig = box(mine.port)
    (told,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    rig.config.update(yaml.safe_load(mine.here(told).replace("secrets/", f"{mine.secrets}/")))
    try:
        rig.start()
        sign = mine.python(*mine.words("dsr-edge command sign"))
        publish = mine.words("mosquitto_pub")

        wait_until(lambda: mine.stored("box_start") > [], timeout=60, what="the box's start in the store")
        with (mine.desk / "muster.json").open("wb") as file:
            subprocess.run(sign, cwd=mine.desk, env=environment, stdout=file, check=True)
        subprocess.run(publish, cwd=mine.desk, check=True)
        wait_until(lambda: mine.stored("command") > [], timeout=30, what="the command in the store")
        assert [("muster", "done")] == [(one["verb"], one["outcome"]) for one in mine.stored("command")]
        said = rig.cli("doctor").stdout
        assert f"127.0.0.1:{mine.port}: TLS, reached" in said
        assert f"2 files, the first to expire is {mine.secrets}/box-01.crt on" in " ".join(said.split())
        assert "Denied" not in mine.log.read_text("utf-8")
        assert broker.process is not None

        before = ssl.get_server_certificate(("127.0.0.1", mine.port))
        mine.follow("Renew, and take away", broker=broker.process.pid)
        wait_until(
            lambda: ssl.get_server_certificate(("127.0.0.1", mine.port)) != before, what="the new certificate"
        )
    finally:
        surface.send_signal(signal.SIGTERM)
        surface.wait(20)
        rig.close()
        broker.stop()


def test_no_key_of_the_recipe_is_open_to_others(mine: Mine) -> None:
    """In the folder where they are made, and where they are put."""
    made = [*mine.desk.rglob("*"), *mine.secrets.iterdir(), mine.at_broker / "broker.key"]
    keys = [path for path in made if path.suffix in (".key", ".pem") or path.parent.name == "keys"]
    assert 10 == len(keys)
    assert [] == [path for path in keys if path.stat().st_mode & 0o077]


@pytest.mark.mosquitto
def test_a_boxs_certificate_is_not_believed_as_a_brokers(mine: Mine) -> None:
    """Whoever steals a box must not be able to stand between the others and their broker."""
    crt, key = (mine.desk / f"box-01.{end}" for end in ("crt", "key"))
    forged = Mosquitto(mine.folder, settings=(f"certfile {crt}", f"keyfile {key}")).start()
    context = context_for(TlsOptions(ca_file=mine.desk / "ca.crt"), quality=WallQuality.SYNC)
    context.check_hostname = False
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        _shake_hands(context, forged.port)
    forged.stop()


@pytest.mark.mosquitto
def test_a_stolen_box_that_is_off_the_list_may_do_nothing(mine: Mine) -> None:
    """Its certificate still opens a connection."""
    (mine.folder / "acl").write_text("user box-02\ntopic readwrite #\n", encoding="ascii")
    (mine.folder / "acl").chmod(0o644)
    broker = mine.broker(f"acl_file {mine.folder / 'acl'}")
    publish = mine.words("mosquitto_pub")
    publish = [word.replace("control-room.", "box-01.") for word in publish]
    publish[publish.index("-f") : publish.index("-f") + 2] = ["-m", "x"]
    said = subprocess.run(publish, cwd=mine.desk, capture_output=True, text=True, check=False)
    broker.stop()
    assert "Not authorized" in said.stderr, said
    assert "Denied PUBLISH" in mine.log.read_text("utf-8")


@pytest.mark.mosquitto
def test_while_authorities_change_both_are_believed(mine: Mine, tmp_path: Path) -> None:
    """With the certificates of both in one file."""
    both = tmp_path / "ca.crt"
    other = Authority(tmp_path, "next")
    both.write_bytes((mine.desk / "ca.crt").read_bytes() + other.cert.read_bytes())
    context = context_for(TlsOptions(ca_file=both), quality=WallQuality.SYNC)
    old = (mine.desk / "broker.crt", mine.desk / "broker.key")
    for crt, key in (old, other.issue("broker")):
        broker = Mosquitto(tmp_path, settings=(f"certfile {crt}", f"keyfile {key}")).start()
        _shake_hands(context, broker.port)
        broker.stop()


def _shake_hands(context: ssl.SSLContext, port: int) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        context.wrap_socket(plain, server_hostname="127.0.0.1").close()


def test_every_section_of_the_recipe_with_commands_is_followed() -> None:
    """A block that is added must be run too."""
    sections = re.split(r"^#+ ", PAGE, flags=re.MULTILINE)[1:]
    headings = [text.splitlines()[0] for text in sections if "```sh\n" in text]
    source = (ROOT / "tests" / "test_certificate_recipe.py").read_text("utf-8")
    assert [] == [heading for heading in headings if f'"{heading}"' not in source]
