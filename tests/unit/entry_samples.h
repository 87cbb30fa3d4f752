// SPDX-License-Identifier: Apache-2.0
//
// The entries behind one interface, and canonical documents of each, for the codec's tests.
#pragma once

#include <stdlib.h>
#include <string.h>

#include "certsync/model/outcome.h"
#include "event_samples.h"

#define SAMPLE_SHA2 "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff00"

// Every X(tag, struct, clear): the decoders and encoders of entry.h and outcome.h.
#define ENTRY_KINDS(X)                                                                                       \
    X(system, struct cs_system, entry_clear_nothing)                                                         \
    X(trust_key, struct cs_trust_key, entry_clear_nothing)                                                   \
    X(tombstones, struct cs_tombstones, entry_clear_nothing)                                                 \
    X(tombstone, struct cs_tombstone, entry_clear_nothing)                                                   \
    X(stream, struct cs_stream, entry_clear_nothing)                                                         \
    X(account, struct cs_account, entry_clear_nothing)                                                       \
    X(agent, struct cs_agent, entry_clear_nothing)                                                           \
    X(certificate, struct cs_certificate, cs_certificate_clear)                                              \
    X(material, struct cs_material, entry_clear_nothing)                                                     \
    X(issuer, struct cs_issuer, entry_clear_nothing)                                                         \
    X(installed, struct cs_installed, entry_clear_nothing)                                                   \
    X(csr_entry, struct cs_csr_entry, cs_csr_entry_clear)                                                    \
    X(share, struct cs_share, entry_clear_nothing)                                                           \
    X(share_in, struct cs_share_in, entry_clear_nothing)                                                     \
    X(shared_in, struct cs_shared_in, cs_shared_in_clear)                                                    \
    X(position, struct cs_position, entry_clear_nothing)                                                     \
    X(outcome, struct cs_outcome, cs_outcome_clear)

static inline void entry_clear_nothing(void *v) {
    (void)v;
}

// Decodes text and encodes what came out into b; false with err where it is refused.
typedef bool entry_again(struct cs_bytes text, struct cs_buf *b, struct cs_err *err);
#define X(tag, T, clear)                                                                                     \
    static inline bool again_##tag(struct cs_bytes text, struct cs_buf *b, struct cs_err *err) {             \
        T v;                                                                                                 \
        memset(&v, 0xA5, sizeof v);                                                                          \
        if (!cs_##tag##_decode(text, &v, err)) {                                                             \
            for (size_t i = 0; i < sizeof v; i++)                                                            \
                if (((const unsigned char *)&v)[i] != 0xA5)                                                  \
                    abort(); /* touched on failure */                                                        \
            return false;                                                                                    \
        }                                                                                                    \
        cs_##tag##_encode(b, &v);                                                                            \
        clear(&v);                                                                                           \
        return true;                                                                                         \
    }
ENTRY_KINDS(X)
#undef X

static const struct entry_kind {
    const char *name;
    entry_again *again;
} entry_kinds[] = {
#define X(tag, T, clear) {#tag, again_##tag},
    ENTRY_KINDS(X)
#undef X
};

