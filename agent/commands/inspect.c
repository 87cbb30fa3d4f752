// SPDX-License-Identifier: Apache-2.0
//
// inspect: what the rules would say of a certificate, before anything is sent. It makes the event that an
// upload would make, for a custodian that it makes up, and drops it. It asks nobody.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/pem.h"
#include "event/host_policy.h"
#include "event/session.h"

#define FILES_MAX 5

struct inspect {
    const char *cert, *key_file, *chain, *encrypt_cert, *encrypt_key;
    const char *name;
    bool strict, policy;
};

static const struct cs_opt opts[] = {
    {.name = "key-file",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct inspect, key_file),
     .value_name = "FILE",
     .text = "Its private key; without one, the key is not looked at."},
    {.name = "chain",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct inspect, chain),
     .value_name = "FILE",
     .text = "Intermediate certificates, in any order."},
    {.name = "encrypt-cert",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct inspect, encrypt_cert),
     .value_name = "FILE",
     .text = "sm2: the encryption certificate; FILE is the signing one."},
    {.name = "encrypt-key",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct inspect, encrypt_key),
     .value_name = "FILE",
     .text = "sm2: its private key."},
    {.name = "name",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct inspect, name),
     .value_name = "NAME",
     .default_text = "inspected",
     .text = "The name that it is to have in the catalog."},
    {.name = "strict",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct inspect, strict),
     .text = "Refuse what is only noted otherwise."},
    {.name = "policy",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct inspect, policy),
     .text = "Also ask the API what the account's policy, and the patterns of this host's key, say of it."},
};
static const struct cs_arg args[] = {
    {.name = "FILE",
     CS_OPT_AT_STR(struct inspect, cert),
     .path = true,
     .text = "Certificate (PEM), with its chain or without; - is standard input."},
};

// What was read and found; facts are shown also where it is refused.
struct found {
    struct cs_crypto *crypto;
    struct cs_input inputs[FILES_MAX];
    size_t inputs_len;
    struct cs_upload_source src;
    struct cs_cert **file; // the certificates of FILE as they stand there
    size_t file_len;
    struct cs_composed *event; // NULL: refused
    struct cs_err why;
};
static void found_clear(struct found *f) {
    for (size_t i = 0; i < f->inputs_len; i++)
        cs_input_clear(&f->inputs[i]);
    cs_certs_free(f->file, f->file_len);
    cs_composed_free(f->event);
    cs_crypto_free(f->crypto);
}
CS_DEFINE_AUTO_CLEAR(struct found, found_clear)

static bool read_file(struct found *f, const char *path, struct cs_source_text *ret, struct cs_err *err) {
    if (!path)
        return true;
    struct cs_input *in = &f->inputs[f->inputs_len];
    if (!cs_input_read(path, CS_INPUT_STDIN, in, err))
        return false;
    f->inputs_len++;
    *ret = (struct cs_source_text){in->label, in->bytes};
    return true;
}

static bool read_files(const struct inspect *o, struct found *f, struct cs_err *err) {
    struct cs_keyed_source *part = f->src.part;
    f->src = (struct cs_upload_source){
        .type = CS_EVENT_CERTIFICATE_UPLOAD,
        .source = CS_SOURCE_UPLOADED,
        .name = o->name,
        .algorithm = o->encrypt_cert ? CS_ALGORITHM_SM2 : CS_ALGORITHM_INTERNATIONAL,
        .strict = o->strict,
        .parts = o->encrypt_cert ? 2 : 1,
    };
    part[0].csr = !o->key_file;
    part[1].csr = !o->encrypt_key;
    return read_file(f, o->cert, &part[0].cert, err) && read_file(f, o->key_file, &part[0].key, err) &&
           read_file(f, o->chain, &part[0].chain, err) && read_file(f, o->encrypt_cert, &part[1].cert, err) &&
           read_file(f, o->encrypt_key, &part[1].key, err);
}

