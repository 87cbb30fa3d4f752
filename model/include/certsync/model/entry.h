// SPDX-License-Identifier: Apache-2.0
//
// What a catalog holds: one JSON document for each thing, written canonically (members in the order
// below, no white space, absent optional members left out), so that the same log gives the same
// bytes. Times are the records' broker timestamps in milliseconds.
//
// Keys (state.h) under which documents lie; in Redis each is preceded by
// "<namespace>:{<partition>}:".
//   system                          cs_system        the log's id, partition count, ruleset
//   trust/<kid>                     cs_trust_key
//   trusted                         index            all kids that are or were trusted, score 0
//   stream/<account>/<kid>          cs_stream        watermark of an enrolled key; of another sender
//                                                    stream/<kid>, of derived events
//                                                    stream/p<partition>
//   seen/<account>/<kid>            index            event ids of the last CS_SEEN_MAX events,
//                                                    score = seq; seen/<kid>, seen/p<partition>
//   account/<account>               cs_account
//   accounts                        index            the partition's accounts, score 0
//   key/<account>/<kid>             cs_agent         enrolled key, also a join token
//   keys/<account>                  index            kids, score 0
//   tombstones                      cs_tombstones    the queue of tombstones: see there
//   tombstone/<number>              cs_tombstone     a place in it
//   cert/<account>/<id>             cs_certificate   after delete a tombstone (deleted true)
//   material/<account>/<id>         cs_material      leaves and sealed keys of the current version,
//                                                    and the names of the rest of each chain; gone
//                                                    after delete
//   issuer/<sha256>                 cs_issuer        the rest of a chain, each certificate once in a
//                                                    partition, as long as a material names it
//   installed/<account>/<id>/<host> cs_installed     where a host has a certificate, and which version
//   hosts/<account>/<id>            index            "<version>/<host>" of hosts that have it, score 0: the
//                                                    lowest version that each has, 10 digits
//   installations/<account>/<host>  index            ids of the certificates that it has, score 0
//   name/<account>/<name>           id               as a JSON string
//   view/<account>                  index            what the account sees, score 0: own
//                                                    "<name>/c/<id>", shared in
//                                                    "<name>/s/<owner account>/<id>"
//   expiry/<account>                index            the same members, score = not_after_s
//   csr/<account>/<id>              cs_csr_entry     after delete a tombstone
//   csr-spki/<account>/<spki hex>   id               as a JSON string
//   csr-name/<account>/<name>       id               as a JSON string
//   csrs/<account>                  index            "<name>/<id>", score 0
//   share/<account>/<share id>      cs_share         the owner's end; closed: a tombstone
//   shared-in/<account>/<owner account>/<cert id>
//                                   cs_shared_in     the recipient's end, while open
//   share-in/<account>/<share id>   cs_share_in      the recipient's end: the state. Closed: the
//                                                    recipient removed it; gone when the owner has
//                                                    withdrawn it
//   shares/<account>                index            open and pending: "out/<share id>" and
//                                                    "in/<share id>", score 0
//   pending                         index            "<account>/<share id>" of shares that wait
//                                                    for an answer, score = created_ms
//   outcome/<account>/<event id>    outcome          (outcome.h: which are kept) of an event
//   outcome/<account>/<event id>/again
//                                   outcome          of a copy of it that was refused as such
//   outcomes/<account>              index            the last parts of their keys, of those that are
//                                                    awaited with "/awaited" behind; score = number
//                                                    of the outcome, or of the one that concluded it;
//                                                    the newest CS_OUTCOMES_KEPT
#pragma once

#include "certsync/base/buf.h"
#include "certsync/model/codes.h"
#include "certsync/model/ident.h"
#include "certsync/model/key.h"
#include "certsync/model/merkle.h"
#include "certsync/model/policy.h"

#define CS_SEEN_MAX           128
#define CS_OLD_VERSIONS_MAX   10
#define CS_SHARES_MAX         1000 // most shares of one certificate, and most that end with one event
#define CS_CONTACT_MAX        128
#define CS_NOTE_TEXT_MAX      256
#define CS_LIMIT_CERTIFICATES 1000 // defaults of a new account
#define CS_LIMIT_SHARES       20

