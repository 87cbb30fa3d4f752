// SPDX-License-Identifier: Apache-2.0
//
// show: an account's catalog as it was at a moment, from the log alone. With --redis: what lies there.
#include <inttypes.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "commands/places.h"
#include "commands/resume.h"
#include "commands/show_stored.h"
#include "log/find.h"

struct show_options {
    struct cs_operator_options log;
    const char *at;
    bool redis;
    const char *account;
};

static const struct cs_opt opts[] = {
    CS_OPERATOR_OPTS(struct show_options, log),
    CS_SNAPSHOTS_OPT,
    {.name = "at",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct show_options, at),
     .value_name = "TIME|OFFSET",
     .text = "The moment: a time of the broker (2026-11-23T12:00:00Z, or a day: its end), or an offset of "
             "the account's "
             "partition: before its record. Without: as far as the log goes."},
    {.name = "redis",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct show_options, redis),
     .text = "What lies in Redis of the account now, document by document; or only the document whose key "
             "is given instead of ACCOUNT, such as cert/acme/ID."},
};
static const struct cs_arg args[] = {
    {.name = "ACCOUNT", CS_OPT_AT_STR(struct show_options, account), .text = "Whose catalog."},
};

struct show {
    struct cs_operator op;
    const struct show_options *o;
    int32_t partition;
    struct cs_moment at;
    int64_t last_offset, last_ms; // of the last record that counts; -1: none
    int64_t from;                 // outcomes of the snapshot that it was judged from; 0: none
    struct cs_buf b;
    bool json;
};

// Only the catalog at the end counts.
static bool take(void *arg, const struct cs_record *r, const struct cs_replayed *mine, struct cs_err *err) {
    (void)arg, (void)r, (void)mine, (void)err;
    return true;
}

static bool document(struct show *s, enum cs_kind kind, const char *id, struct cs_bytes *ret) {
    const char *key = cs_key_make(CS_NEW_KEY, kind, s->o->account, id, NULL);
    return cs_state_get(cs_replay_state(s->op.replay), key, ret) == CS_FOUND;
}

static void put_certificate_text(struct show *s, const char *id, const struct cs_cert_summary *c,
                                 const char *owner) {
    char until[CS_TIME_TEXT_SIZE];
    cs_time_format(c->leaves_len > 0 ? c->leaves[0].not_after_s : 0, until);
    cs_buf_printf(&s->b, "  %-32s %-9s v%-3" PRId64 " until %s  %s%s%s\n", c->name,
                  owner ? "shared" : cs_source_name(c->source), c->version, until, id, owner ? "  from " : "",
                  owner ? owner : "");
}

static bool put_own(struct show *s, const char *id, struct cs_err *err) {
    CS_AUTO(cs_certificate_clear) struct cs_certificate c = {0};
    struct cs_bytes doc;
    if (!document(s, CS_KIND_CERT, id, &doc))
        return true;
    if (s->json) {
        cs_json_put_raw(&s->b, doc);
        return true;
    }
    if (!cs_certificate_decode(doc, &c, err))
        return false;
    put_certificate_text(s, c.id, &c.summary, NULL);
    for (size_t i = 0; i < c.shares_len; i++)
        cs_buf_printf(&s->b, "    shared with %s (%s)\n", c.shares[i].to, c.shares[i].share);
    return true;
}

static bool put_shared_in(struct show *s, const char *id, struct cs_err *err) {
    struct cs_shared_in c = {0};
    struct cs_bytes doc;
    if (!document(s, CS_KIND_SHARED_IN, id, &doc))
        return true;
    if (s->json) {
        cs_json_put_raw(&s->b, doc);
        return true;
    }
    if (!cs_shared_in_decode(doc, &c, err))
        return false;
    put_certificate_text(s, c.certificate, &c.summary, c.owner_account);
    cs_shared_in_clear(&c);
    return true;
}

static bool put_agent(struct show *s, const char *kid, struct cs_err *err) {
    struct cs_agent a;
    struct cs_bytes doc;
    if (!document(s, CS_KIND_AGENT, kid, &doc))
        return true;
    if (s->json) {
        cs_json_begin(&s->b, '{');
        cs_json_str(&s->b, "kid", kid);
        cs_json_name(&s->b, "key");
        cs_json_put_raw(&s->b, doc);
        cs_json_end(&s->b, '}');
        return true;
    }
    if (!cs_agent_decode(doc, &a, err))
        return false;
    static const char *const states[] = {"", "enrolled", "revoked", "rotated"};
    cs_buf_printf(&s->b, "  %s  %-8s names %s  %s\n", kid, states[a.state], a.names, a.label);
    return true;
}

