// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certsync/base/err.h"
#include "certsync/runtime/log.h"

struct capture {
    char last[16384];
    int lines;
    bool whole; // every line ended with its only newline
};

static void take(const char *line, size_t len, void *arg) {
    struct capture *c = arg;
    c->lines++;
    c->whole = c->whole && len > 0 && len < sizeof c->last && memchr(line, '\n', len) == line + len - 1;
    memcpy(c->last, line, len);
    c->last[len - 1] = '\0'; // without the newline
}

static struct capture cap;

static int begin(void **state) {
    (void)state;
    memset(&cap, 0, sizeof cap);
    cap.whole = true;
    cs_log_set_sink(take, &cap);
    cs_log_set_level(CS_LOG_INFO);
    return 0;
}

static int end(void **state) {
    (void)state;
    cs_log_set_sink(NULL, NULL);
    return 0;
}

// The line without its time, whose form is checked.
static const char *body(void) {
    assert_int_equal(cap.last[4], '-');
    assert_int_equal(cap.last[10], 'T');
    assert_int_equal(cap.last[19], '.');
    assert_int_equal(cap.last[23], 'Z');
    assert_int_equal(cap.last[24], ' ');
    assert_true(cap.whole);
    return cap.last + 25;
}

static void test_fields(void **state) {
    (void)state;
    const char *volatile none = NULL; // the compiler would complain of a plain one
    cs_log(CS_LOG_INFO, "all kinds",
           "s=%s n=%s d=%d u=%u ld=%ld q=%" PRId64 " z=%zu x=%08x f=%.2f c=%c p=%d%% b=%.*s e=%s", "text",
           none, -5, 7u, -8L, INT64_MIN, (size_t)9, 0xbeefu, 1.5, 'k', 50, 3, "abcdef", "");
    assert_string_equal(
        body(), "info all kinds s=text n=- d=-5 u=7 ld=-8 q=-9223372036854775808 z=9 x=0000beef f=1.50 "
                "c=k p=50% b=abc e=\"\"");
    cs_log(CS_LOG_WARN, "composed", "at=%s:%d path=/a/%s", "host", 80, "b c");
    assert_string_equal(body(), "warn composed at=host:80 path=\"/a/b c\"");
    cs_log_msg(CS_LOG_ERROR, "alone");
    assert_string_equal(body(), "error alone");
}

static void test_escaping(void **state) {
    (void)state;
    static const struct {
        const char *value;
        const char *text;
    } rows[] = {
        {"plain-1.x/y:z@", "v=plain-1.x/y:z@"},
        {"a b", "v=\"a b\""},
        {"a=b", "v=\"a=b\""},
        {"line\nbreak info forged", "v=\"line\\x0Abreak info forged\""},
        {"q\"u", "v=\"q\\x22u\""},
        {"\x1b[31m", "v=\"\\x1B[31m\""},
        {"bad\xff utf", "v=\"bad\\xFF utf\""},
        {"gr\xc3\xbc\xc3\x9f", "v=\"gr\xc3\xbc\xc3\x9f\""},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        char expected[200];
        snprintf(expected, sizeof expected, "info m %s", rows[i].text);
        cs_log(CS_LOG_INFO, "m", "v=%s", rows[i].value);
        assert_string_equal(body(), expected);
    }
    cs_log_msg(CS_LOG_INFO, "a message\nwith a break");
    assert_string_equal(body(), "info a message\\x0Awith a break");
}

static void test_long_values_are_cut(void **state) {
    (void)state;
    static char big[100000];
    memset(big, 'a', sizeof big - 1);
    cs_log(CS_LOG_INFO, "big", "a=%s b=%s c=%s d=%s e=%s", big, big, big, big, big);
    assert_true(strlen(cap.last) > 4096 && strlen(cap.last) <= 8192);
    assert_true(cap.whole);
    memset(big, ' ', sizeof big - 1);
    cs_log(CS_LOG_INFO, "big", "a=%s", big);
    assert_true(cap.whole);
}

static void test_levels(void **state) {
    (void)state;
    enum cs_log_level level = CS_LOG_ERROR;
    cs_log_msg(CS_LOG_DEBUG, "hidden");
    assert_int_equal(cap.lines, 0);
    cs_log_set_level(CS_LOG_DEBUG);
    cs_log_msg(CS_LOG_DEBUG, "shown");
    assert_int_equal(cap.lines, 1);
    cs_log_set_level(CS_LOG_ERROR);
    cs_log_msg(CS_LOG_WARN, "hidden");
    assert_int_equal(cap.lines, 1);
    assert_true(cs_log_level_parse("debug", &level));
    assert_int_equal(level, CS_LOG_DEBUG);
    assert_false(cs_log_level_parse("loud", &level));
    assert_false(cs_log_level_parse("", &level));
}

