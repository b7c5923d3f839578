"""`urllib.request` on green sockets."""

import sys

from eventlet import patcher
from eventlet.green import ftplib, http, os, socket, ssl, time
from eventlet.green.http import client as http_client

patcher.inject(
    "urllib.request",
    globals(),
    ("http", http),
    ("http.client", http_client),
    ("os", os),
    ("socket", socket),
    ("ssl", ssl),
    ("time", time),
)

# These import ftplib when they are called.
_ftplib = ("ftplib", ftplib)
FTPHandler.ftp_open = patcher.patch_function(FTPHandler.ftp_open, _ftplib)  # noqa: F821
ftpwrapper.init = patcher.patch_function(ftpwrapper.init, _ftplib)  # noqa: F821
ftpwrapper.retrfile = patcher.patch_function(ftpwrapper.retrfile, _ftplib)  # noqa: F821
if sys.version_info < (3, 14):
    URLopener.open_ftp = patcher.patch_function(URLopener.open_ftp, _ftplib)  # noqa: F821

del patcher
