// SPDX-License-Identifier: Apache-2.0
//
// The rule book: every rule, in the order in which they are checked. The first rule that does not
// hold gives the verdict.
//
// Never change a row that was in force. Each new catalog judges the log again, and each verdict is
// compared with the one that was published. If a row is changed, moved or removed in place, it
// contradicts every log that it has judged: workers stop (a fork), and verify calls true outcomes
// false. What a release judges differently comes with the next ruleset. A new row has SINCE(n). A
// row that ends has DURING(first, last). A row that changes ends, and the changed row stands beside
// it. Each log takes the step where root says so (system.ruleset), between two records. A function
// that rows of two rulesets share may ask j->ruleset. So may who may send, what is read, and
// effects. Types (event_types.h) and members (fields.h) have their SINCE as well.
//
// X(WHEN, ON, CODE, FUNCTION, "What holds, in the domain's words."): ON is one of the groups of
// event types below (ON_*).
#pragma once

#include "rules/rules_internal.h"

// Rulesets: from n on, or from first to last.
#define SINCE(n)            n, INT64_MAX
#define DURING(first, last) first, last

// Who may send an event: X(SENDER, FUNCTION of rules_agent.c, "What holds."). Each type's row names
// one (event_types.h).
// clang-format off
#define CS_SENDERS(X) \
    X(NOBODY, by_nobody, "Nobody may send it.") \
    X(ROOT, by_root, "Root alone says what is trusted.") \
    X(ADMIN, by_admin, "Admins keep the accounts and revoke keys.") \
    X(ENROLLER, by_enroller, \
      "Keys are enrolled by an admin, or with a join token while it lasts, as often as it may, " \
      "within its grant: no wider rights, no wider pattern of names, no host that its own patterns do " \
      "not cover.") \
    X(ITSELF, by_itself, \
      "A key speaks for itself only: it names its next key. A join token does not, nor does a key " \
      "whose time is over.") \
    X(RIGHT, by_right, \
      "The key was enrolled with the right to do this (for a certificate that takes a request's " \
      "key also the right csr, for a file that may take its certificate along also delete), and its time is not over; admins have no such right.") \
    X(ISSUER, by_issuer, "Issuers bring official and test certificates.") \
    X(SERVICE, by_service, "Offers, withdrawals and answers come from the consumer itself.")

// CS_BY_RIGHT_<SYMBOL>: whether a type is sent by right of an agent's key (BY_RIGHT in its row).
#define BY(who)         0
#define BY_RIGHT(right) 1
#define X(symbol, name, since, place, fields, sends, ...) CS_BY_RIGHT_##symbol = sends,
enum { CS_EVENT_TYPES(X) };
#undef X
#undef BY
#undef BY_RIGHT
#define ON_IF_BY_RIGHT(symbol, ...) | (uint64_t) CS_BY_RIGHT_##symbol << CS_EVENT_##symbol

// Groups of event types that a rule looks at, as bits. BY_RIGHT comes from the types' rows, so a
// new type is in it by itself. An event that names nothing is outside of every pattern.
#define ON(type) (UINT64_C(1) << CS_EVENT_##type)
#define ON_EVERY UINT64_MAX
#define ON_GENESIS      ON(SYSTEM_GENESIS)
#define ON_RULESET      ON(SYSTEM_RULESET)
#define ON_TRUST_ADD    ON(TRUST_ADD)
#define ON_TRUST_REMOVE ON(TRUST_REMOVE)
#define ON_REGISTER     ON(ACCOUNT_REGISTER)
#define ON_UPDATE       ON(ACCOUNT_UPDATE)
#define ON_REVOKE       ON(AGENT_REVOKE)
#define ON_ENROLL       ON(AGENT_ENROLL)
#define ON_NEW_AGENTS   (ON(AGENT_ENROLL) | ON(AGENT_ROTATE))
#define ON_UPLOADS      (ON(CERTIFICATE_UPLOAD) | ON(CERTIFICATE_ISSUE))
#define ON_REVISION     ON(CERTIFICATE_UPDATE)
#define ON_CHAINED      (ON_UPLOADS | ON_REVISION)
#define ON_NAMED        (ON(CERTIFICATE_UPLOAD) | ON(CERTIFICATE_ISSUE) | ON(CSR_ADD))
#define ON_KEYED        (ON(CERTIFICATE_UPLOAD) | ON(CERTIFICATE_ISSUE) | ON(CSR_ADD))
#define ON_PUBLIC       (ON_KEYED | ON_REVISION)
#define ON_BY_RIGHT     (UINT64_C(0) CS_EVENT_TYPES(ON_IF_BY_RIGHT))
#define ON_EXISTING \
    (ON(CERTIFICATE_DELETE) | ON(CERTIFICATE_SHARE) | ON(CERTIFICATE_UNSHARE) | ON_REVISION | ON_SEEN | \
     ON(CERTIFICATE_GONE))
