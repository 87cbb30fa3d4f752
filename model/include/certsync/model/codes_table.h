// SPDX-License-Identifier: Apache-2.0
//
// The one table of verdict codes: name on the wire, sentence for people, hint that says what to do.
// The list of codes in docs/audit/codes.md is generated from it (certsync codes --markdown).
#pragma once

// X(SYMBOL, "wire.name", WHO, "Sentence.", "Hint."): WHO says where the code can come from:
// BOTH agent and consumer, AGENT only before sending, CONSUMER only as a verdict.
// clang-format off
#define CS_CODES(X) \
    X(UNCHANGED, "unchanged", CONSUMER, "What was asked for is so already; nothing changed.", \
      "Nothing needs to be done.") \
    X(EVENT_TOO_LARGE, "event.too_large", BOTH, "The event is larger than 256 KiB.", \
      "Send fewer or smaller certificates in one event.") \
    X(EVENT_UNSIGNED, "event.unsigned", CONSUMER, \
      "The record carries no certsync-sig header, or one that is not a signature.", \
      "Publish with certsync; nothing else should write to this topic.") \
    X(EVENT_UNKNOWN_SIGNER, "event.unknown_signer", CONSUMER, \
      "The signing key is not enrolled in this account.", \
      "Have an admin run: certsync agent enroll --account ACCOUNT --public-key FILE.") \
    X(EVENT_BAD_SIGNATURE, "event.bad_signature", CONSUMER, \
      "The signature does not match the record.", \
      "The record was altered or signed with another key; publish it again from its source.") \
    X(EVENT_REVOKED_SIGNER, "event.revoked_signer", CONSUMER, \
      "The signing key was revoked before this event.", \
      "Make a new key with certsync keygen and have it enrolled; a revoked key does not come back.") \
    X(EVENT_FORBIDDEN, "event.forbidden", CONSUMER, "The signing key has no right to do this.", \
      "Ask an admin for a key with the needed right and name pattern (certsync agent enroll " \
      "--can --names).") \
    X(EVENT_MALFORMED, "event.malformed", CONSUMER, \
      "The record is not a well-formed certsync event.", \
      "The detail names the member at fault; publish with a matching version of certsync.") \
    X(EVENT_UNKNOWN_TYPE, "event.unknown_type", CONSUMER, "The event type is not known.", \
      "Upgrade the consumer, or correct the type.") \
    X(EVENT_MISROUTED, "event.misrouted", CONSUMER, \
      "The record is not in its account's partition.", \
      "Produce with the account id as key and partitioner=murmur2_random.") \
    X(EVENT_REPLAYED, "event.replayed", CONSUMER, \
      "The sequence number is not above the last one of this key, and the event is not " \
      "remembered.", \
      "The host was restored or cloned: the agent signs again what it still holds; give each " \
      "host its own key.") \
    X(EVENT_TOO_OLD, "event.too_old", CONSUMER, \
      "The event was made more than 30 days before it reached the broker.", \
      "Compare this host's clock with the detail. If the clock is wrong, set it. Then send it again: " \
      "the agent's daemon makes a new event from the files by itself.") \
    X(EVENT_DEPLOYMENT, "event.deployment", CONSUMER, "The event belongs to another deployment.", \
      "Set the deployment id that certsync-consumer init was given.") \
    X(EVENT_INCARNATION, "event.incarnation", CONSUMER, \
      "The event was made for another log of this deployment: the topics were made anew since, or it " \
      "was copied from them.", \
      "Nothing of an old log counts in a new one. Enrol the host again, and send again what is to " \
      "stand there.") \
    X(SYSTEM_ORDER, "system.order", CONSUMER, \
      "The partition does not begin with its one genesis record, or the genesis does not fit it.", \
      "Make new topics with certsync-consumer init.") \
    X(SYSTEM_RULESET, "system.ruleset", CONSUMER, "The ruleset number is not the next one.", \
      "Switch rulesets one by one, upwards.") \
    X(TRUST_UNKNOWN, "trust.unknown", CONSUMER, \
      "The trust record names a key that is not trusted in this role.", \
      "List the trusted keys, then name one of them.") \
    X(TRUST_EXISTS, "trust.exists", CONSUMER, "The key is, or was, already trusted in a role.", \
      "Make a new key; a removed key never comes back.") \
    X(ACCOUNT_UNKNOWN, "account.unknown", CONSUMER, "The account is not registered.", \
      "Have an admin run: certsync account register ACCOUNT.") \
    X(ACCOUNT_EXISTS, "account.exists", CONSUMER, "The account is already registered.", \
      "Change it with: certsync account update ACCOUNT.") \
    X(ACCOUNT_SHARES, "account.shares", CONSUMER, \
      "The account has more than 1,000 open shares, which would all end with this change.", \
      "End some first, by unshare or by deleting with --cascade; at most 1,000 shares end with " \
      "one event.") \
    X(AGENT_EXISTS, "agent.exists", CONSUMER, \
      "The key is, or was, already enrolled in this account.", \
      "Make a new key with certsync keygen; a revoked key does not come back.") \
    X(AGENT_UNKNOWN, "agent.unknown", CONSUMER, "No such key is enrolled in this account.", \
      "Check the key id with: certsync-consumer show, or certsync key id FILE.") \
    X(NAME_INVALID, "name.invalid", BOTH, \
      "The name has a character that is not allowed, or is empty or longer than 128.", \
      "International names take letters, digits, '.', '_' and '-'; SM2 names letters, digits, " \
      "'_' and '-'.") \
    X(NAME_TAKEN, "name.taken", CONSUMER, "Another certificate already has this name.", \
      "To make this its next version: certsync upload NAME with --replace. Or choose another " \
      "name.") \
    X(CERT_MALFORMED, "cert.malformed", BOTH, "The certificate cannot be read.", \
      "Give an X.509 certificate in PEM; look at it with: openssl x509 -in FILE -noout -text.") \
    X(CERT_NOT_V3, "cert.not_v3", BOTH, "The certificate is not an X.509 version 3 certificate.", \
      "Have it issued again with extensions (version 3).") \
    X(CERT_IS_CA, "cert.is_ca", BOTH, "The certificate is a CA certificate.", \
      "Put the server's own certificate first; CA certificates belong into the chain.") \
    X(CERT_NO_NAME, "cert.no_name", BOTH, \
      "The certificate names no host: it has neither a subject alternative name nor a common " \
      "name.", \
      "Have it issued again with a subject alternative name.") \
    X(CERT_EXPIRED, "cert.expired", BOTH, "The certificate has expired.", \
      "Renew it first.") \
    X(CERT_NOT_YET_VALID, "cert.not_yet_valid", BOTH, "The certificate is not valid yet.", \
      "Wait for its notBefore, or check the clock of the machine that issued it.") \
    X(CERT_WEAK_KEY, "cert.weak_key", BOTH, \
      "The key is too weak or of a kind that is not accepted.", \
      "Use RSA of 2048 to 8192 bits, P-256, P-384, P-521, Ed25519 or SM2.") \
    X(CERT_WEAK_SIGNATURE, "cert.weak_signature", BOTH, \
      "The certificate is signed with a weak or unknown algorithm.", \
      "Have it issued again with SHA-256 or better.") \
    X(CERT_ALGORITHM, "cert.algorithm", BOTH, \
      "The certificate's key does not fit the chosen algorithm.", \
      "Upload SM2 certificates with --algorithm sm2, all others with --algorithm international.") \
    X(CERT_EXPLICIT_CURVE, "cert.explicit_curve", BOTH, \
      "The certificate spells out its elliptic curve instead of naming it.", \
      "Make the key again with a named curve (openssl ecparam -name prime256v1 -param_enc " \
      "named_curve).") \
    X(CERT_TOO_MANY, "cert.too_many", BOTH, "There are more than 10 certificates.", \
      "Leave out what is not part of this certificate's chain.") \
    X(CHAIN_BROKEN, "chain.broken", BOTH, \
      "A certificate of the chain has an issuer's name, but did not sign with its key, or may " \
      "not sign.", \
      "Use the chain file that the CA delivered with this very certificate.") \
    X(CHAIN_STRAY, "chain.stray", BOTH, \
      "The chain holds a certificate that no path from the leaf leads to.", \
      "Remove the certificate that is named, or add the one that is missing between it and the " \
      "leaf.") \
    X(CHAIN_ORDER, "chain.order", CONSUMER, \
      "The chain is not in its one order: the leaf, the shortest path to a root, then the rest.", \
      "Publish with certsync, which puts it in order.") \
    X(CHAIN_OTHER, "chain.other", BOTH, \
      "The chain belongs to another certificate than the present version.", \
      "Give the chain of that version. A renewed certificate is its next version: certsync upload " \
      "NAME with --replace.") \
    X(CHAIN_INCOMPLETE, "chain.incomplete", BOTH, "The leaf's issuer is not in the chain.", \
      "Add the CA's intermediate certificate (fullchain.pem).") \
    X(CHAIN_EXPIRED, "chain.expired", NOTE, "A CA certificate of the chain has expired.", \
      "Fetch the CA's current chain, and send it with the certificate.") \
    X(CHAIN_NOT_YET_VALID, "chain.not_yet_valid", NOTE, \
      "A CA certificate of the chain is not valid yet.", \
      "Fetch the CA's current chain, or wait for its notBefore.") \
    X(CHAIN_ENDS_EARLY, "chain.ends_early", NOTE, \
      "A CA certificate of the chain ends before the leaf.", \
      "Renew in time: what counts is the chain's earliest end.") \
    X(CHAIN_NAMES, "chain.names", NOTE, \
      "A CA of the chain may not sign for a name of the leaf (name constraints).", \
      "Have it issued again by a CA that may; see: openssl x509 -noout -ext nameConstraints -in " \
      "CA.pem.") \
    X(CHAIN_KEY_ID, "chain.key_id", NOTE, \
      "An authority key identifier names another CA certificate than the one in the chain.", \
      "Use the chain file that the CA delivered with this very certificate; OpenSSL does not " \
      "accept this one.") \
    X(CERT_CRITICAL, "cert.critical", NOTE, \
      "A certificate has a critical extension that clients do not know.", \
      "Have it issued again without, unless your own clients know it; all others refuse it.") \
    X(CERT_PURPOSE, "cert.purpose", NOTE, \
      "The extended key usage of the leaf or of a CA above it leaves out servers.", \
      "Fine for a client's certificate; for a server have it issued again with serverAuth.") \
    X(CERT_NO_SAN, "cert.no_san", NOTE, "The certificate has no subject alternative name.", \
      "Have it issued again with one: browsers and most clients do not look at the common name.") \
    X(KEY_MISMATCH, "key.mismatch", BOTH, "The private key does not belong to the certificate.", \
      "Give the key that the certificate was requested with; a key file that says RSA may need: " \
      "openssl rsa -in OLD -out NEW.") \
    X(KEY_ENCRYPTED, "key.encrypted", AGENT, "The private key is encrypted.", \
      "Decrypt it first: openssl pkey -in OLD -out NEW.") \
    X(KEY_MALFORMED, "key.malformed", BOTH, \
      "The private key cannot be read, or its sealed form is not one.", \
      "Give a private key in PEM (PKCS#8, PKCS#1 or SEC1), sealed to a trusted custodian.") \
    X(KEY_MISSING, "key.missing", BOTH, \
      "There is no private key and no request for CSR matching.", \
      "Give the key: --key-file FILE, or key = FILE in the [watch] section. Or match a request " \
      "that is there: --csr.") \
    X(KEY_MANY, "key.many", BOTH, "There is more than one private key.", \
      "Give one key, or a CSR to match, not both; one key to a file.") \
    X(CSR_MALFORMED, "csr.malformed", BOTH, "The certificate signing request cannot be read.", \
      "Make one with: certsync csr create, or openssl req -new.") \
    X(CSR_BAD_SIGNATURE, "csr.bad_signature", BOTH, \
      "The certificate signing request is not signed by its own key.", \
      "Make the request again with the right key.") \
    X(CSR_NO_NAME, "csr.no_name", BOTH, \
      "The certificate signing request names no host: it has no subject alternative name.", \
      "Make it again with the names of the host: certsync csr create --dns NAME, or openssl req " \
      "-new -addext subjectAltName=DNS:NAME.") \
    X(CSR_EXISTS, "csr.exists", CONSUMER, \
      "Another certificate signing request of this account has this key.", \
      "Use that one (certsync csr list), or make a request with a new key.") \
    X(CSR_NAME_TAKEN, "csr.name_taken", CONSUMER, \
      "Another certificate signing request of this account has this name.", \
      "Choose another name, or delete that request first: certsync csr delete NAME.") \
    X(CSR_NO_MATCH, "csr.no_match", CONSUMER, \
      "No certificate signing request of this account has this public key.", \
      "Add the CSR first (certsync csr add), or give the private key.") \
    X(CSR_NOT_FOUND, "csr.not_found", CONSUMER, \
      "There is no such certificate signing request in this account.", \
      "List them with: certsync csr list.") \
    X(SM2_USAGE, "sm2.usage", BOTH, \
      "The key usage does not fit: signing needs digitalSignature; encryption needs " \
      "keyEncipherment, dataEncipherment or keyAgreement.", \
      "Check that the signing and the encryption certificate are not swapped.") \
    X(SM2_SAME_KEY, "sm2.same_key", BOTH, \
      "The signing and the encryption certificate have the same key.", \
      "An SM2 pair needs two keys; ask the CA for a pair.") \
    X(SM2_SUBJECT, "sm2.subject", BOTH, \
      "The signing and the encryption certificate have different subjects.", \
      "Give the two certificates of one pair.") \
    X(REPLACE_OLDER, "replace.older", CONSUMER, \
      "The certificate is older than the one it would replace.", \
      "If that is meant: certsync upload NAME with --replace --force.") \
    X(REPLACE_NOT_HELD, "replace.not_held", CONSUMER, \
      "Another host has a certificate of this name, and this host never had a version of it.", \
      "The agent's daemon registers it under NAME-HOST (setting name_taken). If it is meant to be the next " \
      "version: certsync upload NAME with --replace.") \
    X(REPLACE_SOURCE, "replace.source", CONSUMER, \
      "A certificate cannot be replaced by one of another source or algorithm.", \
      "Choose another name, or delete the old one first.") \
    X(CERTIFICATE_NOT_FOUND, "certificate.not_found", CONSUMER, \
      "There is no such certificate in this account.", \
      "List them with: certsync list.") \
    X(CERTIFICATE_VERSION, "certificate.version", CONSUMER, \
      "The certificate has no version with this fingerprint, or had it more than 10 versions ago.", \
      "Upload what the host has: certsync upload NAME with --replace, or under another name.") \
    X(CERTIFICATE_ID_USED, "certificate.id_used", CONSUMER, \
      "The certificate id is, or was, in use.", \
      "Leave the id to certsync, which uses none twice.") \
    X(DELETE_SHARED, "delete.shared", CONSUMER, "The certificate is shared.", \
      "Unshare it first, or: certsync delete NAME --cascade.") \
    X(POLICY_KEY, "policy.key", BOTH, \
      "The account's policy does not allow keys of this type or size.", \
      "Issue the certificate for a key that it allows; certsync account list shows the policy, an " \
      "admin changes it (certsync account update ACCOUNT --policy-keys TYPES).") \
    X(POLICY_LIFETIME, "policy.lifetime", BOTH, \
      "The certificate is valid for longer than the account's policy allows.", \
      "Have it issued for a shorter time, or ask an admin (certsync account update ACCOUNT " \
      "--policy-days N).") \
    X(POLICY_ISSUER, "policy.issuer", BOTH, \
      "The account's policy does not allow certificates of this issuer.", \
      "Use a CA that it allows, and send the whole chain: where the policy names a CA's key, its " \
      "certificate must be in the chain. An admin changes it (certsync account update ACCOUNT " \
      "--policy-issuer ISSUER).") \
    X(POLICY_DNS, "policy.dns", BOTH, \
      "The account's policy does not cover every host that the certificate or request names.", \
      "Leave that name out, or ask an admin to add it (certsync account update ACCOUNT --policy-dns " \
      "PATTERNS).") \
    X(POLICY_WILDCARD, "policy.wildcard", BOTH, \
      "The account's policy does not allow wildcard names.", \
      "Name each host, or ask an admin (certsync account update ACCOUNT --policy-wildcards allow).") \
    X(POLICY_AGENT_DNS, "policy.agent_dns", BOTH, \
      "The key of this host may not register every host that the certificate or request names.", \
      "Register it from the host that it belongs to, or have an admin enrol a key for these names " \
      "(certsync agent enroll --dns PATTERNS).") \
    X(QUOTA_CERTIFICATES, "quota.certificates", CONSUMER, \
      "The account holds as many certificates as its limit allows.", \
      "Delete some, or ask an admin for a higher limit (certsync account update ACCOUNT " \
      "--certificates N).") \
    X(QUOTA_REQUESTS, "quota.requests", CONSUMER, \
      "The account holds as many certificate signing requests as its limit allows.", \
      "Delete those that are done with (certsync csr delete), or ask an admin for a higher limit " \
      "(certsync account update ACCOUNT --requests N).") \
    X(QUOTA_KEYS, "quota.keys", CONSUMER, \
      "The account has as many enrolled keys as its limit allows.", \
      "Revoke keys of hosts that are gone (certsync agents, certsync agent revoke), or ask an admin " \
      "for a higher limit (certsync account update ACCOUNT --keys N).") \
    X(QUOTA_TOKENS, "quota.tokens", CONSUMER, \
      "The account has as many join tokens as its limit allows.", \
      "Revoke those that have expired (certsync agents, certsync agent revoke), or raise the limit " \
      "(certsync account update ACCOUNT --tokens N).") \
    X(QUOTA_SHARES_OUT, "quota.shares_out", CONSUMER, \
      "The account shares its certificates as often as its limit allows.", \
      "Unshare some, or ask an admin for a higher limit (certsync account update ACCOUNT " \
      "--shares-out N).") \
    X(QUOTA_SHARES_IN, "quota.shares_in", CONSUMER, \
      "The recipient has as many shares of other accounts as its limit allows.", \
      "The recipient deletes some (certsync delete NAME --from ACCOUNT), or asks an admin for a " \
      "higher limit (certsync account update ACCOUNT --shares-in N).") \
    X(QUOTA_INSTALLATIONS, "quota.installations", CONSUMER, \
      "The account's certificates are at as many hosts as its limit allows, or the certificate is at 8 " \
      "places of this host already.", \
      "Revoke hosts that are gone (certsync agents, certsync agent revoke), or ask an admin for a higher " \
      "limit (certsync account update ACCOUNT --installations N).") \
    X(QUOTA_TAGS, "quota.tags", CONSUMER, \
      "The account's certificates have as many tags in all as its limit allows.", \
      "Use fewer tags, delete certificates that are done with, or ask an admin for a higher limit " \
      "(certsync account update ACCOUNT --tags N).") \
    X(QUOTA_BYTES, "quota.bytes", CONSUMER, \
      "The account's certificates and requests fill as many bytes as its limit allows.", \
      "Delete those that are done with, or ask an admin for a higher limit (certsync account " \
      "update ACCOUNT --bytes N).") \
    X(SHARE_UPLOADED, "share.uploaded", CONSUMER, "Uploaded certificates cannot be shared.", \
      "Only official and test certificates can; upload it in the other account instead.") \
    X(SHARE_RESHARE, "share.reshare", CONSUMER, \
      "A certificate that was shared in cannot be shared on.", \
      "Ask the owning account to share it.") \
    X(SHARE_SELF, "share.self", BOTH, "A certificate cannot be shared with its own account.", \
      "Name another account of the same owner.") \
    X(SHARE_EXPIRED, "share.expired", CONSUMER, "An expired certificate cannot be shared.", \
      "Renew it first.") \
    X(SHARE_UNVERIFIED, "share.unverified", CONSUMER, \
      "The account's owner is not real-name verified.", \
      "Have the owner verified (certsync account update ACCOUNT --verified).") \
    X(SHARE_SITE, "share.site", CONSUMER, "The accounts belong to different sites.", \
      "Share only within one site (cn or intl).") \
    X(SHARE_OWNER, "share.owner", CONSUMER, \
      "The recipient is not an account of the same verified owner.", \
      "Check the account id; certificates can be shared only between accounts of one owner.") \
    X(SHARE_LIMIT, "share.limit", CONSUMER, \
      "The certificate is shared with as many accounts as the limit allows.", \
      "Unshare some, or ask an admin for a higher limit (certsync account update ACCOUNT " \
      "--shares N).") \
    X(SHARE_EXISTS, "share.exists", CONSUMER, \
      "The certificate is already shared with this account.", \
      "Nothing needs to be done; unshare it first for a new share.") \
    X(SHARE_NOT_FOUND, "share.not_found", CONSUMER, \
      "The certificate is not shared with this account.", \
      "List the shares with: certsync show CERTIFICATE.") \
    X(SHARE_CLOSED, "share.closed", CONSUMER, \
      "The share was closed before it was answered, or is closed already.", \
      "Share again if it is still wanted.")
// clang-format on
