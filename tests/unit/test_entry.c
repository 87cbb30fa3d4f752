// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "entry_samples.h"
#include "json_edit.h"

#define UNREADABLE "the catalog holds a document that this release cannot read: "

// Decodes from a block of exactly the text's length and encodes again. detail NULL: must give the same bytes.
static void expect_len(const struct entry_sample *s, const char *text, size_t len, const char *detail) {
    struct cs_err err = {0};
    struct cs_buf b;
    cs_buf_init(&b, CS_EVENT_MAX);
    uint8_t *exact = malloc(len + (len == 0));
    assert_non_null(exact);
    memcpy(exact, text, len);
    bool ok = s->again((struct cs_bytes){exact, len}, &b, &err);
    free(exact);
    if (ok && detail)
        fail_msg("%s: accepted, not \"%s\": %.*s", s->name, detail, (int)len, text);
    if (!ok && !detail)
        fail_msg("%s: refused (%s): %.*s", s->name, err.msg, (int)len, text);
    if (ok) {
        assert_int_equal(b.len, len);
        assert_memory_equal(b.data, text, len);
    } else {
        // Outcomes come from a topic, entries from the catalog.
        bool outcome = s->again == again_outcome;
        assert_int_equal(err.kind, outcome ? CS_ERR_REJECT : CS_ERR_FATAL);
        assert_int_equal(err.code, outcome ? CS_CODE_EVENT_MALFORMED : CS_CODE_NONE);
        const char *msg = err.msg;
        if (!outcome) {
            assert_memory_equal(msg, UNREADABLE, strlen(UNREADABLE));
            msg += strlen(UNREADABLE);
        }
        if (detail[0] != '\0')
            assert_string_equal(msg, detail);
    }
    cs_buf_clear(&b);
}

// Frees text. detail "": any.
static void expect(const struct entry_sample *s, char *text, const char *detail) {
    expect_len(s, text, strlen(text), detail);
    free(text);
}

static void samples_round_trip(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(entry_samples); i++)
        expect(&entry_samples[i], strdup(entry_samples[i].text), NULL);
    for (size_t k = 0; k < CS_ARRAY_LEN(entry_kinds); k++) {
        bool have = false;
        for (size_t i = 0; i < CS_ARRAY_LEN(entry_samples); i++)
            have = have || entry_samples[i].again == entry_kinds[k].again;
        assert_true(have);
    }
}

static void every_truncation_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(entry_samples); i++)
        for (size_t len = 0; len < strlen(entry_samples[i].text); len++)
            expect_len(&entry_samples[i], entry_samples[i].text, len, "");
}

// Members that may be left out; of all others each must be there.
static bool is_optional(const char *sample, const char *path) {
    static const char *const optional[] = {"account policy",
                                           "account policy.keys",
                                           "account policy.days",
                                           "account policy.issuers",
                                           "account policy.dns",
                                           "account policy.wildcards",
                                           "agent dns",
                                           "agent grant.dns",
                                           "trust_key label",
                                           "trust_key removed_ms",
                                           "agent label",
                                           "agent uses_left",
                                           "agent expires_s",
                                           "agent grant",
                                           "agent enrolled_keys",
                                           "agent rotated_to",
                                           "agent first",
                                           "agent latest",
                                           "agent ended_ms",
                                           "certificate shares",
                                           "certificate old_versions",
                                           "certificate summary.notes",
                                           "certificate summary.chain_ends_s",
                                           "certificate summary.tags",
                                           "csr_entry used",
                                           "share accepted",
                                           "share code",
                                           "share_in code",
                                           "outcome subject",
                                           "outcome data.code",
                                           "outcome data.detail",
                                           "certificate contact",
                                           "certificate note",
                                           "certificate installed",
                                           "certificate older_installed",
                                           "certificate older_ends_s",
                                           "certificate old_versions[0].ends_s",
                                           "certificate old_versions[0].installed",
                                           "outcome data.type",
                                           "outcome data.event",
                                           "outcome data.sequence",
                                           "outcome data.account",
                                           "outcome data.kid",
                                           "outcome data.label",
                                           "outcome data.name",
                                           "outcome data.version",
                                           "outcome data.leaves",
                                           "outcome data.watermark",
                                           "outcome data.gap",
                                           "outcome data.concludes",
                                           "outcome of noise data.code",
                                           "outcome data.concludes[1].code"};
    char both[500];
    snprintf(both, sizeof both, "%s %s", sample, path);
    for (size_t i = 0; i < CS_ARRAY_LEN(optional); i++)
        if (strcmp(optional[i], both) == 0)
            return true;
    return false;
}

