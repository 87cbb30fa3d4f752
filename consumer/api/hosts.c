// SPDX-License-Identifier: Apache-2.0
//
// GET …/certificates/{id}/hosts: which hosts have an own certificate, where, and which version. Those that
// are behind come first. {id} is the certificate's id or its name.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "catalog/heard.h"
#include "certsync/base/json_write.h"

struct host {
    cs_kid kid; // of the installations: the first of its line
    cs_kid now; // the key that it has now
    bool behind;
    struct cs_installed installed;
    char label[CS_NAME_MAX + 1];
};

struct hosts {
    bool by_name;
    cs_uuid id;
    int64_t version; // the present one
    struct api_page page;
    int64_t left; // items that the page still has room for
    bool exhausted;
    size_t n;
    struct host chunk[API_DOCS_MAX / 2]; // two documents of each
    struct cs_buf json;
};

static void hosts_free(void *state) {
    struct hosts *h = state;
    cs_buf_clear(&h->json);
    free(h);
}

static void on_index(struct api_call *call, const redisReply *reply);

static int64_t chunk_size(const struct hosts *h) {
    int64_t most = CS_ARRAY_LEN(h->chunk);
    return h->left < most ? h->left : most;
}

static void next_step(struct api_call *call, struct hosts *h) {
    if (h->exhausted || h->left <= 0 || h->json.len > API_PAGE_BYTES) {
        cs_json_end(&h->json, ']');
        if (!h->exhausted)
            api_page_put_next(&h->json, call, API_CURSOR_HOSTS, &h->page);
        cs_json_end(&h->json, '}');
        api_answer(call, &h->json);
        return;
    }
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, 4096);
    // One more than needed shows whether there is a next page.
    api_page_put_lex_of(&command, call, &h->page, cs_key_hosts(CS_NEW_KEY, call->account, h->id), "",
                        chunk_size(h) + 1);
    api_ask(call, &command, on_index);
}

static void put_host(struct cs_buf *json, const struct host *host, const struct cs_heard *heard) {
    cs_json_begin(json, '{');
    cs_json_str(json, "kid", host->now);
    cs_json_str(json, "label", host->label);
    cs_json_int(json, "version", cs_installed_lowest(&host->installed));
    cs_json_bool(json, "behind", host->behind);
    if (heard)
        api_put_time_ms(json, "heard", heard->at_ms);
    cs_json_name(json, "places");
    cs_json_begin(json, '[');
    for (size_t i = 0; i < host->installed.len; i++) {
        const struct cs_installed_at *at = &host->installed.at[i];
        cs_json_begin(json, '{');
        cs_json_str(json, "place", at->place);
        cs_json_int(json, "version", at->version);
        api_put_time_ms(json, "since", at->since_ms);
        cs_json_end(json, '}');
    }
    cs_json_end(json, ']');
    cs_json_end(json, '}');
}

static void on_heard(struct api_call *call, const redisReply *reply) {
    struct hosts *h = call->state;
    for (size_t i = 0; i < h->n; i++) {
        struct cs_heard heard;
        bool known =
            i < api_elements(reply) && cs_heard_take(call->api->authentic, call->partition, call->account,
                                                     h->chunk[i].now, api_bytes(reply->element[i]), &heard);
        put_host(&h->json, &h->chunk[i], known ? &heard : NULL);
    }
    h->left -= (int64_t)h->n;
    next_step(call, h);
}

static void ask_heard(struct api_call *call, const struct hosts *h) {
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, API_COMMAND_MAX);
    cs_redis_put(&command, h->n + 1);
    cs_redis_put_text(&command, "MGET");
    for (size_t i = 0; i < h->n; i++)
        api_put_key_of(&command, call->api, call->partition, 0,
                       cs_heard_key(CS_NEW_KEY, call->account, h->chunk[i].now));
    api_ask_beside(call, &command, on_heard);
}

// An installation that went since the index was read is left out.
static void on_documents(struct api_call *call, const redisReply *reply) {
    struct hosts *h = call->state;
    struct cs_err err;
    size_t kept = 0;
    for (size_t i = 0; i < h->n && 2 * i + 1 < api_elements(reply); i++) {
        struct host host = h->chunk[i];
        struct cs_bytes doc = api_bytes(reply->element[2 * i]), key = api_bytes(reply->element[2 * i + 1]);
        struct cs_agent agent = {.label = ""};
        if (!doc.data)
            continue;
        if (!cs_installed_decode(doc, &host.installed, &err) ||
            (key.data && !cs_agent_decode(key, &agent, &err))) {
            api_unreadable(call, &err);
            return;
        }
        memcpy(host.label, agent.label, sizeof host.label);
        memcpy(host.now, agent.latest[0] ? agent.latest : host.kid, sizeof host.now);
        host.behind = cs_installed_lowest(&host.installed) < h->version;
        h->chunk[kept++] = host;
    }
    h->n = kept;
    if (kept > 0)
        ask_heard(call, h);
    else
        next_step(call, h);
}

