//! Open files: reading, writing, positions, lengths.

use std::io::{BufRead, BufReader, BufWriter, ErrorKind, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::tempdir;

use super::fs::{self, File, OpenOptions};
use super::run;
use crate::StdFile;
use crate::support::Random;

/// More than is ever done in one step.
const LARGE: usize = 8 << 20;

#[test]
fn positions_are_those_of_the_file() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path().join("file");
        let mut file = File::create_new(&path).unwrap();
        assert_eq!(file.write(b"hello, world").unwrap(), 12);
        assert_eq!(file.stream_position().unwrap(), 12);
        assert_eq!(file.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(file.seek(SeekFrom::Start(7)).unwrap(), 7);
        let mut five = [0; 5];
        file.read_exact(&mut five).unwrap();
        assert_eq!(&five, b"world");
        assert_eq!(file.seek(SeekFrom::End(-5)).unwrap(), 7);
        assert_eq!(file.seek(SeekFrom::Current(-2)).unwrap(), 5);
        assert_eq!(
            file.seek(SeekFrom::Current(-6)).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        assert_eq!(file.stream_position().unwrap(), 5);
        // Beyond the end is a place, too; what lies between is zeroes.
        file.seek(SeekFrom::Start(14)).unwrap();
        assert_eq!(file.read(&mut five).unwrap(), 0);
        file.write_all(b"!").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"hello, world\0\0!");
        file.rewind().unwrap();
        let mut text = String::from("> ");
        assert_eq!(file.read_to_string(&mut text).unwrap(), 15);
        assert_eq!(text, "> hello, world\0\0!");
        // A clone has the same position, a second opening its own.
        let mut clone = file.try_clone().unwrap();
        clone.seek(SeekFrom::Start(3)).unwrap();
        assert_eq!(file.stream_position().unwrap(), 3);
        let mut other = File::open(&path).unwrap();
        assert_eq!(other.stream_position().unwrap(), 0);
        drop(file);
        clone.read_exact(&mut five).unwrap();
        assert_eq!(&five, b"lo, w");
        (&other).read_exact(&mut five).unwrap();
        assert_eq!(&five, b"hello");
        assert_eq!(other.stream_position().unwrap(), 5);
        let mut rest = vec![1];
        assert_eq!(other.read_to_end(&mut rest).unwrap(), 10);
        assert_eq!(rest, b"\x01, world\0\0!");
        assert_eq!(other.read_to_end(&mut rest).unwrap(), 0);
    });
}

#[test]
fn reads_and_writes_at_an_offset_leave_the_position() {
    run(|| {
        let directory = tempdir().unwrap();
        let mut file = File::create_new(directory.path().join("file")).unwrap();
        file.write_all(b"0123456789").unwrap();
        file.seek(SeekFrom::Start(2)).unwrap();
        assert_eq!(file.write_at(b"AB", 4).unwrap(), 2);
        let mut four = [0; 4];
        assert_eq!(file.read_at(&mut four, 3).unwrap(), 4);
        assert_eq!(&four, b"3AB6");
        assert_eq!(file.stream_position().unwrap(), 2);
        // At the end, over it, and beyond it.
        assert_eq!(file.read_at(&mut four, 8).unwrap(), 2);
        assert_eq!(file.read_at(&mut four, 10).unwrap(), 0);
        assert_eq!(file.read_at(&mut four, 1 << 40).unwrap(), 0);
        assert_eq!(file.read_at(&mut [], 3).unwrap(), 0);
        assert_eq!(file.write_at(&[], 3).unwrap(), 0);
        assert_eq!(
            file.read_exact_at(&mut four, 8).unwrap_err().kind(),
            ErrorKind::UnexpectedEof
        );
        // There is no such place.
        for offset in [u64::MAX, 1 << 63] {
            assert_eq!(
                file.read_at(&mut four, offset).unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
            assert_eq!(file.write_at(b"x", offset).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(file.read_at(&mut four, i64::MAX as u64 - 4).unwrap(), 0);
        file.write_all_at(b"end", 20).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 23);
        file.read_exact_at(&mut four, 19).unwrap();
        assert_eq!(&four, b"\0end");
        assert_eq!(file.stream_position().unwrap(), 2);
    });
}

#[test]
fn appending_is_always_at_the_end() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path().join("log");
        let open = || OpenOptions::new().append(true).create(true).open(&path).unwrap();
        let (mut first, mut second) = (open(), open());
        first.write_all(b"one ").unwrap();
        second.write_all(b"two ").unwrap();
        first.seek(SeekFrom::Start(0)).unwrap();
        first.write_all(b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one two three");
        let mut both = OpenOptions::new().append(true).read(true).open(&path).unwrap();
        let mut three = [0; 3];
        both.read_exact(&mut three).unwrap();
        assert_eq!(&three, b"one");
        both.write_all(b"!").unwrap();
        assert_eq!(both.stream_position().unwrap(), 14);
        assert_eq!(both.read(&mut three).unwrap(), 0);
    });
}

