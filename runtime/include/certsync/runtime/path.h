// SPDX-License-Identifier: Apache-2.0
//
// Opening files and directories where others may write. A path is walked component by component,
// and a descriptor holds each. So a person who may write to a directory on the way cannot swap a
// part of the path between a check and its use. A file to write to is opened in a held directory,
// too.
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
// As open(path, flags), without O_CREAT. -1 with errno. With ELOOP, ret_link says which link was
// not followed ("": there are too many).
CS_MUST_USE int cs_path_open(const char *path, int flags, const struct cs_path_links *links,
                             char ret_link[PATH_MAX]);

// Opens a file of this name to write to it (flags: O_RDWR or O_WRONLY, O_APPEND), or makes it. It
// refuses what somebody else may have put there: with EMLINK a file with another name (a hard
// link), or one that is not regular; with ELOOP a symbolic link. -1 with errno.
CS_MUST_USE int cs_path_open_own(int dir_fd, const char *name, int flags, mode_t mode);
// Makes a file that does not exist yet (else EEXIST).
CS_MUST_USE int cs_path_create(int dir_fd, const char *name, int flags, mode_t mode);
// Makes a directory with exactly this mode, gives it as below, and opens it. EEXIST if the name is
// taken.
CS_MUST_USE int cs_path_mkdir(int dir_fd, const char *name, mode_t mode);
// What root makes in another user's directory belongs to that user: root ran the command for that
// user's service. False with errno. fd: a file or an empty directory that was just made there. For
// other users than root it does nothing.
bool cs_path_give(int dir_fd, int fd);
