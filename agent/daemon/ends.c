// SPDX-License-Identifier: Apache-2.0
// The outcome poller's thread posts its news to the loop. News for an engine that is gone is dropped.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certsync/runtime/log.h"
#include "daemon/internal.h"

struct posted {
    struct cs_daemon *daemon;
    unsigned generation;
    void (*fn)(struct cs_engine *e, const struct posted *p);
    struct cs_settled_end *ends;
    char name[CS_NAME_MAX + 1];
    bool ok;
    char error[CS_ERR_MSG_MAX];
    int64_t watermark;
    size_t n;
    struct cs_catalog_entry entries[];
};

static void deliver(void *arg) {
    struct posted *p = arg;
    struct cs_engine *e = p->daemon->engine;
    if (e && p->generation == e->generation) {
        p->fn(e, p);
        cs_register_flush(&e->reg);
        engine_arm(e);
    }
    free(p->ends);
    free(p);
}

static struct posted *make(struct cs_engine *e, size_t n,
                           void (*fn)(struct cs_engine *, const struct posted *)) {
    struct posted *p = calloc(1, sizeof *p + n * sizeof p->entries[0]);
    if (!p) {
        cs_log_msg(CS_LOG_ERROR, "out of memory");
        return NULL;
    }
    p->daemon = e->daemon;
    p->generation = e->generation;
    p->fn = fn;
    p->n = n;
    return p;
}

static void post(struct posted *p) {
    if (cs_loop_post(p->daemon->loop, deliver, p))
        return;
    free(p->ends);
    free(p);
}

// --- how an event ended

// Who uploaded it told its place. Others of the name, and what it left, are told with a look.
static void note_place(struct cs_engine *e, struct cs_item *item, const struct cs_settled_end *end) {
    bool own = !item->told_id[0] && strcmp(item->told_log, e->session.log_id) == 0 &&
               memcmp(item->told_sha256, item->sha256, sizeof item->sha256) == 0;
    if (own)
        memcpy(item->told_id, end->subject, sizeof item->told_id);
    if (own && !item->left_id[0]) {
        cs_register_put(&e->reg, item, item->state, item->code, item->message, engine_wall(e));
        return;
    }
    item->stamp = 0;
    engine_queue(e, item, engine_now(e));
}

static void end_items(struct cs_engine *e, const struct cs_settled_end *end, enum cs_item_state state,
                      const char *name) {
    char message[CS_ITEM_MESSAGE_MAX] = "";
    if (end->ending == CS_ENDING_REJECTED)
        snprintf(message, sizeof message, "%s%s%s",
                 end->code != CS_CODE_NONE ? cs_code_sentence(end->code) : end->code_name,
                 end->detail[0] ? " " : "", end->detail);
    for (const struct cs_index_entry *at = cs_index_first(&e->reg.by_name, cs_index_key(name)); at;
         at = cs_index_next(at)) {
        struct cs_item *item = at->value;
        if (strcmp(item->event, end->event) != 0 || strcmp(item->name, name) != 0)
            continue;
        bool old = end->ending == CS_ENDING_REJECTED && end->code == CS_CODE_EVENT_TOO_OLD;
        if (old) // without a change of its files, too
            item->stamp = 0;
        item->policy = CS_CODE_NONE; // by what is known
        cs_register_put(&e->reg, item, state, end->ending == CS_ENDING_REJECTED ? end->code : CS_CODE_NONE,
                        message[0] ? message : NULL, engine_wall(e));
        if (old && engine_outdated(e, item))
            engine_queue(e, item, engine_now(e));
        if (state == CS_ITEM_REGISTERED)
            note_place(e, item, end);
    }
}

static void drop_deleted(struct cs_engine *e, const char *event) {
    for (size_t i = e->reg.n; i-- > 0;) {
        struct cs_item *item = e->reg.items[i];
        if (item->state != CS_ITEM_DELETING || strcmp(item->event, event) != 0)
            continue;
        if (item->gone_ms > 0)
            engine_drop(e, item);
        else // its files came back in the meantime
            item->stamp = 0, engine_queue(e, item, engine_now(e));
    }
}

static void applied(struct cs_engine *e, struct cs_known *k, const struct cs_settled_end *end) {
    bool deleted = end->type == CS_EVENT_CERTIFICATE_DELETE || end->type == CS_EVENT_CERTIFICATE_GONE;
    k->present = !deleted;
    memcpy(k->sha256, k->sent_sha256, sizeof k->sha256);
    k->not_before_s = k->sent_not_before_s;
    k->ends_s = k->sent_ends_s;
    memcpy(k->id, end->subject, sizeof k->id);
    cs_register_ended(&e->reg, k);
    cs_log(CS_LOG_INFO, deleted ? "left" : "registered",
           "name=%s certificate_id=%s version=%" PRId64 " event=%s", k->name, end->subject, end->version,
           end->event);
    if (deleted)
        drop_deleted(e, end->event);
    else
        end_items(e, end, CS_ITEM_REGISTERED, k->name);
}

