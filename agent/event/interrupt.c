// SPDX-License-Identifier: Apache-2.0
#include "event/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAKE    SIGUSR1 // ends the thread itself
#define NOTHING "Nothing was written, and nothing was sent."

struct cs_interrupt {
    sigset_t set;
    pthread_t thread;
    pthread_mutex_t lock; // of the members below
    bool json, ended, quit;
    char path[sizeof((struct cs_cli){0}.path)];
    char stage[16];
    char sentence[CS_ERR_MSG_MAX];
    cs_uuid event;
    int64_t seq;
};

static void write_all(int fd, const char *s) {
    for (size_t len = strlen(s); len > 0;) {
        ssize_t n = write(fd, s, len);
        if (n <= 0)
            return; // nowhere left to report it
        s += n;
        len -= (size_t)n;
    }
}

// Not through the command's streams: the command may hold their locks.
static void tell(const struct cs_interrupt *i, int code) {
    char text[sizeof i->path + sizeof i->sentence + 32];
    if (!i->json) {
        snprintf(text, sizeof text, "%s: interrupted. %s\n", i->path, i->sentence);
        write_all(STDERR_FILENO, text);
        return;
    }
    json_t *o = json_pack("{s:s, s:s, s:s, s:i}", "status", "interrupted", "stage", i->stage, "message",
                          i->sentence, "exit", code);
    if (i->event[0]) {
        json_object_set_new(o, "event", json_string(i->event));
        json_object_set_new(o, "seq", json_integer(i->seq));
    }
    char *line = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);
    if (line)
        write_all(STDOUT_FILENO, line);
    write_all(STDOUT_FILENO, "\n");
}

// Signals that the caller ignores (nohup, a background job of a script) stay ignored. sigwait would
// take them.
static void signals(sigset_t *ret) {
    static const int all[] = {SIGINT, SIGTERM, SIGHUP};
    sigemptyset(ret);
    for (size_t i = 0; i < CS_ARRAY_LEN(all); i++) {
        struct sigaction now;
        if (sigaction(all[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
            sigaddset(ret, all[i]);
    }
    sigaddset(ret, WAKE);
}

static void *wait_for_signals(void *arg) {
    struct cs_interrupt *i = arg;
    for (bool passed = false;;) {
        int sig;
        if (sigwait(&i->set, &sig) != 0)
            return NULL;
        pthread_mutex_lock(&i->lock); // kept for ever if it ends here: the message stays true
        if (i->quit) {
            pthread_mutex_unlock(&i->lock);
            return NULL;
        }
        if (!i->ended) {
            tell(i, CS_EXIT_SIGNAL + sig);
            _exit(CS_EXIT_SIGNAL + sig);
        }
        if (passed)
            _exit(CS_EXIT_SIGNAL + sig);
        passed = true;
        pthread_mutex_unlock(&i->lock);
    }
}

bool cs_interrupt_start(const struct cs_cli *cli, bool json, struct cs_interrupt **ret, struct cs_err *err) {
    struct cs_interrupt *i = calloc(1, sizeof *i);
    if (!i)
        return cs_err_oom(err);
    i->json = json;
    memcpy(i->path, cli->path, sizeof i->path);
    snprintf(i->stage, sizeof i->stage, "nothing");
    snprintf(i->sentence, sizeof i->sentence, NOTHING);
    pthread_mutex_init(&i->lock, NULL);
    signals(&i->set);
    pthread_sigmask(SIG_BLOCK, &i->set, NULL);
    if (pthread_create(&i->thread, NULL, wait_for_signals, i) != 0) {
        pthread_sigmask(SIG_UNBLOCK, &i->set, NULL);
        pthread_mutex_destroy(&i->lock);
        free(i);
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "no thread can be started");
    }
    *ret = i;
    return true;
}

void cs_interrupt_set(struct cs_interrupt *i, const char *stage, const struct cs_event *ev, const char *fmt,
                      ...) {
    va_list args;
    if (!i)
        return;
    pthread_mutex_lock(&i->lock);
    snprintf(i->stage, sizeof i->stage, "%s", stage);
    if (ev) {
        memcpy(i->event, ev->id, sizeof i->event);
        i->seq = ev->seq;
    }
    va_start(args, fmt);
    vsnprintf(i->sentence, sizeof i->sentence, fmt, args);
    va_end(args);
    pthread_mutex_unlock(&i->lock);
}

void cs_interrupt_ended(struct cs_interrupt *i) {
    if (!i)
        return;
    pthread_mutex_lock(&i->lock);
    i->ended = true;
    pthread_mutex_unlock(&i->lock);
}

void cs_interrupt_free(struct cs_interrupt *i) {
    if (!i)
        return;
    // Not with pthread_cancel: it needs libgcc_s on the host.
    pthread_mutex_lock(&i->lock);
    i->quit = true;
    pthread_mutex_unlock(&i->lock);
    pthread_kill(i->thread, WAKE);
    pthread_join(i->thread, NULL);
    pthread_sigmask(SIG_UNBLOCK, &i->set, NULL);
    pthread_mutex_destroy(&i->lock);
    free(i);
}
