// SPDX-License-Identifier: Apache-2.0
//
// The HTTP API of the consumer: what the catalogs hold, what was decided, and how the process does.
// It reads Redis by itself (never the workers' memory), so every replica answers for every
// partition. No answer holds a private key; sealed ones go to custodians only. The paths,
// parameters and shapes are in docs/use/api.md.
//
// Who asks shows a bearer token (token.h). What a key may ask is in the catalog: keys enrolled in
// an account see that account, and all but outcomes only with the right `read`; admins and auditors
// see every account; custodians certificates and sealed keys; issuers the outcomes of their own
// events. To a key that an account does not know the account looks the same whether it exists or
// not.
//
// Everything in the loop's thread. /readyz and /metrics read the board and the metrics of the
// consumer.
#pragma once

#include "worker/consumer.h"

struct cs_api;

// Begins to listen at settings->api_listen, and to connect to Redis in the background. c is
// borrowed for the API's life. CONFIG: the address or the TLS files.
CS_MUST_USE bool cs_api_new(const struct cs_consumer *c, struct cs_api **ret, struct cs_err *err);
// Whether the API could start with these settings (see cs_http_server_try). True where there is
// none.
CS_MUST_USE bool cs_api_try(const struct cs_consumer_settings *s, bool *ret_in_use, struct cs_err *err);
// No new connections; requests that wait for an outcome are told to ask again (503).
void cs_api_stop(struct cs_api *api);
// Whether no request is open any more.
bool cs_api_idle(const struct cs_api *api);
void cs_api_free(struct cs_api *api); // takes NULL
CS_DEFINE_AUTO(struct cs_api, cs_api_free)
// Reads the TLS files again: all or nothing. The API does so by itself when they change; SIGHUP
// asks for it, too.
CS_MUST_USE bool cs_api_reload_tls(struct cs_api *api, struct cs_err *err);
// Whether the process does all its work: cs_board_ready, and the API has Redis and knows how far
// outcomes are published. Otherwise why (bounded text). /readyz and systemd's READY=1 both say
// this.
bool cs_api_ready(const struct cs_api *api, char *why, size_t why_size);
int cs_api_port(const struct cs_api *api); // the bound one; 0 for a Unix socket
