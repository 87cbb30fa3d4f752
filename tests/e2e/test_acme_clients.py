# SPDX-License-Identifier: Apache-2.0
"""Real ACME clients: what they put on disk comes into the catalog, renewal by renewal."""

import hashlib

import pytest
from cryptography import x509

from support import events as ev
from support.acme import Certbot, CertbotLayout, NotThere, Pebble
from support.host import AgentHost
from support.proc import PATIENCE_S, wait_until


@pytest.fixture
def host(stack, tmp_path):
    agent = AgentHost(stack, stack.account(), tmp_path / "host")
    yield agent
    if agent.process:
        agent.process.kill()


@pytest.fixture
def acme(tmp_path):
    try:
        with Pebble(tmp_path / "acme") as server:
            yield server
    except NotThere as e:
        pytest.skip(f"no ACME server: {e}")


def fingerprint(path):
    """Of the first certificate of a PEM file."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return hashlib.sha256(certificate.public_bytes(ev.serialization.Encoding.DER)).hexdigest()


def test_certbot_and_a_real_acme_server(host, stack, acme):
    name = "www.example.com"
    certbot = Certbot(host.dir / "le", acme)
    host.watch("le", preset="certbot", path=certbot.dir, delete="yes", delete_after="100ms")
    host.start()
    certbot.obtain(name)
    _, first = host.wait_version(name, 1)
    certbot.renew()
    assert host.wait_version(name, 2)[1] == first
    live = certbot.dir / "live" / name / "fullchain.pem"
    assert stack.names(host.account)[name]["fingerprint"] == fingerprint(live)
    certbot.obtain("two.example.org", "--key-type", "rsa")
    host.wait_version("two.example.org", 1)
    host.wait_quiet()
    certbot.delete(name)
    wait_until(lambda: set(host.catalog()) == {"two.example.org"}, PATIENCE_S, "the deletion")
    host.stop()


def test_certbots_own_layout_and_a_link_that_goes_back(host, tmp_path):
    certbot = CertbotLayout(host.dir / "le", ev.Authority("Layout Root"))
    certbot.renew("www.example.com", start=-3)
    host.watch("le", preset="certbot", path=certbot.dir)
    host.start()
    _, first = host.wait_version("www.example.com", 1)
    certbot.renew("www.example.com", start=-2)
    assert host.wait_version("www.example.com", 2)[1] == first
    host.wait_quiet()
    before = host.events()
    certbot.point("www.example.com", 1)
    problem = host.wait_problem("www.example.com", "older", "replace.older")
    assert "newer certificate" in problem["message"] and "replace.older" in host.new_log()
    certbot.point("www.example.com", 2)
    wait_until(lambda: host.problem("www.example.com") is None, PATIENCE_S, "the end of the warning")
    host.wait_quiet()
    assert host.events() == before + 2  # the host has the old one, then the new one again: this is told, and nothing is uploaded
    certbot.renew("www.example.com", start=-1)
    assert host.wait_version("www.example.com", 3)[1] == first
    host.stop()


def test_links_that_are_there_before_their_files(host):
    """As certbot makes a new lineage: what the link leads to comes a moment later, or much later on a busy host."""
    name, ca = "www.example.com", ev.Authority("Layout Root")
    live, archive = host.dir / "le/live" / name, host.dir / "le/archive" / name
    host.watch("le", preset="certbot", path=host.dir / "le")
    for directory in (live, archive):
        directory.mkdir(parents=True)
    for kind in ("fullchain", "privkey"):
        (live / f"{kind}.pem").symlink_to(f"../../archive/{name}/{kind}1.pem")
    host.start()
    assert "not there" in host.wait_problem(name, "waiting")["message"]
    key = ev.new_key()
    (archive / "fullchain1.pem").write_bytes(ev.pem_of(ca.issue(key.public_key()), ca.der))
    ev.write_private(key, archive / "privkey1.pem")
    host.wait_version(name, 1)
    wait_until(lambda: host.problem(name) is None, PATIENCE_S, "the end of the problem")
    host.stop()
