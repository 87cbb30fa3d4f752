// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"

#define INFO        "certsync checkpoint"
#define PROOF_HEAD  "c2sp.org/tlog-proof@v1"
#define EXTRA       "extra "
#define INDEX       "index "
#define HASH_BASE64 44 // characters of 32 bytes in base64

static bool read_number(struct cs_bytes line, int64_t *ret) {
    int64_t n = 0;
    if (line.len == 0 || line.len > 16 || (line.data[0] == '0' && line.len > 1))
        return false;
    for (size_t i = 0; i < line.len; i++) {
        if (line.data[i] < '0' || line.data[i] > '9')
            return false;
        n = n * 10 + (line.data[i] - '0');
    }
    *ret = n;
    return n <= CS_MERKLE_SIZE_MAX;
}

void cs_checkpoint_origin(const char *log_id, int32_t partition, int64_t epoch, char out[CS_ORIGIN_MAX + 1]) {
    if (epoch > 0)
        snprintf(out, CS_ORIGIN_MAX + 1, "%s/partitions/%" PRId32 "/epochs/%" PRId64, log_id, partition,
                 epoch);
    else
        snprintf(out, CS_ORIGIN_MAX + 1, "%s/partitions/%" PRId32, log_id, partition);
}

bool cs_checkpoint_is_of(const struct cs_checkpoint *p, const char *log_id, int32_t partition,
                         int64_t *ret_epoch) {
    char origin[CS_ORIGIN_MAX + 1];
    const char *last = strrchr(p->origin, '/');
    int64_t epoch = 0;
    cs_checkpoint_origin(log_id, partition, 0, origin);
    *ret_epoch = 0;
    if (strcmp(p->origin, origin) == 0)
        return true;
    // Only what would be written is of an epoch.
    if (!last || !read_number((struct cs_bytes){(const uint8_t *)last + 1, strlen(last + 1)}, &epoch) ||
        epoch == 0)
        return false;
    cs_checkpoint_origin(log_id, partition, epoch, origin);
    *ret_epoch = epoch;
    return strcmp(p->origin, origin) == 0;
}

bool cs_checkpoint_signer(struct cs_crypto *c, const struct cs_privkey *service, const char *log_id,
                          struct cs_note_signer **ret, struct cs_err *err) {
    uint8_t seed[CS_MAC_ROOT_LEN];
    _Static_assert(CS_MAC_ROOT_LEN == CS_NOTE_SEED_LEN, "the derived bytes are the seed");
    if (!cs_mac_root(service, log_id, INFO, seed, err))
        return false;
    bool ok = cs_note_signer_new(c, log_id, seed, ret, err);
    cs_mac_cleanse(seed, sizeof seed);
    return ok;
}

// --- the text

static void put_hash(struct cs_buf *b, const struct cs_hash *h) {
    char text[HASH_BASE64];
    cs_base64_encode(h->sha256, sizeof h->sha256, text);
    cs_buf_put(b, text, sizeof text);
    cs_buf_putc(b, '\n');
}

bool cs_checkpoint_sign(struct cs_crypto *c, const struct cs_note_signer *s, const struct cs_checkpoint *p,
                        struct cs_buf *b, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf text;
    cs_buf_init(&text, 1024);
    cs_buf_printf(&text, "%s\n%" PRId64 "\n", p->origin, p->size);
    put_hash(&text, &p->root);
    return cs_buf_ok(&text, err) && cs_note_sign(c, s, cs_buf_bytes(&text), b, err);
}

// The next line without its end. False where there is none.
static bool take_line(struct cs_bytes *text, struct cs_bytes *ret) {
    const uint8_t *end = text->len > 0 ? memchr(text->data, '\n', text->len) : NULL;
    if (!end)
        return false;
    *ret = (struct cs_bytes){text->data, (size_t)(end - text->data)};
    text->data += ret->len + 1;
    text->len -= ret->len + 1;
    return true;
}

static bool read_hash(struct cs_bytes line, struct cs_hash *ret) {
    uint8_t bytes[HASH_BASE64 / 4 * 3];
    size_t len = 0;
    if (line.len != HASH_BASE64 || !cs_base64_decode((const char *)line.data, line.len, bytes, &len) ||
        len != sizeof ret->sha256)
        return false;
    memcpy(ret->sha256, bytes, len);
    return true;
}

bool cs_checkpoint_parse(struct cs_bytes text, struct cs_checkpoint *ret, struct cs_err *err) {
    struct cs_checkpoint p = {0};
    struct cs_bytes line;
    bool ok = take_line(&text, &line) && line.len > 0 && line.len <= CS_ORIGIN_MAX;
    if (ok)
        memcpy(p.origin, line.data, line.len);
    ok = ok && take_line(&text, &line) && read_number(line, &p.size) && take_line(&text, &line) &&
         read_hash(line, &p.root);
    if (!ok)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE,
                          "this is no checkpoint: the lines of one are its origin, a number, and a hash in "
                          "base64");
    *ret = p;
    return true;
}

