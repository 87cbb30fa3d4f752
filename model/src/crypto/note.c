// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/note.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "certsync/base/text.h"
#include "crypto/privkey.h"

#define DASH "\xe2\x80\x94 " // an em dash, and a space
// DER up to the raw key: RFC 8410 sections 4 and 7
static const uint8_t spki_head[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
static const uint8_t pkcs8_head[] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                     0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
#define RAW_LEN  32
#define SIG_LEN  64
#define ID_LEN   4
#define TIME_LEN 8
#define BLOB_MAX (ID_LEN + TIME_LEN + SIG_LEN)

struct cs_note_signer {
    struct cs_note_key key;
    struct cs_privkey *secret;
};

// --- keys

static bool is_space(uint32_t c) {
    return c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static bool name_valid(const char *name, size_t len) {
    size_t n = 0;
    if (len == 0 || len > CS_NOTE_NAME_MAX)
        return false;
    for (size_t at = 0; at < len; at += n) {
        uint32_t c = 0;
        n = cs_text_character(name + at, len - at, &c);
        if (n == 0 || c < 0x20 || c == '+' || is_space(c))
            return false;
    }
    return true;
}

bool cs_note_name_valid(const char *name) {
    return name_valid(name, strlen(name));
}

static void set_id(struct cs_crypto *c, struct cs_note_key *k) {
    const uint8_t between[] = {'\n', (uint8_t)k->kind};
    const struct cs_bytes parts[] = {{(const uint8_t *)k->name, strlen(k->name)},
                                     {between, sizeof between},
                                     {k->public_key, sizeof k->public_key}};
    uint8_t sha256[32];
    cs_crypto_sha256_parts(c, parts, 3, sha256);
    memcpy(k->id, sha256, sizeof k->id);
}

static bool no_key(struct cs_err *err, const char *what) {
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "this is no key of checkpoints: %s. Such a key has the form NAME+ID+KEY; "
                      "certsync-consumer checkpoint-key prints the log's, and whoever runs a witness has the "
                      "witness's",
                      what);
}

static bool public_key_of(struct cs_crypto *c, const struct cs_note_key *k, struct cs_pubkey **ret,
                          struct cs_err *err) {
    uint8_t spki[sizeof spki_head + RAW_LEN];
    memcpy(spki, spki_head, sizeof spki_head);
    memcpy(spki + sizeof spki_head, k->public_key, RAW_LEN);
    return cs_pubkey_new(c, (struct cs_bytes){spki, sizeof spki}, ret, err);
}

bool cs_note_key_parse(struct cs_crypto *c, const char *text, struct cs_note_key *ret, struct cs_err *err) {
    CS_AUTO(cs_pubkey_free) struct cs_pubkey *pub = NULL;
    struct cs_note_key k = {0};
    struct cs_err ignored;
    uint8_t id[ID_LEN];
    uint8_t blob[1 + RAW_LEN];
    size_t len = 0;
    const char *plus = strchr(text, '+');
    const char *second = plus ? strchr(plus + 1, '+') : NULL;
    if (!second)
        return no_key(err, "it has not three parts");
    if (!name_valid(text, (size_t)(plus - text)))
        return no_key(err, "its name is empty, too long, or holds spaces");
    memcpy(k.name, text, (size_t)(plus - text));
    if (second - plus != 1 + 2 * ID_LEN || !cs_hex_decode(plus + 1, sizeof id * 2, id))
        return no_key(err, "its id is not eight hex digits");
    if (strlen(second + 1) != cs_base64_encoded_len(sizeof blob) ||
        !cs_base64_decode(second + 1, strlen(second + 1), blob, &len) || len != sizeof blob)
        return no_key(err, "its last part is not an Ed25519 key in base64");
    if (blob[0] != CS_NOTE_ED25519 && blob[0] != CS_NOTE_COSIGNATURE)
        return no_key(err, "it is of a kind that certsync does not know");
    k.kind = (enum cs_note_kind)blob[0];
    memcpy(k.public_key, blob + 1, RAW_LEN);
    set_id(c, &k);
    if (memcmp(k.id, id, sizeof id) != 0)
        return no_key(err, "its id is not that of its name and key: a part was mistyped");
    if (!public_key_of(c, &k, &pub, &ignored))
        return no_key(err, "its key is of a small order, which anybody could sign for");
    *ret = k;
    return true;
}

void cs_note_key_text(const struct cs_note_key *k, char out[CS_NOTE_KEY_TEXT_SIZE]) {
    uint8_t blob[1 + RAW_LEN];
    char hex[2 * ID_LEN + 1];
    char base64[45] = "";
    blob[0] = (uint8_t)k->kind;
    memcpy(blob + 1, k->public_key, RAW_LEN);
    cs_hex_encode(k->id, sizeof k->id, hex);
    cs_base64_encode(blob, sizeof blob, base64);
    snprintf(out, CS_NOTE_KEY_TEXT_SIZE, "%s+%s+%s", k->name, hex, base64);
}

bool cs_note_key_equal(const struct cs_note_key *a, const struct cs_note_key *b) {
    return a->kind == b->kind && strcmp(a->name, b->name) == 0 &&
           memcmp(a->public_key, b->public_key, RAW_LEN) == 0;
}

// --- signing

bool cs_note_signer_new(struct cs_crypto *c, const char *name, const uint8_t seed[CS_NOTE_SEED_LEN],
                        struct cs_note_signer **ret, struct cs_err *err) {
    CS_AUTO(cs_note_signer_free) struct cs_note_signer *s = calloc(1, sizeof *s);
    uint8_t pkcs8[sizeof pkcs8_head + CS_NOTE_SEED_LEN];
    if (!s)
        return cs_err_oom(err);
    if (!cs_note_name_valid(name))
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "\"%.40s\" cannot be the name of a key", name);
    memcpy(pkcs8, pkcs8_head, sizeof pkcs8_head);
    memcpy(pkcs8 + sizeof pkcs8_head, seed, CS_NOTE_SEED_LEN);
    bool ok = cs_privkey_from_pkcs8((struct cs_bytes){pkcs8, sizeof pkcs8}, &s->secret, err);
    OPENSSL_cleanse(pkcs8, sizeof pkcs8);
    if (!ok)
        return false;
    struct cs_bytes spki = privkey_spki_bytes(s->secret);
    if (spki.len != sizeof spki_head + RAW_LEN)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "the public half of an Ed25519 key is missing");
    s->key.kind = CS_NOTE_ED25519;
    memcpy(s->key.name, name, strlen(name) + 1);
    memcpy(s->key.public_key, spki.data + sizeof spki_head, RAW_LEN);
    set_id(c, &s->key);
    *ret = CS_TAKE(s);
    return true;
}

