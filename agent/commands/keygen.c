// SPDX-License-Identifier: Apache-2.0
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certsync/model/pem.h"
#include "certsync/runtime/fileio.h"
#include "event/session.h"

struct keygen {
    int64_t type;
    const char *out;
};

static const char *const types[] = {"agent", "custodian", NULL};
static const struct cs_opt keygen_opts[] = {
    {.name = "type",
     .kind = CS_OPT_CHOICE,
     CS_OPT_AT_INT(struct keygen, type),
     .value_name = "TYPE",
     .default_text = "agent",
     .choices = types,
     .text = "agent: P-256, to sign with (hosts, admins, issuers, root, service); custodian: X25519, to seal "
             "private keys to."},
    {.name = "out",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct keygen, out),
     .value_name = "FILE",
     .flags = CS_OPT_REQUIRED,
     .text = "Where the private key goes (mode 0600); the public one goes to FILE.pub."},
};

// Never overwrites a file: a lost key cannot be restored.
static bool write_pair(const char *path, const struct cs_privkey *key, struct cs_bytes spki,
                       struct cs_err *err) {
    uint8_t *pem;
    size_t pem_len;
    char *public_pem, public_path[PATH_MAX];
    if (snprintf(public_path, sizeof public_path, "%s.pub", path) >= (int)sizeof public_path)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: the path is too long", path);
    if (!cs_spki_to_pem(spki, &public_pem, err))
        return false;
    bool ok = cs_privkey_to_pem(key, &pem, &pem_len, err);
    if (ok) {
        ok = cs_file_create(path, (struct cs_bytes){pem, pem_len}, 0600, err);
        cs_secure_free(pem, pem_len);
    }
    ok = ok &&
         cs_file_write(public_path, (struct cs_bytes){(uint8_t *)public_pem, strlen(public_pem)}, 0644, err);
    free(public_pem);
    return ok;
}

static void print_kid(const struct cs_cli *cli, const char *kid, const char *file, bool made) {
    const struct cs_globals *g = cli->globals;
    if (g->json)
        cs_report_json(cli, made ? json_pack("{s:s, s:s, s:s+}", "kid", kid, "private_key", file,
                                             "public_key", file, ".pub")
                                 : json_pack("{s:s}", "kid", kid));
    else
        fprintf(cli->out, "%s\n", kid);
    if (made && !g->json && !g->quiet && isatty(STDERR_FILENO)) // a script wants only the id
        fprintf(cli->err, "private key: %s (keep it on this host), public key: %s.pub\n", file, file);
}

static bool keygen(const struct keygen *o, cs_kid ret_kid, struct cs_err *err) {
    CS_AUTO(cs_crypto_free) struct cs_crypto *crypto = NULL;
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    uint8_t *spki;
    size_t len;
    if (!cs_crypto_new(&crypto, err) ||
        !cs_privkey_generate(o->type == 0 ? CS_KEY_P256 : CS_KEY_X25519, 0, &key, err) ||
        !cs_privkey_spki(key, &spki, &len, err))
        return false;
    cs_kid_of_spki(crypto, (struct cs_bytes){spki, len}, ret_kid);
    bool ok = write_pair(o->out, key, (struct cs_bytes){spki, len}, err);
    free(spki);
    return ok;
}

static int run_keygen(const struct cs_cli *cli) {
    const struct keygen *o = cli->values;
    struct cs_err err;
    cs_kid kid;
    if (!keygen(o, kid, &err))
        return cs_report_failure(cli, &err);
    print_kid(cli, kid, o->out, true);
    return CS_EXIT_OK;
}

const struct cs_command cs_cmd_keygen = {
    .name = "keygen",
    .summary = "Make a key for a host, an admin, an issuer, a custodian …",
    .description = "Prints the key's id. An existing file is never overwritten.",
    .examples = "certsync keygen --out " CERTSYNC_ETC "/agent.key\ncertsync keygen --type custodian --out "
                "custodian.key\n",
    .opts = keygen_opts,
    .opt_count = CS_ARRAY_LEN(keygen_opts),
    .values_size = sizeof(struct keygen),
    .run = run_keygen,
};

// --- key id --------------------------------------------------------------------------------------

struct key_id {
    const char *file;
};
static const struct cs_arg id_args[] = {
    {.name = "FILE",
     CS_OPT_AT_STR(struct key_id, file),
     .path = true,
     .text = "A public or private key (PEM)."},
};

// The one place that takes a private key where a public one is meant. It only names the key.
static bool read_either(struct cs_crypto *c, const char *path, uint8_t **ret, size_t *ret_len,
                        struct cs_err *err) {
    struct cs_err not_private;
    CS_AUTO(cs_input_clear) struct cs_input in = {0};
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    if (!cs_input_read(path, 0, &in, err))
        return false;
    if (cs_pem_privkey(c, path, in.bytes, &key, &not_private))
        return cs_privkey_spki(key, ret, ret_len, err);
    if (not_private.code == CS_CODE_KEY_MISSING)
        return cs_pem_spki(c, path, in.bytes, ret, ret_len, err);
    *err = not_private;
    return false;
}

static int run_id(const struct cs_cli *cli) {
    const struct key_id *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_crypto_free) struct cs_crypto *crypto = NULL;
    uint8_t *spki;
    size_t len;
    cs_kid kid;
    if (!cs_crypto_new(&crypto, &err) || !read_either(crypto, o->file, &spki, &len, &err))
        return cs_report_failure(cli, &err);
    cs_kid_of_spki(crypto, (struct cs_bytes){spki, len}, kid);
    free(spki);
    print_kid(cli, kid, o->file, false);
    return CS_EXIT_OK;
}

static const struct cs_command key_commands[] = {
    {.name = "id",
     .summary = "Print the id of a key",
     .args = id_args,
     .arg_count = CS_ARRAY_LEN(id_args),
     .values_size = sizeof(struct key_id),
     .run = run_id},
};

const struct cs_command cs_cmd_key = {
    .name = "key",
    .summary = "Look at key files",
    .commands = key_commands,
    .command_count = CS_ARRAY_LEN(key_commands),
};