static void test_errors(void **state) {
    (void)state;
    struct cs_err err;
    cs_err_set(&err, CS_ERR_RETRY, CS_CODE_NONE, "broker \"%s\" away", "b:1");
    cs_log_err(CS_LOG_WARN, "paused", &err, "partition=%d", 3);
    char expected[300];
    snprintf(expected, sizeof expected, "warn paused partition=3 kind=%s error=\"broker \\x22b:1\\x22 away\"",
             cs_err_kind_name(CS_ERR_RETRY));
    assert_string_equal(body(), expected);
    cs_err_set(&err, CS_ERR_REJECT, 7, "The certificate has expired.");
    cs_log_err(CS_LOG_INFO, "refused", &err, "n=%d", 1);
    assert_non_null(strstr(body(), "kind=reject error=\"The certificate has expired.\""));
}

static void test_repeats(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++)
        cs_log(CS_LOG_WARN, "the same", "n=%d", 1);
    assert_int_equal(cap.lines, CS_LOG_BURST);
    for (int i = 0; i < 20; i++)
        cs_log(CS_LOG_WARN, "another each time", "n=%d", i);
    assert_int_equal(cap.lines, CS_LOG_BURST + 20);
}

static void test_foreign(void **state) {
    (void)state;
    int expected[] = {0, 0, 0, 0, 1, 2, 2, 3};
    cs_log_set_level(CS_LOG_DEBUG);
    for (int i = 0; i < 8; i++) {
        char text[80];
        snprintf(text, sizeof text, "%s librdkafka facility=FAIL text=\"no %d\"",
                 cs_log_level_names[expected[i]], i);
        char said[8];
        snprintf(said, sizeof said, "no %d", i);
        cs_log_foreign(i, "librdkafka", "FAIL", said);
        assert_string_equal(body(), text);
    }
    cs_log_hook_libevent();
    // A second base on which an event was never set up makes libevent warn.
    struct event_base *base = event_base_new();
    struct event *ev = event_new(base, -1, EV_SIGNAL | EV_READ, NULL, NULL);
    assert_null(ev);
    assert_non_null(strstr(body(), "libevent facility=event"));
    event_base_free(base);
}

static void test_errno_is_kept(void **state) {
    (void)state;
    errno = EXDEV;
    cs_log(CS_LOG_INFO, "m", "a=%d", 1);
    assert_int_equal(errno, EXDEV);
}

static void *many(void *arg) {
    for (int i = 0; i < 500; i++)
        cs_log(CS_LOG_INFO, "thread", "who=%s i=%d", (const char *)arg, i);
    return NULL;
}

// Real standard error, a pipe: whole lines only, from several threads.
static void test_threads(void **state) {
    (void)state;
    cs_log_set_sink(NULL, NULL);
    int fds[2], old = dup(STDERR_FILENO);
    FILE *file = tmpfile(); // a pipe would fill up
    assert_non_null(file);
    fds[0] = fileno(file);
    assert_true(dup2(fds[0], STDERR_FILENO) >= 0);
    pthread_t threads[4];
    static const char *const names[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, many, (void *)names[i]), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    dup2(old, STDERR_FILENO);
    close(old);
    rewind(file);
    char line[256];
    int count = 0;
    while (fgets(line, sizeof line, file)) {
        char who[8];
        int i = -1;
        assert_int_equal(sscanf(line + 25, "info thread who=%7s i=%d", who, &i), 2);
        assert_int_equal(line[strlen(line) - 1], '\n');
        count++;
    }
    assert_int_equal(count, 2000);
    fclose(file);
}

static void test_journal(void **state) {
    (void)state;
    cs_log_set_sink(NULL, NULL);
    int old = dup(STDERR_FILENO);
    FILE *file = tmpfile();
    struct stat st;
    char stream[64], line[256] = "";
    assert_int_equal(fstat(fileno(file), &st), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
    cs_log(CS_LOG_WARN, "to the journal", "a=%d", 1);
    setenv("JOURNAL_STREAM", "1:1", 1); // somebody else's
    cs_log(CS_LOG_WARN, "to a file", "a=%d", 1);
    unsetenv("JOURNAL_STREAM");
    dup2(old, STDERR_FILENO);
    close(old);
    rewind(file);
    assert_non_null(fgets(line, sizeof line, file));
    assert_string_equal(line, "<4>warn to the journal a=1\n");
    assert_non_null(fgets(line, sizeof line, file));
    assert_string_equal(line + 25, "warn to a file a=1\n");
    fclose(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fields, begin, end),
        cmocka_unit_test_setup_teardown(test_escaping, begin, end),
        cmocka_unit_test_setup_teardown(test_long_values_are_cut, begin, end),
        cmocka_unit_test_setup_teardown(test_levels, begin, end),
        cmocka_unit_test_setup_teardown(test_errors, begin, end),
        cmocka_unit_test_setup_teardown(test_repeats, begin, end),
        cmocka_unit_test_setup_teardown(test_foreign, begin, end),
        cmocka_unit_test_setup_teardown(test_errno_is_kept, begin, end),
        cmocka_unit_test_setup_teardown(test_threads, begin, end),
        cmocka_unit_test_setup_teardown(test_journal, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
