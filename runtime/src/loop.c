// SPDX-License-Identifier: Apache-2.0
#include "certsync/runtime/loop.h"

#include <event2/event.h>
#include <event2/thread.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/clock.h"
#include "certsync/runtime/liveness.h"
#include "certsync/runtime/log.h"

#define DRAIN_TIMEOUT_MS 30000

struct post {
    struct post *next;
    void (*fn)(void *arg);
    void *arg;
};

struct cs_timer {
    struct cs_loop *loop;
    struct cs_timer *prev, *next;
    struct event *event;
    int64_t period_ms;
    void (*fn)(void *arg);
    void *arg;
};

struct cs_loop {
    struct cs_loop_hooks hooks;
    struct event_base *base;
    struct event *on_term, *on_int, *on_hup;
    struct event *woken; // activated by other threads
    struct cs_timer *timers;
    struct cs_timer *deadline, *watchdog;
    enum cs_loop_end end;
    _Atomic bool stop_wanted;
    bool draining;
    pthread_mutex_t lock; // the posts
    struct post *first, *last;
    struct sigaction old_pipe;
    bool pipe_ignored;
};

static struct timeval to_timeval(int64_t ms) {
    if (ms < 0)
        ms = 0;
    return (struct timeval){.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

static void finish(struct cs_loop *loop, enum cs_loop_end end) {
    if (loop->end == 0)
        loop->end = end;
    event_base_loopexit(loop->base, NULL); // after the callbacks that are due
}

static void on_deadline(void *arg) {
    struct cs_loop *loop = arg;
    cs_log_msg(CS_LOG_WARN, "the orderly end took too long, stopping now");
    finish(loop, CS_LOOP_DEADLINE);
}

static void begin_drain(struct cs_loop *loop) {
    if (loop->draining)
        return;
    loop->draining = true;
    cs_notify("STOPPING=1");
    if (!loop->hooks.on_drain) {
        finish(loop, CS_LOOP_DRAINED);
        return;
    }
    loop->deadline = cs_timer_new(loop, loop->hooks.drain_timeout_ms, 0, on_deadline, loop);
    if (!loop->deadline) {
        finish(loop, CS_LOOP_FAILED);
        return;
    }
    loop->hooks.on_drain(loop->hooks.arg);
}

static void on_end_signal(evutil_socket_t sig, short what, void *arg) {
    (void)what;
    struct cs_loop *loop = arg;
    const char *name = sig == SIGTERM ? "SIGTERM" : "SIGINT";
    if (loop->draining) {
        cs_log(CS_LOG_WARN, "second signal, stopping now", "signal=%s", name);
        if (loop->end == 0)
            loop->end = CS_LOOP_FORCED;
        event_base_loopbreak(loop->base);
        return;
    }
    cs_log(CS_LOG_INFO, "ending", "signal=%s drain_timeout_ms=%" PRId64, name, loop->hooks.drain_timeout_ms);
    begin_drain(loop);
}

static void on_reload_signal(evutil_socket_t sig, short what, void *arg) {
    (void)sig;
    (void)what;
    struct cs_loop *loop = arg;
    if (!loop->hooks.on_reload) {
        cs_log_msg(CS_LOG_INFO, "SIGHUP: nothing to read again");
        return;
    }
    char state[64];
    // Type=notify-reload needs the time to tell this reload from an earlier one.
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
             cs_clock_mono_ms(cs_clock_real()) * 1000);
    cs_notify(state);
    loop->hooks.on_reload(loop->hooks.arg);
    cs_notify("READY=1");
}

static struct post *take_posts(struct cs_loop *loop) {
    pthread_mutex_lock(&loop->lock);
    struct post *first = loop->first;
    loop->first = loop->last = NULL;
    pthread_mutex_unlock(&loop->lock);
    return first;
}

static void on_woken(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    struct cs_loop *loop = arg;
    for (struct post *p = take_posts(loop), *next; p; p = next) {
        next = p->next;
        p->fn(p->arg);
        free(p);
    }
    if (atomic_load(&loop->stop_wanted))
        begin_drain(loop);
}

static void on_watchdog(void *arg) {
    struct cs_loop *loop = arg;
    if (!loop->hooks.is_healthy || loop->hooks.is_healthy(loop->hooks.arg))
        cs_notify("WATCHDOG=1");
}

static bool start_watchdog(struct cs_loop *loop) {
    int64_t period_ms = cs_watchdog_ms() / 2;
    if (period_ms <= 0)
        return true;
    loop->watchdog = cs_timer_new(loop, 0, period_ms, on_watchdog, loop);
    return loop->watchdog != NULL;
}

static bool add_signal(struct cs_loop *loop, int sig, event_callback_fn fn, struct event **ret) {
    *ret = evsignal_new(loop->base, sig, fn, loop);
    return *ret && event_add(*ret, NULL) == 0;
}

static bool make_base(struct cs_loop *loop) {
    pthread_mutex_init(&loop->lock, NULL);
    if (evthread_use_pthreads() != 0) // before the base is made, so that it has locks
        return false;
    loop->base = event_base_new();
    // It has no file and no timeout: only event_active starts it. But it keeps the loop alive.
    loop->woken = loop->base ? event_new(loop->base, -1, EV_PERSIST, on_woken, loop) : NULL;
    return loop->woken && event_add(loop->woken, NULL) == 0;
}

static bool start_signals(struct cs_loop *loop) {
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    if (!add_signal(loop, SIGTERM, on_end_signal, &loop->on_term) ||
        !add_signal(loop, SIGINT, on_end_signal, &loop->on_int) ||
        !add_signal(loop, SIGHUP, on_reload_signal, &loop->on_hup))
        return false;
    loop->pipe_ignored = sigaction(SIGPIPE, &ignore, &loop->old_pipe) == 0;
    return true;
}

static bool make(const struct cs_loop_hooks *hooks, struct cs_loop **ret, struct cs_err *err) {
    struct cs_loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return cs_err_oom(err);
    bool ok = make_base(loop);
    if (ok && hooks) {
        loop->hooks = *hooks;
        cs_loop_set_drain_timeout(loop, hooks->drain_timeout_ms);
        ok = start_signals(loop) && start_watchdog(loop);
    }
    if (!ok) {
        cs_loop_free(loop);
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "cannot set up the event loop");
    }
    *ret = loop;
    return true;
}