#define ON_SEEN         ON(CERTIFICATE_SEEN)
#define ON_DELETE       ON(CERTIFICATE_DELETE)
#define ON_SHARE        ON(CERTIFICATE_SHARE)
#define ON_UNSHARE      ON(CERTIFICATE_UNSHARE)
#define ON_CSR_ADD      ON(CSR_ADD)
#define ON_CSR_DELETE   ON(CSR_DELETE)
#define ON_OFFER        ON(SHARE_OFFER)
#define ON_DERIVED  (ON(SHARE_OFFER) | ON(SHARE_WITHDRAW) | ON(SHARE_ANSWER))
#define ON_SENT     (~(ON(SYSTEM_GENESIS) | ON_DERIVED))
#define ON_ACCOUNTS \
    (~(ON(SYSTEM_GENESIS) | ON(SYSTEM_RULESET) | ON(TRUST_ADD) | ON(TRUST_REMOVE) | \
       ON(ACCOUNT_REGISTER) | ON_DERIVED))

// Who sent it, and whether it counts: before anything of the event itself is looked at.
#define CS_RULES_ENVELOPE(X) \
    X(SINCE(1), EVERY, EVENT_TOO_LARGE, cs_rule_bytes, "The value has at most 256 KiB.") \
    X(SINCE(1), EVERY, EVENT_UNSIGNED, cs_rule_bytes, \
      "There is exactly one header certsync-sig, and it is the base64 of a signature.") \
    X(SINCE(1), EVERY, EVENT_MALFORMED, cs_rule_bytes, \
      "The content type and the value are those of a well-formed event: strict JSON, each member " \
      "of the right form, none unknown.") \
    X(SINCE(1), EVERY, EVENT_UNKNOWN_TYPE, cs_rule_bytes, "The type is one of the known ones.") \
    X(SINCE(1), EVERY, EVENT_DEPLOYMENT, cs_rule_bytes, "The source names this deployment.") \
    X(SINCE(1), EVERY, EVENT_INCARNATION, cs_rule_bytes, \
      "The source names this log: the deployment, and this incarnation of its topics.") \
    X(SINCE(1), EVERY, EVENT_MISROUTED, cs_rule_bytes, \
      "The record lies in the partition of its account.") \
    X(SINCE(1), EVERY, SYSTEM_ORDER, cs_rule_order, \
      "The first record of a partition is its genesis; before it nothing counts.") \
    X(SINCE(1), EVERY, EVENT_UNKNOWN_SIGNER, cs_rule_signer, \
      "The signing key is root's, one that root trusts or trusted, or one of the account's, " \
      "enrolled before this record.") \
    X(SINCE(1), EVERY, EVENT_BAD_SIGNATURE, cs_rule_signature, \
      "The signature is that key's, over these very bytes.") \
    X(SINCE(1), EVERY, EVENT_REVOKED_SIGNER, cs_rule_not_revoked, \
      "The key was not removed, revoked or rotated before this record.") \
    X(SINCE(1), EVERY, EVENT_REPLAYED, cs_rule_sequence, \
      "The sequence number is above the key's last one; an event that is remembered is a " \
      "duplicate and changes nothing.")

