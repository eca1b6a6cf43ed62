//! What the systems do, a row of the table each: the model is right where it does the same, and so is what the library puts
//! around libkqueue, of which these are the tests, too.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr;
use std::time::Instant;

use super::*;

const SOON: Option<Duration> = Some(Duration::from_secs(20));
const NOW: Option<Duration> = Some(Duration::ZERO);

fn change(ident: usize, filter: i16, flags: u16) -> kevent {
    kevent {
        ident,
        filter,
        flags,
        fflags: 0,
        data: 0,
        udata: ptr::without_provenance_mut(7),
    }
}

fn number(fd: &impl AsRawFd) -> usize {
    fd.as_raw_fd().try_into().unwrap()
}

fn read_of(fd: &impl AsRawFd, flags: u16) -> kevent {
    change(number(fd), EVFILT_READ, flags)
}

fn write_of(fd: &impl AsRawFd, flags: u16) -> kevent {
    change(number(fd), EVFILT_WRITE, flags)
}

/// Hands over and waits, with room for `room`.
fn kevent_of(queue: &Kqueue, changes: &[kevent], room: usize, timeout: Option<Duration>) -> io::Result<Vec<kevent>> {
    let mut events = Vec::with_capacity(room);
    let count = queue.kevent(changes, &mut events.spare_capacity_mut()[..room], timeout)?;
    // SAFETY: that many were written.
    unsafe { events.set_len(count) };
    Ok(events)
}

fn next(queue: &Kqueue) -> Vec<(i16, u16)> {
    short(&kevent_of(queue, &[], 8, SOON).unwrap())
}

fn nothing(queue: &Kqueue) {
    assert_eq!(kevent_of(queue, &[], 8, NOW).unwrap(), []);
}

fn short(events: &[kevent]) -> Vec<(i16, u16)> {
    events.iter().map(|event| (event.filter, event.flags)).collect()
}

fn errno_of<T: std::fmt::Debug>(result: io::Result<T>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

#[test]
fn changes_are_applied_before_events_are_read_in_the_same_call() {
    let queue = Kqueue::new().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let both = [read_of(&ours, EV_ADD | EV_CLEAR), write_of(&ours, EV_ADD | EV_CLEAR)];
    let events = kevent_of(&queue, &both, 8, SOON).unwrap();
    assert_eq!(short(&events), [(EVFILT_READ, EV_CLEAR), (EVFILT_WRITE, EV_CLEAR)]);
    assert!(
        events
            .iter()
            .all(|event| event.ident == number(&ours) && event.udata.addr() == 7)
    );
}

#[test]
#[cfg_attr(
    kapok_libkqueue,
    ignore = "with each edge of reading it reports writing again, which is no harm"
)]
fn clear_reports_edges_and_keeps_the_directions_apart() {
    let queue = Kqueue::new().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let both = [read_of(&ours, EV_ADD | EV_CLEAR), write_of(&ours, EV_ADD | EV_CLEAR)];
    assert_eq!(
        short(&kevent_of(&queue, &both, 8, SOON).unwrap()),
        [(EVFILT_WRITE, EV_CLEAR)]
    );
    for _ in 0..2 {
        nothing(&queue);
        theirs.write_all(b"x").unwrap();
        assert_eq!(next(&queue), [(EVFILT_READ, EV_CLEAR)]);
    }
    // Unread, and registered again: it is reported again.
    assert_eq!(kevent_of(&queue, &both[..1], 8, SOON).unwrap().len(), 1);
    nothing(&queue);
}

#[test]
fn without_clear_the_level_is_reported_for_as_long_as_it_lasts() {
    let queue = Kqueue::new().unwrap();
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    kevent_of(&queue, &[read_of(&ours, EV_ADD)], 0, NOW).unwrap();
    theirs.write_all(b"x").unwrap();
    for _ in 0..3 {
        assert_eq!(next(&queue), [(EVFILT_READ, 0)]);
    }
    ours.read_exact(&mut [0]).unwrap();
    nothing(&queue);
}

