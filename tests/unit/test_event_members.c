// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/model/event.h"
#include "event_expect.h"
#include "event_samples.h"
#include "json_edit.h"

// ---- each member of each type: missing, of a wrong type, given twice

#define SEQUENCE "must be 16 decimal digits, from \"0000000000000001\" to \"9007199254740991\""
#define STRINGS  "must be a string"
#define TIME     "must be a time like \"2026-11-23T12:00:00Z\""
#define UUID     "must be a UUID in lower case"
#define ACCOUNT  "must be an account id"
#define OWNER    "must be an owner id"
#define SITE     "must be \"cn\" or \"intl\""
#define BOOL     "must be true or false"
#define TEXT     "must be text without control characters, not empty"
#define ASCII    "must be printable ASCII"
#define BASE64   "must be a base64 string"
#define CHAIN    "must be an array of base64 strings"
#define PATTERN  "must be a name pattern"
#define RIGHTS   "must be an array of rights"
#define LINES    "must be an array of strings"
#define DNS      "must be a pattern of host names"
#define ISSUER   "must be \"spki:<hex>\" or \"name:<pattern>\""
#define KEYS                                                                                                 \
    "must be \"RSA-<2048 to 8192>\", \"P-256\", \"P-384\", \"P-521\", \"Ed25519\" or \"SM2\", each type "    \
    "once"
#define OBJECT  "must be an object"
#define CODE    "must be a code of codes.h, or empty"
#define HASH    "must be a hash in lower-case hex"
#define COUNT   "must be an integer from 0 to 9007199254740991"
#define ANY_INT "must be an integer from -9007199254740991 to 9007199254740991"
#define FROM_1  "must be an integer from 1 to 9007199254740991"
#define INT32   "must be an integer from 0 to 2147483647"

