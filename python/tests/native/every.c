// Each call that is hooked, in a library that knows nothing of Python.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// The result, or -errno.
static long told(long result) { return result < 0 ? -errno : result; }

#define IS(name) !strcmp(call, name)

static long receive(const char *call, int fd) {
    char bytes[8];
    struct iovec buffer = {bytes, sizeof bytes};
    struct mmsghdr message = {.msg_hdr = {.msg_iov = &buffer, .msg_iovlen = 1}};
    if (IS("read")) return read(fd, bytes, sizeof bytes);
    if (IS("readv")) return readv(fd, &buffer, 1);
    if (IS("recv")) return recv(fd, bytes, sizeof bytes, 0);
    if (IS("recvfrom")) return recvfrom(fd, bytes, sizeof bytes, 0, NULL, NULL);
    if (IS("recvmsg")) return recvmsg(fd, &message.msg_hdr, 0);
    return recvmmsg(fd, &message, 1, 0, NULL);
}

static long look(const char *call, int fd) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    if (IS("poll")) return poll(&one, 1, -1);
    if (IS("ppoll")) return ppoll(&one, 1, NULL, NULL);
    if (IS("select")) return select(fd + 1, &set, NULL, NULL, NULL);
    if (IS("pselect")) return pselect(fd + 1, &set, NULL, NULL, NULL, NULL);
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    long found = IS("epoll_wait") ? epoll_wait(epoll, &event, 1, -1) : epoll_pwait(epoll, &event, 1, -1, NULL);
    close(epoll);
    return found;
}

// Returns 1 when a byte has come.
long every_receive(const char *call, int fd) {
    return told(*call == 'r' ? receive(call, fd) : look(call, fd));
}

// Returns when so many bytes are sent: their number.
long every_send(const char *call, int fd, long length) {
    char *bytes = calloc(length, 1);
    struct iovec buffer = {bytes, length};
    struct mmsghdr message = {.msg_hdr = {.msg_iov = &buffer, .msg_iovlen = 1}};
    long sent;
    if (IS("write")) sent = write(fd, bytes, length);
    else if (IS("writev")) sent = writev(fd, &buffer, 1);
    else if (IS("send")) sent = send(fd, bytes, length, 0);
    else if (IS("sendto")) sent = sendto(fd, bytes, length, 0, NULL, 0);
    else if (IS("sendmsg")) sent = sendmsg(fd, &message.msg_hdr, 0);
    else if (IS("sendmmsg")) sent = sendmmsg(fd, &message, 1, 0) == 1 ? message.msg_len : -1;
    else {
        int file = memfd_create("sent", 0);
        sent = ftruncate(file, length) < 0 ? -1 : sendfile(fd, file, NULL, length);
        close(file);
    }
    free(bytes);
    return told(sent);
}

// Returns 0 after 20 ms, or a second.
long every_sleep(const char *call) {
    struct timespec time = {.tv_nsec = 20000000};
    if (IS("nanosleep")) return told(nanosleep(&time, NULL));
    if (IS("usleep")) return told(usleep(20000));
    if (IS("sleep")) return sleep(1);
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += 20000000;
    if (time.tv_nsec >= 1000000000) time.tv_sec++, time.tv_nsec -= 1000000000;
    return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

// Returns a descriptor when somebody has connected.
long every_accept(const char *call, int fd) {
    return told(IS("accept") ? accept(fd, NULL, NULL) : accept4(fd, NULL, NULL, SOCK_CLOEXEC));
}

// Connects to the listener of the descriptor.
long every_connect(int fd) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    getsockname(fd, (struct sockaddr *)&address, &length);
    int socket_ = socket(address.ss_family, SOCK_STREAM, 0);
    struct timeval limit = {.tv_usec = 50000};
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    long result = told(connect(socket_, (struct sockaddr *)&address, length));
    return result < 0 ? result : socket_;
}

// What a child of this process ends by, when the descriptor says so.
long every_wait(const char *call, int fd) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        char byte;
        _exit(read(fd, &byte, 1) == 1 ? 7 : 1);
    }
    siginfo_t info;
    if (IS("waitid")) return told(waitid(P_PID, child, &info, WEXITED)) ?: info.si_status;
    pid_t found = IS("wait")      ? wait(&status)
                  : IS("waitpid") ? waitpid(child, &status, 0)
                                  : wait4(child, &status, 0, NULL);
    return found == child ? WEXITSTATUS(status) : -1;
}

long every_lock(int fd) { return told(flock(fd, LOCK_EX)); }

// Looks for localhost: 0.
long every_lookup(const char *call) {
    struct addrinfo *found = NULL, *numeric = NULL;
    struct hostent entry, *answer = NULL;
    char buffer[1024];
    int error;
    if (IS("gethostbyname")) return gethostbyname("localhost") ? 0 : -1;
    if (IS("gethostbyname_r")) {
        return gethostbyname_r("localhost", &entry, buffer, sizeof buffer, &answer, &error) || !answer;
    }
    if (IS("getaddrinfo")) {
        error = getaddrinfo("localhost", NULL, NULL, &found);
        if (!error) freeaddrinfo(found);
        return error;
    }
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST};
    error = getaddrinfo("127.0.0.1", NULL, &hints, &numeric);
    if (error) return error;
    error = getnameinfo(numeric->ai_addr, numeric->ai_addrlen, buffer, sizeof buffer, NULL, 0, 0);
    freeaddrinfo(numeric);
    return error;
}

// Returns 0.
long every_file(const char *call) {
    char byte = 'x';
    int file = memfd_create("file", 0);
    if (ftruncate(file, 10) < 0) return told(-1);
    long wanted = 1, done = -1;
    if (IS("pwrite")) done = pwrite(file, &byte, 1, 5);
    else if (IS("pwrite64")) done = pwrite64(file, &byte, 1, 5);
    else if (IS("pread")) done = pread(file, &byte, 1, 0);
    else if (IS("pread64")) done = pread64(file, &byte, 1, 0);
    else if (IS("fsync")) wanted = 0, done = fsync(file);
    else if (IS("fdatasync")) wanted = 0, done = fdatasync(file);
    close(file);
    return done == wanted ? 0 : told(-1);
}
