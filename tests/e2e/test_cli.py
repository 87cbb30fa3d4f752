# SPDX-License-Identifier: Apache-2.0
"""`certsync` as a host's administrator uses it: files in, exit codes and sentences out, over the whole stack."""

import csv
import json
import re
import socket
import subprocess
import threading

import pytest

from support import events as ev
from support.host import Host, make_files
from support.proc import PATIENCE_S
from support.stack import certsync_binary, consumer_binary

APPLIED, REJECTED, USAGE, UNKNOWN, REFUSED, DENIED, UNPRINTED = 0, 1, 2, 3, 4, 5, 6


@pytest.fixture(scope="module")
def ca():
    return ev.Authority("Example Intermediate", ev.Authority("Example Root"), path_length=0)


@pytest.fixture
def host(stack, tmp_path):
    return Host(stack, stack.account(), tmp_path / "host")


@pytest.fixture
def files(host, ca):
    """cert.pem, key.pem, chain.pem, full.pem (leaf and intermediate) in the host's folder."""
    return make_files(host.dir, ca)


def test_upload_then_everything_else(host, files):
    host.expect(APPLIED, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem", "--tag", "web")
    shown = host.json(APPLIED, "show", "www")
    assert shown["name"] == "www" and shown["source"] == "uploaded" and shown["tags"] == ["web"]
    assert "www" in host.expect(APPLIED, "list")
    host.expect(APPLIED, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem", words=["unchanged"])
    host.expect(APPLIED, "delete", "www")
    assert "www" not in host.expect(APPLIED, "list", "--json")
    assert host.spooled() == []  # every outcome is known


def test_chain_in_a_file_of_its_own_and_in_any_order(host, ca, files):
    host.expect(APPLIED, "upload", "own", "--cert", "cert.pem", "--key-file", "key.pem", "--chain", "chain.pem")
    (host.dir / "reversed.pem").write_bytes((host.dir / "chain.pem").read_bytes() + (host.dir / "cert.pem").read_bytes())
    assert "notes" not in host.json(APPLIED, "show", "own")
    host.expect(APPLIED, "upload", "reversed", "--cert", "reversed.pem", "--key-file", "key.pem")


def test_a_missing_chain_and_tags_are_added(host, files):
    host.expect(APPLIED, "upload", "grows", "--cert", "cert.pem", "--key-file", "key.pem")
    before = host.json(APPLIED, "show", "grows")
    assert before["notes"] == ["chain.incomplete"]
    host.expect(APPLIED, "upload", "grows", "--cert", "full.pem", "--key-file", "key.pem", "--tag", "web", words=["changed: chain, tags"])
    shown = host.json(APPLIED, "show", "grows")
    assert (shown["id"], shown["version"], shown["tags"], len(shown["chain"][0])) == (before["id"], 1, ["web"], 2)
    assert "notes" not in shown
    host.expect(APPLIED, "upload", "grows", "--cert", "cert.pem", "--key-file", "key.pem", words=["unchanged", "--replace --force"])
    assert len(host.json(APPLIED, "show", "grows")["chain"][0]) == 2


def test_an_update_makes_no_version(host, ca, files):
    host.expect(APPLIED, "upload", "old", "--cert", "cert.pem", "--key-file", "key.pem")
    host.expect(APPLIED, "update", "old", "--name", "new", "--tag", "web", "--contact", "b\u00fcro@example.com", "--note", "moves soon",
                words=["changed: tags, name, contact, note"])
    host.expect(APPLIED, "update", "new", "--no-tags", "--note", "", "--chain", "full.pem", words=["changed: chain, tags, note"])
    shown = host.json(APPLIED, "show", "new")
    assert (shown["version"], shown["tags"], shown["contact"], len(shown["chain"][0])) == (1, [], "b\u00fcro@example.com", 2)
    assert "note" not in shown and "notes" not in shown
    assert "contact         b\u00fcro@example.com" in host.expect(APPLIED, "show", shown["id"])
    host.expect(APPLIED, "update", "new", "--chain", "chain.pem", "--no-tags", words=["unchanged"])
    (host.dir / "other").mkdir()
    make_files(host.dir / "other", ca)
    host.expect(REFUSED, "update", "new", "--chain", "other/full.pem", words=["chain.other"])
    host.expect(USAGE, "update", "new", words=["say what is to change"])
    host.expect(USAGE, "update", "new", "--tag", "a", "--no-tags")
    host.expect(USAGE, "update", "new", "--note", "two\nlines", words=["one line"])
    host.expect(USAGE, "update", "new", "--sign-chain", "chain.pem", "--encrypt-chain", "chain.pem", words=["use --chain"])
    host.expect(REFUSED, "update", "new", "--name", "no/slashes", words=["name.invalid"])
    host.expect(DENIED, "update", "old", "--note", "x", words=["certificate.not_found"])
    assert host.spooled() == []


def test_standard_input(host, files):
    host.expect(APPLIED, "upload", "piped", "--cert", "-", "--key-file", "key.pem", stdin=(host.dir / "full.pem").read_bytes())


@pytest.mark.parametrize("kind", ["rsa2048", "p384", "p521", "ed25519"])
def test_key_types(host, ca, kind):
    make_files(host.dir, ca, kind)
    host.expect(APPLIED, "upload", kind, "--cert", "full.pem", "--key-file", "key.pem")


def test_generous_reading(host, files):
    key, full = (host.dir / "key.pem").read_text(), (host.dir / "full.pem").read_text()
    (host.dir / "key.pem").write_text("\ufeffBag Attributes\n    friendlyName: www\n" + key.replace("\n", "\r\n"))
    (host.dir / "full.pem").write_text("issued by the example CA\n\n" + full.replace("\n", "\r\n") + "\ntrailing words\n")
    host.expect(APPLIED, "upload", "generous", "--cert", "full.pem", "--key-file", "key.pem")


def test_sm2(host):
    pair = ev.Sm2Pair()
    for name, der, key in (("sign", pair.sign_der, pair.sign_key), ("enc", pair.encrypt_der, pair.encrypt_key)):
        (host.dir / f"{name}.pem").write_bytes(ev.pem_of(der, pair.ca_der))
        (host.dir / f"{name}.key").write_bytes(key.pem)
    sides = ["--sign-cert", "sign.pem", "--sign-key", "sign.key", "--encrypt-cert", "enc.pem", "--encrypt-key", "enc.key"]
    host.expect(APPLIED, "upload", "gm", "--algorithm", "sm2", *sides)
    assert host.json(APPLIED, "show", "gm")["algorithm"] == "sm2"
    sides[1::4] = sides[1::4][::-1]  # certificates swapped
    host.expect(REFUSED, "upload", "gm2", "--algorithm", "sm2", *sides)


def test_csr(host, ca):
    host.expect(APPLIED, "csr", "create", "api", "--subject", "/CN=api.example.com", "--dns", "api.example.com", "--out", "api.csr")
    assert "api" in host.expect(APPLIED, "csr", "list")
    from cryptography import x509
    request = x509.load_pem_x509_csr((host.dir / "api.csr").read_bytes())
    assert request.is_signature_valid
    (host.dir / "api.pem").write_bytes(ev.pem_of(ca.issue(request.public_key(), cn="api.example.com", names=["api.example.com"]), ca.der))
    assert "used by   no certificate yet" in host.expect(APPLIED, "csr", "show", "api")
    host.expect(APPLIED, "upload", "api", "--cert", "api.pem", "--csr")
    assert "used by   api, version 1" in host.expect(APPLIED, "csr", "show", "api")
    assert host.json(APPLIED, "csr", "list")["csrs"][0]["used"]["name"] == "api"
    host.expect(REJECTED, "csr", "create", "api", "--subject", "api.example.com", "--out", "again.csr", words=["csr.name_taken", "csr delete"])
    host.expect(REFUSED, "csr", "create", "none", "--subject", "CN=An Example,O=b", "--out", "none.csr", words=["csr.no_name", "--dns"])
    host.expect(APPLIED, "csr", "create", "forms", "--subject", "CN=b.example.com,O=b", "--out", "forms.csr")
    made = x509.load_pem_x509_csr((host.dir / "forms.csr").read_bytes())
    assert made.subject.rfc4514_string() == "CN=b.example.com,O=b"
    assert made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == ["b.example.com"]
    host.expect(APPLIED, "csr", "delete", "api")


def encrypted(key):
    from cryptography.hazmat.primitives import serialization as s
    return key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"secret"))


