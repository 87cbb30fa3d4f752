// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "certsync/base/keyed.h"
#include "certsync/base/text.h"
#include "certsync/model/event.h"
#include "certsync/model/outcome.h"
#include "commands/places.h"
#include "commands/resume.h"

struct item { // an account or a key
    struct cs_keyed keyed;
    char text[CS_ACCOUNT_MAX + 1];
};

struct selection {
    struct cs_operator *op;
    struct cs_account_walk *w;
    struct cs_keyed_table accounts;
    struct cs_keyed_table kids;    // that signed for one of them
    struct cs_keyed_table trusted; // root, and keys that it was to trust
    struct cs_keyed_table others;  // keys of accounts whose catalog was left in the snapshot
    bool grew;                     // accounts were added: what was read before must be read again
    bool oom;
};

// What a record says of itself.
struct head {
    char account[CS_ACCOUNT_MAX + 1]; // "": none
    cs_kid kid;
    cs_kid trusts; // the key of a trust.add; "": none
};

static bool add(struct cs_keyed_table *t, const char *text, bool *ret_new) {
    if (cs_keyed_get(t, text))
        return true;
    struct item *i = calloc(1, sizeof *i);
    if (!i)
        return false;
    snprintf(i->text, sizeof i->text, "%s", text);
    i->keyed = cs_keyed_of(i->text);
    if (!cs_keyed_add(t, &i->keyed)) {
        free(i);
        return false;
    }
    if (ret_new)
        *ret_new = true;
    return true;
}

static void table_clear(struct cs_keyed_table *t) {
    for (size_t i = 0; i < t->len; i++)
        free(t->items[i]);
    cs_keyed_free(t);
}

// --- who signs a record, and for whom

static bool skip(const char **at, const char *end, const char *text) {
    size_t len = strlen(text);
    if ((size_t)(end - *at) < len || memcmp(*at, text, len) != 0)
        return false;
    *at += len;
    return true;
}

static bool take(const char **at, const char *end, char until, char *ret, size_t size) {
    const char *stop = memchr(*at, until, (size_t)(end - *at));
    size_t len = stop ? (size_t)(stop - *at) : 0;
    if (!stop || len >= size || memchr(*at, '\\', len) || memchr(*at, '"', len))
        return false;
    memcpy(ret, *at, len);
    ret[len] = '\0';
    *at = stop + 1;
    return true;
}

// An event of an account, as its senders write it: {"specversion":…,"type":…,"id":…,"source":"//…". Its
// source is in its first bytes, so the rest need not be read.
static bool read_head(struct cs_bytes value, struct head *ret) {
    const char *at = (const char *)value.data;
    const char *end = at + value.len;
    char type[64], id[64], log[CS_DEPLOYMENT_MAX + 32];
    return skip(&at, end, "{\"specversion\":\"1.0\",\"type\":\"") && take(&at, end, '"', type, sizeof type) &&
           skip(&at, end, ",\"id\":\"") && take(&at, end, '"', id, sizeof id) &&
           skip(&at, end, ",\"source\":\"//") && take(&at, end, '/', log, sizeof log) &&
           skip(&at, end, "accounts/") && take(&at, end, '/', ret->account, sizeof ret->account) &&
           skip(&at, end, "keys/") && take(&at, end, '"', ret->kid, sizeof ret->kid);
}

// False: no event, which changes nothing.
static bool look(struct cs_bytes value, struct head *ret) {
    *ret = (struct head){0};
    if (!value.data)
        return false;
    if (read_head(value, ret))
        return true;
    CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
    struct cs_err ignored;
    *ret = (struct head){0};
    if (!cs_event_decode(value, &ev, &ignored))
        return false;
    memcpy(ret->account, ev->account, sizeof ret->account);
    memcpy(ret->kid, ev->kid, sizeof ret->kid);
    if (ev->type == CS_EVENT_TRUST_ADD)
        snprintf(ret->trusts, sizeof ret->trusts, "%.32s", ev->subject);
    return true;
}

// --- the closure

static bool mine(const struct selection *s, const struct head *h) {
    return h->account[0] == '\0' || cs_keyed_get(&s->accounts, h->account) ||
           cs_keyed_get(&s->trusted, h->kid);
}

static void gather(struct selection *s, const struct head *h) {
    bool ok = true;
    if (h->trusts[0])
        ok = add(&s->trusted, h->trusts, NULL);
    if (h->account[0] && cs_keyed_get(&s->accounts, h->account))
        ok = ok && add(&s->kids, h->kid, NULL);
    else if (h->account[0] && cs_keyed_get(&s->kids, h->kid) && !cs_keyed_get(&s->trusted, h->kid))
        ok = ok && add(&s->accounts, h->account, &s->grew);
    s->oom |= !ok;
}

// Up to the moment. fn: of each record.
static bool read_until(struct selection *s,
                       bool (*fn)(struct selection *s, const struct cs_record *r, const struct head *h,
                                  struct cs_err *err),
                       struct cs_err *err) {
    struct cs_operator *op = s->op;
    struct cs_log *log = op->events;
    struct cs_account_walk *w = s->w;
    int64_t from = cs_replay_position(op->replay)->next_offset;
    bool end = w->partition >= log->partitions;
    w->records = 0;
    if (!end && !log->ops->start(log, w->partition, from, op->event_bounds[w->partition].high, err))
        return false;
    while (!end) {
        struct cs_record r;
        struct head h;
        if (!log->ops->next(log, &r, &end, err))
            return false;
        if (end || cs_moment_before(w->until, &r))
            break;
        w->records++;
        w->last_offset = r.offset;
        w->last_ms = r.timestamp_ms;
        if (look(r.value, &h) && !fn(s, &r, &h, err))
            return false;
        if (s->oom)
            return cs_err_oom(err);
        cs_progress_step(&op->progress);
    }
    return true;
}

