// SPDX-License-Identifier: Apache-2.0
#include "notify/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "catalog/authentic.h"
#include "certsync/base/text.h"
#include "redis/key.h"
#include "redis/route.h"

#define KEY_MAX   255 // as of a catalog's keys
#define TOKEN_LEN 32
#define AT_MAX    512
#define HOLD_MAX  ((size_t)CS_NOTE_AT_ONCE * CS_NOTE_DOC_MAX)

struct cs_note_store {
    struct cs_redis_route *route;
    struct cs_authentic *authentic;
    char name_space[CS_NAMESPACE_MAX];
    char section[64];
    char token[TOKEN_LEN + 1]; // of this process
    struct cs_buf doc;
    struct cs_buf held; // texts of the entries that were read last
    // Of the question under way:
    int32_t partition;
    struct cs_redis_link *link;
    char prefix[CS_PREFIX_MAX];
    size_t prefix_len;
};

bool cs_note_store_new(const struct cs_redis_access *access, const char *name_space,
                       const struct cs_privkey *service, const char *log_id, const char *section,
                       struct cs_note_store **ret, struct cs_err *err) {
    CS_AUTO(cs_note_store_free) struct cs_note_store *s = calloc(1, sizeof *s);
    uint8_t random[TOKEN_LEN / 2];
    if (!s)
        return cs_err_oom(err);
    cs_buf_init(&s->doc, CS_NOTE_DOC_MAX);
    cs_buf_init(&s->held, HOLD_MAX);
    snprintf(s->name_space, sizeof s->name_space, "%s", name_space);
    snprintf(s->section, sizeof s->section, "%s", section);
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "the kernel gives no random bytes");
    cs_hex_encode(random, sizeof random, s->token);
    if (!cs_redis_route_new(access, &s->route, err) || !cs_authentic_new(service, log_id, &s->authentic, err))
        return false;
    *ret = CS_TAKE(s);
    return true;
}

void cs_note_store_free(struct cs_note_store *s) {
    if (!s)
        return;
    cs_redis_route_free(s->route);
    cs_authentic_free(s->authentic);
    cs_buf_clear(&s->doc);
    cs_buf_clear(&s->held);
    free(s);
}

// --- questions

static const char *key_of(const struct cs_note_store *s, char ret[KEY_MAX + 1], const char *what,
                          const char *entry) {
    snprintf(ret, KEY_MAX + 1, CS_NOTE_PREFIX "%s/%s%s", s->section, what, entry);
    return ret;
}

static bool begin(struct cs_note_store *s, int32_t partition, struct cs_err *err) {
    s->partition = partition;
    s->prefix_len = cs_redis_prefix(s->prefix, s->name_space, partition, 0);
    return cs_redis_route_link(s->route, partition, &s->link, err);
}

static void put_key(struct cs_note_store *s, const char *what, const char *entry) {
    char key[KEY_MAX + 1];
    cs_redis_arg_joined(s->link, s->prefix, s->prefix_len, key_of(s, key, what, entry));
}

static void put_command(struct cs_note_store *s, size_t args, const char *name, const char *what,
                        const char *entry) {
    cs_redis_command(s->link, args);
    cs_redis_arg_text(s->link, name);
    put_key(s, what, entry);
}

static void put_word(struct cs_note_store *s, const char *word) {
    cs_redis_command(s->link, 1);
    cs_redis_arg_text(s->link, word);
}

static bool ask(struct cs_note_store *s, const char *what, redisReply *const **ret, size_t *ret_n,
                struct cs_err *err) {
    bool ignored = false;
    if (!cs_redis_send(s->link, err) || !cs_redis_route_finish(s->route, ret, ret_n, err))
        return false;
    for (size_t i = 0; i < *ret_n; i++)
        if ((*ret)[i]->type == REDIS_REPLY_ERROR)
            return cs_redis_route_refused(s->route, (*ret)[i], what, &ignored, err);
    return true;
}

static struct cs_bytes bytes_of(const redisReply *r) {
    if (r->type != REDIS_REPLY_STRING)
        return (struct cs_bytes){0};
    return (struct cs_bytes){(const uint8_t *)r->str, r->len};
}

