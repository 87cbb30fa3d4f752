// SPDX-License-Identifier: Apache-2.0
//
// diff: compares the live catalogs with what this build makes of the log. Lists each account,
// certificate and verdict that differs.
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "commands/resume.h"
#include "log/compare.h"
#include "log/find.h"

#define SHOWN_TEXT 120

struct diff_options {
    struct cs_operator_options log;
    const char *to_offset;
    const char *to_time;
    bool next;
};

static const struct cs_opt opts[] = {
    CS_OPERATOR_OPTS(struct diff_options, log),
    CS_SNAPSHOTS_OPT,
    {.name = "to-offset",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct diff_options, to_offset),
     .value_name = "[P:]OFFSET",
     .text = "Replay only records before this offset, of partition P or of each; without: as far as the live "
             "catalog is."},
    {.name = "to-time",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct diff_options, to_time),
     .value_name = "TIME",
     .text = "Replay only records up to this time of the broker."},
    {.name = "next",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct diff_options, next),
     .text = "Hold the rebuilt catalogs that wait for promote against the log, instead of the live ones."},
};

// The parts of a catalog that people ask for. The rest ("other") follows from them.
enum kind { KIND_ACCOUNT, KIND_CERTIFICATE, KIND_VERDICT, KIND_OTHER, KIND_COUNT };
static const char *const kind_names[KIND_COUNT] = {"account", "certificate", "verdict", "other"};

struct diff {
    struct cs_operator op;
    const struct diff_options *o;
    struct cs_catalog *catalog;
    struct cs_compare *compare;
    struct cs_moment until;
    struct cs_snapshot_dir dir;
    const struct cs_snapshot_dir *snapshots; // dir; NULL: none are used
    bool comparing, compared;
    int64_t by_kind[KIND_COUNT];
    int64_t keys;
    int from_snapshot; // partitions that were judged from one on
    int32_t partition;
    struct cs_state *live; // for looking up single documents
};

static enum kind kind_of(const char *key) {
    static const struct {
        enum cs_kind of;
        enum kind kind;
    } kinds[] = {{CS_KIND_ACCOUNT, KIND_ACCOUNT},    {CS_KIND_AGENT, KIND_ACCOUNT},
                 {CS_KIND_CERT, KIND_CERTIFICATE},   {CS_KIND_MATERIAL, KIND_CERTIFICATE},
                 {CS_KIND_ISSUER, KIND_CERTIFICATE}, {CS_KIND_SHARED_IN, KIND_CERTIFICATE},
                 {CS_KIND_SHARE, KIND_CERTIFICATE},  {CS_KIND_SHARE_IN, KIND_CERTIFICATE},
                 {CS_KIND_CSR, KIND_CERTIFICATE},    {CS_KIND_INSTALLED, KIND_CERTIFICATE},
                 {CS_KIND_OUTCOME, KIND_VERDICT}};
    for (size_t i = 0; i < CS_ARRAY_LEN(kinds); i++)
        if (cs_key_is(key, kinds[i].of))
            return kinds[i].kind;
    return KIND_OTHER;
}

// Sealed keys are never shown.
static bool may_show(const char *key) {
    return !cs_key_is(key, CS_KIND_MATERIAL) && !cs_key_is(key, CS_KIND_CSR);
}

// The live document as it is now. Empty if it is gone, or cannot be read.
static struct cs_bytes live_document(struct diff *d, const char *key) {
    struct cs_bytes value = {0};
    struct cs_position ignored;
    struct cs_err err;
    cs_state_forget(d->live);
    (void)cs_state_get(d->live, key, &value);
    if (!cs_catalog_load(d->catalog, d->partition, d->live, &ignored, &err) ||
        cs_state_get(d->live, key, &value) != CS_FOUND)
        return (struct cs_bytes){0};
    return value;
}

// Somebody else may have written anything there.
static void put_json(struct cs_buf *b, struct cs_bytes value) {
    json_t *parsed = json_loadb((const char *)value.data, value.len, JSON_DECODE_ANY, NULL);
    while (parsed && value.len > 0 && strchr(" \t\r\n", value.data[value.len - 1]))
        value.len--;
    if (parsed) {
        cs_json_put_raw(b, value);
    } else {
        cs_json_begin(b, '{');
        cs_json_name(b, "base64");
        cs_json_put_base64(b, value);
        cs_json_end(b, '}');
    }
    json_decref(parsed);
}