static bool gather_one(struct selection *s, const struct cs_record *r, const struct head *h,
                       struct cs_err *err) {
    (void)r, (void)err;
    gather(s, h);
    return true;
}

static bool judge_one(struct selection *s, const struct cs_record *r, const struct head *h,
                      struct cs_err *err) {
    struct cs_account_walk *w = s->w;
    struct cs_replayed made;
    gather(s, h);
    if (s->grew || !mine(s, h))
        return true;
    w->judged++;
    if (w->published && w->published->offset == r->offset)
        cs_replay_number(s->op->replay, w->published->n, w->published->prev_sha256);
    return cs_replay_record(s->op->replay, r, &made, err) && w->fn(w->arg, r, &made, err);
}

// --- what a snapshot has of them

// Of a key: the part after its kind, up to the next one.
static void second_part(const char *key, char ret[CS_ACCOUNT_MAX + 1]) {
    const char *at = strchr(key, '/');
    size_t len = at ? strcspn(at + 1, "/") : 0;
    if (len > CS_ACCOUNT_MAX)
        len = CS_ACCOUNT_MAX;
    memcpy(ret, at ? at + 1 : "", len);
    ret[len] = '\0';
}

// What is not an account's own is the whole partition's. A stream is of a key; keys of accounts come before
// it.
static bool wants(void *arg, const char *key) {
    static const enum cs_kind of_accounts[] = {
        CS_KIND_ACCOUNT,   CS_KIND_AGENT,    CS_KIND_CERT,     CS_KIND_MATERIAL, CS_KIND_NAME,
        CS_KIND_CSR,       CS_KIND_CSR_NAME, CS_KIND_CSR_SPKI, CS_KIND_SHARE,    CS_KIND_SHARE_IN,
        CS_KIND_SHARED_IN, CS_KIND_OUTCOME,  CS_KIND_AGENTS,   CS_KIND_VIEW,     CS_KIND_EXPIRY,
        CS_KIND_SHARES,    CS_KIND_CSRS,     CS_KIND_OUTCOMES};
    struct selection *s = arg;
    char part[CS_ACCOUNT_MAX + 1];
    second_part(key, part);
    if (cs_key_is(key, CS_KIND_STREAM) || cs_key_is(key, CS_KIND_SEEN))
        return !cs_keyed_get(&s->others, part);
    for (size_t i = 0; i < CS_ARRAY_LEN(of_accounts); i++) {
        if (!cs_key_is(key, of_accounts[i]))
            continue;
        bool own = cs_keyed_get(&s->accounts, part) != NULL;
        if (!own && of_accounts[i] == CS_KIND_AGENT)
            s->oom |= !add(&s->others, strrchr(key, '/') + 1, NULL);
        return own;
    }
    return true;
}

static bool add_trusted(struct selection *s, struct cs_err *err) {
    const struct cs_member *kids = NULL;
    size_t n = 0;
    if (cs_state_list(cs_replay_state(s->op->replay), cs_key_trusted(CS_NEW_KEY), &kids, &n) != CS_FOUND)
        return true;
    for (size_t i = 0; i < n; i++)
        if (!add(&s->trusted, kids[i].name, NULL))
            return cs_err_oom(err);
    return true;
}

// The first pass finds the keys. The second judges, and sees whether one of them signed for another
// account: then all begins again with that account, too.
static bool walk(struct selection *s, struct cs_resume *from, struct cs_err *err) {
    bool again = false;
    do {
        table_clear(&s->others);
        if (again && !cs_resume_again(s->op, from, err))
            return false;
        again = true;
        s->grew = false;
        s->w->judged = 0;
        if (!add_trusted(s, err) || !read_until(s, gather_one, err))
            return false;
        if (!s->grew && !read_until(s, judge_one, err))
            return false;
    } while (s->grew);
    return true;
}

static bool begin(struct selection *s, struct cs_resume *from, struct cs_err *err) {
    struct cs_account_walk *w = s->w;
    if (!cs_resume(s->op, from, err))
        return false;
    w->from = from->snapshot.at.size;
    w->last_offset = w->from > 0 ? from->snapshot.next_offset - 1 : -1;
    w->last_ms = w->from > 0 ? from->last_ms : -1;
    return true;
}

bool cs_places_walk(struct cs_operator *op, struct cs_account_walk *w, struct cs_err *err) {
    struct selection s = {.op = op, .w = w};
    const struct cs_snapshot_filter filter = {wants, &s, NULL};
    const struct cs_moment last = {
        .given = true, .partition = -1, .offset = w->published ? w->published->offset : 0}; // it is judged
    struct cs_resume from = {.dir = w->snapshots,
                             .partition = w->partition,
                             .until = w->published ? &last : w->until,
                             .wanted = &filter};
    cs_kid root;
    if (op->event_bounds[w->partition].low > 0)
        return cs_operator_deleted(op, w->partition, err);
    cs_kid_of_spki(op->crypto, (struct cs_bytes){op->root_spki, op->root_spki_len}, root);
    bool ok = (add(&s.trusted, root, NULL) && (!w->account[0] || add(&s.accounts, w->account, NULL))) ||
              cs_err_oom(err);
    ok = ok && begin(&s, &from, err) && walk(&s, &from, err);
    table_clear(&s.accounts);
    table_clear(&s.kids);
    table_clear(&s.trusted);
    table_clear(&s.others);
    return ok;
}
