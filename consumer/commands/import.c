// SPDX-License-Identifier: Apache-2.0
//
// import: an export into new topics of another cluster, each record at its offset and with its time.
//
// The topics are made with CreateTime, so that the broker keeps the times. At the end they get
// LogAppendTime for whatever comes later. Records that were judged keep the time by which they were
// judged: their outcomes prove it. An event that nobody judged yet comes after the switch, and gets
// the new broker's time: no rule may read a time that nobody proves.
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/clock.h"
#include "certsync/runtime/kafka.h"
#include "commands/operator.h"
#include "log/import.h"
#include "log/init.h"
#include "worker/keyfile.h"

#define TIMEOUT_MS    60000
#define RECORD_ROOM   65536 // beside the bytes of the largest record
#define RECORD_USUAL  ((size_t)1000000)
#define POLL_MS       50
#define SWITCH_SEEN   1000 // after the brokers say that a topic has another type of time
#define MANY_IN_QUEUE 50000

struct import_options {
    bool json;
    int64_t replication;
    const char *dir;
};

static const struct cs_opt opts[] = {
    {.name = "deployment",
     .kind = CS_OPT_SETTING,
     .setting = "deployment.id",
     .value_name = "ID",
     .text = "Name of the deployment (deployment.id)."},
    {.name = "replication",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct import_options, replication),
     .value_name = "R",
     .default_text = "3",
     .min = 1,
     .max = 9,
     .text = "Copies of each partition; 3 and more also ask for two in sync."},
    {.name = "json",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct import_options, json),
     .text = "One JSON object on standard output, for programs."},
};
static const struct cs_arg args[] = {
    {.name = "DIR", CS_OPT_AT_STR(struct import_options, dir), .text = "Directory of the export."},
};

struct import_run {
    const struct cs_cli *cli;
    const struct import_options *o;
    struct cs_consumer_settings *s;
    struct cs_crypto *crypto;
    struct cs_export x;
    struct cs_log *from[CS_EXPORT_PARTS];
    struct cs_import_check check;
    rd_kafka_t *rk;
    struct cs_progress progress;
    int64_t written, late; // records; of these, events that come after the switch
    // What the producer reports.
    int64_t sent, acknowledged;
    bool failed;
    struct cs_err failure;
};

static const char *topic_of(const struct import_run *run, enum cs_export_part part) {
    return part == CS_EXPORT_EVENTS     ? run->s->events_topic
           : part == CS_EXPORT_OUTCOMES ? run->s->outcomes_topic
                                        : run->s->corrections_topic;
}

static int64_t records_of(const struct import_run *run, enum cs_export_part part, int32_t p) {
    const struct cs_import_part *q = &run->check.parts[p];
    if (part == CS_EXPORT_CORRECTIONS)
        return cs_export_end(&run->x, part, p, NULL);
    return part == CS_EXPORT_EVENTS ? q->events : q->outcomes;
}

// Those that keep their time.
static int64_t proven_of(const struct import_run *run, enum cs_export_part part, int32_t p) {
    return part == CS_EXPORT_EVENTS ? run->check.parts[p].judged : records_of(run, part, p);
}

static void step(void *arg) {
    cs_progress_step(&((struct import_run *)arg)->progress);
}

// --- the export

// Root's signatures tell which of them count, and so which outcomes do.
static bool read_corrections(struct import_run *run, struct cs_corrections **ret, struct cs_err *err) {
    uint8_t *spki = NULL;
    size_t len = 0;
    if (!cs_keyfile_spki(run->crypto, run->s->root_key, &spki, &len, err))
        return false;
    const struct cs_corrections_of of = {run->x.log_id, {spki, len}, run->x.partitions};
    bool ok = cs_corrections_new(&of, ret, err) &&
              cs_corrections_read_log(*ret, run->from[CS_EXPORT_CORRECTIONS], NULL, NULL, err);
    free(spki);
    return ok;
}

// The service key tells which outcomes consumers wrote.
static bool check_export(struct import_run *run, struct cs_err *err) {
    CS_AUTO(cs_corrections_free) struct cs_corrections *corrections = NULL;
    CS_AUTO(cs_service_keys_clear) struct cs_service_keys service = {0};
    CS_AUTO(cs_outcome_marks_free) struct cs_outcome_marks *marks = NULL;
    if (!read_corrections(run, &corrections, err) ||
        !cs_service_keys_read(run->crypto, run->s, &service, err) ||
        !cs_outcome_marks_new(run->crypto, &service, run->x.log_id, &marks, err))
        return false;
    const struct cs_import_source from = {&run->x, run->from[CS_EXPORT_EVENTS], run->from[CS_EXPORT_OUTCOMES],
                                          marks, cs_corrections_now(corrections)};
    return cs_import_check(&from, run->crypto, step, run, &run->check, err);
}

