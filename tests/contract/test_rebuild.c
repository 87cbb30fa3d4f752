// SPDX-License-Identifier: Apache-2.0
//
// Rebuilds of the golden log, over catalogs in memory: all of it, in pieces, and what must not be rebuilt.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "log/compare.h"
#include "log/rebuild.h"
#include "log/rebuild_batch.h"
#include "log/replay.h"
#include "worker/keyfile.h"

#define EVENTS   GOLDEN "/events.json"
#define OUTCOMES GOLDEN "/outcomes.json"

struct fixture {
    struct cs_memory_store *store;
    struct cs_consumer_settings settings;
    uint8_t *root;
    struct cs_rebuild_env env;
    struct cs_crypto *crypto;
    char file[64]; // a changed dump
    cs_log_id log_id;
    // of snapshots
    struct cs_note_signer *signer;
    struct cs_snapshot_dir dir;
    int64_t took; // the last that was
    int refused;
    char why[512];
};

static void read_log_id(struct cs_log *log, cs_log_id ret) {
    struct cs_record r;
    struct cs_event *ev = NULL;
    struct cs_err err;
    bool end = true;
    assert_true(log->ops->start(log, 0, 0, 1, &err) && log->ops->next(log, &r, &end, &err) && !end);
    assert_true(cs_event_decode(r.value, &ev, &err));
    strcpy(ret, ev->log_id);
    cs_event_free(ev);
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    struct cs_err err;
    struct cs_log *log = NULL;
    size_t len = 0;
    f->settings = (struct cs_consumer_settings){
        .batch_records = 50, .batch_bytes = 4 * 1024 * 1024, .cache_bytes = 1024 * 1024};
    assert_true(cs_memory_store_new(&f->store, &err));
    assert_true(cs_crypto_new(&f->crypto, &err));
    assert_true(cs_keyfile_spki(f->crypto, GOLDEN "/root.pub", &f->root, &len, &err));
    assert_true(cs_log_open_dump(EVENTS, &log, &err));
    f->env.settings = &f->settings;
    f->env.root_spki = (struct cs_bytes){f->root, len};
    f->env.partitions = log->partitions;
    read_log_id(log, f->log_id);
    f->env.log_id = f->log_id;
    cs_log_free(log);
    snprintf(f->file, sizeof f->file, "/tmp/cs-rebuild-XXXXXX");
    int fd = mkstemp(f->file);
    assert_true(fd >= 0);
    close(fd);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    unlink(f->file);
    cs_crypto_free(f->crypto);
    cs_memory_store_free(f->store);
    free(f->root);
    free(f);
    return 0;
}

static struct cs_catalog *catalog(struct fixture *f) {
    struct cs_catalog *c = NULL;
    struct cs_err err;
    assert_true(cs_catalog_memory_new(f->store, &c, &err));
    return c;
}

static struct cs_rebuilder *rebuilder(struct fixture *f, const char *events, const char *outcomes) {
    struct cs_log *logs[2] = {NULL};
    struct cs_rebuilder *r = NULL;
    struct cs_err err;
    assert_true(cs_log_open_dump(events, &logs[0], &err));
    assert_true(cs_log_open_dump(outcomes, &logs[1], &err));
    assert_true(cs_rebuilder_over(&f->env, logs[0], logs[1], catalog(f), &r, &err));
    return r;
}

static void rebuild(struct fixture *f, int32_t partition) {
    struct cs_rebuilder *r = rebuilder(f, EVENTS, OUTCOMES);
    struct cs_err err;
    bool ok = cs_rebuilder_begin(r, partition, 2, &err) && cs_rebuilder_follow(r, &err);
    if (!ok)
        fail_msg("%s", err.msg);
    cs_rebuilder_end(r);
    cs_rebuilder_free(r);
}

static bool differs(void *arg, const char *key, bool index, enum cs_difference d) {
    (void)index;
    fprintf(stderr, "%s: %s\n", key, cs_difference_name(d));
    ++*(int *)arg;
    return true;
}

