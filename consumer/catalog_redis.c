// SPDX-License-Identifier: Apache-2.0
#include "catalog.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog_redis_write.h"
#include "redis_link.h"

#define MGET_KEYS     1000
#define SCAN_COUNT    "1000"
#define EACH_AT_ONCE  500
#define NAMESPACE_MAX 64
#define PREFIX_MAX    (NAMESPACE_MAX + 16)
#define POSITION_KEY  "pos"

enum under_way { NOTHING, LOADING, COMMITTING };

struct redis_catalog {
    struct cs_catalog base;
    char name_space[NAMESPACE_MAX];
    struct cs_redis_link *link;
    struct cs_redis_writer *writer;
    enum under_way under_way;
    bool watching;
    struct cs_position loaded; // what the watch stands on
    bool refused;              // a commit from another position than that
    int32_t partition;         // whose prefix is below
    char prefix[PREFIX_MAX];
    size_t prefix_len;
    struct cs_state *state; // of a load under way
    // What a load asked for: documents first, then indexes; keys are offsets into text.
    struct cs_buf text;
    size_t *docs;
    size_t docs_len;
    size_t *indexes;
    size_t indexes_len;
    size_t asked_cap;
    struct cs_member *members;
    size_t members_cap;
};

static void set_partition(struct redis_catalog *c, int32_t partition) {
    if (c->prefix_len > 0 && c->partition == partition)
        return;
    c->partition = partition;
    c->prefix_len =
        (size_t)snprintf(c->prefix, sizeof c->prefix, "%s:{%" PRId32 "}:", c->name_space, partition);
}

static void put_key(struct redis_catalog *c, const char *key) {
    cs_redis_arg_joined(c->link, c->prefix, c->prefix_len, key);
}

static void put_command(struct redis_catalog *c, const char *name, const char *key) {
    cs_redis_command(c->link, 2);
    cs_redis_arg_text(c->link, name);
    put_key(c, key);
}

static const char *asked_key(const struct redis_catalog *c, size_t offset) {
    return (const char *)c->text.data + offset;
}

// The notes are valid until the first fill: copies them, documents and indexes apart.
static bool copy_needed(struct redis_catalog *c, const struct cs_state *state, struct cs_err *err) {
    const struct cs_needed *needed = NULL;
    size_t n = cs_state_needed(state, &needed);
    if (n > c->asked_cap) {
        size_t *docs = realloc(c->docs, n * sizeof *docs);
        if (docs)
            c->docs = docs;
        size_t *indexes = realloc(c->indexes, n * sizeof *indexes);
        if (indexes)
            c->indexes = indexes;
        if (!docs || !indexes)
            return cs_err_oom(err);
        c->asked_cap = n;
    }
    cs_buf_reset(&c->text);
    c->docs_len = c->indexes_len = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = c->text.len;
        cs_buf_put(&c->text, needed[i].key, strlen(needed[i].key) + 1);
        if (needed[i].index)
            c->indexes[c->indexes_len++] = at;
        else
            c->docs[c->docs_len++] = at;
    }
    return cs_buf_ok(&c->text, err);
}

static bool redis_load_begin(struct cs_catalog *base, int32_t partition, struct cs_state *state,
                             struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    if (!cs_redis_connected(c->link))
        c->watching = false;
    if (!cs_redis_connect(c->link, err) || !copy_needed(c, state, err))
        return false;
    set_partition(c, partition);
    put_command(c, "WATCH", POSITION_KEY);
    put_command(c, "GET", POSITION_KEY);
    for (size_t i = 0; i < c->docs_len; i++) {
        if (i % MGET_KEYS == 0) {
            size_t left = c->docs_len - i;
            cs_redis_command(c->link, 1 + (left < MGET_KEYS ? left : MGET_KEYS));
            cs_redis_arg_text(c->link, "MGET");
        }
        put_key(c, asked_key(c, c->docs[i]));
    }
    for (size_t i = 0; i < c->indexes_len; i++) {
        cs_redis_command(c->link, 5);
        cs_redis_arg_text(c->link, "ZRANGE");
        put_key(c, asked_key(c, c->indexes[i]));
        cs_redis_arg_text(c->link, "0");
        cs_redis_arg_text(c->link, "-1");
        cs_redis_arg_text(c->link, "WITHSCORES");
    }
    put_command(c, "GET", POSITION_KEY);
    c->state = state;
    c->under_way = LOADING;
    c->watching = true;
    return cs_redis_send(c->link, err);
}

