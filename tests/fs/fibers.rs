//! Many at once: fibers of one runtime, of several, and threads.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use kapok::fiber::yield_now;
use kapok::fs::{self, File};
use kapok::{Cancelled, spawn, spawn_local, timeout};
use tempfile::tempdir;

use crate::StdFile;
use crate::support::{OnDrop, Random, all_is_closed_since, child, open_descriptors, run, run_on_one, watchdog};

const FIBERS: u64 = 64;
const BLOCK: usize = 4_096;

#[test]
fn many_fibers_on_one_file() {
    run(|| {
        let directory = tempdir().unwrap();
        let file = Arc::new(File::create_new(directory.path().join("file")).unwrap());
        let content = Arc::new(Random::new(3).bytes(usize::try_from(FIBERS).unwrap() * 8 * BLOCK));
        let fibers: Vec<_> = (0..FIBERS)
            .map(|i| {
                let (file, content) = (Arc::clone(&file), Arc::clone(&content));
                spawn(move || {
                    let mut back = [0; BLOCK];
                    for round in 0..8 {
                        let at = (round * FIBERS + i) * BLOCK as u64;
                        let mine = &content[usize::try_from(at).unwrap()..][..BLOCK];
                        file.write_all_at(mine, at).unwrap();
                        if round % 4 == 3 {
                            file.sync_data().unwrap();
                        }
                        file.read_exact_at(&mut back, at).unwrap();
                        assert!(back == mine);
                    }
                })
            })
            .collect();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
        assert!(fs::read(directory.path().join("file")).unwrap() == **content);
    });
}

/// Takes blocks off the file's own position until there are none, and gives their numbers. A large step is never done out of
/// memory at once.
fn take_all(mut file: &File, large: bool) -> Vec<u64> {
    let mut taken = Vec::new();
    let mut buf = vec![0; if large { 80 * BLOCK } else { BLOCK }];
    loop {
        let n = file.read(&mut buf).unwrap();
        if n == 0 {
            return taken;
        }
        assert_eq!(n % BLOCK, 0);
        let numbers = buf[..n].chunks(BLOCK).map(|block| block[..8].try_into().unwrap());
        taken.extend(numbers.map(u64::from_le_bytes));
        yield_now();
    }
}

#[test]
fn each_block_is_read_once_and_each_record_written_once() {
    const BLOCKS: u64 = 8_000;
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path().join("blocks");
        let blocks: Vec<u8> = (0..BLOCKS).flat_map(|i| i.to_le_bytes().repeat(BLOCK / 8)).collect();
        fs::write(&path, blocks).unwrap();
        let file = Arc::new(File::open(&path).unwrap());
        let fibers: Vec<_> = (0..FIBERS)
            .map(|i| {
                let file = file.try_clone().unwrap();
                spawn(move || take_all(&file, i % 4 != 0))
            })
            .collect();
        yield_now(); // they have begun
        let thread = {
            let file = Arc::clone(&file);
            thread::spawn(move || take_all(&file, true))
        };
        let mut all = Vec::new();
        for fiber in fibers {
            all.extend(fiber.join().unwrap());
        }
        all.extend(kapok::blocking(|| thread.join().unwrap()));
        all.sort_unstable();
        assert!(all.into_iter().eq(0..BLOCKS));

        let path = directory.path().join("written");
        let file = Arc::new(File::create(&path).unwrap());
        let write = |mut file: &File, who: u64| {
            for i in 0..100 {
                let record = (who * 100 + i).to_le_bytes();
                file.write_all(&record).unwrap();
            }
        };
        let thread = {
            let file = Arc::clone(&file);
            thread::spawn(move || write(&file, FIBERS))
        };
        let fibers: Vec<_> = (0..FIBERS)
            .map(|who| {
                let file = Arc::clone(&file);
                spawn(move || write(&file, who))
            })
            .collect();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
        // It waits for nobody who needs this thread.
        kapok::blocking(|| thread.join().unwrap());
        let written = fs::read(&path).unwrap();
        let written: BTreeSet<_> = written.chunks(8).map(<[u8]>::to_vec).collect();
        assert_eq!(written.len() as u64, (FIBERS + 1) * 100);
    });
}

