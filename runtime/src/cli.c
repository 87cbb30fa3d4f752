// SPDX-License-Identifier: Apache-2.0
#include "certsync/runtime/cli.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/base/secret.h"
#include "certsync/base/text.h"
#include "certsync/runtime/terminal.h"
#include "cli_internal.h"
#include "settings_internal.h"

#define HELP_MAX ((size_t)256 * 1024)

// The struct cs_cli that is being built, and what it owns.
struct parser {
    struct cs_cli cli; // must be first
    const char *version;
    int argc, next;
    char **argv;
    char *globals;
    char *values;
    struct cs_settings_override *overrides;
    char **owned; // copies of the keys of --set
    size_t owned_count;
    const struct cs_command *parent; // where "help" and nested names are looked up
    size_t arg_index;
    bool only_args; // after --
    bool done;
    bool usage;
};

static void *must_alloc(size_t count, size_t size) {
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p)
        abort(); // a program that has just started and has no memory
    return p;
}

static void shown(const char *text, char *out, size_t size) {
    cs_secret_quote(text, strlen(text), out, size);
}

void cs_cli_put_failure(const struct cs_cli *cli, const char *open, int exit_code, const char *message) {
    char text[CS_ERR_MSG_MAX * 2];
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, sizeof text * 4);
    cs_text_escape(message, strlen(message), text, sizeof text); // JSON is UTF-8, arguments need not be
    cs_buf_puts(&b, open);
    cs_json_str(&b, "status", "error");
    cs_json_str(&b, "message", text);
    cs_json_int(&b, "exit", exit_code);
    cs_json_end(&b, '}');
    cs_buf_putc(&b, '\n');
    cli_write_out(&b, cli->out);
}

static void tell_usage(const struct cs_cli *cli, const char *fmt, va_list ap) {
    char message[CS_ERR_MSG_MAX];
    vsnprintf(message, sizeof message, fmt, ap);
    if (cli->json)
        cs_cli_put_failure(cli, "{", CS_EXIT_USAGE, message);
    else
        fprintf(cli->err, "%s: %s\nSee: %s --help\n", cli->path, message, cli->path);
}

static bool usage(struct parser *p, const char *fmt, ...) CS_PRINTF(2, 3);
static bool usage(struct parser *p, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    tell_usage(&p->cli, fmt, ap);
    va_end(ap);
    p->usage = true;
    return false;
}

static const struct cs_opt *find_long(const struct cs_command *cmd, const char *name, size_t len) {
    for (size_t i = 0; i < cmd->opt_count; i++) {
        if (strlen(cmd->opts[i].name) == len && strncmp(cmd->opts[i].name, name, len) == 0)
            return &cmd->opts[i];
    }
    return NULL;
}

static const struct cs_opt *find_letter(const struct cs_command *cmd, char letter) {
    for (size_t i = 0; i < cmd->opt_count; i++) {
        if (cmd->opts[i].letter && cmd->opts[i].letter == letter)
            return &cmd->opts[i];
    }
    return NULL;
}

// The command's own options come first: one may have the name of a global option.
static char *target_of(struct parser *p, const struct cs_opt *opt) {
    const struct cs_command *root = p->cli.root;
    bool global = opt >= root->opts && opt < root->opts + root->opt_count;
    return (global ? p->globals : p->values) + opt->offset;
}

static void nearest_option(const struct cs_command *cmd, const char *name, const char **best,
                           unsigned *distance) {
    for (size_t i = 0; i < cmd->opt_count; i++) {
        unsigned d = cs_text_distance(name, cmd->opts[i].name);
        if (d < *distance && !(cmd->opts[i].flags & CS_OPT_HIDDEN)) {
            *distance = d;
            *best = cmd->opts[i].name;
        }
    }
}

static bool unknown_option(struct parser *p, const char *name) {
    char text[CS_SECRET_QUOTE_SIZE], bare[64];
    shown(name, text, sizeof text);
    snprintf(bare, sizeof bare, "%.*s", (int)strcspn(name, "="), name);
    const char *best = NULL;
    unsigned distance = 255;
    nearest_option(p->cli.command, bare, &best, &distance);
    if (p->cli.command != p->cli.root)
        nearest_option(p->cli.root, bare, &best, &distance);
    if (best && distance <= strlen(bare) / 2)
        return usage(p, "unknown option --%s; did you mean --%s?", text, best);
    return usage(p, "unknown option --%s", text);
}