static struct cs_bytes reply_bytes(const redisReply *r) {
    if (r->type != REDIS_REPLY_STRING)
        return (struct cs_bytes){0};
    return (struct cs_bytes){(const uint8_t *)r->str, r->len};
}

static bool read_position(const redisReply *r, struct cs_position *ret, struct cs_err *err) {
    if (r->type == REDIS_REPLY_ERROR)
        return cs_redis_error(err, r, "read the position");
    if (r->type == REDIS_REPLY_NIL) {
        *ret = (struct cs_position){0};
        return true;
    }
    return cs_position_decode(reply_bytes(r), ret, err) || cs_err_prepend(err, "position");
}

static bool fill_docs(struct redis_catalog *c, const redisReply *r, size_t first, struct cs_err *err) {
    if (r->type == REDIS_REPLY_ERROR)
        return cs_redis_error(err, r, "read documents");
    for (size_t i = 0; i < r->elements && first + i < c->docs_len; i++)
        if (!cs_state_fill(c->state, asked_key(c, c->docs[first + i]), reply_bytes(r->element[i]), err))
            return false;
    return true;
}

// A reply of ZRANGE WITHSCORES as members, borrowed from the reply.
static bool read_members(struct redis_catalog *c, const redisReply *r, size_t *ret_n, struct cs_err *err) {
    size_t n = r->elements / 2;
    if (n > c->members_cap) {
        struct cs_member *grown = realloc(c->members, n * sizeof *grown);
        if (!grown)
            return cs_err_oom(err);
        c->members = grown;
        c->members_cap = n;
    }
    for (size_t i = 0; i < n; i++) {
        // Scores are integers below 2^53, which a double holds and Redis writes exactly.
        double score = strtod(r->element[2 * i + 1]->str, NULL);
        c->members[i] = (struct cs_member){r->element[2 * i]->str, (int64_t)score};
    }
    *ret_n = n;
    return true;
}

static bool fill_index(struct redis_catalog *c, const redisReply *r, const char *key, struct cs_err *err) {
    size_t n = 0;
    if (r->type == REDIS_REPLY_ERROR)
        return cs_redis_error(err, r, "read an index");
    return read_members(c, r, &n, err) && cs_state_fill_index(c->state, key, c->members, n, err);
}

static bool redis_load_end(struct cs_catalog *base, struct cs_position *ret, bool *ret_moved,
                           struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    redisReply *const *replies = NULL;
    size_t n = 0;
    c->under_way = NOTHING;
    if (!cs_redis_finish(c->link, &replies, &n, err))
        return false;
    struct cs_position before;
    struct cs_position after;
    if (replies[0]->type == REDIS_REPLY_ERROR)
        return cs_redis_error(err, replies[0], "watch the position");
    if (!read_position(replies[1], &before, err) || !read_position(replies[n - 1], &after, err))
        return false;
    size_t at = 2;
    for (size_t i = 0; i < c->docs_len; i += MGET_KEYS)
        if (!fill_docs(c, replies[at++], i, err))
            return false;
    for (size_t i = 0; i < c->indexes_len; i++)
        if (!fill_index(c, replies[at++], asked_key(c, c->indexes[i]), err))
            return false;
    cs_state_needed_clear(c->state);
    c->loaded = before;
    *ret = before;
    *ret_moved = !cs_position_equal(&before, &after);
    return true;
}

static void redis_cancel(struct cs_catalog *base) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    redisReply *const *replies = NULL;
    size_t n = 0;
    struct cs_err err;
    if (c->under_way != NOTHING)
        cs_redis_close(c->link);
    else if (c->watching && cs_redis_connected(c->link) && cs_redis_connect(c->link, &err)) {
        cs_redis_command(c->link, 1);
        cs_redis_arg_text(c->link, "UNWATCH");
        if (!cs_redis_send(c->link, &err) || !cs_redis_finish(c->link, &replies, &n, &err))
            cs_redis_close(c->link);
    }
    c->under_way = NOTHING;
    c->watching = false;
    c->state = NULL;
}