// What an account may have of each, beside certificates (limits). Its document counts them:
// X(NAME, the limit of a new account, the highest limit, what is counted).
// clang-format off
#define CS_ACCOUNT_COUNTS(X) \
    X(requests,   100,   100000,  "signing requests") \
    X(keys,       10000, 1000000, "enrolled keys, without join tokens") \
    X(tokens,     1000,  100000,  "join tokens that are neither revoked nor used up") \
    X(shares_out, 1000,  100000,  "open and pending shares of its certificates in all") \
    X(shares_in,  1000,  100000,  "shares that it has from other accounts") \
    X(installations, 100000, 1000000, "hosts that have its certificates, of each certificate by itself") \
    X(tags,       10000, 16000000, "tags of its certificates in all") \
    X(bytes, 50000000, 1000000000000, \
      "bytes of its certificates and requests, with chains and sealed keys")
// clang-format on

enum cs_trust_role {
    CS_TRUST_ADMIN = 1,
    CS_TRUST_ISSUER,
    CS_TRUST_SERVICE,
    CS_TRUST_AUDITOR,
    CS_TRUST_CUSTODIAN
};
const char *cs_trust_role_name(enum cs_trust_role r);
bool cs_trust_role_parse(const char *s, size_t len, enum cs_trust_role *ret);

// Rights of an enrolled key; on the wire an array of names in this order.
#define CS_CAN_UPLOAD 1u
#define CS_CAN_DELETE 2u
#define CS_CAN_SHARE  4u
#define CS_CAN_CSR    8u
#define CS_CAN_READ   16u
#define CS_CAN_ENROLL 32u
#define CS_CAN_ALL    63u
const char *cs_can_name(unsigned bit); // of one bit
bool cs_can_parse(const char *s, size_t len, unsigned *ret_bit);

// Every encoder appends one JSON value to b (failure is b's). Every decoder owns what it returns.
// On anything that the encoder does not write, it answers false with FATAL "the catalog holds a
// document that this release cannot read: <member>: …". So a decoded document is encoded to the
// same bytes again. _clear frees what the struct owns, not the struct. The JSON form is above each
// struct; "?" marks members that are left out where empty, 0 or false (uses_left: where -1).

// {"log":"prod_0a1b2c3d","partitions":12,"ruleset":1}
struct cs_system {
    cs_log_id log_id;
    int32_t partitions;
    int64_t ruleset;
};
void cs_system_encode(struct cs_buf *b, const struct cs_system *v);
CS_MUST_USE bool cs_system_decode(struct cs_bytes json, struct cs_system *ret, struct cs_err *err);

#define CS_SPKI_MAX 128 // P-256 (91 bytes) and X25519 (44 bytes) SPKIs fit
struct cs_spki {
    size_t len;
    uint8_t data[CS_SPKI_MAX];
};

// {"role":"admin","key":"<base64 SPKI>","label":…?,"added_ms":…,"removed_ms":…?}
struct cs_trust_key {
    enum cs_trust_role role;
    struct cs_spki key;
    char label[CS_NAME_MAX + 1];
    int64_t added_ms;
    int64_t removed_ms; // 0 while trusted
};
void cs_trust_key_encode(struct cs_buf *b, const struct cs_trust_key *v);
CS_MUST_USE bool cs_trust_key_decode(struct cs_bytes json, struct cs_trust_key *ret, struct cs_err *err);

// {"seq":42}
struct cs_stream {
    int64_t seq; // watermark
};
void cs_stream_encode(struct cs_buf *b, const struct cs_stream *v);
CS_MUST_USE bool cs_stream_decode(struct cs_bytes json, struct cs_stream *ret, struct cs_err *err);

