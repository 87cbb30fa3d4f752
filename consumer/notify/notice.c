// SPDX-License-Identifier: Apache-2.0
#include "notify/notice.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "settings.h"

static const struct {
    const char *name, *word;
} kinds[] = {
#define X(symbol, name, word) {name, word},
    CS_NOTICE_KINDS(X)
#undef X
};

const char *cs_notice_kind_name(enum cs_notice_kind k) {
    return kinds[k].name;
}

const char *cs_notice_kind_word(enum cs_notice_kind k) {
    return kinds[k].word;
}

// --- which there are

// about: what tells it from all others of its kind.
static void set_id(struct cs_crypto *c, const char *log_id, struct cs_notice *n, const char *about) {
    static const char what[] = "certsync.notice.v1";
    const char *kind = cs_notice_kind_name(n->kind);
    uint8_t hash[32];
    cs_crypto_sha256_parts(c,
                           (const struct cs_bytes[]){{(const uint8_t *)what, sizeof what},
                                                     {(const uint8_t *)log_id, strlen(log_id) + 1},
                                                     {(const uint8_t *)kind, strlen(kind) + 1},
                                                     {(const uint8_t *)about, strlen(about) + 1}},
                           4, hash);
    cs_uuid_v8(hash, n->id);
}

static void of_outcome(struct cs_crypto *c, const struct cs_outcome *o, enum cs_notice_kind kind,
                       struct cs_notice *ret) {
    const struct cs_verdict *v = &o->verdict;
    char about[64];
    *ret = (struct cs_notice){.kind = kind,
                              .partition = o->partition,
                              .time_ms = o->time_ms,
                              .version = v->version,
                              .leaves_len = v->leaves_len,
                              .type = o->type,
                              .code = v->status == CS_STATUS_REJECTED ? v->code : CS_CODE_NONE,
                              .outcome = o->n};
    memcpy(ret->subject, v->subject, sizeof ret->subject);
    memcpy(ret->account, o->account, sizeof ret->account);
    memcpy(ret->name, v->name, sizeof ret->name);
    memcpy(ret->leaves, v->leaves, sizeof ret->leaves);
    memcpy(ret->event, o->event, sizeof ret->event);
    memcpy(ret->kid, o->kid, sizeof ret->kid);
    memcpy(ret->label, v->label, sizeof ret->label);
    memcpy(ret->detail, v->detail, sizeof ret->detail);
    snprintf(about, sizeof about, "%d/%" PRId64, (int)o->partition, o->n);
    set_id(c, o->log_id, ret, about);
}

// Who sent it: "web-1 (1a2b…)", or the key alone.
static const char *sender(const struct cs_notice *n, char out[CS_NAME_MAX + CS_KID_LEN + 8]) {
    const char *kid = n->kid[0] ? n->kid : "an unknown key";
    if (n->label[0])
        snprintf(out, CS_NAME_MAX + CS_KID_LEN + 8, "%s (%s)", n->label, kid);
    else
        snprintf(out, CS_NAME_MAX + CS_KID_LEN + 8, "%s", kid);
    return out;
}

static const char *thing(const struct cs_notice *n) {
    return n->name[0] ? n->name : n->subject[0] ? n->subject : "without a name";
}

static void say_expiry(struct cs_notice *n) {
    int64_t left_s = n->ends_s - n->time_ms / 1000;
    char ends[CS_TIME_TEXT_SIZE];
    cs_time_format(n->ends_s, ends);
    if (n->kind == CS_NOTICE_EXPIRED)
        snprintf(n->text, sizeof n->text, "Certificate %s of account %s has ended, at %s.", thing(n),
                 n->account, ends);
    else if (left_s >= 2 * 86400)
        snprintf(n->text, sizeof n->text, "Certificate %s of account %s ends in %" PRId64 " days, at %s.",
                 thing(n), n->account, left_s / 86400, ends);
    else
        snprintf(n->text, sizeof n->text, "Certificate %s of account %s ends in %" PRId64 " hours, at %s.",
                 thing(n), n->account, left_s / 3600, ends);
}

static void say(struct cs_notice *n) {
    char who[CS_NAME_MAX + CS_KID_LEN + 8];
    sender(n, who);
    switch (n->kind) {
    case CS_NOTICE_EXPIRING:
    case CS_NOTICE_EXPIRED:
        say_expiry(n);
        break;
    case CS_NOTICE_DELETED:
        snprintf(n->text, sizeof n->text, "Certificate %s of account %s was deleted by %s.", thing(n),
                 n->account, who);
        break;
    case CS_NOTICE_SHARED:
        snprintf(n->text, sizeof n->text, "A share of certificate %s of account %s was taken.", thing(n),
                 n->account);
        break;
    case CS_NOTICE_SHARE_REFUSED:
        snprintf(n->text, sizeof n->text, "A share of certificate %s of account %s did not come about: %s",
                 thing(n), n->account, cs_code_sentence(n->code));
        break;
    case CS_NOTICE_SHARE_RECEIVED:
        snprintf(n->text, sizeof n->text,
                 "Account %s has certificate %s, version %" PRId64 ", by a share of another account.",
                 n->account, thing(n), n->version);
        break;
    case CS_NOTICE_SHARE_ENDED:
        snprintf(n->text, sizeof n->text, "A share of certificate %s ended for account %s.", thing(n),
                 n->account);
        break;
    case CS_NOTICE_REFUSED:
        snprintf(n->text, sizeof n->text, "%s of %s in account %s was refused, sent by %s: %s",
                 cs_event_type_short(n->type), thing(n), n->account, who, cs_code_sentence(n->code));
        break;
    case CS_NOTICE_BROKEN:
        break; // says it itself
    }
}

