// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/event.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/base/secret.h"
#include "certsync/base/text.h"
#include "codec/event_data.h"

_Static_assert(CS_DETAIL_MAX == CS_READER_DETAIL_MAX, "a detail is what the reader says");
_Static_assert(CS_JSON_INT_MAX + 1 == CS_SEQ_MAX, "a sequence number is what JSON integers hold");

#define SOURCE_SIZE 256 // more than any source has

// ---- envelope

// How an event is decoded.
struct manner {
    bool views;
    struct cs_region *region, *scratch; // or both NULL
    struct cs_event_grammar grammar;
};

// What is looked at after the whole envelope was read. Strings are views; data is where its value
// begins.
struct envelope {
    struct cs_string specversion, type_name, source, subject, content_type;
    enum cs_event_type type; // CS_EVENT_NONE: not known, or not read yet
    cs_uuid id;
    int64_t time_s, seq;
    const char *data;
    // Where ev is given and the type comes before data, data is read at once.
    const struct manner *manner;
    struct cs_event *ev;
    bool data_read;
};

static bool read_view(struct cs_reader *r, const struct cs_field *f, void *base) {
    return cs_read_string(r, "a string", cs_field_at(f, base));
}
static const struct cs_field_type type_view = {read_view, NULL, NULL};

static bool read_type(struct cs_reader *r, const struct cs_field *f, void *base) {
    struct envelope *e = base;
    if (!read_view(r, f, base))
        return false;
    enum cs_event_type type = cs_event_type_of(e->type_name);
    if (type != CS_EVENT_NONE && e->manner->grammar.kinds[type].since <= r->ruleset)
        e->type = type;
    return true;
}
static const struct cs_field_type type_type = {read_type, NULL, NULL};

static bool read_data_member(struct cs_reader *r, const struct cs_field *f, void *base);
static const struct cs_field_type type_data = {read_data_member, NULL, NULL};

static const struct cs_field envelope_rows[] = {
    {CS_FIELD("specversion", struct envelope, specversion), .type = &type_view},
    {CS_FIELD("type", struct envelope, type_name), .type = &type_type},
    {CS_FIELD("id", struct envelope, id), .type = &cs_type_string, .form = &cs_form_uuid},
    {CS_FIELD("source", struct envelope, source), .type = &type_view},
    {CS_FIELD("subject", struct envelope, subject), .type = &type_view},
    {CS_FIELD("time", struct envelope, time_s), .type = &cs_type_time},
    {CS_FIELD("sequence", struct envelope, seq), .type = &cs_type_sequence},
    {CS_FIELD("datacontenttype", struct envelope, content_type), .type = &type_view},
    {CS_FIELD("data", struct envelope, data), .type = &type_data},
};

static bool envelope_check(struct cs_reader *r, const void *base, uint32_t seen) {
    const struct envelope *e = base;
    (void)seen;
    if (!cs_string_is(e->specversion, "1.0", 3))
        return cs_reader_fail_member(r, "specversion", "must be \"1.0\"");
    if (!cs_string_is(e->content_type, "application/json", 16))
        return cs_reader_fail_member(r, "datacontenttype", "must be \"application/json\"");
    return true;
}
static const struct cs_fields envelope_fields = {CS_FIELDS(envelope_rows), .check = envelope_check};

// Copies the text of an identifier that ends at end or at '/'; moves *s behind it.
static bool take_id(const char **s, bool (*valid)(const char *, size_t), char *ret) {
    const char *end = strchr(*s, '/');
    size_t len = end ? (size_t)(end - *s) : strlen(*s);
    if (!valid(*s, len))
        return false;
    memcpy(ret, *s, len);
    ret[len] = '\0';
    *s += len;
    return true;
}

static bool take_text(const char **s, const char *text) {
    size_t len = strlen(text);
    if (strncmp(*s, text, len) != 0)
        return false;
    *s += len;
    return true;
}