// {"site":"cn","owner":…,"verified":true,
//  "limits":{"certificates":1000,"shares":20,"requests":100,"keys":10000,"tokens":1000,
//            "shares_out":1000,"shares_in":1000,"installations":100000,"tags":10000,"bytes":50000000,
//            "incomplete_chain":"note"|"reject"},
//  "policy":{"keys":["RSA-3072","P-256"]?,"days":100?,"issuers":["spki:<hex>","name:<pattern>"]?,
//            "dns":["*.example.com"]?,"wildcards":"reject"?}?,
//  "certificates":…,"requests":…,"keys":…,"tokens":…,"shares_out":…,"shares_in":…,
//  "tags":…,"bytes":…,"created_ms":…,"updated_ms":…}
struct cs_account {
    enum cs_site site;
    cs_owner_id owner;
    bool verified;
    int64_t limit_certificates; // live own certificates
    int64_t limit_shares;       // open and pending shares of one certificate
    bool reject_incomplete_chain;
    struct cs_policy policy;
    int64_t certificates;                                         // how many live own certificates there are
#define X(name, at_first, most, text) int64_t limit_##name, name; // what the account may have, and has
    CS_ACCOUNT_COUNTS(X)
#undef X
    int64_t created_ms;
    int64_t updated_ms;
};
void cs_account_encode(struct cs_buf *b, const struct cs_account *v);
CS_MUST_USE bool cs_account_decode(struct cs_bytes json, struct cs_account *ret, struct cs_err *err);

// An enrolled key is quiet when its last heartbeat (heartbeat.h) is older than this default
// (api.quiet_after, certsync agents --quiet-after). These are three heartbeats at the default
// interval. A key that never sent one is not quiet: a person's, a token.
#define CS_QUIET_AFTER "15m"

enum cs_agent_state { CS_AGENT_ENROLLED = 1, CS_AGENT_REVOKED, CS_AGENT_ROTATED };
// {"state":"enrolled"|"revoked"|"rotated","key":"<base64 SPKI>","can":["upload",…],"names":"*",
//  "dns":["*.example.com"]?,"label":…?,"uses_left":…?,"expires_s":…?,
//  "grant":{"can":[…],"names":…,"dns":[…]?}?,
//  "enrolled_by":"<kid>","enrolled_keys":…?,"rotated_to":"<kid>"?,"first":"<kid>"?,
//  "latest":"<kid>"?,"enrolled_ms":…,"ended_ms":…?}
struct cs_agent {
    enum cs_agent_state state;
    struct cs_spki key;
    unsigned can;
    cs_pattern names;
    cs_dns_patterns dns; // hosts that its certificates and requests may name. "": any
    char label[CS_NAME_MAX + 1];
    int64_t uses_left; // -1: no limit
    int64_t expires_s; // 0: never
    bool has_grant;
    unsigned grant_can;
    cs_pattern grant_names;
    cs_dns_patterns grant_dns;
    cs_kid enrolled_by;
    int64_t enrolled_keys; // how many keys this join token has enrolled
    cs_kid rotated_to;     // "" unless rotated
    // A key and the keys that it was rotated to are a line. Its two ends know each other, however
    // long it is.
    cs_kid first; // the key of the line that was enrolled; "" where it is this one
    // only in the first key: the line's last key. "" if that is this one.
    cs_kid latest;
    int64_t enrolled_ms;
    int64_t ended_ms; // revoked or rotated; 0 before
};
void cs_agent_encode(struct cs_buf *b, const struct cs_agent *v);
CS_MUST_USE bool cs_agent_decode(struct cs_bytes json, struct cs_agent *ret, struct cs_err *err);

// What was deleted or closed stays as a tombstone, so that its id is not used again; so does a key that was
// revoked or rotated, or a join token that is used up. (The first key of a line stays until the line's last one
// has ended.) 31 days later an event that was made before it is too old (CS_EVENT_AGE_MAX_MS). Then the events
// that come take it away, the oldest first, at most 8 each; with a key go its stream and what it had seen.
// {"first":1,"next":3,"oldest_ms":…}: those in the queue have the numbers from first to next - 1. No
// document: there is none.
struct cs_tombstones {
    int64_t first, next;
    int64_t oldest_ms; // when the first one came
};
void cs_tombstones_encode(struct cs_buf *b, const struct cs_tombstones *v);
CS_MUST_USE bool cs_tombstones_decode(struct cs_bytes json, struct cs_tombstones *ret, struct cs_err *err);

