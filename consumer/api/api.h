// SPDX-License-Identifier: Apache-2.0
//
// The HTTP API of the consumer: what the catalogs hold, what was decided, and how the process does.
// It reads only Redis (never the workers' memory), so every replica answers for every partition. No
// answer holds a private key; only custodians get sealed ones. docs/use/api.md has the paths,
// parameters and shapes.
//
// A client shows a bearer token (token.h). The catalog says what its key may ask. Keys enrolled in
// an account see that account; all but outcomes needs the right `read`. Admins and auditors see
// every account, custodians see certificates and sealed keys, issuers the outcomes of their own
// events. For a key that an account does not know, the answer is the same whether the account
// exists or not.
//
// It answers in settings->api_threads threads: the main one, which accepts connections and hands
// them out, and further ones with loops of their own. These functions are for the main thread.
// /readyz and /metrics read the board and the metrics of the consumer.
#pragma once

#include "worker/consumer.h"

struct cs_api;

// Begins to listen at settings->api_listen, and to connect to Redis in the background. c is
// borrowed while the API lives. CONFIG: the address or the TLS files.
CS_MUST_USE bool cs_api_new(const struct cs_consumer *c, struct cs_api **ret, struct cs_err *err);
// Whether the API could start with these settings (see cs_http_server_try). True without an API.
CS_MUST_USE bool cs_api_try(const struct cs_consumer_settings *s, bool *ret_in_use, struct cs_err *err);
// Takes no new connections. Requests that wait for an outcome are told to ask again (503).
void cs_api_stop(struct cs_api *api);
// Whether all requests are done, and their answers sent.
bool cs_api_idle(const struct cs_api *api);
void cs_api_free(struct cs_api *api); // takes NULL
CS_DEFINE_AUTO(struct cs_api, cs_api_free)
// Reads the TLS files again, all or nothing. The API does that itself when they change. SIGHUP asks
// for it, too.
CS_MUST_USE bool cs_api_reload_tls(struct cs_api *api, struct cs_err *err);
// Whether the process does all its work: cs_board_ready, and the API has Redis and knows how far
// outcomes are published. If not, why (bounded text). /readyz and systemd's READY=1 both use this.
// Any thread.
bool cs_api_ready(const struct cs_api *api, char *why, size_t why_size);
// How long one of its further threads gave no sign of life; 0: all do. Any thread.
int64_t cs_api_overdue_ms(const struct cs_api *api);
int cs_api_port(const struct cs_api *api); // the bound one; 0 for a Unix socket