static void on_index(struct api_call *call, const redisReply *reply) {
    struct hosts *h = call->state;
    size_t n = api_elements(reply), take = (size_t)chunk_size(h);
    h->exhausted = n <= take;
    h->n = n < take ? n : take;
    if (h->n == 0) {
        next_step(call, h);
        return;
    }
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, API_COMMAND_MAX);
    cs_redis_put(&command, 2 * h->n + 1);
    cs_redis_put_text(&command, "MGET");
    for (size_t i = 0; i < h->n; i++) {
        long long version;
        const char *member = reply->element[i]->str;
        snprintf(h->chunk[i].kid, sizeof h->chunk[i].kid, "%s", cs_member_host_read(member, &version));
        snprintf(h->page.member, sizeof h->page.member, "%s", member);
        api_put_key(&command, call, call->partition,
                    cs_key_installed(CS_NEW_KEY, call->account, h->id, h->chunk[i].kid));
        api_put_key(&command, call, call->partition,
                    cs_key_agent(CS_NEW_KEY, call->account, h->chunk[i].kid));
    }
    h->page.has_cursor = true;
    api_ask(call, &command, on_documents);
}

static void ask_name(struct api_call *call);

static void on_certificate(struct api_call *call, const redisReply *reply) {
    struct hosts *h = call->state;
    CS_AUTO(cs_certificate_clear) struct cs_certificate cert = {0};
    struct cs_bytes doc = api_bytes(reply);
    struct cs_err err;
    if (doc.data && !cs_certificate_decode(doc, &cert, &err)) {
        api_unreadable(call, &err);
        return;
    }
    if (!doc.data || cert.deleted) {
        if (h->by_name)
            api_not_found(call, CS_CODE_CERTIFICATE_NOT_FOUND);
        else
            ask_name(call); // a name may look like an id
        return;
    }
    h->version = cert.summary.version;
    cs_json_begin(&h->json, '{');
    cs_json_int(&h->json, "version", h->version);
    cs_json_int(&h->json, "hosts_total", cs_certificate_hosts(&cert));
    cs_json_int(&h->json, "hosts_behind", cs_certificate_behind(&cert));
    cs_json_name(&h->json, "hosts");
    cs_json_begin(&h->json, '[');
    next_step(call, h);
}

// The id as a JSON string; ids need no escapes.
static void on_name(struct api_call *call, const redisReply *reply) {
    struct hosts *h = call->state;
    struct cs_bytes doc = api_bytes(reply);
    if (!doc.data || doc.len != CS_UUID_LEN + 2 || !cs_uuid_valid((const char *)doc.data + 1, CS_UUID_LEN)) {
        api_not_found(call, CS_CODE_CERTIFICATE_NOT_FOUND);
        return;
    }
    memcpy(h->id, doc.data + 1, CS_UUID_LEN);
    h->id[CS_UUID_LEN] = '\0';
    api_ask_key(call, on_certificate, cs_key_cert(CS_NEW_KEY, call->account, h->id));
}

static void ask_name(struct api_call *call) {
    struct hosts *h = call->state;
    const char *name = cs_http_param(call->req, "id");
    h->by_name = true;
    if (cs_name_valid(name, strlen(name), CS_ALGORITHM_INTERNATIONAL))
        api_ask_key(call, on_name, cs_key_name(CS_NEW_KEY, call->account, name));
    else
        api_not_found(call, CS_CODE_CERTIFICATE_NOT_FOUND);
}

void api_hosts(struct api_call *call, const redisReply *reply) {
    const char *wanted = cs_http_param(call->req, "id");
    struct hosts *h = calloc(1, sizeof *h);
    (void)reply;
    if (!h) {
        api_problem(call, 500, NULL, "%s", "The server is out of memory.");
        return;
    }
    call->state = h;
    call->state_free = hosts_free;
    cs_buf_init(&h->json, API_BODY_MAX);
    if (!api_page_read(call, API_CURSOR_HOSTS, &h->page))
        return;
    h->left = h->page.limit;
    if (!cs_uuid_valid(wanted, strlen(wanted))) {
        ask_name(call);
        return;
    }
    memcpy(h->id, wanted, sizeof h->id);
    api_ask_key(call, on_certificate, cs_key_cert(CS_NEW_KEY, call->account, h->id));
}
