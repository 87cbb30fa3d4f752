// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/cert.h"
#include "certsync/model/pem.h"
#include "certsync/model/sign.h"
#include "certsync/runtime/table.h"
#include "event/session.h"

struct keys {
    const char *name;
    bool all;
    const char *custodian_key;
};

static const struct cs_opt opts[] = {
    {.name = "custodian-key",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct keys, custodian_key),
     .value_name = "FILE",
     .flags = CS_OPT_REQUIRED,
     .text = "The custodian's private key (X25519), which opens sealed keys."},
    {.name = "all",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct keys, all),
     .text = "Every certificate of the account."},
};
static const struct cs_arg args[] = {
    {.name = "NAME|ID", CS_OPT_AT_STR(struct keys, name), .optional = true, .text = "The certificate."},
};

struct check {
    struct cs_session *session;
    const struct cs_privkey *custodian;
    size_t good, bad;
    struct cs_table *table;
    json_t *results; // array, with --json
};

static bool decode(const char *base64, uint8_t **ret, size_t *ret_len, struct cs_err *err) {
    size_t len = strlen(base64);
    uint8_t *out = malloc(cs_base64_decoded_max(len) + 1);
    if (!out)
        return cs_err_oom(err);
    if (!cs_base64_decode(base64, len, out, ret_len)) {
        free(out);
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_KEY_MALFORMED, "the API's answer is not base64");
    }
    *ret = out;
    return true;
}

static bool parse_role(const char *text, enum cs_key_role *ret) {
    for (int r = CS_ROLE_SINGLE; r <= CS_ROLE_SM2_ENCRYPT; r++) {
        if (strcmp(text, cs_key_role_name((enum cs_key_role)r)) == 0) {
            *ret = (enum cs_key_role)r;
            return true;
        }
    }
    return false;
}

// Opens the sealed key and lets it sign; the leaf's public key verifies that. To compare public
// halves would not find a forged one.
static bool check_key(const struct check *c, const json_t *part, const struct cs_cert *leaf,
                      struct cs_bytes sealed, struct cs_err *err) {
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    enum cs_key_role role;
    uint8_t pop[CS_POP_MAX];
    size_t pop_len;
    if (!parse_role(cs_member_text(part, "role"), &role))
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_KEY_MALFORMED, "the role \"%s\" is not known",
                          cs_told(cs_member_text(part, "role")));
    struct cs_seal_context ctx = {c->session->log_id, c->session->account,
                                  cs_member_text(part, "key_subject"), role, leaf->spki_sha256};
    struct cs_pop_fields fields = {.log_id = c->session->log_id,
                                   .account = c->session->account,
                                   .kid = c->session->kid,
                                   .event_id = "",
                                   .subject = ctx.subject,
                                   .sealed_key = sealed,
                                   .leaf_sha256 = leaf->sha256};
    return cs_unseal(c->session->crypto, c->custodian, &ctx, sealed, &key, err) &&
           cs_pop_sign(c->session->crypto, key, leaf->key, &fields, pop, &pop_len, err);
}

static bool check_part(const struct check *c, const json_t *part, struct cs_err *err) {
    uint8_t *leaf_der = NULL, *sealed = NULL;
    size_t leaf_len, sealed_len;
    CS_AUTO(cs_cert_free) struct cs_cert *leaf = NULL;
    bool ok = decode(cs_member_text(part, "leaf"), &leaf_der, &leaf_len, err) &&
              decode(cs_member_text(part, "key"), &sealed, &sealed_len, err) &&
              cs_cert_parse(c->session->crypto, (struct cs_bytes){leaf_der, leaf_len}, &leaf, err) &&
              check_key(c, part, leaf, (struct cs_bytes){sealed, sealed_len}, err);
    free(leaf_der);
    free(sealed);
    return ok;
}

static void note(struct check *c, const char *name, const char *role, bool ok, const struct cs_err *err) {
    if (ok)
        c->good++;
    else
        c->bad++;
    const char *code = ok || err->code == CS_CODE_NONE ? "" : cs_code_name(err->code);
    if (c->results) {
        json_array_append_new(c->results,
                              json_pack("{s:s, s:s, s:b, s:s, s:s}", "certificate", name, "role", role,
                                        "fits", ok, "code", code, "message", ok ? "" : err->msg));
        return;
    }
    cs_table_cell(c->table, name);
    cs_table_cell(c->table, role);
    cs_table_cell(c->table, ok ? "fits" : "DOES NOT FIT");
    cs_table_cell(c->table, ok ? "" : err->msg);
}

