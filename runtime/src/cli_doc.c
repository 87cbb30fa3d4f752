// SPDX-License-Identifier: Apache-2.0
//
// Command lines for people: help, manual page, Markdown, and a check of the tree itself.
#include <string.h>

#include "cli_internal.h"
#include "troff.h"

#define TEXT_COLUMN 30
#define WIDTH       100

void cli_put_option(const struct cs_opt *opt, struct cs_buf *out) {
    if (opt->letter)
        cs_buf_printf(out, "-%c, ", opt->letter);
    cs_buf_printf(out, "--%s", opt->name);
    if (opt->kind != CS_OPT_FLAG)
        cs_buf_printf(out, " %s", opt->value_name ? opt->value_name : "VALUE");
}

void cli_put_synopsis(const struct cs_command *cmd, const char *path, struct cs_buf *out) {
    cs_buf_puts(out, path);
    if (cmd->command_count > 0) {
        cs_buf_puts(out, cmd->run ? " [COMMAND] [options]" : " COMMAND [options]");
        return;
    }
    for (size_t i = 0; i < cmd->opt_count; i++) {
        if (!(cmd->opts[i].flags & CS_OPT_REQUIRED))
            continue;
        cs_buf_printf(out, " --%s %s", cmd->opts[i].name,
                      cmd->opts[i].value_name ? cmd->opts[i].value_name : "VALUE");
    }
    cs_buf_puts(out, " [options]");
    for (size_t i = 0; i < cmd->arg_count; i++) {
        const struct cs_arg *a = &cmd->args[i];
        cs_buf_printf(out, a->optional ? " [%s]%s" : " %s%s", a->name, a->repeated ? "..." : "");
    }
}

// Wraps text at WIDTH and indents every line after the first. column is where the first one begins.
static void put_wrapped(const char *text, size_t indent, size_t column, struct cs_buf *out) {
    while (*text) {
        size_t len = strcspn(text, " ");
        if (column + len > WIDTH && column > indent) {
            cs_buf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
        }
        cs_buf_printf(out, "%.*s", (int)len, text);
        column += len;
        text += len;
        if (*text == ' ') {
            cs_buf_putc(out, ' ');
            column++;
            text++;
        }
    }
    cs_buf_putc(out, '\n');
}

static void put_entry(const char *head, const char *text, struct cs_buf *out) {
    int written = (int)strlen(head) + 2;
    cs_buf_printf(out, "  %s", head);
    if (written + 2 > TEXT_COLUMN) {
        cs_buf_putc(out, '\n');
        written = 0;
    }
    cs_buf_printf(out, "%*s", TEXT_COLUMN - written, "");
    put_wrapped(text, TEXT_COLUMN, TEXT_COLUMN, out);
}

// The sentence, choices, default, and whether the option is required.
static void put_option_text(const struct cs_opt *opt, struct cs_buf *out) {
    cs_buf_puts(out, opt->text);
    if (opt->kind == CS_OPT_CHOICE && opt->choices) {
        cs_buf_puts(out, " One of: ");
        for (size_t i = 0; opt->choices[i]; i++)
            cs_buf_printf(out, "%s%s", i ? ", " : "", opt->choices[i]);
        cs_buf_putc(out, '.');
    }
    if (opt->kind == CS_OPT_LIST || opt->kind == CS_OPT_SET)
        cs_buf_puts(out, " May be repeated.");
    if (opt->default_text)
        cs_buf_printf(out, " Default: %s.", opt->default_text);
    if (opt->flags & CS_OPT_REQUIRED)
        cs_buf_puts(out, " Required.");
}

static void put_options(const char *title, const struct cs_command *cmd, bool is_root, struct cs_buf *out) {
    cs_buf_printf(out, "\n%s:\n", title);
    for (size_t i = 0; i < cmd->opt_count; i++) {
        const struct cs_opt *opt = &cmd->opts[i];
        if (opt->flags & CS_OPT_HIDDEN)
            continue;
        CS_AUTO(cs_buf_clear) struct cs_buf head, text;
        cs_buf_init(&head, 256);
        cs_buf_init(&text, 4096);
        cs_buf_puts(&head, opt->letter ? "" : "    ");
        cli_put_option(opt, &head);
        put_option_text(opt, &text);
        put_entry((const char *)head.data, (const char *)text.data, out);
    }
    if (is_root) {
        put_entry("-h, --help", "Say how to use this command.", out);
        put_entry("    --version", "Say which version this is.", out);
    }
}

