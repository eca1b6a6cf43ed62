//! The bindings to `csrc/`, as bindgen makes them of `csrc/kapok_fctx.h`.
//!
//! The committed file serves every target: the header has nothing in it but pointers and `size_t`. With the feature
//! `buildtime_bindgen` a fresh one is used instead; `tests/bindings.rs` proves the two equal.

#![allow(
    unsafe_code,
    non_camel_case_types,
    unreachable_pub,
    missing_docs,
    dead_code,
    clippy::all,
    clippy::doc_markdown,
    reason = "generated, and a mirror of the C header"
)]

#[cfg(feature = "buildtime_bindgen")]
include!(concat!(env!("OUT_DIR"), "/bindings.rs"));

#[cfg(not(feature = "buildtime_bindgen"))]
include!("bindings.rs");

const _: () = assert!(
    KAPOK_FCTX_ABI_VERSION == 1,
    "the Rust side was written for version 1 of the shim's ABI"
);

#[cfg(test)]
mod tests {
    use core::mem::{align_of, offset_of, size_of};

    unsafe extern "C" {
        // The C compiler's view: csrc/layout.c, which lists these in the same order.
        static kapok_layout: [usize; 10];
        static kapok_layout_len: usize;
    }

    #[test]
    fn layout_is_what_the_c_compiler_sees() {
        let rust = [
            size_of::<super::kapok_transfer_t>(),
            align_of::<super::kapok_transfer_t>(),
            offset_of!(super::kapok_transfer_t, fctx),
            offset_of!(super::kapok_transfer_t, data),
            size_of::<super::kapok_engine>(),
            align_of::<super::kapok_engine>(),
            offset_of!(super::kapok_engine, name),
            offset_of!(super::kapok_engine, make),
            offset_of!(super::kapok_engine, jump),
            offset_of!(super::kapok_engine, ontop),
        ];
        // SAFETY: constants of csrc/layout.c with exactly these types; the length is checked before the contents.
        let (c, len) = unsafe { (&kapok_layout, kapok_layout_len) };
        assert_eq!(len, rust.len());
        assert_eq!(*c, rust);
    }

    #[test]
    fn library_has_the_version_of_the_header() {
        // SAFETY: a constant of csrc/engines.c.
        assert_eq!(unsafe { super::kapok_fctx_abi_version }, super::KAPOK_FCTX_ABI_VERSION);
    }
}