// Names of certificates were made fit for people where the certificate was read: any text is taken.
static bool is_any_text(const struct entry_sample *s, const char *path) {
    return (s->again == again_csr_entry && strcmp(path, "subject") == 0) || strstr(path, "].subject") ||
           strstr(path, "].issuer");
}

static size_t members_seen;

// One member in every way that it can be wrong.
static void damage_member(const struct entry_sample *s, const char *path) {
    char detail[500];
    members_seen++;
    // A tombstone without its mark is no tombstone, but an entry of which most is missing.
    bool mark = strcmp(path, "deleted") == 0;
    snprintf(detail, sizeof detail, "%s: missing", path);
    expect(s, json_edit_remove(s->text, path), is_optional(s->name, path) ? NULL : mark ? "" : detail);
    snprintf(detail, sizeof detail, "%s: given twice", path);
    expect(s, json_edit_double(s->text, path), detail);
    expect(s, json_edit_set(s->text, path, "null"), "");
    expect(s, json_edit_set(s->text, path, "{\"x\":1}"), "");
    expect(s, json_edit_set(s->text, path, "[[]]"), "");
    expect(s, json_edit_set(s->text, path, "-9007199254740992"), "");
    expect(s, json_edit_set(s->text, path, "1.5"), "");
    if (!is_any_text(s, path))
        expect(s, json_edit_set(s->text, path, "\"\\u0007\""), "");
}

static void damage_value(const struct entry_sample *s, json_t *v, const char *path);

static void damage_object(const struct entry_sample *s, json_t *object, const char *path) {
    const char *name;
    json_t *item;
    char inner[200];
    json_object_foreach(object, name, item) {
        snprintf(inner, sizeof inner, "%s%s%s", path, path[0] ? "." : "", name);
        damage_member(s, inner);
        damage_value(s, item, inner);
    }
    char detail[400];
    snprintf(inner, sizeof inner, "%s%snmae", path, path[0] ? "." : "");
    snprintf(detail, sizeof detail, "%s: unknown member", inner);
    expect(s, json_edit_set(s->text, inner, "1"), detail);
}

static void damage_value(const struct entry_sample *s, json_t *v, const char *path) {
    size_t i;
    json_t *item;
    char inner[200];
    if (json_is_object(v))
        damage_object(s, v, path);
    if (!json_is_array(v))
        return;
    json_array_foreach(v, i, item) {
        snprintf(inner, sizeof inner, "%s[%zu]", path, i);
        expect(s, json_edit_set(s->text, inner, "null"), "");
        damage_value(s, item, inner);
    }
}

static void every_member_is_checked(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(entry_samples); i++) {
        json_t *root = json_edit_load(entry_samples[i].text);
        damage_value(&entry_samples[i], root, "");
        json_decref(root);
    }
    assert_true(members_seen > 150);
}

