// SPDX-License-Identifier: Apache-2.0
#include "daemon/daemon.h"

#include <event2/event.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certsync/base/grow.h"
#include "certsync/runtime/fdlimit.h"
#include "certsync/runtime/fileio.h"
#include "certsync/runtime/log.h"
#include "daemon/internal.h"

#define OWN_FILES      64 // spool, inotify, the API, lock and log
#define SLICE_MS       50 // for looking at files before other work continues
#define STATUS_MS      1000
#define BLOCKED_MS     1000
#define BLOCKED_MAX_MS 60000
#define DRAIN_MS       20000
#define DRAIN_LOOK_MS  20
#define FIRST_BEAT_MS  2000

int64_t engine_now(const struct cs_engine *e) {
    return cs_clock_mono_ms(e->session.clock);
}

int64_t engine_wall(const struct cs_engine *e) {
    return cs_clock_wall_ms(e->session.clock);
}

// --- the queue: a binary heap by due_ms

static void place(struct cs_engine *e, size_t at, struct cs_item *item) {
    e->queue[at] = item;
    item->queue_at = at + 1;
}

static void sift_up(struct cs_engine *e, size_t at) {
    struct cs_item *item = e->queue[at];
    for (; at > 0 && e->queue[(at - 1) / 2]->due_ms > item->due_ms; at = (at - 1) / 2)
        place(e, at, e->queue[(at - 1) / 2]);
    place(e, at, item);
}

static void sift_down(struct cs_engine *e, size_t at) {
    struct cs_item *item = e->queue[at];
    for (size_t child; (child = 2 * at + 1) < e->queue_len; at = child) {
        if (child + 1 < e->queue_len && e->queue[child + 1]->due_ms < e->queue[child]->due_ms)
            child++;
        if (e->queue[child]->due_ms >= item->due_ms)
            break;
        place(e, at, e->queue[child]);
    }
    place(e, at, item);
}

void engine_unqueue(struct cs_engine *e, struct cs_item *item) {
    if (item->queue_at == 0)
        return;
    size_t at = item->queue_at - 1;
    item->queue_at = 0;
    struct cs_item *last = e->queue[--e->queue_len];
    if (last == item)
        return;
    place(e, at, last);
    sift_up(e, at);
    sift_down(e, last->queue_at - 1);
}

void engine_queue(struct cs_engine *e, struct cs_item *item, int64_t due_ms) {
    if (item->queue_at > 0 && item->due_ms <= due_ms)
        return;
    engine_unqueue(e, item);
    if (!CS_GROW(&e->queue, &e->queue_cap, e->queue_len + 1)) {
        cs_log_msg(CS_LOG_ERROR, "out of memory"); // the next rescan finds it again
        return;
    }
    item->due_ms = due_ms;
    place(e, e->queue_len++, item);
    sift_up(e, e->queue_len - 1);
}

void engine_drop(struct cs_engine *e, struct cs_item *item) {
    engine_unqueue(e, item);
    cs_register_drop(&e->reg, item);
    e->changed = true;
}

void engine_arm(struct cs_engine *e) {
    int64_t due = e->listed && e->queue_len > 0 ? e->queue[0]->due_ms : INT64_MAX;
    for (size_t i = 0; i < e->sections.n; i++)
        if (e->discover_ms[i] > 0 && e->discover_ms[i] < due)
            due = e->discover_ms[i];
    if (due == INT64_MAX || e->stopping || !e->work)
        return;
    int64_t left = due - engine_now(e);
    cs_timer_reset(e->work, left > 0 ? left : 0);
}

