// SPDX-License-Identifier: Apache-2.0
// What a person must know: certsync status shows it as wrong, and heartbeats count it as failed.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "certsync/base/text.h"
#include "daemon/internal.h"

#define UNJUDGED_MS 600000 // an outcome that takes longer is overdue

static const char *since_text(int64_t ms, char out[CS_TIME_TEXT_SIZE]) {
    cs_time_format(ms / 1000, out);
    return out;
}

static bool overdue(const struct cs_engine *e, const struct cs_item *item, struct cs_fault *ret) {
    char since[CS_TIME_TEXT_SIZE];
    if (!e->outcome_poller || engine_wall(e) - item->since_ms < UNJUDGED_MS)
        return false;
    snprintf(ret->message, sizeof ret->message,
             "its event was made at %s and its outcome is not known yet; see above whether Kafka and the API "
             "answer, "
             "and whether the consumers are behind",
             since_text(item->since_ms, since));
    return true;
}

static bool expired(const struct cs_engine *e, const struct cs_item *item, struct cs_fault *ret) {
    char end[CS_TIME_TEXT_SIZE];
    int64_t now_s = engine_wall(e) / 1000, ends_s = cs_item_ends(item);
    if (ends_s == 0 || ends_s > now_s)
        return false;
    ret->state = "expired";
    if (item->not_after_s <= now_s) {
        ret->code = CS_CODE_CERT_EXPIRED;
        snprintf(ret->message, sizeof ret->message, "%s: it expired at %s and was not renewed",
                 item->certificate, since_text(item->not_after_s * 1000, end));
        return true;
    }
    ret->code = CS_CODE_CHAIN_EXPIRED;
    snprintf(
        ret->message, sizeof ret->message,
        "%s: a CA certificate of its chain, as the catalog has it, expired at %s; renew the certificate, or "
        "send it with the CA's current chain: certsync upload %s --replace --force",
        item->certificate, since_text(ends_s * 1000, end), item->name);
    return true;
}

// Nothing is wrong; but who looks for the name must know.
static bool has_other_name(const struct cs_item *item, struct cs_fault *ret) {
    if (strcmp(item->name, item->given) == 0)
        return false;
    ret->passing = true;
    snprintf(ret->message, sizeof ret->message,
             "another host has a certificate of the name \"%s\": it is registered as \"%s\"", item->given,
             item->name);
    return true;
}

bool engine_fault(const struct cs_engine *e, const struct cs_item *item, struct cs_fault *ret) {
    ret->state = cs_item_state_name(item->state);
    ret->code = item->code;
    ret->passing = false;
    snprintf(ret->message, sizeof ret->message, "%s", item->message ? item->message : "");
    switch (item->state) {
    case CS_ITEM_WAITING:
    case CS_ITEM_BLOCKED:
        ret->passing = true;
        return true;
    case CS_ITEM_OLDER:
    case CS_ITEM_REFUSED:
    case CS_ITEM_REJECTED:
        return true;
    case CS_ITEM_DELETED:
        ret->passing = true;
        return true;
    case CS_ITEM_REGISTERED:
        return expired(e, item, ret) || has_other_name(item, ret);
    case CS_ITEM_SENT:
        return expired(e, item, ret) || overdue(e, item, ret);
    case CS_ITEM_DELETING:
        return overdue(e, item, ret);
    case CS_ITEM_NEW:
        break;
    }
    return false;
}

bool engine_chain_ended(const struct cs_engine *e) {
    struct cs_fault fault;
    for (size_t i = 0; i < e->reg.n; i++)
        if (e->reg.items[i]->section && engine_fault(e, e->reg.items[i], &fault) &&
            fault.code == CS_CODE_CHAIN_EXPIRED)
            return true;
    return false;
}

size_t engine_failed(const struct cs_engine *e) {
    struct cs_fault fault;
    size_t failed = 0;
    for (size_t i = 0; i < e->reg.n; i++)
        failed += e->reg.items[i]->section && engine_fault(e, e->reg.items[i], &fault) && !fault.passing;
    for (size_t i = 0; i < e->sections.n; i++)
        failed += e->findings[i].n;
    return failed;
}

static void put(json_t *all, const char *what, const char *message) {
    json_array_append_new(all, json_pack("{s:s, s:s%}", "what", what, "message", message, strlen(message)));
}

static void put_spool(const struct cs_engine *e, json_t *all) {
    struct cs_err err;
    char text[160];
    size_t n = 0;
    if (e->blocked[0])
        put(all, "spool", e->blocked);
    if (e->outcome_poller && e->unjudged_seq > 0 && engine_now(e) > e->unjudged_ms + UNJUDGED_MS)
        put(all, "spool",
            "events are published since long, and their outcome is not known: the consumers are stopped or "
            "behind, or "
            "the API does not answer");
    if (!cs_spool_quarantined(e->spool, &n, &err))
        put(all, "spool", err.msg);
    if (n == 0)
        return;
    snprintf(text, sizeof text,
             "%zu damaged files are in its quarantine: do again what they were for, then remove them", n);
    put(all, "spool", text);
}

static void put_link(const struct cs_link *link, const char *what, json_t *all) {
    if (link->tried && !link->ok)
        put(all, what, link->error);
}

static void put_threads(const struct cs_engine *e, json_t *all) {
    const struct {
        const char *name;
        int64_t overdue_ms;
    } threads[] = {
        {"sender", cs_sender_overdue_ms(e->sender)},
        {"outcome poller", e->outcome_poller ? cs_outcome_poller_overdue_ms(e->outcome_poller) : 0}};
    for (size_t i = 0; i < CS_ARRAY_LEN(threads); i++) {
        char text[200];
        if (threads[i].overdue_ms == 0)
            continue;
        snprintf(text, sizeof text,
                 "its thread %s has hung for %" PRId64 " s; restart it: systemctl restart certsync-agent",
                 threads[i].name, threads[i].overdue_ms / 1000);
        put(all, "agent", text);
    }
}

json_t *engine_attention(const struct cs_engine *e) {
    char text[CS_ERR_MSG_MAX + 160];
    json_t *all = json_array();
    if (e->sections.n == 0)
        put(all, "settings", "there is no [watch NAME] section: no file is watched; add one to the settings");
    if (e->daemon->reload_refused[0]) {
        snprintf(text, sizeof text, "they were not read again, and the old ones are in use: %s",
                 e->daemon->reload_refused);
        put(all, "settings", text);
    }
    put_threads(e, all);
    if (e->session.foreign_log[0])
        put(all, "log", e->session.foreign_log);
    put_link(&e->last_kafka, "kafka", all);
    if (e->outcome_poller)
        put_link(&e->last_api, "api", all);
    put_spool(e, all);
    if (e->last_beat.error[0])
        put(all, "heartbeat", e->last_beat.error);
    if (e->unwatched[0])
        put(all, "watching", e->unwatched);
    if (e->reg.write_failed)
        put(all, "register", "what the agent remembers of the files cannot be written; look at its disk");
    if (e->daemon->replayed_times > 0)
        put(all, "key",
            "numbers of this host's key were used elsewhere: this host was restored from a copy, or its key "
            "is on "
            "another host, too");
    return all;
}
