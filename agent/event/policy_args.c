// SPDX-License-Identifier: Apache-2.0
#include "event/policy_args.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "event/session.h"

#define ANY "any"

// The next comma-separated word of a list of options. False: there is no more.
struct words {
    const struct cs_cli_list *list;
    size_t item;
    const char *at;
};
static bool next_word(struct words *w, const char **ret, size_t *ret_len) {
    while (!w->at || *w->at == '\0') {
        if (w->item == w->list->count)
            return false;
        w->at = w->list->items[w->item++];
        if (*w->at == '\0') { // an empty text is a word, too: it is refused
            *ret = w->at;
            *ret_len = 0;
            return true;
        }
    }
    *ret = w->at;
    *ret_len = strcspn(w->at, ",");
    w->at += *ret_len + (w->at[*ret_len] == ',');
    return true;
}

static bool is_any(const struct cs_cli_list *list) {
    return list->count == 1 && strcasecmp(list->items[0], ANY) == 0;
}

// Appends a line. False: there is no more room.
static bool add_line(char *out, size_t size, const char *line) {
    size_t used = strlen(out), len = strlen(line);
    if (used + len + 2 > size)
        return false;
    snprintf(out + used, size - used, "%s%s", used > 0 ? "\n" : "", line);
    return true;
}

static bool has_line(const char *lines, const char *line) {
    size_t len = strlen(line);
    for (const char *at = lines; *at;) {
        size_t n = strcspn(at, "\n");
        if (n == len && memcmp(at, line, n) == 0)
            return true;
        at += n + (at[n] == '\n');
    }
    return false;
}

// All but "IP:" is in lower case.
static void normalise(char *pattern) {
    for (char *s = pattern; *s; s++)
        *s = (char)tolower((unsigned char)*s);
    if (strncmp(pattern, "ip:", 3) == 0)
        memcpy(pattern, "IP:", 3);
}

static int bad_pattern(const struct cs_cli *cli, const char *option, const char *text) {
    for (const char *s = text; *s; s++)
        if ((unsigned char)*s >= 0x80)
            return cs_cli_usage_error(cli,
                                      "%s: \"%s\" is not in ASCII: write a name of another alphabet as "
                                      "certificates have it (xn--…)",
                                      option, cs_quoted(text));
    if (strcmp(text, "*") == 0 || strcmp(text, "**") == 0)
        return cs_cli_usage_error(cli, "%s: \"%s\" would cover every host: give no pattern at all for that",
                                  option, text);
    return cs_cli_usage_error(cli,
                              "%s: \"%s\" is not a pattern of hosts: www.example.com, *.example.com (one "
                              "label more), **.example.com (one or several), IP:192.0.2.1 or IP:*",
                              option, cs_quoted(text));
}

int cs_dns_args_read(const struct cs_cli *cli, const char *option, const struct cs_cli_list *list,
                     cs_dns_patterns ret) {
    struct words w = {.list = list};
    const char *word;
    size_t len;
    ret[0] = '\0';
    while (next_word(&w, &word, &len)) {
        char pattern[CS_DNS_PATTERN_MAX + 64];
        if (len >= sizeof pattern)
            len = sizeof pattern - 1;
        memcpy(pattern, word, len);
        pattern[len] = '\0';
        normalise(pattern);
        if (!cs_dns_pattern_valid(pattern, len))
            return bad_pattern(cli, option, pattern);
        if (!has_line(ret, pattern) && !add_line(ret, sizeof(cs_dns_patterns), pattern))
            return cs_cli_usage_error(cli, "%s: the patterns have more than %d characters in all", option,
                                      CS_DNS_PATTERNS_MAX);
    }
    return CS_EXIT_OK;
}

static bool add_key(struct cs_policy_keys *keys, const char *word, size_t len) {
    static const char *const curves[] = {"P-256", "P-384", "P-521"};
    static const char *const exact[] = {"P-256", "P-384", "P-521", "Ed25519", "SM2"};
    char name[CS_POLICY_KEY_SIZE];
    if (len >= sizeof name)
        return false;
    memcpy(name, word, len);
    name[len] = '\0';
    if (strcasecmp(name, "ECDSA") == 0) {
        for (size_t i = 0; i < CS_ARRAY_LEN(curves); i++)
            if (!cs_policy_keys_add(keys, curves[i], strlen(curves[i])))
                return false;
        return true;
    }
    if (strcasecmp(name, "RSA") == 0)
        return cs_policy_keys_add(keys, "RSA-2048", strlen("RSA-2048"));
    for (size_t i = 0; i < CS_ARRAY_LEN(exact); i++)
        if (strcasecmp(name, exact[i]) == 0)
            return cs_policy_keys_add(keys, exact[i], strlen(exact[i]));
    if (strncasecmp(name, "rsa-", 4) == 0)
        memcpy(name, "RSA-", 4);
    return cs_policy_keys_add(keys, name, len);
}

static int read_keys(const struct cs_cli *cli, const struct cs_cli_list *list, struct cs_policy_keys *ret) {
    struct words w = {.list = list};
    const char *word;
    size_t len;
    while (!is_any(list) && next_word(&w, &word, &len)) {
        char shown[40];
        snprintf(shown, sizeof shown, "%.*s", (int)(len < 39 ? len : 39), word);
        if (!add_key(ret, word, len))
            return cs_cli_usage_error(
                cli,
                "--policy-keys: \"%s\" is no type of key, or is given twice; the types are RSA (2048 bits or "
                "more), RSA-3072 (so many or more, 2048 to 8192), ECDSA (all three curves), P-256, P-384, "
                "P-521, Ed25519, SM2; any: no demand",
                cs_quoted(shown));
    }
    return CS_EXIT_OK;
}

static int read_issuers(const struct cs_cli *cli, const struct cs_cli_list *list, char *ret, size_t size) {
    for (size_t i = 0; i < list->count && !is_any(list); i++) {
        const char *text = list->items[i];
        if (strlen(text) > CS_POLICY_ISSUER_MAX || !cs_policy_issuer_valid(text, strlen(text)))
            return cs_cli_usage_error(
                cli,
                "--policy-issuer: \"%s\" is no issuer: spki:<SHA-256 of the CA's public key, 64 hex digits "
                "in "
                "lower case>, or name:<the issuer's name, '*' for any characters>; any: no demand",
                cs_quoted(text));
        if (!has_line(ret, text) && !add_line(ret, size, text))
            return cs_cli_usage_error(cli, "--policy-issuer: they have more than %d characters in all",
                                      CS_POLICY_ISSUERS_MAX);
    }
    return CS_EXIT_OK;
}

int cs_policy_args_read(const struct cs_cli *cli, const struct cs_policy_args *args,
                        struct cs_event_account *to) {
    struct cs_policy *p = &to->policy;
    to->has_keys_allowed = args->keys.count > 0;
    to->has_days = args->days >= 0;
    to->has_issuers = args->issuers.count > 0;
    to->has_dns = args->dns.count > 0;
    to->has_wildcards = args->wildcards > 0;
    p->days = args->days >= 0 ? args->days : 0;
    p->no_wildcards = args->wildcards == 2;
    int code = read_keys(cli, &args->keys, &p->keys);
    if (code == CS_EXIT_OK)
        code = read_issuers(cli, &args->issuers, p->issuers, sizeof p->issuers);
    if (code == CS_EXIT_OK && !is_any(&args->dns))
        code = cs_dns_args_read(cli, "--policy-dns", &args->dns, p->dns);
    return code;
}
