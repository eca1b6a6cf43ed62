//! lp64d: `csrc/asm/riscv64_lp64d.S`.

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
    // restores sp, s0 and s1 from it, and comes out at the end with its transfer in a0 and a1. All else is declared.
    unsafe {
        asm!(
            "lla t0, 2f",
            "addi sp, sp, -224",
            "sd t0, 112(sp)",
            "sd s0, 16(sp)",
            "sd s1, 24(sp)",
            "sd a2, 0(sp)",
            "mv t0, sp",
            "sd zero, 0(a0)", // KAPOK_CONSUMED
            "mv sp, a0",
            "ld s0, 16(sp)",
            "ld s1, 24(sp)",
            "ld s2, 32(sp)",
            "ld s3, 40(sp)",
            "ld s4, 48(sp)",
            "ld s5, 56(sp)",
            "ld s6, 64(sp)",
            "ld s7, 72(sp)",
            "ld s8, 80(sp)",
            "ld s9, 88(sp)",
            "ld s10, 96(sp)",
            "ld s11, 104(sp)",
            "ld t1, 112(sp)",
            "fld fs0, 128(sp)",
            "fld fs1, 136(sp)",
            "fld fs2, 144(sp)",
            "fld fs3, 152(sp)",
            "fld fs4, 160(sp)",
            "fld fs5, 168(sp)",
            "fld fs6, 176(sp)",
            "fld fs7, 184(sp)",
            "fld fs8, 192(sp)",
            "fld fs9, 200(sp)",
            "fld fs10, 208(sp)",
            "fld fs11, 216(sp)",
            "addi sp, sp, 224",
            "mv a0, t0",
            "jr t1", // not ra, through which it would count as a return
            "2:",
            inout("a0") to => fctx,
            inout("a1") data => brought,
            inout("a2") suspended => _,
            out("s2") _, out("s3") _, out("s4") _, out("s5") _, out("s6") _,
            out("s7") _, out("s8") _, out("s9") _, out("s10") _, out("s11") _,
            out("fs0") _, out("fs1") _, out("fs2") _, out("fs3") _, out("fs4") _, out("fs5") _,
            out("fs6") _, out("fs7") _, out("fs8") _, out("fs9") _, out("fs10") _, out("fs11") _,
            clobber_abi("C"),
        );
    }
    kapok_transfer_t { fctx, data: brought }
}
