// SPDX-License-Identifier: Apache-2.0
//
// Dates of the Gregorian calendar, shared by RFC 3339 and DER times.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Years from 0; false where a part is out of its range (the day of its month). No leap seconds.
bool text_date_to_s(int year, int month, int day, int hour, int minute, int second, int64_t *ret_s);
