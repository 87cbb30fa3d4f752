// SPDX-License-Identifier: Apache-2.0
#include "worker/board.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cs_board {
    pthread_mutex_t lock;
    int workers_expected;
    int workers_joined;
    char troubles[CS_BOARD_TROUBLES][CS_TROUBLE_TEXT_MAX];
    char (*outside)[CS_TROUBLE_TEXT_MAX]; // of CS_TROUBLE_GROUP, by worker: at most one a partition
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

const char *cs_board_trouble_name(enum cs_board_trouble t) {
    switch (t) {
    case CS_TROUBLE_GROUP:
        return "group";
    case CS_TROUBLE_KAFKA:
        return "kafka";
    case CS_TROUBLE_TOPICS:
        return "topics";
    case CS_TROUBLE_RIGHTS:
        return "redis_rights";
    case CS_TROUBLE_REDIS:
        return "redis";
    case CS_TROUBLE_HEARTBEATS:
        return "heartbeats";
    }
    return "unknown";
}

static void nobodys(struct cs_board_entry *e) {
    *e = (struct cs_board_entry){.next_offset = -1, .end_offset = -1, .reached = -1, .owner = -1};
}

bool cs_board_new(int32_t partition_count, struct cs_board **ret, struct cs_err *err) {
    struct cs_board *b = calloc(1, sizeof *b + (size_t)partition_count * sizeof b->entries[0]);
    if (!b)
        return cs_err_oom(err);
    b->outside = calloc((size_t)partition_count, sizeof b->outside[0]);
    if (!b->outside) {
        free(b);
        return cs_err_oom(err);
    }
    pthread_mutex_init(&b->lock, NULL);
    b->count = partition_count;
    for (int32_t p = 0; p < partition_count; p++)
        nobodys(&b->entries[p]);
    *ret = b;
    return true;
}

void cs_board_free(struct cs_board *b) {
    if (!b)
        return;
    pthread_mutex_destroy(&b->lock);
    free(b->outside);
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
    e->certificates.known = e->certificates.known && state == CS_BOARD_RUNNING;
    snprintf(e->reason, sizeof e->reason, "%s", reason ? reason : "");
    if (state == CS_BOARD_ELSEWHERE)
        nobodys(e);
    unlock(b);
}

void cs_board_take(struct cs_board *b, int32_t partition, int worker) {
    lock(b);
    struct cs_board_entry *e = &b->entries[partition];
    e->state = CS_BOARD_STARTING;
    e->certificates.known = false;
    e->reason[0] = '\0';
    e->owner = worker;
    e->let_go = false;
    unlock(b);
}

void cs_board_let_go(struct cs_board *b, int32_t partition, int worker, const char *why) {
    lock(b);
    struct cs_board_entry *e = &b->entries[partition];
    if (e->owner == worker) {
        e->state = CS_BOARD_WAITING;
        e->certificates.known = false;
        snprintf(e->reason, sizeof e->reason, "%s", why);
        e->let_go = true;
    }
    unlock(b);
}

void cs_board_settle(struct cs_board *b, int worker) {
    lock(b);
    for (int32_t p = 0; p < b->count; p++)
        if (b->entries[p].owner == worker && b->entries[p].let_go)
            nobodys(&b->entries[p]);
    unlock(b);
}

void cs_board_trouble(struct cs_board *b, enum cs_board_trouble t, const char *text) {
    lock(b);
    snprintf(b->troubles[t], sizeof b->troubles[t], "%s", text ? text : "");
    unlock(b);
}

void cs_board_worker_trouble(struct cs_board *b, int worker, const char *text) {
    const char *first = "";
    lock(b);
    snprintf(b->outside[worker], sizeof b->outside[worker], "%s", text ? text : "");
    for (int32_t w = b->count - 1; w >= 0; w--)
        if (b->outside[w][0])
            first = b->outside[w];
    snprintf(b->troubles[CS_TROUBLE_GROUP], sizeof b->troubles[CS_TROUBLE_GROUP], "%s", first);
    unlock(b);
}

void cs_board_trouble_get(const struct cs_board *b, enum cs_board_trouble t, char out[CS_TROUBLE_TEXT_MAX]) {
    lock(b);
    memcpy(out, b->troubles[t], sizeof b->troubles[t]);
    unlock(b);
}

