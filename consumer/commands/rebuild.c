// SPDX-License-Identifier: Apache-2.0
//
// rebuild: makes all catalogs again, from snapshots or from offset 0, beside the live ones.
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certsync/runtime/clock.h"
#include "commands/resume.h"
#include "log/rebuild.h"

#define LOOK_EVERY_MS 200
#define TELL_EVERY_MS 1000
#define CLOSE         1000 // so few new events in one pass: the rebuilt catalog is close to the live one

struct rebuild_options {
    struct cs_operator_options log;
    bool afresh;
    bool whole;
};

static const struct cs_opt opts[] = {
    CS_OPERATOR_SETTINGS,
    {.name = "workers",
     .kind = CS_OPT_SETTING,
     .setting = "consumer.workers",
     .value_name = "N",
     .text = "Threads, each with a partition at a time (consumer.workers; 0: as many as there are cores)."},
    {.name = "afresh",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct rebuild_options, afresh),
     .text = "Throw away what an earlier rebuild left, and begin again; without: go on with it."},
    {.name = "whole",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct rebuild_options, whole),
     .text = "Judge all records, from offset 0, also where there are snapshots: this proves the whole log."},
    {.name = "snapshots",
     .kind = CS_OPT_SETTING,
     .setting = "snapshot.dir",
     .value_name = "DIR",
     .text = "Begin each partition with the newest snapshot in this directory (snapshot.dir) behind which "
             "snapshot.checked outcomes are published."},
    {.name = "json",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct rebuild_options, log.json),
     .text = "JSON objects on standard output, one a line: how far it is, each second, and the result last."},
};

struct part {      // a partition of the rebuild
    bool promoted; // this generation is live there already
    bool leftover; // an earlier rebuild began another one
    struct cs_position position;
    int64_t snapshot; // outcomes of the one that it began with; 0: offset 0
};
struct rebuild {
    struct cs_operator op;
    const struct rebuild_options *o;
    struct cs_rebuild_env env;
    struct cs_snapshot_dir snapshots;
    int64_t generation;
    struct part *parts;
    int64_t total; // events to judge: those with an outcome at the start
    int64_t told_ms;
    atomic_int next; // the next partition that nobody has taken
    atomic_int running;
    pthread_mutex_t lock; // of the failure
    bool failed;
    struct cs_err failure;
};

static void fail(struct rebuild *run, const struct cs_err *err) {
    pthread_mutex_lock(&run->lock);
    if (!run->failed)
        run->failure = *err;
    run->failed = true;
    pthread_mutex_unlock(&run->lock);
    atomic_store(&run->env.stopping, true);
}

// --- a partition

static bool follow_closely(struct cs_rebuilder *r, struct cs_err *err) {
    for (;;) {
        int64_t before = cs_rebuilder_position(r)->next_offset;
        if (!cs_rebuilder_follow(r, err))
            return false;
        if (cs_rebuilder_position(r)->next_offset - before < CLOSE)
            return true;
    }
}

// This may take longer than a lease. So the claim is taken again after it.
static bool remove_leftover(struct rebuild *run, struct cs_rebuilder *r, int32_t p, struct cs_err *err) {
    struct cs_catalog *c = cs_rebuilder_catalog(r);
    int64_t removed = 0;
    bool moved = false;
    if (!run->parts[p].leftover)
        return true;
    if (!c->ops->sweep(c, p, &removed, &moved, err))
        return false;
    run->parts[p].leftover = moved;
    return cs_rebuilder_begin(r, p, run->generation, err);
}

static bool told(struct cs_err *err, int32_t p) {
    if (err->kind == CS_ERR_DAMAGED)
        return cs_err_prepend(err,
                              "partition %d: the rebuilt catalog cannot be used; begin it anew with "
                              "certsync-consumer rebuild --afresh",
                              (int)p);
    return cs_err_prepend(err, "partition %d", (int)p);
}

// Waits while Kafka or Redis is away, as long as they come back.
static bool rebuild_partition(struct rebuild *run, struct cs_rebuilder *r, int32_t p, struct cs_err *err) {
    struct cs_patience patience = {0};
    for (;;) {
        bool ok = cs_rebuilder_begin(r, p, run->generation, err) && remove_leftover(run, r, p, err) &&
                  follow_closely(r, err);
        run->parts[p].position = *cs_rebuilder_position(r);
        run->parts[p].snapshot = cs_rebuilder_restored(r);
        cs_rebuilder_end(r);
        if (ok || atomic_load(&run->env.stopping) ||
            !cs_operator_wait(&patience, run->parts[p].position.next_offset, err))
            return ok || told(err, p);
    }
}

