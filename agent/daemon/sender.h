// SPDX-License-Identifier: Apache-2.0
//
// The daemon's publisher: a thread that publishes the spool to Kafka, in order; also what commands
// put there. If the brokers are away, it tries again after growing pauses. Nothing is lost
// meanwhile: it is in the spool.
//
// It publishes heartbeats, too, after what is in the spool. They are not spooled: one that could not
// be sent is replaced by the next.
#pragma once

#include "certsync/model/codes.h"
#include "certsync/model/heartbeat.h"
#include "event/session.h"

// The state of a connection, for status.
struct cs_link {
    bool tried;
    bool ok;
    int64_t since_ms;  // wall time of the last change
    enum cs_code code; // if it was denied
    char error[CS_ERR_MSG_MAX];
};
void cs_link_set(struct cs_link *l, const struct cs_err *err_or_null, int64_t now_ms, const char *what);

struct cs_sender;
struct cs_sender_hooks {
    void (*on_published)(void *arg, size_t n); // in the sender's thread
    void *arg;
};
// The session is borrowed (settings, key) until cs_sender_free.
CS_MUST_USE bool cs_sender_new(const struct cs_session *session, const struct cs_sender_hooks *hooks,
                               struct cs_sender **ret, struct cs_err *err);
void cs_sender_wake(struct cs_sender *s); // something is in the spool
// Nothing is published while there is a reason ("": there is none).
void cs_sender_hold(struct cs_sender *s, const char *why);
// The newest heartbeat says this.
void cs_sender_beat(struct cs_sender *s, const struct cs_host_state *host);
struct cs_beat_stand {
    int64_t sent_ms;            // wall time of the last one that was acknowledged; 0: none yet
    char error[CS_ERR_MSG_MAX]; // why the newest one could not be sent; "": it was
};
void cs_sender_beat_stand(struct cs_sender *s, struct cs_beat_stand *ret);
void cs_sender_link(struct cs_sender *s, struct cs_link *ret);
// Asks it to end. It publishes what there is, once, if the brokers are there.
void cs_sender_stop(struct cs_sender *s);
bool cs_sender_ended(struct cs_sender *s);
// How long it has been silent beyond what its work may take (liveness.h); 0: it is alive.
int64_t cs_sender_overdue_ms(const struct cs_sender *s);
void cs_sender_free(struct cs_sender *s); // waits for its end
