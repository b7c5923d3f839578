//! The rest of a vector of buffers, after a part of it was transferred.

use libc::{iovec, msghdr};

pub(crate) struct Buffers(Vec<iovec>, usize);

impl Buffers {
    /// # Safety
    /// There are `count` buffers at `first`; null only if there are none.
    pub unsafe fn new(first: *const iovec, count: usize) -> Buffers {
        if count == 0 {
            return Buffers(Vec::new(), 0);
        }
        // SAFETY: the caller's contract.
        Buffers(unsafe { std::slice::from_raw_parts(first, count) }.to_vec(), 0)
    }

    /// Those of a message.
    ///
    /// # Safety
    /// They are as the message says.
    pub unsafe fn of(message: &msghdr) -> Buffers {
        // The count is an int on musl. SAFETY: the caller's contract.
        unsafe { Buffers::new(message.msg_iov, message.msg_iovlen as _) }
    }

    /// Leaves out what was transferred.
    pub fn advance(&mut self, mut done: usize) {
        while let Some(buffer) = self.0.get_mut(self.1) {
            if done < buffer.iov_len {
                buffer.iov_base = buffer.iov_base.wrapping_byte_add(done);
                buffer.iov_len -= done;
                return;
            }
            done -= buffer.iov_len;
            self.1 += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.1 >= self.0.len()
    }

    /// Where what is left begins.
    pub fn first(&self) -> *const iovec {
        self.0[self.1..].as_ptr()
    }

    /// Gives a message what is left.
    pub fn put_into(&mut self, message: &mut msghdr) {
        let left = &mut self.0[self.1..];
        (message.msg_iov, message.msg_iovlen) = (left.as_mut_ptr(), left.len() as _);
    }
}
