// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/outcome.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "codec/entry_fields.h"
#include "codec/event_data.h"

static const char *const status_names[] = {"applied", "pending", "rejected", "duplicate"};

const char *cs_status_name(enum cs_status s) {
    return (unsigned)s - 1 < CS_ARRAY_LEN(status_names) ? status_names[(unsigned)s - 1] : "";
}

bool cs_status_parse(const char *s, size_t len, enum cs_status *ret) {
    for (unsigned i = 0; i < CS_ARRAY_LEN(status_names); i++)
        if (strlen(status_names[i]) == len && memcmp(status_names[i], s, len) == 0) {
            *ret = (enum cs_status)(i + 1);
            return true;
        }
    return false;
}
CS_DEFINE_ENUM_TYPE(static, status, enum cs_status, cs_status_name, cs_status_parse,
                    "\"applied\", \"pending\", \"rejected\" or \"duplicate\"");

static bool event_type_parse(const char *s, size_t len, enum cs_event_type *ret) {
    *ret = cs_event_type_of((struct cs_string){s, len, false});
    return *ret != CS_EVENT_NONE;
}
CS_DEFINE_ENUM_TYPE(static, event_type, enum cs_event_type, cs_event_type_name, event_type_parse,
                    "an event's type");

static const struct cs_field conclusion_rows[] = {
    {CS_FIELD("event", struct cs_conclusion, event), .type = &cs_type_string, .form = &cs_form_uuid},
    {CS_FIELD("status", struct cs_conclusion, status), .type = &cs_type_status},
    {CS_FIELD("code", struct cs_conclusion, code), .type = &cs_type_code, .optional = true},
};
static const struct cs_fields conclusion_fields = {CS_FIELDS(conclusion_rows)};

// A time in the one form in which it is written.
static bool read_same(struct cs_reader *r, const struct cs_field *f, void *base, const char *what,
                      bool (*parse)(const char *, size_t, int64_t *), void (*format)(int64_t, char *)) {
    struct cs_string s;
    char text[CS_TIME_MS_TEXT_SIZE], again[CS_TIME_MS_TEXT_SIZE];
    if (!cs_read_string(r, what, &s))
        return false;
    size_t len = cs_string_copy(s, text, sizeof text);
    if (len >= sizeof text || !parse(text, len, cs_field_at(f, base)))
        return cs_reader_fail(r, "must be %s", what);
    format(*(const int64_t *)cs_field_get(f, base), again);
    return strcmp(text, again) == 0 || cs_reader_fail(r, "must be %s", what);
}

static bool read_ms(struct cs_reader *r, const struct cs_field *f, void *base) {
    return read_same(r, f, base, "a time like \"2026-11-23T12:00:00.385Z\"", cs_time_ms_parse,
                     cs_time_ms_format);
}
static const struct cs_field_type type_ms = {read_ms, NULL, NULL};

static bool read_second(struct cs_reader *r, const struct cs_field *f, void *base) {
    return read_same(r, f, base, "a time like \"2026-11-23T12:00:00Z\"", cs_time_parse, cs_time_format);
}

static void write_second(struct cs_buf *b, const struct cs_field *f, const void *base) {
    cs_type_time.write(b, f, base);
}
static const struct cs_field_type type_second = {read_second, write_second, NULL};

static const struct cs_field leaf_rows[] = {
    {CS_FIELD("sha256", struct cs_told_leaf, sha256), .type = &cs_type_hash},
    {CS_FIELD("serial", struct cs_told_leaf, serial), .type = &cs_type_string, .form = &cs_form_ascii},
    {CS_FIELD("not_after", struct cs_told_leaf, not_after_s), .type = &type_second},
};
static const struct cs_fields leaf_fields = {CS_FIELDS(leaf_rows)};

#define OPTIONAL_STRING(f) .type = &cs_type_string, .form = &(f), .optional = true
#define OPTIONAL_SEQUENCE  .type = &cs_type_sequence, .optional = true

