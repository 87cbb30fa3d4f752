// SPDX-License-Identifier: Apache-2.0
//
// Installations: this host has this version of a certificate at this place. Each host has one document for
// each certificate that it has. The certificate counts its hosts by version, so nothing that an event does
// grows with how many they are, but for the end of a certificate or of a host.
#include <stdlib.h>
#include <string.h>

#include "rules/rules_internal.h"
#include "rules/rules_table.h"

static struct cs_installed_at *at_place(struct cs_installed *in, const char *place) {
    for (size_t i = 0; i < in->len; i++)
        if (strcmp(in->at[i].place, place) == 0)
            return &in->at[i];
    return NULL;
}

static bool has_room(struct cs_judge *j, const char *place) {
    struct cs_facts *f = &j->f;
    if (!f->has_installed)
        return f->account.installations < f->account.limit_installations;
    return at_place(&f->installed, place) || f->installed.len < CS_PLACES_MAX;
}

// ---- rules

bool cs_rule_seen_version(struct cs_judge *j) {
    return j->f.seen_version != 0;
}

bool cs_rule_quota_installations(struct cs_judge *j) {
    return has_room(j, j->ev->data.installed.place);
}

// ---- counts

// One host more or less whose lowest version is this one.
static void count(struct cs_certificate *cert, int64_t version, int by) {
    if (version == cert->summary.version) {
        cert->installed += by;
        return;
    }
    for (size_t i = 0; i < cert->old_len; i++)
        if (cert->old[i].version == version) {
            cert->old[i].installed += by;
            return;
        }
    cert->older_installed += by;
    if (cert->older_installed == 0)
        cert->older_ends_s = 0;
}

static void put(struct cs_judge *j, const char *certificate) {
    cs_installed_encode(cs_judge_begin(j), &j->f.installed);
    cs_judge_put(j, cs_key_installed(CS_NEW_KEY, j->ev->account, certificate, j->f.host));
}

// The host stands in the index under its lowest version; 0: it does not.
static void move_host(struct cs_judge *j, const char *certificate, const char *host, int64_t from,
                      int64_t to) {
    const char *index = cs_key_hosts(CS_NEW_KEY, j->ev->account, certificate);
    cs_key member;
    if (from == to)
        return;
    if (from > 0)
        cs_state_remove(j->state, index, cs_member_host(member, from, host));
    if (to > 0)
        cs_state_add(j->state, index, cs_member_host(member, to, host), 0);
}

static void drop(struct cs_judge *j, const char *certificate, const char *host, int64_t lowest) {
    const char *account = j->ev->account;
    cs_state_delete(j->state, cs_key_installed(CS_NEW_KEY, account, certificate, host));
    move_host(j, certificate, host, lowest, 0);
    cs_state_remove(j->state, cs_key_installations(CS_NEW_KEY, account, host), certificate);
    j->f.account.installations--;
}

// ---- told

bool cs_installed_set(struct cs_judge *j, struct cs_certificate *cert, int64_t version, const char *place) {
    struct cs_facts *f = &j->f;
    struct cs_installed *in = &f->installed;
    struct cs_installed_at *at = f->has_installed ? at_place(in, place) : NULL;
    if ((at && at->version == version) || !has_room(j, place))
        return false;
    int64_t before = f->has_installed ? cs_installed_lowest(in) : 0;
    if (!f->has_installed)
        in->len = 0;
    if (!at) {
        at = &in->at[in->len++];
        CS_COPY(at->place, place);
    }
    at->version = version;
    at->since_ms = j->record->timestamp_ms;
    int64_t lowest = cs_installed_lowest(in);
    put(j, cert->id);
    if (!f->has_installed) {
        cs_state_add(j->state, cs_key_installations(CS_NEW_KEY, j->ev->account, f->host), cert->id, 0);
        f->account.installations++;
        cs_judge_put_account(j);
    } else if (lowest != before) {
        count(cert, before, -1);
    }
    if (lowest != before)
        count(cert, lowest, 1);
    move_host(j, cert->id, f->host, before, lowest);
    f->has_installed = true;
    return true;
}

void cs_effect_seen(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_certificate cert = j->f.cert; // owns nothing of its own
    cs_judge_tell(j, &cert.summary);
    if (cs_installed_set(j, &cert, j->f.seen_version, ev->data.installed.place))
        cs_judge_put_certificate(j, &cert);
    else
        j->ret->verdict.code = CS_CODE_UNCHANGED;
}

// The last place took the certificate along, or what keeps it.
static void end_with_last(struct cs_judge *j) {
    struct cs_verdict *v = &j->ret->verdict;
    const struct cs_certificate *cert = &j->f.cert;
    if (cs_certificate_hosts(cert) > 0)
        CS_COPY(v->detail, "It stays: it is at another place or host.");
    else if (cert->shares_len > 0)
        CS_COPY(v->detail, "It stays: it is shared. No host has it any more.");
    else {
        cs_certificate_remove(j);
        CS_COPY(v->detail, "No host has it any more: it was deleted.");
    }
}

