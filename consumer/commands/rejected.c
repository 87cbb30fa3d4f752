// SPDX-License-Identifier: Apache-2.0
//
// rejected: which events were refused, and why, from cert.outcomes, with the records themselves.
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "commands/places.h"
#include "log/find.h"

#define CLOCKS_MS  600000 // brokers' clocks differ by less
#define READ_OVER  10000  // records
#define LOOK_EVERY 256    // outcomes: whether the time that was asked for is over

struct rejected_options {
    struct cs_operator_options log;
    const char *code, *account, *since, *until;
    int64_t limit;
    bool record;
};

static const struct cs_opt opts[] = {
    CS_OPERATOR_OPTS(struct rejected_options, log),
    {.name = "code",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct rejected_options, code),
     .value_name = "CODE",
     .text = "Only this code, or all that begin with it up to a dot (\"share\")."},
    {.name = "account",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct rejected_options, account),
     .value_name = "ACCOUNT",
     .text = "Only events that name this account. Whether its key signed them is for the code to say."},
    {.name = "since",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct rejected_options, since),
     .value_name = "TIME",
     .text = "Only records of this second and later."},
    {.name = "until",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct rejected_options, until),
     .value_name = "TIME",
     .text = "Only records up to this time."},
    {.name = "limit",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct rejected_options, limit),
     .value_name = "N",
     .default_text = "1000",
     .min = 1,
     .max = 1000000000,
     .text = "Most that are listed."},
    {.name = "record",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct rejected_options, record),
     .text = "Show the records themselves as well."},
};

// Where the records themselves are read.
struct reading {
    int32_t partition;       // -1: none yet
    int64_t asked;           // the offset that was asked for last
    struct cs_record record; // the newest one; borrowed
    bool end;
};
struct rejected {
    struct cs_operator op;
    const struct rejected_options *o;
    struct cs_moment since, until;
    int64_t found, listed;
    struct reading reading;
    struct cs_chain chain;
};

// Whether it is the code that was asked for, or one of its family: "share" of "share.owner".
static bool code_is(enum cs_code code, const char *asked) {
    const char *name = cs_code_name(code);
    size_t len = strlen(asked);
    return strncmp(name, asked, len) == 0 && (name[len] == '\0' || name[len] == '.');
}

static bool code_wanted(const struct rejected *j, enum cs_code code) {
    return !j->o->code || code_is(code, j->o->code);
}

// An unknown code would list nothing, as if there were no refusals. A word without a dot is
// compared with the families.
static bool check_code(const char *asked, struct cs_err *err) {
    char name[64], best[64] = "", text[80];
    unsigned distance = UINT_MAX;
    for (int c = CS_CODE_NONE + 1; c < CS_CODE_COUNT; c++) {
        if (code_is((enum cs_code)c, asked))
            return true;
        snprintf(name, sizeof name, "%s", cs_code_name((enum cs_code)c));
        if (!strchr(asked, '.'))
            name[strcspn(name, ".")] = '\0';
        unsigned d = cs_text_distance(asked, name);
        if (d < distance) {
            distance = d;
            snprintf(best, sizeof best, "%s", name);
        }
    }
    cs_text_escape(asked, strlen(asked), text, sizeof text);
    return cs_err_set(
        err, CS_ERR_CONFIG, CS_CODE_NONE,
        "--code %s: there is no such code; the nearest is %s (certsync-consumer codes lists them all)", text,
        best);
}

static bool check_account(const char *asked, struct cs_err *err) {
    char text[80];
    cs_text_escape(asked, strlen(asked), text, sizeof text);
    return cs_account_valid(asked, strlen(asked)) ||
           cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "--account %s: an account's id cannot be that", text);
}

static bool wanted(const struct rejected *j, const struct cs_outcome *o) {
    if (j->o->account && strcmp(j->o->account, o->account) != 0)
        return false;
    if (j->since.given && o->time_ms < j->since.time_ms)
        return false;
    return !j->until.given || o->time_ms <= j->until.time_ms;
}