// {"key":"cert/acme/<id>","at_ms":…}
#define CS_TOMBSTONE_KEY_MAX 255 // as CS_STATE_KEY_MAX
struct cs_tombstone {
    char key[CS_TOMBSTONE_KEY_MAX + 1]; // of the document that is to go
    int64_t at_ms;
};
void cs_tombstone_encode(struct cs_buf *b, const struct cs_tombstone *v);
CS_MUST_USE bool cs_tombstone_decode(struct cs_bytes json, struct cs_tombstone *ret, struct cs_err *err);

// What is shown of one leaf.
//   {"sha256":"<hex>","spki_sha256":"<hex>","serial":"<hex>","not_before_s":…,"not_after_s":…,
//    "key_type":"P-256","key_bits":256,"subject":…,"issuer":…,
//    "names_total":…,"names":["www.example.com",…]}
struct cs_leaf {
    uint8_t sha256[32];
    uint8_t spki_sha256[32];
    char serial[CS_SERIAL_TEXT_SIZE];
    int64_t not_before_s;
    int64_t not_after_s;
    enum cs_key_type key_type;
    int key_bits;
    char *subject; // owned
    char *issuer;  // owned
    size_t names_total;
    size_t names_len;
    char **names; // owned
};

struct cs_tag_list {
    size_t len;
    cs_tag tag[CS_TAGS_MAX];
};

// The public facts of a certificate: in the owner's entry, in an offer, in the recipient's entry.
//   {"name":…,"algorithm":"international"|"sm2","source":"uploaded"|"official"|"test",
//    "version":1,"notes":["chain.expired",…]?,"chain_ends_s":…?,"tags":[…]?,"leaves":[{…}]}
struct cs_cert_summary {
    cs_name name;
    enum cs_algorithm algorithm;
    enum cs_source source; // of the original: never CS_SOURCE_SHARED
    int64_t version;
    uint32_t notes; // CS_NOTE bits, as they were when this version was taken
    // the earliest end of the path's CA certificates, if it is before the leaves'; else 0
    int64_t chain_ends_s;
    struct cs_tag_list tags;
    size_t leaves_len; // 1, or 2 for sm2: signing, encryption
    struct cs_leaf leaves[2];
};
void cs_cert_summary_clear(struct cs_cert_summary *v);
int64_t cs_summary_not_after(const struct cs_cert_summary *s); // the leaf that ends first
// the same, or the CA certificate of the chain that ends before
int64_t cs_summary_ends(const struct cs_cert_summary *s);
bool cs_tags_equal(const struct cs_tag_list *a, const struct cs_tag_list *b); // in order, too
CS_MUST_USE bool cs_cert_summary_copy(const struct cs_cert_summary *v, struct cs_cert_summary *ret,
                                      struct cs_err *err);

struct cs_share_ref { // in the owner's certificate: its open and pending shares
    cs_uuid share;
    cs_account_id to;
};
struct cs_old_version {
    int64_t version;
    uint8_t sha256[32]; // of the (signing) leaf
    char serial[CS_SERIAL_TEXT_SIZE];
    int64_t not_after_s;
    int64_t ends_s;    // with its chain, if that is before not_after_s; else 0
    int64_t installed; // as of the certificate
};
// {"id":…,"summary":{…},"by":"<kid>","contact":…?,"note":…?,"created_ms":…,"updated_ms":…,
//  "shares":[{"share":"<id>","to":"<account>"}]?,
//  "old_versions":[{"version":1,"sha256":"<hex>","serial":"<hex>","not_after_s":…}]?},
// or the tombstone {"id":…,"deleted":true,"updated_ms":…}
struct cs_certificate {
    cs_uuid id;
    bool deleted; // then only id, deleted and updated_ms are kept
    struct cs_cert_summary summary;
    cs_kid by; // who sent the current version
    // what the account says of it; those that it is shared with do not see it
    char contact[CS_CONTACT_MAX + 1];
    char note[CS_NOTE_TEXT_MAX + 1];
    int64_t created_ms;
    int64_t updated_ms;
    size_t shares_len;
    struct cs_share_ref *shares; // owned
    size_t old_len;
    struct cs_old_version old[CS_OLD_VERSIONS_MAX]; // newest first
    // How many hosts have it, each counted with the lowest version that it has: this one, an old one
    // (old), or an older one than those. Of the latter also the earliest end.
    int64_t installed;
    int64_t older_installed;
    int64_t older_ends_s;
};
int64_t cs_certificate_hosts(const struct cs_certificate *v);  // in all
int64_t cs_certificate_behind(const struct cs_certificate *v); // that have an older version
// The earliest end of what is in use: of this version, and of those that hosts have.
int64_t cs_certificate_ends_in_use(const struct cs_certificate *v);
void cs_certificate_clear(struct cs_certificate *v);
CS_DEFINE_AUTO_CLEAR(struct cs_certificate, cs_certificate_clear)
void cs_certificate_encode(struct cs_buf *b, const struct cs_certificate *v);
CS_MUST_USE bool cs_certificate_decode(struct cs_bytes json, struct cs_certificate *ret, struct cs_err *err);

