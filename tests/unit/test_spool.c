// SPDX-License-Identifier: Apache-2.0
// The spool: numbers, durability, side-by-side processes, damage. Kills at every step: test_spool_kill.c.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_fixture.h"
#include "certsync/base/text.h"
#include "spool/file.h"

static int setup(void **state) {
    *state = agent_fixture_new();
    return 0;
}

static int teardown(void **state) {
    agent_fixture_free(*state);
    return 0;
}

static size_t count(struct cs_spool *s) {
    struct cs_err err;
    struct cs_spool_item *items;
    size_t n;
    ASSERT_OK(cs_spool_list(s, &items, &n, &err), err);
    free(items);
    return n;
}

static void path_of(const struct cs_spool *s, const char *name, char out[PATH_MAX]) {
    snprintf(out, PATH_MAX, "%s/%s", cs_spool_path(s), name);
}

static void numbers_begin_at_one_and_events_come_back_signed(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s = agent_spool(f);
    cs_uuid id;
    assert_int_equal(agent_add(f, s, "acme", NULL), 1);
    assert_int_equal(agent_add(f, s, "acme", id), 2);
    CS_AUTO(cs_spool_entry_clear) struct cs_spool_entry e = {0};
    assert_int_equal(cs_spool_load(s, f->crypto, 2, &e, &err), CS_SPOOL_LOADED);
    assert_string_equal(e.event->id, id);
    assert_int_equal(e.event->seq, 2);
    assert_false(e.everywhere);
    uint8_t sig[256];
    size_t sig_len;
    assert_true(cs_base64_decode((const char *)e.sig.data, e.sig.len, sig, &sig_len));
    struct cs_pubkey *public;
    ASSERT_OK(cs_pubkey_new(f->crypto, (struct cs_bytes){f->spki, f->spki_len}, &public, &err), err);
    assert_true(cs_event_verify(f->crypto, public, e.value, (struct cs_bytes){sig, sig_len}));
    cs_pubkey_free(public);
    cs_spool_free(s);
}

static void numbers_rise_over_removal_and_reopening(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s = agent_spool(f);
    for (int64_t i = 1; i <= 3; i++)
        assert_int_equal(agent_add(f, s, "acme", NULL), i);
    for (int64_t i = 1; i <= 3; i++)
        ASSERT_OK(cs_spool_remove(s, i, &err), err);
    assert_int_equal(count(s), 0);
    cs_spool_free(s);
    s = agent_spool(f);
    assert_int_equal(agent_add(f, s, "acme", NULL), 4);
    ASSERT_OK(cs_spool_raise(s, 100, &err), err);
    cs_spool_free(s);
    s = agent_spool(f);
    assert_int_equal(agent_add(f, s, "acme", NULL), 101);
    cs_spool_free(s);
}

static void two_openings_never_give_one_number_twice(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *a = agent_spool(f), *b = agent_spool(f);
    for (int64_t i = 1; i <= 20; i += 2) {
        assert_int_equal(agent_add(f, a, "acme", NULL), i);
        assert_int_equal(agent_add(f, b, "acme", NULL), i + 1);
    }
    // Also where the hint of the lock file is lost (a machine that was switched off), or too low (a process
    // that was killed).
    char path[PATH_MAX];
    path_of(a, "lock", path);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(agent_add(f, a, "acme", NULL), 21);
    for (int64_t i = 1; i <= 21; i++)
        ASSERT_OK(cs_spool_remove(b, i, &err), err);
    assert_int_equal(agent_add(f, a, "acme", NULL), 22);
    cs_spool_free(a);
    cs_spool_free(b);
}

static void sent_is_remembered_and_listed_in_order(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s = agent_spool(f);
    for (int i = 0; i < 3; i++)
        agent_add(f, s, "acme", NULL);
    ASSERT_OK(cs_spool_sent(s, 2, 7, 4711, &err), err);
    ASSERT_OK(cs_spool_sent(s, 2, 7, 4711, &err), err); // again: nothing
    struct cs_spool_item *items;
    size_t n;
    ASSERT_OK(cs_spool_list(s, &items, &n, &err), err);
    assert_int_equal(n, 3);
    assert_int_equal(items[0].state, CS_SPOOL_NEW);
    assert_int_equal(items[1].seq, 2);
    assert_int_equal(items[1].state, CS_SPOOL_SENT);
    assert_int_equal(items[1].partition, 7);
    assert_int_equal(items[1].offset, 4711);
    assert_int_equal(items[2].state, CS_SPOOL_NEW);
    free(items);
    CS_AUTO(cs_spool_entry_clear) struct cs_spool_entry e = {0};
    assert_int_equal(cs_spool_load(s, f->crypto, 2, &e, &err), CS_SPOOL_LOADED);
    assert_int_equal(e.item.state, CS_SPOOL_SENT);
    cs_spool_free(s);
}

