// SPDX-License-Identifier: Apache-2.0
//
// The daemon's thread that talks to the API. It asks how published events ended (and removes them
// from the spool), and what the catalog holds. After event.replayed it has everything signed again.
// All hooks are called in this thread.
#pragma once

#include "certsync/model/codes.h"
#include "daemon/sender.h"
#include "event/host_policy.h"
#include "event/settle.h"

struct cs_settled_end {
    cs_uuid event;
    enum cs_event_type type;
    enum cs_ending ending; // APPLIED or REJECTED
    enum cs_code code;
    char code_name[64];
    char detail[200];
    cs_uuid subject; // the certificate's id
    int64_t version;
};
struct cs_catalog_entry {
    cs_name name;
    uint8_t sha256[32];
    int64_t not_before_s;
    int64_t ends_s; // with its chain; 0: the API does not say
    cs_uuid id;
};
#define CS_SETTLED_MAX 128
struct cs_outcome_poller_hooks {
    // In the order of their numbers; at most CS_SETTLED_MAX.
    void (*on_ends)(void *arg, const struct cs_settled_end *ends, size_t n);
    void (*on_entries)(void *arg, const struct cs_catalog_entry *entries, size_t n);
    // The whole catalog was told. Or it could not be asked now (that is tried again), or never
    // (denied).
    void (*on_listed)(void *arg, const struct cs_err *err_or_null);
    // Answer to cs_outcome_poller_ask. entry NULL: the catalog does not have it. Called once for each
    // question.
    void (*on_answer)(void *arg, const char *name, const struct cs_catalog_entry *entry);
    // Another host used this host's numbers: n events were signed again above the watermark.
    void (*on_replayed)(void *arg, int64_t watermark, size_t n);
    // The API serves another log than this host works with: why nothing may be sent. "": it is the
    // same again.
    void (*on_log)(void *arg, const char *why);
    // What the account's policy says; before each listing, and every five minutes.
    void (*on_policy)(void *arg, const struct cs_host_policy *policy);
    void *arg;
};
struct cs_outcome_poller;
// The session is borrowed until cs_outcome_poller_free. An API must be configured.
CS_MUST_USE bool cs_outcome_poller_new(const struct cs_session *session,
                                       const struct cs_outcome_poller_hooks *hooks,
                                       struct cs_outcome_poller **ret, struct cs_err *err);
void cs_outcome_poller_wake(struct cs_outcome_poller *t); // something was published
// Whether the API still lets this key in: its state is in the link.
void cs_outcome_poller_try_key(struct cs_outcome_poller *t);
void cs_outcome_poller_list(struct cs_outcome_poller *t); // tell what the catalog holds
CS_MUST_USE bool cs_outcome_poller_ask(struct cs_outcome_poller *t, const char *name);
void cs_outcome_poller_link(struct cs_outcome_poller *t, struct cs_link *ret);
void cs_outcome_poller_stop(struct cs_outcome_poller *t);
bool cs_outcome_poller_ended(struct cs_outcome_poller *t);
// As cs_sender_overdue_ms.
int64_t cs_outcome_poller_overdue_ms(const struct cs_outcome_poller *t);
void cs_outcome_poller_free(struct cs_outcome_poller *t);
