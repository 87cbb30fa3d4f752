// SPDX-License-Identifier: Apache-2.0
//
// The main thread's event loop (libevent): signals as events, an orderly end, work posted from
// other threads, timers, and messages to systemd.
//
// There is one way to end. The first SIGTERM or SIGINT (or cs_loop_stop) calls on_drain once and
// starts the drain deadline. When all is finished, the program calls cs_loop_done. The second
// signal, or the deadline, breaks the loop. cs_loop_run says which it was. No callback ever calls
// exit(). SIGHUP calls on_reload. SIGPIPE is ignored for the process. The signal handlers exist
// only as long as the loop. One such loop a process. All functions belong to the loop's thread, except
// cs_loop_post, cs_loop_stop and cs_notify: any thread may call these.
#pragma once

#include "certsync/base/err.h"

struct event_base;
struct cs_loop;
struct cs_timer;

struct cs_loop_hooks {
    // Begin to finish: stop taking work, then cs_loop_done. May call cs_loop_done at once. NULL:
    // ends at once.
    void (*on_drain)(void *arg);
    void (*on_reload)(void *arg); // NULL: SIGHUP is logged and does nothing
    // Asked before each watchdog ping to systemd; false withholds it. NULL: always healthy.
    bool (*is_healthy)(void *arg);
    void *arg;
    int64_t drain_timeout_ms; // 0: 30 s
};

enum cs_loop_end {
    CS_LOOP_DRAINED = 1, // cs_loop_done was called
    CS_LOOP_DEADLINE,    // the drain took too long
    CS_LOOP_FORCED,      // second signal
    CS_LOOP_FAILED,      // libevent itself failed
};

CS_MUST_USE bool cs_loop_new(const struct cs_loop_hooks *hooks, struct cs_loop **ret_loop,
                             struct cs_err *err);
void cs_loop_free(struct cs_loop *loop); // timers and posted work that is left are dropped
CS_DEFINE_AUTO(struct cs_loop, cs_loop_free)
// A loop for another thread: work posted to it, and timers. It knows no signals and no systemd, and
// ends by cs_loop_done, which is posted to it.
CS_MUST_USE bool cs_loop_new_plain(struct cs_loop **ret_loop, struct cs_err *err);
struct event_base *cs_loop_base(struct cs_loop *loop);

enum cs_loop_end cs_loop_run(struct cs_loop *loop);
void cs_loop_stop(struct cs_loop *loop); // as a first SIGTERM; does nothing if already draining
void cs_loop_done(struct cs_loop *loop); // ends the run once callbacks that are due have run
bool cs_loop_draining(const struct cs_loop *loop);
void cs_loop_set_drain_timeout(struct cs_loop *loop, int64_t ms); // for the next drain

// Runs fn(arg) in the loop's thread, soon, in the order of posting. False: out of memory, or the
// loop is being freed. Posts from before cs_loop_run are kept for it.
CS_MUST_USE bool cs_loop_post(struct cs_loop *loop, void (*fn)(void *arg), void *arg);

// fn(arg) after delay_ms, and every period_ms from then on (0: once). The first delay may be 0.
// Free it also after a single shot. It may be freed in its own callback. NULL: out of memory.
struct cs_timer *cs_timer_new(struct cs_loop *loop, int64_t delay_ms, int64_t period_ms,
                              void (*fn)(void *arg), void *arg);
void cs_timer_reset(struct cs_timer *t, int64_t delay_ms); // (again) due in delay_ms
void cs_timer_free(struct cs_timer *t);
CS_DEFINE_AUTO(struct cs_timer, cs_timer_free)

// sd_notify(3) without libsystemd: e.g. "READY=1", "STATUS=3 events in the spool". Without
// NOTIFY_SOCKET it does nothing (true). False: sending failed. The loop sends STOPPING=1,
// RELOADING=1 (with MONOTONIC_USEC), READY=1 after a reload, and WATCHDOG=1 (every half of
// WATCHDOG_USEC). The program sends the first READY=1.
bool cs_notify(const char *state);
