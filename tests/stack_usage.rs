//! What is said of the stacks that fibers have used is what they have used.

mod support;

use std::hint::black_box;
use std::panic::Location;

use kapok::fiber::{Builder, yield_now};
use kapok::runtime;
use kapok::stack::{self, Measure, SiteUsage};
use kapok::{Engine, spawn};

use support::{child, emulator, says, watchdog};

/// Uses this much of the stack, and in a debug build twice as much.
#[inline(never)]
fn uses<const BYTES: usize>() -> u64 {
    let frame = black_box([1_u8; BYTES]);
    yield_now();
    black_box(&frame).iter().map(|byte| u64::from(*byte)).sum()
}

fn measured<T>(engine: Engine, how: Measure, f: impl FnOnce() -> T) -> T {
    let _watchdog = watchdog();
    let builder = runtime::Builder::new().switch(engine).stack_usage(how);
    builder.run(f).expect("a runtime can be had")
}

/// What is known of the fibers that were spawned in that line of this file.
#[track_caller]
fn site(line: u32) -> SiteUsage {
    let usage = stack::usage();
    let is_it = |place: &Location<'_>| (place.file(), place.line()) == (file!(), line);
    let site = usage.sites.iter().find(|site| site.spawned_at.is_some_and(is_it));
    *site.unwrap_or_else(|| panic!("nothing is known of line {line}:\n{usage}"))
}

/// It is at least what was used, and no more than a debug build makes of it, with the runtime's own.
#[track_caller]
fn is_about(used: usize, bytes: usize) {
    assert!((bytes..2 * bytes + 14 * 1024).contains(&used), "{used} for {bytes}");
}

#[test]
fn large_and_small_take_turns_on_the_same_stacks() {
    for engine in Engine::available() {
        for how in [Measure::Pages, Measure::Paint] {
            // It hands on the host's, with its order of bytes.
            if how == Measure::Pages
                && cfg!(target_endian = "big")
                && emulator::lacks("a /proc/self/pagemap of this machine")
            {
                continue;
            }
            let lines = measured(engine, how, || {
                for _ in 0..20 {
                    spawn(uses::<60_000>).join().unwrap();
                    spawn(uses::<1_000>).join().unwrap();
                    spawn(uses::<20_000>).join().unwrap();
                }
                [line!() - 4, line!() - 3, line!() - 2]
            });
            let [large, small, middle] = lines.map(site);
            for (site, bytes) in [(large, 60_000), (small, 1_000), (middle, 20_000)] {
                assert!(site.fibers >= 20 && site.measured >= 20, "{how}: {site:?}");
                is_about(site.max, bytes);
                is_about(site.p50, bytes);
                assert_eq!(site.stack_size, stack::DEFAULT_SIZE);
                assert!(
                    site.recommended > site.max && site.recommended < stack::DEFAULT_SIZE,
                    "{site:?}"
                );
            }
        }
    }
}

#[test]
fn paint_tells_what_pages_do_not() {
    let how = Measure::Paint;
    let (few, more) = measured(Engine::default(), how, || {
        spawn(uses::<4_096>).join().unwrap();
        spawn(uses::<8_192>).join().unwrap();
        (line!() - 2, line!() - 1)
    });
    let difference = site(more).max - site(few).max;
    // Stacks begin at different offsets of a page, less than a quarter of one apart.
    assert!(
        (4_096 - 1_024..=2 * 4_096 + 1_024).contains(&difference),
        "{difference}"
    );
}

#[test]
fn fiber_that_panics_is_measured_and_size_is_that_of_its_stack() {
    let line = measured(Engine::default(), Measure::Paint, || {
        let fiber = Builder::new().stack_size(64 * 1024).spawn(|| {
            uses::<10_000>();
            panic!("it is to be measured all the same");
        });
        fiber.unwrap().join().unwrap_err();
        line!() - 5
    });
    // The message, and a backtrace where one is asked for, are printed on that stack.
    assert!(site(line).max >= 10_000, "{:?}", site(line));
    assert_eq!(site(line).stack_size, 64 * 1024);
}

#[test]
fn some_of_many_are_measured_and_the_memory_goes_back() {
    child::undisturbed("some_of_many_are_measured_and_the_memory_goes_back", || {
        let line = measured(Engine::default(), Measure::Paint, || {
            let fibers: Vec<_> = (0..1_000).map(|_| spawn(uses::<1_000>)).collect();
            fibers.into_iter().for_each(|fiber| _ = fiber.join().unwrap());
            if cfg!(target_os = "linux") {
                assert!(stack::resident().unwrap() < 1_000 * 16 * 1024);
            }
            line!() - 5
        });
        let site = site(line);
        assert_eq!((site.fibers, site.measured), (1_000, 64 + 14), "{site:?}");
        let table = stack::usage().to_string();
        says(&table, &["spawned at", "recommended", &format!("{}:{line}:", file!())]);
        says(&table, &["(the first of a runtime)"]);
    });
}

#[test]
fn environment_asks_for_it() {
    for (value, sites) in [("off", 0), ("", 0), ("pages", 2), ("paint", 2)] {
        let ended = child::alone(
            "environment_asks_for_it",
            |command| {
                command.env("KAPOK_STACK_USAGE", value);
            },
            || {
                kapok::run(|| spawn(uses::<1_000>).join().unwrap()).unwrap();
                let value = std::env::var("KAPOK_STACK_USAGE").unwrap();
                let usage = stack::usage();
                let expected = if ["pages", "paint"].contains(&&*value) { 2 } else { 0 };
                assert_eq!(usage.sites.len(), expected, "{usage}");
                support::show(&format!("{expected} sites"));
            },
        );
        match ended {
            Some(ended) => says(&ended.success(), &[&format!("{sites} sites")]),
            None => return,
        }
    }
}

#[test]
fn value_that_is_not_known_is_refused() {
    let ended = child::alone(
        "value_that_is_not_known_is_refused",
        |command| {
            command.env("KAPOK_STACK_USAGE", "all");
        },
        || {
            let error = kapok::run(|| ()).unwrap_err();
            says(
                &error.to_string(),
                &["KAPOK_STACK_USAGE", "all", "off, pages and paint"],
            );
        },
    );
    if let Some(ended) = ended {
        ended.success();
    }
}
