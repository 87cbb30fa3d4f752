// SPDX-License-Identifier: Apache-2.0
//
// Patterns of host names: what DNS names and addresses a certificate may have (the policy of an
// account, the `dns` of a key). A pattern stands for hosts:
//
//   www.example.com    this host
//   *.example.com      every host with one label more
//   **.example.com     every host with one label more, or several; not example.com
//   IP:192.0.2.1       this address (IPv4, or IPv6 as RFC 5952 writes it)
//   IP:*               every address
//
// Patterns are in lower case, names of other alphabets in their xn-- form (RFC 5890 A-labels), with no
// dot at the end, at most 253 characters. A pattern that stands for every host, or for none, has no
// form: "*", "**", "a..b", "www.*.com", "w*.example.com", "192.0.2.1" (an address needs IP:).
//
// What a certificate names are its DNS names and its addresses. If it has none of both, it is its
// common name, as a DNS name (clients of old read it so). E-mail addresses and URIs name no host: they
// are not looked at, but a certificate that names no host is covered by nothing.
//
// A name is covered if one pattern stands for every host that the name stands for. Upper and lower case
// are one. A wildcard name (RFC 6125 section 6.4.3: '*' in its first label, also as in w*.example.com)
// stands for hosts with one label in that place: *.example.com and **.example.com cover it, and
// **.com does, but no list of hosts. A '*' in another label, an empty label and a dot at the end
// are covered by nothing.
#pragma once

#include "certsync/model/cert.h"
#include "certsync/model/csr.h"

#define CS_DNS_PATTERN_MAX  256  // "**." and a name
#define CS_DNS_PATTERNS_MAX 1023 // bytes of a list: its patterns, and one between each two

// A list: one pattern a line, the last one without a line feed. "": no list.
typedef char cs_dns_patterns[CS_DNS_PATTERNS_MAX + 1];

bool cs_dns_pattern_valid(const char *s, size_t len);

// Whether the list covers a DNS name, or an address as inet_ntop writes it.
bool cs_dns_covers(const char *patterns, const char *name);
bool cs_dns_covers_address(const char *patterns, const char *address);
// Whether the list `outer` stands for every host that the list `inner` stands for, pattern by pattern.
// "" as outer is no limit; "" as inner is within nothing else.
bool cs_dns_within(const char *inner, const char *outer);
// A DNS name that has '*' in its first label.
bool cs_dns_is_wildcard(const char *name);

// What a certificate or request names, one after the other.
#define CS_HOST_TEXT_SIZE 256 // longer DNS names are cut: no pattern covers them
struct cs_hosts {
    struct cs_bytes rest; // of the subject alternative names
    const char *common_name;
    bool any;
};
struct cs_host {
    bool address;
    char text[CS_HOST_TEXT_SIZE];
};
struct cs_hosts cs_hosts_of_cert(const struct cs_cert *cert); // borrows from it
struct cs_hosts cs_hosts_of_csr(const struct cs_csr *csr);
bool cs_hosts_next(struct cs_hosts *h, struct cs_host *ret); // false: there is no more
