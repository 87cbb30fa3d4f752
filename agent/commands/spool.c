// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certsync/base/text.h"
#include "certsync/runtime/table.h"
#include "commands/submit.h"
#include "spool/drain.h"

#define RETRY_PAUSE_MS 200

struct spool {
    int64_t above;
    const char *seq;
};

// --- list ----------------------------------------------------------------------------------------

struct row {
    struct cs_spool_entry entry;
    enum cs_spool_load load;
};

static void put_row(const struct cs_cli *cli, struct cs_table *t, json_t *list,
                    const struct cs_spool_item *item, const struct row *r, const struct cs_err *err) {
    const struct cs_globals *g = cli->globals;
    const struct cs_event *ev = r->entry.event;
    const char *state = item->state == CS_SPOOL_NEW ? "to be published" : "published";
    const char *type = ev ? cs_event_type_name(ev->type) : "?";
    if (r->load != CS_SPOOL_LOADED)
        fprintf(cli->err, "warning: %s\n", err->msg);
    char time[CS_TIME_TEXT_SIZE] = "";
    if (ev)
        cs_time_format(ev->time_s, time);
    if (g->json) {
        json_t *o = json_pack("{s:I, s:s, s:s, s:s, s:s, s:s}", "seq", (json_int_t)item->seq, "state",
                              item->state == CS_SPOOL_NEW ? "new" : "published", "event", ev ? ev->id : "",
                              "type", type, "account", ev ? ev->account : "", "time", time);
        if (item->state == CS_SPOOL_SENT && item->partition >= 0) {
            json_object_set_new(o, "partition", json_integer(item->partition));
            json_object_set_new(o, "offset", json_integer(item->offset));
        }
        json_array_append_new(list, o);
        return;
    }
    cs_table_cellf(t, "%" PRId64, item->seq);
    cs_table_cell(t, state);
    cs_table_cell(t, type);
    cs_table_cell(t, ev ? ev->account : "");
    cs_table_cell(t, time);
    cs_table_cell(t, ev ? ev->id : "");
}

