//! The committed bindings are what bindgen makes of the C header.
//!
//! Needs libclang: `cargo test --features buildtime_bindgen --test bindings`. After a change of the header, `BLESS=1` in
//! front of that command writes the file anew. The library under test is built from the fresh bindings, so that this works
//! even where the committed ones do not compile.

const FRESH: &str = include_str!(concat!(env!("OUT_DIR"), "/bindings.rs"));
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ffi/bindings.rs");

#[test]
fn committed_bindings_are_current() {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(COMMITTED, FRESH).unwrap();
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap();
    assert!(
        committed == FRESH,
        "{COMMITTED} is not what bindgen makes of the header; BLESS=1 writes it anew"
    );
}
