// SPDX-License-Identifier: Apache-2.0
#include "commands/operator.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/runtime/clock.h"
#include "log/open_catalog.h"
#include "worker/keyfile.h"

#define PATIENCE_MS       60000
#define PATIENCE_PAUSE_MS 1000

// The service key signs what is published, and authenticates what is in Redis. Most commands do
// neither, so it may be missing: open_catalog.h says so where it is needed.
static bool load_settings(const struct cs_cli *cli, struct cs_consumer_settings **ret, struct cs_err *err) {
    if (cs_consumer_settings_load(cli, ret, err))
        return true;
    struct cs_settings_override *overrides = calloc(cli->override_count + 1, sizeof *overrides);
    if (!overrides)
        return cs_err_oom(err);
    if (cli->override_count > 0)
        memcpy(overrides, cli->overrides, cli->override_count * sizeof *overrides);
    overrides[cli->override_count] =
        (struct cs_settings_override){"deployment.service_key", CS_SERVICE_KEY_UNSET, "operator commands"};
    struct cs_cli with = *cli;
    with.overrides = overrides;
    with.override_count = cli->override_count + 1;
    bool ok = cs_consumer_settings_load(&with, ret, err);
    free(overrides);
    return ok;
}

static bool open_log(const struct cs_operator *op, const char *file, const char *topic, struct cs_log **ret,
                     struct cs_err *err) {
    return file ? cs_log_open_dump(file, ret, err) : cs_log_open_kafka(&op->settings->kafka, topic, ret, err);
}

static bool check_genesis(struct cs_operator *op, const struct cs_event *ev, struct cs_err *err) {
    if (strcmp(ev->data.genesis.deployment, op->settings->deployment) != 0)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "%s belongs to deployment %s, not to %s (deployment.id)", op->events->name,
                          ev->data.genesis.deployment, op->settings->deployment);
    memcpy(op->log_id, ev->log_id, sizeof ev->log_id);
    if (op->options->events) // a dump does not hold a partition that nobody wrote to
        op->partitions = ev->data.genesis.partitions;
    return op->partitions >= op->events->partitions ||
           cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s holds partition %d, the deployment has %d",
                      op->events->name, (int)op->events->partitions - 1, (int)op->partitions);
}

// Each partition begins with the genesis record. It names the deployment and the number of
// partitions. That it is genuine is judged later, like all records.
static bool find_genesis(struct cs_operator *op, struct cs_err *err) {
    struct cs_log *log = op->events;
    for (int32_t p = 0; p < log->partitions; p++) {
        struct cs_record r;
        struct cs_bounds bounds;
        bool end = false;
        CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
        struct cs_err ignored;
        if (!log->ops->bounds(log, p, &bounds.low, &bounds.high, err))
            return false;
        if (bounds.low > 0 || bounds.high == 0)
            continue;
        if (!log->ops->start(log, p, 0, 1, err) || !log->ops->next(log, &r, &end, err))
            return false;
        if (!end && r.value.data && cs_event_decode(r.value, &ev, &ignored) &&
            ev->type == CS_EVENT_SYSTEM_GENESIS)
            return check_genesis(op, ev, err);
    }
    return !op->options->events ||
           cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "%s holds no genesis record: dump the whole topic, from its beginning", log->name);
}

bool cs_operator_look(struct cs_operator *op, struct cs_log *log, struct cs_bounds *ret, struct cs_err *err) {
    for (int32_t p = 0; p < op->partitions; p++) {
        ret[p] = (struct cs_bounds){0};
        if (p < log->partitions && !log->ops->bounds(log, p, &ret[p].low, &ret[p].high, err))
            return false;
    }
    return true;
}

static bool look(struct cs_operator *op, struct cs_err *err) {
    size_t n = (size_t)op->partitions;
    op->event_bounds = calloc(n, sizeof *op->event_bounds);
    op->outcome_bounds = calloc(n, sizeof *op->outcome_bounds);
    if (!op->event_bounds || !op->outcome_bounds)
        return cs_err_oom(err);
    if (op->outcomes && op->outcomes->partitions > op->partitions)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s has %d partitions, %s has %d",
                          op->outcomes->name, (int)op->outcomes->partitions, op->events->name,
                          (int)op->partitions);
    return (!op->outcomes || cs_operator_look(op, op->outcomes, op->outcome_bounds, err)) &&
           cs_operator_look(op, op->events, op->event_bounds, err);
}

