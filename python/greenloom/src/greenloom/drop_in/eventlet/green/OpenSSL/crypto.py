from OpenSSL.crypto import *  # noqa: F401, F403
