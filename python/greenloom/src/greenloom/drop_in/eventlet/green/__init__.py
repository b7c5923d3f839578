"""Modules of the standard library that wait in the hub instead of blocking the OS thread."""
