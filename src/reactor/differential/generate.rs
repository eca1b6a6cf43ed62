//! Makes scripts of seeds: at random, but so that most steps fit to what came before.

use super::script::{
    Action, Afterwards, Arrival, Channel, Duplicate, Ending, Half, ReadForm, Relief, SLOTS, Script, Step, Target,
    WriteForm,
};

impl Script {
    /// The script of a seed: always the same.
    pub(super) fn of(seed: u64) -> Script {
        let mut dice = Dice::new(seed);
        let slots = dice.between(1, SLOTS);
        let count = dice.between(3, 28);
        let mut channels = [None; SLOTS];
        let steps = (0..count)
            .map(|_| {
                let slot = dice.below(slots);
                Step {
                    action: action(&mut dice, slot, &mut channels),
                    turn: dice.one_in(2),
                }
            })
            .collect();
        let ending = if dice.one_in(6) { Ending::Drop } else { Ending::Forget };
        Script { seed, steps, ending }
    }
}

/// Chooses what is likely to fit. `channels` is what the places hold, as far as it is known without doing it.
fn action(dice: &mut Dice, slot: usize, channels: &mut [Option<Channel>; SLOTS]) -> Action {
    let Some(channel) = channels[slot] else {
        let channel = dice.pick(&Channel::ALL);
        channels[slot] = Some(channel);
        return Action::Open { slot, channel };
    };
    if dice.one_in(9) {
        return anywhere(dice, slot, channels);
    }
    if channel.is_listener() {
        return match dice.below(8) {
            0..3 => Action::Accept { slot },
            3..6 => Action::PeerConnects { slot },
            6 => cancel(dice, slot),
            _ => cancel_late(dice, slot),
        };
    }
    if channel == Channel::Unconnected {
        channels[slot] = Some(Channel::Tcp); // perhaps
        let target = dice.pick(&[Target::Listener, Target::Listener, Target::Closed, Target::Full]);
        let behind = if dice.one_in(2) { dice.size() } else { 0 };
        return Action::Connect { slot, target, behind };
    }
    match dice.below(24) {
        0..6 if channel.can_read() => read(dice, slot, channel),
        6..11 if channel.can_read() => peer_writes(dice, slot),
        11 if channel.can_read() => cancel(dice, slot),
        12 if channel.can_read() => cancel_late(dice, slot),
        13 if channel.can_read() => Action::Drain { slot, len: dice.size() },
        0..13 => write(dice, slot, channel),
        14..17 if channel.can_write() => write(dice, slot, channel),
        17 if channel.can_write() => Action::PeerReads { slot },
        18 if channel.can_write() => {
            let len = dice.pick(&[500, 4096, 10_000, 60_000]);
            Action::Fill {
                slot,
                len,
                more: dice.below(3),
            }
        }
        19 if channel.can_write() => {
            const RELIEFS: [Relief; 5] = [
                Relief::Drain,
                Relief::Cancel,
                Relief::CancelAll,
                Relief::PeerCloses,
                Relief::Shutdown,
            ];
            Action::Relieve {
                slot,
                relief: dice.pick(&RELIEFS),
            }
        }
        20 if channel.has_halves() => Action::Shutdown {
            slot,
            half: dice.half(),
        },
        21 if channel.has_halves() => Action::PeerShutsDown {
            slot,
            half: dice.half(),
        },
        22 => Action::PeerCloses {
            slot,
            reset: dice.one_in(2),
        },
        _ if channel == Channel::Tcp => Action::Urgent {
            slot,
            before: dice.below(50),
            after: dice.between(1, 50),
        },
        _ if channel.can_read() => read(dice, slot, channel),
        _ => write(dice, slot, channel),
    }
}

fn anywhere(dice: &mut Dice, slot: usize, channels: &mut [Option<Channel>; SLOTS]) -> Action {
    match dice.below(7) {
        0 => Action::Ring,
        1 => Action::CancelAll { slot },
        2 => Action::Haunt,
        _ => {
            let duplicate = dice.pick(&[
                Duplicate::None,
                Duplicate::None,
                Duplicate::Announced,
                Duplicate::Hidden,
            ]);
            let then = match dice.below(4) {
                0 => {
                    channels[slot] = None;
                    Afterwards::Close
                }
                1 => Afterwards::Again,
                _ => {
                    let channel = dice.pick(&Channel::ALL);
                    channels[slot] = Some(channel);
                    Afterwards::Replace(channel)
                }
            };
            Action::Forget { slot, duplicate, then }
        }
    }
}

fn read(dice: &mut Dice, slot: usize, channel: Channel) -> Action {
    let form = match dice.below(8) {
        _ if channel.is_pipe() => ReadForm::Plain,
        0..2 if !channel.has_messages() => ReadForm::Recv,
        2 => ReadForm::Peek,
        3 => ReadForm::DontWait,
        4 if !channel.has_messages() => ReadForm::Plain,
        0..6 => ReadForm::Message(dice.between(1, 4)),
        _ => ReadForm::Recv,
    };
    // A message is to be received as one.
    let form = match form {
        ReadForm::Recv | ReadForm::DontWait if channel.has_messages() => ReadForm::Message(1),
        form => form,
    };
    Action::Read {
        slot,
        form,
        len: dice.size(),
    }
}

fn write(dice: &mut Dice, slot: usize, channel: Channel) -> Action {
    let form = match dice.below(5) {
        _ if channel.is_pipe() => WriteForm::Plain,
        0..3 => WriteForm::Send,
        3 => WriteForm::Message(dice.between(1, 4)),
        _ => WriteForm::Plain,
    };
    Action::Write {
        slot,
        form,
        len: dice.size(),
    }
}

fn peer_writes(dice: &mut Dice, slot: usize) -> Action {
    let len = if dice.one_in(8) { 0 } else { dice.size() };
    Action::PeerWrites { slot, len }
}

fn cancel(dice: &mut Dice, slot: usize) -> Action {
    Action::Cancel {
        slot,
        nth: dice.below(4),
        twice: dice.one_in(3),
    }
}

fn cancel_late(dice: &mut Dice, slot: usize) -> Action {
    let arrival = if dice.one_in(4) {
        Arrival::End
    } else {
        Arrival::Something(dice.size())
    };
    Action::CancelLate {
        slot,
        nth: dice.below(4),
        arrival,
    }
}

/// Random numbers that repeat: splitmix64.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("less than a usize")
    }

    fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn half(&mut self) -> Half {
        self.pick(&[Half::Read, Half::Write])
    }

    /// Of something to read or write: small, so that they often split each other.
    fn size(&mut self) -> usize {
        match self.below(10) {
            0..6 => self.between(1, 20),
            6..9 => self.between(20, 300),
            _ => self.between(300, 1400),
        }
    }
}
