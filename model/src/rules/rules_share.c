// SPDX-License-Identifier: Apache-2.0
//
// Shares between two accounts, both ends.
//
// The owner's end. A share is pending until the recipient's partition answers, open from
// the first acceptance, and closed for good by a refusal, a removal, or the owner:
//
//               accepted         refused            removed            unshare, cascade,  new version
//                                                                      account changes
//   pending     open; concluded  closed; concluded  closed; concluded  closed; concluded  offer
//                                                   withdraw           withdraw
//   open        -                closed             closed; withdraw   closed; withdraw   offer
//   closed      withdraw         nothing            nothing            -                  -
//
// The recipient's end. Nobody writes into another's space: what the account does not take leaves
// nothing there, and what its owner takes back is gone.
//
//            offer                     withdraw   own delete         account changes
//   none     taken: open, accepted     nothing    (not found)        nothing
//            else: none, refused
//   open     news: taken, accepted     none       closed, removed    closed, removed
//            news that is not taken:
//            none, removed
//            no news: accepted again
//   closed   removed                   none       (not found)        nothing
//
// News is a newer version, or the same version with another name or chain, or other tags.
//
// Offers and withdrawals of a share come in the order in which the owner made them. So nothing comes
// after a withdrawal. The owner answers a removal with one: until then the recipient's end stays
// closed, for offers that are under way. An offer that was under way when an earlier one was refused
// may be taken. Then its acceptance finds the share closed, and the withdrawal ends it.
#include <stdlib.h>
#include <string.h>

#include "rules/rules_internal.h"
#include "rules/rules_table.h"

// ---- rules of a share, at the owner

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

bool cs_rule_quota_shares_out(struct cs_judge *j) {
    return j->f.account.shares_out < j->f.account.limit_shares_out;
}

bool cs_rule_share_there(struct cs_judge *j) {
    return ref_to(&j->f.cert, j->ev->data.share.to) != NULL;
}

// ---- rules of an offer, at the recipient

bool cs_rule_offer_other(struct cs_judge *j) {
    return strcmp(j->ev->data.offer.owner_account, j->ev->account) != 0;
}

// One answer for others' accounts and for none, so that nobody learns which accounts exist.
bool cs_rule_offer_owner(struct cs_judge *j) {
    return j->f.has_account && strcmp(j->ev->data.offer.owner, j->f.account.owner) == 0;
}

bool cs_rule_offer_site(struct cs_judge *j) {
    return j->ev->data.offer.site == j->f.account.site;
}

bool cs_rule_offer_verified(struct cs_judge *j) {
    return j->f.account.verified;
}

bool cs_rule_offer_valid(struct cs_judge *j) {
    return cs_summary_not_after(&j->ev->data.offer.certificate) >= j->now_s;
}

// What is there already, or takes the place of an older share of the certificate, needs no room.
bool cs_rule_quota_shares_in(struct cs_judge *j) {
    return j->f.has_shared_in || j->f.account.shares_in < j->f.account.limit_shares_in;
}

static void count(struct cs_judge *j, int64_t *of_account, int by) {
    *of_account += by;
    cs_judge_put_account(j);
}

// ---- effects, at the owner

static void emit_offer(struct cs_judge *j, const struct cs_certificate *cert, const struct cs_share *share) {
    struct cs_event *offer = cs_judge_emit(j, CS_EVENT_SHARE_OFFER, share->to, cert->id);
    if (!offer)
        return;
    CS_COPY(offer->data.offer.share, share->id);
    CS_COPY(offer->data.offer.owner_account, j->ev->account);
    CS_COPY(offer->data.offer.owner, j->f.account.owner);
    offer->data.offer.site = j->f.account.site;
    offer->data.offer.version = cert->summary.version;
    if (!cs_cert_summary_copy(&cert->summary, &offer->data.offer.certificate, j->err))
        j->failed = true;
}

