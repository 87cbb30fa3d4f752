# SPDX-License-Identifier: Apache-2.0
"""A host's whole life with the packages, on a Debian of its own with a real systemd, against a real Kafka and Redis:
install, configure, join, run, reload, upgrade, remove, purge. The tests are that life's chapters, in this order.
"""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from support import events as ev
from support import documents, machine as machines
from support.acme import InstalledCertbot, NotThere, Pebble
from support.debs import deb, repack
from support.hang import Hang
from support.host import Host
from support.proc import PATIENCE_S, wait_until
from support.stack import DEPLOYMENT, Stack

AGENT, CONSUMER = "certsync-agent", "certsync-consumer"
CONF, CONSUMER_CONF = "/etc/certsync/certsync.conf", "/etc/certsync/consumer.conf"
INSTALL = "docs/operate/install.md"
WHY_NOT = machines.cannot()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=f"no machine to install on: {WHY_NOT}")


@pytest.fixture(scope="module")
def world(machine, tmp_path_factory):
    """The machine, the deployment's servers and keys beside it, and what the chapters leave for each other."""
    with Stack(tmp_path_factory.mktemp("stack") / "s", redis_config={"tcp": True}) as stack:
        machine.boot()
        yield World(machine, stack)


class World:
    """Commands of docs/operate/install.md are run as they are printed there; ran holds those."""

    def __init__(self, machine, stack):
        self.ran = set()
        self.machine, self.stack = machine, stack
        self.before = self.accounts = self.account = None
        self.wanted = {}  # certificates that were brought, and their versions
        self.beside = []  # packages that came for a test's sake

    def path(self, inside):
        return self.machine.root / inside.lstrip("/")

    def put(self, source, inside, owner="root", mode="600"):
        shutil.copy(source, self.path(inside))
        self.machine.must("chown", owner, inside)
        self.machine.must("chmod", mode, inside)

    def printed(self, chapter, begins):
        """Runs a chapter's one command that begins so, in /root."""
        line, = (line for line in documents.lines(INSTALL, chapter) if line.startswith(begins))
        self.ran.add((chapter, line))
        return self.machine.must("bash", "-c", f'apt() {{ apt-get -y --no-install-recommends "$@"; }}; cd /root && {line}')

    def fill_in(self, inside, **settings):
        """As a person would: the commented line of a section gets its value. Keys are SECTION__KEY."""
        text = self.path(inside).read_text()
        for name, value in settings.items():
            section, key = name.split("__")
            text, n = re.subn(rf"(?ms)^(\[{section}\]\n(?:(?!^\[).)*?)^#?{key} =[^\n]*$", rf"\g<1>{key} = {value}", text, count=1)
            assert n == 1, name
        self.path(inside).write_text(text)

    def active(self, unit):
        return self.machine.show(unit, "ActiveState") == "active"

    def wait_log(self, unit, text):
        wait_until(lambda: text in self.machine.journal(unit), PATIENCE_S, f"{text!r} in the log of {unit}")

    def catalog(self):
        """503 says "ask again": what is published and not yet in the catalog, when the API has just started."""
        answers = []

        def answered():
            answers.append(self.stack.http("/v1/accounts/acme/certificates", self.stack.token(self.stack.auditor, "*")))
            return answers[-1][0] != 503
        wait_until(answered, PATIENCE_S, "an answer of the API")
        status, body = answers[-1]
        assert status == 200, (status, body)
        return {c["name"]: c for c in body["certificates"]}

    def versions(self):
        return {name: c["version"] for name, c in self.catalog().items()}

    def wait_version(self, name, version):
        self.wanted[name] = version
        try:
            wait_until(lambda: self.versions().get(name) == version, PATIENCE_S, f"version {version} of {name}")
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.machine.journal(AGENT)}") from None

    def certbot(self, name, generation, ca):
        """/etc/letsencrypt as certbot lays it out; only root may look into it."""
        live, archive = (self.path(f"/etc/letsencrypt/{d}/{name}") for d in ("live", "archive"))
        for directory in (live, archive):
            directory.mkdir(parents=True, exist_ok=True)
            directory.parent.chmod(0o700)
        key = ev.new_key()
        leaf = ca.issue(key.public_key(), cn=name, names=(name,), start=-2 + generation / 100)
        ev.write_private(key, archive / f"privkey{generation}.pem")
        (archive / f"fullchain{generation}.pem").write_bytes(ev.pem_of(leaf, ca.der))
        for kind in ("privkey", "fullchain"):
            link = live / f"{kind}.pem.next"
            link.symlink_to(f"../../archive/{name}/{kind}{generation}.pem")
            os.rename(link, live / f"{kind}.pem")


