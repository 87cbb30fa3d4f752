// SPDX-License-Identifier: Apache-2.0
//
// The owner's end of shares. A share is pending until the recipient's partition answers, open from
// the first acceptance, and closed for good by a refusal, a removal, or the owner:
//
//               accepted            refused, removed      unshare, cascade, account    new version
//   pending     open; concluded     closed; concluded     closed; concluded; withdraw  offer
//   open        -                   closed                closed; withdraw             offer
//   closed      nothing             nothing               -                            -
#include <stdlib.h>
#include <string.h>

#include "rules/rules_internal.h"
#include "rules/rules_table.h"

// ---- rules

bool cs_rule_not_shared_in(struct cs_judge *j) {
    return !j->f.shared_in_only;
}

bool cs_rule_share_other(struct cs_judge *j) {
    return strcmp(j->ev->data.share.to, j->ev->account) != 0;
}

bool cs_rule_share_source(struct cs_judge *j) {
    return j->f.cert.summary.source != CS_SOURCE_UPLOADED;
}

bool cs_rule_share_valid(struct cs_judge *j) {
    return cs_summary_not_after(&j->f.cert.summary) >= j->now_s;
}

bool cs_rule_share_verified(struct cs_judge *j) {
    return j->f.account.verified;
}

// The reference to the open or pending share with the account.
static struct cs_share_ref *ref_to(const struct cs_certificate *cert, const char *account) {
    for (size_t i = 0; i < cert->shares_len; i++)
        if (strcmp(cert->shares[i].to, account) == 0)
            return &cert->shares[i];
    return NULL;
}

bool cs_rule_share_new(struct cs_judge *j) {
    return !ref_to(&j->f.cert, j->ev->data.share.to);
}

bool cs_rule_share_limit(struct cs_judge *j) {
    return (int64_t)j->f.cert.shares_len < j->f.account.limit_shares;
}

bool cs_rule_share_there(struct cs_judge *j) {
    return ref_to(&j->f.cert, j->ev->data.share.to) != NULL;
}

// ---- effects

static void emit_offer(struct cs_judge *j, const struct cs_certificate *cert, const struct cs_share *share) {
    struct cs_event *offer = cs_judge_emit(j, CS_EVENT_SHARE_OFFER, share->to, cert->id);
    if (!offer)
        return;
    CS_COPY(offer->data.offer.share, share->id);
    CS_COPY(offer->data.offer.owner_account, j->ev->account);
    CS_COPY(offer->data.offer.owner, j->f.account.owner);
    offer->data.offer.site = j->f.account.site;
    offer->data.offer.version = cert->summary.version;
    offer->data.offer.origin = j->ctx->partition;
    if (!cs_cert_summary_copy(&cert->summary, &offer->data.offer.certificate, j->err))
        j->failed = true;
}

static void emit_withdraw(struct cs_judge *j, const struct cs_share *share, enum cs_code why) {
    struct cs_event *withdraw = cs_judge_emit(j, CS_EVENT_SHARE_WITHDRAW, share->to, share->certificate);
    if (!withdraw)
        return;
    CS_COPY(withdraw->data.withdraw.share, share->id);
    CS_COPY(withdraw->data.withdraw.owner_account, j->ev->account);
    withdraw->data.withdraw.origin = j->ctx->partition;
    withdraw->data.withdraw.code = why;
}

// Shares that wait for an answer, by age. An old one shows that the recipient's partition is stuck.
static void mark_pending(struct cs_judge *j, const struct cs_share *share, bool pending) {
    const char *member = cs_member_pair(CS_NEW_KEY, j->ev->account, share->id);
    if (pending)
        cs_state_add(j->state, cs_key_pending(CS_NEW_KEY), member, share->created_ms);
    else
        cs_state_remove(j->state, cs_key_pending(CS_NEW_KEY), member);
}

void cs_effect_share(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_certificate *cert = &j->f.cert;
    struct cs_share share = {.state = CS_SHARE_PENDING,
                             .version = cert->summary.version,
                             .created_ms = j->record->timestamp_ms,
                             .updated_ms = j->record->timestamp_ms};
    CS_COPY(share.id, ev->id);
    CS_COPY(share.certificate, cert->id);
    CS_COPY(share.to, ev->data.share.to);
    struct cs_share_ref *bigger = realloc(cert->shares, (cert->shares_len + 1) * sizeof(*bigger));
    if (!bigger) {
        cs_judge_fail_oom(j);
        return;
    }
    cert->shares = bigger;
    struct cs_share_ref *ref = &bigger[cert->shares_len++];
    memcpy(ref->share, share.id, sizeof(ref->share));
    memcpy(ref->to, share.to, sizeof(ref->to));
    cs_judge_put_share(j, &share);
    cs_judge_put_certificate(j, cert);
    cs_state_add(j->state, cs_key_shares(CS_NEW_KEY, ev->account),
                 cs_member_share(CS_NEW_KEY, true, share.id), 0);
    mark_pending(j, &share, true);
    emit_offer(j, cert, &share);
    j->ret->verdict.status = CS_STATUS_PENDING;
    cs_judge_tell(j, &cert->summary);
}

void cs_share_offer_all(struct cs_judge *j, const struct cs_certificate *cert) {
    for (size_t i = 0; i < cert->shares_len; i++) {
        struct cs_share share;
        if (!cs_judge_read_share(j, cs_key_share(CS_NEW_KEY, j->ev->account, cert->shares[i].share), &share))
            continue;
        share.version = cert->summary.version;
        share.updated_ms = j->record->timestamp_ms;
        cs_judge_put_share(j, &share);
        emit_offer(j, cert, &share);
    }
}

