//! Where the settings come from: the environment and the builder.

use std::io::ErrorKind;

use kapok::runtime::{Builder, Handle, Runtime};
use kapok::{Engine, ReactorKind, spawn, stack};

use crate::support::{child, panics, run, says, show};

/// Runs `body` in a child with one variable set.
#[track_caller]
fn with_variable(test: &str, name: &str, value: &str, body: impl FnOnce()) {
    let ended = child::alone(
        test,
        |command| {
            command.env(name, value);
        },
        body,
    );
    if let Some(ended) = ended {
        ended.success();
    }
}

/// What is wrong with the set-up: an error of this kind that says all of these.
#[track_caller]
fn refuses(kind: ErrorKind, parts: &[&str]) {
    let mut ran = false;
    let error = kapok::run(|| ran = true).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    says(&error.to_string(), parts);
    assert!(!ran);
}

#[test]
fn variable_chooses_the_engine() {
    for engine in Engine::available() {
        with_variable(
            "settings::variable_chooses_the_engine",
            "KAPOK_SWITCH",
            engine.name(),
            || {
                let wanted = std::env::var("KAPOK_SWITCH").unwrap();
                assert_eq!(run(|| Handle::current().switch()).name(), wanted);
                // The builder knows better.
                for other in Engine::available() {
                    let used = Builder::new().switch(other).run(|| Handle::current().switch());
                    assert_eq!(used.unwrap(), other);
                }
            },
        );
        if child::is_child("settings::variable_chooses_the_engine") {
            return;
        }
    }
}

#[test]
fn empty_variables_are_unset() {
    let test = "settings::empty_variables_are_unset";
    let ended = child::alone(
        test,
        |command| {
            command.envs([
                ("KAPOK_SWITCH", ""),
                ("KAPOK_REACTOR", ""),
                ("KAPOK_STACK_SIZE", ""),
                ("KAPOK_WORKERS", ""),
            ]);
        },
        || {
            run(|| {
                assert_eq!(Handle::current().switch(), Engine::default());
                assert!(ReactorKind::available().contains(&Handle::current().reactor()));
            });
        },
    );
    if let Some(ended) = ended {
        ended.success();
    }
}

#[test]
fn unknown_engine_is_an_error_that_names_the_known() {
    let test = "settings::unknown_engine_is_an_error_that_names_the_known";
    with_variable(test, "KAPOK_SWITCH", "teleport", || {
        let names: Vec<_> = Engine::available().iter().map(|engine| engine.name()).collect();
        refuses(ErrorKind::InvalidInput, &["KAPOK_SWITCH", "teleport"]);
        refuses(ErrorKind::InvalidInput, &names);
        assert_eq!(Builder::new().switch(Engine::default()).run(|| 1).unwrap(), 1);
    });
}

#[test]
fn variable_chooses_the_reactor() {
    let starts = |kind| {
        let started = Builder::new().reactor(kind).run(|| ());
        match started {
            // src/reactor/tests/ fails where it is required.
            Err(error) if kind.name() == "io_uring" => show(&format!("SKIP {error}")),
            started => {
                started.expect("it needs nothing but what every kernel has");
                return true;
            }
        }
        false
    };
    let reactors: Vec<_> = ReactorKind::available()
        .into_iter()
        .filter(|&kind| starts(kind))
        .collect();
    for kind in reactors.iter().copied() {
        with_variable(
            "settings::variable_chooses_the_reactor",
            "KAPOK_REACTOR",
            kind.name(),
            || {
                let wanted = std::env::var("KAPOK_REACTOR").unwrap();
                assert_eq!(run(|| Handle::current().reactor()).name(), wanted);
                for &other in &reactors {
                    let used = Builder::new().reactor(other).run(|| Handle::current().reactor());
                    assert_eq!(used.unwrap(), other);
                }
            },
        );
        if child::is_child("settings::variable_chooses_the_reactor") {
            return;
        }
    }
}

