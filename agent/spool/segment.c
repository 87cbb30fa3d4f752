// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "spool/file.h"

#define PAGE       4096
#define HALF       64 // of a state: the line stands twice
#define STATE_SIZE ((size_t)2 * HALF)
#define SIG_MAX    ((size_t)CS_EVENT_SIG_MAX * 2)

// --- states

size_t cs_spool_state_at(size_t n) {
    return n * STATE_SIZE;
}

size_t cs_spool_states_size(size_t n) {
    return (n * STATE_SIZE + PAGE - 1) / PAGE * PAGE;
}

static void format_state(const struct cs_spool_item *item, uint8_t *out) {
    char text[HALF], line[HALF + 1];
    switch (item->state) {
    case CS_SPOOL_NEW:
        snprintf(text, sizeof text, "new");
        break;
    case CS_SPOOL_SENT:
        snprintf(text, sizeof text, "sent %" PRId32 " %" PRId64, item->partition, item->offset);
        break;
    case CS_SPOOL_ENDED:
        snprintf(text, sizeof text, "ended");
        break;
    }
    snprintf(line, sizeof line, "%-*s\n", HALF - 1, text);
    memcpy(out, line, HALF);
    memcpy(out + HALF, line, HALF);
}

void cs_spool_states_format(const struct cs_spool_item *items, size_t n, uint8_t *out) {
    for (size_t i = 0; i < n; i++)
        format_state(&items[i], out + i * STATE_SIZE);
}

void cs_spool_states_make(size_t n, struct cs_buf *out) {
    const struct cs_spool_item item = {.state = CS_SPOOL_NEW};
    uint8_t state[STATE_SIZE];
    format_state(&item, state);
    for (size_t i = 0; i < n; i++)
        cs_buf_put(out, state, sizeof state);
    for (size_t i = n * STATE_SIZE; i < cs_spool_states_size(n); i++)
        cs_buf_putc(out, '\n');
}

// A state is good if its two lines are equal, and are what we write. Else it reads as new.
static void parse_state(const uint8_t *text, struct cs_spool_item *item) {
    struct cs_spool_item found = {.seq = item->seq, .state = CS_SPOOL_NEW};
    uint8_t again[STATE_SIZE];
    char line[HALF + 1];
    memcpy(line, text, HALF);
    line[HALF] = '\0';
    if (strncmp(line, "ended", 5) == 0)
        found.state = CS_SPOOL_ENDED;
    else if (strncmp(line, "sent ", 5) == 0) {
        char *end;
        found.state = CS_SPOOL_SENT;
        found.partition = (int32_t)strtol(line + 5, &end, 10);
        found.offset = strtoll(end, NULL, 10);
    }
    format_state(&found, again);
    *item = memcmp(text, again, STATE_SIZE) == 0
                ? found
                : (struct cs_spool_item){.seq = item->seq, .state = CS_SPOOL_NEW};
}

void cs_spool_states_parse(struct cs_bytes text, struct cs_spool_item *items, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if ((i + 1) * STATE_SIZE <= text.len)
            parse_state(text.data + i * STATE_SIZE, &items[i]);
        else
            items[i] = (struct cs_spool_item){.seq = items[i].seq, .state = CS_SPOOL_NEW};
    }
}

// --- frames: "NUMBER LENGTH SHA-256 SIGNATURE VALUE\n". The length is that of the last two. The
// hash is over the number, the length and these two. No part holds a line feed: after a damaged
// frame the reader goes on after the next one.

#define HEAD_MAX 32 // "NUMBER LENGTH "
static void hash_frame(struct cs_crypto *c, const char *head, struct cs_bytes body, char hex[65]) {
    uint8_t hash[32];
    cs_crypto_sha256_parts(c, (struct cs_bytes[]){{(const uint8_t *)head, strlen(head)}, body}, 2, hash);
    cs_hex_encode(hash, sizeof hash, hex);
}

static void format_head(int64_t seq, size_t len, char out[HEAD_MAX]) {
    char digits[CS_SEQUENCE_LEN + 1];
    cs_sequence_format(seq, digits);
    snprintf(out, HEAD_MAX, "%s %zu ", digits, len);
}

