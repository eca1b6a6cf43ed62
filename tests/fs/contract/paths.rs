//! Files by their paths: what is there, what is not, and what cannot be.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::tempdir;

use super::fs::{self, File};
use super::{run, symlink};
use crate::StdFile;
use crate::support::show;

/// All that takes a path, with what it said about this one. `inside` is a path that exists, for those that take two.
fn everything(path: &Path, inside: &Path) -> Vec<(&'static str, std::io::Result<()>)> {
    vec![
        ("File::open", File::open(path).map(drop)),
        ("read", fs::read(path).map(drop)),
        ("read_to_string", fs::read_to_string(path).map(drop)),
        ("metadata", fs::metadata(path).map(drop)),
        ("symlink_metadata", fs::symlink_metadata(path).map(drop)),
        ("canonicalize", fs::canonicalize(path).map(drop)),
        ("read_dir", fs::read_dir(path).map(drop)),
        ("read_link", fs::read_link(path).map(drop)),
        ("rename", fs::rename(path, inside.join("renamed"))),
        ("hard_link", fs::hard_link(path, inside.join("linked"))),
        ("copy", fs::copy(path, inside.join("copied")).map(drop)),
        (
            "set_permissions",
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)),
        ),
        ("remove_file", fs::remove_file(path)),
        ("remove_dir", fs::remove_dir(path)),
        ("remove_dir_all", fs::remove_dir_all(path)),
    ]
}

/// The same for those that make something.
fn everything_that_makes(path: &Path, existing: &Path) -> Vec<(&'static str, std::io::Result<()>)> {
    vec![
        ("File::create", File::create(path).map(drop)),
        ("File::create_new", File::create_new(path).map(drop)),
        ("write", fs::write(path, "content")),
        ("copy", fs::copy(existing, path).map(drop)),
        ("rename", fs::rename(existing, path)),
        ("hard_link", fs::hard_link(existing, path)),
        ("symlink", symlink(existing, path)),
        ("create_dir", fs::create_dir(path)),
        ("create_dir_all", fs::create_dir_all(path)),
    ]
}

#[track_caller]
fn all_say(results: Vec<(&'static str, std::io::Result<()>)>, kind: ErrorKind) {
    for (what, result) in results {
        match result {
            Ok(()) => panic!("{what} has succeeded"),
            Err(error) => assert_eq!(error.kind(), kind, "{what}: {error}"),
        }
    }
}

#[test]
fn missing() {
    run(|| {
        let directory = tempdir().unwrap();
        let nowhere = directory.path().join("nowhere");
        all_say(everything(&nowhere, directory.path()), ErrorKind::NotFound);
        all_say(
            everything(&nowhere.join("below"), directory.path()),
            ErrorKind::NotFound,
        );
        all_say(everything(Path::new(""), directory.path()), ErrorKind::NotFound);
        assert!(!fs::exists(&nowhere).unwrap());
        let there = directory.path().join("file");
        fs::write(&there, "content").unwrap();
        let mut made = everything_that_makes(&nowhere.join("below"), &there);
        made.retain(|(what, _)| *what != "create_dir_all");
        all_say(made, ErrorKind::NotFound);
        // A link that leads nowhere is there, and what it leads to is not.
        let link = directory.path().join("link");
        symlink("absent", &link).unwrap();
        assert_eq!(File::open(&link).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::metadata(&link).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(!fs::exists(&link).unwrap());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    });
}

#[test]
fn below_what_is_no_directory() {
    run(|| {
        let directory = tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "content").unwrap();
        all_say(
            everything(&file.join("below"), directory.path()),
            ErrorKind::NotADirectory,
        );
        let other = directory.path().join("other");
        fs::write(&other, "content").unwrap();
        all_say(
            everything_that_makes(&file.join("below"), &other),
            ErrorKind::NotADirectory,
        );
        assert_eq!(fs::read_dir(&file).unwrap_err().kind(), ErrorKind::NotADirectory);
        assert_eq!(fs::remove_dir(&file).unwrap_err().kind(), ErrorKind::NotADirectory);
    });
}

#[test]
fn what_no_kernel_is_asked_for() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path().join(OsStr::from_bytes(b"with\0in it"));
        all_say(everything(&path, directory.path()), ErrorKind::InvalidInput);
        assert_eq!(fs::exists(&path).unwrap_err().kind(), ErrorKind::InvalidInput);
        let there = directory.path().join("file");
        fs::write(&there, "content").unwrap();
        all_say(everything_that_makes(&path, &there), ErrorKind::InvalidInput);
    });
}

#[test]
fn too_long() {
    run(|| {
        let directory = tempdir().unwrap();
        let name = directory.path().join("n".repeat(256));
        let path = directory.path().join("./".repeat(2_048) + "file");
        let there = directory.path().join("file");
        fs::write(&there, "content").unwrap();
        all_say(everything(&name, directory.path()), ErrorKind::InvalidFilename);
        all_say(everything_that_makes(&name, &there), ErrorKind::InvalidFilename);
        all_say(everything_that_makes(&path, &there), ErrorKind::InvalidFilename);
        let mut rest = everything(&path, directory.path());
        rest.retain(|(what, _)| *what != "canonicalize"); // goes from name to name
        all_say(rest, ErrorKind::InvalidFilename);
    });
}

