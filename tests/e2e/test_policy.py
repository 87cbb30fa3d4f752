# SPDX-License-Identifier: Apache-2.0
"""Policies of accounts and hosts' own names, as people meet them: options, refusals before anything is sent, `status`, the API."""

import signal

import pytest

from support import events as ev
from support.host import AgentHost, Host, admin_host, make_files, put_pair, watch_pairs

APPLIED, REFUSED, USAGE = 0, 4, 2


@pytest.fixture(scope="module")
def ca():
    return ev.Authority("Policy Intermediate", ev.Authority("Policy Root"), path_length=0)


@pytest.fixture
def account(stack):
    return stack.account()


@pytest.fixture
def admin(stack, account, tmp_path):
    return admin_host(stack, account, tmp_path)


def demand(admin, account, *options):
    admin.expect(APPLIED, "account", "update", account.id, *options)


def policy_of(stack, account, sender=None):
    status, body = stack.http(f"/v1/accounts/{account.id}/policy", stack.token(sender or account.agent, account.id))[:2]
    assert status == 200, body
    return body


def spki_of(ca):
    import hashlib  # pylint: disable=import-outside-toplevel
    return hashlib.sha256(ev.spki_of(ca.key.public_key())).hexdigest()


def test_an_upload_is_refused_before_anything_is_sent(stack, account, admin, ca, tmp_path):
    host = Host(stack, account, tmp_path / "host")
    make_files(host.dir, ca)
    upload = ("upload", "www", "--cert", "full.pem", "--key-file", "key.pem")
    host.expect(APPLIED, *upload)
    demand(admin, account, "--policy-keys", "ecdsa,RSA-3072", "--policy-days", "30", "--policy-issuer", f"spki:{spki_of(ca)}",
           "--policy-dns", "*.Example.com,ip:192.0.2.1", "--policy-wildcards", "reject")
    said = policy_of(stack, account)
    assert said["policy"] == {"keys": ["RSA-3072", "P-256", "P-384", "P-521"], "days": 30, "issuers": [f"spki:{spki_of(ca)}"],
                              "dns": ["*.example.com", "IP:192.0.2.1"], "wildcards": "reject"}
    assert said["key"]["kid"] == account.agent.kid and "dns" not in said["key"]
    assert "yes" in admin.expect(APPLIED, "account", "list")
    host.expect(APPLIED, *upload, words=["unchanged"])  # what is there may come again
    refused = ("policy.lifetime", "It is valid for 91 days; allowed: 30", "hint")
    host.expect(REFUSED, "upload", "www2", *upload[2:], words=["refused", *refused])
    host.expect(REFUSED, "inspect", "full.pem", "--policy", words=refused)
    host.expect(APPLIED, "inspect", "full.pem")
    assert host.json(REFUSED, "inspect", "full.pem", "--policy")["code"] == "policy.lifetime"
    host.expect(REFUSED, "csr", "create", "r", "--subject", "CN=www.other.test", "--out", "r.csr", words=["policy.dns", "www.other.test"])
    assert not (host.dir / "r.csr").exists()
    assert host.spooled() == []
    # Without the API the consumer judges.
    host.configure(**{"api.url": "http://127.0.0.1:9"})
    assert "published" in host.expect(APPLIED, "--no-wait", "upload", "www2", *upload[2:])
    host.configure()
    demand(admin, account, "--policy-days", "0", "--policy-dns", "any", "--policy-issuer", "any", "--policy-keys", "any",
           "--policy-wildcards", "allow")
    assert policy_of(stack, account)["policy"] == {}
    host.expect(APPLIED, "upload", "www3", *upload[2:])


def test_a_host_registers_only_its_own_names(stack, account, admin, ca, tmp_path):
    own = ev.Sender(stack.log_id)
    host = Host(stack, account, tmp_path / "host", key=own)
    ev.write_public(own.key, host.dir / "host.key.pub")
    admin.expect(APPLIED, "agent", "enroll", "--account", account.id, "--public-key", host.dir / "host.key.pub", "--can", "upload,csr",
                 "--dns", "web1.example.com", "--dns", "*.WEB1.example.com")
    assert policy_of(stack, account, own)["key"]["dns"] == ["web1.example.com", "*.web1.example.com"]  # also without the right read
    make_files(host.dir, ca, names=("web1.example.com", "a.web1.example.com"))
    host.expect(APPLIED, "upload", "own", "--cert", "full.pem", "--key-file", "key.pem")
    make_files(host.dir, ca, names=("web1.example.com", "web2.example.com"))
    host.expect(REFUSED, "upload", "other", "--cert", "full.pem", "--key-file", "key.pem", words=["policy.agent_dns", "Not covered: web2.example.com"])
    agents = admin.json(APPLIED, "agents", "--account", account.id)["agents"]
    assert [a["dns"] for a in agents if a["kid"] == own.kid] == [["web1.example.com", "*.web1.example.com"]]


