// SPDX-License-Identifier: Apache-2.0
#include "board.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cs_board {
    pthread_mutex_t lock;
    int workers_expected;
    int workers_joined;
    int32_t count;
    struct cs_board_entry entries[];
};

const char *cs_board_state_name(enum cs_board_state s) {
    switch (s) {
    case CS_BOARD_ELSEWHERE:
        return "elsewhere";
    case CS_BOARD_STARTING:
        return "starting";
    case CS_BOARD_REPLAYING:
        return "replaying";
    case CS_BOARD_RUNNING:
        return "running";
    case CS_BOARD_WAITING:
        return "waiting";
    case CS_BOARD_STOPPED:
        return "stopped";
    }
    return "unknown";
}

bool cs_board_new(int32_t partition_count, struct cs_board **ret, struct cs_err *err) {
    struct cs_board *b = calloc(1, sizeof *b + (size_t)partition_count * sizeof b->entries[0]);
    if (!b)
        return cs_err_oom(err);
    pthread_mutex_init(&b->lock, NULL);
    b->count = partition_count;
    for (int32_t p = 0; p < partition_count; p++)
        b->entries[p] = (struct cs_board_entry){.next_offset = -1, .end_offset = -1};
    *ret = b;
    return true;
}

void cs_board_free(struct cs_board *b) {
    if (!b)
        return;
    pthread_mutex_destroy(&b->lock);
    free(b);
}

int32_t cs_board_partitions(const struct cs_board *b) {
    return b->count;
}

static void lock(const struct cs_board *b) {
    pthread_mutex_lock((pthread_mutex_t *)&b->lock);
}
static void unlock(const struct cs_board *b) {
    pthread_mutex_unlock((pthread_mutex_t *)&b->lock);
}

void cs_board_state(struct cs_board *b, int32_t partition, enum cs_board_state state, const char *reason) {
    lock(b);
    struct cs_board_entry *e = &b->entries[partition];
    e->state = state;
    snprintf(e->reason, sizeof e->reason, "%s", reason ? reason : "");
    if (state == CS_BOARD_ELSEWHERE)
        *e = (struct cs_board_entry){.next_offset = -1, .end_offset = -1};
    unlock(b);
}

void cs_board_progress(struct cs_board *b, int32_t partition, int64_t next_offset, int64_t end_offset,
                       int64_t outcomes, int64_t now_ms) {
    lock(b);
    struct cs_board_entry *e = &b->entries[partition];
    if (next_offset >= 0)
        e->next_offset = next_offset;
    if (end_offset >= 0)
        e->end_offset = end_offset;
    if (outcomes >= 0)
        e->outcomes = outcomes;
    e->progress_ms = now_ms;
    unlock(b);
}

int64_t cs_board_lag(const struct cs_board_entry *e) {
    if (e->next_offset < 0 || e->end_offset < 0)
        return -1;
    return e->end_offset > e->next_offset ? e->end_offset - e->next_offset : 0;
}

void cs_board_end(struct cs_board *b, int32_t partition, int64_t end_offset) {
    lock(b);
    b->entries[partition].end_offset = end_offset;
    unlock(b);
}

void cs_board_foreign(struct cs_board *b, int32_t partition, int64_t foreign) {
    lock(b);
    b->entries[partition].foreign = foreign;
    unlock(b);
}

void cs_board_oldest(struct cs_board *b, int32_t partition, int64_t oldest_ms) {
    lock(b);
    b->entries[partition].oldest_ms = oldest_ms;
    unlock(b);
}

void cs_board_share(struct cs_board *b, int32_t partition, int64_t share_ms) {
    lock(b);
    if (b->entries[partition].state != CS_BOARD_ELSEWHERE)
        b->entries[partition].share_ms = share_ms;
    unlock(b);
}

void cs_board_agents(struct cs_board *b, int32_t partition, const struct cs_board_agents *agents) {
    lock(b);
    if (b->entries[partition].state != CS_BOARD_ELSEWHERE)
        b->entries[partition].agents = *agents;
    unlock(b);
}

void cs_board_get(const struct cs_board *b, int32_t partition, struct cs_board_entry *ret) {
    lock(b);
    *ret = b->entries[partition];
    unlock(b);
}

bool cs_board_ready(const struct cs_board *b, char *why, size_t why_size) {
    lock(b);
    const struct cs_board_entry *first = NULL;
    int32_t first_partition = 0;
    int bad = 0;
    for (int32_t p = 0; p < b->count; p++) {
        const struct cs_board_entry *e = &b->entries[p];
        if (e->state == CS_BOARD_ELSEWHERE || e->state == CS_BOARD_RUNNING)
            continue;
        bad++;
        // A partition that needs a person is more worth telling than one that does not.
        if (!first || (e->state == CS_BOARD_STOPPED && first->state != CS_BOARD_STOPPED)) {
            first = e;
            first_partition = p;
        }
    }
    bool ready = bad == 0 && b->workers_joined >= b->workers_expected;
    if (first)
        snprintf(why, why_size, "partition %d is %s%s%s%s", (int)first_partition,
                 cs_board_state_name(first->state), first->reason[0] ? ": " : "", first->reason,
                 bad > 1 ? " (and others are not running)" : "");
    else if (!ready)
        snprintf(why, why_size, "%d of %d workers have joined the consumer group", b->workers_joined,
                 b->workers_expected);
    else
        snprintf(why, why_size, "%s", "");
    unlock(b);
    return ready;
}

void cs_board_worker_joined(struct cs_board *b, bool joined) {
    lock(b);
    b->workers_joined += joined ? 1 : -1;
    unlock(b);
}

void cs_board_expect_workers(struct cs_board *b, int workers) {
    lock(b);
    b->workers_expected = workers;
    unlock(b);
}
