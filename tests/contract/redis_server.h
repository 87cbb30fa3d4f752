// SPDX-License-Identifier: Apache-2.0
//
// A private redis-server on a Unix socket in a temporary directory, ended by its process id: also when the
// test program itself dies (PR_SET_PDEATHSIG).
//
// Where $CS_TEST_REDIS_TLS names the directory of the tests' certificates, it listens with TLS as well, and url is rediss://.
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct redis_server {
    pid_t pid;
    char directory[64];
    char socket[96];
    char url[112];
    char ca_file[256]; // "" without TLS
    int tls_port;
};
// False (with a message on stderr) where it does not answer in time.
bool redis_server_start(struct redis_server *s, const char *const *extra_args);
// What was killed starts again, over the same directory, socket and port.
bool redis_server_again(struct redis_server *s, const char *const *extra_args);
void redis_server_kill(struct redis_server *s);
// FLUSHALL.
void redis_server_flush(const struct redis_server *s);
void redis_server_stop(struct redis_server *s);