static bool redis_commit_begin(struct cs_catalog *base, int32_t partition, const struct cs_state *state,
                               const struct cs_position *from, const struct cs_position *to,
                               struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    if (!cs_redis_connected(c->link) || !c->watching)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                          "the connection to Redis was lost before the commit");
    if (!cs_redis_connect(c->link, err))
        return false;
    c->refused = c->partition != partition || !cs_position_equal(from, &c->loaded);
    if (c->refused)
        return true;
    CS_AUTO(cs_buf_clear) struct cs_buf position;
    cs_buf_init(&position, 4096);
    cs_position_encode(&position, to);
    if (!cs_buf_ok(&position, err))
        return false;
    cs_redis_command(c->link, 1);
    cs_redis_arg_text(c->link, "MULTI");
    if (!cs_redis_writer_put(c->writer, c->link, c->prefix, c->prefix_len, state, err))
        return false;
    cs_redis_command(c->link, 3);
    cs_redis_arg_text(c->link, "SET");
    put_key(c, POSITION_KEY);
    cs_redis_arg(c->link, cs_buf_bytes(&position));
    cs_redis_command(c->link, 3);
    cs_redis_arg_text(c->link, "PUBLISH");
    put_key(c, "moved");
    cs_redis_arg_int(c->link, to->outcomes);
    cs_redis_command(c->link, 1);
    cs_redis_arg_text(c->link, "EXEC");
    c->under_way = COMMITTING;
    return cs_redis_send(c->link, err);
}

// EXEC ran, but a command in it failed while the others took effect: the partition's keys are not what the
// position says.
static bool damaged(const struct redis_catalog *c, const redisReply *r, struct cs_err *err) {
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                      "Redis took a commit of partition %d only in part (%.200s): something else writes "
                      "under \"%s\"; remove "
                      "these keys and let the partition be replayed",
                      (int)c->partition, r->str ? r->str : "", c->prefix);
}

static bool redis_commit_end(struct cs_catalog *base, bool *ret_moved, struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    redisReply *const *replies = NULL;
    size_t n = 0;
    if (c->refused) {
        redis_cancel(base);
        *ret_moved = true;
        return true;
    }
    c->under_way = NOTHING;
    c->watching = false;
    if (!cs_redis_finish(c->link, &replies, &n, err))
        return false;
    // A command that could not even be queued makes EXEC refuse all: nothing has changed then.
    for (size_t i = 0; i + 1 < n; i++)
        if (replies[i]->type == REDIS_REPLY_ERROR)
            return cs_redis_error(err, replies[i], "queue a commit");
    const redisReply *exec = replies[n - 1];
    if (exec->type == REDIS_REPLY_ERROR)
        return cs_redis_error(err, exec, "commit");
    if (exec->type == REDIS_REPLY_NIL) {
        *ret_moved = true;
        return true;
    }
    for (size_t i = 0; i < exec->elements; i++)
        if (exec->element[i]->type == REDIS_REPLY_ERROR)
            return damaged(c, exec->element[i], err);
    if (exec->elements != n - 2)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "Redis answered %zu of %zu commands of a commit",
                          exec->elements, n - 2);
    *ret_moved = false;
    return true;
}

static bool redis_poll(struct cs_catalog *base) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    return c->under_way == NOTHING || cs_redis_advance(c->link);
}

static int redis_fd(struct cs_catalog *base, bool *ret_write) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    *ret_write = cs_redis_wants_write(c->link);
    return c->under_way == NOTHING ? -1 : cs_redis_fd(c->link);
}

