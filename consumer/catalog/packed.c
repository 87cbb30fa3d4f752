// SPDX-License-Identifier: Apache-2.0
#include "catalog/packed.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "certsync/base/text.h"

#define LEVEL        (-1) // as small as 1 here, and quicker
#define HASH_LOG     10   // small tables stay in the processor's cache between two documents
#define MIN_MATCH    7
#define DOCUMENT_MAX ((size_t)4 * 1024 * 1024)
#define SMALL        100 // bytes that zstd makes no shorter
#define BASE64_MIN   16  // shorter texts are names
#define HEX_MIN      16
#define UUID_TEXT    36
#define UUID_BYTES   16

enum { FORM_PLAIN = '-', FORM_PACKED = 'p', FORM_ZSTD = 'z', FORM_UUID = 'u' };
enum { AS_BASE64 = 1, AS_HEX, AS_UUID, AS_OWN, AS_END };

struct cs_packer {
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    ZSTD_DDict *from;
    struct cs_buf packed, other;
};

bool cs_packer_new(struct cs_packer **ret, struct cs_err *err) {
    static const struct {
        ZSTD_cParameter parameter;
        int value;
    } parameters[] = {
        {ZSTD_c_compressionLevel, LEVEL},
        {ZSTD_c_hashLog, HASH_LOG},
        {ZSTD_c_minMatch, MIN_MATCH},
        {ZSTD_c_dictIDFlag, 0}, // the form's letter names the dictionary already
    };
    CS_AUTO(cs_packer_free) struct cs_packer *p = calloc(1, sizeof *p);
    if (!p)
        return cs_err_oom(err);
    cs_buf_init(&p->packed, DOCUMENT_MAX);
    cs_buf_init(&p->other, DOCUMENT_MAX);
    p->compressor = ZSTD_createCCtx();
    p->decompressor = ZSTD_createDCtx();
    p->from = ZSTD_createDDict(cs_packed_dictionary, cs_packed_dictionary_len);
    if (!p->compressor || !p->decompressor || !p->from)
        return cs_err_oom(err);
    for (size_t i = 0; i < CS_ARRAY_LEN(parameters); i++)
        if (ZSTD_isError(ZSTD_CCtx_setParameter(p->compressor, parameters[i].parameter, parameters[i].value)))
            return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "this zstd does not know a parameter");
    if (ZSTD_isError(ZSTD_CCtx_loadDictionary(p->compressor, cs_packed_dictionary, cs_packed_dictionary_len)))
        return cs_err_oom(err);
    *ret = CS_TAKE(p);
    return true;
}

void cs_packer_free(struct cs_packer *p) {
    if (!p)
        return;
    ZSTD_freeCCtx(p->compressor);
    ZSTD_freeDCtx(p->decompressor);
    ZSTD_freeDDict(p->from);
    cs_buf_clear(&p->packed);
    cs_buf_clear(&p->other);
    free(p);
}

// ---- strings as bytes

// The first byte below AS_END, eight at once; end where there is none.
static const uint8_t *next_mark(const uint8_t *at, const uint8_t *end) {
    const uint64_t ones = UINT64_MAX / 255;
    uint64_t eight;
    for (; end - at >= 8; at += 8) {
        memcpy(&eight, at, sizeof eight);
        if ((eight - ones * AS_END) & ~eight & (ones << 7))
            break;
    }
    while (at < end && *at >= AS_END)
        at++;
    return at;
}

static void put_len(struct cs_buf *b, size_t len) {
    for (; len >= 128; len >>= 7)
        cs_buf_putc(b, (char)(128 | (len & 127)));
    cs_buf_putc(b, (char)len);
}

static bool take_len(const uint8_t **at, const uint8_t *end, size_t *ret) {
    *ret = 0;
    for (unsigned shift = 0; *at < end && shift < 28; shift += 7) {
        uint8_t byte = *(*at)++;
        *ret |= (size_t)(byte & 127) << shift;
        if (byte < 128)
            return true;
    }
    return false;
}

// "01234567-89ab-cdef-0123-456789abcdef"
static bool uuid_bytes(const char *text, uint8_t ret[UUID_BYTES]) {
    static const unsigned dash_after[] = {4, 6, 8, 10};
    size_t n = 0, dash = 0;
    for (const char *at = text; n < UUID_BYTES; at += 2, n++) {
        if (dash < CS_ARRAY_LEN(dash_after) && n == dash_after[dash]) {
            if (*at++ != '-')
                return false;
            dash++;
        }
        if (!cs_hex_decode(at, 2, &ret[n]))
            return false;
    }
    return true;
}

