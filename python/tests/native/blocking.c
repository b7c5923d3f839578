// An extension module that blocks in C, in the ways of real ones. It is linked with brought.c.

#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <alloca.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int brought_poll(int fd, int milliseconds);

// poll(fd, milliseconds, keep_lock=False): the result, or -errno.
static PyObject *blocking_poll(PyObject *self, PyObject *args) {
    int fd, milliseconds, keep = 0, result;
    if (!PyArg_ParseTuple(args, "ii|p", &fd, &milliseconds, &keep)) return NULL;
    struct pollfd one = {.fd = fd, .events = POLLIN};
    if (keep) {
        result = poll(&one, 1, milliseconds);
    } else {
        Py_BEGIN_ALLOW_THREADS
        result = poll(&one, 1, milliseconds);
        Py_END_ALLOW_THREADS
    }
    return PyLong_FromLong(result < 0 ? -errno : result);
}

// The same by the library that this one brings.
static PyObject *blocking_brought_poll(PyObject *self, PyObject *args) {
    int fd, milliseconds, result;
    if (!PyArg_ParseTuple(args, "ii", &fd, &milliseconds)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    result = brought_poll(fd, milliseconds);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(result);
}

// The same by a library that is opened for it.
static PyObject *blocking_opened_poll(PyObject *self, PyObject *args) {
    const char *path;
    int fd, milliseconds, result;
    if (!PyArg_ParseTuple(args, "sii", &path, &fd, &milliseconds)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    int (*call)(int, int) = library ? dlsym(library, "brought_poll") : NULL;
    result = call ? call(fd, milliseconds) : -1;
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(result);
}

// recv(fd): what is there, up to 100 bytes; an OSError as libraries have it.
static PyObject *blocking_recv(PyObject *self, PyObject *args) {
    int fd;
    char buffer[100];
    ssize_t result;
    if (!PyArg_ParseTuple(args, "i", &fd)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    result = recv(fd, buffer, sizeof buffer, 0);
    Py_END_ALLOW_THREADS
    return result < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyBytes_FromStringAndSize(buffer, result);
}

static PyObject *blocking_close(PyObject *self, PyObject *args) {
    int fd;
    if (!PyArg_ParseTuple(args, "i", &fd)) return NULL;
    return PyLong_FromLong(close(fd));
}

static PyObject *blocking_sleep(PyObject *self, PyObject *args) {
    double seconds;
    if (!PyArg_ParseTuple(args, "d", &seconds)) return NULL;
    struct timespec time = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (time_t)seconds) * 1e9)};
    Py_BEGIN_ALLOW_THREADS
    nanosleep(&time, NULL);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

// rest_of_sleep(seconds): what a signal has left of them; 0.0 if there was none.
static PyObject *blocking_rest_of_sleep(PyObject *self, PyObject *args) {
    double seconds;
    if (!PyArg_ParseTuple(args, "d", &seconds)) return NULL;
    struct timespec time = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (time_t)seconds) * 1e9)};
    struct timespec left = {0};
    int result, code;
    Py_BEGIN_ALLOW_THREADS
    result = nanosleep(&time, &left);
    code = errno;
    Py_END_ALLOW_THREADS
    if (result < 0 && code != EINTR) return PyErr_Format(PyExc_OSError, "%d", code);
    return PyFloat_FromDouble(result < 0 ? left.tv_sec + left.tv_nsec / 1e9 : 0.0);
}

