//! Compiles the C shim in `csrc/`; with the feature `buildtime_bindgen`, also generates the bindings to it.

fn main() {
    // Not the directory: the tests in it do not concern the library.
    for dir in ["csrc", "csrc/asm"] {
        for file in std::fs::read_dir(dir).expect("it is part of the package").flatten() {
            if file.file_type().is_ok_and(|kind| kind.is_file()) {
                println!("cargo::rerun-if-changed={}", file.path().display());
            }
        }
    }
    println!("cargo::rerun-if-env-changed=CI");
    let target = std::env::var("TARGET").expect("Cargo sets it");
    println!("cargo::rustc-env=KAPOK_TARGET={target}"); // for the test that builds a program for it
    choose_reactors();
    choose_switch();
    compile_shim();
    #[cfg(feature = "buildtime_bindgen")]
    generate_bindings();
}

/// Sets `cfg(kapok_io_uring)` for the targets that have the io-uring crate, which Cargo.toml lists, and `cfg(bare_syscalls)`
/// for those whose sockets have system calls of their own, which are the same; and `cfg(kqueue)` where
/// there is one: by the system, or on Linux by what stands in for it in tests.
fn choose_reactors() {
    const SYSTEMS: [&str; 9] = [
        "dragonfly",
        "freebsd",
        "ios",
        "macos",
        "netbsd",
        "openbsd",
        "tvos",
        "visionos",
        "watchos",
    ];
    println!("cargo::rustc-check-cfg=cfg(kapok_io_uring, bare_syscalls, kqueue, kapok_libkqueue)");
    println!("cargo::rerun-if-env-changed=KAPOK_LIBKQUEUE");
    let system = std::env::var("CARGO_CFG_TARGET_OS").expect("Cargo sets it");
    let machine = std::env::var("CARGO_CFG_TARGET_ARCH").expect("Cargo sets it");
    let has_bindings = ["x86_64", "aarch64", "riscv64", "loongarch64", "powerpc64"];
    if system == "linux" && has_bindings.contains(&machine.as_str()) {
        println!("cargo::rustc-cfg=kapok_io_uring");
        // 32-bit and older machines have other numbers for the same things (socketcall).
        println!("cargo::rustc-cfg=bare_syscalls");
    }
    let model = std::env::var_os("CARGO_CFG_KAPOK_KQUEUE_MODEL").is_some();
    let libkqueue = std::env::var("KAPOK_LIBKQUEUE")
        .ok()
        .filter(|prefix| !prefix.is_empty());
    if let Some(prefix) = &libkqueue {
        assert!(
            system == "linux" && !model,
            "KAPOK_LIBKQUEUE is for Linux, and not together with kapok_kqueue_model"
        );
        println!("cargo::rustc-cfg=kapok_libkqueue");
        link_libkqueue(prefix);
    }
    if model {
        println!("cargo::rustc-cfg=kapok_kqueue_model"); // RUSTFLAGS does not reach the tests in the documentation
    }
    if SYSTEMS.contains(&system.as_str()) || model || libkqueue.is_some() {
        println!("cargo::rustc-cfg=kqueue");
    }
}

/// Sets `cfg(kapok_asm)` where somebody has written the engine `asm`, asked for or not, as `csrc/asm/asm.h` says it;
/// and, where it is asked for, `cfg(inline_jump)` where `src/context/inline` has its jump, and `cfg(apx_possible)`
/// where the compiler may have been told of registers that no inline assembly can name.
fn choose_switch() {
    println!("cargo::rustc-check-cfg=cfg(kapok_asm, inline_jump, apx_possible)");
    let of_target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let (machine, system) = (of_target("ARCH"), of_target("OS"));
    let wide = of_target("POINTER_WIDTH") == "64";
    let inlined = match machine.as_str() {
        "x86_64" | "aarch64" => wide,
        "riscv64" => true, // lp64d wherever there is a system; its floating-point features are no `cfg` yet
        _ => false,
    };
    let written = match machine.as_str() {
        "s390x" => true,
        "powerpc64" => of_target("ENDIAN") == "little",
        "arm" => of_target("ABI") == "eabihf",
        "x86" => system == "linux",
        _ => inlined,
    };
    let unix = std::env::var_os("CARGO_CFG_UNIX").is_some();
    if written && unix {
        println!("cargo::rustc-cfg=kapok_asm");
    }
    if inlined && unix && std::env::var_os("CARGO_FEATURE_ASM").is_some() {
        println!("cargo::rustc-cfg=inline_jump");
    }
    // A processor's name may stand for any of its features, and the feature's own name is no `cfg` yet.
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if ["target-cpu", "apx", "egpr"].iter().any(|flag| flags.contains(flag)) {
        println!("cargo::rustc-cfg=apx_possible");
    }
}

