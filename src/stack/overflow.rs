//! What is said when a stack overflows: one line on standard error, before the process dies of the fault.
//!
//! ```text
//!   fault ----> handler, on the thread's signal stack
//!                 in the guard of one of our stacks? ---- no ----> the handler that was there before (Rust's own, ...)
//!                 | yes
//!                 one line: whose stack, how large, how to raise it
//!                 the default action is put back, and the instruction tried again: it faults where it did, and the process
//!                 ends there, with a core dump if there is to be one
//! ```
//!
//! A handler cannot run on a stack that is full, so each worker has a signal stack of its own while it runs. What happens in the
//! handler is async-signal-safe: loads, formatting into a buffer, `write(2)`, `sigaction(2)`.

use std::cell::{RefCell, UnsafeCell};
use std::fmt::{self, Write};
use std::mem::MaybeUninit;
use std::panic::Location;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::{Stack, backtrace, slab};
use crate::sys::page_size;

/// What faults come as: on some systems an access to such a page is the one, on some the other.
const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// What a handler may use: ours, and those that it calls. The kernel's part comes on top.
const SIGNAL_STACK: usize = 64 * 1024;

/// Who runs on a stack, as far as is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Description<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) id: u64,
    pub(crate) spawned_at: Option<&'static Location<'static>>,
}

/// Calls the function with who is on the calling thread's stack above that guard, if somebody is.
pub(crate) type Find = fn(guard: usize, tell: &mut dyn FnMut(Description<'_>));

/// A [`Find`], once there are fibers.
static FIND: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// While this lives, overflows on this thread are told of.
#[derive(Debug)]
pub(crate) struct Watch {
    stack: Stack,
    before: libc::stack_t,
}

impl Watch {
    /// Begins, for stacks whose users `find` knows. `None` where the system refuses: then nothing is said, and the process dies of
    /// the same signal.
    pub(crate) fn begin(find: Option<Find>) -> Option<Watch> {
        if let Some(find) = find {
            FIND.store(find as *mut (), Ordering::Release);
        }
        install_handlers();
        let stack = Stack::new(SIGNAL_STACK + frame_of_a_signal()).ok()?;
        let ours = libc::stack_t {
            ss_sp: ptr::with_exposed_provenance_mut(stack.addresses().start),
            ss_flags: 0,
            ss_size: stack.usable_bytes(),
        };
        // The stack is as long as it says, and stays until `drop` has put back what was there.
        let before = swap_signal_stack(Some(&ours))?;
        Some(Watch { stack, before })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let ours = self.stack.addresses().start;
        // Somebody may have put another in its place, who then counts on it.
        if swap_signal_stack(None).is_some_and(|now| now.ss_sp.addr() == ours) {
            swap_signal_stack(Some(&self.before));
        }
    }
}

/// Sees to it that an overflow on this thread is told of, as far as it can be, also outside of workers.
pub(crate) fn watch_thread() {
    thread_local! {
        static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
        static WATCHED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    if WATCHED.replace(true) {
        return;
    }
    install_handlers();
    // Threads of the standard library have a signal stack.
    if swap_signal_stack(None).is_some_and(|now| now.ss_flags & libc::SS_DISABLE != 0) {
        let watch = Watch::begin(None);
        // A thread that is ending goes without.
        drop(WATCH.try_with(|slot| slot.replace(watch)));
    }
}

/// Sets the thread's signal stack, if there is one to set; the one before. `None` where it cannot be done.
fn swap_signal_stack(new: Option<&libc::stack_t>) -> Option<libc::stack_t> {
    let mut before = MaybeUninit::<libc::stack_t>::zeroed();
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both are null or valid; the stack behind `new` is alive for as long as it is set, by the callers above.
    let result = unsafe { libc::sigaltstack(new, before.as_mut_ptr()) };
    // SAFETY: filled in, and all zeroes before.
    (result == 0).then(|| unsafe { before.assume_init() })
}

/// What the kernel itself needs on a signal stack: more, where a processor has many registers.
fn frame_of_a_signal() -> usize {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        /// Of `<linux/auxvec.h>`; kernels before 5.14 do not tell on x86.
        const AT_MINSIGSTKSZ: libc::c_ulong = 51;
        // SAFETY: it reads a number.
        let bytes = unsafe { libc::getauxval(AT_MINSIGSTKSZ) };
        usize::try_from(bytes).unwrap_or(0).max(libc::MINSIGSTKSZ)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        32 * 1024 // the most that any of them asks for: macOS; libc does not know it of all
    }
}

/// The handlers that were there before ours.
///
/// # Invariant
/// Written once, before ours can be called.
struct Before(UnsafeCell<[MaybeUninit<libc::sigaction>; SIGNALS.len()]>);

// SAFETY: the invariant.
unsafe impl Sync for Before {}

static BEFORE: Before = Before(UnsafeCell::new([const { MaybeUninit::uninit() }; SIGNALS.len()]));

fn install_handlers() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Runtimes look at it, too, and say what is wrong with it.
        if std::env::var_os("KAPOK_OVERFLOW_BACKTRACE").is_some_and(|value| value == "1") {
            backtrace::show_backtraces(true);
        }
        for (index, &signal) in SIGNALS.iter().enumerate() {
            let mut before = MaybeUninit::<libc::sigaction>::uninit();
            // SAFETY: asks what is there, into a place for it.
            if unsafe { libc::sigaction(signal, ptr::null(), before.as_mut_ptr()) } != 0 {
                continue;
            }
            // SAFETY: once, and ours is not installed yet.
            let slots = unsafe { &mut *BEFORE.0.get() };
            slots[index] = before;
            // SAFETY: all zeroes are a valid sigaction: no flags, an empty mask.
            let mut ours = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
            ours.sa_sigaction = on_fault as extern "C" fn(_, _, _) as usize;
            ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            // SAFETY: the handler does only what a handler may. Should it be refused, nothing is said.
            unsafe { libc::sigaction(signal, &raw const ours, ptr::null_mut()) };
        }
    });
}

extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid one to a handler with SA_SIGINFO.
    let (code, address) = unsafe { fault_of(info) };
    // What a process sends has no address, or a forged one.
    match slab::guard_at(address).filter(|_| code > 0) {
        Some(hit) => {
            // First, so that what goes wrong in the report ends the process, too.
            set_default(signal);
            report(hit);
        }
        None => hand_on(signal, info, context, code),
    }
}

/// Why it came, and the address.
///
/// # Safety
/// `info` is valid.
unsafe fn fault_of(info: *mut libc::siginfo_t) -> (libc::c_int, usize) {
    // SAFETY: the caller's promise.
    let info = unsafe { &*info };
    // SAFETY: these two signals have an address; where they are sent by a process, that is a number of no meaning.
    let address = unsafe { info.si_addr() };
    (info.si_code, address.addr())
}

pub(super) fn set_default(signal: libc::c_int) {
    // SAFETY: all zeroes are a valid sigaction, with SIG_DFL for the handler.
    let mut default = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
    default.sa_sigaction = libc::SIG_DFL;
    // SAFETY: the default action needs nothing.
    unsafe { libc::sigaction(signal, &raw const default, ptr::null_mut()) };
}

/// Does what would have been done without this handler.
fn hand_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void, code: libc::c_int) {
    let index = usize::from(signal != SIGNALS[0]);
    // SAFETY: written before this handler was installed for the signal.
    let slots = unsafe { &*BEFORE.0.get() };
    // SAFETY: as above.
    let before = unsafe { slots[index].assume_init_ref() };
    match before.sa_sigaction {
        // A fault cannot be ignored: the instruction would be tried for ever.
        libc::SIG_IGN if code <= 0 => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            set_default(signal);
            if code <= 0 {
                // It was sent, so nothing tries again. It comes when this handler has returned.
                // SAFETY: a call without pointers.
                unsafe { libc::raise(signal) };
            }
        }
        handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
            type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            // SAFETY: whoever installed it has said that it is one.
            let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: as above.
            let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler) };
            handler(signal);
        }
    }
}

