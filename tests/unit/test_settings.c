// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certsync/runtime/settings.h"

struct watch {
    char *name;
    char *path;
    int64_t interval_ms;
};
struct demo {
    char *deployment;
    char *brokers;
    char *password;
    char *spool;
    int64_t workers;
    int64_t batch_bytes;
    int64_t timeout_ms;
    int64_t level;
    bool derive;
    struct cs_list names;
    struct cs_map raw;
    struct cs_settings_items watches;
};

static const char *const levels[] = {"error", "info", "debug", NULL};
#define S struct demo
static const struct cs_setting rows[] = {
    CS_SETTING_STR("deployment", S, deployment, "", CS_SETTING_REQUIRED, "Name of the deployment."),
    CS_SETTING_STR("kafka.brokers", S, brokers, "localhost:9092", 0, "Brokers."),
    CS_SETTING_SECRET("kafka.password", S, password, 0, "Password."),
    CS_SETTING_MAP("kafka.rdkafka.*", S, raw, CS_SETTING_MAP_SECRET, "Raw properties."),
    CS_SETTING_PATH("agent.spool", S, spool, "/var/spool", 0, "Spool."),
    CS_SETTING_INT("agent.workers", S, workers, "2", 1, 64, "threads", 0, "Workers."),
    CS_SETTING_SIZE("agent.batch_bytes", S, batch_bytes, "4MiB", 1024, 1 << 30, 0, "Batch."),
    CS_SETTING_DURATION("agent.timeout", S, timeout_ms, "10s", 1, 3600000, CS_SETTING_RELOADABLE, "Timeout."),
    CS_SETTING_CHOICE("log.level", S, level, "info", levels, CS_SETTING_RELOADABLE, "Level."),
    CS_SETTING_BOOL("agent.derive", S, derive, "no", 0, "Derive."),
    CS_SETTING_LIST("agent.names", S, names, "", 0, "Names."),
};
#undef S
static const struct cs_setting watch_rows[] = {
    CS_SETTING_PATH("path", struct watch, path, "", CS_SETTING_REQUIRED, "What to watch."),
    CS_SETTING_DURATION("interval", struct watch, interval_ms, "1m", 1000, 86400000, 0, "How often."),
};
static const struct cs_settings_group groups[] = {{.name = "watch",
                                                   .offset = offsetof(struct demo, watches),
                                                   .item_size = sizeof(struct watch),
                                                   .max_items = 3,
                                                   .rows = watch_rows,
                                                   .row_count = CS_ARRAY_LEN(watch_rows),
                                                   .text = "A directory that is watched."}};

static bool check(const void *values, struct cs_err *err) {
    const struct demo *d = values;
    if (d->workers == 13)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "agent.workers: not thirteen");
    return true;
}

static const char *const ignored[] = {"CERTSYNC_CONFIG", "CERTSYNC_TEST_*", NULL};
static const struct cs_settings_table table = {.program = "demo",
                                               .env_prefix = "CERTSYNC_",
                                               .values_size = sizeof(struct demo),
                                               .rows = rows,
                                               .row_count = CS_ARRAY_LEN(rows),
                                               .groups = groups,
                                               .group_count = 1,
                                               .env_ignore = ignored,
                                               .check = check};

static char dir[] = "/tmp/test_settings.XXXXXX";
static char file[64];

static int set_up(void **state) {
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(file, sizeof file, "%s/demo.conf", dir);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unlink(file);
    return rmdir(dir);
}

static void write_text(const char *path, const char *text, size_t len) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

// Loads the text as the file; NULL where it fails, with err.
static struct demo *load(const char *text, const char *const *env, const struct cs_settings_override *o,
                         size_t n, struct cs_err *err) {
    void *values = NULL;
    struct cs_settings_source source = {.env = env, .overrides = o, .override_count = n};
    if (text) {
        write_text(file, text, strlen(text));
        source.file = file;
    }
    return cs_settings_load(&table, &source, &values, err) ? values : NULL;
}