static void put_side(struct cs_buf *b, bool json, const char *name, struct cs_bytes value) {
    if (!value.data)
        return;
    if (json) {
        cs_json_name(b, name);
        put_json(b, value);
        return;
    }
    cs_buf_printf(b, "    %s ", name);
    cs_put_abridged(b, value, SHOWN_TEXT);
    cs_buf_putc(b, '\n');
}

static bool tell_difference(void *arg, const char *key, bool index, enum cs_difference difference) {
    struct diff *d = arg;
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    bool json = d->o->log.json;
    enum kind kind = kind_of(key);
    struct cs_bytes live = {0};
    struct cs_bytes replayed = {0};
    cs_buf_init(&b, (size_t)16 * 1024 * 1024);
    int64_t before = d->by_kind[0] + d->by_kind[1] + d->by_kind[2] + d->by_kind[3];
    d->by_kind[kind]++;
    if (!index && may_show(key)) {
        live = live_document(d, key);
        if (cs_state_get(cs_replay_state(d->op.replay), key, &replayed) != CS_FOUND)
            replayed = (struct cs_bytes){0};
    }
    if (json) {
        cs_json_begin(&b, '{');
        cs_json_int(&b, "partition", d->partition);
        cs_json_str(&b, "kind", kind_names[kind]);
        cs_json_str(&b, "key", key);
        cs_json_str(&b, "difference", cs_difference_name(difference));
    } else {
        cs_buf_printf(&b, "partition %d  %-8s %-12s %s\n", (int)d->partition, cs_difference_name(difference),
                      kind_names[kind], key);
    }
    put_side(&b, json, "live", live);
    put_side(&b, json, "replay", replayed);
    if (json)
        cs_json_end(&b, '}');
    fprintf(d->op.cli->out, "%s%s", json && before > 0 ? "," : "",
            b.failed || !b.data ? "" : (const char *)b.data);
    return true;
}

// Replays from the catalog's position at the start of its reading to that at its end.
static bool step(struct diff *d, struct cs_err *err) {
    int64_t here = cs_replay_position(d->op.replay)->next_offset;
    struct cs_state *state = cs_replay_state(d->op.replay);
    if (d->until.given || d->compared)
        return true;
    if (d->comparing && !cs_compare_step(d->compare, state, err))
        return false;
    if (here == cs_compare_before(d->compare)->next_offset) {
        d->comparing = true;
        if (!cs_compare_begin(d->compare, state, err))
            return false;
    }
    d->compared = d->comparing && here >= cs_compare_after(d->compare)->next_offset;
    return !d->compared || cs_compare_end(d->compare, tell_difference, d, err);
}

static bool take(void *arg, const struct cs_record *r, const struct cs_replayed *mine, struct cs_err *err) {
    (void)r, (void)mine;
    return step(arg, err);
}

static bool diff_partition(struct diff *d, int32_t p, struct cs_err *err) {
    struct cs_operator *op = &d->op;
    d->partition = p;
    d->comparing = d->compared = false;
    cs_compare_free(d->compare);
    d->compare = NULL;
    // After it is read, the log has all records that the catalog is made of.
    if (!cs_compare_new(op->crypto, d->catalog, p, &d->compare, err) ||
        (p < op->events->partitions &&
         !op->events->ops->bounds(op->events, p, &op->event_bounds[p].low, &op->event_bounds[p].high, err)))
        return false;
    d->keys += (int64_t)cs_compare_keys(d->compare);
    const struct cs_moment there = {
        .given = true, .partition = p, .offset = cs_compare_before(d->compare)->next_offset};
    struct cs_resume from = {
        .dir = d->snapshots, .partition = p, .until = d->until.given ? &d->until : &there};
    if (!cs_resume(op, &from, err) || !step(d, err) || !cs_operator_walk_on(op, p, &d->until, take, d, err))
        return false;
    d->from_snapshot += from.snapshot.at.size > 0;
    if (d->until.given)
        return cs_compare_begin(d->compare, cs_replay_state(op->replay), err) &&
               cs_compare_end(d->compare, tell_difference, d, err);
    return d->compared || cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                                     "the live catalog stands at offset %" PRId64
                                     " of partition %d, which %s does not reach",
                                     cs_compare_after(d->compare)->next_offset, (int)p, op->events->name);
}

