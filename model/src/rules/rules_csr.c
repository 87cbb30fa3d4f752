// SPDX-License-Identifier: Apache-2.0
//
// Certificate signing requests: kept so that a certificate may find its key.
#include <string.h>

#include "certsync/base/text.h"
#include "rules/rules_internal.h"
#include "rules/rules_table.h"

bool cs_rule_csr(struct cs_judge *j) {
    return j->f.has_csr;
}

static const char *spki_key(cs_key ret, const char *account, const uint8_t sha256[32]) {
    char hex[65];
    cs_hex_encode(sha256, 32, hex);
    return cs_key_csr_spki(ret, account, hex);
}

bool cs_csr_is_there(const struct cs_judge *j) {
    const struct cs_bytes *old = &j->f.csr.der, *new = &j->prepared->csr->der;
    return j->f.has_csr && strcmp(j->f.csr.name, j->ev->data.csr.name) == 0 &&
           old->len == new->len &&memcmp(old->data, new->data, new->len) == 0;
}

bool cs_rule_csr_key_new(struct cs_judge *j) {
    return !j->f.has_csr || cs_csr_is_there(j);
}

bool cs_rule_csr_name_new(struct cs_judge *j) {
    return !j->f.csr_named || cs_csr_is_there(j);
}

bool cs_rule_quota_requests(struct cs_judge *j) {
    return cs_csr_is_there(j) || j->f.account.requests < j->f.account.limit_requests;
}

int64_t cs_csr_bytes(const struct cs_csr_entry *csr) {
    return (int64_t)(csr->der.len + csr->key.len);
}

int64_t cs_csr_more_bytes(const struct cs_judge *j) {
    size_t sent = j->prepared->csr->der.len + j->ev->data.csr.key.bytes.len;
    return cs_csr_is_there(j) ? 0 : (int64_t)sent;
}

// The same request again changes nothing. The verdict names the one that is there.
void cs_effect_csr_add(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    const struct cs_csr *csr = j->prepared->csr;
    struct cs_verdict *v = &j->ret->verdict;
    if (cs_csr_is_there(j)) {
        v->code = CS_CODE_UNCHANGED;
        CS_COPY(v->subject, j->f.csr.id);
        return;
    }
    // Borrows everything from the event and the parsed request.
    struct cs_csr_entry entry = {.der = csr->der,
                                 .key = ev->data.csr.key.bytes,
                                 .subject = j->prepared->csr->subject_name,
                                 .names_len = cs_names_listed(csr->names, csr->names_len),
                                 .names = csr->names,
                                 .key_type = csr->key_type,
                                 .key_bits = csr->key_bits,
                                 .created_ms = j->record->timestamp_ms};
    CS_COPY(entry.id, ev->subject);
    CS_COPY(entry.name, ev->data.csr.name);
    memcpy(entry.spki_sha256, csr->spki_sha256, 32);
    cs_csr_entry_encode(cs_judge_begin(j), &entry);
    cs_judge_put(j, cs_key_csr(CS_NEW_KEY, ev->account, entry.id));
    cs_key key;
    cs_judge_put_id(j, spki_key(key, ev->account, entry.spki_sha256), entry.id);
    cs_judge_put_id(j, cs_key_csr_name(CS_NEW_KEY, ev->account, entry.name), entry.id);
    cs_state_add(j->state, cs_key_csrs(CS_NEW_KEY, ev->account),
                 cs_member_pair(CS_NEW_KEY, entry.name, entry.id), 0);
    j->f.account.requests++;
    j->f.account.bytes += cs_csr_bytes(&entry);
    cs_judge_put_account(j);
}

// Certificates that took their key from it keep it: their material holds a copy.
void cs_effect_csr_delete(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    const struct cs_csr_entry *csr = &j->f.csr;
    CS_COPY(j->ret->verdict.name, csr->name);
    struct cs_csr_entry tombstone = {.deleted = true};
    memcpy(tombstone.id, csr->id, sizeof(tombstone.id));
    cs_csr_entry_encode(cs_judge_begin(j), &tombstone);
    cs_judge_put(j, cs_key_csr(CS_NEW_KEY, ev->account, csr->id));
    cs_tombstone_add(j, cs_key_csr(CS_NEW_KEY, ev->account, csr->id));
    cs_key key;
    cs_state_delete(j->state, spki_key(key, ev->account, csr->spki_sha256));
    cs_state_delete(j->state, cs_key_csr_name(CS_NEW_KEY, ev->account, csr->name));
    cs_state_remove(j->state, cs_key_csrs(CS_NEW_KEY, ev->account),
                    cs_member_pair(CS_NEW_KEY, csr->name, csr->id));
    j->f.account.requests--;
    j->f.account.bytes -= cs_csr_bytes(csr);
    cs_judge_put_account(j);
}

void cs_csr_used(struct cs_judge *j, const struct cs_certificate *by) {
    struct cs_csr_entry *csr = &j->f.csr;
    csr->used = (struct cs_csr_use){.version = by->summary.version, .at_ms = j->record->timestamp_ms};
    CS_COPY(csr->used.certificate, by->id);
    CS_COPY(csr->used.name, by->summary.name);
    cs_csr_entry_encode(cs_judge_begin(j), csr);
    cs_judge_put(j, cs_key_csr(CS_NEW_KEY, j->ev->account, csr->id));
}