void cli_put_help(const struct cs_command *root, const struct cs_command *cmd, const char *path,
                  struct cs_buf *out) {
    cs_buf_puts(out, "Usage: ");
    cli_put_synopsis(cmd, path, out);
    cs_buf_puts(out, "\n\n");
    put_wrapped(cmd->summary, 0, 0, out);
    if (cmd->description)
        cs_buf_printf(out, "\n%s\n", cmd->description);
    if (cmd->command_count > 0) {
        cs_buf_puts(out, "\nCommands:\n");
        for (size_t i = 0; i < cmd->command_count; i++) {
            if (!cmd->commands[i].hidden)
                put_entry(cmd->commands[i].name, cmd->commands[i].summary, out);
        }
    }
    if (cmd->arg_count > 0)
        cs_buf_puts(out, "\nArguments:\n");
    for (size_t i = 0; i < cmd->arg_count; i++)
        put_entry(cmd->args[i].name, cmd->args[i].text, out);
    if (cmd != root && cmd->opt_count > 0)
        put_options("Options", cmd, false, out);
    put_options(root->command_count > 0 ? "Global options" : "Options", root, true, out);
    if (cmd->examples)
        cs_buf_printf(out, "\nExamples:\n%s\n", cmd->examples);
}

void cli_each_command(const struct cs_command *cmd, const char *path, cli_visit_fn fn, struct cs_buf *out) {
    fn(cmd, path, out);
    for (size_t i = 0; i < cmd->command_count; i++) {
        char sub[CLI_PATH_MAX];
        int n = snprintf(sub, sizeof sub, "%s %s", path, cmd->commands[i].name);
        if (!cmd->commands[i].hidden && n > 0 && (size_t)n < sizeof sub)
            cli_each_command(&cmd->commands[i], sub, fn, out);
    }
}

const char *cli_below(const char *path) {
    const char *blank = strchr(path, ' ');
    return blank ? blank : "";
}

void cli_write_out(const struct cs_buf *b, FILE *out) {
    if (b->data)
        fwrite(b->data, 1, b->len, out);
}

static void man_options(const struct cs_command *cmd, struct cs_buf *out) {
    for (size_t i = 0; i < cmd->opt_count; i++) {
        const struct cs_opt *opt = &cmd->opts[i];
        if (opt->flags & CS_OPT_HIDDEN)
            continue;
        CS_AUTO(cs_buf_clear) struct cs_buf head, text;
        cs_buf_init(&head, 256);
        cs_buf_init(&text, 4096);
        cli_put_option(opt, &head);
        put_option_text(opt, &text);
        cs_buf_puts(out, ".TP\n.B ");
        cs_troff_put((const char *)head.data, out);
        cs_buf_putc(out, '\n');
        cs_troff_put((const char *)text.data, out);
        cs_buf_putc(out, '\n');
    }
}

static void man_command(const struct cs_command *cmd, const char *path, struct cs_buf *out) {
    if (cmd->command_count > 0)
        return;
    CS_AUTO(cs_buf_clear) struct cs_buf synopsis;
    cs_buf_init(&synopsis, 1024);
    cli_put_synopsis(cmd, path, &synopsis);
    cs_buf_puts(out, ".SS ");
    cs_troff_put((const char *)synopsis.data, out);
    cs_buf_putc(out, '\n');
    cs_troff_put(cmd->summary, out);
    cs_buf_puts(out, ".\n");
    if (cmd->description) {
        cs_buf_puts(out, ".PP\n");
        cs_troff_put(cmd->description, out);
        cs_buf_putc(out, '\n');
    }
    for (size_t i = 0; i < cmd->arg_count; i++) {
        cs_buf_printf(out, ".TP\n.I %s\n", cmd->args[i].name);
        cs_troff_put(cmd->args[i].text, out);
        cs_buf_putc(out, '\n');
    }
    man_options(cmd, out);
    if (cmd->examples) {
        cs_buf_puts(out, ".PP\n.nf\n");
        cs_troff_put(cmd->examples, out);
        cs_buf_puts(out, "\n.fi\n");
    }
}

void cs_cli_man(const struct cs_command *root, FILE *out) {
    CS_AUTO(cs_buf_clear) struct cs_buf b, synopsis;
    cs_buf_init(&b, CLI_DOC_MAX);
    cs_buf_init(&synopsis, 1024);
    cli_put_synopsis(root, root->name, &synopsis);
    cs_buf_puts(&b, ".SH NAME\n");
    cs_troff_put(root->name, &b);
    cs_buf_puts(&b, " \\- ");
    cs_troff_put(root->summary, &b);
    cs_buf_puts(&b, "\n.SH SYNOPSIS\n.B ");
    cs_troff_put((const char *)synopsis.data, &b);
    cs_buf_putc(&b, '\n');
    if (root->description) {
        cs_buf_puts(&b, ".SH DESCRIPTION\n");
        cs_troff_put(root->description, &b);
        cs_buf_putc(&b, '\n');
    }
    if (root->command_count > 0) {
        cs_buf_puts(&b, ".SH COMMANDS\n");
        cli_each_command(root, root->name, man_command, &b);
    }
    cs_buf_puts(&b, ".SH OPTIONS\n");
    man_options(root, &b);
    cli_write_out(&b, out);
}

