# SPDX-License-Identifier: Apache-2.0
"""Has certbot's own code lay out its directory: certbot_layout.py DIRECTORY NAME (CERT KEY CHAIN | GENERATION)

With three files: a new lineage, or the next generation of one that is there. With a number: all links lead to that generation.
A program of its own, since certbot changes much of the process that it runs in.
"""
import sys
from pathlib import Path

sys.path.remove(str(Path(__file__).resolve().parent))  # its modules are named as others are

from certbot import configuration  # noqa: E402
from certbot._internal import cli, storage  # noqa: E402
from certbot._internal.plugins import disco  # noqa: E402


def main(directory, name, *files):
    places = [f"--{kind}-dir={directory}{'' if kind == 'config' else '-' + kind}" for kind in ("config", "work", "logs")]
    arguments = ["certonly", "--standalone", *places]
    config = configuration.NamespaceConfig(cli.prepare_and_parse_args(disco.PluginsRegistry.find_all(), arguments))
    renewal = Path(directory) / "renewal" / f"{name}.conf"
    if len(files) == 1:
        storage.RenewableCert(str(renewal), config).update_all_links_to(int(files[0]))
        return
    cert, key, chain = (Path(f).read_bytes() for f in files)
    if not renewal.exists():
        storage.RenewableCert.new_lineage(name, cert, key, chain, config)
        return
    lineage = storage.RenewableCert(str(renewal), config)
    lineage.update_all_links_to(lineage.save_successor(lineage.latest_common_version(), cert, key, chain, config))


if __name__ == "__main__":
    main(*sys.argv[1:])