// The next generation of a partition is what a replay in memory makes of the log.
static void expect_as_replayed(struct fixture *f, int32_t partition) {
    CS_AUTO(cs_catalog_free) struct cs_catalog *c = catalog(f);
    CS_AUTO(cs_compare_free) struct cs_compare *compare = NULL;
    CS_AUTO(cs_replay_free) struct cs_replay *replay = NULL;
    CS_AUTO(cs_log_free) struct cs_log *log = NULL;
    struct cs_replay_options options = {f->log_id, f->env.root_spki, f->env.partitions, {0}, false};
    struct cs_err err;
    int64_t low = 0;
    int64_t high = 0;
    int found = 0;
    c->ops->view(c, CS_VIEW_NEXT);
    assert_true(cs_compare_new(f->crypto, c, partition, &compare, &err));
    assert_true(cs_replay_new(&options, &replay, &err));
    assert_true(cs_log_open_dump(EVENTS, &log, &err));
    assert_true(log->ops->bounds(log, partition, &low, &high, &err));
    assert_true(log->ops->start(log, partition, 0, high, &err));
    cs_replay_begin(replay, partition);
    for (bool end = false; !end;) {
        struct cs_record record;
        struct cs_replayed ignored;
        assert_true(log->ops->next(log, &record, &end, &err));
        if (!end)
            assert_true(cs_replay_record(replay, &record, &ignored, &err));
    }
    assert_true(cs_position_equal(cs_replay_position(replay), cs_compare_after(compare)));
    assert_true(cs_compare_begin(compare, cs_replay_state(replay), &err));
    assert_true(cs_compare_end(compare, differs, &found, &err));
    assert_int_equal(found, 0);
    assert_true(cs_compare_keys(compare) > 5);
}

// A copy of a dump with one text for another, in the first `lines` lines.
static const char *changed(struct fixture *f, const char *path, const char *from, const char *to, int lines) {
    FILE *in = fopen(path, "r");
    FILE *out = fopen(f->file, "w");
    char *line = NULL;
    size_t cap = 0;
    assert_non_null(in);
    assert_non_null(out);
    while (lines-- > 0 && getline(&line, &cap, in) > 0) {
        char *at = from ? strstr(line, from) : NULL;
        if (at)
            fprintf(out, "%.*s%s%s", (int)(at - line), line, to, at + strlen(from));
        else
            fputs(line, out);
    }
    free(line);
    fclose(in);
    fclose(out);
    return f->file;
}

static struct cs_generations generations(struct fixture *f, int32_t partition) {
    CS_AUTO(cs_catalog_free) struct cs_catalog *c = catalog(f);
    struct cs_generations g;
    struct cs_err err;
    assert_true(c->ops->generations(c, partition, &g, &err));
    return g;
}

// --- cases

static void test_whole(void **state) {
    struct fixture *f = *state;
    for (int32_t p = 0; p < f->env.partitions; p++) {
        rebuild(f, p);
        expect_as_replayed(f, p);
        assert_int_equal(generations(f, p).live, 1);
    }
    assert_true(atomic_load(&f->env.judged) > 100);
}

// Stopped after each batch, and gone on with by another rebuilder each time.
static void test_in_pieces(void **state) {
    struct fixture *f = *state;
    f->settings.batch_records = 13;
    f->settings.cache_bytes = 0;
    for (int pieces = 0;; pieces++) {
        struct cs_rebuilder *r = rebuilder(f, EVENTS, OUTCOMES);
        struct cs_err err;
        atomic_store(&f->env.stopping, false);
        assert_true(cs_rebuilder_begin(r, 0, 2, &err));
        int64_t before = cs_rebuilder_position(r)->next_offset;
        atomic_store(&f->env.stopping, true);
        bool done = cs_rebuilder_follow(r, &err);
        assert_true(done || err.kind == CS_ERR_RETRY);
        assert_in_range(cs_rebuilder_position(r)->next_offset - before, 0, 13);
        done |= cs_rebuilder_position(r)->next_offset == before;
        cs_rebuilder_end(r);
        cs_rebuilder_free(r);
        if (done) {
            assert_true(pieces > 3);
            break;
        }
    }
    expect_as_replayed(f, 0);
}