// NAME-HOST, with the host's own name up to its first dot. False: it does not fit.
static bool other_name(const char *name, cs_name ret) {
    char host[256] = "";
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
        return false;
    host[strcspn(host, ".")] = '\0';
    for (char *p = host; *p; p++)
        if (!cs_name_valid(p, 1, CS_ALGORITHM_SM2))
            *p = '-';
    int len = snprintf(ret, sizeof(cs_name), "%s-%s", name, host);
    return len > 0 && (size_t)len < sizeof(cs_name);
}

// Another host has the name. Then this one registers under a name of its own, where the section allows it.
static void take_other_name(struct cs_engine *e, const struct cs_settled_end *end, const char *name) {
    for (size_t i = 0; i < e->reg.n; i++) {
        struct cs_item *item = e->reg.items[i];
        cs_name other;
        if (strcmp(item->event, end->event) != 0 || strcmp(item->name, name) != 0 || !item->section ||
            !item->section->name_taken_host || strcmp(item->name, item->given) != 0 ||
            !other_name(name, other) || !cs_register_rename(&e->reg, item, other))
            continue;
        cs_log(CS_LOG_WARN, "name taken", "name=%s certificate=%s registered_as=%s", item->given,
               item->certificate, other);
        item->stamp = item->content = 0;
        cs_register_put(&e->reg, item, CS_ITEM_NEW, CS_CODE_NONE, NULL, engine_wall(e));
        engine_queue(e, item, engine_now(e));
    }
}

static void take_end(struct cs_engine *e, const struct cs_settled_end *end) {
    struct cs_known *k = cs_register_by_event(&e->reg, end->event);
    bool gone = end->type == CS_EVENT_CERTIFICATE_GONE && end->code == CS_CODE_CERTIFICATE_NOT_FOUND;
    e->changed = true;
    if (k && gone) { // as it was to be
        applied(e, k, end);
        return;
    }
    if (!gone && end->ending == CS_ENDING_REJECTED)
        cs_log(CS_LOG_WARN, "rejected", "name=%s type=%s event=%s code=%s detail=%s hint=%s",
               k ? k->name : "-", cs_event_type_name(end->type), end->event, end->code_name, end->detail,
               end->code != CS_CODE_NONE ? cs_code_hint(end->code) : "-");
    if (!k) // a command's event, or an upload that a newer one replaced
        return;
    if (end->ending == CS_ENDING_APPLIED) {
        applied(e, k, end);
        return;
    }
    cs_register_ended(&e->reg, k);
    if (end->code == CS_CODE_REPLACE_NOT_HELD)
        take_other_name(e, end, k->name);
    end_items(e, end, end->code == CS_CODE_REPLACE_OLDER ? CS_ITEM_OLDER : CS_ITEM_REJECTED, k->name);
}

static void on_ends_here(struct cs_engine *e, const struct posted *p) {
    for (size_t i = 0; i < p->n; i++)
        take_end(e, &p->ends[i]);
}

static void on_ends(void *arg, const struct cs_settled_end *ends, size_t n) {
    struct posted *p = make(arg, 0, on_ends_here);
    if (p)
        p->ends = calloc(n, sizeof *ends);
    if (!p || !p->ends) {
        cs_log_msg(CS_LOG_ERROR, "out of memory"); // the next listing of the catalog tells
        free(p);
        return;
    }
    memcpy(p->ends, ends, n * sizeof *ends);
    p->n = n;
    post(p);
}

// --- what the catalog holds

static void take_entry(struct cs_engine *e, struct cs_known *k, const struct cs_catalog_entry *entry) {
    k->present = true;
    memcpy(k->sha256, entry->sha256, sizeof k->sha256);
    memcpy(k->id, entry->id, sizeof k->id);
    k->not_before_s = entry->not_before_s;
    k->ends_s = entry->ends_s;
    k->listing = e->listing;
}

static bool has_item(const struct cs_engine *e, const char *name) {
    for (const struct cs_index_entry *at = cs_index_first(&e->reg.by_name, cs_index_key(name)); at;
         at = cs_index_next(at))
        if (strcmp(((const struct cs_item *)at->value)->name, name) == 0)
            return true;
    return false;
}

static void on_entries_here(struct cs_engine *e, const struct posted *p) {
    for (size_t i = 0; i < p->n; i++) {
        if (!has_item(e, p->entries[i].name)) // another host's, or unknown
            continue;
        struct cs_known *k = cs_register_known(&e->reg, p->entries[i].name);
        if (k)
            take_entry(e, k, &p->entries[i]);
    }
}

