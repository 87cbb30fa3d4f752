// SPDX-License-Identifier: Apache-2.0
//
// Reading and writing whole small files, with errors that say what to do. Errors are of kind CONFIG
// and name the path. Exceptions: out of memory (FATAL); a full or failing disk, too many open
// files, and a file that changes while it is read (RETRY). No function follows more links than it
// says. All are thread-safe.
#pragma once

#include <sys/types.h>

#include "certsync/base/buf.h"

enum cs_file_flags {
    CS_FILE_NOFOLLOW = 1, // the last component must not be a symbolic link
    CS_FILE_STDIN = 2,    // "-" means standard input
    CS_FILE_PRIVATE = 4,  // refuse a file that others can read: see secretmode.h
};

// Reads a whole regular file (or standard input) and appends it to *buf. buf's max is the limit: a
// longer file is an error, and nothing is appended. Never blocks on a FIFO or device. The file is
// checked before and after reading (device, inode, size, mtime). If it changed meanwhile, the error
// is RETRY.
CS_MUST_USE bool cs_file_read(const char *path, unsigned flags, struct cs_buf *buf, struct cs_err *err);

// Writes data. After true, the file has its whole new content, or after a crash its old one. The
// steps: temporary file in the same directory, write, fsync, rename, fsync of the directory. mode
// is exact (the umask does not apply). On failure the temporary file is gone, and the old file is
// untouched. The directory is held meanwhile (cs_dir_open).
CS_MUST_USE bool cs_file_write(const char *path, struct cs_bytes data, mode_t mode, struct cs_err *err);
// As cs_file_write; root gives the file to the owner of its directory (cs_path_give).
CS_MUST_USE bool cs_file_write_given(const char *path, struct cs_bytes data, mode_t mode, struct cs_err *err);
// As cs_file_write, but an existing file is an error (kind CONFIG) and stays as it is.
CS_MUST_USE bool cs_file_create(const char *path, struct cs_bytes data, mode_t mode, struct cs_err *err);
// Opens a file that lasts (a lock, a journal) to write to it, as cs_path_open_own.
CS_MUST_USE bool cs_file_open_own(const char *path, int flags, mode_t mode, int *ret_fd, struct cs_err *err);

// Renames durably, replacing what is there.
CS_MUST_USE bool cs_file_move(const char *from, const char *to, struct cs_err *err);
// Removes a file durably (unlink, fsync of the directory). A missing file is success.
CS_MUST_USE bool cs_file_remove(const char *path, struct cs_err *err);

// mkdir -p: makes missing directories with this mode. It is exact for new ones; existing ones keep
// theirs. A directory that root makes inside another user's directory belongs to that user. An
// existing non-directory is an error.
CS_MUST_USE bool cs_dir_make(const char *path, mode_t mode, struct cs_err *err);
// Opens a directory to work in it. It stays the same one, whatever happens to its name. Root
// follows only links of root: nobody else may choose where root writes.
CS_MUST_USE bool cs_dir_open(const char *path, int *ret_fd, struct cs_err *err);
