//! Operations on files, driven by hand: each does what it says, completes once, and leaves neither a descriptor nor a pointer
//! in the kernel behind.

use std::ffi::{CString, c_char};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use tempfile::TempDir;

use super::super::file::{FileOp, OWN_POSITION};
use super::super::tests::{completions, nothing_completes, open};
use super::super::{Reactor, ReactorKind};
use super::*;

/// One operation with what it points to, on the heap instead of in a fiber's frame.
struct Pending {
    op: Pin<Box<Op>>,
    buf: Box<[u8]>,
    _paths: Vec<CString>,
}

fn pending(
    fd: RawFd,
    buf: &[u8],
    paths: &[&Path],
    what: impl FnOnce(NonNull<u8>, &[NonNull<c_char>]) -> FileOp,
) -> Pending {
    let mut buf: Box<[u8]> = buf.into();
    let paths: Vec<_> = paths
        .iter()
        .map(|path| CString::new(path.as_os_str().as_bytes()).unwrap())
        .collect();
    let raw: Vec<_> = paths.iter().map(|path| NonNull::from(path.as_c_str()).cast()).collect();
    let what = what(NonNull::from(&mut *buf).cast(), &raw);
    Pending {
        op: Box::pin(Op::new(Source::of_file(fd), Kind::file(what))),
        buf,
        _paths: paths,
    }
}

fn open_path(path: &Path, flags: libc::c_int) -> Pending {
    pending(libc::AT_FDCWD, &[], &[path], |_, paths| FileOp::Open {
        path: paths[0],
        flags: flags | libc::O_CLOEXEC,
        mode: 0o600,
    })
}

fn read(fd: RawFd, len: usize, at: i64) -> Pending {
    pending(fd, &vec![0; len], &[], |buf, _| FileOp::Read { buf, len, at })
}

fn write(fd: RawFd, bytes: &[u8], at: i64) -> Pending {
    let len = bytes.len();
    pending(fd, bytes, &[], |buf, _| FileOp::Write { buf, len, at })
}

impl Pending {
    fn ptr(&self) -> NonNull<Op> {
        NonNull::from(&*self.op)
    }

    fn submit(&self, reactor: &mut Reactor) {
        // SAFETY: on the heap, with all it points to, until the test ends, which is after it has completed.
        assert_eq!(unsafe { reactor.submit(self.ptr()) }, Submitted::Pending);
    }

    fn cancel(&self, reactor: &mut Reactor) {
        // SAFETY: submitted, and not handed out.
        unsafe { reactor.cancel(self.ptr()) };
    }

    /// From its submission to its completion.
    #[track_caller]
    fn done(self, reactor: &mut Reactor) -> Outcome {
        self.submit(reactor);
        assert_eq!(completions(reactor, 1), [self.ptr()]);
        self.op.outcome().unwrap()
    }
}

/// Makes a descriptor of what an open ended with.
fn owned(outcome: Option<Outcome>) -> OwnedFd {
    let fd = RawFd::try_from(outcome.unwrap().unwrap()).unwrap();
    // SAFETY: it was made for whoever is told of it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn reactor() -> Option<(Reactor, TempDir)> {
    let directory = tempfile::tempdir().unwrap();
    open(ReactorKind::IoUring).map(|reactor| (reactor, directory))
}

fn make_fifo(directory: &TempDir, name: &str) -> PathBuf {
    let path = directory.path().join(name);
    let c_path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(c_path.as_ptr(), 0o600) }, 0);
    path
}

/// How many descriptors of this process lead to `path`.
fn descriptors_of(path: &Path) -> usize {
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
    entries
        .filter(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == path))
        .count()
}

