//! How near the process is to the limit of memory of its control group. At it, the kernel does not refuse: it kills.
//!
//! Memory is taken when a stack is first touched, by a fault that nobody can answer with an error. So what is asked here, now
//! and then, when a stack without memory is handed out, is whether a few more would still fit. See
//! [`cgroups(7)`](https://man7.org/linux/man-pages/man7/cgroups.7.html).

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use super::limit::number;

/// A group that the process is in, or one that has it.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    limit: PathBuf,
    usage: PathBuf,
    stat: PathBuf,
    /// What begins the lines of `stat` that count what the kernel takes back where memory is short: pages of files, and what it
    /// knows of them.
    files: &'static [&'static str],
}

/// A group that has nearly no memory left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted {
    limit: PathBuf,
    bytes: u64,
    used: u64,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the control group has {} bytes of memory in use, and {} = {} (raise it by writing another number there, or where \
             the group is configured: MemoryMax= of systemd, --memory of docker)",
            self.used,
            self.limit.display(),
            self.bytes
        )
    }
}

/// What is kept free of a group's memory: for what the fibers do that are there already.
fn margin(limit: u64) -> u64 {
    (limit / 32).clamp(4 << 20, 16 << 20).min(limit / 4)
}

/// What a stack may come to take before somebody looks again, with what the kernel and the allocator need for its fiber.
const BYTES_EACH: u64 = 16 << 10;

/// For how many stacks, of so many more, there is memory: at least for one. Looks the more often the less of it is left.
pub(super) fn check(count: usize) -> Result<usize, Exhausted> {
    /// How many may be handed out before the next look.
    static LEFT: AtomicI64 = AtomicI64::new(0);
    let wanted = i64::try_from(count).unwrap_or(i64::MAX);
    if LEFT.fetch_sub(wanted, Ordering::Relaxed) >= wanted {
        return Ok(count);
    }
    let found = look(own_groups());
    let fit = found.as_ref().map_or(0, |stacks| *stacks);
    let granted = wanted.min(fit.max(1));
    LEFT.store(fit - granted, Ordering::Relaxed);
    found.map(|_| usize::try_from(granted).unwrap_or(1))
}

/// The groups of this process. Found once: who is moved to another has to live with it.
#[cold]
fn own_groups() -> &'static [Group] {
    static GROUPS: OnceLock<Vec<Group>> = OnceLock::new();
    GROUPS.get_or_init(|| groups(Path::new("/")))
}

/// After how many more stacks to look again.
#[cold]
fn look(groups: &[Group]) -> Result<i64, Exhausted> {
    let mut stacks = 4096;
    for group in groups {
        // Where there is no limit, it says "max".
        let (Some(bytes), Some(mut used)) = (number(&group.limit), number(&group.usage)) else {
            continue;
        };
        let most = bytes.saturating_sub(margin(bytes));
        if used >= most {
            used = used.saturating_sub(pages_of_files(group));
        }
        if used >= most {
            return Err(Exhausted {
                limit: group.limit.clone(),
                bytes,
                used,
            });
        }
        let fit = i64::try_from((most - used) / BYTES_EACH).unwrap_or(i64::MAX);
        // So many fit into what is kept free, should something else take the rest meanwhile.
        let margin = i64::try_from(margin(bytes) / BYTES_EACH).unwrap_or(i64::MAX);
        stacks = stacks.min(fit / 2).min(margin);
    }
    Ok(stacks)
}

fn pages_of_files(group: &Group) -> u64 {
    let text = text_of(&group.stat).unwrap_or_default();
    let of_line = |line: &str| {
        let (name, bytes) = line.split_once(' ')?;
        let counts = group.files.contains(&name);
        bytes.trim().parse::<u64>().ok().filter(|_| counts)
    };
    text.lines().filter_map(of_line).sum::<u64>()
}

