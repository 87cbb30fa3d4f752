// SPDX-License-Identifier: Apache-2.0
#include "prefetch.h"

#include <stdio.h>
#include <string.h>

#include "certsync/model/text.h"

// Notes a document.
static void want(struct cs_state *s, const char *key) {
    struct cs_bytes ignored;
    cs_state_get(s, key, &ignored);
}

static void want_csr_for(struct cs_state *s, const char *account, const uint8_t spki_sha256[32]) {
    cs_key key;
    char hex[65];
    cs_hex_encode(spki_sha256, 32, hex);
    want(s, cs_key_csr_spki(key, account, hex));
}

static void want_origin(struct cs_state *s, int32_t origin) {
    cs_key key;
    char stream[16];
    snprintf(stream, sizeof stream, "p%d", (int)origin);
    want(s, cs_key_stream(key, stream));
}

static void want_certificate(struct cs_state *s, const struct cs_prepared *p) {
    cs_key key;
    const struct cs_event *ev = p->event;
    want(s, cs_key_name(key, ev->account, ev->data.upload.name));
    want(s, cs_key_cert(key, ev->account, ev->subject));
    if (ev->data.upload.part[0].csr && p->leaves_len > 0)
        want_csr_for(s, ev->account, p->leaf[0]->spki_sha256);
}

// By type, beyond what every event needs.
static void want_by_type(struct cs_state *s, const struct cs_prepared *p) {
    cs_key key;
    const struct cs_event *ev = p->event;
    switch (ev->type) {
    case CS_EVENT_CERTIFICATE_UPLOAD:
    case CS_EVENT_CERTIFICATE_ISSUE:
        want_certificate(s, p);
        break;
    case CS_EVENT_CERTIFICATE_DELETE:
    case CS_EVENT_CERTIFICATE_SHARE:
    case CS_EVENT_CERTIFICATE_UNSHARE:
        want(s, cs_key_cert(key, ev->account, ev->subject));
        break;
    case CS_EVENT_CSR_ADD:
        if (p->csr)
            want_csr_for(s, ev->account, p->csr->spki_sha256);
        want(s, cs_key_csr(key, ev->account, ev->subject));
        want(s, cs_key_csr_name(key, ev->account, ev->data.csr.name));
        break;
    case CS_EVENT_CSR_DELETE:
        want(s, cs_key_csr(key, ev->account, ev->subject));
        break;
    case CS_EVENT_AGENT_ENROLL:
    case CS_EVENT_AGENT_REVOKE:
    case CS_EVENT_AGENT_ROTATE:
        want(s, cs_key_agent(key, ev->account, ev->subject));
        want(s, cs_key_trust(key, ev->subject));
        break;
    case CS_EVENT_SHARE_OFFER:
        want_origin(s, ev->data.offer.origin);
        want(s, cs_key_share_in(key, ev->account, ev->data.offer.share));
        want(s, cs_key_shared_in(key, ev->account, ev->data.offer.owner_account, ev->subject));
        break;
    case CS_EVENT_SHARE_WITHDRAW:
        want_origin(s, ev->data.withdraw.origin);
        want(s, cs_key_share_in(key, ev->account, ev->data.withdraw.share));
        want(s, cs_key_shared_in(key, ev->account, ev->data.withdraw.owner_account, ev->subject));
        break;
    case CS_EVENT_SHARE_ANSWER:
        want_origin(s, ev->data.answer.origin);
        want(s, cs_key_share(key, ev->account, ev->data.answer.share));
        want(s, cs_key_cert(key, ev->account, ev->subject));
        // The share's id is its event's.
        want(s, cs_key_outcome(key, ev->account, ev->data.answer.share));
        break;
    case CS_EVENT_TRUST_ADD:
    case CS_EVENT_TRUST_REMOVE:
        want(s, cs_key_trust(key, ev->subject));
        break;
    case CS_EVENT_NONE:
    case CS_EVENT_SYSTEM_GENESIS:
    case CS_EVENT_SYSTEM_RULESET:
    case CS_EVENT_ACCOUNT_REGISTER:
    case CS_EVENT_ACCOUNT_UPDATE:
    case CS_EVENT_AGENT_HEARTBEAT:
        break;
    }
}

static void want_sender(struct cs_state *s, const struct cs_prepared *p) {
    cs_key key;
    const struct cs_event *ev = p->event;
    want(s, cs_key_system(key));
    want(s, cs_key_trust(key, ev->kid));
    want(s, cs_key_stream(key, ev->kid));
    if (ev->account[0]) {
        want(s, cs_key_agent(key, ev->account, ev->kid));
        want(s, cs_key_account(key, ev->account));
    }
}

void cs_prefetch(struct cs_state *state, const struct cs_prepared *p) {
    cs_key key;
    const struct cs_event *ev = p->event;
    if (!ev) {
        want(state, cs_key_system(CS_NEW_KEY));
        return;
    }
    // Whose key was at hand is there, as a rule, with account, stream and custodian. Of anybody else it must be known
    // first whose key it is: what strangers send may not have the catalog read.
    if (!p->sig_checked || !p->sig_good) {
        want_sender(state, p);
        return;
    }
    if (ev->account[0])
        want(state, cs_key_outcome(key, ev->account, ev->id));
    want_by_type(state, p);
}

static void expect(struct cs_ahead *a, const struct cs_state *s, bool index, const char *key) {
    a->what[a->len++] = cs_state_expect(s, key, index);
}

void cs_ahead_expect(struct cs_ahead *ret, const struct cs_state *state, const struct cs_prepared *p) {
    cs_key key;
    const struct cs_event *ev = p->event;
    ret->len = 0;
    if (!ev || !ev->account[0])
        return;
    expect(ret, state, false, cs_key_account(key, ev->account));
    expect(ret, state, false, cs_key_agent(key, ev->account, ev->kid));
    expect(ret, state, false, cs_key_trust(key, ev->kid));
    expect(ret, state, false, cs_key_stream(key, ev->kid));
    expect(ret, state, true, cs_key_seen(key, ev->kid));
    expect(ret, state, true, cs_key_outcomes(key, ev->account));
    if (ev->type != CS_EVENT_CERTIFICATE_UPLOAD && ev->type != CS_EVENT_CERTIFICATE_ISSUE)
        return;
    expect(ret, state, true, cs_key_view(key, ev->account));
    expect(ret, state, true, cs_key_expiry(key, ev->account));
}

void cs_ahead_fetch(const struct cs_ahead *a, const struct cs_state *state) {
    for (size_t i = 0; i < a->len; i++)
        cs_state_fetch(state, a->what[i]);
}