static bool add_override(struct parser *p, const char *key, const char *value, const char *origin) {
    p->overrides[p->cli.override_count++] =
        (struct cs_settings_override){.key = key, .value = value, .origin = origin};
    return true;
}

static char *own(struct parser *p, char *text) {
    if (!text)
        abort();
    p->owned[p->owned_count++] = text;
    return text;
}

static bool add_setting(struct parser *p, const struct cs_opt *opt, const char *value) {
    size_t size = strlen(opt->name) + 3;
    char *origin = own(p, malloc(size));
    snprintf(origin, size, "--%s", opt->name);
    return add_override(p, opt->setting, value, origin);
}

static bool add_set(struct parser *p, const char *value) {
    const char *eq = strchr(value, '=');
    if (!eq || eq == value)
        return usage(p, "--set wants KEY=VALUE");
    char *key = own(p, strndup(value, (size_t)(eq - value)));
    return add_override(p, key, eq + 1, "--set");
}

static void add_item(struct parser *p, struct cs_cli_list *list, const char *value) {
    if (!list->items)
        list->items = must_alloc((size_t)p->argc, sizeof *list->items);
    list->items[list->count++] = value;
}

static bool put_int(struct parser *p, const struct cs_opt *opt, const char *value) {
    char *end = NULL;
    errno = 0;
    long long v = strtoll(value, &end, 10);
    if (errno || end == value || *end)
        return usage(p, "--%s wants a whole number", opt->name);
    bool free_range = opt->min == 0 && opt->max == 0;
    if (v < opt->min || (!free_range && v > opt->max)) {
        if (free_range)
            return usage(p, "--%s wants a number that is not negative", opt->name);
        return usage(p, "--%s wants a number from %lld to %lld", opt->name, (long long)opt->min,
                     (long long)opt->max);
    }
    *(int64_t *)(void *)target_of(p, opt) = v;
    return true;
}

static bool put_duration(struct parser *p, const struct cs_opt *opt, const char *value) {
    int64_t ms = 0;
    if (!setting_parse_duration(value, &ms) || ms < 0)
        return usage(p, "--%s wants a duration, such as 10s, 5m or 1h", opt->name);
    if (ms < opt->min || (opt->max != 0 && ms > opt->max))
        return usage(p, "--%s is out of range (%lld to %lld ms)", opt->name, (long long)opt->min,
                     (long long)opt->max);
    *(int64_t *)(void *)target_of(p, opt) = ms;
    return true;
}

static bool put_choice(struct parser *p, const struct cs_opt *opt, const char *value) {
    CS_AUTO(cs_buf_clear) struct cs_buf words;
    cs_buf_init(&words, 1024);
    for (int64_t i = 0; opt->choices[i]; i++) {
        if (strcmp(value, opt->choices[i]) == 0) {
            *(int64_t *)(void *)target_of(p, opt) = i;
            return true;
        }
        cs_buf_printf(&words, "%s%s", i ? ", " : "", opt->choices[i]);
    }
    return usage(p, "--%s wants one of %s", opt->name, words.data ? (char *)words.data : "");
}

static bool put_value(struct parser *p, const struct cs_opt *opt, const char *value) {
    switch (opt->kind) {
    case CS_OPT_FLAG:
        *(bool *)target_of(p, opt) = true;
        return true;
    case CS_OPT_STRING:
    case CS_OPT_PATH:
        *(const char **)(void *)target_of(p, opt) = value;
        return true;
    case CS_OPT_INT:
        return put_int(p, opt, value);
    case CS_OPT_CHOICE:
        return put_choice(p, opt, value);
    case CS_OPT_DURATION:
        return put_duration(p, opt, value);
    case CS_OPT_LIST:
        add_item(p, (void *)target_of(p, opt), value);
        return true;
    case CS_OPT_SETTING:
        return add_setting(p, opt, value);
    case CS_OPT_SET:
        return add_set(p, value);
    }
    return false;
}