#[test]
fn there_already() {
    run(|| {
        let directory = tempdir().unwrap();
        let (file, other) = (directory.path().join("file"), directory.path().join("other"));
        fs::write(&file, "content").unwrap();
        fs::write(&other, "other").unwrap();
        let exists = ErrorKind::AlreadyExists;
        assert_eq!(File::create_new(&file).unwrap_err().kind(), exists);
        assert_eq!(fs::create_dir(&file).unwrap_err().kind(), exists);
        assert_eq!(fs::create_dir_all(&file).unwrap_err().kind(), exists);
        assert_eq!(fs::hard_link(&other, &file).unwrap_err().kind(), exists);
        assert_eq!(symlink(&other, &file).unwrap_err().kind(), exists);
        assert_eq!(fs::read(&file).unwrap(), b"content");
        // These replace.
        fs::rename(&other, &file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"other");
        File::create(&file).unwrap();
        assert!(fs::read(&file).unwrap().is_empty());
        fs::write(&file, "a longer content").unwrap();
        fs::write(&file, "short").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "short");
    });
}

#[test]
fn a_directory_in_the_place_of_a_file() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = directory.path();
        let is_a_directory = ErrorKind::IsADirectory;
        assert_eq!(fs::read(path).unwrap_err().kind(), is_a_directory);
        assert_eq!(fs::read_to_string(path).unwrap_err().kind(), is_a_directory);
        assert_eq!(fs::write(path, "content").unwrap_err().kind(), is_a_directory);
        assert_eq!(File::create(path).unwrap_err().kind(), is_a_directory);
        assert_eq!(fs::remove_file(path).unwrap_err().kind(), is_a_directory);
        assert_eq!(fs::read_link(path).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(
            fs::hard_link(path, path.join("link")).unwrap_err().kind(),
            ErrorKind::PermissionDenied
        );
        let file = path.join("file");
        fs::write(&file, "content").unwrap();
        fs::create_dir(path.join("empty")).unwrap();
        assert_eq!(
            fs::rename(&file, path.join("empty")).unwrap_err().kind(),
            is_a_directory
        );
        assert_eq!(
            fs::rename(path.join("empty"), &file).unwrap_err().kind(),
            ErrorKind::NotADirectory
        );
        assert_eq!(fs::remove_dir(path).unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
    });
}

#[test]
fn what_may_not_be_done() {
    run(|| {
        let directory = tempdir().unwrap();
        let locked = directory.path().join("locked");
        fs::create_dir(&locked).unwrap();
        let file = locked.join("file");
        fs::write(&file, "content").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o0)).unwrap();
        if StdFile::open(&file).is_ok() {
            show("SKIP permissions: this user may do everything (CAP_DAC_OVERRIDE)");
            return;
        }
        let denied = ErrorKind::PermissionDenied;
        assert_eq!(File::open(&file).unwrap_err().kind(), denied);
        assert_eq!(fs::write(&file, "x").unwrap_err().kind(), denied);
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o0)).unwrap();
        all_say(everything(&file, directory.path()), denied);
        all_say(everything_that_makes(&locked.join("new"), &file), denied);
        assert_eq!(fs::exists(&file).unwrap_err().kind(), denied);
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
    });
}

#[test]
fn links() {
    run(|| {
        let directory = tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "content").unwrap();
        symlink("file", path("link")).unwrap();
        assert_eq!(fs::read_link(path("link")).unwrap(), Path::new("file"));
        assert_eq!(fs::read(path("link")).unwrap(), b"content");
        assert!(fs::metadata(path("link")).unwrap().is_file());
        assert!(fs::symlink_metadata(path("link")).unwrap().file_type().is_symlink());
        assert_eq!(
            fs::canonicalize(path("link")).unwrap(),
            fs::canonicalize(path("file")).unwrap()
        );
        // A hard link to a symbolic link is a name of the link.
        fs::hard_link(path("link"), path("same")).unwrap();
        assert!(fs::symlink_metadata(path("same")).unwrap().is_symlink());
        fs::hard_link(path("file"), path("second")).unwrap();
        let (first, second) = (
            fs::metadata(path("file")).unwrap(),
            fs::metadata(path("second")).unwrap(),
        );
        assert_eq!((first.ino(), first.nlink()), (second.ino(), 2));
        fs::remove_file(path("link")).unwrap();
        fs::remove_file(path("file")).unwrap();
        assert_eq!(fs::read(path("second")).unwrap(), b"content");
        symlink("circle", path("circle")).unwrap();
        assert_eq!(
            fs::metadata(path("circle")).unwrap_err().raw_os_error(),
            Some(libc::ELOOP)
        );
        assert_eq!(
            File::open(path("circle")).unwrap_err().raw_os_error(),
            Some(libc::ELOOP)
        );
    });
}

#[test]
fn copies() {
    run(|| {
        let directory = tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::write(&from, vec![7; 1 << 20]).unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o640)).unwrap();
        fs::write(&to, "what was there is replaced").unwrap();
        assert_eq!(fs::copy(&from, &to).unwrap(), 1 << 20);
        assert!(fs::read(&to).unwrap() == vec![7; 1 << 20]);
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o777, 0o640);
        assert_eq!(
            fs::copy(directory.path(), &to).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    });
}

#[test]
fn relative_paths_and_odd_names() {
    run(|| {
        // Tests run in the package's directory.
        assert!(fs::read_to_string("Cargo.toml").unwrap().contains("kapok"));
        assert!(fs::exists("src/../Cargo.toml").unwrap());
        assert!(fs::canonicalize(".").unwrap().is_absolute());
        let directory = tempdir().unwrap();
        let odd = directory.path().join(OsStr::from_bytes(b" caf\xe9\n\xff"));
        fs::write(&odd, "content").unwrap();
        let renamed = directory.path().join("n".repeat(255));
        fs::rename(&odd, &renamed).unwrap();
        assert_eq!(fs::read(&renamed).unwrap(), b"content");
    });
}