#[test]
fn one_file_on_several_runtimes() {
    let _watchdog = watchdog();
    let directory = tempdir().unwrap();
    let file = Arc::new(File::create_new(directory.path().join("file")).unwrap());
    let runtimes: Vec<_> = (0..4_u64)
        .map(|runtime| {
            let file = Arc::clone(&file);
            thread::spawn(move || {
                kapok::run(|| {
                    for i in 0..16 {
                        let file = Arc::clone(&file);
                        spawn(move || {
                            let at = (runtime * 16 + i) * 8;
                            file.write_all_at(&at.to_le_bytes(), at).unwrap();
                        });
                    }
                })
                .unwrap();
            })
        })
        .collect();
    runtimes.into_iter().for_each(|runtime| runtime.join().unwrap());
    let mut record = [0; 8];
    for at in (0..64 * 8).step_by(8) {
        file.read_exact_at(&mut record, at).unwrap();
        assert_eq!(u64::from_le_bytes(record), at);
    }
}

#[test]
fn all_sorts_of_calls_at_once() {
    run(|| {
        let directory = tempdir().unwrap();
        let fibers: Vec<_> = (0..FIBERS)
            .map(|i| {
                let mine = directory.path().join(format!("{i}"));
                spawn(move || {
                    fs::create_dir(&mine).unwrap();
                    for round in 0..5 {
                        let (old, new) = (mine.join("old"), mine.join("new"));
                        fs::write(&old, vec![7; round * 1_000]).unwrap();
                        fs::rename(&old, &new).unwrap();
                        fs::hard_link(&new, &old).unwrap();
                        assert_eq!(fs::read_dir(&mine).unwrap().count(), 2);
                        assert_eq!(fs::read(&old).unwrap().len(), round * 1_000);
                        assert_eq!(File::create_new(&old).unwrap_err().kind(), ErrorKind::AlreadyExists);
                        fs::remove_file(&old).unwrap();
                        fs::remove_file(&new).unwrap();
                    }
                    fs::remove_dir(&mine).unwrap();
                })
            })
            .collect();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    });
}

#[test]
fn others_run_while_one_reads_what_is_in_memory() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, [7; 100]).unwrap();
        let mut file = File::open(&path).unwrap();
        let stop = Rc::new(Cell::new(false));
        let other = {
            let stop = Rc::clone(&stop);
            spawn_local(move || stop.set(true))
        };
        // Would go on for ever if the reads kept the thread to themselves.
        while !stop.get() {
            file.rewind().unwrap();
            file.read_exact(&mut [0; 100]).unwrap();
        }
        other.join().unwrap();
    });
}

#[test]
fn descriptors_are_closed() {
    child::undisturbed("fibers::descriptors_are_closed", || {
        // Another worker may have some open for a moment, while it begins.
        run_on_one(|| {
            let before = open_descriptors();
            let directory = tempdir().unwrap();
            let path = directory.path().join("file");
            for i in 0..100 {
                let file = File::create(&path).unwrap();
                if i % 2 == 0 {
                    file.close().unwrap();
                } else {
                    drop(file);
                }
                let mut files = vec![File::open(&path).unwrap()];
                files.push(files[0].try_clone().unwrap());
                File::open(path.join("below")).unwrap_err();
                fs::read(&path).unwrap();
                drop(fs::read_dir(directory.path()).unwrap());
            }
            all_is_closed_since(before);
        });
    });
}

#[test]
fn too_many_open_files_is_an_error() {
    child::undisturbed("fibers::too_many_open_files_is_an_error", || {
        run(|| {
            rlimit::setrlimit(rlimit::Resource::NOFILE, 64, 64).unwrap();
            let mut files = Vec::new();
            let error = loop {
                match File::open("Cargo.toml") {
                    Ok(file) => files.push(file),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            assert!(files.len() > 20);
            files.clear();
            File::open("Cargo.toml").unwrap();
        });
    });
}

#[test]
fn destructors_may_use_files_while_a_fiber_panics() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path().join("file");
        let mut file = File::create_new(&path).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _writes = OnDrop(|| {
                file.write_all(b"last words").unwrap();
                file.sync_all().unwrap();
                assert_eq!(fs::read(&path).unwrap(), b"last words");
            });
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"last words");
    });
}