// Whether a REQUIRED option was given. Options of other kinds cannot be missing.
static bool is_given(struct parser *p, const struct cs_opt *opt) {
    const char *at = target_of(p, opt);
    switch (opt->kind) {
    case CS_OPT_STRING:
    case CS_OPT_PATH:
        return *(const char *const *)(const void *)at != NULL;
    case CS_OPT_LIST:
        return ((const struct cs_cli_list *)(const void *)at)->count > 0;
    case CS_OPT_INT:
    case CS_OPT_DURATION:
    case CS_OPT_CHOICE:
        return *(const int64_t *)(const void *)at != INT64_MIN;
    case CS_OPT_FLAG:
    case CS_OPT_SETTING:
    case CS_OPT_SET:
        return true;
    }
    return true;
}

// Defaults are set as given values are. A required number starts as INT64_MIN, which nobody can
// give.
static void set_defaults(struct parser *p, const struct cs_command *cmd, char *values) {
    for (size_t i = 0; i < cmd->opt_count; i++) {
        const struct cs_opt *opt = &cmd->opts[i];
        bool number = opt->kind == CS_OPT_INT || opt->kind == CS_OPT_DURATION || opt->kind == CS_OPT_CHOICE;
        if (number && (opt->flags & CS_OPT_REQUIRED))
            *(int64_t *)(void *)(values + opt->offset) = INT64_MIN;
        else if (opt->default_text && opt->kind != CS_OPT_SETTING && !put_value(p, opt, opt->default_text))
            abort(); // the tree is wrong; cs_cli_check finds it
    }
}

static bool take_value(struct parser *p, const struct cs_opt *opt, const char *inline_value) {
    if (opt->kind == CS_OPT_FLAG) {
        if (inline_value)
            return usage(p, "--%s takes no value", opt->name);
        return put_value(p, opt, NULL);
    }
    if (inline_value)
        return put_value(p, opt, inline_value);
    if (p->next >= p->argc)
        return usage(p, "--%s wants a value: --%s %s", opt->name, opt->name,
                     opt->value_name ? opt->value_name : "VALUE");
    return put_value(p, opt, p->argv[p->next++]);
}

static void help(struct parser *p, const struct cs_command *cmd, const char *path) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, HELP_MAX);
    cli_put_help(p->cli.root, cmd, path, &b);
    cli_write_out(&b, p->cli.out);
    p->done = true;
}

static bool on_long(struct parser *p, const char *name) {
    const char *eq = strchr(name, '=');
    size_t len = eq ? (size_t)(eq - name) : strlen(name);
    const struct cs_opt *opt = find_long(p->cli.command, name, len);
    if (!opt)
        opt = find_long(p->cli.root, name, len);
    if (opt)
        return take_value(p, opt, eq ? eq + 1 : NULL);
    if (strcmp(name, "help") == 0) {
        help(p, p->cli.command, p->cli.path);
        return true;
    }
    if (strcmp(name, "version") == 0 && p->cli.command == p->cli.root) {
        fprintf(p->cli.out, "%s %s\n", p->cli.root->name, p->version);
        p->done = true;
        return true;
    }
    return unknown_option(p, name);
}

// -abc, -nvalue, -n value.
static bool on_short(struct parser *p, const char *letters) {
    for (const char *l = letters; *l; l++) {
        const struct cs_opt *opt = find_letter(p->cli.command, *l);
        if (!opt)
            opt = find_letter(p->cli.root, *l);
        if (!opt && *l == 'h') {
            help(p, p->cli.command, p->cli.path);
            return true;
        }
        if (!opt) {
            char text[8];
            cs_text_escape(l, 1, text, sizeof text);
            return usage(p, "unknown option -%s", text);
        }
        if (opt->kind != CS_OPT_FLAG)
            return take_value(p, opt, l[1] ? l + 1 : NULL);
        put_value(p, opt, NULL);
    }
    return true;
}

static const struct cs_command *find_command(const struct cs_command *cmd, const char *name) {
    for (size_t i = 0; i < cmd->command_count; i++) {
        if (strcmp(cmd->commands[i].name, name) == 0)
            return &cmd->commands[i];
    }
    return NULL;
}

