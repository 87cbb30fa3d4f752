// SPDX-License-Identifier: Apache-2.0
#include "log/find.h"

#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "certsync/model/event.h"

#define SHOWN_MAX 2000 // bytes shown of a value that is no event

bool cs_bytes_find(struct cs_bytes haystack, const char *text) {
    size_t len = strlen(text);
    const uint8_t *at = haystack.data;
    const uint8_t *end = haystack.data + haystack.len;
    while ((size_t)(end - at) >= len && (at = memchr(at, text[0], (size_t)(end - at) - len + 1))) {
        if (memcmp(at, text, len) == 0)
            return true;
        at++;
    }
    return false;
}

// A value that is no event may be invalid JSON, or hold what JSON libraries refuse.
static bool is_event(struct cs_bytes value) {
    CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
    struct cs_err ignored;
    return value.data && cs_event_decode(value, &ev, &ignored);
}

static void put_bytes(struct cs_buf *b, struct cs_bytes bytes) {
    if (!bytes.data)
        cs_json_put_raw(b, (struct cs_bytes){(const uint8_t *)"null", 4});
    else if (cs_utf8_valid(bytes.data, bytes.len))
        cs_json_put_strn(b, (const char *)bytes.data, bytes.len);
    else {
        cs_json_begin(b, '{');
        cs_json_name(b, "base64");
        cs_json_put_base64(b, bytes);
        cs_json_end(b, '}');
    }
}

void cs_put_record_json(struct cs_buf *b, const char *name, const struct cs_record *r) {
    cs_json_name(b, name);
    cs_json_begin(b, '{');
    cs_json_int(b, "partition", r->partition);
    cs_json_int(b, "offset", r->offset);
    cs_json_int(b, "time", r->timestamp_ms);
    cs_json_name(b, "key");
    put_bytes(b, r->key);
    cs_json_name(b, "headers");
    cs_json_begin(b, '[');
    for (size_t i = 0; i < r->headers_len; i++) {
        cs_json_begin(b, '[');
        put_bytes(b, (struct cs_bytes){(const uint8_t *)r->headers[i].name, strlen(r->headers[i].name)});
        put_bytes(b, r->headers[i].value);
        cs_json_end(b, ']');
    }
    cs_json_end(b, ']');
    cs_json_name(b, "value");
    if (is_event(r->value)) {
        cs_json_put_raw(b, r->value);
    } else if (!r->value.data) {
        cs_json_put_raw(b, (struct cs_bytes){(const uint8_t *)"null", 4});
    } else {
        cs_json_begin(b, '{');
        cs_json_name(b, "base64");
        cs_json_put_base64(b, r->value);
        cs_json_end(b, '}');
    }
    cs_json_end(b, '}');
}

static void put_escaped(struct cs_buf *b, struct cs_bytes bytes) {
    char text[4 * SHOWN_MAX + 1];
    cs_text_escape(bytes.data, bytes.len < SHOWN_MAX ? bytes.len : SHOWN_MAX, text, sizeof text);
    cs_buf_puts(b, text);
    if (bytes.len > SHOWN_MAX)
        cs_buf_printf(b, "... (%zu bytes)", bytes.len);
}

void cs_put_record_text(struct cs_buf *b, const char *indent, const struct cs_record *r) {
    cs_buf_printf(b, "%skey: ", indent);
    if (r->key.data)
        put_escaped(b, r->key);
    else
        cs_buf_puts(b, "(none)");
    for (size_t i = 0; i < r->headers_len; i++) {
        cs_buf_printf(b, "\n%sheader ", indent);
        put_escaped(b, (struct cs_bytes){(const uint8_t *)r->headers[i].name, strlen(r->headers[i].name)});
        cs_buf_puts(b, ": ");
        if (r->headers[i].value.data)
            put_escaped(b, r->headers[i].value);
        else
            cs_buf_puts(b, "(null)");
    }
    cs_buf_printf(b, "\n%svalue: ", indent);
    if (is_event(r->value))
        cs_put_abridged(b, r->value, 80);
    else if (r->value.data)
        put_escaped(b, r->value);
    else
        cs_buf_puts(b, "(none: a tombstone)");
    cs_buf_putc(b, '\n');
}

void cs_put_abridged(struct cs_buf *b, struct cs_bytes json, size_t longest) {
    size_t text = 0; // length of the string so far
    bool in_text = false;
    for (size_t i = 0; i < json.len; i++) {
        uint8_t c = json.data[i];
        if (!in_text || c == '"') {
            if (in_text && text > longest)
                cs_buf_printf(b, "... (%zu bytes)", text);
            in_text ^= c == '"';
            text = 0;
            cs_buf_putc(b, (char)c);
            continue;
        }
        // Only whole escapes and whole characters.
        size_t n = c == '\\' ? 2 : 1;
        while (i + n < json.len && (json.data[i + n] & 0xC0) == 0x80)
            n++;
        if (text < longest)
            cs_buf_put(b, json.data + i, n);
        text += n;
        i += n - 1;
    }
}

const struct cs_rule_info *cs_rule_of(enum cs_code code, enum cs_event_type type) {
    size_t n = 0;
    const struct cs_rule_info *rules = cs_rules_list(&n);
    const struct cs_rule_info *any = NULL;
    for (size_t i = 0; i < n; i++) {
        if (rules[i].code != code)
            continue;
        bool every = rules[i].types == UINT64_MAX;
        if (!every && cs_rule_applies(&rules[i], type))
            return &rules[i];
        if (!any || every)
            any = &rules[i];
    }
    return any;
}
