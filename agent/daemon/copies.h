// SPDX-License-Identifier: Apache-2.0
//
// Which file is a copy of another in the same directory, by their names.
#pragma once

#include <stdbool.h>

// Whether name is a usual name for a copy of a file for which is_there says true: "www.crt.bak",
// "www.crt~", "www.crt.20260101"; "www (copy).crt", "www (2).crt", "www - Copy.crt"; "www.old.crt",
// "www-backup2.crt"; "Copy of www.crt". is_there is asked only for the few names that the original
// may have.
bool cs_is_copy(const char *name, bool (*is_there)(void *arg, const char *original), void *arg);
