// SPDX-License-Identifier: Apache-2.0
//
// GET …/certificates: a page of the account's view, by name or by expiry. It reads an index in
// bounded steps: members, their documents, the shares of those shown. The loop is free between
// steps. A filter that needs documents may discard much. So after API_STEPS_MAX steps the page ends
// short, with a cursor.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "certsync/base/json_write.h"

#define DAY_S         86400
#define HOUR_S        3600
#define SCRATCH_BYTES ((size_t)4 << 20)

// A member of the view or expiry index, and its place.
struct spot {
    char member[API_MEMBER_MAX + 1];
    int64_t score;
    int64_t passed;
};

struct shown { // an item that is written, without its shares
    size_t at, len;
    size_t shares;
};

struct listing {
    struct api_filter filter;
    bool by_expiry;
    int64_t now_s;
    struct api_page page; // limit; the cursor of the answer
    struct spot scan;     // the last member looked at
    bool has_scan;
    int64_t offset, asked; // of the index question under way
    bool exhausted;        // the index ends with this chunk
    int steps;
    int64_t count;
    size_t chunk_len;
    struct spot chunk[API_DOCS_MAX];
    size_t shown_len;
    struct shown shown[API_DOCS_MAX];
    struct cs_buf items;  // texts of shown
    struct cs_buf shares; // keys of the shares, as arguments
    size_t shares_len;
    bool full; // the page ends with the items shown
    struct cs_buf json;
};

static void listing_free(void *state) {
    struct listing *l = state;
    cs_buf_clear(&l->items);
    cs_buf_clear(&l->shares);
    cs_buf_clear(&l->json);
    free(l);
}

// ---- what is asked for

static bool bad(struct api_call *call, const char *what) {
    api_problem(call, 400, NULL, "%s", what);
    return false;
}

// Days or hours.
static bool read_within(struct api_call *call, struct api_filter *f) {
    int64_t days = 0, hours = 0;
    bool by_hours = api_query(call, "within_hours") != NULL;
    if (by_hours && api_query(call, "within"))
        return bad(call, "within and within_hours exclude each other.");
    if (!api_query_int(call, "within", API_WITHIN_DAYS, 0, 36500, &days) ||
        !api_query_int(call, "within_hours", 0, 0, 876000, &hours))
        return false;
    f->within_s = by_hours ? hours * HOUR_S : days * DAY_S;
    return true;
}

static bool read_words(struct api_call *call, struct api_filter *f) {
    for (size_t i = 0; api_filter_parameters[i]; i++) {
        const char *problem = NULL, *value = api_query(call, api_filter_parameters[i]);
        if (value && api_filter_take(f, api_filter_parameters[i], value, &problem) && problem)
            return bad(call, problem);
    }
    return true;
}

static bool read_filter(struct api_call *call, struct api_filter *f) {
    const char *name = api_query(call, "name"), *source = api_query(call, "source");
    const char *status = api_query(call, "status"), *algorithm = api_query(call, "algorithm");
    if (name && name[0]) {
        if (!cs_name_valid(name, strlen(name), CS_ALGORITHM_INTERNATIONAL))
            return bad(call, "name must be the beginning of a name: letters, digits, '.', '_' and '-'.");
        memcpy(f->prefix, name, strlen(name) + 1);
    }
    f->has_source = source != NULL;
    if (source && !cs_source_parse(source, strlen(source), &f->source))
        return bad(call, "source must be uploaded, official, test or shared.");
    f->has_status = status != NULL;
    if (status && !api_status_parse(status, &f->status))
        return bad(call, "status must be valid, expiring, expired or not-yet-valid.");
    f->has_algorithm = algorithm != NULL;
    if (algorithm && !cs_algorithm_parse(algorithm, strlen(algorithm), &f->algorithm))
        return bad(call, "algorithm must be international or sm2.");
    return read_within(call, f) && read_words(call, f);
}

static bool read_sort(struct api_call *call, bool *ret_by_expiry) {
    const char *sort = api_query(call, "sort");
    if (sort && strcmp(sort, "name") != 0 && strcmp(sort, "expires") != 0)
        return bad(call, "sort must be name or expires.");
    *ret_by_expiry = sort && strcmp(sort, "expires") == 0;
    return true;
}

bool api_filter_read(struct api_call *call, struct api_filter *f, bool *ret_by_expiry) {
    *f = (struct api_filter){.prefix = ""};
    return read_filter(call, f) && read_sort(call, ret_by_expiry);
}

// ---- members

// "<name>/c/<id>" or "<name>/s/<owner account>/<id>"; the parts are views into member.
struct view_member {
    size_t name_len;
    bool shared;
    const char *owner;
    size_t owner_len;
    const char *id;
};

