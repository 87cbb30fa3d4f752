// SPDX-License-Identifier: Apache-2.0
//
// Lists of certificates that the index finds (api/follow.h): GET …/certificates with a filter of words, and GET
// /v1/certificates, of all accounts. The index says where they are. The documents are read, in one question for
// each partition, and held against the filter again. The page has the order of the index.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "certsync/base/json_write.h"
#include "certsync/base/text.h"

#define CURSOR      'S'
#define CURSOR_MAX  (2 * CS_ACCOUNT_MAX + CS_NAME_MAX + CS_UUID_LEN + 64)
#define SCRATCH_MAX ((size_t)4 << 20)

struct item {
    bool asked;
    size_t at, len; // its text, without shares and end; len 0: it is gone, or not what was asked for
    size_t shares;  // how many were asked for
    size_t shares_at, shares_len; // their text
};

struct search {
    struct api_question q;
    bool all; // of all accounts
    size_t len;
    struct api_hit *hits;
    struct item *items;
    bool more;
    struct api_hit last;
    int64_t total;
    bool total_exact;
    // The step under way:
    int32_t partition;
    size_t chunk_len;
    size_t chunk[API_DOCS_MAX];
    struct cs_buf texts;
    struct cs_buf keys; // of shares
    size_t keys_len;
};

static void search_free(void *state) {
    struct search *s = state;
    free(s->hits);
    free(s->items);
    cs_buf_clear(&s->texts);
    cs_buf_clear(&s->keys);
    free(s);
}

// ---- the cursor: "S<question>:<end>:<account>:<name>:<owner>:<id>" in hex

static void put_next(struct cs_buf *json, const struct api_call *call, const struct api_hit *h) {
    char text[CURSOR_MAX + 1], hex[2 * CURSOR_MAX + 1];
    int n = snprintf(text, sizeof text, "%c%" PRIu32 ":%" PRId64 ":%s:%s:%s:%s", CURSOR, api_page_of(call),
                     h->ends_s, h->account, h->name, h->owner, h->id);
    cs_hex_encode((const uint8_t *)text, (size_t)n, hex);
    cs_json_str(json, "next", hex);
}

static bool take_field(char **at, char *to, size_t size) {
    char *end = strchr(*at, ':');
    size_t len = end ? (size_t)(end - *at) : strlen(*at);
    if (len >= size)
        return false;
    memcpy(to, *at, len);
    to[len] = '\0';
    *at = end ? end + 1 : *at + len;
    return true;
}

static bool parse_cursor(const struct api_call *call, const char *hex, struct api_hit *ret) {
    char text[CURSOR_MAX + 1], number[24];
    size_t len = strlen(hex);
    if (len % 2 != 0 || len / 2 > CURSOR_MAX || !cs_hex_decode(hex, len, (uint8_t *)text))
        return false;
    text[len / 2] = '\0';
    char *at = text + 1;
    if (strlen(text) != len / 2 || text[0] != CURSOR || !take_field(&at, number, sizeof number) ||
        strtoull(number, NULL, 10) != api_page_of(call) || !take_field(&at, number, sizeof number))
        return false;
    ret->ends_s = strtoll(number, NULL, 10);
    return take_field(&at, ret->account, sizeof ret->account) &&
           take_field(&at, ret->name, sizeof ret->name) && take_field(&at, ret->owner, sizeof ret->owner) &&
           take_field(&at, ret->id, sizeof ret->id);
}

// ---- documents

static void next_step(struct api_call *call, struct search *s);

static void put_item(struct api_call *call, struct search *s, size_t i, const struct api_item *of) {
    struct item *item = &s->items[i];
    bool shared = of->owner_account != NULL;
    if (!api_filter_passes(&s->q.filter, of->summary, shared, s->q.now_s))
        return;
    cs_buf_putc(&s->texts, '\n'); // separates two items, so that no comma is put
    item->at = s->texts.len;
    cs_json_begin(&s->texts, '{');
    if (s->all)
        cs_json_str(&s->texts, "account", s->hits[i].account);
    api_item_put(&s->texts, of, s->q.now_s, s->q.filter.within_s);
    item->len = s->texts.len - item->at;
    for (size_t k = 0; of->own && k < of->own->shares_len && k < API_SHARES_SHOWN; k++, item->shares++)
        api_put_key(&s->keys, call, s->partition,
                    cs_key_share(CS_NEW_KEY, s->hits[i].account, of->own->shares[k].share));
    s->keys_len += item->shares;
}