// The same of text that may hold NULs.
static struct demo *load_bytes(const char *text, size_t len, struct cs_err *err) {
    void *values = NULL;
    struct cs_settings_source source = {.file = file};
    write_text(file, text, len);
    return cs_settings_load(&table, &source, &values, err) ? values : NULL;
}

static struct demo *must_load(const char *text) {
    struct cs_err err;
    struct demo *d = load(text, NULL, NULL, 0, &err);
    if (!d)
        fail_msg("%s", err.msg);
    return d;
}

static void test_values(void **state) {
    (void)state;
    struct demo *d =
        must_load("# a comment\n; another\ndeployment = prod\n\n[kafka]\nbrokers: a:1,b:2\n"
                  "password = \" p\\\"w ; x \"\nrdkafka.socket.timeout.ms = 5\n"
                  "[agent]\n  workers=8\r\nbatch_bytes = 64KiB\ntimeout = 2m\nderive = Yes\n"
                  "names = a, b ,c\nspool = /x;y\n[log]\nlevel = debug\n"
                  "[watch www]\npath = /etc/www\n[watch mail.2]\npath = /etc/mail\ninterval = 1h\n");
    assert_string_equal(d->deployment, "prod");
    assert_string_equal(d->brokers, "a:1,b:2");
    assert_string_equal(d->password, " p\"w ; x ");
    assert_int_equal(d->workers, 8);
    assert_int_equal(d->batch_bytes, 65536);
    assert_int_equal(d->timeout_ms, 120000);
    assert_true(d->derive);
    assert_int_equal(d->names.count, 3);
    assert_string_equal(d->names.items[1], "b");
    assert_string_equal(d->spool, "/x;y");
    assert_int_equal(d->level, 2);
    assert_int_equal(d->raw.count, 1);
    assert_string_equal(d->raw.pairs[0].name, "socket.timeout.ms");
    assert_int_equal(d->watches.count, 2);
    const struct watch *w = d->watches.items;
    assert_string_equal(w[0].name, "www");
    assert_int_equal(w[0].interval_ms, 60000);
    assert_string_equal(w[1].name, "mail.2");
    assert_int_equal(w[1].interval_ms, 3600000);
    cs_settings_free(&table, d);
}

static void test_defaults_and_order(void **state) {
    (void)state;
    struct cs_err err;
    static const char *const env[] = {"PATH=/bin",
                                      "CERTSYNC_DEPLOYMENT=from-env",
                                      "CERTSYNC_AGENT_WORKERS=5",
                                      "CERTSYNC_AGENT_TIMEOUT=5s",
                                      "CERTSYNC_KAFKA_RDKAFKA_SOCKET_TIMEOUT_MS=77",
                                      "CERTSYNC_CONFIG=/x",
                                      "CERTSYNC_TEST_ANYTHING=1",
                                      "CERTSYNC_SERVICE_HOST=10.0.0.1",
                                      "CERTSYNC_API_PORT_443_TCP_ADDR=10.0.0.1",
                                      "CERTSYNC_PORT=tcp://10.0.0.1:443",
                                      NULL};
    static const struct cs_settings_override o[] = {{"agent.timeout", "1h", "--timeout"},
                                                    {"watch www.path", "/o", NULL}};
    struct demo *d =
        load("deployment = from-file\n[agent]\nworkers = 3\ntimeout = 3s\nspool = /f\n", env, o, 2, &err);
    if (!d)
        fail_msg("%s", err.msg);
    assert_string_equal(d->deployment, "from-env");
    assert_int_equal(d->workers, 5);
    assert_int_equal(d->timeout_ms, 3600000);
    assert_string_equal(d->spool, "/f");
    assert_string_equal(d->brokers, "localhost:9092");
    assert_string_equal(d->password, "");
    assert_int_equal(d->batch_bytes, 4 << 20);
    assert_false(d->derive);
    assert_int_equal(d->level, 1);
    assert_string_equal(d->raw.pairs[0].name, "socket.timeout.ms");
    assert_string_equal(((struct watch *)d->watches.items)[0].path, "/o");
    cs_settings_free(&table, d);
}