#[test]
fn oneshot_is_deleted_by_its_report() {
    let queue = Kqueue::new().unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let once = write_of(&ours, EV_ADD | EV_ONESHOT);
    assert_eq!(kevent_of(&queue, &[once], 8, SOON).unwrap().len(), 1);
    nothing(&queue);
    let delete = kevent_of(&queue, &[write_of(&ours, EV_DELETE)], 0, NOW);
    assert_eq!(errno_of(delete), Some(libc::ENOENT));
}

#[test]
#[cfg_attr(
    kapok_libkqueue,
    ignore = "EV_DISABLE is without effect together with EV_ADD, which nobody uses"
)]
fn disabled_is_silent_until_it_is_enabled() {
    let queue = Kqueue::new().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    kevent_of(&queue, &[read_of(&ours, EV_ADD | EV_CLEAR | EV_DISABLE)], 0, NOW).unwrap();
    theirs.write_all(b"x").unwrap();
    nothing(&queue);
    let enabled = kevent_of(&queue, &[read_of(&ours, EV_ENABLE)], 8, SOON).unwrap();
    assert_eq!(short(&enabled), [(EVFILT_READ, EV_CLEAR)]);
    kevent_of(&queue, &[read_of(&ours, EV_DISABLE)], 0, NOW).unwrap();
    theirs.write_all(b"x").unwrap();
    nothing(&queue);
}

#[test]
fn receipts_and_errors_come_instead_of_events() {
    let queue = Kqueue::new().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let changes = [
        read_of(&ours, EV_ADD | EV_CLEAR | EV_RECEIPT),
        change(999_999, EVFILT_READ, EV_ADD),
        write_of(&ours, EV_DELETE | EV_RECEIPT),
        change(1, -99, EV_ADD),
    ];
    for room in [4, 8] {
        let answers = kevent_of(&queue, &changes, room, SOON).unwrap();
        let data: Vec<_> = answers
            .iter()
            .map(|answer| (answer.flags, i32::try_from(answer.data).unwrap()))
            .collect();
        let errnos = [0, libc::EBADF, libc::ENOENT, libc::EINVAL];
        assert_eq!(data, errnos.map(|errno| (EV_ERROR, errno)));
    }
    // What needs no answer is applied with the rest.
    assert_eq!(next(&queue), [(EVFILT_READ, EV_CLEAR)]);
}

#[test]
fn without_room_an_error_is_the_calls_and_what_is_behind_is_not_applied() {
    let queue = Kqueue::new().unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let changes = [change(999_999, EVFILT_READ, EV_ADD), write_of(&ours, EV_ADD)];
    assert_eq!(errno_of(kevent_of(&queue, &changes, 0, SOON)), Some(libc::EBADF));
    nothing(&queue);
}

#[test]
fn close_removes_the_filters_and_the_number_comes_back_without_them() {
    let queue = Kqueue::new().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let duplicate = ours.try_clone().unwrap();
    let fd = ours.as_raw_fd();
    kevent_of(&queue, &[read_of(&ours, EV_ADD | EV_CLEAR)], 0, NOW).unwrap();
    let (other, mut peer) = UnixStream::pair().unwrap();
    // SAFETY: closes the number's old file and gives it another, while it is owned by `ours`.
    assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), fd) }, fd);
    // The old file lives on in the duplicate, but not under this number.
    theirs.write_all(b"x").unwrap();
    nothing(&queue);
    // The new one is nobody's yet.
    peer.write_all(b"x").unwrap();
    nothing(&queue);
    let delete = kevent_of(&queue, &[read_of(&ours, EV_DELETE)], 0, NOW);
    assert_eq!(errno_of(delete), Some(libc::ENOENT));
    assert_eq!(kevent_of(&queue, &[read_of(&ours, EV_ADD)], 8, SOON).unwrap().len(), 1);
    drop((ours, duplicate));
    nothing(&queue);
    let delete = kevent_of(
        &queue,
        &[change(fd.try_into().unwrap(), EVFILT_READ, EV_DELETE)],
        0,
        NOW,
    );
    assert!(matches!(errno_of(delete), Some(libc::EBADF | libc::ENOENT)));
}

