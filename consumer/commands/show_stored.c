// SPDX-License-Identifier: Apache-2.0
#include "commands/show_stored.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/json_write.h"

struct stored {
    struct cs_operator *op;
    struct cs_catalog *catalog;
    const char *what;
    int32_t partition;
    int64_t shown;
};

static void begin_one(struct stored *s, struct cs_buf *b, const char *key) {
    cs_buf_init(b, (size_t)64 * 1024 * 1024);
    if (s->op->options->json) {
        cs_json_begin(b, '{');
        cs_json_int(b, "partition", s->partition);
        cs_json_str(b, "key", key);
    } else {
        cs_buf_printf(b, "partition %" PRId32 "  %s\n", s->partition, key);
    }
}

static void print_one(struct stored *s, struct cs_buf *b) {
    bool json = s->op->options->json;
    if (json)
        cs_json_end(b, '}');
    fprintf(s->op->cli->out, "%s%s", json && s->shown > 0 ? "," : "",
            b->failed || !b->data ? "" : (const char *)b->data);
    s->shown++;
    cs_buf_clear(b);
}

static bool print_doc(void *arg, const char *key, struct cs_bytes value) {
    struct stored *s = arg;
    struct cs_buf b;
    bool sealed = cs_key_is(key, CS_KIND_MATERIAL) || cs_key_is(key, CS_KIND_CSR);
    begin_one(s, &b, key);
    if (s->op->options->json && !sealed) {
        cs_json_name(&b, "value");
        cs_json_put_raw(&b, value);
    } else if (!s->op->options->json && sealed) {
        cs_buf_printf(&b, "    (%zu bytes with a sealed key, which is not shown)\n", value.len);
    } else if (!s->op->options->json) {
        cs_buf_printf(&b, "    %.*s\n", (int)value.len, (const char *)value.data);
    }
    print_one(s, &b);
    return true;
}

static bool print_index(struct stored *s, const char *key, const struct cs_member *members, size_t n) {
    struct cs_buf b;
    bool json = s->op->options->json;
    begin_one(s, &b, key);
    if (json) {
        cs_json_name(&b, "members");
        cs_json_begin(&b, '{');
    }
    for (size_t i = 0; i < n; i++)
        if (json)
            cs_json_int(&b, members[i].name, members[i].score);
        else
            cs_buf_printf(&b, "    %" PRId64 "  %s\n", members[i].score, members[i].name);
    if (json)
        cs_json_end(&b, '}');
    print_one(s, &b);
    return true;
}

// "<kind>/<account>" or "<kind>/<account>/…". What a key or a hash names belongs to no account.
static bool is_of(const char *key, const char *account) {
    static const enum cs_kind others[] = {CS_KIND_TRUST, CS_KIND_STREAM, CS_KIND_SEEN, CS_KIND_ISSUER};
    const char *second = strchr(key, '/');
    size_t len = strlen(account);
    for (size_t i = 0; i < CS_ARRAY_LEN(others); i++)
        if (cs_key_is(key, others[i]))
            return false;
    return second && strncmp(second + 1, account, len) == 0 &&
           (second[1 + len] == '/' || second[1 + len] == '\0');
}

static bool each_doc(void *arg, const char *key, struct cs_bytes value) {
    struct stored *s = arg;
    return !is_of(key, s->what) || print_doc(s, key, value);
}

static bool each_index(void *arg, const char *key, const struct cs_member *members, size_t n) {
    struct stored *s = arg;
    return !is_of(key, s->what) || print_index(s, key, members, n);
}

static bool show_account(struct stored *s, struct cs_err *err) {
    s->partition = cs_partition_of(s->what, s->op->partitions);
    return s->catalog->ops->each(s->catalog, s->partition, each_doc, each_index, s, err);
}

static bool show_key(struct stored *s, struct cs_err *err) {
    if (strlen(s->what) > CS_STATE_KEY_MAX)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "no key is as long as that");
    for (s->partition = 0; s->partition < s->op->partitions; s->partition++) {
        CS_AUTO(cs_state_free) struct cs_state *state = NULL;
        struct cs_position ignored;
        struct cs_bytes value;
        if (!cs_state_new(false, &state, err))
            return false;
        (void)cs_state_get(state, s->what, &value);
        if (!cs_catalog_load(s->catalog, s->partition, state, &ignored, err))
            return false;
        if (cs_state_get(state, s->what, &value) == CS_FOUND)
            (void)print_doc(s, s->what, value);
    }
    return true;
}

bool cs_show_stored(struct cs_operator *op, const char *what, struct cs_err *err) {
    struct stored s = {.op = op, .what = what};
    bool key = strchr(what, '/') || strcmp(what, cs_kind_text(CS_KIND_SYSTEM)) == 0;
    if (!cs_operator_catalog(op, &s.catalog, err))
        return false;
    cs_operator_begin_list(op, "stored");
    bool ok = key ? show_key(&s, err) : show_account(&s, err);
    cs_catalog_free(s.catalog);
    if (ok && s.shown == 0)
        return cs_err_set(err, CS_ERR_REJECT, key ? CS_CODE_NONE : CS_CODE_ACCOUNT_UNKNOWN,
                          "the live catalogs have nothing of %.255s", what);
    if (ok && op->options->json)
        fputs("]}\n", op->cli->out);
    return ok;
}
