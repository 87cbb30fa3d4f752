# SPDX-License-Identifier: Apache-2.0
"""A host whose key is in a TPM: swtpm stands for the chip, Debian's tpm2-openssl is the provider."""

import os
import shutil
import subprocess

import pytest

from support import events as ev
from support.host import AgentHost, Host, put_pair, watch_pairs
from support.proc import PATIENCE_S, Process, free_port, wait_until

HANDLE = "0x81000001"


@pytest.fixture
def tpm(tmp_path, monkeypatch):
    """Its programs find it by the environment."""
    for program in ("swtpm", "tpm2_evictcontrol"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    (tmp_path / "tpm").mkdir()
    port = free_port()
    chip = Process("swtpm", ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={tmp_path}/tpm", "--server",
                             f"type=tcp,port={port},bindaddr=127.0.0.1", "--ctrl", f"type=tcp,port={port + 1},bindaddr=127.0.0.1",
                             "--flags", "not-need-init,startup-clear"], tmp_path)
    for name in ("TPM2OPENSSL_TCTI", "TPM2TOOLS_TCTI"):
        monkeypatch.setenv(name, f"swtpm:host=127.0.0.1,port={port}")
    wait_until(lambda: "0" in subprocess.run(["tpm2_getrandom", "--hex", "16"], capture_output=True, text=True, check=False).stdout
               or not chip.alive, PATIENCE_S, "the TPM")
    yield chip
    chip.kill()


def make_key(directory):
    """A P-256 key that is made in the TPM and stays there, at HANDLE."""
    def tpm2(*args):
        done = subprocess.run(args, cwd=directory, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
    tpm2("tpm2_createprimary", "-c", "primary.ctx", "-G", "ecc")
    tpm2("tpm2_create", "-C", "primary.ctx", "-G", "ecc:ecdsa-sha256", "-u", "key.pub", "-r", "key.priv")
    tpm2("tpm2_flushcontext", "-t")
    tpm2("tpm2_load", "-C", "primary.ctx", "-u", "key.pub", "-r", "key.priv", "-c", "key.ctx")
    tpm2("tpm2_evictcontrol", "-c", "key.ctx", HANDLE)
    tpm2("tpm2_flushcontext", "-t")


def test_a_key_in_a_tpm_joins_and_uploads(stack, tpm, tmp_path):
    account, admin_key = stack.account(), ev.Sender(stack.log_id)
    stack.appoint("admin", admin_key)
    admin = Host(stack, account, tmp_path / "admin", key=admin_key)
    token = admin.run("agent", "token", "--can", "upload,read", "--expires", "1h").stdout.decode().strip()
    host = AgentHost(stack, account, tmp_path / "host")
    (host.dir / "host.key").unlink()
    host.configure(**{"agent.key": f"handle:{HANDLE}", "agent.key_provider": "tpm2"})
    missing = host.run("agent", "join", token)
    assert missing.returncode == 2 and b"no private key is there" in missing.stderr, missing.stderr
    make_key(tmp_path)
    host.expect(0, "agent", "join", token, words=["is enrolled"])
    assert not list(host.dir.glob("host.key*"))
    tls = watch_pairs(host)
    put_pair(tls, "www", ev.Authority("TPM Root"))
    host.start()
    try:
        host.wait_version("www", 1)
        host.stop()
    finally:
        host.process.kill()
    refused = host.run("agent", "rotate")
    assert refused.returncode == 2 and b"agent.key is a URI" in refused.stderr