static bool open_export(struct import_run *run, struct cs_err *err) {
    bool there = false;
    int64_t total = 0;
    if (!cs_crypto_new(&run->crypto, err) || !cs_export_open(run->o->dir, run->crypto, &run->x, &there, err))
        return false;
    if (!there)
        return cs_err_set(
            err, CS_ERR_CONFIG, CS_CODE_NONE,
            "%s is not an export: it holds no manifest.json (certsync-consumer export makes one)",
            run->o->dir);
    if (!cs_log_id_is_of(run->x.log_id, run->s->deployment))
        return cs_err_set(
            err, CS_ERR_CONFIG, CS_CODE_NONE,
            "%s is an export of log %s, and this is deployment %s (deployment.id): signatures of the "
            "one are worth nothing in the other",
            run->o->dir, run->x.log_id, run->s->deployment);
    for (size_t i = 0; i < run->x.len; i++)
        total += run->x.files[i].records;
    for (int part = 0; part < CS_EXPORT_PARTS; part++)
        if (!cs_export_log(&run->x, run->crypto, (enum cs_export_part)part, &run->from[part], err))
            return false;
    cs_progress_start(&run->progress, run->cli->screen, "checking the export", total);
    if (!check_export(run, err))
        return false;
    cs_progress_end(&run->progress);
    return true;
}

// --- what is there already

static bool same_bytes(struct cs_bytes a, struct cs_bytes b) {
    return !a.data == !b.data && cs_bytes_equal(a, b);
}

static bool same_record(const struct cs_record *a, const struct cs_record *b, bool time) {
    bool same = a->offset == b->offset && (!time || a->timestamp_ms == b->timestamp_ms) &&
                same_bytes(a->key, b->key) && same_bytes(a->value, b->value) &&
                a->headers_len == b->headers_len;
    for (size_t i = 0; same && i < a->headers_len; i++)
        same = strcmp(a->headers[i].name, b->headers[i].name) == 0 &&
               same_bytes(a->headers[i].value, b->headers[i].value);
    return same;
}

// Whether the topic's partition holds the export's records up to `end`, and what it holds instead.
static bool compare(struct import_run *run, struct cs_log *to, enum cs_export_part part, int32_t p,
                    int64_t end, struct cs_err *err) {
    struct cs_log *from = run->from[part];
    bool ended = end == 0;
    if (!ended && (!to->ops->start(to, p, 0, end, err) || !from->ops->start(from, p, 0, end, err)))
        return false;
    for (int64_t at = 0; !ended; at++) {
        struct cs_record is;
        struct cs_record wanted;
        bool is_end = false;
        if (!from->ops->next(from, &wanted, &ended, err) || !to->ops->next(to, &is, &is_end, err))
            return false;
        if (ended && is_end)
            break;
        if (ended != is_end || !same_record(&is, &wanted, at < proven_of(run, part, p)))
            return cs_err_set(
                err, CS_ERR_CONFIG, CS_CODE_NONE,
                "topic %s partition %d is not empty, and holds another record at offset %" PRId64
                " than %s: import into new topics (kafka-topics --delete, or other names in "
                "kafka.events_topic and kafka.outcomes_topic)",
                to->name, (int)p, at, run->o->dir);
        cs_progress_step(&run->progress);
    }
    return true;
}

// --- the topics

static bool make_topic(struct import_run *run, enum cs_export_part part, bool *ret_existed,
                       struct cs_err *err) {
    char most[32], compression[CS_KAFKA_COMPRESSION_SIZE];
    size_t limit = run->check.largest + RECORD_ROOM;
    snprintf(most, sizeof most, "%zu", limit > RECORD_USUAL ? limit : RECORD_USUAL);
    cs_kafka_topic_compression(run->rk, compression);
    const struct cs_kafka_topic_config configs[] = {
        {"compression.type", compression},
        {"retention.ms", "-1"},
        {"retention.bytes", "-1"},
        {"cleanup.policy", "delete"},
        {"message.timestamp.type", "CreateTime"},
        {"unclean.leader.election.enable", "false"},
        {"min.insync.replicas", run->o->replication >= 3 ? "2" : "1"},
        {"max.message.bytes", most}, // last: only where a record needs it
    };
    size_t n = CS_ARRAY_LEN(configs) - (limit > RECORD_USUAL ? 0 : 1);
    struct cs_kafka_topic topic = {topic_of(run, part), cs_export_partitions(part, run->x.partitions),
                                   (int32_t)run->o->replication, configs, n};
    return cs_kafka_topic_create(run->rk, &topic, TIMEOUT_MS, ret_existed, err);
}

