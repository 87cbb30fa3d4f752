// SPDX-License-Identifier: Apache-2.0
//
// A courier's look at which certificates end. What was told is remembered by the notice's id, in the same
// transaction that puts the notice into the queue. So each is told of once, and none is left out.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/catalog.h"
#include "certsync/base/grow.h"
#include "certsync/runtime/log.h"
#include "notify/courier_internal.h"

#define PAST_S     (7 * 86400) // what ended before is not told any more
#define REMEMBER_S (8 * 86400) // after its end
#define TOLD_AHEAD CS_NOTE_AT_ONCE
#define SLACK_S    (2 * 86400) // a day that is not over, and one hour more or less

struct candidate {
    struct cs_notice notice;
    struct cs_expiring_one one;
};

struct look {
    struct cs_courier *c;
    int32_t partition;
    int64_t now_s;
    struct candidate *list; // that are due, as far as the index tells
    size_t len, cap;
};

// The shortest distance that has come, in *ret_ms; 0: it has ended. False: none has.
static bool stage_of(const struct cs_notice_settings *n, int64_t ends_s, int64_t now_s, int64_t *ret_ms) {
    int64_t best = -1, ms = 0;
    if (ends_s <= now_s) {
        *ret_ms = 0;
        return true;
    }
    for (size_t i = 0; cs_settings_notice_before(n, i, &ms); i++)
        if (cs_expiring_is_due(ends_s, ms, now_s) && (best < 0 || ms < best))
            best = ms;
    *ret_ms = best;
    return best >= 0;
}

static bool on_one(void *arg, const struct cs_expiring_one *one, struct cs_err *err) {
    struct look *l = arg;
    struct cs_notice n;
    int64_t before_ms = 0;
    if (!stage_of(l->c->section, one->ends_s, l->now_s, &before_ms))
        return true;
    const struct cs_notice_expiry x = {one->account, one->owner,  one->certificate,
                                       one->name,    one->ends_s, before_ms};
    cs_notice_of_expiry(l->c->crypto, l->c->o.log_id, l->partition, &x, l->now_s * 1000, &n);
    if (!cs_notice_is_wanted(l->c->section, &n))
        return true;
    if (!CS_GROW(&l->list, &l->cap, l->len + 1))
        return cs_err_oom(err);
    l->list[l->len++] = (struct candidate){n, *one};
    return true;
}

// --- what the certificate itself says

static const char *key_of(cs_key ret, const struct cs_expiring_one *one) {
    return one->owner[0] ? cs_key_shared_in(ret, one->account, one->owner, one->certificate)
                         : cs_key_cert(ret, one->account, one->certificate);
}

static bool tags_match(const struct cs_list *patterns, const struct cs_tag_list *tags) {
    for (size_t i = 0; i < patterns->count; i++)
        for (size_t k = 0; k < tags->len; k++)
            if (cs_pattern_matches(patterns->items[i], tags->tag[k]))
                return true;
    return patterns->count == 0;
}

// False: the certificate is another by now, or not one that the section asks for.
static bool read_summary(struct candidate *x, const struct cs_notice_settings *section,
                         const struct cs_cert_summary *s) {
    if (cs_summary_ends(s) != x->one.ends_s || !tags_match(&section->tags, &s->tags))
        return false;
    x->notice.version = s->version;
    x->notice.leaves_len = s->leaves_len;
    for (size_t i = 0; i < s->leaves_len; i++) {
        memcpy(x->notice.leaves[i].sha256, s->leaves[i].sha256, sizeof s->leaves[i].sha256);
        memcpy(x->notice.leaves[i].serial, s->leaves[i].serial, sizeof s->leaves[i].serial);
        x->notice.leaves[i].not_after_s = s->leaves[i].not_after_s;
    }
    return true;
}

static bool read_document(struct candidate *x, const struct cs_notice_settings *section, struct cs_bytes doc,
                          bool *ret_wanted, struct cs_err *err) {
    CS_AUTO(cs_certificate_clear) struct cs_certificate own = {0};
    CS_AUTO(cs_shared_in_clear) struct cs_shared_in in = {0};
    if (x->one.owner[0]) {
        if (!cs_shared_in_decode(doc, &in, err))
            return false;
        *ret_wanted = read_summary(x, section, &in.summary);
        return true;
    }
    if (!cs_certificate_decode(doc, &own, err))
        return false;
    *ret_wanted = !own.deleted && read_summary(x, section, &own.summary);
    return true;
}

