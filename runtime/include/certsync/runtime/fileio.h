// SPDX-License-Identifier: Apache-2.0
//
// Reading and writing whole small files, with errors that say what to do.
// Errors are of kind CONFIG and name the path, except: out of memory (FATAL); a full or failing
// disk, too many open files, and a file that changes while it is read (RETRY). No function follows
// more than it says; all are thread-safe.
#pragma once

#include <sys/types.h>

#include "certsync/base/buf.h"

enum cs_file_flags {
    CS_FILE_NOFOLLOW = 1, // the last component must not be a symbolic link
    CS_FILE_STDIN = 2,    // "-" means standard input
    CS_FILE_PRIVATE = 4,  // refuse a file that others can read: see secretmode.h
};

// Reads the whole of a regular file (or standard input) and puts it at the end of *buf, whose max
// is the limit: a longer file is an error and nothing is put. Never blocks on a FIFO or device. The
// file is looked at before and after reading (device, inode, size, mtime); if it changed meanwhile
// the error is RETRY.
CS_MUST_USE bool cs_file_read(const char *path, unsigned flags, struct cs_buf *buf, struct cs_err *err);

// Writes data so that after true the file has either its whole new content or, after a crash, its
// old one: temporary file in the same directory, write, fsync, rename, fsync of the directory. mode
// is exact (the umask does not apply). On failure the temporary file is gone and the old file
// untouched. The directory is held while that is done (cs_dir_open).
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

// mkdir -p: makes missing directories with this mode (exact for those that are made; existing ones
// stay as they are). What root makes in the directory of another user belongs to that user. An
// existing non-directory is an error.
CS_MUST_USE bool cs_dir_make(const char *path, mode_t mode, struct cs_err *err);
// Opens a directory to work in it: it stays this one, whatever becomes of its name. Root follows
// only links of root's: nobody else may choose where root writes.
CS_MUST_USE bool cs_dir_open(const char *path, int *ret_fd, struct cs_err *err);
