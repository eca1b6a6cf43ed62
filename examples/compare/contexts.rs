//! Bare contexts: what each engine costs by itself, through the C interface that `csrc/kapok_fctx.h` describes.

#![expect(unsafe_code, reason = "uses the C interface")]

use std::ffi::{CString, c_char, c_void};
use std::hint::black_box;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use kapok::Engine;

use crate::clock::Stopwatch;
use crate::measure::{Sample, Work};

pub(crate) const WORKS: &[Work<Engine>] = &[
    Work {
        name: "switch, one way, ping-pong",
        run: |engine, n| ping_pong(engine, n).into(),
    },
    Work {
        name: "switch, ring of 1,000",
        run: |engine, n| walk(engine, 1_000, Order::Ring, n).into(),
    },
    Work {
        name: "the same, stack tops in step",
        run: |engine, n| walk(engine, 1_000, Order::RingInStep, n).into(),
    },
    Work {
        name: "switch, random walk over 10,000",
        run: |engine, n| random_walk(engine, 10_000, n),
    },
    Work {
        name: "make, first entry, and back",
        run: |engine, n| first_entry(engine, n).into(),
    },
    Work {
        name: "ontop there, jump back",
        run: |engine, n| ontop(engine, n).into(),
    },
];

/// What a switch that keeps the signal mask of each context cannot do without: a system call that sets it.
pub(crate) fn signal_mask(n: u32) -> f64 {
    // SAFETY: a signal set is plain memory.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: asks for the mask as it is.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &raw mut set) };
    let begin = Stopwatch::start();
    for _ in 0..n {
        // SAFETY: sets the mask that is set.
        black_box(unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut()) });
    }
    begin.ns_each(n)
}

type Context = *mut c_void;

#[repr(C)]
#[derive(Clone, Copy)]
struct Transfer {
    from: Context,
    data: *mut c_void,
}

type Entry = unsafe extern "C-unwind" fn(Transfer);
type OnTop = unsafe extern "C-unwind" fn(Transfer) -> Transfer;

#[repr(C)]
struct Functions {
    name: *const c_char,
    make: unsafe extern "C-unwind" fn(*mut c_void, usize, Entry) -> Context,
    jump: unsafe extern "C-unwind" fn(Context, *mut c_void) -> Transfer,
    ontop: unsafe extern "C-unwind" fn(Context, *mut c_void, OnTop) -> Transfer,
}

unsafe extern "C-unwind" {
    fn kapok_engine_find(name: *const c_char) -> *const Functions;
}

fn functions(engine: Engine) -> &'static Functions {
    let name = CString::new(engine.name()).expect("names are plain");
    // SAFETY: a C string.
    let found = unsafe { kapok_engine_find(name.as_ptr()) };
    // SAFETY: NULL, or a constant of the library.
    unsafe { found.as_ref() }.expect("the library lists it")
}

/// The bytes of stack for each context; stacks that are mapped at once, and most of these mappings.
const STACK: usize = 16 * 1024;
const BLOCK: usize = 10_000;
const MOST_BLOCKS: usize = 10;

