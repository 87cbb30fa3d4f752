// SPDX-License-Identifier: Apache-2.0
#include "commands/certificate_submit.h"

#include <stdio.h>
#include <string.h>

#include "commands/submit.h"
#include "event/host_policy.h"

#define FILES_MAX 6

const char *const cs_algorithm_choices[] = {"international", "sm2", NULL};

static bool is_sm2(const struct cs_certificate_args *a) {
    return a->algorithm == 1;
}

static bool given(const char *option) {
    return option != NULL;
}

// The usage error of the first invalid combination, or NULL.
static const char *fault(const struct cs_certificate_args *a) {
    bool any_sm2 = given(a->sign_cert) || given(a->sign_key) || given(a->sign_chain) ||
                   given(a->encrypt_cert) || given(a->encrypt_key) || given(a->encrypt_chain);
    bool any_single = given(a->cert) || given(a->key_file) || given(a->chain);
    if (a->force && !a->replace)
        return "--force only means something with --replace";
    if (is_sm2(a)) {
        if (any_single || a->csr)
            return "--cert, --key-file, --chain and --csr are not for --algorithm sm2: use --sign-cert, "
                   "--sign-key, --encrypt-cert, --encrypt-key";
        if (!a->sign_cert || !a->encrypt_cert)
            return "--algorithm sm2 needs --sign-cert and --encrypt-cert";
        return NULL;
    }
    if (any_sm2)
        return "--sign-… and --encrypt-… are for --algorithm sm2";
    if (!a->cert)
        return "--cert FILE is missing";
    return NULL;
}

static size_t count_stdin(const struct cs_certificate_args *a) {
    const char *files[] = {a->cert,       a->key_file,     a->chain,       a->sign_cert,    a->sign_key,
                           a->sign_chain, a->encrypt_cert, a->encrypt_key, a->encrypt_chain};
    size_t n = 0;
    for (size_t i = 0; i < CS_ARRAY_LEN(files); i++)
        n += files[i] && strcmp(files[i], "-") == 0;
    return n;
}

struct files {
    struct cs_input inputs[FILES_MAX];
    size_t n;
};
static void files_clear(struct files *f) {
    for (size_t i = 0; i < f->n; i++)
        cs_input_clear(&f->inputs[i]);
}
CS_DEFINE_AUTO_CLEAR(struct files, files_clear)

static bool read_file(struct files *f, const char *path, struct cs_source_text *ret, struct cs_err *err) {
    if (!path)
        return true;
    struct cs_input *in = &f->inputs[f->n];
    if (!cs_input_read(path, CS_INPUT_STDIN, in, err))
        return false;
    f->n++;
    *ret = (struct cs_source_text){in->label, in->bytes};
    return true;
}

static bool read_part(struct files *f, const char *cert, const char *key, const char *chain,
                      struct cs_keyed_source *ret, struct cs_err *err) {
    return read_file(f, cert, &ret->cert, err) && read_file(f, key, &ret->key, err) &&
           read_file(f, chain, &ret->chain, err);
}

static bool read_files(struct files *f, const struct cs_certificate_args *a, struct cs_upload_source *src,
                       struct cs_err *err) {
    if (!is_sm2(a))
        return read_part(f, a->cert, a->key_file, a->chain, &src->part[0], err);
    return read_part(f, a->sign_cert, a->sign_key, a->sign_chain, &src->part[0], err) &&
           read_part(f, a->encrypt_cert, a->encrypt_key, a->encrypt_chain, &src->part[1], err);
}

int cs_certificate_submit(const struct cs_cli *cli, const struct cs_certificate_args *a,
                          enum cs_source source) {
    struct cs_err err;
    const char *wrong = fault(a);
    if (wrong)
        return cs_cli_usage_error(cli, "%s", wrong);
    if (count_stdin(a) > 1)
        return cs_cli_usage_error(cli, "\"-\" (standard input) can be only one of the files");
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    unsigned custodian = a->csr ? 0 : CS_NEED_CUSTODIAN;
    CS_AUTO(files_clear) struct files files = {0};
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT | custodian | CS_NEED_LOG, &s, &err))
        return cs_report_failure(cli, &err);
    struct cs_upload_source src = {
        .type = source == CS_SOURCE_UPLOADED ? CS_EVENT_CERTIFICATE_UPLOAD : CS_EVENT_CERTIFICATE_ISSUE,
        .source = source,
        .name = a->name,
        .algorithm = is_sm2(a) ? CS_ALGORITHM_SM2 : CS_ALGORITHM_INTERNATIONAL,
        .replace = a->replace,
        .force = a->force,
        .strict = a->strict,
        .tags = a->tags.items,
        .tags_len = a->tags.count,
        .parts = is_sm2(a) ? 2 : 1,
    };
    src.part[0].csr = a->csr;
    if (!read_files(&files, a, &src, &err))
        return cs_report_failure(cli, &err);
    if (a->csr && a->key_file) {
        cs_err_reject(&err, CS_CODE_KEY_MANY);
        return cs_report_failure(cli, &err);
    }
    struct cs_compose compose = cs_session_compose(&s);
    struct cs_composed *event;
    if (!cs_compose_upload(&compose, &src, &event, &err))
        return cs_report_failure(cli, &err);
    files_clear(&files); // no key stays in memory while we wait for the network
    files.n = 0;
    if (!cs_host_policy_admits(&s, event, &err)) {
        cs_composed_free(event);
        return cs_report_failure(cli, &err);
    }
    char what[220];
    snprintf(what, sizeof what, "%s of \"%s\"", source == CS_SOURCE_UPLOADED ? "upload" : "issue", a->name);
    return cs_submit(&s, event, what);
}
