//! What goes through the ring, and what does not.

use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use super::*;
use crate::ReactorKind;
use crate::reactor::files_given;
use crate::runtime::Builder;
use crate::sys::file::{Now, read_now};

/// How many operations on files go into the ring while `f` runs.
fn given_by<T>(f: impl FnOnce() -> T) -> (u64, T) {
    let before = files_given();
    let result = f();
    (files_given() - before, result)
}

/// In a fiber on one reactor; does nothing, visibly, where the system refuses it.
fn run_on(kind: ReactorKind, f: impl FnOnce(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    if crate::reactor::tests::open(kind).is_some() {
        Builder::new().reactor(kind).run(|| f(directory.path())).unwrap();
    }
}

/// The operations of [`all_there_is`], in order.
const ALL_THERE_IS: [FileVerb; 13] = [
    FileVerb::Open,
    FileVerb::Write,
    FileVerb::Write,
    FileVerb::WriteVectored,
    FileVerb::Sync,
    FileVerb::Sync,
    FileVerb::Close,
    FileVerb::Rename,
    FileVerb::HardLink,
    FileVerb::Symlink,
    FileVerb::CreateDir,
    FileVerb::Remove,
    FileVerb::Remove,
];

fn all_there_is(directory: &Path) {
    let path = directory.join("file");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    file.write_all(b"hello").unwrap();
    file.write_all_at(b"J", 0).unwrap();
    assert_eq!(file.write_vectored(&[io::IoSlice::new(b"!")]).unwrap(), 1);
    file.sync_all().unwrap();
    file.sync_data().unwrap();
    file.close().unwrap();
    rename(&path, directory.join("other")).unwrap();
    hard_link(directory.join("other"), &path).unwrap();
    symlink("file", directory.join("link")).unwrap();
    create_dir(directory.join("dir")).unwrap();
    remove_dir(directory.join("dir")).unwrap();
    remove_file(directory.join("other")).unwrap();
    assert_eq!(std::fs::read(directory.join("link")).unwrap(), b"Jello!");
}

/// Whether the file system says what of a file is in memory. That of /tmp may be one that does not: tmpfs before Linux 6.6.
fn tells_what_is_in_memory(path: &Path) -> bool {
    let file = std::fs::File::open(path).unwrap();
    let mut byte = [0_u8];
    let buf = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: one buffer of one byte, which may be written.
    let now = unsafe { read_now(&file, &raw const buf, 1, 0) };
    !matches!(now, Now::Never)
}

#[test]
fn a_ring_does_all_that_it_is_said_to() {
    run_on(ReactorKind::IoUring, |directory| {
        let (given, ()) = given_by(|| all_there_is(directory));
        // The youngest of them are of Linux 5.15, and a ring is used from 5.13 on.
        let taken = ALL_THERE_IS.into_iter().filter(|&verb| way::has_ring_for(verb)).count();
        assert!(taken >= 10, "{taken}");
        assert_eq!(usize::try_from(given).unwrap(), taken);
        let (given, content) = given_by(|| read(directory.join("file")).unwrap());
        assert_eq!(content, b"Jello!");
        let reads = if tells_what_is_in_memory(&directory.join("file")) {
            0
        } else {
            2
        };
        assert_eq!(given, 1 + reads, "to open; the content is in memory");
        let (given, _) = given_by(|| metadata(directory.join("file")).unwrap());
        assert_eq!(given, 0);
        if way::has_ring_for(FileVerb::SetLen) {
            let file = File::create(directory.join("file")).unwrap();
            assert_eq!(given_by(|| file.set_len(7).unwrap()).0, 1);
        }
    });
}

#[test]
fn what_is_not_in_memory_is_read_through_the_ring() {
    run_on(ReactorKind::IoUring, |directory| {
        // Of which nobody can say what is in memory.
        let mut status = File::open("/proc/self/status").unwrap();
        let mut text = String::new();
        let (given, _) = given_by(|| status.read_to_string(&mut text).unwrap());
        assert!(given >= 2 && text.contains("VmPeak"), "{given}");
        // More than is copied at once.
        let path = directory.join("file");
        write(&path, vec![7; 1 << 20]).unwrap();
        let file = File::open(&path).unwrap();
        let mut content = vec![0; 1 << 20];
        assert_eq!(given_by(|| file.read_exact_at(&mut content, 0).unwrap()).0, 1);
        assert!(content.iter().all(|&byte| byte == 7));
        // Thrown out of memory, unless the file system has no other place for it.
        file.sync_all().unwrap();
        // SAFETY: advice about an open file.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        let mut block = [0; 512];
        let (given, n) = given_by(|| file.read_at(&mut block, 99).unwrap());
        assert_eq!((n, block), (512, [7; 512]));
        assert!(given <= 1);
    });
}

#[test]
fn other_reactors_are_given_nothing() {
    for kind in ReactorKind::available() {
        if kind != ReactorKind::IoUring {
            run_on(kind, |directory| assert_eq!(given_by(|| all_there_is(directory)).0, 0));
        }
    }
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(given_by(|| all_there_is(directory.path())).0, 0);
}

/// A file of 8 MiB of which the middle half is not in memory, where the file system has another place for it; and how much
/// of it is before that half.
fn half_in_memory(path: &Path, flags: i32) -> (File, usize) {
    const QUARTER: usize = 2 << 20;
    write(path, vec![7; 4 * QUARTER]).unwrap();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).unwrap();
    file.sync_all().unwrap();
    let (begin, len) = (i64::try_from(QUARTER).unwrap(), i64::try_from(2 * QUARTER).unwrap());
    // SAFETY: advice about an open file.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), begin, len, libc::POSIX_FADV_DONTNEED) };
    (file, QUARTER)
}

#[test]
fn a_short_read_is_the_end_of_the_file_and_nothing_else() {
    for kind in ReactorKind::available() {
        run_on(kind, |directory| {
            let path = directory.join("file");
            let (mut file, quarter) = half_in_memory(&path, 0);
            let mut content = vec![0; 200_000];
            assert_eq!(file.read_at(&mut content, quarter as u64 - 100_000).unwrap(), 200_000);
            assert!(content.iter().all(|&byte| byte == 7));
            let (mut file_at_end, _) = half_in_memory(&path, 0);
            file_at_end.seek(io::SeekFrom::End(-100_000)).unwrap();
            assert_eq!(file_at_end.read(&mut content).unwrap(), 100_000);
            assert_eq!(file_at_end.read(&mut content).unwrap(), 0);
            file.seek(io::SeekFrom::Start(3 * quarter as u64 - 100_000)).unwrap();
            assert_eq!(file.read(&mut content).unwrap(), 200_000);
        });
    }
}

#[test]
fn a_file_of_the_disk_never_answers_that_it_would_block() {
    for kind in ReactorKind::available() {
        run_on(kind, |directory| {
            let (file, quarter) = half_in_memory(&directory.join("file"), libc::O_NONBLOCK);
            let mut content = vec![0; 4096];
            for at in (quarter..2 * quarter).step_by(quarter / 8) {
                assert_eq!(file.read_at(&mut content, at as u64).unwrap(), 4096);
                assert!(content.iter().all(|&byte| byte == 7));
            }
        });
    }
}
