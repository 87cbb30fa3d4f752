# SPDX-License-Identifier: Apache-2.0
"""No key is shown, whatever was done to it and wherever it was given: the program and its daemon, without anything behind them.

The bulk is unit.secret's, which drives the readers themselves.
"""

import json
import re
import stat
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization

from support import damaged
from support import events as ev
from support.proc import PATIENCE_S, Process, free_port, wait_until
from support.stack import certsync_binary

CONFIG = """[deployment]
id = test_0a1b2c3d
[kafka]
brokers = 127.0.0.1:{port}
[agent]
account = acme
key = {dir}/host.key
custodian = {dir}/custodian.pub
spool = {dir}/spool
debounce = 50ms
heartbeat = 0
[log]
level = debug
[watch keys]
certificate = {dir}/tls/{{name}}.crt
key = {dir}/tls/{{name}}.key
"""


class Lonely:
    """A host whose brokers are away."""

    def __init__(self, directory):
        self.dir = directory
        self.tls = directory / "tls"
        self.tls.mkdir()
        ev.write_private(ev.new_key(), directory / "host.key")
        ev.write_public(ev.new_key("x25519"), directory / "custodian.pub")
        self.config = directory / "certsync.conf"
        self.config.write_text(CONFIG.format(port=free_port(), dir=directory))
        self.ca = ev.Authority("Secret Root")

    def run(self, *args, stdin=b""):
        return subprocess.run([certsync_binary(), "--config", self.config, *args], input=stdin, cwd=self.dir, capture_output=True,
                              timeout=PATIENCE_S, check=False)

    def issue(self, key, name="www"):
        path = self.dir / f"{name}.pem"
        path.write_bytes(ev.pem_of(self.ca.issue(key.public_key()), self.ca.der))
        return path


@pytest.fixture
def host(tmp_path):
    return Lonely(tmp_path)


def sec1(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()).decode()


def pkcs8(key):
    return ev.private_pem(key).decode()