// What another writer may write, but the encoder does not.
static void only_canonical_documents_are_read(void **state) {
    (void)state;
    static const struct {
        const char *sample, *text, *detail;
    } rows[] = {
        {"stream", "{\"seq\": 42}", "seq: must be an integer from 0 to 9007199254740991"},
        {"stream", " {\"seq\":42}", "must be an object"},
        {"stream", "{\"seq\":42}\n", "not JSON: expected the end at byte 10"},
        {"stream", "{\"\\u0073eq\":42}", "not JSON: expected an allowed escape at byte 2"},
        {"stream", "[]", "must be an object"},
        {"stream", "", "must be an object"},
        {"system", "{\"partitions\":12,\"log\":\"prod_0a1b2c3d\",\"ruleset\":1}", "log: not in order"},
        {"system", "{\"log\":\"\\u0070rod_0a1b2c3d\",\"partitions\":12,\"ruleset\":1}",
         "log: not JSON: expected an allowed escape at byte 8"},
        {"share_in",
         "{\"id\":\"" SAMPLE_ID "\",\"owner_account\":\"other\",\"certificate\":\"" SAMPLE_ID2
         "\",\"open\":true,\"code\":\"\",\"updated_ms\":1}",
         "code: must be left out"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        expect(entry_sample(rows[i].sample), strdup(rows[i].text), rows[i].detail);
}

#define A42 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define A43 "A" A42

#define SOURCE "source: must be //LOG/partitions/PARTITION, that of the data"

static void values_of_members(void **state) {
    (void)state;
    static const struct {
        const char *sample, *path, *value;
        const char *detail; // NULL: is accepted
    } rows[] = {
        {"system", "partitions", "0", "partitions: must be an integer from 1 to 2147483647"},
        {"trust_key", "key", "\"\"", "key: must have 1 to 128 bytes"},
        {"trust_key", "key", "\"AAA\"", "key: not canonical base64, or too long"},
        {"trust_key", "key", "\"" A43 A43 A43 A42 "=\"", NULL}, // 128 bytes
        {"trust_key", "key", "\"" A43 A43 A43 A43 "\"", "key: must have 1 to 128 bytes"},
        {"trust_key", "key", "\"" A43 A43 A43 A43 "AAAA\"", "key: not canonical base64, or too long"},
        {"trust_key", "removed_ms", "0", "removed_ms: must be left out"},
        {"account", "limits.incomplete_chain", "\"reject\"", NULL},
        {"account", "created_ms", "-1", NULL},
        {"agent", "can", "[]", NULL},
        {"agent", "can", "[\"delete\",\"upload\"]", "can[1]: not in order"},
        {"agent", "uses_left", "0", NULL},
        {"agent", "uses_left", "-1", "uses_left: must be an integer from 0 to 9007199254740991"},
        {"agent", "state", "\"gone\"", "state: must be a key's state"},
        {"certificate", "deleted", "false", "deleted: not in order"}, // set last
        {"certificate", "shares", "[]", "shares: too few"},
        {"certificate", "old_versions", "[]", "old_versions: too few"},
        {"certificate", "summary.tags", "[]", "summary.tags: must be left out"},
        {"certificate", "summary.notes", "[]", "summary.notes: must be left out"},
        {"certificate", "summary.notes", "[\"cert.no_san\",\"chain.incomplete\"]",
         "summary.notes[1]: must be an array of notes, in their order"},
        {"certificate", "summary.notes", "[\"cert.expired\"]",
         "summary.notes[0]: must be an array of notes, in their order"},
        {"certificate", "summary.chain_ends_s", "0", "summary.chain_ends_s: must be left out"},
        {"certificate", "summary.leaves[0].names", "[]", NULL},
        {"certificate", "summary.leaves[0].names_total", "1",
         "summary.leaves[0].names_total: less than there are names"},
        {"certificate", "summary.leaves[0].not_before_s", "-631152000", NULL},
        {"certificate", "summary.algorithm", "\"sm2\"", "summary.leaves: not as many as the algorithm has"},
        {"certificate", "summary.source", "\"shared\"",
         "summary.source: must be \"uploaded\", \"official\" or \"test\""},
        {"tombstone", "shares", "[{\"share\":\"" SAMPLE_ID2 "\",\"to\":\"other\"}]",
         "a tombstone with more members than it may have"},
        {"csr tombstone", "created_ms", "1", "a tombstone with more members than it may have"},
        {"share", "state", "\"pending\"", NULL},
        {"share", "accepted", "0", "accepted: must be left out"},
        {"share", "code", "\"share.lost\"", "code: must be a code of codes.h, or empty"},
        {"position", "record_sha256", "\"00\"", "record_sha256: must be a hash in lower-case hex"},
        {"position", "edge", "\"\"", "edge: must be the edge of that many outcomes in base64"},
        {"position", "outcomes", "0", "edge: must be the edge of that many outcomes in base64"},
        {"position", "outcomes", "12", "edge: must be the edge of that many outcomes in base64"},
        {"outcome", "sequence", "\"0000000000000000\"",
         "sequence: must be 16 decimal digits, from \"0000000000000001\" to \"9007199254740991\""},
        {"outcome", "specversion", "\"1.0.2\"", "specversion: longer than 3 bytes"},
        {"outcome", "specversion", "\"2.0\"", "specversion: must be \"1.0\""},
        {"outcome", "type", "\"certsync.outcome.v2\"", "type: must be \"certsync.outcome.v1\""},
        {"outcome", "datacontenttype", "\"application/text\"",
         "datacontenttype: must be \"application/json\""},
        {"outcome", "source", "\"//prod_0a1b2c3d/partitions/4\"", SOURCE},
        {"outcome", "source", "\"//prod_0a1b2c3d/partitions/03\"", SOURCE},
        {"outcome", "source", "\"///partitions/3\"", SOURCE},
        {"outcome", "source", "\"//Prod/partitions/3\"", SOURCE},
        {"outcome", "source", "\"//\"", SOURCE},
        {"outcome", "source", "\"x\"", SOURCE},
        {"outcome", "time", "\"2025-11-24T16:00:00Z\"",
         "time: must be a time like \"2026-11-23T12:00:00.385Z\""},
        {"outcome", "time", "1764000000000", "time: must be a time like \"2026-11-23T12:00:00.385Z\""},
        {"outcome", "data.leaves[0].not_after", "\"2025-11-24T16:00:00.000Z\"",
         "data.leaves[0].not_after: must be a time like \"2026-11-23T12:00:00Z\""},
        {"outcome", "data.leaves", "[]", "data.leaves: too few"},
        {"outcome", "data.status", "\"ok\"",
         "data.status: must be \"applied\", \"pending\", \"rejected\" or \"duplicate\""},
        {"outcome", "data.type", "\"certsync.x.v1\"", "data.type: must be an event's type"},
        {"outcome", "data.concludes", "[]", "data.concludes: too few"},
        {"outcome", "data.gap", "0", "data.gap: must be left out"},
        {"outcome", "data.account", "\"\"", "data.account: must be an account id"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        const struct entry_sample *s = entry_sample(rows[i].sample);
        expect(s, json_edit_set(s->text, rows[i].path, rows[i].value), rows[i].detail);
    }
}

static struct cs_bytes bytes_of(const char *text) {
    return (struct cs_bytes){(const uint8_t *)text, strlen(text)};
}

static void what_is_decoded(void **state) {
    (void)state;
    struct cs_err err;
    struct cs_agent agent;
    assert_true(cs_agent_decode(bytes_of(entry_sample("agent")->text), &agent, &err));
    assert_int_equal(agent.state, CS_AGENT_ROTATED);
    assert_int_equal(agent.key.len, 4);
    assert_memory_equal(agent.key.data, "\1\2\3\4", 4);
    assert_int_equal(agent.can, CS_CAN_UPLOAD | CS_CAN_DELETE | CS_CAN_ENROLL);
    assert_int_equal(agent.uses_left, 3);
    assert_true(agent.has_grant);
    assert_int_equal(agent.grant_can, CS_CAN_READ);
    assert_string_equal(agent.grant_names, "*");
    assert_string_equal(agent.rotated_to, SAMPLE_KID);
    char *plain = json_edit_remove(entry_sample("agent")->text, "uses_left");
    assert_true(cs_agent_decode(bytes_of(plain), &agent, &err));
    assert_int_equal(agent.uses_left, -1);
    free(plain);
    CS_AUTO(cs_certificate_clear) struct cs_certificate c;
    assert_true(cs_certificate_decode(bytes_of(entry_sample("certificate")->text), &c, &err));
    assert_string_equal(c.id, SAMPLE_ID);
    assert_false(c.deleted);
    assert_int_equal(c.summary.version, 3);
    assert_string_equal(c.summary.leaves[0].names[1], "IP:192.0.2.1");
    assert_int_equal(c.shares_len, 1);
    assert_string_equal(c.shares[0].to, "other");
    assert_int_equal(c.old_len, 1);
    assert_int_equal(c.old[0].sha256[0], 0xff);
    struct cs_position p, q;
    assert_true(cs_position_decode(bytes_of(entry_sample("position")->text), &p, &err));
    q = p;
    assert_true(cs_position_equal(&p, &q));
    q.chain_sha256[31] ^= 1;
    assert_false(cs_position_equal(&p, &q));
    q = p;
    q.edge.roots[2].sha256[31] ^= 1; // the last of three: eleven outcomes
    assert_false(cs_position_equal(&p, &q));
}

static void a_tombstone_keeps_only_what_it_may(void **state) {
    (void)state;
    struct cs_err err;
    struct cs_certificate c;
    struct cs_buf b;
    cs_buf_init(&b, 10000);
    assert_true(cs_certificate_decode(bytes_of(entry_sample("certificate")->text), &c, &err));
    c.deleted = true;
    cs_certificate_encode(&b, &c);
    assert_string_equal((const char *)b.data, entry_sample("tombstone")->text);
    cs_certificate_clear(&c);
    cs_buf_clear(&b);
}

// As many as there may be, so that every growth of a list is taken.
static void many_shares(void **state) {
    (void)state;
    struct cs_err err;
    struct cs_certificate c;
    struct cs_buf one, two;
    cs_buf_init(&one, 1 << 20);
    cs_buf_init(&two, 1 << 20);
    for (size_t n = 1; n <= CS_SHARES_MAX + 1; n += n < 20 ? 1 : 327) {
        assert_true(cs_certificate_decode(bytes_of(entry_sample("certificate")->text), &c, &err));
        free(c.shares);
        c.shares = calloc(n, sizeof *c.shares);
        assert_non_null(c.shares);
        c.shares_len = n;
        for (size_t i = 0; i < n; i++) {
            strcpy(c.shares[i].share, SAMPLE_ID);
            snprintf(c.shares[i].to, sizeof c.shares[i].to, "a%zu", i);
        }
        cs_buf_reset(&one);
        cs_certificate_encode(&one, &c);
        cs_certificate_clear(&c);
        assert_int_equal(cs_certificate_decode(cs_buf_bytes(&one), &c, &err), n <= CS_SHARES_MAX);
        if (n > CS_SHARES_MAX)
            continue;
        cs_buf_reset(&two);
        cs_certificate_encode(&two, &c);
        assert_int_equal(one.len, two.len);
        assert_memory_equal(one.data, two.data, one.len);
        cs_certificate_clear(&c);
    }
    cs_buf_clear(&one);
    cs_buf_clear(&two);
}

static void summaries_are_copied(void **state) {
    (void)state;
    struct cs_err err;
    struct cs_shared_in s;
    struct cs_buf b;
    cs_buf_init(&b, 10000);
    const char *text = entry_sample("shared_in")->text;
    assert_true(cs_shared_in_decode(bytes_of(text), &s, &err));
    struct cs_cert_summary copy, empty = {0};
    assert_true(cs_cert_summary_copy(&s.summary, &copy, &err));
    cs_cert_summary_clear(&s.summary);
    s.summary = copy;
    cs_shared_in_encode(&b, &s);
    assert_string_equal((const char *)b.data, text);
    cs_shared_in_clear(&s);
    assert_true(cs_cert_summary_copy(&empty, &copy, &err));
    cs_cert_summary_clear(&copy);
    cs_buf_clear(&b);
}

static void material(void **state) {
    (void)state;
    const struct cs_material m = {.len = 2,
                                  .part = {{.leaf = bytes_of("MAAA"),
                                            .issuers_len = 2,
                                            .issuers = {SAMPLE_SHA, SAMPLE_SHA2},
                                            .key = bytes_of("AQID"),
                                            .key_subject = SAMPLE_ID,
                                            .role = "sm2-sign"},
                                           {.leaf = bytes_of("MAAC"),
                                            .key = bytes_of("AQIE"),
                                            .key_subject = SAMPLE_ID2,
                                            .role = "sm2-enc"}}};
    struct cs_material read;
    struct cs_err err;
    struct cs_buf b;
    cs_buf_init(&b, 10000);
    cs_material_encode(&b, &m);
    assert_string_equal((const char *)b.data,
                        "{\"parts\":[{\"leaf\":\"MAAA\",\"issuers\":[\"" SAMPLE_SHA "\",\"" SAMPLE_SHA2
                        "\"],\"key\":\"AQID\",\"key_subject\":\"" SAMPLE_ID
                        "\",\"role\":\"sm2-sign\"},{\"leaf\":\"MAAC\",\"issuers\":[],\"key\":\"AQIE\",\"key_"
                        "subject\":\"" SAMPLE_ID2 "\",\"role\":\"sm2-enc\"}]}");
    assert_true(cs_material_decode(cs_buf_bytes(&b), &read, &err));
    assert_int_equal(read.len, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(read.part[i].issuers_len, m.part[i].issuers_len);
        for (size_t k = 0; k < m.part[i].issuers_len; k++)
            assert_string_equal(read.part[i].issuers[k], m.part[i].issuers[k]);
        assert_string_equal(read.part[i].key_subject, m.part[i].key_subject);
        assert_string_equal(read.part[i].role, m.part[i].role);
        assert_memory_equal(read.part[i].leaf.data, m.part[i].leaf.data, 4);
        assert_memory_equal(read.part[i].key.data, m.part[i].key.data, 4);
    }
    // What lacks a member is none.
    static const char *const names[] = {"leaf", "issuers", "key\"", "key_subject", "role"};
    for (size_t i = 0; i < CS_ARRAY_LEN(names); i++) {
        char *text = strdup((const char *)b.data);
        *strstr(text, names[i]) = 'x';
        assert_false(cs_material_decode(bytes_of(text), &read, &err));
        assert_int_equal(err.kind, CS_ERR_FATAL);
        free(text);
    }
    cs_buf_clear(&b);
}

static void wire_names(void **state) {
    (void)state;
    enum cs_trust_role role = CS_TRUST_ADMIN;
    for (int r = CS_TRUST_ADMIN; r <= CS_TRUST_CUSTODIAN; r++) {
        const char *name = cs_trust_role_name((enum cs_trust_role)r);
        assert_true(cs_trust_role_parse(name, strlen(name), &role));
        assert_int_equal(role, r);
    }
    assert_false(cs_trust_role_parse("root", 4, &role));
    assert_string_equal(cs_trust_role_name((enum cs_trust_role)0), "");
    assert_string_equal(cs_trust_role_name((enum cs_trust_role)99), "");
    unsigned all = 0, bit;
    for (unsigned i = 0; i < 6; i++) {
        const char *name = cs_can_name(1u << i);
        assert_true(cs_can_parse(name, strlen(name), &bit));
        assert_int_equal(bit, 1u << i);
        all |= bit;
    }
    assert_int_equal(all, CS_CAN_ALL);
    assert_string_equal(cs_can_name(CS_CAN_CSR), "csr");
    assert_string_equal(cs_can_name(3), "");
    assert_false(cs_can_parse("uploa", 5, &bit));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_round_trip),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_member_is_checked),
        cmocka_unit_test(only_canonical_documents_are_read),
        cmocka_unit_test(values_of_members),
        cmocka_unit_test(what_is_decoded),
        cmocka_unit_test(a_tombstone_keeps_only_what_it_may),
        cmocka_unit_test(many_shares),
        cmocka_unit_test(summaries_are_copied),
        cmocka_unit_test(material),
        cmocka_unit_test(wire_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