// SET of what is in s->doc, with its mark.
static bool put_doc(struct cs_note_store *s, const char *what, const char *entry, struct cs_err *err) {
    uint8_t mark[CS_MARK_LEN];
    char key[KEY_MAX + 1];
    struct cs_bytes doc = cs_buf_bytes(&s->doc);
    if (!cs_buf_ok(&s->doc, err) ||
        !cs_authentic_beside_mark(s->authentic, s->partition, key_of(s, key, what, entry), doc, mark, err))
        return false;
    put_command(s, 3, "SET", what, entry);
    cs_redis_arg_marked(s->link, doc, (struct cs_bytes){mark, sizeof mark});
    return true;
}

static bool take_doc(struct cs_note_store *s, const redisReply *r, const char *what, const char *entry,
                     struct cs_bytes *ret) {
    char key[KEY_MAX + 1];
    *ret = bytes_of(r);
    return cs_authentic_beside(s->authentic, s->partition, key_of(s, key, what, entry), ret);
}

// --- the place

static bool put_at(struct cs_note_store *s, const struct cs_note_place *at, struct cs_err *err) {
    char hash[65];
    cs_hex_encode(at->sha256, sizeof at->sha256, hash);
    cs_buf_reset(&s->doc);
    cs_buf_printf(&s->doc, "1 %s %" PRId64 " %" PRId64 " %s %" PRId64 " %" PRId64, s->token, at->offset,
                  at->n, hash, at->since_ms, at->broken_at);
    return put_doc(s, "at", "", err);
}

// What another release wrote in another form counts as absent.
static bool read_at(struct cs_note_store *s, const redisReply *r, struct cs_note_place *ret, bool *ret_mine) {
    struct cs_bytes doc;
    char text[AT_MAX], token[TOKEN_LEN + 1] = "", hash[65] = "";
    struct cs_note_place at = {0};
    if (!take_doc(s, r, "at", "", &doc) || doc.len >= sizeof text)
        return false;
    memcpy(text, doc.data, doc.len);
    text[doc.len] = '\0';
    // NOLINTNEXTLINE(cert-err34-c): its mark proves that certsync wrote it
    if (sscanf(text, "1 %32s %" SCNd64 " %" SCNd64 " %64s %" SCNd64 " %" SCNd64, token, &at.offset, &at.n,
               hash, &at.since_ms, &at.broken_at) != 6 ||
        strlen(hash) != 64 || !cs_hex_decode(hash, 64, at.sha256))
        return false;
    *ret = at;
    *ret_mine = strcmp(token, s->token) == 0;
    return true;
}

bool cs_note_read(struct cs_note_store *s, int32_t partition, struct cs_note_place *ret, bool *ret_found,
                  int64_t *ret_waiting, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    bool mine = false;
    if (!begin(s, partition, err))
        return false;
    put_command(s, 2, "GET", "at", "");
    put_command(s, 2, "ZCARD", "queue", "");
    if (!ask(s, "read where notices are", &replies, &n, err))
        return false;
    *ret_found = read_at(s, replies[0], ret, &mine);
    *ret_waiting = replies[1]->integer;
    return true;
}

bool cs_note_begin(struct cs_note_store *s, int32_t partition, const struct cs_note_place *at,
                   struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    return begin(s, partition, err) && put_at(s, at, err) && ask(s, "begin notices", &replies, &n, err);
}

// --- changes, while this process is the holder

// WATCH, and a look at the holder. What is put after it is sent by change_end on the same connection.
static bool change_begin(struct cs_note_store *s, int32_t partition, struct cs_note_place *ret,
                         bool *ret_lost, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    bool mine = false;
    if (!begin(s, partition, err))
        return false;
    put_command(s, 2, "WATCH", "at", "");
    put_command(s, 2, "GET", "at", "");
    if (!ask(s, "read who serves notices", &replies, &n, err))
        return false;
    *ret_lost = !read_at(s, replies[1], ret, &mine) || !mine;
    if (*ret_lost) {
        put_word(s, "UNWATCH");
        return ask(s, "leave notices", &replies, &n, err);
    }
    put_word(s, "MULTI");
    return true;
}

// The last command before it is ZCARD of the queue.
static bool change_end(struct cs_note_store *s, int64_t *ret_waiting, bool *ret_lost, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    put_command(s, 2, "ZCARD", "queue", "");
    put_word(s, "EXEC");
    if (!cs_redis_connected(s->link))
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the connection to Redis was lost");
    if (!ask(s, "write notices", &replies, &n, err))
        return false;
    const redisReply *done = replies[n - 1];
    *ret_lost = done->type != REDIS_REPLY_ARRAY;
    if (*ret_lost)
        return true;
    for (size_t i = 0; i < done->elements; i++)
        if (done->element[i]->type == REDIS_REPLY_ERROR)
            return cs_redis_error(err, done->element[i], "write notices");
    if (ret_waiting)
        *ret_waiting = done->element[done->elements - 1]->integer;
    return true;
}