@pytest.fixture(scope="module")
def ca():
    return ev.Authority()


def installed(machine):
    return set(machine.must("dpkg-query", "-W", "-f", "${Package}\n").split())


def accounts_of(world):
    return {name: world.path(f"/etc/{name}").read_text() for name in ("passwd", "group")}


def test_install(world):
    m = world.machine
    m.apt("update")
    world.before, world.accounts = m.files(), accounts_of(world)
    for name in ("certsync", "certsync-consumer"):
        shutil.copy(deb(name), world.path(f"/root/{deb(name).name}"))
    world.printed("A host", "apt install")
    world.printed("A consumer", "apt install")
    for name in ("certsync", "certsync-consumer"):
        assert m.must("dpkg-query", "-W", "-f", "${Status}", name) == "install ok installed"
        assert m.must("dpkg", "--verify", name) == ""
    assert m.must("certsync", "--version").startswith("certsync 0.")
    for path, owner in ((CONF, "root:certsync 640"), (CONSUMER_CONF, "root:certsync-consumer 640"), ("/etc/certsync", "root:root 755"),
                        ("/var/lib/certsync", "certsync:certsync 750"), ("/var/lib/certsync/spool", "certsync:certsync 700")):
        assert m.owner(path) == owner, path
    for user in ("certsync", "certsync-consumer"):
        assert m.must("getent", "passwd", user).strip().endswith("/usr/sbin/nologin")
    for unit in (AGENT, CONSUMER):
        assert m.run("systemctl", "is-enabled", unit).stdout.strip() == "disabled"
        assert m.show(unit, "ActiveState") == "inactive"


def test_what_is_not_configured_fails_once_and_says_why(world):
    m = world.machine
    check = m.run("certsync-consumer", "check")
    assert check.returncode == 2 and "deployment.id is not set" in check.stderr
    for unit, why in ((AGENT, "the deployment is not set"), (CONSUMER, "deployment.id is not set")):
        assert m.run("systemctl", "start", unit).returncode != 0
        assert m.show(unit, "ActiveState") == "failed" and m.show(unit, "NRestarts") == "0"
        assert why in m.journal(unit)
        m.must("systemctl", "reset-failed", unit)


def test_the_consumer_runs(world):
    m, stack = world.machine, world.stack
    world.put(stack.keys / "root.pub", "/root/root.key.pub")
    world.put(stack.keys / "service.key", "/root/service.key")
    world.printed("A consumer", "install -o certsync-consumer")
    world.printed("A consumer", "install -m 644")
    world.fill_in(CONSUMER_CONF, deployment__id=DEPLOYMENT, deployment__root_key="/etc/certsync/root.pub",
                  deployment__service_key="/etc/certsync/service.key", kafka__brokers=stack.kafka.bootstrap,
                  redis__url=f"redis://127.0.0.1:{stack.redis.port}", api__listen=f"127.0.0.1:{stack.port}")
    world.printed("A consumer", "runuser")
    world.printed("A consumer", "systemctl enable")  # Type=notify: comes back when it is ready
    assert world.active(CONSUMER) and m.show(CONSUMER, "User") == "certsync-consumer"
    assert stack.http("/readyz")[0] == 200
    assert stack.register("acme")["status"] == "applied"


