// SPDX-License-Identifier: Apache-2.0
//
// One canonical event of each type and form, for the codec's tests.
#pragma once

#include <stdlib.h>
#include <string.h>

#include "certsync/model/event.h"

#define SAMPLE_ID  "0192f1d0-1111-7abc-8def-0123456789ab"
#define SAMPLE_ID2 "0192f1d0-2222-7abc-8def-0123456789ab"
#define SAMPLE_KID "00112233445566778899aabbccddeeff"
#define SAMPLE_SHA "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

#define SAMPLE(type, place, subject, data)                                                                   \
    "{\"specversion\":\"1.0\",\"type\":\"certsync." type ".v1\",\"id\":\"" SAMPLE_ID                         \
    "\",\"source\":\"//prod.example_0a1b2c3d/" place "keys/" SAMPLE_KID "\",\"subject\":\"" subject          \
    "\",\"time\":\"2026-11-23T12:00:00Z\",\"sequence\":\"0000000000000042\",\"datacontenttype\":"            \
    "\"application/"                                                                                         \
    "json\",\"data\":" data "}"
#define SAMPLE_ACME(type, subject, data) SAMPLE(type, "accounts/acme/", subject, data)

#define SAMPLE_LEAF                                                                                          \
    "{\"sha256\":\"" SAMPLE_SHA "\",\"spki_sha256\":\"" SAMPLE_SHA                                           \
    "\",\"serial\":\"03c0ffee\",\"not_before_s\":1764000000,\"not_after_s\":1771776000,\"key_type\":\"P-"    \
    "256\","                                                                                                 \
    "\"key_bits\":256,\"subject\":\"CN=\xc3\xbc\",\"issuer\":\"CN=R3\",\"names_total\":3,"                   \
    "\"names\":[\"www.example.com\",\"IP:192.0.2.1\"]}"
#define SAMPLE_SUMMARY                                                                                       \
    "{\"name\":\"www.example.com\",\"algorithm\":\"international\",\"source\":\"official\",\"version\":3,"   \
    "\"notes\":[\"chain.incomplete\",\"cert.no_san\"],\"chain_ends_s\":1771775999,\"tags\":[\"env=prod\","   \
    "\"team/a\"],\"leaves\":[" SAMPLE_LEAF "]}"

