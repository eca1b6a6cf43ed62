//! The switch: one-shot handles of suspended contexts, and the engines that resume them.
//!
//! This is the only caller of [`ffi`]. Above it nobody sees C. The functions that switch are `unsafe` and private to
//! the crate; what a program sees is [`Engine`], to choose one, and [`Coroutine`](crate::coroutine::Coroutine).

#![allow(unsafe_code, reason = "the boundary to csrc/")]

#[cfg(inline_jump)]
mod inline;

use std::ffi::{CStr, c_void};
use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::ffi;
use crate::stack::Stack;

/// What runs first on a new stack. Must end by a jump and let no panic out.
pub(crate) type Entry = unsafe extern "C-unwind" fn(ffi::kapok_transfer_t);

/// Runs on top of a suspended context; what it returns (or raises) becomes the result of the target's jump.
pub(crate) type OnTop = unsafe extern "C-unwind" fn(ffi::kapok_transfer_t) -> ffi::kapok_transfer_t;

/// A suspended context, resumable once.
///
/// # Invariant
/// Came from `make` or from a [`Transfer`], of the engine that it is given to, and has not been jumped to. The stack that
/// it lies on is mapped.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Handle(NonNull<c_void>);

impl Handle {
    /// Where the context lies on its stack: the frames that it goes on with are above. Only for looking at the address.
    pub(crate) fn address(&self) -> *const c_void {
        self.0.as_ptr()
    }
}

/// What a jump brings to its other side.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// The context that was left to come here. `None` when an on-top function put nothing in its place.
    pub(crate) from: Option<Handle>,
    /// What it passed along.
    pub(crate) data: *mut c_void,
}

impl Transfer {
    /// # Safety
    /// `raw` is what an engine handed to an entry function, to an on-top function, or returned from a jump, and is
    /// converted once.
    pub(crate) unsafe fn from_raw(raw: ffi::kapok_transfer_t) -> Self {
        Transfer {
            from: NonNull::new(raw.fctx).map(Handle),
            data: raw.data,
        }
    }
}

struct Functions {
    name: &'static str,
    make: unsafe extern "C-unwind" fn(*mut c_void, usize, ffi::kapok_entry_fn) -> ffi::kapok_fcontext_t,
    jump: unsafe extern "C-unwind" fn(ffi::kapok_fcontext_t, *mut c_void) -> ffi::kapok_transfer_t,
    ontop:
        unsafe extern "C-unwind" fn(ffi::kapok_fcontext_t, *mut c_void, ffi::kapok_ontop_fn) -> ffi::kapok_transfer_t,
    /// `KAPOK_SUSPENDED` of an engine whose jump there is [`inline`], else 0.
    #[cfg(inline_jump)]
    suspended: usize,
}