void cs_effect_gone(struct cs_judge *j) {
    struct cs_facts *f = &j->f;
    struct cs_installed *in = &f->installed;
    struct cs_installed_at *at = f->has_installed ? at_place(in, j->ev->data.installed.place) : NULL;
    cs_judge_tell(j, &f->cert.summary);
    if (!at) {
        j->ret->verdict.code = CS_CODE_UNCHANGED;
        return;
    }
    int64_t before = cs_installed_lowest(in);
    in->len--;
    memmove(at, at + 1, (size_t)(&in->at[in->len] - at) * sizeof *at);
    int64_t lowest = cs_installed_lowest(in);
    if (in->len == 0) {
        drop(j, f->cert.id, f->host, before);
        cs_judge_put_account(j);
    } else {
        put(j, f->cert.id);
        move_host(j, f->cert.id, f->host, before, lowest);
    }
    if (lowest != before) {
        count(&f->cert, before, -1);
        if (in->len > 0)
            count(&f->cert, lowest, 1);
        cs_judge_put_certificate(j, &f->cert);
    }
    if (j->ev->data.installed.remove)
        end_with_last(j);
}

// ---- ended

#define NAME_MAX_LEN 63 // of an id, or of a host with a version

// A copy of the members' names: the list is lent only until something is written. NULL: there are none, or
// they are needed.
static char (*names_of(struct cs_judge *j, const char *index, size_t *ret_n))[NAME_MAX_LEN + 1] {
    const struct cs_member *members = NULL;
    size_t n = 0;
    enum cs_look found = cs_state_list(j->state, index, &members, &n);
    j->needed = j->needed || found == CS_NEEDED;
    *ret_n = 0;
    if (found != CS_FOUND || n == 0)
        return NULL;
    char(*names)[NAME_MAX_LEN + 1] = calloc(n, sizeof *names);
    if (!names) {
        cs_judge_fail_oom(j);
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        CS_COPY(names[i], members[i].name);
    *ret_n = n;
    return names;
}

void cs_installed_touch_certificate(struct cs_judge *j, const struct cs_certificate *cert) {
    const struct cs_member *members = NULL;
    size_t n = 0;
    if (cs_certificate_hosts(cert) > 0 &&
        cs_state_list(j->state, cs_key_hosts(CS_NEW_KEY, j->ev->account, cert->id), &members, &n) ==
            CS_NEEDED)
        j->needed = true;
}

void cs_installed_end_certificate(struct cs_judge *j, const struct cs_certificate *cert) {
    size_t n = 0;
    if (cs_certificate_hosts(cert) == 0)
        return;
    char(*hosts)[NAME_MAX_LEN + 1] = names_of(j, cs_key_hosts(CS_NEW_KEY, j->ev->account, cert->id), &n);
    for (size_t i = 0; i < n; i++) {
        long long lowest;
        const char *host = cs_member_host_read(hosts[i], &lowest);
        drop(j, cert->id, host, lowest);
    }
    free(hosts);
}

void cs_installed_touch_host(struct cs_judge *j, const char *host) {
    const char *account = j->ev->account;
    size_t n = 0;
    char(*ids)[NAME_MAX_LEN + 1] = names_of(j, cs_key_installations(CS_NEW_KEY, account, host), &n);
    for (size_t i = 0; i < n; i++) {
        struct cs_bytes value;
        (void)cs_judge_look(j, cs_key_installed(CS_NEW_KEY, account, ids[i], host), &value);
        (void)cs_judge_look(j, cs_key_cert(CS_NEW_KEY, account, ids[i]), &value);
    }
    free(ids);
}

// Of one certificate.
static void end_at(struct cs_judge *j, const char *host, const char *id) {
    struct cs_installed in;
    CS_AUTO(cs_certificate_clear) struct cs_certificate cert;
    memset(&cert, 0, sizeof cert);
    cs_key key;
    if (!cs_judge_read_installed(j, cs_key_installed(key, j->ev->account, id, host), &in) ||
        !cs_judge_read_certificate(j, cs_key_cert(key, j->ev->account, id), &cert)) {
        cs_judge_lacks(j, key);
        return;
    }
    count(&cert, cs_installed_lowest(&in), -1);
    cs_judge_put_certificate(j, &cert);
    drop(j, id, host, cs_installed_lowest(&in));
}

void cs_installed_end_host(struct cs_judge *j, const char *host) {
    size_t n = 0;
    char(*ids)[NAME_MAX_LEN + 1] = names_of(j, cs_key_installations(CS_NEW_KEY, j->ev->account, host), &n);
    for (size_t i = 0; i < n && !cs_judge_stopped(j); i++)
        end_at(j, host, ids[i]);
    free(ids);
    if (n > 0)
        cs_judge_put_account(j);
}
