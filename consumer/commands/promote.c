// SPDX-License-Identifier: Apache-2.0
//
// promote: rebuilt catalogs become the live ones, partition by partition, each in one step.
//
// To switch all partitions at once is not possible: in a Redis Cluster they are on different nodes.
// It is not needed either: all of an account is in one partition. The old catalogs are removed at
// once, because the log can make them again. If you do not trust a build, rebuild with the other
// one.
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/clock.h"
#include "commands/operator.h"
#include "log/rebuild.h"

#define FAR             10000 // outcomes: promote does not catch up with more
#define SWITCH_FOR_MS   30000 // longest time to catch up with the live catalog
#define SWITCH_PAUSE_MS 5

struct promote_options {
    struct cs_operator_options log;
    int64_t max_behind;
};

static const struct cs_opt opts[] = {
    CS_OPERATOR_SETTINGS,
    {.name = "max-behind",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct promote_options, max_behind),
     .value_name = "EVENTS",
     .default_text = "0",
     .text = "Switch a partition where the rebuilt catalog is at most so many events behind the live one, "
             "which its "
             "consumer then catches up with. 0: nobody sees a step back in time."},
    {.name = "json",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct promote_options, log.json),
     .text = "One JSON object on standard output, for programs."},
};

struct promote {
    struct cs_operator op;
    const struct promote_options *o;
    struct cs_rebuild_env env;
    struct cs_rebuilder *rebuilder;
    struct cs_catalog *catalog;
    struct cs_generations *generations; // by partition, as they were at the start
    int64_t generation;                 // the one to promote; 0: none
    int32_t promoted;
    int64_t removed; // keys
};

// --- before

static bool look(struct promote *run, struct cs_err *err) {
    run->generations = calloc((size_t)run->op.partitions, sizeof *run->generations);
    if (!run->generations)
        return cs_err_oom(err);
    for (int32_t p = 0; p < run->op.partitions; p++) {
        struct cs_generations *g = &run->generations[p];
        if (!run->catalog->ops->generations(run->catalog, p, g, err))
            return false;
        if (g->next > run->generation)
            run->generation = g->next;
    }
    return true;
}

// Whether an interrupted run already promoted this partition.
static bool promoted_before(const struct promote *run, int32_t p) {
    return run->generations[p].live >= run->generation;
}

static bool check_complete(const struct promote *run, struct cs_err *err) {
    for (int32_t p = 0; p < run->op.partitions; p++) {
        const struct cs_generations *g = &run->generations[p];
        if (promoted_before(run, p))
            continue;
        if (g->next != run->generation)
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                              "partition %d was not rebuilt; finish with: certsync-consumer rebuild", (int)p);
        // The topic of outcomes also holds what a correction set aside.
        int64_t behind = run->op.outcome_bounds[p].high - g->next_position.outcomes;
        int64_t events = run->op.event_bounds[p].high - g->next_position.next_offset;
        behind = events < behind ? events : behind;
        if (behind > FAR)
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                              "partition %d is rebuilt up to offset %" PRId64 ", about %" PRId64
                              " events behind; finish with: certsync-consumer rebuild",
                              (int)p, g->next_position.next_offset, behind);
    }
    return true;
}

// --- the switch

static bool too_far(const struct promote *run, int32_t p, int64_t behind, struct cs_err *err) {
    return cs_err_set(
        err, CS_ERR_RETRY, CS_CODE_NONE,
        "partition %d: the live catalog is written so fast that the rebuilt one stays %" PRId64
        " events behind; %d of %d partitions are promoted; promote again when less comes in, or with "
        "--max-behind %" PRId64,
        (int)p, behind, (int)run->promoted, (int)run->op.partitions, behind + 1000);
}

static bool switch_over(struct promote *run, int32_t p, struct cs_err *err) {
    const struct cs_clock *clock = cs_clock_real();
    int64_t deadline_ms = cs_clock_mono_ms(clock) + SWITCH_FOR_MS;
    for (;;) {
        int64_t behind = 0;
        bool done = false;
        if (!cs_rebuilder_follow(run->rebuilder, err) ||
            !cs_rebuilder_promote(run->rebuilder, run->o->max_behind, &behind, &done, err))
            return false;
        if (done)
            return true;
        if (cs_clock_mono_ms(clock) > deadline_ms)
            return too_far(run, p, behind, err);
        poll(NULL, 0, SWITCH_PAUSE_MS);
    }
}

