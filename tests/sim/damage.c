// SPDX-License-Identifier: Apache-2.0
//
// What somebody else does to the outcomes: writes what does not belong there, or takes away what does.
#define _GNU_SOURCE // memmem
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "worker/outcome_chain.h"

static struct sim_oracle whole(struct sim *s, int32_t p) {
    struct sim_oracle o;
    oracle_run(s, &o, p, (int64_t)s->logs[CS_PUBLISH_EVENTS][p].len, base_of(s, p));
    return o;
}

int64_t published(struct sim *s, int32_t p, size_t *ret_first) {
    const struct sim_log *l = &s->logs[CS_PUBLISH_OUTCOMES][p];
    int64_t last = 0;
    for (size_t i = 0; i < l->len; i++)
        if (!l->records[i].planted && cs_outcome_number(l->records[i].value) == last + 1 &&
            !set_aside(s, p, l->records[i].value)) {
            last++;
            *ret_first = i;
        }
    return last;
}

// The same outcome, but of another record.
static struct cs_bytes forged(struct sim *s, struct cs_bytes value) {
    static const char member[] = "\"record\":\"";
    struct cs_bytes copy = arena_bytes(s, value);
    uint8_t *data = (uint8_t *)(uintptr_t)copy.data;
    for (size_t i = 0; i + sizeof member < copy.len; i++)
        if (memcmp(data + i, member, sizeof member - 1) == 0) {
            uint8_t *digit = data + i + sizeof member - 1;
            *digit = *digit == '0' ? '1' : '0';
            return copy;
        }
    abort();
}

static bool nothing_under_way(const struct sim *s) {
    for (int i = 0; i < s->workers_len; i++)
        if (s->workers[i].flying >= 0 || s->workers[i].publisher.len > 0)
            return false;
    return true;
}

static bool at_ease(struct sim *s, int32_t p, int64_t last) {
    struct cs_generations g;
    struct cs_err err;
    return nothing_under_way(s) && s->admin->ops->generations(s->admin, p, &g, &err) &&
           g.live_position.outcomes == last && last > 2;
}

// A catalog in which another deployment's name stands.
static const struct cs_state *foreign_system(struct cs_state *state) {
    struct cs_bytes doc;
    struct cs_err err;
    char text[512];
    if (cs_state_get(state, cs_key_system(CS_NEW_KEY), &doc) != CS_FOUND || doc.len >= sizeof text)
        abort();
    memcpy(text, doc.data, doc.len);
    char *name = memmem(text, doc.len, FX_DEPLOYMENT, strlen(FX_DEPLOYMENT));
    if (!name)
        abort();
    *name = 'x';
    cs_state_begin(state);
    cs_state_put(state, cs_key_system(CS_NEW_KEY), (struct cs_bytes){(const uint8_t *)text, doc.len});
    if (!cs_state_keep(state, &err))
        abort();
    return state;
}

static bool is_behind(struct sim *s, int32_t p) {
    struct cs_generations g;
    struct cs_err err;
    return nothing_under_way(s) && s->admin->ops->generations(s->admin, p, &g, &err) &&
           g.live_position.next_offset < (int64_t)s->logs[CS_PUBLISH_EVENTS][p].len;
}

void do_damage(struct sim *s) {
    int32_t p = s->damaged;
    struct sim_log *l = &s->logs[CS_PUBLISH_OUTCOMES][p];
    size_t first = 0;
    int64_t last = published(s, p, &first);
    bool room = (size_t)last + 2 < s->logs[CS_PUBLISH_EVENTS][p].len;
    if (s->damage == UNHARMED || s->damage >= RULESET || s->damage_n || s->depth > 0)
        return;
    struct sim_oracle o = whole(s, p);
    if (s->damage == FOREIGN && o.position.outcomes > last) { // as far as the catalog is
        oracle_free(&o);
        oracle_run(s, &o, p, last, base_of(s, p));
    }
    if (s->damage <= GAP && room) {
        int64_t n = s->damage == GAP ? last + 2 : last + 1;
        struct sim_record r = {.value = o.outcomes[n - 1], .foreign = true};
        r.key = (struct cs_bytes){(const uint8_t *)o.accounts[n - 1], strlen(o.accounts[n - 1])};
        if (s->damage == FORGED)
            r.value = forged(s, r.value);
        else if (s->damage == FORGED_KEY)
            r.key = (struct cs_bytes){(const uint8_t *)"somebody", 8};
        if (s->damage != GAP || (int64_t)l->len >= n - 1) {
            log_mark(s, p, &r); // whoever did this had the service key
            log_append(s, CS_PUBLISH_OUTCOMES, p, r);
            s->damage_n = n;
        }
    } else if (s->damage == FOREIGN && at_ease(s, p, last)) {
        store_restore(s, p, &o.position, foreign_system(o.state));
        s->damage_n = last + 1;
    } else if (s->damage == DELETED && at_ease(s, p, last)) {
        store_reset(s, p);
        s->low[p] = 1 + (int64_t)draw(s, (unsigned)first);
        s->damage_n = last + 1;
    } else if (s->damage == CIRCLES && is_behind(s, p)) {
        s->damage_n = last + 1;
    } else if (s->damage > GAP && s->damage < FOREIGN && at_ease(s, p, last)) {
        struct cs_bytes other = forged(s, l->records[first].value);
        if (s->damage == TRUNCATED)
            l->len = first;
        for (size_t i = first; i < l->len; i++)
            if (!l->records[i].planted && cs_outcome_number(l->records[i].value) == last) {
                l->records[i].value = other;
                log_mark(s, p, &l->records[i]);
            }
        s->damage_n = last + 1;
    }
    for (int i = 0; i < s->workers_len && s->damage_n && s->damage > GAP; i++)
        worker_let_go(&s->workers[i], p); // only whoever begins reads it again
    if (s->damage_n)
        tell(s, "damage %d to partition %d, outcome %lld", s->damage, (int)p, (long long)s->damage_n);
    oracle_free(&o);
}

