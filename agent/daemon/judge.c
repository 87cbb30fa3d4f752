// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "certsync/model/pem.h"
#include "certsync/runtime/log.h"
#include "daemon/internal.h"

#define RETRY_MS       1000 // doubled each time
#define RETRIES        6    // about a minute; then it is reported, and waits for a change
#define DELETE_PAUSE_S 30

static void conclude(struct cs_engine *e, struct cs_item *item, enum cs_item_state state, enum cs_code code,
                     const char *message) {
    cs_register_put(&e->reg, item, state, code, message, engine_wall(e));
    e->changed = true;
}

// Reported once, when it begins.
static void tell(const struct cs_item *item, enum cs_item_state state, enum cs_code code,
                 const char *message) {
    if (item->state == state && item->code == code)
        return;
    cs_log(CS_LOG_WARN, "not uploaded", "name=%s state=%s code=%s reason=%s hint=%s", item->name,
           cs_item_state_name(state), code != CS_CODE_NONE ? cs_code_name(code) : "-", message,
           code != CS_CODE_NONE ? cs_code_hint(code) : "-");
}

static void refuse(struct cs_engine *e, struct cs_item *item, const struct cs_err *err) {
    tell(item, CS_ITEM_REFUSED, err->code, err->msg);
    conclude(e, item, CS_ITEM_REFUSED, err->code, err->msg);
    // It mends itself without a change of the file: its time comes, or this host's clock is
    // corrected.
    if (err->code == CS_CODE_CERT_NOT_YET_VALID || err->code == CS_CODE_CERT_EXPIRED)
        item->stamp = 0;
}

// Perhaps somebody is writing it. It is read again soon, then reported.
static void wait_or_refuse(struct cs_engine *e, struct cs_item *item, const struct cs_err *err) {
    if (item->attempts >= RETRIES) {
        refuse(e, item, err);
        return;
    }
    int64_t pause = (int64_t)RETRY_MS << item->attempts++;
    conclude(e, item, CS_ITEM_WAITING, err->code, err->msg);
    item->stamp = 0;
    engine_queue(e, item, engine_now(e) + pause);
}

static bool may_be_half_written(enum cs_code code) {
    switch ((int)code) {
    case CS_CODE_KEY_MISMATCH:
    case CS_CODE_KEY_MISSING:
    case CS_CODE_KEY_MALFORMED:
    case CS_CODE_KEY_MANY:
    case CS_CODE_CERT_MALFORMED:
    case CS_CODE_CHAIN_BROKEN:
    case CS_CODE_CHAIN_STRAY:
        return true;
    default:
        return false;
    }
}

static void judge_error(struct cs_engine *e, struct cs_item *item, const struct cs_err *err) {
    if (err->kind == CS_ERR_REJECT && !may_be_half_written(err->code))
        refuse(e, item, err);
    else
        wait_or_refuse(e, item, err);
}

// --- reading

enum reading { READING_OK = 1, READING_GONE, READING_DONE };

static enum reading read_one(struct cs_engine *e, struct cs_item *item, const char *path,
                             struct cs_guarded *to) {
    struct cs_err err;
    switch (cs_guarded_read(path, &item->section->policy, &e->place, to, &err)) {
    case CS_READ_OK:
        return READING_OK;
    case CS_READ_GONE:
        return READING_GONE;
    case CS_READ_CHANGING:
        cs_err_set(&err, CS_ERR_RETRY, CS_CODE_NONE, "%s changes while it is read", path);
        wait_or_refuse(e, item, &err);
        return READING_DONE;
    case CS_READ_REFUSED:
        break;
    }
    refuse(e, item, &err);
    return READING_DONE;
}

// Buffers of a part: 0 international or signing, 1 encryption.
enum { CERTIFICATE, KEY, CHAIN, PART_BUFFERS };

static struct cs_guarded *buffer(struct cs_engine *e, size_t part, size_t which) {
    return &e->buffers[part * PART_BUFFERS + which];
}

static size_t parts_of(const struct cs_item *item) {
    return item->encrypt_certificate ? 2 : 1;
}

