// SPDX-License-Identifier: Apache-2.0
//
// The textual side of PEM (RFC 7468, read generously), and what a file without PEM is.
#pragma once

#include "der.h"

#define PEM_DASHES     "-----"
#define PEM_DASHES_LEN 5

struct pem_reader {
    const char *p, *end;
};

struct pem_block {
    const char *label; // not NUL-terminated; not for messages: the file may say anything
    size_t label_len;
    bool encrypted;   // legacy "Proc-Type: 4,ENCRYPTED"
    const char *body; // base64 with white space
    size_t body_len;
};

enum pem_step {
    PEM_BLOCK,
    PEM_END,
    PEM_TRUNCATED, // BEGIN without its END; the block's label is set
};

// How many characters are those of a label, [A-Z0-9 ]. 0 if they are more than 40. Anything else
// between dashes is no label: it may be the key.
size_t pem_label_len(const char *s, size_t len);
struct pem_reader pem_open(struct cs_bytes text);
enum pem_step pem_next(struct pem_reader *r, struct pem_block *ret);
bool pem_is(const struct pem_block *b, const char *label);
bool pem_ends_with(const struct pem_block *b, const char *tail);
// Decodes the body into out, which needs body_len bytes. False if it is not base64.
CS_MUST_USE bool pem_decode(const struct pem_block *b, uint8_t *out, size_t *ret_len);

// What bytes without a PEM block may be.
enum pem_guess {
    GUESS_EMPTY,
    GUESS_DER_CERT,
    GUESS_DER_CSR,
    GUESS_DER_KEY,
    GUESS_DER_ENCRYPTED_KEY,
    GUESS_DER_PUBLIC_KEY,
    GUESS_PKCS12,
    GUESS_PKCS7,
    GUESS_JKS,
    GUESS_PUTTY,
    GUESS_UTF16, // with a byte order mark
    GUESS_UTF16LE,
    GUESS_UTF16BE,
    GUESS_BARE_BASE64,
    GUESS_UNKNOWN,
};
enum pem_guess pem_guess(struct cs_bytes data);