static bool check_certificate(struct check *c, const char *name_or_id, const char *shown_name,
                              struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    cs_buf_init(&path, 4096);
    cs_client_put_account(&path, c->session->account, "/certificates");
    cs_client_put_segment(&path, name_or_id);
    cs_buf_puts(&path, "/sealed-key");
    json_t *answer;
    if (!cs_buf_ok(&path, err) ||
        !cs_client_get(c->session->client, (const char *)path.data, 0, &answer, err))
        return false;
    size_t i;
    const json_t *part;
    json_array_foreach(json_object_get(answer, "parts"), i, part) {
        struct cs_err why;
        bool ok = check_part(c, part, &why);
        note(c, shown_name, cs_member_text(part, "role"), ok, &why);
    }
    json_decref(answer);
    return true;
}

static bool check_all(struct check *c, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    json_auto_t *all = json_array();
    size_t i;
    const json_t *item;
    cs_buf_init(&path, 4096);
    cs_client_put_account(&path, c->session->account, "/certificates");
    if (!cs_buf_ok(&path, err) ||
        !cs_client_get_list(c->session->client, (const char *)path.data, "certificates", all, err))
        return false;
    json_array_foreach(all, i, item) {
        if (strcmp(cs_member_text(item, "source"), cs_source_name(CS_SOURCE_SHARED)) == 0 ||
            cs_member_text(item, "owner_account")[0])
            continue; // the owner's account has the key
        if (!check_certificate(c, cs_member_text(item, "id"), cs_member_text(item, "name"), err))
            return false;
    }
    return true;
}

static bool read_custodian(struct cs_session *s, const char *path, struct cs_privkey **ret,
                           struct cs_err *err) {
    CS_AUTO(cs_input_clear) struct cs_input in = {0};
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    if (!cs_input_read(path, CS_INPUT_STDIN | CS_INPUT_PRIVATE, &in, err) ||
        !cs_pem_privkey(s->crypto, in.label, in.bytes, &key, err))
        return false;
    if (cs_privkey_type(key) != CS_KEY_X25519)
        return cs_err_set(
            err, CS_ERR_CONFIG, CS_CODE_NONE,
            "%s: this key is %s; a custodian's key is X25519 (certsync keygen --type custodian)", path,
            cs_key_type_name(cs_privkey_type(key)));
    *ret = CS_TAKE(key);
    return true;
}

static int print_results(struct check *c, const struct cs_cli *cli) {
    int code = c->bad ? CS_EXIT_REJECTED : CS_EXIT_OK;
    if (c->results) {
        cs_report_json(cli, json_pack("{s:O, s:i, s:i, s:i}", "keys", c->results, "fit", (int)c->good,
                                      "do_not_fit", (int)c->bad, "exit", code));
        return code;
    }
    if (cs_table_rows(c->table) > 0 && !cs_table_print(c->table, cli->out))
        return CS_EXIT_USAGE;
    fprintf(cli->out, "%zu sealed keys fit their certificates, %zu do not\n", c->good, c->bad);
    return code;
}

static int run(const struct cs_cli *cli) {
    const struct keys *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    CS_AUTO(cs_privkey_free) struct cs_privkey *custodian = NULL;
    if (!o->name == !o->all)
        return cs_cli_usage_error(cli, "give a certificate, or --all");
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT | CS_NEED_LOG, &s, &err) ||
        !read_custodian(&s, o->custodian_key, &custodian, &err))
        return cs_report_failure(cli, &err);
    CS_AUTO(cs_table_free)
    struct cs_table *table = cs_table_new((const char *const[]){"CERTIFICATE", "ROLE", "KEY", "WHY", NULL});
    struct check c = {.session = &s,
                      .custodian = custodian,
                      .table = table,
                      .results = s.globals->json ? json_array() : NULL};
    bool ok = cs_session_client(&s, &err) &&
              (o->all ? check_all(&c, &err) : check_certificate(&c, o->name, o->name, &err));
    int code = ok ? print_results(&c, cli) : cs_report_api_failure(cli, &err);
    json_decref(c.results);
    return code;
}

static const struct cs_command commands[] = {
    {.name = "check",
     .summary = "Open sealed keys and say whether they fit their certificates",
     .description = "The custodian's side: fetches the sealed key from the API, opens it with the "
                    "custodian's key, and has it sign something that "
                    "the certificate's public key must verify. No key is written anywhere. The token's key "
                    "(--key) must be trusted as custodian.",
     .examples =
         "certsync --key custodian-token.key keys check www --account acme --custodian-key custodian.key\n"
         "certsync --key custodian-token.key keys check --all --account acme --custodian-key custodian.key\n",
     .opts = opts,
     .opt_count = CS_ARRAY_LEN(opts),
     .args = args,
     .arg_count = CS_ARRAY_LEN(args),
     .values_size = sizeof(struct keys),
     .run = run},
};

const struct cs_command cs_cmd_keys = {
    .name = "keys",
    .summary = "The custodian's side: sealed keys",
    .commands = commands,
    .command_count = CS_ARRAY_LEN(commands),
};