#[test]
fn every_operation_does_what_it_says() {
    let Some((mut reactor, directory)) = reactor() else {
        return;
    };
    let reactor = &mut reactor;
    let path = |name: &str| directory.path().join(name);

    let opening = open_path(&path("a"), libc::O_RDWR | libc::O_CREAT | libc::O_EXCL);
    opening.submit(reactor);
    completions(reactor, 1);
    let file = owned(opening.op.outcome());
    let fd = file.as_raw_fd();
    assert_eq!(fs::metadata(path("a")).unwrap().mode() & 0o777, 0o600);

    assert_eq!(write(fd, b"hello, world", OWN_POSITION).done(reactor), Ok(12));
    assert_eq!(write(fd, b"H", 0).done(reactor), Ok(1));
    let reading = read(fd, 100, 7);
    reading.submit(reactor);
    completions(reactor, 1);
    assert_eq!(reading.op.outcome(), Some(Ok(5)));
    assert_eq!(&reading.buf[..5], b"world");
    // The own position is where the first write left it.
    assert_eq!(read(fd, 100, OWN_POSITION).done(reactor), Ok(0));

    let mut parts = [*b"12", *b"34"];
    let mut vectors = parts.each_mut().map(|part| libc::iovec {
        iov_base: part.as_mut_ptr().cast(),
        iov_len: 2,
    });
    let bufs = NonNull::from(&mut vectors).cast();
    let writing = pending(fd, &[], &[], |_, _| FileOp::WriteVectored { bufs, count: 2 });
    assert_eq!(writing.done(reactor), Ok(4));
    assert_eq!(fs::read(path("a")).unwrap(), b"Hello, world1234");
    // SAFETY: a number, for an open file.
    assert_eq!(unsafe { libc::lseek(fd, 2, libc::SEEK_SET) }, 2);
    let reading = pending(fd, &[], &[], |_, _| FileOp::ReadVectored { bufs, count: 2 });
    assert_eq!(reading.done(reactor), Ok(4));
    assert_eq!(parts, [*b"ll", *b"o,"]);

    for data_only in [false, true] {
        let syncing = pending(fd, &[], &[], |_, _| FileOp::Sync { data_only });
        assert_eq!(syncing.done(reactor), Ok(0));
    }
    if reactor.takes(FileVerb::SetLen) {
        let cutting = pending(fd, &[], &[], |_, _| FileOp::SetLen { len: 5 });
        assert_eq!(cutting.done(reactor), Ok(0));
        assert_eq!(fs::read(path("a")).unwrap(), b"Hello");
    }

    let two = |reactor: &mut Reactor, from: &str, to: &str, what: fn(NonNull<c_char>, NonNull<c_char>) -> FileOp| {
        pending(libc::AT_FDCWD, &[], &[&path(from), &path(to)], |_, paths| {
            what(paths[0], paths[1])
        })
        .done(reactor)
    };
    assert_eq!(two(reactor, "a", "b", |from, to| FileOp::Rename { from, to }), Ok(0));
    if reactor.takes(FileVerb::CreateDir) {
        let hard = |original, link| FileOp::HardLink { original, link };
        assert_eq!(two(reactor, "b", "c", hard), Ok(0));
        assert_eq!(two(reactor, "b", "c", hard), Err(libc::EEXIST));
        let soft = |original, link| FileOp::Symlink { original, link };
        assert_eq!(two(reactor, "nowhere", "d", soft), Ok(0));
        assert_eq!(fs::metadata(path("b")).unwrap().nlink(), 2);
        assert_eq!(fs::read_link(path("d")).unwrap(), path("nowhere"));

        let making = |path: &Path| {
            pending(libc::AT_FDCWD, &[], &[path], |_, paths| FileOp::CreateDir {
                path: paths[0],
                mode: 0o700,
            })
        };
        assert_eq!(making(&path("dir")).done(reactor), Ok(0));
        assert_eq!(making(&path("dir")).done(reactor), Err(libc::EEXIST));
    } else {
        // These three came together, with Linux 5.15.
        writeln!(
            io::stderr(),
            "SKIP: this kernel's io_uring makes neither links nor directories"
        )
        .unwrap();
        fs::hard_link(path("b"), path("c")).unwrap();
        std::os::unix::fs::symlink(path("nowhere"), path("d")).unwrap();
        fs::create_dir(path("dir")).unwrap();
    }
    let removing = |path: &Path, directory| {
        pending(libc::AT_FDCWD, &[], &[path], |_, paths| FileOp::Remove {
            path: paths[0],
            directory,
        })
    };
    assert_eq!(removing(&path("dir"), false).done(reactor), Err(libc::EISDIR));
    assert_eq!(removing(&path("dir"), true).done(reactor), Ok(0));
    for name in ["b", "c", "d"] {
        assert_eq!(removing(&path(name), false).done(reactor), Ok(0));
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);

    let fd = file.into_raw_fd();
    assert_eq!(pending(fd, &[], &[], |_, _| FileOp::Close).done(reactor), Ok(0));
    assert_eq!(descriptors_of(&path("a")), 0);
    assert_eq!(reactor.pending(), 0);
    nothing_completes(reactor);
}

#[test]
fn many_on_one_file_at_once_complete_once_each() {
    const BLOCK: usize = 512;
    let Some((mut reactor, directory)) = reactor() else {
        return;
    };
    let file = fs::File::create_new(directory.path().join("file")).unwrap();
    let fd = file.as_raw_fd();
    // More than the queue of the ring holds.
    let writes: Vec<_> = (0..1_000_u16)
        .map(|i| write(fd, &i.to_be_bytes().repeat(BLOCK / 2), i64::from(i) * 512))
        .collect();
    for write in &writes {
        write.submit(&mut reactor);
    }
    let mut done = completions(&mut reactor, writes.len());
    nothing_completes(&mut reactor);
    done.sort_unstable();
    done.dedup();
    assert_eq!(done.len(), writes.len());
    assert!(writes.iter().all(|write| write.op.outcome() == Some(Ok(BLOCK))));
    let content = fs::read(directory.path().join("file")).unwrap();
    let blocks = content.chunks(BLOCK);
    assert!(
        blocks
            .zip(0_u16..)
            .all(|(block, i)| block == i.to_be_bytes().repeat(BLOCK / 2))
    );
}

