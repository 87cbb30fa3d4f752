// SPDX-License-Identifier: Apache-2.0
//
// Tells the catalog which certificate is at an item's place: with an upload, or by certificate.seen where the
// catalog has it already, and by certificate.gone. What was told is remembered, so nothing is told twice.
#include <string.h>

#include "certsync/runtime/log.h"
#include "daemon/internal.h"

#define PAUSE_S 30

void engine_place_of(const struct cs_engine *e, const struct cs_item *item, cs_place ret) {
    cs_compose_place(e->session.crypto, e->session.account, item->certificate,
                     e->session.settings->places == 1, ret);
}

bool engine_told(const struct cs_engine *e, const struct cs_item *item, const struct cs_known *k) {
    return strcmp(item->told_log, e->session.log_id) == 0 && strcmp(item->told_id, k->id) == 0 &&
           memcmp(item->told_sha256, item->sha256, sizeof item->sha256) == 0;
}

bool engine_tell(struct cs_engine *e, const struct cs_item *item, enum cs_event_type type, const char *id,
                 bool remove, cs_uuid ret_event) {
    CS_AUTO(cs_composed_free) struct cs_composed *c = NULL;
    struct cs_err err;
    static const uint8_t unread[32];
    struct cs_compose compose_with = cs_session_compose(&e->session);
    if (!cs_compose_event(&compose_with, type, id, &c, &err))
        return false;
    engine_place_of(e, item, c->event.data.installed.place);
    bool known = memcmp(item->leaf, unread, sizeof unread) != 0;
    memcpy(c->event.data.installed.sha256, known ? item->leaf : item->sha256, 32);
    c->event.data.installed.remove = remove;
    if (!engine_spool(e, &(struct cs_event *){&c->event}, 1, &err))
        return false;
    memcpy(ret_event, c->event.id, sizeof(cs_uuid));
    cs_log(CS_LOG_INFO, type == CS_EVENT_CERTIFICATE_SEEN ? "seen" : "gone",
           "name=%s certificate=%s certificate_id=%s event=%s", item->name, item->certificate, id,
           c->event.id);
    return true;
}

// What was at this place before under another name, or as another entry.
static void tell_left(struct cs_engine *e, struct cs_item *item) {
    cs_uuid event;
    if (item->left_id[0] && strcmp(item->left_id, item->told_id) != 0 &&
        !engine_tell(e, item, CS_EVENT_CERTIFICATE_GONE, item->left_id, item->section->remove, event))
        return; // with the next look
    item->left_id[0] = '\0';
}

// The catalog has this certificate: it is to know that it is here. Nothing is sent twice.
void engine_tell_seen(struct cs_engine *e, struct cs_item *item, const struct cs_known *k) {
    cs_uuid event;
    if (!k->id[0])
        return;
    if (!engine_told(e, item, k)) {
        if (!engine_tell(e, item, CS_EVENT_CERTIFICATE_SEEN, k->id, false, event))
            return; // with the next listing of the catalog
        if (item->told_id[0] && strcmp(item->told_id, k->id) != 0)
            memcpy(item->left_id, item->told_id, sizeof item->left_id);
        memcpy(item->told_id, k->id, sizeof item->told_id);
        memcpy(item->told_sha256, item->sha256, sizeof item->told_sha256);
        memcpy(item->told_log, e->session.log_id, sizeof item->told_log);
    }
    tell_left(e, item);
}

bool engine_leave(struct cs_engine *e, struct cs_item *item) {
    cs_uuid event;
    bool told = item->told_id[0] && strcmp(item->told_log, e->session.log_id) == 0;
    if (told && !engine_tell(e, item, CS_EVENT_CERTIFICATE_GONE, item->told_id, false, event)) {
        engine_queue(e, item, engine_now(e) + PAUSE_S * 1000);
        return false;
    }
    engine_drop(e, item);
    return true;
}