static void on_entries(void *arg, const struct cs_catalog_entry *entries, size_t n) {
    struct posted *p = make(arg, n, on_entries_here);
    if (!p)
        return;
    memcpy(p->entries, entries, n * sizeof *entries);
    post(p);
}

// Compares what this host believed of an item with the catalog.
static void check_item(struct cs_engine *e, struct cs_item *item, const struct cs_known *k) {
    switch (item->state) {
    case CS_ITEM_SENT: // its event is on its way, or was lost
        if (!k->event[0] || strcmp(k->event, item->event) != 0)
            item->stamp = 0;
        break;
    case CS_ITEM_REGISTERED:
        if (!k->present && item->told_id[0] && strcmp(item->told_log, e->session.log_id) == 0) {
            cs_log(CS_LOG_WARN, "deleted by somebody else", "name=%s certificate=%s", item->name,
                   item->certificate);
            item->told_id[0] = '\0';
            cs_register_put(&e->reg, item, CS_ITEM_DELETED, CS_CODE_NONE,
                            "somebody deleted it from the catalog, so it is not registered again by itself; "
                            "certsync upload brings it back",
                            engine_wall(e));
        } else if (!k->present || memcmp(k->sha256, item->sha256, 32) != 0 || !engine_told(e, item, k))
            item->stamp = 0;
        else if (k->ends_s != 0) // a person may have sent another chain
            engine_put_ends(item, k->ends_s);
        break;
    case CS_ITEM_OLDER:
        item->stamp = 0;
        break;
    case CS_ITEM_DELETING:
        if (!k->event[0]) {
            item->state = CS_ITEM_NEW;
            item->stamp = 0;
        }
        break;
    case CS_ITEM_DELETED:
        if (k->present) {
            item->state = CS_ITEM_NEW;
            item->stamp = 0;
        }
        break;
    case CS_ITEM_NEW:
    case CS_ITEM_WAITING:
    case CS_ITEM_BLOCKED:
    case CS_ITEM_REFUSED:
    case CS_ITEM_REJECTED:
        break;
    }
}

void engine_listed(struct cs_engine *e) {
    int64_t now = engine_now(e);
    e->listed = true;
    for (size_t i = 0; i < e->reg.n; i++) {
        struct cs_item *item = e->reg.items[i];
        const struct cs_known *k = cs_register_known(&e->reg, item->name);
        if (k)
            check_item(e, item, k);
        if (item->section)
            engine_queue(e, item, now);
    }
    e->changed = true;
}

static void on_listed_here(struct cs_engine *e, const struct posted *p) {
    if (!p->ok) {
        if (!e->list_failed)
            cs_log(CS_LOG_WARN,
                   "the catalog cannot be asked what it holds: going by what this host remembers", "error=%s",
                   p->error);
        e->list_failed = true;
        if (!e->listed)
            engine_listed(e);
        e->listing++; // this listing does not count
        return;
    }
    for (size_t i = 0; i < e->reg.known_n; i++)
        if (e->reg.known[i]->listing != e->listing)
            e->reg.known[i]->present = false;
    e->listing++;
    engine_listed(e);
}

static void on_listed(void *arg, const struct cs_err *err) {
    struct posted *p = make(arg, 0, on_listed_here);
    if (!p)
        return;
    p->ok = !err;
    snprintf(p->error, sizeof p->error, "%s", err ? err->msg : "");
    post(p);
}

// --- whether a certificate whose files are gone is still what they were

static void on_answer_here(struct cs_engine *e, const struct posted *p) {
    struct cs_known *k = cs_register_known(&e->reg, p->name);
    if (k && p->n > 0)
        take_entry(e, k, &p->entries[0]);
    else if (k)
        k->present = false;
    for (size_t i = e->reg.n; i-- > 0;) {
        struct cs_item *item = e->reg.items[i];
        if (!item->asked || strcmp(item->name, p->name) != 0)
            continue;
        item->asked = false;
        bool same = p->n > 0 && memcmp(p->entries[0].sha256, item->sha256, 32) == 0;
        if (same) {
            engine_delete(e, item, p->entries[0].id);
            continue;
        }
        if (p->n > 0)
            cs_log(CS_LOG_WARN, "not deleted: the catalog has another certificate under this name by now",
                   "name=%s certificate=%s", item->name, item->certificate);
        (void)engine_leave(e, item);
    }
}

static void on_answer(void *arg, const char *name, const struct cs_catalog_entry *entry) {
    struct posted *p = make(arg, entry ? 1 : 0, on_answer_here);
    if (!p)
        return;
    snprintf(p->name, sizeof p->name, "%s", name);
    if (entry)
        p->entries[0] = *entry;
    post(p);
}

// --- a restored or cloned host