bool cs_event_source_parse(struct cs_string source, cs_log_id log_id, cs_account_id account, cs_kid kid) {
    char text[SOURCE_SIZE];
    const char *s = text;
    if (cs_string_copy(source, text, sizeof text) >= sizeof text)
        return false;
    if (!take_text(&s, "//") || !take_id(&s, cs_log_id_valid, log_id))
        return false;
    if (take_text(&s, "/accounts/") && !take_id(&s, cs_account_valid, account))
        return false;
    return take_text(&s, "/keys/") && take_id(&s, cs_kid_valid, kid) && *s == '\0';
}

void cs_event_source_write(struct cs_buf *b, const char *log_id, const char *account, const char *kid) {
    char source[SOURCE_SIZE];
    snprintf(source, sizeof source, "//%s%s%s/keys/%s", log_id, account[0] ? "/accounts/" : "", account, kid);
    cs_json_str(b, "source", source);
}

static bool subject_valid(const struct cs_event *ev, enum cs_event_subject kind, const char **ret_what) {
    size_t len = strlen(ev->subject);
    switch (kind) {
    case CS_SUBJECT_DEPLOYMENT:
        *ret_what = "the source's deployment";
        return cs_log_id_is_of(ev->log_id, ev->subject);
    case CS_SUBJECT_ACCOUNT:
        *ret_what = "the source's account";
        return strcmp(ev->subject, ev->account) == 0;
    case CS_SUBJECT_KID:
        *ret_what = cs_form_kid.what;
        return cs_kid_valid(ev->subject, len);
    case CS_SUBJECT_UUID:
        *ret_what = cs_form_uuid.what;
        return cs_uuid_valid(ev->subject, len);
    }
    return false;
}

static bool unknown_type(struct cs_reader *r, struct cs_string type) {
    char text[64], shown[CS_SECRET_QUOTE_SIZE];
    cs_string_copy(type, text, sizeof text);
    cs_secret_quote(text, strlen(text), shown, sizeof shown);
    return cs_err_set(r->err, CS_ERR_REJECT, CS_CODE_EVENT_UNKNOWN_TYPE, "type: \"%s\" is not known", shown);
}

// Copies the envelope into ev, and checks what it says.
static bool judge_envelope(struct cs_reader *r, const struct envelope *e, struct cs_event *ev) {
    memcpy(ev->id, e->id, sizeof ev->id);
    ev->time_s = e->time_s;
    ev->seq = e->seq;
    if (!cs_event_source_parse(e->source, ev->log_id, ev->account, ev->kid))
        return cs_reader_fail_member(r, "source",
                                     "must be //LOG/keys/KID or //LOG/accounts/ACCOUNT/keys/KID");
    size_t len = cs_string_copy(e->subject, ev->subject, sizeof ev->subject);
    if (len >= sizeof ev->subject || !cs_form_ascii.valid(ev->subject, len))
        return cs_reader_fail_member(r, "subject", "must be 1 to %d printable ASCII characters",
                                     CS_DEPLOYMENT_MAX);
    if (e->type == CS_EVENT_NONE)
        return unknown_type(r, e->type_name);
    const struct cs_event_kind *kind = &e->manner->grammar.kinds[e->type];
    if (kind->account != (ev->account[0] != '\0'))
        return cs_reader_fail_member(r, "source",
                                     kind->account ? "must name an account for this type"
                                                   : "must not name an account for this type");
    const char *what = "";
    if (!subject_valid(ev, kind->subject, &what))
        return cs_reader_fail_member(r, "subject", "must be %s", what);
    return true;
}

// ---- data

// How many parts there are, and whose certificate it is, where the type decides that.
static void derive(struct cs_event *ev) {
    if (!cs_event_has_chains(ev))
        return;
    struct cs_event_upload *up = &ev->data.upload;
    if (ev->type == CS_EVENT_CERTIFICATE_UPDATE) {
        bool pair = up->part[1].chain_len > 0;
        up->algorithm = pair ? CS_ALGORITHM_SM2 : CS_ALGORITHM_INTERNATIONAL;
        up->parts = pair ? 2 : up->part[0].chain_len > 0;
        return;
    }
    up->parts = up->algorithm == CS_ALGORITHM_SM2 ? 2 : 1;
    up->has_tags = up->tags.len > 0;
    if (ev->type == CS_EVENT_CERTIFICATE_UPLOAD)
        up->source = CS_SOURCE_UPLOADED;
}