static void test_promote(void **state) {
    struct fixture *f = *state;
    struct cs_rebuilder *r = rebuilder(f, EVENTS, OUTCOMES);
    struct cs_err err;
    int64_t behind = -1;
    bool done = false;
    assert_true(cs_rebuilder_begin(r, 0, 2, &err) && cs_rebuilder_follow(r, &err));
    assert_true(cs_rebuilder_promote(r, 0, &behind, &done, &err));
    assert_true(done && behind <= 0);
    assert_int_equal(generations(f, 0).live, 2);
    assert_int_equal(generations(f, 0).next, 0);
    // One that is behind is not promoted.
    atomic_store(&f->env.stopping, true);
    assert_true(cs_rebuilder_begin(r, 0, 3, &err));
    assert_false(cs_rebuilder_follow(r, &err));
    assert_true(cs_rebuilder_promote(r, 0, &behind, &done, &err));
    assert_false(done);
    assert_true(behind > 0);
    assert_int_equal(generations(f, 0).live, 2);
    assert_true(cs_rebuilder_promote(r, behind, &behind, &done, &err));
    assert_true(done);
    cs_rebuilder_end(r);
    cs_rebuilder_free(r);
}

static void expect_refused(struct fixture *f, const char *events, const char *outcomes, const char *why) {
    struct cs_rebuilder *r = rebuilder(f, events, outcomes);
    struct cs_err err;
    bool ok = true;
    for (int32_t p = 0; ok && p < f->env.partitions; p++)
        ok = cs_rebuilder_begin(r, p, 2, &err) && cs_rebuilder_follow(r, &err);
    assert_false(ok);
    assert_int_equal(err.kind, CS_ERR_FATAL);
    if (!strstr(err.msg, why))
        fail_msg("not \"%s\": %s", why, err.msg);
    cs_rebuilder_end(r);
    cs_rebuilder_free(r);
}

static void test_a_fork(void **state) {
    struct fixture *f = *state;
    expect_refused(f, EVENTS, changed(f, OUTCOMES, "\\\"name.taken\\\"", "\\\"name.invalid\\\"", INT32_MAX),
                   "holds another one");
}

static void test_a_missing_outcome(void **state) {
    struct fixture *f = *state;
    expect_refused(f, EVENTS,
                   changed(f, OUTCOMES,
                           "{\\\"specversion\\\":\\\"1.0\\\",\\\"type\\\":\\\"certsync.outcome.v1\\\","
                           "\\\"sequence\\\":\\\"0000000000000009",
                           "{\\\"specversion\\\":\\\"1.0\\\",\\\"type\\\":\\\"certsync.outcome.v1\\\","
                           "\\\"sequence\\\":\\\"0000000000000008",
                           INT32_MAX),
                   "does not follow outcome 8");
}

static void test_a_log_that_was_made_anew(void **state) {
    struct fixture *f = *state;
    for (int32_t p = 0; p < f->env.partitions; p++)
        rebuild(f, p);
    expect_refused(f, EVENTS, changed(f, OUTCOMES, NULL, NULL, 20), "begin again with --afresh");
}

static void last_record(struct cs_log *log, struct cs_record *ret) {
    struct cs_err err;
    int64_t low = 0;
    int64_t high = 0;
    bool end = false;
    assert_true(log->ops->bounds(log, 0, &low, &high, &err));
    assert_true(log->ops->start(log, 0, high - 1, high, &err));
    assert_true(log->ops->next(log, ret, &end, &err));
    assert_false(end);
}

// As many records as before, but the one that the position stands on is another.
static void test_a_log_with_another_end(void **state) {
    struct fixture *f = *state;
    char from[200], to[200];
    for (int32_t p = 0; p < f->env.partitions; p++)
        rebuild(f, p);
    struct cs_err err;
    CS_AUTO(cs_log_free) struct cs_log *events = NULL;
    CS_AUTO(cs_log_free) struct cs_log *outcomes = NULL;
    struct cs_record record;
    assert_true(cs_log_open_dump(EVENTS, &events, &err));
    last_record(events, &record);
    CS_AUTO(cs_event_free) struct cs_event *last = NULL;
    assert_true(cs_event_decode(record.value, &last, &err));
    snprintf(from, sizeof from, "%s", last->id);
    snprintf(to, sizeof to, "%.35s%c", from, from[35] == '0' ? '1' : '0');
    expect_refused(f, changed(f, EVENTS, from, to, INT32_MAX), OUTCOMES, "begin again with --afresh");
    assert_true(cs_log_open_dump(OUTCOMES, &outcomes, &err));
    last_record(outcomes, &record);
    int64_t n = cs_outcome_number(record.value);
    static const char head[] = "\\\"certsync.outcome.v1\\\",\\\"sequence\\\":\\\"";
    snprintf(from, sizeof from, "%s%016" PRId64, head, n);
    snprintf(to, sizeof to, "%s%016" PRId64, head, n - 1);
    expect_refused(f, EVENTS, changed(f, OUTCOMES, from, to, INT32_MAX), "begin again with --afresh");
}

