// SPDX-License-Identifier: Apache-2.0
#include "commands/certificate_submit.h"

struct upload {
    struct cs_certificate_args c;
};

static const struct cs_opt opts[] = {CS_CERTIFICATE_OPTS(struct upload, c)};
static const struct cs_arg args[] = {
    {.name = "NAME",
     CS_OPT_AT_STR(struct upload, c.name),
     .text = "Name of the certificate in the catalog: letters, digits, '.', '_', '-'."},
};

static int run(const struct cs_cli *cli) {
    const struct upload *o = cli->values;
    return cs_certificate_submit(cli, &o->c, CS_SOURCE_UPLOADED);
}

const struct cs_command cs_cmd_upload = {
    .name = "upload",
    .summary = "Register a certificate with its key in the account's catalog",
    .description =
        "Reads a certificate and its private key, puts the chain in order, proves that the key belongs to "
        "the certificate, seals the "
        "key to the custodian, and publishes the event. The key never leaves this host in any other form.\n\n"
        "The same certificate again changes nothing. A renewed one needs --replace: it keeps its id and "
        "becomes the next version.",
    .examples = "certsync upload www --cert fullchain.pem --key-file privkey.pem\n"
                "certsync upload www --cert new.pem --key-file privkey.pem --replace\n"
                "certsync upload www --cert issued.pem --csr\n"
                "certsync upload gate --algorithm sm2 --sign-cert s.pem --sign-key s.key --encrypt-cert "
                "e.pem --encrypt-key e.key\n"
                "certsync --dry-run upload www --cert fullchain.pem --key-file privkey.pem\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct upload),
    .run = run,
};
