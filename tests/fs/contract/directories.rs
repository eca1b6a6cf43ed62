//! Directories: made, read and removed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, DirEntryExt, MetadataExt};

use tempfile::tempdir;

use super::fs::{self, DirBuilder};
use super::{run, symlink};

#[test]
fn made_and_removed() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("one")).unwrap();
        assert_eq!(
            fs::create_dir(path("one")).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        assert_eq!(fs::create_dir(path("a/b/c")).unwrap_err().kind(), ErrorKind::NotFound);
        fs::create_dir_all(path("a/b/c")).unwrap();
        fs::create_dir_all(path("a/b/c")).unwrap();
        fs::create_dir_all("").unwrap();
        assert!(fs::metadata(path("a/b/c")).unwrap().is_dir());
        let mut builder = DirBuilder::new();
        builder.mode(0o700).create(path("private")).unwrap();
        assert_eq!(fs::metadata(path("private")).unwrap().mode() & 0o777, 0o700);
        builder.recursive(true).create(path("private")).unwrap();
        builder.create(path("p/q")).unwrap();
        assert_eq!(fs::metadata(path("p")).unwrap().mode() & 0o777, 0o700);
        fs::rename(path("a"), path("moved")).unwrap();
        assert!(fs::exists(path("moved/b/c")).unwrap());
        assert_eq!(
            fs::remove_dir(path("moved")).unwrap_err().kind(),
            ErrorKind::DirectoryNotEmpty
        );
        fs::remove_dir(path("moved/b/c")).unwrap();
        // A link is removed, not what it leads to.
        fs::write(path("one/kept"), "content").unwrap();
        symlink(path("one"), path("moved/link")).unwrap();
        fs::remove_dir_all(path("moved")).unwrap();
        assert!(!fs::exists(path("moved")).unwrap() && fs::exists(path("one/kept")).unwrap());
    });
}

#[test]
fn read_completely() {
    run(|| {
        for count in [0, 1, 2, 127, 128, 129, 256, 1_000] {
            let directory = tempdir().unwrap();
            let names: BTreeSet<OsString> = (0..count).map(|i| format!("entry {i}").into()).collect();
            for name in &names {
                fs::write(directory.path().join(name), "").unwrap();
            }
            let mut entries = fs::read_dir(directory.path()).unwrap();
            let read: BTreeSet<_> = entries.by_ref().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(read, names);
            assert!(entries.next().is_none() && entries.next().is_none());
        }
    });
}

#[test]
fn entries_say_what_they_are() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "content").unwrap();
        fs::create_dir(path("dir")).unwrap();
        symlink("file", path("link")).unwrap();
        let mut seen = 0;
        for entry in fs::read_dir(directory.path()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            assert_eq!(entry.path(), path(&name));
            let (file_type, metadata) = (entry.file_type().unwrap(), entry.metadata().unwrap());
            assert_eq!(file_type, metadata.file_type());
            assert_eq!(entry.ino(), metadata.ino());
            match name.as_str() {
                "file" => assert!(file_type.is_file() && metadata.len() == 7),
                "dir" => assert!(file_type.is_dir()),
                "link" => assert!(file_type.is_symlink() && metadata.is_symlink()),
                other => panic!("{other}"),
            }
            assert!(format!("{entry:?}").contains(&name));
            fs::remove_file(entry.path())
                .or_else(|_| fs::remove_dir(entry.path()))
                .unwrap();
            assert_eq!(entry.metadata().unwrap_err().kind(), ErrorKind::NotFound);
            seen += 1;
        }
        assert_eq!(seen, 3);
    });
}