static void acks_of_partitions_are_kept(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s = agent_spool(f);
    int64_t seq = agent_add(f, s, "", NULL);
    bool acked[4];
    ASSERT_OK(cs_spool_acks(s, seq, acked, 4, &err), err);
    assert_false(acked[0] || acked[1] || acked[2] || acked[3]);
    ASSERT_OK(cs_spool_ack(s, seq, 2, 10, &err), err);
    char path[PATH_MAX];
    path_of(s, "0000000000000001.acks", path);
    FILE *half = fopen(path, "a"); // a process that was killed in the middle of its line
    assert_non_null(half);
    fputs("\n3", half);
    fclose(half);
    ASSERT_OK(cs_spool_ack(s, seq, 0, 11, &err), err);
    ASSERT_OK(cs_spool_acks(s, seq, acked, 4, &err), err);
    assert_true(acked[0] && acked[2]);
    assert_false(acked[1] || acked[3]);
    CS_AUTO(cs_spool_entry_clear) struct cs_spool_entry e = {0};
    assert_int_equal(cs_spool_load(s, f->crypto, seq, &e, &err), CS_SPOOL_LOADED);
    assert_true(e.everywhere);
    ASSERT_OK(cs_spool_sent(s, seq, -1, 0, &err), err);
    assert_int_not_equal(access(path, F_OK), 0);
    cs_spool_free(s);
}

// --- damage -----------------------------------------------------------------------------------------

static void write_text(const char *path, const char *text, off_t at) {
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, text, strlen(text), at), (ssize_t)strlen(text));
    close(fd);
}

static void expect_quarantined(const struct agent_fixture *f, struct cs_spool *s, int64_t seq,
                               const char *why) {
    struct cs_err err;
    CS_AUTO(cs_spool_entry_clear) struct cs_spool_entry e = {0};
    assert_int_equal(cs_spool_load(s, f->crypto, seq, &e, &err), CS_SPOOL_QUARANTINED);
    if (!strstr(err.msg, why))
        fail_msg("wanted \"%s\" in: %s", why, err.msg);
    assert_int_equal(cs_spool_load(s, f->crypto, seq, &e, &err), CS_SPOOL_GONE);
}

static void damaged_events_end_their_files_are_kept_and_their_numbers_stay_used(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s = agent_spool(f);
    char path[PATH_MAX], other[PATH_MAX];
    for (int i = 0; i < 6; i++)
        agent_add(f, s, "acme", NULL);
    path_of(s, "0000000000000001.1.events", path);
    write_text(path, "~", 4096 + 300); // one byte altered
    path_of(s, "0000000000000002.1.events", path);
    assert_int_equal(truncate(path, 4096 + 200), 0);
    path_of(s, "0000000000000003.1.events", path);
    assert_int_equal(truncate(path, 0), 0);
    path_of(s, "0000000000000004.1.events", path);
    write_text(path, "garbage garbage garbage", 4096);
    expect_quarantined(f, s, 1, "altered");
    expect_quarantined(f, s, 2, "cut off");
    expect_quarantined(f, s, 3, "cut off");
    expect_quarantined(f, s, 4, "altered");
    cs_spool_free(s);
    s = agent_spool(f); // what is moved by hand is no change that others are told of
    path_of(s, "0000000000000005.1.events", path);
    path_of(s, "0000000000000009.1.events", other);
    assert_int_equal(rename(path, other), 0);
    cs_spool_free(s);
    s = agent_spool(f);
    expect_quarantined(f, s, 9, "altered");
    size_t damaged;
    ASSERT_OK(cs_spool_quarantined(s, &damaged, &err), err);
    assert_int_equal(damaged, 5);
    assert_int_equal(count(s), 1);
    cs_spool_free(s);
    s = agent_spool(f);
    assert_int_equal(agent_add(f, s, "acme", NULL), 10);
    cs_spool_free(s);
}

static void a_file_of_another_key_is_moved_aside(void **state) {
    const struct agent_fixture *f = *state;
    struct agent_fixture *g = agent_fixture_new();
    struct cs_spool *mine = agent_spool(f), *other = agent_spool(g);
    char from[PATH_MAX], to[PATH_MAX];
    agent_add(g, other, "acme", NULL);
    path_of(other, "0000000000000001.1.events", from);
    path_of(mine, "0000000000000001.1.events", to);
    assert_int_equal(rename(from, to), 0);
    cs_spool_free(mine);
    mine = agent_spool(f);
    expect_quarantined(f, mine, 1, "another key's");
    cs_spool_free(mine);
    cs_spool_free(other);
    agent_fixture_free(g);
}

