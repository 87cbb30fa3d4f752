// SPDX-License-Identifier: Apache-2.0
#include "codec/fields.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "certsync/model/codes.h"
#include "certsync/model/policy.h"

// ---- objects

static bool is_default(const struct cs_field *f, const void *base) {
    return f->type->absent && f->type->absent(f, base);
}

static bool in_force(const struct cs_reader *r, const struct cs_field *f) {
    return f->since <= r->ruleset;
}

// Members mostly come in the table's order. So the row after the last one is tried first.
static const struct cs_field *find(const struct cs_fields *fs, struct cs_string name, size_t *next) {
    for (size_t tried = 0; tried < fs->n; tried++, ++*next) {
        if (*next >= fs->n)
            *next = 0;
        const struct cs_field *f = &fs->rows[*next];
        if ((f->name_len == name.len || name.escaped) && cs_string_is(name, f->name, f->name_len)) {
            ++*next;
            return f;
        }
    }
    return NULL;
}

static bool read_row(struct cs_reader *r, const struct cs_fields *fs, const struct cs_field *f, void *base,
                     uint32_t *seen) {
    uint32_t bit = UINT32_C(1) << (f - fs->rows);
    if (*seen & bit)
        return cs_reader_fail(r, "given twice");
    if (r->canonical && *seen > bit)
        return cs_reader_fail(r, "not in order");
    *seen |= bit;
    if (!f->type->read(r, f, base))
        return false;
    if (f->has)
        *((bool *)base + f->has - 1) = true;
    else if (r->canonical && f->optional && is_default(f, base))
        return cs_reader_fail(r, "must be left out");
    return true;
}

bool cs_fields_read(struct cs_reader *r, const struct cs_fields *fs, void *base) {
    uint32_t seen = 0;
    size_t next = 0;
    if (!cs_read_object(r))
        return false;
    for (;;) {
        struct cs_string name;
        bool end;
        if (!cs_read_member(r, &name, &end))
            return false;
        if (end)
            break;
        const struct cs_field *f = find(fs, name, &next);
        if (!f || !in_force(r, f))
            return cs_reader_fail(r, "unknown member");
        if (!read_row(r, fs, f, base, &seen))
            return false;
    }
    for (size_t i = 0; i < fs->n; i++)
        if (!fs->rows[i].optional && in_force(r, &fs->rows[i]) && !(seen >> i & 1))
            return cs_reader_fail_member(r, fs->rows[i].name, "missing");
    return !fs->check || fs->check(r, base, seen);
}

static bool left_out(const struct cs_field *f, const void *base) {
    if (f->has)
        return !*((const bool *)base + f->has - 1);
    return f->optional && is_default(f, base);
}

void cs_fields_write_some(struct cs_buf *b, const struct cs_fields *fs, const void *base, uint32_t which) {
    bool first = true;
    cs_json_begin(b, '{');
    for (size_t i = 0; i < fs->n; i++) {
        const struct cs_field *f = &fs->rows[i];
        if (!(which >> i & 1) || left_out(f, base))
            continue;
        cs_buf_put(b, f->token + first, f->name_len + 4u - first);
        first = false;
        f->type->write(b, f, base);
    }
    cs_json_end(b, '}');
}

void cs_fields_write(struct cs_buf *b, const struct cs_fields *fs, const void *base) {
    cs_fields_write_some(b, fs, base, UINT32_MAX);
}

bool cs_fields_decode(struct cs_bytes text, const struct cs_fields *fs, void *base, struct cs_err *err) {
    struct cs_reader r;
    if (!cs_reader_init(&r, text, CS_READER_DEPTH_MAX, err))
        return false;
    r.canonical = true;
    return cs_fields_read(&r, fs, base) && cs_reader_end(&r);
}

static bool read_object(struct cs_reader *r, const struct cs_field *f, void *base) {
    return cs_fields_read(r, f->fields, cs_field_at(f, base));
}