static bool wait_for_topic(struct import_run *run, const char *topic, int32_t due, bool existed,
                           struct cs_err *err) {
    int32_t partitions = 0;
    int64_t deadline_ms = cs_clock_mono_ms(cs_clock_real()) + TIMEOUT_MS;
    // Not every broker knows a new topic at once.
    while (!cs_kafka_topic_partitions(run->rk, run->s->kafka.brokers, topic, TIMEOUT_MS, &partitions, err))
        if (existed || cs_clock_mono_ms(cs_clock_real()) > deadline_ms)
            return false;
    return partitions == due ||
           cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "topic %s has %d partitions, the export has %d, and their number can never be changed: "
                      "delete the topic, and the import makes it anew",
                      topic, (int)partitions, (int)due);
}

// Waits until the brokers say so.
static bool set_time(struct import_run *run, const char *topic, const char *type, struct cs_err *err) {
    struct cs_kafka_topic_description d;
    int64_t deadline_ms = cs_clock_mono_ms(cs_clock_real()) + TIMEOUT_MS;
    if (!cs_kafka_topic_describe(run->rk, topic, TIMEOUT_MS, &d, err))
        return false;
    if (strcmp(d.message_timestamp_type, type) == 0)
        return true;
    if (!cs_kafka_topic_alter(run->rk, topic, "message.timestamp.type", type, TIMEOUT_MS, err))
        return false;
    do {
        poll(NULL, 0, POLL_MS);
        if (!cs_kafka_topic_describe(run->rk, topic, TIMEOUT_MS, &d, err))
            return false;
        if (cs_clock_mono_ms(cs_clock_real()) > deadline_ms)
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                              "topic %s did not become %s; set message.timestamp.type=%s, then import again",
                              topic, type, type);
    } while (strcmp(d.message_timestamp_type, type) != 0);
    poll(NULL, 0, SWITCH_SEEN);
    return true;
}

// --- writing

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
    struct import_run *run = opaque;
    int64_t wanted = (int64_t)(intptr_t)m->_private;
    (void)rk;
    run->acknowledged++;
    if (run->failed)
        return;
    run->failed = m->err != 0 || (m->offset >= 0 && m->offset != wanted);
    if (m->err)
        cs_kafka_err(&run->failure, m->err, "writing to %s", rd_kafka_topic_name(m->rkt));
    else if (run->failed)
        cs_err_set(
            &run->failure, CS_ERR_CONFIG, CS_CODE_NONE,
            "the record of offset %" PRId64 " of %s partition %d came to offset %" PRId64
            ": something else writes to the topic; delete both topics, end what writes, and import again",
            wanted, rd_kafka_topic_name(m->rkt), (int)m->partition, m->offset);
}

static bool drain(struct import_run *run, int64_t most, struct cs_err *err) {
    const struct cs_clock *clock = cs_clock_real();
    int64_t before = -1;
    int64_t deadline_ms = 0;
    while (run->sent - run->acknowledged > most) {
        if (run->acknowledged != before)
            deadline_ms = cs_clock_mono_ms(clock) + TIMEOUT_MS;
        before = run->acknowledged;
        rd_kafka_poll(run->rk, POLL_MS);
        if (cs_clock_mono_ms(clock) > deadline_ms)
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                              "Kafka acknowledged nothing for %d s; what is written stays, import again",
                              TIMEOUT_MS / 1000);
    }
    rd_kafka_poll(run->rk, 0);
    if (run->failed)
        *err = run->failure;
    return !run->failed;
}

static bool send_record(struct import_run *run, rd_kafka_topic_t *topic, const struct cs_record *r,
                        struct cs_err *err) {
    for (;;) {
        rd_kafka_headers_t *headers = rd_kafka_headers_new(r->headers_len);
        if (!headers)
            return cs_err_oom(err);
        for (size_t i = 0; i < r->headers_len; i++)
            if (rd_kafka_header_add(headers, r->headers[i].name, -1, r->headers[i].value.data,
                                    (ssize_t)r->headers[i].value.len)) {
                rd_kafka_headers_destroy(headers);
                return cs_err_oom(err);
            }
        struct cs_kafka_record out = {topic,
                                      r->partition,
                                      r->key,
                                      r->value,
                                      headers,
                                      r->timestamp_ms,
                                      (void *)(intptr_t)r->offset}; // NOLINT(performance-no-int-to-ptr)
        rd_kafka_resp_err_t code = cs_kafka_produce(run->rk, &out);
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            run->sent += !code;
            return !code || cs_kafka_err(err, code, "writing to %s", rd_kafka_topic_name(topic));
        }
        if (!drain(run, run->sent - run->acknowledged - 1, err))
            return false;
    }
}