// Nobody proved to have sent it, or it is a copy that anybody may send who may write to the topic.
static bool is_of_a_stranger(const struct cs_outcome *o) {
    static const enum cs_code before_the_signature[] = {
        CS_CODE_EVENT_TOO_LARGE,     CS_CODE_EVENT_UNSIGNED,   CS_CODE_EVENT_MALFORMED,
        CS_CODE_EVENT_UNKNOWN_TYPE,  CS_CODE_EVENT_DEPLOYMENT, CS_CODE_EVENT_INCARNATION,
        CS_CODE_EVENT_MISROUTED,     CS_CODE_SYSTEM_ORDER,     CS_CODE_EVENT_UNKNOWN_SIGNER,
        CS_CODE_EVENT_BAD_SIGNATURE, CS_CODE_EVENT_REPLAYED};
    for (size_t i = 0; i < CS_ARRAY_LEN(before_the_signature); i++)
        if (o->verdict.code == before_the_signature[i])
            return true;
    return !o->account[0] && !o->kid[0];
}

static bool is_derived(enum cs_event_type t) {
    return t == CS_EVENT_SHARE_OFFER || t == CS_EVENT_SHARE_WITHDRAW || t == CS_EVENT_SHARE_ANSWER;
}

// What the outcome of an applied event is a notice of. False: of nothing.
static bool applied_kind(const struct cs_outcome *o, enum cs_notice_kind *ret) {
    bool plain = o->verdict.code == CS_CODE_NONE;
    if (o->type == CS_EVENT_CERTIFICATE_DELETE)
        *ret = CS_NOTICE_DELETED;
    else if (o->type == CS_EVENT_CERTIFICATE_UNSHARE || (o->type == CS_EVENT_SHARE_WITHDRAW && plain))
        *ret = CS_NOTICE_SHARE_ENDED;
    else if (o->type == CS_EVENT_SHARE_OFFER && plain)
        *ret = CS_NOTICE_SHARE_RECEIVED;
    else
        return false;
    return true;
}

// The end of shares that waited for an answer.
static void conclusions(struct cs_crypto *c, const struct cs_outcome *o,
                        void (*fn)(void *arg, const struct cs_notice *n), void *arg) {
    struct cs_notice n;
    char about[64 + CS_UUID_LEN];
    for (size_t i = 0; i < o->verdict.concludes_len; i++) {
        const struct cs_conclusion *end = &o->verdict.concludes[i];
        of_outcome(c, o, end->status == CS_STATUS_APPLIED ? CS_NOTICE_SHARED : CS_NOTICE_SHARE_REFUSED, &n);
        n.code = end->code;
        memcpy(n.event, end->event, sizeof n.event);
        n.type = CS_EVENT_CERTIFICATE_SHARE;
        snprintf(about, sizeof about, "%d/%" PRId64 "/%s", (int)o->partition, o->n, end->event);
        set_id(c, o->log_id, &n, about);
        say(&n);
        fn(arg, &n);
    }
}

void cs_notices_of_outcome(struct cs_crypto *c, const struct cs_outcome *o,
                           void (*fn)(void *arg, const struct cs_notice *n), void *arg) {
    struct cs_notice n;
    enum cs_notice_kind kind = CS_NOTICE_REFUSED;
    bool is = o->verdict.status == CS_STATUS_REJECTED
                  ? !is_of_a_stranger(o) && !is_derived(o->type)
                  : o->verdict.status == CS_STATUS_APPLIED && applied_kind(o, &kind);
    if (is) {
        of_outcome(c, o, kind, &n);
        say(&n);
        fn(arg, &n);
    }
    conclusions(c, o, fn, arg);
}

void cs_notice_of_broken(struct cs_crypto *c, const char *log_id, int32_t partition, int64_t offset,
                         int64_t now_ms, const char *why, struct cs_notice *ret) {
    char about[64];
    *ret = (struct cs_notice){.kind = CS_NOTICE_BROKEN, .partition = partition, .time_ms = now_ms};
    snprintf(about, sizeof about, "%d/%" PRId64, (int)partition, offset);
    set_id(c, log_id, ret, about);
    snprintf(ret->text, sizeof ret->text, "%s", why);
}