// False: it could not be looked at. What the rules say is in f.
static bool look(const struct inspect *o, struct found *f, struct cs_err *err) {
    CS_AUTO(cs_privkey_free) struct cs_privkey *custodian = NULL;
    uint8_t *spki = NULL;
    size_t spki_len = 0;
    if (!cs_crypto_new(&f->crypto, err) || !read_files(o, f, err) ||
        !cs_privkey_generate(CS_KEY_X25519, 0, &custodian, err) ||
        !cs_privkey_spki(custodian, &spki, &spki_len, err))
        return false;
    struct cs_compose compose = {.crypto = f->crypto,
                                 .log_id = "inspect_00000000",
                                 .account = "inspect",
                                 .kid = "00000000000000000000000000000000",
                                 .custodian = {spki, spki_len},
                                 .now_ms = cs_clock_wall_ms(cs_clock_real())};
    struct cs_err ignored;
    const struct cs_source_text *cert = &f->src.part[0].cert;
    if (!cs_pem_certs(f->crypto, cert->label, cert->bytes, &f->file, &f->file_len, &ignored))
        f->file_len = 0; // the rules say why
    bool ok = cs_compose_upload(&compose, &f->src, &f->event, &f->why) || f->why.kind == CS_ERR_REJECT;
    free(spki);
    if (!ok)
        *err = f->why;
    return ok;
}

// With --policy. False: nobody could be asked.
static bool ask_policy(const struct cs_cli *cli, struct found *f, struct cs_err *err) {
    struct cs_host_policy policy = {0};
    char detail[CS_POLICY_DETAIL_SIZE];
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT, &s, err) ||
        !cs_host_policy_ask(&s, &policy, err))
        return false;
    enum cs_code code = cs_host_policy_check_composed(&policy, f->event, detail);
    if (code == CS_CODE_NONE)
        return true;
    cs_err_set(&f->why, CS_ERR_REJECT, code, "%s%s%s", cs_code_sentence(code), detail[0] ? " " : "", detail);
    cs_composed_free(CS_TAKE(f->event));
    return true;
}

// ---- what is told

static void put_hex(json_t *object, const char *name, const uint8_t *bytes, size_t len) {
    char text[2 * 32 + 1];
    cs_hex_encode(bytes, len, text);
    json_object_set_new(object, name, json_string(text));
}

static json_t *facts_of(const struct cs_cert *cert) {
    char from[CS_TIME_TEXT_SIZE], until[CS_TIME_TEXT_SIZE];
    json_t *names = json_array();
    cs_time_format(cert->not_before_s, from);
    cs_time_format(cert->not_after_s, until);
    for (size_t i = 0; i < cert->names_len; i++)
        json_array_append_new(names, json_string(cert->names[i]));
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:i, s:s, s:i, s:b}", "subject", cert->subject_name,
                  "issuer", cert->issuer_name, "serial", cert->serial_hex, "not_before", from, "not_after",
                  until, "names", names, "names_total", (int)cert->names_total, "key_type",
                  cs_key_type_name(cert->key_type), "key_bits", cert->key_bits, "ca", cert->is_ca);
    put_hex(o, "fingerprint", cert->sha256, sizeof cert->sha256);
    put_hex(o, "spki_sha256", cert->spki_sha256, sizeof cert->spki_sha256);
    return o;
}

static json_t *code_of(enum cs_code code) {
    return json_pack("{s:s, s:s, s:s}", "code", cs_code_name(code), "sentence", cs_code_sentence(code),
                     "hint", cs_code_hint(code));
}

static json_t *certificates_of(const struct found *f) {
    json_t *all = json_array();
    for (size_t i = 0; !f->event && i < f->file_len; i++)
        json_array_append_new(all, facts_of(f->file[i]));
    for (size_t p = 0; f->event && p < f->src.parts; p++)
        for (size_t i = 0; i < f->event->chains[p].n; i++)
            json_array_append_new(all, facts_of(f->event->chains[p].certs[i]));
    return all;
}

