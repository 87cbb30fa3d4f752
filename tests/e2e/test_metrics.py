# SPDX-License-Identifier: Apache-2.0
"""Metrics of a real consumer: what the certificates are counted as; and that rules, dashboard and page name no metric that is not there."""

import json
import re
import shutil
import subprocess
import time
import urllib.request

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from support import events as ev
from support.host import AgentHost, put_pair, watch_pairs
from support.proc import PATIENCE_S, REPO, free_port, wait_until
from support.stack import Stack
from support.witness import raw, vkey

MONITORING = REPO / "packaging/monitoring"
WITHIN = {"1d": 1, "7d": 7, "14d": 14, "30d": 30}


def read(text):
    """{name: type} and {name: {labels: value}}."""
    types = dict(re.findall(r"(?m)^# TYPE (\S+) (\S+)$", text))
    values = {}
    for name, labels, value in re.findall(r'(?m)^(\w+)(?:\{(.*)\})? (\S+)$', text):
        values.setdefault(name, {})[labels] = float(value)
    return types, values


def scrape(stack):
    return read(stack.http("/metrics")[1])


@pytest.fixture(scope="module")
def host(own, tmp_path_factory):
    """A daemon with one good certificate and one that has expired since, which tells its metrics in both ways."""
    agent = AgentHost(own, own.account("metrics-host"), tmp_path_factory.mktemp("host") / "h")
    agent.metrics_port = free_port()
    agent.configure(**{"agent.metrics_file": agent.dir / "certsync.prom", "agent.metrics_listen": f"127.0.0.1:{agent.metrics_port}",
                       "kafka.events_topic": own.events_topic, "kafka.outcomes_topic": own.outcomes_topic,
                       "kafka.heartbeats_topic": own.heartbeats_topic})
    tls = watch_pairs(agent)
    put_pair(tls, "good.example.com", ev.Authority("Host Root"), days=10)
    put_pair(tls, "old.example.com", ev.Authority("Host Root"), start=-10, days=-1)
    agent.start()
    agent.wait_version("good.example.com", 1)
    yield agent
    if agent.process.alive:
        agent.process.kill()


def host_scrape(host):
    with urllib.request.urlopen(f"http://127.0.0.1:{host.metrics_port}/metrics", timeout=PATIENCE_S) as answer:
        return answer.read().decode()


def certificates(stack):
    """Summed over partitions; None where a partition is not counted."""
    values = scrape(stack)[1]
    found = {}
    for name, label in (("certsync_certificates", "state"), ("certsync_certificates_expiring", "within")):
        for labels, value in values.get(name, {}).items():
            said = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            found.setdefault(said[label], {})[said["partition"]] = value
    counted = found and all(len(v) == stack.partitions for v in found.values()) and len(found) == 6
    return {k: sum(v.values()) for k, v in found.items()} if counted else None


@pytest.fixture(scope="module")
def own(kafka, tmp_path_factory):
    """A deployment of its own: others' certificates would count, too."""
    away = vkey("away.example", 4, raw(Ed25519PrivateKey.generate()))  # witnesses have metrics where there are some
    settings = {"consumer": {"inspect_every": "1s"}, "checkpoint": {"witness_every": "1s", "witness_timeout": "1s"},
                "witness away": {"url": "http://127.0.0.1:9", "key": away}}
    with Stack(tmp_path_factory.mktemp("metrics"), partitions=4, kafka=kafka, prefix="metrics.", consumer_settings=settings) as stack:
        stack.run_consumer()
        yield stack


def named_in(text):
    return set(re.findall(r"\b((?:certsync|process)_[a-z_]+)\b", text))


def base(name, types):
    """The metric of a histogram's series."""
    short = re.sub(r"_(bucket|sum|count)\Z", "", name)
    return short if types.get(short) == "histogram" else name


def expressions():
    import yaml  # pylint: disable=import-outside-toplevel
    rules = yaml.safe_load((MONITORING / "certsync.rules.yml").read_text())
    yield from (r["expr"] for g in rules["groups"] for r in g["rules"])
    for panel in json.loads((MONITORING / "dashboard.json").read_text())["panels"]:
        yield from (t["expr"] for t in panel.get("targets", []))


def test_rules_and_dashboard_name_what_is_there(own, host):
    types = scrape(own)[0] | read(host_scrape(host))[0]
    for expr in expressions():
        without = re.sub(r'"[^"]*"', '""', expr)
        missing = {base(n, types) for n in named_in(without)} - set(types)
        assert not missing, f"no scrape has {missing}: {expr}"


def test_the_page_names_what_is_there_and_nothing_else(own, host):
    types = scrape(own)[0] | read(host_scrape(host))[0]
    told = set(re.findall(r"`((?:certsync|process)_[a-z_]+)`", (REPO / "docs/operate/metrics.md").read_text()))
    elsewhere = {n for n in told if n.startswith("certsync_notice")}  # another program's
    assert set(types) - told == set(), "not on the page"
    assert told - elsewhere - set(types) == set(), "on the page, and in no scrape"


def test_labels_that_rules_ask_for_are_there(own):
    _, values = scrape(own)
    for expr in expressions():
        for name, labels in re.findall(r"((?:certsync|process)_\w+)\{([^}]*)\}", expr):
            known = {label for series in values.get(name, {}) for label in re.findall(r'(\w+)="', series or "")}
            asked = set(re.findall(r"(\w+)(?:=|!)", labels))
            assert not known or asked <= known, f"{name} has {known}: {expr}"


