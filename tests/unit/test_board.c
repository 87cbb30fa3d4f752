// SPDX-License-Identifier: Apache-2.0
//
// The board and its metrics: what is seen of a partition that runs, waits, stops and goes away.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/board_metrics.h"

struct fixture {
    struct cs_clock_fake clock;
    struct cs_metrics *registry;
    struct cs_board *board;
    struct cs_board_metrics *metrics;
    struct cs_buf text;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    struct cs_err err;
    cs_clock_fake_init(&f->clock, 1700000000000);
    f->registry = cs_metrics_new();
    assert_non_null(f->registry);
    assert_true(cs_board_new(3, &f->board, &err));
    assert_true(cs_board_metrics_new(f->registry, f->board, &f->clock.clock, &f->metrics, &err));
    cs_buf_init(&f->text, 1 << 20);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    cs_buf_clear(&f->text);
    cs_metrics_free(f->registry);
    cs_board_metrics_free(f->metrics);
    cs_board_free(f->board);
    free(f);
    return 0;
}

static bool shows(struct fixture *f, const char *line) {
    cs_buf_reset(&f->text);
    cs_metrics_render(f->registry, &f->text);
    cs_buf_putc(&f->text, '\0');
    assert_false(f->text.failed);
    return strstr((const char *)f->text.data, line) != NULL;
}

static void test_running(void **state) {
    struct fixture *f = *state;
    int64_t now = cs_clock_mono_ms(&f->clock.clock);
    cs_board_state(f->board, 1, CS_BOARD_RUNNING, NULL);
    cs_board_progress(f->board, 1, 40, 42, 40, now);
    cs_board_oldest(f->board, 1, 1700000000000 - 1500);
    cs_board_share(f->board, 1, 1700000000000 - 60000);
    cs_board_agents(f->board, 1,
                    &(struct cs_board_agents){
                        .known = true, .alive = 9000, .quiet = 2, .oldest_ms = 1700000000000 - 3600000});
    cs_clock_fake_advance(&f->clock, 500);
    assert_true(shows(f, "certsync_partition_state{partition=\"1\",state=\"running\"} 1\n"));
    assert_true(shows(f, "certsync_partition_next_offset{partition=\"1\"} 40\n"));
    assert_true(shows(f, "certsync_partition_lag_records{partition=\"1\"} 2\n"));
    assert_true(shows(f, "certsync_partition_oldest_event_seconds{partition=\"1\"} 2\n"));
    assert_true(shows(f, "certsync_partition_last_progress_seconds{partition=\"1\"} 0.5\n"));
    assert_true(shows(f, "certsync_partition_oldest_pending_share_seconds{partition=\"1\"} 60.5\n"));
    assert_true(shows(f, "certsync_partition_agents{partition=\"1\",state=\"alive\"} 9000\n"));
    assert_true(shows(f, "certsync_partition_agents{partition=\"1\",state=\"quiet\"} 2\n"));
    assert_true(shows(f, "certsync_partition_oldest_heartbeat_seconds{partition=\"1\"} 3600.5\n"));
    assert_true(shows(f, "certsync_partitions{state=\"running\"} 1\n"));
    assert_false(shows(f, "certsync_partition_stopped{"));
    // All is applied.
    cs_board_progress(f->board, 1, 42, 42, 42, now);
    cs_board_oldest(f->board, 1, 0);
    cs_board_share(f->board, 1, 0);
    cs_board_agents(f->board, 1, &(struct cs_board_agents){.known = true});
    assert_true(shows(f, "certsync_partition_lag_records{partition=\"1\"} 0\n"));
    assert_true(shows(f, "certsync_partition_oldest_event_seconds{partition=\"1\"} 0\n"));
    assert_true(shows(f, "certsync_partition_oldest_pending_share_seconds{partition=\"1\"} 0\n"));
    assert_true(shows(f, "certsync_partition_agents{partition=\"1\",state=\"quiet\"} 0\n"));
    assert_true(shows(f, "certsync_partition_oldest_heartbeat_seconds{partition=\"1\"} 0\n"));
}

