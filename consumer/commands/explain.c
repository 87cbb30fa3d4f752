// SPDX-License-Identifier: Apache-2.0
//
// explain: all that the log knows of one event. The record, its signer and why that was allowed,
// the verdict and its rule, what it changed. For a share, both ends.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"
#include "commands/explain.h"
#include "commands/places.h"
#include "commands/resume.h"
#include "log/find.h"

#define PLACES_MAX 10000 // records about one event or share

static const struct cs_opt opts[] = {CS_OPERATOR_OPTS(struct explain_options, log), CS_SNAPSHOTS_OPT};
static const struct cs_arg args[] = {
    {.name = "EVENT_ID", CS_OPT_AT_STR(struct explain_options, event), .text = "Id of the event (a UUID)."},
};

// --- where it is

static const char *other_account(const struct cs_event *ev) {
    switch (ev->type) {
    case CS_EVENT_CERTIFICATE_SHARE:
        return ev->data.share.to;
    case CS_EVENT_SHARE_OFFER:
        return ev->data.offer.owner_account;
    case CS_EVENT_SHARE_WITHDRAW:
        return ev->data.withdraw.owner_account;
    case CS_EVENT_SHARE_ANSWER:
        return ev->data.answer.recipient;
    default: // no step of a share
        return "";
    }
}

static bool add_place(struct explain *x, const struct cs_record *r, const struct cs_event *ev,
                      struct cs_err *err) {
    if (x->places_len == PLACES_MAX)
        return true;
    if (!CS_GROW(&x->places, &x->places_cap, x->places_len + 1))
        return cs_err_oom(err);
    struct place *p = &x->places[x->places_len++];
    *p = (struct place){
        .partition = r->partition, .offset = r->offset, .time_ms = r->timestamp_ms, .type = ev->type};
    p->main = strcmp(ev->id, x->o->event) == 0;
    memcpy(p->id, ev->id, sizeof p->id);
    memcpy(p->account, ev->account, sizeof p->account);
    snprintf(p->other, sizeof p->other, "%s", other_account(ev));
    return true;
}

static bool find(void *arg, const struct cs_record *r, struct cs_err *err) {
    struct explain *x = arg;
    CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
    struct cs_err ignored;
    bool by_id = cs_bytes_find(r->value, x->o->event);
    if ((!by_id && !(x->share[0] && cs_bytes_find(r->value, x->share))) ||
        !cs_event_decode(r->value, &ev, &ignored))
        return true;
    if (strcmp(ev->id, x->o->event) == 0 || (x->share[0] && strcmp(cs_event_share(ev), x->share) == 0)) {
        if (strcmp(ev->id, x->o->event) == 0 && !x->share[0])
            memcpy(x->share, cs_event_share(ev), strlen(cs_event_share(ev)) + 1);
        return add_place(x, r, ev, err);
    }
    return true;
}

static int by_time(const void *a, const void *b) {
    const struct place *p = a;
    const struct place *q = b;
    if (p->time_ms != q->time_ms)
        return p->time_ms < q->time_ms ? -1 : 1;
    if (p->partition != q->partition)
        return p->partition < q->partition ? -1 : 1;
    return p->offset < q->offset ? -1 : p->offset > q->offset;
}

static bool found(void *arg) {
    const struct explain *x = arg;
    for (size_t i = 0; i < x->places_len; i++)
        if (x->places[i].main)
            return true;
    return false;
}

static bool find_rest(struct explain *x, int32_t p, int64_t from, struct cs_err *err) {
    return cs_places_scan(&x->op, x->op.events, p, from, x->op.event_bounds[p].high, find, x, err);
}

// What comes of the event lies behind it, in the partition of its account; of a share in those of both
// accounts. A step of the share may have been read before the record that names the share.
static bool find_steps(struct explain *x, const struct cs_bounds *read, struct cs_err *err) {
    const struct place *main = NULL;
    for (size_t i = 0; i < x->places_len && !main; i++)
        if (x->places[i].main)
            main = &x->places[i];
    if (!main)
        return true;
    int32_t here = main->partition;
    int32_t there = main->other[0] ? cs_partition_of(main->other, x->op.partitions) : here;
    if (!x->share[0])
        return find_rest(x, here, read[here].high, err);
    x->places_len = 0;
    return find_rest(x, here, read[here].low, err) &&
           (there == here || find_rest(x, there, read[there].low, err));
}