static bool put_rows(struct cs_session *s, struct cs_spool *spool, struct cs_table *t, json_t *list,
                     struct cs_err *err) {
    struct cs_spool_item *items;
    size_t n;
    if (!cs_spool_list(spool, &items, &n, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct row r = {0};
        struct cs_err why;
        r.load = cs_spool_load(spool, s->crypto, items[i].seq, &r.entry, &why);
        if (r.load != CS_SPOOL_GONE)
            put_row(s->cli, t, list, &items[i], &r, &why);
        cs_spool_entry_clear(&r.entry);
    }
    free(items);
    return true;
}

static int run_list(const struct cs_cli *cli) {
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    CS_AUTO(cs_spool_free) struct cs_spool *spool = NULL;
    if (!cs_session_open(cli, CS_NEED_KEY, &s, &err) ||
        !cs_spool_open_existing(s.settings->spool, s.kid, NULL, &spool, &err))
        return cs_report_failure(cli, &err);
    CS_AUTO(cs_table_free)
    struct cs_table *t =
        cs_table_new((const char *const[]){">NUMBER", "STATE", "TYPE", "ACCOUNT", "TIME", "EVENT", NULL});
    json_t *list = json_array();
    size_t damaged = 0;
    bool ok = !spool || (put_rows(&s, spool, t, list, &err) && cs_spool_quarantined(spool, &damaged, &err));
    if (!ok) {
        json_decref(list);
        return cs_report_failure(cli, &err);
    }
    if (s.globals->json)
        cs_report_json(cli, json_pack("{s:s, s:O, s:I}", "kid", s.kid, "events", list, "quarantined",
                                      (json_int_t)damaged));
    else if (cs_table_rows(t) > 0)
        ok = cs_table_print(t, cli->out);
    else
        fputs("the spool is empty\n", cli->out);
    json_decref(list);
    if (damaged > 0)
        fprintf(cli->err, "warning: %zu damaged files lie in %s/quarantine\n", damaged, cs_spool_path(spool));
    return ok ? CS_EXIT_OK : CS_EXIT_USAGE;
}

// --- flush ---------------------------------------------------------------------------------------

static void on_damaged(void *arg, const struct cs_err *err) {
    const struct cs_session *s = arg;
    fprintf(s->cli->err, "warning: %s\n", err->msg);
}

static int unknown(const struct cs_cli *cli, struct cs_err *err) {
    if (err->kind == CS_ERR_CONFIG || err->kind == CS_ERR_FATAL)
        return cs_report_failure(cli, err);
    return cs_report_api_failure(cli, err);
}

static int say_flushed(const struct cs_session *s, size_t published, const struct cs_settled *settled,
                       size_t left) {
    int code = settled->rejected ? CS_EXIT_REJECTED : left ? CS_EXIT_UNKNOWN : CS_EXIT_OK;
    if (s->globals->json)
        cs_report_json(s->cli,
                       json_pack("{s:I, s:I, s:I, s:I, s:I, s:i}", "published", (json_int_t)published,
                                 "applied", (json_int_t)settled->applied, "rejected",
                                 (json_int_t)settled->rejected, "resigned", (json_int_t)settled->resigned,
                                 "left", (json_int_t)left, "exit", code));
    else if (!s->globals->quiet || code != CS_EXIT_OK)
        fprintf(s->cli->out, "published %zu; outcomes: %zu applied, %zu rejected; left in the spool: %zu\n",
                published, settled->applied, settled->rejected, left);
    return code;
}

// Asks the API again after a short failure, until the time is over.
static bool settle(struct cs_session *s, struct cs_spool *spool, struct cs_settled *ret, struct cs_err *err) {
    struct cs_settled sum = {0}, one;
    bool ok;
    while (!(ok = cs_submit_settle(s, spool, SIZE_MAX, !s->globals->no_wait, &one, err)) &&
           err->kind == CS_ERR_RETRY && !s->globals->no_wait && cs_session_left_ms(s) > 0) {
        sum.applied += one.applied;
        sum.rejected += one.rejected;
        sum.resigned += one.resigned;
        nanosleep(&(struct timespec){.tv_nsec = RETRY_PAUSE_MS * 1000000L}, NULL);
    }
    sum.applied += one.applied;
    sum.rejected += one.rejected;
    sum.resigned += one.resigned;
    *ret = sum;
    return ok;
}

static int flush(struct cs_session *s, struct cs_spool *spool, struct cs_publisher *publisher) {
    struct cs_err err;
    struct cs_settled total = {0}, one = {0};
    struct cs_drain d = {.spool = spool,
                         .crypto = s->crypto,
                         .publisher = publisher,
                         .clock = s->clock,
                         .on_damaged = on_damaged,
                         .arg = s};
    // Events that were signed again must be published, too. The limit is for another host with the
    // same key: with it this could go on for ever.
    for (int round = 0; round < 5; round++) {
        if (!cs_drain_run(&d, 0, s->deadline_ms, &err))
            return unknown(s->cli, &err);
        if (!s->settings->api_url[0])
            break;
        if (!settle(s, spool, &one, &err))
            return unknown(s->cli, &err);
        total.applied += one.applied;
        total.rejected += one.rejected;
        total.resigned += one.resigned;
        if (one.resigned == 0)
            break;
    }
    struct cs_spool_item *items;
    size_t left;
    if (!cs_spool_list(spool, &items, &left, &err))
        return cs_report_failure(s->cli, &err);
    free(items);
    return say_flushed(s, d.published, &total, left);
}

static int run_flush(const struct cs_cli *cli) {
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    CS_AUTO(cs_spool_free) struct cs_spool *spool = NULL;
    CS_AUTO(cs_publisher_free) struct cs_publisher *publisher = NULL;
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_LOG, &s, &err) || !cs_session_spool(&s, &spool, &err) ||
        !cs_publisher_kafka(&s.settings->kafka, s.settings->events_topic, "certsync", &publisher, &err))
        return cs_report_failure(cli, &err);
    json_decref(cs_submit_earlier(&s, spool, 0));
    cs_interrupt_set(
        s.interrupt, "sending", NULL,
        "What Kafka has not acknowledged is still in the spool, and goes out with the next command of this "
        "key. Look at it with: certsync spool list; give an event up with: certsync spool drop NUMBER");
    return flush(&s, spool, publisher);
}