// Nil or a tombstone: it went between the two questions.
static bool read_document(struct api_call *call, struct search *s, size_t i, struct cs_bytes doc,
                          struct cs_err *err) {
    struct api_item item;
    if (!doc.data)
        return true;
    if (s->hits[i].owner[0]) {
        CS_AUTO(cs_shared_in_clear) struct cs_shared_in in = {0};
        if (!cs_shared_in_decode(doc, &in, err))
            return false;
        api_item_of_shared(&in, &item);
        put_item(call, s, i, &item);
        return true;
    }
    CS_AUTO(cs_certificate_clear) struct cs_certificate cert = {0};
    if (!cs_certificate_decode(doc, &cert, err))
        return false;
    api_item_of_own(&cert, &item);
    if (!cert.deleted)
        put_item(call, s, i, &item);
    return true;
}

static void on_shares(struct api_call *call, const redisReply *reply) {
    struct search *s = call->state;
    size_t at = 0, n = api_elements(reply);
    for (size_t c = 0; c < s->chunk_len; c++) {
        struct item *item = &s->items[s->chunk[c]];
        cs_buf_putc(&s->texts, '\n');
        item->shares_at = s->texts.len;
        cs_buf_putc(&s->texts, '[');
        for (size_t k = 0; k < item->shares && at < n; k++)
            api_item_put_share(&s->texts, reply->element[at++]);
        item->shares_len = s->texts.len - item->shares_at;
    }
    next_step(call, s);
}

static void on_documents(struct api_call *call, const redisReply *reply) {
    struct search *s = call->state;
    struct cs_err err;
    cs_buf_reset(&s->keys);
    s->keys_len = 0;
    for (size_t c = 0; c < s->chunk_len && c < api_elements(reply); c++)
        if (!read_document(call, s, s->chunk[c], api_bytes(reply->element[c]), &err)) {
            api_unreadable(call, &err);
            return;
        }
    if (s->keys_len == 0) {
        next_step(call, s);
        return;
    }
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, API_COMMAND_MAX);
    cs_redis_put(&command, s->keys_len + 1);
    cs_redis_put_text(&command, "MGET");
    cs_buf_put(&command, s->keys.data, s->keys.len);
    api_ask_of(call, s->partition, &command, on_shares);
}

// Those of one partition that were not asked for yet.
static void choose_chunk(struct search *s) {
    s->chunk_len = 0;
    for (size_t i = 0; i < s->len && s->chunk_len < API_DOCS_MAX; i++) {
        if (s->items[i].asked || (s->chunk_len > 0 && s->hits[i].partition != s->partition))
            continue;
        s->partition = s->hits[i].partition;
        s->items[i].asked = true;
        s->chunk[s->chunk_len++] = i;
    }
}

static void ask_documents(struct api_call *call, struct search *s) {
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, API_COMMAND_MAX);
    cs_redis_put(&command, s->chunk_len + 1);
    cs_redis_put_text(&command, "MGET");
    for (size_t c = 0; c < s->chunk_len; c++) {
        const struct api_hit *h = &s->hits[s->chunk[c]];
        api_put_key(&command, call, s->partition,
                    h->owner[0] ? cs_key_shared_in(CS_NEW_KEY, h->account, h->owner, h->id)
                                : cs_key_cert(CS_NEW_KEY, h->account, h->id));
    }
    api_ask_of(call, s->partition, &command, on_documents);
}

// ---- the page

