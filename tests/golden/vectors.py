# SPDX-License-Identifier: Apache-2.0
"""Records the log below docs/audit/vectors: a short one of one partition, through real servers and the real certsync.

    PYTHONPATH=tests CS_TEST_BUILD=build/dev /usr/bin/python3 tests/golden/vectors.py

Record it anew only where the form of events or outcomes changes; then run ./dev docs. The custodian's private key is kept with it, so that
everybody can open what is sealed there: it is of this log alone.
"""
import subprocess
import tempfile
from pathlib import Path

from support import events as ev
from support.host import Host, make_files
from support.proc import PATIENCE_S, REPO, wait_until
from support.stack import EVENTS, OUTCOMES, Stack

TARGET = REPO / "docs/audit/vectors"


def dump(stack, topic):
    return subprocess.run(["kcat", "-C", "-J", "-e", "-q", "-b", stack.kafka.bootstrap, "-t", topic, "-o", "beginning",
                           "-X", "isolation.level=read_uncommitted"], capture_output=True, check=True).stdout


def live(stack, directory):
    acme, eu = stack.account("acme", owner="acme-ltd"), stack.account("acme-eu", owner="acme-ltd")
    host = Host(stack, acme, directory / "host")
    ca = ev.Authority("Example CA")
    make_files(host.dir, ca)
    host.expect(0, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem", "--tag", "prod")
    make_files(host.dir, ca, start=-0.5)
    host.expect(0, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem", "--replace")
    for kind in ("rsa2048", "p384", "ed25519"):
        make_files(host.dir, ca, kind=kind)
        host.expect(0, "upload", kind, "--cert", "full.pem", "--key-file", "key.pem")
    pair = ev.Sm2Pair("gm.example.com")
    for file, text in (("sign.pem", ev.pem_of(pair.sign_der, pair.ca_der)), ("sign.key", pair.sign_key.pem),
                       ("enc.pem", ev.pem_of(pair.encrypt_der, pair.ca_der)), ("enc.key", pair.encrypt_key.pem)):
        (host.dir / file).write_bytes(text)
        (host.dir / file).chmod(0o600)
    host.expect(0, "upload", "gm", "--algorithm", "sm2", "--sign-cert", "sign.pem", "--sign-key", "sign.key",
                "--encrypt-cert", "enc.pem", "--encrypt-key", "enc.key")
    host.expect(0, "csr", "create", "api", "--subject", "CN=api.example.com", "--dns", "api.example.com", "--out", "api.csr")
    issuer = Host(stack, acme, directory / "issuer", key=stack.issuer)
    make_files(issuer.dir, ca)
    issuer.expect(0, "issue", "shop", "--source", "official", "--cert", "full.pem", "--key-file", "key.pem")
    host.expect(0, "share", "shop", "--to", "acme-eu")
    host.expect(1, "share", "shop", "--to", "nobody")
    host.expect(0, "unshare", "shop", "--to", "acme-eu")
    host.expect(0, "delete", "www", "--yes")
    # What no agent would send: a wrong signature, a stranger, no signature at all, the same record twice.
    other = ev.Sender(eu.agent.log_id, key=eu.agent.key)
    record = other.event("certificate.delete", "acme-eu", ev.uuid7(), {})
    stack.judge(ev.Record("acme-eu", record.value.replace(b'"data":{}', b'"data":{"cascade":true}'), record.signature, record.id))
    stack.judge(ev.Sender(eu.agent.log_id).event("certificate.delete", "acme-eu", ev.uuid7(), {}))
    stack.produce(b"{}", 0, [], b"acme")
    stack.judge(record)
    stack.judge(record)


def main():
    with tempfile.TemporaryDirectory() as name, Stack(Path(name) / "stack", partitions=1) as stack:
        stack.run_consumer()
        live(stack, Path(name))
        wait_until(lambda: stack.kafka.watermarks(EVENTS, 0) == stack.kafka.watermarks(OUTCOMES, 0), PATIENCE_S, "the last outcome")
        TARGET.mkdir(exist_ok=True)
        for topic, file in ((EVENTS, "events.json"), (OUTCOMES, "outcomes.json")):
            (TARGET / file).write_bytes(dump(stack, topic))
        (TARGET / "root.pub").write_bytes((stack.keys / "root.pub").read_bytes())
        (TARGET / "custodian.key").write_bytes((stack.keys / "custodian.key").read_bytes())


if __name__ == "__main__":
    main()
