// SPDX-License-Identifier: Apache-2.0
//
// prove: prints the proof that an event's outcome is in the log, for whoever has neither the log nor
// a right to read it.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"
#include "certsync/base/json_write.h"
#include "commands/operator.h"
#include "log/find.h"

struct prove_options {
    struct cs_operator_options log;
    const char *event;
    const char *checkpoints;
    const char *checkpoint_key;
};

static const struct cs_opt opts[] = {CS_OPERATOR_OPTS(struct prove_options, log),
                                     CS_CHECKPOINT_OPTS(struct prove_options)};
static const struct cs_arg args[] = {
    {.name = "EVENT_ID", CS_OPT_AT_STR(struct prove_options, event), .text = "Id of the event (a UUID)."},
};

struct prove {
    struct cs_operator op;
    const struct prove_options *o;
    // The partition under way, or that of the outcome.
    int32_t partition;
    struct cs_hash *leaves;
    size_t leaves_len, leaves_cap;
    int64_t n; // number of the outcome; 0: not found
    struct cs_buf value;
    struct cs_checkpoint at;
    struct cs_buf proof;
};

// The first outcome of an event counts: others are of copies of its record.
static bool is_wanted(const struct prove *x, const struct cs_record *r) {
    CS_AUTO(cs_outcome_clear) struct cs_outcome o = {0};
    struct cs_err ignored;
    return x->n == 0 && cs_bytes_find(r->value, x->o->event) && cs_outcome_decode(r->value, &o, &ignored) &&
           strcmp(o.event, x->o->event) == 0 && o.verdict.status != CS_STATUS_DUPLICATE;
}

// Reads a partition's outcomes: all leaves, and the outcome if it is there.
static bool read_partition(struct prove *x, int32_t partition, struct cs_err *err) {
    struct cs_chain chain = {0};
    struct cs_record r;
    bool end = false;
    x->partition = partition;
    x->leaves_len = 0;
    for (;;) {
        if (!cs_operator_published(&x->op, partition, &chain, &r, &end, err))
            return false;
        if (end)
            return true;
        if (!CS_GROW(&x->leaves, &x->leaves_cap, x->leaves_len + 1))
            return cs_err_oom(err);
        cs_merkle_leaf(x->op.crypto, r.value, &x->leaves[x->leaves_len++]);
        cs_progress_step(&x->op.progress);
        if (!is_wanted(x, &r))
            continue;
        x->n = (int64_t)x->leaves_len;
        cs_buf_put(&x->value, r.value.data, r.value.len);
    }
}

static bool find(struct prove *x, struct cs_err *err) {
    for (int32_t p = 0; p < x->op.partitions && x->n == 0; p++)
        if (!read_partition(x, p, err))
            return false;
    return x->n > 0 ||
           cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE, "no outcome of %s is of an event with the id %s",
                      x->op.outcomes->name, x->o->event);
}

// The newest checkpoint that has it.
static bool prove(struct prove *x, struct cs_err *err) {
    CS_AUTO(cs_heads_free) struct cs_heads *heads = NULL;
    CS_AUTO(cs_log_free) struct cs_log *checkpoints = NULL;
    const struct cs_checkpoint_source from = {x->o->checkpoint_key, x->o->checkpoints, true};
    char why[8];
    struct cs_note_key key;
    if (!cs_operator_heads(&x->op, &from, &heads, &checkpoints, why, sizeof why, err))
        return false;
    if (!checkpoints)
        return cs_err_set(
            err, CS_ERR_CONFIG, CS_CODE_NONE,
            "a proof needs the checkpoints, too: give a dump of cert.checkpoints with --checkpoints");
    if (!cs_heads_read_log(heads, checkpoints, x->partition, err))
        return false;
    struct cs_proof p = {.value = cs_buf_bytes(&x->value), .index = x->n - 1};
    p.note = cs_heads_note(heads, x->partition, x->n, (int64_t)x->leaves_len, &x->at);
    if (!p.note.data)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                          "no published checkpoint has outcome %" PRId64 " of partition %d yet: the consumer "
                          "publishes one within a second while it runs; try again",
                          x->n, (int)x->partition);
    cs_merkle_prove_leaf(x->op.crypto, x->leaves, x->at.size, x->n - 1, &p.path);
    cs_heads_key(heads, &key);
    if (!cs_proof_check(x->op.crypto, &p, &key, &x->at, err))
        return cs_err_prepend(err,
                              "a fork: the outcomes of partition %d are not those of their checkpoint "
                              "(certsync-consumer verify says more)",
                              (int)x->partition);
    cs_proof_put(&x->proof, &p);
    return cs_buf_ok(&x->value, err) && cs_buf_ok(&x->proof, err);
}

static int print(struct prove *x) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    FILE *out = x->op.cli->out;
    if (!x->o->log.json) {
        fwrite(x->proof.data, 1, x->proof.len, out);
        return CS_EXIT_OK;
    }
    cs_buf_init(&b, 2 * CS_PROOF_MAX);
    cs_json_begin(&b, '{');
    cs_json_str(&b, "origin", x->at.origin);
    cs_json_int(&b, "size", x->at.size);
    cs_json_int(&b, "n", x->n);
    cs_json_name(&b, "outcome");
    cs_json_put_raw(&b, cs_buf_bytes(&x->value));
    cs_json_str(&b, "proof", (const char *)x->proof.data);
    cs_json_end(&b, '}');
    return cs_operator_print(&x->op, &b, CS_EXIT_OK);
}

static int run_prove(const struct cs_cli *cli) {
    struct prove x = {.o = cli->values};
    struct cs_err err;
    cs_buf_init(&x.value, CS_EVENT_MAX);
    cs_buf_init(&x.proof, CS_PROOF_MAX);
    bool ok = cs_operator_open(cli, &x.o->log, CS_OPERATOR_OUTCOMES, &x.op, &err);
    if (ok)
        cs_progress_start(&x.op.progress, cli->screen, "looking for the outcome", cs_operator_total(&x.op));
    ok = ok && find(&x, &err);
    cs_progress_end(&x.op.progress);
    ok = ok && prove(&x, &err);
    int code = ok ? print(&x) : cs_consumer_failure(cli, &err);
    free(x.leaves);
    cs_buf_clear(&x.value);
    cs_buf_clear(&x.proof);
    cs_operator_close(&x.op);
    return code;
}

const struct cs_command cs_cmd_prove = {
    .name = "prove",
    .summary = "Print the proof that an event's outcome is in the log",
    .description = "Finds the event's outcome and prints a proof in the form of c2sp.org/tlog-proof: the "
                   "outcome, its place, "
                   "the hashes from it to the root, and a checkpoint that the consumer has signed. Whoever "
                   "gets the proof "
                   "checks it with certsync verify-proof, or with any program for transparency logs, and "
                   "needs nothing but "
                   "the key that certsync-consumer checkpoint-key prints.",
    .examples = "certsync-consumer prove 0192f0c1-7d3e-7c61-8a11-0242ac120002 > upload.tlog-proof\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct prove_options),
    .run = run_prove,
};