static const struct sample {
    const char *name; // of the sample
    enum cs_event_type type;
    const char *text;
} samples[] = {
    {"genesis", CS_EVENT_SYSTEM_GENESIS,
     SAMPLE("system.genesis", "", "prod.example",
            "{\"deployment\":\"prod.example\",\"nonce\":\"0a1b2c3d4e5f60718293a4b5c6d7e8f9\",\"partitions\":"
            "12,\"ruleset\":1}")},
    {"ruleset", CS_EVENT_SYSTEM_RULESET, SAMPLE("system.ruleset", "", "prod.example", "{\"ruleset\":2}")},
    {"trust.add", CS_EVENT_TRUST_ADD,
     SAMPLE("trust.add", "", SAMPLE_KID,
            "{\"role\":\"custodian\",\"key\":\"AQIDBA==\",\"label\":\"vault 1\"}")},
    {"trust.remove", CS_EVENT_TRUST_REMOVE, SAMPLE("trust.remove", "", SAMPLE_KID, "{\"role\":\"admin\"}")},
    {"register", CS_EVENT_ACCOUNT_REGISTER,
     SAMPLE_ACME(
         "account.register", "acme",
         "{\"site\":\"cn\",\"owner\":\"org:4711\",\"verified\":true,\"limits\":{\"certificates\":0,"
         "\"shares\":5,"
         "\"incomplete_chain\":\"reject\"},\"policy\":{\"keys\":[\"RSA-3072\",\"P-256\"],\"days\":100,"
         "\"issuers\":[\"name:*O=Example*\"],\"dns\":[\"*.example.com\",\"IP:*\"],"
         "\"wildcards\":\"reject\"}}")},
    {"update", CS_EVENT_ACCOUNT_UPDATE,
     SAMPLE_ACME("account.update", "acme",
                 "{\"verified\":false,\"limits\":{\"shares\":0},\"policy\":{\"keys\":[],\"days\":0}}")},
    {"enroll", CS_EVENT_AGENT_ENROLL,
     SAMPLE_ACME("agent.enroll", SAMPLE_KID,
                 "{\"key\":\"AQID\",\"can\":[\"upload\",\"read\"],\"names\":\"*.example.com\",\"dns\":[\"www."
                 "example.com\"],\"label\":\"web-1\"}")},
    {"token", CS_EVENT_AGENT_ENROLL,
     SAMPLE_ACME(
         "agent.enroll", SAMPLE_KID,
         "{\"key\":\"AQID\",\"can\":[\"enroll\"],\"names\":\"*\",\"uses\":10,\"expires\":\"2027-01-01T00:00:"
         "00Z\","
         "\"grant\":{\"can\":[\"upload\",\"delete\",\"share\",\"csr\",\"read\"],\"names\":\"web-*\",\"dns\":["
         "\"**.example.com\"]}}")},
    {"revoke", CS_EVENT_AGENT_REVOKE, SAMPLE_ACME("agent.revoke", SAMPLE_KID, "{\"reason\":\"lost\"}")},
    {"rotate", CS_EVENT_AGENT_ROTATE, SAMPLE_ACME("agent.rotate", SAMPLE_KID, "{\"key\":\"AQIDBAU=\"}")},
    {"upload", CS_EVENT_CERTIFICATE_UPLOAD,
     SAMPLE_ACME(
         "certificate.upload", SAMPLE_ID2,
         "{\"name\":\"www.example.com\",\"algorithm\":\"international\",\"replace\":true,\"force\":true,"
         "\"tags\":[\"env=prod\"],\"chain\":[\"MAAA\",\"MAAAAA==\"],\"key\":\"AQID\",\"pop\":\"BAUG\"}")},
    {"upload by csr", CS_EVENT_CERTIFICATE_UPLOAD,
     SAMPLE_ACME(
         "certificate.upload", SAMPLE_ID2,
         "{\"name\":\"www.example.com\",\"algorithm\":\"international\",\"chain\":[\"MAAA\"],\"csr\":true}")},
    {"upload sm2", CS_EVENT_CERTIFICATE_UPLOAD,
     SAMPLE_ACME("certificate.upload", SAMPLE_ID2,
                 "{\"name\":\"sm2_1\",\"algorithm\":\"sm2\",\"sign\":{\"chain\":[\"MAAA\"],\"key\":\"AQID\","
                 "\"pop\":\"BAUG\"},"
                 "\"encrypt\":{\"chain\":[\"MAAB\",\"MAAC\"],\"key\":\"AQIE\",\"pop\":\"BAUH\"}}")},
    {"issue", CS_EVENT_CERTIFICATE_ISSUE,
     SAMPLE_ACME("certificate.issue", SAMPLE_ID2,
                 "{\"source\":\"test\",\"name\":\"www.example.com\",\"algorithm\":\"international\","
                 "\"chain\":[\"MAAA\"],"
                 "\"key\":\"AQID\",\"pop\":\"BAUG\"}")},
    {"issue sm2", CS_EVENT_CERTIFICATE_ISSUE,
     SAMPLE_ACME("certificate.issue", SAMPLE_ID2,
                 "{\"source\":\"official\",\"name\":\"sm2_1\",\"algorithm\":\"sm2\",\"tags\":[\"a\",\"b\"],"
                 "\"sign\":{\"chain\":[\"MAAA\"],\"key\":\"AQID\",\"pop\":\"BAUG\"},\"encrypt\":{\"chain\":["
                 "\"MAAB\"]}}")},
    {"update", CS_EVENT_CERTIFICATE_UPDATE,
     SAMPLE_ACME(
         "certificate.update", SAMPLE_ID2,
         "{\"name\":\"shop\",\"tags\":[],\"contact\":\"web team\",\"note\":\"\",\"chain\":[\"MAAA\"]}")},
    {"update sm2", CS_EVENT_CERTIFICATE_UPDATE,
     SAMPLE_ACME("certificate.update", SAMPLE_ID2,
                 "{\"sign\":{\"chain\":[\"MAAA\"]},\"encrypt\":{\"chain\":[\"MAAB\",\"MAAC\"]}}")},
    {"update note", CS_EVENT_CERTIFICATE_UPDATE,
     SAMPLE_ACME("certificate.update", SAMPLE_ID2, "{\"note\":\"of the old shop\"}")},
    {"upload of a place", CS_EVENT_CERTIFICATE_UPLOAD,
     SAMPLE_ACME("certificate.upload", SAMPLE_ID2,
                 "{\"name\":\"www\",\"algorithm\":\"international\",\"chain\":[\"MAAA\"],\"key\":\"AQID\","
                 "\"pop\":\"BAUG\","
                 "\"place\":\"/etc/ssl/www.pem\"}")},
    {"seen", CS_EVENT_CERTIFICATE_SEEN,
     SAMPLE_ACME("certificate.seen", SAMPLE_ID2,
                 "{\"place\":\"/etc/ssl/b\u00fcro.pem\",\"sha256\":\"" SAMPLE_SHA "\"}")},
    {"gone", CS_EVENT_CERTIFICATE_GONE,
     SAMPLE_ACME("certificate.gone", SAMPLE_ID2,
                 "{\"place\":\"sha256:00112233445566778899aabbccddeeff\",\"delete\":true}")},
    {"delete", CS_EVENT_CERTIFICATE_DELETE,
     SAMPLE_ACME("certificate.delete", SAMPLE_ID2, "{\"cascade\":true}")},
    {"delete from", CS_EVENT_CERTIFICATE_DELETE,
     SAMPLE_ACME("certificate.delete", SAMPLE_ID2, "{\"from\":\"other\"}")},
    {"share", CS_EVENT_CERTIFICATE_SHARE, SAMPLE_ACME("certificate.share", SAMPLE_ID2, "{\"to\":\"other\"}")},
    {"unshare", CS_EVENT_CERTIFICATE_UNSHARE,
     SAMPLE_ACME("certificate.unshare", SAMPLE_ID2, "{\"to\":\"other\"}")},
    {"csr.add", CS_EVENT_CSR_ADD,
     SAMPLE_ACME("csr.add", SAMPLE_ID2,
                 "{\"name\":\"www.example.com\",\"csr\":\"MAAA\",\"key\":\"AQID\",\"pop\":\"BAUG\"}")},
    {"csr.delete", CS_EVENT_CSR_DELETE, SAMPLE_ACME("csr.delete", SAMPLE_ID2, "{}")},
    {"offer", CS_EVENT_SHARE_OFFER,
     SAMPLE_ACME("share.offer", SAMPLE_ID2,
                 "{\"share\":\"" SAMPLE_ID
                 "\",\"owner_account\":\"other\",\"owner\":\"org:4711\",\"site\":\"intl\","
                 "\"version\":3,\"origin\":7,\"certificate\":" SAMPLE_SUMMARY "}")},
    {"withdraw", CS_EVENT_SHARE_WITHDRAW,
     SAMPLE_ACME("share.withdraw", SAMPLE_ID2,
                 "{\"share\":\"" SAMPLE_ID
                 "\",\"owner_account\":\"other\",\"origin\":0,\"code\":\"share.owner\"}")},
    {"answer", CS_EVENT_SHARE_ANSWER,
     SAMPLE_ACME("share.answer", SAMPLE_ID2,
                 "{\"share\":\"" SAMPLE_ID
                 "\",\"recipient\":\"other\",\"version\":3,\"answer\":\"accepted\",\"code\":\"\","
                 "\"origin\":11}")},
};

static inline const char *sample_text(const char *name) {
    for (size_t i = 0; i < CS_ARRAY_LEN(samples); i++)
        if (strcmp(samples[i].name, name) == 0)
            return samples[i].text;
    abort();
}