// Before outcomes are read: those of an epoch come after its correction.
static bool read_corrections(struct cs_operator *op, struct cs_err *err) {
    const struct cs_corrections_of of = {op->log_id, {op->root_spki, op->root_spki_len}, op->partitions};
    const char *dump = op->options->corrections;
    if (!cs_corrections_new(&of, &op->corrections, err))
        return false;
    if (!dump && op->options->events)
        return true;
    if (!open_log(op, dump, op->settings->corrections_topic, &op->corrections_log, err) ||
        !cs_corrections_read_log(op->corrections, op->corrections_log, &op->corrections_others,
                                 &op->corrections_why, err))
        return false;
    op->epochs = cs_corrections_now(op->corrections);
    return true;
}

static bool open_logs(struct cs_operator *op, unsigned needs, struct cs_err *err) {
    const struct cs_operator_options *o = op->options;
    if (!open_log(op, o->events, op->settings->events_topic, &op->events, err) ||
        ((needs & CS_OPERATOR_OUTCOMES) &&
         !open_log(op, o->outcomes, op->settings->outcomes_topic, &op->outcomes, err)))
        return false;
    op->partitions = op->events->partitions;
    return find_genesis(op, err) && look(op, err) && read_corrections(op, err);
}

// Auditors have none, and may not be able to read it.
static bool read_service_key(struct cs_operator *op, struct cs_err *err) {
    const char *path = op->settings->service_key;
    if (strcmp(path, CS_SERVICE_KEY_UNSET) == 0)
        (void)cs_err_set(&op->why_no_service, CS_ERR_CONFIG, CS_CODE_NONE,
                         "deployment.service_key is not set");
    else if (cs_service_keys_read(op->crypto, op->settings, &op->service, &op->why_no_service))
        return cs_outcome_marks_new(op->crypto, &op->service, op->log_id, &op->marks, err);
    return true;
}

bool cs_operator_open(const struct cs_cli *cli, const struct cs_operator_options *options, unsigned needs,
                      struct cs_operator *ret, struct cs_err *err) {
    struct cs_operator *op = ret;
    *op = (struct cs_operator){.cli = cli, .options = options};
    if ((needs & CS_OPERATOR_OUTCOMES) && !options->events != !options->outcomes)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "--events and --outcomes belong together: give both or neither");
    if (!load_settings(cli, &op->settings, err) || !cs_crypto_new(&op->crypto, err) ||
        !cs_keyfile_spki(op->crypto, op->settings->root_key, &op->root_spki, &op->root_spki_len, err) ||
        !open_logs(op, needs, err) || !read_service_key(op, err))
        return false;
    // A snapshot is of all documents.
    bool verdicts_only = (needs & CS_OPERATOR_VERDICTS) && !op->settings->snapshot_dir[0];
    struct cs_replay_options replay = {
        op->log_id, {op->root_spki, op->root_spki_len}, op->partitions, op->epochs, verdicts_only};
    return !(needs & CS_OPERATOR_REPLAY) || cs_replay_new(&replay, &op->replay, err);
}

void cs_operator_close(struct cs_operator *op) {
    cs_progress_end(&op->progress);
    cs_replay_free(op->replay);
    cs_log_free(op->events);
    cs_log_free(op->outcomes);
    cs_log_free(op->corrections_log);
    cs_corrections_free(op->corrections);
    free(op->event_bounds);
    free(op->outcome_bounds);
    free(op->root_spki);
    cs_outcome_marks_free(op->marks);
    cs_service_keys_clear(&op->service);
    cs_crypto_free(op->crypto);
    cs_settings_free(&cs_consumer_settings_table, op->settings);
    *op = (struct cs_operator){0};
}

bool cs_operator_catalog(const struct cs_operator *op, struct cs_catalog **ret, struct cs_err *err) {
    return cs_catalog_of(op->settings, op->log_id, ret, err);
}

static bool service_key_of(struct cs_operator *op, struct cs_note_key *ret, struct cs_err *err) {
    CS_AUTO(cs_note_signer_free) struct cs_note_signer *signer = NULL;
    if (strcmp(op->settings->service_key, CS_SERVICE_KEY_UNSET) == 0)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "the key that verifies checkpoints is not known; give --checkpoint-key, as "
                          "certsync-consumer checkpoint-key prints it, or deployment.service_key");
    if (!op->service.own)
        *err = op->why_no_service;
    if (!op->service.own || !cs_checkpoint_signer(op->crypto, op->service.own, op->log_id, &signer, err))
        return false;
    *ret = *cs_note_signer_key(signer);
    return true;
}

