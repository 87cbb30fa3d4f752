// SPDX-License-Identifier: Apache-2.0
//
// Completion scripts for shells, made from the tree of commands.
#include <string.h>

#include "cli_internal.h"

static bool shown(const struct cs_opt *opt) {
    return !(opt->flags & CS_OPT_HIDDEN);
}

static bool takes_files(const struct cs_command *cmd) {
    for (size_t i = 0; i < cmd->arg_count; i++)
        if (cmd->args[i].path)
            return true;
    return false;
}

// --- bash

static void bash_walk(const struct cs_command *cmd, const char *path, struct cs_buf *out) {
    (void)cmd;
    if (*cli_below(path))
        cs_buf_printf(out, "            \"%s\") path=\"$path $w\" ;;\n", cli_below(path));
}

// Options whose next word is a value, not a command.
static void bash_valued(const struct cs_command *cmd, const char *path, struct cs_buf *out) {
    (void)path;
    for (size_t i = 0; i < cmd->opt_count; i++) {
        if (cmd->opts[i].kind != CS_OPT_FLAG && shown(&cmd->opts[i]))
            cs_buf_printf(out, "--%s ", cmd->opts[i].name);
    }
}

static void bash_words(const struct cs_command *cmd, const char *path, struct cs_buf *out) {
    cs_buf_printf(out, "        \"%s\") words=\"", cli_below(path));
    for (size_t i = 0; i < cmd->command_count; i++) {
        if (!cmd->commands[i].hidden)
            cs_buf_printf(out, "%s ", cmd->commands[i].name);
    }
    cs_buf_puts(out, "\" opts=\"");
    for (size_t i = 0; i < cmd->opt_count; i++) {
        if (shown(&cmd->opts[i]))
            cs_buf_printf(out, "--%s ", cmd->opts[i].name);
    }
    cs_buf_printf(out, "\"%s ;;\n", takes_files(cmd) ? " files=1" : "");
}

static void bash_value(const struct cs_opt *opt, struct cs_buf *out) {
    if (opt->kind == CS_OPT_CHOICE) {
        cs_buf_puts(out, "COMPREPLY=($(compgen -W \"");
        for (size_t c = 0; opt->choices[c]; c++)
            cs_buf_printf(out, "%s ", opt->choices[c]);
        cs_buf_puts(out, "\" -- \"$cur\"))");
    } else if (opt->kind == CS_OPT_PATH) {
        cs_buf_puts(out, "COMPREPLY=($(compgen -f -- \"$cur\"))");
    } else if (opt->kind == CS_OPT_SET) {
        // compopt works only where the shell itself asks.
        cs_buf_puts(out, "COMPREPLY=($(compgen -W \"$keys\" -- \"$cur\")); compopt -o nospace 2>/dev/null");
    } else {
        cs_buf_puts(out, "COMPREPLY=()"); // nobody but the user knows
    }
    cs_buf_puts(out, "; return ;;\n");
}

static void bash_values(const struct cs_command *cmd, const char *path, struct cs_buf *out) {
    bool root = !*cli_below(path);
    for (size_t i = 0; i < cmd->opt_count; i++) {
        const struct cs_opt *opt = &cmd->opts[i];
        if (opt->kind == CS_OPT_FLAG || !shown(opt))
            continue;
        // Global options are completed everywhere.
        if (root)
            cs_buf_printf(out, "        *:--%s) ", opt->name);
        else
            cs_buf_printf(out, "        \"%s:--%s\") ", cli_below(path), opt->name);
        bash_value(opt, out);
    }
}

static void put_keys(const struct cs_settings_table *settings, struct cs_buf *out) {
    for (size_t i = 0; settings && i < settings->row_count; i++) {
        const struct cs_setting *row = &settings->rows[i];
        if (row->type != CS_SETTING_TYPE_MAP && !(row->flags & CS_SETTING_HIDDEN))
            cs_buf_printf(out, "%s= ", row->key);
    }
}

static void put_bash(const struct cs_command *root, const char *fn, struct cs_buf *out) {
    cs_buf_printf(out, "_%s() {\n", fn);
    cs_buf_puts(out, "    local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
                     "    local path=\"\" words=\"\" opts=\"\" files=\"\" keys=\"");
    put_keys(root->settings, out);
    cs_buf_puts(out, "\"\n    local valued=\" ");
    cli_each_command(root, root->name, bash_valued, out);
    cs_buf_puts(out, "\" i w\n    COMPREPLY=()\n"
                     "    # Readline takes --name=value apart.\n"
                     "    if [[ $cur == = ]]; then cur=\"\"\n"
                     "    elif [[ $prev == = ]]; then prev=\"${COMP_WORDS[COMP_CWORD-2]}\"; fi\n"
                     "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                     "        w=\"${COMP_WORDS[i]}\"\n"
                     "        if [[ $valued == *\" $w \"* ]]; then\n"
                     "            i=$((i + 1))\n"
                     "            if [[ ${COMP_WORDS[i]} == = ]]; then i=$((i + 1)); fi\n"
                     "            continue\n"
                     "        fi\n"
                     "        case \"$path $w\" in\n");
    cli_each_command(root, root->name, bash_walk, out);
    cs_buf_puts(out, "        esac\n    done\n    case \"$path:$prev\" in\n");
    cli_each_command(root, root->name, bash_values, out);
    cs_buf_puts(out, "    esac\n    case \"$path\" in\n");
    cli_each_command(root, root->name, bash_words, out);
    cs_buf_puts(out,
                "    esac\n    if [[ $cur == -* ]]; then\n        COMPREPLY=($(compgen -W \"$opts --help");
    for (size_t i = 0; i < root->opt_count; i++) {
        if (shown(&root->opts[i]))
            cs_buf_printf(out, " --%s", root->opts[i].name);
    }
    cs_buf_puts(out, "\" -- \"$cur\"))\n    elif [[ -n $files ]]; then\n"
                     "        COMPREPLY=($(compgen -f -- \"$cur\"))\n    else\n"
                     "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n    fi\n}\n");
    cs_buf_printf(out, "complete -o filenames -F _%s %s\n", fn, root->name);
}

