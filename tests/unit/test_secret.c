// SPDX-License-Identifier: Apache-2.0
// Keys that are damaged in every way, given to everything that reads what people give: no message, and nothing that is
// printed, may hold 8 bytes of one. What is looked for is stricter: 6 bytes in base64, 8 in hexadecimal.
#define _GNU_SOURCE // memmem
#include <ctype.h>
#include <fcntl.h>
#include <unistd.h>

#include "agent_fixture.h"
#include "certs.h"
#include "certsync/base/secret.h"
#include "certsync/base/text.h"
#include "certsync/model/event.h"
#include "certsync/runtime/mask.h"
#include "commands/agent_commands.h"
#include "event/options.h"
#include "event/session.h"
#include "event/token.h"

static struct cs_crypto *crypto;

// --- looking for a key ----------------------------------------------------------------------------------

static bool has(struct cs_bytes der, const uint8_t *part, size_t len) {
    return memmem(der.data, der.len, part, len) != NULL;
}

static int base64_of(char c) {
    static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(all, c == '-' ? '+' : c == '_' ? '/' : c) : NULL;
    return at ? (int)(at - all) : -1;
}

// Any 8 characters in a row, whatever the alignment: a run of 11 that shows 8 bytes has such 8 that are 6 bytes.
static bool shows_base64(struct cs_bytes der, const char *s, size_t len) {
    for (size_t i = 0; i + 8 <= len; i++) {
        uint8_t out[6];
        uint64_t bits = 0;
        size_t n = 0;
        for (; n < 8 && base64_of(s[i + n]) >= 0; n++)
            bits = bits << 6 | (uint64_t)base64_of(s[i + n]);
        if (n < 8)
            continue;
        for (size_t k = 0; k < 6; k++)
            out[k] = (uint8_t)(bits >> (40 - 8 * k));
        if (has(der, out, sizeof out))
            return true;
    }
    return false;
}

static bool shows_hex(struct cs_bytes der, const char *s, size_t len) {
    for (size_t i = 0; i + 16 <= len; i++) {
        char lower[16];
        uint8_t out[8];
        for (size_t k = 0; k < 16; k++)
            lower[k] = (char)tolower((unsigned char)s[i + k]);
        if (cs_hex_decode(lower, 16, out) && has(der, out, 8))
            return true;
    }
    return false;
}

static bool shows(struct cs_bytes der, const char *s, size_t len) {
    for (size_t i = 0; i + 8 <= len; i++)
        if (has(der, (const uint8_t *)s + i, 8))
            return true;
    return shows_base64(der, s, len) || shows_hex(der, s, len);
}

// --- damage ----------------------------------------------------------------------------------------------

struct text {
    char s[16384];
    size_t len;
};

static void add(struct text *t, const char *s, size_t len) {
    assert_true(t->len + len < sizeof t->s);
    memcpy(t->s + t->len, s, len);
    t->len += len;
    t->s[t->len] = '\0';
}

static void adds(struct text *t, const char *s) {
    add(t, s, strlen(s));
}

// s with each `what` replaced.
static void put_replaced(struct text *t, const char *s, const char *what, const char *with) {
    for (const char *at; (at = strstr(s, what)); s = at + strlen(what)) {
        add(t, s, (size_t)(at - s));
        adds(t, with);
    }
    adds(t, s);
}

static void put_wide(struct text *t, const char *s, bool big) {
    for (; *s; s++) {
        const char pair[2] = {big ? '\0' : *s, big ? *s : '\0'};
        add(t, pair, 2);
    }
}