static void test_faults(void **state) {
    (void)state;
    static char long_line[9000], long_section[80];
    memset(long_line, 'a', sizeof long_line - 1);
    snprintf(long_section, sizeof long_section, "[watch %060d]\npath = /x\n", 1);
    static const struct {
        const char *text;
        const char *env;
        const char *message;
    } cases[] = {
        {"", NULL, "deployment is not set (in the settings file /"},
        {"deployment = x\n[kafka]\nbroker = y\n", NULL,
         ":3: kafka.broker: no such setting; did you mean kafka.brokers?"},
        {"deployment = x\n[zzzzz]\nqqqqqqqqq = y\n", NULL, ":3: zzzzz.qqqqqqqqq: no such setting"},
        {"deployment = x\n[agent]\nworkers = 0\n", NULL,
         ":3: agent.workers: out of range, which is 1 to 64 threads"},
        {"deployment = x\n[agent]\nworkers = 4x\n", NULL, "agent.workers: not a whole number"},
        {"deployment = x\n[agent]\nworkers =\n", NULL, "agent.workers: not a whole number"},
        {"deployment = x\n[agent]\nworkers = 99999999999999999999\n", NULL,
         "agent.workers: not a whole number"},
        {"deployment = x\n[agent]\ntimeout = 10\n", NULL, "agent.timeout: not a duration"},
        {"deployment = x\n[agent]\ntimeout = 2h\n", NULL, "agent.timeout: out of range, which is 1ms to 1h"},
        {"deployment = x\n[agent]\ntimeout = 9223372036854775807d\n", NULL, "agent.timeout: not a duration"},
        {"deployment = x\n[agent]\nbatch_bytes = 1\n", NULL, "out of range, which is 1KiB to 1GiB"},
        {"deployment = x\n[agent]\nbatch_bytes = 5MB\n", NULL, "agent.batch_bytes: not a size"},
        {"deployment = x\n[agent]\nderive = maybe\n", NULL, "agent.derive: neither yes nor no"},
        {"deployment = x\n[agent]\nnames = a,,b\n", NULL, "agent.names: an item of the list is empty"},
        {"deployment = x\n[log]\nlevel = loud\n", NULL, "log.level: not one of error, info, debug"},
        {"deployment = x\n[agent]\nworkers = 2\nworkers = 3\n", NULL,
         ":4: agent.workers: set already on line 3"},
        {"deployment = x\n[agent]\nworkers = 13\n", NULL, "agent.workers: not thirteen"},
        {"deployment = x\nnonsense\n", NULL, ":2: neither [section] nor key = value nor a comment"},
        {"deployment = x\n[broken\n", NULL, ":2: neither"},
        {"deployment = \"x\n", NULL, ":1: deployment: the quotes do not fit"},
        {"deployment = \"a\"b\"\n", NULL, "the quotes do not fit"},
        {"deployment = x\n[watch www]\ninterval = 1h\n", NULL, "[watch www]: path is not set"},
        {"deployment = x\n[watch www]\npaht = /x\n", NULL, "paht: no such setting; did you mean path?"},
        {"deployment = x\n[watch a b]\npath = /x\n", NULL, "not a name for a section"},
        {"deployment = x\n[watch 1]\npath=/\n[watch 2]\npath=/\n[watch 3]\npath=/\n[watch 4]\npath=/\n", NULL,
         "too many sections"},
        {"deployment = x\n[kafka]\nrdkafka. = y\n", NULL, "the name after the last dot is missing"},
        {"deployment = x\n[kafka]\npassword_file = /nonexistent/x\n", NULL,
         "kafka.password_file: /nonexistent/x: cannot open"},
        {"deployment = x\x01\n", NULL, "deployment: holds a control character"},
        {"deployment = \xff\n", NULL, ":1: not UTF-8"},
        {"deployment = x\n", "CERTSYNC_KAFKA_BROKER=a",
         "environment CERTSYNC_KAFKA_BROKER: kafka.broker: no such setting; "
         "did you mean kafka.brokers?"},
        {"deployment = x\n", "CERTSYNC_AGENT_WORKERS=many",
         "environment CERTSYNC_AGENT_WORKERS: agent.workers: not a whole"},
        {long_line, NULL, ":1: the line is longer than 8 KiB"},
        {long_section, NULL, ":1: the section's name is too long"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        struct cs_err err = {0};
        const char *env[] = {cases[i].env, NULL};
        struct demo *d = load(cases[i].text, env, NULL, 0, &err);
        if (d)
            fail_msg("case %zu was taken", i);
        if (!strstr(err.msg, cases[i].message))
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, err.msg, cases[i].message);
        assert_int_equal(err.kind, CS_ERR_CONFIG);
    }
}