// The event itself.
#define CS_RULES_EVENT(X) \
    X(SINCE(1), SENT, EVENT_TOO_OLD, cs_rule_not_too_old, \
      "The time in the event's id (version 7; of another id, the event's time) is at most 30 days " \
      "before the record's.") \
    X(SINCE(1), EVERY, EVENT_FORBIDDEN, cs_rule_may_send, \
      "The sender may send events of this type.") \
    X(SINCE(1), ACCOUNTS, ACCOUNT_UNKNOWN, cs_rule_account, "The account is registered.") \
    \
    X(SINCE(1), GENESIS, SYSTEM_ORDER, cs_rule_genesis_fits, \
      "There is one genesis, and it names this log and its number of partitions.") \
    X(SINCE(1), RULESET, SYSTEM_RULESET, cs_rule_ruleset_next, "The ruleset is the next one.") \
    X(SINCE(1), TRUST_ADD, EVENT_MALFORMED, cs_rule_content, \
      "The key is a P-256 key (a custodian's: X25519 or P-256), and the subject is its id.") \
    X(SINCE(1), TRUST_ADD, TRUST_EXISTS, cs_rule_trust_new, \
      "The key is not root's, and was never trusted before.") \
    X(SINCE(1), TRUST_REMOVE, TRUST_UNKNOWN, cs_rule_trust_known, \
      "The key is trusted in this role.") \
    X(SINCE(1), REGISTER, ACCOUNT_EXISTS, cs_rule_account_new, \
      "The account is not registered yet.") \
    X(SINCE(1), UPDATE, ACCOUNT_SHARES, cs_rule_shares_may_end, \
      "Where the owner, the site or the verification changes, the account has at most 1,000 open " \
      "and pending shares, in and out.") \
    X(SINCE(1), NEW_AGENTS, EVENT_MALFORMED, cs_rule_content, \
      "The key is a P-256 key, and the subject is its id.") \
    X(SINCE(1), NEW_AGENTS, AGENT_EXISTS, cs_rule_agent_new, \
      "The key was never enrolled in this account, and is not root's nor a trusted one.") \
    X(SINCE(1), ENROLL, QUOTA_KEYS, cs_rule_quota_keys, \
      "The account has room for one more key, where it is none that enrols others.") \
    X(SINCE(1), ENROLL, QUOTA_TOKENS, cs_rule_quota_tokens, \
      "The account has room for one more join token, where it is one.") \
    X(SINCE(1), REVOKE, AGENT_UNKNOWN, cs_rule_agent_known, \
      "The key is, or was, enrolled in this account.") \
    \
    X(SINCE(1), NAMED, NAME_INVALID, cs_rule_name, \
      "The name has 1 to 128 letters, digits, '_', '-' and, but for SM2, '.'.") \
    X(SINCE(1), SHARE, SHARE_RESHARE, cs_rule_not_shared_in, \
      "What was shared in is not shared on.") \
    X(SINCE(1), EXISTING, CERTIFICATE_NOT_FOUND, cs_rule_certificate, \
      "The account has this certificate.") \
    X(SINCE(1), CSR_DELETE, CSR_NOT_FOUND, cs_rule_csr, "The account has this request.") \
    X(SINCE(1), BY_RIGHT, EVENT_FORBIDDEN, cs_rule_pattern, \
      "The key's pattern covers the name: the event's own, or that of what its id stands for.") \
    \
    X(SINCE(1), REVISION, NAME_INVALID, cs_rule_new_name, \
      "A certificate's new name has the form of the names of its algorithm.") \
    X(SINCE(1), REVISION, EVENT_FORBIDDEN, cs_rule_new_pattern, \
      "The key's pattern covers the new name, too.") \
    \
    X(SINCE(1), UPLOADS, KEY_MISSING, cs_rule_content, \
      "There is a private key, or a request to match.") \
    X(SINCE(1), UPLOADS, KEY_MANY, cs_rule_content, "There is not both.") \
    X(SINCE(1), CHAINED, CERT_TOO_MANY, cs_rule_content, "There are at most 10 certificates.") \
    X(SINCE(1), CHAINED, CERT_MALFORMED, cs_rule_content, \
      "Each is one X.509 certificate in DER, with nothing after it; every field and extension " \
      "that clients read has its form, and texts their alphabets.") \
    X(SINCE(1), CHAINED, CERT_NOT_V3, cs_rule_content, \
      "They are of version 3 (old CA certificates of version 1).") \
    X(SINCE(1), CHAINED, CERT_WEAK_SIGNATURE, cs_rule_content, \
      "They are signed with SHA-256 or better, or SM3; what roots sign of themselves does not " \
      "matter.") \
    X(SINCE(1), CSR_ADD, CSR_MALFORMED, cs_rule_content, \
      "The request is one PKCS#10 request in DER, with nothing after it; its extensions have " \
      "their form, too.") \
    X(SINCE(1), PUBLIC, CERT_WEAK_KEY, cs_rule_content, \
      "Keys are RSA of 2048 to 8192 bits, P-256, P-384, P-521, Ed25519 or SM2.") \
    X(SINCE(1), PUBLIC, CERT_EXPLICIT_CURVE, cs_rule_content, "Curves are named, not spelled out.") \
    X(SINCE(1), CSR_ADD, CSR_BAD_SIGNATURE, cs_rule_content, \
      "The request is signed by its own key.") \
    X(SINCE(1), CSR_ADD, CSR_NO_NAME, cs_rule_content, \
      "The request names a host: it has a subject alternative name.") \
    X(SINCE(1), CHAINED, CERT_IS_CA, cs_rule_content, "The leaf is no CA certificate.") \
    X(SINCE(1), CHAINED, CERT_ALGORITHM, cs_rule_content, \
      "SM2 keys belong to the SM2 form, all others to the international one.") \
    X(SINCE(1), CHAINED, CERT_NO_NAME, cs_rule_content, \
      "The leaf names somebody: a subject alternative name or a common name.") \
    X(SINCE(1), CHAINED, CHAIN_STRAY, cs_rule_content, \
      "Every certificate is a link of a path from the leaf: a CA may be there as a root and " \
      "cross-signed.") \
    X(SINCE(1), CHAINED, CHAIN_ORDER, cs_rule_content, \
      "They are in the one order that their set has: the leaf, the shortest path to a root, then " \
      "other links (cert.h).") \
    X(SINCE(1), CHAINED, CHAIN_BROKEN, cs_rule_content, \
      "What has the name of an issuer that is missing signed with its key, and may: it is a CA " \
      "certificate, and its path length holds.") \
    X(SINCE(1), CHAINED, SM2_USAGE, cs_rule_content, \
      "Of an SM2 pair one may sign, the other encrypt.") \
    X(SINCE(1), CHAINED, SM2_SAME_KEY, cs_rule_content, "The two have different keys.") \
    X(SINCE(1), CHAINED, SM2_SUBJECT, cs_rule_content, "The two have the same subject.") \
    X(SINCE(1), KEYED, KEY_MALFORMED, cs_rule_content, \
      "The private key is sealed, both of a pair to one custodian.") \
    X(SINCE(1), KEYED, KEY_MISMATCH, cs_rule_content, \
      "The private key signed for exactly this: log, account, sender, event, certificate " \
      "and sealed key.") \
    X(SINCE(1), REVISION, CHAIN_OTHER, cs_rule_chain_own, \
      "The chain is of the certificate's present version: its leaves are the same.") \
    X(SINCE(1), UPLOADS, CERT_NOT_YET_VALID, cs_rule_begun, \
      "The certificate is valid already when the record arrives at the broker.") \
    X(SINCE(1), UPLOADS, CERT_EXPIRED, cs_rule_not_expired, \
      "The certificate is still valid then.") \
    X(SINCE(1), CHAINED, CHAIN_INCOMPLETE, cs_rule_chain_complete, \
      "The leaf's issuer is in the chain, where the account asks for that.") \
    X(SINCE(1), KEYED, POLICY_KEY, cs_rule_policy_key, \
      "The key is of a type and size that the account's policy allows; what is there already may " \
      "come again, here and in the next four.") \
    X(SINCE(1), UPLOADS, POLICY_LIFETIME, cs_rule_policy_lifetime, \
      "From notBefore to notAfter there are at most as many days as the account's policy allows.") \
    X(SINCE(1), UPLOADS, POLICY_ISSUER, cs_rule_policy_issuer, \
      "The issuer is one that the account's policy allows: a CA certificate of the chain has its " \
      "key, or the leaf's issuer its name.") \
    X(SINCE(1), KEYED, POLICY_DNS, cs_rule_policy_dns, \
      "The account's patterns cover every DNS name and address of the certificate or request, or " \
      "its common name where it has none of both; it names at least one host.") \
    X(SINCE(1), KEYED, POLICY_WILDCARD, cs_rule_policy_wildcard, \
      "No DNS name is a wildcard, where the account's policy rejects them.") \
    X(SINCE(1), KEYED, POLICY_AGENT_DNS, cs_rule_policy_agent_dns, \
      "So do the patterns of the sender's key, where it has some; also of what is there already.") \
    X(SINCE(1), KEYED, KEY_MALFORMED, cs_rule_custodian, \
      "The key is sealed to a custodian that is trusted.") \
    X(SINCE(1), CSR_ADD, CSR_EXISTS, cs_rule_csr_key_new, \
      "No other request of the account has its key; the same request again changes nothing.") \
    X(SINCE(1), CSR_ADD, CSR_NAME_TAKEN, cs_rule_csr_name_new, \
      "No other request of the account has its name.") \
    X(SINCE(1), UPLOADS, CSR_NO_MATCH, cs_rule_csr_match, \
      "A request of this account has the certificate's key, where one is to be matched.") \
    X(SINCE(1), UPLOADS, EVENT_FORBIDDEN, cs_rule_csr_pattern, \
      "The key's pattern covers the name of that request, too; issuers have none.") \
    X(SINCE(1), UPLOADS, NAME_TAKEN, cs_rule_name_free, \
      "The name is free, or its certificate is to be replaced.") \
    X(SINCE(1), UPLOADS, REPLACE_NOT_HELD, cs_rule_held, \
      "A host that tells its place replaces only what it had at a place before, or sent itself.") \
    X(SINCE(1), REVISION, NAME_TAKEN, cs_rule_new_name_free, \
      "No other certificate has the new name.") \
    X(SINCE(1), UPLOADS, REPLACE_SOURCE, cs_rule_same_source, \
      "A certificate is replaced by one of its own source and algorithm; what an issuer brings " \
      "again is of the source that he says.") \
    X(SINCE(1), UPLOADS, REPLACE_OLDER, cs_rule_not_older, \
      "A certificate is not replaced by an older one, unless that is meant.") \
    X(SINCE(1), NAMED, CERTIFICATE_ID_USED, cs_rule_id_new, \
      "The id of something new was never used before.") \
    X(SINCE(1), UPLOADS, QUOTA_CERTIFICATES, cs_rule_quota, \
      "The account has room for one more certificate.") \
    X(SINCE(1), CSR_ADD, QUOTA_REQUESTS, cs_rule_quota_requests, \
      "The account has room for one more request.") \
    X(SINCE(1), CHAINED, QUOTA_TAGS, cs_rule_quota_tags, \
      "The account has room for the tags that the certificate gets beside those that it has.") \
    X(SINCE(1), PUBLIC, QUOTA_BYTES, cs_rule_quota_bytes, \
      "The account has room for the bytes of certificates and sealed keys; what is there already " \
      "may grow until the account is a tenth above its limit.") \
    \
    X(SINCE(1), SEEN, CERTIFICATE_VERSION, cs_rule_seen_version, \
      "It is the certificate's present version, or one of the last 10 before it.") \
    X(SINCE(1), SEEN, QUOTA_INSTALLATIONS, cs_rule_quota_installations, \
      "The account has room for one more host with a certificate, and a host has it at no more than " \
      "8 places.") \
    X(SINCE(1), DELETE, DELETE_SHARED, cs_rule_not_shared, \
      "The certificate is not shared, or its shares are to end with it.") \
    X(SINCE(1), SHARE, SHARE_SELF, cs_rule_share_other, \
      "A certificate is shared with another account.") \
    X(SINCE(1), SHARE, SHARE_UPLOADED, cs_rule_share_source, \
      "Only official and test certificates are shared.") \
    X(SINCE(1), SHARE, SHARE_EXPIRED, cs_rule_share_valid, "It has not expired.") \
    X(SINCE(1), SHARE, SHARE_UNVERIFIED, cs_rule_share_verified, \
      "The account's owner is real-name verified.") \
    X(SINCE(1), SHARE, SHARE_EXISTS, cs_rule_share_new, \
      "It is not shared with that account already.") \
    X(SINCE(1), SHARE, SHARE_LIMIT, cs_rule_share_limit, \
      "It is shared with fewer accounts than the limit allows.") \
    X(SINCE(1), SHARE, QUOTA_SHARES_OUT, cs_rule_quota_shares_out, \
      "The account has room for one more share.") \
    X(SINCE(1), SHARE, CERTIFICATE_ID_USED, cs_rule_id_new, \
      "The event's id, which is the share's, was never used before.") \
    X(SINCE(1), UNSHARE, SHARE_NOT_FOUND, cs_rule_share_there, "It is shared with that account.")