static void emit_withdraw(struct cs_judge *j, const struct cs_share *share, enum cs_code why) {
    struct cs_event *withdraw = cs_judge_emit(j, CS_EVENT_SHARE_WITHDRAW, share->to, share->certificate);
    if (!withdraw)
        return;
    CS_COPY(withdraw->data.withdraw.share, share->id);
    CS_COPY(withdraw->data.withdraw.owner_account, j->ev->account);
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
    count(j, &j->f.account.shares_out, 1);
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
    cs_tombstone_add(j, cs_key_share(CS_NEW_KEY, j->ev->account, share->id));
    cs_state_remove(j->state, cs_key_shares(CS_NEW_KEY, j->ev->account),
                    cs_member_share(CS_NEW_KEY, true, share->id));
    count(j, &j->f.account.shares_out, -1);
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

// Of a derived event that changed nothing here: not even its outcome is kept.
static void leave_nothing(struct cs_judge *j, enum cs_code code) {
    j->ret->verdict.code = code;
    j->ret->verdict.leaves_nothing = true;
}

// What was taken, but is closed here.
static void take_back(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_share closed = {.state = CS_SHARE_CLOSED};
    CS_COPY(closed.id, ev->data.answer.share);
    CS_COPY(closed.certificate, ev->subject);
    CS_COPY(closed.to, ev->data.answer.recipient);
    emit_withdraw(j, &closed, CS_CODE_SHARE_CLOSED);
}

// The first acceptance opens the share and ends its event. A refusal or removal closes the share.
// If the recipient had it already, he refused a new version.
void cs_effect_answer(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_share *share = &j->f.share;
    enum cs_code code = ev->data.answer.code ? ev->data.answer.code : CS_CODE_SHARE_CLOSED;
    if (!j->f.has_share || share->state == CS_SHARE_CLOSED) {
        leave_nothing(j, CS_CODE_SHARE_CLOSED);
        if (ev->data.answer.reply == CS_REPLY_ACCEPTED)
            take_back(j);
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
        if (ev->data.answer.reply == CS_REPLY_REMOVED)
            emit_withdraw(j, share, code);
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
        cs_shared_in_remove(j, &entry, why);
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

// ---- effects, at the recipient

static void answer(struct cs_judge *j, const char *owner_account, const char *certificate, const char *share,
                   enum cs_share_reply reply, int64_t version, enum cs_code code) {
    struct cs_event *ev = cs_judge_emit(j, CS_EVENT_SHARE_ANSWER, owner_account, certificate);
    if (!ev)
        return;
    CS_COPY(ev->data.answer.share, share);
    CS_COPY(ev->data.answer.recipient, j->ev->account);
    ev->data.answer.version = version;
    ev->data.answer.reply = reply;
    ev->data.answer.code = code;
}

static void answer_offer(struct cs_judge *j, enum cs_share_reply reply, int64_t version, enum cs_code code) {
    const struct cs_event *ev = j->ev;
    answer(j, ev->data.offer.owner_account, ev->subject, ev->data.offer.share, reply, version, code);
    j->ret->verdict.code = code;
}

static void put_share_in(struct cs_judge *j, const char *share, const char *owner_account,
                         const char *certificate, bool open, enum cs_code code) {
    struct cs_share_in end = {.open = open, .code = code, .updated_ms = j->record->timestamp_ms};
    CS_COPY(end.id, share);
    CS_COPY(end.owner_account, owner_account);
    CS_COPY(end.certificate, certificate);
    cs_share_in_encode(cs_judge_begin(j), &end);
    cs_judge_put(j, cs_key_share_in(CS_NEW_KEY, j->ev->account, share));
}

// The recipient sees it no more, and nothing stays.
static void drop_entry(struct cs_judge *j, const struct cs_shared_in *entry) {
    const char *account = j->ev->account;
    cs_state_delete(j->state,
                    cs_key_shared_in(CS_NEW_KEY, account, entry->owner_account, entry->certificate));
    cs_key member;
    cs_member_view(member, entry->summary.name, entry->owner_account, entry->certificate);
    cs_state_remove(j->state, cs_key_view(CS_NEW_KEY, account), member);
    cs_state_remove(j->state, cs_key_expiry(CS_NEW_KEY, account), member);
    cs_state_remove(j->state, cs_key_shares(CS_NEW_KEY, account),
                    cs_member_share(CS_NEW_KEY, false, entry->share));
    cs_state_delete(j->state, cs_key_share_in(CS_NEW_KEY, account, entry->share));
    count(j, &j->f.account.shares_in, -1);
}

static void answer_removed(struct cs_judge *j, const struct cs_shared_in *entry, enum cs_code why) {
    answer(j, entry->owner_account, entry->certificate, entry->share, CS_REPLY_REMOVED,
           entry->summary.version, why);
}

void cs_shared_in_remove(struct cs_judge *j, const struct cs_shared_in *entry, enum cs_code why) {
    drop_entry(j, entry);
    put_share_in(j, entry->share, entry->owner_account, entry->certificate, false, why);
    answer_removed(j, entry, why);
}

static void take_offer(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    const struct cs_cert_summary *summary = &ev->data.offer.certificate;
    int64_t now_ms = j->record->timestamp_ms;
    // The event lends summary: nothing is cleared here.
    struct cs_shared_in entry = {.summary = *summary,
                                 .created_ms = j->f.has_shared_in ? j->f.shared_in.created_ms : now_ms,
                                 .updated_ms = now_ms};
    CS_COPY(entry.share, ev->data.offer.share);
    CS_COPY(entry.owner_account, ev->data.offer.owner_account);
    CS_COPY(entry.certificate, ev->subject);
    entry.summary.version = ev->data.offer.version;
    cs_shared_in_encode(cs_judge_begin(j), &entry);
    cs_judge_put(j, cs_key_shared_in(CS_NEW_KEY, ev->account, entry.owner_account, entry.certificate));
    cs_key member;
    if (j->f.has_shared_in && strcmp(j->f.shared_in.summary.name, summary->name) != 0) {
        cs_member_view(member, j->f.shared_in.summary.name, entry.owner_account, entry.certificate);
        cs_state_remove(j->state, cs_key_view(CS_NEW_KEY, ev->account), member);
        cs_state_remove(j->state, cs_key_expiry(CS_NEW_KEY, ev->account), member);
    }
    cs_member_view(member, summary->name, entry.owner_account, entry.certificate);
    cs_state_add(j->state, cs_key_view(CS_NEW_KEY, ev->account), member, 0);
    cs_state_add(j->state, cs_key_expiry(CS_NEW_KEY, ev->account), member, cs_summary_ends(summary));
    cs_state_add(j->state, cs_key_shares(CS_NEW_KEY, ev->account),
                 cs_member_share(CS_NEW_KEY, false, entry.share), 0);
    put_share_in(j, entry.share, entry.owner_account, entry.certificate, true, CS_CODE_NONE);
    if (!j->f.has_shared_in)
        count(j, &j->f.account.shares_in, 1);
    answer_offer(j, CS_REPLY_ACCEPTED, entry.summary.version, CS_CODE_NONE);
    cs_judge_tell(j, &entry.summary);
}

// Whether the share-in document is of the share that the event means: senders choose the ids.
static bool is_same(const struct cs_judge *j, const char *owner_account) {
    return strcmp(j->f.share_in.owner_account, owner_account) == 0 &&
           strcmp(j->f.share_in.certificate, j->ev->subject) == 0;
}

// Whether the offer says more than what is held. Offers of a share come in the order in which they
// were made. Within one version, name, tags and chain may change.
static bool is_news(const struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    const struct cs_cert_summary *held = &j->f.shared_in.summary, *offered = &ev->data.offer.certificate;
    if (ev->data.offer.version != held->version)
        return ev->data.offer.version > held->version;
    return strcmp(offered->name, held->name) != 0 || offered->notes != held->notes ||
           offered->chain_ends_s != held->chain_ends_s || !cs_tags_equal(&offered->tags, &held->tags);
}

void cs_effect_offer(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_facts *f = &j->f;
    bool held =
        f->has_share_in && f->share_in.open && f->has_shared_in && is_same(j, ev->data.offer.owner_account);
    if (f->has_share_in && !held) {
        answer_offer(j, CS_REPLY_REMOVED, ev->data.offer.version, CS_CODE_SHARE_CLOSED);
        leave_nothing(j, CS_CODE_SHARE_CLOSED);
        return;
    }
    if (held && !is_news(j)) {
        answer_offer(j, CS_REPLY_ACCEPTED, f->shared_in.summary.version, CS_CODE_NONE);
        cs_judge_tell(j, &f->shared_in.summary);
        return;
    }
    enum cs_code why = cs_rules_offer(j);
    if (why != CS_CODE_NONE && held) {
        drop_entry(j, &f->shared_in);
        answer_removed(j, &f->shared_in, why);
        cs_judge_tell(j, &f->shared_in.summary);
        j->ret->verdict.code = why;
    } else if (why != CS_CODE_NONE) {
        answer_offer(j, CS_REPLY_REFUSED, ev->data.offer.version, why);
        leave_nothing(j, why);
    } else {
        // Its owner closed an older share of the same certificate already.
        if (!held && f->has_shared_in) {
            drop_entry(j, &f->shared_in);
            f->has_shared_in = false;
        }
        take_offer(j);
    }
}

// An end that the recipient closed by himself waits for this.
void cs_effect_withdraw(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_facts *f = &j->f;
    bool same = f->has_share_in && is_same(j, ev->data.withdraw.owner_account);
    if (same && f->share_in.open && f->has_shared_in) {
        drop_entry(j, &f->shared_in);
        cs_judge_tell(j, &f->shared_in.summary);
        return;
    }
    if (same)
        cs_state_delete(j->state, cs_key_share_in(CS_NEW_KEY, ev->account, ev->data.withdraw.share));
    leave_nothing(j, CS_CODE_SHARE_CLOSED);
}
