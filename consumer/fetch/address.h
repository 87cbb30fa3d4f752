// SPDX-License-Identifier: Apache-2.0
//
// Which network addresses are of the whole Internet. What somebody else names (a URL, a name in
// somebody's DNS) must not lead a server's requests to what only the server can reach.
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

// Whether it is reachable from everywhere, by the registries of special addresses (RFC 6890 and its
// updates). IPv6 addresses that hold an IPv4 address (mapped, 6to4, NAT64) are what that one is. Any
// other family is not.
bool cs_address_is_public(const struct sockaddr *a);
