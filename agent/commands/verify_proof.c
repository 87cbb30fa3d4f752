// SPDX-License-Identifier: Apache-2.0
//
// verify-proof: checks a proof that certsync-consumer prove printed. It needs no server, and nothing
// but the key that verifies the log's checkpoints.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/checkpoint.h"
#include "certsync/model/outcome.h"
#include "certsync/runtime/fileio.h"
#include "event/session.h"

struct verify_proof {
    const char *file;
    const char *key;
    struct cs_cli_list witnesses;
};
#define WITNESSES_MAX 16

static const struct cs_opt opts[] = {
    {.name = "checkpoint-key",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct verify_proof, key),
     .value_name = "KEY",
     .text = "The log's checkpoint key, as certsync-consumer checkpoint-key prints it; else "
             "deployment.checkpoint_key."},
    {.name = "witness",
     .kind = CS_OPT_LIST,
     CS_OPT_AT_LIST(struct verify_proof, witnesses),
     .value_name = "KEY",
     .text = "Key of a witness (NAME+ID+KEY) that must have cosigned the checkpoint; may be given several "
             "times."},
};
static const struct cs_arg args[] = {
    {.name = "FILE", CS_OPT_AT_STR(struct verify_proof, file), .text = "The proof; - is standard input."},
};

struct proven {
    struct cs_checkpoint at;
    struct cs_outcome outcome;
    struct cs_buf value; // its JSON
    struct {
        struct cs_note_key key;
        int64_t time_s;
    } witnesses[WITNESSES_MAX];
    size_t witnesses_len;
};

static bool get_key(const struct cs_cli *cli, struct cs_crypto *c, struct cs_note_key *ret,
                    struct cs_err *err) {
    const struct verify_proof *o = cli->values;
    void *values = NULL;
    if (o->key)
        return cs_note_key_parse(c, o->key, ret, err) || cs_err_prepend(err, "--checkpoint-key");
    if (!cs_session_load_settings(cli, &values, err))
        return false;
    const struct cs_agent_settings *s = values;
    bool ok = s->checkpoint_key[0]
                  ? cs_note_key_parse(c, s->checkpoint_key, ret, err) ||
                        cs_err_prepend(err, "deployment.checkpoint_key")
                  : cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                               "a proof is checked with the log's checkpoint key: give --checkpoint-key, or "
                               "set deployment.checkpoint_key. Whoever runs the consumers prints it with "
                               "certsync-consumer checkpoint-key");
    cs_settings_free(&cs_agent_settings_table, values);
    return ok;
}

// What the outcome says of its place must be where the checkpoint has it.
static bool read_outcome(struct cs_bytes value, const struct cs_proof *p, struct proven *ret,
                         struct cs_err *err) {
    char origin[CS_ORIGIN_MAX + 1];
    if (!cs_outcome_decode(value, &ret->outcome, err))
        return cs_err_prepend(err, "what is proven is no outcome");
    cs_checkpoint_origin(ret->outcome.log_id, ret->outcome.partition, 0, origin);
    int64_t epoch = 0;
    bool placed = cs_checkpoint_is_of(&ret->at, ret->outcome.log_id, ret->outcome.partition, &epoch) &&
                  epoch >= ret->outcome.epoch; // an outcome stands in the trees of later epochs, too
    return (ret->outcome.n == p->index + 1 && placed) ||
           cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE,
                      "the outcome says that it is number %" PRId64 " of %s, and the checkpoint has it at "
                      "number %" PRId64 " of %s",
                      ret->outcome.n, origin, p->index + 1, ret->at.origin);
}

static bool check_witnesses(const struct verify_proof *o, struct cs_crypto *c, struct cs_bytes note,
                            struct proven *ret, struct cs_err *err) {
    for (size_t i = 0; i < o->witnesses.count; i++) {
        struct cs_bytes text;
        if (i == WITNESSES_MAX)
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "--witness: more than %d are given",
                              WITNESSES_MAX);
        struct cs_note_key *key = &ret->witnesses[i].key;
        if (!cs_note_key_parse(c, o->witnesses.items[i], key, err))
            return cs_err_prepend(err, "--witness");
        if (key->kind != CS_NOTE_COSIGNATURE)
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                              "--witness: the key %s is one of a log, not of a witness: that of a witness is "
                              "of the kind 04",
                              key->name);
        if (!cs_note_open(c, note, key, &text, &ret->witnesses[i].time_s, err))
            return cs_err_prepend(err, "the witness %s", key->name);
        ret->witnesses_len++;
    }
    return true;
}