// A change that cannot be written down leaves a connection that watches.
static bool give_up(struct cs_note_store *s) {
    cs_redis_close(s->link);
    return false;
}

// A member of those told, with its mark: nobody else can say that a notice was told.
static bool put_told(struct cs_note_store *s, const char *id, struct cs_err *err) {
    char key[KEY_MAX + 1], member[CS_UUID_LEN + CS_MEMBER_MARK_SIZE];
    uint64_t secret = 0;
    snprintf(member, sizeof member, "%s", id);
    if (!cs_authentic_member_mark(s->authentic, s->partition, key_of(s, key, "told", ""), id,
                                  member + strlen(member), &secret, err))
        return false;
    cs_redis_arg_text(s->link, member);
    return true;
}

static bool put_entry(struct cs_note_store *s, const struct cs_note_entry *e, struct cs_err *err) {
    cs_buf_reset(&s->doc);
    cs_buf_printf(&s->doc, "1\n%s\n%" PRId64 "\n%" PRId64 "\n%s\n%s\n%zu\n", e->id, e->made_ms, e->tries,
                  e->account, e->contact, e->text.len);
    cs_buf_put(&s->doc, e->text.data, e->text.len);
    cs_buf_put(&s->doc, e->event.data, e->event.len);
    if (!put_doc(s, "doc/", e->entry, err))
        return false;
    put_command(s, 4, "ZADD", "queue", "");
    cs_redis_arg_int(s->link, e->due_ms);
    cs_redis_arg_text(s->link, e->entry);
    if (e->told_until_ms > 0) {
        put_command(s, 4, "ZADD", "told", "");
        cs_redis_arg_int(s->link, e->told_until_ms);
        return put_told(s, e->id, err);
    }
    return true;
}

bool cs_note_add(struct cs_note_store *s, int32_t partition, const struct cs_note_place *at,
                 const struct cs_note_entry *entries, size_t n, int64_t *ret_waiting, bool *ret_lost,
                 struct cs_err *err) {
    struct cs_note_place ignored;
    if (!change_begin(s, partition, &ignored, ret_lost, err))
        return false;
    if (*ret_lost)
        return true;
    if (!put_at(s, at, err))
        return give_up(s);
    for (size_t i = 0; i < n; i++)
        if (!put_entry(s, &entries[i], err))
            return give_up(s);
    return change_end(s, ret_waiting, ret_lost, err);
}

bool cs_note_done(struct cs_note_store *s, int32_t partition, const struct cs_note_entry *const *entries,
                  size_t n, int64_t *ret_waiting, bool *ret_lost, struct cs_err *err) {
    struct cs_note_place ignored;
    if (!change_begin(s, partition, &ignored, ret_lost, err))
        return false;
    if (*ret_lost)
        return true;
    for (size_t i = 0; i < n; i++) {
        put_command(s, 3, "ZREM", "queue", "");
        cs_redis_arg_text(s->link, entries[i]->entry);
        put_command(s, 2, "UNLINK", "doc/", entries[i]->entry);
    }
    return change_end(s, ret_waiting, ret_lost, err);
}

bool cs_note_later(struct cs_note_store *s, int32_t partition, const struct cs_note_entry *entry,
                   bool *ret_lost, struct cs_err *err) {
    struct cs_note_place ignored;
    if (!change_begin(s, partition, &ignored, ret_lost, err))
        return false;
    if (*ret_lost)
        return true;
    return put_entry(s, entry, err) ? change_end(s, NULL, ret_lost, err) : give_up(s);
}

// --- what is due

static bool take_line(struct cs_bytes *rest, char *out, size_t out_size) {
    const uint8_t *end = rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;
    size_t len = end ? (size_t)(end - rest->data) : 0;
    if (!end || len >= out_size)
        return false;
    memcpy(out, rest->data, len);
    out[len] = '\0';
    *rest = (struct cs_bytes){end + 1, rest->len - len - 1};
    return true;
}