/// What a file of a few lines says. The kernel makes it as it is read: its size is not asked for.
fn text_of(path: &Path) -> Option<String> {
    const MOST: u64 = 16 << 10;
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(MOST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The groups with a limit of memory that the process is in, the innermost first. `root` is the root of the file system.
fn groups(root: &Path) -> Vec<Group> {
    let Some(text) = text_of(&root.join("proc/self/cgroup")) else {
        return Vec::new();
    };
    let mounts = root.join("sys/fs/cgroup");
    let mut found = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        if controllers.is_empty() {
            for mount in [mounts.clone(), mounts.join("unified")] {
                let names = ["memory.max", "memory.current"];
                add(
                    &mut found,
                    &mount,
                    path,
                    names,
                    &["inactive_file", "active_file", "slab_reclaimable"],
                );
            }
        } else if controllers.split(',').any(|name| name == "memory") {
            let names = ["memory.limit_in_bytes", "memory.usage_in_bytes"];
            let files: &[&str] = &["total_inactive_file", "total_active_file"];
            add(&mut found, &mounts.join("memory"), path, names, files);
        }
    }
    found
}

/// Adds the group at that path and those above it. In a container the path may be the host's, and then there is only the mount.
fn add(found: &mut Vec<Group>, mount: &Path, path: &str, [limit, usage]: [&str; 2], files: &'static [&'static str]) {
    let path = Path::new(path.trim_start_matches('/'));
    for path in path.ancestors() {
        let group = mount.join(path);
        let limit = group.join(limit);
        if File::open(&limit).is_ok() {
            found.push(Group {
                limit,
                usage: group.join(usage),
                stat: group.join("memory.stat"),
                files,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A file system with these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const GIB: u64 = 1 << 30;

    #[test]
    fn version_2_is_asked_at_each_level() {
        let near = (GIB - 4096).to_string() + "\n";
        let root = root(&[
            ("proc/self/cgroup", "0::/outer/inner\n"),
            ("sys/fs/cgroup/outer/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/outer/memory.current", &near),
            (
                "sys/fs/cgroup/outer/memory.stat",
                "anon 1073737728\ninactive_file 0\nactive_file 0\n",
            ),
            ("sys/fs/cgroup/outer/inner/memory.max", "max\n"),
            ("sys/fs/cgroup/outer/inner/memory.current", &near),
        ]);
        let groups = groups(root.path());
        assert_eq!(groups.len(), 2);
        let text = look(&groups).unwrap_err().to_string();
        for part in [
            "outer/memory.max = 1073741824",
            "1073737728 bytes",
            "MemoryMax=",
            "raise it",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn version_1_is_asked() {
        let root = root(&[
            ("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/job\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "5000000000\n"),
            ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "67108864\n"),
            ("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "67108860\n"),
            (
                "sys/fs/cgroup/memory/job/memory.stat",
                "inactive_file 60000000\ntotal_inactive_file 100\n",
            ),
        ]);
        let text = look(&groups(root.path())).unwrap_err().to_string();
        for part in ["job/memory.limit_in_bytes = 67108864", "67108760 bytes"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn pages_of_files_do_not_count() {
        let root = root(&[
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/memory.current", "1073741000\n"),
            (
                "sys/fs/cgroup/memory.stat",
                "anon 1\ninactive_file 30000000\nactive_file 7\nfile 99\nslab_reclaimable 100\n",
            ),
        ]);
        assert_eq!(
            look(&groups(root.path())),
            Ok(((30_000_107 - 824 - (16 << 20)) / (16 << 10)) / 2)
        );
    }

    #[test]
    fn there_is_enough_far_from_the_limit_and_where_there_is_none() {
        let far = root(&[
            ("proc/self/cgroup", "0::/not/mounted/here\n"),
            ("sys/fs/cgroup/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/memory.current", "1000000000\n"),
        ]);
        let groups_of_a_container = groups(far.path());
        assert_eq!(groups_of_a_container.len(), 1);
        assert!(look(&groups_of_a_container).is_ok_and(|stacks| (1_000..4096).contains(&stacks)));
        assert_eq!(groups(root(&[]).path()), []);
        assert_eq!(look(&[]), Ok(4096));
    }

    #[test]
    fn small_and_large_groups_keep_something_free() {
        assert_eq!(margin(8 << 20), 2 << 20);
        assert_eq!(margin(64 << 20), 4 << 20);
        assert_eq!(margin(320 << 20), 10 << 20);
        assert_eq!(margin(64 * GIB), 16 << 20);
    }
}
