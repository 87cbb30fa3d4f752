// SPDX-License-Identifier: Apache-2.0
//
// Reading files that others write: one bounded read of a regular file whose owner is trusted, into
// memory that is locked and wiped. Exactly these bytes are checked, sealed and sent; there is no
// second read.
#pragma once

#include <limits.h>
#include <sys/types.h>

#include "certsync/base/err.h"

#define CS_OWNERS_MAX 16

struct cs_file_policy {
    bool follow_links; // else a path with a symbolic link anywhere in it is refused
    bool any_owner;
    uid_t owners[CS_OWNERS_MAX]; // who may own a file, and (with root) the links to it
    size_t owners_len;
    size_t max_bytes; // at most CS_PEM_FILE_MAX
};

// Memory for one file's bytes, kept over many reads.
struct cs_guarded {
    uint8_t *map;
    struct cs_bytes bytes; // of the last read
};
CS_MUST_USE bool cs_guarded_init(struct cs_guarded *g, struct cs_err *err);
void cs_guarded_wipe(struct cs_guarded *g);
void cs_guarded_clear(struct cs_guarded *g);
CS_DEFINE_AUTO_CLEAR(struct cs_guarded, cs_guarded_clear)

enum cs_read {
    CS_READ_OK = 1,
    CS_READ_GONE,     // it is not there
    CS_READ_CHANGING, // it changed while it was read
    CS_READ_REFUSED,  // err: the policy, or no permission
};
// Where the directory of the last file led to: for the files beside it the way is not walked again.
// Keep it for a moment of work only (a change of the way is not seen meanwhile), then clear it.
// Start with zeros.
struct cs_place {
    char directory[PATH_MAX]; // as it was written; "": none
    const struct cs_file_policy *policy;
    int fd; // of the directory
    // For cs_path_follow:
    char followed[PATH_MAX]; // as it was written; "": none
    char at[PATH_MAX];       // where it is
    char *links;             // those on the way, each with its NUL; malloc'ed
    size_t links_len, links_cap;
    int links_n;
};
void cs_place_clear(struct cs_place *p);
CS_DEFINE_AUTO_CLEAR(struct cs_place, cs_place_clear)

// place: NULL, or kept from file to file.
enum cs_read cs_guarded_read(const char *path, const struct cs_file_policy *policy, struct cs_place *place,
                             struct cs_guarded *g, struct cs_err *err);

// What tells that a file changed, without reading it: mixes device, inode, owner, size, times of
// content and of inode of what the path leads to. Start with 0; a file that is not there is mixed
// in as such.
uint64_t cs_stamp_mix(uint64_t stamp, const char *path);

// Calls on_path for every symbolic link that a path leads over, at its own real place, and for the
// file at the end (or for the first part that is missing). Whoever watches the directories of all
// of these sees every change of what the path means. False where it does not lead to anything
// (dangling, loop, no permission).
// place: NULL, or kept from path to path.
bool cs_path_follow(const char *path, struct cs_place *place, void (*on_path)(void *arg, const char *path),
                    void *arg);
