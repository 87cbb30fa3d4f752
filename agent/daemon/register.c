// SPDX-License-Identifier: Apache-2.0
#include "daemon/register.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certsync/base/grow.h"
#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "certsync/runtime/fileio.h"
#include "certsync/runtime/log.h"

#define FILE_MAX          ((size_t)256 * 1024 * 1024)
#define REGISTER_LINE_MAX 16384
#define SLACK             1000 // spare lines before the file is written anew
#define UNWRITTEN_MAX     ((size_t)256 * 1024)
#define FORM              "certsync-register 1"

static const char *const state_names[] = {
    [CS_ITEM_NEW] = "new",         [CS_ITEM_WAITING] = "waiting",       [CS_ITEM_BLOCKED] = "blocked",
    [CS_ITEM_SENT] = "sent",       [CS_ITEM_REGISTERED] = "registered", [CS_ITEM_OLDER] = "older",
    [CS_ITEM_REFUSED] = "refused", [CS_ITEM_REJECTED] = "rejected",     [CS_ITEM_DELETING] = "deleting",
    [CS_ITEM_DELETED] = "deleted",
};

const char *cs_item_state_name(enum cs_item_state s) {
    return state_names[s];
}

void cs_register_identity(struct cs_crypto *c, const uint8_t leaf[32], const uint8_t *encrypt,
                          uint8_t ret[32]) {
    if (encrypt)
        cs_crypto_sha256_parts(c, (struct cs_bytes[]){{leaf, 32}, {encrypt, 32}}, 2, ret);
    else
        memcpy(ret, leaf, 32);
}

// --- items and names

struct cs_item *cs_register_item(const struct cs_register *r, const char *certificate) {
    for (const struct cs_index_entry *e = cs_index_first(&r->by_certificate, cs_index_key(certificate)); e;
         e = cs_index_next(e)) {
        struct cs_item *item = e->value;
        if (strcmp(item->certificate, certificate) == 0)
            return item;
    }
    return NULL;
}

static void item_free(struct cs_item *item) {
    if (!item)
        return;
    free(item->certificate);
    free(item->given);
    free(item->name);
    free(item->key);
    free(item->chain);
    free(item->encrypt_certificate);
    free(item->encrypt_key);
    free(item->encrypt_chain);
    free(item->message);
    free(item->steps);
    free(item);
}

static struct cs_item *item_new(struct cs_register *r, const char *certificate, const char *name) {
    struct cs_item *item = calloc(1, sizeof *item);
    if (!item)
        return NULL;
    item->state = CS_ITEM_NEW;
    item->certificate = strdup(certificate);
    item->name = strdup(name);
    item->given = strdup(name);
    if (item->certificate && item->name && item->given && CS_GROW(&r->items, &r->cap, r->n + 1) &&
        cs_index_put(&r->by_certificate, cs_index_key(certificate), item) &&
        cs_index_put(&r->by_name, cs_index_key(name), item)) {
        r->items[r->n++] = item;
        return item;
    }
    cs_index_remove(&r->by_certificate, cs_index_key(certificate), item);
    item_free(item);
    return NULL;
}

static bool set_text(char **to, const char *text) {
    if ((!*to && !text) || (*to && text && strcmp(*to, text) == 0))
        return true;
    char *copy = text ? strdup(text) : NULL;
    if (text && !copy)
        return false;
    free(*to);
    *to = copy;
    return true;
}

struct cs_item *cs_register_found(struct cs_register *r, const struct cs_candidate *c) {
    struct cs_item *item = cs_register_item(r, c->certificate);
    cs_uuid left = "";
    if (item && strcmp(item->given, c->name) != 0) { // the settings give it another name now
        memcpy(left, item->told_id[0] ? item->told_id : item->left_id, sizeof left);
        cs_register_drop(r, item);
        item = NULL;
    }
    if (!item) {
        item = item_new(r, c->certificate, c->name);
        if (item)
            memcpy(item->left_id, left, sizeof left);
    }
    if (!item || !set_text(&item->key, c->key) || !set_text(&item->chain, c->chain) ||
        !set_text(&item->encrypt_certificate, c->encrypt_certificate) ||
        !set_text(&item->encrypt_key, c->encrypt_key) || !set_text(&item->encrypt_chain, c->encrypt_chain))
        return NULL;
    item->section = c->section;
    return item;
}

