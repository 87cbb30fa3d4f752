// SPDX-License-Identifier: Apache-2.0
#include "event/host_policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/runtime/log.h"
#include "event/session.h"

#define TIMEOUT_MS 2000

// The key's patterns, one a line.
static bool read_dns(const json_t *key, cs_dns_patterns ret) {
    size_t i, used = 0;
    const json_t *item;
    json_array_foreach(json_object_get(key, "dns"), i, item) {
        const char *s = json_string_value(item);
        if (!s || !cs_dns_pattern_valid(s, strlen(s)) || used + strlen(s) + 2 > sizeof(cs_dns_patterns))
            return false;
        used += (size_t)snprintf(ret + used, sizeof(cs_dns_patterns) - used, "%s%s", used ? "\n" : "", s);
    }
    return true;
}

static bool read_answer(const json_t *answer, struct cs_host_policy *ret, struct cs_err *err) {
    struct cs_host_policy p;
    memset(&p, 0, sizeof p);
    p.known = true;
    char *text = json_dumps(json_object_get(answer, "policy"), JSON_COMPACT);
    bool ok =
        text && cs_policy_decode((struct cs_bytes){(const uint8_t *)text, strlen(text)}, &p.policy, err);
    free(text);
    if (!ok || !read_dns(json_object_get(answer, "key"), p.key_dns))
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                          "the API's answer holds a policy that this release cannot read");
    *ret = p;
    return true;
}

bool cs_host_policy_get(struct cs_client *c, const char *account, struct cs_host_policy *ret,
                        struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    json_t *answer;
    cs_buf_init(&path, 1024);
    cs_client_put_account(&path, account, "/policy");
    if (!cs_buf_ok(&path, err) || !cs_client_get(c, (const char *)path.data, 0, &answer, err))
        return false;
    bool ok = read_answer(answer, ret, err);
    json_decref(answer);
    return ok;
}

enum cs_code cs_host_policy_check(const struct cs_host_policy *p, struct cs_cert *const *certs, size_t n,
                                  char detail[CS_POLICY_DETAIL_SIZE]) {
    detail[0] = '\0';
    if (!p->known)
        return CS_CODE_NONE;
    enum cs_code code = cs_policy_check_chain(&p->policy, certs, n, detail);
    if (code == CS_CODE_NONE && !cs_policy_hosts_fit(p->key_dns, cs_hosts_of_cert(certs[0]), detail))
        code = CS_CODE_POLICY_AGENT_DNS;
    return code;
}

enum cs_code cs_host_policy_check_composed(const struct cs_host_policy *p, const struct cs_composed *c,
                                           char detail[CS_POLICY_DETAIL_SIZE]) {
    enum cs_code code = CS_CODE_NONE;
    detail[0] = '\0';
    for (size_t i = 0; i < c->leaves_len && code == CS_CODE_NONE; i++)
        code = cs_host_policy_check(p, c->chains[i].certs, c->chains[i].n, detail);
    if (!c->csr || !p->known)
        return code;
    code = cs_policy_check_csr(&p->policy, c->csr, detail);
    if (code == CS_CODE_NONE && !cs_policy_hosts_fit(p->key_dns, cs_hosts_of_csr(c->csr), detail))
        code = CS_CODE_POLICY_AGENT_DNS;
    return code;
}

// The certificate that is sent lies in the catalog under its name already.
static bool is_held(struct cs_session *s, const struct cs_composed *c) {
    struct cs_err ignored;
    json_t *item;
    char hex[65];
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    cs_buf_init(&path, 4096);
    if (c->leaves_len == 0)
        return false;
    cs_client_put_account(&path, s->account, "/certificates");
    cs_client_put_segment(&path, c->event.data.upload.name);
    if (!cs_buf_ok(&path, &ignored) || !cs_client_get(s->client, (const char *)path.data, 0, &item, &ignored))
        return false;
    const json_t *leaves = json_object_get(item, "leaves");
    cs_hex_encode(c->leaves[0]->sha256, 32, hex);
    bool held = strcmp(cs_member_text(leaves ? json_array_get(leaves, 0) : item, "fingerprint"), hex) == 0;
    json_decref(item);
    return held;
}

bool cs_host_policy_ask(struct cs_session *s, struct cs_host_policy *ret, struct cs_err *err) {
    if (!s->settings->api_url[0])
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "api.url is not set");
    if (!cs_session_client(s, err))
        return false;
    bool shorter = s->settings->api_timeout_ms > TIMEOUT_MS;
    if (shorter)
        cs_client_set_timeout(s->client, TIMEOUT_MS);
    bool ok = cs_host_policy_get(s->client, s->account, ret, err);
    if (shorter)
        cs_client_set_timeout(s->client, s->settings->api_timeout_ms);
    return ok;
}

bool cs_host_policy_admits(struct cs_session *s, const struct cs_composed *c, struct cs_err *err) {
    struct cs_host_policy p = {0};
    struct cs_err why;
    char detail[CS_POLICY_DETAIL_SIZE];
    if (!cs_host_policy_ask(s, &p, &why)) {
        cs_log_err(CS_LOG_DEBUG, "the account's policy is not known here", &why, "account=%s", s->account);
        return true;
    }
    enum cs_code code = cs_host_policy_check_composed(&p, c, detail);
    if (code == CS_CODE_NONE || (code != CS_CODE_POLICY_AGENT_DNS && is_held(s, c)))
        return true;
    return cs_err_set(err, CS_ERR_REJECT, code, "%s%s%s", cs_code_sentence(code), detail[0] ? " " : "",
                      detail);
}
