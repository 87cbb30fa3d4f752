// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/heartbeat.h"

#include <stdio.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "codec/entry_fields.h"
#include "codec/event_data.h"
#include "rules/rules_internal.h"

#define DEPTH 3

// ---- the record's value

struct envelope {
    struct cs_string specversion, type, source, subject, content_type;
    struct cs_heartbeat h;
};

static bool read_view(struct cs_reader *r, const struct cs_field *f, void *base) {
    return cs_read_string(r, "a string", cs_field_at(f, base));
}
static const struct cs_field_type type_view = {read_view, NULL, NULL};

#define HOST_COUNTS(T, at)                                                                                   \
    {CS_FIELD("version", T, at version), .type = &cs_type_string, .form = &cs_form_text},                    \
        {CS_FIELD("certificates", T, at certificates), CS_FIELD_COUNT}, {                                    \
        CS_FIELD("failed", T, at failed), CS_FIELD_COUNT                                                     \
    }

static const struct cs_field data_rows[] = {
    HOST_COUNTS(struct envelope, h.host.),
    {CS_FIELD("last_scan", struct envelope, h.host.last_scan_s), .type = &cs_type_time},
    {CS_FIELD("spool", struct envelope, h.host.spool), CS_FIELD_COUNT},
};
static const struct cs_fields data_fields = {CS_FIELDS(data_rows)};

static const struct cs_field envelope_rows[] = {
    {CS_FIELD("specversion", struct envelope, specversion), .type = &type_view},
    {CS_FIELD("type", struct envelope, type), .type = &type_view},
    {CS_FIELD("id", struct envelope, h.id), .type = &cs_type_string, .form = &cs_form_uuid},
    {CS_FIELD("source", struct envelope, source), .type = &type_view},
    {CS_FIELD("subject", struct envelope, subject), .type = &type_view},
    {CS_FIELD("time", struct envelope, h.time_s), .type = &cs_type_time},
    {CS_FIELD("sequence", struct envelope, h.seq), .type = &cs_type_sequence},
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
    return is_text(e->type, CS_HEARTBEAT_TYPE) ||
           cs_reader_fail_member(r, "type", "must be that of a heartbeat");
}
static const struct cs_fields envelope_fields = {CS_FIELDS(envelope_rows), .check = envelope_check};

bool cs_heartbeat_decode(struct cs_bytes value, struct cs_heartbeat *ret, struct cs_err *err) {
    struct envelope e = {.h.seq = 0};
    struct cs_reader r;
    if (value.len > CS_HEARTBEAT_MAX)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_EVENT_TOO_LARGE, "%zu bytes, more than %d", value.len,
                          CS_HEARTBEAT_MAX);
    if (!cs_reader_init(&r, value, DEPTH, err) || !cs_fields_read(&r, &envelope_fields, &e) ||
        !cs_reader_end(&r))
        return false;
    if (!cs_event_source_parse(e.source, e.h.log_id, e.h.account, e.h.kid) || !e.h.account[0])
        return cs_reader_fail_member(&r, "source", "must be //LOG/accounts/ACCOUNT/keys/KID");
    if (!is_text(e.subject, e.h.kid))
        return cs_reader_fail_member(&r, "subject", "must be the source's key");
    *ret = e.h;
    return true;
}

bool cs_heartbeat_encode(const struct cs_heartbeat *h, struct cs_buf *out, struct cs_err *err) {
    char time[CS_TIME_TEXT_SIZE], sequence[CS_SEQUENCE_LEN + 1];
    struct envelope e = {.h = *h};
    struct cs_heartbeat check;
    if (h->seq < 1 || h->seq >= CS_SEQ_MAX)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_EVENT_MALFORMED, "sequence: must be from 1 to 2^53-1");
    cs_time_format(h->time_s, time);
    cs_sequence_format(h->seq, sequence);
    size_t start = out->len;
    cs_json_begin(out, '{');
    cs_json_str(out, "specversion", "1.0");
    cs_json_str(out, "type", CS_HEARTBEAT_TYPE);
    cs_json_str(out, "id", h->id);
    cs_event_source_write(out, h->log_id, h->account, h->kid);
    cs_json_str(out, "subject", h->kid);
    cs_json_str(out, "time", time);
    cs_json_str(out, "sequence", sequence);
    cs_json_str(out, "datacontenttype", "application/json");
    cs_json_name(out, "data");
    cs_fields_write(out, &data_fields, &e);
    cs_json_end(out, '}');
    // What was written is read once: nothing leaves that is refused.
    return cs_buf_ok(out, err) &&
           cs_heartbeat_decode((struct cs_bytes){out->data + start, out->len - start}, &check, err);
}

