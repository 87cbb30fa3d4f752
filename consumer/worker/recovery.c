// SPDX-License-Identifier: Apache-2.0
#include "worker/recovery.h"

#include "catalog/restore.h"
#include "certsync/runtime/fault.h"
#include "certsync/runtime/liveness.h"
#include "certsync/runtime/log.h"

#define PIECE_BUSY_MS 30000 // longest time for one piece

struct recovery {
    const struct cs_worker_context *x;
    struct cs_partition *p;
    bool (*own)(const struct cs_worker_context *x, struct cs_partition *p, struct cs_err *err);
};

static void refused(void *arg, const char *path, const char *why) {
    const struct recovery *r = arg;
    cs_log(CS_LOG_WARN, "a snapshot is not used", "partition=%d snapshot=%s reason=%s", (int)r->p->stand.id,
           path, why);
}

static bool own(void *arg, struct cs_err *err) {
    const struct recovery *r = arg;
    return r->own(r->x, r->p, err);
}

static bool go_on(void *arg, struct cs_err *err) {
    const struct cs_worker_context *x = ((const struct recovery *)arg)->x;
    cs_liveness_beat(x->liveness, PIECE_BUSY_MS);
    return !atomic_load(x->stopping) || cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "stopped");
}

static struct cs_snapshot_dir directory(const struct cs_worker_context *x) {
    return (struct cs_snapshot_dir){.path = x->c->settings->snapshot_dir,
                                    .crypto = x->crypto,
                                    .key = *cs_note_signer_key(x->signer),
                                    .log_id = x->c->log_id};
}

bool cs_recovery_restore(const struct cs_worker_context *x, struct cs_partition *p,
                         bool (*own_fn)(const struct cs_worker_context *x, struct cs_partition *p,
                                        struct cs_err *err),
                         bool *ret_done, struct cs_err *err) {
    const struct cs_consumer_settings *s = x->c->settings;
    const struct cs_stand *stand = &p->stand;
    struct recovery r = {x, p, own_fn};
    struct cs_snapshot_dir dir = directory(x);
    struct cs_snapshot taken;
    int64_t began_ms = cs_worker_now_ms(x);
    int64_t most = stand->published - s->snapshot_checked;
    *ret_done = false;
    if (!s->snapshot_dir[0] || stand->position.next_offset > 0 || most < 1)
        return true;
    const struct cs_restore how = {
        .dir = &dir,
        .catalog = x->catalog,
        .partition = stand->id,
        .epochs = stand->epochs,
        .most = p->below > 0 && p->below <= most ? p->below - 1 : most,
        .until = stand->published,
        .own = own,
        .go_on = go_on,
        .refused = refused,
        .arg = &r,
    };
    cs_board_state(x->c->board, stand->id, CS_BOARD_WAITING, "its catalog is restored from a snapshot");
    if (!cs_restore(&how, &taken, err))
        return false;
    *ret_done = taken.at.size > 0;
    if (*ret_done)
        cs_fault_point("after_restore");
    if (*ret_done)
        cs_log(CS_LOG_INFO,
               "the catalog is restored from a snapshot; what was published behind it is compared",
               "partition=%d snapshot=%lld published=%lld took_ms=%lld", (int)stand->id,
               (long long)taken.at.size, (long long)stand->published,
               (long long)(cs_worker_now_ms(x) - began_ms));
    else
        cs_log(CS_LOG_INFO,
               "no snapshot is good and old enough (snapshot.checked); all records are judged again",
               "partition=%d published=%lld checked=%lld", (int)stand->id, (long long)stand->published,
               (long long)s->snapshot_checked);
    return true;
}

bool cs_recovery_note(const struct cs_worker_context *x, struct cs_partition *p, struct cs_err *err) {
    p->restored = (struct cs_restored){0};
    return !x->c->settings->snapshot_dir[0] ||
           x->catalog->ops->restored(x->catalog, p->stand.id, &p->restored, err);
}

bool cs_recovery_doubts(const struct cs_worker_context *x, struct cs_partition *p, const struct cs_err *err) {
    struct recovery r = {.x = x, .p = p};
    struct cs_snapshot_dir dir = directory(x);
    char path[CS_SNAPSHOT_PATH] = "";
    const struct cs_snapshot taken = {.at.size = p->restored.outcomes,
                                      .epoch =
                                          cs_epoch_of(&p->stand.epochs, p->stand.id, p->restored.outcomes)};
    struct cs_err ignored;
    if ((err->kind != CS_ERR_FATAL && err->kind != CS_ERR_DAMAGED) || p->restored.outcomes == 0 ||
        p->stand.position.outcomes >= p->restored.until)
        return false;
    if (cs_snapshot_path(&dir, p->stand.id, &taken, "snap", path, &ignored))
        refused(&r, path, err->msg);
    p->below = p->restored.outcomes;
    p->restored = (struct cs_restored){0};
    p->renew = true;
    return true;
}