bool cs_operator_checkpoint_key(struct cs_operator *op, const char *text, struct cs_note_key *ret,
                                struct cs_err *err) {
    const char *log_id = op->log_id;
    if (!log_id[0])
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "%s has no genesis record, which gives the log its id: run certsync-consumer init",
                          op->events->name);
    if (!text)
        return service_key_of(op, ret, err);
    if (!cs_note_key_parse(op->crypto, text, ret, err))
        return cs_err_prepend(err, "--checkpoint-key");
    return strcmp(ret->name, log_id) == 0 ||
           cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "--checkpoint-key is the key of the log %s, and this log is %s", ret->name, log_id);
}

// The witnesses of the settings.
static bool add_witnesses(const struct cs_operator *op, struct cs_heads *heads, struct cs_err *err) {
    for (size_t i = 0; i < op->settings->witnesses.count; i++) {
        struct cs_note_key key;
        size_t ignored;
        if (!cs_settings_witness_key(op->crypto, cs_settings_witness(op->settings, i)->key, &key, err) ||
            !cs_heads_witness(heads, &key, &ignored, err))
            return false;
    }
    return true;
}

bool cs_operator_heads(struct cs_operator *op, const struct cs_checkpoint_source *from, struct cs_heads **ret,
                       struct cs_log **ret_log, char *why, size_t why_size, struct cs_err *err) {
    CS_AUTO(cs_heads_free) struct cs_heads *heads = NULL;
    struct cs_note_key key;
    bool readable = from->dump || !op->options->events;
    *ret = NULL;
    *ret_log = NULL;
    if (!from->must && !readable) {
        snprintf(why, why_size, "no dump of cert.checkpoints was given (--checkpoints)");
        return true;
    }
    if (!cs_operator_checkpoint_key(op, from->key, &key, err)) {
        if (from->must || from->key)
            return false;
        snprintf(why, why_size, "%s", err->msg);
        return true;
    }
    if (!cs_heads_new(op->crypto, &key, op->log_id, op->partitions, &op->epochs, &heads, err) ||
        !add_witnesses(op, heads, err) ||
        (readable && !open_log(op, from->dump, op->settings->checkpoints_topic, ret_log, err)))
        return false;
    *ret = CS_TAKE(heads);
    return true;
}

int64_t cs_operator_total(const struct cs_operator *op) {
    int64_t total = 0;
    for (int32_t p = 0; p < op->partitions; p++)
        total += op->event_bounds[p].high - op->event_bounds[p].low;
    return total;
}

void cs_operator_begin_list(struct cs_operator *op, const char *name) {
    if (op->options->json)
        fprintf(op->cli->out, "{\"%s\":[", name);
    op->in_list = true;
}

int cs_operator_failure(const struct cs_operator *op, const struct cs_cli *cli, const struct cs_err *err) {
    return cs_consumer_failure_in(cli, op->in_list ? "]," : "{", err);
}

int cs_operator_print(const struct cs_operator *op, const struct cs_buf *out, int code) {
    struct cs_err err;
    if (!cs_buf_ok(out, &err))
        return cs_consumer_failure(op->cli, &err);
    fwrite(out->data, 1, out->len, op->cli->out);
    fputc('\n', op->cli->out);
    return code;
}

bool cs_operator_wait(struct cs_patience *p, int64_t reached, struct cs_err *err) {
    int64_t now_ms = cs_clock_mono_ms(cs_clock_real());
    if (err->kind != CS_ERR_RETRY)
        return false;
    if (p->since_ms == 0 || reached > p->reached)
        p->since_ms = now_ms;
    p->reached = reached;
    if (now_ms - p->since_ms > PATIENCE_MS)
        return cs_err_prepend(err, "it does not get on; what is done stays, run it again");
    poll(NULL, 0, PATIENCE_PAUSE_MS);
    return true;
}

static bool not_a_moment(const char *text, struct cs_err *err) {
    return cs_err_set(
        err, CS_ERR_CONFIG, CS_CODE_NONE,
        "%.64s is neither [PARTITION:]OFFSET nor a time such as 2026-11-23T12:00:00Z or 2026-11-23", text);
}

bool cs_moment_parse_time(const char *text, struct cs_moment *ret, struct cs_err *err) {
    int64_t time_s = 0;
    char whole[32];
    size_t len = strlen(text);
    if (len == 10) { // a day: up to its end
        snprintf(whole, sizeof whole, "%sT23:59:59Z", text);
        text = whole;
        len = strlen(whole);
    }
    if (!cs_time_parse(text, len, &time_s))
        return not_a_moment(text, err);
    // The time is in seconds: includes the whole second.
    *ret = (struct cs_moment){.given = true, .partition = -1, .offset = -1, .time_ms = time_s * 1000 + 999};
    return true;
}