static const struct {
    const char *what, *with;
} replacements[] = {
    {"\n", ""},
    {"\n", " "},
    {"\n", "\\n"},
    {"\n", "\\r\\n"},
    {"\n", "\\\\n"},
    {"\n", "\r"},
    {"\n", "\r\n"},
    {"\n", "\n\n"},
    {"\n", "\n> "},
    {"\n", "\n    "},
    {"\n", "&#10;"},
    {"\n", "%0A"},
    {"\n", "<br>"},
    {"\n", "=\n"},
    {"\n", ";"},
    {"-----", "----"},
    {"-----", "------"},
    {"-----", "\xE2\x80\x94"},
    {"-----", "\xE2\x80\x93\xE2\x80\x93"},
    {"-----", "- - -"},
    {"-----", ""},
    {"-----\n", "-----"},
    {"\n-----", "-----"},
    {"-----\n", " -----\n"},
    {"BEGIN", "begin"},
    {"BEGIN ", "BEGIN"},
    {"BEGIN", "END"},
    {"END", "BEGIN"},
    {"END", "End"},
    {"-----END", "END"},
    {"PRIVATE", "PUBLIC"},
    {"PRIVATE KEY", "CERTIFICATE"},
    {"PRIVATE KEY", "CERTIFICATE REQUEST"},
    {"PRIVATE KEY", "PRIVATE KEY OF SOMEBODY WITH A VERY LONG NAME INDEED"},
    {"PRIVATE KEY", "private key"},
    {"PRIVATE KEY", ""},
    {" PRIVATE KEY", ""},
    {"END PRIVATE", "END CERTIFICATE"},
    {"A", "*"},
    {"A", "a"},
    {"=", ""},
    {"M", "\tM"},
};
#define CUTS    12
#define SHAPES  14
#define DAMAGES (CS_ARRAY_LEN(replacements) + CUTS + SHAPES)

// The text between the BEGIN and END lines, and the whole on one line.
static void put_body(struct text *t, const char *pem) {
    const char *start = strchr(pem, '\n') + 1, *end = strstr(start, "-----END");
    for (; start < end; start++)
        if (*start != '\n')
            add(t, start, 1);
}

static void put_shape(struct text *t, size_t shape, const char *pem, struct cs_bytes der) {
    struct text body = {.len = 0};
    char hex[8192];
    put_body(&body, pem);
    cs_hex_encode(der.data, der.len, hex);
    switch (shape) {
    case 0:
        adds(t, body.s);
        return;
    case 1:
        adds(t, hex);
        return;
    case 2:
        adds(t, body.s + 13);
        return;
    case 3:
        adds(t, hex + 33);
        return;
    case 4:
        adds(t, "{\"tls.key\":\"");
        put_replaced(t, pem, "\n", "\\n");
        adds(t, "\"}");
        return;
    case 5:
        adds(t, "KEY=\"");
        put_replaced(t, pem, "\n", "\\n");
        adds(t, "\"\n");
        return;
    case 6:
        put_wide(t, pem, false);
        return;
    case 7:
        put_wide(t, pem, true);
        return;
    case 8:
        adds(t, "-----BEGIN ");
        adds(t, body.s);
        adds(t, "-----\nAAAA\n-----END ");
        adds(t, body.s);
        adds(t, "-----\n");
        return;
    case 9:
        adds(t, "-----END PRIVATE KEY-----\n");
        adds(t, body.s);
        adds(t, "\n-----BEGIN PRIVATE KEY-----\n");
        return;
    case 10:
        for (size_t i = body.len; i-- > 0;)
            add(t, &body.s[i], 1);
        return;
    case 11:
        adds(t, pem);
        adds(t, pem);
        return;
    case 12:
        add(t, (const char *)der.data, der.len);
        return;
    default:
        adds(t, "key: ");
        add(t, body.s, 48);
        return;
    }
}

static void put_damaged(struct text *t, size_t i, const char *pem, struct cs_bytes der) {
    if (i < CS_ARRAY_LEN(replacements)) {
        put_replaced(t, pem, replacements[i].what, replacements[i].with);
        return;
    }
    i -= CS_ARRAY_LEN(replacements);
    size_t len = strlen(pem);
    if (i < CUTS / 2)
        add(t, pem, len * (i + 1) / (CUTS / 2 + 1));
    else if (i < CUTS)
        adds(t, pem + len * (i - CUTS / 2 + 1) / (CUTS / 2 + 1));
    else
        put_shape(t, i - CUTS, pem, der);
}

