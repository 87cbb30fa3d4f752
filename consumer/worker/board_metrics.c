// SPDX-License-Identifier: Apache-2.0
#include "worker/board_metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shown { // the series that a partition shows, to remove them when it changes
    enum cs_board_state state;
    char reason[sizeof((struct cs_board_entry *)0)->reason];
};

struct cs_board_metrics {
    const struct cs_board *board;
    const struct cs_clock *clock;
    struct cs_metric *by_state, *state, *stopped;
    struct cs_metric *next_offset, *lag, *oldest, *progress, *share, *foreign, *unsigned_outcomes;
    struct cs_metric *damaged;
    struct cs_metric *agents, *oldest_heartbeat;
    struct cs_metric *certificates, *expiring;
    struct cs_metric *trouble;
    char troubles[CS_BOARD_TROUBLES][CS_TROUBLE_TEXT_MAX]; // as they are shown
    struct cs_series *newest_progress;
    struct shown *shown;
};

static void hide(struct cs_metric *metric, const char *partition) {
    cs_series_hide(cs_metric_1(metric, partition));
}

static void set_or_hide(struct cs_metric *metric, const char *partition, bool known, double v) {
    if (known)
        cs_series_set(cs_metric_1(metric, partition), v);
    else
        hide(metric, partition);
}

// Seconds since a moment. 0 without one.
static double age_s(int64_t now_ms, int64_t then_ms) {
    return then_ms > 0 && now_ms > then_ms ? (double)(now_ms - then_ms) / 1000 : 0;
}

static void show_state(struct cs_board_metrics *m, int32_t p, const char *partition,
                       const struct cs_board_entry *e) {
    struct shown *shown = &m->shown[p];
    if (shown->state != e->state)
        cs_series_hide(cs_metric_2(m->state, partition, cs_board_state_name(shown->state)));
    shown->state = e->state;
    cs_series_set(cs_metric_2(m->state, partition, cs_board_state_name(e->state)), 1);
    const char *reason = e->state == CS_BOARD_STOPPED ? e->reason : "";
    if (strcmp(shown->reason, reason) == 0)
        return;
    if (shown->reason[0])
        cs_series_hide(cs_metric_2(m->stopped, partition, shown->reason));
    snprintf(shown->reason, sizeof shown->reason, "%s", reason);
    if (reason[0])
        cs_series_set(cs_metric_2(m->stopped, partition, reason), 1);
}

static void show_agents(struct cs_board_metrics *m, const char *partition, const struct cs_board_agents *a,
                        int64_t wall_ms) {
    struct cs_series *alive = cs_metric_2(m->agents, partition, "alive");
    struct cs_series *quiet = cs_metric_2(m->agents, partition, "quiet");
    set_or_hide(m->oldest_heartbeat, partition, a->known, age_s(wall_ms, a->oldest_ms));
    if (a->known) {
        cs_series_set(alive, (double)a->alive);
        cs_series_set(quiet, (double)a->quiet);
    } else {
        cs_series_hide(alive);
        cs_series_hide(quiet);
    }
}

static void put(struct cs_series *s, bool known, int64_t v) {
    if (known)
        cs_series_set(s, (double)v);
    else
        cs_series_hide(s);
}

static void show_certificates(struct cs_board_metrics *m, const char *partition,
                              const struct cs_board_certificates *c) {
    static const char *const within[CS_BOARD_WITHIN] = {"1d", "7d", "14d", "30d"};
    put(cs_metric_2(m->certificates, partition, "valid"), c->known, c->valid);
    put(cs_metric_2(m->certificates, partition, "expired"), c->known, c->expired);
    for (size_t i = 0; i < CS_BOARD_WITHIN; i++)
        put(cs_metric_2(m->expiring, partition, within[i]), c->known, c->within[i]);
}

static void show(struct cs_board_metrics *m, int32_t p, const struct cs_board_entry *e) {
    char partition[16];
    snprintf(partition, sizeof partition, "%d", (int)p);
    bool here = e->state != CS_BOARD_ELSEWHERE;
    int64_t lag = cs_board_lag(e);
    int64_t wall_ms = cs_clock_wall_ms(m->clock);
    show_state(m, p, partition, e);
    set_or_hide(m->next_offset, partition, e->next_offset >= 0, (double)e->next_offset);
    set_or_hide(m->lag, partition, lag >= 0, (double)lag);
    set_or_hide(m->oldest, partition, here, age_s(wall_ms, e->oldest_ms));
    set_or_hide(m->progress, partition, e->progress_ms > 0,
                age_s(cs_clock_mono_ms(m->clock), e->progress_ms));
    set_or_hide(m->share, partition, here, age_s(wall_ms, e->share_ms));
    set_or_hide(m->foreign, partition, here, (double)e->foreign);
    set_or_hide(m->unsigned_outcomes, partition, here && e->outcomes >= e->checkpointed,
                (double)(e->outcomes - e->checkpointed));
    set_or_hide(m->damaged, partition, here, e->damaged ? 1 : 0);
    show_agents(m, partition, &e->agents, wall_ms);
    show_certificates(m, partition, &e->certificates);
}

static void show_troubles(struct cs_board_metrics *m) {
    for (int t = 0; t < CS_BOARD_TROUBLES; t++) {
        const char *name = cs_board_trouble_name((enum cs_board_trouble)t);
        char now[CS_TROUBLE_TEXT_MAX];
        cs_board_trouble_get(m->board, (enum cs_board_trouble)t, now);
        if (strcmp(now, m->troubles[t]) == 0)
            continue;
        if (m->troubles[t][0])
            cs_series_hide(cs_metric_2(m->trouble, name, m->troubles[t]));
        memcpy(m->troubles[t], now, sizeof now);
        if (now[0])
            cs_series_set(cs_metric_2(m->trouble, name, now), 1);
    }
}