static void *thread_main(void *arg) {
    struct rebuild *run = arg;
    struct cs_rebuilder *r = NULL;
    struct cs_err err;
    bool ok = cs_rebuilder_new(&run->env, &r, &err);
    while (ok && !atomic_load(&run->env.stopping)) {
        int32_t p = atomic_fetch_add(&run->next, 1);
        if (p >= run->op.partitions)
            break;
        ok = run->parts[p].promoted || rebuild_partition(run, r, p, &err);
    }
    if (!ok)
        fail(run, &err);
    cs_rebuilder_free(r);
    atomic_fetch_sub(&run->running, 1);
    return NULL;
}

// --- all of them

// One number for all partitions: that of an unfinished rebuild, or a new one.
static bool look(struct rebuild *run, struct cs_err *err) {
    CS_AUTO(cs_catalog_free) struct cs_catalog *catalog = NULL;
    int32_t n = run->op.partitions;
    int64_t newest = 1;
    int64_t begun = 0;
    struct cs_generations *all = calloc((size_t)n, sizeof *all);
    run->parts = calloc((size_t)n, sizeof *run->parts);
    bool ok = (all && run->parts) || cs_err_oom(err);
    ok = ok && cs_operator_catalog(&run->op, &catalog, err);
    for (int32_t p = 0; ok && p < n; p++) {
        ok = catalog->ops->generations(catalog, p, &all[p], err);
        begun = all[p].next > begun ? all[p].next : begun;
        newest = all[p].live > newest ? all[p].live : newest;
    }
    newest = begun > newest ? begun : newest;
    run->generation = begun && !run->o->afresh ? begun : newest + 1;
    for (int32_t p = 0; ok && p < n; p++) {
        bool goes_on = all[p].next == run->generation;
        run->parts[p] =
            (struct part){.promoted = all[p].live >= run->generation, .leftover = all[p].next && !goes_on};
        if (!run->parts[p].promoted)
            run->total += run->op.outcome_bounds[p].high - (goes_on ? all[p].next_position.outcomes : 0);
    }
    free(all);
    return ok;
}

static void tell_progress(struct rebuild *run) {
    struct cs_progress *p = &run->op.progress;
    int64_t now_ms = cs_clock_mono_ms(cs_clock_real());
    cs_progress_at(p, atomic_load(&run->env.judged));
    if (!run->o->log.json || now_ms - run->told_ms < TELL_EVERY_MS)
        return;
    run->told_ms = now_ms;
    double rate = cs_progress_rate(p);
    int64_t left = p->total > p->done ? p->total - p->done : 0;
    fprintf(run->op.cli->out,
            "{\"done\":false,\"events\":%" PRId64 ",\"total\":%" PRId64
            ",\"events_per_second\":%.0f,\"left_s\":%.0f}\n",
            p->done, p->total, rate, rate > 0 ? (double)left / rate : 0.0);
    fflush(run->op.cli->out);
}

static bool run_threads(struct rebuild *run, struct cs_err *err) {
    int n = cs_settings_workers(run->op.settings, run->op.partitions);
    pthread_t *threads = calloc((size_t)n, sizeof *threads);
    if (!threads)
        return cs_err_oom(err);
    int64_t started = 0;
    atomic_store(&run->running, (int)n);
    while (started < n && pthread_create(&threads[started], NULL, thread_main, run) == 0)
        started++;
    if (started < n) {
        cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "the threads of a rebuild could not be started");
        fail(run, err);
        atomic_fetch_sub(&run->running, (int)(n - started));
    }
    while (atomic_load(&run->running) > 0) {
        tell_progress(run);
        poll(NULL, 0, LOOK_EVERY_MS);
    }
    for (int64_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    free(threads);
    if (run->failed)
        *err = run->failure;
    return !run->failed;
}

static bool open_and_look(struct rebuild *run, const struct cs_cli *cli, struct cs_err *err) {
    struct cs_patience patience = {0};
    while (!cs_operator_open(cli, &run->o->log, CS_OPERATOR_OUTCOMES, &run->op, err) || !look(run, err)) {
        if (!cs_operator_wait(&patience, 0, err))
            return false;
        free(run->parts);
        run->parts = NULL;
        run->total = 0;
        cs_operator_close(&run->op);
    }
    return true;
}