#[test]
fn unknown_reactor_is_an_error_that_names_the_known() {
    let test = "settings::unknown_reactor_is_an_error_that_names_the_known";
    with_variable(test, "KAPOK_REACTOR", "fission", || {
        let names: Vec<_> = ReactorKind::available().iter().map(|kind| kind.name()).collect();
        refuses(ErrorKind::InvalidInput, &["KAPOK_REACTOR", "fission"]);
        refuses(ErrorKind::InvalidInput, &names);
    });
}

/// Whether half a megabyte of stack can be used without dying: the array is touched from end to end.
#[inline(never)]
fn use_half_a_megabyte() -> u64 {
    let bytes = std::hint::black_box([1_u8; 512 * 1024]);
    bytes.iter().map(|&byte| u64::from(byte)).sum()
}

#[test]
fn variable_sets_the_size_of_stacks() {
    let test = "settings::variable_sets_the_size_of_stacks";
    // In a debug build the array is there twice, or thrice.
    with_variable(test, "KAPOK_STACK_SIZE", "4194304", || {
        run(|| {
            assert_eq!(use_half_a_megabyte(), 512 * 1024);
            assert_eq!(spawn(use_half_a_megabyte).join().unwrap(), 512 * 1024);
        });
    });
}

#[test]
fn stack_sizes_that_make_no_sense_are_errors() {
    let test = "settings::stack_sizes_that_make_no_sense_are_errors";
    for value in [
        "0",
        "1",
        "16383",
        "1073741825",
        "99999999999999999999999",
        "-1",
        "256K",
        "x",
        " 65536",
    ] {
        with_variable(test, "KAPOK_STACK_SIZE", value, || {
            let value = std::env::var("KAPOK_STACK_SIZE").unwrap();
            refuses(ErrorKind::InvalidInput, &["KAPOK_STACK_SIZE", &value]);
            assert_eq!(Builder::new().stack_size(65_536).run(|| 1).unwrap(), 1);
        });
        if child::is_child(test) {
            return;
        }
    }
}

#[test]
fn variable_sets_the_number_of_workers() {
    let test = "settings::variable_sets_the_number_of_workers";
    for value in ["1", "2", "7"] {
        with_variable(test, "KAPOK_WORKERS", value, || {
            let workers = || Handle::current().workers().to_string();
            assert_eq!(run(workers), std::env::var("KAPOK_WORKERS").unwrap());
            assert_eq!(
                Runtime::new().unwrap().run(workers),
                std::env::var("KAPOK_WORKERS").unwrap()
            );
            // The builder knows better.
            assert_eq!(Builder::new().workers(3).run(workers).unwrap(), "3");
        });
        if child::is_child(test) {
            return;
        }
    }
}

#[test]
fn without_a_number_there_is_a_worker_for_each_processor() {
    let test = "settings::without_a_number_there_is_a_worker_for_each_processor";
    let ended = child::alone(
        test,
        |command| {
            command.env_remove("KAPOK_WORKERS");
        },
        || {
            let processors = std::thread::available_parallelism().unwrap().get().min(1024);
            assert_eq!(run(|| Handle::current().workers()), processors);
            assert_eq!(Runtime::new().unwrap().handle().workers(), processors);
        },
    );
    if let Some(ended) = ended {
        ended.success();
    }
}

