//! The append-only file on a disk that fails.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::aof::{Disk, Fsync, Log};
use crate::support::run;

/// A file, and what fails of what is done with it.
#[derive(Clone, Default)]
struct Failing(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    /// How many were on the disk when it was synced.
    synced: Option<usize>,
    /// What there is room for.
    room: Option<usize>,
    no_cut: bool,
    no_sync: bool,
}

impl Failing {
    fn with<T>(&self, f: impl FnOnce(&mut Content) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn text(&self) -> String {
        self.with(|content| String::from_utf8(content.bytes.clone()).unwrap())
    }
}

impl Disk for Failing {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.with(|content| {
            let room = content.room.map_or(bytes.len(), |room| room - content.bytes.len());
            content.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
            fail_if(bytes.len() > room)
        })
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.with(|content| {
            fail_if(content.no_cut)?;
            content.bytes.resize(usize::try_from(length).unwrap(), 0);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|content| {
            fail_if(content.no_sync)?;
            content.synced = Some(content.bytes.len());
            Ok(())
        })
    }
}

fn fail_if(is_broken: bool) -> io::Result<()> {
    if is_broken {
        Err(io::Error::other("broken"))
    } else {
        Ok(())
    }
}

/// `PING` with a number, as it is in the file.
fn ping(n: usize) -> String {
    format!("*2\r\n$4\r\nPING\r\n$1\r\n{n}\r\n")
}

fn record(log: &Log<Failing>, n: usize) {
    log.record(&[b"PING", n.to_string().as_bytes()]);
}

#[test]
fn nothing_is_written_behind_a_torn_request() {
    run(|| {
        for fsync in [Fsync::Always, Fsync::Everysec, Fsync::No] {
            let disk = Failing::default();
            let log = Log::new(disk.clone(), 0, fsync).unwrap();
            record(&log, 1);
            log.commit().unwrap();
            disk.with(|content| (content.room, content.no_cut) = (Some(30), true));
            record(&log, 2);
            log.commit().unwrap_err();
            let torn = disk.text();
            assert!(torn.len() == 30 && torn.starts_with(&ping(1)), "{torn}");
            // Room alone does not help.
            disk.with(|content| content.room = None);
            record(&log, 3);
            log.commit().unwrap_err();
            assert_eq!((disk.text(), log.trouble()), (torn, Some("broken".into())));
            disk.with(|content| content.no_cut = false);
            log.commit().unwrap();
            assert_eq!((disk.text(), log.trouble()), (ping(1) + &ping(2) + &ping(3), None));
            assert_eq!(log.length(), disk.text().len() as u64);
        }
    });
}

#[test]
fn what_cannot_be_synced_and_not_cut_off_is_not_there_twice() {
    run(|| {
        let disk = Failing::default();
        let log = Log::new(disk.clone(), 0, Fsync::Always).unwrap();
        disk.with(|content| (content.no_sync, content.no_cut) = (true, true));
        record(&log, 1);
        for _ in 0..3 {
            log.commit().unwrap_err();
            assert_eq!(disk.text(), ping(1));
        }
        // The kernel may have given up what could not be synced: it is written again.
        disk.with(|content| content.no_cut = false);
        log.commit().unwrap_err();
        assert_eq!(disk.text(), "");
        disk.with(|content| content.no_sync = false);
        record(&log, 2);
        log.commit().unwrap();
        assert_eq!((disk.text(), log.trouble()), (ping(1) + &ping(2), None));
        assert_eq!(disk.with(|content| content.synced), Some(disk.text().len()));
    });
}

#[test]
fn each_second_tells_of_a_disk_that_fails() {
    run(|| {
        let disk = Failing::default();
        let log = Log::new(disk.clone(), 0, Fsync::Everysec).unwrap();
        record(&log, 1);
        log.commit().unwrap();
        disk.with(|content| content.no_sync = true);
        log.tend().unwrap_err();
        assert_eq!(log.trouble(), Some("broken".into()));
        // To be written is not enough.
        record(&log, 2);
        log.commit().unwrap();
        assert_eq!((log.trouble(), log.is_written()), (Some("broken".into()), true));
        disk.with(|content| content.no_sync = false);
        log.tend().unwrap();
        assert_eq!(
            (log.trouble(), disk.with(|content| content.synced)),
            (None, Some(2 * ping(1).len()))
        );
        // What is in the file gets to the disk though nothing more gets into it.
        record(&log, 3);
        log.commit().unwrap();
        disk.with(|content| content.room = Some(content.bytes.len()));
        record(&log, 4);
        log.tend().unwrap_err();
        assert_eq!(disk.with(|content| content.synced), Some(3 * ping(1).len()));
        disk.with(|content| content.room = None);
        log.tend().unwrap();
        // Nothing new, nothing to do.
        disk.with(|content| content.no_sync = true);
        log.tend().unwrap();
        log.close().unwrap();
    });
}

#[test]
fn what_is_found_is_not_taken_for_synced() {
    run(|| {
        let found = || {
            let disk = Failing::default();
            disk.append(ping(1).as_bytes()).unwrap();
            disk
        };
        let length = ping(1).len();
        let disk = found();
        Log::new(disk.clone(), length as u64, Fsync::Always).unwrap();
        assert_eq!(disk.with(|content| content.synced), Some(length));
        for fsync in [Fsync::Everysec, Fsync::No] {
            let disk = found();
            let log = Log::new(disk.clone(), length as u64, fsync).unwrap();
            log.tend().unwrap();
            let expected = (fsync == Fsync::Everysec).then_some(length);
            assert_eq!(disk.with(|content| content.synced), expected, "{fsync:?}");
            log.close().unwrap();
            assert_eq!(disk.with(|content| content.synced), Some(length), "{fsync:?}");
        }
    });
}
