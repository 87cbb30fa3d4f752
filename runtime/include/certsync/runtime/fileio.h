// SPDX-License-Identifier: Apache-2.0
//
// Reading and writing whole small files, with errors that say what to do.
// Errors are of kind CONFIG and name the path, except: out of memory (FATAL); a full or failing disk, too many
// open files, and a file that changes while it is read (RETRY). No function follows more than it says; all are
// thread-safe.
#pragma once

#include <sys/types.h>

#include "certsync/model/buf.h"

enum cs_file_flags {
    CS_FILE_NOFOLLOW = 1, // the last component must not be a symbolic link
    CS_FILE_STDIN = 2,    // "-" means standard input
    CS_FILE_PRIVATE = 4,  // refuse a file that others can read: see secretmode.h
};

// Reads the whole of a regular file (or standard input) and puts it at the end of *buf, whose max is the
// limit: a longer file is an error and nothing is put. Never blocks on a FIFO or device. The file is looked
// at before and after reading (device, inode, size, mtime); if it changed meanwhile the error is RETRY.
CS_MUST_USE bool cs_file_read(const char *path, unsigned flags, struct cs_buf *buf, struct cs_err *err);

// Writes data so that after true the file has either its whole new content or, after a crash, its old
// one: temporary file in the same directory, write, fsync, rename, fsync of the directory. mode is exact
// (the umask does not apply). On failure the temporary file is gone and the old file untouched.
CS_MUST_USE bool cs_file_write(const char *path, struct cs_bytes data, mode_t mode, struct cs_err *err);
// As cs_file_write, but an existing file is an error (kind CONFIG) and stays as it is.
CS_MUST_USE bool cs_file_create(const char *path, struct cs_bytes data, mode_t mode, struct cs_err *err);

// Removes a file durably (unlink, fsync of the directory). A missing file is success.
CS_MUST_USE bool cs_file_remove(const char *path, struct cs_err *err);

// mkdir -p: makes missing directories with this mode (exact for those that are made; existing ones stay
// as they are). An existing non-directory is an error.
CS_MUST_USE bool cs_dir_make(const char *path, mode_t mode, struct cs_err *err);
// fsync of a directory, so that renames and unlinks in it last.
CS_MUST_USE bool cs_dir_sync(const char *path, struct cs_err *err);
