// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"

#define HEAD         "certsync snapshot 1"
#define ORIGIN_END   "/snapshot"
#define PIECE        ((size_t)64 * 1024)
#define HASH_BASE64  44 // characters of 32 bytes in base64
#define POSITION_MAX 8192

// --- the statement

void cs_snapshot_origin(const char *log_id, int32_t partition, int64_t epoch, char out[CS_ORIGIN_MAX + 1]) {
    char outcomes[CS_ORIGIN_MAX + 1];
    cs_checkpoint_origin(log_id, partition, epoch, outcomes);
    snprintf(out, CS_ORIGIN_MAX + 1, "%.*s" ORIGIN_END, (int)(CS_ORIGIN_MAX - sizeof ORIGIN_END), outcomes);
}

bool cs_snapshot_is_of(struct cs_snapshot *s, const char *log_id, int32_t partition) {
    struct cs_checkpoint outcomes = s->at;
    size_t len = strlen(outcomes.origin), end = sizeof ORIGIN_END - 1;
    if (len < end || strcmp(outcomes.origin + len - end, ORIGIN_END) != 0)
        return false;
    outcomes.origin[len - end] = '\0';
    return cs_checkpoint_is_of(&outcomes, log_id, partition, &s->epoch);
}

void cs_snapshot_of(struct cs_crypto *c, const char *origin, const struct cs_position *at,
                    const uint8_t sha256[32], struct cs_snapshot *ret) {
    *ret = (struct cs_snapshot){.at.size = at->outcomes, .epoch = at->epoch, .next_offset = at->next_offset};
    snprintf(ret->at.origin, sizeof ret->at.origin, "%s", origin);
    cs_merkle_root(c, &at->edge, at->outcomes, &ret->at.root);
    memcpy(ret->catalog.sha256, sha256, sizeof ret->catalog.sha256);
}

bool cs_snapshot_equal(const struct cs_snapshot *a, const struct cs_snapshot *b) {
    return strcmp(a->at.origin, b->at.origin) == 0 && a->at.size == b->at.size &&
           cs_hash_equal(&a->at.root, &b->at.root) && a->next_offset == b->next_offset &&
           cs_hash_equal(&a->catalog, &b->catalog);
}

static void put_text(struct cs_buf *b, const struct cs_snapshot *v) {
    char root[HASH_BASE64 + 1] = "", catalog[HASH_BASE64 + 1] = "";
    cs_base64_encode(v->at.root.sha256, sizeof v->at.root.sha256, root);
    cs_base64_encode(v->catalog.sha256, sizeof v->catalog.sha256, catalog);
    cs_buf_printf(b, "%s\n%" PRId64 "\n%s\nnext_offset %" PRId64 "\ncatalog %s\n", v->at.origin, v->at.size,
                  root, v->next_offset, catalog);
}

bool cs_snapshot_sign(struct cs_crypto *c, const struct cs_note_signer *s, const struct cs_snapshot *v,
                      struct cs_buf *b, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf text;
    cs_buf_init(&text, 1024);
    put_text(&text, v);
    return cs_buf_ok(&text, err) && cs_note_sign(c, s, cs_buf_bytes(&text), b, err);
}

// The lines behind those of the checkpoint. There is one form of each statement.
static bool read_rest(struct cs_bytes text, struct cs_snapshot *v) {
    CS_AUTO(cs_buf_clear) struct cs_buf back;
    char line[256];
    char catalog[HASH_BASE64 + 1];
    uint8_t hash[HASH_BASE64 / 4 * 3];
    size_t len = 0;
    const uint8_t *at = text.data, *end = text.data + text.len;
    cs_buf_init(&back, 1024);
    for (int i = 0; at && i < 3; i++) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at ? at + 1 : NULL;
    }
    if (!at || (size_t)(end - at) >= sizeof line)
        return false;
    memcpy(line, at, (size_t)(end - at));
    line[end - at] = '\0';
    if (sscanf(line, "next_offset %16" SCNd64 "\ncatalog %44s\n", &v->next_offset, catalog) != 2 ||
        !cs_base64_decode(catalog, strlen(catalog), hash, &len) || len != sizeof v->catalog.sha256)
        return false;
    memcpy(v->catalog.sha256, hash, sizeof v->catalog.sha256);
    put_text(&back, v);
    return !back.failed && cs_bytes_equal(cs_buf_bytes(&back), text);
}

bool cs_snapshot_open(struct cs_crypto *c, struct cs_bytes note, const struct cs_note_key *k,
                      struct cs_snapshot *ret, struct cs_err *err) {
    struct cs_bytes text;
    struct cs_snapshot v = {0};
    if (!cs_note_open(c, note, k, &text, NULL, err))
        return false;
    if (!cs_checkpoint_parse(text, &v.at, err) || !read_rest(text, &v))
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE,
                          "this is no statement of a snapshot, as certsync-consumer snapshot writes it");
    *ret = v;
    return true;
}