static const struct cs_field data_rows[] = {
    {CS_FIELD("status", struct cs_outcome, verdict.status), .type = &cs_type_status},
    {CS_FIELD("code", struct cs_outcome, verdict.code), .type = &cs_type_code, .optional = true},
    {CS_FIELD("detail", struct cs_outcome, verdict.detail), OPTIONAL_STRING(cs_form_text)},
    {CS_FIELD("type", struct cs_outcome, type), .type = &cs_type_event_type, .optional = true},
    {CS_FIELD("event", struct cs_outcome, event), OPTIONAL_STRING(cs_form_uuid)},
    {CS_FIELD("sequence", struct cs_outcome, seq), OPTIONAL_SEQUENCE},
    {CS_FIELD("account", struct cs_outcome, account), OPTIONAL_STRING(cs_form_account)},
    {CS_FIELD("kid", struct cs_outcome, kid), OPTIONAL_STRING(cs_form_kid)},
    {CS_FIELD("label", struct cs_outcome, verdict.label), OPTIONAL_STRING(cs_form_text)},
    {CS_FIELD("name", struct cs_outcome, verdict.name), OPTIONAL_STRING(cs_form_ascii)},
    {CS_FIELD("version", struct cs_outcome, verdict.version), CS_FIELD_COUNT, .optional = true},
    {CS_FIELD("leaves", struct cs_outcome, verdict.leaves), .type = &cs_type_list, .fields = &leaf_fields,
     .item_size = sizeof(struct cs_told_leaf), .min = 1, .max = 2,
     .len_at = offsetof(struct cs_outcome, verdict.leaves_len), .optional = true},
    {CS_FIELD("partition", struct cs_outcome, partition), .type = &cs_type_int, .max = INT32_MAX},
    {CS_FIELD("offset", struct cs_outcome, offset), CS_FIELD_COUNT},
    {CS_FIELD("record", struct cs_outcome, record_sha256), .type = &cs_type_hash},
    {CS_FIELD("watermark", struct cs_outcome, verdict.watermark), CS_FIELD_COUNT, .optional = true},
    {CS_FIELD("gap", struct cs_outcome, verdict.gap), CS_FIELD_COUNT, .optional = true},
    {CS_FIELD("notes", struct cs_outcome, verdict.notes), .type = &cs_type_notes, .optional = true},
    {CS_FIELD_POINTER("concludes", struct cs_outcome, verdict.concludes), .type = &cs_type_heap_list,
     .fields = &conclusion_fields, .item_size = sizeof(struct cs_conclusion), .min = 1, .max = INT32_MAX,
     .len_at = offsetof(struct cs_outcome, verdict.concludes_len), .optional = true},
    {CS_FIELD("epoch", struct cs_outcome, epoch), CS_FIELD_COUNT, .optional = true},
    {CS_FIELD("prev", struct cs_outcome, prev_sha256), .type = &cs_type_hash},
};
static const struct cs_fields data_fields = {CS_FIELDS(data_rows)};

// ---- the envelope

#define SOURCE_SIZE (sizeof "//" + CS_LOG_ID_MAX + sizeof "/partitions/2147483647")

static void format_source(const char *log_id, int32_t partition, char out[SOURCE_SIZE]) {
    snprintf(out, SOURCE_SIZE, "//%s/partitions/%d", log_id, (int)partition);
}

// What reading collects: the outcome, and parts that are the same in each or follow from it.
struct envelope {
    struct cs_outcome o;
    char specversion[4], type[20], content_type[17], source[SOURCE_SIZE];
};

static bool is_version(const char *s, size_t len) {
    return len == 3 && memcmp(s, "1.0", len) == 0;
}
static bool is_type(const char *s, size_t len) {
    return len == 19 && memcmp(s, "certsync.outcome.v1", len) == 0;
}
static bool is_json(const char *s, size_t len) {
    return len == 16 && memcmp(s, "application/json", len) == 0;
}
static const struct cs_form form_version = {is_version, "\"1.0\""},
                            form_type = {is_type, "\"certsync.outcome.v1\""},
                            form_json = {is_json, "\"application/json\""};

static const struct cs_field envelope_rows[] = {
    {CS_FIELD("specversion", struct envelope, specversion), .type = &cs_type_string, .form = &form_version},
    {CS_FIELD("type", struct envelope, type), .type = &cs_type_string, .form = &form_type},
    {CS_FIELD("sequence", struct envelope, o.n), .type = &cs_type_sequence},
    {CS_FIELD("id", struct envelope, o.id), .type = &cs_type_string, .form = &cs_form_uuid},
    {CS_FIELD("source", struct envelope, source), .type = &cs_type_string, .form = &cs_form_ascii},
    {CS_FIELD("subject", struct envelope, o.verdict.subject), OPTIONAL_STRING(cs_form_ascii)},
    {CS_FIELD("time", struct envelope, o.time_ms), .type = &type_ms},
    {CS_FIELD("datacontenttype", struct envelope, content_type), .type = &cs_type_string, .form = &form_json},
    {CS_FIELD("data", struct envelope, o), .type = &cs_type_object, .fields = &data_fields},
};

