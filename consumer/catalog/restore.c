// SPDX-License-Identifier: Apache-2.0
#include "catalog/restore.h"

#define PIECE ((size_t)4 * 1024 * 1024)

struct restoring {
    const struct cs_restore *r;
    struct cs_state *state;
    bool first;
};

// --- the first reading: whether it is good

static bool go_on(const struct cs_restore *r, struct cs_err *err) {
    return !r->go_on || r->go_on(r->arg, err);
}

static bool wants_nothing(void *arg, const char *key) {
    (void)arg, (void)key;
    return false;
}

static bool nothing_taken(void *arg, struct cs_state *state, struct cs_err *err) {
    (void)state;
    return go_on(arg, err);
}

static bool is_good(const struct cs_restore *r, const struct cs_snapshot *s, struct cs_position *ret,
                    struct cs_err *err) {
    CS_AUTO(cs_state_free) struct cs_state *nothing = NULL;
    const struct cs_snapshot_filter filter = {wants_nothing, (void *)r, nothing_taken};
    return cs_state_new(false, &nothing, err) &&
           cs_snapshot_load(r->dir, r->partition, s, &filter, nothing, ret, err) &&
           (!r->is_place || r->is_place(r->arg, ret, err));
}

// --- the second one: it is written

static bool wants_all(void *arg, const char *key) {
    (void)arg, (void)key;
    return true;
}

static bool write_piece(struct restoring *w, const struct cs_position *to, const struct cs_restored *from,
                        struct cs_err *err) {
    const struct cs_restore *r = w->r;
    bool moved = false;
    if (!r->catalog->ops->restore(r->catalog, r->partition, w->state, w->first, to, from, &moved, err))
        return false;
    if (moved)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "somebody else writes the catalog of partition %d",
                          (int)r->partition);
    w->first = false;
    cs_state_changes_clear(w->state);
    cs_state_forget(w->state);
    return go_on(r, err);
}

static bool taken(void *arg, struct cs_state *state, struct cs_err *err) {
    return cs_state_held(state) < PIECE || write_piece(arg, NULL, NULL, err);
}

static bool write_all(const struct cs_restore *r, const struct cs_snapshot *s, struct cs_err *err) {
    CS_AUTO(cs_state_free) struct cs_state *state = NULL;
    struct restoring w = {.r = r, .first = true};
    const struct cs_snapshot_filter filter = {wants_all, &w, taken};
    const struct cs_restored from = {s->at.size, r->until};
    struct cs_position at;
    if (!cs_state_new(false, &state, err))
        return false;
    w.state = state;
    if (!cs_snapshot_load(r->dir, r->partition, s, &filter, state, &at, err)) {
        if (err->kind == CS_ERR_REJECT) // it was good: the file was changed
            err->kind = CS_ERR_RETRY;
        return false;
    }
    return write_piece(&w, &at, &from, err);
}

bool cs_restore(const struct cs_restore *r, struct cs_snapshot *ret, struct cs_err *err) {
    CS_AUTO(cs_snapshots_clear) struct cs_snapshot_list list = {0};
    char path[CS_SNAPSHOT_PATH];
    struct cs_position at;
    *ret = (struct cs_snapshot){0};
    if (!cs_snapshots_list(r->dir, r->partition, r->refused, r->arg, &list, err))
        return false;
    for (size_t i = list.len; i-- > 0;) {
        const struct cs_snapshot *s = &list.items[i];
        bool set_aside = false;
        if (s->at.size > r->most)
            continue;
        bool counts = cs_snapshot_counts(&r->epochs, r->partition, s, &set_aside, err);
        if (set_aside)
            continue;
        if (counts && is_good(r, s, &at, err)) {
            *ret = *s;
            return (!r->own || r->own(r->arg, err)) && write_all(r, s, err);
        }
        if (err->kind != CS_ERR_REJECT && err->kind != CS_ERR_CONFIG)
            return false;
        struct cs_err why = *err;
        if (!cs_snapshot_path(r->dir, r->partition, s, "snap", path, err))
            return false;
        r->refused(r->arg, path, why.msg);
    }
    return true;
}
