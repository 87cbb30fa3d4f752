// SPDX-License-Identifier: Apache-2.0
//
// certsync-sim: runs of simulated workers, each drawn from its seed (sim.h). ./dev sim --help
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

#define ARENA      ((size_t)64 * 1024 * 1024)
#define HEAL_STEPS 20000

// --- what a run is made of

static uint64_t next_random(struct sim *s) { // splitmix64
    uint64_t z = s->random += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

unsigned draw(struct sim *s, unsigned n) {
    return n < 2 ? 0 : (unsigned)(next_random(s) >> 32) % n;
}

bool chance(struct sim *s, unsigned in_1000) {
    return !s->healing && draw(s, 1000) < in_1000;
}

bool fault(struct sim *s, const char *what, struct cs_err *err) {
    if (!chance(s, s->faults))
        return false;
    s->struck++;
    cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "a fault: %s", what);
    return true;
}

void *arena(struct sim *s, size_t len) {
    void *p = s->arena + s->arena_len;
    s->arena_len += (len + 7) / 8 * 8;
    if (s->arena_len > ARENA) {
        fprintf(stderr, "sim: seed %" PRIu64 " takes too much memory\n", s->seed);
        exit(2);
    }
    return p;
}

struct cs_bytes arena_bytes(struct sim *s, struct cs_bytes from) {
    uint8_t *copy = arena(s, from.len + 1);
    if (from.len > 0)
        memcpy(copy, from.data, from.len);
    return (struct cs_bytes){copy, from.len};
}

void tell(struct sim *s, const char *fmt, ...) {
    va_list args;
    if (!s->tell)
        return;
    va_start(args, fmt);
    printf("%5u  ", s->steps);
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
}

void violation(struct sim *s, const char *fmt, ...) {
    va_list args;
    if (s->violation[0])
        return;
    va_start(args, fmt);
    vsnprintf(s->violation, sizeof s->violation, fmt, args);
    va_end(args);
    tell(s, "VIOLATION: %s", s->violation);
}

static void append_event(struct sim *s, int32_t p, const struct sim_event *e, bool sender_time) {
    log_append(s, CS_PUBLISH_EVENTS, p, (struct sim_record){.event = e, .sender_time = sender_time});
}

static void append_outcome(struct sim *s, int32_t p, const struct sim_oracle *o, int64_t n) {
    const char *account = o->accounts[n - 1];
    struct sim_record r = {.key = {(const uint8_t *)account, strlen(account)}, .value = o->outcomes[n - 1]};
    log_mark(s, p, &r);
    log_append(s, CS_PUBLISH_OUTCOMES, p, r);
}

// The base of a partition, before anything happens: nothing published, published and not committed,
// or both.
static void begin_partition(struct sim *s, int32_t p, unsigned how) {
    const struct sim_oracle *base = &s->base[p];
    s->imported[p] =
        how > 0 && !s->book && draw(s, 4) == 0 ? (int64_t)draw(s, (unsigned)s->pool->base_len[p] + 1) : 0;
    for (size_t i = 0; i < s->pool->base_len[p]; i++)
        append_event(s, p, s->pool->base[p][i], (int64_t)i < s->imported[p]);
    if (how == 0)
        return;
    for (int64_t n = 1; n <= base->position.outcomes; n++)
        append_outcome(s, p, base, n);
    if (how > 1)
        store_restore(s, p, &base->position, base->state);
}

// In the order of the pool, in which most of them are applied, or in any.
static void draw_inputs(struct sim *s) {
    const struct sim_pool *pool = s->pool;
    size_t n = 1 + draw(s, 8);
    size_t at = draw(s, (unsigned)pool->more_len / 2);
    bool ordered = draw(s, 10) < 7;
    s->inputs_len = s->inputs_at = 0;
    for (size_t i = 0; i < n; i++) {
        at = ordered ? at + draw(s, 4) : draw(s, (unsigned)pool->more_len);
        s->inputs[s->inputs_len++] = pool->more[at % pool->more_len];
    }
    if (s->damage == RULESET)
        s->inputs[draw(s, (unsigned)n)] = pool->unknown_ruleset[s->damaged];
    if (s->damage == SENDER_TIME) {
        s->timed = draw(s, (unsigned)n);
        s->damaged = s->inputs[s->timed]->record.partition;
    }
}

// --- steps

static struct sim_worker *any_worker(struct sim *s) {
    return &s->workers[draw(s, (unsigned)s->workers_len)];
}

