// SPDX-License-Identifier: Apache-2.0
//
// Webhooks: POST of a notice as a CloudEvent in structured mode (the HTTP protocol binding for
// CloudEvents 1.0, section 3.2), signed as Standard Webhooks 1.0 has it (standardwebhooks.com):
//
//   webhook-id         the notice's id: the same at each try, so a receiver knows a repetition
//   webhook-timestamp  seconds of this try
//   webhook-signature  "v1,<base64 of HMAC-SHA-256 over id.timestamp.body>", one for each secret
//
// 2xx: delivered. 408, 425, 429 and 5xx: it is away. All else, redirects too: it refuses this notice.
#pragma once

#include "notify/sink.h"

CS_MUST_USE bool cs_webhook_new(const struct cs_consumer_settings *s,
                                const struct cs_notice_settings *section, const atomic_bool *stopping,
                                struct cs_sink **ret, struct cs_err *err);

// The secret of a line "whsec_<base64>": 24 to 64 bytes. False where it is none.
#define CS_WEBHOOK_SECRET_MAX 64
CS_MUST_USE bool cs_webhook_secret(const char *line, size_t len, uint8_t ret[CS_WEBHOOK_SECRET_MAX],
                                   size_t *ret_len);
// "v1,…" for one secret, NUL-terminated.
#define CS_WEBHOOK_SIGNATURE_SIZE (3 + 44 + 1)
void cs_webhook_sign(struct cs_bytes secret, const char *id, int64_t time_s, struct cs_bytes body,
                     char ret[CS_WEBHOOK_SIGNATURE_SIZE]);