void cs_note_signer_free(struct cs_note_signer *s) {
    if (!s)
        return;
    cs_privkey_free(s->secret);
    free(s);
}

const struct cs_note_key *cs_note_signer_key(const struct cs_note_signer *s) {
    return &s->key;
}

bool cs_note_sign(struct cs_crypto *c, const struct cs_note_signer *s, struct cs_bytes text, struct cs_buf *b,
                  struct cs_err *err) {
    uint8_t blob[ID_LEN + SIG_LEN];
    char base64[(sizeof blob + 2) / 3 * 4 + 1] = "";
    size_t len = 0;
    memcpy(blob, s->key.id, ID_LEN);
    if (!privkey_sign(c, s->secret, &text, 1, blob + ID_LEN, SIG_LEN, &len) || len != SIG_LEN)
        return crypto_fail(err, "signing a note");
    cs_base64_encode(blob, sizeof blob, base64);
    cs_buf_put(b, text.data, text.len);
    cs_buf_printf(b, "\n" DASH "%s %s\n", s->key.name, base64);
    return cs_buf_ok(b, err);
}

// --- reading

static bool no_note(struct cs_err *err, const char *what) {
    return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE, "this is no signed note: %s", what);
}

bool cs_note_split(struct cs_bytes note, struct cs_bytes *ret_text, struct cs_bytes *ret_lines,
                   struct cs_err *err) {
    size_t at = note.len;
    if (note.len < 3 || note.data[note.len - 1] != '\n')
        return no_note(err, "it does not end with a line end");
    if (note.len > CS_NOTE_MAX)
        return no_note(err, "it is too large");
    if (!cs_utf8_valid(note.data, note.len))
        return no_note(err, "it is not UTF-8");
    for (size_t i = 0; i < note.len; i++)
        if (note.data[i] < 0x20 && note.data[i] != '\n')
            return no_note(err, "it holds control characters");
    while (at >= 2 && !(note.data[at - 1] == '\n' && note.data[at - 2] == '\n'))
        at--;
    if (at < 2 || at == note.len)
        return no_note(err, "it has no signature behind an empty line");
    *ret_text = (struct cs_bytes){note.data, at - 1};
    *ret_lines = (struct cs_bytes){note.data + at, note.len - at};
    return true;
}

static struct cs_bytes take_line(struct cs_bytes *lines) {
    const uint8_t *end = memchr(lines->data, '\n', lines->len);
    struct cs_bytes line = {lines->data, (size_t)(end - lines->data)};
    lines->data += line.len + 1;
    lines->len -= line.len + 1;
    return line;
}