#[test]
fn several_buffers_at_once() {
    run(|| {
        let directory = tempdir().unwrap();
        let mut file = File::create_new(directory.path().join("file")).unwrap();
        let written = file
            .write_vectored(&[IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two!")])
            .unwrap();
        assert_eq!(written, 7);
        assert_eq!(file.write_vectored(&[]).unwrap(), 0);
        file.seek(SeekFrom::Start(1)).unwrap();
        let (mut first, mut second) = ([0; 4], [0; 8]);
        let read = file
            .read_vectored(&mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)])
            .unwrap();
        assert_eq!((read, &first, &second), (6, b"netw", b"o!\0\0\0\0\0\0"));
        assert_eq!(file.read_vectored(&mut [IoSliceMut::new(&mut first)]).unwrap(), 0);
        assert_eq!(file.read_vectored(&mut []).unwrap(), 0);
        // More than one call can take.
        let many = vec![IoSlice::new(b"ab"); 3_000];
        let written = file.write_vectored(&many).unwrap();
        assert_eq!(written, 2 * 1024);
        assert_eq!(file.metadata().unwrap().len(), 7 + 2 * 1024);
        // Much of it.
        let large = vec![3; LARGE / 2];
        file.rewind().unwrap();
        let written = file
            .write_vectored(&[IoSlice::new(&large), IoSlice::new(&large)])
            .unwrap();
        assert_eq!(written, LARGE);
        file.rewind().unwrap();
        let (mut first, mut second) = (vec![0; LARGE / 4], vec![0; LARGE]);
        let read = file
            .read_vectored(&mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)])
            .unwrap();
        assert_eq!(read, LARGE);
        assert!(first.iter().chain(&second[..LARGE / 4 * 3]).all(|&byte| byte == 3));
    });
}

#[test]
fn much_is_what_was_written() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path().join("large");
        let content = Random::new(1).bytes(LARGE);
        fs::write(&path, &content).unwrap();
        assert!(fs::read(&path).unwrap() == content);
        // In one piece, in pieces of all sizes, by lines.
        let mut file = File::open(&path).unwrap();
        let mut whole = vec![0; LARGE];
        assert_eq!(file.read(&mut whole).unwrap(), LARGE);
        assert!(whole == content);
        let mut random = Random::new(2);
        let copy = directory.path().join("copy");
        let mut writer = File::create(&copy).unwrap();
        let mut written = 0;
        while written < LARGE {
            let piece = (1 + random.below(600_000)).min(LARGE - written);
            assert_eq!(writer.write(&content[written..written + piece]).unwrap(), piece);
            written += piece;
        }
        writer.sync_all().unwrap();
        let mut reader = File::open(&copy).unwrap();
        let (mut read, mut piece) = (0, vec![0; 600_000]);
        while read < LARGE {
            let wanted = 1 + random.below(600_000);
            let n = reader.read(&mut piece[..wanted]).unwrap();
            // Only the end is a reason for less.
            assert_eq!(n, wanted.min(LARGE - read));
            assert!(piece[..n] == content[read..read + n]);
            read += n;
        }
        assert_eq!(reader.read(&mut piece).unwrap(), 0);
        let lines = BufReader::new(File::open(&path).unwrap()).split(b'\n').count();
        assert_eq!(lines, content.split(|&byte| byte == b'\n').count());
        let mut buffered = BufWriter::new(File::create(&copy).unwrap());
        content
            .chunks(1_000)
            .for_each(|chunk| buffered.write_all(chunk).unwrap());
        buffered.flush().unwrap();
        assert!(fs::read(&copy).unwrap() == content);
        assert_eq!(
            std::io::copy(&mut File::open(&path).unwrap(), &mut std::io::sink()).unwrap(),
            LARGE as u64
        );
    });
}

#[test]
fn lengths_change() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path().join("file");
        let mut file = File::create_new(&path).unwrap();
        file.write_all(b"0123456789").unwrap();
        file.set_len(4).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"0123");
        assert_eq!(file.stream_position().unwrap(), 10);
        file.set_len(6).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"0123\0\0");
        file.set_len(0).unwrap();
        assert!(fs::read(&path).unwrap().is_empty());
        assert_eq!(file.set_len(u64::MAX).unwrap_err().kind(), ErrorKind::InvalidInput);
        let reader = File::open(&path).unwrap();
        assert_eq!(reader.set_len(1).unwrap_err().kind(), ErrorKind::InvalidInput);
        // It got shorter while it was read.
        fs::write(&path, [1; 1000]).unwrap();
        let mut reader = File::open(&path).unwrap();
        reader.read_exact(&mut [0; 600]).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
        assert_eq!(reader.read(&mut [0; 600]).unwrap(), 0);
        assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), 0);
        // A hole.
        file.set_len(1 << 32).unwrap();
        let mut block = [1; 512];
        file.read_exact_at(&mut block, (1 << 32) - 512).unwrap();
        assert_eq!(block, [0; 512]);
    });
}

#[test]
fn synced() {
    run(|| {
        let directory = tempdir().unwrap();
        let mut file = File::create_new(directory.path().join("file")).unwrap();
        file.sync_all().unwrap();
        file.write_all(b"x").unwrap();
        file.sync_data().unwrap();
        file.flush().unwrap();
        // A directory can be, too, and has to be after a rename that must not be lost.
        File::open(directory.path()).unwrap().sync_all().unwrap();
    });
}

