# SPDX-License-Identifier: Apache-2.0
"""A real ACME server (Let's Encrypt's Pebble, from the Go module proxy) and a real client (Debian's certbot), on loopback ports.

    with Pebble(tmp_path / "acme") as acme:
        certbot = Certbot(tmp_path / "le", acme)
        certbot.obtain("www.example.com")      # live/www.example.com/… links into archive/…
        certbot.renew()

Pebble checks http-01 challenges for real: its DNS server says 127.0.0.1 to every name, and certbot answers there.
"""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from support import events as ev
from support.kafka import _cache, _locked
from support.proc import PATIENCE_S, Process, free_port, wait_until

NEW, OLD = "v2.10.1", "v2.4.0"  # the newest, from Go 1.24 on, and what Debian 12's Go 1.19 builds
LAYOUT = Path(__file__).with_name("certbot_layout.py")
PROGRAMS = ("pebble", "pebble-challtestsrv")


class NotThere(RuntimeError):
    """Pebble cannot be had here; says why."""


def go():
    """(program, (major, minor))"""
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if not go:
        raise NotThere("no go program is installed (apt-get install golang-go)")
    said = subprocess.run([go, "version"], capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout
    return go, tuple(int(n) for n in re.search(r"go(\d+)\.(\d+)", said).groups())


def fetch():
    """(Directory with Pebble's programs, their version); built once, kept in the cache."""
    program, have = go()
    version = NEW if have >= (1, 24) else OLD
    home = _cache() / f"pebble-{version}"
    with _locked(_cache() / f"pebble-{version}.lock"):
        if all((home / p).exists() for p in PROGRAMS):
            return home, version
        parts = home.with_suffix(".part")
        # Go 1.23 and later refuse what the old one's libraries link to.
        link = ["-ldflags=-checklinkname=0"] if version == OLD and have >= (1, 23) else []
        modules = [f"github.com/letsencrypt/pebble/v2/cmd/{p}@{version}" for p in PROGRAMS]
        done = subprocess.run([program, "install", *link, *modules], env={**os.environ, "GOBIN": str(parts), "GOFLAGS": "-mod=mod"},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise NotThere(f"go install: {(done.stderr.strip().splitlines() or [done.returncode])[-1]}")
        os.replace(parts, home)
    return home, version


class Pebble:
    def __init__(self, directory):
        self.dir, self.processes = Path(directory), []

    def __enter__(self):
        try:
            return self.start(*fetch())
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    def start(self, programs, version):
        self.dir.mkdir(parents=True)
        self.port, self.http_port = free_port(), free_port()
        dns, control = free_port(), free_port()
        authority, key = ev.Authority("Pebble's own"), ev.new_key()
        ev.write_private(key, self.dir / "key.pem")
        (self.dir / "cert.pem").write_bytes(ev.pem_of(authority.issue(key.public_key(), cn="localhost", names=["localhost"]), authority.der))
        self.ca = self.dir / "ca.pem"
        self.ca.write_bytes(ev.pem_of(authority.der))
        (self.dir / "config.json").write_text(json.dumps({"pebble": {
            "listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{free_port()}",
            "certificate": str(self.dir / "cert.pem"), "privateKey": str(self.dir / "key.pem"),
            "httpPort": self.http_port, "tlsPort": free_port(), "ocspResponderURL": "", "externalAccountBindingRequired": False}}))
        # Pebble is made to be unreliable on purpose (pauses, refused nonces): not what is tested here.
        calm = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
        names = ["-dns01", f"127.0.0.1:{dns}"] if version == OLD else ["-dnsserver", f"127.0.0.1:{dns}", "-doh", ""]
        self.processes = [
            Process("challtestsrv", [programs / "pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", *names, "-http01",
                                     "", "-https01", "", "-tlsalpn01", "", "-management", f"127.0.0.1:{control}"], self.dir),
            Process("pebble", [programs / "pebble", "-config", self.dir / "config.json", "-dnsserver", f"127.0.0.1:{dns}"], self.dir,
                    env=calm)]
        wait_until(self._listens, PATIENCE_S, "Pebble")
        return self

    def _listens(self):
        import socket
        for process in self.processes:
            assert process.alive, process.tail()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        for process in self.processes:
            process.kill()

    @property
    def directory_url(self):
        return f"https://localhost:{self.port}/dir"


class Certbot:
    """Debian's certbot with directories of its own."""

    def __init__(self, directory, acme):
        self.dir, self.acme = Path(directory), acme

    def run(self, *args):
        places = [f"--{kind}-dir={self.dir if kind == 'config' else self.dir.with_name(f'{self.dir.name}-{kind}')}"
                  for kind in ("config", "work", "logs")]
        done = subprocess.run(["certbot", *args, *places, "--non-interactive"], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=120, check=False, env={**os.environ, "REQUESTS_CA_BUNDLE": str(self.acme.ca)})
        assert done.returncode == 0, f"certbot {' '.join(args)}:\n{done.stdout}{done.stderr}\n{self.acme.processes[-1].tail()}"

    def obtain(self, name, *args):
        self.run("certonly", "--standalone", "--server", self.acme.directory_url, "--agree-tos", "-m", "admin@example.com",
                 "--no-eff-email", "--http-01-port", str(self.acme.http_port), "--http-01-address", "127.0.0.1", "-d", name, *args)

    def renew(self, *args):
        self.run("renew", "--force-renewal", "--no-random-sleep-on-renew", *args)

    def delete(self, name):
        self.run("delete", "--cert-name", name)


class InstalledCertbot(Certbot):
    """The certbot that is installed in a machine (machine.py), with the directories of its package. It shares the loopback with Pebble."""

    def __init__(self, machine, acme):
        super().__init__("/etc/letsencrypt", acme)
        self.machine = machine
        shutil.copy(acme.ca, machine.root / "root/acme.pem")

    def run(self, *args):
        self.machine.must("env", "REQUESTS_CA_BUNDLE=/root/acme.pem", "certbot", *args, "--non-interactive")


class CertbotLayout:
    """/etc/letsencrypt as certbot's own code writes it (certbot_layout.py), with any certificates."""

    def __init__(self, directory, ca):
        self.dir, self.ca, self.number = Path(directory), ca, {}
        self.dir.mkdir(parents=True)

    def renew(self, name, start=-1.0):
        key = ev.new_key()
        n = self.number[name] = self.number.get(name, 0) + 1
        files = [self.dir.with_name(f"{self.dir.name}.{kind}") for kind in ("cert", "key", "chain")]
        files[0].write_bytes(ev.pem_of(self.ca.issue(key.public_key(), cn=name, names=[name], start=start)))
        ev.write_private(key, files[1])
        files[2].write_bytes(ev.pem_of(self.ca.der))
        done = subprocess.run([sys.executable, LAYOUT, str(self.dir), name, *map(str, files)], capture_output=True, text=True,
                              timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert (self.dir / "live" / name / "fullchain.pem").resolve() == (self.dir / "archive" / name / f"fullchain{n}.pem").resolve()

    def point(self, name, n):
        """Moves the links to generation n, as certbot's own code does."""
        done = subprocess.run([sys.executable, LAYOUT, str(self.dir), name, str(n)], capture_output=True, text=True, timeout=120,
                              check=False)
        assert done.returncode == 0, done.stderr
