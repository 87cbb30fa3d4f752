// SPDX-License-Identifier: Apache-2.0
//
// replay --dry-run: what this build makes of the log up to a moment, compared with what was
// published. In memory: it changes and publishes nothing.
#include <inttypes.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "commands/operator.h"
#include "log/find.h"

#define LISTED_MAX 1000 // differing verdicts that are shown

struct replay_options {
    struct cs_operator_options log;
    bool dry_run;
    const char *to_offset;
    const char *to_time;
};

static const struct cs_opt opts[] = {
    CS_OPERATOR_OPTS(struct replay_options, log),
    {.name = "dry-run",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct replay_options, dry_run),
     .text =
         "In memory only. To fill Redis again, empty it (or set another redis.namespace) and start `run`."},
    {.name = "to-offset",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct replay_options, to_offset),
     .value_name = "[P:]OFFSET",
     .text = "Only records before this offset, of partition P or of each."},
    {.name = "to-time",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct replay_options, to_time),
     .value_name = "TIME",
     .text = "Only records up to this time of the broker (2026-11-23T12:00:00Z or 2026-11-23)."},
};

struct replay_run {
    struct cs_operator op;
    const struct replay_options *o;
    struct cs_buf listed; // JSON objects, with commas between
    struct cs_buf told;   // the same for people
    int64_t events, compared, differing, derived;
    int64_t by_status[CS_STATUS_DUPLICATE + 1];
    int64_t by_code[CS_CODE_COUNT];
    int64_t accounts, certificates, shared_in;
    struct cs_chain chain; // of the published outcomes of the partition
    bool published_end;
};

static void list_difference(struct replay_run *run, const struct cs_record *r, struct cs_bytes published,
                            struct cs_bytes judged) {
    struct cs_buf *b = &run->listed;
    if (run->differing++ >= LISTED_MAX)
        return;
    if (b->len > 0)
        cs_buf_putc(b, ',');
    cs_json_begin(b, '{');
    cs_json_int(b, "partition", r->partition);
    cs_json_int(b, "offset", r->offset);
    cs_json_name(b, "published");
    cs_json_put_raw(b, published);
    cs_json_name(b, "judged");
    cs_json_put_raw(b, judged);
    cs_json_end(b, '}');
    cs_buf_printf(&run->told, "partition %d offset %" PRId64 "\n  published ", (int)r->partition, r->offset);
    cs_put_abridged(&run->told, published, 80);
    cs_buf_puts(&run->told, "\n  judged    ");
    cs_put_abridged(&run->told, judged, 80);
    cs_buf_putc(&run->told, '\n');
}

static bool take(void *arg, const struct cs_record *r, const struct cs_replayed *mine, struct cs_err *err) {
    struct replay_run *run = arg;
    struct cs_record published;
    run->events++;
    run->derived += (int64_t)mine->derived_len;
    run->by_status[mine->outcome.status]++;
    run->by_code[mine->outcome.code]++;
    if (run->published_end)
        return true;
    if (!cs_operator_published(&run->op, r->partition, &run->chain, &published, &run->published_end, err))
        return false;
    if (run->published_end)
        return true;
    run->compared++;
    if (published.value.len != mine->outcome_json.len ||
        memcmp(published.value.data, mine->outcome_json.data, published.value.len) != 0)
        list_difference(run, r, published.value, mine->outcome_json);
    return true;
}

static bool count_doc(void *arg, const char *key, struct cs_bytes value) {
    struct replay_run *run = arg;
    static const char deleted[] = "\"deleted\":true";
    if (cs_key_is(key, CS_KIND_ACCOUNT))
        run->accounts++;
    else if (cs_key_is(key, CS_KIND_SHARED_IN))
        run->shared_in++;
    else if (cs_key_is(key, CS_KIND_CERT))
        run->certificates += !cs_bytes_find(value, deleted);
    return true;
}

static bool skip_index(void *arg, const char *key, const struct cs_member *members, size_t n) {
    (void)arg, (void)key, (void)members, (void)n;
    return true;
}

static bool do_replay(struct replay_run *run, const struct cs_cli *cli, struct cs_err *err) {
    struct cs_moment until = {0};
    const struct replay_options *o = run->o;
    if (o->to_offset && o->to_time)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "give --to-offset or --to-time, not both");
    if ((o->to_offset && !cs_moment_parse(o->to_offset, &until, err)) ||
        (o->to_time && !cs_moment_parse_time(o->to_time, &until, err)) ||
        !cs_operator_open(cli, &o->log, CS_OPERATOR_OUTCOMES | CS_OPERATOR_REPLAY, &run->op, err))
        return false;
    cs_progress_start(&run->op.progress, cli->screen, "replay", cs_operator_total(&run->op));
    for (int32_t p = 0; p < run->op.partitions; p++) {
        run->chain.last = 0;
        run->published_end = false;
        if (!cs_operator_walk(&run->op, p, &until, take, run, err))
            return false;
        (void)cs_state_each(cs_replay_state(run->op.replay), count_doc, skip_index, run);
    }
    return true;
}

