/*
 * The C API of the greenlet package, as Greenloom offers it. Extensions compiled against greenlet's own header work
 * unchanged: the object's layout, the capsule's name and the order of its pointers are the same.
 *
 * Call PyGreenlet_Import() once before anything else; on failure it leaves a Python exception. All functions need the
 * interpreter's lock.
 */

#ifndef Py_GREENLETOBJECT_H
#define Py_GREENLETOBJECT_H

#include <Python.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of the header, not of the package; it never changes. */
#define GREENLET_VERSION "1.0.0"

#ifndef implementation_ptr_t
#define implementation_ptr_t void*
#endif

typedef struct _greenlet {
    PyObject_HEAD
    PyObject *weakreflist;
    PyObject *dict;
    implementation_ptr_t pimpl; /* opaque */
} PyGreenlet;

/* What the capsule "greenlet._C_API" points to: an array of this many pointers, in this order. */
#define PyGreenlet_API_pointers 12
#define PyGreenlet_Type_NUM 0
#define PyExc_GreenletError_NUM 1
#define PyExc_GreenletExit_NUM 2
#define PyGreenlet_New_NUM 3
#define PyGreenlet_GetCurrent_NUM 4
#define PyGreenlet_Throw_NUM 5
#define PyGreenlet_Switch_NUM 6
#define PyGreenlet_SetParent_NUM 7
#define PyGreenlet_MAIN_NUM 8
#define PyGreenlet_STARTED_NUM 9
#define PyGreenlet_ACTIVE_NUM 10
#define PyGreenlet_GET_PARENT_NUM 11

static void **_PyGreenlet_API = NULL;

#define PyGreenlet_Import() (_PyGreenlet_API = (void **)PyCapsule_Import("greenlet._C_API", 0))

#define PyGreenlet_Type (*(PyTypeObject *)_PyGreenlet_API[PyGreenlet_Type_NUM])
#define PyExc_GreenletError ((PyObject *)_PyGreenlet_API[PyExc_GreenletError_NUM])
#define PyExc_GreenletExit ((PyObject *)_PyGreenlet_API[PyExc_GreenletExit_NUM])

/* Whether an object is a greenlet; false for NULL. */
#define PyGreenlet_Check(op) ((op) && PyObject_TypeCheck(op, &PyGreenlet_Type))

/* greenlet(run, parent); both may be NULL. A new reference. */
#define PyGreenlet_New \
    (*(PyGreenlet * (*)(PyObject * run, PyGreenlet * parent)) _PyGreenlet_API[PyGreenlet_New_NUM])

/* getcurrent(). A new reference; NULL with RuntimeError once the interpreter is being torn down. */
#define PyGreenlet_GetCurrent (*(PyGreenlet * (*)(void)) _PyGreenlet_API[PyGreenlet_GetCurrent_NUM])

/* g.throw(typ, val, tb); val and tb may be NULL. A new reference. */
#define PyGreenlet_Throw                                                                        \
    (*(PyObject * (*)(PyGreenlet * g, PyObject * typ, PyObject * val, PyObject * tb))           \
         _PyGreenlet_API[PyGreenlet_Throw_NUM])

/* g.switch(*args, **kwargs); both may be NULL. A new reference. */
#define PyGreenlet_Switch \
    (*(PyObject * (*)(PyGreenlet * g, PyObject * args, PyObject * kwargs)) _PyGreenlet_API[PyGreenlet_Switch_NUM])

/* g.parent = parent. 0, or -1 with an exception. */
#define PyGreenlet_SetParent \
    (*(int (*)(PyGreenlet * g, PyGreenlet * parent)) _PyGreenlet_API[PyGreenlet_SetParent_NUM])

/* g.parent. A new reference, or NULL without an exception for a main greenlet. */
#define PyGreenlet_GetParent (*(PyGreenlet * (*)(PyGreenlet *)) _PyGreenlet_API[PyGreenlet_GET_PARENT_NUM])
#define PyGreenlet_GET_PARENT PyGreenlet_GetParent

/* Whether it is the main greenlet of a thread, has begun, has begun and not ended. */
#define PyGreenlet_MAIN (*(int (*)(PyGreenlet *)) _PyGreenlet_API[PyGreenlet_MAIN_NUM])
#define PyGreenlet_STARTED (*(int (*)(PyGreenlet *)) _PyGreenlet_API[PyGreenlet_STARTED_NUM])
#define PyGreenlet_ACTIVE (*(int (*)(PyGreenlet *)) _PyGreenlet_API[PyGreenlet_ACTIVE_NUM])

#ifdef __cplusplus
}
#endif

#endif /* Py_GREENLETOBJECT_H */