struct files {
    const char *certificate, *key, *chain;
};
static struct files files_of(const struct cs_item *item, size_t part) {
    if (part == 0)
        return (struct files){item->certificate, item->key, item->chain};
    return (struct files){item->encrypt_certificate, item->encrypt_key, item->encrypt_chain};
}

struct leaf {
    uint8_t sha256[32];
    int64_t not_before_s, not_after_s;
};

// Which certificate it is: the first that is not a CA's.
static bool look_at_leaf(struct cs_engine *e, const char *path, struct cs_bytes text, struct leaf *ret,
                         struct cs_err *err) {
    struct cs_cert **certs;
    size_t n, leaf = 0;
    if (!cs_pem_certs(e->session.crypto, path, text, &certs, &n, err))
        return false;
    for (size_t i = n; i-- > 0;)
        if (!certs[i]->is_ca)
            leaf = i;
    memcpy(ret->sha256, certs[leaf]->sha256, 32);
    ret->not_before_s = certs[leaf]->not_before_s;
    ret->not_after_s = certs[leaf]->not_after_s;
    cs_certs_free(certs, n);
    return true;
}

static void put_times(struct cs_item *item, int64_t not_before_s, int64_t not_after_s) {
    item->told_end &= item->not_after_s == not_after_s;
    item->not_before_s = not_before_s;
    item->not_after_s = not_after_s;
}

void engine_put_ends(struct cs_item *item, int64_t ends_s) {
    item->told_end &= item->ends_s == ends_s;
    item->ends_s = ends_s;
}

// The files of the certificates are read.
static bool identify(struct cs_engine *e, struct cs_item *item, struct cs_err *err) {
    struct leaf leaves[2] = {0};
    uint8_t before[32];
    size_t parts = parts_of(item);
    for (size_t i = 0; i < parts; i++)
        if (!look_at_leaf(e, files_of(item, i).certificate, buffer(e, i, CERTIFICATE)->bytes, &leaves[i],
                          err))
            return false;
    memcpy(before, item->sha256, sizeof before);
    memcpy(item->leaf, leaves[0].sha256, sizeof item->leaf);
    cs_register_identity(e->session.crypto, leaves[0].sha256, parts == 2 ? leaves[1].sha256 : NULL,
                         item->sha256);
    if (memcmp(before, item->sha256, sizeof before) != 0)
        engine_put_ends(item, 0);
    // replace.older compares the signing certificate's date.
    bool second = parts == 2 && leaves[1].not_after_s < leaves[0].not_after_s;
    put_times(item, leaves[0].not_before_s, leaves[second].not_after_s);
    return true;
}

// A part's chain, and its key, which may be in the certificate's file. False: dealt with.
static bool read_part(struct cs_engine *e, struct cs_item *item, size_t part) {
    struct files f = files_of(item, part);
    struct cs_err err;
    cs_guarded_wipe(buffer(e, part, KEY));
    cs_guarded_wipe(buffer(e, part, CHAIN));
    if (!f.key) {
        cs_err_set(&err, CS_ERR_REJECT, CS_CODE_KEY_MISSING, "%s: no file here holds its key", f.certificate);
        judge_error(e, item, &err);
        return false;
    }
    if (strcmp(f.key, f.certificate) != 0) {
        enum reading r = read_one(e, item, f.key, buffer(e, part, KEY));
        if (r == READING_GONE) {
            cs_err_set(&err, CS_ERR_REJECT, CS_CODE_KEY_MISSING, "%s is not there", f.key);
            judge_error(e, item, &err);
        }
        if (r != READING_OK)
            return false;
    }
    return !f.chain || read_one(e, item, f.chain, buffer(e, part, CHAIN)) != READING_DONE;
}

static bool read_rest(struct cs_engine *e, struct cs_item *item) {
    for (size_t i = 0; i < parts_of(item); i++)
        if (!read_part(e, item, i))
            return false;
    return true;
}