static bool unknown_command(struct parser *p, const struct cs_command *in, const char *name) {
    char text[CS_SECRET_QUOTE_SIZE];
    shown(name, text, sizeof text);
    const char *best = NULL;
    unsigned distance = 255;
    for (size_t i = 0; i < in->command_count; i++) {
        unsigned d = cs_text_distance(name, in->commands[i].name);
        if (d < distance && !in->commands[i].hidden) {
            distance = d;
            best = in->commands[i].name;
        }
    }
    if (best && distance <= strlen(name) / 2)
        return usage(p, "unknown command %s; did you mean %s?", text, best);
    return usage(p, "unknown command %s", text);
}

static void append_path(char *path, size_t size, const char *name) {
    size_t len = strlen(path);
    snprintf(path + len, size - len, " %s", name);
}

// certsync help trust add
static bool on_help_command(struct parser *p) {
    const struct cs_command *cmd = p->cli.root;
    char path[sizeof p->cli.path];
    snprintf(path, sizeof path, "%s", cmd->name);
    while (p->next < p->argc) {
        const char *name = p->argv[p->next++];
        const struct cs_command *sub = find_command(cmd, name);
        if (!sub)
            return unknown_command(p, cmd, name);
        append_path(path, sizeof path, name);
        cmd = sub;
    }
    help(p, cmd, path);
    return true;
}

static bool on_command(struct parser *p, const char *name) {
    const struct cs_command *cmd = find_command(p->cli.command, name);
    if (!cmd && p->cli.command == p->cli.root && strcmp(name, "help") == 0)
        return on_help_command(p);
    if (!cmd)
        return unknown_command(p, p->cli.command, name);
    append_path(p->cli.path, sizeof p->cli.path, name);
    p->cli.command = cmd;
    free(p->values);
    p->values = must_alloc(1, cmd->values_size);
    set_defaults(p, cmd, p->values);
    return true;
}

static bool on_argument(struct parser *p, const char *text) {
    const struct cs_command *cmd = p->cli.command;
    if (cmd->command_count > 0)
        return on_command(p, text);
    if (p->arg_index >= cmd->arg_count) {
        char escaped[CS_SECRET_QUOTE_SIZE];
        shown(text, escaped, sizeof escaped);
        return usage(p, "too many arguments: %s", escaped);
    }
    const struct cs_arg *arg = &cmd->args[p->arg_index];
    char *at = (cmd == p->cli.root ? p->globals : p->values) + arg->offset;
    if (arg->repeated) {
        add_item(p, (void *)at, text);
    } else {
        *(const char **)(void *)at = text;
        p->arg_index++;
    }
    return true;
}

static bool check_complete(struct parser *p) {
    const struct cs_command *cmd = p->cli.command;
    if (!cmd->run && cmd->command_count > 0)
        return usage(p, "a command is missing");
    for (size_t i = p->arg_index; i < cmd->arg_count; i++) {
        const struct cs_arg *arg = &cmd->args[i];
        const char *at = (cmd == p->cli.root ? p->globals : p->values) + arg->offset;
        bool given = arg->repeated && ((const struct cs_cli_list *)(const void *)at)->count > 0;
        if (!arg->optional && !given)
            return usage(p, "%s is missing: %s", arg->name, arg->text);
    }
    for (size_t i = 0; i < cmd->opt_count; i++) {
        if ((cmd->opts[i].flags & CS_OPT_REQUIRED) && !is_given(p, &cmd->opts[i]))
            return usage(p, "--%s is missing: %s", cmd->opts[i].name, cmd->opts[i].text);
    }
    return true;
}

// No option takes a key: all users of the host can read the command line. Whoever gives a key took
// it for a file's name. This is checked first, because later messages would quote the key.
static bool check_no_keys(struct parser *p) {
    for (int i = 1; i < p->argc; i++) {
        if (cs_secret_is_key(p->argv[i], strlen(p->argv[i])))
            return usage(p,
                         "argument %d is a private key itself; give the name of its file. Other users of "
                         "this host may "
                         "have seen it in the list of processes: make a new key if there are any",
                         i);
    }
    return true;
}