// The record, if it is still there. Outcomes come in the order of their records: what lies a little
// ahead is read over, which costs less than to start anew.
static bool fetch(struct rejected *j, const struct cs_outcome *o, struct cs_record *ret, bool *ret_gone,
                  struct cs_err *err) {
    struct cs_log *log = j->op.events;
    struct reading *at = &j->reading;
    *ret_gone = o->partition >= log->partitions;
    if (*ret_gone)
        return true;
    bool near =
        at->partition == o->partition && at->asked <= o->offset && o->offset < at->record.offset + READ_OVER;
    if (!near) {
        *at = (struct reading){.partition = o->partition, .record = {.offset = o->offset - 1}};
        if (!log->ops->start(log, o->partition, o->offset, j->op.event_bounds[o->partition].high, err))
            return false;
    }
    at->asked = o->offset;
    while (!at->end && at->record.offset < o->offset)
        if (!log->ops->next(log, &at->record, &at->end, err))
            return false;
    *ret = at->record;
    *ret_gone = at->end || at->record.offset != o->offset;
    return true;
}

static void list_json(struct rejected *j, const struct cs_outcome *o, const struct cs_conclusion *c,
                      const struct cs_record *record, FILE *out) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    enum cs_code code = c ? c->code : o->verdict.code;
    cs_buf_init(&b, (size_t)64 * 1024 * 1024);
    cs_json_begin(&b, '{');
    cs_json_str(&b, "event", c ? c->event : o->event);
    cs_json_str(&b, "code", cs_code_name(code));
    cs_json_str(&b, "sentence", cs_code_sentence(code));
    if (!c && o->verdict.detail[0])
        cs_json_str(&b, "detail", o->verdict.detail);
    cs_json_str(&b, "account", o->account);
    if (c)
        cs_json_str(&b, "concluded_by", o->event);
    else if (o->type != CS_EVENT_NONE)
        cs_json_str(&b, "type", cs_event_type_name(o->type));
    if (!c)
        cs_json_str(&b, "kid", o->kid);
    cs_json_int(&b, "partition", o->partition);
    cs_json_int(&b, "offset", o->offset);
    cs_json_int(&b, "time", o->time_ms);
    cs_json_int(&b, "n", o->n);
    if (record)
        cs_put_record_json(&b, "record", record);
    cs_json_end(&b, '}');
    fprintf(out, "%s%s", j->listed > 0 ? "," : "", b.failed ? "null" : (const char *)b.data);
}

static void list(const struct cs_outcome *o, const struct cs_conclusion *c, const struct cs_record *record,
                 FILE *out) {
    char time[CS_TIME_MS_TEXT_SIZE];
    enum cs_code code = c ? c->code : o->verdict.code;
    cs_time_ms_format(o->time_ms, time);
    fprintf(out, "%s  %d:%-8" PRId64 "  %-22s %s", time, (int)o->partition, o->offset, cs_code_name(code),
            o->account[0] ? o->account : "-");
    if (c)
        fprintf(out, "  event %s, concluded by %s", c->event, o->event);
    else if (o->event[0])
        fprintf(out, "  %s %s, key %s", cs_event_type_name(o->type), o->event, o->kid);
    fprintf(out, "\n    %s%s%s\n", cs_code_sentence(code), !c && o->verdict.detail[0] ? " " : "",
            c ? "" : o->verdict.detail);
    if (record) {
        CS_AUTO(cs_buf_clear) struct cs_buf b;
        cs_buf_init(&b, (size_t)64 * 1024 * 1024);
        cs_put_record_text(&b, "    ", record);
        if (!b.failed && b.data)
            fwrite(b.data, 1, b.len, out);
    }
}

static bool list_one(struct rejected *j, const struct cs_outcome *o, const struct cs_conclusion *c,
                     struct cs_err *err) {
    struct cs_record record;
    bool gone = true;
    j->found++;
    if (j->listed >= j->o->limit)
        return true;
    if (j->o->record && !fetch(j, o, &record, &gone, err))
        return false;
    if (j->o->log.json)
        list_json(j, o, c, gone ? NULL : &record, j->op.cli->out);
    else
        list(o, c, gone ? NULL : &record, j->op.cli->out);
    j->listed++;
    return true;
}