static void next_input(struct sim *s) {
    if (s->inputs_at == s->inputs_len)
        return;
    bool sender_time = s->damage == SENDER_TIME && s->inputs_at == s->timed;
    const struct sim_event *e = s->inputs[s->inputs_at++];
    int32_t p = e->record.partition;
    tell(s, "an event is written to partition %d at %zu", (int)p, s->logs[CS_PUBLISH_EVENTS][p].len);
    if (e == s->pool->unknown_ruleset[p] || sender_time)
        s->damage_n = (int64_t)s->logs[CS_PUBLISH_EVENTS][p].len + 1;
    append_event(s, p, e, sender_time);
}

static void ordinary_step(struct sim *s) {
    struct sim_worker *w = any_worker(s);
    unsigned what = draw(s, 100);
    s->steps++;
    if (what < 12)
        next_input(s);
    else if (what < 35 && w->publisher.len > 0)
        broker_step(s, &w->publisher);
    else
        worker_step(w);
}

void meanwhile(struct sim *s) {
    unsigned struck = s->struck;
    bool may_wait = s->may_wait;
    if (s->depth > 1 || s->healing)
        return;
    s->depth++;
    if (chance(s, s->faults / 4))
        store_reset_next(s, (int32_t)draw(s, PARTITIONS));
    for (unsigned n = draw(s, 3); n > 0; n--)
        ordinary_step(s);
    s->depth--;
    s->struck = struck;
    s->may_wait = may_wait;
}

// What it had sent may be lost with it.
static void kill_worker(struct sim *s, struct sim_worker *w) {
    tell(s, "worker %d is killed", w->index);
    for (int32_t p = 0; p < PARTITIONS; p++)
        worker_let_go(w, p);
    w->publisher.len = draw(s, (unsigned)w->publisher.len + 1);
}

// The catalog is emptied, or stands where it once stood.
static void lose_data(struct sim *s, int32_t p) {
    const struct sim_snapshot *old = &s->snapshots[p][draw(s, SNAPSHOTS)];
    if (s->damage > GAP)
        return;
    if (old->state && draw(s, 3)) {
        tell(s, "the catalog of partition %d is turned back to %lld", (int)p,
             (long long)old->position.next_offset);
        store_restore(s, p, &old->position, old->state);
    } else {
        tell(s, "the catalog of partition %d is emptied", (int)p);
        store_reset(s, p);
    }
}

static void step(struct sim *s) {
    unsigned what = draw(s, 100);
    struct sim_worker *w = any_worker(s);
    int32_t p = (int32_t)draw(s, PARTITIONS);
    if (what < 85) {
        ordinary_step(s);
        return;
    }
    s->steps++;
    if (what < 88) {
        w->frozen = !w->frozen;
        tell(s, "worker %d is %s", w->index, w->frozen ? "frozen" : "thawed");
    } else if (what < 91) {
        w->owns[p] = !w->owns[p];
        worker_let_go(w, p);
        tell(s, "worker %d %s partition %d", w->index, w->owns[p] ? "gets" : "loses", (int)p);
    } else if (what < 94) {
        store_snapshot(s, p);
    } else if (what < 96) {
        do_damage(s);
    } else if (what == 96) {
        correct(s, p);
    } else if (s->faults == 0) {
        ordinary_step(s);
    } else if (what == 97) {
        kill_worker(s, w);
    } else if (what == 98) {
        lose_data(s, p);
    } else if (draw(s, 6) == 0) {
        if (s->book || (s->damage > GAP && s->damage != DELETED && s->damaged == p))
            return; // rebuilds judge rightly; it would mend it
        s->depth++;
        rebuild_whole(s, &s->rebuilders[draw(s, REBUILDERS)], p);
        s->depth--;
    } else if (draw(s, 3) == 0) {
        add_junk(s, p);
    } else {
        lose_outcomes(s, p);
    }
}

// --- the end of a run

static bool all_stopped(const struct sim *s, int32_t p) {
    for (int i = 0; i < s->workers_len; i++)
        if (s->workers[i].owns[p] && s->workers[i].state[p] != STOPPED)
            return false;
    return true;
}

