// SPDX-License-Identifier: Apache-2.0
#include "daemon/pattern.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "certsync/base/secret.h"

#define NAME     "{name}"
#define NAME_LEN (sizeof NAME - 1)

bool cs_path_pattern_has_name(const char *pattern) {
    return strstr(pattern, NAME) != NULL;
}

static bool fault(const char *pattern, const char *what, struct cs_err *err) {
    char shown[300];
    cs_secret_quote(pattern, strlen(pattern), shown, sizeof shown);
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "\"%s\": %s", shown, what);
}

bool cs_path_pattern_check(const char *pattern, struct cs_err *err) {
    if (pattern[0] != '/')
        return fault(pattern, "a path from the root (\"/…\") is wanted", err);
    size_t len = strlen(pattern), stars = 0;
    if (len >= PATH_MAX - CS_STAR_SIZE || pattern[len - 1] == '/')
        return fault(pattern, "it ends with \"/\" or is too long", err);
    if (strstr(pattern, "//") || strstr(pattern, "/../") || strstr(pattern, "/./"))
        return fault(pattern, "\"//\", \"/./\" and \"/../\" have no place in a pattern", err);
    for (const char *p = pattern; *p; p++) {
        stars += *p == '*';
        if ((*p == '{' && strncmp(p, NAME, NAME_LEN) != 0) ||
            (*p == '}' &&
             (p - pattern < (int)NAME_LEN - 1 || strncmp(p - NAME_LEN + 1, NAME, NAME_LEN) != 0)))
            return fault(pattern, "the only placeholder is {name}", err);
    }
    return stars <= CS_STARS_MAX ? true : fault(pattern, "at most four '*'", err);
}

static bool match(const char *p, const char *end, const char *text, struct cs_match *m);

// Tries the longest run first, until the rest matches. save: the text that the placeholder took.
static bool match_run(const char *rest, const char *end, const char *text, size_t shortest, size_t longest,
                      struct cs_match *m, char *save, bool is_name) {
    size_t len = strlen(text);
    size_t stars = m->stars_len;
    for (size_t take = len < longest ? len : longest; take + 1 > shortest; take--) {
        memcpy(save, text, take);
        save[take] = '\0';
        if (match(rest, end, text + take, m))
            return true;
        m->stars_len = stars; // drop later stars that did not match
        if (take == 0)
            break;
    }
    if (is_name)
        m->has_name = false;
    return false;
}

static bool match(const char *p, const char *end, const char *text, struct cs_match *m) {
    for (; p < end; p++, text++) {
        if (*p == '*') {
            if (m->stars_len == CS_STARS_MAX)
                return false;
            char *save = m->stars[m->stars_len++];
            return match_run(p + 1, end, text, 0, CS_STAR_SIZE - 1, m, save, false);
        }
        if (*p == '{' && m->has_name) {
            size_t len = strlen(m->name);
            return strncmp(text, m->name, len) == 0 && match(p + NAME_LEN, end, text + len, m);
        }
        if (*p == '{') {
            m->has_name = true;
            return match_run(p + NAME_LEN, end, text, 1, sizeof m->name - 1, m, m->name, true);
        }
        if (*p != *text)
            return false;
    }
    return *text == '\0';
}

bool cs_path_pattern_component(const char *pattern, size_t len, const char *text, struct cs_match *m) {
    bool hidden = text[0] == '.' && pattern[0] != '.';
    return !hidden && match(pattern, pattern + len, text, m);
}

// Compares as long as both have components. The caller handles the rest of each.
static bool match_components(const char **pattern, const char **path, struct cs_match *m) {
    while (**path == '/' && **pattern == '/') {
        char component[CS_STAR_SIZE];
        size_t plen = strcspn(++*pattern, "/"), len = strcspn(++*path, "/");
        if (len >= sizeof component)
            return false;
        memcpy(component, *path, len);
        component[len] = '\0';
        if (!cs_path_pattern_component(*pattern, plen, component, m))
            return false;
        *pattern += plen;
        *path += len;
    }
    return true;
}

bool cs_path_pattern_leads(const char *pattern, const char *path) {
    struct cs_match m = {0};
    return match_components(&pattern, &path, &m) && *path == '\0';
}

bool cs_path_pattern_match(const char *pattern, const char *path, struct cs_match *m) {
    *m = (struct cs_match){0};
    return match_components(&pattern, &path, m) && *path == '\0' && *pattern == '\0';
}

bool cs_path_pattern_expand(const char *pattern, const struct cs_match *m, char *out, size_t size) {
    size_t used = 0, star = 0;
    for (const char *p = pattern; *p;) {
        const char *put = p;
        size_t len = 1, skip = 1;
        if (strncmp(p, NAME, NAME_LEN) == 0) {
            if (!m->has_name)
                return false;
            put = m->name;
            len = strlen(put);
            skip = NAME_LEN;
        } else if (*p == '*') {
            if (star == m->stars_len)
                return false;
            put = m->stars[star++];
            len = strlen(put);
        }
        if (used + len >= size)
            return false;
        memcpy(out + used, put, len);
        used += len;
        p += skip;
    }
    out[used] = '\0';
    return true;
}
