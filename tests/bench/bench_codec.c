// SPDX-License-Identifier: Apache-2.0
//
// What decoding and encoding cost, and for documents what packing costs (catalog/packed.h):
// certsync-bench-codec [ROUNDS]. Prints nanoseconds for each operation, best of ten blocks.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "catalog/packed.h"
#include "certsync/base/text.h"
#include "certsync/model/event.h"
#include "certsync/model/outcome.h"

static const char uuid[] = "0192f1d0-1111-7abc-8def-0123456789ab";
static const char kid[] = "00112233445566778899aabbccddeeff";

static void die(const char *what, const struct cs_err *err) {
    fprintf(stderr, "certsync-bench-codec: %s: %s\n", what, err->msg);
    exit(1);
}

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

struct subject {
    const char *name;
    struct cs_buf text;
    void (*encode)(struct cs_buf *b, const void *v);
    void (*decode)(struct cs_bytes text);
    const void *value;
    bool packed, lasting; // a document
};

// ---- an upload of two certificates

static uint8_t noise[4096];

static void encode_event(struct cs_buf *b, const void *v) {
    struct cs_err err;
    if (!cs_event_encode(v, b, &err))
        die("encode", &err);
}

static void decode_event(struct cs_bytes text) {
    struct cs_err err;
    CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
    if (!cs_event_decode(text, &ev, &err))
        die("decode", &err);
}

static struct cs_event *make_upload(void) {
    struct cs_event *ev = calloc(1, sizeof *ev);
    if (!ev)
        abort();
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
    ev->type = CS_EVENT_CERTIFICATE_UPLOAD;
    ev->time_s = 1764000000;
    ev->seq = 123456;
    strcpy(ev->id, uuid);
    strcpy(ev->log_id, "prod.example_0a1b2c3d");
    strcpy(ev->account, "acme");
    strcpy(ev->kid, kid);
    strcpy(ev->subject, uuid);
    struct cs_event_upload *up = &ev->data.upload;
    strcpy(up->name, "www.example.com");
    up->algorithm = CS_ALGORITHM_INTERNATIONAL;
    up->replace = true;
    up->parts = 1;
    up->part[0].chain_len = 2;
    up->part[0].chain[0].bytes = (struct cs_bytes){noise, 780};
    up->part[0].chain[1].bytes = (struct cs_bytes){noise + 1000, 720};
    up->part[0].key.bytes = (struct cs_bytes){noise + 2000, 203};
    up->part[0].pop.bytes = (struct cs_bytes){noise + 3000, 71};
    return ev;
}

// ---- entries

#define ENTRY(tag, T)                                                                                        \
    static void encode_##tag(struct cs_buf *b, const void *v) {                                              \
        cs_##tag##_encode(b, v);                                                                             \
    }                                                                                                        \
    static void decode_##tag(struct cs_bytes text) {                                                         \
        struct cs_err err;                                                                                   \
        T v;                                                                                                 \
        if (!cs_##tag##_decode(text, &v, &err))                                                              \
            die("decode", &err);                                                                             \
        CLEAR_##tag(v);                                                                                      \
    }
#define CLEAR_stream(v)      (void)v
#define CLEAR_material(v)    (void)v
#define CLEAR_account(v)     (void)v
#define CLEAR_agent(v)       (void)v
#define CLEAR_position(v)    (void)v
#define CLEAR_certificate(v) cs_certificate_clear(&v)
#define CLEAR_outcome(v)     cs_outcome_clear(&v)
ENTRY(stream, struct cs_stream)
ENTRY(account, struct cs_account)
ENTRY(agent, struct cs_agent)
ENTRY(position, struct cs_position)
ENTRY(certificate, struct cs_certificate)
ENTRY(material, struct cs_material)
ENTRY(outcome, struct cs_outcome)

static void measure_packing(struct cs_packer *p, const struct subject *s, int rounds) {
    double pack = 1e18, unpack = 1e18;
    struct cs_err err;
    struct cs_bytes stored = {0}, doc;
    for (int block = 0; block < 10; block++) {
        double start = now_ns();
        for (int i = 0; i < rounds; i++)
            if (!cs_pack(p, NULL, cs_buf_bytes(&s->text), s->lasting, &stored, &err))
                die("pack", &err);
        double middle = now_ns();
        uint8_t *copy = malloc(stored.len);
        if (!copy)
            abort();
        memcpy(copy, stored.data, stored.len);
        double again = now_ns();
        for (int i = 0; i < rounds; i++)
            if (!cs_unpack(p, NULL, (struct cs_bytes){copy, stored.len}, &doc, &err))
                die("unpack", &err);
        double end = now_ns();
        free(copy);
        if ((middle - start) / rounds < pack)
            pack = (middle - start) / rounds;
        if ((end - again) / rounds < unpack)
            unpack = (end - again) / rounds;
    }
    printf("%-12s %6zu bytes   pack   %7.0f ns   unpack %7.0f ns\n", "  packed", stored.len, pack, unpack);
}

