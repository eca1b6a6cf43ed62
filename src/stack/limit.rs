//! Which limit it was that refused a stack.
//!
//! The calls that fail answer `ENOMEM` for nearly everything. Called on the stack of a fiber that may be small, when memory
//! may be short: it reads a few numbers, and does not count what the process has.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::OnceLock;

/// What was to be done for a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Map,
    Guard(super::GuardKind),
    /// Taking memory for it.
    Memory,
}

/// An error of the kernel, with the limit that it usually means, and how to raise it.
#[cold]
#[inline(never)]
pub(super) fn explain(error: &io::Error, bytes: usize, step: Step) -> io::Error {
    let hint = match error.raw_os_error() {
        // It says so itself.
        _ if step == Step::Memory => String::new(),
        Some(libc::ENOMEM) => lack_of_memory(step),
        Some(libc::EAGAIN) => {
            "; the process has locked its memory (mlockall) beyond RLIMIT_MEMLOCK: raise it by ulimit -l".to_owned()
        }
        _ => String::new(),
    };
    let what = match step {
        Step::Map => "cannot map a stack",
        Step::Memory => "there is no memory for a stack",
        Step::Guard(_) => "cannot map a stack with a guard",
    };
    io::Error::new(error.kind(), format!("{what} of {bytes} bytes: {error}{hint}"))
}

/// What a mapping may run into, the option of the shell's `ulimit` for it, and what it is a limit of.
const LIMITS: &[(Resource, &str, &str)] = &[
    #[cfg(not(target_os = "openbsd"))] // which has none
    (libc::RLIMIT_AS, "-v", "of its address space, RLIMIT_AS"),
    (libc::RLIMIT_DATA, "-d", "of its private memory, RLIMIT_DATA"),
];

fn lack_of_memory(step: Step) -> String {
    let mut hint = String::from("; the process is at a limit");
    if step == Step::Map {
        for (resource, option, name) in LIMITS {
            if let Some(bytes) = limit(*resource) {
                hint += &format!(" {name} = {bytes} bytes (raise it by ulimit {option}), or");
            }
        }
    }
    let count = number("/proc/sys/vm/max_map_count").map_or(String::new(), |count| format!(" = {count}"));
    hint += &format!(" of mappings, vm.max_map_count{count} (raise it by sysctl -w vm.max_map_count=...");
    if step == Step::Guard(super::GuardKind::Mprotect) {
        hint += "; guards by mprotect take two for each stack, on Linux 6.13 KAPOK_STACK_GUARD=madvise takes none";
    }
    hint += "), or of memory";
    if number("/proc/sys/vm/overcommit_memory") == Some(2) {
        hint += " (vm.overcommit_memory = 2: what is mapped counts as used; raise vm.overcommit_ratio)";
    }
    hint
}

/// How many guards by `mprotect` the process may have; `None` where nothing is known. Each takes two mappings, and some have to be
/// left to the program: without any, its allocator fails, and that is the end of it.
pub(super) fn most_guards() -> Option<usize> {
    static MOST: OnceLock<Option<usize>> = OnceLock::new();
    *MOST.get_or_init(|| {
        let mappings = usize::try_from(number("/proc/sys/vm/max_map_count")?).ok()?;
        Some((mappings - mappings / 16) / 2)
    })
}

/// A limit of the process in bytes; `None` where there is none.
fn limit(resource: Resource) -> Option<libc::rlim_t> {
    let mut limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: `limit` is a valid rlimit to write to.
    let result = unsafe { libc::getrlimit(resource, &raw mut limit) };
    (result == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
type Resource = libc::c_int;

/// The number that a short file has; `None` where there is no such file.
pub(super) fn number(path: impl AsRef<Path>) -> Option<u64> {
    let mut text = [0; 24];
    let mut file = File::open(path).ok()?;
    let len = file.read(&mut text).ok()?;
    std::str::from_utf8(&text[..len]).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::GuardKind;
    use super::*;

    #[test]
    fn limits_are_named_with_a_remedy() {
        let error = |number, step| explain(&io::Error::from_raw_os_error(number), 4096, step).to_string();
        let text = error(libc::ENOMEM, Step::Guard(GuardKind::Mprotect));
        for part in ["vm.max_map_count", "sysctl", "two for each", "KAPOK_STACK_GUARD"] {
            assert!(text.contains(part), "{text}");
        }
        let text = error(libc::ENOMEM, Step::Map);
        assert!(
            text.contains("vm.max_map_count") && text.contains("map a stack"),
            "{text}"
        );
        let text = error(libc::EAGAIN, Step::Map);
        assert!(text.contains("RLIMIT_MEMLOCK"), "{text}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn number_of_a_file_is_read() {
        assert!(number("/proc/sys/vm/max_map_count").is_some_and(|count| count > 0));
        assert_eq!(number("/proc/sys/kernel/ostype"), None);
        assert_eq!(number("/does/not/exist"), None);
    }
}