// The outcome that comes next, or another one of its number, as who judges the log can make it, without
// the service key: no mark, or a false one.
static struct sim_record planted(struct sim *s, int32_t p, int64_t n) {
    struct sim_oracle o = whole(s, p);
    struct sim_record r = {.value = o.outcomes[n - 1], .foreign = true, .planted = true};
    r.key = (struct cs_bytes){(const uint8_t *)o.accounts[n - 1], strlen(o.accounts[n - 1])};
    if (draw(s, 2))
        r.value = forged(s, r.value);
    if (draw(s, 2)) {
        log_mark(s, p, &r);
        uint8_t *last = (uint8_t *)(uintptr_t)r.mark.data + r.mark.len - 1;
        *last = *last == 'A' ? 'Q' : 'A';
    }
    oracle_free(&o);
    return r;
}

// What somebody else writes to the outcomes: nothing at all, an outcome again, or what looks like the
// next. Copies may hide what is published; so there are none where it proves the times of an imported log.
void add_junk(struct sim *s, int32_t p) {
    struct sim_log *l = &s->logs[CS_PUBLISH_OUTCOMES][p];
    struct sim_record r = {.value = {(const uint8_t *)"{\"n\":0,junk", 11}, .foreign = true};
    size_t ignored = 0;
    int64_t next = published(s, p, &ignored) + 1;
    if (l->len > 0 && draw(s, 2))
        r = l->records[draw(s, (unsigned)l->len)];
    else if (next <= (int64_t)s->logs[CS_PUBLISH_EVENTS][p].len && s->damage < RULESET && draw(s, 2))
        r = planted(s, p, next);
    if (s->imported[p] == 0 && (s->damage_n == 0 || s->damaged != p))
        for (unsigned n = draw(s, 3) ? 1 : 1 + draw(s, 2 * CS_CURSOR_TAIL); n > 0; n--)
            log_append(s, CS_PUBLISH_OUTCOMES, p, r);
    tell(s, "somebody writes to the outcomes of partition %d", (int)p);
}

// How many of them must stay: a catalog stands on them, or may stand there again.
static int64_t stood_on(struct sim *s, int32_t p) {
    struct cs_generations g;
    struct cs_err err;
    if (!s->admin->ops->generations(s->admin, p, &g, &err))
        abort();
    int64_t most = g.live_position.outcomes;
    if (g.next && g.next_position.outcomes > most)
        most = g.next_position.outcomes;
    for (size_t i = 0; i < SNAPSHOTS; i++)
        if (s->snapshots[p][i].state && s->snapshots[p][i].position.outcomes > most)
            most = s->snapshots[p][i].position.outcomes;
    return most;
}

void lose_outcomes(struct sim *s, int32_t p) {
    struct sim_log *l = &s->logs[CS_PUBLISH_OUTCOMES][p];
    int64_t keep = stood_on(s, p);
    if (keep < s->imported[p])
        keep = s->imported[p];
    int64_t last = 0;
    size_t least = 0;
    if (!nothing_under_way(s) || (s->damage_n && s->damaged == p))
        return;
    while (least < l->len && last < keep) {
        const struct sim_record *r = &l->records[least++];
        last += !r->planted && cs_outcome_number(r->value) == last + 1 && !set_aside(s, p, r->value);
    }
    l->len = least + draw(s, (unsigned)(l->len - least) + 1);
    tell(s, "outcomes of partition %d are lost behind %lld, where no catalog stands", (int)p,
         (long long)keep);
}