static bool find_places(struct explain *x, struct cs_err *err) {
    struct cs_bounds *read = calloc((size_t)x->op.partitions, sizeof *read);
    if (!read)
        return cs_err_oom(err);
    bool ok = cs_places_near(&x->op, x->o->event, find, found, x, read, &x->why_all, err) &&
              find_steps(x, read, err);
    free(read);
    if (!ok)
        return false;
    if (x->places_len > 0)
        qsort(x->places, x->places_len, sizeof *x->places, by_time);
    for (size_t i = 0; i < x->places_len && !x->main; i++)
        if (x->places[i].main)
            x->main = &x->places[i];
    return x->main ||
           cs_err_set(
               err, CS_ERR_REJECT, CS_CODE_NONE,
               "no record of %s is a well-formed event with the id %s (what is not well-formed has no id "
               "that counts; see: certsync-consumer rejected --record)",
               x->op.events->name, x->o->event);
}

// --- what was decided

static bool keep_outcome(struct explain *x, const struct cs_record *r, int64_t *ret_offset,
                         struct cs_err *err) {
    CS_AUTO(cs_outcome_clear) struct cs_outcome o = {0};
    if (!cs_outcome_decode(r->value, &o, err))
        return cs_err_prepend(err, "%s partition %d offset %" PRId64, x->op.outcomes->name, (int)r->partition,
                              r->offset);
    *ret_offset = o.offset;
    for (size_t i = 0; i < x->places_len; i++) {
        struct place *p = &x->places[i];
        if (p->partition != o.partition || p->offset != o.offset || p->outcome)
            continue;
        if (!(p->outcome = malloc(r->value.len + 1)))
            return cs_err_oom(err);
        memcpy(p->outcome, r->value.data, r->value.len);
        p->outcome[r->value.len] = '\0';
    }
    return true;
}

// Reads outcomes until those of later records come. Number n is of offset n - 1 or a later one. *ret_before:
// the first that was read is of no later record than the place's, so its outcome cannot come before.
static bool read_outcomes(struct explain *x, const struct place *p, struct cs_chain *chain, bool *ret_before,
                          struct cs_err *err) {
    bool end = false;
    *ret_before = chain->last == 0;
    for (bool first = true; !p->outcome; first = false) {
        struct cs_record r;
        int64_t offset = 0;
        if (!cs_operator_published(&x->op, p->partition, chain, &r, &end, err))
            return false;
        if (end || chain->last - 1 > p->offset)
            return true;
        // An outcome tells the event only where its record was read so far.
        if (!keep_outcome(x, &r, &offset, err))
            return false;
        *ret_before |= first && offset <= p->offset;
    }
    return true;
}

// An outcome is at its event's offset, as long as nobody but the consumer wrote there, and each once.
static bool find_outcome(struct explain *x, const struct place *p, struct cs_err *err) {
    struct cs_chain chain;
    bool before = false;
    if (p->outcome)
        return true;
    if (!cs_places_published(&x->op, p->partition, p->offset, &chain, err) ||
        !read_outcomes(x, p, &chain, &before, err))
        return false;
    chain = (struct cs_chain){0};
    if (p->outcome || before)
        return true;
    x->all_outcomes = true;
    return read_outcomes(x, p, &chain, &before, err);
}

static bool find_outcomes(struct explain *x, struct cs_err *err) {
    for (size_t i = 0; i < x->places_len; i++)
        if (!find_outcome(x, &x->places[i], err))
            return false;
    return true;
}

// --- judging it again

// Judges the record itself. Nothing after it matters.
static bool take(void *arg, const struct cs_record *r, const struct cs_replayed *mine, struct cs_err *err) {
    struct explain *x = arg;
    // What is refused before its content counts (it has no signature) was not decoded by the judge.
    CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
    if (r->offset != x->main->offset)
        return true;
    if (!cs_event_decode(r->value, &ev, err))
        return false;
    x->told = true;
    x->differs =
        x->main->outcome && (strlen(x->main->outcome) != mine->outcome_json.len ||
                             memcmp(x->main->outcome, mine->outcome_json.data, mine->outcome_json.len) != 0);
    cs_explain_tell(x, r, ev, mine);
    return true;
}

static struct cs_moment up_to_it(const struct explain *x, bool with) {
    return (struct cs_moment){.given = true, .partition = -1, .offset = x->main->offset + with};
}

static bool judge_all(struct explain *x, struct cs_err *err) {
    struct cs_moment until = up_to_it(x, true), before = up_to_it(x, false);
    const struct cs_snapshot_dir *dir = x->main->outcome ? NULL : x->snapshots;
    struct cs_resume from = {.dir = dir, .partition = x->main->partition, .until = &before};
    x->told = false;
    x->judged = 0;
    if (!cs_resume(&x->op, &from, err))
        return false;
    x->from = from.snapshot.at.size;
    return cs_operator_walk_on(&x->op, x->main->partition, &until, take, x, err);
}