static int tell_json(const struct replay_run *run) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, (size_t)256 * 1024 * 1024);
    cs_json_begin(&b, '{');
    cs_json_int(&b, "events", run->events);
    for (int s = CS_STATUS_APPLIED; s <= CS_STATUS_DUPLICATE; s++)
        cs_json_int(&b, cs_status_name((enum cs_status)s), run->by_status[s]);
    cs_json_name(&b, "codes");
    cs_json_begin(&b, '{');
    for (int c = 1; c < CS_CODE_COUNT; c++)
        if (run->by_code[c] > 0)
            cs_json_int(&b, cs_code_name((enum cs_code)c), run->by_code[c]);
    cs_json_end(&b, '}');
    cs_json_int(&b, "derived", run->derived);
    cs_json_int(&b, "accounts", run->accounts);
    cs_json_int(&b, "certificates", run->certificates);
    cs_json_int(&b, "shared_in", run->shared_in);
    cs_json_int(&b, "compared", run->compared);
    cs_json_int(&b, "differing", run->differing);
    cs_json_name(&b, "verdicts");
    cs_json_begin(&b, '[');
    if (run->listed.len > 0)
        cs_json_put_raw(&b, cs_buf_bytes(&run->listed));
    cs_json_end(&b, ']');
    cs_json_int(&b, "events_per_second", (int64_t)cs_progress_rate(&run->op.progress));
    cs_json_end(&b, '}');
    return cs_operator_print(&run->op, &b, run->differing ? CS_EXIT_FAILED : CS_EXIT_OK);
}

static int tell(const struct replay_run *run) {
    FILE *out = run->op.cli->out;
    fprintf(out, "%" PRId64 " events judged, %.0f/s:\n", run->events, cs_progress_rate(&run->op.progress));
    for (int s = CS_STATUS_APPLIED; s <= CS_STATUS_DUPLICATE; s++)
        fprintf(out, "  %-24s %10" PRId64 "\n", cs_status_name((enum cs_status)s), run->by_status[s]);
    for (int c = 1; c < CS_CODE_COUNT; c++)
        if (run->by_code[c] > 0)
            fprintf(out, "    %-22s %10" PRId64 "\n", cs_code_name((enum cs_code)c), run->by_code[c]);
    fprintf(out,
            "they make %" PRId64 " accounts with %" PRId64 " certificates, %" PRId64
            " shared in, and %" PRId64 " derived events\n",
            run->accounts, run->certificates, run->shared_in, run->derived);
    if (run->differing == 0) {
        fprintf(out, "all %" PRId64 " published outcomes are as they are judged now\n", run->compared);
        return CS_EXIT_OK;
    }
    fprintf(out, "%" PRId64 " of %" PRId64 " published outcomes are judged otherwise now:\n", run->differing,
            run->compared);
    if (run->told.data)
        fwrite(run->told.data, 1, run->told.len, out);
    return CS_EXIT_FAILED;
}

static int run_replay(const struct cs_cli *cli) {
    struct replay_run run = {.o = cli->values};
    struct cs_err err;
    if (!run.o->dry_run)
        return cs_cli_usage_error(cli, "say --dry-run: nothing else is done here");
    cs_buf_init(&run.listed, (size_t)64 * 1024 * 1024);
    cs_buf_init(&run.told, (size_t)64 * 1024 * 1024);
    bool ok = do_replay(&run, cli, &err);
    cs_progress_end(&run.op.progress);
    int code = !ok ? cs_consumer_failure(cli, &err) : run.o->log.json ? tell_json(&run) : tell(&run);
    cs_buf_clear(&run.listed);
    cs_buf_clear(&run.told);
    cs_operator_close(&run.op);
    return code;
}

const struct cs_command cs_cmd_replay = {
    .name = "replay",
    .summary = "Judge the log again in memory and compare with what was published",
    .description =
        "Judges the records of all partitions, up to a moment, with this build, and says what comes of it "
        "and which "
        "published outcomes are judged otherwise now. Touches and publishes nothing. Exits with 1 where "
        "outcomes differ.",
    .examples = "certsync-consumer replay --dry-run --to-time 2026-11-23T12:00:00Z",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct replay_options),
    .run = run_replay,
};
