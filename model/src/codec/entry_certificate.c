// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/model/cert.h"
#include "certsync/model/entry.h"
#include "codec/entry_fields.h"

// ---- leaf and summary

static bool serial_valid(const char *s, size_t len) {
    size_t sign = len > 0 && s[0] == '-';
    for (size_t i = sign; i < len; i++)
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
            return false;
    return len > sign;
}
static const struct cs_form serial_form = {serial_valid, "a serial number in lower-case hex"};

CS_DEFINE_ENUM_TYPE(static, key_type, enum cs_key_type, cs_key_type_name, cs_key_type_parse, "a key type");

static const struct cs_field leaf_rows[] = {
    {CS_FIELD("sha256", struct cs_leaf, sha256), .type = &cs_type_hash},
    {CS_FIELD("spki_sha256", struct cs_leaf, spki_sha256), .type = &cs_type_hash},
    {CS_FIELD("serial", struct cs_leaf, serial), .type = &cs_type_string, .form = &serial_form},
    {CS_FIELD("not_before_s", struct cs_leaf, not_before_s), CS_FIELD_ANY_TIME},
    {CS_FIELD("not_after_s", struct cs_leaf, not_after_s), CS_FIELD_ANY_TIME},
    {CS_FIELD("key_type", struct cs_leaf, key_type), .type = &cs_type_key_type},
    {CS_FIELD("key_bits", struct cs_leaf, key_bits), .type = &cs_type_int, .max = 65536},
    {CS_FIELD_POINTER("subject", struct cs_leaf, subject), .type = &cs_type_heap},
    {CS_FIELD_POINTER("issuer", struct cs_leaf, issuer), .type = &cs_type_heap},
    {CS_FIELD("names_total", struct cs_leaf, names_total), CS_FIELD_COUNT},
    {CS_FIELD_POINTER("names", struct cs_leaf, names), .type = &cs_type_heaps, .max = CS_CERT_NAMES_MAX,
     .len_at = offsetof(struct cs_leaf, names_len)},
};
static bool leaf_check(struct cs_reader *r, const void *base, uint32_t seen) {
    const struct cs_leaf *v = base;
    (void)seen;
    if (v->names_total < v->names_len)
        return cs_reader_fail_member(r, "names_total", "less than there are names");
    return true;
}
static const struct cs_fields leaf_fields = {CS_FIELDS(leaf_rows), .check = leaf_check};

static bool read_tags(struct cs_reader *r, const struct cs_field *f, void *base) {
    struct cs_tag_list *tags = cs_field_at(f, base);
    if (!cs_read_array(r, "an array of tags"))
        return false;
    for (;;) {
        struct cs_string s;
        bool end;
        if (!cs_read_item(r, &end))
            return false;
        if (end)
            return true;
        if (tags->len == CS_TAGS_MAX)
            return cs_reader_fail(r, "more than %d tags", CS_TAGS_MAX);
        if (!cs_read_string(r, "a tag", &s))
            return false;
        char *tag = tags->tag[tags->len++];
        size_t len = cs_string_copy(s, tag, sizeof(cs_tag));
        if (!cs_tag_valid(tag, len))
            return cs_reader_fail(r, "must be a tag");
    }
}

static void write_tags(struct cs_buf *b, const struct cs_field *f, const void *base) {
    const struct cs_tag_list *tags = cs_field_get(f, base);
    cs_json_begin(b, '[');
    for (size_t i = 0; i < tags->len; i++)
        cs_json_put_str(b, tags->tag[i]);
    cs_json_end(b, ']');
}

static bool absent_tags(const struct cs_field *f, const void *base) {
    return ((const struct cs_tag_list *)cs_field_get(f, base))->len == 0;
}

const struct cs_field_type cs_type_tags = {read_tags, write_tags, absent_tags};

// In the order of CS_NOTES, each once.
static bool read_notes(struct cs_reader *r, const struct cs_field *f, void *base) {
    static const char what[] = "an array of notes, in their order";
    uint32_t *notes = cs_field_at(f, base);
    if (!cs_read_array(r, what))
        return false;
    for (unsigned next = 0;;) {
        struct cs_string s;
        bool end;
        if (!cs_read_item(r, &end))
            return false;
        if (end)
            return true;
        if (!cs_read_string(r, "a note", &s))
            return false;
        while (next < CS_NOTE_COUNT &&
               !cs_string_is(s, cs_code_name(cs_note_code(next)), strlen(cs_code_name(cs_note_code(next)))))
            next++;
        if (next == CS_NOTE_COUNT)
            return cs_reader_fail(r, "must be %s", what);
        *notes |= 1u << next++;
    }
}

