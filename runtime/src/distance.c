// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "certsync/runtime/settings.h"

#define TEXT_MAX 63

static unsigned min3(unsigned a, unsigned b, unsigned c) {
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

// Optimal string alignment: insertions, deletions, substitutions, swaps of neighbours.
unsigned cs_text_distance(const char *a, const char *b) {
    size_t n = strnlen(a, TEXT_MAX), m = strnlen(b, TEXT_MAX);
    unsigned d[TEXT_MAX + 1][TEXT_MAX + 1];
    for (size_t i = 0; i <= n; i++)
        d[i][0] = (unsigned)i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        for (size_t j = 1; j <= m; j++) {
            unsigned cost = a[i - 1] == b[j - 1] ? 0 : 1;
            d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < d[i][j])
                d[i][j] = d[i - 2][j - 2] + 1;
        }
    }
    return d[n][m];
}