static const struct entry_sample {
    const char *name;
    entry_again *again;
    const char *text;
} entry_samples[] = {
    {"system", again_system, "{\"log\":\"prod_0a1b2c3d\",\"partitions\":12,\"ruleset\":1}"},
    {"trust_key", again_trust_key,
     "{\"role\":\"issuer\",\"key\":\"AQIDBA==\",\"label\":\"CA "
     "1\",\"added_ms\":1764000000000,\"removed_ms\":1764000000001}"},
    {"stream", again_stream, "{\"seq\":42}"},
    {"tombstones", again_tombstones, "{\"first\":1,\"next\":3,\"oldest_ms\":1764000000000}"},
    {"place", again_tombstone, "{\"key\":\"cert/acme/" SAMPLE_ID "\",\"at_ms\":1764000000000}"},
    {"account", again_account,
     "{\"site\":\"intl\",\"owner\":\"org:4711\",\"verified\":true,\"limits\":{\"certificates\":1000,"
     "\"shares\":20,\"requests\":100,\"keys\":10000,\"tokens\":1000,\"shares_out\":1000,\"shares_in\":1000,"
     "\"installations\":100000,\"tags\":10000,\"bytes\":50000000,\"incomplete_chain\":\"note\"},\"policy\":{"
     "\"keys\":[\"RSA-2048\","
     "\"Ed25519\",\"SM2\"],\"days\":1,\"issuers\":[\"spki:" SAMPLE_SHA "\",\"name:CN=a, b\"],"
     "\"dns\":[\"a.test\",\"IP:::1\"],\"wildcards\":\"reject\"},\"certificates\":17,\"requests\":1,"
     "\"keys\":2,\"tokens\":3,\"shares_"
     "out\":4,"
     "\"shares_in\":5,\"installations\":8,\"tags\":6,\"bytes\":7,\"created_ms\":1764000000000,\"updated_ms\":"
     "1764000000001}"},
    {"agent", again_agent,
     "{\"state\":\"rotated\",\"key\":\"AQIDBA==\",\"can\":[\"upload\",\"delete\",\"enroll\"],\"names\":\"web-"
     "*\",\"dns\":[\"*.a.test\"],"
     "\"label\":\"web-1\",\"uses_left\":3,\"expires_s\":1764000000,\"grant\":{\"can\":[\"read\"],\"names\":"
     "\"*\",\"dns\":[\"**.a.test\",\"IP:*\"]},"
     "\"enrolled_by\":\"" SAMPLE_KID "\",\"enrolled_keys\":2,\"rotated_to\":\"" SAMPLE_KID
     "\",\"first\":\"" SAMPLE_KID "\",\"latest\":\"" SAMPLE_KID
     "\",\"enrolled_ms\":1764000000000,\"ended_ms\":1764000000001}"},
    {"certificate", again_certificate,
     "{\"id\":\"" SAMPLE_ID "\",\"summary\":" SAMPLE_SUMMARY ",\"by\":\"" SAMPLE_KID "\",\"contact\":\"web "
     "team\",\"note\":\"moves\",\"created_ms\":1764000000000,\"updated_ms\":1764000000001,\"shares\":[{"
     "\"share\":\"" SAMPLE_ID2
     "\",\"to\":\"other\"}],\"old_versions\":[{\"version\":2,\"sha256\":\"" SAMPLE_SHA2
     "\",\"serial\":\"02\",\"not_after_s\":1764000000,\"ends_s\":1763000000,\"installed\":2}],\"installed\":"
     "3,"
     "\"older_installed\":1,\"older_ends_s\":1762000000}"},
    {"tombstone", again_certificate,
     "{\"id\":\"" SAMPLE_ID "\",\"deleted\":true,\"updated_ms\":1764000000001}"},
    {"material", again_material,
     "{\"parts\":[{\"leaf\":\"MAAA\",\"issuers\":[\"" SAMPLE_SHA
     "\"],\"key\":\"AQID\",\"key_subject\":\"" SAMPLE_ID "\",\"role\":\"single\"}]}"},
    {"issuer", again_issuer, "{\"used\":3,\"certificate\":\"MAAA\"}"},
    {"installed", again_installed,
     "{\"at\":[{\"place\":\"/etc/ssl/www.pem\",\"version\":3,\"since_ms\":1764000000000},"
     "{\"place\":\"sha256:00112233445566778899aabbccddeeff\",\"version\":2,\"since_ms\":1764000000001}]}"},
    {"csr_entry", again_csr_entry,
     "{\"id\":\"" SAMPLE_ID
     "\",\"name\":\"www.example.com\",\"csr\":\"MAAA\",\"key\":\"AQID\",\"spki_sha256\":\"" SAMPLE_SHA
     "\",\"subject\":\"CN=www.example.com\",\"names\":[\"www.example.com\"],\"key_type\":\"RSA\",\"key_"
     "bits\":2048,"
     "\"created_ms\":1764000000000,\"used\":{\"certificate\":\"" SAMPLE_ID2
     "\",\"name\":\"www\",\"version\":2,\"at_ms\":1764000000001}}"},
    {"csr tombstone", again_csr_entry, "{\"id\":\"" SAMPLE_ID "\",\"deleted\":true}"},
    {"share", again_share,
     "{\"id\":\"" SAMPLE_ID "\",\"certificate\":\"" SAMPLE_ID2
     "\",\"to\":\"other\",\"state\":\"closed\",\"version\":3,\"accepted\":2,\"code\":\"share.closed\","
     "\"created_ms\":1764000000000,\"updated_ms\":1764000000001}"},
    {"share_in", again_share_in,
     "{\"id\":\"" SAMPLE_ID "\",\"owner_account\":\"other\",\"certificate\":\"" SAMPLE_ID2
     "\",\"open\":false,\"code\":\"share.site\",\"updated_ms\":1764000000001}"},
    {"shared_in", again_shared_in,
     "{\"share\":\"" SAMPLE_ID "\",\"owner_account\":\"other\",\"certificate\":\"" SAMPLE_ID2
     "\",\"summary\":{\"name\":\"pair\",\"algorithm\":\"sm2\",\"source\":\"test\",\"version\":1,\"leaves\":"
     "[" SAMPLE_LEAF "," SAMPLE_LEAF "]},\"created_ms\":1764000000000,\"updated_ms\":1764000000001}"},
    {"position", again_position,
     "{\"next_offset\":12,\"record_sha256\":\"" SAMPLE_SHA
     "\",\"outcomes\":11,\"chain_sha256\":\"" SAMPLE_SHA2 "\",\"derived\":3,\"edge\":\""
     "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v"
     "MDEyMzQ1Njc4OTo7PD0+P0BBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWltcXV5f\"}"},
    {"outcome", again_outcome,
     "{\"specversion\":\"1.0\",\"type\":\"certsync.outcome.v1\",\"sequence\":\"0000000000000012\",\"id\":"
     "\"" SAMPLE_ID2 "\",\"source\":\"//prod_0a1b2c3d/partitions/3\",\"subject\":\"" SAMPLE_ID2
     "\",\"time\":\"2025-11-24T16:00:00.007Z\",\"datacontenttype\":\"application/json\",\"data\":{"
     "\"status\":\"rejected\",\"code\":\"event.replayed\",\"detail\":\"said twice\","
     "\"type\":\"certsync.share.answer.v1\",\"event\":\"" SAMPLE_ID
     "\",\"sequence\":\"0000000000000042\",\"account\":\"acme\",\"kid\":\"" SAMPLE_KID
     "\",\"label\":\"web-1\",\"name\":\"www\",\"version\":2,\"leaves\":[{\"sha256\":\"" SAMPLE_SHA
     "\",\"serial\":\"-80\",\"not_after\":\"2027-11-23T12:00:00Z\"},{\"sha256\":\"" SAMPLE_SHA2
     "\",\"serial\":\"01\",\"not_after\":\"1970-01-01T00:00:00Z\"}],\"partition\":3,\"offset\":11,"
     "\"record\":\"" SAMPLE_SHA "\",\"watermark\":50,\"gap\":7,\"concludes\":[{\"event\":\"" SAMPLE_ID
     "\",\"status\":\"applied\"},{\"event\":\"" SAMPLE_ID2
     "\",\"status\":\"rejected\",\"code\":\"share.closed\"}],\"prev\":\"" SAMPLE_SHA2 "\"}}"},
    {"outcome of noise", again_outcome,
     "{\"specversion\":\"1.0\",\"type\":\"certsync.outcome.v1\",\"sequence\":\"0000000000000001\",\"id\":"
     "\"" SAMPLE_ID2 "\",\"source\":\"//prod_0a1b2c3d/partitions/"
     "0\",\"time\":\"1970-01-01T00:00:00.000Z\",\"datacontenttype\":\"application/json\",\"data\":{"
     "\"status\":\"rejected\",\"code\":\"event.unsigned\",\"partition\":0,\"offset\":0,"
     "\"record\":\"" SAMPLE_SHA "\",\"prev\":\"" SAMPLE_SHA2 "\"}}"},
};

static inline const struct entry_sample *entry_sample(const char *name) {
    for (size_t i = 0; i < CS_ARRAY_LEN(entry_samples); i++)
        if (strcmp(entry_samples[i].name, name) == 0)
            return &entry_samples[i];
    abort();
}
