//! One case: a process of its own in which one thing fails, and whether what came of it is right.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use crate::injector::Phase;
use crate::table::{Errno, Expected, Row, When};
use crate::{FAULT, support};

/// What failed, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) reactor: &'static str,
    pub(crate) row: &'static Row,
    pub(crate) errno: Errno,
    /// The first call that fails, and the distance of those behind it; 0: none.
    pub(crate) first: u32,
    pub(crate) step: u32,
}

impl Case {
    /// Each time that one row is to be tried on a reactor that makes its call `count` times.
    pub(crate) fn all_of(reactor: &'static str, row: &'static Row, count: u32) -> Vec<Case> {
        let mut cases: Vec<Case> = Vec::new();
        for &errno in row.errnos {
            for when in row.when {
                let (first, step) = match when {
                    When::First => (1, 0),
                    When::Middle => (count.div_ceil(2), 0),
                    When::Last => (count, 0),
                    When::Each => (1, 1),
                    When::Second if count > 2 => (1, 2),
                    When::Third if count > 3 => (1, 3),
                    // There are too few, so it is the first.
                    When::Second | When::Third => (1, 0),
                };
                let is_same = |case: &Case| (case.errno.number, case.first, case.step) == (errno.number, first, step);
                if !cases.iter().any(is_same) {
                    cases.push(Case {
                        reactor,
                        row,
                        errno,
                        first,
                        step,
                    });
                }
            }
        }
        cases
    }

    /// As `KAPOK_FAULT` has it.
    pub(crate) fn fault(&self) -> String {
        let (phase, call) = (self.row.phase.name(), self.row.call.replace(' ', "-"));
        format!("{phase} {call} {} {}+{}", self.errno.name, self.first, self.step)
    }

    /// Runs it; what is wrong with it, if anything is.
    pub(crate) fn judge(&self) -> Result<(), String> {
        let said = Said::by_a_child(self.reactor, self.row.guard(), &self.fault());
        self.verdict(&said).map_err(|why| {
            format!(
                "KAPOK_REACTOR={} KAPOK_STACK_GUARD={} {FAULT}='{}' ({:?} was to come of it): {why}\n{}",
                self.reactor,
                self.row.guard(),
                self.fault(),
                self.row.expected,
                said.indented()
            )
        })
    }

    fn verdict(&self, said: &Said) -> Result<(), String> {
        if let Expected::Abort(words) = self.row.expected {
            if said.status.signal() != Some(libc::SIGABRT) {
                return Err(format!("it did not abort: {}", said.status));
            }
            return says(&said.stderr, words);
        }
        said.is_sound()?;
        if said.injected()? == 0 {
            return Err("the call was not made, so nothing failed".to_owned());
        }
        let errors = said.lines("error: ");
        let of = |number: i32| {
            let (errno, text) = (format!(": {number}: "), format!("(os error {number})"));
            move |line: &&str| line.contains(&errno) || line.contains(&text)
        };
        let refused = said.lines("setup: ");
        match self.row.expected {
            Expected::NoRuntime(words) => match refused.as_slice() {
                [text] => says(text, words).and_then(|()| says(text, &[&format!("(os error {})", self.errno.number)])),
                _ => Err("there was a runtime".to_owned()),
            },
            _ if !refused.is_empty() => Err("there was no runtime".to_owned()),
            Expected::Nothing if !errors.is_empty() => Err("there were errors".to_owned()),
            Expected::Error if !errors.iter().any(of(self.errno.number)) => Err("nobody got the error".to_owned()),
            Expected::ErrorOf(number) if !errors.iter().any(of(number)) => Err("nobody got the error".to_owned()),
            _ => Ok(()),
        }
    }
}

fn says(text: &str, words: &[&str]) -> Result<(), String> {
    match words.iter().find(|word| !text.contains(**word)) {
        Some(word) => Err(format!("it does not say {word:?}")),
        None => Ok(()),
    }
}

/// What a process said that ran the scenario.
#[derive(Debug)]
pub(crate) struct Said {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Said {
    pub(crate) fn by_a_child(reactor: &str, guard: &str, fault: &str) -> Said {
        let output = Command::new(std::env::current_exe().expect("the path of this test"))
            .args([
                "--exact",
                "the_scenario",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env_remove("RUST_BACKTRACE")
            .env_remove("RUST_MIN_STACK")
            .env("KAPOK_REACTOR", reactor)
            .env("KAPOK_STACK_GUARD", guard)
            .env(FAULT, fault)
            .output()
            .expect("run this test");
        Said {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What the lines say that begin like this.
    pub(crate) fn lines<'a>(&'a self, begin: &str) -> Vec<&'a str> {
        self.stdout
            .lines()
            .filter_map(|line| line.strip_prefix(begin))
            .collect()
    }

    /// What has to be so, whatever has failed.
    pub(crate) fn is_sound(&self) -> Result<(), String> {
        if !self.status.success() {
            return Err(format!("it ended with {}", self.status));
        }
        if self.stderr.contains("panicked at") {
            return Err("something panicked".to_owned());
        }
        if let Some(wrong) = self.lines("wrong: ").first() {
            return Err(format!("a wrong result: {wrong}"));
        }
        match self.lines("descriptors: ").as_slice() {
            [text] => match text.split_once(' ') {
                Some((before, after)) if before == after => Ok(()),
                _ => Err(format!("descriptors are left, or too few: {text}")),
            },
            _ => Err("it did not come to its end".to_owned()),
        }
    }

    fn injected(&self) -> Result<u32, String> {
        let injected = self.lines("injected: ");
        let count = injected.first().and_then(|count| count.parse().ok());
        count.ok_or_else(|| "it did not come to its end".to_owned())
    }

    /// The calls that were made: in which phase, which, how often.
    pub(crate) fn calls(&self) -> Vec<(Phase, String, u32)> {
        let call = |line: &str| {
            let (phase, rest) = line.split_once(' ')?;
            let (name, count) = rest.rsplit_once(' ')?;
            Some((Phase::by_name(phase)?, name.to_owned(), count.parse().ok()?))
        };
        self.lines("call: ")
            .into_iter()
            .map(|line| call(line).expect("as it is printed"))
            .collect()
    }

    pub(crate) fn indented(&self) -> String {
        let is_of_interest = |line: &&str| !line.starts_with("call: ") && !line.is_empty();
        let lines = self.stdout.lines().chain(self.stderr.lines()).filter(is_of_interest);
        lines.map(|line| format!("    {line}\n")).collect()
    }
}

/// Judges cases, two at a time; what was wrong with which.
pub(crate) fn judge_all(cases: &[Case]) -> Vec<String> {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = case.judge() {
                        support::show(&why);
                        wrong.lock().expect("nobody panics with it").push(why);
                    }
                }
            });
        }
    });
    wrong.into_inner().expect("nobody panics with it")
}
