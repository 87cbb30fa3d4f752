// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/correction.h"

#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "codec/entry_fields.h"
#include "codec/event_data.h"

#define DEPTH 3

struct envelope {
    struct cs_string specversion, type, source, subject, content_type;
    struct cs_correction c;
};

static bool read_view(struct cs_reader *r, const struct cs_field *f, void *base) {
    return cs_read_string(r, "a string", cs_field_at(f, base));
}
static const struct cs_field_type type_view = {read_view, NULL, NULL};

static const struct cs_field data_rows[] = {
    {CS_FIELD("partition", struct envelope, c.partition), .type = &cs_type_int, .max = INT32_MAX},
    {CS_FIELD("from", struct envelope, c.from), CS_FIELD_COUNT},
    {CS_FIELD("reason", struct envelope, c.reason), .type = &cs_type_string, .form = &cs_form_text},
};
static bool data_check(struct cs_reader *r, const void *base, uint32_t seen) {
    const struct envelope *e = base;
    (void)seen;
    return e->c.from > 0 || cs_reader_fail_member(r, "from", "must be the number of an outcome, from 1 on");
}
static const struct cs_fields data_fields = {CS_FIELDS(data_rows), .check = data_check};

static const struct cs_field envelope_rows[] = {
    {CS_FIELD("specversion", struct envelope, specversion), .type = &type_view},
    {CS_FIELD("type", struct envelope, type), .type = &type_view},
    {CS_FIELD("id", struct envelope, c.id), .type = &cs_type_string, .form = &cs_form_uuid},
    {CS_FIELD("source", struct envelope, source), .type = &type_view},
    {CS_FIELD("subject", struct envelope, subject), .type = &type_view},
    {CS_FIELD("time", struct envelope, c.time_s), .type = &cs_type_time},
    {CS_FIELD("datacontenttype", struct envelope, content_type), .type = &type_view},
    {CS_FIELD_NAMED("data"), .type = &cs_type_object, .fields = &data_fields},
};

static bool is_text(struct cs_string s, const char *text) {
    return cs_string_is(s, text, strlen(text));
}

static bool envelope_check(struct cs_reader *r, const void *base, uint32_t seen) {
    const struct envelope *e = base;
    (void)seen;
    if (!is_text(e->specversion, "1.0"))
        return cs_reader_fail_member(r, "specversion", "must be \"1.0\"");
    if (!is_text(e->content_type, "application/json"))
        return cs_reader_fail_member(r, "datacontenttype", "must be \"application/json\"");
    return is_text(e->type, CS_CORRECTION_TYPE) ||
           cs_reader_fail_member(r, "type", "must be that of a correction");
}
static const struct cs_fields envelope_fields = {CS_FIELDS(envelope_rows), .check = envelope_check};

bool cs_correction_decode(struct cs_bytes value, struct cs_correction *ret, struct cs_err *err) {
    struct envelope e = {.c.from = 0};
    struct cs_reader r;
    cs_account_id account = "";
    cs_deployment_id deployment;
    if (value.len > CS_CORRECTION_MAX)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_EVENT_TOO_LARGE, "%zu bytes, more than %d", value.len,
                          CS_CORRECTION_MAX);
    if (!cs_reader_init(&r, value, DEPTH, err) || !cs_fields_read(&r, &envelope_fields, &e) ||
        !cs_reader_end(&r))
        return false;
    if (!cs_event_source_parse(e.source, e.c.log_id, account, e.c.kid) || account[0])
        return cs_reader_fail_member(&r, "source", "must be //LOG/keys/KID");
    cs_log_id_deployment(e.c.log_id, deployment);
    if (!is_text(e.subject, deployment))
        return cs_reader_fail_member(&r, "subject", "must be the source's deployment");
    *ret = e.c;
    return true;
}

bool cs_correction_encode(const struct cs_correction *c, struct cs_buf *out, struct cs_err *err) {
    char time[CS_TIME_TEXT_SIZE];
    struct envelope e = {.c = *c};
    struct cs_correction check;
    cs_deployment_id deployment;
    cs_log_id_deployment(c->log_id, deployment);
    cs_time_format(c->time_s, time);
    size_t start = out->len;
    cs_json_begin(out, '{');
    cs_json_str(out, "specversion", "1.0");
    cs_json_str(out, "type", CS_CORRECTION_TYPE);
    cs_json_str(out, "id", c->id);
    cs_event_source_write(out, c->log_id, "", c->kid);
    cs_json_str(out, "subject", deployment);
    cs_json_str(out, "time", time);
    cs_json_str(out, "datacontenttype", "application/json");
    cs_json_name(out, "data");
    cs_fields_write(out, &data_fields, &e);
    cs_json_end(out, '}');
    // What was written is read once: nothing leaves that is refused.
    return cs_buf_ok(out, err) &&
           cs_correction_decode((struct cs_bytes){out->data + start, out->len - start}, &check, err);
}

static bool refuse(struct cs_err *err, const char *why) {
    return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE, "%s", why);
}

bool cs_correction_open(struct cs_crypto *crypto, const struct cs_pubkey *root, const char *log_id,
                        int32_t partition_count, const struct cs_record *r, struct cs_correction *ret,
                        struct cs_err *err) {
    uint8_t sig[CS_EVENT_SIG_MAX];
    size_t sig_len = 0;
    struct cs_correction c;
    if (!r->value.data || !cs_record_signature(r, sig, &sig_len) || !cs_record_is_cloudevent(r))
        return refuse(err, "it is not signed, or no CloudEvent by its headers");
    if (!cs_correction_decode(r->value, &c, err))
        return false;
    // The kid in the source only says who claims to have signed.
    if (!cs_event_verify(crypto, root, r->value, (struct cs_bytes){sig, sig_len}))
        return refuse(err, "root has not signed it");
    if (strcmp(c.log_id, log_id) != 0)
        return refuse(err, "it is for another log");
    if (c.partition >= partition_count)
        return refuse(err, "the log has no such partition");
    *ret = c;
    return true;
}

// ---- epochs

int64_t cs_epoch_of(const struct cs_epochs *e, int32_t partition, int64_t n) {
    int64_t epoch = 0;
    int64_t k = 0;
    for (size_t i = 0; i < e->len; i++) {
        if (e->list[i].partition != partition)
            continue;
        k++;
        if (e->list[i].from <= n)
            epoch = k;
    }
    return epoch;
}

int64_t cs_epoch_last(const struct cs_epochs *e, int32_t partition) {
    return cs_epoch_of(e, partition, INT64_MAX);
}

const struct cs_correction *cs_epoch_began(const struct cs_epochs *e, int32_t partition, int64_t epoch) {
    for (size_t i = 0; i < e->len; i++)
        if (e->list[i].partition == partition && --epoch == 0)
            return &e->list[i];
    return NULL;
}

struct cs_epochs cs_epochs_until(const struct cs_epochs *e, int32_t partition, int64_t epoch) {
    const struct cs_correction *next = cs_epoch_began(e, partition, epoch + 1);
    return (struct cs_epochs){e->list, next ? (size_t)(next - e->list) : e->len};
}
