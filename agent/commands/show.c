// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/pem.h"
#include "event/session.h"

struct show {
    const char *name;
    const char *owner;
    bool pem;
};

static const struct cs_opt opts[] = {
    {.name = "owner",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct show, owner),
     .value_name = "ACCOUNT",
     .text = "The one that this account shared in, where an own certificate has the name, too."},
    {.name = "pem",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct show, pem),
     .text = "Write the certificate and its chain as PEM."},
};
static const struct cs_arg args[] = {
    {.name = "NAME|ID", CS_OPT_AT_STR(struct show, name), .text = "The certificate."},
};

static bool get(struct cs_session *s, const struct show *o, json_t **ret, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    cs_buf_init(&path, 4096);
    cs_client_put_account(&path, s->account, "/certificates");
    cs_client_put_segment(&path, o->name);
    cs_client_put_query(&path, "owner", o->owner);
    return cs_buf_ok(&path, err) && cs_session_client(s, err) &&
           cs_client_get(s->client, (const char *)path.data, 0, ret, err);
}

// --- people --------------------------------------------------------------------------------------

static void put_list(FILE *out, const json_t *list) {
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item) {
        if (i > 0)
            fputs(", ", out);
        if (json_is_string(item))
            fputs(cs_told(json_string_value(item)), out);
    }
}

static void put_share(FILE *out, const json_t *share) {
    const char *to = json_string_value(json_object_get(share, "to")),
               *state = json_string_value(json_object_get(share, "state"));
    fprintf(out, "%s (%s)", cs_told(to ? to : ""), cs_told(state ? state : ""));
}

static void put_field(FILE *out, const char *name, const json_t *value) {
    if (!value || json_is_null(value) || (json_is_array(value) && json_array_size(value) == 0))
        return;
    fprintf(out, "%-15s ", name);
    size_t i;
    const json_t *item;
    if (json_is_string(value))
        fputs(cs_told(json_string_value(value)), out);
    else if (json_is_integer(value))
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_boolean(value))
        fputs(json_is_true(value) ? "yes" : "no", out);
    else if (json_is_array(value) && json_is_object(json_array_get(value, 0)))
        json_array_foreach(value, i, item) {
            fputs(i > 0 ? ", " : "", out);
            put_share(out, item);
        }
    else
        put_list(out, value);
    fputc('\n', out);
}

static void print_item(FILE *out, const json_t *item) {
    static const struct {
        const char *label, *member;
    } fields[] = {{"name", "name"},
                  {"id", "id"},
                  {"source", "source"},
                  {"owner account", "owner_account"},
                  {"algorithm", "algorithm"},
                  {"status", "status"},
                  {"days left", "days_left"},
                  {"not before", "not_before"},
                  {"not after", "not_after"},
                  {"ends", "ends"},
                  {"names", "names"},
                  {"names in all", "names_total"},
                  {"subject", "subject"},
                  {"issuer", "issuer"},
                  {"serial", "serial"},
                  {"sha-256", "fingerprint"},
                  {"key type", "key_type"},
                  {"key bits", "key_bits"},
                  {"version", "version"},
                  {"tags", "tags"},
                  {"notes", "notes"},
                  {"shared with", "shares"},
                  {"contact", "contact"},
                  {"note", "note"},
                  {"sent by key", "by"},
                  {"hosts", "hosts_total"},
                  {"hosts behind", "hosts_behind"},
                  {"ends in use", "ends_in_use"},
                  {"created", "created"},
                  {"updated", "updated"}};
    for (size_t i = 0; i < CS_ARRAY_LEN(fields); i++)
        put_field(out, fields[i].label, json_object_get(item, fields[i].member));
    size_t i;
    const json_t *leaf, *old;
    json_array_foreach(json_object_get(item, "leaves"), i, leaf) {
        put_field(out, "sm2 leaf", json_object_get(leaf, "use"));
        put_field(out, "  serial", json_object_get(leaf, "serial"));
        put_field(out, "  sha-256", json_object_get(leaf, "fingerprint"));
    }
    json_array_foreach(json_object_get(item, "old_versions"), i, old) {
        put_field(out, "old version", json_object_get(old, "version"));
        put_field(out, "  serial", json_object_get(old, "serial"));
        put_field(out, "  not after", json_object_get(old, "not_after"));
    }
}