static const struct member {
    const char *sample, *path;
    const char *wrong;   // what is said of a value of the wrong type
    const char *missing; // NULL: may be missing; else the path that is said to be missing, "" for path
} members[] = {
    {"genesis", "specversion", STRINGS, ""},
    {"genesis", "type", STRINGS, ""},
    {"genesis", "id", UUID, ""},
    {"genesis", "source", STRINGS, ""},
    {"genesis", "subject", STRINGS, ""},
    {"genesis", "time", TIME, ""},
    {"genesis", "sequence", SEQUENCE, ""},
    {"genesis", "datacontenttype", STRINGS, ""},
    {"genesis", "data", OBJECT, ""},
    {"genesis", "data.deployment", "must be a deployment id", ""},
    {"genesis", "data.nonce", "must be 32 hex digits in lower case", ""},
    {"genesis", "data.partitions", "must be an integer from 1 to 100000", ""},
    {"genesis", "data.ruleset", FROM_1, ""},
    {"ruleset", "data.ruleset", FROM_1, ""},
    {"trust.add", "data.role", "must be \"admin\", \"issuer\", \"service\", \"auditor\" or \"custodian\"",
     ""},
    {"trust.add", "data.key", BASE64, ""},
    {"trust.add", "data.label", TEXT, NULL},
    {"trust.remove", "data.role", "must be \"admin\", \"issuer\", \"service\", \"auditor\" or \"custodian\"",
     ""},
    {"register", "data.site", SITE, ""},
    {"register", "data.owner", OWNER, ""},
    {"register", "data.verified", BOOL, ""},
    {"register", "data.limits", OBJECT, NULL},
    {"register", "data.limits.certificates", "must be an integer from 0 to 1000000", NULL},
    {"register", "data.limits.shares", "must be an integer from 0 to 1000", NULL},
    {"register", "data.limits.incomplete_chain", "must be \"note\" or \"reject\"", NULL},
    {"register", "data.policy", OBJECT, NULL},
    {"register", "data.policy.keys", "must be an array of types of keys", NULL},
    {"register", "data.policy.days", "must be an integer from 0 to 36500", NULL},
    {"register", "data.policy.issuers", LINES, NULL},
    {"register", "data.policy.dns", LINES, NULL},
    {"register", "data.policy.wildcards", "must be \"allow\" or \"reject\"", NULL},
    {"update", "data.policy", OBJECT, NULL},
    {"update", "data.verified", BOOL, NULL},
    {"update", "data.limits", OBJECT, NULL},
    {"enroll", "data.key", BASE64, ""},
    {"enroll", "data.can", RIGHTS, ""},
    {"enroll", "data.names", PATTERN, ""},
    {"enroll", "data.dns", LINES, NULL},
    {"enroll", "data.label", TEXT, NULL},
    {"token", "data.uses", FROM_1, NULL},
    {"token", "data.expires", TIME, NULL},
    {"token", "data.grant", OBJECT, ""},
    {"token", "data.grant.can", RIGHTS, ""},
    {"token", "data.grant.names", PATTERN, ""},
    {"token", "data.grant.dns", LINES, NULL},
    {"revoke", "data.reason", TEXT, NULL},
    {"rotate", "data.key", BASE64, ""},
    {"upload", "data.name", ASCII, ""},
    {"upload", "data.algorithm", "must be \"international\" or \"sm2\"", ""},
    {"upload", "data.replace", BOOL, NULL},
    {"upload", "data.force", BOOL, NULL},
    {"upload", "data.tags", "must be an array of tags", NULL},
    {"upload", "data.chain", CHAIN, ""},
    {"upload", "data.key", BASE64, NULL},
    {"upload", "data.pop", BASE64, NULL},
    {"upload by csr", "data.csr", BOOL, NULL},
    {"upload sm2", "data.sign", OBJECT, ""},
    {"upload sm2", "data.sign.chain", CHAIN, ""},
    {"upload sm2", "data.sign.key", BASE64, NULL},
    {"upload sm2", "data.sign.pop", BASE64, NULL},
    {"upload sm2", "data.encrypt", OBJECT, ""},
    {"upload sm2", "data.encrypt.chain", CHAIN, ""},
    {"upload sm2", "data.encrypt.key", BASE64, NULL},
    {"upload sm2", "data.encrypt.pop", BASE64, NULL},
    {"issue", "data.source", "must be \"uploaded\", \"official\", \"test\" or \"shared\"", ""},
    {"issue", "data.name", ASCII, ""},
    {"issue", "data.algorithm", "must be \"international\" or \"sm2\"", ""},
    {"issue", "data.chain", CHAIN, ""},
    {"issue", "data.key", BASE64, NULL},
    {"issue", "data.pop", BASE64, NULL},
    {"issue sm2", "data.tags", "must be an array of tags", NULL},
    {"issue sm2", "data.sign", OBJECT, ""},
    {"issue sm2", "data.encrypt", OBJECT, ""},
    {"delete", "data.cascade", BOOL, NULL},
    {"delete from", "data.from", ACCOUNT, NULL},
    {"share", "data.to", ACCOUNT, ""},
    {"unshare", "data.to", ACCOUNT, ""},
    {"csr.add", "data.name", ASCII, ""},
    {"csr.add", "data.csr", BASE64, ""},
    {"csr.add", "data.key", BASE64, ""},
    {"csr.add", "data.pop", BASE64, ""},
    {"csr.delete", "data", OBJECT, ""},
    {"offer", "data.share", UUID, ""},
    {"offer", "data.owner_account", ACCOUNT, ""},
    {"offer", "data.owner", OWNER, ""},
    {"offer", "data.site", SITE, ""},
    {"offer", "data.version", FROM_1, ""},
    {"offer", "data.origin", INT32, ""},
    {"offer", "data.certificate", OBJECT, ""},
    {"offer", "data.certificate.name", ASCII, ""},
    {"offer", "data.certificate.algorithm", "must be \"international\" or \"sm2\"", ""},
    {"offer", "data.certificate.source", "must be \"uploaded\", \"official\", \"test\" or \"shared\"", ""},
    {"offer", "data.certificate.version", COUNT, ""},
    {"offer", "data.certificate.notes", "must be an array of notes, in their order", NULL},
    {"offer", "data.certificate.chain_ends_s", COUNT, NULL},
    {"offer", "data.certificate.tags", "must be an array of tags", NULL},
    {"offer", "data.certificate.leaves", "must be an array of objects", ""},
    {"offer", "data.certificate.leaves[0].sha256", HASH, ""},
    {"offer", "data.certificate.leaves[0].spki_sha256", HASH, ""},
    {"offer", "data.certificate.leaves[0].serial", "must be a serial number in lower-case hex", ""},
    {"offer", "data.certificate.leaves[0].not_before_s", ANY_INT, ""},
    {"offer", "data.certificate.leaves[0].not_after_s", ANY_INT, ""},
    {"offer", "data.certificate.leaves[0].key_type", "must be a key type", ""},
    {"offer", "data.certificate.leaves[0].key_bits", "must be an integer from 0 to 65536", ""},
    {"offer", "data.certificate.leaves[0].subject", STRINGS, ""},
    {"offer", "data.certificate.leaves[0].issuer", STRINGS, ""},
    {"offer", "data.certificate.leaves[0].names_total", COUNT, ""},
    {"offer", "data.certificate.leaves[0].names", "must be an array of strings", ""},
    {"withdraw", "data.share", UUID, ""},
    {"withdraw", "data.owner_account", ACCOUNT, ""},
    {"withdraw", "data.origin", INT32, ""},
    {"withdraw", "data.code", CODE, ""},
    {"answer", "data.share", UUID, ""},
    {"answer", "data.recipient", ACCOUNT, ""},
    {"answer", "data.version", COUNT, ""},
    {"answer", "data.answer", "must be \"accepted\", \"refused\" or \"removed\"", ""},
    {"answer", "data.code", CODE, ""},
    {"answer", "data.origin", INT32, ""},
};

