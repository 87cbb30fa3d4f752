// SPDX-License-Identifier: Apache-2.0
//
// A client of HTTP and SMTP, on libcurl: one transfer after the other, on connections that are kept.
// Redirects are not followed. A proxy of the environment (https_proxy) is used, but not with public_only.
// An answer has a limit of bytes and of time. One thread.
//
// Errors: RETRY: it does not answer (away, late, broken); CONFIG: its certificate is not trusted, the CA
// file cannot be used, or its address is not allowed; REJECT: its answer is too large, or (SMTP) it
// refuses. The message begins with what is wrong with it, and names no URL: that may hold a secret.
#pragma once

#include <stdatomic.h>

#include "certsync/base/buf.h"

struct cs_fetch_options {
    const char *ca; // file; "" or NULL: the system's
    int64_t timeout_ms;
    const atomic_bool *stopping; // breaks a transfer off; may be NULL
    size_t answer_max;           // bytes
    bool public_only;            // only addresses of the whole Internet (fetch/address.h)
};
struct cs_fetch;
// Strings are borrowed for its life.
CS_MUST_USE bool cs_fetch_new(const struct cs_fetch_options *options, struct cs_fetch **ret,
                              struct cs_err *err);
void cs_fetch_free(struct cs_fetch *f);
CS_DEFINE_AUTO(struct cs_fetch, cs_fetch_free)

// POST. headers: "Name: value". *ret_status: whatever it answered.
CS_MUST_USE bool cs_fetch_post(struct cs_fetch *f, const char *url, const char *const *headers,
                               size_t headers_len, struct cs_bytes body, long *ret_status,
                               struct cs_err *err);
// A mail, by SMTP. CONFIG also where the login is refused; REJECT: the server does not take it for this
// address (5xx).
struct cs_fetch_mail {
    const char *url;                 // smtp:// or smtps://
    bool tls;                        // smtp:// demands STARTTLS
    const char *username, *password; // "": none
    const char *from, *to;           // addresses
    struct cs_bytes message;         // RFC 5322, with CR LF
};
CS_MUST_USE bool cs_fetch_mail(struct cs_fetch *f, const struct cs_fetch_mail *mail, struct cs_err *err);
// Of the last answer, until the next transfer. "" where it names no type; seconds, 0: none.
struct cs_bytes cs_fetch_body(const struct cs_fetch *f);
const char *cs_fetch_type(const struct cs_fetch *f);
int64_t cs_fetch_retry_after_s(const struct cs_fetch *f);