static void write_notes(struct cs_buf *b, const struct cs_field *f, const void *base) {
    uint32_t notes = *(const uint32_t *)cs_field_get(f, base);
    cs_json_begin(b, '[');
    for (unsigned i = 0; i < CS_NOTE_COUNT; i++)
        if (notes >> i & 1)
            cs_json_put_str(b, cs_code_name(cs_note_code(i)));
    cs_json_end(b, ']');
}

static bool absent_notes(const struct cs_field *f, const void *base) {
    return *(const uint32_t *)cs_field_get(f, base) == 0;
}

const struct cs_field_type cs_type_notes = {read_notes, write_notes, absent_notes};

static const struct cs_field summary_rows[] = {
    {CS_FIELD("name", struct cs_cert_summary, name), .type = &cs_type_string, .form = &cs_form_name},
    {CS_FIELD("algorithm", struct cs_cert_summary, algorithm), .type = &cs_type_algorithm},
    {CS_FIELD("source", struct cs_cert_summary, source), .type = &cs_type_source},
    {CS_FIELD("version", struct cs_cert_summary, version), CS_FIELD_COUNT},
    {CS_FIELD("notes", struct cs_cert_summary, notes), .type = &cs_type_notes, .optional = true},
    {CS_FIELD("chain_ends_s", struct cs_cert_summary, chain_ends_s), CS_FIELD_COUNT, .optional = true},
    {CS_FIELD("tags", struct cs_cert_summary, tags), .type = &cs_type_tags, .optional = true},
    {CS_FIELD("leaves", struct cs_cert_summary, leaves), .type = &cs_type_list, .fields = &leaf_fields,
     .item_size = sizeof(struct cs_leaf), .min = 1, .max = 2,
     .len_at = offsetof(struct cs_cert_summary, leaves_len)},
};
static bool summary_check(struct cs_reader *r, const void *base, uint32_t seen) {
    const struct cs_cert_summary *v = base;
    (void)seen;
    if (v->source == CS_SOURCE_SHARED)
        return cs_reader_fail_member(r, "source", "must be \"uploaded\", \"official\" or \"test\"");
    if (v->leaves_len != (v->algorithm == CS_ALGORITHM_SM2 ? 2 : 1))
        return cs_reader_fail_member(r, "leaves", "not as many as the algorithm has");
    return true;
}
const struct cs_fields cs_summary_fields = {CS_FIELDS(summary_rows), .check = summary_check};

