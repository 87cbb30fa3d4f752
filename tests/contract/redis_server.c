// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "redis_server.h"

#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_MS 60000
#define ARGS_MAX 40

static long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void add(const char **args, size_t *n, const char *const *more) {
    for (; more && *more && *n + 1 < ARGS_MAX; more++)
        args[(*n)++] = *more;
}

static _Noreturn void become_server(const struct redis_server *s, const char *const *extra) {
    const char *args[ARGS_MAX] = {"redis-server", "--port",    "0",  "--unixsocket", s->socket, "--dir",
                                  s->directory,   "--save",    "",   "--appendonly", "no",      "--loglevel",
                                  "warning",      "--logfile", "log"};
    size_t n = 15;
    const char *certs = getenv("CS_TEST_REDIS_TLS");
    char port[16], cert[256], key[256];
    snprintf(port, sizeof port, "%d", s->tls_port);
    snprintf(cert, sizeof cert, "%s/rsa-by-rsa.pem", certs ? certs : "");
    snprintf(key, sizeof key, "%s/rsa-by-rsa.key", certs ? certs : "");
    if (certs)
        add(args, &n,
            (const char *[]){"--tls-port", port, "--bind", "127.0.0.1", "--tls-cert-file", cert,
                             "--tls-key-file", key, "--tls-ca-cert-file", s->ca_file, "--tls-auth-clients",
                             "no", NULL});
    add(args, &n, extra);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvp(args[0], (char *const *)(void *)args);
    perror("redis-server");
    _exit(127);
}

static bool ask(const struct redis_server *s, const char *command) {
    redisContext *c = redisConnectUnix(s->socket);
    redisReply *r = c && !c->err ? redisCommand(c, command) : NULL;
    bool ok = r && r->type == REDIS_REPLY_STATUS;
    if (r)
        freeReplyObject(r);
    if (c)
        redisFree(c);
    return ok;
}

void redis_server_flush(const struct redis_server *s) {
    if (!ask(s, "FLUSHALL"))
        abort();
}

// Nobody listens on it now.
static int free_port(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = bind(fd, (struct sockaddr *)&a, len) == 0 && getsockname(fd, (struct sockaddr *)&a, &len) == 0;
    close(fd);
    return ok ? ntohs(a.sin_port) : 0;
}

bool redis_server_start(struct redis_server *s, const char *const *extra_args) {
    const char *certs = getenv("CS_TEST_REDIS_TLS");
    *s = (struct redis_server){.tls_port = certs ? free_port() : 0};
    snprintf(s->directory, sizeof s->directory, "/tmp/cs-contract-XXXXXX");
    if (!mkdtemp(s->directory)) {
        perror("mkdtemp");
        return false;
    }
    snprintf(s->socket, sizeof s->socket, "%s/redis.sock", s->directory);
    snprintf(s->url, sizeof s->url, "unix://%s", s->socket);
    if (certs) {
        snprintf(s->ca_file, sizeof s->ca_file, "%s/ca-rsa.pem", certs);
        snprintf(s->url, sizeof s->url, "rediss://127.0.0.1:%d", s->tls_port);
    }
    if (redis_server_again(s, extra_args))
        return true;
    redis_server_stop(s);
    return false;
}

bool redis_server_again(struct redis_server *s, const char *const *extra_args) {
    unlink(s->socket);
    s->pid = fork();
    if (s->pid == 0)
        become_server(s, extra_args);
    for (long end = now_ms() + START_MS; now_ms() < end; poll(NULL, 0, 5)) {
        if (ask(s, "PING"))
            return true;
        if (s->pid < 0 || waitpid(s->pid, NULL, WNOHANG) != 0)
            break;
    }
    fprintf(stderr, "redis-server does not answer (is the package redis-server installed?)\n");
    return false;
}

void redis_server_kill(struct redis_server *s) {
    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
    }
    s->pid = 0;
}

void redis_server_stop(struct redis_server *s) {
    static const char *const files[] = {"redis.sock", "log", "dump.rdb"};
    char path[160];
    redis_server_kill(s);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", s->directory, files[i]);
        unlink(path);
    }
    rmdir(s->directory);
}