static void on_work(void *arg) {
    struct cs_engine *e = arg;
    int64_t now = engine_now(e), end = now + SLICE_MS;
    if (e->stopping)
        return;
    for (size_t i = 0; i < e->sections.n; i++)
        if (e->discover_ms[i] > 0 && e->discover_ms[i] <= now)
            engine_discover(e, i);
    while (e->listed && e->queue_len > 0 && e->queue[0]->due_ms <= now) {
        struct cs_item *item = e->queue[0];
        engine_unqueue(e, item);
        engine_judge(e, item);
        now = engine_now(e);
        if (now >= end)
            break;
    }
    engine_upload(e);
    cs_place_clear(&e->place);
    cs_register_flush(&e->reg);
    bool all = e->listed && (e->queue_len == 0 || e->queue[0]->due_ms > now);
    if (all && e->looking_ms > 0) {
        cs_log(CS_LOG_INFO, "all files looked at", "certificates=%zu ms=%" PRId64, e->reg.n,
               engine_now(e) - e->looking_ms);
        e->looking_ms = 0;
    }
    engine_arm(e);
}

static void blocked(struct cs_engine *e, const struct cs_err *err) {
    if (!e->blocked[0])
        cs_log_err(CS_LOG_ERROR, "the spool takes nothing", err, "spool=%s", cs_spool_path(e->spool));
    snprintf(e->blocked, sizeof e->blocked, "%s", err->msg);
    if (e->blocked_until_ms > engine_now(e))
        return;
    e->blocked_pause_ms = e->blocked_pause_ms == 0 ? BLOCKED_MS : e->blocked_pause_ms * 2;
    if (e->blocked_pause_ms > BLOCKED_MAX_MS)
        e->blocked_pause_ms = BLOCKED_MAX_MS;
    e->blocked_until_ms = engine_now(e) + e->blocked_pause_ms;
    e->changed = true;
}

bool engine_spool(struct cs_engine *e, struct cs_event *const *events, size_t n, struct cs_err *err) {
    if (!cs_spool_add_group(e->spool, e->session.crypto, e->session.key, events, n, err)) {
        // The spool may take some of a group: the caller tries each alone.
        if (n == 1 && err->kind != CS_ERR_REJECT)
            blocked(e, err);
        return false;
    }
    if (e->blocked[0])
        cs_log_msg(CS_LOG_INFO, "the spool takes events again");
    e->blocked[0] = '\0';
    e->blocked_pause_ms = 0;
    e->blocked_until_ms = 0;
    e->changed = true;
    cs_sender_wake(e->sender);
    return true;
}

// --- an engine's life

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    struct cs_engine *e = arg;
    (void)fd;
    (void)what;
    cs_watch_read(e->watch);
}

static void on_rescan(void *arg) {
    struct cs_engine *e = arg;
    if (e->stopping)
        return;
    engine_look_at_all(e);
    // A person or another host may have sent another chain. No file tells of that.
    if (e->outcome_poller && engine_chain_ended(e))
        cs_outcome_poller_list(e->outcome_poller);
    cs_timer_reset(e->rescan, e->session.settings->rescan_ms); // it may have come early
}

static void on_beat(void *arg) {
    engine_beat(arg);
}

static void on_status(void *arg) {
    struct cs_engine *e = arg;
    cs_register_flush(&e->reg);
    engine_write_status(e);
}

static void on_published(void *arg, size_t n) {
    struct cs_engine *e = arg;
    cs_log(CS_LOG_DEBUG, "published", "events=%zu", n);
    if (e->outcome_poller)
        cs_outcome_poller_wake(e->outcome_poller);
}

// Ends everything except the session, which it hands over.
static void engine_end(struct cs_engine *e, struct cs_session *ret) {
    if (e->sender)
        cs_sender_stop(e->sender);
    if (e->outcome_poller)
        cs_outcome_poller_stop(e->outcome_poller);
    cs_sender_free(e->sender);
    cs_outcome_poller_free(e->outcome_poller);
    cs_timer_free(e->work);
    cs_timer_free(e->rescan);
    cs_timer_free(e->poll);
    cs_timer_free(e->beat);
    cs_timer_free(e->status);
    if (e->watch_event)
        event_free(e->watch_event);
    cs_watch_free(e->watch);
    for (size_t i = 0; i < CS_ARRAY_LEN(e->buffers); i++)
        cs_guarded_clear(&e->buffers[i]);
    for (size_t i = 0; i < e->sections.n; i++)
        cs_findings_clear(&e->findings[i]);
    cs_register_close(&e->reg);
    cs_spool_free(e->spool);
    cs_sections_clear(&e->sections);
    free(e->queue);
    *ret = e->session;
    free(e);
}