static void write_object(struct cs_buf *b, const struct cs_field *f, const void *base) {
    cs_fields_write(b, f->fields, cs_field_get(f, base));
}

static bool absent_object(const struct cs_field *f, const void *base) {
    return f->fields->absent && f->fields->absent(cs_field_get(f, base));
}

const struct cs_field_type cs_type_object = {read_object, write_object, absent_object};

// ---- strings

static bool ascii_valid(const char *s, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (s[i] < 0x20 || s[i] > 0x7E)
            return false;
    return true;
}

static bool some_ascii_valid(const char *s, size_t len) {
    return len > 0 && ascii_valid(s, len);
}

// The text is UTF-8; C1 controls are C2 80 to C2 9F there.
static bool text_valid(const char *s, size_t len) {
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < 0x20 || c == 0x7F || (c == 0xC2 && (unsigned char)s[i + 1] < 0xA0))
            return false;
    }
    return len > 0;
}

const struct cs_form cs_form_uuid = {cs_uuid_valid, "a UUID in lower case"};
const struct cs_form cs_form_kid = {cs_kid_valid, "a key id"};
const struct cs_form cs_form_account = {cs_account_valid, "an account id"};
const struct cs_form cs_form_deployment = {cs_deployment_valid, "a deployment id"};
const struct cs_form cs_form_nonce = {cs_nonce_valid, "32 hex digits in lower case"};
const struct cs_form cs_form_log_id = {cs_log_id_valid, "a log's id"};
const struct cs_form cs_form_owner = {cs_owner_valid, "an owner id"};
const struct cs_form cs_form_pattern = {cs_pattern_valid, "a name pattern"};
const struct cs_form cs_form_dns = {cs_dns_pattern_valid, "a pattern of host names"};
const struct cs_form cs_form_issuer = {cs_policy_issuer_valid, "\"spki:<hex>\" or \"name:<pattern>\""};
const struct cs_form cs_form_name = {ascii_valid, "printable ASCII"};
const struct cs_form cs_form_ascii = {some_ascii_valid, "printable ASCII, not empty"};
const struct cs_form cs_form_text = {text_valid, "text without control characters, not empty"};

static bool read_string(struct cs_reader *r, const struct cs_field *f, void *base) {
    struct cs_string s;
    char *out = cs_field_at(f, base);
    if (!cs_read_string(r, f->form->what, &s))
        return false;
    size_t len = cs_string_copy(s, out, f->size);
    if (len >= f->size)
        return cs_reader_fail(r, "longer than %d bytes", f->size - 1);
    if (!f->form->valid(out, len))
        return cs_reader_fail(r, "must be %s", f->form->what);
    return true;
}

static void write_string(struct cs_buf *b, const struct cs_field *f, const void *base) {
    cs_json_put_str(b, cs_field_get(f, base));
}

static bool absent_string(const struct cs_field *f, const void *base) {
    return *(const char *)cs_field_get(f, base) == '\0';
}

const struct cs_field_type cs_type_string = {read_string, write_string, absent_string};

// ---- lines

static bool has_line(const char *lines, const char *s, size_t len) {
    for (;;) {
        size_t n = strcspn(lines, "\n");
        if (n == len && memcmp(lines, s, len) == 0)
            return true;
        if (lines[n] == '\0')
            return false;
        lines += n + 1;
    }
}

// The next line, behind the *used bytes that are there.
static bool read_line(struct cs_reader *r, const struct cs_field *f, char *out, size_t *used) {
    struct cs_string s;
    if (!cs_read_string(r, f->form->what, &s))
        return false;
    size_t at = *used > 0 ? *used + 1 : 0;
    if (at >= f->size)
        return cs_reader_fail(r, "longer than %d bytes in all", f->size - 1);
    char *line = out + at;
    size_t len = cs_string_copy(s, line, f->size - at);
    bool fits = len < f->size - at;
    bool valid = fits && f->form->valid(line, len);
    if (valid && *used > 0 && has_line(out, line, len))
        return cs_reader_fail(r, "given twice");
    if (!fits)
        return cs_reader_fail(r, "longer than %d bytes in all", f->size - 1);
    if (!valid)
        return cs_reader_fail(r, "must be %s", f->form->what);
    if (*used > 0)
        line[-1] = '\n';
    *used = at + len;
    return true;
}

