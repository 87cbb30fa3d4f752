// SPDX-License-Identifier: Apache-2.0
//
// verify: whether the log, the outcomes and, if asked, the catalogs are right. It trusts nothing
// that was published: this build judges each record again.
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certsync/base/text.h"
#include "commands/verify.h"

static const struct cs_opt opts[] = {
    {.name = "since",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct verify_options, since),
     .value_name = "FILE",
     .text =
         "Prove that the past is the one that was verified before: hold the log against the checkpoints in "
         "this file, and keep the newest ones there if all is well. It is made where it is missing."},
    CS_CHECKPOINT_OPTS(struct verify_options),
    {.name = "witness",
     .kind = CS_OPT_LIST,
     CS_OPT_AT_LIST(struct verify_options, witnesses),
     .value_name = "KEY",
     .text =
         "Fail unless the witness with this key (NAME+ID+KEY) has cosigned a checkpoint of each partition "
         "that has any; may be given several times. Those of the settings are only told."},
    {.name = "witness-age",
     .kind = CS_OPT_DURATION,
     CS_OPT_AT_INT(struct verify_options, witness_age_ms),
     .value_name = "TIME",
     .default_text = "1h",
     .text = "With --witness: how long ago the newest cosignature of a partition may be; of an old dump, as "
             "long as it is old."},
    {.name = "snapshots",
     .kind = CS_OPT_SETTING,
     .setting = "snapshot.dir",
     .value_name = "DIR",
     .text = "Hold the statements of the snapshots in this directory (snapshot.dir) against the replay, "
             "which then "
             "needs the memory of a whole catalog."},
    CS_OPERATOR_OPTS(struct verify_options, log),
    {.name = "redis",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct verify_options, redis),
     .text = "Also hold the catalogs in Redis (redis.*) against the replay."},
    {.name = "complete",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct verify_options, complete),
     .text =
         "A record without an outcome is a fault, also at the end of a partition: nobody judges any more."},
    {.name = "workers",
     .kind = CS_OPT_SETTING,
     .setting = "consumer.workers",
     .value_name = "N",
     .text = "Threads, each with a partition at a time (consumer.workers; 0: as many as there are cores)."},
    {.name = "allow-stray",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct verify_options, allow_stray),
     .text = "Count share events that the service key signed but no decision emitted, instead of failing."},
};

// --- threads

#define LOOK_EVERY_MS 100
#define LANES_MAX     64

// Any derived event that is there now has its cause in the log already when the end of the log is
// read a second time.
static bool note_due(struct verify *v, struct cs_err *err) {
    struct verify_shared *all = v->shared;
    size_t size = (size_t)v->op.partitions * sizeof(struct cs_bounds);
    all->due_events = malloc(size);
    all->due_outcomes = malloc(size);
    if (!all->due_events || !all->due_outcomes)
        return cs_err_oom(err);
    memcpy(all->due_events, v->op.event_bounds, size);
    memcpy(all->due_outcomes, v->op.outcome_bounds, size);
    return cs_operator_look(&v->op, v->op.events, v->op.event_bounds, err);
}

// A lower one may have been found meanwhile.
static void note_fault(struct verify_shared *all, int32_t partition) {
    int before = atomic_load(&all->fault_at);
    while (partition < before && !atomic_compare_exchange_weak(&all->fault_at, &before, partition))
        ;
}

static void *thread_main(void *arg) {
    struct verify *v = arg;
    struct verify_shared *all = v->shared;
    for (;;) {
        int32_t p = atomic_fetch_add(&all->next, 1);
        v->partition = p;
        if (p >= v->op.partitions || cs_verify_needless(v))
            break;
        if (cs_verify_partition(v, p, &v->err))
            continue;
        if (v->fault.kind) {
            note_fault(all, p);
        } else if (!cs_verify_needless(v)) {
            v->failed = true;
            atomic_store(&all->stopping, true);
        }
        break;
    }
    atomic_fetch_sub(&all->running, 1);
    return NULL;
}