#[cold]
fn report(hit: slab::Hit) {
    // Two threads may come here at once: one line is enough for a process that dies.
    static REPORTED: AtomicBool = AtomicBool::new(false);
    if REPORTED.swap(true, Ordering::Relaxed) {
        return;
    }
    let mut line = Line::new();
    let mut known = false;
    let find = FIND.load(Ordering::Acquire);
    if !find.is_null() {
        // SAFETY: set by `Watch::begin` from such a function.
        let find = unsafe { std::mem::transmute::<*mut (), Find>(find) };
        find(hit.guard, &mut |fiber| {
            known = true;
            line.fiber(fiber, hit.usable);
        });
    }
    if !known {
        line.other(hit);
    }
    line.write();
    if backtrace::is_wanted() {
        // What faults has its stack pointer in the guard, or a little above.
        backtrace::write(hit.guard - page_size()..hit.guard + page_size() + hit.usable);
    }
}

/// Writes one line of no more than a kilobyte.
pub(super) fn write_line(what: fmt::Arguments<'_>) {
    let mut line = Line::new();
    line.add(what);
    line.write();
}

/// A line that is made without any memory but its own.
struct Line {
    text: [u8; 1024],
    len: usize,
}

/// The most that is shown of a name or a path.
const MAX_NAME: usize = 200;

impl Line {
    fn new() -> Line {
        Line {
            text: [0; 1024],
            len: 0,
        }
    }

    fn fiber(&mut self, fiber: Description<'_>, bytes: usize) {
        self.add(format_args!("kapok: fiber "));
        if let Some(name) = fiber.name {
            self.add(format_args!("'{}' ", Shown(name)));
        }
        self.add(format_args!("(id {})", fiber.id));
        if let Some(place) = fiber.spawned_at {
            self.place(", spawned at", place);
        }
        self.add(format_args!(
            " has overflowed its stack of {bytes} bytes; for a larger one see fiber::Builder::stack_size or KAPOK_STACK_SIZE"
        ));
    }

    fn other(&mut self, hit: slab::Hit) {
        // SAFETY: a stack of the slab that the guard belongs to; it is in use, or it could not overflow.
        match unsafe { super::label_above(hit.guard, hit.usable) } {
            Some(place) => {
                self.place("kapok: a coroutine, made at", place);
                self.add(format_args!(
                    " has overflowed its stack of {} bytes; for a larger one see Coroutine::with",
                    hit.usable
                ));
            }
            None => self.add(format_args!("kapok: a stack of {} bytes has overflowed", hit.usable)),
        }
    }

    fn place(&mut self, before: &str, place: &Location<'_>) {
        let (file, line, column) = (Shown(place.file()), place.line(), place.column());
        self.add(format_args!("{before} {file}:{line}:{column},"));
    }

    fn add(&mut self, what: fmt::Arguments<'_>) {
        self.write_fmt(what).expect("what does not fit is left out");
    }

    fn write(&mut self) {
        self.len = self.len.min(self.text.len() - 1);
        self.text[self.len] = b'\n';
        // SAFETY: the text is as long. Nothing can be done about a closed standard error.
        unsafe { libc::write(libc::STDERR_FILENO, self.text.as_ptr().cast(), self.len + 1) };
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.text[self.len..];
        let len = text.len().min(room.len());
        room[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len += len;
        Ok(())
    }
}

/// A name, as far as it fits, on one line.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, character) in self.0.char_indices() {
            if index >= MAX_NAME {
                return f.write_str("...");
            }
            f.write_char(if character.is_control() { '?' } else { character })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(fiber: Description<'_>) -> String {
        let mut line = Line::new();
        line.fiber(fiber, 4096);
        String::from_utf8_lossy(&line.text[..line.len]).into_owned()
    }

    #[test]
    fn line_says_who_and_how_to_raise_it() {
        let here = Location::caller();
        let all = Description {
            name: Some("a\nname"),
            id: 7,
            spawned_at: Some(here),
        };
        let text = line_of(all);
        for part in ["fiber 'a?name' (id 7)", file!(), "4096 bytes", "KAPOK_STACK_SIZE"] {
            assert!(text.contains(part), "{text}");
        }
        let nothing = Description {
            name: None,
            id: 8,
            spawned_at: None,
        };
        assert!(line_of(nothing).starts_with("kapok: fiber (id 8) has overflowed"));
    }

    #[test]
    fn long_name_is_cut_and_what_follows_is_still_there() {
        let name = "x".repeat(10_000);
        let text = line_of(Description {
            name: Some(&name),
            id: 9,
            spawned_at: None,
        });
        assert!(
            text.len() < 600 && text.contains("xxx...' (id 9) has overflowed"),
            "{text}"
        );
    }
}
