// SPDX-License-Identifier: Apache-2.0
//
// Corrections: a release judges wrongly, and is published. Then the right one comes, and root has the
// outcomes judged anew from the first wrong one on, or from an earlier one. Later root may do so again, for
// nothing. Workers hear of it when they hear of it.
#include <stdlib.h>
#include <string.h>

#include "rules/rules_internal.h"
#include "sim.h"
#include "worker/outcome_chain.h"

struct cs_epochs epochs_of(const struct sim *s) {
    return (struct cs_epochs){s->corrections, s->corrections_len};
}

int64_t epoch_of(const struct sim *s, int32_t partition, int64_t n) {
    const struct cs_epochs e = epochs_of(s);
    return cs_epoch_of(&e, partition, n);
}

bool set_aside(const struct sim *s, int32_t partition, struct cs_bytes value) {
    return cs_outcome_epoch(value) < epoch_of(s, partition, cs_outcome_number(value));
}

const struct cs_rulebook *wrong_book(void) {
    static struct cs_rulebook book;
    book = cs_rulebook;
    book.offer.len = 0;
    return &book;
}

const struct sim_oracle *base_of(const struct sim *s, int32_t partition) {
    return s->book || s->corrections_len > 0 ? NULL : &s->base[partition];
}

// The first number that another release judges otherwise; behind the last where there is none.
static int64_t first_wrong(struct sim *s, int32_t p, const struct cs_rulebook *book) {
    struct sim_oracle is;
    struct sim_oracle was;
    int64_t end = (int64_t)s->logs[CS_PUBLISH_EVENTS][p].len;
    int64_t n = 1;
    oracle_run(s, &is, p, end, NULL);
    s->book = book;
    oracle_run(s, &was, p, end, NULL);
    s->book = NULL;
    while (n <= is.position.outcomes && cs_bytes_equal(is.outcomes[n - 1], was.outcomes[n - 1]))
        n++;
    oracle_free(&is);
    oracle_free(&was);
    return n;
}

static void add(struct sim *s, int32_t p, int64_t from) {
    struct cs_correction *c = &s->corrections[s->corrections_len];
    *c = (struct cs_correction){.partition = p, .from = from};
    s->corrections_len++;
    memset(&s->checkpoints[p], 0, sizeof s->checkpoints[p]); // the new epoch has none
    tell(s, "root has the outcomes of partition %d judged anew from %lld on", (int)p, (long long)from);
}

// All workers get the right release, and begin again. What was sent may come yet.
static void release(struct sim *s) {
    const struct cs_rulebook *wrong = s->book;
    s->book = NULL;
    for (int i = 0; i < s->workers_len; i++) {
        s->workers[i].env.apply.rules.book = NULL;
        for (int32_t p = 0; p < PARTITIONS; p++)
            worker_let_go(&s->workers[i], p);
    }
    tell(s, "the right release comes");
    for (int32_t p = 0; p < PARTITIONS; p++) {
        int64_t wrong_at = first_wrong(s, p, wrong);
        if (wrong_at <= (int64_t)s->logs[CS_PUBLISH_EVENTS][p].len)
            add(s, p, 1 + (int64_t)draw(s, (unsigned)wrong_at));
    }
}

void correct(struct sim *s, int32_t p) {
    size_t ignored = 0;
    if (s->depth > 0 || s->damage != UNHARMED)
        return;
    if (s->book) {
        release(s);
        return;
    }
    int64_t last = published(s, p, &ignored);
    if (s->corrections_len < CORRECTED && last > 0)
        add(s, p, 1 + (int64_t)draw(s, (unsigned)last));
}