static void test_stopped(void **state) {
    struct fixture *f = *state;
    char why[256];
    cs_board_state(f->board, 0, CS_BOARD_RUNNING, NULL);
    cs_board_progress(f->board, 0, 7, 7, 7, cs_clock_mono_ms(&f->clock.clock));
    assert_true(shows(f, "certsync_partition_state{partition=\"0\",state=\"running\"} 1\n"));
    assert_true(cs_board_ready(f->board, why, sizeof why));
    cs_board_state(f->board, 0, CS_BOARD_STOPPED, "a fork at outcome 8: \"x\"");
    cs_board_end(f->board, 0, 1007);
    assert_false(cs_board_ready(f->board, why, sizeof why));
    assert_string_equal(why, "partition 0 is stopped: a fork at outcome 8: \"x\"");
    assert_true(shows(f, "certsync_partition_state{partition=\"0\",state=\"stopped\"} 1\n"));
    assert_false(shows(f, "certsync_partition_state{partition=\"0\",state=\"running\"}"));
    assert_true(shows(
        f, "certsync_partition_stopped{partition=\"0\",reason=\"a fork at outcome 8: \\\"x\\\"\"} 1\n"));
    assert_true(shows(f, "certsync_partition_lag_records{partition=\"0\"} 1000\n"));
    // Mended: the reason is shown no more.
    cs_board_state(f->board, 0, CS_BOARD_RUNNING, NULL);
    assert_false(shows(f, "certsync_partition_stopped{"));
    assert_false(shows(f, "state=\"stopped\"} 1\n"));
}

// One that is replayed answers nobody yet.
static void test_replaying(void **state) {
    struct fixture *f = *state;
    char why[256];
    cs_board_state(f->board, 1, CS_BOARD_REPLAYING, "its verdicts are compared, up to outcome 9");
    cs_board_foreign(f->board, 1, 3);
    assert_false(cs_board_ready(f->board, why, sizeof why));
    assert_string_equal(why, "partition 1 is replaying: its verdicts are compared, up to outcome 9");
    assert_true(shows(f, "certsync_partition_foreign_outcomes{partition=\"1\"} 3\n"));
    assert_false(shows(f, "certsync_partition_foreign_outcomes{partition=\"0\"}"));
    cs_board_damaged(f->board, 1, 4, "a key");
    cs_board_damaged(f->board, 0, 4, "a key"); // another process has it
    assert_int_equal(cs_board_damage(f->board, 1), 4);
    assert_int_equal(cs_board_damage(f->board, 0), 0);
    assert_true(shows(f, "certsync_partition_damaged{partition=\"1\"} 1\n"));
    cs_board_damaged(f->board, 1, 0, NULL);
    assert_true(shows(f, "certsync_partition_damaged{partition=\"1\"} 0\n"));
    cs_board_state(f->board, 1, CS_BOARD_RUNNING, NULL);
    assert_true(cs_board_ready(f->board, why, sizeof why));
}

// What waits for Redis heals by itself: its reason is on /readyz only, since it changes with each attempt.
static void test_waiting(void **state) {
    struct fixture *f = *state;
    cs_board_state(f->board, 2, CS_BOARD_WAITING, "Redis is away");
    assert_true(shows(f, "certsync_partition_state{partition=\"2\",state=\"waiting\"} 1\n"));
    assert_false(shows(f, "certsync_partition_stopped{"));
    assert_false(shows(f, "certsync_partition_lag_records{partition=\"2\"}")); // not known yet
    assert_false(shows(f, "certsync_partition_agents{partition=\"2\""));
    assert_false(shows(f, "certsync_partition_oldest_heartbeat_seconds{partition=\"2\""));
}

static void test_gone(void **state) {
    struct fixture *f = *state;
    cs_board_state(f->board, 1, CS_BOARD_RUNNING, NULL);
    cs_board_progress(f->board, 1, 40, 42, 40, cs_clock_mono_ms(&f->clock.clock));
    struct cs_board_agents agents = {.known = true, .alive = 1, .oldest_ms = 1700000000000 - 60000};
    cs_board_share(f->board, 1, 1700000000000 - 60000);
    cs_board_agents(f->board, 1, &agents);
    assert_true(shows(f, "certsync_partition_lag_records{partition=\"1\"} 2\n"));
    assert_true(shows(f, "certsync_partition_agents{partition=\"1\",state=\"alive\"} 1\n"));
    cs_board_state(f->board, 1, CS_BOARD_ELSEWHERE, NULL);
    cs_board_share(f->board, 1, 1700000000000 - 60000); // an answer that comes late
    cs_board_agents(f->board, 1, &agents);
    assert_true(shows(f, "certsync_partition_state{partition=\"1\",state=\"elsewhere\"} 1\n"));
    assert_false(shows(f, "certsync_partition_lag_records{partition=\"1\"}"));
    assert_false(shows(f, "certsync_partition_oldest_event_seconds{partition=\"1\"}"));
    assert_false(shows(f, "certsync_partition_oldest_pending_share_seconds{partition=\"1\"}"));
    assert_false(shows(f, "certsync_partition_agents{partition=\"1\""));
    assert_false(shows(f, "certsync_partition_oldest_heartbeat_seconds{partition=\"1\""));
}

static enum cs_board_state state_of(const struct fixture *f, int32_t partition) {
    struct cs_board_entry e;
    cs_board_get(f->board, partition, &e);
    return e.state;
}

