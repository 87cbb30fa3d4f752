// SPDX-License-Identifier: Apache-2.0
//
// The way of every event that a command sends: into the spool (durable from here on), to Kafka, and, unless
// --no-wait, until its outcome is known from the API; events for every partition (trust) are waited for in
// cert.outcomes itself, as they belong to no account.
//
// event.replayed (this host was restored or cloned) is answered here: an alarm, and what the spool still
// holds is signed again above the watermark.
#pragma once

#include "session.h"
#include "spool.h"

// what: for people, "upload of \"www\"". Says what happened and returns the exit code. Takes c over.
int cs_submit(struct cs_session *s, struct cs_composed *c, const char *what);

// Opens the spool of the session's key with the limits of the settings.
CS_MUST_USE bool cs_submit_open_spool(struct cs_session *s, struct cs_spool **ret, struct cs_err *err);

// Names on standard error what earlier commands left unpublished in the spool below the number `below` (0: all), as it
// goes out now. For programs: the same as an array, NULL where there is nothing.
json_t *cs_submit_earlier(struct cs_session *s, struct cs_spool *spool, int64_t below);

// What is known of an event's end.
enum cs_ending {
    CS_ENDING_UNKNOWN, // no outcome yet
    CS_ENDING_PENDING, // decided, but another account must answer
    CS_ENDING_APPLIED,
    CS_ENDING_REJECTED,
    CS_ENDING_REPLAYED, // to be signed again
};
struct cs_end {
    enum cs_ending ending;
    enum cs_code code;
    char code_name[64]; // also of codes that this release does not know
    char detail[200];
    char subject[CS_DEPLOYMENT_MAX + 1];
    int64_t version;
    int64_t watermark;
    json_t *doc; // the API's answer; owned
};
void cs_end_clear(struct cs_end *e);
CS_DEFINE_AUTO_CLEAR(struct cs_end, cs_end_clear)
// Reads an outcome document of the API: {"outcome":{…},"final":{…}?}. seq: the event's number in the spool;
// an outcome that says replayed of another number is an older one's. Takes doc over.
void cs_end_read(json_t *doc, int64_t seq, struct cs_end *ret);

// Asks the API for the outcome; wait_s 0: as it stands. True with UNKNOWN where there is none yet.
CS_MUST_USE bool cs_submit_ask(struct cs_session *s, const char *account, const char *event_id, int64_t seq,
                               int64_t wait_s, struct cs_end *ret, struct cs_err *err);

// Asks for the outcomes of at most max published events that are still in the spool (not the number except;
// with wait until the session's deadline), and removes those that are known; rejected ones are told. Replayed
// ones and all that is unpublished are signed again. Counts what was removed.
struct cs_settled {
    size_t applied, rejected, open, resigned;
};
CS_MUST_USE bool cs_submit_settle(struct cs_session *s, struct cs_spool *spool, int64_t except, size_t max,
                                  bool wait, struct cs_settled *ret, struct cs_err *err);