static bool parse_member(const char *member, struct view_member *ret) {
    const char *slash = strchr(member, '/');
    if (!slash)
        return false;
    ret->name_len = (size_t)(slash - member);
    ret->shared = slash[1] == 's';
    if ((slash[1] != 's' && slash[1] != 'c') || slash[2] != '/')
        return false;
    ret->owner = slash + 3;
    ret->owner_len = ret->shared ? strcspn(ret->owner, "/") : 0;
    ret->id = ret->shared ? ret->owner + ret->owner_len + 1 : ret->owner;
    return !ret->shared || ret->owner[ret->owner_len] == '/';
}

static bool member_passes(const struct api_filter *f, const char *member) {
    struct view_member v;
    if (!parse_member(member, &v) || strncmp(member, f->prefix, strlen(f->prefix)) != 0)
        return false;
    return !f->has_source || (f->source == CS_SOURCE_SHARED) == v.shared;
}

static bool documents_decide(const struct api_filter *f) {
    return f->has_status || f->has_algorithm || (f->has_source && f->source != CS_SOURCE_SHARED);
}

// ---- the index

static void on_index(struct api_call *call, const redisReply *reply);

// Scores that can have the status at all. The documents decide exactly.
static void status_bounds(const struct listing *l, int64_t *lowest, int64_t *highest) {
    int64_t soon = l->now_s + l->filter.within_s;
    *lowest = INT64_MIN;
    *highest = INT64_MAX;
    if (!l->filter.has_status)
        return;
    switch (l->filter.status) {
    case API_EXPIRED:
        *highest = l->now_s - 1;
        return;
    case API_EXPIRING:
        *lowest = l->now_s;
        *highest = soon - 1;
        return;
    case API_VALID:
        *lowest = soon;
        return;
    case API_NOT_YET_VALID:
        *lowest = l->now_s;
        return;
    }
}

static void put_bound(struct cs_buf *command, int64_t v, const char *none, int64_t none_v) {
    if (v == none_v)
        cs_redis_put_text(command, none);
    else
        cs_redis_put_int(command, v);
}

// Members of equal score are in the order of their bytes. ZRANGEBYSCORE cannot start inside them.
// So the cursor counts how many of its score were seen, and the question begins with the last of
// these. If that member has changed, see on_index.
static void put_by_score(struct cs_buf *command, const struct api_call *call, struct listing *l) {
    int64_t lowest = 0, highest = 0;
    status_bounds(l, &lowest, &highest);
    bool resume = l->has_scan && l->scan.score >= lowest;
    if (!resume)
        l->offset = 0;
    cs_redis_put(command, 8);
    cs_redis_put_text(command, "ZRANGEBYSCORE");
    api_put_key(command, call, call->partition, cs_key_expiry(CS_NEW_KEY, call->account));
    put_bound(command, resume ? l->scan.score : lowest, "-inf", INT64_MIN);
    put_bound(command, highest, "+inf", INT64_MAX);
    cs_redis_put_text(command, "WITHSCORES");
    cs_redis_put_text(command, "LIMIT");
    cs_redis_put_int(command, l->offset);
    cs_redis_put_int(command, l->asked);
}

static int64_t chunk_limit(const struct listing *l) {
    int64_t left = l->page.limit - l->count;
    return documents_decide(&l->filter) || left > API_DOCS_MAX ? API_DOCS_MAX : left;
}

static void ask_index(struct api_call *call, struct listing *l) {
    const struct api_filter *f = &l->filter;
    bool members_decide = (l->by_expiry && f->prefix[0]) || f->has_source;
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, 8192);
    // One more than the chunk shows whether the index ends with it. A question by score also
    // repeats the member that was seen last.
    l->asked = members_decide ? API_MEMBERS_MAX : chunk_limit(l) + 2;
    if (l->by_expiry) {
        put_by_score(&command, call, l);
    } else {
        struct api_page from = {.has_cursor = l->has_scan};
        memcpy(from.member, l->scan.member, sizeof from.member);
        api_page_put_lex(&command, call, &from, CS_KIND_VIEW, f->prefix, l->asked);
    }
    api_ask(call, &command, on_index);
}

static bool is_after(const struct listing *l, const char *member, int64_t score) {
    if (!l->has_scan || score != l->scan.score)
        return !l->has_scan || score > l->scan.score;
    return strcmp(member, l->scan.member) > 0;
}

static void ask_documents(struct api_call *call, struct listing *l);
static void finish(struct api_call *call, struct listing *l);

