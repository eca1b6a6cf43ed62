//! What a path names on the disk, and how it gets from there to the client.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::conditional::{self, Verdict};
use crate::listing;
use crate::reply::{self, Head, Manner, Refusal, Sent, Status};
use crate::request::Request;
use crate::target::Target;
use crate::wire::{End, Wire};

/// Files up to this size are read in the same hop that opens them.
const SMALL: u64 = 64 * 1024;
/// Larger ones are read, and held in memory, this much at a time; what the system has in memory comes without a hop.
const CHUNK: usize = 256 * 1024;

/// What a target turned out to be.
pub(crate) enum Found {
    File(FoundFile),
    Listing(String),
    /// A directory that was asked for without the slash at the end; this is its address with it.
    Elsewhere(String),
}

/// An open file, and the whole of its content if that is small and was wanted.
pub(crate) struct FoundFile {
    file: File,
    length: u64,
    modified: Option<SystemTime>,
    content_type: String,
    content: Option<Vec<u8>>,
}

/// Looks a target up below the root. Blocks on the disk: to be called on the blocking pool.
pub(crate) fn look_up(root: &Path, target: &Target, read_if_small: bool) -> Result<Found, Refusal> {
    let path = resolve(root, &root.join(&target.relative))?;
    let metadata = fs::metadata(&path).map_err(|error| explain(&error))?;
    if !metadata.is_dir() {
        if target.wants_directory {
            return Err(Refusal {
                status: Status::NotFound,
                reason: "this is not a directory",
            });
        }
        return open(&path, &target.relative, read_if_small).map(Found::File);
    }
    if !target.wants_directory && !target.encoded.is_empty() {
        return Ok(Found::Elsewhere(target.with_slash()));
    }
    let index = path.join("index.html");
    match resolve(root, &index) {
        Ok(resolved) => open(&resolved, &index, read_if_small).map(Found::File),
        Err(refusal) if refusal.status == Status::NotFound => listing::of(&path, &target.encoded)
            .map(Found::Listing)
            .map_err(|error| explain(&error)),
        Err(refusal) => Err(refusal),
    }
}

/// The path with its symbolic links followed, if that is still below the root.
///
/// Someone who can change the tree between this check and the opening of the file can serve what they can link to: whoever
/// writes to the root is trusted with that, whoever sends requests is not.
fn resolve(root: &Path, path: &Path) -> Result<PathBuf, Refusal> {
    let resolved = path.canonicalize().map_err(|error| explain(&error))?;
    if !resolved.starts_with(root) {
        return Err(Refusal {
            status: Status::Forbidden,
            reason: "the path leads out of the served directory",
        });
    }
    Ok(resolved)
}

/// Opens a regular file. `name` is what it was asked for as: a link's own name says what it is, not that of its target.
fn open(path: &Path, name: &Path, read_if_small: bool) -> Result<FoundFile, Refusal> {
    // Asked before opening, for opening a named pipe waits until someone writes to it.
    if !fs::metadata(path).map_err(|error| explain(&error))?.is_file() {
        return Err(Refusal {
            status: Status::Forbidden,
            reason: "this is not a regular file",
        });
    }
    let read = || {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut found = FoundFile {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            content_type: content_type(name),
            content: None,
            file,
        };
        if read_if_small && found.length <= SMALL {
            let mut content = Vec::new();
            (&found.file).take(SMALL).read_to_end(&mut content)?;
            // The file may have changed its size since; what was read is what is announced.
            found.length = content.len() as u64;
            found.content = Some(content);
        }
        Ok(found)
    };
    read().map_err(|error: io::Error| explain(&error))
}

fn content_type(name: &Path) -> String {
    let mime = mime_guess::from_path(name).first_or_octet_stream();
    if mime.type_() == mime_guess::mime::TEXT {
        format!("{mime}; charset=utf-8")
    } else {
        mime.to_string()
    }
}

/// Answers a request with a file: all of it, a part, or nothing where the client's copy is still good.
pub(crate) fn send(
    found: FoundFile,
    wire: &mut Wire<'_>,
    request: &Request<'_>,
    manner: Manner,
    sent: &mut Sent,
) -> Result<(), End> {
    let validators = conditional::Validators::new(found.length, found.modified);
    let verdict = conditional::judge(request, &validators, found.length);
    let (status, part) = match verdict {
        Verdict::All => (Status::Ok, 0..found.length),
        Verdict::Part(part) => (Status::PartialContent, part),
        Verdict::NotModified => (Status::NotModified, 0..0),
        Verdict::Failed => (Status::PreconditionFailed, 0..0),
        Verdict::NoSuchPart => (Status::RangeNotSatisfiable, 0..0),
    };
    sent.status = status;
    let mut head = Head::new(&mut wire.output, status, manner.persistence);
    match status {
        Status::PartialContent => {
            let last = part.end - 1;
            head = head.field(
                "Content-Range",
                format_args!("bytes {}-{last}/{}", part.start, found.length),
            );
        }
        Status::RangeNotSatisfiable => {
            head = head.field("Content-Range", format_args!("bytes */{}", found.length));
            *sent = reply::text(head, status, "the file has no such part", manner);
            return Ok(());
        }
        Status::PreconditionFailed => {
            *sent = reply::text(
                head,
                status,
                "the file is not in the state that the request asks for",
                manner,
            );
            return Ok(());
        }
        _ => {}
    }
    head = validators.announce(head);
    if status == Status::NotModified {
        head.end();
        return Ok(());
    }
    head = head
        .field("Accept-Ranges", "bytes")
        .field("Content-Type", &found.content_type);
    head.field("Content-Length", part.end - part.start).end();
    if manner.head_only {
        return Ok(());
    }
    match found.content {
        Some(content) => {
            wire.output.extend_from_slice(&content);
            sent.body_bytes = found.length;
            Ok(())
        }
        None => stream(&found.file.into(), part, wire, sent),
    }
}

/// Sends a part of a file chunk by chunk, the first one in the same write as the head.
fn stream(file: &kapok::fs::File, part: Range<u64>, wire: &mut Wire<'_>, sent: &mut Sent) -> Result<(), End> {
    let mut at = part.start;
    while at < part.end {
        let head = wire.output.len();
        let chunk = usize::try_from(part.end - at).map_or(CHUNK, |left| left.min(CHUNK));
        wire.output.resize(head + chunk, 0);
        let read = file.read_at(&mut wire.output[head..], at)?;
        wire.output.truncate(head + read);
        if read == 0 {
            // The length has been promised, so all that is left is to break off where the client can see it.
            return Err(End::Broken(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the file got shorter while it was sent",
            )));
        }
        wire.flush()?;
        sent.body_bytes += read as u64;
        at += read as u64;
    }
    Ok(())
}

fn explain(error: &io::Error) -> Refusal {
    let refuse = |status, reason| Refusal { status, reason };
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => refuse(Status::NotFound, "there is nothing of this name"),
        ErrorKind::PermissionDenied => refuse(Status::Forbidden, "the server may not read this"),
        _ => match error.raw_os_error() {
            Some(libc::ENAMETOOLONG | libc::ELOOP) => refuse(Status::NotFound, "there is nothing of this name"),
            Some(libc::EMFILE | libc::ENFILE) => refuse(Status::Unavailable, "the server has too many files open"),
            _ => {
                log::warn!("a file could not be read: {error}");
                refuse(Status::InternalError, "the file could not be read")
            }
        },
    }
}