bool cs_board_may_publish(const struct cs_board *b, struct cs_err *err) {
    static const enum cs_board_trouble forbids[] = {CS_TROUBLE_TOPICS, CS_TROUBLE_REDIS};
    char text[CS_TROUBLE_TEXT_MAX];
    for (size_t i = 0; i < CS_ARRAY_LEN(forbids); i++) {
        cs_board_trouble_get(b, forbids[i], text);
        if (text[0])
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "%s", text);
    }
    return true;
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
    int64_t applied = e->reached > e->next_offset ? e->reached : e->next_offset;
    return e->end_offset > applied ? e->end_offset - applied : 0;
}

void cs_board_reached(struct cs_board *b, int32_t partition, int64_t end_offset, int64_t now_ms) {
    lock(b);
    struct cs_board_entry *e = &b->entries[partition];
    e->reached = end_offset;
    e->end_offset = end_offset;
    e->progress_ms = now_ms;
    unlock(b);
}

void cs_board_end_seen(struct cs_board *b, int32_t partition, int64_t end_offset) {
    lock(b);
    struct cs_board_entry *e = &b->entries[partition];
    if (e->state != CS_BOARD_ELSEWHERE && end_offset > e->end_offset)
        e->end_offset = end_offset;
    unlock(b);
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

void cs_board_checkpoint(struct cs_board *b, int32_t partition, int64_t epoch, int64_t outcomes,
                         const uint8_t root[32]) {
    lock(b);
    b->entries[partition].checkpointed = outcomes;
    b->entries[partition].checkpoint_epoch = epoch;
    memcpy(b->entries[partition].checkpoint_root, root, sizeof b->entries[partition].checkpoint_root);
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

void cs_board_certificates(struct cs_board *b, int32_t partition,
                           const struct cs_board_certificates *certificates) {
    lock(b);
    struct cs_board_entry *e = &b->entries[partition];
    if (!certificates->known)
        e->certificates.known = false;
    else if (e->state == CS_BOARD_RUNNING && e->owner == certificates->worker && !e->damaged)
        e->certificates = *certificates;
    unlock(b);
}

void cs_board_keys_ended(struct cs_board *b, int32_t partition) {
    lock(b);
    b->entries[partition].ended_keys++;
    unlock(b);
}

void cs_board_damaged(struct cs_board *b, int32_t partition, int64_t generation, const char *what) {
    lock(b);
    struct cs_board_entry *e = &b->entries[partition];
    if (e->state != CS_BOARD_ELSEWHERE) {
        e->damaged = generation;
        e->certificates.known = e->certificates.known && generation == 0;
        snprintf(e->damage, sizeof e->damage, "%s", what ? what : "");
    }
    unlock(b);
}

int64_t cs_board_damage(const struct cs_board *b, int32_t partition) {
    lock(b);
    int64_t damaged = b->entries[partition].damaged;
    unlock(b);
    return damaged;
}

void cs_board_get(const struct cs_board *b, int32_t partition, struct cs_board_entry *ret) {
    lock(b);
    *ret = b->entries[partition];
    unlock(b);
}

// The partition to report: first one that needs a person. -1: all run.
static int32_t worst_partition(const struct cs_board *b, int *ret_bad) {
    int32_t worst = -1;
    *ret_bad = 0;
    for (int32_t p = 0; p < b->count; p++) {
        const struct cs_board_entry *e = &b->entries[p];
        if (e->state == CS_BOARD_ELSEWHERE || e->state == CS_BOARD_RUNNING)
            continue;
        ++*ret_bad;
        if (worst < 0 || (e->state == CS_BOARD_STOPPED && b->entries[worst].state != CS_BOARD_STOPPED))
            worst = p;
    }
    return worst;
}

static const char *first_trouble(const struct cs_board *b) {
    for (int t = CS_BOARD_TROUBLES - 1; t >= 0; t--)
        if (b->troubles[t][0] && t != CS_TROUBLE_HEARTBEATS)
            return b->troubles[t];
    return NULL;
}

bool cs_board_ready(const struct cs_board *b, char *why, size_t why_size) {
    int bad = 0;
    lock(b);
    int32_t worst = worst_partition(b, &bad);
    const char *trouble = first_trouble(b);
    const struct cs_board_entry *e = worst >= 0 ? &b->entries[worst] : NULL;
    bool ready = !e && !trouble && b->workers_joined >= b->workers_expected;
    if (trouble && (!e || e->state != CS_BOARD_STOPPED))
        snprintf(why, why_size, "%s", trouble);
    else if (e)
        snprintf(why, why_size, "partition %d is %s%s%s%s", (int)worst, cs_board_state_name(e->state),
                 e->reason[0] ? ": " : "", e->reason, bad > 1 ? " (and others are not running)" : "");
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