// Whether only its texts are kept.
static bool forgets_bytes(const struct cs_event *ev) {
    return !ev->storage_text && cs_event_has_chains(ev);
}

static bool read_data(struct cs_reader *r, const struct envelope *e, struct cs_event *ev) {
    const struct manner *m = e->manner;
    size_t data_len = (size_t)(r->end - e->data);
    ev->type = e->type;
    // A text with an escape is not its own view.
    ev->storage_text = !m->views || memchr(e->data, '\\', data_len);
    // Room for each base64 text, and its bytes.
    ev->storage = cs_region_take(forgets_bytes(ev) ? m->scratch : m->region,
                                 (ev->storage_text ? data_len : 0) + data_len / 4 * 3 + 1);
    if (!ev->storage)
        return cs_err_oom(r->err);
    r->store = ev->storage;
    r->views = !ev->storage_text;
    if (!cs_fields_read(r, m->grammar.kinds[ev->type].data, ev))
        return false;
    derive(ev);
    return true;
}

static bool read_data_member(struct cs_reader *r, const struct cs_field *f, void *base) {
    struct envelope *e = base;
    (void)f;
    e->data = r->at;
    e->data_read = e->ev && e->type != CS_EVENT_NONE;
    return e->data_read ? read_data(r, e, e->ev) : cs_read_skip(r);
}

static bool read_data_again(struct cs_reader *r, const struct envelope *e, struct cs_event *ev) {
    r->at = e->data;
    r->depth = 1;
    r->path[0] = (struct cs_reader_step){CS_STEP_MEMBER, {"data", 4, false}, 0};
    return read_data(r, e, ev);
}

static bool decode_as(struct cs_bytes value, const struct manner *m, bool at_once, struct cs_event **ret,
                      struct cs_err *err) {
    struct cs_reader r;
    CS_AUTO(cs_event_free) struct cs_event *ev = cs_region_take_zeroed(m->region, sizeof *ev);
    if (!ev)
        return cs_err_oom(err);
    ev->in_region = m->region != NULL;
    struct envelope e = {.manner = m, .ev = at_once ? ev : NULL};
    if (!cs_reader_init(&r, value, CS_EVENT_DEPTH, err))
        return false;
    r.ruleset = m->grammar.ruleset;
    if (!cs_fields_read(&r, &envelope_fields, &e) || !cs_reader_end(&r) || !judge_envelope(&r, &e, ev))
        return false;
    if (!e.data_read && !read_data_again(&r, &e, ev))
        return false;
    *ret = CS_TAKE(ev);
    return true;
}

// Errors are told in this order: the form as JSON, the envelope, data. A good event is read in one
// pass.
static bool decode(struct cs_bytes value, const struct manner *m, struct cs_event **ret, struct cs_err *err) {
    if (value.len > CS_EVENT_MAX)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_EVENT_TOO_LARGE, "%zu bytes, more than %d", value.len,
                          CS_EVENT_MAX);
    return decode_as(value, m, true, ret, err) ||
           (err->kind == CS_ERR_REJECT && decode_as(value, m, false, ret, err));
}

static const struct cs_event_grammar all_known = {cs_event_kinds, CS_RULESET_LATEST};

bool cs_event_decode(struct cs_bytes value, struct cs_event **ret, struct cs_err *err) {
    return decode(value, &(struct manner){.grammar = all_known}, ret, err);
}

bool cs_event_decode_by(struct cs_event_grammar g, struct cs_bytes value, struct cs_region *region,
                        struct cs_region *scratch, struct cs_event **ret, struct cs_err *err) {
    return decode(value, &(struct manner){true, region, scratch, g}, ret, err);
}

bool cs_event_decode_view(struct cs_bytes value, struct cs_region *region, struct cs_region *scratch,
                          struct cs_event **ret, struct cs_err *err) {
    return cs_event_decode_by(all_known, value, region, scratch, ret, err);
}

