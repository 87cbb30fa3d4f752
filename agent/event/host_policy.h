// SPDX-License-Identifier: Apache-2.0
//
// What the account's policy, and the patterns of this host's own key, say of a certificate, before it is
// sent (policy.h of the model). Only the API knows them. Nothing waits for that: where the API does not
// tell, it is sent, and the consumer judges. What is told here may be outdated by the time the event is
// judged; then the consumer's word counts, too.
#pragma once

#include "certsync/model/policy.h"
#include "event/client.h"
#include "event/compose.h"

struct cs_host_policy {
    bool known;
    struct cs_policy policy;
    cs_dns_patterns key_dns; // of this host's key. "": none, or the key is no enrolled one
};

// False: err says why it is not known (REJECT: the API is of an older release, or knows no such key).
CS_MUST_USE bool cs_host_policy_get(struct cs_client *c, const char *account, struct cs_host_policy *ret,
                                    struct cs_err *err);

// What would be said of a chain (the leaf first), of what was composed (an upload, an issue, a request).
// CS_CODE_NONE: nothing, or nothing is known.
enum cs_code cs_host_policy_check(const struct cs_host_policy *p, struct cs_cert *const *certs, size_t n,
                                  char detail[CS_POLICY_DETAIL_SIZE]);
enum cs_code cs_host_policy_check_composed(const struct cs_host_policy *p, const struct cs_composed *c,
                                           char detail[CS_POLICY_DETAIL_SIZE]);

// For commands: asks the API, within 2 seconds.
struct cs_session;
CS_MUST_USE bool cs_host_policy_ask(struct cs_session *s, struct cs_host_policy *ret, struct cs_err *err);
// The same, and holds what was composed against it. False: it would be refused; err (REJECT) says why. What the
// catalog has already under this name is let through, and everything where the API does not tell.
CS_MUST_USE bool cs_host_policy_admits(struct cs_session *s, const struct cs_composed *c, struct cs_err *err);
