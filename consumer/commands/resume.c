// SPDX-License-Identifier: Apache-2.0
#include "commands/resume.h"

#include <inttypes.h>
#include <string.h>

#include "commands/places.h"

static bool load(struct cs_operator *op, const struct cs_resume *r, const struct cs_snapshot *s,
                 struct cs_err *err) {
    struct cs_position at;
    cs_replay_begin(op->replay, r->partition);
    if (!cs_snapshot_load(r->dir, r->partition, s, r->wanted, cs_replay_state(op->replay), &at, err))
        return false;
    cs_replay_resume(op->replay, &at);
    return true;
}

bool cs_resume_dir(struct cs_operator *op, const char *checkpoint_key, struct cs_snapshot_dir *ret, char *why,
                   size_t why_size) {
    struct cs_err err;
    *ret = (struct cs_snapshot_dir){
        .path = op->settings->snapshot_dir, .crypto = op->crypto, .log_id = op->log_id};
    why[0] = '\0';
    if (!ret->path[0] || cs_operator_checkpoint_key(op, checkpoint_key, &ret->key, &err))
        return ret->path[0];
    snprintf(why, why_size, "%s", err.msg);
    return false;
}

void cs_resume_refused(void *arg, const char *path, const char *why) {
    const struct cs_operator *op = arg;
    fprintf(op->cli->err, "%s: the snapshot %s is not used: %s\n", op->cli->path, path, why);
}

// --- whether a snapshot is at a place of this log

static bool elsewhere(struct cs_err *err, const char *what) {
    return cs_err_set(
        err, CS_ERR_REJECT, CS_CODE_NONE,
        "it is not of this log: %s; the topic was made anew, cut or rewritten, or the snapshot is "
        "of another one",
        what);
}

// The record before the position; borrowed as by next.
static bool check_record(struct cs_operator *op, const struct cs_position *at, int32_t partition,
                         struct cs_record *ret, struct cs_err *err) {
    struct cs_log *log = op->events;
    struct cs_record r;
    uint8_t sha256[32];
    bool end = partition >= log->partitions || at->next_offset < 1 ||
               at->next_offset > op->event_bounds[partition].high;
    if (!end && (!log->ops->start(log, partition, at->next_offset - 1, at->next_offset, err) ||
                 !log->ops->next(log, &r, &end, err)))
        return false;
    if (end)
        return elsewhere(err, "the record at its offset is not there");
    cs_record_sha256(op->crypto, &r, sha256);
    if (r.offset != at->next_offset - 1 || memcmp(sha256, at->record_sha256, 32) != 0)
        return elsewhere(err, "the record at its offset is another one");
    *ret = r;
    return true;
}

// The outcome before the position. It is found near its offset; what was written twice moves it.
static bool check_outcome(struct cs_operator *op, const struct cs_position *at, int32_t partition,
                          struct cs_chain *chain, struct cs_err *err) {
    struct cs_record r;
    bool end = false;
    if (!cs_places_published(op, partition, at->outcomes, chain, err))
        return false;
    if (chain->last > at->outcomes)
        *chain = (struct cs_chain){0};
    while (chain->last < at->outcomes) {
        if (!cs_operator_published(op, partition, chain, &r, &end, err))
            return false;
        if (end)
            return elsewhere(err, "there are fewer outcomes");
    }
    return memcmp(chain->sha256, at->chain_sha256, 32) == 0 ||
           elsewhere(err, "its last outcome is another one");
}

static bool is_late(const struct cs_resume *r, const struct cs_snapshot *s) {
    const struct cs_moment *m = r->until;
    return m && m->given && m->offset >= 0 && (m->partition < 0 || m->partition == r->partition) &&
           s->next_offset > m->offset;
}

// *ret_passed: it is good, and not wanted: it comes after the moment, or was set aside.
static bool try_one(struct cs_operator *op, struct cs_resume *r, const struct cs_snapshot *s,
                    bool *ret_passed, struct cs_err *err) {
    struct cs_record record;
    *ret_passed = is_late(r, s);
    if (*ret_passed)
        return true;
    if (!cs_snapshot_counts(&op->epochs, r->partition, s, ret_passed, err) || *ret_passed)
        return *ret_passed;
    if (!load(op, r, s, err))
        return false;
    const struct cs_position *at = cs_replay_position(op->replay);
    if (!check_record(op, at, r->partition, &record, err))
        return false;
    r->last_ms = record.timestamp_ms;
    *ret_passed = r->until && cs_moment_before(r->until, &record);
    return *ret_passed || !r->chain || check_outcome(op, at, r->partition, r->chain, err);
}

// --- the newest one

static void say_what_instead(const struct cs_operator *op, const struct cs_resume *r) {
    if (r->snapshot.at.size > 0)
        fprintf(op->cli->err, "%s: partition %d goes on from the snapshot of %" PRId64 " outcomes\n",
                op->cli->path, (int)r->partition, r->snapshot.at.size);
    else
        fprintf(op->cli->err, "%s: partition %d is judged from its first record\n", op->cli->path,
                (int)r->partition);
}

static bool take_newest(struct cs_operator *op, struct cs_resume *r, struct cs_snapshot_list *list,
                        struct cs_err *err) {
    char path[CS_SNAPSHOT_PATH];
    for (size_t i = list->len; i-- > 0;) {
        bool passed = false;
        if (try_one(op, r, &list->items[i], &passed, err)) {
            if (passed)
                continue;
            r->snapshot = list->items[i];
            return true;
        }
        if (err->kind != CS_ERR_REJECT && err->kind != CS_ERR_CONFIG)
            return false;
        struct cs_err why = *err;
        list->refused++;
        if (!cs_snapshot_path(r->dir, r->partition, &list->items[i], "snap", path, err))
            return false;
        cs_resume_refused(op, path, why.msg);
    }
    cs_replay_begin(op->replay, r->partition);
    if (r->chain)
        *r->chain = (struct cs_chain){0};
    return true;
}

bool cs_resume(struct cs_operator *op, struct cs_resume *r, struct cs_err *err) {
    CS_AUTO(cs_snapshots_clear) struct cs_snapshot_list list = {0};
    r->snapshot = (struct cs_snapshot){0};
    if (r->dir && !cs_snapshots_list(r->dir, r->partition, cs_resume_refused, op, &list, err))
        return false;
    if (!take_newest(op, r, &list, err))
        return false;
    if (list.refused > 0)
        say_what_instead(op, r);
    return true;
}

bool cs_resume_again(struct cs_operator *op, const struct cs_resume *r, struct cs_err *err) {
    if (r->snapshot.at.size > 0)
        return load(op, r, &r->snapshot, err);
    cs_replay_begin(op->replay, r->partition);
    return true;
}

const struct cs_snapshot_dir *cs_resume_from(struct cs_operator *op, struct cs_snapshot_dir *room) {
    char why[CS_ERR_MSG_MAX];
    if (cs_resume_dir(op, NULL, room, why, sizeof why))
        return room;
    if (why[0])
        fprintf(op->cli->err, "%s: snapshots are not used: %s\n", op->cli->path, why);
    return NULL;
}
