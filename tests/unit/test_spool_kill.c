// SPDX-License-Identifier: Apache-2.0
// SIGKILL at every step of everything that the spool does. This program has its own build of the spool, with
// a hook at each step.
//
// For each operation the k-th step is killed, k = 1, 2, … until the operation gets through; after each kill
// the spool is opened anew and must hold: nothing that was acknowledged is lost, no number stands for two
// events, whatever is there is whole, and it goes on.
#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_fixture.h"

#define STEPS_MAX 200
#define NUMBERS   4096

static int steps_left;

static void on_step(const char *step) {
    (void)step;
    if (--steps_left == 0)
        raise(SIGKILL);
}

// Which event each number was seen with, over the whole test.
static cs_uuid history[NUMBERS];

// Everything that is there is whole, and no number has changed its event. Returns how many events.
static size_t check_all(const struct agent_fixture *f, struct cs_spool *s) {
    struct cs_err err;
    struct cs_spool_item *items;
    size_t n;
    ASSERT_OK(cs_spool_list(s, &items, &n, &err), err);
    for (size_t i = 0; i < n; i++) {
        CS_AUTO(cs_spool_entry_clear) struct cs_spool_entry e = {0};
        if (cs_spool_load(s, f->crypto, items[i].seq, &e, &err) != CS_SPOOL_LOADED)
            fail_msg("number %" PRId64 ": %s", items[i].seq, err.msg);
        assert_true(items[i].seq < NUMBERS);
        char *known = history[items[i].seq];
        if (known[0])
            assert_string_equal(known, e.event->id);
        memcpy(known, e.event->id, sizeof e.event->id);
    }
    free(items);
    return n;
}

typedef void (*operation)(const struct agent_fixture *f, struct cs_spool *s, int report_fd);

// Runs op in a child that is killed at its k-th step. True where it was killed; *ret_report is what it
// reported before.
static bool run_killed(const struct agent_fixture *f, operation op, int k, int64_t *ret_report) {
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        steps_left = k;
        cs_spool_test_step = on_step;
        struct cs_spool *s = agent_spool(f); // opening may be killed, too
        op(f, s, fds[1]);
        _exit(0);
    }
    close(fds[1]);
    *ret_report = 0;
    ssize_t n = read(fds[0], ret_report, sizeof *ret_report);
    assert_true(n == 0 || n == (ssize_t)sizeof *ret_report);
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (!killed)
        assert_int_equal(status, 0);
    return killed;
}

static void report(int fd, int64_t value) {
    assert_int_equal(write(fd, &value, sizeof value), (ssize_t)sizeof value);
}

static bool is_there(struct cs_spool *s, int64_t seq) {
    struct cs_err err;
    struct cs_spool_item *items;
    size_t n;
    bool found = false;
    ASSERT_OK(cs_spool_list(s, &items, &n, &err), err);
    for (size_t i = 0; i < n; i++)
        found |= items[i].seq == seq;
    free(items);
    return found;
}

// --- adding -----------------------------------------------------------------------------------------

static void do_add(const struct agent_fixture *f, struct cs_spool *s, int fd) {
    report(fd, agent_add(f, s, "acme", NULL));
}

static void killed_while_adding(void **state) {
    const struct agent_fixture *f = *state;
    int k = 1;
    int64_t reported, last = 0;
    for (; run_killed(f, do_add, k, &reported); k++) {
        assert_true(k < STEPS_MAX);
        struct cs_spool *s = agent_spool(f);
        check_all(f, s);
        if (reported)
            assert_true(is_there(s, reported));
        int64_t seq = agent_add(f, s, "acme", NULL);
        assert_true(seq > last);
        last = seq;
        check_all(f, s);
        cs_spool_free(s);
    }
    assert_true(k >= 6); // temporary file, content, sync, rename, sync of the directory
    assert_true(reported > last);
}

// --- adding a group: a killed one leaves all of it or nothing ---------------------------------------

#define GROUP 4

static void do_add_group(const struct agent_fixture *f, struct cs_spool *s, int fd) {
    struct cs_err err;
    struct cs_composed *composed[GROUP];
    struct cs_event *events[GROUP];
    for (size_t i = 0; i < GROUP; i++) {
        composed[i] = agent_event(f, "acme");
        events[i] = &composed[i]->event;
    }
    ASSERT_OK(cs_spool_add_group(s, f->crypto, f->key, events, GROUP, &err), err);
    report(fd, events[0]->seq);
    for (size_t i = 0; i < GROUP; i++)
        cs_composed_free(composed[i]);
}

