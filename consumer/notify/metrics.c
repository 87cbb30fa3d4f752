// SPDX-License-Identifier: Apache-2.0
#include "notify/metrics.h"

#include <stdio.h>
#include <string.h>

static const char *const state_names[CS_NOTE_STATES] = {"starting", "standing_by", "working", "waiting",
                                                        "failing"};

const char *cs_note_state_name(enum cs_note_state s) {
    return state_names[s];
}

void cs_note_metrics_init(struct cs_note_metrics *m, struct cs_metrics *registry) {
    static const char *const by_section[] = {"notice", NULL};
    static const char *const by_kind[] = {"notice", "kind", NULL};
    static const char *const by_result[] = {"notice", "result", NULL};
    static const char *const by_state[] = {"notice", "state", NULL};
    m->made = cs_metrics_counter(registry, "certsync_notices_made_total",
                                 "Notices that were put into a section's queue, by their kind", by_kind);
    m->delivered = cs_metrics_counter(registry, "certsync_notices_delivered_total",
                                      "Notices that a receiver took", by_section);
    m->failed = cs_metrics_counter(registry, "certsync_notices_failed_total",
                                   "Tries to deliver that failed, by what came of them", by_result);
    m->dropped = cs_metrics_counter(registry, "certsync_notices_dropped_total",
                                    "Notices that could not be delivered within notify.keep", by_section);
    m->waiting = cs_metrics_gauge(registry, "certsync_notices_waiting",
                                  "Notices that wait in a section's queue", by_section);
    m->oldest = cs_metrics_gauge(registry, "certsync_notices_oldest_seconds",
                                 "Age of the oldest notice that should be delivered by now", by_section);
    m->state = cs_metrics_gauge(registry, "certsync_notices_state", "1 for the state that a section is in",
                                by_state);
}

void cs_note_board_init(struct cs_note_board *b, const struct cs_note_metrics *m, const char *section,
                        const struct cs_clock *clock) {
    *b = (struct cs_note_board){.clock = clock};
    pthread_mutex_init(&b->lock, NULL);
    for (size_t k = 0; k < CS_NOTICE_KIND_COUNT; k++)
        b->made[k] = cs_metric_2(m->made, section, cs_notice_kind_name((enum cs_notice_kind)k));
    b->delivered = cs_metric_1(m->delivered, section);
    b->away = cs_metric_2(m->failed, section, "away");
    b->refused = cs_metric_2(m->failed, section, "refused");
    b->dropped = cs_metric_1(m->dropped, section);
    b->waiting = cs_metric_1(m->waiting, section);
    b->oldest = cs_metric_1(m->oldest, section);
    for (size_t s = 0; s < CS_NOTE_STATES; s++)
        b->states[s] = cs_metric_2(m->state, section, state_names[s]);
    cs_series_set(b->states[CS_NOTE_STARTING], 1);
    b->now.since_ms = cs_clock_wall_ms(clock);
}

void cs_note_board_clear(struct cs_note_board *b) {
    pthread_mutex_destroy(&b->lock);
}

bool cs_note_board_set(struct cs_note_board *b, enum cs_note_state state, const char *why) {
    pthread_mutex_lock(&b->lock);
    bool changed = b->now.state != state;
    bool said = changed || strncmp(b->now.why, why ? why : "", sizeof b->now.why - 1) != 0;
    if (changed) {
        b->now.since_ms = cs_clock_wall_ms(b->clock);
        for (size_t s = 0; s < CS_NOTE_STATES; s++)
            cs_series_set(b->states[s], s == state);
    }
    b->now.state = state;
    if (said)
        snprintf(b->now.why, sizeof b->now.why, "%s", why ? why : "");
    pthread_mutex_unlock(&b->lock);
    return said;
}

void cs_note_board_waiting(struct cs_note_board *b, int64_t waiting, int64_t oldest_ms) {
    pthread_mutex_lock(&b->lock);
    b->now.waiting = waiting;
    b->now.oldest_ms = oldest_ms;
    pthread_mutex_unlock(&b->lock);
}

void cs_note_board_get(struct cs_note_board *b, struct cs_note_status *ret) {
    pthread_mutex_lock(&b->lock);
    *ret = b->now;
    pthread_mutex_unlock(&b->lock);
}

void cs_note_board_render(struct cs_note_board *b) {
    struct cs_note_status s;
    cs_note_board_get(b, &s);
    // Only the process that serves a section knows its queue.
    if (s.state == CS_NOTE_STANDING_BY || s.state == CS_NOTE_STARTING) {
        cs_series_hide(b->waiting);
        cs_series_hide(b->oldest);
        return;
    }
    cs_series_set(b->waiting, (double)s.waiting);
    cs_series_set(b->oldest, s.oldest_ms > 0 ? (double)(cs_clock_wall_ms(b->clock) - s.oldest_ms) / 1000 : 0);
}