static void a_damaged_counter_is_said_and_can_be_repaired(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s = agent_spool(f), *none = NULL;
    agent_add(f, s, "acme", NULL);
    ASSERT_OK(cs_spool_remove(s, 1, &err), err);
    char path[PATH_MAX];
    path_of(s, "counter", path);
    cs_spool_free(s);
    static const char *const wrong[] = {"x\n", "", "12", "99999999999999999\n", "-1\n"};
    for (size_t i = 0; i < CS_ARRAY_LEN(wrong); i++) {
        assert_int_equal(truncate(path, 0), 0);
        write_text(path, wrong[i], 0);
        assert_false(cs_spool_open(f->dir, f->kid, NULL, &none, &err));
        assert_int_equal(err.kind, CS_ERR_CONFIG);
        assert_non_null(strstr(err.msg, "certsync spool repair"));
    }
    ASSERT_OK(cs_spool_repair(f->dir, f->kid, 41, &err), err);
    s = agent_spool(f);
    assert_int_equal(agent_add(f, s, "acme", NULL), 42);
    cs_spool_free(s);
}

static void foreign_files_are_left_alone(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_spool *s = agent_spool(f);
    static const char *const names[] = {"README",
                                        "1.1.events",
                                        "0000000000000001.1.event",
                                        "0000000000000001.1.events.x",
                                        "0000000000000001.0.events",
                                        "0000000000000001.01.events",
                                        "0000000000000001.257.events",
                                        "0000000000000001.new",
                                        "0000000000000000.1.events",
                                        "9999999999999999.1.events"};
    char path[PATH_MAX];
    for (size_t i = 0; i < CS_ARRAY_LEN(names); i++) {
        path_of(s, names[i], path);
        write_text(path, "mine", 0);
    }
    assert_int_equal(agent_add(f, s, "acme", NULL), 1);
    assert_int_equal(count(s), 1);
    cs_spool_free(s);
    s = agent_spool(f);
    assert_int_equal(count(s), 1);
    for (size_t i = 0; i < CS_ARRAY_LEN(names); i++) {
        path_of(s, names[i], path);
        assert_int_equal(access(path, F_OK), 0);
    }
    cs_spool_free(s);
}

// --- limits, full disk, permissions --------------------------------------------------------------------

