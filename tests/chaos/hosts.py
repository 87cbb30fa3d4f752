# SPDX-License-Identifier: Apache-2.0
"""Real hosts: the command and the daemon, killed at every step of spool and publishing, on a disk that is full, with clocks that are years ahead or weeks behind.

What certsync said was done is done, what it said it did not keep is not there, nothing is there twice, and nothing was refused.
"""
import base64
import errno
import os
import signal
import subprocess
import time

from chaos import trouble
from support import events as ev
from support.proc import Process
from support.spool import spooled
from support.stack import certsync_binary

STEPS = 28         # more than spool and publisher have for one event with a few before it
UNTIL_THERE_S = 240
RIGHTS = ["upload", "delete", "share", "csr", "read"]


class Host:
    """An account of its own with one key and one spool. `troubles`: what happens to it beside being killed: disk_full, clock."""

    def __init__(self, run, r, troubles):
        self.run, self.random, self.troubles = run, r, troubles
        self.dir = run.directory / "host"
        self.spool = self.dir / "spool"
        self.spool.mkdir(parents=True)
        self.disk = trouble.Disk(self.spool) if "disk_full" in troubles else None
        if self.disk:
            run.disks.append(self.disk)
        self.account = f"host-{r.randrange(1 << 32):08x}"
        self.sender = ev.Sender(run.log_id)
        ev.write_private(self.sender.key, self.dir / "host.key")
        self.ca = ev.Authority("Host CA")
        self.killed = self.no_space = 0  # how often
        self._enrol()
        self.configure()

    def _enrol(self):
        run, admin = self.run, self.run.admin
        for record in (admin.event("account.register", self.account, self.account,
                                   {"site": "intl", "owner": "host", "verified": True}),
                       admin.event("agent.enroll", self.account, self.sender.kid,
                                   {"key": ev.b64(self.sender.spki), "can": RIGHTS, "names": "*"})):
            run.produce(record.value, ev.partition_of(self.account, run.partitions), record.headers, self.account.encode())
        run.producer.flush(120)  # the host's own records come after its enrolment

    def sections(self):
        return ""

    def configure(self):
        """The API is that of any consumer that lives just now, or of one that ended."""
        ports = [c.port for c in self.run.consumers[-4:]]
        # The API that it is told may have ended before it was ever asked.
        settings = {"deployment.id": self.run.log_id, "kafka.brokers": self.run.world.kafka.bootstrap,
                    "kafka.events_topic": self.run.events_topic, "kafka.outcomes_topic": self.run.outcomes_topic,
                    "kafka.heartbeats_topic": self.run.heartbeats_topic,
                    "agent.account": self.account, "agent.key": self.dir / "host.key",
                    "agent.custodian": self.run.keys / "custodian.pub", "agent.spool": self.spool,
                    "agent.debounce": "50ms", "agent.rescan": "2s", "agent.heartbeat": "1s",
                    **({"api.url": f"http://127.0.0.1:{self.random.choice(ports)}"} if ports else {})}
        self.config = self.dir / "certsync.conf"
        text = "".join(f"[{k.split('.')[0]}]\n{k.split('.', 1)[1]} = {v}\n" for k, v in settings.items()) + self.sections()
        part = self.dir / "certsync.conf.part"
        part.write_text(text)
        os.replace(part, self.config)

    def environment(self, doomed):
        env = {"CERTSYNC_CRASH_AT": f"any:{self.random.randrange(1, STEPS)}"} if doomed else {}
        if "clock" in self.troubles:
            # Ten years behind would be event.too_old, which takes nothing and has its own tests.
            env |= trouble.clock(self.random.choice((10, -0.05, 0)))
        return env

    def pair(self, start_days=-4000.0):
        """(PEM of chain, PEM of key, DER of the leaf): valid whatever year a host believes in."""
        key = ev.new_key()
        leaf = self.ca.issue(key.public_key(), start=start_days, days=8000)
        return ev.pem_of(leaf, self.ca.der), ev.private_pem(key), leaf

    def squeeze(self):
        """The disk fills up, and is empty again."""
        if self.disk and self.random.random() < 0.3:
            self.disk.free() if self.disk.filled else self.disk.fill(self.random)

    def mine(self, verdicts):
        return [v for v in verdicts if v.event and v.event.kid == self.sender.kid and v.signer_known]

    def check(self, verdicts):
        found = [f"certsync's own event was refused: {v}" for v in self.mine(verdicts) if v.status == "rejected"]
        ids = [v.event.id for v in self.mine(verdicts) if v.status == "applied"]
        if len(set(ids)) != len(ids):
            found.append("an event of certsync was applied twice")
        quarantine = list(self.spool.glob("*/quarantine/*"))
        return found + [f"certsync damaged its spool: {q.name}" for q in quarantine]


