//! Every stable function of these types with its signature, and the traits that they implement: what does not match does not
//! compile.

#![expect(clippy::type_complexity, reason = "a signature is written where it is checked")]

use std::ffi::OsStr;
use std::fmt::{Debug, Display};
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, DirEntryExt, FileExt, OpenOptionsExt};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::fs::{self, DirBuilder, DirEntry, File, OpenOptions, ReadDir};
use super::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use super::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use super::sync::mpsc::{self, Receiver, Sender, SyncSender};
use super::sync::{
    Barrier, BarrierWaitResult, Condvar, LazyLock, LockResult, Mutex, MutexGuard, Once, OnceLock, OnceState, RwLock,
    RwLockReadGuard, RwLockWriteGuard, TryLockResult, WaitTimeoutResult,
};
use super::thread;

/// `is!(T: Trait + Trait)`
macro_rules! is {
    ($($type:ty: $first:tt $(+ $bound:tt)*;)*) => { $({
        fn check<T: ?Sized + $first $(+ $bound)*>() {}
        check::<$type>();
    })* };
}

/// `has!(path: signature)`: a method or function of exactly that signature.
macro_rules! has {
    ($($function:expr => $signature:ty;)*) => { $( let _: $signature = $function; )* };
}

type G<'a> = MutexGuard<'a, i32>;
type R<'a> = RwLockReadGuard<'a, i32>;
type W<'a> = RwLockWriteGuard<'a, i32>;