#[test]
fn what_is_known_about_an_open_file() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path().join("file");
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o640)
            .open(&path)
            .unwrap();
        let metadata: fs::Metadata = file.metadata().unwrap();
        assert!(metadata.is_file() && metadata.mode() & 0o777 == 0o640 && metadata.len() == 0);
        file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let then = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        file.set_modified(then).unwrap();
        assert_eq!(file.metadata().unwrap().modified().unwrap(), then);
        let earlier = then - Duration::from_secs(1);
        file.set_times(fs::FileTimes::new().set_accessed(earlier).set_modified(earlier))
            .unwrap();
        assert_eq!(fs::metadata(&path).unwrap().accessed().unwrap(), earlier);
        assert!(format!("{file:?}").contains("file"), "{file:?}");
    });
}

#[test]
fn used_for_what_it_was_not_opened_for() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path().join("file");
        let mut writer = File::create(&path).unwrap();
        writer.write_all(b"content").unwrap();
        let mut reader = File::open(&path).unwrap();
        let errors = [
            writer.read(&mut [0; 4]).unwrap_err(),
            writer.read(&mut []).unwrap_err(),
            writer.read_at(&mut [0; 4], 0).unwrap_err(),
            writer.read_to_end(&mut Vec::new()).unwrap_err(),
            writer.read_vectored(&mut [IoSliceMut::new(&mut [0; 4])]).unwrap_err(),
            writer.read(&mut vec![0; LARGE]).unwrap_err(),
            reader.write(b"x").unwrap_err(),
            reader.write(&[]).unwrap_err(),
            reader.write_at(b"x", 0).unwrap_err(),
            reader.write_vectored(&[IoSlice::new(b"x")]).unwrap_err(),
        ];
        for (i, error) in errors.iter().enumerate() {
            assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{i}: {error}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"content");
        // A directory can be opened, and not read.
        let mut opened = File::open(directory.path()).unwrap();
        assert!(opened.metadata().unwrap().is_dir());
        assert_eq!(opened.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::IsADirectory);
        assert_eq!(
            opened.read_at(&mut [0; 4], 0).unwrap_err().kind(),
            ErrorKind::IsADirectory
        );
        assert_eq!(
            opened.read_to_end(&mut Vec::new()).unwrap_err().kind(),
            ErrorKind::IsADirectory
        );
        // Not text.
        fs::write(&path, b"caf\xe9").unwrap();
        let mut text = String::from("before");
        let error = File::open(&path).unwrap().read_to_string(&mut text).unwrap_err();
        assert_eq!((error.kind(), text.as_str()), (ErrorKind::InvalidData, "before"));
        assert_eq!(fs::read_to_string(&path).unwrap_err().kind(), ErrorKind::InvalidData);
    });
}

#[test]
fn descriptors_come_and_go() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path().join("file");
        let file = File::from(StdFile::create_new(&path).unwrap());
        (&file).write_all(b"one ").unwrap();
        assert_eq!(file.as_fd().as_raw_fd(), file.as_raw_fd());
        let fd = OwnedFd::from(file);
        let mut file = File::from(fd);
        file.write_all(b"two ").unwrap();
        let clone = file.try_clone().unwrap();
        let mut plain = StdFile::from(file);
        plain.write_all(b"three").unwrap();
        (&clone).write_all(b" four").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one two three four");
        let output = std::process::Command::new("/bin/sh")
            .args(["-c", "cat; echo five >&2"])
            .stdin(File::open(&path).unwrap())
            .stdout(std::process::Stdio::piped())
            .stderr(clone)
            .output()
            .unwrap();
        assert_eq!(output.stdout, b"one two three four");
        assert_eq!(fs::read(&path).unwrap(), b"one two three fourfive\n");
    });
}

#[test]
fn a_removed_file_lives_until_it_is_closed() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path().join("file");
        let mut file = File::create_new(&path).unwrap();
        fs::remove_file(&path).unwrap();
        file.write_all(b"still here").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "still here");
        assert_eq!(file.metadata().unwrap().nlink(), 0);
        assert!(!fs::exists(&path).unwrap());
    });
}

#[test]
fn opened_with_flags_of_the_system() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, b"content").unwrap();
        // Such a file of the disk does not answer WouldBlock.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path)
            .unwrap();
        file.write_all(&vec![1; 1 << 20]).unwrap();
        assert_eq!(file.write_vectored(&[IoSlice::new(b"x")]).unwrap(), 1);
        file.rewind().unwrap();
        let mut content = Vec::new();
        assert_eq!(file.read_to_end(&mut content).unwrap(), (1 << 20) + 1);
        let mut no_follow = OpenOptions::new();
        no_follow.read(true).custom_flags(libc::O_NOFOLLOW);
        no_follow.open(&path).unwrap();
        super::symlink(&path, directory.path().join("link")).unwrap();
        let error = no_follow.open(directory.path().join("link")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
        let error = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY)
            .open(&path)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotADirectory);
    });
}