static json_t *answer_of(const struct inspect *o, const struct found *f) {
    json_t *answer = f->event ? json_object() : code_of(f->why.code);
    json_t *notes = json_array();
    for (unsigned i = 0; f->event && i < CS_NOTE_COUNT; i++)
        if (f->event->notes >> i & 1)
            json_array_append_new(notes, code_of(cs_note_code(i)));
    json_object_set_new(answer, "verdict", json_string(f->event ? "accepted" : "refused"));
    if (!f->event)
        json_object_set_new(answer, "message", json_string(f->why.msg));
    json_object_set_new(answer, "key_checked", json_boolean(o->key_file != NULL));
    json_object_set_new(answer, "notes", notes);
    if (f->event) {
        char ends[CS_TIME_TEXT_SIZE];
        cs_time_format(f->event->ends_s, ends);
        json_object_set_new(answer, "ends", json_string(ends));
    }
    json_object_set_new(answer, "certificates", certificates_of(f));
    return answer;
}

static void print_certificate(FILE *out, const json_t *c, bool first) {
    static const char *const members[] = {"issuer", "serial", "not_before", "not_after", "fingerprint"};
    size_t i;
    const json_t *name;
    fprintf(out, "%s %s\n", first ? "certificate" : "then       ", cs_told(cs_member_text(c, "subject")));
    for (i = 0; i < CS_ARRAY_LEN(members); i++)
        fprintf(out, "  %-12s %s\n", members[i], cs_told(cs_member_text(c, members[i])));
    fprintf(out, "  %-12s %s, %" JSON_INTEGER_FORMAT " bits\n", "key", cs_member_text(c, "key_type"),
            json_integer_value(json_object_get(c, "key_bits")));
    json_array_foreach(json_object_get(c, "names"), i, name)
        fprintf(out, "  %-12s %s\n", i == 0 ? "names" : "", cs_told(json_string_value(name)));
}

static void print(const struct cs_cli *cli, const struct inspect *o, const struct found *f,
                  const json_t *answer) {
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(answer, "certificates"), i, item)
        print_certificate(cli->out, item, i == 0);
    json_array_foreach(json_object_get(answer, "notes"), i, item)
        fprintf(cli->out, "note: %s\n  code: %s\n  hint: %s\n", cs_member_text(item, "sentence"),
                cs_member_text(item, "code"), cs_member_text(item, "hint"));
    if (f->event)
        fprintf(
            cli->out,
            "the rules would take it%s; %snames that are taken and the account's limits%s were not asked\n",
            o->policy ? ", and so would the account's policy" : "",
            o->key_file ? "" : "its key was not looked at (--key-file), and ",
            o->policy ? "" : " and policy (--policy)");
}

static int run(const struct cs_cli *cli) {
    const struct inspect *o = cli->values;
    const struct cs_globals *g = cli->globals;
    CS_AUTO(found_clear) struct found f = {0};
    struct cs_err err;
    if (o->encrypt_key && !o->encrypt_cert)
        return cs_cli_usage_error(cli, "--encrypt-key needs --encrypt-cert");
    if (!look(o, &f, &err))
        return cs_report_failure(cli, &err);
    if (o->policy && f.event && !ask_policy(cli, &f, &err))
        return cs_report_api_failure(cli, &err);
    json_t *answer = answer_of(o, &f);
    int code = f.event ? CS_EXIT_OK : CS_EXIT_REFUSED;
    if (g->json) {
        cs_report_json(cli, answer);
        return code;
    }
    if (!g->quiet)
        print(cli, o, &f, answer);
    json_decref(answer);
    return f.event ? code : cs_report_failure(cli, &f.why);
}

const struct cs_command cs_cmd_inspect = {
    .name = "inspect",
    .summary = "Show what is in a certificate file, and what the rules would say of it",
    .description =
        "Does every check that an upload does on this host, in any order of the chain, and sends nothing. "
        "Without --policy it asks nobody, and needs no settings. Exits with 4 if it would be refused.",
    .examples =
        "certsync inspect fullchain.pem\ncertsync inspect fullchain.pem --key-file privkey.pem --name www\n"
        "certsync inspect fullchain.pem --policy\n"
        "certsync inspect sign.pem --encrypt-cert encrypt.pem --json\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct inspect),
    .run = run,
};