static void on_replayed_here(struct cs_engine *e, const struct posted *p) {
    struct cs_daemon *d = e->daemon;
    d->replayed_times++;
    d->replayed_watermark = p->watermark;
    d->replayed_ms = engine_wall(e);
    e->changed = true;
    cs_log(CS_LOG_ERROR,
           "numbers of this key are used already: this host was restored from a copy, or its key is on "
           "another host "
           "too; what is still here was signed again. If it is a clone, give it a key of its own: certsync "
           "agent join",
           "kid=%s watermark=%" PRId64 " events=%zu", e->session.kid, p->watermark, p->n);
    cs_sender_wake(e->sender);
}

static void on_replayed(void *arg, int64_t watermark, size_t n) {
    struct posted *p = make(arg, 0, on_replayed_here);
    if (!p)
        return;
    p->watermark = watermark;
    p->n = n;
    post(p);
}

static void take_log(struct cs_engine *e, const struct posted *p) {
    memcpy(e->session.foreign_log, p->error, sizeof e->session.foreign_log);
    cs_sender_hold(e->sender, p->error);
    e->changed = true;
    if (p->error[0])
        cs_log(CS_LOG_ERROR, "the API serves another log; nothing is sent", "log=%s why=%s",
               e->session.log_id, p->error);
    else
        cs_log(CS_LOG_INFO, "the API serves the known log again", "log=%s", e->session.log_id);
}

static void on_log(void *arg, const char *why) {
    struct posted *p = make(arg, 0, take_log);
    if (!p)
        return;
    snprintf(p->error, sizeof p->error, "%s", why);
    post(p);
}

const struct cs_outcome_poller_hooks engine_outcome_poller_hooks = {
    .on_ends = on_ends,
    .on_entries = on_entries,
    .on_listed = on_listed,
    .on_answer = on_answer,
    .on_replayed = on_replayed,
    .on_log = on_log,
    .on_policy = engine_on_policy,
};

// --- what an earlier run left in the spool

static void take_upload(struct cs_engine *e, struct cs_known *k, const struct cs_event *ev) {
    CS_AUTO(cs_cert_free) struct cs_cert *leaf = NULL;
    CS_AUTO(cs_cert_free) struct cs_cert *encrypt = NULL;
    const struct cs_event_upload *u = &ev->data.upload;
    struct cs_err ignored;
    uint8_t identity[32];
    if (!cs_cert_parse(e->session.crypto, u->part[0].chain[0].bytes, &leaf, &ignored) ||
        (u->parts == 2 && !cs_cert_parse(e->session.crypto, u->part[1].chain[0].bytes, &encrypt, &ignored)))
        return;
    cs_register_identity(e->session.crypto, leaf->sha256, encrypt ? encrypt->sha256 : NULL, identity);
    cs_register_sent(&e->reg, k, ev->id, identity, leaf->not_before_s, 0);
}

static bool take_spooled(struct cs_engine *e, const struct cs_event *ev, struct cs_err *err) {
    if (strcmp(ev->account, e->session.account) != 0)
        return true;
    if (ev->type == CS_EVENT_CERTIFICATE_UPLOAD) {
        struct cs_known *k = cs_register_known(&e->reg, ev->data.upload.name);
        if (!k)
            return cs_err_oom(err);
        take_upload(e, k, ev);
        return true;
    }
    bool removes = ev->type == CS_EVENT_CERTIFICATE_GONE && ev->data.installed.remove;
    if (ev->type == CS_EVENT_CERTIFICATE_DELETE || removes)
        for (size_t i = 0; i < e->reg.known_n; i++)
            if (strcmp(e->reg.known[i]->id, ev->subject) == 0) {
                static const uint8_t nothing[32];
                cs_register_sent(&e->reg, e->reg.known[i], ev->id, nothing, 0, 0);
            }
    return true;
}

// In the order of their numbers: the last event about a name counts.
bool engine_read_spool(struct cs_engine *e, struct cs_err *err) {
    struct cs_spool_item *items;
    size_t n;
    if (!cs_spool_list(e->spool, &items, &n, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        CS_AUTO(cs_spool_entry_clear) struct cs_spool_entry entry = {0};
        if (!e->outcome_poller && items[i].state == CS_SPOOL_SENT)
            continue; // published, and nobody will report its outcome
        switch (cs_spool_load(e->spool, e->session.crypto, items[i].seq, &entry, err)) {
        case CS_SPOOL_LOADED:
            if (strcmp(entry.event->log_id, e->session.log_id) != 0)
                break; // for a log of before: what it was for is to be registered in this one
            ok = take_spooled(e, entry.event, err);
            break;
        case CS_SPOOL_QUARANTINED:
            cs_log_err(CS_LOG_ERROR, "spool file damaged", err, "number=%" PRId64, items[i].seq);
            break;
        case CS_SPOOL_GONE:
            break;
        case CS_SPOOL_FAILED:
            ok = false;
            break;
        }
    }
    free(items);
    return ok;
}