def test_a_host_joins_and_registers_what_only_root_may_read(world, ca):
    m, stack = world.machine, world.stack
    world.account = type("Account", (), {"id": "acme", "agent": stack.admin})()
    admin = ev.Sender(stack.log_id)
    stack.appoint("admin", admin)
    token = Host(stack, world.account, stack.directory / "admin", key=admin).expect(
        0, "agent", "token", "--can", "upload,read", "--uses", "1", "--expires", "1h").split()[0]
    world.put(stack.keys / "custodian.pub", "/etc/certsync/custodian.pub", mode="644")
    world.fill_in(CONF, deployment__id=DEPLOYMENT, kafka__brokers=stack.kafka.bootstrap, api__url=f"http://127.0.0.1:{stack.port}",
                  agent__account="acme", agent__custodian="/etc/certsync/custodian.pub")
    with open(world.path(CONF), "a", encoding="ascii") as conf:
        conf.write("\n[watch letsencrypt]\npreset = certbot\n")
    world.certbot("www.example.com", 1, ca)
    world.path("/root/join.token").write_text(token + "\n")
    assert "joined" in world.printed("A host", "certsync agent join")
    assert m.owner("/etc/certsync/agent.key") == "root:root 600"
    world.printed("A host", "systemctl enable")
    assert world.active(AGENT)
    world.wait_version("www.example.com", 1)
    world.certbot("www.example.com", 2, ca)
    world.wait_version("www.example.com", 2)
    # What root's commands leave in the spool is the service's.
    owners = m.must("find", "/var/lib/certsync/spool", "-ignore_readdir_race", "-mindepth", "1", "-printf", "%u:%g\\n").split()
    assert set(owners) == {"certsync:certsync"}
    world.printed("A host", "certsync status")
    left = {(chapter, line) for chapter in ("A host", "A consumer") for line in documents.lines(INSTALL, chapter)} - world.ran
    assert all(line.startswith("editor ") for _, line in left), left  # a person's part


@pytest.fixture
def acme(tmp_path):
    try:
        with Pebble(tmp_path / "acme") as server:
            yield server
    except NotThere as e:
        pytest.skip(f"no ACME server: {e}")


def test_a_real_certbot_renews_from_a_real_acme_server(world, acme):
    m, name = world.machine, "real.example.org"
    had = installed(m)
    m.apt("install", "certbot")
    world.beside = sorted(installed(m) - had)

    def registered(version):
        world.wait_version(name, version)
        found = world.catalog()[name]
        chain = world.path(f"/etc/letsencrypt/archive/{name}/fullchain{version}.pem").read_bytes()
        leaf = x509.load_pem_x509_certificate(chain).fingerprint(hashes.SHA256()).hex()
        assert found["fingerprint"] == leaf
        return found["id"], leaf
    certbot = InstalledCertbot(m, acme)
    certbot.obtain(name)
    first = registered(1)
    certbot.renew("--cert-name", name)
    second = registered(2)
    assert first[0] == second[0] and first[1] != second[1]


def test_it_has_the_rights_of_its_unit_and_no_more(world):
    m = world.machine
    status = Path(f"/proc/{host_pid(world, AGENT)}/status").read_text()
    dac_read_search = f"{1 << 2:016x}"
    for field in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert re.search(rf"^{field}:\t(\w+)$", status, re.M).group(1) == dac_read_search, field
    assert re.search(r"^NoNewPrivs:\t1$", status, re.M) and re.search(r"^Seccomp:\t2$", status, re.M)
    status = Path(f"/proc/{host_pid(world, CONSUMER)}/status").read_text()
    assert re.search(r"^CapEff:\t0+$", status, re.M) and re.search(r"^Seccomp:\t2$", status, re.M)
    for unit in (AGENT, CONSUMER):
        said = m.must("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", f"/lib/systemd/system/{unit}.service")
        assert float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", said).group(1)) <= 2.0