static void append_line(struct cs_register *r, const struct cs_buf *b);

void cs_register_drop(struct cs_register *r, struct cs_item *item) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, REGISTER_LINE_MAX);
    cs_json_begin(&b, '{');
    cs_json_str(&b, "certificate", item->certificate);
    cs_json_bool(&b, "gone", true);
    cs_json_end(&b, '}');
    append_line(r, &b);
    for (size_t i = 0; i < item->steps_len; i++)
        cs_index_remove(&r->by_step, item->steps[i], item);
    cs_index_remove(&r->by_certificate, cs_index_key(item->certificate), item);
    cs_index_remove(&r->by_name, cs_index_key(item->name), item);
    for (size_t i = 0; i < r->n; i++)
        if (r->items[i] == item) {
            r->items[i] = r->items[--r->n];
            break;
        }
    item_free(item);
}

bool cs_register_rename(struct cs_register *r, struct cs_item *item, const char *name) {
    char *copy = strdup(name);
    if (!copy || !cs_index_put(&r->by_name, cs_index_key(name), item)) {
        free(copy);
        return false;
    }
    cs_index_remove(&r->by_name, cs_index_key(item->name), item);
    free(item->name);
    item->name = copy;
    return true;
}

struct cs_item *cs_register_live(const struct cs_register *r, const char *name, const struct cs_item *but) {
    for (const struct cs_index_entry *e = cs_index_first(&r->by_name, cs_index_key(name)); e;
         e = cs_index_next(e)) {
        struct cs_item *item = e->value;
        if (item != but && strcmp(item->name, name) == 0 && item->section && item->gone_ms == 0)
            return item;
    }
    return NULL;
}

struct cs_known *cs_register_known(struct cs_register *r, const char *name) {
    uint64_t key = cs_index_key(name);
    for (const struct cs_index_entry *e = cs_index_first(&r->known_by_name, key); e; e = cs_index_next(e)) {
        struct cs_known *k = e->value;
        if (strcmp(k->name, name) == 0)
            return k;
    }
    struct cs_known *k = calloc(1, sizeof *k);
    if (k)
        k->name = strdup(name);
    if (k && k->name && CS_GROW(&r->known, &r->known_cap, r->known_n + 1) &&
        cs_index_put(&r->known_by_name, key, k)) {
        r->known[r->known_n++] = k;
        return k;
    }
    if (k)
        free(k->name);
    free(k);
    return NULL;
}

struct cs_known *cs_register_by_event(const struct cs_register *r, const char *event) {
    for (const struct cs_index_entry *e = cs_index_first(&r->known_by_event, cs_index_key(event)); e;
         e = cs_index_next(e)) {
        struct cs_known *k = e->value;
        if (strcmp(k->event, event) == 0)
            return k;
    }
    return NULL;
}

void cs_register_ended(struct cs_register *r, struct cs_known *k) {
    cs_index_remove(&r->known_by_event, cs_index_key(k->event), k);
    k->event[0] = '\0';
}

void cs_register_sent(struct cs_register *r, struct cs_known *k, const char *event, const uint8_t sha256[32],
                      int64_t not_before_s, int64_t ends_s) {
    cs_register_ended(r, k);
    snprintf(k->event, sizeof k->event, "%s", event);
    memcpy(k->sent_sha256, sha256, 32);
    k->sent_not_before_s = not_before_s;
    k->sent_ends_s = ends_s;
    // Without the entry its outcome finds no name. Then the next listing of the catalog tells.
    if (!cs_index_put(&r->known_by_event, cs_index_key(event), k))
        cs_log_msg(CS_LOG_WARN, "out of memory");
}

// --- the file

static bool kept(const struct cs_item *item) {
    switch (item->state) {
    case CS_ITEM_SENT:
    case CS_ITEM_REGISTERED:
    case CS_ITEM_OLDER:
    case CS_ITEM_REJECTED:
    case CS_ITEM_DELETING:
    case CS_ITEM_DELETED:
        return true;
    case CS_ITEM_NEW:
    case CS_ITEM_WAITING:
    case CS_ITEM_BLOCKED:
    case CS_ITEM_REFUSED:
        break;
    }
    return false;
}