static void engine_free(struct cs_engine *e) {
    struct cs_session session;
    if (!e)
        return;
    engine_end(e, &session);
    cs_session_close(&session);
}

static bool start_watching(struct cs_engine *e, struct cs_err *err) {
    const struct cs_watch_hooks hooks = {engine_on_change, engine_on_lost, e};
    if (!cs_watch_new(&hooks, &e->watch, err))
        return false;
    e->watch_event =
        event_new(cs_loop_base(e->daemon->loop), cs_watch_fd(e->watch), EV_READ | EV_PERSIST, on_readable, e);
    return (e->watch_event && event_add(e->watch_event, NULL) == 0) || cs_err_oom(err);
}

static bool start_timers(struct cs_engine *e, struct cs_err *err) {
    struct cs_loop *loop = e->daemon->loop;
    const struct cs_agent_settings *s = e->session.settings;
    e->work = cs_timer_new(loop, s->rescan_ms, 0, on_work, e);
    e->rescan = cs_timer_new(loop, s->rescan_ms, 0, on_rescan, e);
    e->status = cs_timer_new(loop, STATUS_MS, STATUS_MS, on_status, e);
    if (s->heartbeat_ms > 0)
        e->beat = cs_timer_new(loop, s->heartbeat_ms < FIRST_BEAT_MS ? s->heartbeat_ms : FIRST_BEAT_MS,
                               s->heartbeat_ms, on_beat, e);
    return (e->work && e->rescan && e->status && (e->beat || s->heartbeat_ms == 0) &&
            engine_start_polling(e)) ||
           cs_err_oom(err);
}

static bool start_threads(struct cs_engine *e, struct cs_err *err) {
    struct cs_outcome_poller_hooks hooks = engine_outcome_poller_hooks;
    hooks.arg = e;
    if (e->session.settings->api_url[0] &&
        !cs_outcome_poller_new(&e->session, &hooks, &e->outcome_poller, err))
        return false;
    return cs_sender_new(&e->session, &(struct cs_sender_hooks){on_published, e}, &e->sender, err);
}

static bool make_buffers(struct cs_engine *e, struct cs_err *err) {
    bool pairs = false;
    for (size_t i = 0; i < e->sections.n; i++)
        pairs |= e->sections.items[i].files[0].encrypt_certificate != NULL;
    for (size_t i = 0; i < CS_ARRAY_LEN(e->buffers) / (pairs ? 1 : 2); i++)
        if (!cs_guarded_init(&e->buffers[i], err))
            return false;
    return true;
}

static bool engine_fill(struct cs_engine *e, struct cs_err *err) {
    char path[PATH_MAX];
    struct cs_spool_limits limits = {e->session.settings->spool_max_events,
                                     e->session.settings->spool_max_bytes};
    bool ok = cs_sections_new(&e->session.settings->watches, &e->sections, err) && make_buffers(e, err) &&
              cs_spool_open(e->session.settings->spool, e->session.kid, &limits, &e->spool, err) &&
              cs_daemon_path(&e->session, CS_DAEMON_REGISTER, path, sizeof path, err) &&
              cs_register_open(path, e->session.kid, &e->reg, err) && start_watching(e, err) &&
              start_timers(e, err) && start_threads(e, err) && engine_read_spool(e, err);
    if (!ok)
        return false;
    engine_look_at_all(e);
    if (e->outcome_poller)
        cs_outcome_poller_list(e->outcome_poller);
    else
        engine_listed(e);
    engine_arm(e);
    engine_write_status(e);
    return true;
}

