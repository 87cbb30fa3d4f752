// SPDX-License-Identifier: Apache-2.0
//
// An export: the topics of the log in plain files, so that they can be carried away, read, and brought back.
//
//   DIR/manifest.json                                what belongs to it, with each file's SHA-256
//   DIR/events/3/00000000000000000000.jsonl          records of partition 3, from that offset on (line.h)
//   DIR/outcomes/3/00000000000000000000.jsonl
//   DIR/corrections/0/00000000000000000000.jsonl
//
// Files are only added. The manifest is written last, in one step: what it does not name does not
// belong to the export. docs/audit/export.md has the form. One thread.
//
// Errors: CONFIG (no export, or not a whole one), RETRY (disk).
#pragma once

#include "log/reader.h"

#define CS_EXPORT_LOCK "lock" // in DIR: who writes there

enum cs_export_part { CS_EXPORT_EVENTS, CS_EXPORT_OUTCOMES, CS_EXPORT_CORRECTIONS, CS_EXPORT_PARTS };
const char *cs_export_part_name(enum cs_export_part part);
// Corrections have one partition, the others have all.
int32_t cs_export_partitions(enum cs_export_part part, int32_t partitions);

struct cs_export_file {
    enum cs_export_part part;
    int32_t partition;
    int64_t first, next; // offsets: its first, and where the next file goes on
    int64_t records, bytes;
    uint8_t sha256[32];
};
struct cs_export {
    char *dir;
    cs_log_id log_id;
    int32_t partitions;
    struct cs_export_file *files; // of each part and partition in order, without gaps
    size_t len, cap;
};
void cs_export_clear(struct cs_export *x);
CS_DEFINE_AUTO_CLEAR(struct cs_export, cs_export_clear)

// Reads the manifest. *ret_there false: there is none, and the directory is empty or does not exist.
CS_MUST_USE bool cs_export_open(const char *dir, struct cs_crypto *crypto, struct cs_export *ret,
                                bool *ret_there, struct cs_err *err);
// Where the part of a partition ends: the offset after its last file. ret_last: that file, or NULL.
int64_t cs_export_end(const struct cs_export *x, enum cs_export_part part, int32_t partition,
                      const struct cs_export_file **ret_last);
// Writes a file of lines. It belongs to the export when the manifest is written.
CS_MUST_USE bool cs_export_add(struct cs_export *x, struct cs_crypto *crypto,
                               const struct cs_export_file *file, struct cs_bytes lines, struct cs_err *err);
CS_MUST_USE bool cs_export_commit(struct cs_export *x, struct cs_crypto *crypto, struct cs_err *err);

// The part as a log. Each file is held against the manifest before anything of it is given out.
CS_MUST_USE bool cs_export_log(const struct cs_export *x, struct cs_crypto *crypto, enum cs_export_part part,
                               struct cs_log **ret, struct cs_err *err);
// The last line of a file, with its end, in *text.
CS_MUST_USE bool cs_export_last_line(const struct cs_export *x, struct cs_crypto *crypto,
                                     const struct cs_export_file *file, struct cs_buf *text,
                                     struct cs_err *err);