static void next_step(struct api_call *call, struct listing *l) {
    l->offset = l->has_scan && l->scan.passed > 0 ? l->scan.passed - 1 : 0;
    if (l->full || l->exhausted || ++l->steps > API_STEPS_MAX || l->json.len > API_PAGE_BYTES)
        finish(call, l);
    else
        ask_index(call, l);
}

// Takes one member; true when the chunk is full.
static bool take_member(struct listing *l, const char *member, int64_t score, int64_t passed, int64_t limit) {
    bool after = !l->by_expiry || is_after(l, member, score);
    l->scan.passed = passed;
    if (!after) // seen before: it only counts
        return false;
    l->has_scan = true;
    l->scan.score = score;
    snprintf(l->scan.member, sizeof l->scan.member, "%s", member);
    if (member_passes(&l->filter, member))
        l->chunk[l->chunk_len++] = l->scan;
    return (int64_t)l->chunk_len == limit;
}

// The cursor's member has gone, or another came before it. Then all members of its score are read
// again.
static bool must_walk(const struct listing *l, const redisReply *reply, size_t stride) {
    if (!l->by_expiry || l->offset == 0)
        return false;
    return api_elements(reply) < stride || strtoll(reply->element[1]->str, NULL, 10) != l->scan.score ||
           strcmp(reply->element[0]->str, l->scan.member) > 0;
}

static void on_index(struct api_call *call, const redisReply *reply) {
    struct listing *l = call->state;
    size_t stride = l->by_expiry ? 2 : 1, n = api_elements(reply) / stride, i = 0;
    if (must_walk(l, reply, stride)) {
        l->offset = 0;
        ask_index(call, l);
        return;
    }
    int64_t limit = chunk_limit(l), passed = l->offset, group = l->scan.score;
    bool full = false;
    l->chunk_len = 0;
    for (; i < n && !full; i++) {
        const char *member = reply->element[i * stride]->str;
        int64_t score = l->by_expiry ? strtoll(reply->element[i * stride + 1]->str, NULL, 10) : 0;
        passed = l->has_scan && score == group ? passed + 1 : 1;
        group = score;
        full = take_member(l, member, score, l->by_expiry ? passed : 0, limit);
    }
    l->exhausted = i == n && (int64_t)n < l->asked;
    if (l->chunk_len > 0)
        ask_documents(call, l);
    else
        next_step(call, l);
}

// ---- documents

static void on_documents(struct api_call *call, const redisReply *reply);

static void ask_documents(struct api_call *call, struct listing *l) {
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, API_COMMAND_MAX);
    cs_redis_put(&command, l->chunk_len + 1);
    cs_redis_put_text(&command, "MGET");
    for (size_t i = 0; i < l->chunk_len; i++) {
        struct view_member v = {0};
        (void)parse_member(l->chunk[i].member, &v); // member_passes has parsed it
        if (v.shared)
            api_put_key(
                &command, call, call->partition,
                cs_key_make(CS_NEW_KEY, CS_KIND_SHARED_IN, call->account, v.owner, NULL)); // "<owner>/<id>"
        else
            api_put_key(&command, call, call->partition, cs_key_cert(CS_NEW_KEY, call->account, v.id));
    }
    api_ask(call, &command, on_documents);
}

static void put_share_keys(struct api_call *call, struct listing *l, const struct cs_certificate *cert) {
    size_t n = cert->shares_len < API_SHARES_SHOWN ? cert->shares_len : API_SHARES_SHOWN;
    for (size_t i = 0; i < n; i++)
        api_put_key(&l->shares, call, call->partition,
                    cs_key_share(CS_NEW_KEY, call->account, cert->shares[i].share));
    l->shares_len += n;
    l->shown[l->shown_len].shares = n;
}

static void show(struct api_call *call, struct listing *l, const struct api_item *item) {
    struct shown *s = &l->shown[l->shown_len];
    if (!api_filter_passes(&l->filter, item->summary, item->owner_account != NULL, l->now_s))
        return;
    cs_buf_putc(&l->items, '\n'); // separates two items, so that no comma is put
    *s = (struct shown){.at = l->items.len};
    cs_json_begin(&l->items, '{');
    api_item_put(&l->items, item, l->now_s, l->filter.within_s);
    s->len = l->items.len - s->at;
    if (item->own)
        put_share_keys(call, l, item->own);
    l->shown_len++;
    l->count++;
}

// Nil or a tombstone: it went between the two questions.
static bool read_document(struct api_call *call, struct listing *l, bool shared, struct cs_bytes doc,
                          struct cs_err *err) {
    struct api_item item;
    if (!doc.data)
        return true;
    if (shared) {
        CS_AUTO(cs_shared_in_clear) struct cs_shared_in in = {0};
        if (!cs_shared_in_decode(doc, &in, err))
            return false;
        api_item_of_shared(&in, &item);
        show(call, l, &item);
        return true;
    }
    CS_AUTO(cs_certificate_clear) struct cs_certificate cert = {0};
    if (!cs_certificate_decode(doc, &cert, err))
        return false;
    api_item_of_own(&cert, &item);
    if (!cert.deleted)
        show(call, l, &item);
    return true;
}