// Texts are placed in s->held later, when it does not move any more: .data is an offset until then.
static bool read_entry(struct cs_note_store *s, struct cs_bytes doc, struct cs_note_entry *ret) {
    char form[8], made[24], tries[24], len[24];
    if (!take_line(&doc, form, sizeof form) || strcmp(form, "1") != 0 ||
        !take_line(&doc, ret->id, sizeof ret->id) || !take_line(&doc, made, sizeof made) ||
        !take_line(&doc, tries, sizeof tries) || !take_line(&doc, ret->account, sizeof ret->account) ||
        !take_line(&doc, ret->contact, sizeof ret->contact) || !take_line(&doc, len, sizeof len))
        return false;
    size_t text_len = strtoul(len, NULL, 10);
    if (text_len > doc.len)
        return false;
    ret->made_ms = strtoll(made, NULL, 10);
    ret->tries = strtoll(tries, NULL, 10);
    ret->text.len = text_len;
    ret->event.len = doc.len - text_len;
    cs_buf_put(&s->held, doc.data, doc.len);
    return !s->held.failed;
}

static bool read_docs(struct cs_note_store *s, struct cs_note_entry *entries, size_t n, size_t *ret_kept,
                      struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t answers = 0, kept = 0;
    if (!begin(s, s->partition, err))
        return false;
    cs_redis_command(s->link, 1 + n);
    cs_redis_arg_text(s->link, "MGET");
    for (size_t i = 0; i < n; i++)
        put_key(s, "doc/", entries[i].entry);
    if (!ask(s, "read notices", &replies, &answers, err))
        return false;
    cs_buf_reset(&s->held);
    for (size_t i = 0; i < n && i < replies[0]->elements; i++) {
        struct cs_bytes doc;
        struct cs_note_entry e = entries[i];
        if (take_doc(s, replies[0]->element[i], "doc/", e.entry, &doc) && read_entry(s, doc, &e))
            entries[kept++] = e;
    }
    const uint8_t *at = s->held.data;
    for (size_t i = 0; i < kept; i++) {
        entries[i].text.data = at;
        entries[i].event.data = at + entries[i].text.len;
        at += entries[i].text.len + entries[i].event.len;
    }
    *ret_kept = kept;
    return cs_buf_ok(&s->held, err);
}