class Commands(Host):
    """Two commands side by side at most: with a kill at a step, with one at a random moment, or left to end."""

    LIMIT = 25

    def __init__(self, run, r, troubles):
        super().__init__(run, r, troubles)
        full, key, _ = self.pair()
        (self.dir / "full.pem").write_bytes(full)
        (self.dir / "key.pem").write_bytes(key)
        self.running, self.promised, self.refused, self.n = [], set(), set(), 0
        self.flush = None

    def tick(self):
        self.squeeze()
        for entry in list(self.running):
            process, name, doom = entry
            if not process.alive:
                self._ended(process, name)
                self.running.remove(entry)
            elif self.random.random() < doom:
                process.signal(signal.SIGKILL)
        if len(self.running) < 2 and self.n < self.LIMIT:
            self._begin()

    def _begin(self):
        self.n += 1
        name, fate = f"file-{self.n}", self.random.random()
        self.configure()
        args = ["--no-wait"] if self.random.random() < 0.7 else ["--timeout", "3"]
        process = Process(f"cli{self.n}", [certsync_binary(), "--config", self.config, *args, "upload", name, "--cert", "full.pem",
                                           "--key-file", "key.pem"], self.dir, env=self.environment(fate < 0.5))
        self.running.append((process, name, 0.3 if fate > 0.8 else 0))

    def _ended(self, process, name):
        code, said = process.popen.poll(), process.output()
        if code in (0, 3):  # applied, or kept in the spool
            self.promised.add(name)
        elif code == 2 and self.disk and os.strerror(errno.ENOSPC) in said:
            self.refused.add(name)
            self.no_space += 1
        elif code == -signal.SIGKILL:
            self.killed += 1
        else:
            raise AssertionError(f"certsync upload {name}: exit {code}\n{process.tail()}")

    def finish(self):
        if self.disk:
            self.disk.free()
        for process, name, _ in self.running:
            process.popen.wait(120)
            self._ended(process, name)
        done = subprocess.run([certsync_binary(), "--config", self.config, "--timeout", "120", "--no-wait", "spool", "flush"],
                              cwd=self.dir, capture_output=True, timeout=150, check=False, text=True)
        self.flush = (done.returncode, done.stdout + done.stderr)

    def check(self, verdicts):
        found = super().check(verdicts)
        applied = {v.event.data["name"] for v in self.mine(verdicts) if v.status == "applied"}
        found += [f"certsync promised {n}, and it is not in the log (flush: {self.flush})" for n in sorted(self.promised - applied)]
        found += [f"certsync said that {n} was not kept, and it is in the log" for n in sorted(self.refused & applied)]
        return found + [f"{e} was never published (flush: {self.flush})" for e in spooled(self.spool) if " sent " not in e]


class Daemon(Host):
    """The daemon over a directory of pairs that come and change; killed, and started again."""

    NAMES = 12

    def __init__(self, run, r, troubles):
        self.tls = run.directory / "host/tls"
        self.process, self.started, self.changes, self.wanted = None, 0, 0, {}
        super().__init__(run, r, troubles)
        self.tls.mkdir()

    def sections(self):
        return f"[watch tls]\ncertificate = {self.tls}/{{name}}.pem\nkey = {self.tls}/{{name}}.key\n"

    def _start(self, doomed):
        self.started += 1
        self.configure()
        env = self.environment(doomed)
        self.process = Process("agent", [certsync_binary(), "--config", self.config, "agent"], self.dir, env=env)

    def tick(self):
        self.squeeze()
        if not self.process or not self.process.alive:
            self._ended()
            self._start(self.random.random() < 0.7)
        elif self.random.random() < 0.05:
            self.process.kill()
        if self.random.random() < 0.6:
            self._change()

    def _ended(self):
        code = self.process.popen.poll() if self.process else None
        if code not in (None, -signal.SIGKILL) and not (self.disk and os.strerror(errno.ENOSPC) in self.process.tail(5)):
            raise AssertionError(f"the daemon ended with {code}\n{self.process.tail()}")
        self.killed += code == -signal.SIGKILL

    def _change(self):
        """A new pair, or a newer one under a name; key and certificate change one after the other, as on a real host."""
        self.changes += 1
        name = f"site-{self.random.randrange(self.NAMES)}"
        full, key, leaf = self.pair(-4000 + self.changes / 100)
        for suffix, content in ((".key", key), (".pem", full)):
            part = self.dir / "part"
            part.write_bytes(content)
            part.chmod(0o600)
            os.replace(part, self.tls / (name + suffix))
        self.wanted[name] = leaf

    def _published(self):
        """Names whose newest certificate is in the log, acknowledged by certsync or not."""
        self.run.read(0.05)
        here = ev.partition_of(self.account, self.run.partitions)
        marks = {name: base64.b64encode(leaf) for name, leaf in self.wanted.items()}
        values = [r.value for (p, _), r in self.run.records[self.run.events_topic].items()
                  if p == here and r.value and self.sender.kid.encode() in r.value]
        return {name for name, mark in marks.items() if any(mark in v for v in values)}

    def finish(self):
        if self.disk:
            self.disk.free()
        if self.process and self.process.alive:
            self.process.kill()
        self._change()
        self._start(doomed=False)
        until = time.monotonic() + UNTIL_THERE_S
        while self._published() != set(self.wanted) and time.monotonic() < until and self.process.alive:
            pass
        self.no_space = self.process.output().count(os.strerror(errno.ENOSPC))
        if self.process.alive and self.process.terminate(40) != 0:
            raise AssertionError(f"the daemon did not end well\n{self.process.tail()}")

    def check(self, verdicts):
        found, last = super().check(verdicts), {}
        for v in self.mine(verdicts):
            if v.status == "applied" and v.event.type == "certificate.upload":
                last[v.event.data["name"]] = v.event.data["chain"][0]
        wrong = [n for n, leaf in sorted(self.wanted.items()) if last.get(n) != base64.b64encode(leaf).decode()]
        if wrong:
            found.append(f"the daemon did not publish the newest {wrong}\n{self.process.tail(12)}")
        return found