// Writes the items with their shares into the page. The replies have the order of the keys.
static void put_shown(struct listing *l, const redisReply *shares) {
    size_t at = 0, n = api_elements(shares);
    l->json.failed = l->json.failed || l->items.failed;
    for (size_t i = 0; i < l->shown_len && !l->json.failed; i++) {
        const struct shown *s = &l->shown[i];
        cs_json_put_raw(&l->json, (struct cs_bytes){l->items.data + s->at, s->len});
        cs_json_name(&l->json, "shares");
        cs_json_begin(&l->json, '[');
        for (size_t k = 0; k < s->shares && at < n; k++)
            api_item_put_share(&l->json, shares->element[at++]);
        cs_json_end(&l->json, ']');
        cs_json_end(&l->json, '}');
    }
}

static void on_shares(struct api_call *call, const redisReply *reply) {
    struct listing *l = call->state;
    put_shown(l, reply);
    next_step(call, l);
}

static void ask_shares(struct api_call *call, struct listing *l) {
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, API_COMMAND_MAX);
    cs_redis_put(&command, l->shares_len + 1);
    cs_redis_put_text(&command, "MGET");
    cs_buf_put(&command, l->shares.data, l->shares.len);
    api_ask(call, &command, on_shares);
}

static void on_documents(struct api_call *call, const redisReply *reply) {
    struct listing *l = call->state;
    struct cs_err err;
    cs_buf_reset(&l->items);
    cs_buf_reset(&l->shares);
    l->shown_len = l->shares_len = 0;
    for (size_t i = 0; i < api_elements(reply) && i < l->chunk_len && !l->full; i++) {
        struct view_member v = {0};
        (void)parse_member(l->chunk[i].member, &v);
        if (!read_document(call, l, v.shared, api_bytes(reply->element[i]), &err)) {
            api_unreadable(call, &err);
            return;
        }
        l->full = l->count >= l->page.limit || l->json.len + l->items.len > API_PAGE_BYTES;
        if (l->full) { // the cursor stays here, though later members were read
            l->exhausted = l->exhausted && i + 1 == l->chunk_len;
            l->scan = l->chunk[i];
        }
    }
    if (l->shares_len > 0) {
        ask_shares(call, l);
    } else {
        put_shown(l, NULL);
        next_step(call, l);
    }
}

// ---- the page

static void finish(struct api_call *call, struct listing *l) {
    cs_json_end(&l->json, ']');
    if (!l->exhausted) {
        l->page.score = l->scan.score;
        l->page.passed = l->scan.passed;
        memcpy(l->page.member, l->scan.member, sizeof l->page.member);
        api_page_put_next(&l->json, call, l->by_expiry ? 'e' : 'n', &l->page);
    }
    cs_json_end(&l->json, '}');
    api_answer(call, &l->json);
}

void api_certificates(struct api_call *call, const redisReply *reply) {
    struct api_filter filter;
    bool by_expiry;
    (void)reply;
    if (!api_filter_read(call, &filter, &by_expiry))
        return;
    if (api_filter_searches(&filter) || api_query(call, "count")) {
        api_search(call, &filter, by_expiry);
        return;
    }
    struct listing *l = calloc(1, sizeof *l);
    if (!l) {
        api_problem(call, 500, NULL, "%s", "The server is out of memory.");
        return;
    }
    call->state = l;
    call->state_free = listing_free;
    cs_buf_init(&l->items, SCRATCH_BYTES);
    cs_buf_init(&l->shares, API_COMMAND_MAX / 2);
    cs_buf_init(&l->json, API_BODY_MAX);
    l->filter = filter;
    l->by_expiry = by_expiry;
    if (!api_page_read(call, l->by_expiry ? 'e' : 'n', &l->page))
        return;
    l->now_s = api_now_s(call->api);
    l->has_scan = l->page.has_cursor;
    l->scan.score = l->page.score;
    l->scan.passed = l->page.passed;
    memcpy(l->scan.member, l->page.member, sizeof l->scan.member);
    l->offset = l->has_scan && l->scan.passed > 0 ? l->scan.passed - 1 : 0;
    cs_json_begin(&l->json, '{');
    cs_json_name(&l->json, "certificates");
    cs_json_begin(&l->json, '[');
    ask_index(call, l);
}
