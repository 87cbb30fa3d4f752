// SPDX-License-Identifier: Apache-2.0
//
// What the files of the rules share. A decision has four steps. The facts are gathered
// (rules_facts.c: all reads that can be foreseen). The rules check them, in the order of
// rules_table.h; rules change nothing. The first broken rule gives the verdict. If none is broken,
// the event takes effect (cs_effect_*, one for each type).
#pragma once

#include <string.h>

#include "certsync/model/codes.h"
#include "certsync/model/rules.h"
#include "codec/event_data.h"

enum cs_signer { CS_SIGNER_NONE = 0, CS_SIGNER_ROOT, CS_SIGNER_TRUSTED, CS_SIGNER_AGENT };

// What the catalog says of what the event is about.
struct cs_facts {
    bool has_system;
    struct cs_system system;

    enum cs_signer signer;
    enum cs_trust_role role;     // CS_SIGNER_TRUSTED
    bool revoked;                // removed, revoked or rotated
    struct cs_spki signer_key;   // not of root
    struct cs_agent agent;       // CS_SIGNER_AGENT
    char label[CS_NAME_MAX + 1]; // of the signer; root has none
    int64_t watermark;           // of the signer's stream
    bool remembered; // seq is not above the watermark, and the event is among the last of the stream

    bool has_account;
    struct cs_account account;

    size_t ends_shares; // account.update: how many shares end with it

    bool subject_trusted; // there is, or was, a trust key of the subject's kid (root counts)
    struct cs_trust_key trust;
    bool has_target; // agent.*: the key that the event is about
    struct cs_agent target;
    cs_kid first_kid; // agent.rotate: the first key of the signer's line; "" where the signer is it
    struct cs_agent first;
    cs_kid latest_kid; // agent.revoke: the last key of the target's line; "" where the target is it
    struct cs_agent latest;

    bool custodian;   // the key is sealed to a trusted custodian
    const char *name; // that the event is about, by which the signer's pattern judges; NULL: there is none
    enum cs_algorithm algorithm; // upload, issue, csr.add: of what is to have the name
    bool
        id_used; // upload, issue, csr.add: the subject is, or was, the id of something else; certificate.share: a
                 // share has the event's id
    bool has_cert; // by name for upload and issue, else by subject; not where it is deleted
    struct cs_certificate cert;
    cs_kid host;        // certificate.*: the signer's, or the first key of its line
    bool has_installed; // that host has the certificate: upload with place, seen, gone
    struct cs_installed installed;
    bool sent_it;         // upload with place: that host sent the certificate's present version
    int64_t seen_version; // certificate.seen: the version that has the leaf; 0: none that is known
    bool renames;         // certificate.update: to a name that it does not have
    bool name_used;       // certificate.update: another certificate has that name
    bool same_leaf;       // upload, issue, update: the certificate that has the name has these very leafs
    struct cs_material material; // of the certificate that is changed or deleted; lent until it is written
    bool shared_in_only;         // certificate.share: not the account's own, but shared in to it
    bool has_csr;                // upload: the match; csr.add: of the same key; csr.delete: by subject
    struct cs_csr_entry csr;
    bool csr_named;     // csr.add: a request has the name
    bool has_shared_in; // certificate.delete with `from`, share.offer
    struct cs_shared_in shared_in;
    bool has_share; // share.answer
    struct cs_share share;
    bool has_share_in; // share.offer, share.withdraw
    struct cs_share_in share_in;
};

struct cs_judge {
    const struct cs_rule_context *ctx;
    struct cs_state *state;
    const struct cs_record *record;
    const struct cs_prepared *prepared;
    const struct cs_event *ev; // NULL where the bytes are no event
    int64_t ruleset;           // in force
    enum cs_code asked;        // the code of the rule that is looked at
    int64_t now_s;             // the record's broker time
    cs_key stream; // "<account>/<kid>" of an enrolled key, "<kid>", "p<partition>" or "p<partition>.<epoch>"
    struct cs_facts f;
    struct cs_decision *ret;
    struct cs_buf *buf; // the state's, for the document that is being written
    bool needed;        // something is not loaded: the decision is void
    bool failed;        // err says why
    struct cs_err *err;
};

// Text into an array that is large enough by its form (ident.h).
#define CS_COPY(array, text) cs_copy_text((array), sizeof(array), (text))
static inline void cs_copy_text(char *ret, size_t size, const char *text) {
    size_t len = strnlen(text, size - 1);
    memcpy(ret, text, len);
    ret[len] = '\0';
}

// Reads. CS_NEEDED and a document that cannot be read are noted in the judge.
enum cs_look cs_judge_look(struct cs_judge *j, const char *key, struct cs_bytes *ret);
// Whether the document is there; decodes it into ret.
#define CS_DECLARE_READ(name, type)                                                                          \
    bool cs_judge_read_##name(struct cs_judge *j, const char *key, struct type *ret)