static bool write_partition(struct import_run *run, rd_kafka_topic_t *topic, enum cs_export_part part,
                            int32_t p, int64_t from, int64_t end, struct cs_err *err) {
    struct cs_log *log = run->from[part];
    bool ended = from >= end;
    if (!ended && !log->ops->start(log, p, from, end, err))
        return false;
    while (!ended) {
        struct cs_record r;
        if (!log->ops->next(log, &r, &ended, err))
            return false;
        if (ended)
            break;
        if (!send_record(run, topic, &r, err) || !drain(run, MANY_IN_QUEUE, err))
            return false;
        run->written++;
        cs_progress_step(&run->progress);
    }
    return true;
}

// What is missing in the topic, up to what is proven, or all of it.
static bool write_topic(struct import_run *run, struct cs_log *to, enum cs_export_part part, bool all,
                        struct cs_err *err) {
    rd_kafka_topic_t *topic = rd_kafka_topic_new(run->rk, to->name, NULL);
    bool ok = topic || cs_kafka_err(err, rd_kafka_last_error(), "topic %s", to->name);
    for (int32_t p = 0; ok && p < to->partitions; p++) {
        int64_t low = 0;
        int64_t high = 0;
        int64_t end = all ? records_of(run, part, p) : proven_of(run, part, p);
        ok = to->ops->bounds(to, p, &low, &high, err) && write_partition(run, topic, part, p, high, end, err);
        run->late += ok && all && end > high ? end - high : 0;
    }
    ok = ok && drain(run, 0, err);
    if (topic)
        rd_kafka_topic_destroy(topic);
    return ok;
}

static bool compare_topic(struct import_run *run, struct cs_log *to, enum cs_export_part part, bool all,
                          struct cs_err *err) {
    for (int32_t p = 0; p < to->partitions; p++) {
        int64_t low = 0;
        int64_t high = 0;
        int64_t wanted = records_of(run, part, p);
        if (!to->ops->bounds(to, p, &low, &high, err) ||
            !compare(run, to, part, p, high < wanted ? high : wanted, err))
            return false;
        if (low > 0 || high > wanted || (all && high < wanted))
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                              "topic %s partition %d holds the offsets %" PRId64 " to %" PRId64
                              ", the export 0 to %" PRId64 ": something else wrote there, or the import is "
                              "over and the deployment at work; there is nothing to import",
                              to->name, (int)p, low, high, wanted);
    }
    return true;
}

static bool import_topic(struct import_run *run, enum cs_export_part part, struct cs_err *err) {
    CS_AUTO(cs_log_free) struct cs_log *to = NULL;
    const char *topic = topic_of(run, part);
    bool existed = false;
    int64_t total = 0;
    int32_t partitions = cs_export_partitions(part, run->x.partitions);
    for (int32_t p = 0; p < partitions; p++)
        total += records_of(run, part, p);
    if (!make_topic(run, part, &existed, err) || !wait_for_topic(run, topic, partitions, existed, err) ||
        !cs_log_open_kafka(&run->s->kafka, topic, &to, err))
        return false;
    // An import that was interrupted goes on.
    if (existed && !compare_topic(run, to, part, false, err))
        return false;
    cs_progress_start(&run->progress, run->cli->screen, topic, total);
    bool ok = set_time(run, topic, "CreateTime", err) && write_topic(run, to, part, false, err) &&
              set_time(run, topic, "LogAppendTime", err) && write_topic(run, to, part, true, err);
    cs_progress_end(&run->progress);
    cs_progress_start(&run->progress, run->cli->screen, "comparing", total);
    return ok && compare_topic(run, to, part, true, err);
}

static bool open_producer(struct import_run *run, struct cs_err *err) {
    rd_kafka_conf_t *conf = NULL;
    char most[32], text[200];
    size_t limit = run->check.largest + RECORD_ROOM;
    if (!cs_kafka_conf_producer(&run->s->kafka, "certsync-consumer-import", &conf, err))
        return false;
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_conf_set_opaque(conf, run);
    snprintf(most, sizeof most, "%zu", limit > RECORD_USUAL ? limit : RECORD_USUAL);
    if (limit > RECORD_USUAL &&
        rd_kafka_conf_set(conf, "message.max.bytes", most, text, sizeof text) != RD_KAFKA_CONF_OK) {
        rd_kafka_conf_destroy(conf);
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "librdkafka: %s", text);
    }
    return cs_kafka_new(RD_KAFKA_PRODUCER, conf, &run->rk, err);
}