def host_pid(world, unit):
    """The service's main process by the host's number."""
    inside = world.machine.show(unit, "MainPID")
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            numbers = re.search(r"^NSpid:\t(.*)$", status.read_text(), re.M)
            if numbers and numbers.group(1).split()[-1] == inside and in_machine(world, status.parent):
                return int(status.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    raise AssertionError(f"no process {inside} of {unit}")


def in_machine(world, process):
    return os.readlink(process / "ns/pid") == os.readlink(f"/proc/{world.machine.leader()}/ns/pid")


def test_files_of_others_are_refused_until_the_settings_name_them(world, ca):
    m = world.machine
    m.must("useradd", "--system", "caddy")
    directory = world.path("/var/lib/caddy/pairs")
    directory.mkdir(parents=True)
    key = ev.new_key()
    ev.write_private(key, directory / "shop.key")
    (directory / "shop.crt").write_bytes(ev.pem_of(ca.issue(key.public_key(), cn="shop.example.com", names=("shop.example.com",)), ca.der))
    m.must("chown", "-R", "caddy", "/var/lib/caddy")
    with open(world.path(CONF), "a", encoding="ascii") as conf:
        conf.write("\n[watch shop]\ncertificate = /var/lib/caddy/pairs/{name}.crt\nkey = /var/lib/caddy/pairs/{name}.key\n")
    m.must("systemctl", "reload", AGENT)
    world.wait_log(AGENT, "whom the section's owners do not name")
    with open(world.path(CONF), "a", encoding="ascii") as conf:
        conf.write("owners = caddy\n")
    m.must("systemctl", "reload", AGENT)
    world.wait_version("shop", 1)


def test_a_hang_is_noticed(world):
    """Watched more closely than the package's unit says, since nobody wants to wait for it here."""
    m = world.machine
    drop_in = world.path(f"/etc/systemd/system/{AGENT}.service.d/test.conf")
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nWatchdogSec=2s\nRestartSec=100ms\n")
    m.must("systemctl", "daemon-reload")
    m.must("systemctl", "restart", AGENT)
    before = m.show(AGENT, "MainPID")
    with Hang(host_pid(world, AGENT), "sender") as hang:
        wait_until(hang.ended, PATIENCE_S, "the watchdog's end of a hung agent")
    wait_until(lambda: world.active(AGENT) and m.show(AGENT, "MainPID") != before, PATIENCE_S, "a new agent")
    assert m.show(AGENT, "NRestarts") == "1"
    log = m.journal(AGENT)
    assert "thread=sender" in log and "Watchdog timeout" in log
    shutil.rmtree(drop_in.parent)
    m.must("systemctl", "daemon-reload")
    m.must("systemctl", "restart", AGENT)


def test_upgrade_keeps_what_was_changed_and_restarts_what_runs(world):
    m = world.machine
    changed = world.path(CONF).read_text()
    before = {unit: m.show(unit, "MainPID") for unit in (AGENT, CONSUMER)}

    def other_defaults(tree):
        for conf in (tree / "etc/certsync").glob("*.conf"):
            conf.write_text(conf.read_text() + "# A line that the next version has.\n")
    for name in ("certsync", "certsync-consumer"):
        shutil.copy(repack(name, world.stack.directory, "0.9.0", other_defaults), world.path(f"/root/{name}-new.deb"))
    m.apt("-o", "Dpkg::Options::=--force-confold", "install", "/root/certsync-new.deb", "/root/certsync-consumer-new.deb")
    assert m.must("dpkg-query", "-W", "-f", "${Version}", "certsync") == "0.9.0"
    assert world.path(CONF).read_text() == changed
    assert world.path(CONF + ".dpkg-dist").exists()
    assert m.owner(CONF) == "root:certsync 640"
    for unit in (AGENT, CONSUMER):
        assert world.active(unit) and m.show(unit, "MainPID") != before[unit], unit
        assert m.run("systemctl", "is-enabled", unit).stdout.strip() == "enabled"
    assert world.versions() == world.wanted  # and the restart changed nothing


def test_remove_keeps_settings_keys_and_state(world):
    m = world.machine
    m.apt("remove", "certsync", "certsync-consumer")
    for unit in (AGENT, CONSUMER):
        assert m.show(unit, "ActiveState") == "inactive"
    assert not world.path("/usr/bin/certsync").exists()
    for kept in (CONF, CONSUMER_CONF, "/etc/certsync/agent.key", "/etc/certsync/service.key", "/var/lib/certsync/spool"):
        assert world.path(kept).exists(), kept
    m.apt("install", "/root/certsync-new.deb", "/root/certsync-consumer-new.deb")
    for unit in (AGENT, CONSUMER):  # enabled as it was
        assert m.run("systemctl", "is-enabled", unit).stdout.strip() == "enabled"
    m.must("systemctl", "start", AGENT)
    assert world.active(AGENT)


def test_purge_leaves_nothing(world):
    m = world.machine
    m.apt("purge", "certsync", "certsync-consumer", *world.beside)
    m.apt("autoremove", "--purge")
    # What people put there, packages must not take away.
    left = {p for p in m.files() - world.before if not p.startswith(("/root/", "/var/lib/caddy", "/etc/letsencrypt", "/var/lib/letsencrypt"))}
    assert left == {"/etc/certsync", "/etc/certsync/custodian.pub"}
    gone = world.before - m.files()
    assert gone == set()
    now = {name: re.sub(r"(?m)^caddy:.*\n", "", text) for name, text in accounts_of(world).items()}
    assert now == world.accounts
    assert subprocess.run(["grep", "-rl", "certsync", world.path("/etc/systemd"), world.path("/var/lib/systemd")],
                          capture_output=True, text=True, check=False).stdout == ""
