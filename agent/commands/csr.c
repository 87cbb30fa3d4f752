// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/model/pem.h"
#include "certsync/runtime/fileio.h"
#include "certsync/runtime/table.h"
#include "commands/submit.h"
#include "event/host_policy.h"

struct csr {
    const char *name;
    const char *subject;
    struct cs_cli_list dns;
    int64_t key_type;
    const char *out;
    const char *key_out;
    const char *csr_file;
    const char *key_file;
};

// --- create --------------------------------------------------------------------------------------

static const char *const key_types[] = {"p256",    "p384",    "p521",    "ed25519",
                                        "rsa2048", "rsa3072", "rsa4096", NULL};
static const struct {
    enum cs_key_type type;
    int bits;
} key_type_values[] = {{CS_KEY_P256, 0},   {CS_KEY_P384, 0},   {CS_KEY_P521, 0},  {CS_KEY_ED25519, 0},
                       {CS_KEY_RSA, 2048}, {CS_KEY_RSA, 3072}, {CS_KEY_RSA, 4096}};

static const struct cs_opt create_opts[] = {
    {.name = "subject",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct csr, subject),
     .value_name = "SUBJECT",
     .flags = CS_OPT_REQUIRED,
     .text =
         "As /C=CN/O=Example/CN=www.example.com, as CN=www.example.com,O=Example,C=CN, or just the common "
         "name."},
    {.name = "dns",
     .kind = CS_OPT_LIST,
     CS_OPT_AT_LIST(struct csr, dns),
     .value_name = "NAME",
     .text =
         "A DNS name or IP address for the certificate; may be given several times. The common name, where "
         "it is one and none is given."},
    {.name = "key-type",
     .kind = CS_OPT_CHOICE,
     CS_OPT_AT_INT(struct csr, key_type),
     .value_name = "TYPE",
     .default_text = "p256",
     .choices = key_types,
     .text = "Kind of the new key."},
    {.name = "out",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct csr, out),
     .value_name = "FILE",
     .flags = CS_OPT_REQUIRED,
     .text = "Where the request goes (PEM), to be sent to the CA."},
    {.name = "key-out",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct csr, key_out),
     .value_name = "FILE",
     .text = "Keep the private key on this host as well (mode 0600); otherwise only the custodian has it."},
};
static const struct cs_arg name_args[] = {
    {.name = "NAME", CS_OPT_AT_STR(struct csr, name), .text = "Name of the request in the account."},
};

static bool write_key(const char *path, const struct cs_privkey *key, struct cs_err *err) {
    uint8_t *pem;
    size_t len;
    if (!cs_privkey_to_pem(key, &pem, &len, err))
        return false;
    bool ok = cs_file_create(path, (struct cs_bytes){pem, len}, 0600, err);
    cs_secure_free(pem, len);
    return ok;
}

static bool make_request(struct cs_session *s, const struct csr *o, struct cs_privkey **ret_key,
                         struct cs_csr **ret_csr, struct cs_err *err) {
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    uint8_t *der;
    size_t len;
    if (!cs_privkey_generate(key_type_values[o->key_type].type, key_type_values[o->key_type].bits, &key,
                             err) ||
        !cs_csr_create(s->crypto, key, o->subject, o->dns.items, o->dns.count, &der, &len, err))
        return false;
    bool ok = cs_csr_parse(s->crypto, (struct cs_bytes){der, len}, ret_csr, err);
    free(der);
    if (ok)
        *ret_key = CS_TAKE(key);
    return ok;
}

// The files come first: a request in the catalog that nobody has is of no use.
static bool write_files(const struct csr *o, const struct cs_csr *csr, const struct cs_privkey *key,
                        struct cs_err *err) {
    char *pem;
    if (o->key_out && !write_key(o->key_out, key, err))
        return false;
    if (!cs_pem_encode("CERTIFICATE REQUEST", csr->der, &pem, err))
        return false;
    bool ok = cs_file_create(o->out, (struct cs_bytes){(uint8_t *)pem, strlen(pem)}, 0644, err);
    free(pem);
    return ok;
}

static int run_create(const struct cs_cli *cli) {
    const struct csr *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    struct cs_csr *csr;
    struct cs_composed *event;
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT | CS_NEED_CUSTODIAN | CS_NEED_LOG, &s, &err) ||
        !make_request(&s, o, &key, &csr, &err))
        return cs_report_failure(cli, &err);
    struct cs_compose compose = cs_session_compose(&s);
    if (!cs_compose_csr_key(&compose, o->name, csr, key, &event, &err))
        return cs_report_failure(cli, &err);
    if (!cs_host_policy_admits(&s, event, &err) ||
        (!s.globals->dry_run && !write_files(o, event->csr, key, &err))) {
        cs_composed_free(event);
        return cs_report_failure(cli, &err);
    }
    char what[220];
    snprintf(what, sizeof what, "request \"%s\"", o->name);
    return cs_submit(&s, event, what);
}

// --- add -----------------------------------------------------------------------------------------

