// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/pem.h"
#include "commands/submit.h"

struct update {
    const char *which;
    const char *name;
    struct cs_cli_list tags;
    bool no_tags;
    const char *contact;
    const char *note;
    const char *chain;
    const char *sign_chain;
    const char *encrypt_chain;
};

static const struct cs_opt opts[] = {
    {.name = "name",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct update, name),
     .value_name = "NEW",
     .text = "The name that it has from now on. Its id stays."},
    {.name = "tag",
     .kind = CS_OPT_LIST,
     CS_OPT_AT_LIST(struct update, tags),
     .value_name = "TAG",
     .text = "Its tags from now on; may be given up to 16 times."},
    {.name = "no-tags",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct update, no_tags),
     .text = "It has no tags from now on."},
    {.name = "contact",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct update, contact),
     .value_name = "TEXT",
     .text = "Who answers for it, at most 128 bytes; \"\" takes it away."},
    {.name = "note",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct update, note),
     .value_name = "TEXT",
     .text = "What others should know of it, at most 256 bytes; \"\" takes it away."},
    {.name = "chain",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct update, chain),
     .value_name = "FILE",
     .text = "Its CA certificates (PEM), in any order, instead of those that are there. The certificate "
             "itself may be in the file. \"-\" is standard input."},
    {.name = "sign-chain",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct update, sign_chain),
     .value_name = "FILE",
     .text = "sm2: the same, of the signing certificate."},
    {.name = "encrypt-chain",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct update, encrypt_chain),
     .value_name = "FILE",
     .text = "sm2: the same, of the encryption certificate."},
};
static const struct cs_arg args[] = {
    {.name = "NAME|ID", CS_OPT_AT_STR(struct update, which), .text = "The certificate."},
};

// The chains that are given, with the leaves that they belong to.
struct chains {
    struct cs_input files[2];
    size_t n;
    char *leaves[2]; // PEM
};
static void chains_clear(struct chains *c) {
    for (size_t i = 0; i < CS_ARRAY_LEN(c->leaves); i++)
        free(c->leaves[i]);
    for (size_t i = 0; i < c->n; i++)
        cs_input_clear(&c->files[i]);
}
CS_DEFINE_AUTO_CLEAR(struct chains, chains_clear)

static const char *fault(const struct update *o) {
    bool pair = o->sign_chain || o->encrypt_chain;
    if (!o->name && o->tags.count == 0 && !o->no_tags && !o->contact && !o->note && !o->chain && !pair)
        return "say what is to change: --name, --tag, --no-tags, --contact, --note or --chain";
    if (o->no_tags && o->tags.count > 0)
        return "--tag and --no-tags do not go together";
    if (o->chain && pair)
        return "--chain is not for sm2: use --sign-chain and --encrypt-chain";
    if (pair && !(o->sign_chain && o->encrypt_chain))
        return "--sign-chain and --encrypt-chain belong together";
    if (pair && strcmp(o->sign_chain, "-") == 0 && strcmp(o->encrypt_chain, "-") == 0)
        return "\"-\" (standard input) can be only one of the files";
    return NULL;
}

static bool leaf_pem(const char *base64, char **ret, struct cs_err *err) {
    size_t len = strlen(base64), der_len;
    uint8_t *der = malloc(cs_base64_decoded_max(len) + 1);
    if (!der)
        return cs_err_oom(err);
    bool ok = cs_base64_decode(base64, len, der, &der_len) ||
              cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the API's answer holds no certificate");
    ok = ok && cs_pem_encode("CERTIFICATE", (struct cs_bytes){der, der_len}, ret, err);
    free(der);
    return ok;
}

