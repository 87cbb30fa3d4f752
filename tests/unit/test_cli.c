// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/cli.h"
#include "certsync/runtime/table.h"

struct globals {
    const char *config;
    bool json;
    int64_t timeout_s;
};
struct upload {
    const char *name;
    const char *cert;
    bool replace;
    bool force;
    int64_t algorithm;
    int64_t count;
    int64_t wait_ms;
    struct cs_cli_list tags;
};
struct rm {
    const char *first;
    struct cs_cli_list more;
};

static int run_nothing(const struct cs_cli *cli) {
    (void)cli;
    return 0;
}

static const char *const algorithms[] = {"international", "sm2", NULL};
static const struct cs_opt global_opts[] = {
    {.name = "config",
     .letter = 'c',
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct globals, config),
     .value_name = "FILE",
     .text = "Settings file."},
    {.name = "json", .kind = CS_OPT_FLAG, CS_OPT_AT_FLAG(struct globals, json), .text = "JSON output."},
    {.name = "timeout",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct globals, timeout_s),
     .value_name = "SECONDS",
     .default_text = "30",
     .min = 1,
     .max = 3600,
     .text = "How long to wait."},
    {.name = "set", .kind = CS_OPT_SET, .value_name = "KEY=VALUE", .text = "Set a setting."},
    {.name = "brokers",
     .kind = CS_OPT_SETTING,
     .setting = "kafka.brokers",
     .value_name = "LIST",
     .text = "Brokers."},
};
static const struct cs_opt upload_opts[] = {
    {.name = "cert",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct upload, cert),
     .value_name = "FILE",
     .flags = CS_OPT_REQUIRED,
     .text = "Certificate."},
    {.name = "replace",
     .letter = 'r',
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct upload, replace),
     .text = "Replace."},
    {.name = "force",
     .letter = 'f',
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct upload, force),
     .text = "Force."},
    {.name = "algorithm",
     .letter = 'a',
     .kind = CS_OPT_CHOICE,
     CS_OPT_AT_INT(struct upload, algorithm),
     .value_name = "NAME",
     .choices = algorithms,
     .default_text = "international",
     .text = "Algorithm."},
    {.name = "count",
     .letter = 'n',
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct upload, count),
     .value_name = "N",
     .text = "Count."},
    {.name = "wait",
     .kind = CS_OPT_DURATION,
     CS_OPT_AT_INT(struct upload, wait_ms),
     .value_name = "TIME",
     .default_text = "5s",
     .text = "Wait."},
    {.name = "tag",
     .kind = CS_OPT_LIST,
     CS_OPT_AT_LIST(struct upload, tags),
     .value_name = "T",
     .text = "A tag."},
};
static const struct cs_arg upload_args[] = {
    {.name = "NAME", .offset = offsetof(struct upload, name), .text = "The name."}};
static const struct cs_arg rm_args[] = {
    {.name = "FIRST", .offset = offsetof(struct rm, first), .text = "The first."},
    {.name = "MORE",
     .offset = offsetof(struct rm, more),
     .optional = true,
     .repeated = true,
     .path = true,
     .text = "More."}};
static const struct cs_command trust_commands[] = {
    {.name = "add",
     .summary = "Add a key.",
     .args = rm_args,
     .arg_count = 2,
     .values_size = sizeof(struct rm),
     .run = run_nothing},
    {.name = "remove", .summary = "Remove a key.", .values_size = 1, .run = run_nothing},
};
static const struct cs_command commands[] = {
    {.name = "upload",
     .summary = "Upload a certificate.",
     .description = "It says so.",
     .examples = "  demo upload x",
     .opts = upload_opts,
     .opt_count = CS_ARRAY_LEN(upload_opts),
     .args = upload_args,
     .arg_count = 1,
     .values_size = sizeof(struct upload),
     .run = run_nothing},
    {.name = "trust", .summary = "Manage trust.", .commands = trust_commands, .command_count = 2},
    {.name = "secret", .summary = "Hidden.", .hidden = true, .run = run_nothing},
};
static const struct cs_command root = {.name = "demo",
                                       .summary = "A demo.",
                                       .opts = global_opts,
                                       .opt_count = CS_ARRAY_LEN(global_opts),
                                       .values_size = sizeof(struct globals),
                                       .commands = commands,
                                       .command_count = CS_ARRAY_LEN(commands)};