static const struct cs_opt add_opts[] = {
    {.name = "csr-file",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct csr, csr_file),
     .value_name = "FILE",
     .flags = CS_OPT_REQUIRED,
     .text = "The request (PEM)."},
    {.name = "key-file",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct csr, key_file),
     .value_name = "FILE",
     .flags = CS_OPT_REQUIRED,
     .text = "Its private key (PEM)."},
};

static int run_add(const struct cs_cli *cli) {
    const struct csr *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    CS_AUTO(cs_input_clear) struct cs_input csr = {0};
    CS_AUTO(cs_input_clear) struct cs_input key = {0};
    struct cs_composed *event;
    if (strcmp(o->csr_file, "-") == 0 && strcmp(o->key_file, "-") == 0)
        return cs_cli_usage_error(cli, "\"-\" (standard input) can be only one of the files");
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT | CS_NEED_CUSTODIAN | CS_NEED_LOG, &s, &err) ||
        !cs_input_read(o->csr_file, CS_INPUT_STDIN, &csr, &err) ||
        !cs_input_read(o->key_file, CS_INPUT_STDIN, &key, &err))
        return cs_report_failure(cli, &err);
    struct cs_compose compose = cs_session_compose(&s);
    struct cs_source_text csr_text = {csr.label, csr.bytes}, key_text = {key.label, key.bytes};
    if (!cs_compose_csr(&compose, o->name, &csr_text, &key_text, &event, &err))
        return cs_report_failure(cli, &err);
    cs_input_clear(&key);
    if (!cs_host_policy_admits(&s, event, &err)) {
        cs_composed_free(event);
        return cs_report_failure(cli, &err);
    }
    char what[220];
    snprintf(what, sizeof what, "request \"%s\"", o->name);
    return cs_submit(&s, event, what);
}

// --- list, show and delete -----------------------------------------------------------------------

// All requests whose name begins so, appended to all.
static bool get_csrs(struct cs_session *s, const char *prefix, json_t *all, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    cs_buf_init(&path, 1024);
    cs_client_put_account(&path, s->account, "/csrs");
    cs_client_put_query(&path, "name", prefix);
    return cs_buf_ok(&path, err) && cs_session_client(s, err) &&
           cs_client_get_list(s->client, (const char *)path.data, "csrs", all, err);
}

// "www, version 2", or "".
static void used_by(const json_t *item, char *out, size_t size) {
    const json_t *used = json_object_get(item, "used");
    out[0] = '\0';
    if (used)
        snprintf(out, size, "%s, version %" JSON_INTEGER_FORMAT, cs_member_text(used, "name"),
                 json_integer_value(json_object_get(used, "version")));
}

static bool print_list(const struct cs_cli *cli, const json_t *all) {
    CS_AUTO(cs_table_free)
    struct cs_table *t =
        cs_table_new((const char *const[]){"NAME", "KEY", ">BITS", "SUBJECT", "USED BY", "ID", NULL});
    size_t i;
    const json_t *item;
    json_array_foreach(all, i, item) {
        char used[CS_NAME_MAX + 40];
        used_by(item, used, sizeof used);
        cs_table_cell(t, cs_member_text(item, "name"));
        cs_table_cell(t, cs_member_text(item, "key_type"));
        cs_table_cellf(t, "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(item, "key_bits")));
        cs_table_cell(t, cs_member_text(item, "subject"));
        cs_table_cell(t, used);
        cs_table_cell(t, cs_member_text(item, "id"));
    }
    return cs_table_print(t, cli->out);
}

static int run_list(const struct cs_cli *cli) {
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT, &s, &err))
        return cs_report_failure(cli, &err);
    json_t *all = json_array();
    bool ok = get_csrs(&s, "", all, &err), printed = true;
    if (ok && s.globals->json)
        cs_report_json(cli, json_pack("{s:O}", "csrs", all));
    else if (ok)
        printed = print_list(cli, all);
    json_decref(all);
    if (!ok)
        return cs_report_api_failure(cli, &err);
    return printed ? CS_EXIT_OK : CS_EXIT_USAGE;
}

// The request of this name or id; csr.not_found. Names are unique.
static bool get_csr(struct cs_session *s, const char *name_or_id, json_t **ret, struct cs_err *err) {
    bool is_id = cs_uuid_valid(name_or_id, strlen(name_or_id));
    size_t i;
    json_t *item, *all = json_array(), *found = NULL;
    bool ok = (is_id || cs_name_valid(name_or_id, strlen(name_or_id), CS_ALGORITHM_INTERNATIONAL) ||
               cs_err_reject(err, CS_CODE_CSR_NOT_FOUND)) &&
              get_csrs(s, is_id ? "" : name_or_id, all, err);
    json_array_foreach(all, i, item) if (ok && strcmp(cs_member_text(item, is_id ? "id" : "name"),
                                                      name_or_id) == 0) found = item;
    *ret = json_incref(found);
    json_decref(all);
    return ok && (found || cs_err_reject(err, CS_CODE_CSR_NOT_FOUND));
}

