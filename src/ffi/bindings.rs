pub const KAPOK_FCTX_ABI_VERSION: u32 = 1;
/// One suspended execution; opaque, one-shot, nothing to free. Boost's `fcontext_t`.
pub type kapok_fcontext_t = *mut ::core::ffi::c_void;
/// What a jump brings to its other side. Boost's `transfer_t`.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct kapok_transfer {
    /// The context that was left to come here.
    pub fctx: kapok_fcontext_t,
    /// What it passed along.
    pub data: *mut ::core::ffi::c_void,
}
/// What a jump brings to its other side. Boost's `transfer_t`.
pub type kapok_transfer_t = kapok_transfer;
/// The function that a new context runs. Must not return and must not throw.
pub type kapok_entry_fn = ::core::option::Option<
    unsafe extern "C-unwind" fn(arg1: kapok_transfer_t),
>;
/// A function run on the target's stack by `ontop`; its result is the target's transfer. May throw.
pub type kapok_ontop_fn = ::core::option::Option<
    unsafe extern "C-unwind" fn(arg1: kapok_transfer_t) -> kapok_transfer_t,
>;
/// `sp` is the high end of the stack, `size` its bytes. NULL when the stack is too small. Boost's `make_fcontext`.
pub type kapok_make_fn = ::core::option::Option<
    unsafe extern "C-unwind" fn(
        sp: *mut ::core::ffi::c_void,
        size: usize,
        fn_: kapok_entry_fn,
    ) -> kapok_fcontext_t,
>;
/// Suspends the caller and resumes `to`; returns when somebody jumps back. Boost's `jump_fcontext`.
pub type kapok_jump_fn = ::core::option::Option<
    unsafe extern "C-unwind" fn(
        to: kapok_fcontext_t,
        data: *mut ::core::ffi::c_void,
    ) -> kapok_transfer_t,
>;
/// As a jump, but runs `fn` on the stack of `to` before `to` goes on. Boost's `ontop_fcontext`.
pub type kapok_ontop_jump_fn = ::core::option::Option<
    unsafe extern "C-unwind" fn(
        to: kapok_fcontext_t,
        data: *mut ::core::ffi::c_void,
        fn_: kapok_ontop_fn,
    ) -> kapok_transfer_t,
>;
/// One way of switching stacks.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct kapok_engine {
    /// The name by which `KAPOK_SWITCH` and `kapok_engine_find` know it.
    pub name: *const ::core::ffi::c_char,
    pub make: kapok_make_fn,
    pub jump: kapok_jump_fn,
    pub ontop: kapok_ontop_jump_fn,
}
unsafe extern "C" {
    /// The engines of this build, the default first.
    pub static kapok_engines: [*const kapok_engine; 0usize];
    /// How many there are.
    pub static kapok_engine_count: usize;
    /// KAPOK_FCTX_ABI_VERSION as the library was compiled.
    pub static kapok_fctx_abi_version: ::core::ffi::c_uint;
}
unsafe extern "C-unwind" {
    /// The engine of that name, or NULL.
    pub fn kapok_engine_find(name: *const ::core::ffi::c_char) -> *const kapok_engine;
}