/// A way of switching stacks, of those compiled into this build.
///
/// | name       | every switch            | keeps for each context                             |
/// |------------|-------------------------|----------------------------------------------------|
/// | `setjmp`   | setjmp and longjmp      | the callee-saved registers; **the default**        |
/// | `ucontext` | `swapcontext(3)`        | also the signal mask, at one system call a switch  |
/// | `asm`      | some 20 instructions    | as `setjmp`                                        |
///
/// `ucontext` is there where the C library has it: not with musl, on Android, OpenBSD, and macOS on arm64. `asm` is there
/// with the Cargo feature `asm`, on x86-64, aarch64, riscv64 (lp64d), s390x, ppc64le, armv7 (hard float), and on i386 with Linux.
///
/// The environment variable `KAPOK_SWITCH` chooses one for a whole program, [`Builder::switch`] for one runtime.
///
/// ```
/// let engine: kapok::Engine = "setjmp".parse()?;
/// assert_eq!(engine.name(), "setjmp");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [`Builder::switch`]: crate::runtime::Builder::switch
#[derive(Clone, Copy)]
pub struct Engine(&'static Functions);

impl Engine {
    /// The engines of this build, the default first.
    #[must_use]
    pub fn available() -> Vec<Engine> {
        table().iter().map(Engine).collect()
    }

    /// The name by which `KAPOK_SWITCH` and [`str::parse`] know it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The engine that `KAPOK_SWITCH` names, or the default where it is unset or empty.
    pub(crate) fn from_env() -> io::Result<Engine> {
        match std::env::var_os("KAPOK_SWITCH") {
            Some(name) if !name.is_empty() => name
                .to_string_lossy()
                .parse()
                .map_err(|error: io::Error| io::Error::new(error.kind(), format!("KAPOK_SWITCH: {error}"))),
            _ => Ok(Engine::default()),
        }
    }

    /// A context that will run `entry` on `stack` when it is first resumed.
    ///
    /// # Safety
    /// The stack outlives every use of the handle and of the context, and holds no other context.
    pub(crate) unsafe fn make(self, stack: &Stack, entry: Entry) -> io::Result<Handle> {
        // SAFETY: `stack` describes a mapped, writable region (its invariant), high end and size.
        unsafe { self.make_below(stack.initial_sp(), stack.usable_bytes(), entry) }
    }

    /// As [`make`](Engine::make), on any memory.
    ///
    /// # Safety
    /// As for `make`; there are `usable` readable and writable bytes below `high`, which is aligned to 16, for as long.
    pub(crate) unsafe fn make_below(self, high: NonNull<u8>, usable: usize, entry: Entry) -> io::Result<Handle> {
        // SAFETY: the caller's promise.
        let raw = unsafe { (self.0.make)(high.as_ptr().cast(), usable, Some(entry)) };
        NonNull::new(raw).map(Handle).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a stack of {usable} bytes is too small for the switch engine {self}"),
            )
        })
    }

    /// Suspends the caller, resumes `to`, and returns when somebody resumes the caller.
    ///
    /// # Safety
    /// `to` belongs to this engine, and its thread is this one. `data` is what the code at the other side expects. The
    /// caller's frame may be abandoned or unwound, as whoever gets its handle decides.
    #[inline]
    pub(crate) unsafe fn jump(self, to: Handle, data: *mut c_void) -> Transfer {
        // SAFETY: `to` is live by the invariant of `Handle`; the rest is the caller's promise.
        let raw = unsafe { (self.0.jump)(to.0.as_ptr(), data) };
        // SAFETY: just returned from a jump.
        unsafe { Transfer::from_raw(raw) }
    }

    /// Whether [`switch`](Engine::switch) does without a call.
    #[inline(always)]
    pub(crate) fn is_inline(self) -> bool {
        #[cfg(inline_jump)]
        {
            self.0.suspended != 0
        }
        #[cfg(not(inline_jump))]
        {
            false
        }
    }

    /// As [`jump`](Engine::jump), for those whose context nobody unwinds from an on-top function.
    ///
    /// # Safety
    /// As for `jump`; and no on-top function is run on the caller's context that unwinds.
    #[inline(always)]
    pub(crate) unsafe fn switch(self, to: Handle, data: *mut c_void) -> Transfer {
        #[cfg(inline_jump)]
        {
            let (suspended, record) = (self.0.suspended, to.0.as_ptr());
            // SAFETY: `to` is live by the invariant of `Handle`, and every record begins with a word of state. Where it is
            // not what it should be, the function says why.
            if suspended != 0 && unsafe { record.cast::<usize>().read() } == suspended {
                // SAFETY: as its state says, and this engine's; the rest is the caller's promise.
                let raw = unsafe { inline::jump(record, data, suspended) };
                // SAFETY: just returned from a jump.
                return unsafe { Transfer::from_raw(raw) };
            }
        }
        // SAFETY: the caller's promise.
        unsafe { self.jump(to, data) }
    }

    /// As [`jump`](Engine::jump), but runs `f` on the target's stack first; its result is the target's transfer.
    ///
    /// # Safety
    /// As for `jump`; `f` upholds what the target expects of its transfer, or unwinds out of it.
    pub(crate) unsafe fn ontop(self, to: Handle, data: *mut c_void, f: OnTop) -> Transfer {
        // SAFETY: as in `jump`.
        let raw = unsafe { (self.0.ontop)(to.0.as_ptr(), data, Some(f)) };
        // SAFETY: just returned from a jump.
        unsafe { Transfer::from_raw(raw) }
    }
}

/// The C library's list, read once.
fn table() -> &'static [Functions] {
    static TABLE: OnceLock<Vec<Functions>> = OnceLock::new();
    TABLE.get_or_init(|| {
        // SAFETY: a constant of csrc/engines.c: the length of the array read below.
        let count = unsafe { ffi::kapok_engine_count };
        // SAFETY: a constant array of that length.
        let engines = unsafe { std::slice::from_raw_parts((&raw const ffi::kapok_engines).cast(), count) };
        engines
            .iter()
            .map(|&address: &*const ffi::kapok_engine| {
                // SAFETY: each points to a constant of the library.
                let engine = unsafe { &*address };
                // SAFETY: the name is a C string literal.
                let name = unsafe { CStr::from_ptr(engine.name) };
                Functions {
                    #[cfg(inline_jump)]
                    suspended: if name == c"asm" && inline::is_usable() {
                        address.expose_provenance() + 1
                    } else {
                        0
                    },
                    name: name.to_str().expect("engine names are ASCII"),
                    make: engine.make.expect("every engine has make"),
                    jump: engine.jump.expect("every engine has jump"),
                    ontop: engine.ontop.expect("every engine has ontop"),
                }
            })
            .collect()
    })
}

impl Default for Engine {
    fn default() -> Self {
        Engine(&table()[0])
    }
}

impl FromStr for Engine {
    type Err = io::Error;

    fn from_str(name: &str) -> io::Result<Engine> {
        table().iter().find(|f| f.name == name).map(Engine).ok_or_else(|| {
            let names: Vec<_> = table().iter().map(|f| f.name).collect();
            let why = match name {
                "asm" if cfg!(feature = "asm") => " (nobody has written it for this machine)",
                "asm" => " (it takes the Cargo feature `asm`)",
                _ => "",
            };
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "there is no switch engine {name:?} in this build{why}; it has: {}",
                    names.join(", ")
                ),
            )
        })
    }
}

impl PartialEq for Engine {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Engine {}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.name)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Engine").field(&self.0.name).finish()
    }
}