# What is wrong with the files, how it is made, and words that the sentence must hold.
WRONG_FILES = {
    "a key of another certificate": (
        lambda d, key: ev.write_private(ev.new_key(), d / "key.pem"), ["key.mismatch", "openssl"]),
    "an encrypted key": (lambda d, key: (d / "key.pem").write_bytes(encrypted(key)), ["key.encrypted", "openssl pkey"]),
    "a certificate in the key's place": (
        lambda d, key: (d / "key.pem").write_bytes((d / "cert.pem").read_bytes()), ["key.", "certificate"]),
    "a key in the certificate's place": (
        lambda d, key: (d / "full.pem").write_bytes((d / "key.pem").read_bytes()), ["cert.malformed", "key"]),
    "a DER certificate": (
        lambda d, key: (d / "full.pem").write_bytes(ev.openssl("x509", "-in", str(d / "cert.pem"), "-outform", "DER")),
        ["DER", "openssl x509 -inform DER"]),
    "a DER key": (lambda d, key: (d / "key.pem").write_bytes(ev.pkcs8_of(key)), ["DER", "openssl pkey -inform DER"]),
    "a PKCS#12 file": (
        lambda d, key: (d / "key.pem").write_bytes(ev.openssl(
            "pkcs12", "-export", "-in", str(d / "cert.pem"), "-inkey", str(d / "key.pem"), "-passout", "pass:x")),
        ["PKCS#12", "openssl pkcs12"]),
    "a truncated certificate": (
        lambda d, key: (d / "full.pem").write_bytes((d / "cert.pem").read_bytes()[:200]), ["cert.malformed"]),
    "two keys": (lambda d, key: (d / "key.pem").write_bytes((d / "key.pem").read_bytes() * 2), ["key.many"]),
    "an empty file": (lambda d, key: (d / "key.pem").write_bytes(b""), ["key.missing"]),
    "a file of 1 MiB": (lambda d, key: (d / "full.pem").write_bytes(b"x" * 2**20), ["256 KiB"]),
}