static void names_free(char **names, size_t n) {
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

void cs_cert_summary_clear(struct cs_cert_summary *v) {
    for (size_t i = 0; i < CS_ARRAY_LEN(v->leaves); i++) {
        struct cs_leaf *leaf = &v->leaves[i];
        free(leaf->subject);
        free(leaf->issuer);
        names_free(leaf->names, leaf->names_len);
    }
    memset(v, 0, sizeof *v);
}

static bool leaf_copy(const struct cs_leaf *from, struct cs_leaf *to) {
    *to = *from;
    to->names_len = 0;
    to->subject = strdup(from->subject ? from->subject : "");
    to->issuer = strdup(from->issuer ? from->issuer : "");
    to->names = from->names_len > 0 ? malloc(from->names_len * sizeof *to->names) : NULL;
    if (!to->subject || !to->issuer || (from->names_len > 0 && !to->names))
        return false;
    for (; to->names_len < from->names_len; to->names_len++) {
        to->names[to->names_len] = strdup(from->names[to->names_len]);
        if (!to->names[to->names_len])
            return false;
    }
    return true;
}

bool cs_cert_summary_copy(const struct cs_cert_summary *v, struct cs_cert_summary *ret, struct cs_err *err) {
    struct cs_cert_summary copy = *v;
    memset(copy.leaves, 0, sizeof copy.leaves);
    for (size_t i = 0; i < v->leaves_len; i++) {
        if (!leaf_copy(&v->leaves[i], &copy.leaves[i])) {
            cs_cert_summary_clear(&copy);
            return cs_err_oom(err);
        }
    }
    *ret = copy;
    return true;
}

bool cs_tags_equal(const struct cs_tag_list *a, const struct cs_tag_list *b) {
    bool same = a->len == b->len;
    for (size_t i = 0; same && i < a->len; i++)
        same = strcmp(a->tag[i], b->tag[i]) == 0;
    return same;
}

// ---- certificate

static const struct cs_field share_ref_rows[] = {
    {CS_FIELD("share", struct cs_share_ref, share), .type = &cs_type_string, .form = &cs_form_uuid},
    {CS_FIELD("to", struct cs_share_ref, to), .type = &cs_type_string, .form = &cs_form_account},
};
static const struct cs_fields share_ref_fields = {CS_FIELDS(share_ref_rows)};

static const struct cs_field old_version_rows[] = {
    {CS_FIELD("version", struct cs_old_version, version), CS_FIELD_COUNT},
    {CS_FIELD("sha256", struct cs_old_version, sha256), .type = &cs_type_hash},
    {CS_FIELD("serial", struct cs_old_version, serial), .type = &cs_type_string, .form = &serial_form},
    {CS_FIELD("not_after_s", struct cs_old_version, not_after_s), CS_FIELD_ANY_TIME},
    {CS_FIELD("ends_s", struct cs_old_version, ends_s), CS_FIELD_ANY_TIME, .optional = true},
    {CS_FIELD("installed", struct cs_old_version, installed), CS_FIELD_COUNT, .optional = true},
};
static const struct cs_fields old_version_fields = {CS_FIELDS(old_version_rows)};

// A tombstone lacks some rows: they are optional here. tombstone_check says which must be there.
static const struct cs_field certificate_rows[] = {
    {CS_FIELD("id", struct cs_certificate, id), .type = &cs_type_string, .form = &cs_form_uuid},
    {CS_FIELD("deleted", struct cs_certificate, deleted), .type = &cs_type_bool, .optional = true},
    {CS_FIELD("summary", struct cs_certificate, summary), .type = &cs_type_object,
     .fields = &cs_summary_fields, .optional = true},
    {CS_FIELD("by", struct cs_certificate, by), .type = &cs_type_string, .form = &cs_form_kid,
     .optional = true},
    {CS_FIELD("contact", struct cs_certificate, contact), .type = &cs_type_string, .form = &cs_form_text,
     .optional = true},
    {CS_FIELD("note", struct cs_certificate, note), .type = &cs_type_string, .form = &cs_form_text,
     .optional = true},
    {CS_FIELD("created_ms", struct cs_certificate, created_ms), CS_FIELD_ANY_TIME, .none = INT64_MIN,
     .optional = true},
    {CS_FIELD("updated_ms", struct cs_certificate, updated_ms), CS_FIELD_ANY_TIME},
    {CS_FIELD_POINTER("shares", struct cs_certificate, shares), .type = &cs_type_heap_list,
     .fields = &share_ref_fields, .item_size = sizeof(struct cs_share_ref), .min = 1, .max = CS_SHARES_MAX,
     .len_at = offsetof(struct cs_certificate, shares_len), .optional = true},
    {CS_FIELD("old_versions", struct cs_certificate, old), .type = &cs_type_list,
     .fields = &old_version_fields, .item_size = sizeof(struct cs_old_version), .min = 1,
     .max = CS_OLD_VERSIONS_MAX, .len_at = offsetof(struct cs_certificate, old_len), .optional = true},
    {CS_FIELD("installed", struct cs_certificate, installed), CS_FIELD_COUNT, .optional = true},
    {CS_FIELD("older_installed", struct cs_certificate, older_installed), CS_FIELD_COUNT, .optional = true},
    {CS_FIELD("older_ends_s", struct cs_certificate, older_ends_s), CS_FIELD_ANY_TIME, .optional = true},
};
#define CERTIFICATE_TOMBSTONE 0x83u // id, deleted, updated_ms
#define CERTIFICATE_LIVE      0xCDu // id, summary, by, created_ms, updated_ms

static bool tombstone_check(struct cs_reader *r, const struct cs_fields *fs, uint32_t seen, bool deleted,
                            uint32_t tombstone, uint32_t live) {
    if (deleted ? seen == tombstone : (seen & live) == live)
        return true;
    for (size_t i = 0; !deleted && i < fs->n; i++)
        if ((live & ~seen) >> i & 1)
            return cs_reader_fail_member(r, fs->rows[i].name, "missing");
    return cs_reader_fail(r, "a tombstone with more members than it may have");
}

static const struct cs_fields certificate_fields;
static bool certificate_check(struct cs_reader *r, const void *base, uint32_t seen) {
    const struct cs_certificate *v = base;
    return tombstone_check(r, &certificate_fields, seen, v->deleted, CERTIFICATE_TOMBSTONE, CERTIFICATE_LIVE);
}
static const struct cs_fields certificate_fields = {CS_FIELDS(certificate_rows), .check = certificate_check};

void cs_certificate_clear(struct cs_certificate *v) {
    cs_cert_summary_clear(&v->summary);
    free(v->shares);
    memset(v, 0, sizeof *v);
}

void cs_certificate_encode(struct cs_buf *b, const struct cs_certificate *v) {
    cs_fields_write_some(b, &certificate_fields, v, v->deleted ? CERTIFICATE_TOMBSTONE : UINT32_MAX);
}

bool cs_certificate_decode(struct cs_bytes json, struct cs_certificate *ret, struct cs_err *err) {
    struct cs_certificate v;
    memset(&v, 0, sizeof v);
    if (!cs_entry_read(json, &certificate_fields, &v, err)) {
        cs_certificate_clear(&v);
        return false;
    }
    *ret = v;
    return true;
}

int64_t cs_summary_not_after(const struct cs_cert_summary *s) {
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < s->leaves_len; i++)
        if (s->leaves[i].not_after_s < first)
            first = s->leaves[i].not_after_s;
    return first;
}