// --- writing

struct writer {
    struct cs_buf b;
    bool (*put)(void *arg, struct cs_bytes piece, struct cs_err *err);
    void *arg;
    struct cs_err *err;
    bool failed;
};

static bool flush(struct writer *w, size_t from) {
    if (w->b.len < from && !w->b.failed)
        return true;
    w->failed = !cs_buf_ok(&w->b, w->err) || !w->put(w->arg, cs_buf_bytes(&w->b), w->err);
    cs_buf_reset(&w->b);
    return !w->failed;
}

static void put_number(struct cs_buf *b, uint64_t n, size_t bytes) {
    uint8_t *to = cs_buf_reserve(b, bytes);
    if (!to)
        return;
    for (size_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(n >> (8 * (bytes - 1 - i)));
    cs_buf_advance(b, bytes);
}

static void put_name(struct cs_buf *b, const char *name) {
    size_t len = strlen(name);
    put_number(b, len, 2);
    cs_buf_put(b, name, len);
}

static bool write_doc(void *arg, const char *key, struct cs_bytes value) {
    struct writer *w = arg;
    cs_buf_putc(&w->b, 'd');
    put_name(&w->b, key);
    put_number(&w->b, value.len, 4);
    cs_buf_put(&w->b, value.data, value.len);
    return flush(w, PIECE);
}

static bool write_index(void *arg, const char *key, const struct cs_member *members, size_t n) {
    struct writer *w = arg;
    cs_buf_putc(&w->b, 'i');
    put_name(&w->b, key);
    put_number(&w->b, n, 4);
    for (size_t i = 0; i < n; i++) {
        put_name(&w->b, members[i].name);
        put_number(&w->b, (uint64_t)members[i].score, 8);
        if (!flush(w, PIECE))
            return false;
    }
    return flush(w, PIECE);
}

bool cs_snapshot_write(const struct cs_state *state, const char *origin, const struct cs_position *at,
                       bool (*put)(void *arg, struct cs_bytes piece, struct cs_err *err), void *arg,
                       struct cs_err *err) {
    struct writer w = {.put = put, .arg = arg, .err = err};
    cs_buf_init(&w.b, PIECE + CS_STATE_DOCUMENT_MAX + CS_STATE_KEY_MAX + POSITION_MAX);
    cs_buf_printf(&w.b, HEAD "\n%s\n", origin);
    cs_position_encode(&w.b, at);
    cs_buf_putc(&w.b, '\n');
    bool ok = cs_state_each(state, write_doc, write_index, &w);
    cs_buf_putc(&w.b, 'e');
    ok = ok ? flush(&w, 0) : w.failed ? false : cs_err_oom(err);
    cs_buf_clear(&w.b);
    return ok;
}

// --- reading

struct reader {
    struct cs_state *state;
    bool (*take)(void *arg, uint8_t *to, size_t len, size_t *ret_len, struct cs_err *err);
    void *arg;
    struct cs_buf value;
    char key[CS_STATE_KEY_MAX + 1];
    bool index; // the key's kind
    bool wanted;
    const struct cs_snapshot_filter *filter;
    struct cs_err *err;
};

static bool bad(struct reader *r, const char *what) {
    return cs_err_set(r->err, CS_ERR_REJECT, CS_CODE_NONE, "it is no whole snapshot: %s", what);
}

static bool need(struct reader *r, void *to, size_t len) {
    size_t got = 0;
    return r->take(r->arg, to, len, &got, r->err) && (got == len || bad(r, "it was cut"));
}

static bool take_number(struct reader *r, size_t bytes, uint64_t *ret) {
    uint8_t from[8];
    uint64_t n = 0;
    if (!need(r, from, bytes))
        return false;
    for (size_t i = 0; i < bytes; i++)
        n = n << 8 | from[i];
    *ret = n;
    return true;
}

static bool take_name(struct reader *r, char ret[CS_STATE_KEY_MAX + 1]) {
    uint64_t len = 0;
    if (!take_number(r, 2, &len))
        return false;
    if (len == 0 || len > CS_STATE_KEY_MAX)
        return bad(r, "a key is empty or too long");
    if (!need(r, ret, (size_t)len))
        return false;
    ret[len] = '\0';
    return strlen(ret) == len || bad(r, "a key has a zero byte");
}

static bool take_line(struct reader *r, char *line, size_t size) {
    for (size_t len = 0; len < size; len++) {
        if (!need(r, &line[len], 1))
            return false;
        if (line[len] == '\n') {
            line[len] = '\0';
            return true;
        }
    }
    return bad(r, "its head is too long");
}

static bool take_head(struct reader *r, const char *origin, struct cs_position *ret) {
    char line[POSITION_MAX];
    struct cs_err why;
    if (!take_line(r, line, sizeof line))
        return false;
    if (strcmp(line, HEAD) != 0)
        return bad(r, "its first line is not \"" HEAD "\"");
    if (!take_line(r, line, sizeof line))
        return false;
    if (strcmp(line, origin) != 0)
        return cs_err_set(r->err, CS_ERR_REJECT, CS_CODE_NONE, "it is of %.128s, not of %s", line, origin);
    if (!take_line(r, line, sizeof line))
        return false;
    struct cs_bytes json = {(const uint8_t *)line, strlen(line)};
    cs_buf_reset(&r->value);
    bool ok = cs_position_decode(json, ret, &why);
    if (ok)
        cs_position_encode(&r->value, ret);
    return (ok && cs_bytes_equal(cs_buf_bytes(&r->value), json)) || bad(r, "its position cannot be read");
}

static bool take_doc(struct reader *r) {
    uint64_t len = 0;
    if (!take_number(r, 4, &len))
        return false;
    if (len == 0 || len > CS_STATE_DOCUMENT_MAX)
        return bad(r, "a document is empty or too large");
    cs_buf_reset(&r->value);
    uint8_t *to = cs_buf_reserve(&r->value, (size_t)len);
    if (!to)
        return cs_err_oom(r->err);
    if (!need(r, to, (size_t)len))
        return false;
    cs_buf_advance(&r->value, (size_t)len);
    if (r->wanted)
        cs_state_put(r->state, r->key, cs_buf_bytes(&r->value));
    return true;
}

static bool take_index(struct reader *r) {
    char member[CS_STATE_KEY_MAX + 1], before[CS_STATE_KEY_MAX + 1] = "";
    const struct cs_member *members = NULL;
    uint64_t count = 0, number = 0;
    int64_t score_before = INT64_MIN;
    size_t n = 0;
    if (!take_number(r, 4, &count))
        return false;
    for (uint64_t i = 0; i < count; i++) {
        if (!take_name(r, member) || !take_number(r, 8, &number))
            return false;
        int64_t score = (int64_t)number;
        if (score < score_before || (score == score_before && strcmp(member, before) <= 0))
            return bad(r, "the members of an index are not in order");
        score_before = score;
        memcpy(before, member, sizeof before);
        if (r->wanted)
            cs_state_add(r->state, r->key, member, score);
    }
    if (count > 0 && !r->wanted)
        return true;
    return (count > 0 && cs_state_list(r->state, r->key, &members, &n) == CS_FOUND && n == count) ||
           bad(r, "an index is empty, or has a member twice");
}

// A state that is not complete knows an index once it is told what was there before.
static bool begin_entry(struct reader *r, bool index) {
    if (index && r->wanted && r->filter && r->filter->taken &&
        !cs_state_fill_index(r->state, r->key, NULL, 0, r->err))
        return false;
    cs_state_begin(r->state);
    return true;
}

// Each is a stage of its own.
static bool take_entry(struct reader *r, bool index) {
    char key[CS_STATE_KEY_MAX + 1];
    if (!take_name(r, key))
        return false;
    int order = strcmp(key, r->key);
    if (order < 0 || (order == 0 && (r->index || !index)))
        return bad(r, "its keys are not in order");
    memcpy(r->key, key, sizeof r->key);
    r->index = index;
    r->wanted = !r->filter || r->filter->wants(r->filter->arg, key);
    if (!begin_entry(r, index))
        return false;
    if (!(index ? take_index(r) : take_doc(r))) {
        cs_state_drop(r->state);
        return false;
    }
    if (!cs_state_keep(r->state, r->err))
        return false;
    if (r->filter && r->filter->taken)
        return r->filter->taken(r->filter->arg, r->state, r->err);
    cs_state_changes_clear(r->state);
    return true;
}

static bool take_entries(struct reader *r) {
    for (;;) {
        uint8_t tag = 0;
        size_t more = 0;
        if (!need(r, &tag, 1))
            return false;
        if (tag == 'e')
            return r->take(r->arg, &tag, 1, &more, r->err) &&
                   (more == 0 || bad(r, "something follows its end"));
        if (tag != 'd' && tag != 'i')
            return bad(r, "what stands in it is neither a document nor an index");
        if (!take_entry(r, tag == 'i'))
            return false;
    }
}

bool cs_snapshot_read(struct cs_state *state, const char *origin,
                      bool (*take)(void *arg, uint8_t *to, size_t len, size_t *ret_len, struct cs_err *err),
                      void *arg, const struct cs_snapshot_filter *filter, struct cs_position *ret,
                      struct cs_err *err) {
    struct reader r = {.state = state, .take = take, .arg = arg, .filter = filter, .err = err};
    struct cs_position at;
    cs_buf_init(&r.value, CS_STATE_DOCUMENT_MAX + 1);
    bool ok = take_head(&r, origin, &at) && take_entries(&r);
    cs_buf_clear(&r.value);
    if (ok)
        *ret = at;
    return ok;
}
