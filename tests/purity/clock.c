// SPDX-License-Identifier: Apache-2.0
//
// What the model must not do, for the check to find.
#include <time.h>

long purity_now(void);
long purity_now(void) {
    return (long)time(NULL);
}