/// The high end of a stack. Whoever uses it last has it: contexts are left suspended, and nothing of them has to be freed.
fn stack_end(index: usize) -> *mut c_void {
    /// The lowest address of a block.
    struct Stacks(NonNull<c_void>);
    // SAFETY: only an address.
    unsafe impl Send for Stacks {}
    // SAFETY: only an address.
    unsafe impl Sync for Stacks {}
    static STACKS: [OnceLock<Stacks>; MOST_BLOCKS] = [const { OnceLock::new() }; MOST_BLOCKS];
    let stacks = STACKS[index / BLOCK].get_or_init(|| {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
        // SAFETY: a new mapping.
        let base = unsafe { libc::mmap(ptr::null_mut(), BLOCK * STACK, prot, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED, "there is room for the stacks");
        Stacks(NonNull::new(base).expect("a mapping"))
    });
    stacks.0.as_ptr().wrapping_byte_add((index % BLOCK + 1) * STACK)
}

/// How far below its high end a stack begins. Where they all begin at the same place of a page, they compete for the same few
/// cache sets; so the runtime's stacks do not, either.
fn stagger(index: usize) -> usize {
    index % 16 * 64
}

fn make(functions: &Functions, index: usize, entry: Entry, below_end: usize) -> Context {
    let high = stack_end(index).wrapping_byte_sub(below_end);
    // SAFETY: a stack of that size, on which nobody runs.
    let made = unsafe { (functions.make)(high, STACK - below_end, entry) };
    assert!(!made.is_null(), "a stack of {STACK} bytes is enough");
    made
}

/// Jumps back as often as it is entered. The data is the engine's functions.
unsafe extern "C-unwind" fn jump_back(mut transfer: Transfer) {
    let functions: *const Functions = transfer.data.cast();
    // SAFETY: as each caller passes them.
    let jump = unsafe { (*functions).jump };
    loop {
        // SAFETY: whoever came has just been left.
        transfer = unsafe { jump(transfer.from, transfer.data) };
    }
}

fn ping_pong(engine: Engine, n: u32) -> f64 {
    let functions = functions(engine);
    let data = ptr::from_ref(functions).cast_mut().cast();
    // SAFETY: just made; after that, always the handle that came last.
    let mut transfer = unsafe { (functions.jump)(make(functions, 0, jump_back, 0), data) };
    let begin = Stopwatch::start();
    for _ in 0..n / 2 {
        // SAFETY: as above.
        transfer = unsafe { (functions.jump)(transfer.from, data) };
    }
    begin.ns_each(n / 2 * 2)
}

unsafe extern "C-unwind" fn unchanged(transfer: Transfer) -> Transfer {
    transfer
}

fn ontop(engine: Engine, n: u32) -> f64 {
    let functions = functions(engine);
    let data = ptr::from_ref(functions).cast_mut().cast();
    // SAFETY: just made; after that, always the handle that came last.
    let mut transfer = unsafe { (functions.jump)(make(functions, 0, jump_back, 0), data) };
    let begin = Stopwatch::start();
    for _ in 0..n {
        // SAFETY: as above; what it returns is what `jump_back` expects.
        transfer = unsafe { (functions.ontop)(transfer.from, data, unchanged) };
    }
    begin.ns_each(n)
}

fn first_entry(engine: Engine, n: u32) -> f64 {
    let functions = functions(engine);
    let data = ptr::from_ref(functions).cast_mut().cast();
    let begin = Stopwatch::start();
    for _ in 0..n {
        // SAFETY: just made, where the last one lay, whom nobody enters again.
        black_box(unsafe { (functions.jump)(make(functions, 0, jump_back, 0), data) }.data);
    }
    begin.ns_each(n)
}

#[derive(Clone, Copy)]
enum Order {
    Ring,
    /// The same, on stacks that all begin at the same place of a page.
    RingInStep,
    Random(u32),
}

/// Contexts that go from one directly to the next, which is taken from a table, as from a run queue.
struct Walk {
    jump: unsafe extern "C-unwind" fn(Context, *mut c_void) -> Transfer,
    /// Where each is suspended; the last one is the thread.
    suspended: Vec<Context>,
    order: Order,
    steps: u32,
    /// Who runs, or has just left.
    current: usize,
}

impl Walk {
    fn next(&mut self) -> usize {
        let all = self.suspended.len() - 1;
        if self.steps == 0 {
            return all;
        }
        self.steps -= 1;
        match &mut self.order {
            Order::Ring | Order::RingInStep => (self.current + 1) % all,
            Order::Random(x) => {
                *x ^= *x << 13;
                *x ^= *x >> 17;
                *x ^= *x << 5;
                let next = *x as usize % all;
                if next == self.current { (next + 1) % all } else { next }
            }
        }
    }

    /// Switches to the next one; comes back when it is the caller's turn.
    ///
    /// # Safety
    /// `walk` is valid, and nobody else holds a reference to it.
    #[inline(always)]
    unsafe fn step(walk: *mut Walk) {
        // SAFETY: the caller's promise; gone before the switch.
        let this = unsafe { &mut *walk };
        let next = this.next();
        let to = this.suspended[next];
        let (me, jump) = (std::mem::replace(&mut this.current, next), this.jump);
        // SAFETY: the handle was put there by whoever came from it, and is overwritten before it is used again.
        let transfer = unsafe { jump(to, ptr::without_provenance_mut(me)) };
        // SAFETY: as above.
        unsafe { Walk::arrive(walk, transfer) };
    }

    /// # Safety
    /// As for `step`.
    #[inline(always)]
    unsafe fn arrive(walk: *mut Walk, transfer: Transfer) {
        // SAFETY: the caller's promise.
        let this = unsafe { &mut *walk };
        this.suspended[transfer.data.addr()] = transfer.from;
    }
}

thread_local!(static WALK: std::cell::Cell<*mut Walk> = const { std::cell::Cell::new(ptr::null_mut()) });

unsafe extern "C-unwind" fn walk_on(transfer: Transfer) {
    let walk = WALK.get();
    // SAFETY: `walk` has set it, and waits for all of this.
    unsafe { Walk::arrive(walk, transfer) };
    loop {
        // SAFETY: as above.
        unsafe { Walk::step(walk) };
    }
}

/// From one of so many contexts to another that nobody can predict.
pub(crate) fn random_walk(engine: Engine, contexts: usize, n: u32) -> Sample {
    walk(engine, contexts, Order::Random(0x9e37_79b9), n).into()
}

fn walk(engine: Engine, contexts: usize, order: Order, n: u32) -> f64 {
    let functions = functions(engine);
    let below_end = |index| match order {
        Order::RingInStep => 0,
        Order::Ring | Order::Random(_) => stagger(index),
    };
    let made = (0..contexts).map(|index| make(functions, index, walk_on, below_end(index)));
    let mut suspended: Vec<_> = made.collect();
    suspended.push(ptr::null_mut());
    let walk = &raw mut *Box::leak(Box::new(Walk {
        jump: functions.jump,
        suspended,
        order: Order::Ring,
        // All have begun before the time is taken.
        steps: u32::try_from(contexts).expect("few enough"),
        current: contexts,
    }));
    WALK.set(walk);
    // SAFETY: leaked above; used by one context at a time.
    unsafe { Walk::step(walk) };
    // SAFETY: as above.
    let this = unsafe { &mut *walk };
    (this.order, this.steps) = (order, n);
    let begin = Stopwatch::start();
    // SAFETY: as above.
    unsafe { Walk::step(walk) };
    let ns = begin.ns_each(n + 1);
    // SAFETY: leaked above. The contexts that know of it are not entered again.
    drop(unsafe { Box::from_raw(walk) });
    ns
}