// Every way to write the same three settings.
static void test_forms(void **state) {
    (void)state;
    static const char *const same[] = {
        "deployment = x\n[kafka]\nbrokers = a:1\nrdkafka.p = =:[q] ; # \n",
        "\xef\xbb\xbf"
        "deployment = x\n[kafka]\nbrokers = a:1\nrdkafka.p = =:[q] ; #",
        "deployment=x\r\n[kafka]\r\nbrokers=a:1\r\nrdkafka.p==:[q] ; #\r\n",
        "\n\n  deployment\t:\tx\v\n\f[kafka]  # the brokers\n\tbrokers:a:1\n;\n#[log]\nrdkafka.p : =:[q] ; #",
        "deployment = x\n[agent]\n[nobody]\n[kafka]\nbrokers = \"a:1\"\n[agent]\n[kafka]\nrdkafka.p=\"=:[q] "
        "; #\"\n",
        "\xef\xbb\xbf\r\ndeployment = x\n[kafka];]\nrdkafka.p = =:[q] ; #\nbrokers = a:1\n\n \t",
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(same); i++) {
        struct demo *d = must_load(same[i]);
        assert_string_equal(d->deployment, "x");
        assert_string_equal(d->brokers, "a:1");
        assert_int_equal(d->raw.count, 1);
        assert_string_equal(d->raw.pairs[0].name, "p");
        assert_string_equal(d->raw.pairs[0].value, "=:[q] ; #");
        cs_settings_free(&table, d);
    }
    static char longest[8192];
    snprintf(longest, sizeof longest, "deployment = %4000d%*s", 1, 4171, "");
    cs_settings_free(&table, must_load(longest));
    static const struct {
        const char *text;
        size_t len;
        const char *message;
    } faults[] = {
#define BYTES(text) text, sizeof(text) - 1
        {BYTES("deployment = x\0y\n"), ":1: the line holds a NUL"},
        {BYTES("deployment = x\n\0"), ":2: the line holds a NUL"},
        {BYTES("\xff\xfe"
               "d\0"),
         ":1: the line holds a NUL"}, // UTF-16
        {BYTES("\n\xef\xbb\xbf"
               "deployment = x\n"),
         ":2: "}, // the mark elsewhere
        {BYTES("deployment = x\n[kafka\nbrokers = y]\n"), ":2: neither"},
        {BYTES("deployment = x\n= y\n"), ":2: "},
        {BYTES("deployment = x\n[]\nbrokers = y\n"), ":3: brokers: no such setting"},
        {BYTES("deployment = x\n[ kafka ]\nbrokers = y\n"), ":3: "},
        {BYTES("deployment = x\n[kafka]\nbrokers\n = y\n"), ":3: neither"},
        {BYTES("deployment = x\n[agent]\nworkers = 2\n[kafka]\n[agent]\nworkers = 2\n"),
         ":6: agent.workers: set already on line 3"},
        {BYTES("deployment = x\rd = y\n"), ":1: deployment: holds a control character"},
        {BYTES("deployment = x\n  [aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\n"),
         ":2: the section's name is too long"},
        {BYTES("deployment = x\n[kafka]\nrdkafka. = y\n"), ":3: "},
#undef BYTES
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(faults); i++) {
        struct cs_err err = {0};
        struct demo *d = load_bytes(faults[i].text, faults[i].len, &err);
        if (d)
            fail_msg("case %zu was taken", i);
        if (!strstr(err.msg, faults[i].message))
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, err.msg, faults[i].message);
    }
}