static void put_hash(struct cs_buf *b, const char *name, const uint8_t sha256[32]) {
    cs_json_name(b, name);
    cs_json_put_hex(b, (struct cs_bytes){sha256, 32});
}

int64_t cs_item_ends(const struct cs_item *item) {
    return item->ends_s != 0 && item->ends_s < item->not_after_s ? item->ends_s : item->not_after_s;
}

static void put_line(struct cs_register *r, const struct cs_item *item, struct cs_buf *b) {
    char number[24];
    const struct cs_known *k = cs_register_known(r, item->name);
    cs_json_begin(b, '{');
    cs_json_str(b, "certificate", item->certificate);
    cs_json_str(b, "name", item->name);
    if (strcmp(item->given, item->name) != 0)
        cs_json_str(b, "given", item->given);
    cs_json_str(b, "state", cs_item_state_name(item->state));
    snprintf(number, sizeof number, "%016" PRIx64, item->stamp);
    cs_json_str(b, "stamp", number);
    snprintf(number, sizeof number, "%016" PRIx64, item->content);
    cs_json_str(b, "content", number);
    put_hash(b, "sha256", item->sha256);
    cs_json_int(b, "not_before", item->not_before_s);
    cs_json_int(b, "not_after", item->not_after_s);
    cs_json_int(b, "ends", item->ends_s);
    if (item->code != CS_CODE_NONE)
        cs_json_str(b, "code", cs_code_name(item->code));
    if (item->message)
        cs_json_str(b, "message", item->message);
    if (item->event[0])
        cs_json_str(b, "event", item->event);
    cs_json_int(b, "since", item->since_ms);
    if (item->told_log[0]) {
        cs_json_name(b, "told");
        cs_json_begin(b, '{');
        cs_json_str(b, "log", item->told_log);
        cs_json_str(b, "id", item->told_id);
        put_hash(b, "sha256", item->told_sha256);
        cs_json_end(b, '}');
    }
    if (item->left_id[0])
        cs_json_str(b, "left", item->left_id);
    if (k && k->present) {
        cs_json_name(b, "catalog");
        cs_json_begin(b, '{');
        put_hash(b, "sha256", k->sha256);
        cs_json_int(b, "not_before", k->not_before_s);
        cs_json_int(b, "ends", k->ends_s);
        cs_json_str(b, "id", k->id);
        cs_json_end(b, '}');
    }
    cs_json_end(b, '}');
}

// Loses nothing: the next start asks the catalog.
static void cannot_write(struct cs_register *r, const struct cs_err *err) {
    if (!r->write_failed)
        cs_log_err(CS_LOG_WARN, "the register cannot be written", err, "path=%s", r->path);
    r->write_failed = true;
}

static void write_lines(struct cs_register *r) {
    struct cs_bytes lines = cs_buf_bytes(&r->unwritten);
    struct cs_err err;
    if (lines.len == 0)
        return;
    if (write(r->fd, lines.data, lines.len) == (ssize_t)lines.len) {
        r->write_failed = false;
    } else {
        cs_err_set(&err, CS_ERR_RETRY, CS_CODE_NONE, "%s: %s", r->path, strerror(errno));
        cannot_write(r, &err);
    }
    cs_buf_reset(&r->unwritten);
}

static void append_line(struct cs_register *r, const struct cs_buf *b) {
    if (r->fd < 0 || b->failed)
        return;
    // Each line begins with a line feed, so that it does not join an incomplete line.
    cs_buf_putc(&r->unwritten, '\n');
    cs_buf_put(&r->unwritten, b->data, b->len);
    cs_buf_putc(&r->unwritten, '\n');
    r->lines++;
    if (r->unwritten.len > UNWRITTEN_MAX)
        write_lines(r);
}