static uint64_t hash_content(struct cs_engine *e) {
    uint8_t hash[32];
    uint64_t out;
    struct cs_bytes parts[CS_ARRAY_LEN(e->buffers)];
    for (size_t i = 0; i < CS_ARRAY_LEN(parts); i++)
        parts[i] = e->buffers[i].bytes;
    cs_crypto_sha256_parts(e->session.crypto, parts, CS_ARRAY_LEN(parts), hash);
    memcpy(&out, hash, sizeof out);
    return out ? out : 1;
}

// --- uploading

static struct cs_keyed_source source_of(struct cs_engine *e, const struct cs_item *item, size_t part) {
    struct files f = files_of(item, part);
    struct cs_bytes certificate = buffer(e, part, CERTIFICATE)->bytes, chain = buffer(e, part, CHAIN)->bytes;
    bool combined = strcmp(f.key, f.certificate) == 0;
    struct cs_keyed_source src = {.cert = {f.certificate, certificate},
                                  .key = {f.key, combined ? certificate : buffer(e, part, KEY)->bytes}};
    if (f.chain && chain.len > 0)
        src.chain = (struct cs_source_text){f.chain, chain};
    return src;
}

static bool compose(struct cs_engine *e, const struct cs_item *item, struct cs_composed **ret,
                    struct cs_err *err) {
    struct cs_upload_source src = {
        .type = CS_EVENT_CERTIFICATE_UPLOAD,
        .source = CS_SOURCE_UPLOADED,
        .name = item->name,
        .algorithm = item->encrypt_certificate ? CS_ALGORITHM_SM2 : CS_ALGORITHM_INTERNATIONAL,
        .replace = true,
        .tags = (const char *const *)item->section->tags->items,
        .tags_len = item->section->tags->count,
        .parts = parts_of(item),
    };
    for (size_t i = 0; i < src.parts; i++)
        src.part[i] = source_of(e, item, i);
    cs_place place;
    engine_place_of(e, item, place);
    src.place = place;
    struct cs_compose c = cs_session_compose(&e->session);
    return cs_compose_upload(&c, &src, ret, err);
}

bool engine_outdated(const struct cs_engine *e, const struct cs_item *item) {
    int64_t made_ms;
    return item->code == CS_CODE_EVENT_TOO_OLD && cs_uuid_time_ms(item->event, &made_ms) &&
           made_ms < engine_wall(e) - CS_EVENT_AGE_MAX_MS;
}

static void prepare_upload(struct cs_engine *e, struct cs_item *item, struct cs_known *k) {
    struct cs_err err;
    struct cs_composed *c;
    uint64_t content = hash_content(e);
    if (item->state == CS_ITEM_REJECTED && item->content == content && !engine_outdated(e, item)) {
        if (item->code == CS_CODE_EVENT_TOO_OLD)
            item->stamp = 0; // until this host's clock is corrected
        conclude(e, item, CS_ITEM_REJECTED, item->code, item->message);
        return;
    }
    if (!compose(e, item, &c, &err)) {
        judge_error(e, item, &err);
        return;
    }
    if (!engine_policy_admits(e, c, &err)) {
        refuse(e, item, &err);
        cs_composed_free(c);
        return;
    }
    // The key may have shown that another certificate of the file is the leaf.
    cs_register_identity(e->session.crypto, c->leaves[0]->sha256,
                         c->leaves_len == 2 ? c->leaves[1]->sha256 : NULL, item->sha256);
    bool second = c->leaves_len == 2 && c->leaves[1]->not_after_s < c->leaves[0]->not_after_s;
    put_times(item, c->leaves[0]->not_before_s, c->leaves[second]->not_after_s);
    engine_put_ends(item, c->ends_s);
    e->uploads[e->uploads_len++] = (struct cs_waiting_upload){item, k, c, content};
}

static void not_spooled(struct cs_engine *e, struct cs_item *item, const struct cs_err *err) {
    if (err->kind == CS_ERR_REJECT) {
        refuse(e, item, err);
        return;
    }
    conclude(e, item, CS_ITEM_BLOCKED, CS_CODE_NONE, err->msg);
    item->stamp = 0;
    engine_queue(e, item, e->blocked_until_ms);
}

