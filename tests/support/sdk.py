# SPDX-License-Identifier: Apache-2.0
"""The official CloudEvents SDKs, by the ordinary clients of their registries: fetched once, kept in the cache.

    python_reads(lines), go_reads(lines)       # tests/sdk: what each read of each line
    tlog_reads({"key", "notes", "leaves", "proof"})  # tests/tlog
"""
import hashlib
import json
import os
import shutil
import subprocess
import sys

from support.acme import NotThere, go
from support.kafka import _cache, _locked
from support.proc import PATIENCE_S, REPO

SOURCE = REPO / "tests/sdk"
PYTHON, PACKAGE = "/usr/bin/python3", "cloudevents==2.2.0"
WEBHOOKS = "standardwebhooks==1.1.0"


class Refused(RuntimeError):
    """The SDK cannot read a line; the message is its own."""


def _run(argv, **how):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False, **how)
    if done.returncode:
        raise NotThere(f"{argv[0]} {argv[1]}: {(done.stdout + done.stderr).strip()[-1000:]}")


def _made(name, make):
    """What make(part) makes under the name; once."""
    home, part = _cache() / name, _cache() / f"{name}.part"
    with _locked(_cache() / f"{name}.lock"):
        if not home.exists():
            shutil.rmtree(part, ignore_errors=True)
            make(part)
            os.replace(part, home)
    return home


def _read(argv, lines, **how):
    done = subprocess.run(argv, input="".join(f"{line}\n" for line in lines).encode(), capture_output=True, timeout=PATIENCE_S, check=False, **how)
    if done.returncode:
        raise Refused(done.stderr.decode()[-2000:])
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def python_reads(lines):
    packages = _made(f"{PACKAGE.replace('==', '-')}-py{sys.version_info[1]}", lambda part: _run(
        [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--target", str(part), PACKAGE]))
    return _read([PYTHON, str(SOURCE / "read.py")], lines, env={**os.environ, "PYTHONPATH": str(packages)})


def _built(source, name):
    """The Go program of a folder."""
    digest = hashlib.sha256(b"".join((source / file).read_bytes() for file in ("go.mod", "go.sum", "main.go"))).hexdigest()[:16]

    def build(part):
        part.mkdir()
        _run([go()[0], "build", "-mod=readonly", "-o", str(part / "read"), "."], cwd=source, env={**os.environ, "GOFLAGS": ""})
    return _made(f"{name}-go-{digest}", build) / "read"


def go_reads(lines):
    return _read([_built(SOURCE, "cloudevents")], lines)


def tlog_reads(what):
    """tests/tlog: what others' code for transparency logs says of checkpoints and a proof."""
    done = subprocess.run([_built(REPO / "tests/tlog", "tlog")], input=json.dumps(what).encode(), capture_output=True, timeout=PATIENCE_S, check=False)
    if done.returncode:
        raise Refused(done.stderr.decode()[-2000:])
    return done.stdout.decode()


def webhook_verifies(secret, headers, body):
    """Whether the official library of Standard Webhooks takes the request."""
    packages = _made(f"{WEBHOOKS.replace('==', '-')}-py{sys.version_info[1]}", lambda part: _run(
        [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--target", str(part), WEBHOOKS]))
    done = subprocess.run([PYTHON, str(SOURCE / "webhook.py")], input=json.dumps({"secret": secret, "headers": headers, "body": body.decode()}),
                          capture_output=True, text=True, timeout=PATIENCE_S, check=False, env={**os.environ, "PYTHONPATH": str(packages)})
    assert done.stdout.strip() in ("good", "bad"), done.stdout + done.stderr
    return done.stdout.strip() == "good"
