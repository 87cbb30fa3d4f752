# SPDX-License-Identifier: Apache-2.0
"""What lies around the programs in their packages: manual pages, completion, units, and what lintian says of it all."""
import gzip
import re
import subprocess

import pytest

from support.debs import NAMES, deb, unpack

PAGES = {"certsync": {"man1/certsync.1", "man5/certsync.conf.5", "man8/certsync-agent.8"},
         "certsync-consumer": {"man8/certsync-consumer.8", "man5/certsync-consumer.conf.5"}}
UNITS = (("certsync", "certsync-agent.service"), ("certsync-consumer", "certsync-consumer.service"), ("certsync-consumer", "certsync-notify.service"))


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return {name: unpack(name, tmp_path_factory.mktemp(name)) for name in NAMES}


def run(*argv, **how):
    return subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False, **how)


def program(trees, name):
    return trees[name] / "usr/bin" / name


@pytest.mark.parametrize("name", NAMES)
def test_lintian_finds_nothing(name):
    done = run("lintian", "--allow-root", "--no-cfg", "--fail-on=error,warning", deb(name))
    assert done.returncode == 0 and not re.search(r"^[EW]:", done.stdout, re.M), done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_dependencies_are_those_of_the_program(trees, name):
    """Each library that the program is linked with is in a package that is depended on."""
    fields = run("dpkg-deb", "-f", deb(name), "Depends").stdout
    needed = re.findall(r"NEEDED\s+(\S+)", run("objdump", "-p", program(trees, name)).stdout)
    assert len(needed) > 5
    for library in needed:
        path = re.search(rf"{re.escape(library)} => (\S+)", run("ldd", program(trees, name)).stdout).group(1)
        real = run("realpath", path).stdout.strip()
        owners = run("dpkg", "-S", real).stdout or run("dpkg", "-S", real.removeprefix("/usr")).stdout
        package = owners.split(":")[0]
        assert package and re.search(rf"\b{re.escape(package)} \(>= ", fields), (library, package, fields)


