# SPDX-License-Identifier: Apache-2.0
"""Renders the chart with Helm's own engine (tests/helm, built from the Go module proxy once, kept in the cache).

    files = render("certsync", {"settings.kafka.brokers": "{a:9092,b:9092}"}, values={"tlsSecretName": "tls"})
    files["deployment.yaml"]["spec"]…           # parsed; NOTES.txt is text
"""
import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path

import yaml

from support.acme import NotThere, go
from support.kafka import _cache, _locked
from support.proc import PATIENCE_S, REPO

CHART = REPO / "helm/certsync"
SOURCE = REPO / "tests/helm"


class RenderFailed(RuntimeError):
    """Helm refused; the message is Helm's."""


def program():
    files = sorted(p for p in SOURCE.rglob("*") if p.is_file())
    digest = hashlib.sha256(b"".join(p.name.encode() + p.read_bytes() for p in files)).hexdigest()[:16]
    built = _cache() / f"helm-render-{digest}"
    with _locked(_cache() / "helm-render.lock"):
        if not built.exists():
            part = built.with_suffix(".part")
            done = subprocess.run([go()[0], "build", "-mod=readonly", "-o", part, "."], cwd=SOURCE,
                                  env={**os.environ, "GOFLAGS": ""}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=600, check=False)
            if done.returncode:
                raise NotThere(f"go build of Helm's engine: {done.stderr.strip()[-2000:]}")
            os.replace(part, built)
    return built


def render(release, sets=None, values=None, chart=CHART):
    """{file name: parsed YAML (None where nothing is rendered), or text}"""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "values.yaml"
        path.write_text(values if isinstance(values, str) else yaml.safe_dump(values or {}))
        argv = [program(), chart, release, "-f", path]
        for key, value in (sets or {}).items():
            argv += ["--set", f"{key}={value}"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if done.returncode:
        raise RenderFailed(done.stderr)
    return {Path(name).name: yaml.safe_load(text) if name.endswith(".yaml") else text
            for name, text in json.loads(done.stdout).items()}
