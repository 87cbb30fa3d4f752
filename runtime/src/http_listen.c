// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "http_internal.h"

static bool fail(struct cs_err *err, const char *text, const char *reason) {
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "cannot listen on %s: %s", text, reason);
}

// Adds what to do about the errno.
static bool fail_errno(struct cs_err *err, const char *text, int code) {
    const char *mend =
        code == EADDRINUSE      ? "; another program listens there, or this one runs already (ss -ltnp "
                                  "names it): stop it, or set another address"
        : code == EACCES        ? "; ports below 1024 need a right: set a higher port, or give the unit "
                                  "AmbientCapabilities=CAP_NET_BIND_SERVICE"
        : code == EADDRNOTAVAIL ? "; this machine has no such address (ip addr shows those it has)"
                                : "";
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "cannot listen on %s: %s%s", text, strerror(code),
                      mend);
}

static int open_socket(int family, const struct sockaddr *addr, socklen_t len) {
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int on = 1, off = 0;
    bool ok = family == AF_UNIX || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
    // Connections inherit it. An answer has more than one packet. Else the second would wait until
    // the client acknowledged the first, which takes 40 ms.
    if (ok && family != AF_UNIX)
        ok = setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0;
    // The unspecified IPv6 address takes IPv4 as well.
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (ok && bind(fd, addr, len) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int code = errno;
    close(fd);
    errno = code;
    return -1;
}

// A socket file that nobody listens on is left from a crash. One that answers belongs to another
// process.
static bool remove_stale(const struct sockaddr_un *addr, socklen_t len, bool *ret_in_use) {
    struct stat st;
    if (lstat(addr->sun_path, &st) < 0)
        return errno == ENOENT;
    if (!S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int code = fd < 0 || connect(fd, (const struct sockaddr *)addr, len) < 0 ? errno : 0;
    *ret_in_use = code == 0;
    if (fd >= 0)
        close(fd);
    return code == ECONNREFUSED && unlink(addr->sun_path) == 0;
}

static bool listen_unix(const char *text, const char *path, int *ret_fd, char **ret_path, bool *ret_in_use,
                        struct cs_err *err) {
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t path_len = strlen(path);
    if (path_len == 0 || path_len >= sizeof addr.sun_path)
        return fail(err, text, "the path of the socket is empty or too long");
    memcpy(addr.sun_path, path, path_len + 1);
    socklen_t len = (socklen_t)sizeof addr;
    if (!remove_stale(&addr, len, ret_in_use))
        return fail(err, text,
                    *ret_in_use ? "somebody listens there: stop that program, or set another path"
                                : "the file exists and is no socket that may be removed: set another path");
    // The socket is made with its mode, 0660. A later chmod() by path might change another file.
    mode_t before = umask(0117);
    int fd = open_socket(AF_UNIX, (struct sockaddr *)&addr, len);
    int code = errno;
    umask(before);
    if (fd < 0)
        return cs_err_set(
            err, CS_ERR_CONFIG, CS_CODE_NONE,
            "cannot listen on %s: %s; the socket's directory must exist, and this user must be able "
            "to write in it",
            text, strerror(code));
    char *copy = strdup(path);
    if (!copy) {
        close(fd);
        return cs_err_oom(err);
    }
    *ret_fd = fd;
    *ret_path = copy;
    return true;
}

static int bound_port(int fd) {
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
        return 0;
    if (ss.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)(void *)&ss)->sin6_port);
    return ntohs(((struct sockaddr_in *)(void *)&ss)->sin_port);
}

// "[::1]:80" -> ::1 and 80. An empty host is the unspecified address.
static bool split(const char *text, char *host, size_t host_size, const char **ret_port) {
    const char *colon = strrchr(text, ':');
    if (!colon || !colon[1])
        return false;
    size_t len = (size_t)(colon - text);
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    } else if (memchr(text, ':', len)) {
        return false; // IPv6 without brackets
    }
    if (len >= host_size)
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    *ret_port = colon + 1;
    return true;
}

static int open_first(const struct addrinfo *list, int family) {
    for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        if (family != AF_UNSPEC && ai->ai_family != family)
            continue;
        int fd = open_socket(ai->ai_family, ai->ai_addr, ai->ai_addrlen);
        if (fd >= 0)
            return fd;
    }
    return -1;
}

bool http_listen(const char *text, int *ret_fd, int *ret_port, char **ret_unix_path, bool *ret_in_use,
                 struct cs_err *err) {
    *ret_in_use = false;
    if (strncmp(text, "unix:", 5) == 0) {
        *ret_port = 0;
        return listen_unix(text, text + 5, ret_fd, ret_unix_path, ret_in_use, err);
    }
    char host[256];
    const char *port = NULL;
    if (!split(text, host, sizeof host, &port) || strspn(port, "0123456789") != strlen(port))
        return fail(err, text, "not HOST:PORT, [IPV6]:PORT, :PORT or unix:PATH");
    if (strlen(port) > 5 || strtol(port, NULL, 10) > 65535) // getaddrinfo takes it modulo 65536
        return fail(err, text, "the port is at most 65535");
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *list = NULL;
    int code = getaddrinfo(*host ? host : NULL, port, &hints, &list);
    if (code != 0)
        return fail(err, text, gai_strerror(code));
    // For all addresses, one IPv6 socket serves both families if the machine has IPv6.
    int fd = *host ? -1 : open_first(list, AF_INET6);
    if (fd < 0)
        fd = open_first(list, AF_UNSPEC);
    code = errno;
    freeaddrinfo(list);
    *ret_in_use = fd < 0 && code == EADDRINUSE;
    if (fd < 0)
        return fail_errno(err, text, code);
    *ret_fd = fd;
    *ret_port = bound_port(fd);
    *ret_unix_path = NULL;
    return true;
}