void cs_notice_of_expiry(struct cs_crypto *c, const char *log_id, int32_t partition,
                         const struct cs_notice_expiry *x, int64_t now_ms, struct cs_notice *ret) {
    char about[CS_ACCOUNT_MAX * 2 + CS_UUID_LEN + 64];
    *ret = (struct cs_notice){.kind = x->before_ms > 0 ? CS_NOTICE_EXPIRING : CS_NOTICE_EXPIRED,
                              .partition = partition,
                              .time_ms = now_ms,
                              .ends_s = x->ends_s};
    snprintf(ret->subject, sizeof ret->subject, "%s", x->certificate);
    snprintf(ret->account, sizeof ret->account, "%s", x->account);
    snprintf(ret->owner, sizeof ret->owner, "%s", x->owner);
    snprintf(ret->name, sizeof ret->name, "%s", x->name);
    // A renewed certificate has another end, so it is told of again.
    snprintf(about, sizeof about, "%s/%s/%s/%" PRId64 "/%" PRId64, x->account, x->owner, x->certificate,
             x->ends_s, x->before_ms);
    set_id(c, log_id, ret, about);
    say(ret);
}

// --- how they are written

static void put_text(struct cs_buf *b, const char *name, const char *text) {
    if (text[0])
        cs_json_str(b, name, text);
}

static void put_leaves(struct cs_buf *b, const struct cs_notice *n) {
    char time[CS_TIME_TEXT_SIZE];
    if (n->leaves_len == 0)
        return;
    cs_json_name(b, "leaves");
    cs_json_begin(b, '[');
    for (size_t i = 0; i < n->leaves_len; i++) {
        cs_time_format(n->leaves[i].not_after_s, time);
        cs_json_begin(b, '{');
        cs_json_name(b, "sha256");
        cs_json_put_hex(b, (struct cs_bytes){n->leaves[i].sha256, sizeof n->leaves[i].sha256});
        cs_json_str(b, "serial", n->leaves[i].serial);
        cs_json_str(b, "not_after", time);
        cs_json_end(b, '}');
    }
    cs_json_end(b, ']');
}

static void put_data(struct cs_buf *b, const struct cs_notice *n) {
    cs_json_begin(b, '{');
    cs_json_str(b, "text", n->text);
    put_text(b, "account", n->account);
    put_text(b, "name", n->name);
    if (n->version > 0)
        cs_json_int(b, "version", n->version);
    put_leaves(b, n);
    put_text(b, "event_type", n->type == CS_EVENT_NONE ? "" : cs_event_type_name(n->type));
    put_text(b, "event", n->event);
    put_text(b, "kid", n->kid);
    put_text(b, "label", n->label);
    if (n->code != CS_CODE_NONE) {
        cs_json_str(b, "code", cs_code_name(n->code));
        cs_json_str(b, "reason", cs_code_sentence(n->code));
        cs_json_str(b, "hint", cs_code_hint(n->code));
    }
    put_text(b, "detail", n->detail);
    if (n->outcome > 0)
        cs_json_int(b, "outcome", n->outcome);
    if (n->ends_s > 0) {
        char time[CS_TIME_TEXT_SIZE];
        cs_time_format(n->ends_s, time);
        cs_json_str(b, "ends", time);
    }
    put_text(b, "owner_account", n->owner);
    cs_json_end(b, '}');
}

void cs_notice_encode(struct cs_buf *b, const char *log_id, const struct cs_notice *n) {
    char text[CS_LOG_ID_MAX + 64];
    cs_json_begin(b, '{');
    cs_json_str(b, "specversion", "1.0");
    cs_json_str(b, "id", n->id);
    snprintf(text, sizeof text, "//%s/partitions/%d", log_id, (int)n->partition);
    cs_json_str(b, "source", text);
    snprintf(text, sizeof text, "certsync.notice.%s.v1", cs_notice_kind_name(n->kind));
    cs_json_str(b, "type", text);
    put_text(b, "subject", n->subject);
    cs_time_ms_format(n->time_ms, text);
    cs_json_str(b, "time", text);
    cs_json_str(b, "datacontenttype", "application/json");
    cs_json_name(b, "data");
    put_data(b, n);
    cs_json_end(b, '}');
}

// --- who wants them

static bool some_match(const struct cs_list *patterns, const char *text) {
    for (size_t i = 0; i < patterns->count; i++)
        if (cs_pattern_matches(patterns->items[i], text))
            return true;
    return patterns->count == 0;
}

bool cs_notice_is_wanted(const struct cs_notice_settings *s, const struct cs_notice *n) {
    bool asked = false;
    for (size_t i = 0; i < s->on.count; i++)
        asked |= strcmp(s->on.items[i], cs_notice_kind_word(n->kind)) == 0;
    // What is of no account concerns all; what has no name is of no certificate.
    return asked && (!n->account[0] || some_match(&s->accounts, n->account)) &&
           (!n->name[0] || some_match(&s->names, n->name));
}
