# SPDX-License-Identifier: Apache-2.0
"""The real command on a host of its own, killed at random moments: what it said was done is done, and nothing twice."""
import signal
import subprocess

from support import events as ev
from support.proc import Process
from support.stack import certsync_binary


class Host:
    def __init__(self, run, r):
        self.run, self.random = run, r
        self.dir = run.directory / "host"
        self.dir.mkdir()
        self.account = f"cli-{r.randrange(1 << 32):08x}"
        self.sender = ev.Sender(run.deployment)
        ev.write_private(self.sender.key, self.dir / "host.key")
        admin = run.admin
        for record in (admin.event("account.register", self.account, self.account,
                                   {"site": "intl", "owner": "cli", "verified": True}),
                       admin.event("agent.enroll", self.account, self.sender.kid, {
                           "key": ev.b64(self.sender.spki), "can": ["upload", "delete", "share", "csr", "read"], "names": "*"})):
            run.produce(record.value, ev.partition_of(self.account, run.partitions), record.headers, self.account.encode())
        run.producer.flush(30)  # the host's own records come after its enrolment
        key = ev.new_key()
        ca = ev.Authority("CLI CA")
        ev.write_private(key, self.dir / "key.pem")
        (self.dir / "full.pem").write_bytes(ev.pem_of(ca.issue(key.public_key()), ca.der))
        self.config = self.dir / "certsync.conf"
        settings = {"deployment.id": run.deployment, "kafka.brokers": run.world.kafka.bootstrap,
                    "kafka.events_topic": run.events_topic, "kafka.outcomes_topic": run.outcomes_topic,
                    "agent.account": self.account, "agent.key": self.dir / "host.key", "agent.custodian": run.keys / "custodian.pub",
                    "agent.spool": self.dir / "spool"}
        self.config.write_text("".join(f"[{k.split('.')[0]}]\n{k.split('.', 1)[1]} = {v}\n" for k, v in settings.items()))
        self.running, self.names, self.promised, self.n = [], [], set(), 0

    def command(self, name, *args):
        return Process(name, [certsync_binary(), "--config", self.config, *args], self.dir)

    def tick(self):
        """Now and then one more upload; those that run are killed at some point, or left to end."""
        for entry in list(self.running):
            process, name, doom = entry
            if not process.alive:
                self._ended(process, name)
                self.running.remove(entry)
            elif self.random.random() < doom:
                process.signal(signal.SIGKILL)
        if len(self.running) < 2 and self.n < 25:
            self.n += 1
            name = f"file-{self.n}"
            self.names.append(name)
            args = ["--no-wait"] if self.random.random() < 0.7 else ["--timeout", "3"]
            self.running.append((self.command(f"cli{self.n}", *args, "upload", name, "--cert", "full.pem", "--key-file", "key.pem"),
                                 name, self.random.choice([0, 0.3, 0.6])))

    def _ended(self, process, name):
        code = process.popen.poll()
        if code in (0, 3):  # applied, or kept in the spool
            self.promised.add(name)
        elif code != -signal.SIGKILL:
            raise AssertionError(f"certsync upload {name}: exit {code}\n{process.tail()}")

    def finish(self):
        for process, name, _ in self.running:
            process.popen.wait(30)
            self._ended(process, name)
        done = subprocess.run([certsync_binary(), "--config", self.config, "--timeout", "30", "--no-wait", "spool", "flush"], cwd=self.dir,
                              capture_output=True, timeout=60, check=False, text=True)
        self.flush = (done.returncode, done.stdout + done.stderr)

    def check(self, verdicts):
        mine = [v for v in verdicts if v.event and v.event.kid == self.sender.kid and v.signer_known]
        found = []
        applied = {v.event.data["name"] for v in mine if v.status == "applied"}
        found += [f"certsync promised {n}, and it is not in the log (flush: {self.flush})" for n in sorted(self.promised - applied)]
        found += [f"certsync made {v} (flush: {self.flush})" for v in mine if v.status == "rejected"]
        ids = [v.event.id for v in mine if v.status == "applied"]
        if len(set(ids)) != len(ids):
            found.append("an event of certsync was applied twice")
        return found
