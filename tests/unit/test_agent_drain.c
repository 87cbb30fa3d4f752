// SPDX-License-Identifier: Apache-2.0
// From the spool to a topic (in memory): order, brokers that go away, events for every partition, damage.
#include <fcntl.h>
#include <inttypes.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_fixture.h"
#include "spool/drain.h"

#define PARTITIONS 4

static int setup(void **state) {
    *state = agent_fixture_new();
    return 0;
}

static int teardown(void **state) {
    agent_fixture_free(*state);
    return 0;
}

static struct cs_publisher *memory(void) {
    struct cs_err err;
    struct cs_publisher *p;
    ASSERT_OK(cs_publisher_memory(PARTITIONS, &p, &err), err);
    return p;
}

static bool drain(const struct agent_fixture *f, struct cs_spool *s, struct cs_publisher *p, int64_t upto,
                  struct cs_drain *ret, struct cs_err *err) {
    *ret = (struct cs_drain){.spool = s, .crypto = f->crypto, .publisher = p, .clock = cs_clock_real()};
    return cs_drain_run(ret, upto, cs_clock_mono_ms(cs_clock_real()) + 60000, err);
}

static size_t states(struct cs_spool *s, enum cs_spool_state state) {
    struct cs_err err;
    struct cs_spool_item *items;
    size_t n, found = 0;
    ASSERT_OK(cs_spool_list(s, &items, &n, &err), err);
    for (size_t i = 0; i < n; i++)
        found += items[i].state == state;
    free(items);
    return found;
}

// The numbers of the records, in the order in which they were written.
static size_t written(const struct cs_publisher *p, int64_t *seqs, size_t max) {
    size_t n;
    const struct cs_publisher_memory_record *r = cs_publisher_memory_records(p, &n);
    assert_true(n <= max);
    for (size_t i = 0; i < n; i++) {
        struct cs_err err;
        CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
        ASSERT_OK(cs_event_decode((struct cs_bytes){r[i].value, r[i].value_len}, &ev, &err), err);
        seqs[i] = ev->seq;
    }
    return n;
}

static void in_order_and_only_up_to(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_drain d;
    int64_t seqs[512];
    struct cs_spool *s = agent_spool(f);
    struct cs_publisher *p = memory();
    for (int i = 0; i < 300; i++) // more than one batch
        agent_add(f, s, "acme", NULL);
    ASSERT_OK(drain(f, s, p, 200, &d, &err), err);
    assert_int_equal(d.published, 200);
    assert_int_equal(states(s, CS_SPOOL_NEW), 100);
    ASSERT_OK(drain(f, s, p, 0, &d, &err), err);
    assert_int_equal(d.published, 100);
    assert_int_equal(written(p, seqs, CS_ARRAY_LEN(seqs)), 300);
    for (int i = 0; i < 300; i++)
        assert_int_equal(seqs[i], i + 1);
    ASSERT_OK(drain(f, s, p, 0, &d, &err), err);
    assert_int_equal(d.published, 0);
    cs_publisher_free(p);
    cs_spool_free(s);
}

static void what_was_not_acknowledged_goes_out_again_with_the_same_bytes(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_drain d;
    size_t n;
    struct cs_spool *s = agent_spool(f);
    struct cs_publisher *p = memory();
    for (int i = 0; i < 5; i++)
        agent_add(f, s, "acme", NULL);
    cs_publisher_memory_fail_after(p, 2, true); // the third is written, and the answer is lost
    assert_false(drain(f, s, p, 0, &d, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY);
    assert_int_equal(states(s, CS_SPOOL_SENT), 2);
    cs_publisher_memory_fail_after(p, -1, false);
    ASSERT_OK(drain(f, s, p, 0, &d, &err), err);
    const struct cs_publisher_memory_record *r = cs_publisher_memory_records(p, &n);
    assert_int_equal(n, 6);
    assert_int_equal(r[2].value_len, r[3].value_len);
    assert_memory_equal(r[2].value, r[3].value, r[2].value_len);
    assert_string_equal(r[2].sig, r[3].sig);
    assert_string_equal(r[0].key, "acme");
    assert_int_equal(r[0].partition, cs_partition_of("acme", PARTITIONS));
    assert_int_equal(states(s, CS_SPOOL_SENT), 5);
    cs_publisher_free(p);
    cs_spool_free(s);
}

static void trust_goes_to_every_partition_once(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_drain d;
    size_t n;
    struct cs_spool *s = agent_spool(f);
    struct cs_publisher *p = memory();
    agent_add(f, s, "acme", NULL);
    int64_t seq = agent_add(f, s, "", NULL);
    agent_add(f, s, "acme", NULL);
    cs_publisher_memory_fail_after(p, 3, false); // acme's first, then two of four partitions
    assert_false(drain(f, s, p, 0, &d, &err));
    cs_publisher_memory_fail_after(p, -1, false);
    ASSERT_OK(drain(f, s, p, 0, &d, &err), err);
    const struct cs_publisher_memory_record *r = cs_publisher_memory_records(p, &n);
    assert_int_equal(n, 2 + PARTITIONS);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        assert_int_equal(r[1 + i].partition, i);
        assert_null(r[1 + i].key);
        assert_memory_equal(r[1 + i].value, r[1].value, r[1].value_len);
    }
    struct cs_spool_item *items;
    ASSERT_OK(cs_spool_list(s, &items, &n, &err), err);
    assert_int_equal(items[1].seq, seq);
    assert_int_equal(items[1].state, CS_SPOOL_SENT);
    assert_int_equal(items[1].partition, -1);
    free(items);
    cs_publisher_free(p);
    cs_spool_free(s);
}

