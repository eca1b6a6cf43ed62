//! How far it is, for a person who watches: only on a terminal.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kapok::fiber;

use crate::plan::Plan;
use crate::tally::Tallies;

/// Shows it until it is cancelled.
pub(crate) fn show(plan: &Plan, tallies: &Tallies) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    // In milliseconds where the time says when it ends.
    let length = plan.requests.or(plan.end.map(|end| milliseconds(end - plan.begin)));
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("[{elapsed}] {wide_bar} {percent}%  {msg}") {
        bar.set_style(style);
    }
    // Also when it is cancelled, nothing of it stays.
    let bar = Cleared(bar);
    let mut before = (Instant::now(), 0);
    loop {
        fiber::sleep(Duration::from_millis(200));
        let (now, answers) = (Instant::now(), tallies.answers());
        let rate = u128::from(answers - before.1) * 1_000_000 / (now - before.0).as_micros().max(1);
        before = (now, answers);
        bar.0
            .set_position(plan.requests.map_or(milliseconds(now - plan.begin), |_| answers));
        bar.0.set_message(format!("{rate} answers/s"));
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
