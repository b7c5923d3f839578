from OpenSSL.version import __doc__, __version__  # noqa: F401
