# SPDX-License-Identifier: Apache-2.0
"""What the documents print works as it stands, in the order in which it stands, for somebody who has nothing else.

Each block of shell stands on a page, and is run by one of the tests below, or by the one that RUN_BY names. A block that nobody runs
fails.
"""
import os
import re
import shlex
import signal
import subprocess

import pytest

from support import documents, proc
from support.proc import REPO, wait_until
from support.stack import certsync_binary, consumer_binary

BUILD = certsync_binary().parents[1]

# Page, or page#chapter, and who runs its blocks. The walk goes through its pages in this order.
RUN_BY = {
    "README.md#Two commands": "dev", "docs/develop/working.md": "dev", "docs/develop/flight.md": "dev", "SECURITY.md": "dev",
    "README.md#Ten lines": "walk", "docs/use/walk.md": "walk", "docs/use/policy.md": "walk", "docs/use/sm2.md": "walk", "docs/use/api.md": "walk",
    "docs/operate/catalogs.md": "walk",
    "docs/audit/verify.md": "verify",
    "docs/operate/install.md#A deployment from nothing": "setting up",
    "docs/operate/install.md#A host": "tests/package/test_whole_life.py",
    "docs/operate/install.md#A consumer": "tests/package/test_whole_life.py",
    "docs/operate/kubernetes.md": "tests/package/test_image.py",  # what ./dev image makes; a registry is the reader's own
    "docs/operate/kafka.md#Rights": "tests/e2e/test_states.py",  # as the rights of its consumer, and no others
    "docs/operate/kafka.md#Quotas": "nobody",  # Kafka's own tool, which the tests do not have
}


def place(block):
    chapter = f"{block.page}#{block.chapter}"
    return chapter if chapter in RUN_BY else block.page


def commands(runner):
    """The blocks of shell that it runs, in the order of RUN_BY."""
    found = documents.blocks("sh")
    return [b for where, by in RUN_BY.items() if by == runner for b in found if place(b) == where]


def test_every_block_of_shell_is_run_by_somebody():
    places = {place(b) for b in documents.blocks("sh")}
    assert not places - set(RUN_BY), f"nobody runs the commands of {places - set(RUN_BY)}: see RUN_BY"
    assert not set(RUN_BY) - places, f"there are no commands any more in {set(RUN_BY) - places}"
    text = re.sub(r"#.*", "", "".join(b.text for b in documents.blocks("sh")))
    assert not re.search(r"\b(TOKEN|KEY_ID|EVENT_ID|ACCOUNT)\b", text), "what a reader must fill in cannot be run: show it without a language"


def shell(script, env, cwd):
    """Runs a script as bash does for a person, ended at the first command that fails."""
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{script}\nexit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    """./dev up, as built here: the environment after pasting what it prints, and a folder to work in."""
    folder = tmp_path_factory.mktemp("up")
    env = {k: v for k, v in os.environ.items() if not k.startswith("CERTSYNC_")} | {"CS_TEST_BUILD": str(BUILD)}
    process = proc.Process("up", ["sh", "-c", f"cd {REPO} && exec sh tests/demo/up.sh"], folder, env=env)
    try:
        wait_until(lambda: "Ctrl-C ends it" in process.output() or not process.alive, what="./dev up")
        assert process.alive, process.tail()
        pasted = "\n".join(line for line in process.output().splitlines() if re.match(r"  (export |KEYS=)", line))
        work = folder / "work"
        work.mkdir()
        yield pasted, work
    finally:
        if process.alive:
            process.signal(signal.SIGINT)
            process.wait()


def test_the_walk(up):
    """All chapters that need the stack of ./dev up, one shell after the other, as a person goes through them."""
    pasted, work = up
    env = {k: v for k, v in os.environ.items() if not k.startswith("CERTSYNC_")}
    for block in commands("walk"):
        said = shell(f"{pasted}\ncd {shlex.quote(str(work))}\n{block.text}", env, work)
        assert " warn " not in said, f"a warning is no part of a walk: {said}"


def test_verifying_without_certsync(up):
    """The page in one shell, in the clone; on the log that the walk has left, and on the recorded one."""
    pasted, _ = up
    env = {k: v for k, v in os.environ.items() if not k.startswith("CERTSYNC_")}
    take, recorded, *rest = (b.text for b in commands("verify"))
    of_this_log = [text for text in rest if "$LOG" in text]  # the others are of a log that the page names
    for source, blocks in ((take, rest), (recorded, of_this_log)):
        said = shell("\n".join((pasted, source, *blocks)), env, REPO)
        assert "Verified OK" in said and said.count("well: ") == (2 if blocks is rest else 1), said
        assert blocks is not rest or "this build judges the same" in said, said
        kid, = set(re.findall(r"(?m)^sent by ([0-9a-f]{32})$", said))
        assert f"\n{kid}\n" in said, said


