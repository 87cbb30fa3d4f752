# SPDX-License-Identifier: Apache-2.0
"""The chart, rendered by Helm's engine: it names settings that certsync-consumer has, and the consumer starts with what comes out."""
import configparser
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import yaml

from support import events as ev
from support.helm import CHART, RenderFailed, render
from support.proc import PATIENCE_S, Process, free_port
from support.redis import Redis
from support.stack import DEPLOYMENT, certsync_binary, consumer_binary

# A uid as OpenShift gives it: no name, the group root, and a group of the pod's own.
UID, FS_GROUP = 1000680000, 1000680001
REQUIRED = {"deployment": {"id": "prod"}, "kafka": {"brokers": "kafka1:9092"}, "redis": {"url": "redis://redis:6379"}}


def known_settings():
    text = subprocess.run([consumer_binary(), "settings", "--markdown"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^\| `([a-z_]+\.[a-z_*]+)`", text, re.M))


def merged(*layers):
    settings = {}
    for layer in layers:
        for section, keys in layer.items():
            settings[section] = None if keys is None else {**settings.get(section, {}), **keys}
    return settings


def settings_file(files):
    return files["configmap.yaml"]["data"]["consumer.conf"]


def parsed(text):
    """Strict: a section or a key that is there twice is an error."""
    parser = configparser.RawConfigParser(strict=True, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str
    parser.read_string(text)
    return {section: dict(parser[section]) for section in parser.sections()}


def chart_with(**over):
    return render("certsync", values={"settings": merged(REQUIRED, over.pop("settings", {})), **over})


def container(files):
    return files["deployment.yaml"]["spec"]["template"]["spec"]["containers"][0]


def test_snapshots_have_a_volume_and_a_job():
    files = chart_with(snapshots={"claimName": "kept"}, settings={"snapshot": {"every": 100000}})
    job = files["snapshots.yaml"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    there = parsed(settings_file(files))["snapshot"]
    assert there == {"dir": "/var/lib/certsync-consumer/snapshots", "every": "100000"}
    for pod, read_only in ((job, False), (files["deployment.yaml"]["spec"]["template"]["spec"], True)):
        mount, = (m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "snapshots")
        volume, = (v for v in pod["volumes"] if v["name"] == "snapshots")
        assert mount["mountPath"] == there["dir"] and mount.get("readOnly", False) == read_only
        assert volume["persistentVolumeClaim"]["claimName"] == "kept"
    assert job["containers"][0]["args"][0] == "snapshot" and files["snapshots.yaml"]["spec"]["concurrencyPolicy"] == "Forbid"
    without = chart_with()
    assert not without.get("snapshots.yaml") and "snapshot" not in parsed(settings_file(without))


def test_notices_have_a_deployment_of_their_own():
    sections = {"notice audit": {"to": "https://hooks.example.com/x", "secret_file": "/etc/certsync/notices/audit"}, "notify": {"listen": "0.0.0.0:9099"}}
    files = chart_with(settings=sections, notify={"enabled": True, "secretName": "hooks"})
    pod = files["notify.yaml"]["spec"]["template"]["spec"]
    notify, = pod["containers"]
    assert notify["args"][0] == "notify" and notify["ports"] == [{"name": "notify", "containerPort": 9099}]
    mount, = (m for m in notify["volumeMounts"] if m["name"] == "notices")
    volume, = (v for v in pod["volumes"] if v["name"] == "notices")
    assert mount["mountPath"] == "/etc/certsync/notices" and volume["secret"] == {"secretName": "hooks", "defaultMode": 0o440}
    labels = files["notify.yaml"]["spec"]["selector"]["matchLabels"]
    assert labels == files["notify.yaml"]["spec"]["template"]["metadata"]["labels"]
    assert labels != files["deployment.yaml"]["spec"]["selector"]["matchLabels"]
    assert parsed(settings_file(files))["notice audit"] == sections["notice audit"]
    assert not chart_with().get("notify.yaml")
    with pytest.raises(RenderFailed, match="settings.notify.listen"):
        chart_with(settings={"notify": {"listen": "127.0.0.1:8081"}}, notify={"enabled": True})


def test_every_value_is_a_setting():
    named = {f"{section}.{key}" for section, keys in yaml.safe_load((CHART / "values.yaml").read_text())["settings"].items()
             for key in keys}
    rendered = parsed(settings_file(chart_with(tlsSecretName="tls")))
    named |= {f"{section}.{key}" for section, keys in rendered.items() for key in keys}
    assert {"api.tls_key", "deployment.service_key"} <= named and len(known_settings()) > 20
    assert named - known_settings() == set()


def test_values_are_rendered_as_they_are_meant():
    text = settings_file(chart_with(settings={
        "kafka": {"brokers": ["kafka1:9092", "kafka2:9092"], "ssl_verify_hostname": False, "group": 1340000,
                  "rdkafka": {"socket.timeout.ms": 60000, "queued.max.messages.kbytes": 1048576}},
        "redis": {"url": ["redis://s1:26379", "redis://s2:26379"], "timeout": None, "namespace": ' "a"\\ '},
        "api": {"max_connections": 1340000, "max_wait": 1.5},
        "consumer": {"workers": 123456789012},
        "log": None,
    }))
    assert parsed(text) == {
        "deployment": {"id": "prod", "root_key": "/etc/certsync/keys/root.pub", "service_key": "/etc/certsync/keys/service.key"},
        "kafka": {"brokers": "kafka1:9092,kafka2:9092", "ssl_verify_hostname": "false", "group": "1340000",
                  "security_protocol": "plaintext", "rdkafka.socket.timeout.ms": "60000",
                  "rdkafka.queued.max.messages.kbytes": "1048576"},
        "redis": {"mode": "plain", "url": "redis://s1:26379,redis://s2:26379", "sentinel_master": "", "namespace": '" \\"a\\"\\\\ "'},
        "api": {"listen": "0.0.0.0:8443", "max_connections": "1340000", "max_wait": "1.5"},
        "consumer": {"workers": "123456789012"}, "notify": {"listen": "0.0.0.0:8081"},
    }


def test_what_set_gives_is_rendered_as_well():
    text = settings_file(render("certsync", {
        "settings.deployment.id": "1340000", "settings.kafka.brokers": "{kafka1:9092,kafka2:9092}",
        "settings.redis.url": "redis://redis:6379", "settings.api.max_connections": "2000000"}))
    assert parsed(text)["kafka"]["brokers"] == "kafka1:9092,kafka2:9092"
    assert parsed(text)["deployment"]["id"] == "1340000" and parsed(text)["api"]["max_connections"] == "2000000"


def test_the_users_address_of_the_api_wins_once():
    files = chart_with(settings={"api": {"listen": "[::]:9443", "tls_key": "/etc/certsync/tls/own.key"}}, tlsSecretName="tls")
    assert parsed(settings_file(files))["api"] == {
        "listen": "[::]:9443", "tls_certificate": "/etc/certsync/tls/tls.crt", "tls_key": "/etc/certsync/tls/own.key"}
    assert container(files)["ports"] == [{"name": "api", "containerPort": 9443}]
    assert container(files)["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "api", "scheme": "HTTPS"}


@pytest.mark.parametrize("settings, message", [
    ({"api": {"listen": "127.0.0.1:8443"}}, "cannot be reached by probes"),
    ({"api": {"listen": "unix:/run/api"}}, "cannot be reached by probes"),
    ({"redis": {"password": "hunter2"}}, "put CERTSYNC_REDIS_PASSWORD into the Secret that envSecretName names"),
    ({"kafka": {"group": "a\n[api]"}}, "must be one line"),
    ({"kafka": {"brokers": ""}}, "settings.kafka.brokers: give host:port"),
])
def test_what_cannot_work_is_refused_by_helm(settings, message):
    with pytest.raises(RenderFailed, match=re.escape(message)):
        chart_with(settings=settings)


def test_no_template_prints_a_bare_value():
    """A number of values.yaml is a float to Helm, which prints it as 1.34e+06 from a million on: toJson does not."""
    for template in (CHART / "templates").glob("*.yaml"):
        assert re.findall(r"\{\{-? *\.Values[\w.]* *-?\}\}", template.read_text()) == [], template.name
    files = chart_with(replicas=1000000, image={"tag": 1340000}, terminationGracePeriodSeconds=1200000,
                       podSecurityContext={"runAsUser": UID, "fsGroup": None})
    pod = files["deployment.yaml"]["spec"]["template"]["spec"]
    assert files["deployment.yaml"]["spec"]["replicas"] == 1000000 and pod["terminationGracePeriodSeconds"] == 1200000
    assert pod["containers"][0]["image"] == "certsync-consumer:1340000"
    assert pod["securityContext"]["runAsUser"] == UID and "fsGroup" not in pod["securityContext"]


def test_services_of_the_namespace_are_no_settings():
    """A Service that is called certsync-consumer, as ours in the release certsync, would set CERTSYNC_CONSUMER_PORT."""
    files = chart_with()
    assert files["service.yaml"]["metadata"]["name"] == "certsync-consumer"
    assert files["deployment.yaml"]["spec"]["template"]["spec"]["enableServiceLinks"] is False


@pytest.fixture
def volume():
    """A directory that every user can enter."""
    directory = Path(tempfile.mkdtemp(prefix="certsync-pod-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def as_kubernetes_mounts(volume, files, mode):
    """A Secret's volume: links into a directory that is swapped as a whole, files of root and the pod's fsGroup."""
    (volume / "..2026").mkdir()
    (volume / "..data").symlink_to("..2026")
    for name, source in files.items():
        shutil.copy(source, volume / "..2026" / name)
        os.chmod(volume / "..2026" / name, mode)
        if os.getuid() == 0:
            os.chown(volume / "..2026" / name, 0, FS_GROUP)
        (volume / name).symlink_to(f"..data/{name}")


@pytest.fixture
def tcp_redis(tmp_path):
    with Redis(tmp_path / "redis", tcp=True) as server:
        yield server


def as_in_a_pod():
    """Only root can become somebody else; others read their own files as what they are."""
    return ["setpriv", "--pdeathsig", "KILL", "--reuid", str(UID), "--regid", "0", "--groups", str(FS_GROUP)] if os.getuid() == 0 else []


def test_the_consumer_starts_with_what_is_rendered(stack, tcp_redis, volume):
    port = free_port()
    keys = volume / "keys"
    keys.mkdir()
    files = chart_with(settings={
        "deployment": {"id": DEPLOYMENT, "root_key": str(keys / "root.pub"), "service_key": str(keys / "service.key")},
        "kafka": {"brokers": stack.kafka.bootstrap.split(","), "group": "helm",
                  "rdkafka": {"queued.max.messages.kbytes": 1048576}},
        "redis": {"url": f"redis://127.0.0.1:{tcp_redis.port}"},
        "api": {"listen": f"0.0.0.0:{port}"},
    })
    volume_of_keys = next(v for v in files["deployment.yaml"]["spec"]["template"]["spec"]["volumes"] if v["name"] == "keys")
    as_kubernetes_mounts(keys, {name: stack.keys / name for name in ("root.pub", "service.key")}, volume_of_keys["secret"]["defaultMode"])
    (volume / "consumer.conf").write_text(settings_file(files))
    program = shutil.copy(consumer_binary(), volume)
    args = [str(volume / "consumer.conf") if a == "/etc/certsync/consumer.conf" else a for a in container(files)["args"]]
    process = Process("helm", [*as_in_a_pod(), program, *args], volume)
    try:
        assert container(files)["ports"][0]["containerPort"] == port
        stack.wait_ready(process, port=port)
        assert process.terminate(30) == 0
    finally:
        process.kill()


def test_certsync_uses_a_key_as_kubernetes_mounts_it(stack, volume, tmp_path):
    account = stack.account("helm")
    ev.write_private(account.agent.key, tmp_path / "agent.key")
    as_kubernetes_mounts(volume, {"agent.key": tmp_path / "agent.key"}, 0o440)
    program = shutil.copy(certsync_binary(), volume)
    command = [*as_in_a_pod(), program, "--key", volume / "agent.key", "--account", account.id, "--set", f"deployment.id={DEPLOYMENT}",
               "--set", f"api.url=http://127.0.0.1:{stack.port}", "list"]
    done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