static void test_an_outcome_of_no_record(void **state) {
    struct fixture *f = *state;
    expect_refused(f, changed(f, EVENTS, NULL, NULL, 20), OUTCOMES, "is of no record");
}

// --- from snapshots

static void took(void *arg, int32_t partition, int64_t outcomes) {
    (void)partition;
    ((struct fixture *)arg)->took = outcomes;
}

static void refused(void *arg, const char *path, const char *why) {
    struct fixture *f = arg;
    assert_non_null(strstr(path, ".snap"));
    f->refused++;
    snprintf(f->why, sizeof f->why, "%s", why);
}

// Snapshots of partition 0 after so many records; one that lies has no account, and is signed.
static void save(struct fixture *f, int64_t records, bool lies) {
    CS_AUTO(cs_replay_free) struct cs_replay *replay = NULL;
    CS_AUTO(cs_log_free) struct cs_log *log = NULL;
    struct cs_replay_options options = {f->log_id, f->env.root_spki, f->env.partitions, {0}, false};
    struct cs_snapshot made;
    struct cs_err err;
    int64_t bytes = 0;
    bool end = false;
    assert_true(cs_replay_new(&options, &replay, &err));
    assert_true(cs_log_open_dump(EVENTS, &log, &err));
    assert_true(log->ops->start(log, 0, 0, records, &err));
    cs_replay_begin(replay, 0);
    for (struct cs_record r; log->ops->next(log, &r, &end, &err) && !end;) {
        struct cs_replayed ignored;
        assert_true(cs_replay_record(replay, &r, &ignored, &err));
    }
    if (lies)
        cs_state_forget(cs_replay_state(replay));
    if (lies) {
        cs_state_begin(cs_replay_state(replay));
        cs_state_put(cs_replay_state(replay), "nothing", (struct cs_bytes){(const uint8_t *)"{}", 2});
        assert_true(cs_state_keep(cs_replay_state(replay), &err));
    }
    assert_true(cs_snapshot_save(&f->dir, f->signer, 0, cs_replay_state(replay), cs_replay_position(replay),
                                 &made, &bytes, &err));
}

static int setup_snapshots(void **state) {
    static const uint8_t seed[CS_NOTE_SEED_LEN] = {9};
    struct fixture *f = NULL;
    struct cs_err err;
    setup(state);
    f = *state;
    assert_true(cs_note_signer_new(f->crypto, f->log_id, seed, &f->signer, &err));
    unlink(f->file);
    f->dir = (struct cs_snapshot_dir){f->file, f->crypto, *cs_note_signer_key(f->signer), f->log_id};
    f->env.snapshots = &f->dir;
    f->env.took = took;
    f->env.refused = refused;
    f->env.arg = f;
    f->settings.snapshot_checked = 20;
    return 0;
}

static int teardown_snapshots(void **state) {
    struct fixture *f = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", f->file);
    assert_int_equal(system(command), 0);
    cs_note_signer_free(f->signer);
    return teardown(state);
}

static void test_from_a_snapshot(void **state) {
    struct fixture *f = *state;
    save(f, 10, false);
    save(f, 40, false);
    rebuild(f, 0);
    expect_as_replayed(f, 0);
    assert_int_equal(f->took, 40);
    assert_int_equal(f->refused, 0);
    long long all = 0, low = 0;
    CS_AUTO(cs_log_free) struct cs_log *log = NULL;
    struct cs_err err;
    int64_t from = 0, to = 0;
    assert_true(cs_log_open_dump(OUTCOMES, &log, &err));
    assert_true(log->ops->bounds(log, 0, &from, &to, &err));
    low = to - 40;
    all = atomic_load(&f->env.judged);
    assert_int_equal(all, low);
    rebuild(f, 0); // goes on, with nothing to do
    assert_int_equal(atomic_load(&f->env.judged), low);
    f->env.whole = true;
    rebuild(f, 0);
    expect_as_replayed(f, 0);
    assert_int_equal(atomic_load(&f->env.judged), low + to);
    assert_int_equal(f->refused, 0);
}

