// SPDX-License-Identifier: Apache-2.0
//
// For programs that only measure: what OpenSSL refuses ends them.
#pragma once

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

#define MUST(x)                                                                                              \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            ERR_print_errors_fp(stderr);                                                                     \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                          \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)
