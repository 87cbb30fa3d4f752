// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text;
    size_t len;
} kinds[] = {
#define ROW(name, text) [CS_KIND_##name] = {text, sizeof(text) - 1},
    CS_KINDS(ROW)
#undef ROW
};

const char *cs_kind_text(enum cs_kind kind) {
    return kinds[kind].text;
}

bool cs_key_is(const char *key, enum cs_kind kind) {
    size_t len = kinds[kind].len;
    return key[0] == kinds[kind].text[0] && strncmp(key, kinds[kind].text, len) == 0 &&
           (key[len] == '/' || key[len] == '\0');
}

static const char *join(cs_key ret, const char *const parts[4]) {
    size_t at = 0;
    for (size_t i = 0; i < 4 && parts[i]; i++) {
        size_t len = strlen(parts[i]);
        if (i > 0 && at < CS_STATE_KEY_MAX)
            ret[at++] = '/';
        if (len > CS_STATE_KEY_MAX - at)
            len = CS_STATE_KEY_MAX - at;
        memcpy(ret + at, parts[i], len);
        at += len;
    }
    ret[at] = '\0';
    return ret;
}

const char *cs_key_make(cs_key ret, enum cs_kind kind, const char *a, const char *b, const char *c) {
    return join(ret, (const char *const[4]){kinds[kind].text, a, b, c});
}

const char *cs_member_pair(cs_key ret, const char *a, const char *b) {
    return join(ret, (const char *const[4]){a, b});
}

const char *cs_member_host(cs_key ret, long long version, const char *host) {
    char number[24];
    snprintf(number, sizeof number, "%010lld", version);
    return cs_member_pair(ret, number, host);
}

const char *cs_member_host_read(const char *member, long long *ret_version) {
    const char *slash = strchr(member, '/');
    *ret_version = strtoll(member, NULL, 10);
    return slash ? slash + 1 : member;
}

#define AWAITED "/awaited"

static bool is_awaited(const char *member) {
    size_t len = strlen(member), end = sizeof AWAITED - 1;
    return len > end && strcmp(member + len - end, AWAITED) == 0;
}

const char *cs_member_outcome(cs_key ret, const char *event, enum cs_outcome_place place) {
    static const char *const after[] = {
        [CS_OUTCOME_OWN] = NULL, [CS_OUTCOME_AGAIN] = "again", [CS_OUTCOME_AWAITED] = &AWAITED[1]};
    return join(ret, (const char *const[4]){event, after[place]});
}

const char *cs_member_outcome_read(cs_key ret, const char *member) {
    join(ret, (const char *const[4]){member});
    if (is_awaited(member))
        ret[strlen(member) - (sizeof AWAITED - 1)] = '\0';
    return ret;
}

const char *cs_key_of_trimmed(cs_key ret, const char *index, const char *member) {
    if (!cs_key_is(index, CS_KIND_OUTCOMES) || is_awaited(member))
        return NULL;
    return cs_key_outcome(ret, index + kinds[CS_KIND_OUTCOMES].len + 1, member);
}

const char *cs_member_share(cs_key ret, bool out, const char *id) {
    return cs_member_pair(ret, out ? "out" : "in", id);
}

const char *cs_member_share_read(const char *member, bool *ret_out) {
    const char *slash = strchr(member, '/');
    *ret_out = strncmp(member, "out/", 4) == 0;
    return slash ? slash + 1 : "";
}

const char *cs_member_view(cs_key ret, const char *name, const char *owner_or_null, const char *id) {
    return owner_or_null ? join(ret, (const char *const[4]){name, "s", owner_or_null, id})
                         : join(ret, (const char *const[4]){name, "c", id});
}