// A signature line of this name, decoded. *ret_len 0: of another key.
static bool read_line(struct cs_bytes line, const struct cs_note_key *k, uint8_t ret[BLOB_MAX],
                      size_t *ret_len) {
    static const size_t dash = sizeof DASH - 1;
    size_t sig_len = k->kind == CS_NOTE_COSIGNATURE ? BLOB_MAX : ID_LEN + SIG_LEN;
    *ret_len = 0;
    if (line.len < dash || memcmp(line.data, DASH, dash) != 0)
        return false;
    const char *name = (const char *)line.data + dash;
    const char *space = memchr(name, ' ', line.len - dash);
    if (!space || !name_valid(name, (size_t)(space - name)))
        return false;
    size_t base64_len = line.len - (size_t)((const uint8_t *)space + 1 - line.data);
    if (strlen(k->name) != (size_t)(space - name) || memcmp(name, k->name, (size_t)(space - name)) != 0 ||
        base64_len != cs_base64_encoded_len(sig_len))
        return true;
    uint8_t blob[(BLOB_MAX + 2) / 3 * 3];
    size_t len = 0;
    if (!cs_base64_decode(space + 1, base64_len, blob, &len))
        return false;
    if (len == sig_len && memcmp(blob, k->id, ID_LEN) == 0) {
        memcpy(ret, blob, len);
        *ret_len = len;
    }
    return true;
}

static bool is_signed(struct cs_crypto *c, const struct cs_note_key *k, const struct cs_pubkey *pub,
                      struct cs_bytes text, const uint8_t *blob, int64_t *ret_time_s) {
    static const struct sig_alg alg = {SIG_ED25519, DIGEST_SHA512, 0, NULL};
    uint64_t time_s = 0;
    if (k->kind == CS_NOTE_ED25519)
        return crypto_verify(c, pub, &alg, text, (struct cs_bytes){blob + ID_LEN, SIG_LEN});
    for (size_t i = 0; i < TIME_LEN; i++)
        time_s = time_s << 8 | blob[ID_LEN + i];
    if (time_s > INT64_MAX)
        return false;
    CS_AUTO(cs_buf_clear) struct cs_buf signed_text;
    cs_buf_init(&signed_text, CS_NOTE_MAX + 64);
    cs_buf_printf(&signed_text, "cosignature/v1\ntime %" PRIu64 "\n", time_s);
    cs_buf_put(&signed_text, text.data, text.len);
    *ret_time_s = (int64_t)time_s;
    return !signed_text.failed && crypto_verify(c, pub, &alg, cs_buf_bytes(&signed_text),
                                                (struct cs_bytes){blob + ID_LEN + TIME_LEN, SIG_LEN});
}

bool cs_note_find(struct cs_crypto *c, struct cs_bytes text, struct cs_bytes lines,
                  const struct cs_note_key *k, struct cs_bytes *ret_line, int64_t *ret_time_s,
                  struct cs_err *err) {
    CS_AUTO(cs_pubkey_free) struct cs_pubkey *pub = NULL;
    struct cs_bytes found = {0};
    int64_t time_s = 0;
    if (lines.len > 0 && lines.data[lines.len - 1] != '\n')
        return no_note(err, "it does not end with a line end");
    if (!public_key_of(c, k, &pub, err))
        return false;
    while (lines.len > 0) {
        uint8_t blob[BLOB_MAX];
        size_t len = 0;
        struct cs_bytes line = take_line(&lines);
        if (!read_line(line, k, blob, &len))
            return no_note(err, "a line behind the empty line is no signature");
        if (len == 0)
            continue;
        if (!is_signed(c, k, pub, text, blob, &time_s))
            return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE,
                              "the signature of the key %s is not over this text: it was altered", k->name);
        if (!found.data)
            found = (struct cs_bytes){line.data, line.len + 1};
    }
    if (!found.data)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE, "the key %s+%02x%02x%02x%02x has not signed it",
                          k->name, k->id[0], k->id[1], k->id[2], k->id[3]);
    *ret_line = found;
    *ret_time_s = time_s;
    return true;
}

bool cs_note_open(struct cs_crypto *c, struct cs_bytes note, const struct cs_note_key *k,
                  struct cs_bytes *ret_text, int64_t *ret_time_s, struct cs_err *err) {
    struct cs_bytes text;
    struct cs_bytes lines;
    struct cs_bytes line;
    int64_t time_s = 0;
    if (!cs_note_split(note, &text, &lines, err) || !cs_note_find(c, text, lines, k, &line, &time_s, err))
        return false;
    *ret_text = text;
    if (ret_time_s)
        *ret_time_s = time_s;
    return true;
}