/// Links the libkqueue that is installed under `prefix`, wherever the system puts libraries: statically where it can be,
/// since a shared one has to be found again whenever a program starts.
fn link_libkqueue(prefix: &str) {
    let of_target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).expect("Cargo sets it");
    let multiarch = format!(
        "lib/{}-linux-{}{}",
        of_target("ARCH"),
        of_target("ENV"),
        of_target("ABI")
    );
    let places = ["lib", "lib64", &multiarch].map(|place| std::path::Path::new(prefix).join(place));
    for (kind, file) in [("static", "libkqueue.a"), ("dylib", "libkqueue.so")] {
        let Some(place) = places.iter().find(|place| place.join(file).exists()) else {
            continue;
        };
        println!("cargo::rerun-if-changed={}", place.join(file).display());
        println!("cargo::rustc-link-search=native={}", place.display());
        println!("cargo::rustc-link-lib={kind}=kqueue");
        if kind == "dylib" {
            println!("cargo::rustc-link-arg=-Wl,-rpath,{}", place.display());
        }
        return;
    }
    panic!("KAPOK_LIBKQUEUE={prefix}: neither libkqueue.a nor libkqueue.so is in any of {places:?}");
}

/// Whether the build is to be one for a C library without makecontext, whatever this one has. By default
/// `csrc/platform.h` knows which those are.
fn boot_is_sigaltstack() -> bool {
    println!("cargo::rerun-if-env-changed=KAPOK_BOOT");
    match std::env::var("KAPOK_BOOT").as_deref() {
        Ok("sigaltstack") => true,
        Err(std::env::VarError::NotPresent) | Ok("") => false,
        other => panic!("KAPOK_BOOT is {other:?}: it may be sigaltstack, or unset for what suits the target"),
    }
}

fn compile_shim() {
    let mut build = cc::Build::new();
    build
        .files([
            "csrc/asm.c",
            "csrc/asm_fenv.c",
            "csrc/boost_names.c",
            "csrc/boot_makecontext.c",
            "csrc/boot_sigaltstack.c",
            "csrc/engines.c",
            "csrc/layout.c",
            "csrc/record.c",
            "csrc/setjmp.c",
            "csrc/setjmp_fenv.c",
            "csrc/ucontext.c",
            "csrc/ucontext_fenv.c",
        ])
        .std("c11")
        // A panic or an exception that an on-top function raises passes through the frames of these files.
        .flag("-fexceptions")
        // The checked longjmp of some distributions' default flags aborts on a jump to another stack.
        .flag("-U_FORTIFY_SOURCE")
        .flag_if_supported("-Wstrict-prototypes")
        .flag_if_supported("-Wmissing-prototypes")
        .flag_if_supported("-Wno-deprecated-declarations") // Apple deprecates the context functions
        .extra_warnings(true)
        // The switch is measured: it is compiled optimised in debug builds too.
        .opt_level(2)
        // A new compiler's new warning must not break a user's build; it does break ours.
        .warnings_into_errors(std::env::var_os("CI").is_some());
    if boot_is_sigaltstack() {
        build.define("KAPOK_HAVE_MAKECONTEXT", "0");
    }
    if std::env::var_os("CARGO_FEATURE_BOOST_NAMES").is_some() {
        build.define("KAPOK_BOOST_NAMES", None);
    }
    if std::env::var_os("CARGO_FEATURE_ASM").is_some() {
        // Each is empty for other machines than its own.
        build.define("KAPOK_ASM", None).files([
            "csrc/asm/aarch64_aapcs64.S",
            "csrc/asm/aarch64_aapcs64_fenv.S",
            "csrc/asm/arm_aapcs_vfp.S",
            "csrc/asm/arm_aapcs_vfp_fenv.S",
            "csrc/asm/i386_sysv.S",
            "csrc/asm/i386_sysv_fenv.S",
            "csrc/asm/ppc64le_elfv2.S",
            "csrc/asm/ppc64le_elfv2_fenv.S",
            "csrc/asm/riscv64_lp64d.S",
            "csrc/asm/riscv64_lp64d_fenv.S",
            "csrc/asm/s390x_elf.S",
            "csrc/asm/s390x_elf_fenv.S",
            "csrc/asm/x86_64_sysv.S",
            "csrc/asm/x86_64_sysv_fenv.S",
        ]);
    }
    build.compile("kapok_fctx");
}

/// The settings are pinned so that the output depends on the header alone: not on the target, not on the version of
/// libclang, not on the compiler. `tests/bindings.rs` compares it with the committed file.
#[cfg(feature = "buildtime_bindgen")]
fn generate_bindings() {
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR")).join("bindings.rs");
    bindgen::Builder::default()
        .header("csrc/kapok_fctx.h")
        .allowlist_item("kapok_.*|KAPOK_.*")
        // A panic may travel through these.
        .override_abi(bindgen::Abi::CUnwind, "kapok_.*")
        .use_core()
        .rust_target(bindgen::RustTarget::stable(85, 0).expect("1.85 is a Rust version"))
        .rust_edition(bindgen::RustEdition::Edition2024)
        .formatter(bindgen::Formatter::Prettyplease)
        .disable_header_comment()
        .merge_extern_blocks(true)
        .layout_tests(false)
        .generate()
        .unwrap_or_else(|error| panic!("bindgen cannot read csrc/kapok_fctx.h: {error}"))
        .write_to_file(&out)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", out.display()));
}