// A worker that lost its partitions does not say that somebody else has them, before it has heard so.
static void test_changing_hands(void **state) {
    struct fixture *f = *state;
    char why[256];
    cs_board_expect_workers(f->board, 2);
    cs_board_worker_joined(f->board, true);
    cs_board_worker_joined(f->board, true);
    cs_board_take(f->board, 0, 0);
    cs_board_take(f->board, 1, 0);
    cs_board_take(f->board, 2, 1);
    assert_false(cs_board_ready(f->board, why, sizeof why));
    for (int32_t p = 0; p < 3; p++) {
        cs_board_state(f->board, p, CS_BOARD_RUNNING, NULL);
        cs_board_progress(f->board, p, 40, 42, 40, 1);
    }
    assert_true(cs_board_ready(f->board, why, sizeof why));
    // The session of worker 0 is lost.
    cs_board_let_go(f->board, 0, 0, "the brokers were not heard of");
    cs_board_let_go(f->board, 1, 0, "the brokers were not heard of");
    cs_board_worker_joined(f->board, false);
    assert_int_equal(state_of(f, 0), CS_BOARD_WAITING);
    assert_false(cs_board_ready(f->board, why, sizeof why));
    assert_string_equal(why,
                        "partition 0 is waiting: the brokers were not heard of (and others are not running)");
    assert_true(shows(f, "certsync_partition_lag_records{partition=\"0\"} 2\n"));
    // Worker 1 got one of them; the other one is somebody else's, once worker 0 has heard.
    cs_board_take(f->board, 1, 1);
    assert_int_equal(state_of(f, 0), CS_BOARD_WAITING);
    cs_board_state(f->board, 1, CS_BOARD_RUNNING, NULL);
    cs_board_let_go(f->board, 1, 0, "too late");
    cs_board_settle(f->board, 0);
    assert_int_equal(state_of(f, 0), CS_BOARD_ELSEWHERE);
    assert_int_equal(state_of(f, 1), CS_BOARD_RUNNING);
    assert_int_equal(state_of(f, 2), CS_BOARD_RUNNING);
    assert_false(shows(f, "certsync_partition_lag_records{partition=\"0\"}"));
    assert_false(cs_board_ready(f->board, why, sizeof why));
    assert_string_equal(why, "1 of 2 workers have joined the consumer group");
    cs_board_worker_joined(f->board, true);
    assert_true(cs_board_ready(f->board, why, sizeof why));
}

// What is wrong around all partitions is told before what follows from it, but for a partition that needs a person; and what would rest on
// it is not published.
static void test_trouble(void **state) {
    struct fixture *f = *state;
    char why[256];
    struct cs_err err;
    static const bool forbids[CS_BOARD_TROUBLES] = {[CS_TROUBLE_TOPICS] = true, [CS_TROUBLE_REDIS] = true};
    for (int t = 0; t < CS_TROUBLE_HEARTBEATS; t++) {
        char line[128];
        snprintf(line, sizeof line, "certsync_trouble{what=\"%s\",reason=\"it is so\"} 1\n",
                 cs_board_trouble_name((enum cs_board_trouble)t));
        cs_board_trouble(f->board, (enum cs_board_trouble)t, "it is so");
        assert_false(cs_board_ready(f->board, why, sizeof why));
        assert_string_equal(why, "it is so");
        assert_true(shows(f, line));
        assert_int_equal(cs_board_may_publish(f->board, &err), !forbids[t]);
        cs_board_state(f->board, 0, CS_BOARD_WAITING, "for that");
        assert_false(cs_board_ready(f->board, why, sizeof why));
        assert_string_equal(why, "it is so");
        cs_board_state(f->board, 0, CS_BOARD_STOPPED, "a fork");
        assert_false(cs_board_ready(f->board, why, sizeof why));
        assert_string_equal(why, "partition 0 is stopped: a fork");
        cs_board_state(f->board, 0, CS_BOARD_RUNNING, NULL);
        cs_board_trouble(f->board, (enum cs_board_trouble)t, NULL);
        assert_true(cs_board_ready(f->board, why, sizeof why));
        assert_true(cs_board_may_publish(f->board, &err));
        assert_false(shows(f, "certsync_trouble{"));
    }
}

// A worker that is in its group again says nothing of the others.
// Nobody hears whether hosts are alive: it is told, and nothing waits for it.
static void test_trouble_of_heartbeats(void **state) {
    struct fixture *f = *state;
    char why[256];
    struct cs_err err;
    cs_board_trouble(f->board, CS_TROUBLE_HEARTBEATS, "there is no topic");
    assert_true(shows(f, "certsync_trouble{what=\"heartbeats\",reason=\"there is no topic\"} 1\n"));
    assert_true(cs_board_ready(f->board, why, sizeof why));
    assert_true(cs_board_may_publish(f->board, &err));
    cs_board_trouble(f->board, CS_TROUBLE_KAFKA, "the brokers are away");
    assert_false(cs_board_ready(f->board, why, sizeof why));
    assert_string_equal(why, "the brokers are away");
}