bool cs_moment_parse(const char *text, struct cs_moment *ret, struct cs_err *err) {
    char *end = NULL;
    long long n = strtoll(text, &end, 10);
    struct cs_moment m = {.given = true, .partition = -1, .offset = n};
    if (end == text || n < 0)
        return not_a_moment(text, err);
    if (*end == ':') {
        const char *offset = end + 1;
        if (n > INT32_MAX)
            return not_a_moment(text, err);
        m.partition = (int32_t)n;
        m.offset = strtoll(offset, &end, 10);
        if (end == offset || m.offset < 0)
            return not_a_moment(text, err);
    }
    if (*end != '\0')
        return cs_moment_parse_time(text, ret, err);
    *ret = m;
    return true;
}

bool cs_moment_before(const struct cs_moment *m, const struct cs_record *r) {
    if (!m->given || (m->partition >= 0 && m->partition != r->partition))
        return false;
    return m->offset >= 0 ? r->offset >= m->offset : r->timestamp_ms > m->time_ms;
}

bool cs_operator_deleted(const struct cs_operator *op, int32_t partition, struct cs_err *err) {
    return cs_err_set(
        err, CS_ERR_FATAL, CS_CODE_NONE,
        "%s partition %d begins at offset %lld: records were deleted, and without them nothing can be "
        "judged again",
        op->events->name, (int)partition, (long long)op->event_bounds[partition].low);
}

// Each partition begins with the same record.
static bool same_log(const struct cs_operator *op, const struct cs_record *r, struct cs_err *err) {
    CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
    struct cs_err ignored;
    if (r->offset > 0 || !r->value.data || !cs_event_decode(r->value, &ev, &ignored) ||
        ev->type != CS_EVENT_SYSTEM_GENESIS || strcmp(ev->log_id, op->log_id) == 0)
        return true;
    return cs_err_set(
        err, CS_ERR_CONFIG, CS_CODE_NONE,
        "%s holds two logs: partition %d begins with log %s, another with log %s; restore it from "
        "one of them",
        op->events->name, (int)r->partition, ev->log_id, op->log_id);
}

bool cs_operator_walk(struct cs_operator *op, int32_t partition, const struct cs_moment *until, cs_walk_fn fn,
                      void *arg, struct cs_err *err) {
    cs_replay_begin(op->replay, partition);
    return cs_operator_walk_on(op, partition, until, fn, arg, err);
}

bool cs_operator_walk_on(struct cs_operator *op, int32_t partition, const struct cs_moment *until,
                         cs_walk_fn fn, void *arg, struct cs_err *err) {
    struct cs_log *log = op->events;
    int64_t from = cs_replay_position(op->replay)->next_offset;
    bool end = partition >= log->partitions;
    if (op->event_bounds[partition].low > 0)
        return cs_operator_deleted(op, partition, err);
    if (!end && !log->ops->start(log, partition, from, op->event_bounds[partition].high, err))
        return false;
    while (!end) {
        struct cs_record r;
        struct cs_replayed mine;
        if (!log->ops->next(log, &r, &end, err))
            return false;
        if (end || cs_moment_before(until, &r))
            break;
        if (!same_log(op, &r, err))
            return false;
        if (!cs_replay_record(op->replay, &r, &mine, err) || !fn(arg, &r, &mine, err))
            return false;
        cs_progress_step(&op->progress);
    }
    return true;
}

bool cs_operator_published(struct cs_operator *op, int32_t partition, struct cs_chain *chain,
                           struct cs_record *ret, bool *ret_end, struct cs_err *err) {
    struct cs_log *log = op->outcomes;
    *ret_end = partition >= log->partitions;
    if (!*ret_end && chain->last == 0) {
        cs_chain_begin(chain, op->marks, &op->epochs, partition, 0, NULL, 0);
        if (!log->ops->start(log, partition, 0, op->outcome_bounds[partition].high, err))
            return false;
    }
    while (!*ret_end) {
        int64_t n = 0;
        if (!log->ops->next(log, ret, ret_end, err))
            return false;
        if (*ret_end)
            return !cs_chain_is_unmarked(chain, log->name, err);
        enum cs_chain_link link = cs_chain_take(chain, op->crypto, ret, &n);
        if (link == CS_CHAIN_NEXT)
            return true;
        // A number with the hash of another one is shown all the same. To prove the chain, there is
        // verify.
        if (link == CS_CHAIN_BROKEN && n == chain->last + 1) {
            chain->last = n;
            cs_crypto_sha256(op->crypto, ret->value, chain->sha256);
            return true;
        }
        if (link == CS_CHAIN_BROKEN || link == CS_CHAIN_NEWER)
            return cs_chain_broken(chain, link, log->name, ret, n, err);
    }
    return true;
}
