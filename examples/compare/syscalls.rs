//! How many system calls a thread makes, as Linux counts them for who may ask (root, or `kernel.perf_event_paranoid` of -1).

#[cfg(target_os = "linux")]
pub(crate) use linux::Counter;

#[cfg(target_os = "linux")]
mod linux {
    #![expect(unsafe_code, reason = "a system call that nobody wraps")]

    use std::fs::File;
    use std::io::Read;
    use std::os::fd::FromRawFd;

    /// Counts from when it is made, with no cost to the calls but a few nanoseconds.
    pub(crate) struct Counter(File);

    impl Counter {
        /// `None` where the system does not let us.
        pub(crate) fn of_this_thread() -> Option<Counter> {
            const TRACEPOINT: u64 = 2;
            const SIZE: u64 = 64; // of the first version of the structure
            const CLOSE_ON_EXEC: usize = 8;
            let id = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
                .iter()
                .find_map(|root| {
                    let id = std::fs::read_to_string(format!("{root}/events/raw_syscalls/sys_enter/id"));
                    id.ok()?.trim().parse::<u64>().ok()
                })?;
            // struct perf_event_attr: type and size are 32 bits each, then which event; all else is off.
            #[cfg(target_endian = "little")]
            let head = TRACEPOINT | SIZE << 32;
            #[cfg(target_endian = "big")]
            let head = TRACEPOINT << 32 | SIZE;
            let attributes = [head, id, 0, 0, 0, 0, 0, 0_u64];
            let (this_thread, any_cpu, no_group) = (0_i32, -1_i32, -1_i32);
            // SAFETY: the structure is as long as it says.
            let fd = unsafe {
                libc::syscall(
                    libc::SYS_perf_event_open,
                    attributes.as_ptr(),
                    this_thread,
                    any_cpu,
                    no_group,
                    CLOSE_ON_EXEC,
                )
            };
            let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
            // SAFETY: a new descriptor of ours.
            Some(Counter(unsafe { File::from_raw_fd(fd) }))
        }

        pub(crate) fn count(&self) -> u64 {
            let mut count = [0; 8];
            (&self.0).read_exact(&mut count).expect("a counter is read as a whole");
            u64::from_ne_bytes(count)
        }
    }
}

/// There is none.
#[cfg(not(target_os = "linux"))]
pub(crate) enum Counter {}

#[cfg(not(target_os = "linux"))]
impl Counter {
    pub(crate) fn of_this_thread() -> Option<Counter> {
        None
    }

    pub(crate) fn count(&self) -> u64 {
        match *self {}
    }
}
