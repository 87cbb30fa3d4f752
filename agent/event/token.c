// SPDX-License-Identifier: Apache-2.0
#include "event/token.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "certsync/model/entry.h"

#define PREFIX     "certsync1."
#define PREFIX_LEN (sizeof PREFIX - 1)
#define JSON_MAX   2048

void cs_join_token_clear(struct cs_join_token *t) {
    cs_privkey_free(t->key);
    *t = (struct cs_join_token){0};
}

static void put_json(struct cs_buf *b, const struct cs_join_token *t, struct cs_bytes key) {
    cs_json_begin(b, '{');
    cs_json_str(b, "log", t->log_id);
    cs_json_str(b, "account", t->account);
    cs_json_name(b, "key");
    cs_json_put_base64(b, key);
    cs_json_name(b, "can");
    cs_json_begin(b, '[');
    for (unsigned bit = 1; bit <= CS_CAN_ALL; bit <<= 1)
        if (t->can & bit)
            cs_json_put_str(b, cs_can_name(bit));
    cs_json_end(b, ']');
    cs_json_str(b, "names", t->names);
    if (t->dns[0])
        cs_json_str(b, "dns", t->dns);
    cs_json_int(b, "expires", t->expires_s);
    cs_json_end(b, '}');
}

bool cs_join_token_write(const struct cs_join_token *t, char out[CS_JOIN_TOKEN_MAX], struct cs_err *err) {
    struct cs_buf b;
    uint8_t *key;
    size_t key_len;
    if (!cs_privkey_to_pkcs8(t->key, &key, &key_len, err))
        return false;
    cs_buf_init(&b, JSON_MAX);
    put_json(&b, t, (struct cs_bytes){key, key_len});
    cs_secure_free(key, key_len);
    bool ok = cs_buf_ok(&b, err);
    if (ok) {
        memcpy(out, PREFIX, PREFIX_LEN);
        cs_base64url_encode(b.data, b.len, out + PREFIX_LEN);
    }
    if (b.data)
        explicit_bzero(b.data, b.cap);
    cs_buf_clear(&b);
    return ok;
}

static bool no_token(struct cs_err *err, const char *why) {
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "this is not a join token as certsync agent token prints it: %s", why);
}

static bool take_text(const json_t *o, const char *name, char *out, size_t size,
                      bool (*valid)(const char *s, size_t len)) {
    const char *s = json_string_value(json_object_get(o, name));
    if (!s || strlen(s) >= size || !valid(s, strlen(s)))
        return false;
    memcpy(out, s, strlen(s) + 1);
    return true;
}

static bool dns_valid(const char *s, size_t len) {
    for (size_t n; len > 0; s += n, len -= n) {
        const char *end = memchr(s, '\n', len);
        n = end ? (size_t)(end - s) : len;
        if (!cs_dns_pattern_valid(s, n))
            return false;
        n += end != NULL;
    }
    return true;
}

static bool take_can(const json_t *o, unsigned *ret) {
    size_t i;
    const json_t *word;
    unsigned can = 0;
    json_array_foreach(json_object_get(o, "can"), i, word) {
        unsigned bit;
        const char *s = json_string_value(word);
        if (!s || !cs_can_parse(s, strlen(s), &bit))
            return false;
        can |= bit;
    }
    *ret = can;
    return can != 0;
}

static bool take_key(const json_t *o, struct cs_privkey **ret) {
    uint8_t der[1024];
    size_t len;
    struct cs_err ignored;
    const char *s = json_string_value(json_object_get(o, "key"));
    bool ok = s && cs_base64_decoded_max(strlen(s)) <= sizeof der &&
              cs_base64_decode(s, strlen(s), der, &len) &&
              cs_privkey_from_pkcs8((struct cs_bytes){der, len}, ret, &ignored);
    explicit_bzero(der, sizeof der);
    return ok;
}

static bool take(const json_t *o, struct cs_join_token *t, struct cs_err *err) {
    if (!take_text(o, "log", t->log_id, sizeof t->log_id, cs_log_id_valid) ||
        !take_text(o, "account", t->account, sizeof t->account, cs_account_valid) ||
        !take_text(o, "names", t->names, sizeof t->names, cs_pattern_valid) || !take_can(o, &t->can) ||
        !take_key(o, &t->key) || cs_privkey_type(t->key) != CS_KEY_P256)
        return no_token(err, "something in it is missing or damaged");
    if (json_object_get(o, "dns") && !take_text(o, "dns", t->dns, sizeof t->dns, dns_valid))
        return no_token(err, "its patterns of hosts cannot be read");
    t->expires_s = json_integer_value(json_object_get(o, "expires"));
    return true;
}

bool cs_join_token_read(const char *text, struct cs_join_token *ret, struct cs_err *err) {
    uint8_t json[CS_JOIN_TOKEN_MAX];
    CS_AUTO(cs_join_token_clear) struct cs_join_token t = {0};
    size_t n = strlen(text), len;
    if (n >= sizeof json || strncmp(text, PREFIX, PREFIX_LEN) != 0)
        return no_token(err, "it begins with " PREFIX);
    bool ok = cs_base64url_decode(text + PREFIX_LEN, n - PREFIX_LEN, json, &len) ||
              no_token(err, "it was cut or altered");
    json_t *o = ok ? json_loadb((const char *)json, len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    explicit_bzero(json, sizeof json);
    ok = ok && take(o, &t, err);
    json_decref(o);
    if (!ok)
        return false;
    *ret = t;
    t = (struct cs_join_token){0};
    return true;
}