#[test]
fn closing_tells_nothing_new_of_a_good_file() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path().join("file");
        let mut file = File::create_new(&path).unwrap();
        file.write_all(b"content").unwrap();
        let clone = file.try_clone().unwrap();
        file.close().unwrap();
        assert_eq!(clone.metadata().unwrap().len(), 7);
        clone.close().unwrap();
    });
    let _watchdog = watchdog();
    File::from(StdFile::open("Cargo.toml").unwrap()).close().unwrap();
}

#[test]
fn locks_keep_others_out_and_hold_nobody_up() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path().join("lock");
        let open = || File::create(&path).unwrap();
        let (one, other) = (open(), open());
        one.lock_shared().unwrap();
        other.try_lock_shared().unwrap();
        assert!(matches!(one.try_lock(), Err(fs::TryLockError::WouldBlock)));
        let refused = std::io::Error::from(one.try_lock().unwrap_err());
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        other.unlock().unwrap();
        one.lock().unwrap();
        // What std locks is the same lock.
        let has_std = kapok::blocking(|| StdFile::open(&path).unwrap());
        let theirs = File::from(has_std);
        assert!(theirs.try_lock_shared().is_err());

        let waits = spawn(move || {
            other.lock().unwrap();
            other
        });
        (0..100).for_each(|_| yield_now());
        assert!(!waits.is_finished());
        drop(one);
        let other = waits.join().unwrap();
        assert!(theirs.try_lock().is_err());
        // To close it is not enough: a child that another test has forked has it open, too, until its exec.
        other.unlock().unwrap();
        theirs.try_lock().unwrap();
    });
}

#[test]
fn those_who_wait_for_a_lock_take_nothing_from_its_holder() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = Arc::new(directory.path().join("lock"));
        let mut holder = File::create_new(&*path).unwrap();
        holder.lock().unwrap();
        // More than the pool has threads.
        let others: Vec<_> = (0..100)
            .map(|i| {
                let path = Arc::clone(&path);
                spawn(move || {
                    let file = File::open(&*path).unwrap();
                    if i % 2 == 0 {
                        file.lock().unwrap();
                    } else {
                        file.lock_shared().unwrap();
                    }
                    let len = file.metadata().unwrap().len();
                    file.unlock().unwrap();
                    len
                })
            })
            .collect();
        (0..1000).for_each(|_| yield_now());
        holder.write_all(b"content").unwrap();
        holder.sync_all().unwrap();
        assert_eq!(holder.metadata().unwrap().len(), 7);
        assert!(others.iter().all(|other| !other.is_finished()));
        holder.unlock().unwrap();
        assert!(others.into_iter().all(|other| other.join().unwrap() == 7));
    });
}

#[test]
fn who_waits_for_a_lock_can_be_cancelled() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path().join("lock");
        let open = || File::create(&path).unwrap();
        let (one, other, third) = (open(), open(), open());
        one.lock().unwrap();
        timeout(Duration::from_millis(10), || other.lock()).unwrap_err();
        timeout(Duration::from_millis(1), || other.lock_shared()).unwrap_err();
        let waits = spawn(move || other.lock());
        waits.cancel();
        assert!(waits.join().unwrap_err().is::<Cancelled>());
        one.unlock().unwrap();
        third.try_lock().unwrap();
    });
}

#[test]
fn who_looks_for_a_lock_lets_its_holder_run() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path().join("lock");
        let open = || File::create(&path).unwrap();
        let (one, other) = (open(), open());
        one.lock().unwrap();
        let holder = spawn_local(move || one.unlock().unwrap());
        while other.try_lock().is_err() {}
        other.unlock().unwrap();
        holder.join().unwrap();
    });
}

#[test]
fn a_thread_waits_for_a_lock_too() {
    let _watchdog = watchdog();
    let directory = tempdir().unwrap();
    let path = directory.path().join("lock");
    let open = || File::create(&path).unwrap();
    let (one, other) = (open(), open());
    one.lock().unwrap();
    thread::scope(|s| {
        let waits = s.spawn(|| other.lock());
        one.unlock().unwrap();
        waits.join().unwrap().unwrap();
    });
    assert!(one.try_lock().is_err());
}
