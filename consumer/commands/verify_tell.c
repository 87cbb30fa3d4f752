// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "commands/verify.h"

// What a witness has cosigned, of all partitions.
struct cosigned {
    int32_t partitions;
    int64_t outcomes;
    char oldest[CS_TIME_TEXT_SIZE]; // of each partition's newest; "" if there is none
};

static struct cosigned cosigned_by(const struct verify *v, size_t witness) {
    struct cosigned all = {0};
    int64_t oldest_s = INT64_MAX;
    for (int32_t p = 0; p < v->op.partitions; p++) {
        struct cs_head_cosigned at;
        if (!cs_heads_cosigned(v->shared->heads, p, witness, &at))
            continue;
        all.partitions++;
        all.outcomes += at.size;
        oldest_s = at.time_s < oldest_s ? at.time_s : oldest_s;
    }
    if (all.partitions > 0)
        cs_time_format(oldest_s, all.oldest);
    return all;
}

static void put_witnesses(const struct verify *v, struct cs_buf *b) {
    cs_json_name(b, "witnesses");
    cs_json_begin(b, '[');
    for (size_t i = 0; i < cs_heads_witnesses(v->shared->heads); i++) {
        struct cosigned c = cosigned_by(v, i);
        cs_json_begin(b, '{');
        cs_json_str(b, "name", cs_heads_witness_key(v->shared->heads, i)->name);
        cs_json_int(b, "partitions", c.partitions);
        cs_json_int(b, "outcomes", c.outcomes);
        if (c.oldest[0])
            cs_json_str(b, "oldest", c.oldest);
        cs_json_end(b, '}');
    }
    cs_json_end(b, ']');
}

static void tell_witnesses(const struct verify *v, FILE *out) {
    for (size_t i = 0; i < cs_heads_witnesses(v->shared->heads); i++) {
        struct cosigned c = cosigned_by(v, i);
        const char *name = cs_heads_witness_key(v->shared->heads, i)->name;
        if (c.partitions == 0)
            fprintf(out, "the witness %s has cosigned nothing\n", name);
        else
            fprintf(out,
                    "the witness %s has cosigned %" PRId64
                    " of these outcomes, in %d partitions; the oldest of these cosignatures is of %s\n",
                    name, c.outcomes, (int)c.partitions, c.oldest);
    }
}

static void put_counts(const struct verify *v, struct cs_buf *b) {
    cs_json_int(b, "partitions", v->op.partitions);
    cs_json_int(b, "events", v->events);
    cs_json_int(b, "outcomes", v->outcomes);
    cs_json_int(b, "copies", v->copies);
    cs_json_int(b, "foreign", v->foreign);
    cs_json_bool(b, "marks_checked", v->op.marks != NULL);
    if (v->op.marks)
        cs_json_int(b, "marked_by_others", v->others);
    cs_json_int(b, "corrections", (int64_t)v->op.epochs.len);
    cs_json_int(b, "set_aside", v->set_aside);
    cs_json_int(b, "without_outcome", v->unjudged);
    cs_json_int(b, "derived", v->derived_events);
    cs_json_int(b, "stray", (int64_t)v->strays);
    for (int s = CS_STATUS_APPLIED; s <= CS_STATUS_DUPLICATE; s++)
        cs_json_int(b, cs_status_name((enum cs_status)s), v->by_status[s]);
    cs_json_int(b, "still_pending", v->waiting);
    if (v->o->redis)
        cs_json_int(b, "keys", v->keys);
    if (v->shared->snapshots) {
        cs_json_int(b, "snapshots", v->snapshots);
        cs_json_int(b, "snapshots_set_aside", v->old_snapshots);
        cs_json_int(b, "refused_snapshots", (int64_t)v->shared->refused_snapshots);
    }
    if (v->shared->heads) {
        struct cs_heads_count n;
        cs_heads_count(v->shared->heads, &n);
        cs_json_int(b, "checkpoints", n.published);
        cs_json_int(b, "foreign_checkpoints", n.others);
        cs_json_int(b, "checkpoints_before", n.kept);
        put_witnesses(v, b);
    }
    cs_json_int(b, "events_per_second", (int64_t)cs_progress_rate(&v->op.progress));
}

int cs_verify_tell_json(const struct verify *v) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    const struct verify_fault *f = &v->fault;
    cs_buf_init(&b, (size_t)64 * 1024 * 1024);
    cs_json_begin(&b, '{');
    cs_json_bool(&b, "ok", !f->kind);
    if (f->kind) {
        cs_json_name(&b, "fault");
        cs_json_begin(&b, '{');
        cs_json_str(&b, "kind", f->kind);
        cs_json_int(&b, "partition", f->partition);
        if (f->offset >= 0)
            cs_json_int(&b, "offset", f->offset);
        if (f->n > 0)
            cs_json_int(&b, "n", f->n);
        if (f->outcome_offset >= 0)
            cs_json_int(&b, "outcome_offset", f->outcome_offset);
        cs_json_str(&b, "message", f->text);
        if (f->judged.len > 0) {
            cs_json_name(&b, "published");
            cs_json_put_raw(&b, cs_buf_bytes(&f->published));
            cs_json_name(&b, "judged");
            cs_json_put_raw(&b, cs_buf_bytes(&f->judged));
        }
        cs_json_end(&b, '}');
    }
    put_counts(v, &b);
    cs_json_end(&b, '}');
    return cs_operator_print(&v->op, &b, f->kind ? CS_EXIT_FAILED : CS_EXIT_OK);
}

