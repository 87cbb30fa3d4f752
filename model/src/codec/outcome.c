// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/outcome.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/base/json_write.h"
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

#define OPTIONAL_STRING(f) .type = &cs_type_string, .form = &(f), .optional = true

static const struct cs_field outcome_rows[] = {
    {CS_FIELD("n", struct cs_outcome, n), .type = &cs_type_int, .min = 1, .max = CS_JSON_INT_MAX},
    {CS_FIELD("status", struct cs_outcome, verdict.status), .type = &cs_type_status},
    {CS_FIELD("code", struct cs_outcome, verdict.code), .type = &cs_type_code, .optional = true},
    {CS_FIELD("detail", struct cs_outcome, verdict.detail), OPTIONAL_STRING(cs_form_text)},
    {CS_FIELD("type", struct cs_outcome, type), .type = &cs_type_event_type, .optional = true},
    {CS_FIELD("event", struct cs_outcome, event), OPTIONAL_STRING(cs_form_uuid)},
    {CS_FIELD("account", struct cs_outcome, account), OPTIONAL_STRING(cs_form_account)},
    {CS_FIELD("kid", struct cs_outcome, kid), OPTIONAL_STRING(cs_form_kid)},
    {CS_FIELD("subject", struct cs_outcome, verdict.subject), OPTIONAL_STRING(cs_form_ascii)},
    {CS_FIELD("partition", struct cs_outcome, partition), .type = &cs_type_int, .max = INT32_MAX},
    {CS_FIELD("offset", struct cs_outcome, offset), CS_FIELD_COUNT},
    {CS_FIELD("time", struct cs_outcome, time_ms), CS_FIELD_ANY_TIME},
    {CS_FIELD("record", struct cs_outcome, record_sha256), .type = &cs_type_hash},
    {CS_FIELD("sequence", struct cs_outcome, seq), .type = &cs_type_sequence, .optional = true},
    {CS_FIELD("watermark", struct cs_outcome, verdict.watermark), CS_FIELD_COUNT, .optional = true},
    {CS_FIELD("gap", struct cs_outcome, verdict.gap), CS_FIELD_COUNT, .optional = true},
    {CS_FIELD("version", struct cs_outcome, verdict.version), CS_FIELD_COUNT, .optional = true},
    {CS_FIELD("notes", struct cs_outcome, verdict.notes), .type = &cs_type_notes, .optional = true},
    {CS_FIELD_POINTER("concludes", struct cs_outcome, verdict.concludes), .type = &cs_type_heap_list,
     .fields = &conclusion_fields, .item_size = sizeof(struct cs_conclusion), .min = 1, .max = INT32_MAX,
     .len_at = offsetof(struct cs_outcome, verdict.concludes_len), .optional = true},
    {CS_FIELD("prev", struct cs_outcome, prev_sha256), .type = &cs_type_hash},
};
static const struct cs_fields outcome_fields = {CS_FIELDS(outcome_rows)};

void cs_verdict_clear(struct cs_verdict *v) {
    free(v->concludes);
    memset(v, 0, sizeof *v);
}

void cs_outcome_clear(struct cs_outcome *o) {
    cs_verdict_clear(&o->verdict);
    memset(o, 0, sizeof *o);
}

void cs_outcome_encode(struct cs_buf *b, const struct cs_outcome *o) {
    cs_fields_write(b, &outcome_fields, o);
}

bool cs_outcome_decode(struct cs_bytes json, struct cs_outcome *ret, struct cs_err *err) {
    struct cs_outcome o;
    memset(&o, 0, sizeof o);
    if (!cs_fields_decode(json, &outcome_fields, &o, err)) {
        cs_outcome_clear(&o);
        return false;
    }
    *ret = o;
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
