// SPDX-License-Identifier: Apache-2.0
//
// snapshot: each partition's catalog as the log makes it, into a file that one may go on from.
#include <inttypes.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "commands/resume.h"

struct snapshot_options {
    struct cs_operator_options log;
    int64_t partition;
};

static const struct cs_opt opts[] = {
    {.name = "dir",
     .kind = CS_OPT_SETTING,
     .setting = "snapshot.dir",
     .value_name = "DIR",
     .text = "Where the snapshots are (snapshot.dir). It is made where it is missing."},
    {.name = "partition",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct snapshot_options, partition),
     .value_name = "P",
     .default_text = "-1",
     .min = -1,
     .max = 100000,
     .text = "Only of this partition; -1: of all."},
    {.name = "every",
     .kind = CS_OPT_SETTING,
     .setting = "snapshot.every",
     .value_name = "N",
     .text =
         "Only of partitions with so many outcomes since their newest one (snapshot.every; 0: with any)."},
    {.name = "keep",
     .kind = CS_OPT_SETTING,
     .setting = "snapshot.keep",
     .value_name = "N",
     .text = "Remove older ones, but so many of each partition (snapshot.keep; 0: remove none)."},
    CS_OPERATOR_OPTS(struct snapshot_options, log),
    {.name = "service-key",
     .kind = CS_OPT_SETTING,
     .setting = "deployment.service_key",
     .value_name = "FILE",
     .text = "File with the service private key (deployment.service_key), which signs them."},
};

struct snapshot_run {
    struct cs_operator op;
    const struct snapshot_options *o;
    struct cs_snapshot_dir dir;
    struct cs_note_signer *signer;
    struct cs_buf told;
};

static bool open_dir(struct snapshot_run *run, struct cs_err *err) {
    struct cs_operator *op = &run->op;
    const char *path = op->settings->snapshot_dir;
    if (!path[0])
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "it is not known where the snapshots are: give --dir DIR, or set snapshot.dir");
    if (run->o->partition >= op->partitions)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "--partition: %s has the partitions 0 to %d",
                          op->events->name, (int)op->partitions - 1);
    if (!op->log_id[0])
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "%s has no genesis record, which gives the log its id: run certsync-consumer init",
                          op->events->name);
    if (!op->service.own) {
        *err = op->why_no_service;
        return cs_err_prepend(err, "the service key signs snapshots");
    }
    if (!cs_checkpoint_signer(op->crypto, op->service.own, op->log_id, &run->signer, err))
        return false;
    run->dir = (struct cs_snapshot_dir){
        .path = path, .crypto = op->crypto, .key = *cs_note_signer_key(run->signer), .log_id = op->log_id};
    return true;
}

// What is not as it was published is not signed.
static bool compare(const struct snapshot_run *run, const struct cs_record *published,
                    const struct cs_record *event, const struct cs_replayed *mine, struct cs_err *err) {
    return cs_bytes_equal(published->value, mine->outcome_json) ||
           cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                      "outcome %" PRId64
                      " of partition %d is not what this build makes of the record at offset %" PRId64
                      " of %s: no snapshot was made of it; certsync-consumer verify says more",
                      mine->outcome.n, (int)event->partition, event->offset, run->op.events->name);
}

// As far as outcomes are published.
static bool judge(struct snapshot_run *run, int32_t p, struct cs_chain *chain, int64_t *ret_judged,
                  struct cs_err *err) {
    struct cs_operator *op = &run->op;
    struct cs_log *log = op->events;
    bool end = p >= log->partitions;
    if (!end &&
        !log->ops->start(log, p, cs_replay_position(op->replay)->next_offset, op->event_bounds[p].high, err))
        return false;
    for (;;) {
        struct cs_record published, event;
        struct cs_replayed mine;
        bool no_more = false;
        if (!cs_operator_published(op, p, chain, &published, &no_more, err))
            return false;
        if (no_more)
            return true;
        if (!end && !log->ops->next(log, &event, &end, err))
            return false;
        if (end)
            return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                              "outcome %" PRId64 " of partition %d is of no record: %s ends before it; "
                              "certsync-consumer verify says more",
                              chain->last, (int)p, log->name);
        if (!cs_replay_record(op->replay, &event, &mine, err) ||
            !compare(run, &published, &event, &mine, err))
            return false;
        ++*ret_judged;
        cs_progress_step(&op->progress);
    }
}

struct made {
    struct cs_snapshot before, now;
    int64_t judged, bytes, removed;
    int64_t waiting; // outcomes since the newest one, which are too few; -1: they are not
};

static void tell(struct snapshot_run *run, int32_t p, const struct made *m) {
    struct cs_buf *b = &run->told;
    if (!run->o->log.json) {
        if (m->waiting >= 0)
            cs_buf_printf(b, "partition %d: at most %" PRId64 " outcomes since the last snapshot\n", (int)p,
                          m->waiting);
        else if (m->bytes > 0)
            cs_buf_printf(b,
                          "partition %d: %" PRId64 " outcomes, %" PRId64 " bytes; %" PRId64
                          " records were judged, from %s on\n",
                          (int)p, m->now.at.size, m->bytes, m->judged,
                          m->before.at.size ? "the last snapshot" : "the first");
        else
            cs_buf_printf(b, "partition %d: nothing new since %" PRId64 " outcomes\n", (int)p,
                          m->before.at.size);
        return;
    }
    cs_json_begin(b, '{');
    cs_json_int(b, "partition", p);
    cs_json_int(b, "outcomes", m->now.at.size);
    cs_json_int(b, "offset", m->now.next_offset);
    cs_json_int(b, "from", m->before.at.size);
    cs_json_int(b, "judged", m->judged);
    cs_json_int(b, "bytes", m->bytes);
    cs_json_int(b, "removed", m->removed);
    cs_json_end(b, '}');
}

