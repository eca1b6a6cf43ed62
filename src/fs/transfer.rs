//! Reading and writing a file: what is in memory at once, the rest through the ring or on another thread (`way.rs`).

use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use super::file::File;
use super::way;
use crate::reactor::{FileOp, FileVerb, OWN_POSITION};
use crate::sys::file::{self, Now};

/// As much is read at once if it is in memory; for more, somebody else's processor is the better one.
const AT_ONCE: usize = 256 * 1024;

/// More buffers than this the kernel refuses; the rest is the caller's next call.
const MAX_BUFFERS: usize = 1024;

/// How much room is made for what comes without a known end.
const READ_MORE: usize = 8 * 1024;

impl File {
    /// Reads all that was asked for, unless the file ends before; of what is no file, what is there.
    ///
    /// # Safety
    /// `buf` has room for `len` bytes, which nobody else touches.
    unsafe fn read_raw(&self, buf: NonNull<u8>, len: usize, at: i64) -> io::Result<usize> {
        let mut done = 0;
        loop {
            // SAFETY: no more than was asked for has been read, so this is within the buffer.
            let rest = unsafe { buf.add(done) };
            let at = moved(at, done);
            // SAFETY: the caller's promise.
            let Some(n) = (unsafe { self.read_now(rest, len - done, at) }) else {
                // SAFETY: the caller's promise.
                return match unsafe { self.read_waiting(rest, len - done, at) } {
                    Ok(n) => Ok(done + n),
                    Err(error) if done == 0 => Err(error),
                    Err(_) => Ok(done), // the next call will meet it again
                };
            };
            done += n;
            // A part of it may be in memory, and the rest not.
            if n == 0 || done == len || !self.is_regular() {
                return Ok(done);
            }
        }
    }

    /// Reads what is in memory, if the caller is a fiber. `None`: the ordinary way has to tell.
    ///
    /// # Safety
    /// As for [`read_raw`](File::read_raw).
    unsafe fn read_now(&self, buf: NonNull<u8>, len: usize, at: i64) -> Option<usize> {
        let one = libc::iovec {
            iov_base: buf.as_ptr().cast(),
            iov_len: len,
        };
        // SAFETY: one buffer, by the caller's promise.
        unsafe { self.read_now_vectored(&raw const one, 1, len, at) }
    }