def put(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    return path


def command_of(said):
    """The command that the message names."""
    found = re.search(r": ((?:LC_ALL=C )?(?:sed|iconv|base64) .*? NEW)\.?$", said, re.M)
    assert found, said
    return found[1]


@pytest.mark.parametrize("kind, form", [("p256", sec1), ("rsa2048", pkcs8)])
def test_the_command_that_a_message_names_mends_the_file(host, kind, form):
    key = ev.new_key(kind)
    cert, pem = host.issue(key), form(key)
    for what, damage in damaged.MENDABLE.items():
        old, new = put(host.dir / "OLD", damage(pem)), host.dir / "NEW"
        new.unlink(missing_ok=True)
        done = host.run("--dry-run", "upload", "www", "--cert", cert, "--key-file", old)
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == 4 and "key.malformed" in said, (what, said)
        subprocess.run(["sh", "-c", f"umask 077; {command_of(said)}"], cwd=host.dir, check=True, capture_output=True)
        done = host.run("--dry-run", "upload", "www", "--cert", cert, "--key-file", new)
        assert done.returncode == 0, (what, command_of(said), done.stderr)
        subprocess.run(["openssl", "pkey", "-in", new, "-noout"], check=True, capture_output=True)


def test_a_chain_is_mended_too(host):
    key = ev.new_key()
    cert = host.issue(key)
    ev.write_private(key, host.dir / "www.key")
    for what in ("one line", "spaces", "written out", "JSON", "quoted", "typographic dashes", "UTF-16LE", "last line joined"):
        put(host.dir / "OLD", damaged.MENDABLE[what](cert.read_text()))
        done = host.run("--dry-run", "upload", "www", "--cert", "OLD", "--key-file", "www.key")
        assert done.returncode == 4 and b"cert.malformed" in done.stderr, (what, done.stderr)
        subprocess.run(["sh", "-c", command_of(done.stderr.decode())], cwd=host.dir, check=True)
        done = host.run("--dry-run", "upload", "www", "--cert", "NEW", "--key-file", "www.key")
        assert done.returncode == 0, (what, done.stderr)


# Where a key is given instead of what is wanted. None stands for it, or for its file.
PLACES = [
    ("upload", "www", "--cert", "FILE", "--key-file", "FILE"),
    ("upload", None, "--cert", "www.pem", "--key-file", "FILE"),
    ("upload", "www", "--cert", None, "--key-file", None),
    ("--set", "agent.custodian=FILE", "--dry-run", "upload", "www", "--cert", "www.pem", "--key-file", "www.key"),
    ("--json", "upload", "www", "--cert", "www.pem", "--key-file", "FILE"),
    ("agent", "join", None),
    ("agent", "join", "-"),
    ("csr", "add", "www", "--csr", "FILE", "--key-file", "FILE"),
    ("agent", "enroll", "--account", "acme", "--public-key", "FILE"),
    ("trust", "add", "--role", "admin", "--key", "FILE"),
    ("delete", None),
    ("share", "www", "--to", None),
    ("--set", None, "list"),
    ("--account", None, "list"),
    ("--config", "FILE", "settings"),
    ("--key", "FILE", "list"),
    ("spool", "drop", None),
    (None,),
]


def test_a_key_in_the_wrong_place_is_not_shown(host):
    key = ev.new_key()
    pem = sec1(key)
    der = ev.der_of_pem(pem)
    host.issue(key)
    ev.write_private(key, host.dir / "www.key")
    some = [v(pem) for name, v in damaged.MENDABLE.items() if name in ("one line", "base64 alone")]
    some += [pem, der.hex(), "".join(pem.splitlines()[1:-1])[20:], pem.splitlines()[2], f"certsync1.{''.join(pem.splitlines()[1:-1])}"]
    for text in some:
        put(host.dir / "FILE", text)
        for place in PLACES:
            done = host.run("--timeout", "1", *[text if word is None else word for word in place], stdin=text.encode())
            said = done.stdout + done.stderr
            assert done.returncode != 0 and said, place
            assert not damaged.shows(der, said), (place, said)


def test_the_daemon_shows_no_key(host):
    secrets, n = [], 0
    for seed, (key, form) in enumerate([(ev.new_key(), sec1), (ev.new_key(), pkcs8), (ev.new_key("rsa2048"), pkcs8), (ev.new_key("ed25519"), pkcs8)]):
        pem = form(key)
        secrets.append(damaged.secret_of(key))
        good = host.issue(key).read_bytes()
        for text in damaged.texts(pem, seed):
            n += 2
            put(host.tls / f"key{n}.key", text)
            put(host.tls / f"key{n}.crt", good)
            put(host.tls / f"cert{n}.crt", text)
            put(host.tls / f"cert{n}.key", text)
    assert n > 400
    daemon = Process("agent", [certsync_binary(), "--config", host.config, "agent"], host.dir)
    try:
        def status():
            done = host.run("--json", "status")
            return json.loads(done.stdout) if done.stdout else {}

        def looked_at():
            counts = status().get("certificates", {})
            return counts.get("refused", 0) + counts.get("blocked", 0) + counts.get("sent", 0) + counts.get("waiting", 0) >= n and not counts.get("new")

        wait_until(looked_at, PATIENCE_S, f"{n} files\n{daemon.tail()}")
        shown = [host.run("status"), host.run("--json", "status"), host.run("spool", "list")]
    finally:
        daemon.terminate()
    all_shown = {"the log": daemon.output().encode(), **{str(s.args): s.stdout + s.stderr for s in shown}}
    mine = {"host.key", "www.pem"}
    for path in host.dir.rglob("*"):
        if path.is_file() and path.parent != host.tls and path.name not in mine:
            all_shown[str(path)] = path.read_bytes()
            if path.name.endswith("status.json") or path.suffix == ".json":
                assert stat.S_IMODE(path.stat().st_mode) == 0o640, path
    assert len(json.loads(shown[1].stdout)["problems"]) == 200  # what it lists at most
    for name, text in all_shown.items():
        for secret in secrets:
            assert not damaged.shows(secret, text), name
