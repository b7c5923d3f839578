//! Who parks: the runtime whose green threads the calls are made on. There is one a process; unless another is
//! [set](set_host), it is the crate `greenloom`.

use std::sync::OnceLock;

use crate::host::Host;

static HOST: OnceLock<&'static dyn Host> = OnceLock::new();

/// Makes `host` the one of this process, once and for all; returns whether it is.
pub fn set_host(host: &'static dyn Host) -> bool {
    std::ptr::eq(*HOST.get_or_init(|| host), host)
}

/// The host, if the running code may park.
#[inline]
pub(crate) fn here() -> Option<&'static dyn Host> {
    #[cfg(feature = "runtime")]
    if HOST.get().is_none() {
        // Asked directly, it costs one load on an OS thread that has no hub.
        return greenloom::foreign::can_park().then_some(&crate::runtime::Runtime);
    }
    HOST.get().copied().filter(|host| host.can_park())
}

/// The host, whether the running code may park or not.
pub(crate) fn any() -> Option<&'static dyn Host> {
    #[cfg(feature = "runtime")]
    if HOST.get().is_none() {
        return Some(&crate::runtime::Runtime);
    }
    HOST.get().copied()
}
