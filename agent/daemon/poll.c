// SPDX-License-Identifier: Apache-2.0
// Changes that inotify(7) does not report: through another hard link, by a mount over the file or
// its directory, on a file system of another host. Each round compares the stamps of all known
// files (agent.poll).
#include "daemon/internal.h"

#define SLICE_MS   10 // for comparing before other work continues
#define BETWEEN_MS 10
#define PAUSE      50 // a round may take one fiftieth of the time

static void poll_item(struct cs_engine *e, struct cs_item *item) {
    if (!item->section || item->gone_ms > 0 || item->queue_at > 0 || item->stamp == 0 ||
        !engine_concluded(item) || engine_stamp(item) == item->stamp)
        return;
    item->attempts = 0;
    engine_queue(e, item, engine_now(e) + e->session.settings->debounce_ms);
}

static void on_poll(void *arg) {
    struct cs_engine *e = arg;
    int64_t now = engine_now(e), end = now + SLICE_MS, pause = BETWEEN_MS;
    if (e->stopping)
        return;
    if (e->poll_at == 0) {
        e->poll_began_ms = now;
        cs_watch_read(e->watch); // so that no reported change is missed
        cs_watch_poll(e->watch);
    }
    for (; e->poll_at < e->reg.n && now < end; now = engine_now(e))
        poll_item(e, e->reg.items[e->poll_at++]);
    if (e->poll_at >= e->reg.n) {
        e->poll_at = 0;
        pause = (now - e->poll_began_ms) * PAUSE;
        if (pause < e->session.settings->poll_ms)
            pause = e->session.settings->poll_ms;
    }
    cs_timer_reset(e->poll, pause);
    engine_arm(e);
}

bool engine_start_polling(struct cs_engine *e) {
    int64_t period = e->session.settings->poll_ms;
    if (period == 0)
        return true;
    e->poll = cs_timer_new(e->daemon->loop, period, 0, on_poll, e);
    return e->poll != NULL;
}
