# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM of commands, the events that they leave, and what delete asks on a terminal."""

import base64
import json
import contextlib
import os
import pty
import select
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from support import events as ev
from support.host import Host, make_files
from support.proc import PATIENCE_S, wait_until
from support.stack import certsync_binary

ID = "01932e8a-0000-7000-8000-000000000001"


class Silent:
    """A server that takes connections and says nothing: whoever asks it waits."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(PATIENCE_S)
        self.port = self.socket.getsockname()[1]

    def wait_for_a_question(self):
        connection, _ = self.socket.accept()
        connection.settimeout(PATIENCE_S)
        assert connection.recv(1)
        return connection


@pytest.fixture
def silent():
    server = Silent()
    yield server
    server.socket.close()


class Lonely:
    """A host on which nothing answers, but what a test puts there."""

    def __init__(self, directory):
        self.dir = directory
        ev.write_private(ev.new_key(), directory / "host.key")

    def command(self, *args, kafka=9, api=9):
        return [certsync_binary(), "--set", "deployment.id=test_0a1b2c3d", "--set", f"kafka.brokers=127.0.0.1:{kafka}", "--set",
                f"api.url=http://127.0.0.1:{api}", "--set", f"agent.spool={self.dir}/spool", "--key", self.dir / "host.key", "--account", "acme",
                *map(str, args)]

    def run(self, *args, **ports):
        return subprocess.run(self.command(*args, **ports), capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    def interrupted(self, sig, server, *args, **ports):
        """Ends the command by the signal once it waits for the server's answer."""
        with subprocess.Popen(self.command(*args, **ports), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            with server.wait_for_a_question():
                process.send_signal(sig)
                out, err = process.communicate(timeout=PATIENCE_S)
            return process.returncode, out, err


@pytest.fixture
def lonely(tmp_path):
    return Lonely(tmp_path)


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_before_anything_was_written(lonely, silent, sig):
    code, out, err = lonely.interrupted(sig, silent, "delete", "www", api=silent.port)
    assert (code, out) == (128 + sig, "")
    assert err == "certsync delete: interrupted. Nothing was written, and nothing was sent.\n"
    assert "empty" in lonely.run("spool", "list").stdout


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGHUP])
def test_what_the_caller_had_ignored_stays_ignored(lonely, silent, sig):
    """nohup, and a job that a script put into the background."""
    command = lonely.command("--timeout", "1", "delete", "www", api=silent.port)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          preexec_fn=lambda: signal.signal(sig, signal.SIG_IGN)) as process:
        with silent.wait_for_a_question():
            process.send_signal(sig)
            _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3 and "does not answer" in err, err


COMMANDS = [("delete", ID), ("share", ID, "--to", "other"), ("unshare", ID, "--to", "other"), ("csr", "delete", ID),
            ("account", "register", "acme", "--site", "intl", "--owner", "o"), ("agent", "revoke", "0" * 32)]


@pytest.mark.parametrize("args", COMMANDS)
def test_in_the_spool(lonely, silent, args):
    code, out, err = lonely.interrupted(signal.SIGINT, silent, *args, kafka=silent.port)
    assert (code, out) == (130, "")
    assert "lies in the spool as number 1, and was not published" in err and "certsync spool drop 1" in err and err.count("\n") == 1, err
    assert lonely.run("spool", "list").stdout.count("to be published") == 1
    assert lonely.run("spool", "drop", "1").returncode == 0
    assert "empty" in lonely.run("spool", "list").stdout


def test_for_programs_and_what_the_next_command_says(lonely, silent):
    code, out, err = lonely.interrupted(signal.SIGTERM, silent, "--json", "delete", ID, kafka=silent.port)
    said = json.loads(out)
    assert (code, err) == (143, "") and (said["status"], said["stage"], said["seq"], said["exit"]) == ("interrupted", "spooled", 1, 143)
    left = json.loads(lonely.run("--json", "spool", "list").stdout)["events"]
    assert [e["event"] for e in left] == [said["event"]]
    # The next command names what it takes along, people's and programs'.
    next_one = lonely.run("--timeout", "1", "share", ID, "--to", "other")
    assert next_one.returncode == 3 and f"left the delete of {ID} in the spool (number 1" in next_one.stderr, next_one.stderr
    assert "certsync spool drop 2" in next_one.stderr
    programs = json.loads(lonely.run("--json", "--timeout", "1", "delete", ID).stdout)
    assert [(e["seq"], e["type"]) for e in programs["earlier"]] == [(1, "certsync.certificate.delete.v1"), (2, "certsync.certificate.share.v1")]
    flush = lonely.run("--timeout", "1", "spool", "flush")
    assert flush.returncode == 3 and flush.stderr.count("an earlier command left") == 3, flush.stderr


def join_token():
    """As certsync agent token prints it."""
    body = {"log": "test_0a1b2c3d", "account": "acme", "key": base64.b64encode(ev.pkcs8_of(ev.new_key())).decode(), "can": ["upload"], "names": "*",
            "expires": 0}
    return "certsync1." + base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")


