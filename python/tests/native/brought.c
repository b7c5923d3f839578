// A library that an extension module was linked with, or opens.

#include <poll.h>

int brought_poll(int fd, int milliseconds) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, milliseconds);
}