static void spooled(struct cs_engine *e, const struct cs_waiting_upload *u) {
    struct cs_item *item = u->item;
    struct cs_known *k = u->known;
    const struct cs_event *ev = &u->composed->event;
    item->content = u->content;
    item->attempts = 0;
    memcpy(item->event, ev->id, sizeof item->event);
    cs_register_sent(&e->reg, k, ev->id, item->sha256, item->not_before_s, item->ends_s);
    // Its outcome says which certificate the catalog knows at this place then.
    if (item->told_id[0] && !(k->present && strcmp(item->told_id, k->id) == 0))
        memcpy(item->left_id, item->told_id, sizeof item->left_id);
    item->told_id[0] = '\0';
    memcpy(item->told_sha256, item->sha256, sizeof item->told_sha256);
    memcpy(item->told_log, e->session.log_id, sizeof item->told_log);
    if (!e->outcome_poller) { // nobody will report: taken as true
        if (!k->present)
            memcpy(k->id, ev->subject, sizeof k->id);
        k->present = true;
        memcpy(k->sha256, item->sha256, sizeof k->sha256);
        k->not_before_s = item->not_before_s;
        k->ends_s = item->ends_s;
        cs_register_ended(&e->reg, k);
        memcpy(item->told_id, k->id, sizeof item->told_id);
    }
    cs_log(CS_LOG_INFO, "upload", "name=%s certificate=%s event=%s number=%" PRId64, item->name,
           item->certificate, ev->id, ev->seq);
    conclude(e, item, CS_ITEM_SENT, CS_CODE_NONE, NULL);
}

void engine_upload(struct cs_engine *e) {
    struct cs_event *events[CS_SPOOL_GROUP_MAX];
    struct cs_err err;
    size_t n = e->uploads_len;
    for (size_t i = 0; i < n; i++)
        events[i] = &e->uploads[i].composed->event;
    bool spools = n > 0 && engine_spool(e, events, n, &err), together = spools;
    if (!together)
        spools = n > 1;
    for (size_t i = 0; i < n; i++) {
        struct cs_waiting_upload *u = &e->uploads[i];
        // If they do not fit together: one by one, the oldest first, until the spool takes no more.
        bool ok = together || (spools && engine_spool(e, &events[i], 1, &err));
        if (ok)
            spooled(e, u);
        else
            not_spooled(e, u->item, &err);
        spools = ok || (spools && err.kind == CS_ERR_REJECT);
        cs_composed_free(u->composed);
    }
    e->uploads_len = 0;
}

// --- judging

// What the catalog has, or will have, under the name. False: nothing.
static bool expected(const struct cs_known *k, const uint8_t **ret_sha256, int64_t *ret_not_before_s) {
    bool sent = k->event[0] != '\0';
    *ret_sha256 = sent ? k->sent_sha256 : k->sha256;
    *ret_not_before_s = sent ? k->sent_not_before_s : k->not_before_s;
    return sent || k->present;
}

// Another file with this name waits, or the group is full.
static bool must_upload_first(const struct cs_engine *e, const struct cs_known *k) {
    for (size_t i = 0; i < e->uploads_len; i++)
        if (e->uploads[i].known == k)
            return true;
    return e->uploads_len == CS_ARRAY_LEN(e->uploads);
}

// The catalog has this certificate. Does the host have its key? A broken-off renewal leaves the
// next key.
static bool keys_fit(struct cs_engine *e, struct cs_item *item) {
    struct cs_err err;
    item->policy = CS_CODE_NONE;
    for (size_t i = 0; i < parts_of(item); i++) {
        struct cs_keyed_source src = source_of(e, item, i);
        if (cs_compose_key_fits(e->session.crypto, &src, &err)) {
            engine_policy_note(e, item, &src);
            continue;
        }
        if (err.code == CS_CODE_KEY_MISMATCH && strlen(err.msg) < sizeof err.msg - 160)
            strcat(err.msg,
                   " The catalog has this certificate, with its own key. Was a renewal broken off? Run it "
                   "again, or put the key back.");
        judge_error(e, item, &err);
        return false;
    }
    return true;
}