static bool partition_rests(struct sim *s, int32_t p) {
    struct cs_generations g;
    struct cs_err err;
    if (!s->admin->ops->generations(s->admin, p, &g, &err))
        abort();
    bool damaged = s->damaged == p && s->damage_n;
    bool at_end = g.live_position.next_offset == (int64_t)s->logs[CS_PUBLISH_EVENTS][p].len &&
                  g.live_position.epoch == epoch_of(s, p, g.live_position.outcomes);
    return damaged && all_stopped(s, p)
               ? true
               : at_end && (!damaged || s->damage == FORGED_KEY || s->damage == CIRCLES);
}

static bool rests(struct sim *s) {
    for (int i = 0; i < s->workers_len; i++)
        if (s->workers[i].flying >= 0 || s->workers[i].publisher.len > 0)
            return false;
    for (int32_t p = 0; p < PARTITIONS; p++)
        if (!partition_rests(s, p))
            return false;
    return s->inputs_at == s->inputs_len;
}

static void heal(struct sim *s) {
    do_damage(s);
    if (s->book) // a wrong release is found out at last
        correct(s, 0);
    s->healing = true;
    tell(s, "no more faults");
    for (int i = 0; i < s->workers_len; i++) {
        struct sim_worker *w = &s->workers[i];
        w->frozen = false;
        for (int32_t p = 0; p < PARTITIONS; p++)
            if (s->damaged == p && s->damage_n && w->state[p] != STOPPED)
                worker_let_go(w, p); // whoever begins sees it
    }
    for (int32_t p = 0; p < PARTITIONS; p++)
        s->workers[draw(s, (unsigned)s->workers_len)].owns[p] = true;
    for (int i = 0; !s->violation[0] && !rests(s); i++) {
        if (i == HEAL_STEPS) {
            violation(s, "never at rest");
            return;
        }
        ordinary_step(s);
    }
}

// From offset 0, by one who knows nothing: the same bytes, and nothing published.
static void again(struct sim *s) {
    struct sim_worker *w = &s->workers[0];
    tell(s, "again from offset 0");
    for (int i = 0; i < s->workers_len; i++)
        for (int32_t p = 0; p < PARTITIONS; p++) {
            worker_let_go(&s->workers[i], p);
            s->workers[i].owns[p] = i == 0;
        }
    for (int32_t p = 0; p < PARTITIONS; p++)
        store_reset(s, p);
    // Behind many copies a tail hides what was published: it is published again then, the same.
    s->closed = true;
    for (int32_t p = 0; p < PARTITIONS; p++)
        s->closed = s->closed && s->logs[CS_PUBLISH_OUTCOMES][p].len == s->logs[CS_PUBLISH_EVENTS][p].len;
    for (int i = 0; !s->violation[0] && !rests(s); i++) {
        if (i == HEAL_STEPS) {
            violation(s, "a replay does not come to its end");
            return;
        }
        s->steps++;
        if (w->publisher.len > 0)
            broker_step(s, &w->publisher);
        else
            worker_step(w);
    }
    if (!s->violation[0])
        judge_rest(s);
}

static void begin(struct sim *s) {
    static const unsigned faults[] = {0, 5, 20, 60};
    struct cs_err err;
    s->random = s->seed * 0x2545f4914f6cdd1d;
    s->steps = 0;
    s->healing = s->closed = false;
    s->depth = 0;
    s->rival = false;
    s->may_wait = true;
    memset(s->low, 0, sizeof s->low);
    memset(s->checkpoints, 0, sizeof s->checkpoints);
    s->violation[0] = '\0';
    s->arena_len = s->arena_floor;
    s->faults = faults[draw(s, CS_ARRAY_LEN(faults))];
    s->damage = draw(s, 5) ? UNHARMED : (enum sim_damage)(1 + draw(s, SENDER_TIME));
    s->damaged = (int32_t)draw(s, PARTITIONS);
    s->damage_n = 0;
    s->corrections_len = 0;
    s->book = s->damage == UNHARMED && draw(s, 3) == 0 ? wrong_book() : NULL;
    if (!cs_memory_store_new(&s->store, &err) || !cs_catalog_memory_new(s->store, &s->admin, &err))
        abort();
    unsigned how = draw(s, 5);
    for (int32_t p = 0; p < PARTITIONS; p++)
        begin_partition(s, p, how);
    draw_inputs(s);
    s->workers_len = 1 + (int)draw(s, WORKERS);
    for (int i = 0; i < s->workers_len; i++)
        worker_begin(&s->workers[i]);
}