// Members without a document of ours: somebody else's.
static bool drop_strays(struct cs_note_store *s, const struct cs_note_entry *listed, size_t n,
                        const struct cs_note_entry *kept, size_t kept_n, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t answers = 0, at = 0;
    if (n == kept_n)
        return true;
    if (!begin(s, s->partition, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (at < kept_n && strcmp(kept[at].entry, listed[i].entry) == 0) {
            at++;
            continue;
        }
        put_command(s, 3, "ZREM", "queue", "");
        cs_redis_arg_text(s->link, listed[i].entry);
    }
    return ask(s, "drop notices that are none", &replies, &answers, err);
}

// Members of the queue from a place on, with their times.
static bool read_queue(struct cs_note_store *s, int32_t partition, int64_t from,
                       struct cs_note_entry ret[CS_NOTE_AT_ONCE], size_t *ret_n, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t answers = 0;
    *ret_n = 0;
    if (!begin(s, partition, err))
        return false;
    put_command(s, 5, "ZRANGE", "queue", "");
    cs_redis_arg_int(s->link, from);
    cs_redis_arg_int(s->link, from + CS_NOTE_AT_ONCE - 1);
    cs_redis_arg_text(s->link, "WITHSCORES");
    if (!ask(s, "read which notices wait", &replies, &answers, err))
        return false;
    for (size_t i = 0; i + 1 < replies[0]->elements && *ret_n < CS_NOTE_AT_ONCE; i += 2) {
        struct cs_note_entry *e = &ret[(*ret_n)++];
        *e = (struct cs_note_entry){.due_ms = (int64_t)strtod(replies[0]->element[i + 1]->str, NULL)};
        snprintf(e->entry, sizeof e->entry, "%s", replies[0]->element[i]->str);
    }
    return true;
}

// The documents of n entries that were listed.
static bool fill(struct cs_note_store *s, const struct cs_note_entry *listed, size_t n,
                 struct cs_note_entry ret[CS_NOTE_AT_ONCE], size_t *ret_n, struct cs_err *err) {
    *ret_n = 0;
    if (n == 0)
        return true;
    memcpy(ret, listed, n * sizeof *ret);
    return read_docs(s, ret, n, ret_n, err) && drop_strays(s, listed, n, ret, *ret_n, err);
}

bool cs_note_due(struct cs_note_store *s, int32_t partition, int64_t now_ms,
                 struct cs_note_entry ret[CS_NOTE_AT_ONCE], size_t *ret_n, int64_t *ret_next_ms,
                 size_t *ret_gone, struct cs_err *err) {
    struct cs_note_entry listed[CS_NOTE_AT_ONCE];
    size_t all = 0, n = 0;
    *ret_gone = 0;
    if (!read_queue(s, partition, 0, listed, &all, err))
        return false;
    *ret_next_ms = all > 0 ? listed[0].due_ms : INT64_MAX;
    while (n < all && listed[n].due_ms <= now_ms)
        n++;
    if (!fill(s, listed, n, ret, ret_n, err))
        return false;
    *ret_gone = n - *ret_n;
    return true;
}

bool cs_note_list(struct cs_note_store *s, int32_t partition, int64_t from,
                  struct cs_note_entry ret[CS_NOTE_AT_ONCE], size_t *ret_n, size_t *ret_listed,
                  struct cs_err *err) {
    struct cs_note_entry listed[CS_NOTE_AT_ONCE];
    return read_queue(s, partition, from, listed, ret_listed, err) &&
           fill(s, listed, *ret_listed, ret, ret_n, err);
}

bool cs_note_told(struct cs_note_store *s, int32_t partition, cs_uuid *ids, size_t n, int64_t now_ms,
                  bool *ret, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t answers = 0;
    if (n == 0)
        return true;
    if (!begin(s, partition, err))
        return false;
    put_command(s, 4, "ZREMRANGEBYSCORE", "told", "");
    cs_redis_arg_text(s->link, "-inf");
    cs_redis_arg_int(s->link, now_ms);
    put_command(s, 2 + n, "ZMSCORE", "told", "");
    for (size_t i = 0; i < n; i++)
        if (!put_told(s, ids[i], err))
            return give_up(s);
    if (!ask(s, "read what was told", &replies, &answers, err))
        return false;
    for (size_t i = 0; i < n; i++)
        ret[i] = i < replies[1]->elements && replies[1]->element[i]->type == REDIS_REPLY_STRING;
    return true;
}

bool cs_note_postpone(struct cs_note_store *s, int32_t partition, const struct cs_note_entry *const *entries,
                      size_t n, int64_t due_ms, bool *ret_lost, struct cs_err *err) {
    struct cs_note_place ignored;
    if (!change_begin(s, partition, &ignored, ret_lost, err))
        return false;
    if (*ret_lost)
        return true;
    for (size_t i = 0; i < n; i++) {
        put_command(s, 4, "ZADD", "queue", "");
        cs_redis_arg_int(s->link, due_ms);
        cs_redis_arg_text(s->link, entries[i]->entry);
    }
    return change_end(s, NULL, ret_lost, err);
}

// --- the lease

static bool lease_is_mine(const struct cs_note_store *s, const redisReply *r) {
    struct cs_bytes v = bytes_of(r);
    return v.len == TOKEN_LEN && memcmp(v.data, s->token, TOKEN_LEN) == 0;
}

bool cs_note_lease(struct cs_note_store *s, int64_t lease_ms, bool *ret_held, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    *ret_held = false;
    if (!begin(s, 0, err))
        return false;
    put_command(s, 2, "WATCH", "lease", "");
    put_command(s, 2, "GET", "lease", "");
    if (!ask(s, "read the lease of notices", &replies, &n, err))
        return false;
    bool is_free = replies[1]->type == REDIS_REPLY_NIL, mine = lease_is_mine(s, replies[1]);
    if (!is_free && !mine) {
        put_word(s, "UNWATCH");
        return ask(s, "leave the lease of notices", &replies, &n, err);
    }
    put_word(s, "MULTI");
    put_command(s, 5, "SET", "lease", "");
    cs_redis_arg_text(s->link, s->token);
    cs_redis_arg_text(s->link, "PX");
    cs_redis_arg_int(s->link, lease_ms);
    put_word(s, "EXEC");
    if (!ask(s, "take the lease of notices", &replies, &n, err))
        return false;
    *ret_held = replies[n - 1]->type == REDIS_REPLY_ARRAY;
    return true;
}

bool cs_note_release(struct cs_note_store *s, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    if (!begin(s, 0, err))
        return false;
    put_command(s, 2, "WATCH", "lease", "");
    put_command(s, 2, "GET", "lease", "");
    if (!ask(s, "read the lease of notices", &replies, &n, err))
        return false;
    bool mine = lease_is_mine(s, replies[1]);
    put_word(s, mine ? "MULTI" : "UNWATCH");
    if (mine) {
        put_command(s, 2, "UNLINK", "lease", "");
        put_word(s, "EXEC");
    }
    return ask(s, "give the lease of notices back", &replies, &n, err);
}