static void members_missing(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(members); i++) {
        const struct member *m = &members[i];
        char detail[200];
        snprintf(detail, sizeof detail, "%s: missing", m->path);
        expect_malformed(json_edit_remove(sample_text(m->sample), m->path), m->missing ? detail : NULL);
    }
}

static void members_of_wrong_type(void **state) {
    (void)state;
    static const char *const values[] = {"null", "[[]]", "true", "7", "\"x\"", "{\"x\":1}", "[]"};
    for (size_t i = 0; i < CS_ARRAY_LEN(members); i++) {
        const struct member *m = &members[i];
        char detail[200];
        snprintf(detail, sizeof detail, "%s: %s", m->path, m->wrong);
        for (size_t k = 0; k < CS_ARRAY_LEN(values); k++) {
            // Values of the right type; what else may be wrong with them is tested below.
            char first = values[k][0];
            bool right = (strstr(m->wrong, "integer") && first == '7') ||
                         (strstr(m->wrong, "true") && first == 't') ||
                         (strstr(m->wrong, "an array") && first == '[') ||
                         (strcmp(m->wrong, OBJECT) == 0 && first == '{') || first == '"';
            if (!right)
                expect_malformed(json_edit_set(sample_text(m->sample), m->path, values[k]), detail);
        }
    }
}

static void members_given_twice(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(members); i++) {
        char detail[200];
        snprintf(detail, sizeof detail, "%s: given twice", members[i].path);
        expect_malformed(json_edit_double(sample_text(members[i].sample), members[i].path), detail);
    }
}

static void unknown_members(void **state) {
    (void)state;
    static const struct {
        const char *sample, *path;
    } nested[] = {{"register", "data.limits.nmae"},
                  {"register", "data.policy.nmae"},
                  {"token", "data.grant.nmae"},
                  {"upload sm2", "data.sign.nmae"},
                  {"upload sm2", "data.sign.csr"},
                  {"upload sm2", "data.encrypt.nmae"},
                  {"offer", "data.certificate.nmae"},
                  {"offer", "data.certificate.id"},
                  {"offer", "data.certificate.leaves[0].nmae"},
                  {"upload", "data.source"}};
    char detail[200];
    for (size_t i = 0; i < CS_ARRAY_LEN(samples); i++) {
        expect_malformed(json_edit_set(samples[i].text, "data.nmae", "1"), "data.nmae: unknown member");
        expect_malformed(json_edit_set(samples[i].text, "dataschema", "1"), "dataschema: unknown member");
    }
    for (size_t i = 0; i < CS_ARRAY_LEN(nested); i++) {
        snprintf(detail, sizeof detail, "%s: unknown member", nested[i].path);
        expect_malformed(json_edit_set(sample_text(nested[i].sample), nested[i].path, "1"), detail);
    }
    // Untrusted text is escaped and bounded.
    expect_malformed(strdup("{\"a\\u001b[31m\\\"\xc3\xa9\":1}"), "a\\x1B[31m\\x22\xc3\xa9: unknown member");
    expect_malformed(strdup("{\"01234567890123456789012345678901234567890123456789\":1}"),
                     "0123456789012345678901234567890123456789: unknown member");
}