void cs_register_put(struct cs_register *r, struct cs_item *item, enum cs_item_state state, enum cs_code code,
                     const char *message, int64_t now_ms) {
    char text[CS_ITEM_MESSAGE_MAX];
    if (item->state != state || item->code != code)
        item->since_ms = now_ms;
    item->state = state;
    item->code = code;
    snprintf(text, sizeof text, "%s", message ? message : "");
    for (size_t n = strlen(text); n > 0 && !cs_utf8_valid((const uint8_t *)text, n); n--)
        text[n - 1] = '\0';
    if (!set_text(&item->message, text[0] ? text : NULL))
        cs_log_msg(CS_LOG_WARN, "out of memory");
    if (!kept(item))
        return;
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, REGISTER_LINE_MAX);
    put_line(r, item, &b);
    append_line(r, &b);
}

static bool get_hash(const json_t *o, const char *name, uint8_t out[32]) {
    const char *s = json_string_value(json_object_get(o, name));
    return s && strlen(s) == 64 && cs_hex_decode(s, 64, out);
}

static void get_uuid(const json_t *o, const char *name, cs_uuid out) {
    const char *s = json_string_value(json_object_get(o, name));
    if (s && cs_uuid_valid(s, strlen(s)))
        memcpy(out, s, sizeof(cs_uuid));
}

static uint64_t get_u64(const json_t *o, const char *name) {
    const char *s = json_string_value(json_object_get(o, name));
    return s ? strtoull(s, NULL, 16) : 0;
}

static bool get_state(const json_t *o, enum cs_item_state *ret) {
    const char *s = json_string_value(json_object_get(o, "state"));
    for (size_t i = CS_ITEM_NEW; s && i < CS_ARRAY_LEN(state_names); i++)
        if (strcmp(s, state_names[i]) == 0) {
            *ret = (enum cs_item_state)i;
            return true;
        }
    return false;
}

static void read_catalog(struct cs_register *r, const json_t *o, const char *name) {
    const json_t *c = json_object_get(o, "catalog");
    struct cs_known *k = c ? cs_register_known(r, name) : NULL;
    if (!k || !get_hash(c, "sha256", k->sha256))
        return;
    k->present = true;
    k->not_before_s = json_integer_value(json_object_get(c, "not_before"));
    k->ends_s = json_integer_value(json_object_get(c, "ends"));
    get_uuid(c, "id", k->id);
}

static void read_told(struct cs_item *item, const json_t *o) {
    const json_t *told = json_object_get(o, "told");
    const char *log = json_string_value(json_object_get(told, "log"));
    item->told_log[0] = item->told_id[0] = item->left_id[0] = '\0';
    get_uuid(o, "left", item->left_id);
    if (!log || !cs_log_id_valid(log, strlen(log)) || !get_hash(told, "sha256", item->told_sha256))
        return;
    memcpy(item->told_log, log, strlen(log) + 1);
    get_uuid(told, "id", item->told_id);
}

static bool read_item(struct cs_register *r, const json_t *o, bool same_key, struct cs_err *err) {
    const char *certificate = json_string_value(json_object_get(o, "certificate"));
    const char *name = json_string_value(json_object_get(o, "name"));
    struct cs_item *item = certificate ? cs_register_item(r, certificate) : NULL;
    if (certificate && json_is_true(json_object_get(o, "gone"))) {
        if (item)
            cs_register_drop(r, item);
        return true;
    }
    if (!certificate || !name || strlen(name) > CS_NAME_MAX)
        return true; // not ours
    const char *given = json_string_value(json_object_get(o, "given"));
    if (!item)
        item = item_new(r, certificate, name);
    if (!item || (strcmp(item->name, name) != 0 && !cs_register_rename(r, item, name)) ||
        !set_text(&item->given, given ? given : name))
        return cs_err_oom(err);
    read_told(item, o);
    if (!get_state(o, &item->state) || !kept(item) || !get_hash(o, "sha256", item->sha256))
        item->state = CS_ITEM_NEW;
    item->stamp = get_u64(o, "stamp");
    item->content = get_u64(o, "content");
    item->not_before_s = json_integer_value(json_object_get(o, "not_before"));
    item->not_after_s = json_integer_value(json_object_get(o, "not_after"));
    item->ends_s = json_integer_value(json_object_get(o, "ends"));
    const char *code = json_string_value(json_object_get(o, "code"));
    item->code = code ? cs_code_from_name(code, strlen(code)) : CS_CODE_NONE;
    item->since_ms = json_integer_value(json_object_get(o, "since"));
    item->event[0] = '\0';
    get_uuid(o, "event", item->event);
    if (!same_key && item->state == CS_ITEM_REJECTED) {
        item->state = CS_ITEM_NEW;
        item->stamp = item->content = 0;
    }
    read_catalog(r, o, name);
    return set_text(&item->message, json_string_value(json_object_get(o, "message"))) ? true
                                                                                      : cs_err_oom(err);
}

