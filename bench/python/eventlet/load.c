/*
 * The client of the server figures: keep-alive connections with one request in flight on each, one epoll loop on one core.
 *
 *   load PORT CONNECTIONS SECONDS CORE    requests answered in a second, and the share of the core that the client used
 *   load PORT CONNECTIONS hold CORE       one request on each, says "ready", and keeps them open until its input ends
 *   load PORT CONNECTIONS SECONDS CORE BYTES         requests are POSTs with so many bytes
 *   load PORT CONNECTIONS SECONDS CORE chunked:BYTES the same in chunks of 4 KiB
 *   load PORT CONNECTIONS SECONDS CORE websocket     messages of 16 bytes over a websocket each, which come back
 *
 * Half a second of warm-up comes first. Every response must have status 200 and the length of the first one.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static const char FIELDS[] = "HTTP/1.1\r\nHost: localhost\r\nUser-Agent: greenloom-bench\r\nAccept: */*\r\n";
static const char UPGRADE[] = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/* A text message with a mask of zeroes, and what comes back. */
static const char MESSAGE[] = "\x81\x90\0\0\0\0sixteen letters.";
static const char ECHOED[] = "\x81\x10sixteen letters.";

static char *request;
static size_t request_length;
/* What a response begins with. */
static const char *start = "HTTP/1.1 200 OK\r\n";
static int websocket;

struct connection {
    int fd;
    size_t left;
};

static size_t response_length;

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static void ask(struct connection *connection)
{
    connection->left = response_length;
    if (send(connection->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length)
        fail("send");
}

/* Reads what has come; whether the response is whole. */
static int answered(struct connection *connection)
{
    static char buffer[1 << 18];
    ssize_t got = recv(connection->fd, buffer, sizeof buffer, 0);
    if (got <= 0)
        fail("the server ended a connection");
    if (connection->left == response_length && memcmp(buffer, start, strlen(start)) != 0)
        fail("not the response that was expected");
    if ((size_t)got > connection->left)
        fail("a response is too long");
    connection->left -= got;
    return connection->left == 0;
}

static int open_connection(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect");
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* The first response, by its Content-Length, says how long all are. */
static void learn_length(int fd)
{
    static char buffer[1 << 18];
    size_t filled = 0;
    buffer[0] = 0;
    if (send(fd, request, request_length, MSG_NOSIGNAL) < 0)
        fail("send");
    while (filled < sizeof buffer - 1) {
        ssize_t got = recv(fd, buffer + filled, sizeof buffer - 1 - filled, 0);
        if (got <= 0)
            fail("no response");
        filled += got;
        buffer[filled] = 0;
        char *body = strstr(buffer, "\r\n\r\n");
        char *length = strcasestr(buffer, "\r\ncontent-length:");
        if (body == NULL)
            continue;
        if (websocket)
            return;
        if (length == NULL || length > body)
            fail("no Content-Length");
        response_length = body + 4 - buffer + strtoul(length + 17, NULL, 10);
        while (filled < response_length && got > 0) {
            got = recv(fd, buffer, sizeof buffer, 0);
            filled += got;
        }
        if (filled == response_length)
            return;
        break;
    }
    fail("the first response");
}

static void make_request(const char *kind)
{
    websocket = strcmp(kind, "websocket") == 0;
    int chunked = strncmp(kind, "chunked:", 8) == 0;
    size_t size = websocket ? 0 : atol(chunked ? kind + 8 : kind);
    request = calloc(1, 2 * size + 1024);
    if (chunked) {
        char *end = request + sprintf(request, "POST / %sTransfer-Encoding: chunked\r\n\r\n", FIELDS);
        for (size_t chunk; size > 0; size -= chunk) {
            chunk = size < 4096 ? size : 4096;
            end += sprintf(end, "%zx\r\n", chunk);
            memset(end, 'x', chunk);
            end += chunk + sprintf(end + chunk, "\r\n");
        }
        end += sprintf(end, "0\r\n\r\n");
        request_length = end - request;
        return;
    }
    if (websocket)
        sprintf(request, "GET / %s%s\r\n", FIELDS, UPGRADE);
    else if (size > 0)
        sprintf(request, "POST / %sContent-Length: %zu\r\n\r\n", FIELDS, size);
    else
        sprintf(request, "GET / %s\r\n", FIELDS);
    request_length = strlen(request);
    memset(request + request_length, 'x', size);
    request_length += size;
}

/* One request after the other on all connections until `until`; how many were answered. */
static unsigned long run(int poller, double until)
{
    struct epoll_event events[256];
    unsigned long count = 0;
    while (seconds(CLOCK_MONOTONIC) < until) {
        int number = epoll_wait(poller, events, 256, 1000);
        for (int i = 0; i < number; i++) {
            struct connection *connection = events[i].data.ptr;
            if (answered(connection)) {
                count++;
                ask(connection);
            }
        }
    }
    return count;
}

int main(int count, char **arguments)
{
    if (count != 5 && count != 6)
        fail("usage: load PORT CONNECTIONS (SECONDS | hold) CORE [BYTES | chunked:BYTES | websocket]");
    make_request(count == 6 ? arguments[5] : "0");
    int port = atoi(arguments[1]), connections = atoi(arguments[2]);
    cpu_set_t core;
    CPU_ZERO(&core);
    CPU_SET(atoi(arguments[4]), &core);
    sched_setaffinity(0, sizeof core, &core);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    struct connection *all = calloc(connections, sizeof *all);
    int poller = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < connections; i++) {
        all[i].fd = open_connection(port);
        learn_length(all[i].fd);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        epoll_ctl(poller, EPOLL_CTL_ADD, all[i].fd, &event);
    }
    if (strcmp(arguments[3], "hold") == 0) {
        printf("ready\n");
        fflush(stdout);
        while (getchar() != EOF)
            ;
        return 0;
    }
    if (websocket) {
        request = (char *)MESSAGE;
        request_length = sizeof MESSAGE - 1;
        start = ECHOED;
        response_length = sizeof ECHOED - 1;
    }
    for (int i = 0; i < connections; i++)
        ask(&all[i]);
    unsigned long before = run(poller, seconds(CLOCK_MONOTONIC) + 0.5);
    double began = seconds(CLOCK_MONOTONIC), used = seconds(CLOCK_PROCESS_CPUTIME_ID);
    unsigned long answers = run(poller, began + atof(arguments[3]));
    double took = seconds(CLOCK_MONOTONIC) - began;
    double busy = (seconds(CLOCK_PROCESS_CPUTIME_ID) - used) / took;
    printf("{\"per_second\": %.1f, \"client_busy\": %.3f, \"answers\": %lu}\n", answers / took, busy, before + answers);
    return 0;
}
