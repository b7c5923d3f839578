from OpenSSL.tsafe import *  # noqa: F401, F403