static void test_override_faults(void **state) {
    (void)state;
    static const struct {
        struct cs_settings_override o;
        const char *message;
    } cases[] = {
        {{"kafka.brokrs", "x", NULL}, "--set: kafka.brokrs: no such setting; did you mean kafka.brokers?"},
        {{"agent.workers", "x", "--workers"}, "--workers: agent.workers: not a whole number"},
        {{"watch www", "x", NULL}, "expected SECTION NAME.KEY"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        struct cs_err err = {0};
        assert_null(load("deployment = x\n", NULL, &cases[i].o, 1, &err));
        if (!strstr(err.msg, cases[i].message))
            fail_msg("case %zu: \"%s\"", i, err.msg);
    }
}

static void test_missing_file(void **state) {
    (void)state;
    struct cs_err err;
    void *values = NULL;
    static const char *const env[] = {"CERTSYNC_DEPLOYMENT=x", NULL};
    struct cs_settings_source source = {.file = "/nonexistent/demo.conf", .env = env};
    assert_false(cs_settings_load(&table, &source, &values, &err));
    assert_non_null(strstr(err.msg, "/nonexistent/demo.conf: cannot open"));
    assert_null(values);
    source.file_optional = true;
    assert_true(cs_settings_load(&table, &source, &values, &err));
    cs_settings_free(&table, values);
}

static void test_secret_file(void **state) {
    (void)state;
    struct cs_err err;
    char path[80], env_text[160];
    snprintf(path, sizeof path, "%s/secret", dir);
    write_text(path, "s3cret\n", 7);
    snprintf(env_text, sizeof env_text, "CERTSYNC_KAFKA_PASSWORD_FILE=%s", path);
    const char *env[] = {env_text, NULL};
    struct demo *d = load("deployment = x\n", env, NULL, 0, &err);
    assert_non_null(d);
    assert_string_equal(d->password, "s3cret");
    cs_settings_free(&table, d);
    unlink(path);
}

// The dump is a file that gives the same values again, but for what is secret, which it does not show.
static void test_dump(void **state) {
    (void)state;
    struct demo *d =
        must_load("deployment = \" x\"\n[kafka]\npassword = hunter2\nrdkafka.sasl.jaas = hunter3\n"
                  "rdkafka.linger.ms = 7\n[agent]\ntimeout = 90s\nbatch_bytes = 1025\nnames = a,b\n"
                  "derive = on\n[watch w]\npath = \"\\\"q\\\"\"\n");
    CS_AUTO(cs_buf_clear) struct cs_buf out;
    cs_buf_init(&out, 65536);
    cs_settings_dump(&table, d, &out);
    assert_false(out.failed);
    const char *text = (const char *)out.data;
    assert_null(strstr(text, "hunter"));
    assert_non_null(strstr(text, "# password = ********\n"));
    assert_non_null(strstr(text, "# rdkafka.sasl.jaas = ********\n"));
    assert_non_null(strstr(text, "rdkafka.linger.ms = 7\n"));
    assert_non_null(strstr(text, "timeout = 90s\n"));
    assert_non_null(strstr(text, "batch_bytes = 1025\n"));
    struct demo *again = must_load(text);
    assert_string_equal(again->deployment, " x");
    assert_string_equal(again->password, "");
    assert_string_equal(((struct watch *)again->watches.items)[0].path, "\"q\"");
    assert_int_equal(again->raw.count, 1);
    // Only the secrets differ.
    assert_string_equal(cs_settings_first_fixed_change(&table, d, again), "kafka.password");
    CS_AUTO(cs_buf_clear) struct cs_buf out2;
    cs_buf_init(&out2, 65536);
    cs_settings_dump(&table, again, &out2);
    struct demo *third = must_load((const char *)out2.data);
    assert_null(cs_settings_first_fixed_change(&table, again, third));
    cs_settings_free(&table, d);
    cs_settings_free(&table, again);
    cs_settings_free(&table, third);
}

static void test_changes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *key;
    } cases[] = {
        {"deployment = x\n", NULL},
        {"deployment = x\n[agent]\ntimeout = 1s\n[log]\nlevel = error\n", NULL}, // reloadable
        {"deployment = y\n", "deployment"},
        {"deployment = x\n[agent]\nworkers = 3\n", "agent.workers"},
        {"deployment = x\n[agent]\nnames = a\n", "agent.names"},
        {"deployment = x\n[agent]\nderive = yes\n", "agent.derive"},
        {"deployment = x\n[kafka]\nrdkafka.a = 1\n", "kafka.rdkafka.*"},
        {"deployment = x\n[watch w]\npath = /\n", "watch"},
    };
    struct demo *base = must_load("deployment = x\n");
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        struct demo *d = must_load(cases[i].text);
        const char *key = cs_settings_first_fixed_change(&table, base, d);
        if (cases[i].key)
            assert_string_equal(key, cases[i].key);
        else
            assert_null(key);
        cs_settings_free(&table, d);
    }
    cs_settings_free(&table, base);
}

