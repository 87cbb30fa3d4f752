// SPDX-License-Identifier: Apache-2.0
//
// The types of events, one row each. Nothing else lists them: each part of the model takes the
// columns that it needs. A row without a column does not compile. A row that names a missing thing
// does not compile or link.
//
//   SYMBOL    CS_EVENT_<SYMBOL>
//   NAME      what people read; on the wire "certsync.<NAME>.v1"
//   SINCE     the ruleset that brings it: before that one is in force it is event.unknown_type
//   PLACE     IN_LOG(s): of the whole log, in every partition; the source names no account.
//             IN_ACCOUNT(s): of the account in the source.
//             s is what the subject is: DEPLOYMENT or ACCOUNT (the source's), KID (of a key),
//             UUID (of a certificate, share or request)
//   DATA      its members: <DATA>_data in event_data.c
//   SENDER    who may send it: BY(<one of CS_SENDERS in rules_table.h>), or
//             BY_RIGHT(r): an agent's key with the right CS_CAN_<r>. BY(NOBODY): refused to all
//   PREPARE   what its bytes alone tell: prepare_<PREPARE> in prepare.c
//   READS     what is read of the catalog before the rules: gather_<READS> in rules_facts.c
//   EFFECT    what it changes where no rule is broken: cs_effect_<EFFECT> in rules_*.c
//   MORE      PLAIN, or one of:
//             DERIVED(d): a decision emits it, the service signs it; data.d names its share and
//             the partition that it comes from
//             OPENS_SHARE: its id is that of a share
//             BRINGS_KEY(d): data.d.key is a key that signs later events; the subject is its kid
//
// The groups of rules_table.h say which rules look at a type.
#pragma once

// The rulesets that this release knows: 1 to this one. A log begins under one, and root's
// system.ruleset takes it to the next (rules_table.h).
#define CS_RULESET_FIRST  1
#define CS_RULESET_LATEST 1

// X(SYMBOL, NAME, SINCE, PLACE, DATA, SENDER, PREPARE, READS, EFFECT, MORE)
// clang-format off
#define CS_EVENT_TYPES(X) \
    X(SYSTEM_GENESIS,      "system.genesis",      1, IN_LOG(DEPLOYMENT),  genesis,      BY(ROOT),         nothing, nothing,        genesis,          PLAIN) \
    X(SYSTEM_RULESET,      "system.ruleset",      1, IN_LOG(DEPLOYMENT),  ruleset,      BY(ROOT),         nothing, nothing,        ruleset,          PLAIN) \
    X(TRUST_ADD,           "trust.add",           1, IN_LOG(KID),         trust_add,    BY(ROOT),         key,     trust,          trust_add,        BRINGS_KEY(trust)) \
    X(TRUST_REMOVE,        "trust.remove",        1, IN_LOG(KID),         trust_remove, BY(ROOT),         nothing, trust,          trust_remove,     PLAIN) \
    X(ACCOUNT_REGISTER,    "account.register",    1, IN_ACCOUNT(ACCOUNT), register,     BY(ADMIN),        nothing, nothing,        account_register, PLAIN) \
    X(ACCOUNT_UPDATE,      "account.update",      1, IN_ACCOUNT(ACCOUNT), update,       BY(ADMIN),        nothing, account_update, account_update,   PLAIN) \
    X(AGENT_ENROLL,        "agent.enroll",        1, IN_ACCOUNT(KID),     enroll,       BY(ENROLLER),     key,     target,         enroll,           BRINGS_KEY(enroll)) \
    X(AGENT_REVOKE,        "agent.revoke",        1, IN_ACCOUNT(KID),     revoke,       BY(ADMIN),        nothing, revocation,     revoke,           PLAIN) \
    X(AGENT_ROTATE,        "agent.rotate",        1, IN_ACCOUNT(KID),     rotate,       BY(ITSELF),       key,     rotation,       rotate,           BRINGS_KEY(enroll)) \
    X(CERTIFICATE_UPLOAD,  "certificate.upload",  1, IN_ACCOUNT(UUID),    upload,       BY_RIGHT(UPLOAD), upload,  upload,         upload,           PLAIN) \
    X(CERTIFICATE_ISSUE,   "certificate.issue",   1, IN_ACCOUNT(UUID),    issue,        BY(ISSUER),       upload,  upload,         upload,           PLAIN) \
    X(CERTIFICATE_UPDATE,  "certificate.update",  1, IN_ACCOUNT(UUID),    revision,     BY_RIGHT(UPLOAD), chains,  revision,       revise,           PLAIN) \
    X(CERTIFICATE_DELETE,  "certificate.delete",  1, IN_ACCOUNT(UUID),    delete,       BY_RIGHT(DELETE), nothing, delete,         delete,           PLAIN) \
    X(CERTIFICATE_SEEN,    "certificate.seen",    1, IN_ACCOUNT(UUID),    seen,         BY_RIGHT(UPLOAD), nothing, seen,           seen,             PLAIN) \
    X(CERTIFICATE_GONE,    "certificate.gone",    1, IN_ACCOUNT(UUID),    gone,         BY_RIGHT(UPLOAD), nothing, gone,           gone,             PLAIN) \
    X(CERTIFICATE_SHARE,   "certificate.share",   1, IN_ACCOUNT(UUID),    share,        BY_RIGHT(SHARE),  nothing, share,          share,            OPENS_SHARE) \
    X(CERTIFICATE_UNSHARE, "certificate.unshare", 1, IN_ACCOUNT(UUID),    share,        BY_RIGHT(SHARE),  nothing, unshare,        unshare,          PLAIN) \
    X(CSR_ADD,             "csr.add",             1, IN_ACCOUNT(UUID),    csr_add,      BY_RIGHT(CSR),    csr,     csr_add,        csr_add,          PLAIN) \
    X(CSR_DELETE,          "csr.delete",          1, IN_ACCOUNT(UUID),    empty,        BY_RIGHT(CSR),    nothing, csr_delete,     csr_delete,       PLAIN) \
    X(SHARE_OFFER,         "share.offer",         1, IN_ACCOUNT(UUID),    offer,        BY(SERVICE),      nothing, offer,          offer,            DERIVED(offer)) \
    X(SHARE_WITHDRAW,      "share.withdraw",      1, IN_ACCOUNT(UUID),    withdraw,     BY(SERVICE),      nothing, withdraw,       withdraw,         DERIVED(withdraw)) \
    X(SHARE_ANSWER,        "share.answer",        1, IN_ACCOUNT(UUID),    answer,       BY(SERVICE),      nothing, answer,         answer,           DERIVED(answer))
// clang-format on
