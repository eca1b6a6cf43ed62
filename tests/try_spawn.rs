//! Fibers whose stack is taken when they are started: they have one, or there is an error that says what is missing.

mod support;

use std::hint::black_box;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kapok::coroutine::Coroutine;
use kapok::fiber::{self, Builder};
use kapok::runtime::Handle;
use kapok::{Engine, spawn, stack};

use support::{CountsDrops, child, emulator, max_mappings, run, run_on_one, run_with, says, sentence, skip};

#[test]
fn it_runs_as_any_other() {
    for engine in Engine::available() {
        run_with(engine, || {
            let fibers: Vec<_> = (0..300)
                .map(|number| {
                    let body = move || {
                        fiber::yield_now();
                        number
                    };
                    // Sizes, and ways to a stack, take turns.
                    let builder = Builder::new().stack_size([stack::MIN_SIZE, 64 << 10, 256 << 10][number % 3]);
                    match number % 4 {
                        0 => builder.spawn(body).unwrap(),
                        1 => builder.try_spawn_local(body).unwrap(),
                        2 => builder
                            .worker(number % Handle::current().workers())
                            .try_spawn(body)
                            .unwrap(),
                        _ => fiber::try_spawn(body).unwrap(),
                    }
                })
                .collect();
            let sum: usize = fibers.into_iter().map(|fiber| fiber.join().unwrap()).sum();
            assert_eq!(sum, 299 * 300 / 2);
        });
    }
}

#[test]
fn from_a_thread_and_in_a_scope() {
    run(|| {
        let handle = Handle::current();
        let thread = std::thread::spawn(move || handle.try_spawn(fiber::is_fiber).unwrap().join().unwrap());
        assert!(kapok::blocking(|| thread.join().unwrap()));
        let lent = String::from("lent");
        let len = fiber::scope(|scope| {
            let fiber = Builder::new().try_spawn_scoped(scope, || lent.len()).unwrap();
            fiber.join().unwrap()
        });
        assert_eq!(len, 4);
    });
}

