// SPDX-License-Identifier: Apache-2.0
//
// Cursors are opaque to clients. Inside is the hex of "<kind><question>:<score>:<passed>:<member>": a number of
// the question that it belongs to, and the place of the last member seen. They hold no secret and grant nothing.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "certsync/base/json_write.h"
#include "certsync/base/text.h"

#define CURSOR_TEXT_MAX (API_MEMBER_MAX + 64)

// Whether the whole text is a number in [min, max].
static bool parse_int(const char *s, int64_t min, int64_t max, int64_t *ret) {
    char *end = NULL;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (errno != 0 || end == s || *end != '\0' || strspn(s, "-0123456789") != strlen(s) || v < min || v > max)
        return false;
    *ret = v;
    return true;
}

bool api_query_int(struct api_call *call, const char *name, int64_t def, int64_t min, int64_t max,
                   int64_t *ret) {
    const char *s = api_query(call, name);
    if (!s) {
        *ret = def;
        return true;
    }
    if (parse_int(s, min, max, ret))
        return true;
    api_problem(call, 400, NULL, "%s must be a number from %" PRId64 " to %" PRId64 ".", name, min, max);
    return false;
}

// FNV-1a, of each parameter; their sum does not depend on their order.
static uint32_t hash(uint32_t h, const char *text) {
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * 16777619U;
    return h * 16777619U;
}

uint32_t api_page_of(const struct api_call *call) {
    uint32_t sum = hash(hash(2166136261U, call->account), cs_http_param(call->req, "id"));
    for (size_t i = 0; i < cs_http_query_count(call->req); i++) {
        const char *name = cs_http_query_name(call->req, i);
        if (strcmp(name, "limit") != 0 && strcmp(name, "cursor") != 0 && strcmp(name, "count") != 0)
            sum += hash(hash(2166136261U, name), api_query(call, name));
    }
    return sum;
}

static bool parse_cursor(const struct api_call *call, const char *hex, char kind, struct api_page *page) {
    char text[CURSOR_TEXT_MAX + 1];
    size_t len = strlen(hex);
    if (len % 2 != 0 || len / 2 > CURSOR_TEXT_MAX || !cs_hex_decode(hex, len, (uint8_t *)text))
        return false;
    text[len / 2] = '\0';
    if (strlen(text) != len / 2 || text[0] != kind)
        return false;
    char *score = strchr(text, ':');
    char *passed = score ? strchr(score + 1, ':') : NULL;
    char *member = passed ? strchr(passed + 1, ':') : NULL;
    int64_t question = 0;
    if (!member || strlen(member + 1) > API_MEMBER_MAX)
        return false;
    *score++ = *passed++ = *member++ = '\0';
    memcpy(page->member, member, strlen(member) + 1);
    return parse_int(text + 1, 0, UINT32_MAX, &question) && question == api_page_of(call) &&
           parse_int(score, INT64_MIN / 2, INT64_MAX / 2, &page->score) &&
           parse_int(passed, 0, INT32_MAX, &page->passed);
}

bool api_page_read(struct api_call *call, char kind, struct api_page *page) {
    memset(page, 0, sizeof *page);
    if (!api_query_int(call, "limit", API_LIMIT, 1, API_LIMIT_MAX, &page->limit))
        return false;
    const char *cursor = api_query(call, "cursor");
    if (!cursor)
        return true;
    page->has_cursor = parse_cursor(call, cursor, kind, page);
    if (call->endpoint->access == API_DEPLOYMENT && page->score != call->partition)
        page->has_cursor = false; // there is no such partition
    if (!page->has_cursor)
        api_problem(call, 400, NULL, "%s",
                    "The cursor is not one of this listing: give back \"next\" as it came, with the same "
                    "parameters.");
    return page->has_cursor;
}

int32_t api_page_partition(const struct api_call *call, char kind) {
    struct api_page page;
    const char *cursor = api_query(call, "cursor");
    bool in_range = cursor && parse_cursor(call, cursor, kind, &page) && page.score >= 0 &&
                    page.score < call->api->consumer->partition_count;
    return in_range ? (int32_t)page.score : 0;
}

void api_page_put_next(struct cs_buf *json, const struct api_call *call, char kind,
                       const struct api_page *page) {
    char text[CURSOR_TEXT_MAX + 1], hex[2 * CURSOR_TEXT_MAX + 1];
    int n = snprintf(text, sizeof text, "%c%" PRIu32 ":%" PRId64 ":%" PRId64 ":%s", kind, api_page_of(call),
                     page->score, page->passed, page->member);
    cs_hex_encode((const uint8_t *)text, (size_t)n, hex);
    cs_json_str(json, "next", hex);
}

void api_page_put_lex(struct cs_buf *command, const struct api_call *call, const struct api_page *page,
                      enum cs_kind index, const char *prefix, int64_t count) {
    const char *account = call->account[0] ? call->account : NULL;
    api_page_put_lex_of(command, call, page, cs_key_make(CS_NEW_KEY, index, account, NULL, NULL), prefix,
                        count);
}

void api_page_put_lex_of(struct cs_buf *command, const struct api_call *call, const struct api_page *page,
                         const char *index, const char *prefix, int64_t count) {
    char from[API_MEMBER_MAX + 4], to[API_MEMBER_MAX + 3];
    // Behind the mark of the member that was seen last.
    if (page->has_cursor && strcmp(page->member, prefix) >= 0)
        snprintf(from, sizeof from, "(%s%c\xff", page->member, CS_MEMBER_SEPARATOR);
    else if (prefix[0])
        snprintf(from, sizeof from, "[%s", prefix);
    else
        snprintf(from, sizeof from, "-");
    // Members are ASCII, so nothing that begins with prefix comes after prefix and 0xff.
    if (prefix[0])
        snprintf(to, sizeof to, "(%s\xff", prefix);
    else
        snprintf(to, sizeof to, "+");
    cs_redis_put(command, 7);
    cs_redis_put_text(command, "ZRANGEBYLEX");
    api_put_key(command, call, call->partition, index);
    cs_redis_put_text(command, from);
    cs_redis_put_text(command, to);
    cs_redis_put_text(command, "LIMIT");
    cs_redis_put_int(command, 0);
    cs_redis_put_int(command, count);
}