static void test_trouble_of_workers(void **state) {
    struct fixture *f = *state;
    char why[256];
    cs_board_worker_trouble(f->board, 2, "worker 2 may not read");
    cs_board_worker_trouble(f->board, 0, "worker 0 may not read");
    cs_board_worker_trouble(f->board, 0, "worker 0 may still not read"); // again: it counts once
    assert_false(cs_board_ready(f->board, why, sizeof why));
    assert_string_equal(why, "worker 0 may still not read");
    cs_board_worker_trouble(f->board, 0, NULL);
    cs_board_worker_trouble(f->board, 1, NULL); // it had none
    assert_false(cs_board_ready(f->board, why, sizeof why));
    assert_string_equal(why, "worker 2 may not read");
    assert_true(shows(f, "certsync_trouble{what=\"group\",reason=\"worker 2 may not read\"} 1\n"));
    cs_board_worker_trouble(f->board, 2, NULL);
    assert_true(cs_board_ready(f->board, why, sizeof why));
    assert_false(shows(f, "certsync_trouble{"));
}

// Offsets at the end that hold no record are no lag; an end that somebody else saw is.
static void test_end_without_records(void **state) {
    struct fixture *f = *state;
    cs_board_take(f->board, 0, 0);
    cs_board_progress(f->board, 0, 40, 42, 40, 1);
    assert_true(shows(f, "certsync_partition_lag_records{partition=\"0\"} 2\n"));
    cs_board_reached(f->board, 0, 42, 2);
    assert_true(shows(f, "certsync_partition_lag_records{partition=\"0\"} 0\n"));
    cs_board_end_seen(f->board, 0, 41); // an old answer
    assert_true(shows(f, "certsync_partition_lag_records{partition=\"0\"} 0\n"));
    cs_board_end_seen(f->board, 0, 45);
    assert_true(shows(f, "certsync_partition_lag_records{partition=\"0\"} 3\n"));
    cs_board_end_seen(f->board, 1, 45); // of another process
    assert_false(shows(f, "certsync_partition_lag_records{partition=\"1\"}"));
}

// What was counted is told as long as it is true, and no longer.
static void count(struct fixture *f, int worker, int64_t valid) {
    struct cs_board_certificates c = {
        .known = true, .worker = worker, .valid = valid, .within = {1, 2, 3, 4}};
    cs_board_certificates(f->board, 0, &c);
}

#define COUNTED "certsync_certificates{partition=\"0\",state=\"valid\"}"
static void test_certificates(void **state) {
    struct fixture *f = *state;
    cs_board_take(f->board, 0, 1);
    count(f, 1, 5); // it does not run yet
    assert_false(shows(f, COUNTED));
    cs_board_state(f->board, 0, CS_BOARD_RUNNING, NULL);
    count(f, 0, 6); // counted while another worker had it
    assert_false(shows(f, COUNTED));
    count(f, 1, 7);
    assert_true(shows(f, COUNTED " 7\n"));
    assert_true(shows(f, "certsync_certificates_expiring{partition=\"0\",within=\"14d\"} 3\n"));
    static const enum cs_board_state ends[] = {CS_BOARD_STARTING, CS_BOARD_REPLAYING, CS_BOARD_WAITING,
                                               CS_BOARD_STOPPED};
    for (size_t i = 0; i < CS_ARRAY_LEN(ends); i++) {
        cs_board_state(f->board, 0, ends[i], "why");
        assert_false(shows(f, COUNTED));
        assert_false(shows(f, "certsync_certificates_expiring{"));
        cs_board_state(f->board, 0, CS_BOARD_RUNNING, NULL);
        assert_false(shows(f, COUNTED)); // until it is counted again
        count(f, 1, 8);
        assert_true(shows(f, COUNTED " 8\n"));
    }
    cs_board_damaged(f->board, 0, 3, "something else wrote to it");
    assert_false(shows(f, COUNTED));
    count(f, 1, 9); // of what is damaged
    assert_false(shows(f, COUNTED));
    cs_board_damaged(f->board, 0, 0, NULL);
    count(f, 1, 9);
    assert_true(shows(f, COUNTED " 9\n"));
    cs_board_certificates(f->board, 0, &(struct cs_board_certificates){.known = false});
    assert_false(shows(f, COUNTED));
    count(f, 1, 9);
    cs_board_let_go(f->board, 0, 1, "it was revoked");
    assert_false(shows(f, COUNTED));
    cs_board_settle(f->board, 1);
    count(f, 1, 9); // too late: another process counts it
    assert_false(shows(f, COUNTED));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_certificates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_running, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replaying, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changing_hands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trouble, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trouble_of_heartbeats, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trouble_of_workers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_without_records, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
