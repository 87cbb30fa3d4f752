// SPDX-License-Identifier: Apache-2.0
//
// How a document lies in Redis. Whoever uses a catalog sees its JSON; Redis holds it in a form that
// takes a third. `certsync-consumer show ACCOUNT --redis` prints the JSON. The first byte tells the form:
//
//   '{' '"'  the JSON itself: a position, and what is not shorter in another form
//   '-'      anything else, after it
//   'p'      packed: strings of the JSON that are base64, hex or a UUID stand as their bytes, between
//            the quotes, after a byte that JSON does not have: 1 (base64) or 2 (hex), then how many
//            bytes (7 bits a byte, the low ones first, 128 means that more follow); or 3 and 16 bytes
//            (a UUID); or 4 (the UUID that the document's key ends with)
//   'u'      a document that is a UUID alone: its 16 bytes
//   'z'      the same, then a zstd frame (RFC 8878) with the dictionary of packed_dictionary.c
//
// Two forms of one document are the same document: verify, diff and rebuild compare JSON. So neither
// another release of zstd nor another dictionary changes a catalog, and no ruleset is needed for one.
// But a dictionary that catalogs were written with never changes: another one gets a letter of its own,
// and both are read.
//
// The mark (authentic.h) is over these bytes. It is checked first: only what certsync wrote is unpacked.
#pragma once

#include "certsync/base/buf.h"

// One thread. Owns what it returns.
struct cs_packer;
CS_MUST_USE bool cs_packer_new(struct cs_packer **ret, struct cs_err *err);
void cs_packer_free(struct cs_packer *p);
CS_DEFINE_AUTO(struct cs_packer, cs_packer_free)

// key: the document's (certsync/model/keys.h), without namespace and generation; NULL: it has none.
// The document as it is stored. lasting: in the shortest form, which takes zstd's time; else as JSON or in
// form 'p'. *ret is doc itself, or valid until the next call.
CS_MUST_USE bool cs_pack(struct cs_packer *p, const char *key, struct cs_bytes doc, bool lasting,
                         struct cs_bytes *ret, struct cs_err *err);
// The document that is stored so. *ret is stored itself, or valid until the next call. data NULL stays so.
// FATAL where this release does not know the form.
CS_MUST_USE bool cs_unpack(struct cs_packer *p, const char *key, struct cs_bytes stored, struct cs_bytes *ret,
                           struct cs_err *err);

// The dictionary (tests/golden/dictionary.py).
extern const uint8_t cs_packed_dictionary[];
extern const size_t cs_packed_dictionary_len;
