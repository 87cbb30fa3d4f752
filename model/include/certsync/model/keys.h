// SPDX-License-Identifier: Apache-2.0
//
// The keys of a catalog: a word for the kind, then its parts, each after a '/': "cert/acme/<id>".
// Each kind has a function here, and so has the form of each index' members. No other code spells
// them.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define CS_STATE_KEY_MAX 255
typedef char cs_key[CS_STATE_KEY_MAX + 1];
// Room for one key; it lives as long as the enclosing block: cs_key_trust(CS_NEW_KEY, kid).
#define CS_NEW_KEY ((cs_key){0})

// Kinds that most events of a deployment share come first: see hot.h.
#define CS_KINDS(X)                                                                                          \
    X(SYSTEM, "system")                                                                                      \
    X(ACCOUNT, "account")                                                                                    \
    X(AGENT, "key")                                                                                          \
    X(TRUST, "trust")                                                                                        \
    X(TOMBSTONES, "tombstones")                                                                              \
    X(STREAM, "stream")                                                                                      \
    X(CERT, "cert")                                                                                          \
    X(MATERIAL, "material")                                                                                  \
    X(ISSUER, "issuer")                                                                                      \
    X(INSTALLED, "installed")                                                                                \
    X(NAME, "name")                                                                                          \
    X(CSR, "csr")                                                                                            \
    X(CSR_NAME, "csr-name")                                                                                  \
    X(CSR_SPKI, "csr-spki")                                                                                  \
    X(SHARE, "share")                                                                                        \
    X(SHARE_IN, "share-in")                                                                                  \
    X(SHARED_IN, "shared-in")                                                                                \
    X(TOMBSTONE, "tombstone")                                                                                \
    X(OUTCOME, "outcome")                                                                                    \
    X(SEEN, "seen")                                                                                          \
    X(AGENTS, "keys")                                                                                        \
    X(VIEW, "view")                                                                                          \
    X(EXPIRY, "expiry")                                                                                      \
    X(HOSTS, "hosts")                                                                                        \
    X(INSTALLATIONS, "installations")                                                                        \
    X(SHARES, "shares")                                                                                      \
    X(CSRS, "csrs")                                                                                          \
    X(OUTCOMES, "outcomes")                                                                                  \
    X(ACCOUNTS, "accounts")                                                                                  \
    X(TRUSTED, "trusted")                                                                                    \
    X(PENDING, "pending")

#define CS_KIND_ROW(name, text) CS_KIND_##name,
enum cs_kind { CS_KINDS(CS_KIND_ROW) CS_KIND_COUNT };
#undef CS_KIND_ROW
const char *cs_kind_text(enum cs_kind kind);
bool cs_key_is(const char *key, enum cs_kind kind);

// A key of parts; parts from the first NULL on are left out. Returns ret. It is never cut: all
// parts have bounded forms. Only for code that has the kind in a table. Others call the functions
// below: they cannot forget a part.
const char *cs_key_make(cs_key ret, enum cs_kind kind, const char *a, const char *b, const char *c);

#define CS_KEY_0(name, kind)                                                                                 \
    static inline const char *cs_key_##name(cs_key ret) {                                                    \
        return cs_key_make(ret, CS_KIND_##kind, NULL, NULL, NULL);                                           \
    }
#define CS_KEY_1(name, kind, a)                                                                              \
    static inline const char *cs_key_##name(cs_key ret, const char *a) {                                     \
        return cs_key_make(ret, CS_KIND_##kind, a, NULL, NULL);                                              \
    }
#define CS_KEY_2(name, kind, a, b)                                                                           \
    static inline const char *cs_key_##name(cs_key ret, const char *a, const char *b) {                      \
        return cs_key_make(ret, CS_KIND_##kind, a, b, NULL);                                                 \
    }
#define CS_KEY_3(name, kind, a, b, c)                                                                        \
    static inline const char *cs_key_##name(cs_key ret, const char *a, const char *b, const char *c) {       \
        return cs_key_make(ret, CS_KIND_##kind, a, b, c);                                                    \
    }

