// SPDX-License-Identifier: Apache-2.0
//
// What the agent's unit tests share: a temporary directory, a signing key, and small events. Everything
// asserts.
#pragma once

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/compose.h"
#include "spool/spool.h"

#define ASSERT_OK(call, err)                                                                                 \
    do {                                                                                                     \
        if (!(call))                                                                                         \
            fail_msg("%s: %s", #call, (err).msg);                                                            \
    } while (0)

struct agent_fixture {
    char dir[PATH_MAX];
    struct cs_crypto *crypto;
    struct cs_privkey *key;
    uint8_t *spki;
    size_t spki_len;
    cs_kid kid;
};

static inline struct agent_fixture *agent_fixture_new(void) {
    struct cs_err err;
    struct agent_fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    const char *tmp = getenv("TMPDIR");
    snprintf(f->dir, sizeof f->dir, "%s/cs-agent-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    ASSERT_OK(cs_crypto_new(&f->crypto, &err), err);
    ASSERT_OK(cs_privkey_generate(CS_KEY_P256, 0, &f->key, &err), err);
    ASSERT_OK(cs_privkey_spki(f->key, &f->spki, &f->spki_len, &err), err);
    cs_kid_of_spki(f->crypto, (struct cs_bytes){f->spki, f->spki_len}, f->kid);
    return f;
}

static inline void agent_fixture_free(struct agent_fixture *f) {
    char command[PATH_MAX + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
    free(f->spki);
    cs_privkey_free(f->key);
    cs_crypto_free(f->crypto);
    free(f);
}

// account "": an event for every partition.
static inline struct cs_composed *agent_event(const struct agent_fixture *f, const char *account) {
    struct cs_err err;
    struct cs_composed *c;
    struct cs_compose compose = {.crypto = f->crypto,
                                 .log_id = "unit_0a1b2c3d",
                                 .account = account,
                                 .kid = f->kid,
                                 .now_ms = 1795000000000};
    enum cs_event_type type = account[0] ? CS_EVENT_CERTIFICATE_SHARE : CS_EVENT_TRUST_REMOVE;
    ASSERT_OK(cs_compose_event(&compose, type, account[0] ? NULL : f->kid, &c, &err), err);
    if (account[0])
        snprintf(c->event.data.share.to, sizeof c->event.data.share.to, "other");
    else
        c->event.data.trust.role = CS_TRUST_ADMIN;
    return c;
}

static inline struct cs_spool *agent_spool(const struct agent_fixture *f) {
    struct cs_err err;
    struct cs_spool *s;
    ASSERT_OK(cs_spool_open(f->dir, f->kid, NULL, &s, &err), err);
    return s;
}

// Adds one event; returns its number, and its id where wanted.
static inline int64_t agent_add(const struct agent_fixture *f, struct cs_spool *s, const char *account,
                                char *ret_id) {
    struct cs_err err;
    struct cs_composed *c = agent_event(f, account);
    ASSERT_OK(cs_spool_add(s, f->crypto, f->key, &c->event, &err), err);
    int64_t seq = c->event.seq;
    if (ret_id)
        memcpy(ret_id, c->event.id, sizeof c->event.id);
    cs_composed_free(c);
    return seq;
}