static void put_uuid(struct cs_buf *b, const uint8_t bytes[UUID_BYTES]) {
    static const unsigned pieces[] = {4, 2, 2, 2, 6};
    uint8_t *out = cs_buf_reserve(b, UUID_TEXT + 1); // and a NUL
    if (!out)
        return;
    for (size_t i = 0; i < CS_ARRAY_LEN(pieces); i++) {
        cs_hex_encode(bytes, pieces[i], (char *)out);
        bytes += pieces[i];
        out += (size_t)2 * pieces[i];
        *out++ = '-';
    }
    cs_buf_advance(b, UUID_TEXT);
}

// The UUID that is the last part of the key. NULL: it is none.
static const char *own_id(const char *key) {
    const char *slash = key ? strrchr(key, '/') : NULL;
    uint8_t uuid[UUID_BYTES];
    return slash && strlen(slash + 1) == UUID_TEXT && uuid_bytes(slash + 1, uuid) ? slash + 1 : NULL;
}

// A text that nothing else encodes to, so it can be made again of its bytes.
static bool put_as(struct cs_buf *b, const char *text, size_t len, const char *own) {
    uint8_t uuid[UUID_BYTES];
    if (len == UUID_TEXT && own && memcmp(text, own, UUID_TEXT) == 0) {
        cs_buf_putc(b, AS_OWN);
        return true;
    }
    if (len == UUID_TEXT && uuid_bytes(text, uuid)) {
        cs_buf_putc(b, AS_UUID);
        cs_buf_put(b, uuid, sizeof uuid);
        return true;
    }
    // The bytes are written behind the largest length, and moved to where they belong.
    uint8_t *room = cs_buf_reserve(b, len + 8);
    size_t bytes = 0;
    int as = 0;
    if (!room)
        return false;
    if (len >= HEX_MIN && len % 2 == 0 && cs_hex_decode(text, len, room + 8)) {
        as = AS_HEX;
        bytes = len / 2;
    } else if (len >= BASE64_MIN && len % 4 == 0 && cs_base64_decode(text, len, room + 8, &bytes)) {
        as = AS_BASE64;
    }
    if (!as)
        return false;
    cs_buf_putc(b, (char)as);
    put_len(b, bytes);
    memmove(b->data + b->len, room + 8, bytes);
    cs_buf_advance(b, bytes);
    return true;
}

// Strings with an escape stay as they are. `rest` is where what is not written yet begins.
static void pack_strings(struct cs_buf *b, struct cs_bytes doc, const char *own) {
    const char *at = (const char *)doc.data, *rest = at, *end = at + doc.len;
    while (at < end) {
        const char *open = memchr(at, '"', (size_t)(end - at));
        const char *close = open ? memchr(open + 1, '"', (size_t)(end - open) - 1) : NULL;
        while (close && close[-1] == '\\') // where that is wrong, less is found
            close = memchr(close + 1, '"', (size_t)(end - close) - 1);
        if (!close)
            break;
        if ((size_t)(close - open) > HEX_MIN) {
            cs_buf_put(b, rest, (size_t)(open + 1 - rest));
            rest = put_as(b, open + 1, (size_t)(close - open) - 1, own) ? close : open + 1;
        }
        at = close + 1;
    }
    cs_buf_put(b, rest, (size_t)(end - rest));
}

static bool take_as(struct cs_buf *b, const uint8_t **at, const uint8_t *end, const char *own) {
    int as = *(*at)++;
    size_t len = UUID_BYTES, text = 0;
    if (as == AS_OWN) {
        if (own)
            cs_buf_put(b, own, UUID_TEXT);
        return own != NULL;
    }
    if ((as != AS_UUID && !take_len(at, end, &len)) || len > (size_t)(end - *at))
        return false;
    if (as == AS_UUID) {
        put_uuid(b, *at);
    } else {
        text = as == AS_HEX ? 2 * len : cs_base64_encoded_len(len);
        uint8_t *out = cs_buf_reserve(b, text + 1);
        if (!out)
            return false;
        if (as == AS_HEX)
            cs_hex_encode(*at, len, (char *)out);
        else
            cs_base64_encode(*at, len, (char *)out);
        cs_buf_advance(b, text);
    }
    *at += len;
    return true;
}

static bool unpack_strings(struct cs_buf *b, struct cs_bytes packed, const char *own) {
    const uint8_t *at = packed.data, *end = at + packed.len;
    while (at < end) {
        const uint8_t *plain = at;
        at = next_mark(at, end);
        cs_buf_put(b, plain, (size_t)(at - plain));
        if (at < end && !take_as(b, &at, end, own))
            return false;
    }
    return !b->failed;
}

