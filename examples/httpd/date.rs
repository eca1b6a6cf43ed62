//! What time it is, to the second: a request does not look at the clock for that.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970, as last looked at.
static SECOND: AtomicU64 = AtomicU64::new(0);

/// Looks at the clock whenever a second is over; does not return.
pub(crate) fn keep() {
    loop {
        kapok::fiber::sleep(look());
    }
}

/// Looks at the clock, and says how long it is right.
pub(crate) fn look() -> Duration {
    // A clock before 1970 is not set yet.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    SECOND.store(since.as_secs(), Ordering::Relaxed);
    Duration::from_nanos(u64::from(1_000_000_000 - since.subsec_nanos()))
}

/// The time as HTTP writes it, such as `Sun, 06 Nov 1994 08:49:37 GMT`; put into words once a second.
pub(crate) fn now() -> [u8; 29] {
    // One a worker thread is enough: fibers stay on their thread, and nothing here suspends.
    thread_local! {
        static LATEST: Cell<(u64, [u8; 29])> = const { Cell::new((u64::MAX, [b' '; 29])) };
    }
    let second = SECOND.load(Ordering::Relaxed);
    let (latest_second, latest) = LATEST.get();
    if second == latest_second {
        return latest;
    }
    let mut date = [b' '; 29];
    let time = UNIX_EPOCH + Duration::from_secs(second);
    date.copy_from_slice(httpdate::fmt_http_date(time).as_bytes());
    LATEST.set((second, date));
    date
}
