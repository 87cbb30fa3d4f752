// SPDX-License-Identifier: Apache-2.0
#include "fetch/address.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "certsync/base/err.h"

struct block {
    uint8_t prefix[16];
    unsigned bits;
};

static const struct block not_public_4[] = {
    {{0}, 8},             // this network
    {{10}, 8},            // private
    {{100, 64}, 10},      // behind a carrier's NAT
    {{127}, 8},           // loopback
    {{169, 254}, 16},     // link-local, and where clouds tell instances their secrets
    {{172, 16}, 12},      // private
    {{192, 0, 0}, 24},    // protocol assignments
    {{192, 0, 2}, 24},    // documentation
    {{192, 88, 99}, 24},  // 6to4 relays, ended
    {{192, 168}, 16},     // private
    {{198, 18}, 15},      // benchmarks
    {{198, 51, 100}, 24}, // documentation
    {{203, 0, 113}, 24},  // documentation
    {{224}, 4},           // multicast
    {{240}, 4},           // reserved, broadcast
};
static const struct block public_6 = {{0x20}, 3}; // all that is given out as global unicast lies in it
static const struct block not_public_6[] = {
    {{0x20, 0x01, 0x00}, 23},       // protocol assignments, Teredo
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, // documentation
    {{0x3f, 0xff}, 20},             // documentation
};
static const struct block with_v4[] = {
    {{[10] = 0xff, 0xff}, 96},      // mapped: the last four bytes
    {{0x00, 0x64, 0xff, 0x9b}, 96}, // NAT64
};
static const struct block sixtofour = {{0x20, 0x02}, 16}; // bytes 2 to 5

static bool lies_in(const uint8_t *address, const struct block *b) {
    unsigned whole = b->bits / 8, rest = b->bits % 8;
    if (memcmp(address, b->prefix, whole) != 0)
        return false;
    return rest == 0 || (address[whole] >> (8 - rest)) == (b->prefix[whole] >> (8 - rest));
}

static bool is_public_4(const uint8_t *address) {
    for (size_t i = 0; i < CS_ARRAY_LEN(not_public_4); i++)
        if (lies_in(address, &not_public_4[i]))
            return false;
    return true;
}

static bool is_public_6(const uint8_t *address) {
    for (size_t i = 0; i < CS_ARRAY_LEN(with_v4); i++)
        if (lies_in(address, &with_v4[i]))
            return is_public_4(address + 12);
    if (lies_in(address, &sixtofour))
        return is_public_4(address + 2);
    for (size_t i = 0; i < CS_ARRAY_LEN(not_public_6); i++)
        if (lies_in(address, &not_public_6[i]))
            return false;
    return lies_in(address, &public_6);
}

bool cs_address_is_public(const struct sockaddr *a) {
    if (a->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, a, sizeof in);
        return is_public_4((const uint8_t *)&in.sin_addr);
    }
    if (a->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, a, sizeof in);
        return is_public_6(in.sin6_addr.s6_addr);
    }
    return false;
}
