//! A script: what is done to a reactor, step by step. `generate` makes them of seeds.
//!
//! A step that does not fit, because its place is empty or its peer is gone, does nothing. So steps can be left out of a
//! script, and what remains is one.

use std::fmt;

/// What can be waited for, and its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    /// A stream of `socketpair(2)`.
    Unix,
    /// A connection over the loopback.
    Tcp,
    /// The reading end of a pipe; the peer has the other.
    PipeReader,
    PipeWriter,
    /// Connected on the loopback.
    Udp,
    /// Datagrams of `socketpair(2)`: they are not lost, and a sender can have to wait.
    UnixDatagrams,
    /// `SOCK_SEQPACKET`: messages, and an end.
    Packets,
    TcpListener,
    UnixListener,
    /// A TCP socket that was just made.
    Unconnected,
}

impl Channel {
    pub(super) const ALL: [Channel; 10] = [
        Channel::Unix,
        Channel::Tcp,
        Channel::PipeReader,
        Channel::PipeWriter,
        Channel::Udp,
        Channel::UnixDatagrams,
        Channel::Packets,
        Channel::TcpListener,
        Channel::UnixListener,
        Channel::Unconnected,
    ];

    /// What is sent keeps its bounds.
    pub(super) fn has_messages(self) -> bool {
        matches!(self, Channel::Udp | Channel::UnixDatagrams | Channel::Packets)
    }

    pub(super) fn is_listener(self) -> bool {
        matches!(self, Channel::TcpListener | Channel::UnixListener)
    }

    pub(super) fn is_pipe(self) -> bool {
        matches!(self, Channel::PipeReader | Channel::PipeWriter)
    }

    /// Something can come in, and be read.
    pub(super) fn can_read(self) -> bool {
        !self.is_listener() && self != Channel::PipeWriter
    }

    pub(super) fn can_write(self) -> bool {
        !self.is_listener() && self != Channel::PipeReader
    }

    /// Each direction can be closed by itself.
    pub(super) fn has_halves(self) -> bool {
        matches!(self, Channel::Unix | Channel::Tcp | Channel::Packets)
    }
}

/// Which operation reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadForm {
    Recv,
    Peek,
    /// `recv(2)` with `MSG_DONTWAIT`, for which `io_uring` does not wait by itself.
    DontWait,
    /// `recvmsg(2)` into that many parts.
    Message(usize),
    /// `read(2)`.
    Plain,
}

/// Which operation writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteForm {
    Send,
    /// `sendmsg(2)` of that many parts.
    Message(usize),
    /// `write(2)`.
    Plain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Read,
    Write,
}

/// Whether a second descriptor of the open file stays behind when one is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duplicate {
    None,
    /// And the reactor is told.
    Announced,
    /// And the reactor is not told, as where another library made it.
    Hidden,
}

/// What becomes of a descriptor that the reactor was told to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    Close,
    /// The same open file goes on under the same number, as another source.
    Again,
    /// Its number becomes another one's at once.
    Replace(Channel),
}

/// How a send that waits for room comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relief {
    /// The peer reads all.
    Drain,
    Cancel,
    CancelAll,
    /// The peer closes, with bytes unread.
    PeerCloses,
    /// The direction is shut down at this end, and the peer reads all.
    Shutdown,
}

/// What arrives while an operation that waits for it is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Something(usize),
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Listener,
    /// A port where nobody listens.
    Closed,
    /// A listener whose queue is full, so that it takes for ever.
    Full,
}

/// One thing that is done. `slot` is the place of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Open {
        slot: usize,
        channel: Channel,
    },
    Read {
        slot: usize,
        form: ReadForm,
        len: usize,
    },
    Write {
        slot: usize,
        form: WriteForm,
        len: usize,
    },
    Accept {
        slot: usize,
    },
    /// And writes so many bytes right behind, where there is somebody to write to.
    Connect {
        slot: usize,
        target: Target,
        behind: usize,
    },
    PeerWrites {
        slot: usize,
        len: usize,
    },
    /// All that was written and not read yet.
    PeerReads {
        slot: usize,
    },
    PeerConnects {
        slot: usize,
    },
    Shutdown {
        slot: usize,
        half: Half,
    },
    PeerShutsDown {
        slot: usize,
        half: Half,
    },
    PeerCloses {
        slot: usize,
        reset: bool,
    },
    /// The `nth` of those that wait, modulo their number; twice in a row, perhaps.
    Cancel {
        slot: usize,
        nth: usize,
        twice: bool,
    },
    CancelAll {
        slot: usize,
    },
    /// Something comes for an operation that waits, and at once it is cancelled: what came must not be lost.
    CancelLate {
        slot: usize,
        nth: usize,
        arrival: Arrival,
    },
    Forget {
        slot: usize,
        duplicate: Duplicate,
        then: Afterwards,
    },
    /// The peers of those that were closed, but live on in a duplicate, write.
    Haunt,
    /// Writes until one has to wait, and `more` behind it.
    Fill {
        slot: usize,
        len: usize,
        more: usize,
    },
    Relieve {
        slot: usize,
        relief: Relief,
    },
    /// Reads all that has come, by operations of that length, whatever each of them gets.
    Drain {
        slot: usize,
        len: usize,
    },
    /// The peer sends bytes, an urgent one, and more; all but the urgent one are read.
    Urgent {
        slot: usize,
        before: usize,
        after: usize,
    },
    Ring,
}

/// How a script ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Everything is forgotten and closed.
    Forget,
    /// The reactor is dropped with operations under way, and the peers write to them.
    Drop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) action: Action,
    /// Whether the reactor takes its turn before the next step. It does also where the next step demands it.
    pub(super) turn: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) seed: u64,
    pub(super) steps: Vec<Step>,
    pub(super) ending: Ending,
}

pub(super) const SLOTS: usize = 4;

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            let turn = if step.turn { "; turn" } else { "" };
            writeln!(f, "{number:4}. {:?}{turn}", step.action)?;
        }
        writeln!(f, "      at the end: {:?}", self.ending)
    }
}
