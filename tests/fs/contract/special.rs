//! Files that are no files: of /proc, of devices, and FIFOs.

use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::Command;
use std::thread;

use tempfile::tempdir;

#[cfg(target_os = "linux")]
use super::fs;
use super::fs::{File, OpenOptions};
use super::run;
use crate::StdFile;

/// A FIFO in its directory.
fn fifo() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempdir().unwrap();
    let path = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    (directory, path)
}

#[test]
#[cfg(target_os = "linux")]
fn proc() {
    run(|| {
        let text = fs::read_to_string("/proc/self/status").unwrap();
        assert!(text.contains("VmPeak"));
        // Which have no length, and come in pieces.
        let mut file = File::open("/proc/self/status").unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
        let (mut first, mut second) = ([0; 5], [0; 5]);
        file.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"Name:");
        file.rewind().unwrap();
        file.read_exact(&mut second).unwrap();
        assert_eq!(first, second);
        file.read_exact_at(&mut second, 0).unwrap();
        assert_eq!(first, second);
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("VmPeak") && !rest.contains("Name:"));
        // That it need not wait says nothing to a file.
        let mut nonblocking = OpenOptions::new();
        nonblocking.read(true).custom_flags(libc::O_NONBLOCK);
        let mut file = nonblocking.open("/proc/self/status").unwrap();
        file.read_exact(&mut second).unwrap();
        assert_eq!(first, second);
        // It is what the caller is called, so that a thread of another name would show.
        assert_eq!(
            fs::read_to_string("/proc/self/comm").unwrap(),
            std::io::read_to_string(StdFile::open("/proc/self/comm").unwrap()).unwrap()
        );
        assert_eq!(
            File::create("/proc/self/status")
                .unwrap()
                .write(b"x")
                .unwrap_err()
                .kind(),
            ErrorKind::InvalidInput
        );
    });
}

#[test]
fn devices() {
    run(|| {
        let mut null = OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
        assert_eq!(null.write(&[1; 100_000]).unwrap(), 100_000);
        assert_eq!(null.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(null.read_to_end(&mut Vec::new()).unwrap(), 0);
        let mut zeroes = vec![1; 1 << 20];
        File::open("/dev/zero").unwrap().read_exact(&mut zeroes).unwrap();
        assert!(zeroes.iter().all(|&byte| byte == 0));
        let (mut first, mut second) = ([0; 32], [0; 32]);
        let mut random = File::open("/dev/urandom").unwrap();
        random.read_exact(&mut first).unwrap();
        random.read_exact(&mut second).unwrap();
        assert_ne!(first, second);
        // A device may be read at an offset, for what it is worth.
        File::open("/dev/zero").unwrap().read_exact_at(&mut first, 7).unwrap();
        assert_eq!(first, [0; 32]);
    });
}

#[test]
fn a_fifo_waits_for_its_other_end_and_for_data() {
    run(|| {
        let (_directory, path) = fifo();
        let writer = {
            let path = path.clone();
            thread::spawn(move || {
                let mut writer = StdFile::options().write(true).open(path).unwrap();
                writer.write_all(b"hello").unwrap();
                writer.write_all(&vec![7; 200_000]).unwrap();
            })
        };
        let mut reader = File::open(&path).unwrap();
        let mut hello = [0; 5];
        reader.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello");
        let mut rest = Vec::new();
        assert_eq!(reader.read_to_end(&mut rest).unwrap(), 200_000);
        assert!(rest.iter().all(|&byte| byte == 7));
        writer.join().unwrap();
        assert_eq!(reader.read(&mut hello).unwrap(), 0);
        // And the other way round.
        let reader = {
            let path = path.clone();
            thread::spawn(move || {
                let mut all = Vec::new();
                StdFile::open(path).unwrap().read_to_end(&mut all).unwrap();
                all
            })
        };
        let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
        writer.write_all(&vec![8; 200_000]).unwrap();
        drop(writer);
        assert_eq!(reader.join().unwrap(), vec![8; 200_000]);
    });
}

#[test]
fn a_fifo_has_no_position() {
    run(|| {
        let (_directory, path) = fifo();
        let mut both = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        both.write_all(b"hello").unwrap();
        let no_position = |error: std::io::Error| assert_eq!(error.kind(), ErrorKind::NotSeekable, "{error}");
        no_position(both.read_at(&mut [0; 2], 0).unwrap_err());
        no_position(both.read_at(&mut vec![0; 1 << 20], 0).unwrap_err());
        no_position(both.write_at(b"x", 0).unwrap_err());
        no_position(both.rewind().unwrap_err());
        // What is there is enough.
        let mut buf = [0; 100];
        assert_eq!(both.read(&mut buf[..2]).unwrap(), 2);
        assert_eq!(both.read(&mut buf).unwrap(), 3);
        assert_eq!(&buf[..3], b"llo");
    });
}

#[test]
fn a_fifo_that_is_told_not_to_block() {
    run(|| {
        let (_directory, path) = fifo();
        let nonblocking = |options: &mut OpenOptions| options.custom_flags(libc::O_NONBLOCK).open(&path);
        let error = nonblocking(OpenOptions::new().write(true)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
        let mut reader = nonblocking(OpenOptions::new().read(true)).unwrap();
        let mut buf = [0; 8];
        assert_eq!(reader.read(&mut buf).unwrap(), 0, "nobody writes");
        let mut writer = nonblocking(OpenOptions::new().write(true)).unwrap();
        assert_eq!(reader.read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        writer.write_all(b"hello").unwrap();
        assert_eq!(reader.read(&mut buf).unwrap(), 5);
        let full = loop {
            if let Err(error) = writer.write(&[0; 65_536]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
    });
}
