// SPDX-License-Identifier: Apache-2.0
//
// The options of upload and issue for certificates and keys, and the event that is made from them.
#pragma once

#include "event/session.h"

struct cs_certificate_args {
    const char *name;
    int64_t algorithm; // index in cs_algorithm_choices
    const char *cert, *key_file, *chain;
    const char *sign_cert, *sign_key, *sign_chain;
    const char *encrypt_cert, *encrypt_key, *encrypt_chain;
    bool csr;
    bool replace;
    bool force;
    bool strict;
    struct cs_cli_list tags;
};
extern const char *const cs_algorithm_choices[];

// Rows of a command's option table; V is its values struct, m its member of the type above.
// clang-format off
// NOLINTBEGIN(bugprone-macro-parentheses): V is a type, m a member
#define CS_CERTIFICATE_OPTS(V, m) \
    {.name = "cert", .kind = CS_OPT_PATH, CS_OPT_AT_STR(V, m.cert), .value_name = "FILE", \
     .text = "Certificate (PEM); the file may hold the chain, too. \"-\" is standard input."}, \
    {.name = "key-file", .kind = CS_OPT_PATH, CS_OPT_AT_STR(V, m.key_file), .value_name = "FILE", \
     .text = "Its private key (PEM: PKCS#8, PKCS#1 or SEC1), not encrypted."}, \
    {.name = "chain", .kind = CS_OPT_PATH, CS_OPT_AT_STR(V, m.chain), .value_name = "FILE", \
     .text = "Intermediate certificates (PEM), in any order."}, \
    {.name = "csr", .kind = CS_OPT_FLAG, CS_OPT_AT_FLAG(V, m.csr), \
     .text = "No key: match the CSR of this account that has the certificate's public key."}, \
    {.name = "algorithm", .kind = CS_OPT_CHOICE, CS_OPT_AT_INT(V, m.algorithm), .value_name = "ALGORITHM", \
     .default_text = "international", .choices = cs_algorithm_choices, \
     .text = "international (RSA, ECDSA, Ed25519) or sm2 (a signing and an encryption certificate)."}, \
    {.name = "sign-cert", .kind = CS_OPT_PATH, CS_OPT_AT_STR(V, m.sign_cert), .value_name = "FILE", .text = "sm2: signing certificate."}, \
    {.name = "sign-key", .kind = CS_OPT_PATH, CS_OPT_AT_STR(V, m.sign_key), .value_name = "FILE", .text = "sm2: its private key."}, \
    {.name = "sign-chain", .kind = CS_OPT_PATH, CS_OPT_AT_STR(V, m.sign_chain), .value_name = "FILE", \
     .text = "sm2: intermediate certificates of the signing certificate."}, \
    {.name = "encrypt-cert", .kind = CS_OPT_PATH, CS_OPT_AT_STR(V, m.encrypt_cert), .value_name = "FILE", \
     .text = "sm2: encryption certificate."}, \
    {.name = "encrypt-key", .kind = CS_OPT_PATH, CS_OPT_AT_STR(V, m.encrypt_key), .value_name = "FILE", .text = "sm2: its private key."}, \
    {.name = "encrypt-chain", .kind = CS_OPT_PATH, CS_OPT_AT_STR(V, m.encrypt_chain), .value_name = "FILE", \
     .text = "sm2: intermediate certificates of the encryption certificate."}, \
    {.name = "replace", .kind = CS_OPT_FLAG, CS_OPT_AT_FLAG(V, m.replace), \
     .text = "If the name is taken, make this its next version."}, \
    {.name = "force", .kind = CS_OPT_FLAG, CS_OPT_AT_FLAG(V, m.force), \
     .text = "With --replace: also if this certificate is older than the one there. Of the same certificate: take this " \
             "chain, also if it is not more complete."}, \
    {.name = "strict", .kind = CS_OPT_FLAG, CS_OPT_AT_FLAG(V, m.strict), \
     .text = "Refuse here what is only noted elsewhere: what clients will not accept (certsync codes: a note)."}, \
    {.name = "tag", .kind = CS_OPT_LIST, CS_OPT_AT_LIST(V, m.tags), .value_name = "TAG", \
     .text = "A tag; may be given up to 16 times."}
// NOLINTEND(bugprone-macro-parentheses)
// clang-format on

// Checks the options, reads the files, composes the event and submits it. Returns the exit code.
int cs_certificate_submit(const struct cs_cli *cli, const struct cs_certificate_args *args,
                          enum cs_source source);