// Those of the n candidates that are still as the index said; *ret_n of them, at the front.
static bool read_documents(struct look *l, struct candidate *list, size_t n, size_t *ret_n,
                           struct cs_err *err) {
    CS_AUTO(cs_state_free) struct cs_state *state = NULL;
    struct cs_position at;
    struct cs_bytes doc;
    size_t kept = 0;
    cs_key key;
    if (!cs_state_new(false, &state, err))
        return false;
    for (size_t i = 0; i < n; i++)
        (void)cs_state_get(state, key_of(key, &list[i].one), &doc);
    if (!cs_catalog_load(l->c->catalog, l->partition, state, &at, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        bool wanted = false;
        enum cs_look look = cs_state_get(state, key_of(key, &list[i].one), &doc);
        if (look == CS_NEEDED) {
            if (!cs_catalog_load(l->c->catalog, l->partition, state, &at, err))
                return false;
            look = cs_state_get(state, key_of(key, &list[i].one), &doc);
        }
        if (look == CS_FOUND && !read_document(&list[i], l->c->section, doc, &wanted, err))
            return false;
        if (wanted)
            list[kept++] = list[i];
    }
    *ret_n = kept;
    return true;
}

// --- telling

static bool tell_some(struct look *l, struct candidate *list, size_t n, struct cs_err *err) {
    static const int64_t second = 1000;
    struct cs_courier *c = l->c;
    cs_uuid ids[TOLD_AHEAD];
    bool told[TOLD_AHEAD] = {false};
    size_t fresh = 0, kept = 0;
    for (size_t i = 0; i < n; i++)
        memcpy(ids[i], list[i].notice.id, sizeof ids[i]);
    if (!cs_note_told(c->store, l->partition, ids, n, l->now_s * second, told, err))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!told[i])
            list[fresh++] = list[i];
    if (fresh == 0)
        return true;
    if (!read_documents(l, list, fresh, &kept, err))
        return false;
    courier_batch_begin(c);
    for (size_t i = 0; i < kept; i++)
        courier_batch_add(c, &list[i].notice, (list[i].one.ends_s + REMEMBER_S) * second);
    return courier_batch_end(c, l->partition, err);
}

static bool look_at(struct cs_courier *c, int32_t p, int64_t longest_s, struct cs_err *err) {
    struct look l = {.c = c, .partition = p, .now_s = courier_wall_ms(c) / 1000};
    bool ok =
        cs_expiring_each(c->expiring, p, l.now_s - PAST_S, l.now_s + longest_s + SLACK_S, on_one, &l, err);
    for (size_t i = 0; ok && i < l.len && c->begun && !atomic_load(&c->stopping); i += TOLD_AHEAD) {
        cs_liveness_beat(&c->liveness, 60000);
        ok = tell_some(&l, l.list + i, l.len - i < TOLD_AHEAD ? l.len - i : TOLD_AHEAD, err);
    }
    free(l.list);
    return ok;
}

// Whether the catalog is as far as the outcomes that were followed. One that is made again from the log
// has old certificates for a while.
static bool is_fresh(struct cs_courier *c, int32_t p, bool *ret, struct cs_err *err) {
    CS_AUTO(cs_state_free) struct cs_state *state = NULL;
    struct cs_position at;
    if (!cs_state_new(false, &state, err) || !cs_catalog_load(c->catalog, p, state, &at, err))
        return false;
    *ret = at.outcomes >= c->partitions[p].at.n;
    return true;
}

static bool asks_for_it(const struct cs_notice_settings *n, int64_t *ret_longest_s) {
    int64_t ms = 0;
    bool asked = false;
    *ret_longest_s = 0;
    for (size_t i = 0; i < n->on.count; i++)
        asked |= strcmp(n->on.items[i], cs_notice_kind_word(CS_NOTICE_EXPIRING)) == 0;
    for (size_t i = 0; cs_settings_notice_before(n, i, &ms); i++)
        if (ms / 1000 > *ret_longest_s)
            *ret_longest_s = ms / 1000;
    return asked;
}

static bool open_readers(struct cs_courier *c, struct cs_err *err) {
    const char *name_space = c->o.settings->redis_namespace;
    return (c->catalog ||
            cs_catalog_redis_new(c->o.redis, name_space, c->o.service->own, c->o.log_id, &c->catalog, err)) &&
           (c->expiring ||
            cs_expiring_new(c->o.redis, name_space, c->o.service->own, c->o.log_id, &c->expiring, err));
}

bool courier_look_at_expiry(struct cs_courier *c, struct cs_err *err) {
    int64_t longest_s = 0;
    if (!asks_for_it(c->section, &longest_s))
        return true;
    if (!open_readers(c, err))
        return false;
    for (int32_t p = 0; p < c->o.partition_count && c->begun && !atomic_load(&c->stopping); p++) {
        struct courier_partition *t = &c->partitions[p];
        bool fresh = false;
        if (courier_mono_ms(c) < t->look_due_ms || t->waiting >= c->o.settings->notify_queue_max)
            continue;
        cs_liveness_beat(&c->liveness, 60000);
        if (!is_fresh(c, p, &fresh, err))
            return false;
        if (!fresh)
            continue;
        if (!look_at(c, p, longest_s, err))
            return false;
        t->look_due_ms = courier_mono_ms(c) + c->o.settings->notify_look_every_ms;
    }
    return true;
}