// ---- values

#define NINES "999999999999999999999999999999999999999999999999999999999999"

static const struct value {
    const char *sample, *path, *value;
    const char *detail; // without the path; NULL: is accepted
} values[] = {
    {"share", "specversion", "\"1.1\"", "must be \"1.0\""},
    {"share", "specversion", "\"1.\\u0030\"", NULL},
    {"share", "datacontenttype", "\"text/plain\"", "must be \"application/json\""},
    {"share", "datacontenttype", "\"application\\/json\"", NULL},
    {"share", "id", "\"0192F1D0-1111-7abc-8def-0123456789ab\"", UUID},
    {"share", "id", "\"0192f1d0-1111-7abc-8def-0123456789ab0\"", "longer than 36 bytes"},
    {"share", "id", "\"\"", UUID},
    {"share", "sequence", "42", SEQUENCE}, // what it was once
    {"share", "sequence", "\"0000000000000001\"", NULL},
    {"share", "sequence", "\"9007199254740991\"", NULL},
    {"share", "sequence", "\"000000000000004\\u0032\"", NULL},
    {"share", "sequence", "\"0000000000000000\"", SEQUENCE},
    {"share", "sequence", "\"9007199254740992\"", SEQUENCE},
    {"share", "sequence", "\"9999999999999999\"", SEQUENCE},
    {"share", "sequence", "\"42\"", SEQUENCE},
    {"share", "sequence", "\"000000000000042\"", SEQUENCE},
    {"share", "sequence", "\"00000000000000042\"", SEQUENCE},
    {"share", "sequence", "\"10000000000000000042\"", SEQUENCE},
    {"share", "sequence", "\"\"", SEQUENCE},
    {"share", "sequence", "\"               42\"", SEQUENCE},
    {"share", "sequence", "\"000000000000042 \"", SEQUENCE},
    {"share", "sequence", "\"+000000000000042\"", SEQUENCE},
    {"share", "sequence", "\"-000000000000042\"", SEQUENCE},
    {"share", "sequence", "\"000000000000002a\"", SEQUENCE},
    {"share", "sequence", "\"00000000000004.2\"", SEQUENCE},
    {"share", "sequence", "\"000000000000\xef\xbc\x94\"", SEQUENCE}, // a digit, but not of ASCII
    {"share", "seq", "42", "unknown member"},
    {"share", "time", "\"2026-11-23T12:00:00.25Z\"", NULL},
    {"share", "time", "\"2026-02-29T12:00:00Z\"", TIME},
    {"share", "time", "\"2026-11-23 12:00:00Z\"", TIME},
    {"share", "time", "\"2026-11-23T12:00:00.0000000000000000000000000000Z\"", TIME},
    {"share", "source", "\"//prod.example_0a1b2c3d/keys/" SAMPLE_KID "\"",
     "must name an account for this type"},
    {"genesis", "source", "\"//prod.example_0a1b2c3d/accounts/acme/keys/" SAMPLE_KID "\"",
     "must not name an account for this type"},
    {"share", "source", "\"//prod.example_0a1b2c3d/accounts/Acme/keys/" SAMPLE_KID "\"",
     "must be //LOG/keys/KID or //LOG/accounts/ACCOUNT/keys/KID"},
    {"share", "source", "\"//prod.example_0a1b2c3d/accounts/acme/keys/" SAMPLE_KID "/\"",
     "must be //LOG/keys/KID or //LOG/accounts/ACCOUNT/keys/KID"},
    {"share", "source", "\"//prod.example_0a1b2c3d/accounts//keys/" SAMPLE_KID "\"",
     "must be //LOG/keys/KID or //LOG/accounts/ACCOUNT/keys/KID"},
    {"share", "source", "\"/prod.example_0a1b2c3d/accounts/acme/keys/" SAMPLE_KID "\"",
     "must be //LOG/keys/KID or //LOG/accounts/ACCOUNT/keys/KID"},
    {"share", "source", "\"//prod.example_0a1b2c3d/accounts/acme/keys/0011\"",
     "must be //LOG/keys/KID or //LOG/accounts/ACCOUNT/keys/KID"},
    {"share", "source", "\"\"", "must be //LOG/keys/KID or //LOG/accounts/ACCOUNT/keys/KID"},
    {"share", "source", "\"" NINES NINES NINES NINES NINES "\"",
     "must be //LOG/keys/KID or //LOG/accounts/ACCOUNT/keys/KID"},
    {"share", "subject", "\"acme\"", UUID},
    {"share", "subject", "\"\"", "must be 1 to 63 printable ASCII characters"},
    {"share", "subject", "\"\\u00e9\"", "must be 1 to 63 printable ASCII characters"},
    {"share", "subject", "\"" NINES NINES "\"", "must be 1 to 63 printable ASCII characters"},
    {"genesis", "subject", "\"prod\"", "must be the source's deployment"},
    {"register", "subject", "\"other\"", "must be the source's account"},
    {"revoke", "subject", "\"acme\"", "must be a key id"},
    {"trust.add", "subject", "\"" SAMPLE_ID "\"", "must be a key id"},
    {"genesis", "data.partitions", "0", "must be an integer from 1 to 100000"},
    {"genesis", "data.deployment", "\"other\"", NULL}, // the rules' to judge
    {"trust.add", "data.key", "\"\"", "empty"},
    {"trust.add", "data.key", "\"AQI\"", "not canonical base64"},
    {"trust.add", "data.key", "\"AQJ=\"", "not canonical base64"},
    {"trust.add", "data.label", "\"\"", TEXT},
    {"trust.add", "data.label", "\"a\\u0007\"", TEXT},
    {"trust.add", "data.label", "\"a\\u007f\"", TEXT},
    {"trust.add", "data.label", "\"a\\u0085\"", TEXT},
    {"trust.add", "data.label", "\"\xc3\xa9\xc2\xa0\"", NULL},
    {"trust.add", "data.label", "\"" NINES NINES "99999999\"", NULL},
    {"trust.add", "data.label", "\"" NINES NINES "999999999\"", "longer than 128 bytes"},
    {"register", "data.limits", "{}", "empty"},
    {"update", "data.limits", "{}", "empty"},
    {"register", "data.limits.certificates", "1000000", NULL},
    {"register", "data.limits.certificates", "1000001", "must be an integer from 0 to 1000000"},
    {"register", "data.limits.shares", "1001", "must be an integer from 0 to 1000"},
    {"register", "data.limits.incomplete_chain", "\"accept\"", "must be \"note\" or \"reject\""},
    {"register", "data.owner", "\"a b\"", OWNER},
    {"register", "data.site", "\"us\"", SITE},
    {"register", "data.policy", "{}", "empty"},
    {"update", "data.policy", "{}", "empty"},
    {"update", "data.policy.keys", "[\"SM2\"]", NULL},
    {"update", "data.policy.keys", "[\"P-256\",\"RSA-8192\"]", NULL},
    {"register", "data.policy.days", "36500", NULL},
    {"register", "data.policy.days", "36501", "must be an integer from 0 to 36500"},
    {"register", "data.policy.issuers", "[]", NULL},
    {"register", "data.policy.dns", "[]", NULL},
    {"register", "data.policy.wildcards", "\"allow\"", NULL},
    {"register", "data.policy.wildcards", "true", "must be \"allow\" or \"reject\""},
    {"enroll", "data.dns", "[]", "empty"},
    {"enroll", "data.dns", "[\"a.test\",\"*.a.test\",\"IP:2001:db8::1\"]", NULL},
    {"update", "data", "{}", "changes nothing"},
    {"enroll", "data.can", "[]", NULL},
    {"enroll", "data.can", "[\"read\",\"upload\"]", NULL},
    {"enroll", "data.names", "\"a b\"", PATTERN},
    {"token", "data.can", "[\"enroll\",\"upload\"]", NULL},
    {"token", "data.uses", "0", FROM_1},
    {"upload", "data.name", "\"\"", NULL}, // name.invalid is a rule's
    {"upload", "data.name", "\"a b/c\"", NULL},
    {"upload", "data.name", "\"\\u00e9\"", ASCII},
    {"upload", "data.name", "\"a\\n\"", ASCII},
    {"upload", "data.name", "\"" NINES NINES "99999999\"", NULL},
    {"upload", "data.name", "\"" NINES NINES "999999999\"", "longer than 128 bytes"},
    {"upload", "data.algorithm", "\"SM2\"", "must be \"international\" or \"sm2\""},
    {"upload", "data.algorithm", "\"" NINES "\"", "must be \"international\" or \"sm2\""},
    {"upload", "data.csr", "true", NULL}, // key.many is prepare's
    {"upload", "data.tags", "[]", NULL},
    {"upload", "data.chain", "[]", "empty"},
    {"upload", "data.chain",
     "[\"AAAA\",\"AAAA\",\"AAAA\",\"AAAA\",\"AAAA\",\"AAAA\",\"AAAA\",\"AAAA\",\"AAAA\",\"AAAA\"]", NULL},
    {"upload", "data.key", "\"A\\/\\/\\u002b\"", NULL},
    {"upload", "data.key", "\"AQID\\n\"", "not canonical base64"},
    {"upload", "data.key", "\"A===\"", "not canonical base64"},
    {"delete from", "data.from", "\"\"", ACCOUNT},
    {"share", "data.to", "\"Other\"", ACCOUNT},
    {"share", "data.to", "\"" NINES "99999\"", "longer than 63 bytes"},
    {"offer", "data.site", "\"\"", SITE},
    {"offer", "data.version", "0", FROM_1},
    {"offer", "data.origin", "2147483648", INT32},
    {"offer", "data.certificate.leaves[0].sha256", "\"00\"", HASH},
    {"offer", "data.certificate.leaves[0].key_type", "\"P-224\"", "must be a key type"},
    {"offer", "data.certificate.leaves[0].serial", "\"0A\"", "must be a serial number in lower-case hex"},
    {"offer", "data.certificate.leaves[0].subject", "\"\"", NULL},
    {"offer", "data.certificate.leaves[0].names_total", "1", "less than there are names"},
    {"withdraw", "data.code", "\"\"", NULL},
    {"withdraw", "data.code", "\"no.such\"", CODE},
    {"answer", "data.answer", "\"maybe\"", "must be \"accepted\", \"refused\" or \"removed\""},
    {"answer", "data.version", "0", NULL},
};