def test_the_rules_fire_as_they_must(tmp_path):
    for file in (MONITORING / "certsync.rules.yml", REPO / "tests/monitoring/rules_test.yml"):
        shutil.copy(file, tmp_path)
    for command in (["promtool", "check", "rules", "certsync.rules.yml"], ["promtool", "test", "rules", "rules_test.yml"]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    pages = set(re.findall(r"runbook: (\S+)", (MONITORING / "certsync.rules.yml").read_text()))
    assert pages and all((REPO / page).exists() for page in pages)


def test_the_scrape_is_what_prometheus_reads(own):
    text = own.http("/metrics")[1]
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    types, values = scrape(own)
    assert types["process_cpu_seconds_total"] == "counter" and values["process_cpu_seconds_total"][""] > 0
    assert values["process_open_fds"][""] > 5 and values["process_resident_memory_bytes"][""] > 1e6
    assert abs(values["process_start_time_seconds"][""] - time.time()) < 3600
    assert any('program="certsync-consumer"' in labels for labels in values["certsync_build_info"])


def test_certificates_are_counted_once_and_never_from_yesterday(own):
    ca = ev.Authority("Metrics Root")
    accounts = [own.account(f"count-{i}", owner="one-inc") for i in range(5)]
    sent = 0
    before = wait_until(lambda: certificates(own), PATIENCE_S, "a count")

    def issue(account, days):
        key = ev.new_key()
        record = own.issuer.upload(account.id, f"c{sent}", key, [ca.issue(key.public_key(), days=days), ca.der], subject=(subject := ev.uuid7()),
                                   kind="certificate.issue", extra={"source": "official"})
        assert own.judge(record)["status"] == "applied"
        return subject

    for days in (0.5, 3, 10, 20, 60):
        for account in accounts:
            subject = issue(account, days)
            sent += 1
    # One is shared with three others, and counts where it comes from.
    for to in accounts[:3]:
        share = accounts[4].agent.event("certificate.share", accounts[4].id, subject, {"to": to.id})
        assert own.final(share)["status"] == "applied"
    more = {"valid": 25, "expired": 0, "1d": 5, "7d": 10, "14d": 15, "30d": 20}
    expected = {k: before[k] + n for k, n in more.items()}
    wait_until(lambda: certificates(own) == expected, PATIENCE_S, "the count")
    # A code that was never seen before, and one that is only judged again does not count twice.
    key, agent = ev.new_key(), accounts[0].agent
    refused = agent.upload(accounts[0].id, "../x", key, [ca.issue(key.public_key()), ca.der])
    assert own.judge(refused)["code"] == "name.invalid"
    rejections = lambda: scrape(own)[1].get("certsync_rejections_total", {})  # noqa: E731
    wait_until(lambda: rejections().get('code="name.invalid"') == 1, PATIENCE_S, "the rejection")
    # Redis loses everything: until it is made again from the log, no number is told, and then the right one.
    own.redis.client().flushall()
    wait_until(lambda: certificates(own) is None, PATIENCE_S, "numbers that are not told any more")
    own.judge(agent.upload(accounts[0].id, "wake", key, [ca.issue(key.public_key(), days=60), ca.der]))
    wait_until(lambda: certificates(own) in (expected | {"valid": expected["valid"] + 1}, None), PATIENCE_S, "no false number")
    wait_until(lambda: certificates(own) == expected | {"valid": expected["valid"] + 1}, PATIENCE_S, "the count again")
    assert rejections().get('code="name.invalid"') == 1


def promtool_checks(text):
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_host_tells_its_metrics(host):
    file = host.dir / "certsync.prom"
    expected = {"certsync_agent_certificates_expired": {"": 1}, "certsync_agent_failed": {"": 1}, "certsync_agent_spool_events": {"": 0}}

    def told():
        values = read(host_scrape(host))[1]
        return all(values.get(k) == v for k, v in expected.items()) and values
    values = wait_until(lambda: (v := told()) and v.get("certsync_agent_link_up") == {'to="kafka"': 1, 'to="api"': 1} and v, PATIENCE_S,
                        "the metrics of a host")
    assert values["certsync_agent_certificates_expiring"] == {'within="1d"': 0, 'within="7d"': 0, 'within="14d"': 1, 'within="30d"': 1}
    assert values["certsync_agent_certificates"]['state="registered"'] == 1 and values["process_open_fds"][""] > 5
    wait_until(lambda: file.exists() and read(file.read_text())[1].get("certsync_agent_certificates_expired") == {"": 1}, PATIENCE_S, "the file")
    for text in (file.read_text(), host_scrape(host)):
        promtool_checks(text)
        assert "example.com" not in text
    assert "process_" not in file.read_text() and file.stat().st_mode & 0o777 == 0o644
    assert abs(read(file.read_text())[1]["certsync_agent_written_timestamp_seconds"][""] - time.time()) < 120
    host.process.popen.send_signal(1)  # a reload keeps both
    host.wait_status(lambda s: s["certificates"]["registered"] == 1, "a reload")
    wait_until(told, PATIENCE_S, "the metrics after a reload")
    host.stop()
    assert not file.exists()  # nothing of yesterday


def test_metrics_that_cannot_be_told_are_an_error(host):
    if host.process.alive:
        host.stop()
    host.configure(**{"agent.metrics_file": host.dir / "certsync.txt"})
    host.expect(2, "agent", words=["agent.metrics_file", ".prom"])
    host.configure(**{"agent.metrics_listen": "nowhere"})
    host.expect(2, "agent", words=["agent.metrics_listen"])
    host.configure()
    host.expect(2, "agent", "run", "--metrics-listen", "1.2.3.4:1", words=["agent.metrics_listen"])
