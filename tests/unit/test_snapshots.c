// SPDX-License-Identifier: Apache-2.0
//
// Snapshots in files, of the golden log's catalogs: judging goes on from each as if it had begun at
// the first record, and what is not whole or not signed is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/snapshots.h"
#include "certsync/base/text.h"
#include "certsync/model/event.h"
#include "certsync/runtime/fileio.h"
#include "log/reader.h"
#include "log/replay.h"
#include "worker/keyfile.h"

#define EVENTS CERTSYNC_GOLDEN "/events.json"
#define ROOT   CERTSYNC_GOLDEN "/root.pub"

struct fixture {
    struct cs_crypto *c;
    struct cs_log *events;
    uint8_t *root;
    size_t root_len;
    struct cs_note_signer *signer;
    cs_log_id log_id;
    int32_t partitions;
    char path[64];
    struct cs_snapshot_dir dir;
    int refused;
    char why[512];
};

static struct cs_err err;
#define must(what)                                                                                           \
    do {                                                                                                     \
        if (!(what))                                                                                         \
            fail_msg("%s", err.msg);                                                                         \
    } while (0)

static struct cs_replay *replay_new(const struct fixture *f) {
    struct cs_replay *r = NULL;
    const struct cs_replay_options o = {f->log_id, {f->root, f->root_len}, f->partitions, {0}, false};
    must(cs_replay_new(&o, &r, &err));
    return r;
}

// Judges on up to an offset; -1: to the end.
static int64_t judge(const struct fixture *f, struct cs_replay *r, int32_t p, int64_t until) {
    int64_t low = 0, high = 0, n = 0, from = cs_replay_position(r)->next_offset;
    bool end = false;
    must(f->events->ops->bounds(f->events, p, &low, &high, &err));
    must(f->events->ops->start(f->events, p, from, until < 0 ? high : until, &err));
    for (;; n++) {
        struct cs_record record;
        struct cs_replayed made;
        must(f->events->ops->next(f->events, &record, &end, &err));
        if (end)
            return n;
        must(cs_replay_record(r, &record, &made, &err));
    }
}

static void refused(void *arg, const char *path, const char *why) {
    struct fixture *f = arg;
    (void)path;
    f->refused++;
    snprintf(f->why, sizeof f->why, "%s", why);
}

static struct cs_snapshot_list list(struct fixture *f, int32_t p) {
    struct cs_snapshot_list l;
    f->refused = 0;
    must(cs_snapshots_list(&f->dir, p, refused, f, &l, &err));
    assert_int_equal(l.refused, f->refused);
    return l;
}

static bool load(const struct fixture *f, int32_t p, const struct cs_snapshot *s, struct cs_replay *r) {
    struct cs_position at;
    cs_replay_begin(r, p);
    if (!cs_snapshot_load(&f->dir, p, s, NULL, cs_replay_state(r), &at, &err))
        return false;
    cs_replay_resume(r, &at);
    return true;
}