static bool parse_all(struct parser *p) {
    if (!check_no_keys(p))
        return false;
    while (p->next < p->argc && !p->done) {
        const char *word = p->argv[p->next++];
        bool ok = true;
        if (p->only_args || word[0] != '-' || word[1] == '\0')
            ok = on_argument(p, word);
        else if (strcmp(word, "--") == 0)
            p->only_args = true;
        else if (word[1] == '-')
            ok = on_long(p, word + 2);
        else
            ok = on_short(p, word + 1);
        if (!ok)
            return false;
    }
    return p->done || check_complete(p);
}

// Read before the rest is parsed: errors of the command line are told in JSON, too.
static bool wants_json(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

enum cs_cli_result cs_cli_parse(const struct cs_command *root, const char *version, int argc, char **argv,
                                FILE *out, FILE *err_stream, struct cs_cli **ret_cli) {
    struct parser *p = must_alloc(1, sizeof *p);
    p->cli = (struct cs_cli){.root = root, .command = root, .out = out, .err = err_stream};
    p->cli.json = wants_json(argc, argv);
    snprintf(p->cli.path, sizeof p->cli.path, "%s", root->name);
    p->version = version;
    p->argc = argc;
    p->argv = argv;
    p->next = 1;
    p->globals = must_alloc(1, root->values_size);
    p->overrides = must_alloc((size_t)argc + 1, sizeof *p->overrides);
    p->owned = must_alloc((size_t)argc + 1, sizeof *p->owned);
    set_defaults(p, root, p->globals);
    if (!parse_all(p) || p->done) {
        enum cs_cli_result result = p->usage ? CS_CLI_USAGE : CS_CLI_DONE;
        cs_cli_free(&p->cli);
        return result;
    }
    p->cli.globals = p->globals;
    p->cli.values = p->cli.command == root ? p->globals : p->values;
    p->cli.overrides = p->overrides;
    *ret_cli = &p->cli;
    return CS_CLI_RUN;
}

static void free_lists(const struct cs_command *cmd, char *values) {
    if (!values)
        return;
    for (size_t i = 0; i < cmd->opt_count; i++) {
        if (cmd->opts[i].kind == CS_OPT_LIST)
            free(((struct cs_cli_list *)(void *)(values + cmd->opts[i].offset))->items);
    }
    for (size_t i = 0; i < cmd->arg_count; i++) {
        if (cmd->args[i].repeated)
            free(((struct cs_cli_list *)(void *)(values + cmd->args[i].offset))->items);
    }
}

void cs_cli_free(struct cs_cli *cli) {
    if (!cli)
        return;
    struct parser *p = (struct parser *)(void *)cli;
    free_lists(cli->root, p->globals);
    if (cli->command != cli->root)
        free_lists(cli->command, p->values);
    for (size_t i = 0; i < p->owned_count; i++)
        free(p->owned[i]);
    free(p->owned);
    free(p->overrides);
    free(p->values);
    free(p->globals);
    free(p);
}

static int parse_and_run(const struct cs_command *root, const char *version, int argc, char **argv, FILE *out,
                         FILE *err) {
    CS_AUTO(cs_cli_free) struct cs_cli *cli = NULL;
    switch (cs_cli_parse(root, version, argc, argv, out, err, &cli)) {
    case CS_CLI_USAGE:
        return CS_EXIT_USAGE;
    case CS_CLI_DONE:
        return CS_EXIT_OK;
    case CS_CLI_RUN:
        break;
    }
    cli->screen = stderr;
    return cli->command->run(cli);
}

int cs_cli_main(const struct cs_command *root, const char *version, int argc, char **argv) {
    FILE *out = cs_terminal_open(stdout, true), *err = cs_terminal_open(stderr, false);
    if (!out || !err)
        abort(); // a program that has just started and has no memory
    int code = parse_and_run(root, version, argc, argv, out, err);
    fclose(out); // its failure is that of standard output
    fclose(err);
    // A success that nobody could read is no success. Its exit code must not be that of a refusal.
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    if (errno != EPIPE) // a reader that closed the pipe has read enough
        fprintf(stderr,
                "%s: the command ended with code %d, but its answer could not be written to standard output: "
                "%s\n",
                root->name, code, strerror(errno));
    return code == CS_EXIT_OK ? CS_EXIT_OUTPUT : code;
}

int cs_cli_usage_error(const struct cs_cli *cli, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    tell_usage(cli, fmt, ap);
    va_end(ap);
    return CS_EXIT_USAGE;
}