static unsigned needs(const struct verify *v) {
    return CS_OPERATOR_OUTCOMES | CS_OPERATOR_REPLAY | (v->o->redis ? 0 : CS_OPERATOR_VERDICTS);
}

// The others look at the log as the first found it.
static bool open_lane(struct verify *lane, const struct verify *first, const struct cs_cli *cli,
                      struct cs_err *err) {
    size_t size = (size_t)first->op.partitions * sizeof(struct cs_bounds);
    if (!cs_operator_open(cli, &first->o->log, needs(first), &lane->op, err))
        return false;
    memcpy(lane->op.event_bounds, first->op.event_bounds, size);
    memcpy(lane->op.outcome_bounds, first->op.outcome_bounds, size);
    lane->op.epochs.len = first->op.epochs.len; // each reads its own, and in the same order
    return !first->o->redis || cs_operator_catalog(&lane->op, &lane->catalog, err);
}

static bool run_lanes(struct verify *lanes, int n, struct cs_err *err) {
    struct verify_shared *all = lanes->shared;
    pthread_t *threads = calloc((size_t)n, sizeof *threads);
    int started = 0;
    if (!threads)
        return cs_err_oom(err);
    atomic_store(&all->running, n);
    while (started < n && pthread_create(&threads[started], NULL, thread_main, &lanes[started]) == 0)
        started++;
    atomic_fetch_sub(&all->running, n - started); // fewer threads do the same work
    while (atomic_load(&all->running) > 0) {
        cs_progress_at(&lanes->op.progress, atomic_load(&all->judged));
        poll(NULL, 0, LOOK_EVERY_MS);
    }
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    free(threads);
    cs_progress_at(&lanes->op.progress, atomic_load(&all->judged));
    return started > 0 ||
           cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "the threads of verify could not be started");
}

static void take_fault(struct verify *first, struct verify *lane) {
    struct verify_fault f = first->fault;
    first->fault = lane->fault;
    lane->fault = f;
}

static void add_counts(struct verify *first, struct verify *lane) {
    if (lane->foreign > 0 && (first->foreign == 0 || lane->foreign_partition < first->foreign_partition)) {
        first->foreign_partition = lane->foreign_partition;
        first->foreign_at = lane->foreign_at;
    }
    first->events += lane->events;
    first->outcomes += lane->outcomes;
    first->copies += lane->copies;
    first->unjudged += lane->unjudged;
    first->derived_events += lane->derived_events;
    first->foreign += lane->foreign;
    first->others += lane->others;
    first->set_aside += lane->set_aside;
    first->waiting += lane->waiting;
    first->keys += lane->keys;
    first->snapshots += lane->snapshots;
    first->old_snapshots += lane->old_snapshots;
    for (int s = 0; s <= CS_STATUS_DUPLICATE; s++)
        first->by_status[s] += lane->by_status[s];
}

// The fault of the lowest partition is told, whichever was found first.
static bool conclude(struct verify *lanes, int n, struct cs_err *err) {
    struct verify *lowest = NULL;
    for (int i = 0; i < n; i++) {
        if (lanes[i].failed)
            *err = lanes[i].err;
        if (lanes[i].fault.kind && (!lowest || lanes[i].fault.partition < lowest->fault.partition))
            lowest = &lanes[i];
    }
    int64_t before = lowest ? lowest->events - lowest->events_before : 0;
    for (int i = 1; i < n; i++)
        add_counts(lanes, &lanes[i]);
    if (lowest && lowest != lanes)
        take_fault(lanes, lowest);
    if (lowest)
        lanes->events_before = lanes->events - before;
    for (int i = 0; !lowest && i < n; i++)
        if (lanes[i].failed)
            return false;
    return !lowest && cs_verify_derived(lanes, err);
}

static bool require_witnesses(struct verify *v, struct cs_err *err) {
    struct verify_shared *all = v->shared;
    for (size_t i = 0; i < v->o->witnesses.count; i++) {
        struct cs_note_key key;
        if (i >= CS_HEADS_WITNESSES)
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "--witness: more than %d are given",
                              CS_HEADS_WITNESSES);
        if (!cs_settings_witness_key(v->op.crypto, v->o->witnesses.items[i], &key, err) ||
            !cs_heads_witness(all->heads, &key, &all->required[i], err))
            return cs_err_prepend(err, "--witness");
    }
    return true;
}