static PyObject *blocking_lookup(PyObject *self, PyObject *args) {
    const char *name;
    struct addrinfo *found = NULL;
    int result;
    if (!PyArg_ParseTuple(args, "s", &name)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    result = getaddrinfo(name, NULL, NULL, &found);
    if (result == 0) freeaddrinfo(found);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(result);
}

struct shared {
    int number, bell;
};

static void *fill(void *place) {
    struct shared *shared = place;
    usleep(50000);
    shared->number = 42;
    if (write(shared->bell, "x", 1) < 0) abort();
    return NULL;
}

// A thread of the library's own writes to the stack of a function that waits: 42.
static PyObject *blocking_filled(PyObject *self, PyObject *none) {
    int ends[2];
    if (pipe(ends) < 0) return PyErr_SetFromErrno(PyExc_OSError);
    struct shared shared = {.number = 0, .bell = ends[1]};
    pthread_t thread;
    pthread_create(&thread, NULL, fill, &shared);
    struct pollfd one = {.fd = ends[0], .events = POLLIN};
    Py_BEGIN_ALLOW_THREADS
    poll(&one, 1, -1);
    pthread_join(thread, NULL);
    Py_END_ALLOW_THREADS
    close(ends[0]);
    close(ends[1]);
    return PyLong_FromLong(shared.number);
}

// Calls a function of Python's from a call that has let go of the lock, then waits: as drivers with callbacks do.
static PyObject *blocking_call_back(PyObject *self, PyObject *args) {
    PyObject *function, *result;
    int fd, milliseconds;
    if (!PyArg_ParseTuple(args, "Oii", &function, &fd, &milliseconds)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    struct pollfd one = {.fd = fd, .events = POLLIN};
    poll(&one, 1, milliseconds);
    PyGILState_STATE state = PyGILState_Ensure();
    result = PyObject_CallNoArgs(function);
    PyGILState_Release(state);
    poll(&one, 1, milliseconds);
    Py_END_ALLOW_THREADS
    return result;
}

// Needs so many bytes of stack, page by page from where it is, and then waits.
static PyObject *blocking_deep(PyObject *self, PyObject *args) {
    int bytes, fd, milliseconds, result;
    if (!PyArg_ParseTuple(args, "iii", &bytes, &fd, &milliseconds)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    volatile char *stack = alloca(bytes);
    for (int at = bytes - 1; at >= 0; at -= 4096) stack[at] = 1;
    struct pollfd one = {.fd = fd, .events = POLLIN};
    result = poll(&one, 1, milliseconds);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(result);
}

// forked_poll(fd, milliseconds): what poll says in a child that Python knows nothing of.
static PyObject *blocking_forked_poll(PyObject *self, PyObject *args) {
    int fd, milliseconds, status = 0;
    if (!PyArg_ParseTuple(args, "ii", &fd, &milliseconds)) return NULL;
    pid_t child = fork();
    if (child == 0) {
        struct pollfd one = {.fd = fd, .events = POLLIN};
        _exit(poll(&one, 1, milliseconds));
    }
    if (child < 0 || waitpid(child, &status, 0) < 0) return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromLong(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
}

static pthread_mutex_t mutexes[3] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP,
                                     PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP};

// locked_poll(kind, times, fd, milliseconds): waits with a mutex held; the error of what failed first.
static PyObject *blocking_locked_poll(PyObject *self, PyObject *args) {
    int kind, times, fd, milliseconds, failed = 0;
    if (!PyArg_ParseTuple(args, "iiii", &kind, &times, &fd, &milliseconds)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    struct pollfd one = {.fd = fd, .events = POLLIN};
    int held = 0;
    while (held < times && !(failed = pthread_mutex_lock(&mutexes[kind]))) held++;
    if (held > 0) poll(&one, 1, milliseconds);
    while (held-- > 0) pthread_mutex_unlock(&mutexes[kind]);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(failed);
}

static pthread_key_t at_end;

static void lock_once(void *mutex) {
    pthread_mutex_lock(mutex);
    pthread_mutex_unlock(mutex);
}

static void *lock_and_end(void *mutex) {
    pthread_setspecific(at_end, mutex);
    lock_once(mutex);
    return NULL;
}

// A thread of the library's own uses a lock when it ends, after all else of it has ended.
static PyObject *blocking_lock_at_thread_end(PyObject *self, PyObject *none) {
    pthread_t thread;
    pthread_key_create(&at_end, lock_once);
    Py_BEGIN_ALLOW_THREADS
    pthread_create(&thread, NULL, lock_and_end, &mutexes[1]);
    pthread_join(thread, NULL);
    Py_END_ALLOW_THREADS
    pthread_key_delete(at_end);
    Py_RETURN_NONE;
}

static pthread_rwlock_t data_lock = PTHREAD_RWLOCK_INITIALIZER;

// read_locked_poll(write, fd, milliseconds): waits with a read-write lock held; the error of what failed first.
static PyObject *blocking_read_locked_poll(PyObject *self, PyObject *args) {
    int writes, fd, milliseconds, failed;
    if (!PyArg_ParseTuple(args, "pii", &writes, &fd, &milliseconds)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    struct pollfd one = {.fd = fd, .events = POLLIN};
    failed = writes ? pthread_rwlock_wrlock(&data_lock) : pthread_rwlock_rdlock(&data_lock);
    if (!failed) {
        poll(&one, 1, milliseconds);
        pthread_rwlock_unlock(&data_lock);
    }
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(failed);
}

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int value = 0;
static sem_t semaphore;

// await(value, milliseconds): waits on a condition until it is set, without a limit if that is negative; the error.
static PyObject *blocking_await(PyObject *self, PyObject *args) {
    int wanted, milliseconds, failed = 0;
    if (!PyArg_ParseTuple(args, "ii", &wanted, &milliseconds)) return NULL;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    long nanoseconds = until.tv_nsec + milliseconds % 1000 * 1000000L;
    until.tv_sec += milliseconds / 1000 + nanoseconds / 1000000000;
    until.tv_nsec = nanoseconds % 1000000000;
    Py_BEGIN_ALLOW_THREADS
    pthread_mutex_lock(&guard);
    while (value != wanted && !failed) {
        failed = milliseconds < 0 ? pthread_cond_wait(&changed, &guard)
                                  : pthread_cond_timedwait(&changed, &guard, &until);
    }
    pthread_mutex_unlock(&guard);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(failed);
}

// limited(call, milliseconds): takes a lock that others may have, or waits for the value 99; the error.
static PyObject *blocking_limited(PyObject *self, PyObject *args) {
    const char *call;
    int milliseconds, failed;
    if (!PyArg_ParseTuple(args, "si", &call, &milliseconds)) return NULL;
    int names_clock = strstr(call, "clock") != NULL;
    struct timespec until;
    clock_gettime(names_clock ? CLOCK_MONOTONIC : CLOCK_REALTIME, &until);
    long nanoseconds = until.tv_nsec + milliseconds % 1000 * 1000000L;
    until.tv_sec += milliseconds / 1000 + nanoseconds / 1000000000;
    until.tv_nsec = nanoseconds % 1000000000;
    Py_BEGIN_ALLOW_THREADS
    if (strstr(call, "mutex")) {
        failed = names_clock ? pthread_mutex_clocklock(&mutexes[0], CLOCK_MONOTONIC, &until)
                             : pthread_mutex_timedlock(&mutexes[0], &until);
        if (!failed) pthread_mutex_unlock(&mutexes[0]);
    } else if (strstr(call, "rwlock")) {
        failed = strstr(call, "rdlock")
                     ? (names_clock ? pthread_rwlock_clockrdlock(&data_lock, CLOCK_MONOTONIC, &until)
                                    : pthread_rwlock_timedrdlock(&data_lock, &until))
                     : (names_clock ? pthread_rwlock_clockwrlock(&data_lock, CLOCK_MONOTONIC, &until)
                                    : pthread_rwlock_timedwrlock(&data_lock, &until));
        if (!failed) pthread_rwlock_unlock(&data_lock);
    } else if (strstr(call, "sem")) {
        int result = names_clock ? sem_clockwait(&semaphore, CLOCK_MONOTONIC, &until)
                                 : sem_timedwait(&semaphore, &until);
        failed = result ? errno : 0;
    } else {
        failed = 0;
        pthread_mutex_lock(&guard);
        while (value != 99 && !failed) {
            failed = names_clock ? pthread_cond_clockwait(&changed, &guard, CLOCK_MONOTONIC, &until)
                                 : pthread_cond_timedwait(&changed, &guard, &until);
        }
        pthread_mutex_unlock(&guard);
    }
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(failed);
}

static PyObject *blocking_set(PyObject *self, PyObject *args) {
    int wanted;
    if (!PyArg_ParseTuple(args, "i", &wanted)) return NULL;
    pthread_mutex_lock(&guard);
    value = wanted;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&guard);
    Py_RETURN_NONE;
}

static PyObject *blocking_post(PyObject *self, PyObject *none) {
    sem_post(&semaphore);
    Py_RETURN_NONE;
}

static PyObject *blocking_sem_wait(PyObject *self, PyObject *none) {
    int result;
    Py_BEGIN_ALLOW_THREADS
    result = sem_wait(&semaphore);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(result);
}

static PyMethodDef functions[] = {{"poll", blocking_poll, METH_VARARGS, NULL},
                                   {"rest_of_sleep", blocking_rest_of_sleep, METH_VARARGS, NULL},
                                  {"brought_poll", blocking_brought_poll, METH_VARARGS, NULL},
                                  {"opened_poll", blocking_opened_poll, METH_VARARGS, NULL},
                                  {"recv", blocking_recv, METH_VARARGS, NULL},
                                  {"close", blocking_close, METH_VARARGS, NULL},
                                  {"sleep", blocking_sleep, METH_VARARGS, NULL},
                                  {"lookup", blocking_lookup, METH_VARARGS, NULL},
                                  {"filled", blocking_filled, METH_NOARGS, NULL},
                                  {"call_back", blocking_call_back, METH_VARARGS, NULL},
                                  {"deep", blocking_deep, METH_VARARGS, NULL},
                                  {"forked_poll", blocking_forked_poll, METH_VARARGS, NULL},
                                  {"locked_poll", blocking_locked_poll, METH_VARARGS, NULL},
                                  {"lock_at_thread_end", blocking_lock_at_thread_end, METH_NOARGS, NULL},
                                  {"read_locked_poll", blocking_read_locked_poll, METH_VARARGS, NULL},
                                  {"wait_for", blocking_await, METH_VARARGS, NULL},
                                  {"limited", blocking_limited, METH_VARARGS, NULL},
                                  {"set", blocking_set, METH_VARARGS, NULL},
                                  {"post", blocking_post, METH_NOARGS, NULL},
                                  {"sem_wait", blocking_sem_wait, METH_NOARGS, NULL},
                                  {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "blocking", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_blocking(void) {
    sem_init(&semaphore, 0, 0);
    return PyModule_Create(&module);
}
