//! The frames of a stack that has overflowed, for the report: an option, for debugging.
//!
//! Called by the handler of the fault, on the signal stack. The frames are found by the unwinder of the language, which std has
//! linked: from the handler through the frame of the signal to those of the stack that is asked for. The functions' names come
//! from the program's own table of symbols, mapped from its file. Nothing here takes memory or a lock. The unwinder does
//! neither, as a rule (on old C libraries it asks the dynamic linker, which has one); if it should wait for ever after all, an alarm
//! ends the process.

use std::fmt::{self, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether it is asked for.
static WANTED: AtomicBool = AtomicBool::new(false);

/// Has backtraces shown, or not.
pub(crate) fn show_backtraces(shown: bool) {
    if shown {
        // What is found out once is found out now, and not in a handler.
        Walk::of(0..0);
    }
    WANTED.store(shown, Ordering::Relaxed);
}

pub(super) fn is_wanted() -> bool {
    WANTED.load(Ordering::Relaxed)
}

/// So many of the innermost frames are shown, and so many of the outermost.
const INNERMOST: usize = 32;
const OUTERMOST: usize = 16;

/// A walk over more frames than this is given up.
const MOST: usize = 1 << 20;

/// What is found of a stack.
struct Walk {
    /// Where the stack pointer of its frames may be.
    stack: Range<usize>,
    /// That of the last frame.
    last: usize,
    count: usize,
    innermost: [usize; INNERMOST],
    /// The frame of number `n` is at `n % OUTERMOST`.
    outermost: [usize; OUTERMOST],
}

impl Walk {
    /// The frames of the caller that lie in `stack`.
    #[inline(never)]
    fn of(stack: Range<usize>) -> Walk {
        let mut walk = Walk {
            stack,
            last: 0,
            count: 0,
            innermost: [0; INNERMOST],
            outermost: [0; OUTERMOST],
        };
        unwinder::each_frame(&mut |code, pointer| walk.take(code, pointer));
        walk
    }

    /// Takes a frame; false when there is to be no other.
    fn take(&mut self, code: usize, pointer: usize) -> bool {
        if !self.stack.contains(&pointer) {
            // The handler's own come first. What comes after those of the stack is nobody's.
            return self.count == 0;
        }
        // Each frame lies above the one that it has called, so there is an end. Where calls push nothing, as on arm64 and s390x, the
        // innermost may be where its caller is: it has run into the guard before it had made room for itself.
        let is_above = pointer > self.last || pointer == self.last && self.count == 1;
        if self.count > 0 && !is_above || self.count == MOST {
            return false;
        }
        if let Some(slot) = self.innermost.get_mut(self.count) {
            *slot = code;
        }
        self.outermost[self.count % OUTERMOST] = code;
        self.last = pointer;
        self.count += 1;
        true
    }

    /// The frames to be shown, with their numbers, innermost first.
    fn shown(&self) -> impl Iterator<Item = (usize, usize)> {
        let first = self.count.min(INNERMOST);
        let rest = self.count.saturating_sub(OUTERMOST).max(first)..self.count;
        let innermost = (0..first).map(|number| (number, self.innermost[number]));
        innermost.chain(rest.map(|number| (number, self.outermost[number % OUTERMOST])))
    }
}

/// Writes the frames whose stack pointers are in that range. To be called by the handler of a fault in one of them.
pub(super) fn write(stack: Range<usize>) {
    let _alarm = Alarm::set();
    let walk = Walk::of(stack);
    if walk.count == 0 {
        super::overflow::write_line(format_args!(
            "no backtrace: the C library, such as musl, does not describe the frame of a signal, which lies before the fiber's"
        ));
        return;
    }
    let symbols = symbols::Symbols::open();
    super::overflow::write_line(format_args!("backtrace of {} frames, the innermost first:", walk.count));
    let mut next = 0;
    for (number, code) in walk.shown() {
        if number > next {
            super::overflow::write_line(format_args!("      ({} frames)", number - next));
        }
        next = number + 1;
        // Of all but the innermost it is where the call comes back to, which may be in the next function already.
        let within = if number == 0 { code } else { code.saturating_sub(1) };
        match symbols.as_ref().and_then(|symbols| symbols.find(within)) {
            Some((name, offset)) => {
                super::overflow::write_line(format_args!("{number:4}: {code:#x} {} + {offset:#x}", Demangled(name)));
            }
            None => super::overflow::write_line(format_args!("{number:4}: {code:#x}")),
        }
    }
}

/// Ends the process after a while.
struct Alarm;

impl Alarm {
    const SECONDS: u32 = 10;

    fn set() -> Alarm {
        super::overflow::set_default(libc::SIGALRM);
        // SAFETY: all zeroes are a valid set, and the calls are given one.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        unsafe { libc::sigemptyset(&raw mut set) };
        // SAFETY: as above.
        unsafe { libc::sigaddset(&raw mut set, libc::SIGALRM) };
        // SAFETY: as above; the process is about to die.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
        // SAFETY: a call without pointers.
        unsafe { libc::alarm(Alarm::SECONDS) };
        Alarm
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: a call without pointers.
        unsafe { libc::alarm(0) };
    }
}

/// The interface of the unwinder that is part of the platform's C++ ABI, and that std uses.
#[cfg(any(not(target_arch = "arm"), target_os = "linux", target_os = "android"))]
mod unwinder {
    use std::ffi::{c_int, c_void};

    type Callback = extern "C" fn(context: *mut c_void, data: *mut c_void) -> c_int;

    unsafe extern "C" {
        fn _Unwind_Backtrace(callback: Callback, data: *mut c_void) -> c_int;
    }

    type Take<'a> = &'a mut dyn FnMut(usize, usize) -> bool;

    /// Calls `take` with the address of the code, and the stack pointer, of each frame from the caller's on, while it says so.
    pub(super) fn each_frame(mut take: Take<'_>) {
        // SAFETY: the callback gets what it expects.
        unsafe { _Unwind_Backtrace(on_frame, (&raw mut take).cast()) };
    }

    extern "C" fn on_frame(context: *mut c_void, data: *mut c_void) -> c_int {
        const GO_ON: c_int = 0; // _URC_NO_REASON
        const STOP: c_int = 5; // _URC_END_OF_STACK
        // SAFETY: from `each_frame`, which is waiting.
        let take = unsafe { &mut *data.cast::<Take<'_>>() };
        // SAFETY: the unwinder passes a valid context.
        let (code, pointer) = unsafe { frame(context) };
        if take(code, pointer) { GO_ON } else { STOP }
    }

    /// The address of the code, and the stack pointer.
    ///
    /// # Safety
    ///
    /// The context is one that the unwinder has passed, and is in the callback still.
    #[cfg(not(target_arch = "arm"))]
    unsafe fn frame(context: *mut c_void) -> (usize, usize) {
        unsafe extern "C" {
            fn _Unwind_GetIP(context: *mut c_void) -> usize;
            fn _Unwind_GetCFA(context: *mut c_void) -> usize;
        }
        // SAFETY: the caller's promise.
        let code = unsafe { _Unwind_GetIP(context) };
        // SAFETY: as above.
        let pointer = unsafe { _Unwind_GetCFA(context) };
        (code, pointer)
    }

    /// The same where the ABI is ARM's own, which knows registers instead, and the lowest bit of an address of Thumb code is set.
    ///
    /// # Safety
    ///
    /// As above.
    #[cfg(target_arch = "arm")]
    unsafe fn frame(context: *mut c_void) -> (usize, usize) {
        unsafe extern "C" {
            fn _Unwind_VRS_Get(
                context: *mut c_void,
                class: c_int,
                register: u32,
                representation: c_int,
                value: *mut c_void,
            ) -> c_int;
        }
        const CORE: c_int = 0; // _UVRSC_CORE
        const WORD: c_int = 0; // _UVRSD_UINT32
        let register = |number| {
            let mut value = 0_usize;
            // SAFETY: the caller's promise; a core register is one word.
            unsafe { _Unwind_VRS_Get(context, CORE, number, WORD, (&raw mut value).cast()) };
            value
        };
        (register(15) & !1, register(13))
    }
}

/// Elsewhere it may be either.
#[cfg(all(target_arch = "arm", not(any(target_os = "linux", target_os = "android"))))]
mod unwinder {
    pub(super) fn each_frame(_: &mut dyn FnMut(usize, usize) -> bool) {}
}

/// The program's own table of symbols, read without anybody's help.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod symbols {
    use std::mem::MaybeUninit;
    use std::ptr;

    use libc::{Elf64_Ehdr, Elf64_Phdr, Elf64_Shdr, Elf64_Sym};

    /// The program's file.
    pub(super) struct Symbols {
        /// Mapped for good: the process is about to die.
        file: &'static [u8],
        /// From an address in the file to one in memory.
        shift: usize,
        symbols: Elf64_Shdr,
        names: Elf64_Shdr,
    }

    /// Structures that are numbers alone.
    trait Plain: Copy {}
    impl Plain for Elf64_Ehdr {}
    impl Plain for Elf64_Phdr {}
    impl Plain for Elf64_Shdr {}
    impl Plain for Elf64_Sym {}

    /// The structure at that place.
    fn at<T: Plain>(file: &[u8], offset: usize) -> Option<T> {
        let bytes = file.get(offset..offset.checked_add(size_of::<T>())?)?;
        // SAFETY: as many bytes, and any are valid.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }

    fn place(number: u64) -> usize {
        usize::try_from(number).unwrap_or(usize::MAX)
    }

    impl Symbols {
        /// `None` where the file cannot be read, or has no symbols.
        pub(super) fn open() -> Option<Symbols> {
            const SYMBOLS: u32 = 2; // SHT_SYMTAB
            let file = map()?;
            let head: Elf64_Ehdr = at(file, 0)?;
            let section = |index: usize| -> Option<Elf64_Shdr> {
                let size = usize::from(head.e_shentsize);
                at(file, place(head.e_shoff).checked_add(index.checked_mul(size)?)?)
            };
            let mut sections = (0..usize::from(head.e_shnum)).filter_map(section);
            let symbols = sections.find(|section| section.sh_type == SYMBOLS)?;
            let names = section(usize::try_from(symbols.sh_link).ok()?)?;
            let mut segments = (0..usize::from(head.e_phnum)).filter_map(|index| -> Option<Elf64_Phdr> {
                at(file, place(head.e_phoff) + index * usize::from(head.e_phentsize))
            });
            let first = segments.find(|segment| segment.p_type == libc::PT_LOAD && segment.p_offset == 0)?;
            // SAFETY: it reads a number: where the headers of the segments are in memory.
            let headers = place(unsafe { libc::getauxval(libc::AT_PHDR) });
            let shift = headers
                .wrapping_sub(place(head.e_phoff))
                .wrapping_sub(place(first.p_vaddr));
            Some(Symbols {
                file,
                shift,
                symbols,
                names,
            })
        }

        /// The name of the function with that address, and how far into it that is.
        pub(super) fn find(&self, address: usize) -> Option<(&'static str, usize)> {
            const FUNCTION: u8 = 2; // STT_FUNC
            let address = address.wrapping_sub(self.shift) as u64;
            let count = place(self.symbols.sh_size) / size_of::<Elf64_Sym>();
            let symbol = |index: usize| {
                at(
                    self.file,
                    place(self.symbols.sh_offset) + index * size_of::<Elf64_Sym>(),
                )
            };
            let is_it = |symbol: &Elf64_Sym| {
                symbol.st_info & 0xf == FUNCTION && (0..symbol.st_size).contains(&address.wrapping_sub(symbol.st_value))
            };
            let found: Elf64_Sym = (0..count).filter_map(symbol).find(is_it)?;
            let start = place(self.names.sh_offset).checked_add(usize::try_from(found.st_name).ok()?)?;
            let name = self.file.get(start..)?;
            let name = &name[..name.iter().take(4096).position(|byte| *byte == 0)?];
            Some((std::str::from_utf8(name).ok()?, place(address - found.st_value)))
        }
    }

    fn map() -> Option<&'static [u8]> {
        // SAFETY: a string that ends with a zero.
        let file = unsafe { libc::open(c"/proc/self/exe".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        if file < 0 {
            return None;
        }
        let mut status = MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: a place for the answer.
        if unsafe { libc::fstat(file, status.as_mut_ptr()) } != 0 {
            return None;
        }
        // SAFETY: filled in.
        let len = usize::try_from(unsafe { status.assume_init() }.st_size).ok()?;
        // SAFETY: a new mapping, of a file that nobody writes to while it runs.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_READ, libc::MAP_PRIVATE, file, 0) };
        if base == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: mapped for good, and as long.
        Some(unsafe { std::slice::from_raw_parts(base.cast::<u8>(), len) })
    }
}

/// Elsewhere there are addresses, and tools that know what they mean.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
mod symbols {
    pub(super) struct Symbols;

    impl Symbols {
        pub(super) fn open() -> Option<Symbols> {
            None
        }

        pub(super) fn find(&self, _: usize) -> Option<(&'static str, usize)> {
            None
        }
    }
}

/// A symbol as it was written: of Rust's older scheme, the usual one; others stay as they are.
struct Demangled<'a>(&'a str);

impl Demangled<'_> {
    /// The parts of the path, without the hash at its end.
    fn parts(&self) -> Option<impl Iterator<Item = &str>> {
        let mut rest = self.0.strip_prefix("_ZN")?.strip_suffix('E').or_else(|| {
            // What the compiler has appended, as `.llvm.123`.
            let path = self.0.strip_prefix("_ZN")?;
            Some(&path[..path.rfind("E.")?])
        })?;
        Some(std::iter::from_fn(move || {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let len: usize = rest[..digits].parse().ok()?;
            let part = rest.get(digits..digits.checked_add(len)?)?;
            rest = &rest[digits + len..];
            let is_hash = rest.is_empty() && part.len() == 17 && part.starts_with('h');
            (!is_hash).then_some(part)
        }))
    }
}

/// How the older scheme writes what may not be in a symbol.
const ESCAPES: &[(&str, &str)] = &[
    ("$LT$", "<"),
    ("$GT$", ">"),
    ("$RF$", "&"),
    ("$BP$", "*"),
    ("$LP$", "("),
    ("$RP$", ")"),
    ("$C$", ","),
    ("$u20$", " "),
    ("$u27$", "'"),
    ("$u5b$", "["),
    ("$u5d$", "]"),
    ("$u7b$", "{"),
    ("$u7d$", "}"),
    ("$u7e$", "~"),
    ("..", "::"),
];

impl fmt::Display for Demangled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parts) = self.parts() else {
            return f.write_str(self.0);
        };
        for (index, part) in parts.enumerate() {
            if index > 0 {
                f.write_str("::")?;
            }
            let mut rest = part
                .strip_prefix('_')
                .filter(|part| part.starts_with('$'))
                .unwrap_or(part);
            while let Some(character) = rest.chars().next() {
                let escape = ESCAPES.iter().find(|(escape, _)| rest.starts_with(escape));
                if let Some((escape, text)) = escape {
                    f.write_str(text)?;
                    rest = &rest[escape.len()..];
                } else {
                    f.write_char(character)?;
                    rest = &rest[character.len_utf8()..];
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_readable() {
        let cases = [
            ("_ZN5kapok5stack7recurse17h0123456789abcdefE", "kapok::stack::recurse"),
            (
                "_ZN4core3fmt3num52_$LT$impl$u20$core..fmt..Debug$u20$for$u20$usize$GT$3fmt17h0123456789abcdefE.llvm.12",
                "core::fmt::num::<impl core::fmt::Debug for usize>::fmt",
            ),
            ("main", "main"),
            ("_RNvC4main4main", "_RNvC4main4main"),
            ("_ZN999main17h0123456789abcdefE", ""),
        ];
        for (symbol, name) in cases {
            assert_eq!(Demangled(symbol).to_string(), name);
        }
    }

    fn walk(stack: Range<usize>, frames: impl IntoIterator<Item = (usize, usize)>) -> Walk {
        let mut walk = Walk::of(0..0);
        walk.stack = stack;
        for (code, pointer) in frames {
            if !walk.take(code, pointer) {
                break;
            }
        }
        walk
    }

    #[test]
    fn the_innermost_and_the_outermost_of_many_are_shown() {
        let found = walk(1_000..200_000, (0..10_000).map(|number| (number, 1_000 + number * 16)));
        assert_eq!(found.count, 10_000);
        let numbers: Vec<usize> = found
            .shown()
            .map(|(number, code)| {
                assert_eq!(number, code);
                number
            })
            .collect();
        assert_eq!(numbers, (0..32).chain(9_984..10_000).collect::<Vec<_>>());
        for count in [0, 1, 31, 32, 33, 40, 48, 49] {
            let found = walk(1_000..200_000, (0..count).map(|number| (number, 1_000 + number * 16)));
            assert_eq!(found.shown().count(), count.min(48));
            assert!(found.shown().all(|(number, code)| number == code));
        }
    }

    #[test]
    fn walk_ends_where_the_stack_does_and_never_goes_round() {
        // The handler's frames lie elsewhere.
        let handler = [(1, 50), (2, 90)];
        let stack = [(3, 1_000), (4, 1_100)];
        let ends = handler.into_iter().chain(stack).chain([(5, 9_000), (6, 1_200)]);
        assert_eq!(walk(1_000..2_000, ends).count, 2);
        let round = stack.into_iter().cycle();
        assert_eq!(walk(1_000..2_000, round).count, 2);
        let stands = std::iter::repeat((3, 1_000));
        assert_eq!(walk(1_000..2_000, stands).count, 2);
        // The innermost had no room of its own yet, and that is nothing that two frames can say.
        let entered = [(3, 1_000), (4, 1_000), (5, 1_100), (6, 1_100), (7, 1_200)];
        assert_eq!(walk(1_000..2_000, entered).count, 3);
    }

    #[test]
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    fn own_functions_are_found() {
        let symbols = symbols::Symbols::open().expect("a test program has symbols");
        let own: fn() = own_functions_are_found;
        let (name, offset) = symbols.find((own as *const ()).addr() + 1).expect("it is one of them");
        assert!(
            Demangled(name).to_string().ends_with("own_functions_are_found"),
            "{name}"
        );
        assert_eq!(offset, 1);
        assert!(symbols.find(8).is_none());
    }
}