static void end(struct sim *s) {
    for (int i = 0; i < s->workers_len; i++)
        worker_end(&s->workers[i]);
    cs_catalog_free(s->admin);
    cs_memory_store_free(s->store);
    for (int32_t p = 0; p < PARTITIONS; p++) {
        s->logs[0][p].len = s->logs[1][p].len = 0;
        for (size_t i = 0; i < SNAPSHOTS; i++) {
            cs_state_free(s->snapshots[p][i].state);
            s->snapshots[p][i].state = NULL;
        }
    }
}

static bool run(struct sim *s, uint64_t seed) {
    s->seed = seed;
    begin(s);
    for (unsigned n = 20 + draw(s, 120); n > 0 && !s->violation[0]; n--)
        step(s);
    if (!s->violation[0])
        heal(s);
    if (!s->violation[0])
        judge_rest(s);
    if (!s->violation[0] && s->damage_n == 0 && draw(s, 8) == 0)
        again(s);
    end(s);
    return !s->violation[0];
}

// --- the command

struct options {
    uint64_t runs, seed;
    int jobs, patience;
    int64_t seconds;
    bool tell, loud;
};

struct tally { // what a process did
    uint64_t runs, steps, failures, first_failure;
};

static int64_t now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

// A run in which all is rebuilt once, so that the rebuilders have met all keys.
static void warm(struct sim *s) {
    static const int64_t how[REBUILDERS][3] = {{1, 1 << 20, 0}, {9, 300, 1 << 20}, {4, 1 << 20, 1 << 20}};
    s->healing = true;
    if (!cs_memory_store_new(&s->store, &(struct cs_err){.kind = CS_ERR_RETRY}) ||
        !cs_catalog_memory_new(s->store, &s->admin, &(struct cs_err){.kind = CS_ERR_RETRY}))
        abort();
    for (int32_t p = 0; p < PARTITIONS; p++)
        begin_partition(s, p, 2);
    for (size_t i = 0; i < REBUILDERS; i++) {
        rebuilder_make(s, &s->rebuilders[i], how[i][0], how[i][1], how[i][2]);
        for (int32_t p = 0; p < PARTITIONS; p++)
            rebuild_whole(s, &s->rebuilders[i], p);
    }
    end(s);
}

static struct sim *sim_new(struct sim_pool *pool, bool tells) {
    static struct sim_oracle base[PARTITIONS];
    struct sim *s = calloc(1, sizeof *s);
    if (!s || !(s->arena = malloc(ARENA)))
        abort();
    s->pool = pool;
    s->base = base;
    s->damaged = -1;
    for (int32_t p = 0; p < PARTITIONS; p++) {
        for (size_t i = 0; i < pool->base_len[p]; i++)
            append_event(s, p, pool->base[p][i], false);
        oracle_run(s, &base[p], p, (int64_t)pool->base_len[p], NULL);
        s->logs[CS_PUBLISH_EVENTS][p].len = 0;
    }
    s->arena_floor = s->arena_len;
    for (int i = 0; i < WORKERS; i++) {
        s->workers[i].s = s;
        s->workers[i].index = i;
        cs_flight_init(&s->workers[i].flight, &s->workers[i].env);
    }
    warm(s);
    s->tell = tells;
    return s;
}

static void sim_free(struct sim *s) {
    for (int i = 0; i < WORKERS; i++)
        cs_flight_clear(&s->workers[i].flight);
    for (size_t i = 0; i < REBUILDERS; i++)
        cs_rebuilder_free(s->rebuilders[i].r);
    for (int32_t p = 0; p < PARTITIONS; p++) {
        oracle_free(&s->base[p]);
        free(s->logs[0][p].records);
        free(s->logs[1][p].records);
    }
    free(s->arena);
    free(s);
}

static char endless[64]; // what is said of the run where it does not end

static void no_end(int sig) {
    (void)sig;
    if (write(STDERR_FILENO, endless, strlen(endless)) >= 0)
        _exit(1);
    _exit(2);
}

static struct tally run_some(const struct options *o, int job, int64_t until_s) {
    struct tally t = {0};
    struct sim_pool pool;
    pool_make(&pool);
    signal(SIGALRM, no_end);
    snprintf(endless, sizeof endless, "the first rebuilds do not end\n");
    alarm((unsigned)o->patience);
    struct sim *s = sim_new(&pool, o->tell);
    for (uint64_t i = (uint64_t)job; i < o->runs && t.failures < 3; i += (uint64_t)o->jobs) {
        if (o->seconds && now_s() >= until_s)
            break;
        t.runs++;
        snprintf(endless, sizeof endless, "seed %" PRIu64 ": it does not end\n", o->seed + i);
        alarm((unsigned)o->patience);
        if (!run(s, o->seed + i)) {
            if (t.failures++ == 0)
                t.first_failure = s->seed;
            fprintf(stderr, "seed %" PRIu64 ": %s\n", s->seed, s->violation);
        }
        t.steps += s->steps;
    }
    alarm(0);
    sim_free(s);
    pool_free(&pool);
    return t;
}