// What is published there is of outcomes that are published, too. So the ends of those are read
// again after it.
static bool read_heads(struct verify *v, struct cs_err *err) {
    struct verify_shared *all = v->shared;
    CS_AUTO(cs_log_free) struct cs_log *checkpoints = NULL;
    const struct cs_checkpoint_source from = {v->o->checkpoint_key, v->o->checkpoints,
                                              v->o->since || v->o->witnesses.count > 0};
    if (!cs_operator_heads(&v->op, &from, &all->heads, &checkpoints, all->why_no_heads,
                           sizeof all->why_no_heads, err))
        return false;
    if (!all->heads)
        return true;
    if (!require_witnesses(v, err))
        return false;
    if (v->o->since && !cs_heads_read(all->heads, v->o->since, err))
        return false;
    for (int32_t p = 0; checkpoints && p < v->op.partitions; p++)
        if (!cs_heads_read_log(all->heads, checkpoints, p, err))
            return false;
    return cs_operator_look(&v->op, v->op.outcomes, v->op.outcome_bounds, err);
}

static void refuse_snapshot(void *arg, const char *path, const char *why) {
    struct verify *v = arg;
    v->shared->refused_snapshots++;
    cs_resume_refused(&v->op, path, why);
}

// What they are of is published, too, as with checkpoints.
static bool read_snapshots(struct verify *v, struct cs_err *err) {
    struct verify_shared *all = v->shared;
    struct cs_snapshot_dir dir;
    if (!cs_resume_dir(&v->op, v->o->checkpoint_key, &dir, all->why_no_snapshots,
                       sizeof all->why_no_snapshots))
        return true;
    if (!(all->snapshots = calloc((size_t)v->op.partitions, sizeof *all->snapshots)))
        return cs_err_oom(err);
    for (int32_t p = 0; p < v->op.partitions; p++)
        if (!cs_snapshots_list(&dir, p, refuse_snapshot, v, &all->snapshots[p], err))
            return false;
    return cs_operator_look(&v->op, v->op.outcomes, v->op.outcome_bounds, err);
}

// Everything that was cosigned has held by now, as all checkpoints have.
static bool check_witnesses(struct verify *v, struct cs_err *err) {
    const struct verify_shared *all = v->shared;
    int64_t now_s = time(NULL);
    for (int32_t p = 0; all->heads && p < v->op.partitions; p++) {
        for (size_t i = 0; cs_heads_any(all->heads, p) && i < v->o->witnesses.count; i++) {
            const char *name = cs_heads_witness_key(all->heads, all->required[i])->name;
            struct cs_head_cosigned at;
            char when[CS_TIME_TEXT_SIZE];
            if (!cs_heads_cosigned(all->heads, p, all->required[i], &at))
                return cs_verify_unwitnessed(v, p, err, "the witness %s has cosigned nothing of it", name);
            cs_time_format(at.time_s, when);
            if (now_s - at.time_s > v->o->witness_age_ms / 1000)
                return cs_verify_unwitnessed(
                    v, p, err, "the newest cosignature of the witness %s is of %s, which is too long ago",
                    name, when);
        }
    }
    return true;
}

static bool do_verify(struct verify *lanes, int *lanes_len, const struct cs_cli *cli, struct cs_err *err) {
    struct verify *v = lanes;
    if (!cs_operator_open(cli, &v->o->log, needs(v), &v->op, err) || !read_heads(v, err) ||
        !read_snapshots(v, err) || !note_due(v, err) || !cs_crypto_new(&v->shared->crypto, err) ||
        !cs_derived_check_new(v->shared->crypto, &v->op.epochs, &v->shared->derived, err) ||
        (v->o->redis && !cs_operator_catalog(&v->op, &v->catalog, err)))
        return false;
    int n = cs_settings_workers(v->op.settings, v->op.partitions);
    for (; *lanes_len < n && *lanes_len < LANES_MAX; ++*lanes_len)
        if (!open_lane(&lanes[*lanes_len], v, cli, err)) {
            ++*lanes_len; // closed as the others
            return false;
        }
    cs_progress_start(&v->op.progress, cli->screen, "verify", cs_operator_total(&v->op));
    return run_lanes(lanes, *lanes_len, err) && conclude(lanes, *lanes_len, err) && check_witnesses(v, err) &&
           (!v->o->since || cs_heads_write(v->shared->heads, v->o->since, err));
}