void cs_event_forget_bytes(struct cs_event *ev) {
    static const struct cs_bytes none = {NULL, 0};
    if (!forgets_bytes(ev))
        return;
    for (size_t i = 0; i < ev->data.upload.parts; i++) {
        struct cs_keyed_chain *part = &ev->data.upload.part[i];
        for (size_t k = 0; k < CS_ARRAY_LEN(part->chain); k++)
            part->chain[k].bytes = none;
        part->key.bytes = part->pop.bytes = none;
    }
    if (!ev->in_region)
        free(ev->storage);
    ev->storage = NULL;
}

// at: where the next bytes go.
static void recall(struct cs_encoded *e, uint8_t **at) {
    size_t len = 0;
    if (!e->text.data)
        return;
    if (!cs_base64_decode((const char *)e->text.data, e->text.len, *at, &len))
        len = 0; // never: it was decoded before
    e->bytes = (struct cs_bytes){*at, len};
    *at += len;
}

bool cs_event_recall_bytes(struct cs_event *ev, struct cs_region *scratch, struct cs_err *err) {
    if (!forgets_bytes(ev) || ev->storage)
        return true;
    size_t size = 1;
    for (size_t i = 0; i < ev->data.upload.parts; i++) {
        const struct cs_keyed_chain *part = &ev->data.upload.part[i];
        for (size_t k = 0; k < CS_ARRAY_LEN(part->chain); k++)
            size += cs_base64_decoded_max(part->chain[k].text.len);
        size += cs_base64_decoded_max(part->key.text.len) + cs_base64_decoded_max(part->pop.text.len);
    }
    ev->storage = cs_region_take(ev->in_region ? scratch : NULL, size);
    if (!ev->storage)
        return cs_err_oom(err);
    uint8_t *at = ev->storage;
    for (size_t i = 0; i < ev->data.upload.parts; i++) {
        struct cs_keyed_chain *part = &ev->data.upload.part[i];
        for (size_t k = 0; k < CS_ARRAY_LEN(part->chain); k++)
            recall(&part->chain[k], &at);
        recall(&part->key, &at);
        recall(&part->pop, &at);
    }
    return true;
}

void cs_event_free(struct cs_event *ev) {
    if (!ev)
        return;
    if (ev->type == CS_EVENT_SHARE_OFFER)
        cs_cert_summary_clear(&ev->data.offer.certificate);
    if (ev->in_region)
        return;
    free(ev->storage);
    free(ev);
}

// ---- encoding

bool cs_event_encode(const struct cs_event *ev, struct cs_buf *out, struct cs_err *err) {
    char time[CS_TIME_TEXT_SIZE], sequence[CS_SEQUENCE_LEN + 1];
    if (ev->type <= CS_EVENT_NONE || (int)ev->type >= (int)CS_EVENT_TYPE_END)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_EVENT_MALFORMED, "type: not an event's");
    if (ev->seq < 1 || ev->seq >= CS_SEQ_MAX)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_EVENT_MALFORMED, "sequence: must be from 1 to 2^53-1");
    if (!cs_event_data_check(ev, err))
        return false;
    cs_time_format(ev->time_s, time);
    cs_sequence_format(ev->seq, sequence);
    size_t start = out->len;
    cs_json_begin(out, '{');
    cs_json_str(out, "specversion", "1.0");
    cs_json_str(out, "type", cs_event_type_name(ev->type));
    cs_json_str(out, "id", ev->id);
    cs_event_source_write(out, ev->log_id, ev->account, ev->kid);
    cs_json_str(out, "subject", ev->subject);
    cs_json_str(out, "time", time);
    cs_json_str(out, "sequence", sequence);
    cs_json_str(out, "datacontenttype", "application/json");
    cs_json_name(out, "data");
    cs_event_data_write(out, ev);
    cs_json_end(out, '}');
    if (!cs_buf_ok(out, err))
        return false;
    // What was written is read once: an event that decode refuses must not leave.
    CS_AUTO(cs_event_free) struct cs_event *check = NULL;
    return cs_event_decode((struct cs_bytes){out->data + start, out->len - start}, &check, err);
}