static void render(void *arg) {
    struct cs_board_metrics *m = arg;
    show_troubles(m);
    int count[CS_BOARD_STATES] = {0};
    int64_t newest = 0;
    for (int32_t p = 0; p < cs_board_partitions(m->board); p++) {
        struct cs_board_entry e;
        cs_board_get(m->board, p, &e);
        count[e.state]++;
        if (e.progress_ms > newest)
            newest = e.progress_ms;
        show(m, p, &e);
    }
    for (int s = 0; s < CS_BOARD_STATES; s++)
        cs_series_set(cs_metric_1(m->by_state, cs_board_state_name((enum cs_board_state)s)), count[s]);
    if (newest > 0)
        cs_series_set(m->newest_progress, age_s(cs_clock_mono_ms(m->clock), newest));
}

static void make(struct cs_board_metrics *m, struct cs_metrics *r) {
    static const char *const by_state[] = {"state", NULL};
    static const char *const by_partition[] = {"partition", NULL};
    static const char *const by_both[] = {"partition", "state", NULL};
    static const char *const by_what[] = {"what", "reason", NULL};
    static const char *const by_reason[] = {"partition", "reason", NULL};
    m->by_state =
        cs_metrics_gauge(r, "certsync_partitions", "Partitions by their state in this process.", by_state);
    m->newest_progress = cs_metric_0(
        cs_metrics_gauge(r, "certsync_last_progress_seconds",
                         "Time since a partition was last committed, or found to be at its end.", NULL));
    m->trouble =
        cs_metrics_gauge(r, "certsync_trouble",
                         "1 for what is wrong around all partitions of this process (group, kafka, topics, "
                         "redis or heartbeats), and what it is.",
                         by_what);
    m->state =
        cs_metrics_gauge(r, "certsync_partition_state", "1 for the state that a partition is in.", by_both);
    m->stopped = cs_metrics_gauge(r, "certsync_partition_stopped",
                                  "1 for a partition that needs a person, and why.", by_reason);
    m->next_offset =
        cs_metrics_gauge(r, "certsync_partition_next_offset",
                         "Offset up to which the catalog of a partition is committed.", by_partition);
    m->lag = cs_metrics_gauge(r, "certsync_partition_lag_records",
                              "Records of a partition that are not committed yet.", by_partition);
    m->oldest =
        cs_metrics_gauge(r, "certsync_partition_oldest_event_seconds",
                         "Age of the oldest record of a partition that is not committed yet; 0: there is "
                         "none.",
                         by_partition);
    m->progress = cs_metrics_gauge(r, "certsync_partition_last_progress_seconds",
                                   "Time since a partition was last committed, or found to be at its end.",
                                   by_partition);
    m->share =
        cs_metrics_gauge(r, "certsync_partition_oldest_pending_share_seconds",
                         "Age of the oldest share of a partition that waits for its recipient's answer; 0: "
                         "there is none.",
                         by_partition);
    m->foreign = cs_metrics_gauge(r, "certsync_partition_foreign_outcomes",
                                  "Records near the end of a partition of cert.outcomes that no consumer "
                                  "wrote; they count for nothing, but somebody writes to the topic.",
                                  by_partition);
    m->unsigned_outcomes =
        cs_metrics_gauge(r, "certsync_partition_outcomes_without_checkpoint",
                         "Outcomes of a partition that no published checkpoint covers yet; a checkpoint is "
                         "published within a second.",
                         by_partition);
    m->damaged = cs_metrics_gauge(r, "certsync_partition_damaged",
                                  "1 while a partition's catalog in Redis, which something else wrote to, "
                                  "is made again from the log.",
                                  by_partition);
    m->agents = cs_metrics_gauge(r, "certsync_partition_agents",
                                 "Agents of a partition that have sent heartbeats, by whether they have gone "
                                 "quiet (api.quiet_after).",
                                 by_both);
    static const char *const by_within[] = {"partition", "within", NULL};
    m->certificates =
        cs_metrics_gauge(r, "certsync_certificates",
                         "Certificates of a partition's accounts, without those that were shared "
                         "in, by whether they or their chain have expired.",
                         by_both);
    m->expiring =
        cs_metrics_gauge(r, "certsync_certificates_expiring",
                         "Valid certificates of a partition that end, or whose chain ends, within 1, "
                         "7, 14 or 30 days.",
                         by_within);
    m->oldest_heartbeat = cs_metrics_gauge(r, "certsync_partition_oldest_heartbeat_seconds",
                                           "Time since the agent of a partition that was not heard of for "
                                           "longest sent a heartbeat; 0: there is none.",
                                           by_partition);
}

bool cs_board_metrics_new(struct cs_metrics *registry, const struct cs_board *board,
                          const struct cs_clock *clock, struct cs_board_metrics **ret, struct cs_err *err) {
    struct cs_board_metrics *m = calloc(1, sizeof *m);
    if (m)
        m->shown = calloc((size_t)cs_board_partitions(board), sizeof *m->shown);
    if (!m || !m->shown) {
        free(m);
        return cs_err_oom(err);
    }
    m->board = board;
    m->clock = clock;
    make(m, registry);
    cs_metrics_on_render(registry, render, m);
    *ret = m;
    return true;
}

void cs_board_metrics_free(struct cs_board_metrics *m) {
    if (!m)
        return;
    free(m->shown);
    free(m);
}
