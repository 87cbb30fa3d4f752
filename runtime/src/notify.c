// SPDX-License-Identifier: Apache-2.0
//
// sd_notify(3): a datagram to the socket that NOTIFY_SOCKET names; a leading '@' means the abstract
// name space.
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "certsync/runtime/loop.h"

bool cs_notify(const char *state) {
    const char *path = getenv("NOTIFY_SOCKET");
    if (!path || !*path)
        return true;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if ((*path != '/' && *path != '@') || len >= sizeof addr.sun_path)
        return false;
    memcpy(addr.sun_path, path, len);
    if (*path == '@')
        addr.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    // A path ends with its NUL; an abstract name has exactly these bytes.
    socklen_t addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (*path == '/'));
    ssize_t n = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&addr, addr_len);
    close(fd);
    return n == (ssize_t)strlen(state);
}