// At least so many outcomes are compared behind it.
static void test_a_snapshot_too_near_to_the_end(void **state) {
    struct fixture *f = *state;
    CS_AUTO(cs_log_free) struct cs_log *log = NULL;
    struct cs_err err;
    int64_t low = 0, high = 0;
    assert_true(cs_log_open_dump(OUTCOMES, &log, &err));
    assert_true(log->ops->bounds(log, 0, &low, &high, &err));
    save(f, 10, false);
    save(f, high - 19, false);
    rebuild(f, 0);
    expect_as_replayed(f, 0);
    assert_int_equal(f->took, 10);
    assert_int_equal(f->refused, 0);
}

// Whoever has the service key signed it. The published outcomes do not come of it.
static void test_a_snapshot_that_lies(void **state) {
    struct fixture *f = *state;
    save(f, 10, false);
    save(f, 40, true);
    rebuild(f, 0);
    expect_as_replayed(f, 0);
    assert_int_equal(f->took, 10);
    assert_int_equal(f->refused, 1);
    assert_non_null(strstr(f->why, "fork"));
    save(f, 10, true);
    f->env.whole = true; // makes room
    rebuild(f, 0);
    f->env.whole = false;
    f->took = f->refused = 0;
    struct cs_rebuilder *r = rebuilder(f, EVENTS, OUTCOMES);
    struct cs_err err;
    assert_true(cs_rebuilder_begin(r, 0, 3, &err) && cs_rebuilder_follow(r, &err)); // both lie: offset 0
    assert_int_equal(cs_rebuilder_restored(r), 0);
    assert_int_equal(f->refused, 2);
    cs_rebuilder_end(r);
    cs_rebuilder_free(r);
    expect_as_replayed(f, 0);
}

// A fork of the log itself is told as such in the end, not taken for the snapshots' fault.
static void test_a_fork_behind_a_snapshot(void **state) {
    struct fixture *f = *state;
    char *dump = strdup("/tmp/cs-rebuild-fork");
    save(f, 10, false);
    char dir[64];
    strcpy(dir, f->file);
    strcpy(f->file, dump);
    free(dump);
    const char *outcomes = changed(f, OUTCOMES, "\\\"name.taken\\\"", "\\\"name.invalid\\\"", INT32_MAX);
    f->dir.path = dir;
    expect_refused(f, EVENTS, outcomes, "holds another one");
    unlink(f->file);
    strcpy(f->file, dir);
}

