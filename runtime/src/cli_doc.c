// SPDX-License-Identifier: Apache-2.0
//
// Command lines for people: help, completion, manual page, Markdown, and a check of the tree itself.
#include <string.h>

#include "cli_internal.h"

#define TEXT_COLUMN 30
#define WIDTH       100
#define PATH_MAX_   128
#define DOC_MAX     ((size_t)1024 * 1024)

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

// Text in words, wrapped at WIDTH, each line after the first indented. column is where the cursor stands.
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

// Sentence, choices, default and whether it must be given.
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

// Calls fn for the command and all below it, with its full path, parents first.
typedef void (*visit_fn)(const struct cs_command *cmd, const char *path, struct cs_buf *out);
static void each_command(const struct cs_command *cmd, const char *path, visit_fn fn, struct cs_buf *out) {
    fn(cmd, path, out);
    for (size_t i = 0; i < cmd->command_count; i++) {
        char sub[PATH_MAX_];
        int n = snprintf(sub, sizeof sub, "%s %s", path, cmd->commands[i].name);
        if (!cmd->commands[i].hidden && n > 0 && (size_t)n < sizeof sub)
            each_command(&cmd->commands[i], sub, fn, out);
    }
}

// A path without the program's name, as the completion function collects it: " trust add".
static const char *below(const char *path) {
    const char *blank = strchr(path, ' ');
    return blank ? blank : "";
}

static void completion_walk(const struct cs_command *cmd, const char *path, struct cs_buf *out) {
    (void)cmd;
    if (*below(path))
        cs_buf_printf(out, "            \"%s\") path=\"$path $w\" ;;\n", below(path));
}

static void completion_words(const struct cs_command *cmd, const char *path, struct cs_buf *out) {
    cs_buf_printf(out, "        \"%s\") words=\"", below(path));
    for (size_t i = 0; i < cmd->command_count; i++) {
        if (!cmd->commands[i].hidden)
            cs_buf_printf(out, "%s ", cmd->commands[i].name);
    }
    cs_buf_puts(out, "\" opts=\"");
    for (size_t i = 0; i < cmd->opt_count; i++) {
        if (!(cmd->opts[i].flags & CS_OPT_HIDDEN))
            cs_buf_printf(out, "--%s ", cmd->opts[i].name);
    }
    bool files = false;
    for (size_t i = 0; i < cmd->arg_count; i++)
        files = files || cmd->args[i].path;
    cs_buf_printf(out, "\"%s ;;\n", files ? " files=1" : "");
}

static void completion_values(const struct cs_command *cmd, const char *path, struct cs_buf *out) {
    // Global options are completed everywhere.
    const char *at = *below(path) ? below(path) : "*";
    for (size_t i = 0; i < cmd->opt_count; i++) {
        const struct cs_opt *opt = &cmd->opts[i];
        if (opt->kind == CS_OPT_FLAG || (opt->flags & CS_OPT_HIDDEN))
            continue;
        cs_buf_printf(out, "        %s%s%s:--%s) ", *at == '*' ? "" : "\"", at, *at == '*' ? "" : "\"",
                      opt->name);
        if (opt->kind == CS_OPT_PATH) {
            cs_buf_puts(out, "COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n");
            continue;
        }
        cs_buf_puts(out, "COMPREPLY=(");
        if (opt->kind == CS_OPT_CHOICE) {
            cs_buf_puts(out, "$(compgen -W \"");
            for (size_t c = 0; opt->choices[c]; c++)
                cs_buf_printf(out, "%s ", opt->choices[c]);
            cs_buf_puts(out, "\" -- \"$cur\")");
        } else if (opt->kind == CS_OPT_SET) {
            cs_buf_puts(out, "$(compgen -W \"$keys\" -- \"$cur\")");
        }
        cs_buf_puts(out, "); return ;;\n");
    }
}

static void write_out(const struct cs_buf *b, FILE *out) {
    if (b->data)
        fwrite(b->data, 1, b->len, out);
}

void cs_cli_completion_bash(const struct cs_command *root, const struct cs_settings_table *settings,
                            FILE *out) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, DOC_MAX);
    char fn[64];
    snprintf(fn, sizeof fn, "%s", root->name);
    for (char *p = fn; *p; p++)
        *p = *p == '-' ? '_' : *p;
    cs_buf_printf(&b, "# bash completion for %s; put it into /etc/bash_completion.d/\n_%s() {\n", root->name,
                  fn);
    cs_buf_puts(&b, "    local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
                    "    local path=\"\" words=\"\" opts=\"\" files=\"\" keys=\"");
    for (size_t i = 0; settings && i < settings->row_count; i++) {
        if (settings->rows[i].type != CS_SETTING_TYPE_MAP && !(settings->rows[i].flags & CS_SETTING_HIDDEN))
            cs_buf_printf(&b, "%s= ", settings->rows[i].key);
    }
    cs_buf_puts(&b, "\" i w\n    COMPREPLY=()\n    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                    "        w=\"${COMP_WORDS[i]}\"\n        case \"$path $w\" in\n");
    each_command(root, root->name, completion_walk, &b);
    cs_buf_puts(&b, "        esac\n    done\n    case \"$path:$prev\" in\n");
    each_command(root, root->name, completion_values, &b);
    cs_buf_puts(&b, "    esac\n    case \"$path\" in\n");
    each_command(root, root->name, completion_words, &b);
    cs_buf_puts(&b,
                "    esac\n    if [[ $cur == -* ]]; then\n        COMPREPLY=($(compgen -W \"$opts --help");
    for (size_t i = 0; i < root->opt_count; i++) {
        if (!(root->opts[i].flags & CS_OPT_HIDDEN))
            cs_buf_printf(&b, " --%s", root->opts[i].name);
    }
    cs_buf_puts(&b, "\" -- \"$cur\"))\n    elif [[ -n $files ]]; then\n"
                    "        COMPREPLY=($(compgen -f -- \"$cur\"))\n    else\n"
                    "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n    fi\n}\n");
    cs_buf_printf(&b, "complete -o filenames -F _%s %s\n", fn, root->name);
    write_out(&b, out);
}

