# SPDX-License-Identifier: Apache-2.0
"""The chart's values name settings that certsync-consumer has, and its template writes no others."""
import re
import subprocess
from pathlib import Path

import yaml

from support.proc import REPO
from support.stack import consumer_binary

CHART = REPO / "helm/certsync"


def known_settings():
    text = subprocess.run([consumer_binary(), "settings", "--markdown"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^\| `([a-z_]+\.[a-z_*]+)`", text, re.M))


def test_every_value_is_a_setting():
    values = yaml.safe_load((CHART / "values.yaml").read_text())["settings"]
    named = {f"{section}.{key}" for section, keys in values.items() for key in keys}
    assert len(known_settings()) > 20
    assert named - known_settings() == set()


def test_the_settings_file_of_the_template_has_no_other():
    template = Path(CHART / "templates/configmap.yaml").read_text()
    fixed = {("deployment", k) for k in re.findall(r"^    (root_key|service_key) = ", template, re.M)}
    fixed |= {("api", k) for k in re.findall(r"^    (listen|tls_certificate|tls_key) = ", template, re.M)}
    assert len(fixed) == 5
    assert {f"{s}.{k}" for s, k in fixed} - known_settings() == set()