// ---- zstd

static bool is_json(struct cs_bytes doc) {
    return doc.len > 0 && (doc.data[0] == '{' || doc.data[0] == '"') &&
           next_mark(doc.data, doc.data + doc.len) == doc.data + doc.len;
}

static bool is_uuid(struct cs_bytes doc, uint8_t ret[UUID_BYTES]) {
    return doc.len == UUID_TEXT + 2 && doc.data[0] == '"' && doc.data[doc.len - 1] == '"' &&
           uuid_bytes((const char *)doc.data + 1, ret);
}

bool cs_pack(struct cs_packer *p, const char *key, struct cs_bytes doc, bool lasting, struct cs_bytes *ret,
             struct cs_err *err) {
    uint8_t uuid[UUID_BYTES];
    cs_buf_reset(&p->packed);
    bool json = is_json(doc), alone = is_uuid(doc, uuid);
    if (!json || alone) {
        cs_buf_putc(&p->packed, alone ? FORM_UUID : FORM_PLAIN);
        cs_buf_put(&p->packed, alone ? uuid : doc.data, alone ? sizeof uuid : doc.len);
        *ret = cs_buf_bytes(&p->packed);
        return cs_buf_ok(&p->packed, err);
    }
    cs_buf_putc(&p->packed, FORM_PACKED);
    pack_strings(&p->packed, doc, own_id(key));
    if (!cs_buf_ok(&p->packed, err))
        return false;
    *ret = p->packed.len < doc.len ? cs_buf_bytes(&p->packed) : doc;
    if (!lasting || p->packed.len < SMALL)
        return true;
    size_t most = ZSTD_compressBound(p->packed.len - 1);
    cs_buf_reset(&p->other);
    cs_buf_putc(&p->other, FORM_ZSTD);
    uint8_t *out = cs_buf_reserve(&p->other, most);
    if (!out)
        return cs_buf_ok(&p->other, err);
    size_t len = ZSTD_compress2(p->compressor, out, most, p->packed.data + 1, p->packed.len - 1);
    if (ZSTD_isError(len))
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "zstd: %s", ZSTD_getErrorName(len));
    cs_buf_advance(&p->other, len);
    if (p->other.len < ret->len)
        *ret = cs_buf_bytes(&p->other);
    return true;
}

static bool unreadable(struct cs_err *err, const char *what) {
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                      "the catalog holds a document that this release cannot read: %s. A newer release may "
                      "have written it: upgrade certsync-consumer",
                      what);
}

static bool decompress(struct cs_packer *p, struct cs_bytes *packed, struct cs_err *err) {
    unsigned long long size = ZSTD_getFrameContentSize(packed->data, packed->len);
    if (size > DOCUMENT_MAX) // or an error
        return unreadable(err, "no zstd frame of a document");
    cs_buf_reset(&p->packed);
    uint8_t *out = cs_buf_reserve(&p->packed, (size_t)size);
    if (!out)
        return cs_buf_ok(&p->packed, err);
    size_t len =
        ZSTD_decompress_usingDDict(p->decompressor, out, (size_t)size, packed->data, packed->len, p->from);
    if (ZSTD_isError(len))
        return unreadable(err, ZSTD_getErrorName(len));
    cs_buf_advance(&p->packed, len);
    *packed = cs_buf_bytes(&p->packed);
    return true;
}

static bool unpack_uuid(struct cs_buf *b, struct cs_bytes packed) {
    if (packed.len != UUID_BYTES)
        return false;
    cs_buf_putc(b, '"');
    put_uuid(b, packed.data);
    cs_buf_putc(b, '"');
    return !b->failed;
}

bool cs_unpack(struct cs_packer *p, const char *key, struct cs_bytes stored, struct cs_bytes *ret,
               struct cs_err *err) {
    int form = stored.len > 0 ? stored.data[0] : '{'; // nothing, and what is empty, stays so
    if (form == '{' || form == '"') {
        *ret = stored;
        return true;
    }
    struct cs_bytes packed = {stored.data + 1, stored.len - 1};
    if (form == FORM_PLAIN) {
        *ret = packed;
        return true;
    }
    if (form != FORM_PACKED && form != FORM_ZSTD && form != FORM_UUID)
        return unreadable(err, "its form is not known");
    if (form == FORM_ZSTD && !decompress(p, &packed, err))
        return false;
    cs_buf_reset(&p->other);
    if (form == FORM_UUID ? !unpack_uuid(&p->other, packed) : !unpack_strings(&p->other, packed, own_id(key)))
        return unreadable(err, "its strings are not as they were packed");
    *ret = cs_buf_bytes(&p->other);
    return true;
}