#[test]
fn cancelled_before_while_and_after() {
    let Some((mut reactor, directory)) = reactor() else {
        return;
    };
    let fifo = make_fifo(&directory, "fifo");
    // While it waits in a thread of the kernel for the other end, once before that thread has it and once later.
    for turns in [0, 1] {
        let opening = open_path(&fifo, libc::O_RDONLY);
        opening.submit(&mut reactor);
        for _ in 0..turns {
            nothing_completes(&mut reactor);
        }
        opening.cancel(&mut reactor);
        opening.cancel(&mut reactor);
        assert_eq!(completions(&mut reactor, 1), [opening.ptr()]);
        assert_eq!(opening.op.outcome(), Some(Err(libc::ECANCELED)));
        nothing_completes(&mut reactor);
    }
    // While the kernel polls.
    let both = fs::File::options().read(true).write(true).open(&fifo).unwrap();
    let reading = read(both.as_raw_fd(), 8, OWN_POSITION);
    reading.submit(&mut reactor);
    nothing_completes(&mut reactor);
    reading.cancel(&mut reactor);
    assert_eq!(completions(&mut reactor, 1), [reading.ptr()]);
    assert_eq!(reading.op.outcome(), Some(Err(libc::ECANCELED)));
    // After: an open that was done all the same is handed out with its descriptor, which nobody else closes.
    let opening = open_path(&fifo, libc::O_RDONLY);
    opening.submit(&mut reactor);
    while opening.op.outcome().is_none() {
        reactor.turn(Some(Duration::from_secs(1))).unwrap();
    }
    opening.cancel(&mut reactor);
    assert_eq!(completions(&mut reactor, 1), [opening.ptr()]);
    drop(owned(opening.op.outcome()));
}

#[test]
fn forget_and_cancel_all_wait_for_those_of_the_descriptor_alone() {
    let Some((mut reactor, directory)) = reactor() else {
        return;
    };
    let fifo = make_fifo(&directory, "fifo");
    let [first, second] = [(); 2].map(|()| fs::File::options().read(true).write(true).open(&fifo).unwrap());
    let reads = [&first, &first, &second].map(|file| read(file.as_raw_fd(), 8, OWN_POSITION));
    for read in &reads {
        read.submit(&mut reactor);
    }
    reactor.turn(Some(Duration::ZERO)).unwrap();
    reactor.forget(Source::of_file(first.as_raw_fd()), false);
    let outcomes = || reads.each_ref().map(|read| read.op.outcome());
    assert_eq!(
        outcomes(),
        [Some(Err(libc::ECANCELED)), Some(Err(libc::ECANCELED)), None]
    );
    completions(&mut reactor, 2);
    nothing_completes(&mut reactor);
    reactor.cancel_all(Source::of_file(second.as_raw_fd()));
    completions(&mut reactor, 1);
    assert_eq!(outcomes()[2], Some(Err(libc::ECANCELED)));
}

#[test]
fn a_ring_that_is_dropped_leaves_no_pointer_and_no_descriptor() {
    let Some((mut reactor, directory)) = reactor() else {
        return;
    };
    let fifo = make_fifo(&directory, "fifo");
    let both = fs::File::options().read(true).write(true).open(&fifo).unwrap();
    let polled = read(both.as_raw_fd(), 8, OWN_POSITION);
    polled.submit(&mut reactor);
    // Has been done, and nobody was told.
    let path = directory.path().join("file");
    let unclaimed = open_path(&path, libc::O_RDWR | libc::O_CREAT);
    unclaimed.submit(&mut reactor);
    while unclaimed.op.outcome().is_none() {
        reactor.turn(Some(Duration::from_secs(1))).unwrap();
    }
    assert_eq!(descriptors_of(&path), 1);
    // Are under way, or not even that.
    let more = [(); 20].map(|()| open_path(&path, libc::O_RDWR));
    for open in &more[..10] {
        open.submit(&mut reactor);
    }
    reactor.turn(Some(Duration::ZERO)).unwrap();
    for open in &more[10..] {
        open.submit(&mut reactor);
    }
    let alone = make_fifo(&directory, "alone");
    let waiting = open_path(&alone, libc::O_RDONLY);
    waiting.submit(&mut reactor);
    drop(reactor);
    assert_eq!(polled.op.outcome(), Some(Err(libc::ECANCELED)));
    assert_eq!(waiting.op.outcome(), Some(Err(libc::ECANCELED)));
    assert_eq!(unclaimed.op.outcome(), Some(Err(libc::ECANCELED)));
    assert!(
        more.iter()
            .all(|open| open.op.outcome().is_some_and(|outcome| outcome.is_err()))
    );
    assert_eq!(descriptors_of(&path), 0);
    (&both).write_all(b"too late").unwrap();
    assert_eq!(&*polled.buf, [0; 8]);
    let mut buf = [0; 8];
    (&both).read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"too late");
}