#[test]
fn locks() {
    has! {
        Mutex::new => fn(i32) -> Mutex<i32>;
        Mutex::lock => for<'a> fn(&'a Mutex<i32>) -> LockResult<G<'a>>;
        Mutex::try_lock => for<'a> fn(&'a Mutex<i32>) -> TryLockResult<G<'a>>;
        Mutex::is_poisoned => fn(&Mutex<i32>) -> bool;
        Mutex::clear_poison => fn(&Mutex<i32>);
        Mutex::into_inner => fn(Mutex<i32>) -> LockResult<i32>;
        Mutex::get_mut => for<'a> fn(&'a mut Mutex<i32>) -> LockResult<&'a mut i32>;
        RwLock::new => fn(i32) -> RwLock<i32>;
        RwLock::read => for<'a> fn(&'a RwLock<i32>) -> LockResult<R<'a>>;
        RwLock::try_read => for<'a> fn(&'a RwLock<i32>) -> TryLockResult<R<'a>>;
        RwLock::write => for<'a> fn(&'a RwLock<i32>) -> LockResult<W<'a>>;
        RwLock::try_write => for<'a> fn(&'a RwLock<i32>) -> TryLockResult<W<'a>>;
        RwLock::is_poisoned => fn(&RwLock<i32>) -> bool;
        RwLock::clear_poison => fn(&RwLock<i32>);
        RwLock::into_inner => fn(RwLock<i32>) -> LockResult<i32>;
        RwLock::get_mut => for<'a> fn(&'a mut RwLock<i32>) -> LockResult<&'a mut i32>;
        Condvar::new => fn() -> Condvar;
        Condvar::wait => for<'a> fn(&Condvar, G<'a>) -> LockResult<G<'a>>;
        Condvar::wait_while => for<'a> fn(&Condvar, G<'a>, fn(&mut i32) -> bool) -> LockResult<G<'a>>;
        Condvar::wait_timeout => for<'a> fn(&Condvar, G<'a>, Duration) -> LockResult<(G<'a>, WaitTimeoutResult)>;
        Condvar::wait_timeout_while => for<'a> fn(&Condvar, G<'a>, Duration, fn(&mut i32) -> bool) -> LockResult<(G<'a>, WaitTimeoutResult)>;
        Condvar::notify_one => fn(&Condvar);
        Condvar::notify_all => fn(&Condvar);
        WaitTimeoutResult::timed_out => fn(&WaitTimeoutResult) -> bool;
        Barrier::new => fn(usize) -> Barrier;
        Barrier::wait => fn(&Barrier) -> BarrierWaitResult;
        BarrierWaitResult::is_leader => fn(&BarrierWaitResult) -> bool;
        Once::new => fn() -> Once;
        Once::call_once => fn(&Once, fn());
        Once::call_once_force => fn(&Once, fn(&OnceState));
        Once::is_completed => fn(&Once) -> bool;
        OnceState::is_poisoned => fn(&OnceState) -> bool;
        OnceLock::new => fn() -> OnceLock<i32>;
        OnceLock::get => for<'a> fn(&'a OnceLock<i32>) -> Option<&'a i32>;
        OnceLock::get_mut => for<'a> fn(&'a mut OnceLock<i32>) -> Option<&'a mut i32>;
        OnceLock::set => fn(&OnceLock<i32>, i32) -> Result<(), i32>;
        OnceLock::get_or_init => for<'a> fn(&'a OnceLock<i32>, fn() -> i32) -> &'a i32;
        OnceLock::into_inner => fn(OnceLock<i32>) -> Option<i32>;
        OnceLock::take => fn(&mut OnceLock<i32>) -> Option<i32>;
        LazyLock::new => fn(fn() -> i32) -> LazyLock<i32>;
        LazyLock::force => for<'a> fn(&'a LazyLock<i32>) -> &'a i32;
    }
    const _: (
        Mutex<i32>,
        RwLock<i32>,
        Condvar,
        Once,
        OnceLock<i32>,
        Barrier,
        LazyLock<i32>,
    ) = (
        Mutex::new(1),
        RwLock::new(1),
        Condvar::new(),
        Once::new(),
        OnceLock::new(),
        Barrier::new(1),
        LazyLock::new(|| 1),
    );
    is! {
        Mutex<i32>: Send + Sync + Debug + Default + UnwindSafe + RefUnwindSafe;
        Mutex<i32>: (From<i32>);
        RwLock<i32>: Send + Sync + Debug + Default + UnwindSafe + RefUnwindSafe;
        RwLock<i32>: (From<i32>);
        G<'static>: Sync + Debug + Display;
        R<'static>: Sync + Debug + Display;
        W<'static>: Sync + Debug + Display;
        Condvar: Send + Sync + Debug + Default + UnwindSafe + RefUnwindSafe;
        WaitTimeoutResult: Debug + PartialEq + Eq + Copy + Clone;
        Barrier: Send + Sync + Debug;
        BarrierWaitResult: Debug;
        Once: Send + Sync + Debug + UnwindSafe + RefUnwindSafe;
        OnceState: Debug;
        OnceLock<i32>: Send + Sync + Debug + Default + Clone + PartialEq + Eq + UnwindSafe + RefUnwindSafe;
        OnceLock<i32>: (From<i32>);
        LazyLock<i32>: Send + Sync + Debug + Default + UnwindSafe + RefUnwindSafe;
    }
    // Where the locks of std are pthread's, which nobody declared to be of these, its barrier is not.
    #[cfg(not(any(target_os = "netbsd", target_vendor = "apple")))]
    is! {
        Barrier: UnwindSafe + RefUnwindSafe;
    }
}

