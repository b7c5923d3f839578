"""Makes green what was made before `thread` was patched.

An RLock is exchanged for a green one if all references to it are known and can be changed, which is nearly always so.
All other locks stay what they are, and their types learn to wait in the hub (`native_locks`).
"""

import gc
import sys
import types
from collections import deque
from functools import partial

from eventlet import patcher
from eventlet.green import thread
from eventlet.support import native_locks

# A Condition has methods of its lock as attributes, and a list may have the method of one: what refers to what refers
# to a lock.
_DEPTH = 3


def make_green():
    """To be called once everything else is patched."""
    native_locks.make_cooperative()
    for node in _explore(_rlocks(), _green_rlock):
        if node.is_known():
            node.exchange()
    # These would call what the methods were before.
    for node in _explore(_methods_of_locks(), lambda method: getattr(method.__self__, method.__name__)):
        node.exchange()


def _rlocks():
    """The RLocks that are free, or held by a greenlet of this OS thread, without those of the original modules."""
    threading = patcher.original("threading")
    objects = gc.get_objects()
    excluded = {id(threading._active_limbo_lock)}
    excluded.update(id(each._lock) for each in objects if type(each) is threading.Condition)
    return [
        each for each in objects if type(each) is native_locks.RLOCK and id(each) not in excluded and _is_ours(each)
    ]


def _is_ours(rlock):
    if not rlock.acquire(blocking=False):
        return False
    rlock.release()
    return True


def _green_rlock(old):
    new = thread.RLock()
    while old._is_owned():
        old.release()
        new.acquire()
    return new


def _methods_of_locks():
    kinds = (native_locks.LOCK, native_locks.RLOCK)
    return [each for each in gc.get_objects() if type(each) is types.BuiltinMethodType and type(each.__self__) in kinds]


class _Node:
    """An object that may be exchanged, with all places that refer to it."""

    __slots__ = ("old", "make_new", "setters", "derived", "refused")

    def __init__(self, old, make_new):
        self.old = old
        self.make_new = make_new
        # Functions that put a new object into a place, and nodes of immutable objects that have to be made anew.
        self.setters = []
        self.derived = []
        self.refused = False

    def is_known(self):
        """Whether nobody else refers to it, as a running function or a C library would."""
        others = sys.getrefcount(self.old) - _OWN_REFERENCES
        known = not self.refused and others == len(self.setters) + len(self.derived)
        return known and all(each.is_known() for each in self.derived)

    def exchange(self, *context):
        new = self.make_new(self.old, *context)
        for put in self.setters:
            put(new)
        for each in self.derived:
            each.exchange(new)


def _references_of_a_node():
    node = _Node(object(), None)
    return sys.getrefcount(node.old)


_OWN_REFERENCES = _references_of_a_node()


def _explore(objects, make_new):
    """Nodes of a list of objects, which is emptied: a list is somebody who refers to them."""
    nodes = [_Node(each, make_new) for each in objects]
    objects.clear()
    classes = _classes_by_namespace()
    frontier = nodes
    for _ in range(_DEPTH):
        frontier = _find_places({id(node.old): node for node in frontier}, classes)
        if not frontier:
            break
    return nodes


def _classes_by_namespace():
    # What refers to a class attribute is a dictionary that must not be changed behind the class's back.
    return {id(gc.get_referents(cls.__dict__)[0]): cls for cls in gc.get_objects() if isinstance(cls, type)}


def _find_places(wanted, classes):
    olds = tuple(node.old for node in wanted.values())
    derived = []
    seen = set()
    for holder in gc.get_referrers(*olds):
        # The arguments of this call refer to them as well.
        if type(holder) is _Node or type(holder) is tuple and holder == olds:
            continue
        for old, place, put in _places_in(holder, wanted, classes):
            node = wanted[id(old)]
            if place in seen:
                continue
            seen.add(place)
            if put is not None:
                node.setters.append(put)
                continue
            remake = _remake_method if type(holder) is types.BuiltinMethodType else _remake_tuple
            node.derived.append(_Node(holder, partial(remake, id(old))))
            derived.append(node.derived[-1])
    return derived


def _places_in(holder, wanted, classes):
    """Yields, for each reference to a wanted object: that object, what tells this place from others, and a function
    that puts another object there, or None if it is an immutable object that has to be made anew."""
    if isinstance(holder, dict):
        cls = classes.get(id(holder))
        for key, value in list(dict.items(holder)):
            if id(value) in wanted:
                put = partial(dict.__setitem__, holder, key) if cls is None else partial(type.__setattr__, cls, key)
                yield value, (id(holder), key), put
    elif isinstance(holder, (list, deque)):
        for index, value in enumerate(list(holder)):
            if id(value) in wanted:
                yield value, (id(holder), index), partial(holder.__setitem__, index)
    elif type(holder) is types.CellType:
        yield holder.cell_contents, (id(holder), 0), partial(setattr, holder, "cell_contents")
    elif type(holder) is types.BuiltinMethodType:
        yield holder.__self__, (id(holder), 0), None
    elif type(holder) is tuple:
        for index, value in enumerate(holder):
            if id(value) in wanted:
                yield value, (id(holder), index), None
    elif type(holder) is types.FunctionType:
        if id(holder.__defaults__) in wanted:
            yield holder.__defaults__, (id(holder), 0), partial(setattr, holder, "__defaults__")
    else:
        yield from _places_in_instance(holder, wanted)


def _places_in_instance(holder, wanted):
    cls = type(holder)
    if cls.__module__ == "_frozen_importlib":
        # importlib's locks stay native ones: see `import_locks`.
        for value in gc.get_referents(holder):
            if id(value) in wanted:
                wanted[id(value)].refused = True
        return
    try:
        namespace = object.__getattribute__(holder, "__dict__")
    except AttributeError:
        namespace = {}
    if isinstance(namespace, dict):
        for name, value in list(dict.items(namespace)):
            if id(value) in wanted:
                yield value, (id(namespace), name), partial(dict.__setitem__, namespace, name)
    for base in cls.__mro__:
        for name, slot in list(vars(base).items()):
            if type(slot) is types.MemberDescriptorType and slot.__objclass__ is base:
                try:
                    value = slot.__get__(holder)
                except AttributeError:
                    continue
                if id(value) in wanted and _can_be_set(slot, holder, value):
                    yield value, (id(holder), base, name), partial(slot.__set__, holder)


def _can_be_set(slot, holder, value):
    # Many attributes of C's types are read-only, which only a try tells.
    try:
        slot.__set__(holder, value)
    except (AttributeError, TypeError):
        return False
    return True


def _remake_method(_, method, new):
    return getattr(new, method.__name__)


def _remake_tuple(old, values, new):
    return tuple(new if id(value) == old else value for value in values)