// --- readers ----------------------------------------------------------------------------------------------

// Each puts what it says of the text at the end of *said.
static void said(struct text *to, const struct cs_err *err) {
    adds(to, err->msg);
    adds(to, "\n");
}

static void as_files(const struct text *t, struct text *to) {
    struct cs_bytes bytes = {(const uint8_t *)t->s, t->len};
    struct cs_err err;
    struct cs_cert **certs;
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    CS_AUTO(cs_csr_free) struct cs_csr *csr = NULL;
    uint8_t *spki;
    size_t n, len;
    if (cs_pem_certs(crypto, "f", bytes, &certs, &n, &err))
        cs_certs_free(certs, n);
    else
        said(to, &err);
    if (!cs_pem_privkey(crypto, "f", bytes, &key, &err))
        said(to, &err);
    if (!cs_pem_csr(crypto, "f", bytes, &csr, &err))
        said(to, &err);
    if (cs_pem_spki(crypto, "f", bytes, &spki, &len, &err))
        free(spki);
    else
        said(to, &err);
}

// As a path, too: what cannot be opened is named.
static void as_path(const struct text *t, struct text *to) {
    struct cs_err err;
    struct cs_cert **certs;
    size_t n;
    uint8_t *spki;
    if (!cs_session_read_spki(crypto, t->s, &spki, &n, &err))
        said(to, &err);
    if (!cs_pem_certs(crypto, t->s, (struct cs_bytes){(const uint8_t *)"x", 1}, &certs, &n, &err))
        said(to, &err);
}

static void load(const char *file, const struct cs_settings_override *o, struct text *to) {
    const struct cs_settings_source source = {.file = file, .overrides = o, .override_count = o ? 1 : 0};
    struct cs_err err;
    void *values;
    if (!cs_settings_load(&cs_agent_settings_table, &source, &values, &err)) {
        said(to, &err);
        return;
    }
    cs_settings_free(&cs_agent_settings_table, values);
}

static void as_setting(const struct text *t, struct text *to) {
    static const char *const keys[] = {"deployment.id", "agent.account",   "agent.custodian",
                                       "agent.key",     "api.url",         "kafka.security_protocol",
                                       "agent.spool",   "agent.heartbeat", "watch x.pairs",
                                       "watch x.tags",  "watch x.owners",  "kafka.rdkafka.debug"};
    for (size_t i = 0; i < CS_ARRAY_LEN(keys); i++)
        load(NULL, &(struct cs_settings_override){keys[i], t->s, "--set"}, to);
    load(NULL, &(struct cs_settings_override){t->s, "x", "--set"}, to);
}

static void as_settings_file(const struct text *t, struct text *to) {
    static const char *const heads[] = {"", "[agent]\n", "[agent]\ncustodian = ", "["};
    for (size_t i = 0; i < CS_ARRAY_LEN(heads); i++) {
        char path[] = "/tmp/cs-secret-XXXXXX";
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        assert_true(write(fd, heads[i], strlen(heads[i])) >= 0 && write(fd, t->s, t->len) >= 0);
        close(fd);
        load(path, NULL, to);
        unlink(path);
    }
}

static void as_token(const struct text *t, struct text *to) {
    struct text token = {.len = 0};
    struct cs_join_token read;
    struct cs_err err;
    adds(&token, "certsync1.");
    adds(&token, t->s);
    if (!cs_join_token_read(token.s, &read, &err))
        said(to, &err);
    if (!cs_join_token_read(t->s, &read, &err))
        said(to, &err);
}

static void as_event(const struct text *t, struct text *to) {
    struct cs_err err;
    struct cs_event *ev = NULL;
    struct text wrapped = {.len = 0};
    if (!cs_event_decode((struct cs_bytes){(const uint8_t *)t->s, t->len}, &ev, &err))
        said(to, &err);
    adds(&wrapped, "{\"specversion\":\"1.0\",\"");
    adds(&wrapped, t->s);
    adds(&wrapped, "\":1}");
    if (!cs_event_decode((struct cs_bytes){(const uint8_t *)wrapped.s, wrapped.len}, &ev, &err))
        said(to, &err);
}