int64_t cs_summary_ends(const struct cs_cert_summary *s) {
    int64_t first = cs_summary_not_after(s);
    return s->chain_ends_s != 0 && s->chain_ends_s < first ? s->chain_ends_s : first;
}

int64_t cs_certificate_behind(const struct cs_certificate *v) {
    int64_t n = v->older_installed;
    for (size_t i = 0; i < v->old_len; i++)
        n += v->old[i].installed;
    return n;
}

int64_t cs_certificate_hosts(const struct cs_certificate *v) {
    return v->installed + cs_certificate_behind(v);
}

int64_t cs_certificate_ends_in_use(const struct cs_certificate *v) {
    int64_t first = cs_summary_ends(&v->summary);
    if (v->older_installed > 0 && v->older_ends_s < first)
        first = v->older_ends_s;
    for (size_t i = 0; i < v->old_len; i++) {
        const struct cs_old_version *old = &v->old[i];
        int64_t ends_s = old->ends_s != 0 ? old->ends_s : old->not_after_s;
        if (old->installed > 0 && ends_s < first)
            first = ends_s;
    }
    return first;
}

// ---- installed

static const struct cs_form place_form = {cs_place_valid, CS_PLACE_FORM};
static const struct cs_field installed_at_rows[] = {
    {CS_FIELD("place", struct cs_installed_at, place), .type = &cs_type_string, .form = &place_form},
    {CS_FIELD("version", struct cs_installed_at, version), CS_FIELD_COUNT},
    {CS_FIELD("since_ms", struct cs_installed_at, since_ms), CS_FIELD_ANY_TIME},
};
static const struct cs_fields installed_at_fields = {CS_FIELDS(installed_at_rows)};
static const struct cs_field installed_rows[] = {
    {CS_FIELD("at", struct cs_installed, at), .type = &cs_type_list, .fields = &installed_at_fields,
     .item_size = sizeof(struct cs_installed_at), .min = 1, .max = CS_PLACES_MAX,
     .len_at = offsetof(struct cs_installed, len)},
};
static const struct cs_fields installed_fields = {CS_FIELDS(installed_rows)};
CS_DEFINE_ENTRY(installed, struct cs_installed)

int64_t cs_installed_lowest(const struct cs_installed *v) {
    int64_t lowest = v->len > 0 ? v->at[0].version : 0;
    for (size_t i = 1; i < v->len; i++)
        if (v->at[i].version < lowest)
            lowest = v->at[i].version;
    return lowest;
}

// ---- certificate signing request

static const struct cs_field csr_use_rows[] = {
    {CS_FIELD("certificate", struct cs_csr_entry, used.certificate), .type = &cs_type_string,
     .form = &cs_form_uuid},
    {CS_FIELD("name", struct cs_csr_entry, used.name), .type = &cs_type_string, .form = &cs_form_name},
    {CS_FIELD("version", struct cs_csr_entry, used.version), CS_FIELD_COUNT},
    {CS_FIELD("at_ms", struct cs_csr_entry, used.at_ms), CS_FIELD_ANY_TIME},
};
static bool csr_unused(const void *base) {
    return ((const struct cs_csr_entry *)base)->used.certificate[0] == '\0';
}
static const struct cs_fields csr_use_fields = {CS_FIELDS(csr_use_rows), .absent = csr_unused};