static bool verify(const struct cs_cli *cli, struct proven *ret, struct cs_err *err) {
    const struct verify_proof *o = cli->values;
    CS_AUTO(cs_crypto_free) struct cs_crypto *c = NULL;
    CS_AUTO(cs_proof_clear) struct cs_proof p = {0};
    CS_AUTO(cs_buf_clear) struct cs_buf text;
    struct cs_note_key key;
    cs_buf_init(&text, CS_PROOF_MAX);
    if (!cs_crypto_new(&c, err) || !get_key(cli, c, &key, err) ||
        !cs_file_read(o->file, CS_FILE_STDIN, &text, err) || !cs_proof_parse(cs_buf_bytes(&text), &p, err) ||
        !cs_proof_check(c, &p, &key, &ret->at, err) || !check_witnesses(o, c, p.note, ret, err) ||
        !read_outcome(p.value, &p, ret, err))
        return false;
    cs_buf_put(&ret->value, p.value.data, p.value.len);
    return cs_buf_ok(&ret->value, err);
}

static json_t *witnesses_json(const struct proven *x) {
    json_t *all = json_array();
    for (size_t i = 0; i < x->witnesses_len; i++) {
        char when[CS_TIME_TEXT_SIZE];
        cs_time_format(x->witnesses[i].time_s, when);
        json_array_append_new(all, json_pack("{s:s, s:s}", "name", x->witnesses[i].key.name, "time", when));
    }
    return all;
}

static void tell(const struct cs_cli *cli, const struct proven *x) {
    const struct cs_globals *g = cli->globals;
    const struct cs_outcome *o = &x->outcome;
    if (g->json) {
        cs_report_json(cli, json_pack("{s:b, s:s, s:I, s:I, s:o, s:o}", "proven", 1, "origin", x->at.origin,
                                      "size", (json_int_t)x->at.size, "n", (json_int_t)o->n, "outcome",
                                      json_loadb((const char *)x->value.data, x->value.len, 0, NULL),
                                      "witnesses", witnesses_json(x)));
        return;
    }
    fprintf(cli->out, "proven: outcome %" PRId64 " of %s, in the tree of its first %" PRId64 " outcomes\n",
            o->n, x->at.origin, x->at.size);
    fprintf(cli->out, "event %s%s%s: %s%s%s\n", o->event, o->account[0] ? " of account " : "", o->account,
            cs_status_name(o->verdict.status), o->verdict.code ? " " : "", cs_code_name(o->verdict.code));
    for (size_t i = 0; i < x->witnesses_len; i++) {
        char when[CS_TIME_TEXT_SIZE];
        cs_time_format(x->witnesses[i].time_s, when);
        fprintf(cli->out, "cosigned by the witness %s at %s\n", x->witnesses[i].key.name, when);
    }
    if (!g->quiet)
        fprintf(cli->out, "%s\n", (const char *)x->value.data);
}

static int run_verify_proof(const struct cs_cli *cli) {
    struct proven x = {0};
    struct cs_err err;
    cs_buf_init(&x.value, CS_PROOF_MAX);
    bool ok = verify(cli, &x, &err);
    if (ok)
        tell(cli, &x);
    cs_buf_clear(&x.value);
    cs_outcome_clear(&x.outcome);
    return ok ? CS_EXIT_OK : cs_report_failure(cli, &err);
}

const struct cs_command cs_cmd_verify_proof = {
    .name = "verify-proof",
    .summary = "Check the proof of an outcome, without any server",
    .description =
        "Reads a proof that certsync-consumer prove printed: whether the log's checkpoint key signed the "
        "checkpoint, and whether the outcome is in its tree where it says; with --witness, whether that "
        "witness "
        "has cosigned it. Prints the outcome. Exits with 4 if the proof is not good.",
    .examples = "certsync verify-proof upload.tlog-proof --checkpoint-key "
                "prod_63793cbc+3bf27eed+AaIM7STAw/OWvFp5leg3i"
                "KN07GB8620dGd0V4xEKm1Kr\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct verify_proof),
    .run = run_verify_proof,
};