// Where a host has a certificate. A host is its key, or the first one of a line of rotated keys.
//   {"at":[{"place":"/etc/ssl/www.pem","version":3,"since_ms":…}]}
#define CS_PLACES_MAX 8
struct cs_installed_at {
    cs_place place;
    int64_t version;
    int64_t since_ms; // when it was told that this version is there
};
struct cs_installed {
    size_t len; // at least 1, in the order in which they were told
    struct cs_installed_at at[CS_PLACES_MAX];
};
void cs_installed_encode(struct cs_buf *b, const struct cs_installed *v);
CS_MUST_USE bool cs_installed_decode(struct cs_bytes json, struct cs_installed *ret, struct cs_err *err);
int64_t cs_installed_lowest(const struct cs_installed *v); // version; 0 where len is 0

// Leaves and sealed keys, as base64 text. Rules write it; the API and the custodian read it. Texts are
// views of the event or the document. What follows the leaf in its chain is named only, in that order:
// cs_issuer has it.
//   {"parts":[{"leaf":"…","issuers":["<sha256>"],"key":"…","key_subject":"<id>","role":"single"}]}
// key_subject: the id that the key was sealed for: the certificate's as sent, or a CSR's.
typedef char cs_issuer_id[65]; // SHA-256 of its DER in hex
#define CS_ISSUERS_MAX 9       // of one chain: CS_CHAIN_MAX with the leaf
struct cs_material_part {
    struct cs_bytes leaf; // base64 text
    size_t issuers_len;
    cs_issuer_id issuers[CS_ISSUERS_MAX];
    struct cs_bytes key; // base64 text
    cs_uuid key_subject;
    char role[12]; // cs_key_role_name
};
struct cs_material {
    size_t len; // 1, or 2 for sm2
    struct cs_material_part part[2];
};
void cs_material_encode(struct cs_buf *b, const struct cs_material *m);
CS_MUST_USE bool cs_material_decode(struct cs_bytes json, struct cs_material *ret, struct cs_err *err);

// {"used":…,"certificate":"<base64 DER>"}
struct cs_issuer {
    int64_t used;        // in how many chains of the partition's materials it is; never 0
    struct cs_bytes der; // base64 text, a view of the event or the document
};
void cs_issuer_encode(struct cs_buf *b, const struct cs_issuer *v);
CS_MUST_USE bool cs_issuer_decode(struct cs_bytes json, struct cs_issuer *ret, struct cs_err *err);