// --- fish

// A single-quoted word of fish: only \ and ' are special there.
static void put_fish_text(const char *text, struct cs_buf *out) {
    cs_buf_putc(out, '\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            cs_buf_putc(out, '\\');
        cs_buf_putc(out, *text);
    }
    cs_buf_putc(out, '\'');
}

// The part that says where: the words before this one are exactly this path, apart from options.
static void put_fish_line(const char *path, bool everywhere, struct cs_buf *out) {
    size_t len = strcspn(path, " ");
    cs_buf_printf(out, "complete -c %.*s", (int)len, path);
    if (!everywhere)
        cs_buf_printf(out, " -n \"__%.*s_at '%s'\"", (int)len, path,
                      *cli_below(path) ? cli_below(path) + 1 : "");
}

static void fish_option(const struct cs_opt *opt, const char *path, bool everywhere, struct cs_buf *out) {
    if (!shown(opt))
        return;
    put_fish_line(path, everywhere, out);
    cs_buf_printf(out, " -l %s", opt->name);
    if (opt->letter)
        cs_buf_printf(out, " -s %c", opt->letter);
    if (opt->kind != CS_OPT_FLAG)
        cs_buf_puts(out, opt->kind == CS_OPT_PATH ? " -r -F" : " -x");
    if (opt->kind == CS_OPT_CHOICE) {
        cs_buf_puts(out, " -a '");
        for (size_t c = 0; opt->choices[c]; c++)
            cs_buf_printf(out, "%s%s", c ? " " : "", opt->choices[c]);
        cs_buf_putc(out, '\'');
    }
    if (opt->kind == CS_OPT_SET)
        cs_buf_puts(out, " -a \"$keys\"");
    cs_buf_puts(out, " -d ");
    put_fish_text(opt->text, out);
    cs_buf_putc(out, '\n');
}

static void fish_command(const struct cs_command *cmd, const char *path, struct cs_buf *out) {
    bool root = !*cli_below(path);
    for (size_t i = 0; i < cmd->command_count; i++) {
        if (cmd->commands[i].hidden)
            continue;
        put_fish_line(path, false, out);
        cs_buf_printf(out, " -a %s -d ", cmd->commands[i].name);
        put_fish_text(cmd->commands[i].summary, out);
        cs_buf_putc(out, '\n');
    }
    if (takes_files(cmd)) {
        put_fish_line(path, false, out);
        cs_buf_puts(out, " -F\n");
    }
    for (size_t i = 0; i < cmd->opt_count; i++)
        fish_option(&cmd->opts[i], path, root, out);
}

static void fish_case(const struct cs_command *cmd, const char *path, struct cs_buf *out) {
    (void)cmd;
    if (*cli_below(path))
        cs_buf_printf(out, " '%s'", cli_below(path) + 1);
}

static void put_fish(const struct cs_command *root, struct cs_buf *out) {
    cs_buf_printf(out, "function __%s_at -d 'Whether the commands typed so far are exactly these'\n",
                  root->name);
    cs_buf_puts(out, "    set -l words (commandline -opc)\n    set -l at\n    set -l skip 0\n"
                     "    for w in $words[2..-1]\n"
                     "        if test $skip = 1\n            set skip 0\n            continue\n        end\n"
                     "        if contains -- $w ");
    cli_each_command(root, root->name, bash_valued, out);
    cs_buf_puts(out, "\n            set skip 1\n            continue\n        end\n"
                     "        set -l next (string join ' ' $at $w)\n"
                     "        if contains -- $next");
    cli_each_command(root, root->name, fish_case, out);
    cs_buf_puts(out,
                "\n            set at $next\n        end\n    end\n    test \"$at\" = \"$argv[1]\"\nend\n"
                "set -l keys '");
    put_keys(root->settings, out);
    cs_buf_printf(out, "'\ncomplete -c %s -f\n", root->name);
    cli_each_command(root, root->name, fish_command, out);
}

void cs_cli_completion(const struct cs_command *root, enum cs_shell shell, FILE *out) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, CLI_DOC_MAX);
    char fn[64];
    snprintf(fn, sizeof fn, "%s", root->name);
    for (char *p = fn; *p; p++)
        *p = *p == '-' ? '_' : *p;
    switch (shell) {
    case CS_SHELL_ZSH: // zsh can run bash's
        cs_buf_printf(&b, "#compdef %s\nautoload -U +X bashcompinit && bashcompinit\n", root->name);
        put_bash(root, fn, &b);
        break;
    case CS_SHELL_BASH:
        cs_buf_printf(&b, "# bash completion for %s\n", root->name);
        put_bash(root, fn, &b);
        break;
    case CS_SHELL_FISH:
        put_fish(root, &b);
        break;
    }
    cli_write_out(&b, out);
}