static void values_of_members(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(values); i++) {
        const struct value *v = &values[i];
        char detail[300];
        snprintf(detail, sizeof detail, "%s: %s", v->path, v->detail ? v->detail : "");
        char *text = json_edit_set(sample_text(v->sample), v->path, v->value);
        expect_malformed(text, v->detail ? detail : NULL);
    }
}

// What is wrong elsewhere than in the member that is changed.
static void values_that_do_not_fit_together(void **state) {
    (void)state;
    static const struct value rows[] = {
        {"upload", "data.algorithm", "\"sm2\"", "data.chain: not with algorithm \"sm2\""},
        {"upload by csr", "data.algorithm", "\"sm2\"", "data.chain: not with algorithm \"sm2\""},
        {"upload sm2", "data.algorithm", "\"international\"", "data.chain: missing"},
        {"upload", "data.sign", "{\"chain\":[\"MAAA\"]}", "data.sign: not with algorithm \"international\""},
        {"upload sm2", "data.chain", "[\"MAAA\"]", "data.chain: not with algorithm \"sm2\""},
        {"upload sm2", "data.key", "\"MAAA\"", "data.key: not with algorithm \"sm2\""},
        {"upload sm2", "data.csr", "true", "data.csr: not with algorithm \"sm2\""},
        {"upload sm2", "data.sign", "{\"chain\":[]}", "data.sign.chain: empty"},
        {"upload", "data.chain[1]", "\"AAA\"", "data.chain[1]: not canonical base64"},
        {"upload", "data.chain[1]", "\"\"", "data.chain[1]: empty"},
        {"upload", "data.chain[1]", "7", "data.chain[1]: must be a base64 string"},
        {"upload", "data.tags[0]", "\"a b\"", "data.tags[0]: must be a tag"},
        {"upload", "data.tags[0]", "\"" NINES "99999\"", "data.tags[0]: must be a tag"},
        {"upload", "data.tags", "[1]", "data.tags[0]: must be a tag"},
        {"upload", "data.tags",
         "[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\",\"j\",\"k\",\"l\",\"m\",\"n\",\"o\",\"p\","
         "\"q\"]",
         "data.tags[16]: more than 16 tags"},
        {"issue", "data.source", "\"uploaded\"", "data.source: must be \"official\" or \"test\""},
        {"issue", "data.source", "\"shared\"", "data.source: must be \"official\" or \"test\""},
        {"issue", "data.algorithm", "\"sm2\"", "data.chain: not with algorithm \"sm2\""},
        {"enroll", "data.can[1]", "\"fly\"",
         "data.can[1]: must be one of \"upload\", \"delete\", \"share\", \"csr\", \"read\", \"enroll\""},
        {"enroll", "data.can[1]", "\"upload\"", "data.can[1]: given twice"},
        {"register", "data.policy.keys[1]", "\"RSA-4096\"", "data.policy.keys[1]: " KEYS},
        {"register", "data.policy.keys[1]", "\"RSA-1024\"", "data.policy.keys[1]: " KEYS},
        {"register", "data.policy.keys[1]", "7",
         "data.policy.keys[1]: must be \"RSA-<2048 to 8192>\", \"P-256\", \"P-384\", \"P-521\", \"Ed25519\" "
         "or \"SM2\""},
        {"register", "data.policy.issuers[0]", "\"CN=x\"", "data.policy.issuers[0]: " ISSUER},
        {"register", "data.policy.issuers[0]", "\"name:*\"", "data.policy.issuers[0]: " ISSUER},
        {"register", "data.policy.dns[1]", "\"*\"", "data.policy.dns[1]: " DNS},
        {"register", "data.policy.dns[1]", "\"A.test\"", "data.policy.dns[1]: " DNS},
        {"register", "data.policy.dns[1]", "\"\"", "data.policy.dns[1]: " DNS},
        {"register", "data.policy.dns[1]", "\"*.example.com\"", "data.policy.dns[1]: given twice"},
        {"register", "data.policy.dns[1]", "\"a.test\\u000ab.test\"", "data.policy.dns[1]: " DNS},
        {"enroll", "data.dns[0]", "\"**\"", "data.dns[0]: " DNS},
        {"token", "data.grant.dns[0]", "\"a..b\"", "data.grant.dns[0]: " DNS},
        {"enroll", "data.can[1]", "\"enroll\"", "data.grant: missing"},
        {"enroll", "data.uses", "1", "data.uses: only with the right \"enroll\""},
        {"enroll", "data.expires", "\"2027-01-01T00:00:00Z\"",
         "data.expires: only with the right \"enroll\""},
        {"enroll", "data.grant", "{\"can\":[],\"names\":\"*\"}",
         "data.grant: only with the right \"enroll\""},
        {"offer", "data.certificate.algorithm", "\"sm2\"",
         "data.certificate.leaves: not as many as the algorithm has"},
        {"offer", "data.certificate.leaves", "[]", "data.certificate.leaves: too few"},
        {"offer", "data.certificate.leaves", "[" SAMPLE_LEAF "," SAMPLE_LEAF "," SAMPLE_LEAF "]",
         "data.certificate.leaves[2]: too many"},
        {"offer", "data.certificate.leaves", "[" SAMPLE_LEAF "," SAMPLE_LEAF "]",
         "data.certificate.leaves: not as many as the algorithm has"},
        {"offer", "data.certificate.source", "\"shared\"",
         "data.certificate.source: must be \"uploaded\", \"official\" or \"test\""},
        {"offer", "data.certificate.leaves[0].names", "[1]",
         "data.certificate.leaves[0].names[0]: must be a string"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        expect_malformed(json_edit_set(sample_text(rows[i].sample), rows[i].path, rows[i].value),
                         rows[i].detail);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_missing),     cmocka_unit_test(members_of_wrong_type),
        cmocka_unit_test(members_given_twice), cmocka_unit_test(unknown_members),
        cmocka_unit_test(values_of_members),   cmocka_unit_test(values_that_do_not_fit_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