// Ends the document and the index. The caller keeps the certificate's list.
static void end_share(struct cs_judge *j, struct cs_share *share, enum cs_code why, enum cs_code concluded) {
    if (share->state == CS_SHARE_PENDING) {
        cs_judge_conclude(j, share->id, CS_STATUS_REJECTED, concluded);
        mark_pending(j, share, false);
    }
    share->state = CS_SHARE_CLOSED;
    share->code = why;
    share->updated_ms = j->record->timestamp_ms;
    cs_judge_put_share(j, share);
    cs_state_remove(j->state, cs_key_shares(CS_NEW_KEY, j->ev->account),
                    cs_member_share(CS_NEW_KEY, true, share->id));
}

void cs_share_close(struct cs_judge *j, struct cs_share *share, enum cs_code why) {
    if (share->state == CS_SHARE_CLOSED)
        return;
    end_share(j, share, why, CS_CODE_SHARE_CLOSED);
    emit_withdraw(j, share, why);
}

static void drop_ref(struct cs_certificate *cert, const char *share) {
    for (size_t i = 0; i < cert->shares_len; i++) {
        if (strcmp(cert->shares[i].share, share) != 0)
            continue;
        memmove(&cert->shares[i], &cert->shares[i + 1], (cert->shares_len - i - 1) * sizeof(*cert->shares));
        cert->shares_len--;
        return;
    }
}

void cs_effect_unshare(struct cs_judge *j) {
    struct cs_certificate *cert = &j->f.cert;
    const struct cs_share_ref *ref = ref_to(cert, j->ev->data.share.to);
    struct cs_share share;
    if (!cs_judge_read_share(j, cs_key_share(CS_NEW_KEY, j->ev->account, ref->share), &share))
        return;
    cs_share_close(j, &share, CS_CODE_SHARE_CLOSED);
    drop_ref(cert, share.id);
    cs_judge_put_certificate(j, cert);
    cs_judge_tell(j, &cert->summary);
}

// The first acceptance opens the share and ends its event. A refusal or removal closes the share.
// If the recipient had it already, he refused a new version.
void cs_effect_answer(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_share *share = &j->f.share;
    enum cs_code code = ev->data.answer.code ? ev->data.answer.code : CS_CODE_SHARE_CLOSED;
    if (!j->f.has_share || share->state == CS_SHARE_CLOSED) {
        j->ret->verdict.code = CS_CODE_SHARE_CLOSED;
        return;
    }
    cs_judge_tell(j, &j->f.cert.summary); // an open or pending share's certificate is there
    switch (ev->data.answer.reply) {
    case CS_REPLY_ACCEPTED:
        if (share->state == CS_SHARE_PENDING) {
            cs_judge_conclude(j, share->id, CS_STATUS_APPLIED, CS_CODE_NONE);
            mark_pending(j, share, false);
        }
        share->state = CS_SHARE_OPEN;
        if (ev->data.answer.version > share->accepted)
            share->accepted = ev->data.answer.version;
        share->updated_ms = j->record->timestamp_ms;
        cs_judge_put_share(j, share);
        break;
    case CS_REPLY_REFUSED:
    case CS_REPLY_REMOVED:
        end_share(j, share, code, code);
        drop_ref(&j->f.cert, share->id);
        cs_judge_put_certificate(j, &j->f.cert);
        break;
    }
}

// ---- when an account's owner, site or verification changes

static void end_own(struct cs_judge *j, const char *id, enum cs_code why) {
    struct cs_share share;
    if (!cs_judge_read_share(j, cs_key_share(CS_NEW_KEY, j->ev->account, id), &share))
        return;
    cs_share_close(j, &share, why);
    // All its shares end now. So the first one empties the list.
    CS_AUTO(cs_certificate_clear) struct cs_certificate cert;
    memset(&cert, 0, sizeof(cert));
    const char *key = cs_key_cert(CS_NEW_KEY, j->ev->account, share.certificate);
    if (cs_judge_read_certificate(j, key, &cert) && cert.shares_len > 0) {
        cert.shares_len = 0;
        cs_judge_put_certificate(j, &cert);
    }
}

static void end_shared_in(struct cs_judge *j, const char *id, enum cs_code why) {
    struct cs_share_in end;
    if (!cs_judge_read_share_in(j, cs_key_share_in(CS_NEW_KEY, j->ev->account, id), &end))
        return;
    CS_AUTO(cs_shared_in_clear) struct cs_shared_in entry;
    memset(&entry, 0, sizeof(entry));
    const char *key = cs_key_shared_in(CS_NEW_KEY, j->ev->account, end.owner_account, end.certificate);
    if (cs_judge_read_shared_in(j, key, &entry))
        cs_shared_in_remove(j, &entry, why, true);
}

void cs_shares_end(struct cs_judge *j, enum cs_code why) {
    const struct cs_member *members = NULL;
    size_t n = 0;
    enum cs_look found = cs_state_list(j->state, cs_key_shares(CS_NEW_KEY, j->ev->account), &members, &n);
    j->needed = j->needed || found == CS_NEEDED;
    if (found != CS_FOUND)
        return;
    // The list is lent only until something is written.
    char(*names)[CS_UUID_LEN + 5] = calloc(n, sizeof(*names));
    if (!names) {
        cs_judge_fail_oom(j);
        return;
    }
    for (size_t i = 0; i < n; i++)
        CS_COPY(names[i], members[i].name);
    for (size_t i = 0; i < n && !j->failed; i++) {
        bool out;
        const char *id = cs_member_share_read(names[i], &out);
        if (out)
            end_own(j, id, why);
        else
            end_shared_in(j, id, why);
    }
    free(names);
}