// One step of SCAN over the partition's keys: appends those found to keys (NUL-terminated, with the prefix
// cut off).
static bool scan_step(struct redis_catalog *c, char cursor[24], struct cs_buf *keys, struct cs_err *err) {
    char pattern[PREFIX_MAX + 2];
    snprintf(pattern, sizeof pattern, "%s*", c->prefix);
    redisReply *const *replies = NULL;
    size_t n = 0;
    if (!cs_redis_connect(c->link, err))
        return false;
    const char *const args[] = {"SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT};
    cs_redis_command(c->link, CS_ARRAY_LEN(args));
    for (size_t i = 0; i < CS_ARRAY_LEN(args); i++)
        cs_redis_arg_text(c->link, args[i]);
    if (!cs_redis_send(c->link, err) || !cs_redis_finish(c->link, &replies, &n, err))
        return false;
    const redisReply *r = replies[0];
    if (r->type != REDIS_REPLY_ARRAY || r->elements != 2)
        return cs_redis_error(err, r, "scan");
    snprintf(cursor, 24, "%s", r->element[0]->str);
    for (size_t i = 0; i < r->element[1]->elements; i++) {
        const redisReply *key = r->element[1]->element[i];
        if (key->len >= c->prefix_len)
            cs_buf_put(keys, key->str + c->prefix_len, key->len - c->prefix_len + 1); // with its NUL
    }
    return cs_buf_ok(keys, err);
}

static bool remove_keys(struct redis_catalog *c, const struct cs_buf *keys, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    if (keys->len == 0)
        return true;
    if (!cs_redis_connect(c->link, err))
        return false;
    for (const char *k = (const char *)keys->data; k < (const char *)keys->data + keys->len;
         k += strlen(k) + 1)
        if (strcmp(k, POSITION_KEY) != 0)
            put_command(c, "UNLINK", k);
    if (cs_redis_commands(c->link) == 0)
        return true;
    if (!cs_redis_send(c->link, err) || !cs_redis_finish(c->link, &replies, &n, err))
        return false;
    for (size_t i = 0; i < n; i++)
        if (replies[i]->type == REDIS_REPLY_ERROR)
            return cs_redis_error(err, replies[i], "remove keys");
    return true;
}

static bool redis_reset(struct cs_catalog *base, int32_t partition, struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    redisReply *const *replies = NULL;
    size_t n = 0;
    set_partition(c, partition);
    CS_AUTO(cs_buf_clear) struct cs_buf keys;
    cs_buf_init(&keys, (size_t)256 * 1024 * 1024);
    char cursor[24] = "0";
    do {
        cs_buf_reset(&keys);
        if (!scan_step(c, cursor, &keys, err) || !remove_keys(c, &keys, err))
            return false;
    } while (strcmp(cursor, "0") != 0);
    if (!cs_redis_connect(c->link, err))
        return false;
    put_command(c, "UNLINK", POSITION_KEY);
    if (!cs_redis_send(c->link, err) || !cs_redis_finish(c->link, &replies, &n, err))
        return false;
    return replies[0]->type != REDIS_REPLY_ERROR || cs_redis_error(err, replies[0], "remove the position");
}

static int compare_keys(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// All keys of the partition but the position, sorted, each once. *ret_keys point into text.
static bool list_keys(struct redis_catalog *c, struct cs_buf *text, const char ***ret_keys, size_t *ret_n,
                      struct cs_err *err) {
    char cursor[24] = "0";
    do {
        if (!scan_step(c, cursor, text, err))
            return false;
    } while (strcmp(cursor, "0") != 0);
    size_t n = 0;
    for (size_t i = 0; i < text->len; i++)
        n += text->data[i] == 0;
    const char **keys = calloc(n + 1, sizeof *keys);
    if (!keys)
        return cs_err_oom(err);
    const char *at = (const char *)text->data;
    for (size_t i = 0; i < n; i++, at += strlen(at) + 1)
        keys[i] = at;
    qsort(keys, n, sizeof *keys, compare_keys);
    size_t kept = 0; // SCAN may name a key twice
    for (size_t i = 0; i < n; i++)
        if (strcmp(keys[i], POSITION_KEY) != 0 && (kept == 0 || strcmp(keys[kept - 1], keys[i]) != 0))
            keys[kept++] = keys[i];
    *ret_keys = keys;
    *ret_n = kept;
    return true;
}

struct walk {
    bool (*doc)(void *arg, const char *key, struct cs_bytes value);
    bool (*index)(void *arg, const char *key, const struct cs_member *members, size_t n);
    void *arg;
    bool stopped;
};

// Some keys at once: first what kind each is, then the values.
static bool walk_some(struct redis_catalog *c, const char *const *keys, size_t n, struct walk *walk,
                      struct cs_err *err) {
    bool index[EACH_AT_ONCE];
    redisReply *const *replies = NULL;
    size_t got = 0;
    if (!cs_redis_connect(c->link, err))
        return false;
    for (size_t i = 0; i < n; i++)
        put_command(c, "TYPE", keys[i]);
    if (!cs_redis_send(c->link, err) || !cs_redis_finish(c->link, &replies, &got, err))
        return false;
    for (size_t i = 0; i < n; i++)
        index[i] = replies[i]->str && strcmp(replies[i]->str, "zset") == 0;
    for (size_t i = 0; i < n; i++) {
        cs_redis_command(c->link, index[i] ? 5 : 2);
        cs_redis_arg_text(c->link, index[i] ? "ZRANGE" : "GET");
        put_key(c, keys[i]);
        for (size_t k = 0; index[i] && k < 3; k++)
            cs_redis_arg_text(c->link, (const char *[]){"0", "-1", "WITHSCORES"}[k]);
    }
    if (!cs_redis_send(c->link, err) || !cs_redis_finish(c->link, &replies, &got, err))
        return false;
    for (size_t i = 0; i < n && !walk->stopped; i++) {
        size_t members = 0;
        if (replies[i]->type == REDIS_REPLY_ERROR)
            return cs_redis_error(err, replies[i], "read a key");
        if (!index[i] && replies[i]->type == REDIS_REPLY_STRING)
            walk->stopped = !walk->doc(walk->arg, keys[i], reply_bytes(replies[i]));
        else if (index[i] && !read_members(c, replies[i], &members, err))
            return false;
        else if (index[i] && members > 0)
            walk->stopped = !walk->index(walk->arg, keys[i], c->members, members);
    }
    return true;
}

static bool redis_each(struct cs_catalog *base, int32_t partition,
                       bool (*doc)(void *arg, const char *key, struct cs_bytes value),
                       bool (*index)(void *arg, const char *key, const struct cs_member *members, size_t n),
                       void *arg, struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    struct walk walk = {.doc = doc, .index = index, .arg = arg};
    set_partition(c, partition);
    CS_AUTO(cs_buf_clear) struct cs_buf text;
    cs_buf_init(&text, (size_t)1024 * 1024 * 1024);
    const char **keys = NULL;
    size_t n = 0;
    if (!list_keys(c, &text, &keys, &n, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < n && !walk.stopped; i += EACH_AT_ONCE)
        ok = walk_some(c, keys + i, n - i < EACH_AT_ONCE ? n - i : EACH_AT_ONCE, &walk, err);
    free(keys);
    return ok;
}

static void redis_free(struct cs_catalog *base) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    cs_redis_link_free(c->link);
    cs_redis_writer_free(c->writer);
    cs_buf_clear(&c->text);
    free(c->docs);
    free(c->indexes);
    free(c->members);
    free(c);
}

static const struct cs_catalog_ops redis_ops = {
    .load_begin = redis_load_begin,
    .load_end = redis_load_end,
    .commit_begin = redis_commit_begin,
    .commit_end = redis_commit_end,
    .poll = redis_poll,
    .fd = redis_fd,
    .cancel = redis_cancel,
    .reset = redis_reset,
    .each = redis_each,
    .free = redis_free,
};

bool cs_catalog_redis_new(const struct cs_catalog_redis_options *options, struct cs_catalog **ret,
                          struct cs_err *err) {
    struct redis_catalog *c = calloc(1, sizeof *c);
    if (!c)
        return cs_err_oom(err);
    CS_AUTO(cs_catalog_free) struct cs_catalog *base = &c->base;
    c->base.ops = &redis_ops;
    cs_buf_init(&c->text, (size_t)64 * 1024 * 1024);
    if (strlen(options->name_space) >= sizeof c->name_space)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "redis.namespace is longer than %d characters",
                          NAMESPACE_MAX - 1);
    snprintf(c->name_space, sizeof c->name_space, "%s", options->name_space);
    struct cs_redis_link_options link = {options->target, options->username, options->password,
                                         options->ca_file, options->timeout_ms};
    if (!cs_redis_link_new(&link, &c->link, err) || !cs_redis_writer_new(&c->writer, err))
        return false;
    *ret = CS_TAKE(base);
    return true;
}

// "name:value\r\n" of INFO.
static bool info_field(const char *info, const char *name, char *out, size_t out_size) {
    size_t len = strlen(name);
    for (const char *line = info; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            snprintf(out, out_size, "%.*s", (int)strcspn(line + len + 1, "\r\n"), line + len + 1);
            return true;
        }
    }
    return false;
}

bool cs_catalog_redis_facts(struct cs_catalog *base, struct cs_redis_facts *ret, struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    redisReply *const *replies = NULL;
    size_t n = 0;
    if (!cs_redis_connect(c->link, err))
        return false;
    cs_redis_command(c->link, 1);
    cs_redis_arg_text(c->link, "INFO");
    if (!cs_redis_send(c->link, err) || !cs_redis_finish(c->link, &replies, &n, err))
        return false;
    if (replies[0]->type == REDIS_REPLY_ERROR)
        return cs_redis_error(err, replies[0], "tell about itself (INFO)");
    struct cs_redis_facts facts = {0};
    char text[64] = "";
    info_field(replies[0]->str, "redis_version", text, sizeof text);
    facts.version_major = (int)strtol(text, NULL, 10);
    info_field(replies[0]->str, "maxmemory_policy", facts.maxmemory_policy, sizeof facts.maxmemory_policy);
    facts.is_replica = info_field(replies[0]->str, "role", text, sizeof text) && strcmp(text, "slave") == 0;
    *ret = facts;
    return true;
}