#define ARGS_MAX 64
struct outcome {
    enum cs_cli_result result;
    struct cs_cli *cli;
    char *out, *err;
    size_t out_len, err_len;
};

// Splits the line at blanks. The words live as long as the line's copy, which leaks into the outcome on
// purpose: argv must outlive the cli.
static char line_copy[512];
static char *words[ARGS_MAX];

static struct outcome parse(const char *line) {
    struct outcome o = {0};
    FILE *out = open_memstream(&o.out, &o.out_len), *err = open_memstream(&o.err, &o.err_len);
    int argc = 0;
    snprintf(line_copy, sizeof line_copy, "demo %s", line);
    for (char *p = strtok(line_copy, " "); p && argc < ARGS_MAX - 1; p = strtok(NULL, " "))
        words[argc++] = p;
    words[argc] = NULL;
    o.result = cs_cli_parse(&root, "1.2", argc, words, out, err, &o.cli);
    fclose(out);
    fclose(err);
    return o;
}

static void outcome_free(struct outcome *o) {
    cs_cli_free(o->cli);
    free(o->out);
    free(o->err);
}

static struct outcome must_parse(const char *line) {
    struct outcome o = parse(line);
    if (o.result != CS_CLI_RUN)
        fail_msg("%s: %s", line, o.err);
    return o;
}

static void test_values(void **state) {
    (void)state;
    struct outcome o =
        must_parse("-c /etc/x upload --json www --cert=a.pem -rf --tag one --count 7 --tag=two --wait 2m "
                   "-a sm2 --timeout 5 --set a.b=c=d --brokers k:1");
    const struct globals *g = o.cli->globals;
    const struct upload *u = o.cli->values;
    assert_string_equal(o.cli->path, "demo upload");
    assert_string_equal(g->config, "/etc/x");
    assert_true(g->json);
    assert_int_equal(g->timeout_s, 5);
    assert_string_equal(u->name, "www");
    assert_string_equal(u->cert, "a.pem");
    assert_true(u->replace && u->force);
    assert_int_equal(u->algorithm, 1);
    assert_int_equal(u->count, 7);
    assert_int_equal(u->wait_ms, 120000);
    assert_int_equal(u->tags.count, 2);
    assert_string_equal(u->tags.items[1], "two");
    assert_int_equal(o.cli->override_count, 2);
    assert_string_equal(o.cli->overrides[0].key, "a.b");
    assert_string_equal(o.cli->overrides[0].value, "c=d");
    assert_string_equal(o.cli->overrides[1].key, "kafka.brokers");
    assert_string_equal(o.cli->overrides[1].value, "k:1");
    assert_string_equal(o.cli->overrides[1].origin, "--brokers");
    outcome_free(&o);

    o = must_parse("upload --cert - -n3 -- --odd-name");
    u = o.cli->values;
    g = o.cli->globals;
    assert_string_equal(u->name, "--odd-name");
    assert_string_equal(u->cert, "-");
    assert_int_equal(u->count, 3);
    assert_int_equal(u->algorithm, 0);
    assert_int_equal(u->wait_ms, 5000);
    assert_false(u->replace);
    assert_int_equal(g->timeout_s, 30);
    assert_null(g->config);
    outcome_free(&o);

    o = must_parse("trust add a b c");
    const struct rm *r = o.cli->values;
    assert_string_equal(o.cli->path, "demo trust add");
    assert_string_equal(r->first, "a");
    assert_int_equal(r->more.count, 2);
    assert_string_equal(r->more.items[1], "c");
    outcome_free(&o);

    o = must_parse("trust add a");
    assert_int_equal(((const struct rm *)o.cli->values)->more.count, 0);
    outcome_free(&o);
}