// What the recipient checks of an offer, or of a shared certificate's next version. If a rule does
// not hold, the offer is still applied, and the answer refuses it with the rule's code.
#define CS_RULES_OFFER(X) \
    X(SINCE(1), OFFER, SHARE_SELF, cs_rule_offer_other, "The certificate is another account's.") \
    X(SINCE(1), OFFER, SHARE_OWNER, cs_rule_offer_owner, \
      "The recipient is an account, and of the same owner.") \
    X(SINCE(1), OFFER, SHARE_SITE, cs_rule_offer_site, "Both are of one site.") \
    X(SINCE(1), OFFER, SHARE_UNVERIFIED, cs_rule_offer_verified, \
      "The recipient's owner is real-name verified.") \
    X(SINCE(1), OFFER, SHARE_EXPIRED, cs_rule_offer_valid, "The certificate has not expired.") \
    X(SINCE(1), OFFER, QUOTA_SHARES_IN, cs_rule_quota_shares_in, \
      "The recipient has room for one more share.")
// clang-format on

enum {
#define X(sender, function, sentence) CS_SENDER_##sender,
    CS_SENDERS(X)
#undef X
};

#define X(when, group, code, function, sentence) cs_rule_fn function;
CS_RULES_ENVELOPE(X)
CS_RULES_EVENT(X)
CS_RULES_OFFER(X)
#undef X