bool cs_checkpoint_open(struct cs_crypto *c, struct cs_bytes note, const struct cs_note_key *k,
                        struct cs_checkpoint *ret, struct cs_err *err) {
    struct cs_bytes text;
    return cs_note_open(c, note, k, &text, NULL, err) && cs_checkpoint_parse(text, ret, err);
}

int cs_checkpoint_class(int64_t size) {
    int bits = 0;
    while (size >> bits > 1)
        bits++;
    return 8 * bits + (int)((bits >= 3 ? size >> (bits - 3) : size << (3 - bits)) & 7);
}

// --- proofs

void cs_proof_put(struct cs_buf *b, const struct cs_proof *p) {
    cs_buf_puts(b, PROOF_HEAD "\n" EXTRA);
    size_t len = cs_base64_encoded_len(p->value.len);
    uint8_t *out = cs_buf_reserve(b, len);
    if (out) {
        cs_base64_encode(p->value.data, p->value.len, (char *)out);
        cs_buf_advance(b, len);
    }
    cs_buf_printf(b, "\n" INDEX "%" PRId64 "\n", p->index);
    for (size_t i = 0; i < p->path.len; i++)
        put_hash(b, &p->path.hashes[i]);
    cs_buf_putc(b, '\n');
    cs_buf_put(b, p->note.data, p->note.len);
}

static bool no_proof(struct cs_err *err, const char *what) {
    return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE,
                      "this is no proof as certsync-consumer prove prints it: %s", what);
}

static bool begins(struct cs_bytes *line, const char *with) {
    size_t len = strlen(with);
    if (line->len < len || memcmp(line->data, with, len) != 0)
        return false;
    line->data += len;
    line->len -= len;
    return true;
}

static bool read_path(struct cs_bytes *text, struct cs_merkle_path *ret, struct cs_err *err) {
    struct cs_bytes line;
    ret->len = 0;
    for (;;) {
        if (!take_line(text, &line))
            return no_proof(err, "no empty line and checkpoint follow the hashes");
        if (line.len == 0)
            return true;
        if (ret->len == CS_MERKLE_PATH_MAX || !read_hash(line, &ret->hashes[ret->len]))
            return no_proof(err, "a line between index and checkpoint is no hash, or there are too many");
        ret->len++;
    }
}

bool cs_proof_parse(struct cs_bytes text, struct cs_proof *ret, struct cs_err *err) {
    CS_AUTO(cs_proof_clear) struct cs_proof p = {0};
    struct cs_bytes line;
    if (text.len > CS_PROOF_MAX)
        return no_proof(err, "it is too large");
    if (!take_line(&text, &line) || line.len != sizeof PROOF_HEAD - 1 ||
        memcmp(line.data, PROOF_HEAD, line.len) != 0)
        return no_proof(err, "its first line is not \"" PROOF_HEAD "\"");
    if (!take_line(&text, &line) || !begins(&line, EXTRA))
        return no_proof(err, "its second line does not hold the outcome (\"extra\")");
    uint8_t *value = malloc(cs_base64_decoded_max(line.len) + 1);
    if (!value)
        return cs_err_oom(err);
    p.value.data = value;
    if (!cs_base64_decode((const char *)line.data, line.len, value, &p.value.len) || p.value.len == 0)
        return no_proof(err, "its outcome is not base64");
    if (!take_line(&text, &line) || !begins(&line, INDEX) || !read_number(line, &p.index))
        return no_proof(err, "its third line is not an index");
    if (!read_path(&text, &p.path, err))
        return false;
    p.note = text;
    *ret = p;
    p.value.data = NULL;
    return true;
}

void cs_proof_clear(struct cs_proof *p) {
    free((void *)(uintptr_t)p->value.data);
    *p = (struct cs_proof){0};
}

bool cs_proof_check(struct cs_crypto *c, const struct cs_proof *p, const struct cs_note_key *k,
                    struct cs_checkpoint *ret, struct cs_err *err) {
    struct cs_checkpoint at;
    struct cs_hash leaf;
    if (!cs_checkpoint_open(c, p->note, k, &at, err))
        return cs_err_prepend(err, "the checkpoint");
    cs_merkle_leaf(c, p->value, &leaf);
    if (!cs_merkle_check_leaf(c, &leaf, p->index, at.size, &p->path, &at.root))
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE,
                          "the outcome is not the one that the checkpoint of %s has at index %" PRId64
                          ": outcome, index or hashes were altered",
                          at.origin, p->index);
    *ret = at;
    return true;
}
