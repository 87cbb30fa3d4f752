# SPDX-License-Identifier: Apache-2.0
"""The images of ./dev image: read by foreign tools, and run from their own root file system, read-only, as a user without a name."""
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from support import events as ev
from support.proc import REPO, Process, free_port
from support.redis import Redis
from support.stack import DEPLOYMENT, Stack

UID, FS_GROUP = 1000680000, 1000680001
ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else, and own a Secret's files")


def run(*argv, **over):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=120, check=False, **over)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def area():
    """A directory that every user can enter."""
    directory = Path(tempfile.mkdtemp(prefix="certsync-image-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module", params=["certsync-consumer", "certsync"])
def image(request, area):
    [archive] = (REPO / "build/images").glob(f"{request.param}_*.oci.tar")
    layout = area / f"{request.param}-layout"
    run("skopeo", "copy", "--quiet", f"oci-archive:{archive}", f"oci:{layout}:test")
    run("umoci", "unpack", *([] if os.getuid() == 0 else ["--rootless"]), "--image", f"{layout}:test", area / request.param)
    return request.param, archive, area / request.param / "rootfs"


def in_image(root, program, *args, binds=(), become=True):
    """The command that runs it: nothing of the machine's files but what is bound, and util-linux's setpriv to change the user."""
    command = ["bwrap", "--ro-bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--unshare-pid", "--unshare-ipc", "--die-with-parent",
               "--clearenv"]
    for source, target in binds:
        command += ["--ro-bind", source, target]
    if not become:
        return [str(c) for c in [*command, program, *args]]
    host = Path(root).parent / "host"
    host.mkdir(exist_ok=True)
    loader = "/lib64/ld-linux-x86-64.so.2"
    for line in subprocess.run(["ldd", shutil.which("setpriv")], capture_output=True, text=True, check=True).stdout.splitlines():
        path = next((w for w in line.split() if w.startswith("/")), None)
        if path:
            shutil.copy(path, host)
            loader = f"/tmp/host/{Path(path).name}" if "ld-linux" in path else loader
    shutil.copy(shutil.which("setpriv"), host)
    command += ["--cap-add", "ALL", "--tmpfs", "/tmp", "--ro-bind", host, "/tmp/host", loader, "--library-path", "/tmp/host", "/tmp/host/setpriv",
                "--reuid", UID, "--regid", 0, "--groups", FS_GROUP, "--bounding-set=-all", "--no-new-privs", program, *args]
    return [str(c) for c in command]


def test_what_it_says_of_itself(image):
    name, archive, root = image
    about = json.loads(run("skopeo", "inspect", "--config", f"oci-archive:{archive}"))
    assert about["config"]["Entrypoint"] == [f"/usr/bin/{name}"] and about["config"]["User"] == "10001:10001"
    assert run(*in_image(root, f"/usr/bin/{name}", "--version", become=False)).startswith(name)
    assert archive.stat().st_size < 20_000_000


def test_it_holds_what_is_needed_and_no_more(image):
    name, _, root = image
    assert [p.name for p in (root / "usr/bin").iterdir()] == [name]
    assert not list(root.rglob("*.service")) and not (root / "etc/certsync/consumer.conf").exists()
    assert (root / "etc/ssl/certs/ca-certificates.crt").stat().st_size > 100_000 and len(list((root / "etc/ssl/certs").glob("*.0"))) > 50
    licences = {p.parent.name for p in (root / "usr/share/doc").glob("*/copyright")}
    assert {name, "libc6", "libssl3"} <= licences or {name, "libc6", "libssl3t64"} <= licences


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("image-stack"), redis=Redis(tmp_path_factory.mktemp("image-redis") / "r", tcp=True)) as stack:
        stack.run_consumer()
        yield stack


@ROOT_ONLY
def test_it_runs_read_only_as_nobody_in_particular(image, live, area):
    name, _, root = image
    keys = area / f"{name}-keys"
    keys.mkdir()
    account = live.account("image-" + name)
    ev.write_private(account.agent.key, live.keys / "agent.key")
    for key in ("root.pub", "service.key", "agent.key"):
        shutil.copy(live.keys / key, keys / key)
        os.chown(keys / key, 0, FS_GROUP)
        os.chmod(keys / key, 0o440)
    port = free_port()
    if name == "certsync-consumer":
        config = live.write_config("image", port, deployment={"root_key": "/etc/certsync/root.pub", "service_key": "/etc/certsync/service.key"},
                                   kafka={"group": "image"},
                                   redis={"url": f"redis://127.0.0.1:{live.redis.port}", "namespace": "image"})
        shutil.copy(config, keys / "consumer.conf")
        (keys / "consumer.conf").chmod(0o644)
        process = Process("image", in_image(root, "/usr/bin/certsync-consumer", "run", binds=[(keys, "/etc/certsync")]), area)
        try:
            live.wait_ready(process, port=port)
        finally:
            process.kill()
        return
    listed = run(*in_image(root, "/usr/bin/certsync", "--key", "/etc/certsync/agent.key", "--account", account.id,
                           "--set", f"deployment.id={DEPLOYMENT}", "--set", f"api.url=http://127.0.0.1:{live.port}", "list", "--json",
                           binds=[(keys, "/etc/certsync")]))
    assert json.loads(listed)
