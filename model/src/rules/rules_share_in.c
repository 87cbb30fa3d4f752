// SPDX-License-Identifier: Apache-2.0
//
// The recipient's end of shares. An id that was ever closed stays so, whatever is offered later:
//
//            offer                     withdraw   own delete         account changes
//   none     taken: open, accepted     closed     (not found)        nothing
//            else: closed, refused
//   open     news: taken, accepted     closed     closed, removed    closed, removed
//            news that is not taken:
//            closed, removed
//            no news: accepted again
//   closed   removed                   nothing    (not found)        nothing
//
// News is a newer version, or the same version with another chain or other tags.
#include <string.h>

#include "rules/rules_internal.h"
#include "rules/rules_table.h"

// ---- rules of an offer

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

// ---- effects

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
    ev->data.answer.origin = j->ctx->partition;
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

void cs_shared_in_remove(struct cs_judge *j, const struct cs_shared_in *entry, enum cs_code why, bool tell) {
    const char *account = j->ev->account;
    cs_state_delete(j->state,
                    cs_key_shared_in(CS_NEW_KEY, account, entry->owner_account, entry->certificate));
    cs_key member;
    cs_member_view(member, entry->summary.name, entry->owner_account, entry->certificate);
    cs_state_remove(j->state, cs_key_view(CS_NEW_KEY, account), member);
    cs_state_remove(j->state, cs_key_expiry(CS_NEW_KEY, account), member);
    cs_state_remove(j->state, cs_key_shares(CS_NEW_KEY, account),
                    cs_member_share(CS_NEW_KEY, false, entry->share));
    put_share_in(j, entry->share, entry->owner_account, entry->certificate, false, why);
    if (tell)
        answer(j, entry->owner_account, entry->certificate, entry->share, CS_REPLY_REMOVED,
               entry->summary.version, why);
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
    cs_member_view(member, summary->name, entry.owner_account, entry.certificate);
    cs_state_add(j->state, cs_key_view(CS_NEW_KEY, ev->account), member, 0);
    cs_state_add(j->state, cs_key_expiry(CS_NEW_KEY, ev->account), member, cs_summary_ends(summary));
    cs_state_add(j->state, cs_key_shares(CS_NEW_KEY, ev->account),
                 cs_member_share(CS_NEW_KEY, false, entry.share), 0);
    put_share_in(j, entry.share, entry.owner_account, entry.certificate, true, CS_CODE_NONE);
    answer_offer(j, CS_REPLY_ACCEPTED, entry.summary.version, CS_CODE_NONE);
    cs_judge_tell(j, &entry.summary);
}

// Whether the share-in document is of the share that the event means: senders choose the ids.
static bool is_same(const struct cs_judge *j, const char *owner_account) {
    return strcmp(j->f.share_in.owner_account, owner_account) == 0 &&
           strcmp(j->f.share_in.certificate, j->ev->subject) == 0;
}

// Whether the offer says more than what is held. Offers of a share come in the order in which they
// were made. Within one version, tags and chain may change.
static bool is_news(const struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    const struct cs_cert_summary *held = &j->f.shared_in.summary, *offered = &ev->data.offer.certificate;
    if (ev->data.offer.version != held->version)
        return ev->data.offer.version > held->version;
    return offered->notes != held->notes || offered->chain_ends_s != held->chain_ends_s ||
           !cs_tags_equal(&offered->tags, &held->tags);
}

void cs_effect_offer(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_facts *f = &j->f;
    bool held =
        f->has_share_in && f->share_in.open && f->has_shared_in && is_same(j, ev->data.offer.owner_account);
    if (f->has_share_in && !held) {
        answer_offer(j, CS_REPLY_REMOVED, ev->data.offer.version, CS_CODE_SHARE_CLOSED);
        return;
    }
    if (held && !is_news(j)) {
        answer_offer(j, CS_REPLY_ACCEPTED, f->shared_in.summary.version, CS_CODE_NONE);
        cs_judge_tell(j, &f->shared_in.summary);
        return;
    }
    enum cs_code why = cs_rules_offer(j);
    if (why != CS_CODE_NONE && held) {
        cs_shared_in_remove(j, &f->shared_in, why, true);
        cs_judge_tell(j, &f->shared_in.summary);
        j->ret->verdict.code = why;
    } else if (why != CS_CODE_NONE) {
        put_share_in(j, ev->data.offer.share, ev->data.offer.owner_account, ev->subject, false, why);
        answer_offer(j, CS_REPLY_REFUSED, ev->data.offer.version, why);
    } else {
        // Its owner closed an older share of the same certificate already.
        if (!held && f->has_shared_in) {
            cs_shared_in_remove(j, &f->shared_in, CS_CODE_SHARE_CLOSED, false);
            f->has_shared_in = false;
        }
        take_offer(j);
    }
}

void cs_effect_withdraw(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_facts *f = &j->f;
    const char *share = ev->data.withdraw.share, *owner_account = ev->data.withdraw.owner_account;
    enum cs_code why = ev->data.withdraw.code ? ev->data.withdraw.code : CS_CODE_SHARE_CLOSED;
    if (!f->has_share_in)
        put_share_in(j, share, owner_account, ev->subject, false, why);
    else if (f->share_in.open && f->has_shared_in && is_same(j, owner_account)) {
        cs_shared_in_remove(j, &f->shared_in, why, false);
        cs_judge_tell(j, &f->shared_in.summary);
    } else
        j->ret->verdict.code = CS_CODE_SHARE_CLOSED;
}