// Root has had outcomes judged anew: a snapshot that rests on some of them is never taken, also where it says
// the epoch that it was made in.
static void test_a_snapshot_that_was_set_aside(void **state) {
    struct fixture *f = *state;
    const struct cs_correction correction = {.partition = 0, .from = 35};
    struct cs_err err;
    save(f, 10, false);
    save(f, 40, false);
    f->env.epochs = (struct cs_epochs){&correction, 1};
    struct cs_rebuilder *r = rebuilder(f, EVENTS, OUTCOMES);
    if (!cs_rebuilder_begin(r, 0, 2, &err) || !cs_rebuilder_follow(r, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(cs_rebuilder_restored(r), 10);
    assert_int_equal(cs_rebuilder_position(r)->outcomes, 34); // the others are not published anew yet
    assert_int_equal(f->refused, 0);
    cs_rebuilder_end(r);
    cs_rebuilder_free(r);
}

// Killed while it was filled: the next rebuild begins the generation again by itself.
static void test_killed_in_a_restore(void **state) {
    struct fixture *f = *state;
    CS_AUTO(cs_catalog_free) struct cs_catalog *c = catalog(f);
    CS_AUTO(cs_state_free) struct cs_state *piece = NULL;
    struct cs_position at;
    struct cs_err err;
    bool claimed = false, moved = true;
    int64_t left = 0;
    save(f, 40, false);
    assert_true(cs_state_new(false, &piece, &err));
    assert_true(c->ops->claim(c, 0, 2, 1000, &claimed, &left, &err) && claimed);
    assert_true(cs_catalog_load(c, 0, piece, &at, &err));
    cs_state_begin(piece);
    cs_state_put(piece, "half", (struct cs_bytes){(const uint8_t *)"{}", 2});
    assert_true(cs_state_keep(piece, &err));
    assert_true(c->ops->restore(c, 0, piece, true, NULL, NULL, &moved, &err) && !moved);
    assert_true(c->ops->release(c, 0, &err));
    rebuild(f, 0);
    expect_as_replayed(f, 0);
    assert_int_equal(f->took, 40);
}

// Who waits for another's claim can be stopped.
static void test_stopped_before_the_claim(void **state) {
    struct fixture *f = *state;
    struct cs_rebuilder *first = rebuilder(f, EVENTS, OUTCOMES);
    struct cs_rebuilder *second = rebuilder(f, EVENTS, OUTCOMES);
    struct cs_err err;
    assert_true(cs_rebuilder_begin(first, 0, 2, &err));
    atomic_store(&f->env.stopping, true);
    assert_false(cs_rebuilder_begin(second, 0, 2, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY);
    assert_string_equal(err.msg, "stopped");
    cs_rebuilder_free(second);
    cs_rebuilder_end(first);
    cs_rebuilder_free(first);
}

// A topic's offsets may have gaps, an outcome's number has none. So a position counts both.
static void test_offsets_with_a_gap(void **state) {
    struct fixture *f = *state;
    CS_AUTO(cs_log_free) struct cs_log *events = NULL;
    CS_AUTO(cs_log_free) struct cs_log *outcomes = NULL;
    struct cs_record record;
    struct cs_position from = {0};
    struct cs_err err;
    char last[64];
    char later[64];
    assert_true(cs_log_open_dump(OUTCOMES, &outcomes, &err));
    last_record(outcomes, &record);
    from.outcomes = cs_outcome_number(record.value);
    cs_crypto_sha256(f->crypto, record.value, from.chain_sha256);
    from.next_offset = from.outcomes + 100;
    snprintf(last, sizeof last, "\"partition\":0,\"offset\":%lld,", (long long)from.outcomes - 1);
    snprintf(later, sizeof later, "\"partition\":0,\"offset\":%lld,", (long long)from.next_offset - 1);
    assert_true(cs_log_open_dump(changed(f, EVENTS, last, later, INT32_MAX), &events, &err));
    last_record(events, &record);
    assert_int_equal(record.offset, from.next_offset - 1);
    cs_record_sha256(f->crypto, &record, from.record_sha256);
    struct cs_rebuild_reader reader = {.events = events, .outcomes = outcomes, .crypto = f->crypto};
    if (!cs_rebuild_reader_start(&reader, 0, &from, &err))
        fail_msg("%s", err.msg);
    assert_false(reader.end);
    from.outcomes++; // one more than there is
    assert_false(cs_rebuild_reader_start(&reader, 0, &from, &err));
    assert_int_equal(err.kind, CS_ERR_FATAL);
    assert_non_null(strstr(err.msg, "begin again with --afresh"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_promote, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_fork, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_missing_outcome, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_log_that_was_made_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_log_with_another_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_outcome_of_no_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopped_before_the_claim, setup, teardown),
        cmocka_unit_test_setup_teardown(test_from_a_snapshot, setup_snapshots, teardown_snapshots),
        cmocka_unit_test_setup_teardown(test_a_snapshot_too_near_to_the_end, setup_snapshots,
                                        teardown_snapshots),
        cmocka_unit_test_setup_teardown(test_a_snapshot_that_lies, setup_snapshots, teardown_snapshots),
        cmocka_unit_test_setup_teardown(test_a_fork_behind_a_snapshot, setup_snapshots, teardown_snapshots),
        cmocka_unit_test_setup_teardown(test_a_snapshot_that_was_set_aside, setup_snapshots,
                                        teardown_snapshots),
        cmocka_unit_test_setup_teardown(test_killed_in_a_restore, setup_snapshots, teardown_snapshots),
        cmocka_unit_test_setup_teardown(test_offsets_with_a_gap, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