@pytest.mark.parametrize("name", NAMES)
def test_manual_pages_are_clean(trees, name, tmp_path):
    found = {str(p.relative_to(trees[name] / "usr/share/man")).removesuffix(".gz"): p
             for p in (trees[name] / "usr/share/man").rglob("*.gz")}
    assert set(found) == PAGES[name]
    for page, path in found.items():
        lint = run("mandoc", "-T", "lint", "-W", "warning", path)
        assert lint.returncode == 0 and lint.stdout == "", lint.stdout
        plain = tmp_path / page.split("/")[1]
        plain.write_bytes(gzip.decompress(path.read_bytes()))
        shown = run("man", "--warnings", "-E", "UTF-8", "-l", plain, env={"PATH": "/usr/bin:/bin", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"})
        assert shown.returncode == 0 and shown.stderr == "", shown.stderr
        assert not re.search(r"@[A-Za-z_]+@", shown.stdout), "a part of the template was not filled in"


def words(text):
    return re.sub(r"\s+", " ", re.sub(r"(?<=\w)[‐-]\s+(?=\w)", "", text))


@pytest.mark.parametrize("name", NAMES)
def test_manual_pages_know_every_command_and_setting(trees, name):
    pages = {p.name: gzip.decompress(p.read_bytes()).decode() for p in (trees[name] / "usr/share/man").rglob("*.gz")}
    main = next(text for page, text in pages.items() if page in ("certsync.1.gz", "certsync-consumer.8.gz"))
    top = run(program(trees, name), "--help").stdout.split("Commands:")[1].split("Global options:")[0]
    commands = re.findall(r"^  ([a-z]+)\s", top, re.M)
    assert len(commands) > 8
    for command in commands:
        assert re.search(rf"^\.SS {name.replace('-', chr(92) + chr(92) + '-')} {command}\b", main, re.M), command
    conf = next(text for page, text in pages.items() if page.endswith(".5.gz"))
    keys = re.findall(r"^\| `([a-z_]+\.[a-z_*]+)`", run(program(trees, name), "settings", "--markdown").stdout, re.M)
    assert len(keys) > 20
    for key in keys:
        assert f".B {key}\n" in conf, key


@pytest.mark.parametrize("name", NAMES)
def test_the_example_settings_say_what_must_be_filled_in(trees, name):
    conf = next((trees[name] / "etc/certsync").glob("*.conf"))
    text = conf.read_text()
    head = text.split("\n\n")[0]
    assert "To be filled in" in head
    # Everything is commented out, so the program misses what the head names.
    done = run(program(trees, name), "--config", conf, *(["check"] if name != "certsync" else ["agent", "run"]))
    assert done.returncode == 2, done
    missed = "deployment.id" if name != "certsync" else "[deployment]"
    assert missed in done.stderr and "[deployment] id" in head


class Bash:
    """A real bash that has the completion loaded as bash-completion would."""

    def __init__(self, script, name):
        self.script, self.name = script, name

    def __call__(self, *typed):
        code = 'source "$1"; shift; name=$1; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); ' \
               'spec=$(complete -p "$name"); [[ $spec =~ -F\\ ([^ ]+) ]]; ${BASH_REMATCH[1]}; printf "%s\\n" "${COMPREPLY[@]}"'
        done = run("bash", "-c", code, "bash", self.script, self.name, *typed)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return sorted(done.stdout.split())


def test_bash_completes(trees, tmp_path):
    bash = Bash(trees["certsync"] / "usr/share/bash-completion/completions/certsync", "certsync")
    assert bash("up") == ["update", "upload"]
    assert {"upload", "list", "agent", "completion"} <= set(bash("")) and "manual" not in bash("")
    assert bash("agent", "t") == ["token"]
    assert bash("trust", "") == ["add", "list", "remove"]
    assert bash("upload", "x", "--rep") == ["--replace"]
    assert bash("upload", "x", "--algorithm", "s") == ["sm2"]
    assert bash("upload", "x", "--algorithm", "=", "s") == ["sm2"]  # as readline takes --algorithm=s apart
    assert bash("--set", "kafka.b") == ["kafka.brokers="]
    assert bash("--key", "trust", "li") == ["list"]  # the value of an option is no command
    (tmp_path / "one.pem").touch()
    assert bash("upload", "x", "--cert", f"{tmp_path}/o") == [f"{tmp_path}/one.pem"]
    consumer = Bash(trees["certsync-consumer"] / "usr/share/bash-completion/completions/certsync-consumer", "certsync-consumer")
    assert consumer("ver") == ["verify"]


def test_fish_completes(trees):
    script = trees["certsync"] / "usr/share/fish/vendor_completions.d/certsync.fish"

    def fish(line):
        done = run("fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", script, line)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return sorted(row.split("\t")[0] for row in done.stdout.splitlines())
    assert fish("certsync up") == ["update", "upload"]
    assert fish("certsync agent t") == ["token"]
    assert fish("certsync --key trust li") == ["list"]
    assert fish("certsync upload x --algorithm ") == ["international", "sm2"]
    assert fish("certsync --set kafka.b") == ["kafka.brokers="]


def test_zsh_takes_the_completion(trees):
    script = trees["certsync"] / "usr/share/zsh/vendor-completions/_certsync"
    done = run("zsh", "-f", "-c", "autoload -U compinit; compinit -D -u; source $1; print $+functions[_certsync] $_comps[certsync]", "zsh", script)
    assert done.returncode == 0 and done.stdout.split()[0] == "1" and "bash" in done.stdout, (done.stdout, done.stderr)


@pytest.mark.parametrize("name, unit", UNITS)
def test_units_are_sandboxed(trees, name, unit):
    unit = trees[name] / "lib/systemd/system" / unit
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    assert done.returncode == 0, done.stderr
    exposure = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout).group(1))
    assert exposure <= 2.0, done.stdout


@pytest.mark.parametrize("name, unit", UNITS)
def test_units_are_right(trees, name, unit):
    """Every line means something to systemd (but that the program is not installed here)."""
    unit = trees[name] / "lib/systemd/system" / unit
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit)
    complaints = [line for line in done.stderr.splitlines() if "is not executable" not in line]
    assert complaints == [], done.stderr
    text = unit.read_text()
    for line in ("Type=notify", "WatchdogSec=", "ExecReload=", "RestartPreventExitStatus=2"):
        assert re.search(rf"^{re.escape(line)}", text, re.M), line