static void measure(struct cs_packer *p, struct subject *s, int rounds) {
    struct cs_err err;
    cs_buf_init(&s->text, CS_EVENT_MAX);
    double encode = 1e18, decode = 1e18;
    for (int block = 0; block < 10; block++) {
        double start = now_ns();
        for (int i = 0; i < rounds; i++) {
            cs_buf_reset(&s->text);
            s->encode(&s->text, s->value);
        }
        double middle = now_ns();
        if (!cs_buf_ok(&s->text, &err))
            die(s->name, &err);
        for (int i = 0; i < rounds; i++)
            s->decode(cs_buf_bytes(&s->text));
        double end = now_ns();
        if ((middle - start) / rounds < encode)
            encode = (middle - start) / rounds;
        if ((end - middle) / rounds < decode)
            decode = (end - middle) / rounds;
    }
    printf("%-12s %6zu bytes   encode %7.0f ns   decode %7.0f ns\n", s->name, s->text.len, encode, decode);
    if (s->packed)
        measure_packing(p, s, rounds);
    cs_buf_clear(&s->text);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 20000;
    if (rounds < 1) {
        fprintf(stderr, "usage: certsync-bench-codec [ROUNDS]\n");
        return 2;
    }
    CS_AUTO(cs_event_free) struct cs_event *upload = make_upload();
    struct cs_stream stream = {.seq = 123456};
    struct cs_account account = {.site = CS_SITE_INTL,
                                 .owner = "org:4711",
                                 .verified = true,
                                 .limit_certificates = 1000,
                                 .limit_shares = 20,
                                 .certificates = 17,
                                 .created_ms = 1764000000000,
                                 .updated_ms = 1764000000000};
    struct cs_agent agent = {.state = CS_AGENT_ENROLLED,
                             .key.len = 91,
                             .can = CS_CAN_UPLOAD | CS_CAN_DELETE,
                             .names = "*",
                             .label = "web-1",
                             .uses_left = -1,
                             .enrolled_ms = 1764000000000};
    strcpy(agent.enrolled_by, kid);
    char subject[] = "CN=www.example.com,O=Example", issuer[] = "CN=R3,O=Let's Encrypt,C=US";
    char *names[] = {(char[]){"www.example.com"}, (char[]){"example.com"}};
    struct cs_certificate certificate = {.summary = {.name = "www.example.com",
                                                     .algorithm = CS_ALGORITHM_INTERNATIONAL,
                                                     .source = CS_SOURCE_UPLOADED,
                                                     .version = 1,
                                                     .leaves_len = 1,
                                                     .leaves[0] = {.serial = "0355a1f0c0ffee",
                                                                   .not_before_s = 1764000000,
                                                                   .not_after_s = 1771776000,
                                                                   .key_type = CS_KEY_P256,
                                                                   .key_bits = 256,
                                                                   .subject = subject,
                                                                   .issuer = issuer,
                                                                   .names_total = 2,
                                                                   .names_len = 2,
                                                                   .names = names}},
                                         .created_ms = 1764000000000,
                                         .updated_ms = 1764000000000};
    strcpy(certificate.id, uuid);
    strcpy(certificate.by, kid);
    struct cs_position position = {.next_offset = 123457, .outcomes = 123457, .derived = 12};
    struct cs_outcome outcome = {.n = 123456,
                                 .log_id = "prod_0a1b2c3d",
                                 .verdict = {.status = CS_STATUS_APPLIED,
                                             .label = "web-1",
                                             .name = "www.example.com",
                                             .version = 1,
                                             .leaves_len = 1,
                                             .leaves = {{.serial = "1F2E3D4C5B6A79880102030405060708090A0B0C",
                                                         .not_after_s = 1795536000}}},
                                 .type = CS_EVENT_CERTIFICATE_UPLOAD,
                                 .account = "acme",
                                 .seq = 42,
                                 .partition = 3,
                                 .offset = 123455,
                                 .time_ms = 1764000000000};
    strcpy(outcome.id, uuid);
    strcpy(outcome.event, uuid);
    strcpy(outcome.kid, kid);
    strcpy(outcome.verdict.subject, uuid);
    char leaf[1040], key[272];
    cs_base64_encode(noise, sizeof leaf / 4 * 3, leaf);
    cs_base64_encode(noise + 2000, sizeof key / 4 * 3, key);
    struct cs_material material = {.len = 1,
                                   .part[0] = {.leaf = {(uint8_t *)leaf, sizeof leaf},
                                               .issuers_len = 1,
                                               .key = {(uint8_t *)key, sizeof key},
                                               .role = "single"}};
    strcpy(material.part[0].key_subject, uuid);
    memset(material.part[0].issuers[0], 'a', sizeof(cs_issuer_id) - 1);
    struct subject subjects[] = {
        {.name = "upload", .encode = encode_event, .decode = decode_event, .value = upload},
        {.name = "stream", .encode = encode_stream, .decode = decode_stream, .value = &stream},
        {.name = "account", .encode = encode_account, .decode = decode_account, .value = &account},
        {.name = "agent", .encode = encode_agent, .decode = decode_agent, .value = &agent},
        {.name = "position", .encode = encode_position, .decode = decode_position, .value = &position},
        {.name = "certificate",
         .encode = encode_certificate,
         .decode = decode_certificate,
         .value = &certificate,
         .packed = true,
         .lasting = true},
        {.name = "material",
         .encode = encode_material,
         .decode = decode_material,
         .value = &material,
         .packed = true,
         .lasting = true},
        {.name = "outcome",
         .encode = encode_outcome,
         .decode = decode_outcome,
         .value = &outcome,
         .packed = true},
    };
    CS_AUTO(cs_packer_free) struct cs_packer *packer = NULL;
    struct cs_err err;
    if (!cs_packer_new(&packer, &err))
        die("packer", &err);
    for (size_t i = 0; i < CS_ARRAY_LEN(subjects); i++)
        measure(packer, &subjects[i], rounds);
    return 0;
}
