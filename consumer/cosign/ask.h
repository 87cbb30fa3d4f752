// SPDX-License-Identifier: Apache-2.0
//
// One question to a witness (https://c2sp.org/tlog-witness): POST URL/add-checkpoint with the size
// that it knows, the proof that the log has grown from there, and a signed checkpoint. Its answer is a
// cosignature (https://c2sp.org/tlog-cosignature), or the size that it knows.
//
// Nothing of an answer is believed but what its key signed: over exactly this checkpoint, at a time
// near our own. An answer has a limit of bytes and of time; redirects are not followed. One thread.
#pragma once

#include <stdatomic.h>

#include "certsync/base/buf.h"
#include "certsync/model/checkpoint.h"
#include "settings.h"

enum cs_cosign_result {
    CS_COSIGN_COSIGNED,
    CS_COSIGN_OTHER_SIZE, // it knows another size than the one that the proof begins at
    CS_COSIGN_AWAY,       // not reachable, not in time, too busy, or its own failure
    CS_COSIGN_REFUSED,    // it does not know the log or its key: a person must tell its operator
    CS_COSIGN_BAD_ANSWER, // not what a witness answers: it lies, or something else listens there
    CS_COSIGN_FORK,       // what it cosigned before is no beginning of this log
};
#define CS_COSIGN_RESULTS 6
const char *cs_cosign_result_name(enum cs_cosign_result r);

#define CS_COSIGN_CLOCK_S  300 // a cosignature's time may be so far from ours
#define CS_COSIGN_LINE_MAX 320

struct cs_cosign_question {
    int64_t old;                       // the size that it is to know
    const struct cs_merkle_path *path; // from there to at
    const struct cs_checkpoint *at;
    struct cs_bytes note; // at, signed
};
struct cs_cosign_answer {
    enum cs_cosign_result result;
    int64_t size; // OTHER_SIZE
    // COSIGNED: the signature's line with its end, and its time.
    char line[CS_COSIGN_LINE_MAX];
    int64_t time_s;
    struct cs_err err; // of all other results: what it says
};

struct cs_cosigner;
// s must outlive it. *stopping (may be NULL) breaks a question off.
CS_MUST_USE bool cs_cosigner_new(struct cs_crypto *crypto, const struct cs_witness_settings *s,
                                 int64_t timeout_ms, const atomic_bool *stopping, struct cs_cosigner **ret,
                                 struct cs_err *err);
void cs_cosigner_free(struct cs_cosigner *w);
CS_DEFINE_AUTO(struct cs_cosigner, cs_cosigner_free)
const struct cs_note_key *cs_cosigner_key(const struct cs_cosigner *w);
const char *cs_cosigner_name(const struct cs_cosigner *w); // of its section
void cs_cosigner_ask(struct cs_cosigner *w, const struct cs_cosign_question *q, int64_t now_s,
                     struct cs_cosign_answer *ret);