@pytest.mark.parametrize("what", WRONG_FILES)
def test_wrong_files_are_refused_before_sending(host, files, what):
    spoil, words = WRONG_FILES[what]
    spoil(host.dir, files)
    said = host.expect(REFUSED, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem", words=words)
    assert ".pem" in said
    assert host.spooled() == []


def test_no_such_file_is_a_clear_error(host, files):
    host.expect(REFUSED, "upload", "www", "--cert", "missing.pem", "--key-file", "key.pem", words=["missing.pem"])


@pytest.mark.parametrize("how,code", [
    (dict(start=-30, days=-1), "cert.expired"), (dict(start=1), "cert.not_yet_valid"), (dict(cn="", names=()), "cert.no_name"),
    (dict(kind="rsa1024"), "cert.weak_key")])
def test_wrong_certificates_are_refused_before_sending(host, ca, how, code):
    make_files(host.dir, ca, **how)
    host.expect(REFUSED, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem", words=[code])


def test_dry_run_sends_nothing(host, files):
    host.expect(APPLIED, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem", "--dry-run")
    assert host.spooled() == [] and host.json(APPLIED, "list")["certificates"] == []


def test_rejected_by_the_rules(host, ca, files):
    host.expect(APPLIED, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem")
    make_files(host.dir, ca)
    host.expect(REJECTED, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem", words=["name.taken", "--replace"])
    answer = host.json(REJECTED, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem")
    assert (answer["status"], answer["code"]) == ("rejected", "name.taken")
    host.expect(APPLIED, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem", "--replace", "--force")


@pytest.mark.parametrize("args,code", [
    (["show", "nowhere"], "certificate.not_found"), (["delete", "nowhere"], "certificate.not_found"),
    (["share", "nowhere", "--to", "other"], "certificate.not_found"), (["--account", "nowhere", "list"], "event.unknown_signer")])
def test_what_the_api_refuses_is_no_verdict_of_the_rules(host, args, code):
    host.expect(DENIED, *args, words=[code])
    answer = host.json(DENIED, *args)
    assert (answer["status"], answer["code"], answer["exit"]) == ("denied", code, DENIED)
    assert host.spooled() == []


def test_an_answer_that_cannot_be_printed_is_no_refusal(host, files):
    """The disk behind standard output is full: what was applied is applied, and has a code of its own."""
    for args in (["upload", "www"], ["--json", "upload", "web"]):
        with open("/dev/full", "wb") as full:
            done = host.run(*args, "--cert", "full.pem", "--key-file", "key.pem", stdout=full)
        assert done.returncode == UNPRINTED and b"standard output" in done.stderr, done
    assert [c["name"] for c in host.json(APPLIED, "list")["certificates"]] == ["web", "www"]
    with open("/dev/full", "wb") as full:  # what failed anyway keeps its code
        assert host.run("--json", "show", "nowhere", stdout=full).returncode == DENIED


@pytest.fixture(scope="module")
def silent_server():
    """Takes every connection and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("args", [
    ["list"], ["show", "www"], ["delete", "www"], ["upload", "www", "--cert", "full.pem", "--key-file", "key.pem"], ["outcomes"],
    ["outcomes", "019f0000-0000-7000-8000-000000000000"], ["agents"], ["csr", "list"], ["account", "list"], ["trust", "list"],
    ["trust", "add", "--role", "admin", "--key", "other.pub"], ["agent", "rotate"]], ids=" ".join)
def test_timeout_bounds_whatever_does_not_answer(host, files, silent_server, args):
    """The API's own limit of ten minutes does not count: without --timeout's the run would not end in time."""
    host.configure(**{"kafka.brokers": f"127.0.0.1:{silent_server}", "api.url": f"http://127.0.0.1:{silent_server}",
                      "api.timeout": "10m"})
    ev.write_public(ev.new_key("p256"), host.dir / "other.pub")
    host.expect(UNKNOWN, "--timeout", "1", *args)


@pytest.mark.parametrize("args,words", [
    (["uplaod"], ["upload"]), (["upload", "www", "--crt", "x"], ["--crt", "--cert"]), (["upload"], ["NAME"]),
    (["list", "--status", "bad"], ["--status"]), (["--set", "kafka.brokres=x", "list"], ["kafka.brokers"])])
def test_usage_errors_name_what_was_meant(host, args, words):
    done = host.run(*args)
    assert done.returncode == USAGE and done.stdout == b""
    for word in words:
        assert word in done.stderr.decode()
    answer = host.json(USAGE, *args)
    assert (answer["status"], answer["exit"]) == ("error", USAGE) and all(word in answer["message"] for word in words)


def test_help_goes_to_stdout(host):
    for args in (["--help"], ["upload", "--help"], ["account", "register", "--help"]):
        done = host.run(*args)
        assert done.returncode == 0 and done.stderr == b"" and b"certsync" in done.stdout


def test_an_unreachable_broker_keeps_the_event(host, files):
    host.configure(**{"kafka.brokers": "127.0.0.1:1"})
    host.expect(UNKNOWN, "--timeout", "2", "upload", "www", "--cert", "full.pem", "--key-file", "key.pem", words=["spool"])
    assert len(host.spooled()) == 1
    host.configure()
    host.expect(APPLIED, "spool", "flush")
    assert "www" in host.expect(APPLIED, "list")
    assert host.spooled() == []


def test_an_unreachable_api_is_not_known_in_time(host, files):
    host.configure(**{"api.url": "http://127.0.0.1:1"})
    host.expect(UNKNOWN, "--timeout", "2", "upload", "www", "--cert", "full.pem", "--key-file", "key.pem")
    host.configure()
    assert [c["name"] for c in host.json(APPLIED, "list")["certificates"]] == ["www"]


def test_a_key_that_is_not_enrolled_is_told_so(stack, host, files, tmp_path):
    stranger = Host(stack, host.account, tmp_path / "stranger", key=ev.Sender(stack.log_id))
    for name in ("full.pem", "key.pem"):
        (stranger.dir / name).write_bytes((host.dir / name).read_bytes())
    done = stranger.run("--timeout", "5", "upload", "www", "--cert", "full.pem", "--key-file", "key.pem")
    assert done.returncode in (REJECTED, UNKNOWN) and b"event.unknown_signer" in done.stdout + done.stderr


def test_commands_side_by_side_share_one_spool(host, ca):
    """Twelve uploads at once from one host: all applied, each number used once, in order."""
    results = {}

    def upload(i):
        directory = host.dir / f"f{i}"
        directory.mkdir()
        make_files(directory, ca)
        done = host.run("--json", "--timeout", "60", "upload", f"side-{i}", "--cert", directory / "full.pem",
                        "--key-file", directory / "key.pem", timeout_s=90)
        results[i] = (done.returncode, done.stdout, done.stderr)

    threads = [threading.Thread(target=upload, args=(i,)) for i in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(code == APPLIED for code, _, _ in results.values()), results
    assert {f"side-{i}" for i in range(12)} <= {c["name"] for c in host.json(APPLIED, "list", "--limit", "100")["certificates"]}


def test_list_filters_sorts_and_pages(host, ca):
    for i, (name, days) in enumerate((("a-long", 300), ("b-short", 10), ("c-mid", 60))):
        make_files(host.dir, ca, kind="p256" if i else "rsa2048", days=days)
        host.expect(APPLIED, "upload", name, "--cert", "full.pem", "--key-file", "key.pem")

    def names(*args):
        return [c["name"] for c in host.json(APPLIED, "list", *args)["certificates"]]
    assert names() == ["a-long", "b-short", "c-mid"]
    assert names("--sort", "expires") == ["b-short", "c-mid", "a-long"]
    assert names("--status", "expiring") == ["b-short"]
    assert names("--status", "expired") == []
    assert names("--name", "c-") == ["c-mid"]
    assert names("--source", "shared") == []
    assert names("--limit", "2") == ["a-long", "b-short"]
    for command in ("list", "outcomes"):  # by the cursor that is printed, as a person copies it
        said, seen = host.expect(APPLIED, command, "--limit", "1"), 1
        while (more := said.split("--cursor ")[1:]):
            said, seen = host.expect(APPLIED, command, "--limit", "1", "--cursor", more[0].split()[0]), seen + 1
        assert seen >= 3, said
    everything = host.json(APPLIED, "outcomes", "--limit", "1", "--page-all")
    assert len(everything["outcomes"]) == seen and "next" not in everything
    table = host.expect(APPLIED, "list")
    assert all(n in table for n in ("a-long", "b-short", "c-mid"))


def test_administration_and_sharing_from_the_command_line(stack, ca, tmp_path):
    # Keys of their own: a key's numbers belong to one spool.
    senders = {role: ev.Sender(stack.log_id) for role in ("admin", "issuer")}
    for role, sender in senders.items():
        stack.appoint(role, sender)
    admin = Host(stack, stack.account(), tmp_path / "admin", key=senders["admin"])
    issuer = Host(stack, admin.account, tmp_path / "issuer", key=senders["issuer"])
    hosts = {}
    for account in ("cli-owner", "cli-recipient"):
        admin.expect(APPLIED, "account", "register", account, "--site", "intl", "--owner", "cli-person", "--verified")
        directory = tmp_path / account
        directory.mkdir()
        issuer.run("keygen", "--out", directory / "new.key")
        admin.expect(APPLIED, "agent", "enroll", "--account", account, "--public-key", directory / "new.key.pub")
        hosts[account] = Host(stack, type("A", (), {"id": account, "agent": stack.admin}), directory)
        hosts[account].configure(**{"agent.key": directory / "new.key"})
    make_files(issuer.dir, ca)
    issuer.expect(APPLIED, "issue", "shop", "--account", "cli-owner", "--source", "official", "--cert", "full.pem", "--key-file", "key.pem")
    owner, recipient = hosts["cli-owner"], hosts["cli-recipient"]
    owner.expect(APPLIED, "share", "shop", "--to", "cli-recipient")
    shared = recipient.json(APPLIED, "list", "--source", "shared")["certificates"]
    assert [(c["name"], c["owner_account"]) for c in shared] == [("shop", "cli-owner")]
    owner.expect(REJECTED, "share", "shop", "--to", "nobody-at-all", words=["share.owner"])
    owner.expect(REFUSED, "share", "shop", "--to", "cli-owner", words=["share.self"])
    owner.expect(REJECTED, "delete", "shop", words=["delete.shared", "--cascade"])
    owner.expect(APPLIED, "unshare", "shop", "--to", "cli-recipient")
    assert recipient.json(APPLIED, "list")["certificates"] == []
    said = owner.expect(APPLIED, "outcomes")
    assert "share.owner" in said
    kid = admin.run("key", "id", tmp_path / "cli-owner/new.key").stdout.decode().strip()
    admin.expect(APPLIED, "agent", "revoke", "--account", "cli-owner", kid)
    done = owner.run("--timeout", "5", "delete", ev.uuid7())
    assert done.returncode in (REJECTED, UNKNOWN) and b"event.revoked_signer" in done.stdout + done.stderr


def test_the_custodian_opens_sealed_keys_and_checks_that_they_fit(stack, host, files, tmp_path):
    host.expect(APPLIED, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem")
    reader = ev.Sender(stack.log_id)
    stack.appoint("custodian", reader)
    custodian = Host(stack, host.account, tmp_path / "custodian", key=reader)
    custodian.expect(APPLIED, "keys", "check", "www", "--custodian-key", stack.keys / "custodian.key")
    wrong = ev.write_private(ev.x25519.X25519PrivateKey.generate(), tmp_path / "wrong.key")
    said = custodian.expect(REJECTED, "keys", "check", "www", "--custodian-key", wrong)
    assert "www" in said


def test_a_token_opens_the_api_for_other_clients(stack, host, files, tmp_path):
    host.expect(APPLIED, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem")
    admin = Host(stack, host.account, tmp_path / "admin", key=stack.admin)
    answers = host.json(APPLIED, "token"), admin.json(APPLIED, "token", "--all-accounts")
    tokens = host.expect(APPLIED, "token").strip(), *(a["token"] for a in answers)
    for token in tokens:
        status, page = stack.http(f"/v1/accounts/{host.account.id}/certificates", token)[:2]
        assert status == 200 and [c["name"] for c in page["certificates"]] == ["www"]
    assert stack.http(f"/v1/accounts/{host.account.id}/certificates", tokens[0][:-6] + "AAAAAA")[0] == 401


def test_settings_and_codes_are_printed_for_the_documents(host):
    assert "| `kafka.brokers`" in host.expect(APPLIED, "settings", "--markdown")
    assert "`share.reshare`" in host.expect(APPLIED, "codes", "--markdown")


COMMAND = re.compile(r"\b(certsync(?:-consumer)?)((?: [a-z][a-z-]+)*)([^.;,)]*)")


def test_hints_name_commands_and_options_that_exist():
    """What a person is told to type is there."""
    programs = {"certsync": certsync_binary(), "certsync-consumer": consumer_binary()}
    helps, seen = {}, 0

    def help_of(words):
        if words not in helps:
            done = subprocess.run([programs[words[0]], *words[1:], "--help"], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            helps[words] = done.stdout if done.returncode == 0 else None
        return helps[words]
    for code in json.loads(subprocess.check_output([certsync_binary(), "codes", "--json"]))["codes"]:
        for program, words, rest in COMMAND.findall(code["hint"]):
            words = tuple(words.split())
            # The words of a sentence may follow those of the command.
            known = [n for n in range(len(words), 0, -1) if help_of((program, *words[:n]))]
            assert known or not words, f"{code['code']}: there is no {program} {' '.join(words)}"
            if not known:
                continue
            text = help_of((program, *words[:known[0]]))
            for option in re.findall(r"--[a-z-]+", rest):
                assert option + " " in text or option + "\n" in text, f"{code['code']}: {program} {words} has no {option}"
                seen += 1
    assert seen > 20


def test_a_file_is_inspected_before_anything_is_sent(host, ca, files):
    said = host.json(APPLIED, "inspect", "full.pem", "--key-file", "key.pem")
    assert said["verdict"] == "accepted" and said["key_checked"] and said["notes"] == []
    assert [c["ca"] for c in said["certificates"]] == [False, True]
    host.expect(APPLIED, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem")
    shown = host.json(APPLIED, "show", "www")
    assert {k: said["certificates"][0][k] for k in ("fingerprint", "spki_sha256", "serial", "issuer", "names", "not_after")} == {
        k: shown[k] for k in ("fingerprint", "spki_sha256", "serial", "issuer", "names", "not_after")}
    noted = host.json(APPLIED, "inspect", "cert.pem")
    assert not noted["key_checked"] and [n["code"] for n in noted["notes"]] == ["chain.incomplete"]
    refused = host.json(REFUSED, "inspect", "cert.pem", "--strict")
    assert (refused["verdict"], refused["code"], len(refused["certificates"])) == ("refused", "chain.incomplete", 1)
    ev.write_private(ev.new_key(), host.dir / "other.key")
    host.expect(REFUSED, "inspect", "full.pem", "--key-file", "other.key", words=["key.mismatch", "certificate "])
    host.expect(REFUSED, "inspect", "key.pem", words=["a private key, where a certificate was wanted"])
    host.expect(REFUSED, "inspect", "nothing.pem", words=["No such file"])
    host.expect(USAGE, "inspect", "full.pem", "--encrypt-key", "key.pem", words=["--encrypt-cert"])
    assert host.spooled() == []


@pytest.mark.parametrize("args, code", [
    (["full.pem"], 1), (["--expires-in", "0%", "full.pem"], 0), (["--expires-in", "100d", "full.pem"], 0), (["--expires-in", "1h30m", "full.pem"], 1),
    (["old.pem"], 0), (["bundle.pem"], 1), (["--bundle", "bundle.pem"], 0), (["nothing.pem"], 2), (["key.pem"], 255), (["."], 255),
    (["--expires-in", "soon", "full.pem"], 255), (["--expires-in", "99999999999d", "full.pem"], 255), (["--expires-in", "101%", "full.pem"], 255)])
def test_needs_renewal_ends_as_that_of_step_does(host, ca, files, args, code):
    old = ca.issue(ev.new_key().public_key(), days=1.0, start=-9.0)
    (host.dir / "old.pem").write_bytes(ev.pem_of(old))
    (host.dir / "bundle.pem").write_bytes((host.dir / "full.pem").read_bytes() + ev.pem_of(old))
    done = host.run("needs-renewal", *args)
    assert (done.returncode, bool(done.stdout)) == (code, code < 2), done.stderr


def test_an_account_is_shown_to_its_own_and_to_admins(stack, host, files, tmp_path):
    host.expect(APPLIED, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem")
    own = host.json(APPLIED, "account", "show")
    admin = Host(stack, host.account, tmp_path / "admin", key=stack.admin)
    assert admin.json(APPLIED, "account", "show", host.account.id) == own
    assert (own["account"], own["certificates"], own["limits"]["certificates"]) == (host.account.id, 1, 1000)
    host.expect(APPLIED, "account", "show", words=["certificates", "owner-1"])
    host.expect(DENIED, "account", "show", "another-account", words=["event.unknown_signer"])
    admin.expect(DENIED, "account", "show", "no-such-account", words=["account.unknown"])
    host.expect(USAGE, "account", "show", "No Account", words=["not an account id"])


def test_lists_are_csv_too(stack, host, files, tmp_path):
    host.expect(APPLIED, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem")
    item = host.json(APPLIED, "show", "www")
    row, = csv.DictReader(host.run("list", "--csv").stdout.decode().splitlines())
    assert (row["name"], row["id"], row["issuer"], row["names"]) == ("www", item["id"], item["issuer"], " ".join(item["names"]))
    assert host.run("list", "--csv", "--name", "nothing").stdout.decode().count("\n") == 1
    admin = Host(stack, host.account, tmp_path / "admin", key=stack.admin)
    for args in (["agents"], ["outcomes"]):
        assert len(list(csv.DictReader(host.run(*args, "--csv").stdout.decode().splitlines()))) >= 1
    assert host.account.id in [r["account"] for r in csv.DictReader(admin.run("account", "list", "--csv").stdout.decode().splitlines())]
    assert stack.admin.kid in [r["key"] for r in csv.DictReader(admin.run("trust", "list", "--csv").stdout.decode().splitlines())]


def test_the_history_of_a_certificate(host, files):
    host.expect(APPLIED, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem")
    subject = host.json(APPLIED, "show", "www")["id"]
    host.expect(APPLIED, "delete", "www")
    host.expect(APPLIED, "history", subject, words=["certificate.upload", "certificate.delete", host.sender.kid])
    rows = list(csv.DictReader(host.run("history", subject, "--csv").stdout.decode().splitlines()))
    assert [(r["event"], r["status"]) for r in rows] == [("certificate.upload", "applied"), ("certificate.delete", "applied")]
    host.expect(DENIED, "history", "www", words=["certificate.not_found"])