static int setup(void **state) {
    static const uint8_t seed[CS_NOTE_SEED_LEN] = {7};
    struct fixture *f = calloc(1, sizeof *f);
    struct cs_record record;
    CS_AUTO(cs_event_free) struct cs_event *genesis = NULL;
    bool end = false;
    assert_non_null(f);
    must(cs_crypto_new(&f->c, &err));
    must(cs_keyfile_spki(f->c, ROOT, &f->root, &f->root_len, &err));
    must(cs_log_open_dump(EVENTS, &f->events, &err));
    must(f->events->ops->start(f->events, 0, 0, 1, &err));
    must(f->events->ops->next(f->events, &record, &end, &err));
    must(cs_event_decode(record.value, &genesis, &err));
    memcpy(f->log_id, genesis->log_id, sizeof f->log_id);
    f->partitions = (int32_t)genesis->data.genesis.partitions;
    must(cs_note_signer_new(f->c, f->log_id, seed, &f->signer, &err));
    strcpy(f->path, "/tmp/certsync-snapshots-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    f->dir = (struct cs_snapshot_dir){f->path, f->c, *cs_note_signer_key(f->signer), f->log_id};
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", f->path);
    assert_int_equal(system(command), 0);
    cs_note_signer_free(f->signer);
    cs_log_free(f->events);
    free(f->root);
    cs_crypto_free(f->c);
    free(f);
    return 0;
}

static void look(const struct fixture *f, struct cs_replay *r, int32_t p, struct cs_snapshot *ret) {
    must(cs_snapshot_look(f->c, f->log_id, p, cs_replay_state(r), cs_replay_position(r), ret, &err));
}

static void save(const struct fixture *f, struct cs_replay *r, int32_t p, struct cs_snapshot *ret) {
    struct cs_snapshot looked;
    int64_t bytes = 0;
    must(cs_snapshot_save(&f->dir, f->signer, p, cs_replay_state(r), cs_replay_position(r), ret, &bytes,
                          &err));
    assert_true(bytes > 0);
    look(f, r, p, &looked);
    assert_true(cs_snapshot_equal(&looked, ret));
}

// From each of them on, the same comes out as from the first record.
static void test_go_on(void **state) {
    struct fixture *f = *state;
    CS_AUTO(cs_replay_free) struct cs_replay *whole = replay_new(f);
    CS_AUTO(cs_replay_free) struct cs_replay *part = replay_new(f);
    for (int32_t p = 0; p < f->partitions; p++) {
        int64_t low = 0, high = 0;
        struct cs_snapshot saved, at_end, mine;
        must(f->events->ops->bounds(f->events, p, &low, &high, &err));
        cs_replay_begin(whole, p);
        for (int i = 1; i <= 3; i++) {
            judge(f, whole, p, high * i / 4);
            save(f, whole, p, &saved);
        }
        judge(f, whole, p, -1);
        look(f, whole, p, &at_end);
        CS_AUTO(cs_snapshots_clear) struct cs_snapshot_list l = list(f, p);
        assert_int_equal(l.len, 3);
        assert_int_equal(f->refused, 0);
        assert_true(cs_snapshot_equal(&l.items[2], &saved));
        for (size_t i = 0; i < l.len; i++) {
            must(load(f, p, &l.items[i], part));
            look(f, part, p, &mine);
            assert_true(cs_snapshot_equal(&mine, &l.items[i]));
            assert_int_equal(judge(f, part, p, -1), high - l.items[i].next_offset);
            look(f, part, p, &mine);
            assert_true(cs_snapshot_equal(&mine, &at_end));
        }
    }
}

// --- files

static void read_file(const char *path, struct cs_buf *b) {
    cs_buf_init(b, (size_t)64 * 1024 * 1024);
    must(cs_file_read(path, 0, b, &err));
}

static void write_file(const char *path, const uint8_t *data, size_t len) {
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(data, 1, len, out), len);
    assert_int_equal(fclose(out), 0);
}

static void assert_refused(struct fixture *f, struct cs_replay *r, const struct cs_snapshot *s) {
    assert_false(load(f, 0, s, r));
    assert_int_equal(err.kind, CS_ERR_REJECT);
}

static void test_a_damaged_file(void **state) {
    struct fixture *f = *state;
    CS_AUTO(cs_replay_free) struct cs_replay *r = replay_new(f);
    CS_AUTO(cs_buf_clear) struct cs_buf file;
    struct cs_snapshot s, same;
    int unread = 0;
    char path[CS_SNAPSHOT_PATH];
    cs_replay_begin(r, 0);
    judge(f, r, 0, 40);
    save(f, r, 0, &s);
    must(cs_snapshot_path(&f->dir, 0, &s, "snap", path, &err));
    read_file(path, &file);
    for (size_t i = 0; i < file.len; i += i < 64 || i + 64 > file.len ? 1 : 1009) {
        file.data[i] ^= 0x10;
        write_file(path, file.data, file.len);
        // zstd has bits that it does not read: then the catalog is the same all the same
        if (load(f, 0, &s, r)) {
            must(
                cs_snapshot_look(f->c, f->log_id, 0, cs_replay_state(r), cs_replay_position(r), &same, &err));
            assert_true(cs_snapshot_equal(&same, &s));
            unread++;
        } else {
            assert_int_equal(err.kind, CS_ERR_REJECT);
        }
        file.data[i] ^= 0x10;
        write_file(path, file.data, i);
        assert_refused(f, r, &s);
    }
    assert_in_range(unread, 0, 8);
    write_file(path, file.data, file.len);
    must(load(f, 0, &s, r));
    cs_buf_put(&file, file.data, file.len / 2 < 1000 ? file.len / 2 : 1000);
    write_file(path, file.data, file.len); // and something behind it
    assert_refused(f, r, &s);
    assert_int_equal(unlink(path), 0);
    assert_refused(f, r, &s);
}

// Both are whole, and signed; but the file is another one's.
static void test_a_file_of_another_place(void **state) {
    struct fixture *f = *state;
    CS_AUTO(cs_replay_free) struct cs_replay *r = replay_new(f);
    struct cs_snapshot early, late;
    char from[CS_SNAPSHOT_PATH], to[CS_SNAPSHOT_PATH];
    cs_replay_begin(r, 0);
    judge(f, r, 0, 20);
    save(f, r, 0, &early);
    judge(f, r, 0, 40);
    save(f, r, 0, &late);
    must(cs_snapshot_path(&f->dir, 0, &early, "snap", from, &err));
    must(cs_snapshot_path(&f->dir, 0, &late, "snap", to, &err));
    assert_int_equal(rename(from, to), 0);
    assert_refused(f, r, &late);
    assert_non_null(strstr(err.msg, "another catalog than its statement"));
}

