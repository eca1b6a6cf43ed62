//! System V ABI: `csrc/asm/x86_64_sysv.S`.

use std::arch::asm;
use std::arch::x86_64::{__cpuid_count, CpuidResult};
use std::ffi::c_void;

use crate::ffi::kapok_transfer_t;

/// Whether all registers that the compiler may use are declared below.
///
/// It has no names for r16 to r31 of the extension APX, and so `clobber_abi` leaves them out: where the compiler was
/// told to use them, a value that the caller still needs may be in one. Who runs a program that was compiled so has
/// such a processor. Others who have one, and name it in `target-cpu`, lose the inlining only.
pub(in super::super) fn is_usable() -> bool {
    !(cfg!(apx_possible) && has_apx())
}

/// Whether the processor has r16 to r31.
fn has_apx() -> bool {
    const APX_F: u32 = 1 << 21; // of edx, leaf 7, subleaf 1
    const CPUID: unsafe fn(u32, u32) -> CpuidResult = __cpuid_count; // newer versions of Rust have it as a safe function
    // SAFETY: every processor of 64 bits has the instruction.
    let cpuid = |leaf, subleaf| unsafe { CPUID(leaf, subleaf) };
    cpuid(0, 0).eax >= 7 && cpuid(7, 0).eax >= 1 && cpuid(7, 1).edx & APX_F != 0
}

/// Suspends the caller and resumes `to`.
///
/// # Safety
/// `to` is a context of engine `asm`, suspended, so that the word there is `suspended`. All else as for
/// [`Engine::switch`](crate::context::Engine::switch).
#[inline(always)]
pub(in super::super) unsafe fn jump(to: *mut c_void, data: *mut c_void, suspended: usize) -> kapok_transfer_t {
    let (fctx, brought);
    // SAFETY: the record is written below the stack pointer, in the 128 bytes that the ABI gives to a function, and
    // that the compiler leaves free here: so what describes the frame is right until the stack changes. Whoever resumes
    // this context restores rsp, rbx and rbp from it, and comes out at the end with its transfer in rax and rdx. All
    // else is declared.
    unsafe {
        asm!(
            "lea rcx, [rip + 2f]",
            "mov [rsp - 8], rcx",
            "mov [rsp - 16], rbp",
            "mov [rsp - 24], rbx",
            "mov [rsp - 64], rax",
            "lea rax, [rsp - 64]",
            "mov qword ptr [rdi], 0", // KAPOK_CONSUMED
            "mov r15, [rdi + 8]",
            "mov r14, [rdi + 16]",
            "mov r13, [rdi + 24]",
            "mov r12, [rdi + 32]",
            "mov rbx, [rdi + 40]",
            "mov rbp, [rdi + 48]",
            "mov rcx, [rdi + 56]",
            "lea rsp, [rdi + 64]",
            ".byte 0x3e", // no endbr64 where it goes on
            "jmp rcx",
            "2:",
            inout("rax") suspended => fctx,
            inout("rdx") data => brought,
            inout("rdi") to => _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            clobber_abi("C"),
        );
    }
    kapok_transfer_t { fctx, data: brought }
}