static bool read_lines(struct cs_reader *r, const struct cs_field *f, void *base) {
    char *out = cs_field_at(f, base);
    size_t used = 0;
    out[0] = '\0';
    if (!cs_read_array(r, "an array of strings"))
        return false;
    for (;;) {
        bool end;
        if (!cs_read_item(r, &end))
            return false;
        if (end)
            return used > 0 || f->min == 0 || cs_reader_fail(r, "empty");
        if (!read_line(r, f, out, &used))
            return false;
    }
}

static void write_lines(struct cs_buf *b, const struct cs_field *f, const void *base) {
    const char *line = cs_field_get(f, base);
    cs_json_begin(b, '[');
    while (*line) {
        size_t len = strcspn(line, "\n");
        cs_json_put_strn(b, line, len);
        line += len + (line[len] == '\n');
    }
    cs_json_end(b, ']');
}

const struct cs_field_type cs_type_lines = {read_lines, write_lines, absent_string};

static bool read_heap_string(struct cs_reader *r, char **ret) {
    struct cs_string s;
    if (!cs_read_string(r, "a string", &s))
        return false;
    char *text = malloc(s.len + 1);
    if (!text)
        return cs_err_oom(r->err);
    cs_string_copy(s, text, s.len + 1);
    *ret = text;
    return true;
}

static bool read_heap(struct cs_reader *r, const struct cs_field *f, void *base) {
    return read_heap_string(r, cs_field_at(f, base));
}

static void write_heap(struct cs_buf *b, const struct cs_field *f, const void *base) {
    const char *s = *(char *const *)cs_field_get(f, base);
    cs_json_put_str(b, s ? s : "");
}

const struct cs_field_type cs_type_heap = {read_heap, write_heap, NULL};

// Makes room for one more item. A heap list doubles, but never above f->max items.
static bool grow(struct cs_reader *r, const struct cs_field *f, size_t len, size_t item_size, void **items) {
    if ((len & (len - 1)) != 0 || (len != 0 && len < 4)) // full only at 0 and at powers of two from 4 on
        return true;
    size_t cap = len == 0 ? 4 : len * 2;
    if (cap > (size_t)f->max)
        cap = (size_t)f->max;
    void *grown = realloc(*items, cap * item_size);
    if (!grown)
        return cs_err_oom(r->err);
    *items = grown;
    return true;
}

static bool read_heaps(struct cs_reader *r, const struct cs_field *f, void *base) {
    char ***list = cs_field_at(f, base);
    size_t *len = cs_field_len(f, base);
    if (!cs_read_array(r, "an array of strings"))
        return false;
    for (;;) {
        bool end;
        if (!cs_read_item(r, &end))
            return false;
        if (end)
            return true;
        if (*len == (size_t)f->max)
            return cs_reader_fail(r, "too many");
        if (!grow(r, f, *len, sizeof **list, (void **)list) || !read_heap_string(r, &(*list)[*len]))
            return false;
        ++*len;
    }
}

static void write_heaps(struct cs_buf *b, const struct cs_field *f, const void *base) {
    char *const *list = *(char *const *const *)cs_field_get(f, base);
    cs_json_begin(b, '[');
    for (size_t i = 0; i < cs_field_count(f, base); i++)
        cs_json_put_str(b, list[i]);
    cs_json_end(b, ']');
}

const struct cs_field_type cs_type_heaps = {read_heaps, write_heaps, NULL};

// ---- numbers, truth values, times

static int64_t get_int(const struct cs_field *f, const void *base) {
    if (f->size == sizeof(int64_t))
        return *(const int64_t *)cs_field_get(f, base);
    return *(const int32_t *)cs_field_get(f, base);
}

