//! Who waits for somebody holds nobody up.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use kapok::fs::{File, OpenOptions};
use kapok::sync::Baton;
use kapok::{ReactorKind, fiber, spawn};
use tempfile::{TempDir, tempdir};

use crate::support::{run, run_on_one};

fn fifos<const N: usize>() -> (TempDir, [PathBuf; N]) {
    let directory = tempdir().unwrap();
    let paths = std::array::from_fn(|i| directory.path().join(i.to_string()));
    assert!(Command::new("mkfifo").args(&paths).status().unwrap().success());
    (directory, paths)
}

fn both_ways(path: &PathBuf) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

#[test]
fn others_go_on_while_one_reads_from_an_empty_fifo() {
    run_on_one(|| {
        let (_directory, [path]) = fifos();
        let file = Arc::new(both_ways(&path));
        let read = Arc::new(Baton::new());
        let reader = {
            let (file, read) = (Arc::clone(&file), Arc::clone(&read));
            spawn(move || {
                let mut buf = [0; 16];
                let n = (&*file).read(&mut buf).unwrap();
                read.post();
                buf[..n].to_vec()
            })
        };
        // It has begun to read, and this fiber runs.
        fiber::yield_now();
        for _ in 0..100 {
            fiber::yield_now();
            assert!(!read.try_wait());
        }
        // Through the very same file: a writer does not wait for its reader.
        (&*file).write_all(b"hello").unwrap();
        assert_eq!(reader.join().unwrap(), b"hello");
    });
}

#[test]
fn with_io_uring_any_number_may_read() {
    // More than the pool has threads.
    const READERS: usize = 200;
    if run(|| kapok::runtime::Handle::current().reactor()) != ReactorKind::IoUring {
        return; // occupies a thread for each, as is documented
    }
    run(|| {
        let (_directory, [path]) = fifos();
        let file = Arc::new(both_ways(&path));
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let file = Arc::clone(&file);
                spawn(move || (&*file).read(&mut [0; 1]).unwrap())
            })
            .collect();
        for _ in 0..READERS {
            fiber::yield_now();
        }
        (&*file).write_all(&[7; READERS]).unwrap();
        assert_eq!(
            readers.into_iter().map(|reader| reader.join().unwrap()).sum::<usize>(),
            READERS
        );
    });
}

#[test]
fn opening_waits_for_the_other_end() {
    for reader_first in [true, false] {
        run(|| {
            let (_directory, [path]) = fifos();
            let opened = Arc::new(Baton::new());
            let first = {
                let (path, opened) = (path.clone(), Arc::clone(&opened));
                spawn(move || {
                    let file = OpenOptions::new().read(reader_first).write(!reader_first).open(path);
                    opened.post();
                    file.unwrap()
                })
            };
            assert!(!opened.wait_timeout(Duration::from_millis(20)), "nobody is there");
            let second = OpenOptions::new()
                .read(!reader_first)
                .write(reader_first)
                .open(path)
                .unwrap();
            let first = first.join().unwrap();
            let (mut reader, mut writer) = if reader_first { (first, second) } else { (second, first) };
            writer.write_all(b"hello").unwrap();
            drop(writer);
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello");
        });
    }
}

#[test]
fn many_that_wait_for_a_fifos_other_end() {
    run(|| {
        let (_directory, paths) = fifos::<24>();
        let readers: Vec<_> = paths
            .iter()
            .cloned()
            .map(|path| {
                spawn(move || {
                    let mut text = String::new();
                    File::open(path).unwrap().read_to_string(&mut text).unwrap();
                    text
                })
            })
            .collect();
        fiber::yield_now();
        let writers: Vec<_> = paths
            .into_iter()
            .enumerate()
            .map(|(i, path)| {
                spawn(move || {
                    let mut file = OpenOptions::new().write(true).open(path).unwrap();
                    write!(file, "hello, {i}").unwrap();
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        for (i, reader) in readers.into_iter().enumerate() {
            assert_eq!(reader.join().unwrap(), format!("hello, {i}"));
        }
    });
}