static size_t damaged;
static void on_damaged(void *arg, const struct cs_err *err) {
    (void)arg;
    assert_non_null(strstr(err->msg, "quarantine"));
    damaged++;
}

static void damage_is_told_and_does_not_stop_the_rest(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_spool *s = agent_spool(f);
    struct cs_publisher *p = memory();
    char path[PATH_MAX];
    int64_t seqs[8];
    for (int i = 0; i < 3; i++)
        agent_add(f, s, "acme", NULL);
    snprintf(path, sizeof path, "%s/0000000000000002.1.events", cs_spool_path(s));
    assert_int_equal(truncate(path, 100), 0);
    damaged = 0;
    struct cs_drain d = {
        .spool = s, .crypto = f->crypto, .publisher = p, .clock = cs_clock_real(), .on_damaged = on_damaged};
    ASSERT_OK(cs_drain_run(&d, 0, cs_clock_mono_ms(cs_clock_real()) + 60000, &err), err);
    assert_int_equal(damaged, 1);
    assert_int_equal(written(p, seqs, CS_ARRAY_LEN(seqs)), 2);
    assert_int_equal(seqs[0], 1);
    assert_int_equal(seqs[1], 3);
    cs_publisher_free(p);
    cs_spool_free(s);
}

// --- many processes ----------------------------------------------------------------------------------------

// Writes to a file that all processes share: the topic.
struct file_publisher {
    struct cs_publisher base; // must be first
    int fd;
};

static bool file_partitions(struct cs_publisher *p, int64_t timeout_ms, int32_t *ret, struct cs_err *err) {
    (void)p;
    (void)timeout_ms;
    (void)err;
    *ret = 1;
    return true;
}

static bool file_publish(struct cs_publisher *p, const struct cs_publish_record *r, size_t n,
                         int64_t timeout_ms, cs_publish_acked acked, void *arg, struct cs_err *err) {
    const struct file_publisher *f = (struct file_publisher *)p;
    (void)timeout_ms;
    for (size_t i = 0; i < n; i++) {
        CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
        ASSERT_OK(cs_event_decode(r[i].value, &ev, err), *err);
        char line[32];
        int len = snprintf(line, sizeof line, "%" PRId64 "\n", ev->seq);
        assert_int_equal(write(f->fd, line, (size_t)len), len);
        acked(arg, i, 0, ev->seq);
    }
    return true;
}

#define PROCESSES 4
#define EACH      20

static void command(const struct agent_fixture *f, int fd) {
    struct file_publisher p = {{file_partitions, file_publish, NULL, NULL}, fd};
    struct cs_spool *s = agent_spool(f);
    for (int i = 0; i < EACH; i++) {
        struct cs_err err;
        struct cs_drain d;
        int64_t seq = agent_add(f, s, "acme", NULL);
        ASSERT_OK(drain(f, s, &p.base, seq, &d, &err), err);
        ASSERT_OK(cs_spool_remove(s, seq, &err), err);
    }
    cs_spool_free(s);
    _exit(0);
}

static void commands_side_by_side_publish_in_order_each_once(void **state) {
    const struct agent_fixture *f = *state;
    char path[PATH_MAX + 8];
    snprintf(path, sizeof path, "%s/topic", f->dir);
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND, 0600);
    assert_true(fd >= 0);
    pid_t pids[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0)
            command(f, fd);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    FILE *topic = fdopen(fd, "r");
    assert_non_null(topic);
    rewind(topic);
    int64_t seq, want = 1;
    for (; fscanf(topic, "%" SCNd64, &seq) == 1; want++)
        assert_int_equal(seq, want);
    assert_int_equal(want, PROCESSES * EACH + 1);
    fclose(topic);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(in_order_and_only_up_to),
        T(what_was_not_acknowledged_goes_out_again_with_the_same_bytes),
        T(trust_goes_to_every_partition_once),
        T(damage_is_told_and_does_not_stop_the_rest),
        T(commands_side_by_side_publish_in_order_each_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
