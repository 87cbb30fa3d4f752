// SPDX-License-Identifier: Apache-2.0
//
// Verdict codes. Their names, sentences and hints stand in codes_table.h.
#pragma once

#include "certsync/base/err.h"
#include "certsync/model/codes_table.h"

enum cs_code {
    CS_CODE_BEGIN_ = CS_CODE_NONE,
#define X(symbol, name, who, sentence, hint) CS_CODE_##symbol,
    CS_CODES(X)
#undef X
        CS_CODE_COUNT
};

// A note refuses nothing: the certificate is taken, and the sender learns what clients will say.
enum cs_code_origin { CS_CODE_BOTH, CS_CODE_AGENT, CS_CODE_CONSUMER, CS_CODE_NOTE };

// Notes as bits, in the order of listing. chain.incomplete refuses the certificate if the account
// wants that.
#define CS_NOTES(X)                                                                                          \
    X(CHAIN_INCOMPLETE)                                                                                      \
    X(CHAIN_EXPIRED)                                                                                         \
    X(CHAIN_NOT_YET_VALID)                                                                                   \
    X(CHAIN_ENDS_EARLY) X(CHAIN_NAMES) X(CHAIN_KEY_ID) X(CERT_CRITICAL) X(CERT_PURPOSE) X(CERT_NO_SAN)
enum cs_note {
#define X(symbol) CS_NOTE_##symbol,
    CS_NOTES(X)
#undef X
        CS_NOTE_COUNT
};
#define CS_NOTE(symbol) (1u << CS_NOTE_##symbol)
enum cs_code cs_note_code(enum cs_note note);

const char *cs_code_name(enum cs_code code);     // "cert.expired"; "" for CS_CODE_NONE
const char *cs_code_sentence(enum cs_code code); // never NULL
const char *cs_code_hint(enum cs_code code);     // never NULL
enum cs_code_origin cs_code_origin(enum cs_code code);
// for people: "host", "consumer" or both, or that it is a note
const char *cs_code_said_by(enum cs_code code);
// The whole table, for people and for docs/audit/codes.md: lines of text, a Markdown table, or
// JSON.
struct cs_buf;
void cs_codes_text(struct cs_buf *out);
void cs_codes_markdown(struct cs_buf *out);
void cs_codes_json(struct cs_buf *out);
// CS_ERR_REJECT with the code's own sentence as the message. Always returns false.
bool cs_err_reject(struct cs_err *err, enum cs_code code);
// CS_CODE_NONE where no code has this name.
enum cs_code cs_code_from_name(const char *name, size_t len);
