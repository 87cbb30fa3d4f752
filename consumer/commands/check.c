// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "api/api.h"
#include "commands/commands.h"
#include "cosign/ask.h"
#include "worker/keyfile.h"
#include "worker/preflight.h"

// Tries all that a start of `run` needs. What is good here stops no start.
static bool check(const struct cs_consumer_settings *s, struct cs_preflight *ret, bool *ret_in_use,
                  struct cs_err *err) {
    CS_AUTO(cs_crypto_free) struct cs_crypto *crypto = NULL;
    CS_AUTO(cs_service_keys_clear) struct cs_service_keys service = {0};
    uint8_t *root = NULL;
    size_t root_len = 0;
    if (!cs_settings_raise_files(s, err) || !cs_api_try(s, ret_in_use, err) || !cs_crypto_new(&crypto, err) ||
        !cs_service_keys_read(crypto, s, &service, err) ||
        !cs_keyfile_spki(crypto, s->root_key, &root, &root_len, err))
        return false;
    bool ok = cs_preflight(s, (struct cs_bytes){root, root_len}, ret, err);
    free(root);
    return ok;
}

// What a witness says to the checkpoint of no outcomes, which is the beginning of every log: it cosigns
// that, or names the size that it has cosigned. So nothing is changed by asking.
static bool ask_about(struct cs_cosigner *w, struct cs_crypto *crypto, const struct cs_note_signer *signer,
                      const char *log_id, int32_t partition, struct cs_cosign_answer *ret,
                      struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf note;
    const struct cs_merkle_edge edge = {0};
    const struct cs_merkle_path path = {0};
    struct cs_checkpoint at = {0};
    cs_buf_init(&note, CS_NOTE_MAX);
    cs_checkpoint_origin(log_id, partition, 0, at.origin);
    cs_merkle_root(crypto, &edge, 0, &at.root);
    if (!cs_checkpoint_sign(crypto, signer, &at, &note, err))
        return false;
    const struct cs_cosign_question q = {0, &path, &at, cs_buf_bytes(&note)};
    cs_cosigner_ask(w, &q, time(NULL), ret);
    return true;
}

static bool ask_witness(const struct cs_cli *cli, struct cs_cosigner *w, struct cs_crypto *crypto,
                        const struct cs_note_signer *signer, const struct cs_preflight *found,
                        struct cs_err *err) {
    const char *name = cs_cosigner_name(w);
    int32_t known = 0;
    int32_t fresh = 0;
    int64_t outcomes = 0;
    bool told = false;
    for (int32_t p = 0; p < found->partition_count; p++) {
        struct cs_cosign_answer a;
        if (!ask_about(w, crypto, signer, found->log_id, p, &a, err))
            return false;
        bool knows = a.result == CS_COSIGN_COSIGNED || a.result == CS_COSIGN_OTHER_SIZE;
        known += knows;
        fresh += a.result == CS_COSIGN_COSIGNED || (a.result == CS_COSIGN_OTHER_SIZE && a.size == 0);
        outcomes += a.result == CS_COSIGN_OTHER_SIZE ? a.size : 0;
        if (!knows && !told)
            fprintf(
                cli->err,
                "note: witness %s, asked about partition %d: %s. run starts without it, and asks it again "
                "and again\n",
                name, (int)p, a.err.msg);
        told |= !knows;
        if (a.result == CS_COSIGN_AWAY)
            break;
    }
    fprintf(cli->out,
            "witness %s (%s) knows %d of %d partitions; it has cosigned %" PRId64
            " outcomes, and of %d partitions nothing yet\n",
            name, cs_cosigner_key(w)->name, (int)known, (int)found->partition_count, outcomes, (int)fresh);
    return true;
}

// A witness that is away stops no start: so it is a note.
static bool ask_witnesses(const struct cs_cli *cli, const struct cs_consumer_settings *s,
                          const struct cs_preflight *found, struct cs_err *err) {
    CS_AUTO(cs_crypto_free) struct cs_crypto *crypto = NULL;
    CS_AUTO(cs_privkey_free) struct cs_privkey *service = NULL;
    CS_AUTO(cs_note_signer_free) struct cs_note_signer *signer = NULL;
    if (s->witnesses.count == 0)
        return true;
    if (!cs_crypto_new(&crypto, err) || !cs_keyfile_private(crypto, s->service_key, &service, err) ||
        !cs_checkpoint_signer(crypto, service, found->log_id, &signer, err))
        return false;
    for (size_t i = 0; i < s->witnesses.count; i++) {
        CS_AUTO(cs_cosigner_free) struct cs_cosigner *w = NULL;
        if (!cs_cosigner_new(crypto, cs_settings_witness(s, i), s->witness_timeout_ms, NULL, &w, err) ||
            !ask_witness(cli, w, crypto, signer, found, err))
            return false;
    }
    return true;
}

static int run_check(const struct cs_cli *cli) {
    struct cs_consumer_settings *s = NULL;
    struct cs_preflight found;
    bool in_use = false;
    struct cs_err err;
    if (!cs_consumer_settings_load(cli, &s, &err))
        return cs_consumer_failure(cli, &err);
    bool ok = check(s, &found, &in_use, &err) && ask_witnesses(cli, s, &found, &err);
    if (ok && found.heartbeats[0])
        fprintf(cli->err,
                "warning: hosts' heartbeats are not heard, and nobody learns which host is quiet: %s\n",
                found.heartbeats);
    if (ok && in_use)
        fprintf(cli->err,
                "note: api.listen: somebody listens on %s. That is right where this consumer runs already. "
                "Otherwise "
                "stop that program (ss -ltnp names it), or set another address: run would not start\n",
                s->api_listen);
    if (ok)
        fprintf(cli->out,
                "settings, keys, the API's files and address, topics %s and %s (%d partitions, log "
                "%s) and Redis are as they "
                "should be\n",
                s->events_topic, s->outcomes_topic, (int)found.partition_count, found.log_id);
    cs_settings_free(&cs_consumer_settings_table, s);
    // Everything that keeps a consumer from starting is told in the same way: correct it, then try
    // again.
    return ok ? CS_EXIT_OK : (cs_consumer_failure(cli, &err), CS_EXIT_USAGE);
}

const struct cs_command cs_cmd_check = {
    .name = "check",
    .summary = "Try all that run needs to start, without judging anything",
    .run = run_check,
};