static bool read_lines(struct cs_register *r, struct cs_bytes text, const char *kid, struct cs_err *err) {
    bool same_key = false;
    if (!text.data) // an empty file
        return true;
    for (const char *p = (const char *)text.data, *end = p + text.len; p && p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((nl ? nl : end) - p);
        json_t *o = len > 0 ? json_loadb(p, len, 0, NULL) : NULL;
        const char *key = json_string_value(json_object_get(o, "kid"));
        if (key)
            same_key = strcmp(key, kid) == 0;
        bool ok = !o || key || read_item(r, o, same_key, err);
        json_decref(o);
        if (!ok)
            return false;
        p += len + 1;
    }
    return true;
}

// Writes the whole register: later lines are appended to it.
static bool write_anew(struct cs_register *r, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    int fd;
    cs_buf_init(&b, FILE_MAX);
    cs_json_begin(&b, '{');
    cs_json_str(&b, "form", FORM);
    cs_json_str(&b, "kid", r->kid);
    cs_json_end(&b, '}');
    cs_buf_putc(&b, '\n');
    for (size_t i = 0; i < r->n; i++) {
        if (!kept(r->items[i]))
            continue;
        put_line(r, r->items[i], &b);
        cs_buf_putc(&b, '\n');
    }
    if (!cs_buf_ok(&b, err) || !cs_file_write_given(r->path, cs_buf_bytes(&b), 0600, err) ||
        !cs_file_open_own(r->path, O_WRONLY | O_APPEND, 0600, &fd, err))
        return false;
    if (r->fd >= 0)
        close(r->fd);
    r->fd = fd;
    return true;
}

void cs_register_flush(struct cs_register *r) {
    struct cs_err err;
    write_lines(r);
    if (r->lines <= r->n + SLACK)
        return;
    r->lines = 0; // most of them say what is known better by now
    if (!write_anew(r, &err))
        cannot_write(r, &err);
}

bool cs_register_open(const char *path, const char *kid, struct cs_register *ret, struct cs_err *err) {
    CS_AUTO(cs_register_close) struct cs_register r = {.fd = -1};
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, FILE_MAX);
    struct stat st;
    memcpy(r.kid, kid, strlen(kid) + 1);
    cs_buf_init(&r.unwritten, UNWRITTEN_MAX + 4 * REGISTER_LINE_MAX);
    r.path = strdup(path);
    if (!r.path)
        return cs_err_oom(err);
    if (stat(path, &st) == 0 && !cs_file_read(path, CS_FILE_NOFOLLOW, &b, err))
        return false;
    if (!read_lines(&r, cs_buf_bytes(&b), kid, err))
        return false;
    cs_buf_clear(&b);
    if (!write_anew(&r, err))
        return false;
    *ret = r;
    r = (struct cs_register){.fd = -1};
    return true;
}

void cs_register_close(struct cs_register *r) {
    cs_register_flush(r);
    cs_buf_clear(&r->unwritten);
    for (size_t i = 0; i < r->n; i++)
        item_free(r->items[i]);
    for (size_t i = 0; i < r->known_n; i++) {
        free(r->known[i]->name);
        free(r->known[i]);
    }
    free(r->items);
    free(r->known);
    cs_index_clear(&r->by_certificate);
    cs_index_clear(&r->by_name);
    cs_index_clear(&r->by_step);
    cs_index_clear(&r->known_by_name);
    cs_index_clear(&r->known_by_event);
    free(r->path);
    if (r->fd >= 0)
        close(r->fd);
    *r = (struct cs_register){.fd = -1};
}
