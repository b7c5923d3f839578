//! A pointer of each OS thread that is read without a call.
//!
//! In a shared library each use of a `thread_local!` calls `__tls_get_addr`, about a tenth of what a switch there
//! costs. The C library's "initial exec" model reads the same with two loads. Rust has no stable way to ask for it, so
//! the pointer is defined in assembly. Libraries that are loaded while the program runs share a few hundred bytes of
//! such storage (`glibc.rtld.optional_static_tls`), hence pointers to what lies elsewhere. musl refuses to load such a
//! library, and the other processors have not been tried: there it is a `thread_local!`.

/// Defines a module with `get` and `set` for a pointer of each OS thread, null at first. The symbol must be the
/// program's only one of that name.
///
/// ```
/// greenloom_fiber::thread_pointer!(mod place = "a_symbol_of_this_crate");
///
/// let number = 7;
/// place::set((&raw const number).cast());
/// assert_eq!(place::get(), (&raw const number).cast());
/// std::thread::spawn(|| assert!(place::get().is_null())).join().unwrap();
/// ```
#[macro_export]
macro_rules! thread_pointer {
    ($visibility:vis mod $name:ident = $symbol:literal) => {
        #[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
        $visibility mod $name {
            ::core::arch::global_asm!(
                ".pushsection .tbss,\"awT\",@nobits",
                ".balign 8",
                concat!(".globl ", $symbol),
                concat!(".hidden ", $symbol),
                concat!(".type ", $symbol, ",@object"),
                concat!(".size ", $symbol, ",8"),
                concat!($symbol, ": .zero 8"),
                ".popsection",
            );

            /// The running OS thread's pointer.
            #[inline(always)]
            pub fn get() -> *const () {
                let pointer;
                // SAFETY: the first load gives how far the word above is from the thread's own address, which `fs`
                // holds; the second reads the word, and no other thread can.
                unsafe {
                    ::core::arch::asm!(
                        concat!("mov {0}, qword ptr [rip + ", $symbol, "@GOTTPOFF]"),
                        "mov {0}, qword ptr fs:[{0}]",
                        out(reg) pointer,
                        options(pure, readonly, nostack, preserves_flags),
                    );
                }
                pointer
            }

            /// Sets it.
            #[inline]
            pub fn set(pointer: *const ()) {
                // SAFETY: as in `get`; the word is only ever used there and here.
                unsafe {
                    ::core::arch::asm!(
                        concat!("mov {0}, qword ptr [rip + ", $symbol, "@GOTTPOFF]"),
                        "mov qword ptr fs:[{0}], {1}",
                        out(reg) _,
                        in(reg) pointer,
                        options(nostack, preserves_flags),
                    );
                }
            }
        }

        #[cfg(not(all(target_arch = "x86_64", target_env = "gnu")))]
        $visibility mod $name {
            ::std::thread_local! {
                static POINTER: ::core::cell::Cell<*const ()> =
                    const { ::core::cell::Cell::new(::core::ptr::null()) };
            }

            /// The running OS thread's pointer.
            #[inline(always)]
            pub fn get() -> *const () {
                POINTER.get()
            }

            /// Sets it.
            #[inline]
            pub fn set(pointer: *const ()) {
                POINTER.set(pointer);
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use std::ptr;

    thread_pointer!(mod first = "greenloom_fiber_test_first");
    thread_pointer!(mod second = "greenloom_fiber_test_second");

    #[test]
    fn each_os_thread_has_its_own_and_each_pointer_too() {
        let (one, two) = (1, 2);
        first::set((&raw const one).cast());
        second::set((&raw const two).cast());
        std::thread::spawn(|| {
            assert!(first::get().is_null() && second::get().is_null());
            first::set(ptr::dangling());
        })
        .join()
        .unwrap();
        assert_eq!((first::get(), second::get()), ((&raw const one).cast(), (&raw const two).cast()));
    }
}
