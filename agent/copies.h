// SPDX-License-Identifier: Apache-2.0
//
// Which of two files is the copy, by their names.
#pragma once

#include <stdbool.h>

// Whether name is what people and programs call a copy of the file original in the same directory:
// "www.crt.bak", "www.crt~", "www.crt.20260101"; "www (copy).crt", "www (2).crt", "www - Copy.crt";
// "www.old.crt", "www-backup2.crt"; "Copy of www.crt".
bool cs_is_copy_of(const char *name, const char *original);
