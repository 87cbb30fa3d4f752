// SPDX-License-Identifier: Apache-2.0
//
// Snapshots: what is read as one is written as the same bytes, also where it is taken piece by piece. The
// second line says the origin.
#include <stdlib.h>
#include <string.h>

#include "certsync/model/snapshot.h"
#include "fuzz.h"

struct bytes {
    const uint8_t *data;
    size_t len;
};

static void require(bool holds) {
    if (!holds)
        abort();
}

static bool take(void *arg, uint8_t *to, size_t len, size_t *ret_len, struct cs_err *err) {
    struct bytes *b = arg;
    size_t n = len < b->len ? len : b->len;
    (void)err;
    if (n > 0)
        memcpy(to, b->data, n);
    b->data += n;
    b->len -= n;
    *ret_len = n;
    return true;
}

static bool put(void *arg, struct cs_bytes piece, struct cs_err *err) {
    struct cs_buf *b = arg;
    cs_buf_put(b, piece.data, piece.len);
    return cs_buf_ok(b, err);
}

static void origin_of(const uint8_t *data, size_t len, char ret[CS_ORIGIN_MAX + 1]) {
    const uint8_t *first = memchr(data, '\n', len);
    const uint8_t *end = first ? memchr(first + 1, '\n', len - (size_t)(first + 1 - data)) : NULL;
    size_t n = end ? (size_t)(end - first - 1) : 0;
    if (n > CS_ORIGIN_MAX)
        n = CS_ORIGIN_MAX;
    if (n > 0)
        memcpy(ret, first + 1, n);
    ret[n] = '\0';
}

static bool wants(void *arg, const char *key) {
    (void)arg, (void)key;
    return true;
}

static bool apply(void *arg, const struct cs_change *change) {
    if (change->kind == CS_CHANGE_PUT)
        (void)cs_state_put(arg, change->key, change->value);
    else
        cs_state_add(arg, change->key, change->member, change->score);
    return true;
}

// Puts what was taken into a complete state.
static bool taken(void *arg, struct cs_state *state, struct cs_err *err) {
    struct cs_state *whole = arg;
    cs_state_begin(whole);
    cs_state_changes(state, apply, whole);
    require(cs_state_keep(whole, err));
    cs_state_changes_clear(whole);
    cs_state_changes_clear(state);
    cs_state_forget(state);
    return true;
}

static void require_same(const struct cs_state *state, const char *origin, const struct cs_position *at,
                         const uint8_t *data, size_t len) {
    struct cs_buf b;
    struct cs_err err;
    cs_buf_init(&b, len + 1024 * 1024);
    require(cs_snapshot_write(state, origin, at, put, &b, &err));
    require(b.len == len && memcmp(b.data, data, len) == 0);
    cs_buf_clear(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    char origin[CS_ORIGIN_MAX + 1];
    CS_AUTO(cs_state_free) struct cs_state *whole = NULL;
    CS_AUTO(cs_state_free) struct cs_state *part = NULL;
    CS_AUTO(cs_state_free) struct cs_state *of_parts = NULL;
    struct bytes from = {data, len}, again = {data, len};
    struct cs_position at, at_again;
    struct cs_err err;
    require(cs_state_new(true, &whole, &err) && cs_state_new(false, &part, &err) &&
            cs_state_new(true, &of_parts, &err));
    const struct cs_snapshot_filter filter = {wants, of_parts, taken};
    origin_of(data, len, origin);
    bool is = cs_snapshot_read(whole, origin, take, &from, NULL, &at, &err);
    require(is || (err.kind == CS_ERR_REJECT && err.msg[0] != '\0'));
    require(cs_snapshot_read(part, origin, take, &again, &filter, &at_again, &err) == is);
    if (is) {
        require_same(whole, origin, &at, data, len);
        require_same(of_parts, origin, &at_again, data, len);
    }
    return 0;
}