static bool check_source(struct cs_reader *r, const void *base, uint32_t seen) {
    const struct envelope *e = base;
    char expected[SOURCE_SIZE];
    cs_log_id log_id = "";
    const char *name = e->source + 2, *end = strchr(name, '/');
    size_t len = end ? (size_t)(end - name) : 0;
    (void)seen;
    if (len <= CS_LOG_ID_MAX && cs_log_id_valid(name, len))
        memcpy(log_id, name, len); // the rest is zero
    format_source(log_id, e->o.partition, expected);
    if (log_id[0] && strcmp(e->source, expected) == 0)
        return true;
    return cs_reader_fail_member(r, "source", "must be //LOG/partitions/PARTITION, that of the data");
}
static const struct cs_fields envelope_fields = {CS_FIELDS(envelope_rows), .check = check_source};

bool cs_outcome_is_kept(const struct cs_event *ev, const struct cs_verdict *v) {
    if (!ev || !ev->account[0] || !v->signer_known || v->leaves_nothing || v->status == CS_STATUS_DUPLICATE)
        return false;
    return v->status != CS_STATUS_REJECTED || cs_event_origin(ev) < 0;
}

bool cs_verdict_is_of_copy(const struct cs_verdict *v) {
    return v->status == CS_STATUS_REJECTED &&
           (v->code == CS_CODE_EVENT_REPLAYED || v->code == CS_CODE_EVENT_REVOKED_SIGNER);
}

void cs_verdict_clear(struct cs_verdict *v) {
    free(v->concludes);
    memset(v, 0, sizeof *v);
}

void cs_outcome_clear(struct cs_outcome *o) {
    cs_verdict_clear(&o->verdict);
    memset(o, 0, sizeof *o);
}

void cs_outcome_set_id(struct cs_crypto *c, struct cs_outcome *o) {
    static const char what[] = "certsync.outcome.v1";
    char place[96];
    uint8_t hash[32];
    int len = snprintf(place, sizeof place, "%d%c%" PRId64, (int)o->partition, '\0', o->n);
    if (o->epoch > 0)
        len += 1 + snprintf(place + len + 1, sizeof place - (size_t)len - 1, "%" PRId64, o->epoch);
    cs_crypto_sha256_parts(c,
                           (const struct cs_bytes[]){{(const uint8_t *)what, sizeof what},
                                                     {(const uint8_t *)o->log_id, strlen(o->log_id) + 1},
                                                     {(const uint8_t *)place, (size_t)len + 1}},
                           3, hash);
    cs_uuid_v8(hash, o->id);
}

void cs_outcome_encode(struct cs_buf *b, const struct cs_outcome *o) {
    static const size_t at = sizeof CS_OUTCOME_HEAD - 1;
    char head[sizeof CS_OUTCOME_HEAD + CS_SEQUENCE_LEN + 1] = CS_OUTCOME_HEAD;
    char source[SOURCE_SIZE], time[CS_TIME_MS_TEXT_SIZE];
    cs_sequence_format(o->n, head + at);
    head[at + CS_SEQUENCE_LEN] = '"';
    format_source(o->log_id, o->partition, source);
    cs_time_ms_format(o->time_ms, time);
    cs_json_put_raw(b, (struct cs_bytes){(const uint8_t *)head, at + CS_SEQUENCE_LEN + 1});
    cs_json_str(b, "id", o->id);
    cs_json_str(b, "source", source);
    if (o->verdict.subject[0])
        cs_json_str(b, "subject", o->verdict.subject);
    cs_json_str(b, "time", time);
    cs_json_str(b, "datacontenttype", "application/json");
    cs_json_name(b, "data");
    cs_fields_write(b, &data_fields, o);
    cs_json_end(b, '}');
}

bool cs_outcome_decode(struct cs_bytes json, struct cs_outcome *ret, struct cs_err *err) {
    struct envelope e;
    memset(&e, 0, sizeof e);
    if (!cs_fields_decode(json, &envelope_fields, &e, err)) {
        cs_outcome_clear(&e.o);
        return false;
    }
    const char *name = e.source + 2;
    memcpy(e.o.log_id, name, (size_t)(strchr(name, '/') - name));
    *ret = e.o;
    return true;
}

void cs_outcome_doc_encode(struct cs_buf *b, struct cs_bytes outcome_json,
                           const struct cs_conclusion *final_or_null, const char *by, int64_t n) {
    cs_json_begin(b, '{');
    cs_json_name(b, "outcome");
    cs_json_put_raw(b, outcome_json);
    if (final_or_null) {
        cs_json_name(b, "final");
        cs_json_begin(b, '{');
        cs_json_str(b, "status", cs_status_name(final_or_null->status));
        if (final_or_null->code != CS_CODE_NONE)
            cs_json_str(b, "code", cs_code_name(final_or_null->code));
        cs_json_str(b, "by", by);
        cs_json_int(b, "n", n);
        cs_json_end(b, '}');
    }
    cs_json_end(b, '}');
}