static const struct cs_field csr_rows[] = {
    {CS_FIELD("id", struct cs_csr_entry, id), .type = &cs_type_string, .form = &cs_form_uuid},
    {CS_FIELD("deleted", struct cs_csr_entry, deleted), .type = &cs_type_bool, .optional = true},
    {CS_FIELD("name", struct cs_csr_entry, name), .type = &cs_type_string, .form = &cs_form_name,
     .optional = true},
    {CS_FIELD("csr", struct cs_csr_entry, der), .type = &cs_type_bytes, .optional = true},
    {CS_FIELD("key", struct cs_csr_entry, key), .type = &cs_type_bytes, .optional = true},
    {CS_FIELD("spki_sha256", struct cs_csr_entry, spki_sha256), .type = &cs_type_hash, .optional = true},
    {CS_FIELD_POINTER("subject", struct cs_csr_entry, subject), .type = &cs_type_heap, .optional = true},
    {CS_FIELD_POINTER("names", struct cs_csr_entry, names), .type = &cs_type_heaps, .max = CS_CERT_NAMES_MAX,
     .len_at = offsetof(struct cs_csr_entry, names_len), .optional = true},
    {CS_FIELD("key_type", struct cs_csr_entry, key_type), .type = &cs_type_key_type, .optional = true},
    {CS_FIELD("key_bits", struct cs_csr_entry, key_bits), .type = &cs_type_int, .max = 65536, .none = -1,
     .optional = true},
    {CS_FIELD("created_ms", struct cs_csr_entry, created_ms), CS_FIELD_ANY_TIME, .none = INT64_MIN,
     .optional = true},
    {CS_FIELD_NAMED("used"), .type = &cs_type_object, .fields = &csr_use_fields, .optional = true},
};
#define CSR_TOMBSTONE 0x3u
#define CSR_LIVE      0x7FDu // all but deleted

static const struct cs_fields csr_fields;
static bool csr_check(struct cs_reader *r, const void *base, uint32_t seen) {
    const struct cs_csr_entry *v = base;
    return tombstone_check(r, &csr_fields, seen, v->deleted, CSR_TOMBSTONE, CSR_LIVE);
}
static const struct cs_fields csr_fields = {CS_FIELDS(csr_rows), .check = csr_check};

void cs_csr_entry_clear(struct cs_csr_entry *v) {
    free((void *)v->der.data);
    free((void *)v->key.data);
    free(v->subject);
    names_free(v->names, v->names_len);
    memset(v, 0, sizeof *v);
}

void cs_csr_entry_encode(struct cs_buf *b, const struct cs_csr_entry *v) {
    cs_fields_write_some(b, &csr_fields, v, v->deleted ? CSR_TOMBSTONE : UINT32_MAX);
}

bool cs_csr_entry_decode(struct cs_bytes json, struct cs_csr_entry *ret, struct cs_err *err) {
    struct cs_csr_entry v;
    memset(&v, 0, sizeof v);
    if (!cs_entry_read(json, &csr_fields, &v, err)) {
        cs_csr_entry_clear(&v);
        return false;
    }
    *ret = v;
    return true;
}

// ---- what was shared in

static const struct cs_field shared_in_rows[] = {
    {CS_FIELD("share", struct cs_shared_in, share), .type = &cs_type_string, .form = &cs_form_uuid},
    {CS_FIELD("owner_account", struct cs_shared_in, owner_account), .type = &cs_type_string,
     .form = &cs_form_account},
    {CS_FIELD("certificate", struct cs_shared_in, certificate), .type = &cs_type_string,
     .form = &cs_form_uuid},
    {CS_FIELD("summary", struct cs_shared_in, summary), .type = &cs_type_object,
     .fields = &cs_summary_fields},
    {CS_FIELD("created_ms", struct cs_shared_in, created_ms), CS_FIELD_ANY_TIME},
    {CS_FIELD("updated_ms", struct cs_shared_in, updated_ms), CS_FIELD_ANY_TIME},
};
static const struct cs_fields shared_in_fields = {CS_FIELDS(shared_in_rows)};

void cs_shared_in_clear(struct cs_shared_in *v) {
    cs_cert_summary_clear(&v->summary);
    memset(v, 0, sizeof *v);
}

void cs_shared_in_encode(struct cs_buf *b, const struct cs_shared_in *v) {
    cs_fields_write(b, &shared_in_fields, v);
}

bool cs_shared_in_decode(struct cs_bytes json, struct cs_shared_in *ret, struct cs_err *err) {
    struct cs_shared_in v;
    memset(&v, 0, sizeof v);
    if (!cs_entry_read(json, &shared_in_fields, &v, err)) {
        cs_shared_in_clear(&v);
        return false;
    }
    *ret = v;
    return true;
}