#[test]
fn a_peer_that_closes_ends_both_directions() {
    let queue = Kqueue::new().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    let both = [read_of(&ours, EV_ADD | EV_CLEAR), write_of(&ours, EV_ADD | EV_CLEAR)];
    let events = kevent_of(&queue, &both, 8, SOON).unwrap();
    assert_eq!(
        short(&events),
        [(EVFILT_READ, EV_CLEAR | EV_EOF), (EVFILT_WRITE, EV_CLEAR | EV_EOF)]
    );
}

#[test]
fn the_end_comes_with_the_data_that_is_before_it() {
    let queue = Kqueue::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut ours, _) = listener.accept().unwrap();
    theirs.write_all(b"bye").unwrap();
    drop(theirs);
    kevent_of(&queue, &[read_of(&ours, EV_ADD | EV_CLEAR)], 0, NOW).unwrap();
    while next(&queue) != [(EVFILT_READ, EV_CLEAR | EV_EOF)] {}
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    assert_eq!(text, "bye");
}

#[test]
fn a_refused_connect_says_why() {
    let queue = Kqueue::new().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let socket = crate::sys::socket::internet_socket(&address, libc::SOCK_STREAM).unwrap();
    let connect = crate::sys::socket::connect(socket.as_raw_fd(), &address.into());
    assert_eq!(errno_of(connect), Some(libc::EINPROGRESS));
    let events = kevent_of(&queue, &[write_of(&socket, EV_ADD | EV_CLEAR)], 8, SOON).unwrap();
    assert_eq!(short(&events), [(EVFILT_WRITE, EV_CLEAR | EV_EOF)]);
    assert_eq!(i32::try_from(events[0].fflags), Ok(libc::ECONNREFUSED));
}

#[test]
fn user_events_are_triggered_from_anywhere_and_cleared_by_their_report() {
    let queue = Kqueue::new().unwrap();
    let trigger = || kevent {
        fflags: NOTE_TRIGGER,
        ..change(3, EVFILT_USER, 0)
    };
    assert_eq!(errno_of(kevent_of(&queue, &[trigger()], 0, NOW)), Some(libc::ENOENT));
    kevent_of(&queue, &[change(3, EVFILT_USER, EV_ADD | EV_CLEAR)], 0, NOW).unwrap();
    nothing(&queue);
    std::thread::scope(|scope| {
        let triggers = scope.spawn(|| {
            for _ in 0..2 {
                kevent_of(&queue, &[trigger()], 0, NOW).unwrap();
            }
        });
        assert_eq!(next(&queue), [(EVFILT_USER, EV_CLEAR)]);
        triggers.join().unwrap();
    });
    kevent_of(&queue, &[], 8, NOW).unwrap(); // the second, where it came after the report
    nothing(&queue);
}

#[test]
fn timers_expire_once_or_again_and_count() {
    let queue = Kqueue::new().unwrap();
    let timer = |flags, fflags, data| kevent {
        fflags,
        data,
        ..change(1, EVFILT_TIMER, flags)
    };
    let units = [
        (0, 2),
        (NOTE_MSECONDS, 2),
        (NOTE_USECONDS, 2_000),
        (NOTE_NSECONDS, 2_000_000),
    ];
    for (fflags, data) in units {
        let begin = Instant::now();
        let events = kevent_of(&queue, &[timer(EV_ADD | EV_ONESHOT, fflags, data)], 8, SOON).unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(2));
        assert_eq!((events[0].filter, events[0].data), (EVFILT_TIMER, 1));
        nothing(&queue);
    }
    kevent_of(&queue, &[timer(EV_ADD | EV_CLEAR, 0, 1)], 0, NOW).unwrap();
    std::thread::sleep(Duration::from_millis(5));
    assert!(kevent_of(&queue, &[], 8, SOON).unwrap()[0].data >= 5);
    assert!(kevent_of(&queue, &[], 8, SOON).unwrap()[0].data >= 1);
    kevent_of(&queue, &[timer(EV_DELETE, 0, 0)], 0, NOW).unwrap();
    assert_eq!(
        errno_of(kevent_of(&queue, &[timer(EV_ADD, NOTE_SECONDS, -1)], 0, NOW)),
        Some(libc::EINVAL)
    );
}

#[test]
fn a_call_without_room_for_events_does_not_wait() {
    let queue = Kqueue::new().unwrap();
    assert_eq!(kevent_of(&queue, &[], 0, None).unwrap(), []);
}