static void judge_leaf(struct cs_engine *e, struct cs_item *item) {
    struct cs_known *k = cs_register_known(&e->reg, item->name);
    const uint8_t *sha256;
    int64_t not_before_s;
    if (!k) {
        cs_log_msg(CS_LOG_ERROR, "out of memory");
        item->stamp = 0;
        return;
    }
    if (item->state == CS_ITEM_DELETED && !k->present)
        return; // somebody else deleted it: it stays so
    if (must_upload_first(e, k))
        engine_upload(e);
    bool there = expected(k, &sha256, &not_before_s);
    if (there && memcmp(sha256, item->sha256, 32) == 0) {
        if (!read_rest(e, item) || !keys_fit(e, item))
            return;
        item->attempts = 0;
        int64_t ends_s = k->event[0] ? k->sent_ends_s : k->ends_s;
        if (ends_s != 0)
            engine_put_ends(item, ends_s);
        memcpy(item->event, k->event, sizeof item->event);
        if (!k->event[0])
            engine_tell_seen(e, item, k);
        conclude(e, item, k->event[0] ? CS_ITEM_SENT : CS_ITEM_REGISTERED, CS_CODE_NONE, NULL);
        return;
    }
    if (there && not_before_s > item->not_before_s) {
        const char *why =
            "the catalog has a newer certificate under this name; the file went back to an older one, "
            "or another file or host is ahead";
        tell(item, CS_ITEM_OLDER, CS_CODE_REPLACE_OLDER, why);
        if (item->state != CS_ITEM_OLDER) // this host may come back from an old image
            item->told_id[0] = '\0';
        if (!k->event[0])
            engine_tell_seen(e, item, k);
        conclude(e, item, CS_ITEM_OLDER, CS_CODE_REPLACE_OLDER, why);
        return;
    }
    if (read_rest(e, item))
        prepare_upload(e, item, k);
}

bool engine_concluded(const struct cs_item *item) {
    switch (item->state) {
    case CS_ITEM_SENT:
    case CS_ITEM_REGISTERED:
    case CS_ITEM_OLDER:
    case CS_ITEM_REFUSED:
    case CS_ITEM_REJECTED:
    case CS_ITEM_DELETED:
        return true;
    case CS_ITEM_NEW:
    case CS_ITEM_WAITING:
    case CS_ITEM_BLOCKED:
    case CS_ITEM_DELETING:
        break;
    }
    return false;
}

uint64_t engine_stamp(const struct cs_item *item) {
    uint64_t stamp = 0;
    for (size_t i = 0; i < parts_of(item); i++) {
        struct files f = files_of(item, i);
        stamp = cs_stamp_mix(stamp, f.certificate);
        if (f.key)
            stamp = cs_stamp_mix(stamp, f.key);
        if (f.chain)
            stamp = cs_stamp_mix(stamp, f.chain);
    }
    return stamp;
}

// The second certificate of an SM2 pair. False: dealt with.
static bool read_encrypt(struct cs_engine *e, struct cs_item *item) {
    if (!item->encrypt_certificate)
        return true;
    enum reading r = read_one(e, item, item->encrypt_certificate, buffer(e, 1, CERTIFICATE));
    if (r == READING_GONE) {
        struct cs_err err;
        cs_err_set(&err, CS_ERR_RETRY, CS_CODE_NONE,
                   "%s: the encryption certificate of the SM2 pair is not there", item->encrypt_certificate);
        wait_or_refuse(e, item, &err);
    }
    return r == READING_OK;
}

// certbot makes its links first, and their targets after that.
static bool leads_nowhere(const struct cs_item *item, struct cs_err *err) {
    struct stat st;
    if (lstat(item->certificate, &st) < 0 || !S_ISLNK(st.st_mode))
        return false;
    cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "%s is a symbolic link to a file that is not there",
               item->certificate);
    return true;
}

