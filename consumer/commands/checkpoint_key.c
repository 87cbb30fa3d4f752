// SPDX-License-Identifier: Apache-2.0
//
// checkpoint-key: prints the key that whoever keeps an eye on the log verifies its checkpoints and
// proofs with.
#include "certsync/model/checkpoint.h"
#include "commands/operator.h"
#include "worker/keyfile.h"

struct key_options {
    struct cs_operator_options log;
};

static const struct cs_opt opts[] = {
    CS_OPERATOR_OPTS(struct key_options, log),
    {.name = "service-key",
     .kind = CS_OPT_SETTING,
     .setting = "deployment.service_key",
     .value_name = "FILE",
     .text = "File with the service private key (deployment.service_key)."},
};

static bool get_key(const struct cs_operator *op, struct cs_note_key *ret, struct cs_err *err) {
    CS_AUTO(cs_privkey_free) struct cs_privkey *service = NULL;
    CS_AUTO(cs_note_signer_free) struct cs_note_signer *signer = NULL;
    if (!op->log_id[0])
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "%s has no genesis record, which gives the log its id: run certsync-consumer init",
                          op->events->name);
    if (!cs_keyfile_private(op->crypto, op->settings->service_key, &service, err) ||
        !cs_checkpoint_signer(op->crypto, service, op->log_id, &signer, err))
        return false;
    *ret = *cs_note_signer_key(signer);
    return true;
}

static int run_checkpoint_key(const struct cs_cli *cli) {
    CS_AUTO(cs_operator_close) struct cs_operator op = {0};
    const struct key_options *o = cli->values;
    struct cs_note_key key;
    char text[CS_NOTE_KEY_TEXT_SIZE];
    struct cs_err err;
    if (!cs_operator_open(cli, &o->log, 0, &op, &err) || !get_key(&op, &key, &err))
        return cs_consumer_failure(cli, &err);
    cs_note_key_text(&key, text);
    if (o->log.json)
        fprintf(cli->out, "{\"checkpoint_key\":\"%s\"}\n", text); // a log's id needs no escapes
    else
        fprintf(cli->out, "%s\n", text);
    return CS_EXIT_OK;
}

const struct cs_command cs_cmd_checkpoint_key = {
    .name = "checkpoint-key",
    .summary = "Print the key that verifies checkpoints and proofs",
    .description =
        "Prints the public key of this log's checkpoints as NAME+ID+KEY, the form that programs for "
        "transparency logs read (c2sp.org/signed-note). It is derived from the service key and the log's id, "
        "which stands in the log's first record: another service key makes another one. It is no secret. "
        "Hand it to auditors once, in another way than "
        "through the log.",
    .examples = "certsync-consumer checkpoint-key --config consumer.conf\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct key_options),
    .run = run_checkpoint_key,
};
