// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/key.h"
#include "event/options.h"

int main(int argc, char **argv) {
    struct cs_agent_commands commands;
    // Before anything holds a key. If it fails (memory limits), keys are in ordinary memory, which
    // is wiped.
    (void)cs_secure_heap_init();
    cs_agent_commands_init(&commands);
    return cs_cli_main(&commands.root, CERTSYNC_VERSION, argc, argv);
}