#[test]
fn numbers_of_workers_that_make_no_sense_are_errors() {
    let test = "settings::numbers_of_workers_that_make_no_sense_are_errors";
    for value in ["0", "1025", "99999999999999999999999", "-1", "2x", "two", " 2"] {
        with_variable(test, "KAPOK_WORKERS", value, || {
            let value = std::env::var("KAPOK_WORKERS").unwrap();
            refuses(ErrorKind::InvalidInput, &["KAPOK_WORKERS", &value]);
            says(&Runtime::new().unwrap_err().to_string(), &["KAPOK_WORKERS", &value]);
            assert_eq!(Builder::new().workers(2).run(|| 1).unwrap(), 1);
        });
        if child::is_child(test) {
            return;
        }
    }
    for count in [0, 1025, usize::MAX] {
        let mut ran = false;
        let error = Builder::new().workers(count).run(|| ran = true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        says(&error.to_string(), &["workers", &count.to_string(), "1024"]);
        assert!(!ran);
    }
}

#[test]
fn variable_that_is_no_text_is_an_error() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let test = "settings::variable_that_is_no_text_is_an_error";
    for name in ["KAPOK_SWITCH", "KAPOK_REACTOR", "KAPOK_STACK_SIZE", "KAPOK_WORKERS"] {
        let ended = child::alone(
            test,
            |command| {
                command.env(name, OsStr::from_bytes(b"\xff\xfe"));
            },
            || refuses(ErrorKind::InvalidInput, &["KAPOK_"]),
        );
        match ended {
            Some(ended) => drop(ended.success()),
            None => return,
        }
    }
}

#[test]
fn builder_refuses_stack_sizes_out_of_bounds() {
    for bytes in [0, 1, stack::MIN_SIZE - 1, stack::MAX_SIZE + 1, usize::MAX] {
        let mut ran = false;
        let error = Builder::new().stack_size(bytes).run(|| ran = true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        says(&error.to_string(), &[&bytes.to_string()]);
        assert!(!ran);
    }
    assert_eq!(Builder::new().stack_size(stack::MIN_SIZE).run(|| 1).unwrap(), 1);
    assert_eq!(Builder::new().stack_size(stack::MAX_SIZE).run(|| 1).unwrap(), 1);
}

#[test]
fn handle_is_there_within_a_runtime_only() {
    assert!(Handle::try_current().is_none());
    says(&panics(Handle::current), &["Handle::current", "kapok::run"]);
    run(|| {
        let handle = Handle::current();
        assert_eq!(handle.clone().switch(), handle.switch());
        let theirs = spawn(|| Handle::try_current().expect("a fiber is within").reactor());
        assert_eq!(theirs.join().unwrap(), handle.reactor());
        assert!(kapok::blocking(|| Handle::try_current().is_none()));
        says(
            &format!("{handle:?}"),
            &["Handle", handle.switch().name(), &format!("{:?}", handle.reactor())],
        );
    });
    assert!(Handle::try_current().is_none());
}

#[test]
fn engines_and_reactors_have_names() {
    let engines = Engine::available();
    assert_eq!(engines[0], Engine::default());
    for engine in &engines {
        let name = engine.name();
        assert!(["setjmp", "ucontext", "asm"].contains(&name), "{name}");
        assert_eq!(name.parse::<Engine>().unwrap(), *engine);
        assert_eq!((engine.name(), engine.to_string().as_str()), (name, name));
        assert_eq!(format!("{engine:>10}").len(), 10);
        assert_eq!(engines.iter().filter(|other| *other == engine).count(), 1);
    }
    says(&"".parse::<Engine>().unwrap_err().to_string(), &["setjmp"]);
    let feature = cfg!(feature = "asm");
    let written = cfg!(kapok_asm);
    let asm = "asm".parse::<Engine>();
    assert_eq!(asm.is_ok(), feature && written, "{asm:?}");
    if let Err(error) = asm {
        let why = if feature {
            "for this machine"
        } else {
            "the Cargo feature `asm`"
        };
        says(&error.to_string(), &[why, "setjmp"]);
    }
    assert_eq!("Setjmp".parse::<Engine>().unwrap_err().kind(), ErrorKind::InvalidInput);
    for kind in ReactorKind::available() {
        assert_eq!(kind.name().parse::<ReactorKind>().unwrap(), kind);
        assert_eq!(kind.to_string(), kind.name());
    }
    assert_eq!("".parse::<ReactorKind>().unwrap_err().kind(), ErrorKind::InvalidInput);
}