static void markdown_options(const struct cs_command *cmd, struct cs_buf *out) {
    bool any = false;
    for (size_t i = 0; i < cmd->opt_count; i++) {
        if (cmd->opts[i].flags & CS_OPT_HIDDEN)
            continue;
        CS_AUTO(cs_buf_clear) struct cs_buf text;
        cs_buf_init(&text, 4096);
        put_option_text(&cmd->opts[i], &text);
        cs_buf_puts(out, any ? "" : "\n| Option | Meaning |\n|---|---|\n");
        any = true;
        cs_buf_puts(out, "| `");
        cli_put_option(&cmd->opts[i], out);
        cs_buf_puts(out, "` | ");
        cs_buf_put_cell(out, (const char *)text.data);
        cs_buf_puts(out, " |\n");
    }
}

static void markdown_command(const struct cs_command *cmd, const char *path, struct cs_buf *out) {
    if (cmd->command_count > 0 && *cli_below(path))
        return;
    cs_buf_printf(out, "\n### `%s`\n\n", path);
    cs_buf_printf(out, "%s\n\n    ", cmd->summary);
    cli_put_synopsis(cmd, path, out);
    cs_buf_putc(out, '\n');
    markdown_options(cmd, out);
}

void cs_cli_markdown(const struct cs_command *root, FILE *out) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, CLI_DOC_MAX);
    cli_each_command(root, root->name, markdown_command, &b);
    cli_write_out(&b, out);
}

static bool tree_fault(const char *path, const char *what, const char *which, struct cs_err *err) {
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "%s: %s: %s", path, which, what);
}

static bool check_options(const struct cs_command *cmd, const char *path, struct cs_err *err) {
    for (size_t i = 0; i < cmd->opt_count; i++) {
        const struct cs_opt *o = &cmd->opts[i];
        if (!o->text || !*o->text)
            return tree_fault(path, "no sentence", o->name, err);
        if ((o->kind == CS_OPT_CHOICE) != (o->choices != NULL))
            return tree_fault(path, "choices and kind do not fit", o->name, err);
        if ((o->kind == CS_OPT_SETTING) != (o->setting != NULL))
            return tree_fault(path, "setting and kind do not fit", o->name, err);
        if (o->kind != CS_OPT_SETTING && o->kind != CS_OPT_SET && o->offset >= cmd->values_size)
            return tree_fault(path, "offset outside of the values", o->name, err);
        for (size_t j = 0; j < i; j++) {
            if (strcmp(cmd->opts[j].name, o->name) == 0 || (o->letter && cmd->opts[j].letter == o->letter))
                return tree_fault(path, "option twice", o->name, err);
        }
    }
    return true;
}

static bool check_command(const struct cs_command *root, const struct cs_command *cmd, const char *path,
                          struct cs_err *err) {
    if (!cmd->summary || !*cmd->summary)
        return tree_fault(path, "no summary", cmd->name, err);
    if (cmd->command_count == 0 && !cmd->run)
        return tree_fault(path, "nothing to run", cmd->name, err);
    if (cmd->command_count > 0 && (cmd->arg_count > 0 || (cmd != root && cmd->opt_count > 0)))
        return tree_fault(path, "a group of commands takes neither arguments nor options", cmd->name, err);
    if (!check_options(cmd, path, err))
        return false;
    for (size_t i = 0; i < cmd->arg_count; i++) {
        if (i + 1 < cmd->arg_count && cmd->args[i].repeated)
            return tree_fault(path, "only the last argument may be repeated", cmd->args[i].name, err);
        if (i > 0 && cmd->args[i - 1].optional && !cmd->args[i].optional)
            return tree_fault(path, "a required argument after an optional one", cmd->args[i].name, err);
    }
    for (size_t i = 0; i < cmd->command_count; i++) {
        char sub[CLI_PATH_MAX];
        int n = snprintf(sub, sizeof sub, "%s %s", path, cmd->commands[i].name);
        if (n < 0 || (size_t)n >= sizeof sub)
            return tree_fault(path, "the path is too long", cmd->commands[i].name, err);
        if (!check_command(root, &cmd->commands[i], sub, err))
            return false;
    }
    return true;
}

bool cs_cli_check(const struct cs_command *root, struct cs_err *err) {
    return check_command(root, root, root->name, err);
}
