//! Side by side with std, for all that is combined out of many parts.

use std::fs::{self, OpenOptions as StdOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::path::Path;

use kapok::fs::OpenOptions;
use tempfile::tempdir;

use crate::support::run;

/// What can be seen of an attempt to open: the error, or flags, mode and content after a write.
#[derive(Debug, PartialEq)]
struct Seen {
    flags_and_mode: Option<(Option<String>, u32)>,
    error: Option<(io::ErrorKind, Option<i32>, String)>,
    read: Option<Result<Vec<u8>, Option<i32>>>,
    written: Option<Result<(), Option<i32>>>,
    content: Option<Vec<u8>>,
}

/// Those of open(2), with `O_CLOEXEC`, where the system shows them.
fn flags_of(file: &impl AsFd) -> Option<String> {
    let info = format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd());
    let info = fs::read_to_string(info).ok();
    assert!(info.is_some() || !cfg!(target_os = "linux"));
    Some(info?.lines().find(|line| line.starts_with("flags:"))?.to_owned())
}

fn look<F: Read + Write + AsFd>(opened: io::Result<F>, path: &Path) -> Seen {
    let mut seen = Seen {
        flags_and_mode: None,
        error: None,
        read: None,
        written: None,
        content: None,
    };
    match opened {
        Ok(mut file) => {
            let flags = flags_of(&file);
            let mode = fs::metadata(path).unwrap().mode();
            seen.flags_and_mode = Some((flags, mode));
            let mut read = vec![0; 4];
            seen.read = Some(
                file.read(&mut read)
                    .map(|n| read[..n].to_vec())
                    .map_err(|error| error.raw_os_error()),
            );
            seen.written = Some(file.write_all(b"new").map_err(|error| error.raw_os_error()));
        }
        Err(error) => seen.error = Some((error.kind(), error.raw_os_error(), error.to_string())),
    }
    seen.content = fs::read(path).ok();
    seen
}

/// A directory with one of each: a file, a directory, a link to the file, a link to nowhere, and nothing.
fn stage() -> tempfile::TempDir {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("file"), "content").unwrap();
    fs::create_dir(directory.path().join("directory")).unwrap();
    symlink("file", directory.path().join("link")).unwrap();
    symlink("missing too", directory.path().join("dangling")).unwrap();
    directory
}

#[test]
fn every_combination_of_options() {
    run(|| {
        for bits in 0..64 {
            let is = |bit: u32| bits & (1 << bit) != 0;
            for target in ["file", "directory", "link", "dangling", "missing", "missing/below"] {
                let (theirs, ours) = (stage(), stage());
                let their_path = theirs.path().join(target);
                let mut options = StdOptions::new();
                options
                    .read(is(0))
                    .write(is(1))
                    .append(is(2))
                    .truncate(is(3))
                    .create(is(4));
                let expected = look(options.create_new(is(5)).mode(0o741).open(&their_path), &their_path);
                let our_path = ours.path().join(target);
                let mut options = OpenOptions::new();
                options
                    .read(is(0))
                    .write(is(1))
                    .append(is(2))
                    .truncate(is(3))
                    .create(is(4));
                let seen = look(options.create_new(is(5)).mode(0o741).open(&our_path), &our_path);
                assert_eq!(seen, expected, "{target}, {options:?}");
            }
        }
    });
}

#[test]
fn custom_flags_go_to_the_kernel_but_for_the_access_mode() {
    run(|| {
        for flags in [
            libc::O_NONBLOCK,
            libc::O_DSYNC,
            libc::O_NOFOLLOW,
            libc::O_DIRECTORY,
            libc::O_APPEND,
            libc::O_TRUNC,
            libc::O_RDWR,
            libc::O_WRONLY | libc::O_CREAT,
        ] {
            for target in ["file", "directory", "link", "missing"] {
                let (theirs, ours) = (stage(), stage());
                let (their_path, our_path) = (theirs.path().join(target), ours.path().join(target));
                let expected = look(
                    StdOptions::new().read(true).custom_flags(flags).open(&their_path),
                    &their_path,
                );
                let seen = look(
                    OpenOptions::new().read(true).custom_flags(flags).open(&our_path),
                    &our_path,
                );
                assert_eq!(seen, expected, "{target}, {flags:o}");
            }
        }
    });
}
