// SPDX-License-Identifier: Apache-2.0
//
// What the operators' subcommands share: where the log is read from, the judge that replays it, and
// how places in the log are named.
#pragma once

#include "catalog/catalog.h"
#include "commands/commands.h"
#include "log/corrections_log.h"
#include "log/heads.h"
#include "log/progress.h"
#include "log/reader.h"
#include "log/replay.h"
#include "worker/outcome_chain.h"

struct cs_operator_options {       // first part of each command's options
    const char *events, *outcomes; // dump files; NULL: from Kafka
    const char *corrections;       // the same; with dumps of the others, NULL: there are none
    bool json;
};
// clang-format off
#define CS_OPERATOR_SETTINGS \
    {.name = "deployment", .kind = CS_OPT_SETTING, .setting = "deployment.id", .value_name = "ID", \
     .text = "Name of the deployment (deployment.id)."}, \
    {.name = "root-key", .kind = CS_OPT_SETTING, .setting = "deployment.root_key", .value_name = "FILE", \
     .text = "File with the root public key (deployment.root_key)."}
#define CS_OPERATOR_OPTS(S, m) \
    {.name = "events", .kind = CS_OPT_PATH, CS_OPT_AT_STR(S, m.events), .value_name = "FILE", \
     .text = "Read cert.events from this file (kcat -C -J -e -X isolation.level=read_uncommitted -t cert.events) instead of Kafka."}, \
    {.name = "outcomes", .kind = CS_OPT_PATH, CS_OPT_AT_STR(S, m.outcomes), .value_name = "FILE", \
     .text = "Read cert.outcomes from this file instead of Kafka."}, \
    {.name = "corrections", .kind = CS_OPT_PATH, CS_OPT_AT_STR(S, m.corrections), .value_name = "FILE", \
     .text = "With --events: read cert.corrections from this file; without it, there are none."}, \
    CS_OPERATOR_SETTINGS, \
    {.name = "json", .kind = CS_OPT_FLAG, CS_OPT_AT_FLAG(S, m.json), \
     .text = "One JSON object on standard output, for programs."}
// clang-format on

// Of commands that read checkpoints; members: const char *checkpoints, *checkpoint_key.
// clang-format off
#define CS_CHECKPOINT_OPTS(S) \
    {.name = "checkpoints", .kind = CS_OPT_PATH, CS_OPT_AT_STR(S, checkpoints), .value_name = "FILE", \
     .text = "Read cert.checkpoints from this file instead of Kafka."}, \
    {.name = "checkpoint-key", .kind = CS_OPT_STRING, CS_OPT_AT_STR(S, checkpoint_key), .value_name = "KEY", \
     .text = "The key that verifies checkpoints, as certsync-consumer checkpoint-key prints it; else that of the service key."}
// clang-format on

struct cs_bounds {
    int64_t low, high;
};
struct cs_operator {
    const struct cs_cli *cli;
    const struct cs_operator_options *options;
    struct cs_consumer_settings *settings;
    uint8_t *root_spki;
    size_t root_spki_len;
    struct cs_crypto *crypto;
    struct cs_log *events, *outcomes;
    int32_t partitions;
    struct cs_corrections *corrections;
    struct cs_log *corrections_log; // NULL: there is none
    int64_t corrections_others;     // records there that count for nothing; the first of them:
    struct cs_err corrections_why;
    struct cs_epochs epochs; // the corrections that there were at the start
    cs_log_id log_id;        // "" where no partition begins with a genesis
    // They tell who wrote outcomes (outcome_mark.h). marks NULL: there are none, and why_no_service says why.
    struct cs_service_keys service;
    struct cs_outcome_marks *marks;
    struct cs_err why_no_service;
    // by partition, as cs_operator_bounds found them
    struct cs_bounds *event_bounds, *outcome_bounds;
    struct cs_replay *replay;
    struct cs_progress progress;
    bool in_list; // cs_operator_begin_list was called
};
// needs: what is opened besides the events.
#define CS_OPERATOR_OUTCOMES 1u
#define CS_OPERATOR_REPLAY   2u
#define CS_OPERATOR_VERDICTS 4u // with the judge: it keeps no documents of outcomes
// Settings (no service key is needed), keys, logs and, if wanted, the judge. The bounds of outcomes
// are taken first, then those of events. So the record of each outcome is inside, and so is each
// derived event that came before it.
CS_MUST_USE bool cs_operator_open(const struct cs_cli *cli, const struct cs_operator_options *options,
                                  unsigned needs, struct cs_operator *ret, struct cs_err *err);