static bool promote_partition(struct promote *run, int32_t p, struct cs_err *err) {
    if (promoted_before(run, p)) {
        run->promoted++;
        return true;
    }
    bool ok = cs_rebuilder_begin(run->rebuilder, p, run->generation, err) && switch_over(run, p, err);
    cs_rebuilder_end(run->rebuilder);
    run->promoted += ok;
    return ok;
}

// An interrupted promotion may also have left some of it.
static bool remove_old(struct promote *run, struct cs_err *err) {
    int64_t removed = 0;
    bool ok = run->catalog->ops->sweep_all(run->catalog, run->op.partitions, &removed, err);
    run->removed += removed;
    return ok ||
           cs_err_prepend(err, "the rebuilt catalogs are live, but the old ones are not all removed; promote "
                               "again to do so");
}

static bool do_promote(struct promote *run, const struct cs_cli *cli, struct cs_err *err) {
    if (!cs_operator_open(cli, &run->o->log, CS_OPERATOR_OUTCOMES, &run->op, err) ||
        !cs_operator_catalog(&run->op, &run->catalog, err) || !look(run, err))
        return false;
    run->env.settings = run->op.settings;
    run->env.log_id = run->op.log_id;
    run->env.root_spki = (struct cs_bytes){run->op.root_spki, run->op.root_spki_len};
    run->env.service = run->op.marks ? &run->op.service : NULL;
    run->env.partitions = run->op.partitions;
    run->env.epochs = run->op.epochs;
    if (run->generation > 0) {
        if (!check_complete(run, err) || !cs_rebuilder_new(&run->env, &run->rebuilder, err))
            return false;
        for (int32_t p = 0; p < run->op.partitions; p++)
            if (!promote_partition(run, p, err))
                return false;
    }
    if (!remove_old(run, err))
        return false;
    return run->generation > 0 || run->removed > 0 ||
           cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "there is no rebuilt catalog; make one with: certsync-consumer rebuild");
}

static int tell(const struct promote *run) {
    FILE *out = run->op.cli->out;
    if (run->o->log.json)
        fprintf(out,
                "{\"generation\":%" PRId64
                ",\"promoted\":%d,\"caught_up_events\":%lld,\"removed_keys\":%" PRId64 "}\n",
                run->generation, (int)run->promoted, (long long)atomic_load(&run->env.judged), run->removed);
    else if (run->generation == 0)
        fprintf(out, "removed %" PRId64 " keys that an interrupted promote or rebuild had left\n",
                run->removed);
    else
        fprintf(out,
                "the rebuilt catalogs (generation %" PRId64
                ") of all %d partitions are live; the old ones are "
                "removed (%" PRId64 " keys)\n",
                run->generation, (int)run->promoted, run->removed);
    return CS_EXIT_OK;
}

static void clear(struct promote *run) {
    cs_rebuilder_free(run->rebuilder);
    cs_catalog_free(run->catalog);
    free(run->generations);
    cs_operator_close(&run->op);
    run->rebuilder = NULL;
    run->catalog = NULL;
    run->generations = NULL;
    run->generation = 0;
    run->promoted = 0;
}

static int run_promote(const struct cs_cli *cli) {
    struct promote run = {.o = cli->values};
    struct cs_err err;
    struct cs_patience patience = {0};
    bool ok = false;
    // What an attempt did stays. The next one continues.
    while (!(ok = do_promote(&run, cli, &err)) && cs_operator_wait(&patience, run.promoted, &err))
        clear(&run);
    int code = ok ? tell(&run) : cs_consumer_failure(cli, &err);
    clear(&run);
    return code;
}

const struct cs_command cs_cmd_promote = {
    .name = "promote",
    .summary = "Make rebuilt catalogs the live ones",
    .description = "Catches up with what came in since the rebuild, then switches each partition in one "
                   "step: every answer of "
                   "the API is from the old catalog or from the new one, never from both, and all of an "
                   "account switches "
                   "together. Consumers go on by themselves with the new catalog. The old ones are removed "
                   "afterwards. Refuses "
                   "a rebuild that is not complete, before anything is switched. One that was interrupted is "
                   "finished by "
                   "running it again.",
    .examples = "certsync-consumer promote",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct promote_options),
    .run = run_promote,
};