// clang-format off
// --- documents (entry.h has their forms)
CS_KEY_0(system, SYSTEM)                      // cs_key_system(ret): the log and its ruleset
CS_KEY_1(account, ACCOUNT, account)           // cs_key_account(ret, account)
CS_KEY_2(agent, AGENT, account, kid)          // cs_key_agent(ret, account, kid): an enrolled key
CS_KEY_1(trust, TRUST, kid)                   // cs_key_trust(ret, kid): a key that the root trusts
CS_KEY_1(stream, STREAM, stream)              // cs_key_stream(ret, stream): the highest number of a sender
CS_KEY_2(cert, CERT, account, id)             // cs_key_cert(ret, account, id): a certificate
CS_KEY_2(material, MATERIAL, account, id)     // cs_key_material(ret, account, id): its leaves and sealed keys
CS_KEY_1(issuer, ISSUER, sha256)              // cs_key_issuer(ret, hex): a CA certificate of chains
CS_KEY_3(installed, INSTALLED, account, id, host) // cs_key_installed(ret, account, id, kid): where that host has it
CS_KEY_2(name, NAME, account, name)           // cs_key_name(ret, account, name): the id of who has the name
CS_KEY_2(csr, CSR, account, id)               // cs_key_csr(ret, account, id): a request
CS_KEY_2(csr_name, CSR_NAME, account, name)   // cs_key_csr_name(ret, account, name): the id of who has it
CS_KEY_2(csr_spki, CSR_SPKI, account, sha256) // cs_key_csr_spki(ret, account, hex): the id of who has the key
CS_KEY_2(share, SHARE, account, id)           // cs_key_share(ret, owner, share id): a share, the owner's side
CS_KEY_2(share_in, SHARE_IN, account, id)     // cs_key_share_in(ret, recipient, share id): the other side
CS_KEY_3(shared_in, SHARED_IN, account, owner, id) // cs_key_shared_in(ret, recipient, owner, certificate)
CS_KEY_0(tombstones, TOMBSTONES)              // cs_key_tombstones(ret): the queue of tombstones
CS_KEY_1(tombstone, TOMBSTONE, number)        // cs_key_tombstone(ret, number): a place in it
CS_KEY_2(outcome, OUTCOME, account, member)   // cs_key_outcome(ret, account, cs_member_outcome or the event)
// --- indexes: members, and what they are ordered by
CS_KEY_1(seen, SEEN, stream)                  // cs_key_seen(ret, stream): event ids, by their numbers
CS_KEY_1(agents, AGENTS, account)             // cs_key_agents(ret, account): kids
CS_KEY_1(view, VIEW, account)                 // cs_key_view(ret, account): cs_member_view
CS_KEY_1(expiry, EXPIRY, account)             // cs_key_expiry(ret, account): cs_member_view, by their ends
CS_KEY_2(hosts, HOSTS, account, id)           // cs_key_hosts(ret, account, id): cs_member_host
CS_KEY_2(installations, INSTALLATIONS, account, host) // cs_key_installations(ret, account, kid): ids of certificates
CS_KEY_1(shares, SHARES, account)             // cs_key_shares(ret, account): cs_member_share
CS_KEY_1(csrs, CSRS, account)                 // cs_key_csrs(ret, account): cs_member_pair of name and id
CS_KEY_1(outcomes, OUTCOMES, account)         // cs_key_outcomes(ret, account): cs_member_outcome, by their numbers
CS_KEY_0(accounts, ACCOUNTS)                  // cs_key_accounts(ret): all accounts
CS_KEY_0(trusted, TRUSTED)                    // cs_key_trusted(ret): kids
CS_KEY_0(pending, PENDING)                    // cs_key_pending(ret): cs_member_pair of account and share, by age
// clang-format on
#undef CS_KEY_0
#undef CS_KEY_1
#undef CS_KEY_2
#undef CS_KEY_3

// "<a>/<b>".
const char *cs_member_pair(cs_key ret, const char *a, const char *b);
// What cs_key_stream and cs_key_seen take for an enrolled key: "<account>/<kid>".
static inline const char *cs_stream_of_agent(cs_key ret, const char *account, const char *kid) {
    return cs_member_pair(ret, account, kid);
}
// Of outcomes, and the last part of their documents' keys: "<event>"; "<event>/again" of a copy of it
// that was refused as such. "<event>/awaited" is only a member, of the document of <event> while that
// one is awaited.
enum cs_outcome_place { CS_OUTCOME_OWN, CS_OUTCOME_AGAIN, CS_OUTCOME_AWAITED };
const char *cs_member_outcome(cs_key ret, const char *event, enum cs_outcome_place place);
// The last part of the key of a member's document.
const char *cs_member_outcome_read(cs_key ret, const char *member);
// The document that goes when a trim takes a member off its index. NULL where the index has none.
const char *cs_key_of_trimmed(cs_key ret, const char *index, const char *member);
// "out/<share id>" of a share that was given, "in/<share id>" of one that was received.
const char *cs_member_share(cs_key ret, bool out, const char *id);
const char *cs_member_share_read(const char *member, bool *ret_out); // the share's id
// "<version>/<kid>" of a host: the lowest version that it has, in 10 digits. So hosts that are behind come first.
const char *cs_member_host(cs_key ret, long long version, const char *host);
const char *cs_member_host_read(const char *member, long long *ret_version); // the kid
// "<name>/c/<id>" of an own certificate, "<name>/s/<owner>/<id>" of one that is shared in.
const char *cs_member_view(cs_key ret, const char *name, const char *owner_or_null, const char *id);