// Without its sealed key.
static bool put_csr(struct show *s, const char *id, struct cs_err *err) {
    CS_AUTO(cs_csr_entry_clear) struct cs_csr_entry c = {0};
    struct cs_bytes doc;
    if (!document(s, CS_KIND_CSR, id, &doc))
        return true;
    if (!cs_csr_entry_decode(doc, &c, err))
        return false;
    if (!s->json) {
        cs_buf_printf(&s->b, "  %-32s %s  %s", c.name, c.id, c.subject ? c.subject : "");
        if (c.used.certificate[0])
            cs_buf_printf(&s->b, "  used by %s, version %" PRId64, c.used.name, c.used.version);
        cs_buf_putc(&s->b, '\n');
        return true;
    }
    cs_json_begin(&s->b, '{');
    cs_json_str(&s->b, "id", c.id);
    cs_json_str(&s->b, "name", c.name);
    cs_json_str(&s->b, "subject", c.subject ? c.subject : "");
    cs_json_str(&s->b, "key_type", cs_key_type_name(c.key_type));
    cs_json_int(&s->b, "created_ms", c.created_ms);
    if (c.used.certificate[0])
        cs_json_str(&s->b, "used_by", c.used.certificate);
    cs_json_end(&s->b, '}');
    return true;
}

static bool put_share(struct show *s, const char *member, struct cs_err *err) {
    bool out;
    const char *id = cs_member_share_read(member, &out);
    struct cs_bytes doc;
    (void)err;
    if (!document(s, out ? CS_KIND_SHARE : CS_KIND_SHARE_IN, id, &doc))
        return true;
    if (s->json) {
        cs_json_begin(&s->b, '{');
        cs_json_str(&s->b, "direction", out ? "out" : "in");
        cs_json_name(&s->b, "share");
        cs_json_put_raw(&s->b, doc);
        cs_json_end(&s->b, '}');
        return true;
    }
    cs_buf_printf(&s->b, "  %-3s ", out ? "out" : "in");
    cs_put_abridged(&s->b, doc, 80);
    cs_buf_putc(&s->b, '\n');
    return true;
}

// "<name>/c/<id>" own, "<name>/s/<owner account>/<id>" shared in.
static bool put_view(struct show *s, const char *member, struct cs_err *err) {
    const char *id = strchr(member, '/');
    if (!id || !id[1] || id[2] != '/')
        return true;
    return id[1] == 'c' ? put_own(s, id + 3, err) : put_shared_in(s, id + 3, err);
}

static bool put_request(struct show *s, const char *member, struct cs_err *err) {
    const char *id = strchr(member, '/'); // "<name>/<id>"
    return !id || put_csr(s, id + 1, err);
}

// All that an index names.
static bool put_list(struct show *s, enum cs_kind index, const char *json_name, const char *title,
                     bool (*put)(struct show *, const char *, struct cs_err *), struct cs_err *err) {
    const struct cs_member *members = NULL;
    size_t n = 0;
    if (cs_state_list(cs_replay_state(s->op.replay),
                      cs_key_make(CS_NEW_KEY, index, s->o->account, NULL, NULL), &members, &n) != CS_FOUND)
        n = 0;
    if (s->json) {
        cs_json_name(&s->b, json_name);
        cs_json_begin(&s->b, '[');
    } else {
        cs_buf_printf(&s->b, "%s: %zu\n", title, n);
    }
    for (size_t i = 0; i < n; i++)
        if (!put(s, members[i].name, err))
            return false;
    if (s->json)
        cs_json_end(&s->b, ']');
    return true;
}