CS_DECLARE_READ(system, cs_system);
CS_DECLARE_READ(trust, cs_trust_key);
CS_DECLARE_READ(stream, cs_stream);
CS_DECLARE_READ(tombstones, cs_tombstones);
CS_DECLARE_READ(tombstone, cs_tombstone);
CS_DECLARE_READ(account, cs_account);
CS_DECLARE_READ(agent, cs_agent);
CS_DECLARE_READ(certificate, cs_certificate); // free with cs_certificate_clear
CS_DECLARE_READ(material, cs_material);       // lent until it is written
CS_DECLARE_READ(issuer, cs_issuer);           // the same
CS_DECLARE_READ(installed, cs_installed);
CS_DECLARE_READ(csr, cs_csr_entry); // free with cs_csr_entry_clear
CS_DECLARE_READ(share, cs_share);
CS_DECLARE_READ(share_in, cs_share_in);
CS_DECLARE_READ(shared_in, cs_shared_in); // free with cs_shared_in_clear
// Leaves a copy at the empty place that cs_state_look gave. False: out of memory (noted).
bool cs_judge_keep_decoded(struct cs_judge *j, void **place, const void *decoded, size_t size);
// A document that another one names is not there (and not just needed): the catalog is damaged, and must
// not be used to judge.
void cs_judge_lacks(struct cs_judge *j, const char *key);
// A document that is an id as a JSON string.
bool cs_judge_read_id(struct cs_judge *j, const char *key, cs_uuid ret);
static inline bool cs_judge_stopped(const struct cs_judge *j) {
    return j->needed || j->failed;
}

// Fill j->f: who signed, and what the event is about. If something is needed, the rest that can be
// foreseen is noted all the same.
void cs_facts_signer(struct cs_judge *j);
void cs_facts_subject(struct cs_judge *j);
void cs_facts_clear(struct cs_facts *f);

// Writes what is in j->buf, which each encoder begins with cs_judge_begin.
struct cs_buf *cs_judge_begin(struct cs_judge *j);
void cs_judge_put(struct cs_judge *j, const char *key);
void cs_judge_put_id(struct cs_judge *j, const char *key, const char *id);
void cs_judge_put_account(struct cs_judge *j);
void cs_judge_put_certificate(struct cs_judge *j, const struct cs_certificate *cert);
void cs_judge_put_share(struct cs_judge *j, const struct cs_share *share);
// How many of the names are listed; the rest is only counted. So documents, and offers of a
// certificate (CS_EVENT_MAX), stay small, whatever a certificate holds.
#define CS_NAMES_TEXT_MAX ((size_t)32 * 1024)
size_t cs_names_listed(char *const *names, size_t n);

// A derived event for account about a certificate, appended to the decision; NULL out of memory
// (noted).
struct cs_event *cs_judge_emit(struct cs_judge *j, enum cs_event_type type, const char *account,
                               const char *certificate);
// A pending share event has ended so.
void cs_judge_conclude(struct cs_judge *j, const char *event, enum cs_status status, enum cs_code code);
// The outcome says which certificate it is about; s: as it is then, or as it was where it goes.
void cs_judge_tell(struct cs_judge *j, const struct cs_cert_summary *s);
// The outcome says which leaves the event brought, where they break no rule by themselves.
void cs_judge_tell_brought(struct cs_judge *j);
void cs_judge_fail_oom(struct cs_judge *j);

// cs_prepare by a book. False: FATAL.
CS_MUST_USE bool cs_prepare_by(const struct cs_rulebook *book, struct cs_crypto *c, const char *log_id,
                               int32_t partition_count, int64_t ruleset, const struct cs_record *r,
                               cs_key_lookup lookup, void *lookup_arg, struct cs_region *region,
                               struct cs_prepared **ret, struct cs_err *err);
// Reads the record again under another ruleset. Its content waits for cs_prepare_content. False:
// FATAL.
CS_MUST_USE bool cs_prepare_again(const struct cs_rule_context *ctx, const struct cs_record *r,
                                  int64_t ruleset, struct cs_prepared *p, struct cs_err *err);
// The half of cs_prepare that looks at certificates and keys. False: FATAL.
CS_MUST_USE bool cs_prepare_content(struct cs_crypto *c, struct cs_prepared *p, struct cs_err *err);

// Tombstones (rules_tombstone.c): notes what expire will read; takes away those that are over; says that the
// document of this key, which is written, is one from now on.
void cs_tombstones_touch(struct cs_judge *j);
void cs_tombstones_expire(struct cs_judge *j);
void cs_tombstone_add(struct cs_judge *j, const char *key);