// The leaves of the version that the catalog holds.
static bool get_leaves(struct cs_session *s, const char *id, struct chains *c, size_t parts,
                       struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    json_t *item = NULL;
    if (!s->settings->api_url[0])
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "only the API knows which certificate the chain belongs to: set api.url "
                          "(CERTSYNC_API_URL)");
    cs_buf_init(&path, 4096);
    cs_client_put_account(&path, s->account, "/certificates");
    cs_client_put_segment(&path, id);
    if (!cs_buf_ok(&path, err) || !cs_session_client(s, err) ||
        !cs_client_get(s->client, (const char *)path.data, 0, &item, err))
        return false;
    const json_t *all = json_object_get(item, "chain");
    bool ok = true;
    if (json_array_size(all) != parts)
        ok = cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s",
                        parts == 2 ? "it is no sm2 certificate: use --chain"
                                   : "it is an sm2 certificate: use --sign-chain and --encrypt-chain");
    for (size_t i = 0; ok && i < parts; i++) {
        const char *leaf = json_string_value(json_array_get(json_array_get(all, i), 0));
        ok = leaf_pem(leaf ? leaf : "", &c->leaves[i], err);
    }
    json_decref(item);
    return ok;
}

static bool take_chains(struct cs_session *s, const struct update *o, const char *id, struct chains *c,
                        struct cs_update_source *src, struct cs_err *err) {
    const char *files[2] = {o->chain ? o->chain : o->sign_chain, o->encrypt_chain};
    src->parts = files[0] ? 1 + (files[1] != NULL) : 0;
    for (size_t i = 0; i < src->parts; i++, c->n++)
        if (!cs_input_read(files[i], CS_INPUT_STDIN, &c->files[i], err))
            return false;
    if (src->parts > 0 && !get_leaves(s, id, c, src->parts, err))
        return false;
    for (size_t i = 0; i < src->parts; i++) {
        struct cs_bytes leaf = {(const uint8_t *)c->leaves[i], strlen(c->leaves[i])};
        src->part[i].cert = (struct cs_source_text){"the certificate in the catalog", leaf};
        src->part[i].chain = (struct cs_source_text){c->files[i].label, c->files[i].bytes};
    }
    return true;
}

static int run(const struct cs_cli *cli) {
    const struct update *o = cli->values;
    struct cs_err err;
    const char *wrong = fault(o);
    if (wrong)
        return cs_cli_usage_error(cli, "%s", wrong);
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    CS_AUTO(chains_clear) struct chains chains = {0};
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT | CS_NEED_LOG, &s, &err))
        return cs_report_failure(cli, &err);
    cs_uuid id;
    if (!cs_session_certificate_id(&s, o->which, NULL, id, &err))
        return cs_report_api_failure(cli, &err);
    struct cs_update_source src = {.name = o->name,
                                   .contact = o->contact,
                                   .note = o->note,
                                   .has_tags = o->no_tags || o->tags.count > 0,
                                   .tags = o->tags.items,
                                   .tags_len = o->tags.count};
    if (!take_chains(&s, o, id, &chains, &src, &err))
        return cs_report_api_failure(cli, &err);
    struct cs_compose compose = cs_session_compose(&s);
    struct cs_composed *event;
    if (!cs_compose_update(&compose, id, &src, &event, &err))
        return cs_report_failure(cli, &err);
    char what[220];
    snprintf(what, sizeof what, "update of \"%s\"", cs_shown(o->which));
    return cs_submit(&s, event, what);
}

const struct cs_command cs_cmd_update = {
    .name = "update",
    .summary = "Change a certificate's name, tags, contact, note or chain, without a new version",
    .description =
        "What is not named stays as it is. Id, version, key and shares stay in any case. Accounts that it is "
        "shared with get the new name, tags and chain; contact and note are for the own account only.\n\n"
        "A key whose pattern does not cover both names cannot rename.",
    .examples = "certsync update www --name shop\n"
                "certsync update www --tag env=prod --tag team:web\n"
                "certsync update www --contact web@example.com --note \"until the old shop is gone\"\n"
                "certsync update www --chain intermediate.pem\n"
                "certsync update www --no-tags --note \"\"\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct update),
    .run = run,
};
