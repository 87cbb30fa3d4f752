// SPDX-License-Identifier: Apache-2.0
//
// export: the topics of the log into plain files, from where the last export ended.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "certsync/base/text.h"
#include "certsync/runtime/fileio.h"
#include "commands/operator.h"
#include "log/export_files.h"
#include "log/line.h"

#define FILE_BYTES ((size_t)16 * 1024 * 1024) // a file ends with the record that reaches it
#define FILE_MAX   ((size_t)1024 * 1024 * 1024)

struct export_options {
    struct cs_operator_options log;
    const char *dir;
};

static const struct cs_opt opts[] = {
    CS_OPERATOR_SETTINGS,
    {.name = "json",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct export_options, log.json),
     .text = "One JSON object on standard output, for programs."},
};
static const struct cs_arg args[] = {
    {.name = "DIR",
     CS_OPT_AT_STR(struct export_options, dir),
     .text = "Directory of the export: a new one, or that of an earlier export, which goes on."},
};

struct export_run {
    struct cs_operator op;
    const struct export_options *o;
    struct cs_export x;
    int lock;
    int64_t records[CS_EXPORT_PARTS], before[CS_EXPORT_PARTS]; // written now; there already
    size_t files;
    // The file under way.
    struct cs_export_file file;
    struct cs_buf lines;
};

static struct cs_log *log_of(const struct export_run *run, enum cs_export_part part) {
    return part == CS_EXPORT_EVENTS     ? run->op.events
           : part == CS_EXPORT_OUTCOMES ? run->op.outcomes
                                        : run->op.corrections_log;
}

// Two exports at once would write the same files.
static bool lock(struct export_run *run, struct cs_err *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/" CS_EXPORT_LOCK, run->o->dir);
    if (!cs_dir_make(run->o->dir, 0755, err) || !cs_file_open_own(path, O_RDWR, 0644, &run->lock, err))
        return false;
    return flock(run->lock, LOCK_EX | LOCK_NB) == 0 ||
           cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "another export writes to %s: let it come to its end, then run this again",
                      run->o->dir);
}

// What was exported must still be there, and be the same.
static bool check_last(struct export_run *run, enum cs_export_part part, int32_t p, int64_t high,
                       struct cs_err *err) {
    const struct cs_export_file *last = NULL;
    struct cs_log *log = log_of(run, part);
    int64_t next = cs_export_end(&run->x, part, p, &last);
    CS_AUTO(cs_buf_clear) struct cs_buf was;
    CS_AUTO(cs_buf_clear) struct cs_buf is;
    struct cs_record r;
    bool end = high < next;
    cs_buf_init(&was, FILE_MAX);
    cs_buf_init(&is, FILE_MAX);
    if (!last)
        return true;
    if (!cs_export_last_line(&run->x, run->op.crypto, last, &was, err) ||
        (!end && (!log->ops->start(log, p, next - 1, next, err) || !log->ops->next(log, &r, &end, err))))
        return false;
    if (!end)
        cs_line_put(&is, log->name, &r);
    return (!end && cs_bytes_equal(cs_buf_bytes(&was), cs_buf_bytes(&is))) ||
           cs_err_set(
               err, CS_ERR_CONFIG, CS_CODE_NONE,
               "%s is an export of another log: %s partition %d holds another record at offset %" PRId64
               " now, or none; the topic was made anew or cut; export into a new directory, and keep "
               "this one",
               run->o->dir, log->name, (int)p, next - 1);
}

static bool write_file(struct export_run *run, int64_t next, struct cs_err *err) {
    if (run->file.records == 0)
        return true;
    run->file.next = next;
    if (!cs_buf_ok(&run->lines, err) ||
        !cs_export_add(&run->x, run->op.crypto, &run->file, cs_buf_bytes(&run->lines), err))
        return false;
    run->records[run->file.part] += run->file.records;
    run->files++;
    run->file.first = next;
    run->file.records = 0;
    cs_buf_reset(&run->lines);
    return true;
}

static bool export_partition(struct export_run *run, enum cs_export_part part, int32_t p,
                             const struct cs_bounds *bounds, struct cs_err *err) {
    struct cs_log *log = log_of(run, part);
    int64_t from = cs_export_end(&run->x, part, p, NULL);
    bool end = false;
    if (bounds->low > 0)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "%s partition %d begins at offset %" PRId64
                          ": records were deleted, and an export of the rest could not be judged again",
                          log->name, (int)p, bounds->low);
    if (!check_last(run, part, p, bounds->high, err))
        return false;
    if (from >= bounds->high)
        return true;
    run->file = (struct cs_export_file){.part = part, .partition = p, .first = from};
    cs_buf_reset(&run->lines);
    if (!log->ops->start(log, p, from, bounds->high, err))
        return false;
    for (;;) {
        struct cs_record r;
        if (!log->ops->next(log, &r, &end, err))
            return false;
        if (end)
            return write_file(run, bounds->high, err);
        cs_line_put(&run->lines, log->name, &r);
        run->file.records++;
        cs_progress_step(&run->op.progress);
        if (run->lines.len >= FILE_BYTES && !write_file(run, r.offset + 1, err))
            return false;
    }
}