static void print_csr(const struct cs_cli *cli, const json_t *item) {
    const json_t *used = json_object_get(item, "used"), *name;
    size_t i;
    fprintf(cli->out, "name      %s\nid        %s\nsubject   %s\nnames     ", cs_member_text(item, "name"),
            cs_member_text(item, "id"), cs_told(cs_member_text(item, "subject")));
    json_array_foreach(json_object_get(item, "names"), i, name)
        fprintf(cli->out, "%s%s", i ? ", " : "", cs_told(json_string_value(name)));
    fprintf(cli->out, "\nkey       %s, %" JSON_INTEGER_FORMAT " bits\ncreated   %s\n",
            cs_member_text(item, "key_type"), json_integer_value(json_object_get(item, "key_bits")),
            cs_member_text(item, "created"));
    if (used)
        fprintf(cli->out, "used by   %s, version %" JSON_INTEGER_FORMAT " (%s), %s\n",
                cs_member_text(used, "name"), json_integer_value(json_object_get(used, "version")),
                cs_member_text(used, "certificate"), cs_member_text(used, "at"));
    else
        fputs("used by   no certificate yet\n", cli->out);
}

static int run_show(const struct cs_cli *cli) {
    const struct csr *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    json_t *item;
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT, &s, &err))
        return cs_report_failure(cli, &err);
    if (!get_csr(&s, o->name, &item, &err))
        return cs_report_api_failure(cli, &err);
    if (s.globals->json) {
        cs_report_json(cli, item);
        return CS_EXIT_OK;
    }
    print_csr(cli, item);
    json_decref(item);
    return CS_EXIT_OK;
}

// An id is taken without asking the API.
static bool csr_id(struct cs_session *s, const char *name_or_id, cs_uuid ret, struct cs_err *err) {
    json_t *item;
    if (cs_uuid_valid(name_or_id, strlen(name_or_id))) {
        memcpy(ret, name_or_id, sizeof(cs_uuid));
        return true;
    }
    if (!get_csr(s, name_or_id, &item, err))
        return false;
    snprintf(ret, sizeof(cs_uuid), "%s", cs_member_text(item, "id"));
    json_decref(item);
    return true;
}

static const struct cs_arg one_args[] = {
    {.name = "NAME|ID", CS_OPT_AT_STR(struct csr, name), .text = "The request."},
};

static int run_delete(const struct cs_cli *cli) {
    const struct csr *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    cs_uuid id;
    struct cs_composed *event;
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT | CS_NEED_LOG, &s, &err))
        return cs_report_failure(cli, &err);
    if (!csr_id(&s, o->name, id, &err))
        return cs_report_api_failure(cli, &err);
    struct cs_compose compose = cs_session_compose(&s);
    if (!cs_compose_event(&compose, CS_EVENT_CSR_DELETE, id, &event, &err))
        return cs_report_failure(cli, &err);
    char what[220];
    snprintf(what, sizeof what, "delete of request \"%s\"", cs_shown(o->name));
    return cs_submit(&s, event, what);
}

static const struct cs_command commands[] = {
    {.name = "create",
     .summary = "Make a key and a request, and add them to the account",
     .description = "The key is sealed to the custodian and travels with the request. When the CA has issued "
                    "the certificate, upload it with "
                    "--csr: it finds its key by itself.",
     .examples = "certsync csr create www --subject /O=Example/CN=www.example.com --dns www.example.com "
                 "--out www.csr\n"
                 "certsync upload www --cert www.pem --csr\n",
     .opts = create_opts,
     .opt_count = CS_ARRAY_LEN(create_opts),
     .args = name_args,
     .arg_count = CS_ARRAY_LEN(name_args),
     .values_size = sizeof(struct csr),
     .run = run_create},
    {.name = "add",
     .summary = "Add a request that was made elsewhere, with its key",
     .examples = "certsync csr add www --csr-file www.csr --key-file www.key\n",
     .opts = add_opts,
     .opt_count = CS_ARRAY_LEN(add_opts),
     .args = name_args,
     .arg_count = CS_ARRAY_LEN(name_args),
     .values_size = sizeof(struct csr),
     .run = run_add},
    {.name = "list",
     .summary = "List the account's requests",
     .values_size = sizeof(struct csr),
     .run = run_list},
    {.name = "show",
     .summary = "Show a request, and which certificate has its key",
     .args = one_args,
     .arg_count = CS_ARRAY_LEN(one_args),
     .values_size = sizeof(struct csr),
     .run = run_show},
    {.name = "delete",
     .summary = "Delete a request",
     .args = one_args,
     .arg_count = CS_ARRAY_LEN(one_args),
     .values_size = sizeof(struct csr),
     .run = run_delete},
};

const struct cs_command cs_cmd_csr = {
    .name = "csr",
    .summary = "Certificate signing requests: create, add, list, show, delete",
    .commands = commands,
    .command_count = CS_ARRAY_LEN(commands),
};
