// SPDX-License-Identifier: Apache-2.0
// What the account's policy, and the patterns of this host's key, say of the certificates here. The API
// tells it when the catalog is listed, and every five minutes. Where it is not known, nothing is held back.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/model/pem.h"
#include "certsync/runtime/log.h"
#include "daemon/internal.h"

struct posted {
    struct cs_daemon *daemon;
    unsigned generation;
    struct cs_host_policy policy;
};

bool engine_is_policy(enum cs_code code) {
    return code == CS_CODE_POLICY_KEY || code == CS_CODE_POLICY_LIFETIME || code == CS_CODE_POLICY_ISSUER ||
           code == CS_CODE_POLICY_DNS || code == CS_CODE_POLICY_WILDCARD || code == CS_CODE_POLICY_AGENT_DNS;
}

static bool demands_nothing(const struct cs_host_policy *p) {
    return cs_policy_is_empty(&p->policy) && p->key_dns[0] == '\0';
}

// What was refused by it may fit now; what is registered may not fit any more. So both are judged again.
static void take(struct cs_engine *e, const struct cs_host_policy *now) {
    bool first = !e->policy.known;
    if (!first && cs_policy_equal(&e->policy.policy, &now->policy) &&
        strcmp(e->policy.key_dns, now->key_dns) == 0)
        return;
    e->policy = *now;
    e->changed = true;
    cs_log(first && demands_nothing(now) ? CS_LOG_DEBUG : CS_LOG_INFO, "policy of the account",
           "account=%s demands=%s", e->session.account, demands_nothing(now) ? "nothing" : "something");
    for (size_t i = 0; i < e->reg.n; i++) {
        struct cs_item *item = e->reg.items[i];
        bool by_policy = engine_is_policy(item->code);
        if (!by_policy && (item->state != CS_ITEM_REGISTERED || (first && demands_nothing(now))))
            continue;
        item->stamp = 0;
        item->content = by_policy ? 0 : item->content;
        if (item->section)
            engine_queue(e, item, engine_now(e));
    }
}

static void deliver(void *arg) {
    struct posted *p = arg;
    struct cs_engine *e = p->daemon->engine;
    if (e && p->generation == e->generation) {
        take(e, &p->policy);
        engine_arm(e);
    }
    free(p);
}

void engine_on_policy(void *arg, const struct cs_host_policy *policy) {
    struct cs_engine *e = arg;
    struct posted *p = calloc(1, sizeof *p);
    if (!p) {
        cs_log_msg(CS_LOG_ERROR, "out of memory"); // it is asked for again
        return;
    }
    p->daemon = e->daemon;
    p->generation = e->generation;
    p->policy = *policy;
    if (!cs_loop_post(p->daemon->loop, deliver, p))
        free(p);
}

bool engine_policy_admits(const struct cs_engine *e, const struct cs_composed *c, struct cs_err *err) {
    char detail[CS_POLICY_DETAIL_SIZE];
    enum cs_code code = cs_host_policy_check_composed(&e->policy, c, detail);
    return code == CS_CODE_NONE || cs_err_set(err, CS_ERR_REJECT, code, "%s%s%s", cs_code_sentence(code),
                                              detail[0] ? " " : "", detail);
}

// The leaf comes first, as cs_host_policy_check wants it. The order of the rest does not matter.
static void leaf_first(struct cs_cert **certs, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!certs[i]->is_ca) {
            struct cs_cert *leaf = certs[i];
            certs[i] = certs[0];
            certs[0] = leaf;
            return;
        }
}

void engine_policy_note(struct cs_engine *e, struct cs_item *item, const struct cs_keyed_source *src) {
    char detail[CS_POLICY_DETAIL_SIZE];
    struct cs_err ignored;
    struct cs_cert *all[2 * CS_CHAIN_MAX], **certs, **more = NULL;
    size_t n, more_len = 0;
    if (!e->policy.known || item->policy != CS_CODE_NONE ||
        !cs_pem_certs(e->session.crypto, src->cert.label, src->cert.bytes, &certs, &n, &ignored))
        return;
    if (src->chain.bytes.data &&
        !cs_pem_certs(e->session.crypto, src->chain.label, src->chain.bytes, &more, &more_len, &ignored))
        more_len = 0;
    if (n <= CS_CHAIN_MAX && more_len <= CS_CHAIN_MAX) {
        memcpy(all, certs, n * sizeof(struct cs_cert *));
        if (more_len > 0)
            memcpy(all + n, more, more_len * sizeof(struct cs_cert *));
        leaf_first(all, n + more_len);
        item->policy = cs_host_policy_check(&e->policy, all, n + more_len, detail);
        snprintf(item->policy_detail, sizeof item->policy_detail, "%s", detail);
    }
    if (item->policy != CS_CODE_NONE)
        cs_log(CS_LOG_WARN, "registered, but the policy would refuse it now: its renewal must fit",
               "name=%s code=%s detail=%s", item->name, cs_code_name(item->policy), detail);
    cs_certs_free(certs, n);
    if (more_len > 0)
        cs_certs_free(more, more_len);
}