def test_a_join_token_hands_its_hosts_on(stack, account, admin, tmp_path):
    token = admin.dir / "join.token"
    admin.expect(APPLIED, "agent", "token", "--account", account.id, "--dns", "*.example.com,example.com", "--out", token)
    host = Host(stack, account, tmp_path / "joined", key=ev.Sender(stack.log_id))
    (host.dir / "host.key").unlink()
    host.expect(APPLIED, "agent", "join", "--token-file", token)
    agents = admin.json(APPLIED, "agents", "--account", account.id)["agents"]
    joined, = [a for a in agents if a.get("dns")]
    assert joined["dns"] == ["*.example.com", "example.com"]
    granted, = [a["grant"] for a in agents if a.get("grant")]
    assert granted["dns"] == ["*.example.com", "example.com"]


@pytest.mark.parametrize("options, words", [
    (["--policy-dns", "*"], ["would cover every host"]),
    (["--policy-dns", "a.test,**"], ["would cover every host"]),
    (["--policy-dns", "münchen.example"], ["xn--"]),
    (["--policy-dns", "a..b"], ["is not a pattern of hosts"]),
    (["--policy-dns", ""], ["is not a pattern of hosts"]),
    (["--policy-dns", "192.0.2.1"], ["IP:192.0.2.1"]),
    (["--policy-dns", ",".join(f"{'a' * 60}.{i}.test" for i in range(20))], ["more than 1023 characters in all"]),
    (["--policy-keys", "RSA-1024"], ["2048 to 8192"]),
    (["--policy-keys", "P-224"], ["Ed25519"]),
    (["--policy-keys", "P-256,ECDSA"], ["given twice"]),
    (["--policy-days", "36501"], ["--policy-days"]),
    (["--policy-issuer", "CN=x"], ["spki:"]),
    (["--policy-issuer", "name:*"], ["name:"]),
    (["--policy-wildcards", "maybe"], ["--policy-wildcards"]),
])
def test_a_policy_that_is_none(admin, account, options, words):
    admin.expect(USAGE, "account", "update", account.id, *options, words=words)


def test_what_is_registered_stays_and_status_says_so(stack, account, admin, ca, tmp_path):
    host = AgentHost(stack, account, tmp_path / "host")
    tls = watch_pairs(host)
    put_pair(tls, "www.example.com", ca)
    host.start()
    host.wait_version("www.example.com", 1)
    demand(admin, account, "--policy-days", "30")
    host.process.popen.send_signal(signal.SIGHUP)
    noted = host.wait_status(lambda s: s.get("policy_total"), "what the policy says of it")
    assert noted["policy"] == [{"name": "www.example.com", "code": "policy.lifetime", "message": "It is valid for 91 days; allowed: 30"}]
    assert noted["exit"] == 0 and noted["certificates"]["registered"] == 1
    host.expect(0, "status", words=["its renewal must fit: policy.lifetime"])
    # Another one is not even sent, until the policy lets it in.
    host.wait_quiet()
    before = host.events()
    put_pair(tls, "late.example.com", ca)
    problem = host.wait_problem("late.example.com", "refused", "policy.lifetime")
    assert "allowed: 30" in problem["message"] and "--policy-days" in problem["hint"]
    assert host.events() == before and set(host.catalog()) == {"www.example.com"}
    demand(admin, account, "--policy-days", "0")
    host.process.popen.send_signal(signal.SIGHUP)
    host.wait_version("late.example.com", 1)
    host.wait_status(lambda s: s["exit"] == 0 and not s["policy_total"], "a host on which all is well")
    host.stop()


def test_what_the_consumer_refused_is_sent_again_when_it_fits(stack, account, admin, ca, tmp_path):
    """The daemon did not know the policy yet."""
    host = AgentHost(stack, account, tmp_path / "host")
    tls = watch_pairs(host)
    host.start()
    host.wait_status(lambda s: s["last_scan"], "a daemon that has looked")
    demand(admin, account, "--policy-days", "30")
    put_pair(tls, "www.example.com", ca)
    host.wait_problem("www.example.com", "rejected", "policy.lifetime")
    demand(admin, account, "--policy-days", "0")
    host.process.popen.send_signal(signal.SIGHUP)
    host.wait_version("www.example.com", 1)
    host.stop()