// A page of the hosts that have it: those that are behind come first.
static void print_hosts(FILE *out, const json_t *page) {
    size_t i, k;
    const json_t *host, *at;
    json_array_foreach(json_object_get(page, "hosts"), i, host) {
        const char *label = json_string_value(json_object_get(host, "label"));
        const char *kid = json_string_value(json_object_get(host, "kid"));
        fprintf(out, "%-15s %s%s\n", "at host",
                cs_told(label && label[0] ? label
                        : kid             ? kid
                                          : ""),
                json_is_true(json_object_get(host, "behind")) ? " (behind)" : "");
        json_array_foreach(json_object_get(host, "places"), k, at) {
            const char *place = json_string_value(json_object_get(at, "place"));
            fprintf(out, "  %-13s %s, version %" JSON_INTEGER_FORMAT "\n", "place",
                    cs_told(place ? place : ""), json_integer_value(json_object_get(at, "version")));
        }
    }
    if (json_object_get(page, "next"))
        fprintf(out, "%-15s more: GET …/certificates/NAME/hosts of the API\n", "at host");
}

static bool get_hosts(struct cs_session *s, const json_t *item, json_t **ret, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    const char *id = json_string_value(json_object_get(item, "id"));
    cs_buf_init(&path, 4096);
    cs_client_put_account(&path, s->account, "/certificates");
    cs_client_put_segment(&path, id ? id : "");
    cs_buf_puts(&path, "/hosts");
    return cs_buf_ok(&path, err) && cs_client_get(s->client, (const char *)path.data, 0, ret, err);
}

// --- PEM -----------------------------------------------------------------------------------------

static bool put_pem(FILE *out, const char *base64, struct cs_err *err) {
    size_t len = strlen(base64), der_len;
    uint8_t *der = malloc(cs_base64_decoded_max(len) + 1);
    char *pem;
    if (!der)
        return cs_err_oom(err);
    bool ok = cs_base64_decode(base64, len, der, &der_len) ||
              cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "the API's answer holds no certificate");
    ok = ok && cs_pem_encode("CERTIFICATE", (struct cs_bytes){der, der_len}, &pem, err);
    if (ok) {
        fputs(pem, out);
        free(pem);
    }
    free(der);
    return ok;
}

// "chain" is a list of base64 texts for each part: one, or two for sm2.
static bool print_pem(FILE *out, const json_t *chain, struct cs_err *err) {
    size_t i;
    const json_t *item;
    json_array_foreach(chain, i, item) {
        if (json_is_array(item) ? !print_pem(out, item, err)
                                : json_is_string(item) && !put_pem(out, json_string_value(item), err))
            return false;
    }
    return true;
}

static int run(const struct cs_cli *cli) {
    const struct show *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    json_t *item;
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT, &s, &err))
        return cs_report_failure(cli, &err);
    if (!get(&s, o, &item, &err))
        return cs_report_api_failure(cli, &err);
    json_t *hosts = NULL;
    bool ok = true;
    if (!o->pem && json_integer_value(json_object_get(item, "hosts_total")) > 0)
        ok = get_hosts(&s, item, &hosts, &err);
    if (hosts && s.globals->json)
        json_object_set(item, "hosts", json_object_get(hosts, "hosts"));
    if (ok && o->pem) {
        ok = print_pem(cli->out, json_object_get(item, "chain"), &err);
    } else if (ok && !s.globals->json) {
        print_item(cli->out, item);
        print_hosts(cli->out, hosts);
    }
    if (ok && s.globals->json && !o->pem)
        json_incref(item), cs_report_json(cli, item);
    json_decref(hosts);
    json_decref(item);
    return ok ? CS_EXIT_OK : cs_report_api_failure(cli, &err);
}

const struct cs_command cs_cmd_show = {
    .name = "show",
    .summary = "Show one certificate",
    .description = "Everything that the catalog has of it, but never its key.",
    .examples =
        "certsync show www\ncertsync show www --pem > fullchain.pem\ncertsync show shop --owner acme\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct show),
    .run = run,
};
