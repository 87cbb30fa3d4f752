// SPDX-License-Identifier: Apache-2.0
#include "event/deployment_list.h"

const struct cs_opt cs_deployment_opts[CS_DEPLOYMENT_OPTS] = {CS_CSV_OPT(struct cs_deployment_options, csv)};

static int print(const struct cs_cli *cli, const struct cs_deployment_list *list, const json_t *all) {
    const struct cs_deployment_options *o = cli->values;
    CS_AUTO(cs_table_free) struct cs_table *t = cs_table_new(list->headers);
    size_t i;
    const json_t *item;
    json_array_foreach(all, i, item) list->put_row(t, item);
    return cs_report_table(cli, t, o->csv);
}

int cs_deployment_list_run(const struct cs_cli *cli, const struct cs_deployment_list *list) {
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    if (!cs_session_open(cli, CS_NEED_KEY, &s, &err))
        return cs_report_failure(cli, &err);
    s.account = ""; // the token is for all accounts
    json_t *all = json_array();
    bool ok =
        cs_session_client(&s, &err) && cs_client_get_list(s.client, list->path, list->member, all, &err);
    int code = ok ? CS_EXIT_OK : cs_report_api_failure(cli, &err);
    if (ok && s.globals->json)
        cs_report_json(cli, json_pack("{s:O}", list->member, all));
    else if (ok)
        code = print(cli, list, all);
    json_decref(all);
    return code;
}
