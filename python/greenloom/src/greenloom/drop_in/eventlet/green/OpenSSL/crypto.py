"""pyOpenSSL's crypto, which waits for nothing."""

import warnings

with warnings.catch_warnings():
    # Some of its names are deprecated, which is news for their users.
    warnings.simplefilter("ignore", DeprecationWarning)
    from OpenSSL.crypto import *  # noqa: F401, F403
