// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "api/internal.h"
#include "certsync/base/json_write.h"
#include "certsync/base/text.h"

#define DAY_S 86400

static const char *const status_names[] = {"valid", "expiring", "expired", "not-yet-valid"};

const char *api_status_name(enum api_status s) {
    return status_names[s - 1];
}

bool api_status_parse(const char *s, enum api_status *ret) {
    for (unsigned i = 0; i < CS_ARRAY_LEN(status_names); i++)
        if (strcmp(s, status_names[i]) == 0) {
            *ret = (enum api_status)(i + 1);
            return true;
        }
    return false;
}

void api_item_of_own(const struct cs_certificate *cert, struct api_item *ret) {
    *ret = (struct api_item){.summary = &cert->summary,
                             .id = cert->id,
                             .by = cert->by,
                             .created_ms = cert->created_ms,
                             .updated_ms = cert->updated_ms,
                             .shares_total = cert->shares_len,
                             .own = cert};
}

void api_item_of_shared(const struct cs_shared_in *in, struct api_item *ret) {
    *ret = (struct api_item){.summary = &in->summary,
                             .id = in->certificate,
                             .owner_account = in->owner_account,
                             .share = in->share,
                             .created_ms = in->created_ms,
                             .updated_ms = in->updated_ms};
}

// Whole days, rounded down: 0 on the last day, negative after the end.
static int64_t days_left(int64_t ends_s, int64_t now_s) {
    int64_t left = ends_s - now_s;
    return left >= 0 ? left / DAY_S : -((-left + DAY_S - 1) / DAY_S);
}

void api_put_time_s(struct cs_buf *json, const char *name, int64_t time_s) {
    char text[CS_TIME_TEXT_SIZE];
    cs_time_format(time_s, text);
    cs_json_str(json, name, text);
}

void api_put_time_ms(struct cs_buf *json, const char *name, int64_t time_ms) {
    api_put_time_s(json, name, time_ms / 1000);
}

void api_put_names(struct cs_buf *json, const char *name, char *const *names, size_t n) {
    cs_json_name(json, name);
    cs_json_begin(json, '[');
    for (size_t i = 0; i < n; i++)
        cs_json_put_str(json, names[i]);
    cs_json_end(json, ']');
}

void api_put_can(struct cs_buf *json, const char *name, unsigned can) {
    cs_json_name(json, name);
    cs_json_begin(json, '[');
    for (unsigned bit = 1; bit <= CS_CAN_ALL; bit <<= 1)
        if (can & bit)
            cs_json_put_str(json, cs_can_name(bit));
    cs_json_end(json, ']');
}

static void put_hex(struct cs_buf *json, const char *name, const uint8_t *data, size_t len) {
    cs_json_name(json, name);
    cs_json_put_hex(json, (struct cs_bytes){data, len});
}

// One list for each part: the leaf first.
static void put_chains(struct cs_buf *json, const struct cs_api *api, const struct cs_material *m) {
    cs_json_name(json, "chain");
    cs_json_begin(json, '[');
    for (size_t i = 0; i < m->len; i++) {
        cs_json_begin(json, '[');
        cs_json_put_strn(json, (const char *)m->part[i].leaf.data, m->part[i].leaf.len);
        for (size_t k = 0; k < m->part[i].issuers_len; k++) {
            struct cs_bytes issuer = api_issuer(api, m->part[i].issuers[k]);
            cs_json_put_strn(json, (const char *)issuer.data, issuer.len);
        }
        cs_json_end(json, ']');
    }
    cs_json_end(json, ']');
}

static void put_leaf(struct cs_buf *json, const struct cs_leaf *leaf) {
    api_put_names(json, "names", leaf->names, leaf->names_len);
    cs_json_int(json, "names_total", (int64_t)leaf->names_total);
    cs_json_str(json, "serial", leaf->serial);
    put_hex(json, "fingerprint", leaf->sha256, sizeof leaf->sha256);
    put_hex(json, "spki_sha256", leaf->spki_sha256, sizeof leaf->spki_sha256);
    cs_json_str(json, "key_type", cs_key_type_name(leaf->key_type));
    cs_json_int(json, "key_bits", leaf->key_bits);
    cs_json_str(json, "subject", leaf->subject ? leaf->subject : "");
    cs_json_str(json, "issuer", leaf->issuer ? leaf->issuer : "");
}

static void put_notes(struct cs_buf *json, uint32_t notes) {
    cs_json_name(json, "notes");
    cs_json_begin(json, '[');
    for (unsigned i = 0; i < CS_NOTE_COUNT; i++)
        if (notes >> i & 1)
            cs_json_put_str(json, cs_code_name(cs_note_code(i)));
    cs_json_end(json, ']');
}