// ---- what becomes of one

const char *cs_heartbeat_end_name(enum cs_heartbeat_end e) {
    static const char *const names[] = {
#define X(symbol, name, sentence) [CS_HEARTBEAT_##symbol] = name,
        CS_HEARTBEAT_ENDS(X)
#undef X
    };
    return names[e];
}

const char *cs_heartbeat_end_sentence(enum cs_heartbeat_end e) {
    static const char *const sentences[] = {
#define X(symbol, name, sentence) [CS_HEARTBEAT_##symbol] = sentence,
        CS_HEARTBEAT_ENDS(X)
#undef X
    };
    return sentences[e];
}

// Every partitioner but ours may have put it anywhere. The key is what ours went by.
static bool lies_right(const struct cs_record *r, const struct cs_heartbeat *h, int32_t partition_count) {
    struct cs_bytes account = {(const uint8_t *)h->account, strlen(h->account)};
    return cs_bytes_equal(r->key, account) && cs_partition_of(h->account, partition_count) == r->partition;
}

enum cs_heartbeat_end cs_heartbeat_read(const struct cs_record *r, const char *log_id,
                                        int32_t partition_count, struct cs_heartbeat_read *ret) {
    const struct cs_heartbeat *h = &ret->heartbeat;
    struct cs_err ignored;
    if (!r->value.data || !cs_record_signature(r, ret->sig, &ret->sig_len) || !cs_record_is_cloudevent(r) ||
        !cs_heartbeat_decode(r->value, &ret->heartbeat, &ignored))
        return CS_HEARTBEAT_MALFORMED;
    if (strcmp(h->log_id, log_id) != 0)
        return CS_HEARTBEAT_OTHER_LOG;
    if (!lies_right(r, h, partition_count))
        return CS_HEARTBEAT_MISROUTED;
    if (h->seq > r->timestamp_ms + CS_HEARTBEAT_AHEAD_MS || h->seq < r->timestamp_ms - CS_HEARTBEAT_BEHIND_MS)
        return CS_HEARTBEAT_CLOCK;
    return CS_HEARTBEAT_TAKEN;
}

enum cs_heartbeat_end cs_heartbeat_may(const struct cs_agent *agent, int64_t now_ms) {
    if (!agent)
        return CS_HEARTBEAT_UNKNOWN_KEY;
    if (agent->state != CS_AGENT_ENROLLED || (agent->expires_s != 0 && now_ms / 1000 >= agent->expires_s))
        return CS_HEARTBEAT_ENDED_KEY;
    return agent->can & CS_CAN_ENROLL ? CS_HEARTBEAT_TOKEN : CS_HEARTBEAT_TAKEN;
}

// ---- what is remembered

static const struct cs_field heard_rows[] = {
    {CS_FIELD("at_ms", struct cs_heard, at_ms), CS_FIELD_ANY_TIME},
    {CS_FIELD("seq", struct cs_heard, seq), CS_FIELD_COUNT},
    HOST_COUNTS(struct cs_heard, host.),
    {CS_FIELD("last_scan_s", struct cs_heard, host.last_scan_s), CS_FIELD_ANY_TIME},
    {CS_FIELD("spool", struct cs_heard, host.spool), CS_FIELD_COUNT},
};
static const struct cs_fields heard_fields = {CS_FIELDS(heard_rows)};

void cs_heard_encode(struct cs_buf *b, const struct cs_heard *v) {
    cs_fields_write(b, &heard_fields, v);
}

bool cs_heard_decode(struct cs_bytes json, struct cs_heard *ret, struct cs_err *err) {
    struct cs_heard v = {.at_ms = 0};
    if (!cs_entry_read(json, &heard_fields, &v, err))
        return false;
    *ret = v;
    return true;
}
