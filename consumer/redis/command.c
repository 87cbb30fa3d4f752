// SPDX-License-Identifier: Apache-2.0
#include "redis/command.h"

#include <string.h>

#include "certsync/base/text.h"

#define DIGITS_MAX 24

struct head {
    char text[DIGITS_MAX + 3]; // its end is used
};

// "*3\r\n", "$5\r\n"
static struct cs_bytes head_of(char kind, size_t n, struct head *h) {
    char *end = h->text + sizeof h->text, *digits = end - 2;
    memcpy(digits, "\r\n", 2);
    char *start = cs_decimal_before(digits, n);
    *--start = kind;
    return (struct cs_bytes){(const uint8_t *)start, (size_t)(end - start)};
}

static uint8_t *put(uint8_t *out, struct cs_bytes b) {
    if (b.len > 0)
        memcpy(out, b.data, b.len);
    return out + b.len;
}

void cs_redis_put(struct cs_buf *command, size_t args) {
    struct head h;
    struct cs_bytes head = head_of('*', args, &h);
    cs_buf_put(command, head.data, head.len);
}

void cs_redis_put_joined(struct cs_buf *command, struct cs_bytes a, struct cs_bytes b) {
    struct head h;
    struct cs_bytes head = head_of('$', a.len + b.len, &h);
    size_t len = head.len + a.len + b.len + 2;
    uint8_t *out = cs_buf_reserve(command, len);
    if (!out)
        return;
    out = put(put(put(out, head), a), b);
    memcpy(out, "\r\n", 2);
    cs_buf_advance(command, len);
}

void cs_redis_put_arg(struct cs_buf *command, const void *data, size_t len) {
    cs_redis_put_joined(command, (struct cs_bytes){data, len}, (struct cs_bytes){0});
}

void cs_redis_put_text(struct cs_buf *command, const char *text) {
    cs_redis_put_arg(command, text, strlen(text));
}

void cs_redis_put_int(struct cs_buf *command, int64_t v) {
    char text[DIGITS_MAX], *end = text + sizeof text;
    char *start = cs_decimal_before(end, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    if (v < 0)
        *--start = '-';
    cs_redis_put_arg(command, start, (size_t)(end - start));
}