static void put_pair(struct cs_buf *json, const struct cs_cert_summary *s) {
    static const char *const uses[] = {"sign", "encrypt"};
    cs_json_name(json, "leaves");
    cs_json_begin(json, '[');
    for (size_t i = 0; i < s->leaves_len && i < CS_ARRAY_LEN(uses); i++) {
        cs_json_begin(json, '{');
        cs_json_str(json, "use", uses[i]);
        api_put_time_s(json, "not_before", s->leaves[i].not_before_s);
        api_put_time_s(json, "not_after", s->leaves[i].not_after_s);
        put_leaf(json, &s->leaves[i]);
        cs_json_end(json, '}');
    }
    cs_json_end(json, ']');
}

static void put_old_versions(struct cs_buf *json, const struct cs_certificate *cert) {
    cs_json_name(json, "old_versions");
    cs_json_begin(json, '[');
    for (size_t i = 0; i < cert->old_len; i++) {
        cs_json_begin(json, '{');
        cs_json_int(json, "version", cert->old[i].version);
        cs_json_str(json, "serial", cert->old[i].serial);
        put_hex(json, "fingerprint", cert->old[i].sha256, sizeof cert->old[i].sha256);
        api_put_time_s(json, "not_after", cert->old[i].not_after_s);
        if (cert->old[i].installed > 0)
            cs_json_int(json, "hosts", cert->old[i].installed);
        cs_json_end(json, '}');
    }
    cs_json_end(json, ']');
}

// On how many hosts it is, and until when what is in use lasts: hosts that are behind may end before it.
static void put_hosts(struct cs_buf *json, const struct cs_certificate *cert) {
    cs_json_int(json, "hosts_total", cs_certificate_hosts(cert));
    cs_json_int(json, "hosts_behind", cs_certificate_behind(cert));
    api_put_time_s(json, "ends_in_use", cs_certificate_ends_in_use(cert));
}

static void put_origin(struct cs_buf *json, const struct api_item *item) {
    bool shared = item->owner_account != NULL;
    cs_json_str(json, "source",
                shared ? cs_source_name(CS_SOURCE_SHARED) : cs_source_name(item->summary->source));
    if (!shared)
        return;
    cs_json_str(json, "owner_account", item->owner_account);
    cs_json_str(json, "owner_source", cs_source_name(item->summary->source));
    cs_json_str(json, "share", item->share);
}

void api_item_put(struct cs_buf *json, const struct api_item *item, int64_t now_s, int64_t within_s) {
    const struct cs_cert_summary *s = item->summary;
    cs_json_str(json, "id", item->id);
    cs_json_str(json, "name", s->name);
    cs_json_str(json, "algorithm", cs_algorithm_name(s->algorithm));
    put_origin(json, item);
    cs_json_int(json, "version", s->version);
    cs_json_str(json, "status", api_status_name(api_status_of(s, now_s, within_s)));
    cs_json_int(json, "days_left", days_left(cs_summary_ends(s), now_s));
    api_put_time_s(json, "not_before", api_starts(s));
    api_put_time_s(json, "not_after", cs_summary_not_after(s));
    api_put_time_s(json, "ends", cs_summary_ends(s));
    put_leaf(json, &s->leaves[0]);
    cs_json_name(json, "tags");
    cs_json_begin(json, '[');
    for (size_t i = 0; i < s->tags.len; i++)
        cs_json_put_str(json, s->tags.tag[i]);
    cs_json_end(json, ']');
    if (s->notes != 0)
        put_notes(json, s->notes);
    if (s->leaves_len > 1)
        put_pair(json, s);
    if (item->by)
        cs_json_str(json, "by", item->by);
    if (item->own && item->own->contact[0])
        cs_json_str(json, "contact", item->own->contact);
    if (item->own && item->own->note[0])
        cs_json_str(json, "note", item->own->note);
    api_put_time_ms(json, "created", item->created_ms);
    api_put_time_ms(json, "updated", item->updated_ms);
    if (item->own)
        put_hosts(json, item->own);
    if (item->own && item->own->old_len > 0)
        put_old_versions(json, item->own);
    if (item->material)
        put_chains(json, item->api, item->material);
    if (item->own)
        cs_json_int(json, "shares_total", (int64_t)item->shares_total);
}

static const char *share_state_name(enum cs_share_state s) {
    switch (s) {
    case CS_SHARE_PENDING:
        return "pending";
    case CS_SHARE_OPEN:
        return "open";
    case CS_SHARE_CLOSED:
        return "closed";
    }
    return "";
}

void api_item_put_share(struct cs_buf *json, const redisReply *share_doc) {
    struct cs_err err;
    struct cs_share share;
    struct cs_bytes doc = api_bytes(share_doc);
    if (!doc.data || !cs_share_decode(doc, &share, &err))
        return;
    cs_json_begin(json, '{');
    cs_json_str(json, "to", share.to);
    cs_json_str(json, "share", share.id);
    cs_json_str(json, "state", share_state_name(share.state));
    cs_json_int(json, "version", share.version);
    cs_json_end(json, '}');
}
