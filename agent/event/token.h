// SPDX-License-Identifier: Apache-2.0
//
// Join tokens: an admin hands them out so that hosts can enrol themselves. A token is an enrolled
// key with only the right `enroll`, and what a host must know to use it. The catalog has its
// limits: uses, expiry, and the rights that it may give. Text: "certsync1.", then base64 (RFC 4648
// section 5, no padding) of JSON {"log","account","key" (PKCS#8),"can","names","dns"?,"expires"}.
#pragma once

#include "certsync/model/dns.h"

struct cs_join_token {
    cs_log_id log_id;
    cs_account_id account;
    struct cs_privkey *key;
    unsigned can;     // what it hands on
    cs_pattern names; // the same
    cs_dns_patterns dns;
    int64_t expires_s;
};
void cs_join_token_clear(struct cs_join_token *t);
CS_DEFINE_AUTO_CLEAR(struct cs_join_token, cs_join_token_clear)
#define CS_JOIN_TOKEN_MAX 4096
// The text is as secret as the key: wipe it.
CS_MUST_USE bool cs_join_token_write(const struct cs_join_token *t, char out[CS_JOIN_TOKEN_MAX],
                                     struct cs_err *err);
CS_MUST_USE bool cs_join_token_read(const char *text, struct cs_join_token *ret, struct cs_err *err);