static bool take(struct rejected *j, const struct cs_record *r, struct cs_err *err) {
    static const char status[] = "\"status\":\"rejected\"";
    CS_AUTO(cs_outcome_clear) struct cs_outcome o = {0};
    if (!cs_bytes_find(r->value, status))
        return true;
    if (!cs_outcome_decode(r->value, &o, err))
        return cs_err_prepend(err, "%s partition %d offset %" PRId64, j->op.outcomes->name, (int)r->partition,
                              r->offset);
    if (!wanted(j, &o))
        return true;
    if (o.verdict.status == CS_STATUS_REJECTED && code_wanted(j, o.verdict.code) &&
        !list_one(j, &o, NULL, err))
        return false;
    for (size_t i = 0; i < o.verdict.concludes_len; i++) {
        const struct cs_conclusion *c = &o.verdict.concludes[i];
        if (c->status == CS_STATUS_REJECTED && code_wanted(j, c->code) && !list_one(j, &o, c, err))
            return false;
    }
    return true;
}

// Outcomes come in the order of their records, so their times rise, too, but for brokers' clocks.
static bool is_later(const struct rejected *j, const struct cs_record *r) {
    CS_AUTO(cs_outcome_clear) struct cs_outcome o = {0};
    struct cs_err ignored;
    return cs_outcome_decode(r->value, &o, &ignored) && o.time_ms > j->until.time_ms + CLOCKS_MS;
}

static bool list_partition(struct rejected *j, int32_t p, int64_t from, struct cs_err *err) {
    bool end = false;
    if (!cs_places_published(&j->op, p, from, &j->chain, err))
        return false;
    for (int64_t i = 0; !end; i++) {
        struct cs_record r;
        if (!cs_operator_published(&j->op, p, &j->chain, &r, &end, err) || (!end && !take(j, &r, err)))
            return false;
        end = end || (j->until.given && i % LOOK_EVERY == 0 && is_later(j, &r));
    }
    return true;
}

// An outcome comes after its record, so none of interest comes before the first record of that time.
static bool list_all(struct rejected *j, struct cs_err *err) {
    struct cs_bounds *places = calloc((size_t)j->op.partitions, sizeof *places);
    bool known = false;
    bool ok = places || cs_err_oom(err);
    ok = ok && (!j->since.given || cs_places_of_time(&j->op, j->op.outcomes, j->since.time_ms - CLOCKS_MS,
                                                     INT64_MAX, places, &known, err));
    for (int32_t p = 0; ok && p < j->op.partitions; p++)
        ok = list_partition(j, p, places[p].low, err);
    free(places);
    return ok;
}

static bool do_rejected(struct rejected *j, const struct cs_cli *cli, struct cs_err *err) {
    const struct rejected_options *o = j->o;
    if ((o->code && !check_code(o->code, err)) || (o->account && !check_account(o->account, err)))
        return false;
    if ((o->since && !cs_moment_parse_time(o->since, &j->since, err)) ||
        (o->until && !cs_moment_parse_time(o->until, &j->until, err)) ||
        !cs_operator_open(cli, &o->log, CS_OPERATOR_OUTCOMES, &j->op, err))
        return false;
    if (j->since.given && j->until.given && j->since.time_ms > j->until.time_ms)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "--since is later than --until: nothing lies between them");
    if (j->since.given)
        j->since.time_ms -= 999; // from the begin of the second
    cs_operator_begin_list(&j->op, "rejected");
    return list_all(j, err);
}

static int run_rejected(const struct cs_cli *cli) {
    struct rejected j = {.o = cli->values, .reading = {.partition = -1}};
    struct cs_err err;
    bool ok = do_rejected(&j, cli, &err);
    int code = ok ? CS_EXIT_OK : cs_operator_failure(&j.op, cli, &err);
    if (ok && j.o->log.json)
        fprintf(cli->out, "],\"found\":%" PRId64 ",\"listed\":%" PRId64 "}\n", j.found, j.listed);
    else if (ok)
        fprintf(cli->out,
                j.listed < j.found ? "%" PRId64 " rejected, the first %" PRId64 " listed (--limit)\n"
                                   : "%" PRId64 " rejected\n",
                j.found, j.listed);
    cs_operator_close(&j.op);
    return code;
}

const struct cs_command cs_cmd_rejected = {
    .name = "rejected",
    .summary = "List what was refused, and why",
    .description =
        "Reads cert.outcomes and lists what was rejected, shares that their recipient refused too: time, "
        "place in "
        "cert.events, code, account, event and key as the record claims them. By partition, then in order.",
    .examples = "certsync-consumer rejected --code key.mismatch --since 2026-11-23T00:00:00Z\n"
                "certsync-consumer rejected --account acme --record --json",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct rejected_options),
    .run = run_rejected,
};