static void at_the_limit_the_oldest_are_kept(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s;
    struct cs_spool_limits limits = {.max_events = 2};
    ASSERT_OK(cs_spool_open(f->dir, f->kid, &limits, &s, &err), err);
    agent_add(f, s, "acme", NULL);
    agent_add(f, s, "acme", NULL);
    struct cs_composed *c = agent_event(f, "acme");
    assert_false(cs_spool_add(s, f->crypto, f->key, &c->event, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY);
    assert_non_null(strstr(err.msg, "at its limit"));
    assert_int_equal(count(s), 2);
    ASSERT_OK(cs_spool_remove(s, 1, &err), err);
    ASSERT_OK(cs_spool_add(s, f->crypto, f->key, &c->event, &err), err);
    assert_int_equal(c->event.seq, 3);
    cs_composed_free(c);
    cs_spool_free(s);
}

static void a_write_that_fails_leaves_nothing(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s = agent_spool(f);
    agent_add(f, s, "acme", NULL);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 100;
    signal(SIGXFSZ, SIG_IGN);
    struct cs_composed *c = agent_event(f, "acme");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    bool ok = cs_spool_add(s, f->crypto, f->key, &c->event, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_false(ok);
    assert_non_null(strstr(err.msg, strerror(EFBIG)));
    assert_int_equal(count(s), 1);
    ASSERT_OK(cs_spool_add(s, f->crypto, f->key, &c->event, &err), err);
    assert_int_equal(c->event.seq, 2);
    cs_composed_free(c);
    cs_spool_free(s);
}

static bool add_group(const struct agent_fixture *f, struct cs_spool *s, struct cs_composed **composed,
                      size_t n, struct cs_err *err) {
    struct cs_event *events[CS_SPOOL_GROUP_MAX];
    for (size_t i = 0; i < n; i++)
        events[i] = &composed[i]->event;
    return cs_spool_add_group(s, f->crypto, f->key, events, n, err);
}

static void a_group_is_added_whole_or_not_at_all(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s;
    struct cs_composed *group[CS_SPOOL_GROUP_MAX];
    struct cs_spool_limits limits = {.max_events = CS_SPOOL_GROUP_MAX + 1};
    struct rlimit before, small;
    ASSERT_OK(cs_spool_open(f->dir, f->kid, &limits, &s, &err), err);
    for (size_t i = 0; i < CS_SPOOL_GROUP_MAX; i++)
        group[i] = agent_event(f, "acme");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 100;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    bool ok = add_group(f, s, group, CS_SPOOL_GROUP_MAX, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_false(ok);
    assert_int_equal(count(s), 0);
    assert_int_equal(group[0]->event.seq, 1); // as it was made
    ASSERT_OK(add_group(f, s, group, CS_SPOOL_GROUP_MAX, &err), err);
    for (size_t i = 0; i < CS_SPOOL_GROUP_MAX; i++)
        assert_int_equal(group[i]->event.seq, i + 1);
    assert_int_equal(count(s), CS_SPOOL_GROUP_MAX);
    assert_false(add_group(f, s, group, 2, &err)); // there is room for one
    assert_int_equal(err.kind, CS_ERR_RETRY);
    assert_int_equal(count(s), CS_SPOOL_GROUP_MAX);
    ASSERT_OK(add_group(f, s, group, 1, &err), err);
    assert_int_equal(group[0]->event.seq, CS_SPOOL_GROUP_MAX + 1);
    for (size_t i = 0; i < CS_SPOOL_GROUP_MAX; i++)
        cs_composed_free(group[i]);
    cs_spool_free(s);
}

// --- a file of events, byte by byte

struct bytes {
    uint8_t data[16384];
    size_t len;
};

static void read_segment(const struct cs_spool *s, const char *name, struct bytes *ret) {
    char path[PATH_MAX];
    path_of(s, name, path);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, ret->data, sizeof ret->data);
    assert_true(n > 0 && n < (ssize_t)sizeof ret->data);
    ret->len = (size_t)n;
    close(fd);
}

// How many of the frames are there, each as it was written.
static size_t whole_frames(const struct agent_fixture *f, const struct bytes *now,
                           const struct cs_spool_frame *before, const struct cs_spool_name *name) {
    struct cs_spool_frame after[3];
    size_t whole = 0;
    cs_spool_frames_parse(f->crypto, (struct cs_bytes){now->data, now->len}, name, after);
    for (size_t i = 0; i < name->n; i++) {
        if (!after[i].sig.data)
            continue;
        assert_int_equal(after[i].sig.len, before[i].sig.len);
        assert_memory_equal(after[i].sig.data, before[i].sig.data, before[i].sig.len);
        assert_int_equal(after[i].value.len, before[i].value.len);
        assert_memory_equal(after[i].value.data, before[i].value.data, before[i].value.len);
        whole++;
    }
    return whole;
}

// A state is what was written, or new: then the event is published once more.
static size_t whole_states(const struct bytes *now, const struct cs_spool_item *before, size_t n) {
    struct cs_spool_item after[3] = {{.seq = 1}, {.seq = 2}, {.seq = 3}};
    size_t whole = 0;
    cs_spool_states_parse((struct cs_bytes){now->data, now->len}, after, n);
    for (size_t i = 0; i < n; i++) {
        bool same = after[i].state == before[i].state && after[i].partition == before[i].partition &&
                    after[i].offset == before[i].offset;
        assert_true(same || after[i].state == CS_SPOOL_NEW);
        whole += same;
    }
    return whole;
}

static void each_byte_of_a_file_of_events(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s = agent_spool(f);
    struct cs_composed *group[3];
    static struct bytes file, now;
    const struct cs_spool_name name = {CS_SPOOL_NAME_EVENTS, 1, 3, 0};
    const struct cs_spool_item marks[] = {
        {1, CS_SPOOL_SENT, INT32_MAX, INT64_MAX}, {2, CS_SPOOL_ENDED, 0, 0}, {3, CS_SPOOL_SENT, -1, 0}};
    struct cs_spool_frame frames[3];
    for (size_t i = 0; i < 3; i++)
        group[i] = agent_event(f, "acme");
    ASSERT_OK(add_group(f, s, group, 3, &err), err);
    ASSERT_OK(cs_spool_mark(s, marks, 3, &err), err);
    read_segment(s, "0000000000000001.3.events", &file);
    cs_spool_frames_parse(f->crypto, (struct cs_bytes){file.data, file.len}, &name, frames);
    assert_int_equal(whole_frames(f, &file, frames, &name), 3);
    assert_int_equal(whole_states(&file, marks, 3), 3);
    for (size_t i = 0; i < file.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            now = file;
            now.data[i] ^= (uint8_t)(1 << bit);
            assert_true(whole_frames(f, &now, frames, &name) >= 2);
            assert_true(whole_states(&now, marks, 3) >= 2);
        }
    for (now.len = 0; now.len < file.len; now.len++) {
        size_t want = 0;
        memcpy(now.data, file.data, file.len);
        for (size_t i = 0; i < 3; i++)
            want += frames[i].value.data + frames[i].value.len <= file.data + now.len;
        assert_int_equal(whole_frames(f, &now, frames, &name), want);
        assert_int_equal(whole_states(&now, marks, 3), now.len / 128 < 3 ? now.len / 128 : 3);
    }
    for (size_t i = 0; i < 3; i++)
        cs_composed_free(group[i]);
    cs_spool_free(s);
}

static void of_a_damaged_group_only_the_damaged_are_lost(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s = agent_spool(f), *other = agent_spool(f);
    struct cs_composed *group[3];
    char path[PATH_MAX];
    for (size_t i = 0; i < 3; i++)
        group[i] = agent_event(f, "acme");
    ASSERT_OK(add_group(f, s, group, 3, &err), err);
    path_of(s, "0000000000000001.3.events", path);
    static struct bytes file;
    read_segment(s, "0000000000000001.3.events", &file);
    const uint8_t *second = memchr(file.data + 4096, '\n', file.len - 4096);
    write_text(path, "~", (off_t)(second - file.data) + 200);
    expect_quarantined(f, s, 2, "altered");
    for (int64_t seq = 1; seq <= 3; seq += 2) {
        CS_AUTO(cs_spool_entry_clear) struct cs_spool_entry e = {0};
        assert_int_equal(cs_spool_load(other, f->crypto, seq, &e, &err), CS_SPOOL_LOADED);
        assert_string_equal(e.event->id, group[seq - 1]->event.id);
    }
    assert_int_equal(count(other), 2);
    path_of(s, "quarantine/0000000000000001.3.events", path);
    assert_int_equal(access(path, F_OK), 0);
    for (size_t i = 0; i < 3; i++)
        cs_composed_free(group[i]);
    cs_spool_free(s);
    cs_spool_free(other);
}

// --- groups

static void a_group_is_marked_in_one_go_and_its_file_goes_with_the_last(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s = agent_spool(f), *other = agent_spool(f);
    struct cs_composed *group[5];
    char path[PATH_MAX];
    for (size_t i = 0; i < 5; i++)
        group[i] = agent_event(f, "acme");
    ASSERT_OK(add_group(f, s, group, 5, &err), err);
    int64_t alone = agent_add(f, s, "acme", NULL);
    assert_int_equal(count(other), 6);
    struct cs_spool_item marks[6];
    for (int i = 0; i < 6; i++)
        marks[i] = (struct cs_spool_item){i + 1, CS_SPOOL_SENT, 3, 100 + i};
    ASSERT_OK(cs_spool_mark(other, marks, 6, &err), err);
    struct cs_spool_item *items;
    size_t n;
    ASSERT_OK(cs_spool_list(s, &items, &n, &err), err);
    assert_int_equal(n, 6);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(items[i].state, CS_SPOOL_SENT);
        assert_int_equal(items[i].offset, 100 + (int64_t)i);
    }
    free(items);
    const struct cs_spool_item ends[] = {{.seq = 1, .state = CS_SPOOL_ENDED},
                                         {.seq = 3, .state = CS_SPOOL_ENDED},
                                         {.seq = 5, .state = CS_SPOOL_ENDED},
                                         {.seq = alone, .state = CS_SPOOL_ENDED},
                                         {.seq = 99, .state = CS_SPOOL_ENDED}};
    ASSERT_OK(cs_spool_mark(s, ends, 5, &err), err);
    ASSERT_OK(cs_spool_mark(s, ends, 5, &err), err); // again: nothing
    ASSERT_OK(cs_spool_sent(s, 1, 0, 0, &err), err); // what ended stays so
    assert_int_equal(count(other), 2);
    path_of(s, "0000000000000006.1.events", path);
    assert_int_not_equal(access(path, F_OK), 0);
    path_of(s, "0000000000000001.5.events", path);
    assert_int_equal(access(path, F_OK), 0);
    cs_spool_free(s);
    s = agent_spool(f);
    assert_int_equal(count(s), 2);
    ASSERT_OK(cs_spool_remove(s, 2, &err), err);
    ASSERT_OK(cs_spool_remove(other, 4, &err), err);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(count(s), 0);
    assert_int_equal(agent_add(f, s, "acme", NULL), 7);
    for (size_t i = 0; i < 5; i++)
        cs_composed_free(group[i]);
    cs_spool_free(s);
    cs_spool_free(other);
}

// As on a full disk: what is there may be written over, and no file may grow.
static void states_take_no_room(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s = agent_spool(f);
    struct rlimit before, small;
    int64_t first = agent_add(f, s, "acme", NULL), second = agent_add(f, s, "acme", NULL);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 4096;
    signal(SIGXFSZ, SIG_IGN);
    struct cs_composed *c = agent_event(f, "acme");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    bool added = cs_spool_add(s, f->crypto, f->key, &c->event, &err);
    struct cs_err why[2];
    bool sent = cs_spool_sent(s, first, 0, 7, &why[0]), ended = cs_spool_remove(s, second, &why[1]);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_false(added);
    ASSERT_OK(sent, why[0]);
    ASSERT_OK(ended, why[1]);
    assert_int_equal(count(s), 1);
    cs_composed_free(c);
    cs_spool_free(s);
}

static void who_holds_it_keeps_the_others_out(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s = agent_spool(f);
    int fds[2];
    char byte;
    assert_int_equal(pipe(fds), 0);
    ASSERT_OK(cs_spool_lock(s, &err), err);
    pid_t pid = fork();
    if (pid == 0) {
        struct cs_spool *own = agent_spool(f);
        agent_add(f, own, "acme", NULL);
        _exit(write(fds[1], "x", 1) == 1 ? 0 : 1);
    }
    close(fds[1]);
    assert_int_equal(agent_add(f, s, "acme", NULL), 1);
    assert_int_equal(agent_add(f, s, "acme", NULL), 2);
    assert_int_equal(poll(&(struct pollfd){.fd = fds[0], .events = POLLIN}, 1, 0), 0);
    cs_spool_unlock(s);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    close(fds[0]);
    waitpid(pid, NULL, 0);
    assert_int_equal(count(s), 3);
    cs_spool_free(s);
}

static void a_spool_that_others_can_write_is_refused(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s = agent_spool(f), *none = NULL;
    struct stat st;
    assert_int_equal(stat(cs_spool_path(s), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(chmod(cs_spool_path(s), 0777), 0);
    assert_false(cs_spool_open(f->dir, f->kid, NULL, &none, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_non_null(strstr(err.msg, "chmod 700"));
    cs_spool_free(s);
}

// --- root's commands in the spool of the service's user

#define NOBODY 65534

// What must stay as it is, whatever is planted: root's directory with root's file in it.
static void assert_untouched(const char *victim) {
    char path[PATH_MAX], text[8] = "";
    struct stat st;
    assert_int_equal(lstat(victim, &st), 0);
    assert_true(st.st_uid == 0 && (st.st_mode & 07777) == 0711);
    snprintf(path, sizeof path, "%s/shadow", victim);
    assert_int_equal(lstat(path, &st), 0);
    assert_true(st.st_uid == 0 && st.st_gid == 0 && (st.st_mode & 07777) == 0640);
    int fd = open(path, O_RDONLY);
    assert_int_equal(read(fd, text, sizeof text), 6);
    close(fd);
    assert_memory_equal(text, "secret", 6);
    DIR *d = opendir(victim);
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.' && strcmp(e->d_name, "shadow") != 0)
            fail_msg("root was led to make %s", e->d_name);
    closedir(d);
}

static void make_victim(const struct agent_fixture *f, char victim[PATH_MAX]) {
    char path[PATH_MAX];
    snprintf(victim, PATH_MAX, "%s.root", f->dir);
    assert_int_equal(mkdir(victim, 0711), 0);
    assert_int_equal(chmod(victim, 0711), 0);
    snprintf(path, sizeof path, "%s/shadow", victim);
    int fd = open(path, O_WRONLY | O_CREAT, 0640);
    assert_int_equal(fchmod(fd, 0640), 0);
    assert_int_equal(write(fd, "secret", 6), 6);
    close(fd);
    assert_int_equal(chown(f->dir, NOBODY, NOBODY), 0);
}

static void remove_victim(const char *victim) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/shadow", victim);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(victim), 0);
}

static bool not_root(void) {
    if (geteuid() != 0)
        print_message("not root: what root does in another user's directory cannot be tried\n");
    return geteuid() != 0;
}

// Root opens the spool, adds to it and acknowledges; it may be refused, and must not be led elsewhere.
static bool use_spool(const struct agent_fixture *f, struct cs_err *err) {
    CS_AUTO(cs_spool_free) struct cs_spool *s = NULL;
    CS_AUTO(cs_composed_free) struct cs_composed *c = agent_event(f, "");
    return cs_spool_open(f->dir, f->kid, NULL, &s, err) &&
           cs_spool_add(s, f->crypto, f->key, &c->event, err) && cs_spool_ack(s, c->event.seq, 0, 0, err) &&
           cs_spool_raise(s, c->event.seq, err) && cs_spool_remove(s, c->event.seq, err);
}

static void root_is_not_led_by_what_a_user_planted(void **state) {
    const struct agent_fixture *f = *state;
    char victim[PATH_MAX], secret[PATH_MAX + 8], planted[PATH_MAX + 64];
    struct cs_err err;
    if (not_root())
        skip();
    make_victim(f, victim);
    snprintf(secret, sizeof secret, "%s/shadow", victim);
    // The directory itself.
    snprintf(planted, sizeof planted, "%s/%s", f->dir, f->kid);
    assert_int_equal(symlink(victim, planted), 0);
    assert_int_equal(lchown(planted, NOBODY, NOBODY), 0);
    assert_false(use_spool(f, &err));
    assert_non_null(strstr(err.msg, planted));
    assert_untouched(victim);
    assert_int_equal(unlink(planted), 0);
    ASSERT_OK(use_spool(f, &err), err);
    static const struct {
        const char *name;
        bool works; // what is in the way is taken away
    } rows[] = {{"lock", false},
                {"publish.lock", false},
                {".tmp", true},
                {"0000000000000099.1.events", false},
                {"0000000000000099.2.events.0000000000000001", false}};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        for (int hard = 0; hard < 2; hard++) {
            snprintf(planted, sizeof planted, "%s/%s/%s", f->dir, f->kid, rows[i].name);
            unlink(planted);
            assert_int_equal(hard ? link(secret, planted) : symlink(secret, planted), 0);
            if (use_spool(f, &err) != rows[i].works)
                fail_msg("%s: %s", rows[i].name, rows[i].works ? err.msg : "written to");
            assert_untouched(victim);
            unlink(planted);
        }
    struct stat st;
    snprintf(planted, sizeof planted, "%s/%s/lock", f->dir, f->kid);
    ASSERT_OK(use_spool(f, &err), err);
    assert_int_equal(stat(planted, &st), 0);
    assert_int_equal(st.st_uid, NOBODY); // the service can go on with it
    remove_victim(victim);
}

// The service's user: swaps the directory, and the files in it, for links, as fast as it goes.
static void swap_for_ever(const struct agent_fixture *f, const char *victim) {
    char own[PATH_MAX + 64], aside[PATH_MAX + 80], lock[PATH_MAX + 80], secret[PATH_MAX + 8];
    snprintf(own, sizeof own, "%s/%s", f->dir, f->kid);
    snprintf(aside, sizeof aside, "%s.aside", own);
    snprintf(lock, sizeof lock, "%s/lock", own);
    snprintf(secret, sizeof secret, "%s/shadow", victim);
    if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
        _exit(1);
    for (unsigned i = 0;; i++) {
        unlink(lock);
        if (i % 3 == 0)
            (void)!symlink(secret, lock);
        if (i % 5 == 0)
            (void)!link(secret, lock); // the kernel may forbid it (fs.protected_hardlinks)
        if (i % 4 > 0)
            continue;
        (void)!rename(own, aside);
        (void)!symlink(victim, own);
        unlink(own);
        (void)!rename(aside, own);
    }
}

static void root_is_not_led_by_a_user_who_swaps(void **state) {
    const struct agent_fixture *f = *state;
    char victim[PATH_MAX];
    struct cs_err err;
    int worked = 0, refused = 0, status;
    if (not_root())
        skip();
    make_victim(f, victim);
    ASSERT_OK(use_spool(f, &err), err);
    pid_t child = fork();
    if (child == 0)
        swap_for_ever(f, victim);
    for (int i = 0; i < 3000 || (worked == 0 && i < 100000); i++)
        *(use_spool(f, &err) ? &worked : &refused) += 1;
    assert_untouched(victim);
    assert_int_equal(waitpid(child, &status, WNOHANG), 0); // it was at it all the time
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    print_message("root's command worked %d times and was refused %d times\n", worked, refused);
    assert_true(worked > 0);
    remove_victim(victim);
}

static void a_directory_that_cannot_be_made_is_said(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *none = NULL;
    assert_false(cs_spool_open("/proc/spool", f->kid, NULL, &none, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_non_null(strstr(err.msg, "agent.spool"));
    ASSERT_OK(cs_spool_open_existing("/proc/spool", f->kid, NULL, &none, &err), err);
    assert_null(none);
}

static void too_large_an_event_is_refused_and_takes_no_number(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s = agent_spool(f);
    struct cs_composed *c = agent_event(f, "acme");
    static uint8_t big[CS_EVENT_MAX];
    c->event.type = CS_EVENT_CSR_ADD;
    snprintf(c->event.data.csr.name, sizeof c->event.data.csr.name, "x");
    c->event.data.csr.csr.bytes = (struct cs_bytes){big, sizeof big};
    c->event.data.csr.key.bytes = (struct cs_bytes){big, 10};
    c->event.data.csr.pop.bytes = (struct cs_bytes){big, 10};
    assert_false(cs_spool_add(s, f->crypto, f->key, &c->event, &err));
    assert_int_equal(err.kind, CS_ERR_REJECT);
    assert_int_equal(err.code, CS_CODE_EVENT_TOO_LARGE);
    assert_int_equal(count(s), 0);
    cs_composed_free(c);
    assert_int_equal(agent_add(f, s, "acme", NULL), 1);
    cs_spool_free(s);
}

// --- side by side -----------------------------------------------------------------------------------------

#define PROCESSES 4
#define EACH      25

static void adder(const struct agent_fixture *f) {
    struct cs_spool *s = agent_spool(f);
    for (int i = 0; i < EACH; i++) {
        struct cs_err err;
        int64_t seq = agent_add(f, s, "acme", NULL);
        // Every other one is finished at once, as by a command whose outcome came.
        if (i % 2 == 1)
            ASSERT_OK(cs_spool_remove(s, seq, &err), err);
        FILE *log = fopen("numbers", "a");
        assert_non_null(log);
        fprintf(log, "%" PRId64 "\n", seq);
        fclose(log);
    }
    cs_spool_free(s);
    _exit(0);
}

static void processes_side_by_side_share_one_sequence(void **state) {
    const struct agent_fixture *f = *state;
    bool seen[PROCESSES * EACH + 1] = {false};
    char here[PATH_MAX];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(f->dir), 0);
    pid_t pids[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0)
            adder(f);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    FILE *log = fopen("numbers", "r");
    assert_non_null(log);
    int64_t seq;
    size_t n = 0;
    while (fscanf(log, "%" SCNd64, &seq) == 1) {
        assert_in_range(seq, 1, PROCESSES * EACH);
        assert_false(seen[seq]);
        seen[seq] = true;
        n++;
    }
    fclose(log);
    assert_int_equal(n, PROCESSES * EACH);
    struct cs_spool *s = agent_spool(f);
    assert_int_equal(count(s), PROCESSES * ((EACH + 1) / 2));
    cs_spool_free(s);
    assert_int_equal(chdir(here), 0);
}

static void only_one_publishes(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_clock_fake clock;
    cs_clock_fake_init(&clock, 0);
    struct cs_spool *a = agent_spool(f), *b = agent_spool(f);
    ASSERT_OK(cs_spool_publish_lock(a, &clock.clock, 0, &err), err);
    assert_false(cs_spool_publish_lock(b, &clock.clock, 0, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY);
    cs_spool_publish_unlock(a);
    ASSERT_OK(cs_spool_publish_lock(b, &clock.clock, 0, &err), err);
    cs_spool_free(a);
    cs_spool_free(b);
}

// --- renumbering -----------------------------------------------------------------------------------------

static void renumbering_keeps_ids_and_order(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s = agent_spool(f);
    cs_uuid ids[4];
    for (int i = 0; i < 4; i++)
        agent_add(f, s, "acme", ids[i]);
    ASSERT_OK(cs_spool_sent(s, 2, 0, 0, &err), err);
    int64_t seqs[] = {2, 3, 4}, now[3];
    ASSERT_OK(cs_spool_renumber(s, f->crypto, f->key, seqs, 3, 500, now, &err), err);
    assert_int_equal(now[0], 501);
    struct cs_spool_item *items;
    size_t n;
    ASSERT_OK(cs_spool_list(s, &items, &n, &err), err);
    assert_int_equal(n, 4);
    assert_int_equal(items[0].seq, 1);
    for (int i = 1; i < 4; i++) {
        CS_AUTO(cs_spool_entry_clear) struct cs_spool_entry e = {0};
        assert_int_equal(items[i].seq, 500 + i);
        assert_int_equal(items[i].state, CS_SPOOL_NEW); // also the one that was sent: to be published again
        assert_int_equal(cs_spool_load(s, f->crypto, items[i].seq, &e, &err), CS_SPOOL_LOADED);
        assert_string_equal(e.event->id, ids[i]);
    }
    free(items);
    int64_t gone[] = {2};
    ASSERT_OK(cs_spool_renumber(s, f->crypto, f->key, gone, 1, 0, now, &err), err);
    assert_int_equal(now[0], 0);
    assert_int_equal(agent_add(f, s, "acme", NULL), 504);
    cs_spool_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(numbers_begin_at_one_and_events_come_back_signed),
        T(numbers_rise_over_removal_and_reopening),
        T(two_openings_never_give_one_number_twice),
        T(sent_is_remembered_and_listed_in_order),
        T(acks_of_partitions_are_kept),
        T(damaged_events_end_their_files_are_kept_and_their_numbers_stay_used),
        T(a_file_of_another_key_is_moved_aside),
        T(a_damaged_counter_is_said_and_can_be_repaired),
        T(foreign_files_are_left_alone),
        T(at_the_limit_the_oldest_are_kept),
        T(a_group_is_added_whole_or_not_at_all),
        T(each_byte_of_a_file_of_events),
        T(of_a_damaged_group_only_the_damaged_are_lost),
        T(a_group_is_marked_in_one_go_and_its_file_goes_with_the_last),
        T(states_take_no_room),
        T(who_holds_it_keeps_the_others_out),
        T(a_write_that_fails_leaves_nothing),
        T(a_spool_that_others_can_write_is_refused),
        T(root_is_not_led_by_what_a_user_planted),
        T(root_is_not_led_by_a_user_who_swaps),
        T(a_directory_that_cannot_be_made_is_said),
        T(too_large_an_event_is_refused_and_takes_no_number),
        T(processes_side_by_side_share_one_sequence),
        T(only_one_publishes),
        T(renumbering_keeps_ids_and_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
