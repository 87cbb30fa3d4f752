// SPDX-License-Identifier: Apache-2.0
//
// Two accounts of one owner, in different partitions, with a certificate to share: for the tests of both
// ends.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/model/codes.h"
#include "fixture.h"

struct family {
    cs_account_id owner, recipient;
    struct fx_key *owner_key, *recipient_key;
    const char *name;
    const char *certificate;
    cs_uuid share;
};

static inline void family_make(struct fx *fx, struct family *f) {
    static int number;
    memset(f, 0, sizeof(*f));
    snprintf(f->owner, sizeof(f->owner), "owner-%d", ++number);
    do
        snprintf(f->recipient, sizeof(f->recipient), "recipient-%d", ++number);
    while (fx_partition_of(fx, f->recipient) == fx_partition_of(fx, f->owner));
    fx_account(fx, f->owner, "acme-inc", CS_SITE_CN, true);
    fx_account(fx, f->recipient, "acme-inc", CS_SITE_CN, true);
    f->owner_key = fx_agent(fx, f->owner, CS_CAN_ALL & ~CS_CAN_ENROLL, "*");
    f->recipient_key = fx_agent(fx, f->recipient, CS_CAN_ALL & ~CS_CAN_ENROLL, "*");
    f->name = "www.example.com";
    f->certificate = fx_official(fx, f->owner, f->name);
}

// Takes everything that was emitted out of the queue: what it is, one after the other: "offer 2
// owner-1>recipient-1".
static inline const char *family_emitted(struct fx *fx) {
    static char text[1024];
    text[0] = '\0';
    for (; fx_waiting(fx) > 0; fx->queue_at++) {
        struct cs_event *ev = fx->queue[fx->queue_at].event;
        size_t len = strlen(text);
        char *at = text + len;
        size_t left = sizeof(text) - len;
        const char *gap = len ? "; " : "";
        if (ev->type == CS_EVENT_SHARE_OFFER)
            snprintf(at, left, "%soffer %d", gap, (int)ev->data.offer.version);
        else if (ev->type == CS_EVENT_SHARE_WITHDRAW)
            snprintf(at, left, "%swithdraw %s", gap, cs_code_name(ev->data.withdraw.code));
        else
            snprintf(at, left, "%s%s %d%s%s", gap,
                     ev->data.answer.reply == CS_REPLY_ACCEPTED  ? "accepted"
                     : ev->data.answer.reply == CS_REPLY_REFUSED ? "refused"
                                                                 : "removed",
                     (int)ev->data.answer.version, ev->data.answer.code ? " " : "",
                     cs_code_name(ev->data.answer.code));
        cs_event_free(ev);
    }
    return text;
}

// A derived event as the consumer of that account's partition would number it.
static inline struct cs_event family_derived(struct fx *fx, enum cs_event_type type, const char *to,
                                             const char *from, const char *certificate) {
    struct cs_event ev = fx_event(fx, type, to, fx->service, certificate);
    ev.seq = ++fx->partition[fx_partition_of(fx, from)].derived;
    return ev;
}

static inline const struct cs_verdict *family_update(struct fx *fx, const char *account, enum cs_code what) {
    struct cs_event ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, account, fx->admin, account);
    struct cs_event_account *a = &ev.data.account;
    if (what == CS_CODE_SHARE_OWNER) {
        a->has_owner = true;
        strcpy(a->owner, "somebody-else");
    } else if (what == CS_CODE_SHARE_SITE) {
        a->has_site = true;
        a->site = CS_SITE_INTL;
    } else if (what == CS_CODE_SHARE_UNVERIFIED) {
        a->has_verified = true;
    } else { // nothing that shares depend on
        a->has_owner = a->has_verified = a->verified = a->has_site = a->has_shares = true;
        a->site = CS_SITE_CN;
        a->limit_shares = 9;
        strcpy(a->owner, "acme-inc");
    }
    return fx_send(fx, fx->admin, &ev);
}

static inline const struct cs_verdict *family_renew(struct fx *fx, struct family *f, int64_t lasts_s) {
    struct fx_cert *cert = fx_cert(fx, (struct fx_cert_how){.lasts_s = lasts_s});
    struct cs_event ev = fx_issue(fx, f->owner, NULL, f->name, cert);
    ev.data.upload.replace = true;
    return fx_send(fx, fx->issuer, &ev);
}