// Takes the session.
static bool engine_new(struct cs_daemon *d, struct cs_session *session, struct cs_engine **ret,
                       struct cs_err *err) {
    struct cs_engine *e = calloc(1, sizeof *e);
    if (!e) {
        cs_session_close(session);
        return cs_err_oom(err);
    }
    e->daemon = d;
    e->generation = ++d->generations;
    e->session = *session;
    *session = (struct cs_session){0};
    e->reg.fd = -1;
    e->listing = 1;
    e->changed = true;
    e->started_ms = engine_wall(e);
    e->next_end_s = INT64_MAX;
    cs_log_set_level((enum cs_log_level)e->session.settings->daemon_log_level);
    if (!engine_fill(e, err)) {
        engine_free(e);
        return false;
    }
    *ret = e;
    return true;
}

// --- signals

static void on_drain_look(void *arg) {
    struct cs_daemon *d = arg;
    struct cs_engine *e = d->engine;
    if (cs_sender_ended(e->sender) && (!e->outcome_poller || cs_outcome_poller_ended(e->outcome_poller)))
        cs_loop_done(d->loop);
}

static void on_drain(void *arg) {
    struct cs_daemon *d = arg;
    if (!d->engine) {
        cs_loop_done(d->loop);
        return;
    }
    d->engine->stopping = true;
    cs_sender_stop(d->engine->sender);
    if (d->engine->outcome_poller)
        cs_outcome_poller_stop(d->engine->outcome_poller);
    d->drain = cs_timer_new(d->loop, 0, DRAIN_LOOK_MS, on_drain_look, d);
    if (!d->drain)
        cs_loop_done(d->loop);
}

// Whether the new settings suffice to work with. Checked before anything is stopped.
static bool usable(const struct cs_session *now, const struct cs_session *next, struct cs_err *err) {
    bool moved =
        strcmp(now->settings->spool, next->settings->spool) != 0 || strcmp(now->account, next->account) != 0;
    if (moved)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "agent.spool and agent.account cannot be changed by a reload; restart");
    return true;
}

static void refuse_reload(struct cs_daemon *d, const struct cs_err *err) {
    char text[CS_ERR_MSG_MAX + 64];
    cs_log_err(CS_LOG_ERROR, "the settings were not read again: everything stays as it was", err,
               "signal=SIGHUP");
    snprintf(d->reload_refused, sizeof d->reload_refused, "%s", err->msg);
    snprintf(text, sizeof text, "STATUS=The settings were not read again: %s", err->msg);
    cs_notify(text);
}

// The new settings passed all checks. If they cannot be used all the same, the old ones stay.
static void change_engine(struct cs_daemon *d, struct cs_session *next) {
    struct cs_session old;
    struct cs_err err;
    engine_write_status(d->engine);
    engine_end(d->engine, &old);
    d->engine = NULL;
    d->reload_refused[0] = '\0';
    if (engine_new(d, next, &d->engine, &err)) {
        cs_session_close(&old);
        cs_log(CS_LOG_INFO, "settings read again", "kid=%s sections=%zu", d->engine->session.kid,
               d->engine->sections.n);
        cs_notify("STATUS=Watching");
        return;
    }
    refuse_reload(d, &err);
    if (engine_new(d, &old, &d->engine, &err))
        return;
    cs_log_err(CS_LOG_ERROR, "cannot go on, with the old settings neither", &err, "signal=SIGHUP");
    d->failed = true;
    cs_loop_stop(d->loop);
}

