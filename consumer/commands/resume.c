// SPDX-License-Identifier: Apache-2.0
#include "commands/resume.h"

#include <inttypes.h>
#include <string.h>

#include "commands/places.h"

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

// The record before the position. *ret_late: it comes after the moment.
static bool check_record(struct cs_operator *op, const struct cs_position *at, int32_t partition,
                         const struct cs_moment *until, bool *ret_late, struct cs_err *err) {
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
    *ret_late = until && cs_moment_before(until, &r);
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

static bool try_one(struct cs_operator *op, const struct cs_snapshot_dir *d, int32_t partition,
                    const struct cs_moment *until, struct cs_chain *chain, const struct cs_snapshot *s,
                    bool *ret_late, struct cs_err *err) {
    *ret_late = until && until->given && until->offset >= 0 &&
                (until->partition < 0 || until->partition == partition) && s->next_offset > until->offset;
    if (*ret_late)
        return true;
    if (!cs_snapshot_load(d, partition, s, op->replay, err))
        return false;
    const struct cs_position *at = cs_replay_position(op->replay);
    return check_record(op, at, partition, until, ret_late, err) &&
           (*ret_late || !chain || check_outcome(op, at, partition, chain, err));
}

// --- the newest one

static void begin(struct cs_operator *op, int32_t partition, struct cs_chain *chain) {
    cs_replay_begin(op->replay, partition);
    if (chain)
        *chain = (struct cs_chain){0};
}

static void say_what_instead(const struct cs_operator *op, const struct cs_snapshot *s, int32_t partition) {
    if (s->at.size > 0)
        fprintf(op->cli->err, "%s: partition %d goes on from the snapshot of %" PRId64 " outcomes\n",
                op->cli->path, (int)partition, s->at.size);
    else
        fprintf(op->cli->err, "%s: partition %d is judged from its first record\n", op->cli->path,
                (int)partition);
}

bool cs_resume(struct cs_operator *op, const struct cs_snapshot_dir *d, int32_t partition,
               const struct cs_moment *until, struct cs_chain *chain, struct cs_snapshot *ret,
               struct cs_err *err) {
    CS_AUTO(cs_snapshots_clear) struct cs_snapshot_list list = {0};
    char path[CS_SNAPSHOT_PATH];
    *ret = (struct cs_snapshot){0};
    if (!cs_snapshots_list(d, partition, cs_resume_refused, op, &list, err))
        return false;
    for (size_t i = list.len; i-- > 0 && ret->at.size == 0;) {
        bool late = false;
        if (try_one(op, d, partition, until, chain, &list.items[i], &late, err)) {
            if (!late)
                *ret = list.items[i];
            continue;
        }
        if (err->kind != CS_ERR_REJECT && err->kind != CS_ERR_CONFIG)
            return false;
        list.refused++;
        if (!cs_snapshot_path(d, partition, list.items[i].at.size, path, err))
            return false;
        cs_resume_refused(op, path, err->msg);
    }
    if (ret->at.size == 0)
        begin(op, partition, chain);
    if (list.refused > 0)
        say_what_instead(op, ret, partition);
    return true;
}
