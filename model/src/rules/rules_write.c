// SPDX-License-Identifier: Apache-2.0
//
// The steps that effects are made of: documents, derived events, conclusions.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "rules/rules_internal.h"

void cs_judge_fail_oom(struct cs_judge *j) {
    j->failed = true;
    cs_err_oom(j->err);
}

struct cs_buf *cs_judge_begin(struct cs_judge *j) {
    cs_buf_reset(j->buf);
    return j->buf;
}

// The place for the document's decoded form (cs_state_put). NULL where none was written.
static void **put(struct cs_judge *j, const char *key) {
    if (cs_judge_stopped(j))
        return NULL;
    if (!cs_buf_ok(j->buf, j->err)) {
        cs_err_prepend(j->err, "document %s", key);
        j->failed = true;
        return NULL;
    }
    return cs_state_put(j->state, key, cs_buf_bytes(j->buf));
}

void cs_judge_put(struct cs_judge *j, const char *key) {
    (void)put(j, key);
}

void cs_judge_put_id(struct cs_judge *j, const char *key, const char *id) {
    cs_json_put_str(cs_judge_begin(j), id);
    cs_judge_put(j, key);
}

// The account's next event finds it decoded.
void cs_judge_put_account(struct cs_judge *j) {
    cs_account_encode(cs_judge_begin(j), &j->f.account);
    void **decoded = put(j, cs_key_account(CS_NEW_KEY, j->ev->account));
    if (decoded)
        cs_judge_keep_decoded(j, decoded, &j->f.account, sizeof j->f.account);
}

void cs_judge_put_certificate(struct cs_judge *j, const struct cs_certificate *cert) {
    cs_certificate_encode(cs_judge_begin(j), cert);
    cs_judge_put(j, cs_key_cert(CS_NEW_KEY, j->ev->account, cert->id));
}

void cs_judge_put_share(struct cs_judge *j, const struct cs_share *share) {
    cs_share_encode(cs_judge_begin(j), share);
    cs_judge_put(j, cs_key_share(CS_NEW_KEY, j->ev->account, share->id));
}

// The id is SHA-256 over the parts, the log's id among them, each ended by a NUL. So everybody who decides the same event
// makes the same id. In another epoch it is another event.
static void derived_id(struct cs_judge *j, size_t n, cs_uuid ret) {
    static const char what[] = "certsync.derived.v1";
    char number[48];
    int len = snprintf(number, sizeof(number), "%zu", n);
    if (j->ctx->epoch > 0)
        len += 1 + snprintf(number + len + 1, sizeof(number) - (size_t)len - 1, "%" PRId64, j->ctx->epoch);
    uint8_t hash[32];
    cs_crypto_sha256_parts(
        j->ctx->crypto,
        (const struct cs_bytes[]){{(const uint8_t *)what, sizeof(what)},
                                  {(const uint8_t *)j->ctx->log_id, strlen(j->ctx->log_id) + 1},
                                  {(const uint8_t *)j->ev->id, CS_UUID_LEN + 1},
                                  {(const uint8_t *)number, (size_t)len + 1}},
        4, hash);
    cs_uuid_v8(hash, ret);
}

struct cs_event *cs_judge_emit(struct cs_judge *j, enum cs_event_type type, const char *account,
                               const char *certificate) {
    struct cs_derived *d = &j->ret->derived;
    struct cs_event **bigger = realloc(d->events, (d->len + 1) * sizeof(struct cs_event *));
    if (bigger)
        d->events = bigger;
    struct cs_event *ev = calloc(1, sizeof(*ev));
    if (!bigger || !ev) {
        free(ev);
        cs_judge_fail_oom(j);
        return NULL;
    }
    d->events[d->len++] = ev;
    ev->type = type;
    cs_event_set_origin(ev, j->ctx->partition, j->ctx->epoch);
    derived_id(j, d->len, ev->id);
    CS_COPY(ev->log_id, j->ctx->log_id);
    CS_COPY(ev->account, account);
    CS_COPY(ev->subject, certificate);
    ev->time_s = j->now_s;
    return ev;
}

static void tell_leaf(struct cs_verdict *v, const uint8_t sha256[32], const char *serial,
                      int64_t not_after_s) {
    struct cs_told_leaf *leaf = &v->leaves[v->leaves_len++];
    memcpy(leaf->sha256, sha256, sizeof leaf->sha256);
    CS_COPY(leaf->serial, serial);
    leaf->not_after_s = not_after_s;
}

void cs_judge_tell(struct cs_judge *j, const struct cs_cert_summary *s) {
    struct cs_verdict *v = &j->ret->verdict;
    CS_COPY(v->name, s->name);
    v->version = s->version;
    v->leaves_len = 0;
    for (size_t i = 0; i < s->leaves_len; i++)
        tell_leaf(v, s->leaves[i].sha256, s->leaves[i].serial, s->leaves[i].not_after_s);
}

void cs_judge_tell_brought(struct cs_judge *j) {
    const struct cs_prepared *p = j->prepared;
    if (p->content_code != CS_CODE_NONE)
        return;
    for (size_t i = 0; i < p->leaves_len; i++)
        tell_leaf(&j->ret->verdict, p->leaf[i]->sha256, p->leaf[i]->serial_hex, p->leaf[i]->not_after_s);
}

void cs_judge_conclude(struct cs_judge *j, const char *event, enum cs_status status, enum cs_code code) {
    struct cs_verdict *v = &j->ret->verdict;
    struct cs_conclusion *bigger = realloc(v->concludes, (v->concludes_len + 1) * sizeof(*bigger));
    if (!bigger) {
        cs_judge_fail_oom(j);
        return;
    }
    v->concludes = bigger;
    struct cs_conclusion *c = &bigger[v->concludes_len++];
    *c = (struct cs_conclusion){.status = status, .code = code};
    CS_COPY(c->event, event);
    CS_COPY(c->account, j->ev->account);
    // Its outcome document is rewritten with how it ended.
    struct cs_bytes value;
    (void)cs_judge_look(j, cs_key_outcome(CS_NEW_KEY, j->ev->account, event), &value);
}
