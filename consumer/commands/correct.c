// SPDX-License-Identifier: Apache-2.0
//
// correct: root has published outcomes judged anew.
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "certsync/base/text.h"
#include "certsync/model/sign.h"
#include "certsync/runtime/clock.h"
#include "commands/operator.h"
#include "worker/publish.h"

#define ACK_TIMEOUT_MS 30000

struct correct_options {
    struct cs_operator_options log;
    const char *root_key;
    int64_t partition, from;
    const char *reason;
    bool again;
};

static const struct cs_opt opts[] = {
    {.name = "root-key",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct correct_options, root_key),
     .value_name = "FILE",
     .flags = CS_OPT_REQUIRED,
     .text = "The root private key (PEM), whose public half is deployment.root_key."},
    {.name = "partition",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct correct_options, partition),
     .value_name = "P",
     .min = 0,
     .max = INT32_MAX,
     .flags = CS_OPT_REQUIRED,
     .text = "The partition, as certsync-consumer explain and outcomes name it."},
    {.name = "from",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct correct_options, from),
     .value_name = "N",
     .min = 1,
     .max = INT64_MAX,
     .flags = CS_OPT_REQUIRED,
     .text = "Number (sequence) of the first outcome of that partition that is wrong. It and all behind it "
             "are judged anew."},
    {.name = "reason",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct correct_options, reason),
     .value_name = "TEXT",
     .flags = CS_OPT_REQUIRED,
     .text = "Why, for everybody who reads the log later."},
    {.name = "again",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct correct_options, again),
     .text =
         "Also where a correction with this partition and number is there: what came of it was wrong, too."},
    {.name = "json",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct correct_options, log.json),
     .text = "One JSON object on standard output, for programs."},
};

struct correct {
    struct cs_operator op;
    const struct correct_options *o;
    struct cs_privkey *key;
    struct cs_correction c;
};

static bool read_root_key(struct correct *x, struct cs_err *err) {
    uint8_t *mine = NULL;
    size_t len = 0;
    if (!cs_keyfile_private(x->op.crypto, x->o->root_key, &x->key, err) ||
        !cs_privkey_spki(x->key, &mine, &len, err))
        return false;
    bool same = len == x->op.root_spki_len && memcmp(mine, x->op.root_spki, len) == 0;
    free(mine);
    cs_privkey_kid(x->op.crypto, x->key, x->c.kid);
    return same ||
           cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "%s is not the private key of deployment.root_key (%s), and only root corrects: "
                      "a correction by another key counts for nothing",
                      x->o->root_key, x->op.settings->root_key);
}

// A correction of what was never published would only wait for its number, and surprise whoever comes to
// it. So the number must be there.
static bool check_number(struct correct *x, struct cs_err *err) {
    struct cs_chain chain = {0};
    struct cs_record r;
    bool end = false;
    while (!end && chain.last < x->o->from)
        if (!cs_operator_published(&x->op, (int32_t)x->o->partition, &chain, &r, &end, err))
            return false;
    return !end || cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE,
                              "partition %" PRId64 " has no outcome %" PRId64 ": its outcomes go to %" PRId64
                              "; nothing is corrected",
                              x->o->partition, x->o->from, chain.last);
}

static bool check(struct correct *x, struct cs_err *err) {
    const struct correct_options *o = x->o;
    const struct cs_epochs *e = &x->op.epochs;
    if (!x->op.log_id[0])
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "%s has no genesis record, which gives the log its id: run certsync-consumer init",
                          x->op.events->name);
    if (o->partition >= x->op.partitions)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE,
                          "there is no partition %" PRId64
                          ": the log has %d, from 0 on; nothing is corrected",
                          o->partition, (int)x->op.partitions);
    for (size_t i = 0; !o->again && i < e->len; i++)
        if (e->list[i].partition == o->partition && e->list[i].from == o->from)
            return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE,
                              "the outcomes of partition %" PRId64 " from %" PRId64
                              " on are corrected already (%s); if what came of it is wrong, too, say --again",
                              o->partition, o->from, e->list[i].reason);
    return check_number(x, err);
}

static bool fill(struct correct *x, struct cs_err *err) {
    struct cs_correction *c = &x->c;
    uint8_t random[10];
    int64_t now_ms = cs_clock_wall_ms(cs_clock_real());
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "no random numbers");
    if (!x->o->reason[0] || strlen(x->o->reason) >= sizeof c->reason)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "--reason: from 1 to %zu bytes of text",
                          sizeof c->reason - 1);
    cs_uuid_v7(now_ms, random, c->id);
    c->time_s = now_ms / 1000;
    c->partition = (int32_t)x->o->partition;
    c->from = x->o->from;
    memcpy(c->log_id, x->op.log_id, sizeof c->log_id);
    memcpy(c->reason, x->o->reason, strlen(x->o->reason) + 1);
    return true;
}