#[test]
fn channels() {
    has! {
        mpsc::channel => fn() -> (Sender<i32>, Receiver<i32>);
        mpsc::sync_channel => fn(usize) -> (SyncSender<i32>, Receiver<i32>);
        Sender::send => fn(&Sender<i32>, i32) -> Result<(), mpsc::SendError<i32>>;
        SyncSender::send => fn(&SyncSender<i32>, i32) -> Result<(), mpsc::SendError<i32>>;
        SyncSender::try_send => fn(&SyncSender<i32>, i32) -> Result<(), mpsc::TrySendError<i32>>;
        Receiver::recv => fn(&Receiver<i32>) -> Result<i32, mpsc::RecvError>;
        Receiver::try_recv => fn(&Receiver<i32>) -> Result<i32, mpsc::TryRecvError>;
        Receiver::recv_timeout => fn(&Receiver<i32>, Duration) -> Result<i32, mpsc::RecvTimeoutError>;
        Receiver::iter => for<'a> fn(&'a Receiver<i32>) -> mpsc::Iter<'a, i32>;
        Receiver::try_iter => for<'a> fn(&'a Receiver<i32>) -> mpsc::TryIter<'a, i32>;
    }
    is! {
        Sender<i32>: Send + Sync + Clone + Debug + UnwindSafe + RefUnwindSafe;
        SyncSender<i32>: Send + Sync + Clone + Debug + UnwindSafe + RefUnwindSafe;
        Receiver<i32>: Send + Debug + (IntoIterator<IntoIter = mpsc::IntoIter<i32>, Item = i32>) + UnwindSafe + RefUnwindSafe;
        mpsc::Iter<'static, i32>: (Iterator<Item = i32>) + Debug;
        mpsc::TryIter<'static, i32>: (Iterator<Item = i32>) + Debug;
        mpsc::IntoIter<i32>: (Iterator<Item = i32>) + Debug;
    }
    fn borrowed<'a>()
    where
        &'a Receiver<i32>: IntoIterator<Item = i32, IntoIter = mpsc::Iter<'a, i32>>,
    {
    }
    borrowed();
}

type Io<T> = io::Result<T>;