static void test_statements_that_do_not_count(void **state) {
    static const uint8_t seed[CS_NOTE_SEED_LEN] = {8};
    struct fixture *f = *state;
    CS_AUTO(cs_replay_free) struct cs_replay *r = replay_new(f);
    CS_AUTO(cs_note_signer_free) struct cs_note_signer *other = NULL;
    CS_AUTO(cs_buf_clear) struct cs_buf note;
    struct cs_snapshot s;
    struct cs_snapshot_list l;
    char path[CS_SNAPSHOT_PATH], moved[CS_SNAPSHOT_PATH];
    int64_t bytes = 0;
    l = list(f, 0); // there is no directory yet
    assert_int_equal(l.len + l.refused, 0);
    cs_replay_begin(r, 0);
    judge(f, r, 0, 20);
    save(f, r, 0, &s);
    must(cs_snapshot_path(&f->dir, 0, &s, "snap", path, &err));
    strcpy(strrchr(path, '.'), ".note");
    read_file(path, &note);
    snprintf(moved, sizeof moved, "%s/0/00000000000000000021.note", f->path);
    write_file(moved, note.data, note.len);
    write_file(path, note.data, note.len - 1);
    l = list(f, 0);
    assert_int_equal(l.len, 0);
    assert_int_equal(f->refused, 2);
    assert_int_equal(unlink(moved), 0);
    snprintf(moved, sizeof moved, "%s/1", f->path); // of another partition
    must(cs_dir_make(moved, 0755, &err));
    snprintf(moved, sizeof moved, "%s/1/%s", f->path, strrchr(path, '/') + 1);
    write_file(moved, note.data, note.len);
    l = list(f, 1);
    assert_int_equal(l.len, 0);
    assert_non_null(strstr(f->why, "/partitions/0/snapshot, not of "));
    must(cs_note_signer_new(f->c, f->log_id, seed, &other, &err));
    must(cs_snapshot_save(&f->dir, other, 0, cs_replay_state(r), cs_replay_position(r), &s, &bytes, &err));
    l = list(f, 0);
    assert_int_equal(l.len, 0);
    assert_non_null(strstr(f->why, "has not signed it"));
}

// Of each stretch the last one stays, and some stretches.
static void test_thinned(void **state) {
    static const int64_t sizes[] = {5, 9000, 12000, 19999, 25000, 31000, 31500};
    struct fixture *f = *state;
    struct cs_snapshot items[CS_ARRAY_LEN(sizes)] = {0};
    const struct cs_snapshot_list l = {.items = items, .len = CS_ARRAY_LEN(sizes)};
    const struct cs_correction correction = {.partition = 7, .from = 20000};
    const struct cs_epochs none = {0}, one = {&correction, 1};
    int64_t removed = -1;
    for (size_t i = 0; i < CS_ARRAY_LEN(sizes); i++)
        items[i].at.size = sizes[i];
    must(cs_snapshots_thin(&f->dir, 7, &l, &none, 10000, 0, &removed, &err));
    assert_int_equal(removed, 0);
    must(cs_snapshots_thin(&f->dir, 7, &l, &none, 10000, 3, &removed, &err));
    assert_int_equal(removed, 4);
    must(cs_snapshots_thin(&f->dir, 7, &l, &none, 10000, 100, &removed, &err));
    assert_int_equal(removed, 3);
    must(cs_snapshots_thin(&f->dir, 7, &l, &none, 1, 100, &removed, &err));
    assert_int_equal(removed, 0);
    // What a correction set aside goes, and takes no other's place.
    must(cs_snapshots_thin(&f->dir, 7, &l, &one, 10000, 3, &removed, &err));
    assert_int_equal(removed, 3 + 2);
    items[6].epoch = 1;
    must(cs_snapshots_thin(&f->dir, 7, &l, &one, 10000, 3, &removed, &err));
    assert_int_equal(removed, 2 + 2);
    // One of an epoch that is not known stays, and counts for nothing.
    must(cs_snapshots_thin(&f->dir, 7, &l, &none, 1, 100, &removed, &err));
    assert_int_equal(removed, 0);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_go_on),
        T(test_a_damaged_file),
        T(test_a_file_of_another_place),
        T(test_statements_that_do_not_count),
        T(test_thinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