#[test]
fn outside_of_a_runtime_it_is_an_error() {
    assert_eq!(fiber::try_spawn(|| ()).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn stack_is_there_before_the_fiber_runs_and_goes_back() {
    child::undisturbed("stack_is_there_before_the_fiber_runs_and_goes_back", || {
        run_on_one(|| {
            let before = stack::stats().in_use;
            let fibers: Vec<_> = (0..100).map(|_| fiber::try_spawn(|| ()).unwrap()).collect();
            assert_eq!(stack::stats().in_use, before + 100);
            let others: Vec<_> = (0..100).map(|_| spawn(|| ())).collect();
            assert_eq!(stack::stats().in_use, before + 100, "these get theirs in their turn");
            fibers.into_iter().chain(others).for_each(|fiber| fiber.join().unwrap());
            assert!(stack::stats().in_use <= before + 1);
        });
    });
}

/// Starts fibers that stay until there are no stacks left, and gives how many there were, and why there were no more.
fn as_many_as_there_are(size: usize, most: usize) -> (usize, String) {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    DROPS.store(0, Ordering::SeqCst);
    let begun = Arc::new(AtomicUsize::new(0));
    let mut fibers = Vec::new();
    let error = loop {
        assert!(fibers.len() < most, "there is no limit");
        let (theirs, counted) = (Arc::clone(&begun), CountsDrops(&DROPS));
        let body = move || {
            let _dropped_at_the_end = counted;
            // What it takes of its stack at its end it takes now.
            black_box([1_u8; 3 << 10]);
            theirs.fetch_add(1, Ordering::Relaxed);
            fiber::park();
        };
        match Builder::new().stack_size(size).try_spawn(body) {
            Ok(fiber) => fibers.push(fiber),
            Err(error) => break error,
        }
        // What they take beyond the first page they take when they run.
        while fibers.len() % 64 == 0 && begun.load(Ordering::Relaxed) < fibers.len() {
            fiber::yield_now();
        }
    };
    assert_eq!(DROPS.load(Ordering::SeqCst), 1, "the closure that was refused is gone");
    let count = fibers.len();
    while begun.load(Ordering::Relaxed) < count {
        fiber::yield_now();
    }
    fibers.iter().for_each(|fiber| fiber.fiber().unpark());
    fibers
        .into_iter()
        .for_each(|fiber| fiber.join().expect("it has a stack"));
    assert_eq!(DROPS.load(Ordering::SeqCst), count + 1);
    (count, error.to_string())
}

#[test]
fn limit_of_address_space_is_named() {
    if emulator::lacks("RLIMIT_AS") {
        return;
    }
    child::undisturbed("limit_of_address_space_is_named", || {
        // Less than the addresses of a 32-bit machine.
        let (limit, size) = if usize::BITS >= 64 {
            (4 << 30, 256 << 20)
        } else {
            (1 << 30, 64 << 20)
        };
        rlimit::setrlimit(rlimit::Resource::AS, limit, limit).expect("one may have less");
        // What another worker keeps for its own next fibers is not to be had here.
        run_on_one(|| {
            for _ in 0..2 {
                let (count, error) = as_many_as_there_are(size, 100);
                assert!(count > 1, "{count}: {error}");
                let named = format!("RLIMIT_AS = {limit} bytes");
                says(&error, &["cannot map a stack", &named, "ulimit -v"]);
            }
            // The fiber that is started all the same ends with the same words.
            let huge = || Builder::new().stack_size(stack::MAX_SIZE);
            let taken: Vec<_> = (0..4).map_while(|_| huge().try_spawn(fiber::park).ok()).collect();
            let refused = huge().try_spawn(|| ()).unwrap_err().to_string();
            assert_eq!(sentence(huge().spawn(|| ()).unwrap().join().unwrap_err()), refused);
            taken.iter().for_each(|fiber| fiber.fiber().unpark());
        });
    });
}

#[test]
fn limit_of_mappings_is_named() {
    let Some(max) = max_mappings().filter(|max| *max < 200_000) else {
        skip("there is no limit of mappings to meet", "KAPOK_REQUIRE_PROC");
        return;
    };
    let ended = child::alone(
        "limit_of_mappings_is_named",
        |command| {
            command.env("KAPOK_STACK_GUARD", "mprotect");
        },
        || {
            run(|| {
                let (count, error) = as_many_as_there_are(stack::MIN_SIZE, max);
                assert!(count > max / 4, "{count} of {max}");
                says(&error, &["vm.max_map_count", &max.to_string(), "sysctl"]);
            });
        },
    );
    if let Some(ended) = ended {
        ended.success();
    }
}

/// A control group that is removed when it is no longer needed.
#[cfg(target_os = "linux")]
struct ControlGroup(std::path::PathBuf);

#[cfg(target_os = "linux")]
impl ControlGroup {
    /// One with that limit of memory, if this process may make one. The caller is moved into it.
    fn enter(bytes: usize) -> Option<ControlGroup> {
        let mounts = [
            ("/sys/fs/cgroup", "memory.max"),
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ];
        mounts.iter().find_map(|(mount, limit)| {
            let path = std::path::Path::new(mount).join(format!("kapok-test-{}", std::process::id()));
            std::fs::create_dir(&path).ok()?;
            let group = ControlGroup(path);
            // In a file system that is none of control groups these files are not there.
            let write = |name: &str, text: String| {
                let file = std::fs::OpenOptions::new().write(true).open(group.0.join(name));
                file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            };
            write(limit, bytes.to_string()).ok()?;
            write("cgroup.procs", std::process::id().to_string()).ok()?;
            Some(group)
        })
    }

    fn leave(&self) {
        let parent = self.0.parent().expect("it has one").join("cgroup.procs");
        std::fs::write(parent, std::process::id().to_string()).expect("one may leave");
    }
}

#[cfg(target_os = "linux")]
impl Drop for ControlGroup {
    fn drop(&mut self) {
        // It is a test's, and empty; where it stays behind, that harms nobody.
        drop(std::fs::remove_dir(&self.0));
    }
}

/// Where the kernel would kill the process, there is an error instead.
#[test]
#[cfg(target_os = "linux")]
fn limit_of_a_control_group_is_named() {
    child::undisturbed("limit_of_a_control_group_is_named", || {
        let Some(group) = ControlGroup::enter(96 << 20) else {
            skip(
                "no control group with a limit of memory can be made",
                "KAPOK_REQUIRE_CGROUP",
            );
            return;
        };
        run(|| {
            let (count, error) = as_many_as_there_are(stack::MIN_SIZE, 100_000);
            assert!(count > 1_000, "{count}");
            let limit = (96 << 20).to_string();
            says(
                &error,
                &["no memory for a stack", "memory.", &limit, "kapok-test-", "raise it"],
            );
        });
        group.leave();
    });
}

/// A coroutine takes its stack in the same way.
#[test]
fn coroutine_too() {
    if emulator::lacks("RLIMIT_AS") {
        return;
    }
    child::undisturbed("coroutine_too", || {
        rlimit::setrlimit(rlimit::Resource::AS, 2 << 30, 2 << 30).expect("one may have less");
        let make = || Coroutine::<(), (), ()>::with(Engine::default(), 256 << 20, |_, ()| ());
        let mut coroutines = Vec::new();
        let error = loop {
            match make() {
                Ok(coroutine) => coroutines.push(coroutine),
                Err(error) => break error,
            }
        };
        says(&error.to_string(), &["RLIMIT_AS", "ulimit -v"]);
        drop(coroutines);
        make().expect("there is room again").resume(());
    });
}