static void answer(struct api_call *call, struct search *s) {
    CS_AUTO(cs_buf_clear) struct cs_buf json;
    cs_buf_init(&json, API_BODY_MAX);
    cs_json_begin(&json, '{');
    cs_json_name(&json, "certificates");
    cs_json_begin(&json, '[');
    size_t i = 0;
    for (; i < s->len && json.len < API_PAGE_BYTES; i++) {
        const struct item *item = &s->items[i];
        if (item->len == 0)
            continue;
        cs_json_put_raw(&json, (struct cs_bytes){s->texts.data + item->at, item->len});
        cs_json_name(&json, "shares");
        cs_json_begin(&json, '[');
        if (item->shares_len > 1)
            cs_json_put_raw(&json,
                            (struct cs_bytes){s->texts.data + item->shares_at + 1, item->shares_len - 1});
        cs_json_end(&json, ']');
        cs_json_end(&json, '}');
    }
    cs_json_end(&json, ']');
    if (s->q.count) {
        cs_json_int(&json, "total", s->total);
        cs_json_bool(&json, "total_exact", s->total_exact);
    }
    if (i < s->len)
        put_next(&json, call, &s->hits[i - 1]);
    else if (s->more)
        put_next(&json, call, &s->last);
    cs_json_end(&json, '}');
    json.failed = json.failed || s->texts.failed;
    api_answer(call, &json);
}

// The page ends before what was not read yet.
static void cut(struct search *s) {
    size_t i = 0;
    while (i < s->len && s->items[i].asked)
        i++;
    if (i == s->len)
        return;
    s->len = i;
    s->more = true;
    s->last = s->hits[i - 1];
}

static void next_step(struct api_call *call, struct search *s) {
    if (s->texts.len > SCRATCH_MAX / 2)
        cut(s);
    choose_chunk(s);
    if (s->chunk_len > 0)
        ask_documents(call, s);
    else
        answer(call, s);
}

static void on_found(struct api_call *call, const struct api_question_answer *a) {
    struct search *s = call->state;
    if (!a->ok) {
        api_busy(call, a->why);
        return;
    }
    s->len = a->found.len;
    s->more = a->found.more;
    s->last = a->found.last;
    s->total = a->found.total;
    s->total_exact = a->found.total_exact;
    s->hits = calloc(s->len + 1, sizeof *s->hits);
    s->items = calloc(s->len + 1, sizeof *s->items);
    if (!s->hits || !s->items) {
        api_problem(call, 500, NULL, "%s", "The server is out of memory.");
        return;
    }
    memcpy(s->hits, a->found.hits, s->len * sizeof *s->hits);
    next_step(call, s);
}

// False: answered.
static bool read_rest(struct api_call *call, struct search *s) {
    const char *cursor = api_query(call, "cursor"), *count = api_query(call, "count");
    int64_t limit = 0;
    if (!api_query_int(call, "limit", API_LIMIT, 1, API_LIMIT_MAX, &limit))
        return false;
    if (count && strcmp(count, "yes") != 0 && strcmp(count, "no") != 0) {
        api_problem(call, 400, NULL, "%s", "count must be yes or no.");
        return false;
    }
    s->q.limit = (size_t)limit;
    s->q.count = count && strcmp(count, "yes") == 0;
    s->q.has_after = cursor != NULL;
    if (cursor && !parse_cursor(call, cursor, &s->q.after)) {
        api_problem(call, 400, NULL, "%s",
                    "The cursor is not one of this listing: give back \"next\" as it came, with the same "
                    "parameters.");
        return false;
    }
    return true;
}

void api_search(struct api_call *call, const struct api_filter *f, bool by_expiry) {
    if (!call->api->first->follow) {
        api_problem(call, 400, NULL, "%s",
                    "This server keeps no index for searches: its setting api.search is no.");
        return;
    }
    struct search *s = calloc(1, sizeof *s);
    if (!s) {
        api_problem(call, 500, NULL, "%s", "The server is out of memory.");
        return;
    }
    call->state = s;
    call->state_free = search_free;
    cs_buf_init(&s->texts, SCRATCH_MAX);
    cs_buf_init(&s->keys, API_COMMAND_MAX / 2);
    s->all = !call->account[0];
    s->q.filter = *f;
    s->q.by_expiry = by_expiry;
    s->q.now_s = api_now_s(call->api);
    memcpy(s->q.account, call->account, sizeof s->q.account);
    if (read_rest(call, s))
        api_follow_ask(call, &s->q, on_found);
}

void api_search_all(struct api_call *call, const redisReply *reply) {
    struct api_filter filter;
    bool by_expiry;
    (void)reply;
    if (api_filter_read(call, &filter, &by_expiry))
        api_search(call, &filter, by_expiry);
}
