"""The names of greenlet that are used here."""

import greenlet as _greenlet

getcurrent = _greenlet.getcurrent
GreenletExit = _greenlet.GreenletExit
greenlet = _greenlet.greenlet