bool cs_loop_new(const struct cs_loop_hooks *hooks, struct cs_loop **ret_loop, struct cs_err *err) {
    return make(hooks, ret_loop, err);
}

bool cs_loop_new_plain(struct cs_loop **ret_loop, struct cs_err *err) {
    return make(NULL, ret_loop, err);
}

static void free_event(struct event *e) {
    if (e)
        event_free(e);
}

void cs_loop_free(struct cs_loop *loop) {
    if (!loop)
        return;
    if (loop->pipe_ignored)
        sigaction(SIGPIPE, &loop->old_pipe, NULL);
    cs_timer_free(loop->watchdog);
    cs_timer_free(loop->deadline);
    for (struct cs_timer *t = loop->timers; t; t = t->next) {
        event_free(t->event); // the structs belong to their owners
        t->event = NULL;
        t->loop = NULL;
    }
    free_event(loop->on_term);
    free_event(loop->on_int);
    free_event(loop->on_hup);
    free_event(loop->woken);
    for (struct post *p = take_posts(loop), *next; p; p = next) {
        next = p->next;
        free(p);
    }
    if (loop->base)
        event_base_free(loop->base);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

struct event_base *cs_loop_base(struct cs_loop *loop) {
    return loop->base;
}

enum cs_loop_end cs_loop_run(struct cs_loop *loop) {
    int result = event_base_dispatch(loop->base);
    if (loop->end == 0)
        loop->end = result < 0 ? CS_LOOP_FAILED : CS_LOOP_DRAINED;
    return loop->end;
}

void cs_loop_stop(struct cs_loop *loop) {
    atomic_store(&loop->stop_wanted, true);
    event_active(loop->woken, EV_READ, 0);
}

void cs_loop_done(struct cs_loop *loop) {
    finish(loop, CS_LOOP_DRAINED);
}

bool cs_loop_draining(const struct cs_loop *loop) {
    return loop->draining;
}

void cs_loop_set_drain_timeout(struct cs_loop *loop, int64_t ms) {
    loop->hooks.drain_timeout_ms = ms > 0 ? ms : DRAIN_TIMEOUT_MS;
}

bool cs_loop_post(struct cs_loop *loop, void (*fn)(void *arg), void *arg) {
    struct post *p = malloc(sizeof *p);
    if (!p)
        return false;
    *p = (struct post){.fn = fn, .arg = arg};
    pthread_mutex_lock(&loop->lock);
    if (loop->last)
        loop->last->next = p;
    else
        loop->first = p;
    loop->last = p;
    pthread_mutex_unlock(&loop->lock);
    event_active(loop->woken, EV_READ, 0);
    return true;
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    struct cs_timer *t = arg;
    // Restarted before the call, because the call may free it.
    if (t->period_ms > 0)
        cs_timer_reset(t, t->period_ms);
    t->fn(t->arg);
}

struct cs_timer *cs_timer_new(struct cs_loop *loop, int64_t delay_ms, int64_t period_ms,
                              void (*fn)(void *arg), void *arg) {
    struct cs_timer *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    *t = (struct cs_timer){.loop = loop, .period_ms = period_ms, .fn = fn, .arg = arg};
    t->event = evtimer_new(loop->base, on_timer, t);
    struct timeval tv = to_timeval(delay_ms);
    if (!t->event || evtimer_add(t->event, &tv) < 0) {
        free_event(t->event);
        free(t);
        return NULL;
    }
    t->next = loop->timers;
    if (t->next)
        t->next->prev = t;
    loop->timers = t;
    return t;
}

void cs_timer_reset(struct cs_timer *t, int64_t delay_ms) {
    struct timeval tv = to_timeval(delay_ms);
    if (t->event)
        evtimer_add(t->event, &tv);
}

void cs_timer_free(struct cs_timer *t) {
    if (!t)
        return;
    if (t->loop) {
        if (t->prev)
            t->prev->next = t->next;
        else
            t->loop->timers = t->next;
        if (t->next)
            t->next->prev = t->prev;
    }
    free_event(t->event);
    free(t);
}
