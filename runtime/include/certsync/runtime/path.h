// SPDX-License-Identifier: Apache-2.0
//
// Opening files and directories where others may write. A path is walked one component after the
// other, and each is held by a descriptor: who may write to a directory on the way cannot swap a
// part of the path between a check and its use. What is written to is opened in a directory that is
// held, too.
#pragma once

#include <limits.h>
#include <sys/types.h>

#include "certsync/base/err.h"

struct cs_path_links {
    bool follow; // else no component of the path may be a symbolic link
    bool any_owner;
    const uid_t *owners; // else only links of root and of these users are followed
    size_t owners_len;
};
// As open(path, flags); O_CREAT is not for it. -1 with errno; where that is ELOOP, ret_link says
// which link was not followed ("": there are too many of them).
CS_MUST_USE int cs_path_open(const char *path, int flags, const struct cs_path_links *links,
                             char ret_link[PATH_MAX]);

// Opens a file of this name to write to it (flags: O_RDWR or O_WRONLY, O_APPEND), and makes it
// where there is none. Refused, with EMLINK, is what somebody else may have put there: a file that
// has another name too (a hard link), or that is not a regular file; with ELOOP a symbolic link. -1
// with errno.
CS_MUST_USE int cs_path_open_own(int dir_fd, const char *name, int flags, mode_t mode);
// Makes a file that is not there yet (EEXIST).
CS_MUST_USE int cs_path_create(int dir_fd, const char *name, int flags, mode_t mode);
// Makes a directory with exactly this mode and opens it, given as below; EEXIST where there is
// something.
CS_MUST_USE int cs_path_mkdir(int dir_fd, const char *name, mode_t mode);
// What root makes in the directory of another user belongs to that user: the service that root's
// command worked for. False with errno. fd: a file or an empty directory that was just made there.
// Nothing is done for other users.
bool cs_path_give(int dir_fd, int fd);