// --- drop and repair -----------------------------------------------------------------------------

static const struct cs_arg drop_args[] = {
    {.name = "NUMBER",
     CS_OPT_AT_STR(struct spool, seq),
     .text = "Number of the event, as certsync spool list shows it."},
};

static int run_drop(const struct cs_cli *cli) {
    const struct spool *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    CS_AUTO(cs_spool_free) struct cs_spool *spool = NULL;
    char *end;
    long long seq = strtoll(o->seq, &end, 10);
    if (*end || end == o->seq || seq < 1 || seq >= CS_SEQ_MAX)
        return cs_cli_usage_error(cli, "\"%s\" is not a number of an event", cs_quoted(o->seq));
    if (!cs_session_open(cli, CS_NEED_KEY, &s, &err) || !cs_session_spool(&s, &spool, &err))
        return cs_report_failure(cli, &err);
    CS_AUTO(cs_spool_entry_clear) struct cs_spool_entry e = {0};
    if (cs_spool_load(spool, s.crypto, seq, &e, &err) == CS_SPOOL_GONE) {
        cs_err_set(&err, CS_ERR_CONFIG, CS_CODE_NONE, "the spool holds no event of number %lld", seq);
        return cs_report_failure(cli, &err);
    }
    bool sent = e.item.state == CS_SPOOL_SENT;
    if (!cs_spool_remove(spool, seq, &err))
        return cs_report_failure(cli, &err);
    if (s.globals->json)
        cs_report_json(cli, json_pack("{s:I, s:b}", "dropped", (json_int_t)seq, "published", sent));
    else if (sent)
        fprintf(cli->err,
                "warning: event number %lld was published before: it is decided on all the same, only its "
                "outcome will not be asked for\n",
                seq);
    else if (!s.globals->quiet)
        fprintf(cli->out, "dropped event number %lld; its number stays used\n", seq);
    return CS_EXIT_OK;
}

static const struct cs_opt repair_opts[] = {
    {.name = "above",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct spool, above),
     .value_name = "NUMBER",
     .flags = CS_OPT_REQUIRED,
     .min = 0,
     .max = CS_SEQ_MAX - 2,
     .text = "The last number of this key that is known to be used (0: only what the files say)."},
};

static int run_repair(const struct cs_cli *cli) {
    const struct spool *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    if (!cs_session_open(cli, CS_NEED_KEY, &s, &err) ||
        !cs_spool_repair(s.settings->spool, s.kid, o->above, &err))
        return cs_report_failure(cli, &err);
    if (!s.globals->quiet && !s.globals->json)
        fprintf(cli->out, "the next event gets a number above %" PRId64 "\n", o->above);
    if (s.globals->json)
        cs_report_json(cli, json_pack("{s:I}", "above", (json_int_t)o->above));
    return CS_EXIT_OK;
}

static const struct cs_command commands[] = {
    {.name = "list",
     .summary = "List the events that are to be published, or whose outcome is not known",
     .values_size = sizeof(struct spool),
     .run = run_list},
    {.name = "flush",
     .summary = "Publish what is left, and ask for the outcomes that are missing",
     .values_size = sizeof(struct spool),
     .run = run_flush},
    {.name = "drop",
     .summary = "Give an event up",
     .description = "For an event that can never be published. It is gone for good.",
     .args = drop_args,
     .arg_count = CS_ARRAY_LEN(drop_args),
     .values_size = sizeof(struct spool),
     .run = run_drop},
    {.name = "repair",
     .summary = "Say which numbers were used, after the counter was damaged",
     .opts = repair_opts,
     .opt_count = CS_ARRAY_LEN(repair_opts),
     .values_size = sizeof(struct spool),
     .run = run_repair},
};

const struct cs_command cs_cmd_spool = {
    .name = "spool",
    .summary = "Events on this host: to be published, or not judged yet",
    .description = "Every command signs its event into the spool first. Where no API is configured, "
                   "published events stay there.",
    .commands = commands,
    .command_count = CS_ARRAY_LEN(commands),
};