static void test_usage_errors(void **state) {
    (void)state;
    static const struct {
        const char *line;
        const char *message;
    } cases[] = {
        {"", "demo: a command is missing\nSee: demo --help\n"},
        {"uplaod x", "demo: unknown command uplaod; did you mean upload?\n"},
        {"zzz", "demo: unknown command zzz\n"},
        {"trust", "demo trust: a command is missing\nSee: demo trust --help\n"},
        {"trust ad x", "demo trust: unknown command ad; did you mean add?"},
        {"upload x", "demo upload: --cert is missing: Certificate.\n"},
        {"upload --cert a", "demo upload: NAME is missing: The name.\n"},
        {"upload x y --cert a", "too many arguments: y\n"},
        {"upload x --repalce", "unknown option --repalce; did you mean --replace?\n"},
        {"upload x --repalce=1", "did you mean --replace?\n"},
        {"upload x --jsn", "did you mean --json?\n"},
        {"upload x --zzzzzzzz", "unknown option --zzzzzzzz\n"},
        {"upload x -z", "unknown option -z\n"},
        {"upload x --cert", "--cert wants a value: --cert FILE\n"},
        {"upload x --replace=yes", "--replace takes no value\n"},
        {"upload x -n abc", "--count wants a whole number\n"},
        {"upload x -n -1", "--count wants a number that is not negative\n"},
        {"--timeout 0 upload x", "--timeout wants a number from 1 to 3600\n"},
        {"upload x -a md5", "--algorithm wants one of international, sm2\n"},
        {"upload x --wait 10", "--wait wants a duration"},
        {"--set nothing upload", "--set wants KEY=VALUE\n"},
        {"trust add", "demo trust add: FIRST is missing: The first.\n"},
        {"help nowhere", "unknown command nowhere\n"},
        {"upload x\x1b[31m y", "too many"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        struct outcome o = parse(cases[i].line);
        if (o.result != CS_CLI_USAGE || !strstr(o.err, cases[i].message) || o.out_len > 0 ||
            strchr(o.err, '\x1b'))
            fail_msg("%s: result %d: \"%s\" \"%s\"", cases[i].line, o.result, o.err, o.out);
        outcome_free(&o);

        // The same for programs: one object, and nothing beside it.
        char line[256];
        snprintf(line, sizeof line, "--json %s", cases[i].line);
        o = parse(line);
        if (o.result != CS_CLI_USAGE || o.err_len > 0 || strchr(o.out, '\x1b') ||
            strncmp(o.out, "{\"status\":\"error\",\"message\":\"", 29) != 0 ||
            strcmp(strchr(o.out, '\n') - 10, ",\"exit\":2}\n") != 0)
            fail_msg("%s: result %d: \"%s\" \"%s\"", line, o.result, o.err, o.out);
        outcome_free(&o);
    }
}

static void test_help(void **state) {
    (void)state;
    static const struct {
        const char *line;
        const char *has;
    } cases[] = {
        {"--help", "Usage: demo COMMAND [options]\n"},
        {"-h", "  upload                      Upload a certificate.\n"},
        {"--help", "  -c, --config FILE           Settings file.\n"},
        {"--version", "demo 1.2\n"},
        {"upload --help", "Usage: demo upload --cert FILE [options] NAME\n"},
        {"upload --bogus-later --help", NULL},
        {"help upload", "One of: international, sm2. Default: international."},
        {"help trust add", "Usage: demo trust add [options] FIRST [MORE]...\n"},
        {"upload -h", "Global options:\n"},
        {"upload -h", "Examples:\n  demo upload x\n"},
        {"trust --help", "  remove                      Remove a key.\n"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        struct outcome o = parse(cases[i].line);
        if (!cases[i].has)
            assert_int_equal(o.result, CS_CLI_USAGE);
        else if (o.result != CS_CLI_DONE || !strstr(o.out, cases[i].has) || o.err_len > 0 ||
                 strstr(o.out, "secret"))
            fail_msg("%s: \"%s\" \"%s\"", cases[i].line, o.out, o.err);
        outcome_free(&o);
    }
}

static char *doc(int which) {
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (which == 0)
        cs_cli_completion(&root, CS_SHELL_BASH, f);
    else if (which == 1)
        cs_cli_man(&root, f);
    else
        cs_cli_markdown(&root, f);
    fclose(f);
    return text;
}

// The completion script is run by a real bash.
static void complete(const char *script, const char *words_text, const char *expected) {
    char path[] = "/tmp/test_cli.XXXXXX", command[1024], out[512] = "";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    fputs(script, f);
    fclose(f);
    snprintf(command, sizeof command,
             "bash -c 'source %s; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _demo; echo "
             "\"${COMPREPLY[@]}\"'",
             path, words_text);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    assert_non_null(fgets(out, sizeof out, p));
    assert_int_equal(pclose(p), 0);
    out[strcspn(out, "\n")] = '\0';
    remove(path);
    assert_string_equal(out, expected);
}

static void test_documentation(void **state) {
    (void)state;
    char *bash = doc(0), *man = doc(1), *md = doc(2);
    complete(bash, "demo up", "upload");
    complete(bash, "demo trust \"\"", "add remove");
    complete(bash, "demo upload --re", "--replace");
    complete(bash, "demo upload --algorithm s", "sm2");
    complete(bash, "demo upload x --js", "--json");
    complete(bash, "demo upload --algorithm = s", "sm2"); // as readline takes --algorithm=s apart
    complete(bash, "demo --config trust up", "upload");   // a value is no command
    complete(bash, "demo upload --config trust --re", "--replace");
    assert_non_null(strstr(man, ".SS demo upload \\-\\-cert FILE [options] NAME\n"));
    assert_non_null(strstr(md, "### `demo trust add`"));
    assert_non_null(strstr(md, "| `-r, --replace` | Replace. |"));
    assert_null(strstr(man, "secret"));
    assert_null(strstr(md, "secret"));
    free(bash);
    free(man);
    free(md);
}

static void test_tree(void **state) {
    (void)state;
    struct cs_err err;
    assert_true(cs_cli_check(&root, &err));
    struct cs_opt twice[] = {global_opts[1], global_opts[1]};
    struct cs_command bad = root;
    bad.opts = twice;
    bad.opt_count = 2;
    assert_false(cs_cli_check(&bad, &err));
    assert_non_null(strstr(err.msg, "json: option twice"));
    bad = root;
    bad.summary = NULL;
    assert_false(cs_cli_check(&bad, &err));
    struct cs_arg order[] = {rm_args[1], rm_args[0]};
    bad = trust_commands[0];
    bad.args = order;
    assert_false(cs_cli_check(&bad, &err));
}

static void test_table(void **state) {
    (void)state;
    static const char *const headers[] = {"NAME", ">DAYS", "SUBJECT", NULL};
    struct cs_table *t = cs_table_new(headers);
    cs_table_cell(t, "www");
    cs_table_cellf(t, "%d", 7);
    cs_table_cell(t, "CN=\xe4\xbd\xa0\xe5\xa5\xbd"); // two wide characters
    cs_table_cell(t, "a\x1b[31mred");
    cs_table_cell(t, "-12");
    cs_table_cell(t, NULL);
    assert_int_equal(cs_table_rows(t), 2);
    static const struct {
        size_t width;
        bool bold;
        const char *text;
    } cases[] = {
        {0, false,
         "NAME            DAYS  SUBJECT\nwww                7  CN=\xe4\xbd\xa0\xe5\xa5\xbd\na\\u001B[31mred  "
         " -12  \n"},
        {0, true,
         "\033[1mNAME            DAYS  SUBJECT\033[0m\nwww                7  "
         "CN=\xe4\xbd\xa0\xe5\xa5\xbd\na\\u001B[31mred   "
         "-12  \n"},
        {20, false, "NAME    DAYS  SUBJE…\nwww        7  CN=\xe4\xbd\xa0…\na\\u00…   -12  \n"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        char *text = NULL;
        size_t len = 0;
        FILE *f = open_memstream(&text, &len);
        assert_true(cs_table_print_width(t, f, cases[i].width, cases[i].bold));
        fclose(f);
        assert_string_equal(text, cases[i].text);
        free(text);
    }
    cs_table_free(t);
    assert_false(cs_table_print(NULL, stdout));
}

static void test_csv(void **state) {
    (void)state;
    static const char *const headers[] = {"NAME", ">DAYS LEFT", NULL};
    static const char *const cells[] = {"www", "7",    "two, \"quoted\"", "-12", "=HYPERLINK(1)", "",
                                        "@at", "-1+2", "\xe4\xbd\xa0",    "a\nb"};
    struct cs_table *t = cs_table_new(headers);
    for (size_t i = 0; i < CS_ARRAY_LEN(cells); i++)
        cs_table_cell(t, cells[i]);
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_true(cs_table_print_csv(t, f));
    fclose(f);
    assert_string_equal(text, "name,days_left\nwww,7\n\"two, \"\"quoted\"\"\",-12\n\"'=HYPERLINK(1)\",\n"
                              "\"'@at\",\"'-1+2\"\n\xe4\xbd\xa0,\"a\nb\"\n");
    free(text);
    cs_table_free(t);
    assert_false(cs_table_print_csv(NULL, stdout));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_usage_errors),
        cmocka_unit_test(test_help),   cmocka_unit_test(test_documentation),
        cmocka_unit_test(test_tree),   cmocka_unit_test(test_table),
        cmocka_unit_test(test_csv),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
