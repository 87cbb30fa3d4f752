// SPDX-License-Identifier: Apache-2.0
//
// checkpoint-key: prints the key that whoever keeps an eye on the log verifies its checkpoints and
// proofs with.
#include "certsync/model/checkpoint.h"
#include "commands/commands.h"
#include "worker/keyfile.h"

static const struct cs_opt opts[] = {
    {.name = "deployment",
     .kind = CS_OPT_SETTING,
     .setting = "deployment.id",
     .value_name = "ID",
     .text = "Name of the deployment (deployment.id)."},
    {.name = "service-key",
     .kind = CS_OPT_SETTING,
     .setting = "deployment.service_key",
     .value_name = "FILE",
     .text = "File with the service private key (deployment.service_key)."},
};

static bool print_key(const struct cs_cli *cli, const struct cs_consumer_settings *s, struct cs_err *err) {
    CS_AUTO(cs_crypto_free) struct cs_crypto *crypto = NULL;
    CS_AUTO(cs_privkey_free) struct cs_privkey *service = NULL;
    CS_AUTO(cs_note_signer_free) struct cs_note_signer *signer = NULL;
    char text[CS_NOTE_KEY_TEXT_SIZE];
    if (!cs_crypto_new(&crypto, err) || !cs_keyfile_private(crypto, s->service_key, &service, err) ||
        !cs_checkpoint_signer(crypto, service, cs_settings_log_id(s), &signer, err))
        return false;
    cs_note_key_text(cs_note_signer_key(signer), text);
    fprintf(cli->out, "%s\n", text);
    return true;
}

static int run_checkpoint_key(const struct cs_cli *cli) {
    struct cs_consumer_settings *s = NULL;
    struct cs_err err;
    if (!cs_consumer_settings_load(cli, &s, &err))
        return cs_consumer_failure(cli, &err);
    bool ok = print_key(cli, s, &err);
    cs_settings_free(&cs_consumer_settings_table, s);
    return ok ? CS_EXIT_OK : cs_consumer_failure(cli, &err);
}

const struct cs_command cs_cmd_checkpoint_key = {
    .name = "checkpoint-key",
    .summary = "Print the key that verifies checkpoints and proofs",
    .description =
        "Prints the public key of this log's checkpoints as NAME+ID+KEY, the form that programs for "
        "transparency logs read (c2sp.org/signed-note). It is derived from the service key: another "
        "service key makes another one. It is no secret. Hand it to auditors once, in another way than "
        "through the log.",
    .examples = "certsync-consumer checkpoint-key --config consumer.conf\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .run = run_checkpoint_key,
};