static void test_documentation(void **state) {
    (void)state;
    CS_AUTO(cs_buf_clear) struct cs_buf md, man, example;
    cs_buf_init(&md, 65536);
    cs_buf_init(&man, 65536);
    cs_buf_init(&example, 65536);
    cs_settings_markdown(&table, &md);
    cs_settings_man(&table, &man);
    cs_settings_example(&table, &example);
    assert_non_null(
        strstr((char *)md.data,
               "| `agent.workers` | `CERTSYNC_AGENT_WORKERS` | `2` | threads, 1 to 64 |  | Workers. |"));
    assert_non_null(strstr((char *)md.data, "| `deployment` | `CERTSYNC_DEPLOYMENT` | (required) |"));
    assert_non_null(strstr((char *)md.data, "| `[watch NAME]` `path` |"));
    assert_non_null(strstr((char *)man.data, ".B agent.batch_bytes\n"));
    // The example has everything commented out: it is as good as an empty file.
    struct cs_settings_override o = {"deployment", "x", NULL};
    struct cs_err err;
    struct demo *d = load((char *)example.data, NULL, &o, 1, &err), *base = must_load("deployment = x\n");
    if (!d)
        fail_msg("%s", err.msg);
    assert_null(cs_settings_first_fixed_change(&table, base, d));
    cs_settings_free(&table, d);
    cs_settings_free(&table, base);
}

static void test_distance(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        unsigned distance;
    } cases[] = {{"", "", 0},      {"abc", "abc", 0}, {"abc", "abd", 1},         {"abc", "acb", 1},
                 {"abc", "ab", 1}, {"", "xyz", 3},    {"replace", "repalce", 1}, {"kitten", "sitting", 3}};
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        assert_int_equal(cs_text_distance(cases[i].a, cases[i].b), cases[i].distance);
        assert_int_equal(cs_text_distance(cases[i].b, cases[i].a), cases[i].distance);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),          cmocka_unit_test(test_defaults_and_order),
        cmocka_unit_test(test_faults),          cmocka_unit_test(test_forms),
        cmocka_unit_test(test_override_faults), cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_secret_file),     cmocka_unit_test(test_dump),
        cmocka_unit_test(test_changes),         cmocka_unit_test(test_documentation),
        cmocka_unit_test(test_distance),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