bool cs_spool_frame_make(struct cs_crypto *c, const struct cs_privkey *key, const struct cs_event *ev,
                         struct cs_buf *out, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf value;
    cs_buf_init(&value, (size_t)CS_EVENT_MAX * 16); // so that we report "too large" ourselves
    if (!cs_event_encode(ev, &value, err) || !cs_buf_ok(&value, err))
        return false;
    if (value.len > CS_EVENT_MAX)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_EVENT_TOO_LARGE,
                          "The event would have %zu bytes; the limit is %d.", value.len, CS_EVENT_MAX);
    uint8_t sig[CS_EVENT_SIG_MAX];
    size_t sig_len;
    if (!cs_event_sign(c, key, cs_buf_bytes(&value), sig, &sig_len, err))
        return false;
    CS_AUTO(cs_buf_clear) struct cs_buf body;
    cs_buf_init(&body, CS_SPOOL_FRAME_MAX);
    char text[SIG_MAX], head[HEAD_MAX], hex[65];
    size_t text_len = cs_base64_encoded_len(sig_len);
    cs_base64_encode(sig, sig_len, text);
    cs_buf_put(&body, text, text_len);
    cs_buf_putc(&body, ' ');
    cs_buf_put(&body, value.data, value.len);
    if (!cs_buf_ok(&body, err))
        return false;
    format_head(ev->seq, body.len, head);
    hash_frame(c, head, cs_buf_bytes(&body), hex);
    cs_buf_puts(out, head);
    cs_buf_puts(out, hex);
    cs_buf_putc(out, ' ');
    cs_buf_put(out, body.data, body.len);
    cs_buf_putc(out, '\n');
    return cs_buf_ok(out, err);
}

// Reads the frame at the start of rest. False if it is not complete. *ret_len: its bytes, without
// the line feed.
static bool parse_frame(struct cs_crypto *c, struct cs_bytes rest, int64_t *ret_seq,
                        struct cs_spool_frame *ret, size_t *ret_len) {
    char text[HEAD_MAX], head[HEAD_MAX], hex[65];
    size_t n = rest.len < HEAD_MAX - 1 ? rest.len : HEAD_MAX - 1;
    memcpy(text, rest.data, n);
    text[n] = '\0';
    int64_t seq;
    if (n < CS_SEQUENCE_LEN || !cs_sequence_parse(text, CS_SEQUENCE_LEN, &seq))
        return false;
    unsigned long long len = strtoull(text + CS_SEQUENCE_LEN, NULL, 10);
    if (len > CS_SPOOL_FRAME_MAX)
        return false;
    format_head(seq, (size_t)len, head);
    size_t head_len = strlen(head), before = head_len + 64 + 1;
    if (head_len > n || memcmp(text, head, head_len) != 0 || rest.len < before + len ||
        rest.data[before - 1] != ' ')
        return false;
    struct cs_bytes body = {rest.data + before, (size_t)len};
    hash_frame(c, head, body, hex);
    const uint8_t *space = memchr(body.data, ' ', body.len < SIG_MAX ? body.len : SIG_MAX);
    if (memcmp(hex, rest.data + head_len, 64) != 0 || !space)
        return false;
    size_t sig_len = (size_t)(space - body.data);
    *ret = (struct cs_spool_frame){{body.data, sig_len}, {space + 1, body.len - sig_len - 1}};
    *ret_seq = seq;
    *ret_len = before + (size_t)len;
    return true;
}

void cs_spool_frames_parse(struct cs_crypto *c, struct cs_bytes content, const struct cs_spool_name *name,
                           struct cs_spool_frame *ret) {
    memset(ret, 0, name->n * sizeof *ret);
    for (size_t at = cs_spool_states_size(name->n); at < content.len;) {
        struct cs_bytes rest = {content.data + at, content.len - at};
        struct cs_spool_frame frame;
        int64_t seq;
        size_t len;
        if (parse_frame(c, rest, &seq, &frame, &len)) {
            if (seq >= name->first && seq - name->first < (int64_t)name->n)
                ret[seq - name->first] = frame;
            at += len + 1;
            continue;
        }
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        at = end ? (size_t)(end - content.data) + 1 : content.len;
    }
}