static void close_lane(struct verify *v) {
    cs_compare_free(v->compare);
    cs_catalog_free(v->catalog);
    cs_buf_clear(&v->fault.published);
    cs_buf_clear(&v->fault.judged);
    free(v->hashes);
    free(v->old);
    cs_operator_close(&v->op);
}

static int run_verify(const struct cs_cli *cli) {
    struct verify_shared all = {.lock = PTHREAD_MUTEX_INITIALIZER, .fault_at = INT_MAX};
    struct verify *lanes = calloc(LANES_MAX, sizeof *lanes);
    int lanes_len = 1;
    struct cs_err err;
    if (!lanes) {
        (void)cs_err_oom(&err);
        return cs_consumer_failure(cli, &err);
    }
    for (int i = 0; i < LANES_MAX; i++) {
        lanes[i].o = cli->values;
        lanes[i].shared = &all;
        cs_buf_init(&lanes[i].fault.published, CS_EVENT_MAX);
        cs_buf_init(&lanes[i].fault.judged, CS_EVENT_MAX);
    }
    bool ok = do_verify(lanes, &lanes_len, cli, &err);
    cs_progress_end(&lanes->op.progress);
    int code = !ok && !lanes->fault.kind ? cs_consumer_failure(cli, &err)
               : lanes->o->log.json      ? cs_verify_tell_json(lanes)
                                         : cs_verify_tell(lanes);
    cs_derived_check_free(all.derived);
    cs_crypto_free(all.crypto);
    cs_heads_free(all.heads);
    for (int32_t p = 0; all.snapshots && p < lanes->op.partitions; p++)
        cs_snapshots_clear(&all.snapshots[p]);
    free(all.snapshots);
    for (int i = lanes_len; i-- > 0;)
        close_lane(&lanes[i]);
    free(all.due_events);
    free(all.due_outcomes);
    free(lanes);
    return code;
}

const struct cs_command cs_cmd_verify = {
    .name = "verify",
    .summary = "Prove the outcomes from the log alone",
    .description =
        "Reads all of cert.events and cert.outcomes, judges each record again, and proves: outcome numbers "
        "have no gap (records that no consumer wrote count for nothing, and are named), "
        "and of each number all copies are alike; the chain of hashes is unbroken; each outcome names the "
        "hash of the "
        "record at its offset; each record has exactly one outcome; signatures are valid and verdicts the "
        "same as this "
        "build's; derived events are those that were decided; signed checkpoints (cert.checkpoints) are of "
        "these "
        "outcomes. With --redis: the catalogs are the replay's. With --since: the past is the one that was "
        "verified before, whoever wrote to the brokers meanwhile, the operator too. With --witness: somebody "
        "else has seen the same past lately. With --snapshots: signed statements of snapshots are true.\n\n"
        "Needs neither Redis nor the service key, publishes nothing, and works on a live system: records "
        "that came in "
        "last may have no outcome yet. Ends at the first fault, says what and where, and exits with 1.",
    .examples =
        "certsync-consumer verify --redis\n"
        "certsync-consumer verify --since heads.txt\n"
        "kcat -C -J -e -X isolation.level=read_uncommitted -b BROKERS -t cert.outcomes > outcomes.json\n"
        "kcat -C -J -e -X isolation.level=read_uncommitted -b BROKERS -t cert.events > events.json\n"
        "certsync-consumer verify --events events.json --outcomes outcomes.json --deployment prod --root-key "
        "root.pub",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct verify_options),
    .run = run_verify,
};