static bool read_int(struct cs_reader *r, const struct cs_field *f, void *base) {
    int64_t v;
    if (!cs_read_int(r, f->min, f->max, &v))
        return false;
    if (f->size == sizeof(int64_t))
        *(int64_t *)cs_field_at(f, base) = v;
    else
        *(int32_t *)cs_field_at(f, base) = (int32_t)v;
    return true;
}

static void write_int(struct cs_buf *b, const struct cs_field *f, const void *base) {
    cs_json_put_int(b, get_int(f, base));
}

static bool absent_int(const struct cs_field *f, const void *base) {
    return get_int(f, base) == f->none;
}

const struct cs_field_type cs_type_int = {read_int, write_int, absent_int};

static bool read_sequence(struct cs_reader *r, const struct cs_field *f, void *base) {
    static const char what[] = "16 decimal digits, from \"0000000000000001\" to \"9007199254740991\"";
    struct cs_string s;
    char text[CS_SEQUENCE_LEN + 1];
    if (!cs_read_string(r, what, &s))
        return false;
    size_t len = cs_string_copy(s, text, sizeof text);
    if (!cs_sequence_parse(text, len, cs_field_at(f, base)))
        return cs_reader_fail(r, "must be %s", what);
    return true;
}

static void write_sequence(struct cs_buf *b, const struct cs_field *f, const void *base) {
    char text[CS_SEQUENCE_LEN + 1];
    cs_sequence_format(get_int(f, base), text);
    cs_json_put_strn(b, text, CS_SEQUENCE_LEN);
}

const struct cs_field_type cs_type_sequence = {read_sequence, write_sequence, absent_int};

static bool read_bool(struct cs_reader *r, const struct cs_field *f, void *base) {
    return cs_read_bool(r, cs_field_at(f, base));
}

static void write_bool(struct cs_buf *b, const struct cs_field *f, const void *base) {
    cs_json_put_bool(b, *(const bool *)cs_field_get(f, base));
}

static bool absent_bool(const struct cs_field *f, const void *base) {
    return !*(const bool *)cs_field_get(f, base);
}

const struct cs_field_type cs_type_bool = {read_bool, write_bool, absent_bool};

static bool read_time(struct cs_reader *r, const struct cs_field *f, void *base) {
    static const char what[] = "a time like \"2026-11-23T12:00:00Z\"";
    struct cs_string s;
    char text[40];
    if (!cs_read_string(r, what, &s))
        return false;
    size_t len = cs_string_copy(s, text, sizeof text);
    if (len >= sizeof text || !cs_time_parse(text, len, cs_field_at(f, base)))
        return cs_reader_fail(r, "must be %s", what);
    return true;
}

static void write_time(struct cs_buf *b, const struct cs_field *f, const void *base) {
    char text[CS_TIME_TEXT_SIZE];
    cs_time_format(get_int(f, base), text);
    cs_json_put_str(b, text);
}

const struct cs_field_type cs_type_time = {read_time, write_time, absent_int};

// ---- bytes

static bool read_hash(struct cs_reader *r, const struct cs_field *f, void *base) {
    struct cs_string s;
    if (!cs_read_string(r, "a hash in lower-case hex", &s))
        return false;
    if (s.escaped || s.len != (size_t)f->size * 2 || !cs_hex_decode(s.s, s.len, cs_field_at(f, base)))
        return cs_reader_fail(r, "must be a hash in lower-case hex");
    return true;
}

static void write_hash(struct cs_buf *b, const struct cs_field *f, const void *base) {
    cs_json_put_hex(b, (struct cs_bytes){cs_field_get(f, base), f->size});
}

const struct cs_field_type cs_type_hash = {read_hash, write_hash, NULL};