// Each process has a part of the seeds.
static struct tally run_all(const struct options *o) {
    struct tally all = {0};
    int pipes[2];
    int64_t until_s = now_s() + o->seconds;
    bool lost = false;
    if (o->jobs == 1)
        return run_some(o, 0, until_s);
    if (pipe(pipes) != 0)
        abort();
    for (int job = 0; job < o->jobs; job++) {
        if (fork() != 0)
            continue;
        struct tally t = run_some(o, job, until_s);
        _exit(write(pipes[1], &t, sizeof t) == (ssize_t)sizeof t ? 0 : 2);
    }
    close(pipes[1]);
    for (int job = 0; job < o->jobs; job++) {
        struct tally t;
        int status = 0;
        while (wait(&status) < 0 && errno == EINTR)
            ;
        if (status != 0 || read(pipes[0], &t, sizeof t) != (ssize_t)sizeof t) {
            lost = true;
            continue;
        }
        all.runs += t.runs;
        all.steps += t.steps;
        if (t.failures > 0 && (all.failures == 0 || t.first_failure < all.first_failure))
            all.first_failure = t.first_failure;
        all.failures += t.failures;
    }
    close(pipes[0]);
    if (lost) {
        fprintf(stderr, "sim: a process ended before its runs did\n");
        all.failures++;
    }
    return all;
}

static void usage(FILE *out) {
    fputs("usage: certsync-sim [--runs N] [--seed N | --seed today] [--seconds N] [--patience N]\n"
          "                    [--jobs N] [--steps]\n\n"
          "  --runs N     how many runs (1000)\n"
          "  --seed N     of the first run, each other one has the next (1); today: others each day\n"
          "  --seconds N  begin no run after so long\n"
          "  --patience N seconds that a run may take (60); they take a few milliseconds\n"
          "  --jobs N     processes (the cores)\n"
          "  --steps      tell each step: with --runs 1, of a run that failed\n",
          out);
}

static uint64_t number(const char *text) {
    char *rest = NULL;
    errno = 0;
    uint64_t n = strtoull(text, &rest, 10);
    if (errno || *rest || text[0] == '-' || !text[0]) {
        fprintf(stderr, "certsync-sim: not a number: %s\n", text);
        exit(2);
    }
    return n;
}

static uint64_t seed_of(const char *text) {
    if (strcmp(text, "today") == 0)
        return (uint64_t)time(NULL) / 86400 * 100000000;
    return number(text);
}

int main(int argc, char **argv) {
    static const struct option names[] = {{"runs", 1, NULL, 'r'},    {"seed", 1, NULL, 's'},
                                          {"seconds", 1, NULL, 't'}, {"patience", 1, NULL, 'p'},
                                          {"jobs", 1, NULL, 'j'},    {"steps", 0, NULL, 'e'},
                                          {"help", 0, NULL, 'h'},    {NULL, 0, NULL, 0}};
    struct options o = {.runs = 1000, .seed = 1, .patience = 60, .jobs = (int)sysconf(_SC_NPROCESSORS_ONLN)};
    int64_t began_s = now_s();
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;)
        switch (c) {
        case 'r':
            o.runs = number(optarg);
            break;
        case 's':
            o.seed = seed_of(optarg);
            break;
        case 't':
            o.seconds = (int64_t)number(optarg);
            break;
        case 'p':
            o.patience = (int)number(optarg);
            break;
        case 'j':
            o.jobs = (int)number(optarg);
            break;
        case 'e':
            o.tell = true;
            break;
        default:
            usage(c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    if (o.tell || o.jobs < 1)
        o.jobs = 1;
    struct tally t = run_all(&o);
    printf("%" PRIu64 " runs, %" PRIu64 " steps, %" PRIu64 " with violations, %" PRId64 " s\n", t.runs,
           t.steps, t.failures, now_s() - began_s);
    if (t.first_failure)
        printf("see the steps of one: ./dev sim --seed %" PRIu64 " --runs 1 --steps\n", t.first_failure);
    return t.failures > 0 ? 1 : 0;
}
