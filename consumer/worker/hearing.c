// SPDX-License-Identifier: Apache-2.0
#include "worker/hearing.h"

#include <stdlib.h>
#include <string.h>

// The hosts of a batch, and what the catalog knows of their keys.
struct hosts {
    struct cs_heard_host list[CS_HEARD_MAX];
    struct cs_agent agents[CS_HEARD_MAX];
    bool enrolled[CS_HEARD_MAX]; // the catalog knows the key
    size_t n;
};

static size_t host_of(struct hosts *hosts, const char *account, const char *kid) {
    size_t i = 0;
    while (i < hosts->n &&
           (strcmp(hosts->list[i].kid, kid) != 0 || strcmp(hosts->list[i].account, account) != 0))
        i++;
    if (i == hosts->n) {
        struct cs_heard_host *host = &hosts->list[hosts->n++];
        *host = (struct cs_heard_host){.known = false};
        memcpy(host->account, account, strlen(account) + 1);
        memcpy(host->kid, kid, strlen(kid) + 1);
    }
    return i;
}

// Notes what is missing. True: all is there.
static bool read_agents(struct hosts *hosts, struct cs_state *state, struct cs_err *err) {
    bool all = true;
    for (size_t i = 0; i < hosts->n; i++) {
        struct cs_bytes doc;
        enum cs_look look =
            cs_state_get(state, cs_key_agent(CS_NEW_KEY, hosts->list[i].account, hosts->list[i].kid), &doc);
        all = all && look != CS_NEEDED;
        hosts->enrolled[i] = look == CS_FOUND;
        if (look == CS_FOUND && !cs_agent_decode(doc, &hosts->agents[i], err))
            return false;
    }
    return all || cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the catalog gave less than was asked for");
}

// A load may bring only a part.
static bool load_agents(const struct cs_hearing *h, int32_t partition, struct hosts *hosts,
                        struct cs_err *err) {
    CS_AUTO(cs_state_free) struct cs_state *state = NULL;
    struct cs_position ignored;
    const struct cs_needed *needed;
    if (!cs_state_new(false, &state, err))
        return false;
    bool all = read_agents(hosts, state, err);
    for (size_t i = 0; !all && i <= hosts->n && cs_state_needed(state, &needed) > 0; i++) {
        if (!cs_catalog_load(h->catalog, partition, state, &ignored, err))
            return false;
        all = read_agents(hosts, state, err);
    }
    return all;
}

static enum cs_heartbeat_end judge(const struct cs_hearing *h, const struct cs_hearing_record *r,
                                   const struct hosts *hosts) {
    const struct cs_agent *agent = hosts->enrolled[r->host] ? &hosts->agents[r->host] : NULL;
    const struct cs_heard_host *host = &hosts->list[r->host];
    enum cs_heartbeat_end end = cs_heartbeat_may(agent, r->record.timestamp_ms);
    if (end != CS_HEARTBEAT_TAKEN)
        return end;
    if (host->known && r->read.heartbeat.seq <= host->heard.seq)
        return CS_HEARTBEAT_OLD;
    cs_key_cache_learn(h->keys, host->kid, (struct cs_bytes){agent->key.data, agent->key.len});
    const struct cs_pubkey *key = cs_key_cache_lookup(h->keys, host->account, host->kid);
    bool good = key && cs_event_verify(h->crypto, key, r->record.value,
                                       (struct cs_bytes){r->read.sig, r->read.sig_len});
    return good ? CS_HEARTBEAT_TAKEN : CS_HEARTBEAT_BAD_SIGNATURE;
}

static bool take(const struct cs_hearing *h, int32_t partition, struct cs_hearing_record *records, size_t n,
                 struct hosts *hosts, bool *ret_catalog, struct cs_err *err) {
    bool heard[CS_HEARD_MAX] = {false};
    *ret_catalog = true;
    if (!load_agents(h, partition, hosts, err))
        return false;
    *ret_catalog = false;
    if (!cs_heard_read(h->store, partition, hosts->list, hosts->n, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct cs_hearing_record *r = &records[i];
        if (r->end != CS_HEARTBEAT_TAKEN || (r->end = judge(h, r, hosts)) != CS_HEARTBEAT_TAKEN)
            continue;
        struct cs_heard_host *host = &hosts->list[r->host];
        host->known = heard[r->host] = true;
        host->heard =
            (struct cs_heard){r->record.timestamp_ms, r->read.heartbeat.seq, r->read.heartbeat.host};
    }
    for (size_t i = 0; i < hosts->n; i++)
        hosts->list[i].known = heard[i];
    return cs_heard_write(h->store, partition, hosts->list, hosts->n, err);
}

bool cs_hearing_take(const struct cs_hearing *h, int32_t partition, struct cs_hearing_record *records,
                     size_t n, bool *ret_catalog, struct cs_err *err) {
    struct hosts *hosts = calloc(1, sizeof *hosts);
    *ret_catalog = false;
    if (!hosts)
        return cs_err_oom(err);
    for (size_t i = 0; i < n; i++) {
        struct cs_hearing_record *r = &records[i];
        r->end = r->sender_time ? CS_HEARTBEAT_SENDER_TIME
                                : cs_heartbeat_read(&r->record, h->log_id, h->partition_count, &r->read);
        if (r->end == CS_HEARTBEAT_TAKEN)
            r->host = host_of(hosts, r->read.heartbeat.account, r->read.heartbeat.kid);
    }
    bool ok = hosts->n == 0 || take(h, partition, records, n, hosts, ret_catalog, err);
    free(hosts);
    return ok;
}

// --- hosts whose keys have ended

static bool forget_ended(const struct cs_hearing *h, int32_t partition, const struct hosts *hosts,
                         size_t *ret_gone, struct cs_err *err) {
    struct cs_heard_host gone[CS_HEARD_MAX];
    size_t n = 0;
    for (size_t i = 0; i < hosts->n; i++)
        if (!hosts->enrolled[i] || hosts->agents[i].state != CS_AGENT_ENROLLED)
            gone[n++] = hosts->list[i];
    *ret_gone += n;
    return cs_heard_forget(h->store, partition, gone, n, err);
}

bool cs_hearing_review(const struct cs_hearing *h, int32_t partition, size_t *at, bool *ret_catalog,
                       struct cs_err *err) {
    struct hosts *hosts = calloc(1, sizeof *hosts);
    size_t listed = 0, gone = 0;
    *ret_catalog = false;
    if (!hosts)
        return cs_err_oom(err);
    bool ok = cs_heard_list(h->store, partition, *at, hosts->list, &hosts->n, &listed, &gone, err);
    if (ok && hosts->n > 0) {
        *ret_catalog = true;
        ok = load_agents(h, partition, hosts, err);
        *ret_catalog = *ret_catalog && !ok;
        ok = ok && forget_ended(h, partition, hosts, &gone, err);
    }
    if (ok)
        *at = listed < CS_HEARD_MAX ? 0 : *at + listed - gone;
    free(hosts);
    return ok;
}
