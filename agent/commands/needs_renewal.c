// SPDX-License-Identifier: Apache-2.0
//
// needs-renewal: for scripts that renew. Arguments and exit codes are those of step certificate
// needs-renewal (smallstep), so that one can stand in for the other: 0 it needs renewal, 1 it does not, 2
// there is no such file, 255 any other failure.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certsync/base/text.h"
#include "certsync/model/pem.h"
#include "event/session.h"

#define NEEDED      0
#define NOT_NEEDED  1
#define NO_FILE     2
#define FAILED      255
#define DEFAULT     "66%"
#define WINDOW_MAX  ((int64_t)100 * 365 * 86400) // seconds
#define PERCENT_MAX 100

struct needs_renewal {
    const char *file;
    const char *expires_in;
    bool bundle;
};

static const struct cs_opt opts[] = {
    {.name = "expires-in",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct needs_renewal, expires_in),
     .value_name = "PERCENT|DURATION",
     .default_text = DEFAULT,
     .text = "It needs renewal once so much of its life is over (75%), or once so little is left (20d, 36h, "
             "1h30m)."},
    {.name = "bundle",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct needs_renewal, bundle),
     .text = "Look at all certificates of the file, not only at the first."},
};
static const struct cs_arg args[] = {
    {.name = "FILE",
     CS_OPT_AT_STR(struct needs_renewal, file),
     .path = true,
     .text = "Certificate (PEM), with its chain or without; - is standard input."},
};

struct window {
    bool is_percent;
    int64_t value; // percent, or seconds
};

static int64_t seconds_of(char unit) {
    switch (unit) {
    case 'd':
        return 86400;
    case 'h':
        return 3600;
    case 'm':
        return 60;
    case 's':
        return 1;
    default:
        return 0;
    }
}

// "75%", or one or more numbers with d, h, m or s.
static bool parse_window(const char *text, struct window *ret) {
    char *end = NULL;
    *ret = (struct window){0};
    if (text[0] < '0' || text[0] > '9')
        return false;
    while (*text) {
        if (*text < '0' || *text > '9')
            return false;
        errno = 0;
        long long n = strtoll(text, &end, 10);
        if (errno != 0 || n > WINDOW_MAX)
            return false;
        if (strcmp(end, "%") == 0 && ret->value == 0) {
            *ret = (struct window){.is_percent = true, .value = n};
            return n <= PERCENT_MAX;
        }
        int64_t unit = seconds_of(*end);
        if (unit == 0 || n > WINDOW_MAX / unit)
            return false;
        ret->value += n * unit;
        text = end + 1;
    }
    return ret->value <= WINDOW_MAX;
}

static bool is_due(const struct cs_cert *cert, const struct window *w, int64_t now_s) {
    int64_t life_s = cert->not_after_s - cert->not_before_s, left_s = cert->not_after_s - now_s;
    if (left_s <= 0)
        return true;
    if (!w->is_percent)
        return left_s < w->value;
    return life_s <= 0 || (double)(life_s - left_s) >= (double)life_s * (double)w->value / 100;
}

static int fail(const struct cs_cli *cli, const char *message) {
    if (cli->json)
        cs_cli_put_failure(cli, "{", FAILED, message);
    else
        fprintf(cli->err, "%s: %s\n", cli->path, message);
    return FAILED;
}

static void tell(const struct cs_cli *cli, const struct cs_cert *cert, bool due, int64_t now_s) {
    const struct cs_globals *g = cli->globals;
    char until[CS_TIME_TEXT_SIZE];
    cs_time_format(cert->not_after_s, until);
    if (cli->json)
        cs_report_json(cli, json_pack("{s:b, s:s, s:s, s:I}", "needs_renewal", due, "subject",
                                      cert->subject_name, "not_after", until, "seconds_left",
                                      (json_int_t)(cert->not_after_s - now_s)));
    else if (!g->quiet)
        fprintf(cli->out, "%s: %s; it is valid until %s\n",
                cert->common_name[0] ? cs_told(cert->common_name) : cs_told(cert->subject_name),
                due ? "needs renewal" : "needs no renewal yet", until);
}

static bool read_certs(const struct needs_renewal *o, struct cs_crypto *c, struct cs_cert ***ret,
                       size_t *ret_n, struct cs_err *err) {
    CS_AUTO(cs_input_clear) struct cs_input in = {0};
    return cs_input_read(o->file, CS_INPUT_STDIN, &in, err) &&
           cs_pem_certs(c, in.label, in.bytes, ret, ret_n, err);
}

static int run(const struct cs_cli *cli) {
    const struct needs_renewal *o = cli->values;
    struct cs_err err;
    struct window window;
    CS_AUTO(cs_crypto_free) struct cs_crypto *c = NULL;
    struct cs_cert **certs = NULL;
    size_t n = 0, shown = 0;
    int64_t now_s = cs_clock_wall_ms(cs_clock_real()) / 1000;
    if (!parse_window(o->expires_in, &window))
        return fail(cli, "--expires-in is no percentage (75%) and no duration (20d, 36h, 1h30m)");
    if (strcmp(o->file, "-") != 0 && access(o->file, F_OK) < 0 && errno == ENOENT) {
        if (!cli->json)
            fprintf(cli->err, "%s: %s: no such file\n", cli->path, cs_quoted(o->file));
        else
            cs_cli_put_failure(cli, "{", NO_FILE, "no such file");
        return NO_FILE;
    }
    if (!cs_crypto_new(&c, &err) || !read_certs(o, c, &certs, &n, &err))
        return fail(cli, err.msg);
    for (size_t i = 1; o->bundle && i < n; i++) // the one that ends first, if none is due
        if (is_due(certs[i], &window, now_s) > is_due(certs[shown], &window, now_s) ||
            certs[i]->not_after_s < certs[shown]->not_after_s)
            shown = i;
    bool due = false;
    for (size_t i = 0; i < (o->bundle ? n : 1); i++)
        due = due || is_due(certs[i], &window, now_s);
    tell(cli, certs[shown], due, now_s);
    cs_certs_free(certs, n);
    return due ? NEEDED : NOT_NEEDED;
}

const struct cs_command cs_cmd_needs_renewal = {
    .name = "needs-renewal",
    .summary = "Whether a certificate file needs to be renewed, for scripts",
    .description =
        "Without --expires-in a certificate needs renewal once 66% of its life are over. It asks nobody, and "
        "needs no settings.\n\n"
        "Exit codes as those of step certificate needs-renewal: 0 it needs renewal; 1 it does not; 2 there "
        "is "
        "no such file, or wrong usage; 255 the file could not be read, or holds no certificate.",
    .examples = "certsync needs-renewal fullchain.pem && certbot renew\n"
                "certsync needs-renewal --expires-in 20d fullchain.pem\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct needs_renewal),
    .run = run,
};