static bool read_bytes(struct cs_reader *r, const struct cs_field *f, void *base) {
    struct cs_string s;
    struct cs_bytes *ret = cs_field_at(f, base);
    if (!cs_read_string(r, "a base64 string", &s))
        return false;
    size_t len;
    uint8_t *data = malloc(cs_base64_decoded_max(s.len) + 1);
    if (!data)
        return cs_err_oom(r->err);
    if (s.escaped || !cs_base64_decode(s.s, s.len, data, &len)) {
        free(data);
        return cs_reader_fail(r, "not canonical base64");
    }
    *ret = (struct cs_bytes){data, len};
    return true;
}

static void write_bytes(struct cs_buf *b, const struct cs_field *f, const void *base) {
    cs_json_put_base64(b, *(const struct cs_bytes *)cs_field_get(f, base));
}

static bool absent_bytes(const struct cs_field *f, const void *base) {
    return ((const struct cs_bytes *)cs_field_get(f, base))->len == 0;
}

const struct cs_field_type cs_type_bytes = {read_bytes, write_bytes, absent_bytes};

// ---- lists of objects

static bool read_items(struct cs_reader *r, const struct cs_field *f, void *base, bool heap) {
    char *items = heap ? NULL : cs_field_at(f, base);
    size_t *len = cs_field_len(f, base);
    if (!cs_read_array(r, "an array of objects"))
        return false;
    for (;;) {
        bool end;
        if (!cs_read_item(r, &end))
            return false;
        if (end)
            break;
        if (*len == (size_t)f->max)
            return cs_reader_fail(r, "too many");
        if (heap) {
            void **list = cs_field_at(f, base);
            if (!grow(r, f, *len, f->item_size, list))
                return false;
            items = *list;
        }
        char *item = items + *len * f->item_size;
        memset(item, 0, f->item_size);
        ++*len; // before it is read: what it owns is freed also where reading it fails
        if (!cs_fields_read(r, f->fields, item))
            return false;
    }
    return *len >= (size_t)f->min || cs_reader_fail(r, "too few");
}

static void write_items(struct cs_buf *b, const struct cs_field *f, const void *base, const char *items) {
    cs_json_begin(b, '[');
    for (size_t i = 0; i < cs_field_count(f, base); i++)
        cs_fields_write(b, f->fields, items + i * f->item_size);
    cs_json_end(b, ']');
}

static bool absent_list(const struct cs_field *f, const void *base) {
    return cs_field_count(f, base) == 0;
}

static bool read_list(struct cs_reader *r, const struct cs_field *f, void *base) {
    return read_items(r, f, base, false);
}

static void write_list(struct cs_buf *b, const struct cs_field *f, const void *base) {
    write_items(b, f, base, cs_field_get(f, base));
}

const struct cs_field_type cs_type_list = {read_list, write_list, absent_list};

static bool read_heap_list(struct cs_reader *r, const struct cs_field *f, void *base) {
    return read_items(r, f, base, true);
}

static void write_heap_list(struct cs_buf *b, const struct cs_field *f, const void *base) {
    write_items(b, f, base, *(const char *const *)cs_field_get(f, base));
}

const struct cs_field_type cs_type_heap_list = {read_heap_list, write_heap_list, absent_list};

// ---- enums of ident.h and codes.h

static bool code_parse(const char *s, size_t len, enum cs_code *ret) {
    *ret = cs_code_from_name(s, len);
    return *ret != CS_CODE_NONE || len == 0;
}

CS_DEFINE_ENUM_TYPE(, algorithm, enum cs_algorithm, cs_algorithm_name, cs_algorithm_parse,
                    "\"international\" or \"sm2\"");
CS_DEFINE_ENUM_TYPE(, site, enum cs_site, cs_site_name, cs_site_parse, "\"cn\" or \"intl\"");
CS_DEFINE_ENUM_TYPE(, source, enum cs_source, cs_source_name, cs_source_parse,
                    "\"uploaded\", \"official\", \"test\" or \"shared\"");
CS_DEFINE_ENUM_TYPE(, code, enum cs_code, cs_code_name, code_parse, "a code of codes.h, or empty");
