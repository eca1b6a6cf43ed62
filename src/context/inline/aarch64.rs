//! AAPCS64: `csrc/asm/aarch64_aapcs64.S`.

use std::arch::asm;
use std::ffi::c_void;

use crate::ffi::kapok_transfer_t;

/// Whether all registers that the compiler may use are declared below: they are.
pub(in super::super) fn is_usable() -> bool {
    true
}

/// Suspends the caller and resumes `to`.
///
/// # Safety
/// `to` is a context of engine `asm`, suspended, so that the word there is `suspended`. All else as for
/// [`Engine::switch`](crate::context::Engine::switch).
#[inline(always)]
pub(in super::super) unsafe fn jump(to: *mut c_void, data: *mut c_void, suspended: usize) -> kapok_transfer_t {
    let (fctx, brought);
    // SAFETY: the record is written below the stack pointer, after that was moved there. Whoever resumes this context
    // restores sp, x19 and x29 from it, and comes out at the end with its transfer in x0 and x1. All else is declared:
    // of v8 to v15, too,
    // `clobber_abi` names the whole.
    unsafe {
        asm!(
            "adr x9, 2f",
            "sub sp, sp, #176",
            "stp x29, x9, [sp, #96]",
            "str x19, [sp, #16]",
            "str x2, [sp]",
            "mov x10, sp",
            "str xzr, [x0]", // KAPOK_CONSUMED
            "mov sp, x0",
            "ldp x19, x20, [sp, #16]",
            "ldp x21, x22, [sp, #32]",
            "ldp x23, x24, [sp, #48]",
            "ldp x25, x26, [sp, #64]",
            "ldp x27, x28, [sp, #80]",
            "ldp x29, x30, [sp, #96]", // x30, too, as a function's return leaves it
            "ldp d8, d9, [sp, #112]",
            "ldp d10, d11, [sp, #128]",
            "ldp d12, d13, [sp, #144]",
            "ldp d14, d15, [sp, #160]",
            "add sp, sp, #176",
            "mov x0, x10",
            "br x30", // no `ret`, which would be predicted by a call that was made elsewhere
            "2:",
            inout("x0") to => fctx,
            inout("x1") data => brought,
            inout("x2") suspended => _,
            out("x20") _, out("x21") _, out("x22") _, out("x23") _, out("x24") _,
            out("x25") _, out("x26") _, out("x27") _, out("x28") _,
            clobber_abi("C"),
        );
    }
    kapok_transfer_t { fctx, data: brought }
}
