// SPDX-License-Identifier: Apache-2.0
//
// Signed notes (https://c2sp.org/signed-note): text, an empty line, and signatures of the text, one
// a line:
//
//   — NAME BASE64(id: 4 bytes, signature)
//
// Two kinds of signatures: Ed25519 over the text (type 01), and a witness's cosignature with its
// time (type 04, https://c2sp.org/tlog-cosignature, "cosignature/v1"). A key's text form ("vkey") is
// NAME+HEX(id)+BASE64(type || public key). The id is the first four bytes of SHA-256(name || 0A ||
// type || public key).
//
// Lines by keys that nobody asked for are passed over. Errors: REJECT (what the note is not), CONFIG
// (a key that is none).
#pragma once

#include "certsync/base/buf.h"
#include "certsync/model/key.h"

#define CS_NOTE_NAME_MAX 127
#define CS_NOTE_MAX      65536 // bytes of a note that is read
#define CS_NOTE_SEED_LEN 32

enum cs_note_kind { CS_NOTE_ED25519 = 1, CS_NOTE_COSIGNATURE = 4 };

// A key that verifies.
struct cs_note_key {
    enum cs_note_kind kind;
    char name[CS_NOTE_NAME_MAX + 1];
    uint8_t id[4];
    uint8_t public_key[32];
};
// name + '+' + id + '+' + base64 of 33 bytes, and a NUL
#define CS_NOTE_KEY_TEXT_SIZE (CS_NOTE_NAME_MAX + 1 + 8 + 1 + 44 + 1)
CS_MUST_USE bool cs_note_key_parse(struct cs_crypto *c, const char *text, struct cs_note_key *ret,
                                   struct cs_err *err);
void cs_note_key_text(const struct cs_note_key *k, char out[CS_NOTE_KEY_TEXT_SIZE]);
bool cs_note_key_equal(const struct cs_note_key *a, const struct cs_note_key *b);
// Neither spaces nor '+' nor control characters, and not empty.
bool cs_note_name_valid(const char *name);

// A key that signs, of kind Ed25519. seed: RFC 8032's private key; it is not kept. FATAL where
// OpenSSL refuses.
struct cs_note_signer;
CS_MUST_USE bool cs_note_signer_new(struct cs_crypto *c, const char *name,
                                    const uint8_t seed[CS_NOTE_SEED_LEN], struct cs_note_signer **ret,
                                    struct cs_err *err);
void cs_note_signer_free(struct cs_note_signer *s);
CS_DEFINE_AUTO(struct cs_note_signer, cs_note_signer_free)
const struct cs_note_key *cs_note_signer_key(const struct cs_note_signer *s);
// Appends the note. text ends with a line end.
CS_MUST_USE bool cs_note_sign(struct cs_crypto *c, const struct cs_note_signer *s, struct cs_bytes text,
                              struct cs_buf *b, struct cs_err *err);

// Both parts of a note, as views: the text with its last line end, and the lines of signatures.
CS_MUST_USE bool cs_note_split(struct cs_bytes note, struct cs_bytes *ret_text, struct cs_bytes *ret_lines,
                               struct cs_err *err);
// The first of these lines, with its end, by which the key has signed the text. lines: as behind a
// note's empty line; they may come from a stranger.
CS_MUST_USE bool cs_note_find(struct cs_crypto *c, struct cs_bytes text, struct cs_bytes lines,
                              const struct cs_note_key *k, struct cs_bytes *ret_line, int64_t *ret_time_s,
                              struct cs_err *err);
// The text of a note that this key has signed. *ret_time_s (may be NULL): of a cosignature.
CS_MUST_USE bool cs_note_open(struct cs_crypto *c, struct cs_bytes note, const struct cs_note_key *k,
                              struct cs_bytes *ret_text, int64_t *ret_time_s, struct cs_err *err);