void engine_judge(struct cs_engine *e, struct cs_item *item) {
    struct cs_err err;
    if (item->gone_ms > 0) {
        engine_gone(e, item);
        return;
    }
    engine_follow(e, item);
    uint64_t stamp = engine_stamp(item);
    if (stamp == item->stamp && engine_concluded(item))
        return;
    int64_t now = engine_now(e);
    if (e->blocked_until_ms > now && item->state == CS_ITEM_BLOCKED) {
        engine_queue(e, item, e->blocked_until_ms);
        return;
    }
    item->stamp = stamp;
    switch (read_one(e, item, item->certificate, buffer(e, 0, CERTIFICATE))) {
    case READING_OK:
        if (!read_encrypt(e, item))
            break;
        if (identify(e, item, &err))
            judge_leaf(e, item);
        else
            judge_error(e, item, &err);
        break;
    case READING_GONE:
        item->stamp = 0;
        if (leads_nowhere(item, &err))
            wait_or_refuse(e, item, &err);
        else
            engine_gone(e, item);
        break;
    case READING_DONE:
        break;
    }
    for (size_t i = 0; i < CS_ARRAY_LEN(e->buffers); i++)
        cs_guarded_wipe(&e->buffers[i]);
}

// --- files that are gone

static bool still_gone(const struct cs_item *item) {
    return cs_stamp_mix(0, item->certificate) == cs_stamp_mix(0, "");
}

// The entry goes with the last installation. So it is told first where this one was not.
void engine_delete(struct cs_engine *e, struct cs_item *item, const char *id) {
    struct cs_known *k = cs_register_known(&e->reg, item->name);
    cs_uuid event;
    bool told = strcmp(item->told_id, id) == 0 && strcmp(item->told_log, e->session.log_id) == 0;
    if (!k || (!told && !engine_tell(e, item, CS_EVENT_CERTIFICATE_SEEN, id, false, event)) ||
        !engine_tell(e, item, CS_EVENT_CERTIFICATE_GONE, id, true, event)) {
        engine_queue(e, item, engine_now(e) + DELETE_PAUSE_S * 1000);
        return;
    }
    static const uint8_t nothing[32];
    cs_register_sent(&e->reg, k, event, nothing, 0, 0);
    memcpy(item->event, event, sizeof item->event);
    item->stamp = 0;
    conclude(e, item, CS_ITEM_DELETING, CS_CODE_NONE, "its files are gone");
}

void engine_gone(struct cs_engine *e, struct cs_item *item) {
    int64_t now = engine_now(e);
    struct cs_known *k = cs_register_known(&e->reg, item->name);
    if (item->gone_ms > 0 && !still_gone(item)) { // they came back
        item->gone_ms = 0;
        item->stamp = 0;
        item->asked = false;
        engine_queue(e, item, now);
        return;
    }
    if (item->gone_ms == 0)
        item->gone_ms = now > 0 ? now : 1;
    if (item->state == CS_ITEM_DELETING || item->asked)
        return; // already in progress
    bool never_there = !k || (!k->present && !k->event[0]);
    if (!item->section->remove || never_there || cs_register_live(&e->reg, item->name, item)) {
        cs_log(CS_LOG_INFO, "files are gone", "name=%s certificate=%s", item->name, item->certificate);
        if (!e->found_before) // the search finds what is left, for example a key
            engine_discover_soon(e, item->section);
        (void)engine_leave(e, item);
        return;
    }
    if (item->gone_ms + item->section->remove_after_ms > now) {
        engine_queue(e, item, item->gone_ms + item->section->remove_after_ms);
        return;
    }
    if (k->event[0] && e->outcome_poller) { // its upload is not judged yet
        engine_queue(e, item, now + RETRY_MS);
        return;
    }
    if (!e->outcome_poller) {
        if (k->id[0])
            engine_delete(e, item, k->id);
        else
            engine_drop(e, item);
        return;
    }
    item->asked = cs_outcome_poller_ask(e->outcome_poller, item->name);
    if (!item->asked)
        engine_queue(e, item, now + RETRY_MS);
}