// troff gives '-' and '\' and leading dots a meaning of their own.
static void put_troff(const char *s, struct cs_buf *out) {
    bool line_start = true;
    for (; *s; s++) {
        if (line_start && (*s == '.' || *s == '\''))
            cs_buf_puts(out, "\\&");
        line_start = *s == '\n';
        if (*s == '\\')
            cs_buf_puts(out, "\\e");
        else if (*s == '-')
            cs_buf_puts(out, "\\-");
        else
            cs_buf_putc(out, *s);
    }
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
        put_troff((const char *)head.data, out);
        cs_buf_putc(out, '\n');
        put_troff((const char *)text.data, out);
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
    put_troff((const char *)synopsis.data, out);
    cs_buf_putc(out, '\n');
    put_troff(cmd->summary, out);
    cs_buf_putc(out, '\n');
    if (cmd->description) {
        cs_buf_puts(out, ".PP\n");
        put_troff(cmd->description, out);
        cs_buf_putc(out, '\n');
    }
    for (size_t i = 0; i < cmd->arg_count; i++) {
        cs_buf_printf(out, ".TP\n.I %s\n", cmd->args[i].name);
        put_troff(cmd->args[i].text, out);
        cs_buf_putc(out, '\n');
    }
    man_options(cmd, out);
    if (cmd->examples) {
        cs_buf_puts(out, ".PP\n.nf\n");
        put_troff(cmd->examples, out);
        cs_buf_puts(out, "\n.fi\n");
    }
}

void cs_cli_man(const struct cs_command *root, const char *version, const struct cs_settings_table *settings,
                FILE *out) {
    CS_AUTO(cs_buf_clear) struct cs_buf b, synopsis;
    cs_buf_init(&b, DOC_MAX);
    cs_buf_init(&synopsis, 1024);
    cli_put_synopsis(root, root->name, &synopsis);
    cs_buf_printf(&b, ".TH \"%s\" 1 \"\" \"%s %s\"\n.SH NAME\n", root->name, root->name, version);
    put_troff(root->name, &b);
    cs_buf_puts(&b, " \\- ");
    put_troff(root->summary, &b);
    cs_buf_puts(&b, "\n.SH SYNOPSIS\n.B ");
    put_troff((const char *)synopsis.data, &b);
    cs_buf_putc(&b, '\n');
    if (root->description) {
        cs_buf_puts(&b, ".SH DESCRIPTION\n");
        put_troff(root->description, &b);
        cs_buf_putc(&b, '\n');
    }
    if (root->command_count > 0) {
        cs_buf_puts(&b, ".SH COMMANDS\n");
        for (size_t i = 0; i < root->command_count; i++) {
            char path[PATH_MAX_];
            snprintf(path, sizeof path, "%s %s", root->name, root->commands[i].name);
            if (!root->commands[i].hidden)
                each_command(&root->commands[i], path, man_command, &b);
        }
    }
    cs_buf_puts(&b, ".SH OPTIONS\n");
    man_options(root, &b);
    if (settings) {
        cs_buf_puts(&b, ".SH SETTINGS\n");
        cs_settings_man(settings, &b);
    }
    write_out(&b, out);
}

static void put_markdown_cell(const char *text, struct cs_buf *out) {
    for (; *text; text++) {
        if (*text == '|')
            cs_buf_putc(out, '\\');
        cs_buf_putc(out, *text);
    }
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
        put_markdown_cell((const char *)text.data, out);
        cs_buf_puts(out, " |\n");
    }
}

static void markdown_command(const struct cs_command *cmd, const char *path, struct cs_buf *out) {
    if (cmd->command_count > 0 && *below(path))
        return;
    cs_buf_printf(out, "\n### `%s`\n\n", path);
    cs_buf_printf(out, "%s\n\n    ", cmd->summary);
    cli_put_synopsis(cmd, path, out);
    cs_buf_putc(out, '\n');
    markdown_options(cmd, out);
}

void cs_cli_markdown(const struct cs_command *root, FILE *out) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, DOC_MAX);
    each_command(root, root->name, markdown_command, &b);
    write_out(&b, out);
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
        char sub[PATH_MAX_];
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