def test_a_join_token_is_not_for_the_command_line(lonely, silent):
    token, file = join_token(), lonely.dir / "token"
    file.write_text(token + "\n")
    file.chmod(0o644)
    neither = lonely.run("agent", "join")
    assert neither.returncode == 2 and "--token-file" in neither.stderr
    assert lonely.run("agent", "join", "-", "--token-file", file).returncode == 2
    readable = lonely.run("agent", "join", "--token-file", file)
    assert readable.returncode == 2 and "chmod 600" in readable.stderr
    file.chmod(0o600)
    (lonely.dir / "host.key").unlink()  # as on a new host
    for args, stdin in ((["--token-file", file], None), (["-"], file), ([token], None)):
        with subprocess.Popen(lonely.command("agent", "join", *args, kafka=silent.port), stdin=open(stdin, "rb") if stdin else None,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            with silent.wait_for_a_question():
                shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130 and "Run certsync agent join again" in err, err
        assert token.encode() not in shown and token not in err
        assert ("warning: the token stood on the command line" in err) == (args == [token])


@pytest.fixture
def host(stack, tmp_path):
    return Host(stack, stack.account(), tmp_path / "host")


def test_published_and_not_judged(host, silent):
    host.configure(**{"api.url": f"http://127.0.0.1:{silent.port}"})
    command = [certsync_binary(), "--config", host.config, "delete", ID]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        silent.wait_for_a_question().close()  # which log it serves: asked before anything is sent
        with silent.wait_for_a_question():
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130 and "was published and cannot be given up any more; its verdict is not known. Ask with: certsync outcomes" in err
    host.configure()
    assert "was published before" in host.expect(0, "spool", "drop", "1")


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(command[0], [str(word) for word in command])
        self.code = None

    def write(self, data):
        os.write(self.fd, data)

    def read_all(self, answers=()):
        """What a person sees until the program ends. answers: {what is seen: what is typed then, once}"""
        seen, answers = b"", dict(answers)
        try:
            while True:
                if not select.select([self.fd], [], [], PATIENCE_S)[0]:
                    os.kill(self.pid, signal.SIGKILL)
                    raise AssertionError(f"it waits: {seen.decode()}")
                seen += os.read(self.fd, 4096)
                for question in [q for q in answers if q in seen]:
                    self.write(answers.pop(question))
        except OSError:  # the terminal ends with the program
            pass
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return seen.decode().replace("\r", "")

    def close(self):
        os.close(self.fd)


def on_a_terminal(host, answer, *args):
    """What a person sees who answers so."""
    with contextlib.closing(Terminal([certsync_binary(), "--config", host.config, *args])) as terminal:
        seen = terminal.read_all({b"[y/N]": answer})
        return terminal.code, seen, "[y/N]" in seen


def test_who_waits_for_an_outcome_on_a_terminal_is_told(host):
    code, seen, _ = on_a_terminal(host, b"", "--timeout", "3", "outcomes", ID)
    assert code == 3 and f"s for the outcome of {ID} (--no-wait: do not wait)" in seen and f"no outcome of event {ID}" in seen, seen
    code, seen, _ = on_a_terminal(host, b"", "outcomes", ID, "--no-wait")
    assert code == 3 and "waiting up to" not in seen, seen


def test_delete_shows_what_goes_and_asks(host, stack):
    ca = ev.Authority("Asking Root")
    make_files(host.dir, ca, names=["www.example.com", "example.com"], days=40.0)
    host.expect(0, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem")
    for answer in (b"n\n", b"\n", b"\x04"):
        code, seen, asked = on_a_terminal(host, answer, "delete", "www")
        assert code == 4 and asked and "not deleted: nothing was written" in seen, seen
        assert "www, valid for " in seen and " more days" in seen and "names: www.example.com, example.com" in seen
    code, seen, _ = on_a_terminal(host, b"\x03", "delete", "www")
    assert code == 130 and "Nothing was written" in seen, seen
    assert "www" in host.expect(0, "list")
    # A paste of three lines: the first one's question takes the second, and the third is the shell's.
    with contextlib.closing(Terminal(["/bin/bash", "--norc", "--noprofile", "-i"])) as shell:
        shell.write(f"{certsync_binary()} --config {host.config} delete www\necho a$((40+1))\necho b$((40+2))\nexit\n".encode())
        seen = shell.read_all()
    assert "was taken for the answer" in seen and "not deleted" in seen and "b42\n" in seen and "a41" not in seen, seen
    assert "www" in host.expect(0, "list")
    code, seen, asked = on_a_terminal(host, b"y\n", "delete", "www")
    assert code == 0 and asked and "applied: delete" in seen, seen
    host.expect(0, "upload", "www2", "--cert", "full.pem", "--key-file", "key.pem")
    code, seen, asked = on_a_terminal(host, b"", "delete", "www2", "--yes")
    assert code == 0 and not asked, seen
    wait_until(lambda: host.spooled() == [], PATIENCE_S, "an empty spool")