static bool wait_acknowledged(struct cs_publisher *p, struct cs_err *err) {
    int64_t deadline_ms = cs_clock_mono_ms(cs_clock_real()) + ACK_TIMEOUT_MS;
    size_t pending = 1;
    while (p->ops->pending(p, &pending, err)) {
        if (pending == 0)
            return true;
        if (cs_clock_mono_ms(cs_clock_real()) > deadline_ms)
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                              "Kafka did not acknowledge the correction within %d s; it may be written yet: "
                              "certsync-consumer verify tells all corrections",
                              ACK_TIMEOUT_MS / 1000);
        poll(NULL, 0, 10);
    }
    return false;
}

static bool publish(struct correct *x, struct cs_err *err) {
    const struct cs_consumer_settings *s = x->op.settings;
    const struct cs_publish_kafka_options options = {
        &s->kafka, "certsync-consumer-correct", s->corrections_topic, s->outcomes_topic, NULL, -1};
    CS_AUTO(cs_publisher_free) struct cs_publisher *publisher = NULL;
    CS_AUTO(cs_buf_clear) struct cs_buf value;
    uint8_t sig[CS_EVENT_SIG_MAX];
    char text[CS_EVENT_SIG_MAX * 2];
    size_t len = 0;
    cs_buf_init(&value, CS_CORRECTION_MAX);
    if (!cs_correction_encode(&x->c, &value, err) || !cs_buf_ok(&value, err) ||
        !cs_event_sign(x->op.crypto, x->key, cs_buf_bytes(&value), sig, &len, err) ||
        !cs_publish_kafka_new(&options, &publisher, err))
        return false;
    cs_base64_encode(sig, len, text);
    const struct cs_header headers[] = {
        {"content-type", {(const uint8_t *)CS_CONTENT_TYPE, sizeof CS_CONTENT_TYPE - 1}},
        {CS_SIG_HEADER, {(const uint8_t *)text, cs_base64_encoded_len(len)}},
    };
    // The topic of events is that of the corrections here.
    const struct cs_publish_message m = {CS_PUBLISH_EVENTS,    0,       {(const uint8_t *)"", 0},
                                         cs_buf_bytes(&value), headers, 2};
    return publisher->ops->send(publisher, &m, err) && wait_acknowledged(publisher, err);
}

static void tell(const struct correct *x) {
    FILE *out = x->op.cli->out;
    int64_t epoch = cs_epoch_last(&x->op.epochs, x->c.partition) + 1;
    if (x->o->log.json)
        fprintf(out, "{\"id\":\"%s\",\"partition\":%d,\"from\":%" PRId64 ",\"epoch\":%" PRId64 "}\n", x->c.id,
                (int)x->c.partition, x->c.from, epoch);
    else
        fprintf(out,
                "The outcomes of partition %d from %" PRId64 " on are judged anew, as epoch %" PRId64
                ".\nRunning consumers begin within seconds. Until a consumer has caught up, the API answers "
                "503 for "
                "accounts of the partition.\n"
                "Then prove it: certsync-consumer verify --redis\n",
                (int)x->c.partition, x->c.from, epoch);
}

static int run_correct(const struct cs_cli *cli) {
    struct correct x = {.o = cli->values};
    struct cs_err err;
    bool ok = cs_operator_open(cli, &x.o->log, CS_OPERATOR_OUTCOMES, &x.op, &err) &&
              read_root_key(&x, &err) && check(&x, &err) && fill(&x, &err) && publish(&x, &err);
    int code = ok ? CS_EXIT_OK : cs_consumer_failure(cli, &err);
    if (ok)
        tell(&x);
    cs_privkey_free(x.key);
    cs_operator_close(&x.op);
    return code;
}

const struct cs_command cs_cmd_correct = {
    .name = "correct",
    .summary = "Have published outcomes judged anew, by the root key",
    .description =
        "What was published stays for ever. If it is wrong (a release with a bug, a catalog that somebody "
        "bent), "
        "root corrects it in the open: a signed record in cert.corrections says from which outcome of a "
        "partition "
        "on all is judged anew. Running consumers replay the partition into an empty catalog, compare what "
        "was published before that number, and publish the rest again with the next epoch. Of each number "
        "the outcome of the newest epoch counts; both stay in the log.\n\n"
        "First stop what is at fault: a release that judges wrongly would do so again. Run the right release "
        "everywhere, then correct. certsync-consumer replay shows which outcomes this release judges "
        "otherwise. "
        "A correction cannot be taken back.",
    .examples = "certsync-consumer replay\n"
                "certsync-consumer correct --root-key root.key --partition 3 --from 1042 --reason \"release "
                "1.3 took expired leaves\"\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct correct_options),
    .run = run_correct,
};