static void command_line(size_t argc, const char *const *argv, FILE *out) {
    struct cs_agent_commands commands;
    CS_AUTO(cs_cli_free) struct cs_cli *cli = NULL;
    cs_agent_commands_init(&commands);
    (void)cs_cli_parse(&commands.root, "1", (int)argc, (char **)(uintptr_t)argv, out, out, &cli);
}

static void as_arguments(const struct text *t, struct text *to) {
    const char *s = t->s;
    char *printed = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&printed, &len);
    assert_non_null(out);
    const char *const lines[][5] = {{"certsync", s},
                                    {"certsync", "upload", s, "--certt"},
                                    {"certsync", "list", s},
                                    {"certsync", "list", "--limit", s},
                                    {"certsync", "show", "a", s, "b"},
                                    {"certsync", "help", s},
                                    {"certsync", "keygen", "--type", s}};
    for (size_t i = 0; i < CS_ARRAY_LEN(lines); i++) {
        size_t n = 0;
        while (n < 5 && lines[i][n])
            n++;
        command_line(n, lines[i], out);
    }
    fclose(out);
    add(to, printed, len);
    free(printed);
}

static void (*const readers[])(const struct text *t, struct text *to) = {
    as_files, as_path, as_setting, as_settings_file, as_token, as_event, as_arguments,
};

static const char *const key_files[] = {"p256.key",     "p256.sec1", "rsa.pkcs1",     "p384.key",
                                        "sm2-sign.key", "sm2.label", "custodian.key", "ed25519.key"};

// The block's bytes.
static size_t der_of_pem(const char *pem, uint8_t out[8192]) {
    struct text body = {.len = 0};
    size_t len;
    const char *begin = strstr(pem, "-----BEGIN ");
    while (strstr(begin + 1, "-----BEGIN ")) // what comes before is the curve
        begin = strstr(begin + 1, "-----BEGIN ");
    put_body(&body, begin);
    assert_true(cs_base64_decode(body.s, body.len, out, &len));
    return len;
}

static void no_message_holds_a_key(void **state) {
    (void)state;
    size_t checked = 0;
    for (size_t k = 0; k < CS_ARRAY_LEN(key_files); k++) {
        char path[512];
        snprintf(path, sizeof path, CERTSYNC_SECRET_KEYS "/%s", key_files[k]);
        CS_AUTO(file_clear) struct file f = file_read(path);
        uint8_t der[8192];
        struct cs_bytes bytes = {der, der_of_pem((const char *)f.data, der)};
        for (size_t d = 0; d < DAMAGES; d++) {
            struct text t = {.len = 0};
            put_damaged(&t, d, (const char *)f.data, bytes);
            for (size_t r = 0; r < CS_ARRAY_LEN(readers); r++) {
                struct text all = {.len = 0};
                readers[r](&t, &all);
                checked += all.len > 0;
                if (shows(bytes, all.s, all.len))
                    fail_msg("%s, damage %zu, reader %zu:\n%s", key_files[k], d, r, all.s);
            }
        }
    }
    assert_true(checked > 2000);
}

// The search itself finds what there is to find.
static void the_search_finds(void **state) {
    (void)state;
    CS_AUTO(file_clear) struct file f = test_file("p256.sec1");
    uint8_t der[8192];
    char out[64];
    struct cs_bytes bytes = {der, der_of_pem((const char *)f.data, der)};
    for (size_t at = 9; at < 12; at++) {
        char text[96];
        cs_base64_encode(der + at, 9, out);
        snprintf(text, sizeof text, "what? %.12s!", out);
        assert_true(shows(bytes, text, strlen(text)));
        cs_hex_encode(der + at, 8, out);
        snprintf(text, sizeof text, "what? %s!", out);
        assert_true(shows(bytes, text, strlen(text)));
    }
    assert_true(shows(bytes, (const char *)der + 12, 8));
    assert_false(shows(bytes, "f: there is no PEM block in the file", 36));
}