void cs_operator_close(struct cs_operator *op);
CS_DEFINE_AUTO_CLEAR(struct cs_operator, cs_operator_close)
// Reads again where events end now.
CS_MUST_USE bool cs_operator_look(struct cs_operator *op, struct cs_log *log, struct cs_bounds *ret,
                                  struct cs_err *err);
CS_MUST_USE bool cs_operator_catalog(const struct cs_operator *op, struct cs_catalog **ret,
                                     struct cs_err *err);
// The key that verifies what the log's consumers sign: of this text, or (NULL) of the service key. CONFIG.
CS_MUST_USE bool cs_operator_checkpoint_key(struct cs_operator *op, const char *text, struct cs_note_key *ret,
                                            struct cs_err *err);
// For checkpoints (with the witnesses of the settings): the key that verifies them, and the log of them (a dump, or Kafka's; NULL: only
// dumps of the others were given). If they cannot be looked at, *ret is NULL and why says why; `must`:
// that is CONFIG.
struct cs_checkpoint_source {
    const char *key;  // text; NULL: the service key's
    const char *dump; // NULL: from Kafka
    bool must;
};
CS_MUST_USE bool cs_operator_heads(struct cs_operator *op, const struct cs_checkpoint_source *from,
                                   struct cs_heads **ret, struct cs_log **ret_log, char *why, size_t why_size,
                                   struct cs_err *err);
// Events of all partitions.
int64_t cs_operator_total(const struct cs_operator *op);
// With --json: {"NAME":[, for lists that are printed as they are found. A failure ends list and
// object.
void cs_operator_begin_list(struct cs_operator *op, const char *name);
int cs_operator_failure(const struct cs_operator *op, const struct cs_cli *cli, const struct cs_err *err);
// Prints the buffer and a line end. Returns the exit code for code, if that worked.
int cs_operator_print(const struct cs_operator *op, const struct cs_buf *out, int code);

// For commands that continue where they were: whether to try again after this error. True if Kafka
// or Redis is away (RETRY), and there was progress within the last minute. It pauses before it
// returns true.
struct cs_patience { // zeroed at first
    int64_t since_ms, reached;
};
bool cs_operator_wait(struct cs_patience *p, int64_t reached, struct cs_err *err);

// A moment in the log: "[PARTITION:]OFFSET" (records before that offset) or a time (RFC 3339, or a
// day; records up to and with it).
struct cs_moment {
    bool given;
    int32_t partition; // -1: each
    int64_t offset;    // -1: a time is meant
    int64_t time_ms;
};
CS_MUST_USE bool cs_moment_parse(const char *text, struct cs_moment *ret, struct cs_err *err);
CS_MUST_USE bool cs_moment_parse_time(const char *text, struct cs_moment *ret, struct cs_err *err);
// Whether a record comes after it.
bool cs_moment_before(const struct cs_moment *m, const struct cs_record *r);

// Judges a partition from its begin up to a moment (until->given false: to its end), and reports
// each record.
typedef bool (*cs_walk_fn)(void *arg, const struct cs_record *r, const struct cs_replayed *mine,
                           struct cs_err *err);
CS_MUST_USE bool cs_operator_walk(struct cs_operator *op, int32_t partition, const struct cs_moment *until,
                                  cs_walk_fn fn, void *arg, struct cs_err *err);
// The same from where the judge is.
CS_MUST_USE bool cs_operator_walk_on(struct cs_operator *op, int32_t partition, const struct cs_moment *until,
                                     cs_walk_fn fn, void *arg, struct cs_err *err);
// "… begins at offset …: records were deleted": FATAL. Always false.
bool cs_operator_deleted(const struct cs_operator *op, int32_t partition, struct cs_err *err);
// The published outcomes of a partition that count (outcome_chain.h), one number after the other.
// *ret_end is true after the last. A wrong hash is ignored. FATAL if a number does not follow:
// `verify` says more. Begins with the partition if chain->last is 0.
CS_MUST_USE bool cs_operator_published(struct cs_operator *op, int32_t partition, struct cs_chain *chain,
                                       struct cs_record *ret, bool *ret_end, struct cs_err *err);
