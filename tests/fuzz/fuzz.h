// SPDX-License-Identifier: Apache-2.0
//
// What a fuzz target defines: the two entry points of libFuzzer (https://llvm.org/docs/LibFuzzer.html).
#ifndef CERTSYNC_TESTS_FUZZ_H
#define CERTSYNC_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

// Called for every input; `data` is borrowed for the call. Returns 0. A finding is a crash: abort(), a
// sanitizer's report.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

// Optional: called once before the first input.
int LLVMFuzzerInitialize(int *argc, char ***argv);

#endif