static void tell_writers(const struct verify *v, FILE *out) {
    if (!v->op.marks)
        fprintf(out, "who wrote the outcomes was not looked at: %s\n", v->op.why_no_service.msg);
    if (v->foreign > 0)
        fprintf(out,
                "%" PRId64 " records of %s were written by no consumer (the first: partition %d, offset "
                "%" PRId64 ") and count for nothing; take the right to write there away from whoever did\n",
                v->foreign, v->op.outcomes->name, (int)v->foreign_partition, v->foreign_at);
    if (v->op.marks && v->others > 0)
        fprintf(out,
                "%" PRId64
                " outcomes carry the mark of another service key: to prove that it was yours, name "
                "its file in deployment.earlier_service_keys\n",
                v->others);
}

static void tell_corrections(const struct verify *v, FILE *out) {
    const struct cs_epochs *e = &v->op.epochs;
    for (size_t i = 0; i < e->len; i++)
        fprintf(out, "root had the outcomes of partition %d from %" PRId64 " on judged anew: %s\n",
                (int)e->list[i].partition, e->list[i].from, e->list[i].reason);
    if (e->len > 0)
        fprintf(out,
                "%" PRId64 " outcomes were set aside by that; they are in the log as they were published\n",
                v->set_aside);
    if (v->op.corrections_others > 0)
        fprintf(out, "%" PRId64 " records of the topic of corrections count for nothing; %s\n",
                v->op.corrections_others, v->op.corrections_why.msg);
}

static void tell_heads(const struct verify *v, FILE *out) {
    const struct verify_shared *all = v->shared;
    struct cs_heads_count n;
    if (!all->heads) {
        fprintf(out, "checkpoints were not looked at: %s\n", all->why_no_heads);
        return;
    }
    cs_heads_count(all->heads, &n);
    if (n.published > 0)
        fprintf(out, "%" PRId64 " signed checkpoints are of these outcomes\n", n.published);
    if (n.others > 0)
        fprintf(out,
                "%" PRId64
                " records of the topic of checkpoints are not signed with this log's checkpoint key "
                "and count for nothing\n",
                n.others);
    tell_witnesses(v, out);
    if (v->o->since)
        fprintf(out,
                "%" PRId64 " checkpoints that were verified before hold, too; %" PRId64
                " are in %s now: keep it where nobody who can write to the brokers can\n",
                n.kept, n.written, v->o->since);
}

static void tell_snapshots(const struct verify *v, FILE *out) {
    const struct verify_shared *all = v->shared;
    if (all->why_no_snapshots[0])
        fprintf(out, "snapshots were not looked at: %s\n", all->why_no_snapshots);
    if (all->snapshots)
        fprintf(out, "%" PRId64 " snapshots are stated as the replay is; %zu files were no such statements\n",
                v->snapshots, all->refused_snapshots);
    if (v->old_snapshots > 0)
        fprintf(out,
                "%" PRId64
                " snapshots are of outcomes that were set aside: no command uses them, delete them\n",
                v->old_snapshots);
}

int cs_verify_tell(const struct verify *v) {
    const struct verify_fault *f = &v->fault;
    FILE *out = v->op.cli->out;
    if (f->kind) {
        fprintf(out, "FAULT (%s) in partition %d", f->kind, (int)f->partition);
        if (f->offset >= 0)
            fprintf(out, ", %s offset %" PRId64, v->op.events->name, f->offset);
        if (f->outcome_offset >= 0)
            fprintf(out, ", %s offset %" PRId64, v->op.outcomes->name, f->outcome_offset);
        fprintf(out, ":\n  %s\n", f->text);
        if (f->judged.len > 0)
            fprintf(out, "  published: %s\n  judged:    %s\n", (const char *)f->published.data,
                    (const char *)f->judged.data);
        if (f->offset >= 0 && strncmp(f->kind, "derived", 7) != 0) // those are found after all was read
            fprintf(out, "%" PRId64 " events of the partition were as they should be before it\n",
                    v->events > v->events_before ? v->events - v->events_before - 1 : 0);
        return CS_EXIT_FAILED;
    }
    fprintf(out,
            "%" PRId64 " events in %d partitions: %" PRId64 " applied, %" PRId64 " pending (%" PRId64
            " of them still), %" PRId64 " rejected, %" PRId64 " duplicate; %.0f/s\n"
            "each has exactly one outcome, numbers have no gap, the chain is unbroken, and this build judges "
            "the same\n",
            v->events, (int)v->op.partitions, v->by_status[CS_STATUS_APPLIED],
            v->by_status[CS_STATUS_PENDING], v->waiting, v->by_status[CS_STATUS_REJECTED],
            v->by_status[CS_STATUS_DUPLICATE], cs_progress_rate(&v->op.progress));
    if (v->unjudged > 0)
        fprintf(out, "%" PRId64 " records at the ends of partitions have no outcome yet\n", v->unjudged);
    if (v->copies > 0)
        fprintf(out, "%" PRId64 " outcomes were published again, alike\n", v->copies);
    tell_writers(v, out);
    tell_corrections(v, out);
    fprintf(out, "%" PRId64 " derived events were decided; all are in the log as they were decided\n",
            v->derived_events);
    if (v->strays > 0)
        fprintf(out, "%zu share events by the service key were decided by nobody\n", v->strays);
    tell_heads(v, out);
    tell_snapshots(v, out);
    if (v->o->redis)
        fprintf(out, "the catalogs in Redis (%" PRId64 " keys) equal the replay\n", v->keys);
    return CS_EXIT_OK;
}