static void unheard(void *arg, const char *path, const char *why) {
    (void)arg, (void)path, (void)why; // whoever takes one says it
}

// Outcomes since the newest statement, at most: the topic may hold copies. -1: there are enough.
static bool too_few(struct snapshot_run *run, int32_t p, struct made *m, struct cs_err *err) {
    CS_AUTO(cs_snapshots_clear) struct cs_snapshot_list list = {0};
    if (!cs_snapshots_list(&run->dir, p, unheard, NULL, &list, err))
        return false;
    const struct cs_snapshot *newest = NULL;
    for (size_t i = list.len; !newest && i-- > 0;) {
        bool set_aside = false;
        struct cs_err unknown;
        if (cs_snapshot_counts(&run->op.epochs, p, &list.items[i], &set_aside, &unknown) && !set_aside)
            newest = &list.items[i];
    }
    int64_t since = newest ? run->op.outcome_bounds[p].high - newest->at.size : INT64_MAX;
    m->waiting = newest && since < run->op.settings->snapshot_every ? since : -1;
    if (m->waiting >= 0)
        m->before = m->now = *newest;
    return true;
}

static bool thin(struct snapshot_run *run, int32_t p, struct made *m, struct cs_err *err) {
    const struct cs_consumer_settings *s = run->op.settings;
    CS_AUTO(cs_snapshots_clear) struct cs_snapshot_list list = {0};
    return cs_snapshots_list(&run->dir, p, unheard, NULL, &list, err) &&
           cs_snapshots_thin(&run->dir, p, &list, &run->op.epochs, s->snapshot_checked, s->snapshot_keep,
                             &m->removed, err);
}

static bool make(struct snapshot_run *run, int32_t p, struct made *m, struct cs_err *err) {
    struct cs_operator *op = &run->op;
    struct cs_chain chain = {0};
    struct cs_resume from = {.dir = &run->dir, .partition = p, .chain = &chain};
    if (!cs_resume(op, &from, err) || !judge(run, p, &chain, &m->judged, err))
        return false;
    m->before = m->now = from.snapshot;
    return m->judged == 0 || cs_snapshot_save(&run->dir, run->signer, p, cs_replay_state(op->replay),
                                              cs_replay_position(op->replay), &m->now, &m->bytes, err);
}

static bool snapshot_partition(struct snapshot_run *run, int32_t p, struct cs_err *err) {
    struct made m = {0};
    if (run->op.event_bounds[p].low > 0)
        return cs_operator_deleted(&run->op, p, err);
    if (!too_few(run, p, &m, err) || (m.waiting < 0 && !make(run, p, &m, err)) || !thin(run, p, &m, err))
        return false;
    tell(run, p, &m);
    return true;
}

static bool do_snapshot(struct snapshot_run *run, const struct cs_cli *cli, struct cs_err *err) {
    struct cs_operator *op = &run->op;
    int32_t only = (int32_t)run->o->partition;
    if (!cs_operator_open(cli, &run->o->log, CS_OPERATOR_OUTCOMES | CS_OPERATOR_REPLAY, op, err) ||
        !open_dir(run, err))
        return false;
    cs_progress_start(&op->progress, cli->screen, "snapshot", cs_operator_total(op));
    if (run->o->log.json) {
        cs_json_begin(&run->told, '{');
        cs_json_name(&run->told, "snapshots");
        cs_json_begin(&run->told, '[');
    }
    for (int32_t p = only < 0 ? 0 : only; p < (only < 0 ? op->partitions : only + 1); p++)
        if (!snapshot_partition(run, p, err))
            return false;
    if (run->o->log.json) {
        cs_json_end(&run->told, ']');
        cs_json_end(&run->told, '}');
    }
    return true;
}

static int run_snapshot(const struct cs_cli *cli) {
    struct snapshot_run run = {.o = cli->values};
    struct cs_err err;
    cs_buf_init(&run.told, (size_t)16 * 1024 * 1024);
    bool ok = do_snapshot(&run, cli, &err);
    cs_progress_end(&run.op.progress);
    if (ok && !run.o->log.json && run.told.len > 0)
        run.told.data[--run.told.len] = 0; // the printer ends the line
    int code = ok ? cs_operator_print(&run.op, &run.told, CS_EXIT_OK) : cs_consumer_failure(cli, &err);
    cs_buf_clear(&run.told);
    cs_note_signer_free(run.signer);
    cs_operator_close(&run.op);
    return code;
}

const struct cs_command cs_cmd_snapshot = {
    .name = "snapshot",
    .summary = "Write each partition's catalog to a file that one may go on from",
    .description =
        "Judges the records of each partition again in memory, from its newest snapshot on, as far as "
        "outcomes are "
        "published, and compares each with the published one. Then it writes the catalog to a file, and a "
        "statement of it, signed with the service key. Needs no Redis, publishes nothing, and works on a "
        "live "
        "system.\n\n"
        "A snapshot saves time, and is never the truth: that is the log. One that is cut, altered, of "
        "another log or "
        "not signed is not used: the command says so and takes an older one, or begins at the first record. "
        "It removes old ones (snapshot.keep). Let a timer run it each hour. verify --snapshots proves each "
        "statement that it passes.",
    .examples = "certsync-consumer snapshot --dir /var/lib/certsync-consumer/snapshots\n"
                "certsync-consumer verify --snapshots /var/lib/certsync-consumer/snapshots",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct snapshot_options),
    .run = run_snapshot,
};
