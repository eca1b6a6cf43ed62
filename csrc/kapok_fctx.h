/*
 * NAME
 *     kapok_fctx - make, jump to and run on top of stackful contexts
 *
 * SYNOPSIS
 *     const struct kapok_engine *e = kapok_engine_find("setjmp");
 *     kapok_fcontext_t c = e->make(stack_high_end, stack_size, fn);
 *     kapok_transfer_t t = e->jump(c, data);
 *     kapok_transfer_t t = e->ontop(t.fctx, data, on_top_fn);
 *
 * DESCRIPTION
 *     Three functions and one struct, in the shape of Boost.Context 1.61 and later, over what POSIX and ISO C
 *     offer for changing stacks. Each way of doing it is an *engine*; all engines of a build are in one library and
 *     behave alike, so that they can be chosen at run time and compared on the same work.
 *
 *     A handle (kapok_fcontext_t) names one suspended execution and is good for ONE jump: the jump consumes it, and the
 *     handle of the execution that was left arrives at the other side in kapok_transfer_t.fctx.
 *
 *     There is nothing to free. All state of a suspended context lies on its own stack: for a context that has run, in
 *     the frame of the jump() that it is suspended in; for one that has never run, at the high end of the stack that
 *     was given to make().
 *
 *         low                          the stack given to make()                           high (sp)
 *         +-----------------------------------------------------------------------------------+
 *         |  ... unused ...   <- grows |  frames of fn  |  first frame  |  record of make()    |
 *         +-----------------------------------------------------------------------------------+
 *
 * WHAT IS DEFINED HERE THAT BOOST LEAVES UNDEFINED
 *     - make() with a stack too small for its record, the first frames and one jump, or with sp NULL: returns NULL.
 *     - sp that is not aligned: aligned inside.
 *     - jump() or ontop() to NULL, to a consumed handle (one's own included), to a handle of another engine: writes a
 *       sentence to standard error and calls abort(). The check reads the record that the handle points to, in a frame
 *       that may be gone. It finds a consumed record there, or other data, which is not a live record with near
 *       certainty; or the same context suspended again at the very same place, whose new handle equals the old one.
 *     - fn returns: writes a sentence and calls abort().
 *     - libc fails to switch: writes a sentence and calls abort().
 *     - ontop() on a context that has never run: on_top_fn runs first, on that stack; what it returns is what fn gets.
 *
 * WHAT A SWITCH KEEPS
 *     The callee-saved registers, on every engine. The signal mask and the floating-point environment: engine
 *     "ucontext" keeps both for each context (that is what swapcontext(3) does, at one system call a switch); engine
 *     "setjmp" and "asm" promise neither, they belong to the thread (some libc's _setjmp keeps part of the
 *     floating-point environment; glibc's does not). A context that has never run starts with the mask and the environment of whoever
 *     enters it first. errno belongs to the thread.
 *
 *     With KAPOK_BOOST_NAMES the library exports make_fcontext, jump_fcontext and ontop_fcontext also, with Boost's
 *     ABI; these keep the floating-point environment for each context on every engine, as Boost's assembly does.
 *
 * EXCEPTIONS
 *     An exception (or a Rust panic) may pass through the frames of jump() and ontop(): one that on_top_fn throws comes
 *     out of the jump() that the target is suspended in. None may leave fn: there is no frame to receive it.
 *
 * THREADS
 *     A context may be resumed by another thread than the one that suspended it as far as this library is concerned.
 *     The compiler may not agree: see docs/soundness.md. One handle must not be used by two threads at once.
 *
 * SEE ALSO
 *     makecontext(3), swapcontext(3), setjmp(3), https://www.boost.org/doc/libs/release/libs/context/
 */
#ifndef KAPOK_FCTX_H
#define KAPOK_FCTX_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Changes whenever a struct or a function type below changes; compared with the library's by the Rust side. */
#define KAPOK_FCTX_ABI_VERSION 1

/** One suspended execution; opaque, one-shot, nothing to free. Boost's `fcontext_t`. */
typedef void *kapok_fcontext_t;

/** What a jump brings to its other side. Boost's `transfer_t`. */
typedef struct kapok_transfer {
    /** The context that was left to come here. */
    kapok_fcontext_t fctx;
    /** What it passed along. */
    void *data;
} kapok_transfer_t;

/** The function that a new context runs. Must not return and must not throw. */
typedef void (*kapok_entry_fn)(kapok_transfer_t);

/** A function run on the target's stack by `ontop`; its result is the target's transfer. May throw. */
typedef kapok_transfer_t (*kapok_ontop_fn)(kapok_transfer_t);

/** `sp` is the high end of the stack, `size` its bytes. NULL when the stack is too small. Boost's `make_fcontext`. */
typedef kapok_fcontext_t (*kapok_make_fn)(void *sp, size_t size, kapok_entry_fn fn);

/** Suspends the caller and resumes `to`; returns when somebody jumps back. Boost's `jump_fcontext`. */
typedef kapok_transfer_t (*kapok_jump_fn)(kapok_fcontext_t to, void *data);

/** As a jump, but runs `fn` on the stack of `to` before `to` goes on. Boost's `ontop_fcontext`. */
typedef kapok_transfer_t (*kapok_ontop_jump_fn)(kapok_fcontext_t to, void *data, kapok_ontop_fn fn);

/** One way of switching stacks. */
struct kapok_engine {
    /** The name by which `KAPOK_SWITCH` and `kapok_engine_find` know it. */
    const char *name;
    kapok_make_fn make;
    kapok_jump_fn jump;
    kapok_ontop_jump_fn ontop;
};

/** The engines of this build, the default first. */
extern const struct kapok_engine *const kapok_engines[];

/** How many there are. */
extern const size_t kapok_engine_count;

/** KAPOK_FCTX_ABI_VERSION as the library was compiled. */
extern const unsigned int kapok_fctx_abi_version;

/** The engine of that name, or NULL. */
const struct kapok_engine *kapok_engine_find(const char *name);

#ifdef __cplusplus
}
#endif

#endif
