// An extension module with the cheapest hooked call: poll_nothing(count) gives the nanoseconds of one.

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <poll.h>
#include <time.h>

static PyObject *poll_nothing(PyObject *self, PyObject *argument) {
    long count = PyLong_AsLong(argument);
    struct timespec began, ended;
    if (count <= 0) return PyErr_Format(PyExc_ValueError, "how many?");
    Py_BEGIN_ALLOW_THREADS
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (long index = 0; index < count; index++) poll(NULL, 0, 0);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    Py_END_ALLOW_THREADS
    return PyFloat_FromDouble(((ended.tv_sec - began.tv_sec) * 1e9 + (ended.tv_nsec - began.tv_nsec)) / count);
}

static PyMethodDef functions[] = {{"poll_nothing", poll_nothing, METH_O, NULL}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "poll_nothing", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_poll_nothing(void) { return PyModule_Create(&module); }
