// SPDX-License-Identifier: Apache-2.0
//
// What the daemon knows: the certificate files of this host (items), and what it was told that the
// catalog holds under their names (known). A file beside the spool keeps it, one JSON line for each
// change. The last line of a path counts; an incomplete line of a killed process is ignored. The
// catalog is the truth: the file only saves asking and reading again, and may be deleted.
#pragma once

#include "certsync/model/codes.h"
#include "certsync/model/ident.h"
#include "certsync/model/policy.h"
#include "daemon/index.h"
#include "daemon/scan.h"

enum cs_item_state {
    CS_ITEM_NEW = 1,    // not looked at yet
    CS_ITEM_WAITING,    // files do not fit together (yet): tried again, after growing pauses
    CS_ITEM_BLOCKED,    // the spool takes nothing at the moment
    CS_ITEM_SENT,       // in the spool or published, not judged yet
    CS_ITEM_REGISTERED, // the catalog has it
    CS_ITEM_OLDER,      // the catalog has a newer one under this name: not uploaded
    CS_ITEM_REFUSED,    // by this host's own checks; tried again when it changes
    CS_ITEM_REJECTED,   // by the catalog's rules; sent again when its content changes
    CS_ITEM_DELETING,   // its files are gone, so the catalog's entry goes, too
    CS_ITEM_DELETED,    // somebody else deleted the catalog's entry: it is not brought back
};
#define CS_ITEM_STATES (CS_ITEM_DELETED + 1) // for arrays
const char *cs_item_state_name(enum cs_item_state s);

#define CS_ITEM_MESSAGE_MAX 600

struct cs_item {
    char *certificate;                                       // path; this identifies it
    char *given;                                             // the name that the settings give
    char *name;                                              // in the catalog
    char *key;                                               // path; NULL: none found
    char *chain;                                             // path or NULL
    char *encrypt_certificate, *encrypt_key, *encrypt_chain; // paths, of an SM2 pair; else NULL
    const struct cs_section *section;                        // NULL until a scan finds it
    enum cs_item_state state;
    uint64_t stamp;     // of the files as they were judged; 0: to be judged
    uint64_t content;   // of the bytes that were sent
    uint8_t sha256[32]; // cs_register_identity of its certificates
    uint8_t leaf[32];   // of the (signing) leaf, as it was read last
    // What the catalog was told that is at this place: the certificate's id and its identity. An upload
    // tells, too: until its outcome the id is "".
    cs_uuid told_id;
    uint8_t told_sha256[32];
    cs_log_id told_log;
    cs_uuid left_id; // what was told before under another name, and is to be told gone
    int64_t not_before_s;
    int64_t not_after_s; // of its certificates the earliest; 0: not known
    // the same with the CA certificates of the chain that was sent; 0: not known
    int64_t ends_s;
    enum cs_code code;
    // REGISTERED: the account's policy would refuse it now, and its renewal must fit. CS_CODE_NONE: not
    enum cs_code policy;
    char policy_detail[CS_POLICY_DETAIL_SIZE];
    char *message;
    cs_uuid event; // of SENT, REJECTED, DELETING
    int64_t since_ms;
    unsigned scan;   // the last one that found it
    int64_t gone_ms; // monotonic: since when its files are gone; 0: they are there
    int64_t due_ms;  // monotonic: to be looked at
    size_t queue_at; // place in the queue + 1; 0: not in it
    int attempts;
    bool told_end;   // that it has expired was logged
    bool asked;      // DELETING: the catalog is being asked
    uint64_t *steps; // index keys of the paths that matter to it
    size_t steps_len;
};

// When the first certificate of it or its chain ends; 0: not known.
int64_t cs_item_ends(const struct cs_item *item);

struct cs_known {
    char *name;
    bool present; // the catalog has it
    uint8_t sha256[32];
    int64_t not_before_s;
    int64_t ends_s; // with its chain; 0: not known
    cs_uuid id;
    // What is on its way:
    cs_uuid event; // "": nothing
    uint8_t sent_sha256[32];
    int64_t sent_not_before_s;
    int64_t sent_ends_s;
    unsigned listing; // the last listing of the catalog that named it
};

struct cs_register {
    struct cs_item **items;
    size_t n, cap;
    struct cs_known **known;
    size_t known_n, known_cap;
    struct cs_index by_certificate; // items
    struct cs_index by_name;        // items
    struct cs_index by_step;        // items, by the paths that matter to them
    struct cs_index known_by_name;
    struct cs_index known_by_event;
    char *path;
    cs_kid kid;
    int fd;
    struct cs_buf unwritten; // lines
    size_t lines;            // appended since the file was written anew
    bool write_failed;       // told once
};
// What tells two certificates under a name apart: the leaf's fingerprint. For an SM2 pair the hash
// of both (encrypt not NULL).
void cs_register_identity(struct cs_crypto *c, const uint8_t leaf[32], const uint8_t *encrypt,
                          uint8_t ret[32]);
// Reads the file if there is one. kid: rejections of another key's events are forgotten.
CS_MUST_USE bool cs_register_open(const char *path, const char *kid, struct cs_register *ret,
                                  struct cs_err *err);
void cs_register_close(struct cs_register *r);
CS_DEFINE_AUTO_CLEAR(struct cs_register, cs_register_close)

// Writes the lines of what changed: until then they are kept in memory. What a killed process did
// not write is asked for again.
void cs_register_flush(struct cs_register *r);

struct cs_item *cs_register_item(const struct cs_register *r, const char *certificate);
// The item of a candidate; a new one is made. Its paths and section are the candidate's. NULL: out
// of memory.
struct cs_item *cs_register_found(struct cs_register *r, const struct cs_candidate *c);
void cs_register_drop(struct cs_register *r, struct cs_item *item);
// Another name in the catalog than the settings give. False: out of memory.
bool cs_register_rename(struct cs_register *r, struct cs_item *item, const char *name);
// Sets state, code and message, and writes the item's line.
void cs_register_put(struct cs_register *r, struct cs_item *item, enum cs_item_state state, enum cs_code code,
                     const char *message, int64_t now_ms);

struct cs_known *cs_register_known(struct cs_register *r,
                                   const char *name); // made where new; NULL: no memory
struct cs_known *cs_register_by_event(const struct cs_register *r, const char *event);
void cs_register_sent(struct cs_register *r, struct cs_known *k, const char *event, const uint8_t sha256[32],
                      int64_t not_before_s, int64_t ends_s);
void cs_register_ended(struct cs_register *r, struct cs_known *k); // nothing is on its way any more
// The first item of a name with files that exist, other than `but`.
struct cs_item *cs_register_live(const struct cs_register *r, const char *name, const struct cs_item *but);
