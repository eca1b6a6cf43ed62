//! The jump of engine `asm` as instructions in the caller, for the scheduler.
//!
//! It leaves the record that `csrc/asm/x86_64_sysv.S` describes, and so fits together with the functions there. What is gained
//! is less the call than its return: the processor predicts returns by the calls that it has seen, and sees none here. And
//! of the callee-saved registers only those are stored that Rust cannot declare as overwritten.
//!
//! An on-top function may not unwind out of it, which inline assembly does not allow: coroutines use the function.

use std::arch::asm;
use std::ffi::c_void;

use crate::ffi::kapok_transfer_t;

/// Suspends the caller and resumes `to`.
///
/// # Safety
/// `to` is a context of engine `asm`, suspended, so that the word there is `suspended`. All else as for
/// [`Engine::switch`](super::Engine::switch).
#[inline(always)]
pub(super) unsafe fn jump(to: *mut c_void, data: *mut c_void, suspended: usize) -> kapok_transfer_t {
    let (fctx, brought);
    // SAFETY: the record is written below the stack pointer, in the 128 bytes that the ABI gives to a function, and that
    // the compiler leaves free here: so what describes the frame is right until the stack changes. Whoever resumes this context
    // restores rsp, rbx and rbp from it, and comes out at the end with its transfer in rax and rdx. All else is declared.
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