static void killed_while_adding_a_group(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_spool *stays = agent_spool(f);
    int64_t reported, last = 0;
    int k = 1;
    for (; run_killed(f, do_add_group, k, &reported); k++) {
        assert_true(k < STEPS_MAX);
        for (int64_t i = 0; reported && i < GROUP; i++)
            assert_true(is_there(stays, reported + i));
        int64_t seq = agent_add(f, stays, "acme", NULL);
        assert_true(seq == last + 1 || seq == last + GROUP + 1);
        for (int64_t i = last + 1; i < seq; i++)
            assert_true(is_there(stays, i));
        last = seq;
        check_all(f, stays);
    }
    assert_true(k >= 6);
    assert_int_equal(reported, last + 1);
    cs_spool_free(stays);
}

// --- adding, with another process that stays and knows only the hint ------------------------------------

static void killed_beside_one_that_stays(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_spool *stays = agent_spool(f);
    int64_t reported, last = 0;
    for (int k = 1; run_killed(f, do_add, k, &reported); k++) {
        assert_true(k < STEPS_MAX);
        int64_t seq = agent_add(f, stays, "acme", NULL);
        assert_true(seq > last);
        last = seq;
        check_all(f, stays);
    }
    cs_spool_free(stays);
}

// --- removing -----------------------------------------------------------------------------------------

static void do_remove_all(const struct agent_fixture *f, struct cs_spool *s, int fd) {
    struct cs_err err;
    struct cs_spool_item *items;
    size_t n;
    (void)f;
    (void)fd;
    ASSERT_OK(cs_spool_list(s, &items, &n, &err), err);
    for (size_t i = 0; i < n; i++)
        ASSERT_OK(cs_spool_remove(s, items[i].seq, &err), err);
    free(items);
}

static void killed_while_removing(void **state) {
    const struct agent_fixture *f = *state;
    int64_t reported, last = 0;
    int k = 1;
    bool killed = true;
    for (; killed; k++) {
        assert_true(k < STEPS_MAX);
        struct cs_spool *s = agent_spool(f);
        int64_t a = agent_add(f, s, "acme", NULL), b = agent_add(f, s, "acme", NULL);
        assert_true(a > last && b > a);
        last = b;
        check_all(f, s);
        cs_spool_free(s);
        killed = run_killed(f, do_remove_all, k, &reported);
        s = agent_spool(f);
        check_all(f, s);
        cs_spool_free(s);
    }
    assert_true(k >= 4);
}

// --- a group ends: nothing of it that was not to end may go ------------------------------------------

static void do_end_group(const struct agent_fixture *f, struct cs_spool *s, int fd) {
    struct cs_err err;
    struct cs_spool_item *items, marks[GROUP];
    size_t n;
    (void)f;
    ASSERT_OK(cs_spool_list(s, &items, &n, &err), err);
    assert_true(n >= GROUP);
    const struct cs_spool_item *group = items + n - GROUP;
    for (size_t i = 0; i < GROUP; i++)
        marks[i] = (struct cs_spool_item){group[i].seq, CS_SPOOL_SENT, 0, 1};
    ASSERT_OK(cs_spool_mark(s, marks, GROUP, &err), err);
    for (size_t i = 0; i < GROUP; i++)
        marks[i].state = CS_SPOOL_ENDED;
    ASSERT_OK(cs_spool_mark(s, marks, GROUP - 1, &err), err);
    report(fd, group[GROUP - 1].seq);
    free(items);
}

static void killed_while_a_group_ends(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    int64_t reported;
    int k = 1;
    for (bool killed = true; killed; k++) {
        assert_true(k < STEPS_MAX);
        assert_false(run_killed(f, do_add_group, STEPS_MAX, &reported));
        int64_t last = reported + GROUP - 1;
        killed = run_killed(f, do_end_group, k, &reported);
        struct cs_spool *s = agent_spool(f);
        check_all(f, s);
        assert_true(is_there(s, last));
        assert_int_equal(is_there(s, last - 1), is_there(s, last - 3)); // all three or none
        ASSERT_OK(cs_spool_mark(s, &(struct cs_spool_item){.seq = last, .state = CS_SPOOL_ENDED}, 1, &err),
                  err);
        assert_false(is_there(s, last));
        cs_spool_free(s);
    }
    assert_true(k >= 5);
}