static bool do_diff(struct diff *d, const struct cs_cli *cli, struct cs_err *err) {
    const struct diff_options *o = d->o;
    if (o->to_offset && o->to_time)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "give --to-offset or --to-time, not both");
    if ((o->to_offset && !cs_moment_parse(o->to_offset, &d->until, err)) ||
        (o->to_time && !cs_moment_parse_time(o->to_time, &d->until, err)) ||
        !cs_operator_open(cli, &o->log, CS_OPERATOR_REPLAY, &d->op, err) ||
        !cs_operator_catalog(&d->op, &d->catalog, err) || !cs_state_new(false, &d->live, err))
        return false;
    d->snapshots = cs_resume_from(&d->op, &d->dir);
    if (o->next)
        d->catalog->ops->view(d->catalog, CS_VIEW_NEXT);
    cs_progress_start(&d->op.progress, cli->screen, "diff", cs_operator_total(&d->op));
    cs_operator_begin_list(&d->op, "differences");
    for (int32_t p = 0; p < d->op.partitions; p++)
        if (!diff_partition(d, p, err))
            return false;
    return true;
}

static int tell(const struct diff *d) {
    FILE *out = d->op.cli->out;
    int64_t all = 0;
    for (int k = 0; k < KIND_COUNT; k++)
        all += d->by_kind[k];
    if (d->o->log.json) {
        fputs("]", out);
        for (int k = 0; k < KIND_COUNT; k++)
            fprintf(out, ",\"%s\":%" PRId64, kind_names[k], d->by_kind[k]);
        fprintf(out, ",\"keys\":%" PRId64 ",\"from_snapshot\":%d}\n", d->keys, d->from_snapshot);
    } else if (all == 0) {
        fprintf(out, "the %s catalogs (%" PRId64 " keys) are what the log makes of them\n",
                d->o->next ? "rebuilt" : "live", d->keys);
    } else {
        fprintf(out,
                "%" PRId64 " differences: accounts %" PRId64 ", certificates %" PRId64 ", verdicts %" PRId64
                ", other %" PRId64 "\n",
                all, d->by_kind[KIND_ACCOUNT], d->by_kind[KIND_CERTIFICATE], d->by_kind[KIND_VERDICT],
                d->by_kind[KIND_OTHER]);
    }
    if (!d->o->log.json && d->from_snapshot > 0)
        fprintf(out, "%d partitions were judged from a snapshot on; verify --snapshots proves those\n",
                d->from_snapshot);
    return all == 0 ? CS_EXIT_OK : CS_EXIT_FAILED;
}

static int run_diff(const struct cs_cli *cli) {
    struct diff d = {.o = cli->values};
    struct cs_err err;
    bool ok = do_diff(&d, cli, &err);
    cs_progress_end(&d.op.progress);
    int code = ok ? tell(&d) : cs_operator_failure(&d.op, cli, &err);
    cs_compare_free(d.compare);
    cs_catalog_free(d.catalog);
    cs_state_free(d.live);
    cs_operator_close(&d.op);
    return code;
}

const struct cs_command cs_cmd_diff = {
    .name = "diff",
    .summary = "Show where the live catalogs differ from what the log makes of them",
    .description = "Judges the log again in memory and holds the catalogs in Redis (redis.*) against it: "
                   "each account, certificate, "
                   "verdict and index that differs, with both sides. Without --to-offset or --to-time each "
                   "partition is judged "
                   "as far as its live catalog is, which may go on meanwhile. Changes nothing. Exits with 1 "
                   "where something "
                   "differs.",
    .examples = "certsync-consumer diff\n"
                "certsync-consumer diff --to-time 2026-11-23T12:00:00Z --json",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct diff_options),
    .run = run_diff,
};