def test_transcripts_show_what_is_said(up):
    """Blocks in which a line begins with "$ ": the commands are run, and what stands below them is what they print."""
    pasted, work = up
    env = {k: v for k, v in os.environ.items() if not k.startswith("CERTSYNC_")}
    shell(f"{pasted}\ncd {shlex.quote(str(work))}\n{documents.blocks('sh', 'docs/use/walk.md')[0].text.split('certsync upload')[0]}", env, work)  # the files of the first
    shown = [b.text for b in documents.blocks("") if b.text.startswith("$ ")]
    assert shown
    for text in shown:
        for command, said in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.M):
            done = subprocess.run(["bash", "-c", f"{pasted}\n{command}"], env=env, cwd=work, capture_output=True, text=True,
                                  timeout=120, check=False)
            assert said in done.stdout + done.stderr, f"{command}\n{done.stdout}{done.stderr}"


# What a person fills in for his own site.
SITE = {"kafka1:9092,kafka2:9092": "{kafka}", "redis://redis1:6379": "unix://{redis}", "--replication 3": "--replication 1",
        "/etc/certsync/": "{etc}/", "install -o certsync-consumer ": "install "}


def test_setting_up_a_deployment(kafka, redis, tmp_path):
    """The chapter from nothing: keys, settings, topics and trust, a consumer, an account, a token; and a host that joins with it."""
    (tmp_path / "etc").mkdir()
    port = proc.free_port()

    def ours(text):
        for theirs, mine in SITE.items():
            text = text.replace(theirs, mine.format(kafka=kafka.bootstrap, redis=redis.socket, etc=tmp_path / "etc"))
        return text

    topics = "[kafka]\nevents_topic = documents.events\noutcomes_topic = documents.outcomes\nheartbeats_topic = documents.heartbeats\n"
    heads = "checkpoints_topic = documents.checkpoints\ncorrections_topic = documents.corrections\n"  # beside those of other tests
    settings = {b.chapter: b.text for b in documents.blocks("ini", "docs/operate/install.md")}
    conf = re.sub(r"(?m)^tls_.*\n", "", ours(settings["A deployment from nothing"])).replace("0.0.0.0:8443", f"127.0.0.1:{port}")
    (tmp_path / "etc/consumer.conf").write_text(conf.replace("[kafka]\n", topics + heads))
    host = re.sub(r"(?m)^url = .*$", f"url = http://127.0.0.1:{port}", ours(settings["A host"]))
    host = re.sub(r"(?ms)^\[watch .*", "", host).replace("[kafka]\n", topics)
    (tmp_path / "etc/certsync.conf").write_text(f"{host}spool = {tmp_path}/spool\nkey = {tmp_path}/etc/agent.key\n")
    env = {k: v for k, v in os.environ.items() if not k.startswith("CERTSYNC_")}
    (tmp_path / "bin").mkdir()
    for program, name in ((certsync_binary(), "certsync"), (consumer_binary(), "consumer")):
        name_of = "certsync-consumer" if name == "consumer" else name
        wrapper = tmp_path / "bin" / name_of
        wrapper.write_text(f"#!/bin/sh\nCERTSYNC_CONFIG={tmp_path}/etc/{name}.conf exec {program} \"$@\"\n")
        wrapper.chmod(0o755)
    env["PATH"] = f"{tmp_path}/bin:{env['PATH']}"
    consumer = None
    try:
        for text in (b.text for b in commands("setting up")):
            starts = "systemctl enable --now certsync-consumer" in text
            shell(ours(text).replace("systemctl enable --now certsync-consumer", ""), env, tmp_path)
            if starts:
                consumer = proc.Process("consumer", [tmp_path / "bin/certsync-consumer", "run"], tmp_path, env=env)
                wait_until(lambda: subprocess.run(["curl", "-sf", f"http://127.0.0.1:{port}/readyz"], capture_output=True,
                                                  check=False).returncode == 0, what="a ready consumer")
        assert consumer, "the chapter starts no consumer"
        said = shell("certsync agent join - <join.token; certsync list; certsync --key admin.key account list", env, tmp_path)
        assert "joined" in said and "acme" in said
    finally:
        if consumer and consumer.alive:
            consumer.terminate()


def test_what_is_said_of_dev_is_there():
    """./dev's own commands take long or ask for packages; here each is one that ./dev knows, with arguments that are known there."""
    usage = subprocess.run([REPO / "dev", "help"], capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"(?m)^  ([a-z]+)", usage))
    benches = {p.stem for p in (REPO / "tests/bench").glob("*.py")} | {"codec", "model"}
    chaos = (REPO / "tests/chaos/chaos.py").read_text()
    for block in commands("dev"):
        for line in block.text.splitlines():
            words = shlex.split(line, comments=True)
            assert words[0] == "./dev" and words[1] in known, line
            if words[1] == "bench":
                assert words[2] in benches, line
            if words[1] == "chaos":
                assert all(f'"{word}"' in chaos for word in words if word.startswith("--")), line
    for suite in re.search(r"# also: ([a-z0-9, ]+)", documents.PAGES["docs/develop/working.md"])[1].split(", "):
        assert suite in re.search(r"test \[SUITE...\] +(.*)", usage)[1], suite