// What its account's catalog rests on is enough. Whether it was, the published outcome tells: what comes
// out must be the same. Otherwise all is judged.
static bool judge_account(struct explain *x, struct cs_err *err) {
    CS_AUTO(cs_outcome_clear) struct cs_outcome published = {0};
    struct cs_moment until = up_to_it(x, true);
    struct cs_err ignored;
    const char *outcome = x->main->outcome;
    if (!outcome || !cs_outcome_decode((struct cs_bytes){(const uint8_t *)outcome, strlen(outcome)},
                                       &published, &ignored))
        return true;
    struct cs_account_walk walk = {.account = x->main->account,
                                   .partition = x->main->partition,
                                   .until = &until,
                                   .published = &published,
                                   .snapshots = x->snapshots,
                                   .fn = take,
                                   .arg = x};
    bool ok = cs_places_walk(&x->op, &walk, err);
    x->judged = walk.judged;
    x->records = walk.records;
    x->from = walk.from;
    return ok;
}

// A snapshot is never the truth: where the published outcome does not come of it, it is not used.
static bool judge_again(struct explain *x, const struct cs_cli *cli, struct cs_err *err) {
    fprintf(cli->err, "%s: the outcome does not come of the snapshot, which is not used\n", cli->path);
    x->snapshots = NULL;
    return judge_account(x, err);
}

static bool do_explain(struct explain *x, const struct cs_cli *cli, struct cs_err *err) {
    const char *id = x->o->event;
    struct cs_snapshot_dir dir;
    if (!cs_uuid_valid(id, strlen(id)))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%.64s is no event id: a UUID in lower case", id);
    if (!cs_operator_open(cli, &x->o->log, CS_OPERATOR_OUTCOMES | CS_OPERATOR_REPLAY, &x->op, err))
        return false;
    cs_progress_start(&x->op.progress, cli->screen, "looking for the event", cs_operator_total(&x->op));
    if (!find_places(x, err) || !find_outcomes(x, err))
        return false;
    cs_progress_end(&x->op.progress);
    cs_progress_start(&x->op.progress, cli->screen, "judging what came before it", 0);
    x->snapshots = cs_resume_from(&x->op, &dir);
    if (!judge_account(x, err) || (x->told && x->differs && x->from > 0 && !judge_again(x, cli, err)) ||
        ((!x->told || x->differs) && !judge_all(x, err)))
        return false;
    if (!x->told)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the record is not there any more");
    return cs_explain_tell_way(x, err);
}

// It was slow; the next one need not be, if somebody knows why.
static void tell_all(const struct explain *x, const struct cs_cli *cli) {
    if (x->why_all)
        fprintf(cli->err, "%s: all of %s was read to find the event: %s\n", cli->path, x->op.events->name,
                x->why_all);
    if (x->all_outcomes)
        fprintf(cli->err,
                "%s: all outcomes of the partition up to the event were read: %s holds records before it "
                "that are "
                "no outcomes, or copies\n",
                cli->path, x->op.outcomes->name);
    if (x->told && x->judged == 0)
        fprintf(cli->err, "%s: all records of partition %d %sup to the event were judged: %s\n", cli->path,
                (int)x->main->partition, x->from > 0 ? "from a snapshot " : "",
                x->differs         ? "its published outcome is another one than this build's"
                : x->main->outcome ? "what its account's catalog rests on did not give its published outcome"
                                   : "it has no published outcome yet");
}

static int run_explain(const struct cs_cli *cli) {
    struct explain x = {.o = cli->values};
    struct cs_err err;
    x.json = x.o->log.json;
    cs_buf_init(&x.b, (size_t)64 * 1024 * 1024);
    bool ok = do_explain(&x, cli, &err);
    cs_progress_end(&x.op.progress);
    tell_all(&x, cli);
    int code = ok ? cs_operator_print(&x.op, &x.b, CS_EXIT_OK) : cs_consumer_failure(cli, &err);
    for (size_t i = 0; i < x.places_len; i++)
        free(x.places[i].outcome);
    free(x.places);
    cs_buf_clear(&x.b);
    cs_operator_close(&x.op);
    return code;
}

const struct cs_command cs_cmd_explain = {
    .name = "explain",
    .summary = "Explain one event: record, signer, verdict, rule, changes, and the way of a share",
    .description = "Finds the event's record in cert.events, by the time in its id, and its outcome in "
                   "cert.outcomes; judges again in memory what its account's catalog rests on, up to it, "
                   "and says: the record; who signed it, as trusted or enrolled then; the verdict "
                   "with its rule; what it "
                   "changed and emitted. For a share, or a step of one, all steps at both accounts.",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct explain_options),
    .run = run_explain,
};