static bool put_account(struct show *s, struct cs_bytes doc, struct cs_err *err) {
    struct cs_account a;
    char time[CS_TIME_MS_TEXT_SIZE];
    if (!cs_account_decode(doc, &a, err))
        return false;
    if (s->json) {
        cs_json_str(&s->b, "account", s->o->account);
        cs_json_int(&s->b, "partition", s->partition);
        cs_json_int(&s->b, "offset", s->last_offset);
        cs_json_int(&s->b, "time", s->last_ms);
        if (s->from > 0)
            cs_json_int(&s->b, "snapshot", s->from);
        cs_json_name(&s->b, "entry");
        cs_json_put_raw(&s->b, doc);
        return true;
    }
    cs_time_ms_format(s->last_ms, time);
    cs_buf_printf(&s->b,
                  "account %s as of partition %d offset %" PRId64 " (%s)\n"
                  "site %s, owner %s, %s; at most %" PRId64 " certificates and %" PRId64 " shares of each\n",
                  s->o->account, (int)s->partition, s->last_offset, time, cs_site_name(a.site), a.owner,
                  a.verified ? "verified" : "not verified", a.limit_certificates, a.limit_shares);
#define X(name, at_first, most, text)                                                                        \
    cs_buf_printf(&s->b, "%" PRId64 " of at most %" PRId64 " %s\n", a.name, a.limit_##name, text);
    CS_ACCOUNT_COUNTS(X)
#undef X
    if (s->from > 0)
        cs_buf_printf(&s->b, "judged from the snapshot of %" PRId64 " outcomes on\n", s->from);
    return true;
}

static bool put_all(struct show *s, struct cs_err *err) {
    struct cs_bytes doc;
    if (!document(s, CS_KIND_ACCOUNT, NULL, &doc))
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_ACCOUNT_UNKNOWN, "account %.64s did not exist then",
                          s->o->account);
    if (s->json)
        cs_json_begin(&s->b, '{');
    if (!put_account(s, doc, err) ||
        !put_list(s, CS_KIND_VIEW, "certificates", "certificates", put_view, err) ||
        !put_list(s, CS_KIND_SHARES, "shares", "open and pending shares", put_share, err) ||
        !put_list(s, CS_KIND_CSRS, "csrs", "signing requests", put_request, err) ||
        !put_list(s, CS_KIND_AGENTS, "agents", "keys", put_agent, err))
        return false;
    if (s->json)
        cs_json_end(&s->b, '}');
    return true;
}

static bool show_stored(struct show *s, const struct cs_cli *cli, struct cs_err *err) {
    if (s->o->at)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "--at shows what was, --redis what is now: give one of them");
    return cs_operator_open(cli, &s->o->log, 0, &s->op, err) && cs_show_stored(&s->op, s->o->account, err);
}

static bool do_show(struct show *s, const struct cs_cli *cli, struct cs_err *err) {
    const char *account = s->o->account;
    if (!cs_account_valid(account, strlen(account)))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%.64s is no account id", account);
    if ((s->o->at && !cs_moment_parse(s->o->at, &s->at, err)) ||
        !cs_operator_open(cli, &s->o->log, CS_OPERATOR_REPLAY, &s->op, err))
        return false;
    s->partition = cs_partition_of(account, s->op.partitions);
    if (s->at.given && s->at.partition >= 0 && s->at.partition != s->partition)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "account %s is in partition %d", account,
                          (int)s->partition);
    cs_progress_start(&s->op.progress, cli->screen, "show",
                      s->op.event_bounds[s->partition].high - s->op.event_bounds[s->partition].low);
    struct cs_snapshot_dir dir;
    struct cs_account_walk walk = {.account = account,
                                   .partition = s->partition,
                                   .until = &s->at,
                                   .snapshots = cs_resume_from(&s->op, &dir),
                                   .fn = take,
                                   .arg = s};
    if (!cs_places_walk(&s->op, &walk, err))
        return false;
    s->last_offset = walk.last_offset;
    s->last_ms = walk.last_ms;
    s->from = walk.from;
    return put_all(s, err);
}

static int run_show(const struct cs_cli *cli) {
    struct show s = {.o = cli->values, .last_offset = -1};
    struct cs_err err;
    s.json = s.o->log.json;
    cs_buf_init(&s.b, (size_t)1024 * 1024 * 1024);
    bool ok = s.o->redis ? show_stored(&s, cli, &err) : do_show(&s, cli, &err);
    cs_progress_end(&s.op.progress);
    int code = !ok          ? cs_operator_failure(&s.op, cli, &err)
               : s.o->redis ? CS_EXIT_OK
                            : cs_operator_print(&s.op, &s.b, CS_EXIT_OK);
    cs_buf_clear(&s.b);
    cs_operator_close(&s.op);
    return code;
}

const struct cs_command cs_cmd_show = {
    .name = "show",
    .summary = "Show an account's catalog as it stood at a moment",
    .description =
        "Judges the records that the account's catalog rests on again in memory, up to the "
        "moment, and "
        "shows what the account's "
        "catalog was: certificates, what was shared in, shares, signing requests and keys. With --redis it "
        "shows what lies in Redis (redis.*), which packs it.",
    .examples = "certsync-consumer show acme --at 2026-11-23T12:00:00Z\n"
                "certsync-consumer show acme --at 1234 --json\n"
                "certsync-consumer show acme --redis",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct show_options),
    .run = run_show,
};
