// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE // memmem
#include "x509/pem_damage.h"

#include <string.h>

#include "x509/pem_block.h"

// "-----BEGIN LABEL-----" or END, and the line that it stands in.
struct marker {
    const char *start, *end;
    const char *line, *line_end;
    bool begins;
};

static const char *find(const char *p, const char *end, const char *what) {
    return end > p ? memmem(p, (size_t)(end - p), what, strlen(what)) : NULL;
}

static bool line_end(char c) {
    return c == '\n' || c == '\r';
}

static const char *skip_blanks(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    return p;
}

// The marker at the five dashes at p.
static bool marker_at(const char *p, const char *text, const char *end, struct marker *ret) {
    struct marker m = {.start = p, .line = p};
    const char *label = p + PEM_DASHES_LEN;
    if (end - label > 6 && memcmp(label, "BEGIN ", 6) == 0) {
        m.begins = true;
        label += 6;
    } else if (end - label > 4 && memcmp(label, "END ", 4) == 0) {
        label += 4;
    } else {
        return false;
    }
    size_t n = pem_label_len(label, (size_t)(end - label));
    m.end = label + n;
    if (n == 0 || (size_t)(end - m.end) < PEM_DASHES_LEN || memcmp(m.end, PEM_DASHES, PEM_DASHES_LEN) != 0)
        return false;
    m.end += PEM_DASHES_LEN;
    while (m.line > text && !line_end(m.line[-1]))
        m.line--;
    for (m.line_end = m.end; m.line_end < end && !line_end(*m.line_end);)
        m.line_end++;
    *ret = m;
    return true;
}

static bool next_marker(const char **p, const char *text, const char *end, struct marker *ret) {
    while ((*p = find(*p, end, PEM_DASHES))) {
        if (marker_at(*p, text, end, ret)) {
            *p = ret->end;
            return true;
        }
        (*p)++;
    }
    return false;
}

static bool quoted(const char *p, const char *end) {
    p = skip_blanks(p, end);
    if (p == end || (*p != '>' && *p != '|' && *p != '#'))
        return false;
    while (p < end && strchr("> |#\t", *p))
        p++;
    return p == end;
}

static enum pem_damage beside(const struct marker *m, const char *text, const char *end) {
    const char *first = text, *rest = skip_blanks(m->end, m->line_end);
    while (first < end && (line_end(*first) || *first == ' ' || *first == '\t'))
        first++;
    bool after = rest < m->line_end;
    if (after && *rest == '\\')
        return *first == '{' || *first == '[' ? DAMAGE_JSON : DAMAGE_ESCAPED;
    if (!after && quoted(m->line, m->start))
        return DAMAGE_QUOTED;
    if (!after && m->start == m->line + 1 && m->line[0] == '+')
        return DAMAGE_DIFF;
    return m->begins && after && rest > m->end ? DAMAGE_SPACES : DAMAGE_JOINED;
}

// BEGIN or END and a label of keys or certificates. The line has no other letters or digits.
static bool damaged_dashes(const char *p, const char *end) {
    static const char *const ends[] = {"KEY", "CERTIFICATE", "REQUEST", "PARAMETERS"};
    while (p < end && !((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9')))
        p++;
    bool begins = end - p > 6 && memcmp(p, "BEGIN ", 6) == 0;
    if (!begins && !(end - p > 4 && memcmp(p, "END ", 4) == 0))
        return false;
    p += begins ? 6 : 4;
    size_t n = pem_label_len(p, (size_t)(end - p));
    while (n > 0 && p[n - 1] == ' ')
        n--;
    bool known = false;
    for (size_t i = 0; i < CS_ARRAY_LEN(ends); i++) {
        size_t len = strlen(ends[i]);
        known = known || (n >= len && memcmp(p + n - len, ends[i], len) == 0);
    }
    for (p += n; p < end; p++)
        known = known && !((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9'));
    return known;
}

enum pem_damage pem_damage(struct cs_bytes bytes) {
    const char *text = (const char *)bytes.data, *end = text + bytes.len, *p = text;
    struct marker m;
    size_t begins = 0, all = 0;
    while (p && next_marker(&p, text, end, &m)) {
        all++;
        begins += m.begins;
        if (skip_blanks(m.line, m.start) != m.start || skip_blanks(m.end, m.line_end) != m.line_end)
            return beside(&m, text, end);
    }
    for (p = text; p && p < end;) {
        const char *stop = p;
        while (stop < end && !line_end(*stop))
            stop++;
        const char *dashes = p;
        if (damaged_dashes(p, stop) && !next_marker(&dashes, p, stop, &m))
            return DAMAGE_DASHES;
        p = stop + (stop < end);
    }
    return all > 0 && begins == 0 ? DAMAGE_NO_BEGIN : DAMAGE_NONE;
}

// tests/e2e/test_secrets.py runs each command on the damage that it mends.
#define OWN_LINES "s/-----(BEGIN|END)[^-]*-----/\\n&\\n/g"

const char *pem_damage_sentence(enum pem_damage d) {
    switch (d) {
    case DAMAGE_JSON:
        return "the file is JSON, in which the PEM is a string; take it out: sed -E "
               "'s/\\\\[rn]/\\n/g; s/\\\\\\//\\//g; s/\\\\u002[bB]/+/g; " OWN_LINES
               "' OLD | fold -w 64 | grep . > NEW";
    case DAMAGE_ESCAPED:
        return "the PEM has \\n written out where its line breaks were; put them back: sed -E "
               "'s/\\\\[rn]/\\n/g; " OWN_LINES "' OLD | fold -w 64 | grep . > NEW";
    case DAMAGE_SPACES:
        return "the PEM has spaces where its line breaks were; put them back: sed -E '" OWN_LINES
               "' OLD | sed '/-----/!s/ /\\n/g' | fold -w 64 | grep . > NEW";
    case DAMAGE_JOINED:
        return "a BEGIN or END line of the PEM does not stand alone: line breaks are missing; put them back: "
               "sed -E "
               "'" OWN_LINES "' OLD | fold -w 64 | grep . > NEW";
    case DAMAGE_QUOTED:
        return "each line of the PEM has a sign of quotation before it; take it away: sed -E 's/^[>|# "
               "\\t]+//' OLD > "
               "NEW";
    case DAMAGE_DIFF:
        return "each line of the PEM has a + before it, as in a diff; take it away: sed 's/^+//' OLD > NEW";
    case DAMAGE_DASHES:
        return "a BEGIN or END line has not exactly five dashes (-----) on each side; put them there: "
               "LC_ALL=C sed -E "
               "'s/^[^A-Za-z0-9]*((BEGIN|END) [A-Z0-9 ]*[A-Z0-9])[^A-Za-z0-9]*$/-----\\1-----/' OLD > NEW";
    case DAMAGE_NO_BEGIN:
        return "there is an END line, but no BEGIN line before it: the beginning of the file is missing; "
               "copy it again";
    case DAMAGE_NONE:
        break;
    }
    return "";
}