// A certificate whose leaves stay (rules_certificate.c): takes the event's chain and tags, as far as they are
// others, into cert, and counts them. Returns what was taken, CS_TOOK_ bits; nothing of cert is written yet.
// cert must own nothing.
#define CS_TOOK_CHAIN   1u
#define CS_TOOK_TAGS    2u
#define CS_TOOK_NAME    4u
#define CS_TOOK_CONTACT 8u
#define CS_TOOK_NOTE    16u
#define CS_TOOK_PLACE   32u
unsigned cs_certificate_take(struct cs_judge *j, struct cs_certificate *cert);
// Writes it with what was taken, offers it to all that it is shared with, and says in the detail what was
// taken. took 0: unchanged.
void cs_certificate_taken(struct cs_judge *j, struct cs_certificate *cert, unsigned took);

// Takes an own certificate away, with all that it has (rules_certificate.c).
void cs_certificate_remove(struct cs_judge *j);

// Installations (rules_installed.c). The sender's host has this version of cert at the place: its document,
// the indexes and the counts of the account and of cert, which the caller writes. False: it is so already,
// or there is no room.
bool cs_installed_set(struct cs_judge *j, struct cs_certificate *cert, int64_t version, const char *place);
// A certificate goes: no host has it. A host ends: it has nothing.
void cs_installed_end_certificate(struct cs_judge *j, const struct cs_certificate *cert);
void cs_installed_end_host(struct cs_judge *j, const char *host);
// Notes what these will read.
void cs_installed_touch_certificate(struct cs_judge *j, const struct cs_certificate *cert);
void cs_installed_touch_host(struct cs_judge *j, const char *host);

// Issuers (rules_issuer.c): notes those of an upload, or of a material, as read.
void cs_issuers_touch_sent(struct cs_judge *j);
void cs_issuers_touch(struct cs_judge *j, const struct cs_material *m);
// Names the issuers of part i of an upload in its material.
void cs_issuers_name(const struct cs_judge *j, size_t i, struct cs_material_part *ret);
// What a material names gains or loses one use; a certificate is gone with the last. An upload brings
// what it names.
void cs_issuers_add(struct cs_judge *j, const struct cs_material *m);
void cs_issuers_remove(struct cs_judge *j, const struct cs_material *m);

// csr.add: the very same request under the same name is there already (rules_csr.c).
bool cs_csr_is_there(const struct cs_judge *j);
// The bytes of a request and its sealed key, which its account's limit counts; of an event, 0 where it is
// there already (rules_csr.c).
int64_t cs_csr_bytes(const struct cs_csr_entry *csr);
int64_t cs_csr_more_bytes(const struct cs_judge *j);
// The matched request gave its key to a certificate (rules_csr.c).
void cs_csr_used(struct cs_judge *j, const struct cs_certificate *by);

// The owner's end of shares. Closes an open or pending share: its document, its
// index entry, its event's conclusion, and a withdrawal for the recipient. Does not touch the
// certificate's list.
void cs_share_close(struct cs_judge *j, struct cs_share *share, enum cs_code why);
// Offers the certificate's present version to all that it is shared with.
void cs_share_offer_all(struct cs_judge *j, const struct cs_certificate *cert);
// The recipient removes an entry by himself: the id stays closed until its owner withdraws it, and
// he is told `removed`.
void cs_shared_in_remove(struct cs_judge *j, const struct cs_shared_in *entry, enum cs_code why);
// Whether the change ends the shares of the account (rules_trust.c).
bool cs_account_ends_shares(const struct cs_account *before, const struct cs_event_account *change);
// All shares of the account end, at both ends.
void cs_shares_end(struct cs_judge *j, enum cs_code why);

// Who may send events of a type (rules_agent.c, from the rows of event_types.h). A type that names
// no sender has NOBODY.
struct cs_event_sender {
    unsigned char sender; // CS_SENDER_ of rules_table.h
    unsigned right;       // CS_SENDER_RIGHT: the CS_CAN_ bit that the key needs
};
extern const struct cs_event_sender cs_event_senders[CS_EVENT_TYPE_END];

// Rules: true where the rule holds. rules_table.h says which is which.
typedef bool cs_rule_fn(struct cs_judge *j);
struct cs_rule {
    int64_t since, last; // rulesets
    uint64_t types;      // bits
    enum cs_code code;
    cs_rule_fn *holds;
};
struct cs_rules {
    const struct cs_rule *rules;
    size_t len;
};
// All that a release knows of rulesets 1 to latest.
struct cs_rulebook {
    int64_t latest;
    const struct cs_event_kind *kinds; // by type
    struct cs_rules envelope, event, offer;
};
extern const struct cs_rulebook cs_rulebook; // this release's

// Effects of an event that broke no rule.
typedef void cs_effect_fn(struct cs_judge *j);
#define X(symbol, name, since, place, fields, sender, prepare, reads, effect, more)                          \
    cs_effect_fn cs_effect_##effect;
CS_EVENT_TYPES(X)
#undef X
// The first of the rules of an offer that is broken; CS_CODE_NONE where the recipient takes it.
enum cs_code cs_rules_offer(struct cs_judge *j);