// What they hold is not carried: the consumer signs the imported outcomes as they are, and hosts send
// their next heartbeat.
static bool make_other_topic(struct import_run *run, const char *topic, enum cs_init_topic_kind kind,
                             struct cs_err *err) {
    bool existed = false;
    return cs_init_topic(run->rk, topic, run->x.partitions, (int32_t)run->o->replication, kind, TIMEOUT_MS,
                         &existed, err) &&
           wait_for_topic(run, topic, run->x.partitions, existed, err);
}

static bool do_import(struct import_run *run, struct cs_err *err) {
    if (!cs_consumer_settings_load(run->cli, &run->s, err) || !open_export(run, err) ||
        !open_producer(run, err))
        return false;
    // Corrections tell which outcomes count. Outcomes before events: an event may be judged only where its
    // outcome is not there.
    return import_topic(run, CS_EXPORT_CORRECTIONS, err) && import_topic(run, CS_EXPORT_OUTCOMES, err) &&
           import_topic(run, CS_EXPORT_EVENTS, err) &&
           make_other_topic(run, run->s->checkpoints_topic, CS_INIT_CHECKPOINTS, err) &&
           make_other_topic(run, run->s->heartbeats_topic, CS_INIT_HEARTBEATS, err);
}

static void tell(const struct import_run *run) {
    FILE *out = run->cli->out;
    int64_t events = 0;
    int64_t outcomes = 0;
    for (int32_t p = 0; p < run->x.partitions; p++) {
        events += run->check.parts[p].events;
        outcomes += run->check.parts[p].outcomes;
    }
    if (run->o->json) {
        fprintf(out,
                "{\"events\":%" PRId64 ",\"outcomes\":%" PRId64 ",\"written\":%" PRId64
                ",\"with_the_new_time\":%" PRId64 ",\"foreign\":%" PRId64 "}\n",
                events, outcomes, run->written, run->late, run->check.foreign);
        return;
    }
    fprintf(out,
            "topic %s: %" PRId64 " records, topic %s: %" PRId64
            " records; each is as in the export, at its offset%s\n",
            run->s->events_topic, events, run->s->outcomes_topic, outcomes,
            run->late ? "" : " and with its time");
    if (run->late > 0)
        fprintf(out,
                "%" PRId64 " events had no outcome in the export: they have the new broker's time, by which "
                "they will be judged\n",
                run->late);
    fprintf(out,
            "both topics have message.timestamp.type=LogAppendTime now\n"
            "Prove it: certsync-consumer verify\n"
            "Then start consumers with an empty Redis, or a new redis.namespace: certsync-consumer run\n");
}

static int run_import(const struct cs_cli *cli) {
    struct import_run run = {.cli = cli, .o = cli->values};
    struct cs_err err;
    bool ok = do_import(&run, &err);
    cs_progress_end(&run.progress);
    int code = ok ? CS_EXIT_OK : cs_consumer_failure(cli, &err);
    if (ok)
        tell(&run);
    if (run.rk)
        rd_kafka_destroy(run.rk);
    for (int part = 0; part < CS_EXPORT_PARTS; part++)
        cs_log_free(run.from[part]);
    cs_import_check_clear(&run.check);
    cs_export_clear(&run.x);
    cs_crypto_free(run.crypto);
    cs_settings_free(&cs_consumer_settings_table, run.s);
    return code;
}

const struct cs_command cs_cmd_import = {
    .name = "import",
    .summary = "Bring an export into new topics of another cluster",
    .description =
        "Checks the export (files, offsets, the chain of outcomes, and that each outcome names its record), "
        "makes both topics "
        "in the cluster of the settings, writes every record at its offset and with its time, reads all back "
        "and compares it, "
        "and sets message.timestamp.type=LogAppendTime for what comes later. Topics that hold anything else "
        "are refused. An "
        "import that was interrupted is finished by running it again.\n\n"
        "End all senders and consumers before the last export: an event that has no outcome in the export "
        "gets the new "
        "broker's time.",
    .examples = "certsync-consumer import /backup/certsync --config new-cluster.conf --replication 3",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct import_options),
    .run = run_import,
};
