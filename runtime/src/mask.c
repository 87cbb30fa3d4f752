// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE // strcasestr
#include "certsync/runtime/mask.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "certsync/base/buf.h"
#include "certsync/base/secret.h"
#include "certsync/base/text.h"

#define TEXT_MAX 16384

// Parameters of URIs. pin-source is the path of a file, and token the label of a PKCS#11 token.
static const char *const parameters[] = {"pin-value", "pin",        "password",     "passwd",
                                         "pass",      "passphrase", "secret",       "client_secret",
                                         "api_key",   "apikey",     "access_token", "auth"};

// The length of "?name=" at p if the value after it is secret; 0 if not.
static size_t secret_parameter(const char *p) {
    if (*p != '?' && *p != '&' && *p != ';')
        return 0;
    for (size_t i = 0; i < CS_ARRAY_LEN(parameters); i++) {
        size_t len = strlen(parameters[i]);
        if (strncasecmp(p + 1, parameters[i], len) == 0 && p[1 + len] == '=')
            return len + 2;
    }
    return 0;
}

// Length of the user information at p (after "://"), without the '@'. A password may contain '@',
// but no '/' and no blank.
static size_t user_info(const char *p) {
    size_t authority = strcspn(p, "/?#, \t"), at = 0;
    for (size_t i = 0; i < authority; i++)
        if (p[i] == '@')
            at = i;
    return at;
}

static void put_masked(const char *text, struct cs_buf *b) {
    for (const char *p = text; *p;) {
        size_t head = secret_parameter(p), len;
        if (head > 0) {
            cs_buf_put(b, p, head);
            cs_buf_puts(b, CS_MASK);
            p += head + strcspn(p + head, "&;, \t");
        } else if (strncmp(p, "://", 3) == 0 && (len = user_info(p + 3)) > 0) {
            const char *colon = memchr(p + 3, ':', len);
            // A user name without a password may be a token.
            cs_buf_put(b, p, colon ? (size_t)(colon + 1 - p) : 3);
            cs_buf_puts(b, CS_MASK);
            p += 3 + len;
        } else {
            cs_buf_putc(b, *p++);
        }
    }
}

void cs_mask_text(const char *text, char *out, size_t size, bool escape) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, TEXT_MAX);
    put_masked(text, &b);
    const char *masked = b.failed ? CS_MASK : b.data ? (const char *)b.data : "";
    if (escape) {
        cs_secret_show(masked, strlen(masked), out, size);
        return;
    }
    size_t len = strlen(masked) < size - 1 ? strlen(masked) : size - 1;
    memcpy(out, masked, len);
    out[len] = '\0';
}

bool cs_mask_names_secret(const char *name) {
    // What librdkafka marks as sensitive, and what it forgets: the token that oauthbearer.config
    // makes, the command line of kinit.
    static const char *const words[] = {"password",  "passphrase",  "secret",     "jaas",
                                        "pem",       "token",       "credential", "oauthbearer.config",
                                        "kinit.cmd", "private.key", "ssl_key"};
    static const char *const harmless[] = {".location", ".file", ".url", ".provider", ".method"};
    size_t len = strlen(name);
    for (size_t i = 0; i < CS_ARRAY_LEN(harmless); i++) {
        size_t n = strlen(harmless[i]);
        if (len >= n && strcmp(name + len - n, harmless[i]) == 0)
            return false;
    }
    for (size_t i = 0; i < CS_ARRAY_LEN(words); i++)
        if (strcasestr(name, words[i]))
            return true;
    return len > 4 && strcmp(name + len - 4, ".key") == 0;
}
