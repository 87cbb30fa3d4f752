// SPDX-License-Identifier: Apache-2.0
#include "prefetch.h"

#include <stdio.h>
#include <string.h>

#include "certsync/model/text.h"

// "<kind>/<a>" or "<kind>/<a>/<b>" or "<kind>/<a>/<b>/<c>". False: longer than any key.
static bool join(char ret[CS_STATE_KEY_MAX + 1], const char *kind, const char *a, const char *b,
                 const char *c) {
    const char *const parts[] = {kind, a, b, c};
    size_t len = 0;
    for (size_t i = 0; i < CS_ARRAY_LEN(parts) && parts[i]; i++) {
        size_t n = strlen(parts[i]);
        if (len + n + 1 > CS_STATE_KEY_MAX)
            return false;
        if (i > 0)
            ret[len++] = '/';
        memcpy(ret + len, parts[i], n);
        len += n;
    }
    ret[len] = '\0';
    return true;
}

// Notes a document.
static void want(struct cs_state *s, const char *kind, const char *a, const char *b, const char *c) {
    char key[CS_STATE_KEY_MAX + 1];
    struct cs_bytes ignored;
    if (join(key, kind, a, b, c))
        cs_state_get(s, key, &ignored);
}

static void want_hex(struct cs_state *s, const char *kind, const char *account, const uint8_t sha256[32]) {
    char hex[65];
    cs_hex_encode(sha256, 32, hex);
    want(s, kind, account, hex, NULL);
}

static void want_origin(struct cs_state *s, int32_t origin) {
    char stream[16];
    snprintf(stream, sizeof stream, "p%d", (int)origin);
    want(s, "stream", stream, NULL, NULL);
}

static void want_certificate(struct cs_state *s, const struct cs_prepared *p) {
    const struct cs_event *ev = p->event;
    want(s, "name", ev->account, ev->data.upload.name, NULL);
    want(s, "cert", ev->account, ev->subject, NULL);
    if (ev->data.upload.part[0].csr && p->leaves_len > 0)
        want_hex(s, "csr-spki", ev->account, p->leaf[0]->spki_sha256);
}

// By type, beyond what every event needs.
static void want_by_type(struct cs_state *s, const struct cs_prepared *p) {
    const struct cs_event *ev = p->event;
    switch (ev->type) {
    case CS_EVENT_CERTIFICATE_UPLOAD:
    case CS_EVENT_CERTIFICATE_ISSUE:
        want_certificate(s, p);
        break;
    case CS_EVENT_CERTIFICATE_DELETE:
    case CS_EVENT_CERTIFICATE_SHARE:
    case CS_EVENT_CERTIFICATE_UNSHARE:
        want(s, "cert", ev->account, ev->subject, NULL);
        break;
    case CS_EVENT_CSR_ADD:
        if (p->csr)
            want_hex(s, "csr-spki", ev->account, p->csr->spki_sha256);
        want(s, "csr", ev->account, ev->subject, NULL);
        break;
    case CS_EVENT_CSR_DELETE:
        want(s, "csr", ev->account, ev->subject, NULL);
        break;
    case CS_EVENT_AGENT_ENROLL:
    case CS_EVENT_AGENT_REVOKE:
    case CS_EVENT_AGENT_ROTATE:
        want(s, "key", ev->account, ev->subject, NULL);
        want(s, "trust", ev->subject, NULL, NULL);
        break;
    case CS_EVENT_SHARE_OFFER:
        want_origin(s, ev->data.offer.origin);
        want(s, "share-in", ev->account, ev->data.offer.share, NULL);
        want(s, "shared-in", ev->account, ev->data.offer.owner_account, ev->subject);
        break;
    case CS_EVENT_SHARE_WITHDRAW:
        want_origin(s, ev->data.withdraw.origin);
        want(s, "share-in", ev->account, ev->data.withdraw.share, NULL);
        want(s, "shared-in", ev->account, ev->data.withdraw.owner_account, ev->subject);
        break;
    case CS_EVENT_SHARE_ANSWER:
        want_origin(s, ev->data.answer.origin);
        want(s, "share", ev->account, ev->data.answer.share, NULL);
        want(s, "cert", ev->account, ev->subject, NULL);
        want(s, "outcome", ev->account, ev->data.answer.share, NULL); // the share's id is its event's
        break;
    case CS_EVENT_TRUST_ADD:
    case CS_EVENT_TRUST_REMOVE:
        want(s, "trust", ev->subject, NULL, NULL);
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
    const struct cs_event *ev = p->event;
    want(s, "system", NULL, NULL, NULL);
    want(s, "trust", ev->kid, NULL, NULL);
    want(s, "stream", ev->kid, NULL, NULL);
    if (ev->account[0]) {
        want(s, "key", ev->account, ev->kid, NULL);
        want(s, "account", ev->account, NULL, NULL);
    }
    if (p->custodian[0])
        want(s, "trust", p->custodian, NULL, NULL);
}

void cs_prefetch(struct cs_state *state, const struct cs_prepared *p) {
    const struct cs_event *ev = p->event;
    if (!ev) {
        want(state, "system", NULL, NULL, NULL);
        return;
    }
    // Whose key was at hand is there, as a rule, with account, stream and custodian.
    if (!p->sig_checked)
        want_sender(state, p);
    if (ev->account[0])
        want(state, "outcome", ev->account, ev->id, NULL);
    want_by_type(state, p);
}

static void expect(struct cs_ahead *a, const struct cs_state *s, bool index, const char *kind, const char *of,
                   const char *kid) {
    char key[CS_STATE_KEY_MAX + 1];
    if (join(key, kind, of, kid, NULL))
        a->what[a->len++] = cs_state_expect(s, key, index);
}

void cs_ahead_expect(struct cs_ahead *ret, const struct cs_state *state, const struct cs_prepared *p) {
    const struct cs_event *ev = p->event;
    ret->len = 0;
    if (!ev || !ev->account[0])
        return;
    expect(ret, state, false, "account", ev->account, NULL);
    expect(ret, state, false, "key", ev->account, ev->kid);
    expect(ret, state, false, "trust", ev->kid, NULL);
    expect(ret, state, false, "stream", ev->kid, NULL);
    expect(ret, state, true, "seen", ev->kid, NULL);
    expect(ret, state, true, "outcomes", ev->account, NULL);
    if (ev->type != CS_EVENT_CERTIFICATE_UPLOAD && ev->type != CS_EVENT_CERTIFICATE_ISSUE)
        return;
    expect(ret, state, true, "view", ev->account, NULL);
    expect(ret, state, true, "expiry", ev->account, NULL);
}

void cs_ahead_fetch(const struct cs_ahead *a, const struct cs_state *state) {
    for (size_t i = 0; i < a->len; i++)
        cs_state_fetch(state, a->what[i]);
}