#[test]
fn sockets() {
    has! {
        TcpStream::connect => fn(SocketAddr) -> Io<TcpStream>;
        TcpStream::connect => fn(&'static str) -> Io<TcpStream>;
        TcpStream::connect => fn((&'static str, u16)) -> Io<TcpStream>;
        TcpStream::connect_timeout => fn(&SocketAddr, Duration) -> Io<TcpStream>;
        TcpStream::peer_addr => fn(&TcpStream) -> Io<SocketAddr>;
        TcpStream::local_addr => fn(&TcpStream) -> Io<SocketAddr>;
        TcpStream::shutdown => fn(&TcpStream, Shutdown) -> Io<()>;
        TcpStream::try_clone => fn(&TcpStream) -> Io<TcpStream>;
        TcpStream::set_read_timeout => fn(&TcpStream, Option<Duration>) -> Io<()>;
        TcpStream::set_write_timeout => fn(&TcpStream, Option<Duration>) -> Io<()>;
        TcpStream::read_timeout => fn(&TcpStream) -> Io<Option<Duration>>;
        TcpStream::write_timeout => fn(&TcpStream) -> Io<Option<Duration>>;
        TcpStream::peek => fn(&TcpStream, &mut [u8]) -> Io<usize>;
        TcpStream::set_nodelay => fn(&TcpStream, bool) -> Io<()>;
        TcpStream::nodelay => fn(&TcpStream) -> Io<bool>;
        TcpStream::set_ttl => fn(&TcpStream, u32) -> Io<()>;
        TcpStream::ttl => fn(&TcpStream) -> Io<u32>;
        TcpStream::take_error => fn(&TcpStream) -> Io<Option<io::Error>>;
        TcpStream::set_nonblocking => fn(&TcpStream, bool) -> Io<()>;
        TcpListener::bind => fn(&'static [SocketAddr]) -> Io<TcpListener>;
        TcpListener::local_addr => fn(&TcpListener) -> Io<SocketAddr>;
        TcpListener::try_clone => fn(&TcpListener) -> Io<TcpListener>;
        TcpListener::accept => fn(&TcpListener) -> Io<(TcpStream, SocketAddr)>;
        TcpListener::set_ttl => fn(&TcpListener, u32) -> Io<()>;
        TcpListener::ttl => fn(&TcpListener) -> Io<u32>;
        TcpListener::take_error => fn(&TcpListener) -> Io<Option<io::Error>>;
        TcpListener::set_nonblocking => fn(&TcpListener, bool) -> Io<()>;
        UdpSocket::bind => fn(SocketAddr) -> Io<UdpSocket>;
        UdpSocket::recv_from => fn(&UdpSocket, &mut [u8]) -> Io<(usize, SocketAddr)>;
        UdpSocket::peek_from => fn(&UdpSocket, &mut [u8]) -> Io<(usize, SocketAddr)>;
        UdpSocket::send_to => fn(&UdpSocket, &[u8], SocketAddr) -> Io<usize>;
        UdpSocket::peer_addr => fn(&UdpSocket) -> Io<SocketAddr>;
        UdpSocket::local_addr => fn(&UdpSocket) -> Io<SocketAddr>;
        UdpSocket::try_clone => fn(&UdpSocket) -> Io<UdpSocket>;
        UdpSocket::set_read_timeout => fn(&UdpSocket, Option<Duration>) -> Io<()>;
        UdpSocket::write_timeout => fn(&UdpSocket) -> Io<Option<Duration>>;
        UdpSocket::set_broadcast => fn(&UdpSocket, bool) -> Io<()>;
        UdpSocket::broadcast => fn(&UdpSocket) -> Io<bool>;
        UdpSocket::set_multicast_loop_v4 => fn(&UdpSocket, bool) -> Io<()>;
        UdpSocket::multicast_ttl_v4 => fn(&UdpSocket) -> Io<u32>;
        UdpSocket::set_multicast_loop_v6 => fn(&UdpSocket, bool) -> Io<()>;
        UdpSocket::join_multicast_v4 => fn(&UdpSocket, &Ipv4Addr, &Ipv4Addr) -> Io<()>;
        UdpSocket::leave_multicast_v4 => fn(&UdpSocket, &Ipv4Addr, &Ipv4Addr) -> Io<()>;
        UdpSocket::join_multicast_v6 => fn(&UdpSocket, &Ipv6Addr, u32) -> Io<()>;
        UdpSocket::leave_multicast_v6 => fn(&UdpSocket, &Ipv6Addr, u32) -> Io<()>;
        UdpSocket::connect => fn(&UdpSocket, SocketAddr) -> Io<()>;
        UdpSocket::send => fn(&UdpSocket, &[u8]) -> Io<usize>;
        UdpSocket::recv => fn(&UdpSocket, &mut [u8]) -> Io<usize>;
        UdpSocket::peek => fn(&UdpSocket, &mut [u8]) -> Io<usize>;
        UnixStream::connect => fn(&'static Path) -> Io<UnixStream>;
        UnixStream::connect_addr => fn(&std::os::unix::net::SocketAddr) -> Io<UnixStream>;
        UnixStream::pair => fn() -> Io<(UnixStream, UnixStream)>;
        UnixStream::peer_addr => fn(&UnixStream) -> Io<std::os::unix::net::SocketAddr>;
        UnixListener::bind => fn(PathBuf) -> Io<UnixListener>;
        UnixListener::bind_addr => fn(&std::os::unix::net::SocketAddr) -> Io<UnixListener>;
        UnixListener::accept => fn(&UnixListener) -> Io<(UnixStream, std::os::unix::net::SocketAddr)>;
        UnixDatagram::bind => fn(PathBuf) -> Io<UnixDatagram>;
        UnixDatagram::unbound => fn() -> Io<UnixDatagram>;
        UnixDatagram::pair => fn() -> Io<(UnixDatagram, UnixDatagram)>;
        UnixDatagram::send_to => fn(&UnixDatagram, &[u8], &'static Path) -> Io<usize>;
        UnixDatagram::send_to_addr => fn(&UnixDatagram, &[u8], &std::os::unix::net::SocketAddr) -> Io<usize>;
        UnixDatagram::recv_from => fn(&UnixDatagram, &mut [u8]) -> Io<(usize, std::os::unix::net::SocketAddr)>;
    }
    is! {
        TcpStream: Send + Sync + Debug + Read + Write + AsFd + AsRawFd + FromRawFd + IntoRawFd + UnwindSafe + RefUnwindSafe;
        TcpStream: (From<OwnedFd>);
        OwnedFd: (From<TcpStream>) + (From<TcpListener>) + (From<UdpSocket>) + (From<UnixStream>) + (From<UnixListener>) + (From<UnixDatagram>);
        &'static TcpStream: Read + Write;
        TcpListener: Send + Sync + Debug + AsFd + AsRawFd + FromRawFd + IntoRawFd;
        UdpSocket: Send + Sync + Debug + AsFd + AsRawFd + FromRawFd + IntoRawFd + (From<OwnedFd>);
        UnixStream: Send + Sync + Debug + Read + Write + AsFd + AsRawFd + FromRawFd + IntoRawFd + (From<OwnedFd>);
        &'static UnixStream: Read + Write;
        UnixListener: Send + Sync + Debug + AsFd + AsRawFd + FromRawFd + IntoRawFd + (From<OwnedFd>);
        &'static UnixListener: (IntoIterator<Item = Io<UnixStream>>);
        UnixDatagram: Send + Sync + Debug + AsFd + AsRawFd + FromRawFd + IntoRawFd + (From<OwnedFd>);
    }
    fn vectored<T: Read + Write>(mut it: T) -> Io<usize> {
        let written = it.write_vectored(&[IoSlice::new(b"a")])?;
        it.read_vectored(&mut [IoSliceMut::new(&mut [0])])
            .map(|read| read + written)
    }
    has! { vectored => fn(TcpStream) -> Io<usize>; vectored => fn(UnixStream) -> Io<usize>; }
}

#[test]
fn files() {
    has! {
        File::open => fn(&'static str) -> Io<File>;
        File::create => fn(&'static OsStr) -> Io<File>;
        File::create_new => fn(PathBuf) -> Io<File>;
        File::options => fn() -> OpenOptions;
        File::sync_all => fn(&File) -> Io<()>;
        File::sync_data => fn(&File) -> Io<()>;
        File::set_len => fn(&File, u64) -> Io<()>;
        File::metadata => fn(&File) -> Io<fs::Metadata>;
        File::try_clone => fn(&File) -> Io<File>;
        File::set_permissions => fn(&File, fs::Permissions) -> Io<()>;
        File::set_times => fn(&File, fs::FileTimes) -> Io<()>;
        File::set_modified => fn(&File, SystemTime) -> Io<()>;
        OpenOptions::new => fn() -> OpenOptions;
        OpenOptions::read => for<'a> fn(&'a mut OpenOptions, bool) -> &'a mut OpenOptions;
        OpenOptions::open => fn(&OpenOptions, &'static str) -> Io<File>;
        DirBuilder::new => fn() -> DirBuilder;
        DirBuilder::recursive => for<'a> fn(&'a mut DirBuilder, bool) -> &'a mut DirBuilder;
        DirBuilder::create => fn(&DirBuilder, &'static str) -> Io<()>;
        DirEntry::path => fn(&DirEntry) -> PathBuf;
        DirEntry::metadata => fn(&DirEntry) -> Io<fs::Metadata>;
        DirEntry::file_type => fn(&DirEntry) -> Io<fs::FileType>;
        fs::read => fn(&'static str) -> Io<Vec<u8>>;
        fs::read_to_string => fn(&'static str) -> Io<String>;
        fs::write => fn(&'static str, &'static [u8]) -> Io<()>;
        fs::copy => fn(&'static str, PathBuf) -> Io<u64>;
        fs::rename => fn(&'static str, PathBuf) -> Io<()>;
        fs::hard_link => fn(&'static str, PathBuf) -> Io<()>;
        fs::remove_file => fn(&'static str) -> Io<()>;
        fs::remove_dir => fn(&'static str) -> Io<()>;
        fs::remove_dir_all => fn(&'static str) -> Io<()>;
        fs::create_dir => fn(&'static str) -> Io<()>;
        fs::create_dir_all => fn(&'static str) -> Io<()>;
        fs::read_dir => fn(&'static str) -> Io<ReadDir>;
        fs::metadata => fn(&'static str) -> Io<fs::Metadata>;
        fs::symlink_metadata => fn(&'static str) -> Io<fs::Metadata>;
        fs::exists => fn(&'static str) -> Io<bool>;
        fs::canonicalize => fn(&'static str) -> Io<PathBuf>;
        fs::read_link => fn(&'static str) -> Io<PathBuf>;
        fs::set_permissions => fn(&'static str, fs::Permissions) -> Io<()>;
        fs::symlink => fn(&'static str, PathBuf) -> Io<()>;
        fs::chown => fn(&'static str, Option<u32>, Option<u32>) -> Io<()>;
        fs::lchown => fn(&'static str, Option<u32>, Option<u32>) -> Io<()>;
        fs::fchown => fn(File, Option<u32>, Option<u32>) -> Io<()>;
    }
    is! {
        File: Send + Sync + Debug + Read + Write + Seek + FileExt + AsFd + AsRawFd + FromRawFd + IntoRawFd + (From<OwnedFd>) + UnwindSafe + RefUnwindSafe;
        &'static File: Read + Write + Seek;
        OwnedFd: (From<File>);
        Stdio: (From<File>) + (From<OwnedFd>) + (From<ChildStdout>) + (From<ChildStdin>) + (From<ChildStderr>);
        OpenOptions: Clone + Debug + OpenOptionsExt;
        DirBuilder: Debug + DirBuilderExt;
        ReadDir: (Iterator<Item = Io<DirEntry>>) + Debug;
        DirEntry: Debug + DirEntryExt;
    }
    let _: fn(&mut File, SeekFrom) -> Io<u64> = File::seek;
}

#[test]
fn processes() {
    has! {
        Command::new => fn(&'static str) -> Command;
        Command::arg => for<'a> fn(&'a mut Command, &'static str) -> &'a mut Command;
        Command::env_clear => for<'a> fn(&'a mut Command) -> &'a mut Command;
        Command::current_dir => for<'a> fn(&'a mut Command, &'static Path) -> &'a mut Command;
        Command::stdin => for<'a> fn(&'a mut Command, Stdio) -> &'a mut Command;
        Command::spawn => fn(&mut Command) -> Io<Child>;
        Command::output => fn(&mut Command) -> Io<std::process::Output>;
        Command::status => fn(&mut Command) -> Io<std::process::ExitStatus>;
        Command::get_program => for<'a> fn(&'a Command) -> &'a OsStr;
        Command::get_current_dir => for<'a> fn(&'a Command) -> Option<&'a Path>;
        Child::id => fn(&Child) -> u32;
        Child::kill => fn(&mut Child) -> Io<()>;
        Child::wait => fn(&mut Child) -> Io<std::process::ExitStatus>;
        Child::try_wait => fn(&mut Child) -> Io<Option<std::process::ExitStatus>>;
        Child::wait_with_output => fn(Child) -> Io<std::process::Output>;
    }
    is! {
        Command: Send + Sync + Debug;
        Child: Send + Sync + Debug;
        ChildStdin: Write + Debug + AsFd + AsRawFd + IntoRawFd + (From<OwnedFd>);
        &'static ChildStdin: Write;
        ChildStdout: Read + Debug + AsFd + AsRawFd + IntoRawFd + (From<OwnedFd>);
        ChildStderr: Read + Debug + AsFd + AsRawFd + IntoRawFd + (From<OwnedFd>);
        OwnedFd: (From<ChildStdin>) + (From<ChildStdout>) + (From<ChildStderr>);
    }
}

#[test]
#[expect(deprecated, reason = "what std still has, old programs use")]
fn what_is_deprecated() {
    has! {
        thread::sleep_ms => fn(u32);
        thread::park_timeout_ms => fn(u32);
        fs::soft_link => fn(&'static str, PathBuf) -> Io<()>;
        TcpListener::set_only_v6 => fn(&TcpListener, bool) -> Io<()>;
        TcpListener::only_v6 => fn(&TcpListener) -> Io<bool>;
        thread::available_parallelism => fn() -> Io<NonZeroUsize>;
    }
}