static bool open_directory(struct export_run *run, struct cs_err *err) {
    bool there = false;
    const struct cs_operator *op = &run->op;
    // The lock lies in the directory, so it comes after the look whether that is empty.
    if (!cs_export_open(run->o->dir, op->crypto, &run->x, &there, err) || !lock(run, err))
        return false;
    cs_export_clear(&run->x);
    if (there && !cs_export_open(run->o->dir, op->crypto, &run->x, &there, err))
        return false;
    if (!there) {
        run->x.dir = strdup(run->o->dir);
        run->x.partitions = op->partitions;
        memcpy(run->x.log_id, op->log_id, sizeof run->x.log_id);
        // From here on the directory is known as an export, also if this is interrupted.
        return run->x.dir ? cs_export_commit(&run->x, op->crypto, err) : cs_err_oom(err);
    }
    if (strcmp(run->x.log_id, op->log_id) != 0)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "%s is an export of log %s, and this is log %s: name another directory",
                          run->o->dir, run->x.log_id, op->log_id);
    return run->x.partitions == op->partitions ||
           cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "%s is an export of %d partitions, and the topic has %d: it is another log",
                      run->o->dir, (int)run->x.partitions, (int)op->partitions);
}

static bool do_export(struct export_run *run, const struct cs_cli *cli, struct cs_err *err) {
    struct cs_operator *op = &run->op;
    // Outcomes end first: the record of each is inside, and so is what it emitted.
    if (!cs_operator_open(cli, &run->o->log, CS_OPERATOR_OUTCOMES, op, err) || !open_directory(run, err))
        return false;
    if (op->outcomes->partitions != op->partitions)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s has %d partitions, %s has %d",
                          op->outcomes->name, (int)op->outcomes->partitions, op->events->name,
                          (int)op->partitions);
    for (size_t i = 0; i < run->x.len; i++)
        run->before[run->x.files[i].part] += run->x.files[i].records;
    cs_progress_start(&op->progress, cli->screen, "export", 0);
    for (int32_t p = 0; p < op->partitions; p++)
        if (!export_partition(run, CS_EXPORT_OUTCOMES, p, &op->outcome_bounds[p], err) ||
            !export_partition(run, CS_EXPORT_EVENTS, p, &op->event_bounds[p], err))
            return false;
    // Those that the outcomes above are of are among them.
    struct cs_bounds corrections = {0};
    return op->corrections_log->ops->bounds(op->corrections_log, 0, &corrections.low, &corrections.high,
                                            err) &&
           export_partition(run, CS_EXPORT_CORRECTIONS, 0, &corrections, err) &&
           cs_export_commit(&run->x, op->crypto, err);
}

static void tell(const struct export_run *run) {
    FILE *out = run->op.cli->out;
    int64_t events = run->records[CS_EXPORT_EVENTS];
    int64_t outcomes = run->records[CS_EXPORT_OUTCOMES];
    int64_t all_events = events + run->before[CS_EXPORT_EVENTS];
    int64_t all_outcomes = outcomes + run->before[CS_EXPORT_OUTCOMES];
    if (run->o->log.json)
        fprintf(out,
                "{\"events\":%" PRId64 ",\"outcomes\":%" PRId64 ",\"files\":%zu,\"all_events\":%" PRId64
                ",\"all_outcomes\":%" PRId64 "}\n",
                events, outcomes, run->files, all_events, all_outcomes);
    else
        fprintf(out,
                "%" PRId64 " events and %" PRId64 " outcomes more are in %s, in %zu new files\n"
                "it holds %" PRId64 " events and %" PRId64 " outcomes of %d partitions\n",
                events, outcomes, run->o->dir, run->files, all_events, all_outcomes, (int)run->op.partitions);
}

static int run_export(const struct cs_cli *cli) {
    struct export_run run = {.o = cli->values, .lock = -1};
    struct cs_err err;
    cs_buf_init(&run.lines, FILE_MAX);
    bool ok = do_export(&run, cli, &err);
    cs_progress_end(&run.op.progress);
    int code = ok ? CS_EXIT_OK : cs_consumer_failure(cli, &err);
    if (ok)
        tell(&run);
    cs_buf_clear(&run.lines);
    cs_export_clear(&run.x);
    if (run.lock >= 0)
        close(run.lock);
    cs_operator_close(&run.op);
    return code;
}

const struct cs_command cs_cmd_export = {
    .name = "export",
    .summary = "Write the log to plain files, from where the last export ended",
    .description =
        "Writes every record of cert.events, cert.outcomes and cert.corrections, as it is in Kafka, to files "
        "of JSON lines "
        "below DIR, and their "
        "SHA-256 to DIR/manifest.json, last of all. Run it again, and it adds what came since. It works on a "
        "live system. An "
        "export that was interrupted is finished by running it again.\n\n"
        "The files can be read with any program, and proven: join the files of a part, and give them to "
        "verify. To bring "
        "them into another cluster: certsync-consumer import.",
    .examples = "certsync-consumer export /backup/certsync\n"
                "cat /backup/certsync/events/*/*.jsonl > events.json\n"
                "cat /backup/certsync/outcomes/*/*.jsonl > outcomes.json\n"
                "cat /backup/certsync/corrections/*/*.jsonl > corrections.json  # where root made any\n"
                "certsync-consumer verify --events events.json --outcomes outcomes.json",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct export_options),
    .run = run_export,
};
