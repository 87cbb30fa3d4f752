// SPDX-License-Identifier: Apache-2.0
//
// Client of the consumer's HTTP API (libcurl). Each request carries a token (ES256 JWT, RFC 7519),
// which the host's own key signs: {iss: kid, sub: account, aud: deployment, iat, exp}, header kid.
// It lives for five minutes. Trusted keys (admin, auditor, custodian, issuer) act for every
// account, with sub "*". Only the API knows which kind this key is. If it refuses one form, the
// other is tried.
//
// Errors: RETRY not reachable, not in time, 5xx; REJECT the API answered with a problem (status,
// code and detail are kept); CONFIG settings. Not thread-safe.
#pragma once

#include <jansson.h>

#include "certsync/base/buf.h"
#include "certsync/model/key.h"
#include "certsync/runtime/clock.h"

struct cs_client_options {
    const char *url; // base, without a '/' at the end or with
    const char *ca;  // file; "" the system's
    int64_t timeout_ms;
    const char *deployment;
    const char *log_id;  // the one that this host works with; "": not known yet
    const char *account; // "" for keys of the trust
    const char *kid;
    const struct cs_privkey *key;
    struct cs_crypto *crypto;
    const struct cs_clock *clock;
    int64_t deadline_ms; // of the monotonic clock: the end of every request; INT64_MAX: none
};

struct cs_client;
// Everything in options is borrowed while the client lives.
CS_MUST_USE bool cs_client_new(const struct cs_client_options *options, struct cs_client **ret,
                               struct cs_err *err);
void cs_client_free(struct cs_client *c);
CS_DEFINE_AUTO(struct cs_client, cs_client_free)

// GET of a path below the base URL ("/v1/accounts/acme/certificates?limit=10"). wait_ms: how much
// longer than the timeout the answer may take. *ret is a JSON object (json_decref).
CS_MUST_USE bool cs_client_get(struct cs_client *c, const char *path, int64_t wait_ms, json_t **ret,
                               struct cs_err *err);
// How long each later request may take, in the place of options' timeout_ms.
void cs_client_set_timeout(struct cs_client *c, int64_t timeout_ms);
// of an answer; "" if it has none
const char *cs_member_text(const json_t *item, const char *member);
// A page of a list, from this cursor (NULL: the first), or also all pages after it. The elements of
// member are in one answer; its "next" is the last page's.
CS_MUST_USE bool cs_client_get_pages(struct cs_client *c, const char *path, const char *cursor, bool all,
                                     const char *member, json_t **ret, struct cs_err *err);
// All pages of a list: appends the elements of the answers' member to all (an array).
CS_MUST_USE bool cs_client_get_list(struct cs_client *c, const char *path, const char *member, json_t *all,
                                    struct cs_err *err);
// A token of its own kind for other programs (curl): for the client's account, or for_all with sub
// "*". Borrowed until the next call with this client.
CS_MUST_USE bool cs_client_token(struct cs_client *c, bool for_all, const char **ret, int64_t *ret_expires_s,
                                 struct cs_err *err);
// Of the last cs_client_get: HTTP status (0: no answer) and the problem's "code" ("" if there was
// none).
// Whether the last answer that named a log named another one than log_id (the error was CONFIG
// then), or the same.
bool cs_client_foreign_log(const struct cs_client *c);
bool cs_client_same_log(const struct cs_client *c);
int cs_client_status(const struct cs_client *c);
const char *cs_client_code(const struct cs_client *c);

// Appends a path segment, or "?name=value" / "&name=value" (value NULL or "": nothing), escaped.
// cs_client_put_account: "/v1/accounts/ACCOUNT" and what is below it ("/certificates").
void cs_client_put_account(struct cs_buf *path, const char *account, const char *below);
void cs_client_put_segment(struct cs_buf *path, const char *segment);
void cs_client_put_query(struct cs_buf *path, const char *name, const char *value);