static void on_reload(void *arg) {
    struct cs_daemon *d = arg;
    struct cs_session next = {0};
    struct cs_err err;
    bool ok =
        cs_session_open(d->cli, CS_DAEMON_NEEDS, &next, &err) && usable(&d->engine->session, &next, &err);
    cs_log_set_level(
        (enum cs_log_level)d->engine->session.settings->daemon_log_level); // to open may have changed it
    if (ok) {
        change_engine(d, &next);
        return;
    }
    refuse_reload(d, &err);
    d->engine->changed = true;
    cs_session_close(&next);
}

// Whether its threads are alive, too. Asked before systemd is told.
static bool is_healthy(void *arg) {
    const struct cs_daemon *d = arg;
    const struct cs_engine *e = d->engine;
    int64_t sender_ms = e ? cs_sender_overdue_ms(e->sender) : 0;
    int64_t poller_ms = e && e->outcome_poller ? cs_outcome_poller_overdue_ms(e->outcome_poller) : 0;
    if (sender_ms == 0 && poller_ms == 0)
        return true;
    cs_log(CS_LOG_ERROR, "a thread hangs; the watchdog is not fed", "thread=%s overdue_ms=%" PRId64,
           sender_ms > 0 ? "sender" : "outcome poller", sender_ms > 0 ? sender_ms : poller_ms);
    return false;
}

// --- the whole

// The status file of an earlier run must not be shown for this one.
static bool forget_status(const struct cs_session *s, struct cs_err *err) {
    char path[PATH_MAX];
    return cs_daemon_path(s, CS_DAEMON_STATUS, path, sizeof path, err) && cs_file_remove(path, err);
}

// Watches need no file descriptors: inotify has one for all.
static bool raise_limits(const struct cs_session *session, struct cs_err *err) {
    return cs_fd_limit_raise(OWN_FILES + cs_kafka_files(&session->settings->kafka), "kafka.brokers", err);
}

static bool start(struct cs_daemon *d, struct cs_session *session, struct cs_err *err) {
    const struct cs_loop_hooks hooks = {.on_drain = on_drain,
                                        .on_reload = on_reload,
                                        .is_healthy = is_healthy,
                                        .arg = d,
                                        .drain_timeout_ms = DRAIN_MS};
    // The loop comes first. The lock's holder may get a signal to reload, and without a handler
    // that would end it.
    if (!raise_limits(session, err) || !cs_loop_new(&hooks, &d->loop, err) ||
        !cs_daemon_lock(session, &d->lock_fd, err) || !forget_status(session, err)) {
        cs_session_close(session);
        return false;
    }
    if (!cs_agent_metrics_new(d->loop, session->settings, &d->engine, &d->metrics, err)) {
        cs_session_close(session);
        return false;
    }
    return engine_new(d, session, &d->engine, err);
}

int cs_daemon_run(const struct cs_cli *cli, struct cs_session *session) {
    struct cs_daemon d = {.cli = cli, .lock_fd = -1};
    struct cs_err err;
    int code = CS_EXIT_OK;
    cs_log_hook_libevent();
    if (start(&d, session, &err)) {
        cs_log(CS_LOG_INFO, "watching", "account=%s kid=%s sections=%zu", d.engine->session.account,
               d.engine->session.kid, d.engine->sections.n);
        cs_notify("READY=1\nSTATUS=Watching");
        enum cs_loop_end end = cs_loop_run(d.loop);
        if (end == CS_LOOP_FORCED || end == CS_LOOP_DEADLINE)
            _exit(CS_EXIT_OK); // threads still wait for the network; all that matters is on disk
        code = end == CS_LOOP_DRAINED && !d.failed ? CS_EXIT_OK : CS_EXIT_REJECTED;
        if (d.engine)
            engine_write_status(d.engine);
        cs_log_msg(CS_LOG_INFO, "ended");
    } else {
        code = cs_report_failure(cli, &err);
    }
    cs_timer_free(d.drain);
    cs_agent_metrics_free(d.metrics);
    engine_free(d.engine);
    cs_loop_free(d.loop);
    if (d.lock_fd >= 0)
        close(d.lock_fd);
    return code;
}