static void took(void *arg, int32_t partition, int64_t outcomes) {
    const struct rebuild *run = arg;
    fprintf(run->op.cli->err, "%s: partition %d goes on from the snapshot of %" PRId64 " outcomes\n",
            run->op.cli->path, (int)partition, outcomes);
}

static void refused(void *arg, const char *path, const char *why) {
    struct rebuild *run = arg;
    cs_resume_refused(&run->op, path, why);
}

static void use_snapshots(struct rebuild *run) {
    run->env.whole = run->o->whole;
    run->env.took = took;
    run->env.refused = refused;
    run->env.arg = run;
    if (!run->o->whole)
        run->env.snapshots = cs_resume_from(&run->op, &run->snapshots);
}

static bool do_rebuild(struct rebuild *run, const struct cs_cli *cli, struct cs_err *err) {
    if (!open_and_look(run, cli, err))
        return false;
    run->env.settings = run->op.settings;
    run->env.log_id = run->op.log_id;
    run->env.root_spki = (struct cs_bytes){run->op.root_spki, run->op.root_spki_len};
    run->env.service = run->op.marks ? &run->op.service : NULL;
    run->env.partitions = run->op.partitions;
    run->env.epochs = run->op.epochs;
    use_snapshots(run);
    cs_progress_start(&run->op.progress, cli->screen, "rebuild", run->total);
    run->told_ms = run->op.progress.started_ms;
    return run_threads(run, err);
}

static void tell_snapshots(const struct rebuild *run) {
    int n = 0;
    for (int32_t i = 0; i < run->op.partitions; i++)
        n += run->parts[i].snapshot > 0;
    if (n > 0)
        fprintf(
            run->op.cli->out,
            "%d partitions began with a snapshot: what comes before it was not judged (--whole judges it).\n",
            n);
}

static int tell(struct rebuild *run) {
    FILE *out = run->op.cli->out;
    struct cs_progress *p = &run->op.progress;
    p->done = atomic_load(&run->env.judged);
    double rate = cs_progress_rate(p);
    if (!run->o->log.json) {
        fprintf(out, "%" PRId64 " events judged, %.0f/s: each verdict is the published one.\n", p->done,
                rate);
        tell_snapshots(run);
        fprintf(out,
                "The catalogs of all %d partitions stand rebuilt, as generation %" PRId64
                ", beside the live ones.\n"
                "See what differs:  certsync-consumer diff --next\n"
                "Make them live:    certsync-consumer promote\n",
                (int)run->op.partitions, run->generation);
        return CS_EXIT_OK;
    }
    fprintf(out,
            "{\"done\":true,\"generation\":%" PRId64 ",\"events\":%" PRId64
            ",\"events_per_second\":%.0f,\"partitions\":[",
            run->generation, p->done, rate);
    for (int32_t i = 0; i < run->op.partitions; i++)
        fprintf(out,
                "%s{\"partition\":%d,\"promoted\":%s,\"offset\":%" PRId64 ",\"outcomes\":%" PRId64
                ",\"snapshot\":%" PRId64 "}",
                i ? "," : "", (int)i, run->parts[i].promoted ? "true" : "false",
                run->parts[i].position.next_offset, run->parts[i].position.outcomes, run->parts[i].snapshot);
    fprintf(out, "]}\n");
    return CS_EXIT_OK;
}

static int run_rebuild(const struct cs_cli *cli) {
    struct rebuild run = {.o = cli->values, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct cs_err err;
    cs_consumer_keep_memory();
    bool ok = do_rebuild(&run, cli, &err);
    cs_progress_end(&run.op.progress);
    int code = ok ? tell(&run) : cs_consumer_failure(cli, &err);
    free(run.parts);
    cs_operator_close(&run.op);
    pthread_mutex_destroy(&run.lock);
    return code;
}

const struct cs_command cs_cmd_rebuild = {
    .name = "rebuild",
    .summary = "Make all catalogs again from the log, beside the live ones",
    .description =
        "Judges the log again with this build into new names in Redis (redis.*) while the "
        "live catalogs "
        "serve, from offset 0, or from snapshots where there are any (snapshot.dir), as far as outcomes are "
        "published; then promote makes the new ones live. Publishes "
        "nothing: every "
        "verdict is held against the published one, and the first that differs ends it, with the "
        "live catalogs left "
        "as they are. A snapshot from which the published verdicts do not come is named, and an older one or "
        "offset 0 taken. Redis needs room for both. One that was interrupted is gone on with when it "
        "is run again.",
    .examples = "certsync-consumer rebuild && certsync-consumer diff --next && certsync-consumer promote",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct rebuild_options),
    .run = run_rebuild,
};