// {"id":…,"name":…,"csr":"<base64 DER>","key":"<base64, sealed>","spki_sha256":"<hex>",
//  "subject":…,"names":[…],"key_type":"P-256","key_bits":256,"created_ms":…,
//  "used":{"certificate":"<id>","name":…,"version":…,"at_ms":…}?},
// or the tombstone {"id":…,"deleted":true}
struct cs_csr_use {
    cs_uuid certificate; // "": it was not used
    cs_name name;
    int64_t version;
    int64_t at_ms;
};
struct cs_csr_entry {
    cs_uuid id;
    bool deleted;
    cs_name name;
    struct cs_bytes der; // owned
    struct cs_bytes key; // sealed; owned
    uint8_t spki_sha256[32];
    char *subject; // owned
    size_t names_len;
    char **names; // owned
    enum cs_key_type key_type;
    int key_bits;
    int64_t created_ms;
    struct cs_csr_use used; // the certificate's version that took its key last, as it was then
};
void cs_csr_entry_clear(struct cs_csr_entry *v);
CS_DEFINE_AUTO_CLEAR(struct cs_csr_entry, cs_csr_entry_clear)
void cs_csr_entry_encode(struct cs_buf *b, const struct cs_csr_entry *v);
CS_MUST_USE bool cs_csr_entry_decode(struct cs_bytes json, struct cs_csr_entry *ret, struct cs_err *err);

enum cs_share_state { CS_SHARE_PENDING = 1, CS_SHARE_OPEN, CS_SHARE_CLOSED };
// {"id":…,"certificate":"<id>","to":"<account>","state":"pending"|"open"|"closed","version":…,
//  "accepted":…?,"code":…?,"created_ms":…,"updated_ms":…}
struct cs_share {
    cs_uuid id; // of the certificate.share event
    cs_uuid certificate;
    cs_account_id to;
    enum cs_share_state state;
    int64_t version;   // offered last
    int64_t accepted;  // accepted last; 0: none
    enum cs_code code; // why it is closed
    int64_t created_ms;
    int64_t updated_ms;
};
void cs_share_encode(struct cs_buf *b, const struct cs_share *v);
CS_MUST_USE bool cs_share_decode(struct cs_bytes json, struct cs_share *ret, struct cs_err *err);

// {"id":…,"owner_account":…,"certificate":"<id>","open":true,"code":…?,"updated_ms":…}
struct cs_share_in {
    cs_uuid id;
    cs_account_id owner_account;
    cs_uuid certificate;
    bool open;
    enum cs_code code; // why it is closed
    int64_t updated_ms;
};
void cs_share_in_encode(struct cs_buf *b, const struct cs_share_in *v);
CS_MUST_USE bool cs_share_in_decode(struct cs_bytes json, struct cs_share_in *ret, struct cs_err *err);

// {"share":"<id>","owner_account":…,"certificate":"<id>","summary":{…},"created_ms":…,
//  "updated_ms":…}
struct cs_shared_in {
    cs_uuid share;
    cs_account_id owner_account;
    cs_uuid certificate;
    struct cs_cert_summary summary;
    int64_t created_ms;
    int64_t updated_ms;
};
void cs_shared_in_clear(struct cs_shared_in *v);
CS_DEFINE_AUTO_CLEAR(struct cs_shared_in, cs_shared_in_clear)
void cs_shared_in_encode(struct cs_buf *b, const struct cs_shared_in *v);
CS_MUST_USE bool cs_shared_in_decode(struct cs_bytes json, struct cs_shared_in *ret, struct cs_err *err);

// How far a partition is: the value of <namespace>:{p}:pos. The same MULTI writes it and the
// changes that it counts.
//   {"next_offset":…,"record_sha256":"<hex>","outcomes":…,"chain_sha256":"<hex>","derived":…,
//    "edge":"<base64>"}
struct cs_position {
    int64_t next_offset;        // of cert.events; 0 at the start
    uint8_t record_sha256[32];  // of the record before it (outcome.h); zeros at the start
    int64_t outcomes;           // number of the last outcome; 0 at the start
    uint8_t chain_sha256[32];   // SHA-256 of the last outcome's value; zeros at the start
    int64_t derived;            // number of derived events emitted so far, in this epoch
    int64_t epoch;              // of the last outcome (correction.h); left out if it is 0
    struct cs_merkle_edge edge; // of the tree over the outcomes' values (checkpoint.h)
};
void cs_position_encode(struct cs_buf *b, const struct cs_position *v);
CS_MUST_USE bool cs_position_decode(struct cs_bytes json, struct cs_position *ret, struct cs_err *err);
bool cs_position_equal(const struct cs_position *a, const struct cs_position *b);