static void words_are_shown(void **state) {
    (void)state;
    static const char *const words[] = {"www.example.com",
                                        "fullchain.pem",
                                        "/etc/letsencrypt/live/www.example.com/privkey.pem",
                                        "MyCertificate",
                                        "kafka.brokers",
                                        "sasl_ssl",
                                        "--certificate",
                                        "Zürich",
                                        "018f3a2b-7c4d-7e5f-8a9b-0c1d2e3f4a5b",
                                        "team:web",
                                        "https://certsync.example.com:8443"};
    char out[CS_SECRET_QUOTE_SIZE];
    for (size_t i = 0; i < CS_ARRAY_LEN(words); i++) {
        cs_secret_quote(words[i], strlen(words[i]), out, sizeof out);
        assert_string_equal(out, words[i]);
        cs_secret_show(words[i], strlen(words[i]), out, sizeof out);
        assert_string_equal(out, words[i]);
        assert_false(cs_secret_is_random(words[i], strlen(words[i])));
    }
}

static void what_is_secret_in_texts(void **state) {
    (void)state;
    static const struct {
        const char *text, *masked;
    } rows[] = {
        {"https://user:pa@ss@host:8443/x", "https://user:********@host:8443/x"},
        {"https://token@host", "https://********@host"},
        {"redis://:secret@a:1,redis://:other@b:2", "redis://:********@a:1,redis://:********@b:2"},
        {"pkcs11:token=web;object=key?pin-value=1234&module-name=p11",
         "pkcs11:token=web;object=key?pin-value=********&module-name=p11"},
        {"pkcs11:token=web?pin-source=file:/etc/pin", "pkcs11:token=web?pin-source=file:/etc/pin"},
        {"pkcs11:token=web?PIN-VALUE=a b", "pkcs11:token=web?PIN-VALUE=******** b"},
        {"https://host/path?access_token=abc", "https://host/path?access_token=********"},
        {"https://host:8443", "https://host:8443"},
        {"/etc/certsync/agent.key", "/etc/certsync/agent.key"},
    };
    static const char *const secret[] = {"ssl.key.password",
                                         "ssl.key.pem",
                                         "ssl_key",
                                         "sasl.password",
                                         "ssl.keystore.password",
                                         "sasl.oauthbearer.client.secret",
                                         "sasl.oauthbearer.config",
                                         "sasl.jaas.config",
                                         "sasl.oauthbearer.assertion.private.key.pem",
                                         "sasl.oauthbearer.assertion.private.key.passphrase",
                                         "sasl.kerberos.kinit.cmd",
                                         "ssl.certificate.pem"};
    static const char *const shown[] = {"ssl.key.location",
                                        "ssl.keystore.location",
                                        "sasl.kerberos.keytab",
                                        "socket.timeout.ms",
                                        "sasl.oauthbearer.token.endpoint.url",
                                        "sasl.oauthbearer.method",
                                        "debug"};
    char out[200];
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        cs_mask_text(rows[i].text, out, sizeof out, true);
        assert_string_equal(out, rows[i].masked);
    }
    for (size_t i = 0; i < CS_ARRAY_LEN(secret); i++)
        if (!cs_mask_names_secret(secret[i]))
            fail_msg("%s is shown", secret[i]);
    for (size_t i = 0; i < CS_ARRAY_LEN(shown); i++)
        if (cs_mask_names_secret(shown[i]))
            fail_msg("%s is not shown", shown[i]);
}

static int setup(void **state) {
    (void)state;
    crypto = test_crypto();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    cs_crypto_free(crypto);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_search_finds),
        cmocka_unit_test(words_are_shown),
        cmocka_unit_test(what_is_secret_in_texts),
        cmocka_unit_test(no_message_holds_a_key),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