    /// The same, into `count` buffers of `len` bytes in all.
    ///
    /// # Safety
    /// The same.
    unsafe fn read_now_vectored(&self, bufs: *const libc::iovec, count: usize, len: usize, at: i64) -> Option<usize> {
        if len > AT_ONCE || self.about.never_now.load(Ordering::Relaxed) || !way::is_in_fiber() {
            return None;
        }
        // SAFETY: the caller's promise.
        match unsafe { file::read_now(&self.inner, bufs, count, at) } {
            Now::Read(n) => {
                way::count_as_done();
                Some(n)
            }
            Now::Later => None,
            Now::Never => {
                self.about.never_now.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    /// # Safety
    /// As for [`read_raw`](File::read_raw).
    unsafe fn read_waiting(&self, buf: NonNull<u8>, len: usize, at: i64) -> io::Result<usize> {
        self.check_position(at)?;
        if self.is_for_ring(FileVerb::Read) {
            // SAFETY: the caller's promise.
            let read = unsafe { self.through_ring(FileOp::Read { buf, len, at }) };
            if !self.must_be_repeated(&read) {
                return read;
            }
        }
        let buf = Lent(buf);
        // SAFETY: the caller's promise; this waits until it is done.
        self.plainly(move |inner| unsafe { file::read(inner, buf.as_ptr(), len, at) })
    }

    fn write_raw(&self, buf: &[u8], at: i64) -> io::Result<usize> {
        self.check_position(at)?;
        if self.is_for_ring(FileVerb::Write) {
            let write = FileOp::Write {
                buf: NonNull::from(buf).cast(),
                len: buf.len(),
                at,
            };
            // SAFETY: `buf` is borrowed until this returns, and only read from.
            let written = unsafe { self.through_ring(write) };
            if !self.must_be_repeated(&written) {
                return written;
            }
        }
        self.plainly(|mut inner| match u64::try_from(at) {
            Ok(at) => inner.write_at(buf, at),
            Err(_) => inner.write(buf),
        })
    }

    /// What has no position says so; a ring would read it all the same.
    fn check_position(&self, at: i64) -> io::Result<()> {
        if at != OWN_POSITION && !self.is_regular() {
            (&self.inner).stream_position()?;
        }
        Ok(())
    }

    /// A ring may heed `O_NONBLOCK` for a file (of /proc, of a tmpfs), which system calls do not.
    fn must_be_repeated(&self, result: &io::Result<usize>) -> bool {
        matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock) && self.is_regular()
    }

    /// How much there is from the position to the end, where that is known.
    fn left(&self) -> usize {
        let left = || -> io::Result<u64> {
            let position = (&self.inner).stream_position()?;
            Ok(self.inner.metadata()?.len().saturating_sub(position))
        };
        let left = if self.is_regular() { left().unwrap_or(0) } else { 0 };
        usize::try_from(left).unwrap_or(0)
    }
}

/// A position further on.
fn moved(at: i64, by: usize) -> i64 {
    if at == OWN_POSITION {
        return at; // moves by itself
    }
    // Bytes that were read from a file lie within it, and so before the highest position.
    i64::try_from(by).map_or(i64::MAX, |by| at.saturating_add(by))
}

/// The position of an operation; one beyond what the kernel can count is an error there.
fn position(offset: u64) -> io::Result<i64> {
    i64::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// A buffer that another thread writes to while its owner waits.
struct Lent(NonNull<u8>);
// SAFETY: only one uses it, and bytes may come from any thread.
unsafe impl Send for Lent {}

impl Lent {
    fn as_ptr(&self) -> *mut u8 {
        self.0.as_ptr()
    }
}

impl Read for &File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let _turn = self.turn();
        // SAFETY: `buf` is borrowed until this returns.
        unsafe { self.read_raw(NonNull::from(&mut *buf).cast(), buf.len(), OWN_POSITION) }
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let _turn = self.turn();
        let len = bufs.iter().map(|buf| buf.len()).sum();
        // An IoSliceMut is an iovec, its documentation says.
        let (raw, count) = (
            NonNull::from(&mut *bufs).cast::<libc::iovec>(),
            bufs.len().min(MAX_BUFFERS),
        );
        // SAFETY: `bufs` is borrowed until this returns.
        if let Some(n) = unsafe { self.read_now_vectored(raw.as_ptr(), count, len, OWN_POSITION) } {
            return Ok(n);
        }
        if self.is_for_ring(FileVerb::ReadVectored) {
            let read = FileOp::ReadVectored {
                bufs: raw,
                count: u32::try_from(count).expect("it is bounded"),
            };
            // SAFETY: as above.
            let read = unsafe { self.through_ring(read) };
            if !self.must_be_repeated(&read) {
                return read;
            }
        }
        self.plainly(|mut inner| inner.read_vectored(bufs))
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        let begin = buf.len();
        buf.try_reserve(self.left())?;
        loop {
            let result = if buf.len() == buf.capacity() {
                // It may have been the right size: look, before the buffer is made twice as large for nothing.
                let mut more = [0; 32];
                let result = self.read(&mut more);
                if let Ok(n @ 1..) = result {
                    buf.try_reserve(READ_MORE)?;
                    buf.extend_from_slice(&more[..n]);
                }
                result
            } else {
                let _turn = self.turn();
                let spare = buf.spare_capacity_mut();
                let (spare, len) = (NonNull::from(&mut *spare).cast(), spare.len());
                // SAFETY: `buf` is borrowed until this returns, and that much of it is free.
                let result = unsafe { self.read_raw(spare, len, OWN_POSITION) };
                if let Ok(n) = result {
                    // SAFETY: so many more bytes have been written there.
                    unsafe { buf.set_len(buf.len() + n) };
                }
                result
            };
            match result {
                Ok(0) => return Ok(buf.len() - begin),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8"))?;
        let len = text.len();
        if buf.is_empty() {
            *buf = text;
        } else {
            buf.push_str(&text);
        }
        Ok(len)
    }
}

impl Write for &File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let _turn = self.turn();
        self.write_raw(buf, OWN_POSITION)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let _turn = self.turn();
        if self.is_for_ring(FileVerb::WriteVectored) {
            let write = FileOp::WriteVectored {
                // An IoSlice is an iovec, its documentation says; writing does not change it.
                bufs: NonNull::from(bufs).cast(),
                count: u32::try_from(bufs.len().min(MAX_BUFFERS)).expect("it is bounded"),
            };
            // SAFETY: `bufs` is borrowed until this returns.
            let written = unsafe { self.through_ring(write) };
            if !self.must_be_repeated(&written) {
                return written;
            }
        }
        self.plainly(|mut inner| inner.write_vectored(bufs))
    }

    /// Does nothing, as in std: nothing is held back here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let _turn = self.turn();
        (&self.inner).seek(position)
    }
}

impl Read for File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        (&*self).read_to_string(buf)
    }
}

impl Write for File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl Seek for File {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        (&*self).seek(position)
    }
}

impl FileExt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        // SAFETY: `buf` is borrowed until this returns.
        unsafe { self.read_raw(NonNull::from(&mut *buf).cast(), buf.len(), position(offset)?) }
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.write_raw(buf, position(offset)?)
    }
}