// --- marking ----------------------------------------------------------------------------------------------

static void do_mark(const struct agent_fixture *f, struct cs_spool *s, int fd) {
    struct cs_err err;
    struct cs_spool_item *items;
    size_t n;
    (void)f;
    (void)fd;
    ASSERT_OK(cs_spool_list(s, &items, &n, &err), err);
    assert_true(n > 0);
    ASSERT_OK(cs_spool_ack(s, items[n - 1].seq, 0, 1, &err), err);
    ASSERT_OK(cs_spool_sent(s, items[n - 1].seq, -1, 0, &err), err);
    free(items);
}

static void killed_while_marking(void **state) {
    const struct agent_fixture *f = *state;
    int64_t reported;
    bool killed = true;
    size_t want = 0;
    int k = 1;
    for (; killed; k++) {
        assert_true(k < STEPS_MAX);
        struct cs_spool *s = agent_spool(f);
        agent_add(f, s, "", NULL);
        want++;
        cs_spool_free(s);
        killed = run_killed(f, do_mark, k, &reported);
        s = agent_spool(f);
        assert_int_equal(check_all(f, s), want); // marking loses none
        cs_spool_free(s);
    }
    assert_true(k >= 4);
}

// --- renumbering
// ---------------------------------------------------------------------------------------------

static void do_renumber(const struct agent_fixture *f, struct cs_spool *s, int fd) {
    struct cs_err err;
    struct cs_spool_item *items;
    size_t n;
    int64_t seqs[64], highest;
    (void)fd;
    ASSERT_OK(cs_spool_list(s, &items, &n, &err), err);
    assert_true(n <= CS_ARRAY_LEN(seqs));
    for (size_t i = 0; i < n; i++)
        seqs[i] = items[i].seq;
    free(items);
    ASSERT_OK(cs_spool_highest(s, &highest, &err), err);
    ASSERT_OK(cs_spool_renumber(s, f->crypto, f->key, seqs, n, highest + 10, NULL, &err), err);
}

// Every id is there exactly once.
static void check_ids(const struct agent_fixture *f, struct cs_spool *s, cs_uuid *ids, size_t want) {
    struct cs_err err;
    struct cs_spool_item *items;
    size_t n, found[8] = {0};
    ASSERT_OK(cs_spool_list(s, &items, &n, &err), err);
    for (size_t i = 0; i < n; i++) {
        CS_AUTO(cs_spool_entry_clear) struct cs_spool_entry e = {0};
        assert_int_equal(cs_spool_load(s, f->crypto, items[i].seq, &e, &err), CS_SPOOL_LOADED);
        for (size_t j = 0; j < want; j++)
            found[j] += strcmp(ids[j], e.event->id) == 0;
    }
    free(items);
    assert_int_equal(n, want);
    for (size_t j = 0; j < want; j++)
        assert_int_equal(found[j], 1);
}

static void killed_while_renumbering(void **state) {
    const struct agent_fixture *f = *state;
    cs_uuid ids[3];
    int64_t reported;
    struct cs_spool *s = agent_spool(f);
    struct cs_err err;
    for (size_t i = 0; i < CS_ARRAY_LEN(ids); i++)
        agent_add(f, s, "acme", ids[i]);
    // Two that follow each other, and one that stands alone.
    ASSERT_OK(cs_spool_remove(s, agent_add(f, s, "acme", NULL), &err), err);
    agent_add(f, s, "acme", ids[0]);
    ASSERT_OK(cs_spool_remove(s, 1, &err), err);
    cs_spool_free(s);
    int k = 1;
    for (bool killed = true; killed; k++) {
        assert_true(k < STEPS_MAX);
        killed = run_killed(f, do_renumber, k, &reported);
        s = agent_spool(f);
        check_ids(f, s, ids, CS_ARRAY_LEN(ids));
        check_all(f, s);
        cs_spool_free(s);
    }
    assert_true(k >= 12);
}

static int setup(void **state) {
    memset(history, 0, sizeof history);
    *state = agent_fixture_new();
    return 0;
}

static int teardown(void **state) {
    agent_fixture_free(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(killed_while_adding),      T(killed_while_adding_a_group), T(killed_beside_one_that_stays),
        T(killed_while_removing),    T(killed_while_a_group_ends),   T(killed_while_marking),
        T(killed_while_renumbering),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
